//! Who is looking: the cookie, its limits, what a form has to prove.

use axum::body::Body;
use axum::http::{Request, header};
use comity_domain::time::{HOUR, MINUTE, SECOND};

use crate::furnished::{Browser, House, PASSWORD};

const COOKIE: &str = "__Host-comity";

#[test]
fn whoever_signs_in_comes_to_where_they_wanted() {
    let house = House::new();
    let mut browser = Browser::default();
    house
        .open(&mut browser, "/console/components?a=b")
        .leads("/console/sign-in?back=%2Fconsole%2Fcomponents%3Fa%3Db");
    let fields = [
        ("email", "ana@marina.example"),
        ("password", PASSWORD),
        ("back", "/console/components?a=b"),
    ];
    let reply = house.submit(&mut browser, "/console/sign-in", &fields);
    reply.leads("/console/components?a=b");
    let page = house.open(&mut browser, "/console/components");
    page.is(200).shows("Ana Duarte");
    assert!(page.header(header::CONTENT_SECURITY_POLICY).contains("script-src 'self';"));
    assert_eq!(page.header(header::CACHE_CONTROL), "no-store");
}

#[test]
fn t26_whatever_was_wrong_with_a_sign_in_looks_the_same() {
    let house = House::new();
    let tries = [
        ("ana@marina.example", "not her password at all"),
        ("nobody@marina.example", PASSWORD),
        ("no address", PASSWORD),
    ];
    let mut faces = Vec::new();
    for (email, password) in tries {
        let mut browser = Browser::default();
        let fields = [("email", email), ("password", password), ("back", "/console")];
        let reply = house.submit(&mut browser, "/console/sign-in", &fields);
        reply.is(401).shows("The address or the password is wrong.");
        assert!(browser.cookies.is_empty());
        faces.push(reply.text.replace(email, ""));
    }
    assert!(faces.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn t9_a_form_without_the_key_of_this_very_sign_in_does_nothing() {
    let house = House::new();
    let (mut ana, pia) = (house.signed_in("ana@marina"), house.signed_in("pia@harbor"));
    let earlier = house.signed_in("ana@marina").form_key;
    for key in ["", "x", &pia.form_key, &earlier] {
        let reply = house.submit_with(&mut ana, "/console/sign-out", &[], key);
        reply.is(403).shows("nothing was done");
    }
    house.open(&mut ana, "/console/components").is(200);
    let elsewhere = Request::post("/console/sign-out")
        .header(header::HOST, "comity.example")
        .header(header::ORIGIN, "https://evil.example")
        .header("sec-fetch-site", "cross-site")
        .header(header::COOKIE, format!("{COOKIE}={}", ana.cookies[COOKIE]))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(format!("form_key={}", ana.form_key)));
    house.send(elsewhere.unwrap()).is(403);
    house.open(&mut ana, "/console/components").is(200);
    house.submit(&mut ana, "/console/sign-out", &[]).leads("/console/sign-in");
    assert!(!ana.cookies.contains_key(COOKIE));
}

#[test]
fn t22_a_copied_cookie_opens_nothing_after_sign_out_or_fifteen_idle_minutes() {
    let house = House::new();
    let mut ana = house.signed_in("ana@marina");
    let mut thief = ana.clone();
    house.wait(14 * MINUTE);
    house.open(&mut ana, "/console/components").is(200);
    assert_ne!(ana.cookies[COOKIE], thief.cookies[COOKIE], "the time was renewed");
    house.wait(2 * MINUTE);
    house.open(&mut ana, "/console/components").is(200);
    house.open(&mut thief, "/console/components").is(303);
    let mut copied = ana.clone();
    house.submit(&mut ana, "/console/sign-out", &[]).is(303);
    house.open(&mut copied, "/console/components").is(303);
}

#[test]
fn a_sign_in_ends_after_eight_hours_however_busy() {
    let house = House::new();
    let mut ana = house.signed_in("ana@marina");
    for _ in 0..47 {
        house.wait(10 * MINUTE);
        house.open(&mut ana, "/console/components").is(200);
    }
    house.wait(8 * HOUR - 47 * 10 * MINUTE - SECOND);
    house.open(&mut ana, "/console/components").is(200);
    house.wait(SECOND);
    house.open(&mut ana, "/console/components").is(303);
}

#[test]
fn t8_nothing_but_a_persons_own_sign_in_opens_the_console() {
    let house = House::new();
    let ana = house.signed_in("ana@marina");
    let whole = ana.cookies[COOKIE].clone();
    let token = house.token("ana@marina");
    let (open, code) = whole.rsplit_once('.').unwrap();
    let swapped = format!("{token}.{}.{code}", open.rsplit_once('.').unwrap().1);
    let later = format!("{}.{}.{code}", open.rsplit_once('.').unwrap().0, i64::MAX);
    for bad in ["", "x", &token, &house.operate, &swapped, &later, open, &whole[..whole.len() - 1]]
    {
        let mut browser = Browser::default();
        browser.cookies.insert(COOKIE.into(), bad.into());
        house.open(&mut browser, "/console/components").is(303);
    }
    // Two cookies of one name are somebody's trick.
    let two = Request::get("/console/components")
        .header(header::COOKIE, format!("{COOKIE}={whole}; {COOKIE}={whole}"))
        .body(Body::empty());
    house.send(two.unwrap()).is(303);
}

#[test]
fn t10_who_comes_from_a_mail_comes_in_once_more_from_here() {
    let house = House::new();
    let from_mail = Request::get("/console/components?from=mail")
        .header("sec-fetch-site", "cross-site")
        .body(Body::empty());
    let reply = house.send(from_mail.unwrap());
    reply.is(200).shows("http-equiv=\"refresh\" content=\"0; url=/console/components?from=mail\"");
}

#[test]
fn t22_stepping_up_replaces_the_sign_in() {
    let house = House::new();
    let mut ana = house.signed_in("ana@marina");
    let mut before = ana.clone();
    house.wait(6 * MINUTE);
    let wrong = [("password", "not her password at all"), ("back", "/console/components")];
    house.submit(&mut ana, "/console/step-up", &wrong).is(401).shows("not the password");
    let right = [("password", PASSWORD), ("back", "/console/components")];
    house.submit(&mut ana, "/console/step-up", &right).leads("/console/components");
    house.open(&mut ana, "/console/components").is(200);
    house.open(&mut before, "/console/components").is(303);
}

#[test]
fn t12_what_is_not_there_and_what_is_not_yours_are_one_page() {
    let house = House::new();
    let mut pia = house.signed_in("pia@harbor");
    let foreign = house.open(&mut pia, &format!("/console/o/{}", house.id("marina")));
    let missing = house.open(&mut pia, "/console/o/org_01kf4e9ab7c3x8m2v5r6t0w1yz");
    let no_page = house.open(&mut pia, "/console/nothing/at/all");
    foreign.is(404);
    for odd in
        ["/console/o/marina", "/console/o/org_1", "/console/o/req_01kf4e9ab7c3x8m2v5r6t0w1yz"]
    {
        assert_eq!(house.open(&mut pia, odd).text, foreign.text, "{odd}");
    }
    assert_eq!((&foreign.text, foreign.status), (&missing.text, missing.status));
    assert_eq!(foreign.text, no_page.text);
}
