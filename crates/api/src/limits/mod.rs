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

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use comity_app::App;
use comity_domain::command::{Caller, Principal};
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::state::State as World;
use comity_domain::text;
use serde::Deserialize;
use tokio::sync::Semaphore;

pub(crate) use address::key as address_key;
pub use address::{Network, NoNetwork, Peer, Proxies, Said};
use bucket::Buckets;
pub(crate) use bucket::TooOften;
pub use rate::{NoRate, Rate};

use crate::input;
use crate::problem::Problem;

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
            fn new(settings: &Settings, clock: &Arc<comity_app::clock::Clock>) -> Self {
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

/// What ends access, or shuts a door: the commands that the writer takes first, and denials.
const ENDINGS: [(Method, &str); 15] = [
    (Method::DELETE, "/v1/platform/keys/{key}"),
    (Method::PUT, "/v1/organisations/{organisation}/standing"),
    (Method::DELETE, "/v1/organisations/{organisation}/accounts/{id}"),
    (Method::DELETE, "/v1/organisations/{organisation}/roles/{id}"),
    (Method::DELETE, "/v1/organisations/{organisation}/members/{id}"),
    (Method::POST, "/v1/organisations/{organisation}/members/{id}/reset-factors"),
    (Method::DELETE, "/v1/me/sign-ins/{sign_in}"),
    (Method::POST, "/v1/sign-out"),
    (Method::POST, "/v1/organisations/{organisation}/locks"),
    (Method::POST, "/v1/requests/{request}/deny"),
    (Method::POST, "/v1/grants/{grant}/revoke"),
    (Method::POST, "/v1/grants/{grant}/narrow"),
    (Method::POST, "/v1/grants/{grant}/give-up"),
    (Method::POST, "/v1/sessions/{session}/close"),
    (Method::POST, "/v1/sessions/{session}/end"),
];
/// Also an ending: a person taken off a grant.
const UNASSIGN: &str = "/v1/grants/{grant}/assignments/{person}";
/// Where AuthZEN's questions stand.
const DECISIONS: &str = "/access/v1/";
const OF_ORGANISATION: &str = "/v1/organisations/{organisation}";

/// What kind of call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Read,
    Write,
    End,
    Decide,
}

fn lane(method: &Method, route: &str) -> Lane {
    let ends = ENDINGS.iter().any(|(m, path)| m == method && *path == route);
    if ends || (method == Method::DELETE && route == UNASSIGN) {
        Lane::End
    } else if route.starts_with(DECISIONS) {
        Lane::Decide
    } else if matches!(*method, Method::GET | Method::HEAD) {
        Lane::Read
    } else {
        Lane::Write
    }
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
    clock: Arc<comity_app::clock::Clock>,
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
    pub(crate) fn caller(&self, app: &App, caller: &Caller, parts: &Parts) -> Result<(), TooOften> {
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let lane = lane(&parts.method, route);
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
                let home = home(&app.state(), person, route, parts.uri.path());
                home.map_or(Ok(()), |home| take(all.organisation.as_ref(), home.0))
            }
            _ => Ok(()),
        }
    }

    /// Somebody who shows nothing that is in force.
    pub(crate) fn stranger(&self, from: From) -> Result<(), TooOften> {
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
    pub(crate) fn may_be_heard(&self, from: From) -> Result<(), TooOften> {
        let spent = self.spent.lock().is_ok_and(|spent| {
            spent.get(&from.key()).is_some_and(|until| self.clock.ticks() < *until)
        });
        if spent { self.stranger(from) } else { Ok(()) }
    }

    /// A sign-in is tried. Others' tries for the same account slow it down and never refuse it.
    pub(crate) async fn sign_in(&self, app: &App, from: From, email: &str) -> Result<(), TooOften> {
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
    pub(crate) fn sign_in_step(&self, from: From) -> Result<(), TooOften> {
        take(self.all.sign_in_address.as_ref(), from.key())
    }

    /// A first password is set.
    pub(crate) fn enrol(&self, from: From) -> Result<(), TooOften> {
        take(self.all.enrol.as_ref(), from.key())
    }

    /// A person who may ask for `provider` uses a customer ID, a right one or not.
    pub(crate) async fn customer_id(
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
    pub(crate) fn exchange(&self, caller: &Caller) -> Result<(), TooOften> {
        caller.person().map_or(Ok(()), |person| take(self.all.exchange.as_ref(), person.0))
    }

    async fn brake(&self, no: TooOften) {
        if let Ok(_place) = self.braked.try_acquire() {
            tokio::time::sleep(no.after.min(BRAKE)).await;
        }
    }

    /// Turns among the event streams to read the log: pages are not to wait for all of them.
    pub(crate) fn feed_reads(&self) -> &Semaphore {
        &self.feed_reads
    }

    /// A place for an event stream of the caller, given back when it is dropped.
    pub(crate) fn stream(self: &Arc<Self>, caller: &Caller) -> Result<StreamPlace, TooOften> {
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
pub(crate) struct StreamPlace {
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

/// The organisation for which a person calls: the one in the path, if it is one of theirs, or else
/// their first. Naming another's takes nothing from it.
fn home(state: &World, person: PersonId, route: &str, path: &str) -> Option<OrganisationId> {
    let named = route.starts_with(OF_ORGANISATION).then(|| path.split('/').nth(3)).flatten();
    let named = named.and_then(|name| input::organisation(state, name).ok());
    named
        .filter(|organisation| state.members.contains_key(&(*organisation, person)))
        .or_else(|| state.organisations_of(person).next())
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From(IpAddr);

impl From {
    fn key(self) -> u128 {
        address::key(self.0)
    }
}

/// The limits and where the request comes from, as the middleware put them beside it.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub limits: Arc<Limits>,
    pub from: From,
}

impl Counted {
    /// What stands beside a request; `None` outside of the router.
    pub fn beside(parts: &Parts) -> Option<&Self> {
        parts.extensions.get::<Self>()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Counted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::beside(parts).cloned().ok_or_else(|| {
            comity_app::Failure::Broken("a route stands outside of the limits".into()).into()
        })
    }
}

/// Puts the limits and the client's address beside each request.
pub(crate) async fn count(
    State(limits): State<Arc<Limits>>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().map(|Peer(peer)| peer.ip());
    let proxies = &limits.settings.proxies;
    let from = peer.map(|peer| proxies.client(peer, request.headers()));
    let from = From(from.unwrap_or_else(address::nowhere));
    request.extensions_mut().insert(Counted { limits, from });
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t46_every_ending_is_a_route_and_no_other_lane_takes_it() {
        let table = include_str!("../routes.rs");
        for (method, path) in ENDINGS.iter().chain([&(Method::DELETE, UNASSIGN)]) {
            let line = table.lines().find(|l| l.contains(&format!(".route(\"{path}\",")));
            let line = line.unwrap_or_else(|| panic!("{path} is no route"));
            assert!(
                line.contains(&format!("{}(", method.as_str().to_lowercase())),
                "{method} {path}"
            );
            assert_eq!(lane(method, path), Lane::End);
        }
        assert_eq!(lane(&Method::PUT, UNASSIGN), Lane::Write);
        assert_eq!(lane(&Method::GET, "/v1/grants/{grant}"), Lane::Read);
        assert_eq!(lane(&Method::POST, "/access/v1/evaluation"), Lane::Decide);
    }

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
