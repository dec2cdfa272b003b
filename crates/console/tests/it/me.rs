//! A person's own sign-ins, and what they prove with who they are.

use axum::http::header;
use comity_domain::time::{MINUTE, SECOND};

use crate::house::{Browser, House, PASSWORD, Reply};

const HERE: &str = "/console/me";
const CODES: &str = "/console/me/codes";
const ANA: &str = "ana@marina.example";

/// The browser after an answer that gave it another cookie.
fn after(reply: &Reply) -> Browser {
    let set = reply.headers.get_all(header::SET_COOKIE).iter().filter_map(|v| v.to_str().ok());
    let own = set.filter_map(|c| c.split(';').next()).find(|c| c.starts_with("__Host-comity="));
    Browser { cookie: own.expect("a new cookie").to_owned() }
}

/// What an app shows for the secret of a page, `later` half minutes from now.
fn code(house: &House, page: &Reply, later: i64) -> String {
    let (_, rest) = page.text.split_once("<p class=\"mono\">").expect("a secret");
    let secret = rest.split_once('<').unwrap().0.replace(' ', "");
    shown(house, &secret, later)
}

fn shown(house: &House, secret: &str, later: i64) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    let at = (house.now().0 / SECOND) + later * 30;
    totp.generate(at.unsigned_abs()).to_string()
}

fn secret_of(page: &Reply) -> String {
    page.text
        .split_once("<p class=\"mono\">")
        .unwrap()
        .1
        .split_once('<')
        .unwrap()
        .0
        .replace(' ', "")
}

/// Sets up codes; the secret, and the recovery codes as shown.
fn set_up(house: &House, ana: &Browser) -> (String, Vec<String>) {
    let page = house.get(ana, CODES);
    let fields = [("setup", &*page.value("setup")), ("code", &*code(house, &page, 0))];
    let done = house.fill(ana, CODES, &fields);
    done.is(200).says("shown only now");
    let codes = done.text.split("<li>").skip(1).map(|c| c.split_once("</li>").map(|(c, _)| c));
    let codes: Vec<String> =
        codes.flatten().filter(|c| c.len() == 19 && !c.contains('<')).map(str::to_owned).collect();
    assert_eq!(codes.len(), 10);
    (secret_of(&page), codes)
}

#[test]
fn t22_one_sees_and_ends_ones_own_sign_ins_and_nobody_elses() {
    let house = House::new();
    let (ana, phone) = (house.browser("ana@marina"), house.browser("ana@marina"));
    let page = house.get(&ana, HERE);
    page.is(200).says("This one").says("Where you are signed in");
    let end = |text: &str| {
        let at = text.split("action=\"/console/me/sign-ins/").skip(1);
        at.filter_map(|rest| rest.split_once('/')).map(|(id, _)| id.to_owned()).collect::<Vec<_>>()
    };
    let others = end(&page.text);
    assert_eq!(others.len(), 1, "its own has no button");
    // Somebody else's looks like none.
    let eve = house.browser("eve@elsewhere");
    let path = format!("{HERE}/sign-ins/{}/end", others[0]);
    let foreign = house.fill(&eve, &path, &[]);
    let none = format!("{HERE}/sign-ins/sign_01kf4e9ab7c3x8m2v5r6t0w1yz/end");
    assert_eq!(foreign.is(404).text, house.fill(&eve, &none, &[]).is(404).text);
    house.get(&phone, HERE).is(200);
    let done = house.fill(&ana, &path, &[]);
    assert_eq!(
        (done.is(303).to(), done.said()),
        (HERE, "That sign-in has ended. Whoever used it is out.".into())
    );
    house.get(&phone, HERE).is(303);
    house.get(&ana, HERE).is(200);
    // All of them.
    house.get(&ana, "/console/me/sign-out-everywhere").says("this one too");
    let tablet = house.browser("ana@marina");
    house.fill(&tablet, "/console/me/sign-out-everywhere", &[]).is(303);
    for browser in [&ana, &tablet] {
        house.get(browser, HERE).is(303);
    }
    house.get(&eve, HERE).is(200);
}

#[test]
fn t25_another_password_ends_every_other_sign_in() {
    let house = House::new();
    let (ana, phone) = (house.browser("ana@marina"), house.browser("ana@marina"));
    let path = "/console/me/password";
    let send = |current: &str, new: &str| {
        house.fill(&ana, path, &[("current_password", current), ("password", new)])
    };
    send("not it at all, really", "incorrect zebra charger clip").is(422).says("Password now");
    send(PASSWORD, "short").is(422).says("New password").is_silent("value=\"short\"");
    house.get(&phone, HERE).is(200);
    let done = send(PASSWORD, "incorrect zebra charger clip");
    assert_eq!(done.is(303).to(), HERE);
    house.get(&phone, HERE).is(303);
    house.get(&ana, HERE).is(303);
    house.get(&after(&done), HERE).is(200);
    let nobody = Browser { cookie: String::new() };
    let sign_in = |password| {
        house.send(&nobody, "/console/sign-in", &[("email", ANA), ("password", password)])
    };
    sign_in(PASSWORD).is(401);
    sign_in("incorrect zebra charger clip").is(303);
}

#[test]
fn t25_what_one_signs_in_with_is_changed_by_a_fresh_sign_in_only() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    house.wait(6 * MINUTE);
    house.get(&ana, HERE).is(200);
    for page in ["password", "codes", "codes/remove", "recovery-codes", "passkeys/new"] {
        let led = house.get(&ana, &format!("{HERE}/{page}"));
        assert!(led.is(303).to().starts_with("/console/step-up?back=%2Fconsole%2Fme"), "{page}");
    }
    let acts: [(&str, &[(&str, &str)]); 4] = [
        (
            "password",
            &[("current_password", PASSWORD), ("password", "incorrect zebra charger clip")],
        ),
        ("codes", &[("setup", "x"), ("code", "287082")]),
        ("codes/remove", &[]),
        ("recovery-codes", &[]),
    ];
    for (act, fields) in acts {
        let led = house.fill(&ana, &format!("{HERE}/{act}"), fields);
        assert!(led.is(303).to().starts_with("/console/step-up?back="), "{act}");
    }
    let back = [("password", PASSWORD), ("back", "/console/me/codes")];
    let fresh = house.fill(&ana, "/console/step-up", &back);
    assert_eq!(fresh.is(303).to(), CODES);
    house.get(&after(&fresh), CODES).is(200).says("shown only now");
}

#[test]
fn t26_codes_are_set_up_shown_once_asked_for_and_taken_away() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    house.get(&ana, HERE).says("Set up codes");
    let page = house.get(&ana, CODES);
    page.is(200).says("<svg class=\"qr\"");
    assert_ne!(secret_of(&page), secret_of(&house.get(&ana, CODES)), "another each time");
    // A wrong code: the app keeps what it has, and no page shows it again.
    let setup = page.value("setup");
    let wrong = house.fill(&ana, CODES, &[("setup", &setup), ("code", "000000")]);
    wrong.is(422).says("is not what the app shows now").is_silent(&secret_of(&page));
    assert_eq!(wrong.value("setup"), setup);
    let grouped = page.text.split_once("<p class=\"mono\">").unwrap().1.split_once('<').unwrap().0;
    wrong.is_silent(grouped).is_silent("class=\"qr\"");
    // Somebody else's setup is none.
    let eve = house.browser("eve@elsewhere");
    let foreign = house.fill(&eve, CODES, &[("setup", &setup), ("code", &code(&house, &page, 0))]);
    foreign.is(422).says("begin again");
    let (secret, recovery) = set_up(&house, &ana);
    let shown_now = house.get(&ana, HERE);
    shown_now.says("10 recovery codes are left").is_silent(&recovery[0]);
    // Whoever changes it once more shows a code first.
    assert!(house.get(&ana, CODES).is(303).to().starts_with("/console/step-up"));
    // From now on the password alone leads to the second step.
    let nobody = Browser { cookie: String::new() };
    let first = || {
        let reply =
            house.send(&nobody, "/console/sign-in", &[("email", ANA), ("password", PASSWORD)]);
        assert!(reply.is(200).headers.get(header::SET_COOKIE).is_none());
        reply.value("ticket")
    };
    let second = |ticket: &str, code: &str| {
        let fields = [("ticket", ticket), ("code", code), ("back", HERE)];
        house.send(&nobody, "/console/sign-in/second-factor", &fields)
    };
    house.wait(MINUTE);
    let now = shown(&house, &secret, 0);
    second(&first(), "000000").is(401);
    let again = after(second(&first(), &now).is(303));
    second(&first(), &now).is(401).says("used");
    house.get(&again, HERE).says("Password and code");
    house.get(&again, CODES).is(409).says("set up already").is_silent("class=\"qr\"");
    after(second(&first(), &recovery[0]).is(303));
    second(&first(), &recovery[0]).is(401);
    house.get(&again, HERE).says("9 recovery codes are left");
    // New ones replace the old.
    let new = house.fill(&again, "/console/me/recovery-codes", &[]);
    new.is(200).says("Your new recovery codes");
    second(&first(), &recovery[1]).is(401);
    assert_eq!(house.fill(&again, "/console/me/codes/remove", &[]).is(303).to(), HERE);
    house.send(&nobody, "/console/sign-in", &[("email", ANA), ("password", PASSWORD)]).is(303);
}

#[test]
fn t22_a_passkey_is_of_its_person_and_nothing_is_made_of_nonsense() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let page = house.get(&ana, "/console/me/passkeys/new");
    page.is(200).says("data-passkey=\"make\"").says("&#34;challenge&#34;");
    let ceremony = page.value("ceremony");
    let make = |who: &Browser, name: &str, passkey: &str| {
        let fields = [("ceremony", &*ceremony), ("name", name), ("passkey", passkey)];
        house.fill(who, "/console/me/passkeys/new", &fields)
    };
    make(&ana, "Blue key", "").is(422).says("needs script");
    let nonsense = make(&ana, "<b>Blue</b>", "{\"id\":\"AQID\"}");
    nonsense.is(422).says("is not what was asked for").says("&#60;b&#62;Blue").is_silent("<b>Blue");
    let eve = house.browser("eve@elsewhere");
    make(&eve, "Mine", "{}").is(422).says("begin again");
    for act in ["rename", "remove"] {
        let foreign = format!("{HERE}/passkeys/pkey_01kf4e9ab7c3x8m2v5r6t0w1yz/{act}");
        house.get(&ana, &foreign).is(404);
        house
            .fill(&ana, &foreign, &[("name", "x")].as_slice()[..usize::from(act == "rename")])
            .is(404);
    }
    // Signing in by one: anybody may begin, and nonsense looks like an unknown one.
    let nobody = Browser { cookie: String::new() };
    let begun = house.send(&nobody, "/console/sign-in/passkey/begin", &[]);
    let begun: serde_json::Value = serde_json::from_str(&begun.is(200).text).unwrap();
    assert_eq!(begun["options"]["publicKey"]["userVerification"], "required");
    let ceremony = begun["ceremony"].as_str().unwrap();
    for passkey in ["", "{}", "nonsense"] {
        let fields = [("ceremony", ceremony), ("passkey", passkey), ("back", HERE)];
        let reply = house.send(&nobody, "/console/sign-in/passkey", &fields);
        reply.is(401).says("That passkey is not known here");
        house.fill(&ana, "/console/step-up/passkey", &fields).is(401);
    }
}

#[test]
fn t10_who_guesses_codes_with_a_stolen_password_keeps_nobody_out_who_is_in() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let (secret, recovery) = set_up(&house, &ana);
    let nobody = Browser { cookie: String::new() };
    let first = || {
        let fields = [("email", ANA), ("password", PASSWORD)];
        house.send(&nobody, "/console/sign-in", &fields).is(200).value("ticket")
    };
    let second = |code: &str| {
        let fields = [("ticket", &*first()), ("code", code), ("back", HERE)];
        house.send(&nobody, "/console/sign-in/second-factor", &fields)
    };
    house.wait(MINUTE);
    for _ in 0..10 {
        second("000000").is(401);
    }
    // What is short enough to be guessed is shut, for whoever comes from outside.
    second(&shown(&house, &secret, 0)).is(429);
    second(&recovery[0]).is(303);
    // Who is in proves it anew and changes what was stolen.
    let code = shown(&house, &secret, 0);
    let fields = [("password", PASSWORD), ("code", &*code), ("back", HERE)];
    let fresh = after(house.fill(&ana, "/console/step-up", &fields).is(303));
    let fields = [("current_password", PASSWORD), ("password", "incorrect zebra charger clip")];
    house.fill(&fresh, "/console/me/password", &fields).is(303);
}

#[test]
fn t46_a_stranger_at_the_same_address_keeps_nobody_from_proving_it_anew() {
    let house = House::limited(&comity_api::limits::Settings::default());
    let ana = house.browser("ana@marina");
    let nobody = Browser { cookie: String::new() };
    for _ in 0..6 {
        let fields = [("email", ANA), ("password", "not it at all, really")];
        house.send(&nobody, "/console/sign-in", &fields);
    }
    let fields = [("email", ANA), ("password", PASSWORD)];
    house.send(&nobody, "/console/sign-in", &fields).is(429);
    let mut begun = house.send(&nobody, "/console/sign-in/passkey/begin", &[]);
    for _ in 0..100 {
        begun = house.send(&nobody, "/console/sign-in/passkey/begin", &[]);
    }
    begun.is(429);
    let fields = [("password", PASSWORD), ("back", HERE)];
    let fresh = after(house.fill(&ana, "/console/step-up", &fields).is(303));
    set_up(&house, &fresh);
}
