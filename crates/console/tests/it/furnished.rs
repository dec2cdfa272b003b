//! An installation with a customer and two partners, with the console and the API in front of it: in
//! process, on a clock that stands still until it is moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use comity_api::limits;
use comity_app::App;
use comity_app::app::Settings;
use comity_app::clock::Clock;
use comity_app::people::passwords::Cost;
use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Door};
use comity_domain::time::Instant;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::engine;

/// When every installation begins: 2026-01-01T00:00:00Z.
pub const START: Instant = Instant(1_767_225_600_000);
/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";
/// Organisation, builder's identifier, name, portal role. The address is `<person>@<organisation>.example`.
const PEOPLE: [(&str, &str, &str, Option<&str>); 6] = [
    ("marina", "ana", "Ana Duarte", Some("admin")),
    ("marina", "marek", "Marek Nowak", Some("customer_support")),
    ("marina", "mia", "Mia Moss", None),
    ("harbor", "pia", "Pia Lindholm", Some("admin")),
    ("harbor", "quentin", "Quentin Moreau", None),
    ("sail", "sam", "Sam Okafor", Some("admin")),
];

/// An answer to a browser.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Where it leads.
    pub fn to(&self) -> &str {
        self.header(header::LOCATION)
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{} {}", self.to(), self.text);
        self
    }

    #[track_caller]
    pub fn shows(&self, text: &str) -> &Self {
        assert!(self.text.contains(text), "{text:?} is not in\n{}", self.text);
        self
    }

    #[track_caller]
    pub fn hides(&self, text: &str) -> &Self {
        assert!(!self.text.contains(text), "{text:?} is in\n{}", self.text);
        self
    }

    /// Has to lead there.
    #[track_caller]
    pub fn leads(&self, to: &str) -> &Self {
        assert_eq!((self.status, self.to()), (303, to), "{}", self.text);
        self
    }
}

/// A browser: its cookies, and the form key of the last page that had one.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
    pub form_key: String,
}

impl Browser {
    fn keep(&mut self, reply: &Reply) {
        for value in reply.headers.get_all(header::SET_COOKIE) {
            let text = value.to_str().unwrap();
            let (name, rest) = text.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            assert!(text.contains("Secure") && text.contains("Path=/"), "{text}");
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                assert!(text.contains("HttpOnly") && text.contains("SameSite=Strict"), "{text}");
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some((_, after)) = reply.text.split_once("name=\"form_key\" value=\"") {
            self.form_key = after.split('"').next().unwrap().to_owned();
        }
    }
}

/// A running installation.
pub struct House {
    pub app: Arc<App>,
    pub clock: Arc<Clock>,
    pub router: Router,
    pub runtime: tokio::runtime::Runtime,
    pub operate: String,
    pub provision: String,
    /// Identifiers of organisations (`marina`) and people (`ana@marina`).
    pub ids: BTreeMap<String, String>,
    _folder: TempDir,
}

pub fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

impl House {
    /// One with everybody in it.
    pub fn new() -> Self {
        Self::with(comity_console::Settings { demo: true })
    }

    pub fn with(console: comity_console::Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let clock = Arc::new(Clock::simulated(START));
        let data = folder.path().to_path_buf();
        let mut settings = Settings::new(data.clone(), data.join("comity.key"), Cost::TESTS);
        settings.database = engine::database_of(&data);
        let app = App::start(&settings, clock.clone()).expect("an installation");
        for _ in 0..2_000 {
            if app.is_ready() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let console = comity_console::router(app.clone(), console);
        let router = comity_api::router_beside(app.clone(), &limits::Settings::off(), console);
        let key = |caller: &Caller, usage| {
            let (secret, _) = runtime.block_on(app.make_key(caller, usage, None)).unwrap();
            secret.reveal().to_owned()
        };
        let operate = key(&Caller::system(), KeyUse::Operate);
        let provision = key(&app.caller(&operate, Door::Cli).unwrap(), KeyUse::Provision);
        let ids = BTreeMap::new();
        let mut house =
            Self { app, clock, router, runtime, operate, provision, ids, _folder: folder };
        house.furnish();
        house
    }

    fn furnish(&mut self) {
        let (operate, provision) = (self.operate.clone(), self.provision.clone());
        let boats = json!({ "audience": "https://api.boats.example",
            "permissions": ["bookings:read", "bookings:write", "invoices:read"] });
        self.api(&operate, "PUT", "/v1/platform/applications/boats", &boats);
        for (id, name) in
            [("marina", "Marina Bay"), ("harbor", "Harbor Help"), ("sail", "SailSupport")]
        {
            let path = format!("/v1/organisations/{id}");
            let made = self.api(&provision, "PUT", &path, &json!({ "name": name }));
            self.ids.insert(id.into(), made["id"].as_str().unwrap().into());
        }
        for (code, name, may) in [
            ("clerk", "Clerk", json!(["bookings:read", "bookings:write"])),
            ("viewer", "Viewer", json!(["bookings:read", "invoices:read"])),
        ] {
            let path = format!("/v1/organisations/marina/roles/{code}");
            self.api(&provision, "PUT", &path, &json!({ "name": name, "permissions": may }));
        }
        for boat in ["boat-1", "boat-2"] {
            let path = format!("/v1/organisations/marina/accounts/{boat}");
            self.api(&provision, "PUT", &path, &json!({ "name": boat.replace('-', " ") }));
        }
        for (organisation, id, name, portal) in PEOPLE {
            let path = format!("/v1/organisations/{organisation}/members/{id}");
            let body = json!({ "name": name, "email": format!("{id}@{organisation}.example"),
                "email_verified": true, "portal_role": portal, "active": true });
            let made = self.api(&provision, "PUT", &path, &body);
            let person = made["person"].as_str().or(made["id"].as_str()).unwrap_or_default();
            self.ids.insert(format!("{id}@{organisation}"), person.into());
            let token = self.api(&provision, "POST", &format!("{path}/enrolment"), &json!({}));
            self.api(
                "",
                "POST",
                "/v1/enrol",
                &json!({ "token": token["token"], "password": PASSWORD }),
            );
        }
    }

    /// Sends JSON to the API, which has to be taken.
    #[track_caller]
    pub fn api(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if !body.is_null() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let reply = self.send(request.body(body).unwrap());
        assert!(reply.status < 300, "{method} {path}: {} {}", reply.status, reply.text);
        serde_json::from_str(&reply.text).unwrap_or(Value::Null)
    }

    /// A bearer token of somebody, such as `ana@marina`.
    pub fn token(&self, who: &str) -> String {
        let body = json!({ "email": format!("{who}.example"), "password": PASSWORD });
        self.api("", "POST", "/v1/sign-in", &body)["token"].as_str().unwrap().to_owned()
    }

    pub fn id(&self, name: &str) -> &str {
        &self.ids[name]
    }

    pub fn wait(&self, millis: i64) {
        self.clock.set(self.app.now().plus(millis));
    }

    pub fn send(&self, request: Request<Body>) -> Reply {
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.expect("an answer");
            let (parts, body) = answer.into_parts();
            let bytes = body.collect().await.expect("a body").to_bytes().to_vec();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Reply { status: parts.status.as_u16(), headers: parts.headers, text }
        })
    }

    /// Opens a page.
    pub fn open(&self, browser: &mut Browser, path: &str) -> Reply {
        let cookies: Vec<String> =
            browser.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let request = Request::get(path)
            .header(header::HOST, "comity.example")
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, cookies.join("; "));
        let reply = self.send(request.body(Body::empty()).unwrap());
        browser.keep(&reply);
        reply
    }

    /// Sends a form as a page of ours does.
    pub fn submit(&self, browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
        let key = browser.form_key.clone();
        self.submit_with(browser, path, fields, &key)
    }

    /// The same with a form key of one's choice; none if it is empty.
    pub fn submit_with(
        &self,
        browser: &mut Browser,
        path: &str,
        fields: &[(&str, &str)],
        form_key: &str,
    ) -> Reply {
        let cookies: Vec<String> =
            browser.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut all: Vec<String> =
            fields.iter().map(|(k, v)| format!("{k}={}", escaped(v))).collect();
        if !form_key.is_empty() {
            all.push(format!("form_key={}", escaped(form_key)));
        }
        let request = Request::post(path)
            .header(header::HOST, "comity.example")
            .header(header::ORIGIN, "https://comity.example")
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::COOKIE, cookies.join("; "));
        let reply = self.send(request.body(Body::from(all.join("&"))).unwrap());
        browser.keep(&reply);
        reply
    }

    /// A browser in which somebody, such as `ana@marina`, has just signed in.
    #[track_caller]
    pub fn signed_in(&self, who: &str) -> Browser {
        let mut browser = Browser::default();
        let email = format!("{who}.example");
        let fields = [("email", email.as_str()), ("password", PASSWORD), ("back", "/console")];
        self.submit_with(&mut browser, "/console/sign-in", &fields, "").is(303);
        self.open(&mut browser, "/console/step-up").is(200);
        browser
    }
}
