//! The customer's own affairs with partners: its customer ID and its settings.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use comity_app::{App, Failure};
use comity_domain::command::Command;
use comity_domain::ids::OrganisationId;
use comity_domain::may::Action;
use comity_domain::organisation::Settings;
use comity_domain::state::State as World;
use comity_domain::time::{Days, Minutes};
use comity_domain::version::Versioned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path, organisation};
use crate::openapi::values;
use crate::organisations::seen;
use crate::problem::Problem;
use crate::versions::tagged;

/// The code that a customer hands to a partner so that it can ask.
#[derive(Serialize, ToSchema)]
#[schema(as = CustomerId, examples(json!({ "customer_id": "7K2MQ-4VXN0-8R3TD-W5YHC-1B", "on": true })))]
pub struct ShownCode {
    /// The code. It lets nobody in.
    customer_id: String,
    /// Whether it can be asked with.
    on: bool,
}

async fn shown_code(app: Arc<App>, id: OrganisationId) -> Result<Json<ShownCode>, Problem> {
    let reading = app.clone();
    let code = tokio::task::spawn_blocking(move || reading.customer_id(id)).await;
    let code = code.map_err(|e| Problem::from(Failure::Broken(e.to_string())))??;
    let on = app.state().organisations.get(id).is_some_and(|o| o.settings.customer_id_on);
    Ok(Json(ShownCode { customer_id: code, on }))
}

/// The customer ID.
///
/// Who may: Support of the organisation.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/customer-id", operation_id = "getCustomerId", tag = "Customer", security(("signIn" = [])),
    responses((status = 200, description = "The customer ID, and whether it is on.", body = ShownCode)))]
pub async fn customer_id(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Json<ShownCode>, Problem> {
    let (_, id) = seen(&app, &who, &named, Action::ReadCustomerId)?;
    shown_code(app, id).await
}

/// Replace the customer ID.
///
/// Who may: an Admin of the organisation, freshly signed in. The old one is unknown from now on; pending requests stand.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/customer-id/rotate", operation_id = "rotateCustomerId", tag = "Customer", security(("signIn" = [])),
    responses((status = 200, description = "The new one.", body = ShownCode)),
    extensions(("x-refusals" = json!("fresh_sign_in_required not_active"))))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Json<ShownCode>, Problem> {
    let id = organisation(&app.state(), &named)?;
    who.run(&app, Command::RotateCustomerId { organisation: id, code: app.fresh_code() }).await?;
    shown_code(app, id).await
}

/// What a customer's Admins choose for partners.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Settings, examples(json!({ "customer_id_on": true, "session_minutes": 60, "longest_grant_days": 365, "retention_days": 400,
    "allow_external": false, "blocked_partners": [] })))]
#[serde(deny_unknown_fields)]
pub struct WireSettings {
    /// Whether the customer ID can be asked with.
    customer_id_on: bool,
    /// The longest session; at most the policy's.
    #[schema(minimum = 5, maximum = 480)]
    session_minutes: u32,
    /// The longest grant; at most the policy's.
    #[schema(minimum = 1, maximum = 730)]
    longest_grant_days: u32,
    /// How long the history is shown.
    #[schema(minimum = 400, maximum = 3650)]
    retention_days: u32,
    /// Whether a grant may let the partner invite people from outside; off, none may.
    allow_external: bool,
    /// Who cannot ask.
    #[schema(value_type = Vec<values::OrganisationId>, max_items = 1000)]
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
        allow_external: s.allow_external,
        blocked_partners: s.blocked.clone(),
    };
    Ok(tagged(StatusCode::OK, state, &Versioned::Settings(id), body))
}

/// The settings for partners.
///
/// Who may: Support of the organisation.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/settings", operation_id = "getSettings", tag = "Customer", security(("signIn" = [])),
    responses((status = 200, description = "The settings.", body = WireSettings, headers(("ETag" = String, description = "The version, for `If-Match`.")))))]
pub async fn settings(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Response, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadSettings)?;
    shown_settings(&state, id)
}

/// Change the settings for partners, whole.
///
/// Who may: an Admin of the organisation.
#[utoipa::path(put, path = "/v1/organisations/{organisation}/settings", operation_id = "changeSettings", tag = "Customer", security(("signIn" = [])),
    params(("If-Match" = String, Header, description = "The `ETag` of what was read.", example = "\"1\"")),
    request_body = WireSettings,
    responses((status = 200, description = "The settings.", body = WireSettings, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("version_conflict if_match_required not_active"))))]
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
        allow_external: body.allow_external,
        blocked: body.blocked_partners,
    };
    let command = Command::ChangeSettings { organisation: id, settings, version: None };
    let seen = who.must_see(Versioned::Settings(id));
    let done = who.put_together(&app, Some(seen), || Ok(command)).await?;
    shown_settings(&done.state, id)
}
