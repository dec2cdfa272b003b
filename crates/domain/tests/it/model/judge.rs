//! Whether a command is accepted, or the code of the refusal: who may, and all up to the yes.

use std::collections::BTreeSet;

use comity_domain::application::KeyUse;
use comity_domain::command::{Ask, AssignmentSpec, Caller, Command, Principal, PutMember};
use comity_domain::consent::Terms;
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{AccountId, GrantId, OrganisationId, PersonId, RequestId, RoleId, UnitId};
use comity_domain::organisation::{Accounts, Standing};
use comity_domain::person::PortalRole;
use comity_domain::time::{DAY, Instant, MINUTE};

use super::plain::{Fate, Plain, Request, Seen, level};

/// Accepted, or the code of the refusal.
pub type Verdict = Result<(), &'static str>;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Customer,
    Provider,
}
use Side::{Customer, Provider};

pub(super) fn unless(wrong: bool, code: &'static str) -> Verdict {
    if wrong { Err(code) } else { Ok(()) }
}

/// As a plain list; `None` is all.
pub fn listed(accounts: &Accounts) -> Option<BTreeSet<AccountId>> {
    match accounts {
        Accounts::All => None,
        Accounts::List(list) => Some(list.clone()),
    }
}

impl Plain {
    fn authentic(&self, caller: &Caller) -> Verdict {
        let good = match caller.principal {
            Principal::Key(key) => self.keys.contains_key(&key),
            Principal::Anonymous | Principal::System => true,
            Principal::PartnerSession(id) => {
                self.sessions.get(&id).is_some_and(|s| self.live_session(s))
            }
            Principal::Person { person, sign_in } => self.sign_ins.get(&sign_in).is_some_and(|s| {
                let halted = self.halts.values().any(|t| *t == HaltTarget::Person(person));
                let current = s.epoch == self.people[&person].epoch;
                s.person == person && self.now < s.until && current && !halted
            }),
        };
        unless(!good, "caller_revoked")
    }

    /// Only an Admin of this side, by their own sign-in.
    pub(super) fn admin(
        &self,
        caller: &Caller,
        side: Side,
        customer: OrganisationId,
        provider: OrganisationId,
    ) -> Verdict {
        let person = match caller.principal {
            Principal::PartnerSession(_) => return Err("partner_session_refused"),
            Principal::Key(key) if self.keys[&key] == KeyUse::Decide => return Err("not_found"),
            Principal::Key(_) => return Err("forbidden"),
            Principal::Anonymous | Principal::System => return Err("not_found"),
            Principal::Person { person, .. } => person,
        };
        let own = if side == Customer { customer } else { provider };
        if !self.members.contains_key(&(customer, person))
            && !self.members.contains_key(&(provider, person))
        {
            return Err("not_found");
        }
        if !self.members.contains_key(&(own, person)) {
            return Err("forbidden");
        }
        let Some(member) = self.active_member(own, person) else {
            return Err("not_active");
        };
        unless(member.portal != Some(PortalRole::Admin), "forbidden")
    }

    pub(super) fn fresh(&self, caller: &Caller) -> Verdict {
        match caller.principal {
            Principal::Person { sign_in, .. } => {
                let age = self.now.0 - self.sign_ins[&sign_in].at.0;
                unless(age >= 5 * MINUTE, "fresh_sign_in_required")
            }
            _ => Ok(()),
        }
    }

    /// The platform's key for this, and nobody else.
    pub(super) fn by_key(&self, caller: &Caller, usage: KeyUse) -> Verdict {
        match caller.principal {
            Principal::PartnerSession(_) => Err("partner_session_refused"),
            Principal::Key(key) => unless(self.keys[&key] != usage, "forbidden"),
            Principal::Person { .. } => Err("forbidden"),
            Principal::Anonymous | Principal::System => Err("not_found"),
        }
    }

    /// Only its own members learn that an organisation is there, if they may do nothing to it.
    fn known_to(&self, caller: &Caller, org: OrganisationId) -> Verdict {
        if let Principal::Key(key) = caller.principal {
            return unless(self.keys[&key] == KeyUse::Decide, "not_found");
        }
        let Some(person) = caller.person() else {
            return Ok(());
        };
        unless(!self.members.contains_key(&(org, person)), "not_found")?;
        unless(self.active_member(org, person).is_none(), "not_active")
    }

    /// The platform's key for `provision`, or an Admin; not where it is closed.
    pub(super) fn manage(&self, caller: &Caller, org: OrganisationId) -> Verdict {
        match caller.principal {
            Principal::Key(_) => {
                self.known_to(caller, org)?;
                self.by_key(caller, KeyUse::Provision)?;
            }
            _ => self.admin(caller, Customer, org, org)?,
        }
        unless(self.orgs[&org].standing == Standing::Closed, "not_active")
    }

    /// Whether `command` is accepted; `seen` is what its caller saw before approving.
    pub fn judge(&self, caller: &Caller, command: &Command, seen: Option<&Seen>) -> Verdict {
        use Command as C;
        self.authentic(caller)?;
        match command {
            C::SetStanding { organisation, .. } => {
                self.known_to(caller, *organisation)?;
                self.by_key(caller, KeyUse::Operate)?;
                unless(self.orgs[organisation].standing == Standing::Closed, "not_active")
            }
            C::SetPolicy { .. } => self.by_key(caller, KeyUse::Operate),
            C::PutOrganisation { external, .. } => {
                self.by_key(caller, KeyUse::Provision)?;
                unless(
                    self.orgs[&self.org_named(external)].standing == Standing::Closed,
                    "not_active",
                )
            }
            C::PutRole { organisation, .. } => self.manage(caller, *organisation),
            C::PutUnit { organisation, external, active, .. } => {
                self.manage(caller, *organisation)?;
                let unit = self.unit_named(*organisation, Some(external));
                let works = |p: &PersonId| self.is_active_admin(*organisation, *p);
                let there = |p: &PersonId| self.members[&(*organisation, *p)].unit == unit;
                let had = self.people.keys().any(works);
                let kept = self.people.keys().any(|p| works(p) && !there(p));
                unless(!active && had && !kept, "last_admin")
            }
            C::PutAccount { organisation, external, unit, .. } => {
                self.manage(caller, *organisation)?;
                let known =
                    self.account_named(*organisation, external).map(|id| self.accounts[&id].unit);
                unless(
                    known.is_some_and(|u| u != self.unit_named(*organisation, unit.as_deref())),
                    "invalid",
                )
            }
            C::RemoveAccount { organisation, external } => {
                self.manage(caller, *organisation)?;
                unless(self.account_named(*organisation, external).is_none(), "not_found")
            }
            C::DeleteRole { organisation, code } => {
                self.manage(caller, *organisation)?;
                unless(self.role_named(*organisation, code).is_none(), "not_found")
            }
            C::PutMember(put) => self.judge_member(caller, put),
            C::RemoveMember { organisation, external } => {
                self.manage(caller, *organisation)?;
                let person = self.member_named(*organisation, external).ok_or("not_found")?;
                self.keeps_an_admin(*organisation, person)
            }
            C::RestoreMembership { organisation, external } => {
                self.admin(caller, Customer, *organisation, *organisation)?;
                self.fresh(caller)?;
                unless(self.orgs[organisation].standing == Standing::Closed, "not_active")?;
                let person = self.member_named(*organisation, external).ok_or("not_found")?;
                unless(!self.members[&(*organisation, person)].superseded, "wrong_state")?;
                let by_rule = |(id, p): &(GrantId, PersonId), a: &super::plain::Assignment| {
                    let grant = &self.grants[id];
                    *p == person && a.auto && grant.customer == *organisation && self.stands(grant)
                };
                unless(self.assigned.iter().any(|(k, a)| by_rule(k, a)), "auto_assign_enabled")
            }
            C::EndAccess { organisation, person } => {
                self.judge_end_access(caller, *organisation, *person)
            }
            C::EraseWords { subject } => self.judge_erasure(caller, *subject),
            C::SignIn { person, auth_epoch, .. } => {
                let known = &self.people[person];
                unless(known.epoch != *auth_epoch || !known.enrolled, "caller_revoked")
            }
            C::SignOut | C::SignOutEverywhere => unless(caller.person().is_none(), "not_found"),
            C::RotateCustomerId { organisation, .. } => {
                self.admin(caller, Customer, *organisation, *organisation)?;
                self.fresh(caller)
            }
            C::ChangeSettings { organisation, settings, version } => {
                self.admin(caller, Customer, *organisation, *organisation)?;
                let known = self.orgs[organisation].version;
                unless(version.is_some_and(|v| v != known), "version_conflict")?;
                let cap = settings.session_cap.0;
                unless(cap < 5 || cap > self.policy_cap, "invalid")
            }
            C::Ask(ask) => self.judge_ask(caller, ask),
            C::CancelRequest { request } => {
                let r = self.known_request(*request, self.now).ok_or("not_found")?;
                let side = if r.offered.is_some() { Customer } else { Provider };
                self.admin(caller, side, r.customer, r.provider)?;
                unless(!self.pending(r), "wrong_state")
            }
            C::Deny { request, .. } => {
                let r = self.known_request(*request, self.now).ok_or("not_found")?;
                self.admin(caller, Customer, r.customer, r.provider)?;
                unless(r.offered.is_some() || !self.pending(r), "wrong_state")
            }
            C::MakeOffer(_) | C::Accept { .. } | C::Decline { .. } | C::Amend { .. } => {
                self.judge_giving(caller, command)
            }
            C::Approve { request, terms, .. } => self.judge_approve(caller, *request, terms, seen),
            C::Confirm { customer, grants } => self.judge_confirm(caller, *customer, grants),
            C::Restore { .. } => unless(caller.principal != Principal::System, "not_found"),
            C::MakeKey { .. } | C::MakeEnrolment { .. } | C::Enrol { .. } => {
                self.judge_credential(caller, command)
            }
            C::Revoke { grant } => self.judge_grant(caller, Customer, *grant).map(|_| ()),
            C::GiveUp { grant } => self.judge_grant(caller, Provider, *grant).map(|_| ()),
            C::Narrow { grant, narrowing, version } => {
                self.judge_narrow(caller, *grant, narrowing, *version)
            }
            C::Assign { grant, spec } => {
                self.judge_grant(caller, Provider, *grant)?;
                self.judge_spec(*grant, spec)?;
                self.spares_the_admins(*grant, std::slice::from_ref(spec))
            }
            C::Unassign { grant, person, successor } => {
                self.judge_unassign(caller, *grant, *person, successor.as_ref())
            }
            C::SetAssignments { grant, people } => self.judge_set(caller, *grant, people),
            C::LinkAccount { organisation, external, .. } => {
                self.manage(caller, *organisation)?;
                unless(self.account_named(*organisation, external).is_none(), "not_found")
            }
            C::AssignMany { grant, many, token, linked } => {
                self.judge_many(caller, *grant, many, (*token, linked.is_some()))
            }
            C::SetAuto { grant, auto, token } => {
                self.judge_auto(caller, *grant, auto.as_ref(), *token)
            }
            C::Enter(enter) => self.judge_enter(caller, enter).map(|_| ()),
            C::CloseSession { session } => {
                match caller.principal {
                    Principal::PartnerSession(own) => {
                        return unless(own != *session, "partner_session_refused");
                    }
                    Principal::Key(key) => {
                        let known = self.known_session(*session, self.now).is_some();
                        return Err(if known && self.keys[&key] != KeyUse::Decide {
                            "forbidden"
                        } else {
                            "not_found"
                        });
                    }
                    _ => {}
                }
                let s = self.known_session(*session, self.now).ok_or("not_found")?;
                unless(caller.person() != Some(s.person), "not_found")
            }
            C::EndSession { session } => {
                let s = self.known_session(*session, self.now).ok_or("not_found")?;
                let grant = &self.grants[&s.grant];
                self.admin(caller, Customer, grant.customer, grant.provider)
            }
            C::Lock { customer, target, .. } => {
                self.admin(caller, Customer, *customer, *customer)?;
                unless(!self.is_known_partner(*customer, *target), "not_found")
            }
            C::Unlock { lock } => {
                let (customer, _) = self.locks.get(lock).ok_or("not_found")?;
                self.admin(caller, Customer, *customer, *customer)?;
                self.fresh(caller)
            }
            C::Halt { .. } => unless(caller.principal != Principal::System, "not_found"),
            C::LiftHalt { halt } => {
                self.by_key(caller, KeyUse::Operate)?;
                unless(!self.halts.contains_key(halt), "not_found")
            }
            C::NoteDue => unless(caller.principal != Principal::System, "not_found"),
            other => panic!("the model has no {other:?}"),
        }
    }

    // -- lookups ------------------------------------------------------------------------------------

    pub fn org_named(&self, external: &str) -> OrganisationId {
        *self.orgs.iter().find(|(_, o)| o.external == external).unwrap().0
    }

    pub fn account_named(&self, org: OrganisationId, external: &str) -> Option<AccountId> {
        self.accounts
            .iter()
            .find(|(_, a)| a.org == org && a.external == external)
            .map(|(id, _)| *id)
    }

    /// The unit of this name; the default unit for none.
    pub fn unit_named(&self, org: OrganisationId, external: Option<&str>) -> UnitId {
        let Some(external) = external else {
            return self.orgs[&org].default_unit;
        };
        let named =
            |u: &super::plain::Unit| u.org == org && u.external.as_deref() == Some(external);
        *self.units.iter().find(|(_, u)| named(u)).unwrap().0
    }

    pub fn role_named(&self, org: OrganisationId, code: &str) -> Option<RoleId> {
        let live = |r: &super::plain::Role| r.org == org && r.code == code && !r.deleted;
        self.roles.iter().find(|(_, r)| live(r)).map(|(id, _)| *id)
    }

    pub fn member_named(&self, org: OrganisationId, external: &str) -> Option<PersonId> {
        self.members
            .iter()
            .find(|((o, _), m)| *o == org && m.external == external)
            .map(|((_, p), _)| *p)
    }

    pub fn person_by_email(&self, email: &str) -> Option<PersonId> {
        self.people.iter().find(|(_, p)| p.proven && p.email == email).map(|(id, _)| *id)
    }

    // -- members ----------------------------------------------------------------------------------

    pub(super) fn keeps_an_admin(&self, org: OrganisationId, without: PersonId) -> Verdict {
        let others = self.people.keys().any(|p| *p != without && self.is_active_admin(org, *p));
        unless(self.is_active_admin(org, without) && !others, "last_admin")
    }

    /// Whether somebody is on a grant of the organisation that has not ended.
    pub(super) fn works_in(&self, org: OrganisationId, person: PersonId) -> bool {
        self.assigned.iter().any(|((id, p), a)| {
            let grant = &self.grants[id];
            *p == person
                && grant.customer == org
                && self.stands(grant)
                && !a.no_roles
                && self.now < a.ends
        })
    }

    /// The same, apart from what a rule gives.
    fn works_by_itself(&self, org: OrganisationId, person: PersonId) -> bool {
        self.assigned.iter().any(|((id, p), a)| {
            let grant = &self.grants[id];
            let gives = self.stands(grant) && self.gives_access(a);
            *p == person && grant.customer == org && !a.auto && gives
        })
    }

    /// Putting these people on a grant takes none but a dispensable Admin from the customer.
    pub(super) fn spares_the_admins(&self, id: GrantId, people: &[AssignmentSpec]) -> Verdict {
        let org = self.grants[&id].customer;
        let put: Vec<PersonId> =
            people.iter().filter(|s| !self.has_already(id, s)).map(|s| s.person).collect();
        let takes = put.iter().any(|p| self.is_active_admin(org, *p));
        let left = self.people.keys().any(|p| !put.contains(p) && self.is_active_admin(org, *p));
        unless(takes && !left, "last_admin")
    }

    /// Live roles by their codes, in order, each once.
    pub(super) fn roles_named(&self, org: OrganisationId, codes: &[String]) -> Option<Vec<RoleId>> {
        let found: Option<BTreeSet<RoleId>> =
            codes.iter().map(|code| self.role_named(org, code)).collect();
        found.map(|roles| roles.into_iter().collect())
    }

    /// Only the platform's key proves an address.
    pub(super) fn proves(&self, caller: &Caller, put: &PutMember) -> bool {
        matches!(caller.principal, Principal::Key(_)) && put.email_verified
    }

    /// Who joins without proof is somebody new, who only says so, and whose address is proven once
    /// it is nobody else's.
    fn judge_member(&self, caller: &Caller, put: &PutMember) -> Verdict {
        let org = put.organisation;
        self.manage(caller, org)?;
        let roles = put.roles.as_deref().unwrap_or_default();
        unless(self.roles_named(org, roles).is_none(), "invalid")?;
        let Some(person) = self.member_named(org, &put.external) else {
            let owner = self.person_by_email(&put.email).filter(|_| self.proves(caller, put));
            unless(owner.is_some_and(|p| self.members.contains_key(&(org, p))), "taken")?;
            // Somebody who works there for a partner already does not become its only Admin.
            let unit = self.unit_named(org, put.unit.as_deref());
            let leads = put.active
                && put.portal == Some(PortalRole::Admin)
                && self.units[&unit].active
                && owner.is_some_and(|p| self.works_by_itself(org, p));
            let others = self.people.keys().any(|p| self.is_active_admin(org, *p));
            return unless(leads && !others, "last_admin");
        };
        unless(self.people[&person].email != put.email, "invalid")?;
        let unit = self.unit_named(org, put.unit.as_deref());
        let works = put.portal == Some(PortalRole::Admin) && self.units[&unit].active;
        if !works {
            self.keeps_an_admin(org, person)?;
        }
        let owned = self.person_by_email(&put.email).is_some_and(|owner| owner != person);
        unless(self.proves(caller, put) && owned, "taken")?;
        let others = self.people.keys().any(|p| *p != person && self.is_active_admin(org, *p));
        let member = &self.members[&(org, person)];
        unless(!put.active && member.active && works && !others, "last_admin")
    }

    // -- requests ---------------------------------------------------------------------------------

    fn judge_ask(&self, caller: &Caller, ask: &Ask) -> Verdict {
        self.admin(caller, Provider, ask.provider, ask.provider)?;
        let by = caller.person().unwrap();
        let (_, modes, days, _) = level(&ask.level);
        unless(ask.modes.is_empty() || !modes.covers(ask.modes), "invalid")?;
        unless(ask.days.0 == 0 || ask.days.0 > days, "invalid")?;
        let asked = |r: &&Request| r.offered.is_none() && r.provider == ask.provider;
        let today = self.requests.values().filter(asked);
        unless(today.filter(|r| self.now.0 - r.at.0 < DAY).count() >= 20, "asked_too_often")?;
        let customer = self.orgs.iter().find(|(_, o)| o.code == ask.code).map(|(id, _)| *id);
        let customer = customer.ok_or("not_found")?;
        let own = &self.orgs[&customer];
        let open = own.standing == Standing::Active
            && own.settings.customer_id_on
            && !own.settings.blocked.contains(&ask.provider)
            && !self.locked(customer, ask.provider, by);
        unless(!open, "not_found")?;
        unless(customer == ask.provider, "same_organisation")?;
        let earlier = || {
            let pair = |r: &&Request| (r.customer, r.provider) == (customer, ask.provider);
            self.requests.values().filter(pair).filter(|r| r.offered.is_none())
        };
        unless(earlier().any(|r| self.pending(r)), "already_pending")?;
        let recent =
            |r: &&Request| matches!(r.fate, Fate::Denied(at) if self.now.0 - at.0 < 30 * DAY);
        unless(earlier().filter(recent).count() >= 3, "asked_too_often")?;
        let back =
            |r: &&Request| matches!(r.fate, Fate::TakenBack(at) if self.now.0 - at.0 < 30 * DAY);
        unless(earlier().filter(back).count() >= 3, "asked_too_often")
    }

    fn judge_approve(
        &self,
        caller: &Caller,
        id: RequestId,
        terms: &Terms,
        seen: Option<&Seen>,
    ) -> Verdict {
        let r = self.known_request(id, self.now).ok_or("not_found")?;
        self.admin(caller, Customer, r.customer, r.provider)?;
        self.fresh(caller)?;
        unless(r.offered.is_some() || !self.pending(r), "wrong_state")?;
        let by = caller.person().unwrap();
        let was = self.left.get(&(r.provider, by)).is_some_and(|left| *left >= r.at);
        unless(self.members.contains_key(&(r.provider, by)) || was || by == r.by, "four_eyes")?;
        unless(!self.side_active(r.provider, r.unit), "not_active")?;
        unless(self.locked(r.customer, r.provider, r.by), "locked")?;
        let sides = [r.customer, r.provider].map(HaltTarget::Organisation);
        unless(self.halts.values().any(|t| sides.contains(t)), "locked")?;
        let shown = self.look(id, terms)?;
        unless(seen != Some(&shown), "stale_summary")
    }

    /// What somebody would see who looks at these terms now.
    pub fn look(&self, id: RequestId, terms: &Terms) -> Result<Seen, &'static str> {
        self.look_at(id, &self.requests[&id], terms)
    }

    pub(super) fn look_at(
        &self,
        id: RequestId,
        r: &Request,
        terms: &Terms,
    ) -> Result<Seen, &'static str> {
        let own = &self.orgs[&r.customer];
        let (_, level_modes, level_days, level_cap) = level(&r.level);
        unless(terms.unit.is_some_and(|u| self.units[&u].org != r.customer), "invalid")?;
        unless(terms.modes.is_empty(), "invalid")?;
        unless(!r.modes.covers(terms.modes) || !level_modes.covers(terms.modes), "widening")?;
        let most = level_days.min(own.settings.longest_grant.0);
        unless(terms.days.0 == 0 || terms.days.0 > most, "invalid")?;
        unless(terms.days.0 > r.days, "widening")?;
        let early = |at: Instant| at < self.now || at.0 > self.now.0 + 365 * DAY;
        unless(terms.starts_at.is_some_and(early), "invalid")?;
        match &terms.accounts {
            Accounts::All => unless(!r.accounts.is_empty(), "widening")?,
            Accounts::List(list) => {
                unless(list.is_empty(), "invalid")?;
                for id in list {
                    let mine = self
                        .accounts
                        .get(id)
                        .filter(|a| a.org == r.customer && terms.unit.is_none_or(|u| u == a.unit));
                    let external = &mine.ok_or("invalid")?.external;
                    unless(!r.accounts.is_empty() && !r.accounts.contains(external), "widening")?;
                }
            }
        }
        unless(terms.roles.is_empty(), "invalid")?;
        for id in &terms.roles {
            let role = self
                .roles
                .get(id)
                .filter(|x| x.org == r.customer && !x.deleted)
                .ok_or("invalid")?;
            unless(!r.roles.is_empty() && !r.roles.contains(&role.code), "widening")?;
        }
        let longest = level_cap.min(self.policy_cap).min(own.settings.session_cap.0);
        let cap = terms.cap.map_or(longest, |c| c.0);
        unless(cap < 5 || cap > longest, "invalid")?;
        unless(terms.allow_external && !own.settings.allow_external, "invalid")?;
        Ok(Seen {
            request: id,
            terms: terms.clone(),
            roles: terms
                .roles
                .iter()
                .map(|id| (*id, self.roles[id].versions.len() as u32))
                .collect(),
            cap,
            never: self.never.clone(),
            renames: (own.renames, self.orgs[&r.provider].renames),
        })
    }
}
