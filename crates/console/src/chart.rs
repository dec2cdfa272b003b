//! Calls over time as bars: allowed ones with the refused ones on top. A table beside it says the
//! same in words.

use askama::Template;
use askama::filters::HtmlSafe;
use comity_app::history::CallMinute;
use comity_domain::time::{Instant, MINUTE};

/// How many stretches of time there are at most.
const MOST: i64 = 60;
/// The size of the drawing, in its own units; what stands left of the bars and below them.
const WIDTH: i64 = 720;
const HEIGHT: i64 = 150;
const LEFT: i64 = 36;
const FOOT: i64 = 20;

/// The calls of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// When it began.
    pub at: Instant,
    /// Calls answered with yes.
    pub allowed: u64,
    /// Calls answered with no.
    pub refused: u64,
}

/// Calls in stretches of whole minutes, from the first minute to the last that counts, also those
/// without any; and how many minutes a stretch has.
pub fn stretches(minutes: &[CallMinute], from: Instant, until: Instant) -> (i64, Vec<Stretch>) {
    let first = from.0.div_euclid(MINUTE);
    let last = minutes.last().map_or(first, |m| m.at.0.div_euclid(MINUTE));
    let last = last.max((until.0 - 1).div_euclid(MINUTE)).max(first);
    let all = last - first + 1;
    let long =
        [1, 2, 5, 10, 15, 30, 60].into_iter().find(|n| all <= n * MOST).unwrap_or(all / MOST + 1);
    let empty =
        |n: i64| Stretch { at: Instant((first + n * long) * MINUTE), allowed: 0, refused: 0 };
    let mut found: Vec<Stretch> = (0..(all + long - 1) / long).map(empty).collect();
    for minute in minutes {
        let n = (minute.at.0.div_euclid(MINUTE) - first) / long;
        if let Some(stretch) = usize::try_from(n).ok().and_then(|n| found.get_mut(n)) {
            stretch.allowed += minute.allowed;
            stretch.refused += minute.refused;
        }
    }
    (long, found)
}

struct Bar {
    x: i64,
    y: i64,
    height: i64,
    refused: bool,
}

/// The drawing.
#[derive(Template)]
#[template(path = "parts/chart.html")]
pub struct Chart {
    label: String,
    bars: Vec<Bar>,
    wide: i64,
    most: u64,
    first: String,
    last: String,
}

impl HtmlSafe for Chart {}

/// The drawing of these stretches; `label` says in words what it shows.
pub fn chart(stretches: &[Stretch], label: String) -> Chart {
    let most = stretches.iter().map(|s| s.allowed + s.refused).max().unwrap_or(0).max(1);
    let n = i64::try_from(stretches.len()).unwrap_or(i64::MAX).max(1);
    let (step, ground) = ((WIDTH - LEFT) / n, HEIGHT - FOOT);
    let scaled = |calls: u64| {
        let (calls, most) =
            (i64::try_from(calls).unwrap_or(i64::MAX), i64::try_from(most).unwrap_or(i64::MAX));
        let exact = calls.saturating_mul(ground - 12) / most;
        if calls > 0 { exact.max(2) } else { 0 }
    };
    let mut bars = Vec::new();
    for (ix, stretch) in (0..).zip(stretches) {
        let (x, yes, no) = (LEFT + ix * step, scaled(stretch.allowed), scaled(stretch.refused));
        bars.push(Bar { x, y: ground - yes, height: yes, refused: false });
        bars.push(Bar { x, y: ground - yes - no, height: no, refused: true });
    }
    bars.retain(|b| b.height > 0);
    let clock = |s: Option<&Stretch>| s.map(|s| time_of_day(s.at)).unwrap_or_default();
    Chart {
        label,
        bars,
        wide: (step - 2).clamp(1, 40),
        most,
        first: clock(stretches.first()),
        last: clock(stretches.last()),
    }
}

/// `14:05`, in UTC.
pub fn time_of_day(at: Instant) -> String {
    let minutes = at.0.div_euclid(MINUTE).rem_euclid(24 * 60);
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(at: i64, allowed: u64, refused: u64) -> CallMinute {
        CallMinute { at: Instant(at * MINUTE), allowed, refused }
    }

    #[test]
    fn r16_every_call_stands_in_one_stretch_and_there_are_at_most_sixty() {
        for length in [1, 5, 59, 60, 61, 240, 480] {
            let from = Instant(100 * MINUTE + 30_000);
            let minutes: Vec<_> = (0..length).map(|n| minute(100 + n, 2, 1)).collect();
            let (_, found) = stretches(&minutes, from, from.plus(length * MINUTE));
            assert!(found.len() <= 60, "{length}: {}", found.len());
            let sum: u64 = found.iter().map(|s| s.allowed + s.refused).sum();
            assert_eq!(sum, u64::try_from(length).unwrap() * 3);
            let drawn = chart(&found, String::new());
            assert!(drawn.bars.iter().all(|b| b.y >= 0 && b.x + drawn.wide <= WIDTH), "{length}");
        }
        assert_eq!(stretches(&[], Instant(0), Instant(0)).1.len(), 1);
    }
}
