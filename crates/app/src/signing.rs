//! Comity's own signature: keys made, opened, rotated; tokens signed, and read back.
//!
//! The log holds the public halves, the database the private ones, sealed. Every node opens the
//! one in force by itself, once.

use std::sync::Arc;

use comity_domain::command::{Caller, Command};
use comity_domain::ids::Digest32;
use comity_domain::signing::{FreshSigningKey, base64url};
use comity_domain::state::State;
use comity_store::Reader;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::app::{App, Failure};
use crate::jws::{self, OwnHeader, Pair, Token};
use crate::keys::Keys;

/// The key in force, opened. Shows nothing of its secret.
#[derive(Debug)]
pub struct Signer {
    kid: Digest32,
    pair: Pair,
}

impl Signer {
    /// The thumbprint of the key (RFC 7638), as it stands in the header.
    #[must_use]
    pub fn kid(&self) -> String {
        base64url(&self.kid.0)
    }

    /// Opens the key that is in force in `state`. Blocking.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] while there is no key, or it has just been replaced.
    pub(crate) fn open(state: &State, reader: &Reader, keys: &Keys) -> Result<Self, Failure> {
        let none = Failure::Unavailable("there is no signing key yet");
        let (kid, _) = state.signing_key().ok_or(none)?;
        let gone = Failure::Unavailable("the signing key has just been replaced");
        let sealed = reader.signing_key(kid)?.ok_or(gone)?;
        let plain = keys.open_sealed(&key_place(kid), &sealed);
        let pair = plain.and_then(|plain| Pair::from_pkcs8(&plain));
        let pair = pair.filter(|pair| pair.public().thumbprint() == kid);
        let other = || Failure::Broken("the signing key does not open with this key file".into());
        Ok(Self { kid, pair: pair.ok_or_else(other)? })
    }

    /// Whether its key is the one in force in `state`.
    #[must_use]
    pub fn is_in_force(&self, state: &State) -> bool {
        state.signing_key().is_some_and(|(kid, _)| kid == self.kid)
    }

    /// Signs claims as a token of this `typ`: `at+jwt` for an access token (RFC 9068),
    /// `secevent+jwt` for a security event (RFC 8417).
    ///
    /// # Errors
    /// [`Failure::Broken`] if they are no JSON, or there is no randomness to sign with.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, Failure> {
        let claims = serde_json::to_vec(claims).map_err(|e| Failure::Broken(e.to_string()))?;
        let header = json!({ "alg": "ES256", "typ": typ, "kid": self.kid() });
        let signed = self.pair.sign(&header, &claims);
        signed.ok_or_else(|| Failure::Broken("nothing can be signed".into()))
    }
}

/// A public key as others read it (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the members of the RFC
pub struct Jwk {
    pub kty: &'static str,
    pub crv: &'static str,
    pub x: String,
    pub y: String,
    pub alg: &'static str,
    #[serde(rename = "use")]
    pub usage: &'static str,
    pub kid: String,
}

/// What binds a sealed key to its place.
fn key_place(kid: Digest32) -> String {
    format!("signing_key/{kid}")
}

fn fresh(keys: &Keys) -> Result<FreshSigningKey, Failure> {
    let broken = || Failure::Broken("no signing key can be made".into());
    let pair = Pair::generate().ok_or_else(broken)?;
    let public = pair.public();
    let plain = pair.to_pkcs8().ok_or_else(broken)?;
    Ok(FreshSigningKey { public, sealed: keys.seal(&key_place(public.thumbprint()), &plain) })
}

impl App {
    /// Who signs now. Reads and opens the key when it has changed, and not on this thread.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] while there is no key, or it has just been replaced.
    pub async fn signer(self: &Arc<Self>) -> Result<Arc<Signer>, Failure> {
        if let Some(open) = self.signer_at_hand() {
            return Ok(open);
        }
        let app = self.clone();
        let opened = tokio::task::spawn_blocking(move || app.signer_blocking()).await;
        opened.map_err(|e| Failure::Broken(e.to_string()))?
    }

    /// The same for a thread that may block.
    ///
    /// # Errors
    /// As [`Self::signer`].
    pub fn signer_blocking(&self) -> Result<Arc<Signer>, Failure> {
        if let Some(open) = self.signer_at_hand() {
            return Ok(open);
        }
        let signer = Arc::new(Signer::open(&self.state(), self.reader(), self.keys())?);
        self.signer.store(Some(signer.clone()));
        Ok(signer)
    }

    fn signer_at_hand(&self) -> Option<Arc<Signer>> {
        let (kid, _) = self.state().signing_key()?;
        self.signer.load_full().filter(|open| open.kid == kid)
    }

    /// The claims of a token that this installation signed, of this `typ` and by a key that is
    /// published. Whether it is still in time, and for whom it is, is the caller's to judge.
    #[must_use]
    pub fn signed_here<C: DeserializeOwned>(&self, token: &str, typ: &str) -> Option<C> {
        let parsed = Token::parse(token)?;
        let header: OwnHeader = parsed.header()?;
        if header.alg != "ES256" || header.typ != typ {
            return None;
        }
        let state = self.state();
        let key = state.signing_keys.get(&jws::kid(&header.kid)?)?;
        parsed.verified(&key.public)
    }

    /// The keys that are published: the next one too, so that whoever keeps the set for a while
    /// knows it in time.
    #[must_use]
    pub fn jwks(&self) -> Vec<Jwk> {
        let state = self.state();
        let jwk = |(kid, key): (&Digest32, &comity_domain::signing::SigningKey)| {
            let (x, y) = key.public.coordinates();
            let kid = base64url(&kid.0);
            Jwk { kty: "EC", crv: "P-256", x, y, alg: "ES256", usage: "sig", kid }
        };
        state.signing_keys.iter().map(jwk).collect()
    }

    /// Makes the signing keys that are missing, and rotates what has signed for long enough. Says
    /// whether anything was to do. For a start, and for a timer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn tend_signing_keys(&self) -> Result<bool, Failure> {
        if !self.state().signing_keys_due(self.now()) {
            return Ok(false);
        }
        let fresh = vec![fresh(self.keys())?, fresh(self.keys())?];
        let command = Command::TendSigningKeys { fresh };
        Ok(self.run(&Caller::system(), command).await?.row.is_some())
    }

    /// A new pair of keys for a command that needs one; the private half sealed.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn fresh_signing_key(&self) -> Result<FreshSigningKey, Failure> {
        fresh(self.keys())
    }
}
