//! Roles of an organisation: named, versioned sets of permissions of the builder's product.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::event::Event;
use comity_domain::ids::RoleId;
use comity_domain::may::Action;
use comity_domain::permission::Permissions;
use comity_domain::state::State as World;
use comity_domain::version::Versioned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path, Query, organisation};
use crate::openapi::values;
use crate::organisations::{made, seen};
use crate::page::{self, Order, Page, Paging};
use crate::problem::Problem;
use crate::versions::{etag, tagged};

/// What a role is.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "name": "Clerk", "permissions": ["bookings:read"] })))]
#[serde(deny_unknown_fields)]
pub struct PutRole {
    /// The name shown to others.
    #[schema(min_length = 1, max_length = 120)]
    name: String,
    /// What it permits.
    #[schema(value_type = Vec<values::Pattern>, min_items = 1, max_items = 500)]
    permissions: Vec<String>,
}

/// A role that a customer defined.
#[derive(Serialize, ToSchema)]
#[schema(as = Role, examples(json!({ "id": "role_01kf4e9ab7c3x8m2v5r6t0w1yz", "code": "clerk", "name": "Clerk", "version": 1,
    "permissions": ["bookings:read"], "etag": "\"1\"" })))]
pub struct ShownRole {
    #[schema(value_type = values::RoleId)]
    id: RoleId,
    /// Its code.
    code: String,
    /// Its name.
    name: String,
    /// The newest version. Grants keep the one that they were given.
    version: u32,
    /// What it permits; null once it is deleted.
    #[schema(required, value_type = Option<Vec<values::Pattern>>)]
    permissions: Option<Permissions>,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

/// Define a role, or a new version of it.
///
/// Who may: provision, or an Admin of the organisation. `{id}` is the role's code.
#[utoipa::path(put, path = "/v1/organisations/{organisation}/roles/{id}", operation_id = "putRole", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    request_body = PutRole,
    responses((status = 200, description = "It was there, and is so now.", body = ShownRole, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 201, description = "It was made.", body = ShownRole, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("wrong_state not_active version_conflict"))))]
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
    let found = find(&done.state);
    let status = made(&done, |e| matches!(e, Event::RoleMade { .. }));
    let shown =
        found.and_then(|found| shown_role(&done.state, found)).ok_or_else(Problem::not_found)?;
    Ok(tagged(status, &done.state, &of(found), shown))
}

fn shown_role(state: &World, id: RoleId) -> Option<ShownRole> {
    let r = state.roles.get(id)?;
    Some(ShownRole {
        id,
        code: r.code.to_string(),
        name: r.name.to_string(),
        version: r.newest(),
        permissions: r.versions.last().cloned(),
        etag: etag(state, &Versioned::Role(id)),
    })
}

/// Delete a role.
///
/// Who may: provision, or an Admin of the organisation. What it permitted is gone from every grant.
#[utoipa::path(delete, path = "/v1/organisations/{organisation}/roles/{id}", operation_id = "deleteRole", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    responses((status = 204, description = "It is gone.")),
    extensions(("x-refusals" = json!("not_active version_conflict"))))]
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

/// The roles of an organisation.
///
/// Who may: provision, or Support of the organisation. The oldest first.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/roles", operation_id = "listRoles", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<ShownRole>)))]
pub async fn roles(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ShownRole>>, Problem> {
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
