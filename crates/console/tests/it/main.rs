//! The console, page by page.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)] // a test that fails loudly is a good test
#![allow(clippy::disallowed_methods, missing_docs)] // tests may look at the machine's clock, and say in their names what they show
#![allow(dead_code)] // the house is shared, and so is what starts a database

mod customer;
mod demo;
#[allow(unreachable_pub)] // shared with other crates' tests, as `postgres`
#[path = "../../../store/tests/support/engine.rs"]
mod engine;
mod first_run;
mod frame;
mod furnished;
mod giving;
mod house;
mod inbox;
mod invitation;
mod me;
mod operator;
mod portal;
#[allow(unreachable_pub)]
#[path = "../../../store/tests/support/postgres.rs"]
mod postgres;
mod records;
mod roles;
mod settings;
mod staying;
