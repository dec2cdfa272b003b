//! Connections: HTTP/1.1 on one listener, with time-outs that a slow or silent client cannot
//! stretch (T45), and a stop that lets running requests finish.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
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
use crate::limits::{Peer, Proxies, address_key};
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
    serve_behind(listener, router, &Proxies::default(), stop).await
}

/// The same behind proxies: one address has at most half of the connections, unless it is theirs.
pub async fn serve_behind(
    listener: TcpListener,
    router: Router,
    proxies: &Proxies,
    stop: impl Future<Output = ()>,
) -> bool {
    let router = router.layer(axum::middleware::from_fn(within));
    let graceful = GracefulShutdown::new();
    let places = room_for_connections();
    let room = Arc::new(Semaphore::new(places));
    let neighbours = Neighbours { most: places / 2, here: Arc::default() };
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
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        }; // full: closed at once
        let Some(neighbour) = neighbours.one_more(peer.ip(), proxies) else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_WITHIN_MS);
        let inner = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            inner.call(request)
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .max_headers(64)
            .max_buf_size(32 * 1024);
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _ = connection.await; // a client that goes away is no error of ours
            drop((place, neighbour));
        });
    }
    drop(listener);
    tokio::time::timeout(STOP_WITHIN, graceful.shutdown()).await.is_ok()
}

/// How many connections each address has.
struct Neighbours {
    most: usize,
    here: Arc<Mutex<HashMap<u128, usize>>>,
}

/// One of them, gone when it is dropped.
struct Neighbour {
    key: u128,
    here: Arc<Mutex<HashMap<u128, usize>>>,
}

impl Neighbours {
    /// `None` if an address has enough, so that one alone never takes the room of all (T45).
    fn one_more(&self, address: IpAddr, proxies: &Proxies) -> Option<Neighbour> {
        let key = address_key(address);
        let mut here = self.here.lock().ok()?;
        let count = here.entry(key).or_default();
        if *count >= self.most && !proxies.trusts(address) {
            return None;
        }
        *count += 1;
        Some(Neighbour { key, here: self.here.clone() })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if let Ok(mut here) = self.here.lock() {
            match here.get_mut(&self.key) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(here.remove(&self.key)),
            }
        }
    }
}

async fn within(
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    // An import takes as long as it has lines, and keeps its own time.
    if request.method() == Method::POST && request.uri().path() == imports::PATH {
        return next.run(request).await;
    }
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
