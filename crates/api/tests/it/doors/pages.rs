//! Lists by cursor: every item once, and a cursor only for the list that it came from (T12).

use serde_json::{Value, json};

use super::{Scene, ask};
use crate::harness::text;
use crate::town::Town;

/// The identifiers of a list, page by page, and every cursor on the way.
fn walk(town: &Town, token: &str, path: &str, limit: usize) -> (Vec<String>, Vec<String>) {
    let (mut ids, mut cursors): (Vec<String>, Vec<String>) = Default::default();
    loop {
        let joint = if path.contains('?') { '&' } else { '?' };
        let cursor = cursors.last().map(|c| format!("&cursor={c}")).unwrap_or_default();
        let page = town.get(token, &format!("{path}{joint}limit={limit}{cursor}")).ok();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        let id = |i: &Value| {
            [&i["id"], &i["person"]["id"], &i["person"]]
                .into_iter()
                .find_map(|v| v.as_str().map(String::from))
        };
        ids.extend(items.iter().map(|i| id(i).expect("an identifier")));
        match page["next"].as_str() {
            Some(next) => cursors.push(next.to_owned()),
            None => return (ids, cursors),
        }
    }
}

/// A marina with several of everything.
fn busy() -> Scene {
    let scene = Scene::new();
    let (pia, hugo) = (scene.at("pia@harbor-help"), scene.at("hugo@harbor-help"));
    let mut last = scene.there.asked.clone();
    for n in 0..2 {
        scene.call(pia, "POST", &format!("/v1/requests/{last}/cancel"), None).ok();
        last = ask(&scene, "pia@harbor-help", &scene.there.code, &format!("Again, {n}"));
    }
    for _ in 0..4 {
        scene.enter(hugo, "marina", &[]).ok();
    }
    scene
}

#[test]
fn every_list_shows_every_item_once_whatever_the_size_of_the_page() {
    let scene = busy();
    let (ana, pia) = (scene.at("ana@marina"), scene.at("pia@harbor-help"));
    let assignments = format!("/v1/grants/{}/assignments", scene.there.grant);
    for (token, path, least) in [
        (ana, "/v1/organisations/marina/requests", 5),
        (ana, "/v1/organisations/marina/requests?state=cancelled", 2),
        (pia, "/v1/organisations/harbor-help/requests?direction=sent", 4),
        (ana, "/v1/organisations/marina/grants", 1),
        (pia, "/v1/organisations/harbor-help/grants?side=received", 1),
        (ana, "/v1/organisations/marina/sessions", 5),
        (pia, "/v1/organisations/harbor-help/sessions?side=provider", 5),
        (ana, "/v1/organisations/marina/members", 5),
        (ana, "/v1/organisations/marina/roles", 3),
        (ana, "/v1/organisations/marina/units", 2),
        (ana, "/v1/organisations/marina/accounts", 4),
        (ana, &assignments, 2),
    ] {
        let (all, _) = walk(&scene, token, path, 200);
        assert!(all.len() >= least, "{path}: {all:?}");
        let mut once = all.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), all.len(), "{path}: each once");
        for limit in 1..=all.len() {
            assert_eq!(walk(&scene, token, path, limit).0, all, "{path} by {limit}");
        }
    }
}

#[test]
fn t12_a_cursor_is_good_for_the_question_that_it_answers() {
    let scene = busy();
    let (ana, pia) = (scene.at("ana@marina"), scene.at("pia@harbor-help"));
    let at = |path: &str, cursor: &str| {
        let joint = if path.contains('?') { '&' } else { '?' };
        format!("{path}{joint}limit=1&cursor={cursor}")
    };
    let lists = [
        "/v1/organisations/marina/requests",
        "/v1/organisations/marina/requests?state=cancelled",
        "/v1/organisations/marina/requests?direction=sent",
        "/v1/organisations/marina/grants",
        "/v1/organisations/marina/sessions",
        "/v1/organisations/marina/sessions?side=provider",
        "/v1/organisations/marina/members",
        "/v1/organisations/marina/roles",
        "/v1/organisations/marina/accounts",
    ];
    let first = |path: &str| walk(&scene, ana, path, 1).1.first().cloned();
    for from in lists {
        let Some(cursor) = first(from) else { continue };
        scene.get(ana, &at(from, &cursor)).ok();
        for other in lists.iter().filter(|l| **l != from) {
            let reply = scene.get(ana, &at(other, &cursor));
            reply.is(422, "invalid");
            assert_eq!(reply.json()["field"], json!("cursor"), "{from} in {other}");
        }
        let theirs = from.replace("marina", "harbor-help");
        scene.get(pia, &at(&theirs, &cursor)).is(422, "invalid");
        for spot in [0, cursor.len() / 2, cursor.len() - 1] {
            let mut bytes = cursor.clone().into_bytes();
            bytes[spot] = if bytes[spot] == b'0' { b'1' } else { b'0' };
            scene.get(ana, &at(from, &String::from_utf8(bytes).unwrap())).is(422, "invalid");
        }
        for bad in [
            &cursor[1..],
            &cursor[..cursor.len() - 1],
            cursor.split('.').next().unwrap(),
            ".",
            "x.y",
        ] {
            scene.get(ana, &at(from, bad)).is(422, "invalid");
        }
    }
}

#[test]
fn a_list_goes_on_behind_an_item_that_is_gone() {
    let scene = busy();
    let ana = scene.at("ana@marina");
    // An account is removed while somebody pages.
    let path = "/v1/organisations/marina/accounts";
    let all = scene.get(ana, path).ok()["items"].as_array().unwrap().clone();
    let page = scene.get(ana, &format!("{path}?limit=2")).ok();
    let gone = text(&page["items"][1]["external_id"]);
    scene.call(&scene.known.provision, "DELETE", &format!("{path}/{gone}"), None).ok();
    let rest = scene.get(ana, &format!("{path}?limit=2&cursor={}", text(&page["next"]))).ok();
    assert_eq!(rest["items"].as_array().unwrap()[..], all[2..]);
    // A request leaves the list of pending ones by being cancelled, newest first.
    let more = ask(&scene, "freya@fjord", &scene.there.code, "Hull");
    let pending = "/v1/organisations/marina/requests?state=pending&limit=1";
    let page = scene.get(ana, pending).ok();
    assert_eq!(page["items"][0]["id"], json!(more));
    scene.call(scene.at("freya@fjord"), "POST", &format!("/v1/requests/{more}/cancel"), None).ok();
    let rest = scene.get(ana, &format!("{pending}&cursor={}", text(&page["next"]))).ok();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
}
