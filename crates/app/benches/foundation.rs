//! The figures that the architecture stands on, as one table: `cargo bench -p comity-app --bench
//! foundation`. Times that end on the disk are also given as a ratio to a bare `fdatasync` of the
//! same run, because that is what differs between machines.
//!
//! `COMITY_ROWS` (1,000,000) rows are replayed; `COMITY_ASSIGNMENTS` (200,000) and
//! `COMITY_SESSIONS` (100,000) are held in memory. Bytes are resident memory as the kernel tells
//! it, so they hold the allocator's slack too. `COMITY_ONLY_STARTS` leaves out all but the log.

// A benchmark that cannot be set up should say so loudly, and it reads the clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use comity_app::app::database;
use comity_app::clock::Clock;
use comity_app::erasures::Erasures;
use comity_app::keys::Keys;
use comity_app::lease::Lease;
use comity_app::node::{Done, Node, Start};
use comity_app::people::passwords::Cost;
use comity_app::snapshots::{Standing, file};
use comity_app::{App, Settings, start};
use comity_decision::counter::Counter;
use comity_decision::decide::decide;
use comity_decision::index::Index;
use comity_domain::command::{AssignmentSpec, Caller, Command};
use comity_domain::draft::SideWrite;
use comity_domain::event::{Event, Row};
use comity_domain::ids::{Digest32, Ids};
use comity_domain::kernel;
use comity_domain::organisation::Accounts;
use comity_domain::permission::Permission;
use comity_domain::rights::{self, Resource};
use comity_domain::role::Mode;
use comity_domain::snapshot::{self, Facts};
use comity_domain::state::State;
use comity_domain::time::SECOND;
use comity_store::{Place, Reader, Store};

#[allow(dead_code)] // shared with `kernel`
mod grown;
#[allow(dead_code, unreachable_pub)]
#[path = "../../domain/tests/it/world.rs"]
mod world;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn wanted(name: &str, by_itself: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(by_itself)
}

fn line(what: &str, figure: &str) {
    println!("{what:<58} {figure}");
}

/// p50 and p99.
fn percentiles(times: &mut [Duration]) -> [f64; 2] {
    times.sort_unstable();
    [50, 99].map(|p| times[(times.len() * p / 100).min(times.len() - 1)].as_secs_f64() * 1e6)
}

fn shown(times: &mut [Duration], sync: Option<[f64; 2]>) -> String {
    let [p50, p99] = percentiles(times);
    let ratio = sync.map_or(String::new(), |s| {
        format!("   {:>5.1} × / {:>5.1} × fdatasync", p50 / s[0], p99 / s[1])
    });
    format!("{p50:>9.0} µs / {p99:>9.0} µs{ratio}")
}

fn timed(mut times: usize, mut work: impl FnMut()) -> Vec<Duration> {
    let mut out = Vec::new();
    while times > 0 {
        let began = Instant::now();
        work();
        out.push(began.elapsed());
        times -= 1;
    }
    out
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

fn main() {
    if std::env::var_os("COMITY_ONLY_STARTS").is_some() {
        return replay(tempfile::tempdir().unwrap().path());
    }
    let folder = tempfile::tempdir().unwrap();
    println!("\nall times: p50 / p99; files in {}\n", folder.path().display());
    let grown = memory();
    copies(&grown);
    decisions(&grown);
    drop(grown);
    let sync = disk(folder.path());
    for callers in [1, 16] {
        commands(folder.path(), callers, sync);
    }
    replay(folder.path());
}

struct Grown {
    state: State,
    stage: grown::Stage,
    sessions: Vec<comity_domain::ids::SessionId>,
}

fn memory() -> Grown {
    let (assignments, count) =
        (wanted("COMITY_ASSIGNMENTS", 200_000), wanted("COMITY_SESSIONS", 100_000));
    let (w, mut stage) = grown::stage(20);
    let mut state = w.state.clone();
    let people = assignments / 20;
    let before = resident();
    for _ in 0..people {
        kernel::apply(&mut state, &stage.member());
    }
    let with_people = resident();
    for n in 0..assignments {
        kernel::apply(&mut state, &stage.assigned(n));
    }
    let with_assignments = resident();
    let sessions: Vec<_> = (0..count)
        .map(|n| {
            let (session, row) = stage.started(n);
            kernel::apply(&mut state, &row);
            session
        })
        .collect();
    let with_sessions = resident();
    let each =
        |from: u64, to: u64, n: usize| format!("{:>9} bytes", to.saturating_sub(from) / n as u64);
    line(&format!("memory of a member ({people})"), &each(before, with_people, people));
    line(
        &format!("memory of an assignment ({assignments})"),
        &each(with_people, with_assignments, assignments),
    );
    line(
        &format!("memory of a live session in the state ({count})"),
        &each(with_assignments, with_sessions, count),
    );
    Grown { state, stage, sessions }
}

fn copies(grown: &Grown) {
    let mut seq = grown.stage.seq;
    let mut stage = grown::stage(1).1;
    let rows: Vec<Row> = (0..30)
        .map(|n| {
            let mut row = stage.ended(grown.sessions[n * grown.sessions.len() / 30]);
            seq += 1;
            (row.seq, row.at) = (seq, grown.state.at);
            row
        })
        .collect();
    let mut times = timed(2_000, || {
        let mut copy = grown.state.clone();
        for row in &rows {
            black_box(kernel::apply(&mut copy, row));
        }
        black_box(copy);
    });
    line("copy the state, apply a batch of 30 events, drop the copy", &shown(&mut times, None));
}

fn decisions(grown: &Grown) {
    let index = Index::default();
    let all: Vec<_> =
        grown.sessions.iter().filter_map(|id| rights::compile(&grown.state, *id)).collect();
    let before = resident();
    let tokens: Vec<Digest32> = all.iter().map(|c| c.token).collect();
    let customers: Vec<_> = all.iter().map(|c| c.customer).collect();
    index.renew(i64::MAX, 0);
    let began = Instant::now();
    index.follow(all, 1, |_| Counter::new(u64::MAX / 2));
    let followed = began.elapsed().as_secs_f64() * 1e9 / tokens.len() as f64;
    line(
        "the index takes in a session",
        &format!(
            "{followed:>9.0} ns; {} bytes more than compiled",
            resident().saturating_sub(before) / tokens.len() as u64
        ),
    );
    let clock = Clock::simulated(grown.state.at);
    let mut reads = timed(10_000, || {
        black_box((0..100).map(|_| clock.read().boot).max());
    });
    line("read the clocks, a hundred times", &shown(&mut reads, None));
    for permission in ["boats:read", "money:send"] {
        let asked = Permission::parse(permission).unwrap();
        let (mut next, mut yes, calls) = (0usize, 0u64, 2_000_000u64);
        let began = Instant::now();
        for _ in 0..calls {
            next = (next + 48_271) % tokens.len();
            let resource = Resource::Organisation(customers[next]);
            let answer =
                decide(&index, grown.stage.application, &tokens[next], asked, resource, || {
                    clock.read()
                });
            yes += u64::from(answer.is_yes());
        }
        let each = began.elapsed().as_secs_f64() * 1e9 / calls as f64;
        line(
            &format!("decide {permission}, random tokens, clocks read"),
            &format!("{each:>9.0} ns; {} % yes", yes * 100 / calls),
        );
    }
}

fn disk(folder: &Path) -> [f64; 2] {
    let mut file = std::fs::File::create(folder.join("raw")).unwrap();
    let mut sync = timed(400, || {
        file.rewind().unwrap();
        file.write_all(&[7; 4_096]).unwrap();
        file.sync_data().unwrap();
    });
    line("write 4 KiB and fdatasync", &shown(&mut sync, None));
    let sync = percentiles(&mut sync);
    let (w, mut stage) = grown::stage(1);
    let mut store = Store::open(&folder.join("commits.db")).unwrap();
    let mut salts = Ids::new([1; 32]);
    append(&mut store, &w.rows, &mut salts);
    let mut times = timed(400, || {
        let row = stage.member();
        append(&mut store, std::slice::from_ref(&row), &mut salts);
    });
    line("append one row (one SQLite commit)", &shown(&mut times, Some(sync)));
    sync
}

/// A world's rows with the customer IDs that a start looks for.
fn sealed(rows: &[Row], keys: &Keys) -> Vec<(Row, Vec<SideWrite>)> {
    let beside = |row: &Row| {
        let sealed = |e: &Event| match e {
            Event::CustomerIdSet { organisation, digest } => {
                let sealed = keys.seal(&format!("customer_id/{digest}"), b"a code");
                Some(SideWrite::CustomerId(*organisation, sealed))
            }
            _ => None,
        };
        row.events.iter().filter_map(|r| sealed(&r.event)).collect()
    };
    rows.iter().map(|row| (row.clone(), beside(row))).collect()
}

/// Time by the clock and on the processors: on a machine that others use only the second compares.
struct Meter(Instant, f64);

impl Meter {
    fn now() -> Self {
        Self(Instant::now(), processors())
    }

    fn told(&self) -> String {
        let (clock, worked) = (self.0.elapsed().as_secs_f64(), processors() - self.1);
        format!("{clock:>9.2} s; {worked:.2} s on the processors")
    }
}

/// Seconds that this process has used so far, all threads together.
fn processors() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|n| n.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}

/// Taking a snapshot, and coming up with and without one.
fn starts(folder: &Path, keys: &Keys, replayed: &State) {
    let data = folder.join("data");
    let reader = Reader::new(&database(&data));
    let began = Meter::now();
    let loaded = start::load(&reader, &data, keys.snapshot()).unwrap();
    line("replay with every leaf and the root recomputed", &began.told());
    assert!(loaded.from.is_none() && loaded.state == *replayed);
    drop(loaded);
    let began = Meter::now();
    let bytes = snapshot::write(replayed);
    line("the state as bytes", &format!("{}; {} bytes", began.told(), bytes.len()));
    let began = Meter::now();
    black_box(snapshot::hash_of(&bytes));
    line("its hash", &began.told());
    let began = Meter::now();
    let facts = Facts::read(&bytes).unwrap();
    line("the facts read back", &began.told());
    let began = Meter::now();
    let wanted = facts.references();
    let words = reader.words(&wanted).unwrap();
    line(&format!("{} words read", words.len()), &began.told());
    let began = Meter::now();
    let words = snapshot::words(words);
    line("the words put together", &began.told());
    let began = Meter::now();
    let mut state = facts.follow();
    line("what follows from the facts", &began.told());
    state.speak(words);
    assert!(state == *replayed);
    drop((state, bytes));
    let head = reader.head().unwrap();
    let began = Meter::now();
    file::write(&data, keys.snapshot(), replayed, &head).unwrap();
    line("take a snapshot, durable", &began.told());
    for _ in 0..3 {
        let began = Meter::now();
        let loaded = start::load(&reader, &data, keys.snapshot()).unwrap();
        line("a state from the snapshot", &began.told());
        assert!(loaded.from.is_some() && loaded.state == *replayed);
    }
    let settings = Settings::new(data, folder.join("key"), Cost::TESTS);
    let began = Meter::now();
    let app = App::start(&settings, Arc::new(Clock::simulated(replayed.at))).unwrap();
    line("start from a snapshot, ready to answer", &began.told());
    while app.snapshots().standing() == Standing::Unconfirmed {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(app.snapshots().standing(), Standing::Confirmed);
    line("until the log has confirmed it", &began.told());
    app.stop();
}

fn append(store: &mut Store, rows: &[Row], salts: &mut Ids) {
    let batch: Vec<_> = rows.iter().map(|row| (row.clone(), Vec::new())).collect();
    store.append(&batch, salts).unwrap();
}

fn commands(folder: &Path, callers: usize, sync: [f64; 2]) {
    let mut w = world::World::seeded(21);
    let pairs: Vec<_> = (0..callers)
        .map(|n| {
            let (customer, provider) = (
                w.organisation(&format!("c{n}"), "Customer"),
                w.organisation(&format!("p{n}"), "Provider"),
            );
            let role = w.role(customer, "keeper", &["boats:*"]);
            let (boss, chief) = (w.admin(customer, "boss"), w.admin(provider, "chief"));
            let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
            (customer, provider, role, chief, by_boss, by_chief)
        })
        .collect();
    let mut store = Store::open(&folder.join(format!("commands{callers}.db"))).unwrap();
    append(&mut store, &w.rows, &mut Ids::new([2; 32]));
    let clock = Arc::new(Clock::simulated(w.now));
    let erasures = Erasures::open(folder, &w.state).unwrap();
    let head = store.head().unwrap();
    let start = Start {
        store,
        place: Place::Folder(folder.to_path_buf()),
        state: w.state.clone(),
        head,
        counters: BTreeMap::new(),
        lease: Lease::default(),
        erasures,
    };
    let node = Node::start(start, clock).unwrap();
    let times: Mutex<BTreeMap<&str, Vec<Duration>>> = Mutex::default();
    let cycles = if callers == 1 { 200 } else { 60 };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (customer, provider, role, chief, by_boss, by_chief) in &pairs {
            let (node, w, times) = (&node, &w, &times);
            scope.spawn(move || {
                let mut own: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
                let mut run = |name, caller: &Caller, command| -> Done {
                    let began = Instant::now();
                    let done = node.run_blocking(caller.clone(), command).unwrap();
                    own.entry(name).or_default().push(began.elapsed());
                    done
                };
                let mut seen = w.clone();
                for n in 0..cycles {
                    let done = run("ask", by_chief, Command::Ask(w.ask_spec(*provider, *customer)));
                    let request = done.state.requests_from(*provider).next_back().unwrap();
                    let terms = w.terms(&[*role]);
                    seen.state = (*done.state).clone();
                    let summary = seen.summary(request, &terms).unwrap();
                    let done =
                        run("approve", by_boss, Command::Approve { request, terms, summary });
                    let grant = done.state.grants_to(*provider).next_back().unwrap();
                    let spec = AssignmentSpec {
                        person: *chief,
                        roles: vec![*role],
                        accounts: Accounts::All,
                        ends_at: None,
                    };
                    run("assign", by_chief, Command::Assign { grant, spec });
                    let mut enter = w.clone().enter_spec(*customer, Mode::Direct);
                    enter.token = Digest32::of(format!("{provider} {n}").as_bytes());
                    let token = enter.token;
                    run("enter", by_chief, Command::Enter(enter));
                    assert!(node.index().by_token(&token).unwrap().rights.load().rights.is_ok());
                    run("revoke", by_boss, Command::Revoke { grant });
                    assert!(node.index().by_token(&token).unwrap().rights.load().rights.is_err());
                }
                let mut times = times.lock().unwrap();
                own.into_iter()
                    .for_each(|(name, more)| times.entry(name).or_default().extend(more));
            });
        }
    });
    let took = began.elapsed().as_secs_f64();
    let mut times = times.into_inner().unwrap();
    for name in ["ask", "approve", "assign", "enter", "revoke"] {
        let shown = shown(times.get_mut(name).unwrap(), Some(sync));
        line(&format!("{name} through the node, {callers} at once"), &shown);
    }
    let all: usize = times.values().map(Vec::len).sum();
    line(&format!("commands a second, {callers} at once"), &format!("{:>9.0}", all as f64 / took));
    node.stop();
}

fn replay(folder: &Path) {
    const BATCH: usize = 20_000;
    let rows = wanted("COMITY_ROWS", 1_000_000);
    let (w, mut stage) = grown::stage(20);
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    let path = database(&data);
    let mut store = Store::open(&path).unwrap();
    let mut salts = Ids::new([3; 32]);
    let (keys, _) = Keys::open(&folder.join("key")).unwrap();
    store.append(&sealed(&w.rows, &keys), &mut salts).unwrap();
    let began = Instant::now();
    let (mut batch, mut open) = (Vec::with_capacity(BATCH), std::collections::VecDeque::new());
    let (mut stays, mut assigned) = (0, 0);
    for n in 0..rows {
        stage.at = stage.at.plus(SECOND);
        let row = match n % 10 {
            0 => stage.member(),
            1 | 2 => {
                assigned += 1;
                stage.assigned(assigned)
            }
            3..=5 => {
                stays += 1;
                let (session, row) = stage.started(stays);
                open.push_back(session);
                row
            }
            6..=8 if open.len() > 2_000 => stage.ended(open.pop_front().unwrap()),
            _ => {
                assigned += 1;
                stage.assigned(assigned)
            }
        };
        batch.push((row, Vec::new()));
        if batch.len() == BATCH || n + 1 == rows {
            store.append(&batch, &mut salts).unwrap();
            batch.clear();
        }
    }
    let each = began.elapsed().as_secs_f64();
    line(
        &format!("append {rows} rows in batches of {BATCH}"),
        &format!("{each:>9.1} s; {:.0} rows/s", rows as f64 / each),
    );
    drop(store);
    let size = std::fs::metadata(&path).unwrap().len();
    let store = Store::open(&path).unwrap();
    let (mut state, mut decoded) = (State::default(), Duration::ZERO);
    let meter = Meter::now();
    let began = Instant::now();
    let mut last = began;
    store
        .replay(0, |row| {
            decoded += last.elapsed();
            kernel::apply(&mut state, &row);
            last = Instant::now();
            Ok(())
        })
        .unwrap();
    let took = began.elapsed().as_secs_f64();
    let count = state.seq as f64;
    let per_row = size as f64 / count;
    line(
        &format!("replay {} rows", state.seq),
        &format!(
            "{}; {:.0} rows/s; {:.0} % reading; {per_row:.0} bytes a row on disk",
            meter.told(),
            count / took,
            decoded.as_secs_f64() * 100.0 / took
        ),
    );
    drop(store);
    starts(folder, &keys, &state);
    drop(state);
    let began = Instant::now();
    let verdict = comity_store::verify(&Reader::new(&path), None).unwrap();
    assert_eq!(verdict.first_bad, None);
    line(
        &format!("verify {} rows", verdict.rows),
        &format!("{:>9.1} s", began.elapsed().as_secs_f64()),
    );
}
