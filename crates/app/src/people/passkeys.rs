//! Passkeys: what webauthn-rs is asked, and what is kept of a ceremony while it lasts.
//!
//! A ceremony is kept nowhere: its state goes to the browser and back, sealed, so that any node ends
//! what another began. What that would allow to be shown twice is used up in the log: a passkey knows
//! when the last ceremony it ended had begun (`domain/factor.rs`).

use comity_domain::ids::{Digest32, PersonId};
use comity_domain::time::{Instant, MINUTE};
use webauthn_rs::prelude::{
    AuthenticationResult, DiscoverableAuthentication, DiscoverableKey, Passkey,
    PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Url, Uuid, Webauthn,
    WebauthnBuilder,
};

/// How long a ceremony lasts.
pub const CEREMONY_LASTS: i64 = 5 * MINUTE;

/// The relying party: this installation under its own name.
pub struct Passkeys(Option<Webauthn>);

impl std::fmt::Debug for Passkeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Passkeys").field(&self.0.is_some()).finish()
    }
}

/// A passkey that was made.
#[derive(Debug)]
pub struct Made {
    /// The digest of its identifier.
    pub credential: Digest32,
    /// What is kept of it.
    pub stored: Vec<u8>,
}

/// What a ceremony has proven.
#[derive(Debug, Clone, Copy)]
pub struct Proven {
    /// How often the passkey has signed, as it says.
    pub counter: u32,
}

impl Passkeys {
    /// For whoever is reached under `issuer`. Passkeys belong to a host name: without one there are
    /// none.
    #[must_use]
    pub fn new(issuer: &str) -> Self {
        let made = || {
            let issuer = Url::parse(issuer).ok()?;
            let origin = Url::parse(&issuer.origin().ascii_serialization()).ok()?;
            let builder = WebauthnBuilder::new(issuer.domain()?, &origin).ok()?;
            builder.rp_name("Comity").build().ok()
        };
        Self(made())
    }

    /// Whether there are any here.
    #[must_use]
    pub fn are_possible(&self) -> bool {
        self.0.is_some()
    }

    /// Begins to make one: what the browser is asked, and what is needed to go on.
    #[must_use]
    pub fn begin_making(
        &self,
        person: PersonId,
        (email, name): (&str, &str),
        known: &[Vec<u8>],
    ) -> Option<(serde_json::Value, Vec<u8>)> {
        let known = known.iter().filter_map(|k| serde_json::from_slice::<Passkey>(k).ok());
        let known = known.map(|k| k.cred_id().clone()).collect();
        let user = Uuid::from_u128(person.0);
        let begun = self.0.as_ref()?.start_passkey_registration(user, email, name, Some(known));
        let (asked, state) = begun.ok()?;
        let mut asked = serde_json::to_value(asked).ok()?;
        // One that is found without a user name, where the authenticator can keep it.
        if let Some(chosen) = asked.pointer_mut("/publicKey/authenticatorSelection") {
            chosen["residentKey"] = "preferred".into();
        }
        Some((asked, serde_json::to_vec(&state).ok()?))
    }

    /// Ends it; `None` if it was not what was asked.
    #[must_use]
    pub fn end_making(&self, state: &[u8], answer: serde_json::Value) -> Option<Made> {
        let state: PasskeyRegistration = serde_json::from_slice(state).ok()?;
        let answer: RegisterPublicKeyCredential = serde_json::from_value(answer).ok()?;
        let made = self.0.as_ref()?.finish_passkey_registration(&answer, &state).ok()?;
        let credential = Digest32::of(made.cred_id());
        Some(Made { credential, stored: serde_json::to_vec(&made).ok()? })
    }

    /// Begins a sign-in, of whomever.
    #[must_use]
    pub fn begin(&self) -> Option<(serde_json::Value, Vec<u8>)> {
        let (asked, state) = self.0.as_ref()?.start_discoverable_authentication().ok()?;
        let mut asked = serde_json::to_value(asked).ok()?;
        // Whether it is offered beside a field is the page's choice.
        if let Some(asked) = asked.as_object_mut() {
            asked.remove("mediation");
        }
        Some((asked, serde_json::to_vec(&state).ok()?))
    }

    /// Ends it by the passkey that is stored; `None` if it did not sign just this, here, with its
    /// user verified.
    #[must_use]
    pub fn end(&self, state: &[u8], answer: &Answer, stored: &[u8]) -> Option<Proven> {
        let state: DiscoverableAuthentication = serde_json::from_slice(state).ok()?;
        let key: Passkey = serde_json::from_slice(stored).ok()?;
        let key = DiscoverableKey::from(key);
        let done = self.0.as_ref()?.finish_discoverable_authentication_v2(&answer.0, state, key);
        let done: AuthenticationResult = done.ok()?;
        done.user_verified().then(|| Proven { counter: done.counter() })
    }
}

/// What an authenticator answered.
#[derive(Debug)]
pub struct Answer(PublicKeyCredential);

impl Answer {
    /// Reads it.
    #[must_use]
    pub fn read(answer: serde_json::Value) -> Option<Self> {
        serde_json::from_value(answer).ok().map(Self)
    }

    /// The digest of the passkey's identifier.
    #[must_use]
    pub fn credential(&self) -> Digest32 {
        Digest32::of(self.0.get_credential_id())
    }

    /// Whose it says that it is, if it says so.
    #[must_use]
    pub fn person(&self) -> Option<PersonId> {
        let user = self.0.get_user_unique_id()?;
        Uuid::from_slice(user).ok().map(|u| PersonId(u.as_u128()))
    }
}

/// Puts a time before what is sealed.
#[must_use]
pub fn dated(at: Instant, state: &[u8]) -> Vec<u8> {
    [at.0.to_be_bytes().as_slice(), state].concat()
}

/// Takes it off again.
#[must_use]
pub fn undated(bytes: &[u8]) -> Option<(Instant, &[u8])> {
    let (at, rest) = bytes.split_first_chunk::<8>()?;
    Some((Instant(i64::from_be_bytes(*at)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_belong_to_a_host_name() {
        for (issuer, possible) in [
            ("https://access.example", true),
            ("https://access.example/comity", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.1:8080", false),
            ("nothing", false),
        ] {
            assert_eq!(Passkeys::new(issuer).are_possible(), possible, "{issuer}");
        }
    }
}
