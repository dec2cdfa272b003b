//! Checking a JWT access token offline (RFC 9068). It may go on for up to 60 s after an ending.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderValue};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use crate::clock;
use crate::decision::Mode;
use crate::transport::{Call, Http, WrongSetting, address};

/// The longest life of a token, and how far clocks may be apart, in seconds.
const LONGEST: f64 = 60.0;
const LEEWAY: f64 = 5.0;
/// Keys are fetched anew after this time, and not used after that one.
const FRESH: Duration = Duration::from_secs(300);
const USABLE: Duration = Duration::from_secs(600);
/// An unknown key, or a failure, makes us ask again, but not more often than this.
const AGAIN: Duration = Duration::from_secs(10);
const MOST_KEYS: usize = 16;

/// What a token in force says.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct VerifiedToken {
    /// Who acts towards your product.
    pub subject: String,
    /// The real person.
    pub actor: String,
    /// The partner session.
    pub session: String,
    /// The customer, by Comity's identifier. Whatever you read or change must belong to it.
    pub organisation: String,
    /// The grant that the session stands on.
    pub grant: String,
    /// In what way the partner is inside.
    pub mode: Mode,
    /// The permissions.
    pub scope: Vec<String>,
    /// Everything that it says.
    pub claims: Map<String, Value>,
}

/// Why a token was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefused {
    /// No JWT, or one with an extension that nobody here knows.
    Malformed,
    /// Not ES256 or `EdDSA`, or not the one that its key is for.
    Algorithm,
    /// Not an access token.
    Type,
    /// No key of the issuer has that name.
    UnknownKey,
    /// Not signed by that key.
    Signature,
    /// By another issuer.
    Issuer,
    /// For another application.
    Audience,
    /// Over.
    Expired,
    /// Not yet in force.
    NotYet,
    /// Lives longer than any token of Comity's.
    TooLong,
    /// Something that every token says is missing.
    Claims,
    /// The keys cannot be had.
    Unavailable,
}

impl fmt::Display for TokenRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token refused: {self:?}")
    }
}

impl std::error::Error for TokenRefused {}

/// Checks tokens of one issuer for one audience. Make one and clone it: the clones share the keys.
#[derive(Debug, Clone)]
pub struct Verifier {
    issuer: String,
    audience: String,
    http: Http,
    keys: Arc<Mutex<Keys>>,
}

#[derive(Default)]
struct Keys {
    by_name: BTreeMap<String, (Algorithm, DecodingKey)>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.keys()).finish()
    }
}

impl Verifier {
    /// `issuer`: exactly as Comity's metadata says it; https, or on this machine.
    ///
    /// # Errors
    ///
    /// If that is not so, or the audience is empty.
    pub fn new(issuer: &str, audience: &str) -> Result<Self, WrongSetting> {
        address(issuer, false)?;
        if audience.is_empty() {
            return Err(WrongSetting("the audience must not be empty"));
        }
        let http = Http::new(Duration::from_secs(2))?;
        let (issuer, audience) = (issuer.to_owned(), audience.to_owned());
        Ok(Self { issuer, audience, http, keys: Arc::default() })
    }

    /// What a token in force says.
    ///
    /// # Errors
    ///
    /// If it is not in force, or nobody can tell.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, TokenRefused> {
        self.verify_at(token, clock::now()).await
    }

    /// The same at another time, in seconds since 1970, UTC.
    ///
    /// # Errors
    ///
    /// If it is not in force, or nobody can tell.
    pub async fn verify_at(&self, token: &str, now: u64) -> Result<VerifiedToken, TokenRefused> {
        let parts: Vec<&str> = token.split('.').collect();
        let &[head, _, signature] = parts.as_slice() else { return Err(TokenRefused::Malformed) };
        if token.len() > 8192 || signature.is_empty() {
            return Err(TokenRefused::Malformed);
        }
        let head = BASE64_URL_SAFE_NO_PAD.decode(head).map_err(|_| TokenRefused::Malformed)?;
        let head: Value = serde_json::from_slice(&head).map_err(|_| TokenRefused::Malformed)?;
        let head = head.as_object().ok_or(TokenRefused::Malformed)?;
        let word = |name| head.get(name).and_then(Value::as_str).unwrap_or_default();
        let algorithm = match word("alg") {
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(TokenRefused::Algorithm),
        };
        let typ = word("typ").to_ascii_lowercase();
        if typ != "at+jwt" && typ != "application/at+jwt" {
            return Err(TokenRefused::Type);
        }
        if head.contains_key("crit") || word("kid").is_empty() {
            return Err(TokenRefused::Malformed);
        }
        let (wanted, key) = self.key(word("kid")).await?;
        // The key says which algorithm it is for; the token is not asked.
        if wanted != algorithm {
            return Err(TokenRefused::Algorithm);
        }
        // Only the signature: every claim is judged below, by the same rules in each client.
        let mut validation = Validation::new(wanted);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation);
        self.judged(claims.map_err(|_| TokenRefused::Signature)?.claims, now)
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    fn judged(&self, claims: Map<String, Value>, now: u64) -> Result<VerifiedToken, TokenRefused> {
        let now = now as f64;
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(TokenRefused::Issuer);
        }
        let ours = |v: &Value| v.as_str() == Some(self.audience.as_str());
        let ours = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        };
        if !ours {
            return Err(TokenRefused::Audience);
        }
        let seconds =
            |name| claims.get(name).map(|v: &Value| v.as_f64().ok_or(TokenRefused::Claims));
        let expires = seconds("exp").ok_or(TokenRefused::Claims)??;
        let issued = seconds("iat").ok_or(TokenRefused::Claims)??;
        let begins = seconds("nbf").transpose()?.unwrap_or(issued);
        if now >= expires + LEEWAY {
            return Err(TokenRefused::Expired);
        }
        if expires > now + LONGEST + LEEWAY || expires - issued > LONGEST + LEEWAY {
            return Err(TokenRefused::TooLong);
        }
        if issued > now + LEEWAY || begins > now + LEEWAY {
            return Err(TokenRefused::NotYet);
        }
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str).filter(|t| !t.is_empty());
            text.map(str::to_owned).ok_or(TokenRefused::Claims)
        };
        text(claims.get("jti"))?;
        text(claims.get("client_id"))?;
        let scope = claims.get("scope").and_then(Value::as_str).unwrap_or_default();
        Ok(VerifiedToken {
            subject: text(claims.get("sub"))?,
            actor: text(claims.get("act").and_then(|a| a.get("sub")))?,
            session: text(claims.get("sid"))?,
            organisation: text(claims.get("urn:comity:organisation"))?,
            grant: text(claims.get("urn:comity:grant"))?,
            mode: Mode::named(&text(claims.get("urn:comity:mode"))?).ok_or(TokenRefused::Claims)?,
            scope: scope.split_whitespace().map(str::to_owned).collect(),
            claims,
        })
    }

    /// The key of that name. Whoever comes while the keys are being fetched waits for them.
    async fn key(&self, name: &str) -> Result<(Algorithm, DecodingKey), TokenRefused> {
        let mut keys = self.keys.lock().await;
        let within = |at: Option<Instant>, span| {
            at.is_some_and(|at| clock::left(at + span) > Duration::ZERO)
        };
        let known = within(keys.fetched, FRESH) && keys.by_name.contains_key(name);
        if !known && !within(keys.tried, AGAIN) {
            keys.tried = Some(clock::instant());
            // A failure is no reason to forget keys that may still be used.
            if let Some(by_name) = self.fetch().await {
                keys.by_name = by_name;
                keys.fetched = Some(clock::instant());
            }
        }
        if !within(keys.fetched, USABLE) {
            return Err(TokenRefused::Unavailable);
        }
        keys.by_name.get(name).cloned().ok_or(TokenRefused::UnknownKey)
    }

    async fn fetch(&self) -> Option<BTreeMap<String, (Algorithm, DecodingKey)>> {
        let issuer = Url::parse(&self.issuer).ok()?;
        let path = Some(issuer.path()).filter(|p| *p != "/").unwrap_or_default();
        let origin = issuer.origin();
        let known = "/.well-known/oauth-authorization-server";
        let metadata = self.get(format!("{}{known}{path}", origin.ascii_serialization())).await?;
        // The keys of this issuer come from where the issuer is, and from nowhere else.
        let place = metadata.get("jwks_uri")?.as_str()?;
        let same = metadata.get("issuer")?.as_str()? == self.issuer
            && Url::parse(place).is_ok_and(|url| url.origin() == origin);
        same.then_some(())?;
        let set = self.get(place.to_owned()).await?;
        let keys = set.get("keys")?.as_array()?.iter().take(MOST_KEYS);
        Some(keys.filter_map(imported).collect())
    }

    async fn get(&self, url: String) -> Option<Value> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let call = Call { method: Method::GET, url, headers, body: Vec::new() };
        let answer = self.http.ask(call).await.ok()?;
        (answer.status == 200).then_some(answer.body)
    }
}

/// A public key for ES256 or `EdDSA`; anything else in the set is passed over.
fn imported(jwk: &Value) -> Option<(String, (Algorithm, DecodingKey))> {
    let word = |name| jwk.get(name).and_then(Value::as_str);
    matches!(word("use"), None | Some("sig")).then_some(())?;
    let key = match (word("kty")?, word("crv")?, word("alg")) {
        ("EC", "P-256", None | Some("ES256")) => {
            let key = DecodingKey::from_ec_components(word("x")?, word("y")?).ok()?;
            (Algorithm::ES256, key)
        }
        ("OKP", "Ed25519", None | Some("EdDSA" | "Ed25519")) => {
            (Algorithm::EdDSA, DecodingKey::from_ed_components(word("x")?).ok()?)
        }
        _ => return None,
    };
    Some((word("kid")?.to_owned(), key))
}
