//! What can exist in Comity, who may change it, and what follows.
//!
//! Pure: no clock, no randomness, no I/O; the same arguments give the same answer for ever. Read it
//! in this order:
//!
//! 1. [`ids`], [`time`], [`code`], [`text`], [`permission`]: values.
//! 2. [`organisation`], [`person`], [`factor`], [`role`], [`application`]: who there is, and what roles permit.
//!    [`first_run`]: how an empty log gets its first ones.
//! 3. [`request`], [`offer`], `partner_id`, [`consent`], [`grant`], [`assignment`], [`bulk`], [`session`], [`lock`], [`halt`],
//!    [`signing`]: one noun, one file: its states, its moves. [`webhook`], [`outbox`]: who is
//!    told outside, and of what; [`notice`]: which people are told in their inbox and by mail.
//! 4. [`may`]: who may do what. [`rights`]: what a session may do. [`refusal`]: every "no".
//! 5. [`command`], [`event`]: what can be asked, what can have happened. [`version`]: what somebody
//!    saw of a thing before they changed it.
//! 6. [`kernel`], [`draft`], `settle`: a command becomes a row; its consequences.
//! 7. [`state`], [`apply`], `retire`, [`table`]: a row changes the state; what ended long ago goes. `names`: people by
//!    what they are called.
//! 8. [`snapshot`]: the state as bytes and back, and its hash.
//! 9. [`view`]: questions about the state, scope first.
//! 10. [`check`]: whether the invariants hold, read off the facts a second time.

pub mod code;
pub mod ids;
pub mod permission;
pub mod text;
pub mod time;

pub mod application;
pub mod factor;
pub mod first_run;
pub mod organisation;
pub mod person;
pub mod role;

pub mod assignment;
pub mod auto;
pub mod bulk;
pub mod consent;
pub mod direct;
mod erasure;
pub mod grant;
pub mod halt;
pub mod invitation;
pub mod lock;
pub mod offer;
mod partner_id;
pub mod request;
pub mod session;
pub mod signing;

pub mod notice;
pub mod outbox;
pub mod stream;
pub mod webhook;

pub mod may;
pub mod refusal;
pub mod rights;

pub mod command;
pub mod event;
pub mod event_name;
pub mod version;

pub mod draft;
pub mod kernel;
mod settle;

pub mod apply;
mod names;
mod retire;
pub mod snapshot;
pub mod state;
pub mod table;

pub mod check;
pub mod view;
