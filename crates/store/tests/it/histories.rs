//! The model's random histories on both engines: the same rows lie there with the same roots, and
//! lead to the state that the kernel decided, erased words and all.

use comity_domain::draft::SideWrite;
use comity_domain::event::{Event, Row};
use comity_domain::ids::Ids;
use comity_domain::kernel;
use comity_domain::snapshot::{self, Facts};
use comity_domain::state::State;
use comity_store::{Edge, Reader, follow, verify};

use crate::model::coverage::Coverage;
use crate::model::{Run, set_up};
use crate::story::{On, Shelf};

/// What an erasure takes along: it stands in the same row.
fn beside(row: &Row) -> Vec<SideWrite> {
    let erased = |event: &Event| match event {
        Event::WordsErased { subject } => Some(SideWrite::EraseWords(*subject)),
        _ => None,
    };
    row.events.iter().filter_map(|e| erased(&e.event)).collect()
}

fn replayed(reader: &Reader) -> (Vec<Row>, State, Edge) {
    let (mut rows, mut state) = (Vec::new(), State::default());
    let followed = follow(reader, Edge::new(), None, |row| {
        kernel::apply(&mut state, &row);
        rows.push(row);
        Ok(())
    });
    (rows, state, followed.unwrap().edge)
}

fn from_a_snapshot(reader: &Reader, state: &State) -> State {
    let facts = Facts::read(&snapshot::write(state)).unwrap();
    let wanted = facts.references();
    let words = reader.words(&wanted).unwrap();
    let mut loaded = facts.follow();
    loaded.speak(snapshot::words(words));
    loaded
}

/// One history, in batches of the same random sizes on either engine.
fn on_either(seed: u64, erased: &mut usize) {
    let mut run = Run::new(&set_up(), seed);
    run.go(&mut Coverage::default());
    let shelves: [Shelf; 2] = [On::Sqlite.shelf(), On::Postgres.shelf()];
    let mut stores = [shelves[0].open(), shelves[1].open()];
    let mut salts = [Ids::new([8; 32]), Ids::new([8; 32])];
    let (mut left, mut random) = (run.written.as_slice(), seed);
    while !left.is_empty() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let size = (1 + (random >> 33) as usize % 24).min(left.len());
        let (batch, rest) = left.split_at(size);
        let batch: Vec<_> = batch.iter().map(|row| (row.clone(), beside(row))).collect();
        *erased += batch.iter().map(|(_, side)| side.len()).sum::<usize>();
        let heads: Vec<_> = stores
            .iter_mut()
            .zip(&mut salts)
            .map(|(store, salts)| store.append(&batch, salts).unwrap())
            .collect();
        assert_eq!(heads[0], heads[1], "seed {seed}");
        left = rest;
    }
    let [file, server] = [shelves[0].reader(), shelves[1].reader()];
    let [a, b] = [replayed(&file), replayed(&server)];
    assert!(a.0 == b.0, "seed {seed}: other rows");
    assert_eq!(a.0.len(), run.written.len());
    assert_eq!((&a.2, a.2.root()), (&b.2, server.head().unwrap().root), "seed {seed}");
    for (state, reader) in [(&a.1, &file), (&b.1, &server)] {
        assert!(*state == run.w.state, "seed {seed}: a replay leads elsewhere");
        assert!(from_a_snapshot(reader, state) == run.w.state, "seed {seed}: a snapshot does");
        assert_eq!(verify(reader, None).unwrap().first_bad, None, "seed {seed}");
    }
    for table in ["log", "word", "audit_index", "session_history"] {
        assert_eq!(shelves[0].counted(table), shelves[1].counted(table), "seed {seed}: {table}");
    }
}

#[test]
fn inv24_inv25_random_histories_are_the_same_on_both_engines_and_lead_to_what_was_decided() {
    let runs = std::env::var("COMITY_MODEL_RUNS").ok().map_or(5, |n| n.parse().unwrap());
    let mut erased = 0;
    (0..runs).for_each(|seed| on_either(seed, &mut erased));
    assert!(erased > 0, "nothing was erased");
}
