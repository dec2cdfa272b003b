//! t41, t48, inv34: marked secrets and words in every field, header and path, in requests that
//! succeed, fail or cannot be read; afterwards none of them stands in a log, in the figures, or in
//! any column that is not made for it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Server, call, string};

const AUDIENCE: &str = "https://api.boats.example";
const PASSWORD: &str = "canary-password-of-everyone";
const FORM: &str = "application/x-www-form-urlencoded";

/// Everything that must not be found, as it was sent or handed out.
#[derive(Default)]
struct Marks {
    secrets: BTreeSet<String>,
}

impl Marks {
    fn secret(&mut self, value: &Value, pointer: &str) -> String {
        let secret = string(value, pointer);
        self.secrets.insert(secret.clone());
        secret
    }
}

/// Sends bytes as they are and returns whatever comes back.
pub fn raw(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

struct Site {
    server: Server,
    marks: Marks,
    operate: String,
    provision: String,
    decide: String,
}

impl Site {
    fn of(mut server: Server) -> Self {
        let mut marks = Marks::default();
        let operate = server.read_until("cmt_key_").trim().to_owned();
        let mut key = |body| {
            let made = server.expect(201, "POST", "/v1/platform/keys", &operate, body);
            marks.secret(&made, "/secret")
        };
        let application = json!({ "audience": AUDIENCE, "permissions": ["*"] });
        server.expect(200, "PUT", "/v1/platform/applications/boats", &operate, application);
        let provision = key(json!({ "use": "provision" }));
        let decide = key(json!({ "use": "decide", "application": "boats" }));
        Self { server, marks, operate, provision, decide }
    }

    fn put(&self, path: &str, body: Value) -> Value {
        let path = format!("/v1/organisations/{path}");
        self.server.expect(201, "PUT", &path, &self.provision, body)
    }

    /// A member with a password; returns the person and a sign-in.
    fn member(&mut self, organisation: &str, who: &str, role: Option<&str>) -> (String, String) {
        let path = format!("{organisation}/members/canary-{who}");
        let email = format!("canary-{who}@canary.example");
        let body = json!({ "name": format!("Canary {who}"), "email": email, "email_verified": true, "portal_role": role });
        let person = string(&self.put(&path, body), "/person");
        let enrol = format!("/v1/organisations/{path}/enrolment");
        let made = self.server.expect(201, "POST", &enrol, &self.provision, Value::Null);
        let token = self.marks.secret(&made, "/token");
        let enrolled = json!({ "token": token, "password": PASSWORD });
        self.server.expect(204, "POST", "/v1/enrol", "", enrolled.clone());
        self.server.expect(422, "POST", "/v1/enrol", "", enrolled);
        let wrong = json!({ "email": email, "password": "canary-password-that-is-wrong" });
        self.server.expect(401, "POST", "/v1/sign-in", "", wrong);
        let right = json!({ "email": email, "password": PASSWORD });
        let signed_in = self.server.expect(200, "POST", "/v1/sign-in", "", right);
        (person, self.marks.secret(&signed_in, "/token"))
    }

    /// From a question to a stay, with everything that may be said on the way.
    fn story(&mut self) {
        self.put("canary-harbour", json!({ "name": "Canary Harbour" }));
        self.put("canary-brokers", json!({ "name": "Canary Brokers" }));
        self.put("canary-harbour/accounts/canary-pier", json!({ "name": "Canary Pier" }));
        self.put("canary-harbour/units/canary-unit", json!({ "name": "Canary Unit" }));
        // What a role is called is a fact: consent refers to it for ever.
        let role = json!({ "name": "Bookings desk", "permissions": ["bookings:*"] });
        self.put("canary-harbour/roles/bookings", role);
        let (_, ana) = self.member("canary-harbour", "ana", Some("admin"));
        let (_, sam) = self.member("canary-brokers", "sam", Some("admin"));
        let (tess, by_tess) = self.member("canary-brokers", "tess", None);
        let path = "/v1/organisations/canary-harbour/customer-id";
        let code = self.server.expect(200, "GET", path, &ana, Value::Null);
        let code = self.marks.secret(&code, "/customer_id");
        let wish = json!({ "customer_id": code, "level": "partner", "modes": ["direct", "act_as"], "days": 7,
            "reason": "canary-reason\r\n2026-01-01 INFO forged", "ticket": "CANARY-TICKET-1" });
        let asks = "/v1/organisations/canary-brokers/requests";
        let (status, refused) = self.server.call("POST", asks, &sam, &wish.to_string()).unwrap();
        assert_eq!(status, 422, "a reason of two lines: {refused}");
        let mut wish = wish;
        wish["reason"] = json!("canary-reason");
        let denied = string(&self.server.expect(201, "POST", asks, &sam, wish.clone()), "/id");
        let deny = json!({ "reason": "canary-denial", "message": "canary-message" });
        self.server.expect(200, "POST", &format!("/v1/requests/{denied}/deny"), &ana, deny);
        let asked = string(&self.server.expect(201, "POST", asks, &sam, wish), "/id");
        let terms = json!({ "roles": ["bookings"] });
        let request = format!("/v1/requests/{asked}");
        let summary =
            self.server.expect(200, "POST", &format!("{request}/summary"), &ana, terms.clone());
        let body = json!({ "summary": summary["summary"], "terms": terms });
        let approved = self.server.expect(200, "POST", &format!("{request}/approve"), &ana, body);
        let grant = string(&approved, "/grant");
        let assign = format!("/v1/grants/{grant}/assignments/{tess}");
        self.server.expect(200, "PUT", &assign, &sam, json!({ "roles": ["bookings"] }));
        let harbour = string(
            &self.server.expect(200, "GET", "/v1/organisations/canary-harbour", &ana, Value::Null),
            "/id",
        );
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
             &subject_token_type=urn:ietf:params:oauth:token-type:access_token&subject_token={by_tess}\
             &audience={AUDIENCE}&resource=urn:comity:organisation:{harbour}&mode=act_as&reason=canary-errand"
        );
        let (status, entered) =
            call(&self.server.address, "POST", "/oauth/token", "", FORM, &form).unwrap();
        assert_eq!(status, 200, "{entered}");
        let session = self.marks.secret(&entered, "/access_token");
        for (kind, id) in [("account", "canary-pier"), ("account", "canary-nowhere")] {
            let asked = json!({ "subject": { "type": "partner_session", "id": session },
                "action": { "name": "bookings:read" }, "resource": { "type": kind, "id": id } });
            self.server.expect(200, "POST", "/access/v1/evaluation", &self.decide, asked);
        }
        let lock = json!({ "person": tess, "reason": "canary-lock" });
        self.server.expect(201, "POST", "/v1/organisations/canary-harbour/locks", &ana, lock);
        let hooks = "/v1/organisations/canary-harbour/webhooks";
        let hook = json!({ "url": "https://canary-hook.example.com/canary", "description": "canary-hook" });
        let made = self.server.expect(201, "POST", hooks, &ana, hook);
        self.marks.secret(&made, "/secret");
        let test = format!("{hooks}/{}/test", string(&made, "/id"));
        self.server.expect(202, "POST", &test, &ana, json!({}));
        self.mistakes(&ana);
    }

    /// Marks where nobody expects them.
    fn mistakes(&self, ana: &str) {
        let address = &self.server.address;
        let secrets: Vec<&String> = self.marks.secrets.iter().collect();
        for secret in secrets {
            for request in [
                format!("GET /v1/{secret} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                format!(
                    "GET /v1/me?token={secret} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                ),
                format!(
                    "GET /v1/me HTTP/1.1\r\nHost: {secret}\r\nConnection: close\r\nX-Request-ID: {secret}\r\nCookie: {secret}\r\nUser-Agent: {secret}\r\nAuthorization: Bearer {secret}x\r\n\r\n"
                ),
                format!(
                    "POST /v1/sign-in HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: {secret}\r\nContent-Length: 2\r\n\r\n{{}}"
                ),
                format!("{secret} / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                format!("GET / {secret}\r\n\r\n"),
            ] {
                raw(address, &request);
            }
            for body in [
                format!("{{\"{secret}\": 1}}"),
                format!("{{\"email\": {{\"{secret}\": \"{secret}\"}}, \"password\": 7}}"),
                secret.to_string(),
                format!("{{\"email\": \"{secret}\", \"password\": \"{secret}\"}}"),
            ] {
                let (status, _) = self.server.call("POST", "/v1/sign-in", secret, &body).unwrap();
                assert!((400..500).contains(&status), "{status}");
            }
        }
        for path in [
            "/v1/organisations/canary-nowhere",
            "/v1/organisations/canary%0d%0a2026-01-01%20INFO%20forged/members",
            "/v1/organisations/canary%1b%5b2J",
            "/canary//canary/../canary",
            "/v1/events?organisation=canary-org&after=canary",
            "/v1/grants/canary-grant",
            "/metrics",
        ] {
            let (status, _) = self.server.call("GET", path, ana, "").unwrap();
            assert!((400..500).contains(&status), "{path} {status}");
        }
    }
}

/// Whether bytes hold a mark in any spelling of case.
fn holds(bytes: &[u8], mark: &str) -> bool {
    let mark = mark.to_ascii_lowercase();
    bytes.to_ascii_lowercase().windows(mark.len()).any(|w| w == mark.as_bytes())
}

/// Every value of every column, but those that are made for words.
fn columns(database: &Path, mut look: impl FnMut(&str, &[u8])) -> usize {
    let db = rusqlite::Connection::open(database).unwrap();
    let names = |sql: &str| -> Vec<String> {
        let mut ask = db.prepare(sql).unwrap();
        ask.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let mut values = 0;
    for table in names("SELECT name FROM sqlite_master WHERE type = 'table'") {
        for column in names(&format!("SELECT name FROM pragma_table_info('{table}')")) {
            let place = format!("{table}.{column}");
            let mut ask = db.prepare(&format!("SELECT {column} FROM {table}")).unwrap();
            let mut rows = ask.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                values += 1;
                match row.get_ref(0).unwrap() {
                    rusqlite::types::ValueRef::Text(bytes)
                    | rusqlite::types::ValueRef::Blob(bytes) => look(&place, bytes),
                    _ => {}
                }
            }
        }
    }
    values
}

fn run(format: &str) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(
        folder.path(),
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            "data",
            "--log",
            "trace",
            "--log-format",
            format,
            "--metrics-listen",
            "127.0.0.1:0",
        ],
    );
    let mut site = Site::of(server);
    site.story();
    let data = folder.path().join("data");
    let key_file = std::fs::read_to_string(data.join("comity.key")).unwrap();
    let mut secrets = site.marks.secrets.clone();
    secrets.extend([key_file.trim().to_owned(), PASSWORD.into(), "canary-password".into()]);
    assert!(secrets.len() > 10, "{}", secrets.len());

    let line = site.server.printed.iter().find(|l| l.contains("/metrics")).unwrap().clone();
    let metrics = line.split_once("http://").unwrap().1.trim().strip_suffix("/metrics").unwrap();
    let figures = raw(metrics, "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(figures.contains("comity_sign_ins_total{outcome=\"ok\"} 3"), "{figures}");
    assert!(figures.contains("comity_decisions_total{reason=\"allowed\"} 1"), "{figures}");
    let operate = site.operate.clone();
    let (status, out, errors) = site.server.end(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(errors.matches("request").count() > 50, "requests are logged: {errors}");

    // The one secret that is meant to be shown is shown once, to whoever started it.
    assert_eq!(out.matches(&operate).count(), 1);
    let out = out.replace(&operate, "");
    secrets.insert(operate);
    for (place, text) in [("stdout", &out), ("stderr", &errors), ("/metrics", &figures)] {
        for secret in &secrets {
            assert!(!holds(text.as_bytes(), secret), "{secret} in {place}: {text}");
        }
        assert!(!holds(text.as_bytes(), "canary"), "a word in {place}: {text}");
        for id in ["org_", "per_", "ses_", "grt_", "cmt_"] {
            assert!(!text.contains(id), "{id} in {place}: {text}");
        }
    }
    // t41: each line is one event, and none was made by what was sent.
    for line in errors.lines() {
        assert!(!line.contains("forged"), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        if format == "json" {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(event["level"].is_string() && event["timestamp"].is_string(), "{line}");
        }
    }
    at_rest(&data, &secrets);
}

/// inv34: secrets nowhere, words only where they can be erased.
fn at_rest(data: &Path, secrets: &BTreeSet<String>) {
    for file in std::fs::read_dir(data).unwrap().map(Result::unwrap) {
        let bytes = std::fs::read(file.path()).unwrap();
        let name = file.file_name().into_string().unwrap();
        for secret in secrets.iter().filter(|_| name != "comity.key") {
            assert!(!holds(&bytes, secret), "{secret} in {name}");
        }
        if !name.starts_with("comity.db") && !name.starts_with("calls.db") {
            assert!(!holds(&bytes, "canary"), "a word in {name}");
        }
    }
    let mut words = 0;
    for database in ["comity.db", "calls.db"] {
        let values = columns(&data.join(database), |place, bytes| {
            let marked = holds(bytes, "canary");
            // What a call was about is recorded as the builder named it.
            if matches!(place, "word.text" | "call.resource") {
                words += usize::from(marked);
            } else {
                assert!(!marked, "{place}: {}", String::from_utf8_lossy(bytes));
            }
        });
        assert!(values > 10, "{database} was not read");
    }
    assert!(words > 20, "the words were not found where they belong: {words}");
}

#[test]
fn t41_t48_inv34_no_secret_and_no_word_leaves_its_place_with_logs_as_text() {
    run("text");
}

#[test]
fn t41_t48_inv34_no_secret_and_no_word_leaves_its_place_with_logs_as_json() {
    run("json");
}
