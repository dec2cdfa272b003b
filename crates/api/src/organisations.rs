//! Organisations, their units and accounts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::event::Event;
use comity_domain::ids::{AccountId, OrganisationId, UnitId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::organisation::Standing;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use comity_domain::version::Versioned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path, Query, organisation};
use crate::openapi::values;
use crate::page::{self, Order, Page, Paging};
use crate::problem::Problem;
use crate::versions::{etag, tagged};

/// The state and the organisation, if the caller may do `action` there.
pub fn seen(
    app: &App,
    who: &Who,
    named: &str,
    action: Action,
) -> Result<(Arc<World>, OrganisationId), Problem> {
    let state = app.state();
    let id = organisation(&state, named)?;
    may::check(&state, &who.0, action, Thing::organisation(id), app.now())?;
    Ok((state, id))
}

// -- the organisation -----------------------------------------------------------------------------

/// What an organisation is called.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "name": "Marina Bay" })))]
#[serde(deny_unknown_fields)]
pub struct PutOrganisation {
    /// The name shown to others.
    #[schema(min_length = 1, max_length = 120)]
    name: String,
}

/// A tenant of the builder's product.
#[derive(Serialize, ToSchema)]
#[schema(as = Organisation, examples(json!({ "id": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "marina", "name": "Marina Bay",
    "standing": "active", "etag": "\"1\"" })))]
pub struct ShownOrganisation {
    #[schema(value_type = values::OrganisationId)]
    id: OrganisationId,
    /// The builder's identifier.
    external_id: String,
    /// The name shown to others.
    name: String,
    #[schema(value_type = values::Standing)]
    standing: Standing,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

fn shown_organisation(state: &World, id: OrganisationId) -> Option<ShownOrganisation> {
    let o = state.organisations.get(id)?;
    Some(ShownOrganisation {
        id,
        external_id: state.words.show(o.external).into(),
        name: state.words.show(o.name).into(),
        standing: o.standing,
        etag: etag(state, &Versioned::Organisation(id)),
    })
}

/// Make or rename an organisation.
///
/// Who may: provision. `{organisation}` is the builder's identifier. A new one gets a customer ID and a default unit.
#[utoipa::path(put, path = "/v1/organisations/{organisation}", operation_id = "putOrganisation", tag = "Provisioning", security(("key" = [])),
    request_body = PutOrganisation,
    responses((status = 200, description = "It was there, and is so now.", body = ShownOrganisation, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 201, description = "It was made.", body = ShownOrganisation, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("taken not_active version_conflict"))))]
pub async fn put(
    State(app): State<Arc<App>>,
    who: Who,
    Path(external): Path<String>,
    Body(body): Body<PutOrganisation>,
) -> Result<Response, Problem> {
    let command = Command::PutOrganisation {
        external: external.clone(),
        name: body.name,
        code: app.fresh_code(),
    };
    let find =
        |state: &World| state.words.find(Lookup::Organisation, external.trim()).map(OrganisationId);
    let known = find(&app.state()).map_or(Versioned::Nothing, Versioned::Organisation);
    let done = who.edit(&app, known, command).await?;
    let id = find(&done.state).ok_or_else(Problem::not_found)?;
    let shown = shown_organisation(&done.state, id).ok_or_else(Problem::not_found)?;
    let status = made(&done, |e| matches!(e, Event::OrganisationMade { .. }));
    Ok(tagged(status, &done.state, &Versioned::Organisation(id), shown))
}

/// 201 when the row made the thing, 200 when it changed or kept it.
pub fn made(done: &comity_app::node::Done, what: fn(&Event) -> bool) -> StatusCode {
    let new = done.row.as_ref().is_some_and(|row| row.events.iter().any(|e| what(&e.event)));
    if new { StatusCode::CREATED } else { StatusCode::OK }
}

/// An organisation.
///
/// Who may: provision, or a member of it.
#[utoipa::path(get, path = "/v1/organisations/{organisation}", operation_id = "getOrganisation", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    responses((status = 200, description = "The organisation.", body = ShownOrganisation, headers(("ETag" = String, description = "The version, for `If-Match`.")))))]
pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Response, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadOrganisation)?;
    let shown = shown_organisation(&state, id).ok_or_else(Problem::not_found)?;
    Ok(tagged(StatusCode::OK, &state, &Versioned::Organisation(id), shown))
}

/// Whether an organisation takes part.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "standing": "suspended" })))]
#[serde(deny_unknown_fields)]
pub struct SetStanding {
    #[schema(value_type = values::Standing)]
    standing: Standing,
}

/// Suspend, resume or close an organisation.
///
/// Who may: operate. Suspending ends sessions; closing ends grants and cannot be undone.
#[utoipa::path(put, path = "/v1/organisations/{organisation}/standing", operation_id = "setStanding", tag = "Platform", security(("key" = [])),
    request_body = SetStanding,
    responses((status = 200, description = "The organisation.", body = ShownOrganisation, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("wrong_state not_active version_conflict"))))]
pub async fn set_standing(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Body(body): Body<SetStanding>,
) -> Result<Response, Problem> {
    let id = organisation(&app.state(), &named)?;
    let command = Command::SetStanding { organisation: id, standing: body.standing };
    let of = Versioned::Organisation(id);
    let done = who.edit(&app, of.clone(), command).await?;
    let shown = shown_organisation(&done.state, id).ok_or_else(Problem::not_found)?;
    Ok(tagged(StatusCode::OK, &done.state, &of, shown))
}

// -- units ----------------------------------------------------------------------------------------

/// What a unit is.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "name": "North pier" })))]
#[serde(deny_unknown_fields)]
pub struct PutUnit {
    /// The name shown to others.
    #[schema(min_length = 1, max_length = 120)]
    name: String,
    /// Whether it takes part.
    #[serde(default = "yes")]
    #[schema(default = true)]
    active: bool,
}

/// A part of an organisation.
#[derive(Serialize, ToSchema)]
#[schema(as = Unit, examples(json!({ "id": "unit_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "north-pier", "name": "North pier", "standing": "active", "etag": "\"1\"" })))]
pub struct ShownUnit {
    #[schema(value_type = values::UnitId)]
    id: UnitId,
    /// The builder's identifier; the default unit has none.
    #[schema(required)]
    external_id: Option<String>,
    /// Its name; the default unit has none.
    #[schema(required)]
    name: Option<String>,
    #[schema(value_type = values::Standing)]
    standing: Standing,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

/// What is meant where nothing is said.
pub fn yes() -> bool {
    true
}

/// Make or change a unit.
///
/// Who may: provision, or an Admin of the organisation.
#[utoipa::path(put, path = "/v1/organisations/{organisation}/units/{id}", operation_id = "putUnit", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    request_body = PutUnit,
    responses((status = 200, description = "It was there, and is so now.", body = ShownUnit, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 201, description = "It was made.", body = ShownUnit, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("taken not_active wrong_state version_conflict"))))]
pub async fn put_unit(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
    Body(body): Body<PutUnit>,
) -> Result<Response, Problem> {
    let id = organisation(&app.state(), &named)?;
    let command = Command::PutUnit {
        organisation: id,
        external: external.clone(),
        name: body.name,
        active: body.active,
    };
    let find = |state: &World| state.words.find(Lookup::Unit(id), external.trim()).map(UnitId);
    let of = |found: Option<UnitId>| found.map_or(Versioned::Nothing, Versioned::Unit);
    let done = who.edit(&app, of(find(&app.state())), command).await?;
    let found = find(&done.state);
    let status = made(&done, |e| matches!(e, Event::UnitMade { .. }));
    let shown =
        found.and_then(|found| shown_unit(&done.state, found)).ok_or_else(Problem::not_found)?;
    Ok(tagged(status, &done.state, &of(found), shown))
}

fn shown_unit(state: &World, id: UnitId) -> Option<ShownUnit> {
    let u = state.units.get(id)?;
    let text = |w: Option<_>| w.map(|w| state.words.show(w).to_owned());
    Some(ShownUnit {
        id,
        external_id: text(u.external),
        name: text(u.name),
        standing: u.standing,
        etag: etag(state, &Versioned::Unit(id)),
    })
}

/// The units of an organisation.
///
/// Who may: provision, or Support of the organisation. The oldest first.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/units", operation_id = "listUnits", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<ShownUnit>)))]
pub async fn units(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ShownUnit>>, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadAccounts)?;
    Ok(Json(page::by_id(
        &app,
        &format!("units/{id}"),
        &paging,
        Order::OldestFirst,
        state.units_of(id),
        |u| shown_unit(&state, u),
    )?))
}

// -- accounts -------------------------------------------------------------------------------------

/// What an account is.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "name": "Boat 1", "unit": "north-pier" })))]
#[serde(deny_unknown_fields)]
pub struct PutAccount {
    /// The name shown to others.
    #[schema(min_length = 1, max_length = 120)]
    name: String,
    /// The builder's identifier of the unit that it lives in; the default unit unless given.
    unit: Option<String>,
}

/// A thing inside a customer that can be shared on its own.
#[derive(Serialize, ToSchema)]
#[schema(as = Account, examples(json!({ "id": "acct_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "boat-1", "name": "Boat 1", "unit": "north-pier", "linked_group": null, "etag": "\"1\"" })))]
pub struct ShownAccount {
    #[schema(value_type = values::AccountId)]
    id: AccountId,
    /// The builder's identifier.
    external_id: String,
    /// The name shown to others.
    name: String,
    /// The builder's identifier of its unit; null for the default unit.
    #[schema(required)]
    unit: Option<String>,
    /// The code that it shares with the accounts it belongs together with; null where it stands alone.
    #[schema(required)]
    linked_group: Option<String>,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

/// Make or change an account.
///
/// Who may: provision, or an Admin of the organisation.
#[utoipa::path(put, path = "/v1/organisations/{organisation}/accounts/{id}", operation_id = "putAccount", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    request_body = PutAccount,
    responses((status = 200, description = "It was there, and is so now.", body = ShownAccount, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 201, description = "It was made.", body = ShownAccount, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("taken not_active wrong_state version_conflict"))))]
pub async fn put_account(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
    Body(body): Body<PutAccount>,
) -> Result<Response, Problem> {
    let id = organisation(&app.state(), &named)?;
    let command = Command::PutAccount {
        organisation: id,
        external: external.clone(),
        name: body.name,
        unit: body.unit,
    };
    let find =
        |state: &World| state.words.find(Lookup::Account(id), external.trim()).map(AccountId);
    let of = |found: Option<AccountId>| found.map_or(Versioned::Nothing, Versioned::Account);
    let done = who.edit(&app, of(find(&app.state())), command).await?;
    let found = find(&done.state);
    let status = made(&done, |e| matches!(e, Event::AccountMade { .. }));
    let shown =
        found.and_then(|found| shown_account(&done.state, found)).ok_or_else(Problem::not_found)?;
    Ok(tagged(status, &done.state, &of(found), shown))
}

fn shown_account(state: &World, id: AccountId) -> Option<ShownAccount> {
    let a = state.accounts.get(id)?;
    let text = |w| state.words.show(w).to_owned();
    Some(ShownAccount {
        id,
        external_id: text(a.external),
        name: text(a.name),
        unit: state.units.get(a.unit).and_then(|u| u.external).map(text),
        linked_group: a.linked.as_deref().map(str::to_owned),
        etag: etag(state, &Versioned::Account(id)),
    })
}

/// With what an account belongs together.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "linked_group": "pair-7" })))]
#[serde(deny_unknown_fields)]
pub struct LinkAccount {
    /// 1 to 64 of a-z, 0-9, _ and -; null for none.
    linked_group: Option<String>,
}

/// Link an account with others.
///
/// Who may: provision, or an Admin of the organisation. Accounts of one code belong together: a bulk call of a partner that names
/// one of them has to take the others along.
#[utoipa::path(put, path = "/v1/organisations/{organisation}/accounts/{id}/linked-group", operation_id = "linkAccount", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    request_body = LinkAccount,
    responses((status = 200, description = "The account.", body = ShownAccount, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("not_active version_conflict"))))]
pub async fn link_account(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
    Body(body): Body<LinkAccount>,
) -> Result<Response, Problem> {
    let id = organisation(&app.state(), &named)?;
    let find =
        |state: &World| state.words.find(Lookup::Account(id), external.trim()).map(AccountId);
    let of = |found: Option<AccountId>| found.map_or(Versioned::Nothing, Versioned::Account);
    let group = body.linked_group;
    let command =
        Command::LinkAccount { organisation: id, external: external.trim().to_owned(), group };
    let done = who.edit(&app, of(find(&app.state())), command).await?;
    let found = find(&done.state);
    let shown =
        found.and_then(|found| shown_account(&done.state, found)).ok_or_else(Problem::not_found)?;
    Ok(tagged(StatusCode::OK, &done.state, &of(found), shown))
}

/// Remove an account.
///
/// Who may: provision, or an Admin of the organisation. It leaves every grant that lists it.
#[utoipa::path(delete, path = "/v1/organisations/{organisation}/accounts/{id}", operation_id = "removeAccount", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    responses((status = 204, description = "It is gone.")),
    extensions(("x-refusals" = json!("not_active version_conflict"))))]
pub async fn remove_account(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id = organisation(&app.state(), &named)?;
    let found = app.state().words.find(Lookup::Account(id), external.trim()).map(AccountId);
    let of = found.map_or(Versioned::Nothing, Versioned::Account);
    who.edit(&app, of, Command::RemoveAccount { organisation: id, external }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The accounts of an organisation.
///
/// Who may: provision, or Support of the organisation. The oldest first.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/accounts", operation_id = "listAccounts", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<ShownAccount>)))]
pub async fn accounts(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ShownAccount>>, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadAccounts)?;
    Ok(Json(page::by_id(
        &app,
        &format!("accounts/{id}"),
        &paging,
        Order::OldestFirst,
        state.accounts_of(id),
        |a| shown_account(&state, a),
    )?))
}
