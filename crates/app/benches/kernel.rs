//! Copy-and-apply on a grown state: what one batch costs the writer besides its commit.
//! `cargo bench -p comity-app --bench kernel`.

// A benchmark that cannot be set up should say so loudly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

use std::hint::black_box;

use comity_domain::command::{Caller, Command};
use comity_domain::ids::{CommandId, Ids};
use comity_domain::kernel;
use comity_domain::rights;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

#[allow(dead_code)] // shared with `foundation`
mod grown;
#[allow(dead_code, unreachable_pub)]
#[path = "../../domain/tests/it/world.rs"]
mod world;

fn benches(c: &mut Criterion) {
    let (w, mut stage) = grown::stage(20);
    let mut state = w.state.clone();
    for _ in 0..10_000 {
        kernel::apply(&mut state, &stage.member());
    }
    for n in 0..200_000 {
        kernel::apply(&mut state, &stage.assigned(n));
    }
    let mut sessions = Vec::new();
    for n in 0..100_000 {
        let (session, row) = stage.started(n);
        kernel::apply(&mut state, &row);
        sessions.push(session);
    }
    let batch: Vec<_> = (0..30).map(|n| stage.ended(sessions[n * 3_000])).collect();
    c.bench_function("copy the state", |b| b.iter(|| black_box(state.clone())));
    c.bench_function("copy and apply 30 events", |b| {
        b.iter_batched(
            || (),
            |()| {
                let mut copy = state.clone();
                for row in &batch {
                    black_box(kernel::apply(&mut copy, row));
                }
                copy
            },
            BatchSize::PerIteration,
        );
    });
    let mut n = 0;
    c.bench_function("compile one session", |b| {
        b.iter(|| {
            n = (n + 7_919) % sessions.len();
            black_box(rights::compile(&state, sessions[n]))
        });
    });
    let mut ids = Ids::new([1; 32]);
    c.bench_function("decide one command (seal calls)", |b| {
        b.iter(|| {
            let seal = Command::SealCalls {
                segment: 1,
                records: 1,
                digest: comity_domain::ids::Digest32([0; 32]),
            };
            black_box(
                kernel::decide(&state, &Caller::system(), CommandId(1), seal, stage.at, &mut ids)
                    .unwrap()
                    .row,
            )
        });
    });
}

criterion_group!(name = all; config = Criterion::default().sample_size(30).measurement_time(std::time::Duration::from_secs(2)); targets = benches);
criterion_main!(all);
