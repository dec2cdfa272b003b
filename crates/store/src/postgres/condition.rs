//! What can be told of a PostgreSQL database at a glance: for `comity doctor`.

use comity_domain::ids::OrganisationId;
use comity_domain::time::Instant;

use super::connect::{Server, Session, Wants};
use super::migrate::{RIGHTS, SCHEMA, version};
use super::{big, read};
use crate::inspect::Inspection;
use crate::lease::NodeId;
use crate::log::StoreError;

/// How the server is set up, and what the role that asks may do on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The release, as the server writes it.
    pub version: String,
    /// The role.
    pub role: String,
    /// Whether it may do everything.
    pub is_superuser: bool,
    /// Whether it owns the log, or is of the role that does.
    pub owns: bool,
    /// What it may do to the log and must not: `UPDATE`, `DELETE`, `TRUNCATE`.
    pub may: Vec<&'static str>,
    /// What it must be allowed and is not, such as `INSERT on log`.
    pub lacks: Vec<String>,
    /// `synchronous_commit`, as this role and database have it.
    pub synchronous_commit: String,
    /// `fsync`.
    pub fsync: bool,
    /// `full_page_writes`.
    pub full_page_writes: bool,
    /// `synchronous_standby_names`; empty where no other server has to confirm.
    pub standbys: String,
    /// The server's clock, in milliseconds UTC.
    pub wall: i64,
    /// The schema in it; 0 where there is none.
    pub schema: i64,
    /// The schema that this release knows.
    pub known: i64,
    /// The nodes that nobody has declared dead, each with how long ago it confirmed that it is
    /// there, in milliseconds.
    pub nodes: Vec<(NodeId, i64)>,
    /// The log; `None` where there is no schema, or the role may not read it.
    pub log: Option<Inspection>,
}

/// Looks at the database. Reads only.
///
/// # Errors
/// If it cannot be reached, or is too old.
pub fn condition(server: &Server) -> Result<Condition, StoreError> {
    let mut session = Session::open(server, Wants::Reading)?;
    let told = session.raw()?.query_one(
        "SELECT current_setting('server_version'), current_user::text, \
         (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), current_setting('synchronous_commit'), \
         current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on', \
         current_setting('synchronous_standby_names'), (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint",
        &[],
    )?;
    let schema = version(&mut session)?;
    let mut found = Condition {
        version: told.try_get(0)?,
        role: told.try_get(1)?,
        is_superuser: told.try_get(2)?,
        owns: false,
        may: Vec::new(),
        lacks: Vec::new(),
        synchronous_commit: told.try_get(3)?,
        fsync: told.try_get(4)?,
        full_page_writes: told.try_get(5)?,
        standbys: told.try_get(6)?,
        wall: told.try_get(7)?,
        schema,
        known: SCHEMA,
        nodes: Vec::new(),
        log: None,
    };
    if schema == 0 {
        return Ok(found);
    }
    rights(&mut session, &mut found)?;
    if found.lacks.iter().any(|lack| lack.starts_with("SELECT")) {
        return Ok(found);
    }
    let nodes = session.query(
        "SELECT node, (EXTRACT(EPOCH FROM clock_timestamp() - renewed) * 1000)::bigint FROM lease \
         WHERE NOT dead ORDER BY node",
        &[],
    )?;
    for row in &nodes {
        found.nodes.push((NodeId(big(row, 0)?), row.try_get(1)?));
    }
    found.log = Some(log(&mut session, schema)?);
    Ok(found)
}

fn rights(session: &mut Session, found: &mut Condition) -> Result<(), StoreError> {
    let owner =
        "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('log')";
    found.owns = session.query(owner, &[])?.first().map_or(Ok(false), |r| r.try_get(0))?;
    let ask = "SELECT has_table_privilege(to_regclass($1)::oid, $2)";
    let mut may = |table: &str, right: &str| -> Result<bool, StoreError> {
        let rows = session.query(ask, &[&table, &right])?;
        let may: Option<bool> = rows.first().map_or(Ok(None), |r| r.try_get(0))?;
        Ok(may.unwrap_or(false))
    };
    for right in ["UPDATE", "DELETE", "TRUNCATE"] {
        if may("log", right)? {
            found.may.push(right);
        }
    }
    for (rights, table) in RIGHTS {
        for right in rights.split(", ") {
            if !may(table, right)? {
                found.lacks.push(format!("{right} on {table}"));
            }
        }
    }
    Ok(())
}

fn log(session: &mut Session, schema: i64) -> Result<Inspection, StoreError> {
    session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let head = read::head(session)?;
    let last = session.query("SELECT seq, at FROM log ORDER BY seq DESC LIMIT 1", &[])?;
    let (last, at): (i64, i64) =
        last.first().map_or(Ok((0, 0)), |r| Ok::<_, StoreError>((r.try_get(0)?, r.try_get(1)?)))?;
    let ask = "SELECT organisation, sealed FROM customer_id ORDER BY organisation LIMIT 1";
    let sealed = session.query(ask, &[])?;
    let sealed = sealed
        .first()
        .map(|r| Ok::<_, StoreError>((OrganisationId(big(r, 0)?), r.try_get(1)?)))
        .transpose()?;
    session.batch("COMMIT")?;
    let (known, journal) = (SCHEMA, String::new());
    let (last, last_at) = (last.unsigned_abs(), Instant(at));
    Ok(Inspection { schema, known, journal, head, last, last_at, sealed })
}
