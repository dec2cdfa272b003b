//! `POST /access/v1/evaluation`: OpenID AuthZEN Authorization API 1.0.
//!
//! Subject: a partner session, by its token. Action: a permission. Resource: an account by the
//! builder's identifier, or the organisation where the call concerns no account. The caller is an
//! application by its key, and sees decisions about its own tokens only.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_app::app::WAIT_MS;
use comity_decision::decide::Answer;
use comity_domain::command::Principal;
use comity_domain::ids::{AccountId, ApplicationId, GrantId, OrganisationId, SessionId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::Resource;
use comity_domain::role::Mode;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, organisation};
use crate::openapi::values;
use crate::problem::Problem;
use crate::shown;

/// A question: may this session do this to that, now?
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "subject": { "type": "partner_session", "id": "cmt_session_0123456789abcdefghjkmnpqrs" },
    "action": { "name": "bookings:write" }, "resource": { "type": "account", "id": "boat-1" } })))]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    subject: Entity,
    action: ActionName,
    resource: Entity,
    /// One entry means something here: `at_least`, a position of the log that the answer has to
    /// reflect.
    #[serde(default)]
    #[schema(value_type = values::Open, required = false)]
    context: Map<String, Value>,
}

/// AuthZEN lets any entity carry properties; no rule here reads them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Entity {
    /// Of a subject `partner_session`; of a resource `account`, or `organisation` for a call that concerns no account.
    #[serde(rename = "type")]
    kind: String,
    /// Of a subject the token of the session; of a resource the builder's identifier or Comity's.
    #[schema(max_length = 800)]
    id: String,
    #[serde(default, rename = "properties")]
    #[schema(value_type = values::Open, required = false)]
    _properties: Map<String, Value>,
}

/// What would be done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ActionName {
    /// One permission `resource:verb`, without a star.
    #[schema(pattern = "^[a-z0-9_-]{1,64}:[a-z0-9_-]{1,64}$")]
    name: String,
    #[serde(default, rename = "properties")]
    #[schema(value_type = values::Open, required = false)]
    _properties: Map<String, Value>,
}

fn application(app: &App, who: &Who) -> Result<ApplicationId, Problem> {
    let state = app.state();
    may::check(&state, &who.0, Action::Evaluate, Thing::platform(), app.now())?;
    match who.0.principal {
        Principal::Key(key) => {
            state.keys.get(key).and_then(|k| k.application).ok_or_else(Problem::not_found)
        }
        _ => Err(Problem::not_found()),
    }
}

/// What a resource is, inside the customer whose session asks.
fn resource(state: &World, customer: OrganisationId, kind: &str, id: &str) -> Resource {
    if kind == "organisation" {
        return organisation(state, id).map_or(Resource::Unknown, Resource::Organisation);
    }
    let found = state.words.find(Lookup::Account(customer), id).map(AccountId);
    found
        .or_else(|| id.parse().ok())
        .and_then(|id| Some((id, state.accounts.get(id)?)))
        .map_or(Resource::Unknown, |(id, a)| Resource::Account(id, a.organisation, a.unit))
}

/// May this session do this to that, now?
///
/// Who may: decide. AuthZEN 1.0. Each question that is answered is counted as one call of the session. 503 counts as a no.
#[utoipa::path(post, path = "/access/v1/evaluation", operation_id = "evaluate", tag = "Standards", security(("key" = [])),
    request_body = Evaluation,
    responses((status = 200, description = "Yes or no, with the reason.", body = Decision)),
    extensions(("x-refusals" = json!("stale busy"))))]
pub async fn evaluation(
    State(app): State<Arc<App>>,
    who: Who,
    Body(asked): Body<Evaluation>,
) -> Result<Response, Problem> {
    let application = application(&app, &who)?;
    if asked.subject.kind != "partner_session" {
        return Err(Problem::field("subject.type", "must be partner_session"));
    }
    let permission = Permission::parse(&asked.action.name).ok_or_else(|| {
        Problem::field(
            "action.name",
            "must be resource:verb, each a-z, 0-9, _ or -; a star is no question",
        )
    })?;
    let (kind, id) = (asked.resource.kind.as_str(), asked.resource.id.as_str());
    if !matches!(kind, "account" | "organisation") {
        return Err(Problem::field("resource.type", "must be account or organisation"));
    }
    if id.is_empty() || id.len() > 800 {
        return Err(Problem::field("resource.id", "must have 1 to 800 bytes"));
    }
    if let Some(seq) = asked.context.get("at_least") {
        let wrong = || Problem::field("context.at_least", "must be a position of the log");
        if !app.reached(seq.as_u64().ok_or_else(wrong)?).await {
            return Ok(not_now(Reason::Stale));
        }
    }
    let evaluate = || {
        app.evaluate(application, &asked.subject.id, permission, |state, customer| {
            resource(state, customer, kind, id)
        })
    };
    let mut answer = evaluate();
    // The first use of a session on this node finds no room to count it in and has some reserved.
    for _ in 0..WAIT_MS / AGAIN_MS {
        if answer.reason != Reason::Busy {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(AGAIN_MS)).await;
        answer = evaluate();
    }
    Ok(show(&answer))
}

/// How long a call that cannot be counted yet waits before it is judged again.
const AGAIN_MS: u64 = 5;

fn not_now(reason: Reason) -> Response {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason.code(), reason.sentence()).into_response()
}

/// Somebody or something, by kind and identifier.
#[derive(Serialize, ToSchema)]
#[schema(as = NamedEntity)]
struct Named {
    /// `person` or `organisation`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Comity's identifier.
    id: String,
}

/// A decision.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "decision": false, "context": { "reason": "session_unknown",
    "message": "This token belongs to no session; enter the customer again.", "seq": 1042, "at": "2027-01-31T12:00:00.000Z" } })))]
pub struct Decision {
    /// Yes or no.
    decision: bool,
    context: Context,
}

/// Why, and what is known of the session.
#[derive(Serialize, ToSchema)]
#[schema(as = DecisionContext)]
struct Context {
    /// The stable word: `allowed`, or why not.
    reason: &'static str,
    /// The same for the person who was refused.
    message: &'static str,
    /// The position of the log whose state was decided on.
    seq: u64,
    #[schema(value_type = values::Instant)]
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Named, required = false)]
    actor: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Named, required = false)]
    subject: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::SessionId, required = false)]
    session: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::GrantId, required = false)]
    grant: Option<GrantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::OrganisationId, required = false)]
    organisation: Option<OrganisationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::Mode, required = false)]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::Instant, required = false)]
    deadline: Option<String>,
}

fn show(answer: &Answer) -> Response {
    let reason = answer.reason;
    if matches!(reason, Reason::Stale | Reason::Busy) {
        return not_now(reason);
    }
    let person = |id| Named { kind: "person", id };
    let known = answer.session.as_ref();
    let context = Context {
        reason: reason.code(),
        message: reason.sentence(),
        seq: answer.seq,
        at: shown::time(answer.at),
        actor: known.map(|s| person(s.actor.to_string())),
        subject: known.map(|s| match s.mode {
            Mode::ActAs => Named { kind: "organisation", id: s.customer.to_string() },
            Mode::Direct | Mode::View => person(s.actor.to_string()),
        }),
        session: known.map(|s| s.session),
        grant: known.map(|s| s.grant),
        organisation: known.map(|s| s.customer),
        mode: known.map(|s| s.mode),
        deadline: known.map(|s| shown::time(s.deadline)),
    };
    Json(Decision { decision: answer.is_yes(), context }).into_response()
}
