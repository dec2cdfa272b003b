//! Locks: *report and lock* stops one partner organisation, or one person, in one customer.
//!
//! A lock matches by organisation and by person, whatever the grant, also for what is made after
//! it. Only the customer lifts it; ended sessions stay ended.

use serde::{Deserialize, Serialize};

use crate::command::Caller;
use crate::draft::Draft;
use crate::event::Event;
use crate::ids::{LockId, OrganisationId, PersonId};
use crate::may::{self, Action, Thing};
use crate::refusal::Refusal;
use crate::request::{self, Direction, Request, RequestCancel};
use crate::state::State;
use crate::text::{self, Subject, WordId};
use crate::time::Instant;

/// Whom a lock stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockTarget {
    /// Everybody of this partner.
    Organisation(OrganisationId),
    /// This person, from whatever organisation.
    Person(PersonId),
}

/// A lock that is in force. One that was lifted is gone from the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Who locked.
    pub customer: OrganisationId,
    /// Whom.
    pub target: LockTarget,
    /// When.
    pub at: Instant,
    /// By whom.
    pub by: PersonId,
    /// Why, for the customer.
    pub reason: Option<WordId>,
}

/// Report and lock: sessions end, every decision says `locked`, and nothing new can be asked,
/// assigned or entered until the customer unlocks (R20).
pub(crate) fn place(
    d: &mut Draft<'_>,
    caller: &Caller,
    customer: OrganisationId,
    target: LockTarget,
    reason: Option<String>,
) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::Lock, Thing::organisation(customer), d.now())?;
    let by = caller.person().ok_or(Refusal::NotFound)?;
    if !is_known_partner(&d.state, customer, target) {
        return Err(Refusal::NotFound); // only who has asked or been let in can be locked out
    }
    if d.state.lock_on(customer, target).is_some() {
        return Ok(());
    }
    let reason = reason.filter(|r| !r.trim().is_empty()).map(|r| text::prose("reason", &r));
    let reason = reason.transpose()?;
    d.acting_for(customer);
    let lock = LockId(d.id());
    let reason = reason.map(|r| d.word(Subject::Organisation(customer), r));
    d.emit(Event::LockPlaced { lock, customer, target, by, reason });
    let theirs = |r: &Request| match target {
        LockTarget::Organisation(partner) => r.provider.organisation == partner,
        LockTarget::Person(person) => r.direction == Direction::PartnerRequest && r.by == person,
    };
    request::cancel_pending(d, customer, theirs, RequestCancel::Locked);
    Ok(())
}

/// Whether the customer knows them: they have asked there or been let in. Nobody else can be locked
/// out, so a lock tells nothing about strangers.
#[must_use]
pub fn is_known_partner(state: &State, customer: OrganisationId, target: LockTarget) -> bool {
    let requests = || state.requests_to(customer).filter_map(|id| state.requests.get(id));
    let mut grants = state.grants_by(customer);
    match target {
        LockTarget::Organisation(partner) => {
            partner != customer
                && (requests().any(|r| r.provider.organisation == partner)
                    || grants.any(|g| {
                        state.grants.get(g).is_some_and(|g| g.provider.organisation == partner)
                    }))
        }
        LockTarget::Person(person) => {
            requests().any(|r| r.direction == Direction::PartnerRequest && r.by == person)
                || state.grants_of(person).any(|(_, g)| g.customer.organisation == customer)
                || grants.any(|g| {
                    state
                        .sessions_under(g)
                        .any(|s| state.sessions.get(s).is_some_and(|s| s.person == person))
                })
        }
    }
}

/// Lifts a lock. What was ended stays ended.
pub(crate) fn lift(d: &mut Draft<'_>, caller: &Caller, id: LockId) -> Result<(), Refusal> {
    let customer = d.state.locks.get(id).ok_or(Refusal::NotFound)?.customer;
    may::check(&d.state, caller, Action::Unlock, Thing::organisation(customer), d.now())?;
    let by = caller.person().ok_or(Refusal::NotFound)?;
    d.acting_for(customer);
    d.emit_to(Event::LockLifted { lock: id, by }, vec![customer]);
    Ok(())
}
