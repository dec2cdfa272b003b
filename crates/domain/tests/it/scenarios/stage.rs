//! Who is on stage: the cast, and what names and saved values of a story stand for.

use std::collections::BTreeMap;

use comity_domain::code::CustomerCode;
use comity_domain::command::{Caller, Command, FreshCode, PutMember, Sealed};
use comity_domain::grant::Grant;
use comity_domain::ids::{
    AccountId, Digest32, GrantId, LockId, OrganisationId, PersonId, RequestId, RoleId, SessionId,
    UnitId,
};
use comity_domain::organisation::Accounts;
use comity_domain::permission::Permissions;
use comity_domain::person::{FRESH, PortalRole};
use comity_domain::refusal::Refusal;
use comity_domain::role::{Mode, Modes};
use comity_domain::text::Lookup;
use comity_domain::time::Instant;

use super::cast::{Cast, CastOrganisation};
use super::story::AccountNames;
use crate::world::{World, inside};

/// Why a step did not do what it says.
pub enum Fault {
    /// The kernel's no.
    Refused(Refusal),
    /// Something looks different from what was expected, or the step makes no sense.
    Wrong(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
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
    Request(RequestId),
    Grant(GrantId),
    Session(SessionId),
    Lock(LockId),
    Hash(Digest32),
}

/// A world with a cast.
pub struct Stage {
    pub w: World,
    pub saved: BTreeMap<String, Saved>,
    pub applications: BTreeMap<String, String>,
    codes: BTreeMap<OrganisationId, CustomerCode>,
    members: BTreeMap<String, (PersonId, PutMember)>,
    signed_in: BTreeMap<PersonId, (Caller, Instant)>,
}

impl Stage {
    /// Sets everything up as the cast says.
    pub fn set(cast: &Cast) -> Self {
        let mut stage = Self {
            w: World::new(),
            saved: BTreeMap::new(),
            applications: BTreeMap::new(),
            codes: BTreeMap::new(),
            members: BTreeMap::new(),
            signed_in: BTreeMap::new(),
        };
        let operate = stage.w.operate();
        for (code, a) in &cast.applications {
            let permissions = permissions(&a.permissions).ok().expect("the cast's permissions");
            let (code, audience) = (code.clone(), a.audience.clone());
            stage.applications.insert(code.clone(), audience.clone());
            stage.w.must(
                &operate,
                Command::PutApplication { code, audience, permissions, launch_url: None },
            );
        }
        let mut policy = stage.w.state.policy.clone();
        policy.never_delegable =
            permissions(&cast.never_delegable).ok().expect("the cast's policy");
        stage.w.must(&operate, Command::SetPolicy { policy });
        for (external, organisation) in &cast.organisations {
            stage.introduce(external, organisation);
        }
        stage
    }

    fn introduce(&mut self, external: &str, cast: &CastOrganisation) {
        self.put_organisation(&self.w.provision(), external, &cast.name)
            .ok()
            .expect("an organisation");
        let organisation = self.organisation(external);
        for unit in &cast.units {
            self.w.unit(organisation, unit);
        }
        for (account, a) in &cast.accounts {
            self.w.account_in(organisation, account, a.unit.as_deref());
        }
        for (role, permissions) in &cast.roles {
            let permissions: Vec<&str> = permissions.iter().map(String::as_str).collect();
            self.w.role(organisation, role, &permissions);
        }
        for (name, m) in &cast.members {
            let portal = m.portal.as_deref().map(portal);
            let mut put = self.w.member_spec(organisation, name, portal);
            (put.name, put.unit) = (m.name.clone(), m.unit.clone());
            let member = format!("{name}@{external}");
            self.put_member(&self.w.provision(), member, put).ok().expect("a member");
        }
    }

    // -- what needs more than one command --------------------------------------------------------

    /// A customer ID that nobody had before, and what the kernel is told of it.
    pub fn fresh_code(&mut self) -> (CustomerCode, FreshCode) {
        let code = CustomerCode::from_random(self.w.ids.bytes());
        (code, FreshCode { digest: code.digest(), sealed: Sealed(code.to_string().into_bytes()) })
    }

    /// Makes an organisation and remembers its customer ID.
    pub fn put_organisation(&mut self, caller: &Caller, external: &str, name: &str) -> Played {
        let known = self.known_organisation(external).is_some();
        let (clear, code) = self.fresh_code();
        let (external, name) = (external.to_string(), name.to_string());
        self.w.run(caller, Command::PutOrganisation { external: external.clone(), name, code })?;
        if !known {
            self.codes.insert(self.organisation(&external), clear);
        }
        Ok(())
    }

    /// A new customer ID.
    pub fn rotate(&mut self, caller: &Caller, organisation: OrganisationId) -> Played<String> {
        let (clear, code) = self.fresh_code();
        self.w.run(caller, Command::RotateCustomerId { organisation, code })?;
        self.codes.insert(organisation, clear);
        Ok(clear.to_string())
    }

    /// The customer ID as its customer's page shows it.
    pub fn code(&self, organisation: OrganisationId) -> String {
        self.codes.get(&organisation).map(ToString::to_string).unwrap_or_default()
    }

    /// Makes or changes a member, and signs a new one in so that they have a password.
    pub fn put_member(&mut self, caller: &Caller, member: String, put: PutMember) -> Played {
        let (organisation, external) = (put.organisation, put.external.clone());
        self.w.run(caller, Command::PutMember(put.clone()))?;
        let person = self.w.person(organisation, &external);
        if self.members.insert(member, (person, put)).is_none() {
            let caller = self.w.sign_in(person);
            self.signed_in.insert(person, (caller, self.w.now));
        }
        Ok(())
    }

    // -- callers ---------------------------------------------------------------------------------

    /// Who calls. A person signs in anew where the last sign-in is not fresh any more.
    pub fn caller(&mut self, who: &str, old_sign_in: bool) -> Played<Caller> {
        match who {
            "platform" => return Ok(self.w.provision()),
            "operator" => return Ok(self.w.operate()),
            _ => {}
        }
        if who.starts_with('$') {
            return Ok(inside(self.session(who)?));
        }
        let person = self.person(who)?;
        let known = self.signed_in.get(&person).cloned();
        if let Some((caller, at)) = known
            && (old_sign_in || self.w.now.since(at) < FRESH && self.counts(&caller))
        {
            return Ok(caller);
        }
        let caller = self.w.sign_in(person);
        self.signed_in.insert(person, (caller.clone(), self.w.now));
        Ok(caller)
    }

    fn counts(&self, caller: &Caller) -> bool {
        comity_domain::may::authentic(&self.w.state, caller, self.w.now).is_ok()
    }

    // -- names -----------------------------------------------------------------------------------

    fn known_organisation(&self, external: &str) -> Option<OrganisationId> {
        self.w.state.words.find(Lookup::Organisation, external).map(OrganisationId)
    }

    /// An organisation; a name that nobody has leads to nothing.
    pub fn organisation(&self, external: &str) -> OrganisationId {
        self.known_organisation(external).unwrap_or(OrganisationId::MAX)
    }

    /// The builder's identifier of an organisation.
    pub fn name_of(&self, organisation: OrganisationId) -> String {
        let known = self.w.state.organisations.get(organisation);
        known.map_or_else(|| "nobody".into(), |o| self.w.state.words.show(o.external).into())
    }

    /// The two parts of `hugo@harbor-help`.
    pub fn split(member: &str) -> Played<(&str, &str)> {
        member
            .split_once('@')
            .map_or_else(|| wrong(format!("{member:?} is not member@organisation")), Ok)
    }

    /// The organisation of `hugo@harbor-help`.
    pub fn home(&self, member: &str) -> Played<OrganisationId> {
        Ok(self.organisation(Self::split(member)?.1))
    }

    /// A person, also one who has left.
    pub fn person(&self, member: &str) -> Played<PersonId> {
        self.members
            .get(member)
            .map_or_else(|| wrong(format!("nobody is called {member:?}")), |m| Ok(m.0))
    }

    /// A member as last put.
    pub fn known_member(&self, member: &str) -> Option<PutMember> {
        self.members.get(member).map(|m| m.1.clone())
    }

    /// What a person is called in an organisation.
    pub fn called(&self, organisation: OrganisationId, person: PersonId) -> String {
        let named = self
            .members
            .iter()
            .find(|(_, (p, put))| *p == person && put.organisation == organisation);
        named.map_or_else(|| person.to_string(), |(name, _)| name.clone())
    }

    /// A unit.
    pub fn unit(&self, organisation: OrganisationId, external: &str) -> UnitId {
        self.w.state.words.find(Lookup::Unit(organisation), external).map_or(UnitId::MAX, UnitId)
    }

    /// An account, if it is there.
    pub fn account(&self, organisation: OrganisationId, external: &str) -> Option<AccountId> {
        self.w.state.words.find(Lookup::Account(organisation), external).map(AccountId)
    }

    /// Accounts of an organisation.
    pub fn accounts(&self, organisation: OrganisationId, names: &AccountNames) -> Accounts {
        match names {
            AccountNames::All => Accounts::All,
            AccountNames::List(list) => Accounts::List(
                list.iter()
                    .map(|a| self.account(organisation, a).unwrap_or(AccountId::MAX))
                    .collect(),
            ),
        }
    }

    /// What accounts are called.
    pub fn accounts_called(&self, accounts: &Accounts) -> AccountNames {
        let state = &self.w.state;
        let name = |a: &AccountId| {
            state.accounts.get(*a).map(|a| state.words.show(a.external).to_string())
        };
        match accounts {
            Accounts::All => AccountNames::All,
            Accounts::List(list) => {
                let mut names: Vec<String> = list.iter().filter_map(name).collect();
                names.sort();
                AccountNames::List(names)
            }
        }
    }

    /// A live role of an organisation.
    pub fn role(&self, organisation: OrganisationId, code: &str) -> RoleId {
        self.w.state.role_by_code(organisation, code).unwrap_or(RoleId::MAX)
    }

    /// A role of a grant, also a deleted one; otherwise a live one of its customer.
    pub fn role_in(&self, grant: Option<&Grant>, code: &str) -> RoleId {
        let Some(grant) = grant else {
            return RoleId::MAX;
        };
        let same = |r: &RoleId| self.w.state.roles.get(*r).is_some_and(|r| &*r.code == code);
        let pinned = grant.roles.iter().map(|p| p.role).find(same);
        pinned.unwrap_or_else(|| self.role(grant.customer.organisation, code))
    }

    /// What a role is called.
    pub fn role_called(&self, role: RoleId) -> String {
        self.w.state.roles.get(role).map_or_else(|| role.to_string(), |r| r.code.to_string())
    }

    // -- what was saved --------------------------------------------------------------------------

    fn saved(&self, name: &str) -> Played<&Saved> {
        let key = name.strip_prefix('$').unwrap_or(name);
        self.saved.get(key).map_or_else(|| wrong(format!("no step saved {name:?}")), Ok)
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

    /// A request; `missing` is one that is not there.
    pub fn request(&self, name: &str) -> Played<RequestId> {
        match name {
            "missing" => Ok(RequestId(7)),
            _ => match self.saved(name)? {
                Saved::Request(id) => Ok(*id),
                other => wrong(format!("{name} is {other:?}, not a request")),
            },
        }
    }

    /// A grant; `missing` is one that is not there.
    pub fn grant(&self, name: &str) -> Played<GrantId> {
        match name {
            "missing" => Ok(GrantId(7)),
            _ => match self.saved(name)? {
                Saved::Grant(id) => Ok(*id),
                other => wrong(format!("{name} is {other:?}, not a grant")),
            },
        }
    }

    /// A session; `missing` is one that is not there.
    pub fn session(&self, name: &str) -> Played<SessionId> {
        match name {
            "missing" => Ok(SessionId(7)),
            _ => match self.saved(name)? {
                Saved::Session(id) => Ok(*id),
                other => wrong(format!("{name} is {other:?}, not a session")),
            },
        }
    }

    /// A lock; `missing` is one that is not there.
    pub fn lock(&self, name: &str) -> Played<LockId> {
        match name {
            "missing" => Ok(LockId(7)),
            _ => match self.saved(name)? {
                Saved::Lock(id) => Ok(*id),
                other => wrong(format!("{name} is {other:?}, not a lock")),
            },
        }
    }

    /// The hash of a summary that was looked at.
    pub fn hash(&self, name: &str) -> Played<Digest32> {
        match self.saved(name)? {
            Saved::Hash(hash) => Ok(*hash),
            other => wrong(format!("{name} is {other:?}, not a summary's hash")),
        }
    }
}

/// A portal role by its word.
pub fn portal(word: &str) -> PortalRole {
    match word {
        "admin" => PortalRole::Admin,
        "customer_support" => PortalRole::CustomerSupport,
        other => panic!("{other:?} is no portal role; admin and customer_support are"),
    }
}

/// A mode by its word.
pub fn mode(word: &str) -> Played<Mode> {
    let found = Mode::ALL.into_iter().find(|m| m.code() == word);
    found.map_or_else(|| wrong(format!("{word:?} is no mode")), Ok)
}

/// Modes by their words.
pub fn modes(words: &[String]) -> Played<Modes> {
    words.iter().map(|w| mode(w)).collect()
}

/// What modes are called.
pub fn modes_called(modes: Modes) -> Vec<String> {
    modes.iter().map(|m| m.code().to_string()).collect()
}

/// Permissions by their words.
pub fn permissions(words: &[String]) -> Played<Permissions> {
    Ok(Permissions::parse("permissions", words)?)
}

/// A serialised word such as a status or a cause.
pub fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        other => format!("{other:?}"),
    }
}
