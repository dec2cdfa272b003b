//! What can be told of a database at a glance, also beside a running server: for `comity doctor`.

use std::path::Path;

use comity_domain::ids::OrganisationId;
use comity_domain::time::Instant;
use rusqlite::OptionalExtension as _;

use crate::log::{Head, StoreError};
use crate::sqlite::{SCHEMA, head, open_read_only};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The file's schema.
    pub schema: i64,
    /// The schema that this release writes.
    pub known: i64,
    /// SQLite's journal mode: `wal` unless somebody changed it. Empty on PostgreSQL.
    pub journal: String,
    /// Where the log says that it stands.
    pub head: Head,
    /// The last row that there is.
    pub last: u64,
    /// Its time.
    pub last_at: Instant,
    /// Somebody's customer ID as it is sealed, to try a key on.
    pub sealed: Option<(OrganisationId, Vec<u8>)>,
}

/// Looks at the database at `path`, which must exist. A schema that is ahead is said and not an
/// error, unless the tables that are asked are gone.
///
/// # Errors
/// If it cannot be read.
pub fn inspect(path: &Path) -> Result<Inspection, StoreError> {
    let c = open_read_only(path)?;
    c.execute_batch("BEGIN")?;
    let schema = c.pragma_query_value(None, "user_version", |r| r.get(0))?;
    let journal = c.pragma_query_value(None, "journal_mode", |r| r.get(0))?;
    let ask = "SELECT seq, at FROM log ORDER BY seq DESC LIMIT 1";
    let last: Option<(i64, i64)> =
        c.query_row(ask, [], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
    let (last, last_at) = last.unwrap_or((0, 0));
    let ask = "SELECT organisation, sealed FROM customer_id ORDER BY organisation LIMIT 1";
    let sealed = c
        .query_row(ask, [], |r| Ok((OrganisationId(u128::from_be_bytes(r.get(0)?)), r.get(1)?)))
        .optional()?;
    Ok(Inspection {
        schema,
        known: SCHEMA,
        journal,
        head: head(&c)?,
        last: last.unsigned_abs(),
        last_at: Instant(last_at),
        sealed,
    })
}
