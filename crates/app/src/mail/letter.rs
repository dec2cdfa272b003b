//! What a mail says: a fixed subject, one sentence, and where the console shows the rest.
//!
//! Before a yes no word that a stranger typed stands in it (T34). After it names may stand, escaped,
//! and so that no mail program makes a link of one (T42). Reasons, tickets and messages never do.
//! The only link leads to a page that asks who is there; none decides anything (T10).

use askama::Template;
use comity_domain::ids::PersonId;
use comity_domain::notice::{self, Kind, Side};
use comity_domain::state::State;
use comity_domain::time::Instant;
use comity_store::Noticed;
use lettre::address::Envelope;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use sha2::{Digest as _, Sha256};

use crate::notices::{self, Names};

/// A mail, ready to be handed on.
#[derive(Debug, Clone)]
pub struct Letter {
    /// From whom and to whom, as the relay is told.
    pub envelope: Envelope,
    /// The address that it goes to.
    pub to: String,
    /// Its subject.
    pub subject: &'static str,
    /// Its text, without mark-up.
    pub text: String,
    /// All of it, as it is sent (RFC 5322).
    pub bytes: Vec<u8>,
}

#[derive(Template)]
#[template(path = "mail.txt")]
struct Text<'a> {
    sentence: &'a str,
    lead: &'a str,
    link: &'a str,
    own: &'a str,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    subject: &'a str,
    sentence: &'a str,
    lead: &'a str,
    link: &'a str,
    own: &'a str,
}

/// The subject of a kind: always the same words, whoever it is about.
#[must_use]
pub fn subject(kind: Kind) -> &'static str {
    match kind {
        Kind::Asked => "A request for access",
        Kind::Approved => "A request for access was approved",
        Kind::Denied => "A request for access was denied",
        Kind::Offered => "An offer of access",
        Kind::Accepted => "An offer of access was accepted",
        Kind::Declined => "An offer of access was declined",
        Kind::Withdrawn => "An offer of access was withdrawn",
        Kind::OfferLapsed => "An offer of access has expired",
        Kind::Amended => "An access was changed",
        Kind::Cancelled => "A request for access was cancelled",
        Kind::Lapsed => "A request for access has expired",
        Kind::Narrowed | Kind::Trimmed => "An access gives less from now on",
        Kind::Revoked => "An access was revoked",
        Kind::GivenUp => "An access was given up",
        Kind::Closed | Kind::Expired => "An access has ended",
        Kind::EndsInAWeek => "An access ends within 7 days",
        Kind::EndsInADay => "An access ends within a day",
        Kind::Unconfirmed => "Access waits to be confirmed",
        Kind::Confirmed => "An access was confirmed",
        Kind::Unattended => "An access is left without anybody",
        Kind::NoRoles => "Somebody is left without a role",
        Kind::ImpersonationStarted => "An impersonation has begun",
        Kind::ImpersonationEnded => "An impersonation has ended",
        Kind::Locked => "A partner was locked out",
        Kind::Unlocked => "A lock was lifted",
        Kind::Halted => "Comity has halted something",
        Kind::HaltLifted => "A halt was lifted",
        Kind::AdminsChanged => "Your organisation's Admins have changed",
        Kind::Superseded => "A direct membership was replaced",
        Kind::MembershipRestored => "A direct membership was restored",
        Kind::WebhooksChanged => "A webhook of your organisation has changed",
    }
}

/// The identifier of a mail: the same at every try, another for every event and person. It says
/// nothing about either.
#[must_use]
pub fn message_id(issuer: &str, from: &Mailbox, noticed: &Noticed, person: PersonId) -> String {
    let notice = &noticed.notice;
    let of = format!(
        "comity mail\n{issuer}\n{}\n{}\n{}\n{}\n{person}",
        notice.organisation, noticed.seq, notice.index, noticed.at.0
    );
    let digest = Sha256::digest(of.as_bytes());
    let hex: String = digest.iter().take(20).map(|b| format!("{b:02x}")).collect();
    format!("<{hex}@{}>", from.email.domain())
}

/// The mail by which a person is told of a notice at an address; `None` if no mail can be made for
/// that address.
#[must_use]
pub fn letter(
    state: &State,
    (issuer, from): (&str, &Mailbox),
    noticed: &Noticed,
    (person, address): (PersonId, &str),
    now: Instant,
) -> Option<Letter> {
    let notice = &noticed.notice;
    // One that could begin a new header is no address, whoever stored it.
    let clean = !address.chars().any(|c| c.is_control() || c.is_whitespace());
    let to: Address = address.parse().ok().filter(|_| clean)?;
    let names = if notice.facts.grant.is_some() {
        let names = Names::of(state, notice);
        Names {
            other: names.other.map(|n| unlinked(&n)),
            person: names.person.map(|n| unlinked(&n)),
        }
    } else {
        Names::default() // nobody said yes to whomever it is about
    };
    let own = state.organisations.get(notice.organisation);
    let own = own.map_or_else(String::new, |o| unlinked(state.words.show(o.name)));
    let subject = subject(notice.kind);
    // Whom it is about may not be able to read what the others are led to.
    let (sentence, lead, path) = if notice::concerned(notice) == Some(person) {
        let lead = "Sign in to see where you may go:";
        (notices::to_concerned(notice, &names, &own), lead, "/console/tenants".to_owned())
    } else {
        let lead = lead(notice.kind, notice.side);
        (notices::sentence(notice, &names), lead, notices::path(notice))
    };
    let link = format!("{issuer}{path}");
    let (lead, link, own) = (lead, link.as_str(), own.as_str());
    let text = Text { sentence: &sentence, lead, link, own }.render().ok()?;
    let html = Html { subject, sentence: &sentence, lead, link, own }.render().ok()?;
    let date = std::time::UNIX_EPOCH
        .checked_add(std::time::Duration::from_millis(u64::try_from(now.0).ok()?))?;
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(subject)
        .date(date)
        .message_id(Some(message_id(issuer, from, noticed, person)))
        .header(AutoSubmitted)
        .multipart(MultiPart::alternative_plain_html(text.clone(), html))
        .ok()?;
    let envelope = Envelope::new(Some(from.email.clone()), vec![to]).ok()?;
    Some(Letter { envelope, to: address.to_owned(), subject, text, bytes: message.formatted() })
}

fn lead(kind: Kind, side: Side) -> &'static str {
    match (kind, side) {
        (Kind::Asked, Side::Customer) => "Sign in to see who asks and why, and to decide:",
        (Kind::Unconfirmed, Side::Customer) => "Sign in to confirm what is still wanted:",
        _ => "Sign in to see more:",
    }
}

/// A name that no mail program takes for an address: where one would look for a link, a joiner
/// (U+2060) without width stands between. Whatever could move the cursor or turn the text is gone.
fn unlinked(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let turns = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    for c in name.chars().filter(|c| !turns(*c)) {
        out.push(if c.is_control() { ' ' } else { c });
        if matches!(c, '.' | ':' | '/' | '@' | '\\' | '。' | '．' | '｡') {
            out.push('\u{2060}');
        }
    }
    out
}

/// Nobody's holiday notice answers a machine (RFC 3834).
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t42_no_name_becomes_a_link() {
        for name in ["evil.example", "https://evil.example/x", "a@evil.example", "evil。example"] {
            let shown = unlinked(name);
            assert_eq!(shown.replace('\u{2060}', ""), name);
            assert!(!shown.contains("evil.e") && !shown.contains("://") && !shown.contains("@e"));
        }
        assert_eq!(unlinked("Relay\r\nBcc: x\u{202e}"), "Relay  Bcc:\u{2060} x");
    }
}
