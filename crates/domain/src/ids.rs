//! One type per identifier, and the only source of new ones.
//!
//! An identifier is 128 bits in the layout of a UUID version 7 (RFC 9562): 48 bits of UTC
//! milliseconds, then randomness. Outside it is written as a typed prefix and 26 characters of
//! lower-case Crockford base32, so that an identifier of one kind can never be taken for another.
//! In a form that only machines read (the snapshot's) it is its bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::time::Instant;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const NO_DIGIT: u8 = 0xff;
/// The digit of each byte: a replay reads millions of identifiers.
const DIGITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 32 {
        #[allow(clippy::indexing_slicing, reason = "both within bounds, and checked when compiled")]
        {
            table[ALPHABET[digit] as usize] = digit as u8;
        }
        digit += 1;
    }
    table
};

/// Text that is not an identifier of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an identifier of this kind")
    }
}

fn write_base32(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write as _;
    for place in (0..26).rev() {
        let digit = ((value >> (place * 5)) & 31) as usize;
        f.write_char(ALPHABET.get(digit).copied().map_or('0', char::from))?;
    }
    Ok(())
}

/// Reads exactly 26 lower-case base32 characters. One value has one spelling, so that an
/// identifier compares the same as text and as bytes.
fn read_base32(text: &str) -> Result<u128, NotAnId> {
    if text.len() != 26 || !text.starts_with(['0', '1', '2', '3', '4', '5', '6', '7']) {
        return Err(NotAnId);
    }
    let mut value = 0u128;
    for byte in text.bytes() {
        let digit = DIGITS.get(usize::from(byte)).copied().unwrap_or(NO_DIGIT);
        if digit == NO_DIGIT {
            return Err(NotAnId);
        }
        value = (value << 5) | u128::from(digit);
    }
    Ok(value)
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;
            /// The least value: the start of a range over this kind.
            pub const MIN: Self = Self(0);
            /// The greatest value: the end of a range over this kind.
            pub const MAX: Self = Self(u128::MAX);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                write_base32(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let rest = text.strip_prefix(concat!($prefix, "_")).ok_or(NotAnId)?;
                read_base32(rest).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    s.collect_str(self)
                } else {
                    s.serialize_bytes(&self.0.to_be_bytes())
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("an identifier that starts with ", $prefix, "_"))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
                    }
                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        let bytes = bytes.try_into().map_err(|_| E::custom("expected 16 bytes"))?;
                        Ok($name(u128::from_be_bytes(bytes)))
                    }
                }
                if d.is_human_readable() {
                    d.deserialize_str(Visitor)
                } else {
                    d.deserialize_bytes(Visitor)
                }
            }
        }
    };
}

id!(/// A tenant of the builder's product.
    OrganisationId, "org");
id!(/// A part of an organisation.
    UnitId, "unit");
id!(/// A thing inside a customer that can be shared on its own.
    AccountId, "acct");
id!(/// A human being.
    PersonId, "per");
id!(/// A role that a customer defined.
    RoleId, "role");
id!(/// A service of the builder's product.
    ApplicationId, "app");
id!(/// A key of the platform or of an application.
    KeyId, "key");
id!(/// A question "may we come in?".
    RequestId, "req");
id!(/// A customer's yes.
    GrantId, "grant");
id!(/// One stay of one person in one customer.
    SessionId, "sess");
id!(/// A person's own sign-in.
    SignInId, "sign");
id!(/// A passkey of a person.
    PasskeyId, "pkey");
id!(/// A customer's stop of one partner or one person.
    LockId, "lock");
id!(/// Comity's own stop of what broke an invariant.
    HaltId, "halt");
id!(/// An endpoint that is told what happened.
    WebhookId, "whk");
id!(/// An application's stream of signed events.
    StreamId, "strm");
id!(/// An assignment that waits for somebody from outside.
    InvitationId, "inv");
id!(/// One command, sent once, settled once.
    CommandId, "cmd");

/// The kernel's source of new identifiers and salts.
///
/// SHA-256 in counter mode over 32 bytes of the operating system's randomness that the edge hands
/// in: the kernel stays a function of its arguments, and a test that hands in the same seed gets
/// the same identifiers.
#[derive(Clone)]
pub struct Ids {
    seed: [u8; 32],
    count: u64,
    last: u128,
}

impl Ids {
    /// A source over `seed`, which must be fresh randomness outside tests.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, count: 0, last: 0 }
    }

    /// Sixteen bytes that nobody can guess.
    pub fn bytes(&mut self) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(b"comity/ids/1");
        hash.update(self.seed);
        hash.update(self.count.to_be_bytes());
        self.count = self.count.wrapping_add(1);
        let full: [u8; 32] = hash.finalize().into();
        let mut half = [0u8; 16];
        for (to, from) in half.iter_mut().zip(full) {
            *to = from;
        }
        half
    }

    /// A new identifier's value, dated `now`. Within one millisecond each is greater than the one
    /// before (RFC 9562, section 6.2, method 2), so that lists by identifier are in order of making.
    pub fn next(&mut self, now: Instant) -> u128 {
        let random = u128::from_be_bytes(self.bytes());
        let millis = u128::from(now.0.max(0).unsigned_abs()) & 0xffff_ffff_ffff;
        let tail = random & ((1 << 80) - 1);
        let tail = (tail & !(0xf << 76)) | (7 << 76); // version 7
        let tail = (tail & !(0b11 << 62)) | (0b10 << 62); // variant of RFC 9562
        let fresh = (millis << 80) | tail;
        let after_last = self.last.saturating_add(1 + (random >> 96));
        self.last = if fresh >> 80 > self.last >> 80 { fresh } else { after_last };
        self.last
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids(..)")
    }
}

/// Thirty-two bytes written as lower-case hexadecimal: digests, summaries, roots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest32(pub [u8; 32]);

impl Digest32 {
    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest32 {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NotAnId);
        }
        let mut out = [0u8; 32];
        let nibble =
            |b: u8| if b <= b'9' { b.wrapping_sub(b'0') } else { b.wrapping_sub(b'a' - 10) };
        for (to, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            if let [high, low] = pair {
                *to = (nibble(*high) << 4) | nibble(*low);
            }
        }
        Ok(Self(out))
    }
}

impl Serialize for Digest32 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Digest32 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            let bytes = <&'de [u8]>::deserialize(d)?;
            return bytes.try_into().map(Self).map_err(|_| de::Error::custom("expected 32 bytes"));
        }
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(|_| de::Error::custom("expected 64 lower-case hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_reads_back_and_no_other_spelling_does() {
        let mut ids = Ids::new([7; 32]);
        let id = OrganisationId(ids.next(Instant(1_700_000_000_000)));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.parse::<UnitId>(), Err(NotAnId));
        assert_eq!(text.to_uppercase().parse::<OrganisationId>(), Err(NotAnId));
        assert_eq!("org_8zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<OrganisationId>(), Err(NotAnId));
        assert_eq!(id.0 >> 80, 1_700_000_000_000);
        assert_eq!((id.0 >> 76) & 0xf, 7);
    }

    #[test]
    fn the_same_seed_gives_the_same_identifiers_and_each_is_new() {
        let (mut a, mut b) = (Ids::new([1; 32]), Ids::new([1; 32]));
        let now = Instant(5);
        let first: Vec<u128> = (0..100).map(|_| a.next(now)).collect();
        assert_eq!(first, (0..100).map(|_| b.next(now)).collect::<Vec<_>>());
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), 100);
        assert!(first.is_sorted(), "in order of making within one millisecond");
    }
}
