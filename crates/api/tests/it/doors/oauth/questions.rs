//! Introspection, revocation, metadata.

use serde_json::json;

use super::{ISSUER, Yard, wrong};
use crate::harness::text;
use crate::town::basic;

#[test]
fn t25_introspection_says_all_of_a_live_token_and_one_word_of_every_other() {
    let yard = Yard::new();
    let told = yard.told(&yard.there.token);
    let hugo = yard.person("hugo@harbor-help");
    for (field, value) in [
        ("active", json!(true)),
        ("iss", json!(ISSUER)),
        ("sub", json!(hugo)),
        ("aud", json!(yard.known.applications["boats"].0)),
        ("client_id", json!("boats")),
        ("token_type", json!("Bearer")),
        ("sid", json!(yard.there.session)),
        ("act", json!({ "sub": hugo })),
        ("organisation", json!(yard.known.organisations["marina"])),
        ("grant", json!(yard.there.grant)),
        ("mode", json!("direct")),
    ] {
        assert_eq!(told[field], value, "{field}");
    }
    assert!(told.get("username").is_none() && told.get("jti").is_none());
    let session: comity_domain::ids::SessionId = yard.there.session.parse().unwrap();
    let deadline = yard.app.state().sessions.get(session).unwrap().deadline;
    assert_eq!(told["exp"], json!(deadline.0 / 1_000));
    // Whose it is not, what is over, what is none.
    let dead = json!({ "active": false });
    let theirs = yard.introspect("tours", yard.decide_key("tours"), &yard.there.token);
    assert_eq!(theirs.ok(), dead);
    for other in [
        "x",
        yard.hugo(),
        yard.decide_key("boats"),
        &yard.there.enrolment,
        &yard.there.session,
        &yard.there.token[..yard.there.token.len() - 1],
    ] {
        assert_eq!(yard.told(other), dead, "{other}");
    }
    // It is no call.
    let path = format!("/v1/organisations/marina/sessions/{}", yard.there.session);
    assert_eq!(yard.get(yard.at("ana@marina"), &path).ok()["api_calls"], json!(0));
    yard.clock.set(deadline);
    assert_eq!(yard.told(&yard.there.token), dead);
    let proof = basic("boats", yard.decide_key("boats"));
    wrong(&yard.form("/oauth/introspect", Some(&proof), &[]), "invalid_request", "invalid");
    let twice = [("token", "a"), ("token", "b")];
    wrong(&yard.form("/oauth/introspect", Some(&proof), &twice), "invalid_request", "invalid");
}

#[test]
fn inv10_a_node_that_is_not_current_knows_nothing() {
    let yard = Yard::new();
    let token = text(&yard.signed(&[]).ok()["access_token"]);
    let proof = basic("boats", yard.decide_key("boats"));
    yard.app.node().closer().close();
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        for token in [yard.there.token.as_str(), &token, "x"] {
            let reply = yard.form(path, Some(&proof), &[("token", token)]);
            reply.is(503, "unavailable");
            assert_eq!(reply.json()["error"], json!("temporarily_unavailable"));
        }
    }
    yard.enter(yard.hugo(), "marina", &[]).is(503, "unavailable");
}

#[test]
fn whoever_holds_a_token_may_give_it_back() {
    let yard = Yard::new();
    let give =
        |proof: Option<&str>, token: &str| yard.form("/oauth/revoke", proof, &[("token", token)]);
    let (boats, tours) =
        (basic("boats", yard.decide_key("boats")), basic("tours", yard.decide_key("tours")));
    for nothing in ["x", "a.b.c", &yard.there.session] {
        let reply = give(None, nothing);
        assert_eq!((reply.status, reply.bytes.len()), (200, 0));
    }
    wrong(&give(Some(&tours), &yard.there.token), "unauthorized_client", "forbidden");
    wrong(
        &give(Some(&basic("boats", "x")), &yard.there.token),
        "invalid_client",
        "unauthenticated",
    );
    assert_eq!(yard.told(&yard.there.token)["active"], json!(true), "nothing ended yet");
    assert_eq!(give(Some(&boats), &yard.there.token).status, 200);
    yard.is_dead(&yard.there.token);
    assert_eq!(give(None, &yard.there.token).status, 200, "once more is no error");
    let reason = yard.decided(&yard.there.token, "boats:read")["context"]["reason"].clone();
    assert_eq!(reason, json!("session_closed"));
    // A signed token ends what its opaque sister opens, and the other way round.
    let opaque = yard.opaque(&[]).ok();
    let again =
        [("requested_token_type", super::JWT), ("session", opaque["session"].as_str().unwrap())];
    let signed = text(&yard.enter(yard.hugo(), "marina", &again).ok()["access_token"]);
    let opaque = text(&opaque["access_token"]);
    assert_eq!(yard.told(&signed)["sid"], yard.told(&opaque)["sid"]);
    assert_eq!(give(None, &signed).status, 200);
    yard.is_dead(&opaque);
    yard.is_dead(&signed);
    // A person's own sign-in goes by the same door; keys and enrolments do not.
    let own = text(&yard.sign_in(&yard.known.members["hugo@harbor-help"].email).ok()["token"]);
    yard.get(&own, "/v1/me").ok();
    assert_eq!(give(None, &own).status, 200);
    yard.get(&own, "/v1/me").is(401, "unauthenticated");
    for other in [yard.decide_key("boats"), &yard.there.enrolment] {
        wrong(&give(None, other), "unsupported_token_type", "invalid");
    }
    wrong(&yard.form("/oauth/revoke", None, &[]), "invalid_request", "invalid");
}

#[test]
fn what_is_where_is_told_and_is_there() {
    let yard = Yard::new();
    let server = yard.get("", "/.well-known/oauth-authorization-server").ok();
    assert_eq!(server["issuer"], json!(ISSUER));
    for (field, method) in [
        ("token_endpoint", "POST"),
        ("introspection_endpoint", "POST"),
        ("revocation_endpoint", "POST"),
        ("jwks_uri", "GET"),
    ] {
        let url = text(&server[field]);
        let path = url.strip_prefix(ISSUER).unwrap();
        assert_ne!(yard.call("", method, path, None).status, 404, "{field}");
    }
    let resource = yard.get("", "/.well-known/oauth-protected-resource").ok();
    assert_eq!(resource["authorization_servers"], json!([ISSUER]));
    assert_eq!(resource["resource"], json!(ISSUER));
    // Who is told to show a token is told where to read how.
    let reply = yard.get("", "/v1/me");
    reply.is(401, "unauthenticated");
    let keys = yard.get("", "/oauth/jwks").ok();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "the current and the next one");
    for key in keys["keys"].as_array().unwrap() {
        let members: Vec<&String> = key.as_object().unwrap().keys().collect();
        assert_eq!(members, ["kty", "crv", "x", "y", "alg", "use", "kid"], "and nothing secret");
    }
}

#[test]
fn t46_as_many_parameters_as_fit_are_read_in_no_time() {
    let yard = Yard::new();
    let names: Vec<String> = (0..40_000).map(|n| format!("{n:04x}")).collect();
    let mut fields: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "")).collect();
    fields.push(("token", "x"));
    // Each compared with each would be 800 million comparisons, by whoever asks, without a proof.
    let began = std::time::Instant::now();
    yard.form("/oauth/revoke", None, &fields).ok();
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    // One that is there twice is found at the far end, too.
    fields.push(("token", "x"));
    let no = yard.form("/oauth/revoke", None, &fields);
    assert_eq!(no.status, 400);
    assert_eq!(no.json()["error"], "invalid_request");
}
