//! The log on SQLite: the writer's own connection.
//!
//! WAL, `synchronous=FULL`: a confirmed append has been through fsync. Exclusivity is an operating
//! system lock on a file beside the database, so that others may still open it to read.

use std::fs::File;
use std::path::{Path, PathBuf};

use comity_domain::draft::SideWrite;
use comity_domain::event::{Event, Row};
use comity_domain::ids::{CommandId, Ids};
use comity_domain::organisation::Party;
use comity_domain::text::{Subject, Word};
use comity_domain::time::Instant;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params,
};

use crate::again;
use crate::codec::{self, CodecError, Stored};
use crate::log::{AppendError, Head, StoreError};
use crate::merkle::{Edge, Hash};

/// The writer's connection.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) connection: Connection,
    path: PathBuf,
    _lock: File,
}

pub(crate) const SCHEMA: i64 = 1;

/// The one that a partner ID is kept under: the unit where it names only one. Identifiers of units
/// and organisations never meet.
pub(crate) fn holder(party: Party) -> u128 {
    party.unit.map_or(party.organisation.0, |unit| unit.0)
}

pub(crate) fn id(value: u128) -> [u8; 16] {
    value.to_be_bytes()
}

impl Log {
    /// Opens the log for writing, making it if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock_beside(path)?;
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let mut store = Self { connection, path: path.to_path_buf(), _lock: lock };
        store.migrate()?;
        Ok(store)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let found: i64 = self.connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
        if found > SCHEMA {
            return Err(StoreError::TooNew { path: self.path.clone(), found, known: SCHEMA });
        }
        if found < 1 {
            let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute_batch(include_str!("migrations/sqlite/0001_log.sql"))?;
            let edge = Edge::new();
            tx.execute(
                "INSERT INTO head (id, seq, root, edge, fork) VALUES (1, 0, ?1, ?2, 1)",
                params![edge.root(), edge.to_bytes()],
            )?;
            tx.pragma_update(None, "user_version", 1)?;
            tx.commit()?;
        }
        Ok(())
    }

    /// Where the log stands, as the file says.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn head(&self) -> Result<Head, StoreError> {
        head(&self.connection)
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
        let none = |e: StoreError| AppendError::NotWritten(e);
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| none(e.into()))?;
        let head = write(&tx, batch, salts).map_err(none)?;
        match tx.commit() {
            Ok(()) => Ok(head),
            Err(error) if is_certain(&error) => Err(none(error.into())),
            Err(error) => Err(AppendError::Unknown(error.into())),
        }
    }

    /// Where the log stands after a commit of unknown outcome, once nothing can change that any
    /// more. A commit whose flush failed is rolled back here, but it stands whole in the WAL, and
    /// the start after a crash would take it up: a write of our own has to take its place first.
    ///
    /// # Errors
    /// If the file cannot be written: the outcome stays unknown.
    pub fn settle(&mut self) -> Result<Head, StoreError> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // There and back: SQLite writes no page for what is set to what it was.
        tx.execute("UPDATE head SET seq = seq + 1 WHERE id = 1", [])?;
        tx.execute("UPDATE head SET seq = seq - 1 WHERE id = 1", [])?;
        tx.commit()?;
        self.head()
    }

    /// Whether a command was written, and where: settles an unknown outcome.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn find_command(&self, seq: u64, command: CommandId) -> Result<bool, StoreError> {
        let header: Option<String> = self
            .connection
            .query_row("SELECT header FROM log WHERE seq = ?1", [signed(seq)], |r| r.get(0))
            .optional()?;
        Ok(header.is_some_and(|h| h.contains(&format!("\"command\":\"{command}\""))))
    }

    /// Hands over the stored rows after `after` up to `to`, with their words.
    pub fn read_between(
        &self,
        after: u64,
        to: u64,
        each: impl FnMut(Stored, Vec<(u32, Word)>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        scan(&self.connection, after, to, each)
    }

    /// Makes every following commit fail (or stops doing so): how the tests inject a commit that
    /// is refused after everything was applied.
    #[doc(hidden)]
    pub fn fail_commits(&mut self, fail: bool) -> Result<(), StoreError> {
        self.connection.commit_hook(fail.then_some(|| true))?;
        Ok(())
    }
}

impl Drop for Log {
    /// Folds the write-ahead log into the file, so that after a clean stop the file alone is whole.
    /// Best effort: nothing depends on it.
    fn drop(&mut self) {
        let _ = self.fold();
    }
}

/// Whether a commit that failed so has left nothing behind: no room for all of it means that its
/// last frame, which alone makes it valid, was not written; and a test's hook runs before any is.
fn is_certain(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|e| {
        e.code == rusqlite::ErrorCode::DiskFull
            || e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_COMMITHOOK
    })
}

/// Takes the lock file beside a database, or says that somebody has it.
pub(crate) fn lock_beside(path: &Path) -> Result<File, StoreError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let io = |source| StoreError::Io { path: beside.clone(), source };
    let file =
        File::options().create(true).truncate(false).write(true).open(&beside).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_path_buf())),
        Err(std::fs::TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Opens a database to read, also beside a running server.
pub(crate) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

pub(crate) fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

pub(crate) fn head(connection: &Connection) -> Result<Head, StoreError> {
    let (seq, root, edge, fork): (i64, Hash, Vec<u8>, i64) =
        connection.query_row("SELECT seq, root, edge, fork FROM head WHERE id = 1", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
        })?;
    let seq = seq.unsigned_abs();
    let edge = Edge::from_bytes(&edge)
        .ok_or(StoreError::Corrupt { seq, what: "the head's edge cannot be read" })?;
    Ok(Head { seq, root, fork: fork.unsigned_abs(), edge })
}

fn write(
    tx: &Transaction<'_>,
    batch: &[(Row, Vec<SideWrite>)],
    salts: &mut Ids,
) -> Result<Head, StoreError> {
    let mut head = head(tx)?;
    for (row, side) in batch {
        if row.seq != head.seq + 1 {
            return Err(StoreError::Corrupt { seq: row.seq, what: "is not the next of the log" });
        }
        let stored = codec::encode(row, salts)?;
        insert(tx, row, &stored)?;
        project(tx, row)?;
        for write in side {
            beside(tx, row, write)?;
        }
        for recorded in &row.events {
            if let Event::Restored { fork, .. } = recorded.event {
                head.fork = fork;
            }
        }
        head.edge.push(stored.leaf);
        head.seq = row.seq;
    }
    head.root = head.edge.root();
    tx.prepare_cached("UPDATE head SET seq = ?1, root = ?2, edge = ?3, fork = ?4 WHERE id = 1")?
        .execute(params![signed(head.seq), head.root, head.edge.to_bytes(), signed(head.fork)])?;
    Ok(head)
}

fn insert(tx: &Transaction<'_>, row: &Row, stored: &Stored) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO log (seq, at, header, parts, leaf) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        signed(row.seq),
        row.at.0,
        stored.header,
        codec::pack(&stored.parts),
        stored.leaf
    ])?;
    let mut words = tx.prepare_cached(
        "INSERT INTO word (seq, ix, about, event, salt, text, also) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (ix, word) in row.words.iter().enumerate() {
        if let Some(text) = &word.text {
            let about = subject(&word.about)?;
            let also = word.also.as_ref().map(subject).transpose()?;
            words.execute(params![
                signed(row.seq),
                signed(ix as u64),
                about,
                word.event,
                word.salt,
                &**text,
                also
            ])?;
        }
    }
    let mut index =
        tx.prepare_cached("INSERT OR IGNORE INTO audit_index (organisation, seq) VALUES (?1, ?2)")?;
    for reader in row.events.iter().flat_map(|e| &e.readers).chain(&row.acting) {
        index.execute(params![id(reader.0), signed(row.seq)])?;
    }
    Ok(())
}

/// Whom a word is about, as one text: `{"person":"per_…"}`.
pub(crate) fn subject(of: &Subject) -> Result<String, StoreError> {
    let json = |source| CodecError::Json { seq: 0, what: "the subject of a word", source };
    Ok(serde_json::to_string(of).map_err(json)?)
}

/// Reads what [`subject`] wrote.
pub(crate) fn subject_of(text: &str, seq: u64) -> Result<Subject, StoreError> {
    let nobody = |_| StoreError::Corrupt { seq, what: "a word is about nobody" };
    serde_json::from_str(text).map_err(nobody)
}

/// Projections follow from the row alone, so that a lost one can be made again from the log.
fn project(tx: &Transaction<'_>, row: &Row) -> Result<(), StoreError> {
    for recorded in &row.events {
        match &recorded.event {
            Event::SessionStarted {
                session,
                grant,
                customer,
                provider,
                person,
                mode,
                deadline,
                reason,
                name,
                email,
                ..
            } => {
                tx.prepare_cached(
                    "INSERT INTO session_history (session, grant_id, customer, provider, person, mode, started, \
                     deadline, seq, name_ix, email_ix, reason_ix) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
                )?
                .execute(params![
                    id(session.0), id(grant.0), id(customer.0), id(provider.0), id(person.0), mode.code(),
                    row.at.0, deadline.0, signed(row.seq), name, email, reason
                ])?;
            }
            Event::SessionShortened { session, deadline } => {
                tx.prepare_cached("UPDATE session_history SET deadline = ?2 WHERE session = ?1")?
                    .execute(params![id(session.0), deadline.0])?;
            }
            Event::SessionEnded { session, cause } => {
                tx.prepare_cached(
                    "UPDATE session_history SET ended = ?2, cause = ?3 WHERE session = ?1",
                )?
                .execute(params![id(session.0), row.at.0, cause.code()])?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn beside(tx: &Transaction<'_>, row: &Row, write: &SideWrite) -> Result<(), StoreError> {
    match write {
        SideWrite::Credential(person, hash) => tx
            .prepare_cached("INSERT INTO credential (person, hash) VALUES (?1, ?2) ON CONFLICT (person) DO UPDATE SET hash = excluded.hash")?
            .execute(params![id(person.0), hash])?,
        SideWrite::EraseCredentials => tx.prepare_cached("DELETE FROM credential")?.execute([])?,
        SideWrite::Factor { person, factor, sealed } => tx
            .prepare_cached("INSERT INTO factor (person, factor, sealed) VALUES (?1, ?2, ?3) ON CONFLICT (person, factor) DO UPDATE SET sealed = excluded.sealed")?
            .execute(params![id(person.0), factor.0, sealed.0])?,
        SideWrite::DropFactor { person, factor } => tx
            .prepare_cached("DELETE FROM factor WHERE person = ?1 AND factor = ?2")?
            .execute(params![id(person.0), factor.0])?,
        SideWrite::EraseFactors(Some(person)) => {
            tx.prepare_cached("DELETE FROM factor WHERE person = ?1")?.execute([id(person.0)])?
        }
        SideWrite::EraseFactors(None) => tx.prepare_cached("DELETE FROM factor")?.execute([])?,
        SideWrite::CustomerId(organisation, sealed) => tx
            .prepare_cached("INSERT INTO customer_id (organisation, sealed) VALUES (?1, ?2) ON CONFLICT (organisation) DO UPDATE SET sealed = excluded.sealed")?
            .execute(params![id(organisation.0), sealed.0])?,
        SideWrite::PartnerId(party, sealed) => tx
            .prepare_cached("INSERT INTO partner_id (party, sealed) VALUES (?1, ?2) ON CONFLICT (party) DO UPDATE SET sealed = excluded.sealed")?
            .execute(params![id(holder(*party)), sealed.0])?,
        SideWrite::SigningKey(kid, sealed) => tx
            .prepare_cached("INSERT INTO signing_key (kid, sealed) VALUES (?1, ?2)")?
            .execute(params![kid.0, sealed.0])?,
        SideWrite::DropSigningKey(kid) => {
            tx.prepare_cached("DELETE FROM signing_key WHERE kid = ?1")?.execute([kid.0])?
        }
        SideWrite::Once(once) => again::remember_sqlite(tx, row, once)?,
        SideWrite::EraseWords(of) => crate::erasure::words(tx, of)?,
        SideWrite::Secret { .. }
        | SideWrite::Farewell { .. }
        | SideWrite::Forget { .. }
        | SideWrite::Pushes(_)
        | SideWrite::DropSecrets { .. }
        | SideWrite::Requeue { .. } => crate::outbox::write_sqlite(tx, row, write)?,
        SideWrite::Notices(notices) => crate::notices::write_sqlite(tx, row, notices)?,
    };
    Ok(())
}

/// Reads rows with their words in one merged scan.
pub(crate) fn scan(
    connection: &Connection,
    after: u64,
    to: u64,
    mut each: impl FnMut(Stored, Vec<(u32, Word)>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut logs = connection.prepare(
        "SELECT seq, at, header, parts, leaf FROM log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
    )?;
    let mut words = connection.prepare(
        "SELECT seq, ix, about, event, salt, text, also FROM word WHERE seq > ?1 AND seq <= ?2 ORDER BY seq, ix",
    )?;
    let mut logs = logs.query([signed(after), signed(to)])?;
    let mut words = words.query([signed(after), signed(to)])?;
    let mut next_word = next(&mut words)?;
    while let Some(row) = logs.next()? {
        let seq = row.get::<_, i64>(0)?.unsigned_abs();
        let parts = codec::unpack(row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?);
        let parts = parts.ok_or(StoreError::Corrupt { seq, what: "the parts cannot be read" })?;
        let stored =
            Stored { seq, at: Instant(row.get(1)?), header: row.get(2)?, parts, leaf: row.get(4)? };
        let mut own = Vec::new();
        while let Some((of, word)) = next_word.take_if(|(of, _)| *of <= seq) {
            if of == seq {
                own.push(word?); // here and not when it was read ahead: the error is this row's
            }
            next_word = next(&mut words)?;
        }
        each(stored, own)?;
    }
    Ok(())
}

/// The next word with the row that it stands at, or what is wrong with it.
type NextWord = Option<(u64, Result<(u32, Word), StoreError>)>;

fn next(rows: &mut rusqlite::Rows<'_>) -> Result<NextWord, StoreError> {
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let seq = row.get::<_, i64>(0)?.unsigned_abs();
    Ok(Some((seq, word(row, seq))))
}

fn word(row: &rusqlite::Row<'_>, seq: u64) -> Result<(u32, Word), StoreError> {
    let about = subject_of(&row.get::<_, String>(2)?, seq)?;
    let also = row.get::<_, Option<String>>(6)?.map(|a| subject_of(&a, seq)).transpose()?;
    let text: String = row.get(5)?;
    let word = Word { about, also, event: row.get(3)?, salt: row.get(4)?, text: Some(text.into()) };
    Ok((row.get(1)?, word))
}
