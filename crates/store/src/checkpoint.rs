//! The kept checkpoints, and what is read of the log to sign the next.
//!
//! A connection of its own beside the writer's: one small row each minute or thousand rows, so
//! that signing never stands in the way of an append for longer than one commit.

use std::path::Path;

use comity_domain::time::Instant;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::merkle::{Edge, Hash};
use crate::read::Reader;
use crate::sqlite::{Head, StoreError, head, signed};

/// A checkpoint as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// How many rows it is over.
    pub size: u64,
    /// When it was signed.
    pub at: Instant,
    /// The edge of the tree of that size.
    pub edge: Edge,
    /// The signed note.
    pub note: String,
}

/// Who keeps them. Blocking.
#[derive(Debug)]
pub struct Checkpoints {
    connection: Connection,
}

const COLUMNS: &str = "SELECT size, at, edge, note FROM checkpoint";

impl Checkpoints {
    /// Opens the log at `path`, which must exist, beside its writer.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Self { connection })
    }

    /// Where the log stands.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn head(&self) -> Result<Head, StoreError> {
        head(&self.connection)
    }

    /// The leaves of the rows after `after` up to `to`, in order.
    ///
    /// # Errors
    /// If the file cannot be read, or a row is missing.
    pub fn leaves(&self, after: u64, to: u64, each: impl FnMut(Hash)) -> Result<(), StoreError> {
        leaves(&self.connection, after, to, each)
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn latest(&self) -> Result<Option<Kept>, StoreError> {
        latest(&self.connection)
    }

    /// Keeps one. One of that size that is kept already stays as it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, kept: &Kept) -> Result<(), StoreError> {
        let sql = "INSERT INTO checkpoint (size, at, edge, note) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (size) DO NOTHING";
        let values = params![signed(kept.size), kept.at.0, kept.edge.to_bytes(), kept.note];
        self.connection.execute(sql, values)?;
        Ok(())
    }
}

impl Reader {
    /// Checkpoints over more than `after` rows, the smallest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn checkpoints(&self, after: u64, limit: usize) -> Result<Vec<Kept>, StoreError> {
        self.with(|c| some(c, after, limit))
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn latest_checkpoint(&self) -> Result<Option<Kept>, StoreError> {
        self.with(latest)
    }

    /// The leaves of the rows after `after` up to `to`, in order.
    ///
    /// # Errors
    /// If the file cannot be read, or a row is missing.
    pub fn leaves(&self, after: u64, to: u64, each: impl FnMut(Hash)) -> Result<(), StoreError> {
        self.with(|c| leaves(c, after, to, each))
    }
}

fn latest(connection: &Connection) -> Result<Option<Kept>, StoreError> {
    let mut ask = connection.prepare_cached(&format!("{COLUMNS} ORDER BY size DESC LIMIT 1"))?;
    ask.query_row([], raw).optional()?.map(kept).transpose()
}

/// Those over more than `after` rows, the smallest first.
pub(crate) fn some(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<Kept>, StoreError> {
    let sql = format!("{COLUMNS} WHERE size > ?1 ORDER BY size LIMIT ?2");
    let mut ask = connection.prepare_cached(&sql)?;
    let rows = ask.query_map(params![signed(after), signed(limit as u64)], raw)?;
    rows.map(|row| kept(row?)).collect()
}

/// The size that a checkpoint stands at, and itself or why it cannot be read.
pub(crate) type SizedKept = (u64, Result<Kept, String>);

/// The same for whoever verifies: one that cannot be read is no reason to stop.
pub(crate) fn raw_after(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<SizedKept>, StoreError> {
    let sql = format!("{COLUMNS} WHERE size > ?1 ORDER BY size LIMIT ?2");
    let mut ask = connection.prepare(&sql)?;
    let rows = ask.query_map(params![signed(after), signed(limit as u64)], |row| {
        let read = raw(row).map_err(StoreError::from).and_then(kept);
        Ok((row.get::<_, i64>(0)?.unsigned_abs(), read.map_err(|_| "cannot be read".to_owned())))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

type Raw = (i64, i64, Vec<u8>, String);

fn raw(row: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn kept((size, at, edge, note): Raw) -> Result<Kept, StoreError> {
    let size = size.unsigned_abs();
    let wrong = StoreError::Corrupt { seq: size, what: "the checkpoint's edge cannot be read" };
    let edge = Edge::from_bytes(&edge).filter(|e| e.size() == size).ok_or(wrong)?;
    Ok(Kept { size, at: Instant(at), edge, note })
}

fn leaves(
    connection: &Connection,
    after: u64,
    to: u64,
    mut each: impl FnMut(Hash),
) -> Result<(), StoreError> {
    let mut ask = connection
        .prepare_cached("SELECT seq, leaf FROM log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")?;
    let mut rows = ask.query([signed(after), signed(to)])?;
    let mut met = after;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)?.unsigned_abs() != met.saturating_add(1) {
            break;
        }
        met = met.saturating_add(1);
        each(row.get(1)?);
    }
    if met < to {
        return Err(StoreError::Corrupt { seq: met.saturating_add(1), what: "is missing" });
    }
    Ok(())
}
