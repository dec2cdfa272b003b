//! `comity restore`: going on from the past.
//!
//! A backup does not know what was ended after it was made. So nothing of it opens anything again:
//! one command raises the fork, ends sessions, sign-ins and keys, lets every grant wait for its
//! customer's word and every member for the builder's directory, makes passwords void, and erases
//! again what was erased since. Until that stands in the log the folder and the copy say that a restore is under way, and
//! whoever starts on either says no yes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use comity_app::app::{database, opens_sealed};
use comity_app::checkpoints::Places;
use comity_app::clock::Clock;
use comity_app::keys::Keys;
use comity_app::people::passwords::Cost;
use comity_app::{App, Settings, erasures, guard};
use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command};
use comity_domain::ids::Digest32;
use comity_domain::organisation::Standing;
use comity_domain::person::Member;
use comity_domain::state::State;
use comity_domain::text::Subject;
use comity_store::{Place, Reader, copy_to_restore, inspect, verify};

use crate::carry::{Manifest, sync};
use crate::database::{Named, passer_by, shown};
use crate::say;

/// What can be said to `comity restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The folder that comity backup made
    #[arg(long, value_name = "FOLDER", required_unless_present = "in_place")]
    from: Option<PathBuf>,
    /// Data folder: a new one; with --in-place the one whose database was put back by hand
    #[arg(long, env = "COMITY_DATA", value_name = "FOLDER", default_value = "comity-data")]
    data: PathBuf,
    #[command(flatten)]
    named: Named,
    /// Key file of the installation; backups do not hold it [default: comity.key in the data folder]
    #[arg(long, env = "COMITY_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Key file of the checkpoints; backups do not hold it
    /// [default: checkpoint.key in the data folder]
    #[arg(long, env = "COMITY_CHECKPOINT_KEY", value_name = "FILE")]
    checkpoint_key: Option<PathBuf>,
    /// File outside the database with the signed checkpoints [default: checkpoints in the data folder]
    #[arg(long, env = "COMITY_CHECKPOINT_FILE", value_name = "FILE")]
    checkpoint_file: Option<PathBuf>,
    /// Go on from the older database that was put back
    #[arg(long, conflicts_with = "from")]
    in_place: bool,
    /// Keep memberships and passwords as they are in the copy: only if you know that since it was
    /// made nobody left, lost a portal role, was suspended or changed a password
    #[arg(long)]
    keep_people: bool,
}

impl Restore {
    fn settings(&self) -> anyhow::Result<Settings> {
        let inside = Places::inside(&self.data);
        let key_file = self.key_file.clone().unwrap_or_else(|| self.data.join("comity.key"));
        let checkpoints = Places {
            key_file: self.checkpoint_key.clone().unwrap_or(inside.key_file),
            outside: self.checkpoint_file.clone().unwrap_or(inside.outside),
        };
        let settings = Settings::new(self.data.clone(), key_file, Cost::DEFAULT);
        let settings = Settings { checkpoints, ..settings };
        Ok(match self.named.server()? {
            Some(server) => settings.on(server),
            None => settings,
        })
    }
}

/// Where the log of an installation is.
fn place(settings: &Settings) -> Place {
    match &settings.database {
        Some(server) => Place::Postgres(server.clone(), passer_by()),
        None => Place::Folder(settings.data.clone()),
    }
}

/// `comity restore`.
pub fn restore(flags: &Restore) -> anyhow::Result<ExitCode> {
    let settings = flags.settings()?;
    let to = place(&settings);
    match &flags.from {
        None => {
            flags.named.place(&settings.data)?;
            sound(&to)?;
            fs::create_dir_all(&settings.data)?;
            guard::begin_restore(&settings.data)?;
        }
        Some(from) => put(from, &to, &settings)?,
    }
    go_on(&settings, &to, flags.keep_people)
}

/// Puts a backup into place; nothing is open there yet.
fn put(from: &Path, to: &Place, settings: &Settings) -> anyhow::Result<()> {
    let data = &settings.data;
    let manifest = Manifest::of(from)?;
    let source = Place::Folder(from.into());
    match to {
        Place::Folder(_) => ensure!(
            !database(data).exists(),
            "--data: {} has a database; name a new folder",
            data.display()
        ),
        Place::Postgres(server, _) => {
            let rows = Reader::connect(server).head().with_context(|| {
                format!("{}: cannot be read; it has to be made by comity migrate", server.shown())
            })?;
            ensure!(
                rows.seq == 0,
                "--database: {} has a log; name an empty, migrated one",
                server.shown()
            );
        }
    }
    ensure!(
        sound(&source)? == (manifest.size, manifest.root),
        "--from: the log in it is not the one that its manifest names"
    );
    keys(from, settings)?;
    fs::create_dir_all(data).with_context(|| format!("--data: {}", data.display()))?;
    // From here on no start answers yes before the end is reached.
    guard::begin_restore(data)?;
    remember(&erasures::file(from), &erasures::file(data))?;
    let (seen, outside) = (from.join("checkpoints"), &settings.checkpoints.outside);
    if seen.exists() && !outside.exists() {
        fs::copy(&seen, outside).with_context(|| outside.display().to_string())?;
        sync(outside)?;
    }
    sync(data)?;
    copy_to_restore(&source, to)?;
    Ok(())
}

/// The keys that the backup was made under are there, before anything is touched.
fn keys(from: &Path, settings: &Settings) -> anyhow::Result<()> {
    let path = &settings.key_file;
    ensure!(
        path.exists(),
        "--key-file: {}: there is none; put the installation's own there first",
        path.display()
    );
    let (keys, _) = Keys::open(path)?;
    let reader = Reader::new(&database(from));
    if let Some((organisation, sealed)) = inspect(&database(from))?.sealed
        && !opens_sealed(&keys, &reader, organisation, &sealed)?
    {
        bail!("--key-file: {} is not the one that the backup was made under", path.display());
    }
    let path = &settings.checkpoints.key_file;
    ensure!(
        path.exists() || reader.latest_checkpoint()?.is_none(),
        "--checkpoint-key: {}: there is none; put the installation's own there first, or make a new one with comity \
         audit key --new --data {} --checkpoint-key {}",
        path.display(),
        from.display(),
        path.display()
    );
    Ok(())
}

/// Everything adds up, or nothing is restored.
fn sound(place: &Place) -> anyhow::Result<(u64, Digest32)> {
    let verdict = verify(&Reader::at(place), None)?;
    if let Some(bad) = verdict.first_bad {
        bail!("{}: row {}: {}", shown(place), bad.seq, bad.what);
    }
    Ok((verdict.rows, verdict.root))
}

/// Adds what one list of erasures says to the other, so that a restore that is begun anew knows it.
fn remember(list: &Path, to: &Path) -> anyhow::Result<()> {
    let known: BTreeSet<Subject> = erasures::read(to)?.into_iter().map(|e| e.subject).collect();
    let mut file = File::options().create(true).append(true).open(to)?;
    for erasure in erasures::read(list).with_context(|| list.display().to_string())? {
        if !known.contains(&erasure.subject) {
            writeln!(file, "{}", serde_json::to_string(&erasure)?)?;
        }
    }
    file.sync_all()?;
    Ok(())
}

/// Raises the fork, ends what is older, erases again, and makes a key for the operator.
fn go_on(settings: &Settings, place: &Place, keep_people: bool) -> anyhow::Result<ExitCode> {
    let fork = Reader::at(place).head()?.true_fork() + 1;
    let list = erasures::file(&settings.data);
    let erased: Vec<Subject> = erasures::read(&list)
        .with_context(|| list.display().to_string())?
        .into_iter()
        .map(|e| e.subject)
        .collect();
    // Before the first checkpoint of the new fork is signed: it has a file of its own.
    let kept = guard::put_aside(&settings.checkpoints.outside, fork)?;
    let app = App::start_restoring(settings, Arc::new(Clock::system()))?;
    let before = app.state();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        app.run(&Caller::system(), Command::Restore { fork, erased, keep_people }).await?;
        app.make_key(&Caller::system(), KeyUse::Operate, None).await
    });
    let (secret, _) = done.map_err(|e| anyhow::anyhow!("the fork could not be raised: {e:?}"))?;
    app.stop();
    let after = app.state();
    drop(app);
    let (rows, root) = sound(place)?;
    guard::end_restore(&settings.data)?;
    say(&format!("{}: fork {fork}, {rows} rows", shown(place)));
    say(&format!("root {root}, and everything fits"));
    told(&before, &after, keep_people);
    let again = after.erasure_count().saturating_sub(before.erasure_count());
    if again > 0 {
        say(&format!("erased again: {again}"));
    }
    if let Some(kept) = kept {
        say(&format!("the checkpoints of before are kept: {}", kept.display()));
    }
    say("key for the operator, shown once:");
    say(&format!("  {}", secret.reveal()));
    Ok(ExitCode::SUCCESS)
}

/// What ended, and what waits for whom before it gives anything again.
fn told(before: &State, after: &State, keep_people: bool) {
    let now = before.at;
    say(&format!(
        "ended: {} sessions, {} sign-ins, {} keys",
        before.sessions.iter().filter(|(_, s)| s.is_active(now)).count(),
        before.sign_ins.len(),
        before.keys.iter().filter(|(_, k)| !k.retired).count()
    ));
    let waiting = after.grants.iter().filter(|(_, g)| g.unconfirmed.is_some()).count();
    if waiting > 0 {
        say(&format!(
            "unconfirmed: {waiting} grants. They give nothing until an Admin of each customer confirms them: what was \
             revoked, narrowed or locked after the backup is not in it"
        ));
    }
    let active = |m: &&Member| m.standing == Standing::Active;
    let members = before.members.values().filter(active).count();
    if keep_people {
        say(&format!(
            "kept: {members} memberships and the passwords, as they are in the copy. Whoever left since is back"
        ));
    } else {
        say(&format!(
            "suspended: {members} members, and every password is void. Provision the whole directory again with a \
             new key, remove who left, and only then enrol people"
        ));
    }
    say("organisations that you suspended or closed since stand as in the copy: do it again");
}
