//! The inbox: who is told, what is new, and that strangers' words stay words.

use serde_json::json;

use crate::furnished::House;

/// Pia asks Marina Bay.
fn asked(house: &House, reason: &str) {
    let (ana, pia) = (house.token("ana@marina"), house.token("pia@harbor"));
    let null = serde_json::Value::Null;
    let code = house.api(&ana, "GET", "/v1/organisations/marina/customer-id", &null);
    let ask = json!({ "customer_id": code["customer_id"], "level": "partner", "modes": ["direct"], "reason": reason });
    house.api(&pia, "POST", "/v1/organisations/harbor/requests", &ask);
}

#[test]
fn r8_a_request_is_new_until_it_was_read() {
    let house = House::new();
    let path = format!("/console/o/{}/inbox", house.id("marina"));
    let mut ana = house.signed_in("ana@marina");
    house.open(&mut ana, &path).is(200).shows("Mark all");
    // A mark beyond the end of the log counts for what is there.
    house.submit(&mut ana, &path, &[("up_to", "99999999")]).leads(&path);
    house.open(&mut ana, &path).is(200).hides("Mark all").hides(">New<");
    asked(&house, "Winter storage");
    let page = house.open(&mut ana, &path);
    page.shows("asks for access.").shows(">New<").shows("1<span class=\"unseen\"> unread");
    let (_, after) = page.text.split_once("name=\"up_to\" value=\"").unwrap();
    let newest = after.split('"').next().unwrap().to_owned();
    house.submit(&mut ana, &path, &[("up_to", &newest)]).leads(&path);
    house
        .open(&mut ana, &path)
        .shows("Everything is marked as read.")
        .hides(">New<")
        .hides("unread");
    // Each reads for themselves.
    house.open(&mut house.signed_in("marek@marina"), &path).shows(">New<");
}

#[test]
fn t12_an_inbox_is_for_those_who_read_there() {
    let house = House::new();
    asked(&house, "Winter storage");
    let path = format!("/console/o/{}/inbox", house.id("marina"));
    let mut pia = house.signed_in("pia@harbor");
    let missing = house.open(&mut pia, "/console/o/org_01kf4e9ab7c3x8m2v5r6t0w1yz/inbox");
    let foreign = house.open(&mut pia, &path);
    assert_eq!((foreign.status, &foreign.text), (404, &missing.text));
    house.submit(&mut pia, &path, &[("up_to", "1")]).is(404);
    house.open(&mut house.signed_in("mia@marina"), &path).is(403).hides("asks for access");
}
