//! `/.well-known/authzen-configuration`: where a policy decision point has what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use serde::Serialize;
use utoipa::ToSchema;

/// Where this policy decision point has what.
#[derive(Debug, Serialize, ToSchema)]
pub struct Configuration {
    /// Its identifier: the base of every address here.
    #[schema(example = "https://comity.example")]
    policy_decision_point: String,
    /// Decides one call.
    access_evaluation_endpoint: String,
    /// Decides several.
    access_evaluations_endpoint: String,
    /// Who may.
    search_subject_endpoint: String,
    /// To what.
    search_resource_endpoint: String,
    /// What.
    search_action_endpoint: String,
}

/// Tells enforcement points where to ask.
#[utoipa::path(
    get, path = "/.well-known/authzen-configuration", tag = "Standards", security(), operation_id = "authzenConfiguration",
    summary = "Where to ask",
    description = "Metadata of the policy decision point (AuthZEN 1.0); its base is the issuer.",
    responses((status = 200, description = "The metadata", body = Configuration))
)]
pub async fn configuration(State(app): State<Arc<App>>) -> Json<Configuration> {
    let base = app.issuer().to_owned();
    let at = |path: &str| format!("{base}/access/v1/{path}");
    Json(Configuration {
        access_evaluation_endpoint: at("evaluation"),
        access_evaluations_endpoint: at("evaluations"),
        search_subject_endpoint: at("search/subject"),
        search_resource_endpoint: at("search/resource"),
        search_action_endpoint: at("search/action"),
        policy_decision_point: base,
    })
}
