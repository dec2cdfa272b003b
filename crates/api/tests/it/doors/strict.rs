//! T14, T15, T19, T26, T44: one spelling of everything, and a clear no to the rest.

use axum::body::Body;
use axum::http::{Request, header};
use comity_app::tokens::{Kind, Secret};
use serde_json::{Value, json};

use super::Scene;
use crate::harness::PASSWORD;
use crate::may_routes::{Call, calls};

fn raw(
    token: &str,
    method: &str,
    path: &str,
    kind: Option<&str>,
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if let Some(kind) = kind {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    request.body(body.into()).unwrap()
}

/// Who may make this call, so that nothing else stands in its way.
fn fit<'s>(scene: &'s Scene, call: &Call) -> &'s str {
    match call.route {
        r if r.starts_with("/v1/platform") || r.ends_with("/standing") => &scene.known.operate,
        r if r.starts_with("/access/") => scene.decide_key("boats"),
        r if r.contains("/requests") && r.starts_with("/v1/organisations") => {
            scene.at("pia@harbor-help")
        }
        r if r.contains("assignments") => scene.at("pia@harbor-help"),
        "/v1/organisations/{organisation}" => &scene.known.provision,
        _ => scene.at("ana@marina"),
    }
}

#[test]
fn t14_no_body_takes_a_field_that_it_does_not_know() {
    let scene = Scene::new();
    let mut tried = 0;
    for call in calls(&scene) {
        let Some(body @ Value::Object(_)) = &call.body else {
            continue;
        };
        // RFC 6749, AuthZEN and SSF want what they do not know passed over: their doors have the tests.
        if ["/oauth/", "/access/", "/ssf/"].iter().any(|door| call.route.starts_with(door)) {
            continue;
        }
        for extra in ["state", "organisation_id", "email_verified_by"] {
            let mut body = body.clone();
            body[extra] = json!("active");
            let reply = scene.send(call.request(fit(&scene, &call), Some(&body)));
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (422, "invalid"),
                "{} {}: {}",
                call.method,
                call.route,
                reply.text()
            );
            assert_eq!(reply.json()["field"], json!(extra), "{} {}", call.method, call.route);
            tried += 1;
        }
    }
    assert!(tried >= 60, "{tried} bodies were tried");
}

#[test]
fn t14_nor_does_what_is_inside_a_body() {
    let scene = Scene::new();
    let ana = scene.at("ana@marina");
    let approve =
        json!({ "summary": "0".repeat(64), "terms": { "roles": ["skipper"], "widen": true } });
    let reply = scene.post(ana, &format!("/v1/requests/{}/approve", scene.there.asked), &approve);
    assert_eq!((reply.status, &reply.json()["field"]), (422, &json!("terms.widen")));
    let next = json!({ "successor": { "person": scene.person("hana@harbor-help"), "roles": ["skipper"], "mode": "act_as" } });
    let path = format!(
        "/v1/grants/{}/assignments/{}",
        scene.there.grant,
        scene.person("hugo@harbor-help")
    );
    let reply = scene.call(scene.at("pia@harbor-help"), "DELETE", &path, Some(&next));
    assert_eq!((reply.status, &reply.json()["field"]), (422, &json!("successor.mode")));
    // The token endpoint says it in OAuth's words.
    let hugo = scene.at("hugo@harbor-help");
    scene.enter(hugo, "marina", &[("scope", "money:payout")]).is(400, "invalid");
    scene.enter(hugo, "marina", &[("mode", "direct"), ("mode", "act_as")]).is(400, "invalid");
    scene.enter(hugo, "marina", &[("mode", "root")]).is(400, "invalid");
}

#[test]
fn t15_a_body_is_one_json_object_of_one_spelling() {
    let scene = Scene::new();
    let provision = scene.known.provision.clone();
    let put = |kind: Option<&str>, body: &str| {
        scene.send(raw(&provision, "PUT", "/v1/organisations/marina", kind, body.to_owned()))
    };
    let json = Some("application/json");
    put(json, r#"{"name":"A","name":"B"}"#).is(422, "invalid");
    put(json, r#"{"name":"A"} {"name":"B"}"#).is(400, "bad_json");
    for bad in [
        "",
        "{",
        "hello",
        "{\"name\":\"A\",}",
        "\u{feff}{\"name\":\"A\"}",
        "{'name':'A'}",
        "{\"name\":\"\\ud800\"}",
    ] {
        put(json, bad).is(400, "bad_json");
    }
    for odd in
        [r#"["Marina Bay"]"#, "null", "1", r#""name""#, r#"{"name":1}"#, r#"{"name":null}"#, "{}"]
    {
        put(json, odd).is(422, "invalid");
    }
    let bytes = raw(
        &provision,
        "PUT",
        "/v1/organisations/marina",
        json,
        vec![b'{', b'"', 0xff, b'"', b'}'],
    );
    scene.send(bytes).is(400, "bad_json");
    for kind in [
        None,
        Some("text/plain"),
        Some("application/jsonx"),
        Some("application/x-www-form-urlencoded"),
        Some(""),
    ] {
        put(kind, r#"{"name":"Marina Bay"}"#).is(415, "unsupported_media_type");
    }
    put(Some("application/json; charset=utf-8"), r#"{"name":"Marina Bay"}"#).ok();
    let mut twice =
        raw(&provision, "PUT", "/v1/organisations/marina", json, r#"{"name":"Marina Bay"}"#);
    twice.headers_mut().append(header::CONTENT_TYPE, "text/plain".parse().unwrap());
    scene.send(twice).is(415, "unsupported_media_type");
    let form = raw("", "POST", "/oauth/token", json, "{}");
    scene.send(form).is(400, "invalid");
}

#[test]
fn t44_a_body_has_an_end_and_a_depth() {
    let scene = Scene::new();
    let provision = scene.known.provision.clone();
    let of = |size: usize| format!("{{\"name\":\"{}\"}}", "a".repeat(size - 11));
    let put = |body: String| {
        scene.send(raw(
            &provision,
            "PUT",
            "/v1/organisations/marina",
            Some("application/json"),
            body,
        ))
    };
    put(of(256 * 1024 + 1)).is(413, "too_large");
    put(of(256 * 1024)).is(422, "invalid"); // read, and too long for a name
    let form = raw(
        "",
        "POST",
        "/oauth/token",
        Some("application/x-www-form-urlencoded"),
        "a".repeat(256 * 1024 + 1),
    );
    scene.send(form).is(413, "too_large");
    let deep = format!(
        "{{\"subject\":{{}},\"context\":{}1{}}}",
        "{\"a\":".repeat(5_000),
        "}".repeat(5_000)
    );
    let deep = raw(
        scene.decide_key("boats"),
        "POST",
        "/access/v1/evaluation",
        Some("application/json"),
        deep,
    );
    let reply = scene.send(deep);
    assert!([400, 422].contains(&reply.status), "{}", reply.text());
}

#[test]
fn t15_a_path_has_one_normal_form_and_others_are_refused_before_anything_is_asked() {
    let scene = Scene::new();
    let operate = &scene.known.operate;
    for odd in [
        "//v1/me",
        "/v1//me",
        "/v1/me//",
        "/v1/./me",
        "/v1/../v1/me",
        "/v1/%2e%2e/me",
        "/v1/%2E/me",
        "/v1%2fme",
        "/v1%2Fme",
        "/v1/organisations/marina%2Funits",
        "/v1/organisations/%5c",
        "/v1/organisations/a%00",
        "/v1/organisations/m%61rina",
        "/v1/organisations/marina%",
        "/v1/organisations/marina%zz",
        "/%76%31/me",
    ] {
        scene.get("", odd).is(400, "bad_path");
        scene.get(operate, odd).is(400, "bad_path");
    }
    scene.get("", &format!("/v1/{}", "a".repeat(5_000))).is(400, "bad_path");
    for other in ["/v1/me/", "/V1/me", "/v1/ME", "/v2/me", "/", "/v1", "/v1/organisations/"] {
        scene.get(operate, other).is(404, "not_found");
    }
    // What has to be written with a percent sign is read once.
    scene.get(&scene.known.provision, "/v1/organisations/marina%252e").is(404, "not_found");
    let name = json!({ "name": "Quai d'Été" });
    scene.put(&scene.known.provision, "/v1/organisations/quai%20d%27%C3%A9t%C3%A9", &name).ok();
    let read = scene.get(&scene.known.provision, "/v1/organisations/quai%20d%27%C3%A9t%C3%A9").ok();
    assert_eq!(read["external_id"], json!("quai d'été"));
}

#[test]
fn t15_a_query_takes_what_it_knows_once() {
    let scene = Scene::new();
    let ana = scene.at("ana@marina");
    let lists = ["requests", "grants", "sessions", "members", "roles", "units", "accounts"];
    let mut paths: Vec<String> =
        lists.iter().map(|l| format!("/v1/organisations/marina/{l}")).collect();
    paths.push(format!("/v1/grants/{}/assignments", scene.there.grant));
    for path in &paths {
        scene.get(ana, path).ok();
        for bad in [
            "?limits=3",
            "?limit=3&limit=4",
            "?limit=0",
            "?limit=201",
            "?limit=-1",
            "?limit=x",
            "?cursor=x",
            "?cursor=",
        ] {
            scene.get(ana, &format!("{path}{bad}")).is(422, "invalid");
        }
    }
    for bad in [
        "?organisation=marina&after=-1",
        "?organisation=marina&wait=26",
        "?organisation=marina&since=1",
        "",
    ] {
        scene.get(ana, &format!("/v1/events{bad}")).is(422, "invalid");
    }
    let reply = scene.get(ana, "/v1/organisations/marina/grants?lmit=3");
    assert_eq!(reply.json()["field"], json!("lmit"));
}

#[test]
fn a_method_that_a_path_does_not_take_is_405() {
    let scene = Scene::new();
    for (method, path) in [
        ("DELETE", "/v1/me"),
        ("POST", "/v1/organisations/marina"),
        ("GET", "/oauth/token"),
        ("PATCH", "/v1/sign-in"),
    ] {
        let reply = scene.call(scene.at("ana@marina"), method, path, None);
        reply.is(405, "method_not_allowed");
        assert!(!reply.header(header::ALLOW).is_empty(), "{method} {path} says what it takes");
    }
}

#[test]
fn t19_a_token_counts_whole_or_not_at_all() {
    let scene = Scene::new();
    let nothing = scene.get("", "/v1/me").face();
    let with = |value: String| {
        let request = Request::get("/v1/me").header(header::AUTHORIZATION, value);
        scene.send(request.body(Body::empty()).unwrap()).face()
    };
    for good in [scene.at("ana@marina"), &scene.known.provision, &scene.there.token] {
        for len in 0..good.len() {
            assert_eq!(scene.get(&good[..len], "/v1/me").face(), nothing, "{len} characters");
        }
        let other = if good.ends_with('0') { "1" } else { "0" };
        for bad in [
            format!("{good}0"),
            good.to_uppercase(),
            format!("{}{other}", &good[..good.len() - 1]),
            format!("{good} {good}"),
        ] {
            assert_eq!(with(format!("Bearer {bad}")), nothing);
        }
        assert_eq!(with(format!("Basic {good}")), nothing);
        assert_eq!(with(good.to_owned()), nothing);
    }
    for kind in [Kind::SignIn, Kind::Session, Kind::Key, Kind::Enrolment] {
        assert_eq!(with(format!("Bearer {}", Secret::new(kind).reveal())), nothing);
    }
    let ana = scene.at("ana@marina");
    let twice = Request::get("/v1/me").header(header::AUTHORIZATION, format!("Bearer {ana}"));
    let twice =
        twice.header(header::AUTHORIZATION, format!("Bearer {ana}")).body(Body::empty()).unwrap();
    assert_eq!(scene.send(twice).face(), nothing);
    assert_eq!(scene.get("", &format!("/v1/me?access_token={ana}")).face(), nothing);
    assert_eq!(with(format!("bearer {ana}")).0, 200, "the scheme is of any case (RFC 9110)");
    // The same as a token to be exchanged.
    scene.enter("", "marina", &[]).is(400, "invalid"); // empty is as if it were not there
    for len in [1, 11, ana.len() - 1] {
        scene.enter(&ana[..len], "marina", &[]).is(400, "unauthenticated");
    }
}

#[test]
fn t26_a_sign_in_that_fails_looks_the_same_whatever_was_wrong() {
    let scene = Scene::new();
    let try_in = |email: &str, password: &str| {
        scene.post("", "/v1/sign-in", &json!({ "email": email, "password": password })).face()
    };
    let wrong = try_in("ana@marina.example", "wrong horse battery staple");
    assert_eq!(wrong.0, 401);
    assert!(wrong.2.contains("sign_in_failed"));
    for (email, password) in [
        ("nobody@marina.example", PASSWORD),
        ("nina@marina.example", PASSWORD),
        ("not an address", PASSWORD),
        ("", ""),
        ("ana@marina.example", ""),
        ("ana@marina.example", &PASSWORD.to_uppercase()),
        ("ana@marina.example", &"a".repeat(100_000)),
    ] {
        assert_eq!(try_in(email, password), wrong, "{email}");
    }
    assert_eq!(try_in("ana@marina.example", PASSWORD).0, 200);
}
