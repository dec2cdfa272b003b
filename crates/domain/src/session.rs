//! Sessions: one stay of one person in one customer.
//!
//! `active` → `ended`, or `expired` by the clock, derived when read. A deadline is fixed at the
//! start; it may come nearer and never moves away. An ended session stays in memory for
//! [`KEPT_AFTER_END`], so that a late call is told why, and is then retired by the first row later
//! than that; its history is a projection.

use serde::{Deserialize, Serialize};

use crate::command::{Caller, Enter};
use crate::draft::Draft;
use crate::event::Event;
use crate::grant::{Grant, GrantPhase};
use crate::ids::{ApplicationId, Digest32, GrantId, OrganisationId, PersonId, SessionId};
use crate::may::{self, Action, Thing};
use crate::permission::Permissions;
use crate::refusal::{Reason, Refusal};
use crate::role::Mode;
use crate::settle;
use crate::state::State;
use crate::text::{self, Subject, WordId};
use crate::time::{DAY, Instant, MINUTE};

/// How long an ended or expired session is remembered.
pub const KEPT_AFTER_END: i64 = DAY;
/// How many calls may be answered before the first durable reservation of more.
pub const CALLS_RESERVED: u64 = 256;
/// How many `act_as` sessions one person may have under one grant.
pub const MOST_ACT_AS: usize = 1;
/// How many sessions of the other modes one person may have under one grant.
pub const MOST_OTHERS: usize = 5;

/// One stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Under which grant.
    pub grant: GrantId,
    /// Who is really there.
    pub person: PersonId,
    /// For which application.
    pub application: ApplicationId,
    /// As whom.
    pub mode: Mode,
    /// When it began.
    pub started: Instant,
    /// When it ends by the clock.
    pub deadline: Instant,
    /// The digest of its token.
    pub token: Digest32,
    /// Only so much of what the grant permits; `None` for all of it.
    pub scope: Option<Permissions>,
    /// Why, as the person said it.
    pub reason: Option<WordId>,
    /// Whether it still runs, as far as the log says.
    pub state: SessionState,
}

/// What the log says of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionState {
    /// Nobody has ended it.
    Running,
    /// It was ended.
    Ended {
        /// When.
        at: Instant,
        /// Why.
        cause: SessionEnd,
    },
}

/// Why a session was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// The partner user came home.
    Closed,
    /// The customer ended this session.
    EndedByCustomer,
    /// The customer revoked the grant.
    Revoked,
    /// The grant ended in another way.
    GrantEnded,
    /// The mode was struck, or no role or account is left.
    AssignmentLost,
    /// A lock.
    Locked,
    /// An organisation, unit or member was suspended or closed.
    Suspended,
    /// The installation was restored from a copy.
    Restored,
}

impl SessionEnd {
    /// As it is written in the history.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::EndedByCustomer => "ended_by_customer",
            Self::Revoked => "revoked",
            Self::GrantEnded => "grant_ended",
            Self::AssignmentLost => "assignment_lost",
            Self::Locked => "locked",
            Self::Suspended => "suspended",
            Self::Restored => "restored",
        }
    }

    /// What a decision says afterwards.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Closed => Reason::SessionClosed,
            Self::EndedByCustomer => Reason::EndedByCustomer,
            Self::Revoked => Reason::Revoked,
            Self::GrantEnded => Reason::GrantEnded,
            Self::AssignmentLost => Reason::AssignmentLost,
            Self::Locked => Reason::Locked,
            Self::Suspended => Reason::Suspended,
            Self::Restored => Reason::Restored,
        }
    }
}

/// The three words of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// In progress.
    Active,
    /// Ran past its deadline.
    Expired,
    /// Formally closed.
    Ended,
}

/// The status at `now`, from what is stored: an end at or after the deadline is an expiry (R15).
#[must_use]
pub fn status(deadline: Instant, ended: Option<Instant>, now: Instant) -> SessionStatus {
    match ended {
        Some(at) if at < deadline => SessionStatus::Ended,
        _ if now >= deadline => SessionStatus::Expired,
        Some(_) => SessionStatus::Ended,
        None => SessionStatus::Active,
    }
}

/// Whole minutes to show: rounded down, and never past the deadline (R13).
#[must_use]
pub fn shown_minutes(
    started: Instant,
    deadline: Instant,
    ended: Option<Instant>,
    now: Instant,
) -> i64 {
    shown_millis(started, deadline, ended, now) / MINUTE
}

/// The length to show, in milliseconds.
#[must_use]
pub fn shown_millis(
    started: Instant,
    deadline: Instant,
    ended: Option<Instant>,
    now: Instant,
) -> i64 {
    ended.unwrap_or(now).min(deadline).since(started).max(0)
}

impl Session {
    /// When it was ended, if it was.
    #[must_use]
    pub fn ended(&self) -> Option<Instant> {
        match self.state {
            SessionState::Running => None,
            SessionState::Ended { at, .. } => Some(at),
        }
    }

    /// The status at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> SessionStatus {
        status(self.deadline, self.ended(), now)
    }

    /// Whether it is in progress at `now`.
    #[must_use]
    pub fn is_active(&self, now: Instant) -> bool {
        self.status(now) == SessionStatus::Active
    }
}

/// A person enters a customer by their own sign-in, under exactly one grant.
pub(crate) fn enter(d: &mut Draft<'_>, caller: &Caller, enter: Enter) -> Result<(), Refusal> {
    let now = d.now();
    if matches!(caller.principal, crate::command::Principal::PartnerSession(_)) {
        return Err(Refusal::PartnerSession); // never from inside (T20)
    }
    let person = caller.person().ok_or(Refusal::NotFound)?;
    may::check(&d.state, caller, Action::Enter, Thing::own(person), now)?;
    let application = d.state.application_by_audience(&enter.audience);
    let application = application
        .ok_or_else(|| Refusal::invalid("audience", "names no application of this platform"))?;
    let id = choose(&d.state, person, &enter, now)?;
    let grant = d.state.grants.get(id).ok_or(Refusal::NotFound)?.clone();
    let would_be = Session { grant: id, application, ..would_be(d, &grant, person, enter.mode) };
    if let Some(cause) = crate::rights::stands(&d.state, &would_be) {
        return Err(match cause {
            SessionEnd::Locked => Refusal::Locked,
            SessionEnd::Suspended => Refusal::NotActive("organisation, unit or membership"),
            _ => Refusal::NoAccess,
        });
    }
    let reason = enter.reason.as_deref().filter(|r| !r.trim().is_empty());
    let reason = reason.map(|r| text::prose("reason", r)).transpose()?;
    if enter.mode == Mode::ActAs && reason.is_none() {
        return Err(Refusal::invalid("reason", "is needed to act as the customer"));
    }
    if enter.jwt && !grant.jwt {
        return Err(Refusal::JwtNotGranted);
    }
    if let Some(scope) = &enter.scope {
        within(&d.state, &would_be, scope)?;
    }
    not_too_many(&d.state, id, person, enter.mode, now)?;
    d.acting_for(grant.provider.organisation);
    start(d, &grant, would_be, enter, reason)
}

/// The one grant that fits; several that fit have to be chosen from.
fn choose(
    state: &State,
    person: PersonId,
    enter: &Enter,
    now: Instant,
) -> Result<GrantId, Refusal> {
    let own: Vec<(GrantId, &Grant)> = state
        .grants_of(person)
        .filter(|(id, g)| {
            g.customer.organisation == enter.customer
                && enter.grant.is_none_or(|wanted| wanted == *id)
        })
        .collect();
    if own.is_empty() {
        // Whose organisation was let in before is told that nothing is left (R19); to everybody
        // else it is as if the customer were not there.
        let knew = state.organisations_of(person).any(|provider| {
            let theirs = |g: GrantId| {
                state.grants.get(g).is_some_and(|g| g.customer.organisation == enter.customer)
            };
            state.active_member(provider, person).is_some() && state.grants_to(provider).any(theirs)
        });
        return Err(if knew && enter.grant.is_none() {
            Refusal::NoAccess
        } else {
            Refusal::NotFound
        });
    }
    let usable: Vec<(GrantId, &Grant)> = own
        .into_iter()
        .filter(|(id, g)| {
            g.phase(now) == GrantPhase::Active
                && state.assignment_row(*id, person).is_some_and(|a| a.is_active(now))
        })
        .collect();
    if usable.is_empty() {
        return Err(Refusal::NoAccess);
    }
    let fitting: Vec<GrantId> =
        usable.iter().filter(|(_, g)| g.modes.contains(enter.mode)).map(|(id, _)| *id).collect();
    match fitting.as_slice() {
        [] => Err(Refusal::ModeNotGranted),
        [one] => Ok(*one),
        several => Err(Refusal::GrantRequired(several.to_vec())),
    }
}

/// As it would run: judged by the same rules that later keep it alive and say what it may do.
fn would_be(d: &Draft<'_>, grant: &Grant, person: PersonId, mode: Mode) -> Session {
    Session {
        grant: GrantId::MIN,
        person,
        application: ApplicationId::MIN,
        mode,
        started: d.now(),
        deadline: grant.window.end,
        token: Digest32([0; 32]),
        scope: None,
        reason: None,
        state: SessionState::Running,
    }
}

/// A scope may ask for less than the session would hold, and never for more.
fn within(state: &State, session: &Session, scope: &Permissions) -> Result<(), Refusal> {
    if scope.is_empty() {
        return Err(Refusal::invalid("scope", "must name a permission; leave it out for all"));
    }
    let held = crate::rights::of(state, session).map(|r| r.shown()).unwrap_or_default();
    if held.covers(scope) {
        return Ok(());
    }
    let held: Vec<String> = held.texts().collect();
    Err(Refusal::invalid("scope", format!("must be within {}", held.join(" "))))
}

fn not_too_many(
    state: &State,
    grant: GrantId,
    person: PersonId,
    mode: Mode,
    now: Instant,
) -> Result<(), Refusal> {
    let live = state
        .sessions_of(person)
        .filter_map(|id| state.sessions.get(id))
        .filter(|s| s.grant == grant && s.is_active(now))
        .filter(|s| (s.mode == Mode::ActAs) == (mode == Mode::ActAs))
        .count();
    let most = if mode == Mode::ActAs { MOST_ACT_AS } else { MOST_OTHERS };
    if live >= most { Err(Refusal::SessionExists) } else { Ok(()) }
}

fn start(
    d: &mut Draft<'_>,
    grant: &Grant,
    would_be: Session,
    enter: Enter,
    reason: Option<std::sync::Arc<str>>,
) -> Result<(), Refusal> {
    let Session { grant: id, person, application, mode, .. } = would_be;
    let Enter { token, scope, .. } = enter;
    let customer: OrganisationId = grant.customer.organisation;
    let own = d.state.organisations.get(customer).ok_or(Refusal::NotFound)?;
    let level = d.state.level(&grant.level).ok_or(Refusal::NotFound)?;
    // The cap is the least of all that have a say, fixed now (R14).
    let cap = grant
        .cap
        .min(level.session_cap)
        .min(own.settings.session_cap)
        .min(d.state.policy.session_cap);
    let deadline = d.now().plus(cap.millis()).min(settle::latest_end(&d.state, id, person));
    let known = d.state.people.get(person).ok_or(Refusal::NotFound)?;
    let [name, email] =
        [known.name, known.email].map(|w| std::sync::Arc::from(d.state.words.show(w)));
    let session = SessionId(d.id());
    let event = Event::SessionStarted {
        session,
        grant: id,
        customer,
        provider: grant.provider.organisation,
        person,
        application,
        mode,
        deadline,
        token,
        reserved: CALLS_RESERVED,
        scope,
        reason: reason.map(|r| d.word_with(Subject::Session(session), Subject::Person(person), r)),
        name: d.word(Subject::Person(person), name),
        email: d.word(Subject::Person(person), email),
    };
    d.emit(event);
    Ok(())
}

/// The partner user comes home. Closing what is over already changes nothing (R15).
pub(crate) fn close(d: &mut Draft<'_>, caller: &Caller, id: SessionId) -> Result<(), Refusal> {
    if matches!(caller.principal, crate::command::Principal::PartnerSession(own) if own != id) {
        return Err(Refusal::PartnerSession); // before any look, so that it tells nothing
    }
    let session = d.state.sessions.get(id).ok_or(Refusal::NotFound)?;
    may::check(&d.state, caller, Action::CloseSession, Thing::own(session.person), d.now())?;
    let provider = d.state.grants.get(session.grant).map(|g| g.provider.organisation);
    if session.is_active(d.now()) {
        provider.into_iter().for_each(|p| d.acting_for(p));
        d.emit(Event::SessionEnded { session: id, cause: SessionEnd::Closed });
    }
    Ok(())
}

/// The customer ends a session. Ending what is over already changes nothing.
pub(crate) fn end(d: &mut Draft<'_>, caller: &Caller, id: SessionId) -> Result<(), Refusal> {
    let session = d.state.sessions.get(id).ok_or(Refusal::NotFound)?;
    let grant = d.state.grants.get(session.grant).ok_or(Refusal::NotFound)?;
    let (customer, provider) = (grant.customer.organisation, grant.provider.organisation);
    may::check(&d.state, caller, Action::EndSession, Thing::between(customer, provider), d.now())?;
    if session.is_active(d.now()) {
        d.acting_for(customer);
        d.emit(Event::SessionEnded { session: id, cause: SessionEnd::EndedByCustomer });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const M: i64 = MINUTE;

    #[test]
    fn r13_r14_r15_duration_is_capped_and_status_is_derived() {
        let (start, deadline) = (Instant(0), Instant(60 * M));
        let at = |m: i64| Instant(m * M);
        assert_eq!(status(deadline, None, at(59)), SessionStatus::Active);
        assert_eq!(status(deadline, None, at(60)), SessionStatus::Expired);
        assert_eq!(status(deadline, Some(at(10)), at(90)), SessionStatus::Ended);
        assert_eq!(status(deadline, Some(at(61)), at(90)), SessionStatus::Expired);
        assert_eq!(shown_minutes(start, deadline, None, at(600)), 60);
        assert_eq!(shown_minutes(start, deadline, Some(Instant(10 * M - 1)), at(600)), 9);
    }

    proptest! {
        #[test]
        fn inv19_shown_duration_never_passes_the_cap(start in 0i64..1000, cap in 5i64..480, end in prop::option::of(0i64..2000), now in 0i64..3000) {
            let (s, d) = (Instant(start * M), Instant((start + cap) * M));
            let shown = shown_minutes(s, d, end.map(|e| Instant(e * M)), Instant(now * M));
            prop_assert!((0..=cap).contains(&shown));
        }
    }
}
