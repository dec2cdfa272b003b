//! Settings for partners: reading, saving, two at once, and whom one blocks.

use comity_domain::code::CustomerCode;
use comity_domain::command::{Ask, Command};
use comity_domain::refusal::Refusal;
use comity_domain::role::Modes;
use comity_domain::time::Days;

use crate::house::{House, Reply};

fn at(house: &House) -> String {
    format!("/console/o/{}/access/settings", house.org("marina"))
}

fn unescaped(text: &str) -> String {
    text.replace("&#34;", "\"").replace("&quot;", "\"")
}

/// The form as the page has it, with some fields changed.
fn form(page: &Reply, changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = vec![("customer_id_on".to_owned(), "on".to_owned())];
    for name in ["session_minutes", "longest_grant_days", "retention_days", "version", "was"] {
        all.push((name.into(), unescaped(&page.value(name))));
    }
    for (name, value) in changes {
        all.retain(|(n, _)| n != name);
        if !value.is_empty() {
            all.push(((*name).into(), (*value).into()));
        }
    }
    all
}

fn save(house: &House, who: &str, page: &Reply, changes: &[(&str, &str)]) -> Reply {
    let all = form(page, changes);
    let fields: Vec<(&str, &str)> = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    house.fill(&house.browser(who), &at(house), &fields)
}

#[test]
fn r10_r14_settings_are_saved_by_an_admin_and_what_was_typed_stays_when_it_is_wrong() {
    let house = House::new();
    let path = at(&house);
    let page = house.get(&house.browser("ana@marina"), &path);
    page.is(200).says("Longest session, in minutes").says("value=\"60\"");
    let done =
        save(&house, "ana@marina", &page, &[("session_minutes", "30"), ("customer_id_on", "")]);
    assert_eq!(done.is(303).said(), "The settings are saved.");
    let marina = house.org("marina");
    let stored = || house.app.state().organisations.get(marina).unwrap().settings.clone();
    assert_eq!((stored().session_cap.0, stored().customer_id_on), (30, false));
    let page = house.get(&house.browser("ana@marina"), &path);
    for (field, value, why) in [
        ("session_minutes", "481", "It must be from 5 to 480."),
        ("session_minutes", "soon", "It must be a whole number."),
        ("longest_grant_days", "0", "It must be from 1 to 730."),
        ("retention_days", "399", "It must be from 400 to 3650."),
    ] {
        let said = save(&house, "ana@marina", &page, &[(field, value), ("customer_id_on", "on")]);
        said.is(422).says(why).says(&format!("value=\"{value}\"")).says("value=\"on\" checked");
    }
    let said = save(&house, "ana@marina", &page, &[("session_minutes", "\"><script>")]);
    said.is(422).is_silent("\"><script>");
    assert_eq!(stored().session_cap.0, 30);
    // Support reads and cannot act; others find nothing.
    house
        .get(&house.browser("sam@marina"), &path)
        .is(200)
        .says("Only an Admin")
        .is_silent(">Save<");
    save(&house, "sam@marina", &page, &[]).is(403);
    house.get(&house.browser("max@marina"), &path).is(403);
    house.get(&house.browser("eve@elsewhere"), &path).is(404);
    save(&house, "eve@elsewhere", &page, &[]).is(404);
}

#[test]
fn t54_of_two_who_change_the_settings_one_is_told_what_the_other_did() {
    let house = House::new();
    let page = house.get(&house.browser("ana@marina"), &at(&house));
    save(&house, "ana@marina", &page, &[("session_minutes", "45")]).is(303);
    let late = save(&house, "ana@marina", &page, &[("longest_grant_days", "90")]);
    late.is(412).says("Somebody changed the settings while you did");
    late.says("Longest session: 45 minutes now, 60 when you opened the page.")
        .is_silent("Longest grant:");
    late.says("value=\"90\"");
    let marina = house.org("marina");
    let stored = || house.app.state().organisations.get(marina).unwrap().settings.clone();
    assert_eq!(stored().longest_grant, Days(730), "nothing was saved");
    save(&house, "ana@marina", &late, &[]).is(303);
    assert_eq!((stored().longest_grant, stored().session_cap.0), (Days(90), 60));
    let same = house.get(&house.browser("ana@marina"), &at(&house));
    assert_eq!(
        save(&house, "ana@marina", &same, &[]).said(),
        "Nothing was different, so nothing was saved."
    );
}

#[test]
fn t2_a_blocked_partner_is_answered_as_if_the_customer_id_were_wrong_until_unblocked() {
    let house = House::new();
    house.granted();
    let (ana, marina, harbor) =
        (house.browser("ana@marina"), house.org("marina"), house.org("harbor"));
    let block = format!("/console/o/{marina}/access/block");
    let asked = house.app.state().requests_to(marina).next().unwrap();
    let request = format!("/console/o/{marina}/requests/{asked}");
    house.get(&ana, &request).is(200).says(&format!("{block}?partner={harbor}"));
    house.get(&house.browser("sam@marina"), &request).is(200).is_silent(&block);
    let dialog = house.get(&ana, &format!("{block}?partner={harbor}"));
    dialog
        .is(200)
        .says("Block Harbor Help?")
        .says("Its grant is not touched")
        .says("data-dialog-content");
    let ask = |house: &House| {
        let code = house.app.customer_id(marina).unwrap();
        let command = Command::Ask(Ask {
            provider: harbor,
            unit: None,
            code: CustomerCode::parse(&code).unwrap().digest(),
            level: "partner".into(),
            modes: Modes::all(),
            days: Days(3),
            roles: Vec::new(),
            accounts: Vec::new(),
            reason: "again".into(),
            ticket: None,
        });
        house.runtime.block_on(house.app.run(&house.caller("pia@harbor"), command))
    };
    let fields = [("partner", harbor.to_string()), ("version", dialog.value("version"))];
    let fields = fields.each_ref().map(|(n, v)| (*n, v.as_str()));
    house.fill(&house.browser("sam@marina"), &block, &fields).is(403);
    let done = house.fill(&ana, &block, &fields);
    assert_eq!(done.is(303).said(), "Harbor Help is blocked and can no longer ask.");
    assert!(matches!(ask(&house), Err(comity_app::Failure::Refused(Refusal::NotFound))));
    house.get(&ana, &request).is(200).is_silent(&block);
    let page = house.get(&ana, &at(&house));
    page.says(&format!("value=\"{harbor}\" checked"));
    save(&house, "ana@marina", &page, &[]).is(303); // the tick was taken away
    assert!(ask(&house).is_ok());
    // By the settings too; somebody who never asked is not named, and not chosen by guessing.
    let page = house.get(&ana, &at(&house));
    let elsewhere = house.org("elsewhere").to_string();
    page.is_silent("Elsewhere");
    save(&house, "ana@marina", &page, &[("also", &elsewhere)]).is(422).is_silent("Elsewhere");
    house.get(&ana, &format!("{block}?partner={elsewhere}")).is(404);
    let harbor = harbor.to_string();
    save(&house, "ana@marina", &page, &[("also", &harbor)]).is(303);
    assert!(matches!(ask(&house), Err(comity_app::Failure::Refused(Refusal::NotFound))));
}

#[test]
fn no_grant_lets_people_from_outside_in_unless_the_settings_do() {
    let house = House::new();
    let request = house.ask("Winter storage", 30);
    let marina = house.org("marina");
    let ana = house.browser("ana@marina");
    let approve = format!("/console/o/{marina}/requests/{request}/approve");
    let box_of = "name=\"allow_external\" value=\"yes\"";
    house
        .get(&ana, &approve)
        .is(200)
        .is_silent(box_of)
        .says("your settings allow it to no partner");
    // Whoever ticks it on a page from before is told.
    let asked = "chosen=yes&roles=clerk&which=all&modes=direct&days=30&allow_external=yes";
    let told = house.get(&ana, &format!("{approve}?{asked}"));
    told.says("id=\"e-allow_external\"").says("cannot be chosen");
    let page = house.get(&ana, &at(&house));
    save(&house, "ana@marina", &page, &[("allow_external", "on")]).is(303);
    house.get(&ana, &at(&house)).says("name=\"allow_external\" value=\"on\" checked");
    house.get(&ana, &approve).says(box_of);
    let told = house.get(&ana, &format!("{approve}?{asked}"));
    told.says("Harbor Help may invite people from outside").is_silent("e-allow_external");
}

#[test]
fn t12_no_form_makes_the_page_say_the_name_of_a_stranger() {
    let house = House::new();
    let ana = house.browser("ana@marina");
    let stranger = house.org("elsewhere").to_string();
    let missing = "org_01kf4e9ab7c3x8m2v5r6t0w1yz";
    let path = format!("/console/o/{}/access/settings", house.org("marina"));
    let send = |blocked: &str| {
        let was = format!(
            r#"{{"session_minutes":"60","longest_grant_days":"30","retention_days":"400","blocked":["{blocked}"]}}"#
        );
        let fields = [
            ("session_minutes", "60"),
            ("longest_grant_days", "30"),
            ("retention_days", "400"),
            ("version", "x"),
            ("was", &*was),
        ];
        let conflict = house.fill(&ana, &path, &fields);
        let also = [&fields[..], &[("blocked", blocked)]].concat();
        let refused = house.fill(&ana, &path, &also);
        [conflict.is(412).text.clone(), refused.is(422).text.clone()]
            .map(|page| page.replace(blocked, ""))
    };
    let (of_stranger, of_missing) = (send(&stranger), send(missing));
    assert!(of_stranger.iter().all(|page| !page.contains("Elsewhere")));
    assert_eq!(of_stranger, of_missing);
}
