//! What must not be told: why a customer said no, who the customer is, and secrets at rest.

use comity_app::tokens::{Kind, Secret};
use comity_domain::command::Door;
use serde_json::{Value, json};

use super::{Scene, approve, ask};
use crate::harness::{PASSWORD, files, text};
use crate::town::Town;

/// Everything that a provider's people can read of their requests and events.
fn provider_sees(town: &Town, request: &str) -> String {
    let pia = town.at("pia@harbor-help");
    let mut all = String::new();
    for path in [
        format!("/v1/requests/{request}"),
        "/v1/organisations/harbor-help/requests?direction=sent".into(),
        "/v1/organisations/harbor-help/requests?direction=received".into(),
        "/v1/organisations/harbor-help/grants?side=received".into(),
        "/v1/organisations/harbor-help/grants".into(),
        "/v1/organisations/harbor-help/sessions?side=provider".into(),
        "/v1/events?organisation=harbor-help&limit=200".into(),
        "/v1/me/tenants".into(),
        "/v1/me".into(),
    ] {
        all += &town.get(pia, &path).ok().to_string();
    }
    all
}

fn code_of(town: &Town, customer: &str, admin: &str) -> String {
    text(
        &town.get(town.at(admin), &format!("/v1/organisations/{customer}/customer-id")).ok()["customer_id"],
    )
}

#[test]
fn r11_why_a_request_was_denied_stays_with_the_customer_and_the_message_does_not() {
    let town = Town::new();
    let code = code_of(&town, "marina", "ana@marina");
    let request = ask(&town, "pia@harbor-help", &code, "Winter storage");
    let deny = json!({ "reason": "They are not insured", "message": "Please send papers" });
    let path = format!("/v1/requests/{request}");
    town.post(town.at("ana@marina"), &format!("{path}/deny"), &deny).ok();
    let seen = provider_sees(&town, &request);
    assert!(seen.contains("Please send papers"));
    assert!(!seen.contains("insured"), "{seen}");
    assert!(!seen.contains("denial_noted") && !seen.contains("denial_reason"), "{seen}");
    // Nor who it was.
    assert!(!seen.contains(town.person("ana@marina")) && !seen.contains("Ana Alves"), "{seen}");
    let own = town.get(town.at("sue@marina"), &path).ok();
    assert_eq!(own["denial_reason"], json!("They are not insured"));
    let again = town.post(town.at("pia@harbor-help"), &format!("{path}/deny"), &json!({}));
    assert!(!again.text().contains("insured"));
}

#[test]
fn t01_an_asker_sees_nothing_of_the_customer_before_the_yes() {
    let town = Town::new();
    let code = code_of(&town, "marina", "ana@marina");
    let request = ask(&town, "pia@harbor-help", &code, "Winter storage");
    let marina = town.known.organisations["marina"].clone();
    let seen = provider_sees(&town, &request);
    for hidden in ["marina", "Marina", &marina, "boat-", "Ana", &code, &code.replace('-', "")] {
        assert!(!seen.contains(hidden), "{hidden} in {seen}");
    }
    for id in town.known.accounts.values() {
        assert!(!seen.contains(id.as_str()));
    }
    // After the yes it does; and a refused wish still tells nothing about others.
    approve(
        &town,
        town.at("ana@marina"),
        &request,
        &json!({ "roles": ["skipper"], "accounts": ["boat-1"] }),
    );
    let seen = provider_sees(&town, &request);
    assert!(seen.contains("Marina Bay") && seen.contains(&marina));
    for hidden in ["boat-2", "boat-9", "owner", "clerk", "Freya", "fjord"] {
        assert!(!seen.contains(hidden), "{hidden} in {seen}");
    }
}

#[test]
fn t01_a_code_that_leads_nowhere_looks_the_same_whatever_is_behind_it() {
    let town = Town::new();
    let (ana, pia) = (town.at("ana@marina"), town.at("pia@harbor-help"));
    let try_with = |code: &str| {
        let body = json!({ "customer_id": code, "level": "partner", "modes": ["direct"], "reason": "Hull" });
        town.post(pia, "/v1/organisations/harbor-help/requests", &body)
    };
    let nowhere = try_with("00000-00000-00000-00000-00").face();
    assert_eq!(nowhere.0, 404);
    let old = code_of(&town, "marina", "ana@marina");
    let at = "/v1/organisations/marina";
    let code = text(
        &town.call(ana, "POST", &format!("{at}/customer-id/rotate"), None).ok()["customer_id"],
    );
    assert_eq!(try_with(&old).face(), nowhere, "rotated");
    let set = |on: bool, blocked: &[&str]| {
        let seen = town.get(ana, &format!("{at}/settings"));
        let mut settings = seen.ok();
        settings["customer_id_on"] = json!(on);
        settings["blocked_partners"] = json!(blocked);
        let mut put =
            crate::harness::request(ana, "PUT", &format!("{at}/settings"), Some(&settings));
        put.headers_mut().insert("if-match", seen.headers["etag"].clone());
        town.send(put).ok();
    };
    set(false, &[]);
    assert_eq!(try_with(&code).face(), nowhere, "off");
    set(true, &[&town.known.organisations["harbor-help"]]);
    assert_eq!(try_with(&code).face(), nowhere, "blocked");
    set(true, &[]);
    let known = text(&try_with(&code).ok()["id"]);
    town.call(pia, "POST", &format!("/v1/requests/{known}/cancel"), None).ok();
    let lock = town
        .post(
            ana,
            &format!("{at}/locks"),
            &json!({ "organisation": town.known.organisations["harbor-help"] }),
        )
        .ok();
    assert_eq!(try_with(&code).face(), nowhere, "locked");
    town.call(ana, "DELETE", &format!("/v1/locks/{}", text(&lock["id"])), None).ok();
    let stand = |standing: &str| {
        town.put(&town.known.operate, &format!("{at}/standing"), &json!({ "standing": standing }))
            .ok();
    };
    stand("suspended");
    assert_eq!(try_with(&code).face(), nowhere, "suspended");
    stand("active");
    let found = try_with(&code);
    assert_eq!(found.status, 201, "and in between it does lead somewhere: {}", found.text());
    town.call(pia, "POST", &format!("/v1/requests/{}/cancel", text(&found.json()["id"])), None)
        .ok();
    stand("closed");
    assert_eq!(try_with(&code).face(), nowhere, "closed");
}

#[test]
fn inv34_no_secret_lies_in_the_clear_in_any_file_nor_in_what_is_logged() {
    let scene = Scene::new();
    let town = &scene.town;
    let enrol = json!({ "token": scene.there.enrolment, "password": "a second phrase for nina" });
    town.post("", "/v1/enrol", &enrol).ok();
    for _ in 0..20 {
        town.evaluate(
            town.decide_key("boats"),
            &scene.there.token,
            "boats:read",
            "account",
            "boat-1",
        )
        .ok();
    }
    let ana = town.at("ana@marina");
    let rotated = town.call(ana, "POST", "/v1/organisations/marina/customer-id/rotate", None).ok();
    let fresh = text(&town.sign_in("ben@marina.example").ok()["token"]);
    town.post(&fresh, "/v1/sign-out", &json!({ "everywhere": true })).ok();
    let terms = json!({ "roles": ["skipper"], "accounts": ["boat-1"] });
    approve(town, ana, &scene.there.asked, &terms);

    let mut secrets: Vec<String> = vec![
        PASSWORD.into(),
        "a second phrase for nina".into(),
        scene.there.token.clone(),
        scene.there.enrolment.clone(),
        town.known.operate.clone(),
        town.known.provision.clone(),
        fresh,
    ];
    secrets.extend(town.known.applications.values().map(|(_, key)| key.clone()));
    secrets.extend(town.known.signed_in.values().map(|(token, _)| token.clone()));
    for code in [&scene.there.code, rotated["customer_id"].as_str().unwrap()] {
        secrets.extend([code.to_owned(), code.replace('-', "")]);
    }
    let held =
        |bytes: &[u8], secret: &str| bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
    std::thread::sleep(std::time::Duration::from_millis(50)); // calls are written behind
    let mut looked = 0;
    for round in 0..2 {
        for (name, bytes) in files(town.folder.path()) {
            for secret in &secrets {
                assert!(!held(&bytes, secret), "{name} holds {secret}");
                // Nor without what all secrets of a kind have in common.
                let bare = secret.rsplit('_').next().unwrap();
                assert!(bare.len() < 20 || !held(&bytes, bare), "{name} holds {bare}");
            }
            looked += usize::from(
                ["comity.db", "calls.db", "table "].iter().any(|n| name.starts_with(n)),
            );
        }
        if round == 0 {
            // What is shown to whoever debugs.
            let shown = format!("{:?}", town.app.state());
            let callers: String = secrets
                .iter()
                .map(|s| {
                    format!("{:?}{:?}", town.app.caller(s, Door::Api), comity_app::tokens::parse(s))
                })
                .collect();
            for secret in &secrets {
                assert!(
                    !held(shown.as_bytes(), secret) && !held(callers.as_bytes(), secret),
                    "Debug shows {secret}"
                );
            }
            town.app.stop();
        }
    }
    assert!(looked >= 4, "{looked} files were looked at");
    for kind in [Kind::SignIn, Kind::Session, Kind::Key, Kind::Enrolment] {
        let secret = Secret::new(kind);
        assert!(!format!("{secret:?}").contains(&secret.reveal()[12..]));
    }
}

#[test]
fn no_feed_shows_a_secret_or_what_a_password_is_checked_against() {
    let scene = Scene::new();
    let events: Value =
        scene.get(scene.at("ana@marina"), "/v1/events?organisation=marina&limit=200").ok();
    for word in ["password_hash", "$argon2", "sealed\":", "cmt_", &scene.there.code] {
        assert!(!events.to_string().contains(word), "{word} in {events}");
    }
}
