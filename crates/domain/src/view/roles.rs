//! What a role is used for, and what changing or deleting it would do. Only what is said to people
//! before they decide: what it does is `rights.rs` and `settle.rs`.

use std::collections::BTreeSet;

use crate::ids::{GrantId, OrganisationId, PersonId, RoleId};
use crate::permission::Permissions;
use crate::state::State;
use crate::time::Instant;

/// Where a role is in use.
#[derive(Debug, Clone, Default)]
pub struct RoleUse {
    /// Grants that stand and pin it, oldest first.
    pub grants: Vec<GrantId>,
    /// Of them, those that have no other role: without it they permit nothing.
    pub only: Vec<GrantId>,
    /// The partners of the grants.
    pub partners: BTreeSet<OrganisationId>,
    /// Sessions in progress of people who hold no other role there: without it they end.
    pub inside: usize,
    /// The organisation's own members who hold it at home.
    pub own: BTreeSet<PersonId>,
}

/// Where a role is in use at `now`.
#[must_use]
pub fn role_use(state: &State, id: RoleId, now: Instant) -> RoleUse {
    let mut found = RoleUse::default();
    for grant in state.grants_with(id) {
        let Some(g) = state.grants.get(grant).filter(|g| g.stands(now)) else { continue };
        found.grants.push(grant);
        found.partners.insert(g.provider.organisation);
        let other = |role: RoleId| role != id && state.roles.get(role).is_some_and(|r| !r.deleted);
        if !g.roles.iter().any(|p| other(p.role)) {
            found.only.push(grant);
        }
        let sessions = state.sessions_under(grant).filter_map(|s| state.sessions.get(s));
        let lost = |person| {
            let held = state.assignment(grant, person);
            held.is_none_or(|a| !a.roles.iter().any(|r| other(*r)))
        };
        found.inside += sessions.filter(|s| s.is_active(now) && lost(s.person)).count();
    }
    let Some(role) = state.roles.get(id) else { return found };
    let members = state.members_of(role.organisation).filter(|(_, m)| m.roles.contains(&id));
    found.own = members.map(|(person, _)| person).collect();
    found
}

/// In how many grants that stand a role is.
#[must_use]
pub fn grants_in(state: &State, id: RoleId, now: Instant) -> usize {
    state.grants_with(id).filter(|g| state.grants.get(*g).is_some_and(|g| g.stands(now))).count()
}

/// An entry of a role that comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it is written.
    pub text: String,
    /// How much of it the other version has too.
    pub shared: Vec<String>,
}

/// What a new version of a role changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleChange {
    /// What no grant that stands gets by it: that takes a customer's decision.
    pub adds: Vec<Entry>,
    /// What every grant loses at once.
    pub takes: Vec<Entry>,
}

/// What `new` permits beyond `old`, and the other way round.
#[must_use]
pub fn change(old: &Permissions, new: &Permissions) -> RoleChange {
    let beyond = |a: &Permissions, b: &Permissions| {
        a.beyond(b).map(|(text, shared)| Entry { text, shared: shared.texts().collect() }).collect()
    };
    RoleChange { adds: beyond(new, old), takes: beyond(old, new) }
}
