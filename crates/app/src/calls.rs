//! Counting made durable, on a thread of its own.
//!
//! The hot path counts against a reservation; this thread makes counters and records durable in
//! one transaction every few milliseconds and reserves the next block before half of the last is
//! used. Every minute it seals what was recorded into the log by its hash.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use comity_decision::counter::{Counter, Counts, after_crash};
use comity_decision::index::Index;
use comity_domain::command::{Caller, Command};
use comity_domain::ids::SessionId;
use comity_domain::session::CALLS_RESERVED;
use comity_store::{CallRecord, Calls, StoreError, StoredCounts};

use crate::clock::boot_millis;
use crate::node::{NotDone, Node};

/// How much is reserved at a time. With [`CALLS_RESERVED`] the bound on over-counting for each
/// session and crash.
pub const BLOCK: u64 = 1_024;
const PAUSE: Duration = Duration::from_millis(2);
const SEAL_EVERY_MS: i64 = 60_000;

/// What was durable when the node started.
#[derive(Debug, Default)]
pub struct Durable(BTreeMap<SessionId, Counts>, bool);

/// The thread's other end.
#[derive(Debug)]
pub struct CallBook {
    records: Mutex<Option<Sender<CallRecord>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Counts of sessions that are no longer in memory.
    past: Arc<Mutex<BTreeMap<SessionId, Counts>>>,
}

fn stored(c: Counts) -> StoredCounts {
    StoredCounts { reserved: c.reserved, allowed: c.allowed, refused: c.refused, late: c.late, uncertain: c.uncertain }
}

/// Opens the file and closes the books of the process before: after a crash, what it had reserved
/// counts as used.
///
/// # Errors
/// If the file cannot be used.
pub fn open(path: &Path) -> Result<(Calls, Durable), StoreError> {
    let mut calls = Calls::open(path)?;
    let clean = calls.was_clean();
    let mut counters = BTreeMap::new();
    for (session, c) in calls.counters()? {
        let counts = Counts {
            allowed: c.allowed,
            refused: c.refused,
            late: c.late,
            reserved: c.reserved,
            uncertain: c.uncertain,
        };
        counters.insert(session, if clean { counts } else { after_crash(counts) });
    }
    if !clean {
        let closed: Vec<_> = counters.iter().map(|(id, c)| (*id, stored(*c))).collect();
        calls.write(&closed, &[])?;
    }
    Ok((calls, Durable(counters, clean)))
}

impl Durable {
    /// The counter with which a session goes on. One that was never written had its first block
    /// reserved by its own row of the log.
    #[must_use]
    pub fn counter(&self, session: SessionId) -> Counter {
        let first = Counts { reserved: CALLS_RESERVED, ..Counts::default() };
        let counts = self.0.get(&session).copied();
        Counter::resume(counts.unwrap_or(if self.1 { first } else { after_crash(first) }))
    }
}

impl CallBook {
    /// Starts the thread. Sessions that go on with nothing left get a new block before it returns.
    ///
    /// # Errors
    /// If the file cannot be written or the thread not started.
    pub fn start(mut calls: Calls, durable: Durable, node: &Arc<Node>) -> Result<Self, StoreError> {
        let index = node.index().clone();
        let all: BTreeSet<SessionId> = index.entries().into_iter().map(|(id, _)| id).collect();
        write(&mut calls, &index, &all, &[])?;
        let past = Arc::new(Mutex::new(durable.0));
        let (sender, records) = channel();
        let (weak, kept) = (Arc::downgrade(node), past.clone());
        let thread = std::thread::Builder::new().name("calls".into()).spawn(move || {
            let seal = move |command| weak.upgrade().map(|node| node.run_blocking(Caller::system(), command));
            run(&mut calls, &index, &records, &kept, &seal);
        });
        let thread = thread.map_err(|source| StoreError::Io { path: "calls".into(), source })?;
        Ok(Self { records: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), past })
    }

    /// Records a call that was answered, or wanted to be.
    pub fn record(&self, record: CallRecord) {
        if let Ok(records) = self.records.lock()
            && let Some(records) = records.as_ref()
        {
            let _ = records.send(record);
        }
    }

    /// What a session's calls add up to now.
    #[must_use]
    pub fn counts(&self, index: &Index, session: SessionId) -> Counts {
        if let Some(entry) = index.by_session(session) {
            return entry.counter.read();
        }
        let past = self.past.lock().ok();
        past.and_then(|past| past.get(&session).copied()).unwrap_or_default()
    }

    /// Makes everything durable and ends the thread.
    pub fn stop(&self) {
        if let Ok(mut records) = self.records.lock() {
            records.take();
        }
        if let Some(thread) = self.thread.lock().ok().and_then(|mut thread| thread.take()) {
            let _ = thread.join();
        }
    }
}

impl Drop for CallBook {
    fn drop(&mut self) {
        self.stop();
    }
}

type Seal<'a> = &'a dyn Fn(Command) -> Option<Result<crate::node::Done, NotDone>>;

fn run(
    calls: &mut Calls,
    index: &Index,
    records: &Receiver<CallRecord>,
    past: &Mutex<BTreeMap<SessionId, Counts>>,
    seal: Seal<'_>,
) {
    let mut unwritten: Vec<CallRecord> = Vec::new();
    let mut next_seal = boot_millis().saturating_add(SEAL_EVERY_MS);
    loop {
        let stopping = match records.recv_timeout(Duration::from_millis(500)) {
            Ok(first) => {
                unwritten.push(first);
                std::thread::sleep(PAUSE); // gather a few: one transaction carries them all
                unwritten.extend(records.try_iter());
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let touched: BTreeSet<SessionId> = unwritten.iter().map(|r| r.session).collect();
        // A call that could not be counted is a nudge for more room and no record.
        let kept: Vec<CallRecord> = unwritten.iter().filter(|r| r.reason != "busy").cloned().collect();
        match write(calls, index, &touched, &kept) {
            Ok(written) => {
                unwritten.clear();
                if let Ok(mut past) = past.lock() {
                    past.extend(written);
                }
            }
            Err(error) => {
                // Nothing more is reserved, so answers turn to `busy` before a call goes uncounted.
                tracing::error!(%error, "calls cannot be made durable");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        if boot_millis() >= next_seal {
            next_seal = boot_millis().saturating_add(SEAL_EVERY_MS);
            seal_records(calls, seal);
        }
        if stopping {
            if unwritten.is_empty()
                && let Err(error) = calls.stop()
            {
                tracing::error!(%error, "the clean stop was not noted");
            }
            return;
        }
    }
}

/// Makes the counters of these sessions durable with their records, and then lets them go on.
fn write(
    calls: &mut Calls,
    index: &Index,
    sessions: &BTreeSet<SessionId>,
    records: &[CallRecord],
) -> Result<Vec<(SessionId, Counts)>, StoreError> {
    let mut grants = Vec::new();
    let mut counts = Vec::new();
    for session in sessions {
        let Some(entry) = index.by_session(*session) else { continue };
        // Read the room first: counts may only grow meanwhile, never the room.
        let wants = entry.counter.wants(BLOCK);
        let mut now = entry.counter.read();
        now.reserved = wants.unwrap_or(now.reserved).max(now.reserved);
        counts.push((*session, now));
        if wants.is_some() {
            grants.push((entry, now.reserved));
        }
    }
    if counts.is_empty() && records.is_empty() {
        return Ok(counts);
    }
    let durable: Vec<_> = counts.iter().map(|(id, c)| (*id, stored(*c))).collect();
    calls.write(&durable, records)?;
    for (entry, reserved) in grants {
        entry.counter.grant(reserved);
    }
    Ok(counts)
}

fn seal_records(calls: &mut Calls, seal: Seal<'_>) {
    while let Ok(Some(segment)) = calls.next_segment() {
        let (number, records, digest) = (segment.segment, segment.records, segment.digest);
        match seal(Command::SealCalls { segment: number, records, digest }) {
            Some(Ok(_)) => {
                if let Err(error) = calls.sealed(number) {
                    tracing::error!(%error, "a sealed segment was not noted");
                    return;
                }
            }
            _ => return, // the same segment is offered again a minute later
        }
        if records < comity_store::SEGMENT {
            return;
        }
    }
}
