//! Invitations, and who is mailed nothing.

use crate::event::{Due, Event};
use crate::ids::{Digest32, InvitationId, PersonId};
use crate::invitation::{Invitation, InvitationCancel, InvitationState, KEPT_AFTER_MAKING};
use crate::state::{Retire, State};
use crate::time::Instant;

use super::Context;

pub(super) fn invitations(state: &mut State, c: &Context<'_>, event: &Event) {
    match event {
        Event::InvitationMade { .. } => made(state, c, event),
        Event::InvitationResent { invitation, token } => {
            let id = *invitation;
            set_token(state, id, *token);
            state.invitations.change(id, |i| i.sent.push(c.at));
        }
        Event::InvitationChanged { invitation, roles, accounts, ends_at } => {
            forget_due(state, *invitation);
            state.invitations.change(*invitation, |i| {
                (i.roles, i.accounts, i.ends_at) = (roles.clone(), accounts.clone(), *ends_at);
            });
            note_due(state, *invitation);
        }
        Event::InvitationHeld { invitation } => {
            state.invitations.change(*invitation, |i| i.held = true);
        }
        Event::InvitationApproved { invitation, by } => {
            set_by(state, *invitation, *by);
            state.invitations.change(*invitation, |i| i.held = false);
        }
        Event::InvitationRegistered { invitation } => {
            state.invitations.change(*invitation, |i| i.registered = true);
        }
        Event::InvitationAccepted { invitation, person, .. } => {
            over(state, *invitation, InvitationState::Accepted { at: c.at, person: *person });
            state.invited.insert((*person, *invitation));
            let grant = state.invitations.get(*invitation).and_then(|i| state.grants.get(i.grant));
            if let Some(grant) = grant {
                let sides = (*person, grant.customer.organisation, grant.provider.organisation);
                state.dealt.insert(sides);
            }
        }
        Event::InvitationDeclined { invitation } => {
            over(state, *invitation, InvitationState::Declined { at: c.at });
        }
        Event::InvitationCancelled { invitation, cause } => {
            cancel(state, *invitation, c.at, *cause)
        }
        Event::AddressSuppressed { recipient } => {
            state.suppressed.insert(*recipient);
        }
        _ => {}
    }
}

fn made(state: &mut State, c: &Context<'_>, event: &Event) {
    let Event::InvitationMade {
        invitation,
        grant,
        provider,
        by,
        email,
        recipient,
        roles,
        accounts,
        ends_at,
        token,
    } = event
    else {
        return;
    };
    let id = *invitation;
    let made = Invitation {
        grant: *grant,
        provider: *provider,
        by: *by,
        email: c.word(state, *email),
        recipient: *recipient,
        roles: roles.clone(),
        accounts: accounts.clone(),
        ends_at: *ends_at,
        token: *token,
        at: c.at,
        sent: vec![c.at],
        held: false,
        registered: false,
        state: InvitationState::Pending,
    };
    state.invitations.insert(id, made);
    state.invitations_to.insert((*grant, id));
    state.invitations_from.insert((*provider, id));
    state.invitations_by.insert((*by, id));
    state.invitations_of.insert((*recipient, id));
    state.invitation_tokens.insert(*token, id);
    state.retire.insert((c.at.plus(KEPT_AFTER_MAKING), Retire::Invitation(id)));
    note_due(state, id);
}

fn note_due(state: &mut State, id: InvitationId) {
    if let Some(expires) = state.invitations.get(id).map(Invitation::expires) {
        state.due.insert((expires, Due::Invitation(id)));
    }
}

fn forget_due(state: &mut State, id: InvitationId) {
    if let Some(expires) = state.invitations.get(id).map(Invitation::expires) {
        state.due.remove(&(expires, Due::Invitation(id)));
    }
}

fn set_token(state: &mut State, id: InvitationId, token: Digest32) {
    if let Some(old) = state.invitations.get(id).map(|i| i.token) {
        state.invitation_tokens.remove(&old);
    }
    state.invitation_tokens.insert(token, id);
    state.invitations.change(id, |i| i.token = token);
}

fn set_by(state: &mut State, id: InvitationId, by: PersonId) {
    if let Some(old) = state.invitations.get(id).map(|i| i.by) {
        state.invitations_by.remove(&(old, id));
    }
    state.invitations_by.insert((by, id));
    state.invitations.change(id, |i| i.by = by);
}

fn over(state: &mut State, id: InvitationId, to: InvitationState) {
    forget_due(state, id);
    state.invitations.change(id, |i| i.state = to);
}

/// It gives nothing and nobody can answer it any more.
pub(super) fn cancel(state: &mut State, id: InvitationId, at: Instant, cause: InvitationCancel) {
    over(state, id, InvitationState::Cancelled { at, cause });
}

/// Lets go of one, with its word.
pub(crate) fn forget(state: &mut State, id: InvitationId) {
    let Some(gone) = state.invitations.get(id).cloned() else {
        return;
    };
    forget_due(state, id);
    state.words.drop(gone.email);
    state.invitations_to.remove(&(gone.grant, id));
    state.invitations_from.remove(&(gone.provider, id));
    state.invitations_by.remove(&(gone.by, id));
    state.invitations_of.remove(&(gone.recipient, id));
    state.invitation_tokens.remove(&gone.token);
    state.retire.remove(&(gone.at.plus(KEPT_AFTER_MAKING), Retire::Invitation(id)));
    state.invitations.remove(id);
}
