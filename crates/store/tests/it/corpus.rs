//! Rows as release 0.1 wrote them. Whatever comes later must read them, and a change of any stored
//! shape shows here before it reaches anybody's log.

use std::collections::BTreeSet;

use comity_domain::event::{Event, W};
use comity_domain::ids::{Digest32, OrganisationId};
use comity_domain::text::Word;
use comity_domain::time::Instant;
use comity_store::{Part, Stored, decode, encode, leaf};
use serde::{Deserialize, Serialize};

use crate::story::{long_story, odd_rows, salts};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/v1.jsonl");

#[derive(Serialize, Deserialize)]
struct Line {
    seq: u64,
    at: i64,
    header: String,
    parts: Vec<LinePart>,
    leaf: Digest32,
    words: Vec<(W, Word)>,
}

#[derive(Serialize, Deserialize)]
struct LinePart {
    readers: Vec<OrganisationId>,
    salt: [u8; 16],
    body: String,
}

impl Line {
    fn stored(&self) -> Stored {
        let part = |p: &LinePart| Part {
            readers: p.readers.iter().map(|r| r.0).collect(),
            salt: p.salt,
            body: p.body.clone().into_bytes(),
        };
        Stored {
            seq: self.seq,
            at: Instant(self.at),
            header: self.header.clone(),
            parts: self.parts.iter().map(part).collect(),
            leaf: self.leaf.0,
        }
    }
}

fn corpus() -> Vec<Line> {
    let text = std::fs::read_to_string(FILE).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes the corpus of this release: `cargo test -p comity-store write_corpus -- --ignored`.
#[test]
#[ignore = "writes the corpus; only for a new version of the format, under a new name"]
fn write_corpus() {
    let world = long_story();
    let mut salts = salts();
    let mut out = String::new();
    for row in world.rows.iter().chain(&odd_rows(world.state.seq, world.now)) {
        let stored = encode(row, &mut salts).unwrap();
        let part = |p: Part| LinePart {
            readers: p.readers.into_iter().map(OrganisationId).collect(),
            salt: p.salt,
            body: String::from_utf8(p.body).unwrap(),
        };
        let line = Line {
            seq: stored.seq,
            at: stored.at.0,
            header: stored.header,
            parts: stored.parts.into_iter().map(part).collect(),
            leaf: Digest32(stored.leaf),
            words: (0..).zip(row.words.clone()).collect(),
        };
        out += &serde_json::to_string(&line).unwrap();
        out.push('\n');
    }
    std::fs::write(FILE, out).unwrap();
}

/// The names of every event, as serde itself lists them to whoever asks for one that is not there.
fn every_tag() -> BTreeSet<String> {
    let error = serde_json::from_str::<Event>(r#"{"?":{}}"#).unwrap_err().to_string();
    let (_, list) = error.split_once("expected one of ").unwrap();
    list.split('`').skip(1).step_by(2).map(Into::into).collect()
}

#[test]
fn every_kind_of_event_stands_in_the_corpus() {
    let all = every_tag();
    assert!(
        all.len() > 45 && all.contains("application_defined") && all.contains("calls_sealed"),
        "{all:?}"
    );
    let mut found = BTreeSet::new();
    for line in corpus() {
        for recorded in decode(&line.stored(), line.words).unwrap().events {
            let json = recorded.event.told();
            found.insert(json["event"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(all, found, "left: what can happen; right: what the corpus holds");
}

#[test]
fn every_line_reads_and_writes_to_identical_bytes() {
    for line in corpus() {
        let stored = line.stored();
        assert_eq!(
            leaf::leaf_hash(stored.header.as_bytes(), &stored.parts),
            stored.leaf,
            "row {}",
            line.seq
        );
        let row = decode(&stored, line.words).unwrap();
        let mut again = encode(&row, &mut salts()).unwrap();
        for (new, old) in again.parts.iter_mut().zip(&stored.parts) {
            new.salt = old.salt; // the only thing that is drawn anew
        }
        again.leaf = leaf::leaf_hash(again.header.as_bytes(), &again.parts);
        assert_eq!(again, stored, "row {}", line.seq);
        for (new, old) in again.parts.iter().zip(&stored.parts) {
            assert_eq!(String::from_utf8_lossy(&new.body), String::from_utf8_lossy(&old.body));
        }
    }
}

#[test]
fn the_story_writes_what_the_corpus_holds() {
    // Salts and identifiers are seeded, so a difference is a change of the format or of a rule.
    let (world, corpus) = (long_story(), corpus());
    assert!(corpus.len() >= world.rows.len());
    let kinds: Vec<&str> = world.rows.iter().map(|r| &*r.kind).collect();
    let kept: Vec<String> = corpus
        .iter()
        .map(|l| {
            serde_json::from_str::<serde_json::Value>(&l.header).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(kinds, kept[..kinds.len()]);
}
