//! The running checker: whether what must always be true still is.
//!
//! A thread of its own looks at everything when the server has started, and then each minute at
//! what was touched since. It takes the published state first and then reads the rows up to it, so
//! it never holds up the writer or a decision. What it keeps between runs is the state as of the
//! last one, which shares its memory with the published one, and two positions in the log with the
//! edge of the Merkle tree there: one follows the head, the other goes round over the older rows
//! ([`OLDER_ROWS`] in a run), so that an edit anywhere is found within one round.
//!
//! At the start the whole log is folded once more into a state of its own, which is dropped as soon
//! as it was compared: for that long the state is in memory twice.
//!
//! A breach is acted upon first and told afterwards: the object is halted through the writer, or
//! where nothing single can be named `close` is called; then the error is logged and counted.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use comity_domain::check::{self, Breach, Scope};
use comity_domain::command::{Caller, Command};
use comity_domain::event::Row;
use comity_domain::kernel;
use comity_domain::state::State;
use comity_domain::text::Word;
use comity_domain::time::Instant;
use comity_store::{Edge, Head, Reader, StoreError, Stored, decode, intact};

use crate::clock::{Clock, boot_millis};
use crate::node::Node;

/// How long the checker rests between two runs.
pub const EVERY: Duration = Duration::from_secs(60);
/// How many older rows a run reads again.
pub const OLDER_ROWS: u64 = 20_000;

/// What is called when nothing can be trusted any more.
pub type Close = Box<dyn Fn(&Breach) + Send + Sync>;

/// What the checker has done so far. Times are milliseconds, UTC or long.
#[derive(Debug, Default)]
pub struct Figures {
    /// Finished runs.
    pub runs: AtomicU64,
    /// Breaches found, each counted in every run that finds it.
    pub breaches: AtomicU64,
    /// Runs that could not read the log to its end.
    pub failures: AtomicU64,
    /// When the last run ended; 0 before the first.
    pub last_run_at: AtomicI64,
    /// How long it took.
    pub last_millis: AtomicI64,
    /// How far the log was found right.
    pub checked_to: AtomicU64,
}

/// A running checker, as others hold it.
pub struct Checker {
    shared: Arc<Shared>,
    bell: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    work: Mutex<Work>,
    figures: Figures,
    stopping: AtomicBool,
    node: Weak<Node>,
    clock: Arc<Clock>,
    close: Close,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("figures", &self.shared.figures).finish_non_exhaustive()
    }
}

impl Checker {
    /// Starts the thread over a node and the log that it writes.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        node: &Arc<Node>,
        reader: Reader,
        clock: Arc<Clock>,
        every: Duration,
        close: Close,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            work: Mutex::new(Work::new(reader)),
            figures: Figures::default(),
            stopping: AtomicBool::new(false),
            node: Arc::downgrade(node),
            clock,
            close,
        });
        let (bell, rung) = channel();
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("checker".into()).spawn(move || {
            loop {
                own.run();
                match rung.recv_timeout(every) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        let (bell, thread) = (Mutex::new(Some(bell)), Mutex::new(Some(thread)));
        Ok(Self { shared, bell, thread })
    }

    /// What it has done so far.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Runs once now, beside the thread's own runs, and returns what was found. Blocking.
    pub fn run_now(&self) -> Vec<Breach> {
        self.shared.run()
    }

    /// Ends the thread; a run that is under way gives up.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Ok(mut bell) = self.bell.lock() {
            bell.take();
        }
        if let Some(thread) = self.thread.lock().ok().and_then(|mut thread| thread.take())
            && thread.join().is_err()
        {
            tracing::error!("the checker ended by a panic");
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) -> Vec<Breach> {
        let Some(published) = self.node.upgrade().map(|node| node.state()) else {
            return Vec::new();
        };
        let began = boot_millis();
        let looked = match self.work.lock() {
            Ok(mut work) => work.look(&published, self.clock.now(), &self.stopping),
            Err(_) => return Vec::new(),
        };
        if self.stopping.load(Ordering::Acquire) {
            return Vec::new();
        }
        for breach in &looked.breaches {
            self.act(breach);
        }
        let f = &self.figures;
        let read = looked.failed.is_none();
        if let Some(error) = looked.failed {
            tracing::error!(code = "checker_cannot_read", %error, "the log cannot be read");
            f.failures.fetch_add(1, Ordering::AcqRel);
        }
        let found = u64::try_from(looked.breaches.len()).unwrap_or(u64::MAX);
        f.breaches.fetch_add(found, Ordering::AcqRel);
        f.checked_to.store(looked.checked_to, Ordering::Release);
        f.last_millis.store(boot_millis().saturating_sub(began), Ordering::Release);
        f.last_run_at.store(self.clock.now().0, Ordering::Release);
        f.runs.fetch_add(1, Ordering::AcqRel);
        if let Some(node) = self.node.upgrade().filter(|_| read) {
            node.metrics().checked(found, self.clock.now());
        }
        looked.breaches
    }

    /// Stops what it concerns first, then says so.
    fn act(&self, breach: &Breach) {
        let mut done = "told";
        if breach.closes() {
            (self.close)(breach);
            done = "closed";
        } else if let (Some(target), Some(node)) = (breach.halts(), self.node.upgrade()) {
            let command = Command::Halt { target, invariant: breach.invariant };
            done = "halted";
            if let Err(error) = node.run_blocking(Caller::system(), command) {
                tracing::error!(?error, "a halt was not written; no answers instead");
                (self.close)(breach);
                done = "closed";
            }
        }
        let Breach { invariant, about, what } = breach;
        tracing::error!(code = "invariant_breached", invariant, ?about, what, done, "a breach");
    }
}

/// A place in the log, and the tree over everything up to it.
#[derive(Debug, Clone, Default)]
struct Mark {
    seq: u64,
    edge: Edge,
}

/// What is kept from one run to the next.
struct Work {
    reader: Reader,
    /// The log leads here: checked up to this state's position.
    state: State,
    mark: Mark,
    /// Where the round over older rows stands.
    older: Mark,
    started: bool,
}

/// What one run found.
struct Looked {
    breaches: Vec<Breach>,
    failed: Option<StoreError>,
    checked_to: u64,
}

/// A row of the log that is not what this log wrote.
fn bad(what: &'static str) -> Breach {
    Breach { invariant: 25, about: None, what }
}

/// One walk over the log, and what it found.
struct Walk<'a> {
    mark: Mark,
    found: Vec<Breach>,
    stopping: &'a AtomicBool,
}

impl Walk<'_> {
    /// Recomputes a row and puts its leaf onto the tree. An error ends the walk.
    fn take(&mut self, stored: &Stored, words: &[(u32, Word)]) -> Result<(), StoreError> {
        let stop = |what| StoreError::Corrupt { seq: stored.seq, what };
        if self.stopping.load(Ordering::Acquire) {
            return Err(stop("the checker is stopping"));
        }
        if stored.seq != self.mark.seq.saturating_add(1) {
            self.found.push(bad("a row is missing in the log"));
            return Err(stop("a row before it is missing"));
        }
        if let Err(why) = intact(stored, words) {
            tracing::error!(seq = stored.seq, why, "a row of the log was changed");
            self.found.push(bad("a row or a word of the log was changed"));
        }
        self.mark.seq = stored.seq;
        self.mark.edge.push(stored.leaf);
        Ok(())
    }
}

impl Work {
    fn new(reader: Reader) -> Self {
        Self {
            reader,
            state: State::default(),
            mark: Mark::default(),
            older: Mark::default(),
            started: false,
        }
    }

    /// One run against what is published. Never fails as a whole: what cannot be read is said.
    fn look(&mut self, published: &Arc<State>, now: Instant, stopping: &AtomicBool) -> Looked {
        let mut scope = if self.started { Scope::default() } else { Scope::everything() };
        let mut breaches = Vec::new();
        let newer = self.newer(published, &mut scope, &mut breaches, stopping);
        let older = if newer.is_ok() && self.started {
            self.older_rows(&mut breaches, stopping)
        } else {
            Ok(())
        };
        breaches.extend(check::check(published, &scope, now));
        self.started |= newer.is_ok() && self.mark.seq == published.seq;
        breaches.sort();
        breaches.dedup();
        let failed = newer.and(older).err();
        // A log that cannot be read to where the server stands is not the one that it wrote.
        if let (Some(StoreError::Corrupt { .. } | StoreError::Codec(_)), false) =
            (&failed, stopping.load(Ordering::Acquire))
            && breaches.iter().all(|b| !b.closes())
        {
            breaches.push(bad("the log cannot be read to its end"));
        }
        Looked { breaches, failed, checked_to: self.mark.seq }
    }

    /// Follows the log from the last run to the published state, and the tree on to the head.
    fn newer(
        &mut self,
        published: &Arc<State>,
        scope: &mut Scope,
        breaches: &mut Vec<Breach>,
        stopping: &AtomicBool,
    ) -> Result<(), StoreError> {
        let mut walk = Walk { mark: self.mark.clone(), found: Vec::new(), stopping };
        let (mut state, mut here) = (self.state.clone(), self.mark.clone());
        let first = !self.started;
        let stood = self.reader.scan(self.mark.seq, |stored, words| {
            walk.take(&stored, &words)?;
            if stored.seq <= published.seq {
                let row = decode(&stored, words)?;
                apply(&mut state, &row, scope, first, &mut walk.found);
                here = walk.mark.clone();
            }
            Ok(())
        });
        if let Ok(head) = &stood {
            against(head, &walk.mark, &mut walk.found);
        }
        breaches.append(&mut walk.found);
        let _: Head = stood?;
        if here.seq != published.seq {
            // The server says more than the log: what was confirmed is not there.
            let what = "the published state is ahead of the log";
            breaches.push(Breach { invariant: 24, about: None, what });
            return Ok(());
        }
        let differing = check::differences(&state, published, scope);
        // The published one shares its memory with what is used; the log's own is kept where the
        // two differ, so that the difference is found again until somebody mends it.
        self.state = if differing.is_empty() { State::clone(published) } else { state };
        self.mark = here;
        breaches.extend(differing);
        Ok(())
    }

    /// Reads on in the round over the older rows; at its end the tree must be the one that the
    /// rows had when they were new.
    fn older_rows(
        &mut self,
        breaches: &mut Vec<Breach>,
        stopping: &AtomicBool,
    ) -> Result<(), StoreError> {
        let mut walk = Walk { mark: self.older.clone(), found: Vec::new(), stopping };
        let (last, most) = (self.mark.seq, self.older.seq.saturating_add(OLDER_ROWS));
        let mut enough = false;
        let read = self.reader.scan(self.older.seq, |stored, words| {
            if stored.seq > last || stored.seq > most {
                enough = true;
                return Err(StoreError::Corrupt { seq: stored.seq, what: "enough for now" });
            }
            walk.take(&stored, &words)?;
            decode(&stored, words).map(drop).map_err(StoreError::from)
        });
        let around = walk.mark.seq >= last;
        if around && walk.mark.edge.root() != self.mark.edge.root() {
            walk.found.push(bad("an older row of the log was changed"));
        }
        if !around && !enough && read.is_ok() {
            walk.found.push(bad("rows are missing at the end of the log"));
        }
        breaches.append(&mut walk.found);
        self.older = if around { Mark::default() } else { walk.mark };
        if enough { Ok(()) } else { read.map(|_| ()) }
    }
}

/// Takes a row into the checker's own copy; the rows before the first run are history, and were
/// judged when they happened.
fn apply(state: &mut State, row: &Row, scope: &mut Scope, first: bool, found: &mut Vec<Breach>) {
    if first {
        kernel::apply(state, row);
        return;
    }
    let before = state.clone();
    let touched = kernel::apply(state, row);
    scope.add(row, touched);
    found.extend(check::step(&before, row, state));
}

/// The stored head must be that of the rows.
fn against(head: &Head, walked: &Mark, found: &mut Vec<Breach>) {
    if head.seq != walked.seq || head.edge != walked.edge || head.root != walked.edge.root() {
        found.push(bad("the stored head is not that of the log"));
    }
}
