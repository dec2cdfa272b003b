//! `POST /oauth/token`: entering a customer by token exchange (RFC 8693).
//!
//! The subject token is the person's own sign-in; what comes out is an opaque partner-session
//! token for one application. Errors are those of RFC 6749, section 5.2, with Comity's stable code
//! beside them.

use std::str::FromStr as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_app::tokens::{Kind, Secret};
use comity_domain::command::{Command, Door, Enter, Principal};
use comity_domain::event::Event;
use comity_domain::ids::{GrantId, OrganisationId};
use comity_domain::refusal::Refusal;
use comity_domain::rights;
use comity_domain::role::Mode;
use comity_domain::time::SECOND;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::input::too_large;
use crate::openapi::values;
use crate::problem::Problem;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// How a customer is named as an RFC 8693 `resource`.
const CUSTOMER: &str = "urn:comity:organisation:";

/// What is exchanged for what.
#[derive(Deserialize, ToSchema)]
#[schema(as = TokenRequest, examples(json!({ "grant_type": EXCHANGE, "subject_token": "cmt_signin_0123456789abcdefghjkmnpqrs",
    "subject_token_type": ACCESS_TOKEN, "audience": "https://api.boats.example",
    "resource": "urn:comity:organisation:org_01kf4e9ab7c3x8m2v5r6t0w1yz" })))]
#[serde(deny_unknown_fields)]
struct Exchange {
    /// `urn:ietf:params:oauth:grant-type:token-exchange`.
    grant_type: String,
    /// The person's own sign-in.
    subject_token: String,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    subject_token_type: String,
    /// The same, or left out.
    #[schema(nullable = false)]
    requested_token_type: Option<String>,
    /// The application's audience.
    audience: String,
    /// `urn:comity:organisation:org_…`: the customer.
    resource: String,
    /// Under which grant, where several fit.
    #[schema(value_type = values::GrantId, required = false)]
    grant: Option<String>,
    /// How; `direct` unless given.
    #[schema(value_type = values::Mode, required = false)]
    mode: Option<String>,
    /// Why; needed for `act_as`.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// A partner session, with its token.
#[derive(Serialize, ToSchema)]
#[schema(as = TokenAnswer)]
struct Entered {
    /// The token, for one application.
    access_token: String,
    /// What kind of token it is.
    issued_token_type: &'static str,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    /// The permissions, with spaces between them.
    scope: String,
    #[schema(value_type = values::SessionId)]
    session: String,
    #[schema(value_type = values::GrantId)]
    grant: String,
    #[schema(value_type = values::Mode)]
    mode: Mode,
}

/// Why not, in OAuth's words (RFC 6749, section 5.2).
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "error": "invalid_grant", "error_description": "subject_token is not a sign-in in force.", "code": "unauthenticated" })))]
pub struct OAuthError {
    /// The protocol's word.
    error: String,
    /// What is wrong and what to do, for people; may change.
    error_description: String,
    /// Comity's stable word.
    code: String,
    /// The grants to choose from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<values::GrantId>, required = false)]
    grants: Option<Vec<String>>,
}

/// An OAuth error: `error` is the protocol's, `code` is Comity's.
fn wrong(status: StatusCode, error: &str, code: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description, "code": code });
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn invalid(description: &str) -> Response {
    wrong(StatusCode::BAD_REQUEST, "invalid_request", "invalid", description)
}

/// Enter a customer.
///
/// Who may: whoever holds a sign-in, which is the `subject_token`. RFC 8693.
#[utoipa::path(post, path = "/oauth/token", operation_id = "exchangeToken", tag = "Standards", security(),
    request_body(content = Exchange, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "Entered: a partner session for one application.", body = Entered),
        (status = 400, description = "Why not, in OAuth's words.", body = OAuthError),
        (status = 503, description = "`temporarily_unavailable`.", body = OAuthError)))]
pub async fn token(State(app): State<Arc<App>>, request: Request) -> Response {
    match exchange(&app, request).await {
        Ok(entered) => ([(header::CACHE_CONTROL, "no-store")], Json(entered)).into_response(),
        Err(response) => response,
    }
}

async fn read(app: &Arc<App>, request: Request) -> Result<Exchange, Response> {
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if kind.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        return Err(invalid("Send the parameters as application/x-www-form-urlencoded."));
    }
    let bytes = axum::body::Bytes::from_request(request, app)
        .await
        .map_err(|e| too_large(e).into_response())?;
    let form = axum::extract::RawForm(bytes);
    serde_form(&form.0).map_err(|e| invalid(&e))
}

/// Form parameters into the exchange: none unknown, none twice (RFC 6749, section 3.2).
fn serde_form(bytes: &[u8]) -> Result<Exchange, String> {
    let request = axum::http::Request::builder()
        .uri(format!(
            "/?{}",
            std::str::from_utf8(bytes).map_err(|_| "The parameters are not UTF-8.")?
        ))
        .body(())
        .map_err(|_| "The parameters are not URL-encoded.")?;
    let read = axum::extract::Query::<Exchange>::try_from_uri(request.uri());
    read.map(|q| q.0).map_err(|e| format!("{}.", e.body_text()))
}

async fn exchange(app: &Arc<App>, request: Request) -> Result<Entered, Response> {
    let form = read(app, request).await?;
    if form.grant_type != EXCHANGE {
        return Err(wrong(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "invalid",
            "Only urn:ietf:params:oauth:grant-type:token-exchange is spoken here.",
        ));
    }
    if form.subject_token_type != ACCESS_TOKEN {
        return Err(invalid(
            "subject_token_type must be urn:ietf:params:oauth:token-type:access_token.",
        ));
    }
    if form.requested_token_type.as_deref().is_some_and(|t| t != ACCESS_TOKEN) {
        return Err(invalid(
            "requested_token_type must be urn:ietf:params:oauth:token-type:access_token.",
        ));
    }
    let caller = app.caller(&form.subject_token, Door::Token);
    let caller = caller.ok_or_else(|| {
        wrong(
            StatusCode::BAD_REQUEST,
            "invalid_grant",
            "unauthenticated",
            "subject_token is not a sign-in in force.",
        )
    })?;
    if !matches!(caller.principal, Principal::Person { .. }) {
        let no = Refusal::PartnerSession;
        return Err(wrong(StatusCode::BAD_REQUEST, "invalid_grant", no.code(), &no.sentence()));
    }
    let customer =
        form.resource.strip_prefix(CUSTOMER).and_then(|id| OrganisationId::from_str(id).ok());
    let customer = customer.ok_or_else(|| {
        wrong(
            StatusCode::BAD_REQUEST,
            "invalid_target",
            "invalid",
            "resource must be urn:comity:organisation:org_….",
        )
    })?;
    let grant = form.grant.as_deref().map(GrantId::from_str).transpose();
    let grant = grant.map_err(|_| invalid("grant must be an identifier such as grant_…."))?;
    let mode = match form.mode.as_deref() {
        None => Mode::Direct,
        Some(text) => Mode::ALL
            .into_iter()
            .find(|m| m.code() == text)
            .ok_or_else(|| invalid("mode must be direct, view or act_as."))?,
    };
    let secret = Secret::new(Kind::Session);
    let enter = Enter {
        customer,
        audience: form.audience,
        grant,
        mode,
        reason: form.reason,
        token: secret.digest(),
    };
    let done =
        app.run(&caller, Command::Enter(enter)).await.map_err(|e| refused(Problem::from(e)))?;
    let session = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
        Event::SessionStarted { session, .. } => Some(session),
        _ => None,
    });
    let broken = || {
        refused(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "broken",
            "The session was not made.",
        ))
    };
    let compiled = session.and_then(|s| rights::compile(&done.state, s)).ok_or_else(broken)?;
    let scope = compiled.rights.as_ref().map(|r| r.shown().texts().collect::<Vec<_>>().join(" "));
    Ok(Entered {
        access_token: secret.reveal().to_owned(),
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: compiled.deadline.since(done.state.at) / SECOND,
        scope: scope.unwrap_or_default(),
        session: compiled.session.to_string(),
        grant: compiled.grant.to_string(),
        mode: compiled.mode,
    })
}

/// A refusal in OAuth's words: what is asked for is not to be had.
fn refused(problem: Problem) -> Response {
    let (status, error) = match problem.status() {
        s if s.is_server_error() => (s, "temporarily_unavailable"),
        StatusCode::NOT_FOUND => (StatusCode::BAD_REQUEST, "invalid_target"),
        StatusCode::UNPROCESSABLE_ENTITY => (StatusCode::BAD_REQUEST, "invalid_request"),
        _ => (StatusCode::BAD_REQUEST, "invalid_grant"),
    };
    let grants = problem.grants().to_vec();
    let mut body =
        json!({ "error": error, "error_description": problem.detail(), "code": problem.code() });
    if !grants.is_empty() {
        body["grants"] = json!(grants);
    }
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
