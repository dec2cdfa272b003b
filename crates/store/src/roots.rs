//! Roots that the log once had.

use std::path::Path;

use crate::log::StoreError;
use crate::merkle::{Edge, Hash};
use crate::sqlite::{open_read_only, signed};

/// The root over the first `size` rows of the log at `path`, starting from an edge that is known
/// already; [`Edge::new`] is the one before the first row. `None` if the log has not so many rows.
///
/// Takes the stored leaves at their word: [`crate::verify`] recomputes them.
///
/// # Errors
/// If the file cannot be read.
pub fn root_at(path: &Path, mut edge: Edge, size: u64) -> Result<Option<Hash>, StoreError> {
    let connection = open_read_only(path)?;
    let mut ask = connection
        .prepare("SELECT seq, leaf FROM log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")?;
    let mut rows = ask.query([signed(edge.size()), signed(size)])?;
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)?.unsigned_abs();
        if seq != edge.size().saturating_add(1) {
            return Err(StoreError::Corrupt { seq, what: "stands where another should" });
        }
        edge.push(row.get(1)?);
    }
    Ok((edge.size() == size).then(|| edge.root()))
}
