//! What a customer's page of partner access says beside its lists: the counts in its tabs, the word
//! for a grant's condition, what came of a partner's earlier requests, and what an ending would end.

use std::collections::BTreeSet;

use super::{Access, active_access, active_partners, pending_requests};
use crate::grant::GrantPhase;
use crate::ids::{GrantId, OrganisationId, PersonId, RequestId, SessionId};
use crate::lock::LockTarget;
use crate::request::{Direction, Request};
use crate::state::State;
use crate::time::Instant;

/// The counts beside the tabs, each from the same question as its list (R3, R4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Requests that wait for a decision.
    pub pending: usize,
    /// Distinct partners that are usable now.
    pub active: usize,
    /// Sessions in progress.
    pub inside: usize,
}

/// A customer's counts.
#[must_use]
pub fn counts(state: &State, customer: OrganisationId, now: Instant) -> Counts {
    Counts {
        pending: pending_requests(state, customer, now).count(),
        active: active_partners(state, customer, now),
        inside: active_access(state, customer, now).map(|a| a.inside).sum(),
    }
}

/// A word about a grant that its customer should see at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// Usable now.
    Active,
    /// Its window has not begun.
    Scheduled,
    /// It waits for the customer's word after a restore.
    Unconfirmed,
    /// A lock of the customer covers it.
    Locked,
    /// The running checker has stopped it.
    Halted,
    /// The partner or its unit takes no part.
    Suspended,
    /// Nobody is assigned any more, though somebody was.
    Unattended,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Ended,
}

/// Every word that fits a grant, the gravest first. `Active` stands only where nothing keeps people
/// out: it is what [`active_partners`] counts.
#[must_use]
pub fn words(state: &State, access: &Access<'_>, now: Instant) -> Vec<Word> {
    let grant = access.grant;
    let (customer, provider) = (grant.customer.organisation, grant.provider.organisation);
    let mut words = Vec::new();
    match access.phase {
        GrantPhase::Expired => return vec![Word::Expired],
        GrantPhase::Ended => return vec![Word::Ended],
        GrantPhase::Unconfirmed => words.push(Word::Unconfirmed),
        GrantPhase::Scheduled => words.push(Word::Scheduled),
        GrantPhase::Active => {}
    }
    if state.is_locked(customer, provider, None) {
        words.push(Word::Locked);
    }
    if state.is_halted(access.id, None) {
        words.push(Word::Halted);
    }
    if !state.party_is_active(grant.provider) {
        words.push(Word::Suspended);
    }
    if words.is_empty() {
        words.push(Word::Active);
    }
    if grant.unattended && state.active_on(access.id, now) == 0 {
        words.push(Word::Unattended);
    }
    words
}

/// What a partner has asked of this customer before, the newest first; without `but`.
pub fn past_with(
    state: &State,
    customer: OrganisationId,
    partner: OrganisationId,
    but: RequestId,
) -> impl Iterator<Item = (RequestId, &Request)> {
    state
        .requests_to(customer)
        .rev()
        .filter(move |id| *id != but)
        .filter_map(|id| Some((id, state.requests.get(id)?)))
        .filter(move |(_, r)| r.direction == Direction::PartnerRequest)
        .filter(move |(_, r)| r.provider.organisation == partner)
}

/// What an ending would end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stops {
    /// Sessions in progress.
    pub sessions: Vec<SessionId>,
    /// People who have access now.
    pub people: BTreeSet<PersonId>,
    /// Requests that wait for a decision and would be cancelled.
    pub requests: Vec<RequestId>,
}

/// What a revoke of this grant would end (R12).
#[must_use]
pub fn stops(state: &State, access: &Access<'_>, now: Instant) -> Stops {
    let (customer, provider) = (access.grant.customer, access.grant.provider);
    let mut stops = Stops::default();
    stops.of_grant(state, access.id, now, |_| true);
    stops.of_requests(state, customer.organisation, now, |r| {
        r.provider.organisation == provider.organisation
    });
    stops
}

/// What a lock would end (R20): every session of the partner or person in this customer.
#[must_use]
pub fn stops_by_lock(
    state: &State,
    customer: OrganisationId,
    target: LockTarget,
    now: Instant,
) -> Stops {
    let mut stops = Stops::default();
    for access in active_access(state, customer, now) {
        let partner = access.grant.provider.organisation;
        stops.of_grant(state, access.id, now, |person| match target {
            LockTarget::Organisation(locked) => partner == locked,
            LockTarget::Person(locked) => person == locked,
        });
    }
    stops.of_requests(state, customer, now, |r| match target {
        LockTarget::Organisation(locked) => r.provider.organisation == locked,
        LockTarget::Person(locked) => r.by == locked,
    });
    stops
}

impl Stops {
    fn of_grant(
        &mut self,
        state: &State,
        grant: GrantId,
        now: Instant,
        who: impl Fn(PersonId) -> bool,
    ) {
        let live = |id: &SessionId| {
            state.sessions.get(*id).is_some_and(|s| s.is_active(now) && who(s.person))
        };
        self.sessions.extend(state.sessions_under(grant).filter(live));
        let attending = state
            .assigned_to(grant)
            .filter(|(person, row)| who(*person) && state.attends(grant, *person, row, now));
        self.people.extend(attending.map(|(person, _)| person));
    }

    fn of_requests(
        &mut self,
        state: &State,
        customer: OrganisationId,
        now: Instant,
        whose: impl Fn(&Request) -> bool,
    ) {
        let pending = pending_requests(state, customer, now).filter(|(_, r)| whose(r));
        self.requests.extend(pending.map(|(id, _)| id));
    }
}
