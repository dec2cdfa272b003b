//! Call counters and records: a file (on PostgreSQL tables) and a connection of their own, so that
//! counting never stands before a revoke.
//!
//! `stop.clean` says whether the last process wrote its counters before it went. If not, what it
//! had reserved counts as used.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use comity_domain::ids::{Digest32, SessionId};
use comity_domain::refusal::Reason;
use comity_domain::time::{Instant, MINUTE};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use sha2::{Digest as _, Sha256};

use crate::lease::NodeId;
use crate::log::{Place, StoreError};
use crate::postgres::{Pool, calls as pg};
use crate::sqlite::{id, lock_beside, open_read_only, signed};

/// How many records one segment holds at most.
pub const SEGMENT: u64 = 10_000;

/// The calls of one session, as they were made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // the words of the decision's counter
pub struct StoredCounts {
    pub reserved: u64,
    pub allowed: u64,
    pub refused: u64,
    pub late: u64,
    pub uncertain: u64,
}

/// One call, as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// In which session.
    pub session: SessionId,
    /// When.
    pub at: Instant,
    /// What was asked.
    pub permission: String,
    /// About what, by Comity's identifier: no word that could need erasing.
    pub resource: String,
    /// The answer's reason code.
    pub reason: String,
    /// Whether it came after the end.
    pub late: bool,
}

/// The calls of one session within one minute, without those that came late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallMinute {
    /// When the minute began.
    pub at: Instant,
    /// Calls answered with yes.
    pub allowed: u64,
    /// Calls answered with no.
    pub refused: u64,
}

/// How many calls were allowed and refused, by session and minute since 1970.
pub(crate) fn by_minute(records: &[CallRecord]) -> BTreeMap<(SessionId, i64), (u64, u64)> {
    let mut minutes = BTreeMap::new();
    for record in records.iter().filter(|r| !r.late) {
        let minute = record.at.0.div_euclid(MINUTE);
        let (allowed, refused) = minutes.entry((record.session, minute)).or_insert((0, 0));
        *(if record.reason == Reason::Allowed.code() { allowed } else { refused }) += 1;
    }
    minutes
}

/// A stretch of records with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its number, from 1.
    pub segment: u64,
    /// How many records.
    pub records: u64,
    /// SHA-256 over its records.
    pub digest: Digest32,
}

/// The hash of a segment: SHA-256 over a label and its records, each text with its length.
pub(crate) struct SegmentHash(Sha256, u64);

impl SegmentHash {
    pub fn new() -> Self {
        Self(Sha256::new_with_prefix(b"comity/calls/1"), 0)
    }

    /// One record: its session, when, permission, resource and reason, and whether it was late.
    pub fn add(&mut self, session: &[u8], at: i64, texts: [&str; 3], late: bool) {
        self.1 += 1;
        self.0.update(session);
        self.0.update(at.to_be_bytes());
        for text in texts {
            self.0.update((text.len() as u64).to_be_bytes());
            self.0.update(text);
        }
        self.0.update([u8::from(late)]);
    }

    /// How many records there were, and the hash.
    pub fn end(self) -> (u64, Digest32) {
        (self.1, Digest32(self.0.finalize().into()))
    }
}

/// The books of calls, of this node.
#[derive(Debug)]
pub struct Calls(Engine);

#[derive(Debug)]
enum Engine {
    Sqlite(Books),
    Postgres(Box<pg::Books>),
}

/// The file of calls.
#[derive(Debug)]
struct Books {
    connection: Connection,
    was_clean: bool,
    _lock: File,
}

macro_rules! either {
    ($self:ident, $books:ident => $ask:expr) => {
        match &mut $self.0 {
            Engine::Sqlite($books) => $ask,
            Engine::Postgres($books) => $ask,
        }
    };
}

impl Calls {
    /// Opens the books of a place.
    ///
    /// # Errors
    /// If they cannot be opened, or another process has them.
    pub fn at(place: &Place) -> Result<Self, StoreError> {
        match place {
            Place::Folder(folder) => Self::open(&Place::calls_file(folder)),
            Place::Postgres(server, node) => {
                Ok(Self(Engine::Postgres(Box::new(pg::Books::open(server, *node)?))))
            }
        }
    }

    /// Opens the file, making it if it is not there.
    ///
    /// # Errors
    /// If it cannot be opened, or another process has it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self(Engine::Sqlite(Books::open(path)?)))
    }

    /// Whether the process before wrote its counters before it went.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(books) => books.was_clean,
            Engine::Postgres(books) => books.was_clean(),
        }
    }

    /// Whether other nodes keep books beside these.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Engine::Postgres(_))
    }

    /// Counters with room left: those whose calls were perhaps not all written.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn open_counters(&mut self) -> Result<Vec<(SessionId, StoredCounts)>, StoreError> {
        either!(self, books => books.open_counters())
    }

    /// A session's counter on this node.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn counter(&mut self, session: SessionId) -> Result<Option<StoredCounts>, StoreError> {
        either!(self, books => books.counter(session))
    }

    /// The counters of `first` and every later session on this node, in order: identifiers begin
    /// with their time, so this is one stretch of the table.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn counters_from(
        &mut self,
        first: SessionId,
    ) -> Result<Vec<(SessionId, StoredCounts)>, StoreError> {
        either!(self, books => books.counters_from(first))
    }

    /// Makes counters and records durable, in one transaction. When this returns, more may be
    /// answered.
    ///
    /// # Errors
    /// If it cannot be written; nothing is then.
    pub fn write(
        &mut self,
        counters: &[(SessionId, StoredCounts)],
        records: &[CallRecord],
    ) -> Result<(), StoreError> {
        either!(self, books => books.write(counters, records))
    }

    /// The last word of a clean stop.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn stop(&mut self) -> Result<(), StoreError> {
        either!(self, books => books.stop())
    }

    /// The next segment to be sealed into the log, if there are records that stand in none. The
    /// same one is returned until [`Calls::sealed`] says that the log has it.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn next_segment(&mut self) -> Result<Option<Segment>, StoreError> {
        either!(self, books => books.next_segment())
    }

    /// The log holds the segment now.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sealed(&mut self, segment: u64) -> Result<(), StoreError> {
        either!(self, books => books.sealed(segment))
    }

    /// Recomputes a segment from its records.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn recompute(&mut self, segment: u64) -> Result<Option<Segment>, StoreError> {
        either!(self, books => books.recompute(segment))
    }
}

const COUNTS: &str = "reserved, allowed, refused, late, uncertain";

fn counts_of(r: &rusqlite::Row<'_>) -> rusqlite::Result<StoredCounts> {
    let n = |ix: usize| r.get::<_, i64>(ix).map(i64::unsigned_abs);
    Ok(StoredCounts {
        reserved: n(0)?,
        allowed: n(1)?,
        refused: n(2)?,
        late: n(3)?,
        uncertain: n(4)?,
    })
}

fn counter(
    connection: &Connection,
    session: SessionId,
) -> Result<Option<StoredCounts>, StoreError> {
    let mut ask =
        connection.prepare_cached(&format!("SELECT {COUNTS} FROM counter WHERE session = ?1"))?;
    Ok(ask.query_row([id(session.0)], counts_of).optional()?)
}

/// Reads counters beside the thread that writes them.
#[derive(Debug)]
pub struct CallsReader(ReadEngine);

#[derive(Debug)]
enum ReadEngine {
    Sqlite(Mutex<Connection>),
    Postgres(Pool, NodeId),
}

impl CallsReader {
    /// A reader over the books of a place, which must exist.
    ///
    /// # Errors
    /// If they cannot be opened.
    pub fn at(place: &Place) -> Result<Self, StoreError> {
        Ok(Self(match place {
            Place::Folder(folder) => return Self::open(&Place::calls_file(folder)),
            Place::Postgres(server, node) => ReadEngine::Postgres(Pool::new(server.clone()), *node),
        }))
    }

    /// A reader over the file at `path`, which must exist.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self(ReadEngine::Sqlite(Mutex::new(open_read_only(path)?))))
    }

    /// A session's counters as they were last made durable, of all nodes together.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn counter(&self, session: SessionId) -> Result<Option<StoredCounts>, StoreError> {
        match &self.0 {
            ReadEngine::Sqlite(connection) => {
                connection.lock().map_or(Ok(None), |connection| counter(&connection, session))
            }
            ReadEngine::Postgres(pool, node) => pool.with(|c| pg::total(c, *node, session, true)),
        }
    }

    /// What other nodes have counted in a session; a file has only one.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn elsewhere(&self, session: SessionId) -> Result<Option<StoredCounts>, StoreError> {
        match &self.0 {
            ReadEngine::Sqlite(_) => Ok(None),
            ReadEngine::Postgres(pool, node) => pool.with(|c| pg::total(c, *node, session, false)),
        }
    }
}

impl CallsReader {
    /// The counters of several sessions as they were last made durable, of all nodes together or,
    /// without `own`, of the other nodes only. Those without any are left out.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn counters(
        &self,
        sessions: &[SessionId],
        own: bool,
    ) -> Result<Vec<(SessionId, StoredCounts)>, StoreError> {
        match &self.0 {
            ReadEngine::Postgres(..) if sessions.is_empty() => Ok(Vec::new()),
            ReadEngine::Postgres(pool, node) => pool.with(|c| pg::totals(c, *node, sessions, own)),
            ReadEngine::Sqlite(_) if !own => Ok(Vec::new()),
            ReadEngine::Sqlite(connection) => connection.lock().map_or(Ok(Vec::new()), |c| {
                let found = |s: &SessionId| counter(&c, *s).map(|n| n.map(|n| (*s, n))).transpose();
                sessions.iter().filter_map(found).collect()
            }),
        }
    }

    /// A session's calls over time, of all nodes together, as they were last made durable. A crash
    /// leaves out what it lost; the counters say so.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn minutes(&self, session: SessionId) -> Result<Vec<CallMinute>, StoreError> {
        match &self.0 {
            ReadEngine::Sqlite(connection) => {
                connection.lock().map_or(Ok(Vec::new()), |connection| {
                    let mut ask = connection.prepare_cached(
                        "SELECT minute, allowed, refused FROM call_minute WHERE session = ?1 ORDER BY minute",
                    )?;
                    let rows = ask.query_map([id(session.0)], |r| {
                        let n = |ix: usize| r.get::<_, i64>(ix);
                        let at = Instant(n(0)?.saturating_mul(MINUTE));
                        let (allowed, refused) = (n(1)?.unsigned_abs(), n(2)?.unsigned_abs());
                        Ok(CallMinute { at, allowed, refused })
                    })?;
                    Ok(rows.collect::<Result<_, _>>()?)
                })
            }
            ReadEngine::Postgres(pool, _) => pool.with(|c| pg::minutes(c, session)),
        }
    }
}

impl Books {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock_beside(path)?;
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch(include_str!("migrations/sqlite/calls.sql"))?;
        let clean: Option<bool> = connection
            .query_row("SELECT clean FROM stop WHERE id = 1", [], |r| r.get(0))
            .optional()?;
        connection.execute(
            "INSERT INTO stop (id, clean) VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET clean = 0",
            [],
        )?;
        // A file that was never used before has nothing uncertain in it.
        Ok(Self { connection, was_clean: clean.unwrap_or(true), _lock: lock })
    }

    pub fn open_counters(&self) -> Result<Vec<(SessionId, StoredCounts)>, StoreError> {
        let sql = format!(
            "SELECT {COUNTS}, session FROM counter WHERE reserved > allowed + refused + uncertain"
        );
        let mut ask = self.connection.prepare(&sql)?;
        let rows =
            ask.query_map([], |r| Ok((SessionId(u128::from_be_bytes(r.get(5)?)), counts_of(r)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn counter(&self, session: SessionId) -> Result<Option<StoredCounts>, StoreError> {
        counter(&self.connection, session)
    }

    fn counters_from(
        &self,
        first: SessionId,
    ) -> Result<Vec<(SessionId, StoredCounts)>, StoreError> {
        let sql =
            format!("SELECT {COUNTS}, session FROM counter WHERE session >= ?1 ORDER BY session");
        let mut ask = self.connection.prepare(&sql)?;
        let rows = ask.query_map([id(first.0)], |r| {
            Ok((SessionId(u128::from_be_bytes(r.get(5)?)), counts_of(r)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn write(
        &mut self,
        counters: &[(SessionId, StoredCounts)],
        records: &[CallRecord],
    ) -> Result<(), StoreError> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = tx.prepare_cached(
                "INSERT INTO counter (session, reserved, allowed, refused, late, uncertain) VALUES (?1,?2,?3,?4,?5,?6) \
                 ON CONFLICT (session) DO UPDATE SET reserved = excluded.reserved, allowed = excluded.allowed, \
                 refused = excluded.refused, late = excluded.late, uncertain = excluded.uncertain",
            )?;
            for (session, c) in counters {
                let [reserved, allowed, refused, late, uncertain] =
                    [c.reserved, c.allowed, c.refused, c.late, c.uncertain].map(signed);
                put.execute(params![id(session.0), reserved, allowed, refused, late, uncertain])?;
            }
            let mut put = tx.prepare_cached(
                "INSERT INTO call (session, at, permission, resource, reason, late) VALUES (?1,?2,?3,?4,?5,?6)",
            )?;
            for r in records {
                put.execute(params![
                    id(r.session.0),
                    r.at.0,
                    r.permission,
                    r.resource,
                    r.reason,
                    r.late
                ])?;
            }
            let mut add = tx.prepare_cached(
                "INSERT INTO call_minute (session, minute, allowed, refused) VALUES (?1,?2,?3,?4) \
                 ON CONFLICT (session, minute) DO UPDATE SET allowed = allowed + excluded.allowed, \
                 refused = refused + excluded.refused",
            )?;
            for ((session, minute), (allowed, refused)) in by_minute(records) {
                add.execute(params![id(session.0), minute, signed(allowed), signed(refused)])?;
            }
        }
        Ok(tx.commit()?)
    }

    pub fn stop(&mut self) -> Result<(), StoreError> {
        self.connection.execute("UPDATE stop SET clean = 1 WHERE id = 1", [])?;
        Ok(())
    }

    pub fn next_segment(&mut self) -> Result<Option<Segment>, StoreError> {
        let open = self.connection.query_row(
            "SELECT segment, records, digest FROM segment WHERE sealed = 0 ORDER BY segment LIMIT 1",
            [],
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?, r.get::<_, [u8; 32]>(2)?)),
        );
        if let Some((segment, records, digest)) = open.optional()? {
            let (segment, records) = (segment.unsigned_abs(), records.unsigned_abs());
            return Ok(Some(Segment { segment, records, digest: Digest32(digest) }));
        }
        let (segment, after): (i64, i64) = self.connection.query_row(
            "SELECT COALESCE(MAX(segment), 0), COALESCE(MAX(last), 0) FROM segment",
            [],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )?;
        let (last, records, digest) = self.digest(after, i64::MAX)?;
        if records == 0 {
            return Ok(None);
        }
        self.connection.execute(
            "INSERT INTO segment (segment, last, records, digest, sealed) VALUES (?1, ?2, ?3, ?4, 0)",
            params![segment + 1, last, signed(records), digest.0],
        )?;
        Ok(Some(Segment { segment: segment.unsigned_abs() + 1, records, digest }))
    }

    pub fn sealed(&mut self, segment: u64) -> Result<(), StoreError> {
        self.connection
            .execute("UPDATE segment SET sealed = 1 WHERE segment = ?1", [signed(segment)])?;
        Ok(())
    }

    pub fn recompute(&self, segment: u64) -> Result<Option<Segment>, StoreError> {
        let last_of = |segment: i64| {
            self.connection
                .query_row("SELECT last FROM segment WHERE segment = ?1", [segment], |r| {
                    r.get::<_, i64>(0)
                })
                .optional()
        };
        let Some(last) = last_of(signed(segment))? else {
            return Ok(None);
        };
        let before = last_of(signed(segment) - 1)?.unwrap_or(0);
        let (_, records, digest) = self.digest(before, last)?;
        Ok(Some(Segment { segment, records, digest }))
    }

    /// SHA-256 over records after `after` up to `last`: each as length-prefixed fields.
    fn digest(&self, after: i64, last: i64) -> Result<(i64, u64, Digest32), StoreError> {
        let mut ask = self.connection.prepare_cached(
            "SELECT id, session, at, permission, resource, reason, late FROM call WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut rows = ask.query(params![after, last, signed(SEGMENT)])?;
        let (mut end, mut hash) = (after, SegmentHash::new());
        while let Some(r) = rows.next()? {
            end = r.get(0)?;
            let text = |ix| r.get_ref(ix)?.as_str().map_err(rusqlite::Error::from);
            hash.add(
                &r.get::<_, [u8; 16]>(1)?,
                r.get(2)?,
                [text(3)?, text(4)?, text(5)?],
                r.get(6)?,
            );
        }
        let (records, digest) = hash.end();
        Ok((end, records, digest))
    }
}
