//! Which doors a person has: asked by the builder's own sign-in before it lets somebody in (N9).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_domain::ids::PersonId;
use comity_domain::may::Action;
use comity_domain::person::PortalRole;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use comity_domain::view::{self, Door, Shut};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::Path;
use crate::me::{ShownTenant, shown_tenants};
use crate::openapi::values;
use crate::organisations::seen;
use crate::problem::Problem;
use crate::shown;

/// Where a person may go.
#[derive(Serialize, ToSchema)]
#[schema(as = Doors, examples(json!({ "person": { "id": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "name": "Nina Nau", "email": "nina@marina.example" },
    "own": [{ "organisation": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "marina", "name": "Marina Bay" }, "member": "nina",
    "portal_role": null, "open": false, "shut": "superseded" }], "tenants": [] })))]
pub struct ShownDoors {
    #[schema(required)]
    person: Option<shown::Person>,
    /// As oneself: each organisation in which the person is a member.
    own: Vec<ShownDoor>,
    /// For a partner, by Switch Tenant and no other way: each live grant that the person is on.
    tenants: Vec<ShownTenant>,
}

/// A membership as a door.
#[derive(Serialize, ToSchema)]
pub struct ShownDoor {
    organisation: shown::Organisation,
    /// The builder's identifier of the member there.
    member: String,
    #[schema(required, value_type = Option<values::PortalRole>)]
    portal_role: Option<PortalRole>,
    /// Whether the person may be let in as a member now.
    open: bool,
    /// Why not: `superseded`, by work for a partner; or `member`, `unit` or `organisation` is not active.
    #[schema(required, value_type = Option<values::Shut>)]
    shut: Option<&'static str>,
}

fn shown_door(state: &World, door: &Door<'_>) -> Option<ShownDoor> {
    Some(ShownDoor {
        organisation: shown::organisation(state, door.organisation)?,
        member: state.words.show(door.member.external).to_owned(),
        portal_role: door.member.portal,
        open: door.shut.is_none(),
        shut: door.shut.map(Shut::code),
    })
}

/// Which doors does a person have?
///
/// Who may: provision. For the builder's own sign-in: a membership that is not open lets nobody in.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/members/{id}/doors", operation_id = "getDoors", tag = "Provisioning", security(("key" = [])),
    responses((status = 200, description = "All of them.", body = ShownDoors)),
    extensions(("x-refusals" = json!("not_active"))))]
pub async fn doors(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
) -> Result<Json<ShownDoors>, Problem> {
    let (state, organisation) = seen(&app, &who, &named, Action::ReadDoors)?;
    let found = state.words.find(Lookup::Member(organisation), external.trim()).map(PersonId);
    let is_member = |person: &PersonId| state.members.contains_key(&(organisation, *person));
    let person = found.filter(is_member).ok_or_else(Problem::not_found)?;
    let own = view::doors(&state, person).filter_map(|door| shown_door(&state, &door)).collect();
    let tenants = shown_tenants(&state, person, app.now());
    Ok(Json(ShownDoors { person: shown::person(&state, person), own, tenants }))
}
