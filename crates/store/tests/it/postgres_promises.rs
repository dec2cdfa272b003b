//! What only a server can break: a warning on a commit, a writer that stands still with the head, a
//! role that may too much, and a server that is not who it says it is.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use comity_domain::draft::SideWrite;
use comity_domain::ids::SessionId;
use comity_domain::kernel::apply;
use comity_domain::state::State;
use comity_domain::text::Subject;
use comity_store::postgres::{Hints, Leases, Server as Named, grant, migrate};
use comity_store::{
    AppendError, Calls, CallsReader, Checkpoints, NodeId, Place, Reader, Store, StoreError,
    StoredCounts, verify,
};

use crate::postgres::{Options, Server, fresh_database, server};
use crate::story::{alone, long_story, salts};

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

#[test]
fn t39_a_warning_on_a_commit_poisons_the_connection_and_the_command_settles_it() {
    let rows = long_story().rows;
    let url = fresh_database("warned");
    let named = Named::parse(&url).unwrap();
    migrate(&named).unwrap();
    let mut store = Store::at(&Place::Postgres(named, NodeId(1))).unwrap();
    store.append(&alone(&rows[..3]), &mut salts()).unwrap();
    // As a server warns that a commit is durable here and nowhere else: during COMMIT.
    let warn = "CREATE FUNCTION warns() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN RAISE WARNING 'not replicated'; RETURN NULL; END $$; \
        CREATE CONSTRAINT TRIGGER warns AFTER INSERT ON log DEFERRABLE INITIALLY DEFERRED \
        FOR EACH ROW EXECUTE FUNCTION warns()";
    server().sql(name_of(&url), warn);
    let unknown = store.append(&alone(&rows[3..5]), &mut salts());
    assert!(matches!(&unknown, Err(AppendError::Unknown(_))), "{unknown:?}");
    assert!(unknown.unwrap_err().to_string().contains("not replicated"));
    assert!(store.is_lost(), "nothing on this connection counts any more");
    assert!(store.lock().is_err());
    let refused = store.append(&alone(&rows[3..5]), &mut salts());
    assert!(matches!(refused, Err(AppendError::NotWritten(_))), "{refused:?}");
    assert!(store.renew(3).is_err(), "and being current is not confirmed on it");
    server().sql(name_of(&url), "DROP TRIGGER warns ON log");
    assert_eq!(store.settle().unwrap().seq, 5, "on a connection of its own");
    assert!(store.find_command(5, rows[4].command).unwrap(), "it was written");
    assert!(!store.find_command(4, rows[4].command).unwrap());
    store.append(&alone(&rows[5..6]), &mut salts()).unwrap();
}

const HELD: &str = "COMITY_TEST_HOLDS_THE_HEAD";

#[test]
#[ignore = "runs in a process of its own, which another test starts and stops"]
fn the_one_who_holds_the_head() {
    let Ok(url) = std::env::var(HELD) else {
        return;
    };
    let place = Place::Postgres(Named::parse(&url).unwrap(), NodeId(2));
    let mut store = Store::at(&place).unwrap();
    println!("held {}", store.lock().unwrap().seq);
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_writer_that_stands_still_with_the_head_delays_the_others_two_seconds_at_most() {
    let rows = long_story().rows;
    let url = fresh_database("held");
    let named = Named::parse(&url).unwrap();
    migrate(&named).unwrap();
    let mut store = Store::at(&Place::Postgres(named, NodeId(1))).unwrap();
    store.append(&alone(&rows[..3]), &mut salts()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "postgres_promises::the_one_who_holds_the_head"])
        .args(["--ignored", "--nocapture"])
        .env(HELD, &url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("held 3")), "it has the head");
    let stopped = Command::new("kill").args(["-STOP", &child.id().to_string()]).status();
    assert!(stopped.unwrap().success());
    let began = Instant::now();
    let head = store.lock();
    let took = began.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(head.unwrap().seq, 3);
    assert!(took < Duration::from_secs(2), "{took:?}");
    store.append(&alone(&rows[3..4]), &mut salts()).unwrap();
}

/// Everything that a server does, by the role that it should have.
#[test]
fn t54_the_servers_role_can_do_what_a_server_does_and_cannot_change_the_log() {
    let world = long_story();
    let url = fresh_database("role");
    let name = name_of(&url);
    let owner = Named::parse(&url).unwrap();
    migrate(&owner).unwrap();
    server().role("least", None);
    grant(&owner, "least").unwrap();
    let named = Named::parse(&server().url_as("least", name)).unwrap();
    let place = Place::Postgres(named.clone(), NodeId(1));
    let mut store = Store::at(&place).unwrap();
    for part in world.rows.chunks(9) {
        let mut batch = alone(part);
        for person in world.state.people.iter().map(|(id, _)| id).take(2) {
            batch[0].1.push(SideWrite::Credential(person, "$argon2id$".into()));
        }
        store.append(&batch, &mut salts()).unwrap();
    }
    let (person, _) = world.state.people.iter().next().unwrap();
    let mut last = world.rows[1].clone();
    (last.seq, last.at) = (world.rows.len() as u64 + 1, world.state.at);
    let once = crate::again::keyed(std::slice::from_ref(&last), "per_a").remove(0).1.remove(0);
    let erase = vec![SideWrite::EraseWords(Subject::Person(person)), once];
    let head = store.append(&[(last, erase)], &mut salts()).unwrap();
    assert_eq!(store.renew(head.seq).unwrap().head, Some(head.clone()));
    assert_eq!(store.lock().unwrap(), head);
    store.release();
    let mut state = State::default();
    store
        .replay(0, |row| {
            apply(&mut state, &row);
            Ok(())
        })
        .unwrap();
    let (key, long_after) = (crate::again::key(0), comity_domain::time::Instant(i64::MAX));
    assert_eq!(store.known(&[key], comity_domain::time::Instant(0)).unwrap().len(), 1);
    assert_eq!(store.forget(long_after, 10).unwrap(), 1);
    let reader = Reader::at(&place);
    assert_eq!(verify(&reader, None).unwrap().first_bad, None);
    assert_eq!(reader.credential(person).unwrap(), None, "erased with the words");
    let mut calls = Calls::at(&place).unwrap();
    let counts = StoredCounts { reserved: 9, allowed: 2, ..StoredCounts::default() };
    calls.write(&[(SessionId(1), counts)], &[crate::calls::record(1)]).unwrap();
    calls.write(&[(SessionId(1), StoredCounts { allowed: 3, ..counts })], &[]).unwrap();
    let segment = calls.next_segment().unwrap().unwrap();
    calls.sealed(segment.segment).unwrap();
    calls.stop().unwrap();
    assert!(CallsReader::at(&place).unwrap().counter(SessionId(1)).unwrap().is_some());
    let kept = Checkpoints::at(&place).unwrap();
    let at = comity_domain::time::Instant(1);
    let kept_one =
        comity_store::Kept { size: head.seq, at, edge: head.edge.clone(), note: "a note".into() };
    kept.keep(&kept_one).unwrap();
    assert_eq!(kept.latest().unwrap(), Some(kept_one));
    let mut leases = Leases::new(&named, NodeId(2));
    let seen = leases.others().unwrap();
    assert_eq!(seen.len(), 1);
    leases.mark_dead(seen[0]).unwrap();
    Leases::new(&named, NodeId(1)).others().unwrap();
    Hints::listen(&named, NodeId(2)).unwrap();

    for no in [
        "UPDATE log SET at = 0",
        "DELETE FROM log",
        "TRUNCATE log",
        "TRUNCATE word",
        "UPDATE word SET text = 'x'",
        "DELETE FROM head",
        "INSERT INTO head (id, seq, root, edge, fork) VALUES (2, 0, '', '', 1)",
        "UPDATE checkpoint SET size = 1",
        "DELETE FROM checkpoint",
        "DELETE FROM call",
        "DELETE FROM session_history",
        "DROP TABLE log",
        "ALTER TABLE log ADD COLUMN more int",
        "CREATE TABLE own (n int)",
        "INSERT INTO schema_version (version) VALUES (2)",
        "GRANT UPDATE ON log TO least",
        "SET ROLE postgres",
    ] {
        let done = server()
            .psql()
            .args(["--command", no, &server().url_as("least", name)])
            .output()
            .unwrap();
        // Giving away what one does not have is a warning there, and gives nothing.
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success() || said.contains("no privileges"), "{no}: {said}");
    }
    let may = "SELECT has_table_privilege('least', 'log', 'UPDATE, DELETE, TRUNCATE')";
    assert_eq!(server().sql(name, may), "f");
    let rows = reader.rows(None, 0, 1_000).unwrap();
    assert_eq!((rows.len() as u64, reader.head().unwrap()), (head.seq, head));
}

#[test]
fn t54_tls_proves_who_the_server_is_or_nothing_is_said_to_it() {
    let own = Server::start(Options { durable: false, tls: true });
    let url = own.fresh_database("tls");
    let name = name_of(&url);
    migrate(&Named::parse(&url).unwrap()).unwrap();
    let verified = |host: &str, ca: &std::path::Path| {
        format!(
            "postgres://{}@{host}:{}/{name}?sslmode=verify-full&sslrootcert={}",
            own.superuser,
            own.port,
            ca.display()
        )
    };
    let at = |url: &str| {
        let named = Named::parse(url)?;
        assert!(named.is_verified());
        Store::at(&Place::Postgres(named, NodeId(1)))
    };
    for host in ["localhost", "127.0.0.1"] {
        let mut store = at(&verified(host, &own.ca())).unwrap();
        store.append(&alone(&long_story().rows[..0]), &mut salts()).unwrap();
        let over = "SELECT count(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity \
                    USING (pid) WHERE application_name = 'comity'";
        assert_ne!(own.sql(name, over), "0", "it is spoken over TLS");
    }
    // Another name on the same machine: 127.0.0.2 is not in the certificate, where it answers.
    let other = verified("elsewhere.example", &own.ca()) + "&hostaddr=127.0.0.1";
    let wrong = at(&other).unwrap_err();
    assert!(matches!(wrong, StoreError::Postgres(_)), "{wrong}");
    assert!(wrong.to_string().contains("certificate"), "{wrong}");
    let stranger = Server::start(Options { durable: false, tls: true });
    let wrong = at(&verified("localhost", &stranger.ca())).unwrap_err();
    assert!(wrong.to_string().contains("certificate"), "{wrong}");
    // A server that speaks plain text is not spoken to.
    let plain = server();
    let url = format!(
        "postgres://{}@localhost:{}/postgres?sslmode=verify-full&sslrootcert={}",
        plain.superuser,
        plain.port,
        own.ca().display()
    );
    let wrong = at(&url).unwrap_err();
    assert!(wrong.to_string().contains("TLS"), "{wrong}");
}
