//! Assignments: one person on one grant.
//!
//! An assignment is known by (grant, person); nothing refers to an identifier of its own. One that
//! ended is gone from the state at once: no rule asks about it, and the log remembers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::command::{AssignmentSpec, Caller};
use crate::draft::Draft;
use crate::event::Event;
use crate::grant::{Grant, GrantPhase};
use crate::ids::{AccountId, GrantId, PersonId, RoleId};
use crate::may::{self, Action, Thing};
use crate::organisation::Accounts;
use crate::refusal::Refusal;
use crate::state::State;
use crate::table::SetIx;
use crate::time::Instant;

/// How many people one call puts on a grant at most: a row must stay short (T44).
pub const MOST_IN_A_SET: usize = 1_000;

/// How a person came to be on a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Chosen by the provider.
    Individual,
    /// By the rule that all members are on it.
    Automatic,
    /// As an external person, by an invitation that they accepted.
    Invited,
}

/// Whether it gives access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentState {
    /// Gives access.
    Active,
    /// The grant's ceiling left no role: counts as not assigned everywhere.
    SuspendedNoRoles,
}

/// One person on one grant. Sets are interned: thousands of assignments share few of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Which of the grant's roles.
    pub roles: SetIx,
    /// Which of the grant's accounts; `None` is all of them, whatever they are.
    pub accounts: Option<SetIx>,
    /// When it ends by the clock; [`Instant::NEVER`] where only the grant's end counts.
    pub ends_at: Instant,
    /// How it came about.
    pub basis: Basis,
    /// Whether it gives access.
    pub state: AssignmentState,
}

impl Assignment {
    /// Whether it gives access at `now`.
    #[must_use]
    pub fn is_active(&self, now: Instant) -> bool {
        self.state == AssignmentState::Active && now < self.ends_at
    }
}

/// Why an assignment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentEnd {
    /// The provider removed it.
    Removed,
    /// The person left the provider.
    LeftProvider,
    /// The person left the unit.
    LeftUnit,
    /// None of its accounts is left.
    AccountsGone,
    /// The customer took the person back as its own member.
    MembershipRestored,
    /// A rule by which all members are on the grant took its place.
    Replaced,
    /// All that the person may enter was ended at once.
    AllEnded,
    /// The customer lets nobody from outside in any more.
    ExternalBarred,
}

/// Puts a person on a grant, or changes what they have there.
pub(crate) fn assign(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: GrantId,
    spec: AssignmentSpec,
) -> Result<(), Refusal> {
    let grant = may::check_grant(&d.state, caller, Action::Assign, id, d.now())?.clone();
    d.acting_for(grant.provider.organisation);
    put(d, id, &grant, spec)
}

/// Whether anything can be given under a grant just now, whoever gets it.
pub(crate) fn open(state: &State, id: GrantId, grant: &Grant) -> Result<(), Refusal> {
    let (customer, provider) = (grant.customer.organisation, grant.provider.organisation);
    if state.is_locked(customer, provider, None) || state.is_halted(id, None) {
        return Err(Refusal::Locked);
    }
    // A suspension stops what a lock stops.
    if state.party_is_active(grant.customer) { Ok(()) } else { Err(Refusal::NotActive("customer")) }
}

/// Whether a person may have something under a grant: they are an active member of the right side,
/// and no lock stands in the way.
pub(crate) fn may_hold(
    state: &State,
    id: GrantId,
    grant: &Grant,
    person: PersonId,
    field: &'static str,
) -> Result<(), Refusal> {
    let (customer, provider) = (grant.customer.organisation, grant.provider.organisation);
    if state.is_locked(customer, provider, Some(person)) || state.is_halted(id, Some(person)) {
        return Err(Refusal::Locked);
    }
    if !state.party_is_active(grant.customer) {
        return Err(Refusal::NotActive("customer")); // a suspension stops what a lock stops
    }
    let member = state.active_member(provider, person);
    if member.is_some_and(|m| grant.provider.includes(provider, m.unit)) {
        return Ok(());
    }
    let who = if field == "people" { format!("name {person}, who ") } else { String::new() };
    Err(Refusal::invalid(field, format!("{who}is no active member of this side of the grant")))
}

/// Whether these are roles of the grant, and at least one.
pub(crate) fn roles_within(state: &State, grant: &Grant, roles: &[RoleId]) -> Result<(), Refusal> {
    if roles.is_empty() {
        return Err(Refusal::invalid("roles", "must name at least one role"));
    }
    if roles.iter().any(|r| !grant.pinned(*r).is_some_and(|p| state.role_lives(p))) {
        return Err(Refusal::Widening("roles"));
    }
    Ok(())
}

/// Whether these are accounts of the grant, and at least one.
pub(crate) fn accounts_within(
    state: &State,
    grant: &Grant,
    accounts: &Accounts,
) -> Result<(), Refusal> {
    if accounts.is_empty() {
        return Err(Refusal::invalid("accounts", "must be \"all\" or name at least one account"));
    }
    if grant.accounts.is_empty() {
        return Err(Refusal::invalid("accounts", "of this grant are all gone; ask for new access"));
    }
    if let Accounts::List(list) = accounts {
        let on_side = |a: &AccountId| {
            let account = state.accounts.get(*a);
            account.is_some_and(|a| grant.customer.includes(a.organisation, a.unit))
        };
        if !list.iter().all(on_side) || !grant.accounts.covers(accounts) {
            return Err(Refusal::Widening("accounts"));
        }
    }
    Ok(())
}

/// What somebody is to have, judged against the grant's ceiling: roles sorted, each once, and when
/// it ends, [`Instant::NEVER`] where only the grant's end counts.
pub(crate) fn under(
    state: &State,
    grant: &Grant,
    mut roles: Vec<RoleId>,
    accounts: Accounts,
    ends_at: Option<Instant>,
    now: Instant,
) -> Result<(Vec<RoleId>, Accounts, Instant), Refusal> {
    roles.sort();
    roles.dedup();
    roles_within(state, grant, &roles)?;
    accounts_within(state, grant, &accounts)?;
    let ends_at = ends_at.unwrap_or(Instant::NEVER);
    if ends_at != Instant::NEVER && ends_at > grant.window.end {
        return Err(Refusal::Widening("ends_at"));
    }
    if ends_at <= now.max(grant.window.start) {
        return Err(Refusal::invalid("ends_at", "must lie after the start and in the future"));
    }
    Ok((roles, accounts, ends_at))
}

/// What of these accounts a grant still gives.
pub(crate) fn left_of(state: &State, grant: &Grant, accounts: &Accounts) -> Accounts {
    let lives = |id: &AccountId| {
        let account = state.accounts.get(*id);
        account.is_some_and(|a| grant.customer.includes(a.organisation, a.unit))
    };
    match accounts {
        Accounts::All if grant.accounts.is_empty() => Accounts::List(BTreeSet::new()),
        Accounts::All => Accounts::All,
        Accounts::List(list) => Accounts::List(
            list.iter()
                .copied()
                .filter(|x| lives(x) && grant.accounts.covers(&Accounts::List([*x].into())))
                .collect(),
        ),
    }
}

/// Everything that has to hold for one person on a grant, and on what basis they are on it then. Who
/// came by an invitation stays what they are, and is given something else as anybody is.
pub(crate) fn checked(
    state: &State,
    id: GrantId,
    grant: &Grant,
    spec: &AssignmentSpec,
    now: Instant,
) -> Result<Basis, Refusal> {
    if !grant.stands(now) {
        return Err(Refusal::WrongState(grant.phase(now).code()));
    }
    let row = state.own_row(id, spec.person);
    let external = row.is_some_and(|row| row.basis == Basis::Invited);
    if external {
        let customer = grant.customer.organisation;
        if state.is_locked(customer, grant.provider.organisation, Some(spec.person))
            || state.is_halted(id, Some(spec.person))
        {
            return Err(Refusal::Locked);
        }
        if !state.party_is_active(grant.customer) {
            return Err(Refusal::NotActive("customer"));
        }
        if !grant.lets_outsiders_in(state) {
            return Err(Refusal::ExternalNotAllowed);
        }
    } else {
        // A rule is for members; who came from outside is handled one by one beside it.
        if grant.auto.is_some() {
            return Err(Refusal::AutoAssignEnabled);
        }
        may_hold(state, id, grant, spec.person, "person")?;
    }
    under(state, grant, spec.roles.clone(), spec.accounts.clone(), spec.ends_at, now)?;
    Ok(if external { Basis::Invited } else { Basis::Individual })
}

pub(crate) fn put(
    d: &mut Draft<'_>,
    id: GrantId,
    grant: &Grant,
    spec: AssignmentSpec,
) -> Result<(), Refusal> {
    let now = d.now();
    let basis = checked(&d.state, id, grant, &spec, now)?;
    let person = spec.person;
    let (roles, accounts, ends_at) =
        under(&d.state, grant, spec.roles, spec.accounts, spec.ends_at, now)?;
    let known = d.state.assignment(id, person);
    let same = known.is_some_and(|a| {
        a.roles == roles
            && a.accounts == accounts
            && a.row.ends_at == ends_at
            && a.row.is_active(now)
    });
    if !same {
        d.emit(Event::Assigned { grant: id, person, roles, accounts, ends_at, basis });
    }
    Ok(())
}

/// Takes a person off a grant. A live grant keeps at least one person unless a successor is named
/// in the same call (E5, inv16).
pub(crate) fn unassign(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: GrantId,
    person: PersonId,
    successor: Option<AssignmentSpec>,
) -> Result<(), Refusal> {
    let now = d.now();
    let leaving = caller.person() == Some(person) && successor.is_none();
    let grant = if leaving && d.state.assignment_row(id, person).is_some() {
        may::check(&d.state, caller, Action::LeaveGrant, Thing::own(person), now)?;
        d.state.grants.get(id).ok_or(Refusal::NotFound)?
    } else {
        may::check_grant(&d.state, caller, Action::Unassign, id, now)?
    }
    .clone();
    if !grant.stands(now) {
        return Err(Refusal::WrongState(grant.phase(now).code()));
    }
    d.acting_for(grant.provider.organisation);
    let row = *d.state.assignment_row(id, person).ok_or(Refusal::NotFound)?;
    if row.basis == Basis::Automatic {
        return Err(Refusal::AutoAssignEnabled);
    }
    if let Some(successor) = successor {
        if successor.person == person {
            return Err(Refusal::invalid("successor", "must be somebody else"));
        }
        put(d, id, &grant, successor)?;
    }
    let others =
        d.state.assigned_to(id).any(|(p, a)| p != person && d.state.attends(id, p, a, now));
    // Only a live grant needs somebody: one that is scheduled may start empty.
    if grant.phase(now) == GrantPhase::Active && d.state.attends(id, person, &row, now) && !others {
        return Err(Refusal::LastUser);
    }
    d.emit(Event::AssignmentEnded { grant: id, person, cause: AssignmentEnd::Removed });
    Ok(())
}

/// Puts exactly these people on a grant, all or nothing: who is named gets what is said there, and
/// who is not is taken off (N6, N7). What stays as it is is left alone, so that somebody who cannot
/// be put on the grant just now does not stand in the way of the others. External people are not
/// part of the set: they come by invitation and go one by one.
pub(crate) fn set(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: GrantId,
    people: Vec<AssignmentSpec>,
) -> Result<(), Refusal> {
    let now = d.now();
    let grant = may::check_grant(&d.state, caller, Action::Assign, id, now)?.clone();
    if !grant.stands(now) {
        return Err(Refusal::WrongState(grant.phase(now).code()));
    }
    if grant.auto.is_some() {
        return Err(Refusal::AutoAssignEnabled);
    }
    if people.len() > MOST_IN_A_SET {
        return Err(Refusal::invalid("people", format!("may name at most {MOST_IN_A_SET}")));
    }
    let named: BTreeSet<PersonId> = people.iter().map(|s| s.person).collect();
    if named.len() < people.len() {
        return Err(Refusal::invalid("people", "names somebody twice"));
    }
    d.acting_for(grant.provider.organisation);
    let attended = d.state.is_attended(id, now);
    let individual = d.state.assigned_to(id).filter(|(_, a)| a.basis == Basis::Individual);
    let off: Vec<PersonId> = individual.map(|(p, _)| p).filter(|p| !named.contains(p)).collect();
    for spec in people {
        if !stays(d, id, &spec) {
            put(d, id, &grant, spec)?;
        }
    }
    for person in off {
        d.emit(Event::AssignmentEnded { grant: id, person, cause: AssignmentEnd::Removed });
    }
    // Counted for the whole set; only a live grant needs somebody (E5, inv16).
    if grant.phase(now) == GrantPhase::Active && attended && !d.state.is_attended(id, now) {
        return Err(Refusal::LastUser);
    }
    Ok(())
}

/// Whether a person has on a grant what is said already, whatever became of it by the clock.
fn stays(d: &Draft<'_>, id: GrantId, spec: &AssignmentSpec) -> bool {
    let wanted: BTreeSet<_> = spec.roles.iter().copied().collect();
    d.state.assignment(id, spec.person).is_some_and(|a| {
        !wanted.is_empty()
            && a.row.state == AssignmentState::Active
            && a.roles.iter().copied().collect::<BTreeSet<_>>() == wanted
            && a.accounts == spec.accounts
            && a.row.ends_at == spec.ends_at.unwrap_or(Instant::NEVER)
    })
}
