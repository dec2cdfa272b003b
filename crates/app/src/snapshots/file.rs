//! The file of a snapshot. Its format is published in `docs/reference/snapshot-format.md`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use comity_domain::ids::Digest32;
use comity_domain::snapshot::{self, Facts};
use comity_domain::state::State;
use comity_store::{Edge, Head};

use crate::keys::SnapshotKey;

const MAGIC: &[u8; 8] = b"COMITYSN";
/// A snapshot is only read by the release that took it: after an upgrade the log is replayed in
/// full, once, so that no change of a rule or a type can meet a state of another release.
const RELEASE: &str = env!("CARGO_PKG_VERSION");
/// How many are kept.
const KEPT: usize = 2;

/// A snapshot as it was read: sealed by this installation, and whole.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Where the log stood.
    pub head: Head,
    /// The hash of the state.
    pub hash: Digest32,
    /// The state without its words.
    pub facts: Facts,
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is something else, or cut off.
    #[error("it is no whole snapshot")]
    Shape,
    /// Another release took it.
    #[error("another release took it")]
    Release,
    /// It is not as this installation wrote it.
    #[error("its seal is not this installation's")]
    Seal,
    /// The state is not the one that the seal is over.
    #[error("its state is not the one that was sealed")]
    State,
}

/// The snapshots of a folder, newest first, each with its position.
#[must_use]
pub fn list(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_prefix("snapshot-")?.parse().ok()?, entry.path()))
        })
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}

/// Takes one: written under another name, made durable, and only then named; older ones go.
///
/// # Errors
/// Of the file system; the ones that were there stay then.
pub fn write(
    folder: &Path,
    key: &SnapshotKey,
    state: &State,
    head: &Head,
) -> std::io::Result<PathBuf> {
    let body = snapshot::write(state);
    let mut start = header(head, snapshot::hash_of(&body), body.len() as u64);
    start.extend(key.seal(&start));
    let path = folder.join(format!("snapshot-{}", head.seq));
    let unfinished = folder.join(format!("snapshot-{}.new", head.seq));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(&start)?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&unfinished, &path)?;
    fs::File::open(folder)?.sync_all()?;
    for (_, old) in list(folder).into_iter().skip(KEPT) {
        fs::remove_file(old)?;
    }
    Ok(path)
}

/// Removes what a crash left half written.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        if name.starts_with("snapshot-") && name.ends_with(".new") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Puts every snapshot aside under a name that no start looks at, for whoever wants to know what
/// went wrong.
pub fn put_aside(folder: &Path) {
    for (seq, path) in list(folder) {
        if let Err(error) = fs::rename(&path, folder.join(format!("refused-snapshot-{seq}"))) {
            tracing::error!(%error, path = %path.display(), "remove this snapshot by hand");
        }
    }
}

fn header(head: &Head, hash: Digest32, body: u64) -> Vec<u8> {
    let edge = head.edge.to_bytes();
    let mut out = MAGIC.to_vec();
    out.extend(snapshot::FORMAT.to_be_bytes());
    out.extend((RELEASE.len() as u64).to_be_bytes());
    out.extend(RELEASE.as_bytes());
    out.extend(head.seq.to_be_bytes());
    out.extend(head.fork.to_be_bytes());
    out.extend(head.root);
    out.extend((edge.len() as u64).to_be_bytes());
    out.extend(edge);
    out.extend(hash.0);
    out.extend(body.to_be_bytes());
    out
}

/// Reads one and checks everything that it says of itself.
///
/// # Errors
/// [`Unusable`]: then it is as if it were not there.
pub fn read(path: &Path, key: &SnapshotKey) -> Result<Snapshot, Unusable> {
    let bytes = fs::read(path)?;
    let mut rest = Rest(&bytes);
    if rest.take::<8>()? != *MAGIC || rest.take()? != snapshot::FORMAT.to_be_bytes() {
        return Err(Unusable::Shape);
    }
    if rest.counted()? != RELEASE.as_bytes() {
        return Err(Unusable::Release);
    }
    let (seq, fork, root) = (rest.number()?, rest.number()?, rest.take()?);
    let edge = Edge::from_bytes(rest.counted()?).ok_or(Unusable::Shape)?;
    let (hash, length) = (Digest32(rest.take()?), rest.number()?);
    let (said, _) = bytes.split_at_checked(bytes.len() - rest.0.len()).ok_or(Unusable::Shape)?;
    let seal: [u8; 32] = rest.take()?;
    if !key.fits(said, &seal) {
        return Err(Unusable::Seal);
    }
    let body = rest.0;
    if body.len() as u64 != length || edge.size() != seq || edge.root() != root {
        return Err(Unusable::Shape);
    }
    if snapshot::hash_of(body) != hash {
        return Err(Unusable::State);
    }
    let facts = Facts::read(body).map_err(|_| Unusable::State)?;
    if facts.seq() != seq {
        return Err(Unusable::State);
    }
    Ok(Snapshot { head: Head { seq, root, fork, edge }, hash, facts })
}

/// What of the bytes is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Unusable> {
        let (found, rest) = self.0.split_first_chunk::<N>().ok_or(Unusable::Shape)?;
        self.0 = rest;
        Ok(*found)
    }

    fn number(&mut self) -> Result<u64, Unusable> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn counted(&mut self) -> Result<&'a [u8], Unusable> {
        let length = usize::try_from(self.number()?).map_err(|_| Unusable::Shape)?;
        let (found, rest) = self.0.split_at_checked(length).ok_or(Unusable::Shape)?;
        self.0 = rest;
        Ok(found)
    }
}
