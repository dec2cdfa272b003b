//! `POST /oauth/introspect`: what holds of a token now (RFC 7662).
//!
//! Asked by the application that the token is for, and by nobody else: for every other token, for
//! one that is over and for what is none, there is one answer. Counts no call.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use comity_app::App;
use comity_app::access::{Act, Live, Opened, Sub};
use comity_domain::ids::{GrantId, OrganisationId, SessionId};
use comity_domain::role::Mode;
use comity_domain::time::SECOND;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::client::client;
use super::form::Form;
use super::{OauthError, Wrong, answer};
use crate::openapi::values;

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "the form is read by name; this is how it is told")]
pub struct Introspection {
    /// The token, opaque or signed.
    token: String,
    /// Passed over: what a token is can be seen from it.
    token_type_hint: Option<String>,
    /// The application's code, for `client_secret_post` and `private_key_jwt`.
    client_id: Option<String>,
    /// One of its keys for decide, for `client_secret_post`.
    client_secret: Option<String>,
    /// `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`, for `private_key_jwt`.
    client_assertion_type: Option<String>,
    /// The statement that a registered key signed.
    client_assertion: Option<String>,
}

/// What is answered: `{"active":false}` and nothing else, or all of it.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "active": true, "iss": "https://access.example.com", "sub": "per_01k2z5c8h7m3q9v4x0t6b1n2ds",
    "aud": "https://api.boats.example", "client_id": "boats", "token_type": "Bearer", "scope": "boats:read",
    "exp": 1790000000, "iat": 1789996400, "sid": "sess_01k2z5c8h7m3q9v4x0t6b1n2ds",
    "act": { "sub": "per_01k2z5c8h7m3q9v4x0t6b1n2ds" }, "organisation": "org_01k2z5c8h7m3q9v4x0t6b1n2ds",
    "grant": "grant_01k2z5c8h7m3q9v4x0t6b1n2ds", "mode": "direct" }))]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "made once and sent")]
pub enum Introspected {
    Live(Told),
    Over(Over),
}

/// A token that opens nothing.
#[derive(Serialize, ToSchema)]
#[schema(as = InactiveToken)]
#[serde(deny_unknown_fields)]
pub struct Over {
    /// False.
    active: bool,
}

/// What holds of a session that goes on.
#[derive(Serialize, ToSchema)]
#[schema(as = ActiveToken)]
pub struct Told {
    /// True.
    active: bool,
    /// Who issued it.
    iss: String,
    /// For whom the session counts: the customer's organisation in `act_as`, else the person.
    #[schema(value_type = String)]
    sub: Sub,
    /// The application's audience.
    aud: String,
    /// The application's code.
    client_id: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// What the session may do now: permissions, with spaces between.
    scope: String,
    /// When the token runs out, in seconds since 1970.
    exp: i64,
    /// When it was issued.
    iat: i64,
    /// A signed token's own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// The session.
    #[schema(value_type = values::SessionId)]
    sid: SessionId,
    /// Who really acts.
    #[schema(value_type = ShownAct)]
    act: Act,
    /// In whose tenant.
    #[schema(value_type = values::OrganisationId)]
    organisation: OrganisationId,
    /// Under which grant.
    #[schema(value_type = values::GrantId)]
    grant: GrantId,
    /// As whom: `direct`, `view` or `act_as`.
    #[schema(value_type = values::Mode)]
    mode: Mode,
}

/// Who really acts (RFC 8693, section 4.1).
#[derive(ToSchema)]
#[schema(as = Act)]
#[expect(dead_code, reason = "how `Act` is told")]
struct ShownAct {
    /// The person.
    sub: String,
}

/// Ask about a token (RFC 7662).
///
/// Who may: an application that proves itself, about tokens for itself.
#[utoipa::path(post, path = "/oauth/introspect", operation_id = "introspectToken", tag = "Standards", security(("client" = [])),
    request_body(content = Introspection, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "What holds of the token now.", body = Introspected),
        (status = 400, description = "A parameter is missing or makes no sense.", body = OauthError),
        (status = 401, description = "The application has not proven itself.", body = OauthError),
        (status = 503, description = "This node cannot know now.", body = OauthError)))]
pub async fn introspect(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(ask(&app, request).await)
}

async fn ask(app: &Arc<App>, request: Request) -> Result<Introspected, Wrong> {
    let form = Form::read(app, request).await?;
    app.current().map_err(Wrong::unavailable)?;
    let application = client(app, &form, "/oauth/introspect").await?.proven()?;
    let token = form.need("token")?;
    let found = app.live(application, token).map_err(Wrong::unavailable)?;
    Ok(match found {
        Some((opened, live)) => Introspected::Live(told(app.issuer(), opened, live)),
        None => Introspected::Over(Over { active: false }),
    })
}

fn told(issuer: &str, opened: Opened, live: Live) -> Told {
    let seconds = |at: comity_domain::time::Instant| at.0.div_euclid(SECOND);
    let (exp, iat, jti) = match opened.claims {
        Some(claims) => (claims.exp, claims.iat, Some(claims.jti)),
        None => (seconds(live.session.deadline), seconds(live.started), None),
    };
    Told {
        active: true,
        iss: issuer.to_owned(),
        sub: live.sub,
        aud: live.application.audience.to_string(),
        client_id: live.application.code.to_string(),
        token_type: "Bearer",
        scope: live.scope,
        exp,
        iat,
        jti,
        sid: opened.session,
        act: live.act,
        organisation: live.session.customer,
        grant: live.session.grant,
        mode: live.session.mode,
    }
}
