//! One organisation's view of the log, as JSON lines that prove themselves.
//!
//! The format is published in `docs/reference/audit-export.md`; `export_check.rs` reads it. Every
//! line is written in one way only, so that a changed blank is a changed line.

use std::io::{self, Write};

use comity_domain::ids::{Digest32, OrganisationId};
use comity_domain::text::Word;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::codec::{self, Stored};
use crate::leaf;
use crate::log::StoreError;
use crate::merkle::Hash;
use crate::note::Verifier;
use crate::read::Reader;
use crate::tree::Tree;

/// What the first line calls the format.
pub(crate) const FORMAT: &str = "comity audit export 1";
/// How many leaves of others stand in one line.
pub(crate) const RUN: usize = 256;
/// How many checkpoints are read at a time.
const PAGE: usize = 500;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct First {
    pub format: String,
    pub organisation: OrganisationId,
    pub since: u64,
    pub size: u64,
    pub root: Digest32,
    pub key: String,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Line {
    /// Rows of which the reader is given the leaf alone.
    Leaves { from: u64, leaves: Vec<Digest32> },
    /// A row with parts for the reader.
    Row(OwnRow),
    /// A signed checkpoint over everything above it.
    Checkpoint { note: String, consistency: Vec<Digest32> },
    /// The last line: how many stand above it, and the SHA-256 of their bytes.
    End { lines: u64, digest: Digest32 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnRow {
    pub seq: u64,
    pub header: String,
    pub parts: Vec<OwnPart>,
    pub others: Vec<(Digest32, Digest32)>,
    pub words: Vec<OwnWord>,
    pub inclusion: Vec<Digest32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnPart {
    pub readers: Vec<OrganisationId>,
    pub salt: Salt,
    pub body: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnWord {
    /// The place among the parts of the line.
    pub part: u32,
    /// The place among the words of that part.
    pub word: u32,
    pub salt: Salt,
    pub text: String,
}

/// Sixteen bytes as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(pub [u8; 16]);

impl Serialize for Salt {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:032x}", u128::from_be_bytes(self.0)))
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let number = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(number.to_be_bytes())) // another spelling is another line: see `export_check`
    }
}

/// Why nothing, or not everything, was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The export cannot be written.
    #[error("writing the export: {0}")]
    Io(#[from] io::Error),
    /// Nothing was signed yet.
    #[error("there is no signed checkpoint yet: start the server once, or wait a minute")]
    NoCheckpoint,
    /// A checkpoint that does not belong to this log or key.
    #[error("the checkpoint over {size} rows {what}: run comity audit verify")]
    Checkpoint {
        /// Its size.
        size: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Asked for what comes after the end.
    #[error("since {since}: the newest checkpoint is over {size} rows")]
    Since {
        /// What was asked.
        since: u64,
        /// What there is.
        size: u64,
    },
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The size of the tree that everything was proved in.
    pub size: u64,
    /// Its root.
    pub root: Digest32,
    /// Rows with parts for the organisation.
    pub rows: u64,
    /// Words that are not erased.
    pub words: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Rows that no checkpoint covers yet, and that were left out for it.
    pub left_out: u64,
}

/// Counts and digests what is written.
struct Lines<W> {
    out: W,
    lines: u64,
    digest: Sha256,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.digest.update(&text);
        self.lines = self.lines.saturating_add(1);
        self.out.write_all(&text)
    }
}

/// Writes what `organisation` may see of the log up to the newest checkpoint: of rows after `since`
/// its own parts whole and the rest as hashes, of all other rows the leaf.
///
/// Reads only, also beside a server. Holds 64 bytes a row in memory, and one row.
///
/// # Errors
/// See [`ExportError`]. What was written until then is no export: its last line is missing.
pub fn export(
    reader: &Reader,
    organisation: OrganisationId,
    since: u64,
    verifier: &Verifier,
    out: impl Write,
) -> Result<Exported, ExportError> {
    let latest = reader.latest_checkpoint()?.ok_or(ExportError::NoCheckpoint)?;
    let size = latest.size;
    if since > size {
        return Err(ExportError::Since { since, size });
    }
    let mut tree = Tree::default();
    reader.leaves(0, size, |leaf| tree.push(leaf))?;
    let root = Digest32(tree.root(size).unwrap_or_default());
    let mut lines = Lines { out, lines: 0, digest: Sha256::new() };
    lines.write(&First {
        format: FORMAT.into(),
        organisation,
        since,
        size,
        root,
        key: verifier.to_string(),
    })?;
    let mut writer = Exporter {
        reader,
        verifier,
        tree: &tree,
        lines,
        run: Vec::new(),
        ahead: Vec::new().into_iter().peekable(),
        last_checkpoint: 0,
        done: Exported { size, root, rows: 0, words: 0, checkpoints: 0, left_out: 0 },
    };
    writer.more_checkpoints(since)?;
    let mut failed = None;
    let head = reader.scan(0, |stored, words| {
        let seq = stored.seq;
        if seq <= size && failed.is_none() {
            let whole = (seq > since).then_some(organisation);
            failed = writer.row(&stored, words, whole).err();
        }
        Ok(())
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let (count, digest) = (writer.lines.lines, writer.lines.digest.clone().finalize());
    writer.lines.write(&Line::End { lines: count, digest: Digest32(digest.into()) })?;
    writer.lines.out.flush()?;
    writer.done.left_out = head.seq.saturating_sub(size);
    Ok(writer.done)
}

struct Exporter<'a, W> {
    reader: &'a Reader,
    verifier: &'a Verifier,
    tree: &'a Tree,
    lines: Lines<W>,
    /// Leaves of others that are not written yet.
    run: Vec<Digest32>,
    ahead: std::iter::Peekable<std::vec::IntoIter<crate::checkpoint::Kept>>,
    last_checkpoint: u64,
    done: Exported,
}

impl<W: Write> Exporter<'_, W> {
    fn row(
        &mut self,
        stored: &Stored,
        words: Vec<(u32, Word)>,
        whole: Option<OrganisationId>,
    ) -> Result<(), ExportError> {
        let corrupt = |what| StoreError::Corrupt { seq: stored.seq, what };
        if self.tree.leaf(stored.seq.saturating_sub(1)) != Some(&stored.leaf) {
            return Err(corrupt("is not the row that it was a moment ago").into());
        }
        let own = |p: &leaf::Part| whole.is_some_and(|o| p.readers.contains(&o.0));
        if stored.parts.iter().any(own) {
            self.flush(stored.seq)?;
            let row = self
                .own_row(stored, words, own)
                .ok_or_else(|| corrupt("is not what this log writes: run comity audit verify"))?;
            self.done.rows = self.done.rows.saturating_add(1);
            self.done.words = self.done.words.saturating_add(row.words.len() as u64);
            self.lines.write(&Line::Row(row))?;
        } else {
            self.run.push(Digest32(stored.leaf));
        }
        if self.run.len() == RUN {
            self.flush(stored.seq.saturating_add(1))?;
        }
        self.checkpoint(stored.seq)
    }

    /// Writes the leaves that stand before `seq`.
    fn flush(&mut self, seq: u64) -> io::Result<()> {
        let leaves = std::mem::take(&mut self.run);
        if leaves.is_empty() {
            return Ok(());
        }
        self.lines.write(&Line::Leaves { from: seq.saturating_sub(leaves.len() as u64), leaves })
    }

    fn own_row(
        &self,
        stored: &Stored,
        words: Vec<(u32, Word)>,
        own: impl Fn(&leaf::Part) -> bool,
    ) -> Option<OwnRow> {
        // From the stored number of a part to that among the reader's own.
        let mut numbers = Vec::with_capacity(stored.parts.len());
        let (mut parts, mut others) = (Vec::new(), Vec::new());
        for part in &stored.parts {
            numbers.push(own(part).then_some(parts.len() as u32));
            if own(part) {
                let body = String::from_utf8(part.body.clone()).ok()?;
                let readers = part.readers.iter().map(|r| OrganisationId(*r)).collect();
                parts.push(OwnPart { readers, salt: Salt(part.salt), body });
            } else {
                let entries = leaf::leaf_entries(std::slice::from_ref(part));
                others
                    .extend(entries.into_iter().map(|(tag, hash)| (Digest32(tag), Digest32(hash))));
            }
        }
        others.sort_unstable();
        let mut of_part = vec![0u32; stored.parts.len()];
        let mut places = Vec::new();
        for (part, _, _) in codec::commitments(stored)? {
            let count = of_part.get_mut(part)?;
            places.push((*numbers.get(part)?, *count));
            *count = count.checked_add(1)?;
        }
        let mut own_words = Vec::new();
        for (ix, word) in words {
            if let ((Some(part), place), Some(text)) = (*places.get(ix as usize)?, word.text) {
                let (salt, text) = (Salt(word.salt), text.to_string());
                own_words.push(OwnWord { part, word: place, salt, text });
            }
        }
        own_words.sort_by_key(|w| (w.part, w.word));
        let inclusion = digests(self.tree.inclusion(stored.seq.checked_sub(1)?, self.done.size)?);
        let (seq, header) = (stored.seq, stored.header.clone());
        Some(OwnRow { seq, header, parts, others, words: own_words, inclusion })
    }

    /// Writes the checkpoint over the rows up to `seq`, if one is kept.
    fn checkpoint(&mut self, seq: u64) -> Result<(), ExportError> {
        let Some(kept) = self.ahead.next_if(|kept| kept.size <= seq) else {
            return Ok(());
        };
        let size = kept.size;
        let wrong = |what: String| ExportError::Checkpoint { size, what };
        let said = self.verifier.open_own(&kept.note).map_err(|e| wrong(e.to_string()))?;
        if said.size != seq || Some(said.root) != self.tree.root(seq) {
            return Err(wrong("does not agree with the log".into()));
        }
        self.flush(seq.saturating_add(1))?;
        let proof = self.tree.consistency(self.last_checkpoint, seq).unwrap_or_default();
        self.lines.write(&Line::Checkpoint { note: kept.note, consistency: digests(proof) })?;
        self.done.checkpoints = self.done.checkpoints.saturating_add(1);
        self.last_checkpoint = seq;
        if self.ahead.peek().is_none() {
            self.more_checkpoints(seq)?;
        }
        Ok(())
    }

    fn more_checkpoints(&mut self, after: u64) -> Result<(), StoreError> {
        // The newest one is always among them, also where it is not after `since`.
        let after = after.min(self.done.size.saturating_sub(1)).max(self.last_checkpoint);
        self.ahead = self.reader.checkpoints(after, PAGE)?.into_iter().peekable();
        Ok(())
    }
}

fn digests(hashes: Vec<Hash>) -> Vec<Digest32> {
    hashes.into_iter().map(Digest32).collect()
}
