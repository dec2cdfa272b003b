//! Rows to stored bytes and back.
//!
//! A row's content is split by reader: events with the same readers make one part, and the caller
//! stands in a part for those organisations alone for which the caller acted. A part's body is
//! canonical JSON of facts; a word stands in it only as its salted commitment. The format is
//! published in `docs/reference/log-format.md`.

use std::collections::BTreeMap;
use std::sync::Arc;

use comity_domain::command::Caller;
use comity_domain::event::{Event, Recorded, Row};
use comity_domain::ids::{CommandId, Digest32, Ids, OrganisationId};
use comity_domain::text::Word;
use comity_domain::time::Instant;
use serde::{Deserialize, Serialize};

use crate::leaf::{self, Hash, Part};

/// The version of every kind of row that this release writes. A change of an event's shape raises
/// it and adds an upcaster here.
const KIND_VERSION: u32 = 1;
/// What kinds of rows a release can read, as its lease tells the other nodes: a new kind is written
/// only when every live node shows it.
pub(crate) const FEATURE: u32 = 1;
/// No row has more events: what claims to is damaged.
const MOST_EVENTS: usize = 4_000_000;

/// A row as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The position.
    pub seq: u64,
    /// The time.
    pub at: Instant,
    /// The canonical header.
    pub header: String,
    /// The parts.
    pub parts: Vec<Part>,
    /// The leaf over both.
    pub leaf: Hash,
}

/// What cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The row's own JSON is broken or of a shape that this release does not know.
    #[error("row {seq}: {what}: {source}")]
    Json {
        /// Which row.
        seq: u64,
        /// Which piece.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A piece is missing or of a version that this release does not know.
    #[error("row {seq}: {what}")]
    Shape {
        /// Which row.
        seq: u64,
        /// What.
        what: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    v: u32,
    seq: u64,
    at: i64,
    kind: &'a str,
    kind_v: u32,
    command: CommandId,
}

#[derive(Serialize, Default)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<Caller>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<(u32, Event)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<(u32, Digest32)>,
}

/// A body read back: a replay needs no commitments.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    caller: Option<Caller>,
    #[serde(default)]
    events: Vec<(u32, Event)>,
    #[serde(default, rename = "words")]
    _words: serde::de::IgnoredAny,
}

/// Splits a row by reader and seals it with fresh salts.
///
/// # Errors
/// Only if a row cannot be written as JSON, which no row of this release does.
pub fn encode(row: &Row, salts: &mut Ids) -> Result<Stored, CodecError> {
    let json = |what| move |source| CodecError::Json { seq: row.seq, what, source };
    let header = serde_json::to_string(&Header {
        v: 1,
        seq: row.seq,
        at: row.at.0,
        kind: &row.kind,
        kind_v: KIND_VERSION,
        command: row.command,
    })
    .map_err(json("header"))?;
    let mut bodies: BTreeMap<Vec<OrganisationId>, Body> = BTreeMap::new();
    bodies.entry(row.acting.clone()).or_default().caller = Some(row.caller.clone());
    for (ix, recorded) in (0u32..).zip(&row.events) {
        let body = bodies.entry(recorded.readers.clone()).or_default();
        body.events.push((ix, recorded.event.clone()));
    }
    for (ix, word) in (0u32..).zip(&row.words) {
        if let (Some(text), Some(event)) = (&word.text, row.events.get(word.event as usize)) {
            let commitment = Digest32(leaf::word_commitment(&word.salt, text));
            bodies.entry(event.readers.clone()).or_default().words.push((ix, commitment));
        }
    }
    let parts = bodies
        .into_iter()
        .map(|(readers, body)| {
            Ok(Part {
                readers: readers.into_iter().map(|r| r.0).collect(),
                salt: salts.bytes(),
                body: serde_json::to_vec(&body).map_err(json("body"))?,
            })
        })
        .collect::<Result<Vec<Part>, CodecError>>()?;
    let leaf = leaf::leaf_hash(header.as_bytes(), &parts);
    Ok(Stored { seq: row.seq, at: row.at, header, parts, leaf })
}

/// Puts a row together again. `words` are those that were not erased.
///
/// # Errors
/// [`CodecError`] names the row.
pub fn decode(stored: &Stored, words: Vec<(u32, Word)>) -> Result<Row, CodecError> {
    let seq = stored.seq;
    let shape = |what| CodecError::Shape { seq, what };
    let header: Header<'_> = serde_json::from_str(&stored.header)
        .map_err(|source| CodecError::Json { seq, what: "header", source })?;
    if header.v != 1 || header.kind_v != KIND_VERSION {
        return Err(shape("written by a newer release"));
    }
    if header.seq != seq || header.at != stored.at.0 {
        return Err(shape("the header is of another row"));
    }
    let mut caller = None;
    let mut events: Vec<Option<Recorded>> = Vec::new();
    for part in &stored.parts {
        let body: Facts = serde_json::from_slice(&part.body)
            .map_err(|source| CodecError::Json { seq, what: "body", source })?;
        let readers: Vec<OrganisationId> =
            part.readers.iter().map(|r| OrganisationId(*r)).collect();
        if let Some(found) = body.caller {
            caller = Some((found, readers.clone()));
        }
        for (ix, event) in body.events {
            let ix = ix as usize;
            if ix >= MOST_EVENTS {
                return Err(shape("an event stands out of place"));
            }
            if events.len() <= ix {
                events.resize(ix + 1, None);
            }
            if let Some(place) = events.get_mut(ix) {
                // Each event is told once, in the same bytes to all who may read it (inv26).
                if place.is_some() {
                    return Err(shape("an event stands twice"));
                }
                *place = Some(Recorded { event, readers: readers.clone() });
            }
        }
    }
    let (caller, acting) = caller.ok_or_else(|| shape("nobody called it"))?;
    let events: Option<Vec<Recorded>> = events.into_iter().collect();
    Ok(Row {
        seq,
        at: stored.at,
        command: header.command,
        kind: Arc::from(header.kind),
        caller,
        acting,
        events: events.ok_or_else(|| shape("an event is missing"))?,
        words: place(words),
    })
}

/// Words by their places; an erased one leaves a gap that says nothing.
fn place(words: Vec<(u32, Word)>) -> Vec<Word> {
    let mut out: Vec<Word> = Vec::with_capacity(words.len());
    for (ix, word) in words {
        while out.len() < ix as usize {
            out.push(Word { text: None, salt: [0; 16], ..word.clone() });
        }
        out.push(word);
    }
    out
}

/// Parts as one value: count, then for each part its readers, salt and body with lengths.
#[must_use]
pub fn pack(parts: &[Part]) -> Vec<u8> {
    let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = length(parts.len()).to_vec();
    for part in parts {
        out.extend(length(part.readers.len()));
        for reader in &part.readers {
            out.extend(reader.to_be_bytes());
        }
        out.extend(part.salt);
        out.extend(length(part.body.len()));
        out.extend(&part.body);
    }
    out
}

/// Reads what [`pack`] wrote; `None` if the bytes are anything else.
#[must_use]
pub fn unpack(bytes: &[u8]) -> Option<Vec<Part>> {
    fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
        let (head, rest) = bytes.split_first_chunk::<N>()?;
        *bytes = rest;
        Some(*head)
    }
    let mut rest = bytes;
    let count = u32::from_be_bytes(take(&mut rest)?) as usize;
    let mut parts = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let readers = u32::from_be_bytes(take(&mut rest)?) as usize;
        let readers = (0..readers)
            .map(|_| Some(u128::from_be_bytes(take(&mut rest)?)))
            .collect::<Option<_>>()?;
        let salt = take(&mut rest)?;
        let length = u32::from_be_bytes(take(&mut rest)?) as usize;
        let body = rest.get(..length)?.to_vec();
        rest = rest.get(length..)?;
        parts.push(Part { readers, salt, body });
    }
    rest.is_empty().then_some(parts)
}
