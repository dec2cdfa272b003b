//! The operator's doors, and whether the node is well.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_app::tokens::{Kind, Secret};
use comity_domain::application::{Key, KeyUse, Policy};
use comity_domain::command::Command;
use comity_domain::event::Event;
use comity_domain::ids::{ApplicationId, KeyId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::permission::Permissions;
use comity_domain::time::{Days, Minutes};
use comity_domain::version::Versioned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path};
use crate::openapi::values;
use crate::page::Items;
use crate::problem::Problem;
use crate::versions::{etag, tagged};

/// That the process answers.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "status": "ok" })))]
pub struct Health {
    /// `ok`.
    status: &'static str,
}

/// Does it answer?
///
/// Says only that the process answers, not that it is current.
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "Health", security(),
    responses((status = 200, description = "The process answers.", body = Health)))]
pub async fn health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// That what is answered is current.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "status": "ready", "seq": 1042 })))]
pub struct Readiness {
    /// `ready`.
    status: &'static str,
    /// The position of the log up to which this node has followed.
    seq: u64,
}

/// Is what it answers current?
///
/// Ready means: the writer has said within the lease that what is answered is current. Once the server stops, it is
/// not ready.
#[utoipa::path(get, path = "/readyz", operation_id = "ready", tag = "Health", security(),
    responses((status = 200, description = "It is current.", body = Readiness)))]
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let seq = app.node().index().seq();
    if app.is_ready() {
        Json(Readiness { status: "ready", seq }).into_response()
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

/// The state, if the caller may read the platform's affairs.
pub fn read(app: &App, who: &Who) -> Result<Arc<comity_domain::state::State>, Problem> {
    let state = app.state();
    may::check(&state, &who.0, Action::ReadPlatform, Thing::platform(), app.now())?;
    Ok(state)
}

/// What an application is.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "audience": "https://api.boats.example", "permissions": ["bookings:*", "boats:read"] })))]
#[serde(deny_unknown_fields)]
pub struct PutApplication {
    /// The value of `audience` by which a token is asked for it.
    #[schema(min_length = 1, max_length = 200)]
    audience: String,
    /// Its permission words: a token for it never permits anything else.
    #[schema(value_type = Vec<values::Pattern>, max_items = 500)]
    permissions: Vec<String>,
    /// Where it takes over somebody who enters a customer by the console: a form is sent there with
    /// `access_token`, `session`, `mode`, `customer` and `expires_in`. `https`, or `http` to
    /// localhost; none for an application that people do not enter so.
    #[schema(max_length = 1000, examples("https://app.boats.example/enter"))]
    launch_url: Option<String>,
}

/// A service of the builder's product.
#[derive(Serialize, ToSchema)]
#[schema(as = Application, examples(json!({ "id": "app_01kf4e9ab7c3x8m2v5r6t0w1yz", "code": "boats", "audience": "https://api.boats.example",
    "permissions": ["boats:read", "bookings:*"], "etag": "\"1\"" })))]
pub struct ShownApplication {
    #[schema(value_type = values::ApplicationId)]
    id: ApplicationId,
    /// Its code.
    code: String,
    /// The value of `audience` by which a token is asked for it.
    audience: String,
    /// Its permission words.
    #[schema(value_type = Vec<values::Pattern>)]
    permissions: Permissions,
    /// Where it takes over somebody who enters a customer by the console.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    launch_url: Option<String>,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

fn shown_applications(state: &comity_domain::state::State) -> Vec<ShownApplication> {
    let all = state.applications.iter().map(|(id, a)| ShownApplication {
        id,
        code: a.code.to_string(),
        audience: a.audience.to_string(),
        permissions: a.permissions.clone(),
        launch_url: a.launch_url.as_deref().map(str::to_owned),
        etag: etag(state, &Versioned::Application(id)),
    });
    all.collect()
}

/// The applications.
///
/// Who may: operate.
#[utoipa::path(get, path = "/v1/platform/applications", operation_id = "listApplications", tag = "Platform", security(("key" = [])),
    responses((status = 200, description = "All of them.", body = Items<ShownApplication>)))]
pub async fn applications(
    State(app): State<Arc<App>>,
    who: Who,
) -> Result<Json<Items<ShownApplication>>, Problem> {
    Ok(Json(Items { items: shown_applications(&*read(&app, &who)?) }))
}

fn application(state: &comity_domain::state::State, code: &str) -> Versioned {
    let found = state.applications.iter().find(|(_, a)| *a.code == *code);
    found.map_or(Versioned::Nothing, |(id, _)| Versioned::Application(id))
}

/// Make or change an application.
///
/// Who may: operate.
#[utoipa::path(put, path = "/v1/platform/applications/{code}", operation_id = "putApplication", tag = "Platform", security(("key" = [])),
    request_body = PutApplication,
    responses((status = 200, description = "The application.", body = ShownApplication, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("taken version_conflict"))))]
pub async fn put_application(
    State(app): State<Arc<App>>,
    who: Who,
    Path(code): Path<String>,
    Body(body): Body<PutApplication>,
) -> Result<Response, Problem> {
    let permissions = Permissions::parse("permissions", &body.permissions)?;
    let of = application(&app.state(), &code);
    let command = Command::PutApplication {
        code: code.clone(),
        audience: body.audience,
        permissions,
        launch_url: body.launch_url,
    };
    let done = who.edit(&app, of, command).await?;
    let shown = shown_applications(&done.state).into_iter().find(|a| a.code == code);
    let shown = shown.ok_or_else(Problem::not_found)?;
    Ok(tagged(StatusCode::OK, &done.state, &application(&done.state, &code), shown))
}

/// What the key is for.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "use": "decide", "application": "boats" })))]
#[serde(deny_unknown_fields)]
pub struct MakeKey {
    #[serde(rename = "use")]
    #[schema(value_type = values::KeyUse)]
    usage: KeyUse,
    /// The code of the application that asks; for `decide`, and only there.
    application: Option<String>,
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "id": "key_01kf4e9ab7c3x8m2v5r6t0w1yz", "use": "provision", "secret": "cmt_key_0123456789abcdefghjkmnpqrs",
    "note": "Shown once. Comity keeps only its digest." })))]
pub struct MadeKey {
    #[schema(required, value_type = Option<values::KeyId>)]
    id: Option<KeyId>,
    #[serde(rename = "use")]
    #[schema(value_type = values::KeyUse)]
    usage: KeyUse,
    /// The key itself: what is sent as bearer token.
    secret: String,
    /// What to know about it.
    note: &'static str,
}

/// Make a key.
///
/// Who may: operate. The secret is shown once.
#[utoipa::path(post, path = "/v1/platform/keys", operation_id = "makeKey", tag = "Platform", security(("key" = [])),
    request_body = MakeKey,
    responses((status = 201, description = "The key, with its secret.", body = MadeKey)))]
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
    let shown = MadeKey {
        id: key,
        usage: body.usage,
        secret: secret.reveal().to_owned(),
        note: "Shown once. Comity keeps only its digest.",
    };
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Key, examples(json!({ "id": "key_01kf4e9ab7c3x8m2v5r6t0w1yz", "use": "decide", "application": "boats", "retired": false })))]
pub struct ShownKey {
    #[schema(value_type = values::KeyId)]
    id: KeyId,
    #[serde(rename = "use")]
    #[schema(value_type = values::KeyUse)]
    usage: KeyUse,
    /// The code of the application that asks.
    #[schema(required)]
    application: Option<String>,
    /// Whether it is out of use.
    retired: bool,
}

/// The keys, without their secrets.
///
/// Who may: operate.
#[utoipa::path(get, path = "/v1/platform/keys", operation_id = "listKeys", tag = "Platform", security(("key" = [])),
    responses((status = 200, description = "All of them, retired ones too.", body = Items<ShownKey>)))]
pub async fn keys(State(app): State<Arc<App>>, who: Who) -> Result<Json<Items<ShownKey>>, Problem> {
    let state = read(&app, &who)?;
    let code = |id: Option<ApplicationId>| state.applications.get(id?).map(|a| a.code.to_string());
    let shown = |(id, k): (KeyId, &Key)| ShownKey {
        id,
        usage: k.usage,
        application: code(k.application),
        retired: k.retired,
    };
    Ok(Json(Items { items: state.keys.iter().map(shown).collect() }))
}

/// Retire a key.
///
/// Who may: operate. It takes effect at once; the last key for operate stays (`wrong_state`).
#[utoipa::path(delete, path = "/v1/platform/keys/{key}", operation_id = "retireKey", tag = "Platform", security(("key" = [])),
    responses((status = 204, description = "It is out of use.")),
    extensions(("x-refusals" = json!("wrong_state"))))]
pub async fn retire_key(
    State(app): State<Arc<App>>,
    who: Who,
    Path(key): Path<KeyId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::RetireKey { key }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What holds for everybody.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = Policy, examples(json!({ "never_delegable": ["staff:*"], "offers_need_acceptance": true, "session_minutes": 480,
    "longest_grant_days": 730 })))]
#[serde(deny_unknown_fields)]
pub struct WirePolicy {
    /// Permissions that no partner ever has.
    #[schema(value_type = Vec<values::Pattern>, max_items = 500)]
    never_delegable: Vec<String>,
    /// Whether what a customer offers waits for the partner's yes.
    offers_need_acceptance: bool,
    /// The longest session.
    #[schema(minimum = 5, maximum = 480)]
    session_minutes: u32,
    /// The longest grant.
    #[schema(minimum = 1, maximum = 730)]
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

/// The policy.
///
/// Who may: operate.
#[utoipa::path(get, path = "/v1/platform/policy", operation_id = "getPolicy", tag = "Platform", security(("key" = [])),
    responses((status = 200, description = "What holds for everybody.", body = WirePolicy, headers(("ETag" = String, description = "The version, for `If-Match`.")))))]
pub async fn policy(State(app): State<Arc<App>>, who: Who) -> Result<Response, Problem> {
    let state = read(&app, &who)?;
    Ok(tagged(StatusCode::OK, &state, &Versioned::Policy, shown_policy(&state.policy)))
}

/// Set the policy, whole.
///
/// Who may: operate.
#[utoipa::path(put, path = "/v1/platform/policy", operation_id = "setPolicy", tag = "Platform", security(("key" = [])),
    request_body = WirePolicy,
    responses((status = 200, description = "What holds from now on.", body = WirePolicy, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("version_conflict if_match_required"))))]
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
