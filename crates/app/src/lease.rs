//! Several nodes over one log: what is waited for, and what is listened to.
//!
//! The lease is the guarantee: a node says yes only for a while after it confirmed by a replicated
//! write that it had everything up to the head (N2, in `writer.rs`). So an ending is answered once
//! every live node has applied it, or once so much time has gone by that whoever has not applied
//! it cannot say yes any more (N4). Hints only make it quick.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use comity_store::postgres::{Hints, Leases};
use comity_store::{LeaseRow, NodeId, Place};

use crate::clock::boot_millis;
use crate::metrics::Metrics;
use crate::node::{Faults, Message, Sabotage};

/// How long being current lasts, and how often it is confirmed. The same on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How long an answer may be given after the confirmation was sent, in milliseconds.
    pub length_ms: i64,
    /// How often it is confirmed when nothing else happens.
    pub beat: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Self { length_ms: 3_000, beat: Duration::from_millis(200) }
    }
}

impl Lease {
    /// After how long on our own clock a node that has confirmed nothing cannot say yes any more:
    /// clocks of two machines may differ in speed by 2 %.
    fn run_out_ms(self) -> i64 {
        self.length_ms.saturating_add(self.length_ms / 50).saturating_add(20)
    }
}

/// An answer that waits until every node knows what it says.
pub(crate) struct Waiting {
    /// Up to where the nodes have to have applied.
    pub seq: u64,
    /// When the commit was confirmed, on the boot clock.
    pub since: i64,
    /// Gives the answer.
    pub answer: Box<dyn FnOnce() + Send>,
}

/// How often the lease table is looked at while somebody waits.
const LOOK_EVERY_MS: i64 = 2;

/// Those who wait, on a thread of their own: the writer goes on. Another one looks at the leases,
/// because a look may hang on the network, and whoever waits need not wait for longer than until
/// every lease has run out.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// `None` where nobody else can have a copy.
    keeper: Option<Sender<ToKeeper>>,
    thread: Option<JoinHandle<()>>,
}

enum ToKeeper {
    /// Somebody waits.
    Wait(Waiting),
    /// A look is over: up to where every other node has applied; `None` if it failed.
    Seen(Option<u64>),
    /// Nobody more will come.
    Stop,
}

impl Barrier {
    pub fn start(
        place: &Place,
        lease: Lease,
        faults: &Arc<Faults>,
        metrics: &Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let Place::Postgres(server, node) = place else {
            return Ok(Self { keeper: None, thread: None });
        };
        let (sender, receiver) = channel();
        let (asks, asked) = channel::<Vec<(u64, i64)>>();
        let (leases, faults) = (Leases::new(server, *node), faults.clone());
        let mut looker = Looker { leases, lease, seen: BTreeMap::new(), faults };
        let tell = sender.clone();
        // Ends when nobody asks any more; nobody waits for that, because it may hang.
        std::thread::Builder::new().name("leases".into()).spawn(move || {
            for waiting in asked {
                let _ = tell.send(ToKeeper::Seen(looker.look(&waiting)));
            }
        })?;
        let metrics = metrics.clone();
        let mut keeper = Keeper { lease, asks, looking: false, look_at: 0, metrics };
        let thread = std::thread::Builder::new()
            .name("barrier".into())
            .spawn(move || keeper.run(&receiver))?;
        Ok(Self { keeper: Some(sender), thread: Some(thread) })
    }

    /// Whether anybody has to be waited for at all.
    pub fn is_needed(&self) -> bool {
        self.keeper.is_some()
    }

    /// Has it answered when every live node knows.
    pub fn wait(&self, waiting: Waiting) {
        match &self.keeper {
            Some(keeper) => {
                if let Err(unsent) = keeper.send(ToKeeper::Wait(waiting)) {
                    drop(unsent); // the reply's end is dropped with it: the outcome is unknown
                }
            }
            None => (waiting.answer)(),
        }
    }

    /// Lets those who wait get their answers.
    pub fn stop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.send(ToKeeper::Stop);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the barrier ended by a panic");
        }
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        self.stop(); // also after a panic of the writer: patience has an end
    }
}

struct Keeper {
    lease: Lease,
    asks: Sender<Vec<(u64, i64)>>,
    /// Whether a look is under way.
    looking: bool,
    /// When the next one is due.
    look_at: i64,
    metrics: Arc<Metrics>,
}

/// One who waits, and whether the look that is under way began after they came: only such a look
/// can tell of every node that may have to be waited for.
type Pending = (Waiting, bool);

impl Keeper {
    fn run(&mut self, from: &Receiver<ToKeeper>) {
        let mut pending: Vec<Pending> = Vec::new();
        let mut open = true;
        while open || !pending.is_empty() {
            let told = if pending.is_empty() {
                from.recv().ok()
            } else {
                let wait = self.ask(&mut pending);
                from.recv_timeout(wait).ok() // nothing was said: it is time for something
            };
            match told {
                Some(ToKeeper::Wait(waiting)) => pending.push((waiting, false)),
                Some(ToKeeper::Seen(applied)) => {
                    self.looking = false;
                    self.look_at = boot_millis().saturating_add(LOOK_EVERY_MS);
                    let knows = |w: &Pending| w.1 && applied.is_some_and(|all| all >= w.0.seq);
                    pending = self.answered(pending, knows);
                }
                Some(ToKeeper::Stop) => open = false,
                None => {}
            }
            let (now, patience) = (boot_millis(), self.lease.run_out_ms());
            pending = self.answered(pending, |w| now.saturating_sub(w.0.since) >= patience);
        }
    }

    /// Answers those who may be answered, and returns the others.
    fn answered(&self, pending: Vec<Pending>, may: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        let (done, waiting): (Vec<_>, Vec<_>) = pending.into_iter().partition(may);
        for (over, _) in done {
            self.metrics.waited_for_others(boot_millis().saturating_sub(over.since));
            (over.answer)();
        }
        waiting
    }

    /// Has the leases looked at if it is time, and says for how long nothing is due then.
    fn ask(&mut self, pending: &mut [Pending]) -> Duration {
        let now = boot_millis();
        if !self.looking && now >= self.look_at {
            self.looking =
                self.asks.send(pending.iter().map(|w| (w.0.seq, w.0.since)).collect()).is_ok();
            pending.iter_mut().for_each(|w| w.1 = self.looking);
        }
        let earliest = pending.iter().map(|w| w.0.since).min().unwrap_or(now);
        let until = earliest.saturating_add(self.lease.run_out_ms());
        let until = if self.looking { until } else { until.min(self.look_at.max(now + 1)) };
        Duration::from_millis(until.saturating_sub(now).max(1).unsigned_abs())
    }
}

struct Looker {
    leases: Leases,
    lease: Lease,
    /// The other nodes, each with the moment when we first saw it stand as it does (N5).
    seen: BTreeMap<NodeId, (LeaseRow, i64)>,
    faults: Arc<Faults>,
}

impl Looker {
    /// Up to where every other live node has applied; `None` if that cannot be read. `waiting` is
    /// for what somebody waits, each with the moment since when.
    fn look(&mut self, waiting: &[(u64, i64)]) -> Option<u64> {
        let rows = match self.leases.others() {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "the leases cannot be read; waiting for them to run out");
                return None;
            }
        };
        let now = boot_millis();
        self.note(&rows, now);
        self.bury(&rows, waiting, now);
        Some(rows.iter().map(|r| r.applied).min().unwrap_or(u64::MAX))
    }

    fn note(&mut self, rows: &[LeaseRow], now: i64) {
        self.seen.retain(|node, _| rows.iter().any(|r| r.node == *node));
        for row in rows {
            let seen = self.seen.entry(row.node).or_insert((*row, now));
            if (seen.0.epoch, seen.0.beat) != (row.epoch, row.beat) {
                *seen = (*row, now);
            }
        }
    }

    /// N5: declares dead whom we ourselves have seen standing still for so long that its lease has
    /// run out, and who holds somebody up.
    fn bury(&mut self, rows: &[LeaseRow], waiting: &[(u64, i64)], now: i64) {
        let careless = self.faults.sabotaged(Sabotage::DeadByCommitTime);
        let patience = if careless { self.lease.length_ms } else { self.lease.run_out_ms() };
        let latest = waiting.iter().map(|w| w.0).max().unwrap_or(0);
        for row in rows.iter().filter(|r| r.applied < latest) {
            let since = self.seen.get(&row.node).map_or(now, |(_, since)| *since);
            let since = if careless {
                let held_up = waiting.iter().filter(|w| row.applied < w.0);
                held_up.map(|w| w.1).min().unwrap_or(now)
            } else {
                since
            };
            if now.saturating_sub(since) < patience {
                continue;
            }
            let marked = if careless {
                self.leases.mark_dead_whatever_it_did(*row)
            } else {
                self.leases.mark_dead(*row)
            };
            match marked {
                Ok(()) => tracing::warn!(node = %row.node, "a node is gone: its lease ran out"),
                Err(error) => tracing::warn!(%error, "a node could not be declared dead"),
            }
        }
    }
}

/// How long one listening lasts before the thread looks whether it should end.
const LISTEN: Duration = Duration::from_millis(200);

/// Hears the other nodes' hints and tells the writer.
#[derive(Debug)]
pub(crate) struct Ear {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Ear {
    pub fn start(
        place: &Place,
        writer: &Sender<Message>,
        faults: &Arc<Faults>,
    ) -> std::io::Result<Option<Self>> {
        let Place::Postgres(server, node) = place else {
            return Ok(None);
        };
        let (server, node, writer) = (server.clone(), *node, writer.clone());
        let (stop, faults) = (Arc::new(AtomicBool::new(false)), faults.clone());
        let stopping: Weak<AtomicBool> = Arc::downgrade(&stop);
        let thread = std::thread::Builder::new().name("ear".into()).spawn(move || {
            let ends = || stopping.upgrade().is_none_or(|stop| stop.load(Ordering::Acquire));
            while !ends() {
                let heard = Hints::listen(&server, node).and_then(|mut hints| {
                    while !ends() {
                        let deaf = faults.deaf.load(Ordering::Relaxed);
                        if hints.wait(LISTEN)? && !deaf && writer.send(Message::Hint).is_err() {
                            break;
                        }
                    }
                    Ok(())
                });
                if let Err(error) = heard {
                    tracing::debug!(%error, "no hints; the beat makes up for them");
                    std::thread::sleep(LISTEN);
                }
            }
        })?;
        Ok(Some(Self { stop, thread }))
    }

    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.join();
    }
}
