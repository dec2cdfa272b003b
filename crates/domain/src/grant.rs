//! Grants: the customer's yes.
//!
//! `scheduled` (by the clock) → `active` → `ended` (revoked, given up, organisation closed) or
//! `expired` by the clock, derived when read. What narrows takes effect in the same row; nothing
//! here widens. An ended grant never comes back. Grants stay in memory for [`KEPT_AFTER_END`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::command::Caller;
use crate::draft::Draft;
use crate::event::Event;
use crate::ids::{Digest32, GrantId, PersonId, RequestId, RoleId};
use crate::may::{self, Action};
use crate::organisation::{Accounts, Party};
use crate::permission::Permissions;
use crate::refusal::Refusal;
use crate::request::{self, Request, RequestCancel};
use crate::role::{Level, Mode, Modes, PinnedLevel, PinnedRole};
use crate::state::State;
use crate::text::WordId;
use crate::time::{DAY, Days, Instant, Minutes, Window};

/// How long an ended grant stays in memory, for lists and for the question who had access.
pub const KEPT_AFTER_END: i64 = 400 * DAY;
/// How long a grant runs when nobody said otherwise.
pub const DEFAULT_DAYS: Days = Days(30);
/// The shortest session that can be set.
pub const LEAST_CAP: Minutes = Minutes(5);
/// How far ahead a grant may start.
pub const FARTHEST_START: i64 = 365 * DAY;

/// The customer's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The decision that it came from.
    pub request: RequestId,
    /// Whose things are shared: a whole organisation or one unit of it.
    pub customer: Party,
    /// Who is let in: a whole organisation or one unit of it.
    pub provider: Party,
    /// The level, a ceiling over everything.
    pub level: PinnedLevel,
    /// The ceiling of roles, pinned by version, sorted.
    pub roles: Vec<PinnedRole>,
    /// Which accounts.
    pub accounts: Accounts,
    /// Which modes.
    pub modes: Modes,
    /// From when to when.
    pub window: Window,
    /// The longest session.
    pub cap: Minutes,
    /// Whether external people may be invited.
    pub allow_external: bool,
    /// Whether tokens may be JWTs that services check offline.
    pub jwt: bool,
    /// The hash of the summary that the approver saw.
    pub summary: Digest32,
    /// Raised by each change of the terms or of who is on it.
    pub version: u32,
    /// Left without anybody by something that could not be refused.
    pub unattended: bool,
    /// Whether it still stands, as far as the log says.
    pub state: GrantState,
}

/// What the log says of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// Nobody has ended it.
    Running,
    /// It was ended.
    Ended {
        /// When.
        at: Instant,
        /// Why.
        cause: GrantEnd,
        /// By whom, if by a person.
        by: Option<PersonId>,
    },
}

/// Why a grant was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantEnd {
    /// By the customer.
    Revoked,
    /// By the provider.
    GivenUp,
    /// One of the organisations was closed.
    Closed,
}

/// The word for a grant's state at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantPhase {
    /// Not yet.
    Scheduled,
    /// Now.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Ended,
}

impl GrantPhase {
    /// As it is written.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Ended => "ended",
        }
    }
}

impl Grant {
    /// The state at `now`.
    #[must_use]
    pub fn phase(&self, now: Instant) -> GrantPhase {
        match self.state {
            GrantState::Ended { .. } => GrantPhase::Ended,
            GrantState::Running if now < self.window.start => GrantPhase::Scheduled,
            GrantState::Running if now < self.window.end => GrantPhase::Active,
            GrantState::Running => GrantPhase::Expired,
        }
    }

    /// Whether it is neither ended nor over: it may still be narrowed, assigned or revoked.
    #[must_use]
    pub fn stands(&self, now: Instant) -> bool {
        matches!(self.phase(now), GrantPhase::Scheduled | GrantPhase::Active)
    }

    /// The pinned form of a role of this grant.
    #[must_use]
    pub fn pinned(&self, role: RoleId) -> Option<PinnedRole> {
        self.roles.iter().find(|p| p.role == role).copied()
    }

    fn standing(&self, now: Instant) -> Result<(), Refusal> {
        if self.stands(now) { Ok(()) } else { Err(Refusal::WrongState(self.phase(now).code())) }
    }
}

/// What an approver gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Which of the customer's roles; at least one.
    pub roles: BTreeSet<RoleId>,
    /// Which accounts.
    pub accounts: Accounts,
    /// Only this unit of the customer.
    pub unit: Option<crate::ids::UnitId>,
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
        && !state.units.get(unit).is_some_and(|u| u.organisation == customer.organisation)
    {
        return Err(Refusal::invalid("unit", "names no unit of this organisation"));
    }
    check_modes(terms.modes, request.modes, level)?;
    check_days(state, request, terms, level)?;
    if let Some(start) = terms.starts_at
        && !(now.0..=now.plus(FARTHEST_START).0).contains(&start.0)
    {
        return Err(Refusal::invalid("starts_at", "must lie between now and a year from now"));
    }
    let accounts = check_accounts(state, request, terms, customer)?;
    let roles = check_roles(state, request, terms, level)?;
    let own = state.organisations.get(request.customer).ok_or(Refusal::NotFound)?;
    let most = level.session_cap.min(state.policy.session_cap).min(own.settings.session_cap);
    let cap = terms.cap.unwrap_or(most);
    if cap < LEAST_CAP || cap > most {
        return Err(Refusal::invalid("session_minutes", format!("must be from {} to {}", LEAST_CAP.0, most.0)));
    }
    let provider = state.organisations.get(request.provider.organisation).ok_or(Refusal::NotFound)?;
    Ok(Summary {
        request: id,
        customer,
        provider: request.provider,
        names: vec![own.name, provider.name, request.who.0, request.who.1],
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

fn check_days(state: &State, request: &Request, terms: &Terms, level: &Level) -> Result<(), Refusal> {
    let own = state.organisations.get(request.customer).ok_or(Refusal::NotFound)?;
    let most = level.longest_grant.min(state.policy.longest_grant).min(own.settings.longest_grant);
    if terms.days.0 == 0 || terms.days > most {
        return Err(Refusal::invalid("days", format!("must be from 1 to {}", most.0)));
    }
    if terms.days > request.days { Err(Refusal::Widening("days")) } else { Ok(()) }
}

fn check_accounts(state: &State, request: &Request, terms: &Terms, customer: Party) -> Result<Accounts, Refusal> {
    let wished: BTreeSet<&str> = request.accounts.iter().filter_map(|w| state.words.get(*w)).collect();
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
                let account =
                    account.ok_or_else(|| Refusal::invalid("accounts", "names an account that is not yours"))?;
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
    if terms.roles.is_empty() {
        return Err(Refusal::invalid("roles", "must name at least one role"));
    }
    let mut out = Vec::new();
    for id in &terms.roles {
        let role = state.roles.get(*id).filter(|r| r.organisation == request.customer && !r.deleted);
        let role = role.ok_or_else(|| Refusal::invalid("roles", "names a role that is not yours"))?;
        if !request.roles.is_empty() && !wished.contains(&*role.code) {
            return Err(Refusal::Widening("roles"));
        }
        let version = role.newest();
        out.push((PinnedRole { role: *id, version }, role.pinned(version).meet(&level.ceiling)));
    }
    Ok(out)
}

/// What a customer leaves of a grant; `None` keeps what is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrowing {
    /// Only these roles.
    pub roles: Option<BTreeSet<RoleId>>,
    /// Only these accounts.
    pub accounts: Option<Accounts>,
    /// Only these modes.
    pub modes: Option<Modes>,
    /// An earlier end.
    pub end: Option<Instant>,
    /// Shorter sessions from now on.
    pub cap: Option<Minutes>,
}

/// The customer gives less, at once.
pub(crate) fn narrow(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: GrantId,
    narrowing: Narrowing,
    version: Option<u32>,
) -> Result<(), Refusal> {
    let now = d.now();
    let grant = may::check_grant(&d.state, caller, Action::Narrow, id, now)?.clone();
    if version.is_some_and(|v| v != grant.version) {
        return Err(Refusal::VersionConflict);
    }
    grant.standing(now)?;
    let by = caller.person();
    let roles: Vec<PinnedRole> = match narrowing.roles {
        None => grant.roles.clone(),
        Some(kept) => {
            if kept.iter().any(|r| grant.pinned(*r).is_none()) {
                return Err(Refusal::Widening("roles"));
            }
            grant.roles.iter().filter(|p| kept.contains(&p.role)).copied().collect()
        }
    };
    let accounts = narrowing.accounts.unwrap_or_else(|| grant.accounts.clone());
    let modes = narrowing.modes.unwrap_or(grant.modes);
    if roles.is_empty() || accounts.is_empty() || modes.is_empty() {
        return Err(Refusal::invalid("roles", "accounts and modes must keep at least one entry; revoke to end it all"));
    }
    if !grant.modes.covers(modes) {
        return Err(Refusal::Widening("modes"));
    }
    if let (Accounts::All, Accounts::List(list)) = (&grant.accounts, &accounts)
        && list.iter().any(|a| {
            d.state.accounts.get(*a).is_none_or(|a| !grant.customer.includes(a.organisation, a.unit))
        })
    {
        return Err(Refusal::invalid("accounts", "names an account that is not in this grant"));
    }
    if !grant.accounts.covers(&accounts) {
        return Err(Refusal::Widening("accounts"));
    }
    let end = narrowing.end.unwrap_or(grant.window.end);
    if end > grant.window.end {
        return Err(Refusal::Widening("ends_at"));
    }
    if end <= grant.window.start.max(now) {
        return Err(Refusal::invalid("ends_at", "must lie in the future; revoke to end it now"));
    }
    let cap = narrowing.cap.unwrap_or(grant.cap);
    if cap > grant.cap || cap < LEAST_CAP {
        return Err(Refusal::Widening("session_minutes"));
    }
    if (&roles, &accounts, modes, end, cap) == (&grant.roles, &grant.accounts, grant.modes, grant.window.end, grant.cap) {
        return Ok(()); // nothing changes, so nothing happened
    }
    d.acting_for(grant.customer.organisation);
    d.emit(Event::GrantNarrowed { grant: id, by, roles, accounts, modes, end, cap });
    Ok(())
}


/// The customer ends a grant, and with it what this partner still asks (R12).
pub(crate) fn revoke(d: &mut Draft<'_>, caller: &Caller, id: GrantId) -> Result<(), Refusal> {
    let grant = may::check_grant(&d.state, caller, Action::Revoke, id, d.now())?;
    let (customer, provider) = (grant.customer.organisation, grant.provider.organisation);
    grant.standing(d.now())?;
    d.acting_for(customer);
    d.emit(Event::GrantEnded { grant: id, cause: GrantEnd::Revoked, by: caller.person() });
    request::cancel_pending(d, customer, |r| r.provider.organisation == provider, RequestCancel::Revoked);
    Ok(())
}

/// The provider gives a grant up.
pub(crate) fn give_up(d: &mut Draft<'_>, caller: &Caller, id: GrantId) -> Result<(), Refusal> {
    let grant = may::check_grant(&d.state, caller, Action::GiveUp, id, d.now())?;
    let provider = grant.provider.organisation;
    grant.standing(d.now())?;
    d.acting_for(provider);
    d.emit(Event::GrantEnded { grant: id, cause: GrantEnd::GivenUp, by: caller.person() });
    Ok(())
}

/// Whether `act_as` is among the modes, in the seed's words: impersonation is allowed (R7).
#[must_use]
pub fn impersonation(modes: Modes) -> bool {
    modes.contains(Mode::ActAs)
}
