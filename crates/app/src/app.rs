//! Everything together, as a door holds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use comity_decision::counter::Counts;
use comity_domain::application::KeyUse;
use comity_domain::code::CustomerCode;
use comity_domain::command::{Asked, Caller, Command, Door, FreshCode, Once, Principal};
use comity_domain::event::Event;
use comity_domain::ids::{
    ApplicationId, CommandId, Digest32, GrantId, KeyId, OrganisationId, PersonId, SessionId,
    SignInId,
};
use comity_domain::kernel;
use comity_domain::organisation::Party;
use comity_domain::refusal::Refusal;
use comity_domain::state::State;
use comity_domain::time::Instant;
use comity_domain::view::Staged;
use comity_store::{CallMinute, Inbox, Place, REMEMBERED_MS, Reader, StoreError};

use crate::assertions::Assertions;
use crate::calls::CallBook;
use crate::checker::Checker;
use crate::checkpoints::Checkpointer;
use crate::clock::{Clock, boot_millis};
use crate::guard::Breach;
use crate::keys::Keys;
use crate::mail::post::Post;
use crate::metrics::{Levels, Metrics};
use crate::node::{Done, Node, NotDone};
use crate::outbound::Outbound;
use crate::outbox::Deliveries;
use crate::people::passkeys::Passkeys;
use crate::people::passwords::{self, Passwords};
use crate::people::tries::Tries;
use crate::random;
use crate::signing::Signer;
use crate::snapshots::Snapshots;
use crate::tokens::{self, Kind, Secret};

mod decisions;
pub mod factors;
pub mod first_run;
mod open;
pub mod sign_in;

pub use decisions::{Seen, View};
pub use open::{Settings, StartError};
pub use sign_in::{Ceremony, Entered, Prepared, Shown, SignedIn, Ticket};

/// How long a question may wait for this node to be able to answer it, in milliseconds.
pub const WAIT_MS: u64 = 50;

/// Why something asked of the app was not done.
#[derive(Debug)]
pub enum Failure {
    /// It was judged and refused.
    Refused(Refusal),
    /// Nothing happened; try again.
    Unavailable(&'static str),
    /// It happened, or not: look before trying again.
    Unknown,
    /// Nothing happened, and nothing will until the operator has resolved the restore (inv32).
    Guarded,
    /// Something short was guessed too often; nothing happened.
    TooOften {
        /// How often there may be.
        most: u32,
        /// In how long, in milliseconds.
        per: i64,
        /// When there may be another, in whole seconds from now.
        seconds: u64,
    },
    /// Something is broken.
    Broken(String),
}

impl From<NotDone> for Failure {
    fn from(not: NotDone) -> Self {
        match not {
            NotDone::Refused(refusal) => Self::Refused(refusal),
            NotDone::Unavailable(why) => Self::Unavailable(why),
            NotDone::Unknown => Self::Unknown,
            NotDone::Guarded => Self::Guarded,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<passwords::Busy> for Failure {
    fn from(_: passwords::Busy) -> Self {
        Self::Unavailable("too many sign-ins at once")
    }
}

/// A running installation.
#[derive(Debug)]
pub struct App {
    node: Arc<Node>,
    book: CallBook,
    snapshots: Snapshots,
    checker: Checker,
    checkpoints: Checkpointer,
    reader: Arc<Reader>,
    inbox: Inbox,
    keys: Arc<Keys>,
    outbound: Arc<Outbound>,
    deliveries: Deliveries,
    post: Post,
    passwords: Arc<Passwords>,
    passkeys: Passkeys,
    tries: Tries,
    clock: Arc<Clock>,
    issuer: String,
    assertions: Assertions,
    /// The signing key in force, opened.
    pub(crate) signer: arc_swap::ArcSwapOption<Signer>,
    stopping: tokio::sync::watch::Sender<bool>,
    breach: Option<Breach>,
    last_words: LastWords,
    /// What keeps the data folder this process's own, where no database file does.
    _held: Option<std::fs::File>,
    /// Whether the key file was made by this start.
    pub key_file_made: bool,
}

/// What is still to be done once the writer has drained, in this order: a last checkpoint, a
/// snapshot.
#[derive(Default)]
struct LastWords(std::sync::Mutex<Vec<LastWord>>);
type LastWord = Box<dyn FnOnce() + Send>;

impl std::fmt::Debug for LastWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastWords(..)")
    }
}

impl App {
    /// Tells those who wait for something to happen that nothing more will.
    pub fn begin_stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves once the stop has begun.
    pub async fn stopping(&self) {
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Stops cleanly: what was accepted is answered, what was counted is durable.
    pub fn stop(&self) {
        self.checker.stop();
        self.deliveries.stop();
        self.post.stop();
        // The writer first: as long as it runs it renews the index, and a call answered after the
        // book was closed would not be counted.
        self.node.stop();
        let words = self.last_words.0.lock().map(|mut words| std::mem::take(&mut *words));
        words.unwrap_or_default().into_iter().for_each(|word| word());
        self.book.stop();
        self.checkpoints.stop();
        self.snapshots.stop();
    }

    /// Has this done when the node stops, after the last command and before the books are closed.
    pub fn at_stop(&self, word: impl FnOnce() + Send + 'static) {
        if let Ok(mut words) = self.last_words.0.lock() {
            words.push(Box::new(word));
        }
    }

    /// How the log falls short of what was seen of it; then nothing is answered with yes.
    #[must_use]
    pub fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref()
    }

    /// Whether what this node knows is confirmed to be current.
    #[must_use]
    pub fn is_current(&self) -> bool {
        boot_millis() < self.node.index().valid_until()
    }

    /// Whether decisions are being answered, and no stop has begun.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_current() && !*self.stopping.borrow()
    }

    /// Figures for monitoring.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.node.metrics()
    }

    /// The figures in the form in which they are read, with what is looked up now.
    #[must_use]
    pub fn figures(&self) -> String {
        let (state, lease) = (self.state(), self.node.index().valid_until());
        let levels = Levels {
            head_seq: state.seq,
            lease_ms: lease.saturating_sub(boot_millis()).max(0),
            ready: self.is_ready(),
            waiting: self.node.waiting() as u64,
            sessions: state.sessions.len() as u64,
            grants: state.grants.len() as u64,
            people: state.people.len() as u64,
            words: state.words.len() as u64,
        };
        self.metrics().text(&levels, self.now())
    }

    /// The writer.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Those who take snapshots, and confirm the one that this start came from.
    #[must_use]
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// The pool of readers.
    #[must_use]
    pub fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// Who marks what was read.
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Who signs where the log stands.
    #[must_use]
    pub fn checkpoints(&self) -> &Checkpointer {
        &self.checkpoints
    }

    /// The running checker.
    #[must_use]
    pub fn checker(&self) -> &Checker {
        &self.checker
    }

    /// Who calls other people's servers.
    #[must_use]
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// Who delivers what is told outside.
    pub(crate) fn deliverer(&self) -> &Deliveries {
        &self.deliveries
    }

    /// The derived keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Who signs, as others name it: the URL under which the doors are reached.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The statements by which applications have proven themselves.
    #[must_use]
    pub fn assertions(&self) -> &Assertions {
        &self.assertions
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The clock, for whoever has to keep it.
    #[must_use]
    pub fn clock_shared(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// The time for rules.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The last published state.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.node.state()
    }

    /// Sends a command to the writer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, caller: &Caller, asked: impl Into<Asked>) -> Result<Done, Failure> {
        Ok(self.node.run(caller.clone(), asked).await?)
    }

    /// What a command would do to who is on a grant if it were carried out now: judged like any
    /// other, against the last published state, and forgotten.
    ///
    /// # Errors
    /// The refusal that it would meet.
    pub fn staged(
        &self,
        caller: &Caller,
        grant: GrantId,
        command: Command,
    ) -> Result<Staged, Refusal> {
        let (state, now, mut ids) = (self.state(), self.now(), random::ids());
        let id = CommandId(ids.next(now));
        let decided = kernel::decide(&state, caller, id, command, now, &mut ids)?;
        Ok(Staged::of(&state, grant, decided.row.as_ref()))
    }

    /// Waits until no node says yes any more to what this one shows as over: for whoever wants to
    /// end something and finds that somebody else has just done so (N4).
    ///
    /// # Errors
    /// [`Failure`] where that cannot be known.
    pub async fn over_everywhere(&self) -> Result<(), Failure> {
        // Nobody's sign-out ends nothing, and is answered when every ending before it may be.
        let nobody = Caller { principal: Principal::Anonymous, door: Door::Token };
        match self.run(&nobody, Command::SignOut).await {
            Ok(_) | Err(Failure::Refused(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// What became of a command that its caller sent before, found without sending it again: for one
    /// that cannot even be put together any more, because what it names is gone.
    ///
    /// # Errors
    /// [`Refusal::KeyReused`], or if it cannot be looked up or this node does not show it yet.
    pub async fn done_before(&self, once: &Once) -> Result<Option<Done>, Failure> {
        let (reader, since) = (self.reader.clone(), self.now().plus(-REMEMBERED_MS));
        let key = (once.principal.clone(), once.key);
        // Not on an async thread: on PostgreSQL this waits for the network.
        let reading = tokio::task::spawn_blocking(move || {
            let Some(known) = reader.known(&key, since)? else {
                return Ok::<_, StoreError>(None);
            };
            let rows = reader.rows(None, known.seq.saturating_sub(1), 1)?;
            Ok(rows
                .into_iter()
                .find(|r| (r.seq, r.at) == (known.seq, known.at))
                .map(|r| (known, r)))
        });
        let read = reading.await.map_err(|e| Failure::Broken(e.to_string()))??;
        let Some((known, row)) = read else {
            return Ok(None);
        };
        if known.once != *once {
            return Err(Refusal::KeyReused.into());
        }
        if !self.reached(known.seq).await {
            return Err(Failure::Unavailable("this node does not show it yet"));
        }
        let seq = row.seq;
        Ok(Some(Done { row: Some(Arc::new(row)), state: self.state(), seq, again: true }))
    }

    // -- who is calling ---------------------------------------------------------------------------

    /// Who shows this bearer token or key; `None` if it opens nothing now.
    ///
    /// One that opened something once and one that never did are refused after the same work: the
    /// clock is read and somebody is looked up for both (T26).
    #[must_use]
    pub fn caller(&self, secret: &str, door: Door) -> Option<Caller> {
        let state = self.state();
        let shown = match tokens::parse(secret) {
            Some((Kind::SignIn, digest)) => {
                let found = state.sign_in_by_digest(digest);
                let sign_in = found.unwrap_or(SignInId::MIN);
                let of = state.sign_ins.get(sign_in).map(|s| s.person);
                let person = of.unwrap_or(PersonId::MIN);
                (found.is_some() && of.is_some(), Principal::Person { person, sign_in })
            }
            Some((Kind::Key, digest)) => {
                let found = state.key_by_digest(digest);
                (found.is_some(), Principal::Key(found.unwrap_or(KeyId::MIN)))
            }
            Some((Kind::Session, _)) | None => {
                let found = self.opened(secret).map(|o| o.session);
                (found.is_some(), Principal::PartnerSession(found.unwrap_or(SessionId::MIN)))
            }
            Some((Kind::Enrolment | Kind::FirstRun, _)) => return None,
        };
        let (known, principal) = shown;
        let caller = Caller { principal, door };
        let counts = comity_domain::may::authentic(&state, &caller, self.now()).is_ok();
        // The stand-in counts for nobody, whatever is said of it.
        (counts && known).then_some(caller)
    }

    // -- customer IDs -----------------------------------------------------------------------------

    /// A fresh customer ID, sealed for whoever will hold it.
    #[must_use]
    pub fn fresh_code(&self) -> FreshCode {
        let code = CustomerCode::from_random(random::bytes());
        let digest = code.digest();
        FreshCode {
            digest,
            sealed: self.keys.seal(&code_place(digest), code.to_string().as_bytes()),
        }
    }

    /// An organisation's customer ID in the clear. Blocking.
    ///
    /// # Errors
    /// If it cannot be read or opened.
    pub fn customer_id(&self, organisation: OrganisationId) -> Result<String, Failure> {
        // File and state are read one after the other: a rotation in between is read again.
        for _ in 0..20 {
            let state = self.state();
            let known = state.organisations.get(organisation).ok_or(Refusal::NotFound)?;
            let sealed = self.reader.customer_id(organisation)?.ok_or(Refusal::NotFound)?;
            let plain = self.keys.open_sealed(&code_place(known.customer_id), &sealed);
            if let Some(code) = plain.and_then(|bytes| String::from_utf8(bytes).ok()) {
                return Ok(code);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(Failure::Broken("a customer ID cannot be opened with this key file".into()))
    }

    /// A party's partner ID in the clear; `None` until one is made. Blocking.
    ///
    /// # Errors
    /// If it cannot be read or opened.
    pub fn partner_id(&self, party: Party) -> Result<Option<String>, Failure> {
        for _ in 0..20 {
            let Some(digest) = self.state().partner_id(party) else { return Ok(None) };
            let sealed = self.reader.partner_id(party)?.unwrap_or_default();
            let plain = self.keys.open_sealed(&code_place(digest), &sealed);
            if let Some(code) = plain.and_then(|bytes| String::from_utf8(bytes).ok()) {
                return Ok(Some(code));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(Failure::Broken("a partner ID cannot be opened with this key file".into()))
    }

    // -- keys -------------------------------------------------------------------------------------

    /// Makes a key and returns its secret, shown once.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn make_key(
        &self,
        caller: &Caller,
        usage: KeyUse,
        application: Option<ApplicationId>,
    ) -> Result<(Secret, Done), Failure> {
        let secret = Secret::new(Kind::Key);
        let command = Command::MakeKey { usage, application, digest: secret.digest() };
        let done = self.run(caller, command).await?;
        Ok((secret, done))
    }

    // -- decisions --------------------------------------------------------------------------------

    /// Waits until this node's decisions reflect the log up to `seq`, for [`WAIT_MS`] at most; says
    /// whether they do (N6): so whoever has written on one node reads it on any.
    pub async fn reached(&self, seq: u64) -> bool {
        let mut moved = self.node.moved();
        let reached = async { moved.wait_for(|at| *at >= seq).await.is_ok() };
        tokio::time::timeout(Duration::from_millis(WAIT_MS), reached).await.unwrap_or(false)
    }

    /// What a session's calls add up to.
    #[must_use]
    pub fn counts(&self, session: SessionId) -> Counts {
        self.book.counts(self.node.index(), session)
    }

    /// What the calls of several sessions add up to, in their order. Blocking.
    #[must_use]
    pub fn counts_of(&self, sessions: &[SessionId]) -> Vec<Counts> {
        self.book.counts_of(self.node.index(), sessions)
    }

    /// A session's calls over time. Blocking.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn minutes(&self, session: SessionId) -> Result<Vec<CallMinute>, StoreError> {
        self.book.minutes(session)
    }
}

/// What binds a sealed customer ID to its digest in the log: it opens for no other organisation.
fn code_place(digest: Digest32) -> String {
    format!("customer_id/{digest}")
}

/// Whether these keys open an organisation's sealed customer ID: whether they are the ones that the
/// database was made with. Reads the organisation's rows to learn which ID is in force; blocking.
///
/// # Errors
/// If they cannot be read.
pub fn opens_sealed(
    keys: &Keys,
    reader: &Reader,
    organisation: OrganisationId,
    sealed: &[u8],
) -> Result<bool, StoreError> {
    let (mut after, mut digests) = (0, Vec::new());
    loop {
        let rows = reader.rows(Some(organisation), after, 1_000)?;
        let Some(last) = rows.last() else {
            break;
        };
        after = last.seq;
        digests.extend(rows.iter().flat_map(|row| &row.events).filter_map(|e| match e.event {
            Event::CustomerIdSet { organisation: of, digest } if of == organisation => Some(digest),
            _ => None,
        }));
    }
    Ok(digests.iter().rev().any(|d| keys.open_sealed(&code_place(*d), sealed).is_some()))
}

/// Where the log is inside a data folder.
#[must_use]
pub fn database(data: &Path) -> PathBuf {
    Place::log_file(data)
}
