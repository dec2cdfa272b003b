//! Who is on a grant, saved as one set (N6, N7).

use axum::http::header;
use serde_json::{Value, json};

use super::Scene;
use crate::harness::{Reply, request};

fn path(scene: &Scene) -> String {
    format!("/v1/grants/{}/assignments", scene.there.grant)
}

/// The list as Pia sees it, with its tag.
fn read(scene: &Scene) -> (Value, String) {
    let reply = scene.get(scene.at("pia@harbor-help"), &path(scene));
    let tag = reply.header(header::ETAG).to_owned();
    (reply.ok()["items"].clone(), tag)
}

fn save(scene: &Scene, tag: Option<&str>, people: &Value) -> Reply {
    let body = json!({ "people": people });
    let mut request = request(scene.at("pia@harbor-help"), "PUT", &path(scene), Some(&body));
    if let Some(tag) = tag {
        request.headers_mut().insert(header::IF_MATCH, tag.parse().unwrap());
    }
    scene.send(request)
}

#[test]
fn n6_two_who_save_at_once_do_not_undo_each_other() {
    let scene = Scene::new();
    let (hugo, hana, nils) = (
        scene.person("hugo@harbor-help"),
        scene.person("hana@harbor-help"),
        scene.person("nils@harbor-help"),
    );
    let (_, tag) = read(&scene);
    let first =
        json!([{ "person": hana, "roles": ["skipper"] }, { "person": hugo, "roles": ["skipper"] }]);
    let second = json!([{ "person": nils, "roles": ["skipper"] }]);
    save(&scene, None, &first).is(428, "if_match_required");
    let saved = save(&scene, Some(&tag), &first);
    let now = saved.header(header::ETAG).to_owned();
    assert_ne!(now, tag);
    assert_eq!(saved.ok()["items"].as_array().unwrap().len(), 2);
    save(&scene, Some(&tag), &second).is(412, "version_conflict");
    let (there, read_tag) = read(&scene);
    assert_eq!(there.as_array().unwrap().len(), 2, "{there}");
    assert_eq!(read_tag, now, "what a save answers is what is read");
    // Who has read it again may save; and one edit of one person is seen as well.
    let one = format!("{}/{hana}", path(&scene));
    let tag = there[1]["etag"].as_str().filter(|_| there[1]["person"]["id"] == json!(hana));
    let tag = tag.or_else(|| there[0]["etag"].as_str()).unwrap();
    let mut alone = request(
        scene.at("pia@harbor-help"),
        "PUT",
        &one,
        Some(&json!({ "roles": ["skipper"], "accounts": ["boat-1"] })),
    );
    alone.headers_mut().insert(header::IF_MATCH, tag.parse().unwrap());
    scene.send(alone).ok();
    save(&scene, Some(&now), &second).is(412, "version_conflict");
    let (_, tag) = read(&scene);
    let saved = save(&scene, Some(&tag), &second).ok();
    assert_eq!(saved["items"][0]["person"]["id"], json!(nils));
    assert_eq!(saved["items"].as_array().unwrap().len(), 1);
}

#[test]
fn n7_a_set_with_one_wrong_entry_changes_nothing() {
    let scene = Scene::new();
    let (hana, (before, tag)) = (scene.person("hana@harbor-help"), read(&scene));
    let good = json!({ "person": hana, "roles": ["skipper"] });
    for (wrong, status, code) in [
        (json!({ "person": "nils", "roles": [] }), 422, "invalid"),
        (json!({ "person": "nils", "roles": ["owner"] }), 409, "widening"),
        (json!({ "person": "nils", "roles": ["nobody-has-it"] }), 409, "widening"),
        (json!({ "person": "nobody", "roles": ["skipper"] }), 422, "invalid"),
        (json!({ "person": "nils", "roles": ["skipper"], "accounts": [] }), 422, "invalid"),
        (json!({ "person": hana, "roles": ["skipper"] }), 422, "invalid"),
        (json!({ "person": "nils", "roles": ["skipper"], "mode": "act_as" }), 422, "invalid"),
    ] {
        save(&scene, Some(&tag), &json!([good, wrong])).is(status, code);
        assert_eq!(read(&scene), (before.clone(), tag.clone()), "{wrong}");
    }
    save(&scene, Some(&tag), &json!([])).is(409, "last_user");
    let many: Vec<Value> =
        (0..1001).map(|_| json!({ "person": hana, "roles": ["skipper"] })).collect();
    save(&scene, Some(&tag), &json!(many)).is(422, "invalid");
    assert_eq!(read(&scene).1, tag);
}

#[test]
fn inv28_the_same_save_sent_twice_is_one_save() {
    let scene = Scene::new();
    let (_, tag) = read(&scene);
    let people = json!([{ "person": "hana", "roles": ["skipper"] }]);
    let send = || {
        let body = json!({ "people": people });
        let mut request = request(scene.at("pia@harbor-help"), "PUT", &path(&scene), Some(&body));
        request.headers_mut().insert(header::IF_MATCH, tag.parse().unwrap());
        request.headers_mut().insert("idempotency-key", "save-once".parse().unwrap());
        scene.send(request)
    };
    let first = send().ok();
    let again = send(); // under a version that is gone: it was carried out, so it is no conflict
    assert_eq!(again.ok(), first);
}

#[test]
fn n9_a_preview_says_whom_it_would_cost_their_own_membership_and_changes_nothing() {
    let scene = Scene::new();
    let (hugo, nils) = (scene.person("hugo@harbor-help"), scene.person("nils@harbor-help"));
    let member =
        json!({ "name": "Nils Nord", "email": "nils@harbor-help.example", "email_verified": true });
    let provision = scene.known.provision.clone();
    scene.put(&provision, "/v1/organisations/marina/members/nils-too", &member).ok();
    let (before, _) = read(&scene);
    let preview = |people: &Value| {
        let path = format!("{}/preview", path(&scene));
        scene.post(scene.at("pia@harbor-help"), &path, &json!({ "people": people }))
    };
    let said = preview(&json!([{ "person": nils, "roles": ["skipper"] }])).ok();
    assert_eq!(said["put_on"], json!([nils]), "{said}");
    assert!(said["taken_off"].as_array().unwrap().contains(&json!(hugo)), "{said}");
    assert_eq!(said["superseded"], json!([nils]), "{said}");
    assert_eq!(said["changed"], json!([]), "{said}");
    assert_eq!(read(&scene).0, before, "nothing was changed");
    // What saving would refuse is refused here, and who may not save may not look.
    preview(&json!([])).is(409, "last_user");
    preview(&json!([{ "person": nils, "roles": [] }])).is(422, "invalid");
    let as_ana = format!("{}/preview", path(&scene));
    scene.post(scene.at("ana@marina"), &as_ana, &json!({ "people": [] })).is(403, "forbidden");
}
