//! Bulk assignment and the search for whom to choose, in an organisation of 100,000 members, on a
//! grant over 10,000 accounts: what the writer is held for, and what a pair costs in memory.
//! `cargo bench -p comity-domain --bench bulk`.

// A benchmark that cannot be set up should say so loudly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

use comity_domain::bulk::{self, Deed, Many};
use comity_domain::command::{AssignmentSpec, Caller, Command};
use comity_domain::event::Row;
use comity_domain::grant::Narrowing;
use comity_domain::ids::{AccountId, GrantId, PersonId, RoleId};
use comity_domain::organisation::Accounts;
use comity_domain::view::{Purpose, Sought, candidates};
use world::World;

#[allow(dead_code, unreachable_pub)]
#[path = "../tests/it/world.rs"]
mod world;

const MEMBERS: usize = 100_000;
const ACCOUNTS: usize = 10_000;
const RUNS: usize = 20;

const FIRST: [&str; 20] = [
    "Ana", "Bengt", "Chloé", "Dorota", "Émile", "Frida", "Göran", "Hana", "Íris", "Jürgen",
    "Klára", "Łukasz", "Maja", "Nils", "Øyvind", "Pia", "Quentin", "Rita", "Søren", "Zoë",
];

struct Stage {
    w: World,
    chief: Caller,
    owner: Caller,
    grant: GrantId,
    role: RoleId,
    people: Vec<PersonId>,
    accounts: Vec<AccountId>,
}

fn stage() -> Stage {
    let mut w = World::new();
    let (marina, help) = (w.organisation("marina", "Marina"), w.organisation("help", "Help"));
    let accounts: Vec<AccountId> =
        (0..ACCOUNTS).map(|n| w.account(marina, &format!("boat-{n}"))).collect();
    let role = w.role(marina, "clerk", &["boats:*"]);
    let (owner, chief) = (w.admin(marina, "ana"), w.admin(help, "pia"));
    let provision = w.provision();
    let mut people = Vec::with_capacity(MEMBERS);
    for n in 0..MEMBERS {
        let external = format!("m{n}");
        let mut put = w.member_spec(help, &external, None);
        put.name = format!("{} Name{:04} Son{:03}", FIRST[n % 20], n % 5_000, n % 977);
        w.must(&provision, Command::PutMember(put));
        people.push(w.person(help, &external));
        w.rows.clear();
    }
    let (owner, chief) = (w.sign_in(owner), w.sign_in(chief));
    let request = w.ask(&chief, w.ask_spec(help, marina));
    let terms = w.terms(&[role]);
    let grant = w.approve(&owner, request, terms);
    let all = Accounts::List(accounts.iter().copied().collect());
    let narrowing = Narrowing { accounts: Some(all), ..Narrowing::default() };
    w.must(&owner, Command::Narrow { grant, narrowing, version: None });
    Stage { w, chief, owner, grant, role, people, accounts }
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}

fn timed(what: &str, mut run: impl FnMut()) {
    let times = (0..RUNS).map(|_| {
        let began = Clock::now();
        run();
        began.elapsed()
    });
    println!("{what:<64} {:>9.3} ms", median(times.collect()));
}

impl Stage {
    fn some(&self, people: std::ops::Range<usize>, accounts: std::ops::Range<usize>) -> Many {
        Many {
            people: self.people[people].iter().copied().collect(),
            accounts: Accounts::List(self.accounts[accounts].iter().copied().collect()),
            deed: Deed::Add { roles: [self.role].into(), everybody: false },
        }
    }

    fn command(&self, many: &Many) -> Command {
        let token = bulk::plan(&self.w.state, self.grant, many, self.w.now).unwrap().token;
        Command::AssignMany { grant: self.grant, many: Box::new(many.clone()), token, linked: None }
    }

    /// What the writer is held for, and what it writes.
    fn measured(&mut self, what: &str, by: &Caller, command: Command) -> Option<Row> {
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let mut w = self.w.clone();
            let command = command.clone();
            let began = Clock::now();
            black_box(w.run(by, command).unwrap());
            times.push(began.elapsed());
        }
        let row = self.w.must(by, command);
        let bytes: usize =
            row.iter().flat_map(|r| &r.events).map(|e| e.event.told().to_string().len()).sum();
        println!("{what:<64} {:>9.3} ms, a row of {bytes} bytes", median(times));
        row
    }
}

fn bulk_calls(s: &mut Stage) {
    let chief = s.chief.clone();
    for (people, accounts) in [(10, 500), (1_000, 1_000)] {
        let (from, at) = (people, accounts);
        let many = s.some(from..from + people, at..at + accounts);
        timed(&format!("the plan of {people} x {accounts}"), || {
            black_box(bulk::plan(&s.w.state, s.grant, &many, s.w.now).unwrap());
        });
        let (command, before) = (s.command(&many), resident());
        s.measured(&format!("the writer is held for {people} x {accounts}"), &chief, command);
        let grown = resident().saturating_sub(before);
        println!("  grown by {:.2} bytes a pair", grown as f64 / (people * accounts) as f64);
    }
    let more = s.some(1_000..2_000, 500..1_500);
    let command = s.command(&more);
    s.measured("the same people, half of it new", &chief, command);
    let without = s.accounts.iter().copied().filter(|a| *a != s.accounts[1_200]).collect();
    let narrowing = Narrowing { accounts: Some(Accounts::List(without)), ..Narrowing::default() };
    let owner = s.owner.clone();
    let narrow = Command::Narrow { grant: s.grant, narrowing, version: None };
    s.measured("an account leaves the Service, and 1,000 people", &owner, narrow);
    let mut less = s.some(1_000..1_900, 500..1_000);
    less.deed = Deed::Remove { successor: None };
    let command = s.command(&less);
    s.measured("900 x 500 are taken away", &chief, command);
}

/// The worst case: everybody has another list.
fn distinct(s: &mut Stage) {
    let chief = s.chief.clone();
    for n in 0..1_000 {
        let person = s.people[10_000 + n];
        let own: BTreeSet<AccountId> = s.accounts[5_000 + n..5_500 + n].iter().copied().collect();
        let spec = AssignmentSpec {
            person,
            roles: vec![s.role],
            accounts: Accounts::List(own),
            ends_at: None,
        };
        s.w.must(&chief, Command::Assign { grant: s.grant, spec });
        s.w.rows.clear();
    }
    let many = s.some(10_000..11_000, 3_000..4_000);
    timed("the plan of 1,000 x 1,000, everybody with another list", || {
        black_box(bulk::plan(&s.w.state, s.grant, &many, s.w.now).unwrap());
    });
    let (command, before) = (s.command(&many), resident());
    s.w.must(&chief, command.clone());
    let grown = resident().saturating_sub(before);
    println!("  grown by {:.2} bytes a pair", grown as f64 / 1_000_000.0);
}

fn search(s: &Stage) {
    let all = Accounts::All;
    let selected = Accounts::List(s.accounts[1_000..2_000].iter().copied().collect());
    let page =
        |what: &str, accounts: &Accounts, query: Option<&str>, after: Option<PersonId>, purpose| {
            let sought = Sought { purpose, accounts, query };
            let (found, more) = candidates(&s.w.state, s.grant, sought, after, 50, s.w.now);
            let what =
                format!("{what} ({} found{})", found.len(), if more { ", more" } else { "" });
            timed(&what, || {
                black_box(candidates(&s.w.state, s.grant, sought, after, 50, s.w.now));
            });
        };
    page("the first page of everybody", &selected, None, None, Purpose::Add);
    page("a page at the end", &selected, None, Some(s.people[MEMBERS - 60]), Purpose::Add);
    page("who has any", &selected, None, None, Purpose::Remove);
    page("n: every twentieth, in two alphabets", &selected, Some("n"), None, Purpose::Add);
    page("name: everybody", &selected, Some("name"), None, Purpose::Add);
    page("hana name000", &selected, Some("hana name000"), None, Purpose::Add);
    page("oyvind", &selected, Some("oyvind"), None, Purpose::Add);
    page("m4711@help", &selected, Some("m4711@help"), None, Purpose::Add);
    page("nobody", &selected, Some("xyz"), None, Purpose::Add);
    page("of all accounts: name", &all, Some("name"), None, Purpose::Remove);
}

fn main() {
    let began = Clock::now();
    let mut s = stage();
    println!("set up in {:.1} s, {} MB", began.elapsed().as_secs_f64(), resident() / 1_000_000);
    bulk_calls(&mut s);
    search(&s);
    distinct(&mut s);
}
