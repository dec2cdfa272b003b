//! Verifies an export without a database: see `docs/reference/audit-export.md`.
//!
//! One pass, and no more memory than a line needs: the tree is computed anew from every leaf, and
//! each checkpoint is compared with it where it stands.

use std::io::{self, BufRead, Read as _};

use comity_domain::ids::{Digest32, OrganisationId};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::codec;
use crate::export::{FORMAT, First, Line, OwnRow, RUN};
use crate::leaf::{self, Part};
use crate::merkle::{Edge, Hash, empty_root, verify_consistency, verify_inclusion};
use crate::note::{self, Checkpoint, NoteError, Verifier};

/// The longest line, in bytes: many times the longest that an export has, and what a stranger's file
/// may make us hold.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;

/// What the reader has from elsewhere, and compares the export with.
#[derive(Debug, Clone, Default)]
pub struct Pinned {
    /// The key that must have signed.
    pub key: Option<Verifier>,
    /// Signed notes that somebody holds, each with the name that complaints call it by.
    pub checkpoints: Vec<(String, String)>,
}

/// What an export that holds says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportVerdict {
    /// Whose view it is.
    pub organisation: OrganisationId,
    /// The rows after this one are shown.
    pub since: u64,
    /// How many rows the tree has.
    pub size: u64,
    /// Its root.
    pub root: Digest32,
    /// Who signed.
    pub key: String,
    /// Rows with parts for the organisation.
    pub rows: u64,
    /// Words that are not erased.
    pub words: u64,
    /// Checkpoints.
    pub checkpoints: u64,
}

/// The first line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Which, from 1; one after the last if a line is missing.
    pub line: u64,
    /// What is wrong with it.
    pub what: String,
}

/// Verifies an export. The inner result is what was found.
///
/// # Errors
/// Only if `input` cannot be read.
pub fn verify_export(
    mut input: impl BufRead,
    pinned: &Pinned,
) -> io::Result<Result<ExportVerdict, BadLine>> {
    let mut text = Vec::new();
    let mut line = 1u64;
    let mut check: Option<Check<'_>> = None;
    let mut ended = false;
    loop {
        text.clear();
        if input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut text)? == 0 {
            break;
        }
        let step = match &mut check {
            _ if ended => Err("stands after the last line".to_owned()),
            None => Check::first(&text, pinned).map(|begun| check = Some(begun)),
            Some(check) => check.line(&text).map(|end| ended = end),
        };
        if let Err(what) = step {
            return Ok(Err(BadLine { line, what }));
        }
        line = line.saturating_add(1);
    }
    Ok(match check {
        Some(check) if ended => Ok(check.said),
        _ => Err(BadLine { line, what: "is missing: the export is cut off here".into() }),
    })
}

/// Reads a line that must be spelt exactly as this release would spell it.
fn canonical<T: serde::Serialize + serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let inner = text.strip_suffix(b"\n").ok_or("is cut off: it does not end")?;
    let read: T = serde_json::from_slice(inner).map_err(|e| format!("cannot be read: {e}"))?;
    match serde_json::to_vec(&read) {
        Ok(again) if again == inner => Ok(read),
        _ => Err("is not spelt as an export spells it".into()),
    }
}

struct Check<'p> {
    pinned: &'p Pinned,
    held: Vec<(&'p str, Checkpoint)>,
    key: Verifier,
    said: ExportVerdict,
    edge: Edge,
    at: i64,
    /// The last checkpoint met: size and root.
    signed: (u64, Hash),
    lines: u64,
    digest: Sha256,
}

impl<'p> Check<'p> {
    fn first(text: &[u8], pinned: &'p Pinned) -> Result<Self, String> {
        let first: First = canonical(text)?;
        if first.format != FORMAT {
            return Err(format!(
                "is of a format that this release does not know: {}",
                first.format
            ));
        }
        let key: Verifier = first.key.parse().map_err(|_| "its key is no verifier key")?;
        if first.size == 0 || first.since > first.size {
            return Err("its sizes make no sense".into());
        }
        if pinned.key.as_ref().is_some_and(|pin| *pin != key) {
            return Err("the export is signed by another key than the one that you named".into());
        }
        let mut held = Vec::new();
        for (name, note) in &pinned.checkpoints {
            let said = key.open(note).map_err(|e| match e {
                NoteError::OtherKey => format!(
                    "the export is signed by another key than the checkpoint that you hold ({name})"
                ),
                e => format!("the checkpoint that you hold ({name}) {e}"),
            })?;
            if said.size > first.size {
                return Err(format!(
                    "the checkpoint that you hold ({name}) is over {} rows and this export ends at {}: rows are \
                     missing at its end, or it was made before the checkpoint; ask for a newer export",
                    said.size, first.size
                ));
            }
            held.push((name.as_str(), said));
        }
        let mut check = Self {
            pinned,
            held,
            key,
            said: ExportVerdict {
                organisation: first.organisation,
                since: first.since,
                size: first.size,
                root: first.root,
                key: first.key,
                rows: 0,
                words: 0,
                checkpoints: 0,
            },
            edge: Edge::new(),
            at: i64::MIN,
            signed: (0, empty_root()),
            lines: 0,
            digest: Sha256::new(),
        };
        check.compare_held()?;
        check.count(text);
        Ok(check)
    }

    fn count(&mut self, text: &[u8]) {
        self.lines = self.lines.saturating_add(1);
        self.digest.update(text);
    }

    /// Whether it was the last line.
    fn line(&mut self, text: &[u8]) -> Result<bool, String> {
        match canonical(text)? {
            Line::Leaves { from, leaves } => {
                if from != self.next() {
                    return Err(self.gap(from));
                }
                if leaves.is_empty() || leaves.len() > RUN {
                    return Err("holds no leaves, or too many".into());
                }
                leaves.into_iter().try_for_each(|leaf| self.push(leaf.0))?;
            }
            Line::Row(row) => {
                let seq = row.seq;
                self.row(row).map_err(|what| format!("row {seq}: {what}"))?;
            }
            Line::Checkpoint { note, consistency } => self.checkpoint(&note, &consistency)?,
            Line::End { lines, digest } => {
                let computed: Hash = self.digest.clone().finalize().into();
                if lines != self.lines {
                    return Err(format!("says {lines} lines, and {} stand above it", self.lines));
                }
                if self.signed.0 != self.said.size {
                    return Err("stands before the checkpoint that the export is made for".into());
                }
                if digest.0 != computed {
                    return Err("the lines above it are not those that it was made for".into());
                }
                return Ok(true);
            }
        }
        self.count(text);
        Ok(false)
    }

    fn next(&self) -> u64 {
        self.edge.size().saturating_add(1)
    }

    fn gap(&self, found: u64) -> String {
        format!(
            "row {} should stand here, and it is row {found}: one is missing, doubled or moved",
            self.next()
        )
    }

    fn push(&mut self, leaf: Hash) -> Result<(), String> {
        if self.edge.size() == 0 && note::origin(&leaf) != self.key.name() {
            return Err("the first row is not that of the log that the key is named after".into());
        }
        self.edge.push(leaf);
        if self.edge.size() > self.said.size {
            return Err("goes beyond the size that the first line states".into());
        }
        self.compare_held()
    }

    /// Two views: the tree of that size must be the one that somebody was shown.
    fn compare_held(&self) -> Result<(), String> {
        let size = self.edge.size();
        let other = self.held.iter().find(|(_, c)| c.size == size && c.root != self.edge.root());
        other.map_or(Ok(()), |(name, _)| {
            Err(format!(
                "the checkpoint that you hold ({name}) states another tree of {size} rows than this export: two \
                 different histories were shown"
            ))
        })
    }

    fn row(&mut self, row: OwnRow) -> Result<(), String> {
        if row.seq != self.next() {
            return Err(self.gap(row.seq));
        }
        if row.seq <= self.said.since {
            return Err("is shown, though it is not after the first line's since".into());
        }
        let at = codec::header_time(&row.header, row.seq).ok_or("its header is of another row")?;
        if at < self.at {
            return Err("is earlier than a row before it".into());
        }
        let own = self.said.organisation;
        let parts: Vec<Part> = row
            .parts
            .into_iter()
            .map(|p| Part {
                readers: p.readers.iter().map(|r| r.0).collect(),
                salt: p.salt.0,
                body: p.body.into_bytes(),
            })
            .collect();
        if parts.is_empty() || !parts.iter().all(|p| p.readers.contains(&own.0)) {
            return Err("shows a part that is not the organisation's, or none".into());
        }
        if !codec::in_order(&parts) || !row.others.is_sorted_by(|a, b| a < b) {
            return Err("its parts, readers or entries are out of order".into());
        }
        let mut entries = leaf::leaf_entries(&parts);
        entries.extend(row.others.iter().map(|(tag, hash)| (tag.0, hash.0)));
        let leaf = leaf::leaf_hash_from_entries(row.header.as_bytes(), &entries);
        let proof: Vec<Hash> = row.inclusion.iter().map(|d| d.0).collect();
        let index = self.edge.size();
        if !verify_inclusion(&leaf, index, self.said.size, &proof, &self.said.root.0) {
            return Err("its leaf is not in the tree: the row or its proof was changed".into());
        }
        let all: usize = parts.iter().map(|p| p.readers.len()).sum();
        if all + row.others.len() != entries_count(&entries) {
            return Err("an entry stands in it twice".into());
        }
        let bodies: Vec<Value> =
            parts.iter().map(|p| serde_json::from_slice(&p.body).unwrap_or_default()).collect();
        if !row.words.is_sorted_by(|a, b| (a.part, a.word) < (b.part, b.word)) {
            return Err("its words are out of order".into());
        }
        for word in &row.words {
            let commitment = Digest32(leaf::word_commitment(&word.salt.0, &word.text)).to_string();
            let body = bodies.get(word.part as usize).and_then(|body| body.get("words"));
            let found = body.and_then(|words| words.get(word.word as usize)?.get(2)?.as_str());
            if found != Some(commitment.as_str()) {
                let (word, part) = (word.word, word.part);
                return Err(format!("word {word} of part {part} is not the one it commits to"));
            }
        }
        self.at = at;
        self.said.rows = self.said.rows.saturating_add(1);
        self.said.words = self.said.words.saturating_add(row.words.len() as u64);
        self.push(leaf)
    }

    fn checkpoint(&mut self, note: &str, consistency: &[Digest32]) -> Result<(), String> {
        let said = self.key.open_own(note).map_err(|e| {
            let key =
                if self.pinned.key.is_some() { "that you named" } else { "of the first line" };
            format!("the checkpoint {e} (the key {key})")
        })?;
        let (size, root) = (self.edge.size(), self.edge.root());
        if said.size != size {
            return Err(format!(
                "the checkpoint is over {} rows and stands after {size}",
                said.size
            ));
        }
        if said.root != root {
            return Err(format!(
                "the checkpoint over {size} rows states another tree than the rows above"
            ));
        }
        let proof: Vec<Hash> = consistency.iter().map(|d| d.0).collect();
        let (old, old_root) = self.signed;
        if old >= size || !verify_consistency(old, &old_root, size, &root, &proof) {
            return Err(format!("its consistency proof from {old} to {size} rows does not hold"));
        }
        if size == self.said.size && root != self.said.root.0 {
            return Err("the first line states another root".into());
        }
        self.signed = (size, root);
        self.said.checkpoints = self.said.checkpoints.saturating_add(1);
        Ok(())
    }
}

/// How many different entries there are.
fn entries_count(entries: &[(Hash, Hash)]) -> usize {
    entries.iter().collect::<std::collections::BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t45_a_line_without_end_is_refused_and_not_held() {
        let endless = io::BufReader::new(io::repeat(b'['));
        let bad = verify_export(endless, &Pinned::default()).unwrap().unwrap_err();
        assert_eq!((bad.line, bad.what.contains("cut off")), (1, true), "{}", bad.what);
    }
}
