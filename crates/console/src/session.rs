//! A session's page: who, when, why, under what, and its calls over time. What was visited in the
//! product is the product's to report, and is not kept yet.

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use comity_app::history::{self, CallMinute, Stay, StoreError};
use comity_domain::ids::{OrganisationId, SessionId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::session::SessionStatus;
use comity_domain::state::State as World;
use comity_domain::text::ERASED;
use comity_domain::time::Instant;

use crate::active::{accounts, company};
use crate::at::At;
use crate::chart::{Chart, chart, stretches, time_of_day};
use crate::history::{blocking, calls, mode, status};
use crate::parts::Badge;
use crate::routes::Console;
use crate::shell::{Section, Shell};
use crate::show::{self, When};
use crate::visitor::Visitor;
use crate::wrong::Wrong;

#[derive(Template)]
#[template(path = "session.html")]
struct Page {
    shell: Shell,
    back: Option<String>,
    name: String,
    email: String,
    company: String,
    customer: String,
    status: Badge,
    mode: Badge,
    started: When,
    ends: When,
    over: bool,
    left: String,
    duration: String,
    ended_by: Option<&'static str>,
    why: Option<String>,
    grant: Option<Under>,
    calls: String,
    at_most: bool,
    allowed: u64,
    refused: u64,
    late: u64,
    uncertain: u64,
    chart: Option<Chart>,
    long: i64,
    rows: Vec<Row>,
    /// The ways to stop it, for who may.
    end: Option<String>,
    lock: Option<String>,
    revoke: Option<String>,
}

/// What the session runs or ran under, as far as it is remembered.
struct Under {
    /// Its page, for its customer.
    to: Option<String>,
    roles: Vec<String>,
    accounts: String,
    asked: Option<String>,
    ticket: Option<String>,
}

struct Row {
    at: String,
    allowed: u64,
    refused: u64,
}

/// Why a session ended, in words.
fn ended_by(code: &str) -> &'static str {
    match code {
        "closed" => "The person came home.",
        "ended_by_customer" => "The customer ended it.",
        "revoked" => "The customer revoked the access.",
        "grant_ended" => "The access ended.",
        "unconfirmed" => "A restore put the access back, and it was not confirmed.",
        "assignment_lost" => {
            "The person was no longer assigned, or nothing of the assignment was left."
        }
        "locked" => "The customer locked it.",
        "suspended" => "An organisation, a unit or the membership was suspended or closed.",
        "restored" => "The installation was restored from a copy.",
        _ => "It was ended.",
    }
}

fn under(state: &World, scope: OrganisationId, stay: &Stay) -> Option<Under> {
    let g = state.grants.get(stay.row.grant)?;
    let assigned = state.assignment(stay.row.grant, stay.row.person);
    let held: Vec<_> = match &assigned {
        Some(assigned) => assigned.roles.clone(),
        None => g.roles.iter().map(|p| p.role).collect(),
    };
    let role = |id| state.roles.get(id).map(|r| r.name.to_string());
    let request = state.requests.get(g.request);
    let own = assigned.map_or_else(|| g.accounts.clone(), |a| a.accounts.meet(&g.accounts));
    let word = |w| state.words.show(w).to_owned();
    Some(Under {
        to: (g.customer.organisation == scope)
            .then(|| format!("/console/o/{scope}/grants/{}", stay.row.grant)),
        roles: held.into_iter().filter_map(role).collect(),
        accounts: accounts(state, &own),
        asked: request.map(|r| word(r.reason)),
        ticket: request.and_then(|r| r.ticket).map(word),
    })
}

/// The page.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At((scope, id)): At<(OrganisationId, SessionId)>,
) -> Result<Html<String>, Wrong> {
    let (state, now) = (console.app.state(), console.app.now());
    let shell = Shell::of(&state, &who, scope, Section::Access, "Session")?;
    may::check(&state, &who.caller, Action::ReadHistory, Thing::organisation(scope), now)?;
    let (app, world) = (console.app.clone(), state.clone());
    let read = move || {
        let stay = history::one(&app, &world, scope, id, now)?;
        Ok::<_, StoreError>((stay, history::minutes(&app, id)?))
    };
    let (stay, minutes) = blocking(read).await?;
    let stay = stay.ok_or_else(Wrong::not_found)?;
    Ok(Html(shown(&state, shell, scope, &stay, &minutes, now).render()?))
}

fn shown(
    state: &World,
    shell: Shell,
    scope: OrganisationId,
    stay: &Stay,
    minutes: &[CallMinute],
    now: Instant,
) -> Page {
    let row = &stay.row;
    let over = stay.status != SessionStatus::Active;
    let ends = row.ended.unwrap_or(row.deadline).min(row.deadline);
    let (long, found) = stretches(minutes, row.started, ends.min(now));
    let c = &stay.calls;
    let label = format!(
        "Calls over time: {} allowed, {} refused. The table says the same.",
        c.allowed, c.refused
    );
    let stops = !over && scope == row.customer && shell.here.as_ref().is_some_and(|p| p.decides);
    let at = format!("/console/o/{scope}");
    Page {
        back: (scope == row.customer).then(|| format!("{at}/access/history")),
        name: row.name.clone().unwrap_or_else(|| ERASED.into()),
        email: row.email.clone().unwrap_or_else(|| ERASED.into()),
        company: company(state, row.provider),
        customer: company(state, row.customer),
        status: status(stay.status),
        mode: mode(&row.mode),
        started: show::when(row.started),
        ends: show::when(ends),
        over,
        left: show::until(row.deadline, now),
        duration: show::count(stay.minutes, "minute", "minutes"),
        ended_by: match stay.status {
            SessionStatus::Active => None,
            SessionStatus::Expired => Some("Its time ran out."),
            SessionStatus::Ended => row.cause.as_deref().map(ended_by),
        },
        why: row.reason.clone(),
        grant: under(state, scope, stay),
        calls: calls(stay),
        at_most: c.at_most(),
        allowed: c.allowed,
        refused: c.refused,
        late: c.late,
        uncertain: c.uncertain,
        chart: (!minutes.is_empty()).then(|| chart(&found, label)),
        long,
        rows: found
            .iter()
            .filter(|s| s.allowed + s.refused > 0)
            .map(|s| Row { at: time_of_day(s.at), allowed: s.allowed, refused: s.refused })
            .collect(),
        end: stops.then(|| format!("{at}/grants/{}/sessions/{}/end", row.grant, row.session)),
        lock: (scope == row.customer && shell.here.as_ref().is_some_and(|p| p.decides))
            .then(|| format!("{at}/locks/new?person={}", row.person)),
        revoke: stops.then(|| format!("{at}/grants/{}/revoke?from=history", row.grant)),
        shell,
    }
}
