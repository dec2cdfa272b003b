//! Invitations, as both sides and the invited see them.

use serde_json::{Value, json};

use super::Scene;
use crate::harness::{PASSWORD, text};

const KAI: &str = "kai@elsewhere.example";

fn token(body: &str) -> Value {
    json!({ "token": body })
}

#[test]
fn e1_e2_an_outsider_looks_registers_signs_in_accepts_and_enters() {
    let s = Scene::new();
    let (pia, ana) = (s.at("pia@harbor-help"), s.at("ana@marina"));
    let path = format!("/v1/grants/{}/invitations", s.there.grant);
    // Invited through the door, nobody is shown a link.
    let body =
        json!({ "email": "Lea@Elsewhere.example", "roles": ["clerk"], "accounts": ["boat-1"] });
    let made = s.post(pia, &path, &body);
    assert_eq!(made.status, 201);
    assert!(!made.text().contains("cmt_invite_"), "{}", made.text());
    let made = made.ok();
    assert_eq!(
        (&made["email"], &made["state"]),
        (&json!("Lea@elsewhere.example"), &json!("pending"))
    );
    s.post(pia, &path, &body).is(409, "already_invited");
    // Both sides see it, and nobody else.
    for who in [pia, ana, s.at("sven@harbor-help"), s.at("sue@marina")] {
        // One stands there from the beginning, made at the same instant.
        let seen = s.get(who, &path).ok();
        let seen = seen["items"].as_array().unwrap();
        assert!(seen.iter().any(|i| i["email"] == made["email"]), "{seen:?}");
    }
    s.get(s.at("quinn@quayside"), &path).is(404, "not_found");
    s.get(s.at("hugo@harbor-help"), &path).is(403, "forbidden");

    let (id, link) = s.invite(pia, &s.there.grant, KAI);
    let seen = s.post("", "/v1/invitations/look", &token(&link));
    assert!(!seen.text().contains("kai") && !seen.text().contains("elsewhere"), "{}", seen.text());
    let seen = seen.ok();
    assert_eq!(
        (&seen["provider"]["name"], &seen["customer"]["external_id"]),
        (&json!("Harbor Help"), &json!("marina"))
    );
    let register = json!({ "token": link, "name": "Kai Kranz", "password": PASSWORD });
    let weak = json!({ "token": link, "name": "Kai Kranz", "password": "short" });
    s.post("", "/v1/invitations/register", &weak).is(422, "invalid");
    assert_eq!(s.post("", "/v1/invitations/register", &register).status, 204);
    s.post("", "/v1/invitations/register", &register).is(409, "wrong_state");
    let kai = text(&s.sign_in(KAI).ok()["token"]);
    assert_eq!(s.get(&kai, "/v1/me").ok()["memberships"], json!([]));
    assert_eq!(s.get(&kai, "/v1/me/tenants").ok()["items"], json!([]));
    s.post(s.at("hugo@harbor-help"), "/v1/invitations/accept", &token(&link)).is(403, "forbidden");
    let came = s.post(&kai, "/v1/invitations/accept", &token(&link)).ok();
    assert_eq!(came["grant"], json!(s.there.grant));
    s.post(&kai, "/v1/invitations/accept", &token(&link)).is(409, "wrong_state");
    let tenants = s.get(&kai, "/v1/me/tenants").ok();
    assert_eq!(tenants["items"][0]["customer"]["external_id"], "marina");
    let entered = s.enter(&kai, "marina", &[]).ok();
    let stay = text(&entered["access_token"]);
    let told = s.evaluate(s.decide_key("boats"), &stay, "boats:read", "account", "boat-1").ok();
    assert_eq!(told["decision"], json!(true), "{told}");
    // No right of the portal, anywhere.
    for path in [
        path.clone(),
        "/v1/organisations/harbor-help".into(),
        "/v1/organisations/marina".into(),
        "/v1/organisations/harbor-help/members".into(),
        format!("/v1/grants/{}", s.there.grant),
        "/v1/events?organisation=harbor-help".into(),
    ] {
        s.get(&kai, &path).is(404, "not_found");
    }
    // Shown as one from outside, and off like everybody.
    let assigned = format!("/v1/grants/{}/assignments", s.there.grant);
    let on = s.get(ana, &assigned).ok();
    let row = on["items"].as_array().unwrap().iter().find(|a| a["person"]["email"] == KAI);
    let row = row.unwrap();
    assert_eq!(row["basis"], "invited");
    let shown = s.get(ana, &path).ok();
    let shown =
        shown["items"].as_array().unwrap().iter().find(|i| i["id"] == json!(id)).unwrap().clone();
    assert_eq!(
        (&shown["state"], &shown["accepted_by"]["name"]),
        (&json!("accepted"), &json!("Kai Kranz"))
    );
    s.call(pia, "DELETE", &format!("{path}/{id}"), None).is(409, "wrong_state");
    let person = text(&row["person"]["id"]);
    assert_eq!(s.call(pia, "DELETE", &format!("{assigned}/{person}"), None).status, 204);
    let told = s.evaluate(s.decide_key("boats"), &stay, "boats:read", "account", "boat-1").ok();
    assert_eq!(told["context"]["reason"], "assignment_lost");
}

#[test]
fn t26_whether_an_address_is_known_shows_nowhere() {
    let s = Scene::new();
    let pia = s.at("pia@harbor-help");
    let path = format!("/v1/grants/{}/invitations", s.there.grant);
    // Sam of Sail Support has an account; nobody has the other.
    let bodies = ["sam@sailsupport.example", "not@sailsupport.example"].map(|email| {
        let made = s.post(pia, &path, &json!({ "email": email, "roles": ["clerk"] }));
        assert_eq!(made.status, 201);
        let (_, link) = {
            let id = text(&made.ok()["id"]);
            assert_eq!(s.call(pia, "DELETE", &format!("{path}/{id}"), None).status, 204);
            s.invite(pia, &s.there.grant, email)
        };
        let register =
            json!({ "token": link, "name": "Mallory", "password": "incorrect zebra charger clip" });
        let looked = s.post("", "/v1/invitations/look", &token(&link));
        let done = s.post("", "/v1/invitations/register", &register);
        let again = s.post("", "/v1/invitations/register", &register);
        [looked, done, again].map(|r| (r.status, r.text().replace(email, "")))
    });
    assert_eq!(bodies[0], bodies[1]);
    // And nobody's password was set by a link.
    assert_eq!(s.sign_in("sam@sailsupport.example").status, 200);
}

#[test]
fn e3_declined_cancelled_replaced_and_nonsense_open_nothing() {
    let s = Scene::new();
    let pia = s.at("pia@harbor-help");
    let (id, link) = s.invite(pia, &s.there.grant, KAI);
    assert_eq!(s.post("", "/v1/invitations/decline", &token(&link)).status, 204);
    s.post("", "/v1/invitations/decline", &token(&link)).is(409, "wrong_state");
    assert_eq!(s.post("", "/v1/invitations/look", &token(&link)).ok()["state"], "declined");
    let path = format!("/v1/grants/{}/invitations", s.there.grant);
    s.call(pia, "POST", &format!("{path}/{id}/resend"), None).is(409, "wrong_state");
    let (id, link) = s.invite(pia, &s.there.grant, KAI);
    let again = s.call(pia, "POST", &format!("{path}/{id}/resend"), None).ok();
    assert_eq!(again["sent"], 2);
    for door in ["look", "decline", "register"] {
        for wrong in [link.as_str(), "cmt_invite_nonsense", "", &s.there.enrolment, pia] {
            let mut body = token(wrong);
            if door == "register" {
                body = json!({ "token": wrong, "name": "Kai", "password": PASSWORD });
            }
            s.post("", &format!("/v1/invitations/{door}"), &body).is(422, "invalid");
        }
    }
    s.post(s.at("hugo@harbor-help"), "/v1/invitations/accept", &token(&link)).is(422, "invalid");
    s.post("", "/v1/invitations/accept", &token(&link)).is(401, "unauthenticated");
    s.post("", "/v1/invitations/stop", &token("nonsense")).is(422, "invalid");
    s.post("", "/v1/invitations/stop", &token(&link)).is(422, "invalid");
    // A link is no bearer.
    s.get(&link, "/v1/me").is(401, "unauthenticated");
}

#[test]
fn e1_an_invitation_is_changed_by_who_saw_it_and_ends_with_the_customers_leave() {
    let s = Scene::new();
    let (pia, ana) = (s.at("pia@harbor-help"), s.at("ana@marina"));
    let path = format!("/v1/grants/{}/invitations/{}", s.there.grant, s.there.invitation);
    s.put(pia, &path, &json!({ "roles": ["clerk"] })).is(428, "if_match_required");
    let list = format!("/v1/grants/{}/invitations", s.there.grant);
    let etag = text(&s.get(pia, &list).ok()["items"][0]["etag"]);
    let put = |roles: &[&str]| {
        let mut put = crate::harness::request(pia, "PUT", &path, Some(&json!({ "roles": roles })));
        put.headers_mut().insert(axum::http::header::IF_MATCH, etag.parse().unwrap());
        s.send(put)
    };
    put(&["owner"]).is(409, "widening");
    assert_eq!(put(&["clerk"]).ok()["roles"], json!(["clerk"]));
    put(&["skipper"]).is(412, "version_conflict");
    // The customer takes its leave back: quinn was never in.
    let mut settings = s.get(ana, "/v1/organisations/marina/settings").ok();
    settings["allow_external"] = json!(false);
    settings.as_object_mut().unwrap().remove("version");
    let mut set =
        crate::harness::request(ana, "PUT", "/v1/organisations/marina/settings", Some(&settings));
    set.headers_mut().insert(axum::http::header::IF_MATCH, "*".parse().unwrap());
    s.send(set).ok();
    assert_eq!(s.get(ana, &list).ok()["items"][0]["state"], "cancelled");
    let link = token(&s.there.invited_by_link);
    s.post(s.at("quinn@quayside"), "/v1/invitations/accept", &link).is(409, "wrong_state");
    s.post(pia, &list, &json!({ "email": KAI, "roles": ["clerk"] }))
        .is(409, "external_not_allowed");
}

#[test]
fn e4_another_admin_approves_what_is_held() {
    let s = Scene::new();
    let provision = &s.known.provision;
    let path = format!("/v1/grants/{}/invitations", s.there.grant);
    let gone = s.call(provision, "DELETE", "/v1/organisations/harbor-help/members/pia", None);
    if gone.status != 204 {
        gone.is(409, "last_admin"); // then somebody else leads first
    }
    let mut second = s.known.members["sven@harbor-help"].wire();
    second["portal_role"] = json!("admin");
    s.put(provision, "/v1/organisations/harbor-help/members/sven", &second).ok();
    if gone.status != 204 {
        s.call(provision, "DELETE", "/v1/organisations/harbor-help/members/pia", None);
    }
    let sven = s.at("sven@harbor-help");
    assert_eq!(s.get(sven, &path).ok()["items"][0]["held"], true);
    let link = token(&s.there.invited_by_link);
    let quinn = s.at("quinn@quayside");
    s.post(quinn, "/v1/invitations/accept", &link).is(409, "wrong_state");
    let approve = format!("{path}/{}/approve", s.there.invitation);
    assert_eq!(s.call(sven, "POST", &approve, None).ok()["held"], false);
    s.post(quinn, "/v1/invitations/accept", &link).ok();
}
