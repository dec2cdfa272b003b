//! Two states that must be equal: what the log leads to, and what is published (inv24).

use std::collections::BTreeSet;

use super::{Breach, Scope};
use crate::halt::HaltTarget as On;
use crate::ids::{GrantId, KeyId, OrganisationId, PersonId, SessionId};
use crate::state::{AssignmentView, State};
use crate::table::Table;

/// What differs between the state that the log leads to and the one that is used, in the scope.
/// Both must be of the same position. What no object can be named for is about the whole.
#[must_use]
pub fn differences(log: &State, used: &State, scope: &Scope) -> Vec<Breach> {
    if scope.all && log == used {
        return Vec::new();
    }
    let mut found = BTreeSet::new();
    let mut differ = |about| {
        let what = "the log leads to another state than the one in use";
        found.insert(Breach { invariant: 24, about, what });
    };
    if (log.seq, log.at) != (used.seq, used.at)
        || (&log.policy, &log.levels) != (&used.policy, &used.levels)
        || log.applications != used.applications
        || log.halts != used.halts
        || log.first_run != used.first_run
    {
        differ(None);
    }
    let grants = || named(scope, &scope.grants, &log.grants, &used.grants);
    for id in grants().filter(|id| !same_grant(log, used, *id)) {
        differ(Some(On::Grant(id)));
    }
    let under = if scope.all {
        BTreeSet::new()
    } else {
        scope.sessions_in(log).into_iter().chain(scope.sessions_in(used)).collect()
    };
    for id in named(scope, &under, &log.sessions, &used.sessions) {
        if log.sessions.get(id) != used.sessions.get(id) {
            differ(Some(On::Session(id)));
        }
    }
    for id in named(scope, &scope.people, &log.people, &used.people) {
        if !same_person(log, used, id) {
            differ(Some(On::Person(id)));
        }
    }
    for id in named(scope, &scope.organisations, &log.organisations, &used.organisations) {
        if !same_organisation(log, used, id) {
            differ(Some(On::Organisation(id)));
        }
    }
    let keys = |id: &KeyId| log.keys.get(*id) != used.keys.get(*id);
    for id in named(scope, &scope.keys, &log.keys, &used.keys).filter(keys) {
        differ(Some(On::Key(id)));
    }
    if scope.all && found.is_empty() {
        let what = "the log leads to another state than the one in use";
        found.insert(Breach { invariant: 24, about: None, what }); // an index, or a word
    }
    found.into_iter().collect()
}

/// The identifiers to look at: those of the scope, or all that either state has.
fn named<I: Ord + Copy, T: Clone>(
    scope: &Scope,
    of: &BTreeSet<I>,
    log: &Table<I, T>,
    used: &Table<I, T>,
) -> std::collections::btree_set::IntoIter<I> {
    if scope.all {
        log.iter().chain(used.iter()).map(|(id, _)| id).collect::<BTreeSet<I>>().into_iter()
    } else {
        of.clone().into_iter()
    }
}

fn same_grant(log: &State, used: &State, id: GrantId) -> bool {
    let people = |state: &State| -> Vec<Option<AssignmentView>> {
        state.assigned_to(id).map(|(person, _)| state.assignment(id, person)).collect()
    };
    let stays = |state: &State| -> Vec<SessionId> { state.sessions_under(id).collect() };
    let invited = |state: &State| -> Vec<_> {
        state.invitations_to(id).map(|i| (i, state.invitations.get(i).cloned())).collect()
    };
    log.grants.get(id) == used.grants.get(id)
        && people(log) == people(used)
        && stays(log) == stays(used)
        && invited(log) == invited(used)
}

fn same_person(log: &State, used: &State, id: PersonId) -> bool {
    let homes = |state: &State| -> Vec<OrganisationId> { state.organisations_of(id).collect() };
    let (here, there) = (homes(log), homes(used));
    let member = |o: &OrganisationId| log.members.get(&(*o, id)) == used.members.get(&(*o, id));
    log.people.get(id) == used.people.get(id) && here == there && here.iter().all(member)
}

fn same_organisation(log: &State, used: &State, id: OrganisationId) -> bool {
    let lists = |s: &State| {
        let locks: Vec<_> = s.locks_of(id).map(|(id, lock)| (id, lock.clone())).collect();
        let accounts: Vec<_> = s.accounts_of(id).map(|a| (a, s.accounts.get(a).cloned())).collect();
        let units: Vec<_> = s.units_of(id).map(|u| (u, s.units.get(u).cloned())).collect();
        let requests: Vec<_> = s.requests_to(id).map(|r| (r, s.requests.get(r).cloned())).collect();
        let roles: Vec<_> = s.roles_of(id).map(|(id, role)| (id, role.clone())).collect();
        (locks, accounts, units, requests, roles)
    };
    log.organisations.get(id) == used.organisations.get(id) && lists(log) == lists(used)
}
