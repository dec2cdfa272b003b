//! `ETag` and `If-Match`: which version of a thing its editor saw (RFC 9110, sections 8.8.3 and
//! 13.1.1). What is compared, and when, is the domain's affair.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use comity_domain::state::State;
use comity_domain::version::{Saw, Versioned, tag};
use serde::Serialize;

use crate::problem::Problem;

/// The strong entity tag of what is there.
pub fn etag(state: &State, of: &Versioned) -> Option<String> {
    tag(state, of).map(|tag| format!("\"{tag}\""))
}

/// An answer that shows one thing, with its tag.
pub fn tagged(
    status: StatusCode,
    state: &State,
    of: &Versioned,
    shown: impl Serialize,
) -> Response {
    let mut response = (status, Json(shown)).into_response();
    if let Some(tag) = etag(state, of).and_then(|tag| HeaderValue::try_from(tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// What `If-Match` says, if it is there. Weak tags match nothing: only strong ones are compared.
pub fn if_match(headers: &HeaderMap) -> Result<Option<Saw>, Problem> {
    let mut lines = Vec::new();
    for line in headers.get_all(header::IF_MATCH) {
        lines.push(line.to_str().map_err(|_| wrong())?);
    }
    if lines.is_empty() {
        return Ok(None);
    }
    saw(&lines.join(",")).map(Some).ok_or_else(wrong)
}

fn wrong() -> Problem {
    Problem::field("If-Match", "must be * or the ETag of what you read, in its quotes")
}

/// `*`, or a list of entity tags.
fn saw(text: &str) -> Option<Saw> {
    let mut left = text.trim_matches([' ', '\t', ',']);
    if left == "*" {
        return Some(Saw::Any);
    }
    let (mut tags, mut any) = (Vec::new(), false);
    while !left.is_empty() {
        let weak = left.starts_with("W/");
        let opaque = left.strip_prefix("W/").unwrap_or(left).strip_prefix('"')?;
        let (tag, rest) = opaque.split_once('"')?;
        if !tag.bytes().all(|b| b == 0x21 || (0x23..=0x7e).contains(&b) || b >= 0x80) {
            return None;
        }
        any = true;
        tags.extend((!weak).then(|| tag.to_owned()));
        let rest = rest.trim_start_matches([' ', '\t']);
        left = match rest.strip_prefix(',') {
            Some(next) => next.trim_start_matches([' ', '\t', ',']),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    any.then_some(Saw::OneOf(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_is_a_star_or_a_list_of_strong_tags() {
        let one_of =
            |tags: &[&str]| Some(Saw::OneOf(tags.iter().map(|t| (*t).to_owned()).collect()));
        assert_eq!(saw("*"), Some(Saw::Any));
        assert_eq!(saw("\"3\""), one_of(&["3"]));
        assert_eq!(saw("\"3\" ,\"a,b\",, \"\""), one_of(&["3", "a,b", ""]));
        assert_eq!(saw("W/\"3\", \"4\""), one_of(&["4"]));
        assert_eq!(saw("W/\"3\""), one_of(&[]));
        for bad in [
            "",
            ",",
            "3",
            "\"3",
            "3\"",
            "\"3\"\"4\"",
            "\"3\" \"4\"",
            "*, \"3\"",
            "w/\"3\"",
            "\"a b\"",
        ] {
            assert_eq!(saw(bad), None, "{bad}");
        }
    }
}
