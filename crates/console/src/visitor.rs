//! Who is looking.
//!
//! The cookie holds the token of a person's own sign-in, the same noun as the API's bearer token, and
//! when it was last used, under an authentication code of this installation. So the idle limit holds
//! on every node and after a restart without a write: a cookie that was not renewed for fifteen
//! minutes opens nothing, whoever kept a copy. Only who entered a customer meanwhile, and works there
//! and not here, comes home without a new sign-in. The sign-in itself ends after eight hours.

use std::sync::Arc;

use axum::extract::{self, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_app::App;
use comity_app::limits::{Beside, Lane, TooOften};
use comity_app::node::Done;
use comity_app::tokens::{self, Kind};
use comity_domain::command::{Asked, Caller, Door, Principal};
use comity_domain::ids::{OrganisationId, PersonId, SignInId};
use comity_domain::session::SessionState;
use comity_domain::state::State;
use comity_domain::time::{Instant, SECOND};
use comity_domain::view::portal;
use serde::de::DeserializeOwned;

use crate::cookie::{self, IDLE};
use crate::routes::Console;
use crate::shell;
use crate::stay::{self, Inside};
use crate::tenants::{self, Switch};
use crate::wrong::Wrong;

/// How often the cookie's time is renewed at most.
const RENEWED: i64 = 60 * SECOND;
const COOKIE: &str = "__Host-comity";
/// The largest form, in bytes.
const MOST_FORM: usize = 256 * 1024;

/// A person who is signed in.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// As the kernel judges them.
    pub caller: Caller,
    /// Who.
    pub person: PersonId,
    /// By which sign-in.
    pub sign_in: SignInId,
    /// What every form of theirs has to hold.
    pub form_key: String,
    /// What was just done, to be said on this page.
    pub said: Option<String>,
    /// How many notices they have not read where they are looking.
    pub unread: u32,
    /// In how many stays they are.
    pub inside: u32,
    /// The one of them that ends first.
    pub stay: Option<Arc<Inside>>,
    /// Where they may go from here.
    pub switch: Arc<Switch>,
}

impl Visitor {
    /// Has a command carried out.
    pub async fn run(&self, app: &App, command: impl Into<Asked>) -> Result<Done, Wrong> {
        Ok(app.run(&self.caller, command).await?)
    }
}

/// An authentication code of this installation: what it is for, and over what.
pub fn code(app: &App, what: &str, text: &str) -> String {
    let mac = app.keys().mac(format!("console/{what}\n{text}").as_bytes());
    URL_SAFE_NO_PAD.encode(mac.get(..18).unwrap_or_default())
}

/// The cookie for a token, used now.
fn written(app: &App, token: &str, now: Instant) -> String {
    let open = format!("{token}.{}", now.0);
    format!("{open}.{}", code(app, "cookie", &open))
}

/// The token of a cookie and when it was used last; `None` if we did not write it.
fn read<'c>(app: &App, value: &'c str) -> Option<(&'c str, Instant)> {
    let (open, given) = value.rsplit_once('.')?;
    if !same(app, &code(app, "cookie", open), given) {
        return None;
    }
    let (token, used) = open.rsplit_once('.')?;
    Some((token, Instant(used.parse().ok()?)))
}

/// Whether a cookie that was used last at `used` lay idle since. A stay that began before it did is a
/// use of it until the stay's end, which is never far: it has a deadline.
fn is_idle(state: &State, person: PersonId, used: Instant, now: Instant) -> bool {
    let stays = state.sessions_of(person).filter_map(|id| state.sessions.get(id));
    let ends = stays.filter(|s| s.started.since(used) < IDLE).map(|s| match s.state {
        SessionState::Running => s.deadline.min(now),
        SessionState::Ended { at, .. } => at,
    });
    let last = ends.max().map_or(used, |end| end.max(used));
    now.since(last) >= IDLE
}

/// Equal codes under a key that nobody knows: what differs tells nothing.
pub fn same(app: &App, a: &str, b: &str) -> bool {
    app.keys().mac(a.as_bytes()) == app.keys().mac(b.as_bytes())
}

/// Lets a browser in: the cookie of a new sign-in. It replaces whatever the browser had (T22).
pub fn let_in(app: &App, response: &mut Response, token: &str) {
    cookie::set(response, COOKIE, written(app, token, app.now()));
}

/// Takes the cookie away.
pub fn let_out(response: &mut Response) {
    cookie::remove(response, COOKIE);
}

/// Finds out who is looking, before any page, and renews the cookie's time. What a page asks for by
/// itself is no use of it: such addresses end in `/live`.
pub async fn recognise(
    extract::State(console): extract::State<Console>,
    mut request: Request,
    next: Next,
) -> Response {
    let app = console.app.clone();
    let now = app.now();
    let sent = cookie::sent(request.headers(), COOKIE);
    let known = sent.as_deref().and_then(|c| read(&app, c)).map(|(t, u)| (t.to_owned(), u));
    let said = shell::said(request.headers());
    let visitor = known.as_ref().and_then(|(token, used)| {
        visitor(&app, token).filter(|v| !is_idle(&app.state(), v.person, *used, now))
    });
    if let (Some(visitor), Some(beside)) = (&visitor, request.extensions().get::<Beside>())
        && let Err(no) = counted(&app, visitor, beside, &request)
    {
        return Wrong::from(no).into_response();
    }
    // The stylesheet and the like are files that cost nothing.
    let file = request.uri().path().starts_with("/console/assets/");
    if visitor.is_none()
        && !file
        && let Some(beside) = request.extensions().get::<Beside>()
        && let Err(no) = beside.limits.stranger(beside.from)
    {
        return Wrong::from(no).into_response();
    }
    let by_itself = request.uri().path().ends_with("/live");
    let visitor = match visitor {
        Some(visitor) if !by_itself => {
            let unread = unread(&app, visitor.person, request.uri().path()).await;
            let state = app.state();
            let stays: Vec<_> = portal::stays(&state, visitor.person, now).collect();
            let first = stays.iter().min_by_key(|(_, s)| s.deadline);
            let stay = first.and_then(|(id, s)| stay::inside(&state, *id, s, now)).map(Arc::new);
            let inside = u32::try_from(stays.len()).unwrap_or(u32::MAX);
            let switch = Arc::new(tenants::switch(&state, visitor.person, now));
            Some(Visitor { said: said.clone(), unread, inside, stay, switch, ..visitor })
        }
        known => known,
    };
    let valid = visitor.is_some();
    if let Some(visitor) = visitor {
        request.extensions_mut().insert(visitor);
    }
    let mut response = next.run(request).await;
    if let Some((token, used)) = known.filter(|_| valid && !by_itself)
        && now.since(used) >= RENEWED
        && !response.headers().contains_key(header::SET_COOKIE)
    {
        let_in(&app, &mut response, &token);
    }
    if said.is_some() && !by_itself && response.status() == StatusCode::OK {
        shell::was_said(&mut response);
    }
    response
}

/// The last part of an address to which a form is sent that ends something: it has a lane of its
/// own, so that whoever has read or written much can still revoke (T46).
const ENDINGS: [&str; 12] = [
    "sign-out",
    "sign-out-everywhere",
    "deny",
    "revoke",
    "narrow",
    "end",
    "lock",
    "cancel",
    "home",
    "remove",
    "give-up",
    "delete",
];

/// Counts a visitor together with what they do at the API.
fn counted(
    app: &App,
    visitor: &Visitor,
    beside: &Beside,
    request: &Request,
) -> Result<(), TooOften> {
    let path = request.uri().path();
    let last = path.rsplit('/').next().unwrap_or_default();
    let lane = match *request.method() {
        Method::GET | Method::HEAD => Lane::Read,
        _ if ENDINGS.contains(&last) => Lane::End,
        _ => Lane::Write,
    };
    let state = app.state();
    let home =
        |person| own_in(&state, path, person).or_else(|| state.organisations_of(person).next());
    beside.limits.caller(&visitor.caller, lane, home)
}

/// The organisation of an address, if the person is a member there.
fn own_in(state: &State, path: &str, person: PersonId) -> Option<OrganisationId> {
    let named = path.strip_prefix("/console/o/")?.split('/').next()?.parse().ok()?;
    state.members.contains_key(&(named, person)).then_some(named)
}

/// The limits, and where the request comes from.
#[derive(Debug)]
pub struct Counted(pub Beside);

impl FromRequestParts<Console> for Counted {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, _: &Console) -> Result<Self, Wrong> {
        let beside = parts.extensions.get::<Beside>().cloned();
        beside.map(Self).ok_or_else(|| Wrong::Broken("a page stands outside of the limits".into()))
    }
}

/// How many notices wait in the organisation of the address. Nobody who may not read them is shown
/// the number; where it cannot be read, the page is shown without.
async fn unread(app: &Arc<App>, person: PersonId, path: &str) -> u32 {
    let Some(organisation) = own_in(&app.state(), path, person) else { return 0 };
    let app = app.clone();
    let counted = tokio::task::spawn_blocking(move || app.unread(organisation, person)).await;
    counted.ok().and_then(Result::ok).unwrap_or(0)
}

fn visitor(app: &App, token: &str) -> Option<Visitor> {
    // Nothing but a person's own sign-in opens the console: no key, no partner session (T8).
    let (Kind::SignIn, _) = tokens::parse(token)? else { return None };
    let caller = app.caller(token, Door::Console)?;
    let Principal::Person { person, sign_in } = caller.principal else { return None };
    Some(Visitor {
        caller,
        person,
        sign_in,
        form_key: code(app, "form", token),
        said: None,
        unread: 0,
        inside: 0,
        stay: None,
        switch: Arc::default(),
    })
}

impl FromRequestParts<Console> for Visitor {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Wrong> {
        // Whether a sign-in is in force is a yes like any other.
        if !console.app.is_current() {
            return Err(Wrong::NotCurrent);
        }
        if let Some(visitor) = parts.extensions.get::<Self>() {
            return Ok(visitor.clone());
        }
        let back = parts.uri.path_and_query().map_or("/console", |p| p.as_str());
        if cookie::left_at_home(parts, COOKIE) {
            return Err(Wrong::OnceMore { back: back.to_owned() });
        }
        let back = if parts.method == Method::GET { back } else { "/console" };
        Err(Wrong::SignIn { back: back.to_owned() })
    }
}

/// A form that a page of this very sign-in sent.
#[derive(Debug)]
pub struct Sent<T> {
    /// Who sent it.
    pub who: Visitor,
    /// What it says.
    pub form: T,
}

impl<T: DeserializeOwned> FromRequest<Console> for Sent<T> {
    type Rejection = Wrong;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Wrong> {
        let (mut parts, body) = request.into_parts();
        let who = Visitor::from_request_parts(&mut parts, console).await?;
        let form = keyed(&console.app, &parts, body, &who.form_key).await?;
        Ok(Self { who, form })
    }
}

/// A form that holds this key, which is taken off.
pub async fn keyed<T: DeserializeOwned>(
    app: &App,
    parts: &Parts,
    body: axum::body::Body,
    form_key: &str,
) -> Result<T, Wrong> {
    let mut fields = fields(parts, body).await?;
    let keys: Vec<String> =
        fields.extract_if(.., |(name, _)| name == "form_key").map(|(_, key)| key).collect();
    match keys.as_slice() {
        [key] if same(app, key, form_key) => filled(&fields),
        _ => Err(Wrong::ForeignForm),
    }
}

/// A form of somebody who is not signed in yet. That it comes from our own page is the guard's.
#[derive(Debug)]
pub struct Open<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Console> for Open<T> {
    type Rejection = Wrong;

    async fn from_request(request: Request, _: &Console) -> Result<Self, Wrong> {
        let (parts, body) = request.into_parts();
        Ok(Self(filled(&fields(&parts, body).await?)?))
    }
}

async fn fields(parts: &Parts, body: axum::body::Body) -> Result<Vec<(String, String)>, Wrong> {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let is_form = kind.is_some_and(|k| k.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Err(Wrong::Form("The form was sent in another shape than pages send it.".into()));
    }
    let bytes = axum::body::to_bytes(body, MOST_FORM)
        .await
        .map_err(|_| Wrong::Form("The form is larger than 256 KiB.".into()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Wrong::Form("It is not UTF-8.".into()))?;
    serde_html_form::from_str(text).map_err(|e| Wrong::Form(e.to_string()))
}

fn filled<T: DeserializeOwned>(fields: &[(String, String)]) -> Result<T, Wrong> {
    let text = serde_html_form::to_string(fields).map_err(|e| Wrong::Form(e.to_string()))?;
    serde_html_form::from_str(&text).map_err(|e| Wrong::Form(e.to_string()))
}

/// Reads an empty field as none.
pub fn blank<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = serde::Deserialize::deserialize(d)?;
    Ok(text.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()))
}
