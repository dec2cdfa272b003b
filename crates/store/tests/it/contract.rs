//! One test for each sentence of `src/lib.rs`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use comity_domain::command::Sealed;
use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::{Digest32, OrganisationId, PersonId};
use comity_domain::kernel;
use comity_domain::state::State;
use comity_domain::text::Subject;
use comity_domain::time::Instant;
use comity_store::{AppendError, Edge, Reader, Store, StoreError, leaf_hash, merkle, verify};

use crate::again::{KEYS, key, keyed};
use crate::disk::{Disk, Fault};
use crate::story::{On, Shelf, alone, long_story, odd_rows, on_both, read_all, salts, stands};

on_both! {
fn positions_are_gapless_from_one_and_there_is_one_order(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    assert_eq!(store.head().unwrap().seq, 0);
    for wrong in [&rows[1..2], &rows[2..5]] {
        let refused = store.append(&alone(wrong), &mut salts());
        assert!(
            matches!(refused, Err(AppendError::NotWritten(StoreError::Corrupt { .. }))),
            "a gap: {refused:?}"
        );
    }
    store.append(&alone(&rows[..3]), &mut salts()).unwrap();
    for wrong in [&rows[..1], &rows[2..3], &rows[4..5]] {
        assert!(
            store.append(&alone(wrong), &mut salts()).is_err(),
            "row {} again or too early",
            wrong[0].seq
        );
    }
    let mut swapped = rows[3..6].to_vec();
    swapped.swap(1, 2);
    assert!(store.append(&alone(&swapped), &mut salts()).is_err(), "out of order within a batch");
    assert_eq!(store.head().unwrap().seq, 3);
    store.append(&alone(&rows[3..]), &mut salts()).unwrap();
    let seqs: Vec<u64> = read_all(&store).iter().map(|r| r.seq).collect();
    assert_eq!(seqs, (1..=rows.len() as u64).collect::<Vec<_>>());
}
}

on_both! {
fn t39_a_batch_is_written_whole_or_not_at_all_with_everything_beside_it(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    store.append(&alone(&rows[..10]), &mut salts()).unwrap();
    let before = (stands(&store), tables(&shelf));
    let mut bad = alone(&rows[10..40]);
    for (ix, (_, side)) in bad.iter_mut().enumerate() {
        side.push(SideWrite::Credential(PersonId(ix as u128), "$argon2id$".into()));
        side.push(SideWrite::CustomerId(OrganisationId(ix as u128), Sealed(vec![1, 2, 3])));
        side.push(SideWrite::SigningKey(Digest32([ix as u8; 32]), Sealed(vec![4, 5])));
    }
    let mut broken = bad.clone();
    broken[15].0.seq += 1;
    assert!(store.append(&broken, &mut salts()).is_err());
    assert_eq!((stands(&store), tables(&shelf)), before, "a bad row in the middle leaves nothing");
    store.append(&bad, &mut salts()).unwrap();
    assert_eq!(shelf.counted("credential"), 30);
    assert_eq!(shelf.counted("customer_id"), 30);
    let reader = shelf.reader();
    assert_eq!(reader.credential(PersonId(29)).unwrap().as_deref(), Some("$argon2id$"));
    assert_eq!(reader.customer_id(OrganisationId(29)).unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(reader.signing_key(Digest32([29; 32])).unwrap(), Some(vec![4, 5]));
    // The later row of two about the same thing wins.
    let new = [
        SideWrite::Credential(PersonId(29), "$new$".into()),
        SideWrite::DropSigningKey(Digest32([29; 32])),
    ];
    let new = [(rows[40].clone(), new.to_vec())];
    store.append(&new, &mut salts()).unwrap();
    assert_eq!(reader.credential(PersonId(29)).unwrap().as_deref(), Some("$new$"));
    assert_eq!(reader.signing_key(Digest32([29; 32])).unwrap(), None, "what retires is deleted");
    assert_eq!(shelf.counted("signing_key"), 29);
    // A restore takes all of them, and nothing else.
    let none = [(rows[41].clone(), vec![SideWrite::EraseCredentials])];
    store.append(&none, &mut salts()).unwrap();
    assert_eq!((shelf.counted("credential"), shelf.counted("customer_id")), (0, 30));
}
}

on_both! {
fn t48_what_a_person_proves_with_stands_beside_the_log_until_it_is_taken_away(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    let (ana, ben) = (PersonId(1), PersonId(2));
    let digest = |n: u8| Digest32([n; 32]);
    let put = |person, n: u8, sealed: u8| SideWrite::Factor {
        person,
        factor: digest(n),
        sealed: Sealed(vec![sealed]),
    };
    let mut at = 0;
    let mut write = |side: Vec<SideWrite>| {
        store.append(&[(rows[at].clone(), side)], &mut salts()).unwrap();
        at += 1;
    };
    write(vec![put(ana, 1, 1), put(ana, 2, 2), put(ben, 1, 3), put(ben, 4, 4)]);
    let reader = shelf.reader();
    assert_eq!(reader.factor(ana, digest(1)).unwrap(), Some(vec![1]));
    assert_eq!(reader.factor(ben, digest(1)).unwrap(), Some(vec![3]), "each person's own");
    assert_eq!(reader.factor(ana, digest(4)).unwrap(), None);
    write(vec![put(ana, 1, 9), SideWrite::DropFactor { person: ana, factor: digest(2) }]);
    assert_eq!(reader.factor(ana, digest(1)).unwrap(), Some(vec![9]), "the later one");
    assert_eq!(reader.factor(ana, digest(2)).unwrap(), None);
    write(vec![SideWrite::EraseFactors(Some(ben))]);
    assert_eq!(shelf.counted("factor"), 1);
    write(vec![put(ben, 4, 4), SideWrite::EraseWords(Subject::Person(ana))]);
    assert_eq!(reader.factor(ana, digest(1)).unwrap(), None, "erased with the words");
    assert_eq!(reader.factor(ben, digest(4)).unwrap(), Some(vec![4]));
    write(vec![SideWrite::EraseFactors(None)]);
    assert_eq!(shelf.counted("factor"), 0);
}
}

fn tables(shelf: &Shelf) -> [i64; 8] {
    let log = ["log", "word", "head", "audit_index"];
    let beside = ["credential", "customer_id", "signing_key", "session_history"];
    let mut all = log.into_iter().chain(beside).map(|t| shelf.counted(t));
    std::array::from_fn(|_| all.next().unwrap())
}

on_both! {
fn inv27_what_was_confirmed_is_there_when_it_is_opened_again(on: On) {
    let world = long_story();
    let shelf = on.shelf();
    let mut confirmed = 0;
    for part in world.rows.chunks(11) {
        let mut store = shelf.open();
        assert_eq!(store.head().unwrap().seq, confirmed);
        confirmed = store.append(&alone(part), &mut salts()).unwrap().seq;
        // Dropped without a farewell: there is none to say.
    }
    let store = shelf.open();
    assert_eq!(read_all(&store), world.rows);
    if on == On::Postgres {
        return; // what dies there is a server: `server_faults`
    }
    // What a machine that lost its power would have: the files as they are, the WAL included.
    let copy = Shelf::empty();
    for end in ["", "-wal"] {
        let of = |p: &std::path::Path| format!("{}{end}", p.display());
        if std::path::Path::new(&of(&shelf.path)).exists() {
            std::fs::copy(of(&shelf.path), of(&copy.path)).unwrap();
        }
    }
    assert_eq!(read_all(&copy.open()), world.rows);
}
}

on_both! {
fn t39_a_commit_that_is_refused_leaves_nothing(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    store.append(&alone(&rows[..5]), &mut salts()).unwrap();
    let before = (stands(&store), tables(&shelf));
    store.fail_commits(true).unwrap();
    for _ in 0..3 {
        let refused = store.append(&alone(&rows[5..9]), &mut salts());
        assert!(matches!(refused, Err(AppendError::NotWritten(_))), "{refused:?}");
        assert_eq!((stands(&store), tables(&shelf)), before, "the file is untouched");
        assert!(!store.find_command(9, rows[8].command).unwrap());
    }
    store.fail_commits(false).unwrap();
    store.append(&alone(&rows[5..9]), &mut salts()).unwrap();
    assert!(store.find_command(9, rows[8].command).unwrap());
    assert!(!store.find_command(8, rows[8].command).unwrap(), "another row's command");
    assert_eq!(verify(&shelf.reader(), None).unwrap().first_bad, None);
}
}

const BROKEN: &str = "COMITY_TEST_BROKEN_DISK";

#[test]
#[ignore = "runs in a process of its own, which another test starts and kills"]
fn the_one_whose_disk_breaks() {
    let Some(folder) = std::env::var_os(BROKEN).map(PathBuf::from) else {
        return;
    };
    let rows = long_story().rows;
    let mut store = Store::open(&folder.join("comity.db")).unwrap();
    store.append(&alone(&rows[..5]), &mut salts()).unwrap();
    let disk = Disk::new(&folder);
    disk.fails(Fault::Sync, "comity.db-wal");
    let unknown = store.append(&keyed(&rows[5..9], "per_a"), &mut salts());
    assert!(matches!(unknown, Err(AppendError::Unknown(_))), "{unknown:?}");
    if std::env::var_os("COMITY_TEST_SETTLES").is_some() {
        assert!(store.settle().is_err(), "it cannot be known as long as nothing can be written");
        disk.works();
        assert_eq!(store.settle().unwrap().seq, 5);
    }
    std::fs::write(folder.join("came here"), "").unwrap();
    std::process::abort(); // no farewell: SQLite must not tidy up
}

#[test]
fn t52_when_a_commits_outcome_is_unknown_it_is_settled_before_anybody_is_told() {
    for settles in [false, true] {
        let shelf = Shelf::empty();
        let mut tool = std::process::Command::new(std::env::current_exe().unwrap());
        tool.args(["--exact", "contract::the_one_whose_disk_breaks", "--ignored"])
            .env(BROKEN, shelf.folder.path())
            .envs(settles.then_some(("COMITY_TEST_SETTLES", "1")));
        Disk::new(shelf.folder.path()).put_under(&mut tool);
        let ended = tool.output().unwrap();
        assert!(shelf.folder.path().join("came here").exists(), "{ended:?}");
        let store = shelf.open();
        let (seq, keys) = (store.head().unwrap().seq, store.known(&KEYS.map(key), Instant(0)));
        // A key is known exactly if its row is there: whoever sends it again finds out by it.
        assert_eq!(keys.unwrap().len() as u64, seq - 5);
        drop(store);
        // Left unsettled, the rolled back commit comes back whole: SQLite finds it in the WAL.
        assert_eq!(seq, if settles { 5 } else { 9 });
        assert_eq!(verify(&Reader::new(&shelf.path), None).unwrap().first_bad, None);
    }
}

const OTHER: &str = "COMITY_TEST_OTHER_PROCESS";

#[test]
fn a_second_process_cannot_write_to_the_same_file() {
    let shelf = Shelf::with(&long_story().rows[..3]);
    let store = shelf.open();
    assert!(matches!(Store::open(&shelf.path), Err(StoreError::InUse(_))), "in the same process");
    assert!(try_in_another_process(&shelf).contains("in use"), "in another process");
    assert_eq!(Reader::new(&shelf.path).head().unwrap().seq, 3, "reading is free");
    assert_eq!(verify(&Reader::new(&shelf.path), None).unwrap().first_bad, None);
    drop(store);
    assert!(try_in_another_process(&shelf).contains("opened"), "once the first is gone");
}

fn try_in_another_process(shelf: &Shelf) -> String {
    let tool = std::env::current_exe().unwrap();
    let mut tool = std::process::Command::new(tool);
    tool.args(["--exact", "contract::the_other_process", "--ignored", "--nocapture"])
        .env(OTHER, &shelf.path);
    String::from_utf8(tool.output().unwrap().stdout).unwrap()
}

#[test]
#[ignore = "runs in a process of its own, started by another test"]
fn the_other_process() {
    let Some(path) = std::env::var_os(OTHER) else {
        return;
    };
    match Store::open(path.as_ref()) {
        Ok(_) => println!("opened"),
        Err(StoreError::InUse(_)) => println!("in use"),
        Err(other) => println!("{other}"),
    }
}

on_both! {
fn inv25_every_leaf_root_and_edge_recomputes(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    for part in rows.chunks(3) {
        let told = store.append(&alone(part), &mut salts()).unwrap();
        let head = store.head().unwrap();
        assert_eq!(told, head, "what append returns is what the file says");
        let leaves = leaves(&shelf);
        assert_eq!(leaves.len() as u64, head.seq);
        assert_eq!(merkle::tree_root(&leaves), head.root);
        let mut edge = Edge::new();
        leaves.iter().for_each(|leaf| edge.push(*leaf));
        assert_eq!(edge, head.edge);
    }
}
}

/// Every leaf, recomputed from its header and parts.
fn leaves(shelf: &Shelf) -> Vec<[u8; 32]> {
    let mut leaves = Vec::new();
    shelf
        .reader()
        .scan(0, |stored, _| {
            assert_eq!(leaf_hash(stored.header.as_bytes(), &stored.parts), stored.leaf);
            leaves.push(stored.leaf);
            Ok(())
        })
        .unwrap();
    leaves
}

on_both! {
fn inv24_what_is_read_leads_to_the_state_that_was_decided(on: On) {
    let world = long_story();
    let shelf = on.shelf_with(&world.rows);
    let store = shelf.open();
    let mut state = State::default();
    store
        .replay(0, |row| {
            kernel::apply(&mut state, &row);
            Ok(())
        })
        .unwrap();
    assert!(state == world.state);
    // The same from the middle, as a follower reads.
    let middle = world.rows.len() as u64 / 2;
    let mut rest = Vec::new();
    store
        .replay(middle, |row| {
            rest.push(row);
            Ok(())
        })
        .unwrap();
    assert_eq!(rest, world.rows[world.rows.len() / 2..]);
}
}

on_both! {
fn readers_never_wait_for_the_writer_and_never_see_half_a_batch(on: On) {
    const BATCH: usize = 8;
    let world = long_story();
    let mut rows = world.rows.clone();
    while rows.len() < 60 * BATCH {
        rows.extend(odd_rows(rows.len() as u64, world.now));
    }
    rows.truncate(60 * BATCH);
    let shelf = on.shelf();
    let mut store = shelf.open();
    let (reader, done) = (shelf.reader(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let looking: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut looks, mut last) = (0u64, 0);
                    while !done.load(Ordering::Acquire) || looks == 0 {
                        let began = std::time::Instant::now();
                        let head = reader.head().unwrap();
                        assert_eq!(head.seq % BATCH as u64, 0, "half a batch");
                        assert_eq!(head.edge.root(), head.root);
                        assert!(head.seq >= last, "never backwards");
                        last = head.seq;
                        let page = reader.rows(None, 0, 10_000).unwrap();
                        assert_eq!(page.len() % BATCH, 0, "half a batch");
                        assert!(page.len() as u64 >= head.seq);
                        assert!(began.elapsed() < Duration::from_secs(4), "waited for the writer");
                        looks += 1;
                    }
                    looks
                })
            })
            .collect();
        for batch in rows.chunks(BATCH) {
            store.append(&alone(batch), &mut salts()).unwrap();
        }
        // A transaction of the writer that stays open holds up no reader.
        if on == On::Postgres {
            store.lock().unwrap();
            assert_eq!(reader.rows(None, 0, 1).unwrap()[0].seq, 1);
            store.release();
        } else {
            let raw = shelf.raw();
            raw.execute_batch("BEGIN IMMEDIATE; DELETE FROM log WHERE seq = 1").unwrap();
            assert_eq!(reader.rows(None, 0, 1).unwrap()[0].seq, 1);
            raw.execute_batch("ROLLBACK").unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(looking.into_iter().map(|t| t.join().unwrap()).sum::<u64>() >= 3);
    });
}
}

on_both! {
fn t12_an_organisation_is_shown_the_rows_that_hold_a_part_for_it_and_no_others(on: On) {
    let world = long_story();
    let shelf = on.shelf_with(&world.rows);
    let reader = shelf.reader();
    let orgs: Vec<OrganisationId> = world.state.organisations.iter().map(|(id, _)| id).collect();
    for org in orgs {
        let own =
            |r: &&Row| r.acting.contains(&org) || r.events.iter().any(|e| e.readers.contains(&org));
        let wanted: Vec<u64> = world.rows.iter().filter(own).map(|r| r.seq).collect();
        let mut found = Vec::new();
        while let page = reader.rows(Some(org), found.last().copied().unwrap_or(0), 5).unwrap()
            && !page.is_empty()
        {
            found.extend(page.iter().map(|r| r.seq));
        }
        assert_eq!(found, wanted);
    }
}
}

on_both! {
fn a_database_of_a_newer_release_is_refused(on: On) {
    let shelf = on.shelf_with(&long_story().rows[..2]);
    let newer = match on {
        On::Sqlite => "PRAGMA user_version = 99",
        On::Postgres => "INSERT INTO schema_version (version) VALUES (99)",
    };
    shelf.change(newer);
    let refused = Store::at(&shelf.place);
    assert!(
        matches!(refused, Err(StoreError::TooNew { found: 99, known: 1, .. })),
        "{refused:?}"
    );
}
}

on_both! {
fn a_scan_gives_the_rows_after_a_position_and_the_head_of_the_same_moment(on: On) {
    let rows = long_story().rows;
    let (first, second) = rows.split_at(rows.len() / 2);
    let shelf = on.shelf_with(first);
    let mut store = shelf.open();
    let reader = shelf.reader();
    let (mut seen, mut edge) = (Vec::new(), Edge::new());
    let mut late = second.to_vec();
    let stood = reader
        .scan(0, |stored, words| {
            // Somebody writes meanwhile: this look does not see it, and does not wait.
            if let rest @ [_, ..] = std::mem::take(&mut late).as_slice() {
                store.append(&alone(rest), &mut salts()).unwrap();
            }
            edge.push(stored.leaf);
            seen.push(comity_store::decode(&stored, words).unwrap());
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, first);
    assert_eq!((stood.seq, &stood.edge), (first.len() as u64, &edge));
    let mut more = 0;
    let stood = reader
        .scan(stood.seq, |_, _| {
            more += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!((more, stood.seq), (second.len(), rows.len() as u64));
    let stop = |_, _| Err(StoreError::Corrupt { seq: 1, what: "enough" });
    assert!(reader.scan(0, stop).is_err());
    assert_eq!(reader.head().unwrap().seq, rows.len() as u64, "the connection can be used again");
}
}

/// Rows of the story that anybody may append again: nothing in them happens only once.
fn plain_rows() -> Vec<Row> {
    let once = |row: &Row| {
        row.events
            .iter()
            .any(|e| matches!(e.event, comity_domain::event::Event::SessionStarted { .. }))
    };
    long_story().rows.into_iter().filter(|row| !once(row)).collect()
}

on_both! {
/// Sixteen write at once: on PostgreSQL each over its own connection, on a file through the one
/// that has it.
fn positions_are_gapless_under_sixteen_writers(on: On) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 12;
    let shelf = on.shelf();
    let plain = plain_rows();
    let only = (on == On::Sqlite).then(|| std::sync::Mutex::new(shelf.open()));
    let write = |store: &mut Store, command: u128| {
        let after = store.lock().unwrap().seq;
        let some = command as u64 % 3 + 1;
        let batch: Vec<Row> = (1..=some)
            .map(|n| {
                let row = plain[((after + n) % plain.len() as u64) as usize].clone();
                Row { seq: after + n, at: plain[0].at, command: comity_domain::ids::CommandId(command), ..row }
            })
            .collect();
        let head = store.append(&alone(&batch), &mut salts()).unwrap();
        assert_eq!(head.seq, after + some, "nobody came in between");
        some
    };
    let written: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (write, only, shelf) = (&write, &only, &shelf);
                scope.spawn(move || {
                    let mut own = only.is_none().then(|| shelf.open());
                    (0..EACH)
                        .map(|n| {
                            let command = u128::from(writer * 1_000 + n);
                            match (own.as_mut(), only) {
                                (Some(own), _) => write(own, command),
                                (None, only) => {
                                    write(&mut only.as_ref().unwrap().lock().unwrap(), command)
                                }
                            }
                        })
                        .sum::<u64>()
                })
            })
            .collect();
        writers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    drop(only);
    let rows = read_all(&shelf.open());
    let seqs: Vec<u64> = rows.iter().map(|r| r.seq).collect();
    assert_eq!(seqs, (1..=written).collect::<Vec<_>>());
    // The rows of one batch stand together.
    let mut commands: Vec<u128> = rows.iter().map(|r| r.command.0).collect();
    commands.dedup();
    assert_eq!(commands.len() as u64, WRITERS * EACH);
    let verdict = verify(&shelf.reader(), None).unwrap();
    assert_eq!((verdict.first_bad, verdict.rows), (None, written));
}
}
