//! How things look in JSON, for whoever asks. What one side must not see is absent, not blanked.

use comity_domain::grant::{self, GrantEnd, GrantPhase, GrantState};
use comity_domain::ids::{AccountId, GrantId, OrganisationId, PersonId, RequestId, RoleId};
use comity_domain::organisation::{Accounts, Party};
use comity_domain::permission::Permissions;
use comity_domain::request::{
    Direction, Offered, Request, RequestCancel, RequestPhase, RequestState,
};
use comity_domain::role::{Modes, PinnedRole};
use comity_domain::state::State;
use comity_domain::time::{DAY, Instant};
use comity_domain::view;
use serde::Serialize;
use utoipa::ToSchema;

use crate::input::{AllWord, WireAccounts};
use crate::openapi::values;

pub use comity_app::telling::time;

/// An organisation named to somebody who may know it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Party, examples(json!({ "id": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "marina", "name": "Marina Bay" })))]
pub struct Organisation {
    #[schema(value_type = values::OrganisationId)]
    pub id: OrganisationId,
    /// The builder's identifier.
    pub external_id: String,
    /// The name shown to others.
    pub name: String,
    /// The builder's identifier of the unit that takes part, where it is one unit only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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
#[derive(Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "id": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "name": "Ana Alvarez", "email": "ana@marina.example" })))]
pub struct Person {
    #[schema(value_type = values::PersonId)]
    pub id: PersonId,
    /// The name, or `[erased]`.
    pub name: String,
    /// The address, or `[erased]`.
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
    All(AllWord),
    List(Vec<String>),
}

pub fn accounts(state: &State, accounts: &Accounts) -> ShownAccounts {
    let name =
        |id: &AccountId| state.accounts.get(*id).map(|a| state.words.show(a.external).to_owned());
    match accounts {
        Accounts::All => ShownAccounts::All(AllWord::All),
        Accounts::List(list) => ShownAccounts::List(list.iter().filter_map(name).collect()),
    }
}

/// A role of a grant or summary.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GivenRole, examples(json!({ "code": "clerk", "name": "Clerk", "version": 3, "permissions": ["bookings:read"] })))]
pub struct Role {
    /// The role's code.
    pub code: String,
    /// The role's name.
    pub name: String,
    /// The version that was given.
    pub version: u32,
    /// What it permits here: also not more than its newest version and the level.
    #[schema(value_type = Vec<values::Pattern>)]
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
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessRequest, examples(json!({ "id": "req_01kf4e9ab7c3x8m2v5r6t0w1yz", "direction": "partner_request", "state": "pending",
    "asked_at": "2027-01-31T12:00:00.000Z", "expires_at": "2027-03-02T12:00:00.000Z",
    "partner": { "organisation": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "company": "Harbor Help", "name": "Pia Park", "email": "pia@harbor-help.example",
        "domain_verified": false },
    "level": "partner", "level_badge": "primary", "modes": ["direct"], "impersonation": false, "days": 30, "roles": ["clerk"],
    "accounts": "all", "reason": "Winter storage" })))]
pub struct ShownRequest {
    #[schema(value_type = values::RequestId)]
    pub id: RequestId,
    #[schema(value_type = values::Direction)]
    pub direction: Direction,
    #[schema(value_type = values::RequestPhase)]
    pub state: RequestPhase,
    #[schema(value_type = values::Instant)]
    pub asked_at: String,
    #[schema(value_type = values::Instant)]
    pub expires_at: String,
    pub partner: Asker,
    /// Who is asked, or who offers; absent for a partner that asked until approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub customer: Option<Organisation>,
    /// The code of the level.
    pub level: String,
    /// How the level is shown: `primary` or `secondary`.
    pub level_badge: &'static str,
    #[schema(value_type = values::Modes)]
    pub modes: Modes,
    /// Whether `act_as` is among the modes.
    pub impersonation: bool,
    /// For how long.
    pub days: u32,
    /// Codes of the roles that are wished for or offered.
    pub roles: Vec<String>,
    #[schema(value_type = WireAccounts)]
    pub accounts: ShownAccounts,
    /// What a customer offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub offered: Option<ShownOffer>,
    /// Why they ask or offer.
    pub reason: String,
    /// Their ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ticket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::Instant, required = false)]
    pub decided_at: Option<String>,
    /// Why it was denied, for the eyes of the side that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub denial_reason: Option<String>,
    /// What the other side was told on denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::RequestCancel, required = false)]
    pub cancelled_because: Option<RequestCancel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::GrantId, required = false)]
    pub grant: Option<GrantId>,
}

/// Who asks, as they were when they asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Asker {
    #[schema(value_type = values::OrganisationId)]
    pub organisation: OrganisationId,
    /// The name of the organisation.
    pub company: String,
    /// The builder's identifier of the unit that would come in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub unit: Option<String>,
    /// The name of the person who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// The address of the person who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub email: Option<String>,
    /// Until a domain is proven, a name is only a name (T3).
    pub domain_verified: bool,
}

/// What a customer has said yes to before its partner does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Offer, examples(json!({ "name": "Ana Alba", "email": "ana@marina.example",
    "roles": [{ "code": "clerk", "name": "Clerk", "version": 1, "permissions": ["bookings:read"] }],
    "session_minutes": 60, "allow_external": false, "jwt": false })))]
pub struct ShownOffer {
    /// The name of the person who offered.
    pub name: String,
    /// The address of the person who offered.
    pub email: String,
    /// The builder's identifier of the unit of the customer that alone gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub unit: Option<String>,
    /// The roles, with what each permits.
    pub roles: Vec<Role>,
    /// When it starts; on acceptance without.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::Instant, required = false)]
    pub starts_at: Option<String>,
    /// The longest session.
    pub session_minutes: u32,
    /// Whether people from outside may be invited.
    pub allow_external: bool,
    /// Whether tokens may be checked without asking, and then go on for up to 60 seconds.
    pub jwt: bool,
}

fn offer(state: &State, r: &Request, offered: &Offered) -> ShownOffer {
    let level = state.level(&r.level).map(|l| l.ceiling.clone()).unwrap_or_default();
    let one = |pinned: &PinnedRole| {
        let permits = state.roles.get(pinned.role)?.pinned(pinned.version).meet(&level);
        role(state, *pinned, permits)
    };
    let customer = Party { organisation: r.customer, unit: offered.unit };
    ShownOffer {
        name: state.words.show(r.who.0).into(),
        email: state.words.show(r.who.1).into(),
        unit: party(state, customer).and_then(|p| p.unit),
        roles: offered.roles.iter().filter_map(one).collect(),
        starts_at: offered.starts_at.map(time),
        session_minutes: offered.cap.0,
        allow_external: offered.allow_external,
        jwt: offered.jwt,
    }
}

/// A request as a member of `for_customer`'s side, or of the partner's, sees it.
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
    let offered = r.offered.as_deref();
    let asked = r.direction == Direction::PartnerRequest;
    let company = state.organisations.get(r.provider.organisation).map(|o| o.name);
    let mut shown = ShownRequest {
        id,
        direction: r.direction,
        state: phase,
        asked_at: time(r.at),
        expires_at: time(r.expires()),
        partner: Asker {
            organisation: r.provider.organisation,
            company: if asked {
                state.words.show(r.who.2).into()
            } else {
                company.map(|w| state.words.show(w)).unwrap_or_default().into()
            },
            unit: party(state, r.provider).and_then(|p| p.unit),
            name: asked.then(|| state.words.show(r.who.0).into()),
            email: asked.then(|| state.words.show(r.who.1).into()),
            domain_verified: false,
        },
        customer: (for_customer || !asked || phase == RequestPhase::Approved)
            .then(|| organisation(state, r.customer))
            .flatten(),
        level: r.level.code.to_string(),
        level_badge: if r.level.is_secondary() { "secondary" } else { "primary" },
        modes: r.modes,
        impersonation: grant::impersonation(r.modes),
        days: r.days.0,
        roles: match offered {
            None => words(&r.roles),
            Some(o) => o.roles.iter().filter_map(|p| role_code(state, p.role)).collect(),
        },
        accounts: match offered {
            Some(o) => accounts(state, &o.accounts),
            None if r.accounts.is_empty() => ShownAccounts::All(AllWord::All),
            None => ShownAccounts::List(words(&r.accounts)),
        },
        offered: offered.map(|o| offer(state, r, o)),
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
                reason.filter(|_| for_customer == asked).map(|w| state.words.show(w).into());
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

/// A grant: a customer's yes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Grant, examples(json!({ "id": "grant_01kf4e9ab7c3x8m2v5r6t0w1yz", "state": "active",
    "customer": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "marina", "name": "Marina Bay" },
    "partner": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1y0", "external_id": "harbor-help", "name": "Harbor Help" },
    "level": "partner", "roles": [{ "code": "clerk", "name": "Clerk", "version": 1, "permissions": ["bookings:read"] }],
    "accounts": ["boat-1"], "modes": ["direct"], "impersonation": false, "starts_at": "2027-01-31T12:00:00.000Z",
    "ends_at": "2027-03-02T12:00:00.000Z", "ends_in_days": 30, "session_minutes": 60, "allow_external": false, "jwt": false,
    "locked": false, "suspended": false, "unattended": false, "auto": false, "people": 2, "inside": 0, "version": 1,
    "request": "req_01kf4e9ab7c3x8m2v5r6t0w1yz" })))]
pub struct ShownGrant {
    #[schema(value_type = values::GrantId)]
    pub id: GrantId,
    #[schema(value_type = values::GrantPhase)]
    pub state: GrantPhase,
    #[schema(required)]
    pub customer: Option<Organisation>,
    #[schema(required)]
    pub partner: Option<Organisation>,
    /// The code of the level.
    pub level: String,
    /// The most that anybody on it may be given.
    pub roles: Vec<Role>,
    #[schema(value_type = WireAccounts)]
    pub accounts: ShownAccounts,
    #[schema(value_type = values::Modes)]
    pub modes: Modes,
    /// Whether `act_as` is among the modes.
    pub impersonation: bool,
    #[schema(value_type = values::Instant)]
    pub starts_at: String,
    #[schema(value_type = values::Instant)]
    pub ends_at: String,
    /// Whole days left, rounded up; absent when it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ends_in_days: Option<i64>,
    /// The longest session.
    pub session_minutes: u32,
    /// Whether people from outside may be invited.
    pub allow_external: bool,
    /// Whether tokens may be checked without asking, and then go on for up to 60 seconds.
    pub jwt: bool,
    /// A lock of the customer covers it.
    pub locked: bool,
    /// The partner, or its unit in this grant, is suspended or closed.
    pub suspended: bool,
    /// Since when it waits for the customer's word, after a restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unconfirmed_since: Option<String>,
    /// Nobody is assigned any more, though somebody was.
    pub unattended: bool,
    /// Whether all of the partner's members, or some by their portal role, are on it automatically.
    pub auto: bool,
    /// How many people it gives access to now.
    pub people: usize,
    /// How many sessions are in progress.
    pub inside: usize,
    /// Its version: what `If-Match` is compared with.
    pub version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::Instant, required = false)]
    pub ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::GrantEnd, required = false)]
    pub end_reason: Option<GrantEnd>,
    #[schema(value_type = values::RequestId)]
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
        auto: g.auto.is_some(),
        people,
        inside: access.inside,
        version: g.version,
        ended_at: ended.map(|(at, _)| time(at)),
        end_reason: ended.map(|(_, cause)| cause),
        request: g.request,
    })
}
