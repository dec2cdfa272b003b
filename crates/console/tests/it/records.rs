//! Impersonation History, its file, and a session's page.

use comity_domain::command::Command;
use comity_domain::ids::SessionId;
use comity_domain::organisation::Settings;
use comity_domain::role::Mode;
use comity_domain::time::{DAY, Days, MINUTE};

use crate::house::{Browser, House};

fn at(house: &House) -> String {
    format!("/console/o/{}/access/history", house.org("marina"))
}

/// A cell of the table, as it is read.
fn cell<'r>(page: &'r str, label: &str, line: usize) -> &'r str {
    let from = format!("data-label=\"{label}\"");
    let rest = page.split(&from).nth(line + 1).unwrap_or_else(|| panic!("no {label}: {page}"));
    rest.split_once('>').unwrap().1.split_once("</td>").unwrap().0
}

/// One that ended, one that ran out, one that goes on.
fn three(house: &House) -> [SessionId; 3] {
    house.granted();
    let (ended, token) = house.enter("hugo@harbor", Mode::View, None);
    house.call(&token, "bookings:read", 3);
    house.call(&token, "billing:read", 2);
    house.wait(42 * MINUTE + 59_000);
    house.run(&house.caller("hugo@harbor"), Command::CloseSession { session: ended });
    let (expired, _) = house.enter("pia@harbor", Mode::Direct, None);
    house.wait(90 * MINUTE);
    let (active, _) = house.enter("hugo@harbor", Mode::ActAs, Some("A berth is wrong"));
    house.wait(5 * MINUTE);
    [ended, expired, active]
}

#[test]
fn r5_r13_r14_r15_r16_the_history_has_the_five_columns_and_three_statuses() {
    let house = House::new();
    let [ended, ..] = three(&house);
    let ana = house.browser("ana@marina");
    let page = house.get(&ana, &at(&house));
    page.is(200);
    let heads: Vec<&str> = page
        .text
        .split("<th scope=\"col\"")
        .skip(1)
        .map(|h| h.split_once('>').unwrap().1)
        .collect();
    let heads: Vec<&str> = heads.iter().map(|h| h.split_once('<').unwrap().0).collect();
    assert_eq!(heads, ["Partner", "Started", "Duration", "API Calls", "Status"]);
    // Newest first: the one that goes on, the one that ran out at its cap, the one that was closed.
    let column = |label| (0..3).map(|n| cell(&page.text, label, n).to_owned()).collect::<Vec<_>>();
    assert_eq!(column("Duration"), ["5 minutes", "60 minutes", "42 minutes"]);
    assert_eq!(column("API Calls"), ["0", "0", "5"]);
    let status = column("Status");
    for (cell, says) in status.iter().zip(["Active", "Expired", "Ended"]) {
        assert!(cell.contains(&format!(">{says}<")), "{cell}");
    }
    assert!(status[0].contains("Act as") && status[2].contains("View only"));
    let partner = cell(&page.text, "Partner", 2);
    assert!(partner.contains("Hugo Hart") && partner.contains("hugo@harbor.example"), "{partner}");
    page.says(&format!("/sessions/{ended}")).says("2026-01-01T00:00:00.000Z");
}

#[test]
fn r5_filters_pages_and_cursors_of_this_list_only() {
    let house = House::new();
    three(&house);
    let (ana, path) = (house.browser("ana@marina"), at(&house));
    let rows = |query: &str| {
        let page = house.get(&ana, &format!("{path}?{query}"));
        page.is(200).text.matches("data-label=\"Status\"").count()
    };
    let harbor = house.org("harbor");
    for (query, expected) in [
        ("status=ended", 1),
        ("status=expired", 1),
        ("status=active", 1),
        ("mode=act_as", 1),
        ("mode=view", 1),
        ("mode=view&status=active", 0),
        ("person=Hugo%40harbor.example", 2),
        ("person=nobody%40harbor.example", 0),
        ("from=2026-01-01&to=2026-01-01", 3),
        ("from=2026-01-02", 0),
        ("to=2025-12-31", 0),
        (&format!("partner={harbor}"), 3),
        (&format!("partner={}", house.org("elsewhere")), 0),
        ("partner=&person=&status=&mode=&from=&to=", 3),
    ] {
        assert_eq!(rows(query), expected, "{query}");
    }
    house
        .get(&ana, &format!("{path}?from=yesterday"))
        .is(422)
        .says("This is not a day")
        .says("yesterday");
    house.get(&ana, &format!("{path}?status=dead")).is(422).says("There is no such status");
    for bad in ["<script>x</script>", "\"><b>"] {
        let query = serde_html_form::to_string([("person", bad), ("from", bad)]).unwrap();
        house.get(&ana, &format!("{path}?{query}")).is(422).is_silent(bad);
    }
    // More than a page: each session once, newest first.
    for _ in 0..51 {
        let (session, _) = house.enter("hugo@harbor", Mode::Direct, None);
        house.run(&house.caller("hugo@harbor"), Command::CloseSession { session });
        house.wait(MINUTE);
    }
    let ana = house.browser("ana@marina");
    let first = house.get(&ana, &format!("{path}?mode=direct"));
    let next = first.text.split_once("rel=\"next\"").unwrap().0.rsplit_once("href=\"").unwrap().1;
    let next = next.split_once('"').unwrap().0.replace("&#38;", "&").replace("&amp;", "&");
    let second = house.get(&ana, &next);
    second.is(200).says("First page").is_silent("rel=\"next\"");
    assert_eq!(second.text.matches("data-label=\"Status\"").count(), 2);
    // The same cursor with another filter opens nothing (T12).
    house.get(&ana, &next.replace("mode=direct", "mode=view")).is(404);
}

#[test]
fn r17_t12_the_history_is_for_those_with_audit_and_not_there_for_others() {
    let house = House::new();
    let [session, ..] = three(&house);
    let marina = house.org("marina");
    let history = at(&house);
    let one = format!("/console/o/{marina}/sessions/{session}");
    let file = format!("{history}.csv");
    let sam = house.browser("sam@marina");
    let (max, eve) = (house.browser("max@marina"), house.browser("eve@elsewhere"));
    let token = house.enter("pia@harbor", Mode::View, None).1;
    for path in [&history, &one, &file] {
        house.get(&sam, path).is(200);
        house.get(&max, path).is(403);
        let foreign = house.get(&eve, path);
        let missing = path.replace(&marina.to_string(), "org_00000000000000000000000007");
        assert_eq!(foreign.is(404).text, house.get(&eve, &missing).text);
        for cookie in [&house.decide, token.reveal()] {
            house.get(&Browser { cookie: format!("__Host-comity={cookie}") }, path).is(303);
        }
    }
    // Support reads, and has no button to act.
    house.get(&sam, &one).is_silent("Report and lock").is_silent("End now");
    // The partner sees its own people's session, without the customer's buttons.
    let pia = house.browser("pia@harbor");
    let theirs = one.replace(&marina.to_string(), &house.org("harbor").to_string());
    house.get(&pia, &theirs).is(200).says("Hugo Hart").is_silent("Report and lock");
    house.get(&pia, &history).is(404);
    // Somebody else's session is not there.
    let elsewhere = one.replace(&marina.to_string(), &house.org("elsewhere").to_string());
    house.get(&eve, &elsewhere).is(404);
}

#[test]
fn r5_t41_the_file_holds_the_filtered_list_and_no_formula() {
    let house = House::new();
    house.granted();
    for (n, bad) in
        ["=cmd|' /C calc'!A0", "@SUM(A1)", "+1+1", "-2", "a \"quote\", and <b>"].iter().enumerate()
    {
        let (session, _) = house.enter("hugo@harbor", Mode::ActAs, Some(bad));
        house.run(&house.caller("hugo@harbor"), Command::CloseSession { session });
        house.wait(i64::try_from(n).unwrap() + 1);
    }
    house.enter("pia@harbor", Mode::Direct, None);
    let (ana, path) = (house.browser("ana@marina"), at(&house));
    let csv = house.get(&ana, &format!("{path}.csv?mode=act_as"));
    csv.is(200).says("partner_name,partner_email,started_at,duration_minutes,api_calls,status,");
    assert!(csv.header(axum::http::header::CONTENT_TYPE).starts_with("text/csv"));
    assert!(csv.header(axum::http::header::CONTENT_DISPOSITION).starts_with("attachment"));
    assert_eq!(csv.text.matches("\r\n").count(), 6, "{}", csv.text);
    csv.says("\"'=cmd|' /C calc'!A0\"").says("\"'@SUM(A1)\"").says("\"'+1+1\"").says("\"'-2\"");
    csv.says("\"a \"\"quote\"\", and <b>\"");
    for line in csv.text.lines() {
        assert!(!line.split(',').any(|c| c.starts_with(['=', '@', '+', '\t'])), "{line}");
    }
    let lines = house.get(&ana, &format!("{path}.jsonl"));
    let read: Vec<serde_json::Value> =
        lines.is(200).text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(read.len(), 6);
    assert_eq!(read[0]["partner_name"], "Pia Park");
    assert_eq!(read[0]["status"], "active");
    assert_eq!(
        read[5]["reason"], "=cmd|' /C calc'!A0",
        "JSON has no formulas, and says what was typed"
    );
}

#[test]
fn r5_what_is_kept_goes_by_the_retention_and_never_ends_before_the_grant_and_ninety_days() {
    let house = House::new();
    let clerk = house.app.state().role_by_code(house.org("marina"), "clerk").unwrap();
    // 500 days long: with the shortest retention, its first session is older than that before its end.
    house.approve(house.ask("Long", 500), &[clerk]);
    let (session, _) = house.enter("hugo@harbor", Mode::Direct, None);
    house.wait(MINUTE);
    let page = |house: &House| {
        let ana = house.browser("ana@marina");
        let one = format!("/console/o/{}/sessions/{session}", house.org("marina"));
        let listed = house.get(&ana, &at(house)).text.contains(&session.to_string());
        let status = house.get(&ana, &one).status;
        assert_eq!(listed, status == 200, "the list and the page agree");
        listed
    };
    house.wait(450 * DAY);
    assert!(page(&house), "the grant stands");
    house.wait(139 * DAY);
    assert!(page(&house), "89 days after its end");
    house.wait(2 * DAY);
    assert!(!page(&house), "91 days after its end");
    let settings = Settings { retention: Days(3650), ..Settings::default() };
    let organisation = house.org("marina");
    let command = Command::ChangeSettings { organisation, settings, version: None };
    house.run(&house.caller("ana@marina"), command);
    assert!(page(&house), "the customer wants to see more");
}

#[test]
fn r13_r16_r20_a_sessions_page_says_who_when_why_and_its_calls_over_time() {
    let house = House::new();
    let [ended, _, active] = three(&house);
    let ana = house.browser("ana@marina");
    let at = |s| format!("/console/o/{}/sessions/{s}", house.org("marina"));
    let page = house.get(&ana, &at(active));
    page.is(200)
        .says("Hugo Hart in Marina Bay")
        .says("A berth is wrong")
        .says("T-17")
        .says("Clerk");
    page.says("in 55 minutes at the latest")
        .says("End now")
        .says("Report and lock")
        .says("No call yet");
    let grant = house.app.state().sessions.get(active).unwrap().grant;
    let end = format!("/console/o/{}/grants/{grant}/sessions/{active}/end", house.org("marina"));
    page.says(&end);
    house.get(&ana, &end).is(200).says("data-dialog-content");
    house.fill(&ana, &end, &[]).is(303);
    let over = house.get(&ana, &at(active));
    over.is(200).says("The customer ended it.").is_silent("End now");
    // What was called, when it was written: the thread that counts takes a moment.
    let mut page = house.get(&ana, &at(ended));
    for _ in 0..200 {
        if page.text.contains("<svg") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        page = house.get(&ana, &at(ended));
    }
    page.says("<svg class=\"chart\"")
        .says("3 allowed, 2 refused")
        .says("role=\"img\"")
        .is_silent("style=");
    assert_eq!(cell(&page.text, "Allowed", 0), "3");
    assert_eq!(cell(&page.text, "Refused", 0), "2");
    house.get(&ana, &at(SessionId(7))).is(404);
    house.get(&ana, &at(ended).replace("ses", "nonsense")).is(404);
}

#[test]
fn t3_t42_what_somebody_typed_is_escaped_on_every_page_of_the_records() {
    let house = House::new();
    house.granted();
    let bad = "<img src=x onerror=alert(1)>\"'";
    let (session, _) = house.enter("hugo@harbor", Mode::ActAs, Some(bad));
    let ana = house.browser("ana@marina");
    let path = format!("/console/o/{}/sessions/{session}", house.org("marina"));
    house.get(&ana, &path).is(200).is_silent("<img src=x").says("&#60;img src=x");
    house.get(&ana, &at(&house)).is(200).is_silent("<img src=x");
}
