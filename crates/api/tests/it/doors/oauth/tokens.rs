//! What a signed token says, and what it is worth here.

use std::sync::atomic::Ordering;

use comity_app::jws::Pair;
use serde_json::{Value, json};

use super::{ISSUER, JWT, Yard, base, parts, unbase, wrong};
use crate::harness::text;
use crate::town::basic;

fn token(yard: &Yard) -> String {
    text(&yard.signed(&[]).ok()["access_token"])
}

#[test]
fn a_signed_token_is_that_of_rfc_9068_and_any_library_can_check_it() {
    let yard = Yard::new();
    let entered = yard.signed(&[]).ok();
    let token = text(&entered["access_token"]);
    let (header, claims) = parts(&token);
    assert_eq!(header["alg"], json!("ES256"));
    assert_eq!(header["typ"], json!("at+jwt"));
    assert_eq!(header["kid"], json!(yard.there.kid));
    let now = yard.now().0 / 1_000;
    let hugo = yard.person("hugo@harbor-help");
    for (claim, value) in [
        ("iss", json!(ISSUER)),
        ("sub", json!(hugo)),
        ("aud", json!(yard.known.applications["boats"].0)),
        ("client_id", json!("boats")),
        ("iat", json!(now)),
        ("exp", json!(now + 60)),
        ("sid", entered["session"].clone()),
        ("act", json!({ "sub": hugo })),
        ("scope", entered["scope"].clone()),
        ("urn:comity:organisation", json!(yard.known.organisations["marina"])),
        ("urn:comity:grant", json!(yard.grant)),
        ("urn:comity:mode", json!("direct")),
    ] {
        assert_eq!(claims[claim], value, "{claim}");
    }
    assert!(!text(&claims["jti"]).is_empty());
    // The signature is that of the published key of this name.
    let keys = yard.get("", "/oauth/jwks").ok();
    let key = keys["keys"].as_array().unwrap().iter().find(|k| k["kid"] == header["kid"]).unwrap();
    let point = [vec![4], unbase(key["x"].as_str().unwrap()), unbase(key["y"].as_str().unwrap())];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let public = comity_domain::signing::PublicKey {
        x: comity_domain::ids::Digest32(point[1].clone().try_into().unwrap()),
        y: comity_domain::ids::Digest32(point[2].clone().try_into().unwrap()),
    };
    assert_eq!(base64_of(&public), key["kid"].as_str().unwrap());
    assert_eq!(unbase(signature).len(), 64);
    let parsed = comity_app::jws::Token::parse(&token).unwrap();
    assert!(parsed.verified::<Value>(&public).is_some(), "{signed}");
}

fn base64_of(key: &comity_domain::signing::PublicKey) -> String {
    comity_domain::signing::base64url(&key.thumbprint().0)
}

#[test]
fn a_signed_token_never_outlives_its_session() {
    let yard = Yard::new();
    let entered = yard.signed(&[]).ok();
    let session: comity_domain::ids::SessionId = text(&entered["session"]).parse().unwrap();
    let deadline = yard.app.state().sessions.get(session).unwrap().deadline;
    yard.clock.set(deadline.plus(-10_500));
    let hugo = yard.sign_in(&yard.known.members["hugo@harbor-help"].email).ok();
    let (hugo, id) = (text(&hugo["token"]), text(&entered["session"]));
    let again = || yard.enter(&hugo, "marina", &[("requested_token_type", JWT), ("session", &id)]);
    let near = again().ok();
    let (_, claims) = parts(&text(&near["access_token"]));
    assert!(claims["exp"].as_i64().unwrap() * 1_000 <= deadline.0, "{claims} {deadline:?}");
    assert!(near["expires_in"].as_i64().unwrap() <= 11);
    yard.clock.set(deadline);
    wrong(&again(), "invalid_grant", "no_access");
    yard.is_dead(&text(&near["access_token"]));
}

#[test]
fn t16_after_an_ending_a_signed_token_is_dead_at_once_at_every_door() {
    for how in ["revoke", "close", "end", "lock", "token", "narrow"] {
        let yard = Yard::new();
        let entered = yard.signed(&[]).ok();
        let (token, session) = (text(&entered["access_token"]), text(&entered["session"]));
        assert_eq!(yard.decided(&token, "boats:read")["decision"], json!(true));
        assert_eq!(yard.told(&token)["active"], json!(true));
        let ana = yard.at("ana@marina");
        match how {
            "revoke" => yard.call(ana, "POST", &format!("/v1/grants/{}/revoke", yard.grant), None),
            "close" => yard.call(&token, "POST", &format!("/v1/sessions/{session}/close"), None),
            "end" => yard.call(ana, "POST", &format!("/v1/sessions/{session}/end"), None),
            "lock" => {
                let of = json!({ "organisation": yard.known.organisations["harbor-help"] });
                yard.post(ana, "/v1/organisations/marina/locks", &of)
            }
            "token" => yard.form("/oauth/revoke", None, &[("token", &token)]),
            _ => {
                let path = format!("/v1/grants/{}/narrow", yard.grant);
                yard.post(ana, &path, &json!({ "modes": ["view"] }))
            }
        }
        .ok();
        yard.is_dead(&token);
        yard.call(&token, "POST", &format!("/v1/sessions/{session}/close"), None)
            .is(401, "unauthenticated");
        yard.enter(&token, "marina", &[]).is(400, "unauthenticated");
        let reason = yard.decided(&token, "boats:read")["context"]["reason"].clone();
        assert_ne!(reason, json!("session_unknown"), "{how}: whoever held it is told why");
    }
}

#[test]
fn t19_a_signed_token_counts_as_it_was_signed_or_not_at_all() {
    let yard = Yard::new();
    let token = token(&yard);
    let (header, claims) = parts(&token);
    assert_eq!(yard.told(&token)["active"], json!(true));
    let pieces: Vec<&str> = token.split('.').collect();
    let put = |header: &Value, claims: &Value, signature: &str| {
        format!("{}.{}.{signature}", base(header.to_string()), base(claims.to_string()))
    };
    let own = Pair::generate().unwrap();
    let with = |value: &Value, name: &str, to: Value| {
        let mut value = value.clone();
        value[name] = to;
        value
    };
    let (x, y) = own.public().coordinates();
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    let sign =
        |header: &Value, claims: &Value| own.sign(header, claims.to_string().as_bytes()).unwrap();
    // The published key as the secret of a MAC: the classic of key confusion.
    let keys = yard.get("", "/oauth/jwks").ok();
    let mac = comity_domain::ids::Digest32::of(keys.to_string().as_bytes()).0;
    let mut bad = vec![
        put(&with(&header, "alg", json!("none")), &claims, ""),
        put(&with(&header, "alg", json!("none")), &claims, pieces[2]),
        put(&with(&header, "alg", json!("HS256")), &claims, &base(mac)),
        put(&with(&header, "alg", json!("RS256")), &claims, pieces[2]),
        put(&with(&header, "alg", json!("ES384")), &claims, pieces[2]),
        put(&with(&header, "typ", json!("JWT")), &claims, pieces[2]),
        put(&with(&header, "typ", json!("secevent+jwt")), &claims, pieces[2]),
        put(&header, &with(&claims, "scope", json!("*")), pieces[2]),
        put(&header, &with(&claims, "exp", json!(9_999_999_999i64)), pieces[2]),
        sign(&header, &claims),
        sign(&with(&header, "kid", json!(base64_of(&own.public()))), &claims),
        sign(&with(&header, "jwk", jwk), &claims),
        sign(&with(&header, "jku", json!("https://elsewhere.example/jwks")), &claims),
        sign(&with(&header, "x5u", json!("https://elsewhere.example/x5u")), &claims),
        put(&with(&header, "crit", json!(["exp"])), &claims, pieces[2]),
        format!("{}.{}", pieces[0], pieces[1]),
        format!("{}.{}.", pieces[0], pieces[1]),
        format!("{token}.{}", pieces[2]),
        format!("{token}="),
        format!(" {token}"),
        token.to_uppercase(),
        format!("{}{}", token, "A".repeat(9_000)),
    ];
    bad.extend((1..token.len()).step_by(7).map(|cut| token[..cut].to_owned()));
    for bad in &bad {
        assert_eq!(yard.told(bad), json!({ "active": false }), "{bad}");
        let decided = yard.decided(bad, "boats:read");
        assert_eq!(decided["context"]["reason"], json!("session_unknown"), "{bad}");
    }
    // What our own key signed for another purpose is no access token either.
    let signer = yard.runtime.block_on(yard.app.signer()).unwrap();
    for typ in ["JWT", "secevent+jwt", "application/at+jwt", "AT+JWT"] {
        yard.is_dead(&signer.sign(typ, &claims).unwrap());
    }
    for (name, value) in [
        ("iss", json!("https://elsewhere.example")),
        ("aud", json!(yard.known.applications["tours"].0)),
        ("aud", json!([claims["aud"]])),
        ("sid", json!(yard.there.session)),
        ("sid", json!(comity_domain::ids::SessionId(7))),
        ("act", json!({ "sub": yard.person("hana@harbor-help") })),
        ("act", json!({ "sub": claims["sub"], "act": { "sub": claims["sub"] } })),
        ("urn:comity:grant", json!(yard.there.grant)),
        ("urn:comity:organisation", json!(yard.known.organisations["fjord"])),
        ("urn:comity:token_epoch", json!("0000000000000000")),
        ("exp", json!(yard.now().0 / 1_000)),
        ("more", json!(1)),
    ] {
        let token = signer.sign("at+jwt", &with(&claims, name, value.clone())).unwrap();
        assert_eq!(yard.told(&token), json!({ "active": false }), "{name}={value}");
        let decided = yard.decided(&token, "boats:read");
        assert_eq!(decided["decision"], json!(false), "{name}={value}");
    }
}

#[test]
fn t17_a_signed_token_is_for_one_application() {
    let yard = Yard::new();
    let token = token(&yard);
    let theirs = yard.introspect("tours", yard.decide_key("tours"), &token).ok();
    assert_eq!(theirs, json!({ "active": false }));
    let asked = yard.evaluate(yard.decide_key("tours"), &token, "boats:read", "account", "boat-1");
    assert_eq!(asked.ok()["context"]["reason"], json!("session_unknown"));
}

#[test]
fn t25_a_signed_token_opens_nothing_else_here() {
    let yard = Yard::new();
    let token = token(&yard);
    for path in ["/v1/me", "/v1/me/tenants", "/v1/organisations/marina/grants"] {
        yard.get(&token, path).is(403, "partner_session_refused");
    }
    let other = format!("/v1/sessions/{}/close", yard.there.session);
    yard.call(&token, "POST", &other, None).is(403, "partner_session_refused");
}

#[test]
fn act_is_the_same_in_token_introspection_decision_and_log() {
    let yard = Yard::new();
    let hugo = yard.person("hugo@harbor-help");
    let marina = yard.known.organisations["marina"].clone();
    for (mode, sub) in [("direct", hugo), ("view", hugo), ("act_as", marina.as_str())] {
        let entered = yard.signed(&[("mode", mode), ("reason", "Storm")]).ok();
        let (token, session) = (text(&entered["access_token"]), text(&entered["session"]));
        let (_, claims) = parts(&token);
        let told = yard.told(&token);
        let decided = yard.decided(&token, "boats:read")["context"].clone();
        let path = format!("/v1/organisations/marina/sessions/{session}");
        let stay = yard.get(yard.at("ana@marina"), &path).ok();
        let logged = yard.app.reader().rows(None, 0, 100_000).unwrap();
        let logged = logged.iter().flat_map(|r| &r.events).find_map(|e| match &e.event {
            comity_domain::event::Event::SessionStarted {
                session: s,
                person,
                customer,
                mode,
                ..
            } if s.to_string() == session => {
                Some((person.to_string(), customer.to_string(), *mode))
            }
            _ => None,
        });
        let (person, customer, logged_mode) = logged.unwrap();
        let actors = [
            &claims["act"]["sub"],
            &told["act"]["sub"],
            &decided["actor"]["id"],
            &stay["partner"]["person"],
        ];
        assert!(actors.iter().all(|a| **a == json!(person)), "{mode}: {actors:?} {person}");
        assert_eq!(person, hugo);
        let subjects = [&claims["sub"], &told["sub"], &decided["subject"]["id"]];
        assert!(subjects.iter().all(|s| **s == json!(sub)), "{mode}: {subjects:?}");
        assert_eq!((customer, logged_mode.code()), (marina.clone(), mode));
        assert_eq!(claims["act"], told["act"], "one actor, and no chain");
        for (claim, field) in
            [("sid", "sid"), ("scope", "scope"), ("aud", "aud"), ("iss", "iss"), ("exp", "exp")]
        {
            assert_eq!(claims[claim], told[field], "{claim}");
        }
        yard.form("/oauth/revoke", None, &[("token", &token)]).ok();
    }
}

/// How many sign-outs of nobody the writer was asked for: how a door waits for an ending of others.
fn waited(yard: &Yard) -> u64 {
    let figures = yard.app.figures();
    let line = figures.lines().find(|l| l.contains("sign_out") && l.contains("refused"));
    line.and_then(|l| l.rsplit(' ').next()).map_or(0, |n| n.parse().unwrap())
}

#[test]
fn t16_giving_back_what_somebody_has_just_ended_waits_as_the_ending_did() {
    let yard = Yard::new();
    for token in
        [text(&yard.opaque(&[]).ok()["access_token"]), text(&yard.signed(&[]).ok()["access_token"])]
    {
        let session = text(&yard.told(&token)["sid"]);
        let ana = yard.at("ana@marina");
        yard.call(ana, "POST", &format!("/v1/sessions/{session}/end"), None).ok();
        let before = waited(&yard);
        yard.form("/oauth/revoke", None, &[("token", &token)]).ok();
        assert_eq!(waited(&yard), before + 1, "the writer was not asked");
    }
}

#[test]
fn t25_a_session_whose_first_token_cannot_be_signed_is_closed() {
    let yard = Yard::new();
    let faults = yard.app.node().faults();
    let before = yard.app.state().sessions.iter().filter(|(_, s)| s.is_active(yard.now())).count();
    faults.fail_signing.store(true, Ordering::Release);
    let reply = yard.signed(&[]);
    assert_eq!(reply.status, 503, "{}", reply.text());
    faults.fail_signing.store(false, Ordering::Release);
    let after = yard.app.state().sessions.iter().filter(|(_, s)| s.is_active(yard.now())).count();
    assert_eq!(after, before, "a session without a token is left");
    yard.signed(&[]).ok();
}

#[test]
fn t17_a_token_is_worth_nothing_at_another_application_or_for_another_customer_at_any_door() {
    let yard = Yard::new();
    let (boats, tours) = (yard.decide_key("boats"), yard.decide_key("tours"));
    for token in
        [text(&yard.opaque(&[]).ok()["access_token"]), text(&yard.signed(&[]).ok()["access_token"])]
    {
        let session = text(&yard.told(&token)["sid"]);
        let account = json!({ "type": "account", "id": "boat-1" });
        let ask = |resource: &Value| {
            json!({ "subject": { "type": "partner_session", "id": token },
                "action": { "name": "boats:read" }, "resource": resource })
        };
        let decided = |key: &str, body: &Value| -> Vec<bool> {
            let one = yard.post(key, "/access/v1/evaluation", body).ok();
            let several = json!({ "evaluations": [body] });
            let several = yard.post(key, "/access/v1/evaluations", &several).ok();
            [&one, &several["evaluations"][0]].map(|d| d["decision"].as_bool().unwrap()).to_vec()
        };
        assert_eq!(decided(boats, &ask(&account)), [true, true]);
        // At another application.
        assert_eq!(decided(tours, &ask(&account)), [false, false]);
        assert_eq!(yard.introspect("tours", tours, &token).ok(), json!({ "active": false }));
        let subject = json!({ "type": "partner_session", "id": session });
        for (what, body) in [
            (
                "resource",
                json!({ "subject": subject, "action": { "name": "boats:read" }, "resource": { "type": "account" } }),
            ),
            ("action", json!({ "subject": subject, "resource": account })),
        ] {
            let at = format!("/access/v1/search/{what}");
            let found =
                |key: &str| yard.post(key, &at, &body).ok()["results"].as_array().unwrap().len();
            assert!(found(boats) > 0, "{what}");
            assert_eq!(found(tours), 0, "{what}");
        }
        let given = yard.form("/oauth/revoke", Some(&basic("tours", tours)), &[("token", &token)]);
        wrong(&given, "unauthorized_client", "forbidden");
        // For another customer: an account of theirs, and they themselves.
        let other = &yard.known.organisations["harbor-help"];
        for resource in [
            json!({ "type": "organisation", "id": other }),
            json!({ "type": "account", "id": "no-boat-of-marina" }),
        ] {
            assert_eq!(decided(boats, &ask(&resource)), [false, false], "{resource}");
        }
        // As a person's own sign-in, anywhere.
        yard.get(&token, "/v1/me").is(403, "partner_session");
        let exchanged = yard.enter(&token, "marina", &[("grant", yard.grant.as_str())]);
        wrong(&exchanged, "invalid_grant", "partner_session");
        assert_eq!(
            decided(boats, &ask(&account)),
            [true, true],
            "and it is still good where it is"
        );
    }
}
