//! The builder's table: which requests need which permission, on which account.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, Method};
use comity_domain::permission::Permission;
use serde::Deserialize;

use super::target::{Ambiguous, Target};

/// So many rules may stand in a table.
const MOST_RULES: usize = 2_000;

/// A rule as it is written in the config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Methods in capitals; `*` alone is every method.
    pub methods: Vec<String>,
    /// A template: literal segments, `{account}`, `*` for any one segment, `**` at the end for
    /// whatever follows.
    pub path: String,
    /// `resource:verb`, without a star.
    pub permission: String,
    /// Where the account is said if not in the path: `header:NAME`, `query:NAME`; `none` for a call
    /// that concerns no single account.
    pub account: Option<String>,
}

/// A part of a template. The order is how narrow it is: what comes first wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// In lower case: some servers tell no case apart, and a rule must not be passed by spelling.
    Literal(String),
    /// Any one segment, whether or not it is the account.
    One,
    /// Whatever follows, also nothing.
    Rest,
}

/// The paths that a template fits.
type Shape = Vec<Part>;

/// Where a request says which account it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Where {
    Path,
    Header(HeaderName),
    Query(String),
    /// It concerns none: the whole customer.
    Nowhere,
}

#[derive(Debug, Clone)]
struct Rule {
    permission: String,
    account: Where,
}

#[derive(Debug, Clone, Default)]
struct Template {
    /// As it is written in every rule that has it.
    path: String,
    /// Which segment is the account.
    account: Option<usize>,
    /// For every method that is not named.
    any: Option<Rule>,
    named: BTreeMap<String, Rule>,
}

/// The table, narrower templates before wider ones.
#[derive(Debug, Clone, Default)]
pub struct Rules(Vec<(Shape, Template)>);

/// What a request needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Needed<'t> {
    /// The permission.
    pub permission: Permission<'t>,
    /// The builder's identifier of the account; `None`: the whole customer.
    pub account: Option<String>,
}

/// Why the table says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRule {
    /// No rule has this path and method.
    Unmatched,
    /// It is one thing to servers that tell case or per cent signs apart, and another to the rest.
    TwoWays,
    /// The account is not said, or not in one way.
    Account,
}

/// How a server compares a segment with the name of one of its places.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Whether it decodes per cent signs before that, or after it.
    decodes: bool,
    /// Whether it takes capitals for small letters.
    folds: bool,
}

/// Finds whatever any server finds.
const LOOSE: Reading = Reading { decodes: true, folds: true };
/// What it finds is found by every server.
const STRICT: Reading = Reading { decodes: false, folds: false };
/// Those between.
const OTHERS: [Reading; 2] =
    [Reading { decodes: true, folds: false }, Reading { decodes: false, folds: true }];

impl From<Ambiguous> for NoRule {
    fn from(_: Ambiguous) -> Self {
        Self::Account
    }
}

impl Rules {
    /// The table of these rules.
    ///
    /// # Errors
    /// What is wrong, with the number of the rule (from 1) and the key.
    pub fn new(written: &[Written]) -> Result<Self, String> {
        if written.len() > MOST_RULES {
            return Err(format!("gate.rules: there may be at most {MOST_RULES}"));
        }
        let mut table: BTreeMap<Shape, Template> = BTreeMap::new();
        for (n, rule) in (1..).zip(written) {
            let wrong = |key: &str, why: &str| format!("gate.rules, rule {n}: {key}: {why}");
            let (shape, account) = template(&rule.path).map_err(|why| wrong("path", why))?;
            let read = rule_of(rule, account.is_some()).map_err(|(key, why)| wrong(key, why))?;
            if rule.methods.is_empty() {
                return Err(wrong("methods", "name at least one, or \"*\" for every method"));
            }
            let fresh = || Template { path: rule.path.clone(), account, ..Template::default() };
            let template = table.entry(shape).or_insert_with(fresh);
            if template.account == account && template.path != rule.path {
                let why = format!("fits the same requests as {}; spell it the same", template.path);
                return Err(wrong("path", &why));
            }
            if template.account != account {
                let why = format!(
                    "fits the same requests as {}, which has no other account",
                    template.path
                );
                return Err(wrong("path", &why));
            }
            for method in &rule.methods {
                let taken = if method == "*" {
                    template.any.replace(read.clone()).is_some()
                } else if method.bytes().all(|b| b.is_ascii_uppercase())
                    && Method::from_bytes(method.as_bytes()).is_ok()
                {
                    template.named.insert(method.clone(), read.clone()).is_some()
                } else {
                    return Err(wrong("methods", "are written in capitals, such as \"GET\""));
                };
                if taken {
                    let why = "an earlier rule has the same path and method";
                    return Err(wrong("path", why));
                }
            }
        }
        crossing(&table)?;
        Ok(Self(table.into_iter().collect()))
    }

    /// What a request needs. The narrowest template that fits decides, whatever its methods: a
    /// method that it does not name is refused, and never looked up under a wider one.
    ///
    /// # Errors
    /// Why the table says no.
    pub fn needed(
        &self,
        method: &str,
        target: &Target<'_>,
        headers: &HeaderMap,
    ) -> Result<Needed<'_>, NoRule> {
        let template = self.template(target)?;
        let rule = template.named.get(method).or(template.any.as_ref()).ok_or(NoRule::Unmatched)?;
        let account = match &rule.account {
            Where::Nowhere => None,
            Where::Path => {
                let at = template.account.ok_or(NoRule::Account)?;
                Some(target.segments.get(at).ok_or(NoRule::Account)?.to_string())
            }
            Where::Query(name) => Some(target.parameter(name)?.into_owned()),
            Where::Header(name) => Some(alone(headers, name).ok_or(NoRule::Account)?.to_owned()),
        };
        let permission = Permission::parse(&rule.permission).ok_or(NoRule::Unmatched)?;
        Ok(Needed { permission, account })
    }

    /// The narrowest template that fits, if it is the same to every server: `/boats/Export` is the
    /// place `/boats/export` to some, and the boat called Export to others.
    fn template(&self, target: &Target<'_>) -> Result<&Template, NoRule> {
        let fitting = |reading| {
            let mut all = self.0.iter();
            all.find(|(shape, template)| fits(shape, &template.path, target, reading))
        };
        let found = fitting(LOOSE).ok_or(NoRule::Unmatched)?;
        let (shape, template) = found;
        // The narrowest of what any server finds, and found by all: narrowest to each of them.
        if fits(shape, &template.path, target, STRICT) {
            return Ok(template);
        }
        let other = |reading| fitting(reading).is_some_and(|other| !std::ptr::eq(other, found));
        if other(STRICT) || OTHERS.into_iter().any(other) {
            return Err(NoRule::TwoWays);
        }
        Ok(template)
    }

    /// How many templates there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is let through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The value of a header that is there exactly once and is not empty.
pub fn once<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    let value = all.next()?.to_str().ok()?;
    (all.next().is_none() && !value.trim().is_empty()).then_some(value)
}

/// The same of a header that no other could be taken for: to CGI, and whatever descends from it,
/// `X_Boat` is `X-Boat`.
fn alone<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let twin = |other: &HeaderName| other != name && same_variable(other.as_str(), name.as_str());
    if headers.keys().any(twin) { None } else { once(headers, name) }
}

/// Whether two names of headers become the same variable.
pub fn same_variable(a: &str, b: &str) -> bool {
    let variable = |b: u8| if matches!(b, b'-' | b'.') { b'_' } else { b.to_ascii_lowercase() };
    a.len() == b.len() && a.bytes().map(variable).eq(b.bytes().map(variable))
}

/// Two templates may fit the same request only if one of them is narrower, or if the table says what
/// holds where both fit. So there is one narrowest for every request, whatever the order.
fn crossing(table: &BTreeMap<Shape, Template>) -> Result<(), String> {
    let all: Vec<_> = table.iter().collect();
    for (n, (a, of_a)) in all.iter().enumerate() {
        for (b, of_b) in all.iter().skip(n + 1) {
            let Some(both) = meet(a, b) else { continue };
            if !table.contains_key(&both) {
                return Err(format!(
                    "gate.rules: path: some requests fit both {} and {}, and neither is narrower; add a rule for {}",
                    of_a.path,
                    of_b.path,
                    shown(&both)
                ));
            }
        }
    }
    Ok(())
}

/// What fits both, if anything does.
fn meet(a: &[Part], b: &[Part]) -> Option<Shape> {
    match (a.split_first(), b.split_first()) {
        (None, None) => Some(Vec::new()),
        (Some((Part::Rest, _)), _) => Some(b.to_vec()),
        (_, Some((Part::Rest, _))) => Some(a.to_vec()),
        (None, Some(_)) | (Some(_), None) => None,
        (Some((first, a)), Some((second, b))) => {
            let part = match (first, second) {
                (Part::Literal(x), Part::Literal(y)) if x != y => return None,
                (literal @ Part::Literal(_), _) | (_, literal @ Part::Literal(_)) => literal,
                _ => &Part::One,
            };
            let rest = meet(a, b)?;
            Some(std::iter::once(part.clone()).chain(rest).collect())
        }
    }
}

fn shown(shape: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Literal(text) => format!("/{text}"),
        Part::One => "/*".into(),
        Part::Rest => "/**".into(),
    };
    shape.iter().map(part).collect()
}

fn rule_of(rule: &Written, in_path: bool) -> Result<Rule, (&'static str, &'static str)> {
    if Permission::parse(&rule.permission).is_none() {
        let why = "must be resource:verb, each a-z, 0-9, _ or -; a star is no question";
        return Err(("permission", why));
    }
    let account = match (in_path, rule.account.as_deref()) {
        (true, None) => Where::Path,
        (true, Some(_)) => return Err(("account", "stands in the path already")),
        (false, None) => {
            let why = "say where the account is: {account} in the path, \"header:NAME\", \
                       \"query:NAME\", or \"none\" for a call that concerns no single account";
            return Err(("account", why));
        }
        (false, Some("none")) => Where::Nowhere,
        (false, Some(text)) => match text.split_once(':') {
            Some(("header", name)) => {
                Where::Header(name.parse().map_err(|_| ("account", "is no name of a header"))?)
            }
            Some(("query", name)) if !name.is_empty() => Where::Query(name.to_owned()),
            _ => return Err(("account", "must be \"header:NAME\", \"query:NAME\" or \"none\"")),
        },
    };
    Ok(Rule { permission: rule.permission.clone(), account })
}

/// What a template fits, and which segment is the account.
fn template(path: &str) -> Result<(Shape, Option<usize>), &'static str> {
    let rest = path.strip_prefix('/').ok_or("must begin with a slash")?;
    if rest.is_empty() {
        return Ok((Shape::new(), None));
    }
    let literal = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@".contains(&b);
    let (mut shape, mut account) = (Shape::new(), None);
    for (at, text) in rest.split('/').enumerate() {
        if shape.last() == Some(&Part::Rest) {
            return Err("has ** before its end");
        }
        shape.push(match text {
            "{account}" if account.replace(at).is_some() => return Err("names {account} twice"),
            "{account}" | "*" => Part::One,
            "**" => Part::Rest,
            "" => return Err("has an empty segment"),
            _ if text.trim_matches('.').is_empty() => return Err("has a dot segment"),
            _ if text.bytes().all(literal) => Part::Literal(text.to_ascii_lowercase()),
            _ => return Err("has a segment that is neither plain text nor {account}, * or **"),
        });
    }
    Ok((shape, account))
}

/// Whether a template fits to a server that reads in this way. `spelt` is the shape as it was written.
fn fits(shape: &[Part], spelt: &str, target: &Target<'_>, reading: Reading) -> bool {
    let mut segments = target.segments.iter();
    // What holds no per cent sign was borrowed.
    let found = |segment: &Cow<'_, str>| reading.decodes || matches!(segment, Cow::Borrowed(_));
    for (part, spelt) in shape.iter().zip(spelt.split('/').skip(1)) {
        match (part, segments.next()) {
            (Part::Rest, _) => return true,
            (Part::Literal(text), Some(segment))
                if found(segment) && is(segment, text, spelt, reading.folds) => {}
            (Part::One, Some(_)) => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

fn is(segment: &str, folded: &str, spelt: &str, folds: bool) -> bool {
    if !folds {
        return segment == spelt;
    }
    // The sign for kelvin is a small k to those who fold all of Unicode.
    let beyond =
        || segment.to_lowercase() == folded || segment.to_uppercase() == folded.to_uppercase();
    segment.eq_ignore_ascii_case(folded) || (!segment.is_ascii() && beyond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(methods: &[&str], path: &str, permission: &str, account: Option<&str>) -> Written {
        Written {
            methods: methods.iter().map(|m| (*m).to_owned()).collect(),
            path: path.into(),
            permission: permission.into(),
            account: account.map(Into::into),
        }
    }

    fn table() -> Rules {
        Rules::new(&[
            written(&["GET", "HEAD"], "/boats/{account}", "boats:read", None),
            written(&["PATCH"], "/boats/{account}", "boats:move", None),
            written(&["GET"], "/boats/**", "boats:list", Some("none")),
            written(&["*"], "/boats/export", "boats:export", Some("none")),
            written(&["POST"], "/bookings", "bookings:write", Some("header:X-Boat")),
            written(&["GET"], "/bookings", "bookings:read", Some("query:boat")),
            written(&["GET"], "/*/health", "status:read", Some("none")),
            written(&["GET"], "/boats/health", "boats:read", Some("none")),
            written(&["GET"], "/", "status:home", Some("none")),
        ])
        .unwrap()
    }

    fn asked(method: &str, text: &str, headers: &[(&'static str, &str)]) -> Result<String, NoRule> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let table = table();
        let needed = table.needed(method, &Target::read(text).unwrap(), &map)?;
        let account = needed.account.unwrap_or_else(|| "-".into());
        Ok(format!("{} {account}", needed.permission))
    }

    #[test]
    fn the_narrowest_template_decides_whatever_its_methods() {
        let unmatched = Err(NoRule::Unmatched);
        for (method, path, expected) in [
            ("GET", "/boats/boat-1", Ok("boats:read boat-1")),
            ("HEAD", "/boats/boat-1", Ok("boats:read boat-1")),
            ("PATCH", "/boats/boat-1/", Ok("boats:move boat-1")),
            ("GET", "/BOATS/Boat-1", Ok("boats:read Boat-1")),
            ("DELETE", "/boats/export", Ok("boats:export -")),
            ("GET", "/boats", Ok("boats:list -")),
            ("GET", "/boats/boat-1/log", Ok("boats:list -")),
            ("DELETE", "/boats/boat-1", unmatched.map(|()| "")),
            ("POST", "/boats", unmatched.map(|()| "")),
            ("GET", "/x/health", Ok("status:read -")),
            ("GET", "/boats/health", Ok("boats:read -")),
            ("GET", "/", Ok("status:home -")),
            ("get", "/", unmatched.map(|()| "")),
            ("GET", "/elsewhere", unmatched.map(|()| "")),
        ] {
            assert_eq!(asked(method, path, &[]), expected.map(str::to_owned), "{method} {path}");
        }
    }

    #[test]
    fn t17_a_place_to_one_server_and_an_account_to_another_is_refused() {
        for path in [
            "/boats/Export",
            "/boats/%65xport",
            "/boats/%45xport",
            "/boats/%C5%BFearch",
            "/BOATS/%65xport",
            "/%62oats/Export",
        ] {
            let rules = [
                written(&["GET"], "/boats/{account}", "boats:read", None),
                written(&["GET"], "/boats/export", "boats:export", Some("none")),
                written(&["GET"], "/boats/search", "boats:search", Some("none")),
            ];
            let target = Target::read(path).unwrap();
            let needed = Rules::new(&rules).unwrap();
            let needed = needed.needed("GET", &target, &HeaderMap::new()).map(|n| n.account);
            assert_eq!(needed, Err(NoRule::TwoWays), "{path}");
            // Nothing else could be meant where no account can stand.
            let needed = Rules::new(&rules[1..]).unwrap();
            let needed = needed.needed("GET", &target, &HeaderMap::new()).map(|n| n.account);
            assert_eq!(needed, Ok(None), "{path}");
        }
    }

    #[test]
    fn t17_an_account_outside_the_path_is_said_once() {
        assert_eq!(
            asked("POST", "/bookings", &[("x-boat", "b 1")]),
            Ok("bookings:write b 1".into())
        );
        assert_eq!(asked("GET", "/bookings?boat=b1", &[]), Ok("bookings:read b1".into()));
        let twice = [("x-boat", "b1"), ("x-boat", "b1")];
        for (method, path, headers) in [
            ("POST", "/bookings", &[][..]),
            ("POST", "/bookings", &twice),
            ("POST", "/bookings", &[("x-boat", "")]),
            ("POST", "/bookings", &[("x-boat", "b1"), ("x_boat", "b2")]),
            ("POST", "/bookings", &[("x_boat", "b1")]),
            ("GET", "/bookings", &[]),
            ("GET", "/bookings?boat=b1&boat=b2", &[]),
        ] {
            assert_eq!(asked(method, path, headers), Err(NoRule::Account), "{method} {path}");
        }
    }

    #[test]
    fn t54_a_wrong_rule_is_refused_by_its_number_and_key() {
        let good = written(&["GET"], "/a", "a:read", Some("none"));
        for (rule, key) in [
            (written(&["GET"], "a", "a:read", Some("none")), "path"),
            (written(&["GET"], "/a//b", "a:read", Some("none")), "path"),
            (written(&["GET"], "/a/..", "a:read", Some("none")), "path"),
            (written(&["GET"], "/a%20b", "a:read", Some("none")), "path"),
            (written(&["GET"], "/**/b", "a:read", Some("none")), "path"),
            (written(&["GET"], "/{account}/{account}", "a:read", None), "path"),
            (written(&["GET"], "/{id}", "a:read", Some("none")), "path"),
            (written(&["GET"], "/A", "a:write", Some("none")), "path"),
            (written(&["PUT"], "/A", "a:write", Some("none")), "path"),
            (written(&[], "/b", "a:read", Some("none")), "methods"),
            (written(&["get"], "/b", "a:read", Some("none")), "methods"),
            (written(&["GET"], "/b", "a:*", Some("none")), "permission"),
            (written(&["GET"], "/b", "read", Some("none")), "permission"),
            (written(&["GET"], "/b", "a:read", None), "account"),
            (written(&["GET"], "/b", "a:read", Some("cookie:x")), "account"),
            (written(&["GET"], "/b", "a:read", Some("header:a b")), "account"),
            (written(&["GET"], "/{account}", "a:read", Some("none")), "account"),
            (written(&["POST"], "/x/{account}", "a:read", None), "path"),
        ] {
            let also = written(&["GET"], "/x/*", "a:read", Some("none"));
            let error = Rules::new(&[good.clone(), also, rule]).unwrap_err();
            assert!(error.starts_with(&format!("gate.rules, rule 3: {key}: ")), "{error}");
        }
    }

    #[test]
    fn t54_templates_that_cross_are_refused_until_the_table_says_what_holds_where_both_fit() {
        let list = written(&["GET"], "/a/b/**", "a:read", Some("none"));
        let admin = written(&["GET"], "/a/*/admin", "a:admin", Some("none"));
        let error = Rules::new(&[list.clone(), admin.clone()]).unwrap_err();
        assert!(error.contains("add a rule for /a/b/admin"), "{error}");
        let both = written(&["GET"], "/a/b/admin", "a:admin", Some("none"));
        let table = Rules::new(&[list, admin, both]).unwrap();
        let needed = |path: &str| {
            let target = Target::read(path).unwrap();
            table.needed("GET", &target, &HeaderMap::new()).map(|n| n.permission.to_string())
        };
        assert_eq!(needed("/a/b/admin"), Ok("a:admin".into()));
        assert_eq!(needed("/a/b"), Ok("a:read".into()));
        assert_eq!(needed("/a/c/admin"), Ok("a:admin".into()));
    }

    #[test]
    fn whichever_order_rules_are_written_in_the_answer_is_the_same() {
        let all = [
            written(&["GET"], "/a/{account}", "a:one", None),
            written(&["GET"], "/a/**", "a:rest", Some("none")),
            written(&["GET"], "/a/b", "a:b", Some("none")),
            written(&["GET"], "/**", "a:all", Some("none")),
        ];
        for turn in 0..all.len() {
            let mut turned = all.clone();
            turned.rotate_left(turn);
            let table = Rules::new(&turned).unwrap();
            for (path, permission) in [
                ("/a/b", "a:b"),
                ("/a/c", "a:one"),
                ("/a", "a:rest"),
                ("/a/b/c", "a:rest"),
                ("/", "a:all"),
            ] {
                let target = Target::read(path).unwrap();
                let needed = table.needed("GET", &target, &HeaderMap::new()).unwrap();
                assert_eq!(needed.permission.to_string(), permission, "{path}");
            }
        }
    }
}
