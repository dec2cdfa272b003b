//! Calls to other people's servers: what is pushed to webhooks and event streams (T43).
//!
//! A name is resolved anew for each call, every address that it leads to is looked at, and the
//! connection goes to an address that was looked at and to no other, so that a name which changes
//! its mind in between gains nothing. No redirect is followed, no proxy of the environment asked;
//! a call takes five seconds at most, and of the answer 64 KiB are read and thrown away.

pub mod address;
pub mod target;

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use address::{Net, is_public};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;

/// How long a call takes at most, from resolving to the last byte that is read.
const WITHIN: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const MOST_ANSWER: usize = 64 * 1024;

/// What may be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether plain HTTP on this machine's loopback is: for demonstrations.
    pub insecure: bool,
    nets: Vec<Net>,
    refused: Vec<Net>,
    names: Vec<String>,
}

impl Rules {
    /// The public internet, and what the operator allows beside it: ranges of addresses, and names
    /// whose addresses are not looked at.
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn new<S: AsRef<str>>(
        insecure: bool,
        allowed: impl IntoIterator<Item = S>,
    ) -> Result<Self, String> {
        let mut rules = Self { insecure, ..Self::default() };
        for entry in allowed {
            let entry = entry.as_ref();
            let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
            if let Ok(net) = entry.parse() {
                rules.nets.push(net);
            } else if !entry.is_empty()
                && entry.bytes().all(name)
                && entry.bytes().any(|b| b.is_ascii_lowercase())
            {
                rules.names.push(entry.to_owned());
            } else {
                return Err(entry.to_owned());
            }
        }
        Ok(rules)
    }

    /// The same without these ranges, whatever allows them: what looks public from outside and leads
    /// inside, such as the operator's own prefix for NAT64 (RFC 6052).
    ///
    /// # Errors
    /// The first entry that is no range of addresses.
    pub fn refusing<S: AsRef<str>>(
        mut self,
        refused: impl IntoIterator<Item = S>,
    ) -> Result<Self, String> {
        for entry in refused {
            let entry = entry.as_ref();
            self.refused.push(entry.parse().map_err(|()| entry.to_owned())?);
        }
        Ok(self)
    }

    /// How many ranges and names are allowed beside the public internet, and how many ranges are
    /// refused.
    #[must_use]
    pub fn entries(&self) -> (usize, usize) {
        (self.nets.len().saturating_add(self.names.len()), self.refused.len())
    }

    /// Whether a range is allowed of which nothing is left, because it is refused as well.
    #[must_use]
    pub fn contradicts_itself(&self) -> bool {
        self.nets.iter().any(|net| self.refused.iter().any(|no| no.covers(net)))
    }

    fn allows_name(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    /// Whether an address may be called for a host of this name.
    fn may_call(&self, host: &str, address: IpAddr) -> bool {
        let near = || match host {
            "localhost" => true,
            literal => literal.parse() == Ok(address),
        };
        let forms = [address, address.to_canonical()];
        if self.refused.iter().any(|net| forms.iter().any(|form| net.holds(*form))) {
            return false;
        }
        is_public(address)
            || self.nets.iter().any(|net| net.holds(address))
            || self.allows_name(host)
            || (self.insecure && address.is_loopback() && near())
    }
}

/// How a name becomes addresses.
pub type Lookup = Arc<dyn Fn(String) -> LookingUp + Send + Sync>;
/// On the way to them.
pub type LookingUp = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// How this installation calls others.
#[derive(Clone)]
pub struct Settings {
    /// What may be called.
    pub rules: Rules,
    /// Certificate authorities that are trusted beside the system's, in PEM.
    pub extra_ca: Option<PathBuf>,
    /// How a name becomes addresses: as the system does it.
    pub lookup: Lookup,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("rules", &self.rules)
            .field("extra_ca", &self.extra_ca)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        let lookup = |name: String| -> LookingUp {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
                Ok(found.map(|a| a.ip()).collect())
            })
        };
        Self { rules: Rules::default(), extra_ca: None, lookup: Arc::new(lookup) }
    }
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// An answer with this status, and how many seconds it asks to wait.
    Status {
        /// The status.
        code: u16,
        /// `Retry-After` in seconds.
        retry_after: Option<u32>,
        /// With a 400: the error of RFC 8935 that it names, if it is one of those.
        said: Option<&'static str>,
    },
    /// None, and why: one of our own words.
    None(&'static str),
}

/// Who calls.
#[derive(Clone)]
pub struct Outbound {
    rules: Rules,
    client: reqwest::Client,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Outbound {
    /// From the settings.
    ///
    /// # Errors
    /// If the certificates cannot be read.
    pub fn new(settings: &Settings) -> io::Result<Self> {
        let resolver = Guard { rules: settings.rules.clone(), lookup: settings.lookup.clone() };
        let mut client = reqwest::Client::builder()
            .dns_resolver(Arc::new(resolver))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .pool_max_idle_per_host(0) // each call resolves anew
            .retry(reqwest::retry::never())
            .http1_only()
            .timeout(WITHIN)
            .user_agent("Comity");
        if let Some(path) = &settings.extra_ca {
            let wrong = |e: &dyn std::fmt::Display| {
                io::Error::other(format!("outbound_ca {}: {e}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|e| wrong(&e))?;
            let more = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(&e))?;
            if more.is_empty() {
                return Err(wrong(&"holds no certificate"));
            }
            client = client.tls_certs_merge(more);
        }
        let client = client.build().map_err(io::Error::other)?;
        Ok(Self { rules: settings.rules.clone(), client })
    }

    /// Whether a URL may be tried at all, judged by its text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, url: &str) -> Result<(), target::Why> {
        target::read(&self.rules, url).map(drop)
    }

    /// Sends a body.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Answer {
        let Ok(target) = target::read(&self.rules, url) else {
            return Answer::None("address_refused");
        };
        let mut request = self.client.post(target.url).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match request.send().await {
            Ok(mut answer) => {
                let code = answer.status().as_u16();
                let asked = answer.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
                let retry_after = asked.and_then(|v| v.trim().parse().ok());
                let (mut read, mut body) = (0, Vec::new());
                while let Ok(Some(piece)) = answer.chunk().await {
                    read += piece.len();
                    if read >= MOST_ANSWER {
                        break;
                    }
                    if code == 400 {
                        body.extend_from_slice(&piece);
                    }
                }
                Answer::Status { code, retry_after, said: error_of(&body) }
            }
            Err(error) => Answer::None(problem(&error)),
        }
    }
}

/// What a receiver of signed events says is wrong (RFC 8935, section 2.4): its word if it is one of
/// those that are defined, and nothing else of what it wrote.
fn error_of(body: &[u8]) -> Option<&'static str> {
    #[derive(serde::Deserialize)]
    struct Said {
        err: String,
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    set_error(&said.err)
}

/// The errors that a receiver of signed events can name.
#[must_use]
pub fn set_error(said: &str) -> Option<&'static str> {
    const ERRORS: [&str; 6] = [
        "invalid_request",
        "invalid_key",
        "invalid_issuer",
        "invalid_audience",
        "authentication_failed",
        "access_denied",
    ];
    ERRORS.into_iter().find(|e| *e == said)
}

/// An error in a word of ours: what others wrote stays out of our logs and answers (T41, T43).
fn problem(error: &reqwest::Error) -> &'static str {
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(refused) = found.downcast_ref::<Refused>() {
            return refused.0;
        }
        if let Some(io) = found.downcast_ref::<io::Error>()
            && is_of_tls(io)
        {
            return "tls";
        }
        cause = found.source();
    }
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "not_connected"
    } else {
        "no_answer"
    }
}

/// What is wrong with a certificate comes as an I/O error of this kind, perhaps wrapped into others.
fn is_of_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    error.kind() == io::ErrorKind::InvalidData || inner.is_some_and(is_of_tls)
}

/// Why a name was not followed.
#[derive(Debug)]
struct Refused(&'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Refused {}

/// Resolves a name, and lets nothing through that may not be called. The connection is made to
/// what comes out of here.
struct Guard {
    rules: Rules,
    lookup: Lookup,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, lookup) = (self.rules.clone(), self.lookup.clone());
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = lookup(host.clone()).await.map_err(|_| Refused("not_resolved"))?;
            if found.is_empty() {
                return Err(Refused("not_resolved").into());
            }
            // One that may not be called spoils the name: nobody says which would be taken.
            if found.iter().any(|address| !rules.may_call(&host, *address)) {
                return Err(Refused("address_refused").into());
            }
            let all = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(all) as Addrs)
        })
    }
}
