//! The people of an organisation by what they are called: an index over words.
//!
//! It follows from who is a member and from the words as they are now, so an erased name leaves it
//! in the same row, and nobody is found by a name that they no longer have. It holds beginnings
//! only: whoever is found by one is compared with the words themselves.

use std::collections::BTreeSet;

use imbl::OrdSet;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::ids::{OrganisationId, PersonId};
use crate::state::State;
use crate::table::Slot;

/// How many bytes of a word's beginning the index holds.
const HELD: usize = 12;

type Beginning = [u8; HELD];

/// Beginnings of words, by organisation, each with whom they lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(OrdSet<(Slot, Beginning, Slot)>);

/// Letters that Unicode does not take apart, as people type them who do not have them.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ı' => "i",
        _ => return None,
    })
}

/// Without case, accents and width.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.nfkd().flat_map(char::to_lowercase).filter(|c| !is_combining_mark(*c)) {
        match plain(c) {
            Some(letters) => out.push_str(letters),
            None => out.push(c),
        }
    }
    out
}

fn parts(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty())
}

/// What somebody is found by: each word of the name; of the address the whole, what stands before
/// and behind the `@`, and the parts of what stands before it.
fn found_by(name: Option<&str>, email: Option<&str>) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    if let Some(name) = name.map(fold) {
        out.extend(parts(&name).map(str::to_owned));
    }
    if let Some(email) = email.map(fold) {
        let (local, domain) = email.split_once('@').unwrap_or((&email, ""));
        out.extend(parts(local).map(str::to_owned));
        out.extend(
            [email.as_str(), domain].into_iter().filter(|p| !p.is_empty()).map(str::to_owned),
        );
    }
    out
}

fn beginning(word: &str, padded: u8) -> Beginning {
    let mut out = [padded; HELD];
    for (to, from) in out.iter_mut().zip(word.bytes()) {
        *to = from;
    }
    out
}

/// What somebody looks for: every one of these has to be the beginning of something.
fn terms(query: &str) -> Vec<String> {
    let mut out = Vec::new();
    for word in fold(query).split_whitespace() {
        if word.contains('@') || word.contains('.') {
            out.push(word.to_owned());
        } else {
            out.extend(parts(word).map(str::to_owned));
        }
    }
    out
}

impl State {
    fn words_of(&self, person: PersonId) -> BTreeSet<String> {
        let known = self.people.get(person);
        let text = |word| self.words.get(word);
        found_by(known.and_then(|p| text(p.name)), known.and_then(|p| text(p.email)))
    }

    /// Before a member is gone, or a word of theirs is.
    pub(crate) fn unname(&mut self, organisation: OrganisationId, person: PersonId) {
        self.each_beginning(organisation, person, |names, key| {
            names.remove(&key);
        });
    }

    /// Once there is a member, or another word.
    pub(crate) fn name(&mut self, organisation: OrganisationId, person: PersonId) {
        self.each_beginning(organisation, person, |names, key| {
            names.insert(key);
        });
    }

    fn each_beginning(
        &mut self,
        organisation: OrganisationId,
        person: PersonId,
        each: impl Fn(&mut OrdSet<(Slot, Beginning, Slot)>, (Slot, Beginning, Slot)),
    ) {
        let at = (self.organisations.slot(organisation), self.people.slot(person));
        if let (Some(organisation), Some(person_at)) = at {
            for word in self.words_of(person) {
                each(&mut self.names.0, (organisation, beginning(&word, 0), person_at));
            }
        }
    }

    /// The same wherever a person is a member.
    pub(crate) fn named_anew(&mut self, person: PersonId, change: impl FnOnce(&mut Self)) {
        let at: Vec<OrganisationId> = self.organisations_of(person).collect();
        at.iter().for_each(|organisation| self.unname(*organisation, person));
        change(self);
        at.iter().for_each(|organisation| self.name(*organisation, person));
    }

    /// Puts the words in their place that were kept apart from the facts, and the index over them.
    pub fn speak(&mut self, words: crate::text::Words) {
        self.words = words;
        let mut all: Vec<(Slot, Beginning, Slot)> = Vec::with_capacity(self.members.len() * 4);
        for (organisation, person) in self.members.keys() {
            let at = (self.organisations.slot(*organisation), self.people.slot(*person));
            if let (Some(organisation), Some(person_at)) = at {
                let words = self.words_of(*person);
                all.extend(words.iter().map(|w| (organisation, beginning(w, 0), person_at)));
            }
        }
        all.sort_unstable(); // a set takes sorted entries much faster
        self.names = Names(all.into_iter().collect());
    }

    /// The members of an organisation of whose name or address every word of `query` begins some
    /// part, without regard to case and accents; sorted. Nothing to look for finds nobody.
    #[must_use]
    pub fn members_called(&self, organisation: OrganisationId, query: &str) -> Vec<PersonId> {
        let Some(at) = self.organisations.slot(organisation) else {
            return Vec::new();
        };
        let terms = terms(query);
        let mut found: Option<Vec<Slot>> = None;
        for term in &terms {
            let from = (at, beginning(term, 0), Slot::MIN);
            let to = (at, beginning(term, u8::MAX), Slot::MAX);
            let mut these: Vec<Slot> = self.names.0.range(from..=to).map(|(_, _, p)| *p).collect();
            these.sort_unstable();
            these.dedup();
            found = Some(match found {
                None => these,
                Some(mut before) => {
                    before.retain(|p| these.binary_search(p).is_ok());
                    before
                }
            });
        }
        let long = terms.iter().any(|term| term.len() > HELD);
        let really = |person: &PersonId| {
            let words = if long { self.words_of(*person) } else { BTreeSet::new() };
            let begins = |term: &String| words.iter().any(|word| word.starts_with(term.as_str()));
            terms.iter().filter(|term| term.len() > HELD).all(begins)
        };
        let ids = found.unwrap_or_default().into_iter().filter_map(|p| self.people.id_at(p));
        let mut ids: Vec<PersonId> = ids.filter(really).collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v06_names_are_folded_and_taken_apart() {
        let all = |name, email| found_by(Some(name), Some(email)).into_iter().collect::<Vec<_>>();
        assert_eq!(
            all("Zoë  Ø. d'Łuka-Straße", "Zoe.Luka@boats.example"),
            ["boats.example", "d", "luka", "o", "strasse", "zoe", "zoe.luka@boats.example"]
        );
        assert_eq!(fold("ＩＳＴＡＮＢＵＬ İzmir ﬁn"), "istanbul izmir fin");
        assert_eq!(terms(" ANA-Maria  zoe.l@b "), ["ana", "maria", "zoe.l@b"]);
        assert!(terms(" -- ").is_empty());
    }
}
