//! The partner's side: asking, who may go in, entering, coming home.

use comity_domain::code::CustomerCode;
use comity_domain::command::{AssignmentSpec, Command};
use comity_domain::ids::{GrantId, SessionId};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::Accounts;
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::Resource;
use comity_domain::text::Lookup;
use comity_domain::time::{DAY, MINUTE};

use crate::house::{AUDIENCE, Browser, House, Reply};

/// What people type into free fields (T3, T41, T42).
const PAYLOAD: &str = "<script>alert(1)</script>\" onfocus=x {{7*7}} =cmd()";

fn code(house: &House) -> String {
    house.app.customer_id(house.org("marina")).unwrap()
}

fn asking(house: &House) -> String {
    format!("/console/o/{}/asking", house.org("harbor"))
}

fn received(house: &House, grant: GrantId) -> String {
    format!("/console/o/{}/grants-received/{grant}", house.org("harbor"))
}

fn ask(house: &House, browser: &Browser, id: &str, change: &[(&str, &str)]) -> Reply {
    let mut fields = vec![
        ("customer_id", id),
        ("level", "partner"),
        ("modes", "direct"),
        ("modes", "act_as"),
        ("days", "30"),
        ("reason", "Winter storage"),
        ("ticket", "T-17"),
        ("roles", ""),
        ("accounts", ""),
    ];
    for (name, value) in change {
        fields.retain(|(n, _)| n != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
    }
    house.fill(browser, &format!("{}/new", asking(house)), &fields)
}

fn enter(house: &House, browser: &Browser, grant: GrantId, fields: &[(&str, &str)]) -> Reply {
    house.fill(browser, &format!("/console/tenants/{grant}/enter"), fields)
}

/// The token in the answer to entering.
fn token(reply: &Reply) -> String {
    let (_, rest) = reply.text.split_once("cmt_session_").expect("a token");
    format!("cmt_session_{}", rest.split('"').next().unwrap())
}

fn stay(reply: &Reply) -> String {
    let (_, rest) = reply.text.split_once("/console/stay/").expect("a stay");
    rest.split(['/', '"']).next().unwrap().to_owned()
}

/// What the builder's API is told about reading bookings of boat-1.
fn decision(house: &House, token: &str) -> Reason {
    let asked = Permission::parse("bookings:read").unwrap();
    let answer = house.app.evaluate(house.application, token, asked, |state, customer| {
        let id = state.words.find(Lookup::Account(customer), "boat-1");
        let id = id.map(comity_domain::ids::AccountId);
        let known = id.and_then(|id| Some((id, state.accounts.get(id)?)));
        known.map_or(Resource::Unknown, |(id, a)| Resource::Account(id, a.organisation, a.unit))
    });
    answer.reason
}

// -- asking ---------------------------------------------------------------------------------------

#[test]
fn r1_r2_a_partner_asks_with_a_customer_id_however_it_is_typed_and_sees_what_came_of_it() {
    let house = House::new();
    let pia = house.browser("pia@harbor");
    house.get(&pia, &asking(&house)).is(200).says("Nothing asked yet").says("Ask for access");
    let page = house.get(&pia, &format!("{}/new", asking(&house)));
    page.is(200)
        .says("data-check-symbol")
        .says("whatever the customer&#39;s roles permit")
        .says("reading only");
    let sloppy = code(&house).to_lowercase().replace('-', "").replace('0', "o").replace('1', "i");
    let reply = ask(&house, &pia, &sloppy, &[]);
    reply.is(303);
    assert_eq!((reply.to(), reply.said().starts_with("Asked.")), (&*asking(&house), true));
    let list = house.get(&pia, &asking(&house));
    list.is(200).says("Winter storage").says("Ticket T-17").says("Pending").says("Direct, Act as");
    list.is_silent("Marina");
    // A second one while it waits.
    ask(&house, &pia, &sloppy, &[("reason", "Again")])
        .is(409)
        .says("is waiting there")
        .says("Again");
}

#[test]
fn r1_a_typing_mistake_is_found_before_anything_is_looked_up() {
    let house = House::new();
    let pia = house.browser("pia@harbor");
    let good = code(&house);
    let mut typo: Vec<char> = good.chars().collect();
    typo[2] = if typo[2] == 'A' { 'B' } else { 'A' };
    let typo: String = typo.into_iter().collect();
    let reply = ask(&house, &pia, &typo, &[("reason", PAYLOAD)]);
    reply.is(422).says("has a typing mistake").says(&typo).says("aria-invalid=\"true\"");
    reply.says("&#60;script&#62;alert(1)").is_silent("<script>alert");
    for short in ["", "hello", &good[1..]] {
        ask(&house, &pia, short, &[]).is(422).says("must be 22 letters and digits");
    }
    let own = house.app.customer_id(house.org("harbor")).unwrap();
    ask(&house, &pia, &own, &[]).is(422).says("This is your own Customer ID.");
    assert_eq!(house.app.state().requests_from(house.org("harbor")).count(), 0);
}

#[test]
fn t1_whatever_is_the_matter_with_a_customer_id_the_answer_is_one_page() {
    let house = House::new();
    let pia = house.browser("pia@harbor");
    let never = CustomerCode::from_random([7; 16]).to_string();
    let rotated = code(&house);
    let ana = house.caller("ana@marina");
    let fresh = house.app.fresh_code();
    let organisation = house.org("marina");
    house.run(&ana, Command::RotateCustomerId { organisation, code: fresh });
    let set = |change: &dyn Fn(&mut comity_domain::organisation::Settings)| {
        let state = house.app.state();
        let mut settings = state.organisations.get(organisation).unwrap().settings.clone();
        change(&mut settings);
        house.run(&ana, Command::ChangeSettings { organisation, settings, version: None });
    };
    let face = |id: &str| {
        let reply = ask(&house, &pia, id, &[]);
        reply.is(404).says("No customer can be asked with this ID");
        // Above it stands how much is unread in the inbox.
        let (_, main) = reply.text.split_once("<main").unwrap();
        main.replace(id, "ID")
    };
    let unknown = face(&never);
    assert_eq!(face(&rotated), unknown, "rotated");
    set(&|s| s.customer_id_on = false);
    assert_eq!(face(&code(&house)), unknown, "turned off");
    set(&|s| {
        s.customer_id_on = true;
        s.blocked.insert(house.org("harbor"));
    });
    assert_eq!(face(&code(&house)), unknown, "blocked");
    set(&|s| s.blocked.clear());
    let target = LockTarget::Person(house.people["pia"]);
    let known = house.granted(); // a lock needs somebody who is known
    let reason = None;
    house.run(&ana, Command::Lock { customer: organisation, target, reason });
    assert_eq!(face(&code(&house)), unknown, "locked, {known}");
}

#[test]
fn t1_tries_at_a_customer_id_are_counted_by_person() {
    let limits = comity_api::limits::Settings {
        customer_id: comity_api::limits::Rate::per_hour(3),
        ..comity_api::limits::Settings::off()
    };
    let house = House::limited(&limits);
    let pia = house.browser("pia@harbor");
    let never = CustomerCode::from_random([7; 16]).to_string();
    for _ in 0..3 {
        ask(&house, &pia, &never, &[]).is(404);
    }
    ask(&house, &pia, "a typo", &[]).is(422); // costs nothing, as nothing was looked up
    ask(&house, &pia, &code(&house), &[]).is(429).says("Try again in 20 minutes");
}

#[test]
fn r2_what_is_wrong_with_a_field_stands_there_and_the_rest_is_kept() {
    let house = House::new();
    let pia = house.browser("pia@harbor");
    let id = code(&house);
    let reply = ask(&house, &pia, &id, &[("modes", ""), ("reason", "Kept reason")]);
    reply.is(422).says("id=\"e-modes\"").says("Kept reason").says(&id);
    ask(&house, &pia, &id, &[("days", "731")]).is(422).says("id=\"e-days\"").says("value=\"731\"");
    ask(&house, &pia, &id, &[("days", "many")]).is(422).says("must be a whole number");
    let referral = ask(&house, &pia, &id, &[("level", "referral")]);
    referral.is(422).says("id=\"e-modes\"").says("value=\"referral\" checked");
    ask(&house, &pia, &id, &[("reason", " ")]).is(422).says("id=\"e-reason\"");
    ask(&house, &pia, &id, &[("roles", PAYLOAD)]).is_silent("<script>alert");
}

#[test]
fn r11_a_denial_shows_its_message_and_never_its_reason() {
    let house = House::new();
    let pia = house.browser("pia@harbor");
    let request = house.ask(PAYLOAD, 30);
    let deny = Command::Deny {
        request,
        reason: Some("Only for us".into()),
        message: Some(format!("Not now {PAYLOAD}")),
    };
    house.run(&house.caller("ana@marina"), deny);
    let list = house.get(&pia, &asking(&house));
    list.is(200).says("Denied").says("Not now &#60;script&#62;").is_silent("Only for us");
    list.is_silent("<script>alert").is_silent("Marina").is_silent("Take back");
    house.get(&pia, &format!("{}?state=pending", asking(&house))).says("None of these");
    house.get(&pia, &format!("{}?state=denied", asking(&house))).says("Not now");
}

#[test]
fn r2_a_request_is_taken_back_once() {
    let house = House::new();
    let pia = house.browser("pia@harbor");
    let request = house.ask("Winter storage", 30);
    let at = format!("{}/{request}/cancel", asking(&house));
    house.get(&pia, &at).is(200).says("Take the request back?").says("Winter storage");
    let reply = house.fill(&pia, &at, &[]);
    reply.is(303);
    assert!(reply.said().starts_with("Taken back."));
    house.get(&pia, &asking(&house)).says("Cancelled").says("Taken back on");
    house.fill(&pia, &at, &[]).is(409).says("decided already");
}

#[test]
fn t12_the_partners_pages_are_for_its_own_people() {
    let house = House::new();
    let grant = house.granted();
    let request = {
        let state = house.app.state();
        state.requests_from(house.org("harbor")).next().unwrap()
    };
    let (hugo, eve) = (house.browser("hugo@harbor"), house.browser("eve@elsewhere"));
    let missing = house.get(&eve, "/console/o/org_01kf4e9ab7c3x8m2v5r6t0w1yz/asking");
    missing.is(404);
    let (own, at) = (asking(&house), received(&house, grant));
    let elsewhere = house.org("elsewhere");
    let foreign = [
        own.clone(),
        format!("{own}/new"),
        format!("{own}/{request}/cancel"),
        at.clone(),
        format!("{at}/people/new"),
        format!("{at}/people/{}/remove", house.people["hugo"]),
        format!("/console/o/{elsewhere}/asking/{request}/cancel"),
        format!("/console/o/{elsewhere}/grants-received/{grant}"),
        format!("/console/o/{elsewhere}/grants-received/{grant}/people/new"),
        format!("/console/tenants/{grant}/enter?mode=direct"),
    ];
    for page in foreign {
        assert_eq!(house.get(&eve, &page).text, missing.text, "{page}");
    }
    // A member without a portal role reads nothing of it, but enters.
    house.get(&hugo, &own).is(403);
    house.get(&hugo, &at).is(403);
    house.get(&hugo, "/console/tenants").is(200).says("Marina Bay");
    // Customer Support reads and does not act.
    let support = Some(comity_domain::person::PortalRole::CustomerSupport);
    house.member("harbor", "sue", "Sue Support", support);
    let sue = house.browser("sue@harbor");
    house.get(&sue, &own).is(200).is_silent("Ask for access").is_silent("Take back");
    house.get(&sue, &at).is(200).says("Hugo Hart").is_silent("Let somebody in");
    house.get(&sue, &format!("{own}/new")).is(403);
    ask(&house, &sue, &code(&house), &[]).is(403);
    house.get(&sue, &format!("{at}/people/new")).is(403);
    house.fill(&sue, &format!("{at}/people/{}/remove", house.people["hugo"]), &[]).is(403);
}

// -- who may go in --------------------------------------------------------------------------------

#[test]
fn r19_the_first_story_is_done_wholly_in_the_browser() {
    let house = House::new();
    let pia = house.browser("pia@harbor");
    ask(&house, &pia, &code(&house), &[]).is(303);
    let request = house.app.state().requests_from(house.org("harbor")).next().unwrap();
    let clerk = house.app.state().role_by_code(house.org("marina"), "clerk").unwrap();
    let grant = house.approve_only(request, &[clerk]);
    let page = house.get(&pia, &asking(&house));
    page.says("Marina Bay").says("Approved").says(&received(&house, grant));
    let list = house.get(&pia, &format!("/console/o/{}/grants-received", house.org("harbor")));
    list.is(200).says("Marina Bay").says("nobody yet");
    let at = received(&house, grant);
    house.get(&pia, &at).says("Nobody yet.");
    let form = house.get(&pia, &format!("{at}/people/new"));
    form.is(200).says("Hugo Hart").says("value=\"clerk\" checked").says("bookings:read");
    let hugo_id = house.people["hugo"].to_string();
    let fields = [("person", &*hugo_id), ("roles", "clerk"), ("which", "all")];
    let reply = house.fill(&pia, &format!("{at}/people/new"), &fields);
    reply.is(303);
    assert_eq!(reply.said(), "Hugo Hart may go into Marina Bay from now on.");
    house.get(&pia, &at).says("Hugo Hart").says("hugo@harbor.example");
    let hugo = house.browser("hugo@harbor");
    house.get(&hugo, "/console/tenants").is(200).says("Marina Bay").says("Clerk");
    let inside = enter(&house, &hugo, grant, &[("mode", "direct")]);
    inside.is(200).says("You are in Marina Bay").says("as Hugo Hart").says("Return home");
    assert_eq!(decision(&house, &token(&inside)), Reason::Allowed);
}

#[test]
fn r7_nobody_gets_more_than_the_grant_and_two_editors_do_not_overwrite_each_other() {
    let house = House::new();
    let grant = house.granted();
    let pia = house.browser("pia@harbor");
    let (at, hugo) = (received(&house, grant), house.people["hugo"]);
    let page = house.get(&pia, &format!("{at}/people/{hugo}"));
    let version = page.is(200).value("version");
    let path = format!("{at}/people/{hugo}");
    let listed =
        [("version", &*version), ("roles", "clerk"), ("which", "list"), ("listed", "boat-1")];
    house.fill(&pia, &path, &listed).is(303);
    // From the page that was opened before.
    let late = [("version", &*version), ("roles", "clerk"), ("which", "all")];
    house.fill(&pia, &path, &late).is(412).says("somebody else changed it");
    let state = house.app.state();
    assert!(matches!(state.assignment(grant, hugo).unwrap().accounts, Accounts::List(_)));
    let version = house.get(&pia, &path).value("version");
    for (fields, said) in [
        (vec![("which", "all")], "id=\"e-roles\""),
        (vec![("which", "all"), ("roles", "owner")], "id=\"e-roles\""),
        (vec![("which", "list"), ("roles", "clerk"), ("listed", "boat-9")], "id=\"e-accounts\""),
        (vec![("which", "list"), ("roles", "clerk")], "id=\"e-accounts\""),
    ] {
        let mut all = vec![("version", &*version)];
        all.extend(fields);
        let reply = house.fill(&pia, &path, &all);
        assert!(reply.status == 422 || reply.status == 409, "{}", reply.status);
        reply.says(said);
    }
}

#[test]
fn inv16_the_last_one_leaves_only_when_somebody_follows() {
    let house = House::new();
    let grant = house.granted();
    let pia = house.browser("pia@harbor");
    let at = received(&house, grant);
    let (hugo, own) = (house.people["hugo"], house.people["pia"]);
    let remove = |person| format!("{at}/people/{person}/remove");
    house.get(&pia, &remove(own)).is(200).is_silent("Who follows");
    let reply = house.fill(&pia, &remove(own), &[]);
    reply.is(303);
    assert_eq!(reply.said(), "Pia Park can no longer go into Marina Bay.");
    house.get(&pia, &remove(hugo)).is(200).says("Who follows").says("Pia Park");
    house.fill(&pia, &remove(hugo), &[]).is(409).says("Choose who follows.");
    let reply = house.fill(&pia, &remove(hugo), &[("successor", &own.to_string())]);
    reply.is(303);
    assert_eq!(reply.said(), "Hugo Hart can no longer go into Marina Bay. Pia Park can.");
    house.get(&pia, &remove(hugo)).is(404);
}

// -- entering -------------------------------------------------------------------------------------

#[test]
fn n8_r7_act_as_asks_for_a_reason_and_keeps_what_was_typed() {
    let house = House::new();
    let grant = house.granted();
    let hugo = house.browser("hugo@harbor");
    let page = house.get(&hugo, "/console/tenants");
    page.says("Enter: Marina Bay").says("View only: Marina Bay").says("Act as: Marina Bay");
    house
        .get(&hugo, &format!("/console/tenants/{grant}/enter?mode=act_as"))
        .is(200)
        .says("name=\"reason\"")
        .says("Marina Bay itself acts");
    let no = enter(&house, &hugo, grant, &[("mode", "act_as"), ("reason", "  ")]);
    no.is(422).says("is needed to act as the customer").says("value=\"act_as\"");
    assert_eq!(house.app.state().sessions_of(house.people["hugo"]).count(), 0);
    let reply = enter(&house, &hugo, grant, &[("mode", "act_as"), ("reason", PAYLOAD)]);
    reply.is(200).says("as Marina Bay, really Hugo Hart").is_silent("<script>alert");
    // One at a time.
    let again = enter(&house, &hugo, grant, &[("mode", "act_as"), ("reason", "Once more")]);
    again.is(409).says("You are inside already").says("Once more");
    for bad in ["", "owner"] {
        enter(&house, &hugo, grant, &[("mode", bad)]).is(422);
    }
}

#[test]
fn n8_two_stays_are_two_addresses_and_coming_home_ends_one_of_them_at_once() {
    let house = House::new();
    let grant = house.granted();
    let hugo = house.browser("hugo@harbor");
    let first = enter(&house, &hugo, grant, &[("mode", "direct")]);
    let second = enter(&house, &hugo, grant, &[("mode", "view")]);
    let (one, two) = (stay(first.is(200)), stay(second.is(200)));
    assert_ne!(one, two);
    house.get(&hugo, "/console/tenants").says("2 inside").says(&one).says(&two);
    let page = house.get(&hugo, &format!("/console/stay/{one}"));
    page.is(200).says("Direct").says("bookings:write").is_silent("cmt_session_");
    let view = house.get(&hugo, &format!("/console/stay/{two}"));
    view.is(200).says("View only").is_silent("bookings:write");
    assert_eq!(decision(&house, &token(&first)), Reason::Allowed);
    let reply = house.fill(&hugo, &format!("/console/stay/{one}/home"), &[]);
    reply.is(303);
    assert_eq!(reply.to(), "/console/tenants");
    assert_eq!(reply.said(), "You are home. Your stay in Marina Bay has ended.");
    assert_eq!(decision(&house, &token(&first)), Reason::SessionClosed);
    assert_eq!(decision(&house, &token(&second)), Reason::Allowed);
    house.get(&hugo, &format!("/console/stay/{one}")).is(200).says("You came home.");
    let again = house.fill(&hugo, &format!("/console/stay/{one}/home"), &[]);
    assert!(again.said().ends_with("was over already."));
    house.get(&hugo, "/console/tenants").is(200).says("1 inside");
}

#[test]
fn t12_somebody_elses_stay_is_not_there() {
    let house = House::new();
    let grant = house.granted();
    let hugo = house.browser("hugo@harbor");
    let reply = enter(&house, &hugo, grant, &[("mode", "direct")]);
    let id = stay(&reply);
    for who in ["pia@harbor", "ana@marina", "eve@elsewhere"] {
        let browser = house.browser(who);
        let nothing = SessionId(7);
        let missing = house.get(&browser, &format!("/console/stay/{nothing}"));
        for path in [format!("/console/stay/{id}"), format!("/console/stay/{id}/live")] {
            let theirs = house.get(&browser, &path);
            assert_eq!((theirs.status, &theirs.text), (404, &missing.text), "{who} {path}");
        }
        house.fill(&browser, &format!("/console/stay/{id}/home"), &[]).is(404);
    }
    assert_eq!(decision(&house, &token(&reply)), Reason::Allowed);
    let thief = Browser { cookie: format!("__Host-comity={}", token(&reply)) };
    house.get(&thief, "/console/tenants").is(303); // a stay's token opens no page (T8)
}

#[test]
fn who_has_only_ever_asked_lands_on_what_it_asked() {
    let house = House::new();
    let (pia, ana) = (house.browser("pia@harbor"), house.browser("ana@marina"));
    let lands = |who: &Browser, org: &str| {
        house.get(who, &format!("/console/o/{}", house.org(org))).is(303).to().to_owned()
    };
    assert!(lands(&pia, "harbor").ends_with("/access/pending"), "it is nothing yet");
    house.granted();
    assert_eq!(lands(&pia, "harbor"), asking(&house));
    assert!(lands(&ana, "marina").ends_with("/access/pending"));
}

#[test]
fn where_nobody_goes_yet_somebody_is_let_in_from_the_list() {
    let house = House::new();
    let clerk = house.app.state().role_by_code(house.org("marina"), "clerk").unwrap();
    let grant = house.approve_only(house.ask("Winter storage", 30), &[clerk]);
    let list = format!("/console/o/{}/grants-received", house.org("harbor"));
    let add = format!("{}/people/new", received(&house, grant));
    let pia = house.browser("pia@harbor");
    house.get(&pia, &list).says(&add).says("nobody yet");
    let person = house.people["hugo"];
    let spec =
        AssignmentSpec { person, roles: vec![clerk], accounts: Accounts::All, ends_at: None };
    house.run(&house.caller("pia@harbor"), Command::Assign { grant, spec });
    house.get(&pia, &list).is_silent(&add).says("Manage access");
}

#[test]
fn r14_a_page_that_waits_is_told_that_the_stay_is_over_and_coming_home_says_why() {
    let house = House::new();
    let grant = house.granted();
    let hugo = house.browser("hugo@harbor");
    let begun = enter(&house, &hugo, grant, &[("mode", "direct")]);
    let id = stay(begun.is(200));
    // Never a reload: this page is the answer to a form.
    begun.says(&format!("data-ends=\"/console/stay/{id}\""));
    begun.says(&format!("data-over=\"/console/stay/{id}\""));
    let live = || house.get(&hugo, &format!("/console/stay/{id}/live")).text;
    assert!(live().ends_with("\"over\":false}"), "{}", live());
    house.run(&house.caller("ana@marina"), Command::Revoke { grant });
    assert!(live().ends_with("\"over\":true}"), "{}", live());
    let home = house.fill(&hugo, &format!("/console/stay/{id}/home"), &[]);
    let said = home.is(303).said();
    assert!(
        said.ends_with("was over already. Marina Bay revoked the access of your organisation.")
    );
}

#[test]
fn r14_r19_what_ended_a_stay_is_said_and_what_to_do() {
    let house = House::new();
    let grant = house.granted();
    let hugo = house.browser("hugo@harbor");
    let ana = house.caller("ana@marina");
    let begin = || stay(enter(&house, &hugo, grant, &[("mode", "direct")]).is(200));
    let page = |id: &str| house.get(&hugo, &format!("/console/stay/{id}"));
    let live = |id: &str| house.get(&hugo, &format!("/console/stay/{id}/live")).text;

    let ended = begin();
    let before = live(&ended);
    assert_eq!(live(&ended), before);
    house.run(&ana, Command::EndSession { session: ended.parse().unwrap() });
    assert_ne!(live(&ended), before);
    page(&ended).is(200).says("Marina Bay ended this stay.").says("Enter again");

    let expired = begin();
    house.wait(14 * MINUTE);
    page(&expired).is(200).says("You are in Marina Bay");
    for _ in 0..36 {
        house.wait(14 * MINUTE);
        house.get(&hugo, "/console/tenants");
    }
    let hugo = house.browser("hugo@harbor");
    house.get(&hugo, &format!("/console/stay/{expired}")).is(200).says("Its time ran out.");

    let off = stay(enter(&house, &hugo, grant, &[("mode", "direct")]).is(200));
    let (person, pia) = (house.people["hugo"], house.caller("pia@harbor"));
    house.run(&pia, Command::Unassign { grant, person, successor: None });
    let page = house.get(&hugo, &format!("/console/stay/{off}"));
    page.is(200).says("no longer on this access").says("Customers I may enter");
    enter(&house, &hugo, grant, &[("mode", "direct")]).is(404);
    let clerk = house.app.state().role_by_code(house.org("marina"), "clerk").unwrap();
    let spec =
        AssignmentSpec { person, roles: vec![clerk], accounts: Accounts::All, ends_at: None };
    house.run(&pia, Command::Assign { grant, spec });

    let revoked = stay(enter(&house, &hugo, grant, &[("mode", "direct")]).is(200));
    house.run(&house.caller("ana@marina"), Command::Revoke { grant });
    let page = house.get(&hugo, &format!("/console/stay/{revoked}"));
    page.is(200).says("revoked the access of your organisation").is_silent("Enter again");
    house.get(&hugo, "/console/tenants").says("There is no customer that you may enter");
    house.wait(2 * DAY);
    house.run(&house.caller("ana@marina"), Command::SignOut); // a row later than a day retires it
    let hugo = house.browser("hugo@harbor");
    house.get(&hugo, &format!("/console/stay/{revoked}")).is(404);
}

#[test]
fn n8_a_person_chooses_the_application_where_there_are_several() {
    let house = House::new();
    let grant = house.granted();
    house.application("yard", "https://yard.example", &["bookings:read"], None);
    house.application("money", "https://money.example", &["payments:*"], None);
    let hugo = house.browser("hugo@harbor");
    let page = house.get(&hugo, &format!("/console/tenants/{grant}/enter?mode=direct"));
    page.is(200).says("value=\"boats\"").says("value=\"yard\"").is_silent("value=\"money\"");
    enter(&house, &hugo, grant, &[("mode", "direct")]).is(422).says("id=\"e-application\"");
    enter(&house, &hugo, grant, &[("mode", "direct"), ("application", "money")]).is(422);
    let reply = enter(&house, &hugo, grant, &[("mode", "direct"), ("application", "yard")]);
    reply.is(200).says("Token for yard");
    assert_eq!(decision(&house, &token(&reply)), Reason::SessionUnknown, "it is not for boats");
}

#[test]
fn t9_the_token_is_handed_over_by_a_form_to_the_launch_address_and_to_nothing_else() {
    let house = House::new();
    let grant = house.granted();
    house.application("boats", AUDIENCE, &["*"], Some("https://boats.example:8443/enter?a=1"));
    let hugo = house.browser("hugo@harbor");
    let reply = enter(&house, &hugo, grant, &[("mode", "direct")]);
    reply.is(200).says("action=\"https://boats.example:8443/enter?a=1\" data-launch");
    reply.says("name=\"access_token\" value=\"cmt_session_").says("name=\"return_to\"");
    let policy = reply.header(axum::http::header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains("form-action 'self' https://boats.example:8443;"), "{policy}");
    assert_eq!(reply.header(axum::http::header::CACHE_CONTROL), "no-store");
    assert_eq!(decision(&house, &token(&reply)), Reason::Allowed);
    let page = house.get(&hugo, &format!("/console/stay/{}", stay(&reply)));
    page.is(200).is_silent("cmt_session_").is_silent("data-launch");
    let policy = page.header(axum::http::header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains("form-action 'self';"), "{policy}");
}

#[test]
fn n8_many_customers_are_searched() {
    let house = House::new();
    house.granted();
    let hugo = house.browser("hugo@harbor");
    house.get(&hugo, "/console/tenants").is(200).is_silent("role=\"search\"");
    for _ in 0..10 {
        house.wait(MINUTE);
        house.granted();
    }
    let hugo = house.browser("hugo@harbor");
    house.get(&hugo, "/console/tenants").says("role=\"search\"");
    house.get(&hugo, "/console/tenants?q=MARINA").says("Enter: Marina Bay");
    house.get(&hugo, "/console/tenants?q=nobody").says("No customer of this name");
}

#[test]
fn n8_every_page_offers_to_switch_tenant_the_own_organisations_first() {
    let house = House::new();
    let grant = house.granted();
    let hugo = house.browser("hugo@harbor");
    let menu = |page: &str| {
        let menu = page.split_once("Switch tenant</li>").unwrap().1;
        menu.split_once("class=\"rule\"").unwrap().0.to_owned()
    };
    let shown = menu(&house.get(&hugo, "/console/tenants").text);
    let home = shown.find("Harbor Help").unwrap();
    let enter = format!("action=\"/console/tenants/{grant}/enter\"");
    assert!(shown.find(&enter).unwrap() > home, "{shown}");
    assert_eq!(shown.matches("<form").count(), 1, "one line for the one live grant: {shown}");
    // What it leads to.
    let stay = enter_by_menu(&house, &hugo, grant);
    assert!(menu(&house.get(&hugo, &format!("/console/stay/{stay}")).text).contains("1 inside"));
    // Whoever is on no grant sees nobody's, and an ended grant is gone from it.
    let boss = house.browser("ana@marina");
    assert!(!house.get(&boss, "/console/tenants").text.contains(&enter));
    house.run(&house.caller("ana@marina"), Command::Revoke { grant });
    assert!(!menu(&house.get(&hugo, "/console/tenants").text).contains("<form"));
    // Of many, the first by name, and the way to all.
    for _ in 0..9 {
        house.wait(MINUTE);
        house.granted();
    }
    let hugo = house.browser("hugo@harbor");
    let shown = menu(&house.get(&hugo, "/console/tenants").text);
    assert_eq!(shown.matches("<form").count(), 7);
    assert!(shown.contains("Search all 9 customers"), "{shown}");
}

fn enter_by_menu(house: &House, browser: &Browser, grant: GrantId) -> String {
    stay(&enter(house, browser, grant, &[("mode", "direct")]))
}

#[test]
fn r14_who_works_in_a_customer_comes_home_without_a_new_sign_in() {
    let house = House::new();
    let grant = house.granted();
    let hugo = house.browser("hugo@harbor");
    let kept = hugo.clone();
    let stay = enter_by_menu(&house, &hugo, grant);
    let own = format!("/console/stay/{stay}");
    // Nothing of the console is used; the stay lasts an hour.
    house.wait(50 * MINUTE);
    house.get(&hugo, &own).is(200);
    house.fill(&hugo, &format!("{own}/home"), &[]).is(303);
    // From its end on it is as idle as any other.
    house.wait(14 * MINUTE);
    house.get(&kept, "/console/tenants").is(200);
    house.wait(2 * MINUTE);
    house.get(&kept, "/console/tenants").is(303);
    // A stay that began when the cookie was idle already brings it back no more.
    let hugo = house.browser("hugo@harbor");
    house.wait(16 * MINUTE);
    house.get(&hugo, "/console/tenants").is(303);
    house.enter("hugo@harbor", comity_domain::role::Mode::Direct, None);
    house.get(&hugo, "/console/tenants").is(303);
    // One that runs out holds it until a quarter of an hour later.
    let hugo = house.browser("hugo@harbor");
    enter_by_menu(&house, &hugo, grant);
    house.wait(74 * MINUTE);
    house.get(&hugo, "/console/tenants").is(200);
    house.wait(2 * MINUTE);
    house.get(&hugo, "/console/tenants").is(303);
}

#[test]
fn t12_whoever_is_not_on_a_grant_is_not_named_by_its_form() {
    let house = House::new();
    let grant = house.granted();
    let pia = house.browser("pia@harbor");
    let at = |person: &str| format!("{}/people/{person}", received(&house, grant));
    let fields = [("which", "all"), ("ends_at", "x")];
    let stranger = house.people["eve"].to_string();
    let foreign = house.fill(&pia, &at(&stranger), &fields);
    let none = house.fill(&pia, &at("per_01kf4e9ab7c3x8m2v5r6t0w1yz"), &fields);
    assert_eq!(foreign.is(404).text, none.is(404).text);
}
