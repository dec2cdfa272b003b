//! The promises of `comity_store`, one test for each sentence of its `lib.rs`, and what stands
//! beside them: the codec and its corpus, the verification, the file of calls.

// A test that fails loudly is a good test; and a test reads the clock to give up waiting.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

mod again;
mod calls;
mod chance;
mod codec;
mod contract;
mod corpus;
#[allow(dead_code, unreachable_pub)] // shared with other crates' tests, as the next two
#[path = "../support/disk.rs"]
mod disk;
mod engines;
mod erasure;
mod export;
mod follow;
mod histories;
#[allow(dead_code, unreachable_pub)]
#[path = "../support/link.rs"]
mod link;
#[allow(dead_code, unreachable_pub)] // shared with the kernel's tests, as `world`
#[path = "../../../domain/tests/it/model/mod.rs"]
mod model;
mod notices;
mod outbox;
mod own_postgres;
mod own_tools;
#[allow(dead_code, unreachable_pub)]
#[path = "../support/postgres.rs"]
mod postgres;
mod postgres_promises;
#[allow(dead_code, unreachable_pub)]
#[path = "../support/record.rs"]
mod record;
mod server_faults;
mod story;
mod tamper;
#[allow(dead_code, unreachable_pub)] // shared with the kernel's tests; not all of it is needed here
#[path = "../../../domain/tests/it/world.rs"]
mod world;
