//! A whole installation from one place to another, on whichever engines: backup, restore, move.
//!
//! One list says what there is to copy. The source is read in one consistent look (the books of
//! calls, which have a file of their own, after the log, so that no call of a session in it is
//! missing); every leaf and the root are recomputed on the way, and a source that does not add up
//! is not copied. Either everything arrives or nothing does.

use ::postgres::binary_copy::BinaryCopyInWriter;
use ::postgres::fallible_iterator::FallibleIterator as _;
use ::postgres::types::{ToSql, Type};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::lease::NodeId;
use crate::log::{Head, Place, StoreError};
use crate::merkle::{Edge, Hash};
use crate::postgres::{SCHEMA, Server, Session, Wants, version};
use crate::sqlite::{Log, head, lock_beside, open_read_only, signed};
use crate::{Calls, codec, leaf};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Bytes,
}
use Kind::{Bytes, Number, Text};

struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Kind)],
    key: &'static str,
    /// A book of calls: on PostgreSQL each row says which node wrote it.
    book: bool,
    /// What is read where several nodes wrote about the same.
    together: Option<&'static str>,
}

const fn table(
    name: &'static str,
    key: &'static str,
    columns: &'static [(&'static str, Kind)],
) -> Table {
    Table { name, columns, key, book: false, together: None }
}

/// Everything but the head, `stop`, and what only a running node needs (leases).
const TABLES: &[Table] = &[
    table(
        "log",
        "seq",
        &[("seq", Number), ("at", Number), ("header", Text), ("parts", Bytes), ("leaf", Bytes)],
    ),
    table(
        "word",
        "seq, ix",
        &[
            ("seq", Number),
            ("ix", Number),
            ("about", Text),
            ("event", Number),
            ("salt", Bytes),
            ("text", Text),
            ("also", Text),
        ],
    ),
    table(
        "checkpoint",
        "size",
        &[("size", Number), ("at", Number), ("edge", Bytes), ("note", Text)],
    ),
    table("audit_index", "organisation, seq", &[("organisation", Bytes), ("seq", Number)]),
    table("credential", "person", &[("person", Bytes), ("hash", Text)]),
    table("factor", "person, factor", &[("person", Bytes), ("factor", Bytes), ("sealed", Bytes)]),
    table("customer_id", "organisation", &[("organisation", Bytes), ("sealed", Bytes)]),
    table("partner_id", "party", &[("party", Bytes), ("sealed", Bytes)]),
    table("signing_key", "kid", &[("kid", Bytes), ("sealed", Bytes)]),
    table(
        "recipient_secret",
        "recipient, digest",
        &[("recipient", Bytes), ("digest", Bytes), ("sealed", Bytes)],
    ),
    table(
        "outbox",
        "recipient, seq, ix",
        &[
            ("recipient", Bytes),
            ("seq", Number),
            ("ix", Number),
            ("kind", Text),
            ("at", Number),
            ("queued", Number),
            ("status", Number),
            ("attempts", Number),
            ("due", Number),
            ("code", Number),
            ("problem", Text),
            ("done", Number),
        ],
    ),
    table(
        "farewell",
        "recipient, seq",
        &[
            ("recipient", Bytes),
            ("seq", Number),
            ("owner", Bytes),
            ("kind", Text),
            ("url", Text),
            ("digest", Bytes),
            ("sealed", Bytes),
            ("old_digest", Bytes),
            ("old_sealed", Bytes),
            ("at", Number),
            ("attempts", Number),
            ("due", Number),
        ],
    ),
    table("recipient_failing", "recipient", &[("recipient", Bytes), ("since", Number)]),
    table(
        "notice",
        "organisation, seq, ix",
        &[
            ("organisation", Bytes),
            ("seq", Number),
            ("ix", Number),
            ("kind", Text),
            ("side", Text),
            ("at", Number),
            ("request", Bytes),
            ("grant_id", Bytes),
            ("session", Bytes),
            ("person", Bytes),
            ("other", Bytes),
            ("ends", Number),
            ("count", Number),
            ("mail", Number),
            ("invitation", Bytes),
        ],
    ),
    table(
        "notice_read",
        "organisation, person",
        &[("organisation", Bytes), ("person", Bytes), ("upto", Number)],
    ),
    table(
        "notice_seen",
        "organisation, person, seq, ix",
        &[("organisation", Bytes), ("person", Bytes), ("seq", Number), ("ix", Number)],
    ),
    table(
        "mail",
        "organisation, seq, ix, person",
        &[
            ("organisation", Bytes),
            ("seq", Number),
            ("ix", Number),
            ("person", Bytes),
            ("queued", Number),
            ("status", Number),
            ("attempts", Number),
            ("due", Number),
            ("code", Number),
            ("problem", Text),
            ("done", Number),
        ],
    ),
    table(
        "mail_cursor",
        "id",
        &[("id", Number), ("seq", Number), ("organisation", Bytes), ("ix", Number)],
    ),
    table(
        "session_history",
        "session",
        &[
            ("session", Bytes),
            ("grant_id", Bytes),
            ("customer", Bytes),
            ("provider", Bytes),
            ("person", Bytes),
            ("mode", Text),
            ("started", Number),
            ("deadline", Number),
            ("ended", Number),
            ("cause", Text),
            ("seq", Number),
            ("name_ix", Number),
            ("email_ix", Number),
            ("reason_ix", Number),
        ],
    ),
    // They point at rows of the same look, so they answer for nothing that was not copied.
    table(
        "command",
        "principal, key_hash",
        &[
            ("key_hash", Bytes),
            ("principal", Text),
            ("route", Text),
            ("body_hash", Bytes),
            ("seq", Number),
            ("at", Number),
        ],
    ),
    Table {
        name: "counter",
        columns: &[
            ("session", Bytes),
            ("reserved", Number),
            ("allowed", Number),
            ("refused", Number),
            ("late", Number),
            ("uncertain", Number),
        ],
        key: "session",
        book: true,
        together: Some(
            "SELECT session, SUM(reserved)::bigint, SUM(allowed)::bigint, SUM(refused)::bigint, SUM(late)::bigint, \
             SUM(uncertain)::bigint FROM counter GROUP BY session ORDER BY session",
        ),
    },
    Table {
        name: "call",
        columns: &[
            ("id", Number),
            ("session", Bytes),
            ("at", Number),
            ("permission", Text),
            ("resource", Text),
            ("reason", Text),
            ("late", Number),
        ],
        key: "id",
        book: true,
        together: None,
    },
    Table {
        name: "call_minute",
        columns: &[
            ("session", Bytes),
            ("minute", Number),
            ("allowed", Number),
            ("refused", Number),
        ],
        key: "session, minute",
        book: true,
        together: Some(
            "SELECT session, minute, SUM(allowed)::bigint, SUM(refused)::bigint FROM call_minute \
             GROUP BY session, minute ORDER BY session, minute",
        ),
    },
    Table {
        name: "segment",
        columns: &[
            ("segment", Number),
            ("last", Number),
            ("records", Number),
            ("digest", Bytes),
            ("sealed", Number),
        ],
        key: "segment",
        book: true,
        together: None,
    },
];

impl Table {
    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    fn all(&self) -> String {
        format!("SELECT {} FROM {} ORDER BY {}", self.names(), self.name, self.key)
    }
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Where the log stood.
    pub head: Head,
    /// Whether the process that wrote the source had closed its books.
    pub was_clean: bool,
    /// Rows in all tables together.
    pub rows: u64,
    /// How many nodes had counted calls. Each seals its own: from the books of several, put
    /// together, the digest of a segment cannot be recomputed any more.
    pub nodes: u64,
}

fn place_error(why: &str) -> StoreError {
    StoreError::Place(why.into())
}

type Put<'a> = &'a mut dyn FnMut(Vec<Value>) -> Result<(), StoreError>;

#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Source {
    Sqlite { log: Connection, calls: Option<Connection>, _lock: Option<std::fs::File> },
    Postgres(Box<Session>),
}

impl Source {
    fn open(place: &Place, alone: bool) -> Result<Self, StoreError> {
        match place {
            Place::Folder(folder) => {
                let (log, calls) = (Place::log_file(folder), Place::calls_file(folder));
                let lock = if alone { Some(lock_beside(&log)?) } else { None };
                let log = open_read_only(&log)?;
                // The look begins with the first thing read: the log before the books.
                log.execute_batch("BEGIN; SELECT seq FROM head")?;
                let calls = calls.exists().then(|| open_read_only(&calls)).transpose()?;
                calls.iter().try_for_each(|c| c.execute_batch("BEGIN; SELECT clean FROM stop"))?;
                Ok(Self::Sqlite { log, calls, _lock: lock })
            }
            Place::Postgres(server, _) => {
                let wants = if alone { Wants::Migrating } else { Wants::Reading };
                let mut session = Session::open(server, wants)?;
                fits(server, &mut session)?;
                session.batch(if alone {
                    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM head WHERE id = 1 FOR UPDATE"
                } else {
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1 FROM head"
                })?;
                Ok(Self::Postgres(Box::new(session)))
            }
        }
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        match self {
            Self::Sqlite { log, .. } => head(log),
            Self::Postgres(session) => crate::postgres::read::head(session),
        }
    }

    fn was_clean(&mut self) -> Result<bool, StoreError> {
        let ask = "SELECT COALESCE(MIN(clean), 1) FROM stop";
        Ok(match self {
            Self::Sqlite { calls: None, .. } => true,
            Self::Sqlite { calls: Some(calls), .. } => {
                calls.query_row(ask, [], |r| r.get::<_, i64>(0))? != 0
            }
            Self::Postgres(session) => {
                session.raw()?.query_one(ask, &[])?.try_get::<_, i64>(0)? != 0
            }
        })
    }

    /// How many nodes have sealed calls of theirs.
    fn nodes(&mut self) -> Result<u64, StoreError> {
        let Self::Postgres(session) = self else {
            return Ok(1);
        };
        let ask = "SELECT COUNT(DISTINCT node) FROM segment";
        Ok(session.raw()?.query_one(ask, &[])?.try_get::<_, i64>(0)?.unsigned_abs())
    }

    fn rows(&mut self, table: &Table, put: Put<'_>) -> Result<(), StoreError> {
        match self {
            Self::Sqlite { log, calls, .. } => {
                let Some(of) = (if table.book { calls.as_ref() } else { Some(&*log) }) else {
                    return Ok(());
                };
                let mut ask = of.prepare(&table.all())?;
                let mut rows = ask.query([])?;
                while let Some(row) = rows.next()? {
                    let values = (0..table.columns.len()).map(|ix| row.get(ix));
                    put(values.collect::<Result<_, _>>()?)?;
                }
                Ok(())
            }
            Self::Postgres(session) => {
                let sql = table.together.map_or_else(|| table.all(), str::to_owned);
                let none: [&(dyn ToSql + Sync); 0] = [];
                let mut rows = session.raw()?.query_raw(&sql, none)?;
                while let Some(row) = rows.next()? {
                    let values = table.columns.iter().enumerate().map(|(ix, (_, kind))| {
                        Ok::<_, StoreError>(
                            match kind {
                                Number => row.try_get::<_, Option<i64>>(ix)?.map(Value::Integer),
                                Text => row.try_get::<_, Option<String>>(ix)?.map(Value::Text),
                                Bytes => row.try_get::<_, Option<Vec<u8>>>(ix)?.map(Value::Blob),
                            }
                            .unwrap_or(Value::Null),
                        )
                    });
                    put(values.collect::<Result<_, _>>()?)?;
                }
                Ok(())
            }
        }
    }
}

enum Target<'a> {
    Sqlite(rusqlite::Transaction<'a>, rusqlite::Transaction<'a>),
    Postgres(::postgres::Transaction<'a>, NodeId),
}

impl Target<'_> {
    fn fill(
        &mut self,
        table: &Table,
        rows: &mut dyn FnMut(Put<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(log, calls) => {
                let to = if table.book { &*calls } else { &*log };
                let marks = vec!["?"; table.columns.len()].join(", ");
                let sql =
                    format!("INSERT INTO {} ({}) VALUES ({marks})", table.name, table.names());
                let mut insert = to.prepare(&sql)?;
                rows(&mut |values| {
                    insert.execute(rusqlite::params_from_iter(values))?;
                    Ok(())
                })
            }
            Self::Postgres(tx, node) => {
                let node = table.book.then(|| node.0.to_be_bytes().to_vec());
                let mut names = table.names();
                let mut types: Vec<Type> = table.columns.iter().map(|(_, k)| k.of()).collect();
                if node.is_some() {
                    names.push_str(", node");
                    types.push(Type::BYTEA);
                }
                let copy = format!("COPY {} ({names}) FROM STDIN BINARY", table.name);
                let mut writer = BinaryCopyInWriter::new(tx.copy_in(&copy)?, &types);
                rows(&mut |values| {
                    let mut bound: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(types.len());
                    for (value, (_, kind)) in values.iter().zip(table.columns) {
                        bound.push(kind.bound(value)?);
                    }
                    bound.extend(node.iter().map(|n| n as &(dyn ToSql + Sync)));
                    Ok(writer.write(&bound)?)
                })?;
                writer.finish()?;
                Ok(())
            }
        }
    }

    fn finish(self, head: &Head, was_clean: bool) -> Result<(), StoreError> {
        let (seq, fork, edge) = (signed(head.seq), signed(head.fork), head.edge.to_bytes());
        let clean = i64::from(was_clean);
        match self {
            Self::Sqlite(log, calls) => {
                log.execute(
                    "UPDATE head SET seq = ?1, root = ?2, edge = ?3, fork = ?4 WHERE id = 1",
                    rusqlite::params![seq, head.root, edge, fork],
                )?;
                calls.execute("UPDATE stop SET clean = ?1 WHERE id = 1", [clean])?;
                // The books first: a log without its books would count from nought.
                calls.commit()?;
                Ok(log.commit()?)
            }
            Self::Postgres(mut tx, node) => {
                tx.execute(
                    "UPDATE head SET seq = $1, root = $2, edge = $3, fork = $4 WHERE id = 1",
                    &[&seq, &head.root.as_slice(), &edge, &fork],
                )?;
                tx.execute(
                    "INSERT INTO stop (node, clean) VALUES ($1, $2)",
                    &[&node.0.to_be_bytes().as_slice(), &clean],
                )?;
                tx.execute(
                    "SELECT setval('call_id_seq', GREATEST((SELECT MAX(id) FROM call), 1))",
                    &[],
                )?;
                Ok(tx.commit()?)
            }
        }
    }
}

static NO_NUMBER: Option<i64> = None;
static NO_TEXT: Option<&str> = None;
static NO_BYTES: Option<&[u8]> = None;

impl Kind {
    fn of(self) -> Type {
        match self {
            Number => Type::INT8,
            Text => Type::TEXT,
            Bytes => Type::BYTEA,
        }
    }

    fn bound(self, value: &Value) -> Result<&(dyn ToSql + Sync), StoreError> {
        Ok(match (self, value) {
            (Number, Value::Integer(number)) => number,
            (Text, Value::Text(text)) => text,
            (Bytes, Value::Blob(bytes)) => bytes,
            (Number, Value::Null) => &NO_NUMBER,
            (Text, Value::Null) => &NO_TEXT,
            (Bytes, Value::Null) => &NO_BYTES,
            _ => return Err(place_error("a column holds what is not of its kind")),
        })
    }
}

/// Copies everything from one place to another, whose log must be empty. With `alone` the source
/// may have no server; without, it may go on meanwhile. Roots and answers are the same afterwards.
///
/// # Errors
/// If the source does not add up, the target is not empty, or either cannot be used; the target
/// holds no row then.
pub fn copy(from: &Place, to: &Place, alone: bool) -> Result<Copied, StoreError> {
    carry(from, to, alone, false)
}

/// The same from a backup, to go on from. As long as no row has raised the fork, no start on the
/// copy says yes: that it is the past is noted in it ([`Head::is_restoring`]).
///
/// # Errors
/// As [`copy`].
pub fn copy_to_restore(from: &Place, to: &Place) -> Result<Copied, StoreError> {
    carry(from, to, false, true)
}

fn carry(from: &Place, to: &Place, alone: bool, restoring: bool) -> Result<Copied, StoreError> {
    let mut source = Source::open(from, alone)?;
    match to {
        Place::Folder(folder) => {
            let (log_file, calls_file) = (Place::log_file(folder), Place::calls_file(folder));
            let held = Log::open(&log_file)?;
            empty(&held.head()?)?; // before the books: opening them says that they are in use
            let calls = Calls::open(&calls_file)?;
            let (mut log, mut books) =
                (Connection::open(&log_file)?, Connection::open(&calls_file)?);
            for c in [&log, &books] {
                c.pragma_update(None, "synchronous", "FULL")?;
                c.pragma_update(None, "secure_delete", "ON")?;
            }
            let target = Target::Sqlite(log.transaction()?, books.transaction()?);
            let copied = all(&mut source, target, restoring)?;
            drop((held, calls));
            for c in [&log, &books] {
                // One file each that can be carried away.
                c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            }
            Ok(copied)
        }
        Place::Postgres(server, node) => {
            let mut session = Session::open(server, Wants::Migrating)?;
            fits(server, &mut session)?;
            let mut tx = session.raw()?.transaction()?;
            let may = tx.query_one(
                "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = 'call_id_seq'::regclass",
                &[],
            )?;
            if !may.try_get::<_, bool>(0)? {
                return Err(place_error("copying into it needs the role that owns the schema"));
            }
            let row = tx.query_one("SELECT seq FROM head WHERE id = 1 FOR UPDATE", &[])?;
            if row.try_get::<_, i64>(0)? != 0 {
                return Err(place_error("the target has a log; name an empty database"));
            }
            let copied = all(&mut source, Target::Postgres(tx, *node), restoring)?;
            session.warned()?;
            Ok(copied)
        }
    }
}

/// A database is copied from and to only under the schema of this release.
fn fits(server: &Server, session: &mut Session) -> Result<(), StoreError> {
    let (found, known) = (version(session)?, SCHEMA);
    if found == known {
        return Ok(());
    }
    let shown = server.shown();
    Err(StoreError::Place(format!(
        "{shown}: the schema is {found} and has to be {known}; run comity migrate"
    )))
}

fn empty(head: &Head) -> Result<(), StoreError> {
    if head.seq == 0 { Ok(()) } else { Err(place_error("the target has a log; name an empty one")) }
}

fn all(source: &mut Source, mut target: Target<'_>, restoring: bool) -> Result<Copied, StoreError> {
    let (head, was_clean, nodes) = (source.head()?, source.was_clean()?, source.nodes()?);
    let (mut edge, mut count) = (Edge::new(), 0u64);
    for table in TABLES {
        target.fill(table, &mut |put| {
            source.rows(table, &mut |values| {
                count += 1;
                if table.name == "log" {
                    edge.push(checked(&values, edge.size() + 1)?);
                }
                put(values)
            })
        })?;
    }
    if edge.size() != head.seq || edge.root() != head.root || edge != head.edge {
        let what = "the head is not that of the rows; nothing was copied";
        return Err(StoreError::Corrupt { seq: head.seq, what });
    }
    let head = if restoring { head.restoring() } else { head };
    target.finish(&head, was_clean)?;
    Ok(Copied { head, was_clean, rows: count, nodes })
}

/// The leaf of a row of the log, recomputed.
fn checked(values: &[Value], seq: u64) -> Result<Hash, StoreError> {
    let wrong = |what| StoreError::Corrupt { seq, what };
    let [Value::Integer(at), _, Value::Text(header), Value::Blob(parts), Value::Blob(stored)] =
        values
    else {
        return Err(wrong("is not of the log's shape"));
    };
    if *at != signed(seq) {
        return Err(wrong("is missing; nothing was copied"));
    }
    let parts = codec::unpack(parts).ok_or(wrong("the parts cannot be read"))?;
    let computed = leaf::leaf_hash(header.as_bytes(), &parts);
    if computed.as_slice() == stored.as_slice() {
        Ok(computed)
    } else {
        Err(wrong("the leaf is not that of its header and parts; nothing was copied"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table or column that a migration adds and the list does not know would be lost.
    #[test]
    fn everything_that_the_schema_has_is_in_the_list() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Folder(folder.path().into());
        drop((Log::open(&Place::log_file(folder.path())), Calls::at(&place)));
        let mut there = Vec::new();
        for file in [Place::log_file(folder.path()), Place::calls_file(folder.path())] {
            let c = open_read_only(&file).unwrap();
            let mut ask = c
                .prepare(
                    "SELECT m.name || '.' || i.name FROM sqlite_master m JOIN pragma_table_info(m.name) i \
                     WHERE m.type = 'table' AND m.name NOT IN ('head', 'stop') AND m.name NOT LIKE 'sqlite_%'",
                )
                .unwrap();
            let names = ask.query_map([], |r| r.get::<_, String>(0)).unwrap();
            there.extend(names.map(Result::unwrap));
        }
        let mut listed: Vec<String> = TABLES
            .iter()
            .flat_map(|t| t.columns.iter().map(|(column, _)| format!("{}.{column}", t.name)))
            .collect();
        there.sort();
        listed.sort();
        assert_eq!(there, listed);
    }
}
