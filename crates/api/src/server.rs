//! Connections: HTTP/1.1 on one listener, with time-outs that a slow or silent client cannot
//! stretch (T45), and a stop that lets running requests finish.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::problem::Problem;

/// How long a client may take to send its headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a request may take.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// How long running requests may take once the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How many connections are open at once, if the system allows as many files.
const MOST_CONNECTIONS: u64 = 4_096;
/// Open files that connections leave for everything else.
const FILES_KEPT: u64 = 128;
/// How long what was sent may stay unread before the system gives the client up.
const UNREAD_WITHIN_MS: u32 = 30_000;

/// Raises the limit of open files as far as it goes, and says how many connections fit under it.
fn room_for_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = MOST_CONNECTIONS + FILES_KEPT;
    let raised = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|now| now < raised) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    usize::try_from(files.saturating_sub(FILES_KEPT).clamp(16, MOST_CONNECTIONS)).unwrap_or(16)
}

/// Serves until `stop` resolves, then lets running requests finish. Says whether all of them did
/// within the time that they have.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) -> bool {
    let router = router.layer(axum::middleware::from_fn(within));
    let graceful = GracefulShutdown::new();
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(room_for_connections()));
    tokio::pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        }; // full: closed at once
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_WITHIN_MS);
        let service = TowerToHyperService::new(router.clone());
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .max_headers(64)
            .max_buf_size(32 * 1024);
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _ = connection.await; // a client that goes away is no error of ours
            drop(place);
        });
    }
    drop(listener);
    tokio::time::timeout(STOP_WITHIN, graceful.shutdown()).await.is_ok()
}

async fn within(
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    match tokio::time::timeout(REQUEST_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "It took too long; what became of it is unknown. Send it again with the same Idempotency-Key.",
        )
        .into_response(),
    }
}
