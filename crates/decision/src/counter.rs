//! Counting calls against a durable reservation.
//!
//! A block of calls is reserved durably before any of them is answered. As long as the block has
//! room, counting is one atomic addition; when it has none, the answer is `busy`, never an
//! uncounted yes. After a crash the whole reservation counts as used, and the history says "at
//! most". So the count is never too low (inv22).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The calls of one session.
#[derive(Debug)]
pub struct Counter {
    used: AtomicU64,
    allowed: AtomicU64,
    refused: AtomicU64,
    late: AtomicU64,
    reserved: AtomicU64,
    /// Calls that a crash left uncertain: counted, though perhaps never made.
    uncertain: AtomicU64,
    changed: AtomicBool,
    over: AtomicBool,
}

/// A reading of a [`Counter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls answered with yes.
    pub allowed: u64,
    /// Calls answered with no while the session was in progress.
    pub refused: u64,
    /// Calls after the end: recorded, and part of no count.
    pub late: u64,
    /// How many may be counted before the next reservation.
    pub reserved: u64,
    /// Counted because a crash left it open whether they were made.
    pub uncertain: u64,
}

impl Counts {
    /// What the history shows as *API Calls*.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.allowed.saturating_add(self.refused).saturating_add(self.uncertain)
    }

    /// Together with what was counted elsewhere.
    #[must_use]
    pub fn with(self, more: Self) -> Self {
        Self {
            allowed: self.allowed.saturating_add(more.allowed),
            refused: self.refused.saturating_add(more.refused),
            late: self.late.saturating_add(more.late),
            reserved: self.reserved.saturating_add(more.reserved),
            uncertain: self.uncertain.saturating_add(more.uncertain),
        }
    }

    /// Whether the total is a bound and not exact.
    #[must_use]
    pub fn at_most(&self) -> bool {
        self.uncertain > 0
    }
}

impl Counter {
    /// A counter with a first block that is durable already.
    #[must_use]
    pub fn new(reserved: u64) -> Self {
        Self::resume(Counts { reserved, ..Counts::default() })
    }

    /// A counter as it was last made durable. What was reserved and not accounted for counts as
    /// used, so `counts` must have been closed with [`after_crash`] unless it was a clean stop.
    #[must_use]
    pub fn resume(counts: Counts) -> Self {
        Self {
            used: AtomicU64::new(counts.total()),
            allowed: AtomicU64::new(counts.allowed),
            refused: AtomicU64::new(counts.refused),
            late: AtomicU64::new(counts.late),
            reserved: AtomicU64::new(counts.reserved),
            uncertain: AtomicU64::new(counts.uncertain),
            changed: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    /// Counts one call, if the reservation has room for it.
    #[must_use]
    pub fn count(&self, allowed: bool) -> bool {
        if self.used.fetch_add(1, Ordering::AcqRel) >= self.reserved.load(Ordering::Acquire) {
            self.used.fetch_sub(1, Ordering::AcqRel);
            self.changed.store(true, Ordering::Release); // so that more is reserved soon
            return false;
        }
        let which = if allowed { &self.allowed } else { &self.refused };
        which.fetch_add(1, Ordering::AcqRel);
        self.changed.store(true, Ordering::Release);
        true
    }

    /// Records a call after the end.
    pub fn late(&self) {
        self.late.fetch_add(1, Ordering::AcqRel);
        self.changed.store(true, Ordering::Release);
    }

    /// What stands on it.
    #[must_use]
    pub fn read(&self) -> Counts {
        Counts {
            allowed: self.allowed.load(Ordering::Acquire),
            refused: self.refused.load(Ordering::Acquire),
            late: self.late.load(Ordering::Acquire),
            reserved: self.reserved.load(Ordering::Acquire),
            uncertain: self.uncertain.load(Ordering::Acquire),
        }
    }

    /// Whether it changed since the last asking.
    pub fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// How much should be reserved in all, if more than half of the block is used.
    #[must_use]
    pub fn wants(&self, block: u64) -> Option<u64> {
        let (used, reserved) =
            (self.used.load(Ordering::Acquire), self.reserved.load(Ordering::Acquire));
        (reserved.saturating_sub(used) <= block / 2).then(|| used.saturating_add(block))
    }

    /// More is durable now.
    pub fn grant(&self, reserved: u64) {
        self.reserved.fetch_max(reserved, Ordering::AcqRel);
    }

    /// Notes that the session is over; says whether that was noted before. Whoever closes the
    /// books waits from one noting to the next, so that no call is still being answered.
    pub fn note_over(&self) -> bool {
        self.over.swap(true, Ordering::AcqRel)
    }

    /// Whether room is left that nobody will use once the session is over.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.used.load(Ordering::Acquire) != self.reserved.load(Ordering::Acquire)
    }

    /// Gives back the room that is left: from now on nothing is counted.
    pub fn close(&self) {
        self.reserved.store(self.used.load(Ordering::Acquire), Ordering::Release);
    }
}

/// Durable counts after a crash: everything that was reserved counts as used.
#[must_use]
pub fn after_crash(counts: Counts) -> Counts {
    let known = counts.allowed.saturating_add(counts.refused);
    Counts { uncertain: counts.reserved.saturating_sub(known), ..counts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t24_without_room_nothing_is_counted_and_the_caller_is_told() {
        let counter = Counter::new(2);
        assert!(counter.count(true) && counter.count(false) && !counter.count(true));
        assert_eq!(counter.wants(256), Some(258));
        counter.grant(258);
        assert!(counter.count(true));
        assert_eq!(counter.wants(256), None);
        let counts = counter.read();
        assert_eq!((counts.allowed, counts.refused, counts.total()), (2, 1, 3));
    }

    #[test]
    fn inv22_a_crash_over_counts_within_the_reservation() {
        let counts =
            after_crash(Counts { allowed: 10, refused: 2, reserved: 256, ..Counts::default() });
        assert_eq!((counts.total(), counts.at_most()), (256, true));
        let again = Counter::resume(counts);
        assert!(!again.count(true), "nothing is left of the old block");
    }

    #[test]
    fn inv22_closed_books_are_exact_after_a_crash() {
        let counter = Counter::new(256);
        assert!(counter.count(true) && !counter.note_over() && counter.note_over());
        counter.close();
        assert!(!counter.count(true) && !counter.has_room());
        assert_eq!(after_crash(counter.read()).total(), 1);
    }

    #[test]
    fn inv22_many_threads_never_count_more_than_is_reserved() {
        let counter = std::sync::Arc::new(Counter::new(1_000));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let counter = counter.clone();
                std::thread::spawn(move || (0..1_000).filter(|_| counter.count(true)).count())
            })
            .collect();
        let yes: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(yes as u64, counter.read().allowed);
        assert!(yes <= 1_000);
    }
}
