//! Asking: whatever a server does, only a yes is a yes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use comity_client::{Comity, Decision, Guard, Introspection, NoSession, Question, Settings, Yes};
use serde::Deserialize;
use tower::ServiceExt as _;

const KEY: &str = "cmt_key_never-in-a-log";
const TOKEN: &str = "cmt_session_never-in-a-log";

#[derive(Deserialize)]
struct Table {
    yes: String,
    answers: Vec<Bad>,
}

#[derive(Deserialize, Clone, Default)]
#[serde(default)]
struct Bad {
    name: String,
    act: Option<String>,
    status: Option<u16>,
    r#type: Option<String>,
    headers: BTreeMap<String, String>,
    body: String,
    replace: Option<(String, String)>,
    reason: String,
    cause: Option<String>,
}

fn table() -> Table {
    serde_json::from_str(include_str!("../../../bad-answers.json")).unwrap()
}

/// The bytes of one whole answer.
fn made(bad: &Bad) -> String {
    let mut body = bad.body.replace("YES", &table().yes);
    if let Some((from, to)) = &bad.replace {
        assert!(body.contains(from));
        body = body.replace(from, to);
    }
    let kind = bad.r#type.as_deref().unwrap_or("application/json");
    let status = bad.status.unwrap_or(200);
    let mut head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nconnection: close\r\n");
    for (name, value) in &bad.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if status != 204 {
        head += &format!("content-length: {}\r\n", body.len());
    }
    head + "\r\n" + &body
}

fn act(bad: &Bad, stream: &mut TcpStream, request: &str) -> std::io::Result<()> {
    let yes = table().yes;
    let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\n";
    let pause = |ms| std::thread::sleep(Duration::from_millis(ms));
    let said = match bad.act.as_deref() {
        None if request.contains(" /yes ") => made(&Bad { body: yes, ..Bad::default() }),
        None => made(bad),
        Some("huge") => format!("{head}\r\n{}{yes}", " ".repeat(2_000_000)),
        Some("stall") => {
            pause(1500);
            return Ok(());
        }
        Some("stall_in_body") => {
            stream
                .write_all(format!("{head}content-length: {}\r\n\r\n{{", yes.len()).as_bytes())?;
            pause(1500);
            return Ok(());
        }
        Some("drip") => {
            stream.write_all(format!("{head}\r\n").as_bytes())?;
            for _ in 0..30 {
                stream.write_all(b" ")?;
                pause(50);
            }
            return Ok(());
        }
        Some("close") => return Ok(()),
        Some("cut") => format!("{head}content-length: {}\r\n\r\n{yes}", yes.len() + 1),
        Some("garbage") => format!("+OK {yes}\r\n\r\n"),
        Some(other) => panic!("unknown act: {other}"),
    };
    stream.write_all(said.as_bytes())
}

struct Stub {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// Answers each connection with the next of these, and with the last one from then on.
    fn serve(answers: Vec<Bad>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let (mut stream, seen) = (stream.unwrap(), seen.clone());
                let bad = answers.get(n).or(answers.last()).unwrap().clone();
                std::thread::spawn(move || {
                    let request = whole(&mut stream);
                    seen.lock().unwrap().push(request.clone());
                    let _ = act(&bad, &mut stream, &request);
                });
            }
        });
        Self { url, requests }
    }

    fn yes() -> Self {
        Self::serve(vec![Bad { body: "YES".into(), ..Bad::default() }])
    }

    fn body(body: &str) -> Self {
        Self::serve(vec![Bad { body: body.into(), ..Bad::default() }])
    }

    fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn whole(stream: &mut TcpStream) -> String {
    let (mut got, mut part) = (Vec::new(), [0; 65536]);
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| {
                l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut part).unwrap_or(0) {
            0 => return text,
            n => got.extend_from_slice(&part[..n]),
        }
    }
}

fn comity(url: &str, ms: u64) -> Comity {
    Comity::new(&Settings::new(url, KEY).timeout(Duration::from_millis(ms))).unwrap()
}

fn boat() -> Question {
    Question::account("boats:read", "boat-3")
}

#[tokio::test]
async fn each_bad_answer_is_a_no_with_its_reason_and_reaches_no_handler() {
    let table = table();
    assert!(table.answers.len() >= 40);
    for bad in table.answers {
        let stub = Stub::serve(vec![bad.clone()]);
        let client = comity(&stub.url, 600);
        let decision = client.decide(TOKEN, &boat()).await;
        let said = (decision.is_yes(), decision.reason(), decision.cause());
        assert_eq!(said, (false, bad.reason.as_str(), bad.cause.as_deref()), "{}", bad.name);
        assert_eq!(stub.asked().len(), 1, "{}: asked once", bad.name);
        let app = app(client, NoSession::Pass { issuer: None });
        let (status, body) = call(app, &[("authorization", &format!("Bearer {TOKEN}"))]).await;
        let expected = if bad.reason == "unavailable" { 503 } else { 403 };
        assert_eq!(status, expected, "{}: {body}", bad.name);
        assert!(body.contains(&format!("\"code\":\"{}\"", bad.reason)), "{}: {body}", bad.name);
    }
}

#[tokio::test]
async fn a_yes_says_who_acts_and_t17_for_which_customer() {
    let stub = Stub::yes();
    let client = comity(&stub.url, 2000);
    let Decision::Yes(yes) = client.decide(TOKEN, &boat().request_id("r-1").at_least(5)).await
    else {
        panic!("no yes")
    };
    assert_eq!((yes.actor.id.as_str(), yes.subject.id.as_str()), ("per_1", "org_1"));
    assert_eq!((yes.mode.code(), yes.seq, yes.session.as_str()), ("act_as", 7, "sess_1"));
    let asked = stub.asked().remove(0);
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /access/v1/evaluation HTTP"), "{head}");
    assert!(head.contains("x-request-id: r-1"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {KEY}")), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"action": {"name": "boats:read"}, "resource": {"type": "account", "id": "boat-3"},
            "context": {"at_least": 5}, "subject": {"type": "partner_session", "id": TOKEN}})
    );
    assert!(client.decide(TOKEN, &boat().of("org_1")).await.is_yes());
    assert_eq!(client.decide(TOKEN, &boat().of("org_2")).await.reason(), "wrong_resource");
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_asked() {
    let stub = Stub::yes();
    let client = comity(&stub.url, 2000);
    let long = "a".repeat(5000);
    for (token, question) in [
        ("", boat()),
        ("a b", boat()),
        ("a\n", boat()),
        (long.as_str(), boat()),
        (TOKEN, Question::account("boats:*", "boat-3")),
        (TOKEN, Question::account("boats", "boat-3")),
        (TOKEN, Question::account("boats:read:x", "boat-3")),
        (TOKEN, Question::account("boats:read", "")),
        (TOKEN, Question::account("boats:read", "").of("org_1")),
        (TOKEN, Question::organisation("boats:read", "")),
    ] {
        assert_eq!(client.decide(token, &question).await.reason(), "invalid", "{question:?}");
    }
    assert!(stub.asked().is_empty());
}

#[tokio::test]
async fn several_questions_as_many_answers() {
    let no = r#"{"decision":false,"context":{"reason":"no_role"}}"#;
    let error = r#"{"decision":false,"context":{"error":{"status":503,"message":"x"}}}"#;
    let none = ["unavailable"; 3];
    for (body, expected) in [
        (format!(r#"{{"evaluations":[YES,{no},{error}]}}"#), ["allowed", "no_role", "unavailable"]),
        (r#"{"evaluations":[YES]}"#.to_owned(), none),
        (r#"{"evaluations":[YES,YES,YES,YES]}"#.to_owned(), none),
        (r#"{"evaluations":{}}"#.to_owned(), none),
        ("YES".to_owned(), none),
    ] {
        let stub = Stub::body(&body);
        let decisions = comity(&stub.url, 2000).decide_all(TOKEN, &[boat(), boat(), boat()]).await;
        let reasons: Vec<_> = decisions.iter().map(Decision::reason).collect();
        assert_eq!(reasons, expected, "{body}");
        assert!(stub.asked()[0].starts_with("POST /access/v1/evaluations HTTP"));
    }
}

#[tokio::test]
async fn asked_again_only_where_nothing_was_done() {
    let again = BTreeMap::from([("retry-after".to_owned(), "0".to_owned())]);
    let busy = Bad { status: Some(503), headers: again, body: "{}".into(), ..Bad::default() };
    let yes = Bad { body: "YES".into(), ..Bad::default() };
    let stub = Stub::serve(vec![busy.clone(), busy, yes]);
    assert!(comity(&stub.url, 2000).decide(TOKEN, &boat()).await.is_yes());
    assert_eq!(stub.asked().len(), 3);
    let gone = comity("http://127.0.0.1:1", 2000).decide(TOKEN, &boat()).await;
    assert_eq!((gone.reason(), gone.cause()), ("unavailable", Some("connection")));
}

#[tokio::test]
async fn secrets_do_not_show_and_do_not_travel_in_the_clear() {
    let settings = Settings::new("http://127.0.0.1:1", KEY);
    assert!(!format!("{settings:?} {:?}", Comity::new(&settings)).contains("never-in-a-log"));
    for url in ["http://comity.example", "ftp://127.0.0.1", "comity", "https://a:b@comity.example"]
    {
        assert!(Comity::new(&Settings::new(url, KEY)).is_err(), "{url}");
    }
    let error = Comity::new(&Settings::new("https://comity.example", "two\nlines")).unwrap_err();
    assert!(!error.to_string().contains("two"));
    assert!(Comity::new(&Settings::new("http://comity.internal", KEY).plain_http()).is_ok());
}

#[tokio::test]
async fn introspection_only_an_active_token_is_one() {
    let stub = Stub::body(r#"{"active":true,"sub":"per_1"}"#);
    let told = comity(&stub.url, 2000).introspect(TOKEN, "boats-api").await;
    assert!(matches!(told, Introspection::Active(claims) if claims["sub"] == "per_1"));
    assert!(stub.asked()[0].contains("authorization: Basic "));
    for body in [r#"{"active":false}"#, r#"{"active":"true"}"#, r#"{"active":1}"#, "{}", "", "[]"] {
        let told = comity(&Stub::body(body).url, 2000).introspect(TOKEN, "boats-api").await;
        assert!(matches!(told, Introspection::Inactive(_)), "{body}");
    }
}

fn app(comity: Comity, no_session: NoSession) -> Router {
    let guard = Guard::new(comity, |parts| {
        Some(Question::account("boats:read", parts.uri.path().strip_prefix("/boats/")?))
    });
    let handler = |yes: Option<Extension<Yes>>, headers: axum::http::HeaderMap| async move {
        format!("handled {:?} {headers:?}", yes.map(|y| y.0.actor.id))
    };
    Router::new().fallback(get(handler)).layer(guard.no_session(no_session))
}

async fn call(app: Router, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let mut request = Request::builder().uri("/boats/boat-3");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 65536).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(parts.status == 200, body.starts_with("handled"));
    if parts.status != 200 {
        assert_eq!(parts.headers["content-type"], "application/problem+json");
    }
    (parts.status, body)
}

#[tokio::test]
async fn only_what_is_no_partners_passes_and_only_where_that_was_said() {
    let stub = Stub::yes();
    let app = |no_session| app(comity(&stub.url, 2000), no_session);
    let bearer = format!("bearer  {TOKEN}");
    let lies = [
        ("authorization", bearer.as_str()),
        ("x-partner-actor", "evil"),
        ("x_partner_actor", "evil"),
    ];
    let (status, body) = call(app(NoSession::Refuse), &lies).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("per_1") && !body.contains("evil"), "{body}");
    assert_eq!(call(app(NoSession::Refuse), &[]).await.0, 401);
    assert_eq!(call(app(NoSession::Refuse), &[("authorization", "Basic eDp5")]).await.0, 401);

    let issuer = Some("https://comity.example".to_owned());
    let pass = || app(NoSession::Pass { issuer: issuer.clone() });
    // {"iss":"https://login.example"}
    let own = "Bearer e30.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUifQ.AA";
    for own in ["Basic eDp5", "Bearer own-token", own] {
        let (status, body) =
            call(pass(), &[("authorization", own), ("x-partner-actor", "evil")]).await;
        assert_eq!(status, 200, "{own}");
        assert!(body.contains("None") && !body.contains("evil"), "{body}");
    }
    assert_eq!(call(pass(), &[]).await.0, 200);
    let before = stub.asked().len();
    for wrong in ["Bearer cmt_a, Bearer b", "Bearer a b", "Bearer", "Token cmt_session_x"] {
        assert_eq!(call(pass(), &[("authorization", wrong)]).await.0, 401, "{wrong}");
    }
    let two = [("authorization", "Basic eDp5"), ("authorization", "Bearer cmt_session_x")];
    assert_eq!(call(pass(), &two).await.0, 401);
    assert_eq!(stub.asked().len(), before);
    // {"iss":"https://comity.example"}: asked about, not passed.
    let theirs = "Bearer e30.eyJpc3MiOiJodHRwczovL2NvbWl0eS5leGFtcGxlIn0.AA";
    assert!(call(pass(), &[("authorization", theirs)]).await.1.contains("per_1"));
    assert_eq!(stub.asked().len(), before + 1);
}
