//! Many people on many accounts of a grant, pair by pair.

use std::collections::BTreeSet;

use comity_domain::bulk::{self, Deed, Many};
use comity_domain::command::{Caller, Command};
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{AccountId, Digest32, GrantId, PersonId, RoleId};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::Accounts;
use comity_domain::text::Subject;
use comity_domain::time::Instant;
use comity_domain::view::{Candidate, Purpose, Sought, candidates};

use super::generate::{Moves, Step, step};
use super::judge::Side::Provider;
use super::judge::{Verdict, listed, unless};
use super::plain::{Assignment, Grant, Plain};

/// What somebody sends who did not look.
const UNSEEN: Digest32 = Digest32([9; 32]);

impl Plain {
    /// The accounts that a grant reaches now.
    fn reached(&self, grant: &Grant) -> BTreeSet<AccountId> {
        let listed = |a: &AccountId| grant.accounts.as_ref().is_none_or(|l| l.contains(a));
        let there = self.accounts.keys().copied();
        there.filter(|a| self.on_side(grant, *a) && listed(a)).collect()
    }

    pub(super) fn judge_many(
        &self,
        caller: &Caller,
        id: GrantId,
        many: &Many,
        (token, takes_along): (Digest32, bool),
    ) -> Verdict {
        let grant = self.judge_grant(caller, Provider, id)?;
        unless(grant.auto.is_some(), "auto_assign_enabled")?;
        unless(many.people.is_empty(), "invalid")?;
        unless(many.accounts.is_empty(), "invalid")?;
        unless(grant.accounts.as_ref().is_some_and(BTreeSet::is_empty), "invalid")?;
        if let Accounts::List(list) = &many.accounts {
            unless(!list.is_subset(&self.reached(grant)), "widening")?;
        }
        let on = |p: &PersonId| self.assigned.get(&(id, *p)).is_some_and(|a| self.gives_access(a));
        let new: Vec<PersonId> = many.people.iter().copied().filter(|p| !on(p)).collect();
        match &many.deed {
            Deed::Add { roles, everybody } => {
                self.judge_adding(id, grant, many, roles, *everybody || !new.is_empty())?;
            }
            Deed::Remove { successor: Some(spec) } => {
                unless(many.people.contains(&spec.person), "invalid")?;
                self.judge_spec(id, spec)?;
            }
            Deed::Remove { successor: None } => {}
        }
        unless(self.meant(id, many) != listed(&many.accounts) && !takes_along, "linked_accounts")?;
        unless(token == UNSEEN, "stale_summary")?;
        match &many.deed {
            Deed::Add { .. } => {
                let org = grant.customer;
                let takes = new.iter().any(|p| self.is_active_admin(org, *p));
                let left =
                    self.people.keys().any(|p| !new.contains(p) && self.is_active_admin(org, *p));
                unless(takes && !left, "last_admin")
            }
            Deed::Remove { successor: Some(spec) } => {
                self.spares_the_admins(id, std::slice::from_ref(spec))
            }
            Deed::Remove { successor: None } => {
                let mut after = self.clone();
                after.change_many(id, many);
                let alone = self.active_on(id) > 0 && after.active_on(id) == 0;
                unless(self.running(grant) && alone, "last_user")
            }
        }
    }

    fn judge_adding(
        &self,
        id: GrantId,
        grant: &Grant,
        many: &Many,
        roles: &BTreeSet<RoleId>,
        needs_roles: bool,
    ) -> Verdict {
        let partner = (grant.customer, LockTarget::Organisation(grant.provider));
        unless(self.locks.values().any(|l| *l == partner), "locked")?;
        let targets = [
            HaltTarget::Grant(id),
            HaltTarget::Organisation(grant.customer),
            HaltTarget::Organisation(grant.provider),
        ];
        unless(self.halts.values().any(|t| targets.contains(t)), "locked")?;
        unless(!self.side_active(grant.customer, grant.customer_unit), "not_active")?;
        let given = |r: &RoleId| grant.roles.contains_key(r) && !self.roles[r].deleted;
        unless(!roles.iter().all(given), "widening")?;
        for person in &many.people {
            unless(self.locked(grant.customer, grant.provider, *person), "locked")?;
            unless(self.halted(id, *person), "locked")?;
            let member = self.active_member(grant.provider, *person);
            let elsewhere = |u| member.is_some_and(|m| m.unit != u);
            unless(member.is_none() || grant.provider_unit.is_some_and(elsewhere), "invalid")?;
        }
        unless(needs_roles && roles.is_empty(), "invalid")
    }

    /// What a bulk call is about: the named accounts, and those of the grant that are linked to them.
    fn meant(&self, id: GrantId, many: &Many) -> Option<BTreeSet<AccountId>> {
        let mut all = listed(&many.accounts)?;
        let group = |a: &AccountId| {
            let account = self.accounts.get(a)?;
            Some((account.org, account.linked.clone()?))
        };
        let groups: BTreeSet<_> = all.iter().filter_map(group).collect();
        let reached = self.reached(&self.grants[&id]);
        all.extend(reached.into_iter().filter(|a| group(a).is_some_and(|g| groups.contains(&g))));
        Some(all)
    }

    /// Whether anybody is off the grant.
    pub(super) fn change_many(&mut self, id: GrantId, many: &Many) -> bool {
        let reached = self.reached(&self.grants[&id]);
        let meant = self.meant(id, many).map_or(Accounts::All, Accounts::List);
        let before = self.assigned.clone();
        if let Deed::Remove { successor: Some(spec) } = &many.deed {
            self.put(id, spec);
        }
        let mut changed = false;
        for person in &many.people {
            let key = (id, *person);
            let known = self.assigned.get(&key).cloned();
            let wanted = match &many.deed {
                Deed::Add { roles, everybody } => {
                    Some(self.with_more(known.clone(), roles, *everybody, &meant))
                }
                Deed::Remove { .. } => known.clone().and_then(|a| with_less(a, &reached, &meant)),
            };
            changed |= known != wanted;
            match wanted {
                Some(wanted) => drop(self.assigned.insert(key, wanted)),
                None => drop(self.assigned.remove(&key)),
            }
        }
        let grant = self.grants.get_mut(&id).unwrap();
        grant.version += u32::from(changed);
        if changed && matches!(many.deed, Deed::Add { .. }) {
            grant.unattended = false;
        }
        before.keys().any(|key| !self.assigned.contains_key(key))
    }

    fn with_more(
        &self,
        known: Option<Assignment>,
        roles: &BTreeSet<RoleId>,
        everybody: bool,
        more: &Accounts,
    ) -> Assignment {
        match known.filter(|a| self.gives_access(a)) {
            None => Assignment {
                roles: roles.clone(),
                accounts: listed(more),
                ends: Instant::NEVER,
                no_roles: false,
                auto: false,
            },
            Some(a) => {
                let accounts = match (&a.accounts, more) {
                    (Some(has), Accounts::List(more)) => Some(has.union(more).copied().collect()),
                    _ => None,
                };
                let roles = if everybody { roles.clone() } else { a.roles.clone() };
                Assignment { roles, accounts, ..a }
            }
        }
    }
}

/// What is left; `None` for nothing.
fn with_less(a: Assignment, reached: &BTreeSet<AccountId>, gone: &Accounts) -> Option<Assignment> {
    let Accounts::List(gone) = gone else {
        return None;
    };
    let has = a.accounts.as_ref().unwrap_or(reached);
    let left: BTreeSet<AccountId> = has.difference(gone).copied().collect();
    (!left.is_empty()).then_some(Assignment { accounts: Some(left), ..a })
}

impl Moves<'_> {
    /// Some people, most of whom could be on the grant, on some accounts of it.
    fn many(&mut self, g: &Grant) -> Option<(BTreeSet<PersonId>, Accounts, BTreeSet<RoleId>)> {
        let spec = self.spec(g)?;
        let mut people = BTreeSet::from([spec.person]);
        for _ in 0..self.rng.below(3) {
            people.insert(self.spec(g)?.person);
        }
        Some((people, spec.accounts, spec.roles.into_iter().collect()))
    }

    fn seen(&mut self, id: GrantId, many: &Many) -> (Digest32, Option<Digest32>) {
        if self.w.state.grants.get(id).is_some_and(|g| g.auto.is_none()) {
            self.candidates_agree(id, &many.accounts);
        }
        let planned = bulk::plan(&self.w.state, id, many, self.w.now.max(self.w.state.at));
        match planned {
            Ok(plan) if !self.rng.percent(4) => {
                self.pairs_agree(id, many, &plan);
                (plan.token, plan.linked_token.filter(|_| !self.rng.percent(20)))
            }
            Ok(plan) => (UNSEEN, plan.linked_token),
            Err(_) => (UNSEEN, None),
        }
    }

    /// The plan counts what the model counts pair by pair.
    fn pairs_agree(&self, id: GrantId, many: &Many, plan: &bulk::Plan) {
        let m = self.m;
        let reached = m.reached(&m.grants[&id]);
        let wanted = m.meant(id, many).unwrap_or(reached);
        let has = |p: &PersonId, a: &AccountId| {
            let row = m.assigned.get(&(id, *p)).filter(|row| m.gives_access(row));
            row.is_some_and(|row| row.accounts.as_ref().is_none_or(|l| l.contains(a)))
        };
        let mut held = 0;
        for person in &many.people {
            held += wanted.iter().filter(|a| has(person, a)).count() as u64;
        }
        let pairs = (many.people.len() * wanted.len()) as u64;
        let (created, ended) = match many.deed {
            Deed::Add { .. } => (pairs - held, 0),
            Deed::Remove { .. } => (0, held),
        };
        assert_eq!(
            (plan.accounts, plan.created, plan.ended, plan.unchanged),
            (wanted.len(), created, ended, pairs - created - ended),
            "the pairs of {many:?}"
        );
    }

    /// Lists of candidates say what the model says of everybody, and *k of n* is the pairs.
    fn candidates_agree(&self, id: GrantId, accounts: &Accounts) {
        let (m, grant) = (self.m, &self.m.grants[&id]);
        let reached = m.reached(grant);
        let wanted: BTreeSet<AccountId> = match accounts {
            Accounts::All => reached.clone(),
            Accounts::List(list) => list.intersection(&reached).copied().collect(),
        };
        let held = |p: &PersonId| {
            let row = m.assigned.get(&(id, *p)).filter(|row| m.gives_access(row));
            let in_row = |row: &Assignment, a: &AccountId| {
                row.accounts.as_ref().is_none_or(|l| l.contains(a))
            };
            row.map_or(0, |row| wanted.iter().filter(|a| in_row(row, a)).count())
        };
        let could = |p: &PersonId| {
            let member = m.active_member(grant.provider, *p);
            member.is_some_and(|x| grant.provider_unit.is_none_or(|u| u == x.unit))
                && m.stands(grant)
                && m.side_active(grant.customer, grant.customer_unit)
                && !m.locked(grant.customer, grant.provider, *p)
                && !m.halted(id, *p)
        };
        let everybody = m.members.keys().filter(|(o, _)| *o == grant.provider).map(|(_, p)| *p);
        let everybody: Vec<PersonId> = everybody.collect();
        let now = self.w.now.max(self.w.state.at);
        for purpose in [Purpose::Add, Purpose::Remove] {
            let chosen = |p: &PersonId| match purpose {
                Purpose::Add => held(p) < wanted.len() && could(p),
                Purpose::Remove => held(p) > 0,
            };
            let expected: Vec<Candidate> = everybody
                .iter()
                .filter(|p| chosen(p))
                .map(|p| Candidate { person: *p, held: held(p), of: wanted.len() })
                .collect();
            let sought = Sought { purpose, accounts, query: None };
            let (found, more) = candidates(&self.w.state, id, sought, None, 1_000, now);
            assert_eq!((found, more), (expected, false), "{purpose:?} {accounts:?} of {id}");
        }
        let Some(person) = everybody.first() else { return };
        let known = &m.people[person];
        let first = known.name.split(' ').next().unwrap_or_default();
        let found = self.w.state.members_called(grant.provider, first);
        assert_eq!(found.contains(person), !self.erased(*person), "{first:?}");
    }

    fn erased(&self, person: PersonId) -> bool {
        self.m.erased.contains(&Subject::Person(person))
    }

    pub fn assign_many(&mut self) -> Option<Step> {
        let (grant, g) = self.standing()?;
        let (people, accounts, mut roles) = self.many(&g)?;
        if self.rng.percent(25) {
            roles.clear();
        }
        let deed = Deed::Add { roles, everybody: self.rng.percent(30) };
        let many = Many { people, accounts, deed };
        let (token, linked) = self.seen(grant, &many);
        let many = Box::new(many);
        step(self.admin(g.provider)?, Command::AssignMany { grant, many, token, linked })
    }

    pub fn unassign_many(&mut self) -> Option<Step> {
        let (grant, g) = self.standing()?;
        let (mut people, accounts, _) = self.many(&g)?;
        let on = self.m.people_on(grant);
        people.extend(self.rng.some(&on));
        let successor = if self.rng.percent(30) { self.spec(&g) } else { None };
        let many = Many { people, accounts, deed: Deed::Remove { successor } };
        let (token, linked) = self.seen(grant, &many);
        let many = Box::new(many);
        step(self.admin(g.provider)?, Command::AssignMany { grant, many, token, linked })
    }

    /// Two accounts of an organisation belong together, or one stands alone again.
    pub fn link_account(&mut self) -> Option<Step> {
        let accounts: Vec<_> = self.m.accounts.values().cloned().collect();
        let account = self.rng.pick(&accounts)?;
        let group = self.rng.percent(80).then(|| "pair".to_owned());
        let (organisation, external) = (account.org, account.external);
        step(self.admin(organisation)?, Command::LinkAccount { organisation, external, group })
    }
}
