//! Event streams: an application is told by signed tokens that sessions for it were ended (OpenID
//! Shared Signals Framework 1.0, CAEP 1.0).
//!
//! An application has one stream at most, made and kept by its own key for decide. It is told of
//! sessions for its own audience and of nothing else: pushed to an address of its own (RFC 8935), or
//! kept until it is fetched (RFC 8936). Where it leads and what it is for are words; what stands in
//! `Authorization` when something is pushed is a secret, of which the log knows a random name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::{Caller, FreshSecret, Principal};
use crate::draft::{Draft, SideWrite};
use crate::event::{Event, Recorded, Row, W};
use crate::ids::{ApplicationId, Digest32, SessionId, StreamId};
use crate::may::{self, Action, Thing};
use crate::refusal::Refusal;
use crate::state::State;
use crate::text::{self, Subject, WordId};
use crate::time::Instant;
use crate::webhook;

/// The longest `state` of a verification, in characters.
const MOST_STATE: usize = 1_000;

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Whose it is, and whose sessions it tells of.
    pub application: ApplicationId,
    /// Where it is pushed to; without it, it is fetched.
    pub url: Option<WordId>,
    /// By which name the secret for `Authorization` is found.
    pub header: Option<Digest32>,
    /// What it is for.
    pub description: Option<WordId>,
    /// What its owner asked to be told of.
    pub kinds: Vec<StreamKind>,
    /// Whether it is told.
    pub standing: StreamStanding,
    /// Why Comity turned it off, if it did.
    pub stopped: Option<StreamStop>,
    /// When it was made.
    pub made: Instant,
}

/// What a stream can tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// CAEP `session-revoked`.
    SessionRevoked,
}

/// Whether a stream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamStanding {
    /// It is.
    Enabled,
    /// What happens is kept for it, as long as anything is kept.
    Paused,
    /// What happens is not told, then or later.
    Disabled,
}

/// Why Comity turned a stream off: it would not have told everything any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamStop {
    /// What waited for it was not taken in time, and is given up.
    NotTaken,
}

impl StreamStop {
    /// For its owner to read.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotTaken => {
                "What waited was not taken in time and is given up. Ask about the sessions that you hold, then enable the stream."
            }
        }
    }
}

/// What a stream is to be; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamSpec {
    /// How it is told.
    pub delivery: Option<StreamDelivery>,
    /// What it is for; `Some(None)` for nothing.
    pub description: Option<Option<String>>,
    /// What it tells of.
    pub kinds: Option<Vec<StreamKind>>,
}

/// How a stream is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamDelivery {
    /// It is fetched.
    Poll,
    /// It is pushed to this address.
    Push {
        /// Where to.
        url: String,
        /// What is sent as `Authorization`.
        header: StreamHeader,
    },
}

/// What is sent as `Authorization` with a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamHeader {
    /// Nothing.
    None,
    /// What was sent until now, if the address is the same: a secret goes nowhere that its owner
    /// did not name together with it.
    Kept,
    /// This.
    Fresh(FreshSecret),
}

impl Stream {
    /// Whether it is pushed; otherwise it is fetched.
    #[must_use]
    pub fn is_pushed(&self) -> bool {
        self.url.is_some()
    }
}

/// An event of a row, as a stream's owner reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// A session for it was ended.
    Ended(SessionId, &'a Event),
    /// It asked whether it is told.
    Verification(&'a Event),
    /// Comity turned it off.
    Updated(&'a Event),
}

impl Told<'_> {
    /// Under which name it waits in the outbox.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ended(_, event) | Self::Verification(event) | Self::Updated(event) => {
                event.name()
            }
        }
    }
}

/// What the owner of a stream reads of a row, in order: this is what its events are counted among.
/// `of` says for which application a session was.
pub fn read<'a>(
    id: StreamId,
    application: ApplicationId,
    row: &'a Row,
    mut of: impl FnMut(SessionId) -> Option<ApplicationId> + 'a,
) -> impl Iterator<Item = Told<'a>> + 'a {
    row.events.iter().filter_map(move |Recorded { event, .. }| match event {
        Event::SessionEnded { session, .. } if of(*session) == Some(application) => {
            Some(Told::Ended(*session, event))
        }
        Event::StreamVerified { stream, .. } if *stream == id => Some(Told::Verification(event)),
        Event::StreamStopped { stream, .. } if *stream == id => Some(Told::Updated(event)),
        _ => None,
    })
}

/// Whether a stream is told of something that its owner reads.
#[must_use]
pub fn wants(stream: &Stream, told: &Told<'_>) -> bool {
    match told {
        Told::Ended(..) => {
            stream.standing != StreamStanding::Disabled
                && stream.kinds.contains(&StreamKind::SessionRevoked)
        }
        Told::Verification(_) | Told::Updated(_) => true,
    }
}

/// The application whose key calls.
///
/// # Errors
/// What the caller is refused with.
pub fn owner(state: &State, caller: &Caller, now: Instant) -> Result<ApplicationId, Refusal> {
    may::check(state, caller, Action::KeepStream, Thing::platform(), now)?;
    match caller.principal {
        Principal::Key(key) => state.keys.get(key).and_then(|k| k.application),
        _ => None,
    }
    .ok_or(Refusal::NotFound)
}

/// Makes a stream; without a delivery it is fetched.
pub(crate) fn make(d: &mut Draft<'_>, caller: &Caller, spec: StreamSpec) -> Result<(), Refusal> {
    let application = owner(&d.state, caller, d.now())?;
    if d.state.stream_of(application).is_some() {
        return Err(Refusal::WrongState("there is a stream already; change or delete that one"));
    }
    let delivery = spec.delivery.unwrap_or(StreamDelivery::Poll);
    let stream = StreamId(d.id());
    let (url, header) = addressed(&delivery, None)?;
    let description = described(spec.description.flatten())?;
    let kinds = kinds(spec.kinds.unwrap_or_default());
    let digest = name_of(&header);
    let (url, description) = words(d, stream, url, description);
    d.emit(Event::StreamMade { stream, application, url, digest, description, kinds });
    keep(d, stream, header, digest);
    Ok(())
}

/// Changes what is given of it.
pub(crate) fn change(
    d: &mut Draft<'_>,
    caller: &Caller,
    stream: StreamId,
    spec: StreamSpec,
) -> Result<(), Refusal> {
    let known = own(d, caller, stream)?.clone();
    let text = |w: Option<WordId>| w.and_then(|w| d.state.words.get(w)).map(Arc::from);
    let (old_url, old_description): (Option<Arc<str>>, Option<Arc<str>>) =
        (text(known.url), text(known.description));
    let (url, header) = match &spec.delivery {
        Some(delivery) => addressed(delivery, old_url.as_deref())?,
        None => (old_url.clone(), StreamHeader::Kept),
    };
    let description = match spec.description {
        Some(wanted) => described(wanted)?,
        None => old_description.clone(),
    };
    let kinds = spec.kinds.map_or_else(|| known.kinds.clone(), kinds);
    let digest = match header {
        StreamHeader::Kept => known.header,
        _ => name_of(&header),
    };
    let same = (&url, &description, &kinds) == (&old_url, &old_description, &known.kinds);
    if same && digest == known.header {
        return Ok(());
    }
    let (url, description) = words(d, stream, url, description);
    d.emit(Event::StreamChanged { stream, url, digest, description, kinds });
    keep(d, stream, header, digest);
    Ok(())
}

/// Its owner turns it on or off, or has what happens kept for later.
pub(crate) fn set_standing(
    d: &mut Draft<'_>,
    caller: &Caller,
    stream: StreamId,
    standing: StreamStanding,
    reason: Option<String>,
) -> Result<(), Refusal> {
    let known = own(d, caller, stream)?;
    if known.standing == standing && known.stopped.is_none() {
        return Ok(());
    }
    let reason = reason.filter(|r| !r.trim().is_empty());
    let reason = reason.map(|r| text::prose("reason", &r)).transpose()?;
    let reason = reason.map(|r| d.word(Subject::Stream(stream), r));
    d.emit(Event::StreamStanding { stream, standing, reason });
    Ok(())
}

/// Its owner asks to be told that this is a verification.
pub(crate) fn verify(
    d: &mut Draft<'_>,
    caller: &Caller,
    stream: StreamId,
    state: Option<String>,
) -> Result<(), Refusal> {
    let known = own(d, caller, stream)?;
    if known.standing == StreamStanding::Disabled {
        return Err(Refusal::WrongState("the stream is disabled; enable it first"));
    }
    let fits = |s: &String| s.chars().count() <= MOST_STATE && !s.chars().any(char::is_control);
    if !state.as_ref().is_none_or(fits) {
        let why = format!("must be at most {MOST_STATE} characters without control characters");
        return Err(Refusal::invalid("state", why));
    }
    let state = state.map(|s| d.word(Subject::Stream(stream), s.into()));
    d.emit(Event::StreamVerified { stream, state });
    Ok(())
}

/// Removes it, with its secret and what waits for it.
pub(crate) fn remove(d: &mut Draft<'_>, caller: &Caller, stream: StreamId) -> Result<(), Refusal> {
    own(d, caller, stream)?;
    end(d, stream);
    Ok(())
}

/// Comity turns off what would not tell everything any more.
pub(crate) fn stop(
    d: &mut Draft<'_>,
    caller: &Caller,
    stream: StreamId,
    why: StreamStop,
) -> Result<(), Refusal> {
    may::system(caller)?;
    let known = d.state.streams.get(stream).ok_or(Refusal::NotFound)?;
    if known.standing != StreamStanding::Disabled {
        d.emit(Event::StreamStopped { stream, why });
    }
    Ok(())
}

/// Lets it go, whoever decided it.
pub(crate) fn end(d: &mut Draft<'_>, stream: StreamId) {
    if d.state.streams.get(stream).is_some() {
        d.emit(Event::StreamRemoved { stream });
        d.beside(SideWrite::Forget { recipient: stream.0 });
    }
}

// -- what several of them ask -----------------------------------------------------------------------

/// A stream of the caller's; another's is not there.
fn own<'d>(d: &'d Draft<'_>, caller: &Caller, stream: StreamId) -> Result<&'d Stream, Refusal> {
    let application = owner(&d.state, caller, d.now())?;
    let known = d.state.streams.get(stream).filter(|s| s.application == application);
    known.ok_or(Refusal::NotFound)
}

/// The address and what is sent there; `old` is the address until now.
fn addressed(
    delivery: &StreamDelivery,
    old: Option<&str>,
) -> Result<(Option<Arc<str>>, StreamHeader), Refusal> {
    match delivery {
        StreamDelivery::Poll => Ok((None, StreamHeader::None)),
        StreamDelivery::Push { url, header } => {
            let url = webhook::url("endpoint_url", url)?;
            let header = match header {
                StreamHeader::Kept if old != Some(&*url) => StreamHeader::None,
                header => header.clone(),
            };
            Ok((Some(url), header))
        }
    }
}

fn described(text: Option<String>) -> Result<Option<Arc<str>>, Refusal> {
    let text = text.filter(|t| !t.trim().is_empty());
    text.map(|t| text::prose("description", &t)).transpose()
}

fn kinds(mut wanted: Vec<StreamKind>) -> Vec<StreamKind> {
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

fn name_of(header: &StreamHeader) -> Option<Digest32> {
    match header {
        StreamHeader::Fresh(secret) => Some(secret.digest),
        StreamHeader::None | StreamHeader::Kept => None,
    }
}

/// Stores a new secret in place of the old one, or drops the one that nothing is sent with any more.
fn keep(d: &mut Draft<'_>, stream: StreamId, header: StreamHeader, digest: Option<Digest32>) {
    match header {
        StreamHeader::Fresh(secret) => {
            let (digest, sealed) = (secret.digest, secret.sealed);
            d.beside(SideWrite::Secret { recipient: stream.0, digest, sealed, keep: None });
        }
        StreamHeader::None if digest.is_none() => {
            d.beside(SideWrite::DropSecrets { recipient: stream.0 });
        }
        StreamHeader::None | StreamHeader::Kept => {}
    }
}

fn words(
    d: &mut Draft<'_>,
    stream: StreamId,
    url: Option<Arc<str>>,
    description: Option<Arc<str>>,
) -> (Option<W>, Option<W>) {
    let mut word = |text: Arc<str>| d.word(Subject::Stream(stream), text);
    (url.map(&mut word), description.map(&mut word))
}
