//! The log as the writer holds it, on whichever engine.
//!
//! The same small set of statements, each the natural way of its engine: `sqlite.rs` and
//! `postgres/`. What differs between them is said here, once.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::{CommandId, Ids};
use comity_domain::time::Instant;

use crate::again::{Key, Known};
use crate::codec::CodecError;
use crate::lease::{NodeId, Renewed};
use crate::merkle::{Edge, Hash};
use crate::postgres::{self, Server};
use crate::{again, codec, leaf, sqlite};

/// What is wrong with a store. Never a refusal: it means that something is broken.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says so.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL says so, or cannot be reached.
    #[error("database: {}", told(.0))]
    Postgres(#[from] ::postgres::Error),
    /// How the database was named, or what it is, does not allow to use it.
    #[error("database: {0}")]
    Place(String),
    /// A file cannot be opened, made or locked.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process writes to it.
    #[error("{0}: another Comity is running on this database; stop it first")]
    InUse(PathBuf),
    /// A row cannot be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The file holds something that this log never wrote.
    #[error("row {seq}: {what}")]
    Corrupt {
        /// Which row.
        seq: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The schema is of a newer release.
    #[error("{path}: schema {found} is newer than this release knows ({known})")]
    TooNew {
        /// Which database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
}

/// How an append failed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written.
    #[error("nothing was written: {0}")]
    NotWritten(StoreError),
    /// The commit was sent and no answer can be trusted: ask [`Store::settle`].
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(StoreError),
}

/// Where the log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The last row; 0 when empty.
    pub seq: u64,
    /// The Merkle root over all leaves.
    pub root: Hash,
    /// Raised by each restore.
    pub fork: u64,
    /// What the next leaf is added to.
    pub edge: Edge,
}

/// Stands in the fork of a copy as long as the restore that it is made for has not come to its end.
/// It travels with the database: whoever starts on it, from whichever folder, says no yes.
const RESTORING: u64 = 1 << 62;

impl Head {
    /// Whether this is a copy whose restore has not come to its end.
    #[must_use]
    pub fn is_restoring(&self) -> bool {
        self.fork & RESTORING != 0
    }

    /// The fork without that mark.
    #[must_use]
    pub fn true_fork(&self) -> u64 {
        self.fork & !RESTORING
    }

    pub(crate) fn restoring(self) -> Self {
        Self { fork: self.fork | RESTORING, ..self }
    }
}

/// What PostgreSQL said, with its code: the crate's own text only says that it said something.
fn told(error: &::postgres::Error) -> String {
    use std::error::Error as _;
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

/// Where an installation keeps its log and its books.
#[derive(Debug, Clone)]
pub enum Place {
    /// `comity.db` and `calls.db` in this folder.
    Folder(PathBuf),
    /// A PostgreSQL database, as the node of this identity.
    Postgres(Server, NodeId),
}

impl Place {
    /// The file of the log in a data folder.
    #[must_use]
    pub fn log_file(folder: &Path) -> PathBuf {
        folder.join("comity.db")
    }

    /// The file of call counters and records in a data folder.
    #[must_use]
    pub fn calls_file(folder: &Path) -> PathBuf {
        folder.join("calls.db")
    }
}

/// The writer's hold on the log.
#[derive(Debug)]
pub struct Store(Engine);

#[derive(Debug)]
enum Engine {
    Sqlite(Box<sqlite::Log>),
    Postgres(Box<postgres::Log>),
}

/// How many rows go from the reading thread to the applying one at a time.
const AHEAD: usize = 512;

impl Store {
    /// Opens the log of a place for writing. A file is made if it is not there; a PostgreSQL
    /// database has to be migrated before ([`postgres::migrate`]).
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has the file.
    pub fn at(place: &Place) -> Result<Self, StoreError> {
        match place {
            Place::Folder(folder) => Self::open(&Place::log_file(folder)),
            Place::Postgres(server, node) => {
                Ok(Self(Engine::Postgres(Box::new(postgres::Log::connect(server, *node)?))))
            }
        }
    }

    /// Opens the log in a SQLite file for writing, making it if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self(Engine::Sqlite(Box::new(sqlite::Log::open(path)?))))
    }

    /// Whether others write to this log too, so that being current has to be confirmed with it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Engine::Postgres(_))
    }

    /// Where the log stands, as the database says.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn head(&self) -> Result<Head, StoreError> {
        match &self.0 {
            Engine::Sqlite(log) => log.head(),
            Engine::Postgres(log) => log.head(),
        }
    }

    /// Takes the head for this writer alone, until [`Store::append`] or [`Store::release`]. A file
    /// is its writer's alone anyway. On PostgreSQL this waits at most two seconds.
    ///
    /// # Errors
    /// If it cannot be had; it is not held then.
    pub fn lock(&mut self) -> Result<Head, StoreError> {
        match &mut self.0 {
            Engine::Sqlite(log) => log.head(),
            Engine::Postgres(log) => log.lock(),
        }
    }

    /// Gives the head back without having written.
    pub fn release(&mut self) {
        if let Engine::Postgres(log) = &mut self.0 {
            log.release();
        }
    }

    /// Appends a batch: all rows with everything beside them, or nothing.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(
        &mut self,
        batch: &[(Row, Vec<SideWrite>)],
        salts: &mut Ids,
    ) -> Result<Head, AppendError> {
        match &mut self.0 {
            Engine::Sqlite(log) => log.append(batch, salts),
            Engine::Postgres(log) => log.append(batch, salts),
        }
    }

    /// Where the log stands after a commit of unknown outcome, once nothing can change that any
    /// more: on SQLite a write of our own takes its place; on PostgreSQL a new connection takes the
    /// head, which whoever is still committing holds, and gives it back.
    ///
    /// # Errors
    /// If it cannot be done: the outcome stays unknown.
    pub fn settle(&mut self) -> Result<Head, StoreError> {
        match &mut self.0 {
            Engine::Sqlite(log) => log.settle(),
            Engine::Postgres(log) => {
                log.reconnect()?;
                let head = log.lock()?;
                log.release();
                Ok(head)
            }
        }
    }

    /// Whether a command was written, and where: settles an unknown outcome.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn find_command(&self, seq: u64, command: CommandId) -> Result<bool, StoreError> {
        match &self.0 {
            Engine::Sqlite(log) => log.find_command(seq, command),
            Engine::Postgres(log) => log.find_command(seq, command),
        }
    }

    /// Which of these keys were used at or after `since`, and what became of their commands. To be
    /// asked with the head in hand: then nobody else can use one meanwhile.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn known(&self, keys: &[Key], since: Instant) -> Result<Known, StoreError> {
        match &self.0 {
            Engine::Sqlite(log) => again::sqlite(&log.connection, keys, since),
            Engine::Postgres(log) => log.known(keys, since),
        }
    }

    /// Clears away keys that were used before `before`, at most `most`; says how many. Takes neither
    /// the head nor much time.
    ///
    /// # Errors
    /// If they cannot be deleted.
    pub fn forget(&mut self, before: Instant, most: usize) -> Result<usize, StoreError> {
        match &mut self.0 {
            Engine::Sqlite(log) => again::forget_sqlite(&log.connection, before, most),
            Engine::Postgres(log) => log.forget(before, most),
        }
    }

    /// One row of the log, as far as it is there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn row(&mut self, seq: u64) -> Result<Option<Row>, StoreError> {
        let mut found = None;
        let mut each = |stored: codec::Stored, words| {
            found = Some(codec::decode(&stored, words)?);
            Ok(())
        };
        match &mut self.0 {
            Engine::Sqlite(log) => log.read_between(seq.saturating_sub(1), seq, &mut each)?,
            Engine::Postgres(log) => log.read_between(seq.saturating_sub(1), seq, &mut each)?,
        }
        Ok(found)
    }

    /// Whether the connection is gone, so that nothing was done on it and another is worth a try.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(_) => false,
            Engine::Postgres(log) => log.is_lost(),
        }
    }

    /// Forgets a connection that nothing can be believed of any more and makes a new one. A file
    /// has none, but settles as [`Store::settle`] does.
    ///
    /// # Errors
    /// If there is none to be had.
    pub fn reconnect(&mut self) -> Result<(), StoreError> {
        match &mut self.0 {
            // A file has no connection to lose, but may hold a commit that was rolled back here and
            // that a crash would bring back.
            Engine::Sqlite(log) => log.settle().map(drop),
            Engine::Postgres(log) => log.reconnect(),
        }
    }

    /// To be called after the commit of an erasure, until it says yes; `meanwhile` is called while it
    /// works. Makes sure that no copy of
    /// what was deleted stays where this process can reach it. No is the answer as long as somebody
    /// reads an older state of a file. On PostgreSQL deleted rows lie in the table until the server
    /// has vacuumed it, which is its owner's affair (`docs/guide/operating.md`).
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn after_erasure(&mut self, meanwhile: &dyn Fn()) -> Result<bool, StoreError> {
        match &mut self.0 {
            Engine::Sqlite(log) => log.after_erasure(meanwhile),
            Engine::Postgres(_) => Ok(true),
        }
    }

    /// Confirms by a replicated write that this node is current (N2 of the lease protocol), saying
    /// what it has applied. A file is its writer's alone: what the writer has is what there is.
    ///
    /// # Errors
    /// If it cannot be confirmed; nothing may be concluded then.
    pub fn renew(&mut self, applied: u64) -> Result<Renewed, StoreError> {
        match &mut self.0 {
            Engine::Sqlite(log) => Ok(Renewed { head: Some(log.head()?), wall: None }),
            Engine::Postgres(log) => log.renew(applied),
        }
    }

    /// Says farewell: nobody has to wait for this node any more. Only for one that says no more yes.
    ///
    /// # Errors
    /// If it cannot be written: others wait until the lease has run out.
    pub fn leave(&mut self) -> Result<(), StoreError> {
        match &mut self.0 {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(log) => log.leave(),
        }
    }

    /// What a build that renews by reading would do: for the tests that must find it out.
    #[doc(hidden)]
    pub fn renew_by_reading(&self) -> Result<Renewed, StoreError> {
        Ok(Renewed { head: Some(self.head()?), wall: None })
    }

    /// Reads on from `edge`, the edge of the tree at the last row that is known, up to the row
    /// `to`: every row is checked against the tree and handed over. The edge moves along.
    ///
    /// # Errors
    /// Of the store, or the first that `row` returns.
    pub fn read_on(
        &mut self,
        edge: &mut Edge,
        to: u64,
        mut row: impl FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let after = edge.size();
        let mut each = |stored: codec::Stored, words| {
            let seq = stored.seq;
            let wrong = |what| StoreError::Corrupt { seq, what };
            if seq != edge.size() + 1 {
                return Err(wrong("does not follow the row before it"));
            }
            if leaf::leaf_hash(stored.header.as_bytes(), &stored.parts) != stored.leaf {
                return Err(wrong("the leaf is not that of its header and parts"));
            }
            edge.push(stored.leaf);
            row(codec::decode(&stored, words)?)
        };
        match &mut self.0 {
            Engine::Sqlite(log) => log.read_between(after, to, &mut each),
            Engine::Postgres(log) => log.read_between(after, to, &mut each),
        }
    }

    /// Reads every row after `after` in order, words included: read and decoded on a thread of
    /// their own while `row` works on those before.
    ///
    /// # Errors
    /// Of the store, or the first that `row` returns.
    pub fn replay(
        &self,
        after: u64,
        mut row: impl FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let reader = match &self.0 {
            Engine::Sqlite(log) => crate::Reader::new(log.path()),
            Engine::Postgres(log) => crate::Reader::connect(log.server()),
        };
        std::thread::scope(|scope| {
            let (sender, rows) = sync_channel::<Vec<Row>>(8);
            let reading = scope.spawn(move || read_ahead(&reader, after, &sender));
            for batch in rows {
                batch.into_iter().try_for_each(&mut row)?;
            }
            let gone = StoreError::Corrupt { seq: after, what: "the reading thread is gone" };
            reading.join().unwrap_or(Err(gone))
        })
    }

    /// Makes every following commit fail (or stops doing so): how the tests inject a commit that
    /// is refused after everything was applied.
    #[doc(hidden)]
    pub fn fail_commits(&mut self, fail: bool) -> Result<(), StoreError> {
        match &mut self.0 {
            Engine::Sqlite(log) => log.fail_commits(fail),
            Engine::Postgres(log) => {
                log.fail_commits(fail);
                Ok(())
            }
        }
    }
}

fn read_ahead(
    reader: &crate::Reader,
    after: u64,
    to: &SyncSender<Vec<Row>>,
) -> Result<(), StoreError> {
    let mut batch = Vec::with_capacity(AHEAD);
    // Nobody takes them any more: whoever applies has an error of its own to tell.
    let stopped = || StoreError::Corrupt { seq: after, what: "is not wanted any more" };
    reader.scan(after, |stored, words| {
        batch.push(codec::decode(&stored, words)?);
        if batch.len() == AHEAD {
            to.send(std::mem::replace(&mut batch, Vec::with_capacity(AHEAD)))
                .map_err(|_| stopped())?;
        }
        Ok(())
    })?;
    to.send(batch).map_err(|_| stopped())
}
