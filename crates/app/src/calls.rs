//! Counting made durable, on a thread of its own.
//!
//! The hot path counts against a reservation; this thread makes counters and records durable in
//! one transaction every few milliseconds and reserves the next block before half of the last is
//! used. Every minute it seals what was recorded into the log by its hash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use comity_decision::counter::{Counter, Counts, after_crash};
use comity_decision::index::Index;
use comity_domain::command::{Caller, Command};
use comity_domain::ids::SessionId;
use comity_domain::session::CALLS_RESERVED;
use comity_domain::time::Instant;
use comity_store::{CallMinute, CallRecord, Calls, CallsReader, Place, StoreError, StoredCounts};

use crate::clock::{Clock, boot_millis};
use crate::metrics::Metrics;
use crate::node::{Node, NotDone};

/// How much is reserved at a time. With [`CALLS_RESERVED`] the bound on over-counting for each
/// session and crash.
pub const BLOCK: u64 = 1_024;
const PAUSE: Duration = Duration::from_millis(2);
const SEAL_EVERY_MS: i64 = 60_000;
const SWEEP_EVERY_MS: i64 = 5_000;

/// The thread's other end.
#[derive(Debug)]
pub struct CallBook {
    records: Mutex<Option<Sender<CallRecord>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// For sessions that are no longer in memory.
    past: CallsReader,
}

fn stored(c: Counts) -> StoredCounts {
    StoredCounts {
        reserved: c.reserved,
        allowed: c.allowed,
        refused: c.refused,
        late: c.late,
        uncertain: c.uncertain,
    }
}

fn counts(c: StoredCounts) -> Counts {
    Counts {
        allowed: c.allowed,
        refused: c.refused,
        late: c.late,
        reserved: c.reserved,
        uncertain: c.uncertain,
    }
}

/// Opens the file and closes the books of the process before: after a crash, what it had reserved
/// counts as used.
///
/// # Errors
/// If the file cannot be used.
pub fn open(place: &Place) -> Result<Calls, StoreError> {
    let mut calls = Calls::at(place)?;
    if !calls.was_clean() {
        let open = calls.open_counters()?;
        let closed: Vec<_> =
            open.into_iter().map(|(id, c)| (id, stored(after_crash(counts(c))))).collect();
        calls.write(&closed, &[])?;
    }
    Ok(calls)
}

/// The counters with which sessions go on, which are given in their order. One that was never
/// written had its first block reserved by its own row of the log.
///
/// # Errors
/// If the file cannot be read.
pub fn resume(
    calls: &mut Calls,
    sessions: impl IntoIterator<Item = SessionId>,
) -> Result<BTreeMap<SessionId, Counter>, StoreError> {
    // On a log of several nodes the first block stands in the books of the node that began it.
    let reserved = if calls.is_shared() { 0 } else { CALLS_RESERVED };
    let first = Counts { reserved, ..Counts::default() };
    let first = if calls.was_clean() { first } else { after_crash(first) };
    let mut sessions = sessions.into_iter().peekable();
    let Some(earliest) = sessions.peek() else {
        return Ok(BTreeMap::new());
    };
    let mut written = calls.counters_from(*earliest)?.into_iter().peekable();
    let counter = |session| {
        while written.next_if(|(id, _)| *id < session).is_some() {}
        let own = written.next_if(|(id, _)| *id == session).map_or(first, |(_, c)| counts(c));
        (session, Counter::resume(own))
    };
    Ok(sessions.map(counter).collect())
}

impl CallBook {
    /// Starts the thread. Sessions that go on with nothing left get a new block before it returns.
    ///
    /// # Errors
    /// If the file cannot be written or the thread not started.
    pub fn start(
        mut calls: Calls,
        place: &Place,
        clock: Arc<Clock>,
        node: &Arc<Node>,
    ) -> Result<Self, StoreError> {
        let index = node.index().clone();
        let all: BTreeSet<SessionId> = index.entries().into_iter().map(|(id, _)| id).collect();
        write(&mut calls, &index, &all, &[], clock.now())?;
        close_books(&mut calls, &index, clock.now(), true);
        let past = CallsReader::at(place)?;
        let (sender, records) = channel();
        let weak = Arc::downgrade(node);
        let metrics = node.metrics().clone();
        let thread = std::thread::Builder::new().name("calls".into()).spawn(move || {
            let seal = move |command| {
                weak.upgrade().map(|node| node.run_blocking(Caller::system(), command))
            };
            run(&mut calls, &index, &records, &clock, &metrics, &seal);
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

    /// What a session's calls add up to now. Reads the file where memory has forgotten it.
    #[must_use]
    pub fn counts(&self, index: &Index, session: SessionId) -> Counts {
        if let Some(entry) = index.by_session(session) {
            let own = entry.counter.read();
            return match self.past.elsewhere(session) {
                Ok(elsewhere) => elsewhere.map_or(own, |more| own.with(counts(more))),
                Err(error) => {
                    tracing::error!(%error, "what other nodes counted cannot be read");
                    own
                }
            };
        }
        match self.past.counter(session) {
            Ok(found) => found.map(counts).unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "a counter cannot be read");
                Counts::default()
            }
        }
    }

    /// What the calls of several sessions add up to now, in their order.
    #[must_use]
    pub fn counts_of(&self, index: &Index, sessions: &[SessionId]) -> Vec<Counts> {
        let entry = |s: &SessionId| index.by_session(*s);
        let (live, past): (Vec<SessionId>, Vec<SessionId>) =
            sessions.iter().copied().partition(|s| entry(s).is_some());
        let read = |of: &[SessionId], own| {
            self.past.counters(of, own).unwrap_or_else(|error| {
                tracing::error!(%error, "counters cannot be read");
                Vec::new()
            })
        };
        let mut found: BTreeMap<SessionId, Counts> =
            read(&past, true).into_iter().map(|(s, c)| (s, counts(c))).collect();
        let elsewhere: BTreeMap<_, _> = read(&live, false).into_iter().collect();
        for session in live {
            let own = entry(&session).map(|e| e.counter.read()).unwrap_or_default();
            let more = elsewhere.get(&session).copied().map(counts).unwrap_or_default();
            found.insert(session, own.with(more));
        }
        sessions.iter().map(|s| found.get(s).copied().unwrap_or_default()).collect()
    }

    /// A session's calls over time, as they were last made durable.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn minutes(&self, session: SessionId) -> Result<Vec<CallMinute>, StoreError> {
        self.past.minutes(session)
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
    clock: &Clock,
    metrics: &Metrics,
    seal: Seal<'_>,
) {
    let mut unwritten: Vec<CallRecord> = Vec::new();
    let mut next_seal = boot_millis().saturating_add(SEAL_EVERY_MS);
    let mut next_sweep = boot_millis().saturating_add(SWEEP_EVERY_MS);
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
        metrics.calls_unwritten(unwritten.len());
        let touched: BTreeSet<SessionId> = unwritten.iter().map(|r| r.session).collect();
        // A call that could not be counted is a nudge for more room and no record.
        let kept: Vec<CallRecord> =
            unwritten.iter().filter(|r| r.reason != "busy").cloned().collect();
        match write(calls, index, &touched, &kept, clock.now()) {
            Ok(()) => {
                unwritten.clear();
                metrics.calls_unwritten(0);
            }
            Err(error) => {
                // Nothing more is reserved, so answers turn to `busy` before a call goes uncounted.
                tracing::error!(%error, "calls cannot be made durable");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        if boot_millis() >= next_sweep || stopping {
            next_sweep = boot_millis().saturating_add(SWEEP_EVERY_MS);
            close_books(calls, index, clock.now(), stopping);
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
    at: Instant,
) -> Result<(), StoreError> {
    let mut grants = Vec::new();
    let mut counts: Vec<(SessionId, Counts)> = Vec::new();
    for session in sessions {
        let Some(entry) = index.by_session(*session) else {
            continue;
        };
        // Read the room first: counts may only grow meanwhile, never the room.
        let rights = entry.rights.load();
        let live = rights.rights.is_ok() && at < rights.deadline;
        let wants = entry.counter.wants(BLOCK).filter(|_| live);
        let mut now = entry.counter.read();
        now.reserved = wants.unwrap_or(now.reserved).max(now.reserved);
        counts.push((*session, now));
        if wants.is_some() {
            grants.push((entry, now.reserved));
        }
    }
    if counts.is_empty() && records.is_empty() {
        return Ok(());
    }
    let durable: Vec<_> = counts.iter().map(|(id, c)| (*id, stored(*c))).collect();
    calls.write(&durable, records)?;
    for (entry, reserved) in grants {
        entry.counter.grant(reserved);
    }
    Ok(())
}

/// Gives back the room of sessions that have been over since the sweep before: no call on them is
/// still being answered, and a later crash leaves their counts exact. `quiet` says that no call is
/// being answered at all: at the start and at the end.
fn close_books(calls: &mut Calls, index: &Index, now: Instant, quiet: bool) {
    let mut closed = Vec::new();
    for (session, entry) in index.entries() {
        let rights = entry.rights.load();
        let is_over = rights.rights.is_err() || now >= rights.deadline;
        if is_over && (entry.counter.note_over() || quiet) && entry.counter.has_room() {
            entry.counter.close();
            closed.push((session, stored(entry.counter.read())));
        }
    }
    if !closed.is_empty()
        && let Err(error) = calls.write(&closed, &[])
    {
        tracing::error!(%error, "closed counters cannot be made durable");
    }
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
