//! `audit verify`: recomputes every leaf and every root, and names the first row that is wrong.
//!
//! Opens the file to read only, so it may run beside a server.

use std::path::Path;

use comity_domain::ids::Digest32;
use comity_domain::kernel;
use comity_domain::state::State;

use crate::codec;
use crate::leaf;
use crate::log::StoreError;
use crate::merkle::Edge;
use crate::sqlite::{head, open_read_only, scan};

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How many rows the log has.
    pub rows: u64,
    /// How many words stand beside it; erased ones are not among them.
    pub words: u64,
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

/// Verifies the log at `path`.
///
/// # Errors
/// If the file cannot be read at all. What is wrong inside it is a [`Finding`].
pub fn verify(path: &Path) -> Result<Verdict, StoreError> {
    let connection = open_read_only(path)?;
    // One read transaction: a server may append meanwhile.
    connection.execute_batch("BEGIN")?;
    let stood = head(&connection);
    let mut edge = Edge::new();
    let mut state = State::default();
    let mut words = 0u64;
    let mut first_bad: Option<Finding> = None;
    let walked = scan(&connection, 0, u64::MAX, |stored, own| {
        words = words.saturating_add(own.len() as u64);
        edge.push(stored.leaf);
        if first_bad.is_none()
            && let Err(what) = check(&stored, own, edge.size(), &mut state)
        {
            first_bad = Some(Finding { seq: stored.seq, what });
        }
        Ok(())
    });
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
    }
    Ok(Verdict { rows: edge.size(), words, root: Digest32(root), first_bad })
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
    for (ix, word) in words {
        let text = word.text.as_deref().unwrap_or_default();
        let commitment = Digest32(leaf::word_commitment(&word.salt, text)).to_string();
        let committed = format!("[{ix},\"{commitment}\"]");
        let holds = |body: &[u8]| body.windows(committed.len()).any(|w| w == committed.as_bytes());
        if !stored.parts.iter().any(|p| holds(&p.body)) {
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
