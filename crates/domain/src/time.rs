//! Instants, durations and windows. Everything is UTC and in milliseconds; every interval is
//! half-open, so at the end instant the answer is no.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Instant(pub i64);

/// One second, minute, hour and day in milliseconds.
pub const SECOND: i64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// One hour in milliseconds.
pub const HOUR: i64 = 60 * MINUTE;
/// One day in milliseconds.
pub const DAY: i64 = 24 * HOUR;

impl Instant {
    /// Later than anything that a rule can compute.
    pub const NEVER: Self = Self(i64::MAX);

    /// `millis` later, or the end of time: arithmetic on instants cannot overflow (T38).
    #[must_use]
    pub fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to `self`; negative when `self` is the earlier one.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A half-open span `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first instant inside.
    pub start: Instant,
    /// The first instant no longer inside.
    pub end: Instant,
}

impl Window {
    /// Whether `at` lies inside.
    #[must_use]
    pub fn contains(self, at: Instant) -> bool {
        self.start <= at && at < self.end
    }
}

/// Whole days: how long a grant may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Days(pub u32);

impl Days {
    /// In milliseconds.
    #[must_use]
    pub fn millis(self) -> i64 {
        i64::from(self.0) * DAY
    }
}

/// Whole minutes: how long a session may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Minutes(pub u32);

impl Minutes {
    /// In milliseconds.
    #[must_use]
    pub fn millis(self) -> i64 {
        i64::from(self.0) * MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv07_at_the_end_instant_the_answer_is_no() {
        let window = Window { start: Instant(10), end: Instant(20) };
        assert!(!window.contains(Instant(9)));
        assert!(window.contains(Instant(10)));
        assert!(window.contains(Instant(19)));
        assert!(!window.contains(Instant(20)));
    }

    #[test]
    fn t38_a_far_future_end_saturates_instead_of_wrapping() {
        assert_eq!(Instant(i64::MAX - 1).plus(Days(u32::MAX).millis()), Instant::NEVER);
        assert_eq!(Instant(i64::MIN).since(Instant(i64::MAX)), i64::MIN);
    }
}
