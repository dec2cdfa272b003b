//! What an import does and what it does to others: `cargo bench -p comity-api --bench import`.
//!
//! `COMITY_LINES` (100,000) lines are imported on SQLite, a hundred for each organisation; beside it
//! accounts are removed one by one, each by a call of its own: an ending, like a revoke.

// A benchmark that cannot be set up should say so loudly, and it reads the clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use comity_app::App;
use comity_app::app::Settings;
use comity_app::clock::Clock;
use comity_app::people::passwords::Cost;
use comity_domain::application::KeyUse;
use comity_domain::command::Caller;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

async fn send(
    router: &Router,
    token: &str,
    request: axum::http::request::Builder,
    body: Body,
) -> (u16, Value) {
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    let answer = router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn import(router: &Router, token: &str, lines: String) -> Value {
    let request = Request::post("/v1/imports").header(header::CONTENT_TYPE, "application/x-ndjson");
    let chunks: Vec<_> = lines.into_bytes().chunks(16 * 1024).map(<[u8]>::to_vec).collect();
    let body = tokio_stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
    let (status, shown) = send(router, token, request, Body::from_stream(body)).await;
    assert_eq!((status, &shown["refused"]), (200, &json!(0)), "{shown}");
    shown
}

fn lines(count: usize) -> String {
    let mut out = String::new();
    for n in 0..count {
        let of = format!("org-{}", n / 100);
        let line = match n % 100 {
            0 => json!({ "kind": "organisation", "id": of, "name": format!("Organisation {of}") }),
            1..=4 => {
                json!({ "kind": "unit", "organisation": of, "id": format!("u{}", n % 100), "name": "Unit" })
            }
            5..=9 => {
                json!({ "kind": "role", "organisation": of, "id": format!("r{}", n % 100), "name": "Role",
                "permissions": ["boats:read", "bookings:*"] })
            }
            10..=59 => {
                json!({ "kind": "account", "organisation": of, "id": format!("a{}", n % 100),
                "name": "Boat", "unit": format!("u{}", 1 + n % 4) })
            }
            _ => {
                json!({ "kind": "member", "organisation": of, "id": format!("m{}", n % 100), "name": "Mia Member",
                "email": format!("m{}@{of}.example", n % 100), "email_verified": true })
            }
        };
        out.push_str(&line.to_string());
        out.push('\n');
    }
    out
}

/// Removes accounts one after the other until it is told to stop, and says how long each took.
async fn endings(
    router: &Router,
    token: &str,
    from: usize,
    most: usize,
    over: &AtomicBool,
) -> Vec<Duration> {
    let mut times = Vec::new();
    for n in from..from + most {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        let request = Request::delete(format!("/v1/organisations/harbour/accounts/e{n}"));
        let (status, answer) = send(router, token, request, Body::empty()).await;
        assert_eq!(status, 204, "{answer}");
        times.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    times
}

fn shown(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |p: usize| times[(times.len() * p / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{what:<44} {:>7.2} ms p50  {:>7.2} ms p99  ({} of them)",
        at(50),
        at(99),
        times.len()
    );
}

fn main() {
    let count = std::env::var("COMITY_LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_path_buf();
    let settings = Settings::new(data.clone(), data.join("comity.key"), Cost::TESTS);
    let app = App::start(&settings, Arc::new(Clock::system())).unwrap();
    let router = comity_api::router(app.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let key = app.make_key(&Caller::system(), KeyUse::Operate, None).await.unwrap().0;
        let request = Request::post("/v1/platform/keys").header(header::CONTENT_TYPE, "application/json");
        let (_, made) = send(&router, key.reveal(), request, Body::from(r#"{"use":"provision"}"#)).await;
        let token = made["secret"].as_str().unwrap().to_owned();
        let mut ready = json!({ "kind": "organisation", "id": "harbour", "name": "Harbour" }).to_string();
        for n in 0..20_000 {
            let line = json!({ "kind": "account", "organisation": "harbour", "id": format!("e{n}"), "name": "Boat" });
            ready = format!("{ready}\n{line}");
            if n % 1_000 == 999 {
                import(&router, &token, std::mem::take(&mut ready)).await;
            }
        }
        let never = AtomicBool::new(false);
        let mut alone = endings(&router, &token, 0, 1_000, &never).await;
        shown("an ending, alone", &mut alone);
        let over = AtomicBool::new(false);
        let body = lines(count);
        let (took, mut beside) = tokio::join!(
            async {
                let began = Instant::now();
                let shown = import(&router, &token, body.clone()).await;
                over.store(true, Ordering::Relaxed);
                assert_eq!(shown["done"], count);
                began.elapsed()
            },
            endings(&router, &token, 1_000, 19_000, &over)
        );
        let rate = |took: Duration| count as f64 / took.as_secs_f64();
        println!("{count} lines, new: {took:.1?}, {:.0} lines/s", rate(took));
        shown("an ending, beside it", &mut beside);
        let began = Instant::now();
        let again = import(&router, &token, body).await;
        assert_eq!(again["unchanged"], count);
        let took = began.elapsed();
        println!("{count} lines, sent again: {took:.1?}, {:.0} lines/s", rate(took));
    });
    app.stop();
}
