//! What is read beside the writer.

use comity_domain::event::Row;
use comity_domain::ids::{Digest32, GrantId, OrganisationId, PersonId, SessionId};
use comity_domain::organisation::Party;
use comity_domain::role::Mode;
use comity_domain::text::Word;
use comity_domain::time::Instant;

use super::connect::Session;
use super::{big, damaged, hash, id, signed};
use crate::codec::{self, Stored};
use crate::log::{Head, StoreError};
use crate::read::{HistoryPage, HistoryQuery, HistoryRow, HistorySide, Looked};
use crate::sqlite::subject_of;

/// How many rows are fetched at a time.
const CHUNK: u64 = 1_000;

pub(crate) fn head(session: &mut Session) -> Result<Head, StoreError> {
    super::log::head(session)
}

pub(crate) fn credential(
    session: &mut Session,
    person: PersonId,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT hash FROM credential WHERE person = $1";
    let rows = session.query(sql, &[&id(person.0).as_slice()])?;
    Ok(rows.first().map(|r| r.try_get(0)).transpose()?)
}

pub(crate) fn factor(
    session: &mut Session,
    person: PersonId,
    factor: Digest32,
) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT sealed FROM factor WHERE person = $1 AND factor = $2";
    let rows = session.query(sql, &[&id(person.0).as_slice(), &factor.0.as_slice()])?;
    Ok(rows.first().map(|r| r.try_get(0)).transpose()?)
}

pub(crate) fn customer_id(
    session: &mut Session,
    organisation: OrganisationId,
) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT sealed FROM customer_id WHERE organisation = $1";
    let rows = session.query(sql, &[&id(organisation.0).as_slice()])?;
    Ok(rows.first().map(|r| r.try_get(0)).transpose()?)
}

pub(crate) fn partner_id(
    session: &mut Session,
    party: Party,
) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT sealed FROM partner_id WHERE party = $1";
    let rows = session.query(sql, &[&id(crate::sqlite::holder(party)).as_slice()])?;
    Ok(rows.first().map(|r| r.try_get(0)).transpose()?)
}

pub(crate) fn signing_key(
    session: &mut Session,
    kid: Digest32,
) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT sealed FROM signing_key WHERE kid = $1";
    let rows = session.query(sql, &[&kid.0.as_slice()])?;
    Ok(rows.first().map(|r| r.try_get(0)).transpose()?)
}

macro_rules! history {
    ($where:literal) => {
        concat!(
            "SELECT h.session, h.grant_id, h.customer, h.provider, h.person, h.mode, h.started, h.deadline, h.ended, \
             h.cause, (SELECT text FROM word WHERE seq = h.seq AND ix = h.name_ix), \
             (SELECT text FROM word WHERE seq = h.seq AND ix = h.email_ix), \
             (SELECT text FROM word WHERE seq = h.seq AND ix = h.reason_ix) FROM session_history h WHERE ",
            $where
        )
    };
}

const AS_CUSTOMER: &str = history!(
    "h.customer = $1 AND ($2::bytea IS NULL OR h.provider = $2) AND ($3::bytea IS NULL OR h.person = $3) \
     AND h.started >= $4 AND h.started < $5 AND (h.started, h.session) < ($6, $7) \
     AND ($9::text IS NULL OR h.mode = $9) AND (h.started >= $10 OR h.grant_id = ANY($11)) \
     AND CASE $12::bigint WHEN 0 THEN TRUE \
     WHEN 1 THEN h.ended IS NULL AND h.deadline > $13 \
     WHEN 2 THEN (h.ended IS NULL OR h.ended >= h.deadline) AND h.deadline <= $13 \
     ELSE h.ended IS NOT NULL AND (h.ended < h.deadline OR h.deadline > $13) END \
     ORDER BY h.started DESC, h.session DESC LIMIT $8"
);
const AS_PROVIDER: &str = history!(
    "h.provider = $1 AND ($2::bytea IS NULL OR h.customer = $2) AND ($3::bytea IS NULL OR h.person = $3) \
     AND h.started >= $4 AND h.started < $5 AND (h.started, h.session) < ($6, $7) \
     AND ($9::text IS NULL OR h.mode = $9) AND (h.started >= $10 OR h.grant_id = ANY($11)) \
     AND CASE $12::bigint WHEN 0 THEN TRUE \
     WHEN 1 THEN h.ended IS NULL AND h.deadline > $13 \
     WHEN 2 THEN (h.ended IS NULL OR h.ended >= h.deadline) AND h.deadline <= $13 \
     ELSE h.ended IS NOT NULL AND (h.ended < h.deadline OR h.deadline > $13) END \
     ORDER BY h.started DESC, h.session DESC LIMIT $8"
);
const ONE: &str = history!("h.session = $2 AND (h.customer = $1 OR h.provider = $1)");

pub(crate) fn history(
    session: &mut Session,
    scope: OrganisationId,
    query: &HistoryQuery,
) -> Result<HistoryPage, StoreError> {
    let (after_at, after_id) =
        query.after.map_or((i64::MAX, id(u128::MAX)), |(at, s)| (at.0, id(s.0)));
    let sql = match query.side {
        HistorySide::Customer => AS_CUSTOMER,
        HistorySide::Provider => AS_PROVIDER,
    };
    let (status, at) = query.bound_status();
    let kept: Vec<Vec<u8>> = query.kept.1.iter().map(|g| id(g.0).to_vec()).collect();
    let rows = session.query(
        sql,
        &[
            &id(scope.0).as_slice(),
            &query.other.map(|o| id(o.0).to_vec()),
            &query.person.map(|p| id(p.0).to_vec()),
            &query.since.map_or(i64::MIN, |t| t.0),
            &query.until.map_or(i64::MAX, |t| t.0),
            &after_at,
            &after_id.as_slice(),
            &signed(query.limit as u64),
            &query.mode.map(Mode::code),
            &query.kept.0.0,
            &kept,
            &status,
            &at,
        ],
    )?;
    rows.iter().map(history_row).collect()
}

pub(crate) fn session(
    session: &mut Session,
    scope: OrganisationId,
    wanted: SessionId,
) -> Result<Option<HistoryRow>, StoreError> {
    let rows = session.query(ONE, &[&id(scope.0).as_slice(), &id(wanted.0).as_slice()])?;
    rows.first().map(history_row).transpose()
}

fn history_row(r: &::postgres::Row) -> Result<HistoryRow, StoreError> {
    Ok(HistoryRow {
        session: SessionId(big(r, 0)?),
        grant: GrantId(big(r, 1)?),
        customer: OrganisationId(big(r, 2)?),
        provider: OrganisationId(big(r, 3)?),
        person: PersonId(big(r, 4)?),
        mode: r.try_get(5)?,
        started: Instant(r.try_get(6)?),
        deadline: Instant(r.try_get(7)?),
        ended: r.try_get::<_, Option<i64>>(8)?.map(Instant),
        cause: r.try_get(9)?,
        name: r.try_get(10)?,
        email: r.try_get(11)?,
        reason: r.try_get(12)?,
    })
}

pub(crate) fn rows(
    session: &mut Session,
    scope: Option<OrganisationId>,
    after: u64,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let limit = signed(limit as u64);
    let found = match scope {
        Some(scope) => session.query(
            "SELECT l.seq, l.at, l.header, l.parts, l.leaf FROM audit_index a JOIN log l ON l.seq = a.seq \
             WHERE a.organisation = $1 AND a.seq > $2 ORDER BY a.seq LIMIT $3",
            &[&id(scope.0).as_slice(), &signed(after), &limit],
        )?,
        None => session.query(
            "SELECT seq, at, header, parts, leaf FROM log WHERE seq > $1 ORDER BY seq LIMIT $2",
            &[&signed(after), &limit],
        )?,
    };
    let stored = found.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
    let seqs: Vec<i64> = stored.iter().map(|s| signed(s.seq)).collect();
    let words = session.query(
        "SELECT seq, ix, about, event, salt, text, also FROM word WHERE seq = ANY($1) ORDER BY seq, ix",
        &[&seqs],
    )?;
    let mut words = words.iter().map(word).peekable();
    let mut out = Vec::with_capacity(stored.len());
    for one in stored {
        let own = own(&mut words, one.seq)?;
        out.push(codec::decode(&one, own)?);
    }
    Ok(out)
}

type Found = Result<(u64, (u32, Word)), StoreError>;

/// The words of one row, out of those of many in order.
fn own(
    words: &mut std::iter::Peekable<impl Iterator<Item = Found>>,
    seq: u64,
) -> Result<Vec<(u32, Word)>, StoreError> {
    let mut own = Vec::new();
    while let Some(next) = words.next_if(|w| w.as_ref().map_or(true, |(of, _)| *of <= seq)) {
        let (of, word) = next?;
        if of == seq {
            own.push(word);
        }
    }
    Ok(own)
}

fn stored(r: &::postgres::Row) -> Result<Stored, StoreError> {
    let seq = r.try_get::<_, i64>(0)?.unsigned_abs();
    let parts = codec::unpack(r.try_get(3)?);
    let parts = parts.ok_or(StoreError::Corrupt { seq, what: "the parts cannot be read" })?;
    Ok(Stored { seq, at: Instant(r.try_get(1)?), header: r.try_get(2)?, parts, leaf: hash(r, 4)? })
}

fn word(r: &::postgres::Row) -> Found {
    let seq = r.try_get::<_, i64>(0)?.unsigned_abs();
    let wrong = |what| StoreError::Corrupt { seq, what };
    let small = |ix| -> Result<u32, StoreError> {
        u32::try_from(r.try_get::<_, i64>(ix)?).map_err(|_| wrong("a word stands out of place"))
    };
    let about = subject_of(r.try_get(2)?, seq)?;
    let also = r.try_get::<_, Option<&str>>(6)?.map(|also| subject_of(also, seq)).transpose()?;
    let salt: &[u8] = r.try_get(4)?;
    let salt = salt.try_into().map_err(|_| damaged("a salt has another length"))?;
    let text: &str = r.try_get(5)?;
    Ok((seq, (small(1)?, Word { about, also, event: small(3)?, salt, text: Some(text.into()) })))
}

/// Hands over the stored rows after `after` up to `to`, with their words, a chunk at a time.
pub(crate) fn between(
    session: &mut Session,
    after: u64,
    to: u64,
    mut each: impl FnMut(Stored, Vec<(u32, Word)>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = after;
    while after < to {
        let upto = after.saturating_add(CHUNK).min(to);
        let bound: [i64; 2] = [signed(after), signed(upto)];
        let found = session.query(
            "SELECT seq, at, header, parts, leaf FROM log WHERE seq > $1 AND seq <= $2 ORDER BY seq",
            &[&bound[0], &bound[1]],
        )?;
        let words = session.query(
            "SELECT seq, ix, about, event, salt, text, also FROM word WHERE seq > $1 AND seq <= $2 ORDER BY seq, ix",
            &[&bound[0], &bound[1]],
        )?;
        let mut words = words.iter().map(word).peekable();
        for row in &found {
            let one = stored(row)?;
            let own = own(&mut words, one.seq)?;
            each(one, own)?;
        }
        after = upto;
    }
    Ok(())
}

/// The head and every row after `after`, as of one moment. What stands beyond the head is shown
/// too: whoever verifies has to see it.
pub(crate) fn look(
    session: &mut Session,
    after: u64,
    each: impl FnMut(Stored, Vec<(u32, Word)>) -> Result<(), StoreError>,
) -> Result<Looked, StoreError> {
    session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let stands = head(session);
    let last = session.query("SELECT COALESCE(MAX(seq), 0) FROM log", &[])?;
    let last = last.first().map_or(Ok(0), |r| r.try_get::<_, i64>(0))?.unsigned_abs();
    let walked = between(session, after, last, each);
    session.batch("COMMIT")?;
    Ok((stands, walked))
}
