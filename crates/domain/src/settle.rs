//! Consequences: what follows in the same row from what a command did.
//!
//! One pass in a fixed order (assignments to their ceilings, direct memberships that they replace,
//! sessions to their rights, grants that nobody is left on), drawn from what the row touched. So a rule that narrows says only what it
//! narrows; trimming and ending stand here once (inv06, inv09, inv14, inv20).

use std::collections::BTreeSet;

use crate::assignment::{self, AssignmentEnd, AssignmentState, Basis};
use crate::auto::AutoEnd;
use crate::direct;
use crate::draft::Draft;
use crate::event::Event;
use crate::grant::Grant;
use crate::ids::{AccountId, GrantId, PersonId, RoleId, SessionId};
use crate::invitation;
use crate::organisation::Accounts;
use crate::refusal::Refusal;
use crate::rights;
use crate::session::SessionState;
use crate::state::{AssignmentView, State};
use crate::time::Instant;

/// What follows, in the draft.
///
/// # Errors
/// [`Refusal::LastAdmin`] where a membership that has to be superseded is a customer's last Admin's.
pub(crate) fn consequences(d: &mut Draft<'_>, before: &State) -> Result<(), Refusal> {
    if d.nothing_happened() {
        return Ok(());
    }
    let touched = touched_rows(d);
    assignments(d);
    direct::supersede(d)?;
    invitation::settle(d, touched.iter().copied());
    sessions(d);
    // Whoever is superseded at home is no use on the grants that their own organisation was given.
    unattended(d, before);
    Ok(())
}

/// The grants that the row touched directly, and those where somebody has a row whom it touched.
/// Rules need no look for one person's sake: they say the same of everybody.
fn touched_rows(d: &Draft<'_>) -> BTreeSet<GrantId> {
    let touched = d.touched();
    let mut grants = touched.grants.clone();
    for person in &touched.people {
        grants.extend(d.state.rows_of(*person).map(|(id, _)| id));
    }
    grants
}

fn assignments(d: &mut Draft<'_>) {
    for id in &touched_rows(d) {
        let Some(grant) = d.state.grants.get(*id).cloned() else {
            continue;
        };
        if !grant.stands(d.now()) {
            continue; // over, and what is over does not change (inv08)
        }
        shrink_accounts(d, *id, &grant);
        let Some(grant) = d.state.grants.get(*id).cloned() else {
            continue;
        };
        rule(d, *id, &grant);
        let people: Vec<PersonId> = d.state.rows_on(*id).map(|(p, _)| p).collect();
        for person in people {
            // Twice: who has joined the provider is looked at again as the member that they are.
            for _ in 0..2 {
                if let Some(assignment) = d.state.assignment(*id, person)
                    && let Some(event) = fit(&d.state, &grant, &assignment)
                {
                    d.emit(event);
                }
            }
        }
        if grant.auto.is_some() {
            replaced(d, *id); // who came from outside, and is a member now
        }
    }
}

/// What the rule of a grant has to become under it. Nobody has an individual row beside it.
fn rule(d: &mut Draft<'_>, id: GrantId, grant: &Grant) {
    let Some(rule) = grant.auto.as_deref() else {
        return;
    };
    if grant.accounts.is_empty() {
        return d.emit(Event::AutoCleared { grant: id, cause: AutoEnd::AccountsGone });
    }
    let had = d.state.roles_in(rule.row.roles);
    let given = |r: &RoleId| grant.pinned(*r).is_some_and(|p| d.state.role_lives(p));
    let roles: Vec<RoleId> = had.iter().copied().filter(given).collect();
    let trimmed = roles.len() < had.len();
    if roles.is_empty() {
        if rule.row.state == AssignmentState::Active {
            d.emit(Event::AutoSuspended { grant: id });
        }
    } else if trimmed {
        d.emit(Event::AutoTrimmed { grant: id, roles });
    }
    replaced(d, id);
}

/// Ends the rows of members on a grant whose rule covers them.
fn replaced(d: &mut Draft<'_>, id: GrantId) {
    if d.state.grants.get(id).is_none_or(|g| g.auto.is_none()) {
        return; // the rule has ended in this row
    }
    let individual = d.state.rows_on(id).filter(|(_, a)| a.basis == Basis::Individual);
    let individual: Vec<PersonId> = individual.map(|(person, _)| person).collect();
    for person in individual {
        let cause = AssignmentEnd::Replaced;
        d.emit(Event::AssignmentEnded { grant: id, person, cause });
    }
}

/// Accounts that no longer exist on the customer's side leave the list of a grant, so that one
/// which comes back under the same name revives nothing.
fn shrink_accounts(d: &mut Draft<'_>, id: GrantId, grant: &Grant) {
    let Accounts::List(list) = &grant.accounts else {
        return;
    };
    let left: BTreeSet<AccountId> =
        list.iter().copied().filter(|a| lives(&d.state, grant, *a)).collect();
    if left.len() < list.len() {
        d.emit(Event::GrantNarrowed {
            grant: id,
            by: None, // nobody: it follows from the account's removal
            roles: grant.roles.clone(),
            accounts: Accounts::List(left),
            modes: grant.modes,
            end: grant.window.end,
            cap: grant.cap,
        });
    }
}

fn lives(state: &State, grant: &Grant, account: AccountId) -> bool {
    state.accounts.get(account).is_some_and(|a| grant.customer.includes(a.organisation, a.unit))
}

/// What an assignment has to become under its grant, if not what it is.
fn fit(state: &State, grant: &Grant, a: &AssignmentView) -> Option<Event> {
    let (id, person) = (a.grant, a.person);
    let provider = grant.provider.organisation;
    let ended = |cause| Some(Event::AssignmentEnded { grant: id, person, cause });
    match (a.row.basis, state.members.get(&(provider, person))) {
        (Basis::Invited, None) if !grant.lets_outsiders_in(state) => {
            return ended(AssignmentEnd::ExternalBarred);
        }
        (Basis::Invited, None) => {}
        (_, None) => return ended(AssignmentEnd::LeftProvider),
        (_, Some(m)) if !grant.provider.includes(provider, m.unit) => {
            return ended(AssignmentEnd::LeftUnit);
        }
        (Basis::Invited, Some(_)) => return Some(Event::ExternalJoined { grant: id, person }),
        (_, Some(_)) => {}
    }
    let accounts = assignment::left_of(state, grant, &a.accounts);
    if accounts.is_empty() {
        return Some(Event::AssignmentEnded {
            grant: id,
            person,
            cause: AssignmentEnd::AccountsGone,
        });
    }
    let roles: Vec<RoleId> = a
        .roles
        .iter()
        .copied()
        .filter(|r| grant.pinned(*r).is_some_and(|p| state.role_lives(p)))
        .collect();
    if roles.is_empty() {
        let already = a.row.state == AssignmentState::SuspendedNoRoles;
        return (!already).then_some(Event::AssignmentSuspended { grant: id, person });
    }
    let ends_at = if a.row.ends_at == Instant::NEVER {
        Instant::NEVER
    } else {
        a.row.ends_at.min(grant.window.end)
    };
    let same = roles == a.roles && accounts == a.accounts && ends_at == a.row.ends_at;
    (!same).then_some(Event::AssignmentTrimmed { grant: id, person, roles, accounts, ends_at })
}

fn sessions(d: &mut Draft<'_>) {
    let touched: Vec<SessionId> = d.touched().sessions_in(&d.state).into_iter().collect();
    for id in touched {
        let Some(session) = d.state.sessions.get(id).cloned() else {
            continue;
        };
        if session.state != SessionState::Running || d.now() >= session.deadline {
            continue;
        }
        if let Some(cause) = rights::stands(&d.state, &session) {
            d.emit(Event::SessionEnded { session: id, cause });
            continue;
        }
        let latest = latest_end(&d.state, session.grant, session.person);
        if latest < session.deadline {
            d.emit(Event::SessionShortened { session: id, deadline: latest });
        }
    }
}

/// When a stay under a grant ends at the latest: the grant's end or the assignment's.
pub(crate) fn latest_end(state: &State, grant: GrantId, person: PersonId) -> Instant {
    let end = state.grants.get(grant).map_or(Instant(0), |g| g.window.end);
    state.assignment_row(grant, person).map_or(Instant(0), |a| a.ends_at).min(end)
}

/// Flags standing grants that lost their last person; only what could not be refused gets here.
fn unattended(d: &mut Draft<'_>, before: &State) {
    let now = d.now();
    let mut grants = d.touched().grants.clone();
    for person in &d.touched().people {
        // Whom a rule covered before tells no row of theirs.
        let ways = before.grants_of(*person).chain(d.state.grants_of(*person));
        grants.extend(ways.map(|(id, _)| id));
    }
    for id in &grants {
        let had = before.grants.get(*id).filter(|g| g.auto.is_some());
        let alone_before = had.is_some_and(|g| g.unattended);
        // Also where somebody joined, which cleared the flag, and was left out in the same row.
        let by_rule = || {
            let left = || alone_before || before.is_attended(*id, now);
            had.is_some() && d.took_from_rule(*id) && left()
        };
        let alone = (d.took_somebody_off(*id) || by_rule()) && !d.state.is_attended(*id, now);
        if alone && d.state.grants.get(*id).is_some_and(|g| !g.unattended && g.stands(now)) {
            d.emit(Event::GrantUnattended { grant: *id });
        }
    }
}
