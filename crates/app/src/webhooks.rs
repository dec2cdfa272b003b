//! Webhooks: their secrets, and how a push is signed (Standard Webhooks 1.0).

use comity_domain::command::{Caller, FreshSecret};
use comity_domain::ids::{Digest32, OrganisationId, WebhookId};
use comity_domain::refusal::Refusal;
use comity_domain::time::Instant;
use comity_domain::webhook::Webhook;
pub use comity_store::{Delivery, OutboxCounts, Status};
use comity_store::{Farewell, Reader, StoreError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::app::{App, Failure};
use crate::keys::{Keys, mac_of};
use crate::random;

/// What stands before the base64 of a secret.
const PREFIX: &str = "whsec_";

/// A webhook's secret in the clear: shown once, and used to sign. Its `Debug` form hides it.
pub struct Signing(String);

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signing(..)")
    }
}

impl Signing {
    fn fresh() -> Self {
        let secret: [u8; 32] = random::bytes();
        Self(format!("{PREFIX}{}", BASE64.encode(secret)))
    }

    /// The text, to hand out.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn sealed(&self, keys: &Keys) -> FreshSecret {
        let digest = Digest32::of(self.0.as_bytes());
        FreshSecret { digest, sealed: keys.seal(&place(digest), self.0.as_bytes()) }
    }

    /// The signature over a message, `v1,` and base64 of HMAC-SHA256.
    fn sign(&self, id: &str, seconds: i64, body: &str) -> Option<String> {
        let key = BASE64.decode(self.0.strip_prefix(PREFIX)?).ok()?;
        let mac = mac_of(&key, format!("{id}.{seconds}.{body}").as_bytes());
        Some(format!("v1,{}", BASE64.encode(mac)))
    }
}

/// What binds a sealed secret to its digest in the log.
fn place(digest: Digest32) -> String {
    format!("recipient_secret/{digest}")
}

/// The headers of a push: its identifier, when it is sent, and a signature by each secret that is in
/// force. `None` if none can be made.
///
/// # Errors
/// If the secrets cannot be read.
pub fn headers(
    reader: &Reader,
    keys: &Keys,
    (id, webhook): (WebhookId, &Webhook),
    message: &str,
    body: &str,
    now: Instant,
) -> Result<Option<Vec<(&'static str, String)>>, StoreError> {
    let seconds = now.0.div_euclid(1_000);
    let mut signatures = Vec::with_capacity(2);
    for digest in webhook.secrets(now) {
        let sealed = reader.recipient_secret(id.0, digest)?;
        let plain = sealed.and_then(|sealed| keys.open_sealed(&place(digest), &sealed));
        let secret = plain.and_then(|bytes| String::from_utf8(bytes).ok()).map(Signing);
        signatures.extend(secret.and_then(|s| s.sign(message, seconds, body)));
    }
    Ok(signed(message, seconds, signatures))
}

/// The same for an address that is told no more, by the secrets that were kept for it.
#[must_use]
pub fn farewell(
    keys: &Keys,
    of: &Farewell,
    message: &str,
    body: &str,
    now: Instant,
) -> Option<Vec<(&'static str, String)>> {
    let seconds = now.0.div_euclid(1_000);
    let signatures = of.secrets.iter().filter_map(|(digest, sealed)| {
        let plain = keys.open_sealed(&place(*digest), sealed)?;
        Signing(String::from_utf8(plain).ok()?).sign(message, seconds, body)
    });
    signed(message, seconds, signatures.collect())
}

fn signed(
    message: &str,
    seconds: i64,
    signatures: Vec<String>,
) -> Option<Vec<(&'static str, String)>> {
    (!signatures.is_empty()).then(|| {
        vec![
            ("content-type", "application/json".into()),
            ("webhook-id", message.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ]
    })
}

/// The identifier of a push: the same at every try, another for every event and recipient.
#[must_use]
pub fn message(id: WebhookId, seq: u64, index: u32) -> String {
    let own = id.to_string();
    format!("msg_{}_{seq}_{index}", own.trim_start_matches("whk_"))
}

impl App {
    /// A new secret for a webhook: what is shown once, and what is kept of it.
    #[must_use]
    pub fn fresh_webhook_secret(&self) -> (Signing, FreshSecret) {
        let secret = Signing::fresh();
        let kept = secret.sealed(self.keys());
        (secret, kept)
    }

    /// Whether a webhook of this owner may be told at this address. Who may not name one learns
    /// nothing about addresses.
    ///
    /// # Errors
    /// `invalid` naming `url`; what the caller is refused with.
    pub fn callable(
        &self,
        caller: &Caller,
        owner: Option<OrganisationId>,
        url: &str,
    ) -> Result<(), Failure> {
        use comity_domain::may::{self, Action, Thing};
        let (action, thing) = owner
            .map_or((Action::ManagePlatformWebhooks, Thing::platform()), |o| {
                (Action::ManageWebhooks, Thing::organisation(o))
            });
        may::check(&self.state(), caller, action, thing, self.now())?;
        self.outbound().check(url).map_err(|why| Refusal::invalid("url", why).into())
    }

    /// What is kept of a webhook's pushes, newest first. Blocking.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn deliveries(
        &self,
        webhook: WebhookId,
        only: Option<Status>,
        below: Option<(u64, u32)>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Failure> {
        Ok(self.reader().deliveries(webhook.0, only, below, limit)?)
    }

    /// How much waits for a webhook, and how much was given up. Blocking.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn outbox_counts(&self, webhook: WebhookId) -> Result<OutboxCounts, Failure> {
        Ok(self.reader().outbox_counts(Some(webhook.0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn t43_a_signature_is_that_of_standard_webhooks() {
        let secret = Signing("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
        let signed =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert!(!format!("{secret:?}").contains("MfK"));
    }
}
