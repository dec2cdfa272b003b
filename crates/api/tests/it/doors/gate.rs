//! The gate: what proxies ask before they let a request through (R18, R19, T7, T17).

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_api::gate::{self, Settings};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use super::Scene;

const TABLE: &str = r#"
[[rules]]
methods = ["GET", "HEAD"]
path = "/v1/boats/{account}"
permission = "boats:read"

[[rules]]
methods = ["PATCH"]
path = "/v1/boats/{account}"
permission = "boats:move"

[[rules]]
methods = ["POST"]
path = "/v1/boats/{account}/sell"
permission = "boats:sell"

[[rules]]
methods = ["GET"]
path = "/v1/fleet"
permission = "boats:read"
account = "none"

[[rules]]
methods = ["POST"]
path = "/v1/bookings"
permission = "bookings:write"
account = "query:boat"
"#;

/// A proxy of a kind in front of the scene.
struct Proxy<'s> {
    scene: &'s Scene,
    router: Router,
    from: &'static str,
}

/// What the proxy was told.
struct Told {
    status: u16,
    reason: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Told {
    fn said(&self) -> (u16, &str) {
        (self.status, &self.reason)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl<'s> Proxy<'s> {
    fn new(scene: &'s Scene, from: &'static str, no_session: &str) -> Self {
        Self::of(scene, from, no_session, "boats")
    }

    fn of(scene: &'s Scene, from: &'static str, no_session: &str, application: &str) -> Self {
        let text = format!(
            "application = \"{application}\"\nfrom = \"{from}\"\nno_session = \"{no_session}\"\n{TABLE}"
        );
        let settings: Settings = toml::from_str(&text).unwrap();
        let router = gate::router(scene.app.clone(), settings.gate().unwrap());
        Self { scene, router, from }
    }

    fn asks(&self, token: &str, method: &str, target: &str) -> Told {
        let bearer = format!("Bearer {token}");
        let auth = [("authorization", bearer.as_str())];
        self.asks_with(method, target, if token.is_empty() { &[] } else { &auth })
    }

    fn asks_with(&self, method: &str, target: &str, more: &[(&str, &str)]) -> Told {
        let request = match self.from {
            "envoy" => Request::builder().method(method).uri(format!("/gate/envoy{target}")),
            "nginx" => Request::get("/gate")
                .header("X-Original-Method", method)
                .header("X-Original-URI", target),
            _ => Request::get("/gate")
                .header("X-Forwarded-Method", method)
                .header("X-Forwarded-Uri", target),
        };
        let request = more.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        self.sends(request.body(Body::empty()).unwrap())
    }

    fn sends(&self, request: Request<Body>) -> Told {
        let router = self.router.clone();
        self.scene.runtime.block_on(async move {
            let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes().to_vec();
            let status = parts.status.as_u16();
            let reason = parts.headers.get("x-partner-reason");
            let reason = reason.map_or("", |v| v.to_str().unwrap()).to_owned();
            if status < 300 {
                assert!(body.is_empty() && reason.is_empty(), "a yes has no body and no reason");
            } else {
                let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(problem["code"], json!(reason));
                let partner = |n: &&str| parts.headers.contains_key(*n);
                assert!(
                    !["x-partner-actor", "x-partner-session"].iter().any(partner),
                    "a no names nobody"
                );
            }
            Told { status, reason, headers: parts.headers, body }
        })
    }
}

fn counts(scene: &Scene) -> (u64, u64) {
    let counts = scene.app.counts(scene.there.session.parse().unwrap());
    (counts.allowed, counts.refused)
}

#[test]
fn r18_a_proxy_is_told_yes_with_who_it_is_and_each_question_counts_once() {
    let scene = Scene::new();
    let token = scene.there.token.clone();
    let before = counts(&scene);
    for (from, yes) in [("nginx", 204), ("forwarded", 204), ("envoy", 200)] {
        let proxy = Proxy::new(&scene, from, "refuse");
        let told = proxy.asks(&token, "GET", "/v1/boats/boat-1");
        assert_eq!(told.status, yes, "{from}: {}", told.reason);
        assert_eq!(told.header("x-partner-actor"), scene.person("hugo@harbor-help"));
        assert_eq!(told.header("x-partner-subject"), scene.person("hugo@harbor-help"));
        assert_eq!(told.header("x-partner-customer"), scene.known.organisations["marina"]);
        assert_eq!(told.header("x-partner-customer-id"), "marina");
        assert_eq!(told.header("x-partner-organisation-id"), "harbor-help");
        assert_eq!(told.header("x-partner-session"), scene.there.session);
        assert_eq!(told.header("x-partner-grant"), scene.there.grant);
        assert_eq!(told.header("x-partner-mode"), "direct");
        let mut roles: Vec<&str> = told.header("x-partner-roles").split(',').collect();
        roles.sort_unstable();
        assert_eq!(roles, ["clerk", "skipper"]);
        assert!(told.body.is_empty());
    }
    let after = counts(&scene);
    assert_eq!((after.0 - before.0, after.1 - before.1), (3, 0));
}

#[test]
fn r19_every_no_has_its_status_and_reason_and_what_no_rule_names_is_refused() {
    let scene = Scene::new();
    let proxy = Proxy::new(&scene, "nginx", "refuse");
    let token = scene.there.token.clone();
    for (method, target, status, reason) in [
        ("GET", "/v1/boats/boat-3", 403, "account_not_in_grant"),
        ("GET", "/v1/boats/ferry-1", 403, "wrong_resource"),
        ("GET", "/v1/boats/nothing", 403, "wrong_resource"),
        ("POST", "/v1/boats/boat-1/sell", 403, "no_role"),
        ("GET", "/v1/fleet", 403, "account_required"),
        ("DELETE", "/v1/boats/boat-1", 403, "no_rule"),
        ("GET", "/v1/elsewhere", 403, "no_rule"),
        ("get", "/v1/boats/boat-1", 403, "no_rule"),
        ("POST", "/v1/bookings", 403, "ambiguous_request"),
        ("POST", "/v1/bookings?boat=boat-1&boat=boat-1", 403, "ambiguous_request"),
        ("POST", "/v1/bookings?boat=boat-1", 204, ""),
        ("PATCH", "/v1/boats/boat-2/", 204, ""),
    ] {
        assert_eq!(
            proxy.asks(&token, method, target).said(),
            (status, reason),
            "{method} {target}"
        );
    }
    for (token, reason) in [("", "unauthenticated"), ("garbage", "unauthenticated")] {
        let told = proxy.asks(token, "GET", "/v1/boats/boat-1");
        assert_eq!(told.said(), (401, reason));
        assert_eq!(told.header("www-authenticate"), "Bearer");
    }
    // A person's own sign-in and a key are no partner session, and neither is a mistyped token.
    for other in [scene.at("hugo@harbor-help"), scene.decide_key("boats"), &format!("{token}x")] {
        let told = proxy.asks(other, "GET", "/v1/boats/boat-1");
        assert_eq!(told.said(), (401, "session_unknown"), "{other}");
        assert_eq!(told.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    }
}

#[test]
fn r12_an_ended_session_is_refused_at_the_next_question_also_where_strangers_pass() {
    let scene = Scene::new();
    let token = scene.there.token.clone();
    let (strict, lax) =
        (Proxy::new(&scene, "nginx", "refuse"), Proxy::new(&scene, "nginx", "pass"));
    for proxy in [&strict, &lax] {
        assert_eq!(proxy.asks(&token, "GET", "/v1/boats/boat-1").status, 204);
    }
    let end = format!("/v1/sessions/{}/end", scene.there.session);
    scene.call(scene.at("ana@marina"), "POST", &end, None).ok();
    for proxy in [&strict, &lax] {
        let told = proxy.asks(&token, "GET", "/v1/boats/boat-1");
        assert_eq!(told.said(), (401, "ended_by_customer"));
    }
    let revoke = format!("/v1/grants/{}/revoke", scene.there.grant);
    scene.call(scene.at("ana@marina"), "POST", &revoke, None).ok();
    assert_eq!(strict.asks(&token, "GET", "/v1/boats/boat-1").status, 401);
}

#[test]
fn t7_a_token_is_for_one_application_only() {
    let scene = Scene::new();
    let proxy = Proxy::of(&scene, "nginx", "refuse", "tours");
    let told = proxy.asks(&scene.there.token, "GET", "/v1/boats/boat-1");
    assert_eq!(told.said(), (401, "session_unknown"));
    let nobody = Proxy::of(&scene, "nginx", "refuse", "nothing");
    assert_eq!(nobody.asks(&scene.there.token, "GET", "/v1/boats/boat-1").status, 503);
}

#[test]
fn without_a_session_the_product_decides_only_where_the_builder_says_so_and_nothing_says_who_it_is()
{
    let scene = Scene::new();
    let lax = Proxy::new(&scene, "nginx", "pass");
    let claims = |iss: &str| {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.AAAA", part(json!({ "alg": "none" })), part(json!({ "iss": iss })))
    };
    let theirs = format!("Bearer {}", claims("https://product.example"));
    for auth in [None, Some("Basic dTpw"), Some("Bearer product-token"), Some(theirs.as_str())] {
        let auth: Vec<(&str, &str)> = auth.into_iter().map(|a| ("authorization", a)).collect();
        // Also where no rule is: it is not for the gate to say what the product's own users may do.
        let told = lax.asks_with("DELETE", "/anything/../at/all", &auth);
        assert_eq!(told.status, 204);
        let named = told.headers.keys().filter(|n| n.as_str().starts_with("x-partner-"));
        assert_eq!(named.count(), 0);
    }
    // What says that it is Comity's and is not in force is no stranger.
    let forged = format!("Bearer {}", claims(scene.app.issuer()));
    let short = format!("Bearer {}", &scene.there.token[..40]);
    for auth in [forged.as_str(), short.as_str(), "Bearer cmt_session_nothing"] {
        let told = lax.asks_with("GET", "/v1/boats/boat-1", &[("authorization", auth)]);
        assert_eq!(told.said(), (401, "session_unknown"), "{auth}");
    }
    let bearer = format!("Bearer {}", scene.there.token);
    for odd in [
        &[("authorization", bearer.as_str()), ("authorization", "Bearer product-token")][..],
        &[("authorization", "Bearer product-token"), ("authorization", bearer.as_str())],
        &[("authorization", scene.there.token.as_str())],
        &[("authorization", &format!("Token {}", scene.there.token))],
        &[("authorization", &format!("Bearer product-token, {bearer}"))],
        &[("authorization", &forged.replace("Bearer", "Token"))],
        &[("authorization", &forged.replace(' ', "\t"))],
    ] {
        assert_eq!(
            lax.asks_with("GET", "/v1/boats/boat-1", odd).said(),
            (403, "ambiguous_request")
        );
    }
}

#[test]
fn t17_what_the_proxy_did_not_say_or_said_twice_is_refused() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.there.token);
    let auth = (header::AUTHORIZATION.as_str(), bearer.as_str());
    let (nginx, forwarded) =
        (Proxy::new(&scene, "nginx", "refuse"), Proxy::new(&scene, "forwarded", "refuse"));
    // A client's header beside the proxy's own.
    let twice =
        nginx.asks_with("GET", "/v1/boats/boat-1", &[auth, ("x-original-uri", "/v1/boats/boat-2")]);
    assert_eq!(twice.said(), (403, "ambiguous_request"));
    let twice =
        forwarded.asks_with("GET", "/v1/boats/boat-1", &[auth, ("X-Forwarded-Method", "GET")]);
    assert_eq!(twice.said(), (403, "ambiguous_request"));
    // The other kind's headers count for nothing, whatever they say.
    let other = [auth, ("x-forwarded-method", "GET"), ("x-forwarded-uri", "/v1/boats/boat-1")];
    assert_eq!(nginx.asks_with("POST", "/v1/boats/boat-1/sell", &other).said(), (403, "no_role"));
    let bare = Request::get("/gate").header(auth.0, auth.1);
    let bare = bare.header("x-forwarded-uri", "/v1/boats/boat-1").body(Body::empty()).unwrap();
    assert_eq!(nginx.sends(bare).said(), (403, "ambiguous_request"));
    for target in [
        "/v1/boats/boat-3/../boat-1",
        "/v1//boats/boat-1",
        "/v1/boats/boat-1%2fx",
        "/v1/boats/boat-1;x",
    ] {
        assert_eq!(
            nginx.asks_with("GET", target, &[auth]).said(),
            (403, "ambiguous_request"),
            "{target}"
        );
        let envoy = Proxy::new(&scene, "envoy", "refuse");
        assert_eq!(
            envoy.asks_with("GET", target, &[auth]).said(),
            (403, "ambiguous_request"),
            "{target}"
        );
    }
}

#[test]
fn t17_a_request_that_some_framework_takes_for_another_is_refused() {
    let scene = Scene::new();
    let bearer = format!("Bearer {}", scene.there.token);
    let proxy = Proxy::new(&scene, "forwarded", "refuse");
    let before = counts(&scene);
    for (name, value) in [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X_HTTP_Method_Override", "DELETE"),
        ("X-HTTP-Method", "PUT"),
        ("X-Method-Override", "PUT"),
        ("X-Original-URL", "/v1/boats/boat-3"),
        ("X-Rewrite-Url", "/v1/boats/boat-3"),
    ] {
        let more = [("authorization", bearer.as_str()), (name, value)];
        let told = proxy.asks_with("GET", "/v1/boats/boat-1", &more);
        assert_eq!(told.said(), (403, "ambiguous_request"), "{name}");
    }
    let told = proxy.asks(&scene.there.token, "GET", "/v1/boats/boat-1?_method=DELETE");
    assert_eq!(told.said(), (403, "ambiguous_request"));
    assert_eq!(counts(&scene), before, "nothing was decided, so nothing counts");
    assert_eq!(proxy.asks(&scene.there.token, "GET", "/v1/boats/boat-1?x=_method").status, 204);
}

#[test]
fn a_node_that_cannot_know_lets_nothing_through() {
    let scene = Scene::new();
    let proxy = Proxy::new(&scene, "nginx", "refuse");
    let token = scene.there.token.clone();
    assert_eq!(proxy.asks(&token, "GET", "/v1/boats/boat-1").status, 204);
    scene.app.stop();
    let clock = comity_app::clock::stopwatch();
    while proxy.asks(&token, "GET", "/v1/boats/boat-1").status == 204 {
        assert!(clock() < std::time::Duration::from_secs(10), "still yes");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(proxy.asks(&token, "GET", "/v1/boats/boat-1").status, 503);
}
