//! The HTTP API.
//!
//! Each handler says who is calling, turns the body into a command or a question, hands it to the
//! app and shows what came back. No rule stands here.
//!
//! - [`routes`]: the whole table on one screen.
//! - `again`, `versions`: sending a command twice, and editing what somebody else edits too.
//! - `auth`, `input`, [`problem`], `page`: who calls, what they sent, how "no" looks, lists.
//! - [`limits`]: how often is too often.
//! - one file for each noun; `oauth/`, `authzen/` and `ssf/` for those standards; `feed` and `stream` for events.
//! - `observe`: a line and a count for each request. [`figures()`]: the operator's own listener.
//! - [`server`]: connections, time-outs, stop.

mod access;
mod again;
mod amendments;
mod auth;
mod authzen;
mod auto;
mod bulk;
mod candidates;
mod checkpoints;
mod confirm;
mod docs;
mod doors;
mod erasures;
mod factors;
mod feed;
mod figures;
pub mod gate;
mod grants;
mod halts;
mod imports;
mod input;
mod invitations;
mod levels;
pub mod limits;
mod locks;
mod me;
mod members;
mod notices;
mod oauth;
mod observe;
mod offers;
pub mod openapi;
mod organisations;
mod page;
mod platform;
pub mod problem;
mod requests;
mod roles;
pub mod routes;
pub mod server;
mod sessions;
mod settings;
mod shown;
mod sign_in;
mod signing_keys;
mod ssf;
mod staged;
mod stream;
mod versions;
mod webhooks;

pub use figures::figures;
pub use routes::{limited_router, router, router_beside};
