//! Restores: what they put in doubt, and how an installation comes back from one.

use std::collections::BTreeSet;

use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command, Principal};
use comity_domain::event::{Event, Row};
use comity_domain::grant::MOST_CONFIRMED;
use comity_domain::ids::{GrantId, OrganisationId, PersonId, SessionId};
use comity_domain::organisation::Standing;
use comity_domain::person::ENROLMENT_LASTS;
use comity_domain::refusal::Reason;
use comity_domain::time::DAY;

use super::Run;
use super::change::made;
use super::coverage::Coverage;
use super::generate::{By, Moves, Step, step};
use super::judge::Side::Customer;
use super::judge::{Verdict, unless};
use super::plain::{Fate, Plain};
use crate::world::{anonymous, by_key};

impl Plain {
    pub(super) fn judge_confirm(
        &self,
        caller: &Caller,
        customer: Option<OrganisationId>,
        grants: &BTreeSet<GrantId>,
    ) -> Verdict {
        if let Some(org) = customer {
            self.admin(caller, Customer, org, org)?;
            self.fresh(caller)?;
        }
        unless(grants.is_empty() || grants.len() > MOST_CONFIRMED, "invalid")?;
        for id in grants {
            let g = self.known_grant(*id, self.now).ok_or("not_found")?;
            self.admin(caller, Customer, g.customer, g.provider)?;
            self.fresh(caller)?;
            unless(customer.is_some_and(|c| c != g.customer), "not_found")?;
            unless(!self.stands(g), "wrong_state")?;
            if let Some(since) = g.unconfirmed {
                let key = (g.provider, caller.person().unwrap());
                let was = self.left.get(&key).is_some_and(|left| *left >= since);
                unless(was || self.members.contains_key(&key), "four_eyes")?;
            }
        }
        Ok(())
    }

    pub(super) fn judge_credential(&self, caller: &Caller, command: &Command) -> Verdict {
        match command {
            Command::MakeKey { .. } => match caller.principal {
                Principal::System => {
                    unless(self.keys.values().any(|k| *k == KeyUse::Operate), "not_found")
                }
                _ => self.by_key(caller, KeyUse::Operate),
            },
            Command::MakeEnrolment { organisation, external, .. } => {
                self.by_key(caller, KeyUse::Provision)?;
                let closed = self.orgs[organisation].standing == Standing::Closed;
                unless(closed, "not_active")?;
                let person = self.member_named(*organisation, external).ok_or("not_found")?;
                unless(self.people[&person].enrolled, "wrong_state")?;
                unless(!self.people[&person].proven, "invalid")
            }
            Command::Enrol { token, .. } => {
                unless(caller.principal != Principal::Anonymous, "not_found")?;
                let good = self
                    .people
                    .values()
                    .any(|p| p.enrolment.is_some_and(|(t, until)| t == *token && self.now < until));
                unless(!good, "not_found")
            }
            other => panic!("{other:?} is no credential"),
        }
    }

    pub(super) fn change_credential(&mut self, command: &Command, row: Option<&Row>) {
        let now = self.now;
        match command {
            Command::MakeKey { usage, .. } => {
                let new = |e: &Event| match e {
                    Event::KeyMade { key, .. } => Some(*key),
                    _ => None,
                };
                self.keys.insert(made(row, new).unwrap(), *usage);
            }
            Command::MakeEnrolment { organisation, external, digest } => {
                let person = self.member_named(*organisation, external).unwrap();
                let until = now.plus(ENROLMENT_LASTS);
                self.people.get_mut(&person).unwrap().enrolment = Some((*digest, until));
            }
            Command::Enrol { token, .. } => {
                let by = |e: Option<(_, _)>| e.is_some_and(|(t, _)| t == *token);
                let person = self.people.values_mut().find(|p| by(p.enrolment)).unwrap();
                (person.enrolled, person.enrolment) = (true, None);
                person.epoch += 1;
            }
            other => panic!("{other:?} is no credential"),
        }
    }

    /// Whatever was open may have been closed since.
    pub(super) fn restore(&mut self, keep_people: bool) {
        let now = self.now;
        self.keys.clear();
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        sessions.into_iter().for_each(|id| self.end_session(id, Reason::Restored));
        for s in self.sign_ins.values_mut() {
            s.until = s.until.min(now);
        }
        for g in self.grants.values_mut() {
            if g.ended.is_none() && now < g.end {
                g.unconfirmed = Some(now);
            }
        }
        for r in self.requests.values_mut() {
            if r.offered.is_some() && r.fate == Fate::Pending && now < r.at.plus(30 * DAY) {
                r.fate = Fate::Cancelled;
            }
        }
        for p in self.people.values_mut() {
            p.enrolment = None;
            if !keep_people && p.enrolled {
                p.enrolled = false;
                p.epoch += 1;
            }
        }
        if !keep_people {
            self.members.values_mut().for_each(|m| m.active = false);
        }
    }
}

impl Moves<'_> {
    pub fn restore(&mut self) -> Option<Step> {
        let (fork, erased) = (self.w.state.seq, Vec::new());
        let keep_people = self.rng.percent(60);
        step(By::This(Caller::system()), Command::Restore { fork, erased, keep_people })
    }

    /// One grant or all that wait of one customer; sometimes one more that is another's.
    pub fn confirm(&mut self) -> Option<Step> {
        let waits: Vec<(GrantId, OrganisationId)> = self
            .m
            .grants
            .iter()
            .filter(|(_, g)| g.unconfirmed.is_some() && self.m.stands(g))
            .map(|(id, g)| (*id, g.customer))
            .collect();
        let (one, org) = self.rng.pick(&waits)?;
        let mut grants = BTreeSet::from([one]);
        let customer = self.rng.percent(50).then_some(org);
        if customer.is_some() {
            let most = if self.rng.percent(15) { None } else { Some(org) };
            let fits = |o: &OrganisationId| most.is_none_or(|m| m == *o);
            grants.extend(waits.iter().filter(|(_, o)| fits(o)).map(|(id, _)| *id));
        }
        step(self.fresh_admin(org)?, Command::Confirm { customer, grants })
    }
}

impl Run {
    /// What the operator and the builder do after a restore: keys, the directory, enrolments.
    pub(super) fn recover(&mut self, coverage: &mut Coverage) {
        let operate = self.new_key(&Caller::system(), KeyUse::Operate, coverage);
        let provision = self.new_key(&operate, KeyUse::Provision, coverage);
        let decide = self.new_key(&operate, KeyUse::Decide, coverage);
        self.w.hold_keys(&operate, &provision, &decide);
        let out: Vec<(OrganisationId, PersonId)> =
            self.m.members.iter().filter(|(_, m)| !m.active).map(|(key, _)| *key).collect();
        for (org, person) in out {
            if self.rng.percent(85) {
                let put = self.moves().back_in(org, person);
                self.take("put_back", &provision, put, None, coverage);
            }
        }
        let members: Vec<_> =
            self.m.members.iter().map(|((o, p), m)| (*o, *p, m.external.clone())).collect();
        for (organisation, person, external) in members {
            if self.m.people[&person].enrolled && !self.rng.percent(3) {
                continue;
            }
            let token = self.w.secret();
            let make = Command::MakeEnrolment { organisation, external, digest: token };
            self.take("make_enrolment", &provision, make, None, coverage);
            if self.w.state.enrolling(token).is_none() {
                continue; // of a closed organisation
            }
            let password_hash = "$argon2id$test".into();
            let enrol = Command::Enrol { token, password_hash };
            self.take("enrol", &anonymous(), enrol, None, coverage);
        }
    }

    fn new_key(&mut self, by: &Caller, usage: KeyUse, coverage: &mut Coverage) -> Caller {
        let digest = self.w.secret();
        let application = (usage == KeyUse::Decide).then_some(self.w.boats);
        self.take("make_key", by, Command::MakeKey { usage, application, digest }, None, coverage);
        by_key(self.w.state.key_by_digest(digest).unwrap())
    }
}
