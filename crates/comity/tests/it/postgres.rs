//! The binary on a real PostgreSQL: its roles, its nodes, its TLS, and carrying it from place to place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::canary::raw;
use crate::carry::{done, refused, root};
use crate::doctor::{failing, level, lines};
use crate::guard::stop;
use crate::load::{Cast, decide, enter, grant, provision, question};
use crate::own_postgres::{Options, Server as Postgres, server};
use crate::process::{Server, run, text, unlimited};

/// A migrated database with a role for the server; its URLs for the owner and for that role.
fn migrated(folder: &Path, name: &str) -> (String, String, String) {
    let owner = server().fresh_database(name);
    let database = owner.rsplit('/').next().unwrap().to_owned();
    let role = format!("{database}_node");
    server().role(&role, None);
    let said = done(folder, &["migrate", "--database", &owner, "--grant-to", &role]);
    assert!(said.contains("is made") && said.contains(&role), "{said}");
    (owner, server().url_as(&role, &database), database)
}

fn serve(folder: &Path, data: &str, url: &str) -> Server {
    let config = unlimited(folder);
    let listen = ["serve", "--config", &config, "--listen", "127.0.0.1:0", "--log", "warn"];
    let figures = ["--metrics-listen", "127.0.0.1:0"];
    let keys = ["--key-file", "comity.key", "--checkpoint-key", "checkpoint.key"];
    let place = ["--data", data, "--database", url];
    Server::start(folder, &[&listen[..], &figures, &keys, &place].concat())
}

/// What its monitoring reads.
fn figures(server: &Server) -> String {
    let line = server.printed.iter().find(|l| l.contains("/metrics")).unwrap();
    let address = line.split_once("http://").unwrap().1.trim().strip_suffix("/metrics").unwrap();
    raw(address, "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
}

fn said(server: &Server, cast: &Cast, token: &str) -> (bool, String) {
    // A node that counts its first call of a session may say "busy" once.
    for _ in 0..50 {
        if let Some(said) = decide(server, cast, &question(token)) {
            return said;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no answer");
}

fn no(reason: &str) -> (bool, String) {
    (false, reason.into())
}

fn revoke(server: &Server, cast: &Cast, grant: &str) {
    server.expect(200, "POST", &format!("/v1/grants/{grant}/revoke"), &cast.by_ana, json!({}));
}

#[test]
fn t39_t49_a_role_that_cannot_change_the_log_is_enough_for_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (owner, url, database) = migrated(at, "least");
    let again = done(at, &["migrate", "--database", &owner]);
    assert!(again.contains("nothing to do"), "{again}");
    let mut node = serve(at, "data", &url);
    let cast = provision(&mut node);
    assert!(node.printed.iter().any(|l| l.contains("database  postgres://127.0.0.1")));
    let given = grant(&node, &cast);
    let (session, token) = enter(&node, &cast, &given);
    assert_eq!(said(&node, &cast, &token), (true, "allowed".into()));
    revoke(&node, &cast, &given);
    assert_eq!(said(&node, &cast, &token), no("revoked"));
    let path = format!("/v1/organisations/harbour/sessions/{session}");
    let shown = node.expect(200, "GET", &path, &cast.by_ana, Value::Null);
    assert_eq!((&shown["api_calls"], &shown["calls_late"]), (&json!(1), &json!(1)), "{shown}");

    let figures = figures(&node);
    for (name, least) in [
        ("comity_lease_renewals_total{result=\"ok\"}", 1.0),
        ("comity_barrier_wait_seconds_count", 1.0),
        ("comity_checkpoint_age_seconds", 0.0),
        ("comity_checker_age_seconds", 0.0),
        ("comity_ready", 1.0),
    ] {
        let line = figures.lines().find_map(|l| l.strip_prefix(name));
        let value: f64 =
            line.unwrap_or_else(|| panic!("no {name}: {figures}")).trim().parse().unwrap();
        assert!(value >= least, "{name} {value}");
    }

    let role = format!("{database}_node");
    for sql in [
        "UPDATE log SET at = 0",
        "DELETE FROM log",
        "TRUNCATE log",
        "UPDATE word SET text = 'x'",
        "UPDATE checkpoint SET note = ''",
        "DELETE FROM checkpoint",
        "DELETE FROM audit_index",
        "ALTER TABLE log ADD COLUMN more TEXT",
        "CREATE TABLE more (a INT)",
    ] {
        let told = server().try_sql(&database, &format!("SET ROLE \"{role}\"; {sql}"));
        assert!(
            told.as_ref()
                .is_err_and(|e| e.contains("permission denied") || e.contains("must be owner")),
            "{sql}: {told:?}"
        );
    }
    let doctor = [
        "doctor",
        "--data",
        "data",
        "--key-file",
        "comity.key",
        "--checkpoint-key",
        "checkpoint.key",
    ];
    let (code, found) =
        lines(at, &[&doctor[..], &["--database", &url, "--listen", &node.address]].concat());
    for name in ["database", "tls", "schema", "role", "skew", "nodes", "log", "right key", "server"]
    {
        assert_eq!(level(&found, name).0, "ok", "{name}");
    }
    assert!(level(&found, "nodes").1.contains("1 live"));
    assert_eq!(level(&found, "replication").0, "warn");
    // The tests' own server is made for speed.
    assert_eq!((code, failing(&found)), (Some(1), vec!["durability"]));

    stop(node);
    let verified = done(at, &["audit", "verify", "--data", "data", "--database", &url]);
    assert!(verified.contains("every leaf and root fits"), "{verified}");
    let keys = ["--data", "data", "--database", &url, "--checkpoint-key", "checkpoint.key"];
    let key = done(at, &[&["audit", "key"][..], &keys].concat());
    assert!(!key.trim().is_empty());
}

#[test]
fn g1_what_ends_on_one_node_is_no_on_the_other_once_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (_, url, _) = migrated(at, "nodes");
    let mut one = serve(at, "one", &url);
    let cast = provision(&mut one);
    let two = serve(at, "two", &url);
    assert!(!two.printed.iter().any(|l| l.contains("cmt_key_")), "one first key is enough");
    let taken = run(
        at,
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            "two",
            "--key-file",
            "comity.key",
            "--checkpoint-key",
            "checkpoint.key",
            "--database",
            &url,
        ],
    );
    assert!(text(&taken.stderr).contains("another Comity"), "{}", text(&taken.stderr));
    for round in 0..20 {
        let given = grant(&one, &cast);
        let (_, token) = enter(if round % 2 == 0 { &one } else { &two }, &cast, &given);
        let began = Instant::now();
        for node in [&one, &two] {
            while !said(node, &cast, &token).0 {
                assert!(began.elapsed() < Duration::from_secs(5), "a node never knew it");
            }
        }
        let (by, other) = if round % 2 == 0 { (&one, &two) } else { (&two, &one) };
        revoke(by, &cast, &given);
        assert_eq!(said(other, &cast, &token), no("revoked"), "round {round}");
        assert_eq!(said(by, &cast, &token), no("revoked"), "round {round}");
    }
    stop(two);
    stop(one);
}

#[test]
fn t54_a_database_without_the_schema_or_with_another_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let url = server().fresh_database("bare");
    let database = url.rsplit('/').next().unwrap();
    let start = ["serve", "--listen", "127.0.0.1:0", "--data", "data", "--database", &url];
    let told = refused(at, &start);
    assert!(told.contains("comity migrate"), "{told}");
    assert!(
        refused(at, &["backup", "--data", "data", "--database", &url, "--to", "b"])
            .contains("comity migrate")
    );
    done(at, &["migrate", "--database", &url]);
    server().sql(database, "UPDATE schema_version SET version = 0");
    assert!(refused(at, &start).contains("comity migrate"));
    server().sql(database, "UPDATE schema_version SET version = 99");
    assert!(refused(at, &start).contains("newer"));
    assert!(refused(at, &["migrate", "--database", &url]).contains("newer"));
    assert!(refused(at, &["migrate"]).contains("--database"));
    for bad in ["mysql://a@b/c", "postgres://a:hunter2@db.example/c?sslmode=require"] {
        let told = refused(at, &["serve", "--data", "data", "--database", bad]);
        assert!(told.contains("database") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn t54_a_server_is_believed_only_under_its_name_and_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let own = Postgres::start(Options { tls: true, durable: true });
    let other = Postgres::start(Options { tls: true, durable: false });
    own.role("node", Some("hunter2"));
    own.sql("postgres", "CREATE DATABASE c");
    let (owner, port) = (own.url("c"), own.port);
    done(at, &["migrate", "--database", &owner, "--grant-to", "node"]);
    let url = |host: &str, authority: &Path| {
        format!(
            "postgres://node:hunter2@{host}:{port}/c?sslmode=verify-full&sslrootcert={}",
            authority.display()
        )
    };
    let right = url("localhost", &own.ca());
    let file = at.join("database.url");
    fs::write(&file, format!("{right}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let node = Server::start(
        at,
        &["serve", "--listen", "127.0.0.1:0", "--data", "data", "--database-file", "database.url"],
    );
    node.expect(200, "GET", "/readyz", "", Value::Null);
    let ssl = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'node'";
    assert_eq!(own.sql("c", ssl), "t");
    let (code, found) = lines(
        at,
        &["doctor", "--data", "data", "--database-file", "database.url", "--listen", &node.address],
    );
    assert_eq!((code, failing(&found)), (Some(0), vec![]));
    assert!(level(&found, "tls").1.contains("verify-full"));
    assert_eq!(level(&found, "durability").0, "ok");
    assert!(!found.iter().any(|(_, name, _)| name == "password"));
    let printed = stop(node);
    assert!(!printed.contains("hunter2"), "{printed}");
    let (_, found) = lines(at, &["doctor", "--data", "data", "--database", &right]);
    assert_eq!(level(&found, "password").0, "warn");
    for wrong in [
        url("localhost", &other.ca()),
        url("127.0.0.2", &own.ca()),
        url("localhost", &own.ca()).replace("hunter2", "hunter3"),
    ] {
        let told = refused(
            at,
            &["serve", "--listen", "127.0.0.1:0", "--data", "data", "--database", &wrong],
        );
        assert!(!told.contains("hunter"), "{told}");
        let (code, found) = lines(at, &["doctor", "--data", "data", "--database", &wrong]);
        assert_eq!((code, failing(&found)), (Some(1), vec!["database"]), "{wrong}");
    }
}

#[test]
fn t54_the_doctor_names_what_is_wrong_with_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (owner, url, database) = migrated(at, "doctor");
    let mut node = serve(at, "data", &url);
    provision(&mut node);
    stop(node);
    let look = |url: &str| {
        let keys = ["--key-file", "comity.key", "--checkpoint-key", "checkpoint.key"];
        let doctor = ["doctor", "--data", "data", "--database", url];
        let (_, found) = lines(at, &[&doctor[..], &keys].concat());
        // The tests' own server is made for speed.
        let failed = failing(&found).into_iter().filter(|n| *n != "durability").map(str::to_owned);
        (failed.collect::<Vec<_>>(), found)
    };
    assert_eq!(look(&url).0, Vec::<String>::new());
    let (failed, found) = look(&owner);
    assert_eq!(failed, ["role"], "a superuser");
    assert!(level(&found, "role").1.contains("superuser"));
    let role = format!("{database}_node");
    for (wrong, right, name, why) in [
        ("GRANT UPDATE ON log TO $", "REVOKE UPDATE ON log FROM $", "role", "UPDATE"),
        ("GRANT DELETE ON log TO $", "REVOKE DELETE ON log FROM $", "role", "DELETE"),
        ("REVOKE INSERT ON word FROM $", "GRANT INSERT ON word TO $", "role", "INSERT on word"),
        (
            "ALTER TABLE log OWNER TO $",
            "ALTER TABLE log OWNER TO postgres; GRANT SELECT, INSERT ON log TO $",
            "role",
            "owns",
        ),
        (
            "UPDATE schema_version SET version = 99",
            "UPDATE schema_version SET version = 1",
            "schema",
            "99",
        ),
        ("UPDATE head SET seq = seq + 1", "UPDATE head SET seq = seq - 1", "log", "head"),
        (
            "UPDATE head SET fork = fork + 4611686018427387904",
            "UPDATE head SET fork = 1",
            "checkpoint",
            "restore",
        ),
        (
            "UPDATE log SET at = at + 99999999999 WHERE seq = (SELECT MAX(seq) FROM log)",
            "UPDATE log SET at = at - 99999999999 WHERE seq = (SELECT MAX(seq) FROM log)",
            "clock",
            "behind",
        ),
        ("ALTER ROLE $ NOLOGIN", "ALTER ROLE $ LOGIN", "database", "log in"),
    ] {
        let sql = |text: &str| server().sql(&database, &text.replace('$', &format!("\"{role}\"")));
        sql(wrong);
        let (failed, found) = look(&url);
        assert_eq!(failed, [name], "{wrong}");
        assert!(level(&found, name).1.contains(why), "{wrong}: {found:?}");
        sql(right);
        assert_eq!(look(&url).0, Vec::<String>::new(), "{right}");
    }
    server().sql(&database, "INSERT INTO lease VALUES ('\\x00000000000000000000000000000007', 1, 1, 1, 1, false, now() - interval '1 minute')");
    assert_eq!(level(&look(&url).1, "nodes").0, "warn");
    let key = at.join("comity.key");
    let good = fs::read_to_string(&key).unwrap();
    fs::write(&key, good.chars().rev().collect::<String>().trim()).unwrap();
    assert_eq!(look(&url).0, ["right key"]);
    fs::remove_file(&key).unwrap();
    assert_eq!(look(&url).0, ["key file"]);
}

#[test]
fn a_copy_to_postgres_and_back_has_the_same_root_and_the_same_answers() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut node = Server::start(
        at,
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            "files",
            "--key-file",
            "comity.key",
            "--checkpoint-key",
            "checkpoint.key",
            "--log",
            "warn",
        ],
    );
    let cast = provision(&mut node);
    let given = grant(&node, &cast);
    let (session, token) = enter(&node, &cast, &given);
    assert!(said(&node, &cast, &token).0);
    let shown = |node: &Server| {
        let path = format!("/v1/organisations/harbour/sessions/{session}");
        let mut shown = node.expect(200, "GET", &path, &cast.by_ana, Value::Null);
        shown["duration_seconds"] = Value::Null; // it goes on
        shown
    };
    // The calls of the minute are on disk a moment after they are answered.
    let written = |shown: &Value| shown["minutes"].as_array().is_some_and(|m| !m.is_empty());
    let mut before = shown(&node);
    for _ in 0..100 {
        if written(&before) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        before = shown(&node);
    }
    assert!(written(&before));
    stop(node);
    let (owner, url, _) = migrated(at, "copied");
    let told = refused(at, &["copy", "--from", "files", "--to", &url]);
    assert!(told.contains("the role that owns the schema"), "{told}");
    let to = done(at, &["copy", "--from", "files", "--to", &owner]);
    assert!(refused(at, &["copy", "--from", "files", "--to", &owner]).contains("has a log"));
    let node = serve(at, "node", &url);
    assert_eq!(shown(&node), before);
    stop(node);
    let back = done(at, &["copy", "--from", &owner, "--to", "back"]);
    let verified = done(at, &["audit", "verify", "--data", "back"]);
    assert_eq!(root(&to), root(&done(at, &["audit", "verify", "--data", "files"])));
    assert_eq!(root(&back), root(&verified));
    assert_eq!(root(&back), root(&to), "a start and a stop wrote nothing");
    let node = Server::start(
        at,
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            "back",
            "--key-file",
            "comity.key",
            "--checkpoint-key",
            "checkpoint.key",
            "--log",
            "warn",
        ],
    );
    assert!(said(&node, &cast, &token).0, "sessions and keys stay as they are");
    revoke(&node, &cast, &given);
    assert_eq!(said(&node, &cast, &token), no("revoked"));
    stop(node);
}

#[test]
fn inv32_t50_a_backup_from_postgres_goes_on_in_another_database_with_nothing_open() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (_, url, _) = migrated(at, "source");
    let mut node = serve(at, "data", &url);
    let cast = provision(&mut node);
    let given = grant(&node, &cast);
    let (_, token) = enter(&node, &cast, &given);
    done(at, &["backup", "--data", "data", "--database", &url, "--to", "backup"]);
    assert!(at.join("backup/checkpoints").exists(), "what the world has seen goes along");
    stop(node);
    let (owner, url, database) = migrated(at, "target");
    let restore = [
        "restore",
        "--from",
        "backup",
        "--data",
        "new",
        "--key-file",
        "comity.key",
        "--checkpoint-key",
        "checkpoint.key",
    ];
    let told = refused(at, &[&restore[..], &["--database", &url]].concat());
    assert!(told.contains("owns the schema"), "{told}");
    let said_so = done(at, &[&restore[..], &["--database", &owner]].concat());
    assert!(said_so.contains("fork 2") && said_so.contains("ended: 1 sessions"), "{said_so}");
    assert_eq!(server().sql(&database, "SELECT fork FROM head"), "2");
    let again = refused(at, &[&restore[..], &["--database", &owner]].concat());
    assert!(again.contains("has a log"), "{again}");
    let operate = said_so.lines().find_map(|l| l.trim().strip_prefix("cmt_key_")).unwrap();
    let node = serve(at, "new", &url);
    node.expect(200, "GET", "/readyz", "", Value::Null);
    node.expect(401, "GET", "/v1/me", &cast.by_ana, Value::Null);
    let body = json!({ "use": "decide", "application": "boats" });
    let made = node.expect(201, "POST", "/v1/platform/keys", &format!("cmt_key_{operate}"), body);
    let asked = node.expect(
        200,
        "POST",
        "/access/v1/evaluation",
        made["secret"].as_str().unwrap(),
        serde_json::from_str(&question(&token)).unwrap(),
    );
    assert_eq!(asked["decision"], false);
    stop(node);
}

/// A start from any folder on a copy whose restore has not come to its end.
#[test]
fn inv32_a_database_that_is_being_restored_answers_no_yes_from_any_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (_, url, database) = migrated(at, "halfway");
    let mut node = serve(at, "data", &url);
    provision(&mut node);
    stop(node);
    server().sql(&database, "UPDATE head SET fork = fork + 4611686018427387904");
    let node = serve(at, "other", &url);
    node.expect(503, "GET", "/readyz", "", Value::Null);
    assert!(stop(node).contains("CLOSED"));
    let keys = ["--key-file", "comity.key", "--checkpoint-key", "checkpoint.key"];
    let ended = done(
        at,
        &[&["restore", "--in-place", "--data", "other", "--database", &url][..], &keys].concat(),
    );
    assert!(ended.contains("fork 2"), "{ended}");
    let node = serve(at, "other", &url);
    node.expect(200, "GET", "/readyz", "", Value::Null);
    stop(node);
}
