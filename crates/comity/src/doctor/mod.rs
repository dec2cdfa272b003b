//! `comity doctor`: what is wrong with an installation, why, and what to do about it.
//!
//! Reads only, and holds nothing that a server needs: it may be run at any time.

mod data;
mod postgres;
mod settings;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::config::Flags;
use crate::say;

/// What can be said to it: what would be said to the server.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    flags: Flags,
    /// Print a JSON list instead of lines
    #[arg(long)]
    json: bool,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and something should be done.
    Warn,
    /// It must not be run like this.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    level: Level,
    name: &'static str,
    says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    way_out: Option<String>,
}

/// Everything that was looked at, in order.
#[derive(Debug, Default)]
pub struct Checks(Vec<Check>);

impl Checks {
    fn ok(&mut self, name: &'static str, says: impl Into<String>) {
        self.0.push(Check { level: Level::Ok, name, says: says.into(), way_out: None });
    }

    fn warn(&mut self, name: &'static str, says: impl Into<String>, way_out: impl Into<String>) {
        let way_out = Some(way_out.into());
        self.0.push(Check { level: Level::Warn, name, says: says.into(), way_out });
    }

    fn fail(&mut self, name: &'static str, says: impl Into<String>, way_out: impl Into<String>) {
        let way_out = Some(way_out.into());
        self.0.push(Check { level: Level::Fail, name, says: says.into(), way_out });
    }

    fn worst(&self) -> Level {
        self.0.iter().map(|c| c.level).max().unwrap_or(Level::Ok)
    }
}

/// Runs it. Exit code 1 if anything must not be run like this.
pub fn run(doctor: &Doctor) -> anyhow::Result<ExitCode> {
    let mut checks = Checks::default();
    if let Some(config) = settings::check(&doctor.flags, &mut checks) {
        data::check(&config, &mut checks);
    }
    if doctor.json {
        say(&serde_json::to_string_pretty(&checks.0)?);
    } else {
        for check in &checks.0 {
            let level = match check.level {
                Level::Ok => "ok  ",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            say(&format!("{level}  {:<12}  {}", check.name, check.says));
            if let Some(way_out) = &check.way_out {
                say(&format!("{:20}-> {way_out}", ""));
            }
        }
    }
    Ok(if checks.worst() == Level::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
