//! `comity backup` and `comity copy`: a whole installation from place to place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use comity_app::app::database;
use comity_app::clock::Clock;
use comity_domain::ids::Digest32;
use comity_store::postgres::Server;
use comity_store::{Copied, Place, Reader};
use serde::{Deserialize, Serialize};

use crate::database::{Named, must_hold_a_log, passer_by};
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
    /// The data folder; with --database the one of a node, whose checkpoints and erasures go along
    #[arg(long, env = "COMITY_DATA", value_name = "FOLDER", default_value = "comity-data")]
    data: PathBuf,
    #[command(flatten)]
    named: Named,
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    form: u32,
    /// The release that made it.
    comity: String,
    /// When, in milliseconds UTC.
    at: i64,
    pub size: u64,
    pub root: Digest32,
    fork: u64,
    /// Whether no server was running: then no call count is uncertain.
    was_clean: bool,
}

impl Manifest {
    /// Of the folder that `comity backup` made.
    pub fn of(folder: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(folder.join(MANIFEST)).with_context(|| {
            format!("--from: {} is no folder that comity backup made", folder.display())
        })?;
        let manifest: Self = serde_json::from_str(&text).context(MANIFEST)?;
        ensure!(manifest.form == FORM, "{MANIFEST}: form {} is not known", manifest.form);
        Ok(manifest)
    }
}

/// A data folder, or a PostgreSQL database.
fn place(text: &str) -> anyhow::Result<Place> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Ok(Place::Postgres(Server::parse(text)?, passer_by()));
    }
    Ok(Place::Folder(text.into()))
}

/// `comity backup`: also while a server runs.
pub fn backup(flags: &Backup) -> anyhow::Result<ExitCode> {
    let from = flags.named.place(&flags.data)?;
    ensure!(!flags.to.exists(), "--to: {} is there already; name another", flags.to.display());
    let name = flags.to.file_name().context("--to: name a folder")?.to_string_lossy();
    let part = flags.to.with_file_name(format!(".{name}.part-{}", std::process::id()));
    fs::create_dir_all(&part).with_context(|| format!("--to: {}", part.display()))?;
    let made = fill(&from, &flags.data, &part).and_then(|copied| {
        fs::rename(&part, &flags.to).with_context(|| format!("--to: {}", flags.to.display()))?;
        let parent = flags.to.parent().filter(|p| !p.as_os_str().is_empty());
        sync(parent.unwrap_or(Path::new(".")))?;
        Ok(copied)
    });
    match made {
        Ok(copied) => {
            say(&format!("{}: {} rows of the log", flags.to.display(), copied.head.seq));
            say(&format!("root {}", Digest32(copied.head.root)));
            several(&copied);
            say("the key file is not in it: back it up apart");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&part); // half a backup is none
            Err(error)
        }
    }
}

fn fill(from: &Place, data: &Path, part: &Path) -> anyhow::Result<Copied> {
    // What was seen of the log before it is read is not more than what is read.
    for name in BESIDE {
        let path = data.join(name);
        if path.exists() {
            fs::copy(&path, part.join(name)).with_context(|| path.display().to_string())?;
        }
    }
    let outside = part.join("checkpoints");
    if !outside.exists()
        && let Some(newest) = Reader::at(from).latest_checkpoint()?
    {
        fs::write(&outside, newest.note + "\n")?;
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

/// Has a file or the names in a folder on the disk.
pub fn sync(path: &Path) -> anyhow::Result<()> {
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
    several(&copied);
    if !matches!((&from, &to), (Place::Folder(_), Place::Folder(_))) {
        say("take the files checkpoints and erasures of the data folder along");
    }
    say("take the key files along, and let no server start on the old place again");
    Ok(ExitCode::SUCCESS)
}

/// What books of several nodes lose when they are put together.
fn several(copied: &Copied) {
    if copied.nodes > 1 {
        say(&format!(
            "{} nodes had sealed calls: all of them are there, but the digests of those seals cannot be recomputed \
             from the copy; keep the source if they have to be",
            copied.nodes
        ));
    }
}
