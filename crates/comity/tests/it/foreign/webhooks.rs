//! Webhooks as others' libraries verify them, and what a kill in the middle of one leaves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{node, python, ran, tools};
use crate::process::{Server, string};

const SERVE: [&str; 6] =
    ["serve", "--listen", "127.0.0.1:0", "--data", "data", "--allow-insecure-webhooks"];

/// Takes one push, and leaves it to the caller to answer.
fn take(listener: &TcpListener) -> (TcpStream, Value, String) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut headers = Map::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.trim().split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), json!(value));
        }
    }
    let length = headers["content-length"].as_str().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (stream, headers.into(), String::from_utf8(body).unwrap())
}

fn answer(mut stream: TcpStream) {
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
}

fn hook(server: &Server, operate: &str, listener: &TcpListener) -> (String, String) {
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let body = json!({ "url": url, "events": ["webhook_tested"] });
    let made = server.expect(201, "POST", "/v1/platform/webhooks", operate, body);
    (format!("/v1/platform/webhooks/{}", string(&made, "/id")), string(&made, "/secret"))
}

#[test]
fn t43_the_libraries_of_standard_webhooks_believe_what_comes_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &SERVE);
    let operate = server.read_until("cmt_key_").trim().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (path, old) = hook(&server, &operate, &listener);
    let new = server.expect(200, "POST", &format!("{path}/rotate"), &operate, json!({}));
    server.call("POST", &format!("{path}/test"), &operate, "{}").unwrap();
    let (stream, headers, body) = take(&listener);
    answer(stream);
    assert_eq!(headers["webhook-signature"].as_str().unwrap().split(' ').count(), 2);
    let secrets = [old, string(&new, "/secret")];
    let sent = json!({ "secrets": secrets, "headers": headers, "body": body });
    let file = folder.path().join("sent.json");
    std::fs::write(&file, sent.to_string()).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/foreign");
    let twice = "webhook_tested\nwebhook_tested\n";
    assert_eq!(ran(python().arg(here.join("webhooks.py")).arg(&file)), twice);
    let modules = tools().join("node/node_modules");
    let script = here.join("webhooks.cjs");
    assert_eq!(ran(node("tsx").env("NODE_PATH", modules).arg(script).arg(&file)), twice);
}

#[test]
fn inv30_a_kill_in_the_middle_of_a_delivery_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &SERVE);
    let operate = server.read_until("cmt_key_").trim().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (path, _) = hook(&server, &operate, &listener);
    server.call("POST", &format!("{path}/test"), &operate, "{}").unwrap();
    let (unanswered, first, body) = take(&listener);
    server.kill();
    drop(unanswered);
    let server = Server::start(folder.path(), &SERVE);
    // Once the lease of the one that was killed has run out.
    let (stream, again, same) = take(&listener);
    answer(stream);
    assert_eq!((&again["webhook-id"], &same), (&first["webhook-id"], &body));
    let list = format!("{path}/deliveries");
    for _ in 0..100 {
        let shown = server.expect(200, "GET", &list, &operate, Value::Null);
        if shown["items"][0]["status"] == "delivered" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("it was never noted");
}
