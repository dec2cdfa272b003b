//! Event streams: what is signed for them, and what is fetched (SSF 1.0, CAEP 1.0, RFC 8417).
//!
//! A token is made when it is told, from the log as it stands and by the key in force then. Its
//! `jti` follows from where the event stands, so it is the same however often it is told.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use comity_domain::command::{Caller, FreshSecret};
use comity_domain::event::{Event, Row};
use comity_domain::ids::{ApplicationId, Digest32, OrganisationId, PersonId, SessionId, StreamId};
use comity_domain::may;
use comity_domain::refusal::Refusal;
use comity_domain::session::SessionEnd;
use comity_domain::state::State;
use comity_domain::stream::{self, Stream, StreamStanding, Told};
use comity_domain::time::{DAY, Instant, SECOND};
use comity_store::{Reader, StoreError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::{App, Failure};
use crate::keys::Keys;
use crate::outbound::set_error;
use crate::outbox::{Heard, SURELY_KNOWN};
use crate::random;

/// The event that says that a session was ended (CAEP 1.0, section 3.1).
pub const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
const UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";

/// The `typ` of what is signed.
pub(crate) const TYPE: &str = "secevent+jwt";
/// For how long something is kept for a stream that does not take it; then the stream is turned off,
/// so that nothing is lost unsaid.
pub(crate) const KEPT: i64 = 7 * DAY;
/// What a stream that is turned off is still told.
pub(crate) const LAST_WORD: &str = "stream_stopped";
/// How many tokens are given out at once.
pub const MOST_FETCHED: usize = 100;
/// How long somebody who fetches may wait for something to happen.
const WAIT: Duration = Duration::from_secs(20);
/// How often it is looked whether every node knows what is held back.
const BEAT: Duration = Duration::from_millis(250);
/// How long is left between one look at the outbox and the next.
const BREATH: Duration = Duration::from_millis(50);

/// What became of one event that was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Became {
    /// The row of the log.
    pub seq: u64,
    /// Which event of it, counted among what the stream's owner reads.
    pub index: u32,
    /// Why it was refused, if it was: an error of RFC 8935.
    pub refused: Option<&'static str>,
}

/// What somebody who fetches says and wants (RFC 8936, section 2.2).
#[derive(Debug, Clone, Default)]
pub struct Fetch {
    /// The `jti` of what was taken.
    pub taken: Vec<String>,
    /// The `jti` of what was refused, each with the error that was named.
    pub refused: Vec<(String, String)>,
    /// How many tokens are wanted at most.
    pub most: usize,
    /// Whether to wait until there is something.
    pub wait: bool,
}

/// What is given out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The tokens by their `jti`, in the order of the log.
    pub sets: Vec<(String, String)>,
    /// Whether more waits.
    pub more: bool,
}

/// The `jti` of an event on a stream.
fn jti(id: StreamId, seq: u64, index: u32) -> String {
    format!("{id}_{seq}_{index}")
}

/// Where the event of a `jti` stands; `None` for what was never one of this stream.
fn place(id: StreamId, jti: &str) -> Option<(u64, u32)> {
    let rest = jti.strip_prefix(&format!("{id}_"))?;
    let (seq, index) = rest.split_once('_')?;
    let found = (seq.parse().ok()?, index.parse().ok()?);
    (self::jti(id, found.0, found.1) == jti).then_some(found)
}

/// Whether an error is about the token itself, so that sending it again changes nothing. The others
/// are about keys and access, which the receiver can mend.
pub(crate) fn is_final(error: &str) -> bool {
    matches!(error, "invalid_request" | "invalid_issuer" | "invalid_audience")
}

// -- the secret of a push ------------------------------------------------------------------------------

fn header_place(name: Digest32) -> String {
    format!("stream_header/{name}")
}

/// What is sent as `Authorization`; `None` if it cannot be opened.
pub(crate) fn header(
    reader: &Reader,
    keys: &Keys,
    id: StreamId,
    name: Digest32,
) -> Result<Option<String>, StoreError> {
    let sealed = reader.recipient_secret(id.0, name)?;
    let plain = sealed.and_then(|sealed| keys.open_sealed(&header_place(name), &sealed));
    Ok(plain.and_then(|bytes| String::from_utf8(bytes).ok()))
}

// -- what is said --------------------------------------------------------------------------------------

/// A security event token's claims (RFC 8417).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Claims {
    iss: String,
    jti: String,
    /// In seconds since 1970: when it happened.
    iat: i64,
    aud: String,
    /// The position in the log: the same for everything that one command did.
    txn: String,
    sub_id: Value,
    events: Value,
}

/// What the log says of a session, whether it is remembered or not.
#[derive(Debug, Clone, Copy)]
struct Stay {
    application: ApplicationId,
    customer: OrganisationId,
    person: PersonId,
}

/// From what tokens are made.
pub(crate) struct Teller<'a> {
    pub reader: &'a Reader,
    pub state: &'a State,
    pub issuer: &'a str,
}

impl Teller<'_> {
    /// What a stream is told of an event; `None` if it cannot be read. Blocking.
    pub fn claims(
        &self,
        (id, stream): (StreamId, &Stream),
        seq: u64,
        index: u32,
    ) -> Result<Option<Claims>, StoreError> {
        let rows = self.reader.rows(None, seq.saturating_sub(1), 1)?;
        let Some(row) = rows.first().filter(|row| row.seq == seq) else {
            return Ok(None);
        };
        let Some(application) = self.state.applications.get(stream.application) else {
            return Ok(None);
        };
        let failed = RefCell::new(None);
        let of = |session| match self.stay(session) {
            Ok(stay) => stay.map(|s| s.application),
            Err(error) => {
                *failed.borrow_mut() = Some(error);
                None
            }
        };
        let told = stream::read(id, stream.application, row, of).nth(index as usize);
        if let Some(error) = failed.take() {
            return Err(error);
        }
        let Some(told) = told else {
            return Ok(None);
        };
        let Some((sub_id, events)) = self.said(id, row, &told)? else {
            return Ok(None);
        };
        Ok(Some(Claims {
            iss: self.issuer.to_owned(),
            jti: jti(id, seq, index),
            iat: seconds(row.at),
            aud: application.audience.to_string(),
            txn: seq.to_string(),
            sub_id,
            events,
        }))
    }

    fn said(
        &self,
        id: StreamId,
        row: &Row,
        told: &Told<'_>,
    ) -> Result<Option<(Value, Value)>, StoreError> {
        let own = json!({ "format": "opaque", "id": id });
        Ok(match told {
            Told::Ended(session, Event::SessionEnded { cause, .. }) => {
                let (by, why) = cause_of(*cause);
                let event = json!({
                    "event_timestamp": seconds(row.at),
                    "initiating_entity": by,
                    "reason_admin": { "en": why },
                });
                let stay = self.stay(*session)?;
                stay.map(|s| (self.subject(*session, s), json!({ SESSION_REVOKED: event })))
            }
            Told::Verification(Event::StreamVerified { state, .. }) => {
                let word =
                    state.and_then(|w| row.words.get(w as usize)).and_then(|w| w.text.as_deref());
                let event = word.map_or(json!({}), |state| json!({ "state": state }));
                Some((own, json!({ VERIFICATION: event })))
            }
            Told::Updated(Event::StreamStopped { why, .. }) => {
                let event = json!({ "status": "disabled", "reason": why.sentence() });
                Some((own, json!({ UPDATED: event })))
            }
            _ => None,
        })
    }

    /// The session as it stands in the `sid` of our tokens, who is really there, and in whose tenant
    /// (RFC 9493, and the complex subject of SSF 1.0).
    fn subject(&self, session: SessionId, stay: Stay) -> Value {
        json!({
            "format": "complex",
            "session": { "format": "opaque", "id": session },
            "user": { "format": "iss_sub", "iss": self.issuer, "sub": stay.person },
            "tenant": { "format": "opaque", "id": stay.customer },
        })
    }

    /// Remembered for a day after its end; after that the row in which it began says it.
    fn stay(&self, id: SessionId) -> Result<Option<Stay>, StoreError> {
        if let Some(session) = self.state.sessions.get(id)
            && let Some(grant) = self.state.grants.get(session.grant)
        {
            let (application, person) = (session.application, session.person);
            let customer = grant.customer.organisation;
            return Ok(Some(Stay { application, customer, person }));
        }
        let Some(seq) = self.reader.began(id)? else {
            return Ok(None);
        };
        let rows = self.reader.rows(None, seq.saturating_sub(1), 1)?;
        let events = rows.iter().filter(|row| row.seq == seq).flat_map(|row| &row.events);
        Ok(events.map(|e| &e.event).find_map(|event| match event {
            Event::SessionStarted { session, application, customer, person, .. }
                if *session == id =>
            {
                Some(Stay { application: *application, customer: *customer, person: *person })
            }
            _ => None,
        }))
    }
}

fn seconds(at: Instant) -> i64 {
    at.0.div_euclid(SECOND)
}

/// Who ended it in CAEP's words, and why in ours.
fn cause_of(cause: SessionEnd) -> (&'static str, &'static str) {
    match cause {
        SessionEnd::Closed => ("user", "The partner user closed the session."),
        SessionEnd::EndedByCustomer => ("admin", "The customer ended the session."),
        SessionEnd::Revoked => ("admin", "The customer revoked the grant."),
        SessionEnd::GrantEnded => ("admin", "The grant ended."),
        SessionEnd::Unconfirmed => {
            ("system", "A restore put the grant back, and its customer has not confirmed it.")
        }
        SessionEnd::AssignmentLost => ("admin", "What the session stood on was taken away."),
        SessionEnd::Locked => ("admin", "A lock stops the partner, the person or the grant."),
        SessionEnd::Suspended => {
            ("admin", "An organisation, unit or member was suspended, was closed or has left.")
        }
        SessionEnd::Restored => ("system", "The installation was restored from a copy."),
    }
}

// -- what is fetched -----------------------------------------------------------------------------------

impl App {
    /// What is sent as `Authorization` with a push, to be kept: sealed, under a name that says
    /// nothing of it.
    #[must_use]
    pub fn fresh_stream_header(&self, value: &str) -> FreshSecret {
        let digest = Digest32(random::bytes());
        FreshSecret { digest, sealed: self.keys().seal(&header_place(digest), value.as_bytes()) }
    }

    /// The stream of the caller's application, if this one is that.
    ///
    /// # Errors
    /// What the caller is refused with.
    pub fn own_stream(
        &self,
        caller: &Caller,
        id: StreamId,
    ) -> Result<(Arc<State>, Stream), Failure> {
        let (state, now) = (self.state(), self.now());
        may::authentic(&state, caller, now)?;
        let application = stream::owner(&state, caller, now)?;
        let known = state.streams.get(id).filter(|s| s.application == application).cloned();
        known.map(|known| (state, known)).ok_or_else(|| Refusal::NotFound.into())
    }

    /// Notes what became of what was fetched before, and gives out what waits; waits for it if asked
    /// to, for twenty seconds at most. Says nothing of an ending that another node could still say yes to.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn fetch(
        self: &Arc<Self>,
        caller: &Caller,
        id: StreamId,
        what: Fetch,
    ) -> Result<Fetched, Failure> {
        self.own_stream(caller, id)?;
        self.current()?;
        let taken = what.taken.iter().map(|jti| (jti, None));
        let refused = what
            .refused
            .iter()
            .map(|(jti, said)| (jti, Some(set_error(said).unwrap_or("refused"))));
        let became = taken.chain(refused).filter_map(|(jti, refused)| {
            place(id, jti).map(|(seq, index)| Became { seq, index, refused })
        });
        self.became(id, became.collect()).await?;
        let most = what.most.min(MOST_FETCHED);
        if most == 0 {
            return Ok(Fetched::default());
        }
        let mut moved = self.node().moved();
        let late = tokio::time::sleep(WAIT);
        tokio::pin!(late);
        loop {
            moved.mark_unchanged();
            let (found, held_back) = self.offered(caller, id, most).await?;
            if !found.sets.is_empty() || !what.wait {
                return Ok(found);
            }
            tokio::select! {
                changed = moved.changed() => {
                    if changed.is_err() {
                        return Ok(found);
                    }
                    tokio::time::sleep(BREATH).await;
                }
                () = tokio::time::sleep(BEAT), if held_back => {}
                () = &mut late => return Ok(found),
                () = self.stopping() => return Ok(found),
            }
        }
    }

    async fn became(&self, id: StreamId, what: Vec<Became>) -> Result<(), Failure> {
        if what.is_empty() {
            return Ok(());
        }
        let noted = self.deliverer().ask(|reply| Heard::Fetched(id, what, reply)).await;
        Ok(noted.ok_or(Failure::Unavailable("nothing is told here now"))??)
    }

    /// What waits now, and whether more may wait than every node knows of.
    async fn offered(
        self: &Arc<Self>,
        caller: &Caller,
        id: StreamId,
        most: usize,
    ) -> Result<(Fetched, bool), Failure> {
        let sure = self.deliverer().ask(Heard::Sure).await;
        let (known, sure) = sure.ok_or(Failure::Unavailable("nothing is told here now"))??;
        let (app, caller) = (self.clone(), caller.clone());
        // Not on an async thread: on PostgreSQL this waits for the network.
        let reading = move || app.signed(&caller, id, (known, sure), most);
        let read = tokio::task::spawn_blocking(reading).await;
        let (found, lost) = read.map_err(|e| Failure::Broken(e.to_string()))??;
        self.became(id, lost).await?;
        Ok((found, sure < known))
    }

    /// Blocking. With what cannot be told, so that it stands in nobody's way.
    fn signed(
        self: &Arc<Self>,
        caller: &Caller,
        id: StreamId,
        (known, sure): (u64, u64),
        most: usize,
    ) -> Result<(Fetched, Vec<Became>), Failure> {
        let signer = self.signer_blocking()?;
        let (state, stream) = self.own_stream(caller, id)?;
        let (mut found, mut lost) = (Fetched::default(), Vec::new());
        if stream.is_pushed() {
            return Err(
                Refusal::WrongState("the stream is pushed; nothing is to be fetched").into()
            );
        }
        if stream.standing == StreamStanding::Paused {
            return Ok((found, lost));
        }
        let old = Instant(self.now().0.saturating_sub(SURELY_KNOWN));
        let limit = most.saturating_add(1);
        let mut waiting = self.reader().waiting(id.0, sure, (known, old), limit)?;
        if stream.standing == StreamStanding::Disabled {
            waiting.retain(|(_, _, kind)| kind == LAST_WORD);
        }
        found.more = waiting.len() > most;
        let teller = Teller { reader: self.reader(), state: &state, issuer: self.issuer() };
        for (seq, index, _) in waiting.into_iter().take(most) {
            match teller.claims((id, &stream), seq, index)? {
                Some(claims) => {
                    let set = signer.sign(TYPE, &claims)?;
                    found.sets.push((claims.jti, set));
                }
                None => lost.push(Became { seq, index, refused: Some("not_readable") }),
            }
        }
        // Last, so that what was read and signed counts.
        self.own_stream(caller, id)?;
        self.current()?;
        if !signer.is_in_force(&self.state()) {
            return Err(Failure::Unavailable("the signing key has just been replaced"));
        }
        Ok((found, lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t43_a_jti_names_one_place_on_one_stream_in_one_spelling() {
        let (own, other) = (StreamId(7), StreamId(8));
        let name = jti(own, 4_711, 3);
        assert_eq!(place(own, &name), Some((4_711, 3)));
        assert_eq!(place(other, &name), None);
        for bad in [
            format!("{own}_04711_3"),
            format!("{own}_4711_+3"),
            format!("{own}_4711"),
            format!("{own}_4711_3_"),
            format!("{own}_-1_3"),
            String::new(),
        ] {
            assert_eq!(place(own, &bad), None, "{bad}");
        }
    }
}
