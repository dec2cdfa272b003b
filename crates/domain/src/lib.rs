//! What can exist in Comity, who may change it, and what follows.
//!
//! Pure: no clock, no randomness, no I/O; the same arguments give the same answer for ever. Read it
//! in this order:
//!
//! 1. [`ids`], [`time`], [`code`], [`text`], [`permission`]: values.
//! 2. [`organisation`], [`person`], [`role`], [`application`]: who there is, and what roles permit.
//! 3. [`request`], [`grant`], [`assignment`], [`session`], [`lock`]: one noun, one file: its
//!    states, its moves.
//! 4. [`may`]: who may do what. [`rights`]: what a session may do. [`refusal`]: every "no".
//! 5. [`command`], [`event`]: what can be asked, what can have happened.
//! 6. [`kernel`], [`draft`], `settle`: a command becomes a row; its consequences.
//! 7. [`state`], [`apply`], `retire`, [`table`]: a row changes the state; what ended long ago goes.
//! 8. [`view`]: questions about the state, scope first.

pub mod ids;
pub mod time;
pub mod code;
pub mod text;
pub mod permission;

pub mod organisation;
pub mod person;
pub mod role;
pub mod application;

pub mod request;
pub mod grant;
pub mod assignment;
pub mod session;
pub mod lock;

pub mod may;
pub mod rights;
pub mod refusal;

pub mod command;
pub mod event;

pub mod kernel;
pub mod draft;
mod settle;

pub mod state;
pub mod apply;
mod retire;
pub mod table;

pub mod view;
