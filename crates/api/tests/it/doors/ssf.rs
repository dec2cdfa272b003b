//! Event streams, from making one to the signed token that arrives. The receivers are sockets of
//! this test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use comity_domain::time::{DAY, HOUR, SECOND};
use serde_json::{Value, json};

use super::{Scene, approve, terms};
use crate::harness::{House, Reply, text};
use crate::town::Town;

const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
const UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";
const PUSH: &str = "urn:ietf:rfc:8935";
const WITHIN: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(700);

const TAKEN: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n";

/// What arrived.
#[derive(Debug, Clone)]
struct Post {
    headers: Vec<String>,
    set: String,
}

impl Post {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|l| l.strip_prefix(&format!("{name}: ")))
    }
}

/// A server that takes what is pushed and answers with the first answers in turn, then always with
/// the last.
fn receiver(answers: Vec<&'static str>) -> (String, Receiver<Post>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let (sender, arrived) = channel();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        let mut answer = answers.next().unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut headers = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                headers.push(line.trim_end().to_owned());
            }
            let mut post = Post { headers, set: String::new() };
            let length: usize = post.header("content-length").unwrap().parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            post.set = String::from_utf8(body).unwrap();
            let _ = stream.write_all(answer.as_bytes());
            answer = answers.next().unwrap_or(answer);
            if sender.send(post).is_err() {
                return;
            }
        }
    });
    (url, arrived)
}

fn push_to(url: &str) -> Value {
    json!({ "method": PUSH, "endpoint_url": url })
}

impl Scene {
    /// The stream of boats is pushed to this address from now on.
    fn pushed(&self, delivery: &Value) {
        let body = json!({ "stream_id": self.there.stream, "delivery": delivery });
        self.call(self.decide_key("boats"), "PATCH", "/ssf/stream", Some(&body)).ok();
    }

    fn ssf_status(&self, status: &str) -> Reply {
        let body = json!({ "stream_id": self.there.stream, "status": status });
        self.post(self.decide_key("boats"), "/ssf/status", &body)
    }

    /// Fetches from the stream of boats, without waiting.
    fn poll(&self, mut body: Value) -> Value {
        body["returnImmediately"] = json!(true);
        let path = format!("/ssf/poll/{}", self.there.stream);
        self.post(self.decide_key("boats"), &path, &body).ok()
    }

    /// The tokens that wait, in the order of the log.
    fn waiting(&self) -> Vec<Value> {
        let polled = self.poll(json!({}));
        let sets = polled["sets"].as_object().unwrap();
        let mut all: Vec<Value> = sets.values().map(|set| self.claims(&text(set))).collect();
        all.sort_by_key(|c| text(&c["txn"]).parse::<u64>().unwrap());
        all
    }

    /// The claims of a token, which our published key has to have signed.
    fn claims(&self, set: &str) -> Value {
        self.app.signed_here(set, "secevent+jwt").expect("signed by a published key")
    }

    fn end(&self, session: &str) {
        let path = format!("/v1/sessions/{session}/end");
        self.call(self.at("ana@marina"), "POST", &path, None).ok();
    }

    fn enter_anew(&self, who: &str, more: &[(&str, &str)]) -> String {
        text(&self.enter(self.at(who), "marina", more).ok()["session"])
    }

    fn revoke(&self) {
        let path = format!("/v1/grants/{}/revoke", self.there.grant);
        self.call(self.at("ana@marina"), "POST", &path, None).ok();
    }

    /// The same installation after a stop and a start.
    fn restarted(self) -> Self {
        let Self { town: Town { house, known }, there } = self;
        house.app.stop();
        // On PostgreSQL the folder is the node's own as long as the installation is in memory.
        let House { folder, clock, app, router, runtime } = house;
        drop((router, runtime, app));
        let house = House::start(folder);
        house.clock.set(clock.now());
        Self { town: Town { house, known }, there }
    }
}

fn session_of(claims: &Value) -> &Value {
    &claims["sub_id"]["session"]["id"]
}

#[test]
fn t16_r12_a_revoke_arrives_as_a_signed_event_and_comes_again_with_the_same_name() {
    let scene = Scene::new();
    let (url, arrived) = receiver(vec![BROKEN, TAKEN]);
    let mut delivery = push_to(&url);
    delivery["authorization_header"] = json!("Bearer of-the-receiver");
    scene.pushed(&delivery);
    let second = scene.enter_anew("hana@harbor-help", &[]);
    let before = scene.now();
    scene.revoke();
    let first = arrived.recv_timeout(WITHIN).unwrap();
    assert_eq!(first.header("content-type"), Some("application/secevent+jwt"));
    assert_eq!(first.header("accept"), Some("application/json"));
    assert_eq!(first.header("authorization"), Some("Bearer of-the-receiver"));
    let claims = scene.claims(&first.set);
    assert_eq!(claims["iss"], scene.app.issuer());
    assert_eq!(claims["aud"], json!(scene.known.applications["boats"].0));
    assert_eq!(claims["iat"], before.0 / SECOND);
    // Which of the two comes first is nobody's promise.
    let hugo = *session_of(&claims) == *scene.there.session;
    let (session, person) = if hugo {
        (&scene.there.session, "hugo@harbor-help")
    } else {
        (&second, "hana@harbor-help")
    };
    assert_eq!(
        claims["sub_id"],
        json!({
            "format": "complex",
            "session": { "format": "opaque", "id": session },
            "user": { "format": "iss_sub", "iss": scene.app.issuer(), "sub": scene.person(person) },
            "tenant": { "format": "opaque", "id": scene.known.organisations["marina"] },
        })
    );
    assert_eq!(
        claims["events"],
        json!({ REVOKED: {
        "event_timestamp": before.0 / SECOND,
        "initiating_entity": "admin",
        "reason_admin": { "en": "The customer revoked the grant." },
    } })
    );
    for absent in ["sub", "exp"] {
        assert!(claims.get(absent).is_none(), "{absent}: RFC 8417, SSF 1.0");
    }
    // One row ended both: the same transaction, and names of their own. Who failed is left alone for
    // a while, and comes again.
    let rest: Vec<Value> = (0..2).map(|_| scene.claims(&scene.comes_again(&arrived).set)).collect();
    assert!(rest.contains(&claims), "the same name, time and subject: {rest:?}");
    let other = rest.iter().find(|c| c["jti"] != claims["jti"]).unwrap();
    let left = if hugo { &second } else { &scene.there.session };
    assert_eq!(session_of(other), left.as_str());
    assert_eq!(other["txn"], claims["txn"]);
    assert!(arrived.recv_timeout(SOON).is_err(), "nothing else");
    // The sessions ended as their tokens say it.
    let told = scene.introspect("boats", scene.decide_key("boats"), &scene.there.token).ok();
    assert_eq!(told, json!({ "active": false }));
}

#[test]
fn t16_what_waits_is_fetched_acknowledged_and_survives_a_restart() {
    let scene = Scene::new();
    let second = scene.enter_anew("hana@harbor-help", &[]);
    assert_eq!(scene.poll(json!({})), json!({ "sets": {}, "moreAvailable": false }));
    scene.revoke();
    let one = scene.poll(json!({ "maxEvents": 1 }));
    assert_eq!(one["sets"].as_object().unwrap().len(), 1);
    assert_eq!(one["moreAvailable"], true);
    let all = scene.waiting();
    let sessions: Vec<&Value> = all.iter().map(session_of).collect();
    assert!(sessions.contains(&&json!(scene.there.session)) && sessions.contains(&&json!(second)));
    let (first, other) = (text(&all[0]["jti"]), text(&all[1]["jti"]));
    // What is not acknowledged comes again, also after a restart, with everything as it was.
    let scene = scene.restarted();
    assert_eq!(scene.waiting(), all);
    assert_eq!(scene.poll(json!({ "ack": [first], "maxEvents": 0 }))["sets"], json!({}));
    assert_eq!(scene.waiting(), all[1..]);
    // A name that was never one of this stream says nothing; a refusal is the end of it too.
    let odd = [format!("{}_1_0", scene.there.stream), "strm_x_1_0".into(), first];
    assert_eq!(scene.poll(json!({ "ack": odd }))["sets"].as_object().unwrap().len(), 1);
    let refused = json!({ other.as_str(): { "err": "invalid_audience", "description": "whose?" } });
    assert_eq!(scene.poll(json!({ "setErrs": refused }))["sets"], json!({}));
    assert_eq!(scene.restarted().waiting(), Vec::<Value>::new());
}

#[test]
fn t16_who_waits_is_told_as_soon_as_it_happens() {
    let scene = Scene::new();
    let path = format!("/ssf/poll/{}", scene.there.stream);
    let request = |who: &str, path: &str, body: &Value| {
        crate::harness::request(who, "POST", path, Some(body))
    };
    let fetch = request(scene.decide_key("boats"), &path, &json!({}));
    let revoke = format!("/v1/grants/{}/revoke", scene.there.grant);
    let revoke = request(scene.at("ana@marina"), &revoke, &json!({}));
    let begun = std::time::Instant::now();
    let told = scene.runtime.block_on(async {
        let late = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            crate::harness::send(&scene.router, revoke).await
        };
        tokio::join!(crate::harness::send(&scene.router, fetch), late).0
    });
    let told = told.ok();
    assert_eq!(told["sets"].as_object().unwrap().len(), 1);
    assert!(begun.elapsed() >= Duration::from_millis(300) && begun.elapsed() < WITHIN);
}

#[test]
fn inv30_an_event_is_made_from_the_log_long_after_the_session_is_forgotten() {
    let scene = Scene::new();
    scene.revoke();
    let before = scene.waiting();
    scene.clock.set(scene.now().plus(3 * DAY));
    // The next row retires what is over.
    let lock = json!({ "name": "Anything" });
    scene.put(&scene.known.provision, "/v1/organisations/quay", &lock).ok();
    let session = scene.there.session.parse().unwrap();
    assert!(scene.app.state().sessions.get(session).is_none());
    assert_eq!(scene.waiting(), before);
}

#[test]
fn t16_a_stream_is_told_of_its_own_audience_and_nobody_else_touches_it() {
    let scene = Scene::new();
    let (boats, tours) = (scene.decide_key("boats"), scene.decide_key("tours"));
    let made = scene.post(tours, "/ssf/stream", &json!({ "description": "Of tours" }));
    made.is(201, "");
    let other = text(&made.json()["stream_id"]);
    let audience = scene.known.applications["tours"].0.clone();
    let visit = scene.enter_anew("hana@harbor-help", &[("audience", &audience)]);
    scene.revoke();
    let poll = |key: &str, stream: &str| {
        scene.post(key, &format!("/ssf/poll/{stream}"), &json!({ "returnImmediately": true }))
    };
    let own = scene.waiting();
    assert_eq!(own.iter().map(session_of).collect::<Vec<_>>(), [&json!(scene.there.session)]);
    let theirs = poll(tours, &other).ok();
    let sets = theirs["sets"].as_object().unwrap();
    let claims: Vec<Value> = sets.values().map(|s| scene.claims(&text(s))).collect();
    assert_eq!(claims.iter().map(session_of).collect::<Vec<_>>(), [&json!(visit)]);
    assert_eq!(claims[0]["aud"], json!(audience));
    assert!(claims[0]["jti"].as_str().unwrap().ends_with("_0"), "counted among one's own");
    // Somebody else's stream is not there, in any way.
    poll(tours, &scene.there.stream).is(404, "not_found");
    poll(boats, &other).is(404, "not_found");
    let named = json!({ "stream_id": scene.there.stream, "status": "disabled" });
    let query = format!("?stream_id={}", scene.there.stream);
    for (method, path, body) in [
        ("GET", format!("/ssf/stream{query}"), None),
        ("PATCH", "/ssf/stream".to_owned(), Some(&named)),
        ("PUT", "/ssf/stream".to_owned(), Some(&named)),
        ("DELETE", format!("/ssf/stream{query}"), None),
        ("GET", format!("/ssf/status{query}"), None),
        ("POST", "/ssf/status".to_owned(), Some(&named)),
        ("POST", "/ssf/verify".to_owned(), Some(&named)),
    ] {
        scene.call(tours, method, &path, body).is(404, "not_found");
        scene.call(&scene.known.operate, method, &path, body).is(403, "forbidden");
        scene.call(scene.at("ana@marina"), method, &path, body).is(403, "forbidden");
    }
    let mine = scene.get(tours, "/ssf/stream").ok();
    assert_eq!(mine.as_array().unwrap().len(), 1);
    assert_eq!(mine[0]["stream_id"], other.as_str());
    scene.post(boats, "/ssf/stream", &json!({})).is(409, "wrong_state");
    // A key that was retired fetches nothing more, also as a password.
    let proof = crate::town::basic("boats", boats);
    let mut request = crate::harness::request("", "GET", "/ssf/stream", None);
    request.headers_mut().insert("authorization", proof.parse().unwrap());
    assert_eq!(scene.send(request).ok().as_array().unwrap().len(), 1);
}

#[test]
fn t16_every_way_in_which_a_session_ends_reaches_the_stream() {
    type End = fn(&Scene);
    fn member(scene: &Scene, active: bool) {
        let known = scene.known.members["hugo@harbor-help"].clone();
        let put = crate::town::Member { active, ..known };
        let path = "/v1/organisations/harbor-help/members/hugo";
        scene.put(&scene.known.provision, path, &put.wire()).ok();
    }
    fn standing(scene: &Scene, organisation: &str, standing: &str) {
        let path = format!("/v1/organisations/{organisation}/standing");
        scene.put(&scene.known.operate, &path, &json!({ "standing": standing })).ok();
    }
    let ways: [(&str, &str, End); 11] = [
        ("user", "closed", |s| {
            let path = format!("/v1/sessions/{}/close", s.there.session);
            assert_eq!(s.call(&s.there.token, "POST", &path, None).status, 204);
        }),
        ("admin", "ended_by_customer", |s| s.end(&s.there.session)),
        ("admin", "revoked", Scene::revoke),
        ("admin", "grant_ended", |s| {
            let path = format!("/v1/grants/{}/give-up", s.there.grant);
            s.call(s.at("pia@harbor-help"), "POST", &path, None).ok();
        }),
        ("admin", "assignment_lost", |s| {
            let who = s.person("hugo@harbor-help");
            let path = format!("/v1/grants/{}/assignments/{who}", s.there.grant);
            s.call(s.at("pia@harbor-help"), "DELETE", &path, None).ok();
        }),
        ("admin", "assignment_lost", |s| {
            let path = format!("/v1/grants/{}/narrow", s.there.grant);
            s.post(s.at("ana@marina"), &path, &json!({ "modes": ["view"] })).ok();
        }),
        ("admin", "locked", |s| {
            let lock = json!({ "person": s.person("hugo@harbor-help") });
            s.post(s.at("ana@marina"), "/v1/organisations/marina/locks", &lock).ok();
        }),
        ("admin", "suspended", |s| member(s, false)),
        ("admin", "left", |s| {
            let path = "/v1/organisations/harbor-help/members/hugo";
            s.call(&s.known.provision, "DELETE", path, None).ok();
        }),
        ("admin", "suspended", |s| standing(s, "harbor-help", "suspended")),
        ("admin", "closed", |s| standing(s, "marina", "closed")),
    ];
    for (by, why, end) in ways {
        let scene = Scene::new();
        end(&scene);
        let told = scene.waiting();
        let sessions: Vec<&Value> = told.iter().map(session_of).collect();
        assert_eq!(sessions, [&json!(scene.there.session)], "{why}");
        assert_eq!(told[0]["events"][REVOKED]["initiating_entity"], by, "{why}");
    }
    // What the clock ends every service knows beforehand: it is not told.
    let scene = Scene::new();
    scene.clock.set(scene.now().plus(9 * HOUR));
    scene.put(&scene.known.provision, "/v1/organisations/quay", &json!({ "name": "Quay" })).ok();
    assert_eq!(scene.waiting(), Vec::<Value>::new());
}

#[test]
fn t16_paused_keeps_disabled_drops_and_a_verification_says_that_it_is_told() {
    let scene = Scene::new();
    let boats = scene.decide_key("boats");
    let verify = |state: &str| {
        let body = json!({ "stream_id": scene.there.stream, "state": state });
        scene.post(boats, "/ssf/verify", &body)
    };
    verify("VGhpcyBpcyBhbiBleGFtcGxl").is(204, "");
    let told = scene.waiting();
    assert_eq!(told[0]["events"], json!({ VERIFICATION: { "state": "VGhpcyBpcyBhbiBleGFtcGxl" } }));
    assert_eq!(told[0]["sub_id"], json!({ "format": "opaque", "id": scene.there.stream }));
    assert_eq!(scene.ssf_status("paused").ok()["status"], "paused");
    scene.end(&scene.there.session);
    assert_eq!(scene.waiting(), Vec::<Value>::new(), "nothing is said");
    scene.ssf_status("enabled").ok();
    assert_eq!(scene.waiting().len(), 2, "and nothing is lost");
    scene.ssf_status("disabled").ok();
    verify("x").is(409, "wrong_state");
    let dropped = scene.enter_anew("hana@harbor-help", &[]);
    scene.end(&dropped);
    // What waited is given up; that is done beside the answer.
    for _ in 0..200 {
        let counts = scene.app.reader().outbox_counts(None).unwrap();
        if counts.waiting == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    scene.ssf_status("enabled").ok();
    assert_eq!(scene.waiting(), Vec::<Value>::new());
    let kept = scene.enter_anew("hana@harbor-help", &[]);
    scene.end(&kept);
    assert_eq!(scene.waiting().iter().map(session_of).collect::<Vec<_>>(), [&json!(kept)]);
    let path = format!("/ssf/status?stream_id={}", scene.there.stream);
    let body = json!({ "stream_id": scene.there.stream, "status": "enabled" });
    assert_eq!(scene.get(boats, &path).ok(), body);
}

#[test]
fn t16_a_pushed_stream_that_is_paused_is_told_when_it_is_enabled() {
    let scene = Scene::new();
    let (url, arrived) = receiver(vec![TAKEN]);
    scene.pushed(&push_to(&url));
    scene.ssf_status("paused").ok();
    scene.revoke();
    assert!(arrived.recv_timeout(SOON).is_err());
    scene.ssf_status("enabled").ok();
    let claims = scene.claims(&arrived.recv_timeout(WITHIN).unwrap().set);
    assert_eq!(session_of(&claims), scene.there.session.as_str());
}

#[test]
fn inv30_what_nobody_takes_for_seven_days_turns_the_stream_off_and_says_so() {
    let scene = Scene::new();
    scene.revoke();
    assert_eq!(scene.waiting().len(), 1);
    scene.clock.set(scene.now().plus(7 * DAY - HOUR));
    scene.put(&scene.known.provision, "/v1/organisations/quay", &json!({ "name": "Quay" })).ok();
    std::thread::sleep(SOON);
    assert_eq!(scene.waiting().len(), 1, "not before");
    scene.clock.set(scene.now().plus(2 * HOUR));
    let boats = scene.decide_key("boats");
    let path = format!("/ssf/status?stream_id={}", scene.there.stream);
    let mut shown = Value::Null;
    for _ in 0..400 {
        shown = scene.get(boats, &path).ok();
        if shown["status"] == "disabled" && scene.waiting().len() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(shown["reason"].as_str().unwrap().contains("given up"), "{shown}");
    let told = scene.waiting();
    assert_eq!(told[0]["events"][UPDATED]["status"], "disabled");
    assert_eq!(told.len(), 1);
    let dead = scene.app.reader().outbox_counts(None).unwrap().dead;
    assert_eq!(dead, 1, "the event itself is a dead letter");
    scene.ssf_status("enabled").ok();
    assert!(scene.get(boats, &path).ok().get("reason").is_none());
}

#[test]
fn t43_only_202_is_taken_a_wrong_token_is_dead_at_once_and_everything_else_comes_again() {
    let scene = Scene::new();
    let (url, arrived) = receiver(vec![
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 21\r\n\r\n{\"err\":\"invalid_key\"}",
        "HTTP/1.1 400 Bad\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\nsecret",
        "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 26\r\n\r\n{\"err\":\"invalid_audience\"}",
        TAKEN,
    ]);
    scene.pushed(&push_to(&url));
    scene.revoke();
    let delivery = || {
        let stream: comity_domain::ids::StreamId = scene.there.stream.parse().unwrap();
        scene.app.reader().deliveries(stream.0, None, None, 1).unwrap().remove(0)
    };
    let mut names = Vec::new();
    for (attempt, code, problem, wait) in [
        (1, 200, "status", 6 * SECOND),
        (2, 400, "invalid_key", 70 * SECOND),
        (3, 400, "status", 3 * HOUR),
        (4, 400, "invalid_audience", 12 * HOUR),
    ] {
        names.push(text(&scene.claims(&arrived.recv_timeout(WITHIN).unwrap().set)["jti"]));
        for _ in 0..400 {
            let now = delivery();
            if (now.attempts, now.code, now.problem.as_deref())
                == (attempt, Some(code), Some(problem))
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        assert_eq!((delivery().code, delivery().problem.as_deref()), (Some(code), Some(problem)));
        scene.clock.set(scene.now().plus(wait));
    }
    assert!(names.iter().all(|n| *n == names[0]), "{names:?}");
    assert!(arrived.recv_timeout(SOON).is_err(), "it is not sent again");
    assert_eq!(scene.app.reader().outbox_counts(None).unwrap().dead, 1);
}

#[test]
fn t43_a_stream_leads_nowhere_inside_and_its_secret_nowhere_else() {
    let scene = Scene::new();
    let boats = scene.decide_key("boats");
    for url in [
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.7/",
        "https://[::ffff:127.0.0.1]/",
        "http://hooks.example.com/",
        "https://user@hooks.example.com/",
        "https://intranet/",
        "file:///etc/passwd",
    ] {
        let body = json!({ "stream_id": scene.there.stream, "delivery": push_to(url) });
        for method in ["PATCH", "PUT"] {
            scene.call(boats, method, "/ssf/stream", Some(&body)).is(422, "invalid");
        }
    }
    for header in ["", "two\r\nX-Lines: 1", "ünicode", "\u{0}"] {
        let mut delivery = push_to("https://app.example.com/events");
        delivery["authorization_header"] = json!(header);
        let body = json!({ "stream_id": scene.there.stream, "delivery": delivery });
        let told = scene.call(boats, "PATCH", "/ssf/stream", Some(&body));
        told.is(422, "invalid");
        assert_eq!(told.json()["field"], "delivery.authorization_header");
    }
    // The secret stays with its address through other changes, and goes to no other one.
    let (first, at_first) = receiver(vec![TAKEN]);
    let (second, at_second) = receiver(vec![TAKEN]);
    let mut delivery = push_to(&first);
    delivery["authorization_header"] = json!("Bearer canary-header");
    scene.pushed(&delivery);
    let named = json!({ "stream_id": scene.there.stream, "description": "Still there" });
    scene.call(boats, "PATCH", "/ssf/stream", Some(&named)).ok();
    scene.pushed(&push_to(&first));
    let one = scene.enter_anew("hana@harbor-help", &[]);
    scene.end(&one);
    let told = at_first.recv_timeout(WITHIN).unwrap();
    assert_eq!(told.header("authorization"), Some("Bearer canary-header"));
    let log = scene.get(&scene.known.provision, "/v1/events?limit=200&after=0").text();
    for shown in [scene.get(boats, "/ssf/stream").text(), log] {
        assert!(!shown.contains("canary-header"));
    }
    scene.pushed(&push_to(&second));
    let two = scene.enter_anew("hana@harbor-help", &[]);
    scene.end(&two);
    let told = at_second.recv_timeout(WITHIN).unwrap();
    assert_eq!(told.header("authorization"), None);
    scene.app.stop();
    for (name, bytes) in crate::harness::files(scene.folder.path()) {
        let held = bytes.windows(13).any(|w| w == b"canary-header");
        assert!(!held, "{name} holds the secret in the clear");
    }
}

#[test]
fn t16_a_stream_is_changed_in_part_and_whole_as_the_framework_says() {
    let scene = Scene::new();
    let boats = scene.decide_key("boats");
    let at = |p: &str| format!("{}{p}", scene.app.issuer());
    let configuration = scene.get("", "/.well-known/ssf-configuration").ok();
    assert_eq!(configuration["issuer"], scene.app.issuer());
    assert_eq!(configuration["jwks_uri"], at("/oauth/jwks"));
    assert_eq!(configuration["configuration_endpoint"], at("/ssf/stream"));
    assert_eq!(configuration["default_subjects"], "ALL");
    // What is not there is not told of: subjects cannot be added or removed one by one.
    for endpoint in ["add_subject_endpoint", "remove_subject_endpoint"] {
        assert!(configuration.get(endpoint).is_none(), "{endpoint}");
    }
    let path = format!("/ssf/stream?stream_id={}", scene.there.stream);
    let made = scene.get(boats, &path).ok();
    assert_eq!(
        made["delivery"],
        json!({ "method": "urn:ietf:rfc:8936",
        "endpoint_url": at(&format!("/ssf/poll/{}", scene.there.stream)) })
    );
    assert_eq!(made["events_delivered"], json!([REVOKED]));
    let edit = |method: &str, body: &Value| scene.call(boats, method, "/ssf/stream", Some(body));
    // Sent back as it was read it is the same.
    let seq = scene.app.state().seq;
    assert_eq!(edit("PUT", &made).ok(), made);
    assert_eq!(scene.app.state().seq, seq);
    for (field, value) in [
        ("iss", json!("https://other.example")),
        ("aud", json!("https://other.example")),
        ("events_supported", json!([])),
        ("events_delivered", json!([])),
    ] {
        let told = edit("PATCH", &json!({ "stream_id": scene.there.stream, field: value }));
        told.is(422, "invalid");
        assert_eq!(told.json()["field"], field);
    }
    let some = json!({ "stream_id": scene.there.stream, "description": "At the gateway",
        "events_requested": ["https://example.com/other"], "of_another_maker": { "x": 1 } });
    let changed = edit("PATCH", &some).ok();
    assert_eq!(
        (&changed["description"], &changed["events_delivered"]),
        (&json!("At the gateway"), &json!([]))
    );
    scene.end(&scene.there.session);
    assert_eq!(scene.waiting(), Vec::<Value>::new(), "it did not ask for it");
    let whole = json!({ "stream_id": scene.there.stream, "events_requested": [REVOKED],
        "delivery": push_to("https://app.example.com/events") });
    let changed = edit("PUT", &whole).ok();
    assert!(changed.get("description").is_none());
    assert_eq!(changed["delivery"], push_to("https://app.example.com/events"));
    let poll = format!("/ssf/poll/{}", scene.there.stream);
    scene.post(boats, &poll, &json!({ "returnImmediately": true })).is(409, "wrong_state");
    assert_eq!(scene.call(boats, "DELETE", &path, None).status, 204);
    scene.call(boats, "DELETE", &path, None).is(404, "not_found");
    assert_eq!(scene.get(boats, "/ssf/stream").ok(), json!([]));
    scene.post(boats, &poll, &json!({ "returnImmediately": true })).is(404, "not_found");
    let erase = json!({ "stream": scene.there.stream });
    scene.post(&scene.known.provision, "/v1/erasures", &erase).ok();
}

/// What is narrowed to nothing in one row, for everybody on the grant, is told one by one.
#[test]
fn t16_one_row_that_ends_many_is_told_of_each() {
    let scene = Scene::new();
    let grant = approve(&scene, scene.at("ana@marina"), &scene.there.asked, &terms());
    assert!(!grant.is_empty());
    let mut inside: Vec<String> = vec![scene.there.session.clone()];
    inside.extend((0..3).map(|_| scene.enter_anew("hana@harbor-help", &[])));
    scene.revoke();
    let told = scene.waiting();
    let names: std::collections::BTreeSet<String> = told.iter().map(|c| text(&c["jti"])).collect();
    assert_eq!(names.len(), 4);
    for session in inside {
        assert_eq!(told.iter().filter(|c| *session_of(c) == session).count(), 1);
    }
}
