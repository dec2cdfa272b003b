//! What is logged, and how: one event is one line on standard error, whatever stands in it (T41).
//!
//! Lines of other crates come through from `warn` on only: at lower levels a driver may show the
//! values that it is handed.

use std::io::{self, Write};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging at `level`, as JSON lines if `json`.
pub fn start(level: Level, json: bool) {
    let level = LevelFilter::from_level(level);
    let others = level.min(LevelFilter::WARN);
    let which = Targets::new().with_default(others).with_target("comity", level);
    let layer = tracing_subscriber::fmt::layer().with_writer(|| Lines(io::stderr()));
    let registry = tracing_subscriber::registry();
    if json {
        registry.with(layer.json().flatten_event(true).with_filter(which)).init();
    } else {
        registry.with(layer.with_filter(which)).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // A message that was put together may hold what it was about; a literal does not.
        let what = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(place, what, thread = thread.name().unwrap_or_default(), "panic");
    }));
}

/// Escapes whatever would begin a new line, move the cursor or turn the text around. Each event
/// comes in one piece.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = String::with_capacity(text.len().saturating_add(1));
        for c in text.chars() {
            if moves(c) {
                line.push_str(&format!("\\u{:04x}", u32::from(c)));
            } else {
                line.push(c);
            }
        }
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Controls, line and paragraph separators, marks that turn the direction of text.
fn moves(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t41_an_event_is_one_line_whatever_stands_in_it() {
        let mut out = Vec::new();
        let mut lines = Lines(&mut out);
        for event in
            ["a\r\nb\x1b[2J\u{9b}31m\u{2028}c\u{202e}d\u{7}\u{7f}\n", "\u{e9}\u{2014} as it is\n"]
        {
            lines.write_all(event.as_bytes()).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "a\\u000d\\u000ab\\u001b[2J\\u009b31m\\u2028c\\u202ed\\u0007\\u007f\n\u{e9}\u{2014} as it is\n"
        );
    }
}
