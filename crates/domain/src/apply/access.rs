//! Requests, grants and who is on them.

use crate::assignment::{Assignment, AssignmentState, Basis};
use crate::event::{Due, Event};
use crate::grant::{self, Grant, GrantState};
use crate::ids::{GrantId, OrganisationId, PersonId, RequestId};
use crate::notice::{DAY_BEFORE, WEEK_BEFORE};
use crate::organisation::Accounts;
use crate::request::{Direction, KEPT_AFTER_MAKING, Offered, Request, RequestCancel, RequestState};
use crate::role::PinnedRole;
use crate::state::{Retire, State};
use crate::time::{Instant, Window};

use super::{Context, Touched};

pub(super) fn requests(state: &mut State, c: &Context<'_>, event: &Event) {
    let set = |state: &mut State, request: RequestId, to: RequestState| {
        if let Some(expires) = state.requests.get(request).map(Request::expires) {
            state.due.remove(&(expires, Due::Request(request)));
        }
        state.requests.change(request, |r| r.state = to);
    };
    match event {
        Event::RequestAsked {
            request,
            provider,
            by,
            level,
            modes,
            days,
            roles,
            accounts,
            reason,
            ticket,
            name,
            email,
            company,
        } => {
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
                offered: None,
                state: RequestState::Pending,
            };
            remember(state, *request, made);
        }
        Event::OfferMade { .. } => offer(state, c, event),
        Event::RequestAddressed { request, customer } => {
            state.requests.change(*request, |r| r.customer = *customer);
            state.requests_to.insert((*customer, *request));
            if let Some(asked) = state.requests.get(*request) {
                let dealt = (asked.by, *customer, asked.provider.organisation);
                state.dealt.insert(dealt);
            }
        }
        Event::RequestCancelled { request, by_asker } => {
            let cause = by_asker.then_some(RequestCancel::ByAsker);
            set(state, *request, RequestState::Cancelled { at: c.at, cause });
        }
        Event::CancellationNoted { request, cause: why } => {
            state.requests.change(*request, |r| {
                if let RequestState::Cancelled { cause, .. } = &mut r.state {
                    *cause = Some(*why);
                }
            });
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
            set(state, *request, RequestState::Approved { at: c.at, by: Some(*by), grant: *grant });
        }
        Event::OfferAccepted { request, grant, by } => {
            set(state, *request, RequestState::Approved { at: c.at, by: *by, grant: *grant });
        }
        _ => {}
    }
}

fn remember(state: &mut State, id: RequestId, made: Request) {
    state.due.insert((made.expires(), Due::Request(id)));
    state.retire.insert((made.at.plus(KEPT_AFTER_MAKING), Retire::Request(id)));
    state.requests_from.insert((made.provider.organisation, id));
    state.requests.insert(id, made);
}

fn offer(state: &mut State, c: &Context<'_>, event: &Event) {
    let Event::OfferMade {
        request,
        customer,
        provider,
        by,
        level,
        roles,
        accounts,
        modes,
        starts_at,
        days,
        cap,
        allow_external,
        jwt,
        summary,
        reason,
        ticket,
        name,
        email,
        company,
    } = event
    else {
        return;
    };
    let made = Request {
        direction: Direction::CustomerOffer,
        customer: customer.organisation,
        provider: *provider,
        by: *by,
        at: c.at,
        level: level.clone(),
        modes: *modes,
        days: *days,
        roles: Vec::new(),
        accounts: Vec::new(),
        reason: c.word(state, *reason),
        ticket: ticket.map(|w| c.word(state, w)),
        who: (c.word(state, *name), c.word(state, *email), c.word(state, *company)),
        offered: Some(Box::new(Offered {
            unit: customer.unit,
            roles: roles.clone(),
            accounts: accounts.clone(),
            starts_at: *starts_at,
            cap: *cap,
            allow_external: *allow_external,
            jwt: *jwt,
            summary: *summary,
        })),
        state: RequestState::Pending,
    };
    remember(state, *request, made);
    state.requests_to.insert((customer.organisation, *request));
    state.dealt.insert((*by, customer.organisation, provider.organisation));
}

pub(super) fn grants(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    let id = match event {
        Event::GrantMade {
            grant,
            request,
            customer,
            provider,
            level,
            roles,
            accounts,
            modes,
            window,
            cap,
            allow_external,
            jwt,
            summary,
        } => {
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
                auto: None,
                unattended: false,
                unconfirmed: None,
                state: GrantState::Running,
            };
            for role in roles {
                state.grants_with.insert((role.role, *grant));
            }
            state.grants.insert(*grant, made);
            state.grants_by.insert((customer.organisation, *grant));
            state.grants_to.insert((provider.organisation, *grant));
            note_end(state, *grant, *window, c.at);
            keep_until(state, *grant, window.end);
            grant
        }
        Event::GrantNarrowed { grant, roles, accounts, modes, end, cap, .. } => {
            set_roles(state, *grant, roles);
            set_end(state, *grant, *end, c.at);
            state.grants.change(*grant, |g| {
                (g.accounts, g.modes, g.cap) = (accounts.clone(), *modes, *cap);
                g.version = g.version.saturating_add(1);
            });
            grant
        }
        Event::GrantAmended {
            grant,
            roles,
            accounts,
            modes,
            end,
            cap,
            allow_external,
            jwt,
            summary,
            ..
        } => {
            set_roles(state, *grant, roles);
            set_end(state, *grant, *end, c.at);
            state.grants.change(*grant, |g| {
                (g.accounts, g.modes, g.cap) = (accounts.clone(), *modes, *cap);
                (g.allow_external, g.jwt, g.summary) = (*allow_external, *jwt, *summary);
                g.version = g.version.saturating_add(1);
            });
            grant
        }
        Event::GrantConfirmed { grant, .. } => {
            state.grants.change(*grant, |g| g.unconfirmed = None);
            grant
        }
        Event::GrantEnded { grant, cause, by } => {
            if let Some(end) = state.grants.get(*grant).map(|g| g.window.end) {
                forget_end(state, *grant, end);
            }
            state.grants.change(*grant, |g| {
                g.state = GrantState::Ended { at: c.at, cause: *cause, by: *by };
                g.version = g.version.saturating_add(1);
                g.unattended = false;
                g.unconfirmed = None;
            });
            drop_assignments(state, *grant);
            super::auto::forget(state, *grant);
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

/// The ceiling of roles, and which grants a role is in.
fn set_roles(state: &mut State, grant: GrantId, roles: &[PinnedRole]) {
    let had: Vec<_> = state.grants.get(grant).map(|g| g.roles.clone()).unwrap_or_default();
    for gone in &had {
        state.grants_with.remove(&(gone.role, grant));
    }
    for role in roles {
        state.grants_with.insert((role.role, grant));
    }
    state.grants.change(grant, |g| g.roles = roles.to_vec());
}

/// Another end, and with it what falls due and how long it is remembered.
fn set_end(state: &mut State, grant: GrantId, end: Instant, at: Instant) {
    let Some(before) = state.grants.get(grant).map(|g| g.window.end).filter(|b| *b != end) else {
        return;
    };
    state.grants.change(grant, |g| g.window.end = end);
    forget_end(state, grant, before);
    if let Some(window) = state.grants.get(grant).map(|g| g.window) {
        note_end(state, grant, window, at);
    }
    state.retire.remove(&(before.plus(grant::KEPT_AFTER_END), Retire::Grant(grant)));
    keep_until(state, grant, end);
}

/// What falls due as a grant comes to its end: the end, and before it each time at which people are
/// told of it, unless that time is past already or the grant is no longer than that.
fn note_end(state: &mut State, grant: GrantId, window: Window, at: Instant) {
    state.due.insert((window.end, Due::Grant(grant)));
    for (due, what) in before_end(grant, window.end) {
        if due > at.max(window.start) {
            state.due.insert((due, what));
        }
    }
}

/// Nothing of this end falls due any more.
pub(crate) fn forget_end(state: &mut State, grant: GrantId, end: Instant) {
    state.due.remove(&(end, Due::Grant(grant)));
    for due in before_end(grant, end) {
        state.due.remove(&due);
    }
}

fn before_end(grant: GrantId, end: Instant) -> [(Instant, Due); 2] {
    [(end.plus(-WEEK_BEFORE), Due::GrantWeek(grant)), (end.plus(-DAY_BEFORE), Due::GrantDay(grant))]
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

pub(super) fn drop_assignment(state: &mut State, grant: GrantId, person: PersonId) {
    if let (Some(g), Some(p)) = (state.grants.slot(grant), state.people.slot(person)) {
        state.assignments.remove(&(g, p));
        state.assigned.remove(&(p, g));
    }
}

pub(super) fn assignments(
    state: &mut State,
    c: &Context<'_>,
    event: &Event,
    touched: &mut Touched,
) {
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
            let row = state.own_row(*grant, *person);
            let again = row.is_some_and(|row| state.attends(*grant, *person, row, c.at));
            state.grants.change(*grant, |g| {
                g.unattended &= !again;
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
        Event::ExternalJoined { grant, person } => {
            change_assignment(state, *grant, *person, |a| a.basis = Basis::Individual);
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

pub(super) fn change_assignment(
    state: &mut State,
    grant: GrantId,
    person: PersonId,
    change: impl FnOnce(&mut Assignment),
) {
    if let (Some(g), Some(p)) = (state.grants.slot(grant), state.people.slot(person))
        && let Some(row) = state.assignments.get_mut(&(g, p))
    {
        change(row);
    }
}
