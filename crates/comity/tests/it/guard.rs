//! inv32, t50: old database files under a newer checkpoint.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Server, run, string, text};

/// The base64 of RFC 4648 section 4.
pub fn base64(bytes: &[u8]) -> String {
    const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let held = three.iter().fold(0u32, |held, b| held << 8 | u32::from(*b));
        let held = held << (8 * (3 - three.len()));
        for at in 0..4 {
            let six = (held >> (18 - 6 * at)) & 63;
            out.push(if at <= three.len() { SYMBOLS[six as usize] as char } else { '=' });
        }
    }
    out
}

/// A checkpoint of what the database holds now, appended as a node does.
pub fn checkpoint(data: &Path) {
    let head = comity_store::inspect(&data.join("comity.db")).unwrap().head;
    let root = base64(&head.root);
    let note = format!("comity.example\n{}\n{root}\n\n\u{2014} comity.example c2ln\n", head.seq);
    let path = data.join("checkpoints");
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(path, before + &note).unwrap();
}

/// An organisation more.
pub fn put(server: &Server, key: &str, name: &str) {
    let path = format!("/v1/organisations/{name}");
    server.expect(201, "PUT", &path, key, json!({ "name": name }));
}

pub fn stop(server: Server) -> String {
    let (status, printed) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{printed}");
    printed
}

/// The databases of one folder into another.
pub fn copy_databases(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in
        ["comity.db", "comity.db-wal", "comity.db-shm", "calls.db", "calls.db-wal", "calls.db-shm"]
    {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn inv32_t50_an_older_database_under_a_newer_checkpoint_is_answered_with_no() {
    let folder = tempfile::tempdir().unwrap();
    let (data, old) = (folder.path().join("data"), folder.path().join("old"));
    let mut server = Server::serve(folder.path());
    let operate = server.read_until("cmt_key_").trim().to_owned();
    let key = |server: &Server, body| {
        string(&server.expect(201, "POST", "/v1/platform/keys", &operate, body), "/secret")
    };
    let provision = key(&server, json!({ "use": "provision" }));
    let application = json!({ "audience": "https://boats.example", "permissions": ["*"] });
    server.expect(200, "PUT", "/v1/platform/applications/boats", &operate, application);
    let decide = key(&server, json!({ "use": "decide", "application": "boats" }));
    put(&server, &provision, "one");
    stop(server);
    copy_databases(&data, &old);
    checkpoint(&data);
    let server = Server::serve(folder.path());
    server.expect(200, "GET", "/readyz", "", Value::Null);
    put(&server, &provision, "two");
    put(&server, &provision, "three");
    stop(server);
    checkpoint(&data);
    stop(Server::serve(folder.path())); // as it was seen

    copy_databases(&old, &data);
    let server = Server::serve(folder.path());
    let code = |status, method, path, bearer: &str, body| {
        string(&server.expect(status, method, path, bearer, body), "/code")
    };
    assert_eq!(code(503, "GET", "/readyz", "", Value::Null), "restore_unresolved");
    let name = json!({ "name": "Four" });
    let put_four = code(503, "PUT", "/v1/organisations/four", &provision, name);
    assert_eq!(put_four, "restore_unresolved");
    let asked = json!({ "subject": { "type": "partner_session", "id": "cmt_session_x" },
        "action": { "name": "a:b" }, "resource": { "type": "account", "id": "x" } });
    assert_eq!(code(503, "POST", "/access/v1/evaluation", &decide, asked), "stale");
    // Nobody knows whether the key was retired since: nothing is shown either.
    let shown = code(503, "GET", "/v1/organisations/one", &provision, Value::Null);
    assert_eq!(shown, "restore_unresolved");
    let listen = ["doctor", "--data", "data", "--listen", &server.address];
    let doctor = run(folder.path(), &listen);
    let said = text(&doctor.stdout);
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    assert!(said.contains("FAIL  checkpoint") && said.contains("FAIL  server"), "{said}");
    std::thread::sleep(Duration::from_millis(500)); // no beat makes it ready
    server.expect(503, "GET", "/readyz", "", Value::Null);
    let printed = stop(server);
    assert!(printed.contains("CLOSED"), "{printed}");

    // Another log of the same length is not that log either.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let mut server = Server::serve(&other);
    let operate = server.read_until("cmt_key_").trim().to_owned();
    for _ in 0..8 {
        let use_ = json!({ "use": "provision" });
        server.expect(201, "POST", "/v1/platform/keys", &operate, use_);
    }
    stop(server);
    copy_databases(&other.join("data"), &data);
    let server = Server::serve(folder.path());
    server.expect(503, "GET", "/readyz", "", Value::Null);
    let printed = stop(server);
    assert!(printed.contains("another root"), "{printed}");
}
