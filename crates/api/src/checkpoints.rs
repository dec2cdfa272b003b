//! `GET /v1/audit/checkpoints`: what the log has committed itself to, for whoever may read events.
//! A reader who keeps them can later tell whether it is shown the same history.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::checkpoints::Kept;
use comity_app::{App, Failure};
use comity_domain::command::Principal;
use comity_domain::may::{self, Action, Thing};
use comity_domain::refusal::Refusal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::feed;
use crate::input::{Query, organisation};
use crate::openapi::values;
use crate::page;
use crate::problem::Problem;
use crate::shown;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CheckpointQuery {
    /// Only checkpoints over more rows than this.
    #[serde(default)]
    #[param(required = false, example = 0)]
    after: u64,
    /// For whom a person reads; a platform key need not say.
    #[param(nullable = false, example = "marina")]
    organisation: Option<String>,
    /// How many at most; 50 unless given.
    #[param(nullable = false, minimum = 1, maximum = 200, example = 50)]
    limit: Option<usize>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LatestQuery {
    /// For whom a person reads; a platform key need not say.
    #[param(nullable = false, example = "marina")]
    organisation: Option<String>,
}

/// What the log has committed itself to.
#[derive(Serialize, ToSchema)]
#[schema(as = Checkpoints)]
pub struct ShownCheckpoints {
    /// The smallest first.
    items: Vec<ShownCheckpoint>,
    /// Where to go on: the next `after`.
    after: u64,
    /// The verifier key of the installation (signed-note).
    #[schema(required)]
    key: Option<String>,
}

/// A signed statement of the log's root.
#[derive(Serialize, ToSchema)]
#[schema(as = Checkpoint)]
pub struct ShownCheckpoint {
    /// Over how many rows it is.
    size: u64,
    #[schema(value_type = values::Instant)]
    at: String,
    /// The signed note.
    note: String,
}

/// The newest signed statement of the log's root.
#[derive(Serialize, ToSchema)]
pub struct LatestCheckpoint {
    /// Over how many rows it is.
    size: u64,
    #[schema(value_type = values::Instant)]
    at: String,
    /// The signed note.
    note: String,
    /// The verifier key of the installation (signed-note).
    #[schema(required)]
    key: Option<String>,
}

/// The checkpoints.
///
/// Who may: operate, provision, or Support of the organisation named. The smallest first; `after` is where to go on.
#[utoipa::path(get, path = "/v1/audit/checkpoints", operation_id = "listCheckpoints", tag = "Events", security(("key" = []), ("signIn" = [])),
    params(CheckpointQuery),
    responses((status = 200, description = "A page of them.", body = ShownCheckpoints)))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Query(q): Query<CheckpointQuery>,
) -> Result<Json<ShownCheckpoints>, Problem> {
    let limit = page::limit(q.limit)?;
    allowed(&app, &who, q.organisation.as_deref())?;
    let kept = read(&app, move |app| app.checkpoints_after(q.after, limit)).await?;
    let last = kept.last().map_or(q.after, |kept| kept.size);
    let items = kept.into_iter().map(show).collect();
    Ok(Json(ShownCheckpoints { items, after: last, key: key(&app) }))
}

/// The newest checkpoint.
///
/// Who may: operate, provision, or Support of the organisation named. 404 as long as nothing is signed.
#[utoipa::path(get, path = "/v1/audit/checkpoints/latest", operation_id = "getLatestCheckpoint", tag = "Events", security(("key" = []), ("signIn" = [])),
    params(LatestQuery),
    responses((status = 200, description = "The newest one.", body = LatestCheckpoint)))]
pub async fn latest(
    State(app): State<Arc<App>>,
    who: Who,
    Query(q): Query<LatestQuery>,
) -> Result<Json<LatestCheckpoint>, Problem> {
    allowed(&app, &who, q.organisation.as_deref())?;
    let kept = read(&app, App::latest_checkpoint).await?.ok_or(Refusal::NotFound)?;
    let ShownCheckpoint { size, at, note } = show(kept);
    Ok(Json(LatestCheckpoint { size, at, note, key: key(&app) }))
}

fn allowed(app: &App, who: &Who, named: Option<&str>) -> Result<(), Problem> {
    let named = named.map(|o| organisation(&app.state(), o)).transpose()?;
    // They say nothing of anybody: the operator, who may not read events, may read these.
    let (state, now) = (app.state(), app.now());
    let operates = matches!(who.0.principal, Principal::Key(_))
        && may::authentic(&state, &who.0, now).is_ok()
        && may::check(&state, &who.0, Action::ReadPlatform, Thing::platform(), now).is_ok();
    if operates { Ok(()) } else { feed::allowed(app, who, named) }
}

async fn read<T: Send + 'static>(
    app: &Arc<App>,
    ask: impl FnOnce(&App) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Problem> {
    let reading = app.clone();
    let answer = tokio::task::spawn_blocking(move || ask(&reading)).await;
    let answer = answer.map_err(|e| Problem::from(Failure::Broken(e.to_string())))?;
    Ok(answer?)
}

/// With which key they are signed, as a verifier key of signed-note.
fn key(app: &App) -> Option<String> {
    app.checkpoints().verifier().map(ToString::to_string)
}

fn show(kept: Kept) -> ShownCheckpoint {
    ShownCheckpoint { size: kept.size, at: shown::time(kept.at), note: kept.note }
}
