//! `/.well-known/authzen-configuration`: where a policy decision point has what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use comity_app::App;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// Where this policy decision point has what.
#[derive(Debug, Serialize, ToSchema)]
pub struct Configuration {
    /// Its identifier: the base of every address here.
    #[schema(example = "https://comity.example")]
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    search_subject_endpoint: String,
    search_resource_endpoint: String,
    search_action_endpoint: String,
}

/// Under which address this server is called, without a slash at the end. What a request says of
/// itself is believed on this machine only: a stranger's `Host` must not lead others astray.
fn base(_app: &App, headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let here = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    let plain = port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    (here && plain).then(|| format!("http://{host}"))
}

/// Tells enforcement points where to ask.
#[utoipa::path(
    get, path = "/.well-known/authzen-configuration", tag = "access", operation_id = "authzenConfiguration",
    summary = "Where to ask",
    description = "Metadata of the policy decision point (AuthZEN 1.0). Not there as long as the server does not know \
        under which address it is called.",
    responses(
        (status = 200, description = "The metadata", body = Configuration),
        (status = 404, description = "The server's address is not known"),
    )
)]
pub async fn configuration(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Configuration>, Problem> {
    let base = base(&app, &headers).ok_or_else(Problem::not_found)?;
    let at = |path: &str| format!("{base}/access/v1/{path}");
    Ok(Json(Configuration {
        access_evaluation_endpoint: at("evaluation"),
        access_evaluations_endpoint: at("evaluations"),
        search_subject_endpoint: at("search/subject"),
        search_resource_endpoint: at("search/resource"),
        search_action_endpoint: at("search/action"),
        policy_decision_point: base,
    }))
}
