//! HTTP towards Comity: bounded in time and size, no redirects, retried only where nothing was done.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use url::{Host, Url};

use crate::clock;

const LARGEST: usize = 1024 * 1024;
const RETRIES: u32 = 2;

/// A string that does not show itself.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How to reach Comity.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) url: String,
    pub(crate) key: Secret,
    pub(crate) timeout: Duration,
    pub(crate) plain_http: bool,
}

impl Settings {
    /// `url`: where Comity is. `key`: a key for `decide`. Two seconds for each question.
    #[must_use]
    pub fn new(url: &str, key: &str) -> Self {
        let key = Secret(key.to_owned());
        Self { url: url.to_owned(), key, timeout: Duration::from_secs(2), plain_http: false }
    }

    /// The time for one question, retries included.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Plain http also to other machines, where the network between can be trusted.
    #[must_use]
    pub fn plain_http(self) -> Self {
        Self { plain_http: true, ..self }
    }
}

/// What is wrong with the settings. It never shows a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongSetting(pub(crate) &'static str);

impl fmt::Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WrongSetting {}

/// Why no answer came that can be trusted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoAnswer(pub(crate) &'static str);

/// What came back, whatever the status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    retry: Option<Duration>,
}

impl Answer {
    /// The `code` of a problem.
    pub(crate) fn code(&self) -> Option<&str> {
        self.body.get("code").and_then(Value::as_str)
    }

    pub(crate) fn status_cause(&self) -> String {
        format!("status_{}", self.status.as_u16())
    }
}

/// One request, to be sent as often as it takes.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The connections, and how long one call may take.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    timeout: Duration,
}

/// An address that may be talked to, without a slash at its end.
pub(crate) fn address(text: &str, plain_http: bool) -> Result<String, WrongSetting> {
    let url = Url::parse(text).map_err(|_| WrongSetting("the address is no URL"))?;
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err(WrongSetting("the address has no host")),
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && (local || plain_http)) {
        return Err(WrongSetting("use https, or plain_http where the network can be trusted"));
    }
    let bare = url.username().is_empty() && url.password().is_none();
    if !bare || url.query().is_some() || url.fragment().is_some() {
        return Err(WrongSetting("an address of Comity has no user, query or fragment"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

impl Http {
    pub(crate) fn new(timeout: Duration) -> Result<Self, WrongSetting> {
        if timeout.is_zero() || timeout > Duration::from_secs(60) {
            return Err(WrongSetting("the time-out must be from 1 ms to 60 s"));
        }
        // No proxy from the environment: a question holds a token and a key.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("comity-client-rust/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| WrongSetting("TLS cannot be set up"))?;
        Ok(Self { client, timeout })
    }

    /// Asks, and returns the JSON that came back. Again only where nothing reached the server, or
    /// where it says that nothing was done.
    pub(crate) async fn ask(&self, call: Call) -> Result<Answer, NoAnswer> {
        let until = clock::instant() + self.timeout;
        let mut tried = 0;
        loop {
            let attempt = tokio::time::timeout(clock::left(until), self.once(&call)).await;
            let (outcome, pause) = match attempt.map_err(|_| NoAnswer("timeout"))? {
                Ok(answer) => {
                    let pause = answer.retry;
                    (Ok(answer), pause)
                }
                Err(Failed { no, again }) => (Err(no), again.then_some(Duration::from_millis(50))),
            };
            match pause {
                Some(pause) if tried < RETRIES && pause < clock::left(until) => {
                    tokio::time::sleep(pause).await;
                }
                _ => return outcome,
            }
            tried += 1;
        }
    }

    async fn once(&self, call: &Call) -> Result<Answer, Failed> {
        let asked = self
            .client
            .request(call.method.clone(), &call.url)
            .headers(call.headers.clone())
            .body(call.body.clone())
            .send()
            .await;
        let mut response =
            asked.map_err(|e| Failed { no: NoAnswer("connection"), again: e.is_connect() })?;
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        let seconds = header(header::RETRY_AFTER).filter(|t| t.len() <= 4);
        let retry = seconds
            .filter(|_| status == StatusCode::SERVICE_UNAVAILABLE)
            .and_then(|t| t.parse().ok())
            .map(Duration::from_secs);
        let json = header(header::CONTENT_TYPE).is_some_and(is_json);
        let mut body = Vec::new();
        let broken = |_| Failed { no: NoAnswer("connection"), again: false };
        while let Some(part) = response.chunk().await.map_err(broken)? {
            if body.len() + part.len() > LARGEST {
                return Err(Failed { no: NoAnswer("too_large"), again: false });
            }
            body.extend_from_slice(&part);
        }
        let body = if json { serde_json::from_slice(&body).ok() } else { None };
        Ok(Answer { status, body: body.unwrap_or_default(), retry })
    }
}

struct Failed {
    no: NoAnswer,
    /// Nothing reached the server, so asking again repeats nothing.
    again: bool,
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}
