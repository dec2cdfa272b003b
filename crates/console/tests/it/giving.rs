//! *Grant Access* and *Manage access*: offers, what comes of them, amendments, and who goes in.

use comity_domain::command::{Command, FreshCode};
use comity_domain::ids::{GrantId, RequestId, RoleId};
use comity_domain::offer;
use comity_domain::request::RequestState;
use comity_domain::time::MINUTE;

use crate::house::{Browser, House, Reply, event};

/// What people type into free fields (T3, T41, T42).
const PAYLOAD: &str = "<script>alert(1)</script>\" onfocus=x {{7*7}} =cmd()";

fn at(house: &House, of: &str, rest: &str) -> String {
    format!("/console/o/{}/{rest}", house.org(of))
}

/// Harbor Help's partner ID, made on its page.
fn partner_id(house: &House) -> String {
    let pia = house.browser("pia@harbor");
    let page = at(house, "harbor", "partner-id");
    house.get(&pia, &page).is(200).says("None is made yet");
    house.fill(&pia, &page, &[("unit", "")]).is(303);
    let shown = house.get(&pia, &page);
    let (_, rest) = shown.text.split_once("readonly value=\"").expect("a code");
    rest.split('"').next().unwrap().to_owned()
}

/// The address of the page on which is chosen what is offered.
fn whom(house: &House, ana: &Browser, code: &str) -> Reply {
    house.fill(ana, &at(house, "marina", "access/give/new"), &[("partner_id", code)])
}

fn terms<'f>(to: &'f str, more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut fields = vec![
        ("chosen", "yes"),
        ("to", to),
        ("level", "partner"),
        ("roles", "clerk"),
        ("which", "all"),
        ("modes", "direct"),
        ("days", "14"),
        ("session_minutes", "30"),
        ("reason", "You look after our boats"),
    ];
    for (name, value) in more {
        fields.retain(|(n, _)| n != name);
        fields.push((name, value));
    }
    fields
}

/// Offers what the page shows for these fields.
fn offer_to(house: &House, ana: &Browser, to: &str, more: &[(&str, &str)]) -> Reply {
    let mut fields = terms(to, more);
    let page = at(house, "marina", "access/give/terms");
    let asked = format!("{page}?{}", serde_html_form::to_string(&fields).unwrap());
    let shown = house.get(ana, &asked);
    let summary = if shown.text.contains("name=\"summary\"") {
        shown.value("summary")
    } else {
        String::new()
    };
    fields.push(("summary", &summary));
    house.fill(ana, &page, &fields)
}

fn to_of(reply: &Reply) -> String {
    reply.to().split_once("?to=").expect("a partner").1.to_owned()
}

fn offered(house: &House) -> RequestId {
    let state = house.app.state();
    offer::made(&state, house.org("marina")).next_back().expect("an offer").0
}

#[test]
fn n4_a_customer_offers_access_by_partner_id_and_the_partner_accepts_the_whole() {
    let house = House::new();
    let code = partner_id(&house);
    let ana = house.browser("ana@marina");
    let tab = house.get(&ana, &at(&house, "marina", "access/give"));
    tab.is(200).says("No offer waits").says("No partner has access");
    let reply = whom(&house, &ana, &code.to_lowercase().replace('-', " "));
    reply.is(303);
    let to = to_of(&reply);
    let first = house.get(&ana, reply.to());
    first.is(200).says("Offer Harbor Help access").says("Choose at least one role");
    let made = offer_to(&house, &ana, &to, &[]);
    made.is(303);
    assert!(
        made.said().starts_with("Offered to Harbor Help. Nothing is given before"),
        "{}",
        made.said()
    );
    let tab = house.get(&ana, made.to());
    tab.is(200).says("Harbor Help").says("Clerk").says("Waiting").says("Withdraw");
    // The partner sees what it would get, and from whom.
    let pia = house.browser("pia@harbor");
    let received = house.get(&pia, &at(&house, "harbor", "grants-received"));
    received.is(200).says("Offers to us").says("Marina Bay").says("Look at it");
    let page = at(&house, "harbor", &format!("offered/{}", offered(&house)));
    let looked = house.get(&pia, &page);
    looked
        .is(200)
        .says("Marina Bay offers access")
        .says("bookings:read")
        .says("14 days")
        .says("Accept");
    let reply = house.fill(&pia, &format!("{page}/accept"), &[]);
    reply.is(303);
    assert!(reply.to().contains("/grants-received/grant_"), "{}", reply.to());
    house.get(&pia, reply.to()).is(200).says("Manage access");
    house.get(&pia, &page).is(200).says("Accepted").is_silent(">Accept<");
    house.fill(&pia, &format!("{page}/accept"), &[]).is(409);
    // And the customer what came of it.
    let answered = house.get(&ana, &at(&house, "marina", "access/give?past=yes"));
    answered.is(200).says("Accepted").says("Pia").says("What came of it").says("Renew");
}

#[test]
fn n4_only_an_admin_offers_and_answers_and_a_stranger_finds_nothing() {
    let house = House::new();
    let code = partner_id(&house);
    let ana = house.browser("ana@marina");
    let to = to_of(&whom(&house, &ana, &code));
    offer_to(&house, &ana, &to, &[]).is(303);
    let id = offered(&house);
    let sue = house.browser("sam@marina");
    let tab = house.get(&sue, &at(&house, "marina", "access/give"));
    tab.is(200).says("Harbor Help").is_silent("Withdraw").is_silent("access/give/new");
    house.get(&sue, &at(&house, "marina", "access/give/new")).is(403);
    house.get(&sue, &at(&house, "marina", &format!("access/give/terms?to={to}"))).is(403);
    house.get(&sue, &at(&house, "marina", &format!("offers/{id}/withdraw"))).is(403);
    let page = at(&house, "harbor", &format!("offered/{id}"));
    let hugo = house.browser("hugo@harbor");
    house.get(&hugo, &page).is(403);
    house.fill(&hugo, &format!("{page}/accept"), &[]).is(403);
    house.fill(&ana, &format!("{page}/accept"), &[]).is(404);
    // Foreign is missing, byte for byte.
    let outsider = house.browser("eve@elsewhere");
    let face = |id: &str, of: &str| {
        let page = format!("/console/o/{of}/offered/{id}");
        let reply = house.get(&outsider, &page);
        reply.is(404);
        reply.text.replace(of, "ORG").replace(id, "REQ")
    };
    let own = house.org("elsewhere").to_string();
    let missing = RequestId(7).to_string();
    assert_eq!(face(&id.to_string(), &own), face(&missing, &own));
    let harbor = house.org("harbor").to_string();
    assert_eq!(face(&id.to_string(), &harbor), face(&missing, &harbor));
    // A partner's request is no offer, and an offer is no request.
    let asked = house.ask("Winter storage", 30);
    let pia = house.browser("pia@harbor");
    house.get(&pia, &at(&house, "harbor", &format!("offered/{asked}"))).is(404);
    house.get(&ana, &at(&house, "marina", &format!("requests/{id}/approve"))).is(404);
    house.get(&ana, &at(&house, "marina", "access/pending")).is(200).says("Winter storage");
    let list = house.get(&pia, &at(&house, "harbor", "asking"));
    list.is(200).says("Winter storage").is_silent("You look after our boats");
}

#[test]
fn t1_t3_a_wrong_partner_id_says_one_thing_and_what_was_typed_is_kept() {
    let house = House::new();
    let code = partner_id(&house);
    let ana = house.browser("ana@marina");
    let mut typo: Vec<char> = code.chars().collect();
    typo[2] = if typo[2] == 'A' { 'B' } else { 'A' };
    let typo: String = typo.into_iter().collect();
    whom(&house, &ana, &typo).is(422).says("has a typing mistake").says(&typo);
    // A customer ID is no partner ID, and one that was replaced is none any more.
    let customer_id = house.app.customer_id(house.org("harbor")).unwrap();
    whom(&house, &ana, &customer_id).is(404).says("No partner has this ID");
    let pia = house.browser("pia@harbor");
    house.fill(&pia, &at(&house, "harbor", "partner-id"), &[("unit", "")]).is(303);
    whom(&house, &ana, &code).is(404).says("No partner has this ID");
    // Nobody is named whom the customer does not know.
    let stranger = house.org("elsewhere");
    let page = at(&house, "marina", &format!("access/give/terms?to={stranger}"));
    house.get(&ana, &page).is(404);
    // What is wrong comes back with what was typed.
    let known = house.granted();
    let to = house.org("harbor").to_string();
    let wrong = offer_to(&house, &ana, &to, &[("days", "9999"), ("reason", PAYLOAD)]);
    wrong.is(422).says("9999").says("&#60;script&#62;alert(1)").is_silent("<script>alert");
    let nothing = offer_to(&house, &ana, &to, &[("reason", "")]);
    nothing.is(422).says("aria-invalid=\"true\"");
    assert_eq!(offer::made(&house.app.state(), house.org("marina")).count(), 0, "{known}");
    let made = offer_to(&house, &ana, &to, &[("reason", PAYLOAD)]);
    made.is(303);
    let looked = house.get(&pia, &at(&house, "harbor", &format!("offered/{}", offered(&house))));
    looked.is(200).says("&#60;script&#62;alert(1)").is_silent("<script>alert");
}

#[test]
fn t4_what_has_changed_since_it_was_shown_is_not_offered_but_shown_anew() {
    let house = House::new();
    let code = partner_id(&house);
    let ana = house.browser("ana@marina");
    let to = to_of(&whom(&house, &ana, &code));
    let page = at(&house, "marina", "access/give/terms");
    let mut fields = terms(&to, &[]);
    let asked = format!("{page}?{}", serde_html_form::to_string(&fields).unwrap());
    let shown = house.get(&ana, &asked);
    let (summary, was) = (shown.value("summary"), shown.value("was"));
    house.role("clerk", "Clerk", &["bookings:read", "money:pay"]);
    fields.extend([("summary", summary.as_str()), ("was", was.as_str())]);
    let reply = house.fill(&ana, &page, &fields);
    reply.is(409).says("Nothing was given").says("Different now:").says("money:pay");
    assert_eq!(offer::made(&house.app.state(), house.org("marina")).count(), 0);
    // An old sign-in proves itself first, and comes back with what was chosen.
    house.wait(6 * MINUTE);
    let again = house.get(&ana, &asked);
    again.is(303);
    assert!(again.to().starts_with("/console/step-up?back="), "{}", again.to());
}

#[test]
fn n4_what_waits_is_withdrawn_or_declined() {
    let house = House::new();
    let code = partner_id(&house);
    let (ana, pia) = (house.browser("ana@marina"), house.browser("pia@harbor"));
    let to = to_of(&whom(&house, &ana, &code));
    offer_to(&house, &ana, &to, &[]).is(303);
    let first = offered(&house);
    let page = at(&house, "marina", &format!("offers/{first}/withdraw"));
    house.get(&ana, &page).is(200).says("Withdraw the offer?");
    house.fill(&ana, &page, &[]).is(303);
    house.fill(&ana, &page, &[]).is(409).says("It was answered already");
    house.get(&pia, &at(&house, "harbor", &format!("offered/{first}"))).is(200).says("Withdrawn");
    offer_to(&house, &ana, &to, &[]).is(303);
    let page = at(&house, "harbor", &format!("offered/{}/decline", offered(&house)));
    house.get(&pia, &page).is(200).says("Message to the customer");
    let no = [("reason", "No boats for us"), ("message", PAYLOAD)];
    house.fill(&pia, &page, &no).is(303);
    let tab = house.get(&ana, &at(&house, "marina", "access/give?past=yes"));
    tab.is(200).says("Declined").says("&#60;script&#62;").is_silent("No boats for us");
}

// -- amending -------------------------------------------------------------------------------------

fn amend(house: &House, ana: &Browser, grant: GrantId, fields: &[(&str, &str)]) -> Reply {
    let page = at(house, "marina", &format!("grants/{grant}/amend"));
    let asked = format!("{page}?{}", serde_html_form::to_string(fields).unwrap());
    let shown = house.get(ana, &asked);
    let mut all = fields.to_vec();
    let summary = if shown.text.contains("name=\"summary\"") {
        shown.value("summary")
    } else {
        String::new()
    };
    all.push(("summary", &summary));
    house.fill(ana, &page, &all)
}

#[test]
fn n4_a_grant_is_renewed_and_changed_beside_what_it_is_now() {
    let house = House::new();
    house.role("skipper", "Skipper", &["boats:move"]);
    let grant = house.granted();
    let ana = house.browser("ana@marina");
    let page = at(&house, "marina", &format!("grants/{grant}/amend"));
    let renew = house.get(&ana, &format!("{page}?renew=yes"));
    renew.is(200).says("Renew the access of Harbor Help").says("New:").is_silent("name=\"roles\"");
    let before = house.app.state().grants.get(grant).unwrap().clone();
    house.wait(MINUTE);
    let reply = amend(&house, &ana, grant, &[("chosen", "yes"), ("renew", "yes"), ("days", "60")]);
    reply.is(303);
    assert!(reply.said().starts_with("Renewed until"), "{}", reply.said());
    let after = house.app.state().grants.get(grant).unwrap().clone();
    assert!(after.window.end > before.window.end && after.roles == before.roles);
    assert_eq!(house.app.state().assigned_to(grant).count(), 2);
    // As it is, nothing is to be changed.
    house.get(&ana, &page).is(200).says("Nothing is different from what is given now");
    let wide = [
        ("chosen", "yes"),
        ("roles", "clerk"),
        ("roles", "skipper"),
        ("which", "all"),
        ("modes", "direct"),
        ("days", ""),
        ("session_minutes", "60"),
    ];
    let asked = format!("{page}?{}", serde_html_form::to_string(wide).unwrap());
    house.get(&ana, &asked).is(200).says("boats:move").says("Now:");
    amend(&house, &ana, grant, &wide).is(303);
    let changed = house.app.state().grants.get(grant).unwrap().clone();
    assert_eq!((changed.roles.len(), changed.window.end), (2, after.window.end));
    // What is wrong comes back.
    let long = [("chosen", "yes"), ("renew", "yes"), ("days", "731")];
    amend(&house, &ana, grant, &long).is(422).says("731");
    let sue = house.browser("sam@marina");
    house.get(&sue, &page).is(403);
    let other = house.browser("eve@elsewhere");
    house.get(&other, &page).is(404);
}

// -- who goes in ----------------------------------------------------------------------------------

fn roles(house: &House) -> (RoleId, RoleId) {
    let state = house.app.state();
    let marina = house.org("marina");
    let by = |code| state.role_by_code(marina, code).unwrap();
    (by("clerk"), by("skipper"))
}

/// A grant of two roles, with Hugo and Pia as clerks on it.
fn two_roles(house: &mut House) -> GrantId {
    let hana = house.member("harbor", "hana", "Hana Holm", None);
    house.people.insert("hana", hana);
    house.role("skipper", "Skipper", &["boats:move"]);
    let grant = house.granted();
    amend(
        house,
        &house.browser("ana@marina"),
        grant,
        &[
            ("chosen", "yes"),
            ("roles", "clerk"),
            ("roles", "skipper"),
            ("which", "all"),
            ("modes", "direct"),
            ("session_minutes", "60"),
        ],
    )
    .is(303);
    grant
}

/// The form of a page as it stands, with what is pressed.
fn press(
    house: &House,
    browser: &Browser,
    grant: GrantId,
    page: &Reply,
    more: &[(&str, &str)],
) -> Reply {
    let to = at(house, "harbor", &format!("grants-received/{grant}/manage"));
    let kept = ["stage", "base", "version", "on"].map(|name| (name, page.value(name)));
    let mut fields: Vec<(&str, &str)> = kept.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let heard = page.text.contains("name=\"heard\"").then(|| page.value("heard"));
    fields.extend(heard.as_deref().map(|heard| ("heard", heard)));
    fields.extend_from_slice(more);
    house.fill(browser, &to, &fields)
}

#[test]
fn n6_n7_people_are_moved_both_ways_get_roles_and_are_saved_as_one_set() {
    let mut house = House::new();
    let grant = two_roles(&mut house);
    let pia = house.browser("pia@harbor");
    let page = at(&house, "harbor", &format!("grants-received/{grant}/manage"));
    let first = house.get(&pia, &page);
    first.is(200).says("Users without access").says("Users with access").says("Hugo");
    let (clerk, skipper) = roles(&house);
    let hugo = house.people["hugo"].to_string();
    let hana = house.people["hana"].to_string();
    let moved = press(&house, &pia, grant, &first, &[("act", "in"), ("put", &hana)]);
    moved.is(200).says("not saved yet");
    let moved = press(&house, &pia, grant, &moved, &[("act", "out"), ("take", &hugo)]);
    moved.is(200);
    assert_eq!(house.app.state().assigned_to(grant).count(), 2, "nothing is saved yet");
    // Whoever is new has no role yet: save names them, and nothing is lost.
    let named = press(&house, &pia, grant, &moved, &[("act", "save")]);
    named.is(422).says("without one: Hana").says("Allowed roles").says("not saved yet");
    assert!(house.app.state().assignment_row(grant, house.people["hugo"]).is_some());
    let add = format!("{hana} {skipper}");
    let added = press(&house, &pia, grant, &named, &[("act", "back"), ("add", &add)]);
    added.is(200).says("Remove Skipper from Hana");
    // A role is taken by its icon.
    let own = house.people["pia"].to_string();
    let both = format!("{own} {skipper}");
    let added = press(&house, &pia, grant, &added, &[("act", "back"), ("add", &both)]);
    let dropped = press(&house, &pia, grant, &added, &[("drop", &format!("{own} {clerk}"))]);
    dropped.is(200).says("changed, not saved yet");
    let saved = press(&house, &pia, grant, &dropped, &[("act", "save")]);
    saved.is(303);
    assert_eq!(saved.said(), "Saved. 2 people may go into Marina Bay.");
    let state = house.app.state();
    let held = |who: &str| state.assignment(grant, house.people[who]).map(|a| a.roles);
    assert_eq!(
        (held("hugo"), held("hana"), held("pia")),
        (None, Some(vec![skipper]), Some(vec![skipper]))
    );
    // What cannot be read is not nobody.
    let to = at(&house, "harbor", &format!("grants-received/{grant}/manage"));
    let version = house.get(&pia, &to).value("version");
    for stage in [vec![], vec![("stage", "per_nobody")]] {
        let mut fields = vec![("act", "save"), ("version", version.as_str())];
        fields.extend(stage);
        house.fill(&pia, &to, &fields).is(422);
    }
    assert_eq!(house.app.state().assigned_to(grant).count(), 2);
    // The last one is not taken.
    let page = house.get(&pia, &page);
    let empty =
        press(&house, &pia, grant, &page, &[("act", "out"), ("take", &hana), ("take", &own)]);
    let refused = press(&house, &pia, grant, &empty, &[("act", "save")]);
    refused.is(409).says("Users without access");
    assert_eq!(house.app.state().assigned_to(grant).count(), 2);
}

#[test]
fn n6_two_who_save_at_once_are_told_what_changed_and_keep_what_they_staged() {
    let mut house = House::new();
    let grant = two_roles(&mut house);
    let (pia, other) = (house.browser("pia@harbor"), house.browser("pia@harbor"));
    let page = at(&house, "harbor", &format!("grants-received/{grant}/manage"));
    let (_, skipper) = roles(&house);
    let (hugo, hana) = (house.people["hugo"].to_string(), house.people["hana"].to_string());
    let (first, second) = (house.get(&pia, &page), house.get(&other, &page));
    let staged = press(&house, &pia, grant, &first, &[("act", "out"), ("take", &hugo)]);
    let add = format!("{hana} {skipper}");
    let with = press(&house, &other, grant, &second, &[("act", "in"), ("put", &hana)]);
    press(&house, &other, grant, &with, &[("act", "save"), ("add", &add)]).is(303);
    let late = press(&house, &pia, grant, &staged, &[("act", "save")]);
    late.is(412).says("somebody else has changed").says("Hana").says("was let in.");
    assert_eq!(house.app.state().assigned_to(grant).count(), 3);
    // Saved again it takes the place of what is there.
    press(&house, &pia, grant, &late, &[("act", "save")]).is(303);
    let left: Vec<_> = house.app.state().assigned_to(grant).map(|(p, _)| p).collect();
    assert_eq!(left, [house.people["pia"]]);
}

#[test]
fn n6_t13_only_an_admin_of_the_partner_and_only_its_own_people_and_roles() {
    let mut house = House::new();
    let grant = two_roles(&mut house);
    let page = at(&house, "harbor", &format!("grants-received/{grant}/manage"));
    house.get(&house.browser("hugo@harbor"), &page).is(403);
    house.get(&house.browser("ana@marina"), &page).is(404);
    house.get(&house.browser("eve@elsewhere"), &page).is(404);
    let pia = house.browser("pia@harbor");
    let first = house.get(&pia, &page);
    // Somebody of elsewhere, and a role that is not granted, do nothing.
    let ana = house.people["ana"].to_string();
    let odd = format!("{} {}", house.people["hugo"], RoleId(7));
    let pressed =
        press(&house, &pia, grant, &first, &[("act", "in"), ("put", &ana), ("add", &odd)]);
    pressed.is(200);
    assert_eq!(pressed.value("stage"), first.value("stage"));
    let find = press(&house, &pia, grant, &first, &[("act", "find"), ("find", PAYLOAD)]);
    find.is(200).says("&#60;script&#62;").is_silent("<script>alert");
    assert_eq!(find.value("stage"), first.value("stage"), "a search takes nobody off");
}

#[test]
fn n3_access_received_stands_in_the_menu_only_for_whom_somebody_let_in() {
    let house = House::new();
    let otto = house.browser("eve@elsewhere");
    let asking = at(&house, "elsewhere", "asking");
    house.get(&otto, &asking).is(200).is_silent("Access received");
    let own = house.org("elsewhere");
    let FreshCode { digest, sealed } = house.app.fresh_code();
    let code = FreshCode { digest, sealed };
    let command = Command::RotatePartnerId { organisation: own, unit: None, code };
    house.run(&house.caller("eve@elsewhere"), command);
    let text =
        house.app.partner_id(comity_domain::organisation::Party { organisation: own, unit: None });
    let ana = house.browser("ana@marina");
    let to = to_of(&whom(&house, &ana, &text.unwrap().unwrap()));
    offer_to(&house, &ana, &to, &[]).is(303);
    house.get(&otto, &asking).is(200).says("Access received");
    let id = offered(&house);
    let done = house.run(&house.caller("eve@elsewhere"), Command::Accept { request: id });
    let grant: GrantId = event(&done, |e| match e {
        comity_domain::event::Event::GrantMade { grant, .. } => Some(*grant),
        _ => None,
    });
    let state = house.app.state();
    assert!(matches!(
        state.requests.get(id).unwrap().state,
        RequestState::Approved { grant: of, .. } if of == grant
    ));
}

#[test]
fn n4_a_change_keeps_the_accounts_of_a_customer_with_more_than_are_shown() {
    let house = House::new();
    let grant = house.granted();
    let organisation = house.org("marina");
    for n in 0..101 {
        let (external, name) = (format!("berth-{n}"), format!("Berth {n}"));
        let put = Command::PutAccount { organisation, external, name, unit: None };
        house.run(&house.provisioner, put);
    }
    let ana = house.browser("ana@marina");
    let page = at(&house, "marina", &format!("grants/{grant}/amend"));
    let mut fields = vec![
        ("chosen", "yes"),
        ("roles", "clerk"),
        ("which", "list"),
        ("listed", "berth-1\r\nberth-2"),
        ("modes", "direct"),
        ("session_minutes", "60"),
    ];
    amend(&house, &ana, grant, &fields).is(303);
    let listed = house.app.state().grants.get(grant).unwrap().accounts.clone();
    house.get(&ana, &page).is(200).says("berth-1\nberth-2").says("Nothing is different");
    fields.retain(|(name, _)| *name != "session_minutes");
    fields.push(("session_minutes", "30"));
    amend(&house, &ana, grant, &fields).is(303);
    let state = house.app.state();
    let after = state.grants.get(grant).unwrap();
    assert_eq!((&after.accounts, after.cap.0), (&listed, 30));
}

#[test]
fn n9_whoever_would_lose_a_membership_is_named_before_the_save_and_the_customer_restores_it() {
    let mut house = House::new();
    let grant = two_roles(&mut house);
    // Hana is a member of the customer as well.
    let hana = house.people["hana"];
    assert_eq!(house.also_member("hana-too", "marina", "hana@harbor"), hana);
    let pia = house.browser("pia@harbor");
    let page = at(&house, "harbor", &format!("grants-received/{grant}/manage"));
    let shown = house.get(&pia, &page);
    let staged = press(&house, &pia, grant, &shown, &[("act", "in"), ("put", &hana.to_string())]);
    let (clerk, _) = roles(&house);
    let with_role = press(
        &house,
        &pia,
        grant,
        staged.is(200),
        &[("act", "back"), ("add", &format!("{hana} {clerk}"))],
    );
    let warned = press(&house, &pia, grant, with_role.is(200), &[("act", "save")]);
    warned.is(200).says("Not saved yet").says("in their own right:");
    assert!(house.app.state().assignment_row(grant, hana).is_none(), "nothing is done yet");
    let saved = press(&house, &pia, grant, &warned, &[("act", "save")]);
    saved.is(303);
    assert!(house.app.state().assignment_row(grant, hana).is_some());
    // She is told where she looks for her customers, and her own way in is shut.
    let hanas = house.browser("hana@harbor");
    house.get(&hanas, "/console/tenants").is(200).says("this page is your only way in");
    // The customer finds it from its grant and its settings, and takes her back.
    let ana = house.browser("ana@marina");
    house
        .get(&ana, &at(&house, "marina", &format!("grants/{grant}")))
        .says("One of them was your own member");
    house
        .get(&ana, &at(&house, "marina", "access/settings"))
        .says("One member of yours works here");
    let list = at(&house, "marina", "access/replaced");
    house.get(&ana, &list).is(200).says("Hana").says("Harbor");
    let restore = format!("{list}/{hana}/restore");
    house.get(&ana, &restore).is(200).says("is taken off the access of");
    house.fill(&ana, &restore, &[]).is(303);
    assert!(house.app.state().assignment_row(grant, hana).is_none());
    house.get(&ana, &list).says("membership is replaced.");
    let key = house.get(&ana, &at(&house, "marina", "access/settings")).value("form_key");
    house.send(&ana, &restore, &[("form_key", &key)]).is(303); // sent twice
    // Nobody else restores, and to whom it is not theirs it is not there.
    house.get(&pia, &restore).is(404);
    let key = house.get(&pia, "/console/me").value("form_key");
    house.send(&pia, &restore, &[("form_key", &key)]).is(404);
}

#[test]
fn n9_t12_a_form_that_names_a_stranger_learns_nothing_of_memberships() {
    let mut house = House::new();
    let grant = two_roles(&mut house);
    let pia = house.browser("pia@harbor");
    let ana = house.people["ana"];
    let page = at(&house, "harbor", &format!("grants-received/{grant}/people/new"));
    let fields = [("person", ana.to_string()), ("roles", "clerk".into()), ("which", "all".into())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let reply = house.fill(&pia, &page, &fields);
    reply.is(422).is_silent("in their own right").is_silent("Ana");
}
