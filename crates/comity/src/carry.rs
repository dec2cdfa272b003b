//! `comity backup`, `comity restore`, `comity copy`: a whole installation from place to place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use comity_app::app::database;
use comity_app::clock::Clock;
use comity_app::guard;
use comity_app::people::passwords::Cost;
use comity_app::{App, Settings, random};
use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command};
use comity_domain::ids::Digest32;
use comity_store::postgres::Server;
use comity_store::{Copied, NodeId, Place, Reader, verify};
use serde::{Deserialize, Serialize};

use crate::say;

/// What a backup says about itself.
const MANIFEST: &str = "manifest.json";
/// The form of the folder; another one is refused.
const FORM: u32 = 1;
/// Files of the data folder that go along as they are.
const BESIDE: [&str; 2] = ["checkpoints", "erasures"];

/// What can be said to `comity backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// What to back up: a data folder, or a PostgreSQL database as postgres://…
    #[arg(long, env = "COMITY_DATA", value_name = "PLACE", default_value = "comity-data")]
    data: String,
    /// Folder to make; it appears under this name once it is whole
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

/// What can be said to `comity copy`.
#[derive(Debug, Args)]
pub struct Copy {
    /// The installation: a data folder, or a PostgreSQL database as postgres://…
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// Where it goes: a folder without a database, or an empty, migrated PostgreSQL database
    #[arg(long, value_name = "PLACE")]
    to: String,
}

/// What can be said to `comity restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The folder that comity backup made
    #[arg(long, value_name = "FOLDER", required_unless_present = "in_place")]
    from: Option<PathBuf>,
    /// Data folder: a new one; with --in-place the one whose database was put back by hand
    #[arg(long, env = "COMITY_DATA", value_name = "FOLDER", default_value = "comity-data")]
    data: PathBuf,
    /// Key file of the installation; backups do not hold it [default: comity.key in the data folder]
    #[arg(long, env = "COMITY_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Go on from the older database that lies in the data folder
    #[arg(long, conflicts_with = "from")]
    in_place: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    form: u32,
    /// The release that made it.
    comity: String,
    /// When, in milliseconds UTC.
    at: i64,
    size: u64,
    root: Digest32,
    fork: u64,
    /// Whether no server was running: then no call count is uncertain.
    was_clean: bool,
}

/// A data folder, or a PostgreSQL database.
fn place(text: &str) -> anyhow::Result<Place> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let node = NodeId(u128::from_be_bytes(random::bytes()));
        return Ok(Place::Postgres(Server::parse(text)?, node));
    }
    Ok(Place::Folder(text.into()))
}

fn must_hold_a_log(place: &Place) -> anyhow::Result<()> {
    if let Place::Folder(folder) = place {
        let path = database(folder);
        ensure!(path.exists(), "{}: no such file; name the data folder", path.display());
    }
    Ok(())
}

/// `comity backup`: also while a server runs.
pub fn backup(flags: &Backup) -> anyhow::Result<ExitCode> {
    let from = place(&flags.data)?;
    must_hold_a_log(&from)?;
    ensure!(!flags.to.exists(), "--to: {} is there already; name another", flags.to.display());
    let name = flags.to.file_name().context("--to: name a folder")?.to_string_lossy();
    let part = flags.to.with_file_name(format!(".{name}.part-{}", std::process::id()));
    fs::create_dir_all(&part).with_context(|| format!("--to: {}", part.display()))?;
    let made = fill(&from, &part).and_then(|copied| {
        fs::rename(&part, &flags.to).with_context(|| format!("--to: {}", flags.to.display()))?;
        let parent = flags.to.parent().filter(|p| !p.as_os_str().is_empty());
        sync(parent.unwrap_or(Path::new(".")))?;
        Ok(copied)
    });
    match made {
        Ok(copied) => {
            say(&format!("{}: {} rows of the log", flags.to.display(), copied.head.seq));
            say(&format!("root {}", Digest32(copied.head.root)));
            say("the key file is not in it: back it up apart");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&part); // half a backup is none
            Err(error)
        }
    }
}

fn fill(from: &Place, part: &Path) -> anyhow::Result<Copied> {
    // What was seen of the log before it is read is not more than what is read.
    if let Place::Folder(folder) = from {
        for name in BESIDE {
            let path = folder.join(name);
            if path.exists() {
                fs::copy(&path, part.join(name)).with_context(|| path.display().to_string())?;
            }
        }
    }
    let copied = comity_store::copy(from, &Place::Folder(part.into()), false)?;
    let manifest = Manifest {
        form: FORM,
        comity: env!("CARGO_PKG_VERSION").into(),
        at: Clock::system().now().0,
        size: copied.head.seq,
        root: Digest32(copied.head.root),
        fork: copied.head.fork,
        was_clean: copied.was_clean,
    };
    fs::write(part.join(MANIFEST), serde_json::to_string_pretty(&manifest)? + "\n")?;
    for entry in fs::read_dir(part)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "lock") {
            fs::remove_file(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(part)?;
    Ok(copied)
}

fn sync(path: &Path) -> anyhow::Result<()> {
    let done = File::open(path).and_then(|file| file.sync_all());
    done.with_context(|| path.display().to_string())
}

/// `comity copy`: no server may run on either.
pub fn copy(flags: &Copy) -> anyhow::Result<ExitCode> {
    let (from, to) = (place(&flags.from)?, place(&flags.to)?);
    must_hold_a_log(&from)?;
    if let Place::Folder(folder) = &to {
        ensure!(
            !database(folder).exists(),
            "--to: {} has a database; name another folder",
            folder.display()
        );
        fs::create_dir_all(folder).with_context(|| format!("--to: {}", folder.display()))?;
    }
    let copied = comity_store::copy(&from, &to, true)?;
    if let (Place::Folder(from), Place::Folder(to)) = (&from, &to) {
        for name in BESIDE.iter().filter(|name| from.join(name).exists()) {
            fs::copy(from.join(name), to.join(name))?;
            sync(&to.join(name))?;
        }
    }
    say(&format!("{} rows of the log, {} in all tables", copied.head.seq, copied.rows));
    say(&format!("root {}, the same on both", Digest32(copied.head.root)));
    if !copied.was_clean {
        say("the server had not been stopped cleanly: call counts may read \"at most\"");
    }
    say("take the key file along, and let no server start on the old place again");
    Ok(ExitCode::SUCCESS)
}

/// `comity restore`.
pub fn restore(flags: &Restore) -> anyhow::Result<ExitCode> {
    let data = &flags.data;
    let key_file = flags.key_file.clone().unwrap_or_else(|| data.join("comity.key"));
    match &flags.from {
        None => {
            must_hold_a_log(&Place::Folder(data.clone()))?;
            sound(&database(data))?;
            guard::begin_restore(data)?;
        }
        Some(from) => {
            let text = fs::read_to_string(from.join(MANIFEST)).with_context(|| {
                format!("--from: {} is no folder that comity backup made", from.display())
            })?;
            let manifest: Manifest = serde_json::from_str(&text).context(MANIFEST)?;
            ensure!(manifest.form == FORM, "{MANIFEST}: form {} is not known", manifest.form);
            ensure!(
                !database(data).exists(),
                "--data: {} has a database; name a new folder",
                data.display()
            );
            let (rows, root) = sound(&database(from))?;
            ensure!(
                (rows, root) == (manifest.size, manifest.root),
                "--from: the log in it is not the one that {MANIFEST} names"
            );
            fs::create_dir_all(data).with_context(|| format!("--data: {}", data.display()))?;
            ensure!(
                key_file.exists(),
                "--key-file: {}: there is none; put the installation's own there first",
                key_file.display()
            );
            // From here on no start answers yes before the end is reached.
            guard::begin_restore(data)?;
            comity_store::copy(&Place::Folder(from.clone()), &Place::Folder(data.clone()), false)?;
            for name in BESIDE.iter().filter(|name| from.join(name).exists()) {
                fs::copy(from.join(name), data.join(name))?;
                sync(&data.join(name))?;
            }
            sync(data)?;
        }
    }
    go_on(data, key_file)
}

/// Everything adds up, or nothing is restored.
fn sound(path: &Path) -> anyhow::Result<(u64, Digest32)> {
    let verdict = verify(&Reader::new(path), None)?;
    if let Some(bad) = verdict.first_bad {
        bail!("{}: row {}: {}", path.display(), bad.seq, bad.what);
    }
    Ok((verdict.rows, verdict.root))
}

/// Raises the fork, ends what is older, and makes a key for the operator.
fn go_on(data: &Path, key_file: PathBuf) -> anyhow::Result<ExitCode> {
    let settings = Settings::new(data.into(), key_file, Cost::DEFAULT);
    let fork = comity_store::inspect(&database(data))?.head.fork + 1;
    let Some(command) = restored(fork) else {
        say(&format!("{}: restored and CLOSED", data.display()));
        say("this release cannot end what was open before: no decision is yes from this folder");
        return Ok(ExitCode::FAILURE);
    };
    let app = App::start_restoring(&settings, Arc::new(Clock::system()))?;
    let before = app.state();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        app.run(&Caller::system(), command).await?;
        app.make_key(&Caller::system(), KeyUse::Operate, None).await
    });
    let (secret, _) = done.map_err(|e| anyhow::anyhow!("the fork could not be raised: {e:?}"))?;
    app.stop();
    let kept = guard::end_restore(data, fork)?;
    say(&format!("{}: fork {fork}, {} rows", data.display(), app.state().seq));
    say(&format!(
        "ended: {} sessions, {} sign-ins, {} keys",
        before.sessions.len(),
        before.sign_ins.len(),
        before.keys.len()
    ));
    if let Some(kept) = kept {
        say(&format!("the checkpoints of before are kept: {}", kept.display()));
    }
    say("key for the operator, shown once:");
    say(&format!("  {}", secret.reveal()));
    Ok(ExitCode::SUCCESS)
}

/// The command that raises the fork and ends what is older; `None` as long as the domain has none.
/// Until then a restored folder stays closed, which is the safe side.
fn restored(_fork: u64) -> Option<Command> {
    None
}
