//! *Automatically add partner users*: the rule by which all members of the provider are on a grant
//! (E6, E7).
//!
//! A rule and not a copy: [`crate::state::State::assignment_row`] and its neighbours answer from it,
//! so that whoever joins or leaves is on or off a thousand grants by the one row in which they do
//! (T27). Rows of their own have only external people there. What gives less trims the rule itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::assignment::{Assignment, AssignmentEnd, AssignmentState, Basis};
use crate::command::Caller;
use crate::direct;
use crate::draft::Draft;
use crate::event::Event;
use crate::grant::{Grant, GrantPhase};
use crate::ids::{Digest32, GrantId, OrganisationId, PersonId, RoleId};
use crate::may::{self, Action};
use crate::organisation::{self, Accounts, Party, Standing};
use crate::person::{self, Member, PortalRole};
use crate::refusal::Refusal;
use crate::state::State;
use crate::time::Instant;

/// The rule of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoRule {
    /// What everybody has by it: all accounts of the grant, as long as the grant runs. Suspended
    /// where the ceiling left no role; only the provider brings it back.
    pub row: Assignment,
    /// Only members with one of these portal roles; `None` for all.
    pub only: Option<BTreeSet<PortalRole>>,
    /// Members whom it does not cover although it would: their place would have cost the customer
    /// its last Admin. Until the rule is set anew.
    pub left_out: BTreeSet<PersonId>,
}

impl AutoRule {
    /// Whether the rule covers this member of the provider. It gives nothing to one who takes no
    /// part: that is judged like a row's ([`State::attends`]).
    #[must_use]
    pub fn covers(&self, provider: Party, person: PersonId, member: &Member) -> bool {
        includes(provider, self.only.as_ref(), member) && !self.left_out.contains(&person)
    }
}

fn includes(provider: Party, only: Option<&BTreeSet<PortalRole>>, member: &Member) -> bool {
    provider.includes(provider.organisation, member.unit)
        && only.is_none_or(|only| member.portal.is_some_and(|role| only.contains(&role)))
}

/// What a provider says of the rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AutoSpec {
    /// Which of the grant's roles; at least one.
    pub roles: Vec<RoleId>,
    /// Only members with one of these portal roles; `None` for all.
    pub only: Option<BTreeSet<PortalRole>>,
}

/// Why a rule ended, other than with its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoEnd {
    /// The provider turned it off: everybody keeps a row of their own.
    SwitchedOff,
    /// The grant has no account left.
    AccountsGone,
}

/// What setting the rule does, said before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoPreview {
    /// Who can enter then and cannot now.
    pub gains: Vec<PersonId>,
    /// Who can enter now and cannot then.
    pub loses: Vec<PersonId>,
    /// Who can before and after, with other roles, accounts or another end.
    pub changes: Vec<PersonId>,
    /// Who can before and after, with the same.
    pub keeps: Vec<PersonId>,
    /// Whose own membership in the customer is superseded by it.
    pub superseded: Vec<PersonId>,
    /// To be echoed: it is another one as soon as any of this is.
    pub token: Digest32,
}

type Held = BTreeMap<PersonId, (Vec<RoleId>, Accounts, Instant)>;

/// What [`crate::command::Command::SetAuto`] would do at `now`; the same function carries it out.
///
/// # Errors
/// The refusal that the command would get, the token apart.
pub fn preview(
    state: &State,
    caller: &Caller,
    id: GrantId,
    auto: Option<&AutoSpec>,
    now: Instant,
) -> Result<AutoPreview, Refusal> {
    let grant = may::check_grant(state, caller, Action::SetAuto, id, now)?;
    plan(state, id, grant, auto, now)
}

/// The same, whoever asks.
///
/// # Errors
/// As [`preview`], who may ask apart.
pub fn plan(
    state: &State,
    id: GrantId,
    grant: &Grant,
    auto: Option<&AutoSpec>,
    now: Instant,
) -> Result<AutoPreview, Refusal> {
    if !grant.stands(now) {
        return Err(Refusal::WrongState(grant.phase(now).code()));
    }
    let before = held(state, id, now);
    let (after, superseded) = match auto {
        None => (before.clone(), Vec::new()),
        Some(spec) => {
            let spec = possible(state, id, grant, spec)?;
            let covered = covered(state, grant, id, &spec);
            let superseded = direct::superseded_by(state, id, &covered);
            keeps_an_admin(state, grant, &superseded)?;
            let provider = grant.provider.organisation;
            let attends = |p: &PersonId| state.active_member(provider, *p).is_some();
            let what = (spec.roles, Accounts::All, Instant::NEVER);
            let after: Held =
                covered.into_iter().filter(attends).map(|p| (p, what.clone())).collect();
            (after, superseded)
        }
    };
    // External people are untouched by it, and one of them is somebody.
    let others = || state.rows_on(id).any(|(p, a)| external(a) && state.attends(id, p, a, now));
    let empties = !before.is_empty() && after.is_empty();
    if grant.phase(now) == GrantPhase::Active && empties && !others() {
        return Err(Refusal::LastUser);
    }
    let named = |from: &Held, which: &dyn Fn(&PersonId) -> bool| -> Vec<PersonId> {
        from.keys().copied().filter(|p| which(p)).collect()
    };
    let mut preview = AutoPreview {
        gains: named(&after, &|p| !before.contains_key(p)),
        loses: named(&before, &|p| !after.contains_key(p)),
        changes: named(&after, &|p| before.get(p).is_some_and(|b| after.get(p) != Some(b))),
        keeps: named(&after, &|p| before.get(p) == after.get(p)),
        superseded,
        token: Digest32([0; 32]),
    };
    preview.token = token(id, grant, auto, &preview);
    Ok(preview)
}

fn external(row: &Assignment) -> bool {
    row.basis == Basis::Invited
}

/// What members hold on a grant that lets them in now.
fn held(state: &State, id: GrantId, now: Instant) -> Held {
    let on = state.assigned_to(id).filter(|(p, a)| !external(a) && state.attends(id, *p, a, now));
    let what = |a: &Assignment| {
        (state.roles_in(a.roles).to_vec(), state.accounts_in(a.accounts), a.ends_at)
    };
    on.map(|(person, a)| (person, what(a))).collect()
}

/// Whom the rule would cover.
fn covered(state: &State, grant: &Grant, id: GrantId, spec: &AutoSpec) -> Vec<PersonId> {
    let by_invitation = |p| state.own_row(id, p).is_some_and(external);
    state
        .members_of(grant.provider.organisation)
        .filter(|(p, m)| includes(grant.provider, spec.only.as_ref(), m) && !by_invitation(*p))
        .map(|(person, _)| person)
        .collect()
}

/// The rule as it can be given, its roles sorted.
fn possible(
    state: &State,
    id: GrantId,
    grant: &Grant,
    spec: &AutoSpec,
) -> Result<AutoSpec, Refusal> {
    let (customer, provider) = (grant.customer.organisation, grant.provider.organisation);
    if state.is_locked(customer, provider, None) || state.is_halted(id, None) {
        return Err(Refusal::Locked);
    }
    if !state.party_is_active(grant.customer) {
        return Err(Refusal::NotActive("customer"));
    }
    let mut roles = spec.roles.clone();
    roles.sort();
    roles.dedup();
    if roles.is_empty() {
        return Err(Refusal::invalid("roles", "must name at least one role"));
    }
    if roles.iter().any(|r| !grant.pinned(*r).is_some_and(|p| state.role_lives(p))) {
        return Err(Refusal::Widening("roles"));
    }
    if spec.only.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err(Refusal::invalid("only", "must name a portal role; leave it out for all"));
    }
    if grant.accounts.is_empty() {
        return Err(Refusal::invalid("accounts", "of this grant are all gone; ask for new access"));
    }
    Ok(AutoSpec { roles, only: spec.only.clone() })
}

/// Turning the rule on does not take a customer's last Admin.
fn keeps_an_admin(state: &State, grant: &Grant, gone: &[PersonId]) -> Result<(), Refusal> {
    let customer = grant.customer.organisation;
    let mut admins = state
        .members_of(customer)
        .filter(|(_, m)| person::is_working_admin(state, m))
        .map(|(person, _)| person)
        .peekable();
    let had = admins.peek().is_some();
    if had && admins.all(|p| gone.contains(&p)) { Err(Refusal::LastAdmin) } else { Ok(()) }
}

fn token(id: GrantId, grant: &Grant, auto: Option<&AutoSpec>, found: &AutoPreview) -> Digest32 {
    let people = (&found.gains, &found.loses, &found.changes, &found.keeps, &found.superseded);
    let mut bytes = b"comity/auto/1/".to_vec();
    // A tree of plain values: writing it as JSON into memory cannot fail.
    bytes.extend(serde_json::to_vec(&(id, grant.auto.is_some(), auto, people)).unwrap_or_default());
    Digest32::of(&bytes)
}

/// Turns the rule on, changes it, or turns it off. On: individual rows end for good. Off: everybody
/// whom it covers gets a row of their own with its roles, so that nobody loses access.
pub(crate) fn set(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: GrantId,
    auto: Option<AutoSpec>,
    echoed: Digest32,
) -> Result<(), Refusal> {
    let preview = preview(&d.state, caller, id, auto.as_ref(), d.now())?;
    if preview.token != echoed {
        return Err(Refusal::StaleSummary);
    }
    let grant = d.state.grants.get(id).ok_or(Refusal::NotFound)?.clone();
    d.acting_for(grant.provider.organisation);
    match auto {
        Some(spec) => {
            let spec = possible(&d.state, id, &grant, &spec)?;
            let same = grant.auto.as_deref().is_some_and(|rule| {
                d.state.roles_in(rule.row.roles) == spec.roles
                    && rule.only == spec.only
                    && rule.row.state == AssignmentState::Active
                    && rule.left_out.is_empty()
            });
            if !same {
                // The individual rows end as a consequence: `settle.rs`.
                d.emit(Event::AutoSet { grant: id, roles: spec.roles, only: spec.only });
            }
        }
        None => off(d, id, &grant),
    }
    Ok(())
}

fn off(d: &mut Draft<'_>, id: GrantId, grant: &Grant) {
    let Some(rule) = grant.auto.as_deref() else {
        return;
    };
    let roles = d.state.roles_in(rule.row.roles).to_vec();
    let gives = rule.row.state == AssignmentState::Active;
    let people: Vec<PersonId> = d.state.covered_on(id).map(|(p, _)| p).filter(|_| gives).collect();
    d.emit(Event::AutoCleared { grant: id, cause: AutoEnd::SwitchedOff });
    for person in people {
        d.emit(Event::Assigned {
            grant: id,
            person,
            roles: roles.clone(),
            accounts: Accounts::All,
            ends_at: Instant::NEVER,
            basis: Basis::Individual,
        });
    }
}

// -- a person's view ------------------------------------------------------------------------------

/// What a person may enter through an organisation, oldest first: every grant to it that stands and
/// has them on it. Where they are a member, their own tenant comes beside it.
pub fn ways_in(
    state: &State,
    organisation: OrganisationId,
    person: PersonId,
    now: Instant,
) -> Vec<(GrantId, &Grant, &Assignment)> {
    let theirs = |g: &Grant| g.provider.organisation == organisation && g.stands(now);
    let mut all: Vec<_> = state
        .grants_of(person)
        .filter(|(_, g)| theirs(g))
        .filter_map(|(id, g)| Some((id, g, state.assignment_row(id, person)?)))
        .collect();
    all.sort_by_key(|(id, ..)| *id);
    all
}

/// Ends everything that a person may enter through an organisation, in one row: their rows on its
/// grants end, and the membership is suspended, so that neither a rule nor the own tenant lets them
/// in. By force: grants that are left alone are flagged (E5), but the organisation keeps an Admin.
pub(crate) fn end_access(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    person: PersonId,
) -> Result<(), Refusal> {
    organisation::provision(d, caller, Action::EndAccess, organisation)?;
    let member = d.state.members.get(&(organisation, person)).map(|m| m.standing);
    let now = d.now();
    let rows: Vec<GrantId> = ways_in(&d.state, organisation, person, now)
        .into_iter()
        .filter(|(_, _, row)| row.basis != Basis::Automatic)
        .map(|(id, ..)| id)
        .collect();
    if member.is_none() && rows.is_empty() {
        return Err(Refusal::NotFound);
    }
    for grant in rows {
        d.emit(Event::AssignmentEnded { grant, person, cause: AssignmentEnd::AllEnded });
    }
    if member.is_some_and(|standing| standing != Standing::Suspended) {
        let was_admin = person::was_working_admin(d, organisation, person);
        let standing = Standing::Suspended;
        d.emit(Event::MemberStanding { organisation, person, standing });
        person::kept_an_admin(d, was_admin, organisation)?;
    }
    Ok(())
}
