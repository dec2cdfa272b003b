//! Which application asks: a `decide` key as bearer token, or the application's code and that key
//! by Basic authentication (RFC 7617), which is what many enforcement points can be given.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use comity_app::App;
use comity_domain::command::{Door, Principal};
use comity_domain::ids::ApplicationId;
use comity_domain::may::{self, Action, Thing};

use crate::auth::{Who, stranger};
use crate::limits::Counted;
use crate::problem::Problem;

/// The application that asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker(pub ApplicationId);

/// User and password of a request, if it has exactly one `Authorization` and that is Basic.
fn basic(parts: &Parts) -> Option<(String, String)> {
    let mut all = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (all.next()?, all.next());
    let (scheme, sent) = first.to_str().ok()?.split_once(' ')?;
    if second.is_some() || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(sent.trim()).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

/// The application that asks, and what it says beside what it asks: for its own commands.
#[derive(Debug)]
pub struct Acting(pub Who, pub ApplicationId);

impl FromRequestParts<Arc<App>> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Acting(_, application) = proven(parts, app, Action::Evaluate).await?;
        Ok(Self(application))
    }
}

impl FromRequestParts<Arc<App>> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        proven(parts, app, Action::KeepStream).await
    }
}

async fn proven(parts: &mut Parts, app: &Arc<App>, action: Action) -> Result<Acting, Problem> {
    let (who, code) = match basic(parts) {
        None => (Who::from_request_parts(parts, app).await?, None),
        Some((code, key)) => {
            if !app.is_current() {
                return Err(Problem::not_current(app));
            }
            let caller = app.caller(&key, Door::Api).ok_or_else(|| stranger(parts))?;
            if let Some(counted) = Counted::beside(parts) {
                counted.limits.caller(app, &caller, parts)?;
            }
            // Only a key is a password: what a person or a session holds is shown as a bearer.
            if !matches!(caller.principal, Principal::Key(_)) {
                return Err(Problem::unauthenticated());
            }
            (Who::of(caller, parts)?, Some(code))
        }
    };
    let state = app.state();
    may::check(&state, &who.0, action, Thing::platform(), app.now())?;
    let application = match who.0.principal {
        Principal::Key(key) => state.keys.get(key).and_then(|k| k.application),
        _ => None,
    };
    let application = application.ok_or_else(Problem::not_found)?;
    // A key that is shown under another application's name was put in the wrong place.
    let named = state.applications.get(application).map(|a| &*a.code);
    if code.is_some_and(|code| named != Some(code.as_str())) {
        return Err(Problem::unauthenticated());
    }
    Ok(Acting(who, application))
}
