//! Many people on a grant at once. Each distinct set is worked out once, however many share it.

use std::collections::BTreeMap;

use crate::assignment::Assignment;
use crate::bulk;
use crate::event::Event;
use crate::ids::{AccountId, GrantId, PersonId, RoleId};
use crate::organisation::Accounts;
use crate::state::State;
use crate::table::SetIx;

use super::Touched;
use super::access::{change_assignment, drop_assignment};

pub(super) fn assignments(state: &mut State, event: &Event, touched: &mut Touched) {
    let grant = match event {
        Event::AssignedMany { grant, new, more, roles, everybody, accounts, .. } => {
            let roles = (!roles.is_empty()).then(|| state.role_sets.intern(roles.clone()));
            if let Some(roles) = roles {
                put(state, *grant, new, roles, accounts);
            }
            let roles = roles.filter(|_| *everybody);
            let mut united = BTreeMap::new();
            change(state, *grant, more, |state, row| {
                let set = united.entry(row.accounts);
                row.accounts = *set.or_insert_with(|| unite(state, row.accounts, accounts));
                row.roles = roles.unwrap_or(row.roles);
            });
            state.grants.change(*grant, |g| {
                g.unattended = false;
                g.version = g.version.saturating_add(1);
            });
            grant
        }
        Event::UnassignedMany { grant, off, less, accounts, .. } => {
            off.iter().for_each(|person| drop_assignment(state, *grant, *person));
            let mut left = BTreeMap::new();
            change(state, *grant, less, |state, row| {
                let set = left.entry(row.accounts);
                let without = || without(state, *grant, row.accounts, accounts);
                row.accounts = *set.or_insert_with(without);
            });
            state.grants.change(*grant, |g| g.version = g.version.saturating_add(1));
            grant
        }
        Event::AssignmentsTrimmed { grant, people, roles, accounts } => {
            let (mut left_roles, mut left_accounts) = (BTreeMap::new(), BTreeMap::new());
            change(state, *grant, people, |state, row| {
                let set = left_roles.entry(row.roles);
                row.roles = *set.or_insert_with(|| roles_without(state, row.roles, roles));
                let set = left_accounts.entry(row.accounts);
                let trimmed = || row.accounts.map(|held| accounts_without(state, held, accounts));
                row.accounts = *set.or_insert_with(trimmed);
            });
            grant
        }
        _ => return,
    };
    // The grant leads to every session under it; the people's other grants are as they were.
    touched.grants.insert(*grant);
}

fn put(state: &mut State, grant: GrantId, new: &[PersonId], roles: SetIx, accounts: &Accounts) {
    let accounts = match accounts {
        Accounts::All => None,
        Accounts::List(list) => Some(state.account_sets.intern(list.iter().copied().collect())),
    };
    let made = bulk::made(roles, accounts);
    let Some(grant) = state.grants.slot(grant) else {
        return;
    };
    for person in new.iter().filter_map(|person| state.people.slot(*person)) {
        state.assignments.insert((grant, person), made);
        state.assigned.insert((person, grant));
    }
}

fn change(
    state: &mut State,
    grant: GrantId,
    people: &[PersonId],
    mut change: impl FnMut(&mut State, &mut Assignment),
) {
    for person in people {
        if let Some(mut row) = state.own_row(grant, *person).copied() {
            change(state, &mut row);
            change_assignment(state, grant, *person, |known| *known = row);
        }
    }
}

/// What somebody has who gets accounts beside theirs; `None` is all.
fn unite(state: &mut State, held: Option<SetIx>, more: &Accounts) -> Option<SetIx> {
    let (Some(held), Accounts::List(more)) = (held, more) else {
        return None;
    };
    let held = state.account_sets.get(held).iter().copied();
    let united = held.chain(more.iter().copied()).collect();
    Some(state.account_sets.intern(united))
}

fn without(
    state: &mut State,
    grant: GrantId,
    held: Option<SetIx>,
    gone: &Accounts,
) -> Option<SetIx> {
    let left = state.grants.get(grant).map(|g| bulk::rest(state, g, held, gone));
    Some(state.account_sets.intern(left.unwrap_or_default()))
}

fn roles_without(state: &mut State, held: SetIx, gone: &[RoleId]) -> SetIx {
    let left = state.role_sets.get(held).iter().copied().filter(|r| !gone.contains(r)).collect();
    state.role_sets.intern(left)
}

/// `gone` is sorted.
fn accounts_without(state: &mut State, held: SetIx, gone: &[AccountId]) -> SetIx {
    let stays = |a: &AccountId| gone.binary_search(a).is_err();
    let left = state.account_sets.get(held).iter().copied().filter(stays).collect();
    state.account_sets.intern(left)
}
