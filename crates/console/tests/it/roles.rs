//! The page of roles: who sees it, and what defining, changing and deleting say and do.

use comity_domain::role::Mode;

use crate::house::{Browser, House};

/// What somebody might type to break a page (T3, T41, T42).
const BAD: [&str; 3] =
    ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "</textarea><b>x</b>"];

fn at(house: &House) -> String {
    format!("/console/o/{}/roles", house.org("marina"))
}

#[test]
fn r10_roles_are_shown_to_members_with_a_portal_role_and_are_not_there_for_others() {
    let house = House::new();
    house.granted();
    let path = at(&house);
    let page = house.get(&house.browser("ana@marina"), &path);
    page.is(200).says("Clerk").says("bookings:write").says("New version").says("Define a role");
    let support = house.get(&house.browser("sam@marina"), &path);
    support.is(200).says("Clerk").is_silent("New version").is_silent("Define a role");
    // No portal role, no tie, or no such organisation.
    house.get(&house.browser("max@marina"), &path).is(403);
    let eve = house.browser("eve@elsewhere");
    let foreign = house.get(&eve, &path);
    let missing = house.get(&eve, "/console/o/org_00000000000000000000000007/roles");
    let nonsense = house.get(&eve, "/console/o/nobody/roles");
    foreign.is(404);
    assert_eq!(foreign.text, missing.text);
    assert_eq!(foreign.text, nonsense.text);
    let key = Browser { cookie: format!("__Host-comity={}", house.decide) };
    house.get(&key, &path).is(303);
    let (_, session) = house.enter("hugo@harbor", Mode::Direct, None);
    let inside = Browser { cookie: format!("__Host-comity={}", session.reveal()) };
    house.get(&inside, &path).is(303);
}

#[test]
fn r18_a_role_is_defined_and_what_was_typed_stays_when_it_is_wrong() {
    let house = House::new();
    let (path, ana) = (at(&house), house.browser("ana@marina"));
    let new = format!("{path}/new");
    let typed = |permissions| {
        let fields = [("code", "skipper"), ("name", "Skipper"), ("permissions", permissions)];
        house.fill(&ana, &new, &fields)
    };
    let page = typed("boats:read\nBoats");
    page.is(422)
        .says("&#34;Boats&#34; is not resource:verb")
        .says("value=\"skipper\"")
        .says("boats:read");
    page.says("aria-invalid=\"true\"");
    typed("").is(422).says("It must hold at least one entry.");
    let done = typed("boats:read, boats:move\nboats:*");
    assert_eq!(done.is(303).to(), path);
    assert_eq!(done.said(), "The role Skipper is defined. Give it by approving a request.");
    house.get(&ana, &path).says("Skipper").says("<code>boats:*</code>");
    // The same code again is no new version by the way.
    typed("boats:read").is(422).says("It is taken by another role.");
    let refused = house.fill(
        &house.browser("sam@marina"),
        &new,
        &[("code", "x"), ("name", "X"), ("permissions", "a:b")],
    );
    refused.is(403);
    for bad in BAD {
        let page = house.fill(&ana, &new, &[("code", bad), ("name", bad), ("permissions", bad)]);
        page.is(422).is_silent(bad);
    }
}

#[test]
fn r18_a_new_version_says_what_it_adds_and_takes_before_it_is_saved() {
    let house = House::new();
    house.granted();
    let (path, ana) = (at(&house), house.browser("ana@marina"));
    let role = house.app.state().role_by_code(house.org("marina"), "clerk").unwrap();
    let change = format!("{path}/{role}/version");
    let page = house.get(&ana, &change);
    page.is(200).says("bookings:read\nbookings:write</textarea>");
    let version = page.value("version");
    let typed = |reviewed: &str, permissions: &str, version: &str| {
        let fields = [
            ("name", "Clerk"),
            ("permissions", permissions),
            ("version", version),
            ("reviewed", reviewed),
        ];
        house.fill(&ana, &change, &fields)
    };
    let look = typed("", "bookings:read\nboats:move", &version);
    look.is(200)
        .says("What version 2 changes")
        .says("<code>boats:move</code>")
        .says("<code>bookings:write</code>");
    look.says("This does not reach the 1 grant that has the role now")
        .says("This stops at once in the 1 grant");
    let newest = || house.app.state().roles.get(role).unwrap().newest();
    assert_eq!(newest(), 1, "looking changes nothing");
    let reviewed = look.value("reviewed");
    // What was not looked at is not saved.
    typed(&reviewed, "*", &version).is(200).says("<code>*</code>");
    assert_eq!(newest(), 1);
    // Somebody else was quicker: nothing is lost, and the page compares with what is there now.
    house.role("clerk", "Clerk", &["bookings:read", "bookings:list"]);
    let late = typed(&reviewed, "bookings:read\nboats:move", &version);
    late.is(412)
        .says("Someone changed it since you looked")
        .says("boats:move")
        .says("What version 3 changes");
    let done = typed(&late.value("reviewed"), "bookings:read boats:move", &late.value("version"));
    assert_eq!(done.is(303).said(), "Version 3 of Clerk is saved.");
    assert_eq!(newest(), 3);
    house
        .fill(&house.browser("sam@marina"), &change, &[("name", "x"), ("permissions", "a:b")])
        .is(403);
    house
        .fill(&house.browser("eve@elsewhere"), &change, &[("name", "x"), ("permissions", "a:b")])
        .is(404);
}

#[test]
fn r18_deleting_a_role_says_what_ends_and_ends_it() {
    let house = House::new();
    house.granted();
    let (session, _) = house.enter("hugo@harbor", Mode::Direct, None);
    let (path, ana) = (at(&house), house.browser("ana@marina"));
    let role = house.app.state().role_by_code(house.org("marina"), "clerk").unwrap();
    let delete = format!("{path}/{role}/delete");
    let page = house.get(&ana, &delete);
    page.is(200).says("Delete the role Clerk?").says("1 grant loses it: Harbor Help");
    page.says("1 of them has no other role").says("1 session that runs now ends at once");
    house
        .fill(&house.browser("sam@marina"), &delete, &[("version", &page.value("version"))])
        .is(403);
    let stale = house.fill(&ana, &delete, &[("version", "another")]);
    stale.is(412).says("Someone changed it");
    let done = house.fill(&ana, &delete, &[("version", &page.value("version"))]);
    assert_eq!(done.is(303).said(), "The role Clerk is deleted. It permits nothing any more.");
    assert!(!house.app.state().sessions.get(session).unwrap().is_active(house.now()));
    house.get(&ana, &path).says("There are no roles yet");
    house.get(&ana, &delete).is(404);
}
