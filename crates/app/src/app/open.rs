//! From the settings to a running installation: what is looked at, and in which order.

use std::path::PathBuf;
use std::sync::Arc;

use comity_domain::state::State;
use comity_store::postgres::Server;
use comity_store::{Calls, Head, Inbox, Place, Reader, Store, StoreError};

use super::{App, LastWords, code_place};
use crate::assertions::Assertions;
use crate::calls::{self, CallBook};
use crate::checker::{self, Checker};
use crate::checkpoints::{CheckpointError, Checkpointer, Places};
use crate::clock::Clock;
use crate::erasures::{self, Erasures};
use crate::guard::{self, Breach};
use crate::keys::{KeyError, Keys};
use crate::lease::Lease;
use crate::mail::{
    self,
    post::{self, Post},
};
use crate::node::{self, Node};
use crate::outbound::{self, Outbound};
use crate::outbox::{Deliveries, Parts};
use crate::people::passkeys::Passkeys;
use crate::people::passwords::{Cost, Passwords};
use crate::people::tries::Tries;
use crate::snapshots::{Snapshots, Taker, file};
use crate::start;

/// Where an installation lives and what it costs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder with `comity.db` and `calls.db`; on PostgreSQL with what is the node's own.
    pub data: PathBuf,
    /// A PostgreSQL database instead of files in the folder. It has to be migrated.
    pub database: Option<Server>,
    /// How long being current lasts on this installation.
    pub lease: Lease,
    /// The key file.
    pub key_file: PathBuf,
    /// Where the key that signs checkpoints is, and the file that they go to.
    pub checkpoints: Places,
    /// The URL under which this installation is reached: `iss` of what it signs.
    pub issuer: String,
    /// What a password hash costs.
    pub password_cost: Cost,
    /// How other people's servers are called.
    pub outbound: outbound::Settings,
    /// How mails are sent, if they are.
    pub mail: Option<mail::Settings>,
}

impl Settings {
    /// An installation in files of a folder.
    #[must_use]
    pub fn new(data: PathBuf, key_file: PathBuf, password_cost: Cost) -> Self {
        let checkpoints = Places::inside(&data);
        let (database, lease, outbound, mail) = Default::default();
        let issuer = "http://127.0.0.1:8420".to_owned();
        Self { data, database, lease, key_file, checkpoints, issuer, password_cost, outbound, mail }
    }

    /// The same on a PostgreSQL database, which has to be migrated.
    #[must_use]
    pub fn on(self, database: Server) -> Self {
        Self { database: Some(database), ..self }
    }
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

/// Names what went wrong on the machine.
fn io(what: &str) -> impl FnOnce(std::io::Error) -> StartError {
    let what = what.to_owned();
    move |source| StartError::Io { what, source }
}

impl App {
    /// Opens an installation: key file, snapshot and log, books, writer. Blocking: not to be called
    /// on an async thread.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(settings: &Settings, clock: Arc<Clock>) -> Result<Arc<Self>, StartError> {
        Self::open(settings, clock, true)
    }

    /// Opens it past the restore guard, for the command that resolves the restore and nothing else:
    /// no door may be opened on it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_restoring(
        settings: &Settings,
        clock: Arc<Clock>,
    ) -> Result<Arc<Self>, StartError> {
        Self::open(settings, clock, false)
    }

    fn open(
        settings: &Settings,
        clock: Arc<Clock>,
        guarded: bool,
    ) -> Result<Arc<Self>, StartError> {
        let outbound =
            Outbound::new(&settings.outbound).map_err(io("calls to other people's servers"))?;
        folders(settings)?;
        let (place, held) = start::place(&settings.data, settings.database.as_ref())?;
        let store = Store::at(&place)?;
        // Only a log that is empty gets a new key file: under another key no password and no
        // customer ID of this one could be read.
        if store.head()?.seq > 0 && !settings.key_file.exists() {
            return Err(StartError::KeyMissing(settings.key_file.clone()));
        }
        let (keys, key_file_made) = Keys::open(&settings.key_file)?;
        let reader = Reader::at(&place);
        let inbox = Inbox::at(&place)?;
        let start::Loaded { state, head, from } =
            start::load(&reader, &settings.data, keys.snapshot())?;
        for (id, organisation) in state.organisations.iter().take(1) {
            let sealed = reader.customer_id(id)?.unwrap_or_default();
            if keys.open_sealed(&code_place(organisation.customer_id), &sealed).is_none() {
                return Err(StartError::OtherKey(settings.key_file.clone()));
            }
        }
        let breach = if guarded { breach(settings, &reader, &head)? } else { None };
        // A machine whose clock was set back while we were away revives nothing (T37).
        clock.at_least(state.at);
        let mut calls = calls::open(&place)?;
        let read = (store, state, head);
        let node = node(settings, &clock, &place, breach.as_ref(), read, &mut calls)?;
        let book = CallBook::start(calls, &place, clock.clone(), &node)?;
        let (stood, closer, metrics) = (node.stood(), node.closer(), node.metrics().clone());
        let key = keys.snapshot();
        let taker = Taker::new(&settings.data, key, stood, closer, metrics, clock.clone());
        let snapshots = Snapshots::start(taker, Reader::at(&place), from, node.closer())
            .map_err(io("the snapshots' thread"))?;
        let (places, metrics) = (&settings.checkpoints, node.metrics().clone());
        let checkpoints =
            Checkpointer::start(&place, places, clock.clone(), node.moved(), metrics)?;
        let checker = checker(settings, &clock, &place, &node)?;
        let assertions = Assertions::new(clock.now());
        let (keys, outbound) = (Arc::new(keys), Arc::new(outbound));
        let (deliveries, post) = if breach.is_some() {
            (Deliveries::none(), Post::none())
        } else {
            let post = post(settings, &keys, &clock, &place, &node)?;
            let (metrics, clock, node) = (node.metrics().clone(), clock.clone(), node.clone());
            let (keys, outbound) = (keys.clone(), outbound.clone());
            let issuer = settings.issuer.clone();
            let parts = Parts { place, node, keys, clock, outbound, metrics, issuer };
            (Deliveries::start(parts)?, post)
        };
        let passwords = Arc::new(Passwords::new(&keys, settings.password_cost));
        Ok(Arc::new(Self {
            node,
            book,
            snapshots,
            checker,
            checkpoints,
            reader: Arc::new(reader),
            inbox,
            keys,
            outbound,
            deliveries,
            post,
            passwords,
            passkeys: Passkeys::new(&settings.issuer),
            tries: Tries::default(),
            clock,
            issuer: settings.issuer.clone(),
            assertions,
            signer: arc_swap::ArcSwapOption::empty(),
            stopping: tokio::sync::watch::Sender::new(false),
            breach,
            last_words: LastWords::default(),
            key_file_made,
            _held: held,
        }))
    }
}

/// The data folder is made; the key file's, wherever it is, has to be there.
fn folders(settings: &Settings) -> Result<(), StartError> {
    let folder = settings.key_file.parent().filter(|f| !f.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|f| **f != settings.data && !f.is_dir()) {
        let what = format!("key file {}: make the folder first", settings.key_file.display());
        let missing = format!("{} is no folder", folder.display());
        return Err(StartError::Io { what, source: std::io::Error::other(missing) });
    }
    let what = format!("data folder {}", settings.data.display());
    std::fs::create_dir_all(&settings.data).map_err(io(&what))
}

/// How the log falls short of what was seen of it (inv32). Looked at before anybody signs anything.
fn breach(settings: &Settings, reader: &Reader, head: &Head) -> Result<Option<Breach>, StartError> {
    let seen = guard::largest(&settings.checkpoints.outside).map_err(io("the checkpoints"))?;
    if guard::is_restoring(&settings.data) || head.is_restoring() {
        return Ok(Some(Breach::Restoring));
    }
    Ok(guard::look(seen, reader, head)?)
}

/// The writer over what was read, or a node without one where nothing may be answered from it.
fn node(
    settings: &Settings,
    clock: &Arc<Clock>,
    place: &Place,
    breach: Option<&Breach>,
    (store, state, head): (Store, State, Head),
    calls: &mut Calls,
) -> Result<Arc<Node>, StartError> {
    let counters = calls::resume(calls, state.sessions.iter().map(|(id, _)| id))?;
    if let Some(breach) = breach {
        tracing::error!(%breach, "no yes and no change until comity restore --in-place");
        return Ok(Arc::new(Node::guarded(store, state, head)));
    }
    let list = erasures::file(&settings.data).display().to_string();
    let erasures = Erasures::open(&settings.data, &state).map_err(io(&list))?;
    let (place, lease) = (place.clone(), settings.lease);
    let start = node::Start { store, place, state, head, counters, lease, erasures };
    Ok(Arc::new(Node::start(start, clock.clone()).map_err(io("the writer's thread"))?))
}

/// Who mails what stands in inboxes.
fn post(
    settings: &Settings,
    keys: &Arc<Keys>,
    clock: &Arc<Clock>,
    place: &Place,
    node: &Arc<Node>,
) -> Result<Post, StartError> {
    Post::start(post::Parts {
        place: place.clone(),
        node: node.clone(),
        clock: clock.clone(),
        metrics: node.metrics().clone(),
        issuer: settings.issuer.clone(),
        settings: settings.mail.clone(),
        keys: keys.clone(),
    })
}

fn checker(
    settings: &Settings,
    clock: &Arc<Clock>,
    place: &Place,
    node: &Arc<Node>,
) -> Result<Checker, StartError> {
    let closer = node.closer();
    // What was taken of a state that breaks a rule must not be what the next start trusts.
    let own = settings.data.clone();
    let close: checker::Close = Box::new(move |_| {
        closer.close();
        file::put_aside(&own);
    });
    Checker::start(node, Reader::at(place), clock.clone(), checker::EVERY, close)
        .map_err(io("the checker's thread"))
}
