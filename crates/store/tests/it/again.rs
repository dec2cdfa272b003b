//! Commands that may be sent again: what became of a key is known exactly as long as its row is
//! there, for a day (T52, T59).

use comity_domain::command::Once;
use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::Digest32;
use comity_domain::time::Instant;
use comity_store::{AppendError, Key, Place, Store, copy};

use crate::story::{On, alone, long_story, on_both, salts};

/// The keys of four rows.
pub const KEYS: [u8; 4] = [0, 1, 2, 3];

fn once(principal: &str, n: u8) -> Once {
    let (key, body) = (Digest32([n; 32]), Digest32([100 + n; 32]));
    Once { principal: principal.into(), key, route: "PUT /v1/x".into(), body }
}

/// The n-th key of `per_a`.
pub fn key(n: u8) -> Key {
    ("per_a".into(), Digest32([n; 32]))
}

/// Rows, each with a key of its own.
pub fn keyed(rows: &[Row], principal: &str) -> Vec<(Row, Vec<SideWrite>)> {
    let one = |(n, row): (u8, &Row)| (row.clone(), vec![SideWrite::Once(once(principal, n))]);
    (0..).zip(rows).map(one).collect()
}

/// Which rows the keys of `per_a` are known for.
fn known(store: &Store, since: Instant) -> Vec<u64> {
    store.known(&KEYS.map(key), since).unwrap().into_values().map(|r| r.seq).collect()
}

on_both! {
fn t52_a_key_is_written_with_its_row_or_not_at_all(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    store.append(&alone(&rows[..3]), &mut salts()).unwrap();
    store.fail_commits(true).unwrap();
    let refused = store.append(&keyed(&rows[3..7], "per_a"), &mut salts());
    assert!(matches!(refused, Err(AppendError::NotWritten(_))), "{refused:?}");
    assert!(known(&store, Instant(0)).is_empty());
    store.fail_commits(false).unwrap();
    store.append(&keyed(&rows[3..7], "per_a"), &mut salts()).unwrap();
    assert_eq!(known(&store, Instant(0)), [4, 5, 6, 7]);
    let found = store.known(&[key(2)], Instant(0)).unwrap().remove(&key(2)).unwrap();
    assert_eq!((found.once, found.seq, found.at), (once("per_a", 2), 6, rows[5].at));
    assert_eq!(store.row(6).unwrap().as_ref(), Some(&rows[5]));
    assert_eq!(store.row(9).unwrap(), None);
    // A reader beside the writer knows it too.
    assert_eq!(shelf.reader().known(&key(3), Instant(0)).unwrap().unwrap().seq, 7);
    // With the head in hand, as the writer asks.
    store.lock().unwrap();
    assert_eq!(known(&store, Instant(0)), [4, 5, 6, 7]);
    store.release();
}
}

on_both! {
fn t59_a_key_is_its_principals(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    store.append(&keyed(&rows[..4], "per_a"), &mut salts()).unwrap();
    store.append(&keyed(&rows[4..6], "per_b"), &mut salts()).unwrap();
    assert_eq!(known(&store, Instant(0)), [1, 2, 3, 4], "another's same keys are others");
    let other = ("per_b".to_owned(), Digest32([1; 32]));
    assert_eq!(store.known(&[other.clone()], Instant(0)).unwrap()[&other].seq, 6);
}
}

on_both! {
fn t52_a_key_is_known_for_a_day_and_cleared_away_in_small_steps(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    store.append(&keyed(&rows[..4], "per_a"), &mut salts()).unwrap();
    let (first, last) = (rows[0].at, rows[3].at);
    assert_eq!(known(&store, last).len(), rows[..4].iter().filter(|r| r.at == last).count());
    assert!(known(&store, last.plus(1)).is_empty(), "too old, though not cleared away");
    assert_eq!(store.forget(first, 100).unwrap(), 0);
    assert_eq!(store.forget(last.plus(1), 3).unwrap(), 3);
    assert_eq!(shelf.counted("command"), 1);
    assert_eq!(store.forget(last.plus(1), 3).unwrap(), 1);
    // One that is too old and still there is taken over by who uses it next.
    store.append(&keyed(&rows[4..5], "per_a"), &mut salts()).unwrap();
    store.append(&keyed(&rows[5..6], "per_a"), &mut salts()).unwrap();
    assert_eq!((shelf.counted("command"), known(&store, Instant(0))), (1, vec![6]));
}
}

on_both! {
fn t52_a_copy_knows_the_keys_of_the_rows_that_it_has(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    store.append(&keyed(&rows[..4], "per_a"), &mut salts()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = Place::Folder(folder.path().into());
    copy(&shelf.place, &to, false).unwrap();
    // What was written after the copy is not in it, and neither is its key.
    store.append(&keyed(&rows[4..5], "per_c"), &mut salts()).unwrap();
    let copied = Store::at(&to).unwrap();
    assert_eq!((copied.head().unwrap().seq, known(&copied, Instant(0))), (4, vec![1, 2, 3, 4]));
    let later = ("per_c".to_owned(), Digest32([0; 32]));
    assert!(copied.known(&[later], Instant(0)).unwrap().is_empty());
}
}
