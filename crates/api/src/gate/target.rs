//! What the original request asks for: its path and query, read so that no two servers can read
//! them in two ways. What could be read in two ways is refused, never guessed.

use std::borrow::Cow;

/// The longest path with its query, in bytes.
const MOST: usize = 8 * 1024;

/// So many segments has a path at most.
const MOST_SEGMENTS: usize = 64;

/// Why a request cannot be read in one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ambiguous;

/// A path and a query.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'r> {
    /// The segments of the path, decoded; none for `/`.
    pub segments: Vec<Cow<'r, str>>,
    query: Option<&'r str>,
}

impl<'r> Target<'r> {
    /// Reads the path and query of a request line (RFC 9112, origin-form).
    ///
    /// # Errors
    /// [`Ambiguous`]: it does not begin with one slash, holds a fragment, a dot segment, an empty
    /// segment before the end, a backslash, a `;` parameter, a control character, an encoded slash
    /// or per cent sign, or what is no UTF-8; or it is too long.
    pub fn read(text: &'r str) -> Result<Self, Ambiguous> {
        if text.len() > MOST || text.contains('#') {
            return Err(Ambiguous);
        }
        let (path, query) = text.split_once('?').map_or((text, None), |(p, q)| (p, Some(q)));
        let rest = path.strip_prefix('/').ok_or(Ambiguous)?;
        // The last slash of `/boats/` is the same place to nearly every server.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() {
            return if path.len() == 1 {
                Ok(Self { segments: Vec::new(), query })
            } else {
                Err(Ambiguous)
            };
        }
        let segments = rest.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        if segments.len() > MOST_SEGMENTS {
            return Err(Ambiguous);
        }
        Ok(Self { segments, query })
    }

    /// The value of a query parameter that has to be there once.
    ///
    /// # Errors
    /// [`Ambiguous`]: it is not there, or what some server would take for it is there twice.
    pub fn parameter(&self, name: &str) -> Result<Cow<'r, str>, Ambiguous> {
        let query = self.query.ok_or(Ambiguous)?;
        // Some take it for a separator, and some do not.
        if query.contains(';') {
            return Err(Ambiguous);
        }
        let mut found = None;
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decoded(key, true)?;
            if !could_be(&key, name) {
                continue;
            }
            if found.is_some() || key != name {
                return Err(Ambiguous);
            }
            found = Some(decoded(value, true)?);
        }
        found.filter(|v| !v.is_empty()).ok_or(Ambiguous)
    }
}

impl Target<'_> {
    /// Whether some server would find a parameter of this name.
    pub fn may_have(&self, name: &str) -> bool {
        let pairs = self.query.unwrap_or_default().split(['&', ';']);
        let mut keys = pairs.map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key));
        keys.any(|key| decoded(key, true).is_ok_and(|key| could_be(&key, name)))
    }
}

/// Whether a parameter is this one to somebody: `account[]`, `account.id` and `Account` are, and to
/// PHP `boat.id`, `boat id` and `boat[id` are `boat_id`.
fn could_be(key: &str, name: &str) -> bool {
    let key = key.trim();
    let plain = |b: u8| if matches!(b, b' ' | b'.' | b'[') { b'_' } else { b.to_ascii_lowercase() };
    let same =
        |key: &str| key.len() == name.len() && key.bytes().map(plain).eq(name.bytes().map(plain));
    let mut ends = key.match_indices(['[', '.']).filter_map(|(at, _)| key.get(..at));
    same(key) || ends.any(same)
}

fn segment(raw: &str) -> Result<Cow<'_, str>, Ambiguous> {
    // RFC 3986's pchar; `;` begins a parameter that some servers cut off.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@%".contains(&b);
    if raw.is_empty() || !raw.bytes().all(plain) {
        return Err(Ambiguous);
    }
    let text = decoded(raw, false)?;
    let turns = |c: char| matches!(c, '/' | '\\' | ';' | '%' | '?' | '#');
    if text.contains(turns) || text.trim_matches('.').is_empty() || text.trim() != text {
        return Err(Ambiguous); // `...` and `. ` are dots to some file systems
    }
    Ok(text)
}

/// Decodes once, strictly: what is left may not hold a control character.
fn decoded(raw: &str, plus_is_space: bool) -> Result<Cow<'_, str>, Ambiguous> {
    let encoded = raw.contains('%') || (plus_is_space && raw.contains('+'));
    let text = if encoded {
        let mut bytes = Vec::with_capacity(raw.len());
        let mut rest = raw.as_bytes();
        while let [first, tail @ ..] = rest {
            match (first, tail) {
                (b'%', [high, low, tail @ ..]) => {
                    let digit =
                        |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
                    let (high, low) = (digit(high).ok_or(Ambiguous)?, digit(low).ok_or(Ambiguous)?);
                    bytes.push((high << 4) | low);
                    rest = tail;
                }
                (b'%', _) => return Err(Ambiguous),
                (b'+', tail) if plus_is_space => {
                    bytes.push(b' ');
                    rest = tail;
                }
                (byte, tail) => {
                    bytes.push(*byte);
                    rest = tail;
                }
            }
        }
        Cow::Owned(String::from_utf8(bytes).map_err(|_| Ambiguous)?)
    } else {
        Cow::Borrowed(raw)
    };
    if text.chars().any(|c| c.is_control()) { Err(Ambiguous) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(text: &str) -> Option<Vec<String>> {
        let target = Target::read(text).ok()?;
        Some(target.segments.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn a_path_is_read_by_its_decoded_segments() {
        for (text, expected) in [
            ("/", &[][..]),
            ("/boats", &["boats"]),
            ("/boats/", &["boats"]),
            ("/v1/boats/boat-1?x=/../y", &["v1", "boats", "boat-1"]),
            ("/%61dmin", &["admin"]),
            ("/a%20b/c+d", &["a b", "c+d"]),
            ("/b%C3%A5t", &["båt"]),
            ("/.well-known/x", &[".well-known", "x"]),
        ] {
            assert_eq!(segments(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn t17_what_two_servers_could_read_in_two_ways_is_refused() {
        for text in [
            "",
            "boats",
            "http://x/boats",
            "//boats",
            "/boats//x",
            "/boats//",
            "//",
            "/./boats",
            "/../admin",
            "/a/..",
            "/a/%2e%2e/b",
            "/a/.%2e/b",
            "/a/%2E/b",
            "/a/...",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a;x=1/b",
            "/a%3bx",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "/a%252fb",
            "/a%25",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%ff",
            "/a%c0%af",
            "/a#b",
            "/a b",
            "/a\u{e5}",
            "/a%23b",
            "/a%3fb",
            "/%20",
            "/a%20/b",
            "*",
            "/a/\u{0}",
        ] {
            assert_eq!(segments(text), None, "{text:?}");
        }
        assert!(Target::read(&format!("/{}", "a".repeat(MOST))).is_err());
        assert!(Target::read(&"/a".repeat(MOST_SEGMENTS + 1)).is_err());
    }

    #[test]
    fn t17_a_parameter_counts_only_if_it_is_there_once_to_everybody() {
        let of = |query: &str| {
            let text = format!("/x?{query}");
            let target = Target::read(&text).unwrap();
            target.parameter("account").ok().map(Cow::into_owned)
        };
        assert_eq!(of("account=boat-1").as_deref(), Some("boat-1"));
        assert_eq!(of("x=1&account=boat%201&y").as_deref(), Some("boat 1"));
        assert_eq!(of("account=a+b").as_deref(), Some("a b"));
        for query in [
            "",
            "x=1",
            "account=",
            "account",
            "account=a&account=a",
            "account=a&account=b",
            "account=a&account[]=b",
            "account=a&Account=b",
            "Account=a",
            "account=a;account=b",
            "account=a&acc%6funt=b",
            "account=a&account.id=b",
            "account=a&%20account=b",
            "account=%zz",
            "account=%00",
            "account[]=a",
        ] {
            assert_eq!(of(query), None, "{query}");
        }
        let target = Target::read("/x?boat_id=a").unwrap();
        assert_eq!(target.parameter("boat_id").as_deref(), Ok("a"));
        for other in
            ["boat.id", "boat+id", "boat%5bid", "boat[id", "boat.id[x]", "+boat_id", "BOAT_ID"]
        {
            let text = format!("/x?boat_id=a&{other}=b");
            assert_eq!(
                Target::read(&text).unwrap().parameter("boat_id"),
                Err(Ambiguous),
                "{other}"
            );
        }
    }

    #[test]
    fn t17_a_parameter_that_some_server_would_find_is_found() {
        for (query, found) in [
            ("_method=DELETE", true),
            ("x=1&_METHOD=DELETE", true),
            ("x=1;%5fmethod=DELETE", true),
            ("_method", true),
            ("method=DELETE&x=_method", false),
            ("", false),
        ] {
            let text = format!("/x?{query}");
            assert_eq!(Target::read(&text).unwrap().may_have("_method"), found, "{query}");
        }
    }
}
