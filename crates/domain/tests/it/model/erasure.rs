//! What can be erased: tried, judged. Evidence is looked for among everything that ever was.

use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command};
use comity_domain::ids::{AccountId, OrganisationId, PersonId, RequestId, SessionId};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::Standing;
use comity_domain::text::Subject;

use super::generate::{By, Moves, Step, step};
use super::judge::{Verdict, unless};
use super::plain::Plain;

impl Plain {
    fn closed(&self, org: OrganisationId) -> bool {
        self.orgs[&org].standing == Standing::Closed
    }

    /// Whether a lock that somebody can still lift covers a person's dealings between the two.
    fn kept(&self, customer: OrganisationId, provider: OrganisationId, person: PersonId) -> bool {
        !self.closed(customer) && self.locked(customer, provider, person)
    }

    pub(super) fn judge_erasure(&self, caller: &Caller, subject: Subject) -> Verdict {
        self.by_key(caller, KeyUse::Provision)?;
        if self.erased.contains(&subject) {
            return Ok(());
        }
        match subject {
            Subject::Person(person) => self.judge_person(person),
            Subject::Account(account) => {
                let there = self.accounts.get(&account).is_some_and(|a| !self.closed(a.org));
                unless(there, "in_use")
            }
            Subject::Request(id) => {
                let r = self.known_request(id, self.now).ok_or("not_found")?;
                unless(self.pending(r), "in_use")?;
                unless(self.kept(r.customer, r.provider, r.by), "evidence")
            }
            Subject::Session(id) => {
                let s = self.known_session(id, self.now).ok_or("not_found")?;
                unless(self.live_session(s), "in_use")?;
                let g = &self.grants[&s.grant];
                unless(self.kept(g.customer, g.provider, s.person), "evidence")
            }
            other => panic!("the model does not erase {other:?}"),
        }
    }

    fn judge_person(&self, person: PersonId) -> Verdict {
        let member = self.members.keys().any(|(o, p)| *p == person && !self.closed(*o));
        let on = self.assigned.keys().any(|(g, p)| *p == person && self.stands(&self.grants[g]));
        let inside = self.sessions.values().any(|s| s.person == person && self.live_session(s));
        let waits = self.requests.values().any(|r| r.by == person && self.pending(r));
        unless(member || on || inside || waits, "in_use")?;
        let named = self.locks.values().any(|(customer, target)| {
            !self.closed(*customer) && *target == LockTarget::Person(person)
        });
        let asked = self
            .requests
            .values()
            .any(|r| r.by == person && self.kept(r.customer, r.provider, person));
        let entered = self.sessions.values().filter(|s| s.person == person).any(|s| {
            let g = &self.grants[&s.grant];
            self.kept(g.customer, g.provider, person)
        });
        unless(named || asked || entered, "evidence")
    }
}

impl Moves<'_> {
    fn erase(&mut self, subject: Subject) -> Option<Step> {
        step(By::This(self.w.provision()), Command::EraseWords { subject })
    }

    /// Mostly somebody who left; sometimes somebody who is there, or was erased already.
    pub fn erase_person(&mut self) -> Option<Step> {
        let member = |p: &PersonId| self.m.members.keys().any(|(_, q)| q == p);
        let gone: Vec<PersonId> = self.m.people.keys().copied().filter(|p| !member(p)).collect();
        let all: Vec<PersonId> = self.m.people.keys().copied().collect();
        let from = if self.rng.percent(15) { all } else { gone };
        let person = self.rng.pick(&from)?;
        self.erase(Subject::Person(person))
    }

    pub fn erase_account(&mut self) -> Option<Step> {
        let there: Vec<AccountId> = self.m.accounts.keys().copied().collect();
        let there = if self.rng.percent(50) { self.rng.pick(&there) } else { None };
        let other = AccountId(1_000 + self.rng.below(1_000) as u128); // removed, or never there
        self.erase(Subject::Account(there.unwrap_or(other)))
    }

    pub fn erase_request(&mut self) -> Option<Step> {
        let decided = self.m.requests.iter().filter(|(_, r)| !self.m.pending(r));
        let mut some: Vec<RequestId> = decided.map(|(id, _)| *id).collect();
        some.extend(self.request());
        let request = self.rng.pick(&some)?;
        self.erase(Subject::Request(request))
    }

    pub fn erase_session(&mut self) -> Option<Step> {
        let over = self.m.sessions.iter().filter(|(id, s)| {
            !self.m.live_session(s) && self.m.known_session(**id, self.m.now).is_some()
        });
        let mut some: Vec<SessionId> = over.map(|(id, _)| *id).collect();
        some.extend(self.session());
        let session = self.rng.pick(&some)?;
        self.erase(Subject::Session(session))
    }
}
