//! What people type: how it is checked on the way in, and how it is kept apart from facts.
//!
//! A **word** is anything that a person typed or that names somebody: names, addresses, reasons,
//! tickets, external identifiers. Events and nouns hold only a [`WordId`], a place in the log;
//! the text itself stands in [`Words`]. So a word can be erased without touching a fact, and no
//! rule that turns events into state can ever depend on one.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use unicode_security::MixedScript as _;

use crate::ids::{
    AccountId, InvitationId, OrganisationId, PersonId, RequestId, SessionId, StreamId, UnitId,
    WebhookId,
};
use crate::refusal::Refusal;

/// Where a word stands: row of the log, place within the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WordId(pub u64, pub u32);

/// Whom a word is about: what an erasure names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An organisation.
    Organisation(OrganisationId),
    /// A unit.
    Unit(UnitId),
    /// An account.
    Account(AccountId),
    /// A person.
    Person(PersonId),
    /// What was said on a request.
    Request(RequestId),
    /// What was said on entering.
    Session(SessionId),
    /// Where a webhook leads, and how it is described.
    Webhook(WebhookId),
    /// Where an event stream leads, how it is described, and what was said to it.
    Stream(StreamId),
    /// The address that was invited.
    Invitation(InvitationId),
}

/// As its identifier, whose prefix says of which kind it is.
impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Organisation(id) => id.fmt(f),
            Self::Unit(id) => id.fmt(f),
            Self::Account(id) => id.fmt(f),
            Self::Person(id) => id.fmt(f),
            Self::Request(id) => id.fmt(f),
            Self::Session(id) => id.fmt(f),
            Self::Webhook(id) => id.fmt(f),
            Self::Stream(id) => id.fmt(f),
            Self::Invitation(id) => id.fmt(f),
        }
    }
}

/// What a word is looked up as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup {
    /// The builder's identifier of an organisation.
    Organisation,
    /// The builder's identifier of a unit of this organisation.
    Unit(OrganisationId),
    /// The builder's identifier of an account of this organisation.
    Account(OrganisationId),
    /// The builder's identifier of a member of this organisation.
    Member(OrganisationId),
    /// A verified e-mail address. One address is one person.
    Email,
}

/// Whom a word is about, and whose erasure takes it too.
pub type About = (Subject, Option<Subject>);

/// What is shown where a word was erased.
pub const ERASED: &str = "[erased]";

/// One word of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Whom it is about.
    pub about: Subject,
    /// What else it goes with when that is erased: who said it, or whose unit or account it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<Subject>,
    /// The event of the row that refers to it: its part carries the word's commitment.
    pub event: u32,
    /// The commitment's salt, erased with the text.
    pub salt: [u8; 16],
    /// The text; `None` once erased.
    pub text: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    about: Subject,
    also: Option<Subject>,
    text: Arc<str>,
    found_as: Option<Lookup>,
}

/// A word that the state refers to, and what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Which.
    pub word: WordId,
    /// As what it is looked up, and the value of the identifier that it leads to.
    pub found_as: Option<(Lookup, u128)>,
}

/// All words in memory, and the indexes by which they are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    by_id: OrdMap<WordId, Entry>,
    by_subject: OrdSet<(Subject, WordId)>,
    found: OrdMap<(Lookup, Arc<str>), u128>,
}

impl Words {
    /// The text of a word, unless it was erased.
    #[must_use]
    pub fn get(&self, id: WordId) -> Option<&str> {
        self.by_id.get(&id).map(|e| &*e.text)
    }

    /// The text of a word, or `[erased]`.
    #[must_use]
    pub fn show(&self, id: WordId) -> &str {
        self.get(id).unwrap_or(ERASED)
    }

    /// The object that `text` leads to.
    #[must_use]
    pub fn find(&self, lookup: Lookup, text: &str) -> Option<u128> {
        self.found.get(&(lookup, key(lookup, text))).copied()
    }

    /// How many words are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Words put together again from their texts, in the order of their places, as they would be
    /// had each been inserted and then indexed. The lookups are made on a thread of their own.
    pub(crate) fn restored(texts: Vec<(Reference, About, Arc<str>)>) -> Self {
        let lookups = |texts: &[(Reference, About, Arc<str>)]| {
            let entry = |(r, _, text): &(Reference, About, Arc<str>)| {
                r.found_as.map(|(lookup, target)| ((lookup, key_of(lookup, text)), target))
            };
            let mut found: Vec<_> = texts.iter().filter_map(entry).collect();
            found.sort_unstable();
            found.into_iter().collect()
        };
        let (by_id, by_subject, found) = std::thread::scope(|scope| {
            let found = scope.spawn(|| lookups(&texts));
            let mut by_subject: Vec<_> = texts
                .iter()
                .flat_map(|(r, (about, also), _)| {
                    [*about].into_iter().chain(*also).map(|subject| (subject, r.word))
                })
                .collect();
            by_subject.sort(); // stable: it is made of long stretches that are sorted already
            let entry = |(r, (about, also), text): &(Reference, About, Arc<str>)| {
                let found_as = r.found_as.map(|(lookup, _)| lookup);
                (r.word, Entry { about: *about, also: *also, text: text.clone(), found_as })
            };
            let by_id = texts.iter().map(entry).collect();
            let by_subject = by_subject.into_iter().collect();
            (by_id, by_subject, found.join().unwrap_or_else(|_| lookups(&texts)))
        });
        Self { by_id, by_subject, found }
    }

    /// Whether a word is left that an erasure of `subject` takes.
    #[must_use]
    pub fn names(&self, subject: Subject) -> bool {
        self.with(subject).next().is_some()
    }

    fn with(&self, subject: Subject) -> impl Iterator<Item = WordId> + '_ {
        let (from, to) = (WordId(0, 0), WordId(u64::MAX, u32::MAX));
        self.by_subject.range((subject, from)..=(subject, to)).map(|(_, id)| *id)
    }

    pub(crate) fn insert(&mut self, id: WordId, word: &Word, text: &Arc<str>) {
        let (about, also) = (word.about, word.also);
        for subject in [about].into_iter().chain(also) {
            self.by_subject.insert((subject, id));
        }
        self.by_id.insert(id, Entry { about, also, text: text.clone(), found_as: None });
    }

    /// From now on the word leads to `target`.
    pub(crate) fn index(&mut self, id: WordId, lookup: Lookup, target: u128) {
        if let Some(entry) = self.by_id.get_mut(&id) {
            entry.found_as = Some(lookup);
            self.found.insert((lookup, key_of(lookup, &entry.text)), target);
        }
    }

    /// Drops a word that nothing refers to any more.
    pub(crate) fn drop(&mut self, id: WordId) {
        if let Some(entry) = self.by_id.remove(&id) {
            for subject in [entry.about].into_iter().chain(entry.also) {
                self.by_subject.remove(&(subject, id));
            }
            if let Some(lookup) = entry.found_as {
                self.found.remove(&(lookup, key(lookup, &entry.text)));
            }
        }
    }

    /// Drops every word about `subject`, and every one that goes with it.
    pub(crate) fn erase(&mut self, subject: Subject) {
        let gone: Vec<WordId> = self.with(subject).collect();
        gone.into_iter().for_each(|id| self.drop(id));
    }
}

/// What a word is found by: its normal form, and for addresses without regard to case, so that one
/// mailbox is one person however it is written (T6).
fn key(lookup: Lookup, text: &str) -> Arc<str> {
    let text = text.trim();
    match lookup {
        Lookup::Email => text.to_ascii_lowercase().into(),
        _ if text.is_ascii() => text.into(),
        _ => text.nfc().collect::<String>().into(),
    }
}

/// The same, sharing the text where it is its own key, as most are.
fn key_of(lookup: Lookup, text: &Arc<str>) -> Arc<str> {
    let lower = lookup != Lookup::Email || !text.bytes().any(|b| b.is_ascii_uppercase());
    if lower && text.is_ascii() && text.trim() == &**text {
        text.clone()
    } else {
        key(lookup, text)
    }
}

/// A character that has no business in what people type: controls, invisible and bidirectional
/// formatting, private use.
fn is_forbidden(c: char, lines: bool) -> bool {
    if lines && c == '\n' {
        return false;
    }
    c.is_control()
        || matches!(c,
            '\u{00a0}' | '\u{00ad}' | '\u{034f}' | '\u{2800}' | '\u{fe00}'..='\u{fe0f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}'
            | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}

fn checked(field: &'static str, text: &str, max: usize, lines: bool) -> Result<Arc<str>, Refusal> {
    let text: String = text.nfc().collect();
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::invalid(field, "must not be empty"));
    }
    if text.chars().count() > max {
        return Err(Refusal::invalid(field, format!("must have at most {max} characters")));
    }
    if text.chars().any(|c| is_forbidden(c, lines)) {
        return Err(Refusal::invalid(
            field,
            "must not hold control, invisible or text-direction characters",
        ));
    }
    Ok(text.into())
}

/// A name shown to others: one line, at most 120 characters, no script mixed into another
/// (UTS 39, highly restrictive), so that no name can be drawn to look like somebody else's (T3).
///
/// # Errors
/// `invalid` naming `field`.
pub fn name(field: &'static str, text: &str) -> Result<Arc<str>, Refusal> {
    let text = checked(field, text, 120, false)?;
    if &*text == ERASED {
        return Err(Refusal::invalid(field, "is what stands for an erased word"));
    }
    if text.split_whitespace().any(|w| !w.is_single_script()) {
        return Err(Refusal::invalid(field, "must not mix scripts within a word"));
    }
    Ok(text)
}

/// Free words: a reason, a message. Several lines, at most 1,000 characters.
///
/// # Errors
/// `invalid` naming `field`.
pub fn prose(field: &'static str, text: &str) -> Result<Arc<str>, Refusal> {
    checked(field, text, 1_000, true)
}

/// A ticket or another system's identifier: one line, at most 200 characters.
///
/// # Errors
/// `invalid` naming `field`.
pub fn reference(field: &'static str, text: &str) -> Result<Arc<str>, Refusal> {
    checked(field, text, 200, false)
}

/// A word of code: `[a-z0-9_-]{1,64}`.
///
/// # Errors
/// `invalid` naming `field`.
pub fn code(field: &'static str, text: &str) -> Result<Arc<str>, Refusal> {
    if is_code(text) {
        Ok(text.into())
    } else {
        Err(Refusal::invalid(field, "must be 1 to 64 of a-z, 0-9, _ and -"))
    }
}

/// Whether `text` is `[a-z0-9_-]{1,64}`.
#[must_use]
pub fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// An e-mail address: one `@`, a plain local part kept as it is, the domain as a lower-case
/// A-label (RFC 5890). Internationalised domains are to be given in their `xn--` form.
///
/// # Errors
/// `invalid` naming `field`.
pub fn email(field: &'static str, text: &str) -> Result<Arc<str>, Refusal> {
    let wrong = || Refusal::invalid(field, "must be an e-mail address such as ana@example.com");
    let (local, domain) = text.trim().rsplit_once('@').ok_or_else(wrong)?;
    let local_ok = (1..=64).contains(&local.len())
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
    let domain = domain.to_ascii_lowercase();
    let domain_ok = domain.len() <= 190
        && domain.contains('.')
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if local_ok && domain_ok { Ok(format!("{local}@{domain}").into()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t03_names_that_pretend_are_refused() {
        assert_eq!(&*name("name", "  Zo\u{65}\u{301} Marine ").unwrap(), "Zo\u{e9} Marine");
        assert_eq!(&*name("name", "東京マリーナ").unwrap(), "東京マリーナ");
        for bad in ["", " ", "P\u{0430}ypal", "abc\u{202e}def", "a\u{200b}b", "a\nb", "a\u{0}b"] {
            assert!(name("name", bad).is_err(), "{bad:?}");
        }
        assert!(name("name", &"x".repeat(121)).is_err());
    }

    #[test]
    fn t42_addresses_with_line_ends_or_markup_are_refused() {
        assert_eq!(&*email("email", "Ana@Example.COM").unwrap(), "Ana@example.com");
        for bad in ["ana", "a@b", "a\r\nbcc:x@y.zz", "<a@b.cc>", "a@-b.cc", "a b@c.dd", "@c.dd"] {
            assert!(email("email", bad).is_err(), "{bad:?}");
        }
    }
}
