//! The customer's word after a restore: grants that were put back give nothing until it is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::ids::GrantId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::grants;
use crate::input::{Body, Path, organisation};
use crate::problem::Problem;

/// Which grants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// 1 to 500 grants of this customer; a grant that is confirmed already may be among them.
    #[schema(value_type = Vec<crate::openapi::values::GrantId>, example = json!(["grant_01kdvdna00ea385zxyy2grgmkt"]))]
    grants: BTreeSet<GrantId>,
}

/// What was confirmed.
#[derive(Serialize, ToSchema)]
pub struct Confirmed {
    /// The grants that were named, sorted, each once.
    #[schema(value_type = Vec<crate::openapi::values::GrantId>)]
    grants: BTreeSet<GrantId>,
}

/// One grant.
#[utoipa::path(
    post,
    path = "/v1/grants/{grant}/confirm",
    tag = "Grants",
    operation_id = "confirmGrant",
    security(("signIn" = [])),
    summary = "Confirm a grant after a restore",
    description = "Says yes again to a grant that was put back from a copy. Nothing widens and no end moves. \
                   Needs an Admin of the customer, with a sign-in of the last five minutes, who is no member of the partner.",
    responses(
        (status = 200, body = crate::shown::ShownGrant, description = "The grant as it is now.", headers(("ETag" = String, description = "The version, for `If-Match`."))),
    ),
    extensions(("x-refusals" = json!("four_eyes wrong_state locked not_active fresh_sign_in_required"))),
)]
pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
) -> Result<Response, Problem> {
    let command = Command::Confirm { customer: None, grants: [id].into() };
    let done = who.run(&app, command).await?;
    grants::answer(&done.state, id, done.state.at)
}

/// Several grants of one customer, all or none.
#[utoipa::path(
    post,
    path = "/v1/organisations/{organisation}/grants/confirm",
    tag = "Grants",
    operation_id = "confirmGrants",
    security(("signIn" = [])),
    summary = "Confirm several grants after a restore",
    description = "All or none: if one of them cannot be confirmed, nothing is.",
    request_body = Confirm,
    responses(
        (status = 200, body = Confirmed, description = "They give access again."),
    ),
    extensions(("x-refusals" = json!("four_eyes wrong_state locked not_active fresh_sign_in_required"))),
)]
pub async fn several(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Body(body): Body<Confirm>,
) -> Result<Json<Confirmed>, Problem> {
    let customer = organisation(&app.state(), &named)?;
    let grants = body.grants;
    let command = Command::Confirm { customer: Some(customer), grants: grants.clone() };
    who.run(&app, command).await?;
    Ok(Json(Confirmed { grants }))
}
