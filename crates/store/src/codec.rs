//! Rows to stored bytes and back.
//!
//! A row's content is split by reader: events with the same readers make one part, and the caller
//! stands in a part for those organisations alone for which the caller acted. A part's body is
//! canonical JSON of facts; a word stands in it only as its salted commitment. Each part counts its
//! events and words by itself; only the platform's own part knows the order over all of them. The
//! format is published in `docs/reference/log-format.md`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use comity_domain::command::Caller;
use comity_domain::event::{Event, Recorded, Row};
use comity_domain::ids::{CommandId, Digest32, Ids, OrganisationId};
use comity_domain::text::Word;
use comity_domain::time::Instant;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::leaf::{self, Hash, Part};

/// The version of every kind of row that this release writes. A change of an event's shape raises
/// it and adds an upcaster here.
const KIND_VERSION: u32 = 1;
/// What kinds of rows a release can read, as its lease tells the other nodes: a new kind is written
/// only when every live node shows it.
pub(crate) const FEATURE: u32 = 1;

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
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a Caller>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Cow<'a, Event>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<Committed>,
}

/// A word as a body holds it: the event of this part that refers to it, whom it is about (as an
/// identifier), the commitment.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Committed(pub u32, pub String, pub Digest32);

/// A body read back: a replay needs no commitments.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    caller: Option<Caller>,
    order: Option<Vec<u32>>,
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    words: Vec<(u32, IgnoredAny, IgnoredAny)>,
}

/// Splits a row by reader and seals it with fresh salts.
///
/// # Errors
/// Only of a row that no kernel of this release makes: it cannot be written as JSON, or a word
/// stands at no event or at one of another part than the event that refers to it.
pub fn encode(row: &Row, salts: &mut Ids) -> Result<Stored, CodecError> {
    let seq = row.seq;
    let json = |what| move |source| CodecError::Json { seq, what, source };
    let header = serde_json::to_string(&Header {
        v: 1,
        seq,
        at: row.at.0,
        kind: &row.kind,
        kind_v: KIND_VERSION,
        command: row.command,
    })
    .map_err(json("header"))?;
    let parts = split(row)?
        .into_iter()
        .map(|(readers, body)| {
            Ok(Part {
                readers: readers.iter().map(|r| r.0).collect(),
                salt: salts.bytes(),
                body: serde_json::to_vec(&body).map_err(json("body"))?,
            })
        })
        .collect::<Result<Vec<Part>, CodecError>>()?;
    let leaf = leaf::leaf_hash(header.as_bytes(), &parts);
    Ok(Stored { seq, at: row.at, header, parts, leaf })
}

/// The bodies of a row by their readers. Each counts its own events and words, so that none says
/// what the row held for others.
fn split(row: &Row) -> Result<BTreeMap<&[OrganisationId], Body<'_>>, CodecError> {
    let shape = |what| CodecError::Shape { seq: row.seq, what };
    let mut bodies: BTreeMap<&[OrganisationId], Body<'_>> = BTreeMap::new();
    bodies.entry(&row.acting).or_default().caller = Some(&row.caller);
    // Where each word of the row stands among those of its part.
    let mut places: Vec<u32> = Vec::with_capacity(row.words.len());
    for (ix, recorded) in row.events.iter().enumerate() {
        let body = bodies.entry(&recorded.readers).or_default();
        let position = body.events.len() as u32;
        let first = places.len();
        while let Some(word) = row.words.get(places.len()).filter(|w| w.event as usize == ix) {
            let text = word.text.as_deref().ok_or_else(|| shape("a new word is erased"))?;
            let commitment = Digest32(leaf::word_commitment(&word.salt, text));
            places.push(body.words.len() as u32);
            body.words.push(Committed(position, word.about.to_string(), commitment));
        }
        let (mut foreign, mut moved) = (false, false);
        let mut event = recorded.event.clone();
        event.each_word(|w| match places.get(*w as usize) {
            Some(place) if *w as usize >= first => {
                moved |= place != w;
                *w = *place;
            }
            _ => foreign = true,
        });
        if foreign {
            return Err(shape("an event refers to a word that is not its own"));
        }
        let kept = if moved { Cow::Owned(event) } else { Cow::Borrowed(&recorded.event) };
        body.events.push(kept);
    }
    if places.len() < row.words.len() {
        return Err(shape("a word stands at no event, or out of order"));
    }
    if bodies.values().filter(|body| !body.events.is_empty()).count() > 1 {
        bodies.entry(&[]).or_default();
        let numbers: BTreeMap<&[OrganisationId], u32> = bodies.keys().copied().zip(0..).collect();
        let of = |e: &'_ Recorded| numbers.get(e.readers.as_slice()).copied().unwrap_or_default();
        let order = row.events.iter().map(of).collect();
        bodies.entry(&[]).or_default().order = Some(order);
    }
    Ok(bodies)
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
    if !in_order(&stored.parts) {
        return Err(shape("the parts or their readers are out of order"));
    }
    let mut caller = None;
    let mut order = None;
    let mut bodies: Vec<(Vec<OrganisationId>, Facts)> = Vec::with_capacity(stored.parts.len());
    for part in &stored.parts {
        let mut body: Facts = serde_json::from_slice(&part.body)
            .map_err(|source| CodecError::Json { seq, what: "body", source })?;
        let readers: Vec<OrganisationId> =
            part.readers.iter().map(|r| OrganisationId(*r)).collect();
        if let Some(found) = body.caller.take()
            && caller.replace((found, readers.clone())).is_some()
        {
            return Err(shape("two callers called it"));
        }
        if let Some(found) = body.order.take() {
            order = readers.is_empty().then_some(found);
        }
        bodies.push((readers, body));
    }
    let (caller, acting) = caller.ok_or_else(|| shape("nobody called it"))?;
    let many = bodies.iter().filter(|(_, body)| !body.events.is_empty()).count() > 1;
    let events = match (many, order) {
        (false, None) => bodies
            .into_iter()
            .flat_map(|(readers, body)| body.events.into_iter().map(move |e| (e, readers.clone())))
            .map(|(event, readers)| Recorded { event, readers })
            .collect(),
        (true, Some(order)) => {
            merge(bodies, &order).ok_or_else(|| shape("the order is not that of its events"))?
        }
        _ => return Err(shape("the order of the events is missing, or not needed")),
    };
    Ok(Row {
        seq,
        at: stored.at,
        command: header.command,
        kind: Arc::from(header.kind),
        caller,
        acting,
        events,
        words: place(words),
    })
}

/// The time in a header, if it is one of this format, spelt as it must be, and of this row.
pub(crate) fn header_time(text: &str, seq: u64) -> Option<i64> {
    let header: Header<'_> = serde_json::from_str(text).ok()?;
    let spelt = serde_json::to_string(&header).is_ok_and(|again| again == text);
    (spelt && header.v == 1 && header.seq == seq && header.at >= 0).then_some(header.at)
}

/// Whether parts and readers stand as they are written: ascending, each once, and the platform
/// as nobody. The leaf does not tell, and the order of the events counts by it.
pub(crate) fn in_order(parts: &[Part]) -> bool {
    parts.is_sorted_by(|a, b| a.readers < b.readers)
        && parts.iter().all(|part| {
            part.readers.is_sorted_by(|a, b| a < b) && part.readers.first() != Some(&leaf::PLATFORM)
        })
}

/// The events of several parts in the order of the row, their words counted over the row.
fn merge(bodies: Vec<(Vec<OrganisationId>, Facts)>, order: &[u32]) -> Option<Vec<Recorded>> {
    struct Left {
        readers: Vec<OrganisationId>,
        events: std::vec::IntoIter<Event>,
        words: Vec<(u32, IgnoredAny, IgnoredAny)>,
        taken: u32,
        /// Where each word met so far stands in the row.
        places: Vec<u32>,
    }
    let mut parts: Vec<Left> = bodies
        .into_iter()
        .map(|(readers, body)| Left {
            readers,
            events: body.events.into_iter(),
            places: Vec::with_capacity(body.words.len()),
            words: body.words,
            taken: 0,
        })
        .collect();
    let mut next_word = 0u32;
    let mut events = Vec::with_capacity(order.len());
    for number in order {
        let part = parts.get_mut(*number as usize)?;
        let mut event = part.events.next()?;
        while part.words.get(part.places.len()).is_some_and(|word| word.0 == part.taken) {
            part.places.push(next_word);
            next_word = next_word.checked_add(1)?;
        }
        part.taken = part.taken.checked_add(1)?;
        let mut known = true;
        event.each_word(|w| match part.places.get(*w as usize) {
            Some(place) => *w = *place,
            None => known = false,
        });
        if !known {
            return None;
        }
        events.push(Recorded { event, readers: part.readers.clone() });
    }
    let done = |p: &Left| p.events.as_slice().is_empty() && p.places.len() == p.words.len();
    parts.iter().all(done).then_some(events)
}

/// For each word of a row, counted over the row: the part that commits to it, and how. For whoever
/// verifies; `None` if the bodies are not what [`encode`] writes.
pub(crate) fn commitments(stored: &Stored) -> Option<Vec<(usize, u32, Committed)>> {
    #[derive(Deserialize)]
    struct Words {
        #[serde(default)]
        order: Vec<u32>,
        #[serde(default)]
        events: Vec<IgnoredAny>,
        #[serde(default)]
        words: Vec<Committed>,
    }
    let mut order = Vec::new();
    let mut parts = Vec::with_capacity(stored.parts.len());
    for (number, part) in (0u32..).zip(&stored.parts) {
        let body: Words = serde_json::from_slice(&part.body).ok()?;
        if part.readers.is_empty() && !body.order.is_empty() {
            order = body.order;
        } else if order.is_empty() && !body.events.is_empty() {
            order = vec![number; body.events.len()];
        }
        parts.push((body.words.into_iter().peekable(), 0u32));
    }
    let mut out = Vec::new();
    for (event, number) in (0u32..).zip(order) {
        let (words, taken) = parts.get_mut(number as usize)?;
        while let Some(word) = words.next_if(|w| w.0 == *taken) {
            out.push((number as usize, event, word));
        }
        *taken = taken.checked_add(1)?;
    }
    parts.iter_mut().all(|(words, _)| words.peek().is_none()).then_some(out)
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
