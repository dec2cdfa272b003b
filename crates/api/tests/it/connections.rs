//! Clients that are slow on purpose (T45): none holds its place for long.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use comity_api::limits::Proxies;
use comity_api::server::{Patience, serve_with};
use tokio::net::TcpListener;

const SHORT: Duration = Duration::from_millis(400);
/// When whoever is cut off has to be, on a loaded machine too.
const SOON: Duration = Duration::from_secs(20);

/// A server with little patience, and its runtime.
fn server(patience: Patience) -> (SocketAddr, tokio::runtime::Runtime) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let much = Bytes::from(vec![b'x'; 64 * 1024 * 1024]);
    let router = Router::new()
        .route("/much", get(move || async move { much }))
        .route("/take", post(|body: Bytes| async move { body.len().to_string() }));
    runtime.spawn(async move {
        let none = Proxies::default();
        serve_with(listener, router, &none, patience, std::future::pending()).await
    });
    (address, runtime)
}

fn patience() -> Patience {
    let long = Duration::from_secs(60);
    Patience { headers: long, headers_pressed: long, request: long, unread: long, places: None }
}

fn client(address: SocketAddr, say: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(say.as_bytes()).unwrap();
    stream
}

/// Waits until the server has closed a connection from which nothing more may come.
#[track_caller]
fn is_cut_off(mut stream: TcpStream) -> String {
    let (began, mut told) = (Instant::now(), Vec::new());
    // A reset is an end as well.
    if let Err(error) = stream.read_to_end(&mut told) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it was not cut off");
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    String::from_utf8_lossy(&told).into_owned()
}

#[test]
fn t45_a_slow_header_is_cut_off() {
    let (address, _runtime) = server(Patience { headers: SHORT, ..patience() });
    let stream = client(address, "GET /much HTTP/1.1\r\nHost: a\r\n");
    let mut dripping = stream.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        // Each byte in time, and never the end.
        while dripping.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    is_cut_off(stream);
    drip.join().unwrap();
    is_cut_off(client(address, "")); // one that says nothing at all
}

/// A connection from another address of this machine.
fn from(runtime: &tokio::runtime::Runtime, own: &str, address: SocketAddr) -> TcpStream {
    let connecting = async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(own.parse().unwrap(), 0)).unwrap();
        socket.connect(address).await.unwrap().into_std().unwrap()
    };
    let stream = runtime.block_on(connecting);
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(SHORT * 3)).unwrap();
    stream
}

/// Whether the server has closed a connection, or goes on waiting for it.
fn is_open(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn t45_nobody_takes_all_places_and_who_comes_last_has_less_time() {
    let few = Patience { headers_pressed: SHORT, places: Some(8), ..patience() };
    let (address, runtime) = server(few);
    let come = |own| from(&runtime, own, address);
    // One address has half of them, its neighbours some more, another network of what is left.
    let held: Vec<_> = (0..4).map(|_| come("127.0.0.1")).collect();
    assert!(!is_open(&come("127.0.0.1")));
    let near: Vec<_> = (0..2).map(|_| come("127.0.0.2")).collect();
    assert!(!is_open(&come("127.0.0.3")));
    let far = come("127.1.0.1");
    assert!(!is_open(&come("127.1.0.1")));
    let last = come("127.2.0.1"); // of the last quarter
    assert!(!is_open(&last), "it has less time");
    assert!(held.iter().chain(&near).chain([&far]).all(is_open), "who came before has more");
    drop(held);
    // Once there is room again, there is time again.
    std::thread::sleep(SHORT);
    assert!(is_open(&come("127.0.0.1")));
}

#[test]
fn t45_a_slow_body_is_cut_off() {
    let (address, _runtime) = server(Patience { request: SHORT, ..patience() });
    let head = "POST /take HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let stream = client(address, head);
    let mut dripping = stream.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        for _ in 0..200 {
            if dripping.write_all(b"x").is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let told = is_cut_off(stream);
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("\"timeout\""), "{told}");
    drip.join().unwrap();
}

#[test]
fn t45_a_slow_reader_is_cut_off_and_a_steady_one_is_not() {
    let (address, _runtime) = server(Patience { unread: SHORT, ..patience() });
    let ask = "GET /much HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    // A byte now and then is no reading.
    let mut slow = client(address, ask);
    let began = Instant::now();
    while began.elapsed() < SHORT * 4 {
        slow.read_exact(&mut [0]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let rest = is_cut_off(slow);
    assert!(rest.len() < 60 * 1024 * 1024, "all of it came: {}", rest.len());
    // One that pauses now and then, and reads, gets everything.
    let mut steady = client(address, ask);
    let mut piece = vec![0; 4 * 1024 * 1024];
    let mut all = 0;
    loop {
        match steady.read(&mut piece).unwrap() {
            0 => break,
            read => all += read,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(all > 64 * 1024 * 1024, "{all}");
}
