//! Asking: may this session do this to that, now?

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock;
use crate::decision::{Decision, read};
use crate::transport::{Answer, Call, Http, NoAnswer, Settings, WrongSetting, address};
use crate::wire;

/// Comity, as a service asks it. Make one and clone it: the clones share the connections.
#[derive(Debug, Clone)]
pub struct Comity {
    url: String,
    key: HeaderValue,
    http: Http,
}

/// What a call would do.
#[derive(Debug, Clone)]
pub struct Question {
    permission: String,
    account: Option<String>,
    organisation: Option<String>,
    request_id: Option<String>,
    at_least: Option<u64>,
}

impl Question {
    /// A call that concerns one account, by your identifier. It is looked up inside the customer of
    /// the session. `permission` is `resource:verb`, without a star.
    #[must_use]
    pub fn account(permission: &str, account: &str) -> Self {
        Self { account: Some(account.to_owned()), ..Self::bare(permission) }
    }

    /// A call that concerns the customer as a whole.
    #[must_use]
    pub fn organisation(permission: &str, organisation: &str) -> Self {
        Self { organisation: Some(organisation.to_owned()), ..Self::bare(permission) }
    }

    fn bare(permission: &str) -> Self {
        let permission = permission.to_owned();
        Self { permission, account: None, organisation: None, request_id: None, at_least: None }
    }

    /// The customer (`org_…`) to which the account must belong, or else the answer is
    /// `wrong_resource`.
    #[must_use]
    pub fn of(self, organisation: &str) -> Self {
        Self { organisation: Some(organisation.to_owned()), ..self }
    }

    /// Goes along as `X-Request-ID`, so that the lines of both logs can be joined.
    #[must_use]
    pub fn request_id(self, id: &str) -> Self {
        Self { request_id: Some(id.to_owned()), ..self }
    }

    /// The `seq` of an earlier answer: decide on nothing older.
    #[must_use]
    pub fn at_least(self, seq: u64) -> Self {
        Self { at_least: Some(seq), ..self }
    }

    fn unaskable(&self) -> Option<&'static str> {
        let word = |w: &str| {
            (1..=64).contains(&w.len())
                && w.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
        };
        if !self.permission.split_once(':').is_some_and(|(r, v)| word(r) && word(v)) {
            return Some("The permission must be resource:verb.");
        }
        let id = self.account.as_ref().or(self.organisation.as_ref());
        id.is_none_or(String::is_empty).then_some("Name the account, or the organisation.")
    }

    fn wire(&self) -> wire::Evaluation {
        let (kind, id) = match (&self.account, &self.organisation) {
            (Some(account), _) => ("account", account.as_str()),
            (None, organisation) => ("organisation", organisation.as_deref().unwrap_or_default()),
        };
        wire::Evaluation {
            subject: None,
            action: Some(wire::ActionName { name: self.permission.clone() }),
            resource: Some(entity(kind, id)),
            context: self.at_least.map(|seq| wire::Context { at_least: Some(seq) }),
        }
    }

    /// An account's identifier says nothing outside its customer.
    fn within(&self, decision: Decision) -> Decision {
        match (&decision, &self.account, &self.organisation) {
            (Decision::Yes(yes), Some(_), Some(wanted)) if yes.organisation != *wanted => {
                Decision::no("wrong_resource", "The session is for another customer.")
            }
            _ => decision,
        }
    }
}

/// What the introspection of a token says (RFC 7662).
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Introspection {
    /// In force, with its claims.
    Active(Map<String, Value>),
    /// Not in force, or nobody can tell: then with the cause.
    Inactive(Option<String>),
}

impl Comity {
    /// # Errors
    ///
    /// If the address is neither https nor on this machine, or the key or the time-out cannot be
    /// used.
    pub fn new(settings: &Settings) -> Result<Self, WrongSetting> {
        let url = address(&settings.url, settings.plain_http)?;
        let key = settings.key.reveal();
        let wrong = WrongSetting("a key is 1 to 4096 visible ASCII characters");
        if key.is_empty() || key.len() > 4096 || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong);
        }
        let mut key = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| wrong)?;
        key.set_sensitive(true);
        Ok(Self { url, key, http: Http::new(settings.timeout)? })
    }

    /// May the session of this token do this to that, now? Whatever is not clearly a yes is a no,
    /// with the reason `unavailable` where no trustworthy answer came in time.
    pub async fn decide(&self, token: &str, question: &Question) -> Decision {
        let wrong = unusable(token).or_else(|| question.unaskable());
        if let Some(wrong) = wrong {
            return Decision::invalid(wrong);
        }
        let body = wire::Evaluation { subject: Some(subject(token)), ..question.wire() };
        let id = question.request_id.as_deref();
        let answer = self.post("/access/v1/evaluation", JSON, text(&body), id);
        match answer.await {
            Ok(answer) => {
                let decision = not_answered(&answer).unwrap_or_else(|| read(&answer.body));
                question.within(decision)
            }
            Err(NoAnswer(cause)) => Decision::unavailable(cause),
        }
    }

    /// Several questions about one token in one call; as many answers, in the same order. The
    /// identifier of the first one that has one goes along.
    pub async fn decide_all(&self, token: &str, questions: &[Question]) -> Vec<Decision> {
        let all = |decision: &Decision| questions.iter().map(|_| decision.clone()).collect();
        let wrong = unusable(token).or_else(|| questions.iter().find_map(Question::unaskable));
        if let Some(wrong) = wrong {
            return all(&Decision::invalid(wrong));
        }
        if questions.is_empty() {
            return Vec::new();
        }
        let asked = questions.iter().map(Question::wire).collect();
        let subject = Some(subject(token));
        let body = wire::Evaluations { subject, evaluations: Some(asked), ..Default::default() };
        let id = questions.iter().find_map(|q| q.request_id.as_deref());
        let answer = match self.post("/access/v1/evaluations", JSON, text(&body), id).await {
            Ok(answer) => answer,
            Err(NoAnswer(cause)) => return all(&Decision::unavailable(cause)),
        };
        if let Some(refused) = not_answered(&answer) {
            return all(&refused);
        }
        match answer.body.get("evaluations").and_then(Value::as_array) {
            Some(answers) if answers.len() == questions.len() => {
                questions.iter().zip(answers).map(|(q, a)| q.within(read(a))).collect()
            }
            _ => all(&Decision::unavailable("malformed")),
        }
    }

    /// Asks online what a token is worth. It counts no call and decides nothing about accounts.
    /// `application` is the code of yours, to which the key belongs.
    pub async fn introspect(&self, token: &str, application: &str) -> Introspection {
        if unusable(token).is_some() {
            return Introspection::Inactive(None);
        }
        let Some(basic) = self.basic(application) else {
            return Introspection::Inactive(None);
        };
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token)
            .finish();
        let answer = match self.send("/oauth/introspect", FORM, form, None, basic).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return Introspection::Inactive(Some(answer.status_cause())),
            Err(NoAnswer(cause)) => return Introspection::Inactive(Some(cause.to_owned())),
        };
        let active = answer.body.get("active").and_then(Value::as_bool);
        match (active, answer.body) {
            (Some(true), Value::Object(claims)) => Introspection::Active(claims),
            (Some(false), _) => Introspection::Inactive(None),
            _ => Introspection::Inactive(Some("malformed".to_owned())),
        }
    }

    async fn post(
        &self,
        path: &str,
        kind: &'static str,
        body: String,
        id: Option<&str>,
    ) -> Result<Answer, NoAnswer> {
        self.send(path, kind, body, id, self.key.clone()).await
    }

    /// The application's name and key, as RFC 6749, section 2.3.1 joins them.
    fn basic(&self, application: &str) -> Option<HeaderValue> {
        let key = self.key.to_str().ok()?.strip_prefix("Bearer ")?;
        let encoded =
            |part: &str| url::form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>();
        let joined = BASE64_STANDARD.encode(format!("{}:{}", encoded(application), encoded(key)));
        let mut value = HeaderValue::from_str(&format!("Basic {joined}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    async fn send(
        &self,
        path: &str,
        kind: &'static str,
        body: String,
        id: Option<&str>,
        authorization: HeaderValue,
    ) -> Result<Answer, NoAnswer> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::ACCEPT, HeaderValue::from_static(JSON));
        let id = id.filter(|id| fits(id)).map_or_else(clock::request_id, str::to_owned);
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        let url = format!("{}{path}", self.url);
        self.http.ask(Call { method: Method::POST, url, headers, body: body.into_bytes() }).await
    }
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn entity(kind: &str, id: &str) -> wire::Entity {
    wire::Entity { kind: kind.to_owned(), id: Some(id.to_owned()), properties: None }
}

fn subject(token: &str) -> wire::Entity {
    entity("partner_session", token)
}

/// Types of texts and numbers always have a text; an empty body would be refused.
fn text(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_default()
}

/// Whether a header can carry it as the identifier of a request.
fn fits(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~:/+=-".contains(&b))
}

fn unusable(token: &str) -> Option<&'static str> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._~+/=-".contains(&b);
    let usable = (1..=4096).contains(&token.len()) && token.bytes().all(good);
    (!usable).then_some("The token is malformed.")
}

/// What is no answer at all, as a decision.
fn not_answered(answer: &Answer) -> Option<Decision> {
    match (answer.status.as_u16(), answer.code()) {
        (200, _) => None,
        (400 | 422, Some(_)) => Some(Decision::invalid("Comity refused the question.")),
        (503, Some(code @ ("stale" | "busy"))) => Some(Decision::unavailable(code)),
        _ => Some(Decision::unavailable(answer.status_cause())),
    }
}
