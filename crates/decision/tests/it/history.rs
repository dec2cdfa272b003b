//! A random history: three organisations that let each other in, and whatever can happen to them.
//! Most steps are tried without asking whether they are allowed; a refusal is part of life.

use comity_domain::application::Policy;
use comity_domain::command::{Caller, Command};
use comity_domain::grant::{GrantPhase, Narrowing};
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{
    AccountId, ApplicationId, GrantId, OrganisationId, PersonId, RoleId, SessionId,
};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::{Accounts, Standing};
use comity_domain::person::PortalRole;
use comity_domain::role::{Mode, Modes};
use comity_domain::time::{DAY, Days, HOUR, MINUTE, Minutes};

use crate::world::{World, inside, perms};

/// A small generator, so that each run is the same (SplitMix64).
#[derive(Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n as u64).max(1)).unwrap()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn of<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        (!items.is_empty()).then(|| items[self.below(items.len())].clone())
    }

    pub fn some<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        items.iter().filter(|_| !self.one_in(3)).cloned().collect()
    }
}

pub const PERMISSIONS: [&str; 7] = [
    "boats:read",
    "boats:write",
    "berths:read",
    "berths:assign",
    "money:read",
    "money:send",
    "papers:sign",
];
pub const ORGANISATIONS: [&str; 3] = ["harbour", "brokers", "yard"];
const MEMBERS: [&str; 3] = ["chief", "rita", "ugo"];
const UNITS: [&str; 2] = ["north", "south"];
const ACCOUNTS: [&str; 4] = ["pier", "quay", "dock", "slip"];
const ROLES: [&str; 3] = ["keeper", "reader", "clerk"];

pub struct History {
    pub w: World,
    pub chance: Chance,
    pub orgs: Vec<OrganisationId>,
    pub ships: ApplicationId,
}

impl History {
    pub fn begin(seed: u64) -> Self {
        let mut w = World::seeded(seed);
        let operate = w.operate();
        let permissions = perms(&["*:read", "boats:*"]);
        let (code, audience) = ("ships".into(), "https://ships.example".into());
        w.must(&operate, Command::PutApplication { code, audience, permissions, launch_url: None });
        let ships = w.state.application_by_audience("https://ships.example").unwrap();
        let orgs: Vec<_> =
            ORGANISATIONS.iter().map(|o| w.organisation(o, &format!("The {o}"))).collect();
        for org in &orgs {
            for unit in UNITS {
                w.unit(*org, unit);
            }
            for (n, account) in ACCOUNTS.iter().enumerate() {
                w.account_in(*org, account, UNITS.get(n).copied());
            }
            w.role(*org, "keeper", &["boats:*", "berths:*", "money:send"]);
            w.role(*org, "reader", &["*:read"]);
            w.role(*org, "clerk", &["papers:*", "berths:read"]);
            w.admin(*org, "chief");
            w.admin(*org, "mate");
            for member in &MEMBERS[1..] {
                w.member(*org, member, None);
            }
            for (member, roles) in [("rita", vec!["keeper", "reader"]), ("ugo", vec!["clerk"])] {
                let mut put = w.member_spec(*org, member, None);
                put.roles = Some(roles.into_iter().map(Into::into).collect());
                w.must(&w.provision(), Command::PutMember(put));
            }
        }
        let mut made = Self { w, chance: Chance(seed), orgs, ships };
        for _ in 0..4 {
            made.let_in();
        }
        made
    }

    fn try_it(&mut self, caller: &Caller, command: Command) -> bool {
        self.w.run(caller, command).is_ok()
    }

    fn org(&mut self) -> OrganisationId {
        self.chance.of(&self.orgs).unwrap()
    }

    fn member(&self, org: OrganisationId, external: &str) -> Option<PersonId> {
        let lookup = comity_domain::text::Lookup::Member(org);
        self.w.state.words.find(lookup, external).map(PersonId)
    }

    /// A sign-in, if that is possible now.
    fn signed_in(&mut self, org: OrganisationId, external: &str) -> Option<(PersonId, Caller)> {
        let person = self.member(org, external)?;
        let active = self.w.state.active_member(org, person).is_some();
        active.then(|| (person, self.w.sign_in(person)))
    }

    pub fn accounts(&self, org: OrganisationId) -> Vec<AccountId> {
        self.w.state.accounts_of(org).collect()
    }

    fn some_accounts(&mut self, org: OrganisationId) -> Accounts {
        let all = self.accounts(org);
        let some: std::collections::BTreeSet<_> = self.chance.some(&all).into_iter().collect();
        if self.chance.one_in(2) || some.is_empty() { Accounts::All } else { Accounts::List(some) }
    }

    fn grants(&self) -> Vec<GrantId> {
        let now = self.w.now;
        self.w
            .state
            .grants
            .iter()
            .filter(|(_, g)| g.phase(now) == GrantPhase::Active)
            .map(|(id, _)| id)
            .collect()
    }

    fn live_sessions(&self) -> Vec<SessionId> {
        let now = self.w.now;
        self.w.state.sessions.iter().filter(|(_, s)| s.is_active(now)).map(|(id, _)| id).collect()
    }

    /// Asked, approved, assigned, entered.
    fn let_in(&mut self) -> Option<()> {
        let (customer, provider) = (self.org(), self.org());
        let (_, by_provider) = self.signed_in(provider, "chief")?;
        let (_, by_customer) =
            self.signed_in(customer, "chief").or_else(|| self.signed_in(customer, "mate"))?;
        let mut ask = self.w.ask_spec(provider, customer);
        if self.chance.one_in(4) {
            ask.level = "referral".into();
            ask.modes = [Mode::View].into_iter().collect();
        }
        if self.chance.one_in(5) {
            ask.unit = self.chance.of(&UNITS).map(Into::into);
        }
        let modes = ask.modes;
        self.w.run(&by_provider, Command::Ask(ask)).ok()?;
        let request = self.w.state.requests_from(provider).next_back()?;
        let roles: Vec<RoleId> = self.w.state.roles_of(customer).map(|(id, _)| id).collect();
        let mut terms = self.w.terms(&self.chance.clone().some(&roles));
        self.chance.next();
        terms.accounts = self.some_accounts(customer);
        terms.modes = modes;
        if self.chance.one_in(4) {
            terms.unit = self.chance.of(&self.w.state.units_of(customer).collect::<Vec<_>>());
        }
        terms.days = Days(1 + u32::try_from(self.chance.below(20)).unwrap());
        terms.cap = self.chance.one_in(2).then_some(Minutes(20));
        let summary = self.w.summary(request, &terms).ok()?;
        let pinned: Vec<RoleId> = terms.roles.iter().copied().collect();
        self.w.run(&by_customer, Command::Approve { request, terms, summary }).ok()?;
        let grant = self.w.state.grants_to(provider).next_back()?;
        for external in MEMBERS {
            if let Some(person) = self.member(provider, external) {
                let mut spec = self.w.assignment_spec(person, &self.chance.some(&pinned));
                spec.accounts = self.some_accounts(customer);
                spec.ends_at = self.chance.one_in(3).then(|| self.w.now.plus(15 * MINUTE));
                self.try_it(&by_provider, Command::Assign { grant, spec });
            }
        }
        for _ in 0..4 {
            self.enter();
        }
        Some(())
    }

    fn enter(&mut self) -> Option<()> {
        let grants = self.grants();
        let grant = self.chance.of(&grants)?;
        let (customer, provider) = {
            let g = self.w.state.grants.get(grant)?;
            (g.customer.organisation, g.provider.organisation)
        };
        let external = self.chance.of(&MEMBERS)?;
        let (_, caller) = self.signed_in(provider, external)?;
        let mode = self.chance.of(&Mode::ALL)?;
        let mut enter = self.w.enter_spec(customer, mode);
        enter.grant = Some(grant);
        if self.chance.one_in(3) {
            enter.audience = "https://ships.example".into();
        }
        self.try_it(&caller, Command::Enter(enter)).then_some(())
    }

    /// One thing happens, or is refused.
    pub fn step(&mut self) {
        let _ = match self.chance.below(25) {
            0 | 1 => self.let_in(),
            2..=7 => self.enter(),
            8..=11 => self.between(),
            12..=15 => self.provisioned(),
            16 => self.platform(),
            17 | 18 => self.stays(),
            19 | 20 => self.locks(),
            23 => self.halts(),
            21 | 22 => {
                self.w.later([MINUTE, 7 * MINUTE, 20 * MINUTE][self.chance.below(3)]);
                Some(())
            }
            _ => {
                self.w.later([HOUR, 5 * HOUR, 2 * DAY][self.chance.below(3)]);
                self.try_it(&Caller::system(), Command::NoteDue).then_some(())
            }
        };
    }

    fn between(&mut self) -> Option<()> {
        let grants = self.grants();
        let grant = self.chance.of(&grants)?;
        let g = self.w.state.grants.get(grant)?.clone();
        let (_, by_customer) = self.signed_in(g.customer.organisation, "chief")?;
        let (_, by_provider) = self.signed_in(g.provider.organisation, "chief")?;
        let roles: Vec<RoleId> = g.roles.iter().map(|p| p.role).collect();
        let (caller, command) = match self.chance.below(8) {
            0 => (by_customer, Command::Revoke { grant }),
            1 => (by_provider, Command::GiveUp { grant }),
            2 | 3 => {
                let mut narrowing = Narrowing::default();
                match self.chance.below(4) {
                    0 => narrowing.roles = Some(self.chance.some(&roles).into_iter().collect()),
                    1 => narrowing.accounts = Some(self.some_accounts(g.customer.organisation)),
                    2 => {
                        narrowing.modes =
                            Some(self.chance.of(&Mode::ALL).into_iter().collect::<Modes>())
                    }
                    _ => narrowing.end = Some(self.w.now.plus(10 * MINUTE)),
                }
                (by_customer, Command::Narrow { grant, narrowing, version: None })
            }
            4 | 5 => {
                let external = self.chance.of(&MEMBERS)?;
                let person = self.member(g.provider.organisation, external)?;
                let mut spec = self.w.assignment_spec(person, &self.chance.some(&roles));
                spec.accounts = self.some_accounts(g.customer.organisation);
                (by_provider, Command::Assign { grant, spec })
            }
            _ => {
                let on: Vec<PersonId> = self.w.state.assigned_to(grant).map(|(p, _)| p).collect();
                let person = self.chance.of(&on)?;
                (by_provider, Command::Unassign { grant, person, successor: None })
            }
        };
        self.try_it(&caller, command).then_some(())
    }

    fn provisioned(&mut self) -> Option<()> {
        let organisation = self.org();
        let active = !self.chance.one_in(3);
        let command = match self.chance.below(9) {
            0 => Command::PutUnit {
                organisation,
                external: self.chance.of(&UNITS)?.into(),
                name: "Side".into(),
                active,
            },
            1 => {
                Command::RemoveAccount { organisation, external: self.chance.of(&ACCOUNTS)?.into() }
            }
            2 => {
                let unit = self.chance.of(&UNITS).map(Into::into);
                Command::PutAccount {
                    organisation,
                    external: self.chance.of(&ACCOUNTS)?.into(),
                    name: "Again".into(),
                    unit,
                }
            }
            3 | 4 => {
                let some = self.chance.some(&PERMISSIONS);
                let code: String = self.chance.of(&ROLES)?.into();
                Command::PutRole {
                    organisation,
                    code,
                    name: "Changed".into(),
                    permissions: perms(&some),
                }
            }
            5 if self.chance.one_in(3) => {
                Command::DeleteRole { organisation, code: self.chance.of(&ROLES)?.into() }
            }
            6 if self.chance.one_in(3) => {
                Command::RemoveMember { organisation, external: self.chance.of(&MEMBERS)?.into() }
            }
            _ => {
                let external = self.chance.of(&MEMBERS)?;
                let portal = (external == "chief").then_some(PortalRole::Admin);
                let mut put = self.w.member_spec(organisation, external, portal);
                put.active = active;
                put.unit = self.chance.one_in(3).then(|| "north".into());
                if self.chance.one_in(3) {
                    let some = self.chance.some(&ROLES);
                    put.roles = Some(some.into_iter().map(Into::into).collect());
                }
                Command::PutMember(put)
            }
        };
        let caller = self.w.provision();
        self.try_it(&caller, command).then_some(())
    }

    fn platform(&mut self) -> Option<()> {
        let operate = self.w.operate();
        let command = match self.chance.below(4) {
            0 => {
                let never = if self.chance.one_in(2) {
                    perms(&["money:send", "papers:*"])
                } else {
                    perms(&[])
                };
                Command::SetPolicy {
                    policy: Policy { never_delegable: never, ..Policy::default() },
                }
            }
            1 => {
                let permissions =
                    perms(if self.chance.one_in(2) { &["*:read", "boats:*"] } else { &["*"] });
                Command::PutApplication {
                    code: "ships".into(),
                    audience: "https://ships.example".into(),
                    permissions,
                    launch_url: None,
                }
            }
            _ => {
                let standing =
                    if self.chance.one_in(3) { Standing::Suspended } else { Standing::Active };
                Command::SetStanding { organisation: self.org(), standing }
            }
        };
        self.try_it(&operate, command).then_some(())
    }

    fn stays(&mut self) -> Option<()> {
        let live = self.live_sessions();
        let session = self.chance.of(&live)?;
        let customer = self
            .w
            .state
            .grants
            .get(self.w.state.sessions.get(session)?.grant)?
            .customer
            .organisation;
        if self.chance.one_in(2) {
            return self.try_it(&inside(session), Command::CloseSession { session }).then_some(());
        }
        let (_, caller) = self.signed_in(customer, "chief")?;
        self.try_it(&caller, Command::EndSession { session }).then_some(())
    }

    fn halts(&mut self) -> Option<()> {
        let standing: Vec<_> = self.w.state.halts.iter().map(|(id, _)| id).collect();
        if let Some(halt) = self.chance.of(&standing) {
            return self.try_it(&self.w.operate(), Command::LiftHalt { halt }).then_some(());
        }
        let grants = self.grants();
        let grant = self.chance.of(&grants)?;
        let provider = self.w.state.grants.get(grant)?.provider.organisation;
        let session = self.w.state.sessions_under(grant).next_back();
        let target = match (self.chance.below(4), session) {
            (0, Some(session)) => HaltTarget::Session(session),
            (1, _) => HaltTarget::Organisation(provider),
            (2, Some(session)) => HaltTarget::Person(self.w.state.sessions.get(session)?.person),
            _ => HaltTarget::Grant(grant),
        };
        self.try_it(&Caller::system(), Command::Halt { target, invariant: 6 }).then_some(())
    }

    fn locks(&mut self) -> Option<()> {
        let customer = self.org();
        let (_, caller) = self.signed_in(customer, "chief")?;
        let placed: Vec<_> = self.w.state.locks_of(customer).map(|(id, _)| id).collect();
        if let Some(lock) = self.chance.of(&placed) {
            return self.try_it(&caller, Command::Unlock { lock }).then_some(());
        }
        let partner = self.org();
        let target = match self.member(partner, self.chance.clone().of(&MEMBERS)?) {
            Some(person) if self.chance.one_in(2) => LockTarget::Person(person),
            _ => LockTarget::Organisation(partner),
        };
        self.try_it(&caller, Command::Lock { customer, target, reason: None }).then_some(())
    }
}
