//! How the installation is, for the operator: what waits, who else runs, where the log was signed.

use comity_store::{MailCounts, OutboxCounts};

use crate::app::{App, Failure};
use crate::checkpoints::Kept;

/// After so many milliseconds a node that confirmed nothing says no yes any more.
const LEASE_MS: i64 = 3_000;

/// What has to be read to know it.
#[derive(Debug)]
pub struct Health {
    /// The newest signed checkpoint.
    pub checkpoint: Option<Kept>,
    /// What is told outside, by webhooks and event streams.
    pub outbox: OutboxCounts,
    /// Mails.
    pub mails: MailCounts,
    /// How many nodes are current and how many have confirmed nothing for too long; `None` where
    /// the log is a file, which one node holds.
    pub nodes: Option<(usize, usize)>,
}

impl App {
    /// How it is now. Blocking.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn health(&self) -> Result<Health, Failure> {
        let reader = self.reader();
        let nodes = reader.nodes()?.map(|nodes| {
            let live = nodes.iter().filter(|(_, ago)| *ago < LEASE_MS).count();
            (live, nodes.len() - live)
        });
        Ok(Health {
            checkpoint: self.latest_checkpoint()?,
            outbox: reader.outbox_counts(None)?,
            mails: reader.mail_counts()?,
            nodes,
        })
    }
}
