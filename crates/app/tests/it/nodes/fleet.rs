//! Who starts the nodes, tells them what to do, and judges what they said.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command as Tool, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use comity_app::lease::Lease;
use comity_domain::kernel;
use comity_domain::snapshot;
use comity_domain::state::State;
use comity_store::postgres::{Server as Named, migrate};
use comity_store::{NodeId, Place, Reader, Store};
use tempfile::TempDir;

use super::{BROKERS, NODE};
use crate::link::Link;
use crate::postgres::{Options, Server};
use crate::record::Run;
use crate::site::{cast, lay_in, settings};

/// What a node was heard to say.
#[derive(Debug, Default)]
pub struct History {
    /// How often each session was answered yes or a counted no, by which node.
    pub counted: BTreeMap<(String, usize), u64>,
    /// A yes: to which session, by which node, begun when, and which position it reflects.
    pub yes: Vec<(String, usize, u64, u64)>,
    /// How many answers there were.
    pub answers: u64,
    /// What was acknowledged: when, which row, and the command in it.
    pub acknowledged: Vec<(u64, u64, String)>,
    /// How many writes were answered with an unknown outcome.
    pub unknown: u64,
}

/// What came of what a node was told.
#[derive(Debug, Clone)]
pub struct Said {
    pub begin: u64,
    pub end: u64,
    /// `ok` and more, or why not.
    pub words: Vec<String>,
}

impl Said {
    pub fn ok(&self) -> bool {
        self.words[0] == "ok"
    }

    pub fn took(&self) -> Duration {
        Duration::from_micros(self.end - self.begin)
    }
}

/// One node: a process, and a link between it and PostgreSQL.
pub struct Member {
    pub link: Link,
    number: usize,
    folder: TempDir,
    lease: Lease,
    url: String,
    history: Arc<Mutex<History>>,
    process: Option<(Child, ChildStdin)>,
    waiting: Arc<Mutex<BTreeMap<u64, Sender<Said>>>>,
    next: AtomicU64,
}

impl Member {
    pub fn start(&mut self) {
        let (length, beat) = (self.lease.length_ms, self.lease.beat.as_millis());
        let told = format!("{}\n{}\n{length}\n{beat}", self.folder.path().display(), self.url);
        let mut child = Tool::new(std::env::current_exe().unwrap())
            .args(["--exact", "nodes::the_one_who_answers", "--ignored", "--nocapture"])
            .env(NODE, told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take().unwrap();
        self.process = Some((child, input));
        let (history, waiting, number) = (self.history.clone(), self.waiting.clone(), self.number);
        waiting.lock().unwrap().clear();
        let (started, starts) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The first line comes behind the name of the test.
                let Some((_, said)) = line.split_once('!') else { continue };
                hear(number, said, &history, &waiting, &started);
            }
            waiting.lock().unwrap().clear();
        });
        starts.recv_timeout(Duration::from_secs(30)).expect("the node starts");
    }

    /// Tells it something; what came of it can be waited for. Nothing comes if it dies.
    pub fn tell(&self, what: &str) -> Receiver<Said> {
        let (sender, said) = channel();
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().unwrap().insert(n, sender);
        if let Some((_, input)) = &self.process {
            let mut input = input;
            let _ = writeln!(input, "{n} {what}");
        }
        said
    }

    pub fn ask(&self, what: &str) -> Said {
        let said = self.tell(what).recv_timeout(Duration::from_secs(30));
        said.unwrap_or_else(|e| panic!("node {}: {what}: {e}", self.number))
    }

    pub fn must(&self, what: &str) -> Said {
        let said = self.ask(what);
        assert!(said.ok(), "node {}: {what}: {said:?}", self.number);
        said
    }

    pub fn is_ready(&self) -> bool {
        let said = self.tell("state").recv_timeout(Duration::from_secs(2));
        said.is_ok_and(|s| s.words.get(3).is_some_and(|w| w == "true"))
    }

    fn signal(&self, which: &str) {
        if let Some((child, _)) = &self.process {
            let pid = child.id().to_string();
            Tool::new("kill").args([which, &pid]).status().unwrap();
        }
    }

    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    pub fn kill(&mut self) {
        if let Some((mut child, _)) = self.process.take() {
            child.kill().unwrap(); // SIGKILL: no farewell
            child.wait().unwrap();
        }
    }

    pub fn stop(&mut self) {
        self.must("stop");
        if let Some((mut child, input)) = self.process.take() {
            drop(input);
            assert!(child.wait().unwrap().success());
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn hear(
    node: usize,
    said: &str,
    history: &Mutex<History>,
    waiting: &Mutex<BTreeMap<u64, Sender<Said>>>,
    started: &Sender<()>,
) {
    let words: Vec<&str> = said.split(' ').collect();
    let number = |ix: usize| words[ix].parse::<u64>().unwrap();
    match words[0] {
        "started" => started.send(()).unwrap(),
        "e" => {
            let mut history = history.lock().unwrap();
            history.answers += 1;
            if words[2] == "allowed" {
                *history.counted.entry((words[1].into(), node)).or_default() += 1;
                history.yes.push((words[1].into(), node, number(3), number(4)));
            }
        }
        "d" => history.lock().unwrap().note(number(1), &words[2..]),
        "=" => {
            let told = words[4..].iter().map(|w| (*w).to_owned()).collect();
            history.lock().unwrap().note(number(3), &words[4..]);
            if let Some(to) = waiting.lock().unwrap().remove(&number(1)) {
                let _ = to.send(Said { begin: number(2), end: number(3), words: told });
            }
        }
        _ => println!("node {node}: {said}"),
    }
}

impl History {
    fn note(&mut self, at: u64, words: &[&str]) {
        match *words {
            ["ok", seq, row, ..] => {
                if let Some(command) = row.strip_prefix("row:") {
                    self.acknowledged.push((at, seq.parse().unwrap(), command.to_owned()));
                }
            }
            ["unknown", ..] => self.unknown += 1,
            _ => {}
        }
    }
}

/// Two nodes over one database.
pub struct Fleet {
    // Before the server that it talks to.
    pub nodes: Vec<Member>,
    pub server: Server,
    pub history: Arc<Mutex<History>>,
    pub lease: Lease,
    pub run: Run,
    /// What was ended: when that was answered.
    ended: BTreeMap<String, u64>,
    name: String,
    next: u64,
}

impl Fleet {
    pub fn start(name: &'static str, lease: Lease, how_many: usize) -> Self {
        let server = Server::start(Options::default());
        let url = server.fresh_database("nodes");
        let named = Named::parse(&url).unwrap();
        migrate(&named).unwrap();
        let first = tempfile::tempdir().unwrap();
        let (w, _) = cast(BROKERS);
        lay_in(&mut Store::at(&Place::Postgres(named, NodeId(1))).unwrap(), first.path(), &w.rows);
        let key = settings(first.path()).key_file;
        let history = Arc::<Mutex<History>>::default();
        let mut first: Option<std::path::PathBuf> = None;
        let nodes = (0..how_many)
            .map(|number| {
                let (folder, link) = (tempfile::tempdir().unwrap(), Link::to(server.port));
                let own = settings(folder.path());
                std::fs::copy(&key, own.key_file).unwrap();
                // Both keys are the installation's: the first node has made the one that signs.
                std::fs::create_dir(&own.data).unwrap();
                if let Some(made) = &first {
                    std::fs::copy(made, &own.checkpoints.key_file).unwrap();
                }
                first.get_or_insert(own.checkpoints.key_file);
                let url = link.url(&url);
                let mut member = Member {
                    link,
                    number,
                    folder,
                    lease,
                    url,
                    history: history.clone(),
                    process: None,
                    waiting: Arc::default(),
                    next: AtomicU64::new(1),
                };
                member.start();
                member
            })
            .collect();
        let name_of_database = url.rsplit('/').next().unwrap().to_owned();
        let fleet = Self {
            nodes,
            server,
            history,
            lease,
            run: Run::begin(name),
            ended: BTreeMap::new(),
            name: name_of_database,
            next: 0,
        };
        fleet.eventually_ready();
        fleet
    }

    pub fn eventually_ready(&self) {
        self.eventually("every node answers", || self.nodes.iter().all(Member::is_ready));
    }

    pub fn eventually(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A grant with one session on it, which every node is asked about from now on, until all of
    /// them have said yes. Returns grant, session, and the session's name in the history.
    pub fn session(&mut self, on: usize) -> (String, String, String) {
        self.next += 1;
        let (broker, name) = (self.next as usize % (BROKERS - 1), format!("s{}", self.next));
        let grant = self.nodes[on].must(&format!("grant {broker}")).words[1].clone();
        let entered = self.nodes[on].must(&format!("enter {broker} {grant}"));
        let (token, session) = (entered.words[3].clone(), entered.words[4].clone());
        self.read_own_write(&token, &entered.words[1]);
        for node in &self.nodes {
            node.must(&format!("watch {name} {token}"));
        }
        let all = self.nodes.len();
        self.eventually("every node says yes", || {
            let history = self.history.lock().unwrap();
            (0..all).all(|n| history.yes.iter().any(|y| y.0 == name && y.1 == n))
        });
        (grant, session, name)
    }

    /// G3: with the token of a write, every node either knows it or says that it does not yet.
    fn read_own_write(&self, token: &str, seq: &str) {
        for node in &self.nodes {
            let said = node.ask(&format!("at_least {token} {seq}"));
            let lacks = said.ok() && said.words[1] == "session_unknown";
            self.run.lost(lacks);
            assert!(!said.ok() || said.words[2].parse::<u64>().unwrap() >= seq.parse().unwrap());
        }
    }

    /// An ending of this session was answered.
    pub fn ended(&mut self, name: &str, said: &Said) {
        if said.ok() || said.words[0] == "refused" {
            self.ended.insert(name.to_owned(), said.end);
        }
    }

    /// Judges what was said since the last time, and says how many answers were wrong. `cut` is a
    /// node that could reach nobody from one moment to another (G4).
    pub fn judge(&mut self, cut: Option<(usize, u64, u64)>) -> usize {
        let mut history = self.history.lock().unwrap();
        let length = self.lease.length_ms.unsigned_abs() * 1_000;
        let mut acknowledged = history.acknowledged.clone();
        acknowledged.sort_unstable();
        // The highest position that was acknowledged up to each of these moments.
        let highest: Vec<(u64, u64)> = acknowledged
            .iter()
            .scan(0, |most, a| {
                *most = a.1.max(*most);
                Some((a.0, *most))
            })
            .collect();
        let mut wrong = 0;
        for (name, node, begin, seq) in std::mem::take(&mut history.yes) {
            let over = self.ended.get(&name).is_some_and(|end| begin > *end);
            let known = highest.partition_point(|h| h.0 < begin.saturating_sub(length));
            let old = known > 0 && seq < highest[known - 1].1;
            let alone =
                cut.is_some_and(|(n, from, to)| n == node && begin >= from + length && begin < to);
            for (is, what) in [(over, "G1"), (old, "G2"), (alone, "G4")] {
                if is && wrong < 5 {
                    println!("{what}: node {node} said yes to {name} at {begin} by row {seq}");
                }
                wrong += usize::from(is);
            }
        }
        self.run.decided(std::mem::take(&mut history.answers));
        self.run.unknown(std::mem::take(&mut history.unknown));
        wrong
    }

    pub fn forget(&self) {
        (0..self.nodes.len()).for_each(|node| self.forget_on(node));
    }

    /// Has a node asked no more, and waits until it has heard so.
    pub fn forget_on(&self, node: usize) {
        self.nodes[node].must("forget");
    }

    /// What must be true at the end: nothing that was acknowledged is lost or stands twice, every
    /// node has the same state, and the log leads to it.
    pub fn check(&mut self) {
        self.eventually_ready();
        self.nodes[0].must("role last last");
        let of = |node: &Member| node.must("state").words[1..3].to_vec();
        self.eventually("every node has the same state", || {
            let all: Vec<_> = self.nodes.iter().map(of).collect();
            all.windows(2).all(|two| two[0] == two[1])
        });
        let said = of(&self.nodes[0]);
        let reader = Reader::at(&Place::Postgres(
            Named::parse(&self.server.url(&self.name)).unwrap(),
            NodeId(1),
        ));
        assert_eq!(comity_store::verify(&reader, None).unwrap().first_bad, None);
        let rows = reader.rows(None, 0, usize::MAX).unwrap();
        let mut state = State::default();
        rows.iter().for_each(|row| drop(kernel::apply(&mut state, row)));
        assert_eq!(said, [state.seq.to_string(), snapshot::hash(&state).to_string()]);
        let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for row in &rows {
            times.entry(row.command.to_string()).or_default().push(row.seq);
        }
        let history = self.history.lock().unwrap();
        self.run.acknowledged(history.acknowledged.len() as u64);
        for (_, seq, command) in &history.acknowledged {
            let at = times.get(command);
            self.run.lost(at.is_none_or(|at| !at.contains(seq)));
            self.run.came_back(at.is_some_and(|at| at.len() > 1));
        }
    }
}
