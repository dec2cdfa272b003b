//! Live sessions with their compiled rights, by the digest of their token.
//!
//! Reading takes no lock and waits for nobody. One session's rights change by one pointer swap.
//! Sessions that are over stay until the state forgets them, so that a late call is told why.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use comity_domain::ids::{Digest32, SessionId};
use comity_domain::rights::Compiled;

use crate::counter::Counter;

/// One session.
#[derive(Debug)]
pub struct Entry {
    /// What it may do.
    pub rights: ArcSwap<Compiled>,
    /// How often it was used.
    pub counter: Counter,
}

type Map<K, V> = papaya::HashMap<K, V, foldhash::fast::RandomState>;

/// See the module.
#[derive(Debug)]
pub struct Index {
    by_token: Map<Digest32, Arc<Entry>>,
    by_session: Map<SessionId, Arc<Entry>>,
    seq: AtomicU64,
    valid_until: AtomicI64,
    drift: AtomicI64,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            by_token: Map::default(),
            by_session: Map::default(),
            seq: AtomicU64::new(0),
            valid_until: AtomicI64::new(i64::MIN),
            drift: AtomicI64::new(0),
        }
    }
}

impl Index {
    /// The session with this token.
    #[must_use]
    pub fn by_token(&self, token: &Digest32) -> Option<Arc<Entry>> {
        self.by_token.pin().get(token).cloned()
    }

    /// Reads the session with this token in place.
    pub fn read<T>(&self, token: &Digest32, read: impl FnOnce(Option<&Entry>) -> T) -> T {
        read(self.by_token.pin().get(token).map(|entry| &**entry))
    }

    /// Reads this session in place.
    pub fn read_session<T>(&self, id: SessionId, read: impl FnOnce(Option<&Entry>) -> T) -> T {
        read(self.by_session.pin().get(&id).map(|entry| &**entry))
    }

    /// The session.
    #[must_use]
    pub fn by_session(&self, session: SessionId) -> Option<Arc<Entry>> {
        self.by_session.pin().get(&session).cloned()
    }

    /// The position of the log that the index has followed to.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// Until when, on the boot clock in milliseconds, answers may be given without a new
    /// confirmation that the index is current (T37, inv10).
    #[must_use]
    pub fn valid_until(&self) -> i64 {
        self.valid_until.load(Ordering::Acquire)
    }

    /// How far the system's clock stood from the boot clock when the index was last confirmed.
    #[must_use]
    pub fn drift(&self) -> i64 {
        self.drift.load(Ordering::Acquire)
    }

    /// Confirms that the index is current. Only whoever writes the log may say so.
    ///
    /// In one order with [`Index::close`] and with the flag that is raised before it: whoever
    /// renews and finds the flag down has renewed before the closing, which then has the last word.
    pub fn renew(&self, valid_until: i64, drift: i64) {
        self.drift.store(drift, Ordering::Release);
        self.valid_until.store(valid_until, Ordering::SeqCst);
    }

    /// No answer from now on.
    pub fn close(&self) {
        self.valid_until.store(i64::MIN, Ordering::SeqCst);
    }

    /// Follows the log to `seq`: endings first, so that nothing is yes for longer than it must be.
    pub fn follow(
        &self,
        mut changed: Vec<Compiled>,
        seq: u64,
        counter: impl Fn(SessionId) -> Counter,
    ) {
        changed.sort_by_key(|c| c.rights.is_ok());
        let (tokens, sessions) = (self.by_token.pin(), self.by_session.pin());
        for compiled in changed {
            if let Some(entry) = sessions.get(&compiled.session) {
                entry.rights.store(Arc::new(compiled));
                continue;
            }
            let (token, session) = (compiled.token, compiled.session);
            let counter = counter(session);
            let entry = Arc::new(Entry { rights: ArcSwap::from_pointee(compiled), counter });
            sessions.insert(session, entry.clone());
            tokens.insert(token, entry);
        }
        self.seq.store(seq, Ordering::Release);
    }

    /// Forgets the sessions that the state has forgotten.
    pub fn retain(&self, known: impl Fn(SessionId) -> bool) {
        let (tokens, sessions) = (self.by_token.pin(), self.by_session.pin());
        let gone: Vec<(SessionId, Digest32)> = sessions
            .iter()
            .filter(|(id, _)| !known(**id))
            .map(|(id, entry)| (*id, entry.rights.load().token))
            .collect();
        for (session, token) in gone {
            sessions.remove(&session);
            tokens.remove(&token);
        }
    }

    /// Every session that is known.
    #[must_use]
    pub fn entries(&self) -> Vec<(SessionId, Arc<Entry>)> {
        self.by_session.pin().iter().map(|(id, entry)| (*id, entry.clone())).collect()
    }
}
