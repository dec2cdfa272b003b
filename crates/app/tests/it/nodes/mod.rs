//! Several nodes over one PostgreSQL, each a process of its own that tests stop, kill and cut off;
//! and what holds whatever becomes of them (G1 to G4, T38, T39, T52).
//!
//! Here is the node: it reads what to do from its standard input, one line each, and says what came
//! of it with the times on the machine's boot clock, which all processes share. `fleet.rs` is who
//! tells it, and the judge.

mod fleet;
pub mod inside;
mod sabotage;
mod storm;
mod told;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use comity_app::app::App;
use comity_app::clock::Clock;
use comity_app::lease::Lease;
use comity_app::node::{Done, NotDone};
use comity_domain::command::{Caller, Command};
use comity_domain::event::Event;
use comity_domain::ids::{GrantId, OrganisationId, SessionId};
use comity_domain::role::Mode;
use comity_store::postgres::Server;

use crate::site::{Cast, Site, cast, evaluate, settings};
use crate::world::perms;

/// How many partners there are; the last one's roles are what is written when something has to be.
pub const BROKERS: usize = 3;
const NODE: &str = "COMITY_TEST_NODE";

/// Microseconds since the machine started.
pub fn micros() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    t.tv_sec.unsigned_abs() * 1_000_000 + t.tv_nsec.unsigned_abs() / 1_000
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever listened may be gone; the end of the input says so.
    let _ = writeln!(out, "!{line}").and_then(|()| out.flush());
}

#[test]
#[ignore = "runs in a process of its own, which other tests start"]
fn the_one_who_answers() {
    let Ok(told) = std::env::var(NODE) else {
        return;
    };
    let [folder, url, length, beat] = told.lines().collect::<Vec<_>>().try_into().unwrap();
    let (w, cast) = cast(BROKERS);
    let mut settings = settings(&PathBuf::from(folder)).on(Server::parse(url).unwrap());
    let beat = Duration::from_millis(beat.parse().unwrap());
    settings.lease = Lease { length_ms: length.parse().unwrap(), beat };
    let clock = Arc::new(Clock::simulated(w.now));
    let app = loop {
        match App::start(&settings, clock.clone()) {
            Ok(app) => break app,
            Err(error) => {
                say(&format!("# {error}"));
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    };
    let site = Site { app: app.clone(), clock, folder: tempfile::tempdir().unwrap(), w };
    let (site, cast) = (Arc::new(Mutex::new(site)), Arc::new(cast));
    let watched = Arc::new(Mutex::new(Vec::<(String, String)>::new()));
    let (looking, seen) = (app.clone(), watched.clone());
    let boats = site.lock().unwrap().w.boats;
    std::thread::spawn(move || {
        loop {
            let mut lines = String::new();
            for (name, token) in seen.lock().unwrap().iter() {
                let begin = micros();
                let answer = evaluate(&looking, boats, token, "boats:read");
                lines += &format!("!e {name} {} {begin} {}\n", answer.reason.code(), answer.seq);
            }
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
            drop(out);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    say("started");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if words[1] == "stop" {
            app.stop();
            say(&format!("= {} 0 {} ok", words[0], micros()));
            return;
        }
        let own = Told {
            app: app.clone(),
            site: site.clone(),
            cast: cast.clone(),
            watched: watched.clone(),
        };
        std::thread::spawn(move || {
            let begin = micros();
            let said = own.does(&words.iter().map(String::as_str).collect::<Vec<_>>()[1..]);
            say(&format!("= {} {begin} {} {said}", words[0], micros()));
        });
    }
}

struct Told {
    app: Arc<App>,
    site: Arc<Mutex<Site>>,
    cast: Arc<Cast>,
    watched: Arc<Mutex<Vec<(String, String)>>>,
}

impl Told {
    /// Does what it is told and says what came of it: `ok` and more, or what kept it from it.
    fn does(&self, words: &[&str]) -> String {
        let faults = self.app.node().faults();
        match *words {
            ["grant", broker] => match self.grant(broker.parse().unwrap()) {
                Ok(grant) => format!("ok {grant}"),
                Err(not) => shown(&Err(not)),
            },
            ["enter", broker, grant] => {
                let by = &self.cast.brokers[broker.parse::<usize>().unwrap()];
                let grant: GrantId = grant.parse().unwrap();
                let (token, enter) =
                    self.site.lock().unwrap().wish(self.cast.harbour, grant, Mode::Direct);
                let done = self.run(&by.by_rita, enter);
                let session =
                    done.as_ref().ok().and_then(|d| d.state.session_by_token(token.digest()));
                let session = session.map_or_else(String::new, |s| s.to_string());
                format!("{} {} {session}", shown(&done), token.reveal())
            }
            ["revoke", grant] => {
                let grant = grant.parse().unwrap();
                shown(&self.run(&self.cast.by_boss, Command::Revoke { grant }))
            }
            ["end", session] => {
                let session: SessionId = session.parse().unwrap();
                shown(&self.run(&self.cast.by_boss, Command::EndSession { session }))
            }
            ["role", code, name] => shown(&self.role(code, name)),
            ["load", code, until] => self.load(code, until.parse().unwrap()),
            ["at_least", token, seq] => self.at_least(token, seq.parse().unwrap()),
            ["watch", name, token] => {
                self.watched.lock().unwrap().push((name.into(), token.into()));
                "ok".into()
            }
            ["forget"] => {
                self.watched.lock().unwrap().clear();
                "ok".into()
            }
            ["state"] => {
                let state = self.app.state();
                let hash = comity_domain::snapshot::hash(&state);
                format!("ok {} {hash} {}", state.seq, self.app.is_ready())
            }
            ["counts", session] => {
                let counts = self.app.counts(session.parse().unwrap());
                format!("ok {} {}", counts.total(), counts.at_most())
            }
            ["deaf", on] => {
                faults.deaf.store(on == "1", Ordering::Release);
                "ok".into()
            }
            ["late", on] => {
                faults.late_report.store(on == "1", Ordering::Release);
                "ok".into()
            }
            ["sabotage", how] => {
                faults.sabotage.store(how.parse().unwrap(), Ordering::Release);
                "ok".into()
            }
            _ => panic!("{words:?}"),
        }
    }

    fn run(&self, caller: &Caller, command: Command) -> Result<Done, NotDone> {
        self.app.node().run_blocking(caller.clone(), command)
    }

    fn grant(&self, broker: usize) -> Result<GrantId, NotDone> {
        let (cast, by) = (&self.cast, &self.cast.brokers[broker]);
        let ask = self.site.lock().unwrap().look().ask_spec(by.organisation, cast.harbour);
        let done = self.run(&by.by_chief, Command::Ask(ask))?;
        let request = made(&done, |event| match event {
            Event::RequestAsked { request, .. } => Some(*request),
            _ => None,
        });
        let approval = self.site.lock().unwrap().approval(request, cast.keeper);
        let done = self.run(&cast.by_boss, approval)?;
        let grant = made(&done, |event| match event {
            Event::GrantMade { grant, .. } => Some(*grant),
            _ => None,
        });
        let spec = self.site.lock().unwrap().w.assignment_spec(by.rita, &[cast.keeper]);
        self.run(&by.by_chief, Command::Assign { grant, spec })?;
        Ok(grant)
    }

    fn role(&self, code: &str, name: &str) -> Result<Done, NotDone> {
        let organisation: OrganisationId = self.cast.brokers[BROKERS - 1].organisation;
        let (code, name) = (code.to_owned(), name.to_owned());
        let permissions = perms(&["boats:paint"]);
        let by = self.site.lock().unwrap().w.provision();
        self.run(&by, Command::PutRole { organisation, code, name, permissions })
    }

    /// Writes one row after the other until a moment, and tells each as it was answered.
    fn load(&self, code: &str, until: u64) -> String {
        for n in 0.. {
            if micros() >= until {
                break;
            }
            let done = self.role(code, &format!("n{n}-{}", micros()));
            say(&format!("d {} {}", micros(), shown(&done)));
            if done.is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        "ok".into()
    }

    /// G3: waits for a position as the door does, and then asks.
    fn at_least(&self, token: &str, seq: u64) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        if !runtime.block_on(self.app.reached(seq)) {
            return "stale".into();
        }
        let boats = self.site.lock().unwrap().w.boats;
        let answer = evaluate(&self.app, boats, token, "boats:read");
        format!("ok {} {}", answer.reason.code(), answer.seq)
    }
}

/// What a row made: nodes give identifiers that are not in one order.
fn made<T>(done: &Done, what: impl Fn(&Event) -> Option<T>) -> T {
    let events = &done.row.as_ref().unwrap().events;
    events.iter().find_map(|recorded| what(&recorded.event)).unwrap()
}

fn shown(answer: &Result<Done, NotDone>) -> String {
    match answer {
        Ok(done) => {
            let command =
                done.row.as_ref().map_or_else(|| "-".into(), |r| format!("row:{}", r.command));
            format!("ok {} {command}", done.seq)
        }
        Err(NotDone::Refused(refusal)) => format!("refused {}", refusal.code()),
        Err(NotDone::Unavailable(why)) => format!("unavailable {why}"),
        Err(NotDone::Unknown) => "unknown".into(),
        Err(NotDone::Guarded) => "guarded".into(),
    }
}
