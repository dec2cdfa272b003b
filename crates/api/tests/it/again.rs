//! Sending a command again: whatever the route, one effect and one answer (T52, T59, inv28).

use std::collections::BTreeMap;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::doors::Scene;
use crate::harness::{Reply, request};
use crate::may_routes::{CALLERS, Call, calls, make_room, routed, token};

/// Routes that give no command of a known caller, with why.
const NO_COMMAND: [(&str, &str, &str); 39] = [
    ("POST", "/v1/sign-in", "nobody is signed in for it"),
    ("POST", "/v1/sign-in/second-factor", "nobody is signed in for it"),
    ("POST", "/v1/sign-in/passkey/begin", "nobody is signed in for it"),
    ("POST", "/v1/sign-in/passkey/finish", "nobody is signed in for it"),
    ("POST", "/v1/me/totp", "nothing is kept of it"),
    ("POST", "/v1/me/passkeys/begin", "nothing is kept of it"),
    ("POST", "/v1/me/totp/confirm", "takes what an app shows: doors/sign_in.rs"),
    ("DELETE", "/v1/me/totp", "nothing is set up here: doors/sign_in.rs"),
    ("POST", "/v1/me/recovery-codes", "nothing is set up here: doors/sign_in.rs"),
    ("POST", "/v1/me/passkeys", "takes what an authenticator answers: doors/sign_in.rs"),
    ("PUT", "/v1/me/passkeys/{passkey}", "there is none here: doors/sign_in.rs"),
    ("DELETE", "/v1/me/passkeys/{passkey}", "there is none here: doors/sign_in.rs"),
    ("POST", "/v1/enrol", "nobody is signed in for it"),
    ("POST", "/v1/invitations/look", "reads"),
    ("POST", "/v1/invitations/decline", "nobody is signed in for it"),
    ("POST", "/v1/invitations/register", "nobody is signed in for it"),
    ("POST", "/v1/invitations/stop", "nobody is signed in for it"),
    (
        "POST",
        "/v1/grants/{grant}/invitations/{invitation}/approve",
        "none is held here: doors/invited.rs",
    ),
    ("POST", "/oauth/token", "nobody is signed in for it"),
    ("POST", "/v1/requests/{request}/summary", "reads"),
    ("POST", "/v1/organisations/{organisation}/offers/summary", "reads"),
    ("POST", "/v1/grants/{grant}/amend/summary", "reads"),
    ("POST", "/v1/grants/{grant}/bulk/summary", "reads"),
    ("POST", "/v1/grants/{grant}/candidates", "reads"),
    ("POST", "/v1/grants/{grant}/auto/preview", "reads"),
    ("POST", "/v1/grants/{grant}/assignments/preview", "reads"),
    ("POST", "/oauth/introspect", "reads, and by what it is sent"),
    ("POST", "/oauth/revoke", "nobody is signed in for it"),
    ("POST", "/access/v1/evaluation", "asks"),
    ("POST", "/access/v1/evaluations", "asks"),
    ("POST", "/access/v1/search/subject", "asks"),
    ("POST", "/access/v1/search/resource", "asks"),
    ("POST", "/access/v1/search/action", "asks"),
    ("POST", "/ssf/poll/{stream}", "reads; what was fetched is noted beside the log"),
    ("POST", "/v1/organisations/{organisation}/members/{id}/restore", "nobody is superseded here"),
    ("POST", "/v1/grants/{grant}/confirm", "nothing was restored here"),
    ("POST", "/v1/organisations/{organisation}/grants/confirm", "nothing was restored here"),
    ("POST", "/v1/organisations/{organisation}/notices/read", "marks, and again the same"),
    ("POST", "/v1/imports", "each line is a put, which may be sent again anyway"),
];

/// Routes whose answer holds a secret, or after which the caller is nobody any more.
const OTHERWISE: [(&str, &str, u16, &str); 12] = [
    ("POST", "/v1/platform/webhooks", 409, "already_done"),
    ("POST", "/v1/platform/webhooks/{webhook}/rotate", 409, "already_done"),
    ("POST", "/v1/organisations/{organisation}/webhooks", 409, "already_done"),
    ("POST", "/v1/organisations/{organisation}/webhooks/{webhook}/rotate", 409, "already_done"),
    ("POST", "/v1/platform/keys", 409, "already_done"),
    ("POST", "/v1/organisations/{organisation}/members/{id}/enrolment", 409, "already_done"),
    ("POST", "/v1/organisations/{organisation}/customer-id/rotate", 409, "already_done"),
    ("POST", "/v1/organisations/{organisation}/partner-id/rotate", 409, "already_done"),
    ("POST", "/v1/sign-out", 401, "unauthenticated"),
    ("POST", "/v1/me/step-up", 401, "unauthenticated"),
    ("PUT", "/v1/me/password", 401, "unauthenticated"),
    ("DELETE", "/v1/me/sign-ins/{sign_in}", 401, "unauthenticated"),
];

fn keyed(mut request: Request<Body>, key: &str) -> Request<Body> {
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

fn replayed(reply: &Reply) -> bool {
    reply.headers.get("idempotent-replayed").is_some_and(|v| v == "true")
}

fn commands(scene: &Scene) -> Vec<Call> {
    let none = |c: &Call| NO_COMMAND.iter().any(|(m, r, _)| (*m, *r) == (c.method, c.route));
    calls(scene).into_iter().filter(|c| c.method != "GET" && !none(c)).collect()
}

#[test]
fn inv28_every_route_that_changes_something_is_sent_again_with_one_effect_and_one_answer() {
    let mut scene = Scene::new();
    let mut seen: BTreeMap<(String, String), u16> = BTreeMap::new();
    for at in 0..commands(&scene).len() {
        let mut call = commands(&scene).swap_remove(at);
        if let Some(name) = call.body.as_mut().and_then(|body| body.get_mut("name")) {
            *name = json!("Another name"); // what is there already would change nothing
        }
        let name = format!("{} {}", call.method, call.route);
        // Whoever may do it does: the refusals before leave the key free.
        let mut told = Vec::new();
        let found = CALLERS.iter().find_map(|(caller, _)| {
            make_room(&scene, &call, caller);
            let token = token(&scene, caller).to_owned();
            let before = scene.app.state().seq;
            let reply = scene.send(keyed(call.request(&token, None), "\"first\""));
            told.push((caller, reply.status));
            (reply.status < 300).then_some((token, before, reply))
        });
        let (token, before, first) =
            found.unwrap_or_else(|| panic!("{name}: nobody may: {told:?}"));
        let send = |key: &str| scene.send(keyed(call.request(&token, None), key));
        assert!(!replayed(&first), "{name}");
        let after = scene.app.state().seq;
        assert!(after > before, "{name}: it changes something");
        for _ in 0..2 {
            let again = send("first"); // the other spelling of the same key
            assert_eq!(scene.app.state().seq, after, "{name}: nothing happened again");
            let otherwise = OTHERWISE.iter().find(|o| (o.0, o.1) == (call.method, call.route));
            if let Some((_, _, status, code)) = otherwise {
                again.is(*status, code);
                assert!(!replayed(&again), "{name}");
            } else {
                assert_eq!((again.status, again.text()), (first.status, first.text()), "{name}");
                assert!(replayed(&again), "{name}");
                assert_eq!(again.headers.get("etag"), first.headers.get("etag"), "{name}");
            }
        }
        // With another body the key is another command's, and nothing happens either.
        if call.body.is_some()
            && !["/v1/sign-out", "/v1/me/step-up", "/v1/me/password"].contains(&call.route)
        {
            let other = call.request(&token, Some(&json!({ "name": "another" })));
            let reply = scene.send(keyed(other, "first"));
            reply.is(
                422,
                if reply.code() == "invalid" { "invalid" } else { "idempotency_key_reused" },
            );
            assert_eq!(scene.app.state().seq, after, "{name}");
        }
        seen.insert((call.method.into(), call.route.into()), first.status);
        scene = Scene::new();
    }
    let none = NO_COMMAND.map(|(m, r, _)| (m.to_owned(), r.to_owned()));
    let unsafe_routes = routed().into_iter().filter(|(m, _)| m != "GET");
    for route in unsafe_routes.filter(|r| !none.contains(r)) {
        assert!(seen.contains_key(&route), "{route:?} is not sent again here");
    }
}

/// A handler that sends its command past [`Who`] would forget the key.
#[test]
fn inv28_no_handler_sends_a_command_past_who() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // There the key is handed down; nobody is signed in for the token endpoint.
            if path.ends_with("auth.rs") || path.parent().is_some_and(|p| p.ends_with("oauth")) {
                continue;
            }
            read += 1;
            let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
            for past in ["app.run(", "app.make_key(", "node().run"] {
                assert!(!text.contains(past), "{}: {past}…: use who.run", path.display());
            }
        }
    }
    assert!(read > 15);
}

fn ask_body(scene: &Scene, reason: &str) -> Value {
    json!({ "customer_id": scene.there.fjord_code, "level": "partner", "modes": ["direct"], "reason": reason })
}

const ASK: &str = "/v1/organisations/harbor-help/requests";

#[test]
fn t59_a_key_is_its_callers_own_and_good_for_one_command() {
    let mut scene = Scene::new();
    let (operate, provision) = (scene.known.operate.clone(), scene.known.provision.clone());
    let pia = scene.at("pia@harbor-help").to_owned();
    let post = |token: &str, path: &str, body: &Value| {
        scene.send(keyed(request(token, "POST", path, Some(body)), "k1"))
    };
    let first = post(&pia, ASK, &ask_body(&scene, "Hull"));
    first.ok();
    // Another body, another path, another method: another command.
    post(&pia, ASK, &ask_body(&scene, "Mast")).is(422, "idempotency_key_reused");
    let request_path = format!("/v1/requests/{}/cancel", scene.there.asked);
    post(&pia, &request_path, &json!({})).is(422, "idempotency_key_reused");
    // Somebody else's same key is another key, whatever they ask by it.
    let put = |token: &str, name: &str| {
        let body = json!({ "name": name });
        scene.send(keyed(request(token, "PUT", "/v1/organisations/quay", Some(&body)), "k1"))
    };
    assert_eq!(put(&provision, "Quay").status, 201);
    put(&operate, "Quay").is(403, "forbidden");
    let lock = json!({ "person": scene.person("hugo@harbor-help") });
    let locked = post(scene.at("ana@marina"), "/v1/organisations/marina/locks", &lock);
    assert_eq!((locked.status, replayed(&locked)), (201, false));
    // A new sign-in of the same person is the same caller.
    let anew = scene.sign_in("pia@harbor-help.example").ok();
    let again = post(anew["token"].as_str().unwrap(), ASK, &ask_body(&scene, "Hull"));
    assert_eq!((again.status, again.text(), replayed(&again)), (201, first.text(), true));
    let _ = &mut scene;
}

#[test]
fn t59_who_lost_their_rights_does_not_read_by_sending_again() {
    let mut scene = Scene::new();
    let pia = scene.at("pia@harbor-help").to_owned();
    let send = |scene: &Scene, token: &str| {
        let body = ask_body(scene, "Hull");
        scene.send(keyed(request(token, "POST", ASK, Some(&body)), "mine"))
    };
    send(&scene, &pia).ok();
    assert!(replayed(&send(&scene, &pia)));
    let mut member = scene.known.members["pia@harbor-help"].clone();
    let mut other = scene.known.members["hana@harbor-help"].clone();
    other.portal = Some("admin".into());
    let provision = scene.known.provision.clone();
    scene.town.put_member(&provision, "hana@harbor-help", other).ok();
    member.portal = None;
    scene.town.put_member(&provision, "pia@harbor-help", member.clone()).ok();
    send(&scene, &pia).is(403, "forbidden");
    member.active = false;
    scene.town.put_member(&provision, "pia@harbor-help", member).ok();
    let no = send(&scene, &pia);
    assert!([401, 403, 404, 409].contains(&no.status) && !replayed(&no), "{}", no.text());
    assert!(!no.text().contains("Hull"));
}

#[test]
fn t52_refusals_and_what_changed_nothing_are_judged_anew() {
    let scene = Scene::new();
    let provision = &scene.known.provision;
    let put = |unit: &Value| {
        let body = json!({ "name": "Boat", "unit": unit });
        let path = "/v1/organisations/marina/accounts/boat-99";
        scene.send(keyed(request(provision, "PUT", path, Some(&body)), "later"))
    };
    put(&json!("new-pier")).is(422, "invalid");
    scene.put(provision, "/v1/organisations/marina/units/new-pier", &json!({ "name": "P" })).ok();
    let made = put(&json!("new-pier"));
    assert_eq!((made.status, replayed(&made)), (201, false), "{}", made.text());
    put(&json!("north-pier")).is(422, "idempotency_key_reused");
    // What changes nothing has no row to remember, so the key stays free.
    let same = |name: &str| {
        let body = json!({ "name": name });
        scene
            .send(keyed(request(provision, "PUT", "/v1/organisations/marina", Some(&body)), "same"))
    };
    let name = scene.get(provision, "/v1/organisations/marina").ok()["name"].clone();
    assert!(!replayed(&same(name.as_str().unwrap())));
    assert!(!replayed(&same("Marina Bay II")));
    assert!(replayed(&same("Marina Bay II")));
}

#[test]
fn t52_what_was_done_is_shown_as_it_is_now_also_when_its_names_are_gone() {
    let scene = Scene::new();
    let ana = scene.at("ana@marina");
    let narrow = |key: &str, accounts: &[&str]| {
        let path = format!("/v1/grants/{}/narrow", scene.there.grant);
        scene.send(keyed(request(ana, "POST", &path, Some(&json!({ "accounts": accounts }))), key))
    };
    narrow("b", &["boat-2"]).ok();
    let gone = "/v1/organisations/marina/accounts/boat-2";
    let seq = scene.app.state().seq;
    assert_eq!(scene.call(ana, "DELETE", gone, None).status, 204);
    assert!(scene.app.state().seq > seq);
    narrow("c", &["boat-2"]).is(422, "invalid");
    let again = narrow("b", &["boat-2"]);
    let state = again.ok()["state"].clone();
    assert!(replayed(&again));
    let now = scene.get(ana, &format!("/v1/grants/{}", scene.there.grant)).ok();
    assert_eq!(state, now["state"], "as it is now");
    narrow("b", &["boat-1"]).is(422, "idempotency_key_reused");
}

#[test]
fn t59_a_key_that_is_none_is_refused_and_where_nothing_is_done_it_means_nothing() {
    let scene = Scene::new();
    let pia = scene.at("pia@harbor-help");
    let body = ask_body(&scene, "Hull");
    let long = "k".repeat(256);
    for bad in ["", "a b", "\"", "\"a\";x=1", "a,b", long.as_str()] {
        let reply = scene.send(keyed(request(pia, "POST", ASK, Some(&body)), bad));
        reply.is(422, "invalid");
        assert_eq!(reply.json()["field"], json!("Idempotency-Key"));
    }
    let mut twice = keyed(request(pia, "POST", ASK, Some(&body)), "a");
    twice.headers_mut().append("idempotency-key", "a".parse().unwrap());
    scene.send(twice).is(422, "invalid");
    assert!(!replayed(&scene.send(keyed(request(pia, "GET", "/v1/me", None), "a b"))));
    scene.send(keyed(request(pia, "GET", "/v1/me", None), "a b")).ok();
    let sign_in =
        json!({ "email": "pia@harbor-help.example", "password": crate::harness::PASSWORD });
    let tokens = [0; 2].map(|_| {
        scene.send(keyed(request("", "POST", "/v1/sign-in", Some(&sign_in)), "a")).ok()["token"]
            .clone()
    });
    assert_ne!(tokens[0], tokens[1]);
    // More than is read is refused as without a key, and so is a stranger.
    let much = json!({ "name": "a".repeat(300_000) });
    scene.send(keyed(request(pia, "POST", ASK, Some(&much)), "a")).is(413, "too_large");
    scene
        .send(keyed(request("cmt_key_no", "POST", ASK, Some(&body)), "a"))
        .is(401, "unauthenticated");
}
