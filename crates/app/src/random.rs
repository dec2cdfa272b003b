//! The operating system's randomness, read here and nowhere else.

use comity_domain::ids::Ids;

/// Fresh randomness. Without it nothing secret can be made, so its absence ends the process.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where randomness enters")]
#[expect(clippy::expect_used, reason = "a machine without randomness must not go on")]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0u8; N];
    getrandom::fill(&mut out).expect("the operating system gives no randomness");
    out
}

/// A fresh source of identifiers.
#[must_use]
pub fn ids() -> Ids {
    Ids::new(bytes())
}
