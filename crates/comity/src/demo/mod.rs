//! `comity demo`: a server with a believable world in it.

mod actor;
mod cast;
mod story;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::Args;
use comity_api::limits;
use comity_app::clock::Clock;
use comity_app::people::passwords::Cost;
use comity_app::{App, Settings, mail};
use comity_domain::time::DAY;
use tokio::net::TcpListener;

use crate::{config, logs, say, serve};

/// How long ago the demo's world begins, in days.
const DAYS: i64 = 60;
/// What marks a folder as the demo's own, to be made anew.
const MARK: &str = ".comity-demo";

/// What can be said about the demo.
#[derive(Debug, Args)]
pub struct Flags {
    /// Address to listen on; must be loopback
    #[arg(
        long,
        env = "COMITY_DEMO_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8420"
    )]
    listen: std::net::SocketAddr,
    /// Folder for everything, made anew at each start
    #[arg(long, env = "COMITY_DEMO_DATA", value_name = "FOLDER", default_value = "comity-demo")]
    data: PathBuf,
    /// Limit nobody, for programs that try everything many times
    #[arg(long, env = "COMITY_DEMO_NO_LIMITS", value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    no_limits: bool,
    /// Config file whose section "gate" holds; nothing else of it is read
    #[arg(long, env = "COMITY_DEMO_GATE", value_name = "FILE")]
    gate: Option<PathBuf>,
}

/// Seeds the world and serves it.
pub fn demo(flags: &Flags) -> anyhow::Result<ExitCode> {
    ensure!(
        flags.listen.ip().is_loopback(),
        "--listen: {} is not a loopback address; the demo's passwords are public",
        flags.listen
    );
    let gate = flags.gate.as_deref().map(config::gate).transpose()?.flatten();
    logs::start(tracing::Level::WARN, false);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = serve::Told::new()?;
        let listener = TcpListener::bind(flags.listen)
            .await
            .with_context(|| format!("--listen: {}", flags.listen))?;
        fresh(&flags.data)?;
        let real = Clock::system().now();
        let clock = Arc::new(Clock::simulated(real.plus(-DAYS * DAY)));
        let key_file = flags.data.join("comity.key");
        // By name: passkeys belong to one. Everything in the demo is reached from this machine.
        let url = format!("http://localhost:{}", listener.local_addr()?.port());
        let settings = Settings::new(flags.data.clone(), key_file, Cost::LIGHT);
        // What happens in the sixty days that are made up is in the inboxes; from now on it is told.
        let mail = mail::Settings { since: real, ..printed()? };
        let settings = Settings { issuer: url.clone(), mail: Some(mail), ..settings };
        let app = App::start(&settings, clock.clone())?;
        let world = world::seed(&app, &clock, real).await?;
        clock.hand_over();
        world.write_env(&flags.data.join("demo.env"), &url)?;
        for line in world.lines(&url, &flags.data) {
            say(&line);
        }
        let limits = if flags.no_limits { limits::Settings::off() } else { Default::default() };
        let console = comity_console::Settings { demo: true };
        let doors = serve::Doors { limits, console, gate };
        serve::run(app, listener, None, doors, stop).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn printed() -> anyhow::Result<mail::Settings> {
    mail::Settings::print("comity@localhost", crate::mail::told).map_err(anyhow::Error::msg)
}

/// An empty folder. One that somebody else made is left alone.
fn fresh(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        let ours = folder.join(MARK).exists();
        let empty = std::fs::read_dir(folder)?.next().is_none();
        ensure!(
            ours || empty,
            "--data: {} is not a folder of the demo; name another",
            folder.display()
        );
        ensure!(
            !in_use(folder),
            "--data: a demo is running in {}; stop it first, or name another folder",
            folder.display()
        );
        std::fs::remove_dir_all(folder).with_context(|| format!("--data: {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("--data: {}", folder.display()))?;
    std::fs::write(folder.join(MARK), "made anew by each start of comity demo\n")?;
    Ok(())
}

/// Whether a server holds the lock beside the database in this folder.
fn in_use(folder: &Path) -> bool {
    let lock = std::fs::File::open(folder.join("comity.db.lock"));
    lock.is_ok_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}
