//! `comity audit`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use comity_app::app::database;
use comity_store::verify;

use crate::say;

/// What can be done with the log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Recompute every leaf and root, and name the first row that is wrong
    ///
    /// Reads only, also beside a running server. Exit code 0: everything fits. 1: something is
    /// wrong, and the line says where.
    Verify {
        /// Folder with the databases
        #[arg(long, env = "COMITY_DATA", value_name = "FOLDER", default_value = "comity-data")]
        data: PathBuf,
    },
}

/// Runs it.
pub fn run(command: &Audit) -> anyhow::Result<ExitCode> {
    let Audit::Verify { data } = command;
    let path = database(data);
    anyhow::ensure!(
        path.exists(),
        "{}: no such file; name the data folder with --data",
        path.display()
    );
    let verdict = verify(&path)?;
    say(&format!("{}: {} rows, {} words", path.display(), verdict.rows, verdict.words));
    match verdict.first_bad {
        None => {
            say(&format!("root {}", verdict.root));
            say("every leaf and root fits");
            Ok(ExitCode::SUCCESS)
        }
        Some(bad) => {
            say(&format!("row {}: {}", bad.seq, bad.what));
            say("this is the first that is wrong; nothing after it can be trusted");
            Ok(ExitCode::FAILURE)
        }
    }
}
