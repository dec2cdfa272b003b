//! Tests of the HTTP API from outside: what a foreign program can send, and what it is answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test that fails loudly is a good test
#![allow(clippy::disallowed_methods, missing_docs)] // tests may look at the machine's clock, and say in their names what they show
#![allow(dead_code)] // the harness is shared, and some of it is read from another crate's tests

mod again;
#[allow(unreachable_pub)] // as `postgres`
#[path = "../../../app/tests/it/authenticator.rs"]
mod authenticator;
mod connections;
mod declared;
mod doors;
#[allow(unreachable_pub)] // shared with other crates' tests, as `postgres`
#[path = "../../../store/tests/support/engine.rs"]
mod engine;
mod harness;
mod imports;
mod limits;
mod matrix;
mod may_routes;
mod openapi;
#[allow(unreachable_pub)]
#[path = "../../../store/tests/support/postgres.rs"]
mod postgres;
mod scenarios;
mod stream;
mod timing;
mod town;
mod versions;
