//! The schema: made and changed by a role of its own, under an advisory lock.

use super::connect::{Server, Session, Wants};
use crate::log::StoreError;
use crate::merkle::Edge;

/// The schema that this release knows.
pub const SCHEMA: i64 = 1;
/// Held while the schema is looked at and changed, so that two that start at once do not both.
const MIGRATING: i64 = 0x636f_6d69_7479;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)";

/// What the server's role may do, and no more: it adds to the log and never changes it.
pub(super) const RIGHTS: &[(&str, &str)] = &[
    ("SELECT", "schema_version"),
    ("SELECT, INSERT", "log"),
    ("SELECT, INSERT, DELETE", "word"),
    ("SELECT, UPDATE", "head"),
    ("SELECT, INSERT", "audit_index"),
    ("SELECT, INSERT", "checkpoint"),
    ("SELECT, INSERT, UPDATE, DELETE", "credential"),
    ("SELECT, INSERT, UPDATE, DELETE", "factor"),
    ("SELECT, INSERT, UPDATE, DELETE", "customer_id"),
    ("SELECT, INSERT, UPDATE, DELETE", "partner_id"),
    ("SELECT, INSERT, DELETE", "signing_key"),
    ("SELECT, INSERT, UPDATE, DELETE", "command"),
    ("SELECT, INSERT, UPDATE, DELETE", "recipient_secret"),
    ("SELECT, INSERT, UPDATE, DELETE", "outbox"),
    ("SELECT, INSERT, UPDATE, DELETE", "recipient_failing"),
    ("SELECT, INSERT, DELETE", "notice"),
    ("SELECT, INSERT, UPDATE, DELETE", "notice_read"),
    ("SELECT, INSERT, DELETE", "notice_seen"),
    ("SELECT, INSERT, UPDATE, DELETE", "mail"),
    ("SELECT, INSERT, UPDATE", "mail_cursor"),
    ("SELECT, INSERT, UPDATE, DELETE", "farewell"),
    ("SELECT, INSERT, UPDATE", "session_history"),
    ("SELECT, INSERT, UPDATE", "lease"),
    ("SELECT, INSERT, UPDATE", "counter"),
    ("SELECT, INSERT, UPDATE", "call"),
    ("SELECT, INSERT, UPDATE", "call_minute"),
    ("SELECT, INSERT, UPDATE", "segment"),
    ("SELECT, INSERT, UPDATE", "stop"),
];

/// The version of the schema in the database; 0 where there is none.
///
/// # Errors
/// If the database cannot be read.
pub fn schema(server: &Server) -> Result<i64, StoreError> {
    version(&mut Session::open(server, Wants::Reading)?)
}

pub(crate) fn version(session: &mut Session) -> Result<i64, StoreError> {
    let there = session.query("SELECT to_regclass('schema_version') IS NOT NULL", &[])?;
    if !there.first().is_some_and(|row| row.get::<_, bool>(0)) {
        return Ok(0);
    }
    let rows = session.query("SELECT COALESCE(MAX(version), 0) FROM schema_version", &[])?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
}

/// Makes the tables, or brings them up to date. Says from which version.
///
/// # Errors
/// If the role may not, or the schema is of a newer release.
pub fn migrate(server: &Server) -> Result<i64, StoreError> {
    let mut session = Session::open(server, Wants::Migrating)?;
    let mut tx = session.raw()?.transaction()?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATING])?;
    tx.batch_execute(TABLE)?;
    let found: i64 =
        tx.query_one("SELECT COALESCE(MAX(version), 0) FROM schema_version", &[])?.try_get(0)?;
    if found > SCHEMA {
        let path = server.shown().into();
        return Err(StoreError::TooNew { path, found, known: SCHEMA });
    }
    if found < 1 {
        tx.batch_execute(include_str!("../migrations/postgres/0001_log.sql"))?;
        let edge = Edge::new();
        tx.execute(
            "INSERT INTO head (id, seq, root, edge, fork) VALUES (1, 0, $1, $2, 1)",
            &[&edge.root().as_slice(), &edge.to_bytes()],
        )?;
        tx.execute("INSERT INTO schema_version (version) VALUES (1)", &[])?;
    }
    tx.commit()?;
    session.warned()?;
    Ok(found)
}

/// Lets `role` do what a server does, and nothing else.
///
/// # Errors
/// If there is no such role, or these tables are not ours to give.
pub fn grant(server: &Server, role: &str) -> Result<(), StoreError> {
    let mut session = Session::open(server, Wants::Migrating)?;
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let schema: String =
        session.raw()?.query_one("SELECT quote_ident(current_schema())", &[])?.try_get(0)?;
    let mut tx = session.raw()?.transaction()?;
    tx.batch_execute(&format!("GRANT USAGE ON SCHEMA {schema} TO {role}"))?;
    for (rights, table) in RIGHTS {
        tx.batch_execute(&format!("REVOKE ALL ON {table} FROM {role}"))?;
        tx.batch_execute(&format!("GRANT {rights} ON {table} TO {role}"))?;
    }
    tx.batch_execute(&format!("GRANT USAGE ON SEQUENCE call_id_seq TO {role}"))?;
    Ok(tx.commit()?)
}
