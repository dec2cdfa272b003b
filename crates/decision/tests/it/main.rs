//! The hot path against the slow and obvious reference, after random histories; and how the index
//! follows.

// A test that fails loudly is a good test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

mod histories;
mod history;
mod index;
mod own;
mod takes_away;
#[allow(dead_code, unreachable_pub)] // shared with the kernel's tests; not all of it is needed here
#[path = "../../../domain/tests/it/world.rs"]
mod world;
