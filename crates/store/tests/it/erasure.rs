//! Erasing: words and salts go, the log's own bytes stay, and in a file no copy is left anywhere.

use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::PersonId;
use comity_domain::text::{Subject, Word};
use comity_store::{pack, verify};

use crate::story::{On, Shelf, alone, long_story, on_both, read_all, salts};

/// The rows of the log as they are stored.
fn log(shelf: &Shelf) -> Vec<(String, Vec<u8>, [u8; 32])> {
    let mut rows = Vec::new();
    shelf
        .reader()
        .scan(0, |stored, _| {
            rows.push((stored.header.clone(), pack(&stored.parts), stored.leaf));
            Ok(())
        })
        .unwrap();
    rows
}

fn all_bytes(shelf: &Shelf) -> Vec<u8> {
    let folder = shelf.path.parent().unwrap();
    let files = std::fs::read_dir(folder).unwrap();
    files.flat_map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect()
}

on_both! {
fn t48_erasing_leaves_every_row_leaf_and_root_as_they_were(on: On) {
    let rows = long_story().rows;
    let (told, last) = rows.split_at(rows.len() - 1);
    let shelf = on.shelf_with(told);
    let words: Vec<&Word> = told.iter().flat_map(|r| &r.words).collect();
    let person = words.iter().find_map(|w| match w.also {
        Some(Subject::Person(person)) => Some(person),
        _ => None,
    });
    let of = Subject::Person(person.unwrap());
    let gone = |w: &Word| w.about == of || w.also == Some(of);
    assert!(words.iter().any(|w| w.about == of) && words.iter().any(|w| w.also == Some(of)));
    let (before, left) = (log(&shelf), words.iter().filter(|w| !gone(w)).count());
    let mut store = shelf.open();
    let hash = SideWrite::Credential(person.unwrap(), "$argon2id$".into());
    let erase = SideWrite::EraseWords(of);
    let erasing = [(last[0].clone(), vec![hash, erase.clone(), erase])];
    store.append(&erasing, &mut salts()).unwrap();
    assert_eq!(log(&shelf)[..before.len()], before[..], "a byte of the log was touched");
    let kept = i64::try_from(left + last[0].words.len()).unwrap();
    assert_eq!(shelf.counted("word"), kept);
    assert_eq!(shelf.reader().credential(person.unwrap()).unwrap(), None);
    let verdict = verify(&shelf.reader(), None).unwrap();
    assert_eq!(verdict.first_bad, None);
    assert_eq!(verdict.root.0, store.head().unwrap().root);
    // What is read has the same facts, and no word of theirs.
    for (read, was) in read_all(&store).iter().zip(told) {
        assert_eq!(
            (&read.events, &read.acting, &read.caller),
            (&was.events, &was.acting, &was.caller)
        );
        assert!(!read.words.iter().any(|w| gone(w) && w.text.is_some()));
    }
}
}

/// A row like `row` at the next position, with words of these people.
fn row_of(row: &Row, seq: u64, people: &[u128]) -> Row {
    let word = |person: &u128| Word {
        about: Subject::Person(PersonId(*person)),
        also: person.is_multiple_of(3).then_some(Subject::Person(PersonId(person + 1_000))),
        event: 0,
        salt: [7; 16],
        text: Some(text(seq, *person).into()),
    };
    Row { seq, words: people.iter().map(word).collect(), ..row.clone() }
}

fn text(seq: u64, person: u128) -> String {
    let more = usize::try_from(seq % 61).unwrap();
    format!("<{person}/{seq}>{}", "y".repeat(more))
}

/// Pages split, fill and merge while some are erased and others come: no stale copy is left in the
/// slack of a page, in the write-ahead log, or in a page that was given back. On PostgreSQL what was
/// deleted lies in its table until the server has vacuumed it, which is said to the operator.
#[test]
fn t48_no_byte_of_an_erased_word_stays_in_any_file_however_the_pages_moved() {
    let first = long_story().rows.remove(0);
    let shelf = Shelf::empty();
    let mut store = shelf.open();
    let mut typed: Vec<String> = Vec::new();
    for round in 0..40u64 {
        let batch: Vec<Row> = (1..=60)
            .map(|n| {
                let seq = round * 60 + n;
                let people: Vec<u128> =
                    (0..5).map(|w| u128::from((seq * 7 + w * 31) % 200)).collect();
                typed.extend(people.iter().map(|p| text(seq, *p)));
                row_of(&first, seq, &people)
            })
            .collect();
        let mut batch = alone(&batch);
        // Everybody in turn, so that in the end whole stretches of the table are gone.
        let now: Vec<u128> = (0..5).map(|n| u128::from(round * 5 + n)).collect();
        let side = &mut batch.last_mut().unwrap().1;
        side.extend(now.iter().map(|p| SideWrite::EraseWords(Subject::Person(PersonId(*p)))));
        store.append(&batch, &mut salts()).unwrap();
        if round % 10 == 9 {
            assert!(store.after_erasure(&|| ()).unwrap(), "nobody reads");
            let bytes = all_bytes(&shelf);
            let raw = shelf.raw();
            let mut ask = raw.prepare("SELECT text FROM word").unwrap();
            let there = ask.query_map([], |r| r.get::<_, String>(0)).unwrap();
            let there: std::collections::BTreeSet<String> = there.map(Result::unwrap).collect();
            let marks: Vec<&String> = typed.iter().filter(|t| !there.contains(*t)).collect();
            assert!(marks.len() > 100, "{} were erased", marks.len());
            let lies = in_bytes(&bytes);
            for gone in marks {
                assert!(!lies.contains(mark(gone)), "{gone} lies somewhere");
            }
            assert!(there.iter().all(|t| lies.contains(mark(t))), "what is there is found");
        }
    }
    // A reader of an older state holds the bytes back, and the store says so.
    let raw = shelf.raw();
    raw.execute_batch("BEGIN; SELECT count(*) FROM word;").unwrap();
    let more = row_of(&first, 2_401, &[900]);
    store.append(&alone(&[more]), &mut salts()).unwrap();
    assert!(!store.after_erasure(&|| ()).unwrap());
    raw.execute_batch("COMMIT").unwrap();
    assert!(store.after_erasure(&|| ()).unwrap());
    assert_eq!(std::fs::metadata(shelf.path.with_extension("db-wal")).unwrap().len(), 0);
}

fn mark(text: &str) -> &str {
    &text[..=text.find('>').unwrap()]
}

/// Every mark `<…>` that lies in these bytes.
fn in_bytes(bytes: &[u8]) -> std::collections::BTreeSet<String> {
    let starts = bytes.iter().enumerate().filter(|(_, b)| **b == b'<').map(|(at, _)| at);
    starts
        .filter_map(|at| {
            let rest = &bytes[at..bytes.len().min(at + 40)];
            let end = rest.iter().position(|b| *b == b'>')?;
            String::from_utf8(rest[..=end].to_vec()).ok()
        })
        .collect()
}

/// Words of all lengths, written and erased without order, as life has it. SQLite overwrites what it
/// deletes, but not the copies that it leaves where it moved a word from one page to another.
#[test]
fn t48_no_stale_copy_stays_where_a_page_was_split_or_merged() {
    let first = long_story().rows.remove(0);
    let mut chance = crate::chance::Chance(7);
    let shelf = Shelf::empty();
    let mut store = shelf.open();
    let (mut typed, mut seq) = (Vec::new(), 0);
    for round in 0..260 {
        let mut batch = Vec::new();
        for _ in 0..if round < 160 { 25 } else { 5 } {
            seq += 1;
            let mut row = Row { seq, words: Vec::new(), ..first.clone() };
            for ix in 0..=chance.below(4) {
                let person = chance.below(300);
                let more = [0, 5, 20, 60, 200, 900][chance.below(6)];
                let text = format!("<{seq}.{ix}.{person}>{}", "q".repeat(more));
                typed.push(text.clone());
                let about = Subject::Person(PersonId(person as u128));
                let (salt, text) = ([7; 16], Some(text.into()));
                row.words.push(Word { about, also: None, event: 0, salt, text });
            }
            batch.push(row);
        }
        let mut batch = alone(&batch);
        if round >= 160 {
            let of = Subject::Person(PersonId(chance.below(300) as u128));
            batch.last_mut().unwrap().1.push(SideWrite::EraseWords(of));
        }
        store.append(&batch, &mut salts()).unwrap();
    }
    assert!(store.after_erasure(&|| ()).unwrap(), "nobody reads");
    let (bytes, raw) = (all_bytes(&shelf), shelf.raw());
    let mut ask = raw.prepare("SELECT text FROM word").unwrap();
    let there = ask.query_map([], |r| r.get::<_, String>(0)).unwrap();
    let there: std::collections::BTreeSet<String> = there.map(Result::unwrap).collect();
    let lies = in_bytes(&bytes);
    let gone: Vec<&String> = typed.iter().filter(|t| !there.contains(*t)).collect();
    assert!(gone.len() > 1_000, "{} were erased", gone.len());
    let left: Vec<&str> = gone.iter().map(|t| mark(t)).filter(|m| lies.contains(*m)).collect();
    assert!(
        left.is_empty(),
        "{} of {} erased words lie somewhere: {left:?}",
        left.len(),
        gone.len()
    );
}
