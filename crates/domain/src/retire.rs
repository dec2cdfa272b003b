//! Letting go: what a noun's own file says may be forgotten leaves the memory here.

use crate::apply;
use crate::ids::{GrantId, RequestId, SessionId, SignInId};
use crate::state::{Retire, State};
use crate::time::Instant;

pub(crate) fn retire(state: &mut State, what: Retire, at: Instant) {
    match what {
        Retire::Request(id) => request(state, id),
        Retire::Grant(id) => grant(state, id),
        Retire::Session(id) => session(state, id),
        Retire::SignIn(id) => sign_in(state, id),
        Retire::SigningKey(kid) => drop(state.signing_keys.remove(&kid)),
        Retire::PastMember(organisation, person) => {
            // A person who came back and left again is remembered from the later leaving.
            let due = state
                .past_members
                .get(&(organisation, person))
                .is_some_and(|left| left.plus(crate::person::PAST_MEMBERSHIP_KEPT) <= at);
            if due {
                state.past_members.remove(&(organisation, person));
            }
        }
    }
}

fn request(state: &mut State, id: RequestId) {
    let Some(gone) = state.requests.get(id).cloned() else {
        return;
    };
    state.due.remove(&(gone.expires(), crate::event::Due::Request(id)));
    let words = gone.roles.iter().chain(&gone.accounts).copied();
    for word in words.chain([gone.reason, gone.who.0, gone.who.1, gone.who.2]).chain(gone.ticket) {
        state.words.drop(word);
    }
    if let crate::request::RequestState::Denied { reason, message, .. } = gone.state {
        for word in reason.into_iter().chain(message) {
            state.words.drop(word);
        }
    }
    state.requests_to.remove(&(gone.customer, id));
    state.requests_from.remove(&(gone.provider.organisation, id));
    state.requests.remove(id);
}

fn grant(state: &mut State, id: GrantId) {
    let Some(gone) = state.grants.get(id).cloned() else {
        return;
    };
    let sessions: Vec<SessionId> = state.sessions_under(id).collect();
    for left in sessions {
        session(state, left);
    }
    apply::drop_assignments(state, id);
    for role in &gone.roles {
        state.grants_with.remove(&(role.role, id));
    }
    apply::forget_end(state, id, gone.window.end);
    state.grants_by.remove(&(gone.customer.organisation, id));
    state.grants_to.remove(&(gone.provider.organisation, id));
    state.auto_to.remove(&(gone.provider.organisation, id));
    state.grants.remove(id);
}

fn session(state: &mut State, id: SessionId) {
    let Some(gone) = state.sessions.get(id).cloned() else {
        return;
    };
    if let Some(word) = gone.reason {
        state.words.drop(word);
    }
    state.due.remove(&(gone.deadline, crate::event::Due::Session(id)));
    state.session_tokens.remove(&gone.token);
    state.sessions_under.remove(&(gone.grant, id));
    state.sessions_of.remove(&(gone.person, id));
    state.sessions.remove(id);
}

fn sign_in(state: &mut State, id: SignInId) {
    if let Some(gone) = state.sign_ins.get(id).cloned() {
        state.sign_in_digests.remove(&gone.token);
        state.sign_ins_of.remove(&(gone.person, id));
        state.sign_ins.remove(id);
    }
}
