//! How applications prove themselves.

use comity_app::jws::Pair;
use comity_domain::signing::base64url;
use serde_json::{Value, json};

use super::{EXCHANGE, ISSUER, Yard, wrong};
use crate::harness::{Reply, text};
use crate::town::basic;

const STATEMENT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn set_keys(yard: &Yard, application: &str, keys: &[&Pair]) -> Reply {
    let jwk = |pair: &&Pair| {
        let (x, y) = pair.public().coordinates();
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": "ES256", "kid": "theirs" })
    };
    let keys: Vec<Value> = keys.iter().map(jwk).collect();
    let path = format!("/v1/platform/applications/{application}/client-keys");
    yard.put(&yard.known.operate, &path, &json!({ "keys": keys }))
}

fn claims(yard: &Yard, jti: &str) -> Value {
    let now = yard.now().0 / 1_000;
    json!({ "iss": "boats", "sub": "boats", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": jti })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn sign(pair: &Pair, header: &Value, claims: &Value) -> String {
    pair.sign(header, claims.to_string().as_bytes()).unwrap()
}

fn by_statement(yard: &Yard, statement: &str, more: &[(&str, &str)]) -> Reply {
    let mut sent = vec![
        ("token", yard.there.token.as_str()),
        ("client_assertion_type", STATEMENT),
        ("client_assertion", statement),
    ];
    sent.extend(more);
    yard.form("/oauth/introspect", None, &sent)
}

#[test]
fn a_secret_proves_its_own_application_in_the_header_or_in_the_body() {
    let yard = Yard::new();
    let (boats, tours) = (yard.decide_key("boats"), yard.decide_key("tours"));
    let token = ("token", yard.there.token.as_str());
    let ask = |proof: Option<&str>, more: &[(&str, &str)]| {
        yard.form("/oauth/introspect", proof, &[&[token], more].concat())
    };
    let good = basic("boats", boats);
    assert_eq!(ask(Some(&good), &[]).ok()["active"], json!(true));
    assert_eq!(ask(Some(&good), &[("client_id", "boats")]).ok()["active"], json!(true));
    let post = [("client_id", "boats"), ("client_secret", boats)];
    assert_eq!(ask(None, &post).ok()["active"], json!(true));
    assert_eq!(
        ask(Some(&basic("b%6Fats", boats)), &[]).ok()["active"],
        json!(true),
        "form-encoded"
    );
    for bad in [
        basic("boats", tours),
        basic("tours", boats),
        basic("boats", &yard.known.operate),
        basic("boats", yard.hugo()),
        basic("boats", ""),
        basic("", boats),
        basic("nobody", boats),
        format!("Bearer {boats}"),
        "Basic !".into(),
        "Basic".into(),
        basic("boats&x=1", boats),
    ] {
        wrong(&ask(Some(&bad), &[]), "invalid_client", "unauthenticated");
    }
    for bad in [
        &[("client_id", "boats")][..],
        &[("client_secret", boats)],
        &[("client_id", "tours"), ("client_secret", boats)],
        &[],
    ] {
        wrong(&ask(None, bad), "invalid_client", "unauthenticated");
    }
    wrong(&ask(Some(&good), &[("client_id", "tours")]), "invalid_client", "unauthenticated");
    wrong(&ask(Some(&good), &post), "invalid_request", "invalid");
    // A key that was retired proves nothing.
    let made = yard.post(
        &yard.known.operate,
        "/v1/platform/keys",
        &json!({ "use": "decide", "application": "boats" }),
    );
    let (id, secret) = (text(&made.ok()["id"]), text(&made.json()["secret"]));
    assert_eq!(ask(Some(&basic("boats", &secret)), &[]).ok()["active"], json!(true));
    yard.call(&yard.known.operate, "DELETE", &format!("/v1/platform/keys/{id}"), None).ok();
    wrong(&ask(Some(&basic("boats", &secret)), &[]), "invalid_client", "unauthenticated");
}

#[test]
fn t19_a_statement_proves_whose_key_signed_it_once_and_for_us_alone() {
    let yard = Yard::new();
    yard.wait(2_000); // one made before the start counts for nothing
    let (own, other) = (Pair::generate().unwrap(), Pair::generate().unwrap());
    set_keys(&yard, "boats", &[&own]).ok();
    set_keys(&yard, "tours", &[&other]).ok();
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "theirs" });
    let good = |jti: &str| sign(&own, &header, &claims(&yard, jti));
    assert_eq!(by_statement(&yard, &good("1"), &[]).ok()["active"], json!(true));
    wrong(&by_statement(&yard, &good("1"), &[]), "invalid_client", "unauthenticated");
    assert_eq!(
        by_statement(&yard, &good("2"), &[("client_id", "boats")]).ok()["active"],
        json!(true)
    );
    for aud in [
        json!(format!("{ISSUER}/oauth/token")),
        json!([ISSUER]),
        json!(format!("{ISSUER}/oauth/introspect")),
    ] {
        let said = with(claims(&yard, &aud.to_string()), "aud", aud);
        by_statement(&yard, &sign(&own, &header, &said), &[]).ok();
    }
    let now = yard.now().0 / 1_000;
    let odd = [
        ("iss", json!("tours")),
        ("sub", json!("tours")),
        ("aud", json!("https://elsewhere.example")),
        ("aud", json!([ISSUER, "https://elsewhere.example"])),
        ("aud", json!([])),
        ("aud", json!(null)),
        ("exp", json!(now)),
        ("exp", json!("never")),
        ("iat", json!(now + 60)),
        ("iat", json!(now - 3_600)),
        ("iat", json!(null)),
        ("nbf", json!(now + 60)),
        ("jti", json!("")),
        ("jti", json!("x".repeat(257))),
        ("jti", json!(7)),
    ];
    for (n, (name, value)) in odd.into_iter().enumerate() {
        let said = with(claims(&yard, &format!("odd{n}")), name, value.clone());
        let reply = by_statement(&yard, &sign(&own, &header, &said), &[]);
        assert_eq!(reply.status, 401, "{name}={value}: {}", reply.text());
    }
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "HS256", "typ": "JWT" }),
        json!({ "alg": "RS256", "typ": "JWT" }),
        json!({ "alg": "ES256", "crit": ["b64"], "b64": false }),
        json!({ "alg": "ES256", "typ": "at+jwt" }),
        json!({ "typ": "JWT" }),
    ] {
        let reply = by_statement(&yard, &sign(&own, &header, &claims(&yard, "h")), &[]);
        assert_eq!(reply.status, 401, "{header}");
    }
    // Another application's key, a key that somebody puts into the header, no key at all.
    let (x, y) = other.public().coordinates();
    let brought = json!({ "alg": "ES256", "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": y },
        "jku": "https://elsewhere.example/jwks" });
    let signed = sign(&own, &header, &claims(&yard, "cut"));
    for bad in [
        sign(&other, &header, &claims(&yard, "a")),
        sign(&other, &brought, &claims(&yard, "b")),
        signed[..signed.len() - 1].to_owned(),
        signed[..=signed.rfind('.').unwrap()].to_owned(),
        String::from("a.b.c"),
        format!("{signed}="),
    ] {
        wrong(&by_statement(&yard, &bad, &[]), "invalid_client", "unauthenticated");
    }
    let both = [("client_id", "boats"), ("client_secret", yard.decide_key("boats"))];
    wrong(&by_statement(&yard, &good("3"), &both), "invalid_request", "invalid");
    wrong(
        &by_statement(&yard, &good("4"), &[("client_id", "tours")]),
        "invalid_client",
        "unauthenticated",
    );
    let kind = yard.form(
        "/oauth/introspect",
        None,
        &[("token", "x"), ("client_assertion", &good("5")), ("client_assertion_type", "jwt")],
    );
    wrong(&kind, "invalid_request", "invalid");
    // One that says an hour, as some libraries write, is good for five minutes.
    let long = |jti: &str, age: i64| {
        let said = with(claims(&yard, jti), "exp", json!(now + 3_600));
        sign(&own, &header, &with(said, "iat", json!(now - age)))
    };
    yard.wait(400_000);
    let now_later = yard.now().0 / 1_000;
    assert!(now_later > now + 300);
    wrong(&by_statement(&yard, &long("7", 0), &[]), "invalid_client", "unauthenticated");
    by_statement(&yard, &long("8", -200), &[]).ok();
    // A key that was taken away proves nothing from then on.
    set_keys(&yard, "boats", &[]).ok();
    wrong(&by_statement(&yard, &good("6"), &[]), "invalid_client", "unauthenticated");
}

#[test]
fn t19_a_statement_from_before_the_start_may_have_been_used_and_counts_no_more() {
    let yard = Yard::new();
    let own = Pair::generate().unwrap();
    set_keys(&yard, "boats", &[&own]).ok();
    let now = yard.now().0 / 1_000;
    let said = with(claims(&yard, "early"), "iat", json!(now - 1));
    let statement = sign(&own, &json!({ "alg": "ES256" }), &said);
    wrong(&by_statement(&yard, &statement, &[]), "invalid_client", "unauthenticated");
}

#[test]
fn a_key_is_registered_as_a_point_of_the_curve_and_never_with_its_secret() {
    let yard = Yard::new();
    let own = Pair::generate().unwrap();
    let (x, y) = own.public().coordinates();
    let path = "/v1/platform/applications/boats/client-keys";
    let put = |jwk: Value| yard.put(&yard.known.operate, path, &json!({ "keys": [jwk] }));
    let good = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    let told = put(good.clone()).ok();
    assert_eq!(told["keys"][0]["kid"], json!(base64url(&own.public().thumbprint().0)));
    for (name, value) in [
        ("kty", json!("RSA")),
        ("crv", json!("P-384")),
        ("x", json!(base64url(&[1; 32]))),
        ("x", json!("")),
        ("y", json!(format!("{y}="))),
        ("d", json!(x)),
    ] {
        put(with(good.clone(), name, value)).is(422, "invalid");
    }
    set_keys(&yard, "nobody", &[]).is(404, "not_found");
    set_keys(&yard, "tours", &[&own]).is(409, "taken");
    let ours = yard.get("", "/oauth/jwks").ok()["keys"][0].clone();
    put(ours).is(409, "taken");
}

#[test]
fn t17_a_client_that_proves_itself_gets_tokens_for_itself_only() {
    let yard = Yard::new();
    let (boats, tours) = (&yard.known.applications["boats"].0, &yard.known.applications["tours"].0);
    let send = |who: &str, audience: Option<&str>| {
        let mut sent = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", yard.hugo()),
            ("subject_token_type", super::ACCESS_TOKEN),
            ("resource", "urn:comity:organisation:marina"),
            ("grant", yard.grant.as_str()),
        ];
        sent.extend(audience.map(|a| ("audience", a)));
        yard.form("/oauth/token", Some(&basic(who, yard.decide_key(who))), &sent)
    };
    let entered = send("boats", None).ok();
    assert_eq!(yard.told(&text(&entered["access_token"]))["aud"], json!(boats));
    send("boats", Some(boats)).ok();
    wrong(&send("boats", Some(tours)), "invalid_target", "invalid");
    wrong(&send("tours", Some(boats)), "invalid_target", "invalid");
    let named = [("client_id", "tours"), ("grant", yard.grant.as_str())];
    wrong(&yard.enter(yard.hugo(), "marina", &named), "invalid_target", "invalid");
    let named = [("client_id", "boats"), ("grant", yard.grant.as_str())];
    yard.enter(yard.hugo(), "marina", &named).ok();
}

#[test]
fn t46_a_key_that_is_named_by_its_thumbprint_is_the_only_one_that_is_tried() {
    let yard = Yard::new();
    yard.wait(2_000);
    let (first, second) = (Pair::generate().unwrap(), Pair::generate().unwrap());
    set_keys(&yard, "boats", &[&first, &second]).ok();
    let kid = |pair: &Pair| base64url(&pair.public().thumbprint().0);
    let send = |pair: &Pair, header: Value, jti: &str| {
        by_statement(&yard, &sign(pair, &header, &claims(&yard, jti)), &[])
    };
    send(&first, json!({ "alg": "ES256", "kid": kid(&first) }), "1").ok();
    send(&second, json!({ "alg": "ES256", "kid": kid(&second) }), "2").ok();
    send(&second, json!({ "alg": "ES256" }), "3").ok();
    send(&second, json!({ "alg": "ES256", "kid": "a word of theirs" }), "4").ok();
    let crossed = send(&second, json!({ "alg": "ES256", "kid": kid(&first) }), "5");
    wrong(&crossed, "invalid_client", "unauthenticated");
}
