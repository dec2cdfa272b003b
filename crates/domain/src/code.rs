//! Customer IDs: the code that a customer hands to a partner so that it can ask.
//!
//! 21 random characters of Crockford base32 (105 bits) and one check symbol: the value modulo 37,
//! from Crockford's alphabet with `*~$=U` added, which finds every single wrong character and every
//! swap of neighbours. Written in groups of five; read in any case, with or without hyphens and
//! spaces, `O` for `0`, `I` and `L` for `1`. The code lets nobody in: it only lets a partner ask.

use std::fmt;

use crate::ids::Digest32;

const ALPHABET: &[u8; 37] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";
const DIGITS: u32 = 21;

/// A customer ID in the clear. Its `Debug` form hides the code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CustomerCode(u128);

/// Why a text is not a customer ID. Known before anything is looked up, so a typo reveals nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeError {
    /// Not 22 characters of the alphabet.
    Shape,
    /// The check symbol does not fit: a typing mistake.
    Check,
}

impl CustomerCode {
    /// A code from 16 bytes of randomness, of which it keeps 105 bits.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes) & ((1 << 105) - 1))
    }

    /// Reads a code as people write it.
    ///
    /// # Errors
    /// [`CodeError::Shape`] for a wrong length or character, [`CodeError::Check`] for a typo.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if text.len() > 64 {
            return Err(CodeError::Shape);
        }
        let mut value = 0u128;
        let mut check = None;
        let mut count = 0u32;
        for c in text.chars().filter(|c| !matches!(c, '-' | ' ')) {
            let c = match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let digit =
                ALPHABET.iter().position(|a| char::from(*a) == c).ok_or(CodeError::Shape)?;
            match count {
                n if n < DIGITS && digit < 32 => value = (value << 5) | digit as u128,
                DIGITS => check = Some(digit as u128),
                _ => return Err(CodeError::Shape),
            }
            count = count.saturating_add(1);
        }
        match check {
            Some(check) if check == value % 37 => Ok(Self(value)),
            Some(_) => Err(CodeError::Check),
            None => Err(CodeError::Shape),
        }
    }

    /// What the log keeps of the code: a digest. The code has over 100 random bits, so that the
    /// digest cannot be turned back by trying.
    #[must_use]
    pub fn digest(self) -> Digest32 {
        let mut bytes = b"comity/customer-id/1".to_vec();
        bytes.extend_from_slice(&self.0.to_be_bytes());
        Digest32::of(&bytes)
    }
}

impl fmt::Display for CustomerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let symbol = |digit: u128| {
            ALPHABET.get(usize::try_from(digit).unwrap_or(0)).copied().map_or('0', char::from)
        };
        for place in (0..DIGITS).rev() {
            f.write_char(symbol((self.0 >> (place * 5)) & 31))?;
            if place % 5 == 1 {
                f.write_char('-')?;
            }
        }
        f.write_char(symbol(self.0 % 37))
    }
}

impl fmt::Debug for CustomerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn r1_a_customer_id_is_written_in_groups_and_read_forgivingly() {
        let code = CustomerCode::from_random([0xab; 16]);
        let text = code.to_string();
        assert_eq!(text.len(), 26, "{text}");
        assert_eq!(CustomerCode::parse(&text), Ok(code));
        assert_eq!(CustomerCode::parse(&text.to_lowercase().replace('-', " ")), Ok(code));
        assert_eq!(CustomerCode::parse("hello"), Err(CodeError::Shape));
        assert_eq!(CustomerCode::parse(&format!("{text}0")), Err(CodeError::Shape));
    }

    proptest! {
        #[test]
        fn t01_every_single_typo_and_every_swap_is_found(bytes: [u8; 16], at in 0usize..22, by in 1usize..32) {
            let text: String = CustomerCode::from_random(bytes).to_string().replace('-', "");
            let mut wrong: Vec<u8> = text.bytes().collect();
            let was = ALPHABET.iter().position(|a| *a == wrong[at]).unwrap();
            let size = if at == 21 { 37 } else { 32 };
            wrong[at] = ALPHABET[(was + by) % size];
            if wrong[at] != text.as_bytes()[at] {
                prop_assert!(CustomerCode::parse(&String::from_utf8(wrong).unwrap()).is_err());
            }
            let mut swapped: Vec<u8> = text.bytes().collect();
            swapped.swap(at.min(20), at.min(20) + 1);
            if swapped != text.as_bytes() {
                prop_assert!(CustomerCode::parse(&String::from_utf8(swapped).unwrap()).is_err());
            }
        }
    }
}
