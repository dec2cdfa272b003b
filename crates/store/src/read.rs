//! Reading beside the writer: a small pool of read-only connections.
//!
//! For what is not in memory: history, stored rows, secrets that hang on the log. Every question
//! takes the asking organisation first.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use comity_domain::event::Row;
use comity_domain::ids::{Digest32, GrantId, OrganisationId, PersonId, SessionId};
use comity_domain::organisation::Party;
use comity_domain::role::Mode;
use comity_domain::session::SessionStatus;
use comity_domain::text::{About, Reference, Word};
use comity_domain::time::Instant;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::again::{self, Key, Remembered};
use crate::codec::{self, Stored};
use crate::log::{Head, Place, StoreError};
use crate::merkle::{Edge, Hash};
use crate::postgres::{Pool, Server, read as pg};
use crate::sqlite::{head, holder, id, open_read_only, scan, signed, subject_of};
use crate::words;

/// How many connections are kept open.
const KEPT: usize = 4;

/// The pool. Blocking: never to be called on an async thread.
#[derive(Debug)]
pub struct Reader(Engine);

#[derive(Debug)]
pub(crate) enum Engine {
    Sqlite(Files),
    Postgres(Pool),
}

#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Files {
    pub(crate) fn with<T>(
        &self,
        ask: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().map(|mut idle| idle.pop()).unwrap_or_default();
        let connection = idle.map_or_else(|| open_read_only(&self.path), Ok)?;
        let answer = ask(&connection);
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < KEPT
        {
            idle.push(connection);
        }
        answer
    }
}

/// On which side the asking organisation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistorySide {
    /// Sessions in its own tenant.
    Customer,
    /// Sessions of its own people elsewhere.
    Provider,
}

/// What part of the history is wanted.
#[derive(Debug, Clone)]
pub struct HistoryQuery {
    /// On which side.
    pub side: HistorySide,
    /// Only this partner or customer.
    pub other: Option<OrganisationId>,
    /// Only this person.
    pub person: Option<PersonId>,
    /// Only what started at or after this.
    pub since: Option<Instant>,
    /// Only what started before this.
    pub until: Option<Instant>,
    /// Only those in this mode.
    pub mode: Option<Mode>,
    /// Only those with this status at that instant.
    pub status: Option<(SessionStatus, Instant)>,
    /// What is still shown: what started at or after this, and of these grants whatever there is.
    pub kept: (Instant, Vec<GrantId>),
    /// Continue after this session, newest first.
    pub after: Option<(Instant, SessionId)>,
    /// At most so many.
    pub limit: usize,
}

impl HistoryQuery {
    /// The status as it is bound: its number in the condition, and the instant.
    pub(crate) fn bound_status(&self) -> (i64, i64) {
        match self.status {
            None => (0, 0),
            Some((SessionStatus::Active, at)) => (1, at.0),
            Some((SessionStatus::Expired, at)) => (2, at.0),
            Some((SessionStatus::Ended, at)) => (3, at.0),
        }
    }

    /// The grants of which everything is shown, as a JSON list of hexadecimal texts.
    pub(crate) fn kept_grants(&self) -> String {
        let hex: Vec<String> = self.kept.1.iter().map(|g| format!("\"{:032x}\"", g.0)).collect();
        format!("[{}]", hex.join(","))
    }
}

/// One session of the history, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the words of `session.rs`
pub struct HistoryRow {
    pub session: SessionId,
    pub grant: GrantId,
    pub customer: OrganisationId,
    pub provider: OrganisationId,
    pub person: PersonId,
    pub mode: String,
    pub started: Instant,
    pub deadline: Instant,
    pub ended: Option<Instant>,
    pub cause: Option<String>,
    /// Name and address at that time, and why; `None` where erased or not given.
    pub name: Option<String>,
    pub email: Option<String>,
    pub reason: Option<String>,
}

/// Where the log stands, and how reading its rows ended.
pub(crate) type Looked = (Result<Head, StoreError>, Result<(), StoreError>);

/// A page of the history.
pub type HistoryPage = Vec<HistoryRow>;

impl Reader {
    /// A pool over the SQLite file at `path`, which must exist.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(Engine::Sqlite(Files { path: path.to_path_buf(), idle: Mutex::new(Vec::new()) }))
    }

    /// A pool of connections to a PostgreSQL database.
    #[must_use]
    pub fn connect(server: &Server) -> Self {
        Self(Engine::Postgres(Pool::new(server.clone())))
    }

    /// A pool over the log of a place.
    #[must_use]
    pub fn at(place: &Place) -> Self {
        match place {
            Place::Folder(folder) => Self::new(&Place::log_file(folder)),
            Place::Postgres(server, _) => Self::connect(server),
        }
    }

    /// Where the log stands.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn head(&self) -> Result<Head, StoreError> {
        match &self.0 {
            Engine::Sqlite(files) => files.with(head),
            Engine::Postgres(pool) => pool.with(pg::head),
        }
    }

    /// One consistent look at the log: where it stands, and every stored row after `after` with
    /// its words, in order. A writer may go on meanwhile.
    ///
    /// # Errors
    /// If it cannot be read, or the first that `each` returns.
    pub fn scan(
        &self,
        after: u64,
        each: impl FnMut(Stored, Vec<(u32, Word)>) -> Result<(), StoreError>,
    ) -> Result<Head, StoreError> {
        let (head, walked) = self.look(after, each)?;
        walked?;
        head
    }

    /// The same for whoever verifies: a head that cannot be read is no reason not to read the rows.
    pub(crate) fn look(
        &self,
        after: u64,
        each: impl FnMut(Stored, Vec<(u32, Word)>) -> Result<(), StoreError>,
    ) -> Result<Looked, StoreError> {
        match &self.0 {
            Engine::Sqlite(files) => {
                let connection = open_read_only(&files.path)?;
                connection.execute_batch("BEGIN")?;
                let stands = head(&connection);
                Ok((stands, scan(&connection, after, u64::MAX, each)))
            }
            Engine::Postgres(pool) => pool.with(|c| pg::look(c, after, each)),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0
    }

    /// The root over the first `size` rows, starting from an edge that is known already;
    /// [`Edge::new`] is the one before the first row. `None` if the log has not so many rows.
    ///
    /// Takes the stored leaves at their word: [`crate::verify()`] recomputes them.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn root_at(&self, edge: Edge, size: u64) -> Result<Option<Hash>, StoreError> {
        let mut edge = edge;
        match self.leaves(edge.size(), size, |leaf| edge.push(leaf)) {
            Ok(()) => Ok((edge.size() == size).then(|| edge.root())),
            Err(StoreError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The words at `wanted`, which is in the order of their places: each with whom it is about and
    /// its text. Those that were erased are left out.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn words(
        &self,
        wanted: &[Reference],
    ) -> Result<Vec<(Reference, About, Arc<str>)>, StoreError> {
        match &self.0 {
            Engine::Sqlite(files) => files.with(|c| words::sqlite(c, wanted)),
            Engine::Postgres(pool) => pool.with(|c| words::postgres(c, wanted)),
        }
    }

    /// A person's password hash.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn credential(&self, person: PersonId) -> Result<Option<String>, StoreError> {
        let files = match &self.0 {
            Engine::Sqlite(files) => files,
            Engine::Postgres(pool) => return pool.with(|c| pg::credential(c, person)),
        };
        files.with(|c| {
            let mut ask = c.prepare_cached("SELECT hash FROM credential WHERE person = ?1")?;
            Ok(ask.query_row([id(person.0)], |r| r.get(0)).optional()?)
        })
    }

    /// What a factor of a person is checked with, sealed.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn factor(
        &self,
        person: PersonId,
        factor: Digest32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let files = match &self.0 {
            Engine::Sqlite(files) => files,
            Engine::Postgres(pool) => return pool.with(|c| pg::factor(c, person, factor)),
        };
        files.with(|c| {
            let sql = "SELECT sealed FROM factor WHERE person = ?1 AND factor = ?2";
            let mut ask = c.prepare_cached(sql)?;
            let asked = rusqlite::params![id(person.0), factor.0];
            Ok(ask.query_row(asked, |r| r.get(0)).optional()?)
        })
    }

    /// An organisation's sealed customer ID.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn customer_id(&self, organisation: OrganisationId) -> Result<Option<Vec<u8>>, StoreError> {
        let files = match &self.0 {
            Engine::Sqlite(files) => files,
            Engine::Postgres(pool) => return pool.with(|c| pg::customer_id(c, organisation)),
        };
        files.with(|c| {
            let mut ask =
                c.prepare_cached("SELECT sealed FROM customer_id WHERE organisation = ?1")?;
            Ok(ask.query_row([id(organisation.0)], |r| r.get(0)).optional()?)
        })
    }

    /// A party's sealed partner ID; `None` until one is made.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn partner_id(&self, party: Party) -> Result<Option<Vec<u8>>, StoreError> {
        let files = match &self.0 {
            Engine::Sqlite(files) => files,
            Engine::Postgres(pool) => return pool.with(|c| pg::partner_id(c, party)),
        };
        files.with(|c| {
            let mut ask = c.prepare_cached("SELECT sealed FROM partner_id WHERE party = ?1")?;
            Ok(ask.query_row([id(holder(party))], |r| r.get(0)).optional()?)
        })
    }

    /// The sealed private half of a signing key; `None` once it signs nothing more.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn signing_key(&self, kid: Digest32) -> Result<Option<Vec<u8>>, StoreError> {
        let files = match &self.0 {
            Engine::Sqlite(files) => files,
            Engine::Postgres(pool) => return pool.with(|c| pg::signing_key(c, kid)),
        };
        files.with(|c| {
            let mut ask = c.prepare_cached("SELECT sealed FROM signing_key WHERE kid = ?1")?;
            Ok(ask.query_row([kid.0], |r| r.get(0)).optional()?)
        })
    }

    /// What became of a command with a key, if it was used at or after `since`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn known(&self, key: &Key, since: Instant) -> Result<Option<Remembered>, StoreError> {
        let keys = std::slice::from_ref(key);
        let found = match &self.0 {
            Engine::Sqlite(files) => files.with(|c| again::sqlite(c, keys, since)),
            Engine::Postgres(pool) => pool.with(|c| again::postgres(c, keys, since)),
        };
        Ok(found?.remove(key))
    }

    /// Sessions of an organisation, newest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn history(
        &self,
        scope: OrganisationId,
        query: &HistoryQuery,
    ) -> Result<HistoryPage, StoreError> {
        let (own, other) = match query.side {
            HistorySide::Customer => ("customer", "provider"),
            HistorySide::Provider => ("provider", "customer"),
        };
        // Only the two words above are put into the text; every value is bound.
        let sql = format!(
            "SELECT h.session, h.grant_id, h.customer, h.provider, h.person, h.mode, h.started, h.deadline, h.ended, \
             h.cause, (SELECT text FROM word WHERE seq = h.seq AND ix = h.name_ix), \
             (SELECT text FROM word WHERE seq = h.seq AND ix = h.email_ix), \
             (SELECT text FROM word WHERE seq = h.seq AND ix = h.reason_ix) \
             FROM session_history h WHERE h.{own} = ?1 AND (?2 IS NULL OR h.{other} = ?2) \
             AND (?3 IS NULL OR h.person = ?3) AND h.started >= ?4 AND h.started < ?5 \
             AND (h.started, h.session) < (?6, ?7) AND (?9 IS NULL OR h.mode = ?9) \
             AND (h.started >= ?10 OR lower(hex(h.grant_id)) IN (SELECT value FROM json_each(?11))) \
             AND CASE ?12 WHEN 0 THEN TRUE \
             WHEN 1 THEN h.ended IS NULL AND h.deadline > ?13 \
             WHEN 2 THEN (h.ended IS NULL OR h.ended >= h.deadline) AND h.deadline <= ?13 \
             ELSE h.ended IS NOT NULL AND (h.ended < h.deadline OR h.deadline > ?13) END \
             ORDER BY h.started DESC, h.session DESC LIMIT ?8"
        );
        // The cases are those of `session::status`.
        let (status, at) = query.bound_status();
        let (after_at, after_id) =
            query.after.map_or((i64::MAX, id(u128::MAX)), |(at, s)| (at.0, id(s.0)));
        let files = match &self.0 {
            Engine::Sqlite(files) => files,
            Engine::Postgres(pool) => return pool.with(|c| pg::history(c, scope, query)),
        };
        files.with(|c| {
            let mut ask = c.prepare_cached(&sql)?;
            let rows = ask.query_map(
                params![
                    id(scope.0),
                    query.other.map(|o| id(o.0)),
                    query.person.map(|p| id(p.0)),
                    query.since.map_or(i64::MIN, |t| t.0),
                    query.until.map_or(i64::MAX, |t| t.0),
                    after_at,
                    after_id,
                    signed(query.limit as u64),
                    query.mode.map(Mode::code),
                    query.kept.0.0,
                    query.kept_grants(),
                    status,
                    at,
                ],
                history_row,
            )?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// One session of an organisation, whichever side it stands on.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn session(
        &self,
        scope: OrganisationId,
        session: SessionId,
    ) -> Result<Option<HistoryRow>, StoreError> {
        let files = match &self.0 {
            Engine::Sqlite(files) => files,
            Engine::Postgres(pool) => return pool.with(|c| pg::session(c, scope, session)),
        };
        files.with(|c| {
            let mut ask = c.prepare_cached(
                "SELECT h.session, h.grant_id, h.customer, h.provider, h.person, h.mode, h.started, h.deadline, h.ended, \
                 h.cause, (SELECT text FROM word WHERE seq = h.seq AND ix = h.name_ix), \
                 (SELECT text FROM word WHERE seq = h.seq AND ix = h.email_ix), \
                 (SELECT text FROM word WHERE seq = h.seq AND ix = h.reason_ix) \
                 FROM session_history h WHERE h.session = ?2 AND (h.customer = ?1 OR h.provider = ?1)",
            )?;
            Ok(ask.query_row(params![id(scope.0), id(session.0)], history_row).optional()?)
        })
    }

    /// Stored rows after a position: those with a part for `scope`, or all for the platform.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn rows(
        &self,
        scope: Option<OrganisationId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let files = match &self.0 {
            Engine::Sqlite(files) => files,
            Engine::Postgres(pool) => return pool.with(|c| pg::rows(c, scope, after, limit)),
        };
        files.with(|c| {
            let mut ask = c.prepare_cached(match scope {
                Some(_) => "SELECT l.seq, l.at, l.header, l.parts, l.leaf FROM audit_index a JOIN log l ON l.seq = a.seq WHERE a.organisation = ?1 AND a.seq > ?2 ORDER BY a.seq LIMIT ?3",
                None => "SELECT seq, at, header, parts, leaf FROM log WHERE ?1 IS NULL AND seq > ?2 ORDER BY seq LIMIT ?3",
            })?;
            let bound = params![scope.map(|s| id(s.0)), signed(after), signed(limit as u64)];
            let mut rows = ask.query(bound)?;
            let mut out = Vec::new();
            while let Some(row) = rows.next()? {
                let seq = row.get::<_, i64>(0)?.unsigned_abs();
                let parts = codec::unpack(row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?);
                let parts = parts.ok_or(StoreError::Corrupt { seq, what: "the parts cannot be read" })?;
                let stored = Stored { seq, at: Instant(row.get(1)?), header: row.get(2)?, parts, leaf: row.get(4)? };
                out.push(codec::decode(&stored, words_of(c, seq)?)?);
            }
            Ok(out)
        })
    }
}

fn words_of(c: &Connection, seq: u64) -> Result<Vec<(u32, Word)>, StoreError> {
    let mut ask = c.prepare_cached(
        "SELECT ix, about, event, salt, text, also FROM word WHERE seq = ?1 ORDER BY ix",
    )?;
    let mut rows = ask.query([signed(seq)])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let about = subject_of(&row.get::<_, String>(1)?, seq)?;
        let also = row.get::<_, Option<String>>(5)?.map(|a| subject_of(&a, seq)).transpose()?;
        let text: String = row.get(4)?;
        let (event, salt, text) = (row.get(2)?, row.get(3)?, Some(text.into()));
        out.push((row.get(0)?, Word { about, also, event, salt, text }));
    }
    Ok(out)
}

fn history_row(r: &rusqlite::Row<'_>) -> rusqlite::Result<HistoryRow> {
    let big = |ix: usize| r.get::<_, [u8; 16]>(ix).map(u128::from_be_bytes);
    Ok(HistoryRow {
        session: SessionId(big(0)?),
        grant: GrantId(big(1)?),
        customer: OrganisationId(big(2)?),
        provider: OrganisationId(big(3)?),
        person: PersonId(big(4)?),
        mode: r.get(5)?,
        started: Instant(r.get(6)?),
        deadline: Instant(r.get(7)?),
        ended: r.get::<_, Option<i64>>(8)?.map(Instant),
        cause: r.get(9)?,
        name: r.get(10)?,
        email: r.get(11)?,
        reason: r.get(12)?,
    })
}
