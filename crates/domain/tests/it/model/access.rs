//! Whether a command about a grant and what hangs on it is accepted.

use std::collections::BTreeSet;

use comity_domain::command::{AssignmentSpec, Caller, Enter, Principal};
use comity_domain::grant::{GrantEnd, Narrowing};
use comity_domain::ids::{AccountId, GrantId, OrganisationId, PersonId, RoleId};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::Accounts;
use comity_domain::role::Mode;
use comity_domain::time::{DAY, Instant};

use super::judge::Side::{Customer, Provider};
use super::judge::{Side, Verdict, listed, unless};
use super::plain::{Fate, Grant, Plain, Request};

impl Plain {
    // -- grants -----------------------------------------------------------------------------------

    pub(super) fn judge_grant(
        &self,
        caller: &Caller,
        side: Side,
        id: GrantId,
    ) -> Result<&Grant, &'static str> {
        let grant = self.known_grant(id, self.now).ok_or("not_found")?;
        self.admin(caller, side, grant.customer, grant.provider)?;
        unless(!self.stands(grant), "wrong_state").map(|()| grant)
    }

    pub(super) fn judge_narrow(
        &self,
        caller: &Caller,
        id: GrantId,
        n: &Narrowing,
        version: Option<u32>,
    ) -> Verdict {
        let grant = self.known_grant(id, self.now).ok_or("not_found")?;
        self.admin(caller, Customer, grant.customer, grant.provider)?;
        unless(version.is_some_and(|v| v != grant.version), "version_conflict")?;
        unless(!self.stands(grant), "wrong_state")?;
        if let Some(kept) = &n.roles {
            unless(kept.iter().any(|r| !grant.roles.contains_key(r)), "widening")?;
        }
        let accounts = n.accounts.as_ref().map_or(grant.accounts.clone(), listed);
        let modes = n.modes.unwrap_or(grant.modes);
        let nothing = n.roles.as_ref().is_some_and(BTreeSet::is_empty)
            || accounts.as_ref().is_some_and(BTreeSet::is_empty)
            || modes.is_empty();
        unless(nothing, "invalid")?;
        unless(!grant.modes.covers(modes), "widening")?;
        match (&grant.accounts, &accounts) {
            (None, Some(list)) => unless(list.iter().any(|a| !self.on_side(grant, *a)), "invalid")?,
            (Some(_), None) => return Err("widening"),
            (Some(has), Some(list)) => unless(!list.is_subset(has), "widening")?,
            (None, None) => {}
        }
        let end = n.end.unwrap_or(grant.end);
        unless(end > grant.end, "widening")?;
        unless(end <= grant.start || end <= self.now, "invalid")?;
        let cap = n.cap.map_or(grant.cap, |c| c.0);
        unless(cap > grant.cap || cap < 5, "widening")
    }

    // -- assignments --------------------------------------------------------------------------------

    pub(super) fn judge_spec(&self, id: GrantId, spec: &AssignmentSpec) -> Verdict {
        let grant = &self.grants[&id];
        unless(!self.stands(grant), "wrong_state")?;
        unless(grant.auto.is_some(), "auto_assign_enabled")?;
        unless(self.locked(grant.customer, grant.provider, spec.person), "locked")?;
        unless(self.halted(id, spec.person), "locked")?;
        unless(!self.side_active(grant.customer, grant.customer_unit), "not_active")?;
        let member = self.active_member(grant.provider, spec.person);
        unless(member.is_none_or(|m| grant.provider_unit.is_some_and(|u| u != m.unit)), "invalid")?;
        unless(spec.roles.is_empty(), "invalid")?;
        let given = |r: &RoleId| grant.roles.contains_key(r) && !self.roles[r].deleted;
        unless(!spec.roles.iter().all(given), "widening")?;
        unless(spec.accounts.is_empty(), "invalid")?;
        unless(grant.accounts.as_ref().is_some_and(BTreeSet::is_empty), "invalid")?;
        if let Accounts::List(list) = &spec.accounts {
            let inside = |a: &AccountId| {
                self.on_side(grant, *a) && grant.accounts.as_ref().is_none_or(|l| l.contains(a))
            };
            unless(!list.iter().all(inside), "widening")?;
        }
        let Some(ends) = spec.ends_at else {
            return Ok(());
        };
        unless(ends > grant.end, "widening")?;
        unless(ends <= self.now || ends <= grant.start, "invalid")
    }

    pub(super) fn judge_unassign(
        &self,
        caller: &Caller,
        id: GrantId,
        person: PersonId,
        successor: Option<&AssignmentSpec>,
    ) -> Verdict {
        let grant = self.known_grant(id, self.now);
        let row = self.assigned.get(&(id, person));
        let leaves = caller.person() == Some(person) && successor.is_none();
        let grant = match grant {
            Some(grant) if leaves && row.is_some() => grant,
            Some(grant) => {
                self.admin(caller, Provider, grant.customer, grant.provider)?;
                grant
            }
            None => return Err("not_found"),
        };
        unless(!self.stands(grant), "wrong_state")?;
        unless(row.is_none(), "not_found")?;
        unless(row.is_some_and(|a| a.auto), "auto_assign_enabled")?;
        if let Some(spec) = successor {
            unless(spec.person == person, "invalid")?;
            self.judge_spec(id, spec)?;
            return self.spares_the_admins(id, std::slice::from_ref(spec));
        }
        unless(
            self.running(grant) && self.attends(id, person) && self.active_on(id) == 1,
            "last_user",
        )
    }

    pub(super) fn judge_set(
        &self,
        caller: &Caller,
        id: GrantId,
        people: &[AssignmentSpec],
    ) -> Verdict {
        let grant = self.judge_grant(caller, Provider, id)?;
        unless(grant.auto.is_some(), "auto_assign_enabled")?;
        let named: BTreeSet<PersonId> = people.iter().map(|s| s.person).collect();
        unless(named.len() < people.len(), "invalid")?;
        for spec in people.iter().filter(|s| !self.has_already(id, s)) {
            self.judge_spec(id, spec)?;
        }
        let attends = |p: &PersonId| self.attends(id, *p);
        let on: Vec<PersonId> =
            self.assigned.keys().filter(|(g, _)| *g == id).map(|(_, p)| *p).collect();
        let put = people.iter().any(|s| !self.has_already(id, s));
        let left = put || on.iter().any(|p| named.contains(p) && attends(p));
        unless(self.running(grant) && on.iter().any(attends) && !left, "last_user")?;
        self.spares_the_admins(id, people)
    }

    /// Whether somebody is left alone by a set, because nothing would be different.
    pub(super) fn has_already(&self, id: GrantId, spec: &AssignmentSpec) -> bool {
        self.assigned.get(&(id, spec.person)).is_some_and(|a| {
            !a.no_roles
                && a.roles == spec.roles.iter().copied().collect()
                && a.accounts == listed(&spec.accounts)
                && a.ends == spec.ends_at.unwrap_or(Instant::NEVER)
        })
    }

    // -- sessions -----------------------------------------------------------------------------------

    /// The one grant that fits.
    pub fn judge_enter(&self, caller: &Caller, enter: &Enter) -> Result<GrantId, &'static str> {
        unless(
            matches!(caller.principal, Principal::PartnerSession(_)),
            "partner_session_refused",
        )?;
        let person = caller.person().ok_or("not_found")?;
        unless(enter.audience != crate::world::AUDIENCE, "invalid")?;
        let mine = |id: &GrantId| {
            self.known_grant(*id, self.now).is_some_and(|g| {
                g.customer == enter.customer
                    && enter.grant.is_none_or(|wanted| wanted == *id)
                    && self.assigned.contains_key(&(*id, person))
            })
        };
        let mine: Vec<GrantId> = self.grants.keys().copied().filter(mine).collect();
        if mine.is_empty() {
            // Whose organisation was let in before is told that nothing is left.
            let knew = self.grants.iter().any(|(id, g)| {
                g.customer == enter.customer
                    && self.known_grant(*id, self.now).is_some()
                    && self.active_member(g.provider, person).is_some()
            });
            return Err(if knew && enter.grant.is_none() { "no_access" } else { "not_found" });
        }
        let began = |g: &Grant| self.stands(g) && self.now >= g.start;
        let usable = |id: &GrantId| {
            began(&self.grants[id]) && self.gives_access(&self.assigned[&(*id, person)])
        };
        let usable: Vec<GrantId> = mine.into_iter().filter(usable).collect();
        unless(usable.is_empty(), "no_access")?;
        let usable: Vec<GrantId> =
            usable.into_iter().filter(|id| self.running(&self.grants[id])).collect();
        unless(usable.is_empty(), "unconfirmed")?;
        let fitting: Vec<GrantId> =
            usable.into_iter().filter(|id| self.grants[id].modes.contains(enter.mode)).collect();
        unless(fitting.is_empty(), "mode_not_granted")?;
        unless(fitting.len() > 1, "grant_required")?;
        let id = fitting[0];
        let grant = &self.grants[&id];
        unless(self.locked(grant.customer, grant.provider, person), "locked")?;
        unless(self.halted(id, person), "locked")?;
        let active = self.side_active(grant.customer, grant.customer_unit)
            && self.side_active(grant.provider, grant.provider_unit)
            && self.active_member(grant.provider, person).is_some();
        unless(!active, "not_active")?;
        let impersonates = enter.mode == Mode::ActAs;
        unless(impersonates && enter.reason.is_none(), "invalid")?;
        let alike = self.sessions.values().filter(|s| {
            self.live_session(s)
                && (s.grant, s.person) == (id, person)
                && (s.mode == Mode::ActAs) == impersonates
        });
        unless(alike.count() >= if impersonates { 1 } else { 5 }, "session_exists").map(|()| id)
    }

    // -- locks --------------------------------------------------------------------------------------

    pub(super) fn is_known_partner(&self, customer: OrganisationId, target: LockTarget) -> bool {
        let asked = |r: &Request| match target {
            LockTarget::Organisation(org) => r.provider == org,
            LockTarget::Person(person) => r.offered.is_none() && r.by == person,
        };
        let requests = self.requests.iter().any(|(id, r)| {
            r.customer == customer && asked(r) && self.known_request(*id, self.now).is_some()
        });
        let grants = self.grants.iter().any(|(id, g)| {
            let here = g.customer == customer && self.known_grant(*id, self.now).is_some();
            here && match target {
                LockTarget::Organisation(org) => g.provider == org,
                LockTarget::Person(person) => {
                    self.assigned.contains_key(&(*id, person))
                        || self.sessions.iter().any(|(s, x)| {
                            (x.grant, x.person) == (*id, person)
                                && self.known_session(*s, self.now).is_some()
                        })
                }
            }
        });
        requests || grants
    }

    /// Ends a grant with all that hangs on it.
    pub fn end_grant(&mut self, id: GrantId, cause: GrantEnd) {
        self.assigned.retain(|(g, _), _| *g != id);
        let grant = self.grants.get_mut(&id).unwrap();
        grant.ended = Some(cause);
        grant.version += 1;
        grant.unattended = false;
        grant.auto = None;
        grant.unconfirmed = None;
    }

    /// Cancels what is pending and matches.
    pub fn cancel_pending(&mut self, of: impl Fn(&Request) -> bool) {
        let now = self.now;
        for request in self.requests.values_mut() {
            if request.fate == Fate::Pending && now < request.at.plus(30 * DAY) && of(request) {
                request.fate = Fate::Cancelled;
            }
        }
    }
}
