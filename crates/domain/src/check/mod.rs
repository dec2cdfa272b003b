//! The invariants of a running installation, each by its number, read off the facts a second time.
//!
//! Nothing here calls a rule that it checks: who is active, locked or inside a ceiling is worked out
//! anew from the tables, so that a fault of `rights.rs`, `settle.rs` or a noun's own file shows. It
//! is total: a state that somebody tampered with is reported and never panics.
//!
//! - [`check`] looks at a state: invariants [`OF_STATE`].
//! - [`step`] looks at one row between two states: invariants [`OF_STEP`].
//! - [`differences`] compares two states that must be equal: invariant 24.
//!
//! The log's own (25, 26) are looked at where the log is read, outside this crate. Not checkable
//! yet, because the noun or the outside fact does not exist: 18 (invitations), 30 (outbox), 34 (canaries are planted by tests). The others are about
//! answers and not about states. `docs/reference/invariants.md` says where each is proven.

use std::collections::BTreeSet;

use crate::apply::Touched;
use crate::event::{Event, Row};
use crate::halt::HaltTarget;
use crate::ids::{GrantId, KeyId, OrganisationId, PersonId, SessionId};
use crate::state::State;
use crate::time::Instant;

mod giving;
mod object;
mod rows;
mod same;
#[doc(hidden)]
pub mod seam;

pub use rows::step;
pub use same::differences;

/// What [`check`] looks at.
pub const OF_STATE: &[u8] = &[1, 2, 3, 4, 6, 7, 8, 14, 15, 19, 20, 23, 31, 32, 33];
/// What [`step`] looks at.
pub const OF_STEP: &[u8] = &[3, 4, 5, 7, 8, 15, 16, 17, 19, 21, 23, 25, 32];
/// What follows from comparing and reading the log.
pub const OF_LOG: &[u8] = &[24, 25, 26];
/// A breach of these halts what it concerns before anybody is told.
pub const HALTING: &[u8] = &[1, 3, 4, 5, 6, 20, 23, 24, 32, 33];
/// A breach of these that concerns no single object stops every yes.
pub const CLOSING: &[u8] = &[24, 25, 26, 32];

/// An invariant that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    /// Its number in the list of invariants.
    pub invariant: u8,
    /// On what; `None` where it concerns no single object but the log as a whole.
    pub about: Option<HaltTarget>,
    /// What is wrong, for the operator.
    pub what: &'static str,
}

impl Breach {
    /// What has to be halted because of it.
    #[must_use]
    pub fn halts(&self) -> Option<HaltTarget> {
        self.about.filter(|_| HALTING.contains(&self.invariant))
    }

    /// Whether nothing can be trusted any more.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.about.is_none() && CLOSING.contains(&self.invariant)
    }
}

/// What to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Everything there is; the sets below do not matter then.
    pub all: bool,
    /// These grants, with who is on them and their sessions.
    pub grants: BTreeSet<GrantId>,
    /// These people, with their memberships and sessions.
    pub people: BTreeSet<PersonId>,
    /// These sessions.
    pub sessions: BTreeSet<SessionId>,
    /// These organisations, with their units, accounts, roles, requests and locks.
    pub organisations: BTreeSet<OrganisationId>,
    /// These keys.
    pub keys: BTreeSet<KeyId>,
}

impl Scope {
    /// Everything there is.
    #[must_use]
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Adds what a row touched: what `apply` says, every organisation that reads of it, and what
    /// its events name themselves.
    pub fn add(&mut self, row: &Row, touched: Touched) {
        self.all |= touched.all;
        self.grants.extend(touched.grants);
        self.people.extend(touched.people);
        self.sessions.extend(touched.sessions);
        for recorded in &row.events {
            self.organisations.extend(&recorded.readers);
            match &recorded.event {
                Event::KeyMade { key, .. } | Event::KeyRetired { key } => {
                    self.keys.insert(*key);
                }
                Event::SignedIn { person, .. }
                | Event::PersonMade { person, .. }
                | Event::SignedOutEverywhere { person }
                | Event::PasswordSet { person } => {
                    self.people.insert(*person);
                }
                _ => {}
            }
        }
    }

    /// The sessions in the scope, those under its grants and of its people included.
    fn sessions_in(&self, state: &State) -> BTreeSet<SessionId> {
        let mut out = self.sessions.clone();
        out.extend(self.grants.iter().flat_map(|g| state.sessions_under(*g)));
        out.extend(self.people.iter().flat_map(|p| state.sessions_of(*p)));
        out
    }
}

/// Every breach of [`OF_STATE`] in the scope, sorted. Linear in the scope, and in the locks and
/// halts in force.
#[must_use]
pub fn check(state: &State, scope: &Scope, now: Instant) -> Vec<Breach> {
    let mut facts = object::Facts::new(state, now.max(state.at));
    if scope.all {
        facts.everything();
    } else {
        for id in &scope.grants {
            facts.grant(*id);
        }
        for id in scope.sessions_in(state) {
            facts.session(id);
        }
        for id in &scope.people {
            facts.person(*id);
        }
        for id in &scope.organisations {
            facts.organisation(*id);
        }
        for id in &scope.keys {
            facts.key(*id);
        }
    }
    let mut found = facts.found;
    found.sort();
    found.dedup();
    found
}
