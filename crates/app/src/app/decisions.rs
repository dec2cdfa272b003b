//! Decisions: judged by the index or the published state, counted, and recorded.

use std::sync::Arc;

use comity_decision::decide::{Answer, Sight, decide, decide_own, decide_session};
use comity_decision::index::Entry;
use comity_domain::ids::{ApplicationId, Digest32, OrganisationId, PersonId, SessionId};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::{Compiled, Resource};
use comity_domain::state::State;
use comity_domain::time::Instant;
use comity_store::CallRecord;

use super::App;
use crate::tokens::{self, Kind};

/// What somebody looked up, with whether it may be told.
#[derive(Debug)]
pub struct Seen<T> {
    /// What was found.
    pub found: T,
    /// Whether all of it was still known to be current when it was done.
    pub current: bool,
}

/// What a search looks at: one position of the log, and one instant.
#[derive(Debug)]
pub struct View<'a> {
    app: &'a App,
    /// The state.
    pub state: Arc<State>,
    /// The instant that deadlines are judged by.
    pub now: Instant,
}

impl View<'_> {
    /// A session as decisions see it, if it is one of this application.
    #[must_use]
    pub fn session(&self, id: SessionId, application: ApplicationId) -> Option<Arc<Compiled>> {
        let entry = self.app.node.index().by_session(id)?;
        let compiled = entry.rights.load_full();
        (compiled.application == application).then_some(compiled)
    }

    /// The session that a token opens.
    #[must_use]
    pub fn session_of(&self, token: &str, application: ApplicationId) -> Option<Arc<Compiled>> {
        let entry = self.app.node.index().by_token(&self.app.digest_of(token))?;
        let compiled = entry.rights.load_full();
        (compiled.application == application).then_some(compiled)
    }
}

impl App {
    /// Decides one call by a session's token and counts it. Never blocks.
    #[must_use]
    pub fn evaluate(
        &self,
        application: ApplicationId,
        token: &str,
        asked: Permission<'_>,
        resource: impl FnOnce(&State, OrganisationId) -> Resource,
    ) -> Answer {
        let (index, digest) = (self.node.index(), self.digest_of(token));
        let resource = index.read(&digest, |entry| self.place(entry, resource));
        let answer = decide(index, application, &digest, asked, resource, || self.clock.read());
        self.decided(answer, asked, resource)
    }

    /// Decides one call by a session's identifier and counts it, for an application that checked by
    /// itself what its user showed it. Never blocks.
    #[must_use]
    pub fn evaluate_session(
        &self,
        application: ApplicationId,
        session: SessionId,
        asked: Permission<'_>,
        resource: impl FnOnce(&State, OrganisationId) -> Resource,
    ) -> Answer {
        let index = self.node.index();
        let resource = index.read_session(session, |entry| self.place(entry, resource));
        let clocks = || self.clock.read();
        let answer = decide_session(index, application, session, asked, resource, clocks);
        self.decided(answer, asked, resource)
    }

    /// Decides one call of a member in the own organisation. Never blocks, and counts nothing: it
    /// belongs to no session.
    #[must_use]
    pub fn evaluate_own(
        &self,
        application: ApplicationId,
        asked: Permission<'_>,
        find: impl FnOnce(&State) -> (Option<PersonId>, Resource),
    ) -> Answer {
        let (index, clocks) = (self.node.index(), || self.clock.read());
        let answer = decide_own(index, application, || self.state(), asked, find, clocks);
        self.node.metrics().decided(answer.reason);
        answer
    }

    /// Looks at what is now, without deciding or counting anything. What was found may be told only
    /// if it is `current`.
    pub fn look<T>(&self, at: impl FnOnce(&View<'_>) -> T) -> Seen<T> {
        let sight = Sight::of(self.node.index());
        let view = View { app: self, state: self.state(), now: self.clock.read().wall };
        let found = at(&view);
        Seen { found, current: sight.holds(self.clock.read()) }
    }

    /// The position that decisions reflect now, or a later one.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.node.index().seq()
    }

    /// The digest of the opaque token of the session that a token opens, opaque or signed; what
    /// opens none has the digest of nothing.
    fn digest_of(&self, token: &str) -> Digest32 {
        let nothing = Digest32([0; 32]);
        match tokens::parse(token) {
            Some((Kind::Session, digest)) => digest,
            Some(_) => nothing,
            None => self.opened(token).map_or(nothing, |opened| opened.digest),
        }
    }

    /// What the resource is called is the builder's word, and means something only inside the
    /// session's customer.
    fn place(
        &self,
        entry: Option<&Entry>,
        resource: impl FnOnce(&State, OrganisationId) -> Resource,
    ) -> Resource {
        let customer = entry.map(|e| e.rights.load().customer);
        customer.map_or(Resource::Unknown, |customer| resource(&self.state(), customer))
    }

    fn decided(&self, answer: Answer, asked: Permission<'_>, resource: Resource) -> Answer {
        self.node.metrics().decided(answer.reason);
        if let Some(session) = &answer.session
            && answer.reason != Reason::Stale
        {
            self.book.record(CallRecord {
                session: session.session,
                at: answer.at,
                permission: asked.to_string(),
                resource: recorded(resource),
                reason: answer.reason.code().to_owned(),
                late: answer.late,
            });
        }
        answer
    }
}

/// How a call's record names what was asked about: by Comity's identifier. The builder's own would
/// be a word that no erasure reaches, and so would a name that leads nowhere.
fn recorded(resource: Resource) -> String {
    match resource {
        Resource::Account(account, ..) => format!("account:{account}"),
        Resource::Organisation(organisation) => format!("organisation:{organisation}"),
        Resource::Unknown => "unknown".into(),
    }
}
