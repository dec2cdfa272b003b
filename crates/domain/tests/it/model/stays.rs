//! What is tried next, continued: sessions, locks, halts, the clock, and callers who have no business here.

use comity_domain::command::{Caller, Command};
use comity_domain::halt::HaltTarget;
use comity_domain::ids::PersonId;
use comity_domain::lock::LockTarget;
use comity_domain::role::Mode;
use comity_domain::time::{DAY, HOUR, Instant, MINUTE};

use super::generate::{By, Moves, Step, step};
use crate::world::{anonymous, inside};

impl Moves<'_> {
    // -- sessions -------------------------------------------------------------------------------------

    pub fn enter(&mut self, mode: Mode) -> Option<Step> {
        let (grant, person) = self.assigned()?;
        let g = self.m.grants[&grant].clone();
        if !g.modes.contains(mode) && self.rng.percent(75) {
            return None;
        }
        let others = self.m.assigned.keys().filter(|(x, p)| {
            *p == person
                && self.m.grants[x].customer == g.customer
                && self.m.running(&self.m.grants[x])
        });
        let several = others.count() > 1;
        let mut enter = self.w.enter_spec(g.customer, mode);
        enter.grant = self.rng.percent(if several { 50 } else { 80 }).then_some(grant);
        if self.rng.percent(6) {
            enter.reason = None;
        }
        if self.rng.percent(2) {
            enter.audience = "https://elsewhere.example".into();
        }
        step(By::Person(person, false), Command::Enter(enter))
    }

    pub fn close(&mut self) -> Option<Step> {
        let session = self.session()?;
        let person = self.m.sessions[&session].person;
        let by = match self.rng.below(10) {
            0..=4 => By::Person(person, false),
            5..=8 => By::This(inside(session)),
            _ => By::This(inside(self.session()?)),
        };
        step(by, Command::CloseSession { session })
    }

    pub fn end(&mut self) -> Option<Step> {
        let session = self.session()?;
        let customer = self.m.grants[&self.m.sessions[&session].grant].customer;
        step(self.admin(customer)?, Command::EndSession { session })
    }

    // -- locks ----------------------------------------------------------------------------------------

    pub fn lock(&mut self, person: bool) -> Option<Step> {
        let (customer, provider, who) = if self.rng.percent(25) {
            let r = &self.m.requests[&self.request()?];
            (r.customer, r.provider, r.by)
        } else {
            let (grant, who) = self.assigned()?;
            (self.m.grants[&grant].customer, self.m.grants[&grant].provider, who)
        };
        let target =
            if person { LockTarget::Person(who) } else { LockTarget::Organisation(provider) };
        let customer = if self.rng.percent(8) { self.org() } else { customer };
        step(
            self.admin(customer)?,
            Command::Lock { customer, target, reason: Some("Seen at night".into()) },
        )
    }

    pub fn unlock(&mut self) -> Option<Step> {
        let locks: Vec<_> =
            self.m.locks.iter().map(|(id, (customer, _))| (*id, *customer)).collect();
        let (lock, customer) = self.rng.pick(&locks)?;
        step(self.fresh_admin(customer)?, Command::Unlock { lock })
    }

    // -- halts ----------------------------------------------------------------------------------------

    pub fn halt(&mut self) -> Option<Step> {
        let (grant, person) = self.assigned()?;
        let target = match self.rng.below(8) {
            0..=3 => HaltTarget::Grant(grant),
            4 => HaltTarget::Person(person),
            5 => HaltTarget::Organisation(self.m.grants[&grant].provider),
            _ => HaltTarget::Session(self.session()?),
        };
        step(By::This(Caller::system()), Command::Halt { target, invariant: 6 })
    }

    pub fn lift_halt(&mut self) -> Option<Step> {
        let halts: Vec<_> = self.m.halts.keys().copied().collect();
        let halt = self.rng.pick(&halts)?;
        step(By::This(self.w.operate()), Command::LiftHalt { halt })
    }

    // -- the clock ------------------------------------------------------------------------------------

    /// Where the clock goes next: a little on, or exactly to where something begins or ends.
    pub fn clock(&mut self) -> (&'static str, Instant) {
        let now = self.m.now;
        let mut edges: Vec<Instant> = Vec::new();
        edges.extend(self.m.sessions.values().filter(|s| s.ended.is_none()).map(|s| s.deadline));
        edges.extend(
            self.m.grants.values().filter(|g| self.m.stands(g)).flat_map(|g| [g.start, g.end]),
        );
        edges.extend(self.m.assigned.values().map(|a| a.ends).filter(|e| *e != Instant::NEVER));
        edges.extend(
            self.m.requests.values().filter(|r| self.m.pending(r)).map(|r| r.at.plus(30 * DAY)),
        );
        edges.retain(|e| *e > now);
        edges.sort();
        if self.rng.percent(75) {
            edges.retain(|e| e.since(now) < 3 * HOUR);
        }
        edges.truncate(4);
        match self.rng.below(100) {
            0..=34 => match self.rng.pick(&edges) {
                Some(edge) => ("clock_edge", edge.plus(self.rng.pick(&[-1, 0, 0, 0, 1]).unwrap())),
                None => ("clock_minutes", now.plus(MINUTE)),
            },
            35..=92 => ("clock_minutes", now.plus((1 + self.rng.below(12) as i64) * MINUTE)),
            93..=95 => ("clock_days", now.plus((1 + self.rng.below(72) as i64) * HOUR)),
            96 => ("clock_weeks", now.plus((20 + self.rng.below(25) as i64) * DAY)),
            _ => ("clock_back", now.plus(-(self.rng.below(100) as i64) * MINUTE)),
        }
    }

    /// A caller who has no business here.
    pub fn wrong_caller(&mut self) -> By {
        let people: Vec<PersonId> = self.m.people.keys().copied().collect();
        match self.rng.below(10) {
            0 => By::This(self.w.decide()),
            1 => By::This(self.w.provision()),
            2..=4 => match self.session() {
                Some(session) => By::This(inside(session)),
                None => By::This(anonymous()),
            },
            _ => By::Person(self.rng.pick(&people).unwrap(), self.rng.percent(50)),
        }
    }
}
