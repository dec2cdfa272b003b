//! The PostgreSQL database: how it is reached, what its role may do, how it keeps what it confirms.

use comity_app::clock::Clock;
use comity_app::keys::Keys;
use comity_store::Reader;
use comity_store::postgres::{Condition, Server, condition};

use super::{Checks, data};
use crate::config::Config;

/// How far two clocks may stand apart; beyond it a node answers nothing.
const MOST_SKEW_MS: i64 = 1_000;
/// A node that confirmed nothing for so long says no yes any more.
const LEASE_MS: i64 = 3_000;

/// Everything, where there is no data folder yet.
pub fn check(config: &Config, named: &Server, keys: Option<&Keys>, checks: &mut Checks) {
    if let Some(found) = look(named, checks) {
        judge(config, named, &found, keys, checks);
    }
}

/// Reaches it.
pub fn look(named: &Server, checks: &mut Checks) -> Option<Condition> {
    match condition(named) {
        Ok(found) => {
            checks.ok(
                "database",
                format!("{}, PostgreSQL {}, as {}", named.shown(), found.version, found.role),
            );
            Some(found)
        }
        Err(error) => {
            let says = format!("{}: {error}", named.shown());
            let way_out = "see that the server runs, is 15 or newer, and lets this role in; look at host, name and sslrootcert";
            checks.fail("database", says, way_out);
            None
        }
    }
}

/// Judges what was found.
pub fn judge(
    config: &Config,
    named: &Server,
    found: &Condition,
    keys: Option<&Keys>,
    checks: &mut Checks,
) {
    if config.password_shown {
        checks.warn(
            "password",
            "it stands on the command line, where whoever lists the processes reads it",
            "put the URL into a file of mode 0600 and name that by database_file",
        );
    }
    if named.is_verified() {
        checks.ok("tls", "verify-full: the server proves its name");
    } else {
        checks.ok("tls", "none; the server is on this machine");
    }
    let schema = format!("schema {}, this release writes {}", found.schema, found.known);
    let migrate = "comity migrate --database postgres://owner@… --grant-to ROLE";
    match found.schema {
        0 => return checks.fail("schema", "there is none in this database", migrate),
        n if n < found.known => return checks.fail("schema", schema, migrate),
        n if n > found.known => {
            return checks.fail("schema", schema, "run the release that wrote it, or a newer one");
        }
        _ => checks.ok("schema", schema),
    }
    role(found, checks);
    durable(found, checks);
    skew(found, checks);
    nodes(found, checks);
    match &found.log {
        Some(log) => data::log(config, &Reader::connect(named), log, keys, checks),
        None => data::clock(None, checks),
    }
}

fn role(found: &Condition, checks: &mut Checks) {
    let role = &found.role;
    let way_out = format!(
        "let the server run with a role of its own, and with the owner's: comity migrate --grant-to {role}"
    );
    if found.is_superuser {
        checks.fail("role", format!("{role} is a superuser: it may rewrite the log"), way_out);
    } else if found.owns {
        checks.fail("role", format!("{role} owns the log: it may rewrite it"), way_out);
    } else if !found.may.is_empty() {
        let says = format!("{role} may {} the log", found.may.join(" and "));
        checks.fail("role", says, way_out);
    } else if let Some(first) = found.lacks.first() {
        let more = found.lacks.len().saturating_sub(1);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        checks.fail("role", format!("{role} lacks {first}{more}"), way_out);
    } else {
        checks.ok("role", format!("{role} adds to the log and cannot change it"));
    }
}

fn durable(found: &Condition, checks: &mut Checks) {
    if !found.fsync {
        let says = "fsync is off: what was confirmed can be gone after a crash of its machine";
        checks.fail("durability", says, "ALTER SYSTEM SET fsync = on, and restart it");
    } else if !found.full_page_writes {
        let says = "full_page_writes is off: a crash of its machine can tear pages";
        checks.fail("durability", says, "ALTER SYSTEM SET full_page_writes = on, and reload it");
    } else if !["on", "remote_apply"].contains(&found.synchronous_commit.as_str()) {
        checks.warn(
            "durability",
            format!(
                "synchronous_commit is {}; each connection sets it to on",
                found.synchronous_commit
            ),
            "set synchronous_commit = on for the role or the database",
        );
    } else {
        let says =
            format!("fsync, full_page_writes, synchronous_commit {}", found.synchronous_commit);
        checks.ok("durability", says);
    }
    if found.standbys.is_empty() {
        checks.warn(
            "replication",
            "no standby confirms commits: a failover to one may lose an ending, and then says yes",
            "fail over only to a synchronous standby: set synchronous_standby_names, or have none",
        );
    } else {
        checks.ok("replication", format!("synchronous_standby_names = {}", found.standbys));
    }
}

fn skew(found: &Condition, checks: &mut Checks) {
    let skew = Clock::system().now().0.saturating_sub(found.wall);
    let says = format!("{skew} ms between this machine and the database");
    if skew.abs() > MOST_SKEW_MS {
        let way_out = "keep both by NTP: a node that is off by more than a second answers nothing";
        checks.fail("skew", says, way_out);
    } else {
        checks.ok("skew", says);
    }
}

fn nodes(found: &Condition, checks: &mut Checks) {
    let (live, still): (Vec<_>, Vec<_>) = found.nodes.iter().partition(|(_, ago)| *ago < LEASE_MS);
    if let Some((node, ago)) = still.first() {
        checks.warn(
            "nodes",
            format!("{} live; {node} has confirmed nothing for {} s", live.len(), ago / 1_000),
            "look at that node; if it is gone for good nothing is to be done: others pass over it",
        );
        return;
    }
    checks.ok("nodes", format!("{} live", live.len()));
}
