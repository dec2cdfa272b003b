//! Commands that may be sent again: which row each key has become, for a day.
//!
//! Written in the transaction of the row itself (`SideWrite::Once`), looked up by whoever holds the
//! head. What is too old counts as unknown, whether it was cleared away yet or not.

use std::collections::BTreeMap;

use comity_domain::command::Once;
use comity_domain::event::Row;
use comity_domain::ids::Digest32;
use comity_domain::time::{DAY, Instant};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::log::StoreError;
use crate::postgres::Session;
use crate::sqlite::signed;

/// For how long a key is remembered, in milliseconds.
pub const REMEMBERED_MS: i64 = DAY;

/// Whose key, and which.
pub type Key = (String, Digest32);

/// What became of a command with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// What was asked.
    pub once: Once,
    /// The row that it became.
    pub seq: u64,
    /// That row's time.
    pub at: Instant,
}

/// The keys that are known.
pub type Known = BTreeMap<Key, Remembered>;

fn kept(seq: i64, at: i64, once: Once) -> (Key, Remembered) {
    let key = (once.principal.clone(), once.key);
    (key, Remembered { once, seq: seq.unsigned_abs(), at: Instant(at) })
}

/// Which of these keys were used at or after `since`.
pub(crate) fn sqlite(
    connection: &Connection,
    keys: &[Key],
    since: Instant,
) -> Result<Known, StoreError> {
    let mut ask = connection.prepare_cached(
        "SELECT route, body_hash, seq, at FROM command WHERE principal = ?1 AND key_hash = ?2 AND at >= ?3",
    )?;
    let mut found = Known::new();
    for (principal, key) in keys {
        let row = ask.query_row(params![principal, key.0, since.0], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
        });
        if let Some((route, body, seq, at)) = row.optional()? {
            let (principal, key, body) = (principal.clone(), *key, Digest32(body));
            found.extend([kept(seq, at, Once { principal, key, route, body })]);
        }
    }
    Ok(found)
}

/// The same on PostgreSQL, in one round trip.
pub(crate) fn postgres(
    session: &mut Session,
    keys: &[Key],
    since: Instant,
) -> Result<Known, StoreError> {
    let principals: Vec<&str> = keys.iter().map(|(p, _)| p.as_str()).collect();
    let hashes: Vec<&[u8]> = keys.iter().map(|(_, k)| k.0.as_slice()).collect();
    let rows = session.query(
        "SELECT c.principal, c.key_hash, c.route, c.body_hash, c.seq, c.at FROM command c \
         JOIN unnest($1::text[], $2::bytea[]) AS u(p, k) ON c.principal = u.p AND c.key_hash = u.k WHERE c.at >= $3",
        &[&principals, &hashes, &since.0],
    )?;
    let digest = |bytes: &[u8], seq: i64| {
        let what = "the digest of a command cannot be read";
        bytes
            .try_into()
            .map(Digest32)
            .map_err(|_| StoreError::Corrupt { seq: seq.unsigned_abs(), what })
    };
    rows.iter()
        .map(|r| {
            let seq: i64 = r.try_get(4)?;
            let (key, body) = (digest(r.try_get(1)?, seq)?, digest(r.try_get(3)?, seq)?);
            let once = Once { principal: r.try_get(0)?, key, route: r.try_get(2)?, body };
            Ok(kept(seq, r.try_get(5)?, once))
        })
        .collect()
}

/// Remembers what a row became of. A key that is so old that it counts as unknown is taken over.
pub(crate) fn remember_sqlite(
    connection: &Connection,
    row: &Row,
    once: &Once,
) -> Result<usize, StoreError> {
    let mut put = connection.prepare_cached(
        "INSERT INTO command (key_hash, principal, route, body_hash, seq, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (principal, key_hash) DO UPDATE SET route = excluded.route, body_hash = excluded.body_hash, \
         seq = excluded.seq, at = excluded.at",
    )?;
    let (key, body) = (once.key.0, once.body.0);
    Ok(put.execute(params![key, once.principal, once.route, body, signed(row.seq), row.at.0])?)
}

/// The same for a whole batch on PostgreSQL, in one round trip; none if there is nothing.
pub(crate) fn remember_postgres<'a>(
    session: &mut Session,
    all: impl Iterator<Item = (&'a Row, &'a Once)>,
) -> Result<(), StoreError> {
    let all: Vec<_> = all.collect();
    if all.is_empty() {
        return Ok(());
    }
    let keys: Vec<&[u8]> = all.iter().map(|(_, o)| o.key.0.as_slice()).collect();
    let principals: Vec<&str> = all.iter().map(|(_, o)| o.principal.as_str()).collect();
    let routes: Vec<&str> = all.iter().map(|(_, o)| o.route.as_str()).collect();
    let bodies: Vec<&[u8]> = all.iter().map(|(_, o)| o.body.0.as_slice()).collect();
    let seqs: Vec<i64> = all.iter().map(|(row, _)| signed(row.seq)).collect();
    let ats: Vec<i64> = all.iter().map(|(row, _)| row.at.0).collect();
    session.execute(
        "INSERT INTO command (key_hash, principal, route, body_hash, seq, at) \
         SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[]) \
         ON CONFLICT (principal, key_hash) DO UPDATE SET route = excluded.route, body_hash = excluded.body_hash, \
         seq = excluded.seq, at = excluded.at",
        &[&keys, &principals, &routes, &bodies, &seqs, &ats],
    )?;
    Ok(())
}

/// Clears away keys used before `before`, `most` at a time; how many it were.
pub(crate) fn forget_sqlite(
    connection: &Connection,
    before: Instant,
    most: usize,
) -> Result<usize, StoreError> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM command WHERE (principal, key_hash) IN \
         (SELECT principal, key_hash FROM command WHERE at < ?1 ORDER BY at LIMIT ?2)",
    )?;
    Ok(delete.execute(params![before.0, signed(most as u64)])?)
}

/// The same on PostgreSQL. What another node clears away at the same time is left to it.
pub(crate) fn forget_postgres(
    session: &mut Session,
    before: Instant,
    most: usize,
) -> Result<usize, StoreError> {
    let gone = session.execute(
        "DELETE FROM command c USING (SELECT principal, key_hash FROM command WHERE at < $1 ORDER BY at LIMIT $2 \
         FOR UPDATE SKIP LOCKED) o WHERE c.principal = o.principal AND c.key_hash = o.key_hash",
        &[&before.0, &signed(most as u64)],
    )?;
    Ok(usize::try_from(gone).unwrap_or(usize::MAX))
}
