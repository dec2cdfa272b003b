//! Who operates: by an operate key, shown once to its own page.
//!
//! The cookie never holds the key. It names it, says when it was shown and when the cookie was last
//! used, under an authentication code of this installation: unused for fifteen minutes or older than
//! an hour it opens nothing, and the kernel judges the key anew with every page and command, so
//! retiring the key ends it at once. Without a row of its own, a copy of the cookie outlives signing
//! out, for an hour at most.

use askama::Template;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use comity_app::App;
use comity_domain::command::{Caller, Door, Principal};
use comity_domain::ids::KeyId;
use comity_domain::may::{self, Action, Thing};
use comity_domain::time::{HOUR, Instant};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cookie::{self, IDLE};
use crate::parts::{Banner, Field, Tone, banner};
use crate::routes::Console;
use crate::shell;
use crate::sign_in::{Around, Bare};
use crate::visitor::{self, Counted, Open};
use crate::wrong::Wrong;

/// How long it may last.
const LONGEST: i64 = HOUR;
const COOKIE: &str = "__Host-comity-operator";
/// Where one signs in.
const SIGN_IN: &str = "/console/operator/sign-in";

/// The operator.
#[derive(Debug, Clone)]
pub struct Operator {
    /// As the kernel judges them.
    pub caller: Caller,
    key: KeyId,
    since: Instant,
    /// What every form of theirs has to hold.
    pub form_key: String,
    /// What was just done, to be said on this page.
    pub said: Option<String>,
}

/// Whether this caller operates now.
fn operates(app: &App, caller: &Caller) -> bool {
    let (state, now) = (app.state(), app.now());
    may::authentic(&state, caller, now).is_ok()
        && may::check(&state, caller, Action::ReadPlatform, Thing::platform(), now).is_ok()
}

fn written(app: &App, key: KeyId, since: Instant) -> String {
    let open = format!("{key}.{}.{}", since.0, app.now().0);
    format!("{open}.{}", visitor::code(app, "operator", &open))
}

/// The key that a cookie names and when it was shown; `None` if we did not write it, or it is over.
fn read(app: &App, value: &str) -> Option<(KeyId, Instant)> {
    let (open, given) = value.rsplit_once('.')?;
    if !visitor::same(app, &visitor::code(app, "operator", open), given) {
        return None;
    }
    let mut parts = open.split('.');
    let key: KeyId = parts.next()?.parse().ok()?;
    let since = Instant(parts.next()?.parse().ok()?);
    let used = Instant(parts.next()?.parse().ok()?);
    let now = app.now();
    (now.since(used) < IDLE && now.since(since) < LONGEST).then_some((key, since))
}

fn known(app: &App, headers: &HeaderMap) -> Option<Operator> {
    let (key, since) = read(app, &cookie::sent(headers, COOKIE)?)?;
    let caller = Caller { principal: Principal::Key(key), door: Door::Console };
    let form_key = visitor::code(app, "operator-form", &format!("{key}.{}", since.0));
    let said = shell::said(headers);
    operates(app, &caller).then_some(Operator { caller, key, since, form_key, said })
}

impl Operator {
    /// A page for them, with the cookie's time renewed.
    pub fn shows(&self, app: &App, page: &impl Template) -> Result<Response, Wrong> {
        let mut response = Html(page.render()?).into_response();
        cookie::set(&mut response, COOKIE, written(app, self.key, self.since));
        if self.said.is_some() {
            shell::was_said(&mut response);
        }
        Ok(response)
    }
}

impl FromRequestParts<Console> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        if !console.app.is_current() {
            return Err(Wrong::NotCurrent.into_response());
        }
        if let Some(operator) = known(&console.app, &parts.headers) {
            return Ok(operator);
        }
        if cookie::left_at_home(parts, COOKIE) {
            return Err(Wrong::OnceMore { back: parts.uri.path().to_owned() }.into_response());
        }
        Err(Redirect::to(SIGN_IN).into_response())
    }
}

/// A form that a page of this operator sent.
#[derive(Debug)]
pub struct Ordered<T> {
    /// Who sent it.
    pub who: Operator,
    /// What it says.
    pub form: T,
}

impl<T: DeserializeOwned> FromRequest<Console> for Ordered<T> {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let who = Operator::from_request_parts(&mut parts, console).await?;
        let form = visitor::keyed(&console.app, &parts, body, &who.form_key).await;
        Ok(Self { form: form.map_err(Wrong::into_response)?, who })
    }
}

#[derive(Template)]
#[template(path = "operator_sign_in.html")]
struct SignInPage {
    around: Around,
    banner: Option<Banner>,
    key: Field,
}

fn sign_in_page(wrong: Option<&str>) -> Result<Html<String>, Wrong> {
    let page = SignInPage {
        around: Around::new(),
        banner: wrong.map(|text| banner(Tone::Bad, text)),
        key: Field::new("key", "Operate key")
            .kind("password")
            .most(200)
            .hint("A platform key for operate; it begins with cmt_key_."),
    };
    Ok(Html(page.render()?))
}

/// The page for signing in with a key.
pub async fn page(who: Result<Operator, Response>) -> Result<Response, Wrong> {
    match who {
        Ok(_) => Ok(Redirect::to("/console/operator").into_response()),
        Err(_) => Ok(sign_in_page(None)?.into_response()),
    }
}

/// A key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    key: String,
}

/// Signs in with a key. Whatever else was shown, it looks the same, and costs a try.
pub async fn sign_in(
    State(console): State<Console>,
    Counted(beside): Counted,
    Open(form): Open<Shown>,
) -> Result<Response, Wrong> {
    let app = &console.app;
    beside.limits.sign_in_step(beside.from)?;
    if !app.is_current() {
        return Err(Wrong::NotCurrent);
    }
    let caller = app.caller(form.key.trim(), Door::Console);
    let key = caller.filter(|caller| operates(app, caller)).map(|caller| caller.principal);
    let Some(Principal::Key(key)) = key else {
        let page = sign_in_page(Some("This is no operate key that is in force."))?;
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let mut response = Redirect::to("/console/operator").into_response();
    cookie::set(&mut response, COOKIE, written(app, key, app.now()));
    Ok(response)
}

/// Takes the cookie away.
pub async fn sign_out(_: Ordered<Bare>) -> Response {
    let mut response = Redirect::to(SIGN_IN).into_response();
    cookie::remove(&mut response, COOKIE);
    response
}
