//! The lease table as others see it, and the hints that something was written.

use std::time::Duration;

use fallible_iterator::FallibleIterator as _;

use super::connect::{Server, Session, Wants};
use super::{big, id, log, signed};
use crate::lease::{LeaseRow, NodeId};
use crate::log::StoreError;

/// A connection of its own, to look at the other nodes with.
#[derive(Debug)]
pub struct Leases {
    server: Server,
    node: NodeId,
    session: Option<Session>,
}

impl Leases {
    /// For the waiter of the node `node`. Connects when first asked.
    #[must_use]
    pub fn new(server: &Server, node: NodeId) -> Self {
        Self { server: server.clone(), node, session: None }
    }

    fn with<T>(
        &mut self,
        ask: impl FnOnce(&mut Session, NodeId) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut session = match self.session.take() {
            Some(session) if !session.is_closed() => session,
            _ => Session::open(&self.server, Wants::Writing)?,
        };
        let answer = ask(&mut session, self.node);
        if answer.is_ok() {
            self.session = Some(session);
        }
        answer
    }

    /// The other nodes that nobody has declared dead.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn others(&mut self) -> Result<Vec<LeaseRow>, StoreError> {
        self.with(|session, node| {
            let rows = session.query(
                "SELECT node, epoch, beat, applied, feature FROM lease WHERE NOT dead AND node <> $1",
                &[&id(node.0).as_slice()],
            )?;
            rows.iter()
                .map(|r| {
                    let number = |ix| Ok::<u64, StoreError>(r.try_get::<_, i64>(ix)?.unsigned_abs());
                    Ok(LeaseRow {
                        node: NodeId(big(r, 0)?),
                        epoch: number(1)?,
                        beat: number(2)?,
                        applied: number(3)?,
                        feature: u32::try_from(number(4)?).unwrap_or(u32::MAX),
                    })
                })
                .collect()
        })
    }

    /// Declares a node dead, if it still stands as it was seen (N5). It has to register anew then.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn mark_dead(&mut self, seen: LeaseRow) -> Result<(), StoreError> {
        self.with(|session, _| {
            session.execute(
                "UPDATE lease SET dead = true WHERE node = $1 AND epoch = $2 AND beat = $3",
                &[&id(seen.node.0).as_slice(), &signed(seen.epoch), &signed(seen.beat)],
            )?;
            session.warned()
        })
    }

    /// The same whatever it has confirmed meanwhile: what a careless build would do, for the tests
    /// that must find it out.
    #[doc(hidden)]
    pub fn mark_dead_whatever_it_did(&mut self, seen: LeaseRow) -> Result<(), StoreError> {
        self.with(|session, _| {
            session.execute(
                "UPDATE lease SET dead = true WHERE node = $1 AND epoch = $2",
                &[&id(seen.node.0).as_slice(), &signed(seen.epoch)],
            )?;
            Ok(())
        })
    }
}

/// Hears that another node has written. Hints only: one that is missed is made good by the beat.
pub struct Hints {
    client: ::postgres::Client,
    node: NodeId,
}

impl std::fmt::Debug for Hints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hints(..)")
    }
}

impl Hints {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub fn listen(server: &Server, node: NodeId) -> Result<Self, StoreError> {
        let mut client = server.client(&super::connect::Warned::default())?;
        client.batch_execute(&format!("LISTEN {}", log::CHANNEL))?;
        Ok(Self { client, node })
    }

    /// Waits for a hint of another node, `within` at most; says whether there was one.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn wait(&mut self, within: Duration) -> Result<bool, StoreError> {
        let own = format!("{}:", self.node);
        let mut heard = self.client.notifications();
        let mut next = heard.timeout_iter(within);
        let mut any = false;
        while let Some(told) = next.next()? {
            any |= !told.payload().starts_with(&own);
            if any {
                break;
            }
        }
        Ok(any)
    }
}
