//! How tests break a state on purpose. Nothing else may use it: only `apply` changes a state.

use crate::assignment::Assignment;
use crate::grant::Grant;
use crate::ids::{
    AccountId, Digest32, GrantId, KeyId, LockId, OrganisationId, PersonId, RequestId, RoleId,
    SessionId, SignInId,
};
use crate::organisation::Account;
use crate::person::{Member, SignIn};
use crate::request::Request;
use crate::session::Session;
use crate::state::State;

/// Changes a grant.
pub fn grant(state: &mut State, id: GrantId, change: impl FnOnce(&mut Grant)) {
    state.grants.change(id, change);
}

/// Puts a grant in.
pub fn put_grant(state: &mut State, id: GrantId, grant: Grant) {
    state.grants.insert(id, grant);
}

/// Changes a session.
pub fn session(state: &mut State, id: SessionId, change: impl FnOnce(&mut Session)) {
    state.sessions.change(id, change);
}

/// Puts a session in, without what leads to it.
pub fn put_session(state: &mut State, id: SessionId, session: Session) {
    state.session_tokens.insert(session.token, id);
    state.sessions_of.insert((session.person, id));
    state.sessions_under.insert((session.grant, id));
    state.sessions.insert(id, session);
}

/// Changes a request.
pub fn request(state: &mut State, id: RequestId, change: impl FnOnce(&mut Request)) {
    state.requests.change(id, change);
}

/// Changes an account.
pub fn account(state: &mut State, id: AccountId, change: impl FnOnce(&mut Account)) {
    state.accounts.change(id, change);
}

/// Changes a sign-in.
pub fn sign_in(state: &mut State, id: SignInId, change: impl FnOnce(&mut SignIn)) {
    state.sign_ins.change(id, change);
}

/// Changes an assignment, by its roles and its row.
pub fn assignment(
    state: &mut State,
    grant: GrantId,
    person: PersonId,
    roles: Option<Vec<RoleId>>,
    change: impl FnOnce(&mut Assignment),
) {
    let roles = roles.map(|roles| state.role_sets.intern(roles));
    if let (Some(g), Some(p)) = (state.grants.slot(grant), state.people.slot(person))
        && let Some(row) = state.assignments.get_mut(&(g, p))
    {
        change(row);
        row.roles = roles.unwrap_or(row.roles);
    }
}

/// Gives a person a row of their own.
pub fn own_row(state: &mut State, grant: GrantId, person: PersonId, row: Assignment) {
    if let (Some(g), Some(p)) = (state.grants.slot(grant), state.people.slot(person)) {
        state.assignments.insert((g, p), row);
        state.assigned.insert((p, g));
    }
}

/// Takes an assignment out.
pub fn no_assignment(state: &mut State, grant: GrantId, person: PersonId) {
    if let (Some(g), Some(p)) = (state.grants.slot(grant), state.people.slot(person)) {
        state.assignments.remove(&(g, p));
    }
}

/// Takes a membership out.
pub fn no_member(state: &mut State, organisation: OrganisationId, person: PersonId) {
    state.members.remove(&(organisation, person));
}

/// Lets a token lead to a session.
pub fn token(state: &mut State, token: Digest32, session: SessionId) {
    state.session_tokens.insert(token, session);
}

/// Lets a secret lead to a key.
pub fn secret(state: &mut State, digest: Digest32, key: KeyId) {
    state.key_digests.insert(digest, key);
}

/// Hides a lock from decisions.
pub fn hide_lock(state: &mut State, id: LockId) {
    if let Some((customer, target)) = state.locks.get(id).map(|l| (l.customer, l.target)) {
        state.locks_on.remove(&(customer, target));
    }
}

/// Gives an assignment other accounts.
pub fn account_set(state: &mut State, grant: GrantId, person: PersonId, to: Vec<AccountId>) {
    let accounts = state.account_sets.intern(to);
    assignment(state, grant, person, None, |a| a.accounts = Some(accounts));
}

/// Lets a person forget that they are on a grant.
pub fn forgets_grant(state: &mut State, grant: GrantId, person: PersonId) {
    if let (Some(g), Some(p)) = (state.grants.slot(grant), state.people.slot(person)) {
        state.assigned.remove(&(p, g));
    }
}

/// Changes a member.
pub fn member(
    state: &mut State,
    organisation: OrganisationId,
    person: PersonId,
    change: impl FnOnce(&mut Member),
) {
    if let Some(member) = state.members.get_mut(&(organisation, person)) {
        change(member);
    }
}
