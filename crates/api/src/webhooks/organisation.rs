//! Webhooks of an organisation. An Admin by a fresh sign-in changes them; Customer Support reads them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use comity_app::App;
use comity_domain::ids::WebhookId;

use super::{
    Deliveries, DeliveriesQuery, PutWebhook, Redeliver, ShownWebhook, Webhooks, WithSecret,
};
use crate::auth::Who;
use crate::input::{Body, Path, Query, organisation};
use crate::problem::Problem;

#[utoipa::path(
    get,
    path = "/v1/organisations/{organisation}/webhooks",
    tag = "Webhooks",
    security(("signIn" = [])),
    operation_id = "listOrganisationWebhooks",
    summary = "Webhooks of an organisation",
    description = "An Admin by a fresh sign-in changes them; Customer Support reads them.",
    responses((status = 200, description = "All of them.", body = Webhooks)),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
) -> Result<Json<Webhooks>, Problem> {
    let owner = Some(organisation(&app.state(), &named)?);
    super::list(app, who, owner).await
}

#[utoipa::path(
    post,
    path = "/v1/organisations/{organisation}/webhooks",
    tag = "Webhooks",
    security(("signIn" = [])),
    operation_id = "makeOrganisationWebhook",
    summary = "Name an endpoint that is told what happened",
    description = "At most ten. An Admin by a fresh sign-in changes them; Customer Support reads them.",
    request_body = PutWebhook,
    responses((status = 201, description = "The webhook with its secret, shown once.", body = WithSecret)),
    extensions(("x-refusals" = json!("wrong_state not_active fresh_sign_in_required"))),
)]
pub async fn make(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Body(body): Body<PutWebhook>,
) -> Result<Response, Problem> {
    let owner = Some(organisation(&app.state(), &named)?);
    super::make(app, who, owner, body).await
}

#[utoipa::path(
    get,
    path = "/v1/organisations/{organisation}/webhooks/{webhook}",
    tag = "Webhooks",
    security(("signIn" = [])),
    operation_id = "getOrganisationWebhook",
    summary = "One webhook",
    description = "An Admin by a fresh sign-in changes them; Customer Support reads them.",
    responses((status = 200, description = "The webhook.", body = ShownWebhook)),
)]
pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, webhook)): Path<(String, WebhookId)>,
) -> Result<Json<ShownWebhook>, Problem> {
    let owner = Some(organisation(&app.state(), &named)?);
    super::one(app, who, owner, webhook).await
}

#[utoipa::path(
    put,
    path = "/v1/organisations/{organisation}/webhooks/{webhook}",
    tag = "Webhooks",
    security(("signIn" = [])),
    operation_id = "changeOrganisationWebhook",
    summary = "Change a webhook whole, or turn it on or off",
    description = "An Admin by a fresh sign-in changes them; Customer Support reads them.",
    request_body = PutWebhook,
    responses((status = 200, description = "The webhook as it is now.", body = ShownWebhook)),
    extensions(("x-refusals" = json!("wrong_state not_active fresh_sign_in_required"))),
)]
pub async fn change(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, webhook)): Path<(String, WebhookId)>,
    Body(body): Body<PutWebhook>,
) -> Result<Json<ShownWebhook>, Problem> {
    let owner = Some(organisation(&app.state(), &named)?);
    super::change(app, who, owner, webhook, body).await
}

#[utoipa::path(
    delete,
    path = "/v1/organisations/{organisation}/webhooks/{webhook}",
    tag = "Webhooks",
    security(("signIn" = [])),
    operation_id = "removeOrganisationWebhook",
    summary = "Remove a webhook",
    description = "What waits for it is forgotten. An Admin by a fresh sign-in changes them; Customer Support reads them.",
    responses((status = 204, description = "It is gone.")),
    extensions(("x-refusals" = json!("wrong_state not_active fresh_sign_in_required"))),
)]
pub async fn remove(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, webhook)): Path<(String, WebhookId)>,
) -> Result<StatusCode, Problem> {
    let owner = Some(organisation(&app.state(), &named)?);
    super::remove(app, who, owner, webhook).await
}

#[utoipa::path(
    post,
    path = "/v1/organisations/{organisation}/webhooks/{webhook}/rotate",
    tag = "Webhooks",
    security(("signIn" = [])),
    operation_id = "rotateOrganisationWebhookSecret",
    summary = "Give a webhook a new secret",
    description = "The old one signs beside it for 24 hours. An Admin by a fresh sign-in changes them; Customer Support reads them.",
    responses((status = 200, description = "The webhook with its new secret, shown once.", body = WithSecret)),
    extensions(("x-refusals" = json!("wrong_state not_active fresh_sign_in_required"))),
)]
pub async fn rotate(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, webhook)): Path<(String, WebhookId)>,
) -> Result<Json<WithSecret>, Problem> {
    let owner = Some(organisation(&app.state(), &named)?);
    super::rotate(app, who, owner, webhook).await
}

#[utoipa::path(
    post,
    path = "/v1/organisations/{organisation}/webhooks/{webhook}/test",
    tag = "Webhooks",
    security(("signIn" = [])),
    operation_id = "testOrganisationWebhook",
    summary = "Send a webhook a test",
    description = "It is told the event webhook_tested, whatever it is told otherwise. An Admin by a fresh sign-in changes them; Customer Support reads them.",
    responses((status = 202, description = "It is on its way.")),
    extensions(("x-refusals" = json!("wrong_state not_active fresh_sign_in_required"))),
)]
pub async fn test(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, webhook)): Path<(String, WebhookId)>,
) -> Result<StatusCode, Problem> {
    let owner = Some(organisation(&app.state(), &named)?);
    super::test(app, who, owner, webhook).await
}

#[utoipa::path(
    get,
    path = "/v1/organisations/{organisation}/webhooks/{webhook}/deliveries",
    tag = "Webhooks",
    security(("signIn" = [])),
    operation_id = "listOrganisationDeliveries",
    summary = "What was sent to a webhook, and what came of it",
    description = "Newest first; with status=dead the dead letters. An Admin by a fresh sign-in changes them; Customer Support reads them.",
    params(("organisation" = String, Path, description = "Comity's identifier or the builder's"), ("webhook" = String, Path, description = "The webhook"), DeliveriesQuery),
    responses((status = 200, description = "A page.", body = Deliveries)),
)]
pub async fn deliveries(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, webhook)): Path<(String, WebhookId)>,
    Query(q): Query<DeliveriesQuery>,
) -> Result<Json<Deliveries>, Problem> {
    let owner = Some(organisation(&app.state(), &named)?);
    super::deliveries(app, who, owner, webhook, q).await
}

#[utoipa::path(
    post,
    path = "/v1/organisations/{organisation}/webhooks/{webhook}/redeliver",
    tag = "Webhooks",
    security(("signIn" = [])),
    operation_id = "redeliverOrganisationWebhook",
    summary = "Send something again",
    description = "One delivery by seq and index, or every dead letter of what happened since an instant. An Admin by a fresh sign-in changes them; Customer Support reads them.",
    request_body = Redeliver,
    responses((status = 202, description = "It is on its way.")),
    extensions(("x-refusals" = json!("wrong_state not_active fresh_sign_in_required"))),
)]
pub async fn redeliver(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, webhook)): Path<(String, WebhookId)>,
    Body(body): Body<Redeliver>,
) -> Result<StatusCode, Problem> {
    let owner = Some(organisation(&app.state(), &named)?);
    super::redeliver(app, who, owner, webhook, body).await
}
