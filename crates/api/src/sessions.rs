//! Sessions: the history, one stay, coming home, ending.

use std::str::FromStr as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use comity_app::history::{self, HistoryQuery, HistorySide, Stay};
use comity_app::{App, Failure};
use comity_domain::command::Command;
use comity_domain::ids::{OrganisationId, PersonId, SessionId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::session::SessionStatus;
use comity_domain::state::State as World;
use comity_domain::time::Instant;

use serde::{Deserialize, Serialize};

use crate::auth::Who;
use crate::input::{Path, Query, instant, organisation};
use crate::page::{self, Page};
use crate::problem::Problem;
use crate::shown;

/// A line of *Impersonation History*.
#[derive(Serialize)]
pub struct ShownSession {
    id: SessionId,
    partner: ShownPartner,
    customer: Option<shown::Organisation>,
    grant: comity_domain::ids::GrantId,
    mode: String,
    status: SessionStatus,
    started_at: String,
    deadline: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<String>,
    /// Whole minutes, at most the longest session.
    duration_minutes: i64,
    duration_seconds: i64,
    /// Calls allowed and refused.
    api_calls: u64,
    /// Whether a crash made `api_calls` a bound: at most so many.
    at_most: bool,
    calls_allowed: u64,
    calls_refused: u64,
    /// Calls after the end; part of no count.
    calls_late: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Who was there, as they were called then.
#[derive(Serialize)]
struct ShownPartner {
    person: PersonId,
    name: String,
    email: String,
    organisation: Option<shown::Organisation>,
}

fn show(state: &World, stay: Stay) -> ShownSession {
    let row = stay.row;
    let erased = || "[erased]".to_owned();
    ShownSession {
        id: row.session,
        partner: ShownPartner {
            person: row.person,
            name: row.name.unwrap_or_else(erased),
            email: row.email.unwrap_or_else(erased),
            organisation: shown::organisation(state, row.provider),
        },
        customer: shown::organisation(state, row.customer),
        grant: row.grant,
        mode: row.mode,
        status: stay.status,
        started_at: shown::time(row.started),
        deadline: shown::time(row.deadline),
        ended_at: row.ended.filter(|_| stay.status == SessionStatus::Ended).map(shown::time),
        end_reason: row.cause.filter(|_| stay.status == SessionStatus::Ended),
        duration_minutes: stay.minutes,
        duration_seconds: stay.seconds,
        api_calls: stay.calls.total(),
        at_most: stay.calls.at_most(),
        calls_allowed: stay.calls.allowed,
        calls_refused: stay.calls.refused,
        calls_late: stay.calls.late,
        reason: row.reason,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    #[default]
    Customer,
    Provider,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    #[serde(default)]
    side: Side,
    partner: Option<OrganisationId>,
    person: Option<PersonId>,
    since: Option<String>,
    until: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub async fn history(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(q): Query<ListQuery>,
) -> Result<Json<Page<ShownSession>>, Problem> {
    let (state, now) = (app.state(), app.now());
    let scope = organisation(&state, &named)?;
    may::check(&state, &who.0, Action::ReadHistory, Thing::organisation(scope), now)?;
    let limit = page::limit(q.limit)?;
    let question = format!(
        "sessions/{scope}/{:?}/{:?}/{:?}/{:?}/{:?}",
        q.side, q.partner, q.person, q.since, q.until
    );
    let after = q
        .cursor
        .as_deref()
        .map(|c| page::place(&app, &question, c).and_then(read_place))
        .transpose()?;
    // What is older than the customer keeps is not shown.
    let kept = state
        .organisations
        .get(scope)
        .map_or(Instant(0), |o| now.plus(-o.settings.retention.millis()));
    let since = q.since.as_deref().map(|t| instant("since", t)).transpose()?;
    let query = HistoryQuery {
        side: if q.side == Side::Customer { HistorySide::Customer } else { HistorySide::Provider },
        other: q.partner,
        person: q.person,
        since: Some(since.unwrap_or(kept).max(kept)),
        until: q.until.as_deref().map(|t| instant("until", t)).transpose()?,
        after,
        limit: limit + 1,
    };
    let asking = app.clone();
    let stays = blocking(move || history::page(&asking, scope, &query, now)).await?;
    let more = stays.len() > limit;
    let items: Vec<ShownSession> =
        stays.iter().take(limit).cloned().map(|s| show(&state, s)).collect();
    let last = stays.get(limit.saturating_sub(1)).filter(|_| more);
    let next = last
        .map(|s| page::cursor(&app, &question, &format!("{}:{}", s.row.started.0, s.row.session)));
    Ok(Json(Page { items, next, beside: serde_json::Map::new() }))
}

fn read_place(place: &str) -> Result<(Instant, SessionId), Problem> {
    let read = || {
        let (at, id) = place.split_once(':')?;
        Some((Instant(at.parse().ok()?), SessionId::from_str(id).ok()?))
    };
    read().ok_or_else(|| Problem::field("cursor", "is not from this list; start without it"))
}

async fn blocking<T: Send + 'static, E: Into<Failure> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|e| Problem::from(Failure::Broken(e.to_string())))?;
    done.map_err(|e| Problem::from(e.into()))
}

pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, id)): Path<(String, SessionId)>,
) -> Result<Json<ShownSession>, Problem> {
    let (state, now) = (app.state(), app.now());
    let scope = organisation(&state, &named)?;
    may::check(&state, &who.0, Action::ReadHistory, Thing::organisation(scope), now)?;
    let asking = app.clone();
    let stay = blocking(move || history::one(&asking, scope, id, now)).await?;
    stay.map(|s| Json(show(&state, s))).ok_or_else(Problem::not_found)
}

/// The partner user comes home, with the own sign-in or with the session's token.
pub async fn close(
    State(app): State<Arc<App>>,
    who: Who,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::CloseSession { session }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The customer ends it.
pub async fn end(
    State(app): State<Arc<App>>,
    who: Who,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::EndSession { session }).await?;
    Ok(StatusCode::NO_CONTENT)
}
