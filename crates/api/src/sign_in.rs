//! Signing in, and one's own sign-ins.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use comity_app::app::{Ceremony, Entered, Shown, SignedIn as Signed};
use comity_app::{App, Failure};
use comity_domain::command::{Command, Door, Principal};
use comity_domain::factor::Acr;
use comity_domain::ids::{PersonId, SignInId};
use comity_domain::refusal::Refusal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Who, person};
use crate::input::{Body, Path};
use crate::limits::{Beside, Counted};
use crate::openapi::values;
use crate::page::Items;
use crate::problem::Problem;
use crate::shown;

/// An address and its password.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "email": "ana@marina.example", "password": "correct horse battery staple" })))]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The address.
    email: String,
    /// The password.
    #[schema(format = Password)]
    password: String,
}

/// A sign-in of one's own.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "token": "cmt_signin_0123456789abcdefghjkmnpqrs", "person": "per_01kf4e9ab7c3x8m2v5r6t0w1yz",
    "expires_at": "2027-01-31T20:00:00.000Z", "acr": "multi" })))]
pub struct SignedIn {
    /// What is sent as bearer token from now on.
    token: String,
    #[schema(value_type = values::PersonId)]
    person: PersonId,
    #[schema(value_type = values::Instant)]
    expires_at: String,
    #[schema(value_type = values::Acr)]
    acr: Acr,
}

impl From<Signed> for SignedIn {
    fn from(signed: Signed) -> Self {
        Self {
            token: signed.token.reveal().to_owned(),
            person: signed.person,
            expires_at: shown::time(signed.until),
            acr: signed.acr,
        }
    }
}

/// Whatever was wrong, it looks the same (T26).
fn failed(failure: Failure) -> Problem {
    match failure {
        Failure::Refused(Refusal::WrongState(why)) => Refusal::WrongState(why).into(),
        Failure::Refused(_) => Problem::new(
            StatusCode::UNAUTHORIZED,
            "sign_in_failed",
            "The address, the password, the code or the passkey is wrong, or it was used already.",
        ),
        other => other.into(),
    }
}

/// Sign in by password.
///
/// Who may: anybody. It is good for eight hours. Whatever was wrong, the answer is the same. Where codes of an app are set up, the
/// answer is `second_factor_needed` with a `ticket` for `POST /v1/sign-in/second-factor`, good for five minutes.
#[utoipa::path(post, path = "/v1/sign-in", operation_id = "signIn", tag = "People", security(),
    request_body = SignIn,
    responses((status = 200, description = "Signed in.", body = SignedIn)),
    extensions(("x-refusals" = json!("sign_in_failed second_factor_needed"))))]
pub async fn sign_in(
    State(app): State<Arc<App>>,
    Counted(Beside { limits, from }): Counted,
    Body(body): Body<SignIn>,
) -> Result<Json<SignedIn>, Problem> {
    limits.sign_in(&app, from, &body.email).await?;
    match app.sign_in(Door::Api, &body.email, body.password).await.map_err(failed)? {
        Entered::In(signed) => Ok(Json(signed.into())),
        Entered::SecondFactorNeeded { ticket, .. } => {
            Err(Problem::second_factor(ticket.reveal().to_owned()))
        }
    }
}

/// The second step of a sign-in.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "ticket": "q83vEjRWeJCrze8SNFZ4kA", "code": "287082" })))]
#[serde(deny_unknown_fields)]
pub struct SecondFactor {
    /// What the first step has given.
    ticket: String,
    /// What the app shows, or a recovery code.
    code: String,
}

/// Complete a sign-in by a code.
///
/// Who may: whoever holds a ticket. A code counts once. Five tries a ticket, ten wrong codes of a person an hour.
#[utoipa::path(post, path = "/v1/sign-in/second-factor", operation_id = "signInSecondFactor", tag = "People", security(),
    request_body = SecondFactor,
    responses((status = 200, description = "Signed in.", body = SignedIn)),
    extensions(("x-refusals" = json!("sign_in_failed"))))]
pub async fn second_factor(
    State(app): State<Arc<App>>,
    Counted(Beside { limits, from }): Counted,
    Body(body): Body<SecondFactor>,
) -> Result<Json<SignedIn>, Problem> {
    limits.sign_in_step(from)?;
    let signed = app.second_factor(Door::Api, &body.ticket, &body.code).await.map_err(failed)?;
    Ok(Json(signed.into()))
}

/// What an authenticator is asked.
#[derive(Serialize, ToSchema)]
#[schema(as = Ceremony, examples(json!({ "ceremony": "q83vEjRWeJCrze8SNFZ4kA", "options": { "publicKey": { "challenge": "T1xC", "rpId": "access.example" } },
    "expires_at": "2027-01-31T12:05:00.000Z" })))]
pub struct ShownCeremony {
    /// To be sent back with the answer.
    ceremony: String,
    /// For `navigator.credentials`, as `PublicKeyCredential.parse…OptionsFromJSON()` reads `publicKey` (WebAuthn level 3).
    #[schema(value_type = values::WebAuthn)]
    options: serde_json::Value,
    #[schema(value_type = values::Instant)]
    expires_at: String,
}

impl From<Ceremony> for ShownCeremony {
    fn from(begun: Ceremony) -> Self {
        Self {
            ceremony: begun.ceremony.reveal().to_owned(),
            options: begun.options,
            expires_at: shown::time(begun.until),
        }
    }
}

/// Begin a sign-in by a passkey.
///
/// Who may: anybody. Without an address: the authenticator knows whose it is. Good for five minutes.
#[utoipa::path(post, path = "/v1/sign-in/passkey/begin", operation_id = "beginPasskeySignIn", tag = "People", security(),
    responses((status = 200, description = "What the authenticator is asked.", body = ShownCeremony)),
    extensions(("x-refusals" = json!("wrong_state"))))]
pub async fn begin_passkey(
    State(app): State<Arc<App>>,
    Counted(Beside { limits, from }): Counted,
) -> Result<Json<ShownCeremony>, Problem> {
    limits.sign_in_step(from)?;
    Ok(Json(app.begin_passkey_sign_in()?.into()))
}

/// What an authenticator answered.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "ceremony": "q83vEjRWeJCrze8SNFZ4kA", "passkey": { "id": "AQID", "rawId": "AQID", "type": "public-key", "response": {} } })))]
#[serde(deny_unknown_fields)]
pub struct PasskeyAnswer {
    /// As it was given.
    ceremony: String,
    /// The credential, as its `toJSON()` writes it (WebAuthn level 3).
    #[schema(value_type = values::WebAuthn)]
    passkey: serde_json::Value,
}

/// Complete a sign-in by a passkey.
///
/// Who may: whoever's passkey it is. Whatever was wrong, the answer is the same.
#[utoipa::path(post, path = "/v1/sign-in/passkey/finish", operation_id = "finishPasskeySignIn", tag = "People", security(),
    request_body = PasskeyAnswer,
    responses((status = 200, description = "Signed in.", body = SignedIn)),
    extensions(("x-refusals" = json!("sign_in_failed wrong_state"))))]
pub async fn finish_passkey(
    State(app): State<Arc<App>>,
    Counted(Beside { limits, from }): Counted,
    Body(body): Body<PasskeyAnswer>,
) -> Result<Json<SignedIn>, Problem> {
    limits.sign_in_step(from)?;
    let done = app.finish_passkey_sign_in(Door::Api, &body.ceremony, body.passkey).await;
    Ok(Json(done.map_err(failed)?.into()))
}

/// By what one proves it anew: the password, with a code where one is set up, or a passkey.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "password": "correct horse battery staple", "code": "287082" })))]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    /// The password.
    #[schema(format = Password)]
    password: Option<String>,
    /// What the app shows, or a recovery code.
    code: Option<String>,
    /// Of `POST /v1/sign-in/passkey/begin`.
    ceremony: Option<String>,
    /// What the authenticator answered.
    #[schema(value_type = Option<values::WebAuthn>)]
    passkey: Option<serde_json::Value>,
}

/// Prove anew who you are.
///
/// Who may: a person. A fresh sign-in takes the place of the one that is shown, whose token opens nothing any more. Ten wrong passwords or
/// codes an hour.
#[utoipa::path(post, path = "/v1/me/step-up", operation_id = "stepUp", tag = "People", security(("signIn" = [])),
    request_body = StepUp,
    responses((status = 200, description = "The sign-in by which you go on.", body = SignedIn)))]
pub async fn step_up(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<StepUp>,
) -> Result<Json<SignedIn>, Problem> {
    person(&who.0)?;
    let shown = match (body.password, body.ceremony, body.passkey) {
        (Some(password), None, None) => Shown::Password { password, code: body.code },
        (None, Some(ceremony), Some(answer)) if body.code.is_none() => {
            Shown::Passkey { ceremony, answer }
        }
        _ => return Err(Problem::field("body", "must hold a password, or a ceremony and passkey")),
    };
    let prepared = app.prepare_step_up(&who.0, shown).await?;
    let done = who.run(&app, prepared.command).await?;
    signed(&done, prepared.shown)
}

fn signed(
    done: &comity_app::node::Done,
    token: comity_app::tokens::Secret,
) -> Result<Json<SignedIn>, Problem> {
    let signed = Signed::of(done, token);
    let signed = signed.ok_or_else(|| Failure::Broken("a sign-in has no row".into()))?;
    Ok(Json(signed.into()))
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "current_password": "correct horse battery staple", "password": "incorrect zebra charger clip" })))]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The one before; may be left out by whoever signed in by a passkey.
    #[schema(format = Password)]
    current_password: Option<String>,
    /// The new one: not one sign repeated.
    #[schema(min_length = 15, max_length = 128, format = Password)]
    password: String,
}

/// Change the password.
///
/// Who may: a person, fresh, with a second factor if there is one. Every sign-in ends and every session in a customer; the answer is the sign-in
/// by which you go on.
#[utoipa::path(put, path = "/v1/me/password", operation_id = "changePassword", tag = "People", security(("signIn" = [])),
    request_body = NewPassword,
    responses((status = 200, description = "The sign-in by which you go on.", body = SignedIn)),
    extensions(("x-refusals" = json!("fresh_sign_in_required stronger_sign_in_required"))))]
pub async fn change_password(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<NewPassword>,
) -> Result<Json<SignedIn>, Problem> {
    person(&who.0)?;
    let prepared = app.prepare_password(&who.0, body.current_password, body.password).await?;
    let done = who.run(&app, prepared.command).await?;
    signed(&done, prepared.shown)
}

/// A sign-in in force.
#[derive(Serialize, ToSchema)]
#[schema(as = SignInInForce, examples(json!({ "id": "sign_01kf4e9ab7c3x8m2v5r6t0w1yz", "signed_in_at": "2027-01-31T12:00:00.000Z",
    "expires_at": "2027-01-31T20:00:00.000Z", "acr": "multi", "door": "console", "current": true })))]
pub struct ShownSignIn {
    #[schema(value_type = values::SignInId)]
    id: SignInId,
    /// When you proved who you are.
    #[schema(value_type = values::Instant)]
    signed_in_at: String,
    #[schema(value_type = values::Instant)]
    expires_at: String,
    #[schema(value_type = values::Acr)]
    acr: Acr,
    #[schema(value_type = values::Door)]
    door: Door,
    /// Whether it is the one that asks.
    current: bool,
}

/// Your sign-ins.
///
/// Who may: a person. Those in force, the oldest first.
#[utoipa::path(get, path = "/v1/me/sign-ins", operation_id = "listSignIns", tag = "People", security(("signIn" = [])),
    responses((status = 200, description = "All of them.", body = Items<ShownSignIn>)))]
pub async fn sign_ins(
    State(app): State<Arc<App>>,
    who: Who,
) -> Result<Json<Items<ShownSignIn>>, Problem> {
    let id = person(&who.0)?;
    let own = match who.0.principal {
        Principal::Person { sign_in, .. } => Some(sign_in),
        _ => None,
    };
    let state = app.state();
    let items = state.sign_ins_of(id, app.now()).map(|(id, s)| ShownSignIn {
        id,
        signed_in_at: shown::time(s.at),
        expires_at: shown::time(s.until),
        acr: s.acr,
        door: s.door,
        current: own == Some(id),
    });
    Ok(Json(Items { items: items.collect() }))
}

/// End a sign-in.
///
/// Who may: the person whose own it is.
#[utoipa::path(delete, path = "/v1/me/sign-ins/{sign_in}", operation_id = "endSignIn", tag = "People", security(("signIn" = [])),
    responses((status = 204, description = "It opens nothing any more.")))]
pub async fn end_sign_in(
    State(app): State<Arc<App>>,
    who: Who,
    Path(sign_in): Path<SignInId>,
) -> Result<StatusCode, Problem> {
    person(&who.0)?;
    who.run(&app, Command::EndSignIn { sign_in }).await?;
    Ok(StatusCode::NO_CONTENT)
}
