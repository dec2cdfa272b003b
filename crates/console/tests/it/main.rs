//! The console from outside: what a browser can send, and what it is shown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test that fails loudly is a good test
#![allow(clippy::disallowed_methods, missing_docs)] // tests say in their names what they show
#![allow(dead_code)] // each file of it takes what it needs

#[allow(unreachable_pub)] // shared with other crates' tests, as `postgres`
#[path = "../../../store/tests/support/engine.rs"]
mod engine;
mod frame;
mod house;
mod inbox;
#[allow(unreachable_pub)]
#[path = "../../../store/tests/support/postgres.rs"]
mod postgres;
