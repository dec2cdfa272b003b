//! How often who may call (T1, T45, T46): token buckets in this node's memory, for what costs
//! something to guess or to answer.
//!
//! - Whoever shows a secret in force is counted by who they are, never by their address, so that
//!   nobody behind the same address can shut them out; whoever shows none, by the address alone.
//! - Members of an organisation are counted together too: one tenant does not starve the others.
//! - Endings have a lane of their own. However much somebody has read or written, they can revoke.
//! - What was asked for never changes what is counted: a right customer ID and a wrong one, a known
//!   address and an unknown one cost the same.
//!
//! Nothing here is a rule about who may come in. How often a partner may ask holds on every node
//! and after a restart, so it stands in the domain (`request.rs`).

mod address;
mod bucket;
mod rate;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use comity_domain::command::{Caller, Principal};
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::text;
use serde::Deserialize;
use tokio::sync::Semaphore;

pub use address::{Network, NoNetwork, Proxies, Said, key, nowhere};
use bucket::Buckets;
pub use bucket::TooOften;
pub use rate::{NoRate, Rate};

use crate::app::App;

/// The longest time by which the brake on an account slows a sign-in down.
const BRAKE: Duration = Duration::from_secs(2);
/// How many requests are slowed down at once; beyond it the brake is off, because who waits holds
/// a connection.
const MOST_BRAKED: usize = 256;

/// Writes the list of rates down once: its names are those of the config file.
macro_rules! rates {
    ($($(#[doc = $doc:literal])* $name:ident = $rate:expr;)*) => {
        /// How often is too often.
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            $($(#[doc = $doc])* pub $name: Rate,)*
            /// How many event streams each caller may hold open; 0 is none.
            pub event_streams: usize,
            /// Whom to believe about where requests come from.
            #[serde(skip)]
            pub proxies: Proxies,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $rate,)* event_streams: 8, proxies: Proxies::default() }
            }
        }

        impl Settings {
            /// No rate is limited.
            #[must_use]
            pub fn off() -> Self {
                Self { $($name: Rate::OFF,)* ..Self::default() }
            }

            /// The rates by their names.
            #[must_use]
            pub fn rates(&self) -> Vec<(&'static str, Rate)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }

        #[derive(Debug)]
        struct All {
            $($name: Option<Buckets>,)*
        }

        impl All {
            fn new(settings: &Settings, clock: &Arc<crate::clock::Clock>) -> Self {
                Self { $($name: Buckets::new(stringify!($name), settings.$name, clock),)* }
            }
        }
    };
}

rates! {
    /// Requests without a secret in force, by address.
    strangers = Rate::per_minute(600);
    /// Sign-ins, by address and account.
    sign_in = Rate::per_minute(5);
    /// The same over a longer time: who goes on failing waits longer.
    sign_in_slower = Rate::per_hour(60);
    /// Sign-ins, by address.
    sign_in_address = Rate::per_minute(60);
    /// Sign-ins, by account: beyond it they are slowed down and never refused, so that no stranger
    /// can lock a person out.
    sign_in_account = Rate::per_hour(120);
    /// First passwords, by address.
    enrol = Rate::per_minute(30);
    /// Uses of a customer ID, by person.
    customer_id = Rate::per_hour(10);
    /// Uses of a customer ID, by organisation.
    customer_id_organisation = Rate::per_day(100);
    /// Uses of a customer ID, all together: beyond it they are slowed down.
    customer_id_all = Rate::per_hour(3_000);
    /// Token exchanges, by person.
    exchange = Rate::per_minute(30);
    /// What a person reads.
    read = Rate::per_minute(1_200);
    /// What a person writes.
    write = Rate::per_minute(300);
    /// What the members of an organisation read and write together.
    organisation = Rate::per_minute(12_000);
    /// What a person or key ends: revoke, lock, remove, sign out.
    end = Rate::per_minute(1_200);
    /// What a key reads.
    key_read = Rate::per_minute(60_000);
    /// What a key writes.
    key_write = Rate::per_minute(120_000);
    /// What a key asks to be decided.
    decide = Rate::per_minute(12_000_000);
}

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// It shows something.
    Read,
    /// It changes something.
    Write,
    /// It ends access, or shuts a door: what the writer takes first, and denials.
    End,
    /// It asks for decisions.
    Decide,
}

/// The buckets of a node.
#[derive(Debug)]
pub struct Limits {
    all: All,
    settings: Settings,
    braked: Semaphore,
    streams: Mutex<HashMap<u128, usize>>,
    feed_reads: Semaphore,
    /// Addresses whose bucket for strangers was found empty, and until when (ticks in ms).
    spent: Mutex<HashMap<u128, u64>>,
    clock: Arc<crate::clock::Clock>,
}

/// One that there may be.
fn take(buckets: Option<&Buckets>, key: u128) -> Result<(), TooOften> {
    buckets.map_or(Ok(()), |b| b.take(key))
}

/// A text as a key: what people type is kept nowhere.
fn key_of(app: &App, what: &str, text: &str) -> u128 {
    let mac = app.keys().mac(format!("limit/{what}\n{text}").as_bytes());
    mac.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte))
}

impl Limits {
    /// Full buckets.
    #[must_use]
    pub fn new(settings: &Settings, app: &App) -> Self {
        Self {
            all: All::new(settings, app.clock_shared()),
            settings: settings.clone(),
            braked: Semaphore::new(MOST_BRAKED),
            streams: Mutex::default(),
            feed_reads: Semaphore::new(STREAMS_READING),
            spent: Mutex::default(),
            clock: app.clock_shared().clone(),
        }
    }

    /// Somebody whose secret is in force.
    ///
    /// `home` says for which organisation a person calls, and is asked only where that counts.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn caller(
        &self,
        caller: &Caller,
        lane: Lane,
        home: impl FnOnce(PersonId) -> Option<OrganisationId>,
    ) -> Result<(), TooOften> {
        let all = &self.all;
        let (id, by_key) = match caller.principal {
            Principal::Person { person, .. } => (person.0, false),
            Principal::Key(key) => (key.0, true),
            Principal::PartnerSession(session) => (session.0, false),
            Principal::Anonymous | Principal::System => return Ok(()),
        };
        match (lane, by_key) {
            (Lane::End, _) => return take(all.end.as_ref(), id),
            (Lane::Decide, true) => return take(all.decide.as_ref(), id),
            (Lane::Read, true) => return take(all.key_read.as_ref(), id),
            (Lane::Write, true) => return take(all.key_write.as_ref(), id),
            (Lane::Read | Lane::Decide, false) => take(all.read.as_ref(), id)?,
            (Lane::Write, false) => take(all.write.as_ref(), id)?,
        }
        match caller.principal {
            Principal::Person { person, .. } => {
                home(person).map_or(Ok(()), |home| take(all.organisation.as_ref(), home.0))
            }
            _ => Ok(()),
        }
    }

    /// Whom to believe about where requests come from.
    #[must_use]
    pub fn proxies(&self) -> &Proxies {
        &self.settings.proxies
    }

    /// Somebody who shows nothing that is in force.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn stranger(&self, from: From) -> Result<(), TooOften> {
        take(self.all.strangers.as_ref(), from.key()).inspect_err(|no| {
            let now = self.clock.ticks();
            if let Ok(mut spent) = self.spent.lock() {
                if spent.len() >= MOST_SPENT {
                    spent.retain(|_, until| now < *until);
                }
                if spent.len() < MOST_SPENT {
                    let after = u64::try_from(no.after.as_millis()).unwrap_or(u64::MAX);
                    spent.insert(from.key(), now.saturating_add(after));
                }
            }
        })
    }

    /// Whether a stranger may still be heard, before anything is looked at that costs something:
    /// nothing is taken. Whoever shares an address with somebody who guesses at signatures is told
    /// to come later as well; a secret is looked up whatever was guessed.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn may_be_heard(&self, from: From) -> Result<(), TooOften> {
        let spent = self.spent.lock().is_ok_and(|spent| {
            spent.get(&from.key()).is_some_and(|until| self.clock.ticks() < *until)
        });
        if spent { self.stranger(from) } else { Ok(()) }
    }

    /// A sign-in is tried. Others' tries for the same account slow it down and never refuse it.
    ///
    /// # Errors
    /// [`TooOften`].
    pub async fn sign_in(&self, app: &App, from: From, email: &str) -> Result<(), TooOften> {
        // As the account is looked up, so that another spelling is no other bucket.
        let account = text::email("email", email).map_or_else(|_| email.into(), |e| e.to_string());
        let account = account.to_lowercase();
        let both = key_of(app, "sign-in", &format!("{}\n{account}", from.key()));
        take(self.all.sign_in_address.as_ref(), from.key())?;
        take(self.all.sign_in.as_ref(), both)?;
        take(self.all.sign_in_slower.as_ref(), both)?;
        if let Err(no) = take(self.all.sign_in_account.as_ref(), key_of(app, "account", &account)) {
            self.brake(no).await;
        }
        Ok(())
    }

    /// A further step of a sign-in: what may be guessed in it is counted by the app.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn sign_in_step(&self, from: From) -> Result<(), TooOften> {
        take(self.all.sign_in_address.as_ref(), from.key())
    }

    /// A first password is set.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn enrol(&self, from: From) -> Result<(), TooOften> {
        take(self.all.enrol.as_ref(), from.key())
    }

    /// A person who may ask for `provider` uses a customer ID, a right one or not.
    ///
    /// # Errors
    /// [`TooOften`].
    pub async fn customer_id(
        &self,
        caller: &Caller,
        provider: OrganisationId,
    ) -> Result<(), TooOften> {
        let Some(person) = caller.person() else {
            return Ok(());
        };
        take(self.all.customer_id.as_ref(), person.0)?;
        take(self.all.customer_id_organisation.as_ref(), provider.0)?;
        if let Err(no) = take(self.all.customer_id_all.as_ref(), 0) {
            self.brake(no).await;
        }
        Ok(())
    }

    /// A person exchanges a sign-in for a session.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn exchange(&self, caller: &Caller) -> Result<(), TooOften> {
        caller.person().map_or(Ok(()), |person| take(self.all.exchange.as_ref(), person.0))
    }

    async fn brake(&self, no: TooOften) {
        if let Ok(_place) = self.braked.try_acquire() {
            tokio::time::sleep(no.after.min(BRAKE)).await;
        }
    }

    /// Turns among the event streams to read the log: pages are not to wait for all of them.
    pub fn feed_reads(&self) -> &Semaphore {
        &self.feed_reads
    }

    /// A place for an event stream of the caller, given back when it is dropped.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn stream(self: &Arc<Self>, caller: &Caller) -> Result<StreamPlace, TooOften> {
        let key = match caller.principal {
            Principal::Person { person, .. } => person.0,
            Principal::Key(key) => key.0,
            _ => 0,
        };
        let most = self.settings.event_streams;
        let after = Duration::from_secs(10);
        let count = u32::try_from(most).unwrap_or(u32::MAX);
        let no = TooOften { name: "event_streams", count, per: after, after };
        let mut streams = self.streams.lock().map_err(|_| no)?;
        let open = streams.get(&key).copied().unwrap_or(0);
        let all: usize = streams.values().sum();
        if open >= most || all >= MOST_STREAMS {
            return Err(no);
        }
        streams.insert(key, open + 1);
        drop(streams);
        Ok(StreamPlace { limits: self.clone(), key })
    }
}

/// How many addresses that have spent their bucket are remembered.
const MOST_SPENT: usize = 8_192;
/// How many event streams a node serves at once.
const MOST_STREAMS: usize = 512;
/// How many of them read the log at once.
const STREAMS_READING: usize = 2;

/// A place among the event streams.
#[derive(Debug)]
pub struct StreamPlace {
    limits: Arc<Limits>,
    key: u128,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        if let Ok(mut streams) = self.limits.streams.lock() {
            match streams.get_mut(&self.key) {
                Some(open) if *open > 1 => *open -= 1,
                _ => drop(streams.remove(&self.key)),
            }
        }
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct From(pub IpAddr);

impl From {
    fn key(self) -> u128 {
        key(self.0)
    }
}

/// The limits and where the request comes from, as they stand beside each request of either door.
#[derive(Debug, Clone)]
pub struct Beside {
    /// This node's.
    pub limits: Arc<Limits>,
    /// Where the request comes from.
    pub from: From,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_by_their_names_and_strictly() {
        let read: Settings = serde_json::from_str(r#"{"sign_in":"7/min","decide":"off"}"#).unwrap();
        assert_eq!((read.sign_in, read.decide), (Rate::per_minute(7), Rate::OFF));
        assert_eq!(read.exchange, Rate::per_minute(30));
        for bad in [r#"{"sign_in":5}"#, r#"{"sign_ins":"5/min"}"#, r#"{"proxies":"x"}"#] {
            assert!(serde_json::from_str::<Settings>(bad).is_err(), "{bad}");
        }
    }
}
