//! `comity audit`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use comity_app::checkpoints::{Places, verifier};
use comity_domain::ids::OrganisationId;
use comity_store::note::Verifier;
use comity_store::{Pinned, Place, Reader, export, verify, verify_export};

use crate::database::{Named, shown};
use crate::{say, tell};

/// What can be done with the log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Recompute every leaf and root, and name the first row or line that is wrong
    ///
    /// Without FILE it verifies the database, also beside a running server. With FILE it verifies
    /// an export, and needs nothing else. Exit code 0: everything fits. 1: something is wrong, and
    /// the line says where.
    Verify(Verify),
    /// Write one organisation's view of the log as JSON lines that prove themselves
    ///
    /// Its own parts whole and the rest as hashes, up to the newest signed checkpoint. Reads only,
    /// also beside a running server.
    Export(Export),
    /// Print the public key of the checkpoints, to be handed to whoever verifies
    Key(Key),
}

/// `comity audit verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// An export; without it the database is verified
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The key that must have signed, as `comity audit key` prints it
    #[arg(long, value_name = "KEY", value_parser = key_text)]
    key: Option<Verifier>,
    /// A signed checkpoint that you hold: the export must be of the same history; may be repeated
    #[arg(long = "checkpoint", value_name = "NOTE", requires = "file")]
    checkpoints: Vec<PathBuf>,
    /// Folder with the databases
    #[arg(long, env = "COMITY_DATA", value_name = "FOLDER", default_value = "comity-data")]
    data: PathBuf,
    #[command(flatten)]
    named: Named,
}

/// `comity audit export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Whose view, by its id: `org_…`
    #[arg(long, value_name = "ID", value_parser = organisation)]
    organisation: OrganisationId,
    /// Show the rows after this one; those up to it as hashes
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    since: u64,
    /// Where to write it [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

/// `comity audit key`.
#[derive(Debug, Args)]
pub struct Key {
    /// Make a new key file where the old one is lost; whoever pinned the old key must be told
    #[arg(long)]
    new: bool,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Args)]
struct At {
    /// Folder with the databases
    #[arg(long, env = "COMITY_DATA", value_name = "FOLDER", default_value = "comity-data")]
    data: PathBuf,
    #[command(flatten)]
    named: Named,
    /// Key file of the checkpoints [default: checkpoint.key in the data folder]
    #[arg(long, env = "COMITY_CHECKPOINT_KEY", value_name = "FILE")]
    checkpoint_key: Option<PathBuf>,
}

impl At {
    fn open(&self, new: bool) -> anyhow::Result<(Reader, Verifier)> {
        let reader = Reader::at(&self.named.place(&self.data)?);
        let places = Places::inside(&self.data);
        let key_file = self.checkpoint_key.as_ref().unwrap_or(&places.key_file);
        let key = verifier(&reader, key_file, new)?;
        Ok((reader, key))
    }
}

fn key_text(text: &str) -> Result<Verifier, String> {
    text.trim().parse().map_err(|_| "is no key as comity audit key prints it".into())
}

fn organisation(text: &str) -> Result<OrganisationId, String> {
    text.parse().map_err(|_| "is no identifier that starts with org_".into())
}

/// Runs it.
pub fn run(command: &Audit) -> anyhow::Result<ExitCode> {
    match command {
        Audit::Verify(Verify { file: None, key, data, named, .. }) => {
            database_at(&named.place(data)?, key.as_ref())
        }
        Audit::Verify(Verify { file: Some(file), key, checkpoints, .. }) => {
            export_in(file, key.clone(), checkpoints)
        }
        Audit::Export(command) => write(command),
        Audit::Key(Key { new, at }) => {
            say(&at.open(*new)?.1.to_string());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn database_at(place: &Place, key: Option<&Verifier>) -> anyhow::Result<ExitCode> {
    let verdict = verify(&Reader::at(place), key)?;
    say(&format!(
        "{}: {} rows, {} words, {} checkpoints",
        shown(place),
        verdict.rows,
        verdict.words,
        verdict.checkpoints
    ));
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

fn write(command: &Export) -> anyhow::Result<ExitCode> {
    let (reader, key) = command.at.open(false)?;
    let (who, since) = (command.organisation, command.since);
    let done = match &command.out {
        None => export(&reader, who, since, &key, BufWriter::new(std::io::stdout().lock()))?,
        Some(out) => {
            let named = || format!("{}", out.display());
            // What is half written must not look like an export that is there.
            let mut part = out.clone().into_os_string();
            part.push(".part");
            let part = PathBuf::from(part);
            let file = File::create(&part).with_context(named)?;
            let mut file = BufWriter::new(file);
            let done = export(&reader, who, since, &key, &mut file)?;
            file.flush().with_context(named)?;
            file.get_ref().sync_all().with_context(named)?;
            std::fs::rename(&part, out).with_context(named)?;
            done
        }
    };
    // The export itself may go to standard output.
    tell(&format!(
        "{} rows of {} with parts for {who}, {} words, {} checkpoints",
        done.rows, done.size, done.words, done.checkpoints
    ));
    if done.left_out > 0 {
        tell(&format!("{} newer rows have no checkpoint yet and are left out", done.left_out));
    }
    Ok(ExitCode::SUCCESS)
}

fn export_in(path: &Path, key: Option<Verifier>, notes: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let unpinned = key.is_none() && notes.is_empty();
    let mut pinned = Pinned { key, checkpoints: Vec::new() };
    for note in notes {
        let named = note.display().to_string();
        let text = std::fs::read_to_string(note).with_context(|| named.clone())?;
        pinned.checkpoints.push((named, text));
    }
    let file = File::open(path).with_context(|| path.display().to_string())?;
    match verify_export(BufReader::new(file), &pinned)? {
        Ok(said) => {
            say(&format!(
                "{}: {} of {} rows have parts for {}, {} words, {} checkpoints",
                path.display(),
                said.rows,
                said.size,
                said.organisation,
                said.words,
                said.checkpoints
            ));
            if said.since > 0 {
                say(&format!("rows up to {} are shown as hashes only", said.since));
            }
            say(&format!("root {}", said.root));
            say(&format!("key  {}", said.key));
            say("every line, leaf, proof and checkpoint fits");
            if unpinned {
                say(
                    "no key and no checkpoint was named to compare with: this proves that it fits itself",
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(bad) => {
            say(&format!("{}: line {}: {}", path.display(), bad.line, bad.what));
            say("this is the first that is wrong; nothing after it can be trusted");
            Ok(ExitCode::FAILURE)
        }
    }
}
