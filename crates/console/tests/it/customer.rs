//! Partner Access as its customer sees it: who asks, what is given, who is in, and how it stops.

use comity_domain::command::{Caller, Command, PutMember};
use comity_domain::ids::{GrantId, RequestId};
use comity_domain::organisation::Accounts;
use comity_domain::person::PortalRole;
use comity_domain::request::{RequestPhase, RequestState};
use comity_domain::role::Mode;

use crate::house::{Browser, House, Reply};

/// What somebody might type to break a page (T3, T41, T42).
const BAD: [&str; 4] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "</textarea><b>x</b>",
    "javascript:alert('1')",
];
/// How these come out in a page.
const MEANT: [&str; 4] = ["<script>alert", "<img src=x", "</textarea><b>x", "alert('1')"];

fn at(house: &House, tail: &str) -> String {
    format!("/console/o/{}/{tail}", house.org("marina"))
}

fn request_at(house: &House, id: RequestId, tail: &str) -> String {
    at(house, &format!("requests/{id}{tail}"))
}

fn grant_at(house: &House, id: GrantId, tail: &str) -> String {
    at(house, &format!("grants/{id}{tail}"))
}

/// Terms as the form sends them.
const TERMS: [(&str, &str); 8] = [
    ("chosen", "yes"),
    ("roles", "clerk"),
    ("which", "list"),
    ("accounts", "boat-1"),
    ("modes", "direct"),
    ("modes", "view"),
    ("days", "14"),
    ("session_minutes", "45"),
];

fn shown(house: &House, browser: &Browser, id: RequestId) -> Reply {
    let query = serde_html_form::to_string(TERMS).unwrap();
    house.get(browser, &request_at(house, id, &format!("/approve?{query}")))
}

fn approve(house: &House, browser: &Browser, id: RequestId, page: &Reply) -> Reply {
    let (summary, was) = (page.value("summary"), page.value("was"));
    let mut fields = TERMS.to_vec();
    fields.extend([("summary", &*summary), ("was", &*was)]);
    house.fill(browser, &request_at(house, id, "/approve"), &fields)
}

fn is_pending(house: &House, id: RequestId) -> bool {
    let state = house.app.state();
    state.requests.get(id).unwrap().phase(house.now()) == RequestPhase::Pending
}

// -- who may look, who may act --------------------------------------------------------------------

/// Every page about one request, grant and lock that only those who decide may open.
fn dialogs(house: &House, request: RequestId, grant: GrantId) -> Vec<String> {
    let (session, _) = house.enter("hugo@harbor", Mode::Direct, None);
    vec![
        request_at(house, request, "/approve"),
        request_at(house, request, "/deny"),
        grant_at(house, grant, "/revoke"),
        grant_at(house, grant, "/narrow"),
        grant_at(house, grant, "/confirm"),
        grant_at(house, grant, &format!("/sessions/{session}/end")),
        at(house, &format!("locks/new?organisation={}", house.org("harbor"))),
        at(house, "access/rotate"),
    ]
}

#[test]
fn r17_support_reads_everything_and_acts_on_nothing() {
    let house = House::new();
    let grant = house.granted();
    let request = house.ask("Winter storage", 30);
    let sam = house.browser("sam@marina");
    let pending = house.get(&sam, &at(&house, "access/pending"));
    pending.is(200).says("Harbor Help").is_silent("Approve").is_silent("Customer ID");
    let code = house.app.customer_id(house.org("marina")).unwrap();
    pending.is_silent(&code);
    let active = house.get(&sam, &at(&house, "access/active"));
    active.is(200).says("Harbor Help").is_silent("Revoke").is_silent("Report and lock");
    house.get(&sam, &request_at(&house, request, "")).is(200).is_silent("/approve");
    house.get(&sam, &grant_at(&house, grant, "")).is(200).is_silent("/revoke");
    for path in dialogs(&house, request, grant) {
        house.get(&sam, &path).is(403);
        let path = path.split('?').next().unwrap().to_owned();
        let harbor = house.org("harbor").to_string();
        let fields = [("organisation", &*harbor)];
        house.fill(&sam, &path, if path.ends_with("new") { &fields } else { &[] }).is(403);
    }
    assert!(is_pending(&house, request));
    assert_eq!(house.app.state().sessions_under(grant).count(), 1);
}

#[test]
fn t1_what_is_another_customers_looks_like_what_is_not_there() {
    let house = House::new();
    let grant = house.granted();
    let request = house.ask("Winter storage", 30);
    let eve = house.browser("eve@elsewhere");
    let missing = house.get(&eve, "/console/o/org_00000000000000000000000007/access/pending");
    missing.is(404);
    let mut paths = dialogs(&house, request, grant);
    paths.extend(["access/pending", "access/active", "access/live"].map(|t| at(&house, t)));
    paths.extend([request_at(&house, request, ""), grant_at(&house, grant, "")]);
    for path in paths {
        let foreign = house.get(&eve, &path);
        assert_eq!((foreign.status, &foreign.text), (404, &missing.text), "{path}");
        // The same things under an organisation of her own are not there either.
        let own =
            path.replace(&house.org("marina").to_string(), &house.org("elsewhere").to_string());
        if own.contains("/requests/") || own.contains("/grants/") || own.contains("/locks/") {
            let own = house.get(&eve, &own);
            assert_eq!((own.status, &own.text), (404, &missing.text), "{path}");
        }
    }
    // The partner's own people stand on no customer's side.
    house.get(&house.browser("pia@harbor"), &request_at(&house, request, "")).is(404);
    house.get(&house.browser("max@marina"), &at(&house, "access/pending")).is(403);
    let key = Browser { cookie: format!("__Host-comity={}", house.decide) };
    house.get(&key, &at(&house, "access/active")).is(303);
    let (_, token) = house.enter("hugo@harbor", Mode::View, None);
    let inside = Browser { cookie: format!("__Host-comity={}", token.reveal()) };
    house.get(&inside, &at(&house, "access/active")).is(303);
}

// -- pending --------------------------------------------------------------------------------------

#[test]
fn r3_r8_pending_shows_who_asks_for_what_and_counts_it() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let path = at(&house, "access/pending");
    house.get(&ana, &path).is(200).says("No partner is asking").says("Give it your Customer ID");
    let request = house.ask("Winter storage", 30);
    let page = house.get(&ana, &path);
    page.says("Harbor Help").says("Pia Park").says("pia@harbor.example");
    page.says("Unverified domain").says("<span class=\"badge primary\">Partner</span>");
    page.says("Asks to act as you").says("Winter storage").says("Ticket T-17").says("clerk");
    page.says("30 days").says("expires in 30 days");
    page.says("Pending Requests <span class=\"count\">(<span data-count=\"pending\">1</span>)");
    let live = house.get(&ana, &at(&house, "access/live"));
    live.is(200).says("\"pending\":1").says("\"active\":0").says("\"inside\":0");
    // It counts until the very instant at which it expires.
    house.wait(30 * 24 * 3_600_000);
    let ana = house.browser("ana@marina");
    house.get(&ana, &path).says("No partner is asking").is_silent("Winter storage");
    house.get(&ana, &at(&house, "access/live")).says("\"pending\":0");
    house.get(&ana, &request_at(&house, request, "")).is(200).says("Expired").is_silent("/approve");
}

#[test]
fn r3_the_version_of_the_lists_changes_with_them_and_with_nothing_else() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let version = || {
        let text = house.get(&ana, &at(&house, "access/live")).text;
        text.split_once("\"version\":\"").unwrap().1.split('"').next().unwrap().to_owned()
    };
    let empty = version();
    assert_eq!(empty, version());
    house.ask("Winter storage", 30);
    assert_ne!(empty, version());
}

#[test]
fn r1_the_customer_id_is_shown_to_admins_and_rotated_by_a_fresh_sign_in() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let code = || house.app.customer_id(house.org("marina")).unwrap();
    let old = code();
    house.get(&ana, &at(&house, "access/pending")).says(&old).says("It lets nobody in.");
    let path = at(&house, "access/rotate");
    house.get(&ana, &path).is(200).says("finds nothing any more");
    house.wait_until_stale();
    assert!(house.get(&ana, &path).is(303).to().starts_with("/console/step-up?back="));
    assert!(house.fill(&ana, &path, &[]).is(303).to().starts_with("/console/step-up?back="));
    assert_eq!(code(), old);
    let ana = house.browser("ana@marina");
    let done = house.fill(&ana, &path, &[]);
    done.is(303);
    assert!(done.said().starts_with("Rotated."), "{}", done.said());
    assert_ne!(code(), old);
    house.get(&ana, &at(&house, "access/pending")).says(&code()).is_silent(&old);
}

#[test]
fn t42_what_strangers_typed_comes_out_as_text() {
    let house = House::new();
    // Names as well: the company's is the title of most dialogs.
    let (external, name) = ("harbor".to_owned(), "<i>Harbor</i> & \"Help\"".to_owned());
    let code = house.app.fresh_code();
    house.run(&house.provisioner, Command::PutOrganisation { external, name, code });
    let grant = house.granted();
    let ana = house.browser("ana@marina");
    let harbor = house.org("harbor");
    for path in [
        at(&house, "access/active"),
        grant_at(&house, grant, ""),
        grant_at(&house, grant, "/revoke"),
        grant_at(&house, grant, "/narrow"),
        at(&house, &format!("locks/new?organisation={harbor}")),
    ] {
        house.get(&ana, &path).is(200).says("&#60;i&#62;Harbor").is_silent("<i>");
    }
    for (bad, meant) in BAD.iter().zip(MEANT) {
        let request = house.ask(bad, 30);
        for path in [
            at(&house, "access/pending"),
            request_at(&house, request, ""),
            request_at(&house, request, "/approve"),
            request_at(&house, request, "/deny"),
        ] {
            house.get(&ana, &path).is(200).is_silent(meant);
        }
        let deny = request_at(&house, request, "/deny");
        let long = format!("{bad}{}", "x".repeat(1_000));
        let again = house.fill(&ana, &deny, &[("reason", &long), ("message", bad)]);
        again.is(422).is_silent(meant);
        // Taken back, so that it may ask once more: a denial counts against it.
        if bad == BAD.last().unwrap() {
            house.fill(&ana, &deny, &[("reason", bad), ("message", bad)]).is(303);
            house.get(&ana, &request_at(&house, request, "")).is_silent(meant);
        } else {
            let harbor = house.org("harbor").to_string();
            let lock = [("organisation", &*harbor), ("reason", bad)];
            house.fill(&ana, &at(&house, "locks/new"), &lock).is(303);
            house.get(&ana, &at(&house, "access/active")).says("Locked out").is_silent(meant);
            let state = house.app.state();
            let (lock, _) = state.locks_of(house.org("marina")).next().unwrap();
            house.fill(&ana, &at(&house, &format!("locks/{lock}/unlock")), &[]).is(303);
        }
    }
}

// -- denying --------------------------------------------------------------------------------------

#[test]
fn r11_a_denial_has_a_reason_for_us_and_a_message_for_them() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let request = house.ask("Winter storage", 30);
    let path = request_at(&house, request, "/deny");
    let page = house.get(&ana, &path);
    page.says("Read by people of Marina Bay only").says("Read by Harbor Help");
    // What was typed stays where it is too long.
    let long = "x".repeat(1_001);
    let page = house.fill(&ana, &path, &[("reason", &long), ("message", "Ask the desk")]);
    page.is(422).says(&long).says("Ask the desk").says("aria-invalid=\"true\"");
    assert!(is_pending(&house, request));
    let fields = [("reason", "Nobody knows them"), ("message", "Ask the desk")];
    let done = house.fill(&ana, &path, &fields);
    assert_eq!(done.is(303).said(), "Denied. Harbor Help is told that you said no.");
    let page = house.get(&ana, &request_at(&house, request, ""));
    page.says("Reason, for us only: Nobody knows them").says("Ask the desk").says("Denied");
    // Sent twice: readable, and nothing changes.
    house.fill(&ana, &path, &fields).is(409).says("It is denied");
    // The next request of the same partner shows it.
    let next = house.ask("Please", 30);
    house.get(&ana, &request_at(&house, next, "")).says("Nobody knows them");
}

// -- approving ------------------------------------------------------------------------------------

#[test]
fn r9_approve_says_in_words_what_is_given_and_gives_exactly_that() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let request = house.ask("Winter storage", 30);
    let first = house.get(&ana, &request_at(&house, request, "/approve"));
    first.is(200).says("all accounts, also those made later").says("30 days later");
    first.says("They may act as Marina Bay itself");
    let page = shown(&house, &ana, request);
    page.is(200).says("With this role: Clerk (bookings:read, bookings:write).");
    page.says("On only the account Account boat-1 (boat-1).").says("14 days later");
    page.says("They may not act as Marina Bay.").says("Each stay lasts at most 45 minutes.");
    let done = approve(&house, &ana, request, &page);
    assert_eq!(done.is(303).to(), at(&house, "access/active"));
    let said = done.said();
    assert_eq!(said, "Approved. People of Harbor Help may enter until 15 Jan 2026, 00:00 UTC.");
    let state = house.app.state();
    let RequestState::Approved { grant, .. } = state.requests.get(request).unwrap().state else {
        panic!("not approved")
    };
    let grant_is = state.grants.get(grant).unwrap();
    assert_eq!(grant_is.summary.to_string(), page.value("summary"));
    assert!(matches!(&grant_is.accounts, Accounts::List(list) if list.len() == 1));
    assert!(!grant_is.modes.contains(Mode::ActAs));
    // Sent twice: said so, and given once.
    let again = approve(&house, &ana, request, &page);
    assert!(again.is(303).said().contains("already"), "{}", again.said());
    assert_eq!(house.app.state().grants_by(house.org("marina")).count(), 1);
    // With other terms it is no repetition.
    let (summary, was) = ("0".repeat(64), String::new());
    let mut fields = TERMS.to_vec();
    fields.extend([("summary", &*summary), ("was", &*was)]);
    house.fill(&ana, &request_at(&house, request, "/approve"), &fields).is(409).says("approved");
}

#[test]
fn r9_what_changed_since_it_was_shown_is_not_given_but_shown_anew() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let request = house.ask("Winter storage", 30);
    let page = shown(&house, &ana, request);
    house.role("clerk", "Clerk", &["bookings:read", "bookings:write", "money:send"]);
    let again = approve(&house, &ana, request, &page);
    again.is(409).says("Nothing was given").says("money:send");
    again.says("<strong>Different now:</strong> With this role: Clerk");
    assert_eq!(again.text.matches("Different now").count(), 1);
    assert!(is_pending(&house, request));
    // The page holds the terms that were chosen, and what it shows now can be approved.
    again.says("value=\"14\"").says("value=\"45\"");
    approve(&house, &ana, request, &again).is(303);
    assert!(!is_pending(&house, request));
}

#[test]
fn r9_a_name_that_was_read_is_covered_by_the_hash() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let request = house.ask("Winter storage", 30);
    let page = shown(&house, &ana, request);
    let (organisation, external) = (house.org("marina"), "boat-1".to_owned());
    let name = "The yacht".to_owned();
    house.run(&house.provisioner, Command::PutAccount { organisation, external, name, unit: None });
    approve(&house, &ana, request, &page).is(409).says("only the account The yacht (boat-1)");
    assert!(is_pending(&house, request));
}

#[test]
fn r9_terms_other_than_those_shown_are_not_given() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let request = house.ask("Winter storage", 30);
    let path = request_at(&house, request, "/approve");
    let page = shown(&house, &ana, request);
    let (summary, was) = (page.value("summary"), page.value("was"));
    let mut wider = TERMS.to_vec();
    wider.extend([("modes", "act_as"), ("summary", &*summary), ("was", &*was)]);
    house.fill(&ana, &path, &wider).is(409).says("They may act as Marina Bay itself");
    // Nothing shown, nothing given.
    house.fill(&ana, &path, &TERMS).is(409);
    assert!(is_pending(&house, request));
}

#[test]
fn r7_an_approver_narrows_and_never_widens_and_what_was_typed_stays() {
    let house = House::new();
    house.role("boss", "Boss", &["*:*"]);
    let ana = house.browser("ana@marina");
    let request = house.ask("Winter storage", 30);
    let path = request_at(&house, request, "/approve");
    house.get(&ana, &path).is_silent("Boss");
    let ask = |changes: &[(&str, &str)]| {
        let kept = TERMS.iter().filter(|(n, _)| changes.iter().all(|(c, _)| c != n));
        let all: Vec<_> = kept.chain(changes).collect();
        house.get(&ana, &format!("{path}?{}", serde_html_form::to_string(all).unwrap()))
    };
    // Asking is answered: with what is wrong, and with nothing to approve.
    let wrong = |changes: &[(&str, &str)], why: &str| {
        let page = ask(changes);
        page.is(200).says(why).is_silent("name=\"summary\"").is_silent("formmethod");
        page
    };
    wrong(&[("roles", "boss")], "This is more than may be given here.");
    wrong(&[("days", "31")], "This is more than may be given here.").says("value=\"31\"");
    wrong(&[("days", "731")], "must be from 1 to");
    wrong(&[("days", "soon")], "It must be a whole number.").says("value=\"soon\"");
    wrong(&[("days", "soon")], "For how many days: it must be a whole number.");
    wrong(&[("session_minutes", "4")], "It must be from 5 to 60.");
    wrong(&[("accounts", "yacht")], "which is no account there");
    wrong(&[("starts_at", "2025-12-31T00:00")], "must lie between now and a year");
    wrong(&[("modes", "root")], "a mode that there is not");
    ask(&[("starts_at", "2026-02-01T10:00")]).is(200).says("It starts on 1 Feb 2026, 10:00 UTC");
    house.get(&ana, &format!("{path}?chosen=yes&which=all&days=5")).is(200).says("at least one");
    house.get(&ana, &format!("{path}?surprise=1")).is(422);
    // Sending is refused, and what was chosen stays.
    let mut wider = TERMS.to_vec();
    wider.retain(|(name, _)| *name != "days");
    wider.push(("days", "31"));
    house.fill(&ana, &path, &wider).is(409).says("value=\"31\"").says("aria-invalid=\"true\"");
    assert!(is_pending(&house, request));
}

#[test]
fn t6_r9_who_may_not_approve_is_told_why_before_anything_is_chosen() {
    let house = House::new();
    let request = house.ask("Winter storage", 30);
    let path = request_at(&house, request, "/approve");
    let ana = house.browser("ana@marina");
    // An old sign-in leads to a new one, and back with what was chosen.
    house.wait_until_stale();
    let to = house.get(&ana, &path).is(303).to().to_owned();
    assert!(to.starts_with("/console/step-up?back="), "{to}");
    let sent = house.fill(&ana, &path, &TERMS);
    assert!(
        sent.is(303).to().contains("days%253D14") || sent.to().contains("days%3D14"),
        "{}",
        sent.to()
    );
    // On both sides: a readable page, and no form.
    house.run(
        &house.provisioner,
        Command::PutMember(PutMember {
            organisation: house.org("harbor"),
            external: "ana-too".into(),
            name: "Ana Alvarez".into(),
            email: "ana@marina.example".into(),
            email_verified: true,
            unit: None,
            portal: Some(PortalRole::Admin),
            active: true,
            roles: None,
        }),
    );
    let ana = house.browser("ana@marina");
    let page = house.get(&ana, &path);
    page.is(403)
        .says("Somebody else of the customer must decide")
        .is_silent("<form method=\"get\"");
    house.fill(&ana, &path, &TERMS).is(403).says("Somebody else of the customer must decide");
    assert!(is_pending(&house, request));
}

// -- active ---------------------------------------------------------------------------------------

#[test]
fn r4_active_access_shows_each_grant_and_counts_partners() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let path = at(&house, "access/active");
    house.get(&ana, &path).is(200).says("No partner has access");
    let first = house.granted();
    let second = house.granted();
    let (_, token) =
        house.enter_under(first, "hugo@harbor", Mode::ActAs, Some("Guest at the desk"));
    house.call(&token, "bookings:read", 3);
    let page = house.get(&ana, &path);
    page.says("Active Access <span class=\"count\">(<span data-count=\"active\">1</span>)");
    assert_eq!(page.text.matches("data-label=\"Partner\"").count(), 2);
    page.says("2 assigned")
        .says(&format!("<span data-count=\"inside-{first}\">1</span> inside now"));
    page.says("Clerk").says("All accounts, also those made later").says("in 30 days");
    page.says("<span class=\"badge good\">Active</span>").says("May act as you");
    let one = house.get(&ana, &grant_at(&house, first, ""));
    one.is(200).says("bookings:read, bookings:write").says("Hugo Hart").says("hugo@harbor.example");
    one.says("Guest at the desk").says("End now").says("class=\"num\">3</td>");
    // Over: under the filter only.
    house.run(&house.caller("ana@marina"), Command::Revoke { grant: second });
    assert_eq!(house.get(&ana, &path).text.matches("data-label=\"Partner\"").count(), 1);
    let ended = house.get(&ana, &format!("{path}?show=ended"));
    ended.says("Revoked by Ana Alvarez").is_silent("/revoke");
}

#[test]
fn r12_revoke_says_what_will_stop_and_that_it_has_stopped() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let grant = house.granted();
    let waiting = house.ask("More", 30);
    house.enter("hugo@harbor", Mode::Direct, None);
    let path = grant_at(&house, grant, "/revoke");
    let page = house.get(&ana, &path);
    page.is(200).says("1 session ends at once").says("2 people of Harbor Help can no longer enter");
    page.says("1 pending request of Harbor Help to you is cancelled");
    let done = house.fill(&ana, &path, &[]);
    let said = "Revoked. Harbor Help is out: 1 session has ended, 1 pending request is cancelled.";
    assert_eq!(done.is(303).said(), said);
    let state = house.app.state();
    assert!(!state.grants.get(grant).unwrap().stands(house.now()));
    assert!(!is_pending(&house, waiting));
    assert!(
        state
            .sessions_under(grant)
            .all(|s| { !state.sessions.get(s).unwrap().is_active(house.now()) })
    );
    // Sent twice.
    let again = house.fill(&ana, &path, &[]);
    assert!(again.is(303).said().contains("had ended already"));
    house.get(&ana, &path).is(409).says("Harbor Help has no access here");
    house.get(&ana, &request_at(&house, waiting, "")).says("It fell away with a revoke");
}

#[test]
fn r12_who_revokes_from_a_sessions_page_is_back_in_the_history() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    for (from, list) in [("history", "history"), ("//evil.example", "active"), ("", "active")] {
        let grant = house.granted();
        let (session, _) = house.enter("hugo@harbor", Mode::Direct, None);
        let page = house.get(&ana, &at(&house, &format!("sessions/{session}")));
        page.is(200).says(&grant_at(&house, grant, "/revoke?from=history"));
        let inside = house.get(&ana, &grant_at(&house, grant, ""));
        inside.says(&at(&house, &format!("sessions/{session}")));
        let dialog = house.get(&ana, &grant_at(&house, grant, &format!("/revoke?from={from}")));
        assert_eq!(dialog.is(200).value("from"), list);
        let done = house.fill(&ana, &grant_at(&house, grant, "/revoke"), &[("from", from)]);
        assert_eq!(done.is(303).to(), at(&house, &format!("access/{list}")));
        let over = house.get(&ana, &at(&house, &format!("sessions/{session}")));
        over.says("The customer revoked the access.").is_silent("/revoke?from");
    }
}

#[test]
fn r12_one_session_is_ended_and_the_access_stands() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let grant = house.granted();
    let (session, _) = house.enter("hugo@harbor", Mode::Direct, None);
    let path = grant_at(&house, grant, &format!("/sessions/{session}/end"));
    house.get(&ana, &path).is(200).says("End the session of Hugo Hart now?");
    let done = house.fill(&ana, &path, &[]);
    assert_eq!(done.is(303).said(), "Ended. Hugo Hart is no longer inside.");
    assert!(house.fill(&ana, &path, &[]).is(303).said().contains("had ended already"));
    assert!(house.app.state().grants.get(grant).unwrap().stands(house.now()));
}

#[test]
fn r7_narrow_takes_away_at_once_and_asks_anew_where_somebody_was_quicker() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let grant = house.granted();
    house.enter("hugo@harbor", Mode::ActAs, Some("Guest at the desk"));
    let path = grant_at(&house, grant, "/narrow");
    let page = house.get(&ana, &path);
    let (version, ends) = (page.value("version"), page.value("ends_at"));
    assert_eq!(ends, "2026-01-31T00:00");
    let send = |version: &str, changes: &[(&str, &str)]| {
        let all = [
            ("roles", "clerk"),
            ("which", "list"),
            ("accounts", "boat-1"),
            ("modes", "direct"),
            ("ends_at", &*ends),
            ("session_minutes", "30"),
            ("version", version),
        ];
        let kept = all.into_iter().filter(|(n, _)| changes.iter().all(|(c, _)| c != n));
        let fields: Vec<_> = kept.chain(changes.iter().copied()).collect();
        house.fill(&ana, &path, &fields)
    };
    send("1000", &[]).is(412).says("somebody changed this access").says("value=\"30\"");
    send(&version, &[("session_minutes", "61")]).is(409).says("more than may be given here");
    send(&version, &[("ends_at", "2026-02-01T00:00")]).is(409).says("more than may be given here");
    send(&version, &[("roles", "boss")]).is(409).says("more than may be given here");
    send(&version, &[("modes", "root")]).is(422).says("a mode that there is not");
    assert_eq!(house.app.state().grants.get(grant).unwrap().cap.0, 60);
    let done = send(&version, &[]);
    let said = "Narrowed. Harbor Help has only what is left, from now on. 1 session has ended.";
    assert_eq!(done.is(303).said(), said);
    let state = house.app.state();
    let narrowed = state.grants.get(grant).unwrap();
    assert!(!narrowed.modes.contains(Mode::ActAs) && narrowed.cap.0 == 30);
    // The end was not touched, so it is as exact as it was.
    assert_eq!(narrowed.window.end.0 - narrowed.window.start.0, 30 * 24 * 3_600_000);
    house.get(&ana, &grant_at(&house, grant, "")).says("Account boat-1 (boat-1)");
}

#[test]
fn t50_after_a_restore_access_waits_for_its_customers_word() {
    let house = House::new();
    let grant = house.granted();
    let fork = house.app.reader().head().unwrap().true_fork() + 1;
    let restore = Command::Restore { fork, erased: Vec::new(), keep_people: true };
    house.run(&Caller::system(), restore);
    let ana = house.browser("ana@marina");
    let page = house.get(&ana, &at(&house, "access/active"));
    page.says("To be confirmed").says("<span data-count=\"active\">0</span>");
    let path = grant_at(&house, grant, "/confirm");
    house.wait_until_stale();
    assert!(house.get(&ana, &path).is(303).to().starts_with("/console/step-up?back="));
    assert!(house.fill(&ana, &path, &[]).is(303).to().starts_with("/console/step-up?back="));
    let ana = house.browser("ana@marina");
    house.get(&ana, &path).is(200).says("restored from a copy").says("Roles: Clerk.");
    let done = house.fill(&ana, &path, &[]);
    assert_eq!(done.is(303).said(), "Confirmed. Harbor Help may enter again, as before.");
    let page = house.get(&ana, &at(&house, "access/active"));
    page.is_silent("To be confirmed").says("<span data-count=\"active\">1</span>");
}

// -- locks ----------------------------------------------------------------------------------------

#[test]
fn r20_report_and_lock_shuts_a_partner_out_until_it_is_unlocked() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    house.granted();
    house.enter("hugo@harbor", Mode::Direct, None);
    let (harbor, elsewhere) = (house.org("harbor").to_string(), house.org("elsewhere").to_string());
    let new = at(&house, "locks/new");
    // Of strangers not even the name is said.
    let stranger = house.get(&ana, &format!("{new}?organisation={elsewhere}"));
    let nobody = house.get(&ana, &format!("{new}?organisation=org_00000000000000000000000007"));
    assert_eq!((stranger.is(404).status, &stranger.text), (nobody.status, &nobody.text));
    house.fill(&ana, &new, &[("organisation", &elsewhere)]).is(404);
    house.get(&ana, &new).is(404);
    let page = house.get(&ana, &format!("{new}?organisation={harbor}"));
    page.is(200).says("Report and lock Harbor Help?").says("1 session ends at once");
    let fields = [("organisation", &*harbor), ("reason", "Odd downloads")];
    let done = house.fill(&ana, &new, &fields);
    assert_eq!(done.is(303).said(), "Locked. Harbor Help is out: 1 session has ended.");
    assert!(house.fill(&ana, &new, &fields).is(303).said().contains("already"));
    let page = house.get(&ana, &at(&house, "access/active"));
    page.says("<span class=\"badge bad\">Locked</span>").says("Odd downloads").says("Unlock");
    page.says("<span data-count=\"active\">0</span>");
    let state = house.app.state();
    let (lock, _) = state.locks_of(house.org("marina")).next().unwrap();
    let path = at(&house, &format!("locks/{lock}/unlock"));
    house.get(&house.browser("sam@marina"), &path).is(403);
    house.wait_until_stale();
    assert!(house.get(&ana, &path).is(303).to().starts_with("/console/step-up"));
    assert!(house.fill(&ana, &path, &[]).is(303).to().starts_with("/console/step-up"));
    let ana = house.browser("ana@marina");
    house.get(&ana, &path).is(200).says("Unlock Harbor Help?").says("stay ended");
    assert_eq!(house.fill(&ana, &path, &[]).said(), "Unlocked. Harbor Help may enter again.");
    assert!(house.fill(&ana, &path, &[]).said().contains("no longer in force"));
    // One person, from whatever organisation.
    let hugo = house.people["hugo"].to_string();
    house.get(&ana, &format!("{new}?person={hugo}")).is(200).says("Hugo Hart is not inside now");
    house.fill(&ana, &new, &[("person", &hugo)]).is(303);
    house.get(&ana, &at(&house, "access/active")).says("Hugo Hart").says("This person");
}

#[test]
fn r6_a_form_without_its_key_does_nothing() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let grant = house.granted();
    house.send(&ana, &grant_at(&house, grant, "/revoke"), &[]).is(403);
    house.send(&ana, &grant_at(&house, grant, "/revoke"), &[("form_key", "x")]).is(403);
    assert!(house.app.state().grants.get(grant).unwrap().stands(house.now()));
}
