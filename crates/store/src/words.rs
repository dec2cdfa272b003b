//! Words by their places: what a state read from a snapshot is filled with.

use std::sync::Arc;

use comity_domain::text::{About, Reference};
use rusqlite::{Connection, params};

use crate::log::StoreError;
use crate::postgres::Session;
use crate::sqlite::{signed, subject_of};

/// Wanted words that stand closer than so many rows are read in one stretch: skipping what lies
/// between costs less than another search. What lies farther apart is not read, so that the time
/// follows what is wanted and not what was ever written.
const NEAR: u64 = 64;

type Found = Vec<(Reference, About, Arc<str>)>;

fn stretches(wanted: &[Reference]) -> impl Iterator<Item = (&[Reference], i64, i64)> {
    let near = |a: &Reference, b: &Reference| b.word.0.saturating_sub(a.word.0) <= NEAR;
    wanted.chunk_by(near).filter_map(|stretch| {
        let (first, last) = (stretch.first()?, stretch.last()?);
        Some((stretch, signed(first.word.0), signed(last.word.0)))
    })
}

/// Takes a word that stands at `place` if it is wanted, moving on behind it.
fn take<'a>(
    next: &mut std::iter::Peekable<impl Iterator<Item = &'a Reference>>,
    place: (u64, u32),
) -> Option<Reference> {
    while next.next_if(|r| (r.word.0, r.word.1) < place).is_some() {}
    next.next_if(|r| (r.word.0, r.word.1) == place).copied()
}

fn about(seq: u64, about: &str, also: Option<&str>) -> Result<About, StoreError> {
    Ok((subject_of(about, seq)?, also.map(|also| subject_of(also, seq)).transpose()?))
}

pub(crate) fn sqlite(c: &Connection, wanted: &[Reference]) -> Result<Found, StoreError> {
    let mut ask = c.prepare_cached(
        "SELECT seq, ix, about, text, also FROM word WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq, ix",
    )?;
    let mut out = Vec::with_capacity(wanted.len());
    for (stretch, first, last) in stretches(wanted) {
        let mut rows = ask.query(params![first, last])?;
        let mut next = stretch.iter().peekable();
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)?.unsigned_abs();
            let Some(wanted) = take(&mut next, (seq, row.get::<_, u32>(1)?)) else {
                continue;
            };
            let text = |ix| row.get_ref(ix)?.as_str().map_err(rusqlite::Error::from);
            let also = row.get::<_, Option<String>>(4)?;
            out.push((wanted, about(seq, text(2)?, also.as_deref())?, text(3)?.into()));
        }
    }
    Ok(out)
}

pub(crate) fn postgres(c: &mut Session, wanted: &[Reference]) -> Result<Found, StoreError> {
    let mut out = Vec::with_capacity(wanted.len());
    for (stretch, first, last) in stretches(wanted) {
        let rows = c.query(
            "SELECT seq, ix, about, text, also FROM word WHERE seq >= $1 AND seq <= $2 ORDER BY seq, ix",
            &[&first, &last],
        )?;
        let mut next = stretch.iter().peekable();
        for row in &rows {
            let seq = row.try_get::<_, i64>(0)?.unsigned_abs();
            let ix = u32::try_from(row.try_get::<_, i64>(1)?).unwrap_or(u32::MAX);
            let Some(wanted) = take(&mut next, (seq, ix)) else {
                continue;
            };
            let about = about(seq, row.try_get(2)?, row.try_get(4)?)?;
            out.push((wanted, about, row.try_get::<_, &str>(3)?.into()));
        }
    }
    Ok(out)
}
