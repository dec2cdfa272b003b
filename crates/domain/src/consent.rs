//! Consent: what an approver gives, judged against what was asked and every limit, and shown
//! exactly before it is given.
//!
//! The summary is what the approver sees; its hash stands in the decision. Whoever approves echoes
//! the hash, so what was shown is what is stored (R9, T4).

mod named;
mod said;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::grant::LEAST_CAP;
use crate::ids::{Digest32, GrantId, RequestId, RoleId, UnitId};
use crate::organisation::{Accounts, Party};
use crate::permission::Permissions;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::role::{Level, Modes, PinnedLevel, PinnedRole};
use crate::state::State;
use crate::text::WordId;
use crate::time::{DAY, Days, Instant, Minutes, Window};

pub use named::{NamedAccounts, NamedTerms, asked_accounts, wished_roles};
pub use said::{account, as_themselves};

/// How many roles one grant may hold.
pub const MOST_ROLES: usize = 50;
/// How far ahead a grant may start.
pub const FARTHEST_START: i64 = 365 * DAY;

/// What an approver gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Which of the customer's roles; at least one.
    pub roles: BTreeSet<RoleId>,
    /// Which accounts.
    pub accounts: Accounts,
    /// Only this unit of the customer.
    pub unit: Option<UnitId>,
    /// Which modes.
    pub modes: Modes,
    /// When it starts; at the approval if `None`.
    pub starts_at: Option<Instant>,
    /// How long it runs from its start.
    pub days: Days,
    /// The longest session; the least of all other caps if `None`.
    pub cap: Option<Minutes>,
    /// Whether external people may be invited.
    pub allow_external: bool,
    /// Whether tokens may be JWTs. Off for a grant with `act_as` unless set.
    pub jwt: bool,
}

/// Exactly what an approval gives: what the approver is shown, and what the hash stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The request that is answered.
    pub request: RequestId,
    /// Whose things are shared.
    pub customer: Party,
    /// Who is let in.
    pub provider: Party,
    /// The names that were shown: a rename makes the summary stale.
    pub names: Vec<WordId>,
    /// The level.
    pub level: PinnedLevel,
    /// Each role with what it permits today under the level.
    pub roles: Vec<(PinnedRole, Permissions)>,
    /// Which accounts.
    pub accounts: Accounts,
    /// Which modes.
    pub modes: Modes,
    /// When it starts; at the approval if `None`.
    pub starts_at: Option<Instant>,
    /// How long it runs.
    pub days: Days,
    /// The longest session.
    pub cap: Minutes,
    /// Whether external people may be invited.
    pub allow_external: bool,
    /// Whether tokens may be JWTs.
    pub jwt: bool,
    /// What stays forbidden whatever the roles.
    pub never_delegable: Permissions,
}

impl Summary {
    /// SHA-256 over `comity/summary/1` and the summary as JSON.
    #[must_use]
    pub fn hash(&self) -> Digest32 {
        let mut bytes = b"comity/summary/1".to_vec();
        // A summary is a tree of plain values: writing it as JSON into memory cannot fail.
        bytes.extend(serde_json::to_vec(self).unwrap_or_default());
        Digest32::of(&bytes)
    }

    pub(crate) fn into_grant(self, grant: GrantId, request: RequestId, now: Instant) -> Event {
        let summary = self.hash();
        let start = self.starts_at.unwrap_or(now);
        Event::GrantMade {
            grant,
            request,
            customer: self.customer,
            provider: self.provider,
            level: self.level,
            roles: self.roles.into_iter().map(|(pinned, _)| pinned).collect(),
            accounts: self.accounts,
            modes: self.modes,
            window: Window { start, end: start.plus(self.days.millis()) },
            cap: self.cap,
            allow_external: self.allow_external,
            jwt: self.jwt,
            summary,
        }
    }
}

/// Judges terms against the request and every limit, and says exactly what they would give.
///
/// # Errors
/// `invalid` for wrong fields, `widening` where the terms go beyond what was asked.
pub fn summarise(
    state: &State,
    id: RequestId,
    request: &Request,
    terms: &Terms,
    now: Instant,
) -> Result<Summary, Refusal> {
    let level = state.level(&request.level).ok_or(Refusal::NotFound)?;
    let customer = Party { organisation: request.customer, unit: terms.unit };
    if let Some(unit) = terms.unit
        && state.units.get(unit).is_none_or(|u| u.organisation != customer.organisation)
    {
        return Err(Refusal::invalid("unit", "names no unit of this organisation"));
    }
    check_modes(terms.modes, request.modes, level)?;
    let limits = limits(state, request)?;
    check_days(request, terms, limits.days)?;
    if let Some(start) = terms.starts_at
        && !(now.0..=now.plus(FARTHEST_START).0).contains(&start.0)
    {
        return Err(Refusal::invalid("starts_at", "must lie between now and a year from now"));
    }
    let accounts = check_accounts(state, request, terms, customer)?;
    let roles = check_roles(state, request, terms, level)?;
    let own = state.organisations.get(request.customer).ok_or(Refusal::NotFound)?;
    let most = limits.cap;
    let cap = terms.cap.unwrap_or(most);
    if cap < LEAST_CAP || cap > most {
        return Err(Refusal::invalid(
            "session_minutes",
            format!("must be from {} to {}", LEAST_CAP.0, most.0),
        ));
    }
    if terms.allow_external && !limits.allow_external {
        return Err(Refusal::invalid("allow_external", NO_EXTERNAL));
    }
    let provider =
        state.organisations.get(request.provider.organisation).ok_or(Refusal::NotFound)?;
    let mut names = vec![own.name, provider.name, request.who.0, request.who.1];
    names.extend(Summary::other_names(state, [customer, request.provider], &accounts));
    Ok(Summary {
        request: id,
        customer,
        provider: request.provider,
        names,
        level: request.level.clone(),
        roles,
        accounts,
        modes: terms.modes,
        starts_at: terms.starts_at,
        days: terms.days,
        cap,
        allow_external: terms.allow_external,
        jwt: terms.jwt,
        never_delegable: state.policy.never_delegable.clone(),
    })
}

fn check_modes(given: Modes, asked: Modes, level: &Level) -> Result<(), Refusal> {
    if given.is_empty() {
        return Err(Refusal::invalid("modes", "must name at least one mode"));
    }
    if !asked.covers(given) || !level.modes.covers(given) {
        return Err(Refusal::Widening("modes"));
    }
    Ok(())
}

/// The most that the level, the policy and the customer's settings let anybody give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest grant, whatever was asked.
    pub days: Days,
    /// The longest session.
    pub cap: Minutes,
    /// Whether external people may be allowed.
    pub allow_external: bool,
}

/// Why they may not.
const NO_EXTERNAL: &str =
    "cannot be chosen while the customer's settings let no partner invite people from outside";

/// The limits for a yes to this request.
///
/// # Errors
/// `not_found` where the level or the customer is gone.
pub fn limits(state: &State, request: &Request) -> Result<Limits, Refusal> {
    let level = state.level(&request.level).ok_or(Refusal::NotFound)?;
    let own = &state.organisations.get(request.customer).ok_or(Refusal::NotFound)?.settings;
    Ok(Limits {
        days: level.longest_grant.min(state.policy.longest_grant).min(own.longest_grant),
        cap: level.session_cap.min(state.policy.session_cap).min(own.session_cap),
        allow_external: own.allow_external,
    })
}

fn check_days(request: &Request, terms: &Terms, most: Days) -> Result<(), Refusal> {
    if terms.days.0 == 0 || terms.days > most {
        return Err(Refusal::invalid("days", format!("must be from 1 to {}", most.0)));
    }
    if terms.days > request.days { Err(Refusal::Widening("days")) } else { Ok(()) }
}

fn check_accounts(
    state: &State,
    request: &Request,
    terms: &Terms,
    customer: Party,
) -> Result<Accounts, Refusal> {
    let wished: BTreeSet<&str> =
        request.accounts.iter().filter_map(|w| state.words.get(*w)).collect();
    match &terms.accounts {
        Accounts::All if request.accounts.is_empty() => Ok(Accounts::All),
        Accounts::All => Err(Refusal::Widening("accounts")),
        Accounts::List(list) if list.is_empty() => {
            Err(Refusal::invalid("accounts", "must be \"all\" or name at least one account"))
        }
        Accounts::List(list) => {
            for id in list {
                let account = state.accounts.get(*id);
                let account = account.filter(|a| customer.includes(a.organisation, a.unit));
                let account = account.ok_or_else(|| {
                    Refusal::invalid("accounts", "names an account that is not yours")
                })?;
                let asked = state.words.get(account.external).is_some_and(|e| wished.contains(e));
                if !request.accounts.is_empty() && !asked {
                    return Err(Refusal::Widening("accounts"));
                }
            }
            Ok(terms.accounts.clone())
        }
    }
}

fn check_roles(
    state: &State,
    request: &Request,
    terms: &Terms,
    level: &Level,
) -> Result<Vec<(PinnedRole, Permissions)>, Refusal> {
    let wished: BTreeSet<&str> = request.roles.iter().filter_map(|w| state.words.get(*w)).collect();
    if terms.roles.len() > MOST_ROLES {
        return Err(Refusal::invalid("roles", format!("must name at most {MOST_ROLES} roles")));
    }
    if terms.roles.is_empty() {
        return Err(Refusal::invalid("roles", "must name at least one role"));
    }
    let mut out = Vec::new();
    for id in &terms.roles {
        let role =
            state.roles.get(*id).filter(|r| r.organisation == request.customer && !r.deleted);
        let role =
            role.ok_or_else(|| Refusal::invalid("roles", "names a role that is not yours"))?;
        if !request.roles.is_empty() && !wished.contains(&*role.code) {
            return Err(Refusal::Widening("roles"));
        }
        let version = role.newest();
        out.push((PinnedRole { role: *id, version }, role.pinned(version).meet(&level.ceiling)));
    }
    Ok(out)
}
