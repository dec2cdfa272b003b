//! `POST /oauth/revoke`: giving a token back (RFC 7009).
//!
//! Whoever holds a token may end what it opens: a partner session, whichever of its tokens is
//! shown, or a person's own sign-in. What opens nothing any more is no error.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use comity_app::tokens::{self, Kind};
use comity_app::{App, Failure};
use comity_domain::command::{Command, Door, Principal};
use comity_domain::refusal::Refusal;
use serde::Deserialize;
use utoipa::ToSchema;

use super::client::{Client, client};
use super::form::Form;
use super::{OauthError, Wrong};

/// What is given back.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "the form is read by name; this is how it is told")]
pub struct Revocation {
    /// The token: of a partner session, opaque or signed, or of a person's own sign-in.
    token: String,
    /// Passed over: what a token is can be seen from it.
    token_type_hint: Option<String>,
    /// The application's code. Nothing has to be shown here but the token; what is shown has to
    /// be right.
    client_id: Option<String>,
    /// One of its keys for decide, for `client_secret_post`.
    client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, for `private_key_jwt`.
    client_assertion_type: Option<String>,
    /// The statement that a registered key signed.
    client_assertion: Option<String>,
}

/// Give a token back (RFC 7009).
///
/// When the answer comes, no node says yes to it any more.
#[utoipa::path(post, path = "/oauth/revoke", operation_id = "revokeToken", tag = "Standards", security((), ("client" = [])),
    request_body(content = Revocation, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "It opens nothing now, whatever it was before."),
        (status = 400, description = "A parameter is missing, or the token is of another kind.", body = OauthError),
        (status = 401, description = "What the application showed is wrong.", body = OauthError),
        (status = 503, description = "Not known, or not done; try again.", body = OauthError)))]
pub async fn revoke(State(app): State<Arc<App>>, request: Request) -> Response {
    match give_back(&app, request).await {
        Ok(()) => (StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response(),
        Err(wrong) => wrong.into(),
    }
}

async fn give_back(app: &Arc<App>, request: Request) -> Result<(), Wrong> {
    let form = Form::read(app, request).await?;
    // Whether a token opens something is known only to a node that is current.
    app.current().map_err(Wrong::unavailable)?;
    let who = client(app, &form, "/oauth/revoke").await?;
    let token = form.need("token")?;
    if matches!(
        tokens::parse(token),
        Some((Kind::Key | Kind::Enrolment | Kind::FirstRun | Kind::Invitation, _))
    ) {
        let why = "Keys and enrolment tokens are not given back here.";
        return Err(Wrong::new("unsupported_token_type", "invalid", why));
    }
    if token.contains('.') && !matches!(who, Client::Proven(_)) {
        form.may_be_heard()?;
    }
    let Some(caller) = app.caller(token, Door::Token) else {
        if !matches!(who, Client::Proven(_)) {
            form.stranger()?;
        }
        // Somebody may have ended it a moment ago, and other nodes not know it yet.
        return Ok(app.over_everywhere().await?);
    };
    let command = match caller.principal {
        Principal::PartnerSession(session) => {
            let state = app.state();
            let of = state.sessions.get(session).map(|s| s.application);
            if matches!(who, Client::Proven(client) if Some(client) != of) {
                let why = "The token is for another application.";
                return Err(Wrong::new("unauthorized_client", "forbidden", why));
            }
            Command::CloseSession { session }
        }
        _ => Command::SignOut,
    };
    match app.run(&caller, command).await {
        // Somebody was quicker.
        Ok(_) | Err(Failure::Refused(Refusal::CallerRevoked | Refusal::NotFound)) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}
