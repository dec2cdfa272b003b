//! Roots that the log once had.

use rusqlite::Connection;

use crate::log::StoreError;
use crate::merkle::{Edge, Hash};
use crate::postgres::{self, Session};
use crate::sqlite::signed;

/// How many leaves are fetched at a time where they are not streamed.
const CHUNK: u64 = 20_000;

/// Adds a leaf that stands at `seq`.
fn push(edge: &mut Edge, seq: u64, leaf: Hash) -> Result<(), StoreError> {
    if seq != edge.size().saturating_add(1) {
        return Err(StoreError::Corrupt { seq, what: "stands where another should" });
    }
    edge.push(leaf);
    Ok(())
}

pub(crate) fn sqlite(c: &Connection, mut edge: Edge, size: u64) -> Result<Edge, StoreError> {
    let mut ask =
        c.prepare_cached("SELECT seq, leaf FROM log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")?;
    let mut rows = ask.query([signed(edge.size()), signed(size)])?;
    while let Some(row) = rows.next()? {
        push(&mut edge, row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)?;
    }
    Ok(edge)
}

pub(crate) fn postgres(c: &mut Session, mut edge: Edge, size: u64) -> Result<Edge, StoreError> {
    while edge.size() < size {
        let upto = edge.size().saturating_add(CHUNK).min(size);
        let rows = c.query(
            "SELECT seq, leaf FROM log WHERE seq > $1 AND seq <= $2 ORDER BY seq",
            &[&signed(edge.size()), &signed(upto)],
        )?;
        for row in &rows {
            push(&mut edge, row.try_get::<_, i64>(0)?.unsigned_abs(), postgres::hash(row, 1)?)?;
        }
        if rows.is_empty() {
            break;
        }
    }
    Ok(edge)
}
