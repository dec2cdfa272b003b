//! Mail: what stands in an inbox is also sent to those who have to act or may read it.
//!
//! [`letter`]: what a mail says; [`relay`]: how it is handed on; [`post`]: who is sent what, and
//! again. There is no setting by which a person stops a kind: whoever took over an account would
//! use it first (T57).
//!
//! **Once, as far as SMTP allows.** A mail is queued once for each event and person, and what the
//! relay has taken (its 250) is on disk before the next one is sent. Between the relay's taking it
//! and our knowing lies the network: where the connection breaks there, or the process is killed
//! before it has noted the reply, the mail is sent once more, under the same `Message-ID`, by which
//! many receivers drop the second. Never sent at all would be worse.

pub mod letter;
pub mod post;
pub mod relay;

use std::path::PathBuf;

use comity_domain::time::Instant;
use lettre::message::Mailbox;

pub use relay::Relay;

/// Whether and how mails are sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// By which way.
    pub way: Way,
    /// Whom they are from.
    pub from: Mailbox,
    /// Nothing that happened earlier is mailed.
    pub since: Instant,
}

/// By which way mails go.
#[derive(Debug, Clone)]
pub enum Way {
    /// To a relay.
    Smtp(Relay),
    /// To whoever reads the log: the address, the subject and the text.
    Print(fn(&str, &str, &str)),
}

/// What is said of the relay in the settings.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Where it is: `smtps://user@host:465`, or `smtp://host:587` with STARTTLS.
    pub smtp: String,
    /// The password of the user that the URL names.
    pub password: Option<String>,
    /// Certificate authorities trusted beside the system's, in PEM.
    pub extra_ca: Option<PathBuf>,
}

impl Settings {
    /// By a relay.
    ///
    /// # Errors
    /// What is wrong, beginning with the name of the setting.
    pub fn smtp(said: &Said, from: &str) -> Result<Self, String> {
        Ok(Self { way: Way::Smtp(Relay::of(said)?), from: mailbox(from)?, since: ALWAYS })
    }

    /// To whoever reads the log.
    ///
    /// # Errors
    /// What is wrong, beginning with the name of the setting.
    pub fn print(from: &str, print: fn(&str, &str, &str)) -> Result<Self, String> {
        Ok(Self { way: Way::Print(print), from: mailbox(from)?, since: ALWAYS })
    }
}

const ALWAYS: Instant = Instant(i64::MIN);

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let plain = !text.chars().any(char::is_control);
    text.parse::<Mailbox>().ok().filter(|_| plain).ok_or_else(|| {
        format!("from: {text:?} is not an address such as Comity <comity@example.com>")
    })
}
