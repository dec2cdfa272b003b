//! What is told outside waits until no node can say otherwise (T16).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use comity_app::app::App;
use comity_app::streams::{Fetch, Fetched};
use comity_domain::command::{Caller, Command};
use comity_domain::ids::StreamId;
use comity_domain::stream::{StreamKind, StreamSpec};

use super::inside::{eventually, two};

/// What a stream is given at once.
fn fetched(app: &Arc<App>, by: &Caller, stream: StreamId) -> Fetched {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let what = Fetch { most: 10, ..Fetch::default() };
    runtime.block_on(app.fetch(by, stream, what)).expect("current, and allowed")
}

#[test]
fn t16_nobody_fetches_an_ending_to_which_another_node_could_still_say_yes() {
    let mut two = two();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(two.a.app.tend_signing_keys()).unwrap();
    let decide = two.a.look().decide();
    let spec =
        StreamSpec { kinds: Some(vec![StreamKind::SessionRevoked]), ..StreamSpec::default() };
    let made = two.a.must(&decide, Command::MakeStream { spec });
    let stream = made.state.stream_of(two.a.w.boats).unwrap();
    let grant = two.a.grant(&two.cast, &two.cast.brokers[0]);
    let (_, session) = two.a.enter(&two.cast.brokers[0], two.cast.harbour, grant);
    eventually("the other node follows", || two.b.state().sessions.get(session).is_some());
    // It goes on answering from what it had, for as long as its lease is good.
    two.b.node().faults().stuck.store(true, Ordering::Release);
    std::thread::sleep(Duration::from_millis(5));
    let (app, by) = (two.a.app.clone(), two.cast.by_boss.clone());
    let revoke = std::thread::spawn(move || app.node().run_blocking(by, Command::Revoke { grant }));
    let ended = |app: &Arc<App>| app.state().sessions.get(session).unwrap().ended().is_some();
    eventually("it is committed", || ended(&two.a.app));
    let early = fetched(&two.a.app, &decide, stream);
    let still_held = two.b.is_current() && !revoke.is_finished();
    assert!(!still_held || early.sets.is_empty(), "told while the other could say yes");
    assert!(still_held, "the test came too late to see anything");
    eventually("it is answered", || revoke.is_finished());
    assert!(revoke.join().unwrap().is_ok());
    assert!(!two.b.is_current());
    eventually("it is told", || fetched(&two.a.app, &decide, stream).sets.len() == 1);
    two.b.node().faults().stuck.store(false, Ordering::Release);
    // Either node gives out the same.
    eventually("the other is back", || two.b.is_current() && ended(&two.b));
    let names = |f: Fetched| f.sets.into_iter().map(|(jti, _)| jti).collect::<Vec<_>>();
    let own = names(fetched(&two.a.app, &decide, stream));
    assert_eq!(names(fetched(&two.b, &decide, stream)), own);
}
