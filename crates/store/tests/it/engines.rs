//! The same log on both engines: what goes in comes out, with the same roots.

use comity_domain::ids::Ids;
use comity_domain::kernel;
use comity_domain::state::State;
use comity_store::postgres::{Server, migrate};
use comity_store::{Edge, NodeId, Place, Reader, Store};

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
