//! How often is too often: who is slowed down, who never is, and what it does not tell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header;
use comity_api::limited_router;
use comity_api::limits::{Peer, Rate, Settings};
use serde_json::{Value, json};

use crate::doors::{Scene, ask, terms};
use crate::harness::{PASSWORD, Reply, request, send};

/// The scene behind a door with limits.
struct Door {
    scene: Scene,
    router: Router,
}

impl Door {
    fn new(settings: &Settings) -> Self {
        let scene = Scene::new();
        let router = limited_router(Arc::clone(&scene.app), settings);
        Self { scene, router }
    }

    fn from(&self, address: &str, token: &str, method: &str, path: &str, body: &Value) -> Reply {
        let body = (!body.is_null()).then_some(body);
        let mut request = request(token, method, path, body);
        request
            .extensions_mut()
            .insert(Peer(std::net::SocketAddr::new(address.parse().unwrap(), 4711)));
        self.scene.runtime.block_on(send(&self.router, request))
    }

    fn call(&self, token: &str, method: &str, path: &str, body: &Value) -> Reply {
        self.from("192.0.2.1", token, method, path, body)
    }

    fn sign_in(&self, address: &str, email: &str, password: &str) -> Reply {
        let body = json!({ "email": email, "password": password });
        self.from(address, "", "POST", "/v1/sign-in", &body)
    }
}

/// A "no" that says when.
#[track_caller]
fn is_limited(reply: &Reply, name: &str) -> u64 {
    reply.is(429, "rate_limited");
    let text = |field: &'static str| {
        reply.headers.get(field).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let after: u64 = reply.header(header::RETRY_AFTER).parse().expect("Retry-After in seconds");
    assert!(after >= 1);
    assert!(text("ratelimit-policy").starts_with(&format!("\"{name}\";q=")), "{:?}", reply.headers);
    assert_eq!(text("ratelimit"), format!("\"{name}\";r=0;t={after}"));
    after
}

#[test]
fn t46_sign_ins_are_limited_by_address_and_account_and_no_stranger_locks_a_person_out() {
    let door = Door::new(&Settings::default());
    let ana = "ana@marina.example";
    for _ in 0..5 {
        door.sign_in("192.0.2.66", ana, "a wrong password!").is(401, "sign_in_failed");
    }
    let after = is_limited(&door.sign_in("192.0.2.66", ana, PASSWORD), "sign_in");
    assert_eq!(after, 12);
    is_limited(&door.sign_in("192.0.2.66", &ana.to_uppercase(), PASSWORD), "sign_in");
    // She herself, from elsewhere; somebody else, from there.
    door.sign_in("192.0.2.1", ana, PASSWORD).ok();
    door.sign_in("192.0.2.66", "pia@harbor-help.example", "a wrong password!")
        .is(401, "sign_in_failed");
    door.scene.wait(12_000);
    door.sign_in("192.0.2.66", ana, PASSWORD).ok();
    is_limited(&door.sign_in("192.0.2.66", ana, PASSWORD), "sign_in");
}

#[test]
fn t26_an_account_that_is_not_there_is_limited_as_one_that_is() {
    let door = Door::new(&Settings::default());
    let tries = |email: &str| -> Vec<(u16, String, String)> {
        (0..8).map(|_| door.sign_in("192.0.2.66", email, "a wrong password!").face()).collect()
    };
    assert_eq!(tries("ana@marina.example"), tries("nobody@marina.example"));
}

#[test]
fn t46_who_goes_on_failing_waits_longer_and_a_whole_address_has_its_limit() {
    let slower = Settings { sign_in_slower: "6/h".parse().unwrap(), ..Settings::default() };
    let door = Door::new(&slower);
    for _ in 0..6 {
        door.sign_in("192.0.2.66", "ana@marina.example", "a wrong password!")
            .is(401, "sign_in_failed");
        door.scene.wait(12_000);
    }
    let no = door.sign_in("192.0.2.66", "ana@marina.example", "a wrong password!");
    assert!(is_limited(&no, "sign_in_slower") > 500);

    let stuffing = Settings { sign_in_address: Rate::per_minute(10), ..Settings::default() };
    let door = Door::new(&stuffing);
    let one = |n: u32| {
        let (address, email) = (format!("2001:db8::{n:x}"), format!("p{n}@marina.example"));
        door.sign_in(&address, &email, "a wrong password!")
    };
    for n in 0..10 {
        one(n).is(401, "sign_in_failed");
    }
    is_limited(&one(10), "sign_in_address"); // another address of the same household
}

#[test]
fn t46_many_tries_for_one_account_slow_everybody_down_and_refuse_nobody() {
    let brake = Settings { sign_in_account: Rate::per_hour(3), ..Settings::default() };
    let door = Door::new(&brake);
    for n in 1..=3 {
        door.sign_in(&format!("198.51.100.{n}"), "ana@marina.example", "a wrong password!")
            .is(401, "sign_in_failed");
    }
    let began = Instant::now();
    door.sign_in("192.0.2.1", "ana@marina.example", PASSWORD).ok();
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    let began = Instant::now();
    let pia = "pia@harbor-help.example";
    door.sign_in("192.0.2.1", pia, PASSWORD).ok();
    assert!(began.elapsed() < Duration::from_millis(1_900), "another account is not slowed down");
}

#[test]
fn t46_who_comes_through_a_listed_proxy_is_counted_by_what_it_says() {
    let mut settings = Settings::default();
    settings.proxies.trusted.push("10.0.0.0/8".parse().unwrap());
    let door = Door::new(&settings);
    let sign_in = |peer: &str, client: &str| {
        let body = json!({ "email": "ana@marina.example", "password": "a wrong password!" });
        let mut request = request("", "POST", "/v1/sign-in", Some(&body));
        request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
        request.extensions_mut().insert(Peer(format!("{peer}:4711").parse().unwrap()));
        door.scene.runtime.block_on(send(&door.router, request))
    };
    for _ in 0..5 {
        sign_in("10.0.0.1", "203.0.113.9").is(401, "sign_in_failed");
    }
    is_limited(&sign_in("10.0.0.1", "203.0.113.9"), "sign_in");
    is_limited(&sign_in("10.0.0.2", "198.51.100.1, 203.0.113.9"), "sign_in");
    sign_in("10.0.0.1", "203.0.113.10").is(401, "sign_in_failed");
    // Whoever comes directly cannot choose where they come from.
    for n in 0..5 {
        sign_in("203.0.113.77", &format!("198.51.100.{n}")).is(401, "sign_in_failed");
    }
    is_limited(&sign_in("203.0.113.77", "198.51.100.9"), "sign_in");
}

#[test]
fn t01_a_customer_id_that_works_and_one_that_does_not_cost_the_same() {
    let scene = Scene::new();
    let (own, right) = (scene.there.code.clone(), scene.there.fjord_code.clone());
    drop(scene);
    let unknown = comity_domain::code::CustomerCode::from_random([7; 16]).to_string();
    #[expect(clippy::type_complexity, reason = "told apart on the spot")]
    let faces = |code: &str| -> (Vec<u16>, (u16, String, String), Vec<(String, String)>) {
        let door = Door::new(&Settings::default());
        let pia = door.scene.at("pia@harbor-help");
        let body = json!({ "customer_id": code, "level": "partner", "modes": ["direct"], "reason": "Sails" });
        let path = "/v1/organisations/harbor-help/requests";
        let tries = (0..10).map(|_| door.call(pia, "POST", path, &body).status).collect();
        let last = door.call(pia, "POST", path, &body);
        is_limited(&last, "customer_id");
        let heads = ["retry-after", "ratelimit", "ratelimit-policy"]
            .map(|h| (h.to_owned(), last.headers[h].to_str().unwrap().to_owned()));
        (tries, last.face(), heads.to_vec())
    };
    let (wrong, no, heads) = faces(&unknown);
    assert_eq!(wrong, vec![404; 10]);
    for code in [right, own] {
        let (tries, face, same) = faces(&code);
        assert_ne!(tries, wrong);
        assert_eq!((face, same), (no.clone(), heads.clone()), "after ten, all are the same");
    }
}

#[test]
fn t01_nobody_uses_up_the_tries_of_another_organisation() {
    let few = Settings { customer_id_organisation: Rate::per_day(3), ..Settings::default() };
    let door = Door::new(&few);
    let unknown = comity_domain::code::CustomerCode::from_random([7; 16]).to_string();
    let body = json!({ "customer_id": unknown, "level": "partner", "modes": ["direct"], "reason": "Sails" });
    let path = "/v1/organisations/harbor-help/requests";
    for _ in 0..5 {
        door.call(door.scene.at("freya@fjord"), "POST", path, &body).is(404, "not_found");
        door.call(door.scene.at("hugo@harbor-help"), "POST", path, &body).is(403, "forbidden");
    }
    let pia = door.scene.at("pia@harbor-help");
    for _ in 0..3 {
        door.call(pia, "POST", path, &body).is(404, "not_found");
    }
    is_limited(&door.call(pia, "POST", path, &body), "customer_id_organisation");
    door.scene.wait(24 * 3_600_000 / 3);
}

#[test]
fn t46_however_much_somebody_wrote_they_can_revoke_lock_and_sign_out() {
    let few = Settings {
        write: Rate::per_hour(1),
        read: Rate::per_hour(1),
        organisation: Rate::per_hour(1),
        ..Settings::default()
    };
    let door = Door::new(&few);
    let ana = door.scene.at("ana@marina");
    let summary = format!("/v1/requests/{}/summary", door.scene.there.asked);
    door.call(ana, "POST", &summary, &terms()).ok();
    is_limited(&door.call(ana, "POST", &summary, &json!({})), "write");
    is_limited(
        &door.call(ana, "GET", "/v1/organisations/marina/grants", &Value::Null),
        "organisation",
    );
    let there = &door.scene.there;
    door.call(ana, "POST", &format!("/v1/requests/{}/deny", there.asked), &json!({})).ok();
    let lock = json!({ "person": door.scene.person("hugo@harbor-help"), "reason": "Odd" });
    door.call(ana, "POST", "/v1/organisations/marina/locks", &lock).ok();
    door.call(ana, "POST", &format!("/v1/grants/{}/revoke", there.grant), &Value::Null).ok();
    door.call(ana, "POST", "/v1/sign-out", &json!({})).ok();
}

#[test]
fn t46_one_tenant_uses_up_its_own_and_not_the_others() {
    let few = Settings { organisation: Rate::per_hour(4), ..Settings::default() };
    let door = Door::new(&few);
    let read = |who: &str, of: &str| {
        let path = format!("/v1/organisations/{of}/grants");
        door.call(door.scene.at(who), "GET", &path, &Value::Null)
    };
    // Strangers name it as often as they like: that is their own.
    for _ in 0..4 {
        read("freya@fjord", "harbor-help").is(404, "not_found");
    }
    is_limited(&read("freya@fjord", "harbor-help"), "organisation");
    for _ in 0..2 {
        read("pia@harbor-help", "harbor-help").ok();
        door.call(door.scene.at("hugo@harbor-help"), "GET", "/v1/me", &Value::Null).ok();
    }
    is_limited(&read("pia@harbor-help", "harbor-help"), "organisation");
    read("ana@marina", "marina").ok();
    // A program of the builder's is no member.
    door.call(&door.scene.known.provision, "GET", "/v1/organisations/harbor-help", &Value::Null)
        .ok();
}

#[test]
fn t46_an_exchange_is_limited_in_the_words_of_its_standard() {
    let door = Door::new(&Settings { exchange: Rate::per_minute(2), ..Settings::default() });
    let hugo = door.scene.at("hugo@harbor-help");
    let form = [
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange",
        &format!("subject_token={hugo}"),
        "subject_token_type=urn:ietf:params:oauth:token-type:access_token",
        "audience=nowhere",
        &format!("resource=urn:comity:organisation:{}", door.scene.known.organisations["marina"]),
    ]
    .join("&");
    let exchange = || {
        let request = axum::http::Request::post("/oauth/token")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(form.clone()));
        door.scene.runtime.block_on(send(&door.router, request.unwrap()))
    };
    for _ in 0..2 {
        assert_eq!(exchange().status, 400);
    }
    let no = exchange();
    is_limited(&no, "exchange");
    assert_eq!(no.json()["error"], "temporarily_unavailable");
}

#[test]
fn t46_who_shows_no_secret_is_counted_by_address_and_shuts_nobody_out_behind_it() {
    let door = Door::new(&Settings { strangers: Rate::per_minute(3), ..Settings::default() });
    for token in ["", "nonsense", "cmt_signin_nonsense"] {
        door.call(token, "GET", "/v1/me", &Value::Null).is(401, "unauthenticated");
    }
    is_limited(&door.call("", "GET", "/v1/me", &Value::Null), "strangers");
    door.from("192.0.2.99", "", "GET", "/v1/me", &Value::Null).is(401, "unauthenticated");
    door.call(door.scene.at("ana@marina"), "GET", "/v1/me", &Value::Null).ok();
}

#[test]
fn t46_a_key_that_decides_is_counted_apart_from_keys_that_write() {
    let few = Settings {
        key_write: Rate::per_hour(1),
        key_read: Rate::per_hour(1),
        ..Settings::default()
    };
    let door = Door::new(&few);
    let ask = json!({ "subject": { "type": "partner_session", "id": door.scene.there.token },
        "action": { "name": "bookings:read" }, "resource": { "type": "account", "id": "boat-1" } });
    for _ in 0..20 {
        door.call(door.scene.decide_key("boats"), "POST", "/access/v1/evaluation", &ask).ok();
    }
    let boat = json!({ "name": "Boat 9" });
    let put = |id: &str| {
        door.call(
            &door.scene.known.provision,
            "PUT",
            &format!("/v1/organisations/marina/accounts/{id}"),
            &boat,
        )
    };
    put("boat-77").ok();
    is_limited(&put("boat-78"), "key_write");
}

#[test]
fn t44_what_is_nested_too_deep_or_listed_too_long_is_refused_before_it_is_read() {
    let scene = Scene::new();
    let provision = &scene.known.provision;
    let send = |text: String| {
        let request = axum::http::Request::put("/v1/organisations/deep")
            .header(header::AUTHORIZATION, format!("Bearer {provision}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(axum::body::Body::from(text));
        scene.send(request.unwrap())
    };
    let nested =
        |depth: usize| format!("{{\"name\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    send(nested(16)).is(422, "invalid");
    send(nested(17)).is(400, "bad_json");
    assert!(send(nested(17)).text().contains("16 deep"));
    send(format!("{{\"name\":{}", "{\"a\":".repeat(50_000))).is(400, "bad_json");
    let list = |n: usize| format!("{{\"name\":[{}]}}", vec!["1"; n].join(","));
    assert!(!send(list(1_000)).text().contains("1000 entries"));
    let long = send(list(1_001));
    long.is(422, "invalid");
    assert!(long.text().contains("more than 1000 entries"), "{}", long.text());
    // What looks so inside of a text is text, also behind a quotation mark and backslashes.
    let text = format!("{}\\\"{}\\\\", "[{".repeat(20), ",".repeat(20));
    send(format!("{{\"name\":\"{text}\"}}")).ok();
    let asked = ask(&scene, "pia@harbor-help", &scene.there.fjord_code, "[[[[[[[[[[[[[[[[[[[[");
    assert!(!asked.is_empty());
}

#[test]
fn t46_a_signature_is_looked_at_only_while_strangers_are_heard() {
    use comity_app::jws::Pair;
    let door = Door::new(&Settings { strangers: Rate::per_minute(3), ..Settings::default() });
    door.scene.wait(2_000);
    let own = Pair::generate().unwrap();
    let (x, y) = own.public().coordinates();
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
    let path = "/v1/platform/applications/boats/client-keys";
    door.call(&door.scene.known.operate, "PUT", path, &json!({ "keys": [jwk] })).ok();
    let issuer = door.scene.app.issuer().to_owned();
    let introspect = |pair: &Pair, jti: &str, address: &str| {
        let now = door.scene.now().0 / 1_000;
        let said = json!({ "iss": "boats", "sub": "boats", "aud": issuer, "iat": now, "exp": now + 60, "jti": jti });
        let said = pair.sign(&json!({ "alg": "ES256" }), said.to_string().as_bytes()).unwrap();
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let form = format!("token=x&client_assertion_type={kind}&client_assertion={said}");
        let mut request = axum::http::Request::post("/oauth/introspect")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(form))
            .unwrap();
        let peer = std::net::SocketAddr::new(address.parse().unwrap(), 4711);
        request.extensions_mut().insert(Peer(peer));
        door.scene.runtime.block_on(send(&door.router, request))
    };
    let other = Pair::generate().unwrap();
    for n in 0..3 {
        introspect(&other, &format!("bad{n}"), "192.0.2.66").is(401, "unauthenticated");
    }
    is_limited(&introspect(&other, "bad3", "192.0.2.66"), "strangers");
    // From now on nothing is verified for that address: a right one is not even used up.
    is_limited(&introspect(&own, "good", "192.0.2.66"), "strangers");
    introspect(&own, "good", "192.0.2.1").ok();
    // Where the bucket was never found empty, those that prove something take nothing out of it.
    for n in 0..9 {
        introspect(&own, &format!("good{n}"), "192.0.2.1").ok();
    }
    door.scene.wait(60_000);
    introspect(&own, "later", "192.0.2.66").ok();
}

#[test]
fn t46_a_signed_token_is_looked_at_only_while_strangers_are_heard() {
    use comity_app::jws::Pair;
    let door = Door::new(&Settings { strangers: Rate::per_minute(3), ..Settings::default() });
    let kid = door.scene.get("", "/oauth/jwks").ok()["keys"][0]["kid"].clone();
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid });
    let forged = Pair::generate().unwrap().sign(&header, b"{}").unwrap();
    for _ in 0..3 {
        door.call(&forged, "GET", "/v1/me", &Value::Null).is(401, "unauthenticated");
    }
    is_limited(&door.call(&forged, "GET", "/v1/me", &Value::Null), "strangers");
    // Not counted again and not looked at: what is signed waits, what is looked up does not.
    is_limited(&door.call("a.b.c", "GET", "/v1/me", &Value::Null), "strangers");
    door.call(door.scene.at("ana@marina"), "GET", "/v1/me", &Value::Null).ok();
    door.from("192.0.2.99", &forged, "GET", "/v1/me", &Value::Null).is(401, "unauthenticated");
}
