//! Terms as an approver names them at any door, and what they mean for the request: codes become
//! roles, external identifiers become accounts, and what is left out is what was asked.

use std::collections::BTreeSet;

use super::Terms;
use crate::ids::{AccountId, OrganisationId, UnitId};
use crate::organisation::Accounts;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::role::Modes;
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
    /// As they are for this request.
    ///
    /// # Errors
    /// `invalid` naming the field that names nothing.
    pub fn resolve(&self, state: &State, request: &Request) -> Result<Terms, Refusal> {
        let customer = request.customer;
        let unit = self.unit.as_deref().map(|u| {
            let found = state.words.find(Lookup::Unit(customer), u).map(UnitId);
            found.ok_or_else(|| Refusal::invalid("unit", "names no unit of yours"))
        });
        let roles = match &self.roles {
            None => wished_roles(state, request).collect(),
            Some(codes) => codes
                .iter()
                .map(|code| {
                    state.role_by_code(customer, code).ok_or_else(|| {
                        let why = format!("holds {code:?}, which is no role of yours");
                        Refusal::invalid("roles", why)
                    })
                })
                .collect::<Result<BTreeSet<_>, _>>()?,
        };
        let accounts = match &self.accounts {
            Some(named) => named.resolve(state, customer)?,
            None => asked_accounts(state, request)?,
        };
        Ok(Terms {
            roles,
            accounts,
            unit: unit.transpose()?,
            modes: self.modes.unwrap_or(request.modes),
            starts_at: self.starts_at,
            days: self.days.unwrap_or(request.days),
            cap: self.cap,
            allow_external: self.allow_external,
            jwt: self.jwt,
        })
    }
}

/// Which of the wished roles there are. Wishes may name roles that do not exist.
pub fn wished_roles(state: &State, request: &Request) -> impl Iterator<Item = crate::ids::RoleId> {
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
