//! Whether how long an answer takes says what it may not (T26): statistics over many calls, for
//! `make soak`. A loaded machine makes them slow and not wrong, because both kinds of call are mixed.

use std::time::Instant;

use serde_json::json;

use crate::doors::Scene;
use crate::doors::oauth::Yard;
use crate::harness::text;

/// How many calls of each kind.
fn samples() -> usize {
    std::env::var("COMITY_TIMING_SAMPLES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000)
}

/// Above this two means differ at p < 0.001.
const DIFFERS: f64 = 3.29;

/// Welch's t of two series of times, without the slowest tenth, which is the machine's.
fn welch(mut all: [Vec<f64>; 2]) -> f64 {
    let [(m0, v0), (m1, v1)] = all.each_mut().map(|times| {
        times.sort_by(f64::total_cmp);
        times.truncate(times.len() * 9 / 10);
        let n = times.len() as f64;
        let mean = times.iter().sum::<f64>() / n;
        let variance = times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance / n)
    });
    println!("{m0:.3} us and {m1:.3} us");
    (m0 - m1) / (v0 + v1).sqrt()
}

/// Calls both in an order that means nothing, and compares. One run of three may differ by chance;
/// one that differs in each says something.
fn take_as_long(what: &str, call: impl Fn(bool)) {
    let mut order = 0x9e37_79b9_7f4a_7c15_u64;
    for known in [true, false].repeat(50) {
        call(known); // warm
    }
    let ts: Vec<f64> = (0..3)
        .map(|_| {
            let mut all = [Vec::new(), Vec::new()];
            while all.iter().any(|times| times.len() < samples()) {
                order ^= order << 13;
                order ^= order >> 7;
                order ^= order << 17;
                let known = order & 1 == 1;
                let began = Instant::now();
                call(known);
                let took = began.elapsed();
                all[usize::from(known)].push(took.as_secs_f64() * 1e6);
            }
            welch(all)
        })
        .collect();
    println!("{what}: t = {ts:?}");
    assert!(ts.iter().any(|t| t.abs() < DIFFERS), "{what}: t = {ts:?}");
}

#[test]
fn t26_the_comparison_finds_a_difference_that_is_there() {
    let series = |more: f64| (0..1_000).map(|n| f64::from(n % 17) + more).collect::<Vec<_>>();
    assert!(welch([series(0.0), series(0.0)]).abs() < DIFFERS);
    assert!(welch([series(0.0), series(1.0)]).abs() > DIFFERS);
}

#[test]
#[ignore = "minutes long: make soak"]
fn t26_a_sign_in_takes_as_long_whoever_is_there() {
    let scene = Scene::new();
    take_as_long("sign-in", |known| {
        let email = if known { "ana@marina.example" } else { "amy@marina.example" };
        let body = json!({ "email": email, "password": "a wrong password!" });
        scene.post("", "/v1/sign-in", &body).is(401, "sign_in_failed");
    });
}

#[test]
#[ignore = "minutes long: make soak"]
fn t26_a_token_takes_as_long_whether_it_was_one_or_never() {
    let yard = Yard::new();
    let ended = text(&yard.opaque(&[]).ok()["access_token"]);
    yard.form("/oauth/revoke", None, &[("token", &ended)]).ok();
    let never = comity_app::tokens::Secret::new(comity_app::tokens::Kind::Session);
    take_as_long("token", |known| {
        let token = if known { ended.as_str() } else { never.reveal() };
        yard.get(token, "/v1/me").is(401, "unauthenticated");
    });
}

#[test]
#[ignore = "minutes long: make soak"]
fn t26_a_customer_id_takes_as_long_whether_it_leads_nowhere_or_away() {
    let yard = Yard::new();
    let (ana, pia) = (yard.at("ana@marina"), yard.at("pia@harbor-help"));
    let at = "/v1/organisations/marina/settings";
    let seen = yard.get(ana, at);
    let mut settings = seen.ok();
    settings["blocked_partners"] = json!([yard.known.organisations["harbor-help"]]);
    let tag = seen.headers["etag"].to_str().unwrap().to_owned();
    yard.put_seen(ana, at, &settings, &tag).ok();
    let (blocked, none) = (yard.there.code.clone(), "00000-00000-00000-00000-00");
    take_as_long("customer ID", |known| {
        let code = if known { blocked.as_str() } else { none };
        let body = json!({ "customer_id": code, "level": "partner", "modes": ["direct"], "reason": "Hull" });
        yard.post(pia, "/v1/organisations/harbor-help/requests", &body).is(404, "not_found");
    });
}
