//! Addresses that are told no more: each hears of that once, by a message of its own, because what
//! is kept of the recipient is another's by then, or gone.

use comity_domain::ids::Digest32;
use comity_domain::time::Instant;
use rusqlite::{OptionalExtension as _, params};

use crate::log::StoreError;
use crate::outbox::{Keeper, Outbox};
use crate::postgres;
use crate::sqlite::{id, signed};

/// One that is somebody's to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    /// Who was told there.
    pub recipient: u128,
    /// The row that ended it.
    pub seq: u64,
    /// The name of its event.
    pub kind: String,
    /// Where it is.
    pub url: String,
    /// The secrets that it knows, sealed, each with its digest.
    pub secrets: Vec<(Digest32, Vec<u8>)>,
    /// When it happened.
    pub at: Instant,
    /// How many tries there were, with the one that begins now.
    pub attempts: u32,
}

const TAKE_SQLITE: &str = "UPDATE farewell SET due = ?3, attempts = attempts + 1 WHERE (recipient, seq) IN \
    (SELECT recipient, seq FROM farewell WHERE due <= ?1 AND at <= ?2 ORDER BY due, recipient, seq LIMIT 1) \
    RETURNING recipient, seq, kind, url, digest, sealed, old_digest, old_sealed, at, attempts";
const TAKE_POSTGRES: &str = "UPDATE farewell SET due = $3, attempts = attempts + 1 WHERE (recipient, seq) IN \
    (SELECT recipient, seq FROM farewell WHERE due <= $1 AND at <= $2 ORDER BY due, recipient, seq LIMIT 1 FOR UPDATE SKIP LOCKED) \
    RETURNING recipient, seq, kind, url, digest, sealed, old_digest, old_sealed, at, attempts";

type Columns = (Vec<u8>, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

fn secrets((digest, sealed, old_digest, old_sealed): Columns) -> Vec<(Digest32, Vec<u8>)> {
    let old = old_digest.zip(old_sealed);
    std::iter::once((digest, sealed))
        .chain(old)
        .filter_map(|(digest, sealed)| Some((Digest32(digest.try_into().ok()?), sealed)))
        .collect()
}

fn small(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Outbox {
    /// Takes the first that is due, of what happened at or before `upto`, for this caller alone
    /// until `until`.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn farewell(
        &self,
        now: Instant,
        upto: Instant,
        until: Instant,
    ) -> Result<Option<Farewell>, StoreError> {
        match &self.0 {
            Keeper::Sqlite(c) => Ok(c
                .prepare_cached(TAKE_SQLITE)?
                .query_row(params![now.0, upto.0, until.0], |r| {
                    Ok(Farewell {
                        recipient: u128::from_be_bytes(r.get(0)?),
                        seq: r.get::<_, i64>(1)?.unsigned_abs(),
                        kind: r.get(2)?,
                        url: r.get(3)?,
                        secrets: secrets((r.get(4)?, r.get(5)?, r.get(6)?, r.get(7)?)),
                        at: Instant(r.get(8)?),
                        attempts: small(r.get(9)?),
                    })
                })
                .optional()?),
            Keeper::Postgres(pool) => pool.with(|c| {
                let rows = c.query(TAKE_POSTGRES, &[&now.0, &upto.0, &until.0])?;
                c.warned()?;
                let read = |r: &::postgres::Row| {
                    Ok(Farewell {
                        recipient: postgres::big(r, 0)?,
                        seq: r.try_get::<_, i64>(1)?.unsigned_abs(),
                        kind: r.try_get(2)?,
                        url: r.try_get(3)?,
                        secrets: secrets((
                            r.try_get(4)?,
                            r.try_get(5)?,
                            r.try_get(6)?,
                            r.try_get(7)?,
                        )),
                        at: Instant(r.try_get(8)?),
                        attempts: small(r.try_get(9)?),
                    })
                };
                rows.first().map(read).transpose()
            }),
        }
    }

    /// Notes that it is to be tried again, or with no `due` that it is over.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn farewell_tried(&self, of: &Farewell, due: Option<Instant>) -> Result<(), StoreError> {
        let (own, seq) = (id(of.recipient), signed(of.seq));
        match &self.0 {
            Keeper::Sqlite(c) => {
                match due {
                    Some(due) => c
                        .prepare_cached(
                            "UPDATE farewell SET due = ?3 WHERE recipient = ?1 AND seq = ?2",
                        )?
                        .execute(params![own, seq, due.0])?,
                    None => c
                        .prepare_cached("DELETE FROM farewell WHERE recipient = ?1 AND seq = ?2")?
                        .execute(params![own, seq])?,
                };
                Ok(())
            }
            Keeper::Postgres(pool) => pool.with(|c| {
                match due {
                    Some(due) => c.execute(
                        "UPDATE farewell SET due = $3 WHERE recipient = $1 AND seq = $2",
                        &[&own.as_slice(), &seq, &due.0],
                    )?,
                    None => c.execute(
                        "DELETE FROM farewell WHERE recipient = $1 AND seq = $2",
                        &[&own.as_slice(), &seq],
                    )?,
                };
                c.warned()
            }),
        }
    }
}
