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
use comity_domain::ids::{AccountId, ApplicationId, OrganisationId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::Resource;
use comity_domain::role::Mode;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::auth::Who;
use crate::input::{Body, organisation};
use crate::problem::Problem;
use crate::shown;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    subject: Entity,
    action: ActionName,
    resource: Entity,
    /// One entry means something here: `at_least`, a position of the log that the answer has to
    /// reflect.
    #[serde(default)]
    context: Map<String, Value>,
}

/// AuthZEN lets any entity carry properties; no rule here reads them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entity {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    #[serde(default, rename = "properties")]
    _properties: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionName {
    name: String,
    #[serde(default, rename = "properties")]
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

fn show(answer: &Answer) -> Response {
    let reason = answer.reason;
    if matches!(reason, Reason::Stale | Reason::Busy) {
        return not_now(reason);
    }
    let mut context = json!({
        "reason": reason.code(),
        "message": reason.sentence(),
        "seq": answer.seq,
        "at": shown::time(answer.at),
    });
    if let Some(s) = &answer.session {
        let actor = json!({ "type": "person", "id": s.actor });
        let subject = match s.mode {
            Mode::ActAs => json!({ "type": "organisation", "id": s.customer }),
            Mode::Direct | Mode::View => actor.clone(),
        };
        let more = json!({ "actor": actor, "subject": subject, "session": s.session, "grant": s.grant,
            "organisation": s.customer, "mode": s.mode, "deadline": shown::time(s.deadline) });
        if let (Value::Object(context), Value::Object(more)) = (&mut context, more) {
            context.extend(more);
        }
    }
    Json(json!({ "decision": answer.is_yes(), "context": context })).into_response()
}
