//! The restore guard (inv32, T50): what the world has once seen of the log, it must still hold.
//!
//! Checkpoints are written beside the log, in the form of C2SP's `tlog-checkpoint`: origin, size,
//! root, a blank line, signatures. If the log is smaller than the largest of them, or had another
//! root at that size, an older database was put back: access that ended since would be alive
//! again. Then the node answers no yes and takes no command until the operator says so with
//! `comity restore --in-place`, which keeps the file as evidence and ends what is older.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use comity_domain::ids::Digest32;
use comity_store::{Edge, Head, Reader, StoreError};

/// A checkpoint as far as the guard needs it; whose signature it bears is `audit verify`'s affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How many rows the log had.
    pub size: u64,
    /// Its root at that time.
    pub root: Digest32,
}

/// How the log falls short of what was seen of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// Rows are gone.
    #[error("the log has {rows} rows, and a checkpoint has seen {}: an older database was put back", seen.size)]
    Smaller {
        /// What was seen.
        seen: Seen,
        /// What is there.
        rows: u64,
    },
    /// A restore was begun and not ended.
    #[error("a restore has not come to its end: run comity restore --in-place")]
    Restoring,
    /// It is another log.
    #[error("at row {} the log has another root than the checkpoint: it is not the log that was seen", seen.size)]
    Other {
        /// What was seen.
        seen: Seen,
    },
}

/// What lies in a data folder while a restore has not come to its end.
const RESTORING: &str = "restoring";

/// From now on a start from this folder answers no yes, until [`end_restore`].
///
/// # Errors
/// If that cannot be noted.
pub fn begin_restore(data: &Path) -> std::io::Result<()> {
    let file = std::fs::File::create(data.join(RESTORING))?;
    file.sync_all()?;
    std::fs::File::open(data)?.sync_all()
}

/// The folder is open again: the fork is raised, in the log.
///
/// # Errors
/// If that cannot be noted; it stays closed then.
pub fn end_restore(data: &Path) -> std::io::Result<()> {
    std::fs::remove_file(data.join(RESTORING))?;
    std::fs::File::open(data)?.sync_all()
}

/// Keeps the checkpoints of before as evidence under another name, so that those of the new fork
/// begin a file of their own. Says where they are; nothing that was kept before is replaced.
///
/// # Errors
/// If they cannot be renamed.
pub fn put_aside(outside: &Path, fork: u64) -> std::io::Result<Option<PathBuf>> {
    if !outside.exists() {
        return Ok(None);
    }
    let name = outside.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let named = |more: String| outside.with_file_name(format!("{name}.before-fork-{fork}{more}"));
    let mut to = named(String::new());
    for again in 2.. {
        if !to.exists() {
            break;
        }
        to = named(format!(".{again}"));
    }
    std::fs::rename(outside, &to)?;
    let folder = outside.parent().filter(|f| !f.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(Some(to))
}

/// Whether a restore of this folder has not come to its end.
#[must_use]
pub fn is_restoring(data: &Path) -> bool {
    data.join(RESTORING).exists()
}

/// A file longer than this, in bytes, holds more than one note that a power failure cut off.
const MORE_THAN_TORN: usize = 1_024;

/// The largest checkpoint in the file; `None` if there is no file, or only a piece of a first one.
///
/// # Errors
/// If the file is there and cannot be read, or holds something else.
pub fn largest(path: &Path) -> std::io::Result<Option<Seen>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = read(&String::from_utf8_lossy(&bytes));
    if found.is_none() && bytes.len() > MORE_THAN_TORN {
        let what = format!("{}: holds no checkpoint", path.display());
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    }
    Ok(found)
}

/// Leniently: a last note that was cut off by a power failure must not hide those before it.
fn read(text: &str) -> Option<Seen> {
    let lines: Vec<&str> = text.lines().collect();
    let seen = lines.windows(3).filter_map(|w| match w {
        [origin, size, root] if !origin.is_empty() => {
            Some(Seen { size: decimal(size)?, root: digest(root)? })
        }
        _ => None,
    });
    seen.max_by_key(|seen| seen.size)
}

fn decimal(line: &str) -> Option<u64> {
    let digits = !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| line.parse().ok()).flatten()
}

/// Base64 (RFC 4648, section 4) that does not mind bits nobody needs: the more is taken for a root,
/// the more has to be found again in the log.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// 32 bytes in base64.
fn digest(line: &str) -> Option<Digest32> {
    LENIENT.decode(line).ok()?.try_into().ok().map(Digest32)
}

/// Compares the log with what was seen of it.
///
/// # Errors
/// If the log cannot be read.
pub fn look(
    seen: Option<Seen>,
    reader: &Reader,
    head: &Head,
) -> Result<Option<Breach>, StoreError> {
    let Some(seen) = seen else {
        return Ok(None);
    };
    if seen.size > head.seq {
        return Ok(Some(Breach::Smaller { seen, rows: head.seq }));
    }
    let root = if seen.size == head.seq {
        Some(head.root)
    } else {
        reader.root_at(Edge::new(), seen.size)?
    };
    Ok((root != Some(seen.root.0)).then_some(Breach::Other { seen }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn inv32_the_largest_checkpoint_counts_and_a_torn_one_hides_none() {
        assert_eq!(read(""), None);
        let note = |size: u64, root: &str| {
            format!(
                "comity.example/log\n{size}\n{root}\n\n\u{2014} comity.example c2lnbmF0dXJl\n\n"
            )
        };
        let other = "//////////////////////////////////////////8=";
        let text = note(7, ZEROS) + &note(12, other) + &note(9, ZEROS);
        assert_eq!(read(&text), Some(Seen { size: 12, root: Digest32([0xff; 32]) }));
        assert_eq!(read(&(text + "comity.example/log\n13\nAAAA")).map(|s| s.size), Some(12));
        assert_eq!(read("origin\n12\nno base64 at all, and not of that length ==\n"), None);
    }
}
