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
        let app = start(&config)?;
        let listener = TcpListener::bind(config.listen).await.with_context(|| format!("listen: {}", config.listen))?;
        say(&format!("Comity {} on http://{}", env!("CARGO_PKG_VERSION"), listener.local_addr()?));
        say(&format!("  data      {}", config.data.display()));
        let made = if app.key_file_made { "  (made now; back it up apart from the data)" } else { "" };
        say(&format!("  key file  {}{made}", config.key_file.display()));
        if app.state().keys.is_empty() {
            let (secret, _) = app
                .make_key(&Caller::system(), KeyUse::Operate, None)
                .await
                .map_err(|e| anyhow::anyhow!("the first key could not be made: {e:?}"))?;
            say("  first key for the operator, shown once:");
            say(&format!("    {}", secret.reveal()));
        }
        run(app, listener).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn start(config: &Config) -> anyhow::Result<Arc<App>> {
    let settings = Settings {
        data: config.data.clone(),
        key_file: config.key_file.clone(),
        password_cost: Cost::DEFAULT,
    };
    Ok(App::start(&settings, Arc::new(Clock::system()))?)
}

/// Serves until the process is told to stop, then stops cleanly.
pub async fn run(app: Arc<App>, listener: TcpListener) {
    comity_api::server::serve(listener, comity_api::router(app.clone()), told_to_stop()).await;
    let stopping = app.clone();
    let _ = tokio::task::spawn_blocking(move || stopping.stop()).await;
    tracing::info!("stopped");
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Starts logging as the config says.
pub fn log(config: &Config) {
    let logs = tracing_subscriber::fmt().with_env_filter(config.log.clone()).with_writer(std::io::stderr);
    if config.log_json { logs.json().init() } else { logs.init() }
}
