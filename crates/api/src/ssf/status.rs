//! Whether a stream is told, and trying whether it is (SSF 1.0, sections 8.1.2 and 8.1.4).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::ids::StreamId;
use comity_domain::stream::{Stream, StreamStop};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Named, Standing, named, own};
use crate::authzen::Acting;
use crate::input::{Body, Query};
use crate::openapi::values;
use crate::problem::Problem;

/// What the status is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "stream_id": "strm_01kf4e9ab7c3x8m2v5r6t0w1yz", "status": "paused" }))]
pub struct SetStatus {
    /// The stream.
    stream_id: String,
    /// The status.
    status: Standing,
    /// Why, for the record.
    reason: Option<String>,
}

/// The status of a stream.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "stream_id": "strm_01kf4e9ab7c3x8m2v5r6t0w1yz", "status": "enabled" }))]
pub struct StreamStatus {
    /// The stream.
    #[schema(value_type = values::StreamId)]
    stream_id: StreamId,
    /// The status.
    status: Standing,
    /// Why Comity turned it off, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// What is to be verified.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({ "stream_id": "strm_01kf4e9ab7c3x8m2v5r6t0w1yz", "state": "VGhpcyBpcyBhbiBleGFtcGxl" }))]
pub struct Verify {
    /// The stream.
    stream_id: String,
    /// What the event is to carry, so that it is known again; at most 1,000 characters.
    state: Option<String>,
}

fn shown(stream_id: StreamId, stream: &Stream) -> Json<StreamStatus> {
    let reason = stream.stopped.map(StreamStop::sentence);
    Json(StreamStatus { stream_id, status: stream.standing.into(), reason })
}

/// Whether a stream is told.
#[utoipa::path(
    get, path = "/ssf/status", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "getStreamStatus",
    summary = "Whether a stream is told",
    description = "The application's own stream (SSF 1.0). An application by its key for decide.",
    params(Named),
    responses((status = 200, description = "The status.", body = StreamStatus)),
    extensions(("x-refusals" = json!("not_found"))),
)]
pub async fn read(
    State(app): State<Arc<App>>,
    Acting(_, application): Acting,
    Query(q): Query<Named>,
) -> Result<Json<StreamStatus>, Problem> {
    let (world, id) = (app.state(), named(&q.stream_id)?);
    Ok(shown(id, own(&world, application, id)?))
}

/// Turn a stream on or off.
#[utoipa::path(
    post, path = "/ssf/status", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "setStreamStatus",
    summary = "Turn a stream on or off, or have what happens kept",
    description = "While it is `paused` what happens is kept for seven days; while it is `disabled` it is not told, then or \
        later. An application by its key for decide.",
    request_body = SetStatus,
    responses((status = 200, description = "The status as it is now.", body = StreamStatus)),
    extensions(("x-refusals" = json!("not_found"))),
)]
pub async fn set(
    State(app): State<Arc<App>>,
    Acting(who, application): Acting,
    Body(body): Body<SetStatus>,
) -> Result<Json<StreamStatus>, Problem> {
    let id = named(&body.stream_id)?;
    let (standing, reason) = (body.status.into(), body.reason);
    let command = Command::SetStreamStanding { stream: id, standing, reason };
    let done = who.run(&app, command).await?;
    Ok(shown(id, own(&done.state, application, id)?))
}

/// Have a verification event sent.
#[utoipa::path(
    post, path = "/ssf/verify", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "verifyStream",
    summary = "Have a stream told that this is a verification",
    description = "A verification event with the given state goes the way of every other event. An application by its key \
        for decide.",
    request_body = Verify,
    responses((status = 204, description = "It is on its way.")),
    extensions(("x-refusals" = json!("not_found wrong_state"))),
)]
pub async fn verify(
    State(app): State<Arc<App>>,
    Acting(who, _): Acting,
    Body(body): Body<Verify>,
) -> Result<StatusCode, Problem> {
    let stream = named(&body.stream_id)?;
    who.run(&app, Command::VerifyStream { stream, state: body.state }).await?;
    Ok(StatusCode::NO_CONTENT)
}
