//! How far back an organisation is shown its history: as long as it chose, and never less than until
//! [`AFTER_GRANT`] after the end of the grant under which a session ran (R5).

use crate::grant::{Grant, GrantState};
use crate::ids::{GrantId, OrganisationId};
use crate::state::State;
use crate::time::{DAY, Instant};

/// How long after the end of its grant a session is shown at least, in milliseconds.
pub const AFTER_GRANT: i64 = 90 * DAY;

/// What is shown of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What started then or later.
    pub since: Instant,
    /// Of these grants also what started before.
    pub grants: Vec<GrantId>,
    /// Nothing that is shown started before.
    pub earliest: Instant,
}

impl Kept {
    /// Whether a session that started then under that grant is shown.
    #[must_use]
    pub fn shows(&self, started: Instant, grant: GrantId) -> bool {
        started >= self.since || self.grants.contains(&grant)
    }
}

fn end(grant: &Grant) -> Instant {
    match grant.state {
        GrantState::Ended { at, .. } => at.min(grant.window.end),
        GrantState::Running => grant.window.end,
    }
}

/// What `scope` is shown of the history at `now`.
#[must_use]
pub fn kept(state: &State, scope: OrganisationId, now: Instant) -> Kept {
    let chosen = state.organisations.get(scope).map(|o| o.settings.retention.millis());
    let since = chosen.map_or(Instant(i64::MIN), |chosen| now.plus(-chosen));
    let mut kept = Kept { since, grants: Vec::new(), earliest: since };
    for id in state.grants_by(scope).chain(state.grants_to(scope)) {
        let Some(grant) = state.grants.get(id) else { continue };
        if grant.window.start < since && end(grant).plus(AFTER_GRANT) > now {
            kept.grants.push(id);
            kept.earliest = kept.earliest.min(grant.window.start);
        }
    }
    kept
}
