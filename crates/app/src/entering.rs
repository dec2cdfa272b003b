//! Entering a customer: one way for the token endpoint and the console.

use comity_domain::command::{Asked, Caller, Command, Enter, Once};
use comity_domain::event::Event;
use comity_domain::ids::SessionId;

use crate::app::{App, Failure};
use crate::node::Done;
use crate::tokens::{Kind, Secret};

/// A stay that has begun.
#[derive(Debug)]
pub struct Entered {
    /// The session.
    pub session: SessionId,
    /// Its token, to be shown once.
    pub token: Secret,
    /// What was done.
    pub done: Done,
}

impl App {
    /// Has somebody enter. Whatever token `enter` names, a new one is made for the session.
    ///
    /// # Errors
    /// The refusals of entering, and whatever keeps the writer from answering.
    pub async fn enter(&self, caller: &Caller, enter: Enter) -> Result<Entered, Failure> {
        self.enter_once(caller, enter, None).await
    }

    /// The same, once however often it is sent.
    ///
    /// # Errors
    /// As [`App::enter`]; `already_done` the second time, as the token was shown:
    /// [`App::entered_before`] says which stay it was.
    pub async fn enter_once(
        &self,
        caller: &Caller,
        enter: Enter,
        once: Option<Once>,
    ) -> Result<Entered, Failure> {
        let token = Secret::new(Kind::Session);
        let enter = Enter { token: token.digest(), ..enter };
        let asked = Asked { once, ..Command::Enter(enter).into() };
        let done = self.run(caller, asked).await?;
        let session = begun(&done);
        let session = session.ok_or_else(|| Failure::Broken("no session was made".into()))?;
        Ok(Entered { session, token, done })
    }

    /// Which stay began when this was sent the first time.
    ///
    /// # Errors
    /// As [`App::done_before`].
    pub async fn entered_before(&self, once: &Once) -> Result<Option<SessionId>, Failure> {
        Ok(self.done_before(once).await?.as_ref().and_then(begun))
    }
}

/// The session that was started.
fn begun(done: &Done) -> Option<SessionId> {
    done.row.iter().flat_map(|row| &row.events).find_map(|e| match e.event {
        Event::SessionStarted { session, .. } => Some(session),
        _ => None,
    })
}
