//! `audit verify`: recomputes every leaf and every root, and names the first row that is wrong.
//!
//! Reads only, so it may run beside a server.

use std::collections::VecDeque;

use crate::checkpoint::SizedKept;
use crate::codec::{self, Committed};
use crate::leaf;
use crate::log::StoreError;
use crate::merkle::{Edge, Hash};
use crate::note::{self, Checkpoint, NoteError, Verifier};
use crate::read::{Engine, Reader};
use comity_domain::ids::Digest32;
use comity_domain::kernel;
use comity_domain::state::State;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How many rows the log has.
    pub rows: u64,
    /// How many words stand beside it; erased ones are not among them.
    pub words: u64,
    /// How many checkpoints are kept.
    pub checkpoints: u64,
    /// The root over all leaves, recomputed.
    pub root: Digest32,
    /// The first thing that is wrong, if any.
    pub first_bad: Option<Finding>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which row; the size of the log plus one where rows are missing at its end.
    pub seq: u64,
    /// What.
    pub what: String,
}

/// Verifies the log, and that the kept checkpoints are of this log. With a key: that it
/// signed them.
///
/// # Errors
/// If it cannot be read at all. What is wrong inside it is a [`Finding`].
pub fn verify(reader: &Reader, key: Option<&Verifier>) -> Result<Verdict, StoreError> {
    // Read before the rows: what a server signs meanwhile is over rows that are not looked at.
    let upto = reader.last_checkpointed()?;
    let mut edge = Edge::new();
    let mut state = State::default();
    let mut words = 0u64;
    let mut first_bad: Option<Finding> = None;
    let mut signed = Signed { reader, upto, key, origin: None, ahead: VecDeque::new(), met: 0 };
    signed.more()?;
    let (stood, walked) = reader.look(0, |stored, own| {
        words = words.saturating_add(own.len() as u64);
        edge.push(stored.leaf);
        if first_bad.is_none()
            && let Err(what) = check(&stored, own, edge.size(), &mut state)
        {
            first_bad = Some(Finding { seq: stored.seq, what });
        }
        if let Err(what) = signed.compare(&edge, stored.leaf)?
            && first_bad.is_none()
        {
            first_bad = Some(Finding { seq: edge.size(), what });
        }
        Ok(())
    })?;
    if let (Err(error), None) = (&walked, &first_bad) {
        first_bad = Some(Finding { seq: edge.size().saturating_add(1), what: error.to_string() });
    }
    let root = edge.root();
    if first_bad.is_none() {
        let wrong = match &stood {
            Err(error) => Some((edge.size(), error.to_string())),
            Ok(head) if head.seq != edge.size() => {
                let seq = head.seq.min(edge.size()).saturating_add(1);
                Some((
                    seq,
                    format!("the head stands at {} and the log has {} rows", head.seq, edge.size()),
                ))
            }
            Ok(head) if head.root != root => {
                Some((edge.size(), "the head's root is not the log's".into()))
            }
            Ok(head) if head.edge != edge => {
                Some((edge.size(), "the head's edge is not the log's".into()))
            }
            Ok(_) => None,
        };
        first_bad = wrong.map(|(seq, what)| Finding { seq, what });
        if let (Some(kept), None) = (signed.ahead.front(), &first_bad) {
            let what = format!("was signed as the last of {} rows, and is not there", kept.0);
            first_bad = Some(Finding { seq: edge.size().saturating_add(1), what });
        }
        if first_bad.is_none() {
            first_bad = stray_word(reader)?;
        }
    }
    Ok(Verdict {
        rows: edge.size(),
        words,
        checkpoints: signed.met,
        root: Digest32(root),
        first_bad,
    })
}

/// The kept checkpoints, the smallest first, as the rows go by.
struct Signed<'c> {
    reader: &'c Reader,
    /// Larger ones are not looked at.
    upto: u64,
    key: Option<&'c Verifier>,
    /// What they must be named after.
    origin: Option<String>,
    ahead: VecDeque<SizedKept>,
    met: u64,
}

impl Signed<'_> {
    fn more(&mut self) -> Result<(), StoreError> {
        let after = self.ahead.back().map_or(0, |(size, _)| *size);
        let more = self.reader.sized_checkpoints(after, 500)?;
        self.ahead.extend(more.into_iter().take_while(|(size, _)| *size <= self.upto));
        Ok(())
    }

    /// Compares those of the size that the tree has now.
    fn compare(&mut self, edge: &Edge, leaf: Hash) -> Result<Result<(), String>, StoreError> {
        let origin = self.origin.get_or_insert_with(|| note::origin(&leaf)).clone();
        while self.ahead.front().is_some_and(|(size, _)| *size <= edge.size()) {
            if self.ahead.len() == 1 {
                self.more()?;
            }
            let Some((size, kept)) = self.ahead.pop_front() else { break };
            self.met = self.met.saturating_add(1);
            let wrong = |what: String| Ok(Err(format!("the checkpoint over {size} rows {what}")));
            let said = match (&kept, self.key) {
                (Err(what), _) => return wrong(what.clone()),
                (Ok(kept), Some(key)) => key.open_own(&kept.note).map_err(|e| e.to_string()),
                (Ok(kept), None) => Checkpoint::unverified(&kept.note)
                    .map(|(said, _)| said)
                    .ok_or_else(|| NoteError::Shape.to_string()),
            };
            let fits = |said: &Checkpoint| {
                let tree = (said.size, said.root) == (edge.size(), edge.root());
                tree && said.origin == origin && kept.as_ref().is_ok_and(|k| k.edge == *edge)
            };
            match said {
                Err(what) => return wrong(what),
                Ok(said) if fits(&said) => {}
                Ok(_) => return wrong("is of another tree or log".into()),
            }
        }
        Ok(Ok(()))
    }
}

/// A word that stands at no row, which no reading of the rows meets.
fn stray_word(reader: &Reader) -> Result<Option<Finding>, StoreError> {
    const STRAY: &str =
        "SELECT min(w.seq) FROM word w LEFT JOIN log l ON l.seq = w.seq WHERE l.seq IS NULL";
    let seq: Option<i64> = match reader.engine() {
        Engine::Sqlite(files) => files.with(|c| Ok(c.query_row(STRAY, [], |r| r.get(0))?)),
        Engine::Postgres(pool) => pool.with(|c| {
            let rows = c.query(STRAY, &[])?;
            Ok(rows.first().map_or(Ok(None), |r| r.try_get(0))?)
        }),
    }?;
    let what = || "a word stands here, and the log has no such row".to_owned();
    Ok(seq.map(|seq| Finding { seq: u64::try_from(seq).unwrap_or(0), what: what() }))
}

/// Whether a row is the one that its leaf says, and each word the one that it commits to.
///
/// # Errors
/// What is wrong.
pub fn intact(
    stored: &codec::Stored,
    words: &[(u32, comity_domain::text::Word)],
) -> Result<(), String> {
    if leaf::leaf_hash(stored.header.as_bytes(), &stored.parts) != stored.leaf {
        return Err("the leaf is not that of its header and parts".into());
    }
    let committed = codec::commitments(stored).ok_or("its bodies are not what this log writes")?;
    for (ix, word) in words {
        let text = word.text.as_deref().unwrap_or_default();
        let commitment = Digest32(leaf::word_commitment(&word.salt, text));
        let about = word.about.to_string();
        let fits =
            committed.get(*ix as usize).is_some_and(|(_, event, Committed(_, whom, what))| {
                *event == word.event && *whom == about && *what == commitment
            });
        if !fits {
            return Err(format!("word {ix} is not the one that the row commits to"));
        }
    }
    Ok(())
}

fn check(
    stored: &codec::Stored,
    words: Vec<(u32, comity_domain::text::Word)>,
    position: u64,
    state: &mut State,
) -> Result<(), String> {
    if stored.seq != position {
        return Err(format!("stands at position {position}: a row before it is missing"));
    }
    intact(stored, &words)?;
    let row = codec::decode(stored, words).map_err(|e| e.to_string())?;
    if row.at < state.at {
        return Err("is earlier than the row before it".into());
    }
    kernel::apply(state, &row);
    Ok(())
}
