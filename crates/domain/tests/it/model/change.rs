//! What an accepted command changes, and how the model begins: as a copy of a world just set up.

use std::collections::BTreeSet;

use comity_domain::application::KeyUse;
use comity_domain::command::{AssignmentSpec, Caller, Command};
use comity_domain::consent::Terms;
use comity_domain::event::{Event, Row};
use comity_domain::grant::GrantEnd;
use comity_domain::ids::{GrantId, LockId, PersonId, RequestId, SessionId, SignInId};
use comity_domain::organisation::{Party, Standing};
use comity_domain::person::SIGN_IN_LASTS;
use comity_domain::refusal::Reason;
use comity_domain::text::Subject;
use comity_domain::time::{Instant, MINUTE};

use super::judge::listed;
use super::plain::{
    Account, Assignment, Fate, Grant, Member, Org, Person, Plain, Request, Role, Session, SignIn,
    Unit, level, patterns,
};
use crate::world::World;

/// What the row made, by the event that says so.
pub(super) fn made<T>(row: Option<&Row>, of: impl Fn(&Event) -> Option<T>) -> Option<T> {
    row?.events.iter().find_map(|r| of(&r.event))
}

impl Plain {
    /// Carries out an accepted command. Only new identifiers are read from `row`.
    pub fn change(&mut self, caller: &Caller, command: &Command, row: Option<&Row>) {
        use Command as C;
        let now = self.now;
        let mut left = BTreeSet::new();
        let (ruled, members) = (self.ruled(), self.members.clone());
        match command {
            C::SetStanding { organisation, standing } => {
                self.set_standing(*organisation, *standing)
            }
            C::SetPolicy { policy } => {
                self.never = patterns(&policy.never_delegable);
                self.policy_cap = policy.session_cap.0;
                self.at_once = !policy.offers_need_acceptance;
            }
            C::PutOrganisation { external, .. } => {
                let id = self.org_named(external);
                self.orgs.get_mut(&id).unwrap().renames += 1;
            }
            C::PutUnit { organisation, external, active, .. } => {
                let id = self.unit_named(*organisation, Some(external));
                self.units.get_mut(&id).unwrap().active = *active;
            }
            C::PutAccount { organisation, external, unit, .. } => {
                let new = |e: &Event| match e {
                    Event::AccountMade { account, .. } => Some(*account),
                    _ => None,
                };
                if self.account_named(*organisation, external).is_none() {
                    let unit = self.unit_named(*organisation, unit.as_deref());
                    let (org, external) = (*organisation, external.clone());
                    let account = Account { org, unit, external, linked: None };
                    self.accounts.insert(made(row, new).unwrap(), account);
                }
            }
            C::LinkAccount { organisation, external, group } => {
                let id = self.account_named(*organisation, external).unwrap();
                self.accounts.get_mut(&id).unwrap().linked.clone_from(group);
            }
            C::RemoveAccount { organisation, external } => {
                let id = self.account_named(*organisation, external).unwrap();
                self.accounts.remove(&id);
            }
            C::PutRole { organisation, code, permissions, .. } => {
                let permissions = patterns(permissions);
                if let Some(id) = self.role_named(*organisation, code) {
                    let versions = &mut self.roles.get_mut(&id).unwrap().versions;
                    if versions.last() != Some(&permissions) {
                        versions.push(permissions);
                    }
                } else {
                    let new = |e: &Event| match e {
                        Event::RoleMade { role, .. } => Some(*role),
                        _ => None,
                    };
                    let (org, code) = (*organisation, code.clone());
                    let role = Role { org, code, versions: vec![permissions], deleted: false };
                    self.roles.insert(made(row, new).unwrap(), role);
                }
            }
            C::DeleteRole { organisation, code } => {
                let id = self.role_named(*organisation, code).unwrap();
                self.roles.get_mut(&id).unwrap().deleted = true;
                for member in self.members.values_mut() {
                    member.roles.retain(|role| *role != id);
                }
            }
            C::PutMember(put) => {
                let org = put.organisation;
                let new = |e: &Event| match e {
                    Event::PersonMade { person, .. } => Some(*person),
                    _ => None,
                };
                let person = match (self.member_named(org, &put.external), made(row, new)) {
                    (Some(known), _) => known,
                    (None, None) => self.person_by_email(&put.email).unwrap(),
                    (None, Some(person)) => {
                        let (email, name) = (put.email.clone(), put.name.clone());
                        let new = Person {
                            email,
                            name,
                            epoch: 1,
                            proven: false,
                            enrolled: false,
                            enrolment: None,
                        };
                        self.people.insert(person, new);
                        person
                    }
                };
                if self.members.get(&(org, person)).is_some_and(|m| m.active && !put.active) {
                    left.extend(
                        self.assigned
                            .iter()
                            .filter(|((_, p), a)| *p == person && !a.auto)
                            .map(|((g, _), _)| *g),
                    );
                }
                if self.proves(caller, put) {
                    self.people.get_mut(&person).unwrap().proven = true;
                }
                let unit = self.unit_named(org, put.unit.as_deref());
                let (portal, active, external) = (put.portal, put.active, put.external.clone());
                let superseded = self.members.get(&(org, person)).is_some_and(|m| m.superseded);
                let before = self.members.get(&(org, person)).map(|m| m.roles.clone());
                let roles = match &put.roles {
                    None => before.unwrap_or_default(),
                    Some(codes) => self.roles_named(org, codes).unwrap(),
                };
                let member = Member { unit, portal, active, external, superseded, roles };
                self.members.insert((org, person), member);
            }
            C::RemoveMember { organisation, external } => {
                let person = self.member_named(*organisation, external).unwrap();
                self.members.remove(&(*organisation, person));
                self.left.insert((*organisation, person), now);
                self.left_for_good(*organisation, person);
                let known = self.people.get_mut(&person).unwrap();
                known.epoch += 1;
                known.enrolment = None;
            }
            C::RestoreMembership { organisation, external } => {
                let person = self.member_named(*organisation, external).unwrap();
                self.members.get_mut(&(*organisation, person)).unwrap().superseded = false;
                let ours = |id: &GrantId| {
                    let grant = &self.grants[id];
                    grant.customer == *organisation && self.stands(grant)
                };
                let off: Vec<GrantId> = self
                    .assigned
                    .keys()
                    .filter(|(id, p)| *p == person && ours(id))
                    .map(|(id, _)| *id)
                    .collect();
                for id in off {
                    self.assigned.remove(&(id, person));
                    self.grants.get_mut(&id).unwrap().version += 1;
                    left.insert(id);
                }
            }
            C::EraseWords { subject } => {
                let new = self.erased.insert(*subject);
                for (id, r) in &mut self.requests {
                    // A wish that nobody can read any more is still a wish: nothing meets it.
                    if [Subject::Request(*id), Subject::Person(r.by)].contains(subject) {
                        r.roles.iter_mut().chain(&mut r.accounts).for_each(|w| *w = "?".into());
                    }
                }
                if let (Subject::Person(id), true) = (subject, new) {
                    let person = self.people.get_mut(id).unwrap();
                    person.epoch += 1;
                    (person.proven, person.enrolled) = (false, false);
                    person.enrolment = None;
                }
            }
            C::SignIn { person, auth_epoch, .. } => {
                let new = |e: &Event| match e {
                    Event::SignedIn { sign_in, .. } => Some(*sign_in),
                    _ => None,
                };
                let id: SignInId = made(row, new).unwrap();
                let until = now.plus(SIGN_IN_LASTS);
                self.sign_ins
                    .insert(id, SignIn { person: *person, at: now, until, epoch: *auth_epoch });
            }
            C::SignOut => {
                if let comity_domain::command::Principal::Person { sign_in, .. } = caller.principal
                {
                    self.sign_ins.get_mut(&sign_in).unwrap().until = now;
                }
            }
            C::SignOutEverywhere => {
                let person = caller.person().unwrap();
                self.people.get_mut(&person).unwrap().epoch += 1;
                let stays: Vec<_> = self.sessions.keys().copied().collect();
                for id in stays
                    .into_iter()
                    .filter(|id| self.sessions[id].person == person)
                    .collect::<Vec<_>>()
                {
                    self.end_session(id, Reason::SessionClosed);
                }
            }
            C::RotateCustomerId { organisation, code } => {
                let org = self.orgs.get_mut(organisation).unwrap();
                org.code = code.digest;
                org.version += 1;
            }
            C::ChangeSettings { organisation, settings, .. } => {
                let org = self.orgs.get_mut(organisation).unwrap();
                if org.settings != *settings {
                    org.settings = settings.clone();
                    org.version += 1;
                }
            }
            C::Ask(ask) => {
                let new = |e: &Event| match e {
                    Event::RequestAsked { request, .. } => Some(*request),
                    _ => None,
                };
                let id: RequestId = made(row, new).unwrap();
                let customer = self.orgs.iter().find(|(_, o)| o.code == ask.code).unwrap().0;
                let request = Request {
                    customer: *customer,
                    provider: ask.provider,
                    unit: ask.unit.as_deref().map(|u| self.unit_named(ask.provider, Some(u))),
                    by: caller.person().unwrap(),
                    at: now,
                    level: ask.level.clone(),
                    modes: ask.modes,
                    days: ask.days.0,
                    roles: ask.roles.clone(),
                    accounts: ask.accounts.clone(),
                    offered: None,
                    fate: Fate::Pending,
                };
                self.requests.insert(id, request);
            }
            C::CancelRequest { request } => {
                self.requests.get_mut(request).unwrap().fate = Fate::TakenBack(now)
            }
            C::Deny { request, .. } => {
                self.requests.get_mut(request).unwrap().fate = Fate::Denied(now)
            }
            C::Approve { request, terms, .. } => {
                let new = |e: &Event| match e {
                    Event::GrantMade { grant, .. } => Some(*grant),
                    _ => None,
                };
                self.make_grant(made(row, new).unwrap(), *request, terms);
            }
            C::MakeOffer(_) | C::Accept { .. } | C::Decline { .. } | C::Amend { .. } => {
                self.change_giving(caller, command, row);
            }
            C::Confirm { grants, .. } => {
                for id in grants {
                    self.grants.get_mut(id).unwrap().unconfirmed = None;
                }
            }
            C::Restore { keep_people, .. } => self.restore(*keep_people),
            C::MakeKey { .. } | C::MakeEnrolment { .. } | C::Enrol { .. } => {
                self.change_credential(command, row)
            }
            C::Revoke { grant } => {
                let (customer, provider) =
                    (self.grants[grant].customer, self.grants[grant].provider);
                self.end_grant(*grant, GrantEnd::Revoked);
                self.cancel_pending(|r| {
                    r.offered.is_none() && (r.customer, r.provider) == (customer, provider)
                });
            }
            C::GiveUp { grant } => self.end_grant(*grant, GrantEnd::GivenUp),
            C::Narrow { grant, narrowing, .. } => {
                let grant = self.grants.get_mut(grant).unwrap();
                let before = grant.clone();
                if let Some(kept) = &narrowing.roles {
                    grant.roles.retain(|r, _| kept.contains(r));
                }
                grant.accounts = narrowing.accounts.as_ref().map_or(grant.accounts.clone(), listed);
                grant.modes = narrowing.modes.unwrap_or(grant.modes);
                grant.end = narrowing.end.unwrap_or(grant.end);
                grant.cap = narrowing.cap.map_or(grant.cap, |c| c.0);
                grant.version += u32::from(*grant != before);
            }
            C::Assign { grant, spec } => self.put(*grant, spec),
            C::Unassign { grant, person, successor } => {
                if let Some(spec) = successor {
                    self.put(*grant, spec);
                }
                self.assigned.remove(&(*grant, *person));
                self.grants.get_mut(grant).unwrap().version += 1;
                left.insert(*grant);
            }
            C::SetAssignments { grant, people } => {
                let named: BTreeSet<PersonId> = people.iter().map(|s| s.person).collect();
                for spec in people {
                    if !self.has_already(*grant, spec) {
                        self.put(*grant, spec);
                    }
                }
                let before = self.assigned.len();
                self.assigned.retain(|(g, p), _| g != grant || named.contains(p));
                let off = before - self.assigned.len();
                self.grants.get_mut(grant).unwrap().version += u32::try_from(off).unwrap();
                if off > 0 {
                    left.insert(*grant);
                }
            }
            C::AssignMany { grant, many, .. } => {
                left.extend(self.change_many(*grant, many).then_some(*grant));
            }
            C::SetAuto { grant, auto, .. } => self.set_auto(*grant, auto.as_ref(), &mut left),
            C::EndAccess { organisation, person } => {
                self.end_access(*organisation, *person, &mut left)
            }
            C::Enter(enter) => {
                let new = |e: &Event| match e {
                    Event::SessionStarted { session, .. } => Some(*session),
                    _ => None,
                };
                let id: SessionId = made(row, new).unwrap();
                let grant = self.judge_enter(caller, enter).unwrap();
                let person = caller.person().unwrap();
                let g = &self.grants[&grant];
                let own = self.orgs[&g.customer].settings.session_cap.0;
                let cap = g.cap.min(own).min(self.policy_cap).min(level(&g.level).3);
                let deadline =
                    now.plus(i64::from(cap) * MINUTE).min(self.latest_end(grant, person));
                let (mode, token) = (enter.mode, enter.token);
                let session =
                    Session { grant, person, mode, started: now, deadline, token, ended: None };
                self.sessions.insert(id, session);
            }
            C::CloseSession { session } => self.end_session(*session, Reason::SessionClosed),
            C::EndSession { session } => self.end_session(*session, Reason::EndedByCustomer),
            C::Lock { customer, target, .. } => {
                let new = |e: &Event| match e {
                    Event::LockPlaced { lock, .. } => Some(*lock),
                    _ => None,
                };
                if !self.locks.values().any(|l| *l == (*customer, *target)) {
                    let id: LockId = made(row, new).unwrap();
                    self.locks.insert(id, (*customer, *target));
                    use comity_domain::lock::LockTarget as T;
                    let theirs = |r: &Request| match target {
                        T::Organisation(org) => r.provider == *org,
                        T::Person(person) => r.offered.is_none() && r.by == *person,
                    };
                    self.cancel_pending(|r| r.customer == *customer && theirs(r));
                }
            }
            C::Halt { target, .. } => {
                let new = |e: &Event| match e {
                    Event::Halted { halt, .. } => Some(*halt),
                    _ => None,
                };
                if !self.halts.values().any(|t| t == target) {
                    self.halts.insert(made(row, new).unwrap(), *target);
                    if let comity_domain::halt::HaltTarget::Session(session) = target {
                        self.end_session(*session, Reason::Locked);
                    }
                }
            }
            C::LiftHalt { halt } => {
                self.halts.remove(halt);
            }
            C::Unlock { lock } => {
                self.locks.remove(lock);
            }
            _ => {}
        }
        if !matches!(command, C::PutUnit { .. } | C::SetStanding { .. } | C::Restore { .. }) {
            left.extend(ruled);
        }
        self.follow(left);
        self.attended_again(&members);
    }

    fn set_standing(&mut self, id: comity_domain::ids::OrganisationId, standing: Standing) {
        self.orgs.get_mut(&id).unwrap().standing = standing;
        if standing == Standing::Closed {
            let theirs = |g: &Grant| (g.customer == id || g.provider == id) && self.stands(g);
            let grants: Vec<GrantId> =
                self.grants.iter().filter(|(_, g)| theirs(g)).map(|(id, _)| *id).collect();
            grants.into_iter().for_each(|g| self.end_grant(g, GrantEnd::Closed));
            self.cancel_pending(|r| r.customer == id || r.provider == id);
        }
    }

    fn make_grant(&mut self, id: GrantId, request: RequestId, terms: &Terms) {
        let seen = self.look(request, terms).unwrap();
        let start = terms.starts_at.unwrap_or(self.now);
        let asked = self.requests.get_mut(&request).unwrap();
        asked.fate = Fate::Approved(id);
        let grant = Grant {
            request,
            customer: asked.customer,
            customer_unit: terms.unit,
            provider: asked.provider,
            provider_unit: asked.unit,
            level: asked.level.clone(),
            roles: seen.roles.into_iter().collect(),
            accounts: listed(&terms.accounts),
            modes: terms.modes,
            start,
            end: start.plus(terms.days.millis()),
            cap: seen.cap,
            version: 1,
            unattended: false,
            auto: None,
            unconfirmed: None,
            ended: None,
        };
        self.grants.insert(id, grant);
    }

    pub(super) fn put(&mut self, id: GrantId, spec: &AssignmentSpec) {
        let wanted = Assignment {
            roles: spec.roles.iter().copied().collect(),
            accounts: listed(&spec.accounts),
            ends: spec.ends_at.unwrap_or(Instant::NEVER),
            no_roles: false,
            auto: false,
        };
        let key = (id, spec.person);
        let same = self.assigned.get(&key).is_some_and(|a| *a == wanted && self.gives_access(a));
        if !same {
            self.assigned.insert(key, wanted);
            let grant = self.grants.get_mut(&id).unwrap();
            grant.version += 1;
            grant.unattended = false;
        }
    }

    pub(super) fn end_session(&mut self, id: SessionId, reason: Reason) {
        if self.live_session(&self.sessions[&id]) {
            self.sessions.get_mut(&id).unwrap().ended = Some((self.now, reason));
        }
    }

    /// The model of a world just set up: nothing was asked there yet.
    pub fn of(w: &World) -> Self {
        let (s, text) = (&w.state, |id| w.state.words.show(id).to_owned());
        let org = |o: &comity_domain::organisation::Organisation| Org {
            external: text(o.external),
            standing: o.standing,
            renames: 0,
            default_unit: o.default_unit,
            code: o.customer_id,
            settings: o.settings.clone(),
            version: o.version,
        };
        let unit = |u: &comity_domain::organisation::Unit| Unit {
            org: u.organisation,
            external: u.external.map(text),
            active: u.standing == Standing::Active,
        };
        let account = |a: &comity_domain::organisation::Account| Account {
            org: a.organisation,
            unit: a.unit,
            external: text(a.external),
            linked: a.linked.as_deref().map(Into::into),
        };
        let role = |r: &comity_domain::role::Role| Role {
            org: r.organisation,
            code: r.code.to_string(),
            versions: r.versions.iter().map(patterns).collect(),
            deleted: r.deleted,
        };
        let person = |p: &comity_domain::person::Person| Person {
            email: text(p.email),
            name: text(p.name),
            epoch: p.auth_epoch,
            proven: p.email_verified,
            enrolled: p.has_password,
            enrolment: p.enrolment,
        };
        let member = |m: &comity_domain::person::Member| Member {
            unit: m.unit,
            portal: m.portal,
            active: m.standing == Standing::Active,
            external: text(m.external),
            superseded: m.superseded.is_some(),
            roles: m.roles.clone(),
        };
        let keys = s.keys.iter().map(|(id, k)| (id, k.usage)).collect::<Vec<(_, KeyUse)>>();
        Self {
            now: w.now,
            last: s.at,
            never: patterns(&s.policy.never_delegable),
            policy_cap: s.policy.session_cap.0,
            at_once: !s.policy.offers_need_acceptance,
            partner_ids: s
                .organisations
                .iter()
                .filter_map(|(organisation, _)| {
                    Some((s.partner_id(Party { organisation, unit: None })?, organisation))
                })
                .collect(),
            keys: keys.into_iter().collect(),
            orgs: s.organisations.iter().map(|(id, o)| (id, org(o))).collect(),
            units: s.units.iter().map(|(id, u)| (id, unit(u))).collect(),
            accounts: s.accounts.iter().map(|(id, a)| (id, account(a))).collect(),
            roles: s.roles.iter().map(|(id, r)| (id, role(r))).collect(),
            people: s.people.iter().map(|(id, p)| (id, person(p))).collect(),
            members: s.members.iter().map(|(id, m)| (*id, member(m))).collect(),
            left: Default::default(),
            sign_ins: Default::default(),
            requests: Default::default(),
            grants: Default::default(),
            assigned: Default::default(),
            sessions: Default::default(),
            locks: Default::default(),
            erased: Default::default(),
            halts: Default::default(),
        }
    }
}
