//! A whole installation on a real file: races, broken commits, a stuck or dead writer, counting,
//! restarts.

// A test that fails loudly is a good test; and a test reads the clock to know what came before what.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

mod batch;
mod checker;
mod checkpoints;
mod counting;
mod crash;
mod faults;
mod load;
mod races;
mod restart;
mod site;
mod snapshots;
#[allow(dead_code, unreachable_pub)] // shared with the kernel's tests; not all of it is needed here
#[path = "../../../domain/tests/it/world.rs"]
mod world;
