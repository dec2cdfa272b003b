//! One line in the log and one count for each request, and the request's name.
//!
//! What callers wrote never gets into the log: the route is its template, never the path or the
//! query, and a name for the request is taken over only if it is a UUID or 32 hexadecimal digits,
//! which no secret of ours is.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use comity_app::App;
use comity_app::clock::stopwatch;
use comity_app::metrics::Metrics;
use comity_app::random;

/// How a request is named in its answer and in the log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Evaluations are far more than everything else together, and the calls' records hold each of
/// them: their lines are for `debug`.
const EVALUATION: &str = "/access/v1/evaluation";

/// What is said when the request is over, also when it ends because the client goes away.
struct Line<W: Fn() -> Duration> {
    metrics: Arc<Metrics>,
    method: &'static str,
    route: Option<MatchedPath>,
    id: String,
    watch: W,
    status: Option<u16>,
}

impl<W: Fn() -> Duration> Drop for Line<W> {
    fn drop(&mut self) {
        let Self { method, id, status, .. } = self;
        let route = self.route.as_ref().map_or("none", MatchedPath::as_str);
        let took = (self.watch)();
        let ms = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) / 100;
        let ms = format_args!("{}.{}", ms / 10, ms % 10);
        self.metrics.request(method, route, *status);
        if route == EVALUATION {
            self.metrics.evaluated(took);
        }
        match status {
            Some(status) if route == EVALUATION => {
                tracing::debug!(method, route, status, %ms, request = id, "request");
            }
            Some(status) => tracing::info!(method, route, status, %ms, request = id, "request"),
            None => tracing::info!(method, route, %ms, request = id, "request dropped"),
        }
    }
}

/// The words for the methods that there are; whatever else is sent is one word.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A UUID in its text form (RFC 9562) or 32 hexadecimal digits.
fn well_formed(id: &str) -> bool {
    let bytes = id.as_bytes();
    match bytes.len() {
        32 => bytes.iter().all(u8::is_ascii_hexdigit),
        36 => bytes.iter().enumerate().all(|(at, b)| {
            if matches!(at, 8 | 13 | 18 | 23) { *b == b'-' } else { b.is_ascii_hexdigit() }
        }),
        _ => false,
    }
}

fn name(request: &Request) -> String {
    let mut sent = request.headers().get_all(REQUEST_ID).iter();
    let (first, second) = (sent.next().and_then(|v| v.to_str().ok()), sent.next());
    match first {
        Some(id) if second.is_none() && well_formed(id) => id.to_owned(),
        _ => format!("{:032x}", u128::from_be_bytes(random::bytes())),
    }
}

/// What of the sender's own name for the request goes back to the sender, whom AuthZEN promises it:
/// visible ASCII, at most 128 characters. It goes nowhere else; the log keeps [`name`].
fn echo(request: &Request) -> Option<HeaderValue> {
    let mut sent = request.headers().get_all(REQUEST_ID).iter();
    let (first, second) = (sent.next()?, sent.next());
    let bytes = first.as_bytes();
    let safe = (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    (safe && second.is_none()).then(|| first.clone())
}

/// See the module.
pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let echo = echo(&request);
    let mut line = Line {
        metrics: app.metrics().clone(),
        method: word(request.method()),
        route: request.extensions().get::<MatchedPath>().cloned(),
        id: name(&request),
        watch: stopwatch(),
        status: None,
    };
    let mut response = next.run(request).await;
    line.status = Some(response.status().as_u16());
    if let Some(id) = echo.or_else(|| HeaderValue::from_str(&line.id).ok()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t41_only_what_cannot_be_a_secret_or_a_line_is_taken_over_as_a_name() {
        for good in ["0123456789abcdef0123456789ABCDEF", "550e8400-e29b-41d4-a716-446655440000"] {
            assert!(well_formed(good), "{good}");
        }
        let key_file = "a".repeat(64);
        for bad in [
            "",
            "cmt_key_0123456789abcdef0123456789abcdef",
            "550e8400-e29b-41d4-a716-44665544000\n",
            "550e8400e29b-41d4-a716-4466554400000",
            "ana@marina.example",
            &key_file,
        ] {
            assert!(!well_formed(bad), "{bad}");
        }
    }
}
