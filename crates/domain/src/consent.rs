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
use crate::grant::{Amending, Grant, LEAST_CAP};
use crate::ids::{Digest32, GrantId, OrganisationId, RequestId, RoleId, UnitId};
use crate::organisation::{Accounts, Party};
use crate::permission::Permissions;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::role::{Level, Modes, PinnedLevel, PinnedRole};
use crate::state::State;
use crate::text::WordId;
use crate::time::{DAY, Days, Instant, Minutes, Window};

pub use named::{NamedAccounts, NamedAmending, NamedTerms, asked_accounts, wished_roles};
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

/// What a customer decides when it says yes to a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decides {
    /// A partner's request.
    Request(RequestId),
    /// What it offers to a partner.
    Offer {
        /// Whether the platform's policy makes it a grant without the partner's yes.
        at_once: bool,
    },
    /// What a grant, as it is at this version, becomes.
    Amendment {
        /// Which.
        grant: GrantId,
        /// Its version.
        version: u32,
    },
}

/// How long something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lasts {
    /// From its start; from the decision where it has begun already.
    For(Days),
    /// Until an end that stays where it is.
    Until(Instant),
}

/// Exactly what a yes gives: what the customer is shown, and what the hash stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What is decided.
    pub decides: Decides,
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
    /// When it starts; at the approval or acceptance if `None`. An amendment moves no start.
    pub starts_at: Option<Instant>,
    /// How long it runs.
    pub lasts: Lasts,
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

    /// When what starts at `start` ends.
    #[must_use]
    pub fn end(&self, start: Instant) -> Instant {
        match self.lasts {
            Lasts::For(days) => start.plus(days.millis()),
            Lasts::Until(end) => end,
        }
    }

    pub(crate) fn into_grant(self, grant: GrantId, request: RequestId, now: Instant) -> Event {
        let summary = self.hash();
        let start = self.starts_at.unwrap_or(now);
        let end = self.end(start);
        Event::GrantMade {
            grant,
            request,
            customer: self.customer,
            provider: self.provider,
            level: self.level,
            roles: self.roles.into_iter().map(|(pinned, _)| pinned).collect(),
            accounts: self.accounts,
            modes: self.modes,
            window: Window { start, end },
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
    let frame = Frame {
        decides: Decides::Request(id),
        customer: request.customer,
        provider: request.provider,
        level: request.level.clone(),
        asked: Some(request),
    };
    frame.summary(state, terms, now)
}

/// Judges what a customer would offer, and says exactly what it would give.
///
/// # Errors
/// `invalid` for wrong fields.
pub fn offered(
    state: &State,
    customer: OrganisationId,
    provider: Party,
    level: &str,
    terms: &Terms,
    now: Instant,
) -> Result<Summary, Refusal> {
    let (level, _) = state.newest_level(level).ok_or_else(|| {
        Refusal::invalid("level", "names no level; partner and referral always exist")
    })?;
    let decides = Decides::Offer { at_once: !state.policy.offers_need_acceptance };
    let frame = Frame { decides, customer, provider, level, asked: None };
    frame.summary(state, terms, now)
}

/// Judges what a customer would make of a grant, and says exactly what it would give then. Roles
/// that are named get pinned at their newest version; without any, what stands stays as it is.
///
/// # Errors
/// `invalid` for wrong fields.
pub fn amended(
    state: &State,
    id: GrantId,
    grant: &Grant,
    amending: &Amending,
    now: Instant,
) -> Result<Summary, Refusal> {
    let frame = Frame {
        decides: Decides::Amendment { grant: id, version: grant.version },
        customer: grant.customer.organisation,
        provider: grant.provider,
        level: grant.level.clone(),
        asked: None,
    };
    let level = state.level(&grant.level).ok_or(Refusal::NotFound)?;
    let modes = amending.modes.unwrap_or(grant.modes);
    frame.modes(modes, level)?;
    let limits = frame.limits(state)?;
    let lasts = match amending.days {
        None => Lasts::Until(grant.window.end),
        Some(days) => {
            frame.days(days, limits.days)?;
            Lasts::For(days)
        }
    };
    let accounts = match &amending.accounts {
        Some(accounts) => frame.accounts(state, accounts, grant.customer)?,
        None => grant.accounts.clone(),
    };
    let roles = match &amending.roles {
        Some(roles) => frame.roles(state, roles, level)?,
        None => kept_roles(state, grant, level),
    };
    if roles.is_empty() || accounts.is_empty() {
        let (field, why) = if roles.is_empty() {
            ("roles", "must name at least one role; none that was given is left")
        } else {
            ("accounts", "must be \"all\" or name at least one account; none is left")
        };
        return Err(Refusal::invalid(field, why));
    }
    // What was given stays, whatever the limits have become since; what is new keeps to them.
    let cap = amending.cap.unwrap_or(grant.cap);
    if amending.cap.is_some() {
        check_cap(cap, limits.cap)?;
    }
    let allow_external = amending.allow_external.unwrap_or(grant.allow_external);
    if allow_external && amending.allow_external.is_some() && !limits.allow_external {
        return Err(Refusal::invalid("allow_external", NO_EXTERNAL));
    }
    Ok(Summary {
        decides: frame.decides,
        customer: grant.customer,
        provider: grant.provider,
        names: frame.names(state, grant.customer, &accounts)?,
        level: frame.level,
        roles,
        accounts,
        modes,
        starts_at: (now < grant.window.start).then_some(grant.window.start),
        lasts,
        cap,
        allow_external,
        jwt: amending.jwt.unwrap_or(grant.jwt),
        never_delegable: state.policy.never_delegable.clone(),
    })
}

/// The roles of a grant that still live, pinned as they are, with what each permits today.
fn kept_roles(state: &State, grant: &Grant, level: &Level) -> Vec<(PinnedRole, Permissions)> {
    let one = |pinned: &PinnedRole| {
        let role = state.roles.get(pinned.role).filter(|_| state.role_lives(*pinned))?;
        Some((*pinned, role.pinned(pinned.version).meet(&level.ceiling)))
    };
    grant.roles.iter().filter_map(one).collect()
}

/// Between whom something is given, under which level, and what was asked, if it was.
struct Frame<'r> {
    decides: Decides,
    customer: OrganisationId,
    provider: Party,
    level: PinnedLevel,
    asked: Option<&'r Request>,
}

impl Frame<'_> {
    fn summary(self, state: &State, terms: &Terms, now: Instant) -> Result<Summary, Refusal> {
        let level = state.level(&self.level).ok_or(Refusal::NotFound)?;
        let customer = Party { organisation: self.customer, unit: terms.unit };
        if let Some(unit) = terms.unit
            && state.units.get(unit).is_none_or(|u| u.organisation != customer.organisation)
        {
            return Err(Refusal::invalid("unit", "names no unit of this organisation"));
        }
        self.modes(terms.modes, level)?;
        let limits = self.limits(state)?;
        self.days(terms.days, limits.days)?;
        if let Some(start) = terms.starts_at
            && !(now.0..=now.plus(FARTHEST_START).0).contains(&start.0)
        {
            return Err(Refusal::invalid("starts_at", "must lie between now and a year from now"));
        }
        let accounts = self.accounts(state, &terms.accounts, customer)?;
        let roles = self.roles(state, &terms.roles, level)?;
        let cap = terms.cap.unwrap_or(limits.cap);
        check_cap(cap, limits.cap)?;
        if terms.allow_external && !limits.allow_external {
            return Err(Refusal::invalid("allow_external", NO_EXTERNAL));
        }
        Ok(Summary {
            decides: self.decides,
            customer,
            provider: self.provider,
            names: self.names(state, customer, &accounts)?,
            level: self.level,
            roles,
            accounts,
            modes: terms.modes,
            starts_at: terms.starts_at,
            lasts: Lasts::For(terms.days),
            cap,
            allow_external: terms.allow_external,
            jwt: terms.jwt,
            never_delegable: state.policy.never_delegable.clone(),
        })
    }

    fn limits(&self, state: &State) -> Result<Limits, Refusal> {
        limits_of(state, self.customer, &self.level)
    }

    fn names(
        &self,
        state: &State,
        customer: Party,
        accounts: &Accounts,
    ) -> Result<Vec<WordId>, Refusal> {
        let name = |id| state.organisations.get(id).map(|o| o.name).ok_or(Refusal::NotFound);
        let mut names = vec![name(self.customer)?, name(self.provider.organisation)?];
        names.extend(self.asked.into_iter().flat_map(|asked| [asked.who.0, asked.who.1]));
        names.extend(Summary::other_names(state, [customer, self.provider], accounts));
        Ok(names)
    }

    fn modes(&self, given: Modes, level: &Level) -> Result<(), Refusal> {
        if given.is_empty() {
            return Err(Refusal::invalid("modes", "must name at least one mode"));
        }
        if self.asked.is_some_and(|asked| !asked.modes.covers(given)) {
            return Err(Refusal::Widening("modes"));
        }
        match (level.modes.covers(given), self.asked) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(Refusal::Widening("modes")),
            (false, None) => {
                Err(Refusal::invalid("modes", "holds a mode that this level does not allow"))
            }
        }
    }

    fn days(&self, given: Days, most: Days) -> Result<(), Refusal> {
        if given.0 == 0 || given > most {
            return Err(Refusal::invalid("days", format!("must be from 1 to {}", most.0)));
        }
        let more = self.asked.is_some_and(|asked| given > asked.days);
        if more { Err(Refusal::Widening("days")) } else { Ok(()) }
    }

    fn accounts(
        &self,
        state: &State,
        given: &Accounts,
        customer: Party,
    ) -> Result<Accounts, Refusal> {
        let wishes = self.asked.map(|asked| &asked.accounts).filter(|w| !w.is_empty());
        let wished: Option<BTreeSet<&str>> =
            wishes.map(|w| w.iter().filter_map(|w| state.words.get(*w)).collect());
        let list = match (given, &wished) {
            (Accounts::All, None) => return Ok(Accounts::All),
            (Accounts::All, Some(_)) => return Err(Refusal::Widening("accounts")),
            (Accounts::List(list), _) => list,
        };
        if list.is_empty() {
            let why = "must be \"all\" or name at least one account";
            return Err(Refusal::invalid("accounts", why));
        }
        for id in list {
            let account = state.accounts.get(*id);
            let account = account.filter(|a| customer.includes(a.organisation, a.unit));
            let account = account.ok_or_else(|| {
                Refusal::invalid("accounts", "names an account that is not yours")
            })?;
            let name = state.words.get(account.external);
            if wished.as_ref().is_some_and(|wished| name.is_none_or(|n| !wished.contains(n))) {
                return Err(Refusal::Widening("accounts"));
            }
        }
        Ok(given.clone())
    }

    fn roles(
        &self,
        state: &State,
        given: &BTreeSet<RoleId>,
        level: &Level,
    ) -> Result<Vec<(PinnedRole, Permissions)>, Refusal> {
        let wishes = self.asked.map(|asked| &asked.roles).filter(|w| !w.is_empty());
        let wished: Option<BTreeSet<&str>> =
            wishes.map(|w| w.iter().filter_map(|w| state.words.get(*w)).collect());
        if given.len() > MOST_ROLES {
            return Err(Refusal::invalid("roles", format!("must name at most {MOST_ROLES} roles")));
        }
        if given.is_empty() {
            return Err(Refusal::invalid("roles", "must name at least one role"));
        }
        let mut out = Vec::new();
        for id in given {
            let role =
                state.roles.get(*id).filter(|r| r.organisation == self.customer && !r.deleted);
            let role =
                role.ok_or_else(|| Refusal::invalid("roles", "names a role that is not yours"))?;
            if wished.as_ref().is_some_and(|wished| !wished.contains(&*role.code)) {
                return Err(Refusal::Widening("roles"));
            }
            let version = role.newest();
            out.push((
                PinnedRole { role: *id, version },
                role.pinned(version).meet(&level.ceiling),
            ));
        }
        Ok(out)
    }
}

fn check_cap(cap: Minutes, most: Minutes) -> Result<(), Refusal> {
    if (LEAST_CAP..=most).contains(&cap) {
        return Ok(());
    }
    let why = format!("must be from {} to {}", LEAST_CAP.0, most.0);
    Err(Refusal::invalid("session_minutes", why))
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
    limits_of(state, request.customer, &request.level)
}

/// The limits for what a customer gives under a level.
///
/// # Errors
/// `not_found` where the level or the customer is gone.
pub fn limits_of(
    state: &State,
    customer: OrganisationId,
    level: &PinnedLevel,
) -> Result<Limits, Refusal> {
    let level = state.level(level).ok_or(Refusal::NotFound)?;
    let own = &state.organisations.get(customer).ok_or(Refusal::NotFound)?.settings;
    Ok(Limits {
        days: level.longest_grant.min(state.policy.longest_grant).min(own.longest_grant),
        cap: level.session_cap.min(state.policy.session_cap).min(own.session_cap),
        allow_external: own.allow_external,
    })
}
