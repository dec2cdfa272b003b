//! The page behind the link of a first start: one claim, and nothing else with it.

use axum::http::header;
use comity_api::limits::{self, Rate};
use comity_app::app::first_run::Wanted;
use comity_domain::application::KeyUse;
use comity_domain::command::Door;
use comity_domain::time::{DAY, MINUTE, SECOND};

use crate::house::{Browser, House, PASSWORD, Reply};

const PAGE: &str = "/console/first-run";

fn empty() -> House {
    House::unclaimed(&limits::Settings::off())
}

fn nobody() -> Browser {
    Browser { cookie: String::new() }
}

fn offered(house: &House) -> String {
    house.runtime.block_on(house.app.offer_first_run()).unwrap().0.reveal().to_owned()
}

/// The form as somebody fills it in, with what is different this time.
fn claim(house: &House, token: &str, other: &[(&str, &str)]) -> Reply {
    let mut fields = vec![
        ("token", token),
        ("organisation_name", "Marina Bay"),
        ("organisation_id", ""),
        ("admin_name", "Ana Alvarez"),
        ("admin_email", "ana@marina.example"),
        ("admin_id", ""),
        ("password", PASSWORD),
    ];
    for (name, value) in other {
        fields.iter_mut().find(|f| f.0 == *name).unwrap().1 = value;
    }
    house.send(&nobody(), PAGE, &fields)
}

/// A key as the page shows it.
fn key(page: &Reply, id: &str) -> String {
    let (_, rest) = page.text.split_once(&format!("<input id=\"{id}\"")).expect("a copy box");
    rest.split_once("value=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

#[test]
fn the_link_makes_the_organisation_its_admin_and_both_keys() {
    let house = empty();
    let token = offered(&house);
    // Whoever comes to sign in is led here while nobody can.
    assert_eq!(house.get(&nobody(), "/console/sign-in").is(303).to(), PAGE);
    house.get(&nobody(), PAGE).is(200).says("Set up this installation");
    let done = claim(&house, &token, &[]);
    done.is(200).says("Marina Bay is set up").says("never again").is_silent(&token);
    assert_eq!(done.header(header::CACHE_CONTROL), "no-store");
    let state = house.app.state();
    for (id, usage) in [("operate-key", KeyUse::Operate), ("provision-key", KeyUse::Provision)] {
        let caller = house.app.caller(&key(&done, id), Door::Api).expect("a key in force");
        let comity_domain::command::Principal::Key(id) = caller.principal else { panic!() };
        assert_eq!(state.keys.get(id).unwrap().usage, usage);
    }
    let (_, marina) = state.organisations.iter().next().unwrap();
    assert_eq!(state.words.show(marina.external), "marina-bay");
    let fields = [("email", "ana@marina.example"), ("password", PASSWORD), ("back", "")];
    assert_eq!(house.send(&nobody(), "/console/sign-in", &fields).is(303).to(), "/console");
    let operate = key(&done, "operate-key");
    house.send(&nobody(), "/console/operator/sign-in", &[("key", &operate)]).is(303);
    // It is used: the page looks like none, and the form does nothing.
    let missing = house.get(&nobody(), "/console/nothing").text;
    assert_eq!(house.get(&nobody(), PAGE).is(404).text, missing);
    assert_eq!(claim(&house, &token, &[]).is(404).text, missing);
    assert_eq!(house.app.state().organisations.iter().count(), 1);
}

#[test]
fn t54_a_link_that_is_unknown_replaced_or_a_day_old_opens_nothing() {
    let house = empty();
    let old = offered(&house);
    let token = offered(&house);
    let rows = house.app.state().seq;
    let same = claim(&house, "nonsense", &[]);
    same.is(422).says("This code is unknown, used or out of date.");
    for bad in [&old, &token[..token.len() - 1], &format!("{token}0")] {
        let said = claim(&house, bad, &[]);
        said.is(422).is_silent(PASSWORD);
        assert_eq!(said.text.replace(bad, ""), same.text.replace("nonsense", ""), "{bad}");
    }
    house.wait(DAY);
    claim(&house, &token, &[]).is(422);
    assert!(house.app.is_unclaimed());
    assert_eq!(house.app.state().seq, rows, "nothing is written for what opens nothing");
    claim(&house, &offered(&house), &[]).is(200);
}

#[test]
fn t8_the_token_opens_no_other_door() {
    let house = empty();
    let token = offered(&house);
    assert!(house.app.caller(&token, Door::Api).is_none());
    house.send(&nobody(), "/console/operator/sign-in", &[("key", &token)]).is(401);
    let fields = [("token", token.as_str()), ("password", PASSWORD)];
    house.send(&nobody(), "/console/enrol", &fields).is(422);
    // It is never taken from an address.
    house.get(&nobody(), &format!("{PAGE}?token={token}")).is(200).is_silent(&token);
}

#[test]
fn a_wrong_field_keeps_what_was_typed_and_the_link() {
    let house = empty();
    let token = offered(&house);
    for (field, value, why) in [
        ("organisation_name", "Marina\u{202e}Bay", "organisation_name"),
        ("organisation_id", "org_1", "must not start with org_"),
        ("admin_name", "", "admin_name"),
        ("admin_email", "nobody", "admin_email"),
        ("admin_id", "a\nb", "admin_id"),
        ("password", "short", "15"),
    ] {
        let page = claim(&house, &token, &[(field, value)]);
        page.is(422).says(why).says(&format!("id=\"e-{field}\"")).says(&token);
        page.says("ana").is_silent(PASSWORD);
    }
    let strange = "<img src=x onerror=alert(1)>\"'";
    let page = claim(&house, &token, &[("organisation_name", strange), ("password", "short")]);
    page.is(422).is_silent("<img src=x").says("&#60;img");
    claim(&house, &token, &[]).is(200);
}

#[test]
fn t11_of_two_claims_at_once_one_wins() {
    let house = empty();
    let token = offered(&house);
    let one = |organisation: &str| {
        let wanted = Wanted {
            organisation_id: organisation.into(),
            organisation_name: organisation.into(),
            admin_id: "ana".into(),
            admin_name: "Ana Alvarez".into(),
            admin_email: "ana@marina.example".into(),
            password: PASSWORD.into(),
        };
        house.app.claim_first_run(&token, wanted)
    };
    let (a, b) = house.runtime.block_on(async { tokio::join!(one("first"), one("second")) });
    assert_eq!([a.is_ok(), b.is_ok()].iter().filter(|won| **won).count(), 1, "{a:?} {b:?}");
    let state = house.app.state();
    assert_eq!((state.organisations.iter().count(), state.keys.iter().count()), (1, 2));
}

#[test]
fn t46_tries_with_a_link_and_with_an_operate_key_are_counted_by_address() {
    let few = limits::Settings {
        enrol: Rate::per_minute(3),
        sign_in_address: Rate::per_minute(3),
        ..limits::Settings::off()
    };
    let house = House::unclaimed(&few);
    let token = offered(&house);
    for _ in 0..3 {
        claim(&house, "nonsense", &[]).is(422);
        house.send(&nobody(), "/console/operator/sign-in", &[("key", "nonsense")]).is(401);
    }
    let no = claim(&house, &token, &[]);
    no.is(429).says("Too many tries");
    assert_eq!(no.header(header::RETRY_AFTER), "20");
    house.send(&nobody(), "/console/operator/sign-in", &[("key", &token)]).is(429);
    house.wait(20 * SECOND);
    claim(&house, &token, &[]).is(200);
    house.wait(MINUTE);
}

#[test]
fn t26_an_operate_key_that_is_wrong_and_one_that_is_retired_look_the_same() {
    let house = House::new();
    let said = |key: &str| {
        let reply = house.send(&nobody(), "/console/operator/sign-in", &[("key", key)]);
        (reply.status, reply.text.replace(key, ""), reply.headers.len())
    };
    let wrong = said("nonsense");
    let made = house.app.make_key(&house.operator, KeyUse::Operate, None);
    let (secret, done) = house.runtime.block_on(made).unwrap();
    let key = done.state.key_by_digest(secret.digest()).unwrap();
    house.run(&house.operator, comity_domain::command::Command::RetireKey { key });
    assert_eq!(said(secret.reveal()), wrong);
    assert_eq!(said(&house.decide), wrong);
}
