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
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path, organisation};
use crate::openapi::values;
use crate::page::Items;
use crate::problem::Problem;
use crate::shown;

/// Who is locked out: an organisation or a person.
#[derive(Deserialize, ToSchema)]
#[schema(as = MakeLock, examples(json!({ "organisation": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "reason": "Odd downloads" })))]
#[serde(deny_unknown_fields)]
pub struct WireLock {
    #[schema(value_type = Option<values::OrganisationId>)]
    organisation: Option<OrganisationId>,
    #[schema(value_type = Option<values::PersonId>)]
    person: Option<PersonId>,
    /// Why, for the customer's eyes.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// Who is locked out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShownTarget {
    Organisation(Option<shown::Organisation>),
    Person(Option<shown::Person>),
}

/// A customer's stop of one partner or one person.
#[derive(Serialize, ToSchema)]
#[schema(as = Lock, examples(json!({ "id": "lock_01kf4e9ab7c3x8m2v5r6t0w1yz",
    "target": { "organisation": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "sailsupport", "name": "Sail Support" } },
    "at": "2027-01-31T12:00:00.000Z", "by": { "id": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "name": "Ana Alvarez", "email": "ana@marina.example" },
    "reason": "Odd downloads" })))]
pub struct ShownLock {
    #[schema(value_type = values::LockId)]
    id: LockId,
    #[schema(inline)]
    target: ShownTarget,
    #[schema(value_type = values::Instant)]
    at: String,
    /// Who locked.
    #[schema(required)]
    by: Option<shown::Person>,
    /// Why.
    #[schema(required)]
    reason: Option<String>,
}

fn shown_lock(state: &World, id: LockId) -> Option<ShownLock> {
    let l = state.locks.get(id)?;
    let target = match l.target {
        LockTarget::Organisation(o) => ShownTarget::Organisation(shown::organisation(state, o)),
        LockTarget::Person(p) => ShownTarget::Person(shown::person(state, p)),
    };
    Some(ShownLock {
        id,
        target,
        at: shown::time(l.at),
        by: shown::person(state, l.by),
        reason: l.reason.map(|w| state.words.show(w).to_owned()),
    })
}

/// Report and lock.
///
/// Who may: an Admin of the customer. The sessions of the partner or person there are over, and every decision says `locked`.
/// 404: it has never asked or been let in.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/locks", operation_id = "lock", tag = "Customer", security(("signIn" = [])),
    request_body = WireLock,
    responses((status = 200, description = "It was locked already.", body = ShownLock),
        (status = 201, description = "It is locked.", body = ShownLock)),
    extensions(("x-refusals" = json!("not_active"))))]
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
    let shown = id.and_then(|id| shown_lock(&done.state, id)).ok_or_else(Problem::not_found)?;
    Ok((status, Json(shown)).into_response())
}

/// Who is locked out.
///
/// Who may: Support of the customer.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/locks", operation_id = "listLocks", tag = "Customer", security(("signIn" = [])),
    responses((status = 200, description = "All of them.", body = Items<ShownLock>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Json<Items<ShownLock>>, Problem> {
    let state = app.state();
    let customer = organisation(&state, &named)?;
    may::check(&state, &who.0, Action::ReadLocks, Thing::organisation(customer), app.now())?;
    let all = state.locks_of(customer).filter_map(|(id, _)| shown_lock(&state, id)).collect();
    Ok(Json(Items { items: all }))
}

/// Unlock.
///
/// Who may: an Admin of the customer, freshly signed in. Ended sessions stay ended.
#[utoipa::path(delete, path = "/v1/locks/{lock}", operation_id = "unlock", tag = "Customer", security(("signIn" = [])),
    responses((status = 204, description = "It is unlocked.")),
    extensions(("x-refusals" = json!("fresh_sign_in_required not_active"))))]
pub async fn unlock(
    State(app): State<Arc<App>>,
    who: Who,
    Path(lock): Path<LockId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::Unlock { lock }).await?;
    Ok(StatusCode::NO_CONTENT)
}
