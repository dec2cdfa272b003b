//! Erasures, and what a restore makes worthless.

use crate::event::Due;
use crate::invitation::{InvitationCancel, InvitationState};
use crate::organisation::Standing;
use crate::request::{RequestCancel, RequestPhase, RequestState};
use crate::state::State;
use crate::text::Subject;

use super::factors::end_factors;
use super::people::{end_enrolment, raise_epoch};
use super::{Context, Touched};

/// Every word about `subject` leaves the memory, the lookups and the search. A replay of a log whose words are
/// gone from the file finds nothing to drop, and comes out at the same state.
pub(super) fn erased(state: &mut State, c: &Context<'_>, subject: Subject, touched: &mut Touched) {
    match subject {
        Subject::Person(person) => state.named_anew(person, |state| state.words.erase(subject)),
        _ => state.words.erase(subject),
    }
    state.erased.insert(subject, c.seq);
    if let Subject::Person(person) = subject {
        let dealt: Vec<_> = state.dealings(person).collect();
        for (customer, provider) in dealt {
            state.dealt.remove(&(person, customer, provider));
        }
        let accepted: Vec<_> = state.accepted_by(person).collect();
        for invitation in accepted {
            state.invited.remove(&(person, invitation));
        }
        end_enrolment(state, person);
        end_factors(state, person);
        state.people.change(person, |p| p.has_password = false);
        raise_epoch(state, person);
        touched.people.insert(person);
    }
}

/// What the copy held as open, and what may have been closed since it was made.
pub(super) fn restored(
    state: &mut State,
    c: &Context<'_>,
    people_kept: bool,
    touched: &mut Touched,
) {
    let sign_ins: Vec<_> = state.sign_ins.iter().map(|(id, _)| id).collect();
    for id in sign_ins {
        state.sign_ins.change(id, |s| s.until = s.until.min(c.at));
    }
    let enrolling: Vec<_> = state.enrolments.values().copied().collect();
    enrolling.into_iter().for_each(|person| end_enrolment(state, person));
    state.first_run = None;
    let standing: Vec<_> =
        state.grants.iter().filter(|(_, g)| g.stands(c.at)).map(|(id, _)| id).collect();
    for id in standing {
        state.grants.change(id, |g| g.unconfirmed = Some(c.at));
    }
    // What a customer offered counts until it withdraws it, and that may have been forgotten.
    let waiting: Vec<_> = state
        .requests
        .iter()
        .filter(|(_, r)| r.offered.is_some() && r.phase(c.at) == RequestPhase::Pending)
        .map(|(id, r)| (id, r.expires()))
        .collect();
    for (id, expires) in waiting {
        state.due.remove(&(expires, Due::Request(id)));
        let cause = Some(RequestCancel::Restored);
        state.requests.change(id, |r| r.state = RequestState::Cancelled { at: c.at, cause });
    }
    // Who holds which link, and who has declined since, is not known.
    let waiting: Vec<_> = state
        .invitations
        .iter()
        .filter(|(_, i)| i.state == InvitationState::Pending)
        .map(|(id, _)| id)
        .collect();
    for id in waiting {
        super::invitations::cancel(state, id, c.at, InvitationCancel::Restored);
    }
    if !people_kept {
        void_people(state);
    }
    touched.all = true;
}

/// Who belongs to whom, and by which password, is not known any more. Suspended is what is put back
/// by saying it again: the builder's directory does, member by member.
fn void_people(state: &mut State) {
    let members: Vec<_> = state.members.keys().copied().collect();
    for key in members {
        if let Some(member) = state.members.get_mut(&key)
            && member.standing == Standing::Active
        {
            member.standing = Standing::Suspended;
        }
    }
    let proving: Vec<_> = state.factors.keys().copied().collect();
    proving.into_iter().for_each(|person| end_factors(state, person));
    let enrolled: Vec<_> =
        state.people.iter().filter(|(_, p)| p.has_password).map(|(id, _)| id).collect();
    for person in enrolled {
        state.people.change(person, |p| p.has_password = false);
        raise_epoch(state, person);
    }
}
