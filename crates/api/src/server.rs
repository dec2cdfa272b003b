//! Connections: HTTP/1.1 on one listener, with time-outs that a slow or silent client cannot
//! stretch (T45), and a stop that lets running requests finish.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::imports;
use crate::limits::{Peer, Proxies};
use crate::problem::Problem;
use crate::server::neighbours::Neighbours;
use crate::server::paced::Paced;

mod neighbours;
mod paced;

/// How long running requests may take once the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How many connections are open at once, if the system allows as many files.
const MOST_CONNECTIONS: u64 = 4_096;
/// Open files that connections leave for everything else.
const FILES_KEPT: u64 = 128;
/// How long what was sent may stay unread before the system gives the client up.
const UNREAD_WITHIN_MS: u32 = 30_000;

/// How long is waited for clients, and for how many at once.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a client may take to send its headers, and how long a connection may idle.
    pub headers: Duration,
    /// The same for who comes while few places are left.
    pub headers_pressed: Duration,
    /// How long a request may take, its body included.
    pub request: Duration,
    /// For how long in all a client may keep us from writing; reading at the least rate
    /// makes up for it.
    pub unread: Duration,
    /// How many connections are open at once; `None` for as many as the system has files for.
    pub places: Option<usize>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(10),
            headers_pressed: Duration::from_secs(3),
            request: Duration::from_secs(30),
            unread: Duration::from_secs(20),
            places: None,
        }
    }
}

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
    serve_behind(listener, router, &Proxies::default(), stop).await
}

/// The same behind proxies, which have as many connections as they need.
pub async fn serve_behind(
    listener: TcpListener,
    router: Router,
    proxies: &Proxies,
    stop: impl Future<Output = ()>,
) -> bool {
    serve_with(listener, router, proxies, Patience::default(), stop).await
}

/// The same with this much patience.
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    proxies: &Proxies,
    patience: Patience,
    stop: impl Future<Output = ()>,
) -> bool {
    let router = router.layer(axum::middleware::from_fn(move |request, next| {
        within(patience.request, request, next)
    }));
    let graceful = GracefulShutdown::new();
    let places = patience.places.unwrap_or_else(room_for_connections);
    let room = Arc::new(Semaphore::new(places));
    let neighbours = Neighbours::default();
    tokio::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let free = room.available_permits();
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        }; // full: closed at once
        let Some(neighbour) = neighbours.one_more(peer.ip(), free, proxies) else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_WITHIN_MS);
        let inner = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            inner.call(request)
        });
        let pressed = free < places / 4;
        let headers = if pressed { patience.headers_pressed } else { patience.headers };
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(headers)
            .max_headers(64)
            .max_buf_size(32 * 1024);
        let paced = TokioIo::new(Paced::new(stream, patience.unread));
        let connection = graceful.watch(builder.serve_connection(paced, service));
        tokio::spawn(async move {
            let _ = connection.await; // a client that goes away is no error of ours
            drop((place, neighbour));
        });
    }
    drop(listener);
    tokio::time::timeout(STOP_WITHIN, graceful.shutdown()).await.is_ok()
}

async fn within(
    time: Duration,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    // An import takes as long as it has lines, and keeps its own time.
    if request.method() == Method::POST && request.uri().path() == imports::PATH {
        return next.run(request).await;
    }
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "It took too long; what became of it is unknown. Send it again with the same Idempotency-Key.",
        )
        .into_response(),
    }
}
