//! The tokens of partner sessions, opaque and signed: one function says which session a token
//! opens, for every door (T25).
//!
//! A signed one (RFC 9068) is for services that cannot ask on every call: it lives a minute at
//! most, and here it counts for nothing by itself. Whoever shows it here is told what holds of its
//! session now (T16).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use comity_domain::application::Application;
use comity_domain::ids::{Digest32, GrantId, OrganisationId, PersonId, SessionId};
use comity_domain::rights::{self, Compiled};
use comity_domain::role::Mode;
use comity_domain::state::State;
use comity_domain::time::{Instant, SECOND};
use serde::{Deserialize, Serialize};

use crate::app::{App, Failure};
use crate::random;
use crate::tokens::{self, Kind};

/// How long a signed token lives at most, in milliseconds.
pub const JWT_LIFE: i64 = 60 * SECOND;
/// The `typ` of a signed access token (RFC 9068, section 2.1).
pub const JWT_TYPE: &str = "at+jwt";

/// Who really acts (RFC 8693, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// The person.
    pub sub: PersonId,
}

/// For whom a session counts: the customer in `act_as`, else the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Sub {
    /// The customer.
    Organisation(OrganisationId),
    /// The person.
    Person(PersonId),
}

/// What a signed token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the claims of RFC 9068 and RFC 8693
pub struct Claims {
    pub iss: String,
    pub sub: Sub,
    /// The audience of the one application that it is for.
    pub aud: String,
    /// The code of that application.
    pub client_id: String,
    /// Seconds since 1970, as in all of JWT.
    pub iat: i64,
    pub exp: i64,
    pub jti: String,
    /// The session.
    pub sid: SessionId,
    pub act: Act,
    /// Permissions, with spaces between.
    pub scope: String,
    #[serde(rename = "urn:comity:organisation")]
    pub organisation: OrganisationId,
    #[serde(rename = "urn:comity:grant")]
    pub grant: GrantId,
    #[serde(rename = "urn:comity:mode")]
    pub mode: Mode,
    /// Which token of the session it goes with: once that is another, this one opens nothing.
    #[serde(rename = "urn:comity:token_epoch")]
    pub token_epoch: String,
}

/// A token that opens a session, or opened one.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The session.
    pub session: SessionId,
    /// The digest by which decisions find it.
    pub digest: Digest32,
    /// What the token itself says, if it is a signed one.
    pub claims: Option<Box<Claims>>,
}

/// A session that goes on, as those who ask about a token are told.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its rights.
    pub session: Arc<Compiled>,
    /// The application.
    pub application: Application,
    /// For whom it counts.
    pub sub: Sub,
    /// Who really acts.
    pub act: Act,
    /// What it may do.
    pub scope: String,
    /// When it began.
    pub started: Instant,
}

/// The token of a session, as signed tokens name it: the start of a SHA-256 over random bits says
/// nothing about them.
fn epoch(token: Digest32) -> String {
    token.0.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// For whom a session counts.
#[must_use]
pub fn sub(session: &Compiled) -> Sub {
    match session.mode {
        Mode::ActAs => Sub::Organisation(session.customer),
        Mode::Direct | Mode::View => Sub::Person(session.actor),
    }
}

fn live(state: &State, session: Arc<Compiled>) -> Option<Live> {
    let rights = session.rights.as_ref().ok()?;
    let scope = rights.shown().texts().collect::<Vec<_>>().join(" ");
    let application = state.applications.get(session.application)?.clone();
    let started = state.sessions.get(session.session)?.started;
    let (sub, act) = (sub(&session), Act { sub: session.actor });
    Some(Live { session, application, sub, act, scope, started })
}

impl App {
    /// Which session this token opens, or opened: an opaque one, or a signed one that is in time
    /// and agrees with the session. Whether the session goes on is for whoever asks to look at.
    #[must_use]
    pub fn opened(&self, token: &str) -> Option<Opened> {
        let state = self.state();
        if let Some((kind, digest)) = tokens::parse(token) {
            let session = (kind == Kind::Session).then(|| state.session_by_token(digest))??;
            return Some(Opened { session, digest, claims: None });
        }
        let claims: Claims = self.signed_here(token, JWT_TYPE)?;
        let session = state.sessions.get(claims.sid)?;
        let grant = state.grants.get(session.grant)?;
        let application = state.applications.get(session.application)?;
        let agrees = claims.iss == self.issuer()
            && claims.aud == *application.audience
            && claims.act.sub == session.person
            && claims.grant == session.grant
            && claims.organisation == grant.customer.organisation
            && claims.token_epoch == epoch(session.token);
        let in_time = self.now() < Instant(claims.exp.saturating_mul(SECOND));
        let (digest, session) = (session.token, claims.sid);
        (agrees && in_time).then(|| Opened { session, digest, claims: Some(Box::new(claims)) })
    }

    /// The session of a token, if it goes on now and is for this application. `None` for
    /// everything else; an error where this node cannot know.
    ///
    /// # Errors
    /// [`Failure::Unavailable`], [`Failure::Guarded`].
    pub fn live(
        &self,
        application: comity_domain::ids::ApplicationId,
        token: &str,
    ) -> Result<Option<(Opened, Live)>, Failure> {
        let found = self.opened(token).and_then(|opened| {
            let entry = self.node().index().by_session(opened.session)?;
            let session = entry.rights.load_full();
            let on = session.application == application && self.now() < session.deadline;
            Some((opened, live(&self.state(), session).filter(|_| on)?))
        });
        self.current()?; // last, so that what was read counts
        Ok(found)
    }

    /// Whether this node can confirm that it is current.
    ///
    /// # Errors
    /// [`Failure::Unavailable`], [`Failure::Guarded`].
    pub fn current(&self) -> Result<(), Failure> {
        match (self.breach(), self.is_current()) {
            (Some(_), _) => Err(Failure::Guarded),
            (None, false) => {
                Err(Failure::Unavailable("this node cannot confirm that it is current"))
            }
            (None, true) => Ok(()),
        }
    }

    /// A signed token for a session that goes on. Writes nothing. Whether the customer allowed
    /// such tokens is looked at here, so that no door can forget it.
    ///
    /// # Errors
    /// A refusal where the session is over or may have none; [`Failure::Unavailable`] while there
    /// is no key or this node is not current.
    pub async fn signed_token(
        self: &Arc<Self>,
        session: SessionId,
    ) -> Result<(String, Claims), Failure> {
        use comity_domain::refusal::Refusal;
        let signer = self.signer().await?;
        // Read after every wait: what ended meanwhile is signed no more (T16).
        let state = &*self.state();
        let compiled = rights::compile(state, session).ok_or(Refusal::NotFound)?;
        let live = live(state, Arc::new(compiled)).ok_or(Refusal::NoAccess)?;
        let now = self.now();
        if now >= live.session.deadline {
            return Err(Refusal::NoAccess.into());
        }
        if !state.grants.get(live.session.grant).is_some_and(|g| g.jwt) {
            return Err(Refusal::JwtNotGranted.into());
        }
        let exp = now.plus(JWT_LIFE).min(live.session.deadline);
        let claims = Claims {
            iss: self.issuer().to_owned(),
            sub: live.sub,
            aud: live.application.audience.to_string(),
            client_id: live.application.code.to_string(),
            iat: now.0.div_euclid(SECOND),
            exp: exp.0.div_euclid(SECOND),
            jti: random_name(),
            sid: session,
            act: live.act,
            scope: live.scope,
            organisation: live.session.customer,
            grant: live.session.grant,
            mode: live.session.mode,
            token_epoch: epoch(live.session.token),
        };
        if self.node().faults().fail_signing.load(Ordering::Acquire) {
            return Err(Failure::Unavailable("a test asked for this"));
        }
        let token = signer.sign(JWT_TYPE, &claims)?;
        self.current()?;
        Ok((token, claims))
    }
}

/// A name that no other token has.
fn random_name() -> String {
    Digest32(random::bytes()).to_string().chars().take(32).collect()
}
