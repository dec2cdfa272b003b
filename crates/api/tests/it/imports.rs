//! Imports: each line as its own `PUT`, in order, and none in the way of another.

use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

use crate::doors::Scene;
use crate::harness::{Reply, send, text};

fn lines(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn import(token: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/v1/imports")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/x-ndjson")
        .body(body.into())
        .unwrap()
}

/// A body that comes in these pieces, each after so many milliseconds; an error is a client that
/// went away.
fn pieces(pieces: Vec<(u64, Result<Bytes, std::io::Error>)>) -> Body {
    let stream = tokio_stream::iter(pieces).then(|(after, piece)| async move {
        tokio::time::sleep(std::time::Duration::from_millis(after)).await;
        piece
    });
    Body::from_stream(stream)
}

fn harbour(n: usize) -> Vec<Value> {
    let name = format!("port-{n}");
    let mut all = vec![
        json!({ "kind": "organisation", "id": name, "name": format!("Port {n}") }),
        json!({ "kind": "unit", "organisation": name, "id": "north", "name": "North" }),
        json!({ "kind": "role", "organisation": name, "id": "deck", "name": "Deck", "permissions": ["boats:read"] }),
        json!({ "kind": "member", "organisation": name, "id": "adam", "name": "Adam Anker",
            "email": format!("adam@{name}.example"), "email_verified": true, "portal_role": "admin" }),
    ];
    for boat in 0..4 {
        all.push(json!({ "kind": "account", "organisation": name, "id": format!("boat-{boat}"),
            "name": "Boat", "unit": "north" }));
    }
    all
}

fn counts(shown: &Value) -> [u64; 4] {
    ["lines", "done", "unchanged", "refused"].map(|name| shown[name].as_u64().unwrap())
}

/// Everything there is to read of an organisation.
fn seen(scene: &Scene, organisation: &str) -> String {
    ["", "/units", "/accounts", "/roles", "/members"]
        .map(|noun| {
            let path = format!("/v1/organisations/{organisation}{noun}");
            // Comity's own identifiers are drawn anew by each installation.
            let text = scene.get(&scene.known.provision, &path).ok().to_string();
            // So are the tags of what is read, for they are drawn from it.
            let tag = |part: &str| {
                part.trim_end_matches('\\').len() == 32 && part.bytes().all(|b| b != b' ')
            };
            let parts = text.split('"').filter(|part| !tag(part)).filter(|part| {
                !["org_", "unit_", "acct_", "role_", "per_"].iter().any(|id| part.starts_with(id))
            });
            parts.collect::<Vec<_>>().join("\"")
        })
        .join("\n")
}

#[test]
fn an_import_does_what_its_puts_would_do_and_sent_again_changes_nothing() {
    let scene = Scene::new();
    let provision = scene.known.provision.clone();
    // The lines of many, in each other's way.
    let mut all: Vec<Value> = Vec::new();
    let each: Vec<Vec<Value>> = (0..60).map(harbour).collect();
    for at in 0..each[0].len() {
        all.extend(each.iter().map(|lines| lines[at].clone()));
    }
    let body = lines(&all);
    let shown = scene.send(import(&provision, body.clone())).ok();
    assert_eq!(shown["state"], "finished", "{shown}");
    assert_eq!(counts(&shown), [480, 480, 0, 0], "{shown}");
    let again = scene.send(import(&provision, body.clone())).ok();
    assert_eq!(counts(&again), [480, 0, 480, 0], "{again}");
    // In pieces that no line fits, with empty lines, and without an end of the last one.
    let odd = body.replace('\n', "\r\n\n");
    let odd: Vec<_> =
        odd.trim_end().as_bytes().chunks(37).map(|c| (0, Ok(Bytes::copy_from_slice(c)))).collect();
    let again = scene.send(import(&provision, pieces(odd))).ok();
    assert_eq!(counts(&again), [480, 0, 480, 0], "{again}");

    // By hand it is the same.
    let by_hand = Scene::new();
    for line in harbour(7) {
        let mut body = line.as_object().unwrap().clone();
        let id = text(&body.remove("id").unwrap());
        let kind = text(&body.remove("kind").unwrap());
        let path = match body.remove("organisation") {
            None => format!("/v1/organisations/{id}"),
            Some(of) => format!("/v1/organisations/{}/{kind}s/{id}", text(&of)),
        };
        by_hand.put(&by_hand.known.provision, &path, &Value::Object(body)).ok();
    }
    assert_eq!(seen(&scene, "port-7"), seen(&by_hand, "port-7"));
    let imports = scene.get(&provision, "/v1/imports").ok();
    assert_eq!(imports["items"].as_array().unwrap().len(), 3);
    assert_eq!(imports["items"][0], again, "the newest first");
    let path = format!("/v1/imports/{}", text(&shown["id"]));
    assert_eq!(scene.get(&provision, &path).ok(), shown);
}

#[test]
fn a_line_that_is_refused_stops_no_other_and_is_told_by_its_number() {
    let scene = Scene::new();
    let provision = &scene.known.provision;
    let good = harbour(1);
    let deep = format!(
        "{{\"kind\":\"unit\",\"organisation\":\"port-1\",\"id\":\"d\",\"name\":{}1{}}}",
        "[".repeat(20),
        "]".repeat(20)
    );
    let long =
        format!("{{\"kind\":\"organisation\",\"id\":\"{}\",\"name\":\"x\"}}", "x".repeat(70_000));
    let text_lines = [
        good[1].to_string(), // 1: before its organisation
        good[0].to_string(),
        "{".into(),                                                                             // 3
        json!({ "kind": "boat", "id": "x" }).to_string(),                                       // 4
        json!({ "kind": "unit", "organisation": "port-1", "id": "n", "nome": "N" }).to_string(), // 5
        json!({ "kind": "member", "organisation": "port-1", "id": "m", "name": "M", "email": "m" }).to_string(), // 6
        json!({ "kind": "account", "organisation": "port-1", "id": "a", "name": "A", "unit": "none" }).to_string(), // 7
        deep,                                                                                   // 8
        long,                                                                                   // 9
        good[1].to_string(),
        json!({ "kind": "role", "organisation": "port-1", "id": "r", "name": "R", "permissions": ["boats"] }).to_string(), // 11
        good[4].to_string(),
    ];
    let shown = scene.send(import(provision, text_lines.join("\n"))).ok();
    assert_eq!((counts(&shown), &shown["state"]), ([12, 3, 0, 9], &json!("finished")), "{shown}");
    let path = format!("/v1/imports/{}/refusals", text(&shown["id"]));
    let (mut all, mut next) = (Vec::new(), None);
    loop {
        let more = next.map(|n| format!("&cursor={n}")).unwrap_or_default();
        let page = scene.get(provision, &format!("{path}?limit=4{more}")).ok();
        all.extend(page["items"].as_array().unwrap().clone());
        next = page.get("next").and_then(Value::as_str).map(ToOwned::to_owned);
        if next.is_none() {
            break;
        }
    }
    all.sort_by_key(|refused| refused["line"].as_u64());
    let told: Vec<_> = all
        .iter()
        .map(|r| {
            (
                r["line"].as_u64().unwrap(),
                text(&r["code"]),
                r["field"].as_str().unwrap_or("").to_owned(),
            )
        })
        .collect();
    let is = |line, code: &str, field: &str| (line, code.to_owned(), field.to_owned());
    assert_eq!(
        told,
        [
            is(1, "not_found", ""),
            is(3, "bad_json", ""),
            is(4, "invalid", "kind"),
            is(5, "invalid", "nome"),
            is(6, "invalid", "email"),
            is(7, "invalid", "unit"),
            is(8, "bad_json", ""),
            is(9, "too_large", ""),
            is(11, "invalid", "permissions"),
        ],
        "{all:#?}"
    );
    assert!(all.iter().all(|r| !text(&r["detail"]).is_empty()));
    // A cursor of another list is none.
    scene.get(provision, &format!("{path}?cursor=4.00")).is(422, "invalid");
}

#[test]
fn an_organisation_that_is_refused_takes_its_lines_along_and_no_others() {
    let scene = Scene::new();
    let mut all = harbour(1);
    all[0]["name"] = json!("");
    all.extend(harbour(2));
    let shown = scene.send(import(&scene.known.provision, lines(&all))).ok();
    assert_eq!(counts(&shown), [16, 8, 0, 8], "{shown}");
}

#[test]
fn t25_a_key_that_is_withdrawn_imports_nothing_more() {
    let scene = Scene::new();
    let made =
        scene.post(&scene.known.operate, "/v1/platform/keys", &json!({ "use": "provision" })).ok();
    let (secret, key) = (text(&made["secret"]), format!("/v1/platform/keys/{}", text(&made["id"])));
    let (first, second) = (lines(&harbour(1)), lines(&harbour(2)));
    let body = pieces(vec![(0, Ok(first.into())), (600, Ok(second.into()))]);
    let (reply, gone): (Reply, Reply) = scene.runtime.block_on(async {
        tokio::join!(send(&scene.router, import(&secret, body)), async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let request = crate::harness::request(&scene.known.operate, "DELETE", &key, None);
            send(&scene.router, request).await
        })
    });
    assert_eq!(gone.status, 204);
    reply.is(401, "caller_revoked");
    scene.get(&scene.known.provision, "/v1/organisations/port-1").ok();
    scene.get(&scene.known.provision, "/v1/organisations/port-2").is(404, "not_found");
    let shown = scene.get(&scene.known.provision, "/v1/imports").ok()["items"][0].clone();
    assert_eq!((&shown["state"], &shown["stopped"]), (&json!("stopped"), &json!("caller_revoked")));
    assert_eq!(counts(&shown)[1], 8);
}

#[test]
fn a_client_that_goes_away_leaves_what_it_sent_and_sends_it_again() {
    let scene = Scene::new();
    let provision = &scene.known.provision;
    let all = lines(&(0..40).flat_map(harbour).collect::<Vec<_>>());
    let (first, _) = all.split_at(all.len() / 2);
    let gone = std::io::Error::other("gone");
    let body = pieces(vec![(0, Ok(Bytes::copy_from_slice(first.as_bytes()))), (0, Err(gone))]);
    scene.send(import(provision, body)).is(400, "bad_request");
    let shown = scene.get(provision, "/v1/imports").ok()["items"][0].clone();
    assert_eq!(shown["stopped"], "bad_request");
    let [lines, done, unchanged, refused] = counts(&shown);
    assert_eq!((lines, unchanged, refused), (done, 0, 0), "{shown}");
    let again = scene.send(import(provision, all)).ok();
    assert_eq!(counts(&again), [320, 320 - done, done, 0], "{again}");
}

#[test]
fn t45_an_import_is_bounded_and_only_two_run_at_once() {
    let scene = Scene::new();
    let provision = &scene.known.provision;
    for (who, status, code) in [
        ("", 401, "unauthenticated"),
        (scene.known.operate.as_str(), 403, "forbidden"),
        (scene.decide_key("boats"), 403, "forbidden"),
        (scene.at("ana@marina"), 403, "forbidden"),
    ] {
        scene.send(import(who, "")).is(status, code);
        for path in ["/v1/imports", "/v1/imports/imp_x", "/v1/imports/imp_x/refusals"] {
            scene.get(who, path).is(status, code);
        }
    }
    scene.get(provision, "/v1/imports/imp_x").is(404, "not_found");
    let mut json = import(provision, "{}");
    json.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    scene.send(json).is(415, "unsupported_media_type");
    assert_eq!(counts(&scene.send(import(provision, "")).ok()), [0; 4]);
    let much = Bytes::from(vec![b'x'; 1024 * 1024]);
    let much = pieces((0..65).map(|_| (0, Ok(much.clone()))).collect());
    scene.send(import(provision, much)).is(413, "too_large");

    let slow = || pieces(vec![(0, Ok("\n".into())), (400, Ok("\n".into()))]);
    let (first, second, third) = scene.runtime.block_on(async {
        tokio::join!(
            send(&scene.router, import(provision, slow())),
            send(&scene.router, import(provision, slow())),
            async {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                send(&scene.router, import(provision, "")).await
            }
        )
    });
    assert_eq!((first.status, second.status), (200, 200));
    third.is(503, "busy");
    scene.send(import(provision, "")).ok();
}

#[test]
fn t44_what_is_kept_of_a_refused_line_has_an_end() {
    let scene = Scene::new();
    let provision = &scene.known.provision;
    let long = "\u{fc}".repeat(20_000);
    let line = json!({ "kind": "organisation", "id": "a", "name": "A", (long.as_str()): 1 });
    let named = json!({ "kind": long, "id": "a" });
    let shown = scene.send(import(provision, lines(&[line, named]))).ok();
    assert_eq!(counts(&shown)[3], 2, "{shown}");
    let at = format!("/v1/imports/{}/refusals", text(&shown["id"]));
    let told = scene.get(provision, &at).ok();
    for refusal in told["items"].as_array().unwrap() {
        let length = |name: &str| refusal[name].as_str().map_or(0, |t| t.chars().count());
        assert!(length("detail") <= 200 && length("field") <= 200, "{refusal}");
        assert!(length("detail") > 0, "{refusal}");
    }
}
