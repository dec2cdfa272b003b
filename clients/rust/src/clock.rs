//! Where this library reads the clock, and draws what is random. Nowhere else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970, UTC.
#[expect(clippy::disallowed_methods, reason = "the edge of a library that has no other clock")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// An instant for measuring how long something takes.
#[expect(clippy::disallowed_methods, reason = "the edge of a library that has no other clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// What is left until then.
pub(crate) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(instant())
}

/// An identifier for one request. Without randomness it is a plain word, which does no harm.
#[expect(clippy::disallowed_methods, reason = "the edge of a library that has no other chance")]
pub(crate) fn request_id() -> String {
    let mut bytes = [0_u8; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        Err(_) => "unnamed".to_owned(),
    }
}
