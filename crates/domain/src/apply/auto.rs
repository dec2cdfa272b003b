//! The rule by which all members are on a grant.

use crate::assignment::{Assignment, AssignmentState, Basis};
use crate::auto::AutoRule;
use crate::event::Event;
use crate::ids::{GrantId, OrganisationId, PersonId};
use crate::state::State;
use crate::time::Instant;

use super::{Context, Touched};

pub(super) fn rules(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    let grant = match event {
        Event::AutoSet { grant, roles, only } => {
            let row = Assignment {
                roles: state.role_sets.intern(roles.clone()),
                accounts: None,
                ends_at: Instant::NEVER,
                basis: Basis::Automatic,
                state: AssignmentState::Active,
            };
            let rule = AutoRule { row, only: only.clone(), left_out: Default::default() };
            state.grants.change(*grant, |g| g.auto = Some(Box::new(rule)));
            if let Some(provider) = state.grants.get(*grant).map(|g| g.provider.organisation) {
                state.auto_to.insert((provider, *grant));
            }
            if lets_somebody_in(state, *grant, c.at) {
                state.grants.change(*grant, |g| g.unattended = false);
            }
            grant
        }
        Event::AutoTrimmed { grant, roles } => {
            let roles = state.role_sets.intern(roles.clone());
            change(state, *grant, |rule| rule.row.roles = roles);
            grant
        }
        Event::AutoSuspended { grant } => {
            change(state, *grant, |rule| rule.row.state = AssignmentState::SuspendedNoRoles);
            grant
        }
        Event::AutoLeftOut { grant, person } => {
            change(state, *grant, |rule| {
                rule.left_out.insert(*person);
            });
            touched.people.insert(*person);
            grant
        }
        Event::AutoCleared { grant, .. } => {
            forget(state, *grant);
            grant
        }
        _ => return,
    };
    state.grants.change(*grant, |g| g.version = g.version.saturating_add(1));
    touched.grants.insert(*grant);
}

/// Whether the rule gives access to anybody, whatever rows there still are beside it.
fn lets_somebody_in(state: &State, grant: GrantId, at: Instant) -> bool {
    let provider = state.grants.get(grant).map(|g| g.provider.organisation);
    let mut members = provider.into_iter().flat_map(|provider| state.members_of(provider));
    members.any(|(person, _)| {
        state.rule_row(grant, person).is_some_and(|row| state.attends(grant, person, row, at))
    })
}

fn change(state: &mut State, grant: GrantId, change: impl FnOnce(&mut AutoRule)) {
    state.grants.change(grant, |g| {
        if let Some(rule) = g.auto.as_deref_mut() {
            change(rule);
        }
    });
}

/// The rule goes with its grant, or by itself.
pub(super) fn forget(state: &mut State, grant: GrantId) {
    if let Some(provider) = state.grants.get(grant).map(|g| g.provider.organisation) {
        state.auto_to.remove(&(provider, grant));
        state.grants.change(grant, |g| g.auto = None);
    }
}

/// Somebody whom rules cover takes part: grants of theirs that were left alone are not any more.
/// It follows from the event, so that one joining does not write a line for each grant.
pub(super) fn attended_again(
    state: &mut State,
    provider: OrganisationId,
    person: PersonId,
    at: Instant,
) {
    let alone = |id: &GrantId| {
        state.grants.get(*id).is_some_and(|g| g.unattended)
            && state.rule_row(*id, person).is_some_and(|row| state.attends(*id, person, row, at))
    };
    let again: Vec<GrantId> = state.auto_to(provider).filter(alone).collect();
    for grant in again {
        state.grants.change(grant, |g| g.unattended = false);
    }
}

/// Who leaves the provider is left out no more: coming back is judged anew.
pub(super) fn left(state: &mut State, provider: OrganisationId, person: PersonId) {
    let out = |id: &GrantId| {
        let rule = state.grants.get(*id).and_then(|g| g.auto.as_deref());
        rule.is_some_and(|rule| rule.left_out.contains(&person))
    };
    let out: Vec<GrantId> = state.auto_to(provider).filter(out).collect();
    for grant in out {
        change(state, grant, |rule| {
            rule.left_out.remove(&person);
        });
    }
}
