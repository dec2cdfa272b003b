//! Going through the log from any place of it, with everything checked that can be.
//!
//! One thread reads, two decode and recompute the leaves, and the caller applies: on two cores a
//! replay takes hardly longer than the slowest of them alone.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use comity_domain::event::Row;
use comity_domain::text::Word;

use crate::codec::{self, Stored};
use crate::leaf::leaf_hash;
use crate::log::{Head, StoreError};
use crate::merkle::Edge;
use crate::read::Reader;

/// How many rows go from thread to thread at a time.
const AHEAD: usize = 256;
/// How many such batches wait before each thread.
const WAITING: usize = 4;
/// How many threads decode.
const DECODERS: usize = 2;

/// How far a reading came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The edge of the tree over all leaves up to there.
    pub edge: Edge,
    /// Where the log stood; `None` if the reading stopped before its end.
    pub head: Option<Head>,
}

type Raw = Vec<(Stored, Vec<(u32, Word)>)>;

/// Reads the rows after those of `edge` up to `until`, or to the head, in order. Every leaf is
/// recomputed and pushed on the edge; at the head, the root has to be the head's.
///
/// # Errors
/// Of the store, [`StoreError::Corrupt`] for a log that is not what its head says, or the first
/// that `each` returns.
pub fn follow(
    reader: &Reader,
    edge: Edge,
    until: Option<u64>,
    mut each: impl FnMut(Row) -> Result<(), StoreError>,
) -> Result<Followed, StoreError> {
    std::thread::scope(|scope| {
        let (mut raw, mut rows, mut decoding) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..DECODERS {
            let (to_decoder, from_reader) = sync_channel::<Raw>(WAITING);
            let (to_caller, from_decoder) = sync_channel::<Vec<Row>>(WAITING);
            raw.push(to_decoder);
            rows.push(from_decoder);
            decoding.push(Some(scope.spawn(move || decode(&from_reader, &to_caller))));
        }
        let reading = scope.spawn(move || read(reader, edge, until, &raw));
        // By turns, as they were read; the first whose turn brings nothing is at the end.
        let mut turn = 0;
        while let Some(batch) = rows.get(turn).and_then(|from| from.recv().ok()) {
            batch.into_iter().try_for_each(&mut each)?;
            turn = (turn + 1) % DECODERS;
        }
        rows.clear();
        let gone = || StoreError::Corrupt { seq: 0, what: "a reading thread is gone" };
        if let Some(thread) = decoding.get_mut(turn).and_then(Option::take) {
            thread.join().map_err(|_| gone())??;
        }
        let followed = reading.join().map_err(|_| gone())??;
        match &followed.head {
            Some(head) if head.seq != followed.edge.size() => Err(StoreError::Corrupt {
                seq: followed.edge.size() + 1,
                what: "is missing: run comity audit verify",
            }),
            Some(head) if head.root != followed.edge.root() || head.edge != followed.edge => {
                Err(StoreError::Corrupt {
                    seq: head.seq,
                    what: "the head's root is not the log's: run comity audit verify",
                })
            }
            _ => Ok(followed),
        }
    })
}

fn read(
    reader: &Reader,
    mut edge: Edge,
    until: Option<u64>,
    to: &[SyncSender<Raw>],
) -> Result<Followed, StoreError> {
    let after = edge.size();
    // Whoever applies has an error of its own to tell, or has enough.
    let stopped = || StoreError::Corrupt { seq: after, what: "is not wanted any more" };
    let (mut batch, mut turn, mut enough) = (Vec::with_capacity(AHEAD), 0, until == Some(after));
    let mut send = |batch: Raw| {
        let sent = to.get(turn).is_some_and(|to| to.send(batch).is_ok());
        turn = (turn + 1) % DECODERS;
        sent.then_some(()).ok_or_else(stopped)
    };
    let scanned = reader.scan(after, |stored, words| {
        if enough {
            return Err(stopped());
        }
        if stored.seq != edge.size() + 1 {
            let what = "is missing: run comity audit verify";
            return Err(StoreError::Corrupt { seq: edge.size() + 1, what });
        }
        edge.push(stored.leaf);
        enough = until == Some(stored.seq);
        batch.push((stored, words));
        if batch.len() == AHEAD {
            send(std::mem::replace(&mut batch, Vec::with_capacity(AHEAD)))?;
        }
        Ok(())
    });
    let head = match scanned {
        Err(_) if enough => None,
        other => Some(other?),
    };
    send(batch)?;
    Ok(Followed { edge, head })
}

fn decode(from: &Receiver<Raw>, to: &SyncSender<Vec<Row>>) -> Result<(), StoreError> {
    for batch in from {
        let row = |(stored, words): (Stored, Vec<(u32, Word)>)| {
            if leaf_hash(stored.header.as_bytes(), &stored.parts) != stored.leaf {
                let what = "the leaf is not that of its header and parts";
                return Err(StoreError::Corrupt { seq: stored.seq, what });
            }
            Ok(codec::decode(&stored, words)?)
        };
        let rows = batch.into_iter().map(row).collect::<Result<Vec<Row>, StoreError>>()?;
        if to.send(rows).is_err() {
            break;
        }
    }
    Ok(())
}
