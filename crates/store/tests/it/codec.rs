//! Rows to bytes and back: nothing is lost, and no part says what its readers may not know.

use std::collections::BTreeSet;

use comity_domain::event::{Event, Row, W};
use comity_domain::ids::{Ids, OrganisationId};
use comity_domain::text::Word;
use comity_store::{Part, Stored, decode, encode, leaf, pack, unpack};

use crate::story::{long_story, odd_rows, salts};

/// The words of a row as the store keeps them.
pub fn words(row: &Row) -> Vec<(W, Word)> {
    (0..).zip(row.words.clone()).collect()
}

#[test]
fn every_row_reads_back_as_it_was() {
    let world = long_story();
    let odd = odd_rows(world.state.seq, world.now);
    for row in world.rows.iter().chain(&odd) {
        let stored = encode(row, &mut salts()).unwrap();
        assert_eq!(&decode(&stored, words(row)).unwrap(), row);
        assert_eq!(unpack(&pack(&stored.parts)).as_ref(), Some(&stored.parts));
    }
    assert!(
        world.rows.iter().any(|r| encode(r, &mut salts()).unwrap().parts.len() >= 3),
        "a row of several parts"
    );
}

#[test]
fn a_row_without_its_words_still_has_its_facts() {
    for row in long_story().rows {
        let stored = encode(&row, &mut salts()).unwrap();
        let bare = decode(&stored, Vec::new()).unwrap();
        assert_eq!(bare.events, row.events);
        for gone in 0..row.words.len() {
            let mut left = words(&row);
            left.remove(gone);
            let read = decode(&stored, left).unwrap();
            for (ix, word) in row.words.iter().enumerate() {
                let found = read.words.get(ix).and_then(|w| w.text.clone());
                assert_eq!(
                    found,
                    word.text.clone().filter(|_| ix != gone),
                    "word {ix} of row {}",
                    row.seq
                );
            }
        }
    }
}

/// Where an identifier of an organisation would stand in a part: as text or as bytes.
fn names(part: &Part, organisation: OrganisationId) -> bool {
    let text = organisation.to_string();
    let bytes = organisation.0.to_be_bytes();
    part.body.windows(text.len()).any(|w| w == text.as_bytes())
        || part.body.windows(16).any(|w| w == bytes)
}

#[test]
fn t01_the_shared_part_of_a_pending_request_does_not_name_whom_it_asks() {
    let world = long_story();
    let mut seen = 0;
    for row in &world.rows {
        let addressed = row.events.iter().find_map(|r| match r.event {
            Event::RequestAddressed { customer, .. } => Some(customer),
            _ => None,
        });
        let Some(customer) = addressed else { continue };
        let Stored { parts, header, .. } = encode(row, &mut salts()).unwrap();
        assert!(!header.contains(&customer.to_string()));
        for part in parts.iter().filter(|p| p.readers != [customer.0]) {
            assert!(
                !names(part, customer),
                "row {}: {}",
                row.seq,
                String::from_utf8_lossy(&part.body)
            );
            seen += 1;
        }
        assert!(parts.iter().any(|p| p.readers == [customer.0] && names(p, customer)));
    }
    assert!(seen >= 4);
}

#[test]
fn t05_no_part_holds_a_word_in_clear() {
    for row in long_story().rows {
        let stored = encode(&row, &mut salts()).unwrap();
        for word in &row.words {
            let text = word.text.clone().unwrap();
            let clear = serde_json::to_string(&*text).unwrap();
            let found = stored
                .parts
                .iter()
                .any(|p| p.body.windows(clear.len()).any(|w| w == clear.as_bytes()));
            // A code or audience is a fact; only a word that is spelled like one may be found.
            assert!(!found || text.len() < 8, "{text} in row {}", row.seq);
        }
    }
}

#[test]
fn no_tag_and_no_part_hash_is_the_same_in_two_rows() {
    let mut source = salts();
    let (mut tags, mut hashes, mut entries) = (BTreeSet::new(), BTreeSet::new(), 0);
    for row in long_story().rows {
        // Twice, as if the same thing had happened again.
        for _ in 0..2 {
            let stored = encode(&row, &mut source).unwrap();
            for part in &stored.parts {
                assert!(hashes.insert(leaf::part_hash(&part.salt, &part.body)), "row {}", row.seq);
            }
            for (tag, _) in leaf::leaf_entries(&stored.parts) {
                assert!(tags.insert(tag), "a reader can be followed from row to row: {}", row.seq);
                entries += 1;
            }
        }
    }
    assert_eq!(tags.len(), entries);
    assert!(entries > 200);
}

#[test]
fn a_reader_with_its_own_parts_and_hashes_of_the_rest_recomputes_the_leaf() {
    for row in long_story().rows {
        let stored = encode(&row, &mut Ids::new([9; 32])).unwrap();
        let all: BTreeSet<u128> = stored.parts.iter().flat_map(|p| p.readers.clone()).collect();
        for reader in all {
            let (own, others): (Vec<Part>, Vec<Part>) =
                stored.parts.iter().cloned().partition(|p| p.readers.contains(&reader));
            let mut known = leaf::leaf_entries(&own);
            known.extend(leaf::leaf_entries(&others)); // all that it is given of these
            assert_eq!(leaf::leaf_hash_from_entries(stored.header.as_bytes(), &known), stored.leaf);
        }
    }
}

#[test]
fn bytes_that_this_release_never_wrote_are_an_error_and_no_panic() {
    let row = &long_story().rows[20];
    let stored = encode(row, &mut salts()).unwrap();
    let packed = pack(&stored.parts);
    for cut in 0..packed.len() {
        assert_eq!(unpack(&packed[..cut]), None, "cut to {cut} bytes");
    }
    assert_eq!(unpack(&[&packed[..], &[0]].concat()), None, "one byte too many");
    assert_eq!(unpack(&[0xff; 64]), None);
    let with = |header: String| Stored { header, ..stored.clone() };
    for header in [
        String::new(),
        "{}".into(),
        stored.header.replace("\"v\":1", "\"v\":2"),
        stored.header.replace("\"kind_v\":1", "\"kind_v\":2"),
        stored.header.replace(&format!("\"seq\":{}", row.seq), "\"seq\":999"),
    ] {
        assert!(decode(&with(header.clone()), Vec::new()).is_err(), "{header}");
    }
    let mut unknown = stored.clone();
    unknown.parts[0].body = br#"{"events":[[0,{"something_new":{}}]]}"#.to_vec();
    assert!(decode(&unknown, Vec::new()).is_err(), "an unknown kind stops the reading");
    let mut lost = stored.clone();
    lost.parts.clear();
    assert!(decode(&lost, Vec::new()).is_err(), "nobody called it");
}

#[test]
fn inv26_an_event_that_is_told_twice_is_not_read() {
    let world = long_story();
    let whole = world.rows.iter().find(|r| r.events.iter().any(|e| e.readers.len() == 2)).unwrap();
    let mut stored = encode(whole, &mut salts()).unwrap();
    let told = |p: &&Part| p.readers.len() == 2 && p.body.windows(8).any(|w| w == b"\"events\"");
    let mut twin = stored.parts.iter().find(told).unwrap().clone();
    assert!(decode(&stored, words(whole)).is_ok());
    // The same event for a third reader, told otherwise or not.
    twin.readers = vec![99];
    stored.parts.push(twin);
    let refused = decode(&stored, words(whole)).unwrap_err().to_string();
    assert!(refused.contains("an event stands twice"), "{refused}");
}
