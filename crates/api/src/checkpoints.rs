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
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Who;
use crate::feed;
use crate::input::{Query, organisation};
use crate::page;
use crate::problem::Problem;
use crate::shown;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointQuery {
    /// Checkpoints over more rows than this.
    #[serde(default)]
    after: u64,
    /// For whom a person reads; a platform key need not say.
    organisation: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatestQuery {
    organisation: Option<String>,
}

/// The oldest first, as events are: `after` is where to go on.
pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Query(q): Query<CheckpointQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = page::limit(q.limit)?;
    allowed(&app, &who, q.organisation.as_deref())?;
    let kept = read(&app, move |app| app.checkpoints_after(q.after, limit)).await?;
    let last = kept.last().map_or(q.after, |kept| kept.size);
    let items: Vec<Value> = kept.iter().map(show).collect();
    Ok(Json(json!({ "items": items, "after": last, "key": key(&app) })))
}

/// The newest one.
pub async fn latest(
    State(app): State<Arc<App>>,
    who: Who,
    Query(q): Query<LatestQuery>,
) -> Result<Json<Value>, Problem> {
    allowed(&app, &who, q.organisation.as_deref())?;
    let kept = read(&app, App::latest_checkpoint).await?.ok_or(Refusal::NotFound)?;
    let mut shown = show(&kept);
    if let Value::Object(fields) = &mut shown {
        fields.insert("key".into(), key(&app).into());
    }
    Ok(Json(shown))
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

fn show(kept: &Kept) -> Value {
    json!({ "size": kept.size, "at": shown::time(kept.at), "note": kept.note })
}
