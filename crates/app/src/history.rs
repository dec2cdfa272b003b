//! *Impersonation History*: every session, past and present, with its calls.

use comity_decision::counter::Counts;
use comity_domain::ids::OrganisationId;
use comity_domain::session::{self, SessionStatus};
use comity_domain::time::{Instant, SECOND};
pub use comity_store::{HistoryQuery, HistorySide};
use comity_store::{HistoryRow, StoreError};

use crate::app::App;

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

/// A page of the history of `scope`, newest first. Blocking.
///
/// # Errors
/// If the file cannot be read.
pub fn page(
    app: &App,
    scope: OrganisationId,
    query: &HistoryQuery,
    now: Instant,
) -> Result<Vec<Stay>, StoreError> {
    let rows = app.reader().history(scope, query)?;
    Ok(rows.into_iter().map(|row| stay(app, row, now)).collect())
}

/// One session of `scope`. Blocking.
///
/// # Errors
/// If the file cannot be read.
pub fn one(
    app: &App,
    scope: OrganisationId,
    session: comity_domain::ids::SessionId,
    now: Instant,
) -> Result<Option<Stay>, StoreError> {
    Ok(app.reader().session(scope, session)?.map(|row| stay(app, row, now)))
}

fn stay(app: &App, row: HistoryRow, now: Instant) -> Stay {
    Stay {
        status: session::status(row.deadline, row.ended, now),
        minutes: session::shown_minutes(row.started, row.deadline, row.ended, now),
        seconds: session::shown_millis(row.started, row.deadline, row.ended, now) / SECOND,
        calls: app.counts(row.session),
        row,
    }
}
