//! While somebody is inside: entering twice by one form, the banner of every page, giving up.

use comity_domain::grant::GrantPhase;
use comity_domain::role::Mode;
use comity_domain::time::MINUTE;

use crate::house::{House, Reply};

fn begun(house: &House) -> usize {
    house.app.state().sessions.iter().count()
}

#[test]
fn n8_the_answer_to_entering_loaded_again_enters_once_and_shows_no_token_twice() {
    let house = House::new();
    let grant = house.granted();
    let hugo = house.browser("hugo@harbor");
    let path = format!("/console/tenants/{grant}/enter");
    let once = house.get(&hugo, "/console/tenants").value("once");
    assert_eq!(once.len(), 32);
    let send = |once: &str, mode: &str, reason: &str| {
        let fields = [("once", once), ("mode", mode), ("reason", reason)];
        house.fill(&hugo, &path, &fields)
    };
    let first = send(&once, "direct", "");
    first.is(200).says("cmt_session_");
    let again = send(&once, "direct", "");
    again.is(303).is_silent("cmt_session_");
    assert_eq!(begun(&house), 1);
    house.get(&hugo, again.to()).is(200).says("You are in Marina Bay").is_silent("cmt_session_");
    // Also after coming home: an old answer never begins a stay.
    house.fill(&hugo, &format!("{}/home", again.to()), &[]).is(303);
    let late = send(&once, "direct", "");
    assert_eq!((late.is(303).to(), begun(&house)), (again.to(), 1));
    house.get(&hugo, late.to()).says("You came home.");
    // Another door of the same page is another wish, and so is the next page.
    send(&once, "act_as", "Broken mast").is(200);
    send(&once, "act_as", "Broken mast").is(303);
    send(&house.get(&hugo, "/console/tenants").value("once"), "direct", "").is(200);
    assert_eq!(begun(&house), 3);
    // Somebody else's page is no page of theirs.
    house.member("harbor", "hanna", "Hanna Holm", None);
    let hanna = house.browser("hanna@harbor");
    house.fill(&hanna, &path, &[("once", &*once), ("mode", "direct")]).is(404);
}

#[test]
fn n8_every_page_says_where_one_is_and_leads_home() {
    let house = House::new();
    house.granted();
    let hugo = house.browser("hugo@harbor");
    let here = "/console/step-up";
    house.get(&hugo, here).is(200).is_silent("You are in");
    let (view, _) = house.enter("hugo@harbor", Mode::View, None);
    house.wait(2 * MINUTE);
    let (later, _) = house.enter("hugo@harbor", Mode::Direct, None);
    let page = house.get(&hugo, here);
    page.says("You are in Marina Bay").says("View only").says("and 1 more").says("58 min 00 s");
    let home = format!("/console/stay/{view}/home");
    page.says(&home).is_silent(&format!("/console/stay/{later}"));
    house.fill(&hugo, &home, &[]).is(303);
    let page = house.get(&hugo, here);
    page.says("60 min 00 s").says(&format!("/console/stay/{later}/home")).is_silent(" more</a>");
    // The page that lists them needs no banner, and nobody else has one.
    house.get(&hugo, "/console/tenants").says("Inside now").is_silent("You are in");
    house.get(&house.browser("pia@harbor"), here).is_silent("You are in");
}

#[test]
fn r12_the_partner_gives_its_access_up_after_it_was_told_what_stops() {
    let house = House::new();
    let grant = house.granted();
    let (session, _) = house.enter("hugo@harbor", Mode::Direct, None);
    let harbor = house.org("harbor");
    let at = format!("/console/o/{harbor}/grants-received/{grant}");
    let path = format!("{at}/give-up");
    let pia = house.browser("pia@harbor");
    house.get(&pia, &at).says(&path);
    let page = house.get(&pia, &path);
    page.is(200).says("Give up the access to Marina Bay?").says("1 session ends at once");
    page.says("2 people of Harbor Help can no longer enter").says("It cannot be undone");
    // Nobody else gives it up, and for who has no tie to it, it is not there.
    let missing = house.get(&pia, "/console/nothing").text;
    let try_as = |who: &str| -> [Reply; 2] {
        let browser = house.browser(who);
        [house.get(&browser, &path), house.fill(&browser, &path, &[])]
    };
    for reply in try_as("hugo@harbor") {
        reply.is(403);
    }
    for who in ["ana@marina", "eve@elsewhere"] {
        for reply in try_as(who) {
            assert_eq!((reply.status, &reply.text), (404, &missing), "{who}");
        }
    }
    let marina = house.org("marina");
    let swapped = format!("/console/o/{marina}/grants-received/{grant}/give-up");
    assert_eq!(house.get(&house.browser("ana@marina"), &swapped).is(404).text, missing);
    let phase = || house.app.state().grants.get(grant).unwrap().phase(house.now());
    assert_eq!(phase(), GrantPhase::Active);
    let done = house.fill(&pia, &path, &[]);
    assert_eq!(done.is(303).to(), format!("/console/o/{harbor}/grants-received"));
    assert_eq!(done.said(), "The access to Marina Bay is given up: 1 session has ended.");
    assert_eq!(phase(), GrantPhase::Ended);
    assert!(!house.app.state().sessions.get(session).unwrap().is_active(house.now()));
    house.get(&pia, &path).is(409).says("This access is over");
    house.fill(&pia, &path, &[]).is(409);
    house.get(&pia, &at).is(200).is_silent("give-up");
}
