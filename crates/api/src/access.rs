//! A person's view: everything that somebody may enter through an organisation, why, and its end.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_domain::assignment::{AssignmentState, Basis};
use comity_domain::auto;
use comity_domain::command::Command;
use comity_domain::grant::GrantPhase;
use comity_domain::ids::{GrantId, OrganisationId, PersonId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::organisation::Standing;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use comity_domain::time::Instant;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Path, WireAccounts, organisation};
use crate::openapi::values;
use crate::problem::Problem;
use crate::shown;

/// The person's own membership in the organisation.
#[derive(Serialize, ToSchema)]
pub struct Direct {
    /// Whether it lets them in now: it is active, and no partner's grant has superseded it.
    open: bool,
    #[schema(value_type = values::Standing)]
    standing: Standing,
    /// Whether the person works here for a partner, and enters only that way until restored.
    superseded: bool,
}

/// One customer's grant on which the person is.
#[derive(Serialize, ToSchema)]
pub struct WayIn {
    #[schema(value_type = values::GrantId)]
    grant: GrantId,
    customer: shown::Organisation,
    #[schema(value_type = values::GrantPhase)]
    phase: GrantPhase,
    #[schema(value_type = values::Basis)]
    basis: Basis,
    #[schema(value_type = values::AssignmentState)]
    state: AssignmentState,
    /// Codes of the roles that they hold there.
    roles: Vec<String>,
    #[schema(value_type = WireAccounts)]
    accounts: shown::ShownAccounts,
    #[schema(value_type = values::Instant)]
    ends_at: String,
    /// Whether the person can enter now.
    open: bool,
    /// How many sessions of theirs are in progress.
    inside: usize,
}

/// Everything that a person may enter through an organisation.
#[derive(Serialize, ToSchema)]
#[schema(as = PersonAccess, examples(json!({ "person": { "id": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "name": "Hugo Hart", "email": "hugo@harbor.example" },
    "direct": { "open": true, "standing": "active", "superseded": false },
    "grants": [{ "grant": "grant_01kf4e9ab7c3x8m2v5r6t0w1yz",
        "customer": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "marina", "name": "Marina Bay" }, "phase": "active",
        "basis": "automatic", "state": "active", "roles": ["clerk"], "accounts": "all", "ends_at": "2027-03-02T12:00:00.000Z",
        "open": true, "inside": 0 }] })))]
pub struct ShownAccess {
    person: shown::Person,
    /// Null for somebody who is no member: an external person.
    #[schema(required)]
    direct: Option<Direct>,
    /// Each grant to the organisation that stands and has them on it, the oldest first.
    grants: Vec<WayIn>,
}

/// A person by the builder's identifier of the member, or by Comity's.
fn found(state: &World, id: OrganisationId, named: &str) -> Option<PersonId> {
    let member = state.words.find(Lookup::Member(id), named.trim()).map(PersonId);
    member.or_else(|| named.parse().ok())
}

/// Whoever is neither a member nor on a grant of the organisation is not there.
fn shown_access(
    state: &World,
    id: OrganisationId,
    person: PersonId,
    now: Instant,
) -> Option<ShownAccess> {
    let member = state.members.get(&(id, person));
    let ways = auto::ways_in(state, id, person, now);
    if member.is_none() && ways.is_empty() {
        return None;
    }
    let open: Vec<GrantId> =
        comity_domain::view::tenants(state, person, now).map(|tenant| tenant.id).collect();
    let way = |(grant, g, row): (GrantId, &comity_domain::grant::Grant, _)| {
        let row: &comity_domain::assignment::Assignment = row;
        let a = state.assignment(grant, person)?;
        let inside = state.sessions_of(person).filter_map(|s| state.sessions.get(s));
        Some(WayIn {
            grant,
            customer: shown::organisation(state, g.customer.organisation)?,
            phase: g.phase(now),
            basis: row.basis,
            state: row.state,
            roles: a.roles.iter().filter_map(|r| shown::role_code(state, *r)).collect(),
            accounts: shown::accounts(state, &g.accounts.meet(&a.accounts)),
            ends_at: shown::time(g.window.end.min(row.ends_at)),
            open: open.contains(&grant),
            inside: inside.filter(|s| s.grant == grant && s.is_active(now)).count(),
        })
    };
    Some(ShownAccess {
        person: shown::person(state, person)?,
        direct: member.map(|m| Direct {
            open: state.active_member(id, person).is_some(),
            standing: m.standing,
            superseded: m.superseded.is_some(),
        }),
        grants: ways.into_iter().filter_map(way).collect(),
    })
}

/// What may a person enter, and why?
///
/// Who may: provision, or Support of the organisation. `{id}` is the builder's identifier of the member, or Comity's of the
/// person: so are external people found.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/members/{id}/access", operation_id = "getAccess", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    responses((status = 200, description = "All of it.", body = ShownAccess)))]
pub async fn read(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, person)): Path<(String, String)>,
) -> Result<Json<ShownAccess>, Problem> {
    let (state, now) = (app.state(), app.now());
    let id = organisation(&state, &named)?;
    may::check(&state, &who.0, Action::ReadMembers, Thing::organisation(id), now)?;
    let shown = found(&state, id, &person).and_then(|p| shown_access(&state, id, p, now));
    Ok(Json(shown.ok_or_else(Problem::not_found)?))
}

/// End all that a person may enter.
///
/// Who may: provision, or an Admin of the organisation. In one step the person's own assignments on grants to the organisation
/// end, with every session under them, and a member is suspended, so that no rule and no membership lets them in. They stay a
/// member; making them active again brings back the membership and what rules give, and no assignment of their own. A grant
/// that is left without anybody is flagged `unattended`; an organisation keeps an Admin (`last_admin`).
#[utoipa::path(post, path = "/v1/organisations/{organisation}/members/{id}/access/end", operation_id = "endAccess", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    responses((status = 200, description = "What is left: nothing that is open.", body = ShownAccess)),
    extensions(("x-refusals" = json!("last_admin not_active"))))]
pub async fn end(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, person)): Path<(String, String)>,
) -> Result<Json<ShownAccess>, Problem> {
    let state = app.state();
    let id = organisation(&state, &named)?;
    let person = found(&state, id, &person).unwrap_or(PersonId::MAX);
    let done = who.run(&app, Command::EndAccess { organisation: id, person }).await?;
    let (state, now) = (&done.state, done.state.at);
    let nothing = || {
        Some(ShownAccess {
            person: shown::person(state, person)?,
            direct: None,
            grants: Vec::new(),
        })
    };
    let shown = shown_access(state, id, person, now).or_else(nothing);
    Ok(Json(shown.ok_or_else(Problem::not_found)?))
}
