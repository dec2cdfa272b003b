//! `verify` finds whatever was changed behind the log's back, and names the first row that is
//! wrong (T40, inv25).

use comity_store::{Finding, Store, Verdict, verify};
use rusqlite::params;
use rusqlite::types::Value;

use crate::story::{Shelf, long_story, read_all};

fn found(shelf: &Shelf) -> Option<Finding> {
    verify(&shelf.path).unwrap().first_bad
}

/// Does one statement to a copy of the log; what is found then.
fn after(whole: &Shelf, sql: &str) -> Finding {
    let shelf = whole.copy();
    assert!(shelf.raw().execute(sql, []).unwrap() > 0, "{sql} changed nothing");
    found(&shelf).unwrap_or_else(|| panic!("not found: {sql}"))
}

#[test]
fn a_whole_log_verifies_beside_a_writer_and_after_it() {
    let rows = long_story().rows;
    let shelf = Shelf::with(&rows);
    let words = rows.iter().map(|r| r.words.len() as u64).sum();
    let Verdict { rows: count, words: kept, root, first_bad } = verify(&shelf.path).unwrap();
    assert_eq!((count, kept, first_bad), (rows.len() as u64, words, None));
    let store: Store = shelf.open();
    assert_eq!(store.head().unwrap().root, root.0);
    assert_eq!(found(&shelf), None);
    assert!(verify(&shelf.folder.path().join("none")).is_err(), "no file");
}

#[test]
fn t40_each_way_of_tampering_is_found_at_its_row() {
    let shelf = Shelf::with(&long_story().rows);
    let last = i64::try_from(long_story().rows.len()).unwrap();
    let flip = |column: &str, at: i64| {
        let kind = if column == "header" { "TEXT" } else { "BLOB" };
        format!(
            "UPDATE log SET {column} = CAST(substr({column}, 1, 20) || char(unicode(substr({column}, 21, 1)) + 1) || substr({column}, 22) AS {kind}) WHERE seq = {at}"
        )
    };
    let cases = [
        (flip("header", 9), 9),
        ("UPDATE log SET leaf = zeroblob(32) WHERE seq = 12".into(), 12),
        ("UPDATE log SET leaf = x'00' WHERE seq = 12".into(), 12),
        ("UPDATE log SET parts = zeroblob(4) WHERE seq = 30".into(), 30),
        ("UPDATE log SET parts = x'ffffffff' WHERE seq = 30".into(), 30),
        ("UPDATE log SET parts = (SELECT parts FROM log WHERE seq = 29) WHERE seq = 30".into(), 30),
        ("UPDATE log SET at = at + 1 WHERE seq = 31".into(), 31),
        ("UPDATE log SET header = replace(header, '\"v\":1', '\"v\":1 ') WHERE seq = 8".into(), 8),
        // The row before is missing: the one after it stands in the wrong place.
        ("DELETE FROM log WHERE seq = 17".into(), 18),
        ("DELETE FROM log WHERE seq = 1".into(), 2),
        // The tail is cut, the head says more.
        (format!("DELETE FROM log WHERE seq > {}", last - 3), last - 2),
        (format!("DELETE FROM log WHERE seq = {last}"), last),
        ("DELETE FROM log".into(), 1),
        ("UPDATE head SET seq = seq - 1".into(), last),
        ("UPDATE head SET seq = seq + 1".into(), last + 1),
        ("UPDATE head SET root = zeroblob(32)".into(), last),
        ("UPDATE head SET edge = zeroblob(8)".into(), last),
        ("UPDATE head SET edge = x'01'".into(), last),
        ("DELETE FROM head".into(), last),
        ("UPDATE log SET seq = 1000 WHERE seq = 20".into(), 21),
    ];
    for (sql, row) in cases {
        let finding = after(&shelf, &sql);
        assert_eq!(finding.seq, u64::try_from(row).unwrap(), "{sql}: {finding:?}");
    }
}

#[test]
fn t40_reordered_rows_are_found() {
    let whole = Shelf::with(&long_story().rows);
    for (a, b) in [(10i64, 11i64), (3, 40), (25, 26)] {
        let shelf = whole.copy();
        let raw = shelf.raw();
        for table in ["log", "word"] {
            for (from, to) in [(a, -1), (b, a), (-1, b)] {
                raw.execute(
                    &format!("UPDATE {table} SET seq = ?2 WHERE seq = ?1"),
                    params![from, to],
                )
                .unwrap();
            }
        }
        assert_eq!(
            found(&shelf).unwrap().seq,
            a.unsigned_abs(),
            "rows {a} and {b} with their words"
        );
    }
}

#[test]
fn t40_a_changed_swapped_or_added_word_is_found_and_an_erased_one_is_not_missed() {
    let whole = Shelf::with(&long_story().rows);
    let raw = whole.raw();
    let mut ask = raw.prepare("SELECT seq, ix FROM word ORDER BY seq, ix").unwrap();
    let places: Vec<(i64, i64)> =
        ask.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap().map(Result::unwrap).collect();
    drop(ask);
    drop(raw);
    for (seq, ix) in places.iter().copied().step_by(3) {
        let here = format!("WHERE seq = {seq} AND ix = {ix}");
        for change in [
            "UPDATE word SET text = text || ' ' ",
            "UPDATE word SET text = CAST(x'ff' || substr(text, 2) AS TEXT) ",
            "UPDATE word SET text = '' ",
            "UPDATE word SET salt = zeroblob(16) ",
            "UPDATE word SET salt = x'00' ",
            "UPDATE word SET ix = ix + 50 ",
        ] {
            let finding = after(&whole, &format!("{change}{here}"));
            assert_eq!(finding.seq, seq.unsigned_abs(), "{change}{here}: {finding:?}");
        }
    }
    for two in places.windows(2).filter(|two| two[0].0 == two[1].0) {
        let ((seq, a), (_, b)) = (two[0], two[1]);
        let shelf = whole.copy();
        for (from, to) in [(a, 1_000), (b, a), (1_000, b)] {
            shelf
                .raw()
                .execute(
                    "UPDATE word SET ix = ?3 WHERE seq = ?1 AND ix = ?2",
                    params![seq, from, to],
                )
                .unwrap();
        }
        assert_eq!(
            found(&shelf).unwrap().seq,
            seq.unsigned_abs(),
            "words {a} and {b} of row {seq} swapped"
        );
    }
    let added = "INSERT INTO word SELECT seq, ix + 40, about, event, salt, text, also FROM word WHERE seq = (SELECT max(seq) FROM word) LIMIT 1";
    after(&whole, added);
    // Erased words, one by one and all of them.
    let shelf = whole.copy();
    for (seq, ix) in places.iter().copied().step_by(7) {
        shelf
            .raw()
            .execute("DELETE FROM word WHERE seq = ?1 AND ix = ?2", params![seq, ix])
            .unwrap();
        assert_eq!(found(&shelf), None, "word {ix} of row {seq} was erased");
    }
    shelf.raw().execute("DELETE FROM word", []).unwrap();
    let verdict = verify(&shelf.path).unwrap();
    assert_eq!((verdict.words, verdict.first_bad), (0, None));
    assert_eq!(read_all(&shelf.open()).len() as u64, verdict.rows);
}

/// A small generator, so that each run is the same.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

/// Flips one bit-pattern of one byte of a stored value; a text becomes whatever bytes it then is.
fn flipped(value: Value, chance: &mut Chance) -> (Vec<u8>, bool) {
    let (mut bytes, text) = match value {
        Value::Blob(bytes) => (bytes, false),
        Value::Text(text) => (text.into_bytes(), true),
        other => panic!("{other:?}"),
    };
    let at = chance.below(bytes.len());
    bytes[at] ^= u8::try_from(1 + chance.below(255)).unwrap();
    (bytes, text)
}

#[test]
fn t40_more_than_a_thousand_random_changes_are_each_found() {
    let rows = long_story().rows;
    let whole = Shelf::with(&rows);
    let shelf = whole.copy();
    let raw = shelf.raw();
    let mut chance = Chance(1);
    let count = rows.len();
    let (mut flips, mut moves) = (0, 0);
    for round in 0..1_200 {
        let seq = 1 + chance.below(count) as i64;
        raw.execute_batch("PRAGMA wal_checkpoint").unwrap();
        raw.execute_batch(&format!("ATTACH '{}' AS whole", whole.path.display())).unwrap();
        let what = if round % 6 == 5 {
            moves += 1;
            let other = 1 + chance.below(count) as i64;
            match chance.below(3) {
                0 => {
                    raw.execute("DELETE FROM log WHERE seq = ?1", [seq]).unwrap();
                    format!("row {seq} removed")
                }
                _ if other != seq => {
                    for (from, to) in [(seq, -1), (other, seq), (-1, other)] {
                        raw.execute("UPDATE log SET seq = ?2 WHERE seq = ?1", [from, to]).unwrap();
                    }
                    format!("rows {seq} and {other} changed places")
                }
                _ => {
                    raw.execute("UPDATE log SET seq = seq + 1000 WHERE seq >= ?1", [seq]).unwrap();
                    format!("a gap before row {seq}")
                }
            }
        } else {
            flips += 1;
            let column = ["header", "parts", "parts", "leaf"][chance.below(4)];
            let value: Value = raw
                .query_row(&format!("SELECT {column} FROM log WHERE seq = ?1"), [seq], |r| r.get(0))
                .unwrap();
            let (bytes, text) = flipped(value, &mut chance);
            let kind = if text { "TEXT" } else { "BLOB" };
            raw.execute(
                &format!("UPDATE log SET {column} = CAST(?2 AS {kind}) WHERE seq = ?1"),
                params![seq, bytes],
            )
            .unwrap();
            format!("one byte of the {column} of row {seq}")
        };
        let finding =
            found(&shelf).unwrap_or_else(|| panic!("round {round}: {what} was not found"));
        if what.starts_with("one byte") {
            assert_eq!(finding.seq, seq.unsigned_abs(), "round {round}: {what}: {finding:?}");
        }
        raw.execute_batch("DELETE FROM log; INSERT INTO log SELECT * FROM whole.log; DETACH whole")
            .unwrap();
    }
    assert_eq!(found(&shelf), None, "what was put back is whole");
    assert!(flips >= 1_000 && moves >= 200);
}
