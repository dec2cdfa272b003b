//! The binary as others meet it: its commands, the README's tour, a crash, its documents.

// A test reads the clock to say how long it took.
#![allow(clippy::disallowed_methods)]

mod binary;
mod browser;
mod canary;
mod carry;
mod doctor;
mod documents;
mod examples;
mod first_run;
#[allow(dead_code)] // each file of it takes what it needs
mod foreign;
mod guard;
mod kill;
mod load;
mod metrics;
#[allow(dead_code)] // shared with other crates' tests
#[path = "../../../store/tests/support/postgres.rs"]
mod own_postgres;
mod postgres;
mod process;
#[allow(dead_code, unreachable_pub)] // shared with other crates' tests
#[path = "../../../store/tests/support/record.rs"]
mod record;
mod stopping;
mod tour;
