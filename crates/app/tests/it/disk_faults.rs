//! A disk that is full or fails to flush: what was answered stands, what was called undone does not
//! come back, no call goes uncounted, and all goes on without a restart once the disk is well (T39,
//! inv22, inv27).
//!
//! Each test talks to a process of its own over its standard input and output, whose disk it breaks.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command as Tool, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_app::app::App;
use comity_app::clock::Clock;
use comity_app::node::NotDone;
use comity_domain::command::Command;
use comity_domain::ids::SessionId;
use comity_domain::text::Lookup;

use crate::disk::{Disk, Fault};
use crate::engine::only_on_files;
use crate::record::{Run, rounds};
use crate::site::{Cast, Site, cast, evaluate, settings};

const FOLDER: &str = "COMITY_TEST_DISK_FOLDER";
const LOG: &str = "comity.db-wal";
const CALLS: &str = "calls.db-wal";

#[test]
#[ignore = "runs in a process of its own, which another test starts and kills"]
fn the_one_on_the_disk() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    // The same story in each process: everybody has the same identifiers.
    let (w, cast) = cast(1);
    let app = App::start(&settings(&folder), Arc::new(Clock::simulated(w.now))).unwrap();
    let token = std::fs::read_to_string(folder.join("token")).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "started").unwrap();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let said = match line.split_once(' ') {
            Some(("member", name)) => {
                let put = Command::PutMember(w.member_spec(cast.harbour, name, None));
                match app.node().run_blocking(w.provision(), put) {
                    Ok(_) => "done".into(),
                    Err(NotDone::Unavailable(_)) => "undone".into(),
                    Err(NotDone::Unknown) => "unknown".into(),
                    Err(other) => format!("{other:?}"),
                }
            }
            _ => evaluate(&app, w.boats, &token, "boats:read").reason.code().to_owned(),
        };
        writeln!(out, "{said}").unwrap();
        out.flush().unwrap();
    }
}

/// A process on a disk of its own.
struct Running {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn on(folder: &Path, disk: &Disk) -> Self {
        let mut tool = Tool::new(std::env::current_exe().unwrap());
        tool.args(["--exact", "disk_faults::the_one_on_the_disk", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        disk.put_under(&mut tool);
        let mut child = tool.spawn().unwrap();
        let to = child.stdin.take().unwrap();
        let mut from = BufReader::new(child.stdout.take().unwrap()).lines();
        let started = |line: std::io::Result<String>| line.unwrap().ends_with("started");
        assert!(from.any(started), "it did not start");
        Self { child, to, from }
    }

    fn say(&mut self, line: &str) -> String {
        writeln!(self.to, "{line}").unwrap();
        self.from.next().unwrap().unwrap()
    }

    fn member(&mut self, name: &str) -> String {
        self.say(&format!("member {name}"))
    }

    /// The reason of a decision.
    fn may(&mut self) -> String {
        self.say("may")
    }

    /// Tries until this is what it says.
    fn until(&mut self, wanted: &str, line: &str) {
        let began = Instant::now();
        loop {
            let said = self.say(line);
            if said == wanted {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{line}: {said}, never {wanted}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A site at rest, with a session in it.
struct Rest {
    site: Site,
    cast: Cast,
    session: SessionId,
    disk: Disk,
}

impl Rest {
    fn new() -> Self {
        let (w, cast) = cast(1);
        let mut site = Site::of(w);
        let grant = site.grant(&cast, &cast.brokers[0]);
        let (token, session) = site.enter(&cast.brokers[0], cast.harbour, grant);
        std::fs::write(site.folder.path().join("token"), token.reveal()).unwrap();
        let disk = Disk::new(site.folder.path());
        Self { site, cast, session, disk }
    }

    /// Lets a process run on it, kills it, and starts again on what it left.
    fn meanwhile(self, what: impl FnOnce(&mut Running, &Disk)) -> Self {
        let Self { site, cast, session, disk } = self;
        site.app.stop();
        let Site { app, folder, w, .. } = site;
        drop(app);
        let mut running = Running::on(folder.path(), &disk);
        what(&mut running, &disk);
        running.kill_9();
        disk.works();
        let site = Site::on(folder, w);
        site.check();
        Self { site, cast, session, disk }
    }

    fn has(&self, member: &str) -> bool {
        let state = self.site.app.state();
        state.words.find(Lookup::Member(self.cast.harbour), member).is_some()
    }
}

#[test]
fn t39_a_commit_whose_flush_failed_is_not_called_undone_while_it_can_come_back() {
    if only_on_files("the disk that breaks is that of the file") {
        return;
    }
    let run = Run::begin("SQLite: fsync fails with EIO (log), then kill -9");
    let mut rest = Rest::new();
    for round in 0..rounds(5) {
        let [kept, broken, later] = ["kept", "broken", "later"].map(|n| format!("{n}{round}"));
        let mut said = String::new();
        // Killed while the disk is broken.
        rest = rest.meanwhile(|running, disk| {
            assert_eq!(running.member(&kept), "done");
            let before = disk.hits();
            disk.fails(Fault::Sync, LOG);
            said = running.member(&broken);
            assert!(disk.hits() > before, "nothing was flushed");
            assert_ne!(said, "done", "a write is acknowledged that was never flushed");
            if said == "unknown" {
                assert_eq!(running.may(), "stale", "what is unknown may have ended something");
            }
        });
        run.acknowledged(1);
        run.lost(!rest.has(&kept));
        run.unknown(u64::from(said == "unknown"));
        run.came_back(said == "undone" && rest.has(&broken));
        // The disk gets well under it.
        rest = rest.meanwhile(|running, disk| {
            disk.fails(Fault::Sync, LOG);
            assert_ne!(running.member(&format!("other-{broken}")), "done");
            disk.works();
            running.until("done", &format!("member {later}"));
            running.until("allowed", "may");
        });
        run.acknowledged(1);
        run.lost(!rest.has(&later));
        run.round();
    }
    run.end();
}

#[test]
fn t39_a_full_disk_refuses_writes_keeps_deciding_and_goes_on_by_itself() {
    if only_on_files("the disk that breaks is that of the file") {
        return;
    }
    let run = Run::begin("SQLite: disk full (log)");
    let mut rest = Rest::new();
    for round in 0..rounds(5) {
        let [kept, broken, later] = ["kept", "broken", "later"].map(|n| format!("{n}{round}"));
        // Not a byte fits; or the first pages do, and what belongs to them does not.
        for (part, fits) in [("0", 0), ("1", 5_000)] {
            rest = rest.meanwhile(|running, disk| {
                assert_eq!(running.member(&format!("{kept}-{part}")), "done");
                let before = disk.hits();
                disk.fails(Fault::FullAfter(fits), LOG);
                assert_eq!(running.member(&format!("{broken}-{part}")), "undone");
                assert!(disk.hits() > before, "it was not full");
                assert_eq!(running.may(), "allowed", "nothing has ended");
                assert_eq!(running.member(&format!("{broken}-{part}")), "undone");
                disk.works();
                assert_eq!(running.member(&format!("{later}-{part}")), "done", "at once");
                assert_eq!(running.may(), "allowed");
                disk.fails(Fault::FullAfter(fits), LOG);
                assert_eq!(running.member(&format!("last-{broken}-{part}")), "undone");
            });
            run.acknowledged(2);
            run.lost(!rest.has(&format!("{kept}-{part}")));
            run.lost(!rest.has(&format!("{later}-{part}")));
            run.came_back(rest.has(&format!("{broken}-{part}")));
            run.came_back(rest.has(&format!("last-{broken}-{part}")));
        }
        run.round();
    }
    run.end();
}

#[test]
fn t24_inv22_a_disk_too_full_to_count_on_answers_busy() {
    if only_on_files("the disk that breaks is that of the file") {
        return;
    }
    let run = Run::begin("SQLite: disk full and fsync error (calls)");
    let mut rest = Rest::new();
    let mut answered = 0;
    for round in 0..rounds(5) {
        for (name, fault) in [("full", Fault::FullAfter(0)), ("sync", Fault::Sync)] {
            rest = rest.meanwhile(|running, disk| {
                running.until("allowed", "may");
                answered += 1;
                disk.fails(fault, CALLS);
                loop {
                    match running.may().as_str() {
                        "allowed" => answered += 1,
                        "busy" => break,
                        other => panic!("{other}"),
                    }
                }
                assert_eq!(running.member(&format!("m{round}{name}")), "done", "the log goes on");
                disk.works();
                running.until("allowed", "may");
                answered += 1;
            });
            run.acknowledged(1);
            let counts = rest.site.app.counts(rest.session);
            run.under_counted(counts.total() < answered);
        }
        run.round();
    }
    run.decided(answered);
    run.end();
}
