//! The same question answered slowly and obviously, over the whole state, without compiled rights
//! or indexes. Tests compare it with the hot path after random histories (inv11). It shares no
//! rule function with `rights.rs` on purpose.

use comity_domain::assignment::{AssignmentState, Basis};
use comity_domain::grant::{Grant, GrantEnd, GrantState};
use comity_domain::halt::{Halt, HaltTarget};
use comity_domain::ids::{ApplicationId, Digest32, PersonId};
use comity_domain::lock::{Lock, LockTarget};
use comity_domain::organisation::{Accounts, Standing};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::Resource;
use comity_domain::role::Mode;
use comity_domain::session::SessionState;
use comity_domain::state::State;
use comity_domain::time::Instant;

/// Whether the rule of a grant names this person: a member of its side, of the roles that it says,
/// and not left out.
fn by_rule(state: &State, grant: &Grant, person: PersonId) -> bool {
    let (Some(rule), provider) = (&grant.auto, grant.provider) else {
        return false;
    };
    state.members.iter().any(|((organisation, who), member)| {
        let role = match (&rule.only, member.portal) {
            (None, _) => true,
            (Some(only), portal) => only.iter().any(|wanted| portal == Some(*wanted)),
        };
        *organisation == provider.organisation
            && *who == person
            && (provider.unit.is_none() || provider.unit == Some(member.unit))
            && role
            && !rule.left_out.iter().any(|out| *out == person)
    })
}

/// What the answer has to be.
#[must_use]
pub fn decide(
    state: &State,
    application: ApplicationId,
    token: Digest32,
    asked: Permission<'_>,
    resource: Resource,
    now: Instant,
) -> Reason {
    let Some((_, session)) = state.sessions.iter().find(|(_, s)| s.token == token) else {
        return Reason::SessionUnknown;
    };
    if session.application != application {
        return Reason::SessionUnknown;
    }
    if let SessionState::Ended { cause, .. } = session.state {
        return cause.reason();
    }
    // The clock, each end by itself: what it ended first, nothing ends again.
    let grant_end = state.grants.get(session.grant).map(|g| g.window.end);
    if now >= session.deadline || grant_end.is_some_and(|end| now >= end) {
        return Reason::SessionExpired;
    }
    let Some(grant) = state.grants.get(session.grant) else {
        return Reason::GrantEnded;
    };
    match grant.state {
        GrantState::Ended { cause: GrantEnd::Revoked, .. } => return Reason::Revoked,
        GrantState::Ended { .. } => return Reason::GrantEnded,
        GrantState::Running => {}
    }
    let (customer, provider) = (grant.customer.organisation, grant.provider.organisation);
    for (_, lock) in state.locks.iter() {
        let hit = lock.target == LockTarget::Organisation(provider)
            || lock.target == LockTarget::Person(session.person);
        if lock.customer == customer && hit {
            return Reason::Locked;
        }
    }
    for (_, halt) in state.halts.iter() {
        let hit = match halt.target {
            HaltTarget::Grant(id) => id == session.grant,
            HaltTarget::Person(id) => id == session.person,
            HaltTarget::Organisation(id) => id == customer || id == provider,
            HaltTarget::Session(_) | HaltTarget::Key(_) => false, // ended, or no session's affair
        };
        if hit {
            return Reason::Locked;
        }
    }
    let Some(assignment) = state.assignment(session.grant, session.person) else {
        return Reason::AssignmentLost;
    };
    if assignment.row.state != AssignmentState::Active || !grant.modes.contains(session.mode) {
        return Reason::AssignmentLost;
    }
    if assignment.row.basis == Basis::Automatic && !by_rule(state, grant, session.person) {
        return Reason::AssignmentLost;
    }
    let active = |standing: Option<Standing>| standing == Some(Standing::Active);
    let organisation = |id| active(state.organisations.get(id).map(|o| o.standing));
    let unit = |id| active(state.units.get(id).map(|u| u.standing));
    let member = state.members.get(&(provider, session.person));
    let member_ok = assignment.row.basis == Basis::Invited
        || member.is_some_and(|m| {
            let works = m.standing == Standing::Active && m.superseded.is_none();
            works && unit(m.unit) && organisation(provider)
        });
    let sides_ok = [grant.customer, grant.provider]
        .iter()
        .all(|side| organisation(side.organisation) && side.unit.is_none_or(unit));
    if !member_ok || !sides_ok {
        return Reason::Suspended;
    }
    if now >= assignment.row.ends_at {
        return Reason::SessionExpired;
    }
    // Where.
    let (owner, account) = match resource {
        Resource::Unknown => return Reason::WrongResource,
        Resource::Organisation(o) => (o, None),
        Resource::Account(a, o, u) => (o, Some((a, u))),
    };
    if owner != customer {
        return Reason::WrongResource;
    }
    if account.is_some_and(|(_, u)| !unit(u)) {
        return Reason::Suspended;
    }
    // What.
    if state.policy.never_delegable.permits(asked) {
        return Reason::NeverDelegable;
    }
    let by_role = assignment.roles.iter().any(|id| {
        let pinned = grant.roles.iter().find(|p| p.role == *id);
        let role = state.roles.get(*id).filter(|r| !r.deleted);
        match (pinned, role) {
            (Some(pinned), Some(role)) => {
                let at = role.versions.get(pinned.version.wrapping_sub(1) as usize);
                at.is_some_and(|p| p.permits(asked))
                    && role.versions.last().is_some_and(|p| p.permits(asked))
            }
            _ => false,
        }
    });
    let level = state
        .levels
        .get(&grant.level.code)
        .and_then(|versions| versions.get(grant.level.version.wrapping_sub(1) as usize))
        .is_some_and(|level| level.ceiling.permits(asked));
    let mode = session.mode != Mode::View || asked.to_string().ends_with(":read");
    let words = state.applications.get(application).is_some_and(|a| a.permissions.permits(asked));
    if !(by_role && level && mode && words) {
        return Reason::NoRole;
    }
    // On which account.
    let Some((account, account_unit)) = account else {
        let all = grant.accounts == Accounts::All
            && assignment.accounts == Accounts::All
            && grant.customer.unit.is_none();
        return if all { Reason::Allowed } else { Reason::AccountRequired };
    };
    let listed = |accounts: &Accounts| match accounts {
        Accounts::All => true,
        Accounts::List(list) => list.contains(&account),
    };
    let on_side = grant.customer.unit.is_none_or(|u| u == account_unit);
    if on_side && listed(&grant.accounts) && listed(&assignment.accounts) {
        Reason::Allowed
    } else {
        Reason::AccountNotInGrant
    }
}

/// What the answer about a member in the own organisation has to be.
#[must_use]
pub fn decide_own(
    state: &State,
    application: ApplicationId,
    person: PersonId,
    asked: Permission<'_>,
    resource: Resource,
) -> Reason {
    let (owner, unit) = match resource {
        Resource::Unknown => return Reason::WrongResource,
        Resource::Organisation(o) => (o, None),
        Resource::Account(_, o, u) => (o, Some(u)),
    };
    let Some((_, member)) = state.members.iter().find(|(key, _)| **key == (owner, person)) else {
        return Reason::NotAMember;
    };
    let locked = |l: &Lock| l.customer == owner && l.target == LockTarget::Person(person);
    let halted = |h: &Halt| {
        h.target == HaltTarget::Person(person) || h.target == HaltTarget::Organisation(owner)
    };
    if state.locks.iter().any(|(_, l)| locked(l)) || state.halts.iter().any(|(_, h)| halted(h)) {
        return Reason::Locked;
    }
    let unit_works = |id| state.units.get(id).is_some_and(|u| u.standing == Standing::Active);
    let here = state.organisations.get(owner).map(|o| o.standing);
    let all_work = [Some(member.standing), here].iter().all(|s| *s == Some(Standing::Active));
    let all_work = all_work && member.superseded.is_none();
    if !all_work || !unit_works(member.unit) || unit.is_some_and(|u| !unit_works(u)) {
        return Reason::Suspended;
    }
    let by_role = state.roles.iter().any(|(id, role)| {
        role.organisation == owner
            && !role.deleted
            && member.roles.contains(&id)
            && role.versions.last().is_some_and(|p| p.permits(asked))
    });
    let words = state.applications.iter().find(|(id, _)| *id == application);
    if by_role && words.is_some_and(|(_, a)| a.permissions.permits(asked)) {
        Reason::Allowed
    } else {
        Reason::NoRole
    }
}
