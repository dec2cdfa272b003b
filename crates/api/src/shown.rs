//! How things look in JSON, for whoever asks. What one side must not see is absent, not blanked.

use comity_domain::grant::{self, GrantEnd, GrantPhase, GrantState};
use comity_domain::ids::{AccountId, GrantId, OrganisationId, PersonId, RequestId, RoleId};
use comity_domain::organisation::{Accounts, Party};
use comity_domain::permission::Permissions;
use comity_domain::request::{Direction, Request, RequestCancel, RequestPhase, RequestState};
use comity_domain::role::{Modes, PinnedRole};
use comity_domain::state::State;
use comity_domain::time::{DAY, Instant};
use comity_domain::view;
use serde::Serialize;

pub use comity_app::telling::time;

/// An organisation named to somebody who may know it.
#[derive(Debug, Serialize)]
pub struct Organisation {
    pub id: OrganisationId,
    pub external_id: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

pub fn organisation(state: &State, id: OrganisationId) -> Option<Organisation> {
    let found = state.organisations.get(id)?;
    Some(Organisation {
        id,
        external_id: state.words.show(found.external).into(),
        name: state.words.show(found.name).into(),
        unit: None,
    })
}

fn party(state: &State, party: Party) -> Option<Organisation> {
    let unit = party.unit.and_then(|u| state.units.get(u)?.external);
    let shown = organisation(state, party.organisation)?;
    Some(Organisation { unit: unit.map(|w| state.words.show(w).into()), ..shown })
}

/// A person named to somebody who may know them.
#[derive(Debug, Serialize)]
pub struct Person {
    pub id: PersonId,
    pub name: String,
    pub email: String,
}

pub fn person(state: &State, id: PersonId) -> Option<Person> {
    let found = state.people.get(id)?;
    let (name, email) = (state.words.show(found.name), state.words.show(found.email));
    Some(Person { id, name: name.into(), email: email.into() })
}

/// `"all"`, or the builder's identifiers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ShownAccounts {
    All(&'static str),
    List(Vec<String>),
}

pub fn accounts(state: &State, accounts: &Accounts) -> ShownAccounts {
    let name =
        |id: &AccountId| state.accounts.get(*id).map(|a| state.words.show(a.external).to_owned());
    match accounts {
        Accounts::All => ShownAccounts::All("all"),
        Accounts::List(list) => ShownAccounts::List(list.iter().filter_map(name).collect()),
    }
}

/// A role of a grant or summary.
#[derive(Debug, Serialize)]
pub struct Role {
    pub code: String,
    pub name: String,
    pub version: u32,
    pub permissions: Permissions,
}

pub fn role(state: &State, pinned: PinnedRole, permissions: Permissions) -> Option<Role> {
    let role = state.roles.get(pinned.role)?;
    Some(Role {
        code: role.code.to_string(),
        name: role.name.to_string(),
        version: pinned.version,
        permissions,
    })
}

pub fn role_code(state: &State, id: RoleId) -> Option<String> {
    state.roles.get(id).map(|r| r.code.to_string())
}

/// An access request.
#[derive(Debug, Serialize)]
pub struct ShownRequest {
    pub id: RequestId,
    pub direction: Direction,
    pub state: RequestPhase,
    pub asked_at: String,
    pub expires_at: String,
    pub partner: Asker,
    /// Who is asked; absent for the asker until approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<Organisation>,
    pub level: String,
    pub level_badge: &'static str,
    pub modes: Modes,
    pub impersonation: bool,
    pub days: u32,
    pub roles: Vec<String>,
    pub accounts: ShownAccounts,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<String>,
    /// Why it was denied, for the customer's eyes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denial_reason: Option<String>,
    /// What the partner was told on denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled_because: Option<RequestCancel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
}

/// Who asks, as they were when they asked.
#[derive(Debug, Serialize)]
pub struct Asker {
    pub organisation: OrganisationId,
    pub company: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    pub name: String,
    pub email: String,
    /// Until a domain is proven, a name is only a name (T3).
    pub domain_verified: bool,
}

/// A request as a member of `for_customer`'s side, or of the asker's, sees it.
pub fn request(
    state: &State,
    id: RequestId,
    now: Instant,
    for_customer: bool,
) -> Option<ShownRequest> {
    let r: &Request = state.requests.get(id)?;
    let words =
        |list: &[_]| list.iter().map(|w| state.words.show(*w).to_owned()).collect::<Vec<_>>();
    let phase = r.phase(now);
    let mut shown = ShownRequest {
        id,
        direction: r.direction,
        state: phase,
        asked_at: time(r.at),
        expires_at: time(r.expires()),
        partner: Asker {
            organisation: r.provider.organisation,
            company: state.words.show(r.who.2).into(),
            unit: party(state, r.provider).and_then(|p| p.unit),
            name: state.words.show(r.who.0).into(),
            email: state.words.show(r.who.1).into(),
            domain_verified: false,
        },
        customer: (for_customer || phase == RequestPhase::Approved)
            .then(|| organisation(state, r.customer))
            .flatten(),
        level: r.level.code.to_string(),
        level_badge: if &*r.level.code == "referral" { "secondary" } else { "primary" },
        modes: r.modes,
        impersonation: grant::impersonation(r.modes),
        days: r.days.0,
        roles: words(&r.roles),
        accounts: if r.accounts.is_empty() {
            ShownAccounts::All("all")
        } else {
            ShownAccounts::List(words(&r.accounts))
        },
        reason: state.words.show(r.reason).into(),
        ticket: r.ticket.map(|w| state.words.show(w).into()),
        decided_at: None,
        denial_reason: None,
        message: None,
        cancelled_because: None,
        grant: None,
    };
    match &r.state {
        RequestState::Pending => {}
        RequestState::Approved { at, grant, .. } => {
            (shown.decided_at, shown.grant) = (Some(time(*at)), Some(*grant));
        }
        RequestState::Denied { at, reason, message, .. } => {
            shown.decided_at = Some(time(*at));
            shown.message = message.map(|w| state.words.show(w).into());
            shown.denial_reason =
                reason.filter(|_| for_customer).map(|w| state.words.show(w).into());
        }
        RequestState::Cancelled { at, cause } => {
            shown.decided_at = Some(time(*at));
            // Why it fell away is the customer's affair unless the asker took it back.
            shown.cancelled_because =
                cause.filter(|c| for_customer || *c == RequestCancel::ByAsker);
        }
    }
    Some(shown)
}

/// A grant.
#[derive(Debug, Serialize)]
pub struct ShownGrant {
    pub id: GrantId,
    pub state: GrantPhase,
    pub customer: Option<Organisation>,
    pub partner: Option<Organisation>,
    pub level: String,
    pub roles: Vec<Role>,
    pub accounts: ShownAccounts,
    pub modes: Modes,
    pub impersonation: bool,
    pub starts_at: String,
    pub ends_at: String,
    /// Whole days left, rounded up; absent when it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_in_days: Option<i64>,
    pub session_minutes: u32,
    pub allow_external: bool,
    pub jwt: bool,
    pub locked: bool,
    /// The partner, or its unit in this grant, is suspended or closed.
    pub suspended: bool,
    /// Since when it waits for the customer's word, after a restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unconfirmed_since: Option<String>,
    /// Nobody is assigned any more, though somebody was.
    pub unattended: bool,
    /// How many people it gives access to now.
    pub people: usize,
    /// How many sessions are in progress.
    pub inside: usize,
    pub version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<GrantEnd>,
    pub request: RequestId,
}

pub fn grant(state: &State, id: GrantId, now: Instant) -> Option<ShownGrant> {
    let access = view::access(state, id, now)?;
    let g = access.grant;
    let ceiling = state.level(&g.level).map(|l| l.ceiling.clone()).unwrap_or_default();
    let role_now = |p: &PinnedRole| {
        let permits = state.roles.get(p.role)?.pinned(p.version).meet(&ceiling);
        role(state, *p, permits)
    };
    let people = state.active_on(id, now);
    let ended = match g.state {
        GrantState::Running => None,
        GrantState::Ended { at, cause, .. } => Some((at, cause)),
    };
    Some(ShownGrant {
        id,
        state: access.phase,
        customer: party(state, g.customer),
        partner: party(state, g.provider),
        level: g.level.code.to_string(),
        roles: g.roles.iter().filter_map(role_now).collect(),
        accounts: accounts(state, &g.accounts),
        modes: g.modes,
        impersonation: grant::impersonation(g.modes),
        starts_at: time(g.window.start),
        ends_at: time(g.window.end),
        ends_in_days: g.stands(now).then(|| (g.window.end.since(now) + DAY - 1) / DAY),
        session_minutes: g.cap.0,
        allow_external: g.allow_external,
        jwt: g.jwt,
        locked: access.locked,
        suspended: !state.party_is_active(g.provider),
        unconfirmed_since: g.unconfirmed.map(time),
        unattended: g.unattended && people == 0,
        people,
        inside: access.inside,
        version: g.version,
        ended_at: ended.map(|(at, _)| time(at)),
        end_reason: ended.map(|(_, cause)| cause),
        request: g.request,
    })
}
