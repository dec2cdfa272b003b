//! What people do: each verb of a story becomes one command.

use comity_domain::application::KeyUse;
use comity_domain::auto::{self, AutoSpec};
use comity_domain::bulk::{self, Deed, Many, Plan};
use comity_domain::command::{AssignmentSpec, Caller, Command, Enter, PutMember};
use comity_domain::grant::{Grant, Narrowing};
use comity_domain::ids::{Digest32, GrantId, OrganisationId};
use comity_domain::lock::LockTarget;
use comity_domain::may::{self, Action, Thing};
use comity_domain::organisation::{Accounts, Standing};
use comity_domain::permission::Permission;
use comity_domain::person::PortalRole;
use comity_domain::refusal::{Reason, Refusal};
use comity_domain::rights::{self, Resource};
use comity_domain::role::{Level, Mode};
use comity_domain::text::Subject;
use comity_domain::time::{Days, Minutes};

use super::stage::{Fault, Played, Saved, Stage, mode, modes, permissions, portal, wrong};
use super::story::{AccountNames, Act, Bulk, Successor};
use crate::world::by_key;

impl Stage {
    /// Does what a step says; what it made can be saved.
    pub fn perform(&mut self, who: &str, caller: &Caller, act: &Act) -> Played<Option<Saved>> {
        if let Some(saved) = self.request_deed(who, caller, act) {
            return saved;
        }
        match act {
            Act::ReadCustomerId { organisation } => {
                let organisation = self.organisation(organisation);
                self.may(caller, Action::ReadCustomerId, Thing::organisation(organisation))?;
                Ok(Some(Saved::Code(self.code(organisation))))
            }
            Act::Restore { keep_people } => {
                self.restore(*keep_people)?;
                Ok(None)
            }
            Act::Enrol { member } => {
                let person = self.person(member)?;
                self.w.sign_in(person);
                Ok(None)
            }
            Act::RotateCustomerId { organisation } => {
                let code = self.rotate(caller, self.organisation(organisation))?;
                Ok(Some(Saved::Code(code)))
            }
            Act::PutOrganisation { organisation, name } => {
                self.put_organisation(caller, organisation, name)?;
                Ok(None)
            }
            Act::PutMember { member, same_person_as, portal, unit, active } => {
                let put = self.changed_member(
                    member,
                    same_person_as.as_deref(),
                    portal.as_deref(),
                    unit,
                    *active,
                )?;
                self.put_member(caller, member.clone(), put)?;
                Ok(None)
            }
            Act::Enter { customer, mode: wanted, application, grant, reason } => {
                let enter = Enter {
                    scope: None,
                    jwt: false,
                    customer: self.organisation(customer),
                    audience: self.audience(application.as_deref())?,
                    grant: grant.as_ref().map(|g| self.grant(g)).transpose()?,
                    mode: wanted.as_deref().map_or(Ok(Mode::Direct), mode)?,
                    reason: reason.clone(),
                    token: self.w.secret(),
                };
                let token = enter.token;
                self.w.run(caller, Command::Enter(enter))?;
                Ok(self.w.state.session_by_token(token).map(Saved::Session))
            }
            Act::Bulk(bulk) => {
                let (grant, many) = self.many(bulk)?;
                let planned = bulk::plan(&self.w.state, grant, &many, self.w.now).ok();
                let token = match &bulk.summary {
                    Some(saved) => self.hash(saved)?,
                    None => planned
                        .as_ref()
                        .filter(|_| !bulk.unseen)
                        .map_or(Digest32([0; 32]), |plan| plan.token),
                };
                let linked = planned.and_then(|p| p.linked_token).filter(|_| bulk.take_along);
                let many = Box::new(many);
                self.w.run(caller, Command::AssignMany { grant, many, token, linked })?;
                Ok(None)
            }
            Act::ExpectBulk { bulk, .. } => {
                let (grant, many) = self.many(bulk)?;
                may::authentic(&self.w.state, caller, self.w.now)?;
                may::check_grant(&self.w.state, caller, many.action(), grant, self.w.now)?;
                let plan = bulk::plan(&self.w.state, grant, &many, self.w.now)?;
                self.planned(act, &plan)?;
                Ok(Some(Saved::Hash(plan.token)))
            }
            Act::Lock { organisation, .. } => {
                let customer = self.organisation(organisation);
                let command = self.command(caller, act)?;
                let Command::Lock { target, .. } = command else {
                    return wrong("not a lock");
                };
                self.w.run(caller, command)?;
                Ok(self.w.state.lock_on(customer, target).map(Saved::Lock))
            }
            _ => {
                let command = self.command(caller, act)?;
                self.w.run(caller, command)?;
                Ok(None)
            }
        }
    }

    /// Goes on from a copy of this moment, with new keys.
    fn restore(&mut self, keep_people: bool) -> Played {
        let command = Command::Restore { fork: 2, erased: Vec::new(), keep_people };
        self.w.run(&Caller::system(), command)?;
        let operate = by_key(self.w.key(&Caller::system(), KeyUse::Operate, None));
        let provision = by_key(self.w.key(&operate, KeyUse::Provision, None));
        let boats = Some(self.w.boats);
        let decide = by_key(self.w.key(&operate, KeyUse::Decide, boats));
        self.w.hold_keys(&operate, &provision, &decide);
        Ok(())
    }

    /// Whether the kernel lets `caller` read or do something, as a door would ask it.
    pub fn may(&self, caller: &Caller, action: Action, thing: Thing) -> Played {
        may::authentic(&self.w.state, caller, self.w.now)?;
        Ok(may::check(&self.w.state, caller, action, thing, self.w.now)?)
    }

    fn audience(&self, application: Option<&str>) -> Played<String> {
        let code = application.unwrap_or("boats");
        self.applications
            .get(code)
            .cloned()
            .map_or_else(|| wrong(format!("no application {code:?}")), Ok)
    }

    fn changed_member(
        &self,
        member: &str,
        same_person_as: Option<&str>,
        role: Option<&str>,
        unit: &Option<String>,
        active: Option<bool>,
    ) -> Played<PutMember> {
        let (external, _) = Self::split(member)?;
        let mut put = match (self.known_member(member), same_person_as) {
            (Some(known), None) => known,
            (None, None) => self.w.member_spec(self.home(member)?, external, None),
            (_, Some(other)) => {
                let Some(same) = self.known_member(other) else {
                    return wrong(format!("nobody is {other}"));
                };
                PutMember {
                    name: same.name,
                    email: same.email,
                    ..self.w.member_spec(self.home(member)?, external, None)
                }
            }
        };
        match role {
            Some("none") => put.portal = None,
            Some(role) => put.portal = Some(portal(role)),
            None => {}
        }
        if unit.is_some() {
            put.unit.clone_from(unit);
        }
        put.active = active.unwrap_or(put.active);
        Ok(put)
    }

    // -- plain commands -----------------------------------------------------------------------------

    fn command(&mut self, caller: &Caller, act: &Act) -> Played<Command> {
        match act {
            Act::Confirm { .. }
            | Act::Revoke { .. }
            | Act::GiveUp { .. }
            | Act::Narrow { .. }
            | Act::Assign { .. }
            | Act::Unassign { .. }
            | Act::SetAssignments { .. } => self.grant_command(act),
            Act::SetAuto { .. } => self.auto_command(act),
            Act::SetStanding { .. } | Act::SetPolicy { .. } | Act::PutLevel { .. } => {
                self.operator_command(act)
            }
            _ => self.other_command(caller, act),
        }
    }

    fn operator_command(&self, act: &Act) -> Played<Command> {
        Ok(match act {
            Act::SetStanding { organisation, standing } => {
                let standing = match standing.as_str() {
                    "active" => Standing::Active,
                    "suspended" => Standing::Suspended,
                    "closed" => Standing::Closed,
                    other => return wrong(format!("{other:?} is no standing")),
                };
                Command::SetStanding { organisation: self.organisation(organisation), standing }
            }
            Act::SetPolicy {
                never_delegable,
                session_minutes,
                longest_grant_days,
                offers_need_acceptance,
            } => {
                let mut policy = self.w.state.policy.clone();
                if let Some(never) = never_delegable {
                    policy.never_delegable = permissions(never)?;
                }
                policy.offers_need_acceptance =
                    offers_need_acceptance.unwrap_or(policy.offers_need_acceptance);
                policy.session_cap = session_minutes.map_or(policy.session_cap, Minutes);
                policy.longest_grant = longest_grant_days.map_or(policy.longest_grant, Days);
                Command::SetPolicy { policy }
            }
            Act::PutLevel {
                level,
                permissions: words,
                modes: of,
                longest_grant_days,
                session_minutes,
            } => Command::PutLevel {
                code: level.clone(),
                level: Level {
                    ceiling: permissions(words)?,
                    modes: modes(of)?,
                    longest_grant: Days(*longest_grant_days),
                    session_cap: Minutes(*session_minutes),
                },
            },
            other => return wrong(format!("{other:?} is not played here")),
        })
    }

    fn other_command(&self, caller: &Caller, act: &Act) -> Played<Command> {
        Ok(match act {
            Act::PutUnit { organisation, unit, active } => Command::PutUnit {
                organisation: self.organisation(organisation),
                external: unit.clone(),
                name: format!("Unit {unit}"),
                active: active.unwrap_or(true),
            },
            Act::LinkAccount { organisation, account, group } => Command::LinkAccount {
                organisation: self.organisation(organisation),
                external: account.clone(),
                group: group.clone(),
            },
            Act::PutAccount { organisation, account, unit } => Command::PutAccount {
                organisation: self.organisation(organisation),
                external: account.clone(),
                name: format!("Account {account}"),
                unit: unit.clone(),
            },
            Act::RemoveAccount { organisation, account } => Command::RemoveAccount {
                organisation: self.organisation(organisation),
                external: account.clone(),
            },
            Act::PutRole { organisation, role, permissions: words } => Command::PutRole {
                organisation: self.organisation(organisation),
                code: role.clone(),
                name: format!("Role {role}"),
                permissions: permissions(words)?,
            },
            Act::DeleteRole { organisation, role } => Command::DeleteRole {
                organisation: self.organisation(organisation),
                code: role.clone(),
            },
            Act::EndAccess { member } => Command::EndAccess {
                organisation: self.home(member)?,
                person: self.person(member)?,
            },
            Act::RemoveMember { member } => Command::RemoveMember {
                organisation: self.home(member)?,
                external: Self::split(member)?.0.into(),
            },
            Act::RestoreMember { member } => Command::RestoreMembership {
                organisation: self.home(member)?,
                external: Self::split(member)?.0.into(),
            },
            Act::Erase { organisation, member, request, session } => {
                let subject = match (organisation, member, request, session) {
                    (Some(o), None, None, None) => Subject::Organisation(self.organisation(o)),
                    (None, Some(m), None, None) => Subject::Person(self.person(m)?),
                    (None, None, Some(r), None) => Subject::Request(self.request(r)?),
                    (None, None, None, Some(s)) => Subject::Session(self.session(s)?),
                    _ => return wrong("an erasure names one of them"),
                };
                Command::EraseWords { subject }
            }
            Act::ChangeSettings {
                organisation,
                customer_id_on,
                session_minutes,
                longest_grant_days,
                blocked,
                stale,
            } => {
                let organisation = self.organisation(organisation);
                self.may(caller, Action::ReadSettings, Thing::organisation(organisation))?;
                let known =
                    self.w.state.organisations.get(organisation).ok_or(Refusal::NotFound)?;
                let mut settings = known.settings.clone();
                settings.customer_id_on = customer_id_on.unwrap_or(settings.customer_id_on);
                settings.session_cap = session_minutes.map_or(settings.session_cap, Minutes);
                settings.longest_grant = longest_grant_days.map_or(settings.longest_grant, Days);
                if let Some(blocked) = blocked {
                    settings.blocked = blocked.iter().map(|b| self.organisation(b)).collect();
                }
                let version = Some(if *stale { known.version - 1 } else { known.version });
                Command::ChangeSettings { organisation, settings, version }
            }
            Act::CancelRequest { request } => {
                Command::CancelRequest { request: self.request(request)? }
            }
            Act::Deny { request, reason, message } => Command::Deny {
                request: self.request(request)?,
                reason: reason.clone(),
                message: message.clone(),
            },
            Act::CloseSession { session } => {
                Command::CloseSession { session: self.session(session)? }
            }
            Act::EndSession { session } => Command::EndSession { session: self.session(session)? },
            Act::Lock { organisation, partner, member, reason } => {
                let target = match (partner, member) {
                    (Some(partner), None) => LockTarget::Organisation(self.organisation(partner)),
                    (None, Some(member)) => LockTarget::Person(self.person(member)?),
                    _ => return wrong("a lock names a partner or a member"),
                };
                Command::Lock {
                    customer: self.organisation(organisation),
                    target,
                    reason: reason.clone(),
                }
            }
            Act::Unlock { lock } => Command::Unlock { lock: self.lock(lock)? },
            other => return wrong(format!("{other:?} is not played here")),
        })
    }

    fn grant_command(&self, act: &Act) -> Played<Command> {
        Ok(match act {
            Act::Confirm { organisation, grants } => Command::Confirm {
                customer: organisation.as_ref().map(|o| self.organisation(o)),
                grants: grants.iter().map(|g| self.grant(g)).collect::<Played<_>>()?,
            },
            Act::Revoke { grant } => Command::Revoke { grant: self.grant(grant)? },
            Act::GiveUp { grant } => Command::GiveUp { grant: self.grant(grant)? },
            Act::Narrow {
                grant,
                roles,
                accounts,
                modes: kept,
                ends_in,
                session_minutes,
                stale,
            } => {
                let (grant, known) = self.known_grant(grant)?;
                let customer = known.map_or(OrganisationId::MAX, |g| g.customer.organisation);
                let narrowing = Narrowing {
                    roles: roles
                        .as_ref()
                        .map(|r| r.iter().map(|r| self.role_in(known, r)).collect()),
                    accounts: accounts.as_ref().map(|a| self.accounts(customer, a)),
                    modes: kept.as_ref().map(|m| modes(m)).transpose()?,
                    end: ends_in.map(|s| self.w.now.plus(s.0)),
                    cap: session_minutes.map(Minutes),
                };
                let version = known.map(|g| if *stale { g.version - 1 } else { g.version });
                Command::Narrow { grant, narrowing, version }
            }
            Act::Assign { grant, member, roles, accounts, ends_in } => {
                let (grant, known) = self.known_grant(grant)?;
                let successor = Successor {
                    member: member.clone(),
                    roles: roles.clone(),
                    accounts: accounts.clone(),
                };
                let mut spec = self.assignment(known, &successor)?;
                spec.ends_at = ends_in.map(|s| self.w.now.plus(s.0));
                Command::Assign { grant, spec }
            }
            Act::Unassign { grant, member, successor } => {
                let (grant, known) = self.known_grant(grant)?;
                let person = self.person(member)?;
                let successor =
                    successor.as_ref().map(|s| self.assignment(known, s)).transpose()?;
                Command::Unassign { grant, person, successor }
            }
            Act::SetAssignments { grant, people } => {
                let (grant, known) = self.known_grant(grant)?;
                let people = people.iter().map(|p| self.assignment(known, p));
                Command::SetAssignments { grant, people: people.collect::<Played<_>>()? }
            }
            other => return wrong(format!("{other:?} is not played here")),
        })
    }

    /// Looks at the preview, and takes its token along.
    fn auto_command(&self, act: &Act) -> Played<Command> {
        let Act::SetAuto { grant, roles, only, stale, gains, loses } = act else {
            return wrong("no rule");
        };
        let (grant, known) = self.known_grant(grant)?;
        let portal = |word: &String| match word.as_str() {
            "admin" => Ok(PortalRole::Admin),
            "customer_support" => Ok(PortalRole::CustomerSupport),
            other => wrong(format!("no portal role {other}")),
        };
        let only =
            only.as_ref().map(|o| o.iter().map(portal).collect::<Played<_>>()).transpose()?;
        let auto = roles.as_ref().map(|roles| AutoSpec {
            roles: roles.iter().map(|r| self.role_in(known, r)).collect(),
            only,
        });
        let seen = known.map(|g| auto::plan(&self.w.state, grant, g, auto.as_ref(), self.w.now));
        let Some(Ok(seen)) = seen else {
            return Ok(Command::SetAuto { grant, auto, token: Digest32([0; 32]) });
        };
        for (wanted, got) in [(gains, &seen.gains), (loses, &seen.loses)] {
            let provider = known.map(|g| g.provider.organisation).unwrap_or(OrganisationId::MIN);
            let mut got: Vec<String> = got.iter().map(|p| self.called(provider, *p)).collect();
            got.sort();
            let wanted = wanted.clone().map(|mut names| {
                names.sort();
                names
            });
            if wanted.is_some_and(|wanted| wanted != got) {
                return wrong(format!("the preview says {got:?}"));
            }
        }
        let token = if *stale { Digest32([0; 32]) } else { seen.token };
        Ok(Command::SetAuto { grant, auto, token })
    }

    /// A grant by its name, with what the state has of it.
    pub fn known_grant(&self, name: &str) -> Played<(GrantId, Option<&Grant>)> {
        let id = self.grant(name)?;
        Ok((id, self.w.state.grants.get(id)))
    }

    fn many(&self, bulk: &Bulk) -> Played<(GrantId, Many)> {
        let (id, known) = self.known_grant(&bulk.grant)?;
        let customer = known.map_or(OrganisationId::MAX, |g| g.customer.organisation);
        let people = bulk.members.iter().map(|m| self.person(m)).collect::<Played<_>>()?;
        let deed = if bulk.action == "add" {
            let roles = bulk.roles.iter().map(|r| self.role_in(known, r)).collect();
            Deed::Add { roles, everybody: bulk.everybody }
        } else {
            let next = bulk.successor.as_ref().map(|s| self.assignment(known, s));
            Deed::Remove { successor: next.transpose()? }
        };
        let accounts = self.accounts(customer, &bulk.accounts);
        Ok((id, Many { people, accounts, deed }))
    }

    fn planned(&self, act: &Act, plan: &Plan) -> Played {
        let Act::ExpectBulk {
            created,
            unchanged,
            ended,
            rule_lost,
            superseded,
            last_user,
            linked,
            bulk,
        } = act
        else {
            return Ok(());
        };
        let (_, known) = self.known_grant(&bulk.grant)?;
        let home = known.map_or(OrganisationId::MAX, |g| g.provider.organisation);
        let called: Vec<String> = plan.superseded.iter().map(|p| self.called(home, *p)).collect();
        let fits = created.is_none_or(|n| n == plan.created)
            && unchanged.is_none_or(|n| n == plan.unchanged)
            && ended.is_none_or(|n| n == plan.ended)
            && rule_lost.is_none_or(|n| n == plan.listed.len() as u64)
            && superseded.as_ref().is_none_or(|s| *s == called)
            && last_user.is_none_or(|last| last == plan.last_user)
            && linked.as_ref().is_none_or(|l| {
                let plan = Accounts::List(plan.linked.iter().copied().collect());
                AccountNames::List(l.clone()) == self.accounts_called(&plan)
            });
        if fits { Ok(()) } else { wrong(format!("{called:?}, and {plan:?}")) }
    }

    fn assignment(&self, grant: Option<&Grant>, to: &Successor) -> Played<AssignmentSpec> {
        let customer = grant.map_or(OrganisationId::MAX, |g| g.customer.organisation);
        Ok(AssignmentSpec {
            person: self.person(&to.member)?,
            roles: to.roles.iter().map(|r| self.role_in(grant, r)).collect(),
            accounts: self.accounts(customer, &to.accounts),
            ends_at: None,
        })
    }

    // -- decisions ----------------------------------------------------------------------------------

    /// What an application is told. That it sees only sessions of its own is the door's rule.
    pub fn decide(
        &self,
        session: &str,
        permission: &str,
        account: Option<&str>,
        organisation: Option<&str>,
        application: Option<&str>,
    ) -> Played<Reason> {
        let asked = Permission::parse(permission).ok_or_else(|| {
            Refusal::invalid("permission", "must be resource:verb without a star")
        })?;
        let audience = self.audience(application)?;
        let Some(compiled) = rights::compile(&self.w.state, self.session(session)?) else {
            return Ok(Reason::SessionUnknown);
        };
        if self.w.state.application_by_audience(&audience) != Some(compiled.application) {
            return Ok(Reason::SessionUnknown);
        }
        let owner = organisation.map_or(compiled.customer, |o| self.organisation(o));
        let resource = match account {
            None => Resource::Organisation(owner),
            Some(name) => {
                let account = self.account(owner, name);
                let known = account.and_then(|id| Some((id, self.w.state.accounts.get(id)?)));
                known.map_or(Resource::Unknown, |(id, a)| {
                    Resource::Account(id, a.organisation, a.unit)
                })
            }
        };
        Ok(compiled.judge(asked, resource, self.w.now))
    }
}

impl Fault {
    /// The code of a refusal, as a story expects it.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => Some(refusal.code()),
            Self::Wrong(_) => None,
        }
    }

    /// For people.
    pub fn told(&self) -> String {
        match self {
            Self::Refused(refusal) => {
                format!("refused with {:?}: {}", refusal.code(), refusal.sentence())
            }
            Self::Wrong(why) => why.clone(),
        }
    }
}
