//! Organisations, units, accounts, roles, members; the customer's own affairs.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::tokens::{Kind, Secret};
use comity_app::{App, Failure};
use comity_domain::command::{Command, PutMember};
use comity_domain::event::Event;
use comity_domain::ids::{AccountId, OrganisationId, PersonId, RoleId, UnitId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::organisation::{Settings, Standing};
use comity_domain::permission::Permissions;
use comity_domain::person::PortalRole;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use comity_domain::time::{Days, Minutes};
use comity_domain::version::Versioned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::Who;
use crate::input::{Body, Path, Query, organisation};
use crate::page::{self, Order, Page, Paging};
use crate::problem::Problem;
use crate::versions::{etag, tagged};

/// The state and the organisation, if the caller may do `action` there.
fn seen(
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutOrganisation {
    name: String,
}

#[derive(Serialize)]
pub struct ShownOrganisation {
    id: OrganisationId,
    external_id: String,
    name: String,
    standing: Standing,
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
fn made(done: &comity_app::node::Done, what: fn(&Event) -> bool) -> StatusCode {
    let new = done.row.as_ref().is_some_and(|row| row.events.iter().any(|e| what(&e.event)));
    if new { StatusCode::CREATED } else { StatusCode::OK }
}

pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Response, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadOrganisation)?;
    let shown = shown_organisation(&state, id).ok_or_else(Problem::not_found)?;
    Ok(tagged(StatusCode::OK, &state, &Versioned::Organisation(id), shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetStanding {
    standing: Standing,
}

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
    Ok(tagged(StatusCode::OK, &done.state, &of, shown_organisation(&done.state, id)))
}

// -- units ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutUnit {
    name: String,
    #[serde(default = "yes")]
    active: bool,
}

fn yes() -> bool {
    true
}

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
    let unit = find(&done.state);
    let status = made(&done, |e| matches!(e, Event::UnitMade { .. }));
    let shown = unit.and_then(|u| shown_unit(&done.state, u));
    Ok(tagged(status, &done.state, &of(unit), shown))
}

fn shown_unit(state: &World, id: UnitId) -> Option<Value> {
    let u = state.units.get(id)?;
    let text = |w: Option<_>| w.map(|w| state.words.show(w));
    Some(
        json!({ "id": id, "external_id": text(u.external), "name": text(u.name), "standing": u.standing,
        "etag": etag(state, &Versioned::Unit(id)) }),
    )
}

pub async fn units(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Value>>, Problem> {
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutAccount {
    name: String,
    unit: Option<String>,
}

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
    let account = find(&done.state);
    let status = made(&done, |e| matches!(e, Event::AccountMade { .. }));
    let shown = account.and_then(|a| shown_account(&done.state, a));
    Ok(tagged(status, &done.state, &of(account), shown))
}

fn shown_account(state: &World, id: AccountId) -> Option<Value> {
    let a = state.accounts.get(id)?;
    let unit = state.units.get(a.unit).and_then(|u| u.external).map(|w| state.words.show(w));
    Some(
        json!({ "id": id, "external_id": state.words.show(a.external), "name": state.words.show(a.name), "unit": unit,
        "etag": etag(state, &Versioned::Account(id)) }),
    )
}

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

pub async fn accounts(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Value>>, Problem> {
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

// -- roles ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutRole {
    name: String,
    permissions: Vec<String>,
}

pub async fn put_role(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, code)): Path<(String, String)>,
    Body(body): Body<PutRole>,
) -> Result<Response, Problem> {
    // What is sent is judged before anything is looked up, so that a mistake says the same about an
    // organisation that is there and one that is not.
    let permissions = Permissions::parse("permissions", &body.permissions)?;
    let id = organisation(&app.state(), &named)?;
    let command =
        Command::PutRole { organisation: id, code: code.clone(), name: body.name, permissions };
    let find = |state: &World| state.role_by_code(id, &code);
    let of = |found: Option<RoleId>| found.map_or(Versioned::Nothing, Versioned::Role);
    let done = who.edit(&app, of(find(&app.state())), command).await?;
    let role = find(&done.state);
    let status = made(&done, |e| matches!(e, Event::RoleMade { .. }));
    let shown = role.and_then(|r| shown_role(&done.state, r));
    Ok(tagged(status, &done.state, &of(role), shown))
}

fn shown_role(state: &World, id: RoleId) -> Option<Value> {
    let r = state.roles.get(id)?;
    let (version, permissions) = (r.newest(), r.versions.last());
    Some(
        json!({ "id": id, "code": r.code, "name": r.name, "version": version, "permissions": permissions,
        "etag": etag(state, &Versioned::Role(id)) }),
    )
}

pub async fn delete_role(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, code)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id = organisation(&app.state(), &named)?;
    let of = app.state().role_by_code(id, &code).map_or(Versioned::Nothing, Versioned::Role);
    who.edit(&app, of, Command::DeleteRole { organisation: id, code }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn roles(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Value>>, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadRoles)?;
    let mut ids: Vec<_> = state.roles_of(id).map(|(id, _)| id).collect();
    ids.sort(); // by age, like every list
    Ok(Json(page::by_id(
        &app,
        &format!("roles/{id}"),
        &paging,
        Order::OldestFirst,
        ids.into_iter(),
        |r| shown_role(&state, r),
    )?))
}

// -- members --------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireMember {
    name: String,
    email: String,
    #[serde(default)]
    email_verified: bool,
    unit: Option<String>,
    portal_role: Option<PortalRole>,
    #[serde(default = "yes")]
    active: bool,
    /// Codes of the organisation's own roles; left out, they stay as they are.
    roles: Option<Vec<String>>,
}

pub async fn put_member(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
    Body(body): Body<WireMember>,
) -> Result<Response, Problem> {
    let id = organisation(&app.state(), &named)?;
    let command = Command::PutMember(PutMember {
        organisation: id,
        external: external.clone(),
        name: body.name,
        email: body.email,
        email_verified: body.email_verified,
        unit: body.unit,
        portal: body.portal_role,
        active: body.active,
        roles: body.roles,
    });
    let find = |state: &World| state.words.find(Lookup::Member(id), external.trim()).map(PersonId);
    let of =
        |found: Option<PersonId>| found.map_or(Versioned::Nothing, |p| Versioned::Member(id, p));
    let done = who.edit(&app, of(find(&app.state())), command).await?;
    let person = find(&done.state);
    let status = made(&done, |e| matches!(e, Event::MemberJoined { .. }));
    let shown = person.and_then(|p| shown_member(&done.state, id, p));
    Ok(tagged(status, &done.state, &of(person), shown))
}

fn shown_member(state: &World, organisation: OrganisationId, id: PersonId) -> Option<Value> {
    let (m, p) = (state.members.get(&(organisation, id))?, state.people.get(id)?);
    let unit = state.units.get(m.unit).and_then(|u| u.external).map(|w| state.words.show(w));
    let roles: Vec<_> = m.roles.iter().filter_map(|r| Some(&state.roles.get(*r)?.code)).collect();
    Some(
        json!({ "person": id, "external_id": state.words.show(m.external), "name": state.words.show(p.name),
        "email": state.words.show(p.email), "email_verified": p.email_verified, "unit": unit,
         "portal_role": m.portal, "roles": roles, "standing": m.standing, "enrolled": p.has_password,
         "etag": etag(state, &Versioned::Member(organisation, id)) }),
    )
}

pub async fn remove_member(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id = organisation(&app.state(), &named)?;
    let found = app.state().words.find(Lookup::Member(id), external.trim()).map(PersonId);
    let of = found.map_or(Versioned::Nothing, |p| Versioned::Member(id, p));
    who.edit(&app, of, Command::RemoveMember { organisation: id, external }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn members(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Value>>, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadMembers)?;
    let ids: Vec<_> = state.members_of(id).map(|(person, _)| person).collect();
    Ok(Json(page::by_id(
        &app,
        &format!("members/{id}"),
        &paging,
        Order::OldestFirst,
        ids.into_iter(),
        |p| shown_member(&state, id, p),
    )?))
}

pub async fn make_enrolment(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = organisation(&app.state(), &named)?;
    let secret = Secret::new(Kind::Enrolment);
    who.run(&app, Command::MakeEnrolment { organisation: id, external, digest: secret.digest() })
        .await?;
    let shown =
        json!({ "token": secret.reveal(), "note": "Shown once, good once, for seven days." });
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

// -- the customer's own affairs -------------------------------------------------------------------

async fn shown_code(app: Arc<App>, id: OrganisationId) -> Result<Json<Value>, Problem> {
    let reading = app.clone();
    let code = tokio::task::spawn_blocking(move || reading.customer_id(id)).await;
    let code = code.map_err(|e| Problem::from(Failure::Broken(e.to_string())))??;
    let on = app.state().organisations.get(id).is_some_and(|o| o.settings.customer_id_on);
    Ok(Json(json!({ "customer_id": code, "on": on })))
}

pub async fn customer_id(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (_, id) = seen(&app, &who, &named, Action::ReadCustomerId)?;
    shown_code(app, id).await
}

pub async fn rotate(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = organisation(&app.state(), &named)?;
    who.run(&app, Command::RotateCustomerId { organisation: id, code: app.fresh_code() }).await?;
    shown_code(app, id).await
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireSettings {
    customer_id_on: bool,
    session_minutes: u32,
    longest_grant_days: u32,
    retention_days: u32,
    blocked_partners: BTreeSet<OrganisationId>,
}

fn shown_settings(state: &World, id: OrganisationId) -> Result<Response, Problem> {
    let o = state.organisations.get(id).ok_or_else(Problem::not_found)?;
    let s = &o.settings;
    let body = WireSettings {
        customer_id_on: s.customer_id_on,
        session_minutes: s.session_cap.0,
        longest_grant_days: s.longest_grant.0,
        retention_days: s.retention.0,
        blocked_partners: s.blocked.clone(),
    };
    Ok(tagged(StatusCode::OK, state, &Versioned::Settings(id), body))
}

pub async fn settings(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Response, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadSettings)?;
    shown_settings(&state, id)
}

pub async fn change_settings(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Body(body): Body<WireSettings>,
) -> Result<Response, Problem> {
    let id = organisation(&app.state(), &named)?;
    let settings = Settings {
        customer_id_on: body.customer_id_on,
        session_cap: Minutes(body.session_minutes),
        longest_grant: Days(body.longest_grant_days),
        retention: Days(body.retention_days),
        blocked: body.blocked_partners,
    };
    let command = Command::ChangeSettings { organisation: id, settings, version: None };
    let seen = who.must_see(Versioned::Settings(id));
    let done = who.put_together(&app, Some(seen), || Ok(command)).await?;
    shown_settings(&done.state, id)
}
