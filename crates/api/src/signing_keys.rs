//! What Comity signs with, and by which keys applications prove themselves: the operator's doors.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::{App, jws};
use comity_domain::command::Command;
use comity_domain::ids::Digest32;
use comity_domain::may::{self, Action, Thing};
use comity_domain::signing::{KeyPhase, PublicKey, base64url};
use comity_domain::state::State as World;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path};
use crate::problem::Problem;
use crate::shown;

/// A signing key, without what is secret.
#[derive(Serialize, ToSchema)]
pub struct ShownSigningKey {
    /// The JWK thumbprint of RFC 7638, as it stands in the header of what it signed.
    #[schema(example = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")]
    kid: String,
    /// `next`: published, signs nothing yet; `current`: signs; `retired`: signs nothing more, and
    /// stays published for a day.
    #[schema(example = "current")]
    phase: String,
    /// When it was made (RFC 3339, UTC).
    made_at: String,
    /// Since when it signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_since: Option<String>,
    /// Since when it signs nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<String>,
}

/// The signing keys that are published.
#[derive(Serialize, ToSchema)]
pub struct SigningKeys {
    /// The current one, the next one, and those that retired within the last day.
    items: Vec<ShownSigningKey>,
}

fn shown(state: &World) -> Json<SigningKeys> {
    let items = state.signing_keys.iter().map(|(kid, key)| ShownSigningKey {
        kid: base64url(&kid.0),
        phase: key.phase.code().into(),
        made_at: shown::time(key.made),
        current_since: match key.phase {
            KeyPhase::Current { since } => Some(shown::time(since)),
            _ => None,
        },
        retired_at: match key.phase {
            KeyPhase::Retired { at } => Some(shown::time(at)),
            _ => None,
        },
    });
    let mut items: Vec<_> = items.collect();
    items.sort_by(|a, b| (&a.phase, &b.made_at).cmp(&(&b.phase, &a.made_at)));
    Json(SigningKeys { items })
}

/// The signing keys, without what is secret.
///
/// Who may: operate.
#[utoipa::path(get, path = "/v1/platform/signing-keys", operation_id = "listSigningKeys", tag = "Platform", security(("key" = [])),
    responses((status = 200, description = "The keys that are published.", body = SigningKeys)))]
pub async fn list(State(app): State<Arc<App>>, who: Who) -> Result<Json<SigningKeys>, Problem> {
    let state = app.state();
    may::check(&state, &who.0, Action::ReadPlatform, Thing::platform(), app.now())?;
    Ok(shown(&state))
}

/// Let the next key sign from now on.
///
/// What the present one signed stays good until it runs out; its public half stays published for
/// a day. Comity does this by itself every 90 days.
#[utoipa::path(post, path = "/v1/platform/signing-keys/rotate", operation_id = "rotateSigningKeys", tag = "Platform", security(("key" = [])),
    responses((status = 200, description = "The keys afterwards.", body = SigningKeys)))]
pub async fn rotate(State(app): State<Arc<App>>, who: Who) -> Result<Json<SigningKeys>, Problem> {
    let fresh = app.fresh_signing_key()?;
    Ok(shown(&who.run(&app, Command::RotateSigningKeys { fresh }).await?.state))
}

/// A key may be in foreign hands: take it away at once.
///
/// Nothing that it signed counts here any more, and it leaves the published set. If it was the
/// current one, the next one signs from now on.
#[utoipa::path(post, path = "/v1/platform/signing-keys/{kid}/compromise", operation_id = "compromiseSigningKey", tag = "Platform", security(("key" = [])),
    params(("kid" = String, Path, description = "The key's thumbprint, as the list shows it.")),
    responses((status = 200, description = "The keys afterwards.", body = SigningKeys)))]
pub async fn compromise(
    State(app): State<Arc<App>>,
    who: Who,
    Path(kid): Path<String>,
) -> Result<Json<SigningKeys>, Problem> {
    // What is no thumbprint is no key's: the kernel says so to whom it may concern.
    let kid = jws::kid(&kid).unwrap_or(Digest32([0; 32]));
    let fresh = app.fresh_signing_key()?;
    Ok(shown(&who.run(&app, Command::CompromiseSigningKey { kid, fresh }).await?.state))
}

/// A public key on P-256 for ES256 (RFC 7517, RFC 7518 section 6.2.1).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClientJwk {
    /// `EC`.
    #[schema(example = "EC")]
    kty: String,
    /// `P-256`.
    #[schema(example = "P-256")]
    crv: String,
    /// The first coordinate: 32 bytes in base64url without padding.
    #[schema(example = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4")]
    x: String,
    /// The second.
    #[schema(example = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM")]
    y: String,
    /// The thumbprint by which Comity knows it (RFC 7638). Not read: an assertion may carry
    /// whatever `kid` the application gave the key.
    #[serde(default, deserialize_with = "whatever")]
    #[schema(read_only)]
    kid: String,
    /// Never sent: a private key has no business here, and is refused.
    #[serde(default, skip_serializing)]
    #[schema(write_only)]
    d: Option<String>,
}

/// Passes over what is there.
fn whatever<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    serde::de::IgnoredAny::deserialize(from).map(|_| String::new())
}

/// A JWK set (RFC 7517, section 5).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientKeys {
    /// At most eight; none leaves the application with its secrets only.
    keys: Vec<ClientJwk>,
}

fn public_key(jwk: &ClientJwk) -> Result<PublicKey, Problem> {
    if jwk.kty != "EC" || jwk.crv != "P-256" {
        return Err(Problem::field("keys", "must be keys of kty EC and crv P-256, for ES256"));
    }
    if jwk.d.is_some() {
        return Err(Problem::field("keys", "must not hold a private key; make a new pair"));
    }
    let key = jws::kid(&jwk.x).zip(jws::kid(&jwk.y)).map(|(x, y)| PublicKey { x, y });
    let key = key.filter(jws::is_key);
    key.ok_or_else(|| Problem::field("keys", "must hold points of the curve in x and y"))
}

/// Set by which keys an application proves itself (`private_key_jwt`, RFC 7523).
///
/// The set replaces the one before. Members that RFC 7517 knows and that say nothing here (`use`,
/// `alg`, `kid`, `key_ops`) are passed over.
#[utoipa::path(put, path = "/v1/platform/applications/{code}/client-keys", operation_id = "setClientKeys", tag = "Platform", security(("key" = [])),
    extensions(("x-refusals" = json!("taken"))),
    params(("code" = String, Path, description = "The application's code.")),
    request_body = ClientKeys,
    responses((status = 200, description = "The set as it is now.", body = ClientKeys)))]
pub async fn set_client_keys(
    State(app): State<Arc<App>>,
    who: Who,
    Path(code): Path<String>,
    Body(body): Body<ClientKeys>,
) -> Result<Json<ClientKeys>, Problem> {
    let state = app.state();
    may::check(&state, &who.0, Action::SetClientKeys, Thing::platform(), app.now())?;
    let keys = body.keys.iter().map(public_key).collect::<Result<Vec<_>, _>>()?;
    let found = state.applications.iter().find(|(_, a)| *a.code == *code).map(|(id, _)| id);
    let application = found.ok_or_else(Problem::not_found)?;
    let done = who.run(&app, Command::SetClientKeys { application, keys }).await?;
    let known = done.state.applications.get(application).map(|a| a.client_keys.clone());
    let jwk = |key: &PublicKey| {
        let (x, y) = key.coordinates();
        let kid = base64url(&key.thumbprint().0);
        ClientJwk { kty: "EC".into(), crv: "P-256".into(), x, y, kid, d: None }
    };
    Ok(Json(ClientKeys { keys: known.unwrap_or_default().iter().map(jwk).collect() }))
}
