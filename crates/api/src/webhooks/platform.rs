//! Webhooks of the platform. A key for operate.

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
use crate::input::{Body, Path, Query};
use crate::problem::Problem;

#[utoipa::path(
    get,
    path = "/v1/platform/webhooks",
    tag = "Webhooks",
    security(("key" = [])),
    operation_id = "listPlatformWebhooks",
    summary = "Webhooks of the platform",
    description = "A key for operate.",
    responses((status = 200, description = "All of them.", body = Webhooks)),
)]
pub async fn list(State(app): State<Arc<App>>, who: Who) -> Result<Json<Webhooks>, Problem> {
    super::list(app, who, None).await
}

#[utoipa::path(
    post,
    path = "/v1/platform/webhooks",
    tag = "Webhooks",
    security(("key" = [])),
    operation_id = "makePlatformWebhook",
    summary = "Name an endpoint that is told what happened",
    description = "At most ten. A key for operate.",
    request_body = PutWebhook,
    responses((status = 201, description = "The webhook with its secret, shown once.", body = WithSecret)),
    extensions(("x-refusals" = json!("wrong_state"))),
)]
pub async fn make(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<PutWebhook>,
) -> Result<Response, Problem> {
    super::make(app, who, None, body).await
}

#[utoipa::path(
    get,
    path = "/v1/platform/webhooks/{webhook}",
    tag = "Webhooks",
    security(("key" = [])),
    operation_id = "getPlatformWebhook",
    summary = "One webhook",
    description = "A key for operate.",
    responses((status = 200, description = "The webhook.", body = ShownWebhook)),
)]
pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path(webhook): Path<WebhookId>,
) -> Result<Json<ShownWebhook>, Problem> {
    super::one(app, who, None, webhook).await
}

#[utoipa::path(
    put,
    path = "/v1/platform/webhooks/{webhook}",
    tag = "Webhooks",
    security(("key" = [])),
    operation_id = "changePlatformWebhook",
    summary = "Change a webhook whole, or turn it on or off",
    description = "A key for operate.",
    request_body = PutWebhook,
    responses((status = 200, description = "The webhook as it is now.", body = ShownWebhook)),
    extensions(("x-refusals" = json!("wrong_state"))),
)]
pub async fn change(
    State(app): State<Arc<App>>,
    who: Who,
    Path(webhook): Path<WebhookId>,
    Body(body): Body<PutWebhook>,
) -> Result<Json<ShownWebhook>, Problem> {
    super::change(app, who, None, webhook, body).await
}

#[utoipa::path(
    delete,
    path = "/v1/platform/webhooks/{webhook}",
    tag = "Webhooks",
    security(("key" = [])),
    operation_id = "removePlatformWebhook",
    summary = "Remove a webhook",
    description = "What waits for it is forgotten. A key for operate.",
    responses((status = 204, description = "It is gone.")),
    extensions(("x-refusals" = json!("wrong_state"))),
)]
pub async fn remove(
    State(app): State<Arc<App>>,
    who: Who,
    Path(webhook): Path<WebhookId>,
) -> Result<StatusCode, Problem> {
    super::remove(app, who, None, webhook).await
}

#[utoipa::path(
    post,
    path = "/v1/platform/webhooks/{webhook}/rotate",
    tag = "Webhooks",
    security(("key" = [])),
    operation_id = "rotatePlatformWebhookSecret",
    summary = "Give a webhook a new secret",
    description = "The old one signs beside it for 24 hours. A key for operate.",
    responses((status = 200, description = "The webhook with its new secret, shown once.", body = WithSecret)),
    extensions(("x-refusals" = json!("wrong_state"))),
)]
pub async fn rotate(
    State(app): State<Arc<App>>,
    who: Who,
    Path(webhook): Path<WebhookId>,
) -> Result<Json<WithSecret>, Problem> {
    super::rotate(app, who, None, webhook).await
}

#[utoipa::path(
    post,
    path = "/v1/platform/webhooks/{webhook}/test",
    tag = "Webhooks",
    security(("key" = [])),
    operation_id = "testPlatformWebhook",
    summary = "Send a webhook a test",
    description = "It is told the event webhook_tested, whatever it is told otherwise. A key for operate.",
    responses((status = 202, description = "It is on its way.")),
    extensions(("x-refusals" = json!("wrong_state"))),
)]
pub async fn test(
    State(app): State<Arc<App>>,
    who: Who,
    Path(webhook): Path<WebhookId>,
) -> Result<StatusCode, Problem> {
    super::test(app, who, None, webhook).await
}

#[utoipa::path(
    get,
    path = "/v1/platform/webhooks/{webhook}/deliveries",
    tag = "Webhooks",
    security(("key" = [])),
    operation_id = "listPlatformDeliveries",
    summary = "What was sent to a webhook, and what came of it",
    description = "Newest first; with status=dead the dead letters. A key for operate.",
    params(("webhook" = String, Path, description = "The webhook"), DeliveriesQuery),
    responses((status = 200, description = "A page.", body = Deliveries)),
)]
pub async fn deliveries(
    State(app): State<Arc<App>>,
    who: Who,
    Path(webhook): Path<WebhookId>,
    Query(q): Query<DeliveriesQuery>,
) -> Result<Json<Deliveries>, Problem> {
    super::deliveries(app, who, None, webhook, q).await
}

#[utoipa::path(
    post,
    path = "/v1/platform/webhooks/{webhook}/redeliver",
    tag = "Webhooks",
    security(("key" = [])),
    operation_id = "redeliverPlatformWebhook",
    summary = "Send something again",
    description = "One delivery by seq and index, or every dead letter of what happened since an instant. A key for operate.",
    request_body = Redeliver,
    responses((status = 202, description = "It is on its way.")),
    extensions(("x-refusals" = json!("wrong_state"))),
)]
pub async fn redeliver(
    State(app): State<Arc<App>>,
    who: Who,
    Path(webhook): Path<WebhookId>,
    Body(body): Body<Redeliver>,
) -> Result<StatusCode, Problem> {
    super::redeliver(app, who, None, webhook, body).await
}
