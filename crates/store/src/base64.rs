//! Base64 with padding (RFC 4648, section 4), as signed notes are written in. Not constant in time:
//! nothing secret is written in it.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = ALPHABET.get((bits >> shift) as usize & 63).copied().unwrap_or(b'=');
            out.push(char::from(if i <= three.len() { digit } else { b'=' }));
        }
    }
    out
}

/// Reads what [`encode`] writes, and nothing else.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(digits.len());
    let (mut bits, mut held) = (0u32, 0u32);
    for digit in digits {
        let value = ALPHABET.iter().position(|a| a == digit)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    (encode(&out) == text).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_and_nothing_that_is_spelt_otherwise() {
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]
            .into_iter()
            .enumerate();
        for (length, text) in vectors {
            let plain = &b"foobar"[..length];
            assert_eq!(encode(plain), text);
            assert_eq!(decode(text).as_deref(), Some(plain));
        }
        for bad in ["Zg", "Zg=", "Zh==", "Zm9vY", "Zm 9v", "Zm9v\n", "=", "Zm9-"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
