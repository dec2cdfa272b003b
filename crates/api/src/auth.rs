//! Who is calling: one bearer token or key in `Authorization`, nothing in the URL.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::header;
use axum::http::request::Parts;
use comity_app::App;
use comity_app::node::Done;
use comity_domain::command::{Asked, Caller, Command, Door, Principal};
use comity_domain::refusal::Refusal;
use comity_domain::version::{Saw, Seen, Versioned};

use crate::again::Sending;
use crate::limits::Counted;
use crate::problem::Problem;
use crate::versions::if_match;

/// The one route that a partner session may call.
const CLOSE: &str = "/v1/sessions/{session}/close";
/// The route that says by itself when it cannot know.
const EVALUATION: &str = "/access/v1/evaluation";

/// A caller whose token or key is in force now. The kernel judges it again at the head of the log.
///
/// Every command of a handler goes through here: so none forgets what its caller says about sending it
/// again, and about what they saw before (a test reads the handlers for it).
#[derive(Debug)]
pub struct Who(pub Caller, Says);

/// What a request says beside what it asks.
#[derive(Debug)]
pub struct Says {
    sending: Option<Arc<Sending>>,
    saw: Option<Saw>,
}

impl Who {
    /// Has a command carried out, once however often it is sent.
    pub async fn run(&self, app: &App, command: Command) -> Result<Done, Problem> {
        self.put_together(app, None, || Ok(command)).await
    }

    /// The same for one that replaces what two people may edit: only if it is what the caller saw, if
    /// they say what they saw.
    pub async fn edit(&self, app: &App, of: Versioned, command: Command) -> Result<Done, Problem> {
        self.put_together(app, self.seen(of), || Ok(command)).await
    }

    /// What the caller says that they saw of it, if anything.
    pub fn seen(&self, of: Versioned) -> Option<Seen> {
        self.1.saw.clone().map(|saw| Seen { of, saw })
    }

    /// What the caller says that they saw of it, which they have to say once it is there.
    pub fn must_see(&self, of: Versioned) -> Seen {
        Seen { of, saw: self.1.saw.clone().unwrap_or(Saw::NotSaid) }
    }

    /// Has a command carried out that has to be put together first, from names that mean something
    /// now. One that was carried out before may name what is gone since.
    pub async fn put_together(
        &self,
        app: &App,
        seen: Option<Seen>,
        command: impl FnOnce() -> Result<Command, Problem>,
    ) -> Result<Done, Problem> {
        let once = self.1.sending.as_ref().and_then(|s| s.next(app, &self.0));
        let done = match (command(), &once) {
            (Ok(command), _) => app.run(&self.0, Asked { command, once, seen }).await?,
            (Err(problem), None) => return Err(problem),
            (Err(problem), Some(once)) => app.done_before(once).await?.ok_or(problem)?,
        };
        if let Some(sending) = self.1.sending.as_ref().filter(|_| done.again) {
            sending.was_replayed();
        }
        Ok(done)
    }
}

impl Who {
    /// A caller who has shown who they are, with what the request says beside what it asks.
    pub fn of(caller: Caller, parts: &Parts) -> Result<Self, Problem> {
        let sending = parts.extensions.get::<Arc<Sending>>().cloned();
        Ok(Self(caller, Says { sending, saw: if_match(&parts.headers)? }))
    }
}

/// The bearer token of a request, if there is exactly one.
pub fn bearer(parts: &Parts) -> Option<&str> {
    let mut all = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (all.next()?, all.next());
    let (scheme, token) = first.to_str().ok()?.split_once(' ')?;
    (second.is_none() && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

/// What somebody is told who shows nothing that is in force: that, or to come less often.
pub fn stranger(parts: &Parts) -> Problem {
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
        // A signature costs something to look at, and anybody can write one (T46).
        if let Some(counted) = Counted::beside(parts).filter(|_| token.contains('.')) {
            counted.limits.may_be_heard(counted.from)?;
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
        Self::of(caller, parts)
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
