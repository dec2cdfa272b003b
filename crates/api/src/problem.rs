//! How "no" and "broken" look over HTTP: RFC 9457 problem details with a stable `code`.
//!
//! One table from the domain's classes to status codes. What is not the caller's gets the same
//! status and the same bytes as what is not there.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use comity_app::Failure;
use comity_domain::refusal::{Class, Refusal};
use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::TooOften;
use crate::openapi::values;

/// Why not: problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "type": "about:blank", "title": "Unprocessable Entity", "status": 422, "code": "invalid",
    "detail": "days must be from 1 to 730.", "field": "days" })))]
pub struct Problem {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The stable word for this problem. New ones may come.
    code: &'static str,
    /// What is wrong and what to do, for people; may change.
    detail: String,
    /// Which field is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    /// The grants to choose from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, value_type = Vec<values::GrantId>)]
    grants: Vec<String>,
    /// By which to go on with a code, for five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ticket: Option<String>,
    /// What was done too often.
    #[serde(skip)]
    too_often: Option<TooOften>,
}

impl Problem {
    /// A problem that no rule of the domain raises.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            field: None,
            grants: Vec::new(),
            ticket: None,
            too_often: None,
        }
    }

    /// A field is wrong.
    pub fn field(field: impl Into<String>, why: impl AsRef<str>) -> Self {
        let field = field.into();
        let detail = format!("{field} {}.", why.as_ref());
        Self {
            field: Some(field),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
        }
    }

    /// The same with another sentence.
    #[must_use]
    pub fn with_detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }

    /// Nobody has shown who they are.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Send Authorization: Bearer with a sign-in token or key that is in force.",
        )
    }

    /// This node cannot confirm that what it knows is current (inv10).
    #[must_use]
    pub fn not_current(app: &comity_app::App) -> Self {
        if app.breach().is_some() {
            return Failure::Guarded.into();
        }
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stale",
            "This node cannot confirm that it is current. Nothing was done; try again.",
        )
    }

    /// More was sent than is read.
    #[must_use]
    pub fn too_large() -> Self {
        let detail = "The body may have at most 256 KiB.";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// The password is right, and a code is needed too.
    #[must_use]
    pub fn second_factor(ticket: String) -> Self {
        let detail = "Send what your app shows, or a recovery code, with this ticket.";
        let problem = Self::new(StatusCode::UNAUTHORIZED, "second_factor_needed", detail);
        Self { ticket: Some(ticket), ..problem }
    }

    /// As if it were not there.
    #[must_use]
    pub fn not_found() -> Self {
        Refusal::NotFound.into()
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Which field is wrong.
    #[must_use]
    pub fn wrong_field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The grants to choose from.
    #[must_use]
    pub fn grants(&self) -> &[String] {
        &self.grants
    }

    /// The sentence.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Says when to come again, if that is what it is about.
    pub fn say_when(&self, headers: &mut HeaderMap) {
        if let Some(no) = self.too_often {
            say_when(headers, no);
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<TooOften> for Problem {
    fn from(no: TooOften) -> Self {
        let seconds = no.seconds();
        let detail = format!("Too often ({}): try again in {seconds} s.", no.name);
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        Self { too_often: Some(no), ..problem }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.class() {
            Class::Missing => StatusCode::NOT_FOUND,
            Class::Forbidden => StatusCode::FORBIDDEN,
            Class::Unauthenticated => StatusCode::UNAUTHORIZED,
            Class::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Class::Conflict => StatusCode::CONFLICT,
            Class::Unconditional => StatusCode::PRECONDITION_REQUIRED,
            Class::Precondition => StatusCode::PRECONDITION_FAILED,
        };
        let mut problem = Self::new(status, refusal.code(), refusal.sentence());
        match refusal {
            Refusal::Invalid { field, .. } => problem.field = Some(field.to_owned()),
            Refusal::GrantRequired(grants) => {
                problem.field = Some("grant".into());
                problem.grants = grants.iter().map(ToString::to_string).collect();
            }
            _ => {}
        }
        problem
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Unavailable(why) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                format!("Nothing was done: {why}. Try again."),
            ),
            Failure::TooOften { most, per, seconds } => {
                let duration = |ms: i64| Duration::from_millis(ms.unsigned_abs());
                let (per, after) = (duration(per), Duration::from_secs(seconds));
                TooOften { name: "second_factor", count: most, per, after }.into()
            }
            Failure::Guarded => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "restore_unresolved",
                "An older database was put back; nothing is changed until the operator has resolved it.",
            ),
            Failure::Unknown => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unknown_outcome",
                "It was carried out or it was not: read it again, or send it again with the same Idempotency-Key.",
            ),
            Failure::Broken(error) => {
                tracing::error!(error, "broken");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "broken",
                    "Something is broken here; the operator's log says what.",
                )
            }
        }
    }
}

/// When to come again, as `Retry-After` (RFC 9110) and in the fields of
/// draft-ietf-httpapi-ratelimit-headers-10.
fn say_when(headers: &mut HeaderMap, no: TooOften) {
    let (name, after) = (no.name, no.seconds());
    let policy = format!("\"{name}\";q={};w={}", no.count, no.per.as_secs());
    for (field, text) in [
        (header::RETRY_AFTER, after.to_string()),
        (HeaderName::from_static("ratelimit-policy"), policy),
        (HeaderName::from_static("ratelimit"), format!("\"{name}\";r=0;t={after}")),
    ] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(field, value);
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, too_often) = (self.status(), self.too_often);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(no) = too_often {
            say_when(headers, no);
        }
        response
    }
}

/// No such path.
pub async fn no_route() -> Problem {
    Problem::not_found()
}

/// No such method on this path.
pub async fn no_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path does not take that method.",
    )
}
