//! A person's own doors: sign-in, first password, who am I, where may I go.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use comity_app::{App, Failure};
use comity_domain::command::Command;
use comity_domain::refusal::Refusal;
use comity_domain::view;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Who, person};
use crate::input::Body;
use crate::limits::Counted;
use crate::problem::Problem;
use crate::shown;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    email: String,
    password: String,
}

pub async fn sign_in(
    State(app): State<Arc<App>>,
    Counted { limits, from }: Counted,
    Body(body): Body<SignIn>,
) -> Result<Json<Value>, Problem> {
    limits.sign_in(&app, from, &body.email).await?;
    match app.sign_in(&body.email, body.password).await {
        Ok(signed) => Ok(Json(json!({
            "token": signed.token.reveal(),
            "person": signed.person,
            "expires_at": shown::time(signed.until),
        }))),
        // Whatever was wrong, it looks the same (T26).
        Err(Failure::Refused(_)) => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "sign_in_failed",
            "The address or the password is wrong.",
        )),
        Err(other) => Err(other.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOut {
    #[serde(default)]
    everywhere: bool,
}

pub async fn sign_out(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<SignOut>,
) -> Result<StatusCode, Problem> {
    person(&who.0)?;
    let command = if body.everywhere { Command::SignOutEverywhere } else { Command::SignOut };
    who.run(&app, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    token: String,
    password: String,
}

pub async fn enrol(
    State(app): State<Arc<App>>,
    Counted { limits, from }: Counted,
    Body(body): Body<Enrol>,
) -> Result<StatusCode, Problem> {
    limits.enrol(from)?;
    match app.enrol(&body.token, body.password).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(Failure::Refused(Refusal::NotFound)) => {
            Err(Problem::field("token", "is unknown, used or out of date; ask for a new one"))
        }
        Err(other) => Err(other.into()),
    }
}

pub async fn me(State(app): State<Arc<App>>, who: Who) -> Result<Json<Value>, Problem> {
    let id = person(&who.0)?;
    let state = app.state();
    let member = |organisation| {
        let m = state.members.get(&(organisation, id))?;
        let shown = shown::organisation(&state, organisation)?;
        Some(json!({ "organisation": shown, "portal_role": m.portal, "standing": m.standing }))
    };
    let memberships: Vec<Value> = state.organisations_of(id).filter_map(member).collect();
    Ok(Json(json!({ "person": shown::person(&state, id), "memberships": memberships })))
}

/// Where the caller may go: one line for each live grant (N8).
pub async fn tenants(State(app): State<Arc<App>>, who: Who) -> Result<Json<Value>, Problem> {
    let id = person(&who.0)?;
    let state = app.state();
    let line = |t: view::Tenant<'_>| {
        let a = state.assignment(t.id, id)?;
        let roles: Vec<String> =
            a.roles.iter().filter_map(|r| shown::role_code(&state, *r)).collect();
        Some(json!({
            "grant": t.id,
            "customer": shown::organisation(&state, t.grant.customer.organisation)?,
            "roles": roles,
            "accounts": shown::accounts(&state, &t.grant.accounts.meet(&a.accounts)),
            "modes": t.grant.modes,
            "ends_at": shown::time(t.grant.window.end.min(a.row.ends_at)),
            "session_minutes": t.grant.cap,
        }))
    };
    let lines: Vec<Value> = view::tenants(&state, id, app.now()).filter_map(line).collect();
    Ok(Json(json!({ "items": lines })))
}
