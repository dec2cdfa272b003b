//! One object at a time against the tables.

use std::collections::{BTreeMap, BTreeSet};

use super::Breach;
use crate::application::KeyUse;
use crate::assignment::{Assignment, AssignmentState, Basis};
use crate::grant::{Grant, GrantState};
use crate::halt::HaltTarget as On;
use crate::ids::{AccountId, GrantId, KeyId, OrganisationId, PersonId, RequestId, SessionId};
use crate::lock::LockTarget;
use crate::organisation::{Accounts, Party, Standing};
use crate::request::RequestState;
use crate::role::Mode;
use crate::session::{MOST_ACT_AS, MOST_OTHERS, Session, SessionState};
use crate::state::State;
use crate::time::{Days, Instant, Minutes};

/// No grant is longer, whatever the level and the policy of the day said.
pub(super) const LONGEST_GRANT: Days = Days(730);
/// No session is longer.
pub(super) const LONGEST_SESSION: Minutes = Minutes(480);

/// A state with what is gathered about it once.
pub(super) struct Facts<'s> {
    state: &'s State,
    now: Instant,
    /// From the locks themselves and not from the index that decisions use.
    locks: BTreeSet<(OrganisationId, LockTarget)>,
    halts: BTreeSet<On>,
    /// Sessions in progress that were looked at, by grant, person and whether they impersonate.
    stays: BTreeMap<(GrantId, PersonId, bool), usize>,
    pub(super) found: Vec<Breach>,
}

/// Whether a grant is neither ended nor over.
pub(super) fn stands(g: &Grant, now: Instant) -> bool {
    g.state == GrantState::Running && now < g.window.end
}

/// What a grant's rule gives to a person, by the tables themselves.
pub(super) fn by_rule<'s>(
    state: &'s State,
    g: &'s Grant,
    person: PersonId,
) -> Option<&'s Assignment> {
    let rule = g.auto.as_deref()?;
    let member = state.members.get(&(g.provider.organisation, person))?;
    let in_unit = g.provider.unit.is_none_or(|u| u == member.unit);
    let in_role = match (&rule.only, member.portal) {
        (None, _) => true,
        (Some(only), Some(role)) => only.contains(&role),
        (Some(_), None) => false,
    };
    (in_unit && in_role && !rule.left_out.contains(&person)).then_some(&rule.row)
}

/// Whether a session is in progress.
pub(super) fn runs(s: &Session, now: Instant) -> bool {
    s.state == SessionState::Running && now < s.deadline
}

/// Whether a member can act: the membership, its unit and its organisation.
pub(super) fn acts(state: &State, organisation: OrganisationId, person: PersonId) -> bool {
    let member = state.members.get(&(organisation, person));
    member.is_some_and(|m| {
        m.standing == Standing::Active
            && m.superseded.is_none()
            && takes_part(state, Party { organisation, unit: Some(m.unit) })
    })
}

/// Whether an organisation and the unit named are active.
fn takes_part(state: &State, party: Party) -> bool {
    let organisation = state.organisations.get(party.organisation);
    let unit = |u| state.units.get(u).is_some_and(|u| u.standing == Standing::Active);
    organisation.is_some_and(|o| o.standing == Standing::Active) && party.unit.is_none_or(unit)
}

/// Whether an assignment gives access.
pub(super) fn gives(
    state: &State,
    g: &Grant,
    person: PersonId,
    a: &Assignment,
    t: Instant,
) -> bool {
    a.state == AssignmentState::Active
        && t < a.ends_at
        && (a.basis == Basis::Invited || acts(state, g.provider.organisation, person))
}

impl<'s> Facts<'s> {
    pub(super) fn new(state: &'s State, now: Instant) -> Self {
        Self {
            state,
            now,
            locks: state.locks.iter().map(|(_, l)| (l.customer, l.target)).collect(),
            halts: state.halts.iter().map(|(_, h)| h.target).collect(),
            stays: BTreeMap::new(),
            found: Vec::new(),
        }
    }

    fn must(&mut self, holds: bool, invariant: u8, about: On, what: &'static str) {
        if !holds {
            self.found.push(Breach { invariant, about: Some(about), what });
        }
    }

    pub(super) fn everything(&mut self) {
        let s = self.state;
        s.grants.iter().for_each(|(id, _)| self.grant(id));
        s.sessions.iter().for_each(|(id, _)| self.session(id));
        s.people.iter().for_each(|(id, _)| self.person(id));
        s.organisations.iter().for_each(|(id, _)| self.organisation(id));
        s.keys.iter().for_each(|(id, _)| self.key(id));
        // By the tables themselves, for what no index leads to.
        for ((organisation, person), member) in &s.members {
            let right = self.owns_unit(*organisation, Some(member.unit));
            self.must(right, 1, On::Person(*person), "the member's unit is another organisation's");
        }
        let mut answered = BTreeMap::new();
        for (id, g) in s.grants.iter() {
            let first = answered.insert(g.request, id).is_none();
            self.must(first, 3, On::Grant(id), "the request has two grants");
        }
        for (_, a) in s.accounts.iter() {
            let right = self.owns_unit(a.organisation, Some(a.unit));
            let on = On::Organisation(a.organisation);
            self.must(right, 1, on, "an account's unit is another organisation's");
        }
        for (token, id) in &s.session_tokens {
            let right = s.sessions.get(*id).is_some_and(|x| x.token == *token);
            self.must(
                right,
                23,
                On::Session(*id),
                "a token leads to a session that is not its own",
            );
        }
        for (digest, id) in &s.key_digests {
            let right = s.keys.get(*id).is_some_and(|k| k.digest == *digest);
            self.must(right, 23, On::Key(*id), "a secret leads to a key that is not its own");
        }
        for (id, x) in s.sign_ins.iter() {
            let epoch = s.people.get(x.person).is_some_and(|p| x.auth_epoch <= p.auth_epoch);
            let own = s.sign_in_digests.get(&x.token) == Some(&id);
            self.must(own && epoch, 23, On::Person(x.person), "a sign-in is not as its token says");
        }
        for (digest, id) in &s.sign_in_digests {
            let of = s.sign_ins.get(*id);
            if let Some(x) = of.filter(|x| x.token != *digest) {
                self.must(false, 23, On::Person(x.person), "a token leads to another's sign-in");
            }
        }
        self.locks_and_index();
    }

    /// A lock that the index does not know would not be seen by a decision.
    fn locks_and_index(&mut self) {
        for (id, lock) in self.state.locks.iter() {
            let known = self.state.locks_on.get(&(lock.customer, lock.target)) == Some(&id);
            let on = match lock.target {
                LockTarget::Organisation(provider) => On::Organisation(provider),
                LockTarget::Person(person) => On::Person(person),
            };
            self.must(known, 33, on, "a lock in force is not looked at");
        }
        for (id, halt) in self.state.halts.iter() {
            let known = self.state.halts_on.get(&halt.target) == Some(&id);
            self.must(known, 33, halt.target, "a halt in force is not looked at");
        }
    }

    fn owns_unit(&self, organisation: OrganisationId, unit: Option<crate::ids::UnitId>) -> bool {
        let own = |u| self.state.units.get(u).is_some_and(|u| u.organisation == organisation);
        self.state.organisations.get(organisation).is_some() && unit.is_none_or(own)
    }

    fn owns_account(&self, side: Party, account: AccountId) -> bool {
        self.state.accounts.get(account).is_some_and(|a| {
            a.organisation == side.organisation && side.unit.is_none_or(|u| u == a.unit)
        })
    }

    pub(super) fn grant(&mut self, id: GrantId) {
        let Some(g) = self.state.grants.get(id) else {
            return;
        };
        let on = On::Grant(id);
        let distinct = g.customer.organisation != g.provider.organisation;
        self.must(distinct, 2, on, "customer and provider are the same");
        self.provenance(id, g);
        // A renewal counts from its decision: what is still to come is what has a limit.
        let whole = g.window.end.since(g.window.start);
        let length = g.window.end.since(g.window.start.max(self.now));
        let level = g.level.version.checked_sub(1);
        let level = level.and_then(|v| self.state.levels.get(&g.level.code)?.get(v as usize));
        let most = level.map_or(LONGEST_GRANT, |l| l.longest_grant.min(LONGEST_GRANT));
        self.must(whole > 0 && length <= most.millis(), 7, on, "the window is empty or too long");
        if !stands(g, self.now) {
            let nobody =
                g.state == GrantState::Running || self.state.assigned_to(id).next().is_none();
            self.must(nobody, 8, on, "somebody is on a grant that was ended");
            return;
        }
        for side in [g.customer, g.provider] {
            let right = self.owns_unit(side.organisation, side.unit);
            self.must(right, 1, on, "a side names a unit of another organisation");
        }
        let own = |role| {
            let role = self.state.roles.get(role);
            role.is_some_and(|r| r.organisation == g.customer.organisation)
        };
        let roles = g.roles.iter().all(|pinned| own(pinned.role));
        self.must(roles, 1, on, "a role is not the customer's");
        if let Accounts::List(list) = &g.accounts {
            let accounts = list.iter().all(|a| self.owns_account(g.customer, *a));
            self.must(accounts, 1, on, "an account is not the customer's");
        }
        let people: Vec<(PersonId, Assignment)> =
            self.state.rows_on(id).map(|(person, a)| (person, *a)).collect();
        for (person, a) in people {
            self.assignment(id, g, person, &a);
        }
        self.rule(id, g);
    }

    /// The rule by which all members are on a grant: within the grant, and instead of their rows.
    fn rule(&mut self, id: GrantId, g: &Grant) {
        let on = On::Grant(id);
        let listed = self.state.auto_to.contains(&(g.provider.organisation, id));
        self.must(listed == g.auto.is_some(), 15, on, "its rule is not looked at");
        let Some(rule) = g.auto.as_deref() else {
            return;
        };
        let alone = self.state.rows_on(id).all(|(_, a)| a.basis == Basis::Invited);
        self.must(alone, 15, on, "somebody has a row beside the rule");
        let own = rule.row.basis == Basis::Automatic && rule.row.accounts.is_none();
        let open = rule.row.ends_at == Instant::NEVER;
        self.must(own && open, 15, on, "its rule is a row of somebody's");
        if rule.row.state != AssignmentState::Active {
            return;
        }
        let roles = self.state.role_sets.get(rule.row.roles);
        let inside = |r: &crate::ids::RoleId| g.roles.iter().any(|p| p.role == *r);
        let some = !roles.is_empty() && roles.iter().all(inside);
        self.must(some, 6, on, "its rule has a role that it does not give");
        let accounts = !matches!(&g.accounts, Accounts::List(list) if list.is_empty());
        self.must(accounts, 6, on, "its rule gives accounts, and it has none");
        let customer = g.customer.organisation;
        let direct: Vec<PersonId> = self
            .state
            .members_of(customer)
            .filter(|(person, m)| {
                m.superseded.is_none() && by_rule(self.state, g, *person).is_some()
            })
            .map(|(person, _)| person)
            .collect();
        for person in direct {
            self.must(false, 31, On::Person(person), "has a door of their own beside a grant");
        }
    }

    fn provenance(&mut self, id: GrantId, g: &Grant) {
        // The request is forgotten before a long grant is: then the log alone knows.
        let Some(request) = self.state.requests.get(g.request) else {
            return;
        };
        let on = On::Grant(id);
        let RequestState::Approved { grant, by, .. } = request.state else {
            return self.must(false, 3, on, "its request was not approved");
        };
        self.must(grant == id, 3, on, "its request was approved for another grant");
        let sides = (request.customer, request.provider) == (g.customer.organisation, g.provider);
        self.must(sides, 3, on, "it is between others than its request");
        self.must(by != Some(request.by), 4, on, "who asked has approved");
    }

    fn assignment(&mut self, id: GrantId, g: &Grant, person: PersonId, a: &Assignment) {
        if a.state != AssignmentState::Active || self.now >= a.ends_at {
            return;
        }
        let on = On::Grant(id);
        let roles = self.state.role_sets.get(a.roles);
        let inside = |r: &crate::ids::RoleId| g.roles.iter().any(|p| p.role == *r);
        let some = !roles.is_empty() && roles.iter().all(inside);
        self.must(some, 6, on, "somebody has a role that it does not give");
        let list = a.accounts.map(|set| self.state.account_sets.get(set));
        let covered = match (&g.accounts, list) {
            (Accounts::All, Some(list)) => !list.is_empty(),
            (Accounts::List(most), Some(list)) => {
                !list.is_empty() && list.iter().all(|x| most.contains(x))
            }
            (Accounts::All, None) => true,
            (Accounts::List(most), None) => !most.is_empty(), // all of what the grant lists
        };
        self.must(covered, 6, on, "somebody has an account that it does not give");
        let ends = a.ends_at == Instant::NEVER || a.ends_at <= g.window.end;
        self.must(ends, 6, on, "an assignment outlives it");
        let mirrored = match (self.state.grants.slot(id), self.state.people.slot(person)) {
            (Some(grant), Some(person)) => self.state.assigned.contains(&(person, grant)),
            _ => false,
        };
        self.must(mirrored, 14, on, "somebody is on it who does not know");
        let direct = self.state.members.get(&(g.customer.organisation, person));
        let double = direct.is_some_and(|m| m.superseded.is_none());
        self.must(!double, 31, On::Person(person), "has a door of their own beside a grant");
        if a.basis != Basis::Invited {
            let provider = g.provider;
            let member = self.state.members.get(&(provider.organisation, person));
            let inside = member.is_some_and(|m| provider.unit.is_none_or(|u| u == m.unit));
            self.must(inside, 14, On::Person(person), "is on a grant without being a member");
        }
    }

    pub(super) fn session(&mut self, id: SessionId) {
        let Some(s) = self.state.sessions.get(id) else {
            return;
        };
        let on = On::Session(id);
        let own = self.state.session_tokens.get(&s.token) == Some(&id);
        self.must(own, 23, on, "its token does not lead to it");
        let Some(g) = self.state.grants.get(s.grant) else {
            return self.must(false, 20, on, "its grant is not there");
        };
        let length = s.deadline.since(s.started);
        let bounded = length > 0 && length <= LONGEST_SESSION.millis();
        self.must(bounded, 19, on, "it is longer than any session may be");
        if let SessionState::Ended { at, .. } = s.state {
            let inside = s.started <= at && at < s.deadline;
            self.must(inside, 19, on, "it was ended outside of its time");
        }
        if runs(s, self.now) {
            self.running(id, s, g);
        }
    }

    /// A session in progress needs everything.
    fn running(&mut self, id: SessionId, s: &Session, g: &Grant) {
        let (on, now) = (On::Session(id), self.now);
        let live = g.state == GrantState::Running && g.window.start <= now && now < g.window.end;
        self.must(live, 20, on, "its grant is not live");
        self.must(g.unconfirmed.is_none(), 32, on, "its grant waits to be confirmed");
        self.must(s.deadline <= g.window.end, 19, on, "it outlives its grant");
        self.must(g.modes.contains(s.mode), 20, on, "its mode is not granted");
        let sides = takes_part(self.state, g.customer) && takes_part(self.state, g.provider);
        self.must(sides, 20, on, "one of the sides takes no part");
        let row = match (self.state.grants.slot(s.grant), self.state.people.slot(s.person)) {
            (Some(grant), Some(person)) => self.state.assignments.get(&(grant, person)),
            _ => None,
        };
        match row.or_else(|| by_rule(self.state, g, s.person)) {
            None => self.must(false, 20, on, "its person is not on the grant"),
            Some(a) => {
                let access = gives(self.state, g, s.person, a, now);
                self.must(access, 20, on, "its person's assignment gives no access");
                self.must(s.deadline <= a.ends_at, 19, on, "it outlives its assignment");
            }
        }
        let (customer, provider) = (g.customer.organisation, g.provider.organisation);
        let locked = [LockTarget::Organisation(provider), LockTarget::Person(s.person)]
            .iter()
            .any(|target| self.locks.contains(&(customer, *target)));
        self.must(!locked, 33, on, "it goes on under a lock");
        let halted = [
            on,
            On::Grant(s.grant),
            On::Person(s.person),
            On::Organisation(customer),
            On::Organisation(provider),
        ];
        let halted = !self.halts.is_empty() && halted.iter().any(|t| self.halts.contains(t));
        self.must(!halted, 33, on, "it goes on under a halt");
        let acting = s.mode == Mode::ActAs;
        let stays = self.stays.entry((s.grant, s.person, acting)).or_default();
        *stays += 1;
        let few = *stays <= if acting { MOST_ACT_AS } else { MOST_OTHERS };
        self.must(few, 20, on, "its person has too many of the kind under the grant");
    }

    pub(super) fn person(&mut self, id: PersonId) {
        let homes: Vec<OrganisationId> = self.state.organisations_of(id).collect();
        for organisation in homes {
            let unit = self.state.members.get(&(organisation, id)).map(|m| m.unit);
            let right = unit.is_some() && self.owns_unit(organisation, unit);
            self.must(right, 1, On::Person(id), "the member's unit is another organisation's");
        }
        let grants: Vec<GrantId> = self.state.grants_of(id).map(|(grant, _)| grant).collect();
        for grant in grants {
            if let Some(g) = self.state.grants.get(grant).filter(|g| stands(g, self.now))
                && let Some(a) = self.state.own_row(grant, id).copied()
            {
                self.assignment(grant, g, id, &a);
            }
        }
    }

    pub(super) fn organisation(&mut self, id: OrganisationId) {
        let Some(own) = self.state.organisations.get(id) else {
            return;
        };
        let on = On::Organisation(id);
        let right = self.owns_unit(id, Some(own.default_unit));
        self.must(right, 1, on, "its first unit is another organisation's");
        let owner = |a| self.state.accounts.get(a).map(|a| (a.organisation, a.unit));
        let accounts: Vec<_> = self.state.accounts_of(id).map(owner).collect();
        for account in accounts {
            let right = account.is_some_and(|(o, u)| o == id && self.owns_unit(id, Some(u)));
            self.must(right, 1, on, "an account's unit is another organisation's");
        }
        let requests: Vec<RequestId> = self.state.requests_to(id).collect();
        for request in requests {
            let from = self.state.requests.get(request).map(|r| r.provider.organisation);
            self.must(from != Some(id), 2, on, "it was asked by itself");
        }
    }

    pub(super) fn key(&mut self, id: KeyId) {
        let Some(key) = self.state.keys.get(id) else {
            return;
        };
        let own = self.state.key_digests.get(&key.digest) == Some(&id);
        self.must(own, 23, On::Key(id), "its secret does not lead to it");
        let fits = (key.usage == KeyUse::Decide) == key.application.is_some()
            && key.application.is_none_or(|a| self.state.applications.get(a).is_some());
        self.must(fits, 23, On::Key(id), "it is not of the application that its use needs");
    }
}
