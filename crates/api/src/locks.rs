//! *Report and lock*, and unlocking.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::ids::{LockId, OrganisationId, PersonId};
use comity_domain::lock::LockTarget;
use comity_domain::may::{self, Action, Thing};
use comity_domain::state::State as World;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Who;
use crate::input::{Body, Path, organisation};
use crate::problem::Problem;
use crate::shown;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireLock {
    organisation: Option<OrganisationId>,
    person: Option<PersonId>,
    reason: Option<String>,
}

fn shown_lock(state: &World, id: LockId) -> Option<Value> {
    let l = state.locks.get(id)?;
    let target = match l.target {
        LockTarget::Organisation(o) => json!({ "organisation": shown::organisation(state, o) }),
        LockTarget::Person(p) => json!({ "person": shown::person(state, p) }),
    };
    Some(
        json!({ "id": id, "target": target, "at": shown::time(l.at), "by": shown::person(state, l.by),
        "reason": l.reason.map(|w| state.words.show(w)) }),
    )
}

pub async fn lock(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Body(body): Body<WireLock>,
) -> Result<Response, Problem> {
    let target = match (body.organisation, body.person) {
        (Some(o), None) => LockTarget::Organisation(o),
        (None, Some(p)) => LockTarget::Person(p),
        _ => {
            return Err(Problem::field("organisation", "or person must be given, and not both"));
        }
    };
    let customer = organisation(&app.state(), &named)?;
    let done = who.run(&app, Command::Lock { customer, target, reason: body.reason }).await?;
    let status = if done.row.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let id = done.state.lock_on(customer, target);
    Ok((status, Json(id.and_then(|id| shown_lock(&done.state, id)))).into_response())
}

pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Json<Value>, Problem> {
    let state = app.state();
    let customer = organisation(&state, &named)?;
    may::check(&state, &who.0, Action::ReadLocks, Thing::organisation(customer), app.now())?;
    let all: Vec<Value> =
        state.locks_of(customer).filter_map(|(id, _)| shown_lock(&state, id)).collect();
    Ok(Json(json!({ "items": all })))
}

pub async fn unlock(
    State(app): State<Arc<App>>,
    who: Who,
    Path(lock): Path<LockId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::Unlock { lock }).await?;
    Ok(StatusCode::NO_CONTENT)
}
