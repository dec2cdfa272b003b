//! The console: pages for people, rendered by the server, on the same commands and questions as the
//! API. No rule stands here.
//!
//! In reading order:
//!
//! - `routes.rs`: every page on one screen.
//! - `visitor.rs`: who is looking: the cookie, its limits, and what a form has to prove.
//! - `cookie.rs`: how a cookie of ours is set, read and taken away.
//! - `shell.rs`: what surrounds every page: navigation, the person, what was just done.
//! - `wrong.rs`: how "no" and "broken" look.
//! - `parts.rs`: the handful of components; `/console/components` shows them together in the demo.
//! - `assets.rs`: the stylesheet and the modules, by names that hold their content's hash.
//! - one file a page, with its templates of the same name.
//!
//! Every page works without script. A dialog is a page of its own; the module `dialog.js` shows it
//! over the page that links to it.

mod access;
mod active;
mod amend;
mod approve;
mod ask;
mod asking;
mod assets;
mod at;
mod chart;
mod components;
mod cookie;
mod demo;
mod dialog;
mod first_run;
mod give_up;
mod giving;
mod grant;
mod guard;
mod history;
mod home;
mod inbox;
mod locks;
mod manage;
mod me;
mod narrow;
mod off;
mod offer;
mod offered;
mod operator;
mod parts;
mod passkey;
mod people;
mod received;
mod replaced;
mod request;
mod roles;
mod routes;
mod session;
mod settings;
mod shell;
mod show;
mod sign_in;
mod stay;
mod tenants;
mod terms;
mod visitor;
mod wrong;

pub use demo::PASSWORD as DEMO_PASSWORD;
pub use routes::{Console, Settings, router};
