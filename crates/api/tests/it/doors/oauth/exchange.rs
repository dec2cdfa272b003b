//! The exchange: each parameter, each error by name.

use serde_json::json;

use super::{ACCESS_TOKEN, EXCHANGE, JWT, Yard, parts, wrong};
use crate::harness::{PASSWORD, text};

/// What a fitting caller sends, but for some of it.
fn fields<'a>(yard: &'a Yard, resource: &'a str, but: &[&str]) -> Vec<(&'a str, &'a str)> {
    let all = [
        ("grant_type", EXCHANGE),
        ("subject_token", yard.hugo()),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", yard.known.applications["boats"].0.as_str()),
        ("resource", resource),
        ("grant", yard.grant.as_str()),
    ];
    all.into_iter().filter(|(name, _)| !but.contains(name)).collect()
}

#[test]
fn every_parameter_that_is_missing_or_odd_is_named() {
    let yard = Yard::new();
    let marina = format!("urn:comity:organisation:{}", yard.known.organisations["marina"]);
    let send = |but: &[&str], more: &[(&str, &str)]| {
        let mut sent = fields(&yard, &marina, but);
        sent.extend(more);
        yard.exchange(&sent)
    };
    send(&[], &[]).ok();
    for missing in ["grant_type", "subject_token", "subject_token_type"] {
        let reply = send(&[missing], &[]);
        wrong(&reply, "invalid_request", "invalid");
        assert!(reply.text().contains(missing), "{}", reply.text());
        wrong(&send(&[missing], &[(missing, "")]), "invalid_request", "invalid");
    }
    for (name, value, error) in [
        ("grant_type", "password", "unsupported_grant_type"),
        ("grant_type", "authorization_code", "unsupported_grant_type"),
        ("subject_token_type", JWT, "invalid_request"),
        ("grant", "g", "invalid_request"),
        ("audience", "https://nobody.example", "invalid_target"),
        ("resource", "https://nobody.example", "invalid_target"),
        ("resource", "marina", "invalid_target"),
    ] {
        wrong(&send(&[name], &[(name, value)]), error, "invalid");
    }
    for (name, value, error) in [
        ("requested_token_type", "urn:ietf:params:oauth:token-type:saml2", "invalid_request"),
        ("requested_token_type", "jwt", "invalid_request"),
        ("mode", "root", "invalid_request"),
        ("actor_token", "x", "invalid_request"),
        ("actor_token_type", ACCESS_TOKEN, "invalid_request"),
        ("mode", "act_as", "invalid_request"), // without a reason
        ("scope", "boats", "invalid_scope"),
        ("scope", "boats:read money:payout", "invalid_scope"),
        ("scope", "*", "invalid_scope"),
        ("session", "sess_x", "invalid_request"), // only with a signed token
        ("client_id", "nobody", "invalid_client"),
    ] {
        let code = if error == "invalid_client" { "unauthenticated" } else { "invalid" };
        wrong(&send(&[], &[(name, value)]), error, code);
    }
    // One that is there twice is refused, whatever it says; one that nobody knows is passed over.
    for (name, value) in [("grant_type", EXCHANGE), ("scope", "boats:read"), ("mode", "direct")] {
        wrong(&send(&[], &[(name, value), (name, value)]), "invalid_request", "invalid");
    }
    send(&[], &[("dpop_jkt", "x"), ("authorization_details", "[]"), ("mode", "")]).ok();
    let query = format!("/oauth/token?subject_token={}", yard.hugo());
    wrong(
        &yard.form(&query, None, &fields(&yard, &marina, &["subject_token"])),
        "invalid_request",
        "invalid",
    );
}

#[test]
fn a_target_is_one_customer_and_one_application_however_they_are_named() {
    let yard = Yard::new();
    let boats = yard.known.applications["boats"].0.clone();
    let tours = yard.known.applications["tours"].0.clone();
    let urn = |name: &str| format!("urn:comity:organisation:{name}");
    let marina = yard.known.organisations["marina"].clone();
    let close = |reply: crate::harness::Reply| {
        let at = format!("/v1/sessions/{}/close", text(&reply.ok()["session"]));
        yard.call(yard.hugo(), "POST", &at, None).ok();
    };
    let try_it = |targets: &[(&str, &str)]| {
        let mut sent = fields(&yard, "", &["audience", "resource"]);
        sent.extend(targets);
        yard.exchange(&sent)
    };
    let (by_id, by_name) = (urn(&marina), urn("marina"));
    close(try_it(&[("audience", &boats), ("resource", &by_id)]));
    close(try_it(&[("audience", &boats), ("resource", &by_name)]));
    close(try_it(&[("resource", &boats), ("resource", &by_id)]));
    close(try_it(&[
        ("audience", &boats),
        ("resource", &boats),
        ("resource", &by_id),
        ("resource", &by_name),
    ]));
    let fjord = urn("fjord");
    for bad in [
        &[("resource", by_id.as_str())][..],
        &[("audience", boats.as_str())],
        &[("audience", boats.as_str()), ("audience", tours.as_str()), ("resource", &by_id)],
        &[("audience", boats.as_str()), ("resource", tours.as_str()), ("resource", &by_id)],
        &[("audience", boats.as_str()), ("resource", &by_id), ("resource", &fjord)],
        &[("audience", boats.as_str()), ("audience", "https://x.example"), ("resource", &by_id)],
    ] {
        wrong(&try_it(bad), "invalid_target", "invalid");
    }
    // A customer that is not there, and one that is somebody else's, look the same.
    let nobody = urn(&comity_domain::ids::OrganisationId(7).to_string());
    let told = [&fjord, &nobody, &urn("nowhere"), &urn(""), &urn("%2e")]
        .map(|name| try_it(&[("audience", &boats), ("resource", name)]).face());
    assert!(told.iter().all(|face| *face == told[0]), "{told:#?}");
    wrong(&try_it(&[("audience", &boats), ("resource", &fjord)]), "invalid_target", "not_found");
}

#[test]
fn t20_only_a_persons_own_sign_in_is_a_subject() {
    let yard = Yard::new();
    let signed = text(&yard.signed(&[]).ok()["access_token"]);
    for inside in [yard.there.token.as_str(), &signed] {
        for mode in ["direct", "view", "act_as"] {
            for more in [&[("mode", mode)][..], &[("mode", mode), ("requested_token_type", JWT)]] {
                let reply = yard.enter(inside, "marina", more);
                wrong(&reply, "invalid_grant", "partner_session_refused");
            }
        }
        let again = [("requested_token_type", JWT), ("session", yard.there.session.as_str())];
        wrong(&yard.enter(inside, "marina", &again), "invalid_grant", "partner_session_refused");
    }
    for key in [yard.decide_key("boats"), &yard.known.provision, &yard.known.operate] {
        wrong(&yard.enter(key, "marina", &[]), "invalid_grant", "partner_session_refused");
    }
    for nothing in ["x", &yard.there.enrolment, &format!("{signed}x"), "a.b.c"] {
        wrong(&yard.enter(nothing, "marina", &[]), "invalid_grant", "unauthenticated");
    }
    let gone = yard.sign_in(&yard.known.members["hugo@harbor-help"].email).ok();
    let gone = text(&gone["token"]);
    yard.post(&gone, "/v1/sign-out", &json!({ "everywhere": false })).ok();
    wrong(&yard.enter(&gone, "marina", &[]), "invalid_grant", "unauthenticated");
    assert!(!PASSWORD.is_empty());
}

#[test]
fn inv21_a_narrower_scope_is_narrower_everywhere() {
    let yard = Yard::new();
    let whole = yard.opaque(&[]).ok();
    let held = text(&whole["scope"]);
    assert!(held.split(' ').count() > 1, "{held}");
    let narrow = yard.opaque(&[("scope", "boats:read")]).ok();
    assert_eq!(narrow["scope"], json!("boats:read"));
    let token = text(&narrow["access_token"]);
    assert_eq!(yard.told(&token)["scope"], json!("boats:read"));
    assert_eq!(yard.decided(&token, "boats:read")["decision"], json!(true));
    let other = held.split(' ').find(|p| !p.starts_with("boats:read") && !p.contains('*'));
    let other = other.unwrap_or("bookings:read");
    assert_eq!(yard.decided(&text(&whole["access_token"]), other)["decision"], json!(true));
    assert_eq!(yard.decided(&token, other)["decision"], json!(false), "{other}");
    let signed = yard.signed(&[("scope", "boats:read")]).ok();
    assert_eq!(signed["scope"], json!("boats:read"));
    let (_, claims) = parts(&text(&signed["access_token"]));
    assert_eq!(claims["scope"], json!("boats:read"));
    assert_eq!(yard.decided(&text(&signed["access_token"]), other)["decision"], json!(false));
    // Naming all of it is the same as naming nothing.
    let all = yard.opaque(&[("scope", &held)]).ok();
    assert_eq!(text(&all["scope"]), held);
}

#[test]
fn a_signed_token_is_given_where_the_customer_allowed_it_and_again_without_a_new_session() {
    let yard = Yard::new();
    let before = yard.app.state();
    // The scene's first grant does not allow it, and no session begins.
    let first = [("requested_token_type", JWT), ("grant", yard.there.grant.as_str())];
    wrong(&yard.enter(yard.hugo(), "marina", &first), "invalid_grant", "jwt_not_granted");
    assert_eq!(yard.app.state().seq, before.seq);
    let entered = yard.signed(&[]).ok();
    assert_eq!(entered["issued_token_type"], json!(JWT));
    assert_eq!((&entered["token_type"], &entered["expires_in"]), (&json!("Bearer"), &json!(60)));
    let session = text(&entered["session"]);
    let seq = yard.app.state().seq;
    yard.wait(61_000);
    yard.is_dead(&text(&entered["access_token"]));
    let again = |session: &str, more: &[(&str, &str)]| {
        let mut sent = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", yard.hugo()),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", JWT),
            ("session", session),
        ];
        sent.extend(more);
        yard.exchange(&sent)
    };
    let fresh = again(&session, &[]).ok();
    assert_eq!(fresh["session"], json!(session));
    assert_eq!(yard.app.state().seq, seq, "nothing is written");
    assert_eq!(yard.decided(&text(&fresh["access_token"]), "boats:read")["decision"], json!(true));
    let names = |token: &serde_json::Value| parts(&text(token)).1["jti"].clone();
    assert_ne!(names(&fresh["access_token"]), names(&entered["access_token"]));
    again(&session, &[("audience", &yard.known.applications["boats"].0)]).ok();
    let tours = yard.known.applications["tours"].0.clone();
    wrong(&again(&session, &[("audience", &tours)]), "invalid_target", "invalid");
    wrong(
        &again(&session, &[("resource", "urn:comity:organisation:fjord")]),
        "invalid_target",
        "invalid",
    );
    wrong(&again(&session, &[("scope", "boats:read")]), "invalid_scope", "invalid");
    again(&session, &[("scope", &text(&entered["scope"]))]).ok();
    // Somebody else's session is as if it were not there; one under the other grant may have none.
    let hana = yard.enter(yard.at("hana@harbor-help"), "marina", &[("grant", &yard.grant)]).ok();
    let nobody = comity_domain::ids::SessionId(7).to_string();
    let faces = [text(&hana["session"]), nobody, "x".into()].map(|id| again(&id, &[]).face());
    assert!(faces.iter().all(|face| *face == faces[0]), "{faces:#?}");
    wrong(&again("x", &[]), "invalid_target", "not_found");
    wrong(&again(&yard.there.session, &[]), "invalid_grant", "jwt_not_granted");
    // One that is over gets no other.
    let close = format!("/v1/sessions/{session}/close");
    yard.call(yard.hugo(), "POST", &close, None).ok();
    wrong(&again(&session, &[]), "invalid_grant", "no_access");
}
