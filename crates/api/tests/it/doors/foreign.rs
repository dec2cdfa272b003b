//! T12: what belongs to others is answered like what is not there, in status and in every byte.

use comity_domain::ids::{GrantId, LockId, OrganisationId, PersonId, RequestId, SessionId};
use serde_json::json;

use super::Scene;
use crate::harness::Reply;
use crate::may_routes::{Call, calls};

/// The same call about something that is not there.
fn missing(scene: &Scene, call: &Call) -> Option<Call> {
    let there = &scene.there;
    let none: [(&str, String); 5] = [
        (&there.asked, RequestId(7).to_string()),
        (&there.grant, GrantId(7).to_string()),
        (&there.session, SessionId(7).to_string()),
        (&there.lock, LockId(7).to_string()),
        ("marina", "nowhere".into()),
    ];
    let (real, fake) = none.into_iter().find(|(real, _)| call.path.contains(real))?;
    let path = call.path.replacen(real, &fake, 1);
    Some(Call { path, body: call.body.clone(), version: call.version.clone(), ..*call })
}

fn told(scene: &Scene, token: &str, call: &Call) -> Reply {
    scene.send(call.request(token, None))
}

#[test]
fn t12_a_stranger_is_told_the_same_about_what_is_there_and_what_is_not() {
    let scene = Scene::new();
    let mut tried = 0;
    for call in calls(&scene) {
        let Some(other) = missing(&scene, &call) else {
            continue;
        };
        // Making an organisation is the platform's: whoever else names one is told only that.
        let makes = (call.method, call.route) == ("PUT", "/v1/organisations/{organisation}");
        for who in ["quinn@quayside", "sam@sailsupport"] {
            let (real, fake) =
                (told(&scene, scene.at(who), &call), told(&scene, scene.at(who), &other));
            assert_eq!(real.face(), fake.face(), "{who}: {} {}", call.method, call.route);
            assert_eq!(
                real.status,
                if makes { 403 } else { 404 },
                "{who}: {} {}",
                call.method,
                call.route
            );
        }
        tried += 1;
    }
    assert!(tried >= 40, "{tried}");
}

#[test]
fn t12_so_is_who_shows_nothing_and_who_is_inside_a_partner_session() {
    let scene = Scene::new();
    for call in calls(&scene) {
        let Some(other) = missing(&scene, &call) else {
            continue;
        };
        assert_eq!(
            told(&scene, "", &call).face(),
            told(&scene, "", &other).face(),
            "{} {}",
            call.method,
            call.route
        );
        if call.route == "/v1/sessions/{session}/close" {
            continue; // its own
        }
        let token = &scene.there.token;
        assert_eq!(
            told(&scene, token, &call).face(),
            told(&scene, token, &other).face(),
            "{} {}",
            call.method,
            call.route
        );
    }
}

#[test]
fn t12_each_side_is_a_stranger_to_what_the_other_has_alone() {
    let scene = Scene::new();
    let (ana, pia) = (scene.at("ana@marina"), scene.at("pia@harbor-help"));
    for call in calls(&scene).iter().filter(|c| c.path.contains("/marina")) {
        let other = missing(&scene, call).unwrap();
        assert_eq!(
            told(&scene, pia, call).face(),
            told(&scene, pia, &other).face(),
            "{} {}",
            call.method,
            call.route
        );
    }
    // A customer's lock is its own affair, and a session of another customer is nobody's here.
    let lock = |id: &str| scene.call(pia, "DELETE", &format!("/v1/locks/{id}"), None).face();
    assert_eq!(lock(&scene.there.lock), lock(&LockId(7).to_string()));
    let freya = scene.at("freya@fjord");
    let stay =
        |id: &str| scene.get(freya, &format!("/v1/organisations/fjord/sessions/{id}")).face();
    assert_eq!(stay(&scene.there.session), stay(&SessionId(7).to_string()));
    assert_eq!(
        scene
            .get(ana, &format!("/v1/organisations/marina/sessions/{}", scene.there.session))
            .status,
        200
    );
    // Filters find nothing of others and say nothing about them.
    let quayside = &scene.known.organisations["quayside"];
    for (real, fake) in [
        (quayside.clone(), OrganisationId(7).to_string()),
        (scene.known.organisations["fjord"].clone(), OrganisationId(8).to_string()),
    ] {
        let list = |id: &str| {
            scene.get(ana, &format!("/v1/organisations/marina/sessions?partner={id}")).face()
        };
        assert_eq!(list(&real), list(&fake));
    }
    let person =
        |id: &str| scene.get(ana, &format!("/v1/organisations/marina/sessions?person={id}")).face();
    assert_eq!(person(scene.person("freya@fjord")), person(&PersonId(7).to_string()));
}

#[test]
fn t12_a_partner_does_not_learn_what_was_not_shared_by_naming_it() {
    let scene = Scene::new();
    let pia = scene.at("pia@harbor-help");
    let path = |who: &str| format!("/v1/grants/{}/assignments/{who}", scene.there.grant);
    let assign = |roles: &str, account: &str| {
        let body = json!({ "roles": [roles], "accounts": [account] });
        scene.put(pia, &path(scene.person("hugo@harbor-help")), &body).face()
    };
    // Marina Bay has an owner role and a boat-3 and shared neither; it has no such-role and no boat-77.
    assert_eq!(assign("owner", "boat-1"), assign("such-role", "boat-1"));
    assert_eq!(assign("skipper", "boat-3"), assign("skipper", "boat-77"));
    let person = |id: &str| scene.put(pia, &path(id), &json!({ "roles": ["skipper"] })).face();
    assert_eq!(person(scene.person("freya@fjord")), person(&PersonId(7).to_string()));
    assert_eq!(person(scene.person("ana@marina")), person(&PersonId(7).to_string()));
    // Nor by entering: a customer that let nobody in is like no customer.
    let hugo = scene.at("hugo@harbor-help");
    assert_eq!(scene.enter(hugo, "fjord", &[]).face(), scene.enter(hugo, "nowhere", &[]).face());
    let unit = |unit: &str| {
        let body = json!({ "customer_id": scene.there.code, "level": "partner", "modes": ["direct"], "reason": "x", "unit": unit });
        scene.post(pia, "/v1/organisations/harbor-help/requests", &body).face()
    };
    assert_eq!(
        unit("north-pier"),
        unit("no-pier"),
        "a unit of the customer is none of the asker's"
    );
}

#[test]
fn t12_a_customer_does_not_learn_by_locking_or_blocking_who_else_is_here() {
    let scene = Scene::new();
    let ana = scene.at("ana@marina");
    let person =
        |id: &str| scene.post(ana, "/v1/organisations/marina/locks", &json!({ "person": id }));
    let (real, fake) = (person(scene.person("freya@fjord")), person(&PersonId(7).to_string()));
    assert_eq!(real.status, fake.status, "{} {}", real.text(), fake.text());
    // Nobody's name comes out of it either.
    assert!(!real.text().contains("Freya"), "{}", real.text());
}
