//! How the index follows the log, and the answers that only a node gives: stale, and busy.

use comity_decision::counter::Counter;
use comity_decision::decide::{Clocks, decide};
use comity_decision::index::Index;
use comity_domain::command::Command;
use comity_domain::ids::{Digest32, GrantId, SessionId};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::{self, Compiled, Resource};
use comity_domain::role::Mode;
use comity_domain::time::MINUTE;

use crate::world::World;

struct Stay {
    w: World,
    grant: GrantId,
    by_boss: comity_domain::command::Caller,
    live: Compiled,
}

fn stay() -> Stay {
    let mut w = World::seeded(3);
    let (harbour, brokers) =
        (w.organisation("harbour", "Harbour"), w.organisation("brokers", "Brokers"));
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let terms = w.terms(&[keeper]);
    let grant = w.approve(&by_boss, request, terms);
    w.assign(&by_chief, grant, chief, &[keeper]);
    let session = w.enter(&by_chief, harbour, Mode::Direct);
    let live = rights::compile(&w.state, session).unwrap();
    Stay { w, grant, by_boss, live }
}

impl Stay {
    fn ask(&self, index: &Index, token: Digest32, boot: i64) -> Reason {
        let (asked, resource) =
            (Permission::parse("boats:read").unwrap(), Resource::Organisation(self.live.customer));
        let clocks = || Clocks { wall: self.w.now, boot, drift: 0 };
        decide(index, self.live.application, &token, asked, resource, clocks).reason
    }

    /// The same stay under another name.
    fn like(&self, n: u128) -> Compiled {
        let mut token = [0; 32];
        token[..16].copy_from_slice(&n.to_be_bytes());
        Compiled { session: SessionId(n), token: Digest32(token), ..self.live.clone() }
    }
}

#[test]
fn inv09_endings_are_seen_before_anything_new_of_the_same_batch() {
    let mut s = stay();
    let ids: Vec<u128> = (1..=9).collect();
    let index = Index::default();
    index.renew(i64::MAX, 0);
    index.follow(ids.iter().map(|n| s.like(*n)).collect(), 1, |_| Counter::new(256));
    let live = s.live.clone();
    s.w.must(&s.by_boss.clone(), Command::Revoke { grant: s.grant });
    let ended = rights::compile(&s.w.state, live.session).unwrap();
    assert_eq!(ended.rights, Err(Reason::Revoked));
    // New stays stand before, between and after the endings; a counter is asked for when a new one
    // is let in, and by then no ended one may say yes.
    let mut batch = Vec::new();
    for n in &ids {
        batch.push(s.like(100 + n));
        let over = s.like(*n);
        batch.push(Compiled { session: over.session, token: over.token, ..ended.clone() });
    }
    let asked = std::cell::Cell::new(0);
    index.follow(batch, 2, |new| {
        assert!(new.0 > 100, "only what is new gets a counter");
        for n in &ids {
            assert_eq!(
                s.ask(&index, s.like(*n).token, 0),
                Reason::Revoked,
                "{n} while {new} comes in"
            );
        }
        assert_eq!(index.seq(), 1, "not there yet");
        asked.set(asked.get() + 1);
        Counter::new(256)
    });
    assert_eq!((asked.get(), index.seq()), (9, 2));
    assert!(ids.iter().all(|n| s.ask(&index, s.like(100 + n).token, 0) == Reason::Allowed));
}

#[test]
fn a_change_of_rights_keeps_the_counter() {
    let s = stay();
    let index = Index::default();
    index.renew(i64::MAX, 0);
    index.follow(vec![s.like(1)], 1, |_| Counter::new(256));
    assert_eq!(s.ask(&index, s.like(1).token, 0), Reason::Allowed);
    index.follow(vec![s.like(1)], 2, |_| panic!("known already"));
    assert_eq!(s.ask(&index, s.like(1).token, 0), Reason::Allowed);
    assert_eq!(index.by_session(SessionId(1)).unwrap().counter.read().allowed, 2);
}

#[test]
fn what_the_state_has_forgotten_is_forgotten_by_token_and_by_session() {
    let s = stay();
    let index = Index::default();
    index.renew(i64::MAX, 0);
    index.follow((1..=6).map(|n| s.like(n)).collect(), 1, |_| Counter::new(256));
    index.retain(|id| id.0 % 2 == 0);
    for n in 1..=6 {
        let wanted = if n % 2 == 0 { Reason::Allowed } else { Reason::SessionUnknown };
        assert_eq!(s.ask(&index, s.like(n).token, 0), wanted);
        assert_eq!(index.by_session(SessionId(n)).is_some(), n % 2 == 0);
    }
    assert_eq!(index.entries().len(), 3);
}

#[test]
fn inv10_past_its_time_and_when_closed_the_index_says_stale_to_everything() {
    let s = stay();
    let index = Index::default();
    index.follow(vec![s.live.clone()], 1, |_| Counter::new(256));
    let (known, unknown) = (s.live.token, Digest32([1; 32]));
    assert_eq!(s.ask(&index, known, i64::MIN), Reason::Stale, "nobody has said that it is current");
    index.renew(1_000, 0);
    for (boot, wanted) in [
        (0, Reason::Allowed),
        (999, Reason::Allowed),
        (1_000, Reason::Stale),
        (i64::MAX, Reason::Stale),
    ] {
        assert_eq!(s.ask(&index, known, boot), wanted, "at {boot}");
        let other = if wanted == Reason::Stale { Reason::Stale } else { Reason::SessionUnknown };
        assert_eq!(s.ask(&index, unknown, boot), other);
    }
    index.close();
    assert_eq!(s.ask(&index, known, 0), Reason::Stale);
    index.renew(1_000, 0);
    assert_eq!(s.ask(&index, known, 0), Reason::Allowed);
    let counts = index.by_session(s.live.session).unwrap().counter.read();
    assert_eq!(
        (counts.allowed, counts.refused, counts.late),
        (3, 0, 0),
        "stale is part of no count"
    );
}

#[test]
fn t37_the_clocks_are_read_after_what_is_decided_upon() {
    let s = stay();
    let index = Index::default();
    index.follow(vec![s.live.clone()], 1, |_| Counter::new(256));
    index.renew(1_000, 0);
    let (asked, resource) =
        (Permission::parse("boats:read").unwrap(), Resource::Organisation(s.live.customer));
    let answer = decide(&index, s.live.application, &s.live.token, asked, resource, || {
        // Renewed while the answer was being made: it stays an answer from before.
        index.renew(5_000, 0);
        Clocks { wall: s.w.now, boot: 1_000, drift: 0 }
    });
    assert_eq!(answer.reason, Reason::Stale);
    let late = decide(&index, s.live.application, &s.live.token, asked, resource, || Clocks {
        wall: s.live.deadline,
        boot: 1_000,
        drift: 0,
    });
    assert_eq!((late.reason, late.late, late.at), (Reason::SessionExpired, true, s.live.deadline));
}

#[test]
fn t24_without_room_the_answer_is_busy_and_never_yes() {
    let mut s = stay();
    let index = Index::default();
    index.renew(i64::MAX, 0);
    index.follow(vec![s.live.clone()], 1, |_| Counter::new(3));
    let told: Vec<Reason> = (0..5).map(|_| s.ask(&index, s.live.token, 0)).collect();
    assert_eq!(
        told,
        [Reason::Allowed, Reason::Allowed, Reason::Allowed, Reason::Busy, Reason::Busy]
    );
    let entry = index.by_session(s.live.session).unwrap();
    entry.counter.grant(4);
    assert_eq!(s.ask(&index, s.live.token, 0), Reason::Allowed);
    assert_eq!(s.ask(&index, s.live.token, 0), Reason::Busy);
    assert_eq!(entry.counter.read().total(), 4);
    s.w.later(61 * MINUTE);
    assert_eq!(s.ask(&index, s.live.token, 0), Reason::SessionExpired, "a late call needs no room");
    assert_eq!(entry.counter.read().late, 1);
}
