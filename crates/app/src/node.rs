//! The writer: one thread that owns the log.
//!
//! It takes what queued while the last commit was running, never waiting for more, endings first;
//! decides each command on a working copy of the state, so that a command sees its neighbours;
//! commits the batch; lets the index follow; publishes the copy by one pointer swap; and only then
//! answers. When a commit fails the copy is dropped and nobody has seen it. When its outcome is
//! unknown nothing is decided until the file has told it. Only this thread says that the index is
//! current: if it is stuck or dead, answers stop by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use comity_decision::counter::Counter;
use comity_decision::index::Index;
use comity_domain::apply::Touched;
use comity_domain::command::{Caller, Command};
use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::{CommandId, Ids, SessionId};
use comity_domain::refusal::Refusal;
use comity_domain::state::State;
use comity_domain::{kernel, rights, session};
use comity_store::{AppendError, Head, Store};
use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, boot_millis};
use crate::random;

/// How long an answer may be given after the writer last said that the index is current.
pub const LEASE_MS: i64 = 3_000;
/// How long the writer waits for work before it says so again.
const BEAT: Duration = Duration::from_millis(200);
/// How many commands one transaction takes.
const MOST_IN_BATCH: usize = 512;
/// How many commands may wait. Endings are let in beyond it.
const MOST_WAITING: usize = 8_192;
/// How often forgotten sessions are swept from the index, in beats.
const SWEEP_EVERY: u64 = 150;

/// An accepted command.
#[derive(Debug, Clone)]
pub struct Done {
    /// The row, unless nothing changed.
    pub row: Option<Arc<Row>>,
    /// The state that holds it.
    pub state: Arc<State>,
    /// Its position: everything up to it is in `state`.
    pub seq: u64,
}

/// A command that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDone {
    /// It was judged and refused.
    Refused(Refusal),
    /// Nothing happened, and it may be tried again.
    Unavailable(&'static str),
    /// The node went down over it: it was carried out, or not.
    Unknown,
}

/// A published state with the head that it belongs to: what a snapshot is taken of.
#[derive(Debug, Clone)]
pub struct Stood {
    /// The state.
    pub state: Arc<State>,
    /// Where the log stood: `head.seq` is the state's.
    pub head: Head,
}

/// Closes a node for good: no answer and no command until it is started again.
#[derive(Debug, Clone)]
pub struct Closer {
    closed: Arc<AtomicBool>,
    index: Arc<Index>,
}

impl Closer {
    /// Closes it. The writer renews nothing after this, whatever it was about to do.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.index.close();
    }
}

struct Job {
    caller: Caller,
    id: CommandId,
    command: Command,
    reply: oneshot::Sender<Result<Done, NotDone>>,
}

/// A running writer, as others hold it.
#[derive(Debug)]
pub struct Node {
    jobs: std::sync::Mutex<Option<Sender<Job>>>,
    waiting: Arc<AtomicUsize>,
    published: Arc<ArcSwap<State>>,
    index: Arc<Index>,
    moved: watch::Receiver<u64>,
    stood: watch::Receiver<Stood>,
    closed: Arc<AtomicBool>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
    faults: Arc<Faults>,
}

/// What tests break on purpose.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Faults {
    /// Every commit fails while set.
    pub fail_commits: AtomicBool,
    /// The writer stops renewing while set.
    pub stuck: AtomicBool,
    /// The writer panics once set.
    pub panic: AtomicBool,
}

struct Writer {
    store: Store,
    clock: Arc<Clock>,
    state: State,
    published: Arc<ArcSwap<State>>,
    index: Arc<Index>,
    ids: Ids,
    moved: watch::Sender<u64>,
    waiting: Arc<AtomicUsize>,
    faults: Arc<Faults>,
    beats: u64,
    failing: bool,
    head: Head,
    stood: watch::Sender<Stood>,
    closed: Arc<AtomicBool>,
}

/// The index must not outlive its keeper's word.
struct CloseOnDrop(Arc<Index>);
impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Node {
    /// Starts the writer over a replayed state, with the counter of each of its sessions.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        store: Store,
        state: State,
        clock: Arc<Clock>,
        counters: BTreeMap<SessionId, Counter>,
    ) -> std::io::Result<Self> {
        let head = store.head().map_err(std::io::Error::other)?;
        let index = Arc::new(Index::default());
        let all = state.sessions.iter().filter_map(|(id, _)| rights::compile(&state, id)).collect();
        let counters = std::cell::RefCell::new(counters);
        let counter = |id| counters.borrow_mut().remove(&id).unwrap_or_else(|| Counter::new(0));
        index.follow(all, state.seq, counter);
        index.renew(boot_millis().saturating_add(LEASE_MS));
        let published = Arc::new(ArcSwap::from_pointee(state.clone()));
        let stands = Stood { state: published.load_full(), head: head.clone() };
        let (stood, stood_receiver) = watch::channel(stands);
        let closed = Arc::new(AtomicBool::new(false));
        let (sender, jobs) = channel();
        let (moved, moved_receiver) = watch::channel(state.seq);
        let (waiting, faults) = (Arc::new(AtomicUsize::new(0)), Arc::new(Faults::default()));
        let mut writer = Writer {
            store,
            clock,
            state,
            published: published.clone(),
            index: index.clone(),
            ids: random::ids(),
            moved,
            waiting: waiting.clone(),
            faults: faults.clone(),
            beats: 0,
            failing: false,
            head,
            stood,
            closed: closed.clone(),
        };
        let guard = CloseOnDrop(index.clone());
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || {
            let _guard = guard;
            writer.run(&jobs);
        })?;
        Ok(Self {
            jobs: std::sync::Mutex::new(Some(sender)),
            waiting,
            published,
            index,
            moved: moved_receiver,
            stood: stood_receiver,
            closed,
            thread: std::sync::Mutex::new(Some(thread)),
            faults,
        })
    }

    /// Sends a command to the writer and waits for what became of it.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn run(&self, caller: Caller, command: Command) -> Result<Done, NotDone> {
        self.send(caller, command)?.await.unwrap_or(Err(NotDone::Unknown))
    }

    /// The same for a thread that may block.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn run_blocking(&self, caller: Caller, command: Command) -> Result<Done, NotDone> {
        let reply = self.send(caller, command)?;
        reply.blocking_recv().unwrap_or(Err(NotDone::Unknown))
    }

    fn send(
        &self,
        caller: Caller,
        command: Command,
    ) -> Result<oneshot::Receiver<Result<Done, NotDone>>, NotDone> {
        let stopping = NotDone::Unavailable("the node is stopping");
        if self.waiting.load(Ordering::Acquire) >= MOST_WAITING && !command.is_ending() {
            return Err(NotDone::Unavailable("too many commands are waiting"));
        }
        let (reply, answer) = oneshot::channel();
        let id = CommandId(u128::from_be_bytes(random::bytes()));
        let jobs = self.jobs.lock().map_err(|_| stopping.clone())?;
        self.waiting.fetch_add(1, Ordering::AcqRel);
        match jobs.as_ref() {
            Some(jobs) if jobs.send(Job { caller, id, command, reply }).is_ok() => Ok(answer),
            _ => {
                self.waiting.fetch_sub(1, Ordering::AcqRel);
                Err(stopping)
            }
        }
    }

    /// The last published state.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.published.load_full()
    }

    /// What decisions are made from.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The position of the log, to wait on.
    #[must_use]
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.moved.clone()
    }

    /// The last published state with its head.
    #[must_use]
    pub fn stood(&self) -> watch::Receiver<Stood> {
        self.stood.clone()
    }

    /// What closes this node for good.
    #[must_use]
    pub fn closer(&self) -> Closer {
        Closer { closed: self.closed.clone(), index: self.index.clone() }
    }

    /// What tests break on purpose.
    #[doc(hidden)]
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Lets the writer finish what it has, and ends it.
    pub fn stop(&self) {
        if let Ok(mut jobs) = self.jobs.lock() {
            jobs.take();
        }
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer ended by a panic");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        let mut next_beat = boot_millis();
        loop {
            // Measured before the work: an answer is never valid longer than what it was made from.
            let began = boot_millis();
            match jobs.recv_timeout(BEAT) {
                Ok(first) => {
                    let mut batch = vec![first];
                    batch.extend(jobs.try_iter().take(MOST_IN_BATCH - 1));
                    self.waiting.fetch_sub(batch.len(), Ordering::AcqRel);
                    batch.sort_by_key(|job| !job.command.is_ending());
                    self.batch(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            assert!(!self.faults.panic.load(Ordering::Acquire), "a test asked for this");
            while self.faults.stuck.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(10));
            }
            if self.closed.load(Ordering::SeqCst) {
                self.index.close();
            } else if !self.failing {
                self.index.renew(began.saturating_add(LEASE_MS));
            }
            if boot_millis() >= next_beat {
                next_beat =
                    boot_millis().saturating_add(i64::try_from(BEAT.as_millis()).unwrap_or(200));
                self.beat();
            }
        }
    }

    /// What is due by the clock.
    fn beat(&mut self) {
        self.beats = self.beats.wrapping_add(1);
        if self.beats.is_multiple_of(SWEEP_EVERY) {
            let state = &self.state;
            self.index.retain(|id| state.sessions.get(id).is_some());
        }
        if self.failing || self.state.has_due(self.clock.now()) {
            let (reply, _nobody) = oneshot::channel();
            let id = CommandId(self.ids.next(self.clock.now()));
            self.batch(vec![Job {
                caller: Caller::system(),
                id,
                command: Command::NoteDue,
                reply,
            }]);
        }
    }

    fn batch(&mut self, jobs: Vec<Job>) {
        if self.closed.load(Ordering::SeqCst) {
            for job in jobs {
                let _ = job.reply.send(Err(NotDone::Unavailable("this node has closed itself")));
            }
            return;
        }
        if self.failing && !self.settle() {
            for job in jobs {
                let _ = job.reply.send(Err(NotDone::Unavailable("the log cannot be written")));
            }
            return;
        }
        let mut state = self.state.clone();
        let mut touched = Touched::default();
        let mut rows: Vec<(Row, Vec<SideWrite>)> = Vec::new();
        let mut replies = Vec::with_capacity(jobs.len());
        for job in jobs {
            let now = self.clock.now();
            match kernel::decide(&state, &job.caller, job.id, job.command, now, &mut self.ids) {
                Ok(decided) => {
                    state = decided.state;
                    touched.merge(decided.touched);
                    let row = decided.row.map(|row| {
                        rows.push((row, decided.side));
                        rows.len() - 1
                    });
                    replies.push((job.reply, Ok(row)));
                }
                Err(refusal) => replies.push((job.reply, Err(refusal))),
            }
        }
        if !rows.is_empty() && !self.commit(&rows) {
            // The copy is dropped. Refusals were judged by it too, so they do not stand either.
            let unknown = self.failing;
            for (reply, _) in replies {
                let not_written = NotDone::Unavailable("nothing was written");
                let _ = reply.send(Err(if unknown { NotDone::Unknown } else { not_written }));
            }
            return;
        }
        self.publish(state, &touched, !rows.is_empty());
        let state = self.published.load_full();
        let rows: Vec<Arc<Row>> = rows.into_iter().map(|(row, _)| Arc::new(row)).collect();
        for (reply, outcome) in replies {
            let seq = state.seq;
            let answer = outcome.map_err(NotDone::Refused).map(|row| {
                let row = row.and_then(|ix| rows.get(ix).cloned());
                let seq = row.as_ref().map_or(seq, |r| r.seq);
                Done { row, state: state.clone(), seq }
            });
            let _ = reply.send(answer);
        }
    }

    /// Whether the batch is in the log.
    fn commit(&mut self, rows: &[(Row, Vec<SideWrite>)]) -> bool {
        if let Err(error) =
            self.store.fail_commits(self.faults.fail_commits.load(Ordering::Acquire))
        {
            tracing::error!(%error, "the fault switch does not work");
        }
        match self.store.append(rows, &mut self.ids) {
            Ok(head) => {
                self.head = head;
                true
            }
            Err(AppendError::NotWritten(error)) => {
                tracing::error!(%error, "the log was not written");
                false
            }
            Err(AppendError::Unknown(error)) => {
                tracing::error!(%error, "the outcome of a commit is unknown");
                self.settled(rows)
            }
        }
    }

    /// Lets the store settle what became of a commit. As long as it cannot, the node is closed.
    fn settled(&mut self, rows: &[(Row, Vec<SideWrite>)]) -> bool {
        let Some((last, _)) = rows.last() else {
            return true;
        };
        match self.store.settle() {
            Ok(Head { seq, .. }) if seq == self.state.seq => false,
            Ok(head)
                if head.seq == last.seq
                    && self.store.find_command(head.seq, last.command).unwrap_or(false) =>
            {
                self.head = head;
                true
            }
            outcome => {
                tracing::error!(
                    ?outcome,
                    "the log does not say what became of a commit; no answers until it does"
                );
                self.failing = true;
                self.index.close();
                false
            }
        }
    }

    /// After an outcome that could not be settled: reads on from where the state stands, so that
    /// whatever was written after all is known before anything else is decided.
    fn settle(&mut self) -> bool {
        let mut state = self.state.clone();
        let mut touched = Touched::default();
        let read = self.store.settle().and_then(|_| {
            self.store.replay(self.state.seq, |row| {
                touched.merge(kernel::apply(&mut state, &row));
                Ok(())
            })
        });
        match read.and_then(|()| self.store.head()) {
            Ok(head) => {
                self.head = head;
                self.failing = false;
                let moved = state.seq != self.state.seq;
                self.publish(state, &touched, moved);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the log cannot be settled");
                false
            }
        }
    }

    fn publish(&mut self, state: State, touched: &Touched, moved: bool) {
        if !moved {
            return;
        }
        let changed = touched.sessions_in(&state);
        let compiled = changed.into_iter().filter_map(|id| rights::compile(&state, id)).collect();
        let seq = state.seq;
        self.state = state.clone();
        // Decisions first: nobody may read that something has ended while it is still answered yes.
        self.index.follow(compiled, seq, |_| Counter::new(session::CALLS_RESERVED));
        let state = Arc::new(state);
        self.published.store(state.clone());
        self.stood.send_replace(Stood { state, head: self.head.clone() });
        let _ = self.moved.send(seq);
    }
}
