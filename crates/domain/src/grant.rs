//! Grants: the customer's yes.
//!
//! `scheduled` (by the clock) → `active` → `ended` (revoked, given up, organisation closed) or
//! `expired` by the clock, derived when read; `unconfirmed` from a restore until its customer says
//! yes again. What narrows takes effect in the same row; nothing
//! here widens. An ended grant never comes back. Grants stay in memory for [`KEPT_AFTER_END`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::auto::AutoRule;
use crate::command::Caller;
use crate::consent;
use crate::draft::Draft;
use crate::event::Event;
use crate::ids::{Digest32, GrantId, OrganisationId, PersonId, RequestId, RoleId};
use crate::may::{self, Action, Thing};
use crate::organisation::{Accounts, Party};
use crate::refusal::Refusal;
use crate::request::{self, Direction, RequestCancel};
use crate::role::{Mode, Modes, PinnedLevel, PinnedRole};
use crate::state::State;
use crate::time::{DAY, Days, Instant, Minutes, Window};

/// How long an ended grant stays in memory, for lists and for the question who had access.
pub const KEPT_AFTER_END: i64 = 400 * DAY;
/// How long a grant runs when nobody said otherwise.
pub const DEFAULT_DAYS: Days = Days(30);
/// How many grants one call confirms at most: a row must stay short.
pub const MOST_CONFIRMED: usize = 500;
/// The shortest session that can be set.
pub const LEAST_CAP: Minutes = Minutes(5);

/// The customer's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The rule by which the provider's members are on it; `None` where people are put on it one by
    /// one.
    pub auto: Option<Box<AutoRule>>,
    /// Left without anybody by something that could not be refused.
    pub unattended: bool,
    /// Since when it waits for its customer's word, because a restore put it back and nobody can
    /// know whether it was revoked after the copy was made (T50). It gives nothing meanwhile.
    pub unconfirmed: Option<Instant>,
    /// Whether it still stands, as far as the log says.
    pub state: GrantState,
}

/// What the log says of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Not until its customer confirms it, after a restore.
    Unconfirmed,
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
            Self::Unconfirmed => "unconfirmed",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Ended => "ended",
        }
    }
}

impl Grant {
    /// Whether people from outside may be invited: it was given so, and the customer's settings
    /// allow it now.
    #[must_use]
    pub fn lets_outsiders_in(&self, state: &State) -> bool {
        let own = state.organisations.get(self.customer.organisation);
        self.allow_external && own.is_some_and(|o| o.settings.allow_external)
    }

    /// The state at `now`.
    #[must_use]
    pub fn phase(&self, now: Instant) -> GrantPhase {
        match self.state {
            GrantState::Ended { .. } => GrantPhase::Ended,
            GrantState::Running if now >= self.window.end => GrantPhase::Expired,
            GrantState::Running if self.unconfirmed.is_some() => GrantPhase::Unconfirmed,
            GrantState::Running if now < self.window.start => GrantPhase::Scheduled,
            GrantState::Running => GrantPhase::Active,
        }
    }

    /// Whether it is neither ended nor over: it may still be narrowed, assigned or revoked.
    #[must_use]
    pub fn stands(&self, now: Instant) -> bool {
        matches!(
            self.phase(now),
            GrantPhase::Scheduled | GrantPhase::Unconfirmed | GrantPhase::Active
        )
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

/// What a customer makes of a grant; `None` keeps what is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Amending {
    /// These roles, each pinned at its newest version.
    pub roles: Option<BTreeSet<RoleId>>,
    /// These accounts.
    pub accounts: Option<Accounts>,
    /// These modes.
    pub modes: Option<Modes>,
    /// So long from now, or from its start where that is still to come.
    pub days: Option<Days>,
    /// Sessions of this length from now on.
    pub cap: Option<Minutes>,
    /// Whether external people may be invited.
    pub allow_external: Option<bool>,
    /// Whether tokens may be JWTs.
    pub jwt: Option<bool>,
}

/// Whether the customer may make something else of a grant, whatever it is: said before anything is
/// chosen, and judged again when it is done.
///
/// # Errors
/// The refusal that the caller is told.
pub fn may_amend<'s>(
    state: &'s State,
    caller: &Caller,
    id: GrantId,
    now: Instant,
) -> Result<&'s Grant, Refusal> {
    let grant = may::check_grant(state, caller, Action::Amend, id, now)?;
    let by = caller.person().ok_or(Refusal::NotFound)?;
    let (customer, provider) = (grant.customer, grant.provider);
    grant.standing(now)?;
    if grant.unconfirmed.is_some() {
        return Err(Refusal::WrongState("unconfirmed: confirm it first"));
    }
    request::four_eyes(state, provider.organisation, by, now)?;
    if !state.party_is_active(customer) {
        return Err(Refusal::NotActive("organisation"));
    }
    if !state.party_is_active(provider) {
        return Err(Refusal::NotActive("partner"));
    }
    let locked = state.is_locked(customer.organisation, provider.organisation, None);
    if locked || state.is_halted(id, None) { Err(Refusal::Locked) } else { Ok(grant) }
}

/// The customer makes something else of a grant, having seen the summary whose hash is echoed:
/// wider, narrower, or for longer. People stay on it, and no session's deadline moves.
pub(crate) fn amend(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: GrantId,
    amending: &Amending,
    echoed: Digest32,
) -> Result<(), Refusal> {
    let now = d.now();
    let grant = may_amend(&d.state, caller, id, now)?.clone();
    let by = caller.person().ok_or(Refusal::NotFound)?;
    let summary = consent::amended(&d.state, id, &grant, amending, now)?;
    if summary.hash() != echoed {
        return Err(Refusal::StaleSummary);
    }
    let end = summary.end(now.max(grant.window.start));
    d.acting_for(grant.customer.organisation);
    d.emit(Event::GrantAmended {
        grant: id,
        by,
        roles: summary.roles.into_iter().map(|(pinned, _)| pinned).collect(),
        accounts: summary.accounts,
        modes: summary.modes,
        end,
        cap: summary.cap,
        allow_external: summary.allow_external,
        jwt: summary.jwt,
        summary: echoed,
    });
    Ok(())
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
        return Err(Refusal::invalid(
            "roles",
            "accounts and modes must keep at least one entry; revoke to end it all",
        ));
    }
    if !grant.modes.covers(modes) {
        return Err(Refusal::Widening("modes"));
    }
    if let (Accounts::All, Accounts::List(list)) = (&grant.accounts, &accounts)
        && list.iter().any(|a| {
            d.state
                .accounts
                .get(*a)
                .is_none_or(|a| !grant.customer.includes(a.organisation, a.unit))
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
    if (&roles, &accounts, modes, end, cap)
        == (&grant.roles, &grant.accounts, grant.modes, grant.window.end, grant.cap)
    {
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
    request::cancel_pending(
        d,
        customer,
        |r| r.direction == Direction::PartnerRequest && r.provider.organisation == provider,
        RequestCancel::Revoked,
    );
    Ok(())
}

/// The customer says yes again to grants that a restore put back, all or none. Nothing widens and
/// no end moves. What was confirmed already stays so. With `customer` only its own are there.
///
/// As with the first yes, who says it is no member of the provider (T6): a revoke that the restore
/// forgot must not be undone by those whom it shut out.
pub(crate) fn confirm(
    d: &mut Draft<'_>,
    caller: &Caller,
    customer: Option<OrganisationId>,
    grants: &BTreeSet<GrantId>,
) -> Result<(), Refusal> {
    if let Some(customer) = customer {
        may::check(&d.state, caller, Action::Confirm, Thing::organisation(customer), d.now())?;
    }
    if grants.is_empty() || grants.len() > MOST_CONFIRMED {
        return Err(Refusal::invalid("grants", format!("must name 1 to {MOST_CONFIRMED}")));
    }
    let now = d.now();
    for id in grants {
        let grant = may::check_grant(&d.state, caller, Action::Confirm, *id, now)?;
        let by = caller.person().ok_or(Refusal::NotFound)?;
        let (own, provider) = (grant.customer.organisation, grant.provider.organisation);
        if customer.is_some_and(|c| c != own) {
            return Err(Refusal::NotFound);
        }
        grant.standing(now)?;
        let Some(since) = grant.unconfirmed else {
            continue;
        };
        request::four_eyes(&d.state, provider, by, since)?;
        d.acting_for(own);
        d.emit(Event::GrantConfirmed { grant: *id, by });
    }
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
