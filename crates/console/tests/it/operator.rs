//! The operator's pages: who gets in, what they show and keep silent about, and what they do.

use axum::http::header;
use comity_app::tokens::Secret;
use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command, Door, Principal};
use comity_domain::ids::KeyId;
use comity_domain::organisation::Standing;
use comity_domain::role::Mode;
use comity_domain::time::{HOUR, MINUTE};

use crate::house::{Browser, House, Reply};

const HOME: &str = "/console/operator";

/// The operator that the house began with.
fn first(house: &House) -> Caller {
    let state = house.app.state();
    let (id, _) = state.keys.iter().find(|(_, k)| k.usage == KeyUse::Operate).unwrap();
    Caller { principal: Principal::Key(id), door: Door::Cli }
}

fn key(house: &House, usage: KeyUse) -> (Secret, KeyId) {
    let made = house.runtime.block_on(house.app.make_key(&first(house), usage, None)).unwrap().0;
    let id = house.app.state().key_by_digest(made.digest()).unwrap();
    (made, id)
}

fn nobody() -> Browser {
    Browser { cookie: String::new() }
}

fn browser(reply: &Reply) -> Browser {
    let set = reply.header(header::SET_COOKIE);
    Browser { cookie: set.split(';').next().unwrap().to_owned() }
}

fn sign_in(house: &House, secret: &str) -> Reply {
    house.send(&nobody(), "/console/operator/sign-in", &[("key", secret)])
}

fn order(house: &House, who: &Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
    let key = house.get(who, HOME).value("form_key");
    let mut all = vec![("form_key", key.as_str())];
    all.extend_from_slice(fields);
    house.send(who, path, &all)
}

#[test]
fn t8_only_an_operate_key_opens_the_operators_page_and_the_cookie_never_holds_it() {
    let house = House::new();
    let (operate, id) = key(&house, KeyUse::Operate);
    let (provision, _) = key(&house, KeyUse::Provision);
    let (_, session) = {
        house.granted();
        house.enter("hugo@harbor", Mode::Direct, None)
    };
    let sign_in_of_ana = house.token_of("ana@marina");
    let bad = sign_in(&house, "nonsense");
    bad.is(401).says("no operate key");
    for other in [provision.reveal(), &house.decide, session.reveal(), &sign_in_of_ana] {
        let said = sign_in(&house, other);
        assert_eq!((said.status, &said.text), (401, &bad.text));
        assert_eq!(said.header(header::SET_COOKIE), "");
    }
    let reply = sign_in(&house, operate.reveal());
    assert_eq!(reply.is(303).to(), HOME);
    let set = reply.header(header::SET_COOKIE);
    assert!(set.starts_with("__Host-comity-operator=") && !set.contains(operate.reveal()), "{set}");
    for part in ["HttpOnly", "Secure", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{part} is not in {set}");
    }
    let operator = browser(&reply);
    house.get(&operator, HOME).is(200);
    // A person is no operator, an operator no person, and a changed cookie is neither.
    assert_eq!(
        house.get(&house.browser("ana@marina"), HOME).is(303).to(),
        "/console/operator/sign-in"
    );
    house.get(&operator, "/console/me").is_silent("This installation");
    let forged = Browser { cookie: operator.cookie.replacen('.', ".1", 1) };
    house.get(&forged, HOME).is(303);
    // A retired key ends it at once.
    house.run(&first(&house), Command::RetireKey { key: id });
    house.get(&operator, HOME).is(303);
}

#[test]
fn t22_an_operators_cookie_ends_unused_after_a_quarter_of_an_hour_and_after_an_hour() {
    let house = House::new();
    let (operate, _) = key(&house, KeyUse::Operate);
    let mut operator = browser(&sign_in(&house, operate.reveal()));
    let first = operator.clone();
    for _ in 0..5 {
        house.wait(10 * MINUTE);
        operator = browser(house.get(&operator, HOME).is(200));
    }
    house.get(&first, HOME).is(303);
    house.wait(10 * MINUTE);
    house.get(&operator, HOME).is(303); // an hour
    let operator = browser(&sign_in(&house, operate.reveal()));
    house.wait(HOUR / 4);
    house.get(&operator, HOME).is(303);
}

#[test]
fn t47_the_operator_reads_counts_and_no_tenants_content() {
    let house = House::new();
    house.granted();
    house.enter("hugo@harbor", Mode::ActAs, Some("A secret reason"));
    let (operate, _) = key(&house, KeyUse::Operate);
    let operator = browser(&sign_in(&house, operate.reveal()));
    let page = house.get(&operator, HOME);
    let nodes = if crate::engine::on_postgres() { "1 current" } else { "This one" };
    page.says(nodes).says("Nothing waits; 0 given up");
    page.is(200).says("Marina Bay").says("Harbor Help").says("Rows in the log").says("partner");
    for silent in ["Ana Alvarez", "hugo@", "Winter storage", "A secret reason", "T-17", "boat-1"] {
        page.is_silent(silent);
    }
    house.get(&operator, "/console/operator?find=BAY").says("Marina Bay").is_silent("Harbor Help");
    house
        .get(&operator, "/console/operator?find=%3Cb%3Ex")
        .says("No organisation fits")
        .is_silent("<b>x");
}

#[test]
fn an_organisation_is_suspended_brought_back_and_closed_after_a_question() {
    let house = House::new();
    house.granted();
    let (session, _) = house.enter("hugo@harbor", Mode::Direct, None);
    let (operate, _) = key(&house, KeyUse::Operate);
    let operator = browser(&sign_in(&house, operate.reveal()));
    let marina = house.org("marina");
    let at = format!("/console/operator/organisations/{marina}/standing");
    let standing = || house.app.state().organisations.get(marina).unwrap().standing;
    house.get(&operator, &format!("{at}?standing=suspended")).is(200).says("Suspend Marina Bay?");
    assert_eq!(standing(), Standing::Active, "asking changes nothing");
    house.send(&operator, &at, &[("standing", "suspended")]).is(403); // a foreign page's form
    house.send(&nobody(), &at, &[("standing", "suspended")]).is(303);
    assert_eq!(standing(), Standing::Active);
    let done = order(&house, &operator, &at, &[("standing", "suspended")]);
    assert_eq!(done.is(303).to(), HOME);
    assert!(done.said().starts_with("Marina Bay is suspended"));
    assert_eq!(standing(), Standing::Suspended);
    assert!(!house.app.state().sessions.get(session).unwrap().is_active(house.now()));
    order(&house, &operator, &at, &[("standing", "active")]).is(303);
    assert_eq!(standing(), Standing::Active);
    house.get(&operator, &format!("{at}?standing=closed")).says("This cannot be undone.");
    order(&house, &operator, &at, &[("standing", "closed")]).is(303);
    assert_eq!(standing(), Standing::Closed);
    order(&house, &operator, &at, &[("standing", "active")]).is(409).says("Bring Marina Bay back?");
    let missing = "/console/operator/organisations/org_00000000000000000000000007/standing";
    order(&house, &operator, missing, &[("standing", "closed")]).is(404);
    house.get(&operator, "/console/operator/halts/halt_00000000000000000000000007/lift").is(404);
}
