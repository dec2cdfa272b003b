//! How often something short may be guessed: counted in this node's memory, apart from the doors'
//! limits, so that no door forgets it. A right answer is given back and uses nothing up.

use std::collections::HashMap;
use std::sync::Mutex;

use comity_domain::time::{HOUR, Instant, MINUTE};

/// Tries for one ticket.
pub const PER_TICKET: Limit = Limit { most: 5, per: 5 * MINUTE };
/// Wrong codes of one person.
pub const PER_PERSON: Limit = Limit { most: 10, per: HOUR };

/// How many windows are kept before those that are over are swept out.
const SWEEP: usize = 10_000;

/// So many in so long, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// How many.
    pub most: u32,
    /// In how long.
    pub per: i64,
}

/// What was tried lately. The keys are digests: nothing that was typed is kept.
#[derive(Debug, Default)]
pub struct Tries(Mutex<HashMap<[u8; 32], (Instant, u32)>>);

impl Tries {
    /// Counts one.
    ///
    /// # Errors
    /// The whole seconds until there may be another.
    pub fn take(&self, key: [u8; 32], limit: Limit, now: Instant) -> Result<(), u64> {
        let Ok(mut open) = self.0.lock() else {
            return Err(1);
        };
        if open.len() >= SWEEP {
            open.retain(|_, (end, _)| now < *end);
        }
        let window = open.entry(key).or_insert((now.plus(limit.per), 0));
        if now >= window.0 {
            *window = (now.plus(limit.per), 0);
        }
        if window.1 >= limit.most {
            let left = window.0.since(now).max(1);
            return Err(u64::try_from(left).unwrap_or(1).div_ceil(1_000));
        }
        window.1 += 1;
        Ok(())
    }

    /// It was right: it does not count.
    pub fn give_back(&self, key: [u8; 32]) {
        if let Ok(mut open) = self.0.lock()
            && let Some((_, count)) = open.get_mut(&key)
        {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t01_guesses_are_counted_and_right_answers_are_not() {
        let tries = Tries::default();
        let limit = Limit { most: 2, per: 1_000 };
        let (a, b, now) = ([1; 32], [2; 32], Instant(5_000));
        assert_eq!(tries.take(a, limit, now), Ok(()));
        assert_eq!(tries.take(a, limit, now), Ok(()));
        assert_eq!(tries.take(a, limit, now.plus(1)), Err(1), "the rest of the window");
        assert_eq!(tries.take(b, limit, now), Ok(()), "another key");
        tries.give_back(a);
        assert_eq!(tries.take(a, limit, now.plus(2)), Ok(()));
        assert_eq!(tries.take(a, limit, now.plus(1_000)), Ok(()), "the next window");
    }
}
