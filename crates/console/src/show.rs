//! How times and amounts read.

use comity_domain::role::{Mode, Modes, PinnedLevel};
use comity_domain::time::{DAY, HOUR, Instant, MINUTE};

use crate::parts::{Badge, Tone, badge};

/// An instant for people and for programs: UTC, to the minute.
#[derive(Debug, Clone)]
pub struct When {
    /// RFC 3339.
    pub exact: String,
    /// `23 Nov 2026, 04:30 UTC`.
    pub shown: String,
}

/// An instant.
pub fn when(at: Instant) -> When {
    let shown = jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| "never".to_owned(), |t| t.strftime("%-d %b %Y, %H:%M UTC").to_string());
    When { exact: comity_app::telling::time(at), shown }
}

/// How long from `now` until `at`, in the largest whole unit, rounded up: `in 3 days`.
pub fn until(at: Instant, now: Instant) -> String {
    let left = at.since(now);
    let up = |unit: i64| (left + unit - 1) / unit;
    match left {
        ..=0 => "over".into(),
        1..=HOUR => format!("in {}", count(up(MINUTE), "minute", "minutes")),
        _ if left <= 2 * DAY => format!("in {}", count(up(HOUR), "hour", "hours")),
        _ => format!("in {}", count(up(DAY), "day", "days")),
    }
}

/// `1 day`, `2 days`.
pub fn count(n: i64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// A mode as people read it.
pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Direct => "Direct",
        Mode::View => "View only",
        Mode::ActAs => "Act as",
    }
}

/// Modes as people read them: `Direct, View only`.
pub fn modes(modes: Modes) -> String {
    modes.iter().map(mode).collect::<Vec<_>>().join(", ")
}

/// The badge of a level: the first colour for a partner, the quiet one for a referral.
pub fn level(level: &PinnedLevel) -> Badge {
    let mut letters = level.code.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    let tone = if level.is_secondary() { Tone::Plain } else { Tone::Primary };
    badge(tone, first.into_iter().chain(letters).collect::<String>())
}

/// Which of the twelve hues a tenant has: always the same for one identifier.
pub fn hue(id: u128) -> u8 {
    // The low bits are random; the high ones are the time at which it was made.
    u8::try_from(id % 12).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_up() {
        let now = Instant(0);
        assert_eq!(until(Instant(1), now), "in 1 minute");
        assert_eq!(until(Instant(90 * MINUTE), now), "in 2 hours");
        assert_eq!(until(Instant(30 * DAY), now), "in 30 days");
        assert_eq!(until(Instant(30 * DAY + 1), now), "in 31 days");
        assert_eq!(until(now, now), "over");
    }

    #[test]
    fn an_instant_is_utc() {
        let w = when(Instant(1_795_408_200_000));
        assert_eq!(w.shown, "23 Nov 2026, 04:30 UTC");
        assert_eq!(w.exact, "2026-11-23T04:30:00.000Z");
    }
}
