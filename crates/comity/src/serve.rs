//! `comity serve`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use comity_app::clock::Clock;
use comity_app::people::passwords::Cost;
use comity_app::{App, Settings};
use comity_domain::application::KeyUse;
use comity_domain::command::Caller;
use tokio::net::TcpListener;

use crate::config::{Config, Flags};
use crate::say;

/// Runs the server until it is told to stop.
pub fn serve(flags: &Flags) -> anyhow::Result<ExitCode> {
    let config = flags.resolve()?;
    log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = told_to_stop()?;
        // First the address: a start that is refused makes nothing.
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("listen: {}", config.listen))?;
        let app = start(&config)?;
        say(&format!("Comity {} on http://{}", env!("CARGO_PKG_VERSION"), listener.local_addr()?));
        say(&format!("  data      {}", config.data.display()));
        let made =
            if app.key_file_made { "  (made now; back it up apart from the data)" } else { "" };
        say(&format!("  key file  {}{made}", config.key_file.display()));
        if app.state().keys.is_empty() {
            let (secret, _) = app
                .make_key(&Caller::system(), KeyUse::Operate, None)
                .await
                .map_err(|e| anyhow::anyhow!("the first key could not be made: {e:?}"))?;
            say("  first key for the operator, shown once:");
            say(&format!("    {}", secret.reveal()));
        }
        run(app, listener, stop).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn start(config: &Config) -> anyhow::Result<Arc<App>> {
    let settings = Settings {
        data: config.data.clone(),
        key_file: config.key_file.clone(),
        checkpoints: config.checkpoints.clone(),
        password_cost: Cost::DEFAULT,
    };
    Ok(App::start(&settings, Arc::new(Clock::system()))?)
}

/// Serves until `stop` resolves, then stops cleanly.
pub async fn run(app: Arc<App>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let told = app.clone();
    let stop = async move {
        stop.await;
        told.begin_stop();
    };
    comity_api::server::serve(listener, comity_api::router(app.clone()), stop).await;
    let stopping = app.clone();
    let _ = tokio::task::spawn_blocking(move || stopping.stop()).await;
    tracing::info!("stopped");
}

/// Resolves once the process is told to stop. Made before anything else is: a signal that comes
/// while the server starts must not end it half-way.
pub fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Starts logging as the config says.
pub fn log(config: &Config) {
    let logs = tracing_subscriber::fmt().with_max_level(config.log).with_writer(std::io::stderr);
    if config.log_json { logs.json().init() } else { logs.init() }
}
