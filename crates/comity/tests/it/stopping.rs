//! What happens when the process is told to stop.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Server, call, run, string, text};

const START: [&str; 9] = [
    "serve",
    "--listen",
    "127.0.0.1:0",
    "--data",
    "data",
    "--log",
    "info",
    "--metrics-listen",
    "127.0.0.1:0",
];

fn provision(server: &mut Server) -> String {
    let operate = server.read_until("cmt_key_").trim().to_owned();
    let use_ = json!({ "use": "provision" });
    string(&server.expect(201, "POST", "/v1/platform/keys", &operate, use_), "/secret")
}

#[test]
fn under_load_a_stop_loses_no_acknowledged_write_and_is_within_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &START);
    let key = provision(&mut server);
    let (address, over) = (server.address.clone(), AtomicBool::new(false));
    let promised: Mutex<BTreeSet<String>> = Mutex::default();
    let errors = std::thread::scope(|threads| {
        for thread in 0..4 {
            let (key, address, over, promised) = (&key, &address, &over, &promised);
            threads.spawn(move || {
                for n in 0.. {
                    let name = format!("o-{thread}-{n}");
                    let path = format!("/v1/organisations/{name}");
                    let body = json!({ "name": format!("Number {thread} {n}") }).to_string();
                    match call(address, "PUT", &path, key, "application/json", &body) {
                        Ok((201, _)) => drop(promised.lock().unwrap().insert(name)),
                        Ok((503, _)) | Err(_) => {}
                        Ok((status, answer)) => panic!("{status} {answer}"),
                    }
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        // Two who wait for something to happen: they are answered at once.
        for _ in 0..2 {
            threads.spawn(|| {
                let far = "/v1/events?after=1000000&wait=25";
                let (status, answer) =
                    call(&address, "GET", far, &key, "application/json", "").unwrap();
                assert_eq!((status, answer["items"].as_array().unwrap().len()), (200, 0));
            });
        }
        std::thread::sleep(Duration::from_millis(700));
        let (status, _, errors) = server.end(Duration::from_secs(8));
        over.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0), "{errors}");
        errors
    });
    assert!(errors.contains("stopping") && errors.contains("stopped"), "{errors}");
    let verified = run(folder.path(), &["audit", "verify", "--data", "data"]);
    assert!(verified.status.success(), "{}", text(&verified.stdout));
    let server = Server::start(folder.path(), &START);
    let promised = promised.into_inner().unwrap();
    assert!(promised.len() > 10, "{}", promised.len());
    for name in &promised {
        server.expect(200, "GET", &format!("/v1/organisations/{name}"), &key, Value::Null);
    }
    println!("{} acknowledged writes, none lost", promised.len());
}

/// A request whose body is not there yet keeps the server up; the second signal does not wait.
#[test]
fn told_twice_it_goes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &START);
    let key = provision(&mut server);
    let mut slow = TcpStream::connect(&server.address).unwrap();
    write!(
        slow,
        "PUT /v1/organisations/slow HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{{"
    )
    .unwrap();
    let figures = server.printed.iter().find(|l| l.contains("/metrics")).unwrap();
    let figures = figures.split_once("http://").unwrap().1.trim_end_matches("/metrics").to_owned();
    let status = |path| call(&figures, "GET", path, "", "text/plain", "").map(|(status, _)| status);
    assert_eq!(status("/readyz").unwrap(), 200);
    std::thread::sleep(Duration::from_millis(300));
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(500));
    // Alive, and not ready: the one request is still running.
    assert_eq!(status("/healthz").unwrap(), 200);
    assert_eq!(status("/readyz").unwrap(), 503);
    assert!(TcpStream::connect(&server.address).is_err(), "no new connections");
    server.signal("INT");
    let (status, _, errors) = server.wait(Duration::from_secs(2));
    assert_eq!(status.code(), Some(130), "{errors}");
    assert!(errors.contains("told again"), "{errors}");
}

#[test]
fn a_request_that_runs_is_finished_before_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &START);
    let key = provision(&mut server);
    let mut slow = TcpStream::connect(&server.address).unwrap();
    write!(
        slow,
        "PUT /v1/organisations/slow HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{{"
    )
    .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(300));
    slow.write_all(b"\"name\": \"Slow\"}").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (status, _, errors) = server.wait(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0), "{errors}");
    let server = Server::start(folder.path(), &START);
    server.expect(200, "GET", "/v1/organisations/slow", &key, Value::Null);
}
