//! What the doors share; no HTTP types.
//!
//! - [`clock`], [`random`]: the only places where time and chance are read.
//! - [`keys`]: the installation's key file and what is derived from it.
//! - [`tokens`]: how secrets look outside, and their digests; [`access`]: which session a token
//!   opens; [`assertions`]: how an application proves itself by a key of its own.
//! - [`jws`], [`signing`]: signed tokens as bytes; Comity's own keys and signature.
//! - [`node`]: a node as others hold it; `writer`: collect commands, append, apply, publish;
//!   `again`: what is sent a second time;
//!   [`lease`]: what several nodes over one log wait for.
//! - [`start`], [`snapshots`]: from a snapshot or the whole log to a state; taking and confirming.
//! - [`entering`]: how a stay begins.
//! - [`limits`]: how often is too often, at every door together.
//! - [`calls`]: counting made durable.
//! - [`guard`]: no yes from a log that is older than what the world has seen of it.
//! - [`metrics`]: figures for monitoring; [`health`]: the same for a person.
//! - [`erasures`]: what an erasure leaves to do outside the log.
//! - [`checker`]: whether what must always be true still is.
//! - [`checkpoints`]: signing where the log stands.
//! - [`telling`]: what happened, as each reader is told of it.
//! - [`webhooks`], [`outbox`], [`outbound`]: telling it outside: signing, delivering, calling.
//! - [`notices`]: what people are told in their inboxes; [`mail`]: the same by SMTP.
//! - [`people`]: how people sign in.
//! - [`history`]: past and present sessions with their counts, as pages and files; [`cursor`]: places
//!   in lists, as whoever pages through one carries them.
//! - [`app`]: all of it together, as a door holds it.

pub mod access;
mod again;
pub mod app;
pub mod assertions;
pub mod calls;
pub mod checker;
pub mod checkpoints;
pub mod clock;
pub mod cursor;
pub mod entering;
pub mod erasures;
pub mod guard;
pub mod health;
pub mod history;
pub mod jws;
pub mod keys;
pub mod lease;
pub mod limits;
pub mod mail;
pub mod metrics;
pub mod node;
pub mod notices;
pub mod outbound;
pub mod outbox;
pub mod people;
pub mod random;
pub mod signing;
pub mod snapshots;
pub mod start;
pub mod streams;
pub mod telling;
pub mod tokens;
pub mod webhooks;
mod writer;

pub use app::{App, Failure, Settings, StartError};
