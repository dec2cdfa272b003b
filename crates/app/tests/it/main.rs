//! A whole installation on a real file, or on a PostgreSQL of the tests' own (`engine`): races,
//! broken commits, a stuck or dead writer, counting, restarts.

// A test that fails loudly is a good test; and a test reads the clock to know what came before what.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

mod again;
#[allow(unreachable_pub)] // shared with the API's tests
mod authenticator;
mod batch;
mod checker;
mod checkpoints;
mod clock_steps;
mod counting;
mod crash;
#[allow(dead_code, unreachable_pub)] // shared with other crates' tests, as `record`
#[path = "../../../store/tests/support/disk.rs"]
mod disk;
mod disk_faults;
#[allow(dead_code, unreachable_pub)] // as `disk`
#[path = "../../../store/tests/support/engine.rs"]
mod engine;
mod faults;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../store/tests/support/link.rs"]
mod link;
mod load;
mod mail;
mod nodes;
mod outbound;
#[allow(dead_code, unreachable_pub)] // as `disk`
#[path = "../../../store/tests/support/postgres.rs"]
mod postgres;
mod races;
#[allow(dead_code, unreachable_pub)]
#[path = "../../../store/tests/support/record.rs"]
mod record;
mod restart;
mod sign_in;
mod site;
mod snapshots;
mod team;
#[allow(dead_code, unreachable_pub)] // shared with the kernel's tests; not all of it is needed here
#[path = "../../../domain/tests/it/world.rs"]
mod world;
