//! The outbox: which event is told to whom, and how far that is.
//!
//! Its rows are written with the row of the log that they tell, in its transaction. From then on
//! they belong to those who deliver, on a connection of their own: one short transaction for each
//! try, so that delivering never stands in the way of an append. On a file these are not flushed
//! by themselves: what a crash forgets of them is sent once more.

use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::{Digest32, SessionId};
use comity_domain::outbox::Push;
use comity_domain::time::Instant;
use comity_domain::webhook::Redelivery;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::log::{Place, StoreError};
use crate::postgres::{self, Pool, Session};
use crate::read::{Engine, Reader};
use crate::sqlite::{id, signed};

/// What has become of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is to be sent, or tried again.
    Waiting,
    /// It was taken.
    Delivered,
    /// It was given up: a dead letter.
    Dead,
}

impl Status {
    fn number(self) -> i64 {
        match self {
            Self::Waiting => 0,
            Self::Delivered => 1,
            Self::Dead => 2,
        }
    }

    fn of(number: i64) -> Self {
        match number {
            0 => Self::Waiting,
            1 => Self::Delivered,
            _ => Self::Dead,
        }
    }
}

/// A push that is somebody's to send until `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Who is told.
    pub recipient: u128,
    /// The row of the log.
    pub seq: u64,
    /// Which event of it, counted among what the recipient reads.
    pub index: u32,
    /// The event's name.
    pub kind: String,
    /// When it was queued.
    pub queued: Instant,
    /// How many tries there were, with the one that begins now.
    pub attempts: u32,
    /// After this somebody else may try.
    pub until: Instant,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It was taken.
    Delivered {
        /// The answer's status.
        code: u16,
    },
    /// It is tried again.
    Again {
        /// When.
        due: Instant,
        /// The answer's status.
        code: Option<u16>,
        /// Why: one of our own words.
        problem: &'static str,
    },
    /// It is given up.
    Dead {
        /// The answer's status.
        code: Option<u16>,
        /// Why: one of our own words.
        problem: &'static str,
    },
}

/// A push as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The row of the log.
    pub seq: u64,
    /// Which event of it, counted among what the recipient reads.
    pub index: u32,
    /// The event's name.
    pub kind: String,
    /// When it happened.
    pub at: Instant,
    /// What has become of it.
    pub status: Status,
    /// How many tries there were.
    pub attempts: u32,
    /// When it is tried next.
    pub due: Instant,
    /// The last answer's status.
    pub code: Option<u16>,
    /// Why the last try failed.
    pub problem: Option<String>,
    /// When it was delivered or given up.
    pub done: Option<Instant>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxCounts {
    /// Pushes that wait.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest that waits was queued.
    pub oldest: Option<Instant>,
}

/// Who delivers. Blocking.
#[derive(Debug)]
pub struct Outbox(Keeper);

#[derive(Debug)]
enum Keeper {
    Sqlite(Connection),
    Postgres(Pool),
}

impl Outbox {
    /// Opens the outbox of a place, whose log must exist, beside its writer.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn at(place: &Place) -> Result<Self, StoreError> {
        Ok(Self(match place {
            Place::Folder(folder) => {
                let connection = Connection::open(Place::log_file(folder))?;
                connection.pragma_update(None, "synchronous", "NORMAL")?;
                connection.pragma_update(None, "secure_delete", "ON")?;
                connection.busy_timeout(std::time::Duration::from_secs(5))?;
                Keeper::Sqlite(connection)
            }
            Place::Postgres(server, _) => Keeper::Postgres(Pool::writing(server.clone())),
        }))
    }

    /// For whom something waits, each with when the first of it is due.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn recipients(&self) -> Result<Vec<(u128, Instant)>, StoreError> {
        let mut out: Vec<(u128, Instant)> = Vec::new();
        // From one recipient to the next: however much waits for one, it is looked at once.
        loop {
            let after = out.last().map_or([0; 16], |(r, _)| id(*r));
            let next = match &self.0 {
                Keeper::Sqlite(c) => c
                    .prepare_cached("SELECT recipient, due FROM outbox WHERE status = 0 AND recipient > ?1 ORDER BY recipient, due LIMIT 1")?
                    .query_row([after], |r| Ok((r.get::<_, [u8; 16]>(0)?, r.get(1)?)))
                    .optional()?
                    .map(|(r, due)| (u128::from_be_bytes(r), Instant(due))),
                Keeper::Postgres(pool) => pool.with(|c| {
                    let sql = "SELECT recipient, due FROM outbox WHERE status = 0 AND recipient > $1 ORDER BY recipient, due LIMIT 1";
                    let rows = c.query(sql, &[&after.as_slice()])?;
                    rows.first().map(|r| Ok((postgres::big(r, 0)?, Instant(r.try_get(1)?)))).transpose()
                })?,
            };
            match next {
                Some(next) => out.push(next),
                None => return Ok(out),
            }
        }
    }

    /// Takes the first push that is due for a recipient, of rows up to `upto` only, for this caller
    /// alone until `until`. Of several who try at once one gets it.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn claim(
        &self,
        recipient: u128,
        upto: u64,
        now: Instant,
        until: Instant,
    ) -> Result<Option<Waiting>, StoreError> {
        let own = id(recipient);
        let found = match &self.0 {
            Keeper::Sqlite(c) => c
                .prepare_cached("SELECT seq, ix, kind, queued, attempts, due FROM outbox WHERE status = 0 AND recipient = ?1 AND due <= ?2 AND seq <= ?3 ORDER BY due, seq, ix LIMIT 1")?
                .query_row(params![own, now.0, signed(upto)], |r| {
                    Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?, r.get(2)?, r.get(3)?, r.get::<_, i64>(4)?, r.get::<_, i64>(5)?))
                })
                .optional()?,
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT seq, ix, kind, queued, attempts, due FROM outbox WHERE status = 0 AND recipient = $1 AND due <= $2 AND seq <= $3 ORDER BY due, seq, ix LIMIT 1";
                let rows = c.query(sql, &[&own.as_slice(), &now.0, &signed(upto)])?;
                let read = |r: &::postgres::Row| {
                    Ok((r.try_get(0)?, r.try_get(1)?, r.try_get(2)?, r.try_get(3)?, r.try_get(4)?, r.try_get(5)?))
                };
                rows.first().map(read).transpose()
            })?,
        };
        let Some((seq, ix, kind, queued, attempts, due)) = found else {
            return Ok(None);
        };
        let taken = match &self.0 {
            Keeper::Sqlite(c) => c
                .prepare_cached("UPDATE outbox SET due = ?5, attempts = attempts + 1 WHERE recipient = ?1 AND seq = ?2 AND ix = ?3 AND status = 0 AND due = ?4")?
                .execute(params![own, seq, ix, due, until.0])? as u64,
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "UPDATE outbox SET due = $5, attempts = attempts + 1 WHERE recipient = $1 AND seq = $2 AND ix = $3 AND status = 0 AND due = $4";
                let taken = c.execute(sql, &[&own.as_slice(), &seq, &ix, &due, &until.0])?;
                c.warned()?;
                Ok(taken)
            })?,
        };
        let small = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok((taken == 1).then(|| Waiting {
            recipient,
            seq: seq.unsigned_abs(),
            index: small(ix),
            kind,
            queued: Instant(queued),
            attempts: small(attempts).saturating_add(1),
            until,
        }))
    }

    /// Notes how a try ended. What somebody else has taken meanwhile is only noted if it was
    /// delivered.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn settle(&self, of: &Waiting, how: Attempt, now: Instant) -> Result<(), StoreError> {
        let own = id(of.recipient);
        let (status, due, code, problem, done) = match how {
            Attempt::Delivered { code } => (Status::Delivered, now, Some(code), None, Some(now.0)),
            Attempt::Again { due, code, problem } => {
                (Status::Waiting, due, code, Some(problem), None)
            }
            Attempt::Dead { code, problem } => {
                (Status::Dead, now, code, Some(problem), Some(now.0))
            }
        };
        let (status, code) = (status.number(), code.map(i64::from));
        let held = (status != Status::Delivered.number()).then_some(of.until.0);
        let (seq, ix) = (signed(of.seq), i64::from(of.index));
        match &self.0 {
            Keeper::Sqlite(c) => {
                c.prepare_cached("UPDATE outbox SET status = ?4, due = ?5, code = ?6, problem = ?7, done = ?8 WHERE recipient = ?1 AND seq = ?2 AND ix = ?3 AND status <> 1 AND (?9 IS NULL OR (status = 0 AND due = ?9))")?
                    .execute(params![own, seq, ix, status, due.0, code, problem, done, held])?;
                Ok(())
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "UPDATE outbox SET status = $4, due = $5, code = $6, problem = $7, done = $8 WHERE recipient = $1 AND seq = $2 AND ix = $3 AND status <> 1 AND ($9::bigint IS NULL OR (status = 0 AND due = $9))";
                c.execute(sql, &[&own.as_slice(), &seq, &ix, &status, &due.0, &code, &problem, &done, &held])?;
                c.warned()
            }),
        }
    }

    /// Notes what became of something that was fetched: taken, or refused. What does not wait is
    /// passed over; says whether it did.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn fetched(
        &self,
        recipient: u128,
        (seq, index): (u64, u32),
        refused: Option<&'static str>,
        now: Instant,
    ) -> Result<bool, StoreError> {
        let own = id(recipient);
        let status = if refused.is_some() { Status::Dead } else { Status::Delivered }.number();
        let (seq, ix) = (signed(seq), i64::from(index));
        match &self.0 {
            Keeper::Sqlite(c) => Ok(c
                .prepare_cached("UPDATE outbox SET status = ?4, due = ?6, problem = ?5, done = ?6 WHERE recipient = ?1 AND seq = ?2 AND ix = ?3 AND status = 0")?
                .execute(params![own, seq, ix, status, refused, now.0])?
                == 1),
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "UPDATE outbox SET status = $4, due = $6, problem = $5, done = $6 WHERE recipient = $1 AND seq = $2 AND ix = $3 AND status = 0";
                let noted = c.execute(sql, &[&own.as_slice(), &seq, &ix, &status, &refused, &now.0])?;
                c.warned()?;
                Ok(noted == 1)
            }),
        }
    }

    /// Gives up what waits for a recipient of rows up to `upto`, save what is of the kind `keep`.
    /// Says how much it was.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn give_up(
        &self,
        recipient: u128,
        upto: u64,
        keep: Option<&str>,
        problem: &'static str,
        now: Instant,
    ) -> Result<u64, StoreError> {
        let own = id(recipient);
        match &self.0 {
            Keeper::Sqlite(c) => Ok(c
                .prepare_cached("UPDATE outbox SET status = 2, problem = ?2, done = ?3 WHERE recipient = ?1 AND status = 0 AND seq <= ?4 AND (?5 IS NULL OR kind <> ?5)")?
                .execute(params![own, problem, now.0, signed(upto), keep])? as u64),
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "UPDATE outbox SET status = 2, problem = $2, done = $3 WHERE recipient = $1 AND status = 0 AND seq <= $4 AND ($5::text IS NULL OR kind <> $5)";
                let gone = c.execute(sql, &[&own.as_slice(), &problem, &now.0, &signed(upto), &keep])?;
                c.warned()?;
                Ok(gone)
            }),
        }
    }

    /// Gives up what was queued before `before` and is in nobody's hands. Says how much it was.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn expire(
        &self,
        recipient: u128,
        before: Instant,
        now: Instant,
    ) -> Result<u64, StoreError> {
        let own = id(recipient);
        match &self.0 {
            Keeper::Sqlite(c) => Ok(c
                .prepare_cached("UPDATE outbox SET status = 2, problem = COALESCE(problem, 'expired'), done = ?3 WHERE recipient = ?1 AND status = 0 AND queued < ?2")?
                .execute(params![own, before.0, now.0])? as u64),
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "UPDATE outbox SET status = 2, problem = COALESCE(problem, 'expired'), done = $3 WHERE recipient = $1 AND status = 0 AND queued < $2";
                let gone = c.execute(sql, &[&own.as_slice(), &before.0, &now.0])?;
                c.warned()?;
                Ok(gone)
            }),
        }
    }

    /// Forgets what was delivered before `delivered`, and dead letters from before `dead`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sweep(&self, delivered: Instant, dead: Instant) -> Result<(), StoreError> {
        match &self.0 {
            Keeper::Sqlite(c) => {
                c.prepare_cached("DELETE FROM outbox WHERE status <> 0 AND done < ?1 AND (status = 1 OR done < ?2)")?
                    .execute(params![delivered.0, dead.0])?;
                Ok(())
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "DELETE FROM outbox WHERE status <> 0 AND done < $1 AND (status = 1 OR done < $2)";
                c.execute(sql, &[&delivered.0, &dead.0])?;
                c.warned()
            }),
        }
    }

    /// Notes that a recipient took something, or that it did not; says since when it has taken
    /// nothing.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn took(
        &self,
        recipient: u128,
        taken: bool,
        now: Instant,
    ) -> Result<Option<Instant>, StoreError> {
        let own = id(recipient);
        match (&self.0, taken) {
            (Keeper::Sqlite(c), true) => {
                c.prepare_cached("DELETE FROM recipient_failing WHERE recipient = ?1")?
                    .execute([own])?;
                Ok(None)
            }
            (Keeper::Sqlite(c), false) => {
                let sql = "INSERT INTO recipient_failing (recipient, since) VALUES (?1, ?2) ON CONFLICT (recipient) DO UPDATE SET since = since RETURNING since";
                Ok(c.prepare_cached(sql)?
                    .query_row(params![own, now.0], |r| r.get(0))
                    .optional()?
                    .map(Instant))
            }
            (Keeper::Postgres(pool), true) => pool.with(|c| {
                let sql = "DELETE FROM recipient_failing WHERE recipient = $1";
                c.execute(sql, &[&own.as_slice()])?;
                c.warned().map(|()| None)
            }),
            (Keeper::Postgres(pool), false) => pool.with(|c| {
                let sql = "INSERT INTO recipient_failing (recipient, since) VALUES ($1, $2) ON CONFLICT (recipient) DO UPDATE SET since = recipient_failing.since RETURNING since";
                let rows = c.query(sql, &[&own.as_slice(), &now.0])?;
                c.warned()?;
                Ok(rows.first().map(|r| r.try_get(0)).transpose()?.map(Instant))
            }),
        }
    }
}

const SHOWN_SQLITE: &str = "SELECT seq, ix, kind, at, status, attempts, due, code, problem, done FROM outbox \
     WHERE recipient = ?1 AND (?2 IS NULL OR status = ?2) AND (seq, ix) < (?3, ?4) ORDER BY seq DESC, ix DESC LIMIT ?5";
const SHOWN_POSTGRES: &str = "SELECT seq, ix, kind, at, status, attempts, due, code, problem, done FROM outbox \
     WHERE recipient = $1 AND ($2::bigint IS NULL OR status = $2) AND (seq, ix) < ($3, $4) ORDER BY seq DESC, ix DESC LIMIT $5";

impl Reader {
    /// What is kept for a recipient, newest first, going on below (`seq`, `index`).
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn deliveries(
        &self,
        recipient: u128,
        only: Option<Status>,
        below: Option<(u64, u32)>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let own = id(recipient);
        let only = only.map(Status::number);
        let (seq, ix) = below.map_or((i64::MAX, 0), |(seq, ix)| (signed(seq), i64::from(ix)));
        let limit = signed(limit as u64);
        match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let mut ask = c.prepare_cached(SHOWN_SQLITE)?;
                let rows = ask.query_map(params![own, only, seq, ix, limit], |r| {
                    Ok(shown((
                        r.get(0)?,
                        r.get(1)?,
                        r.get(2)?,
                        r.get(3)?,
                        r.get(4)?,
                        r.get(5)?,
                        r.get(6)?,
                        r.get(7)?,
                        r.get(8)?,
                        r.get(9)?,
                    )))
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let rows = c.query(SHOWN_POSTGRES, &[&own.as_slice(), &only, &seq, &ix, &limit])?;
                rows.iter()
                    .map(|r| {
                        Ok(shown((
                            r.try_get(0)?,
                            r.try_get(1)?,
                            r.try_get(2)?,
                            r.try_get(3)?,
                            r.try_get(4)?,
                            r.try_get(5)?,
                            r.try_get(6)?,
                            r.try_get(7)?,
                            r.try_get(8)?,
                            r.try_get(9)?,
                        )))
                    })
                    .collect()
            }),
        }
    }

    /// How much waits and how much is dead, for one recipient or for all together.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn outbox_counts(&self, recipient: Option<u128>) -> Result<OutboxCounts, StoreError> {
        let own = recipient.map(|r| id(r).to_vec());
        let of = |waiting: i64, dead: i64, oldest: Option<i64>| OutboxCounts {
            waiting: waiting.unsigned_abs(),
            dead: dead.unsigned_abs(),
            oldest: oldest.map(Instant),
        };
        match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let sql = "SELECT COALESCE(SUM(status = 0), 0), COALESCE(SUM(status = 2), 0), MIN(CASE WHEN status = 0 THEN queued END) FROM outbox WHERE status <> 1 AND (?1 IS NULL OR recipient = ?1)";
                let mut ask = c.prepare_cached(sql)?;
                Ok(ask.query_row([own], |r| Ok(of(r.get(0)?, r.get(1)?, r.get(2)?)))?)
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT COUNT(*) FILTER (WHERE status = 0), COUNT(*) FILTER (WHERE status = 2), MIN(queued) FILTER (WHERE status = 0) FROM outbox WHERE status <> 1 AND ($1::bytea IS NULL OR recipient = $1)";
                let rows = c.query(sql, &[&own])?;
                let read = |r: &::postgres::Row| {
                    Ok::<_, StoreError>(of(r.try_get(0)?, r.try_get(1)?, r.try_get(2)?))
                };
                rows.first().map(read).transpose().map(Option::unwrap_or_default)
            }),
        }
    }

    /// What waits to be fetched by a recipient, in the order of the log: of rows up to `sure`, and of
    /// those up to `known` that were queued at or before `old`. Nobody else is kept from it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn waiting(
        &self,
        recipient: u128,
        sure: u64,
        (known, old): (u64, Instant),
        limit: usize,
    ) -> Result<Vec<(u64, u32, String)>, StoreError> {
        let own = id(recipient);
        let (sure, known, limit) = (signed(sure), signed(known), signed(limit as u64));
        let read = |seq: i64, ix: i64, kind: String| {
            (seq.unsigned_abs(), u32::try_from(ix).unwrap_or(u32::MAX), kind)
        };
        match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let sql = "SELECT seq, ix, kind FROM outbox WHERE recipient = ?1 AND status = 0 AND (seq <= ?2 OR (seq <= ?3 AND queued <= ?4)) ORDER BY seq, ix LIMIT ?5";
                let mut ask = c.prepare_cached(sql)?;
                let rows = ask.query_map(params![own, sure, known, old.0, limit], |r| {
                    Ok(read(r.get(0)?, r.get(1)?, r.get(2)?))
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT seq, ix, kind FROM outbox WHERE recipient = $1 AND status = 0 AND (seq <= $2 OR (seq <= $3 AND queued <= $4)) ORDER BY seq, ix LIMIT $5";
                let rows = c.query(sql, &[&own.as_slice(), &sure, &known, &old.0, &limit])?;
                rows.iter()
                    .map(|r| Ok(read(r.try_get(0)?, r.try_get(1)?, r.try_get(2)?)))
                    .collect()
            }),
        }
    }

    /// The row in which a session began, however long ago; `None` if there was no such session.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn began(&self, session: SessionId) -> Result<Option<u64>, StoreError> {
        let own = id(session.0);
        let seq: Option<i64> = match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let sql = "SELECT seq FROM session_history WHERE session = ?1";
                Ok(c.prepare_cached(sql)?.query_row([own], |r| r.get(0)).optional()?)
            })?,
            Engine::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT seq FROM session_history WHERE session = $1";
                let rows = c.query(sql, &[&own.as_slice()])?;
                Ok(rows.first().map(|r| r.try_get(0)).transpose()?)
            })?,
        };
        Ok(seq.map(i64::unsigned_abs))
    }

    /// A recipient's sealed secret of this digest.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn recipient_secret(
        &self,
        recipient: u128,
        digest: Digest32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let own = id(recipient);
        match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let sql =
                    "SELECT sealed FROM recipient_secret WHERE recipient = ?1 AND digest = ?2";
                let mut ask = c.prepare_cached(sql)?;
                Ok(ask.query_row(params![own, digest.0], |r| r.get(0)).optional()?)
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let sql =
                    "SELECT sealed FROM recipient_secret WHERE recipient = $1 AND digest = $2";
                let rows = c.query(sql, &[&own.as_slice(), &digest.0.as_slice()])?;
                Ok(rows.first().map(|r| r.try_get(0)).transpose()?)
            }),
        }
    }
}

type Columns = (i64, i64, String, i64, i64, i64, i64, Option<i64>, Option<String>, Option<i64>);

fn shown((seq, ix, kind, at, status, attempts, due, code, problem, done): Columns) -> Delivery {
    Delivery {
        seq: seq.unsigned_abs(),
        index: u32::try_from(ix).unwrap_or(u32::MAX),
        kind,
        at: Instant(at),
        status: Status::of(status),
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        due: Instant(due),
        code: code.and_then(|c| u16::try_from(c).ok()),
        problem,
        done: done.map(Instant),
    }
}

// -- in the transaction of a row ----------------------------------------------------------------------

pub(crate) fn write_sqlite(
    tx: &Transaction<'_>,
    row: &Row,
    write: &SideWrite,
) -> Result<usize, StoreError> {
    Ok(match write {
        SideWrite::Secret { recipient, digest, sealed, keep } => {
            let own = id(*recipient);
            tx.prepare_cached("DELETE FROM recipient_secret WHERE recipient = ?1 AND (?2 IS NULL OR digest <> ?2)")?
                .execute(params![own, keep.map(|d| d.0)])?;
            tx.prepare_cached(
                "INSERT INTO recipient_secret (recipient, digest, sealed) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![own, digest.0, sealed.0])?
        }
        SideWrite::DropSecrets { recipient } => tx
            .prepare_cached("DELETE FROM recipient_secret WHERE recipient = ?1")?
            .execute([id(*recipient)])?,
        SideWrite::Forget { recipient } => {
            let own = id(*recipient);
            for sql in [
                "DELETE FROM recipient_secret WHERE recipient = ?1",
                "DELETE FROM recipient_failing WHERE recipient = ?1",
                "DELETE FROM outbox WHERE recipient = ?1",
            ] {
                tx.prepare_cached(sql)?.execute([own])?;
            }
            0
        }
        SideWrite::Pushes(pushes) => {
            let mut put = tx.prepare_cached(
                "INSERT INTO outbox (recipient, seq, ix, kind, at, queued, status, attempts, due) VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, 0, ?5)",
            )?;
            for Push { recipient, index, kind } in pushes {
                put.execute(params![id(*recipient), signed(row.seq), index, kind, row.at.0])?;
            }
            pushes.len()
        }
        SideWrite::Requeue { recipient, what } => {
            let own = id(*recipient);
            match what {
                Redelivery::One(seq, index) => tx
                    .prepare_cached("UPDATE outbox SET status = 0, attempts = 0, due = ?4, queued = ?4, done = NULL WHERE recipient = ?1 AND seq = ?2 AND ix = ?3 AND status <> 0")?
                    .execute(params![own, signed(*seq), index, row.at.0])?,
                Redelivery::DeadSince(since) => tx
                    .prepare_cached("UPDATE outbox SET status = 0, attempts = 0, due = ?3, queued = ?3, done = NULL WHERE recipient = ?1 AND status = 2 AND at >= ?2")?
                    .execute(params![own, since.0, row.at.0])?,
            }
        }
        _ => 0,
    })
}

/// The pushes of a whole batch, in one statement.
pub(crate) fn push_postgres(
    session: &mut Session,
    batch: &[(Row, Vec<SideWrite>)],
) -> Result<(), StoreError> {
    let (mut to, mut seqs, mut ixs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut kinds, mut ats): (Vec<&str>, Vec<i64>) = (Vec::new(), Vec::new());
    for (row, side) in batch {
        let pushes = side.iter().filter_map(|w| match w {
            SideWrite::Pushes(pushes) => Some(pushes),
            _ => None,
        });
        for push in pushes.flatten() {
            to.push(id(push.recipient).to_vec());
            seqs.push(signed(row.seq));
            ixs.push(i64::from(push.index));
            kinds.push(push.kind);
            ats.push(row.at.0);
        }
    }
    if to.is_empty() {
        return Ok(());
    }
    session.execute(
        "INSERT INTO outbox (recipient, seq, ix, kind, at, queued, status, attempts, due) \
         SELECT r, s, i, k, a, a, 0, 0, a FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[]) AS p (r, s, i, k, a)",
        &[&to, &seqs, &ixs, &kinds, &ats],
    )?;
    Ok(())
}

pub(crate) fn write_postgres(
    session: &mut Session,
    row: &Row,
    write: &SideWrite,
) -> Result<u64, StoreError> {
    Ok(match write {
        SideWrite::Secret { recipient, digest, sealed, keep } => {
            let own = id(*recipient);
            session.execute(
                "DELETE FROM recipient_secret WHERE recipient = $1 AND ($2::bytea IS NULL OR digest <> $2)",
                &[&own.as_slice(), &keep.map(|d| d.0.to_vec())],
            )?;
            session.execute(
                "INSERT INTO recipient_secret (recipient, digest, sealed) VALUES ($1, $2, $3)",
                &[&own.as_slice(), &digest.0.as_slice(), &sealed.0],
            )?
        }
        SideWrite::DropSecrets { recipient } => {
            let own = id(*recipient);
            session
                .execute("DELETE FROM recipient_secret WHERE recipient = $1", &[&own.as_slice()])?
        }
        SideWrite::Forget { recipient } => {
            let own = id(*recipient);
            let own = own.as_slice();
            session.execute("DELETE FROM recipient_secret WHERE recipient = $1", &[&own])?;
            session.execute("DELETE FROM recipient_failing WHERE recipient = $1", &[&own])?;
            session.execute("DELETE FROM outbox WHERE recipient = $1", &[&own])?
        }
        SideWrite::Requeue { recipient, what } => {
            let own = id(*recipient);
            let own = own.as_slice();
            match what {
                Redelivery::One(seq, index) => session.execute(
                    "UPDATE outbox SET status = 0, attempts = 0, due = $4, queued = $4, done = NULL WHERE recipient = $1 AND seq = $2 AND ix = $3 AND status <> 0",
                    &[&own, &signed(*seq), &i64::from(*index), &row.at.0],
                )?,
                Redelivery::DeadSince(since) => session.execute(
                    "UPDATE outbox SET status = 0, attempts = 0, due = $3, queued = $3, done = NULL WHERE recipient = $1 AND status = 2 AND at >= $2",
                    &[&own, &since.0, &row.at.0],
                )?,
            }
        }
        // A batch's pushes go in together.
        _ => 0,
    })
}
