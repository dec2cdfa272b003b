//! Permissions: the builder's words for what can be done, and sets of them.
//!
//! A permission is `resource:verb`, each in `[a-z0-9_-]{1,64}`. In a set either side may be `*`;
//! `*` alone is `*:*`. Sets are kept minimal and sorted, so that equal sets have equal bytes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::text::is_code;

/// How many patterns one set may hold.
pub const MOST_PATTERNS: usize = 500;
/// How many a role's new version and one that a grant pinned may have in common.
pub const MOST_IN_COMMON: usize = 2_000;

/// One entry of a set; `None` is the star.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    resource: Option<Arc<str>>,
    verb: Option<Arc<str>>,
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let side = |s: &str| match s {
            "*" => Some(None),
            s if is_code(s) => Some(Some(Arc::from(s))),
            _ => None,
        };
        let (resource, verb) = if text == "*" { ("*", "*") } else { text.split_once(':')? };
        Some(Self { resource: side(resource)?, verb: side(verb)? })
    }

    fn covers(&self, other: &Self) -> bool {
        let side = |a: &Option<Arc<str>>, b: &Option<Arc<str>>| a.is_none() || a == b;
        side(&self.resource, &other.resource) && side(&self.verb, &other.verb)
    }

    fn meet(&self, other: &Self) -> Option<Self> {
        let side = |a: &Option<Arc<str>>, b: &Option<Arc<str>>| match (a, b) {
            (None, x) | (x, None) => Some(x.clone()),
            (Some(x), Some(y)) if x == y => Some(Some(x.clone())),
            _ => None,
        };
        Some(Self {
            resource: side(&self.resource, &other.resource)?,
            verb: side(&self.verb, &other.verb)?,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = "*";
        match (&self.resource, &self.verb) {
            (None, None) => f.write_str(star),
            (r, v) => {
                write!(f, "{}:{}", r.as_deref().unwrap_or(star), v.as_deref().unwrap_or(star))
            }
        }
    }
}

/// A single permission that a decision asks about: never a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission<'a> {
    resource: &'a str,
    verb: &'a str,
}

impl<'a> Permission<'a> {
    /// Reads `resource:verb`; `None` for anything else, and for every star.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (resource, verb) = text.split_once(':')?;
        (is_code(resource) && is_code(verb)).then_some(Self { resource, verb })
    }
}

impl fmt::Display for Permission<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.resource, self.verb)
    }
}

/// A set of permissions: no entry covers another, and entries are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permissions(Arc<[Pattern]>);

impl Default for Permissions {
    fn default() -> Self {
        Self::none()
    }
}

impl Permissions {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new([]))
    }

    /// Everything: `*`.
    #[must_use]
    pub fn all() -> Self {
        Self(Arc::new([Pattern { resource: None, verb: None }]))
    }

    /// Only what reads: `*:read`.
    #[must_use]
    pub fn reading() -> Self {
        Self(Arc::new([Pattern { resource: None, verb: Some("read".into()) }]))
    }

    /// Reads a list of patterns.
    ///
    /// # Errors
    /// `invalid` naming `field` and the entry.
    pub fn parse<S: AsRef<str>>(
        field: &'static str,
        texts: impl IntoIterator<Item = S>,
    ) -> Result<Self, Refusal> {
        let mut patterns = Vec::new();
        for text in texts {
            let text = text.as_ref();
            let shown: String = text.chars().take(80).collect();
            patterns.push(Pattern::parse(text).ok_or_else(|| {
                Refusal::invalid(
                    field,
                    format!("{shown:?} is not resource:verb, each a-z, 0-9, _, - or *"),
                )
            })?);
            if patterns.len() > MOST_PATTERNS {
                return Err(Refusal::invalid(field, format!("at most {MOST_PATTERNS} entries")));
            }
        }
        Ok(Self::from_patterns(patterns))
    }

    /// Sorted and minimal. What covers an entry can only be one of three, so nothing is compared
    /// pair by pair: sets come from people, and their size must not be a weapon.
    fn from_patterns(mut patterns: Vec<Pattern>) -> Self {
        patterns.sort();
        patterns.dedup();
        let has = |resource: Option<&Arc<str>>, verb: Option<&Arc<str>>| {
            let wanted = Pattern { resource: resource.cloned(), verb: verb.cloned() };
            patterns.binary_search(&wanted).is_ok()
        };
        let covered = |p: &Pattern| match (&p.resource, &p.verb) {
            (None, None) => false,
            (Some(r), Some(v)) => has(Some(r), None) || has(None, Some(v)) || has(None, None),
            _ => has(None, None),
        };
        let minimal: Vec<Pattern> = patterns.iter().filter(|p| !covered(p)).cloned().collect();
        Self(minimal.into())
    }

    /// Whether nothing is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `asked` is in the set.
    #[must_use]
    pub fn permits(&self, asked: Permission<'_>) -> bool {
        let as_asked = |r: Option<&str>, v: Option<&str>| {
            self.0
                .binary_search_by(|p| (p.resource.as_deref(), p.verb.as_deref()).cmp(&(r, v)))
                .is_ok()
        };
        if self.covers_all() {
            return true;
        }
        let (r, v) = (Some(asked.resource), Some(asked.verb));
        as_asked(r, v) || as_asked(r, None) || as_asked(None, v) || as_asked(None, None)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What is in both. The result may have as many entries as both sizes multiplied; decisions
    /// never make it, they ask both sets.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        if self == other || other.covers_all() {
            return self.clone();
        }
        if self.covers_all() {
            return other.clone();
        }
        Self::from_patterns(
            self.0.iter().flat_map(|a| other.0.iter().filter_map(|b| a.meet(b))).collect(),
        )
    }

    /// How many entries [`Self::meet`] would make at most.
    #[must_use]
    pub fn in_common(&self, other: &Self) -> usize {
        if self == other || self.covers_all() || other.covers_all() {
            return self.len().max(other.len());
        }
        self.0.iter().map(|a| other.0.iter().filter(|b| a.meet(b).is_some()).count()).sum()
    }

    /// What is in any of them.
    #[must_use]
    pub fn union(sets: impl IntoIterator<Item = Self>) -> Self {
        Self::from_patterns(sets.into_iter().flat_map(|s| s.0.to_vec()).collect())
    }

    /// The entries of `self` that are not wholly in `other`, each with how much of it is.
    pub fn beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (String, Self)> + 'a {
        let beyond = self.0.iter().filter(|p| !other.0.iter().any(|o| o.covers(p)));
        beyond.map(|p| {
            let shared = other.0.iter().filter_map(|o| o.meet(p)).collect();
            (p.to_string(), Self::from_patterns(shared))
        })
    }

    /// Whether every permission of `other` is in `self`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|o| self.0.iter().any(|s| s.covers(o)))
    }

    /// Whether it is everything.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        self.0.first().is_some_and(|p| p.resource.is_none() && p.verb.is_none())
    }

    /// The entries, resource and verb of each; `None` is the star.
    pub fn entries(&self) -> impl Iterator<Item = (Option<&str>, Option<&str>)> {
        self.0.iter().map(|p| (p.resource.as_deref(), p.verb.as_deref()))
    }

    /// The entries as people write them.
    pub fn texts(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(ToString::to_string)
    }
}

impl Serialize for Permissions {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.texts())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        Self::parse("permissions", texts).map_err(|r| serde::de::Error::custom(r.sentence()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(texts: &[&str]) -> Permissions {
        Permissions::parse("permissions", texts).unwrap()
    }

    #[test]
    fn a_star_alone_is_everything_and_a_question_never_holds_one() {
        assert_eq!(set(&["*", "boats:read"]), Permissions::all());
        assert_eq!(set(&["*:*"]), Permissions::all());
        assert!(Permission::parse("*:read").is_none());
        assert!(Permission::parse("boats:*").is_none());
        assert!(Permission::parse("boats").is_none());
        assert!(Permission::parse("boats:read:x").is_none());
        assert!(Permissions::parse("p", ["Boats:read"]).is_err());
        assert!(Permissions::parse("p", ["boats:"]).is_err());
    }

    #[test]
    fn t44_sets_that_cross_are_counted_before_they_are_multiplied() {
        let many = |side: fn(usize) -> String| {
            Permissions::parse("p", (0..MOST_PATTERNS).map(side)).unwrap()
        };
        let (rows, columns) = (many(|n| format!("r{n}:*")), many(|n| format!("*:v{n}")));
        assert_eq!(rows.in_common(&columns), MOST_PATTERNS * MOST_PATTERNS);
        assert_eq!(rows.in_common(&rows), MOST_PATTERNS);
        assert_eq!(rows.in_common(&Permissions::reading()), MOST_PATTERNS);
        assert!(Permissions::parse("p", (0..=MOST_PATTERNS).map(|n| format!("r{n}:x"))).is_err());
    }

    #[test]
    fn t05_what_one_set_has_beyond_another_says_how_much_of_it_the_other_has() {
        let beyond = |a: &[&str], b: &[&str]| -> Vec<(String, Permissions)> {
            set(a).beyond(&set(b)).collect()
        };
        assert_eq!(beyond(&["boats:read"], &["boats:*"]), []);
        assert_eq!(
            beyond(&["boats:*"], &["boats:read", "*:list"]),
            [("boats:*".into(), set(&["boats:read", "boats:list"]))]
        );
        let none = Permissions::none();
        assert_eq!(beyond(&["boats:pay"], &["boats:read"]), [("boats:pay".into(), none)]);
    }

    const WORDS: [&str; 4] = ["a", "b", "read", "*"];
    fn any_set() -> impl Strategy<Value = Permissions> {
        prop::collection::vec((0usize..4, 0usize..4), 0..6).prop_map(|pairs| {
            let texts: Vec<_> =
                pairs.iter().map(|(r, v)| format!("{}:{}", WORDS[*r], WORDS[*v])).collect();
            Permissions::parse("p", &texts).unwrap()
        })
    }

    proptest! {
        #[test]
        fn inv06_meet_and_join_agree_with_membership(x in any_set(), y in any_set()) {
            for r in &WORDS[..3] {
                for v in &WORDS[..3] {
                    let text = format!("{r}:{v}");
                    let asked = Permission::parse(&text).unwrap();
                    prop_assert_eq!(x.meet(&y).permits(asked), x.permits(asked) && y.permits(asked));
                    prop_assert_eq!(Permissions::union([x.clone(), y.clone()]).permits(asked), x.permits(asked) || y.permits(asked));
                }
            }
            prop_assert!(x.covers(&x.meet(&y)));
            prop_assert!(Permissions::union([x.clone(), y.clone()]).covers(&x));
            prop_assert_eq!(x.meet(&y), y.meet(&x));
        }
    }
}
