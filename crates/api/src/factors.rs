//! What a person proves with who they are, beside a password.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_app::app::factors::RecoveryCodes;
use comity_domain::command::Command;
use comity_domain::factor::{Factors, Passkey};
use comity_domain::ids::{PasskeyId, PersonId};
use comity_domain::state::State as World;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Who, person};
use crate::input::{Body, Path, organisation};
use crate::openapi::values;
use crate::page::Items;
use crate::problem::Problem;
use crate::shown;
use crate::sign_in::ShownCeremony;

/// What a person proves with, beside a password.
#[derive(Serialize, ToSchema)]
#[schema(as = Factors, examples(json!({ "password": true, "totp_set_at": "2027-01-31T12:00:00.000Z", "recovery_codes_left": 10, "passkeys": [],
    "passkeys_possible": true })))]
pub struct ShownFactors {
    /// Whether a password is set.
    password: bool,
    /// When codes of an app were set up.
    #[schema(required, value_type = Option<values::Instant>)]
    totp_set_at: Option<String>,
    /// How many recovery codes were not used.
    recovery_codes_left: usize,
    /// Passkeys.
    passkeys: Vec<ShownPasskey>,
    /// Whether there can be passkeys: they belong to the host name of the issuer, if it is one.
    passkeys_possible: bool,
}

/// A passkey.
#[derive(Serialize, ToSchema)]
#[schema(as = Passkey, examples(json!({ "id": "pkey_01kf4e9ab7c3x8m2v5r6t0w1yz", "name": "Blue key", "made_at": "2027-01-31T12:00:00.000Z",
    "used_at": null })))]
pub struct ShownPasskey {
    #[schema(value_type = values::PasskeyId)]
    id: PasskeyId,
    /// How you call it.
    name: String,
    #[schema(value_type = values::Instant)]
    made_at: String,
    /// When it was used last to sign in.
    #[schema(required, value_type = Option<values::Instant>)]
    used_at: Option<String>,
}

fn shown_passkey(state: &World, key: &Passkey) -> ShownPasskey {
    ShownPasskey {
        id: key.id,
        name: state.words.show(key.name).to_owned(),
        made_at: shown::time(key.made),
        used_at: key.used.map(shown::time),
    }
}

fn all_passkeys(state: &World, id: PersonId) -> Vec<ShownPasskey> {
    let has = state.factors.get(&id).into_iter().flat_map(|f| &f.passkeys);
    has.map(|p| shown_passkey(state, p)).collect()
}

/// By what do I prove who I am?
///
/// Who may: a person.
#[utoipa::path(get, path = "/v1/me/factors", operation_id = "getFactors", tag = "People", security(("signIn" = [])),
    responses((status = 200, description = "All of it.", body = ShownFactors)))]
pub async fn factors(State(app): State<Arc<App>>, who: Who) -> Result<Json<ShownFactors>, Problem> {
    let id = person(&who.0)?;
    let state = app.state();
    let none = Factors::default();
    let has = state.factors.get(&id).unwrap_or(&none);
    Ok(Json(ShownFactors {
        password: state.people.get(id).is_some_and(|p| p.has_password),
        totp_set_at: has.totp.map(|t| shown::time(t.made)),
        recovery_codes_left: has.recovery.len(),
        passkeys: all_passkeys(&state, id),
        passkeys_possible: app.passkeys_are_possible(),
    }))
}

/// An app that is being set up.
#[derive(Serialize, ToSchema)]
#[schema(as = TotpSetup, examples(json!({ "setup": "q83vEjRWeJCrze8SNFZ4kA", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    "uri": "otpauth://totp/Comity:ana%40marina.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Comity", "expires_at": "2027-01-31T12:15:00.000Z" })))]
pub struct ShownSetup {
    /// To be sent back with a first code.
    setup: String,
    /// The secret, to be typed: base32 (RFC 4648).
    secret: String,
    /// The same as `otpauth` URI, to be shown as a QR code.
    uri: String,
    #[schema(value_type = values::Instant)]
    expires_at: String,
}

/// Begin to set up codes of an app.
///
/// Who may: a person, fresh, with a second factor if there is one. TOTP (RFC 6238): SHA-1, six digits, 30 seconds. Nothing is kept
/// before a first code is sent.
#[utoipa::path(post, path = "/v1/me/totp", operation_id = "beginTotp", tag = "People", security(("signIn" = [])),
    responses((status = 200, description = "The secret.", body = ShownSetup)),
    extensions(("x-refusals" = json!("fresh_sign_in_required stronger_sign_in_required wrong_state"))))]
pub async fn begin_totp(
    State(app): State<Arc<App>>,
    who: Who,
) -> Result<Json<ShownSetup>, Problem> {
    person(&who.0)?;
    let begun = app.begin_totp(&who.0)?;
    Ok(Json(ShownSetup {
        setup: begun.setup.reveal().to_owned(),
        secret: begun.secret,
        uri: begun.uri,
        expires_at: shown::time(begun.until),
    }))
}

/// A first code.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "setup": "q83vEjRWeJCrze8SNFZ4kA", "code": "287082" })))]
#[serde(deny_unknown_fields)]
pub struct FirstCode {
    /// As it was given.
    setup: String,
    /// What the app shows now.
    code: String,
}

/// Recovery codes, shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryCodes, examples(json!({ "codes": ["0a1b-2c3d-4e5f-6g7h"], "note": "Each is good once, in place of a code of the app. Keep them apart from it." })))]
pub struct ShownCodes {
    /// Ten of them.
    codes: Vec<String>,
    /// What to know about them.
    note: &'static str,
}

impl From<RecoveryCodes> for ShownCodes {
    fn from(made: RecoveryCodes) -> Self {
        let note = "Each is good once, in place of a code of the app. Keep them apart from it.";
        Self { codes: made.0, note }
    }
}

/// Complete setting up codes of an app.
///
/// Who may: whoever began. From now on the password alone gives no sign-in. With it come recovery codes.
#[utoipa::path(post, path = "/v1/me/totp/confirm", operation_id = "confirmTotp", tag = "People", security(("signIn" = [])),
    request_body = FirstCode,
    responses((status = 200, description = "Recovery codes.", body = ShownCodes)),
    extensions(("x-refusals" = json!("fresh_sign_in_required stronger_sign_in_required wrong_state"))))]
pub async fn confirm_totp(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<FirstCode>,
) -> Result<Json<ShownCodes>, Problem> {
    person(&who.0)?;
    let prepared = app.prepare_totp(&who.0, &body.setup, &body.code)?;
    who.run(&app, prepared.command).await?;
    Ok(Json(prepared.shown.into()))
}

/// Take codes of an app away.
///
/// Who may: a person, fresh, with a second factor. The recovery codes go too.
#[utoipa::path(delete, path = "/v1/me/totp", operation_id = "removeTotp", tag = "People", security(("signIn" = [])),
    responses((status = 204, description = "The password alone gives a sign-in again.")),
    extensions(("x-refusals" = json!("not_found fresh_sign_in_required stronger_sign_in_required"))))]
pub async fn remove_totp(State(app): State<Arc<App>>, who: Who) -> Result<StatusCode, Problem> {
    person(&who.0)?;
    who.run(&app, Command::RemoveTotp).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make new recovery codes.
///
/// Who may: a person, fresh, with a second factor. The old ones open nothing any more.
#[utoipa::path(post, path = "/v1/me/recovery-codes", operation_id = "makeRecoveryCodes", tag = "People", security(("signIn" = [])),
    responses((status = 200, description = "The codes.", body = ShownCodes)),
    extensions(("x-refusals" = json!("fresh_sign_in_required stronger_sign_in_required wrong_state"))))]
pub async fn make_recovery_codes(
    State(app): State<Arc<App>>,
    who: Who,
) -> Result<Json<ShownCodes>, Problem> {
    person(&who.0)?;
    let prepared = app.prepare_recovery_codes(&who.0)?;
    who.run(&app, prepared.command).await?;
    Ok(Json(prepared.shown.into()))
}

/// Your passkeys.
///
/// Who may: a person. The oldest first.
#[utoipa::path(get, path = "/v1/me/passkeys", operation_id = "listPasskeys", tag = "People", security(("signIn" = [])),
    responses((status = 200, description = "All of them.", body = Items<ShownPasskey>)))]
pub async fn passkeys(
    State(app): State<Arc<App>>,
    who: Who,
) -> Result<Json<Items<ShownPasskey>>, Problem> {
    let id = person(&who.0)?;
    Ok(Json(Items { items: all_passkeys(&app.state(), id) }))
}

/// Begin to make a passkey.
///
/// Who may: a person, fresh, with a second factor if there is one. Good for five minutes.
#[utoipa::path(post, path = "/v1/me/passkeys/begin", operation_id = "beginPasskey", tag = "People", security(("signIn" = [])),
    responses((status = 200, description = "What the authenticator is asked.", body = ShownCeremony)),
    extensions(("x-refusals" = json!("fresh_sign_in_required stronger_sign_in_required wrong_state"))))]
pub async fn begin_passkey(
    State(app): State<Arc<App>>,
    who: Who,
) -> Result<Json<ShownCeremony>, Problem> {
    person(&who.0)?;
    Ok(Json(app.begin_passkey(&who.0).await?.into()))
}

/// A passkey that was made.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "ceremony": "q83vEjRWeJCrze8SNFZ4kA", "name": "Blue key", "passkey": { "id": "AQID", "rawId": "AQID", "type": "public-key", "response": {} } })))]
#[serde(deny_unknown_fields)]
pub struct NewPasskey {
    /// As it was given.
    ceremony: String,
    /// How you call it.
    #[schema(min_length = 1, max_length = 120)]
    name: String,
    /// The credential, as its `toJSON()` writes it (WebAuthn level 3).
    #[schema(value_type = values::WebAuthn)]
    passkey: serde_json::Value,
}

/// Complete making a passkey.
///
/// Who may: whoever began.
#[utoipa::path(post, path = "/v1/me/passkeys", operation_id = "addPasskey", tag = "People", security(("signIn" = [])),
    request_body = NewPasskey,
    responses((status = 201, description = "It was made.", body = ShownPasskey)),
    extensions(("x-refusals" = json!("fresh_sign_in_required stronger_sign_in_required wrong_state taken"))))]
pub async fn add_passkey(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<NewPasskey>,
) -> Result<Response, Problem> {
    let id = person(&who.0)?;
    let prepared = app.prepare_passkey(&who.0, &body.ceremony, body.passkey, body.name)?;
    let done = who.run(&app, prepared.command).await?;
    let has = done.state.factors.get(&id);
    let made = has.into_iter().flat_map(|f| &f.passkeys);
    let made =
        made.rev().find(|p| p.credential == prepared.shown).ok_or_else(Problem::not_found)?;
    Ok((StatusCode::CREATED, Json(shown_passkey(&done.state, made))).into_response())
}

/// How a passkey is called.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "name": "Blue key" })))]
#[serde(deny_unknown_fields)]
pub struct PasskeyName {
    /// How you call it.
    #[schema(min_length = 1, max_length = 120)]
    name: String,
}

/// Rename a passkey.
///
/// Who may: the person whose own it is, fresh, with a second factor.
#[utoipa::path(put, path = "/v1/me/passkeys/{passkey}", operation_id = "renamePasskey", tag = "People", security(("signIn" = [])),
    request_body = PasskeyName,
    responses((status = 200, description = "So it is called.", body = ShownPasskey)),
    extensions(("x-refusals" = json!("fresh_sign_in_required stronger_sign_in_required"))))]
pub async fn rename_passkey(
    State(app): State<Arc<App>>,
    who: Who,
    Path(passkey): Path<PasskeyId>,
    Body(body): Body<PasskeyName>,
) -> Result<Json<ShownPasskey>, Problem> {
    let id = person(&who.0)?;
    let done = who.run(&app, Command::RenamePasskey { passkey, name: body.name }).await?;
    let has = done.state.factors.get(&id).into_iter().flat_map(|f| &f.passkeys);
    let known = has.into_iter().find(|p| p.id == passkey).ok_or_else(Problem::not_found)?;
    Ok(Json(shown_passkey(&done.state, known)))
}

/// Take a passkey away.
///
/// Who may: the person whose own it is, fresh, with a second factor. Also the last one.
#[utoipa::path(delete, path = "/v1/me/passkeys/{passkey}", operation_id = "removePasskey", tag = "People", security(("signIn" = [])),
    responses((status = 204, description = "It opens nothing any more.")),
    extensions(("x-refusals" = json!("fresh_sign_in_required stronger_sign_in_required"))))]
pub async fn remove_passkey(
    State(app): State<Arc<App>>,
    who: Who,
    Path(passkey): Path<PasskeyId>,
) -> Result<StatusCode, Problem> {
    person(&who.0)?;
    who.run(&app, Command::RemovePasskey { passkey }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take away a member's second factors.
///
/// Who may: provision. For somebody who has lost their devices: codes, recovery codes and passkeys go, and every sign-in and every session in a
/// customer ends. The password stays.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/members/{id}/reset-factors", operation_id = "resetFactors", tag = "Provisioning", security(("key" = [])),
    responses((status = 204, description = "They are gone.")),
    extensions(("x-refusals" = json!("not_active"))))]
pub async fn reset(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id = organisation(&app.state(), &named)?;
    who.run(&app, Command::ResetFactors { organisation: id, external }).await?;
    Ok(StatusCode::NO_CONTENT)
}
