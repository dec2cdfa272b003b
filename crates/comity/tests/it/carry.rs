//! Backup, restore and copy of a running or stopped installation.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::guard::{checkpoint, put, stop};
use crate::process::{Server, run, string, text};

fn done(folder: &Path, arguments: &[&str]) -> String {
    let done = run(folder, arguments);
    let out = text(&done.stdout);
    assert!(done.status.success(), "{arguments:?}: {out} {}", text(&done.stderr));
    out
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let done = run(folder, arguments);
    assert!(!done.status.success(), "{arguments:?}: {}", text(&done.stdout));
    text(&done.stdout) + &text(&done.stderr)
}

fn root(said: &str) -> &str {
    said.lines().find_map(|l| l.strip_prefix("root ")).unwrap().split(',').next().unwrap()
}

/// A server under load, with its key for provision.
fn busy(folder: &Path) -> (Server, String) {
    let mut server = Server::serve(folder);
    let operate = server.read_until("cmt_key_").trim().to_owned();
    let use_ = json!({ "use": "provision" });
    let key = string(&server.expect(201, "POST", "/v1/platform/keys", &operate, use_), "/secret");
    (0..5).for_each(|n| put(&server, &key, &format!("before-{n}")));
    (server, key)
}

#[test]
fn a_backup_beside_a_busy_server_is_whole_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let (server, key) = busy(folder.path());
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for n in 0.. {
                put(&server, &key, &format!("meanwhile-{n}"));
                if over.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
            }
        });
        for n in 0..3 {
            let to = format!("backup-{n}");
            let said = done(folder.path(), &["backup", "--data", "data", "--to", &to]);
            let verified = done(folder.path(), &["audit", "verify", "--data", &to]);
            assert_eq!(root(&said), root(&verified));
            let manifest = fs::read_to_string(folder.path().join(&to).join("manifest.json"));
            let manifest: Value = serde_json::from_str(&manifest.unwrap()).unwrap();
            assert_eq!(string(&manifest, "/root"), root(&said));
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let again = refused(folder.path(), &["backup", "--data", "data", "--to", "backup-0"]);
    assert!(again.contains("is there already"), "{again}");
    let copying = refused(folder.path(), &["copy", "--from", "data", "--to", "elsewhere"]);
    assert!(copying.contains("another Comity is running"), "{copying}");
    stop(server);
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|n| !n.to_string_lossy().contains(".part-")), "{names:?}");
}

#[test]
fn a_copy_has_the_same_root_and_gives_the_same_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (server, key) = busy(folder.path());
    let list = |server: &Server| {
        let all = "/v1/events?after=0&limit=200";
        server.expect(200, "GET", all, &key, Value::Null)
    };
    let before = list(&server);
    stop(server);
    checkpoint(&folder.path().join("data"));
    let said = done(folder.path(), &["copy", "--from", "data", "--to", "moved"]);
    let verified = done(folder.path(), &["audit", "verify", "--data", "data"]);
    assert_eq!(root(&said), root(&verified));
    let key_file = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        "moved",
        "--log",
        "warn",
        "--key-file",
        "data/comity.key",
    ];
    let server = Server::start(folder.path(), &key_file);
    server.expect(200, "GET", "/readyz", "", Value::Null);
    assert_eq!(list(&server), before);
    put(&server, &key, "after");
    stop(server);
    let again = refused(folder.path(), &["copy", "--from", "data", "--to", "moved"]);
    assert!(again.contains("has a database"), "{again}");
}

#[test]
fn a_source_that_does_not_add_up_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    stop(busy(folder.path()).0);
    let database = folder.path().join("data/comity.db");
    // What the last run left in the write-ahead log, into the file.
    let fold = rusqlite::Connection::open(&database).unwrap();
    fold.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(fold);
    let sound = fs::read(&database).unwrap();
    for (n, wrong) in [
        "UPDATE log SET header = replace(header, 'a', 'b') WHERE seq = 3",
        "DELETE FROM log WHERE seq = 2",
        "DELETE FROM log WHERE seq = (SELECT MAX(seq) FROM log)",
        "UPDATE head SET root = zeroblob(32)",
        "UPDATE log SET leaf = zeroblob(32) WHERE seq = 1",
    ]
    .iter()
    .enumerate()
    {
        rusqlite::Connection::open(&database).unwrap().execute_batch(wrong).unwrap();
        let to = format!("to-{n}");
        refused(folder.path(), &["backup", "--data", "data", "--to", &to]);
        assert!(!folder.path().join(&to).exists(), "{wrong}: half a backup is none");
        refused(folder.path(), &["copy", "--from", "data", "--to", &to]);
        let _ = fs::remove_file(folder.path().join("data/comity.db-wal"));
        fs::write(&database, &sound).unwrap();
    }
}

#[test]
fn inv32_a_restore_that_has_not_come_to_its_end_answers_no_yes() {
    let folder = tempfile::tempdir().unwrap();
    let (server, key) = busy(folder.path());
    done(folder.path(), &["backup", "--data", "data", "--to", "backup"]);
    stop(server);
    let into = |data: &str| {
        let at = folder.path();
        run(at, &["restore", "--from", "backup", "--data", data, "--key-file", "data/comity.key"])
    };
    assert!(text(&into("data").stderr).contains("has a database"));
    into("new");
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        "new",
        "--log",
        "warn",
        "--key-file",
        "data/comity.key",
    ];
    let server = Server::start(folder.path(), &serve);
    // Either it was ended, and the keys of before with it; or it was not, and it is closed.
    let (status, _) = server.call("GET", "/readyz", "", "").unwrap();
    let name = json!({ "name": "Later" }).to_string();
    let (written, _) = server.call("PUT", "/v1/organisations/later", &key, &name).unwrap();
    assert!(matches!((status, written), (503, 503) | (200, 401)), "{status} {written}");
    server.terminate(Duration::from_secs(5));
    // A backup that somebody touched is not restored at all.
    let database = folder.path().join("backup/comity.db");
    let sql = "UPDATE word SET text = 'Other' WHERE seq = 3";
    rusqlite::Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    let told = into("other");
    assert!(!told.status.success() && text(&told.stderr).contains("row 3"));
    assert!(!folder.path().join("other/comity.db").exists());
}
