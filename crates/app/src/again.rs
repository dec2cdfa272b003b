//! Commands that are sent again (T52, T59): one with the same key, of the same caller, that asks the
//! same as before is answered with what it came to then, and nothing happens a second time. Looked at
//! with the head in hand, and within the batch: whoever sends it twice at once, on whichever nodes,
//! waits behind the first. What was refused or changed nothing is not remembered and judged anew.

use std::sync::Arc;

use comity_domain::command::{Caller, Command, Once};
use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::{CommandId, Ids};
use comity_domain::kernel;
use comity_domain::refusal::{Class, Refusal};
use comity_domain::state::State;
use comity_domain::time::Instant;
use comity_store::{Known, REMEMBERED_MS, Remembered, Store, StoreError};

use crate::node::Job;
use crate::writer::Came;

/// What was sent before: in the log, and in this batch.
#[derive(Default)]
pub(crate) struct Sent {
    known: Known,
    rows: std::collections::BTreeMap<u64, Arc<Row>>,
    batch: std::collections::BTreeMap<Once, usize>,
}

/// What an earlier sending came to, and its row.
type Earlier = Result<(Came, Arc<Row>), Refusal>;

impl Sent {
    /// Looks up the keys of a batch. One whose row is not the one that it was written with, which no
    /// commit leaves behind, counts as unknown.
    pub fn before(store: &mut Store, jobs: &[Job], now: Instant) -> Result<Self, StoreError> {
        let once = |job: &Job| job.asked.once.as_ref().map(|o| (o.principal.clone(), o.key));
        let keys: Vec<_> = jobs.iter().filter_map(once).collect();
        let mut sent = Self::default();
        if keys.is_empty() {
            return Ok(sent);
        }
        sent.known = store.known(&keys, now.plus(-REMEMBERED_MS))?;
        for Remembered { seq, at, .. } in sent.known.values() {
            let row = store.row(*seq)?.filter(|row| row.at == *at);
            sent.rows.extend(row.map(|row| (*seq, Arc::new(row))));
        }
        let rows = &sent.rows;
        sent.known.retain(|_, known| rows.contains_key(&known.seq));
        Ok(sent)
    }

    /// What a key stands for already; `None` if it is new.
    pub fn find(&self, once: Option<&Once>, rows: &[(Row, Vec<SideWrite>)]) -> Option<Earlier> {
        let once = once?;
        let same = |o: &&Once| (o.key, &o.principal) == (once.key, &once.principal);
        if let Some((first, ix)) = self.batch.iter().find(|(o, _)| same(o)) {
            let row = Arc::new(rows.get(*ix)?.0.clone());
            return Some(compare(first, once).map(|()| (Came::Row(*ix, true), row)));
        }
        let first = self.known.get(&(once.principal.clone(), once.key))?;
        let row = self.rows.get(&first.seq)?.clone();
        Some(compare(&first.once, once).map(|()| (Came::Earlier(row.clone()), row)))
    }

    /// Notes that a new key became the row at this place of the batch.
    pub fn first(&mut self, once: Option<Once>, ix: usize) -> Option<Once> {
        self.batch.extend(once.clone().map(|o| (o, ix)));
        once
    }
}

fn compare(first: &Once, now: &Once) -> Result<(), Refusal> {
    if first == now { Ok(()) } else { Err(Refusal::KeyReused) }
}

/// Whether the caller may still hear what a command of theirs came to: it shows how things are now,
/// which somebody who lost their rights since must not see. A refusal because it was done already is
/// none, and a secret is not shown twice.
pub(crate) fn judge(
    state: &State,
    caller: &Caller,
    (id, command): (CommandId, Command),
    row: &Row,
    now: Instant,
    ids: &mut Ids,
) -> Result<(), Refusal> {
    let (bare, secret) = (command.ends_what_it_names(), command.secret_of(row));
    match kernel::decide(state, caller, id, command, now, ids) {
        Err(Refusal::NotFound) if !bare => return Err(Refusal::NotFound),
        Err(refusal @ (Refusal::CallerRevoked | Refusal::NotActive("membership"))) => {
            return Err(refusal);
        }
        Err(refusal) if refusal.class() == Class::Forbidden => return Err(refusal),
        _ => {}
    }
    secret.map_or(Ok(()), |how| Err(Refusal::AlreadyDone(how)))
}
