//! Mails: which notice goes to whom, and how far that is.
//!
//! Notices are written with their rows; from there they are queued, one mail for each person, in
//! one transaction with how far that has come. So none is lost and none is queued twice, whoever
//! stops in between and however many nodes do it. That a relay took a mail is flushed before the
//! next one is sent: unlike a push, a mail is not to come twice.

use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::time::Instant;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::log::{Place, StoreError};
use crate::notices::{Noticed, columns_postgres, columns_sqlite, noticed};
use crate::postgres::{self, Pool};
use crate::read::{Engine, Reader};
use crate::sqlite::{id, signed};

/// Up to which notice mails were queued.
type Place3 = (i64, Vec<u8>, i64);

/// A mail that is somebody's to send until `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingMail {
    /// What is told.
    pub noticed: Noticed,
    /// To whom.
    pub person: PersonId,
    /// How many tries there were, with the one that begins now.
    pub attempts: u32,
    /// After this somebody else may try.
    pub until: Instant,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailAttempt {
    /// The relay took it.
    Taken,
    /// It is tried again.
    Again {
        /// When.
        due: Instant,
        /// The relay's reply.
        code: Option<u16>,
        /// Why: one of our own words.
        problem: &'static str,
    },
    /// It is given up.
    Dead {
        /// The relay's reply.
        code: Option<u16>,
        /// Why: one of our own words.
        problem: &'static str,
    },
}

/// A mail as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailShown {
    /// The row of the log.
    pub seq: u64,
    /// Which notice of it to the organisation.
    pub index: u32,
    /// Whether the relay took it; `None` while it waits.
    pub taken: Option<bool>,
    /// Why the last try failed.
    pub problem: Option<String>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailCounts {
    /// Mails that wait.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// When what the oldest that waits tells of happened.
    pub oldest: Option<Instant>,
}

/// Who queues and sends. Blocking.
#[derive(Debug)]
pub struct Mails(Keeper);

#[derive(Debug)]
enum Keeper {
    Sqlite(Connection),
    Postgres(Pool),
}

/// A statement that begins with the columns of a notice `n`.
macro_rules! with_notice {
    ($rest:literal) => {
        concat!(
            "SELECT n.organisation, n.seq, n.ix, n.kind, n.side, n.at, n.request, n.grant_id, n.session, n.person, n.other, \
             n.ends, n.count, n.mail, n.invitation",
            $rest
        )
    };
}

impl Mails {
    /// Opens the mails of a place, whose log must exist, beside its writer.
    ///
    /// # Errors
    /// If they cannot be opened.
    pub fn at(place: &Place) -> Result<Self, StoreError> {
        Ok(Self(match place {
            Place::Folder(folder) => {
                let connection = Connection::open(Place::log_file(folder))?;
                connection.pragma_update(None, "synchronous", "FULL")?;
                connection.pragma_update(None, "secure_delete", "ON")?;
                connection.busy_timeout(std::time::Duration::from_secs(5))?;
                Keeper::Sqlite(connection)
            }
            Place::Postgres(server, _) => Keeper::Postgres(Pool::writing(server.clone())),
        }))
    }

    /// Begins behind the row `head`, if nothing was ever queued here: what happened before mails
    /// were sent is in the inboxes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(&self, head: u64) -> Result<(), StoreError> {
        let (seq, last) = (signed(head), id(u128::MAX));
        match &self.0 {
            Keeper::Sqlite(c) => {
                c.prepare_cached("INSERT INTO mail_cursor (id, seq, organisation, ix) VALUES (1, ?1, ?2, 0) ON CONFLICT DO NOTHING")?
                    .execute(params![seq, last])?;
                Ok(())
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "INSERT INTO mail_cursor (id, seq, organisation, ix) VALUES (1, $1, $2, 0) ON CONFLICT DO NOTHING";
                c.execute(sql, &[&seq, &last.as_slice()])?;
                c.warned()
            }),
        }
    }

    /// Queues mails for the next notices of rows up to `upto`, at most `limit` of them: `to` says
    /// whom each is for. Says how many notices it was; none if another node was quicker.
    ///
    /// # Errors
    /// If it cannot be read or written: then nothing was queued.
    pub fn queue(
        &self,
        upto: u64,
        limit: usize,
        to: impl Fn(&Noticed) -> Vec<PersonId>,
    ) -> Result<usize, StoreError> {
        let Some(from) = self.queued_up_to()? else {
            return Ok(0);
        };
        let next = self.unqueued(&from, upto, limit)?;
        let Some(last) = next.last() else {
            return Ok(0);
        };
        let own = id(last.notice.organisation.0).to_vec();
        let until = (signed(last.seq), own, i64::from(last.notice.index));
        let mails: Vec<(&Noticed, PersonId)> =
            next.iter().flat_map(|n| to(n).into_iter().map(move |p| (n, p))).collect();
        let moved = self.put(&from, &until, &mails)?;
        Ok(if moved { next.len() } else { 0 })
    }

    fn queued_up_to(&self) -> Result<Option<Place3>, StoreError> {
        match &self.0 {
            Keeper::Sqlite(c) => Ok(c
                .prepare_cached("SELECT seq, organisation, ix FROM mail_cursor WHERE id = 1")?
                .query_row([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
                .optional()?),
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT seq, organisation, ix FROM mail_cursor WHERE id = 1";
                let rows = c.query(sql, &[])?;
                let read = |r: &::postgres::Row| Ok((r.try_get(0)?, r.try_get(1)?, r.try_get(2)?));
                rows.first().map(read).transpose()
            }),
        }
    }

    fn unqueued(
        &self,
        (seq, own, ix): &Place3,
        upto: u64,
        limit: usize,
    ) -> Result<Vec<Noticed>, StoreError> {
        let (upto, limit) = (signed(upto), signed(limit as u64));
        match &self.0 {
            Keeper::Sqlite(c) => {
                let sql = with_notice!(
                    " FROM notice n WHERE n.mail = 1 AND (n.seq, n.organisation, n.ix) > (?1, ?2, ?3) \
                     AND n.seq <= ?4 ORDER BY n.seq, n.organisation, n.ix LIMIT ?5"
                );
                let mut ask = c.prepare_cached(sql)?;
                let rows = ask.query_map(params![seq, own, ix, upto, limit], columns_sqlite)?;
                rows.map(|row| noticed(row?, false)).collect()
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = with_notice!(
                    " FROM notice n WHERE n.mail = 1 AND (n.seq, n.organisation, n.ix) > ($1, $2, $3) \
                     AND n.seq <= $4 ORDER BY n.seq, n.organisation, n.ix LIMIT $5"
                );
                let rows = c.query(sql, &[seq, own, ix, &upto, &limit])?;
                rows.iter().map(|r| noticed(columns_postgres(r)?, false)).collect()
            }),
        }
    }

    fn put(
        &self,
        from: &Place3,
        until: &Place3,
        mails: &[(&Noticed, PersonId)],
    ) -> Result<bool, StoreError> {
        match &self.0 {
            Keeper::Sqlite(c) => {
                // Not on its own connection's behalf alone: the transaction is taken by hand,
                // because the connection is shared by reference.
                let tx = rusqlite::Transaction::new_unchecked(c, TransactionBehavior::Immediate)?;
                let moved = tx
                    .prepare_cached("UPDATE mail_cursor SET seq = ?4, organisation = ?5, ix = ?6 WHERE id = 1 AND seq = ?1 AND organisation = ?2 AND ix = ?3")?
                    .execute(params![from.0, from.1, from.2, until.0, until.1, until.2])?;
                if moved == 0 {
                    return Ok(false);
                }
                {
                    let mut put = tx.prepare_cached("INSERT INTO mail (organisation, seq, ix, person, queued, status, attempts, due) VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?5) ON CONFLICT DO NOTHING")?;
                    for (n, person) in mails {
                        put.execute(params![
                            id(n.notice.organisation.0),
                            signed(n.seq),
                            n.notice.index,
                            id(person.0),
                            n.at.0
                        ])?;
                    }
                }
                tx.commit()?;
                Ok(true)
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let (mut owns, mut people): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
                let (mut seqs, mut ixs, mut ats): (Vec<i64>, Vec<i64>, Vec<i64>) =
                    Default::default();
                for (n, person) in mails {
                    owns.push(id(n.notice.organisation.0).to_vec());
                    people.push(id(person.0).to_vec());
                    seqs.push(signed(n.seq));
                    ixs.push(i64::from(n.notice.index));
                    ats.push(n.at.0);
                }
                // One statement is one transaction.
                let sql = "WITH moved AS (UPDATE mail_cursor SET seq = $4, organisation = $5, ix = $6 \
                     WHERE id = 1 AND seq = $1 AND organisation = $2 AND ix = $3 RETURNING id), \
                     put AS (INSERT INTO mail (organisation, seq, ix, person, queued, status, attempts, due) \
                     SELECT o, s, i, p, a, 0, 0, a FROM moved, unnest($7::bytea[], $8::bigint[], $9::bigint[], $10::bytea[], $11::bigint[]) AS m (o, s, i, p, a) \
                     ON CONFLICT DO NOTHING) SELECT COUNT(*) FROM moved";
                let rows = c.query(
                    sql,
                    &[
                        &from.0, &from.1, &from.2, &until.0, &until.1, &until.2, &owns, &seqs,
                        &ixs, &people, &ats,
                    ],
                )?;
                c.warned()?;
                let moved: i64 = rows.first().map(|r| r.try_get(0)).transpose()?.unwrap_or(0);
                Ok(moved == 1)
            }),
        }
    }

    /// Takes the first mail that is due, for this caller alone until `until`. Of several who try at
    /// once one gets it.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn claim(&self, now: Instant, until: Instant) -> Result<Option<WaitingMail>, StoreError> {
        let found = match &self.0 {
            Keeper::Sqlite(c) => {
                let sql = with_notice!(
                    ", m.person, m.attempts, m.due FROM mail m JOIN notice n \
                     ON n.organisation = m.organisation AND n.seq = m.seq AND n.ix = m.ix \
                     WHERE m.status = 0 AND m.due <= ?1 ORDER BY m.due, m.seq, m.organisation, m.ix, m.person LIMIT 1"
                );
                c.prepare_cached(sql)?
                    .query_row([now.0], |r| {
                        let person: [u8; 16] = r.get(15)?;
                        let person = u128::from_be_bytes(person);
                        Ok((columns_sqlite(r)?, person, r.get::<_, i64>(16)?, r.get::<_, i64>(17)?))
                    })
                    .optional()?
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = with_notice!(
                    ", m.person, m.attempts, m.due FROM mail m JOIN notice n \
                     ON n.organisation = m.organisation AND n.seq = m.seq AND n.ix = m.ix \
                     WHERE m.status = 0 AND m.due <= $1 ORDER BY m.due, m.seq, m.organisation, m.ix, m.person LIMIT 1"
                );
                let rows = c.query(sql, &[&now.0])?;
                let read = |r: &::postgres::Row| {
                    let person = postgres::big(r, 15)?;
                    Ok::<_, StoreError>((columns_postgres(r)?, person, r.try_get(16)?, r.try_get(17)?))
                };
                rows.first().map(read).transpose()
            })?,
        };
        let Some((columns, person, attempts, due)) = found else {
            return Ok(None);
        };
        let noticed = noticed(columns, false)?;
        let (own, who) = (id(noticed.notice.organisation.0), id(person));
        let (seq, ix) = (signed(noticed.seq), i64::from(noticed.notice.index));
        let taken = match &self.0 {
            Keeper::Sqlite(c) => c
                .prepare_cached("UPDATE mail SET due = ?6, attempts = attempts + 1 WHERE organisation = ?1 AND seq = ?2 AND ix = ?3 AND person = ?4 AND status = 0 AND due = ?5")?
                .execute(params![own, seq, ix, who, due, until.0])? as u64,
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "UPDATE mail SET due = $6, attempts = attempts + 1 WHERE organisation = $1 AND seq = $2 AND ix = $3 AND person = $4 AND status = 0 AND due = $5";
                let taken = c.execute(sql, &[&own.as_slice(), &seq, &ix, &who.as_slice(), &due, &until.0])?;
                c.warned()?;
                Ok(taken)
            })?,
        };
        let attempts = u32::try_from(attempts).unwrap_or(u32::MAX).saturating_add(1);
        let person = PersonId(person);
        Ok((taken == 1).then_some(WaitingMail { noticed, person, attempts, until }))
    }

    /// Notes how a try ended. What somebody else has taken meanwhile is only noted if the relay took
    /// it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn settle(
        &self,
        of: &WaitingMail,
        how: MailAttempt,
        now: Instant,
    ) -> Result<(), StoreError> {
        let (status, due, code, problem, done) = match how {
            MailAttempt::Taken => (1i64, now, None, None, Some(now.0)),
            MailAttempt::Again { due, code, problem } => (0, due, code, Some(problem), None),
            MailAttempt::Dead { code, problem } => (2, now, code, Some(problem), Some(now.0)),
        };
        let code = code.map(i64::from);
        let held = (status != 1).then_some(of.until.0);
        let (own, who) = (id(of.noticed.notice.organisation.0), id(of.person.0));
        let (seq, ix) = (signed(of.noticed.seq), i64::from(of.noticed.notice.index));
        match &self.0 {
            Keeper::Sqlite(c) => {
                c.prepare_cached("UPDATE mail SET status = ?5, due = ?6, code = ?7, problem = ?8, done = ?9 WHERE organisation = ?1 AND seq = ?2 AND ix = ?3 AND person = ?4 AND status <> 1 AND (?10 IS NULL OR (status = 0 AND due = ?10))")?
                    .execute(params![own, seq, ix, who, status, due.0, code, problem, done, held])?;
                Ok(())
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "UPDATE mail SET status = $5, due = $6, code = $7, problem = $8, done = $9 WHERE organisation = $1 AND seq = $2 AND ix = $3 AND person = $4 AND status <> 1 AND ($10::bigint IS NULL OR (status = 0 AND due = $10))";
                c.execute(
                    sql,
                    &[
                        &own.as_slice(), &seq, &ix, &who.as_slice(), &status, &due.0, &code,
                        &problem, &done, &held,
                    ],
                )?;
                c.warned()
            }),
        }
    }

    /// Gives up what happened before `before` and is in nobody's hands. Says how much it was.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn expire(&self, before: Instant, now: Instant) -> Result<u64, StoreError> {
        match &self.0 {
            Keeper::Sqlite(c) => Ok(c
                .prepare_cached("UPDATE mail SET status = 2, problem = COALESCE(problem, 'expired'), done = ?2 WHERE status = 0 AND queued < ?1 AND (attempts = 0 OR due <= ?2 OR problem IS NOT NULL)")?
                .execute(params![before.0, now.0])? as u64),
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "UPDATE mail SET status = 2, problem = COALESCE(problem, 'expired'), done = $2 WHERE status = 0 AND queued < $1 AND (attempts = 0 OR due <= $2 OR problem IS NOT NULL)";
                let gone = c.execute(sql, &[&before.0, &now.0])?;
                c.warned()?;
                Ok(gone)
            }),
        }
    }

    /// Forgets what was taken before `taken`, and dead letters from before `dead`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sweep(&self, taken: Instant, dead: Instant) -> Result<(), StoreError> {
        match &self.0 {
            Keeper::Sqlite(c) => {
                c.prepare_cached("DELETE FROM mail WHERE status <> 0 AND done < ?1 AND (status = 1 OR done < ?2)")?
                    .execute(params![taken.0, dead.0])?;
                Ok(())
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "DELETE FROM mail WHERE status <> 0 AND done < $1 AND (status = 1 OR done < $2)";
                c.execute(sql, &[&taken.0, &dead.0])?;
                c.warned()
            }),
        }
    }
}

impl Reader {
    /// How many mails wait and how many are dead.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn mail_counts(&self) -> Result<MailCounts, StoreError> {
        let of = |waiting: i64, dead: i64, oldest: Option<i64>| MailCounts {
            waiting: waiting.unsigned_abs(),
            dead: dead.unsigned_abs(),
            oldest: oldest.map(Instant),
        };
        match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let sql = "SELECT COALESCE(SUM(status = 0), 0), COALESCE(SUM(status = 2), 0), MIN(CASE WHEN status = 0 THEN queued END) FROM mail WHERE status <> 1";
                let mut ask = c.prepare_cached(sql)?;
                Ok(ask.query_row([], |r| Ok(of(r.get(0)?, r.get(1)?, r.get(2)?)))?)
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT COUNT(*) FILTER (WHERE status = 0), COUNT(*) FILTER (WHERE status = 2), MIN(queued) FILTER (WHERE status = 0) FROM mail WHERE status <> 1";
                let rows = c.query(sql, &[])?;
                let read = |r: &::postgres::Row| {
                    Ok::<_, StoreError>(of(r.try_get(0)?, r.try_get(1)?, r.try_get(2)?))
                };
                rows.first().map(read).transpose().map(Option::unwrap_or_default)
            }),
        }
    }

    /// What a person's mails of one organisation have come to, newest first.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn mails_of(
        &self,
        organisation: OrganisationId,
        person: PersonId,
    ) -> Result<Vec<MailShown>, StoreError> {
        let (own, who) = (id(organisation.0), id(person.0));
        let of = |seq: i64, ix: i64, status: i64, problem| MailShown {
            seq: seq.unsigned_abs(),
            index: u32::try_from(ix).unwrap_or(u32::MAX),
            taken: (status != 0).then_some(status == 1),
            problem,
        };
        match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let sql = "SELECT seq, ix, status, problem FROM mail WHERE organisation = ?1 AND person = ?2 ORDER BY seq DESC, ix DESC";
                let mut ask = c.prepare_cached(sql)?;
                let rows = ask.query_map(params![own, who], |r| {
                    Ok(of(r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let sql = "SELECT seq, ix, status, problem FROM mail WHERE organisation = $1 AND person = $2 ORDER BY seq DESC, ix DESC";
                let rows = c.query(sql, &[&own.as_slice(), &who.as_slice()])?;
                rows.iter()
                    .map(|r| Ok(of(r.try_get(0)?, r.try_get(1)?, r.try_get(2)?, r.try_get(3)?)))
                    .collect()
            }),
        }
    }
}
