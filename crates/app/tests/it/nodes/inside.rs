//! Two nodes in one process: what can be told apart without killing anybody.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use comity_app::app::{App, StartError};
use comity_app::clock::Clock;
use comity_app::lease::Lease;
use comity_app::node::{Done, NotDone};
use comity_domain::command::{Caller, Command};
use comity_domain::refusal::Reason;
use comity_store::postgres::{Server as Named, migrate};
use comity_store::{NodeId, Place, Store, StoreError};
use tempfile::TempDir;

use crate::link::{AtCommit, Link};
use crate::postgres::{Options, Server};
use crate::site::{Broker, Cast, Site, cast, lay_in, settings};

const LEASE: Lease = Lease { length_ms: 600, beat: Duration::from_millis(60) };
/// After how long an ending is answered at the latest: L(1 + 2 %) + 20 ms.
const RUN_OUT: Duration = Duration::from_millis(632);

pub struct Two {
    pub a: Site,
    pub b: Arc<App>,
    pub cast: Cast,
    pub links: [Link; 2],
    _folder: TempDir,
    pub url: String,
    pub server: Server,
}

pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn two() -> Two {
    let server = Server::start(Options::default());
    let url = server.fresh_database("two");
    let named = Named::parse(&url).unwrap();
    migrate(&named).unwrap();
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (w, cast) = cast(2);
    lay_in(&mut Store::at(&Place::Postgres(named, NodeId(1))).unwrap(), folder.path(), &w.rows);
    let clock = Arc::new(Clock::simulated(w.now));
    let links = [Link::to(server.port), Link::to(server.port)];
    let start = |folder: &TempDir, link: &Link| {
        let on = Named::parse(&link.url(&url)).unwrap();
        let mut settings = settings(folder.path()).on(on);
        settings.lease = LEASE;
        App::start(&settings, clock.clone()).unwrap()
    };
    let app = start(&folder, &links[0]);
    let (own, its) = (settings(folder.path()), settings(other.path()));
    std::fs::create_dir(&its.data).unwrap();
    std::fs::copy(&own.key_file, &its.key_file).unwrap();
    std::fs::copy(&own.checkpoints.key_file, &its.checkpoints.key_file).unwrap();
    let b = start(&other, &links[1]);
    eventually("both answer", || app.is_ready() && b.is_ready());
    let a = Site { app, clock, folder, w };
    Two { a, b, cast, links, _folder: other, url, server }
}

/// Sends a command from a thread; what came of it, and how long that took.
fn sent(
    app: &Arc<App>,
    by: &Caller,
    command: Command,
) -> std::thread::JoinHandle<(Result<Done, NotDone>, Duration)> {
    let (app, by) = (app.clone(), by.clone());
    std::thread::spawn(move || {
        let began = Instant::now();
        (app.node().run_blocking(by, command), began.elapsed())
    })
}

#[test]
fn g1_whoever_hears_that_something_is_over_already_waits_like_the_first() {
    let mut two = two();
    let grant = two.a.grant(&two.cast, &two.cast.brokers[0]);
    eventually("the other node follows", || two.b.state().grants.get(grant).is_some());
    // It goes on answering from what it had, for as long as its lease is good.
    two.b.node().faults().stuck.store(true, Ordering::Release);
    std::thread::sleep(Duration::from_millis(5));
    let revoke = Command::Revoke { grant };
    // What counts is that the other answers nothing any more when either hears it. How long that
    // takes runs from when the other's lease was last seen renewed, which may be a little before.
    let asked = |by: &Caller| {
        let (app, b, by, revoke) = (two.a.app.clone(), two.b.clone(), by.clone(), revoke.clone());
        std::thread::spawn(move || {
            let began = Instant::now();
            (app.node().run_blocking(by, revoke).is_ok(), b.is_current(), began.elapsed())
        })
    };
    let first = asked(&two.cast.by_boss);
    std::thread::sleep(Duration::from_millis(100));
    let again = asked(&two.cast.by_other);
    let (first, again) = (first.join().unwrap(), again.join().unwrap());
    two.b.node().faults().stuck.store(false, Ordering::Release);
    assert!(first.0 && !first.1 && first.2 >= RUN_OUT / 2, "{first:?}");
    assert!(!again.1 && again.2 >= RUN_OUT / 3, "answered before: {again:?}");
}

#[test]
fn g1_whoever_finds_that_somebody_was_quicker_waits_as_well() {
    let mut two = two();
    let grant = two.a.grant(&two.cast, &two.cast.brokers[0]);
    eventually("the other node follows", || two.b.state().grants.get(grant).is_some());
    two.b.node().faults().stuck.store(true, Ordering::Release);
    std::thread::sleep(Duration::from_millis(5));
    let before = two.a.app.state().seq;
    let first = sent(&two.a.app, &two.cast.by_boss, Command::Revoke { grant });
    eventually("it is written", || two.a.app.state().seq > before);
    // At a door that sees it over already, and has nothing to ask the writer.
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let over = runtime.block_on(two.a.app.over_everywhere());
    let (took, answers) = (began.elapsed(), two.b.is_current());
    two.b.node().faults().stuck.store(false, Ordering::Release);
    assert!(first.join().unwrap().0.is_ok() && over.is_ok());
    assert!(!answers && took >= RUN_OUT / 3, "answered before: {took:?}");
}

#[test]
fn n4_an_ending_is_answered_although_nobody_can_be_looked_at() {
    let mut two = two();
    let grant = two.a.grant(&two.cast, &two.cast.brokers[0]);
    two.b.node().faults().stuck.store(true, Ordering::Release);
    let revoke = sent(&two.a.app, &two.cast.by_boss, Command::Revoke { grant });
    let asked = two.a.app.state().seq;
    eventually("it is committed", || two.a.app.state().seq > asked || revoke.is_finished());
    two.links[0].stall(true);
    let began = Instant::now();
    eventually("it is answered", || revoke.is_finished());
    assert!(began.elapsed() < RUN_OUT + Duration::from_secs(4), "{:?}", began.elapsed());
    two.links[0].stall(false);
    two.b.node().faults().stuck.store(false, Ordering::Release);
    assert!(revoke.join().unwrap().0.is_ok());
}

#[test]
fn n4_nobody_waits_for_a_node_that_said_farewell() {
    let mut two = two();
    let grant = two.a.grant(&two.cast, &two.cast.brokers[0]);
    two.b.stop();
    assert!(!two.b.is_ready());
    let (done, took) =
        sent(&two.a.app, &two.cast.by_boss, Command::Revoke { grant }).join().unwrap();
    assert!(done.is_ok() && took < RUN_OUT, "{took:?}");
}

#[test]
fn n1_a_late_farewell_means_nobody_who_came_after() {
    let server = Server::start(Options::default());
    let named = Named::parse(&server.fresh_database("farewell")).unwrap();
    migrate(&named).unwrap();
    let place = Place::Postgres(named, NodeId(7));
    let (mut before, mut after) = (Store::at(&place).unwrap(), Store::at(&place).unwrap());
    assert!(before.renew(0).unwrap().head.is_some());
    assert!(after.renew(0).unwrap().head.is_some(), "it registers and renews");
    before.leave().unwrap();
    assert!(after.renew(0).unwrap().head.is_some(), "a farewell of the one before it ended it");
    // The one before, if it is still there, is no node any more: nobody would wait for it.
    let mut copied = Store::at(&place).unwrap();
    assert!(copied.renew(0).unwrap().head.is_some());
    assert!(after.renew(0).unwrap().head.is_none());
    assert!(matches!(after.renew(0), Err(StoreError::Corrupt { .. })));
    assert!(copied.renew(0).unwrap().head.is_some());
}

#[test]
fn t37_a_node_whose_clock_differs_from_the_databases_gives_no_answer() {
    let two = two();
    let folder = tempfile::tempdir().unwrap();
    let (own, its) = (settings(two.a.folder.path()), settings(folder.path()));
    std::fs::create_dir(&its.data).unwrap();
    std::fs::copy(&own.key_file, &its.key_file).unwrap();
    std::fs::copy(&own.checkpoints.key_file, &its.checkpoints.key_file).unwrap();
    let mut own = its.on(Named::parse(&two.url).unwrap());
    own.lease = LEASE;
    let clock = Arc::new(Clock::system());
    clock.be_wrong_by(-5_000);
    let app = App::start(&own, clock.clone()).unwrap();
    for _ in 0..50 {
        assert!(!app.is_ready(), "its clock is five seconds behind");
        std::thread::sleep(Duration::from_millis(10));
    }
    clock.be_wrong_by(0);
    eventually("it answers once the clock is right", || app.is_ready());
    clock.be_wrong_by(2_000);
    eventually("and stops when it goes wrong", || !app.is_ready());
    // Nor does it write: the time of the log never runs back, on any node.
    clock.be_wrong_by(3_600_000);
    let before = two.a.app.state().at;
    let own = app.node().run_blocking(Caller::system(), Command::NoteDue);
    assert!(matches!(own, Err(NotDone::Unavailable(_))), "{own:?}");
    std::thread::sleep(Duration::from_millis(300));
    assert!(two.a.app.state().at.0 - before.0 < 60_000);
}

#[test]
fn t52_a_commit_that_the_server_warned_of_is_not_done_before_it_is_confirmed() {
    let mut two = two();
    let grant = two.a.grant(&two.cast, &two.cast.brokers[0]);
    let (token, _) = two.a.enter(&two.cast.brokers[0], two.cast.harbour, grant);
    two.b.stop();
    let server = &two.server;
    let before = two.a.app.state();
    let standbys = |names: &str| {
        server.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        server.sql("postgres", "SELECT pg_reload_conf()");
    };
    // A standby that is not there: commits wait for it, and those that are told to stop waiting
    // are done here and nowhere else.
    standbys("missing");
    std::thread::sleep(Duration::from_millis(50));
    let revoke = sent(&two.a.app, &two.cast.by_boss, Command::Revoke { grant });
    let cancel =
        "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    eventually("it is answered", || {
        server.sql("postgres", cancel);
        assert_eq!(two.a.app.state().seq, before.seq, "what may yet be lost was shown");
        revoke.is_finished()
    });
    let (said, _) = revoke.join().unwrap();
    assert!(matches!(said, Err(NotDone::Unknown | NotDone::Unavailable(_))), "{said:?}");
    assert_eq!(two.a.evaluate(&token, "boats:read").reason, Reason::Stale);
    standbys("");
    eventually("it goes on", || two.a.app.is_ready());
    let over = two.a.app.state().seq > before.seq;
    let reason = two.a.evaluate(&token, "boats:read").reason;
    assert!(if over { reason == Reason::Revoked } else { reason != Reason::Revoked }, "{reason:?}");
    two.a.grant(&two.cast, &two.cast.brokers[1]);
}

#[test]
fn inv22_both_nodes_count_and_either_tells_the_sum() {
    let mut two = two();
    let broker: &Broker = &two.cast.brokers[0];
    let grant = two.a.grant(&two.cast, broker);
    let (token, session) = two.a.enter(broker, two.cast.harbour, grant);
    eventually("the other node follows", || two.b.state().sessions.get(session).is_some());
    let boats = two.a.w.boats;
    let mut yes = 0;
    for app in [&two.a.app, &two.b] {
        let mut said = 0;
        eventually_mut("forty answers", || {
            let answer = crate::site::evaluate(app, boats, token.reveal(), "boats:read");
            assert!(matches!(answer.reason, Reason::Allowed | Reason::Busy), "{answer:?}");
            said += u64::from(answer.is_yes());
            said == 40
        });
        yes += said;
    }
    for app in [&two.a.app, &two.b] {
        eventually("either tells the sum", || app.counts(session).total() == yes);
        assert!(!app.counts(session).at_most());
    }
}

fn eventually_mut(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_schema_newer_than_this_release_knows_is_refused() {
    let two = two();
    let database = two.url.rsplit('/').next().unwrap();
    two.server.sql(database, "UPDATE schema_version SET version = version + 1 WHERE version = (SELECT max(version) FROM schema_version)");
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path()).on(Named::parse(&two.url).unwrap());
    let refused = App::start(&settings, Arc::new(Clock::simulated(two.a.w.now))).unwrap_err();
    assert!(matches!(refused, StartError::Store(StoreError::TooNew { .. })), "{refused}");
}

#[test]
fn t52_a_server_that_goes_silent_holds_nobody_up_for_ever() {
    let mut two = two();
    let grant = two.a.grant(&two.cast, &two.cast.brokers[0]);
    let (token, _) = two.a.enter(&two.cast.brokers[0], two.cast.harbour, grant);
    let before = two.a.app.state().seq;
    two.links[0].at_commit(Some(AtCommit::Silent));
    let began = Instant::now();
    let revoke = sent(&two.a.app, &two.cast.by_boss, Command::Revoke { grant });
    eventually("the lease runs out", || !two.a.app.is_ready() || revoke.is_finished());
    assert!(began.elapsed() < RUN_OUT + Duration::from_secs(4));
    let (said, took) = revoke.join().unwrap();
    assert!(took < Duration::from_secs(8), "{took:?}");
    // The server had done it: either that was found out, or nobody says anything.
    assert!(matches!(said, Ok(_) | Err(NotDone::Unknown)), "{said:?}");
    eventually("it goes on", || two.a.app.is_ready());
    assert_eq!(two.a.app.state().seq, before + 1);
    assert_eq!(two.a.evaluate(&token, "boats:read").reason, Reason::Revoked);
    two.a.grant(&two.cast, &two.cast.brokers[1]);
}
