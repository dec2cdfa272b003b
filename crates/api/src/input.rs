//! What callers send, read strictly: unknown fields, wrong types and odd paths are refused by name
//! before anything else is looked at.

use std::str::FromStr;

use axum::body::HttpBody as _;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use comity_domain::consent::NamedAccounts;
use comity_domain::ids::OrganisationId;
use comity_domain::organisation::Accounts;
use comity_domain::state::State;
use comity_domain::text::Lookup;
use comity_domain::time::Instant;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// How deep JSON may be nested.
const MOST_DEPTH: usize = 16;
/// How many entries a list may have.
const MOST_IN_LIST: usize = 1_000;

/// A JSON body. Only `application/json`, no unknown and no repeated field.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let kinds = request.headers().get_all(header::CONTENT_TYPE).iter().count();
        if kinds == 0 && request.body().is_end_stream() {
            // Nothing sent is an object without fields: enough where no field is needed.
            return read_json(b"{}").map(Self);
        }
        if kinds != 1 || kind.split(';').next().map(str::trim) != Some("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send the body as Content-Type: application/json.",
            ));
        }
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(too_large)?;
        // serde would also read a list as the fields in their order: only an object names them.
        if bytes.trim_ascii_start().first().is_some_and(|b| *b != b'{')
            && serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok()
        {
            return Err(Problem::field("body", "must be a JSON object"));
        }
        read_json(&bytes).map(Self)
    }
}

/// Why a body could not be read.
pub fn too_large(rejection: BytesRejection) -> Problem {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::too_large()
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "bad_request", "The body could not be read."),
    }
}

/// Refuses what is nested too deep, or holds a list that is too long, before anything is made of
/// it (T44). Whether it is JSON at all is the reader's to say.
fn shallow(bytes: &[u8]) -> Result<(), Problem> {
    let (mut in_text, mut escaped) = (false, false);
    // How many commas stand in each thing that is open; objects' are not counted.
    let mut open: Vec<Option<usize>> = Vec::with_capacity(MOST_DEPTH);
    for byte in bytes {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' if open.len() == MOST_DEPTH => {
                let detail = format!("The body is nested more than {MOST_DEPTH} deep.");
                return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_json", detail));
            }
            b'{' => open.push(None),
            b'[' => open.push(Some(1)),
            b'}' | b']' => drop(open.pop()),
            b',' => {
                if let Some(Some(count)) = open.last_mut() {
                    *count += 1;
                    if *count > MOST_IN_LIST {
                        let why = format!("holds a list of more than {MOST_IN_LIST} entries");
                        return Err(Problem::field("body", why));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads JSON strictly.
pub fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    shallow(bytes)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        json_problem(&path, e.inner())
    })?;
    reader.end().map_err(|e| json_problem(".", &e))?;
    Ok(read)
}

fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    if error.classify() != Category::Data {
        let detail = format!("The body is not JSON: {text}.");
        return Problem::new(StatusCode::BAD_REQUEST, "bad_json", detail);
    }
    // A field that is unknown, missing or there twice is named in backticks; any other by its path.
    let of_object = ["unknown field", "missing field", "duplicate field"];
    let named =
        of_object.iter().any(|k| text.starts_with(k)).then(|| text.split('`').nth(1)).flatten();
    let field = match (named, path) {
        (Some(name), ".") => name.to_owned(),
        (Some(name), path) if path.split('.').next_back() == Some(name) => path.to_owned(),
        (Some(name), path) => format!("{path}.{name}"),
        (None, ".") => "body".to_owned(),
        (None, path) => path.to_owned(),
    };
    let detail = format!("{field}: {}.", in_plain_words(text));
    Problem::field(field, "").with_detail(detail)
}

/// The reader's words for the machine's.
fn in_plain_words(text: &str) -> String {
    if text.contains("WireAccounts") {
        return "must be \"all\" or a list of your identifiers".into();
    }
    let mut text = text.to_owned();
    for (machine, people) in [
        ("unknown variant", "unknown value"),
        ("expected u32", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected usize", "expected a whole number"),
        ("a sequence", "a list"),
        ("a boolean", "true or false"),
        ("struct ", "an object for "),
    ] {
        text = text.replace(machine, people);
    }
    text
}

/// A query string. No unknown and no repeated field.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|q| Self(q.0)).map_err(|e| {
            let text = e.body_text();
            let text = text.trim_start_matches("Failed to deserialize query string: ");
            let of_object =
                text.starts_with("unknown field") || text.starts_with("duplicate field");
            let field = match text.split_once(": ") {
                Some((field, _)) if !of_object => field,
                _ => text.split('`').nth(1).unwrap_or("query"),
            };
            let (field, text) = (field.to_owned(), in_plain_words(text));
            Problem::field(field, "is not what is expected in the query").with_detail(text)
        })
    }
}

/// Segments of the path.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What cannot be an identifier is not there.
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|p| Self(p.0)).map_err(|_| Problem::not_found())
    }
}

/// Whether what follows a `%` is no byte, or one that RFC 3986 writes without it: a second spelling.
fn needlessly_encoded(rest: &str) -> bool {
    let byte = rest.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
    byte.is_none_or(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// Refuses paths that another program might read in another way (T15), and sets the headers that
/// every answer carries.
pub async fn one_normal_form(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let lower = path.to_ascii_lowercase();
    let odd = lower.contains("//")
        || lower.split('/').any(|s| matches!(s, "." | ".."))
        || lower.split('%').skip(1).any(needlessly_encoded)
        || ["%2f", "%5c", "%00", "\\"].iter().any(|bad| lower.contains(bad))
        || path.len() > 4_096
        || request.uri().query().is_some_and(|q| q.len() > 4_096);
    let mut response = if odd {
        Problem::new(StatusCode::BAD_REQUEST, "bad_path", "The path is not in its normal form.")
            .into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    // What only shows this program itself, and public keys, may be kept for a while and say so; the
    // page of the document also says what it may run.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// An organisation as a path names it: Comity's identifier or the builder's.
pub fn organisation(state: &State, text: &str) -> Result<OrganisationId, Problem> {
    if text.starts_with("org_") {
        return OrganisationId::from_str(text).map_err(|_| Problem::not_found());
    }
    state.words.find(Lookup::Organisation, text).map(OrganisationId).ok_or_else(Problem::not_found)
}

/// Accounts as people write them: `"all"`, or a list of the builder's identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Accounts)]
#[serde(untagged)]
pub enum WireAccounts {
    /// `"all"`.
    All(AllWord),
    /// A list.
    List(Vec<String>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum AllWord {
    /// `all`
    #[serde(rename = "all")]
    All,
}

impl WireAccounts {
    /// As the domain means it.
    pub fn named(&self) -> NamedAccounts {
        match self {
            Self::All(_) => NamedAccounts::All,
            Self::List(list) => NamedAccounts::List(list.clone()),
        }
    }

    /// The same, inside the customer `owner`.
    pub fn resolve(&self, state: &State, owner: OrganisationId) -> Result<Accounts, Problem> {
        Ok(self.named().resolve(state, owner)?)
    }
}

/// Reads an RFC 3339 instant.
pub fn instant(field: &'static str, text: &str) -> Result<Instant, Problem> {
    let read: Result<jiff::Timestamp, _> = text.parse();
    read.map(|t| Instant(t.as_millisecond())).map_err(|_| {
        Problem::field(field, "must be an RFC 3339 instant such as 2027-01-31T12:00:00Z")
    })
}
