//! Parameters as RFC 6749, section 3.2, wants them read: form-encoded in the body, one that is
//! empty as if it were not there, one that is unknown passed over, one that is twice there refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request};
use axum::http::{HeaderMap, header};
use comity_app::App;
use comity_app::limits::Beside;

use super::Wrong;
use crate::input::too_large;
use crate::problem::Problem;

/// What may come several times (RFC 8693, section 2.1).
const SEVERAL: [&str; 2] = ["audience", "resource"];

/// The parameters and the headers that came with them.
pub struct Form {
    pub headers: HeaderMap,
    /// How often who sent it may come.
    pub counted: Option<Beside>,
    parameters: Vec<(String, String)>,
}

impl Form {
    /// Reads a request.
    pub async fn read(app: &Arc<App>, request: Request) -> Result<Self, Wrong> {
        let headers = request.headers().clone();
        let counted = request.extensions().get::<Beside>().cloned();
        let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let kind = kind.split(';').next().map(str::trim).unwrap_or_default();
        let kinds = headers.get_all(header::CONTENT_TYPE).iter().count();
        if kinds != 1 || !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let why = "Send the parameters as application/x-www-form-urlencoded.";
            return Err(Wrong::request(why));
        }
        let bytes = Bytes::from_request(request, app).await.map_err(too_large)?;
        let parameters = pairs(bytes).await?;
        // Looked up, not compared each with each: strangers choose how many there are (T46).
        let mut seen = BTreeSet::new();
        for (name, _) in &parameters {
            if !seen.insert(name.as_str()) && !SEVERAL.contains(&name.as_str()) {
                return Err(Wrong::request(format!("{} is there twice.", shown(name))));
            }
        }
        let parameters = parameters.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Ok(Self { headers, counted, parameters })
    }

    /// Somebody who shows what opens nothing may not do so for ever (T1).
    pub fn stranger(&self) -> Result<(), Wrong> {
        let counted = self.counted.as_ref();
        counted.map_or(Ok(()), |c| c.limits.stranger(c.from)).map_err(|no| Problem::from(no).into())
    }

    /// Before a signature is looked at: whether a stranger's bucket is empty (T46).
    pub fn may_be_heard(&self) -> Result<(), Wrong> {
        let counted = self.counted.as_ref();
        let heard = counted.map_or(Ok(()), |c| c.limits.may_be_heard(c.from));
        heard.map_err(|no| Problem::from(no).into())
    }

    /// A parameter, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that has to be there.
    pub fn need(&self, name: &str) -> Result<&str, Wrong> {
        self.get(name).ok_or_else(|| Wrong::request(format!("{name} is missing.")))
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A name that somebody else chose, for a sentence.
fn shown(name: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    name.chars().filter(plain).take(40).collect()
}

/// Pairs of `application/x-www-form-urlencoded`.
pub async fn pairs(bytes: Bytes) -> Result<Vec<(String, String)>, Wrong> {
    let wrong = || Wrong::request("The parameters are not form-encoded.");
    let request = Request::post("/")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(bytes))
        .map_err(|_| wrong())?;
    let read = axum::Form::<Vec<(String, String)>>::from_request(request, &()).await;
    read.map(|form| form.0).map_err(|_| wrong())
}
