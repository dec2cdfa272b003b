//! From inside a partner session nothing can be done here but to leave (T08), and one application
//! cannot use another's sessions (T17).

use serde_json::{Value, json};

use super::Scene;
use crate::may_routes::calls;

/// Routes that look at no bearer token.
fn is_open(route: &str) -> bool {
    let open = ["/healthz", "/readyz", "/v1/sign-in", "/v1/enrol", "/openapi.json"];
    open.contains(&route)
        || route.starts_with("/docs")
        || route.starts_with("/oauth/")
        || route.starts_with("/.well-known/")
        || route.starts_with("/v1/sign-in/")
        || ["look", "decline", "register", "stop"]
            .iter()
            .any(|d| route == format!("/v1/invitations/{d}"))
}

#[test]
fn t08_a_partner_session_opens_nothing_but_its_own_close() {
    let scene = Scene::new();
    let token = &scene.there.token;
    for call in calls(&scene) {
        if is_open(call.route) || call.route == "/v1/sessions/{session}/close" {
            continue;
        }
        let reply = scene.send(call.request(token, None));
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (403, "partner_session_refused"),
            "{} {}: {}",
            call.method,
            call.route,
            reply.text()
        );
    }
    // Not by exchange either, in whatever mode.
    for mode in ["direct", "view", "act_as"] {
        scene.enter(token, "marina", &[("mode", mode)]).is(400, "partner_session_refused");
    }
    // A session closes itself, no other one, and is worthless from then on.
    let hugo = scene.at("hugo@harbor-help");
    let other = scene.enter(hugo, "marina", &[]).ok();
    let close = |id: &Value, token: &str| {
        scene.call(token, "POST", &format!("/v1/sessions/{}/close", id.as_str().unwrap()), None)
    };
    close(&other["session"], token).is(403, "partner_session_refused");
    assert_eq!(close(&json!(scene.there.session), token).status, 204);
    close(&json!(scene.there.session), token).is(401, "unauthenticated");
    scene.get(token, "/v1/me").is(401, "unauthenticated");
    scene.enter(token, "marina", &[]).is(400, "unauthenticated");
}

#[test]
fn t17_another_application_sees_a_session_as_if_there_were_none() {
    let scene = Scene::new();
    let unknown = comity_app::tokens::Secret::new(comity_app::tokens::Kind::Session);
    let (boats, tours) = (scene.decide_key("boats"), scene.decide_key("tours"));
    let yes = scene.evaluate(boats, &scene.there.token, "boats:read", "account", "boat-1").ok();
    assert_eq!((&yes["decision"], &yes["context"]["reason"]), (&json!(true), &json!("allowed")));
    for permission in ["boats:read", "bookings:read", "tours:read"] {
        for (kind, id) in [
            ("account", "boat-1"),
            ("account", "none"),
            ("organisation", "marina"),
            ("organisation", "nowhere"),
        ] {
            let theirs = scene.evaluate(tours, &scene.there.token, permission, kind, id);
            let nobodys = scene.evaluate(tours, unknown.reveal(), permission, kind, id);
            assert_eq!(theirs.face(), nobodys.face());
            assert_eq!(theirs.json()["context"]["reason"], json!("session_unknown"));
        }
    }
    // What is no session's token is no session, whatever else it opens.
    let asked =
        |token: &str| scene.evaluate(boats, token, "boats:read", "account", "boat-1").face();
    let nobody = asked(unknown.reveal());
    let short = &scene.there.token[..scene.there.token.len() - 1];
    for other in [
        "",
        "x",
        short,
        scene.at("hugo@harbor-help"),
        boats,
        &scene.there.enrolment,
        &scene.there.session,
    ] {
        assert_eq!(asked(other), nobody, "{other}");
    }
}

#[test]
fn a_decision_names_the_person_the_customer_and_the_mode() {
    let scene = Scene::new();
    let told = scene
        .evaluate(scene.decide_key("boats"), &scene.there.token, "boats:read", "account", "boat-1")
        .ok();
    let context = &told["context"];
    assert_eq!(context["actor"]["id"], json!(scene.person("hugo@harbor-help")));
    assert_eq!(context["organisation"], json!(scene.known.organisations["marina"]));
    assert_eq!(
        (&context["session"], &context["grant"]),
        (&json!(scene.there.session), &json!(scene.there.grant))
    );
    assert_eq!(context["mode"], json!("direct"));
    for (permission, kind, code) in
        [("boats:*", "account", 422), ("boats", "account", 422), ("boats:read", "boat", 422)]
    {
        let reply = scene.evaluate(
            scene.decide_key("boats"),
            &scene.there.token,
            permission,
            kind,
            "boat-1",
        );
        assert_eq!(reply.status, code);
    }
}

#[test]
fn r16_calls_are_counted_exactly_also_when_they_come_faster_than_they_are_written() {
    let scene = Scene::new();
    let boats = scene.decide_key("boats");
    let (mut allowed, mut refused, mut busy) = (0u64, 0u64, 0u64);
    for n in 0..900 {
        let permission = if n % 3 == 0 { "boats:sell" } else { "boats:read" };
        let reply = scene.evaluate(boats, &scene.there.token, permission, "account", "boat-1");
        match (reply.status, reply.json()["decision"].as_bool()) {
            (200, Some(true)) => allowed += 1,
            (200, Some(false)) => refused += 1,
            (503, None) => {
                reply.is(503, "busy");
                assert_eq!(reply.header(axum::http::header::RETRY_AFTER), "1");
                busy += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(allowed + refused + busy, 900);
    assert!(allowed + refused >= 256, "the first block is there from the start");
    let stay = || {
        let path = format!("/v1/organisations/marina/sessions/{}", scene.there.session);
        scene.get(scene.at("ana@marina"), &path).ok()
    };
    let counts = |stay: &Value| {
        ["calls_allowed", "calls_refused", "calls_late", "api_calls"]
            .map(|f| stay[f].as_u64().unwrap())
    };
    assert_eq!(counts(&stay()), [allowed, refused, 0, allowed + refused]);
    // Another application's question is no call of this session.
    scene
        .evaluate(scene.decide_key("tours"), &scene.there.token, "boats:read", "account", "boat-1")
        .ok();
    assert_eq!(counts(&stay()), [allowed, refused, 0, allowed + refused]);
    // After the end calls are late: told apart, and part of no count.
    let path = format!("/v1/sessions/{}/close", scene.there.session);
    scene.call(scene.at("hugo@harbor-help"), "POST", &path, None).ok();
    for _ in 0..3 {
        let told =
            scene.evaluate(boats, &scene.there.token, "boats:read", "account", "boat-1").ok();
        assert_eq!(told["context"]["reason"], json!("session_closed"));
    }
    assert_eq!(counts(&stay()), [allowed, refused, 3, allowed + refused]);
    assert_eq!(stay()["at_most"], json!(false));
}
