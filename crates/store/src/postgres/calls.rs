//! Call counters and records: rows of the node that counted, on a connection of their own.

use comity_domain::ids::{Digest32, SessionId};
use comity_domain::time::{Instant, MINUTE};

use super::connect::{Server, Session, Wants};
use super::{big, hash, id, signed};
use crate::calls::{
    CallMinute, CallRecord, SEGMENT, Segment, SegmentHash, StoredCounts, by_minute,
};
use crate::lease::NodeId;
use crate::log::StoreError;

/// See `calls.rs`: the same on PostgreSQL.
#[derive(Debug)]
pub(crate) struct Books {
    server: Server,
    node: NodeId,
    session: Option<Session>,
    was_clean: bool,
}

const OWN: &str = "SELECT reserved, allowed, refused, late, uncertain FROM counter WHERE session = $1 AND node = $2";
/// What every node has counted, and of one that went without closing its books all that it had
/// reserved: such calls were perhaps answered. Gone is who was declared dead, which takes an ending,
/// or who has confirmed nothing for ten seconds.
const ALL: &str = "\
SELECT SUM(c.reserved)::bigint, SUM(c.allowed)::bigint, SUM(c.refused)::bigint, SUM(c.late)::bigint, \
SUM(CASE WHEN c.node <> $2 AND (l.dead OR l.renewed < now() - interval '10 seconds') AND s.clean = 0 THEN c.reserved - c.allowed - c.refused ELSE c.uncertain END)::bigint \
FROM counter c LEFT JOIN lease l ON l.node = c.node LEFT JOIN stop s ON s.node = c.node \
WHERE c.session = $1 AND ($3 OR c.node <> $2) HAVING COUNT(*) > 0";
const PUT: &str = "\
INSERT INTO counter (session, node, reserved, allowed, refused, late, uncertain) \
SELECT u.session, $7, u.reserved, u.allowed, u.refused, u.late, u.uncertain \
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) \
AS u(session, reserved, allowed, refused, late, uncertain) \
ON CONFLICT (session, node) DO UPDATE SET reserved = excluded.reserved, allowed = excluded.allowed, \
refused = excluded.refused, late = excluded.late, uncertain = excluded.uncertain";
const RECORD: &str = "\
INSERT INTO call (node, session, at, permission, resource, reason, late) \
SELECT $7, * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[])";

const MANY: &str = "\
SELECT SUM(c.reserved)::bigint, SUM(c.allowed)::bigint, SUM(c.refused)::bigint, SUM(c.late)::bigint, \
SUM(CASE WHEN c.node <> $2 AND (l.dead OR l.renewed < now() - interval '10 seconds') AND s.clean = 0 THEN c.reserved - c.allowed - c.refused ELSE c.uncertain END)::bigint, \
c.session FROM counter c LEFT JOIN lease l ON l.node = c.node LEFT JOIN stop s ON s.node = c.node \
WHERE c.session = ANY($1) AND ($3 OR c.node <> $2) GROUP BY c.session";
const MINUTES: &str = "\
SELECT minute, SUM(allowed)::bigint, SUM(refused)::bigint FROM call_minute WHERE session = $1 \
GROUP BY minute ORDER BY minute";
const ADD: &str = "\
INSERT INTO call_minute (session, node, minute, allowed, refused) \
SELECT u.session, $5, u.minute, u.allowed, u.refused \
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[]) AS u(session, minute, allowed, refused) \
ON CONFLICT (session, minute, node) DO UPDATE SET allowed = call_minute.allowed + excluded.allowed, \
refused = call_minute.refused + excluded.refused";

fn counts_of(r: &::postgres::Row) -> Result<StoredCounts, StoreError> {
    let n = |ix| Ok::<u64, StoreError>(r.try_get::<_, i64>(ix)?.unsigned_abs());
    Ok(StoredCounts {
        reserved: n(0)?,
        allowed: n(1)?,
        refused: n(2)?,
        late: n(3)?,
        uncertain: n(4)?,
    })
}

/// A session's calls on all nodes together (`own` says whether on `node` too).
pub(crate) fn total(
    session: &mut Session,
    node: NodeId,
    of: SessionId,
    own: bool,
) -> Result<Option<StoredCounts>, StoreError> {
    let rows = session.query(ALL, &[&id(of.0).as_slice(), &id(node.0).as_slice(), &own])?;
    rows.first().map(counts_of).transpose()
}

/// The same of several sessions.
pub(crate) fn totals(
    session: &mut Session,
    node: NodeId,
    of: &[SessionId],
    own: bool,
) -> Result<Vec<(SessionId, StoredCounts)>, StoreError> {
    let of: Vec<Vec<u8>> = of.iter().map(|s| id(s.0).to_vec()).collect();
    let rows = session.query(MANY, &[&of, &id(node.0).as_slice(), &own])?;
    rows.iter().map(|r| Ok((SessionId(big(r, 5)?), counts_of(r)?))).collect()
}

/// A session's calls over time.
pub(crate) fn minutes(session: &mut Session, of: SessionId) -> Result<Vec<CallMinute>, StoreError> {
    let rows = session.query(MINUTES, &[&id(of.0).as_slice()])?;
    let minute = |r: &::postgres::Row| {
        let n = |ix| Ok::<i64, StoreError>(r.try_get(ix)?);
        let (allowed, refused) = (n(1)?.unsigned_abs(), n(2)?.unsigned_abs());
        Ok(CallMinute { at: Instant(n(0)?.saturating_mul(MINUTE)), allowed, refused })
    };
    rows.iter().map(minute).collect()
}

impl Books {
    pub fn open(server: &Server, node: NodeId) -> Result<Self, StoreError> {
        let mut books = Self { server: server.clone(), node, session: None, was_clean: true };
        let me = id(node.0);
        books.was_clean = books.with(|session| {
            let rows = session.query("SELECT clean FROM stop WHERE node = $1", &[&me.as_slice()])?;
            // A node that was never here before has nothing uncertain behind it.
            let clean = rows.first().map(|r| r.try_get::<_, i64>(0)).transpose()?;
            session.execute(
                "INSERT INTO stop (node, clean) VALUES ($1, 0) ON CONFLICT (node) DO UPDATE SET clean = 0",
                &[&me.as_slice()],
            )?;
            Ok(clean.is_none_or(|c| c != 0))
        })?;
        Ok(books)
    }

    /// Asks on the connection; a broken one is replaced the next time.
    fn with<T>(
        &mut self,
        ask: impl FnOnce(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut session = match self.session.take() {
            Some(session) if !session.is_closed() => session,
            _ => Session::open(&self.server, Wants::Writing)?,
        };
        let answer = ask(&mut session).and_then(|t| session.warned().map(|()| t));
        if answer.is_ok() {
            self.session = Some(session);
        }
        answer
    }

    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    pub fn open_counters(&mut self) -> Result<Vec<(SessionId, StoredCounts)>, StoreError> {
        let me = id(self.node.0);
        self.with(|session| {
            let rows = session.query(
                "SELECT reserved, allowed, refused, late, uncertain, session FROM counter \
                 WHERE node = $1 AND reserved > allowed + refused + uncertain",
                &[&me.as_slice()],
            )?;
            rows.iter().map(|r| Ok((SessionId(big(r, 5)?), counts_of(r)?))).collect()
        })
    }

    pub fn counter(&mut self, of: SessionId) -> Result<Option<StoredCounts>, StoreError> {
        let me = id(self.node.0);
        self.with(|session| {
            let rows = session.query(OWN, &[&id(of.0).as_slice(), &me.as_slice()])?;
            rows.first().map(counts_of).transpose()
        })
    }

    pub fn counters_from(
        &mut self,
        first: SessionId,
    ) -> Result<Vec<(SessionId, StoredCounts)>, StoreError> {
        let me = id(self.node.0);
        self.with(|session| {
            let rows = session.query(
                "SELECT reserved, allowed, refused, late, uncertain, session FROM counter \
                 WHERE node = $1 AND session >= $2 ORDER BY session",
                &[&me.as_slice(), &id(first.0).as_slice()],
            )?;
            rows.iter().map(|r| Ok((SessionId(big(r, 5)?), counts_of(r)?))).collect()
        })
    }

    pub fn write(
        &mut self,
        counters: &[(SessionId, StoredCounts)],
        records: &[CallRecord],
    ) -> Result<(), StoreError> {
        let me = id(self.node.0);
        let sessions: Vec<Vec<u8>> = counters.iter().map(|(s, _)| id(s.0).to_vec()).collect();
        let column = |of: fn(&StoredCounts) -> u64| -> Vec<i64> {
            counters.iter().map(|(_, c)| signed(of(c))).collect()
        };
        let (reserved, allowed) = (column(|c| c.reserved), column(|c| c.allowed));
        let (refused, late) = (column(|c| c.refused), column(|c| c.late));
        let uncertain = column(|c| c.uncertain);
        let of: Vec<Vec<u8>> = records.iter().map(|r| id(r.session.0).to_vec()).collect();
        let at: Vec<i64> = records.iter().map(|r| r.at.0).collect();
        let text = |of: fn(&CallRecord) -> &str| -> Vec<&str> { records.iter().map(of).collect() };
        let (permissions, resources) = (text(|r| &r.permission), text(|r| &r.resource));
        let reasons = text(|r| &r.reason);
        let lates: Vec<i64> = records.iter().map(|r| i64::from(r.late)).collect();
        let minutes = by_minute(records);
        let in_minutes: Vec<Vec<u8>> = minutes.keys().map(|(s, _)| id(s.0).to_vec()).collect();
        let when: Vec<i64> = minutes.keys().map(|(_, minute)| *minute).collect();
        let yes: Vec<i64> = minutes.values().map(|(allowed, _)| signed(*allowed)).collect();
        let no: Vec<i64> = minutes.values().map(|(_, refused)| signed(*refused)).collect();
        self.with(|session| {
            session.batch("BEGIN")?;
            if !counters.is_empty() {
                session.execute(
                    PUT,
                    &[&sessions, &reserved, &allowed, &refused, &late, &uncertain, &me.as_slice()],
                )?;
            }
            if !records.is_empty() {
                session.execute(
                    RECORD,
                    &[&of, &at, &permissions, &resources, &reasons, &lates, &me.as_slice()],
                )?;
            }
            if !minutes.is_empty() {
                session.execute(ADD, &[&in_minutes, &when, &yes, &no, &me.as_slice()])?;
            }
            session.batch("COMMIT")
        })
    }

    pub fn stop(&mut self) -> Result<(), StoreError> {
        let me = id(self.node.0);
        self.with(|session| {
            session.execute("UPDATE stop SET clean = 1 WHERE node = $1", &[&me.as_slice()])?;
            Ok(())
        })
    }

    pub fn next_segment(&mut self) -> Result<Option<Segment>, StoreError> {
        let me = id(self.node.0);
        self.with(|session| {
            let open = session.query(
                "SELECT segment, records, digest FROM segment WHERE sealed = 0 AND node = $1 ORDER BY segment LIMIT 1",
                &[&me.as_slice()],
            )?;
            if let Some(row) = open.first() {
                return Ok(Some(Segment {
                    segment: row.try_get::<_, i64>(0)?.unsigned_abs(),
                    records: row.try_get::<_, i64>(1)?.unsigned_abs(),
                    digest: Digest32(hash(row, 2)?),
                }));
            }
            let rows = session.query(
                "SELECT COALESCE(MAX(last), 0) FROM segment WHERE node = $1",
                &[&me.as_slice()],
            )?;
            let after: i64 = rows.first().map_or(Ok(0), |r| r.try_get(0))?;
            let (last, records, digest) = digest(session, me, after, i64::MAX)?;
            if records == 0 {
                return Ok(None);
            }
            // Two nodes may want the same number: one of them tries again a minute later.
            let rows = session.query(
                "INSERT INTO segment (segment, node, last, records, digest, sealed) \
                 SELECT COALESCE(MAX(segment), 0) + 1, $1, $2, $3, $4, 0 FROM segment \
                 ON CONFLICT (segment) DO NOTHING RETURNING segment",
                &[&me.as_slice(), &last, &signed(records), &digest.0.as_slice()],
            )?;
            let made = rows.first().map(|r| r.try_get::<_, i64>(0)).transpose()?;
            Ok(made.map(|n| Segment { segment: n.unsigned_abs(), records, digest }))
        })
    }

    pub fn sealed(&mut self, segment: u64) -> Result<(), StoreError> {
        self.with(|session| {
            session
                .execute("UPDATE segment SET sealed = 1 WHERE segment = $1", &[&signed(segment)])?;
            Ok(())
        })
    }

    pub fn recompute(&mut self, segment: u64) -> Result<Option<Segment>, StoreError> {
        self.with(|session| {
            let found = session.query(
                "SELECT s.last, s.node, (SELECT COALESCE(MAX(b.last), 0) FROM segment b WHERE b.node = s.node AND b.segment < s.segment) \
                 FROM segment s WHERE s.segment = $1",
                &[&signed(segment)],
            )?;
            let Some(row) = found.first() else {
                return Ok(None);
            };
            let (last, before) = (row.try_get(0)?, row.try_get(2)?);
            let (_, records, digest) = digest(session, id(big(row, 1)?), before, last)?;
            Ok(Some(Segment { segment, records, digest }))
        })
    }
}

/// SHA-256 over a node's records after `after` up to `last`, as `calls.rs` defines it.
fn digest(
    session: &mut Session,
    node: [u8; 16],
    after: i64,
    last: i64,
) -> Result<(i64, u64, Digest32), StoreError> {
    let rows = session.query(
        "SELECT id, session, at, permission, resource, reason, late FROM call \
         WHERE node = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4",
        &[&node.as_slice(), &after, &last, &signed(SEGMENT)],
    )?;
    let (mut end, mut hash) = (after, SegmentHash::new());
    for r in &rows {
        end = r.try_get(0)?;
        let texts = [r.try_get(3)?, r.try_get(4)?, r.try_get(5)?];
        hash.add(r.try_get(1)?, r.try_get(2)?, texts, r.try_get::<_, i64>(6)? != 0);
    }
    let (records, digest) = hash.end();
    Ok((end, records, digest))
}
