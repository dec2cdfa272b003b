//! The guard as a tower layer, for axum.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tower::{Layer, Service};

use crate::client::{Comity, Question};
use crate::decision::{Decision, Yes};

type Asks = dyn Fn(&Parts) -> Option<Question> + Send + Sync;

/// What becomes of a request without a partner token.
#[derive(Debug, Clone, Default)]
pub enum NoSession {
    /// 401.
    #[default]
    Refuse,
    /// Your own authentication takes over. A token that is there and is refused never passes.
    Pass {
        /// Comity's issuer, so that its JWTs are known from your own.
        issuer: Option<String>,
    },
}

/// Lets through what Comity says yes to. The handler finds the [`Yes`] among the request's
/// extensions: `Extension<Yes>`, which answers 500 where no guard stands before it.
#[derive(Clone)]
pub struct Guard {
    comity: Comity,
    question: Arc<Asks>,
    no_session: NoSession,
}

impl Guard {
    /// `question` says what a request would do; where it says nothing, the request is refused.
    #[must_use]
    pub fn new(
        comity: Comity,
        question: impl Fn(&Parts) -> Option<Question> + Send + Sync + 'static,
    ) -> Self {
        Self { comity, question: Arc::new(question), no_session: NoSession::default() }
    }

    /// What becomes of a request without a partner token: 401 unless said here.
    #[must_use]
    pub fn no_session(self, no_session: NoSession) -> Self {
        Self { no_session, ..self }
    }

    /// A refusal, a yes, or nothing for what passes.
    async fn judged(&self, parts: &Parts) -> Result<Option<Yes>, Response> {
        let token = token(&parts.headers);
        if let NoSession::Pass { issuer } = &self.no_session {
            match &token {
                Token::None => return Ok(None),
                Token::One(token) if !is_partners(token, issuer.as_deref()) => return Ok(None),
                _ => {}
            }
        }
        let Token::One(token) = token else {
            let detail = "Send Authorization: Bearer with a partner session's token.";
            return Err(refusal(StatusCode::UNAUTHORIZED, "unauthenticated", detail));
        };
        let Some(question) = (self.question)(parts) else {
            return Err(refusal(StatusCode::FORBIDDEN, "no_question", "No partner may do this."));
        };
        let id = parts.headers.get("x-request-id").and_then(|v| v.to_str().ok());
        let question = match id {
            Some(id) => question.request_id(id),
            None => question,
        };
        match self.comity.decide(&token, &question).await {
            Decision::Yes(yes) => Ok(Some(yes)),
            Decision::No(no) => {
                let status = match no.reason.as_str() {
                    "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::FORBIDDEN,
                };
                let detail = if no.message.is_empty() { "No." } else { &no.message };
                Err(refusal(status, &no.reason, detail))
            }
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("no_session", &self.no_session).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A service with a [`Guard`] before it.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that was ready is used, and a fresh one left behind.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let guard = self.guard.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            strip(&mut parts.headers);
            parts.extensions.remove::<Yes>();
            match guard.judged(&parts).await {
                Err(refusal) => return Ok(refusal),
                Ok(Some(yes)) => drop(parts.extensions.insert(yes)),
                Ok(None) => {}
            }
            inner.call(Request::from_parts(parts, body)).await
        })
    }
}

/// Removes the headers by which a gateway tells who the partner is: from outside they are lies.
fn strip(headers: &mut HeaderMap) {
    let lie = |name: &&HeaderName| name.as_str().replace('_', "-").starts_with("x-partner-");
    let lies: Vec<HeaderName> = headers.keys().filter(lie).cloned().collect();
    for name in lies {
        headers.remove(name);
    }
}

/// What a request carries. Something malformed is never taken for nothing, and two headers are
/// never taken for one, since another program might read the other.
enum Token {
    None,
    One(String),
    Malformed,
}

fn token(headers: &HeaderMap) -> Token {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), more) = (all.next(), all.next()) else { return Token::None };
    let Some(value) = value.to_str().ok().filter(|_| more.is_none()) else {
        return Token::Malformed;
    };
    let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        let lower = value.to_ascii_lowercase();
        let meant = lower.contains("cmt_") || lower.trim_start().starts_with("bearer");
        return if meant { Token::Malformed } else { Token::None };
    }
    let token = rest.trim();
    let whole = !token.is_empty() && !token.contains([' ', ',', '\t']);
    if whole { Token::One(token.to_owned()) } else { Token::Malformed }
}

/// Whether a token claims to be Comity's: an opaque one by its prefix, a JWT by its issuer.
fn is_partners(token: &str, issuer: Option<&str>) -> bool {
    if token.starts_with("cmt_") {
        return true;
    }
    let claimed = || {
        let body = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&body).ok()?;
        Some(claims.get("iss")?.as_str()?.to_owned())
    };
    issuer.is_some() && claimed().as_deref() == issuer
}

fn refusal(status: StatusCode, code: &str, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(),
        "code": code, "detail": detail });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let problem = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, problem);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
