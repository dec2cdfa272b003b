//! The gate: a proxy asks before it lets a request through to the builder's API (forward-auth).
//!
//! nginx `auth_request`, Caddy `forward_auth`, Traefik `ForwardAuth` and the HTTP form of Envoy's
//! `ext_authz` send the head of each request here. The builder's table says which permission it
//! needs and on which account; whether the session has it is the same decision as everywhere else,
//! counted once. What is not in the table is refused, and so is what could be read in two ways.
//!
//! Yes is 204 without a body (nginx opens a connection for each body), with headers that say who it
//! is. They are the proxy's to set: whatever the client sent under these names it has to strip.

mod rules;
mod target;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_app::App;
use comity_app::app::WAIT_MS;
use comity_decision::decide::Answer;
use comity_domain::ids::{AccountId, ApplicationId, OrganisationId};
use comity_domain::refusal::Reason;
use comity_domain::rights::{Compiled, Resource};
use comity_domain::role::Mode;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use serde::Deserialize;

use crate::problem::Problem;
use rules::{Needed, NoRule, once, same_variable};
pub use rules::{Rules, Written};
use target::Target;

/// Where the proxy says which request it asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// In `X-Original-Method` and `X-Original-URI`, at `/gate`: as nginx is configured.
    Nginx,
    /// In `X-Forwarded-Method` and `X-Forwarded-Uri`, at `/gate`: Caddy and Traefik.
    Forwarded,
    /// It sends method and path themselves, behind `/gate/envoy`.
    Envoy,
}

/// What becomes of a request without a partner session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoSession {
    /// It is refused.
    #[default]
    Refuse,
    /// It goes through, and no header says who it is: the product has users of its own.
    Pass,
}

/// The section `[gate]` of the config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The code of the application whose API stands behind the proxy.
    pub application: String,
    /// Which proxy asks.
    pub from: From,
    /// What becomes of a request without a partner session.
    #[serde(default)]
    pub no_session: NoSession,
    /// The table.
    #[serde(default)]
    pub rules: Vec<Written>,
}

/// A gate whose table was read.
#[derive(Debug, Clone)]
pub struct Gate {
    application: String,
    from: From,
    no_session: NoSession,
    rules: Rules,
}

impl Settings {
    /// The gate.
    ///
    /// # Errors
    /// What is wrong with which rule.
    pub fn gate(&self) -> Result<Gate, String> {
        let rules = Rules::new(&self.rules)?;
        if rules.is_empty() {
            return Err("gate.rules: name at least one; without any nothing is let through".into());
        }
        let (application, from) = (self.application.clone(), self.from);
        Ok(Gate { application, from, no_session: self.no_session, rules })
    }
}

impl Gate {
    /// Where the proxy asks.
    #[must_use]
    pub fn path(&self) -> &'static str {
        match self.from {
            From::Nginx | From::Forwarded => "/gate",
            From::Envoy => ENVOY,
        }
    }

    /// What it is for, in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        let others = match self.no_session {
            NoSession::Refuse => "refused",
            NoSession::Pass => "let through",
        };
        let paths = self.rules.len();
        format!(
            "{}: paths in the table: {paths}; requests without a session are {others}",
            self.application
        )
    }
}

/// The path behind which Envoy asks.
const ENVOY: &str = "/gate/envoy";

/// The door. It stands beside the other routes: no limit of callers is for it, since all its
/// questions come from one proxy.
pub fn router(app: Arc<App>, gate: Gate) -> Router {
    let envoy = gate.from == From::Envoy;
    let gate = Arc::new(gate);
    let router = Router::new();
    let router = if envoy {
        router
            .route(ENVOY, any(ask))
            .route("/gate/envoy/", any(ask))
            .route("/gate/envoy/{*path}", any(ask))
    } else {
        router.route("/gate", any(ask))
    };
    router.with_state((app, gate))
}

async fn ask(State((app, gate)): State<(Arc<App>, Arc<Gate>)>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("", |p| p.as_str());
    match gate.decide(&app, (parts.method.as_str(), path), &parts.headers).await {
        Ok(response) => response,
        Err(no) => no.response(),
    }
}

/// Why a request is not let through.
struct No(StatusCode, &'static str, &'static str);

impl No {
    fn ambiguous() -> Self {
        let says = "This request can be read in more than one way; it is not let through.";
        Self(StatusCode::FORBIDDEN, "ambiguous_request", says)
    }

    fn of(reason: Reason) -> Self {
        use Reason as R;
        let status = match reason {
            R::SessionUnknown
            | R::SessionClosed
            | R::SessionExpired
            | R::Restored
            | R::EndedByCustomer => StatusCode::UNAUTHORIZED,
            R::Stale | R::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        };
        Self(status, reason.code(), reason.sentence())
    }

    fn response(self) -> Response {
        let Self(status, code, says) = self;
        let mut response = Problem::new(status, code, says).into_response();
        let headers = response.headers_mut();
        headers.insert(REASON, HeaderValue::from_static(code));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750, section 3: what was sent was no good, or nothing was.
            let how =
                if code == "unauthenticated" { "Bearer" } else { "Bearer error=\"invalid_token\"" };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(how));
        }
        response
    }
}

impl std::convert::From<NoRule> for No {
    fn from(no: NoRule) -> Self {
        match no {
            NoRule::Unmatched => {
                let says = "No rule of the gate lets a partner session do this.";
                Self(StatusCode::FORBIDDEN, "no_rule", says)
            }
            NoRule::TwoWays | NoRule::Account => Self::ambiguous(),
        }
    }
}

/// What a request shows of who sends it.
enum Shown<'h> {
    /// A token that may be a partner session's.
    Token(&'h str),
    /// Nothing of Comity's.
    Nothing,
    /// More than one thing.
    TwoThings,
}

/// Which session a request shows. Whatever looks like Comity's own counts as its token, also when it
/// is none any more: an ended session must not become a request without one.
fn shown<'h>(app: &App, headers: &'h HeaderMap) -> Shown<'h> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let Some(first) = all.next() else { return Shown::Nothing };
    if all.next().is_some() {
        return Shown::TwoThings;
    }
    let Ok(text) = first.to_str() else { return Shown::TwoThings };
    if let Some((scheme, token)) = text.trim().split_once(' ')
        && scheme.eq_ignore_ascii_case("bearer")
        && is_ours(app, token.trim())
    {
        return Shown::Token(token.trim());
    }
    // A token of ours in a place of its own.
    let mut words = text.split([' ', '\t', ',', '=', '"']);
    if text.contains("cmt_") || words.any(|word| is_ours(app, word)) {
        return Shown::TwoThings;
    }
    Shown::Nothing
}

/// By these a client tells some frameworks that it means another method or path than it sent.
const INSTEAD: [&str; 5] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Whether some framework would take the request for another.
fn means_another(target: &Target<'_>, headers: &HeaderMap) -> bool {
    let instead = |name: &HeaderName| INSTEAD.iter().any(|i| same_variable(name.as_str(), i));
    target.may_have("_method") || headers.keys().any(instead)
}

/// Whether a token says that it is Comity's. Nothing is believed of it by that.
fn is_ours(app: &App, token: &str) -> bool {
    #[derive(Deserialize)]
    struct Issued {
        iss: Option<String>,
    }
    let issuer = || -> Option<String> {
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice::<Issued>(&payload).ok()?.iss
    };
    token.starts_with("cmt_") || issuer().is_some_and(|iss| iss == app.issuer())
}

impl Gate {
    async fn decide(
        &self,
        app: &App,
        (method, path): (&str, &str),
        headers: &HeaderMap,
    ) -> Result<Response, No> {
        let token = match (shown(app, headers), self.no_session) {
            (Shown::Token(token), _) => token,
            (Shown::TwoThings, _) => return Err(No::ambiguous()),
            (Shown::Nothing, NoSession::Pass) => return Ok(self.yes().into_response()),
            (Shown::Nothing, NoSession::Refuse) => {
                let says = "Enter the customer first and send the session's token.";
                return Err(No(StatusCode::UNAUTHORIZED, "unauthenticated", says));
            }
        };
        let (method, text) = self.asked(method, path, headers).ok_or_else(No::ambiguous)?;
        let target = Target::read(text).map_err(|_| No::ambiguous())?;
        if means_another(&target, headers) {
            return Err(No::ambiguous());
        }
        let needed = self.rules.needed(method, &target, headers)?;
        let application = application(&app.state(), &self.application).ok_or_else(|| {
            let says = "The application that the gate is for is not defined.";
            No(StatusCode::SERVICE_UNAVAILABLE, "unavailable", says)
        })?;
        let answer = answer(app, application, token, &needed).await;
        match &answer.session {
            Some(session) if answer.is_yes() => {
                Ok((self.yes(), who(&app.state(), session)).into_response())
            }
            _ => Err(No::of(answer.reason)),
        }
    }

    /// Method and target of the original request.
    fn asked<'r>(
        &self,
        method: &'r str,
        path: &'r str,
        headers: &'r HeaderMap,
    ) -> Option<(&'r str, &'r str)> {
        let said = |method: &'static str, uri: &'static str| {
            let method = once(headers, &HeaderName::from_static(method))?;
            Some((method, once(headers, &HeaderName::from_static(uri))?))
        };
        match self.from {
            From::Nginx => said("x-original-method", "x-original-uri"),
            From::Forwarded => said("x-forwarded-method", "x-forwarded-uri"),
            From::Envoy => {
                let rest = path.strip_prefix(ENVOY)?;
                Some((method, if rest.is_empty() { "/" } else { rest }))
            }
        }
    }

    /// Envoy takes nothing but 200 for a yes.
    fn yes(&self) -> StatusCode {
        match self.from {
            From::Envoy => StatusCode::OK,
            From::Nginx | From::Forwarded => StatusCode::NO_CONTENT,
        }
    }
}

fn application(state: &World, code: &str) -> Option<ApplicationId> {
    state.applications.iter().find(|(_, a)| *a.code == *code).map(|(id, _)| id)
}

/// The decision. The first use of a session on this node finds no room to count it in, and has some
/// reserved.
async fn answer(app: &App, application: ApplicationId, token: &str, needed: &Needed<'_>) -> Answer {
    const AGAIN_MS: u64 = 5;
    let resource = |state: &World, customer: OrganisationId| match &needed.account {
        None => Resource::Organisation(customer),
        Some(named) => account(state, customer, named),
    };
    for _ in 0..WAIT_MS / AGAIN_MS {
        let answer = app.evaluate(application, token, needed.permission, resource);
        if answer.reason != Reason::Busy {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
    }
    app.evaluate(application, token, needed.permission, resource)
}

/// An account as the builder calls it, in the session's customer.
fn account(state: &World, customer: OrganisationId, named: &str) -> Resource {
    let found = state.words.find(Lookup::Account(customer), named).map(AccountId);
    found
        .and_then(|id| Some((id, state.accounts.get(id)?)))
        .map_or(Resource::Unknown, |(id, a)| Resource::Account(id, a.organisation, a.unit))
}

const REASON: HeaderName = HeaderName::from_static("x-partner-reason");

/// Who comes, for the product: identifiers and codes, no name of anybody.
fn who(state: &World, session: &Compiled) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(10);
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let mode = match session.mode {
        Mode::Direct => "direct",
        Mode::View => "view",
        Mode::ActAs => "act_as",
    };
    let external = |id| {
        let known = state.organisations.get(id);
        known.map_or_else(String::new, |o| visible(state.words.show(o.external)))
    };
    let subject = match session.mode {
        Mode::ActAs => session.customer.to_string(),
        Mode::Direct | Mode::View => session.actor.to_string(),
    };
    set("x-partner-actor", session.actor.to_string());
    set("x-partner-subject", subject);
    set("x-partner-organisation", session.provider.to_string());
    set("x-partner-organisation-id", external(session.provider));
    set("x-partner-customer", session.customer.to_string());
    set("x-partner-customer-id", external(session.customer));
    set("x-partner-session", session.session.to_string());
    set("x-partner-grant", session.grant.to_string());
    set("x-partner-mode", mode.into());
    set("x-partner-roles", roles(state, session));
    headers
}

/// The codes of the roles that the person holds under the grant.
fn roles(state: &World, session: &Compiled) -> String {
    let own = state.assignment(session.grant, session.actor);
    let grant = state.grants.get(session.grant);
    let (Some(own), Some(grant)) = (own, grant) else { return String::new() };
    let lives = |id: &comity_domain::ids::RoleId| {
        let code = &state.roles.get(*id)?.code;
        grant.pinned(*id).filter(|p| state.role_lives(*p)).map(|_| code.to_string())
    };
    own.roles.iter().filter_map(lives).collect::<Vec<_>>().join(",")
}

/// A builder's identifier as a header can carry it: what is no visible ASCII, and the per cent sign,
/// is percent-encoded (RFC 3986, section 2.1).
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
