//! An installation in a folder of its own, called over HTTP in process: no socket, a clock that
//! stands still until it is moved, and passwords that cost nothing.
//!
//! The first key is made at the terminal, as an operator would; everything else goes through the
//! router. Whatever is answered is checked for what every answer must have.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use comity_api::limits;
use comity_app::App;
use comity_app::app::Settings;
use comity_app::clock::Clock;
use comity_app::outbound::Rules;
use comity_app::people::passwords::Cost;
use comity_domain::time::{Instant, SECOND};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::{declared, engine};

/// When every installation begins: 2026-01-01T00:00:00Z.
pub const START: Instant = Instant(1_767_225_600_000);
/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The body as JSON; null if it has none.
    pub fn json(&self) -> Value {
        if self.bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&self.bytes).expect("a JSON body")
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The stable code of a "no".
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header as text.
    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The body, which has to be a yes.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, self.text());
        self.json()
    }

    /// Has to be this status with this code.
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        self
    }

    /// What must not tell two cases apart.
    pub fn face(&self) -> (u16, String, String) {
        (self.status, self.header(header::CONTENT_TYPE).to_owned(), self.text())
    }
}

/// A running installation.
pub struct House {
    pub app: Arc<App>,
    pub clock: Arc<Clock>,
    pub router: Router,
    pub runtime: tokio::runtime::Runtime,
    pub folder: TempDir,
}

impl House {
    /// Starts one in a folder, which may hold one already.
    pub fn start(folder: TempDir) -> Self {
        Self::reached(folder, None)
    }

    /// The same, reached under another name.
    pub fn reached(folder: TempDir, issuer: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let clock = Arc::new(Clock::simulated(START));
        let data = folder.path().to_path_buf();
        let mut settings = Settings::new(data.clone(), data.join("comity.key"), Cost::TESTS);
        settings.database = engine::database_of(&data);
        if let Some(issuer) = issuer {
            settings.issuer = issuer.to_owned();
        }
        // Receivers of the tests listen on loopback; names lead nowhere.
        settings.outbound.rules = Rules::new(true, [""; 0]).unwrap();
        settings.outbound.lookup = Arc::new(|name| {
            let near = vec![std::net::Ipv4Addr::LOCALHOST.into()];
            Box::pin(async move {
                if name == "never.example" {
                    // A resolver that does not answer, as the system's is asked: on a thread.
                    let asking = || std::thread::sleep(Duration::from_secs(60));
                    let _ = tokio::task::spawn_blocking(asking).await;
                }
                Ok(if name == "localhost" { near } else { Vec::new() })
            })
        });
        let app = App::start(&settings, clock.clone()).expect("an installation");
        // Where being current is confirmed over the network, whoever sends calls waits for it.
        for _ in 0..1_000 {
            if app.is_ready() || !engine::on_postgres() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // What is limited has tests of its own; everybody else's clock stands still.
        let router = comity_api::limited_router(app.clone(), &limits::Settings::off());
        Self { app, clock, router, runtime, folder }
    }

    /// Sends one request as it is.
    #[track_caller]
    pub fn send(&self, request: Request<Body>) -> Reply {
        self.runtime.block_on(send(&self.router, request))
    }

    /// Sends JSON, or nothing, with a bearer token, or none.
    #[track_caller]
    pub fn call(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let mut reply = self.send(request(token, method, path, body));
        // Where others write too a node on a busy machine may be late in confirming that it is
        // current. Nothing was done then, and whoever calls tries again.
        for _ in 0..100 {
            let late = reply.status == 503 && reply.text().contains("confirm that it is current");
            if !late || !engine::on_postgres() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            reply = self.send(request(token, method, path, body));
        }
        reply
    }

    #[track_caller]
    pub fn get(&self, token: &str, path: &str) -> Reply {
        self.call(token, "GET", path, None)
    }

    #[track_caller]
    pub fn put(&self, token: &str, path: &str, body: &Value) -> Reply {
        self.call(token, "PUT", path, Some(body))
    }

    /// The same, of the version that was seen.
    #[track_caller]
    pub fn put_seen(&self, token: &str, path: &str, body: &Value, tag: &str) -> Reply {
        let mut request = request(token, "PUT", path, Some(body));
        request.headers_mut().insert(header::IF_MATCH, tag.parse().unwrap());
        self.send(request)
    }

    #[track_caller]
    pub fn post(&self, token: &str, path: &str, body: &Value) -> Reply {
        self.call(token, "POST", path, Some(body))
    }

    /// Sends a form to the token endpoint.
    #[track_caller]
    pub fn exchange(&self, fields: &[(&str, &str)]) -> Reply {
        self.form("/oauth/token", None, fields)
    }

    /// Sends a form, with this in `Authorization`, or nothing.
    #[track_caller]
    pub fn form(&self, path: &str, proof: Option<&str>, fields: &[(&str, &str)]) -> Reply {
        let escaped = |s: &str| -> String {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
            s.bytes()
                .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
                .collect()
        };
        let form: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={}", escaped(v))).collect();
        let mut request =
            Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(proof) = proof {
            request = request.header(header::AUTHORIZATION, proof);
        }
        self.send(request.body(Body::from(form.join("&"))).unwrap())
    }

    pub fn now(&self) -> Instant {
        self.app.now()
    }

    pub fn wait(&self, millis: i64) {
        self.clock.set(self.now().plus(millis));
    }

    /// What a receiver is sent once more after it failed. The failure may be noted only after a move
    /// of the clock, which then counts for nothing: it is moved until something comes.
    pub fn comes_again<T>(&self, arrived: &Receiver<T>) -> T {
        for _ in 0..20 {
            self.wait(70 * SECOND);
            if let Ok(post) = arrived.recv_timeout(Duration::from_secs(2)) {
                return post;
            }
        }
        panic!("nothing came again");
    }

    /// A sign-in by password.
    pub fn sign_in(&self, email: &str) -> Reply {
        self.post("", "/v1/sign-in", &json!({ "email": email, "password": PASSWORD }))
    }
}

/// An instant as RFC 3339.
pub fn time(at: Instant) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(at.0).unwrap())
}

/// An instant from RFC 3339.
pub fn instant(text: &Value) -> Instant {
    let at: jiff::Timestamp =
        text.as_str().and_then(|t| t.parse().ok()).unwrap_or_else(|| panic!("no instant: {text}"));
    Instant(at.as_millisecond())
}

/// A JSON request.
pub fn request(token: &str, method: &str, path: &str, body: Option<&Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    match body {
        None => request.body(Body::empty()),
        Some(json) => request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(json.to_string())),
    }
    .unwrap()
}

/// Sends a request and looks at what every answer must have.
pub async fn send(router: &Router, request: Request<Body>) -> Reply {
    let path = request.uri().path().to_owned();
    let (method, uri) = (request.method().to_string(), request.uri().clone());
    let answer = router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes().to_vec();
    let reply = Reply { status: parts.status.as_u16(), headers: parts.headers, bytes };
    if let Err(why) = declared::wrong(&method, &uri, reply.status, &reply.headers, &reply.bytes) {
        panic!("not as /openapi.json says: {why}\n{}", reply.text());
    }
    let shows_itself = path == "/openapi.json" || path == "/docs" || path.starts_with("/docs/");
    let keys = path == "/oauth/jwks" && reply.status == 200; // public, and read by many
    let all = [
        (header::CACHE_CONTROL, if keys { "public, max-age=300" } else { "no-store" }),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in all.into_iter().filter(|_| !shows_itself || reply.status >= 400) {
        assert_eq!(reply.header(name.clone()), value, "{name} of {path}");
    }
    assert!(reply.status < 500 || reply.status == 503, "{path}: {} {}", reply.status, reply.text());
    if reply.status >= 400 {
        let kind = if reply.json().get("error").is_some() {
            "application/json"
        } else {
            "application/problem+json"
        };
        assert_eq!(reply.header(header::CONTENT_TYPE), kind, "{path}: {}", reply.text());
        assert!(
            kind.contains("problem") || path.starts_with("/oauth/"),
            "{path}: {}",
            reply.text()
        );
        assert!(!reply.code().is_empty(), "{path}: a code in {}", reply.text());
    }
    if reply.status == 401 {
        let how = reply.header(header::WWW_AUTHENTICATE);
        let bearer = "Bearer resource_metadata=\"http://127.0.0.1:8420/.well-known/oauth-protected-resource\"";
        let basic = "Basic realm=\"comity\", charset=\"UTF-8\"";
        let right = if path.starts_with("/oauth/") { basic } else { bearer };
        // Some installations are reached under a host name.
        assert_eq!(how.replace("//localhost:", "//127.0.0.1:"), right, "{path}");
    }
    reply
}

/// A text of a JSON body.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// A copy of an installation that was stopped.
pub fn copy(from: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let from = file.unwrap().path();
        std::fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
    }
    engine::copy_database(from, folder.path());
    folder
}

/// Every file of an installation, and every table where it has a database.
pub fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |f: std::io::Result<std::fs::DirEntry>| {
        let f = f.unwrap();
        (f.file_name().to_string_lossy().into_owned(), std::fs::read(f.path()).unwrap())
    };
    std::fs::read_dir(folder).unwrap().map(read).chain(engine::tables_of(folder)).collect()
}
