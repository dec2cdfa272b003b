//! How a PostgreSQL database is named, and the schema in it: `comity migrate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use comity_app::app::database;
use comity_app::random;
use comity_store::postgres::{SCHEMA, Server, grant, migrate, schema};
use comity_store::{NodeId, Place, Reader};
use serde::Deserialize;

use crate::say;

/// A URL, which may hold a password: shows nothing of itself.
#[derive(Clone, Deserialize)]
pub struct Url(String);

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Url(..)")
    }
}

impl From<String> for Url {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Which database: in files of the data folder where nothing is said.
#[derive(Debug, Default, Clone, Args)]
pub struct Named {
    /// PostgreSQL database instead of files in the data folder: postgres://role@host/name
    #[arg(long, env = "COMITY_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<Url>,
    /// File that holds the URL of the PostgreSQL database, for one with a password in it
    #[arg(long, env = "COMITY_DATABASE_FILE", value_name = "FILE")]
    database_file: Option<PathBuf>,
}

impl Named {
    /// What a config file says.
    pub fn new(database: Option<Url>, database_file: Option<PathBuf>) -> Self {
        Self { database, database_file }
    }

    /// This, or the other where nothing is said here.
    pub fn or(self, other: Self) -> Self {
        if self.database.is_some() || self.database_file.is_some() { self } else { other }
    }

    /// The database that is named.
    pub fn server(&self) -> anyhow::Result<Option<Server>> {
        let named = |what: &str| what.to_owned();
        match (&self.database, &self.database_file) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => bail!("database: name it once, there or by database_file"),
            (Some(url), None) => {
                Ok(Some(Server::parse(&url.0).with_context(|| named("database"))?))
            }
            (None, Some(path)) => {
                let told = || format!("database_file: {}", path.display());
                let text = std::fs::read_to_string(path).with_context(told)?;
                Ok(Some(Server::parse(text.trim()).with_context(told)?))
            }
        }
    }

    /// The place of the log: the database that is named, or the files in `data`, which must exist.
    /// Of PostgreSQL it is read as nobody's node.
    pub fn place(&self, data: &Path) -> anyhow::Result<Place> {
        match self.server()? {
            Some(server) => {
                let (found, shown) = (schema(&server)?, server.shown());
                ensure!(
                    found == SCHEMA,
                    "{shown}: the schema is {found} and has to be {SCHEMA}; run comity migrate"
                );
                Ok(Place::Postgres(server, passer_by()))
            }
            None => {
                let place = Place::Folder(data.into());
                must_hold_a_log(&place)?;
                Ok(place)
            }
        }
    }
}

/// The identity of one that is no node.
pub fn passer_by() -> NodeId {
    NodeId(u128::from_be_bytes(random::bytes()))
}

/// A file that is not there is no empty log.
pub fn must_hold_a_log(place: &Place) -> anyhow::Result<()> {
    if let Place::Folder(folder) = place {
        let path = database(folder);
        ensure!(
            path.exists(),
            "{}: no such file; name the data folder with --data",
            path.display()
        );
    }
    Ok(())
}

/// A place as it is told to people.
pub fn shown(place: &Place) -> String {
    match place {
        Place::Folder(folder) => database(folder).display().to_string(),
        Place::Postgres(server, _) => server.shown(),
    }
}

/// What can be said to `comity migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    named: Named,
    /// Let this role do what a server does, and nothing else: it adds to the log and never changes it
    #[arg(long, value_name = "ROLE")]
    grant_to: Option<String>,
}

/// Runs it.
pub fn run(flags: &Migrate) -> anyhow::Result<ExitCode> {
    let server = flags.named.server()?;
    let server = server.context("name the database with --database postgres://owner@host/name")?;
    let shown = server.shown();
    let before = migrate(&server)?;
    say(&match before {
        SCHEMA => format!("{shown}: schema {SCHEMA}, nothing to do"),
        0 => format!("{shown}: schema {SCHEMA} is made"),
        _ => format!("{shown}: schema {before} is now {SCHEMA}"),
    });
    if let Some(role) = &flags.grant_to {
        grant(&server, role)?;
        say(&format!(
            "{role} may read it and add to the log, and change nothing that stands there"
        ));
    } else if before == 0 {
        say("let the server's role in: comity migrate --grant-to ROLE");
    }
    let rows = Reader::connect(&server).head()?.seq;
    say(&format!("{rows} rows of the log"));
    Ok(ExitCode::SUCCESS)
}
