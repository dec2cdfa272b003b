//! `compile`: what a session may do now. The only place that turns state into rights.
//!
//! Everything but the clock is judged here, once for each change; the clock is judged by whoever
//! uses the result, against its deadline.

use std::collections::BTreeSet;

use crate::assignment::{AssignmentState, Basis};
use crate::grant::{GrantEnd, GrantState};
use crate::ids::{
    AccountId, ApplicationId, Digest32, GrantId, OrganisationId, PersonId, SessionId, UnitId,
};
use crate::organisation::{Accounts, Party};
use crate::permission::{Permission, Permissions};
use crate::refusal::Reason;
use crate::role::Mode;
use crate::session::{Session, SessionEnd, SessionState};
use crate::state::State;
use crate::time::Instant;

pub mod own;

/// A session as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// Which session.
    pub session: SessionId,
    /// The digest of its token.
    pub token: Digest32,
    /// For which application.
    pub application: ApplicationId,
    /// Who really acts.
    pub actor: PersonId,
    /// As whom.
    pub mode: Mode,
    /// Under which grant.
    pub grant: GrantId,
    /// In whose tenant.
    pub customer: OrganisationId,
    /// From which organisation.
    pub provider: OrganisationId,
    /// When it ends by the clock.
    pub deadline: Instant,
    /// Whether somebody ended it before that; if not, the clock's end is the one that counts.
    pub ended: bool,
    /// What it may do, or why nothing.
    pub rights: Result<Rights, Reason>,
}

/// What a live session may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Level, mode, the application's words and the session's scope, where they hold anything
    /// back: each has to permit it.
    pub ceilings: Vec<Permissions>,
    /// The assignment's roles, each as the grant pinned it and as it is now: one role has to permit
    /// it in both forms. Kept apart because multiplying sets out costs as much as somebody likes.
    pub roles: Vec<(Permissions, Permissions)>,
    /// What nobody may delegate.
    pub never: Permissions,
    /// Where.
    pub accounts: Reach,
    /// Units of the customer that take no part now: nothing in them is reached.
    pub closed_units: BTreeSet<UnitId>,
}

impl Rights {
    /// Level ∩ grant's roles ∩ assignment's roles ∩ mode ∩ the application's words ∩ the scope.
    #[must_use]
    pub fn permits(&self, asked: Permission<'_>) -> bool {
        self.ceilings.iter().all(|c| c.permits(asked))
            && self
                .roles
                .iter()
                .any(|(pinned, newest)| pinned.permits(asked) && newest.permits(asked))
    }

    /// The same multiplied out, to be shown.
    #[must_use]
    pub fn shown(&self) -> Permissions {
        let under = |set: Permissions| self.ceilings.iter().fold(set, |set, c| set.meet(c));
        Permissions::union(self.roles.iter().map(|(pinned, newest)| under(pinned.meet(newest))))
    }
}

/// Where rights apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Every account of this side, and what concerns no account.
    All(Party),
    /// These accounts.
    List(BTreeSet<AccountId>),
}

/// What a call concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// An account of this organisation and unit.
    Account(AccountId, OrganisationId, UnitId),
    /// No single account: the customer as a whole.
    Organisation(OrganisationId),
    /// Nothing that is known.
    Unknown,
}

impl Compiled {
    /// Judges one call at `now`. Total: deny by default, one reason for each no.
    #[must_use]
    pub fn judge(&self, asked: Permission<'_>, resource: Resource, now: Instant) -> Reason {
        if !self.ended && now >= self.deadline {
            return Reason::SessionExpired;
        }
        let rights = match &self.rights {
            Err(reason) => return *reason,
            Ok(rights) => rights,
        };
        match resource {
            Resource::Unknown => return Reason::WrongResource,
            Resource::Organisation(o) | Resource::Account(_, o, _) if o != self.customer => {
                return Reason::WrongResource;
            }
            Resource::Organisation(_) | Resource::Account(..) => {}
        }
        if matches!(resource, Resource::Account(_, _, unit) if rights.closed_units.contains(&unit))
        {
            return Reason::Suspended;
        }
        if rights.never.permits(asked) {
            return Reason::NeverDelegable;
        }
        if !rights.permits(asked) {
            return Reason::NoRole;
        }
        match (&rights.accounts, resource) {
            // One unit's accounts are not the whole organisation.
            (Reach::All(side), Resource::Organisation(_)) if side.unit.is_none() => Reason::Allowed,
            (Reach::All(side), Resource::Account(_, organisation, unit))
                if side.includes(organisation, unit) =>
            {
                Reason::Allowed
            }
            (Reach::List(list), Resource::Account(account, ..)) if list.contains(&account) => {
                Reason::Allowed
            }
            (_, Resource::Organisation(_)) => Reason::AccountRequired,
            _ => Reason::AccountNotInGrant,
        }
    }
}

/// Compiles a session; `None` if there is no such session.
#[must_use]
pub fn compile(state: &State, id: SessionId) -> Option<Compiled> {
    let session = state.sessions.get(id)?;
    let grant = state.grants.get(session.grant)?;
    let rights = match session.state {
        SessionState::Ended { cause, .. } => Err(cause.reason()),
        SessionState::Running => match stands(state, session) {
            Some(cause) => Err(cause.reason()),
            None => of(state, session),
        },
    };
    Some(Compiled {
        session: id,
        token: session.token,
        application: session.application,
        actor: session.person,
        mode: session.mode,
        grant: session.grant,
        customer: grant.customer.organisation,
        provider: grant.provider.organisation,
        deadline: session.deadline,
        ended: session.ended().is_some(),
        rights,
    })
}

/// What a session that stands may do.
pub(crate) fn of(state: &State, session: &Session) -> Result<Rights, Reason> {
    let grant = state.grants.get(session.grant).ok_or(Reason::GrantEnded)?;
    let assignment =
        state.assignment(session.grant, session.person).ok_or(Reason::AssignmentLost)?;
    let level = state.level(&grant.level).ok_or(Reason::NoRole)?;
    let application = state.applications.get(session.application).ok_or(Reason::NoRole)?;
    let roles = assignment
        .roles
        .iter()
        .filter_map(|id| state.roles.get(*id)?.forms(grant.pinned(*id)?.version))
        .collect();
    let ceilings = [level.ceiling.clone(), session.mode.ceiling(), application.permissions.clone()]
        .into_iter()
        .chain(session.scope.clone())
        .filter(|ceiling| !ceiling.covers_all())
        .collect();
    // The side is checked again for each listed account, so that an account that left is out even
    // while the list still names it.
    let accounts = match grant.accounts.meet(&assignment.accounts) {
        Accounts::All => Reach::All(grant.customer),
        Accounts::List(list) => Reach::List(
            list.into_iter()
                .filter(|id| {
                    let account = state.accounts.get(*id);
                    account.is_some_and(|a| grant.customer.includes(a.organisation, a.unit))
                })
                .collect(),
        ),
    };
    Ok(Rights {
        ceilings,
        roles,
        never: state.policy.never_delegable.clone(),
        accounts,
        closed_units: state.inactive_units(grant.customer.organisation).collect(),
    })
}

/// Why a running session must not go on, if so: the single liveness rule. The clock is not part
/// of it; a session's deadline is never later than the ends of its grant and assignment.
#[must_use]
pub fn stands(state: &State, session: &Session) -> Option<SessionEnd> {
    let Some(grant) = state.grants.get(session.grant) else {
        return Some(SessionEnd::GrantEnded);
    };
    if let GrantState::Ended { cause, .. } = grant.state {
        return Some(match cause {
            GrantEnd::Revoked => SessionEnd::Revoked,
            GrantEnd::GivenUp | GrantEnd::Closed => SessionEnd::GrantEnded,
        });
    }
    let provider = grant.provider.organisation;
    if state.is_locked(grant.customer.organisation, provider, Some(session.person)) {
        return Some(SessionEnd::Locked);
    }
    if state.is_halted(session.grant, Some(session.person)) {
        return Some(SessionEnd::Locked);
    }
    if grant.unconfirmed.is_some() {
        return Some(SessionEnd::Unconfirmed);
    }
    let Some(assignment) = state.assignment_row(session.grant, session.person) else {
        return Some(SessionEnd::AssignmentLost);
    };
    if assignment.state != AssignmentState::Active || !grant.modes.contains(session.mode) {
        return Some(SessionEnd::AssignmentLost);
    }
    if assignment.basis == Basis::Invited && !grant.lets_outsiders_in(state) {
        return Some(SessionEnd::AssignmentLost);
    }
    let member_active = match assignment.basis {
        // Hangs on the grant alone; whoever is a member of the provider is nobody from outside.
        Basis::Invited => !state.members.contains_key(&(provider, session.person)),
        Basis::Individual | Basis::Automatic => {
            state.active_member(provider, session.person).is_some()
        }
    };
    if !member_active
        || !state.party_is_active(grant.customer)
        || !state.party_is_active(grant.provider)
    {
        return Some(SessionEnd::Suspended);
    }
    None
}
