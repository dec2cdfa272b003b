//! The data folder, the key file, the log, the clock, the disk, the server that may be running.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use comity_app::app::{database, opens_sealed};
use comity_app::clock::Clock;
use comity_app::guard;
use comity_app::keys::Keys;
use comity_store::{Inspection, Reader, inspect};

use super::{Checks, postgres};
use crate::config::Config;

/// Below this nothing more should be begun.
const LEAST_FREE: u64 = 128 << 20;
/// Below this somebody should look.
const LITTLE_FREE: u64 = 1 << 30;
/// No clock of a machine that runs this is earlier: 2026-01-01.
const NOT_BEFORE_MS: i64 = 1_767_225_600_000;

/// Looks at all of them.
pub fn check(config: &Config, checks: &mut Checks) {
    if !config.data.is_dir() {
        let way_out = "comity serve makes it; or name the right one with --data";
        checks.warn("data", format!("{} is no folder", config.data.display()), way_out);
        if let Some(named) = &config.database {
            postgres::check(config, named, None, checks);
        }
        return;
    }
    folder(&config.data, checks);
    free(&config.data, checks);
    if let Some(named) = &config.database {
        let found = postgres::look(named, checks);
        let holds = found.as_ref().and_then(|f| f.log.as_ref()).is_some_and(|log| log.last > 0);
        let keys = key_file(config, holds, checks);
        if let Some(found) = found {
            postgres::judge(config, named, &found, keys.as_ref(), checks);
        }
        server(config, &config.data.join("node"), checks);
        return;
    }
    let path = database(&config.data);
    let keys = key_file(config, path.exists(), checks);
    if !path.exists() {
        let way_out = "comity serve makes it; or name the right folder with --data";
        checks.warn("log", format!("{} is not there", path.display()), way_out);
        clock(None, checks);
        return;
    }
    match inspect(&path) {
        Err(error) => checks.fail(
            "log",
            format!("{} cannot be read: {error}", path.display()),
            "look at the disk; comity restore puts a backup into a new folder",
        ),
        Ok(found) => {
            schema(&found, checks);
            if found.journal == "wal" {
                let says = "WAL; synchronous=FULL and secure_delete are set by each start";
                checks.ok("sqlite", says);
            } else {
                let says = format!("journal mode {} instead of wal", found.journal);
                checks.warn(
                    "sqlite",
                    says,
                    "nothing to do: the next start of comity serve sets it",
                );
            }
            let reader = Reader::new(&path);
            log(config, &reader, &found, keys.as_ref(), checks);
        }
    }
    server(config, &path.with_extension("db.lock"), checks);
}

/// What is looked at in a log, wherever it is.
pub(super) fn log(
    config: &Config,
    reader: &Reader,
    found: &Inspection,
    keys: Option<&Keys>,
    checks: &mut Checks,
) {
    head(found, checks);
    guarded(config, reader, found, checks);
    right_key(reader, found, keys, checks);
    outbox(reader, checks);
    mails(reader, checks);
    clock(Some(found.last_at.0).filter(|_| found.last > 0), checks);
}

/// What could not be told to webhooks.
fn outbox(reader: &Reader, checks: &mut Checks) {
    let way_out = "look at the deliveries of each webhook with status=dead";
    match reader.outbox_counts(None) {
        Err(error) => checks.warn("outbox", format!("cannot be read: {error}"), way_out),
        Ok(counts) if counts.dead > 0 => {
            checks.warn("outbox", format!("{} dead letters", counts.dead), way_out);
        }
        Ok(counts) => checks.ok("outbox", format!("{} pushes wait, none is dead", counts.waiting)),
    }
}

/// What could not be mailed.
fn mails(reader: &Reader, checks: &mut Checks) {
    let way_out =
        "look for \"a mail was not taken\" in the log; what was not mailed is in the inboxes";
    match reader.mail_counts() {
        Err(error) => checks.warn("mails", format!("cannot be read: {error}"), way_out),
        Ok(counts) if counts.dead > 0 => {
            checks.warn("mails", format!("{} dead letters", counts.dead), way_out);
        }
        Ok(counts) => checks.ok("mails", format!("{} wait, none is dead", counts.waiting)),
    }
}

fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|m| m.permissions().mode() & 0o777)
}

fn folder(data: &Path, checks: &mut Checks) {
    if data.join(".comity-demo").exists() {
        checks.fail(
            "data",
            format!("{} is a demo's folder: its passwords are public", data.display()),
            "name another folder with --data",
        );
        return;
    }
    let mut open = Vec::new();
    let files = std::fs::read_dir(data).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in files.filter(|p| p.is_file()).chain([data.to_path_buf()]) {
        if let Some(mode) = mode(&path).filter(|mode| mode & 0o077 != 0) {
            open.push((path, mode));
        }
    }
    let shown = |(path, mode): &(std::path::PathBuf, u32)| format!("{} {mode:04o}", path.display());
    let way_out = format!("chmod -R go-rwx {}", data.display());
    match open.iter().find(|(_, mode)| mode & 0o022 != 0).or(open.first()) {
        Some(worst) if worst.1 & 0o022 != 0 => {
            checks.fail("data", format!("others may write: {}", shown(worst)), way_out);
        }
        Some(worst) => checks.warn("data", format!("others may read: {}", shown(worst)), way_out),
        None => checks.ok("data", format!("{}, the owner's alone", data.display())),
    }
}

fn free(data: &Path, checks: &mut Checks) {
    let Ok(disk) = rustix::fs::statvfs(data) else {
        checks.warn("disk", "does not say how much is free", "look with df");
        return;
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let says = format!("{} MiB free", free >> 20);
    let way_out = "make room: when the disk is full no change can be written, and none is accepted";
    if free < LEAST_FREE {
        checks.fail("disk", says, way_out);
    } else if free < LITTLE_FREE {
        checks.warn("disk", says, way_out);
    } else {
        checks.ok("disk", says);
    }
}

fn key_file(config: &Config, holds_log: bool, checks: &mut Checks) -> Option<Keys> {
    let path = &config.key_file;
    let way_out = "put the right file back from its own backup, or name it with --key-file";
    if !path.exists() {
        if holds_log {
            checks.fail("key file", format!("{} is not there", path.display()), way_out);
        } else {
            checks.ok("key file", format!("{} is made by the first start", path.display()));
        }
        return None;
    }
    let keys = match Keys::open(path) {
        Ok((keys, _)) => keys,
        Err(error) => {
            checks.fail("key file", error.to_string(), way_out);
            return None;
        }
    };
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let digits: std::collections::BTreeSet<u8> = text.trim().bytes().collect();
    if digits.len() < 8 {
        let says = format!("{} was not drawn at random", path.display());
        checks.fail("key file", says, "let the first start of a new installation make one");
    } else if path.parent() == Some(config.data.as_path()) {
        checks.warn(
            "key file",
            format!("{} is beside the data: who steals the folder has both", path.display()),
            "move it to another place, name that with key_file, and back it up apart",
        );
    } else {
        checks.ok("key file", format!("{}, the owner's alone", path.display()));
    }
    Some(keys)
}

fn schema(found: &Inspection, checks: &mut Checks) {
    let schema = format!("schema {}, this release writes {}", found.schema, found.known);
    if found.schema > found.known {
        checks.fail("schema", schema, "run the release that wrote it, or a newer one");
    } else if found.schema < found.known {
        checks.warn("schema", schema, "make a backup; the next start of comity serve brings it up");
    } else {
        checks.ok("schema", schema);
    }
}

fn head(found: &Inspection, checks: &mut Checks) {
    let head = &found.head;
    let fits =
        head.seq == found.last && head.edge.size() == head.seq && head.edge.root() == head.root;
    if fits {
        let fork = head.true_fork();
        let restored = if fork > 1 {
            "; restored: grants of before give nothing until their customers confirm them"
        } else {
            ""
        };
        checks.ok("log", format!("{} rows, fork {fork}, the head fits{restored}", found.last));
    } else {
        checks.fail(
            "log",
            format!("the head stands at row {}, and the last row is {}", head.seq, found.last),
            "comity audit verify says where it breaks",
        );
    }
}

fn guarded(config: &Config, reader: &Reader, found: &Inspection, checks: &mut Checks) {
    if guard::is_restoring(&config.data) || found.head.is_restoring() {
        let way_out = "comity restore --in-place";
        checks.fail("checkpoint", guard::Breach::Restoring.to_string(), way_out);
        return;
    }
    let path = &config.checkpoints.outside;
    let way_out =
        "find out who put it back; then comity restore --in-place, which ends what is older";
    let seen = match guard::largest(path) {
        Ok(seen) => seen,
        Err(error) => {
            let says = format!("{} cannot be read: {error}", path.display());
            checks.fail("checkpoint", says, "let the server's user read it");
            return;
        }
    };
    match (seen, guard::look(seen, reader, &found.head)) {
        (None, _) => checks.warn(
            "checkpoint",
            "none outside the database: an older one that is put back would not be noticed",
            "a running server writes one each minute; keep copies on another machine",
        ),
        (Some(seen), Ok(None)) => {
            checks
                .ok("checkpoint", format!("the log holds all {} rows of the last one", seen.size));
        }
        (_, Ok(Some(breach))) => checks.fail("checkpoint", breach.to_string(), way_out),
        (_, Err(error)) => checks.fail("checkpoint", error.to_string(), "comity audit verify"),
    }
}

fn right_key(reader: &Reader, found: &Inspection, keys: Option<&Keys>, checks: &mut Checks) {
    let (Some(keys), Some((organisation, sealed))) = (keys, &found.sealed) else {
        return;
    };
    match opens_sealed(keys, reader, *organisation, sealed) {
        Ok(true) => checks.ok("right key", "it opens what this database was sealed with"),
        Ok(false) => checks.fail(
            "right key",
            "it is not the one that this database was made with",
            "name the right one with --key-file; under another no password and no customer ID can be read",
        ),
        Err(error) => {
            let says = format!("it cannot be tried: {error}");
            checks.warn("right key", says, "comity audit verify says where the log breaks");
        }
    }
}

pub(super) fn clock(last: Option<i64>, checks: &mut Checks) {
    let now = Clock::system().now().0;
    let behind = last.map_or(0, |last| last.saturating_sub(now));
    let way_out = "set the clock and keep it by NTP";
    if now < NOT_BEFORE_MS {
        checks.fail("clock", "it is before 2026", way_out);
    } else if behind > 1_000 {
        let says = format!("it is {} s behind the last row of the log", behind / 1_000);
        checks.fail("clock", says, way_out);
    } else {
        checks.ok("clock", "not behind the log");
    }
}

fn server(config: &Config, lock: &Path, checks: &mut Checks) {
    let held = std::fs::File::open(lock)
        .is_ok_and(|f| matches!(f.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)));
    if !held {
        checks.ok("server", "none is running on this data");
        return;
    }
    match ready(config) {
        Ok(true) => checks.ok("server", format!("running on {} and ready", config.listen)),
        Ok(false) => checks.fail(
            "server",
            format!("running on {}, and not ready: no decision is yes", config.listen),
            "its log says why",
        ),
        Err(error) => checks.warn(
            "server",
            format!("running, and does not answer on {}: {error}", config.listen),
            "say with --listen where it listens",
        ),
    }
}

/// Whether the server says that it answers decisions.
fn ready(config: &Config) -> std::io::Result<bool> {
    let within = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&config.listen, within)?;
    stream.set_read_timeout(Some(within))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(start.ends_with(b"200"))
}
