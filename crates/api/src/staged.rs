//! What saving a grant's people would do, said before it is done (N6, N9).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_domain::ids::{GrantId, PersonId};
use comity_domain::may::{self, Action};
use comity_domain::view::Staged;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Who;
use crate::grants::SetAssignments;
use crate::input::{Body, Path};
use crate::openapi::values;
use crate::problem::Problem;

/// What would become of people. Who stays as they are stands nowhere.
#[derive(Serialize, ToSchema)]
#[schema(as = StagedAssignments, examples(json!({ "put_on": ["per_01kf4e9ab7c3x8m2v5r6t0w1yz"], "changed": [], "taken_off": [],
    "superseded": ["per_01kf4e9ab7c3x8m2v5r6t0w1yz"] })))]
pub struct ShownStaged {
    /// Who would come on the grant.
    #[schema(value_type = Vec<values::PersonId>)]
    put_on: Vec<PersonId>,
    /// Who is on it and would have something else there.
    #[schema(value_type = Vec<values::PersonId>)]
    changed: Vec<PersonId>,
    /// Who would be off it.
    #[schema(value_type = Vec<values::PersonId>)]
    taken_off: Vec<PersonId>,
    /// Whose own membership in the customer would be replaced: from then on they enter there only for the partner, until the
    /// customer restores it. Show this to whoever saves, before they do.
    #[schema(value_type = Vec<values::PersonId>)]
    superseded: Vec<PersonId>,
}

/// What putting exactly these people on a grant would do.
///
/// Who may: an Admin of the partner. Nothing is changed; what saving would refuse is refused here too.
#[utoipa::path(post, path = "/v1/grants/{grant}/assignments/preview", operation_id = "previewAssignments", tag = "Grants", security(("signIn" = [])),
    request_body = SetAssignments,
    responses((status = 200, description = "What would become of whom.", body = ShownStaged)),
    extensions(("x-refusals" = json!("last_admin last_user widening locked not_active wrong_state"))))]
pub async fn preview(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<SetAssignments>,
) -> Result<Json<ShownStaged>, Problem> {
    let state = app.state();
    let grant = may::check_grant(&state, &who.0, Action::Assign, id, app.now())?;
    let command = body.command(&state, id, grant)?;
    let Staged { put_on, changed, taken_off, superseded } = app.staged(&who.0, id, command)?;
    Ok(Json(ShownStaged { put_on, changed, taken_off, superseded }))
}
