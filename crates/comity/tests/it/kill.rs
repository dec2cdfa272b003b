//! `kill -9` under load, and what must hold after it: the log verifies, and all that [`crate::load`]
//! promises.
//!
//! Each round kills the server at a random time and goes on with the data that it left.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{Cast, Promises, Round, decide, enter, grant, provision, question};
use crate::process::{Server, run, text};
use crate::record::{Run, rounds};

fn verifies(folder: &Path, when: &str) {
    let verified = run(folder, &["audit", "verify", "--data", "data"]);
    let out = text(&verified.stdout);
    assert!(verified.status.success() && out.contains("every leaf and root fits"), "{when}: {out}");
}

fn round<'a>(server: &'a Server, cast: &'a Cast, run: &'a Run, number: u64) -> Round<'a> {
    let soon = Duration::from_millis(150);
    let after = Duration::from_millis(20); // some calls find nobody
    Round { server, cast, run, number, soon, after }
}

#[test]
fn t39_inv22_kill_9_under_load_loses_nothing_that_was_acknowledged() {
    let rounds = rounds(100);
    let run = Run::begin("SQLite: kill -9 of the server under load");
    let folder = tempfile::tempdir().unwrap();
    let mut promises = Promises::default();
    let mut server = Server::serve(folder.path());
    let cast = provision(&mut server);
    for number in 0..rounds {
        round(&server, &cast, &run, number).load(&mut promises, || server.signal("9"));
        server.wait_for_the_kill();
        // What the kill left is read as it is, and beside the server, now and then and at the end.
        let all = number % 20 == 19 || number + 1 == rounds;
        if all {
            verifies(folder.path(), "as the kill left it");
        }
        server = Server::serve(folder.path());
        round(&server, &cast, &run, number).check(&mut promises, true, all);
        if all {
            verifies(folder.path(), "beside the server");
        }
    }
    let (status, printed) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{printed}");
    assert!(!promises.members.is_empty(), "there was no load");
    run.end();
}

/// A session with three calls that is over before anything bad happens.
fn quiet_session(server: &Server, cast: &Cast) -> String {
    let (session, token) = enter(server, cast, &grant(server, cast));
    for _ in 0..3 {
        assert_eq!(decide(server, cast, &question(&token)), Some((true, "allowed".into())));
    }
    let close = format!("/v1/sessions/{session}/close");
    server.expect(204, "POST", &close, &cast.by_tess, Value::Null);
    session
}

/// Waits longer than it takes the books of a session to be closed (two sweeps of `app::calls`).
#[test]
fn inv22_what_was_over_before_a_crash_stays_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::serve(folder.path());
    let cast = provision(&mut server);
    let quiet = quiet_session(&server, &cast);
    std::thread::sleep(Duration::from_secs(11));
    server.kill();
    for _ in 0..2 {
        let server = Server::serve(folder.path());
        let path = format!("/v1/organisations/harbour/sessions/{quiet}");
        let shown = server.expect(200, "GET", &path, &cast.by_ana, Value::Null);
        assert_eq!(shown["api_calls"], json!(3), "{shown}");
        assert_eq!(shown["at_most"], json!(false), "{shown}");
        server.kill();
    }
}
