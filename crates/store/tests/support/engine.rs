//! On which engine this pass of the tests stands: files, or PostgreSQL where the environment says
//! `COMITY_TEST_STORE=postgres`.
//!
//! An installation of the tests is a folder. On PostgreSQL it holds the name of the database that
//! belongs to it, which is made and migrated when it is first asked for.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use comity_store::postgres::{Server, migrate};
use comity_store::{NodeId, Place};

use crate::postgres;

/// Whether this pass stands on PostgreSQL.
pub fn on_postgres() -> bool {
    match std::env::var("COMITY_TEST_STORE").as_deref() {
        Ok("postgres") => true,
        Ok("sqlite") | Err(std::env::VarError::NotPresent) => false,
        other => panic!("COMITY_TEST_STORE is sqlite or postgres, not {other:?}"),
    }
}

/// Whether a test has nothing to say on PostgreSQL; says so, and why.
pub fn only_on_files(why: &str) -> bool {
    if on_postgres() {
        println!("not on PostgreSQL: {why}");
    }
    on_postgres()
}

fn named_in(folder: &Path) -> PathBuf {
    folder.join("database-url")
}

/// The database of an installation's folder; none on files.
pub fn database_of(folder: &Path) -> Option<Server> {
    on_postgres().then(|| {
        let url = std::fs::read_to_string(named_in(folder)).unwrap_or_else(|_| {
            let url = copied(template());
            std::fs::write(named_in(folder), &url).unwrap();
            url
        });
        Server::parse(&url).unwrap()
    })
}

/// Where the log of an installation is, whose files are in `data`. As a node of the tests' own.
pub fn place(folder: &Path, data: &Path) -> Place {
    match database_of(folder) {
        None => Place::Folder(data.to_path_buf()),
        Some(server) => Place::Postgres(server, NodeId(0x7e57)),
    }
}

/// Gives a copied folder a copy of the database, whose installation was stopped.
pub fn copy_database(from: &Path, to: &Path) {
    if on_postgres() {
        let url = std::fs::read_to_string(named_in(from)).unwrap();
        std::fs::write(named_in(to), copied(name_of(&url))).unwrap();
    }
}

/// Every live row of an installation's tables, bytes as bytes; none on files.
pub fn tables_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    if !on_postgres() {
        return Vec::new();
    }
    let url = std::fs::read_to_string(named_in(folder)).unwrap();
    let (server, name) = (postgres::server(), name_of(&url));
    let tables =
        server.sql(name, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()");
    let read = |table: &str| {
        let text = server.sql(name, &format!("SELECT * FROM \"{table}\""));
        let mut bytes = Vec::new();
        for field in text.split(['|', '\n']) {
            match field.strip_prefix("\\x") {
                None => bytes.extend_from_slice(field.as_bytes()),
                Some(hex) => bytes.extend((0..hex.len() / 2).map(|at| {
                    let byte = hex.get(at * 2..at * 2 + 2).unwrap();
                    u8::from_str_radix(byte, 16).unwrap()
                })),
            }
            bytes.push(b'\n');
        }
        (format!("table {table}"), bytes)
    };
    tables.lines().map(read).collect()
}

/// Edits the database of an installation behind its back, as whoever may do anything; says how many
/// rows that changed. Bytes are written as [`bytes`] says.
pub fn alter(folder: &Path, statement: &str) -> usize {
    let url = std::fs::read_to_string(named_in(folder)).unwrap();
    let counted = format!("WITH done AS ({statement} RETURNING 1) SELECT count(*) FROM done");
    postgres::server().sql(name_of(&url), &counted).parse().unwrap()
}

/// Bytes as the SQL of this pass's engine writes them.
pub fn bytes(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    if on_postgres() { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// An empty, migrated database, to be copied: cheaper than to migrate each.
fn template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let url = postgres::fresh_database("template");
        // On a thread of its own: whoever asks may be on an async one.
        let server = Server::parse(&url).unwrap();
        std::thread::spawn(move || migrate(&server).unwrap()).join().unwrap();
        name_of(&url).to_owned()
    })
}

/// A database like this one, on which nobody works any more.
fn copied(from: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("{}_{}", from, NEXT.fetch_add(1, Ordering::Relaxed));
    let server = postgres::server();
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{from}'"
    );
    let make = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{from}\"");
    let began = Instant::now();
    loop {
        match server.try_sql("postgres", &make) {
            Ok(_) => return server.url(&name),
            // Connections are closed behind those who let go of them.
            Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
        }
        server.sql("postgres", &end);
        std::thread::sleep(Duration::from_millis(5));
    }
}
