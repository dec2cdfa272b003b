//! How often something may be done, as people write it: `5/min`.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// So many in so long: a bucket of that size, which refills evenly. Or no limit at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(Option<(NonZeroU32, Unit)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    const ALL: [(Self, &'static str, u64); 4] = [
        (Self::Second, "s", 1),
        (Self::Minute, "min", 60),
        (Self::Hour, "h", 3_600),
        (Self::Day, "d", 86_400),
    ];

    fn seconds(self) -> u64 {
        Self::ALL.into_iter().find(|(unit, ..)| *unit == self).map_or(1, |(.., seconds)| seconds)
    }
}

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// So many a minute; none is no limit.
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        Self::new(count, Unit::Minute)
    }

    /// So many an hour; none is no limit.
    #[must_use]
    pub const fn per_hour(count: u32) -> Self {
        Self::new(count, Unit::Hour)
    }

    /// So many a day; none is no limit.
    #[must_use]
    pub const fn per_day(count: u32) -> Self {
        Self::new(count, Unit::Day)
    }

    const fn new(count: u32, unit: Unit) -> Self {
        match NonZeroU32::new(count) {
            Some(count) => Self(Some((count, unit))),
            None => Self::OFF,
        }
    }

    /// How many, in how many seconds; `None` if there is no limit.
    #[must_use]
    pub fn limit(self) -> Option<(NonZeroU32, Duration)> {
        self.0.map(|(count, unit)| (count, Duration::from_secs(unit.seconds())))
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((count, unit)) = self.0 else {
            return f.write_str("off");
        };
        let (_, word, _) =
            Unit::ALL.into_iter().find(|(u, ..)| *u == unit).ok_or(std::fmt::Error)?;
        write!(f, "{count}/{word}")
    }
}

/// Not a rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRate(String);

impl std::fmt::Display for NoRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is no rate such as 5/min (s, min, h or d), and not off", self.0)
    }
}

impl std::error::Error for NoRate {}

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let (unit, ..) = Unit::ALL.into_iter().find(|(_, word, _)| *word == unit)?;
            let count: NonZeroU32 = count.parse().ok()?;
            Some(Self(Some((count, unit))))
        };
        read().ok_or_else(|| NoRate(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_written_and_in_no_other_way() {
        assert_eq!("5/min".parse(), Ok(Rate::per_minute(5)));
        assert_eq!("100/d".parse(), Ok(Rate::per_day(100)));
        assert_eq!("off".parse(), Ok(Rate::OFF));
        assert_eq!(
            "10/h".parse::<Rate>().unwrap().limit(),
            Some((NonZeroU32::new(10).unwrap(), Duration::from_secs(3_600)))
        );
        for text in ["5/min", "1/s", "10/h", "100/d", "off"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for bad in ["", "5", "0/min", "-1/s", "5/minute", "5 / min", "5/", "99999999999/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
