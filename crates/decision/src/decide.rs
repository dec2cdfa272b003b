//! The hot path: one call, judged and counted.
//!
//! Total: whatever is asked gets one reason. No I/O, no await, no allocation but the pointer that
//! is handed out. The clocks are read last, so that an answer is never younger than what it was
//! made from (T37).

use std::sync::Arc;

use comity_domain::ids::{ApplicationId, Digest32, OrganisationId, PersonId, SessionId};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::{Compiled, Resource, own};
use comity_domain::state::State;
use comity_domain::time::Instant;

use crate::index::{Entry, Index};

/// How far the system's clock may be set before answers wait for a new confirmation.
const MOST_STEP_MS: i64 = 1_000;

/// The clocks, as the edge reads them.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// UTC.
    pub wall: Instant,
    /// Milliseconds since the machine started, sleep included (`CLOCK_BOOTTIME`).
    pub boot: i64,
    /// How far the system's clock stands from the boot clock, in milliseconds: it changes when the
    /// system's clock is set.
    pub drift: i64,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Yes is [`Reason::Allowed`]; all else is no.
    pub reason: Reason,
    /// The session, unless it is unknown to this application.
    pub session: Option<Arc<Compiled>>,
    /// The member of an own organisation, if that was asked about.
    pub member: Option<(OrganisationId, PersonId)>,
    /// The position of the log that the answer reflects, or a later one.
    pub seq: u64,
    /// When it was given.
    pub at: Instant,
    /// Whether it came after the session's end: such calls are part of no count.
    pub late: bool,
}

impl Answer {
    /// Whether it is yes.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        self.reason == Reason::Allowed
    }
}

/// Decides one call of `application` and counts it.
pub fn decide(
    index: &Index,
    application: ApplicationId,
    token: &Digest32,
    asked: Permission<'_>,
    resource: Resource,
    clocks: impl FnOnce() -> Clocks,
) -> Answer {
    let sight = Sight::of(index);
    index.read(token, |entry| sight.session(entry, application, asked, resource, clocks))
}

/// The same for a session by its identifier, which is no secret: the caller vouches for it, having
/// checked what its own user showed it.
pub fn decide_session(
    index: &Index,
    application: ApplicationId,
    session: SessionId,
    asked: Permission<'_>,
    resource: Resource,
    clocks: impl FnOnce() -> Clocks,
) -> Answer {
    let sight = Sight::of(index);
    index.read_session(session, |entry| sight.session(entry, application, asked, resource, clocks))
}

/// What the index said of itself, read before anything that an answer is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    valid_until: i64,
    drift: i64,
    seq: u64,
}

impl Sight {
    /// To be taken first.
    #[must_use]
    pub fn of(index: &Index) -> Self {
        let (valid_until, drift) = (index.valid_until(), index.drift());
        Self { valid_until, drift, seq: index.seq() }
    }

    /// Whether what was read since is still known to be current, by clocks that were read last. Two
    /// clocks that no longer agree: somebody set one of them since the index was confirmed.
    #[must_use]
    pub fn holds(&self, clocks: Clocks) -> bool {
        let stepped = clocks.drift.saturating_sub(self.drift).saturating_abs() > MOST_STEP_MS;
        clocks.boot < self.valid_until && !stepped
    }

    fn session(
        self,
        entry: Option<&Entry>,
        application: ApplicationId,
        asked: Permission<'_>,
        resource: Resource,
        clocks: impl FnOnce() -> Clocks,
    ) -> Answer {
        let loaded = entry.map(|e| (e, e.rights.load()));
        let clocks = clocks();
        let (seq, at) = (self.seq, clocks.wall);
        let answer =
            |reason, session, late| Answer { reason, session, member: None, seq, at, late };
        if !self.holds(clocks) {
            return answer(Reason::Stale, None, false);
        }
        let Some((entry, session)) = loaded else {
            return answer(Reason::SessionUnknown, None, false);
        };
        if session.application != application {
            return answer(Reason::SessionUnknown, None, false);
        }
        let reason = session.judge(asked, resource, clocks.wall);
        let over = session.rights.is_err() || clocks.wall >= session.deadline;
        let session = Some(Arc::clone(&session));
        if over {
            entry.counter.late();
            return answer(reason, session, true);
        }
        if !entry.counter.count(reason == Reason::Allowed) {
            return answer(Reason::Busy, session, false);
        }
        answer(reason, session, false)
    }
}

/// Decides one call of a member in the own organisation. Nothing is counted: it is part of no
/// session. `state` is read after the index was asked until when it is current, and whoever writes
/// publishes the state before it says so: what is read is never older than that.
pub fn decide_own<S: std::ops::Deref<Target = State>>(
    index: &Index,
    application: ApplicationId,
    state: impl FnOnce() -> S,
    asked: Permission<'_>,
    find: impl FnOnce(&State) -> (Option<PersonId>, Resource),
    clocks: impl FnOnce() -> Clocks,
) -> Answer {
    let sight = Sight::of(index);
    let state = state();
    let (person, resource) = find(&state);
    let reason = match person {
        Some(person) => own::judge(&state, application, person, asked, resource),
        None if resource == Resource::Unknown => Reason::WrongResource,
        None => Reason::NotAMember,
    };
    let clocks = clocks();
    let reason = if sight.holds(clocks) { reason } else { Reason::Stale };
    let member = match (person, resource) {
        _ if matches!(reason, Reason::Stale | Reason::NotAMember) => None,
        (Some(person), Resource::Organisation(o) | Resource::Account(_, o, _)) => Some((o, person)),
        _ => None,
    };
    Answer { reason, session: None, member, seq: state.seq, at: clocks.wall, late: false }
}
