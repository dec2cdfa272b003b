//! Reaching the server: the URL, TLS by rustls with the host's name verified, time-outs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::postgres::config::Host;
use ::postgres::error::Severity;
use ::postgres::{Client, NoTls, Row, Statement};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::bounded::Bounded;
use crate::log::StoreError;

/// The oldest server that is used: 15.
pub const MIN_VERSION: i32 = 150_000;
/// How long reaching the server may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How long what was sent may stay unacknowledged before the connection counts as broken.
const UNACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);

/// A PostgreSQL database, as it was named. Shows no password.
#[derive(Clone)]
pub struct Server(Arc<Named>);

struct Named {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.shown())
    }
}

fn refused(why: impl Into<String>) -> StoreError {
    StoreError::Place(why.into())
}

impl Server {
    /// Reads `postgres://user:password@host:port/database`. Parameters are those of the
    /// `tokio-postgres` crate, and of libpq's:
    ///
    /// - `sslmode`: `verify-full` (where nothing else is said), or `disable`, which is accepted
    ///   only for a socket in the file system or a loopback address.
    /// - `sslrootcert`: a file of certificate authorities (PEM); the system's own without it.
    ///
    /// # Errors
    /// [`StoreError::Place`] says what is wrong with it, without its password.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(refused("a database is named postgres://user@host/name"));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut kept, mut mode, mut authorities) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => authorities = Some(PathBuf::from(unescaped(value))),
                _ => kept.push(pair),
            }
        }
        let bare = format!("{base}?{}", kept.join("&"));
        let mut config: Config = bare.parse().map_err(|e: ::postgres::Error| {
            use std::error::Error as _;
            let why = e.source().map_or_else(|| e.to_string(), ToString::to_string);
            refused(format!("the database's URL cannot be read: {why}"))
        })?;
        // The rest of a password that was not escaped: it would be shown wherever the host is.
        let odd = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
        if config.get_hosts().iter().any(odd) {
            return Err(refused("an @ in the user's name or password has to be written as %40"));
        }
        let near = config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost"
                    || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback);
        let tls = match mode {
            Some("disable") if near => None,
            Some("disable") => {
                return Err(refused(
                    "sslmode=disable is accepted only for a loopback address; use verify-full",
                ));
            }
            None if near && authorities.is_none() => None,
            None | Some("verify-full") => Some(tls(authorities)?),
            Some(other) => {
                return Err(refused(format!(
                    "sslmode={other} does not prove who the server is; use verify-full"
                )));
            }
        };
        let required = if tls.is_some() {
            ::postgres::config::SslMode::Require
        } else {
            ::postgres::config::SslMode::Disable
        };
        if config.get_application_name().is_none() {
            config.application_name("comity");
        }
        config.ssl_mode(required).connect_timeout(CONNECT_WITHIN);
        config.tcp_user_timeout(UNACKNOWLEDGED_WITHIN).keepalives_idle(Duration::from_secs(30));
        Ok(Self(Arc::new(Named { config, tls })))
    }

    /// Whether the connection is verified by TLS; one on the machine itself need not be.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.0.tls.is_some()
    }

    /// Whether its URL holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.0.config.get_password().is_some()
    }

    /// Where it is, without secrets: for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        let host = self.0.config.get_hosts().first().map_or_else(String::new, |host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let port = self.0.config.get_ports().first().copied().unwrap_or(5432);
        format!("postgres://{host}:{port}/{}", self.0.config.get_dbname().unwrap_or_default())
    }

    /// The server's own `dbname`, `user` and the rest, to open a connection that is none of ours.
    pub(crate) fn client(&self, warned: &Warned) -> Result<Client, StoreError> {
        let mut config = ::postgres::Config::from(self.0.config.clone());
        let heard = warned.clone();
        config.notice_callback(move |notice| heard.hear(&notice));
        Ok(match &self.0.tls {
            Some(tls) => config.connect(tls.clone())?,
            None => config.connect(NoTls)?,
        })
    }
}

/// `%2F` and the like.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let byte = tail.get(..2).filter(|_| *first == b'%').and_then(|two| {
            std::str::from_utf8(two).ok().and_then(|two| u8::from_str_radix(two, 16).ok())
        });
        out.push(byte.unwrap_or(*first));
        rest = tail.get(byte.map_or(0, |_| 2)..).unwrap_or_default();
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// TLS 1.2 or 1.3 with the server's certificate and name verified.
fn tls(authorities: Option<PathBuf>) -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = rustls::RootCertStore::empty();
    match authorities {
        Some(path) => {
            let told = |why: String| refused(format!("sslrootcert {}: {why}", path.display()));
            let found = CertificateDer::pem_file_iter(&path).map_err(|e| told(e.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|e| told(e.to_string()))?;
                roots.add(certificate).map_err(|e| told(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(told("holds no certificate".into()));
            }
        }
        None => {
            for certificate in rustls_native_certs::load_native_certs().certs {
                let _ = roots.add(certificate); // one that cannot be read proves nobody
            }
            if roots.is_empty() {
                return Err(refused(
                    "the system has no certificate authorities; name a file by sslrootcert",
                ));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| refused(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// What the server said beside its answers, if it was a warning or worse.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warned {
    any: Arc<AtomicBool>,
    last: Arc<Mutex<String>>,
}

impl Warned {
    pub fn hear(&self, notice: &::postgres::error::DbError) {
        let harmless = matches!(
            notice.parsed_severity(),
            Some(Severity::Debug | Severity::Info | Severity::Log | Severity::Notice)
        );
        if harmless {
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = format!("{} ({})", notice.message(), notice.code().code());
        self.any.store(true, Ordering::Release);
    }

    pub fn check(&self) -> Result<(), StoreError> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Err(refused(format!("the server warned, so nothing on this connection counts: {last}")))
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Only to read.
    Reading,
    /// To write: nobody may be held up by it for long, and a commit means a durable one.
    Writing,
    /// To change the schema.
    Migrating,
}

/// A connection with the statements that it has prepared.
pub(crate) struct Session {
    client: Owned,
    prepared: HashMap<&'static str, Statement>,
    warned: Warned,
}

/// A client that may be let go of anywhere: saying farewell waits for the network, which an async
/// thread must not.
struct Owned(Option<Kind>);

enum Kind {
    /// Waits as long as it takes: for whoever reads much, or changes the schema.
    Patient(Client),
    /// Waits a few seconds at most.
    Bounded(Bounded),
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            std::thread::spawn(move || drop(client));
        }
    }
}

impl Owned {
    fn get(&mut self) -> Result<&mut Kind, StoreError> {
        self.0.as_mut().ok_or_else(|| refused("the connection was let go"))
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, StoreError> {
        match self.get()? {
            Kind::Patient(client) => Ok(client.prepare(sql)?),
            Kind::Bounded(client) => client.ask(|c| c.prepare(sql)),
        }
    }

    fn query(&mut self, sql: &Statement, bound: Bound<'_>) -> Result<Vec<Row>, StoreError> {
        match self.get()? {
            Kind::Patient(client) => Ok(client.query(sql, bound)?),
            Kind::Bounded(client) => client.ask(|c| c.query(sql, bound)),
        }
    }

    fn execute(&mut self, sql: &Statement, bound: Bound<'_>) -> Result<u64, StoreError> {
        match self.get()? {
            Kind::Patient(client) => Ok(client.execute(sql, bound)?),
            Kind::Bounded(client) => client.ask(|c| c.execute(sql, bound)),
        }
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        match self.get()? {
            Kind::Patient(client) => Ok(client.batch_execute(sql)?),
            Kind::Bounded(client) => client.ask(|c| c.batch_execute(sql)),
        }
    }

    /// A setting as the server shows it.
    fn show(&mut self, sql: &str) -> Result<String, StoreError> {
        let sql = self.prepare(sql)?;
        let rows = self.query(&sql, &[])?;
        let row = rows.first().ok_or_else(|| refused("the server shows no such setting"))?;
        Ok(row.try_get(0)?)
    }
}

type Bound<'a> = &'a [&'a (dyn ::postgres::types::ToSql + Sync)];

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session(..)")
    }
}

impl Session {
    pub fn open(server: &Server, wants: Wants) -> Result<Self, StoreError> {
        let warned = Warned::default();
        let mut client = Owned(Some(match wants {
            Wants::Writing => {
                Kind::Bounded(Bounded::open(&server.0.config, server.0.tls.as_ref(), &warned)?)
            }
            Wants::Reading | Wants::Migrating => Kind::Patient(server.client(&warned)?),
        }));
        client.batch(match wants {
            Wants::Reading => "SET default_transaction_read_only = on",
            Wants::Writing => {
                "SET idle_in_transaction_session_timeout = 1000; SET lock_timeout = 2000"
            }
            Wants::Migrating => "SET lock_timeout = 30000",
        })?;
        if wants == Wants::Writing {
            // Whoever set it lower did not think of a log: a confirmed commit is a durable one.
            let commits = client.show("SHOW synchronous_commit")?;
            if !["on", "remote_apply"].contains(&commits.as_str()) {
                client.batch("SET synchronous_commit = on")?;
            }
        }
        let version = client.show("SHOW server_version_num")?;
        if version.parse::<i32>().is_ok_and(|v| v < MIN_VERSION) {
            return Err(refused(format!("the server is too old ({version}); 15 is needed")));
        }
        warned.check()?;
        Ok(Self { client, prepared: HashMap::new(), warned })
    }

    pub fn is_closed(&self) -> bool {
        let closed = match &self.client.0 {
            None => true,
            Some(Kind::Patient(client)) => client.is_closed(),
            Some(Kind::Bounded(client)) => client.is_closed(),
        };
        closed || self.warned.check().is_err()
    }

    /// Whether the server warned since the connection was opened.
    pub fn warned(&self) -> Result<(), StoreError> {
        self.warned.check()
    }

    /// The connection itself, for what is done once.
    pub fn raw(&mut self) -> Result<&mut Client, StoreError> {
        match self.client.get()? {
            Kind::Patient(client) => Ok(client),
            Kind::Bounded(_) => Err(refused("this is done on a connection that may wait")),
        }
    }

    fn statement(&mut self, sql: &'static str) -> Result<Statement, StoreError> {
        if let Some(known) = self.prepared.get(sql) {
            return Ok(known.clone());
        }
        let made = self.client.prepare(sql)?;
        self.prepared.insert(sql, made.clone());
        Ok(made)
    }

    pub fn query(
        &mut self,
        sql: &'static str,
        bound: &[&(dyn ::postgres::types::ToSql + Sync)],
    ) -> Result<Vec<::postgres::Row>, StoreError> {
        let statement = self.statement(sql)?;
        self.client.query(&statement, bound)
    }

    pub fn execute(
        &mut self,
        sql: &'static str,
        bound: &[&(dyn ::postgres::types::ToSql + Sync)],
    ) -> Result<u64, StoreError> {
        let statement = self.statement(sql)?;
        self.client.execute(&statement, bound)
    }

    pub fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.client.batch(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t54_only_a_verified_server_or_one_on_this_machine_is_accepted() {
        for fine in [
            "postgres://comity@127.0.0.1/comity",
            "postgres://comity@localhost:5433/comity?sslmode=disable",
            "postgresql://comity@%2Frun%2Fpostgresql/comity",
        ] {
            assert!(!Server::parse(fine).unwrap().is_verified(), "{fine}");
        }
        for (bad, why) in [
            ("postgres://comity:hunter2@db.example/comity?sslmode=disable", "loopback"),
            ("postgres://comity:hunter2@db.example/comity?sslmode=require", "verify-full"),
            ("postgres://comity:hunter2@db.example/comity?sslmode=prefer", "verify-full"),
            ("postgres://comity:hunter2@db.example/c?sslrootcert=%2Fno%2Fsuch", "/no/such"),
            ("postgres://comity:hunter2@db.example/c?nonsense=1", "nonsense"),
            ("postgres://comity:p@hunter2@db.example/c", "%40"),
            ("mysql://comity:hunter2@db.example/comity", "postgres://"),
            ("comity.db", "postgres://"),
        ] {
            let told = Server::parse(bad).unwrap_err().to_string();
            assert!(told.contains(why), "{bad}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        let named = Server::parse("postgres://comity:hunter2@127.0.0.1:5433/comity").unwrap();
        assert_eq!(format!("{named:?}"), "Server(postgres://127.0.0.1:5433/comity)");
    }
}
