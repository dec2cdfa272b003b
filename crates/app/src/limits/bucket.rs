//! Token buckets by key (GCRA), whose memory is bounded whatever is sent.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::rate::Rate;
use crate::clock::Clock;

/// How many keys have a bucket of their own. Full ones are shed long before.
const MOST_KEYS: usize = 65_536;
/// Above this, full buckets are looked for and shed.
const SHED_ABOVE: usize = 8_192;
/// After so many questions it is looked whether there are too many keys.
const LOOK_EVERY: u32 = 1_024;
/// How many buckets they share who come when there is no room.
const SHARED: u128 = 1_024;

/// The node's clock, as `governor` wants it.
#[derive(Debug, Clone)]
struct Ticks(Arc<Clock>);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.ticks())
    }
}

type Limiter = RateLimiter<u128, DashMapStateStore<u128>, Ticks, NoOpMiddleware<Duration>>;

/// One bucket for each key.
pub struct Buckets {
    name: &'static str,
    count: u32,
    per: Duration,
    clock: Ticks,
    own: Limiter,
    shared: Limiter,
    /// By what keys share buckets: nobody chooses with whom, and a whole network is not one key.
    mix: std::hash::RandomState,
    asked: AtomicU32,
    full: AtomicBool,
}

impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buckets({} {}/{:?}, {} keys)", self.name, self.count, self.per, self.own.len())
    }
}

/// Too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOften {
    /// Of what.
    pub name: &'static str,
    /// How many there may be.
    pub count: u32,
    /// In how long.
    pub per: Duration,
    /// When the next may come.
    pub after: Duration,
}

impl TooOften {
    /// The same in whole seconds, as `Retry-After` says it: never too early.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        u64::try_from(self.after.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
    }
}

impl Buckets {
    /// Buckets of this rate; `None` if it has no limit.
    pub fn new(name: &'static str, rate: Rate, clock: &Arc<Clock>) -> Option<Self> {
        let (count, per) = rate.limit()?;
        let quota = Quota::with_period(per / count.get())?.allow_burst(count);
        let limiter = || Limiter::new(quota, DashMapStateStore::default(), Ticks(clock.clone()));
        Some(Self {
            name,
            count: count.get(),
            per,
            clock: Ticks(clock.clone()),
            own: limiter(),
            shared: limiter(),
            mix: std::hash::RandomState::new(),
            asked: AtomicU32::new(0),
            full: AtomicBool::new(false),
        })
    }

    /// Takes one out of the bucket of `key`.
    ///
    /// # Errors
    /// [`TooOften`] if it is empty; then nothing was taken.
    pub fn take(&self, key: u128) -> Result<(), TooOften> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % LOOK_EVERY == LOOK_EVERY - 1 {
            self.look();
        }
        let taken = if self.full.load(Ordering::Relaxed) {
            self.shared.check_key(&(u128::from(self.mix.hash_one(key)) % SHARED))
        } else {
            self.own.check_key(&key)
        };
        taken.map_err(|until| {
            let after = until.earliest_possible().duration_since(self.clock.now()).into();
            TooOften { name: self.name, count: self.count, per: self.per, after }
        })
    }

    /// Sheds the buckets that are full again, and sees whether there is room for more keys.
    fn look(&self) {
        if self.own.len() > SHED_ABOVE {
            self.own.retain_recent();
        }
        self.full.store(self.own.len() >= MOST_KEYS, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use comity_domain::time::Instant;

    use super::*;

    fn buckets(rate: &str) -> (Buckets, Arc<Clock>) {
        let clock = Arc::new(Clock::simulated(Instant(1_767_225_600_000)));
        (Buckets::new("test", rate.parse().unwrap(), &clock).unwrap(), clock)
    }

    #[test]
    fn t46_a_bucket_empties_refills_evenly_and_says_when() {
        let (buckets, clock) = buckets("5/min");
        for _ in 0..5 {
            buckets.take(1).unwrap();
        }
        let no = buckets.take(1).unwrap_err();
        assert_eq!((no.seconds(), no.count, no.name), (12, 5, "test"));
        assert!(buckets.take(2).is_ok(), "another's is its own");
        clock.set(clock.now().plus(11_999));
        assert_eq!(buckets.take(1).unwrap_err().seconds(), 1);
        clock.set(clock.now().plus(1));
        assert!(buckets.take(1).is_ok());
        assert!(buckets.take(1).is_err());
        clock.set(clock.now().plus(60_000));
        assert_eq!(
            (0..9).filter(|_| buckets.take(1).is_ok()).count(),
            5,
            "never more than it holds"
        );
    }

    #[test]
    fn t46_a_flood_of_keys_holds_no_more_memory_than_there_is_room_for() {
        let (buckets, clock) = buckets("5/min");
        for key in 0..300_000 {
            let _ = buckets.take(key);
        }
        let most = MOST_KEYS + LOOK_EVERY as usize;
        assert!(buckets.own.len() <= most, "{}", buckets.own.len());
        assert!(buckets.shared.len() <= usize::try_from(SHARED).unwrap());
        // Once it is over there is room again, and what is full is forgotten.
        clock.set(clock.now().plus(120_000));
        for _ in 0..2 * LOOK_EVERY {
            let _ = buckets.take(7);
        }
        assert!(buckets.own.len() <= 2, "{}", buckets.own.len());
        assert!(!buckets.full.load(Ordering::Relaxed));
    }
}
