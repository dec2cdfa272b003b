//! Signing keys: what Comity signs its tokens and messages with, and how others check that.
//!
//! `next` → `current` → `retired`. The next one is published before it signs anything, so that
//! whoever keeps the published set for a while knows it in time. A retired one signs nothing more
//! and stays published for [`KEPT_AFTER_END`], until everything it signed is out of date. One that
//! may be in foreign hands leaves at once. The log holds public halves only; the private half is
//! sealed beside it, and is deleted with the retirement.

use serde::{Deserialize, Serialize};

use crate::command::{Caller, Sealed};
use crate::draft::{Draft, SideWrite};
use crate::event::Event;
use crate::ids::Digest32;
use crate::may::{self, Action, Thing};
use crate::refusal::Refusal;
use crate::state::State;
use crate::time::{DAY, Instant};

/// How long a key signs before the next one takes over.
pub const SIGNS_FOR: i64 = 90 * DAY;
/// How long a retired key stays published. What it signed lives a minute, or is sent again for
/// some hours; the rest is for those who read late.
pub const KEPT_AFTER_END: i64 = DAY;

/// The public half of a key on P-256, for ES256 (RFC 7518, section 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    /// The first coordinate, big-endian.
    pub x: Digest32,
    /// The second.
    pub y: Digest32,
}

impl PublicKey {
    /// The members of the JWK (RFC 7517): `x` and `y` in base64url without padding.
    #[must_use]
    pub fn coordinates(&self) -> (String, String) {
        (base64url(&self.x.0), base64url(&self.y.0))
    }

    /// The JWK thumbprint (RFC 7638), by which the key is known.
    #[must_use]
    pub fn thumbprint(&self) -> Digest32 {
        let (x, y) = self.coordinates();
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Digest32::of(canonical.as_bytes())
    }
}

/// Thirty-two bytes as RFC 4648, section 5, writes them, without padding: how a key's identifier
/// stands in a token.
#[must_use]
pub fn base64url(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |n: usize| bytes.get(n / 8).map_or(0, |b| usize::from(b >> (7 - n % 8) & 1));
    (0..43)
        .map(|d| (0..6).fold(0, |value, b| value << 1 | bit(d * 6 + b)))
        .filter_map(|digit| DIGITS.get(digit).copied().map(char::from))
        .collect()
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// Its public half.
    pub public: PublicKey,
    /// When it was made.
    pub made: Instant,
    /// Where it stands.
    pub phase: KeyPhase,
}

/// Where a signing key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyPhase {
    /// Published; signs nothing yet.
    Next,
    /// Signs.
    Current {
        /// Since when.
        since: Instant,
    },
    /// Signs nothing more; what it signed is still good.
    Retired {
        /// Since when.
        at: Instant,
    },
}

impl KeyPhase {
    /// As it is written.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current { .. } => "current",
            Self::Retired { .. } => "retired",
        }
    }
}

/// A key made at the edge: its private half is sealed already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshSigningKey {
    /// The public half.
    pub public: PublicKey,
    /// The private half, sealed for this key's place.
    pub sealed: Sealed,
}

impl State {
    /// The key that signs now.
    #[must_use]
    pub fn signing_key(&self) -> Option<(Digest32, SigningKey)> {
        self.key_in(|phase| matches!(phase, KeyPhase::Current { .. }))
    }

    /// The key that takes over next.
    #[must_use]
    pub fn next_signing_key(&self) -> Option<(Digest32, SigningKey)> {
        self.key_in(|phase| phase == KeyPhase::Next)
    }

    fn key_in(&self, phase: impl Fn(KeyPhase) -> bool) -> Option<(Digest32, SigningKey)> {
        self.signing_keys.iter().find(|(_, k)| phase(k.phase)).map(|(kid, k)| (*kid, *k))
    }

    /// Whether a key is missing, or has signed for long enough: [`crate::command::Command`]
    /// `TendSigningKeys` would do something.
    #[must_use]
    pub fn signing_keys_due(&self, now: Instant) -> bool {
        let old = |(_, key): (_, SigningKey)| match key.phase {
            KeyPhase::Current { since } => now.since(since) >= SIGNS_FOR,
            _ => false,
        };
        self.next_signing_key().is_none() || self.signing_key().is_none_or(old)
    }
}

/// Comity's own timer: makes what is missing, and rotates what has signed for long enough. On
/// several nodes the first one does it, and the others find nothing to do.
pub(crate) fn tend(
    d: &mut Draft<'_>,
    caller: &Caller,
    fresh: Vec<FreshSigningKey>,
) -> Result<(), Refusal> {
    may::system(caller)?;
    let mut fresh = fresh.into_iter();
    if d.state.next_signing_key().is_none() {
        make(d, fresh.next())?;
    }
    if d.state.signing_keys_due(d.now()) {
        take_over(d)?;
        make(d, fresh.next())?;
    }
    Ok(())
}

/// The operator's wish: the next key signs from now on.
pub(crate) fn rotate(
    d: &mut Draft<'_>,
    caller: &Caller,
    fresh: FreshSigningKey,
) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::RotateSigningKeys, Thing::platform(), d.now())?;
    take_over(d)?;
    make(d, Some(fresh))
}

/// The operator says that a key may be in foreign hands: it leaves at once, and so does what it
/// signed.
pub(crate) fn compromise(
    d: &mut Draft<'_>,
    caller: &Caller,
    kid: Digest32,
    fresh: FreshSigningKey,
) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::RotateSigningKeys, Thing::platform(), d.now())?;
    let known = *d.state.signing_keys.get(&kid).ok_or(Refusal::NotFound)?;
    if matches!(known.phase, KeyPhase::Current { .. }) && d.state.next_signing_key().is_none() {
        return Err(Refusal::WrongState("without a next key: try again in a minute"));
    }
    drop_key(d, kid);
    match known.phase {
        KeyPhase::Current { .. } => {
            take_over(d)?;
            make(d, Some(fresh))
        }
        KeyPhase::Next => make(d, Some(fresh)),
        KeyPhase::Retired { .. } => Ok(()),
    }
}

/// After a restore: the copy may have been read by others, and its keys with it.
pub(crate) fn restored(d: &mut Draft<'_>) {
    let all: Vec<Digest32> = d.state.signing_keys.keys().copied().collect();
    all.into_iter().for_each(|kid| drop_key(d, kid));
}

fn drop_key(d: &mut Draft<'_>, kid: Digest32) {
    d.emit(Event::SigningKeyRetired { kid, at_once: true });
    d.beside(SideWrite::DropSigningKey(kid));
}

fn make(d: &mut Draft<'_>, fresh: Option<FreshSigningKey>) -> Result<(), Refusal> {
    let fresh = fresh.ok_or(Refusal::WrongState("without a fresh key"))?;
    let kid = fresh.public.thumbprint();
    if d.state.signing_keys.contains_key(&kid) {
        return Err(Refusal::Taken("key"));
    }
    d.emit(Event::SigningKeyMade { kid, public: fresh.public });
    d.beside(SideWrite::SigningKey(kid, fresh.sealed));
    Ok(())
}

fn take_over(d: &mut Draft<'_>) -> Result<(), Refusal> {
    let (kid, _) = d
        .state
        .next_signing_key()
        .ok_or(Refusal::WrongState("without a next key: try again in a minute"))?;
    if let Some((old, _)) = d.state.signing_key() {
        d.emit(Event::SigningKeyRetired { kid: old, at_once: false });
        d.beside(SideWrite::DropSigningKey(old));
    }
    d.emit(Event::SigningKeyCurrent { kid });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The EC key of RFC 7517, appendix A.1, whose coordinates are known; the thumbprint is that
    /// of the rule of RFC 7638 applied by hand.
    #[test]
    fn a_public_key_is_written_as_rfc_7517_writes_it() {
        let x = "30a0424cd21c2944838a2d75c92b37e76ea20d9f00893a3b4eee8a3c0aafec3e".parse().unwrap();
        let y = "e04b65e92456d9888b52b379bdfbd51ee869ef1f0fc65b6659695b6cce081723".parse().unwrap();
        let key = PublicKey { x, y };
        let (x, y) = key.coordinates();
        assert_eq!(x, "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4");
        assert_eq!(y, "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
        let by_hand = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        assert_eq!(key.thumbprint(), Digest32::of(by_hand.as_bytes()));
    }
}
