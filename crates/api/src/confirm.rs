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
    #[schema(value_type = Vec<String>, example = json!(["grant_01kdvdna00ea385zxyy2grgmkt"]))]
    grants: BTreeSet<GrantId>,
}

/// What was confirmed.
#[derive(Serialize, ToSchema)]
pub struct Confirmed {
    /// The grants that were named, sorted, each once.
    #[schema(value_type = Vec<String>)]
    grants: BTreeSet<GrantId>,
}

/// One grant.
#[utoipa::path(
    post,
    path = "/v1/grants/{grant}/confirm",
    tag = "grants",
    summary = "Confirm a grant after a restore",
    description = "Says yes again to a grant that was put back from a copy. Nothing widens and no end moves. \
                   Needs an Admin of the customer, with a sign-in of the last five minutes, who is no member of the partner.",
    params(("grant" = String, Path, description = "The grant.")),
    responses(
        (status = 200, description = "The grant as it is now."),
        (status = 401, description = "`fresh_sign_in_required`"),
        (status = 403, description = "`forbidden`, `four_eyes`, `partner_session_refused`"),
        (status = 404, description = "`not_found`"),
        (status = 409, description = "`wrong_state`: it is over")
    )
)]
pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
) -> Result<Response, Problem> {
    let command = Command::Confirm { customer: None, grants: [id].into() };
    let done = app.run(&who.0, command).await?;
    grants::answer(&done.state, id, done.state.at)
}

/// Several grants of one customer, all or none.
#[utoipa::path(
    post,
    path = "/v1/organisations/{organisation}/grants/confirm",
    tag = "grants",
    summary = "Confirm several grants after a restore",
    description = "All or none: if one of them cannot be confirmed, nothing is.",
    params(("organisation" = String, Path, description = "The customer, by your identifier or Comity's.")),
    request_body = Confirm,
    responses(
        (status = 200, body = Confirmed, description = "They give access again."),
        (status = 401, description = "`fresh_sign_in_required`"),
        (status = 403, description = "`forbidden`, `four_eyes`, `partner_session_refused`"),
        (status = 404, description = "`not_found`: the organisation, or one of the grants"),
        (status = 409, description = "`wrong_state`: one is over"),
        (status = 422, description = "`invalid`")
    )
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
    app.run(&who.0, command).await?;
    Ok(Json(Confirmed { grants }))
}
