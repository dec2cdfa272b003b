//! Signing where the log stands: each minute or each thousand rows, whichever comes first, and at
//! a clean stop; nothing if nothing moved.
//!
//! Every checkpoint is kept beside the log and appended, with fsync, to a file outside the
//! database: whoever puts an older database back cannot take that with it (T50, inv32). A tree is
//! signed only if it was computed here from the last one that was signed, so that no key of ours
//! ever stands under two histories (T40).

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

pub use comity_store::Kept;
use comity_store::merkle::{Edge, Hash};
use comity_store::note::{self, Checkpoint, NoteError, Signer, Verifier};
use comity_store::{Checkpoints, Place, Reader, StoreError};
use tokio::sync::watch;

use crate::app::{App, Failure};
use crate::clock::{Clock, boot_millis};
use crate::keys::{self, KeyError};
use crate::metrics::Metrics;

/// How long a row waits for its checkpoint.
const MOST_WAIT_MS: i64 = 60_000;
/// How many rows wait for it.
const MOST_ROWS: u64 = 1_000;
/// How often it is looked whether one is due.
const BEAT: Duration = Duration::from_millis(500);
/// How much of the outside file is read to find its last note, in bytes.
const TAIL: u64 = 64 * 1024;

/// Where the key and the outside file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The key that signs: a file apart from the key file of the installation.
    pub key_file: PathBuf,
    /// The file outside the database.
    pub outside: PathBuf,
}

impl Places {
    /// Both in the data folder.
    #[must_use]
    pub fn inside(data: &Path) -> Self {
        Self { key_file: data.join("checkpoint.key"), outside: data.join("checkpoints") }
    }
}

/// Why no checkpoint is signed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is gone, and checkpoints of this log were signed with it.
    #[error(
        "checkpoint key file {0}: there is none, and this log's checkpoints were signed with one; put it back, or \
         make a new one with comity audit key --new"
    )]
    KeyMissing(PathBuf),
    /// The log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The outside file, or the thread.
    #[error("{what}: {source}")]
    Io {
        /// Doing what.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The log is not the continuation of what was signed.
    #[error(
        "the log of {found} rows does not continue the checkpoint over {signed} rows: nothing is signed; run comity \
         audit verify"
    )]
    Inconsistent {
        /// What was signed.
        signed: u64,
        /// What there is.
        found: u64,
    },
    /// The first row names no log that a note could carry.
    #[error("the log has no name that a checkpoint could carry")]
    NoName,
}

/// The last checkpoint of an outside file, by its own word: size and root. `None` if there is no
/// file, or it is empty. A note that a crash cut off in the middle is passed over.
///
/// # Errors
/// If the file cannot be read, or holds something else.
pub fn last_outside(path: &Path) -> io::Result<Option<(u64, Hash)>> {
    Ok(last_note(path)?.map(|(_, said)| (said.size, said.root)))
}

fn last_note(path: &Path) -> io::Result<Option<(String, Checkpoint)>> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let found = lines.windows(5).rev().find_map(|five| {
        let note = five.concat();
        let (said, signature) = Checkpoint::unverified(&note)?;
        let whole = signature.starts_with('\u{2014}') && signature.ends_with('\n');
        whole.then_some((note, said))
    });
    if found.is_none() && length > 0 {
        let what = format!("{}: holds no checkpoint", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(found)
}

/// Appends a note and has it on the disk.
fn append(path: &Path, note: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).read(true).create(true).open(path)?;
    let torn = file.metadata()?.len() > 0 && {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        last != *b"\n"
    };
    // One write: after a crash there is the whole of it or a piece that is passed over.
    file.write_all(format!("{}{note}\n", if torn { "\n" } else { "" }).as_bytes())?;
    file.sync_all()?;
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// A running signer, as others hold it.
#[derive(Debug)]
pub struct Checkpointer {
    signer: Arc<OnceLock<Signer>>,
    stop: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Whether the key file was made by this start.
    pub key_file_made: bool,
}

impl Checkpointer {
    /// Starts signing the log of a place, whose positions `moved` tells.
    ///
    /// # Errors
    /// See [`CheckpointError`]. A log that does not continue what was signed starts all the same:
    /// it is said in the logs, and nothing is signed.
    pub fn start(
        place: &Place,
        places: &Places,
        clock: Arc<Clock>,
        moved: watch::Receiver<u64>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, CheckpointError> {
        let store = Checkpoints::at(place)?;
        let latest = store.latest()?;
        if latest.is_some() && !places.key_file.exists() {
            return Err(CheckpointError::KeyMissing(places.key_file.clone()));
        }
        let (secret, key_file_made) = keys::secret_file(&places.key_file)?;
        let signer = Arc::new(OnceLock::new());
        let mut work = Work {
            store,
            secret,
            signer: signer.clone(),
            outside: places.outside.clone(),
            clock,
            metrics,
            base: None,
        };
        work.name()?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || work.run(&moved, &stopped))
            .map_err(|source| CheckpointError::Io { what: "the signing thread".into(), source })?;
        Ok(Self {
            signer,
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(Some(thread)),
            key_file_made,
        })
    }

    /// Who signs; `None` as long as the log is empty.
    #[must_use]
    pub fn verifier(&self) -> Option<&Verifier> {
        self.signer.get().map(Signer::verifier)
    }

    /// Signs what is not signed yet, and ends. To be called once nothing is appended any more.
    pub fn stop(&self) {
        if let Ok(mut stop) = self.stop.lock() {
            stop.take();
        }
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the signing thread ended by a panic");
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    store: Checkpoints,
    secret: [u8; 32],
    signer: Arc<OnceLock<Signer>>,
    outside: PathBuf,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    /// The edge of the last tree that was signed.
    base: Option<Edge>,
}

impl Work {
    fn run(&mut self, moved: &watch::Receiver<u64>, stopped: &Receiver<()>) {
        let mut last = boot_millis().saturating_sub(MOST_WAIT_MS);
        loop {
            let stopping = stopped.recv_timeout(BEAT) != Err(RecvTimeoutError::Timeout);
            let waited = boot_millis().saturating_sub(last) >= MOST_WAIT_MS;
            let due = match &self.base {
                Some(base) => {
                    let waiting = moved.borrow().saturating_sub(base.size());
                    waiting > 0 && (waited || waiting >= MOST_ROWS)
                }
                None => waited, // at the start, and after an error
            };
            if stopping || due {
                match self.sign() {
                    Ok(true) => last = boot_millis(),
                    Ok(false) => {}
                    Err(error) => {
                        last = boot_millis();
                        tracing::error!(%error, "no checkpoint was signed");
                    }
                }
            }
            if stopping {
                return;
            }
        }
    }

    /// The signer, once the log has the row that it is named after.
    fn name(&self) -> Result<Option<&Signer>, CheckpointError> {
        if self.signer.get().is_none() && self.store.head()?.seq > 0 {
            let mut first = None;
            self.store.leaves(0, 1, |leaf| first = Some(leaf))?;
            let origin = first.map(|leaf| note::origin(&leaf));
            let made = origin.and_then(|origin| Signer::new(&origin, &self.secret));
            let _ = self.signer.set(made.ok_or(CheckpointError::NoName)?);
        }
        Ok(self.signer.get())
    }

    /// Signs the tree as it is, unless that was done. Says whether it signed.
    fn sign(&mut self) -> Result<bool, CheckpointError> {
        if self.name()?.is_none() {
            return Ok(false);
        }
        let base = match self.base.take() {
            Some(base) => base,
            None => self.resume()?,
        };
        let head = self.store.head()?;
        let mut edge = base.clone();
        let wrong = || CheckpointError::Inconsistent { signed: base.size(), found: head.seq };
        if head.seq < base.size() {
            return Err(wrong());
        }
        self.store.leaves(base.size(), head.seq, |leaf| edge.push(leaf))?;
        if edge.root() != head.root {
            return Err(wrong());
        }
        let moved = edge.size() > base.size();
        if moved && let Some(signer) = self.signer.get() {
            let note = signer.sign(head.seq, head.root);
            let at = self.clock.now();
            self.store.keep(&Kept {
                size: head.seq,
                at,
                edge: edge.clone(),
                note: note.clone(),
            })?;
            self.outside(&note)?;
            self.metrics.checkpoint(at);
        }
        self.base = Some(edge);
        Ok(moved)
    }

    /// The edge of the last tree that was signed, wherever that stands: beside the log, or only
    /// outside because the database is an older one.
    fn resume(&self) -> Result<Edge, CheckpointError> {
        let kept = self.store.latest()?;
        let mut edge = kept.as_ref().map_or_else(Edge::new, |kept| kept.edge.clone());
        let found = self.store.head()?.seq;
        let wrong = |signed| CheckpointError::Inconsistent { signed, found };
        if let Some(kept) = &kept {
            let said = match self.signer.get().map(|s| s.verifier().open_own(&kept.note)) {
                Some(Ok(said)) => said,
                // Signed before the key was changed: still what the next one continues.
                Some(Err(NoteError::OtherKey)) => Checkpoint::unverified(&kept.note)
                    .map(|(said, _)| said)
                    .ok_or_else(|| wrong(kept.size))?,
                _ => return Err(wrong(kept.size)),
            };
            if (said.size, said.root) != (edge.size(), edge.root()) {
                return Err(wrong(said.size));
            }
        }
        let outside = last_note(&self.outside).map_err(|e| self.io(e))?;
        match outside {
            Some((_, said)) if said.size >= edge.size() => {
                if said.size > found {
                    return Err(wrong(said.size));
                }
                self.store.leaves(edge.size(), said.size, |leaf| edge.push(leaf))?;
                if edge.root() != said.root {
                    return Err(wrong(said.size));
                }
            }
            // The process ended between the two.
            _ => kept.map_or(Ok(()), |kept| self.outside(&kept.note))?,
        }
        Ok(edge)
    }

    fn outside(&self, note: &str) -> Result<(), CheckpointError> {
        append(&self.outside, note).map_err(|e| self.io(e))
    }

    fn io(&self, source: io::Error) -> CheckpointError {
        CheckpointError::Io { what: format!("checkpoint file {}", self.outside.display()), source }
    }
}

impl App {
    /// Kept checkpoints over more than `after` rows, the smallest first. Blocking.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn checkpoints_after(&self, after: u64, limit: usize) -> Result<Vec<Kept>, Failure> {
        Ok(self.reader().checkpoints(after, limit)?)
    }

    /// The newest kept checkpoint. Blocking.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn latest_checkpoint(&self) -> Result<Option<Kept>, Failure> {
        Ok(self.reader().latest_checkpoint()?)
    }
}

/// The public key with which the checkpoints of a log are signed, read beside a running server. With `new`, a key file is made where there is none.
///
/// # Errors
/// If there is no key file, or the log has no row yet.
pub fn verifier(reader: &Reader, key_file: &Path, new: bool) -> Result<Verifier, CheckpointError> {
    if !new && !key_file.exists() {
        return Err(CheckpointError::KeyMissing(key_file.to_path_buf()));
    }
    if new && key_file.exists() {
        let source = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(CheckpointError::Io { what: key_file.display().to_string(), source });
    }
    let mut first = None;
    reader.leaves(0, 1, |leaf| first = Some(leaf))?;
    let (secret, _) = keys::secret_file(key_file)?;
    let signer = first.and_then(|leaf| Signer::new(&note::origin(&leaf), &secret));
    signer.map(|s| s.verifier().clone()).ok_or(CheckpointError::NoName)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn inv32_the_last_outside_checkpoint_is_found_and_a_torn_one_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoints");
        assert_eq!(last_outside(&path).unwrap(), None);
        let signer = Signer::new("comity/00", &[1; 32]).unwrap();
        let notes: Vec<String> = (1..=250u8).map(|n| signer.sign(n.into(), [n; 32])).collect();
        for (size, note) in (1u64..).zip(&notes) {
            append(&path, note).unwrap();
            assert_eq!(last_outside(&path).unwrap().unwrap().0, size);
        }
        let whole = fs::read(&path).unwrap();
        let last = notes.last().unwrap().len() + 1;
        for cut in 2..last {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let found = last_outside(&path).unwrap().unwrap();
            assert_eq!(found.0, notes.len() as u64 - 1, "cut by {cut}");
            append(&path, &notes[0]).unwrap();
            assert_eq!(last_outside(&path).unwrap().unwrap(), (1, [1; 32]), "after a cut by {cut}");
        }
        fs::write(&path, "something else").unwrap();
        assert!(last_outside(&path).is_err());
    }
}
