//! How an application proves itself by a key of its own: a signed statement for one use
//! (RFC 7523, section 2.2, `private_key_jwt`).
//!
//! A statement is good for five minutes from when it was made, whatever it says itself: there are
//! libraries that write an hour into it. Each node remembers those that it has seen and takes
//! none that was made before the node started, so that one which somebody overheard opens nothing
//! on that node a second time. Nodes do not tell each other: on several, one could be shown again
//! to another node, within those five minutes; what it then opens is what its application may ask
//! anyway, and nobody's data.

use std::collections::HashMap;
use std::sync::Mutex;

use comity_domain::ids::{ApplicationId, Digest32};
use comity_domain::state::State;
use comity_domain::time::{Instant, MINUTE, SECOND};
use serde::Deserialize;

use crate::jws::{self, Token};

/// How long after it was made a statement is good at most, in milliseconds.
pub const MOST_LIFE: i64 = 5 * MINUTE;
/// How far a client's clock may be ahead, in milliseconds.
const SKEW: i64 = 30 * SECOND;
/// How many statements of one application are remembered: more within five minutes are refused,
/// and no other application notices.
const MOST_KNOWN: usize = 50_000;
/// How often those that are out of time are cleared away, at most, in milliseconds.
const SWEEP_EVERY: i64 = SECOND;

/// Why a statement proves nothing. For the operator's eyes; outside there is one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the sentences say it
pub enum Unproven {
    #[error("it is no signed statement")]
    Shape,
    #[error("it is not signed by ES256")]
    Algorithm,
    #[error("iss and sub do not both name the client")]
    Name,
    #[error("it is for somebody else")]
    Audience,
    #[error("it is out of time, or older than five minutes")]
    Time,
    #[error("no key of the client signed it")]
    Key,
    #[error("it was used before")]
    Used,
    #[error("too many statements are remembered")]
    Full,
}

/// What has been used.
#[derive(Debug)]
pub struct Assertions {
    started: Instant,
    used: Mutex<HashMap<ApplicationId, Used>>,
}

/// What one application has used, each until when it would be good.
#[derive(Debug)]
struct Used {
    until: HashMap<Digest32, Instant>,
    swept: Instant,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    /// Which key signed it: its thumbprint (RFC 7638), as it was told when it was registered.
    kid: Option<String>,
    /// An extension that has to be understood: none is.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Statement {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    iat: f64,
    jti: String,
}

/// Seconds as JWT writes them, fractions included, as an instant.
#[expect(clippy::cast_possible_truncation, reason = "what does not fit is out of time")]
fn instant(seconds: f64) -> Instant {
    Instant((seconds * 1_000.0) as i64)
}

impl Assertions {
    /// Nothing used yet.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self { started, used: Mutex::default() }
    }

    /// Which application this statement proves, for one of these audiences. `client` is what the
    /// request calls the client, if it does.
    ///
    /// # Errors
    /// See [`Unproven`].
    pub fn prove(
        &self,
        state: &State,
        now: Instant,
        statement: &str,
        client: Option<&str>,
        audiences: &[&str],
    ) -> Result<ApplicationId, Unproven> {
        let token = Token::parse(statement).ok_or(Unproven::Shape)?;
        let header: Header = token.header().ok_or(Unproven::Shape)?;
        if header.alg != "ES256" {
            return Err(Unproven::Algorithm);
        }
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        let known = matches!(kind.as_deref(), None | Some("jwt" | "client-authentication+jwt"));
        if header.crit.is_some() || !known {
            return Err(Unproven::Shape);
        }
        let said: Statement = token.unverified().ok_or(Unproven::Shape)?;
        if said.iss != said.sub || client.is_some_and(|client| client != said.sub) {
            return Err(Unproven::Name);
        }
        // For one server only: what is for several could be shown by one of them to another.
        let aud = match &said.aud {
            Audience::One(aud) => Some(aud.as_str()),
            Audience::Several(all) if all.len() == 1 => all.first().map(String::as_str),
            Audience::Several(_) => None,
        };
        if !aud.is_some_and(|aud| audiences.contains(&aud)) {
            return Err(Unproven::Audience);
        }
        let (exp, iat) = (instant(said.exp), instant(said.iat));
        let early = said.nbf.is_some_and(|nbf| instant(nbf) > now.plus(SKEW));
        let until = exp.min(iat.plus(MOST_LIFE));
        let in_time = now < until && iat <= now.plus(SKEW);
        // One made before this node started may have been used then.
        if early || !in_time || iat.plus(SECOND) <= self.started {
            return Err(Unproven::Time);
        }
        if said.jti.is_empty() || said.jti.len() > 256 {
            return Err(Unproven::Shape);
        }
        let (id, application) =
            state.applications.iter().find(|(_, a)| *a.code == *said.sub).ok_or(Unproven::Name)?;
        let keys = application.client_keys.as_slice();
        // The key that the header names, if it names one by its thumbprint; libraries that name it by
        // a word of their own, or not at all, have each of the few keys tried.
        let named = header.kid.as_deref().and_then(jws::kid);
        let named = named.and_then(|kid| keys.iter().find(|key| key.thumbprint() == kid));
        let tried = named.map_or(keys, std::slice::from_ref);
        if !tried.iter().any(|key| token.verified::<serde::de::IgnoredAny>(key).is_some()) {
            return Err(Unproven::Key);
        }
        self.use_once(id, Digest32::of(said.jti.as_bytes()), until, now).map(|()| id)
    }

    fn use_once(
        &self,
        application: ApplicationId,
        name: Digest32,
        until: Instant,
        now: Instant,
    ) -> Result<(), Unproven> {
        let mut used = self.used.lock().map_err(|_| Unproven::Full)?;
        let fresh = || Used { until: HashMap::new(), swept: now };
        let own = used.entry(application).or_insert_with(fresh);
        if now.since(own.swept) >= SWEEP_EVERY {
            own.until.retain(|_, until| now < *until);
            own.swept = now;
        }
        if own.until.get(&name).is_some_and(|before| now < *before) {
            return Err(Unproven::Used);
        }
        if own.until.len() >= MOST_KNOWN {
            return Err(Unproven::Full);
        }
        own.until.insert(name, until);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t46_one_application_uses_up_its_own_memory_and_nobody_elses() {
        let assertions = Assertions::new(Instant(0));
        let (greedy, other) = (ApplicationId(1), ApplicationId(2));
        let name = |n: usize| Digest32::of(&n.to_be_bytes());
        let (now, until) = (Instant(1_000), Instant(301_000));
        for n in 0..MOST_KNOWN {
            assertions.use_once(greedy, name(n), until, now).unwrap();
        }
        assert_eq!(assertions.use_once(greedy, name(MOST_KNOWN), until, now), Err(Unproven::Full));
        assert_eq!(assertions.use_once(greedy, name(7), until, now), Err(Unproven::Used));
        assertions.use_once(other, name(7), until, now).unwrap();
        // Once they are out of time there is room again, and the same name may come again.
        assertions.use_once(greedy, name(7), until.plus(MINUTE), until).unwrap();
        let again = assertions.use_once(greedy, name(7), until.plus(MINUTE), until);
        assert_eq!(again, Err(Unproven::Used));
    }
}
