//! What is true, as plainly as it can be said: maps, and what follows after each change by looking
//! at everything. Nothing here calls a rule of the domain; only its data types are shared.

use std::collections::{BTreeMap, BTreeSet};

use comity_domain::application::KeyUse;
use comity_domain::consent::Terms;
use comity_domain::grant::GrantEnd;
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{
    AccountId, Digest32, GrantId, HaltId, KeyId, LockId, OrganisationId, PersonId, RequestId,
    RoleId, SessionId, SignInId, UnitId,
};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::{Settings, Standing};
use comity_domain::permission::Permissions;
use comity_domain::person::PortalRole;
use comity_domain::refusal::Reason;
use comity_domain::role::{Mode, Modes};
use comity_domain::text::Subject;
use comity_domain::time::{DAY, Instant};

/// `(resource, verb)`, either of which may be `*`.
pub type Patterns = Vec<(String, String)>;

pub fn patterns(set: &Permissions) -> Patterns {
    let pair = |text: String| match text.split_once(':') {
        Some((resource, verb)) => (resource.to_owned(), verb.to_owned()),
        None => ("*".to_owned(), "*".to_owned()),
    };
    set.texts().map(pair).collect()
}

pub fn permits(set: &Patterns, asked: (&str, &str)) -> bool {
    set.iter().any(|(r, v)| (r == "*" || r == asked.0) && (v == "*" || v == asked.1))
}

#[derive(Clone, Debug, PartialEq)]
pub struct Org {
    pub external: String,
    pub standing: Standing,
    pub renames: u32,
    pub default_unit: UnitId,
    pub code: Digest32,
    pub settings: Settings,
    pub version: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    pub org: OrganisationId,
    pub external: Option<String>,
    pub active: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    pub org: OrganisationId,
    pub unit: UnitId,
    pub external: String,
    pub linked: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    pub org: OrganisationId,
    pub code: String,
    pub versions: Vec<Patterns>,
    pub deleted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub unit: UnitId,
    pub portal: Option<PortalRole>,
    pub active: bool,
    pub external: String,
    /// Works there for a partner.
    pub superseded: bool,
    /// Of the own organisation, in order.
    pub roles: Vec<RoleId>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    pub email: String,
    pub name: String,
    pub epoch: u32,
    /// Whether the address is proven.
    pub proven: bool,
    /// Whether there is a password.
    pub enrolled: bool,
    /// By which token one can be set, and until when.
    pub enrolment: Option<(Digest32, Instant)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SignIn {
    pub person: PersonId,
    pub at: Instant,
    pub until: Instant,
    pub epoch: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    TakenBack(Instant),
    Pending,
    Approved(GrantId),
    Denied(Instant),
    Cancelled,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub customer: OrganisationId,
    pub provider: OrganisationId,
    pub unit: Option<UnitId>,
    pub by: PersonId,
    pub at: Instant,
    pub level: String,
    pub modes: Modes,
    pub days: u32,
    pub roles: Vec<String>,
    pub accounts: Vec<String>,
    /// What the customer has said yes to, where it is an offer.
    pub offered: Option<Offered>,
    pub fate: Fate,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Offered {
    pub roles: BTreeMap<RoleId, u32>,
    pub accounts: Option<BTreeSet<AccountId>>,
    pub starts_at: Option<Instant>,
    pub cap: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    pub request: RequestId,
    pub customer: OrganisationId,
    pub customer_unit: Option<UnitId>,
    pub provider: OrganisationId,
    pub provider_unit: Option<UnitId>,
    pub level: String,
    pub roles: BTreeMap<RoleId, u32>,
    pub accounts: Option<BTreeSet<AccountId>>,
    pub modes: Modes,
    pub start: Instant,
    pub end: Instant,
    pub cap: u32,
    pub version: u32,
    pub unattended: bool,
    /// By which all members of the partner are on it.
    pub auto: Option<Auto>,
    /// Since when it waits for its customer, after a restore.
    pub unconfirmed: Option<Instant>,
    pub ended: Option<GrantEnd>,
}

/// The rule that puts all members on a grant. What follows from it is written down for each of them,
/// anew after each change.
#[derive(Clone, Debug, PartialEq)]
pub struct Auto {
    pub roles: BTreeSet<RoleId>,
    pub only: Option<BTreeSet<PortalRole>>,
    pub no_roles: bool,
    pub left_out: BTreeSet<PersonId>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    pub roles: BTreeSet<RoleId>,
    pub accounts: Option<BTreeSet<AccountId>>,
    pub ends: Instant,
    pub no_roles: bool,
    /// By the rule.
    pub auto: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub grant: GrantId,
    pub person: PersonId,
    pub mode: Mode,
    pub started: Instant,
    pub deadline: Instant,
    pub token: Digest32,
    pub ended: Option<(Instant, Reason)>,
}

/// What somebody saw before saying yes.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub request: RequestId,
    pub terms: Terms,
    pub roles: Vec<(RoleId, u32)>,
    pub cap: u32,
    pub never: Patterns,
    pub renames: (u32, u32),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    /// The clock, which never goes back behind the last row.
    pub now: Instant,
    /// The time of the last row.
    pub last: Instant,
    pub never: Patterns,
    pub policy_cap: u32,
    /// Whether offers need no acceptance.
    pub at_once: bool,
    /// Whom each partner ID names.
    pub partner_ids: BTreeMap<Digest32, OrganisationId>,
    pub keys: BTreeMap<KeyId, KeyUse>,
    pub orgs: BTreeMap<OrganisationId, Org>,
    pub units: BTreeMap<UnitId, Unit>,
    pub accounts: BTreeMap<AccountId, Account>,
    pub roles: BTreeMap<RoleId, Role>,
    pub people: BTreeMap<PersonId, Person>,
    pub members: BTreeMap<(OrganisationId, PersonId), Member>,
    pub left: BTreeMap<(OrganisationId, PersonId), Instant>,
    pub sign_ins: BTreeMap<SignInId, SignIn>,
    pub requests: BTreeMap<RequestId, Request>,
    pub grants: BTreeMap<GrantId, Grant>,
    pub assigned: BTreeMap<(GrantId, PersonId), Assignment>,
    pub sessions: BTreeMap<SessionId, Session>,
    pub locks: BTreeMap<LockId, (OrganisationId, LockTarget)>,
    pub erased: BTreeSet<Subject>,
    pub halts: BTreeMap<HaltId, HaltTarget>,
}

/// What the two built-in levels say: permissions, modes, days, minutes.
pub fn level(code: &str) -> (Patterns, Modes, u32, u32) {
    let pattern = |r: &str, v: &str| vec![(r.to_owned(), v.to_owned())];
    match code {
        "partner" => (
            pattern("*", "*"),
            [Mode::Direct, Mode::View, Mode::ActAs].into_iter().collect(),
            730,
            480,
        ),
        "referral" => {
            (pattern("*", "read"), [Mode::Direct, Mode::View].into_iter().collect(), 90, 480)
        }
        other => panic!("no level {other}"),
    }
}

impl Plain {
    // -- what is alive ----------------------------------------------------------------------------

    pub fn org_active(&self, org: OrganisationId) -> bool {
        self.orgs[&org].standing == Standing::Active
    }

    pub fn side_active(&self, org: OrganisationId, unit: Option<UnitId>) -> bool {
        self.org_active(org) && unit.is_none_or(|u| self.units[&u].active)
    }

    pub fn active_member(&self, org: OrganisationId, person: PersonId) -> Option<&Member> {
        let member = self.members.get(&(org, person))?;
        (member.active
            && !member.superseded
            && self.units[&member.unit].active
            && self.org_active(org))
        .then_some(member)
    }

    pub fn is_active_admin(&self, org: OrganisationId, person: PersonId) -> bool {
        self.members.get(&(org, person)).is_some_and(|m| {
            m.active
                && !m.superseded
                && m.portal == Some(PortalRole::Admin)
                && self.units[&m.unit].active
        })
    }

    pub fn locked(
        &self,
        customer: OrganisationId,
        provider: OrganisationId,
        person: PersonId,
    ) -> bool {
        self.locks.values().any(|(by, target)| {
            *by == customer
                && (*target == LockTarget::Organisation(provider)
                    || *target == LockTarget::Person(person))
        })
    }

    /// Whether Comity stopped the grant, one of its sides or this person.
    pub fn halted(&self, id: GrantId, person: PersonId) -> bool {
        let grant = &self.grants[&id];
        self.halts.values().any(|target| match target {
            HaltTarget::Grant(g) => *g == id,
            HaltTarget::Person(p) => *p == person,
            HaltTarget::Organisation(o) => *o == grant.customer || *o == grant.provider,
            HaltTarget::Session(_) | HaltTarget::Key(_) => false,
        })
    }

    pub fn pending(&self, request: &Request) -> bool {
        request.fate == Fate::Pending && self.now < request.at.plus(30 * DAY)
    }

    pub fn stands(&self, grant: &Grant) -> bool {
        grant.ended.is_none() && self.now < grant.end
    }

    pub fn running(&self, grant: &Grant) -> bool {
        self.stands(grant) && self.now >= grant.start && grant.unconfirmed.is_none()
    }

    pub fn gives_access(&self, assignment: &Assignment) -> bool {
        !assignment.no_roles && self.now < assignment.ends
    }

    pub fn live_session(&self, session: &Session) -> bool {
        session.ended.is_none() && self.now < session.deadline
    }

    /// Whether an account is on the customer's side of a grant.
    pub fn on_side(&self, grant: &Grant, account: AccountId) -> bool {
        self.accounts.get(&account).is_some_and(|a| {
            a.org == grant.customer && grant.customer_unit.is_none_or(|u| u == a.unit)
        })
    }

    pub fn people_on(&self, grant: GrantId) -> Vec<PersonId> {
        self.assigned.keys().filter(|(g, _)| *g == grant).map(|(_, p)| *p).collect()
    }

    /// Whether an assignment gives access and its person takes part.
    pub fn attends(&self, grant: GrantId, person: PersonId) -> bool {
        let provider = self.grants[&grant].provider;
        let assigned = self.assigned.get(&(grant, person)).is_some_and(|a| self.gives_access(a));
        assigned && self.active_member(provider, person).is_some()
    }

    pub fn active_on(&self, grant: GrantId) -> usize {
        self.people_on(grant).into_iter().filter(|p| self.attends(grant, *p)).count()
    }

    // -- what is forgotten, as of an instant ------------------------------------------------------

    pub fn known_request(&self, id: RequestId, at: Instant) -> Option<&Request> {
        self.requests.get(&id).filter(|r| at < r.at.plus(400 * DAY))
    }

    pub fn known_grant(&self, id: GrantId, at: Instant) -> Option<&Grant> {
        self.grants.get(&id).filter(|g| at < g.end.plus(400 * DAY))
    }

    pub fn known_session(&self, id: SessionId, at: Instant) -> Option<&Session> {
        let found = self.sessions.get(&id).filter(|s| at < s.deadline.plus(DAY));
        found.filter(|s| self.known_grant(s.grant, at).is_some())
    }

    // -- decisions --------------------------------------------------------------------------------

    /// Why a session that nobody ended must not go on, apart from the clock.
    fn dead(&self, s: &Session) -> Option<Reason> {
        let grant = &self.grants[&s.grant];
        match grant.ended {
            Some(GrantEnd::Revoked) => return Some(Reason::Revoked),
            Some(_) => return Some(Reason::GrantEnded),
            None => {}
        }
        if self.locked(grant.customer, grant.provider, s.person) || self.halted(s.grant, s.person) {
            return Some(Reason::Locked);
        }
        if grant.unconfirmed.is_some() {
            return Some(Reason::Unconfirmed);
        }
        match self.assigned.get(&(s.grant, s.person)) {
            Some(a) if !a.no_roles && grant.modes.contains(s.mode) => {}
            _ => return Some(Reason::AssignmentLost),
        }
        let sides = self.side_active(grant.customer, grant.customer_unit)
            && self.side_active(grant.provider, grant.provider_unit)
            && self.active_member(grant.provider, s.person).is_some();
        if sides { None } else { Some(Reason::Suspended) }
    }

    /// Whether a session may do this: `Some(account)` names a single account, which may be gone;
    /// `None` names the organisation as a whole.
    pub fn decide(
        &self,
        id: SessionId,
        asked: (&str, &str),
        org: OrganisationId,
        account: Option<AccountId>,
    ) -> Reason {
        let s = &self.sessions[&id];
        if let Some((_, reason)) = s.ended {
            return reason;
        }
        if self.now >= s.deadline {
            return Reason::SessionExpired;
        }
        if let Some(reason) = self.dead(s) {
            return reason;
        }
        let grant = &self.grants[&s.grant];
        let known = account.is_none_or(|a| self.accounts.get(&a).is_some_and(|a| a.org == org));
        if org != grant.customer || !known {
            return Reason::WrongResource;
        }
        if account.is_some_and(|a| !self.units[&self.accounts[&a].unit].active) {
            return Reason::Suspended;
        }
        if permits(&self.never, asked) {
            return Reason::NeverDelegable;
        }
        let assignment = &self.assigned[&(s.grant, s.person)];
        let by_role = assignment.roles.iter().any(|id| {
            let role = &self.roles[id];
            grant.roles.get(id).is_some_and(|pinned| {
                !role.deleted
                    && permits(&role.versions[*pinned as usize - 1], asked)
                    && permits(role.versions.last().unwrap(), asked)
            })
        });
        let by_level = permits(&level(&grant.level).0, asked);
        let by_mode = s.mode != Mode::View || asked.1 == "read";
        if !(by_role && by_level && by_mode) {
            return Reason::NoRole;
        }
        let Some(account) = account else {
            // One unit's accounts are not the whole organisation.
            let whole = grant.customer_unit.is_none();
            let all = whole && grant.accounts.is_none() && assignment.accounts.is_none();
            return if all { Reason::Allowed } else { Reason::AccountRequired };
        };
        let listed =
            |list: &Option<BTreeSet<AccountId>>| list.as_ref().is_none_or(|l| l.contains(&account));
        if self.on_side(grant, account) && listed(&grant.accounts) && listed(&assignment.accounts) {
            Reason::Allowed
        } else {
            Reason::AccountNotInGrant
        }
    }

    // -- what follows -----------------------------------------------------------------------------

    /// Looks at everything and lets happen what has to. `left` are the grants that a command took
    /// somebody off.
    pub fn follow(&mut self, mut left: BTreeSet<GrantId>) {
        let standing: Vec<GrantId> =
            self.grants.iter().filter(|(_, g)| self.stands(g)).map(|(id, _)| *id).collect();
        for id in standing {
            self.shrink(id);
            self.fit_rule(id);
            for person in self.people_on(id) {
                if !self.assigned[&(id, person)].auto && self.fit(id, person) {
                    left.insert(id);
                }
            }
        }
        self.cover();
        self.supersede(&mut left);
        let live: Vec<SessionId> =
            self.sessions.iter().filter(|(_, s)| self.live_session(s)).map(|(id, _)| *id).collect();
        for id in live {
            let session = self.sessions[&id].clone();
            if let Some(reason) = self.dead(&session) {
                self.sessions.get_mut(&id).unwrap().ended = Some((self.now, reason));
            } else {
                let latest = self.latest_end(session.grant, session.person);
                self.sessions.get_mut(&id).unwrap().deadline = session.deadline.min(latest);
            }
        }
        for id in left {
            if self.stands(&self.grants[&id]) && self.active_on(id) == 0 {
                self.grants.get_mut(&id).unwrap().unattended = true;
            }
        }
    }

    /// Whoever is on a grant has no door of their own in the customer any more.
    fn supersede(&mut self, left: &mut BTreeSet<GrantId>) {
        let own: Vec<_> =
            self.members.iter().filter(|(_, m)| !m.superseded).map(|(key, _)| *key).collect();
        for (org, person) in own {
            if self.works_in(org, person) {
                let others =
                    self.people.keys().any(|p| *p != person && self.is_active_admin(org, *p));
                if self.is_active_admin(org, person) && !others {
                    self.leave_out(org, person);
                    continue;
                }
                self.members.get_mut(&(org, person)).unwrap().superseded = true;
                let sent = self.assigned.keys().filter(|(_, p)| *p == person).map(|(id, _)| *id);
                left.extend(sent.filter(|id| self.grants[id].provider == org));
            }
        }
    }

    /// Writes down anew whom the rules put where.
    pub fn cover(&mut self) {
        self.assigned.retain(|_, a| !a.auto);
        for (id, grant) in &self.grants {
            let Some(rule) = &grant.auto else { continue };
            for ((org, person), member) in &self.members {
                let fits = *org == grant.provider
                    && grant.provider_unit.is_none_or(|u| u == member.unit)
                    && !rule.left_out.contains(person);
                let role = |only: &BTreeSet<_>| member.portal.is_some_and(|p| only.contains(&p));
                if fits && rule.only.as_ref().is_none_or(role) {
                    let (roles, no_roles) = (rule.roles.clone(), rule.no_roles);
                    let (accounts, ends) = (None, Instant::NEVER);
                    let row = Assignment { roles, accounts, ends, no_roles, auto: true };
                    self.assigned.entry((*id, *person)).or_insert(row);
                }
            }
        }
    }

    /// The ceiling leaves less of a rule, or nothing.
    fn fit_rule(&mut self, id: GrantId) {
        let grant = self.grants.get_mut(&id).unwrap();
        let Some(rule) = &mut grant.auto else { return };
        let kept: BTreeSet<RoleId> = rule
            .roles
            .iter()
            .copied()
            .filter(|r| grant.roles.contains_key(r) && !self.roles[r].deleted)
            .collect();
        if grant.accounts.as_ref().is_some_and(BTreeSet::is_empty) {
            grant.auto = None;
            grant.version += 1;
        } else if kept.is_empty() {
            grant.version += u32::from(!rule.no_roles);
            rule.no_roles = true;
        } else if kept != rule.roles {
            rule.roles = kept;
            grant.version += 1;
        }
    }

    /// A customer's last Admin is not superseded because of a rule.
    fn leave_out(&mut self, org: OrganisationId, person: PersonId) {
        let ways: Vec<GrantId> = self
            .assigned
            .iter()
            .filter(|((id, p), a)| {
                *p == person && a.auto && !a.no_roles && self.grants[id].customer == org
            })
            .map(|((id, _), _)| *id)
            .filter(|id| self.stands(&self.grants[id]))
            .collect();
        for id in ways {
            let grant = self.grants.get_mut(&id).unwrap();
            grant.auto.as_mut().unwrap().left_out.insert(person);
            grant.version += 1;
        }
        self.cover();
    }

    pub fn latest_end(&self, grant: GrantId, person: PersonId) -> Instant {
        self.grants[&grant].end.min(self.assigned[&(grant, person)].ends)
    }

    /// Accounts that are gone leave the grant's list.
    fn shrink(&mut self, id: GrantId) {
        let grant = self.grants[&id].clone();
        if let Some(list) = &grant.accounts {
            let kept: BTreeSet<AccountId> =
                list.iter().copied().filter(|a| self.accounts.contains_key(a)).collect();
            if kept.len() < list.len() {
                let grant = self.grants.get_mut(&id).unwrap();
                grant.accounts = Some(kept);
                grant.version += 1;
            }
        }
    }

    /// Whether the person lost the assignment, for a while or for good.
    fn fit(&mut self, id: GrantId, person: PersonId) -> bool {
        let grant = self.grants[&id].clone();
        let mut a = self.assigned[&(id, person)].clone();
        let belongs = self
            .members
            .get(&(grant.provider, person))
            .is_some_and(|m| grant.provider_unit.is_none_or(|u| u == m.unit));
        if let Some(list) = &mut a.accounts {
            list.retain(|x| {
                self.accounts.contains_key(x)
                    && grant.accounts.as_ref().is_none_or(|g| g.contains(x))
            });
        }
        let nothing =
            |list: &Option<BTreeSet<AccountId>>| list.as_ref().is_some_and(BTreeSet::is_empty);
        if !belongs || nothing(&a.accounts) || nothing(&grant.accounts) {
            self.assigned.remove(&(id, person));
            self.grants.get_mut(&id).unwrap().version += 1;
            return true;
        }
        let kept: BTreeSet<RoleId> = a
            .roles
            .iter()
            .copied()
            .filter(|r| grant.roles.contains_key(r) && !self.roles[r].deleted)
            .collect();
        let lost = kept.is_empty() && !a.no_roles;
        if kept.is_empty() {
            // Suspended as it is: what it would have is of no account until somebody edits it.
            self.assigned.get_mut(&(id, person)).unwrap().no_roles = true;
            return lost;
        }
        a.roles = kept;
        if a.ends != Instant::NEVER {
            a.ends = a.ends.min(grant.end);
        }
        self.assigned.insert((id, person), a);
        false
    }
}
