//! The PostgreSQL that the tests stand on keeps its own promises.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::postgres::{Options, Server, fresh_database, server};

#[test]
fn a_fresh_database_is_empty_and_nobody_elses() {
    let (one, other) = (fresh_database("fresh"), fresh_database("fresh"));
    assert_ne!(one, other);
    let name = one.rsplit('/').next().unwrap();
    server().sql(name, "CREATE TABLE here (n int)");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server().sql(name, tables), "1");
    assert_eq!(server().sql(other.rsplit('/').next().unwrap(), tables), "0");
    let set = "SELECT current_setting('server_encoding'), current_setting('synchronous_commit')";
    assert_eq!(server().sql(name, set), "UTF8|on");
}

#[test]
fn a_role_with_a_password_has_to_show_it() {
    let url = fresh_database("roles");
    let name = url.rsplit('/').next().unwrap();
    server().role("plain", None);
    server().role("shown", Some("it's a secret"));
    let who = |url: &str| {
        let psql = server()
            .psql()
            .args(["--no-password", "--command", "SELECT current_user", url])
            .output();
        String::from_utf8(psql.unwrap().stdout).unwrap()
    };
    assert_eq!(who(&server().url_as("plain", name)), "plain\n");
    assert_eq!(who(&server().url_as("shown:it%27s%20a%20secret", name)), "shown\n");
    assert_eq!(who(&server().url_as("shown:wrong", name)), "");
    assert_eq!(who(&server().url_as("shown", name)), "");
}

#[test]
fn a_killed_server_comes_back_with_what_it_had_committed() {
    let mut own = Server::start(Options { durable: true, tls: true });
    let url = own.fresh_database("kept");
    let name = url.rsplit('/').next().unwrap();
    own.sql(name, "CREATE TABLE kept (n int)");
    assert_eq!(own.sql(name, "SHOW fsync"), "on");
    for n in 1..=3 {
        own.sql(name, &format!("INSERT INTO kept VALUES ({n})"));
        own.kill_9();
        assert!(own.try_sql(name, "SELECT 1").is_err(), "nobody is there");
        own.restart();
        assert_eq!(own.sql(name, "SELECT count(*) FROM kept"), n.to_string());
    }
    // And it speaks TLS to those who look whom they talk to.
    let over_tls = |host: &str| {
        let place = format!(
            "host={host} hostaddr=127.0.0.1 user={} dbname={name} sslmode=verify-full sslrootcert={}",
            own.superuser,
            own.ca().display()
        );
        let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let said = own.psql().args(["--command", asked, &place]).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    };
    assert_eq!(over_tls("localhost"), "t\n");
    assert_eq!(over_tls("elsewhere"), "", "the certificate is for somebody else");
}

const CHILD: &str = "COMITY_TEST_POSTGRES_CHILD";

#[test]
#[ignore = "runs in a process of its own, which another test starts and kills"]
fn the_one_who_starts_a_server_and_is_killed() {
    if std::env::var_os(CHILD).is_some() {
        println!("started {} {}", server().pid(), server().socket_dir.display());
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[test]
fn a_killed_test_process_leaves_no_server_and_no_folder() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "own_postgres::the_one_who_starts_a_server_and_is_killed"])
        .args(["--ignored", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The harness writes the test's name in front of it, without an end of the line.
    let told = lines.find_map(|line| Some(line.split_once("started ")?.1.to_owned())).unwrap();
    let (pid, folder) = told.split_once(' ').unwrap();
    let (process, folder) = (Path::new("/proc").join(pid), Path::new(folder));
    assert!(process.exists() && folder.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    while process.exists() || folder.exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "it was left behind: {told}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
