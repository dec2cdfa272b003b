//! A person's own doors: sign-out, first password, who am I, where may I go.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use comity_app::{App, Failure};
use comity_domain::command::Command;
use comity_domain::ids::{GrantId, PersonId};
use comity_domain::organisation::Standing;
use comity_domain::person::PortalRole;
use comity_domain::refusal::Refusal;
use comity_domain::role::Modes;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::view;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Who, person};
use crate::input::{Body, WireAccounts};
use crate::limits::{Beside, Counted};
use crate::openapi::values;
use crate::page::Items;
use crate::problem::Problem;
use crate::shown;

/// How far to sign out.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "everywhere": false })))]
#[serde(deny_unknown_fields)]
pub struct SignOut {
    /// Whether every other sign-in of the person ends too.
    #[serde(default)]
    everywhere: bool,
}

/// Sign out.
///
/// Who may: a person.
#[utoipa::path(post, path = "/v1/sign-out", operation_id = "signOut", tag = "People", security(("signIn" = [])),
    request_body = SignOut,
    responses((status = 204, description = "Signed out.")))]
pub async fn sign_out(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<SignOut>,
) -> Result<StatusCode, Problem> {
    person(&who.0)?;
    let command = if body.everywhere { Command::SignOutEverywhere } else { Command::SignOut };
    who.run(&app, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A first password.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "token": "cmt_enrol_0123456789abcdefghjkmnpqrs", "password": "correct horse battery staple" })))]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The token of the enrolment.
    token: String,
    /// The password: not the address, not one sign repeated.
    #[schema(min_length = 15, max_length = 128, format = Password)]
    password: String,
}

/// Set a first password.
///
/// Who may: whoever holds an enrolment token.
#[utoipa::path(post, path = "/v1/enrol", operation_id = "enrol", tag = "People", security(),
    request_body = Enrol,
    responses((status = 204, description = "It is set.")),
    extensions(("x-refusals" = json!("not_active wrong_state taken"))))]
pub async fn enrol(
    State(app): State<Arc<App>>,
    Counted(Beside { limits, from }): Counted,
    Body(body): Body<Enrol>,
) -> Result<StatusCode, Problem> {
    limits.enrol(from)?;
    match app.enrol(&body.token, body.password).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(Failure::Refused(Refusal::NotFound)) => {
            Err(Problem::field("token", "is unknown, used or out of date; ask for a new one"))
        }
        Err(other) => Err(other.into()),
    }
}

/// A person with their memberships.
#[derive(Serialize, ToSchema)]
pub struct Me {
    #[schema(required)]
    person: Option<shown::Person>,
    /// Where they are a member.
    memberships: Vec<Membership>,
}

/// What a person is in an organisation.
#[derive(Serialize, ToSchema)]
pub struct Membership {
    organisation: shown::Organisation,
    #[schema(required, value_type = Option<values::PortalRole>)]
    portal_role: Option<PortalRole>,
    #[schema(value_type = values::Standing)]
    standing: Standing,
}

/// Who am I?
///
/// Who may: a person.
#[utoipa::path(get, path = "/v1/me", operation_id = "getMe", tag = "People", security(("signIn" = [])),
    responses((status = 200, description = "The person, and where they are a member.", body = Me)))]
pub async fn me(State(app): State<Arc<App>>, who: Who) -> Result<Json<Me>, Problem> {
    let id = person(&who.0)?;
    let state = app.state();
    let member = |organisation| {
        let m = state.members.get(&(organisation, id))?;
        let organisation = shown::organisation(&state, organisation)?;
        Some(Membership { organisation, portal_role: m.portal, standing: m.standing })
    };
    let memberships = state.organisations_of(id).filter_map(member).collect();
    Ok(Json(Me { person: shown::person(&state, id), memberships }))
}

/// Where a person may go, and what they may do there.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant, examples(json!({ "grant": "grant_01kf4e9ab7c3x8m2v5r6t0w1yz",
    "customer": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "marina", "name": "Marina Bay" }, "roles": ["clerk"],
    "accounts": ["boat-1"], "modes": ["direct", "view"], "ends_at": "2027-03-02T12:00:00.000Z", "session_minutes": 60 })))]
pub struct ShownTenant {
    #[schema(value_type = values::GrantId)]
    grant: GrantId,
    customer: shown::Organisation,
    /// Codes of the roles that they hold there.
    roles: Vec<String>,
    #[schema(value_type = WireAccounts)]
    accounts: shown::ShownAccounts,
    #[schema(value_type = values::Modes)]
    modes: Modes,
    #[schema(value_type = values::Instant)]
    ends_at: String,
    /// The longest session.
    session_minutes: u32,
}

/// Where may I go?
///
/// Who may: a person. One line for each live grant that they are on.
#[utoipa::path(get, path = "/v1/me/tenants", operation_id = "listTenants", tag = "People", security(("signIn" = [])),
    responses((status = 200, description = "All of them.", body = Items<ShownTenant>)))]
pub async fn tenants(
    State(app): State<Arc<App>>,
    who: Who,
) -> Result<Json<Items<ShownTenant>>, Problem> {
    let id = person(&who.0)?;
    Ok(Json(Items { items: shown_tenants(&app.state(), id, app.now()) }))
}

/// Where a person may go, as it is shown to them and to the builder's sign-in.
pub fn shown_tenants(state: &World, id: PersonId, now: Instant) -> Vec<ShownTenant> {
    let line = |t: view::Tenant<'_>| {
        let a = state.assignment(t.id, id)?;
        let roles: Vec<String> =
            a.roles.iter().filter_map(|r| shown::role_code(state, *r)).collect();
        Some(ShownTenant {
            grant: t.id,
            customer: shown::organisation(state, t.grant.customer.organisation)?,
            roles,
            accounts: shown::accounts(state, &t.grant.accounts.meet(&a.accounts)),
            modes: t.grant.modes,
            ends_at: shown::time(t.grant.window.end.min(a.row.ends_at)),
            session_minutes: t.grant.cap.0,
        })
    };
    view::tenants(state, id, now).filter_map(line).collect()
}
