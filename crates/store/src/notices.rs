//! Inboxes: what stands in each organisation's, and how far each person has read it.
//!
//! A notice is written with its row, in its transaction. How far somebody has read is nobody's
//! business but theirs and stands outside the log, in a table that all nodes see.

use std::sync::Mutex;

use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::{GrantId, InvitationId, OrganisationId, PersonId, RequestId, SessionId};
use comity_domain::notice::{Facts, Kind, Notice, Side};
use comity_domain::time::Instant;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::log::{Place, StoreError};
use crate::postgres::{Pool, Session, damaged};
use crate::read::{Engine, Reader};
use crate::sqlite::{id, signed};

/// A notice as it stands in an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noticed {
    /// The row of the log.
    pub seq: u64,
    /// When it happened.
    pub at: Instant,
    /// The notice.
    pub notice: Notice,
    /// Whether the person who asked has read it.
    pub read: bool,
}

/// What goes when a person is erased.
pub(crate) const OF_A_PERSON_SQLITE: [&str; 3] = [
    "DELETE FROM notice_read WHERE person = ?1",
    "DELETE FROM notice_seen WHERE person = ?1",
    "DELETE FROM mail WHERE person = ?1",
];
pub(crate) const OF_A_PERSON_POSTGRES: [&str; 3] = [
    "DELETE FROM notice_read WHERE person = $1",
    "DELETE FROM notice_seen WHERE person = $1",
    "DELETE FROM mail WHERE person = $1",
];

const PAGE_SQLITE: &str = "SELECT * FROM (SELECT n.organisation, n.seq, n.ix, n.kind, n.side, n.at, n.request, n.grant_id, n.session, \
     n.person, n.other, n.ends, n.count, n.mail, n.invitation, \
     (n.seq <= COALESCE((SELECT upto FROM notice_read r WHERE r.organisation = n.organisation AND r.person = ?2), 0) \
     OR EXISTS (SELECT 1 FROM notice_seen s WHERE s.organisation = n.organisation AND s.person = ?2 AND s.seq = n.seq AND s.ix = n.ix)) AS seen \
     FROM notice n WHERE n.organisation = ?1 AND (n.seq, n.ix) < (?3, ?4)) \
     WHERE ?5 = 0 OR NOT seen ORDER BY seq DESC, ix DESC LIMIT ?6";
const PAGE_POSTGRES: &str = "SELECT * FROM (SELECT n.organisation, n.seq, n.ix, n.kind, n.side, n.at, n.request, n.grant_id, n.session, \
     n.person, n.other, n.ends, n.count, n.mail, n.invitation, \
     (n.seq <= COALESCE((SELECT upto FROM notice_read r WHERE r.organisation = n.organisation AND r.person = $2), 0) \
     OR EXISTS (SELECT 1 FROM notice_seen s WHERE s.organisation = n.organisation AND s.person = $2 AND s.seq = n.seq AND s.ix = n.ix)) AS seen \
     FROM notice n WHERE n.organisation = $1 AND (n.seq, n.ix) < ($3, $4)) AS page \
     WHERE $5::bigint = 0 OR NOT seen ORDER BY seq DESC, ix DESC LIMIT $6";
const UNREAD_SQLITE: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM notice n WHERE n.organisation = ?1 \
     AND n.seq > COALESCE((SELECT upto FROM notice_read r WHERE r.organisation = ?1 AND r.person = ?2), 0) \
     AND NOT EXISTS (SELECT 1 FROM notice_seen s WHERE s.organisation = ?1 AND s.person = ?2 AND s.seq = n.seq AND s.ix = n.ix) LIMIT ?3)";
const UNREAD_POSTGRES: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM notice n WHERE n.organisation = $1 \
     AND n.seq > COALESCE((SELECT upto FROM notice_read r WHERE r.organisation = $1 AND r.person = $2), 0) \
     AND NOT EXISTS (SELECT 1 FROM notice_seen s WHERE s.organisation = $1 AND s.person = $2 AND s.seq = n.seq AND s.ix = n.ix) LIMIT $3) AS few";

impl Reader {
    /// An organisation's inbox as a person sees it, newest first, going on below (`seq`, `index`).
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn notices(
        &self,
        organisation: OrganisationId,
        person: PersonId,
        below: Option<(u64, u32)>,
        unread_only: bool,
        limit: usize,
    ) -> Result<Vec<Noticed>, StoreError> {
        let (own, who) = (id(organisation.0), id(person.0));
        let (seq, ix) = below.map_or((i64::MAX, 0), |(seq, ix)| (signed(seq), i64::from(ix)));
        let (only, limit) = (i64::from(unread_only), signed(limit as u64));
        match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let mut ask = c.prepare_cached(PAGE_SQLITE)?;
                let rows = ask.query_map(params![own, who, seq, ix, only, limit], |r| {
                    Ok((columns_sqlite(r)?, r.get(15)?))
                })?;
                rows.map(|row| row.map_err(StoreError::from).and_then(|(c, read)| noticed(c, read)))
                    .collect()
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let bound: [&(dyn ::postgres::types::ToSql + Sync); 6] =
                    [&own.as_slice(), &who.as_slice(), &seq, &ix, &only, &limit];
                let rows = c.query(PAGE_POSTGRES, &bound)?;
                rows.iter().map(|r| noticed(columns_postgres(r)?, r.try_get(15)?)).collect()
            }),
        }
    }

    /// How many notices a person has not read, counted up to `most`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn unread(
        &self,
        organisation: OrganisationId,
        person: PersonId,
        most: u32,
    ) -> Result<u32, StoreError> {
        let (own, who, most) = (id(organisation.0), id(person.0), i64::from(most));
        let count: i64 = match self.engine() {
            Engine::Sqlite(files) => files.with(|c| {
                let mut ask = c.prepare_cached(UNREAD_SQLITE)?;
                Ok(ask.query_row(params![own, who, most], |r| r.get(0))?)
            }),
            Engine::Postgres(pool) => pool.with(|c| {
                let rows = c.query(UNREAD_POSTGRES, &[&own.as_slice(), &who.as_slice(), &most])?;
                Ok(rows.first().map(|r| r.try_get(0)).transpose()?.unwrap_or(0))
            }),
        }?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// Who marks what was read. Blocking.
#[derive(Debug)]
pub struct Inbox(Keeper);

#[derive(Debug)]
enum Keeper {
    Sqlite(Mutex<Connection>),
    Postgres(Pool),
}

impl Inbox {
    /// Opens the inboxes of a place, whose log must exist, beside its writer.
    ///
    /// # Errors
    /// If they cannot be opened.
    pub fn at(place: &Place) -> Result<Self, StoreError> {
        Ok(Self(match place {
            Place::Folder(folder) => {
                let connection = Connection::open(Place::log_file(folder))?;
                // What a crash forgets of it is unread once more.
                connection.pragma_update(None, "synchronous", "NORMAL")?;
                connection.pragma_update(None, "secure_delete", "ON")?;
                connection.busy_timeout(std::time::Duration::from_secs(5))?;
                Keeper::Sqlite(Mutex::new(connection))
            }
            Place::Postgres(server, _) => Keeper::Postgres(Pool::writing(server.clone())),
        }))
    }

    /// A person has read everything up to a row. What was read stays read.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn read_up_to(
        &self,
        organisation: OrganisationId,
        person: PersonId,
        seq: u64,
    ) -> Result<(), StoreError> {
        let (own, who, seq) = (id(organisation.0), id(person.0), signed(seq));
        match &self.0 {
            Keeper::Sqlite(c) => {
                let mut c = c.lock().map_err(|_| damaged("the inbox's connection is gone"))?;
                let tx = c.transaction_with_behavior(TransactionBehavior::Immediate)?;
                tx.prepare_cached("INSERT INTO notice_read (organisation, person, upto) VALUES (?1, ?2, ?3) ON CONFLICT (organisation, person) DO UPDATE SET upto = MAX(upto, excluded.upto)")?
                    .execute(params![own, who, seq])?;
                tx.prepare_cached("DELETE FROM notice_seen WHERE organisation = ?1 AND person = ?2 AND seq <= ?3")?
                    .execute(params![own, who, seq])?;
                Ok(tx.commit()?)
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "WITH gone AS (DELETE FROM notice_seen WHERE organisation = $1 AND person = $2 AND seq <= $3) \
                     INSERT INTO notice_read (organisation, person, upto) VALUES ($1, $2, $3) \
                     ON CONFLICT (organisation, person) DO UPDATE SET upto = GREATEST(notice_read.upto, excluded.upto)";
                c.execute(sql, &[&own.as_slice(), &who.as_slice(), &seq])?;
                c.warned()
            }),
        }
    }

    /// A person has read one notice. One that is not there marks nothing.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn read_one(
        &self,
        organisation: OrganisationId,
        person: PersonId,
        (seq, index): (u64, u32),
    ) -> Result<(), StoreError> {
        let (own, who) = (id(organisation.0), id(person.0));
        let (seq, ix) = (signed(seq), i64::from(index));
        match &self.0 {
            Keeper::Sqlite(c) => {
                let c = c.lock().map_err(|_| damaged("the inbox's connection is gone"))?;
                c.prepare_cached("INSERT INTO notice_seen (organisation, person, seq, ix) SELECT organisation, ?2, seq, ix FROM notice WHERE organisation = ?1 AND seq = ?3 AND ix = ?4 ON CONFLICT DO NOTHING")?
                    .execute(params![own, who, seq, ix])?;
                Ok(())
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "INSERT INTO notice_seen (organisation, person, seq, ix) SELECT organisation, $2, seq, ix FROM notice WHERE organisation = $1 AND seq = $3 AND ix = $4 ON CONFLICT DO NOTHING";
                c.execute(sql, &[&own.as_slice(), &who.as_slice(), &seq, &ix])?;
                c.warned()
            }),
        }
    }

    /// Forgets what happened before `before`, read or not.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sweep(&self, before: Instant) -> Result<(), StoreError> {
        match &self.0 {
            Keeper::Sqlite(c) => {
                let mut c = c.lock().map_err(|_| damaged("the inbox's connection is gone"))?;
                let tx = c.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let last: Option<i64> = tx
                    .prepare_cached("SELECT MAX(seq) FROM notice WHERE at < ?1")?
                    .query_row([before.0], |r| r.get(0))
                    .optional()?
                    .flatten();
                if let Some(last) = last {
                    tx.execute("DELETE FROM notice WHERE at < ?1", [before.0])?;
                    tx.execute("DELETE FROM notice_seen WHERE seq <= ?1", [last])?;
                }
                Ok(tx.commit()?)
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                let sql = "WITH gone AS (DELETE FROM notice WHERE at < $1 RETURNING seq) \
                     DELETE FROM notice_seen WHERE seq <= (SELECT MAX(seq) FROM gone)";
                c.execute(sql, &[&before.0])?;
                c.warned()
            }),
        }
    }
}

// -- columns and back ---------------------------------------------------------------------------------

type Big = Option<Vec<u8>>;

/// A row of the table, as both engines give it.
pub(crate) struct Columns {
    organisation: Vec<u8>,
    numbers: [i64; 3],
    kind: String,
    side: String,
    ids: [Big; 6],
    ends: Option<i64>,
    counted: [i64; 2],
}

/// The fifteen columns, in the order of the table, from the first on.
pub(crate) fn columns_sqlite(r: &rusqlite::Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        organisation: r.get(0)?,
        numbers: [r.get(1)?, r.get(2)?, r.get(5)?],
        kind: r.get(3)?,
        side: r.get(4)?,
        ids: [r.get(6)?, r.get(7)?, r.get(8)?, r.get(9)?, r.get(10)?, r.get(14)?],
        ends: r.get(11)?,
        counted: [r.get(12)?, r.get(13)?],
    })
}

pub(crate) fn columns_postgres(r: &::postgres::Row) -> Result<Columns, StoreError> {
    Ok(Columns {
        organisation: r.try_get(0)?,
        numbers: [r.try_get(1)?, r.try_get(2)?, r.try_get(5)?],
        kind: r.try_get(3)?,
        side: r.try_get(4)?,
        ids: [
            r.try_get(6)?,
            r.try_get(7)?,
            r.try_get(8)?,
            r.try_get(9)?,
            r.try_get(10)?,
            r.try_get(14)?,
        ],
        ends: r.try_get(11)?,
        counted: [r.try_get(12)?, r.try_get(13)?],
    })
}

pub(crate) fn noticed(c: Columns, read: bool) -> Result<Noticed, StoreError> {
    let big = |bytes: &[u8]| -> Result<u128, StoreError> {
        let bytes = bytes.try_into().map_err(|_| damaged("an identifier has another length"))?;
        Ok(u128::from_be_bytes(bytes))
    };
    let small = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let [request, grant, session, person, other, invitation] = &c.ids;
    let maybe = |b: &Big| b.as_deref().map(big).transpose();
    let [seq, ix, at] = c.numbers;
    let [count, mail] = c.counted;
    let notice = Notice {
        organisation: OrganisationId(big(&c.organisation)?),
        index: small(ix),
        kind: Kind::of(&c.kind).ok_or_else(|| damaged("a notice is of no known kind"))?,
        side: Side::of(&c.side).ok_or_else(|| damaged("a notice is for no known side"))?,
        facts: Facts {
            request: maybe(request)?.map(RequestId),
            grant: maybe(grant)?.map(GrantId),
            session: maybe(session)?.map(SessionId),
            person: maybe(person)?.map(PersonId),
            other: maybe(other)?.map(OrganisationId),
            ends: c.ends.map(Instant),
            invitation: maybe(invitation)?.map(InvitationId),
        },
        count: small(count),
        mail: mail != 0,
    };
    Ok(Noticed { seq: seq.unsigned_abs(), at: Instant(at), notice, read })
}

fn ids(facts: &Facts) -> [Big; 6] {
    let bytes = |n: Option<u128>| n.map(|n| id(n).to_vec());
    [
        bytes(facts.request.map(|r| r.0)),
        bytes(facts.grant.map(|g| g.0)),
        bytes(facts.session.map(|s| s.0)),
        bytes(facts.person.map(|p| p.0)),
        bytes(facts.other.map(|o| o.0)),
        bytes(facts.invitation.map(|i| i.0)),
    ]
}

// -- in the transaction of a row ----------------------------------------------------------------------

pub(crate) fn write_sqlite(
    tx: &Transaction<'_>,
    row: &Row,
    notices: &[Notice],
) -> Result<usize, StoreError> {
    let mut put = tx.prepare_cached(
        "INSERT INTO notice (organisation, seq, ix, kind, side, at, request, grant_id, session, person, other, ends, count, mail, invitation) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    for n in notices {
        let [request, grant, session, person, other, invitation] = ids(&n.facts);
        put.execute(params![
            id(n.organisation.0),
            signed(row.seq),
            n.index,
            n.kind.code(),
            n.side.code(),
            row.at.0,
            request,
            grant,
            session,
            person,
            other,
            n.facts.ends.map(|e| e.0),
            n.count,
            n.mail,
            invitation
        ])?;
    }
    Ok(notices.len())
}

/// The notices of a whole batch, in one statement.
pub(crate) fn put_postgres(
    session: &mut Session,
    batch: &[(Row, Vec<SideWrite>)],
) -> Result<(), StoreError> {
    let mut organisations: Vec<Vec<u8>> = Vec::new();
    let mut numbers: [Vec<i64>; 5] = Default::default();
    let (mut kinds, mut sides): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut named: [Vec<Big>; 6] = Default::default();
    let mut ends: Vec<Option<i64>> = Vec::new();
    for (row, side) in batch {
        let notices = side.iter().filter_map(|w| match w {
            SideWrite::Notices(notices) => Some(notices),
            _ => None,
        });
        for n in notices.flatten() {
            organisations.push(id(n.organisation.0).to_vec());
            let own = [signed(row.seq), n.index.into(), row.at.0, n.count.into(), n.mail.into()];
            for (column, value) in numbers.iter_mut().zip(own) {
                column.push(value);
            }
            kinds.push(n.kind.code());
            sides.push(n.side.code());
            for (column, value) in named.iter_mut().zip(ids(&n.facts)) {
                column.push(value);
            }
            ends.push(n.facts.ends.map(|e| e.0));
        }
    }
    if organisations.is_empty() {
        return Ok(());
    }
    let [seqs, ixs, ats, counts, mails] = &numbers;
    let [requests, grants, sessions, people, others, invitations] = &named;
    session.execute(
        "INSERT INTO notice (organisation, seq, ix, kind, side, at, request, grant_id, session, person, other, ends, count, mail, invitation) \
         SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bytea[], \
         $8::bytea[], $9::bytea[], $10::bytea[], $11::bytea[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bytea[])",
        &[
            &organisations, seqs, ixs, &kinds, &sides, ats, requests, grants, sessions, people,
            others, &ends, counts, mails, invitations,
        ],
    )?;
    Ok(())
}
