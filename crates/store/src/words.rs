//! Words by their places: what a state read from a snapshot is filled with.

use std::sync::Arc;

use comity_domain::text::{Reference, Subject};
use rusqlite::params;

use crate::read::Reader;
use crate::sqlite::{StoreError, signed};

/// Wanted words that stand closer than so many rows are read in one stretch: skipping what lies
/// between costs less than another search. What lies farther apart is not read, so that the time
/// follows what is wanted and not what was ever written.
const NEAR: u64 = 64;

impl Reader {
    /// The words at `wanted`, which is in the order of their places: each with whom it is about and
    /// its text. Those that were erased are left out.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn words(
        &self,
        wanted: &[Reference],
    ) -> Result<Vec<(Reference, Subject, Arc<str>)>, StoreError> {
        self.with(|c| {
            let mut ask = c.prepare_cached(
                "SELECT seq, ix, about, text FROM word WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq, ix",
            )?;
            let mut out = Vec::with_capacity(wanted.len());
            for stretch in wanted.chunk_by(|a, b| b.word.0.saturating_sub(a.word.0) <= NEAR) {
                let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else {
                    continue;
                };
                let mut rows = ask.query(params![signed(first.word.0), signed(last.word.0)])?;
                let mut next = stretch.iter().peekable();
                while let Some(row) = rows.next()? {
                    let seq = row.get::<_, i64>(0)?.unsigned_abs();
                    let place = (seq, row.get::<_, u32>(1)?);
                    while next.next_if(|r| (r.word.0, r.word.1) < place).is_some() {}
                    let Some(wanted) = next.next_if(|r| (r.word.0, r.word.1) == place) else {
                        continue;
                    };
                    let text = |ix| row.get_ref(ix)?.as_str().map_err(rusqlite::Error::from);
                    let about = serde_json::from_str(text(2)?)
                        .map_err(|_| StoreError::Corrupt { seq, what: "a word is about nobody" })?;
                    out.push((*wanted, about, text(3)?.into()));
                }
            }
            Ok(out)
        })
    }
}
