//! Comity: partner access for multi-tenant products, in one binary.

mod audit;
mod carry;
mod config;
mod database;
mod demo;
mod doctor;
mod logs;
mod mail;
mod restore;
mod serve;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Partner access for multi-tenant products.
///
/// Organisations let other organisations' people into their tenants, with a scope and an end date,
/// see everything they do, and throw them out in an instant. Put Comity in front of your API.
#[derive(Debug, Parser)]
#[command(name = "comity", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Run a server with a believable world in it, to try things out
    ///
    /// A boat-rental platform with customers, partners, requests in all states and sessions of the
    /// last 60 days, seeded through Comity's own commands. Everything is in one folder that is made
    /// anew at each start.
    Demo(demo::Flags),
    /// Make the tables in a PostgreSQL database, or bring them up to date
    ///
    /// To be run with the role that owns the schema; the server runs with another one, which
    /// --grant-to lets in. A server on a database with another schema than its own does not start.
    Migrate(database::Migrate),
    /// Say what is wrong with an installation, why, and what to do about it
    ///
    /// Reads only, also beside a running server. Takes the same flags, variables and config file as
    /// serve. Exit code 0: nothing that must not be. 1: at least one line says FAIL.
    Doctor(doctor::Doctor),
    /// Make a copy that can be carried away, also while a server runs
    ///
    /// A folder with the log, the words, the secrets as they are sealed, the books of calls, the
    /// newest checkpoints and a manifest; every leaf is recomputed on the way. The key file is not
    /// in it.
    Backup(carry::Backup),
    /// Go on from a backup, or from an older database that was put back
    ///
    /// Everything is verified first. Sessions, sign-ins and keys of before are ended; a new key for
    /// the operator is printed. Until that is done no decision from the folder is yes.
    Restore(restore::Restore),
    /// Move an installation to another place, such as from SQLite to PostgreSQL
    ///
    /// The server must be stopped. Roots, sessions and keys stay as they are.
    Copy(carry::Copy),
    /// Check the log that everything stands on
    #[command(subcommand)]
    Audit(audit::Audit),
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    // What is made from here on is for the owner's eyes only (T48).
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let done = match cli.command {
        Command::Serve(flags) => serve::serve(&flags),
        Command::Demo(flags) => demo::demo(&flags),
        Command::Migrate(flags) => database::run(&flags),
        Command::Doctor(command) => doctor::run(&command),
        Command::Backup(flags) => carry::backup(&flags),
        Command::Restore(flags) => restore::restore(&flags),
        Command::Copy(flags) => carry::copy(&flags),
        Command::Audit(command) => audit::run(&command),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let reasons: Vec<String> = error.chain().map(ToString::to_string).collect();
            tell(&format!("comity: {}", reasons.join(": ")));
            std::process::ExitCode::FAILURE
        }
    }
}

/// A line for the person at the terminal.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}"); // a closed terminal is no reason to fail
}

/// A line of complaint.
fn tell(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}
