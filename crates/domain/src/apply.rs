//! `apply`: what an event changes. The only code that changes a [`State`].
//!
//! Total and without choices: no clock, no randomness, no refusal, and never a look at a word's
//! text. Retiring what ended long ago is part of beginning a row, so that a replay, a snapshot and
//! a follower agree about what is in memory.

use std::collections::BTreeSet;

use crate::application::{Application, Key};
use crate::assignment::{Assignment, AssignmentState};
use crate::event::{Due, Event, Row, W};
use crate::grant::{self, Grant, GrantState};
use crate::ids::{GrantId, OrganisationId, PersonId, RequestId, SessionId};
use crate::lock::{Lock, LockTarget};
use crate::organisation::{Account, Accounts, Organisation, Settings, Standing, Unit};
use crate::person::{Member, PAST_MEMBERSHIP_KEPT, Person, SignIn};
use crate::request::{Direction, KEPT_AFTER_MAKING, Request, RequestState};
use crate::role::Role;
use crate::session::{self, Session, SessionState};
use crate::state::{Retire, State};
use crate::text::{Lookup, Word, WordId};
use crate::time::Instant;

/// What a row touched: whose rights have to be looked at again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// These grants, with everything on them.
    pub grants: BTreeSet<GrantId>,
    /// These people on all their grants.
    pub people: BTreeSet<PersonId>,
    /// These sessions.
    pub sessions: BTreeSet<SessionId>,
    /// Everybody: a rule over all changed.
    pub all: bool,
}

impl Touched {
    /// The sessions whose rights may have changed.
    #[must_use]
    pub fn sessions_in(&self, state: &State) -> BTreeSet<SessionId> {
        if self.all {
            return state.sessions.iter().map(|(id, _)| id).collect();
        }
        let mut out = self.sessions.clone();
        out.extend(self.grants.iter().flat_map(|g| state.sessions_under(*g)));
        out.extend(self.people.iter().flat_map(|p| state.sessions_of(*p)));
        out
    }

    /// Adds what another row touched.
    pub fn merge(&mut self, other: Self) {
        self.grants.extend(other.grants);
        self.people.extend(other.people);
        self.sessions.extend(other.sessions);
        self.all |= other.all;
    }
}

/// Where an event stands.
pub(crate) struct Context<'a> {
    pub seq: u64,
    pub at: Instant,
    pub words: &'a [Word],
}

impl Context<'_> {
    fn word(&self, state: &mut State, w: W) -> WordId {
        let id = WordId(self.seq, w);
        if let Some(word) = self.words.get(w as usize)
            && let Some(text) = &word.text
        {
            state.words.insert(id, word.about, text.clone());
        }
        id
    }

    fn indexed(&self, state: &mut State, w: W, lookup: Lookup, target: u128) -> WordId {
        let id = self.word(state, w);
        state.words.index(id, lookup, target);
        id
    }
}

/// Applies a stored row: what a replay and a follower do.
pub fn row(state: &mut State, row: &Row) -> Touched {
    let mut touched = Touched::default();
    begin(state, row.seq, row.at);
    let context = Context { seq: row.seq, at: row.at, words: &row.words };
    for recorded in &row.events {
        event(state, &context, &recorded.event, &mut touched);
    }
    touched
}

/// Moves to a row's position and lets go of what ended long before it.
pub(crate) fn begin(state: &mut State, seq: u64, at: Instant) {
    state.seq = seq;
    state.at = at;
    while let Some(next) = state.retire.get_min().copied() {
        if next.0 > at {
            break;
        }
        state.retire.remove(&next);
        crate::retire::retire(state, next.1, at);
    }
}

/// Applies one event.
pub(crate) fn event(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    use Event as E;
    match event {
        E::ApplicationDefined { .. }
        | E::KeyMade { .. }
        | E::KeyRetired { .. }
        | E::PolicySet { .. }
        | E::LevelDefined { .. }
        | E::CallsSealed { .. } => platform(state, event, touched),
        E::OrganisationMade { .. }
        | E::OrganisationRenamed { .. }
        | E::OrganisationStanding { .. }
        | E::CustomerIdSet { .. }
        | E::SettingsChanged { .. }
        | E::UnitMade { .. }
        | E::UnitRenamed { .. }
        | E::UnitStanding { .. }
        | E::AccountMade { .. }
        | E::AccountRenamed { .. }
        | E::AccountRemoved { .. } => organisations(state, c, event, touched),
        E::RoleMade { .. } | E::RoleChanged { .. } | E::RoleDeleted { .. } => {
            roles(state, event, touched);
        }
        E::PersonMade { .. }
        | E::PersonRenamed { .. }
        | E::MemberJoined { .. }
        | E::MemberChanged { .. }
        | E::MemberStanding { .. }
        | E::MemberLeft { .. }
        | E::EnrolmentMade { .. }
        | E::PasswordSet { .. }
        | E::SignedIn { .. }
        | E::SignedOut { .. }
        | E::SignedOutEverywhere { .. } => people(state, c, event, touched),
        E::RequestAsked { .. }
        | E::RequestAddressed { .. }
        | E::RequestCancelled { .. }
        | E::RequestDenied { .. }
        | E::DenialNoted { .. }
        | E::RequestApproved { .. } => requests(state, c, event),
        E::GrantMade { .. }
        | E::GrantNarrowed { .. }
        | E::GrantEnded { .. }
        | E::GrantUnattended { .. } => grants(state, c, event, touched),
        E::Assigned { .. }
        | E::AssignmentTrimmed { .. }
        | E::AssignmentSuspended { .. }
        | E::AssignmentEnded { .. } => assignments(state, event, touched),
        E::SessionStarted { .. } | E::SessionShortened { .. } | E::SessionEnded { .. } => {
            sessions(state, c, event, touched);
        }
        E::LockPlaced { .. } | E::LockLifted { .. } => locks(state, c, event, touched),
        E::ExpiryNoted { what } => {
            let at = due_at(state, *what);
            state.due.remove(&(at, *what));
        }
    }
}

fn platform(state: &mut State, event: &Event, touched: &mut Touched) {
    match event {
        Event::ApplicationDefined { application, code, audience, permissions } => {
            let (code, audience) = (code.clone(), audience.clone());
            let permissions = permissions.clone();
            state.applications.insert(*application, Application { code, audience, permissions });
            touched.all = true;
        }
        Event::KeyMade { key, usage, application, digest } => {
            let made =
                Key { usage: *usage, application: *application, digest: *digest, retired: false };
            state.keys.insert(*key, made);
            state.key_digests.insert(*digest, *key);
        }
        Event::KeyRetired { key } => state.keys.change(*key, |k| k.retired = true),
        Event::PolicySet { policy } => {
            state.policy = policy.clone();
            touched.all = true;
        }
        Event::LevelDefined { code, level, .. } => {
            let mut versions = state.levels.get(code).cloned().unwrap_or_default();
            versions.push_back(level.clone());
            state.levels.insert(code.clone(), versions);
        }
        _ => {}
    }
}

fn organisations(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    match event {
        Event::OrganisationMade { organisation, unit, external, name } => {
            let external = c.indexed(state, *external, Lookup::Organisation, organisation.0);
            let name = c.word(state, *name);
            let made = Organisation {
                external,
                name,
                standing: Standing::Active,
                default_unit: *unit,
                customer_id: crate::ids::Digest32([0; 32]),
                settings: Settings::default(),
                version: 1,
            };
            state.organisations.insert(*organisation, made);
            let default = Unit {
                organisation: *organisation,
                external: None,
                name: None,
                standing: Standing::Active,
            };
            state.units.insert(*unit, default);
            state.units_of.insert((*organisation, *unit));
        }
        Event::OrganisationRenamed { organisation, name } => {
            let name = c.word(state, *name);
            let old = state.organisations.get(*organisation).map(|o| o.name);
            state.organisations.change(*organisation, |o| o.name = name);
            old.into_iter().for_each(|w| state.words.drop(w));
        }
        Event::OrganisationStanding { organisation, standing } => {
            state.organisations.change(*organisation, |o| o.standing = *standing);
            touch_organisation(state, *organisation, touched);
        }
        Event::CustomerIdSet { organisation, digest } => {
            if let Some(old) = state.organisations.get(*organisation).map(|o| o.customer_id) {
                state.customer_ids.remove(&old);
            }
            state.customer_ids.insert(*digest, *organisation);
            state.organisations.change(*organisation, |o| {
                o.customer_id = *digest;
                o.version = o.version.saturating_add(1);
            });
        }
        Event::SettingsChanged { organisation, settings } => {
            state.organisations.change(*organisation, |o| {
                o.settings = settings.clone();
                o.version = o.version.saturating_add(1);
            });
        }
        Event::UnitMade { organisation, unit, external, name } => {
            let external = c.indexed(state, *external, Lookup::Unit(*organisation), unit.0);
            let name = c.word(state, *name);
            let made = Unit {
                organisation: *organisation,
                external: Some(external),
                name: Some(name),
                standing: Standing::Active,
            };
            state.units.insert(*unit, made);
            state.units_of.insert((*organisation, *unit));
        }
        Event::UnitRenamed { unit, name } => {
            let name = c.word(state, *name);
            let old = state.units.get(*unit).and_then(|u| u.name);
            state.units.change(*unit, |u| u.name = Some(name));
            old.into_iter().for_each(|w| state.words.drop(w));
        }
        Event::UnitStanding { unit, standing } => {
            state.units.change(*unit, |u| u.standing = *standing);
            if let Some(organisation) = state.units.get(*unit).map(|u| u.organisation) {
                touch_organisation(state, organisation, touched);
            }
        }
        Event::AccountMade { organisation, unit, account, external, name } => {
            let external = c.indexed(state, *external, Lookup::Account(*organisation), account.0);
            let name = c.word(state, *name);
            let made = Account { organisation: *organisation, unit: *unit, external, name };
            state.accounts.insert(*account, made);
            state.accounts_of.insert((*organisation, *account));
        }
        Event::AccountRenamed { account, name } => {
            let name = c.word(state, *name);
            let old = state.accounts.get(*account).map(|a| a.name);
            state.accounts.change(*account, |a| a.name = name);
            old.into_iter().for_each(|w| state.words.drop(w));
        }
        Event::AccountRemoved { account } => {
            if let Some(gone) = state.accounts.get(*account).cloned() {
                state.words.drop(gone.external);
                state.words.drop(gone.name);
                state.accounts_of.remove(&(gone.organisation, *account));
                state.accounts.remove(*account);
                touched.grants.extend(state.grants_by(gone.organisation));
            }
        }
        _ => {}
    }
}

fn touch_organisation(state: &State, organisation: OrganisationId, touched: &mut Touched) {
    touched.grants.extend(state.grants_by(organisation));
    touched.grants.extend(state.grants_to(organisation));
}

fn roles(state: &mut State, event: &Event, touched: &mut Touched) {
    let role = match event {
        Event::RoleMade { organisation, role, code, name, permissions } => {
            let made = Role {
                organisation: *organisation,
                code: code.clone(),
                name: name.clone(),
                versions: vec![permissions.clone()],
                deleted: false,
            };
            state.roles.insert(*role, made);
            state.roles_by_code.insert((*organisation, code.clone()), *role);
            return;
        }
        Event::RoleChanged { role, name, permissions, .. } => {
            state.roles.change(*role, |r| {
                r.name = name.clone();
                r.versions.push(permissions.clone());
            });
            role
        }
        Event::RoleDeleted { role } => {
            state.roles.change(*role, |r| r.deleted = true);
            if let Some((organisation, code)) =
                state.roles.get(*role).map(|r| (r.organisation, r.code.clone()))
            {
                state.roles_by_code.remove(&(organisation, code));
            }
            role
        }
        _ => return,
    };
    touched.grants.extend(state.grants_with(*role));
}

fn people(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    match event {
        Event::PersonMade { person, name, email, email_verified } => {
            let name = c.word(state, *name);
            let email = if *email_verified {
                c.indexed(state, *email, Lookup::Email, person.0)
            } else {
                c.word(state, *email)
            };
            let made = Person {
                name,
                email,
                email_verified: *email_verified,
                auth_epoch: 1,
                has_password: false,
                enrolment: None,
            };
            state.people.insert(*person, made);
        }
        Event::PersonRenamed { person, name } => {
            let name = c.word(state, *name);
            let old = state.people.get(*person).map(|p| p.name);
            state.people.change(*person, |p| p.name = name);
            old.into_iter().for_each(|w| state.words.drop(w));
        }
        Event::MemberJoined { organisation, person, unit, portal, external } => {
            let lookup = Lookup::Member(*organisation);
            let external = c.indexed(state, *external, lookup, person.0);
            let member =
                Member { unit: *unit, portal: *portal, external, standing: Standing::Active };
            state.members.insert((*organisation, *person), member);
            state.memberships.insert((*person, *organisation));
        }
        Event::MemberChanged { organisation, person, unit, portal } => {
            if let Some(member) = state.members.get_mut(&(*organisation, *person)) {
                (member.unit, member.portal) = (*unit, *portal);
            }
            touched.people.insert(*person);
        }
        Event::MemberStanding { organisation, person, standing } => {
            if let Some(member) = state.members.get_mut(&(*organisation, *person)) {
                member.standing = *standing;
            }
            touched.people.insert(*person);
        }
        Event::MemberLeft { organisation, person } => {
            if let Some(gone) = state.members.remove(&(*organisation, *person)) {
                state.words.drop(gone.external);
            }
            state.memberships.remove(&(*person, *organisation));
            state.past_members.insert((*organisation, *person), c.at);
            let until = c.at.plus(PAST_MEMBERSHIP_KEPT);
            state.retire.insert((until, Retire::PastMember(*organisation, *person)));
            raise_epoch(state, *person);
            touched.people.insert(*person);
        }
        Event::EnrolmentMade { person, digest, until } => {
            if let Some((old, _)) = state.people.get(*person).and_then(|p| p.enrolment) {
                state.enrolments.remove(&old);
            }
            state.enrolments.insert(*digest, *person);
            state.people.change(*person, |p| p.enrolment = Some((*digest, *until)));
        }
        Event::PasswordSet { person } => {
            if let Some((old, _)) = state.people.get(*person).and_then(|p| p.enrolment) {
                state.enrolments.remove(&old);
            }
            state.people.change(*person, |p| (p.has_password, p.enrolment) = (true, None));
            raise_epoch(state, *person);
        }
        Event::SignedIn { person, sign_in, digest, until } => {
            let auth_epoch = state.people.get(*person).map_or(0, |p| p.auth_epoch);
            let made =
                SignIn { person: *person, token: *digest, at: c.at, until: *until, auth_epoch };
            state.sign_ins.insert(*sign_in, made);
            state.sign_in_digests.insert(*digest, *sign_in);
            state.retire.insert((*until, Retire::SignIn(*sign_in)));
        }
        Event::SignedOut { sign_in } => {
            state.sign_ins.change(*sign_in, |s| s.until = s.until.min(c.at));
        }
        Event::SignedOutEverywhere { person } => raise_epoch(state, *person),
        _ => {}
    }
}

fn raise_epoch(state: &mut State, person: PersonId) {
    state.people.change(person, |p| p.auth_epoch = p.auth_epoch.saturating_add(1));
}

fn requests(state: &mut State, c: &Context<'_>, event: &Event) {
    let set = |state: &mut State, request: RequestId, to: RequestState| {
        if let Some(expires) = state.requests.get(request).map(Request::expires) {
            state.due.remove(&(expires, Due::Request(request)));
        }
        state.requests.change(request, |r| r.state = to);
    };
    match event {
        Event::RequestAsked { request, provider, by, level, modes, days, roles, accounts, reason, ticket, name, email, company } => {
            let made = Request {
                direction: Direction::PartnerRequest,
                customer: OrganisationId::MIN, // named by the event that follows
                provider: *provider,
                by: *by,
                at: c.at,
                level: level.clone(),
                modes: *modes,
                days: *days,
                roles: roles.iter().map(|w| c.word(state, *w)).collect(),
                accounts: accounts.iter().map(|w| c.word(state, *w)).collect(),
                reason: c.word(state, *reason),
                ticket: ticket.map(|w| c.word(state, w)),
                who: (c.word(state, *name), c.word(state, *email), c.word(state, *company)),
                state: RequestState::Pending,
            };
            state.due.insert((made.expires(), Due::Request(*request)));
            state.retire.insert((c.at.plus(KEPT_AFTER_MAKING), Retire::Request(*request)));
            state.requests.insert(*request, made);
            state.requests_from.insert((provider.organisation, *request));
        }
        Event::RequestAddressed { request, customer } => {
            state.requests.change(*request, |r| r.customer = *customer);
            state.requests_to.insert((*customer, *request));
        }
        Event::RequestCancelled { request, cause } => {
            set(state, *request, RequestState::Cancelled { at: c.at, cause: *cause });
        }
        Event::RequestDenied { request, message } => {
            let message = message.map(|w| c.word(state, w));
            let denied = RequestState::Denied { at: c.at, by: None, reason: None, message };
            set(state, *request, denied);
        }
        Event::DenialNoted { request, by: who, reason: why } => {
            let why = why.map(|w| c.word(state, w));
            state.requests.change(*request, |r| {
                if let RequestState::Denied { by, reason, .. } = &mut r.state {
                    (*by, *reason) = (Some(*who), why);
                }
            });
        }
        Event::RequestApproved { request, grant, by, .. } => {
            set(state, *request, RequestState::Approved { at: c.at, by: *by, grant: *grant });
        }
        _ => {}
    }
}

fn grants(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    let id = match event {
        Event::GrantMade { grant, request, customer, provider, level, roles, accounts, modes, window, cap, allow_external, jwt, summary } => {
            let made = Grant {
                request: *request,
                customer: *customer,
                provider: *provider,
                level: level.clone(),
                roles: roles.clone(),
                accounts: accounts.clone(),
                modes: *modes,
                window: *window,
                cap: *cap,
                allow_external: *allow_external,
                jwt: *jwt,
                summary: *summary,
                version: 1,
                unattended: false,
                state: GrantState::Running,
            };
            for role in roles {
                state.grants_with.insert((role.role, *grant));
            }
            state.grants.insert(*grant, made);
            state.grants_by.insert((customer.organisation, *grant));
            state.grants_to.insert((provider.organisation, *grant));
            state.due.insert((window.end, Due::Grant(*grant)));
            keep_until(state, *grant, window.end);
            grant
        }
        Event::GrantNarrowed { grant, roles, accounts, modes, end, cap, .. } => {
            let before = state.grants.get(*grant).map(|g| g.window.end);
            let had: Vec<_> = state.grants.get(*grant).map(|g| g.roles.clone()).unwrap_or_default();
            for gone in had.iter().filter(|p| !roles.contains(p)) {
                state.grants_with.remove(&(gone.role, *grant));
            }
            state.grants.change(*grant, |g| {
                (g.roles, g.accounts, g.modes) = (roles.clone(), accounts.clone(), *modes);
                (g.window.end, g.cap) = (*end, *cap);
                g.version = g.version.saturating_add(1);
            });
            if let Some(before) = before.filter(|b| b != end) {
                state.due.remove(&(before, Due::Grant(*grant)));
                state.due.insert((*end, Due::Grant(*grant)));
                state.retire.remove(&(before.plus(grant::KEPT_AFTER_END), Retire::Grant(*grant)));
                keep_until(state, *grant, *end);
            }
            grant
        }
        Event::GrantEnded { grant, cause, by } => {
            if let Some(end) = state.grants.get(*grant).map(|g| g.window.end) {
                state.due.remove(&(end, Due::Grant(*grant)));
            }
            state.grants.change(*grant, |g| {
                g.state = GrantState::Ended { at: c.at, cause: *cause, by: *by };
                g.version = g.version.saturating_add(1);
                g.unattended = false;
            });
            drop_assignments(state, *grant);
            grant
        }
        Event::GrantUnattended { grant } => {
            state.grants.change(*grant, |g| g.unattended = true);
            return;
        }
        _ => return,
    };
    touched.grants.insert(*id);
}

fn keep_until(state: &mut State, grant: GrantId, end: Instant) {
    state.retire.insert((end.plus(grant::KEPT_AFTER_END), Retire::Grant(grant)));
}

/// Assignments end with their grant, in the same event.
pub(crate) fn drop_assignments(state: &mut State, grant: GrantId) {
    let people: Vec<PersonId> = state.assigned_to(grant).map(|(p, _)| p).collect();
    for person in people {
        drop_assignment(state, grant, person);
    }
}

fn drop_assignment(state: &mut State, grant: GrantId, person: PersonId) {
    if let (Some(g), Some(p)) = (state.grants.slot(grant), state.people.slot(person)) {
        state.assignments.remove(&(g, p));
        state.assigned.remove(&(p, g));
    }
}

fn assignments(state: &mut State, event: &Event, touched: &mut Touched) {
    let sets = |state: &mut State, roles: &[crate::ids::RoleId], accounts: &Accounts| {
        let roles = state.role_sets.intern(roles.to_vec());
        let accounts = match accounts {
            Accounts::All => None,
            Accounts::List(list) => Some(state.account_sets.intern(list.iter().copied().collect())),
        };
        (roles, accounts)
    };
    let (grant, person) = match event {
        Event::Assigned { grant, person, roles, accounts, ends_at, basis } => {
            let (roles, accounts) = sets(state, roles, accounts);
            let (g, p) = (state.grants.slot(*grant), state.people.slot(*person));
            if let (Some(g), Some(p)) = (g, p) {
                let active = AssignmentState::Active;
                let made =
                    Assignment { roles, accounts, ends_at: *ends_at, basis: *basis, state: active };
                state.assignments.insert((g, p), made);
                state.assigned.insert((p, g));
            }
            state.grants.change(*grant, |g| {
                g.unattended = false;
                g.version = g.version.saturating_add(1);
            });
            (grant, person)
        }
        Event::AssignmentTrimmed { grant, person, roles, accounts, ends_at } => {
            let (roles, accounts) = sets(state, roles, accounts);
            change_assignment(state, *grant, *person, |a| {
                (a.roles, a.accounts, a.ends_at) = (roles, accounts, *ends_at);
            });
            (grant, person)
        }
        Event::AssignmentSuspended { grant, person } => {
            change_assignment(state, *grant, *person, |a| {
                a.state = AssignmentState::SuspendedNoRoles;
            });
            (grant, person)
        }
        Event::AssignmentEnded { grant, person, .. } => {
            drop_assignment(state, *grant, *person);
            state.grants.change(*grant, |g| g.version = g.version.saturating_add(1));
            (grant, person)
        }
        _ => return,
    };
    touched.grants.insert(*grant);
    touched.people.insert(*person);
}

fn change_assignment(state: &mut State, grant: GrantId, person: PersonId, change: impl FnOnce(&mut Assignment)) {
    if let (Some(g), Some(p)) = (state.grants.slot(grant), state.people.slot(person))
        && let Some(row) = state.assignments.get_mut(&(g, p))
    {
        change(row);
    }
}

fn sessions(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    match event {
        Event::SessionStarted { session, grant, person, application, mode, deadline, token, reason, name, email, .. } => {
            let reason = reason.map(|w| c.word(state, w));
            // The name and address of that time are for the history's eyes; memory has today's.
            let _ = (name, email);
            let made = Session {
                grant: *grant,
                person: *person,
                application: *application,
                mode: *mode,
                started: c.at,
                deadline: *deadline,
                token: *token,
                reason,
                state: SessionState::Running,
            };
            state.sessions.insert(*session, made);
            state.session_tokens.insert(*token, *session);
            state.sessions_under.insert((*grant, *session));
            state.sessions_of.insert((*person, *session));
            state.due.insert((*deadline, Due::Session(*session)));
            let until = deadline.plus(session::KEPT_AFTER_END);
            state.retire.insert((until, Retire::Session(*session)));
            touched.sessions.insert(*session);
        }
        Event::SessionShortened { session, deadline } => {
            if let Some(before) = state.sessions.get(*session).map(|s| s.deadline) {
                state.due.remove(&(before, Due::Session(*session)));
                state.due.insert((*deadline, Due::Session(*session)));
                let kept = before.plus(session::KEPT_AFTER_END);
                state.retire.remove(&(kept, Retire::Session(*session)));
                let kept = deadline.plus(session::KEPT_AFTER_END);
                state.retire.insert((kept, Retire::Session(*session)));
            }
            state.sessions.change(*session, |s| s.deadline = *deadline);
            touched.sessions.insert(*session);
        }
        Event::SessionEnded { session, cause } => {
            if let Some(deadline) = state.sessions.get(*session).map(|s| s.deadline) {
                state.due.remove(&(deadline, Due::Session(*session)));
            }
            let ended = SessionState::Ended { at: c.at, cause: *cause };
            state.sessions.change(*session, |s| s.state = ended);
            touched.sessions.insert(*session);
        }
        _ => {}
    }
}

fn locks(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    let (customer, target) = match event {
        Event::LockPlaced { lock, customer, target, by, reason } => {
            let reason = reason.map(|w| c.word(state, w));
            let made = Lock { customer: *customer, target: *target, at: c.at, by: *by, reason };
            state.locks.insert(*lock, made);
            state.locks_on.insert((*customer, *target), *lock);
            (*customer, *target)
        }
        Event::LockLifted { lock, .. } => {
            let Some(gone) = state.locks.get(*lock).cloned() else { return };
            state.locks.remove(*lock);
            gone.reason.into_iter().for_each(|w| state.words.drop(w));
            state.locks_on.remove(&(gone.customer, gone.target));
            (gone.customer, gone.target)
        }
        _ => return,
    };
    match target {
        LockTarget::Organisation(provider) => {
            let theirs = |g: &GrantId| {
                state.grants.get(*g).is_some_and(|g| g.provider.organisation == provider)
            };
            touched.grants.extend(state.grants_by(customer).filter(theirs));
        }
        LockTarget::Person(person) => {
            touched.people.insert(person);
        }
    }
}

/// When a thing falls due, as the state has it.
fn due_at(state: &State, what: Due) -> Instant {
    match what {
        Due::Request(id) => state.requests.get(id).map(Request::expires),
        Due::Grant(id) => state.grants.get(id).map(|g| g.window.end),
        Due::Session(id) => state.sessions.get(id).map(|s| s.deadline),
    }
    .unwrap_or(Instant::NEVER)
}
