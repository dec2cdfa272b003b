//! What every erasure leaves to do once it is committed: the outside list, and the bytes.
//!
//! A backup made before an erasure still holds the words. So each erasure is also noted in the file
//! `erasures` in the data folder, beside the database and not in it: whoever restores an older copy
//! reads it with [`read`] and hands it to [`comity_domain::command::Command::Restore`], which erases
//! again. One JSON object a line, in the order in which they happened; only identifiers, no words.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use comity_domain::state::State;
use comity_domain::text::Subject;
use comity_store::Store;
use serde::{Deserialize, Serialize};

/// How often emptying the write-ahead log is tried before the erasure is answered. After that it is
/// tried at every beat.
const TRIES: usize = 5;

/// One erasure, as the list holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// The row that says so, under the fork of that time.
    pub seq: u64,
    /// Whose words.
    pub subject: Subject,
}

/// The list of a data folder, and what is still to be done.
#[derive(Debug)]
pub struct Erasures {
    path: PathBuf,
    listed: BTreeSet<Subject>,
    seen: usize,
    scrub: bool,
}

/// The list's file in a data folder.
#[must_use]
pub fn file(data: &Path) -> PathBuf {
    data.join("erasures")
}

/// Reads a list. No file is an empty list; a last line without its end was never confirmed.
///
/// # Errors
/// If it cannot be read, or holds something else.
pub fn read(path: &Path) -> io::Result<Vec<Erasure>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

impl Erasures {
    /// The list of a data folder, brought up to `state`: a crash between a commit and its note is
    /// made good here.
    ///
    /// # Errors
    /// If the list cannot be read or written.
    pub fn open(data: &Path, state: &State) -> io::Result<Self> {
        let path = file(data);
        let listed: BTreeSet<Subject> = read(&path)?.into_iter().map(|e| e.subject).collect();
        cut_torn_line(&path)?;
        // What the process before had no time to scrub is scrubbed by the first beat.
        let (seen, scrub) = (usize::MAX, state.erasure_count() > 0);
        let mut list = Self { path, listed, seen, scrub };
        list.note(state)?;
        Ok(list)
    }

    /// To be called with every state that the log leads to, before anybody is told of it; calls
    /// `meanwhile` again and again if it takes long. What
    /// fails is tried again at the next call.
    pub fn follow(&mut self, store: &mut Store, state: &State, meanwhile: &dyn Fn()) {
        if state.erasure_count() == self.seen && !self.scrub {
            return;
        }
        let mut tries = 1;
        if state.erasure_count() != self.seen {
            (self.scrub, tries) = (true, TRIES);
            if let Err(error) = self.note(state) {
                tracing::error!(%error, "an erasure could not be noted in the list for restores");
            }
        }
        while self.scrub && tries > 0 {
            tries -= 1;
            match store.after_erasure(meanwhile) {
                Ok(done) => self.scrub = !done,
                Err(error) => {
                    tracing::error!(%error, "the log was not emptied after an erasure");
                    return;
                }
            }
        }
    }

    fn note(&mut self, state: &State) -> io::Result<()> {
        let mut missing: Vec<Erasure> = state
            .erasures()
            .filter(|(subject, _)| !self.listed.contains(subject))
            .map(|(subject, seq)| Erasure { seq, subject })
            .collect();
        missing.sort_by_key(|e| e.seq);
        if !missing.is_empty() {
            append(&self.path, &missing)?;
            self.listed.extend(missing.iter().map(|e| e.subject));
        }
        self.seen = state.erasure_count();
        Ok(())
    }
}

fn append(path: &Path, erasures: &[Erasure]) -> io::Result<()> {
    let mut lines = Vec::new();
    for erasure in erasures {
        serde_json::to_writer(&mut lines, erasure)?;
        lines.push(b'\n');
    }
    // What a full disk left of a try before would spoil the line that comes after it.
    cut_torn_line(path)?;
    let mut file = File::options().create(true).append(true).open(path)?;
    file.write_all(&lines)?;
    file.sync_all()?;
    // A new file is there after a crash only once its folder says so.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn cut_torn_line(path: &Path) -> io::Result<()> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        File::options().write(true).open(path)?.set_len(whole as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use comity_domain::ids::PersonId;

    use super::*;

    #[test]
    fn t50_the_list_for_restores_survives_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path());
        assert_eq!(read(&path).unwrap(), []);
        let one = Erasure { seq: 7, subject: Subject::Person(PersonId(1)) };
        append(&path, &[one]).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"{\"seq\":8,\"su").unwrap();
        assert_eq!(read(&path).unwrap(), [one]);
        let mut list = Erasures::open(folder.path(), &State::default()).unwrap();
        let two = Erasure { seq: 9, subject: Subject::Person(PersonId(2)) };
        append(&list.path, &[two]).unwrap();
        assert_eq!(read(&path).unwrap(), [one, two]);
        list.note(&State::default()).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2, "what a restored state lacks stays listed");
        // A disk that was full in the middle of a line, while the process goes on.
        File::options().append(true).open(&path).unwrap().write_all(b"{\"seq\":9,").unwrap();
        let three = Erasure { seq: 11, subject: Subject::Person(PersonId(3)) };
        append(&list.path, &[three]).unwrap();
        assert_eq!(read(&path).unwrap(), [one, two, three]);
        std::fs::write(&path, "{}\n").unwrap();
        assert!(read(&path).is_err(), "what is no erasure is not passed over");
    }
}
