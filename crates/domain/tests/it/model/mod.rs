//! The kernel against a plain model: random commands, biased so that deep states are reached.
//!
//! After each step the same verdict, the same state, the same decisions, and every invariant.
//! `COMITY_MODEL_SEED=7` replays one run; `COMITY_MODEL_RUNS=5000` lengthens the test.

mod access;
mod affairs;
mod agree;
mod change;
pub(crate) mod coverage;
mod erasure;
mod generate;
mod giving;
mod invariants;
mod judge;
mod many;
mod plain;
mod restore;
mod stays;
mod team;

use std::collections::BTreeMap;

use comity_domain::command::{Caller, Command, Door, Principal};
use comity_domain::event::{Event, Row};
use comity_domain::ids::{Digest32, Ids, PersonId};
use comity_domain::organisation::Standing;
use comity_domain::person::PortalRole;
use comity_domain::role::Mode;
use comity_domain::time::MINUTE;

use crate::world::{World, anonymous};
use coverage::Coverage;
use generate::{By, Looked, Moves, Rng, Step, is_anybodys};
use invariants::{History, Taken};
use plain::{Plain, Seen};

/// How many runs, and how many steps each.
pub(crate) const RUNS: u64 = 140;
const STEPS: usize = 320;

type Move = fn(&mut Moves<'_>) -> Option<Step>;

/// Each move with its weight.
const MOVES: [(&str, usize, Move); 63] = [
    ("ask", 42, |m| m.ask()),
    ("cancel", 3, |m| m.cancel()),
    ("deny", 14, |m| m.deny()),
    ("approve", 44, |m| m.approve()),
    ("approve_looked", 5, |m| m.approve_looked()),
    ("restore", 1, |m| m.restore()),
    ("offer", 14, |m| m.offer()),
    ("accept", 16, |m| m.accept()),
    ("decline", 3, |m| m.decline()),
    ("amend", 18, |m| m.amend()),
    ("confirm", 40, |m| m.confirm()),
    ("revoke", 4, |m| m.revoke()),
    ("give_up", 3, |m| m.give_up()),
    ("narrow", 16, |m| m.narrow()),
    ("assign", 64, |m| m.assign()),
    ("unassign", 18, |m| m.unassign()),
    ("set_assignments", 14, |m| m.set_assignments()),
    ("assign_many", 18, |m| m.assign_many()),
    ("unassign_many", 10, |m| m.unassign_many()),
    ("link_account", 3, |m| m.link_account()),
    ("leave", 8, |m| m.leave()),
    ("set_auto", 7, |m| m.set_auto()),
    ("end_access", 1, |m| m.end_access()),
    ("enter_direct", 70, |m| m.enter(Mode::Direct)),
    ("enter_view", 34, |m| m.enter(Mode::View)),
    ("enter_act_as", 44, |m| m.enter(Mode::ActAs)),
    ("close", 9, |m| m.close()),
    ("end", 6, |m| m.end()),
    ("lock_partner", 1, |m| m.lock(false)),
    ("lock_person", 3, |m| m.lock(true)),
    ("unlock", 8, |m| m.unlock()),
    ("halt", 2, |m| m.halt()),
    ("lift_halt", 13, |m| m.lift_halt()),
    ("suspend_organisation", 1, |m| m.standing_of_org(Standing::Suspended)),
    ("lift_organisation", 9, |m| m.standing_of_org(Standing::Active)),
    ("suspend_member", 2, |m| m.member_standing(false)),
    ("lift_member", 6, |m| m.member_standing(true)),
    ("move_member", 4, |m| m.move_member()),
    ("change_portal", 2, |m| m.change_portal()),
    ("home_roles", 2, |m| m.home_roles()),
    ("remove_member", 2, |m| m.remove_member()),
    ("restore_membership", 9, |m| m.restore_membership()),
    ("rejoin", 5, |m| m.rejoin()),
    ("recruit", 5, |m| m.recruit()),
    ("suspend_unit", 1, |m| m.unit_standing(false)),
    ("lift_unit", 8, |m| m.unit_standing(true)),
    ("remove_account", 2, |m| m.remove_account()),
    ("put_account", 5, |m| m.put_account()),
    ("put_role", 5, |m| m.put_role()),
    ("delete_role", 1, |m| m.delete_role()),
    ("rotate", 1, |m| m.rotate()),
    ("settings", 5, |m| m.settings()),
    ("policy", 2, |m| m.policy()),
    ("rename", 1, |m| m.rename()),
    ("sign_in", 2, |m| m.sign_in()),
    ("sign_out", 1, |m| m.sign_out(false)),
    ("sign_out_everywhere", 1, |m| m.sign_out(true)),
    ("erase_person", 8, |m| m.erase_person()),
    ("erase_account", 1, |m| m.erase_account()),
    ("erase_request", 3, |m| m.erase_request()),
    ("erase_session", 3, |m| m.erase_session()),
    ("note_due", 4, |m| m.note_due()),
    ("close_organisation", 2, |m| {
        if m.rng.percent(20) { m.standing_of_org(Standing::Closed) } else { None }
    }),
];

/// Four organisations with a unit, accounts, roles and people each; everybody can sign in.
pub(crate) fn set_up() -> World {
    let mut w = World::new();
    for n in 0..4 {
        let org = w.organisation(&format!("org{n}"), &format!("House {n}"));
        w.unit(org, "u");
        for (account, unit) in [("a0", None), ("a1", None), ("a2", Some("u"))] {
            w.account_in(org, account, unit);
        }
        for external in ["a0", "a1"].into_iter().filter(|_| n < 2).map(String::from) {
            let group = Some("pair".into());
            let link = Command::LinkAccount { organisation: org, external, group };
            w.must(&w.provision(), link);
        }
        w.role(org, "clerk", &["boats:*"]);
        w.role(org, "reader", &["*:read"]);
        w.role(org, "cashier", &["boats:read", "money:*"]);
        let people = [
            ("boss", Some(PortalRole::Admin), None),
            ("vice", (n < 2).then_some(PortalRole::Admin), None), // the others have one Admin only
            ("help", Some(PortalRole::CustomerSupport), None),
            ("rita", None, None),
            ("ugo", None, Some("u")),
        ];
        for (external, portal, unit) in people {
            let mut put = w.member_spec(org, external, portal);
            put.unit = unit.map(Into::into);
            w.must(&w.provision(), Command::PutMember(put));
            let person = w.person(org, external);
            w.sign_in(person);
        }
    }
    let all: Vec<_> = w.state.organisations.iter().map(|(id, _)| id).collect();
    for organisation in all {
        let boss = w.person(organisation, "boss");
        let (caller, code) = (w.sign_in(boss), w.fresh_code());
        w.must(&caller, Command::RotatePartnerId { organisation, unit: None, code });
    }
    w.later(9 * 60 * MINUTE); // those sign-ins are over
    w
}

pub(crate) struct Run {
    pub(crate) w: World,
    /// The rows as they were written, with the words that were erased later.
    pub(crate) written: Vec<Row>,
    m: Plain,
    rng: Rng,
    history: History,
    sign_ins: BTreeMap<PersonId, Caller>,
    looked: Vec<Looked>,
    old_codes: Vec<Digest32>,
    seed: u64,
    trail: Vec<String>,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.trail.len().saturating_sub(15);
            eprintln!(
                "\n{}\n\nreplay with COMITY_MODEL_SEED={}\n",
                self.trail[last..].join("\n"),
                self.seed
            );
        }
    }
}

impl Run {
    pub(crate) fn new(base: &World, seed: u64) -> Self {
        let mut w = base.clone();
        let mut bytes = [3u8; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        w.ids = Ids::new(bytes);
        let mut history = History::default();
        w.rows.iter().for_each(|row| history.read(&w.state, row));
        let m = Plain::of(&w);
        let old_codes = Vec::new();
        let (sign_ins, looked, trail) = (BTreeMap::new(), Vec::new(), Vec::new());
        let written = w.rows.clone();
        Self { w, written, m, rng: Rng(seed), history, sign_ins, looked, old_codes, seed, trail }
    }

    fn moves(&mut self) -> Moves<'_> {
        let Self { w, m, rng, looked, old_codes, .. } = self;
        Moves { w, m, rng, looked, old_codes }
    }

    pub(crate) fn go(&mut self, coverage: &mut Coverage) {
        let total: usize = MOVES.iter().map(|(_, weight, _)| weight).sum();
        for _ in 0..STEPS {
            if self.rng.percent(14) {
                self.clock(coverage);
            } else {
                let mut at = self.rng.below(total);
                let chosen = MOVES.iter().find(|(_, weight, _)| {
                    let here = at < *weight;
                    at = at.saturating_sub(*weight);
                    here
                });
                let (name, _, make) = chosen.unwrap();
                if let Some(step) = make(&mut self.moves()) {
                    self.attempt(name, step, coverage);
                    if *name == "restore" && self.m.keys.is_empty() {
                        self.recover(coverage);
                    }
                }
            }
            agree::decisions(&self.m, &self.w.state, &mut self.rng, &mut coverage.reasons);
            if self.w.state.seq.is_multiple_of(29) {
                assert!(self.w.loaded() == self.w.state, "a snapshot leads elsewhere");
            }
        }
        // inv24: the log alone leads to this very state.
        assert!(self.w.replayed() == self.w.state, "a replay leads elsewhere");
    }

    fn clock(&mut self, coverage: &mut Coverage) {
        let (name, to) = self.moves().clock();
        self.trail.push(format!("{name} to {}", to.0));
        self.w.now = to;
        self.m.now = to.max(self.m.last);
        coverage.done(name);
    }

    fn attempt(&mut self, name: &'static str, mut step: Step, coverage: &mut Coverage) {
        if is_anybodys(&step.command) && self.rng.percent(7) {
            step.by = self.moves().wrong_caller();
        }
        let caller = match step.by.clone() {
            By::This(caller) => caller,
            By::Person(person, fresh) => self.signed_in(person, fresh, coverage),
        };
        self.take(name, &caller, step.command, step.seen.as_ref(), coverage);
    }

    /// The person's last sign-in, or a new one if that is over; sometimes the old one all the same.
    fn signed_in(&mut self, person: PersonId, fresh: bool, coverage: &mut Coverage) -> Caller {
        if !self.m.people[&person].enrolled {
            return anonymous(); // nobody can sign in without a password
        }
        let good = self.sign_ins.get(&person).filter(|caller| {
            let Principal::Person { sign_in, .. } = caller.principal else {
                return false;
            };
            let s = &self.m.sign_ins[&sign_in];
            let valid = self.m.now < s.until && s.epoch == self.m.people[&person].epoch;
            valid && (!fresh || self.m.now.since(s.at) < 5 * MINUTE)
        });
        if let Some(caller) = good {
            return caller.clone();
        }
        if let Some(caller) = self.sign_ins.get(&person)
            && self.rng.percent(4)
        {
            return caller.clone();
        }
        let step = self.moves().sign_in_as(person);
        let By::This(caller) = step.by else { unreachable!() };
        self.take("sign_in", &caller, step.command, None, coverage);
        self.sign_ins[&person].clone()
    }

    /// One command: the same verdict, and after a yes the same state and all invariants.
    fn take(
        &mut self,
        name: &'static str,
        caller: &Caller,
        command: Command,
        seen: Option<&Seen>,
        coverage: &mut Coverage,
    ) {
        self.trail.push(format!("{name} by {:?}: {command:?}", caller.principal));
        let before = self.w.state.clone();
        let predicted = self.m.judge(caller, &command, seen);
        let row = match self.w.run(caller, command.clone()) {
            Err(refusal) => {
                assert_eq!(Err(refusal.code()), predicted, "{refusal:?}");
                coverage.refused(name, refusal.code());
                return;
            }
            Ok(row) => row,
        };
        assert_eq!(Ok(()), predicted, "accepted");
        coverage.done(name);
        if let Command::RotateCustomerId { organisation, .. } = &command {
            self.old_codes.push(before.organisations.get(*organisation).unwrap().customer_id);
        }
        let model_before = self.m.clone();
        self.m.change(caller, &command, row.as_ref());
        if !matches!(command, Command::NoteDue) {
            assert_eq!(
                row.is_some(),
                self.m != model_before,
                "a row is a change and a change is a row"
            );
        }
        let Some(row) = row else {
            assert!(self.w.state == before, "changed without a row");
            return;
        };
        self.m.last = row.at;
        self.written.push(row.clone());
        for recorded in &row.events {
            coverage.happened(&recorded.event);
            if let Event::SignedIn { person, sign_in, .. } = recorded.event {
                let principal = Principal::Person { person, sign_in };
                self.sign_ins.insert(person, Caller { principal, door: Door::Api });
            }
        }
        self.history.read(&self.w.state, &row);
        agree::objects(&self.m, &self.w.state);
        let (after, history) = (&self.w.state, &self.history);
        Taken { before: &before, after, command: &command, row: &row, history }.check();
    }
}
