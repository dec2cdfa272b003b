//! `POST /oauth/token`: entering a customer by token exchange (RFC 8693).
//!
//! The subject token is the person's own sign-in, and nothing else (T20); the actor is always that
//! person. What comes out is a token for one application: opaque, or signed where the customer
//! allowed it. With `session`, a signed token for a session that goes on: nothing is written then.

use std::str::FromStr as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use comity_app::App;
use comity_app::tokens::{Kind, Secret};
use comity_domain::command::{Caller, Command, Door, Enter, Principal};
use comity_domain::event::Event;
use comity_domain::ids::{ApplicationId, GrantId, OrganisationId, SessionId};
use comity_domain::permission::Permissions;
use comity_domain::refusal::Refusal;
use comity_domain::rights;
use comity_domain::role::Mode;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use comity_domain::time::SECOND;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::client::{Client, client};
use super::form::Form;
use super::{ACCESS_TOKEN, JWT, OauthError, Wrong, answer};
use crate::openapi::values;
use crate::problem::Problem;

/// The one grant type that is spoken here.
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// How a customer is named as a `resource`.
const CUSTOMER: &str = "urn:comity:organisation:";

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "the form is read by name; this is how it is told")]
pub struct Exchange {
    /// `urn:ietf:params:oauth:grant-type:token-exchange`.
    grant_type: String,
    /// The person's own sign-in. A partner session's token is refused.
    subject_token: String,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    subject_token_type: String,
    /// The application, by its audience. May be left out where the client proves itself, or where
    /// `resource` names it.
    audience: Option<Vec<String>>,
    /// The customer as `urn:comity:organisation:` and Comity's or the builder's identifier, and if
    /// you like the application by its audience. May come several times; names one of each.
    resource: Option<Vec<String>>,
    /// Permissions with spaces between: only so much of what the grant permits.
    scope: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token` for an opaque token, which is what comes if
    /// nothing is said, or `…:jwt` for a signed one.
    requested_token_type: Option<String>,
    /// Under which grant, where several fit.
    grant: Option<String>,
    /// As whom: `direct` (if nothing is said), `view` or `act_as`.
    mode: Option<String>,
    /// Why; needed for `act_as`.
    reason: Option<String>,
    /// A session of this person that goes on: another signed token for it, and no new session.
    session: Option<String>,
    /// Refused: the actor is always the person.
    actor_token: Option<String>,
    /// Refused with it.
    actor_token_type: Option<String>,
    /// The application's code.
    client_id: Option<String>,
    /// One of its keys for decide, for `client_secret_post`.
    client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, for `private_key_jwt`.
    client_assertion_type: Option<String>,
    /// The statement that a registered key signed.
    client_assertion: Option<String>,
}

/// What comes out.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "access_token": "cmt_session_…", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    "token_type": "Bearer", "expires_in": 3600, "scope": "boats:read", "session": "sess_01k2z5c8h7m3q9v4x0t6b1n2ds",
    "grant": "grant_01k2z5c8h7m3q9v4x0t6b1n2ds", "mode": "direct" }))]
pub struct Entered {
    /// The token.
    access_token: String,
    /// What kind of token it is.
    issued_token_type: &'static str,
    /// Always `Bearer`.
    token_type: &'static str,
    /// For how many seconds it is good.
    expires_in: i64,
    /// What it may be used for now: permissions, with spaces between.
    scope: String,
    /// The session.
    #[schema(value_type = values::SessionId)]
    session: String,
    /// Under which grant.
    #[schema(value_type = values::GrantId)]
    grant: String,
    /// As whom.
    #[schema(value_type = values::Mode)]
    mode: Mode,
}

/// Enter a customer (RFC 8693).
///
/// Who may: whoever holds a sign-in, which is the `subject_token`.
#[utoipa::path(post, path = "/oauth/token", operation_id = "exchangeToken", tag = "Standards", security((), ("client" = [])),
    request_body(content = Exchange, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A token for one application.", body = Entered),
        (status = 400, description = "It is not to be had; `error` says why.", body = OauthError),
        (status = 401, description = "What the application showed is wrong.", body = OauthError),
        (status = 503, description = "Nothing was done; try again.", body = OauthError)))]
pub async fn token(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(exchange(&app, request).await)
}

async fn exchange(app: &Arc<App>, request: Request) -> Result<Entered, Wrong> {
    let form = Form::read(app, request).await?;
    // Whether a sign-in or a key is in force is a yes like any other.
    app.current().map_err(Wrong::unavailable)?;
    let client = client(app, &form, "/oauth/token").await?;
    if form.need("grant_type")? != EXCHANGE {
        let why = format!("Only {EXCHANGE} is spoken here.");
        return Err(Wrong::new("unsupported_grant_type", "invalid", why));
    }
    if form.get("actor_token").or(form.get("actor_token_type")).is_some() {
        let why = "actor_token is not taken: the actor is always the person of subject_token.";
        return Err(Wrong::request(why));
    }
    let jwt = match form.get("requested_token_type") {
        None | Some(ACCESS_TOKEN) => false,
        Some(JWT) => true,
        Some(_) => {
            let why = format!("requested_token_type must be {ACCESS_TOKEN} or {JWT}.");
            return Err(Wrong::request(why));
        }
    };
    let caller = subject(app, &form)?;
    let state = app.state();
    let target = target(&state, &form, client)?;
    let scope = form.get("scope").map(scope).transpose()?;
    if let Some(session) = form.get("session") {
        if !jwt {
            let why = format!("With session, requested_token_type must be {JWT}.");
            return Err(Wrong::request(why));
        }
        return again(app, &caller, session, &target, scope).await;
    }
    let customer = target.customer.ok_or_else(|| {
        let why = "Name the customer: resource must be urn:comity:organisation:org_….";
        Wrong::new("invalid_target", "invalid", why)
    })?;
    let application = target.application.and_then(|id| state.applications.get(id));
    let audience = application.map(|a| a.audience.to_string()).ok_or_else(|| {
        let why = "Name the application: audience must be one of this platform's.";
        Wrong::new("invalid_target", "invalid", why)
    })?;
    let grant = form.get("grant").map(GrantId::from_str).transpose();
    let grant =
        grant.map_err(|_| Wrong::request("grant must be an identifier such as grant_…."))?;
    let mode = match form.get("mode") {
        None => Mode::Direct,
        Some(text) => Mode::ALL
            .into_iter()
            .find(|m| m.code() == text)
            .ok_or_else(|| Wrong::request("mode must be direct, view or act_as."))?,
    };
    let reason = form.get("reason").map(str::to_owned);
    if jwt {
        app.signer().await?; // before a session begins that would get no token
    }
    let secret = Secret::new(Kind::Session);
    let token = secret.digest();
    let enter = Enter { customer, audience, grant, mode, reason, scope, jwt, token };
    let done = app.run(&caller, Command::Enter(enter)).await?;
    let session = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
        Event::SessionStarted { session, .. } => Some(session),
        _ => None,
    });
    let broken = || Wrong::unavailable(comity_app::Failure::Broken("no session was made".into()));
    let session = session.ok_or_else(broken)?;
    if jwt {
        return signed_or_closed(app, &caller, session).await;
    }
    let compiled = rights::compile(&done.state, session).ok_or_else(broken)?;
    let scope = compiled.rights.as_ref().map(|r| r.shown().texts().collect::<Vec<_>>().join(" "));
    Ok(Entered {
        access_token: secret.reveal().to_owned(),
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: compiled.deadline.since(done.state.at) / SECOND,
        scope: scope.unwrap_or_default(),
        session: compiled.session.to_string(),
        grant: compiled.grant.to_string(),
        mode: compiled.mode,
    })
}

/// Whose sign-in it is.
fn subject(app: &App, form: &Form) -> Result<Caller, Wrong> {
    let token = form.need("subject_token")?;
    if form.need("subject_token_type")? != ACCESS_TOKEN {
        return Err(Wrong::request(format!("subject_token_type must be {ACCESS_TOKEN}.")));
    }
    if token.contains('.') {
        form.may_be_heard()?; // a signed token is no subject, and costs something to look at
    }
    let Some(caller) = app.caller(token, Door::Token) else {
        form.stranger()?;
        let why = "subject_token is not a sign-in in force.";
        return Err(Wrong::new("invalid_grant", "unauthenticated", why));
    };
    if let Some(counted) = &form.counted {
        counted.limits.exchange(&caller).map_err(Problem::from)?;
    }
    if matches!(caller.principal, Principal::Person { .. }) {
        return Ok(caller);
    }
    let no = Refusal::PartnerSession;
    Err(Wrong::new("invalid_grant", no.code(), no.sentence()))
}

/// For which application, and into which customer.
#[derive(Debug, Clone, Copy, Default)]
struct Target {
    application: Option<ApplicationId>,
    customer: Option<OrganisationId>,
}

fn target(state: &World, form: &Form, client: Client) -> Result<Target, Wrong> {
    let wrong = |why: &str| Wrong::new("invalid_target", "invalid", why);
    let mut target = Target::default();
    let mut application = |id: ApplicationId| match target.application.replace(id) {
        Some(before) if before != id => Err(wrong("Name one application.")),
        _ => Ok(()),
    };
    for audience in form.all("audience") {
        let none = || wrong("audience names no application of this platform.");
        application(state.application_by_audience(audience).ok_or_else(none)?)?;
    }
    for resource in form.all("resource") {
        if let Some(name) = resource.strip_prefix(CUSTOMER) {
            let id = customer(state, name);
            if target.customer.replace(id).is_some_and(|before| before != id) {
                return Err(wrong("Name one customer."));
            }
            continue;
        }
        let none = || {
            wrong("resource must be urn:comity:organisation:org_… or an application's audience.")
        };
        application(state.application_by_audience(resource).ok_or_else(none)?)?;
    }
    match client {
        // Who proved to be one application gets no token for another one.
        Client::Proven(own) | Client::Named(own) => {
            if target.application.is_some_and(|named| named != own) {
                return Err(wrong("The token would be for another application than the client."));
            }
            target.application = Some(own);
        }
        Client::Nobody => {}
    }
    Ok(target)
}

/// A customer by Comity's identifier or the builder's. One that is not there is left to the rule
/// that says the same of one that is not yours.
fn customer(state: &World, name: &str) -> OrganisationId {
    if let Ok(id) = OrganisationId::from_str(name) {
        return id;
    }
    let found = state.words.find(Lookup::Organisation, name);
    found.map_or(OrganisationId::MIN, OrganisationId)
}

fn scope(text: &str) -> Result<Permissions, Wrong> {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    Permissions::parse("scope", &words).map_err(|refusal| Problem::from(refusal).into())
}

/// Another signed token for a session that goes on. Nothing is written: what it says is what holds
/// of the session now.
async fn again(
    app: &Arc<App>,
    caller: &Caller,
    session: &str,
    target: &Target,
    scope: Option<Permissions>,
) -> Result<Entered, Wrong> {
    let state = app.state();
    let none = || Wrong::from(Problem::not_found());
    let id = SessionId::from_str(session).map_err(|_| none())?;
    let own = |s: &&comity_domain::session::Session| Some(s.person) == caller.person();
    let known = state.sessions.get(id).filter(own).ok_or_else(none)?;
    let customer = state.grants.get(known.grant).map(|g| g.customer.organisation);
    let other = target.application.is_some_and(|a| a != known.application)
        || target.customer.is_some_and(|c| Some(c) != customer);
    if other {
        let why = "The session is of another application or customer.";
        return Err(Wrong::new("invalid_target", "invalid", why));
    }
    let held = rights::compile(&state, id).and_then(|c| c.rights.ok()).map(|r| r.shown());
    if let (Some(asked), Some(held)) = (scope, held)
        && asked != held
    {
        let held = held.texts().collect::<Vec<_>>().join(" ");
        let why = format!("The session's scope is {held}; enter anew for another one.");
        return Err(Wrong::new("invalid_scope", "invalid", why));
    }
    signed(app, id).await
}

/// The first signed token of a session. One that nobody gets a token for is closed: it would count
/// among the person's sessions, and stand in the customer's list, without anybody in it.
async fn signed_or_closed(
    app: &Arc<App>,
    caller: &Caller,
    session: SessionId,
) -> Result<Entered, Wrong> {
    let entered = signed(app, session).await;
    if entered.is_err()
        && let Err(failure) = app.run(caller, Command::CloseSession { session }).await
    {
        tracing::warn!(?failure, %session, "a session without a token was not closed");
    }
    entered
}

async fn signed(app: &Arc<App>, session: SessionId) -> Result<Entered, Wrong> {
    let (token, claims) = app.signed_token(session).await?;
    Ok(Entered {
        access_token: token,
        issued_token_type: JWT,
        token_type: "Bearer",
        expires_in: claims.exp.saturating_sub(claims.iat),
        scope: claims.scope,
        session: claims.sid.to_string(),
        grant: claims.grant.to_string(),
        mode: claims.mode,
    })
}
