//! Webhooks of the platform and of organisations: the same in both, so it is written once here; the
//! doors stand in `platform.rs` and `organisation.rs`.

pub mod organisation;
pub mod platform;

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::webhooks::message;
use comity_app::{App, Failure};
use comity_domain::command::{Command, WebhookSpec};
use comity_domain::event::Event;
use comity_domain::ids::{OrganisationId, WebhookId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::webhook::{Redelivery, Telling};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Who;
use crate::input::instant;
use crate::page;
use crate::problem::Problem;
use crate::shown;

type Owner = Option<OrganisationId>;

/// What a webhook is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "url": "https://hooks.example.com/comity",
    "description": "Tells our chat",
    "events": ["grant_ended", "session_ended"],
}))]
pub struct PutWebhook {
    /// Where it is: an https address on the public internet.
    url: String,
    /// What it is for.
    description: Option<String>,
    /// The names of the events that it is told of; all that its owner may read if left out.
    events: Option<Vec<String>>,
    /// Whether it is told. Turning one on again begins with what happens from then on.
    #[serde(default = "yes")]
    active: bool,
}

fn yes() -> bool {
    true
}

impl PutWebhook {
    fn spec(self) -> WebhookSpec {
        WebhookSpec { url: self.url, description: self.description, kinds: self.events }
    }
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "whk_01kd3q5w8xf9r2m4t6v8y0a2c4",
    "url": "https://hooks.example.com/comity",
    "description": "Tells our chat",
    "events": ["grant_ended", "session_ended"],
    "status": "active",
    "made": "2026-11-23T01:20:00.000Z",
    "waiting": 0,
    "dead": 0,
}))]
pub struct ShownWebhook {
    /// Its identifier.
    id: String,
    /// Where it is.
    url: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The names of the events that it is told of; absent if all.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<String>>,
    /// `active`; `off` by its owner; `failing`: it took nothing for five days; `gone`: it answered 410.
    status: &'static str,
    /// When it was made.
    made: String,
    /// Until when the secret before the last rotation signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<String>,
    /// How many deliveries wait.
    waiting: u64,
    /// How many were given up.
    dead: u64,
}

/// A webhook that was just made, or whose secret was just changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct WithSecret {
    #[serde(flatten)]
    webhook: ShownWebhook,
    /// What it verifies signatures with, in the form of Standard Webhooks. Shown once.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
}

/// All webhooks of an owner.
#[derive(Debug, Serialize, ToSchema)]
pub struct Webhooks {
    items: Vec<ShownWebhook>,
}

/// One event on its way to a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "msg_01kd3q5w8xf9r2m4t6v8y0a2c4_4711_0",
    "seq": 4711, "index": 0, "event": "grant_ended",
    "at": "2026-11-23T01:20:00.000Z",
    "status": "waiting", "attempts": 2, "next": "2026-11-23T01:20:41.000Z",
    "answer": 500, "problem": "status",
}))]
pub struct ShownDelivery {
    /// The `webhook-id` that it carries at every try.
    id: String,
    /// The row of the log.
    seq: u64,
    /// Its place among what the owner reads of that row.
    index: u32,
    /// The event's name.
    event: String,
    /// When it happened.
    at: String,
    /// `waiting`, `delivered` or `dead`.
    status: &'static str,
    /// How many tries there were.
    attempts: u32,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// When it was delivered or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<String>,
    /// The status of the last answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<u16>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// A page of deliveries, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deliveries {
    items: Vec<ShownDelivery>,
    /// Where to go on; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// Only `waiting`, `delivered` or `dead`.
    #[param(inline, nullable = false, example = "dead")]
    status: Option<Status>,
    /// From the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// How many; 50 unless given.
    #[param(nullable = false, minimum = 1, maximum = 200, example = 50)]
    limit: Option<usize>,
}

/// What has become of a delivery.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Waiting,
    Delivered,
    Dead,
}

/// What is sent again: one delivery, or every dead letter of what happened since then.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "since": "2026-11-22T00:00:00Z" }))]
pub struct Redeliver {
    /// The row of the log.
    seq: Option<u64>,
    /// The place in it.
    index: Option<u32>,
    /// An instant.
    since: Option<String>,
}

fn standing(standing: Telling) -> &'static str {
    match standing {
        Telling::Active => "active",
        Telling::Off => "off",
        Telling::Failing => "failing",
        Telling::Gone => "gone",
    }
}

/// Blocking: reads how much waits.
fn show(app: &App, state: &World, id: WebhookId) -> Result<Option<ShownWebhook>, Failure> {
    let Some(w) = state.webhooks.get(id) else {
        return Ok(None);
    };
    let counts = app.outbox_counts(id)?;
    let old = w.old_secret.filter(|(_, until)| app.now() < *until);
    Ok(Some(ShownWebhook {
        id: id.to_string(),
        url: state.words.show(w.url).into(),
        description: w.description.map(|d| state.words.show(d).into()),
        events: w.kinds.as_ref().map(|kinds| kinds.iter().map(ToString::to_string).collect()),
        status: standing(w.standing),
        made: shown::time(w.made),
        old_secret_until: old.map(|(_, until)| shown::time(until)),
        waiting: counts.waiting,
        dead: counts.dead,
    }))
}

async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Problem> {
    let asked = tokio::task::spawn_blocking(ask).await;
    Ok(asked.map_err(|e| Failure::Broken(e.to_string()))??)
}

async fn one_shown(
    app: Arc<App>,
    state: Arc<World>,
    id: WebhookId,
) -> Result<ShownWebhook, Problem> {
    blocking(move || show(&app, &state, id)).await?.ok_or_else(Problem::not_found)
}

/// The state, once the caller may read the owner's webhooks.
fn readable(app: &App, who: &Who, owner: Owner) -> Result<Arc<World>, Problem> {
    let state = app.state();
    let (action, thing) = owner.map_or((Action::ReadPlatform, Thing::platform()), |o| {
        (Action::ReadWebhooks, Thing::organisation(o))
    });
    may::check(&state, &who.0, action, thing, app.now())?;
    Ok(state)
}

/// The same, and that this one is the owner's.
fn own(app: &App, who: &Who, owner: Owner, id: WebhookId) -> Result<Arc<World>, Problem> {
    let state = readable(app, who, owner)?;
    match state.webhooks.get(id) {
        Some(webhook) if webhook.owner == owner => Ok(state),
        _ => Err(Problem::not_found()),
    }
}

async fn list(app: Arc<App>, who: Who, owner: Owner) -> Result<Json<Webhooks>, Problem> {
    let state = readable(&app, &who, owner)?;
    let items = blocking(move || {
        state.webhooks_of(owner).filter_map(|id| show(&app, &state, id).transpose()).collect()
    });
    Ok(Json(Webhooks { items: items.await? }))
}

async fn make(
    app: Arc<App>,
    who: Who,
    owner: Owner,
    body: PutWebhook,
) -> Result<Response, Problem> {
    if !body.active {
        return Err(Problem::field("active", "is true for a new one"));
    }
    let spec = body.spec();
    app.callable(&who.0, owner, &spec.url)?;
    let (secret, kept) = app.fresh_webhook_secret();
    let done = who.run(&app, Command::MakeWebhook { owner, spec, secret: kept }).await?;
    let made = done.row.iter().flat_map(|row| &row.events).find_map(|e| match e.event {
        Event::WebhookMade { webhook, .. } => Some(webhook),
        _ => None,
    });
    let id = made.ok_or_else(Problem::not_found)?;
    let webhook = one_shown(app, done.state, id).await?;
    let made = WithSecret { webhook, secret: secret.reveal().to_owned() };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn one(
    app: Arc<App>,
    who: Who,
    owner: Owner,
    id: WebhookId,
) -> Result<Json<ShownWebhook>, Problem> {
    let state = own(&app, &who, owner, id)?;
    Ok(Json(one_shown(app, state, id).await?))
}

async fn change(
    app: Arc<App>,
    who: Who,
    owner: Owner,
    id: WebhookId,
    body: PutWebhook,
) -> Result<Json<ShownWebhook>, Problem> {
    let (active, spec) = (body.active, body.spec());
    app.callable(&who.0, owner, &spec.url)?;
    let command = Command::ChangeWebhook { owner, webhook: id, spec, active };
    let done = who.run(&app, command).await?;
    Ok(Json(one_shown(app, done.state, id).await?))
}

async fn remove(
    app: Arc<App>,
    who: Who,
    owner: Owner,
    webhook: WebhookId,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::RemoveWebhook { owner, webhook }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rotate(
    app: Arc<App>,
    who: Who,
    owner: Owner,
    id: WebhookId,
) -> Result<Json<WithSecret>, Problem> {
    let (secret, kept) = app.fresh_webhook_secret();
    let done = who.run(&app, Command::RotateWebhook { owner, webhook: id, secret: kept }).await?;
    let webhook = one_shown(app, done.state, id).await?;
    Ok(Json(WithSecret { webhook, secret: secret.reveal().to_owned() }))
}

async fn test(
    app: Arc<App>,
    who: Who,
    owner: Owner,
    webhook: WebhookId,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::TestWebhook { owner, webhook }).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn deliveries(
    app: Arc<App>,
    who: Who,
    owner: Owner,
    id: WebhookId,
    q: DeliveriesQuery,
) -> Result<Json<Deliveries>, Problem> {
    own(&app, &who, owner, id)?;
    let limit = page::limit(q.limit)?;
    let question = format!("deliveries/{id}/{:?}", q.status);
    let below = match q.cursor.as_deref().map(|c| page::place(&app, &question, c)).transpose()? {
        None => None,
        Some(place) => {
            let read =
                place.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            Some(read.ok_or_else(Problem::not_found)?)
        }
    };
    let (reading, only) = (app.clone(), q.status.map(Status::stored));
    let found = blocking(move || reading.deliveries(id, only, below, limit + 1)).await?;
    let more = found.len() > limit;
    let last = found.iter().take(limit).next_back().filter(|_| more);
    let next = last.map(|d| page::cursor(&app, &question, &format!("{}-{}", d.seq, d.index)));
    let items = found.into_iter().take(limit).map(|d| show_delivery(id, d)).collect();
    Ok(Json(Deliveries { items, next }))
}

impl Status {
    fn stored(self) -> comity_app::webhooks::Status {
        match self {
            Self::Waiting => comity_app::webhooks::Status::Waiting,
            Self::Delivered => comity_app::webhooks::Status::Delivered,
            Self::Dead => comity_app::webhooks::Status::Dead,
        }
    }
}

fn show_delivery(id: WebhookId, d: comity_app::webhooks::Delivery) -> ShownDelivery {
    use comity_app::webhooks::Status as S;
    ShownDelivery {
        id: message(id, d.seq, d.index),
        seq: d.seq,
        index: d.index,
        event: d.kind,
        at: shown::time(d.at),
        status: match d.status {
            S::Waiting => "waiting",
            S::Delivered => "delivered",
            S::Dead => "dead",
        },
        attempts: d.attempts,
        next: (d.status == S::Waiting).then(|| shown::time(d.due)),
        done: d.done.map(shown::time),
        answer: d.code,
        problem: d.problem,
    }
}

async fn redeliver(
    app: Arc<App>,
    who: Who,
    owner: Owner,
    webhook: WebhookId,
    body: Redeliver,
) -> Result<StatusCode, Problem> {
    let what = match (body.seq, body.index, body.since.as_deref()) {
        (Some(seq), Some(index), None) => Redelivery::One(seq, index),
        (None, None, Some(since)) => Redelivery::DeadSince(instant("since", since)?),
        _ => return Err(Problem::field("seq", "with index, or since, must be given")),
    };
    own(&app, &who, owner, webhook)?;
    if let Redelivery::One(seq, index) = what {
        let (reading, below) = (app.clone(), Some((seq, index.saturating_add(1))));
        let found = blocking(move || reading.deliveries(webhook, None, below, 1)).await?;
        if !found.iter().any(|d| (d.seq, d.index) == (seq, index)) {
            return Err(Refusal::NotFound.into());
        }
    }
    who.run(&app, Command::Redeliver { owner, webhook, what }).await?;
    Ok(StatusCode::ACCEPTED)
}
