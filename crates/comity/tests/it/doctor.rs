//! `comity doctor`: a line for each thing that is wrong, and the way out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Server, run, string, text};

/// What it says, by name: level and sentence.
fn doctor(folder: &Path, more: &[&str]) -> (Option<i32>, Vec<(String, String, String)>) {
    lines(folder, &[&["doctor", "--data", "data"], more].concat())
}

/// The same under other flags.
pub fn lines(folder: &Path, flags: &[&str]) -> (Option<i32>, Vec<(String, String, String)>) {
    let done = run(folder, &[flags, &["--json"]].concat());
    let out = text(&done.stdout);
    let checks: Value =
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {}", text(&done.stderr)));
    let checks = checks.as_array().unwrap();
    let lines = checks
        .iter()
        .map(|c| (string(c, "/level"), string(c, "/name"), string(c, "/says")))
        .inspect(|line| println!("{line:?}"))
        .collect();
    (done.status.code(), lines)
}

pub fn level<'a>(lines: &'a [(String, String, String)], name: &str) -> (&'a str, &'a str) {
    let line = lines.iter().find(|(_, n, _)| n == name);
    line.map(|(level, _, says)| (&**level, &**says)).unwrap_or_else(|| panic!("no {name}"))
}

pub fn failing(lines: &[(String, String, String)]) -> Vec<&str> {
    lines.iter().filter(|(level, _, _)| level == "fail").map(|(_, name, _)| &**name).collect()
}

/// An installation with an organisation in it, stopped.
fn installation(folder: &Path) -> String {
    let mut server = Server::serve(folder);
    let operate = server.read_until("cmt_key_").trim().to_owned();
    let use_ = json!({ "use": "provision" });
    let key = string(&server.expect(201, "POST", "/v1/platform/keys", &operate, use_), "/secret");
    let name = json!({ "name": "Harbour" });
    server.expect(201, "PUT", "/v1/organisations/harbour", &key, name.clone());
    server.expect(201, "PUT", "/v1/organisations/harbour/units/pier", &key, name);
    let (status, printed) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{printed}");
    key
}

#[test]
fn a_sound_installation_has_nothing_that_fails_running_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let (code, lines) = doctor(folder.path(), &[]);
    assert_eq!((code, level(&lines, "data").0), (Some(0), "warn"), "nothing is there yet");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "it makes nothing");

    installation(folder.path());
    let (code, lines) = doctor(folder.path(), &[]);
    assert_eq!((code, failing(&lines)), (Some(0), vec![]));
    assert_eq!(level(&lines, "key file").0, "warn", "beside the data");
    assert_eq!(level(&lines, "checkpoint").0, "ok", "signed at the stop");
    for name in ["data", "disk", "schema", "sqlite", "log", "right key", "clock", "server"] {
        assert_eq!(level(&lines, name).0, "ok", "{name}");
    }
    assert!(level(&lines, "log").1.contains("5 rows"));
    assert!(level(&lines, "server").1.contains("none"));

    let server = Server::serve(folder.path());
    let (code, lines) = doctor(folder.path(), &["--listen", &server.address]);
    assert_eq!((code, failing(&lines)), (Some(0), vec![]));
    assert!(level(&lines, "server").1.contains("and ready"), "{lines:?}");
    server.expect(200, "GET", "/readyz", "", Value::Null);
    let human = run(folder.path(), &["doctor", "--data", "data", "--listen", &server.address]);
    let human = text(&human.stdout);
    assert!(human.contains("ok    log") && human.contains("-> "), "{human}");
}

#[test]
fn t54_each_thing_that_is_wrong_fails_by_its_name_and_says_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let (at, data) = (folder.path(), folder.path().join("data"));
    let (code, lines) = doctor(at, &["--listen", "0.0.0.0:8420"]);
    assert_eq!((code, failing(&lines)), (Some(1), vec!["settings"]));
    fs::write(at.join("comity.toml"), "lisen = \"127.0.0.1:1\"\n").unwrap();
    let (code, lines) = doctor(at, &["--config", "comity.toml"]);
    assert_eq!((code, failing(&lines)), (Some(1), vec!["settings"]));
    assert!(level(&lines, "settings").1.contains("lisen"));

    installation(at);
    fs::remove_file(data.join("checkpoints")).unwrap(); // else it fails along with the log
    let (key, database) = (data.join("comity.key"), data.join("comity.db"));
    let good = fs::read_to_string(&key).unwrap();
    // What the last run left in the write-ahead log, into the file.
    let fold = rusqlite::Connection::open(&database).unwrap();
    fold.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(fold);
    let sound = fs::read(&database).unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let expect = |name: &str| {
        let (code, lines) = doctor(at, &[]);
        assert_eq!((code, failing(&lines)), (Some(1), vec![name]), "{lines:?}");
        level(&lines, name).1.to_owned()
    };
    mode(&data, 0o777);
    expect("data");
    mode(&data, 0o700);
    mode(&key, 0o640);
    assert!(expect("key file").contains("0640"));
    mode(&key, 0o600);
    fs::write(&key, "0".repeat(64)).unwrap();
    let (_, lines) = doctor(at, &[]);
    assert_eq!(failing(&lines), ["key file", "right key"], "a default secret, and not this one's");
    fs::write(&key, good.chars().rev().collect::<String>().trim()).unwrap();
    expect("right key");
    fs::remove_file(&key).unwrap();
    expect("key file");
    assert!(!key.exists(), "it makes nothing");
    fs::write(&key, &good).unwrap();
    mode(&key, 0o600);

    let sql =
        |sql: &str| rusqlite::Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    for (wrong, name) in [
        ("PRAGMA user_version = 99", "schema"),
        ("DELETE FROM log WHERE seq = 5", "log"),
        ("UPDATE head SET root = zeroblob(32)", "log"),
        ("UPDATE log SET at = 99999999999999 WHERE seq = 5", "clock"),
        ("DROP TABLE head", "log"),
    ] {
        sql(wrong);
        expect(name);
        fs::write(&database, &sound).unwrap();
    }
    fs::write(data.join(".comity-demo"), "").unwrap();
    expect("data");
}
