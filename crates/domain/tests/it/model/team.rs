//! *Automatically add partner users* and a person's view, as plainly as they can be said.

use std::collections::{BTreeMap, BTreeSet};

use comity_domain::auto::{self, AutoSpec};
use comity_domain::command::{Caller, Command};
use comity_domain::ids::{Digest32, GrantId, OrganisationId, PersonId, RoleId};
use comity_domain::lock::LockTarget;
use comity_domain::person::PortalRole;

use super::generate::{Moves, Step, step};
use super::judge::Side::Provider;
use super::judge::{Verdict, unless};
use super::plain::{Auto, Member, Plain};

/// What nobody was shown.
const NEVER_SHOWN: Digest32 = Digest32([1; 32]);

impl Plain {
    /// Whom a rule would put on a grant.
    fn would_cover(&self, id: GrantId, only: Option<&BTreeSet<PortalRole>>) -> Vec<PersonId> {
        let grant = &self.grants[&id];
        let fits = |org: OrganisationId, m: &Member| {
            org == grant.provider
                && grant.provider_unit.is_none_or(|u| u == m.unit)
                && only.is_none_or(|only| m.portal.is_some_and(|p| only.contains(&p)))
        };
        let members = self.members.iter().filter(|((org, _), m)| fits(*org, m));
        members.map(|((_, person), _)| *person).collect()
    }

    pub(super) fn judge_auto(
        &self,
        caller: &Caller,
        id: GrantId,
        auto: Option<&AutoSpec>,
        token: Digest32,
    ) -> Verdict {
        let grant = self.judge_grant(caller, Provider, id)?;
        let shown = |_| unless(token == NEVER_SHOWN, "stale_summary");
        let Some(spec) = auto else {
            return Ok(()).and_then(shown);
        };
        let locked = self.locks.values().any(|(by, target)| {
            *by == grant.customer && *target == LockTarget::Organisation(grant.provider)
        });
        use comity_domain::halt::HaltTarget as H;
        let halted = self.halts.values().any(|target| match target {
            H::Grant(g) => *g == id,
            H::Organisation(o) => *o == grant.customer || *o == grant.provider,
            H::Person(_) | H::Session(_) | H::Key(_) => false,
        });
        unless(locked || halted, "locked")?;
        unless(!self.side_active(grant.customer, grant.customer_unit), "not_active")?;
        unless(spec.roles.is_empty(), "invalid")?;
        let given = |r: &RoleId| grant.roles.contains_key(r) && !self.roles[r].deleted;
        unless(!spec.roles.iter().all(given), "widening")?;
        unless(spec.only.as_ref().is_some_and(BTreeSet::is_empty), "invalid")?;
        unless(grant.accounts.as_ref().is_some_and(BTreeSet::is_empty), "invalid")?;
        let covered = self.would_cover(id, spec.only.as_ref());
        let admin = |p: &PersonId| self.is_active_admin(grant.customer, *p);
        let had = self.people.keys().any(admin);
        let keeps = self.people.keys().any(|p| admin(p) && !covered.contains(p));
        unless(had && !keeps, "last_admin")?;
        let some = covered.iter().any(|p| self.active_member(grant.provider, *p).is_some());
        unless(self.running(grant) && self.active_on(id) > 0 && !some, "last_user").and_then(shown)
    }

    pub(super) fn set_auto(
        &mut self,
        id: GrantId,
        auto: Option<&AutoSpec>,
        left: &mut BTreeSet<GrantId>,
    ) {
        let Some(spec) = auto else {
            return self.individually(id);
        };
        let rule = Auto {
            roles: spec.roles.iter().copied().collect(),
            only: spec.only.clone(),
            no_roles: false,
            left_out: BTreeSet::new(),
        };
        if self.grants[&id].auto.as_ref() == Some(&rule) {
            return;
        }
        let before = self.assigned.len();
        self.assigned.retain(|(g, _), a| *g != id || a.auto);
        let replaced = before - self.assigned.len();
        if replaced > 0 {
            left.insert(id);
        }
        let grant = self.grants.get_mut(&id).unwrap();
        grant.auto = Some(rule);
        grant.version += 1 + u32::try_from(replaced).unwrap();
        self.cover();
        if self.active_on(id) > 0 {
            self.grants.get_mut(&id).unwrap().unattended = false;
        }
    }

    /// Everybody keeps what the rule gave.
    fn individually(&mut self, id: GrantId) {
        let Some(rule) = self.grants.get_mut(&id).unwrap().auto.take() else {
            return;
        };
        let mut kept = 0;
        if !rule.no_roles {
            for (_, a) in self.assigned.iter_mut().filter(|((g, _), a)| *g == id && a.auto) {
                a.auto = false;
                kept += 1;
            }
        }
        let grant = self.grants.get_mut(&id).unwrap();
        grant.version += 1 + kept;
        if self.active_on(id) > 0 {
            self.grants.get_mut(&id).unwrap().unattended = false;
        }
    }

    // -- who leaves, and who takes part -----------------------------------------------------------

    /// Grants with a rule on which somebody is.
    pub(super) fn ruled(&self) -> BTreeSet<GrantId> {
        let ruled = self.grants.iter().filter(|(_, g)| g.auto.is_some()).map(|(id, _)| *id);
        ruled.filter(|id| self.active_on(*id) > 0).collect()
    }

    pub(super) fn left_for_good(&mut self, org: OrganisationId, person: PersonId) {
        for grant in self.grants.values_mut().filter(|g| g.provider == org) {
            if let Some(rule) = &mut grant.auto {
                rule.left_out.remove(&person);
            }
        }
    }

    /// Who joined, or takes part otherwise than before, ends that a grant of theirs is alone.
    pub(super) fn attended_again(&mut self, before: &BTreeMap<(OrganisationId, PersonId), Member>) {
        let place = |m: &Member| (m.unit, m.portal, m.active, m.superseded);
        let new = |key: &(OrganisationId, PersonId), m: &Member| {
            before.get(key).is_none_or(|b| place(b) != place(m))
        };
        let new: Vec<_> =
            self.members.iter().filter(|(key, m)| new(key, m)).map(|(key, _)| *key).collect();
        for (org, person) in new {
            let theirs = |id: &GrantId, g: &super::plain::Grant| {
                let on = self.assigned.get(&(*id, person)).is_some_and(|a| a.auto);
                g.provider == org && on && self.attends(*id, person)
            };
            let theirs: Vec<GrantId> =
                self.grants.iter().filter(|(id, g)| theirs(id, g)).map(|(id, _)| *id).collect();
            for id in theirs {
                self.grants.get_mut(&id).unwrap().unattended = false;
            }
        }
    }

    // -- a person's view --------------------------------------------------------------------------

    fn own_ways(&self, org: OrganisationId, person: PersonId) -> Vec<GrantId> {
        let own = self.assigned.iter().filter(|((id, p), a)| {
            let grant = &self.grants[id];
            *p == person && !a.auto && grant.provider == org && self.stands(grant)
        });
        own.map(|((id, _), _)| *id).collect()
    }

    pub(super) fn judge_end_access(
        &self,
        caller: &Caller,
        org: OrganisationId,
        person: PersonId,
    ) -> Verdict {
        self.manage(caller, org)?;
        let member = self.members.get(&(org, person));
        unless(member.is_none() && self.own_ways(org, person).is_empty(), "not_found")?;
        if member.is_some_and(|m| m.active) { self.keeps_an_admin(org, person) } else { Ok(()) }
    }

    pub(super) fn end_access(
        &mut self,
        org: OrganisationId,
        person: PersonId,
        left: &mut BTreeSet<GrantId>,
    ) {
        for id in self.own_ways(org, person) {
            self.assigned.remove(&(id, person));
            self.grants.get_mut(&id).unwrap().version += 1;
            left.insert(id);
        }
        if let Some(member) = self.members.get_mut(&(org, person)) {
            member.active = false;
        }
    }
}

impl Moves<'_> {
    pub fn set_auto(&mut self) -> Option<Step> {
        let (grant, g) = self.standing()?;
        let wild = self.rng.percent(6);
        let roles: Vec<RoleId> = if wild {
            self.m.roles.keys().copied().collect()
        } else {
            g.roles.keys().copied().collect()
        };
        let both = [PortalRole::Admin, PortalRole::CustomerSupport];
        let only = match self.rng.below(5) {
            0 => Some(self.rng.some(&both).into_iter().collect()),
            _ => None,
        };
        let spec = AutoSpec { roles: self.rng.some(&roles), only };
        let on = if g.auto.is_some() { 35 } else { 92 };
        let auto = self.rng.percent(on).then_some(spec);
        let planned =
            auto::plan(&self.w.state, grant, &g_of(self, grant)?, auto.as_ref(), self.m.now);
        let token = match planned {
            Ok(preview) if !self.rng.percent(4) => preview.token,
            _ => NEVER_SHOWN,
        };
        step(self.admin(g.provider)?, Command::SetAuto { grant, auto, token })
    }

    pub fn end_access(&mut self) -> Option<Step> {
        let (grant, mut person) = self.assigned()?;
        let organisation = self.m.grants[&grant].provider;
        if self.rng.percent(8) {
            person = self.rng.pick(&self.m.people.keys().copied().collect::<Vec<_>>())?;
        }
        step(self.provisioner(organisation)?, Command::EndAccess { organisation, person })
    }
}

fn g_of(moves: &Moves<'_>, id: GrantId) -> Option<comity_domain::grant::Grant> {
    moves.w.state.grants.get(id).cloned()
}
