//! May this session do this to that, now?
//!
//! - [`index`]: live sessions with their compiled rights, wait-free to read. It never interprets
//!   an event: whoever keeps the log hands it [`comity_domain::rights::Compiled`] sessions.
//! - [`decide`]: the hot path.
//! - [`counter`]: how calls are counted so that a crash may over-count and never under-counts.
//! - [`search`]: the same question about every candidate.
//! - [`mod@reference`]: slow and obvious, over the whole state, for tests to compare with.

pub mod counter;
pub mod decide;
pub mod index;
pub mod reference;
pub mod search;
