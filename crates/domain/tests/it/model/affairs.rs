//! What is tried next, continued: organisations, members, roles, accounts and policy.

use comity_domain::application::Policy;
use comity_domain::command::{Caller, Command, PutMember};
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::organisation::Standing;
use comity_domain::person::PortalRole;
use comity_domain::text::Subject;
use comity_domain::time::{Days, Minutes};

use super::generate::{By, Moves, Step, step};
use super::plain::Member;
use crate::world::{anonymous, perms};

/// What roles are made of.
const ROLES: [&[&str]; 5] =
    [&["boats:*"], &["*:read"], &["boats:read", "money:pay"], &["money:*", "boats:read"], &["*"]];

impl Moves<'_> {
    pub fn standing_of_org(&mut self, to: Standing) -> Option<Step> {
        let from = if to == Standing::Active { Standing::Suspended } else { Standing::Active };
        let some = self.m.orgs.iter().filter(|(_, o)| o.standing == from).map(|(id, _)| *id);
        let some: Vec<OrganisationId> = some.collect();
        if to != Standing::Active && some.len() < 3 {
            return None; // somebody has to be left to play with
        }
        let organisation = self.rng.pick(&some)?;
        step(By::This(self.w.operate()), Command::SetStanding { organisation, standing: to })
    }

    fn a_member(
        &mut self,
        of: impl Fn(&Member) -> bool,
    ) -> Option<(OrganisationId, PersonId, Member)> {
        if self.rng.percent(12) {
            // The only Admin.
            let m = self.m;
            let alone = |o: &OrganisationId| {
                m.people.keys().filter(|p| m.is_active_admin(*o, **p)).count() == 1
            };
            let orgs: Vec<OrganisationId> = self.m.orgs.keys().copied().filter(alone).collect();
            if let Some(org) = self.rng.pick(&orgs) {
                let person =
                    self.m.people.keys().copied().find(|p| self.m.is_active_admin(org, *p))?;
                let member = self.m.members[&(org, person)].clone();
                return of(&member).then_some((org, person, member));
            }
        }
        // People on grants more often: what happens to them has consequences.
        let on: Vec<PersonId> = self.m.assigned.keys().map(|(_, p)| *p).collect();
        let busy = self.rng.percent(60);
        let some = self.m.members.iter().filter(|((_, p), m)| of(m) && (!busy || on.contains(p)));
        let some: Vec<_> = some.map(|((o, p), m)| (*o, *p, m.clone())).collect();
        self.rng.pick(&some)
    }

    fn put(&self, org: OrganisationId, person: PersonId, m: Member) -> Command {
        let (known, unit) = (&self.m.people[&person], &self.m.units[&m.unit]);
        Command::PutMember(PutMember {
            organisation: org,
            external: m.external,
            name: known.name.clone(),
            email: known.email.clone(),
            email_verified: true,
            unit: unit.external.clone(),
            portal: m.portal,
            active: m.active,
            roles: None,
        })
    }

    pub fn member_standing(&mut self, active: bool) -> Option<Step> {
        let (org, person, mut m) = self.a_member(|m| m.active != active)?;
        m.active = active;
        step(self.provisioner(org)?, self.put(org, person, m))
    }

    /// The same member, active.
    pub fn back_in(&self, org: OrganisationId, person: PersonId) -> Command {
        let m = self.m.members[&(org, person)].clone();
        self.put(org, person, Member { active: true, ..m })
    }

    /// Gives a member other roles at home, now and then one that is not there.
    pub fn home_roles(&mut self) -> Option<Step> {
        let (org, person, m) = self.a_member(|_| true)?;
        let own = self.m.roles.values().filter(|r| r.org == org && !r.deleted);
        let mut codes: Vec<String> = own.map(|r| r.code.clone()).collect();
        codes.retain(|_| self.rng.percent(60));
        if self.rng.percent(10) {
            codes.push("nobody-has-this".into());
        }
        let by = self.provisioner(org)?;
        let Command::PutMember(put) = self.put(org, person, m) else {
            return None;
        };
        step(by, Command::PutMember(PutMember { roles: Some(codes), ..put }))
    }

    pub fn move_member(&mut self) -> Option<Step> {
        let (org, person, mut m) = self.a_member(|_| true)?;
        let units = self.m.units.iter().filter(|(id, u)| u.org == org && **id != m.unit);
        m.unit = *units.map(|(id, _)| id).next()?;
        step(self.provisioner(org)?, self.put(org, person, m))
    }

    pub fn change_portal(&mut self) -> Option<Step> {
        let (org, person, mut m) = self.a_member(|_| true)?;
        m.portal =
            self.rng.pick(&[Some(PortalRole::Admin), Some(PortalRole::Admin), None]).unwrap();
        step(self.provisioner(org)?, self.put(org, person, m))
    }

    pub fn remove_member(&mut self) -> Option<Step> {
        let (mut organisation, _, mut m) = self.a_member(|_| true)?;
        let on_both = self.on_both_sides();
        if let Some((provider, person)) = self.rng.pick(&on_both).filter(|_| self.rng.percent(40)) {
            (organisation, m) = (provider, self.m.members[&(provider, person)].clone());
        }
        let command = Command::RemoveMember { organisation, external: m.external };
        step(self.provisioner(organisation)?, command)
    }

    /// Admins of a customer who are members of a provider that waits for its answer.
    fn on_both_sides(&self) -> Vec<(OrganisationId, PersonId)> {
        let pending = self.m.requests.values().filter(|r| self.m.pending(r));
        let both = pending.flat_map(|r| {
            let admin = |p: &&PersonId| self.m.is_active_admin(r.customer, **p);
            let here = self.m.people.keys().filter(admin).map(|p| (r.provider, *p));
            here.filter(|key| self.m.members.contains_key(key))
        });
        both.collect()
    }

    /// Mostly somebody whose membership is superseded.
    pub fn restore_membership(&mut self) -> Option<Step> {
        let all = self.rng.percent(5);
        let (organisation, _, m) = self.a_member(|m| all || m.superseded)?;
        let command = Command::RestoreMembership { organisation, external: m.external };
        step(self.fresh_admin(organisation)?, command)
    }

    /// Somebody who left comes back.
    pub fn rejoin(&mut self) -> Option<Step> {
        let known = |p: &PersonId| !self.m.erased.contains(&Subject::Person(*p));
        let left = self.m.left.keys().filter(|k| known(&k.1) && !self.m.members.contains_key(*k));
        let gone: Vec<_> = left.copied().collect();
        let (org, person) = self.rng.pick(&gone)?;
        self.join(org, person)
    }

    /// Somebody of one organisation becomes a member of another as well.
    pub fn recruit(&mut self) -> Option<Step> {
        let (mut org, (_, mut person, _)) = (self.org(), self.a_member(|_| true)?);
        if let Some(request) = self.request().filter(|_| self.rng.percent(50)) {
            let r = &self.m.requests[&request]; // an Admin of the one who is asked joins the asker
            let admin = |p: &&PersonId| self.m.is_active_admin(r.customer, **p);
            (org, person) = (r.provider, *self.m.people.keys().find(admin)?);
        }
        self.join(org, person)
    }

    fn join(&mut self, org: OrganisationId, person: PersonId) -> Option<Step> {
        let external = format!("{}-again", self.m.people[&person].email.replace('@', "-"));
        let portal = self.rng.percent(60).then_some(PortalRole::Admin);
        let unit = self.m.unit_named(org, self.rng.percent(30).then_some("u"));
        let member =
            Member { unit, portal, active: true, external, superseded: false, roles: Vec::new() };
        step(self.provisioner(org)?, self.put(org, person, member))
    }

    pub fn unit_standing(&mut self, active: bool) -> Option<Step> {
        let some = self.m.units.values().filter(|u| u.external.is_some() && u.active != active);
        let some: Vec<OrganisationId> = some.map(|u| u.org).collect();
        let organisation = self.rng.pick(&some)?;
        let put =
            Command::PutUnit { organisation, external: "u".into(), name: "Unit u".into(), active };
        step(self.provisioner(organisation)?, put)
    }

    pub fn remove_account(&mut self) -> Option<Step> {
        let some: Vec<_> = self.m.accounts.values().map(|a| (a.org, a.external.clone())).collect();
        let (organisation, external) = self.rng.pick(&some)?;
        step(self.provisioner(organisation)?, Command::RemoveAccount { organisation, external })
    }

    pub fn put_account(&mut self) -> Option<Step> {
        let organisation = self.org();
        let external: String = self.rng.pick(&["a0", "a1", "a2", "a3"]).unwrap().into();
        let (name, unit) =
            (format!("Account {external}"), self.rng.percent(35).then(|| "u".to_owned()));
        let put = Command::PutAccount { organisation, external, name, unit };
        step(self.provisioner(organisation)?, put)
    }

    pub fn put_role(&mut self) -> Option<Step> {
        let deleted = self.m.roles.values().filter(|r| r.deleted).map(|r| (r.org, r.code.clone()));
        let deleted: Vec<_> = deleted.collect();
        let any = (self.org(), self.rng.pick(&["clerk", "reader", "cashier"]).unwrap().to_owned());
        let anew = if self.rng.percent(30) { self.rng.pick(&deleted) } else { None };
        let (organisation, code) = anew.unwrap_or(any);
        let permissions = perms(self.rng.pick(&ROLES).unwrap());
        let put = Command::PutRole {
            organisation,
            code: code.clone(),
            name: format!("Role {code}"),
            permissions,
        };
        step(self.provisioner(organisation)?, put)
    }

    pub fn delete_role(&mut self) -> Option<Step> {
        let some = self.m.roles.values().filter(|r| !r.deleted).map(|r| (r.org, r.code.clone()));
        let some: Vec<_> = some.collect();
        let (organisation, code) = self.rng.pick(&some)?;
        step(self.provisioner(organisation)?, Command::DeleteRole { organisation, code })
    }

    pub fn rotate(&mut self) -> Option<Step> {
        let (organisation, code) = (self.org(), self.w.fresh_code());
        step(self.fresh_admin(organisation)?, Command::RotateCustomerId { organisation, code })
    }

    pub fn settings(&mut self) -> Option<Step> {
        let (organisation, other) = (self.org(), self.org());
        let own = &self.m.orgs[&organisation];
        let (mut settings, mut version) = (own.settings.clone(), own.version);
        match self.rng.below(12) {
            7 => settings.allow_external = !settings.allow_external,
            0 => settings.customer_id_on = false,
            1 | 8 | 9 => settings.customer_id_on = true,
            2 if organisation != other => drop(settings.blocked.insert(other)),
            3 | 10 | 11 => settings.blocked.clear(),
            4 => settings.session_cap = Minutes(self.rng.pick(&[4, 10, 30, 60, 120, 480]).unwrap()),
            5 => settings.longest_grant = Days(self.rng.pick(&[1, 7, 90, 730]).unwrap()),
            6 => version -= 1,
            _ => {}
        }
        let version = Some(version);
        step(self.admin(organisation)?, Command::ChangeSettings { organisation, settings, version })
    }

    pub fn policy(&mut self) -> Option<Step> {
        let never =
            perms(self.rng.pick(&[&[][..], &["money:pay"], &["money:*"], &["*:write"]]).unwrap());
        let session_cap = Minutes(self.rng.pick(&[480, 480, 120, 20]).unwrap());
        let offers_need_acceptance = self.rng.percent(80);
        let policy = Policy {
            never_delegable: never,
            session_cap,
            offers_need_acceptance,
            ..Policy::default()
        };
        step(By::This(self.w.operate()), Command::SetPolicy { policy })
    }

    pub fn rename(&mut self) -> Option<Step> {
        let id = self.org();
        let (own, code) = (&self.m.orgs[&id], self.w.fresh_code());
        let (external, name) = (own.external.clone(), format!("Renamed {}", own.renames));
        step(By::This(self.w.provision()), Command::PutOrganisation { external, name, code })
    }

    pub fn sign_in_as(&mut self, person: PersonId) -> Step {
        let digest = self.w.secret();
        let auth_epoch = self.m.people[&person].epoch;
        Step {
            by: By::This(anonymous()),
            command: Command::SignIn {
                person,
                auth_epoch,
                digest,
                proof: comity_domain::factor::Proof::Password,
            },
            seen: None,
        }
    }

    pub fn sign_in(&mut self) -> Option<Step> {
        let people: Vec<PersonId> = self.m.people.keys().copied().collect();
        let person = self.rng.pick(&people)?;
        let mut step = self.sign_in_as(person);
        if let Command::SignIn { auth_epoch, .. } = &mut step.command {
            *auth_epoch -= u32::from(self.rng.percent(20)); // the password changed at the door
        }
        Some(step)
    }

    pub fn sign_out(&mut self, everywhere: bool) -> Option<Step> {
        let (_, person, _) = self.a_member(|_| true)?;
        step(
            By::Person(person, false),
            if everywhere { Command::SignOutEverywhere } else { Command::SignOut },
        )
    }

    pub fn note_due(&mut self) -> Option<Step> {
        step(By::This(Caller::system()), Command::NoteDue)
    }
}
