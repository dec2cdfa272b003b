//! *Impersonation History*: every session, past and present, with its calls. The doors ask here, so
//! that a page, a list and an export show the same.

use std::str::FromStr as _;

use comity_decision::counter::Counts;
use comity_domain::ids::{OrganisationId, PersonId, SessionId};
use comity_domain::role::Mode;
use comity_domain::session::{self, SessionStatus};
use comity_domain::state::State;
use comity_domain::time::{Instant, SECOND};
use comity_domain::view::kept::{self, Kept};
pub use comity_store::{CallMinute, HistorySide, StoreError};
use comity_store::{HistoryQuery, HistoryRow};

use crate::app::App;
use crate::cursor;

pub mod export;

/// One line of the history, as of an instant.
#[derive(Debug, Clone)]
pub struct Stay {
    /// What was recorded.
    pub row: HistoryRow,
    /// *Active*, *Expired* or *Ended*.
    pub status: SessionStatus,
    /// Whole minutes, capped at the deadline.
    pub minutes: i64,
    /// The same in seconds.
    pub seconds: i64,
    /// *API Calls*.
    pub calls: Counts,
}

/// What part of the history is wanted.
#[derive(Debug, Clone)]
pub struct Filter {
    /// On which side the asking organisation stands.
    pub side: HistorySide,
    /// Only with this partner or customer.
    pub other: Option<OrganisationId>,
    /// Only this person.
    pub person: Option<PersonId>,
    /// Only what started at or after this.
    pub since: Option<Instant>,
    /// Only what started before this.
    pub until: Option<Instant>,
    /// Only in this mode.
    pub mode: Option<Mode>,
    /// Only with this status.
    pub status: Option<SessionStatus>,
}

impl Filter {
    /// Everything on one side.
    #[must_use]
    pub fn all(side: HistorySide) -> Self {
        Self { side, other: None, person: None, since: None, until: None, mode: None, status: None }
    }
}

/// A page of the history.
#[derive(Debug, Clone)]
pub struct Stays {
    /// What is on it, newest first.
    pub items: Vec<Stay>,
    /// The cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// Where a list goes on.
pub type Place = (Instant, SessionId);

/// A question about the history of `scope` at an instant, scope first.
#[derive(Debug, Clone)]
pub struct Question {
    scope: OrganisationId,
    filter: Filter,
    kept: Kept,
    now: Instant,
}

impl Question {
    /// What `scope` is shown of its history at `now`.
    #[must_use]
    pub fn new(state: &State, scope: OrganisationId, filter: Filter, now: Instant) -> Self {
        Self { scope, filter, kept: kept::kept(state, scope, now), now }
    }

    fn text(&self) -> String {
        format!("sessions/{}/{:?}", self.scope, self.filter)
    }

    /// The place that a cursor of an earlier page of this very question stands for.
    #[must_use]
    pub fn place(&self, app: &App, cursor: &str) -> Option<Place> {
        let (at, id) = cursor::read(app, &self.text(), cursor)?.split_once(':')?;
        Some((Instant(at.parse().ok()?), SessionId::from_str(id).ok()?))
    }

    /// A page, newest first. Blocking.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn page(&self, app: &App, after: Option<Place>, limit: usize) -> Result<Stays, StoreError> {
        let Filter { side, other, person, since, until, mode, status } = self.filter.clone();
        let query = HistoryQuery {
            side,
            other,
            person,
            since: Some(since.map_or(self.kept.earliest, |t| t.max(self.kept.earliest))),
            until,
            mode,
            status: status.map(|s| (s, self.now)),
            kept: (self.kept.since, self.kept.grants.clone()),
            after,
            limit: limit.saturating_add(1),
        };
        let mut rows = app.reader().history(self.scope, &query)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        let next = last
            .map(|r| cursor::write(app, &self.text(), &format!("{}:{}", r.started.0, r.session)));
        Ok(Stays { items: stays(app, rows, self.now), next })
    }
}

/// One session of `scope`, if it is still shown. Blocking.
///
/// # Errors
/// If it cannot be read.
pub fn one(
    app: &App,
    state: &State,
    scope: OrganisationId,
    session: SessionId,
    now: Instant,
) -> Result<Option<Stay>, StoreError> {
    let row = app.reader().session(scope, session)?;
    let kept = kept::kept(state, scope, now);
    let row = row.filter(|row| kept.shows(row.started, row.grant));
    Ok(stays(app, row.into_iter().collect(), now).pop())
}

/// A session's calls over time. Blocking.
///
/// # Errors
/// If they cannot be read.
pub fn minutes(app: &App, session: SessionId) -> Result<Vec<CallMinute>, StoreError> {
    app.minutes(session)
}

fn stays(app: &App, rows: Vec<HistoryRow>, now: Instant) -> Vec<Stay> {
    let sessions: Vec<SessionId> = rows.iter().map(|r| r.session).collect();
    let counts = app.counts_of(&sessions);
    let stay = |(row, calls): (HistoryRow, Counts)| Stay {
        status: session::status(row.deadline, row.ended, now),
        minutes: session::shown_minutes(row.started, row.deadline, row.ended, now),
        seconds: session::shown_millis(row.started, row.deadline, row.ended, now) / SECOND,
        calls,
        row,
    };
    rows.into_iter().zip(counts).map(stay).collect()
}
