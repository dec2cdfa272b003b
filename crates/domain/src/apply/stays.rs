//! Sessions, locks and halts.

use crate::event::{Due, Event};
use crate::halt::{Halt, HaltTarget};
use crate::ids::GrantId;
use crate::lock::{Lock, LockTarget};
use crate::session::{self, Session, SessionState};
use crate::state::{Retire, State};

use super::{Context, Touched};

pub(super) fn sessions(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    match event {
        Event::SessionStarted {
            session,
            grant,
            customer,
            provider,
            person,
            application,
            mode,
            deadline,
            token,
            scope,
            reason,
            name,
            email,
            ..
        } => {
            let reason = reason.map(|w| c.word(state, w));
            // The name and address of that time are for the history's eyes; memory has today's.
            let _ = (name, email);
            let made = Session {
                grant: *grant,
                person: *person,
                application: *application,
                mode: *mode,
                started: c.at,
                deadline: *deadline,
                token: *token,
                scope: scope.clone(),
                reason,
                state: SessionState::Running,
            };
            state.sessions.insert(*session, made);
            state.session_tokens.insert(*token, *session);
            state.sessions_under.insert((*grant, *session));
            state.sessions_of.insert((*person, *session));
            state.dealt.insert((*person, *customer, *provider));
            state.due.insert((*deadline, Due::Session(*session)));
            let until = deadline.plus(session::KEPT_AFTER_END);
            state.retire.insert((until, Retire::Session(*session)));
            touched.sessions.insert(*session);
        }
        Event::SessionShortened { session, deadline } => {
            if let Some(before) = state.sessions.get(*session).map(|s| s.deadline) {
                state.due.remove(&(before, Due::Session(*session)));
                state.due.insert((*deadline, Due::Session(*session)));
                let kept = before.plus(session::KEPT_AFTER_END);
                state.retire.remove(&(kept, Retire::Session(*session)));
                let kept = deadline.plus(session::KEPT_AFTER_END);
                state.retire.insert((kept, Retire::Session(*session)));
            }
            state.sessions.change(*session, |s| s.deadline = *deadline);
            touched.sessions.insert(*session);
        }
        Event::SessionEnded { session, cause } => {
            if let Some(deadline) = state.sessions.get(*session).map(|s| s.deadline) {
                state.due.remove(&(deadline, Due::Session(*session)));
            }
            let ended = SessionState::Ended { at: c.at, cause: *cause };
            state.sessions.change(*session, |s| s.state = ended);
            touched.sessions.insert(*session);
        }
        _ => {}
    }
}

pub(super) fn locks(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    let (customer, target) = match event {
        Event::LockPlaced { lock, customer, target, by, reason } => {
            let reason = reason.map(|w| c.word(state, w));
            let made = Lock { customer: *customer, target: *target, at: c.at, by: *by, reason };
            state.locks.insert(*lock, made);
            state.locks_on.insert((*customer, *target), *lock);
            (*customer, *target)
        }
        Event::LockLifted { lock, .. } => {
            let Some(gone) = state.locks.get(*lock).cloned() else {
                return;
            };
            state.locks.remove(*lock);
            gone.reason.into_iter().for_each(|w| state.words.drop(w));
            state.locks_on.remove(&(gone.customer, gone.target));
            (gone.customer, gone.target)
        }
        _ => return,
    };
    match target {
        LockTarget::Organisation(provider) => {
            let theirs = |g: &GrantId| {
                state.grants.get(*g).is_some_and(|g| g.provider.organisation == provider)
            };
            touched.grants.extend(state.grants_by(customer).filter(theirs));
        }
        LockTarget::Person(person) => {
            touched.people.insert(person);
        }
    }
}

pub(super) fn halts(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    let target = match event {
        Event::Halted { halt, target } => {
            state.halts.insert(*halt, Halt { target: *target, at: c.at, invariant: 0 });
            state.halts_on.insert(*target, *halt);
            *target
        }
        Event::HaltNoted { halt, invariant } => {
            return state.halts.change(*halt, |h| h.invariant = *invariant);
        }
        Event::HaltLifted { halt } => {
            let Some(target) = state.halts.get(*halt).map(|h| h.target) else {
                return;
            };
            state.halts.remove(*halt);
            state.halts_on.remove(&target);
            target
        }
        _ => return,
    };
    match target {
        HaltTarget::Grant(grant) => drop(touched.grants.insert(grant)),
        HaltTarget::Session(session) => drop(touched.sessions.insert(session)),
        HaltTarget::Person(person) => drop(touched.people.insert(person)),
        HaltTarget::Organisation(organisation) => {
            let grants = state.grants_by(organisation).chain(state.grants_to(organisation));
            touched.grants.extend(grants);
        }
        HaltTarget::Key(_) => {} // keys are looked up each time
    }
}
