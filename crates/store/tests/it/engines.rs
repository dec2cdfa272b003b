//! The same log on both engines: what goes in comes out, with the same roots.

use comity_domain::ids::Ids;
use comity_domain::ids::SessionId;
use comity_domain::kernel;
use comity_domain::state::State;
use comity_domain::time::Instant;
use comity_store::postgres::{Server, migrate};
use comity_store::{
    CallRecord, Calls, Edge, NodeId, Place, Reader, Store, StoredCounts, copy, verify,
};

use crate::postgres;
use crate::story::{Shelf, alone, long_story, read_all};

/// An empty, migrated database as this node.
pub fn place(node: u128) -> Place {
    let server = Server::parse(&postgres::fresh_database("engines")).unwrap();
    assert_eq!(migrate(&server).unwrap(), 0);
    assert_eq!(migrate(&server).unwrap(), 1, "a second time there is nothing to do");
    Place::Postgres(server, NodeId(node))
}

#[test]
fn the_same_rows_have_the_same_roots_on_both_engines() {
    let world = long_story();
    let shelf = Shelf::empty();
    let place = place(1);
    let (mut file, mut server) = (shelf.open(), Store::at(&place).unwrap());
    for part in world.rows.chunks(7) {
        let a = file.append(&alone(part), &mut Ids::new([7; 32])).unwrap();
        let b = server.append(&alone(part), &mut Ids::new([7; 32])).unwrap();
        assert_eq!(a, b);
        assert_eq!(server.head().unwrap(), b);
    }
    assert_eq!(read_all(&server), read_all(&file));
    let mut state = State::default();
    let mut edge = Edge::new();
    let head = server.head().unwrap();
    server
        .read_on(&mut edge, head.seq, |row| {
            kernel::apply(&mut state, &row);
            Ok(())
        })
        .unwrap();
    assert!(state == world.state);
    assert_eq!(edge.root(), head.root);
    let (a, b) = (Reader::new(&shelf.path), Reader::at(&place));
    assert_eq!(a.rows(None, 3, 50).unwrap(), b.rows(None, 3, 50).unwrap());
    for (id, _) in world.state.organisations.iter() {
        assert_eq!(a.rows(Some(id), 0, 500).unwrap(), b.rows(Some(id), 0, 500).unwrap());
    }
}

/// From a file to a server and back to a file: the same roots, rows, words, counts and records.
#[test]
fn a_copy_from_engine_to_engine_is_the_same_installation() {
    let world = long_story();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, server) = (Place::Folder(first.path().into()), place(5));
    let back = Place::Folder(second.path().into());
    let mut store = Store::at(&from).unwrap();
    let head = store.append(&alone(&world.rows), &mut Ids::new([7; 32])).unwrap();
    drop(store);
    let sessions: Vec<SessionId> = world.state.sessions.iter().map(|(id, _)| id).collect();
    let counts = StoredCounts { reserved: 300, allowed: 7, refused: 2, late: 1, uncertain: 0 };
    let record = |n: i64| CallRecord {
        session: SessionId(n as u128),
        at: Instant(n),
        permission: "boats:read".into(),
        resource: "account:pier".into(),
        reason: "allowed".into(),
        late: n % 2 == 0,
    };
    let mut books = Calls::at(&from).unwrap();
    let counters: Vec<_> = sessions.iter().chain([&SessionId(1)]).map(|id| (*id, counts)).collect();
    books.write(&counters, &(1..=9).map(record).collect::<Vec<_>>()).unwrap();
    let segment = books.next_segment().unwrap().unwrap();
    books.sealed(segment.segment).unwrap();
    books.stop().unwrap();
    drop(books);

    let there = copy(&from, &server, true).unwrap();
    let again = copy(&server, &back, true).unwrap();
    assert_eq!((&there, &there.head), (&again, &head), "equal roots, as many rows in all tables");
    assert!(there.was_clean && there.rows > head.seq + 19);
    for target in [&server, &back] {
        copy(&from, target, false).unwrap_err(); // neither is empty any more
        let mut books = Calls::at(target).unwrap();
        assert!(books.was_clean(), "nothing is uncertain");
        for (session, counts) in &counters {
            assert_eq!(books.counter(*session).unwrap(), Some(*counts));
        }
        assert_eq!(books.recompute(segment.segment).unwrap(), Some(segment.clone()));
        books.write(&[], &[record(10)]).unwrap(); // numbers go on where they were
    }
    let whole = verify(&Reader::new(&Place::log_file(second.path())), None).unwrap();
    assert_eq!((whole.first_bad, whole.root.0), (None, head.root));
    let (a, b, c) = (Reader::at(&from), Reader::at(&server), Reader::at(&back));
    let rows = a.rows(None, 0, usize::MAX).unwrap();
    assert_eq!(rows, world.rows, "words included");
    assert_eq!(b.rows(None, 0, 1_000_000).unwrap(), rows);
    assert_eq!(c.rows(None, 0, usize::MAX).unwrap(), rows);
    // The log goes on in each of them with the same root.
    let mut goes_on = Store::at(&server).unwrap();
    assert_eq!(goes_on.head().unwrap(), head);
    assert_eq!(goes_on.lock().unwrap(), head);
    goes_on.release();
}
