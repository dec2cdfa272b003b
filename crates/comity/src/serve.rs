//! `comity serve`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use comity_api::server::serve_behind;
use comity_api::{gate, limits};
use comity_app::clock::{Clock, stopwatch};
use comity_app::people::passwords::Cost;
use comity_app::{App, Settings};
use comity_domain::application::KeyUse;
use comity_domain::command::Caller;
use comity_domain::time::{HOUR, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, Flags};
use crate::{logs, say};

/// What `serve` can be told.
#[derive(Debug, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    flags: Flags,
    /// On a log on which nobody holds a key: make the key for the operator and print it, instead of
    /// a link for the browser. For installations that are set up by a program
    #[arg(long, env = "COMITY_FIRST_KEY", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    first_key: Option<bool>,
}

/// Runs the server until it is told to stop.
pub fn serve(command: &Serve) -> anyhow::Result<ExitCode> {
    let config = command.flags.resolve()?;
    let first_key = command.first_key.unwrap_or(false);
    logs::start(config.log, config.log_json);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = Told::new()?;
        // First the addresses: a start that is refused makes nothing.
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("listen: {}", config.listen))?;
        let figures = match config.metrics_listen {
            None => None,
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .with_context(|| format!("metrics_listen: {address}"))?,
            ),
        };
        let watch = stopwatch();
        let starting = config.clone();
        let own = format!("http://{}", listener.local_addr()?);
        // Not on an async thread: on PostgreSQL this waits for the network.
        let app = tokio::task::spawn_blocking(move || start(&starting, own)).await??;
        let version = env!("CARGO_PKG_VERSION");
        let address = listener.local_addr()?;
        say(&format!("Comity {version} on http://{address}"));
        if let Some(figures) = &figures {
            say(&format!("  metrics   http://{}/metrics", figures.local_addr()?));
        }
        if let Some(gate) = &config.gate {
            say(&format!("  gate      {} for {}", gate.path(), gate.summary()));
        }
        if let Some(issuer) = &config.issuer {
            say(&format!("  issuer    {issuer}"));
        }
        say(&format!("  data      {}", config.data.display()));
        let made =
            if app.key_file_made { "  (made now; back it up apart from the data)" } else { "" };
        if let Some(server) = &config.database {
            say(&format!("  database  {}", server.shown()));
        }
        say(&format!("  key file  {}{made}", config.key_file.display()));
        if let Some(breach) = app.breach() {
            say(&format!("  CLOSED    {breach}"));
            say("            no decision is yes and nothing is changed; see comity restore --help");
        } else if app.is_unclaimed() {
            let outside = config.issuer.clone().unwrap_or_else(|| format!("http://{address}"));
            first_run(&app, first_key, &outside).await?;
        }
        let (rows, ms) = (app.state().seq, watch().as_millis());
        tracing::info!(version, %address, rows, ms, "started");
        if config.clients_unknown {
            tracing::warn!(
                "every request seems to come from the proxy: list it in trusted_proxies, or strangers \
                 can use up the sign-ins of others"
            );
        }
        let doors = Doors {
            limits: config.limits.clone(),
            console: comity_console::Settings::default(),
            gate: config.gate.clone(),
        };
        run(app, listener, figures, doors, stop).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// On a log that nobody holds yet: prints the first key, or a link by which it is claimed in a
/// browser. The token stands behind the `#`, which no browser sends and no proxy logs.
async fn first_run(app: &App, key: bool, outside: &str) -> anyhow::Result<()> {
    if key {
        let (secret, _) = app
            .make_key(&Caller::system(), KeyUse::Operate, None)
            .await
            .map_err(|e| anyhow::anyhow!("the first key could not be made: {e:?}"))?;
        say("  first key for the operator, shown once:");
        say(&format!("    {}", secret.reveal()));
        return Ok(());
    }
    let (token, Instant(until)) = app
        .offer_first_run()
        .await
        .map_err(|e| anyhow::anyhow!("the link of the first run could not be made: {e:?}"))?;
    let hours = (until.saturating_sub(app.now().0) + HOUR - 1) / HOUR;
    say("  Nobody holds this installation yet. Set it up in a browser, with this link:");
    say(&format!("    {}/console/first-run#{}", outside.trim_end_matches('/'), token.reveal()));
    say(&format!("    It works once and for {hours} hours; a restart prints a new one."));
    Ok(())
}

fn start(config: &Config, own: String) -> anyhow::Result<Arc<App>> {
    let (data, key_file) = (config.data.clone(), config.key_file.clone());
    let checkpoints = config.checkpoints.clone();
    let issuer = config.issuer.clone().unwrap_or(own);
    let settings = Settings::new(data, key_file, Cost::DEFAULT);
    let outbound = config.outbound.clone();
    let mail = config.mail.clone();
    let settings = Settings { checkpoints, issuer, outbound, mail, ..settings };
    let settings = match &config.database {
        Some(server) => settings.on(server.clone()),
        None => settings,
    };
    Ok(App::start(&settings, Arc::new(Clock::system()))?)
}

/// What is behind the address.
#[derive(Debug, Default)]
pub struct Doors {
    /// How often is too often.
    pub limits: limits::Settings,
    /// What was chosen about the console.
    pub console: comity_console::Settings,
    /// What proxies ask.
    pub gate: Option<gate::Gate>,
}

/// Serves until it is told to stop, then stops: no longer ready, running requests finish, those
/// who wait for something to happen are told that nothing more will, the writer takes what it has,
/// the books are closed. Told once more, it goes at once.
pub async fn run(
    app: Arc<App>,
    listener: TcpListener,
    figures: Option<TcpListener>,
    doors: Doors,
    mut told: Told,
) {
    let (over, is_over) = tokio::sync::oneshot::channel::<()>();
    // Until the very end, so that whoever watches sees that it is not ready.
    let figures = figures.map(|listener| {
        let router = comity_api::figures(app.clone());
        tokio::spawn(comity_api::server::serve(listener, router, async {
            let _ = is_over.await;
        }))
    });
    // The keys of a first start are there before the first request is; what takes longer is left
    // to the timer.
    let first = std::time::Duration::from_secs(5);
    let _ = tokio::time::timeout(first, app.tend_signing_keys()).await;
    tokio::spawn(tend(app.clone()));
    let stopping = app.clone();
    let stop = async move {
        let name = told.next().await.0;
        tracing::info!(signal = name, "stopping");
        stopping.begin_stop();
        tokio::spawn(async move {
            let (name, number) = told.next().await;
            tracing::warn!(signal = name, "told again: stopped at once");
            std::process::exit(128 + number);
        });
    };
    let watch = stopwatch();
    let Doors { limits, console, gate } = doors;
    let console = comity_console::router(app.clone(), console);
    let router = comity_api::router_beside(app.clone(), &limits, console);
    let router = match gate {
        Some(gate) => router.merge(gate::router(app.clone(), gate)),
        None => router,
    };
    if !serve_behind(listener, router, &limits.proxies, stop).await {
        tracing::warn!("requests that took too long were cut off");
    }
    let stopping = app.clone();
    let _ = tokio::task::spawn_blocking(move || stopping.stop()).await;
    drop(over);
    if let Some(figures) = figures {
        figures.abort();
    }
    tracing::info!(rows = app.state().seq, up_s = watch().as_secs(), "stopped");
}

/// Sees to it that there are signing keys, and that none signs for too long. On several nodes the
/// first one does it.
async fn tend(app: Arc<App>) {
    if app.breach().is_some() {
        return; // nothing is changed until the operator has resolved it
    }
    loop {
        let pause = match app.tend_signing_keys().await {
            Ok(false) => TEND_EVERY,
            Ok(true) => {
                tracing::info!("signing keys were made or rotated");
                TEND_EVERY
            }
            Err(error) => {
                tracing::warn!(?error, "signing keys could not be looked after");
                std::time::Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.stopping() => return,
        }
    }
}

/// How often the signing keys are looked at: they are due after months, and a restore is rare.
const TEND_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// The signals that tell the process to stop. Made before anything else is: one that comes while
/// the server starts must not end it half-way.
pub struct Told {
    terminate: Signal,
    interrupt: Signal,
}

impl Told {
    /// Listens from now on.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one, with its number.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        }
    }
}
