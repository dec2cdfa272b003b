//! Terms as an approver names them at any door, and what they mean for the request: codes become
//! roles, external identifiers become accounts, and what is left out is what was asked.

use std::collections::BTreeSet;

use super::Terms;
use crate::grant::{Amending, DEFAULT_DAYS};
use crate::ids::{AccountId, OrganisationId, RoleId, UnitId};
use crate::organisation::Accounts;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::role::{Mode, Modes};
use crate::state::State;
use crate::text::{Lookup, WordId};
use crate::time::{Days, Instant, Minutes};

/// What an approver names. `None` is what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedTerms {
    /// Codes of roles.
    pub roles: Option<Vec<String>>,
    /// Accounts.
    pub accounts: Option<NamedAccounts>,
    /// The builder's identifier of the unit of the customer that alone gives.
    pub unit: Option<String>,
    /// Modes.
    pub modes: Option<Modes>,
    /// When it starts; at the approval if `None`.
    pub starts_at: Option<Instant>,
    /// For how long.
    pub days: Option<Days>,
    /// The longest session; the least of all other caps if `None`.
    pub cap: Option<Minutes>,
    /// Whether external people may be invited.
    pub allow_external: bool,
    /// Whether tokens may be JWTs.
    pub jwt: bool,
}

/// Accounts by the builder's identifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedAccounts {
    /// Every account, also those made later.
    All,
    /// These.
    List(Vec<String>),
}

impl NamedAccounts {
    /// As they are inside the customer `owner`.
    ///
    /// # Errors
    /// `invalid` for an account that is not there.
    pub fn resolve(&self, state: &State, owner: OrganisationId) -> Result<Accounts, Refusal> {
        let Self::List(list) = self else { return Ok(Accounts::All) };
        let one = |external: &String| {
            let found = state.words.find(Lookup::Account(owner), external);
            found.map(AccountId).ok_or_else(|| {
                let shown: String = external.chars().take(80).collect();
                Refusal::invalid("accounts", format!("holds {shown:?}, which is no account there"))
            })
        };
        list.iter().map(one).collect::<Result<_, _>>().map(Accounts::List)
    }
}

impl NamedTerms {
    /// As they are for an offer of this customer: roles and accounts are named, as nothing was asked.
    ///
    /// # Errors
    /// `invalid` naming the field that names nothing.
    pub fn offer(&self, state: &State, customer: OrganisationId) -> Result<Terms, Refusal> {
        let roles = self.roles.as_deref().unwrap_or_default();
        let accounts = self.accounts.as_ref().ok_or_else(|| {
            Refusal::invalid("accounts", "must be \"all\" or name at least one account")
        })?;
        Ok(Terms {
            roles: roles_named(state, customer, roles)?,
            accounts: accounts.resolve(state, customer)?,
            unit: self.unit_named(state, customer)?,
            modes: self.modes.unwrap_or_else(|| [Mode::Direct].into_iter().collect()),
            starts_at: self.starts_at,
            days: self.days.unwrap_or(DEFAULT_DAYS),
            cap: self.cap,
            allow_external: self.allow_external,
            jwt: self.jwt,
        })
    }

    fn unit_named(
        &self,
        state: &State,
        customer: OrganisationId,
    ) -> Result<Option<UnitId>, Refusal> {
        let one = |u: &str| {
            let found = state.words.find(Lookup::Unit(customer), u).map(UnitId);
            found.ok_or_else(|| Refusal::invalid("unit", "names no unit of yours"))
        };
        self.unit.as_deref().map(one).transpose()
    }

    /// As they are for this request.
    ///
    /// # Errors
    /// `invalid` naming the field that names nothing.
    pub fn resolve(&self, state: &State, request: &Request) -> Result<Terms, Refusal> {
        let customer = request.customer;
        let roles = match &self.roles {
            None => wished_roles(state, request).collect(),
            Some(codes) => roles_named(state, customer, codes)?,
        };
        let accounts = match &self.accounts {
            Some(named) => named.resolve(state, customer)?,
            None => asked_accounts(state, request)?,
        };
        Ok(Terms {
            roles,
            accounts,
            unit: self.unit_named(state, customer)?,
            modes: self.modes.unwrap_or(request.modes),
            starts_at: self.starts_at,
            days: self.days.unwrap_or(request.days),
            cap: self.cap,
            allow_external: self.allow_external,
            jwt: self.jwt,
        })
    }
}

/// What a customer names of a grant that it makes something else of. `None` is what is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedAmending {
    /// Codes of roles.
    pub roles: Option<Vec<String>>,
    /// Accounts.
    pub accounts: Option<NamedAccounts>,
    /// Modes.
    pub modes: Option<Modes>,
    /// For how long from now.
    pub days: Option<Days>,
    /// The longest session.
    pub cap: Option<Minutes>,
    /// Whether external people may be invited.
    pub allow_external: Option<bool>,
    /// Whether tokens may be JWTs.
    pub jwt: Option<bool>,
}

impl NamedAmending {
    /// As it is for a grant of this customer.
    ///
    /// # Errors
    /// `invalid` naming the field that names nothing.
    pub fn resolve(&self, state: &State, customer: OrganisationId) -> Result<Amending, Refusal> {
        let roles = self.roles.as_deref().map(|codes| roles_named(state, customer, codes));
        let accounts = self.accounts.as_ref().map(|named| named.resolve(state, customer));
        Ok(Amending {
            roles: roles.transpose()?,
            accounts: accounts.transpose()?,
            modes: self.modes,
            days: self.days,
            cap: self.cap,
            allow_external: self.allow_external,
            jwt: self.jwt,
        })
    }
}

fn roles_named(
    state: &State,
    customer: OrganisationId,
    codes: &[String],
) -> Result<BTreeSet<RoleId>, Refusal> {
    let one = |code: &String| {
        state.role_by_code(customer, code).ok_or_else(|| {
            Refusal::invalid("roles", format!("holds {code:?}, which is no role of yours"))
        })
    };
    codes.iter().map(one).collect()
}

/// Which of the wished roles there are. Wishes may name roles that do not exist.
pub fn wished_roles(state: &State, request: &Request) -> impl Iterator<Item = RoleId> {
    let customer = request.customer;
    request.roles.iter().filter_map(move |w| state.role_by_code(customer, state.words.get(*w)?))
}

/// The accounts that were asked for, as far as they are known here.
///
/// # Errors
/// `invalid` if some were named and none of them is known.
pub fn asked_accounts(state: &State, request: &Request) -> Result<Accounts, Refusal> {
    if request.accounts.is_empty() {
        return Ok(Accounts::All);
    }
    let known = |w: &WordId| {
        state.words.find(Lookup::Account(request.customer), state.words.get(*w)?).map(AccountId)
    };
    let list: BTreeSet<AccountId> = request.accounts.iter().filter_map(known).collect();
    if list.is_empty() {
        let why = "that were asked for are not known here; deny with a message that says so";
        return Err(Refusal::invalid("accounts", why));
    }
    Ok(Accounts::List(list))
}
