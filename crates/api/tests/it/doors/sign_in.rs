//! Signing in with a second factor and by passkey, and what one proves with, through the door.

use comity_domain::time::{MINUTE, SECOND};
use serde_json::{Value, json};

use super::Scene;
use crate::authenticator::Authenticator;
use crate::harness::{House, PASSWORD, Reply, copy, text};
use crate::town::Town;

const ORIGIN: &str = "http://localhost:8420";
const ANA: &str = "ana@marina.example";

/// The town, reached under a host name: passkeys belong to one.
fn town() -> Town {
    let Scene { town: Town { house, known }, .. } = Scene::new();
    house.app.stop();
    let House { folder, .. } = house;
    Town { house: House::reached(copy(folder.path()), Some(ORIGIN)), known }
}

fn code(town: &Town, secret: &str) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    totp.generate(u64::try_from(town.now().0).unwrap() / 1_000).to_string()
}

fn token(reply: &Reply) -> String {
    text(&reply.ok()["token"])
}

/// Sets codes up for Ana; the secret and the recovery codes.
fn set_up(town: &Town, by: &str) -> (String, Vec<Value>) {
    let begun = town.call(by, "POST", "/v1/me/totp", None).ok();
    let secret = text(&begun["secret"]);
    assert!(text(&begun["uri"]).contains(&secret));
    let first = json!({ "setup": begun["setup"], "code": code(town, &secret) });
    let made = town.post(by, "/v1/me/totp/confirm", &first).ok();
    let codes = made["codes"].as_array().unwrap().clone();
    assert_eq!(codes.len(), 10);
    (secret, codes)
}

fn second(town: &Town, code: &str) -> Reply {
    let needed = town.sign_in(ANA);
    needed.is(401, "second_factor_needed");
    let body = json!({ "ticket": needed.json()["ticket"], "code": code });
    town.post("", "/v1/sign-in/second-factor", &body)
}

#[test]
fn t22_the_whole_story_of_codes() {
    let town = town();
    let by = token(&town.sign_in(ANA));
    town.post(&by, "/v1/me/totp/confirm", &json!({ "setup": "x", "code": "1" })).is(422, "invalid");
    let (secret, codes) = set_up(&town, &by);
    town.call(&by, "POST", "/v1/me/totp", None).is(401, "stronger_sign_in_required");
    second(&town, "000000").is(401, "sign_in_failed");
    town.wait(30 * SECOND);
    let own = code(&town, &secret);
    let signed = second(&town, &own);
    assert_eq!(signed.ok()["acr"], "multi");
    let by = token(&signed);
    second(&town, &own).is(401, "sign_in_failed");
    second(&town, codes[0].as_str().unwrap()).ok();
    second(&town, codes[0].as_str().unwrap()).is(401, "sign_in_failed");
    let factors = town.get(&by, "/v1/me/factors").ok();
    assert_eq!(factors["recovery_codes_left"], 9);
    assert!(factors["totp_set_at"].is_string() && factors["passkeys_possible"] == true);
    // Whatever was wrong with it, it looks the same (T26).
    let body = json!({ "ticket": "of nobody", "code": own });
    let face = town.post("", "/v1/sign-in/second-factor", &body).face();
    assert_eq!(face, second(&town, "000000").face());
    // Proven anew: a fresh token, and the old one opens nothing.
    town.wait(6 * MINUTE);
    town.call(&by, "POST", "/v1/me/recovery-codes", None).is(401, "fresh_sign_in_required");
    let step = |body: Value| town.post(&by, "/v1/me/step-up", &body);
    step(json!({})).is(422, "invalid");
    step(json!({ "password": PASSWORD })).is(422, "invalid");
    step(json!({ "password": "a wrong password!", "code": "1" })).is(422, "invalid");
    let fresh = token(&step(json!({ "password": PASSWORD, "code": code(&town, &secret) })));
    town.get(&by, "/v1/me").is(401, "unauthenticated");
    let new = town.call(&fresh, "POST", "/v1/me/recovery-codes", None).ok();
    second(&town, codes[1].as_str().unwrap()).is(401, "sign_in_failed");
    second(&town, new["codes"][0].as_str().unwrap()).ok();
    // Taken away, and sent again with one answer.
    let mut again = crate::harness::request(&fresh, "DELETE", "/v1/me/totp", None);
    again.headers_mut().insert("idempotency-key", "away".parse().unwrap());
    assert_eq!(town.send(again).status, 204);
    let mut again = crate::harness::request(&fresh, "DELETE", "/v1/me/totp", None);
    again.headers_mut().insert("idempotency-key", "away".parse().unwrap());
    assert_eq!(town.send(again).status, 204);
    town.call(&fresh, "DELETE", "/v1/me/totp", None).is(404, "not_found");
    town.call(&fresh, "POST", "/v1/me/recovery-codes", None).is(409, "wrong_state");
    assert_eq!(town.sign_in(ANA).ok()["acr"], "single");
}

#[test]
fn the_whole_story_of_a_passkey() {
    let town = town();
    let by = token(&town.sign_in(ANA));
    let mut key = Authenticator::new(ORIGIN);
    let begun = town.call(&by, "POST", "/v1/me/passkeys/begin", None).ok();
    let asked = &begun["options"]["publicKey"];
    assert_eq!(asked["authenticatorSelection"]["residentKey"], "preferred");
    assert_eq!(asked["authenticatorSelection"]["userVerification"], "required");
    let answer = key.make(&begun["options"]);
    let body = json!({ "ceremony": begun["ceremony"], "name": "Blue", "passkey": answer });
    let made = town.post(&by, "/v1/me/passkeys", &body);
    assert_eq!((made.status, &made.json()["name"]), (201, &json!("Blue")));
    let path = format!("/v1/me/passkeys/{}", text(&made.json()["id"]));
    town.put(&by, &path, &json!({ "name": "Red" })).is(401, "stronger_sign_in_required");
    let sign_in = |key: &mut Authenticator| {
        let begun = town.call("", "POST", "/v1/sign-in/passkey/begin", None).ok();
        let body = json!({ "ceremony": begun["ceremony"], "passkey": key.sign(&begun["options"]) });
        town.post("", "/v1/sign-in/passkey/finish", &body)
    };
    let signed = sign_in(&mut key);
    assert_eq!(signed.ok()["acr"], "phishing_resistant");
    let strong = token(&signed);
    let mut stranger = Authenticator::new(ORIGIN);
    sign_in(&mut stranger).is(401, "sign_in_failed");
    assert_eq!(town.put(&strong, &path, &json!({ "name": "Red" })).ok()["name"], "Red");
    let listed = town.get(&strong, "/v1/me/passkeys").ok();
    assert_eq!(listed["items"][0]["name"], "Red");
    assert!(listed["items"][0]["used_at"].is_string());
    // A password that was forgotten is replaced by whoever signed in by a passkey.
    let new = json!({ "password": "incorrect zebra charger clip" });
    town.put(&by, "/v1/me/password", &new).is(401, "stronger_sign_in_required");
    let going_on = token(&town.put(&strong, "/v1/me/password", &new));
    for over in [&by, &strong] {
        town.get(over, "/v1/me").is(401, "unauthenticated");
    }
    town.sign_in(ANA).is(401, "sign_in_failed");
    // One's own sign-ins, and the end of one.
    town.wait(1);
    let other = token(&sign_in(&mut key));
    let listed = town.get(&going_on, "/v1/me/sign-ins").ok();
    let all = listed["items"].as_array().unwrap();
    let current: Vec<bool> = all.iter().map(|s| s["current"] == true).collect();
    assert_eq!(current, [true, false]);
    assert_eq!((&all[1]["acr"], &all[1]["door"]), (&json!("phishing_resistant"), &json!("api")));
    let end = format!("/v1/me/sign-ins/{}", text(&all[1]["id"]));
    assert_eq!(town.call(&going_on, "DELETE", &end, None).status, 204);
    town.get(&other, "/v1/me").is(401, "unauthenticated");
    assert_eq!(town.call(&going_on, "DELETE", &path, None).status, 204);
    sign_in(&mut key).is(401, "sign_in_failed");
    // What only the builder does, for lost devices.
    let reset = "/v1/organisations/marina/members/ana/reset-factors";
    town.call(&going_on, "POST", reset, None).is(403, "forbidden");
    assert_eq!(town.call(&town.known.provision, "POST", reset, None).status, 204);
    town.get(&going_on, "/v1/me").is(401, "unauthenticated");
}

#[test]
fn without_a_host_name_there_are_no_passkeys() {
    let scene = Scene::new();
    let by = token(&scene.sign_in(ANA));
    scene.call(&by, "POST", "/v1/me/passkeys/begin", None).is(409, "wrong_state");
    scene.call("", "POST", "/v1/sign-in/passkey/begin", None).is(409, "wrong_state");
    assert_eq!(scene.get(&by, "/v1/me/factors").ok()["passkeys_possible"], false);
}
