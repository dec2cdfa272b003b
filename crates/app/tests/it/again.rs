//! Commands that are sent again: whatever happens to the first answer, one effect (T52, T59, inv28).

use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use comity_app::node::{Done, NotDone};
use comity_domain::command::{Asked, Caller, Command, Once};
use comity_domain::ids::Digest32;
use comity_domain::organisation::Settings;
use comity_domain::permission::Permissions;
use comity_domain::time::{DAY, Minutes};
use comity_domain::version::{Saw, Seen, Versioned, tag};
use comity_store::postgres::Server as Named;
use comity_store::{Place, Reader};

use crate::link::AtCommit;
use crate::nodes::inside::{eventually, two};
use crate::site::{Cast, Site, cast, code};

fn asked(command: &Command, principal: &str, key: u8, body: u8) -> Asked {
    let (key, body) = (Digest32([key; 32]), Digest32([body; 32]));
    let once = Once { principal: principal.into(), key, route: "POST /v1/x".into(), body };
    Asked { once: Some(once), ..command.clone().into() }
}

fn role(cast: &Cast, code: &str, word: &str) -> Command {
    Command::PutRole {
        organisation: cast.harbour,
        code: code.into(),
        name: code.into(),
        permissions: Permissions::parse("permissions", [word]).unwrap(),
    }
}

/// Which row it is, and whether it is one of before.
fn row(answer: &Result<Done, NotDone>) -> (u64, bool) {
    let done = answer.as_ref().unwrap();
    (done.row.as_ref().unwrap().seq, done.again)
}

#[test]
fn t59_inv28_one_key_a_hundred_times_at_once_has_one_effect_and_one_answer() {
    let (w, cast) = cast(1);
    let site = Site::of(w);
    let (by, command) = (site.w.provision(), role(&cast, "hundred", "boats:paint"));
    let before = site.app.state().seq;
    let barrier = Barrier::new(100);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let send = || {
            barrier.wait();
            site.run(&by, asked(&command, "key_a", 1, 1))
        };
        let all: Vec<_> = (0..100).map(|_| scope.spawn(send)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(site.app.state().seq, before + 1, "one effect");
    assert!(answers.iter().all(|a| row(a).0 == before + 1), "one answer");
    assert_eq!(answers.iter().filter(|a| !row(a).1).count(), 1, "one of them was the first");
    site.check();
}

#[test]
fn t59_inv28_within_one_batch_the_second_is_the_first_and_another_command_is_refused() {
    let (w, cast) = cast(1);
    let site = Site::of(w);
    let by = site.w.provision();
    let (paint, sand) = (role(&cast, "one", "boats:paint"), role(&cast, "two", "boats:sand"));
    let delete = Command::DeleteRole { organisation: cast.harbour, code: "keeper".into() };
    let before = site.app.state().seq;
    let sent = vec![
        (by.clone(), asked(&paint, "key_a", 1, 1)),
        (by.clone(), asked(&paint, "key_a", 1, 1)),
        (by.clone(), asked(&sand, "key_a", 1, 2)),
        (by.clone(), asked(&paint, "key_b", 1, 1)),
        (by.clone(), asked(&delete, "key_a", 2, 3)),
        (by.clone(), asked(&delete, "key_a", 2, 3)),
    ];
    let answers = site.in_one_batch(sent.clone());
    assert_eq!((row(&answers[0]), row(&answers[1])), ((before + 2, false), (before + 2, true)));
    assert_eq!(code(&answers[2]), "idempotency_key_reused");
    assert!(answers[3].as_ref().unwrap().row.is_none(), "another's same key: judged, and a no-op");
    assert_eq!((row(&answers[4]), row(&answers[5])), ((before + 1, false), (before + 1, true)));
    // The same in the next batch, and after a start from the log.
    let site = {
        let again = site.in_one_batch(sent.clone());
        assert_eq!((row(&again[0]), row(&again[5])), ((before + 2, true), (before + 1, true)));
        site.again()
    };
    let again = site.run(&by, sent[1].1.clone());
    assert_eq!(row(&again), (before + 2, true));
    assert_eq!(again.unwrap().row.unwrap().kind.as_ref(), "put_role");
    assert_eq!(code(&site.run(&by, sent[2].1.clone())), "idempotency_key_reused");
    assert_eq!(site.app.state().seq, before + 2);
    site.check();
}

#[test]
fn t52_inv28_what_was_not_written_is_done_by_sending_it_again_once() {
    let (w, cast) = cast(1);
    let site = Site::of(w);
    let (by, command) = (site.w.provision(), role(&cast, "later", "boats:paint"));
    let before = site.app.state().seq;
    let faults = site.app.node().faults();
    faults.fail_commits.store(true, Ordering::Release);
    for answer in site.in_one_batch(vec![(by.clone(), asked(&command, "key_a", 1, 1)); 2]) {
        assert!(matches!(answer, Err(NotDone::Unavailable(_))), "{answer:?}");
    }
    faults.fail_commits.store(false, Ordering::Release);
    assert_eq!(row(&site.run(&by, asked(&command, "key_a", 1, 1))), (before + 1, false));
    assert_eq!(row(&site.run(&by, asked(&command, "key_a", 1, 1))), (before + 1, true));
    // A refusal and a no-op leave the key free.
    let none = Command::DeleteRole { organisation: cast.harbour, code: "nobody".into() };
    assert_eq!(code(&site.run(&by, asked(&none, "key_a", 2, 1))), "not_found");
    assert!(site.run(&by, asked(&command, "key_a", 2, 2)).unwrap().row.is_none());
    let other = role(&cast, "other", "boats:paint");
    assert_eq!(row(&site.run(&by, asked(&other, "key_a", 2, 3))), (before + 2, false));
    site.check();
}

#[test]
fn t52_inv28_a_key_is_remembered_for_a_day() {
    let (w, cast) = cast(1);
    let site = Site::of(w);
    let (by, command) = (site.w.provision(), role(&cast, "old", "boats:paint"));
    let first = row(&site.run(&by, asked(&command, "key_a", 1, 1)));
    let at = site.app.state().at;
    site.clock.set(at.plus(DAY));
    assert_eq!(row(&site.run(&by, asked(&command, "key_a", 1, 1))), (first.0, true));
    site.clock.set(at.plus(DAY + 1));
    assert!(site.run(&by, asked(&command, "key_a", 1, 1)).unwrap().row.is_none(), "judged anew");
    let other = role(&cast, "new", "boats:paint");
    assert!(!row(&site.run(&by, asked(&other, "key_a", 1, 2))).1, "and the key is free");
}

#[test]
fn t11_of_two_edits_of_the_same_version_one_is_carried_out() {
    let (w, cast) = cast(1);
    let site = Site::of(w);
    for round in 0..24u8 {
        let of = if round % 3 == 0 {
            Versioned::Settings(cast.harbour)
        } else {
            Versioned::Role(cast.keeper)
        };
        let saw = Saw::OneOf(vec![tag(&site.app.state(), &of).unwrap()]);
        let edit = |by: &Caller, n: u8| {
            let word = format!("boats:w{round}x{n}");
            let command = if round % 3 == 0 {
                let session_cap = Minutes(10 + 2 * u32::from(round) + u32::from(n));
                let settings = Settings { session_cap, ..Settings::default() };
                Command::ChangeSettings { organisation: cast.harbour, settings, version: None }
            } else {
                role(&cast, "keeper", &word)
            };
            let seen = Some(Seen { of: of.clone(), saw: saw.clone() });
            (by.clone(), Asked { command, once: None, seen })
        };
        let edits = [edit(&cast.by_boss, 0), edit(&cast.by_other, 1)];
        let before = site.app.state().seq;
        let answers: Vec<_> = if round % 2 == 0 {
            site.in_one_batch(edits.to_vec())
        } else {
            let barrier = Barrier::new(2);
            std::thread::scope(|scope| {
                let all = edits.map(|(by, asked)| {
                    let (site, barrier) = (&site, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        site.run(&by, asked)
                    })
                });
                all.into_iter().map(|one| one.join().unwrap()).collect()
            })
        };
        let mut codes: Vec<_> = answers.iter().map(code).collect();
        codes.sort_unstable();
        assert_eq!(codes, ["ok", "version_conflict"], "round {round}");
        assert_eq!(site.app.state().seq, before + 1);
    }
    site.check();
}

#[test]
fn t59_inv28_two_nodes_that_get_the_same_key_at_once_do_it_once() {
    let two = two();
    let by = two.a.w.provision();
    for round in 0..20 {
        let command = role(&two.cast, &format!("role{round}"), "boats:paint");
        let barrier = Barrier::new(8);
        let before = two.a.app.state().seq.max(two.b.state().seq);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|n| {
                    let app = if n % 2 == 0 { &two.a.app } else { &two.b };
                    let (barrier, by, command) = (&barrier, &by, &command);
                    scope.spawn(move || {
                        barrier.wait();
                        let asked = asked(command, "key_a", round, 1);
                        app.node().run_blocking(by.clone(), asked)
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let rows: Vec<_> = answers.iter().map(row).collect();
        assert!(rows.iter().all(|(seq, _)| *seq == rows[0].0), "round {round}: {rows:?}");
        assert_eq!(rows.iter().filter(|(_, again)| !again).count(), 1, "round {round}");
        assert_eq!(two.a.app.state().seq.max(two.b.state().seq), before + 1);
        let reused = two.b.node().run_blocking(by.clone(), asked(&command, "key_a", round, 2));
        assert_eq!(code(&reused), "idempotency_key_reused");
    }
}

#[test]
fn t52_inv28_an_acknowledgement_lost_on_its_way_is_found_by_sending_it_again_to_either_node() {
    let two = two();
    let by = two.a.w.provision();
    let ways = [AtCommit::CutBefore, AtCommit::CutAfter, AtCommit::Silent];
    for (round, way) in (0u8..).zip(ways.into_iter().cycle().take(9)) {
        eventually("both go on", || two.a.app.is_ready() && two.b.is_ready());
        let command = role(&two.cast, &format!("lost{round}"), "boats:paint");
        let send = |app: &comity_app::App| {
            app.node().run_blocking(by.clone(), asked(&command, "key_a", round, 1))
        };
        two.links[0].at_commit(Some(way));
        let first = send(&two.a.app);
        two.links[0].at_commit(None);
        let (began, mut told) = (Instant::now(), Vec::from_iter(first.ok()));
        let apps = [&two.a.app, &two.b];
        while told.len() < 3 {
            assert!(began.elapsed() < Duration::from_secs(30), "round {round}: no answer");
            told.extend(send(apps[told.len() % 2]).ok());
        }
        let seqs: Vec<u64> = told.iter().map(|d| d.row.as_ref().unwrap().seq).collect();
        assert!(seqs.iter().all(|s| *s == seqs[0]), "round {round}: {seqs:?}");
        assert!(told.last().unwrap().again);
    }
    let place = Place::Postgres(Named::parse(&two.url).unwrap(), comity_store::NodeId(9));
    let rows = Reader::at(&place).rows(None, 0, 1_000_000).unwrap();
    for round in 0..9 {
        let name = format!("\"lost{round}\"");
        let made = rows.iter().filter(|r| format!("{:?}", r.events).contains(&name)).count();
        assert_eq!(made, 1, "{name}");
    }
}
