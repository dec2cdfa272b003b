//! Questions about the state, scope first, as of an instant. A list and the count beside it come
//! from the same question.

use std::collections::BTreeSet;

use crate::grant::{Grant, GrantPhase};
use crate::ids::{GrantId, OrganisationId, PersonId, RequestId};
use crate::request::{Direction, Request, RequestPhase};
use crate::state::State;
use crate::time::Instant;

mod candidates;
mod doors;
pub mod kept;
mod partner_access;
pub mod portal;
pub mod roles;
mod staged;

pub use candidates::{Candidate, Purpose, Sought, candidates};
pub use doors::{Door, Shut, doors};
pub use partner_access::{Counts, Stops, Word, counts, past_with, stops, stops_by_lock, words};
pub use staged::Staged;

/// Requests that a customer has to decide (R3), oldest first; its own offers are none.
pub fn pending_requests(
    state: &State,
    customer: OrganisationId,
    now: Instant,
) -> impl Iterator<Item = (RequestId, &Request)> {
    state
        .requests_to(customer)
        .filter_map(|id| Some((id, state.requests.get(id)?)))
        .filter(move |(_, r)| r.direction == Direction::PartnerRequest)
        .filter(move |(_, r)| r.phase(now) == RequestPhase::Pending)
}

/// The requests that an organisation decides: of partners to it, and offers to it; oldest first.
#[must_use]
pub fn received_requests(state: &State, id: OrganisationId) -> Vec<RequestId> {
    between(state, id, Direction::PartnerRequest, Direction::CustomerOffer)
}

/// The requests that an organisation has made: as a partner, and its own offers; oldest first.
#[must_use]
pub fn sent_requests(state: &State, id: OrganisationId) -> Vec<RequestId> {
    between(state, id, Direction::CustomerOffer, Direction::PartnerRequest)
}

fn between(
    state: &State,
    id: OrganisationId,
    as_customer: Direction,
    as_provider: Direction,
) -> Vec<RequestId> {
    let of = |request: &RequestId, direction| {
        state.requests.get(*request).is_some_and(|r| r.direction == direction)
    };
    let own = state.requests_to(id).filter(|r| of(r, as_customer));
    let others = state.requests_from(id).filter(|r| of(r, as_provider));
    let mut all: Vec<RequestId> = own.chain(others).collect();
    all.sort();
    all
}

/// A grant on the customer's page of active access.
#[derive(Debug, Clone, Copy)]
pub struct Access<'s> {
    /// Which.
    pub id: GrantId,
    /// The grant.
    pub grant: &'s Grant,
    /// Active, scheduled or unconfirmed.
    pub phase: GrantPhase,
    /// Locked and halted ones are shown and not counted.
    pub locked: bool,
    /// How many sessions are in progress.
    pub inside: usize,
}

/// A customer's standing grants, oldest first (R4).
pub fn active_access(
    state: &State,
    customer: OrganisationId,
    now: Instant,
) -> impl Iterator<Item = Access<'_>> {
    state
        .grants_by(customer)
        .filter_map(move |id| access(state, id, now))
        .filter(move |a| a.grant.stands(now))
}

/// One grant as its customer sees it.
#[must_use]
pub fn access(state: &State, id: GrantId, now: Instant) -> Option<Access<'_>> {
    let grant = state.grants.get(id)?;
    let live = |s: &crate::ids::SessionId| state.sessions.get(*s).is_some_and(|s| s.is_active(now));
    Some(Access {
        id,
        grant,
        phase: grant.phase(now),
        locked: state.is_locked(grant.customer.organisation, grant.provider.organisation, None)
            || state.is_halted(id, None),
        inside: state.sessions_under(id).filter(live).count(),
    })
}

/// What the tab's label counts: distinct partners that are usable now.
#[must_use]
pub fn active_partners(state: &State, customer: OrganisationId, now: Instant) -> usize {
    active_access(state, customer, now)
        .filter(|a| {
            a.phase == GrantPhase::Active && !a.locked && state.party_is_active(a.grant.provider)
        })
        .map(|a| a.grant.provider.organisation)
        .collect::<BTreeSet<_>>()
        .len()
}

/// A customer that a person may enter now.
#[derive(Debug, Clone, Copy)]
pub struct Tenant<'s> {
    /// Under which grant.
    pub id: GrantId,
    /// The grant.
    pub grant: &'s Grant,
}

/// Where a person may go (N8), one line for each live grant.
pub fn tenants(state: &State, person: PersonId, now: Instant) -> impl Iterator<Item = Tenant<'_>> {
    state.grants_of(person).filter_map(move |(id, grant)| {
        let (customer, provider) = (grant.customer.organisation, grant.provider.organisation);
        let open = grant.phase(now) == GrantPhase::Active
            && state.assignment_row(id, person).is_some_and(|a| state.attends(id, person, a, now))
            && !state.is_locked(customer, provider, Some(person))
            && !state.is_halted(id, Some(person))
            && state.party_is_active(grant.customer)
            && state.party_is_active(grant.provider);
        open.then_some(Tenant { id, grant })
    })
}
