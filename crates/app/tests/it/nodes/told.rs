//! What is told outside waits until no node can say otherwise (T16).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use comity_app::app::App;
use comity_app::streams::Fetch;
use comity_domain::command::{Caller, Command};
use comity_domain::ids::StreamId;
use comity_domain::stream::{StreamKind, StreamSpec};

use super::inside::{eventually, two};

/// The names of what a stream is given at once; `None` where the node cannot know.
fn fetched(app: &Arc<App>, by: &Caller, stream: StreamId) -> Option<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let what = Fetch { most: 100, ..Fetch::default() };
    let found = runtime.block_on(app.fetch(by, stream, what)).ok()?;
    Some(found.sets.into_iter().map(|(jti, _)| jti).collect())
}

/// A writer that stands still; it goes on in the end, whatever happened.
struct Stuck(Arc<App>);

impl Stuck {
    fn new(app: &Arc<App>) -> Self {
        app.node().faults().stuck.store(true, Ordering::Release);
        std::thread::sleep(Duration::from_millis(5));
        Self(app.clone())
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.node().faults().stuck.store(false, Ordering::Release);
    }
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
    let (mut seen, mut told) = (0, 0);
    // A machine that is busy with other things may come too late to see anything.
    for _ in 0..8 {
        let (_, session) = two.a.enter(&two.cast.brokers[0], two.cast.harbour, grant);
        let ended =
            |app: &Arc<App>| app.state().sessions.get(session).is_some_and(|s| s.ended().is_some());
        let follows = || two.b.state().sessions.get(session).is_some() && two.b.is_current();
        eventually("the other node follows", follows);
        // It goes on answering from what it had, for as long as its lease is good.
        let stuck = Stuck::new(&two.b);
        let (app, by) = (two.a.app.clone(), two.cast.by_boss.clone());
        let end = move || app.node().run_blocking(by, Command::EndSession { session });
        let end = std::thread::spawn(end);
        eventually("it is committed", || ended(&two.a.app));
        let early = fetched(&two.a.app, &decide, stream);
        if let Some(early) = early.filter(|_| two.b.is_current() && !end.is_finished()) {
            seen += 1;
            assert_eq!(early.len(), told, "told while the other could say yes");
        }
        eventually("it is answered", || end.is_finished());
        drop(stuck);
        assert!(end.join().unwrap().is_ok());
        told += 1;
        let all = || fetched(&two.a.app, &decide, stream).is_some_and(|all| all.len() == told);
        eventually("it is told", all);
        if seen > 1 {
            break;
        }
    }
    assert!(seen > 0, "too late each time");
    // Either node gives out the same.
    let same = || {
        let own = fetched(&two.a.app, &decide, stream);
        own.is_some() && fetched(&two.b, &decide, stream) == own
    };
    eventually("the other gives out the same", same);
}
