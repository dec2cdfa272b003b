//! Going through the log from any place of it: nothing is let through that the log did not write.

use comity_domain::event::{Event, Recorded, Row};
use comity_domain::snapshot::{self, Facts};
use comity_domain::state::State;
use comity_domain::{kernel, text::Reference};
use comity_store::{Edge, Followed, StoreError, follow};

use crate::story::{On, Shelf, long_story, on_both};

fn through(
    shelf: &Shelf,
    edge: Edge,
    until: Option<u64>,
) -> Result<(Vec<Row>, Followed), StoreError> {
    let mut rows = Vec::new();
    let followed = follow(&shelf.reader(), edge, until, |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, followed))
}

/// Rows of the story, over and over, so that there are many batches of them; but a session starts
/// only once.
fn long() -> Vec<Row> {
    let mut story = long_story().rows;
    let starts = |e: &Recorded| matches!(e.event, Event::SessionStarted { .. });
    story.retain(|row| !row.events.iter().any(starts));
    let count = 2_000u64;
    let row = |n: u64| {
        let mut row = story[n as usize % story.len()].clone();
        (row.seq, row.at) = (n + 1, story[0].at.plus(n as i64));
        row
    };
    (0..count).map(row).collect()
}

on_both! {
fn inv25_from_any_row_to_any_other_every_row_comes_once_and_in_order(on: On) {
    let rows = long();
    let shelf = on.shelf_with(&rows);
    let (all, whole) = through(&shelf, Edge::new(), None).unwrap();
    assert!(all == rows);
    let head = whole.head.unwrap();
    assert_eq!((head.seq, &head.edge), (rows.len() as u64, &whole.edge));
    for (from, to) in
        [(0, 0), (0, 1), (1, 2), (255, 256), (256, 513), (700, 1_999), (1_999, 2_000), (3, 2_000)]
    {
        let edge = through(&shelf, Edge::new(), Some(from)).unwrap().1.edge;
        assert_eq!(edge.size(), from);
        let (part, reached) = through(&shelf, edge.clone(), Some(to)).unwrap();
        assert!(part == rows[from as usize..to as usize], "{from} to {to}");
        assert_eq!(reached.edge.size(), to);
        let (rest, reached) = through(&shelf, edge, None).unwrap();
        assert!(rest == rows[from as usize..]);
        assert_eq!(reached.head.as_ref(), Some(&head));
    }
}
}

#[test]
fn t40_what_was_changed_behind_the_log_ends_the_reading() {
    let rows = long();
    let shelf = Shelf::with(&rows);
    let edge = through(&shelf, Edge::new(), Some(1_000)).unwrap().1.edge;
    let cases = [
        ("UPDATE log SET header = replace(header, '\"v\":1', '\"v\":1 ') WHERE seq = 1500", 1_500),
        ("UPDATE log SET leaf = zeroblob(32) WHERE seq = 1900", 1_900),
        ("UPDATE log SET parts = (SELECT parts FROM log WHERE seq = 1401) WHERE seq = 1400", 1_400),
        ("DELETE FROM log WHERE seq = 1300", 1_300),
        ("DELETE FROM log WHERE seq > 1990", 1_991),
        ("UPDATE head SET root = zeroblob(32)", 2_000),
        ("UPDATE head SET seq = 2001", 2_001),
    ];
    for (sql, bad) in cases {
        let other = shelf.copy();
        assert!(other.raw().execute(sql, []).unwrap() > 0, "{sql}");
        for from in [Edge::new(), edge.clone()] {
            let found = through(&other, from, None);
            assert!(
                matches!(found, Err(StoreError::Corrupt { seq, .. }) if seq == bad),
                "{sql}: {found:?}"
            );
        }
        assert!(through(&other, Edge::new(), Some(1_000)).is_ok(), "what is before it is read");
    }
    // An edge of another log: the rows are right, and the root is not the head's.
    let wrong = Edge::from_bytes(&{
        let mut bytes = edge.to_bytes();
        bytes[9] ^= 1;
        bytes
    });
    assert!(matches!(
        through(&shelf, wrong.unwrap(), None),
        Err(StoreError::Corrupt { seq: 2_000, .. })
    ));
}

on_both! {
fn an_error_of_whoever_applies_ends_the_reading_and_is_the_one_that_is_told(on: On) {
    let shelf = on.shelf_with(&long());
    for at in [1, 256, 257, 1_999, 2_000] {
        let told = follow(&shelf.reader(), Edge::new(), None, |row| {
            let stop = StoreError::Corrupt { seq: row.seq, what: "the test says so" };
            if row.seq == at { Err(stop) } else { Ok(()) }
        });
        let Err(StoreError::Corrupt { seq, what }) = told else { panic!("{told:?}") };
        assert_eq!((seq, what), (at, "the test says so"));
    }
}
}

on_both! {
fn inv24_a_state_without_words_is_filled_from_the_table_and_an_erased_word_is_missing(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf_with(&rows);
    let mut live = State::default();
    rows.iter().for_each(|row| drop(kernel::apply(&mut live, row)));
    let facts = Facts::read(&snapshot::write(&live)).unwrap();
    let wanted: Vec<Reference> = facts.references();
    let reader = shelf.reader();
    let filled = |facts: Facts| {
        let words = reader.words(&wanted).unwrap();
        let mut state = facts.follow();
        state.speak(snapshot::words(words));
        state
    };
    assert!(filled(facts.clone()) == live);
    // Scattered as they would be in a log of years: each is found on its own.
    for reference in &wanted {
        let alone = reader.words(std::slice::from_ref(reference)).unwrap();
        assert_eq!(alone.len(), 1);
        assert_eq!(Some(&*alone[0].2), live.words.get(reference.word));
    }
    let before = shelf.counted("word");
    shelf.change(
        "DELETE FROM word WHERE about = (SELECT min(about) FROM word WHERE about LIKE '%person%')",
    );
    assert!(shelf.counted("word") < before);
    let mut replayed = State::default();
    follow(&reader, Edge::new(), None, |row| {
        kernel::apply(&mut replayed, &row);
        Ok(())
    })
    .unwrap();
    let filled = filled(facts);
    assert!(filled == replayed && filled != live);
    assert_eq!(snapshot::hash(&filled), snapshot::hash(&live), "the hash does not know words");
}
}

on_both! {
fn inv22_counters_of_later_sessions_are_one_stretch(on: On) {
    use comity_domain::ids::SessionId;
    use comity_store::{Calls, StoredCounts};
    let shelf = on.shelf();
    let mut calls = Calls::at(&shelf.place).unwrap();
    let all: Vec<_> = [u128::MAX, 7, 1, 1 << 127, 300]
        .map(|n| {
            (SessionId(n), StoredCounts { reserved: n as u64 % 1_000, ..StoredCounts::default() })
        })
        .into();
    calls.write(&all, &[]).unwrap();
    let mut sorted = all;
    sorted.sort_by_key(|(id, _)| *id);
    assert_eq!(calls.counters_from(SessionId(1)).unwrap(), sorted);
    assert_eq!(calls.counters_from(SessionId(8)).unwrap(), sorted[2..]);
    assert_eq!(calls.counters_from(SessionId(u128::MAX)).unwrap(), sorted[4..]);
}
}
