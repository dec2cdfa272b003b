//! What was acknowledged is there after a restart, and goes on.

use std::sync::Arc;

use comity_app::app::{App, StartError, database};
use comity_app::clock::Clock;
use comity_domain::command::{Command, Door};
use comity_domain::refusal::Reason;
use comity_domain::time::DAY;
use comity_store::StoreError;

use crate::engine;
use crate::site::{Site, cast, place, settings};

#[test]
fn inv24_a_restart_replays_to_an_equal_state_and_sessions_go_on() {
    let (w, cast) = cast(3);
    let mut site = Site::of(w);
    let grants: Vec<_> = cast.brokers.iter().map(|b| site.grant(&cast, b)).collect();
    let stays: Vec<_> =
        cast.brokers.iter().zip(&grants).map(|(b, g)| site.enter(b, cast.harbour, *g)).collect();
    site.must(&cast.by_boss, Command::Revoke { grant: grants[1] });
    let before = site.app.state();
    for _ in 0..3 {
        site = site.again();
        assert!(*site.app.state() == *before);
        let reasons: Vec<Reason> =
            stays.iter().map(|(t, _)| site.evaluate(t, "boats:read").reason).collect();
        assert_eq!(reasons, [Reason::Allowed, Reason::Revoked, Reason::Allowed]);
        assert!(
            site.app.caller(stays[0].0.reveal(), Door::Api).is_some(),
            "the token still says who calls"
        );
        assert!(site.app.caller(stays[1].0.reveal(), Door::Api).is_none());
    }
    site.must(&cast.by_boss, Command::Revoke { grant: grants[0] });
    site = site.again();
    assert_eq!(site.evaluate(&stays[0].0, "boats:read").reason, Reason::Revoked);
    site.check();
}

#[test]
fn a_second_node_on_the_same_folder_does_not_start() {
    let (w, _) = cast(1);
    let site = Site::of(w);
    let second = App::start(&settings(site.folder.path()), Arc::new(Clock::simulated(site.w.now)));
    assert!(matches!(second, Err(StartError::Store(StoreError::InUse(_)))), "{second:?}");
    site.check();
}

#[test]
fn t40_a_log_whose_end_was_cut_off_does_not_start() {
    let (w, _) = cast(1);
    let site = Site::of(w);
    site.app.stop();
    let Site { app, folder, w, .. } = site;
    drop(app);
    let mut store = comity_store::Store::at(&place(folder.path())).unwrap();
    let head = store.head().unwrap().seq;
    assert_eq!(head, w.rows.len() as u64);
    // A row beyond what the kernel wrote would be refused; a head that says more than there is, too.
    assert!(
        store
            .append(&[(w.rows[0].clone(), Vec::new())], &mut comity_domain::ids::Ids::new([1; 32]))
            .is_err()
    );
    drop(store);
    if engine::on_postgres() {
        engine::alter(folder.path(), "DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)");
    } else {
        let path = database(&folder.path().join("data"));
        std::fs::write(path, b"this is no database").unwrap();
    }
    let broken = App::start(&settings(folder.path()), Arc::new(Clock::simulated(w.now)));
    assert!(matches!(broken, Err(StartError::Store(_))), "{broken:?}");
}

#[test]
fn t37_a_clock_that_was_set_back_while_the_node_was_away_revives_nothing() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (token, _) = site.enter(broker, cast.harbour, grant);
    site.clock.set(site.w.now.plus(DAY / 2));
    assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::SessionExpired);
    site.must(
        &site.w.provision(),
        Command::RemoveMember { organisation: cast.harbour, external: "other".into() },
    );
    // The world's own clock still stands at the morning.
    let site = site.again();
    assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::SessionExpired);
    assert!(site.app.now() >= site.app.state().at);
}
