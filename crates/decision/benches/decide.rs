//! The hot path with 100,000 live sessions and random tokens: `cargo bench -p comity-decision`.

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

use comity_decision::counter::Counter;
use comity_decision::decide::{Clocks, decide};
use comity_decision::index::Index;
use comity_domain::ids::{ApplicationId, Digest32, SessionId};
use comity_domain::permission::Permission;
use comity_domain::rights::{self, Compiled, Resource};
use comity_domain::role::Mode;
use comity_domain::time::Instant;
use criterion::{Criterion, criterion_group, criterion_main};

#[allow(dead_code, unreachable_pub)]
#[path = "../../domain/tests/it/world.rs"]
mod world;

const SESSIONS: u64 = 100_000;

struct Set {
    index: Index,
    tokens: Vec<Digest32>,
    application: ApplicationId,
    resource: Resource,
    now: Instant,
}

fn set() -> Set {
    let mut w = world::World::new();
    let (harbour, brokers) =
        (w.organisation("harbour", "Harbour"), w.organisation("brokers", "Brokers"));
    let roles = [
        w.role(harbour, "keeper", &["boats:*", "berths:read"]),
        w.role(harbour, "reader", &["*:read"]),
    ];
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let terms = w.terms(&roles);
    let grant = w.approve(&by_boss, request, terms);
    w.assign(&by_chief, grant, chief, &roles);
    let session = w.enter(&by_chief, harbour, Mode::Direct);
    let one = rights::compile(&w.state, session).unwrap();
    let like = |n: u64| Compiled {
        session: SessionId(u128::from(n)),
        token: Digest32::of(&n.to_be_bytes()),
        ..one.clone()
    };
    let index = Index::default();
    index.renew(i64::MAX, 0);
    index.follow((0..SESSIONS).map(like).collect(), 1, |_| Counter::new(u64::MAX / 2));
    // In an order that no cache can guess.
    let tokens = (0..SESSIONS)
        .map(|n| Digest32::of(&(n.wrapping_mul(48_271) % SESSIONS).to_be_bytes()))
        .collect();
    Set {
        index,
        tokens,
        application: one.application,
        resource: Resource::Organisation(harbour),
        now: w.now,
    }
}

fn benches(c: &mut Criterion) {
    let s = set();
    let [read, send, unknown] =
        ["boats:read", "money:send", "boats:read"].map(|p| Permission::parse(p).unwrap());
    let mut next = 0usize;
    let mut ask = |asked: Permission<'_>, token: Option<Digest32>| {
        next = (next + 1) % s.tokens.len();
        let token = token.unwrap_or(s.tokens[next]);
        let clocks = || Clocks { wall: s.now, boot: 0, drift: 0 };
        black_box(
            decide(&s.index, s.application, black_box(&token), asked, s.resource, clocks).reason,
        )
    };
    c.bench_function("decide/allowed, 100k sessions", |b| b.iter(|| ask(read, None)));
    c.bench_function("decide/no_role, 100k sessions", |b| b.iter(|| ask(send, None)));
    c.bench_function("decide/unknown token", |b| b.iter(|| ask(unknown, Some(Digest32([9; 32])))));
    let mut turn = 0u32;
    c.bench_function("decide/two yes, one no", |b| {
        b.iter(|| {
            turn = turn.wrapping_add(1);
            ask(if turn.is_multiple_of(3) { send } else { read }, None)
        });
    });
}

criterion_group!(name = all; config = Criterion::default().sample_size(50).measurement_time(std::time::Duration::from_secs(2)); targets = benches);
criterion_main!(all);
