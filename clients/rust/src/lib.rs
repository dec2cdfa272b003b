//! Comity's client: ask before each call, check tokens offline, check webhooks, guard an axum app.
//!
//! - [`Comity`]: may this session do this to that, now? Whatever is not clearly a yes is a no.
//! - [`Guard`]: the same as a tower layer.
//! - [`Verifier`]: JWT access tokens without asking (RFC 9068).
//! - [`verify_webhook`]: the signature of a delivery (Standard Webhooks).

mod client;
mod clock;
mod decision;
mod guard;
mod transport;
mod verify;
mod webhook;
#[allow(dead_code, reason = "written from the document, with what nobody here reads")]
mod wire;

pub use client::{Comity, Introspection, Question};
pub use decision::{Decision, Entity, Mode, No, Yes};
pub use guard::{Guard, Guarded, NoSession};
pub use transport::{Settings, WrongSetting};
pub use verify::{TokenRefused, VerifiedToken, Verifier};
pub use webhook::{Webhook, WebhookRefused, verify_webhook, verify_webhook_at};
