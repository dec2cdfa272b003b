//! Attacks on the first story, tried through the API: each by the number that it has in the threat
//! model. What the rules answer is in the scenarios; here is who would gain if they did not.

use serde_json::{Value, json};

use super::{Scene, ask};
use crate::harness::{Reply, text};
use crate::town::{Member, Town};

const DAY: i64 = 24 * 60 * 60 * 1000;

/// What it says when a session's token is asked about boat-1.
fn reason(town: &Town, token: &str) -> String {
    let answer =
        town.evaluate(town.decide_key("boats"), token, "boats:read", "account", "boat-1").ok();
    text(&answer["context"]["reason"])
}

/// Looks at a request and approves what is shown.
fn approve(town: &mut Town, who: &str, request: &str, terms: &Value) -> Reply {
    let token = town.token_of(who, false);
    let path = format!("/v1/requests/{request}");
    let seen = town.post(&token, &format!("{path}/summary"), terms);
    if seen.status != 200 {
        return seen;
    }
    let body = json!({ "summary": seen.json()["summary"], "terms": terms });
    town.post(&token, &format!("{path}/approve"), &body)
}

/// A grant of Marina Bay to Harbor Help with these modes and Hugo on it, and its identifier.
fn granted(town: &mut Town, modes: &[&str]) -> String {
    let ana = town.token_of("ana@marina", false);
    let code = text(&town.get(&ana, "/v1/organisations/marina/customer-id").ok()["customer_id"]);
    let pia = town.token_of("pia@harbor-help", false);
    let body =
        json!({ "customer_id": code, "level": "partner", "modes": modes, "reason": "Hull check" });
    let asked = town.post(&pia, "/v1/organisations/harbor-help/requests", &body).ok();
    let terms = json!({ "roles": ["skipper"] });
    let grant = text(&approve(town, "ana@marina", &text(&asked["id"]), &terms).ok()["grant"]);
    assign(town, &grant, "hugo@harbor-help").ok();
    grant
}

fn assign(town: &mut Town, grant: &str, who: &str) -> Reply {
    let pia = town.token_of("pia@harbor-help", false);
    let path = format!("/v1/grants/{grant}/assignments/{}", town.person(who));
    town.put(&pia, &path, &json!({ "roles": ["skipper"] }))
}

fn enter(town: &mut Town, who: &str, more: &[(&str, &str)]) -> Reply {
    let token = town.token_of(who, false);
    town.enter(&token, "marina", more)
}

/// The same human being as a member of another organisation too.
fn also_at(town: &mut Town, who: &str, of: &str, portal: Option<&str>) -> Reply {
    let member = town.known.members[who].clone();
    let member = Member { portal: portal.map(Into::into), unit: None, ..member };
    let key = town.known.provision.clone();
    let name = who.split_once('@').unwrap().0;
    town.put_member(&key, &format!("{name}@{of}"), member)
}

#[test]
fn t02_who_is_denied_again_and_again_is_not_heard_again_soon() {
    let mut town = Town::new();
    let ana = town.token_of("ana@marina", false);
    let code = text(&town.get(&ana, "/v1/organisations/marina/customer-id").ok()["customer_id"]);
    let again =
        json!({ "customer_id": code, "level": "partner", "modes": ["view"], "reason": "Please" });
    let path = "/v1/organisations/sailsupport/requests";
    for denied in 0..3 {
        let first = ask(&town, "sara@sailsupport", &code, "Please");
        town.post(town.at("sara@sailsupport"), path, &again).is(409, "already_pending");
        let ana = town.token_of("ana@marina", false);
        town.post(&ana, &format!("/v1/requests/{first}/deny"), &json!({})).ok();
        town.wait(DAY / 100 * denied);
    }
    town.post(town.at("sara@sailsupport"), path, &again).is(409, "asked_too_often");
    // Nobody else pays for it, and after a while it may be tried again.
    ask(&town, "pia@harbor-help", &code, "Hull");
    town.wait(31 * DAY);
    let sara = town.token_of("sara@sailsupport", false);
    town.post(&sara, path, &again).ok();
}

#[test]
fn t04_what_changed_since_the_customer_looked_is_not_approved() {
    let mut scene = Scene::new();
    let ana = scene.town.token_of("ana@marina", false);
    let path = format!("/v1/requests/{}", scene.there.asked);
    let looked = json!({ "roles": ["skipper"], "accounts": ["boat-1"] });
    let seen = text(&scene.post(&ana, &format!("{path}/summary"), &looked).ok()["summary"]);
    for other in [
        json!({ "roles": ["skipper"], "accounts": "all" }),
        json!({ "roles": ["skipper", "owner"], "accounts": ["boat-1"] }),
        json!({ "roles": ["skipper"], "accounts": ["boat-1"], "days": 29 }),
        json!({ "roles": ["skipper"], "accounts": ["boat-1"], "session_minutes": 30 }),
    ] {
        let body = json!({ "summary": seen, "terms": other });
        scene.post(&ana, &format!("{path}/approve"), &body).is(409, "stale_summary");
    }
    // The terms are the same and the role behind them is not.
    let role = json!({ "name": "Role skipper", "permissions": ["boats:*"] });
    scene.put(&scene.known.provision, "/v1/organisations/marina/roles/skipper", &role).ok();
    let body = json!({ "summary": seen, "terms": looked });
    scene.post(&ana, &format!("{path}/approve"), &body).is(409, "stale_summary");
    assert_eq!(scene.get(&ana, &path).ok()["state"], "pending", "nothing was given");
}

#[test]
fn t06_nobody_approves_for_both_sides_nor_by_leaving_one_of_them() {
    let mut scene = Scene::new();
    let asked = scene.there.asked.clone();
    let terms = json!({ "roles": ["skipper"] });
    // Paul of the partner becomes an Admin of the customer, too.
    also_at(&mut scene.town, "paul@harbor-help", "marina", Some("admin")).ok();
    approve(&mut scene.town, "paul@harbor-help", &asked, &terms).is(403, "four_eyes");
    // Leaving the partner does not help for what was asked while he was there.
    let gone = "/v1/organisations/harbor-help/members/paul";
    assert_eq!(scene.call(&scene.known.provision, "DELETE", gone, None).status, 204);
    approve(&mut scene.town, "paul@harbor-help", &asked, &terms).is(403, "four_eyes");
    // Somebody of the customer who joins the partner afterwards is not neutral any more either.
    also_at(&mut scene.town, "ben@marina", "harbor-help", None).ok();
    approve(&mut scene.town, "ben@marina", &asked, &terms).is(403, "four_eyes");
    approve(&mut scene.town, "ana@marina", &asked, &terms).ok();
}

#[test]
fn t07_no_access_is_made_out_of_access() {
    let mut scene = Scene::new();
    // Not for oneself.
    let code = "/v1/organisations/harbor-help/customer-id";
    let own = text(&scene.get(scene.at("pia@harbor-help"), code).ok()["customer_id"]);
    let body = json!({ "customer_id": own, "level": "partner", "modes": ["view"], "reason": "Me" });
    let pia = scene.at("pia@harbor-help");
    let path = "/v1/organisations/harbor-help/requests";
    scene.post(pia, path, &body).is(422, "same_organisation");
    // Who was let into Marina Bay cannot let a third one in: not as partner, not as its own customer.
    let sara = ask(&scene, "sara@sailsupport", &own, "By way of you");
    let terms = json!({ "roles": ["skipper"] });
    let refused = approve(&mut scene.town, "pia@harbor-help", &sara, &terms);
    assert!(refused.status >= 400, "a role of Marina Bay is none of Harbor Help's: {refused:?}");
    assign(&mut scene.town, &scene.there.grant.clone(), "sam@sailsupport").is(422, "invalid");
    // Nor is anything decided for Marina Bay from inside a session there.
    let inside = scene.there.token.clone();
    for path in [format!("/v1/requests/{sara}/approve"), "/v1/platform/keys".into()] {
        scene.post(&inside, &path, &json!({})).is(403, "partner_session_refused");
    }
}

#[test]
fn t21_t23_who_acts_is_always_named_and_a_stay_is_never_stretched() {
    let mut town = Town::new();
    granted(&mut town, &["direct", "act_as"]);
    let why = [("mode", "act_as"), ("reason", "Ticket 7")];
    enter(&mut town, "hugo@harbor-help", &[("mode", "act_as")]).is(400, "invalid");
    let first = enter(&mut town, "hugo@harbor-help", &why).ok();
    let token = text(&first["access_token"]);
    let boats = town.decide_key("boats").to_owned();
    let about = |town: &Town| town.evaluate(&boats, &token, "boats:read", "account", "boat-1").ok();
    let said = about(&town)["context"].clone();
    assert_eq!(said["actor"], json!({ "type": "person", "id": town.person("hugo@harbor-help") }));
    let marina = town.known.organisations["marina"].clone();
    assert_eq!(said["subject"], json!({ "type": "organisation", "id": marina }));
    // What is nobody's to give is not given in this mode either (the never-delegable list).
    for never in ["staff:read", "money:payout"] {
        let no = town.evaluate(&boats, &token, never, "account", "boat-1").ok();
        assert_eq!(no["decision"], json!(false), "{never}");
    }
    // A second one at a time, and so a longer one, is not to be had; nor does the first one move.
    enter(&mut town, "hugo@harbor-help", &why).is(400, "session_exists");
    let deadline = said["deadline"].clone();
    town.wait(20 * 60 * 1000);
    enter(&mut town, "hugo@harbor-help", &why).is(400, "session_exists");
    assert_eq!(about(&town)["context"]["deadline"], deadline);
    town.wait(40 * 60 * 1000);
    assert_eq!(reason(&town, &token), "session_expired");
    // Five at a time in the other modes.
    for _ in 0..5 {
        enter(&mut town, "hugo@harbor-help", &[]).ok();
    }
    enter(&mut town, "hugo@harbor-help", &[]).is(400, "session_exists");
}

#[test]
fn t22_a_session_is_its_persons_alone() {
    let mut scene = Scene::new();
    let session = scene.there.session.clone();
    let close = format!("/v1/sessions/{session}/close");
    for other in ["hana@harbor-help", "pia@harbor-help", "quinn@quayside"] {
        let token = scene.town.token_of(other, false);
        let reply = scene.call(&token, "POST", &close, None);
        assert!(matches!(reply.status, 403 | 404), "{other}: {}", reply.text());
    }
    assert_eq!(reason(&scene, &scene.there.token), "allowed");
    // What Hugo gets later is a token of its own, and the first one's end is not the second one's.
    let second = text(&enter(&mut scene.town, "hugo@harbor-help", &[]).ok()["access_token"]);
    assert_ne!(second, scene.there.token);
    let ana = scene.town.token_of("ana@marina", false);
    scene.call(&ana, "POST", &format!("/v1/sessions/{session}/end"), None).ok();
    assert_eq!(reason(&scene, &scene.there.token), "ended_by_customer");
    assert_eq!(reason(&scene, &second), "allowed");
    // With the sign-in that made them they end together.
    let hugo = scene.town.token_of("hugo@harbor-help", true);
    let out = scene.post(&hugo, "/v1/sign-out", &json!({ "everywhere": true }));
    assert_eq!(out.status, 204);
    assert_ne!(reason(&scene, &second), "allowed");
}

#[test]
fn t28_the_customer_sees_how_many_a_partner_lets_in() {
    let mut town = Town::new();
    let grant = granted(&mut town, &["direct"]);
    for (people, who) in [(2, "hana@harbor-help"), (3, "sven@harbor-help")] {
        assign(&mut town, &grant, who).ok();
        let ana = town.token_of("ana@marina", false);
        assert_eq!(town.get(&ana, &format!("/v1/grants/{grant}")).ok()["people"], people);
    }
}

#[test]
fn t30_the_last_admin_stays_however_it_is_tried() {
    let mut town = Town::new();
    let key = town.known.provision.clone();
    let ben = "/v1/organisations/marina/members/ben";
    assert_eq!(town.call(&key, "DELETE", ben, None).status, 204);
    let ana = town.known.members["ana@marina"].clone();
    for without in [
        Member { portal: None, ..ana.clone() },
        Member { portal: Some("customer_support".into()), ..ana.clone() },
        Member { active: false, ..ana.clone() },
    ] {
        town.put(&key, "/v1/organisations/marina/members/ana", &without.wire())
            .is(409, "last_admin");
    }
    let gone = town.call(&key, "DELETE", "/v1/organisations/marina/members/ana", None);
    gone.is(409, "last_admin");
    // Who has less says nothing about who has more.
    let sue = town.token_of("sue@marina", false);
    let admin = Member { portal: Some("admin".into()), ..town.known.members["sue@marina"].clone() };
    town.put(&sue, "/v1/organisations/marina/members/sue", &admin.wire()).is(403, "forbidden");
}

#[test]
fn t36_who_leaves_the_unit_is_out_and_coming_back_brings_nothing_back() {
    let mut town = Town::new();
    let ana = town.token_of("ana@marina", false);
    let code = text(&town.get(&ana, "/v1/organisations/marina/customer-id").ok()["customer_id"]);
    let body = json!({ "customer_id": code, "level": "partner", "modes": ["direct"], "reason": "Nights",
        "unit": "night-desk" });
    let pia = town.token_of("pia@harbor-help", false);
    let asked = town.post(&pia, "/v1/organisations/harbor-help/requests", &body).ok();
    let terms = json!({ "roles": ["skipper"] });
    let grant = text(&approve(&mut town, "ana@marina", &text(&asked["id"]), &terms).ok()["grant"]);
    assign(&mut town, &grant, "hugo@harbor-help").is(422, "invalid"); // is not of that unit
    assign(&mut town, &grant, "nils@harbor-help").ok();
    let token = text(&enter(&mut town, "nils@harbor-help", &[]).ok()["access_token"]);
    assert_eq!(reason(&town, &token), "allowed");
    let nils = town.known.members["nils@harbor-help"].clone();
    for unit in [None, Some("night-desk".to_owned())] {
        let moved = Member { unit, ..nils.clone() };
        let key = town.known.provision.clone();
        town.put(&key, "/v1/organisations/harbor-help/members/nils", &moved.wire()).ok();
        assert_ne!(reason(&town, &token), "allowed");
        let again = enter(&mut town, "nils@harbor-help", &[]);
        assert!(again.status >= 400, "{}", again.text());
    }
    let listed = town.get(&pia, &format!("/v1/grants/{grant}/assignments")).ok();
    assert_eq!(listed["items"], json!([]));
}

#[test]
fn t58_a_lock_is_not_dodged_by_somebody_or_something_new() {
    let mut scene = Scene::new();
    let harbor = scene.known.organisations["harbor-help"].clone();
    let ana = scene.town.token_of("ana@marina", false);
    let path = "/v1/organisations/marina/locks";
    scene.post(&ana, path, &json!({ "organisation": harbor, "reason": "Odd" })).ok();
    assert_eq!(reason(&scene, &scene.there.token), "locked");
    let pending = scene.get(&ana, &format!("/v1/requests/{}", scene.there.asked)).ok();
    assert_eq!(pending["state"], "cancelled");
    // A new person, a new sign-in, a new request: none is let in.
    let grant = scene.there.grant.clone();
    assign(&mut scene.town, &grant, "sven@harbor-help").is(409, "locked");
    for who in ["hugo@harbor-help", "hana@harbor-help"] {
        let again = enter(&mut scene.town, who, &[]);
        assert!(again.status >= 400, "{who}: {}", again.text());
    }
    let code = scene.there.code.clone();
    let body =
        json!({ "customer_id": code, "level": "partner", "modes": ["view"], "reason": "New" });
    let pia = scene.town.token_of("pia@harbor-help", false);
    scene.post(&pia, "/v1/organisations/harbor-help/requests", &body).is(404, "not_found");
}
