//! A node as others hold it: commands go in, the published state and the index come out.
//!
//! What stands behind it is one thread, the writer (`writer.rs`). Only that thread says that the
//! index is current: if it is stuck or dead, answers stop by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use comity_decision::counter::Counter;
use comity_decision::index::Index;
use comity_domain::command::{Asked, Caller, Command};
use comity_domain::event::Row;
use comity_domain::ids::{CommandId, SessionId};
use comity_domain::refusal::Refusal;
use comity_domain::rights;
use comity_domain::state::State;
use comity_store::{Head, Place, Store};
use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, boot_millis};
use crate::erasures::Erasures;
use crate::lease::{Barrier, Ear, Lease};
use crate::metrics::{Metrics, Outcome};
use crate::random;
use crate::writer::Writer;

/// How many commands may wait. Endings are let in beyond it.
const MOST_WAITING: usize = 8_192;

/// An accepted command.
#[derive(Debug, Clone)]
pub struct Done {
    /// The row, unless nothing changed.
    pub row: Option<Arc<Row>>,
    /// The state that holds it.
    pub state: Arc<State>,
    /// Its position: everything up to it is in `state`.
    pub seq: u64,
    /// It was carried out before, when its key was first sent: `row` is that row, and `state` is how
    /// things are now.
    pub again: bool,
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
    /// Nothing happened, and nothing will until the operator has resolved the restore (inv32).
    Guarded,
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
    pub(crate) closed: Arc<AtomicBool>,
    pub(crate) index: Arc<Index>,
}

impl Closer {
    /// Closes it. The writer renews nothing after this, whatever it was about to do.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.index.close();
    }

    /// Whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

/// What becomes of a command.
pub type Answer = Result<Done, NotDone>;

pub(crate) struct Job {
    pub caller: Caller,
    pub id: CommandId,
    pub asked: Asked,
    pub reply: oneshot::Sender<Answer>,
}

/// What the writer is told.
#[expect(clippy::large_enum_variant, reason = "hints are rare, and a job is moved once")]
pub(crate) enum Message {
    /// Do this.
    Job(Job),
    /// Another node has written.
    Hint,
}

/// A running writer, as others hold it.
#[derive(Debug)]
pub struct Node {
    jobs: std::sync::Mutex<Option<Sender<Message>>>,
    waiting: Arc<AtomicUsize>,
    published: Arc<ArcSwap<State>>,
    closer: Closer,
    moved: watch::Receiver<u64>,
    stood: watch::Receiver<Stood>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
    ear: std::sync::Mutex<Option<Ear>>,
    faults: Arc<Faults>,
    metrics: Arc<Metrics>,
    /// Why there is no writer at all.
    guarded: Option<Guarded>,
}

/// A node that only shows: the log keeps its lock and takes nothing.
#[derive(Debug)]
struct Guarded {
    _store: std::sync::Mutex<Store>,
    _moved: watch::Sender<u64>,
    _stood: watch::Sender<Stood>,
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
    /// Hints of other nodes are not heard while set.
    pub deaf: AtomicBool,
    /// What was applied is told with the next renewal and not at once, while set.
    pub late_report: AtomicBool,
    /// Nothing can be signed while set.
    pub fail_signing: AtomicBool,
    /// One of [`Sabotage`]: what a careless build would do, for the tests that must find it out.
    pub sabotage: AtomicU8,
}

/// Careless builds.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Sabotage {
    /// None: the build as it is.
    None = 0,
    /// Answers are given without a lease.
    NoLease = 1,
    /// A renewal reads where it has to write.
    RenewByReading = 2,
    /// A node is declared dead by the time since the commit, whatever it confirmed meanwhile.
    DeadByCommitTime = 3,
}

impl Faults {
    pub(crate) fn sabotaged(&self, how: Sabotage) -> bool {
        self.sabotage.load(Ordering::Relaxed) == how as u8
    }
}

/// The index must not outlive its keeper's word.
struct CloseOnDrop(Arc<Index>);
impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// With what a node starts.
#[derive(Debug)]
pub struct Start {
    /// The writer's hold on the log.
    pub store: Store,
    /// Where that is.
    pub place: Place,
    /// The state at `head`.
    pub state: State,
    /// Where the log stood when the state was read.
    pub head: Head,
    /// The counter of each session of the state.
    pub counters: BTreeMap<SessionId, Counter>,
    /// How long an answer may be given after being current was confirmed.
    pub lease: Lease,
    /// What erasures leave to do outside the log.
    pub erasures: Erasures,
}

impl Node {
    /// Starts the writer. On a log that others write to as well, no answer is given before the
    /// first lease.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(start: Start, clock: Arc<Clock>) -> std::io::Result<Self> {
        let Start { store, place, state, head, counters, lease, erasures } = start;
        let index = Arc::new(Index::default());
        let all = state.sessions.iter().filter_map(|(id, _)| rights::compile(&state, id)).collect();
        let counters = std::cell::RefCell::new(counters);
        let counter = |id| counters.borrow_mut().remove(&id).unwrap_or_else(|| Counter::new(0));
        index.follow(all, state.seq, counter);
        if !store.is_shared() {
            index.renew(boot_millis().saturating_add(lease.length_ms), clock.drift());
        }
        let published = Arc::new(ArcSwap::from_pointee(state.clone()));
        let stands = Stood { state: published.load_full(), head: head.clone() };
        let (stood, stood_receiver) = watch::channel(stands);
        let closer = Closer { closed: Arc::default(), index: index.clone() };
        let (sender, jobs) = channel();
        let (moved, moved_receiver) = watch::channel(state.seq);
        let (waiting, faults) = (Arc::new(AtomicUsize::new(0)), Arc::new(Faults::default()));
        let metrics = Arc::new(Metrics::default());
        let barrier = Barrier::start(&place, lease, &faults, &metrics)?;
        let ear = Ear::start(&place, &sender, &faults)?;
        let off = store.is_shared(); // until the clocks were compared
        let mut writer = Writer {
            store,
            erasures,
            lease,
            barrier,
            clock,
            state,
            published: published.clone(),
            closer: closer.clone(),
            ids: random::ids(),
            moved,
            waiting: waiting.clone(),
            faults: faults.clone(),
            metrics: metrics.clone(),
            next_sweep: boot_millis(),
            next_forget: boot_millis(),
            off,
            later: Vec::new(),
            failing: false,
            head,
            stood,
        };
        let guard = CloseOnDrop(index);
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || {
            let guard = guard;
            writer.run(&jobs);
            drop(guard); // no more yes
            writer.leave(); // so nobody has to wait for us any more
        })?;
        Ok(Self {
            jobs: std::sync::Mutex::new(Some(sender)),
            waiting,
            published,
            closer,
            moved: moved_receiver,
            stood: stood_receiver,
            thread: std::sync::Mutex::new(Some(thread)),
            ear: std::sync::Mutex::new(ear),
            faults,
            metrics,
            guarded: None,
        })
    }

    /// A node without a writer over a log that must not be answered from (inv32): the state can be
    /// read, no decision is anything but `stale`, no command is taken.
    #[must_use]
    pub fn guarded(store: Store, state: State, head: Head) -> Self {
        let (moved, moved_receiver) = watch::channel(state.seq);
        let state = Arc::new(state);
        let (stood, stood_receiver) = watch::channel(Stood { state: state.clone(), head });
        let guarded = Guarded { _store: store.into(), _moved: moved, _stood: stood };
        Self {
            jobs: std::sync::Mutex::new(None),
            waiting: Arc::default(),
            published: Arc::new(ArcSwap::new(state)),
            closer: Closer { closed: Arc::new(AtomicBool::new(true)), index: Arc::default() },
            moved: moved_receiver,
            stood: stood_receiver,
            thread: std::sync::Mutex::new(None),
            ear: std::sync::Mutex::new(None),
            faults: Arc::default(),
            metrics: Arc::default(),
            guarded: Some(guarded),
        }
    }

    /// Sends a command to the writer and waits for what became of it.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn run(&self, caller: Caller, asked: impl Into<Asked>) -> Answer {
        let asked = asked.into();
        let kind = asked.command.kind();
        let result = match self.send(caller, asked) {
            Ok(reply) => reply.await.unwrap_or(Err(NotDone::Unknown)),
            Err(not) => Err(not),
        };
        self.counted(&kind, result)
    }

    /// Hands a command to the writer now, so that commands are taken in the order of these calls;
    /// what became of it comes with the future.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn hand_in(
        &self,
        caller: Caller,
        command: Command,
    ) -> impl Future<Output = Answer> + Send + use<'_> {
        let kind = command.kind();
        let sent = self.send(caller, command.into());
        async move {
            let result = match sent {
                Ok(reply) => reply.await.unwrap_or(Err(NotDone::Unknown)),
                Err(not) => Err(not),
            };
            self.counted(&kind, result)
        }
    }

    /// The same for a thread that may block.
    ///
    /// # Errors
    /// [`NotDone`].
    pub fn run_blocking(&self, caller: Caller, asked: impl Into<Asked>) -> Answer {
        let asked = asked.into();
        let kind = asked.command.kind();
        let result = match self.send(caller, asked) {
            Ok(reply) => reply.blocking_recv().unwrap_or(Err(NotDone::Unknown)),
            Err(not) => Err(not),
        };
        self.counted(&kind, result)
    }

    fn counted(&self, kind: &str, result: Answer) -> Answer {
        let outcome = match &result {
            Ok(Done { row: Some(_), again: false, .. }) => Outcome::Done,
            Ok(_) => Outcome::Nothing,
            Err(NotDone::Refused(_)) => Outcome::Refused,
            Err(NotDone::Unavailable(_) | NotDone::Guarded) => Outcome::Unavailable,
            Err(NotDone::Unknown) => Outcome::Unknown,
        };
        self.metrics.command(kind, outcome);
        result
    }

    fn send(&self, caller: Caller, asked: Asked) -> Result<oneshot::Receiver<Answer>, NotDone> {
        if self.guarded.is_some() {
            return Err(NotDone::Guarded);
        }
        let stopping = NotDone::Unavailable("the node is stopping");
        if self.waiting.load(Ordering::Acquire) >= MOST_WAITING && !asked.command.is_ending() {
            return Err(NotDone::Unavailable("too many commands are waiting"));
        }
        let (reply, answer) = oneshot::channel();
        let id = CommandId(u128::from_be_bytes(random::bytes()));
        let jobs = self.jobs.lock().map_err(|_| stopping.clone())?;
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let job = Message::Job(Job { caller, id, asked, reply });
        match jobs.as_ref() {
            Some(jobs) if jobs.send(job).is_ok() => Ok(answer),
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
        &self.closer.index
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
        self.closer.clone()
    }

    /// Figures for monitoring.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// How many commands wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// What tests break on purpose.
    #[doc(hidden)]
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Lets the writer finish what it has, and ends it.
    pub fn stop(&self) {
        if let Some(ear) = self.ear.lock().ok().and_then(|mut ear| ear.take()) {
            ear.stop();
        }
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
