//! Tests of the domain from outside: only what other crates can use.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code)] // the fixture is shared: not every test uses each helper

mod agreement;
mod auto;
mod check;
mod direct;
mod erasure;
mod factors;
mod first_run;
mod halts;
mod may;
mod model;
mod notices;
mod often;
mod outside;
mod replay;
mod scenarios;
mod signing;
mod snapshot;
mod streams;
mod webhooks;
mod world;
