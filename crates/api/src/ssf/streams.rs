//! Making, reading, changing and deleting a stream (SSF 1.0, section 8.1.1).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use comity_app::App;
use comity_app::streams::SESSION_REVOKED;
use comity_domain::command::Command;
use comity_domain::event::Event;
use comity_domain::ids::{ApplicationId, StreamId};
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::stream::{Stream, StreamDelivery, StreamHeader, StreamKind, StreamSpec};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Named, POLL, PUSH, at, named, own};
use crate::authzen::Acting;
use crate::input::{Body, Query};
use crate::openapi::values;
use crate::problem::Problem;

/// The longest value of `Authorization`, in characters.
const MOST_HEADER: usize = 2_000;

/// Which stream, or all.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// The stream; the list of the application's streams without it.
    #[param(nullable = false, example = "strm_01kf4e9ab7c3x8m2v5r6t0w1yz")]
    stream_id: Option<String>,
}

/// What a stream is to be.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({
    "events_requested": ["https://schemas.openid.net/secevent/caep/event-type/session-revoked"],
    "delivery": { "method": "urn:ietf:rfc:8935", "endpoint_url": "https://app.example.com/events",
        "authorization_header": "Bearer a secret of the receiver's" },
}))]
pub struct MakeStream {
    /// The events that the receiver understands; what is not known here is passed over.
    events_requested: Option<Vec<String>>,
    /// How it is told; fetched if left out.
    delivery: Option<PutDelivery>,
    /// What it is for.
    description: Option<String>,
}

/// What a stream is to be. What the transmitter says of it may be there, as it was read.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({ "stream_id": "strm_01kf4e9ab7c3x8m2v5r6t0w1yz", "description": "Ends sessions at the gateway" }))]
pub struct ChangeStream {
    /// The stream.
    stream_id: String,
    /// Who signs, as it was read.
    iss: Option<String>,
    /// For whom it is, as it was read.
    aud: Option<String>,
    /// What can be told, as it was read.
    events_supported: Option<Vec<String>>,
    /// What is told, as it was read.
    events_delivered: Option<Vec<String>>,
    /// The events that the receiver understands; what is not known here is passed over.
    events_requested: Option<Vec<String>>,
    /// How it is told.
    delivery: Option<PutDelivery>,
    /// What it is for.
    description: Option<String>,
}

/// How a stream is to be told.
#[derive(Deserialize, ToSchema)]
#[schema(as = WantedDelivery)]
pub struct PutDelivery {
    /// `urn:ietf:rfc:8935`: pushed; `urn:ietf:rfc:8936`: fetched.
    method: String,
    /// Where to push: an https address on the public internet. Where to fetch is said here.
    endpoint_url: Option<String>,
    /// What is sent as `Authorization` with a push. Never shown again, and sent nowhere but to the
    /// address that it was named with.
    authorization_header: Option<String>,
}

impl std::fmt::Debug for PutDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PutDelivery").field("method", &self.method).finish_non_exhaustive()
    }
}

/// A stream (SSF 1.0, section 8.1.1).
#[derive(Debug, Serialize, ToSchema)]
pub struct StreamConfiguration {
    /// Its identifier.
    #[schema(value_type = values::StreamId)]
    stream_id: StreamId,
    /// Who signs.
    iss: String,
    /// For whom it is: the application's audience.
    aud: String,
    /// How it is told.
    delivery: ShownDelivery,
    /// What can be told.
    events_supported: Vec<&'static str>,
    /// What the receiver asked for and is known here.
    events_requested: Vec<&'static str>,
    /// What is told.
    events_delivered: Vec<&'static str>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// How a stream is told.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StreamDelivery)]
pub struct ShownDelivery {
    /// `urn:ietf:rfc:8935`: pushed; `urn:ietf:rfc:8936`: fetched.
    method: &'static str,
    /// Where.
    endpoint_url: String,
}

/// One stream, or all of the application's.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = StreamOrStreams)]
pub enum OneOrAll {
    One(StreamConfiguration),
    All(Vec<StreamConfiguration>),
}

fn names(kinds: &[StreamKind]) -> Vec<&'static str> {
    kinds
        .iter()
        .map(|kind| match kind {
            StreamKind::SessionRevoked => SESSION_REVOKED,
        })
        .collect()
}

fn kinds(wanted: &[String]) -> Vec<StreamKind> {
    let known = wanted.iter().any(|name| name == SESSION_REVOKED);
    known.then_some(StreamKind::SessionRevoked).into_iter().collect()
}

fn poll_at(app: &Arc<App>, id: StreamId) -> String {
    at(app, &format!("/ssf/poll/{id}"))
}

fn shown(app: &Arc<App>, world: &World, id: StreamId, stream: &Stream) -> StreamConfiguration {
    let audience = world.applications.get(stream.application).map(|a| a.audience.to_string());
    let delivery = match stream.url {
        Some(url) => ShownDelivery { method: PUSH, endpoint_url: world.words.show(url).into() },
        None => ShownDelivery { method: POLL, endpoint_url: poll_at(app, id) },
    };
    StreamConfiguration {
        stream_id: id,
        iss: app.issuer().to_owned(),
        aud: audience.unwrap_or_default(),
        delivery,
        events_supported: vec![SESSION_REVOKED],
        events_requested: names(&stream.kinds),
        events_delivered: names(&stream.kinds),
        description: stream.description.map(|d| world.words.show(d).into()),
    }
}

fn one(
    app: &Arc<App>,
    world: &World,
    of: ApplicationId,
    id: StreamId,
) -> Result<StreamConfiguration, Problem> {
    Ok(shown(app, world, id, own(world, of, id)?))
}

impl PutDelivery {
    /// `kept` is what a header becomes that is not given.
    fn read(&self, app: &Arc<App>, kept: StreamHeader) -> Result<StreamDelivery, Problem> {
        match (&*self.method, &self.endpoint_url) {
            (POLL, _) => Ok(StreamDelivery::Poll),
            (PUSH, Some(url)) => {
                app.outbound()
                    .check(url)
                    .map_err(|why| Problem::from(Refusal::invalid("delivery.endpoint_url", why)))?;
                let header = match &self.authorization_header {
                    None => kept,
                    Some(value) => StreamHeader::Fresh(app.fresh_stream_header(header(value)?)),
                };
                Ok(StreamDelivery::Push { url: url.clone(), header })
            }
            (PUSH, None) => Err(Problem::field("delivery.endpoint_url", "is needed to push")),
            _ => Err(Problem::field("delivery.method", format!("must be {PUSH} or {POLL}"))),
        }
    }
}

fn header(value: &str) -> Result<&str, Problem> {
    let plain = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let fits = !value.trim().is_empty() && value.len() <= MOST_HEADER;
    if plain && fits && HeaderValue::from_str(value).is_ok() {
        Ok(value)
    } else {
        let why = format!("must be 1 to {MOST_HEADER} visible ASCII characters");
        Err(Problem::field("delivery.authorization_header", why))
    }
}

impl ChangeStream {
    /// What the transmitter says may be sent back to it, but only as it said it.
    fn check(&self, app: &Arc<App>, now: &StreamConfiguration) -> Result<(), Problem> {
        let same = |sent: &Option<Vec<String>>, is: &[&str]| {
            sent.as_ref().is_none_or(|sent| sent.iter().map(String::as_str).eq(is.iter().copied()))
        };
        let id = now.stream_id;
        let polls = |d: &PutDelivery| {
            let here = poll_at(app, id);
            d.method != POLL || d.endpoint_url.as_ref().is_none_or(|url| *url == here)
        };
        let wrong = [
            ("iss", self.iss.as_ref().is_none_or(|iss| *iss == now.iss)),
            ("aud", self.aud.as_ref().is_none_or(|aud| *aud == now.aud)),
            ("events_supported", same(&self.events_supported, &now.events_supported)),
            ("events_delivered", same(&self.events_delivered, &now.events_delivered)),
            ("delivery.endpoint_url", self.delivery.as_ref().is_none_or(polls)),
        ];
        match wrong.into_iter().find(|(_, right)| !right) {
            Some((field, _)) => Err(Problem::field(field, "is the transmitter's to say")),
            None => Ok(()),
        }
    }
}

/// The application's streams.
#[utoipa::path(
    get, path = "/ssf/stream", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "getStream",
    summary = "The application's stream",
    description = "One by its name, or the list of all, which holds one at most (SSF 1.0). An application by its key for decide.",
    params(Wanted),
    responses((status = 200, description = "The stream, or the list.", body = OneOrAll)),
    extensions(("x-refusals" = json!("not_found"))),
)]
pub async fn read(
    State(app): State<Arc<App>>,
    Acting(_, application): Acting,
    Query(q): Query<Wanted>,
) -> Result<Json<OneOrAll>, Problem> {
    let world = app.state();
    Ok(Json(match q.stream_id {
        Some(id) => OneOrAll::One(one(&app, &world, application, named(&id)?)?),
        None => {
            let all = world.stream_of(application).into_iter();
            OneOrAll::All(
                all.map(|id| one(&app, &world, application, id)).collect::<Result<_, _>>()?,
            )
        }
    }))
}

/// Make the application's stream.
#[utoipa::path(
    post, path = "/ssf/stream", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "makeStream",
    summary = "Make the application's stream",
    description = "It is told of the sessions for the application that are ended from then on. One at most. An application by \
        its key for decide.",
    request_body = MakeStream,
    responses((status = 201, description = "The stream.", body = StreamConfiguration)),
    extensions(("x-refusals" = json!("wrong_state"))),
)]
pub async fn make(
    State(app): State<Arc<App>>,
    Acting(who, application): Acting,
    Body(body): Body<MakeStream>,
) -> Result<(StatusCode, Json<StreamConfiguration>), Problem> {
    let delivery = body.delivery.map(|d| d.read(&app, StreamHeader::None)).transpose()?;
    let all = [SESSION_REVOKED.to_owned()];
    let kinds = Some(kinds(body.events_requested.as_deref().unwrap_or(&all)));
    let spec = StreamSpec { delivery, description: Some(body.description), kinds };
    let done = who.run(&app, Command::MakeStream { spec }).await?;
    let made = done.row.iter().flat_map(|row| &row.events).find_map(|e| match e.event {
        Event::StreamMade { stream, .. } => Some(stream),
        _ => None,
    });
    let id = made.ok_or_else(Problem::not_found)?;
    Ok((StatusCode::CREATED, Json(one(&app, &done.state, application, id)?)))
}

async fn edit(
    app: Arc<App>,
    Acting(who, application): Acting,
    body: ChangeStream,
    whole: bool,
) -> Result<Json<StreamConfiguration>, Problem> {
    let id = named(&body.stream_id)?;
    let put_together = || {
        body.check(&app, &one(&app, &app.state(), application, id)?)?;
        let kept = if whole { StreamHeader::None } else { StreamHeader::Kept };
        let delivery = body.delivery.as_ref().map(|d| d.read(&app, kept)).transpose()?;
        let mut spec = StreamSpec { delivery, ..StreamSpec::default() };
        spec.description = body.description.clone().map(Some);
        spec.kinds = body.events_requested.as_deref().map(kinds);
        if whole {
            spec.delivery.get_or_insert(StreamDelivery::Poll);
            spec.description.get_or_insert(None);
            spec.kinds.get_or_insert_default();
        }
        Ok(Command::ChangeStream { stream: id, spec })
    };
    let done = who.put_together(&app, None, put_together).await?;
    Ok(Json(one(&app, &done.state, application, id)?))
}

/// Change what is given of a stream.
#[utoipa::path(
    patch, path = "/ssf/stream", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "changeStream",
    summary = "Change what is given of a stream",
    description = "What is left out stays. A new address without `authorization_header` is pushed to without one. An \
        application by its key for decide.",
    request_body = ChangeStream,
    responses((status = 200, description = "The stream as it is now.", body = StreamConfiguration)),
    extensions(("x-refusals" = json!("not_found"))),
)]
pub async fn change(
    State(app): State<Arc<App>>,
    acting: Acting,
    Body(body): Body<ChangeStream>,
) -> Result<Json<StreamConfiguration>, Problem> {
    edit(app, acting, body, false).await
}

/// Change a stream whole.
#[utoipa::path(
    put, path = "/ssf/stream", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "replaceStream",
    summary = "Change a stream whole",
    description = "What is left out is deleted: without `delivery` it is fetched, without `authorization_header` nothing is sent \
        as one, without `events_requested` nothing is told. An application by its key for decide.",
    request_body = ChangeStream,
    responses((status = 200, description = "The stream as it is now.", body = StreamConfiguration)),
    extensions(("x-refusals" = json!("not_found"))),
)]
pub async fn replace(
    State(app): State<Arc<App>>,
    acting: Acting,
    Body(body): Body<ChangeStream>,
) -> Result<Json<StreamConfiguration>, Problem> {
    edit(app, acting, body, true).await
}

/// Delete a stream.
#[utoipa::path(
    delete, path = "/ssf/stream", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "deleteStream",
    summary = "Delete a stream",
    description = "What waits for it is forgotten. An application by its key for decide.",
    params(Named),
    responses((status = 204, description = "It is gone.")),
    extensions(("x-refusals" = json!("not_found"))),
)]
pub async fn remove(
    State(app): State<Arc<App>>,
    Acting(who, _): Acting,
    Query(q): Query<Named>,
) -> Result<StatusCode, Problem> {
    let stream = named(&q.stream_id)?;
    who.run(&app, Command::RemoveStream { stream }).await?;
    Ok(StatusCode::NO_CONTENT)
}
