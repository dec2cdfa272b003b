//! Several nodes over one log: what is waited for, and what is listened to.
//!
//! The lease is the guarantee: a node says yes only for a while after it confirmed by a replicated
//! write that it had everything up to the head (N2, in `writer.rs`). So an ending is answered once
//! every live node has applied it, or once so much time has gone by that whoever has not applied
//! it cannot say yes any more (N4). Hints only make it quick.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
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
const LOOK: Duration = Duration::from_millis(2);

/// Those who wait, on a thread and a connection of their own: the writer goes on.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// `None` where nobody else can have a copy.
    waiting: Option<Sender<Waiting>>,
    thread: Option<JoinHandle<()>>,
}

impl Barrier {
    pub fn start(
        place: &Place,
        lease: Lease,
        faults: &Arc<Faults>,
        metrics: &Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let Place::Postgres(server, node) = place else {
            return Ok(Self { waiting: None, thread: None });
        };
        let (sender, receiver) = channel();
        let (leases, faults) = (Leases::new(server, *node), faults.clone());
        let (seen, metrics) = (BTreeMap::new(), metrics.clone());
        let mut keeper = Keeper { leases, lease, seen, faults, metrics };
        let thread = std::thread::Builder::new()
            .name("barrier".into())
            .spawn(move || keeper.run(&receiver))?;
        Ok(Self { waiting: Some(sender), thread: Some(thread) })
    }

    /// Whether anybody has to be waited for at all.
    pub fn is_needed(&self) -> bool {
        self.waiting.is_some()
    }

    /// Has it answered when every live node knows.
    pub fn wait(&self, waiting: Waiting) {
        match &self.waiting {
            Some(sender) => {
                if let Err(unsent) = sender.send(waiting) {
                    drop(unsent); // the reply's end is dropped with it: the outcome is unknown
                }
            }
            None => (waiting.answer)(),
        }
    }

    /// Lets those who wait get their answers, then says farewell for this node.
    pub fn stop(&mut self) {
        self.waiting.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the barrier ended by a panic");
        }
    }
}

struct Keeper {
    leases: Leases,
    lease: Lease,
    /// The other nodes, each with the moment when we first saw it stand as it does (N5).
    seen: BTreeMap<NodeId, (LeaseRow, i64)>,
    faults: Arc<Faults>,
    metrics: Arc<Metrics>,
}

impl Keeper {
    fn run(&mut self, from: &Receiver<Waiting>) {
        let mut pending: Vec<Waiting> = Vec::new();
        let mut open = true;
        while open || !pending.is_empty() {
            if pending.is_empty() {
                match from.recv() {
                    Ok(waiting) => pending.push(waiting),
                    Err(_) => break,
                }
            }
            loop {
                match from.try_recv() {
                    Ok(waiting) => pending.push(waiting),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        open = false;
                        break;
                    }
                }
            }
            pending = self.look(pending);
            if !pending.is_empty() {
                std::thread::sleep(LOOK);
            }
        }
        if let Err(error) = self.leases.leave() {
            tracing::warn!(%error, "no farewell: others wait for this node until its lease ran out");
        }
    }

    /// Answers whom it can, and returns the others.
    fn look(&mut self, pending: Vec<Waiting>) -> Vec<Waiting> {
        let others = self.leases.others();
        let now = boot_millis();
        let patience = self.lease.run_out_ms();
        let known = match others {
            Ok(rows) => {
                self.note(&rows, now);
                let latest = pending.iter().map(|w| w.seq).max().unwrap_or(0);
                self.bury(&rows, latest, &pending, now);
                Some(rows)
            }
            Err(error) => {
                tracing::warn!(%error, "the leases cannot be read; waiting for them to run out");
                None
            }
        };
        let applied = known.map(|rows| rows.iter().map(|r| r.applied).min().unwrap_or(u64::MAX));
        let (done, waiting): (Vec<_>, Vec<_>) = pending.into_iter().partition(|w| {
            applied.is_some_and(|applied| applied >= w.seq)
                || now.saturating_sub(w.since) >= patience
        });
        for over in done {
            self.metrics.waited_for_others(now.saturating_sub(over.since));
            (over.answer)();
        }
        waiting
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
    fn bury(&mut self, rows: &[LeaseRow], latest: u64, pending: &[Waiting], now: i64) {
        let patience = self.lease.run_out_ms();
        let careless = self.faults.sabotaged(Sabotage::DeadByCommitTime);
        for row in rows.iter().filter(|r| r.applied < latest) {
            let since = self.seen.get(&row.node).map_or(now, |(_, since)| *since);
            let since = if careless {
                pending.iter().filter(|w| row.applied < w.seq).map(|w| w.since).min().unwrap_or(now)
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
