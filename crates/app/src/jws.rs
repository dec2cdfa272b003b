//! Signed tokens as bytes: JWS in compact form (RFC 7515), ES256 (RFC 7518, section 3.4) and
//! nothing else.
//!
//! A header says which key, and is believed in nothing more: no algorithm is chosen by it, no
//! address in it is visited, no key in it is used (T19).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use comity_domain::ids::Digest32;
use comity_domain::signing::PublicKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest token that is looked at, in bytes.
pub const MOST_BYTES: usize = 8 * 1024;

/// A private key on P-256. Shows nothing of itself.
pub struct Pair {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Pair {
    /// A new one, from the operating system's randomness. `None` if there is none to be had.
    #[must_use]
    pub fn generate() -> Option<Self> {
        Self::of(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?)
    }

    /// Reads what [`Self::to_pkcs8`] wrote.
    #[must_use]
    pub fn from_pkcs8(bytes: &[u8]) -> Option<Self> {
        Self::of(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).ok()?)
    }

    /// The private key, to be sealed (PKCS #8, RFC 5208).
    #[must_use]
    pub fn to_pkcs8(&self) -> Option<Vec<u8>> {
        self.pair.to_pkcs8v1().ok().map(|document| document.as_ref().to_vec())
    }

    fn of(pair: EcdsaKeyPair) -> Option<Self> {
        // An uncompressed point: 04, x, y.
        let (first, point) = pair.public_key().as_ref().split_first()?;
        let (x, y) = point.split_first_chunk::<32>()?;
        let y: [u8; 32] = y.try_into().ok()?;
        let public = PublicKey { x: Digest32(*x), y: Digest32(y) };
        (*first == 4).then_some(Self { pair, public })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// A token over these claims. `None` if there is no randomness to sign with.
    #[must_use]
    pub fn sign(&self, header: &serde_json::Value, claims: &[u8]) -> Option<String> {
        let text = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        Some(format!("{text}.{}", B64.encode(signature.as_ref())))
    }
}

/// A token taken apart. Nothing of it is to be believed before [`Token::verified`].
#[derive(Debug)]
pub struct Token<'a> {
    header: Vec<u8>,
    claims: Vec<u8>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Three parts in base64url without padding, each in its only spelling.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MOST_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let read = |part: &str| B64.decode(part).ok();
        Some(Self {
            header: read(header)?,
            claims: read(claims)?,
            signed,
            signature: read(signature)?,
        })
    }

    /// The header, as far as it can be read as `H`.
    #[must_use]
    pub fn header<H: DeserializeOwned>(&self) -> Option<H> {
        serde_json::from_slice(&self.header).ok()
    }

    /// The claims, before anybody has looked at the signature: to find out whose key to try.
    #[must_use]
    pub fn unverified<C: DeserializeOwned>(&self) -> Option<C> {
        serde_json::from_slice(&self.claims).ok()
    }

    /// The claims, if this key signed them by ES256.
    #[must_use]
    pub fn verified<C: DeserializeOwned>(&self, key: &PublicKey) -> Option<C> {
        let point = [&[4u8][..], &key.x.0, &key.y.0].concat();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(self.signed.as_bytes(), &self.signature).ok()?;
        serde_json::from_slice(&self.claims).ok()
    }
}

/// The header of a token of our own: these three members and no other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnHeader {
    /// Always `ES256`.
    pub alg: String,
    /// What kind of token it is.
    pub typ: String,
    /// The thumbprint of the key.
    pub kid: String,
}

/// A thumbprint as it stands in `kid`.
#[must_use]
pub fn kid(text: &str) -> Option<Digest32> {
    let bytes: [u8; 32] = B64.decode(text).ok()?.try_into().ok()?;
    Some(Digest32(bytes))
}

/// Whether the coordinates lie on the curve, so that something could be signed by it.
#[must_use]
pub fn is_key(key: &PublicKey) -> bool {
    let point = [&[4u8][..], &key.x.0, &key.y.0].concat();
    aws_lc_rs::signature::ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok()
}
