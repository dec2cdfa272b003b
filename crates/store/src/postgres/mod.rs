//! PostgreSQL 15 or newer: how it is named, reached and spoken to.
//!
//! Connections are blocking and belong to threads of ours. What the server says beside its answers
//! is heard: a WARNING is how it tells that a commit was not replicated (T52), and whatever was
//! done on a connection that warned is not believed.

mod bounded;
pub(crate) mod calls;
mod condition;
mod connect;
mod leases;
mod log;
mod migrate;
pub(crate) mod read;

use std::sync::Mutex;

pub use condition::{Condition, condition};
pub use connect::{MIN_VERSION, Server};
pub use leases::{Hints, Leases};
pub(crate) use log::Log;
pub(crate) use migrate::version;
pub use migrate::{SCHEMA, grant, migrate, schema};

use crate::log::StoreError;
pub(crate) use crate::sqlite::{id, signed};
pub(crate) use connect::{Session, Wants};

/// How many connections to read by are kept open.
const KEPT: usize = 4;

/// Reads 16 bytes as an identifier; anything else is a damaged row.
pub(crate) fn big(row: &::postgres::Row, ix: usize) -> Result<u128, StoreError> {
    let bytes: &[u8] = row.try_get(ix)?;
    let bytes = bytes.try_into().map_err(|_| damaged("an identifier has another length"))?;
    Ok(u128::from_be_bytes(bytes))
}

/// Reads 32 bytes.
pub(crate) fn hash(row: &::postgres::Row, ix: usize) -> Result<[u8; 32], StoreError> {
    let bytes: &[u8] = row.try_get(ix)?;
    bytes.try_into().map_err(|_| damaged("a hash has another length"))
}

/// As grave as a row that does not fit its leaf: whoever meets it closes the node.
pub(crate) fn damaged(what: &'static str) -> StoreError {
    StoreError::Corrupt { seq: 0, what }
}

/// A small pool of connections, mostly to read by. Blocking: never to be used on an async thread.
#[derive(Debug)]
pub(crate) struct Pool {
    server: Server,
    wants: Wants,
    idle: Mutex<Vec<Session>>,
}

impl Pool {
    pub fn new(server: Server) -> Self {
        Self { server, wants: Wants::Reading, idle: Mutex::new(Vec::new()) }
    }

    /// One that writes, beside the writer of the log.
    pub fn writing(server: Server) -> Self {
        Self { wants: Wants::Writing, ..Self::new(server) }
    }

    pub fn with<T>(
        &self,
        ask: impl FnOnce(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().map(|mut idle| idle.pop()).unwrap_or_default();
        let idle = idle.filter(|session| !session.is_closed());
        let mut session = idle.map_or_else(|| Session::open(&self.server, self.wants), Ok)?;
        let answer = ask(&mut session);
        // A question that failed may have left anything behind: its connection goes with it.
        if answer.is_ok()
            && let Ok(mut idle) = self.idle.lock()
            && idle.len() < KEPT
        {
            idle.push(session);
        }
        answer
    }
}
