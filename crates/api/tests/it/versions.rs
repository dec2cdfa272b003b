//! `ETag` and `If-Match`: nobody undoes what somebody else did without having seen it (T11).

use axum::http::header;
use serde_json::{Value, json};

use crate::doors::Scene;
use crate::harness::{Reply, request};

/// Everything that two people may edit: by whom, where, and two ways how it can look.
fn edits(scene: &Scene) -> Vec<(String, String, [Value; 2], bool)> {
    let known = &scene.known;
    let (operate, provision) = (known.operate.clone(), known.provision.clone());
    let (ana, pia) = (scene.at("ana@marina").to_owned(), scene.at("pia@harbor-help").to_owned());
    let at = |rest: &str| format!("/v1/organisations/marina{rest}");
    let named = |name: &str| json!({ "name": name });
    let member = |name: &str| {
        let mut member = known.members["max@marina"].wire();
        member["name"] = json!(name);
        member
    };
    let role = |word: &str| json!({ "name": "Painter", "permissions": [word] });
    let level = |days: u32| {
        json!({ "permissions": ["boats:read"], "modes": ["direct"], "longest_grant_days": days,
            "session_minutes": 60 })
    };
    let policy = |days: u32| {
        json!({ "never_delegable": [], "offers_need_acceptance": true, "session_minutes": 480,
            "longest_grant_days": days })
    };
    let settings = |minutes: u32| {
        json!({ "customer_id_on": true, "session_minutes": minutes, "longest_grant_days": 30,
            "retention_days": 400, "allow_external": false, "blocked_partners": [] })
    };
    let boats = |word: &str| json!({ "audience": "https://new.example", "permissions": [word] });
    let assign = |boat: &str| json!({ "roles": ["skipper"], "accounts": [boat] });
    let on = format!(
        "/v1/grants/{}/assignments/{}",
        scene.there.grant,
        scene.person("hana@harbor-help")
    );
    let standing = |s: &str| json!({ "standing": s });
    vec![
        (
            operate.clone(),
            "/v1/platform/applications/new".into(),
            [boats("a:b"), boats("a:c")],
            false,
        ),
        (operate.clone(), "/v1/platform/levels/new".into(), [level(30), level(31)], false),
        (operate.clone(), "/v1/platform/policy".into(), [policy(300), policy(301)], true),
        (provision.clone(), at(""), [named("Bay I"), named("Bay II")], false),
        (provision, at("/units/new"), [named("Unit I"), named("Unit II")], false),
        (ana.clone(), at("/accounts/new"), [named("Boat I"), named("Boat II")], false),
        (ana.clone(), at("/roles/new"), [role("boats:read"), role("boats:paint")], false),
        (ana.clone(), at("/members/max"), [member("Max I"), member("Max II")], false),
        (ana, at("/settings"), [settings(30), settings(31)], true),
        (pia, on, [assign("boat-1"), assign("boat-2")], true),
        // Last: what is suspended is not edited any more.
        (operate, at("/standing"), [standing("suspended"), standing("active")], false),
    ]
}

fn put(scene: &Scene, token: &str, path: &str, body: &Value, tags: &[&str]) -> Reply {
    let mut request = request(token, "PUT", path, Some(body));
    for tag in tags {
        request.headers_mut().append(header::IF_MATCH, tag.parse().unwrap());
    }
    scene.send(request)
}

#[test]
fn t11_every_edit_can_be_bound_to_the_version_that_was_seen() {
    let scene = Scene::new();
    for (token, path, [one, two], must) in edits(&scene) {
        let put = |body: &Value, tags: &[&str]| put(&scene, &token, &path, body, tags);
        let there = ["/policy", "/settings", "/standing", "/marina", "/members/max", "hana"];
        let there = there.iter().any(|t| path.ends_with(t)) || must;
        if !there {
            put(&one, &["*"]).is(412, "version_conflict"); // nothing is there yet
        }
        if must {
            put(&one, &[]).is(428, "if_match_required");
        }
        let first = put(&one, if there { &["*"] } else { &[] });
        first.ok();
        let seen = first.header(header::ETAG).to_owned();
        assert!(seen.starts_with('"') && seen.len() > 2, "{path}: {seen:?}");
        let shown = first.json();
        if let Some(etag) = shown.get("etag") {
            assert_eq!(etag, &json!(seen), "{path}");
        }
        for wrong in ["\"0\"", "W/\"1\"", &format!("W/{seen}"), "\"a\", \"b\""] {
            put(&two, &[wrong]).is(412, "version_conflict");
        }
        for odd in ["", "x", "\"", "*, \"1\"", seen.trim_matches('"')] {
            let reply = put(&two, &[odd]);
            reply.is(422, "invalid");
            assert_eq!(reply.json()["field"], json!("If-Match"), "{path}");
        }
        let second = put(&two, &["\"a\"", &format!("\"b\" , {seen}")]);
        second.ok();
        assert_ne!(second.header(header::ETAG), seen, "{path}");
        put(&one, &[&seen]).is(412, "version_conflict");
        put(&one, &["*"]).ok();
        if must {
            put(&two, &[]).is(428, "if_match_required");
        }
    }
}

#[test]
fn t11_what_is_read_has_the_tag_by_which_it_is_edited() {
    let scene = Scene::new();
    let ana = scene.at("ana@marina");
    for path in ["/v1/organisations/marina", "/v1/organisations/marina/settings"] {
        assert!(scene.get(ana, path).header(header::ETAG).starts_with('"'), "{path}");
    }
    assert!(
        !scene.get(&scene.known.operate, "/v1/platform/policy").header(header::ETAG).is_empty()
    );
    let assignments = format!("/v1/grants/{}/assignments", scene.there.grant);
    let mut lists: Vec<(&str, String)> = ["units", "accounts", "roles", "members"]
        .into_iter()
        .map(|l| (ana, format!("/v1/organisations/marina/{l}")))
        .collect();
    lists.push((ana, assignments.clone()));
    lists.push((&scene.known.operate, "/v1/platform/levels".into()));
    lists.push((&scene.known.operate, "/v1/platform/applications".into()));
    for (token, path) in lists {
        let items = scene.get(token, &path).ok()["items"].as_array().unwrap().clone();
        assert!(!items.is_empty(), "{path}");
        assert!(
            items.iter().all(|i| i["etag"].as_str().is_some_and(|t| t.starts_with('"'))),
            "{path}"
        );
    }
    // Two of Harbor Help look at what Hana has; the second to write is told to look again.
    let (pia, hana) = (scene.at("pia@harbor-help"), scene.person("hana@harbor-help"));
    let items = scene.get(pia, &assignments).ok()["items"].as_array().unwrap().clone();
    let seen = items.iter().find(|i| i["person"]["id"] == json!(hana)).unwrap();
    let (tag, path) = (seen["etag"].as_str().unwrap(), format!("{assignments}/{hana}"));
    let less = json!({ "roles": ["skipper"], "accounts": ["boat-1"] });
    scene.put_seen(pia, &path, &less, tag).ok();
    scene.put_seen(pia, &path, &json!({ "roles": ["clerk"] }), tag).is(412, "version_conflict");
    scene.put(pia, &path, &json!({ "roles": ["clerk"] })).is(428, "if_match_required");
    scene.put(pia, &path, &less).ok(); // the same again changes nothing
    // Removing is bound too, if one says so.
    let mut delete = request(pia, "DELETE", &path, None);
    delete.headers_mut().insert(header::IF_MATCH, tag.parse().unwrap());
    scene.send(delete).is(412, "version_conflict");
    assert_eq!(scene.call(pia, "DELETE", &path, None).status, 204);
    scene.put(pia, &path, &less).ok(); // nobody is there to be overwritten
}

#[test]
fn t12_a_version_tells_nothing_to_whom_the_thing_is_not() {
    let scene = Scene::new();
    let (quinn, sue) = (scene.at("quinn@quayside"), scene.at("sue@marina"));
    for (_, path, [one, _], _) in edits(&scene) {
        for token in [quinn, sue] {
            let without = put(&scene, token, &path, &one, &[]);
            assert!([403, 404].contains(&without.status), "{path}: {}", without.text());
            for tags in ["*", "\"0\""] {
                assert_eq!(
                    put(&scene, token, &path, &one, &[tags]).face(),
                    without.face(),
                    "{path}"
                );
            }
        }
    }
}
