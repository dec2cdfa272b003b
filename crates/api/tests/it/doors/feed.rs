//! `/v1/events`: each reader its own part, in order, without gap or repetition, and awake at once.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Scene;
use crate::harness::{request, send, text};
use crate::town::Town;

/// All events of a reader, in steps of `limit` rows.
fn read(town: &Town, token: &str, whose: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = town.get(token, &format!("/v1/events?{whose}limit={limit}&after={after}")).ok();
        let items = page["items"].as_array().unwrap().clone();
        let next = page["after"].as_u64().unwrap();
        assert!(next >= after, "it never goes back");
        if items.is_empty() {
            return all;
        }
        assert_eq!(
            items.last().unwrap()["seq"].as_u64(),
            Some(next),
            "after is the last one shown"
        );
        all.extend(items);
        after = next;
    }
}

fn place(event: &Value) -> (u64, u64) {
    (event["seq"].as_u64().unwrap(), event["index"].as_u64().unwrap())
}

#[test]
fn events_come_in_order_without_gap_or_repetition_whatever_the_step() {
    let scene = Scene::new();
    let provision = &scene.known.provision;
    let all = read(&scene, provision, "", 200);
    let places: Vec<_> = all.iter().map(place).collect();
    assert!(places.windows(2).all(|w| w[0] < w[1]), "in order and each once");
    let seqs: std::collections::BTreeSet<u64> = places.iter().map(|p| p.0).collect();
    assert_eq!(
        seqs.iter().copied().collect::<Vec<_>>(),
        (1..=*seqs.last().unwrap()).collect::<Vec<_>>(),
        "no row is left out"
    );
    for limit in [1, 2, 7] {
        assert_eq!(read(&scene, provision, "", limit), all, "by {limit}");
    }
    // What begins in between goes on from there.
    let middle = places[places.len() / 2].0;
    let rest = scene.get(provision, &format!("/v1/events?after={middle}&limit=200")).ok();
    assert!(rest["items"].as_array().unwrap().iter().all(|e| place(e).0 > middle));
}

#[test]
fn each_reader_sees_its_own_part_and_the_platform_all_of_it() {
    let scene = Scene::new();
    let all = read(&scene, &scene.known.provision, "", 200);
    let mut seen = 0;
    for (who, home) in [
        ("ana@marina", "marina"),
        ("pia@harbor-help", "harbor-help"),
        ("quinn@quayside", "quayside"),
        ("freya@fjord", "fjord"),
    ] {
        let own = read(&scene, scene.at(who), &format!("organisation={home}&"), 200);
        assert!(!own.is_empty());
        for event in &own {
            let same =
                all.iter().find(|e| place(e) == place(event)).expect("the platform has it too");
            assert_eq!(same["event"], event["event"], "{home}");
        }
        seen += own.len();
        if ["quayside", "fjord"].contains(&home) {
            let text = json!(own).to_string();
            for other in ["marina", "harbor-help"] {
                assert!(
                    !text.contains(&scene.known.organisations[other]),
                    "{home} reads of {other}"
                );
            }
        }
        // The platform may read by organisation, and is shown the same.
        let by_key = read(&scene, &scene.known.provision, &format!("organisation={home}&"), 200);
        assert_eq!(
            by_key.iter().map(place).collect::<Vec<_>>(),
            own.iter().map(place).collect::<Vec<_>>()
        );
    }
    assert!(seen < all.len() * 2);
    // A person says whose; nobody reads another's; only provisioning reads all.
    scene.get(scene.at("ana@marina"), "/v1/events").is(422, "invalid");
    scene.get(scene.at("ana@marina"), "/v1/events?organisation=fjord").is(404, "not_found");
    scene.get(&scene.known.operate, "/v1/events").is(403, "forbidden");
    scene.get(scene.decide_key("boats"), "/v1/events").is(403, "forbidden");
    scene.get("", "/v1/events").is(401, "unauthenticated");
}

/// Waits for events while something else happens.
fn meanwhile(
    scene: &Scene,
    token: &str,
    path: &str,
    act: &[axum::http::Request<axum::body::Body>],
) -> (crate::harness::Reply, Duration) {
    let poll = request(token, "GET", path, None);
    let began = Instant::now();
    let acts: Vec<_> =
        act.iter().map(|r| (r.method().clone(), r.uri().clone(), r.headers().clone())).collect();
    let (reply, ()) = scene.runtime.block_on(async {
        tokio::join!(send(&scene.router, poll), async {
            for (method, uri, headers) in acts {
                tokio::time::sleep(Duration::from_millis(60)).await;
                let mut request = axum::http::Request::builder().method(method).uri(uri);
                *request.headers_mut().unwrap() = headers;
                let done =
                    send(&scene.router, request.body(axum::body::Body::empty()).unwrap()).await;
                assert!(done.status < 300, "{}", done.text());
            }
        })
    });
    (reply, began.elapsed())
}

#[test]
fn a_reader_that_waits_is_woken_by_what_is_for_it_and_not_by_the_rest() {
    let scene = Scene::new();
    let (ana, pia) = (scene.at("ana@marina"), scene.at("pia@harbor-help"));
    let after =
        scene.get(ana, "/v1/events?organisation=marina&limit=200").ok()["after"].as_u64().unwrap();
    let path = format!("/v1/events?organisation=marina&after={after}&wait=20");
    // Something of others first, then something of its own.
    let (sent, got) = meanwhile(
        &scene,
        ana,
        &path,
        &[
            request(
                &scene.known.provision,
                "DELETE",
                "/v1/organisations/fjord/accounts/boat-1",
                None,
            ),
            request(pia, "POST", &format!("/v1/requests/{}/cancel", scene.there.asked), None),
        ],
    );
    assert!(got < Duration::from_secs(10), "{got:?}");
    let items = sent.ok()["items"].as_array().unwrap().clone();
    assert!(items.iter().any(|e| e["event"]["event"] == json!("request_cancelled")), "{items:?}");
    assert!(!json!(items).to_string().contains("account_removed"));
    let after = sent.json()["after"].as_u64().unwrap();
    assert_eq!(after, items.last().unwrap()["seq"].as_u64().unwrap());
    // Nothing more: the wait ends by itself, and the place stays good.
    let began = Instant::now();
    let nothing =
        scene.get(ana, &format!("/v1/events?organisation=marina&after={after}&wait=1")).ok();
    assert!(began.elapsed() >= Duration::from_millis(900));
    assert_eq!(nothing["items"], json!([]));
    let next = nothing["after"].as_u64().unwrap();
    scene.call(ana, "POST", &format!("/v1/grants/{}/revoke", scene.there.grant), None).ok();
    let more = scene.get(ana, &format!("/v1/events?organisation=marina&after={next}")).ok();
    let kinds: Vec<String> =
        more["items"].as_array().unwrap().iter().map(|e| text(&e["event"]["event"])).collect();
    assert!(
        kinds.iter().any(|k| k == "grant_ended") && kinds.iter().any(|k| k == "session_ended"),
        "{kinds:?}"
    );
}

#[test]
fn a_reader_that_loses_its_right_while_it_waits_is_told_nothing_more() {
    let scene = Scene::new();
    let ana = scene.at("ana@marina");
    let after =
        scene.get(ana, "/v1/events?organisation=marina&limit=200").ok()["after"].as_u64().unwrap();
    let path = format!("/v1/events?organisation=marina&after={after}&wait=20");
    let out = request(ana, "POST", "/v1/sign-out", Some(&json!({})));
    // The body of the sign-out is sent by hand: the helper sends none.
    let poll = request(ana, "GET", &path, None);
    let (reply, ()) = scene.runtime.block_on(async {
        tokio::join!(send(&scene.router, poll), async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            assert_eq!(send(&scene.router, out).await.status, 204);
        })
    });
    assert_eq!(reply.status, 401, "{}", reply.text());
}
