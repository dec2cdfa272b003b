//! Erasing words: rows, salts and what hangs on a person, in the transaction of the row that says
//! so; and then the bytes.

use std::time::Duration;

use comity_domain::text::Subject;
use rusqlite::{Transaction, params};

use crate::log::StoreError;
use crate::sqlite::{Log, id, subject};

/// How long one try to empty the write-ahead log waits for readers. Short: the writer has other
/// things to do, and tries again.
const WAIT: Duration = Duration::from_millis(50);
/// How long the writing anew is waited for at a time.
const PAUSE: Duration = Duration::from_millis(2);

/// Stands in the file (`application_id`) from the erasing transaction on until no copy is left, so
/// that a crash in between is made good: "scrb" in ASCII.
const TO_SCRUB: i64 = 0x7363_7262;

/// Deletes the words about `of`, those that go with it, and a person's password hash. The history
/// shows the words of its rows, so it is blank from now on.
pub(crate) fn words(tx: &Transaction<'_>, of: &Subject) -> Result<usize, StoreError> {
    let named = subject(of)?;
    let mut gone = 0;
    for delete in ["DELETE FROM word WHERE about = ?1", "DELETE FROM word WHERE also = ?1"] {
        gone += tx.prepare_cached(delete)?.execute([&named])?;
    }
    if let Subject::Person(person) = of {
        gone += tx
            .prepare_cached("DELETE FROM credential WHERE person = ?1")?
            .execute(params![id(person.0)])?;
        for delete in crate::notices::OF_A_PERSON_SQLITE {
            tx.prepare_cached(delete)?.execute(params![id(person.0)])?;
        }
    }
    tx.pragma_update(None, "application_id", TO_SCRUB)?;
    Ok(gone)
}

impl Log {
    /// Makes sure that no copy of what was deleted stays in the file or in the write-ahead log. No
    /// is the answer as long as somebody reads an older state.
    ///
    /// SQLite overwrites what it deletes (`secure_delete`), but not the copies that it left wherever
    /// it had moved a word from one page to another: so the file is written anew, once. That takes
    /// seconds for a large one, in which `meanwhile` is called again and again.
    pub(crate) fn after_erasure(&mut self, meanwhile: &dyn Fn()) -> Result<bool, StoreError> {
        let mark: i64 = self.connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
        if mark == TO_SCRUB {
            let connection = &mut self.connection;
            std::thread::scope(|scope| {
                let writing = scope
                    .spawn(move || connection.execute_batch("VACUUM; PRAGMA application_id = 0"));
                while !writing.is_finished() {
                    meanwhile();
                    std::thread::sleep(PAUSE);
                }
                let gone = StoreError::Corrupt { seq: 0, what: "the scrubbing thread is gone" };
                Ok::<(), StoreError>(writing.join().map_err(|_| gone)??)
            })?;
        }
        self.fold()
    }

    /// Takes the write-ahead log into the file and empties it.
    pub(crate) fn fold(&self) -> Result<bool, StoreError> {
        self.connection.busy_timeout(WAIT)?;
        let busy = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, i64>(0));
        self.connection.busy_timeout(Duration::from_secs(5))?;
        Ok(busy? == 0)
    }
}
