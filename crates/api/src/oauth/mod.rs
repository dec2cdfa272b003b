//! OAuth 2.0: how products meet Comity by what their libraries speak already.
//!
//! - [`exchange`]: `POST /oauth/token`, entering a customer by token exchange (RFC 8693).
//! - [`introspect`], [`revoke`]: asking about a token (RFC 7662), giving one back (RFC 7009).
//! - [`client`]: how an application proves itself. [`metadata`]: what is where (RFC 8414, RFC 9728,
//!   RFC 7517).
//! - [`form`]: parameters as RFC 6749 wants them read.
//!
//! Errors are those of RFC 6749, section 5.2, with Comity's stable code beside them.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use comity_app::Failure;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

pub mod client;
pub mod exchange;
mod form;
pub mod introspect;
pub mod metadata;
pub mod revoke;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// An OAuth error: `error` is the protocol's word, `code` is Comity's.
#[derive(Debug, Serialize, ToSchema)]
pub struct OauthError {
    /// The word of RFC 6749, section 5.2, or of the RFC of the route.
    #[schema(example = "invalid_target")]
    error: &'static str,
    /// One sentence: what is wrong, and what to do.
    #[schema(example = "There is nothing here that you may see.")]
    error_description: String,
    /// Comity's stable code, as in problem details.
    #[schema(example = "not_found")]
    code: &'static str,
    /// The grants to choose from by `grant`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    grants: Vec<String>,
}

/// An answer that is an error.
#[derive(Debug)]
pub struct Wrong {
    status: StatusCode,
    body: OauthError,
    /// When to come again, if it was too often.
    when: HeaderMap,
}

impl Wrong {
    fn new(error: &'static str, code: &'static str, why: impl Into<String>) -> Self {
        let body = OauthError { error, error_description: why.into(), code, grants: Vec::new() };
        Self { status: StatusCode::BAD_REQUEST, body, when: HeaderMap::new() }
    }

    /// A parameter is missing, twice there, or makes no sense.
    fn request(why: impl Into<String>) -> Self {
        Self::new("invalid_request", "invalid", why)
    }

    /// The client has not proven itself. There is one answer for whatever was wrong.
    fn client() -> Self {
        let why = "The client is unknown, or has not proven itself.";
        let status = StatusCode::UNAUTHORIZED;
        Self { status, ..Self::new("invalid_client", "unauthenticated", why) }
    }

    /// Whether the client has not proven itself.
    fn is_of_the_client(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// This node cannot know.
    fn unavailable(failure: Failure) -> Self {
        Self::from(Problem::from(failure))
    }
}

/// A refusal in OAuth's words: what is asked for is not to be had.
impl From<Problem> for Wrong {
    fn from(problem: Problem) -> Self {
        let (status, error) = match (problem.status(), problem.wrong_field()) {
            (s, _) if s.is_server_error() || s == StatusCode::TOO_MANY_REQUESTS => {
                (s, "temporarily_unavailable")
            }
            (StatusCode::PAYLOAD_TOO_LARGE, _) => (problem.status(), "invalid_request"),
            (_, Some("scope")) => (StatusCode::BAD_REQUEST, "invalid_scope"),
            (_, Some("audience" | "resource")) | (StatusCode::NOT_FOUND, _) => {
                (StatusCode::BAD_REQUEST, "invalid_target")
            }
            (StatusCode::UNPROCESSABLE_ENTITY, _) => (StatusCode::BAD_REQUEST, "invalid_request"),
            _ => (StatusCode::BAD_REQUEST, "invalid_grant"),
        };
        let body = OauthError {
            error,
            error_description: problem.detail().to_owned(),
            code: problem.code(),
            grants: problem.grants().to_vec(),
        };
        let mut when = HeaderMap::new();
        problem.say_when(&mut when);
        Self { status, body, when }
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Problem::from(failure).into()
    }
}

impl From<Wrong> for Response {
    fn from(wrong: Wrong) -> Self {
        let mut response = (wrong.status, Json(wrong.body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if wrong.status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"comity\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, basic);
        }
        if wrong.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        headers.extend(wrong.when);
        response
    }
}

/// An answer of these routes; nobody keeps it (RFC 6749, section 5.1).
fn answer<T: Serialize>(result: Result<T, Wrong>) -> Response {
    match result {
        Ok(body) => ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response(),
        Err(wrong) => wrong.into(),
    }
}
