//! What the doors share; no HTTP types.
//!
//! - [`clock`], [`random`]: the only places where time and chance are read.
//! - [`keys`]: the installation's key file and what is derived from it.
//! - [`tokens`]: how secrets look outside, and their digests.
//! - [`node`]: the writer: collect commands, append, apply, publish.
//! - [`calls`]: counting made durable.
//! - [`checkpoints`]: signing where the log stands.
//! - [`people`]: how people sign in.
//! - [`history`]: past and present sessions with their counts.
//! - [`app`]: all of it together, as a door holds it.

pub mod app;
pub mod calls;
pub mod checkpoints;
pub mod clock;
pub mod history;
pub mod keys;
pub mod node;
pub mod people;
pub mod random;
pub mod tokens;

pub use app::{App, Failure, Settings, StartError};
