//! Taking snapshots, and confirming the one that this start came from. Both on one thread of their
//! own, never the writer's.
//!
//! A snapshot is a convenience that must not become a way in: it is sealed with the installation's
//! key, anything off means that the log is replayed, and after a start from one the log is
//! replayed all the same, in the background. Until that has led to the same state none is taken;
//! if it leads elsewhere the node closes for good.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use comity_store::{Reader, StoreError};
use tokio::sync::watch;

use crate::clock::{Clock, boot_millis};
use crate::keys::SnapshotKey;
use crate::metrics::Metrics;
use crate::node::{Closer, Stood};
use crate::start::{self, Origin};

pub mod file;

/// After how many new rows one is taken.
pub const EVERY: u64 = 50_000;
/// At most one in so many milliseconds.
pub const PAUSE_MS: i64 = 60_000;
/// A clean stop takes one if more rows than this are new.
pub const AT_STOP: u64 = 1_000;
/// How often the thread looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long it waits before it tries again to confirm, when the log could not be read.
const AGAIN: Duration = Duration::from_secs(60);

const RUNNING: u8 = 0;
const STOPPING: u8 = 1;
const LEAVING: u8 = 2;

/// Takes snapshots of what a node published.
#[derive(Debug, Clone)]
pub struct Taker {
    folder: PathBuf,
    key: SnapshotKey,
    stood: watch::Receiver<Stood>,
    closer: Closer,
    metrics: Arc<Metrics>,
    clock: Arc<Clock>,
}

impl Taker {
    /// One for this folder.
    #[must_use]
    pub fn new(
        folder: &Path,
        key: &SnapshotKey,
        stood: watch::Receiver<Stood>,
        closer: Closer,
        metrics: Arc<Metrics>,
        clock: Arc<Clock>,
    ) -> Self {
        Self { folder: folder.to_path_buf(), key: key.clone(), stood, closer, metrics, clock }
    }

    /// Takes one now and returns its position.
    ///
    /// # Errors
    /// Of the file system, and for a node that is closed: what it knows is what it was closed for.
    pub fn take(&self) -> std::io::Result<u64> {
        let Stood { state, head } = self.stood.borrow().clone();
        if self.closer.is_closed() {
            return Err(std::io::Error::other("the node has closed itself"));
        }
        let path = file::write(&self.folder, &self.key, &state, &head)?;
        if self.closer.is_closed() {
            std::fs::remove_file(path)?; // whoever closed it meanwhile has not seen this one
        }
        self.metrics.snapshot(self.clock.now());
        Ok(head.seq)
    }

    fn seq(&self) -> u64 {
        self.stood.borrow().head.seq
    }
}

/// What became of the snapshot that a start came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The log is being replayed, or cannot be read.
    Unconfirmed,
    /// The log leads to the same state; or there was no snapshot.
    Confirmed,
    /// The log leads elsewhere: the node is closed.
    Refuted,
}

/// The thread's other end.
#[derive(Debug)]
pub struct Snapshots {
    taker: Taker,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicU8,
    confirmed: AtomicBool,
    refuted: AtomicBool,
}

impl Shared {
    fn ends(&self) -> bool {
        self.stop.load(Ordering::Acquire) != RUNNING
    }
}

impl Snapshots {
    /// Starts the thread. `from` is the snapshot that the start came from, if any; `closer` is used
    /// if the log does not lead to it.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        taker: Taker,
        reader: Reader,
        from: Option<Origin>,
        closer: Closer,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicU8::new(RUNNING),
            confirmed: AtomicBool::new(from.is_none()),
            refuted: AtomicBool::new(false),
        });
        let (own, taking) = (shared.clone(), taker.clone());
        let thread = std::thread::Builder::new().name("snapshots".into()).spawn(move || {
            let last = from.as_ref().map_or(0, |from| from.seq);
            if let Some(from) = from
                && !confirm(&reader, &from, &own, &taking.folder, &closer)
            {
                return;
            }
            keep_taking(&taking, &own, last);
        })?;
        Ok(Self { taker, shared, thread: Mutex::new(Some(thread)) })
    }

    /// How the snapshot that the start came from stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.shared.refuted.load(Ordering::Acquire) {
            Standing::Refuted
        } else if self.shared.confirmed.load(Ordering::Acquire) {
            Standing::Confirmed
        } else {
            Standing::Unconfirmed
        }
    }

    /// Takes one now. Blocking. `None` if what the node knows is not confirmed yet.
    ///
    /// # Errors
    /// Of the file system.
    pub fn take_now(&self) -> std::io::Result<Option<u64>> {
        match self.standing() {
            Standing::Confirmed => self.taker.take().map(Some),
            _ => Ok(None),
        }
    }

    /// Ends the thread; it takes a last one if enough is new. To be called after the writer's end.
    pub fn stop(&self) {
        self.end(STOPPING);
    }

    fn end(&self, how: u8) {
        let _ =
            self.shared.stop.compare_exchange(RUNNING, how, Ordering::AcqRel, Ordering::Acquire);
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the snapshots' thread ended by a panic");
            }
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.end(LEAVING);
    }
}

/// Whether the log leads to what the snapshot said. `false` also if there was no time to know.
fn confirm(
    reader: &Reader,
    from: &Origin,
    shared: &Shared,
    folder: &Path,
    closer: &Closer,
) -> bool {
    loop {
        let found = start::confirm(reader, from, || shared.ends());
        if shared.ends() {
            return false;
        }
        match found {
            Ok(true) => {
                shared.confirmed.store(true, Ordering::Release);
                tracing::info!(seq = from.seq, "the log leads to the snapshot's state");
                return true;
            }
            Ok(false) | Err(StoreError::Corrupt { .. } | StoreError::Codec(_)) => {
                shared.refuted.store(true, Ordering::Release);
                closer.close();
                tracing::error!(
                    seq = from.seq,
                    ?found,
                    "the log does not lead to the snapshot that this node started from; the node \
                     is closed and the snapshots are put aside: run comity audit verify"
                );
                file::put_aside(folder);
                return false;
            }
            Err(error) => {
                tracing::warn!(%error, "the snapshot cannot be confirmed yet");
                std::thread::park_timeout(AGAIN);
            }
        }
    }
}

fn keep_taking(taker: &Taker, shared: &Shared, mut last: u64) {
    let mut not_before = i64::MIN;
    loop {
        std::thread::park_timeout(LOOK);
        let stop = shared.stop.load(Ordering::Acquire);
        let new = taker.seq().saturating_sub(last);
        let wanted = match stop {
            RUNNING => new >= EVERY && boot_millis() >= not_before,
            STOPPING => new > AT_STOP,
            _ => false,
        };
        if wanted {
            not_before = boot_millis().saturating_add(PAUSE_MS);
            match taker.take() {
                Ok(seq) => last = seq,
                Err(error) => tracing::warn!(%error, "no snapshot could be taken"),
            }
        }
        if stop != RUNNING {
            return;
        }
    }
}
