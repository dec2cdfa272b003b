//! What breaks: a commit that fails after everything was applied, a writer that is stuck, stopped
//! or dead.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use comity_app::clock::boot_millis;
use comity_app::lease::Lease;
use comity_app::node::NotDone;
use comity_domain::command::Command;
use comity_domain::lock::LockTarget;
use comity_domain::permission::Permissions;
use comity_domain::refusal::Reason;
use comity_domain::role::Mode;

use crate::site::{Site, cast, code};

fn eventually(what: &str, within: Duration, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What somebody outside can see.
fn seen(site: &Site) -> (u64, u64, u64, usize, u64) {
    let head = site.app.reader().head().unwrap();
    let rows = site.app.reader().rows(None, 0, usize::MAX).unwrap().len();
    (
        site.app.state().seq,
        site.app.node().index().seq(),
        head.seq,
        rows,
        *site.app.node().moved().borrow(),
    )
}

#[test]
fn t39_inv27_a_commit_that_fails_leaves_no_trace_in_any_answer() {
    let (w, cast) = cast(2);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (token, session) = site.enter(broker, cast.harbour, grant);
    let (next, enter) = site.wish(cast.harbour, grant, Mode::ActAs);
    let ask = site.look().ask_spec(cast.brokers[1].organisation, cast.harbour);
    let target = LockTarget::Organisation(broker.organisation);
    let permissions = Permissions::parse("permissions", ["boats:paint"]).unwrap();
    let rotate =
        Command::RotateCustomerId { organisation: cast.harbour, code: site.app.fresh_code() };
    let known = site.app.reader().customer_id(cast.harbour).unwrap();
    let commands = [
        (broker.by_rita.clone(), enter),
        (cast.brokers[1].by_chief.clone(), Command::Ask(ask)),
        (
            site.w.provision(),
            Command::PutRole {
                organisation: cast.harbour,
                code: "new".into(),
                name: "New".into(),
                permissions,
            },
        ),
        (cast.by_boss.clone(), rotate),
        (broker.by_rita.clone(), Command::CloseSession { session }),
        (cast.by_boss.clone(), Command::Lock { customer: cast.harbour, target, reason: None }),
        (cast.by_boss.clone(), Command::Revoke { grant }),
    ];
    let faults = site.app.node().faults();
    for (caller, command) in commands {
        let (before, state) = (seen(&site), site.app.state());
        let [was_token, was_next] = [&token, &next].map(|t| site.evaluate(t, "boats:read").reason);
        faults.fail_commits.store(true, Ordering::Release);
        for _ in 0..3 {
            let failed = site.run(&caller, command.clone());
            assert!(matches!(failed, Err(NotDone::Unavailable(_))), "{command:?}: {failed:?}");
            assert_eq!(seen(&site), before, "{command:?}");
            assert!(*site.app.state() == *state, "{command:?} left a trace in the state");
            assert_eq!(site.evaluate(&token, "boats:read").reason, was_token, "{command:?}");
            assert_eq!(site.evaluate(&next, "boats:read").reason, was_next, "{command:?}");
        }
        if matches!(command, Command::RotateCustomerId { .. }) {
            assert_eq!(site.app.reader().customer_id(cast.harbour).unwrap(), known);
        }
        faults.fail_commits.store(false, Ordering::Release);
        let done = site.run(&caller, command.clone()).unwrap();
        assert_eq!(
            done.seq,
            before.0 + 1,
            "{command:?}: the same command, at the very next position"
        );
    }
    assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::SessionClosed);
    assert_eq!(site.evaluate(&next, "boats:read").reason, Reason::Locked);
    site.check();
}

#[test]
fn inv27_a_refusal_that_was_judged_by_a_failed_batch_is_not_answered_as_one() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let wishes: Vec<_> = (0..2).map(|_| site.wish(cast.harbour, grant, Mode::ActAs).1).collect();
    let batch: Vec<_> = wishes.into_iter().map(|w| (broker.by_rita.clone(), w)).collect();
    site.app.node().faults().fail_commits.store(true, Ordering::Release);
    for answer in site.in_one_batch(batch.clone()) {
        // The second would be `session_exists` because of the first, which never happened.
        assert!(matches!(answer, Err(NotDone::Unavailable(_))), "{answer:?}");
    }
    site.app.node().faults().fail_commits.store(false, Ordering::Release);
    let codes: Vec<&str> = site.in_one_batch(batch).iter().map(code).collect();
    assert_eq!(codes, ["ok", "session_exists"]);
    site.check();
}

#[test]
fn inv10_a_stuck_writer_lets_the_lease_run_out_and_answers_stop() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (token, _) = site.enter(broker, cast.harbour, grant);
    assert!(site.evaluate(&token, "boats:read").is_yes());
    let (node, lease) =
        (site.app.node(), Duration::from_millis(Lease::default().length_ms.unsigned_abs()));
    let ready = || boot_millis() < node.index().valid_until();
    assert!(ready());
    node.faults().stuck.store(true, Ordering::Release);
    let began = Instant::now();
    eventually("the lease runs out", lease + Duration::from_secs(1), || !ready());
    assert!(began.elapsed() > lease / 2, "not much before its time");
    assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::Stale);
    let before = site.app.counts(cast_session(&site, &token));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::Stale);
    assert_eq!(
        site.app.counts(cast_session(&site, &token)),
        before,
        "what is not answered is not counted"
    );
    node.faults().stuck.store(false, Ordering::Release);
    eventually("it recovers", Duration::from_secs(2), ready);
    assert!(site.evaluate(&token, "boats:read").is_yes());
    site.check();
}

fn cast_session(site: &Site, token: &comity_app::tokens::Secret) -> comity_domain::ids::SessionId {
    site.app.state().session_by_token(token.digest()).unwrap()
}

#[test]
fn inv10_after_a_stop_every_answer_is_stale_and_no_command_is_taken() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (token, session) = site.enter(broker, cast.harbour, grant);
    let site = &site;
    std::thread::scope(|scope| {
        let told = scope.spawn(|| {
            let mut yes = 0u64;
            loop {
                match site.evaluate(&token, "boats:read").reason {
                    Reason::Allowed => yes += 1,
                    Reason::Stale => return yes,
                    _ => {}
                }
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        site.app.stop();
        for _ in 0..500 {
            assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::Stale);
        }
        let yes = told.join().unwrap();
        assert_eq!(site.app.counts(session).allowed, yes);
    });
    let refused = site.run(&cast.by_boss, Command::Revoke { grant });
    assert!(matches!(refused, Err(NotDone::Unavailable(_))), "{refused:?}");
    site.app.stop(); // twice is once
}

#[test]
fn a_writer_that_panics_closes_the_node() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (token, _) = site.enter(broker, cast.harbour, grant);
    assert!(site.evaluate(&token, "boats:read").is_yes());
    site.app.node().faults().panic.store(true, Ordering::Release);
    eventually("no answer any more", Duration::from_secs(2), || {
        site.evaluate(&token, "boats:read").reason == Reason::Stale
    });
    assert!(boot_millis() >= site.app.node().index().valid_until(), "not ready");
    for _ in 0..3 {
        let failed = site.run(&cast.by_boss, Command::Revoke { grant });
        assert!(matches!(failed, Err(NotDone::Unavailable(_) | NotDone::Unknown)), "{failed:?}");
        assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::Stale);
    }
    // A new start finds everything as it was acknowledged.
    let site = site.again();
    assert!(site.evaluate(&token, "boats:read").is_yes());
    site.must(&cast.by_boss, Command::Revoke { grant });
    assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::Revoked);
    site.check();
}
