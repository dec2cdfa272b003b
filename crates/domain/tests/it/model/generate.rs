//! What is tried next: mostly what can succeed on something alive, so that deep states are
//! reached; sometimes by the wrong caller, too late, or too much.

use std::collections::BTreeSet;

use comity_domain::command::{AssignmentSpec, Caller, Command};
use comity_domain::consent::{self, Terms};
use comity_domain::grant::Narrowing;
use comity_domain::ids::{
    AccountId, Digest32, GrantId, OrganisationId, PersonId, RequestId, RoleId, SessionId,
};
use comity_domain::organisation::Accounts;
use comity_domain::role::{Mode, Modes};
use comity_domain::time::{DAY, Days, HOUR, Instant, MINUTE, Minutes};

use super::plain::{Fate, Grant, Plain, Seen, level};
use crate::world::World;

/// Splitmix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }

    /// Some of them, at least one if there is one.
    pub fn some<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        let mut out: Vec<T> = from.iter().filter(|_| self.percent(55)).cloned().collect();
        if out.is_empty() {
            out.extend(self.pick(from));
        }
        out
    }
}

/// By whom a step is tried.
#[derive(Clone, Debug)]
pub enum By {
    /// A person; `true` if a fresh sign-in is wanted.
    Person(PersonId, bool),
    /// Just so.
    This(Caller),
}

/// One thing to try.
#[derive(Clone, Debug)]
pub struct Step {
    pub by: By,
    pub command: Command,
    pub seen: Option<Seen>,
}

/// Terms that somebody looked at, and the hash that they were shown.
pub type Looked = (Terms, Seen, Digest32);

pub struct Moves<'a> {
    pub w: &'a mut World,
    pub m: &'a Plain,
    pub rng: &'a mut Rng,
    pub looked: &'a mut Vec<Looked>,
    pub old_codes: &'a [Digest32],
}

pub fn step(by: By, command: Command) -> Option<Step> {
    Some(Step { by, command, seen: None })
}

impl Moves<'_> {
    pub fn org(&mut self) -> OrganisationId {
        let orgs: Vec<_> = self.m.orgs.keys().copied().collect();
        orgs[self.rng.below(orgs.len()).min(self.rng.below(orgs.len()))] // the first ones more often
    }

    pub fn admin(&mut self, org: OrganisationId) -> Option<By> {
        let own = self.m.members.iter().filter(|((o, _), _)| *o == org);
        let able = |p: &PersonId| self.m.is_active_admin(org, *p) && self.m.people[p].enrolled;
        let admins: Vec<_> = own.map(|((_, p), _)| *p).filter(able).collect();
        Some(By::Person(self.rng.pick(&admins)?, false))
    }

    pub fn fresh_admin(&mut self, org: OrganisationId) -> Option<By> {
        let stale = self.rng.percent(10);
        match self.admin(org)? {
            By::Person(person, _) => Some(By::Person(person, !stale)),
            other => Some(other),
        }
    }

    pub fn provisioner(&mut self, org: OrganisationId) -> Option<By> {
        if self.rng.percent(80) { Some(By::This(self.w.provision())) } else { self.admin(org) }
    }

    pub fn standing(&mut self) -> Option<(GrantId, Grant)> {
        let all = self.rng.percent(5);
        let some = self.m.grants.iter().filter(|(_, g)| all || self.m.stands(g));
        let some: Vec<_> = some.map(|(id, g)| (*id, g.clone())).collect();
        self.rng.pick(&some)
    }

    pub fn request(&mut self) -> Option<RequestId> {
        let all = self.rng.percent(7);
        let some = self.m.requests.iter().filter(|(_, r)| all || self.m.pending(r));
        let some: Vec<_> = some.map(|(id, _)| *id).collect();
        self.rng.pick(&some)
    }

    pub fn session(&mut self) -> Option<SessionId> {
        let all = self.rng.percent(10);
        let some = self.m.sessions.iter().filter(|(_, s)| all || self.m.live_session(s));
        let some: Vec<_> = some.map(|(id, _)| *id).collect();
        self.rng.pick(&some)
    }

    pub fn assigned(&mut self) -> Option<(GrantId, PersonId)> {
        let all = self.rng.percent(5);
        let some = self.m.assigned.iter().filter(|((g, _), a)| {
            all || (self.m.stands(&self.m.grants[g]) && self.m.gives_access(a))
        });
        let some: Vec<_> = some.map(|(key, _)| *key).collect();
        self.rng.pick(&some)
    }

    pub fn modes_of(&mut self, of: Modes) -> Modes {
        let all: Vec<Mode> = of.iter().collect();
        if self.rng.percent(55) { of } else { self.rng.some(&all).into_iter().collect() }
    }

    fn accounts_on(&self, grant: &Grant) -> Vec<AccountId> {
        match &grant.accounts {
            Some(list) => list.iter().copied().collect(),
            None => self.m.accounts.keys().copied().filter(|a| self.m.on_side(grant, *a)).collect(),
        }
    }

    // -- requests -----------------------------------------------------------------------------------

    pub fn ask(&mut self) -> Option<Step> {
        let (mut customer, mut provider) = (self.org(), self.org());
        let denied = self
            .m
            .requests
            .values()
            .filter(|r| matches!(r.fate, Fate::Denied(at) if self.m.now.since(at) < 30 * DAY));
        let denied: Vec<_> = denied.map(|r| (r.customer, r.provider)).collect();
        let often =
            |pair: &&(OrganisationId, OrganisationId)| denied.iter().filter(|d| d == pair).count();
        let again = denied.iter().max_by_key(often).copied();
        let again = if self.rng.percent(30) { again } else { None };
        (customer, provider) = again.unwrap_or((customer, provider));
        let tries = if self.rng.percent(8) { 0 } else { 6 };
        for _ in 0..tries {
            let waits = |r: &&super::plain::Request| {
                (r.customer, r.provider) == (customer, provider) && self.m.pending(r)
            };
            if customer != provider && self.m.requests.values().find(waits).is_none() {
                break;
            }
            (customer, provider) = (self.org(), self.org());
        }
        let code = if self.rng.percent(75) { "partner" } else { "referral" };
        let (_, modes, longest, _) = level(code);
        let mut ask = self.w.ask_spec(provider, customer);
        ask.level = code.into();
        let possible = if self.rng.percent(3) { Modes::all() } else { modes };
        ask.modes = self.modes_of(possible);
        let most = if self.rng.percent(3) { longest + 1 } else { longest };
        ask.days = Days(self.rng.pick(&[1, 3, 7, 30, 30, 90, 730, 1000]).unwrap().min(most));
        ask.unit = self.rng.percent(25).then(|| "u".into());
        if self.rng.percent(25) {
            ask.roles = self
                .rng
                .some(&["clerk", "reader", "cashier", "unheard"])
                .into_iter()
                .map(Into::into)
                .collect();
        }
        if self.rng.percent(25) {
            ask.accounts =
                self.rng.some(&["a0", "a1", "a2", "a9"]).into_iter().map(Into::into).collect();
        }
        if self.rng.percent(6) {
            ask.code = self.rng.pick(self.old_codes).unwrap_or(Digest32([9; 32]));
        }
        step(self.admin(provider)?, Command::Ask(ask))
    }

    pub fn cancel(&mut self) -> Option<Step> {
        let request = self.request()?;
        let r = &self.m.requests[&request];
        let by = self.admin(if r.offered.is_some() { r.customer } else { r.provider })?;
        step(by, Command::CancelRequest { request })
    }

    pub fn deny(&mut self) -> Option<Step> {
        let mut request = self.request()?;
        for _ in 0..6 {
            // The same partner again and again.
            let r = &self.m.requests[&request];
            let before = |x: &super::plain::Request| {
                matches!(x.fate, Fate::Denied(_))
                    && (x.customer, x.provider) == (r.customer, r.provider)
            };
            if self.m.requests.values().any(before) {
                break;
            }
            request = self.request()?;
        }
        let by = self.admin(self.m.requests[&request].customer)?;
        let (reason, message) =
            (Some("Not now".into()), self.rng.percent(50).then(|| "Sorry".into()));
        step(by, Command::Deny { request, reason, message })
    }

    fn terms(&mut self, id: RequestId) -> Terms {
        let r = &self.m.requests[&id];
        let wild = self.rng.percent(6);
        let (roles, accounts) = (&self.m.roles, &self.m.accounts);
        let fits = |list: &Vec<String>, name: &str| {
            wild || list.is_empty() || list.iter().any(|n| n == name)
        };
        let roles: Vec<RoleId> = roles
            .iter()
            .filter(|(_, x)| x.org == r.customer && (wild || !x.deleted) && fits(&r.roles, &x.code))
            .map(|(id, _)| *id)
            .collect();
        let units =
            self.m.units.iter().filter(|(_, u)| u.org == r.customer && u.external.is_some());
        let units: Vec<_> = units.map(|(id, _)| *id).collect();
        let unit = if self.rng.percent(15) { self.rng.pick(&units) } else { None };
        let accounts: Vec<AccountId> = accounts
            .iter()
            .filter(|(_, a)| a.org == r.customer && (wild || unit.is_none_or(|u| u == a.unit)))
            .filter(|(_, a)| fits(&r.accounts, &a.external))
            .map(|(id, _)| *id)
            .collect();
        let all = r.accounts.is_empty() && self.rng.percent(55);
        let modes = if wild { Modes::all() } else { self.modes_of(r.modes) };
        let days = self.rng.pick(&[1, 2, 30, r.days, r.days]).unwrap();
        let settings = &self.m.orgs[&r.customer].settings;
        let (own, outside) = (settings.longest_grant.0, settings.allow_external);
        let days = if wild { days + 1 } else { days.min(r.days).min(own) };
        let later = self.rng.pick(&[20 * MINUTE, 3 * HOUR, 2 * DAY, 400 * DAY]).unwrap();
        let cap = self.rng.pick(&[5, 15, 60, 60, 480]).unwrap();
        Terms {
            roles: self.rng.some(&roles).into_iter().collect(),
            accounts: if all {
                Accounts::All
            } else {
                Accounts::List(self.rng.some(&accounts).into_iter().collect())
            },
            unit,
            modes,
            starts_at: self.rng.percent(18).then(|| self.m.now.plus(later)),
            days: Days(days),
            cap: self.rng.percent(40).then_some(Minutes(cap)),
            allow_external: self.rng.percent(if outside { 50 } else { 2 }),
            jwt: self.rng.percent(50),
        }
    }

    /// Looks at terms, to say yes to them now or later.
    fn look(&mut self) -> Option<Looked> {
        let id = self.request().filter(|id| self.m.requests[id].offered.is_none())?;
        let terms = self.terms(id);
        let asked = self.w.state.requests.get(id)?;
        let shown = consent::summarise(&self.w.state, id, asked, &terms, self.m.now);
        let seen = self.m.look(id, &terms);
        assert_eq!(
            shown.as_ref().map(|_| ()).map_err(|r| r.code()),
            seen.as_ref().map(|_| ()).map_err(|c| *c)
        );
        Some((terms, seen.ok()?, shown.ok()?.hash()))
    }

    fn approve_as(
        &mut self,
        request: RequestId,
        terms: Terms,
        seen: Option<Seen>,
        summary: Digest32,
    ) -> Option<Step> {
        let r = &self.m.requests[&request];
        let both = |p: &PersonId| {
            self.m.is_active_admin(r.customer, *p)
                && (self.m.members.contains_key(&(r.provider, *p))
                    || self.m.left.contains_key(&(r.provider, *p)))
        };
        let both: Vec<PersonId> = self.m.people.keys().copied().filter(both).collect();
        let by = match self.rng.pick(&both) {
            Some(person) if self.rng.percent(30) => By::Person(person, true),
            _ => self.fresh_admin(r.customer)?,
        };
        let command = Command::Approve { request, terms, summary };
        Some(Step { by, command, seen })
    }

    pub fn approve(&mut self) -> Option<Step> {
        if self.rng.percent(6) {
            let request = self.request()?; // a hash that nobody was shown
            let terms = self.terms(request);
            return self.approve_as(request, terms, None, Digest32([1; 32]));
        }
        let (terms, seen, hash) = self.look()?;
        if self.rng.percent(12) {
            self.looked.push((terms, seen, hash)); // think about it
            return None;
        }
        self.approve_as(seen.request, terms, Some(seen), hash)
    }

    pub fn approve_looked(&mut self) -> Option<Step> {
        let (terms, seen, hash) = self.looked.pop()?;
        self.approve_as(seen.request, terms, Some(seen), hash)
    }

    // -- grants -------------------------------------------------------------------------------------

    pub fn revoke(&mut self) -> Option<Step> {
        let (grant, g) = self.standing()?;
        step(self.admin(g.customer)?, Command::Revoke { grant })
    }

    pub fn give_up(&mut self) -> Option<Step> {
        let (grant, g) = self.standing()?;
        step(self.admin(g.provider)?, Command::GiveUp { grant })
    }

    pub fn narrow(&mut self) -> Option<Step> {
        let (grant, g) = self.standing()?;
        let mut n = Narrowing::default();
        let wide = self.rng.percent(10);
        match self.rng.below(5) {
            0 => {
                let all: Vec<RoleId> = self.m.roles.keys().copied().collect();
                let own: Vec<RoleId> = g.roles.keys().copied().collect();
                n.roles = Some(self.rng.some(if wide { &all } else { &own }).into_iter().collect());
            }
            1 => {
                let all: Vec<AccountId> = self.m.accounts.keys().copied().collect();
                let own = self.accounts_on(&g);
                let some = self.rng.some(if wide { &all } else { &own });
                let everything = wide && self.rng.percent(50);
                n.accounts = Some(if everything {
                    Accounts::All
                } else {
                    Accounts::List(some.into_iter().collect())
                });
            }
            2 => n.modes = Some(if wide { Modes::all() } else { self.modes_of(g.modes) }),
            3 => {
                let left = g.end.since(self.m.now.max(g.start));
                let ends =
                    [1, left / 2, left - 1, 10 * MINUTE, HOUR, if wide { left + 1 } else { left }];
                n.end = Some(self.m.now.max(g.start).plus(self.rng.pick(&ends).unwrap()));
            }
            _ => n.cap = Some(Minutes(if wide { 481 } else { g.cap / 2 + 3 })),
        }
        let version = match self.rng.below(10) {
            0..=5 => None,
            6..=8 => Some(g.version),
            _ => Some(g.version.saturating_sub(1)),
        };
        step(self.admin(g.customer)?, Command::Narrow { grant, narrowing: n, version })
    }

    // -- assignments ----------------------------------------------------------------------------------

    pub(super) fn spec(&mut self, g: &Grant) -> Option<AssignmentSpec> {
        let wild = self.rng.percent(7);
        let fits = |m: &super::plain::Member| {
            wild || (m.active && g.provider_unit.is_none_or(|u| u == m.unit))
        };
        let people =
            self.m.members.iter().filter(|((o, _), x)| (wild || *o == g.provider) && fits(x));
        let people: Vec<PersonId> = people.map(|((_, p), _)| *p).collect();
        let roles =
            self.m.roles.iter().filter(|(id, r)| wild || (g.roles.contains_key(id) && !r.deleted));
        let roles: Vec<RoleId> = roles.map(|(id, _)| *id).collect();
        let accounts =
            if wild { self.m.accounts.keys().copied().collect() } else { self.accounts_on(g) };
        let all = self.rng.percent(55);
        let from = self.m.now.max(g.start);
        let left = g.end.since(from);
        let ends = self
            .rng
            .pick(&[20 * MINUTE, HOUR, left / 2, left, if wild { left + 1 } else { left }])
            .unwrap();
        let list: BTreeSet<AccountId> = self.rng.some(&accounts).into_iter().collect();
        Some(AssignmentSpec {
            person: self.rng.pick(&people)?,
            roles: self.rng.some(&roles),
            accounts: if all { Accounts::All } else { Accounts::List(list) },
            ends_at: self.rng.percent(30).then(|| from.plus(ends.min(left.max(ends - 1)))),
        })
    }

    pub fn assign(&mut self) -> Option<Step> {
        let (grant, g) = self.standing()?;
        let spec = self.spec(&g)?;
        step(self.admin(g.provider)?, Command::Assign { grant, spec })
    }

    pub fn unassign(&mut self) -> Option<Step> {
        let (grant, person) = self.assigned()?;
        let g = self.m.grants[&grant].clone();
        let successor = if self.rng.percent(30) { self.spec(&g) } else { None };
        step(self.admin(g.provider)?, Command::Unassign { grant, person, successor })
    }

    /// The whole set of a grant: most of those who are on it as they are, some otherwise, some new.
    pub fn set_assignments(&mut self) -> Option<Step> {
        let (grant, g) = self.standing()?;
        let on = self.m.assigned.iter().filter(|((id, _), _)| *id == grant);
        let as_it_is = on.map(|((_, person), a)| AssignmentSpec {
            person: *person,
            roles: a.roles.iter().copied().collect(),
            accounts: a.accounts.clone().map_or(Accounts::All, Accounts::List),
            ends_at: (a.ends != Instant::NEVER).then_some(a.ends),
        });
        let as_it_is: Vec<AssignmentSpec> = as_it_is.collect();
        let mut people: Vec<AssignmentSpec> = Vec::new();
        for spec in as_it_is {
            if self.rng.percent(70) {
                people.push(spec);
            }
        }
        for _ in 0..self.rng.below(3) {
            let spec = self.spec(&g)?;
            if !self.rng.percent(4) {
                people.retain(|s| s.person != spec.person);
            }
            people.push(spec);
        }
        step(self.admin(g.provider)?, Command::SetAssignments { grant, people })
    }

    pub fn leave(&mut self) -> Option<Step> {
        let (grant, person) = self.assigned()?;
        step(By::Person(person, false), Command::Unassign { grant, person, successor: None })
    }
}

/// Whether a caller can be exchanged for another one in a step.
pub fn is_anybodys(command: &Command) -> bool {
    !matches!(
        command,
        Command::SignIn { .. }
            | Command::SignOut
            | Command::SignOutEverywhere
            | Command::NoteDue
            | Command::Restore { .. }
    )
}
