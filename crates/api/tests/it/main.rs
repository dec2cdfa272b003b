//! Tests of the HTTP API from outside: what a foreign program can send, and what it is answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test that fails loudly is a good test
#![allow(clippy::disallowed_methods, missing_docs)] // tests may look at the machine's clock, and say in their names what they show
#![allow(dead_code)] // the harness is shared, and some of it is read from another crate's tests

mod doors;
mod harness;
mod may_routes;
mod scenarios;
mod town;
