//! From what is on the disk to a state: a snapshot and the rows after it, or the whole log.

use std::io::{Read as _, Write as _};
use std::path::Path;

use comity_domain::ids::Digest32;
use comity_domain::kernel;
use comity_domain::snapshot;
use comity_domain::state::State;
use comity_store::postgres::Server;
use comity_store::{Edge, Hash, Head, NodeId, Place, Reader, StoreError, follow};

use crate::keys::SnapshotKey;
use crate::random;
use crate::snapshots::file::{self, Snapshot, Unusable};

/// The place that the settings name. A node of several is known by a random identity in its data
/// folder, and the folder is this process's alone as long as the file that comes with it is kept.
///
/// # Errors
/// If the folder cannot be used, or another process uses it.
pub fn place(
    data: &Path,
    server: Option<&Server>,
) -> Result<(Place, Option<std::fs::File>), StoreError> {
    let Some(server) = server else {
        return Ok((Place::Folder(data.to_path_buf()), None));
    };
    let path = data.join("node");
    let io = |source| StoreError::Io { path: path.clone(), source };
    let mut file = std::fs::File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(StoreError::InUse(data.to_path_buf()));
        }
        Err(std::fs::TryLockError::Error(source)) => return Err(io(source)),
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(io)?;
    let node = if text.trim().is_empty() {
        let node = NodeId(u128::from_be_bytes(random::bytes()));
        writeln!(file, "{node}").and_then(|()| file.sync_all()).map_err(io)?;
        node
    } else {
        let odd = |_| io(std::io::Error::other("does not hold the identity of a node"));
        text.parse().map_err(odd)?
    };
    Ok((Place::Postgres(server.clone(), node), Some(file)))
}

/// A state at the head of the log.
#[derive(Debug)]
pub struct Loaded {
    /// The state.
    pub state: State,
    /// Where the log stands there.
    pub head: Head,
    /// The snapshot that it came from; `None` after a replay of the whole log.
    pub from: Option<Origin>,
}

/// What a snapshot said, to be confirmed by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its position.
    pub seq: u64,
    /// The Merkle root over all rows up to there.
    pub root: Hash,
    /// The state hash.
    pub hash: Digest32,
}

/// Why a start from a snapshot was given up.
#[derive(Debug, thiserror::Error)]
enum NotFrom {
    #[error(transparent)]
    File(#[from] Unusable),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Other(&'static str),
}

/// Brings up the state at the head: from the newest snapshot in `folder` that fits this log, or
/// else from its first row. What does not fit is told in the log of the process and left alone.
///
/// # Errors
/// If the log cannot be read, or is not what its head says.
pub fn load(reader: &Reader, folder: &Path, key: &SnapshotKey) -> Result<Loaded, StoreError> {
    file::sweep(folder);
    let head = reader.head()?;
    for (seq, path) in file::list(folder) {
        match from_snapshot(reader, &head, &path, key) {
            Ok(loaded) => return Ok(loaded),
            Err(why) => tracing::warn!(seq, %why, "a snapshot is not used"),
        }
    }
    let mut state = State::default();
    let followed = follow(reader, Edge::new(), None, |row| {
        kernel::apply(&mut state, &row);
        Ok(())
    })?;
    Ok(Loaded { state, head: followed.head.unwrap_or(head), from: None })
}

fn from_snapshot(
    reader: &Reader,
    head: &Head,
    path: &Path,
    key: &SnapshotKey,
) -> Result<Loaded, NotFrom> {
    let Snapshot { head: stood, hash, facts } = file::read(path, key)?;
    if stood.fork != head.fork {
        return Err(NotFrom::Other("it is of the log before a restore"));
    }
    if stood.seq > head.seq {
        return Err(NotFrom::Other("it is of a longer log"));
    }
    if stood.seq == head.seq && stood.root != head.root {
        return Err(NotFrom::Other("it is of another log"));
    }
    let from = Some(Origin { seq: stood.seq, root: stood.root, hash });
    // The words come from the database, in two halves, while the rest is put together.
    let wanted = facts.references();
    let (early, late) = wanted.split_at(wanted.len() / 2);
    let mut state = std::thread::scope(|scope| {
        let reading = [early, late].map(|half| scope.spawn(|| reader.words(half)));
        let mut state = facts.follow();
        let mut texts = Vec::with_capacity(wanted.len());
        for half in reading {
            let gone = StoreError::Corrupt { seq: stood.seq, what: "the reading thread is gone" };
            texts.extend(half.join().unwrap_or(Err(gone))?);
        }
        state.speak(snapshot::words(texts));
        Ok::<State, StoreError>(state)
    })?;
    // With the rows after it the snapshot's edge has to come to the head's root: so its own root is
    // that of the log at its position.
    let followed = follow(reader, stood.edge, None, |row| {
        kernel::apply(&mut state, &row);
        Ok(())
    })?;
    Ok(Loaded { state, head: followed.head.unwrap_or_else(|| head.clone()), from })
}

/// Whether the rows of the log lead to what a snapshot said: root and state hash. `stop` ends the
/// reading early; what is returned then says nothing.
///
/// # Errors
/// If the log cannot be read, or is not what its leaves say.
pub fn confirm(
    reader: &Reader,
    origin: &Origin,
    stop: impl Fn() -> bool,
) -> Result<bool, StoreError> {
    let mut state = State::default();
    let reached = follow(reader, Edge::new(), Some(origin.seq), |row| {
        if stop() {
            return Err(StoreError::Corrupt { seq: row.seq, what: "is not wanted any more" });
        }
        kernel::apply(&mut state, &row);
        Ok(())
    })?;
    Ok(reached.edge.root() == origin.root && snapshot::hash(&state) == origin.hash)
}
