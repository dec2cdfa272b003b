//! After a restore: what was ended since the copy was made stays without a yes, whoever asks (T50).

use serde_json::json;

use super::Scene;
use crate::harness::PASSWORD;

/// The scene is the copy. After it was made Marina Bay revoked the grant and dismissed Ben, an
/// Admin, and Harbor Help dismissed Hugo: the restored log knows nothing of it.
#[test]
fn t50_neither_who_was_dismissed_nor_what_was_revoked_comes_back() {
    let mut scene = Scene::new();
    let grant = scene.there.grant.clone();
    scene.town.restore(false);
    // Who was dismissed cannot sign in, as nobody can.
    for who in ["hugo@harbor-help", "ben@marina", "ana@marina"] {
        scene.sign_in(&scene.known.members[who].email).is(401, "sign_in_failed");
    }
    // An Admin whom the platform enrols by mistake is no Admin of anything.
    scene.enrol("ben@marina");
    let ben = crate::harness::text(&scene.sign_in("ben@marina.example").ok()["token"]);
    let confirm = format!("/v1/grants/{grant}/confirm");
    scene.call(&ben, "POST", &confirm, None).is(409, "not_active");
    let all = "/v1/organisations/marina/grants/confirm";
    scene.post(&ben, all, &json!({ "grants": [grant] })).is(409, "not_active");
    let put = json!({ "name": "Ben Berg", "email": "ben@marina.example", "active": true,
        "portal_role": "admin" });
    scene.put(&ben, "/v1/organisations/marina/members/ben", &put).is(409, "not_active");
    // The directory is provisioned again, without those two.
    let key = scene.known.provision.clone();
    for gone in ["marina/members/ben", "harbor-help/members/hugo"] {
        scene.call(&key, "DELETE", &format!("/v1/organisations/{gone}"), None).ok();
    }
    for who in ["ana@marina", "hana@harbor-help"] {
        let member = scene.known.members[who].clone();
        scene.town.put_member(&key, who, member).ok();
    }
    scene.get(&ben, "/v1/me").is(401, "unauthenticated");
    scene.sign_in("hugo@harbor-help.example").is(401, "sign_in_failed");
    // Hana is there again, and the grant gives her nothing before Ana says so.
    let hana = scene.town.token_of("hana@harbor-help", false);
    scene.enter(&hana, "marina", &[]).is(400, "unconfirmed");
    assert_eq!(scene.get(&hana, "/v1/me/tenants").ok()["items"], json!([]));
    let old = scene.evaluate(
        scene.decide_key("boats"),
        &scene.there.token,
        "boats:read",
        "account",
        "boat-1",
    );
    assert_eq!(old.ok()["context"]["reason"], "restored");
    let ana = scene.town.token_of("ana@marina", false);
    let shown = scene.get(&ana, &format!("/v1/grants/{grant}")).ok();
    assert_eq!(shown["state"], "unconfirmed");
    assert!(shown["unconfirmed_since"].is_string(), "{shown}");
    let listed = scene.get(&ana, "/v1/organisations/marina/grants?state=unconfirmed").ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["active_partners"], 0, "{listed}");
    // She remembers, and revokes it again: it never gave anything.
    scene.call(&ana, "POST", &format!("/v1/grants/{grant}/revoke"), None).ok();
    scene.call(&ana, "POST", &confirm, None).is(409, "wrong_state");
    scene.enter(&hana, "marina", &[]).is(400, "no_access");
}

#[test]
fn t50_a_token_to_enrol_from_before_is_worthless_and_a_new_one_sets_a_new_password() {
    let mut scene = Scene::new();
    let old = json!({ "token": scene.there.enrolment, "password": PASSWORD });
    scene.town.restore(false);
    scene.post("", "/v1/enrol", &old).is(422, "invalid");
    let member = scene.known.members["ana@marina"].clone();
    let key = scene.known.provision.clone();
    let at = "/v1/organisations/marina/members/ana/enrolment";
    let made = scene.call(&key, "POST", at, None).ok();
    let other = "a different phrase altogether";
    let body = json!({ "token": made["token"], "password": other });
    assert_eq!(scene.post("", "/v1/enrol", &body).status, 204);
    scene.sign_in(&member.email).is(401, "sign_in_failed");
    let body = json!({ "email": member.email, "password": other });
    scene.post("", "/v1/sign-in", &body).ok();
    // As ever: the platform's key is no way into an account that is in use.
    scene.call(&key, "POST", at, None).is(409, "wrong_state");
}
