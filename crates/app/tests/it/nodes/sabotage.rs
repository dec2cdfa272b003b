//! Careless builds: each must be found out by the judge, and the build as it is must not, under
//! the same knobs. So the judge is proved too.

use std::time::Duration;

use comity_app::lease::Lease;
use comity_app::node::Sabotage;

use super::fleet::Fleet;
use super::micros;

fn lease(beat: u64) -> Lease {
    Lease { length_ms: 600, beat: Duration::from_millis(beat) }
}

/// Runs the rounds with the build as it is, then with a careless one: the first must give no wrong
/// yes, the other one has to.
fn found_out(
    name: &'static str,
    how: Sabotage,
    who: usize,
    beat: u64,
    rounds: usize,
    round: impl Fn(&mut Fleet) -> usize,
) {
    let mut fleet = Fleet::start(name, lease(beat), 2);
    for _ in 0..rounds.min(3) {
        assert_eq!(round(&mut fleet), 0, "the build as it is said a wrong yes");
        fleet.run.round();
    }
    fleet.nodes[who].must(&format!("sabotage {}", how as u8));
    let found = (0..rounds).any(|_| round(&mut fleet) > 0);
    assert!(found, "{how:?} was not found out");
    fleet.run.end();
}

/// Node 1 is cut off; node 0 ends something and answers when the lease has run out.
#[test]
fn t38_a_build_without_a_lease_is_found_out() {
    let name = "two nodes: a careless build without a lease is found out";
    found_out(name, Sabotage::NoLease, 1, 100, 3, |fleet| {
        let (grant, _, name) = fleet.session(0);
        fleet.nodes[1].link.stall(true);
        let from = micros();
        let said = fleet.nodes[0].must(&format!("revoke {grant}"));
        fleet.ended(&name, &said);
        std::thread::sleep(Duration::from_millis(100));
        fleet.nodes[1].link.stall(false);
        let wrong = fleet.judge(Some((1, from, micros())));
        fleet.eventually_ready();
        fleet.forget();
        wrong
    });
}

/// Node 1 hears nothing between its beats, and its row stands still because it only reads: node 0
/// buries it over the first ending and does not wait for it at the second.
#[test]
fn t38_a_build_that_renews_by_reading_is_found_out() {
    let name = "two nodes: a careless build that renews by reading is found out";
    found_out(name, Sabotage::RenewByReading, 1, 300, 8, |fleet| {
        let first = fleet.session(0);
        let second = fleet.session(0);
        fleet.nodes[1].must("deaf 1");
        for (grant, _, name) in [&first, &second] {
            let said = fleet.nodes[0].must(&format!("revoke {grant}"));
            fleet.ended(name, &said);
        }
        std::thread::sleep(Duration::from_millis(350));
        fleet.nodes[1].must("deaf 0");
        let wrong = fleet.judge(None);
        fleet.forget();
        wrong
    });
}

/// Node 1 tells with the next beat what it has applied, so its row lags behind while its lease is
/// good. Node 0 buries it by the time since the commit, and does not wait for it at the next ending.
#[test]
fn t38_a_build_that_buries_by_the_time_since_the_commit_is_found_out() {
    let name = "two nodes: a careless build that buries by the time since the commit is found out";
    found_out(name, Sabotage::DeadByCommitTime, 0, 450, 12, |fleet| {
        // One to come right behind a beat, one over which it is buried, and one after that.
        let sessions = [(); 3].map(|()| fleet.session(0));
        fleet.nodes[1].must("deaf 1");
        fleet.nodes[1].must("late 1");
        for (grant, _, name) in &sessions {
            let said = fleet.nodes[0].must(&format!("revoke {grant}"));
            fleet.ended(name, &said);
        }
        std::thread::sleep(Duration::from_millis(500));
        fleet.nodes[1].must("late 0");
        fleet.nodes[1].must("deaf 0");
        let wrong = fleet.judge(None);
        fleet.forget();
        wrong
    });
}
