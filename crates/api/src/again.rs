//! `Idempotency-Key`: sending a command again without knowing what became of it
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! This layer reads the key and what was asked; [`Who`](crate::auth::Who) hands both down with every
//! command. What is no command has no effect to repeat, so the header means nothing there, and
//! nothing on routes that nobody is signed in for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_domain::command::{Caller, Once, Principal};
use comity_domain::ids::Digest32;

use crate::problem::Problem;
use crate::routes::MOST_BODY;

/// The header of the request.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of the answer to one that was carried out before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The longest key, in characters.
const LONGEST: usize = 255;

/// A request that may be sent again.
#[derive(Debug)]
pub struct Sending {
    key: String,
    route: String,
    body: Digest32,
    /// How many commands it has given so far: each has a key of its own, made of the request's.
    commands: AtomicU64,
    replayed: AtomicBool,
}

impl Sending {
    /// For the next command of this request; `None` where nobody in particular calls.
    pub fn next(&self, app: &App, caller: &Caller) -> Option<Once> {
        let principal = match caller.principal {
            Principal::Person { person, .. } => person.to_string(),
            Principal::Key(key) => key.to_string(),
            Principal::PartnerSession(session) => session.to_string(),
            Principal::Anonymous | Principal::System => return None,
        };
        let nth = self.commands.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let key = app.keys().again(&[b"key", principal.as_bytes(), self.key.as_bytes(), &nth]);
        Some(Once { principal, key, route: self.route.clone(), body: self.body })
    }

    /// Notes that what is answered was done before.
    pub fn was_replayed(&self) {
        self.replayed.store(true, Ordering::Relaxed);
    }
}

/// The key: a string of RFC 8941, section 3.3.3, or as a bare token; 1 to 255 visible characters of
/// ASCII. Both spellings of the same key are the same.
fn parse(text: &str) -> Option<String> {
    let text = text.trim_matches([' ', '\t']);
    let key = match text.strip_prefix('"') {
        Some(quoted) => {
            let mut left = quoted.strip_suffix('"')?.chars();
            let mut key = String::new();
            while let Some(c) = left.next() {
                key.push(match c {
                    '"' => return None,
                    '\\' => left.next().filter(|c| matches!(c, '"' | '\\'))?,
                    c => c,
                });
            }
            key
        }
        None if text.contains(['"', ',', ';', '\\']) => return None,
        None => text.to_owned(),
    };
    let fits = (1..=LONGEST).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(key)
}

fn read(request: &Request) -> Result<Option<String>, Problem> {
    let mut sent = request.headers().get_all(KEY).iter();
    let Some(first) = sent.next() else {
        return Ok(None);
    };
    let key = first.to_str().ok().and_then(parse).filter(|_| sent.next().is_none());
    key.map(Some).ok_or_else(|| {
        Problem::field("Idempotency-Key", "must be one key of 1 to 255 visible ASCII characters")
    })
}

/// See the module.
pub async fn again(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let known = request.headers().contains_key(header::AUTHORIZATION);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (false, true, Some(route)) = (safe, known, route) else {
        return next.run(request).await;
    };
    let key = match read(&request) {
        Ok(None) => return next.run(request).await,
        Ok(Some(key)) => key,
        Err(problem) => return problem.into_response(),
    };
    let (mut parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, MOST_BODY).await else {
        return Problem::too_large().into_response();
    };
    let (method, path) = (parts.method.as_str(), parts.uri.to_string());
    let body = app.keys().again(&[b"request", method.as_bytes(), path.as_bytes(), &bytes]);
    let route = format!("{method} {}", route.as_str());
    let (commands, replayed) = (AtomicU64::new(0), AtomicBool::new(false));
    let sending = Arc::new(Sending { key, route, body, commands, replayed });
    parts.extensions.insert(sending.clone());
    let mut response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    if sending.replayed.load(Ordering::Relaxed) && response.status().is_success() {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_string_or_a_bare_token_of_visible_characters() {
        for (text, key) in [
            ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            (" a ", "a"),
            ("\"a\\\"b\\\\c,;d\"", "a\"b\\c,;d"),
        ] {
            assert_eq!(parse(text).as_deref(), Some(key), "{text}");
        }
        let (longest, longer) = ("k".repeat(255), "k".repeat(256));
        assert_eq!(parse(&longest).as_deref(), Some(longest.as_str()));
        for bad in [
            "",
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "\"a\\",
            "\"a\\n\"",
            "a b",
            "\"a b\"",
            "\"a\";b=1",
            "a,b",
            "é",
            &longer,
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
