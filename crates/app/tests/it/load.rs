//! Endings under load: no decision that began after an ending was acknowledged says yes (inv09).

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use comity_domain::command::Command;
use comity_domain::refusal::Reason;

use crate::site::{Site, cast, rounds};

const ASKING: usize = 3;

#[test]
fn inv09_revoke_under_load() {
    let rounds = rounds(if cfg!(debug_assertions) { 200 } else { 1_000 });
    // One partner may ask twenty times a day.
    let (w, cast) = cast(8.max(rounds.div_ceil(15)));
    let mut site = Site::of(w);
    let (yes, busy, after) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    for round in 0..rounds {
        let broker = &cast.brokers[round % cast.brokers.len()];
        let grant = site.grant(&cast, broker);
        let (token, session) = site.enter(broker, cast.harbour, grant);
        // Each way to end a stay; the revoke most often.
        let (by, ending) = match round % 6 {
            0..=2 => (&cast.by_boss, Command::Revoke { grant }),
            3 => (&cast.by_boss, Command::EndSession { session }),
            4 => (&broker.by_chief, Command::GiveUp { grant }),
            _ => (&broker.by_rita, Command::CloseSession { session }),
        };
        let (done, barrier) = (AtomicBool::new(false), Barrier::new(ASKING + 1));
        let (site, token, done, barrier) = (&site, &token, &done, &barrier);
        let (acknowledged, answers) = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..ASKING)
                .map(|_| {
                    scope.spawn(move || {
                        barrier.wait();
                        let mut told = Vec::new();
                        while !done.load(Ordering::Acquire) {
                            let began = Instant::now();
                            told.push((began, site.evaluate(token, "boats:read").reason));
                        }
                        told
                    })
                })
                .collect();
            barrier.wait();
            std::thread::sleep(Duration::from_micros((round as u64 * 37) % 1_500));
            site.must(by, ending);
            let acknowledged = Instant::now();
            std::thread::sleep(Duration::from_micros(500));
            done.store(true, Ordering::Release);
            (acknowledged, asking.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>())
        });
        for (began, reason) in answers {
            yes.fetch_add(u64::from(reason == Reason::Allowed), Ordering::Relaxed);
            busy.fetch_add(u64::from(reason == Reason::Busy), Ordering::Relaxed);
            if began > acknowledged {
                after.fetch_add(1, Ordering::Relaxed);
                assert_ne!(
                    reason,
                    Reason::Allowed,
                    "round {round}: a yes begun {:?} after the ending",
                    began - acknowledged
                );
                assert_ne!(reason, Reason::Busy, "round {round}");
            }
        }
        if round % 6 == 3 || round % 6 == 5 {
            site.must(&cast.by_boss, Command::Revoke { grant });
        }
    }
    let [yes, busy, after] = [yes, busy, after].map(AtomicU64::into_inner);
    println!("{rounds} rounds: {yes} yes, {busy} busy, {after} asked after the ending");
    assert!(yes > rounds as u64 && after > rounds as u64, "{yes} yes, {after} after the ending");
    site.check();
}
