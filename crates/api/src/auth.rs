//! Who is calling: one bearer token or key in `Authorization`, nothing in the URL.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::header;
use axum::http::request::Parts;
use comity_app::App;
use comity_domain::command::{Caller, Door, Principal};
use comity_domain::refusal::Refusal;

use crate::limits::Counted;
use crate::problem::Problem;

/// The one route that a partner session may call.
const CLOSE: &str = "/v1/sessions/{session}/close";
/// The route that says by itself when it cannot know.
const EVALUATION: &str = "/access/v1/evaluation";

/// A caller whose token or key is in force now. The kernel judges it again at the head of the log.
#[derive(Debug)]
pub struct Who(pub Caller);

/// The bearer token of a request, if there is exactly one.
pub fn bearer(parts: &Parts) -> Option<&str> {
    let mut all = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (all.next()?, all.next());
    let (scheme, token) = first.to_str().ok()?.split_once(' ')?;
    (second.is_none() && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

/// What somebody is told who shows nothing that is in force: that, or to come less often.
fn stranger(parts: &Parts) -> Problem {
    let counted = Counted::beside(parts).map_or(Ok(()), |c| c.limits.stranger(c.from));
    counted.map_or_else(Problem::from, |()| Problem::unauthenticated())
}

impl FromRequestParts<Arc<App>> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let token = bearer(parts).ok_or_else(|| stranger(parts))?;
        let route = parts.extensions.get::<MatchedPath>();
        let is = |path: &str| route.is_some_and(|p| p.as_str() == path);
        // Whether a token or key is in force is a yes like any other: a node that cannot confirm
        // that it is current does not know it.
        if !app.is_current() && !is(EVALUATION) {
            return Err(Problem::not_current(app));
        }
        let caller = app.caller(token, Door::Api).ok_or_else(|| stranger(parts))?;
        if let Some(counted) = Counted::beside(parts) {
            counted.limits.caller(app, &caller, parts)?;
        }
        // From inside a partner session nothing can be done here but to leave it (T8), and nothing
        // is looked up before that is said.
        if matches!(caller.principal, Principal::PartnerSession(_)) && !is(CLOSE) {
            return Err(Refusal::PartnerSession.into());
        }
        Ok(Self(caller))
    }
}

/// A person by their own sign-in.
pub fn person(who: &Caller) -> Result<comity_domain::ids::PersonId, Problem> {
    match who.principal {
        Principal::Person { person, .. } => Ok(person),
        Principal::PartnerSession(_) => Err(Refusal::PartnerSession.into()),
        _ => Err(Refusal::Forbidden("a person's own sign-in").into()),
    }
}
