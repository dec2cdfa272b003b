//! The commands of the binary: what they say, what they refuse, how they start and stop.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::process::{Server, run, text, workspace};

/// How long a stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(5);

fn stop(server: Server) -> String {
    let (status, printed) = server.terminate(STOP_WITHIN);
    assert_eq!(status.code(), Some(0), "{printed}");
    printed
}

/// `comity serve` that must not start; returns what it complains of.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let done = run(folder, arguments);
    let (out, errors) = (text(&done.stdout), text(&done.stderr));
    assert!(!done.status.success(), "{arguments:?} should be refused: {out}");
    assert_eq!(out, "", "nothing is printed but the complaint");
    assert_eq!(errors.trim_end().lines().count(), 1, "one line: {errors}");
    errors
}

#[test]
fn the_help_of_every_command_is_as_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    for (name, command) in [
        ("help", &["--help"][..]),
        ("help-serve", &["serve", "--help"]),
        ("help-demo", &["demo", "--help"]),
        ("help-doctor", &["doctor", "--help"]),
        ("help-migrate", &["migrate", "--help"]),
        ("help-backup", &["backup", "--help"]),
        ("help-restore", &["restore", "--help"]),
        ("help-copy", &["copy", "--help"]),
        ("help-audit", &["audit", "--help"]),
        ("help-audit-verify", &["audit", "verify", "--help"]),
    ] {
        let done = run(folder.path(), command);
        assert!(done.status.success());
        let path = workspace().join(format!("crates/comity/tests/output/{name}.txt"));
        if std::env::var_os("COMITY_BLESS").is_some() {
            fs::write(&path, &done.stdout).unwrap();
        }
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text(&done.stdout), reviewed, "{name}.txt; COMITY_BLESS=1 rewrites it");
    }
}

#[test]
fn t54_a_wrong_setting_is_refused_by_name_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("comity.toml");
    for (text, key) in [
        ("listen = \"0.0.0.0:0\"\ndata = \"made\"", "listen"),
        ("listen = \"nowhere\"\ndata = \"made\"", "listen"),
        ("listen = \"127.0.0.1:0\"\nlog = \"loud\"\ndata = \"made\"", "log"),
        ("listen = \"127.0.0.1:0\"\nlog_format = \"xml\"\ndata = \"made\"", "log_format"),
        ("lisen = \"127.0.0.1:0\"\ndata = \"made\"", "lisen"),
        ("listen = \"127.0.0.1:0\"\ndata = 7", "data"),
        ("listen = \"127.0.0.1:0\"\nbehind_proxy = \"perhaps\"\ndata = \"made\"", "behind_proxy"),
    ] {
        fs::write(&config, text).unwrap();
        let done = run(folder.path(), &["serve", "--config", "comity.toml"]);
        let errors = String::from_utf8(done.stderr).unwrap();
        assert!(!done.status.success() && errors.contains(key), "{text}: {errors}");
    }
    assert!(
        refused(folder.path(), &["serve", "--config", "missing.toml"]).contains("missing.toml")
    );
    assert!(
        refused(folder.path(), &["serve", "--listen", "0.0.0.0:0", "--data", "made"])
            .contains("listen")
    );
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["comity.toml"], "a refused start leaves nothing behind");
}

#[test]
fn a_port_that_is_taken_is_refused_and_the_first_key_is_still_shown_later() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let errors = refused(folder.path(), &["serve", "--listen", &address, "--data", "data"]);
    assert!(errors.contains("listen") && errors.contains(&address), "{errors}");
    let printed = stop(Server::serve(folder.path()));
    assert!(printed.contains("made now") && printed.contains("cmt_key_"), "{printed}");
}

#[test]
fn the_first_start_makes_and_shows_the_keys_and_no_other_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::serve(folder.path());
    let key = server.read_until("cmt_key_").trim().to_owned();
    assert!(
        server.printed.iter().any(|l| l.contains("data/comity.key") && l.contains("made now")),
        "{:?}",
        server.printed
    );
    let file = folder.path().join("data/comity.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    server.expect(200, "GET", "/v1/platform/policy", &key, json!(null));
    let printed = stop(server);
    assert_eq!(printed.matches("cmt_key_").count(), 1, "{printed}");

    let secret = fs::read_to_string(&file).unwrap();
    let server = Server::serve(folder.path());
    server.expect(200, "GET", "/v1/platform/policy", &key, json!(null));
    let printed = stop(server);
    assert!(!printed.contains("cmt_key_") && !printed.contains("made now"), "{printed}");
    assert_eq!(fs::read_to_string(&file).unwrap(), secret);
}

#[test]
fn t54_a_key_file_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    stop(Server::serve(folder.path()));
    let file = folder.path().join("data/comity.key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let errors = refused(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data", "data"]);
    assert!(
        errors.contains("comity.key") && errors.contains("0644") && errors.contains("chmod 600"),
        "{errors}"
    );
}

#[test]
fn a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let first = Server::serve(folder.path());
    let errors = refused(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--data", "data"]);
    assert!(errors.contains("another Comity is running on this database"), "{errors}");
    first.expect(200, "GET", "/readyz", "", json!(null));
    stop(first);
    stop(Server::serve(folder.path()));
}

#[test]
fn sigterm_stops_it_cleanly_also_while_connections_are_idle() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::serve(folder.path());
    server.expect(200, "GET", "/healthz", "", json!(null));
    let idle = std::net::TcpStream::connect(&server.address).unwrap();
    stop(server);
    drop(idle);
}

#[test]
fn audit_verify_runs_beside_a_server_and_names_the_row_that_was_tampered_with() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::serve(folder.path());
    let key = server.read_until("cmt_key_").trim().to_owned();
    let made = server.expect(201, "POST", "/v1/platform/keys", &key, json!({ "use": "provision" }));
    let key = made["secret"].as_str().unwrap().to_owned();
    for n in 0..20 {
        let name = json!({ "name": format!("Organisation number {n:02}") });
        server.expect(201, "PUT", &format!("/v1/organisations/o-{n}"), &key, name);
    }
    let beside = run(folder.path(), &["audit", "verify", "--data", "data"]);
    let out = text(&beside.stdout);
    assert!(beside.status.success() && out.contains("every leaf and root fits"), "{out}");
    assert!(out.contains("23 rows"), "{out}");
    stop(server);
    // A reader of its own folds the write-ahead log into the file.
    stop(Server::serve(folder.path()));

    // One letter of a name, wherever it stands in a copy of the file.
    let original = fs::read(folder.path().join("data/comity.db")).unwrap();
    let name = b"Organisation number 11";
    let places: Vec<usize> = original
        .windows(name.len())
        .enumerate()
        .filter(|(_, w)| *w == name)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the name is not in comity.db");
    let copy = folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    let mut bytes = original.clone();
    for at in places {
        bytes[at] = b'Q';
    }
    fs::write(copy.join("comity.db"), bytes).unwrap();
    let tampered = run(folder.path(), &["audit", "verify", "--data", "copy"]);
    let out = text(&tampered.stdout);
    assert_eq!(tampered.status.code(), Some(1), "{out}");
    // Row 1 is the first key, row 2 the signing keys, row 3 the second key, and o-0 is row 4.
    assert!(out.contains("row 15:"), "{out}");
    assert!(!out.contains("every leaf and root fits"), "{out}");
    assert!(
        text(&run(folder.path(), &["audit", "verify", "--data", "nowhere"]).stderr)
            .contains("nowhere")
    );
}

#[test]
fn the_demo_is_for_loopback_and_for_its_own_folder() {
    let folder = tempfile::tempdir().unwrap();
    let errors = refused(folder.path(), &["demo", "--listen", "0.0.0.0:0"]);
    assert!(errors.contains("loopback"), "{errors}");
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/thesis.txt"), "all my work").unwrap();
    let errors = refused(folder.path(), &["demo", "--listen", "127.0.0.1:0", "--data", "mine"]);
    assert!(errors.contains("mine"), "{errors}");
    assert_eq!(fs::read_to_string(folder.path().join("mine/thesis.txt")).unwrap(), "all my work");

    let start = || {
        let mut demo = Server::start(folder.path(), &["demo", "--listen", "127.0.0.1:0"]);
        demo.read_until("The five-minute tour");
        let env = fs::read_to_string(folder.path().join("comity-demo/demo.env")).unwrap();
        assert!(env.contains(&format!("COMITY=http://{}\n", demo.address)), "{env}");
        (demo, env)
    };
    let (first, before) = start();
    stop(first);
    let (second, after) = start();
    assert_ne!(before, after, "the world is made anew, with keys of its own");
    // While one runs, another in the same folder must not take the ground from under it.
    let errors = refused(folder.path(), &["demo", "--listen", "127.0.0.1:0"]);
    assert!(errors.contains("comity-demo"), "{errors}");
    second.expect(200, "GET", "/readyz", "", json!(null));
    let there = fs::read_to_string(folder.path().join("comity-demo/demo.env")).unwrap();
    assert_eq!(there, after, "the running demo keeps its files");
    stop(second);
}

#[test]
fn t54_a_lost_or_other_key_file_is_refused_where_there_is_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let (data, key) = (folder.path().join("data"), folder.path().join("comity.key"));
    let cost = comity_app::people::passwords::Cost::TESTS;
    let settings = comity_app::Settings::new(data, key.clone(), cost);
    let start = || {
        let clock = std::sync::Arc::new(comity_app::clock::Clock::system());
        comity_app::App::start(&settings, clock)
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = start().unwrap();
    runtime.block_on(async {
        use comity_domain::application::KeyUse;
        use comity_domain::command::{Caller, Command, Door};
        let (operate, _) = app.make_key(&Caller::system(), KeyUse::Operate, None).await.unwrap();
        let operator = app.caller(operate.reveal(), Door::Cli).unwrap();
        let (key, _) = app.make_key(&operator, KeyUse::Provision, None).await.unwrap();
        let provisioner = app.caller(key.reveal(), Door::Cli).unwrap();
        let code = app.fresh_code();
        let put = Command::PutOrganisation { external: "a".into(), name: "A".into(), code };
        app.run(&provisioner, put).await.unwrap();
    });
    app.stop();
    drop(app);
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let refused = start().unwrap_err().to_string();
    assert!(refused.contains("comity.key") && refused.contains("put it back"), "{refused}");
    assert!(!key.exists(), "nothing was made in its place");
    fs::write(&key, "ab".repeat(32)).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = start().unwrap_err().to_string();
    assert!(refused.contains("not the one"), "{refused}");
    fs::write(&key, kept).unwrap();
    start().map(|_| ()).unwrap();
}
