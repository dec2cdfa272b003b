//! The operator's doors, and whether the node is well.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_app::tokens::{Kind, Secret};
use comity_domain::application::{KeyUse, Policy};
use comity_domain::command::Command;
use comity_domain::event::Event;
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{ApplicationId, HaltId, KeyId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::permission::Permissions;
use comity_domain::role::{Level, Modes};
use comity_domain::time::{Days, Minutes};
use comity_domain::version::Versioned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::Who;
use crate::input::{Body, Path};
use crate::problem::Problem;
use crate::shown;
use crate::versions::{etag, tagged};

pub async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Ready means: the writer has said within the lease that what is answered is current.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let seq = app.node().index().seq();
    if app.is_ready() {
        Json(json!({ "status": "ready", "seq": seq })).into_response()
    } else if app.breach().is_some() {
        Problem::from(comity_app::Failure::Guarded).into_response()
    } else {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stale",
            "The writer has not confirmed the state in time, or the node is stopping.",
        )
        .into_response()
    }
}

fn read(app: &App, who: &Who) -> Result<Arc<comity_domain::state::State>, Problem> {
    let state = app.state();
    may::check(&state, &who.0, Action::ReadPlatform, Thing::platform(), app.now())?;
    Ok(state)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutApplication {
    audience: String,
    permissions: Vec<String>,
}

#[derive(Serialize)]
pub struct ShownApplication {
    id: ApplicationId,
    code: String,
    audience: String,
    permissions: Permissions,
    etag: Option<String>,
}

fn shown_applications(state: &comity_domain::state::State) -> Vec<ShownApplication> {
    let all = state.applications.iter().map(|(id, a)| ShownApplication {
        id,
        code: a.code.to_string(),
        audience: a.audience.to_string(),
        permissions: a.permissions.clone(),
        etag: etag(state, &Versioned::Application(id)),
    });
    all.collect()
}

pub async fn applications(State(app): State<Arc<App>>, who: Who) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": shown_applications(&*read(&app, &who)?) })))
}

fn application(state: &comity_domain::state::State, code: &str) -> Versioned {
    let found = state.applications.iter().find(|(_, a)| *a.code == *code);
    found.map_or(Versioned::Nothing, |(id, _)| Versioned::Application(id))
}

pub async fn put_application(
    State(app): State<Arc<App>>,
    who: Who,
    Path(code): Path<String>,
    Body(body): Body<PutApplication>,
) -> Result<Response, Problem> {
    let permissions = Permissions::parse("permissions", &body.permissions)?;
    let of = application(&app.state(), &code);
    let command =
        Command::PutApplication { code: code.clone(), audience: body.audience, permissions };
    let done = who.edit(&app, of, command).await?;
    let shown = shown_applications(&done.state).into_iter().find(|a| a.code == code);
    Ok(tagged(StatusCode::OK, &done.state, &application(&done.state, &code), shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeKey {
    #[serde(rename = "use")]
    usage: KeyUse,
    application: Option<String>,
}

pub async fn make_key(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<MakeKey>,
) -> Result<Response, Problem> {
    let application = match body.application {
        None => None,
        Some(code) => {
            let state = read(&app, &who)?;
            let found = state.applications.iter().find(|(_, a)| *a.code == *code).map(|(id, _)| id);
            Some(found.ok_or_else(|| Problem::field("application", "names no application"))?)
        }
    };
    let secret = Secret::new(Kind::Key);
    let command = Command::MakeKey { usage: body.usage, application, digest: secret.digest() };
    let done = who.run(&app, command).await?;
    let key = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
        Event::KeyMade { key, .. } => Some(key),
        _ => None,
    });
    let shown = json!({ "id": key, "use": body.usage, "secret": secret.reveal(),
        "note": "Shown once. Comity keeps only its digest." });
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

pub async fn keys(State(app): State<Arc<App>>, who: Who) -> Result<Json<Value>, Problem> {
    let state = read(&app, &who)?;
    let code = |id: Option<ApplicationId>| state.applications.get(id?).map(|a| a.code.clone());
    let all: Vec<Value> = state
        .keys
        .iter()
        .map(|(id, k)| json!({ "id": id, "use": k.usage, "application": code(k.application), "retired": k.retired }))
        .collect();
    Ok(Json(json!({ "items": all })))
}

pub async fn retire_key(
    State(app): State<Arc<App>>,
    who: Who,
    Path(key): Path<KeyId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::RetireKey { key }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WirePolicy {
    never_delegable: Vec<String>,
    offers_need_acceptance: bool,
    session_minutes: u32,
    longest_grant_days: u32,
}

fn shown_policy(policy: &Policy) -> WirePolicy {
    WirePolicy {
        never_delegable: policy.never_delegable.texts().collect(),
        offers_need_acceptance: policy.offers_need_acceptance,
        session_minutes: policy.session_cap.0,
        longest_grant_days: policy.longest_grant.0,
    }
}

pub async fn policy(State(app): State<Arc<App>>, who: Who) -> Result<Response, Problem> {
    let state = read(&app, &who)?;
    Ok(tagged(StatusCode::OK, &state, &Versioned::Policy, shown_policy(&state.policy)))
}

pub async fn set_policy(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<WirePolicy>,
) -> Result<Response, Problem> {
    let policy = Policy {
        never_delegable: Permissions::parse("never_delegable", &body.never_delegable)?,
        offers_need_acceptance: body.offers_need_acceptance,
        session_cap: Minutes(body.session_minutes),
        longest_grant: Days(body.longest_grant_days),
    };
    let seen = who.must_see(Versioned::Policy);
    let done = who.put_together(&app, Some(seen), || Ok(Command::SetPolicy { policy })).await?;
    Ok(tagged(StatusCode::OK, &done.state, &Versioned::Policy, shown_policy(&done.state.policy)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutLevel {
    permissions: Vec<String>,
    modes: Modes,
    longest_grant_days: u32,
    session_minutes: u32,
}

/// Any caller that is known may read the levels: a partner has to choose one.
pub async fn levels(State(app): State<Arc<App>>, _who: Who) -> Json<Value> {
    let state = app.state();
    let all: Vec<Value> = state
        .levels
        .keys()
        .filter_map(|code| {
            let (pinned, l) = state.newest_level(code)?;
            Some(json!({ "code": pinned.code, "version": pinned.version, "permissions": l.ceiling, "modes": l.modes,
                "longest_grant_days": l.longest_grant, "session_minutes": l.session_cap, "etag": etag(&state, &Versioned::Level(code.to_string())) }))
        })
        .collect();
    Json(json!({ "items": all }))
}

pub async fn put_level(
    State(app): State<Arc<App>>,
    who: Who,
    Path(code): Path<String>,
    Body(body): Body<PutLevel>,
) -> Result<Response, Problem> {
    let level = Level {
        ceiling: Permissions::parse("permissions", &body.permissions)?,
        modes: body.modes,
        longest_grant: Days(body.longest_grant_days),
        session_cap: Minutes(body.session_minutes),
    };
    let of = Versioned::Level(code.clone());
    let command = Command::PutLevel { code: code.clone(), level };
    let done = who.edit(&app, of.clone(), command).await?;
    let version = done.state.newest_level(&code).map(|(pinned, _)| pinned.version);
    let shown = json!({ "code": code, "version": version, "etag": etag(&done.state, &of) });
    Ok(tagged(StatusCode::OK, &done.state, &of, shown))
}

fn named(target: HaltTarget) -> Value {
    match target {
        HaltTarget::Grant(id) => json!({ "grant": id }),
        HaltTarget::Session(id) => json!({ "session": id }),
        HaltTarget::Person(id) => json!({ "person": id }),
        HaltTarget::Organisation(id) => json!({ "organisation": id }),
        HaltTarget::Key(id) => json!({ "key": id }),
    }
}

/// What the checker has halted, oldest first.
pub async fn halts(State(app): State<Arc<App>>, who: Who) -> Result<Json<Value>, Problem> {
    let state = read(&app, &who)?;
    let all: Vec<Value> = state
        .halts
        .iter()
        .map(|(id, h)| {
            json!({ "id": id, "target": named(h.target), "invariant": h.invariant, "at": shown::time(h.at) })
        })
        .collect();
    Ok(Json(json!({ "items": all })))
}

pub async fn lift_halt(
    State(app): State<Arc<App>>,
    who: Who,
    Path(halt): Path<HaltId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::LiftHalt { halt }).await?;
    Ok(StatusCode::NO_CONTENT)
}
