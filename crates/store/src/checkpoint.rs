//! The kept checkpoints, and what is read of the log to sign the next.
//!
//! A connection of its own beside the writer's: one small row each minute or thousand rows, so
//! that signing never stands in the way of an append for longer than one commit.

use comity_domain::time::Instant;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::log::{Head, Place, StoreError};
use crate::merkle::{Edge, Hash};
use crate::postgres::{self, Pool, Session};
use crate::read::{Engine, Reader};
use crate::sqlite::signed;

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
    reader: Reader,
    keeper: Keeper,
}

#[derive(Debug)]
enum Keeper {
    Sqlite(Connection),
    Postgres(Pool),
}

const COLUMNS: &str = "SELECT size, at, edge, note FROM checkpoint";

impl Checkpoints {
    /// Opens the log of a place, which must exist, beside its writer.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn at(place: &Place) -> Result<Self, StoreError> {
        let keeper = match place {
            Place::Folder(folder) => {
                let connection = Connection::open(Place::log_file(folder))?;
                connection.pragma_update(None, "synchronous", "FULL")?;
                connection.busy_timeout(std::time::Duration::from_secs(5))?;
                Keeper::Sqlite(connection)
            }
            Place::Postgres(server, _) => Keeper::Postgres(Pool::writing(server.clone())),
        };
        Ok(Self { reader: Reader::at(place), keeper })
    }

    /// Where the log stands.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn head(&self) -> Result<Head, StoreError> {
        self.reader.head()
    }

    /// The leaves of the rows after `after` up to `to`, in order.
    ///
    /// # Errors
    /// If they cannot be read, or a row is missing.
    pub fn leaves(&self, after: u64, to: u64, each: impl FnMut(Hash)) -> Result<(), StoreError> {
        self.reader.leaves(after, to, each)
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn latest(&self) -> Result<Option<Kept>, StoreError> {
        self.reader.latest_checkpoint()
    }

    /// Keeps one. One of that size that is kept already stays as it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, kept: &Kept) -> Result<(), StoreError> {
        match &self.keeper {
            Keeper::Sqlite(connection) => {
                let sql = "INSERT INTO checkpoint (size, at, edge, note) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (size) DO NOTHING";
                let values = params![signed(kept.size), kept.at.0, kept.edge.to_bytes(), kept.note];
                connection.execute(sql, values)?;
                Ok(())
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "INSERT INTO checkpoint (size, at, edge, note) VALUES ($1, $2, $3, $4) ON CONFLICT (size) DO NOTHING";
                let edge = kept.edge.to_bytes();
                c.execute(sql, &[&signed(kept.size), &kept.at.0, &edge, &kept.note])?;
                c.warned()
            }),
        }
    }
}

impl Reader {
    /// Checkpoints over more than `after` rows, the smallest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn checkpoints(&self, after: u64, limit: usize) -> Result<Vec<Kept>, StoreError> {
        let raw = self.raw_checkpoints(after, limit)?;
        raw.into_iter().map(|(_, raw)| raw.and_then(kept)).collect()
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn latest_checkpoint(&self) -> Result<Option<Kept>, StoreError> {
        let raw = match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let mut ask = c.prepare_cached(&format!("{COLUMNS} ORDER BY size DESC LIMIT 1"))?;
                Ok(ask.query_row([], raw).optional()?)
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT size, at, edge, note FROM checkpoint ORDER BY size DESC LIMIT 1";
                c.query(sql, &[])?.first().map(raw_pg).transpose()
            }),
        }?;
        raw.map(kept).transpose()
    }

    /// The size of the largest checkpoint that is kept, readable or not; 0 without any.
    pub(crate) fn last_checkpointed(&self) -> Result<u64, StoreError> {
        const LAST: &str = "SELECT COALESCE(MAX(size), 0) FROM checkpoint";
        let size: i64 = match self.engine() {
            Engine::Sqlite(files) => files.with(|c| Ok(c.query_row(LAST, [], |r| r.get(0))?)),
            Engine::Postgres(pool) => pool.with(|c| {
                let rows = c.query(LAST, &[])?;
                Ok(rows.first().map_or(Ok(0), |r| r.try_get(0))?)
            }),
        }?;
        Ok(size.unsigned_abs())
    }

    /// For whoever verifies: one that cannot be read is no reason to stop.
    pub(crate) fn sized_checkpoints(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SizedKept>, StoreError> {
        let raw = self.raw_checkpoints(after, limit)?;
        let read = |(size, raw): SizedRaw| {
            (size, raw.and_then(kept).map_err(|_| "cannot be read".to_owned()))
        };
        Ok(raw.into_iter().map(read).collect())
    }

    fn raw_checkpoints(&self, after: u64, limit: usize) -> Result<Vec<SizedRaw>, StoreError> {
        let (after, limit) = (signed(after), signed(limit as u64));
        match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let sql = format!("{COLUMNS} WHERE size > ?1 ORDER BY size LIMIT ?2");
                let mut ask = c.prepare_cached(&sql)?;
                let rows = ask.query_map(params![after, limit], |row| {
                    let size = row.get::<_, i64>(0)?.unsigned_abs();
                    Ok((size, raw(row).map_err(StoreError::from)))
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT size, at, edge, note FROM checkpoint WHERE size > $1 ORDER BY size LIMIT $2";
                let rows = c.query(sql, &[&after, &limit])?;
                rows.iter()
                    .map(|row| Ok((row.try_get::<_, i64>(0)?.unsigned_abs(), raw_pg(row))))
                    .collect()
            }),
        }
    }

    /// The leaves of the rows after `after` up to `to`, in order.
    ///
    /// # Errors
    /// If they cannot be read, or a row is missing.
    pub fn leaves(
        &self,
        after: u64,
        to: u64,
        mut each: impl FnMut(Hash),
    ) -> Result<(), StoreError> {
        let mut met = after;
        let mut next = |seq: u64, leaf: Hash| {
            let follows = seq == met.saturating_add(1);
            if follows {
                met = seq;
                each(leaf);
            }
            follows
        };
        match self.engine() {
            Engine::Sqlite(files) => files.with(|c| leaves(c, after, to, &mut next)),
            Engine::Postgres(pool) => pool.with(|c| leaves_pg(c, after, to, &mut next)),
        }?;
        if met < to {
            return Err(StoreError::Corrupt { seq: met.saturating_add(1), what: "is missing" });
        }
        Ok(())
    }
}

/// The size that a checkpoint stands at, and itself or why it cannot be read.
pub(crate) type SizedKept = (u64, Result<Kept, String>);

type Raw = (i64, i64, Vec<u8>, String);
type SizedRaw = (u64, Result<Raw, StoreError>);

fn raw(row: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn raw_pg(row: &::postgres::Row) -> Result<Raw, StoreError> {
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
}

fn kept((size, at, edge, note): Raw) -> Result<Kept, StoreError> {
    let size = size.unsigned_abs();
    let wrong = StoreError::Corrupt { seq: size, what: "the checkpoint's edge cannot be read" };
    let edge = Edge::from_bytes(&edge).filter(|e| e.size() == size).ok_or(wrong)?;
    Ok(Kept { size, at: Instant(at), edge, note })
}

fn leaves(
    c: &Connection,
    after: u64,
    to: u64,
    next: &mut impl FnMut(u64, Hash) -> bool,
) -> Result<(), StoreError> {
    let mut ask =
        c.prepare_cached("SELECT seq, leaf FROM log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")?;
    let mut rows = ask.query([signed(after), signed(to)])?;
    while let Some(row) = rows.next()? {
        if !next(row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?) {
            break;
        }
    }
    Ok(())
}

/// How many leaves are fetched at a time where they are not streamed.
const CHUNK: u64 = 20_000;

fn leaves_pg(
    c: &mut Session,
    after: u64,
    to: u64,
    next: &mut impl FnMut(u64, Hash) -> bool,
) -> Result<(), StoreError> {
    let mut after = after;
    while after < to {
        let upto = after.saturating_add(CHUNK).min(to);
        let rows = c.query(
            "SELECT seq, leaf FROM log WHERE seq > $1 AND seq <= $2 ORDER BY seq",
            &[&signed(after), &signed(upto)],
        )?;
        for row in &rows {
            if !next(row.try_get::<_, i64>(0)?.unsigned_abs(), postgres::hash(row, 1)?) {
                return Ok(());
            }
        }
        after = upto;
    }
    Ok(())
}
