//! Two nodes that write and answer all the time, and one harm after the other.

use std::time::Duration;

use comity_app::calls::BLOCK;
use comity_app::lease::Lease;
use comity_domain::session::CALLS_RESERVED;

use super::fleet::Fleet;
use super::micros;
use crate::link::AtCommit;
use crate::record::rounds;

/// How long others may be delayed by a node that holds the head and does not move.
const MOST_DELAY: Duration = Duration::from_secs(2);

/// Numbers that differ from run to run only by the round.
fn chance(round: u64, of: u64, most: u64) -> u64 {
    (round * 7 + of * 13 + 5).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) % most
}

fn millis(n: u64) {
    std::thread::sleep(Duration::from_millis(n));
}

#[test]
fn t38_t39_two_nodes_keep_their_promises_whatever_breaks() {
    let lease = Lease { length_ms: 600, beat: Duration::from_millis(90) };
    let mut fleet = Fleet::start("two nodes: G1 to G4 under every harm, both writing", lease, 2);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds(18) {
        let (on, harmed) = (chance(round, 1, 2) as usize, chance(round, 2, 2) as usize);
        let other = 1 - harmed;
        let (grant, session, name) = fleet.session(on);
        let until = micros() + 900_000;
        for (n, node) in fleet.nodes.iter().enumerate() {
            drop(node.tell(&format!("load load{n} {until}")));
        }
        millis(chance(round, 3, 30));
        let mut cut = None;
        let ending =
            if round % 2 == 0 { format!("revoke {grant}") } else { format!("end {session}") };
        match round % 9 {
            0 => {
                fleet.nodes[harmed].freeze();
                let said = fleet.nodes[other].ask(&ending);
                slowest = slowest.max(said.took());
                fleet.ended(&name, &said);
                millis(chance(round, 4, 100));
                fleet.nodes[harmed].thaw();
            }
            1 => {
                fleet.nodes[harmed].kill();
                let said = fleet.nodes[other].ask(&ending);
                fleet.ended(&name, &said);
                fleet.nodes[harmed].start();
            }
            2 | 3 => {
                let link = &fleet.nodes[harmed].link;
                if round % 9 == 2 {
                    link.refuse(true);
                    link.cut();
                } else {
                    link.stall(true);
                }
                let from = micros();
                let said = fleet.nodes[other].ask(&ending);
                fleet.ended(&name, &said);
                millis(200);
                cut = Some((harmed, from, micros()));
                fleet.nodes[harmed].link.refuse(false);
                fleet.nodes[harmed].link.stall(false);
            }
            4 => {
                fleet.nodes[harmed].link.drop_notifications(true);
                let said = fleet.nodes[other].ask(&ending);
                fleet.ended(&name, &said);
                fleet.nodes[harmed].link.drop_notifications(false);
            }
            5 => {
                let told = fleet.nodes[other].tell(&ending);
                millis(chance(round, 5, 20));
                fleet.server.kill_9();
                millis(chance(round, 6, 300));
                fleet.server.restart();
                if let Ok(said) = told.recv_timeout(Duration::from_secs(20)) {
                    fleet.ended(&name, &said);
                }
            }
            6 => {
                fleet.nodes[harmed].must("deaf 1");
                fleet.nodes[harmed].must("late 1");
                let said = fleet.nodes[other].ask(&ending);
                fleet.ended(&name, &said);
                millis(100);
                fleet.nodes[harmed].must("late 0");
                fleet.nodes[harmed].must("deaf 0");
            }
            7 => {
                let what = [AtCommit::CutBefore, AtCommit::CutAfter][chance(round, 7, 2) as usize];
                fleet.nodes[harmed].link.at_commit(Some(what));
                let said = fleet.nodes[harmed].ask(&ending);
                fleet.ended(&name, &said);
                fleet.nodes[harmed].link.at_commit(None);
            }
            _ => {
                // The two end the same thing at once.
                let both: Vec<_> = fleet.nodes.iter().map(|n| n.tell(&ending)).collect();
                for told in both {
                    let said = told.recv_timeout(Duration::from_secs(20)).unwrap();
                    fleet.ended(&name, &said);
                }
            }
        }
        millis(100);
        let wrong = fleet.judge(cut);
        (0..wrong).for_each(|_| fleet.run.wrong_yes(true));
        fleet.eventually_ready();
        fleet.forget();
        fleet.run.round();
    }
    let most = MOST_DELAY + Duration::from_millis(900);
    assert!(slowest < most, "an ending beside a frozen node took {slowest:?}");
    millis(1_000); // until nobody writes any more
    fleet.check();
    for node in &mut fleet.nodes {
        node.stop();
    }
    let Fleet { run, .. } = fleet;
    run.end();
}

/// Both nodes are asked about one session, and one of them is killed: what it answered is counted,
/// and at most what it had reserved beyond that (inv22, T24).
#[test]
fn t24_inv22_a_killed_node_over_counts_and_never_under_counts() {
    let lease = Lease { length_ms: 600, beat: Duration::from_millis(90) };
    let mut fleet = Fleet::start("two nodes: counting, kill -9 of one", lease, 2);
    for round in 0..rounds(3) {
        let (_, session, name) = fleet.session(0);
        let others = [fleet.session(0), fleet.session(0)];
        millis(150 + chance(round, 1, 200));
        fleet.nodes[1].kill();
        // The first ending finds it gone, and the second declares it dead.
        for (grant, ..) in &others {
            fleet.nodes[0].must(&format!("revoke {grant}"));
        }
        fleet.forget_on(0);
        let answered: u64 = {
            let history = fleet.history.lock().unwrap();
            (0..2).filter_map(|n| history.counted.get(&(name.clone(), n))).sum()
        };
        let most = answered + 2 * (BLOCK + CALLS_RESERVED + 1);
        for again in [false, true] {
            if again {
                fleet.nodes[1].start();
                fleet.eventually_ready();
            }
            for node in &fleet.nodes[..=usize::from(again)] {
                let said = node.must(&format!("counts {session}"));
                let total: u64 = said.words[1].parse().unwrap();
                fleet.run.under_counted(total < answered);
                assert!(total <= most, "{total} for {answered} answers");
                assert_eq!(said.words[2], "true", "the history has to say that it is a bound");
            }
        }
        fleet.judge(None);
        fleet.run.round();
    }
    let Fleet { run, .. } = fleet;
    run.end();
}
