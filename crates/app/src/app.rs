//! Everything together, as a door holds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use comity_decision::counter::Counts;
use comity_decision::decide::{Answer, decide};
use comity_domain::application::KeyUse;
use comity_domain::code::CustomerCode;
use comity_domain::command::{Caller, Command, Door, FreshCode, Principal};
use comity_domain::event::Event;
use comity_domain::ids::{ApplicationId, Digest32, OrganisationId, PersonId, SessionId};
use comity_domain::kernel;
use comity_domain::permission::Permission;
use comity_domain::refusal::{Reason, Refusal};
use comity_domain::rights::Resource;
use comity_domain::state::State;
use comity_domain::text::{self, Lookup};
use comity_domain::time::Instant;
use comity_store::{CallRecord, Reader, Store, StoreError};

use crate::calls::{self, CallBook};
use crate::checkpoints::{CheckpointError, Checkpointer, Places};
use crate::clock::Clock;
use crate::keys::{KeyError, Keys};
use crate::node::{Done, Node, NotDone};
use crate::people::passwords::{self, Cost, Passwords};
use crate::random;
use crate::tokens::{self, Kind, Secret};

/// Where an installation lives and what it costs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder with `comity.db` and `calls.db`.
    pub data: PathBuf,
    /// The key file.
    pub key_file: PathBuf,
    /// Where the key that signs checkpoints is, and the file that they go to.
    pub checkpoints: Places,
    /// What a password hash costs.
    pub password_cost: Cost,
}

/// Why an installation does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is gone, and the database was made with it.
    #[error(
        "key file {0}: there is none, and this database was made with one; put it back or name it"
    )]
    KeyMissing(PathBuf),
    /// It is not the one that the database was made with.
    #[error("key file {0} is not the one that this database was made with; name the right one")]
    OtherKey(PathBuf),
    /// The checkpoints.
    #[error(transparent)]
    Checkpoints(#[from] CheckpointError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine.
    #[error("{what}: {source}")]
    Io {
        /// Doing what.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Why something asked of the app was not done.
#[derive(Debug)]
pub enum Failure {
    /// It was judged and refused.
    Refused(Refusal),
    /// Nothing happened; try again.
    Unavailable(&'static str),
    /// It happened, or not: look before trying again.
    Unknown,
    /// Something is broken.
    Broken(String),
}

impl From<NotDone> for Failure {
    fn from(not: NotDone) -> Self {
        match not {
            NotDone::Refused(refusal) => Self::Refused(refusal),
            NotDone::Unavailable(why) => Self::Unavailable(why),
            NotDone::Unknown => Self::Unknown,
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
    checkpoints: Checkpointer,
    reader: Reader,
    keys: Keys,
    passwords: Arc<Passwords>,
    clock: Arc<Clock>,
    stopping: tokio::sync::watch::Sender<bool>,
    /// Whether the key file was made by this start.
    pub key_file_made: bool,
}

/// A new sign-in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The bearer token, shown once.
    pub token: Secret,
    /// Who.
    pub person: PersonId,
    /// Until when.
    pub until: Instant,
}

impl App {
    /// Opens an installation: key file, replay, books, writer.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(settings: &Settings, clock: Arc<Clock>) -> Result<Arc<Self>, StartError> {
        let folder = settings.key_file.parent().filter(|f| !f.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|f| **f != settings.data && !f.is_dir()) {
            let what = format!("key file {}: make the folder first", settings.key_file.display());
            let missing = format!("{} is no folder", folder.display());
            return Err(StartError::Io { what, source: std::io::Error::other(missing) });
        }
        std::fs::create_dir_all(&settings.data).map_err(|source| StartError::Io {
            what: format!("data folder {}", settings.data.display()),
            source,
        })?;
        let path = database(&settings.data);
        let store = Store::open(&path)?;
        let mut state = State::default();
        store.replay(0, |row| {
            kernel::apply(&mut state, &row);
            Ok(())
        })?;
        let head = store.head()?;
        if head.seq != state.seq {
            return Err(StoreError::Corrupt {
                seq: state.seq + 1,
                what: "is missing: run comity audit verify",
            }
            .into());
        }
        // Only a log that is empty gets a new key file: under another key no password and no
        // customer ID of this one could be read.
        if state.seq > 0 && !settings.key_file.exists() {
            return Err(StartError::KeyMissing(settings.key_file.clone()));
        }
        let (keys, key_file_made) = Keys::open(&settings.key_file)?;
        let reader = Reader::new(&path);
        for (id, organisation) in state.organisations.iter().take(1) {
            let sealed = reader.customer_id(id)?.unwrap_or_default();
            if keys.open_sealed(&code_place(organisation.customer_id), &sealed).is_none() {
                return Err(StartError::OtherKey(settings.key_file.clone()));
            }
        }
        // A machine whose clock was set back while we were away revives nothing (T37).
        clock.at_least(state.at);
        let calls_path = settings.data.join("calls.db");
        let calls = calls::open(&calls_path)?;
        let mut counters = BTreeMap::new();
        for (session, _) in state.sessions.iter() {
            counters.insert(session, calls::resume(&calls, session)?);
        }
        let node = Node::start(store, state, clock.clone(), counters)
            .map_err(|source| StartError::Io { what: "the writer's thread".into(), source })?;
        let node = Arc::new(node);
        let book = CallBook::start(calls, &calls_path, clock.clone(), &node)?;
        let moved = node.moved();
        let checkpoints = Checkpointer::start(&path, &settings.checkpoints, clock.clone(), moved)?;
        let passwords = Arc::new(Passwords::new(&keys, settings.password_cost));
        Ok(Arc::new(Self {
            node,
            book,
            checkpoints,
            reader,
            keys,
            passwords,
            clock,
            stopping: tokio::sync::watch::Sender::new(false),
            key_file_made,
        }))
    }

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
        // The writer first: as long as it runs it renews the index, and a call answered after the
        // book was closed would not be counted.
        self.node.stop();
        self.book.stop();
        self.checkpoints.stop();
    }

    /// The writer.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The pool of readers.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Who signs where the log stands.
    #[must_use]
    pub fn checkpoints(&self) -> &Checkpointer {
        &self.checkpoints
    }

    /// The derived keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
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
    pub async fn run(&self, caller: &Caller, command: Command) -> Result<Done, Failure> {
        Ok(self.node.run(caller.clone(), command).await?)
    }

    // -- who is calling ---------------------------------------------------------------------------

    /// Who shows this bearer token or key; `None` if it opens nothing now.
    #[must_use]
    pub fn caller(&self, secret: &str, door: Door) -> Option<Caller> {
        let (kind, digest) = tokens::parse(secret)?;
        let state = self.state();
        let principal = match kind {
            Kind::SignIn => {
                let sign_in = state.sign_in_by_digest(digest)?;
                Principal::Person { person: state.sign_ins.get(sign_in)?.person, sign_in }
            }
            Kind::Key => Principal::Key(state.key_by_digest(digest)?),
            Kind::Session => Principal::PartnerSession(state.session_by_token(digest)?),
            Kind::Enrolment => return None,
        };
        let caller = Caller { principal, door };
        comity_domain::may::authentic(&state, &caller, self.now()).ok().map(|()| caller)
    }

    // -- sign-in ----------------------------------------------------------------------------------

    /// Signs a person in by address and password. Every failure looks the same.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for whatever was wrong.
    pub async fn sign_in(&self, email: &str, password: String) -> Result<SignedIn, Failure> {
        let known = text::email("email", email)
            .ok()
            .and_then(|email| self.state().words.find(Lookup::Email, &email))
            .map(PersonId);
        let state = self.state();
        let epoch = known.and_then(|p| state.people.get(p)).map_or(0, |p| p.auth_epoch);
        let hash = match known {
            Some(person) => self.reader.credential(person)?,
            None => None,
        };
        let hasher = self.passwords.clone();
        let fits = self.passwords.slowly(move || hasher.verify(&password, hash.as_deref())).await?;
        let (true, Some(person)) = (fits, known) else {
            return Err(Refusal::NotFound.into());
        };
        let token = Secret::new(Kind::SignIn);
        let caller = Caller { principal: Principal::Anonymous, door: Door::Api };
        let command = Command::SignIn { person, auth_epoch: epoch, digest: token.digest() };
        let done = self.run(&caller, command).await?;
        let until = done.row.iter().flat_map(|row| &row.events).find_map(|e| match e.event {
            Event::SignedIn { until, .. } => Some(until),
            _ => None,
        });
        Ok(SignedIn { token, person, until: until.unwrap_or(done.state.at) })
    }

    /// Sets a first password with an enrolment token.
    ///
    /// # Errors
    /// `not_found` for a token that opens nothing, `invalid` for a weak password.
    pub async fn enrol(&self, token: &str, password: String) -> Result<(), Failure> {
        passwords::acceptable(&password)?;
        let Some((Kind::Enrolment, token)) = tokens::parse(token) else {
            return Err(Refusal::NotFound.into());
        };
        if self.state().enrolling(token).is_none() {
            return Err(Refusal::NotFound.into()); // before anything is hashed for nobody
        }
        let hasher = self.passwords.clone();
        let hash = self.passwords.slowly(move || hasher.hash(&password)).await?;
        let password_hash = hash.ok_or_else(|| Failure::Broken("argon2 failed".into()))?;
        let caller = Caller { principal: Principal::Anonymous, door: Door::Api };
        self.run(&caller, Command::Enrol { token, password_hash }).await?;
        Ok(())
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
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Err(Failure::Broken("a customer ID cannot be opened with this key file".into()))
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

    /// Decides one call and counts it. Never blocks.
    #[must_use]
    pub fn evaluate(
        &self,
        application: ApplicationId,
        token: &str,
        asked: Permission<'_>,
        named: &str,
        resource: impl FnOnce(&State, OrganisationId) -> Resource,
    ) -> Answer {
        let index = self.node.index();
        let digest = match tokens::parse(token) {
            Some((Kind::Session, digest)) => digest,
            _ => Digest32([0; 32]), // opens nothing
        };
        // What the resource is called is the builder's word, and means something only inside the
        // session's customer.
        let customer = index.read(&digest, |e| e.map(|e| e.rights.load().customer));
        let resource =
            customer.map_or(Resource::Unknown, |customer| resource(&self.state(), customer));
        let answer = decide(index, application, &digest, asked, resource, || self.clock.read());
        if let Some(session) = &answer.session
            && answer.reason != Reason::Stale
        {
            self.book.record(CallRecord {
                session: session.session,
                at: answer.at,
                permission: asked.to_string(),
                resource: named.to_owned(),
                reason: answer.reason.code().to_owned(),
                late: answer.late,
            });
        }
        answer
    }

    /// What a session's calls add up to.
    #[must_use]
    pub fn counts(&self, session: SessionId) -> Counts {
        self.book.counts(self.node.index(), session)
    }
}

/// What binds a sealed customer ID to its digest in the log: it opens for no other organisation.
fn code_place(digest: Digest32) -> String {
    format!("customer_id/{digest}")
}

/// Where the log is inside a data folder.
#[must_use]
pub fn database(data: &Path) -> PathBuf {
    data.join("comity.db")
}
