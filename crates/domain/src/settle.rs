//! Consequences: what follows in the same row from what a command did.
//!
//! One pass in a fixed order (assignments to their ceilings, direct memberships that they replace,
//! sessions to their rights, grants that nobody is left on), drawn from what the row touched. So a rule that narrows says only what it
//! narrows; trimming and ending stand here once (inv06, inv09, inv14, inv20).

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::{Assignment, AssignmentEnd, AssignmentState, Basis};
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
use crate::state::State;
use crate::table::SetIx;
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
        trim(d, *id, &grant);
        replaced(d, *id); // who came from outside, and is a member now
    }
}

/// What everybody on a grant has to become under it. What is trimmed alike is said once: what a
/// grant gives no more is gone from everybody, whatever else they have.
fn trim(d: &mut Draft<'_>, id: GrantId, grant: &Grant) {
    let mut fitting = Fitting { grant, known: BTreeMap::new() };
    let on: Vec<(PersonId, Assignment)> =
        d.state.rows_on(id).map(|(person, row)| (person, *row)).collect();
    let mut alike: Vec<(PersonId, Assignment)> = Vec::new();
    for (person, mut row) in on {
        let mut fit = fitting.fit(&d.state, person, &row);
        if matches!(fit, Fit::Joined) {
            d.emit(Event::ExternalJoined { grant: id, person });
            row.basis = Basis::Individual; // and is looked at as the member that they are
            fit = fitting.fit(&d.state, person, &row);
        }
        match fit {
            Fit::Stays | Fit::Joined => {}
            Fit::Ended(cause) => d.emit(Event::AssignmentEnded { grant: id, person, cause }),
            Fit::Suspended => d.emit(Event::AssignmentSuspended { grant: id, person }),
            Fit::Less if row.ends_at == Instant::NEVER || row.ends_at <= grant.window.end => {
                alike.push((person, row));
            }
            Fit::Less => {
                let event = fitting.one(&d.state, id, person, &row);
                d.emit(event);
            }
        }
    }
    if let [(person, row)] = alike.as_slice() {
        let event = fitting.one(&d.state, id, *person, row);
        d.emit(event);
    } else if !alike.is_empty() {
        let (roles, accounts) = fitting.gone(&d.state, alike.iter().map(|(_, row)| row));
        let people = alike.into_iter().map(|(person, _)| person).collect();
        d.emit(Event::AssignmentsTrimmed { grant: id, people, roles, accounts });
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

/// What becomes of an assignment under its grant.
enum Fit {
    Stays,
    /// Who came from outside is a member of the provider now.
    Joined,
    Less,
    Suspended,
    Ended(AssignmentEnd),
}

/// The roles and accounts that are left, and whether those are all.
type Left = (Vec<RoleId>, Accounts, bool);

/// What a grant leaves of the sets that assignments hold, each worked out once: thousands of people
/// share few of them.
struct Fitting<'g> {
    grant: &'g Grant,
    known: BTreeMap<(SetIx, Option<SetIx>), Left>,
}

impl Fitting<'_> {
    fn fit(&mut self, state: &State, person: PersonId, row: &Assignment) -> Fit {
        let provider = self.grant.provider.organisation;
        match (row.basis, state.members.get(&(provider, person))) {
            (Basis::Invited, None) if !self.grant.lets_outsiders_in(state) => {
                return Fit::Ended(AssignmentEnd::ExternalBarred);
            }
            (Basis::Invited, None) => {}
            (_, None) => return Fit::Ended(AssignmentEnd::LeftProvider),
            (_, Some(m)) if !self.grant.provider.includes(provider, m.unit) => {
                return Fit::Ended(AssignmentEnd::LeftUnit);
            }
            (Basis::Invited, Some(_)) => return Fit::Joined,
            (_, Some(_)) => {}
        }
        let end = self.grant.window.end;
        let (roles, accounts, same) = self.left(state, row);
        if accounts.is_empty() {
            return Fit::Ended(AssignmentEnd::AccountsGone);
        }
        if roles.is_empty() {
            let already = row.state == AssignmentState::SuspendedNoRoles;
            return if already { Fit::Stays } else { Fit::Suspended };
        }
        let in_time = row.ends_at == Instant::NEVER || row.ends_at <= end;
        if *same && in_time { Fit::Stays } else { Fit::Less }
    }

    fn left(&mut self, state: &State, row: &Assignment) -> &Left {
        let grant = self.grant;
        self.known.entry((row.roles, row.accounts)).or_insert_with(|| {
            let had = state.role_sets.get(row.roles);
            let given = |r: &RoleId| grant.pinned(*r).is_some_and(|p| state.role_lives(p));
            let roles: Vec<RoleId> = had.iter().copied().filter(given).collect();
            let accounts = match row.accounts {
                None if grant.accounts.is_empty() => Accounts::List(BTreeSet::new()),
                None => Accounts::All,
                Some(set) => {
                    let held = state.account_sets.get(set).iter().copied();
                    Accounts::List(held.filter(|a| gives(state, grant, *a)).collect())
                }
            };
            let whole = match (&accounts, row.accounts) {
                (Accounts::List(left), Some(set)) => {
                    left.len() == state.account_sets.get(set).len()
                }
                (accounts, _) => *accounts == Accounts::All,
            };
            let same = whole && roles.len() == had.len();
            (roles, accounts, same)
        })
    }

    fn one(&mut self, state: &State, id: GrantId, person: PersonId, row: &Assignment) -> Event {
        let end = self.grant.window.end;
        let (roles, accounts, _) = self.left(state, row).clone();
        let ends_at =
            if row.ends_at == Instant::NEVER { row.ends_at } else { row.ends_at.min(end) };
        Event::AssignmentTrimmed { grant: id, person, roles, accounts, ends_at }
    }

    /// Everything that these hold and the grant gives no more, sorted.
    fn gone<'r>(
        &self,
        state: &State,
        rows: impl Iterator<Item = &'r Assignment>,
    ) -> (Vec<RoleId>, Vec<AccountId>) {
        let sets: BTreeSet<_> = rows.map(|row| (row.roles, row.accounts)).collect();
        let (mut roles, mut accounts) = (BTreeSet::new(), BTreeSet::new());
        for key in sets {
            let Some((left_roles, left, _)) = self.known.get(&key) else {
                continue;
            };
            let had = state.role_sets.get(key.0).iter();
            roles.extend(had.filter(|r| !left_roles.contains(r)));
            if let (Some(set), Accounts::List(left)) = (key.1, left) {
                let had = state.account_sets.get(set).iter();
                accounts.extend(had.filter(|a| !left.contains(a)));
            }
        }
        (roles.into_iter().collect(), accounts.into_iter().collect())
    }
}

/// Whether a grant gives an account, and the account exists.
fn gives(state: &State, grant: &Grant, account: AccountId) -> bool {
    let listed = match &grant.accounts {
        Accounts::All => true,
        Accounts::List(list) => list.contains(&account),
    };
    listed && lives(state, grant, account)
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
