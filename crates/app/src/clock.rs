//! The clocks, read here and nowhere else.
//!
//! Wall time never runs backwards for the rules: a step back of the system clock is held at the
//! highest instant seen (T37). In the demo the clock is simulated until it hands over to the real
//! one.

use std::sync::atomic::{AtomicI64, Ordering};

use comity_decision::decide::Clocks;
use comity_domain::time::Instant;

const REAL: i64 = i64::MIN;

/// A clock that a node lives by.
#[derive(Debug)]
pub struct Clock {
    simulated: AtomicI64,
    highest: AtomicI64,
    /// How far a test says that the system's clock is wrong.
    wrong_by: AtomicI64,
}

impl Clock {
    /// The machine's own.
    #[must_use]
    pub fn system() -> Self {
        Self::simulated(Instant(REAL))
    }

    /// One that stands still at `at` until it is moved.
    #[must_use]
    pub fn simulated(at: Instant) -> Self {
        let (highest, wrong_by) = (AtomicI64::new(0), AtomicI64::new(0));
        Self { simulated: AtomicI64::new(at.0), highest, wrong_by }
    }

    /// Moves a simulated clock.
    pub fn set(&self, at: Instant) {
        self.simulated.store(at.0, Ordering::Release);
    }

    /// No reading will be earlier than `at`.
    pub fn at_least(&self, at: Instant) {
        self.highest.fetch_max(at.0, Ordering::AcqRel);
    }

    /// From now on the machine's own clock counts.
    pub fn hand_over(&self) {
        self.simulated.store(REAL, Ordering::Release);
    }

    /// The time for rules: UTC, never earlier than any time that was read before.
    #[must_use]
    pub fn now(&self) -> Instant {
        let simulated = self.simulated.load(Ordering::Acquire);
        let wall = if simulated == REAL { self.wall() } else { simulated };
        Instant(self.highest.fetch_max(wall, Ordering::AcqRel).max(wall))
    }

    /// Both clocks, for a decision.
    #[must_use]
    pub fn read(&self) -> Clocks {
        let boot = boot_millis();
        let simulated = self.simulated.load(Ordering::Acquire);
        let (raw, drift) = match simulated {
            REAL => {
                let wall = self.wall();
                (wall, wall.saturating_sub(boot))
            }
            at => (at, 0),
        };
        let wall = Instant(self.highest.fetch_max(raw, Ordering::AcqRel).max(raw));
        Clocks { wall, boot, drift }
    }

    /// Milliseconds for whoever measures how often something happens: the time since the machine
    /// started, which no step of the system's clock changes, or the simulated time.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        let simulated = self.simulated.load(Ordering::Acquire);
        let millis = if simulated == REAL { boot_millis() } else { simulated };
        u64::try_from(millis).unwrap_or(0)
    }

    /// How far the system's clock stands from the one that counts since the machine started: what
    /// shows a step of it. A simulated clock never steps.
    #[must_use]
    pub fn drift(&self) -> i64 {
        self.read().drift
    }

    /// How far the system's clock stands from another, given in UTC milliseconds; `None` while it
    /// is simulated.
    #[must_use]
    pub fn skew_to(&self, other: i64) -> Option<i64> {
        let real = self.simulated.load(Ordering::Acquire) == REAL;
        real.then(|| self.wall().saturating_sub(other).saturating_abs())
    }

    /// What a machine has whose clock is wrong by so many milliseconds.
    #[doc(hidden)]
    pub fn be_wrong_by(&self, millis: i64) {
        self.wrong_by.store(millis, Ordering::Release);
    }

    fn wall(&self) -> i64 {
        wall_millis().saturating_add(self.wrong_by.load(Ordering::Acquire))
    }
}

fn wall_millis() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    t.tv_sec.saturating_mul(1_000).saturating_add(t.tv_nsec / 1_000_000)
}

/// Milliseconds since the machine started, sleep included.
#[must_use]
pub fn boot_millis() -> i64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    t.tv_sec.saturating_mul(1_000).saturating_add(t.tv_nsec / 1_000_000)
}

/// Measures how long something takes, for figures and logs; no rule may ask it.
#[expect(clippy::disallowed_methods, reason = "this is where clocks are read")]
pub fn stopwatch() -> impl Fn() -> std::time::Duration {
    let began = std::time::Instant::now();
    move || began.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t37_a_clock_that_is_set_back_stands_still() {
        let clock = Clock::simulated(Instant(1_000));
        assert_eq!(clock.now(), Instant(1_000));
        clock.set(Instant(400));
        assert_eq!(clock.now(), Instant(1_000));
        clock.set(Instant(1_500));
        assert_eq!(clock.now(), Instant(1_500));
    }

    #[test]
    fn t37_a_step_of_the_systems_clock_fills_no_bucket_and_empties_none() {
        let clock = Clock::system();
        let before = clock.ticks();
        clock.be_wrong_by(86_400_000);
        assert!(clock.ticks().abs_diff(before) < 60_000);
        clock.be_wrong_by(-86_400_000);
        assert!(clock.ticks().abs_diff(before) < 60_000);
        clock.set(Instant(7_000));
        assert_eq!(clock.ticks(), 7_000);
    }
}
