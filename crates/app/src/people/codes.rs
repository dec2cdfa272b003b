//! Codes of an app (TOTP: RFC 6238, SHA-1, six digits, 30 seconds, one step of either side) and
//! recovery codes.

use comity_domain::ids::{Digest32, PersonId};
use comity_domain::time::Instant;
use totp_rs::{Builder, Secret, Totp};

use crate::keys::Keys;
use crate::{random, tokens};

/// The secret of an app that shows codes. Its `Debug` form hides it.
#[derive(Clone)]
pub struct TotpSecret([u8; 20]);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl TotpSecret {
    /// A new one.
    #[must_use]
    pub fn fresh() -> Self {
        Self(random::bytes())
    }

    /// As it was stored.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As it is stored, before it is sealed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the log knows of it.
    #[must_use]
    pub fn digest(&self) -> Digest32 {
        Digest32::of(&self.0)
    }

    /// In base32 (RFC 4648), to be typed.
    #[must_use]
    pub fn text(&self) -> String {
        Secret::new_stack(self.0).to_base32()
    }

    fn totp(&self, account: &str) -> Totp {
        let plain: String = account.chars().filter(|c| *c != ':').collect();
        Builder::new()
            .with_secret(Secret::new_stack(self.0))
            .with_account_name(plain)
            .with_issuer(Some("Comity"))
            .build_noncompliant()
    }

    /// The `otpauth` URI that apps read, for `account`.
    #[must_use]
    pub fn uri(&self, account: &str) -> Option<String> {
        self.totp(account).to_url().ok()
    }

    /// The time step of which this is the code, if it is one of now or of a step beside it.
    #[must_use]
    pub fn check(&self, code: &str, now: Instant) -> Option<u64> {
        let seconds = u64::try_from(now.0).ok()? / 1_000;
        self.totp("").check(code, seconds)
    }
}

/// A code as it was meant: without the spaces and hyphens by which people read it.
#[must_use]
pub fn plain(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace() && *c != '-').take(64).collect()
}

/// Whether it looks like a code of an app rather than a recovery code.
#[must_use]
pub fn is_of_app(code: &str) -> bool {
    code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit())
}

/// A new recovery code: 80 random bits in four groups of four.
#[must_use]
pub fn recovery() -> String {
    let text = tokens::base32(&random::bytes::<10>(), 16);
    let groups: Vec<String> =
        text.as_bytes().chunks(4).map(|g| String::from_utf8_lossy(g).into_owned()).collect();
    groups.join("-")
}

/// What the log knows of a person's recovery code: without the key file nobody can try one on it.
#[must_use]
pub fn recovery_digest(keys: &Keys, person: PersonId, code: &str) -> Digest32 {
    let code = plain(code).to_lowercase();
    Digest32(keys.mac(format!("recovery/{person}\n{code}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1; the last six of its eight digits.
    const VECTORS: [(i64, &str); 6] = [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ];

    #[test]
    fn codes_are_those_of_rfc_6238_and_count_for_their_step_and_one_beside_it() {
        let secret = TotpSecret::read(b"12345678901234567890").unwrap();
        for (seconds, code) in VECTORS {
            let step = u64::try_from(seconds / 30).unwrap();
            let at = |s: i64| Instant(s * 1_000);
            assert_eq!(secret.check(code, at(seconds)), Some(step), "{seconds}");
            assert_eq!(secret.check(code, at(seconds + 30)), Some(step), "a step later");
            assert_eq!(secret.check(code, at(seconds + 90)), None, "three steps later");
        }
        for bad in ["", "28708", "2870820", "28708a", "٢٨٧٠٨٢"] {
            assert_eq!(secret.check(bad, Instant(59_000)), None, "{bad}");
        }
    }

    #[test]
    fn t48_a_secret_is_shown_to_its_person_alone() {
        let secret = TotpSecret::fresh();
        let uri = secret.uri("ana:x@marina.example").unwrap();
        assert!(uri.starts_with("otpauth://totp/Comity"), "{uri}");
        assert!(uri.contains(&format!("secret={}", secret.text())), "{uri}");
        assert!(!format!("{secret:?}").contains(&secret.text()));
        assert_eq!(TotpSecret::read(secret.bytes()).unwrap().text(), secret.text());
    }

    #[test]
    fn a_recovery_code_reads_back_however_it_is_spelled() {
        let keys = Keys::from_secret(&[1; 32]);
        let code = recovery();
        assert_eq!(code.len(), 19);
        let digest = recovery_digest(&keys, PersonId(7), &code);
        let spelled = code.to_uppercase().replace('-', " ");
        assert_eq!(recovery_digest(&keys, PersonId(7), &spelled), digest);
        assert_ne!(recovery_digest(&keys, PersonId(8), &code), digest, "another's");
        assert_ne!(recovery_digest(&Keys::from_secret(&[2; 32]), PersonId(7), &code), digest);
        assert!(!is_of_app(&plain(&code)));
        assert!(is_of_app(&plain("123 456")));
    }
}
