//! Sessions: the history, one stay, coming home, ending.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use comity_app::history::{self, CallMinute, Filter, HistorySide, Question, Stay, StoreError};
use comity_app::{App, Failure};
use comity_domain::command::Command;
use comity_domain::ids::{OrganisationId, PersonId, SessionId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::role::Mode;
use comity_domain::session::SessionStatus;
use comity_domain::state::State as World;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Path, Query, instant, organisation};
use crate::openapi::values;
use crate::page::{self, Page};
use crate::problem::Problem;
use crate::shown;

/// A line of *Impersonation History*.
#[derive(Serialize, ToSchema)]
#[schema(as = Session, examples(json!({ "id": "sess_01kf4e9ab7c3x8m2v5r6t0w1yz",
    "partner": { "person": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "name": "Hugo Hart", "email": "hugo@harbor-help.example",
        "organisation": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1y0", "external_id": "harbor-help", "name": "Harbor Help" } },
    "customer": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "marina", "name": "Marina Bay" },
    "grant": "grant_01kf4e9ab7c3x8m2v5r6t0w1yz", "mode": "direct", "status": "active", "started_at": "2027-01-31T12:00:00.000Z",
    "deadline": "2027-01-31T13:00:00.000Z", "duration_minutes": 4, "duration_seconds": 250, "api_calls": 17, "at_most": false,
    "calls_allowed": 16, "calls_refused": 1, "calls_late": 0 })))]
pub struct ShownSession {
    #[schema(value_type = values::SessionId)]
    id: SessionId,
    partner: ShownPartner,
    #[schema(required)]
    customer: Option<shown::Organisation>,
    #[schema(value_type = values::GrantId)]
    grant: comity_domain::ids::GrantId,
    #[schema(value_type = values::Mode)]
    mode: String,
    #[schema(value_type = values::SessionStatus)]
    status: SessionStatus,
    #[schema(value_type = values::Instant)]
    started_at: String,
    #[schema(value_type = values::Instant)]
    deadline: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::Instant, required = false)]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::SessionEnd, required = false)]
    end_reason: Option<String>,
    /// Whole minutes, at most the longest session.
    duration_minutes: i64,
    /// The same in seconds.
    duration_seconds: i64,
    /// Calls allowed and refused.
    api_calls: u64,
    /// Whether a crash made `api_calls` a bound: at most so many.
    at_most: bool,
    /// Of them, how many were allowed.
    calls_allowed: u64,
    /// Of them, how many were refused.
    calls_refused: u64,
    /// Calls after the end; part of no count.
    calls_late: u64,
    /// Why they entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// Of one session: its calls over time, each minute that had any, without those that came late.
    /// Calls that a crash lost stand in no minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    minutes: Option<Vec<ShownMinute>>,
}

/// The calls of one minute.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionMinute, examples(json!({ "at": "2027-01-31T12:04:00.000Z", "allowed": 12, "refused": 1 })))]
struct ShownMinute {
    /// When the minute began.
    #[schema(value_type = values::Instant)]
    at: String,
    /// Calls that were allowed in it.
    allowed: u64,
    /// Calls that were refused in it.
    refused: u64,
}

/// Who was there, as they were called then.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionPartner)]
struct ShownPartner {
    #[schema(value_type = values::PersonId)]
    person: PersonId,
    /// The name, or `[erased]`.
    name: String,
    /// The address, or `[erased]`.
    email: String,
    #[schema(required)]
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
        minutes: None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[schema(as = SessionSide)]
#[serde(rename_all = "snake_case")]
enum Side {
    #[default]
    Customer,
    Provider,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// `customer` (unless given): who was here; `provider`: where its people were.
    #[serde(default)]
    #[param(inline, required = false)]
    side: Side,
    /// Only those with this organisation on the other side.
    #[param(nullable = false, value_type = Option<values::OrganisationId>)]
    partner: Option<OrganisationId>,
    /// Only those of this person.
    #[param(nullable = false, value_type = Option<values::PersonId>)]
    person: Option<PersonId>,
    /// Only those in this mode.
    #[param(nullable = false, value_type = Option<values::Mode>)]
    mode: Option<Mode>,
    /// Only those with this status now.
    #[param(nullable = false, value_type = Option<values::SessionStatus>)]
    status: Option<SessionStatus>,
    /// Only those that started then or later.
    #[param(nullable = false, value_type = Option<values::Instant>)]
    since: Option<String>,
    /// Only those that started before then.
    #[param(nullable = false, value_type = Option<values::Instant>)]
    until: Option<String>,
    /// `next` of the page before. Good only for the same list and filter.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// How many at most; 50 unless given.
    #[param(nullable = false, minimum = 1, maximum = 200, example = 50)]
    limit: Option<usize>,
}

/// Impersonation History.
///
/// Who may: Support of the organisation. The newest first, as far back as the customer keeps it.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/sessions", operation_id = "listSessions", tag = "Sessions", security(("signIn" = [])),
    params(ListQuery),
    responses((status = 200, description = "A page of it.", body = Page<ShownSession>)))]
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
    let filter = Filter {
        side: if q.side == Side::Customer { HistorySide::Customer } else { HistorySide::Provider },
        other: q.partner,
        person: q.person,
        since: q.since.as_deref().map(|t| instant("since", t)).transpose()?,
        until: q.until.as_deref().map(|t| instant("until", t)).transpose()?,
        mode: q.mode,
        status: q.status,
    };
    let question = Question::new(&state, scope, filter, now);
    let place = |c: &str| question.place(&app, c).ok_or_else(page::foreign_cursor);
    let after = q.cursor.as_deref().map(place).transpose()?;
    let asking = app.clone();
    let stays = blocking(move || question.page(&asking, after, limit)).await?;
    let items: Vec<ShownSession> = stays.items.into_iter().map(|s| show(&state, s)).collect();
    Ok(Json(Page::new(items, stays.next)))
}

async fn blocking<T: Send + 'static, E: Into<Failure> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|e| Problem::from(Failure::Broken(e.to_string())))?;
    done.map_err(|e| Problem::from(e.into()))
}

/// One stay.
///
/// Who may: Support of the organisation.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/sessions/{session}", operation_id = "getSession", tag = "Sessions", security(("signIn" = [])),
    responses((status = 200, description = "One line of the history.", body = ShownSession)))]
pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, id)): Path<(String, SessionId)>,
) -> Result<Json<ShownSession>, Problem> {
    let (state, now) = (app.state(), app.now());
    let scope = organisation(&state, &named)?;
    may::check(&state, &who.0, Action::ReadHistory, Thing::organisation(scope), now)?;
    let asking = app.clone();
    let world = state.clone();
    let found = blocking(move || {
        let stay = history::one(&asking, &world, scope, id, now)?;
        Ok::<_, StoreError>((stay, history::minutes(&asking, id)?))
    });
    let (stay, minutes) = found.await?;
    let shown = show(&state, stay.ok_or_else(Problem::not_found)?);
    let minute = |m: CallMinute| ShownMinute {
        at: shown::time(m.at),
        allowed: m.allowed,
        refused: m.refused,
    };
    Ok(Json(ShownSession { minutes: Some(minutes.into_iter().map(minute).collect()), ..shown }))
}

/// Come home.
///
/// Who may: the person inside, by sign-in or by the session's own token.
#[utoipa::path(post, path = "/v1/sessions/{session}/close", operation_id = "closeSession", tag = "Sessions", security(("signIn" = []), ("partnerSession" = [])),
    responses((status = 204, description = "The session is over.")),
    extensions(("x-refusals" = json!("wrong_state"))))]
pub async fn close(
    State(app): State<Arc<App>>,
    who: Who,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::CloseSession { session }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End a session.
///
/// Who may: an Admin of the customer.
#[utoipa::path(post, path = "/v1/sessions/{session}/end", operation_id = "endSession", tag = "Sessions", security(("signIn" = [])),
    responses((status = 204, description = "The session is over.")),
    extensions(("x-refusals" = json!("wrong_state not_active"))))]
pub async fn end(
    State(app): State<Arc<App>>,
    who: Who,
    Path(session): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::EndSession { session }).await?;
    Ok(StatusCode::NO_CONTENT)
}
