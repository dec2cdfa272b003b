//! PostgreSQL that dies, and a link to it that breaks, under a writer that never rests: what was
//! confirmed is there, what was called not written is not, and what was unknown is settled before
//! anything else is written (T39, T52).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use comity_domain::event::Row;
use comity_domain::ids::CommandId;
use comity_store::postgres::{Server as Named, migrate};
use comity_store::{AppendError, NodeId, Place, Store};

use crate::link::{AtCommit, Link};
use crate::postgres::{Options, Server};
use crate::record::{Run, rounds};
use crate::story::{alone, odd_rows, read_all, salts};

/// Rows without end, each with a command of its own.
fn row(seq: u64, command: u128) -> Row {
    let odd = odd_rows(0, comity_domain::time::Instant(1_700_000_000_000));
    let row = odd[usize::try_from(seq).unwrap() % odd.len()].clone();
    Row { seq, command: CommandId(command), at: comity_domain::time::Instant(1), ..row }
}

/// What a writer knows of what it wrote.
#[derive(Default)]
struct Books {
    /// Of each row by its position, which command it has to hold.
    confirmed: Vec<u128>,
    /// Commands of which the store said that they were not written, and that stand nowhere.
    undone: Vec<u128>,
}

/// Writes two rows at a time until it is told to stop, as the node does: after an unknown outcome
/// nothing is written before it is settled.
fn write(store: &mut Store, books: &mut Books, run: &Run, over: &AtomicBool, written: &AtomicU64) {
    static COMMAND: AtomicU64 = AtomicU64::new(1);
    while !over.load(Ordering::Acquire) {
        let after = books.confirmed.len() as u64;
        let commands = [0, 1].map(|_| u128::from(COMMAND.fetch_add(1, Ordering::Relaxed)));
        let batch = [row(after + 1, commands[0]), row(after + 2, commands[1])];
        match store.append(&alone(&batch), &mut salts()) {
            Ok(head) => {
                assert_eq!(head.seq, after + 2);
                run.acknowledged(2);
                books.confirmed.extend(commands);
                written.fetch_add(1, Ordering::AcqRel);
            }
            Err(AppendError::NotWritten(_)) => {
                books.undone.extend(commands);
                let _ = store.reconnect();
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(AppendError::Unknown(_)) => {
                run.unknown(2);
                let head = loop {
                    match store.settle() {
                        Ok(head) => break head,
                        Err(_) => std::thread::sleep(Duration::from_millis(5)),
                    }
                };
                run.lost(head.seq < after); // a confirmed row is gone
                run.came_back(head.seq > after && head.seq != after + 2); // half, or somebody's
                if head.seq == after + 2 {
                    assert!(store.find_command(after + 2, batch[1].command).unwrap());
                    books.confirmed.extend(commands);
                } else {
                    books.undone.extend(commands);
                }
            }
        }
    }
}

/// Everything that was confirmed stands where it was confirmed, and nothing else does.
fn check(store: &mut Store, books: &Books, run: &Run) {
    let rows = read_all(store);
    let there: Vec<u128> = rows.iter().map(|row| row.command.0).collect();
    let same = books.confirmed.iter().zip(&there).take_while(|(a, b)| a == b).count();
    run.lost(same < books.confirmed.len());
    run.came_back(there.len() > books.confirmed.len());
    let undone: std::collections::BTreeSet<u128> = books.undone.iter().copied().collect();
    run.came_back(there.iter().any(|command| undone.contains(command)));
    let mut edge = comity_store::Edge::new();
    let head = store.head().unwrap();
    store.read_on(&mut edge, head.seq, |_| Ok(())).unwrap();
    assert_eq!(edge.root(), head.root, "the rows have another root");
}

/// Lets the writer write, does harm between two looks, and waits until it writes again.
fn rounds_of(name: &'static str, how_many: u64, mut harm: impl FnMut(u64, &mut Server, &Link)) {
    let run = Run::begin(name);
    // Without fsync: what dies is the server and not the machine, and a start after a crash would
    // flush every file first.
    let mut server = Server::start(Options::default());
    let link = Link::to(server.port);
    let url = link.url(&server.fresh_database("faults"));
    let named = Named::parse(&url).unwrap();
    migrate(&named).unwrap();
    let mut store = Store::at(&Place::Postgres(named, NodeId(1))).unwrap();
    let (mut books, over, written) = (Books::default(), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        let writing = threads.spawn(|| {
            write(&mut store, &mut books, &run, &over, &written);
        });
        for round in 0..how_many {
            goes_on(&written);
            harm(round, &mut server, &link);
            goes_on(&written);
            run.round();
        }
        over.store(true, Ordering::Release);
        writing.join().unwrap();
    });
    check(&mut store, &books, &run);
    run.end();
}

fn goes_on(written: &AtomicU64) {
    let (before, began) = (written.load(Ordering::Acquire), Instant::now());
    while written.load(Ordering::Acquire) < before + 2 {
        assert!(began.elapsed() < Duration::from_secs(30), "it never wrote again");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn t39_kill_9_of_postgres_under_load_loses_nothing_that_was_confirmed() {
    rounds_of(
        "PostgreSQL: kill -9 of the server under load (store)",
        rounds(100),
        |round, server, _| {
            std::thread::sleep(Duration::from_millis(round * 7 % 40));
            server.kill_9();
            server.restart();
        },
    );
}

#[test]
fn t39_t52_a_connection_lost_around_a_commit_leaves_whole_rows_once() {
    let name = "PostgreSQL: connection lost: any time, before, during, after COMMIT (store)";
    rounds_of(name, rounds(75), |round, server, link| {
        let hit = link.commits_hit();
        let until_hit = || {
            let began = Instant::now();
            while link.commits_hit() == hit {
                assert!(began.elapsed() < Duration::from_secs(20), "no commit came by");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        match round % 5 {
            0 => link.cut(),
            1 => {
                link.at_commit(Some(AtCommit::CutBefore));
                until_hit();
            }
            2 => {
                link.at_commit(Some(AtCommit::CutAfter));
                until_hit();
            }
            3 => {
                link.at_commit(Some(AtCommit::Silent));
                until_hit();
                std::thread::sleep(Duration::from_millis(20));
                link.cut();
            }
            _ => {
                let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                           WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
                server.sql("postgres", end);
            }
        }
    });
}
