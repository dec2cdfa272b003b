//! The writer: one thread that owns the log.
//!
//! It takes what queued while the last commit was running, never waiting for more, endings first;
//! takes the head and reads what other nodes have written; decides each command on a working copy
//! of the state, so that a command sees its neighbours; commits the batch; lets the index follow;
//! publishes the copy by one pointer swap; and only then answers. An ending that others could still
//! say yes to is answered when they cannot (`lease.rs`). When a commit fails the copy is dropped
//! and nobody has seen it. When its outcome is unknown nothing is decided until the log has told it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use arc_swap::ArcSwap;
use comity_decision::counter::Counter;
use comity_domain::apply::Touched;
use comity_domain::command::{Caller, Command};
use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::{CommandId, Ids};
use comity_domain::refusal::Refusal;
use comity_domain::state::State;
use comity_domain::{kernel, rights, session};
use comity_store::{AppendError, Head, REMEMBERED_MS, Renewed, Store, StoreError};
use tokio::sync::{oneshot, watch};

use crate::again::{self, Sent};
use crate::clock::{Clock, boot_millis, stopwatch};
use crate::erasures::Erasures;
use crate::lease::{Barrier, Lease, Waiting};
use crate::metrics::Metrics;
use crate::node::{Answer, Closer, Done, Faults, Job, Message, NotDone, Sabotage, Stood};

/// How many commands one transaction takes.
const MOST_IN_BATCH: usize = 512;
/// How often forgotten sessions are swept from the index.
const SWEEP_EVERY_MS: i64 = 30_000;
/// How often old keys of commands are cleared away.
const FORGET_EVERY_MS: i64 = 60_000;
/// How many of them at a time.
const MOST_FORGOTTEN: usize = 500;
/// For how long commands are decided while the head is held: others wait for it meanwhile, and the
/// server ends a transaction in which nothing happens for a second.
const MOST_HELD_MS: i64 = 400;
/// How far our clock may stand from the database's (T37).
const MOST_SKEW_MS: i64 = 1_000;

pub(crate) struct Writer {
    pub store: Store,
    pub erasures: Erasures,
    pub lease: Lease,
    pub barrier: Barrier,
    pub clock: Arc<Clock>,
    pub state: State,
    /// Where the log stood at `state`.
    pub head: Head,
    pub published: Arc<ArcSwap<State>>,
    pub closer: Closer,
    pub ids: Ids,
    pub moved: watch::Sender<u64>,
    pub stood: watch::Sender<Stood>,
    pub waiting: Arc<AtomicUsize>,
    pub faults: Arc<Faults>,
    pub metrics: Arc<Metrics>,
    pub next_sweep: i64,
    pub next_forget: i64,
    /// Our clock and the database's differ too much, or were not compared yet: nothing is decided
    /// by it, and above all nothing written, because the time of the log never runs back (T37).
    pub off: bool,
    /// What the last batch had no time for.
    pub later: Vec<Job>,
    /// The log does not say what became of a commit: nothing is decided and nothing answered.
    pub failing: bool,
}

/// What became of a commit.
enum Commit {
    /// It is in the log, and not yet in our state.
    Written(Head),
    /// It is in the log, and our state has followed the log to there.
    Followed,
    /// Nothing of it happened.
    NotWritten,
    /// Nobody knows.
    Unknown,
}

type Batch = Vec<(Row, Vec<SideWrite>)>;

/// What a command came to.
pub(crate) enum Came {
    /// Nothing changed.
    Nothing,
    /// To this row of the batch; `true` if it was sent before within the batch.
    Row(usize, bool),
    /// To a row that it became when it was sent before.
    Earlier(Arc<Row>),
}

/// Who waits for an answer, whether they wanted to end something, and what it came to.
type Reply = (oneshot::Sender<Answer>, bool, Result<Came, Refusal>);

impl Writer {
    pub fn run(&mut self, messages: &Receiver<Message>) {
        let mut next_beat = boot_millis();
        loop {
            // Measured before the work: an answer is never valid longer than what it was made from.
            let began = boot_millis();
            let wait = u64::try_from(next_beat.saturating_sub(began).max(0)).unwrap_or(0);
            let wait = if self.later.is_empty() { wait } else { 0 };
            let mut hinted = false;
            let mut jobs = std::mem::take(&mut self.later);
            let room = MOST_IN_BATCH.saturating_sub(jobs.len());
            match messages.recv_timeout(Duration::from_millis(wait)) {
                Ok(first) => {
                    let known = jobs.len();
                    for message in std::iter::once(first).chain(messages.try_iter().take(room)) {
                        match message {
                            Message::Job(job) => jobs.push(job),
                            Message::Hint => hinted = true,
                        }
                    }
                    self.waiting.fetch_sub(jobs.len() - known, Ordering::AcqRel);
                    jobs.sort_by_key(|job| !job.asked.command.is_ending());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if jobs.is_empty() => return,
                Err(RecvTimeoutError::Disconnected) => {}
            }
            if !jobs.is_empty() {
                self.batch(jobs);
            }
            assert!(!self.faults.panic.load(Ordering::Acquire), "a test asked for this");
            while self.faults.stuck.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let due = boot_millis() >= next_beat;
            if self.store.is_shared() {
                if due || hinted {
                    self.confirm();
                }
            } else if !self.failing && !self.closer.is_closed() {
                self.renew(began); // the file is this writer's alone
            }
            if due {
                let beat = i64::try_from(self.lease.beat.as_millis()).unwrap_or(200);
                next_beat = boot_millis().saturating_add(beat);
                self.beat();
            }
        }
    }

    /// Answers who waits for others, and says farewell.
    pub fn leave(&mut self) {
        self.barrier.stop();
        if let Err(error) = self.store.leave() {
            tracing::warn!(%error, "no farewell: others wait for this node until its lease ran out");
        }
    }

    /// What is due by the clock.
    fn beat(&mut self) {
        if boot_millis() >= self.next_sweep {
            self.next_sweep = boot_millis().saturating_add(SWEEP_EVERY_MS);
            let state = &self.state;
            self.closer.index.retain(|id| state.sessions.get(id).is_some());
        }
        self.scrub();
        self.forget();
        if !self.failing && !self.state.has_due(self.clock.now()) {
            return;
        }
        let (reply, _nobody) = oneshot::channel();
        let id = CommandId(self.ids.next(self.clock.now()));
        let asked = Command::NoteDue.into();
        self.batch(vec![Job { caller: Caller::system(), id, asked, reply }]);
    }

    /// Clears away keys of commands that are too old to be remembered: a few at a time, so that nobody
    /// waits for it.
    fn forget(&mut self) {
        if self.failing || self.off || self.closer.is_closed() || boot_millis() < self.next_forget {
            return;
        }
        let before = self.clock.now().plus(-REMEMBERED_MS);
        let gone = self.store.forget(before, MOST_FORGOTTEN);
        if let Err(error) = &gone {
            tracing::warn!(%error, "old keys of commands were not cleared away");
        }
        if gone.is_ok_and(|gone| gone == MOST_FORGOTTEN) {
            return; // more at the next beat
        }
        self.next_forget = boot_millis().saturating_add(FORGET_EVERY_MS);
    }

    /// What erasures leave to do. A file is this writer's alone, so it stays current while it is
    /// written anew.
    fn scrub(&mut self) {
        let (closer, clock, length) = (&self.closer, &self.clock, self.lease.length_ms);
        let alone = !self.store.is_shared() && !self.failing;
        let meanwhile = || {
            if alone && !closer.is_closed() {
                closer.index.renew(boot_millis().saturating_add(length), clock.drift());
                if closer.is_closed() {
                    closer.index.close(); // whoever closed it meanwhile wins
                }
            }
        };
        self.erasures.follow(&mut self.store, &self.state, &meanwhile);
    }

    // -- being current --------------------------------------------------------------------------

    fn renew(&self, from: i64) {
        let until = if self.faults.sabotaged(Sabotage::NoLease) {
            i64::MAX
        } else {
            from.saturating_add(self.lease.length_ms)
        };
        self.closer.index.renew(until, self.clock.drift());
        if self.closer.is_closed() {
            self.closer.index.close(); // whoever closed it meanwhile wins
        }
    }

    /// N2: a replicated write says that we are here, and tells where the log stands; what we lack
    /// is read and applied; only then may answers be given for a while. What was applied is told
    /// at once, so that nobody waits for us longer than needed.
    fn confirm(&mut self) {
        for _ in 0..2 {
            if self.closer.is_closed() || (self.failing && !self.settle()) {
                return;
            }
            let before = self.state.seq;
            if !self.confirm_once() || self.state.seq == before {
                return;
            }
            if self.faults.late_report.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn confirm_once(&mut self) -> bool {
        let sent = boot_millis();
        let renewed = if self.faults.sabotaged(Sabotage::RenewByReading) {
            self.store.renew_by_reading()
        } else {
            self.store.renew(self.state.seq)
        };
        self.metrics.renewed(renewed.as_ref().is_ok_and(|r| r.head.is_some()));
        let (head, wall) = match renewed {
            Ok(Renewed { head: Some(head), wall }) => (head, wall),
            Ok(Renewed { head: None, .. }) => {
                tracing::warn!("this node was declared dead; it registers anew");
                return true;
            }
            Err(error) => {
                self.broken(&error);
                return false;
            }
        };
        if let Err(error) = self.catch_up(&head) {
            self.broken(&error);
            return false;
        }
        let took = boot_millis().saturating_sub(sent);
        let skew = wall.and_then(|wall| self.clock.skew_to(wall)).unwrap_or(0);
        if skew > MOST_SKEW_MS.saturating_add(took) {
            tracing::error!(skew, "our clock and the database's differ too much: no answers");
            self.off = true;
            self.closer.index.close();
            return false;
        }
        self.off = false;
        self.renew(sent);
        true
    }

    /// Reads and applies what others have written up to `head`, checking every row against it. The
    /// head may take our own word for what we already have.
    fn catch_up(&mut self, head: &Head) -> Result<(), StoreError> {
        let wrong = |what| StoreError::Corrupt { seq: head.seq, what };
        if head.fork != self.head.fork {
            return Err(wrong("the log was restored: it is another one now"));
        }
        if head.seq < self.head.seq {
            return Err(wrong("the log is shorter than what was read of it"));
        }
        if head.seq > self.head.seq {
            let mut state = self.state.clone();
            let mut touched = Touched::default();
            let mut edge = self.head.edge.clone();
            self.store.read_on(&mut edge, head.seq, |row| {
                touched.merge(kernel::apply(&mut state, &row));
                Ok(())
            })?;
            if edge != head.edge || edge.root() != head.root {
                return Err(wrong("the rows do not lead to the head's root"));
            }
            self.head = head.clone();
            self.publish(state, &touched, 0);
        } else if head.root != self.head.root {
            return Err(wrong("it is another log than the one that was read"));
        }
        Ok(())
    }

    /// What cannot be read may be read later; a log that is another than the one we followed
    /// closes the node for good.
    fn broken(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Corrupt { .. } | StoreError::Codec(_)) {
            tracing::error!(%error, "no answers any more: start anew after comity audit verify");
            self.closer.close();
        } else {
            tracing::warn!(%error, "being current cannot be confirmed");
            self.reconnect();
        }
    }

    fn reconnect(&mut self) {
        if let Err(error) = self.store.reconnect() {
            tracing::warn!(%error, "the database cannot be reached");
        }
    }

    // -- writing --------------------------------------------------------------------------------

    fn batch(&mut self, jobs: Vec<Job>) {
        if let Err(why) = self.take_head() {
            for job in jobs {
                let _ = job.reply.send(Err(NotDone::Unavailable(why)));
            }
            return;
        }
        let mut state = self.state.clone();
        let mut touched = Touched::default();
        let mut rows: Batch = Vec::new();
        let mut replies = Vec::with_capacity(jobs.len());
        let began = boot_millis();
        let mut sent = match Sent::before(&mut self.store, &jobs, self.clock.now()) {
            Ok(sent) => sent,
            Err(error) => {
                self.store.release();
                self.broken(&error);
                for job in jobs {
                    let _ = job.reply.send(Err(NotDone::Unavailable("the log cannot be read")));
                }
                return;
            }
        };
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            let now = self.clock.now();
            let ending = job.asked.command.is_ending();
            let Job { caller, id, asked, reply } = job;
            if let Some(first) = sent.find(asked.once.as_ref(), &rows) {
                let came = first.and_then(|(came, row)| {
                    again::judge(&state, &caller, (id, asked.command), &row, now, &mut self.ids)?;
                    Ok(came)
                });
                replies.push((reply, ending, came));
                continue;
            }
            let (command, seen) = (asked.command, asked.seen.as_ref());
            match kernel::decide_if(&state, &caller, id, (command, seen), now, &mut self.ids) {
                Ok(decided) => {
                    state = decided.state;
                    touched.merge(decided.touched);
                    let came = decided.row.map_or(Came::Nothing, |row| {
                        let mut side = decided.side;
                        side.extend(sent.first(asked.once, rows.len()).map(SideWrite::Once));
                        rows.push((row, side));
                        Came::Row(rows.len() - 1, false)
                    });
                    replies.push((reply, ending, Ok(came)));
                }
                Err(refusal) => replies.push((reply, ending, Err(refusal))),
            }
            if self.store.is_shared() && boot_millis().saturating_sub(began) >= MOST_HELD_MS {
                self.later.extend(jobs);
                break;
            }
        }
        if rows.is_empty() {
            self.store.release();
            let told = |(_, ending, came): &Reply| *ending || matches!(came, Ok(Came::Earlier(_)));
            let ends = replies.iter().any(told);
            if ends && self.store.is_shared() && !self.is_durable() {
                return refuse(replies, &NotDone::Unavailable("it cannot be confirmed"));
            }
        } else {
            match self.commit(&rows) {
                Commit::Written(head) => {
                    self.head = head;
                    self.publish(state, &touched, session::CALLS_RESERVED);
                }
                Commit::Followed => {}
                // The copy is dropped. Refusals were judged by it too, so they do not stand either.
                Commit::NotWritten => {
                    return refuse(replies, &NotDone::Unavailable("nothing was written"));
                }
                Commit::Unknown => return refuse(replies, &NotDone::Unknown),
            }
        }
        self.answer(rows, replies);
    }

    /// What was only read here may be gone after a failover. A write of our own, once replicated,
    /// has it behind it: so nobody is told that something has ended by a row that may be lost.
    fn is_durable(&mut self) -> bool {
        match self.renewed() {
            Ok(head) => head.is_some(),
            Err(error) => {
                tracing::warn!(%error, "what was read cannot be confirmed");
                self.reconnect();
                false
            }
        }
    }

    /// A replicated write of our own, and where it found the log. Two at most are tried: one may
    /// find us declared dead, and `None` is what is left if both do.
    fn renewed(&mut self) -> Result<Option<Head>, StoreError> {
        match self.store.renew(self.state.seq)?.head {
            None => Ok(self.store.renew(self.state.seq)?.head),
            found => Ok(found),
        }
    }

    /// Takes the head and follows the log to it; says why not.
    fn take_head(&mut self) -> Result<(), &'static str> {
        if self.closer.is_closed() {
            return Err("this node has closed itself");
        }
        if self.failing && !self.settle() {
            return Err("the log cannot be written");
        }
        if self.off {
            self.confirm_once(); // what is wrong is told in the logs
        }
        if self.off {
            return Err("this node's clock and the database's were not found to agree");
        }
        let mut taken = self.store.lock();
        if taken.is_err() && self.store.is_lost() {
            // Nothing was done on it: another connection may serve.
            taken = self.store.reconnect().and_then(|()| self.store.lock());
        }
        let head = match taken {
            Ok(head) => head,
            Err(error) => {
                tracing::warn!(%error, "the log cannot be written now");
                return Err("the log cannot be written now");
            }
        };
        self.catch_up(&head).map_err(|error| {
            self.store.release();
            self.broken(&error);
            "the log cannot be read"
        })
    }

    fn answer(&self, rows: Batch, replies: Vec<Reply>) {
        let since = boot_millis();
        let state = self.published.load_full();
        let rows: Vec<Arc<Row>> = rows.into_iter().map(|(row, _)| Arc::new(row)).collect();
        for (reply, ending, outcome) in replies {
            let answer = outcome.map_err(NotDone::Refused).map(|came| {
                let (row, again) = match came {
                    Came::Nothing => (None, false),
                    Came::Row(ix, again) => (rows.get(ix).cloned(), again),
                    Came::Earlier(row) => (Some(row), true),
                };
                let seq = row.as_ref().map_or(state.seq, |r| r.seq);
                Done { row, state: state.clone(), seq, again }
            });
            let takes = |done: &Done| {
                done.row.iter().flat_map(|row| &row.events).any(|e| e.event.takes_away())
            };
            // Whoever wants to end something and hears that it has ended already, or that it is not
            // there, takes it for over: so that waits too for the nodes that do not know it yet.
            let waits = ending || answer.as_ref().is_ok_and(takes);
            match &answer {
                _ if self.barrier.is_needed() && waits => {
                    let seq = answer.as_ref().map_or(state.seq, |done| done.seq);
                    let answer = Box::new(move || drop(reply.send(answer)));
                    self.barrier.wait(Waiting { seq, since, answer });
                }
                _ => drop(reply.send(answer)),
            }
        }
    }

    fn commit(&mut self, rows: &Batch) -> Commit {
        if let Err(error) =
            self.store.fail_commits(self.faults.fail_commits.load(Ordering::Acquire))
        {
            tracing::error!(%error, "the fault switch does not work");
        }
        let watch = stopwatch();
        let written = self.store.append(rows, &mut self.ids);
        self.metrics.committed(rows.len(), watch());
        match written {
            Ok(head) => Commit::Written(head),
            Err(AppendError::NotWritten(error)) => {
                tracing::error!(%error, "the log was not written");
                Commit::NotWritten
            }
            Err(AppendError::Unknown(error)) => {
                tracing::error!(%error, "the outcome of a commit is unknown");
                self.settled(rows)
            }
        }
    }

    /// Asks the log what became of a commit. As long as it does not say, the node is closed.
    fn settled(&mut self, rows: &Batch) -> Commit {
        let Some((last, _)) = rows.last() else {
            return Commit::NotWritten;
        };
        self.failing = true;
        if !self.settle() {
            self.closer.index.close();
            tracing::error!(
                "the log does not say what became of a commit; no answers until it does"
            );
            return Commit::Unknown;
        }
        if self.state.seq < last.seq {
            return Commit::NotWritten;
        }
        match self.store.find_command(last.seq, last.command) {
            Ok(true) => Commit::Followed,
            Ok(false) => Commit::NotWritten,
            Err(error) => {
                tracing::error!(%error, "a row that was just read cannot be read");
                Commit::Unknown
            }
        }
    }

    /// After an outcome that is unknown: on a connection that can be believed, takes the head, so
    /// that the commit is through or gone; confirms by a write of its own that what stands there is
    /// durable wherever it has to be; and only then reads on from where the state stands, so that
    /// nobody is shown what may yet be lost.
    fn settle(&mut self) -> bool {
        let unconfirmed = || StoreError::Place("being current cannot be confirmed".into());
        let settled = self.store.settle().and_then(|_| {
            let head = self.renewed()?.ok_or_else(unconfirmed)?;
            self.catch_up(&head)
        });
        match settled {
            Ok(()) => self.failing = false,
            Err(error) if matches!(error, StoreError::Corrupt { .. } | StoreError::Codec(_)) => {
                self.broken(&error);
            }
            Err(error) => tracing::error!(%error, "the log cannot be read"),
        }
        !self.failing
    }

    /// `reserved` is how many calls of a new session this node may count: those that its own row
    /// reserved, or none where another node made it.
    fn publish(&mut self, state: State, touched: &Touched, reserved: u64) {
        let changed = touched.sessions_in(&state);
        let compiled = changed.into_iter().filter_map(|id| rights::compile(&state, id)).collect();
        let seq = state.seq;
        // Another node's clock may be ahead of ours, and time never runs backwards for the rules.
        self.clock.at_least(state.at);
        self.state = state.clone();
        // Decisions first: nobody may read that something has ended while it is still answered yes.
        self.closer.index.follow(compiled, seq, |_| Counter::new(reserved));
        let state = Arc::new(state);
        self.published.store(state.clone());
        self.scrub();
        self.stood.send_replace(Stood { state, head: self.head.clone() });
        let _ = self.moved.send(seq);
    }
}

fn refuse(replies: Vec<Reply>, not: &NotDone) {
    for (reply, ..) in replies {
        let _ = reply.send(Err(not.clone()));
    }
}
