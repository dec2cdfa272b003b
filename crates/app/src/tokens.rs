//! How secrets look outside.
//!
//! `cmt_<kind>_` and 58 lower-case characters of base32: 256 random bits and a checksum of 30 bits,
//! so that scanners find a leaked one and a mistyped one is refused before anything is looked up.
//! Only the SHA-256 of the whole text is ever stored.

use comity_domain::ids::Digest32;

use crate::random;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BODY: usize = 52;
const CHECK: usize = 6;

/// What a secret opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person's own sign-in.
    SignIn,
    /// A partner session.
    Session,
    /// A first password.
    Enrolment,
    /// A key of the platform or of an application.
    Key,
    /// An installation that nobody holds yet.
    FirstRun,
    /// An invitation.
    Invitation,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::SignIn, Self::Session, Self::Enrolment, Self::Key, Self::FirstRun, Self::Invitation];

    fn prefix(self) -> &'static str {
        match self {
            Self::SignIn => "cmt_signin_",
            Self::Session => "cmt_session_",
            Self::Enrolment => "cmt_enrol_",
            Self::Key => "cmt_key_",
            Self::FirstRun => "cmt_first_",
            Self::Invitation => "cmt_invite_",
        }
    }
}

/// A secret in the clear, to be shown once. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

pub(crate) fn base32(bytes: &[u8], digits: usize) -> String {
    let bit = |n: usize| bytes.get(n / 8).map_or(0, |b| usize::from(b >> (7 - n % 8) & 1));
    (0..digits)
        .map(|d| (0..5).fold(0, |value, b| value << 1 | bit(d * 5 + b)))
        .filter_map(|digit| ALPHABET.get(digit).copied().map(char::from))
        .collect()
}

fn checksum(text: &str) -> String {
    base32(&Digest32::of(text.as_bytes()).0, CHECK)
}

impl Secret {
    /// A new secret.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let random: [u8; 32] = random::bytes();
        let open = format!("{}{}", kind.prefix(), base32(&random, BODY));
        let check = checksum(&open);
        Self(open + &check)
    }

    /// The text, to hand out.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn digest(&self) -> Digest32 {
        Digest32::of(self.0.as_bytes())
    }
}

/// Reads a secret as it was shown: its kind and digest. `None` for anything malformed.
#[must_use]
pub fn parse(text: &str) -> Option<(Kind, Digest32)> {
    let kind = Kind::ALL.into_iter().find(|k| text.starts_with(k.prefix()))?;
    if !text.is_ascii() || text.len() != kind.prefix().len() + BODY + CHECK {
        return None;
    }
    let (open, check) = text.split_at(text.len() - CHECK);
    (checksum(open) == check).then(|| (kind, Digest32::of(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t19_a_secret_reads_back_whole_and_in_no_other_form() {
        for kind in Kind::ALL {
            let secret = Secret::new(kind);
            let text = secret.reveal();
            assert_eq!(parse(text), Some((kind, secret.digest())));
            assert_eq!(parse(&text[..text.len() - 1]), None, "truncated");
            assert_eq!(parse(&format!("{text}0")), None, "longer");
            assert_eq!(parse(&text.to_uppercase()), None, "other case");
            let typo = text.replace(&text[20..21], if &text[20..21] == "0" { "1" } else { "0" });
            assert_eq!(parse(&typo), None, "typo");
            assert!(!format!("{secret:?}").contains(text));
        }
    }
}
