//! Backup, restore and copy of a running or stopped installation.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::guard::{put, stop};
use crate::load::{enter, grant, introduce, provision, question, sign_in};
use crate::process::{Server, run, string, text};

pub fn done(folder: &Path, arguments: &[&str]) -> String {
    let done = run(folder, arguments);
    let out = text(&done.stdout);
    assert!(done.status.success(), "{arguments:?}: {out} {}", text(&done.stderr));
    out
}

pub fn refused(folder: &Path, arguments: &[&str]) -> String {
    let done = run(folder, arguments);
    assert!(!done.status.success(), "{arguments:?}: {}", text(&done.stdout));
    text(&done.stdout) + &text(&done.stderr)
}

pub fn root(said: &str) -> &str {
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
        "--checkpoint-key",
        "data/checkpoint.key",
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

fn serve(folder: &Path, data: &str) -> Server {
    let keys = ["--key-file", "data/comity.key", "--checkpoint-key", "data/checkpoint.key"];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data, "--log", "warn"];
    Server::start(folder, &[&serve[..], &keys].concat())
}

const RESTORE: [&str; 7] = [
    "restore",
    "--from",
    "backup",
    "--key-file",
    "data/comity.key",
    "--checkpoint-key",
    "data/checkpoint.key",
];

fn restore(folder: &Path, data: &str) -> std::process::Output {
    run(folder, &[&RESTORE[..], &["--data", data]].concat())
}

/// Whether a word stands in any file of a folder.
fn holds(folder: &Path, word: &str) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file());
    let bytes: Vec<Vec<u8>> = files.map(|p| fs::read(p).unwrap()).collect();
    bytes.iter().any(|b| b.windows(word.len()).any(|w| w == word.as_bytes()))
}

#[test]
fn inv32_t50_a_restore_opens_nothing_again_erases_again_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut server = Server::serve(at);
    let cast = provision(&mut server);
    let given = grant(&server, &cast);
    let (session, token) = enter(&server, &cast, &given);
    let wish = json!({ "customer_id": cast.code, "level": "partner", "modes": ["direct"], "days": 7,
        "reason": "zebrafinch" });
    let asks = "/v1/organisations/brokers/requests";
    let asked = string(&server.expect(201, "POST", asks, &cast.by_sam, wish), "/id");
    stop(server); // signs a checkpoint over everything
    let key = done(at, &["audit", "key", "--data", "data"]);
    let seen = notes(&at.join("data/checkpoints"));
    let export = ["audit", "export", "--organisation", &cast.harbour, "--data", "data"];
    done(at, &[&export[..], &["--out", "before.jsonl"]].concat());
    let server = Server::serve(at);
    done(at, &["backup", "--data", "data", "--to", "backup"]);
    assert!(holds(&at.join("backup"), "zebrafinch"));
    // What is done after the backup: the grant is revoked, which takes the request along, and
    // that is erased.
    server.expect(200, "POST", &format!("/v1/grants/{given}/revoke"), &cast.by_ana, json!({}));
    server.expect(200, "POST", "/v1/erasures", &cast.provision, json!({ "request": asked }));
    stop(server);
    assert!(!holds(&at.join("data"), "zebrafinch"));
    // The list outlives the database: it is kept beside it.
    fs::create_dir(at.join("new")).unwrap();
    fs::copy(at.join("data/erasures"), at.join("new/erasures")).unwrap();

    let restored = restore(at, "new");
    let said = text(&restored.stdout);
    assert!(restored.status.success(), "{said}{}", text(&restored.stderr));
    assert!(said.contains("fork 2") && said.contains("erased again: 1"), "{said}");
    assert!(said.contains("ended: 1 sessions, 4 sign-ins, 3 keys"), "{said}");
    assert!(
        said.contains("unconfirmed: 1 grants") && said.contains("suspended: 4 members"),
        "{said}"
    );
    let hashes: i64 = rusqlite::Connection::open(at.join("new/comity.db"))
        .unwrap()
        .query_row("SELECT COUNT(*) FROM credential", [], |row| row.get(0))
        .unwrap();
    assert_eq!(hashes, 0, "a password is still there");
    assert!(!at.join("new/restoring").exists());
    assert!(!holds(&at.join("new"), "zebrafinch"), "the word is back");

    let server = serve(at, "new");
    server.expect(200, "GET", "/readyz", "", Value::Null);
    server.expect(401, "GET", "/v1/me", &cast.by_ana, Value::Null);
    server.expect(401, "GET", "/v1/me", &token, Value::Null);
    let name = json!({ "name": "Later" });
    server.expect(401, "PUT", "/v1/organisations/later", &cast.provision, name);
    let (status, _) =
        server.call("POST", "/access/v1/evaluation", &cast.decide, &question(&token)).unwrap();
    assert_eq!(status, 401);
    let operate = said.lines().map(str::trim).find(|l| l.starts_with("cmt_key_")).unwrap();
    let body = json!({ "use": "decide", "application": "boats" });
    let decide = string(&server.expect(201, "POST", "/v1/platform/keys", operate, body), "/secret");
    let asked: Value = serde_json::from_str(&question(&token)).unwrap();
    let answer = server.expect(200, "POST", "/access/v1/evaluation", &decide, asked);
    assert_eq!(answer["decision"], false, "{answer}");
    // Nobody's password is good, and the customer's Admin is none until the directory says so.
    let refused = json!({ "email": "ana@harbour.example", "password": "a boat for everyone" });
    server.expect(401, "POST", "/v1/sign-in", "", refused);
    let body = json!({ "use": "provision" });
    let made = server.expect(201, "POST", "/v1/platform/keys", operate, body);
    introduce(&server, &string(&made, "/secret"), "harbour", "ana");
    let ana = sign_in(&server, "ana@harbour");
    let path = format!("/v1/grants/{given}");
    let grant = server.expect(200, "GET", &path, &ana, Value::Null);
    assert_eq!(grant["state"], "unconfirmed", "{grant}");
    server.expect(200, "POST", &format!("{path}/confirm"), &ana, Value::Null);
    let grant = server.expect(200, "GET", &path, &ana, Value::Null);
    assert_eq!(grant["state"], "active", "{grant}");
    let shown = server.expect(
        200,
        "GET",
        &format!("/v1/organisations/harbour/sessions/{session}"),
        &ana,
        Value::Null,
    );
    assert!(shown.to_string().contains("restored"), "{shown}");
    stop(server);

    // The log goes on: checkpoints of the new fork are of the history that the export shows.
    let verified = done(at, &["audit", "verify", "--data", "new"]);
    assert!(verified.contains("every leaf and root fits"), "{verified}");
    let more = ["--data", "new", "--checkpoint-key", "data/checkpoint.key"];
    let after = ["audit", "export", "--organisation", &cast.harbour, "--out", "after.jsonl"];
    done(at, &[&after[..], &more].concat());
    let key = ["--key", key.trim()];
    let new = notes(&at.join("new/checkpoints"));
    assert!(new.len() >= 2, "the newest of the backup, and one of the new fork");
    for note in new.iter().chain(&seen) {
        fs::write(at.join("note"), note).unwrap();
        let pinned = ["audit", "verify", "after.jsonl", "--checkpoint", "note"];
        done(at, &[&pinned[..], &key].concat());
    }
    // And what a customer took home before stands under what it holds now.
    fs::write(at.join("note"), new.first().unwrap()).unwrap();
    let pinned = ["audit", "verify", "before.jsonl", "--checkpoint", "note"];
    done(at, &[&pinned[..], &key].concat());
}

/// The notes of a file of checkpoints.
fn notes(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.chunks(6).map(|note| note[..5].concat()).collect()
}

#[test]
fn inv32_a_restore_that_was_cut_off_stays_closed_until_it_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (server, key) = busy(at);
    stop(server); // signs a checkpoint
    done(at, &["backup", "--data", "data", "--to", "backup"]);
    assert!(text(&restore(at, "data").stderr).contains("has a database"));
    // Under another key nothing is begun.
    fs::write(at.join("other.key"), "0123456789abcdef".repeat(4)).unwrap();
    fs::set_permissions(at.join("other.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let wrong = ["restore", "--from", "backup", "--data", "new", "--key-file", "other.key"];
    assert!(refused(at, &wrong).contains("is not the one"));
    let lost = ["restore", "--from", "backup", "--data", "new", "--key-file", "data/comity.key"];
    assert!(refused(at, &lost).contains("audit key --new"));
    assert!(!at.join("new").exists());
    assert!(restore(at, "new").status.success());
    // As if it had been cut off after the copy, once by the folder's word and once by the copy's.
    let database = at.join("new/comity.db");
    let sql = |text: &str| rusqlite::Connection::open(&database).unwrap().execute_batch(text);
    let mark = at.join("new/restoring");
    for fork in 2..4 {
        if fork == 2 {
            fs::write(&mark, "").unwrap();
        } else {
            sql("UPDATE head SET fork = fork + 4611686018427387904").unwrap();
        }
        let server = serve(at, "new");
        server.expect(503, "GET", "/readyz", "", Value::Null);
        let name = json!({ "name": "Later" });
        let (status, _) =
            server.call("PUT", "/v1/organisations/later", &key, &name.to_string()).unwrap();
        assert!(status == 503 || status == 401, "{status}");
        stop(server);
        let in_place = ["restore", "--in-place", "--data", "new", "--key-file", "data/comity.key"];
        let keys = ["--checkpoint-key", "data/checkpoint.key"];
        let ended = done(at, &[&in_place[..], &keys].concat());
        assert!(ended.contains(&format!("fork {}", fork + 1)), "{ended}");
        let server = serve(at, "new");
        server.expect(200, "GET", "/readyz", "", Value::Null);
        stop(server);
    }
    // A backup that somebody touched is not restored at all.
    let backup = at.join("backup/comity.db");
    let touched = "UPDATE word SET text = 'Other' WHERE seq = 4";
    rusqlite::Connection::open(&backup).unwrap().execute_batch(touched).unwrap();
    let told = restore(at, "other");
    assert!(!told.status.success() && text(&told.stderr).contains("row 4"));
    assert!(!at.join("other/comity.db").exists());
}
