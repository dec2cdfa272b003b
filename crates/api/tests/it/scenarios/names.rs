//! What names and saved values of a story stand for, and what an answer comes to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use comity_app::tokens::{Kind, Secret};
use comity_domain::ids::{GrantId, LockId, OrganisationId, RequestId, SessionId};
use serde_json::{Value, json};

use super::story::AccountNames;
use crate::harness::Reply;
use crate::town::Town;

/// Why a step did not do what it says.
pub enum Fault {
    /// A "no": its code, and all of it.
    Refused(String, String),
    /// Something looks different from what was expected, or the step makes no sense.
    Wrong(String),
}

/// What a step came to.
pub type Played<T = ()> = Result<T, Fault>;

/// A step that makes no sense, or a sight that differs.
pub fn wrong<T>(why: impl Into<String>) -> Played<T> {
    Err(Fault::Wrong(why.into()))
}

/// What a step saved for later ones.
#[derive(Debug, Clone)]
pub enum Saved {
    Code(String),
    Request(String),
    Grant(String),
    Session(Stay),
    Lock(String),
    Hash(String),
}

/// A session, as the program that entered knows it.
#[derive(Debug, Clone)]
pub struct Stay {
    pub id: String,
    pub token: String,
    /// The organisation of the person inside.
    pub home: String,
    /// The customer.
    pub customer: String,
}

/// An installation with a cast, and what the story's people know.
pub struct Stage {
    pub town: Town,
    pub saved: BTreeMap<String, Saved>,
    /// Every body that said `not_found`: there may be one.
    pub missing: RefCell<BTreeSet<String>>,
}

impl Stage {
    pub fn new() -> Self {
        Self { town: Town::new(), saved: BTreeMap::new(), missing: RefCell::default() }
    }

    /// The body of a yes, or the refusal.
    pub fn done(&self, reply: &Reply) -> Played<Value> {
        if reply.status < 300 {
            return Ok(reply.json());
        }
        let code = reply.code();
        if reply.status == 404 {
            self.missing.borrow_mut().insert(reply.text());
        }
        if (code == "not_found") != (reply.status == 404) && reply.json().get("error").is_none() {
            return wrong(format!("404 and not_found go together: {}", reply.text()));
        }
        Err(Fault::Refused(code, reply.text()))
    }

    /// The token or key of `who`.
    pub fn token(&mut self, who: &str, old_sign_in: bool) -> Played<String> {
        Ok(match who {
            "platform" => self.town.known.provision.clone(),
            "operator" => self.town.known.operate.clone(),
            _ if who.starts_with('$') => self.stay(who)?.token,
            _ => self.town.token_of(who, old_sign_in),
        })
    }

    /// The two parts of `hugo@harbor-help`.
    pub fn split(member: &str) -> Played<(&str, &str)> {
        member
            .split_once('@')
            .map_or_else(|| wrong(format!("{member:?} is not member@organisation")), Ok)
    }

    /// The organisation in whose name `who` acts.
    pub fn home(&self, who: &str) -> Played<String> {
        if who.starts_with('$') {
            return Ok(self.stay(who)?.home);
        }
        Ok(Self::split(who)?.1.into())
    }

    /// Comity's identifier of an organisation; of nothing if nobody has that name.
    pub fn organisation(&self, external: &str) -> String {
        let known = self.town.known.organisations.get(external);
        known.cloned().unwrap_or_else(|| OrganisationId(7).to_string())
    }

    /// Comity's identifier of a person, also of one who has left.
    pub fn person(&self, member: &str) -> Played<String> {
        let known = self.town.known.members.get(member);
        known.map_or_else(|| wrong(format!("nobody is called {member:?}")), |m| Ok(m.id.clone()))
    }

    /// What a person is called in an organisation.
    pub fn called(&self, organisation: &str, person: &Value) -> String {
        let home = format!("@{organisation}");
        let found =
            self.town.known.members.iter().find(|(who, m)| *person == m.id && who.ends_with(&home));
        found.map_or_else(|| person.to_string(), |(who, _)| who.clone())
    }

    // -- what was saved -----------------------------------------------------------------------------

    fn saved(&self, name: &str) -> Played<&Saved> {
        let found = self.saved.get(name.strip_prefix('$').unwrap_or(name));
        found.map_or_else(|| wrong(format!("no step saved {name:?}")), Ok)
    }

    /// A customer ID: a saved one, or the text itself.
    pub fn code_text(&self, text: &str) -> Played<String> {
        if !text.starts_with('$') {
            return Ok(text.into());
        }
        match self.saved(text)? {
            Saved::Code(code) => Ok(code.clone()),
            other => wrong(format!("{text} is {other:?}, not a customer ID")),
        }
    }

    pub fn request(&self, name: &str) -> Played<String> {
        match name {
            "missing" => Ok(RequestId(7).to_string()),
            _ => match self.saved(name)? {
                Saved::Request(id) => Ok(id.clone()),
                other => wrong(format!("{name} is {other:?}, not a request")),
            },
        }
    }

    pub fn grant(&self, name: &str) -> Played<String> {
        match name {
            "missing" => Ok(GrantId(7).to_string()),
            _ => match self.saved(name)? {
                Saved::Grant(id) => Ok(id.clone()),
                other => wrong(format!("{name} is {other:?}, not a grant")),
            },
        }
    }

    pub fn stay(&self, name: &str) -> Played<Stay> {
        match name {
            "missing" => Ok(Stay {
                id: SessionId(7).to_string(),
                token: Secret::new(Kind::Session).reveal().to_owned(),
                home: "nowhere".into(),
                customer: "nowhere".into(),
            }),
            _ => match self.saved(name)? {
                Saved::Session(stay) => Ok(stay.clone()),
                other => wrong(format!("{name} is {other:?}, not a session")),
            },
        }
    }

    pub fn lock(&self, name: &str) -> Played<String> {
        match name {
            "missing" => Ok(LockId(7).to_string()),
            _ => match self.saved(name)? {
                Saved::Lock(id) => Ok(id.clone()),
                other => wrong(format!("{name} is {other:?}, not a lock")),
            },
        }
    }

    pub fn hash(&self, name: &str) -> Played<String> {
        match self.saved(name)? {
            Saved::Hash(hash) => Ok(hash.clone()),
            other => wrong(format!("{name} is {other:?}, not a summary's hash")),
        }
    }
}

/// Accounts as JSON.
pub fn wire(accounts: &AccountNames) -> Value {
    match accounts {
        AccountNames::All => json!("all"),
        AccountNames::List(list) => json!(list),
    }
}

/// Lists compare as sets.
pub fn sorted(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Array(list) = &mut value {
        list.sort_by_key(ToString::to_string);
    }
    value
}
