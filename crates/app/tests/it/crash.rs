//! A process that is killed while it answers: what it answered is counted, at most a reservation
//! too much, and the history says so (T24, inv22, inv27).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command as Tool, Stdio};
use std::sync::Arc;
use std::time::Duration;

use comity_app::app::App;
use comity_app::calls::BLOCK;
use comity_app::clock::Clock;
use comity_domain::refusal::Reason;
use comity_domain::session::CALLS_RESERVED;
use comity_domain::time::Instant;

use crate::site::{Site, cast, settings};

const FOLDER: &str = "COMITY_TEST_CRASH_FOLDER";

#[test]
#[ignore = "runs in a process of its own, which another test starts and kills"]
fn the_one_who_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let text = std::fs::read_to_string(folder.join("told")).unwrap();
    let [now, boats, token] = text.lines().collect::<Vec<_>>().try_into().unwrap();
    let clock = Arc::new(Clock::simulated(Instant(now.parse().unwrap())));
    let app = App::start(&settings(&folder), clock).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "started").unwrap();
    loop {
        match crate::site::evaluate(&app, boats.parse().unwrap(), token, "boats:read").reason {
            Reason::Allowed => writeln!(out, "yes").unwrap(),
            Reason::Busy => std::thread::sleep(Duration::from_micros(100)),
            other => writeln!(out, "{other:?}").unwrap(),
        }
        out.flush().unwrap();
    }
}

fn started(folder: &std::path::Path) -> Child {
    let tool = std::env::current_exe().unwrap();
    Tool::new(tool)
        .args(["--exact", "crash::the_one_who_is_killed", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Lets a process answer until it has said yes so often, kills it, and says how often it did.
fn killed_after(folder: &std::path::Path, enough: u64) -> u64 {
    let mut child = started(folder);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut yes, mut dead) = (0, false);
    for line in lines.map_while(Result::ok) {
        yes += u64::from(line == "yes");
        assert!(!line.contains("Stale"), "{line}");
        if yes >= enough && !dead {
            child.kill().unwrap(); // SIGKILL: no farewell
            dead = true; // and what it had said by then is read to the end
        }
    }
    assert!(!child.wait().unwrap().success());
    yes
}

#[test]
fn t24_inv22_a_killed_process_over_counts_and_never_under_counts() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (token, session) = site.enter(broker, cast.harbour, grant);
    let told = format!("{}\n{}\n{}\n", site.w.now.0, site.w.boats, token.reveal());
    std::fs::write(site.folder.path().join("told"), told).unwrap();
    let mut answered = 0;
    for (crash, enough) in (1..).zip([1, 40, 255, 300, 3_000, 977]) {
        site.app.stop();
        let Site { app, folder, w, .. } = site;
        drop(app);
        answered += killed_after(folder.path(), enough);
        site = Site::on(folder, w);
        let counts = site.app.counts(session);
        assert!(counts.total() >= answered, "{counts:?} after {answered} answers");
        let most = answered + crash * (BLOCK + CALLS_RESERVED + 1);
        assert!(counts.total() <= most, "{counts:?} after {answered} answers and {crash} crashes");
        assert!(counts.at_most(), "the history has to say that it is a bound");
        assert!(site.evaluate(&token, "boats:read").is_yes(), "and it goes on");
        answered += 1;
    }
    let before = site.app.counts(session);
    let site = site.again();
    assert_eq!(site.app.counts(session).total(), before.total(), "a clean stop adds nothing");
    site.check();
}
