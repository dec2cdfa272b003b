//! The tools that break things for other tests do break them, and nothing else.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::disk::{Disk, Fault};
use crate::link::{AtCommit, Link};
use crate::postgres::{fresh_database, server};

#[test]
fn a_disk_fails_where_it_shall_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(folder.path());
    let dd = |name: &str, count: &str, flush: &str| {
        let mut dd = Command::new("dd");
        dd.args(["if=/dev/zero", "bs=1000", &format!("count={count}")])
            .arg(format!("of={}", folder.path().join(name).display()))
            .args((!flush.is_empty()).then_some(flush))
            .env("LC_ALL", "C");
        disk.put_under(&mut dd);
        let done = dd.output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        (done.status.success(), said)
    };
    assert!(dd("a-file", "3", "conv=fsync").0);
    disk.fails(Fault::Sync, "a-file");
    let (whole, said) = dd("a-file", "3", "conv=fsync");
    assert!(!whole && said.contains("Input/output error"), "{said}");
    assert!(!dd("a-file", "3", "conv=fdatasync").0);
    let hits = disk.hits();
    assert!(hits >= 2, "{hits}");
    assert!(dd("b-file", "3", "conv=fsync").0, "another file");
    assert!(dd("a-file", "3", "").0, "nothing is flushed here");
    disk.fails(Fault::FullAfter(2_500), "a-file");
    let (whole, said) = dd("a-file", "3", "");
    assert!(!whole && said.contains("No space left"), "{said}");
    assert_eq!(std::fs::metadata(folder.path().join("a-file")).unwrap().len(), 2_500);
    assert!(dd("a-file", "2", "").0, "that much fits");
    disk.works();
    assert!(dd("a-file", "3", "conv=fsync").0);
    assert_eq!(disk.hits(), hits + 1);
}

/// Runs statements by way of a link; each as a message of its own.
fn by(link: &Link, url: &str, statements: &[&str]) -> (bool, String) {
    let mut psql = server().psql();
    for statement in statements {
        psql.args(["--command", statement]);
    }
    let done = psql.arg(link.url(url)).output().unwrap();
    (done.status.success(), String::from_utf8(done.stdout).unwrap())
}

#[test]
fn a_link_cuts_at_a_commit_before_or_after_it_is_done() {
    let url = fresh_database("link");
    let name = url.rsplit('/').next().unwrap();
    let link = Link::to(server().port);
    server().sql(name, "CREATE TABLE kept (n int)");
    let insert =
        |n: i32| by(&link, &url, &["BEGIN", &format!("INSERT INTO kept VALUES ({n})"), "COMMIT"]).0;
    let kept = || server().sql(name, "SELECT n FROM kept ORDER BY n").replace('\n', " ");
    assert!(insert(1));
    link.at_commit(Some(AtCommit::CutBefore));
    assert!(!insert(2));
    assert_eq!(kept(), "1");
    link.at_commit(Some(AtCommit::CutAfter));
    assert!(!insert(3));
    assert_eq!(kept(), "1 3");
    assert!(insert(4), "only the next one is hit");
    assert_eq!((kept().as_str(), link.commits_hit()), ("1 3 4", 2));
    link.refuse(true);
    assert!(!insert(5));
    link.refuse(false);
    assert!(insert(5));
}

#[test]
fn a_link_stalls_goes_silent_and_loses_notifications() {
    let url = fresh_database("stall");
    let link = Link::to(server().port);
    let notify = ["LISTEN here", "NOTIFY here", "SELECT 1"];
    assert!(by(&link, &url, &notify).1.contains("notification"));
    link.drop_notifications(true);
    assert_eq!(by(&link, &url, &notify), (true, "1\n".into()));
    link.drop_notifications(false);

    let begin = |statement: &str| {
        let mut psql = server().psql();
        psql.args(["--command", statement, &link.url(&url)]);
        psql.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let wait = Duration::from_millis(300);
    link.stall(true);
    let mut asking = begin("SELECT 1");
    std::thread::sleep(wait);
    assert!(asking.try_wait().unwrap().is_none(), "nothing passes");
    link.stall(false);
    assert!(asking.wait().unwrap().success(), "and then it does");

    link.at_commit(Some(AtCommit::Silent));
    let mut asking = begin("CREATE TABLE silent (n int); COMMIT");
    std::thread::sleep(wait);
    assert!(asking.try_wait().unwrap().is_none(), "it waits for its answer");
    let there = "SELECT count(*) FROM pg_tables WHERE tablename = 'silent'";
    assert_eq!(server().sql(url.rsplit('/').next().unwrap(), there), "1");
    link.cut();
    assert!(!asking.wait().unwrap().success());
    let mut said = String::new();
    asking.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}
