//! What a partner's people see: where they may go, for which application, what they were let in to.

use crate::assignment::Assignment;
use crate::grant::Grant;
use crate::ids::{ApplicationId, Digest32, GrantId, OrganisationId, PersonId, SessionId};
use crate::permission::Permissions;
use crate::refusal::Reason;
use crate::role::Mode;
use crate::session::{Session, SessionState, SessionStatus};
use crate::state::State;
use crate::time::Instant;

/// For which applications a person who enters under this grant would hold anything, each with what
/// they would hold; sorted by code. Empty where they may not enter.
#[must_use]
pub fn applications(
    state: &State,
    grant: GrantId,
    person: PersonId,
    mode: Mode,
) -> Vec<(ApplicationId, Permissions)> {
    let Some(known) = state.grants.get(grant) else {
        return Vec::new();
    };
    let held = |application| {
        let would_be = Session {
            grant,
            person,
            application,
            mode,
            started: known.window.start,
            deadline: known.window.end,
            token: Digest32([0; 32]),
            scope: None,
            reason: None,
            state: SessionState::Running,
        };
        let shown = crate::rights::of(state, &would_be).ok()?.shown();
        (!shown.is_empty()).then_some((application, shown))
    };
    let mut all: Vec<_> = state.applications.iter().filter_map(|(id, _)| held(id)).collect();
    all.sort_by_key(|(id, _)| state.applications.get(*id).map(|a| a.code.clone()));
    all
}

/// A person's sessions in progress, the newest first.
pub fn stays(
    state: &State,
    person: PersonId,
    now: Instant,
) -> impl Iterator<Item = (SessionId, &Session)> {
    state
        .sessions_of(person)
        .rev()
        .filter_map(|id| Some((id, state.sessions.get(id)?)))
        .filter(move |(_, s)| s.is_active(now))
}

/// Why a session is over; `None` while it is in progress.
#[must_use]
pub fn over(session: &Session, now: Instant) -> Option<Reason> {
    match (session.status(now), session.state) {
        (SessionStatus::Active, _) => None,
        (SessionStatus::Ended, SessionState::Ended { cause, .. }) => Some(cause.reason()),
        _ => Some(Reason::SessionExpired),
    }
}

/// What an organisation has received, the newest first: what stands, and with `past` what is over.
pub fn received(
    state: &State,
    provider: OrganisationId,
    past: bool,
    now: Instant,
) -> impl Iterator<Item = (GrantId, &Grant)> {
    state
        .grants_to(provider)
        .rev()
        .filter_map(|id| Some((id, state.grants.get(id)?)))
        .filter(move |(_, g)| past || g.stands(now))
}

/// Who is on a grant, by name.
#[must_use]
pub fn assigned(state: &State, grant: GrantId) -> Vec<(PersonId, &Assignment)> {
    let mut all: Vec<_> = state.assigned_to(grant).collect();
    all.sort_by_key(|(person, _)| name(state, *person));
    all
}

/// Who of the partner could be put on a grant: active members of its side who are not on it, by
/// name.
#[must_use]
pub fn assignable(state: &State, grant: GrantId) -> Vec<PersonId> {
    let Some(known) = state.grants.get(grant) else {
        return Vec::new();
    };
    let provider = known.provider.organisation;
    let may = |person: &PersonId| {
        let member = state.active_member(provider, *person);
        member.is_some_and(|m| known.provider.includes(provider, m.unit))
            && state.assignment_row(grant, *person).is_none()
    };
    let mut all: Vec<PersonId> =
        state.members_of(provider).map(|(person, _)| person).filter(may).collect();
    all.sort_by_key(|person| name(state, *person));
    all
}

fn name(state: &State, person: PersonId) -> String {
    state.people.get(person).map(|p| state.words.show(p.name).to_lowercase()).unwrap_or_default()
}
