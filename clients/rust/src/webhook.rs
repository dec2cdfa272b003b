//! Checking a webhook: Standard Webhooks, over the raw body.

use std::fmt;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::clock;

/// How far the clocks may be apart, in seconds.
const TOLERANCE: u64 = 300;

/// A delivery that is Comity's and is new.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// The same on every attempt: remember it for as long as you would act twice.
    pub id: String,
    /// When this attempt was signed, in seconds since 1970, UTC.
    pub timestamp: u64,
    /// The body, read as JSON.
    pub payload: Value,
}

/// Why a delivery was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookRefused {
    /// A header is missing, or there twice.
    Missing,
    /// Not in the form of Standard Webhooks, or not JSON.
    Malformed,
    /// Signed too long ago: perhaps somebody sends it again.
    TooOld,
    /// Signed in the future.
    TooNew,
    /// No signature by one of the secrets.
    Signature,
    /// One of the secrets is none: `whsec_` and 24 to 64 bytes in base64.
    Secret,
}

impl fmt::Display for WebhookRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "webhook refused: {self:?}")
    }
}

impl std::error::Error for WebhookRefused {}

/// Checks the signature of a delivery and returns what it says.
///
/// `body` must be the bytes as they came. With several secrets any one is enough, so that they can
/// be exchanged without a gap.
///
/// # Errors
///
/// If it is not to be believed.
pub fn verify_webhook(
    secrets: &[&str],
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Webhook, WebhookRefused> {
    verify_webhook_at(secrets, headers, body, clock::now())
}

/// The same at another time, in seconds since 1970, UTC.
///
/// # Errors
///
/// If it is not to be believed.
pub fn verify_webhook_at(
    secrets: &[&str],
    headers: &HeaderMap,
    body: &[u8],
    now: u64,
) -> Result<Webhook, WebhookRefused> {
    let keys = secrets.iter().map(|s| key(s)).collect::<Option<Vec<_>>>();
    let keys = keys.ok_or(WebhookRefused::Secret)?;
    let id = one(headers, "webhook-id")?;
    let sent = one(headers, "webhook-timestamp")?;
    let signatures = one(headers, "webhook-signature")?;
    let digits = sent.len() <= 12 && sent.bytes().all(|b| b.is_ascii_digit());
    if id.len() > 256 || !id.bytes().all(|b| b.is_ascii_graphic()) || !digits {
        return Err(WebhookRefused::Malformed);
    }
    let timestamp: u64 = sent.parse().map_err(|_| WebhookRefused::Malformed)?;
    if timestamp < now.saturating_sub(TOLERANCE) {
        return Err(WebhookRefused::TooOld);
    }
    if timestamp > now.saturating_add(TOLERANCE) {
        return Err(WebhookRefused::TooNew);
    }
    let given: Vec<Vec<u8>> = signatures
        .split(' ')
        .take(16)
        .filter_map(|s| BASE64_STANDARD.decode(s.strip_prefix("v1,")?).ok())
        .collect();
    let mut good = false;
    for key in keys {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| WebhookRefused::Secret)?;
        mac.update(format!("{id}.{sent}.").as_bytes());
        mac.update(body);
        let wanted = mac.finalize().into_bytes();
        for given in &given {
            good |= bool::from(wanted.as_slice().ct_eq(given));
        }
    }
    if !good {
        return Err(WebhookRefused::Signature);
    }
    let payload = serde_json::from_slice(body).map_err(|_| WebhookRefused::Malformed)?;
    Ok(Webhook { id: id.to_owned(), timestamp, payload })
}

fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, WebhookRefused> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) if !value.is_empty() => {
            value.to_str().map_err(|_| WebhookRefused::Malformed)
        }
        _ => Err(WebhookRefused::Missing),
    }
}

fn key(secret: &str) -> Option<Vec<u8>> {
    let text = secret.strip_prefix("whsec_")?;
    let key = BASE64_STANDARD.decode(text).ok()?;
    (24..=64).contains(&key.len()).then_some(key)
}
