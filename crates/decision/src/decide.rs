//! The hot path: one call, judged and counted.
//!
//! Total: whatever is asked gets one reason. No I/O, no await, no allocation but the pointer that
//! is handed out. The clocks are read last, so that an answer is never younger than what it was
//! made from (T37).

use std::sync::Arc;

use comity_domain::ids::{ApplicationId, Digest32};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::{Compiled, Resource};
use comity_domain::time::Instant;

use crate::index::Index;

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
    let (valid_until, drift) = (index.valid_until(), index.drift());
    let seq = index.seq();
    index.read(token, |entry| {
        let loaded = entry.map(|e| (e, e.rights.load()));
        let clocks = clocks();
        let answer = |reason, session, late| Answer { reason, session, seq, at: clocks.wall, late };
        // Two clocks that no longer agree: somebody set one of them since the index was confirmed.
        let stepped = clocks.drift.saturating_sub(drift).saturating_abs() > MOST_STEP_MS;
        if clocks.boot >= valid_until || stepped {
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
    })
}
