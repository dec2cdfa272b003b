//! Who may do what inside Comity: one function, one match over every action.
//!
//! Not yours looks like not there: a caller without a tie to either side is told `not_found`. Who
//! stands on a side but lacks the permission is told what it needs. The reviewed table is
//! `tests/output/who-may.txt`; a test writes and compares it.

use crate::application::KeyUse;
use crate::command::{Caller, Principal};
use crate::grant::Grant;
use crate::halt::HaltTarget;
use crate::ids::{GrantId, OrganisationId, PersonId, RequestId, SignInId};
use crate::person::{FRESH, PortalPermission};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::state::State;
use crate::time::Instant;

/// Writes the list of actions down once.
macro_rules! actions {
    ($($name:ident,)*) => {
        /// Everything that can be done or read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // each is named like the command or question that it guards
        pub enum Action {
            $($name,)*
        }

        impl Action {
            /// Every action, in the order of the table.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];
        }
    };
}

actions! {
    PutApplication,
    MakeKey,
    RetireKey,
    SetClientKeys,
    RotateSigningKeys,
    SetPolicy,
    PutLevel,
    SetStanding,
    ReadPlatform,
    LiftHalt,
    PutOrganisation,
    PutUnit,
    PutAccount,
    RemoveAccount,
    PutRole,
    DeleteRole,
    PutMember,
    RemoveMember,
    RestoreMembership,
    EndAccess,
    MakeEnrolment,
    ResetFactors,
    ReadMembers,
    ReadDoors,
    ReadRoles,
    ReadAccounts,
    ReadAllEvents,
    SignOut,
    StepUp,
    ManageFactors,
    ReadSelf,
    Enter,
    LeaveGrant,
    ReadOrganisation,
    ReadCustomerId,
    RotateCustomerId,
    ReadPartnerId,
    RotatePartnerId,
    ReadSettings,
    ChangeSettings,
    Ask,
    CancelRequest,
    ReadRequest,
    Approve,
    Deny,
    MakeOffer,
    WithdrawOffer,
    AcceptOffer,
    DeclineOffer,
    ReadGrant,
    Confirm,
    Revoke,
    Narrow,
    Amend,
    GiveUp,
    ReadAssignments,
    Assign,
    Unassign,
    SetAuto,
    ReadHistory,
    CloseSession,
    EndSession,
    ReadLocks,
    Lock,
    Unlock,
    ReadEvents,
    ReadNotices,
    Evaluate,
    EraseWords,
    ReadWebhooks,
    ManageWebhooks,
    ManagePlatformWebhooks,
    KeepStream,
}

/// What an action is done to: who stands on which side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thing {
    /// The customer's side.
    pub customer: Option<OrganisationId>,
    /// The provider's side.
    pub provider: Option<OrganisationId>,
    /// The person whose own it is.
    pub owner: Option<PersonId>,
}

impl Thing {
    /// The installation.
    #[must_use]
    pub fn platform() -> Self {
        Self { customer: None, provider: None, owner: None }
    }

    /// One organisation's own affair.
    #[must_use]
    pub fn organisation(id: OrganisationId) -> Self {
        Self { customer: Some(id), provider: Some(id), owner: None }
    }

    /// Something between two.
    #[must_use]
    pub fn between(customer: OrganisationId, provider: OrganisationId) -> Self {
        Self { customer: Some(customer), provider: Some(provider), owner: None }
    }

    /// A person's own.
    #[must_use]
    pub fn own(person: PersonId) -> Self {
        Self { customer: None, provider: None, owner: Some(person) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Customer,
    Provider,
    Either,
}

/// What an action takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// A key of this use.
    Key(KeyUse),
    /// A key of this use, or this permission in the organisation.
    KeyOr(KeyUse, PortalPermission),
    /// This permission on this side.
    Portal(Side, PortalPermission),
    /// The same, with a fresh sign-in.
    Fresh(Side, PortalPermission),
    /// A key of this use, or active membership on a side with whatever portal role or none.
    KeyOrMember(KeyUse),
    /// The person whose own it is.
    Owner,
    /// The same, with a fresh sign-in.
    FreshOwner,
    /// That person, also from inside the partner session itself.
    OwnerOrSession,
}

/// The whole rule book.
fn needs(action: Action) -> Needs {
    use Action as A;
    use KeyUse::{Decide as DecideKey, Operate, Provision};
    use Needs::{Fresh, Key, KeyOr, Portal};
    use PortalPermission::{Assign, Audit, Decide, Manage};
    use Side::{Customer, Either, Provider};
    match action {
        A::PutApplication
        | A::MakeKey
        | A::RetireKey
        | A::SetClientKeys
        | A::RotateSigningKeys
        | A::SetPolicy
        | A::PutLevel
        | A::SetStanding => Key(Operate),
        A::ReadPlatform | A::LiftHalt | A::ManagePlatformWebhooks => Key(Operate),
        A::PutOrganisation
        | A::MakeEnrolment
        | A::ResetFactors
        | A::ReadAllEvents
        | A::ReadDoors
        | A::EraseWords => Key(Provision),
        A::PutUnit
        | A::PutAccount
        | A::RemoveAccount
        | A::PutRole
        | A::DeleteRole
        | A::PutMember
        | A::RemoveMember
        | A::EndAccess => KeyOr(Provision, Manage),
        A::ReadMembers | A::ReadRoles | A::ReadAccounts => KeyOr(Provision, Audit),
        A::SignOut | A::StepUp | A::ReadSelf | A::Enter | A::LeaveGrant => Needs::Owner,
        A::ManageFactors => Needs::FreshOwner,
        A::ReadOrganisation => Needs::KeyOrMember(Provision),
        A::ReadCustomerId | A::ReadSettings | A::ReadLocks => Portal(Customer, Audit),
        A::ReadPartnerId => Portal(Provider, Audit),
        A::ChangeSettings
        | A::Deny
        | A::WithdrawOffer
        | A::Revoke
        | A::Narrow
        | A::EndSession
        | A::Lock => Portal(Customer, Decide),
        A::RotateCustomerId | A::Approve | A::MakeOffer | A::Amend | A::Confirm | A::Unlock => {
            Fresh(Customer, Decide)
        }
        A::Ask | A::CancelRequest | A::GiveUp | A::Assign | A::Unassign | A::SetAuto => {
            Portal(Provider, Assign)
        }
        A::AcceptOffer | A::DeclineOffer => Portal(Provider, Assign),
        A::RotatePartnerId => Fresh(Provider, Assign),
        A::ReadRequest | A::ReadGrant | A::ReadHistory | A::ReadEvents => Portal(Either, Audit),
        A::ReadWebhooks | A::ReadNotices => Portal(Either, Audit),
        // Only the customer's hand: neither the builder's directory nor the partner.
        A::RestoreMembership => Fresh(Customer, Manage),
        // Who adds one takes the organisation's part of the log away with it.
        A::ManageWebhooks => Fresh(Either, Manage),
        A::ReadAssignments => Portal(Either, Audit),
        A::CloseSession => Needs::OwnerOrSession,
        A::Evaluate | A::KeepStream => Key(DecideKey),
    }
}

/// Whether `caller` may do `action` to `thing` at `now`.
///
/// # Errors
/// The refusal that the caller is told.
pub fn check(
    state: &State,
    caller: &Caller,
    action: Action,
    thing: Thing,
    now: Instant,
) -> Result<(), Refusal> {
    let needs = needs(action);
    match caller.principal {
        Principal::System | Principal::Anonymous => Err(Refusal::NotFound),
        Principal::PartnerSession(id) => match (needs, state.sessions.get(id)) {
            (Needs::OwnerOrSession, Some(s)) if Some(s.person) == thing.owner => Ok(()),
            _ => Err(Refusal::PartnerSession),
        },
        Principal::Key(id) => {
            let usage = state.keys.get(id).filter(|k| !k.retired).map(|k| k.usage);
            let owned = thing.customer.or(thing.provider).is_some() || thing.owner.is_some();
            match (needs, usage) {
                (_, None) => Err(Refusal::CallerRevoked),
                // An application's key has no business with anybody's things: they are not there.
                (needs, Some(KeyUse::Decide)) if owned && needs != Needs::Key(KeyUse::Decide) => {
                    Err(Refusal::NotFound)
                }
                (Needs::Key(u) | Needs::KeyOr(u, _) | Needs::KeyOrMember(u), Some(usage))
                    if u == usage =>
                {
                    Ok(())
                }
                (Needs::Key(u) | Needs::KeyOr(u, _) | Needs::KeyOrMember(u), Some(_)) => {
                    Err(Refusal::Forbidden(key_name(u)))
                }
                _ => Err(Refusal::Forbidden(
                    "a person's own sign-in; a key decides nothing for anybody",
                )),
            }
        }
        Principal::Person { person, sign_in } => match needs {
            Needs::Key(usage) => {
                // Without a tie to the thing, even "you need a key" would say that it is there.
                if thing.customer.or(thing.provider).is_some() {
                    membership(state, person, Side::Either, thing)?;
                }
                Err(Refusal::Forbidden(key_name(usage)))
            }
            Needs::Owner | Needs::OwnerOrSession if thing.owner == Some(person) => Ok(()),
            Needs::FreshOwner if thing.owner == Some(person) => fresh(state, sign_in, now),
            Needs::Owner | Needs::FreshOwner | Needs::OwnerOrSession => Err(Refusal::NotFound),
            Needs::KeyOrMember(_) => membership(state, person, Side::Either, thing).map(|_| ()),
            Needs::KeyOr(_, permission) => portal(state, person, Side::Either, thing, permission),
            Needs::Portal(side, permission) => portal(state, person, side, thing, permission),
            Needs::Fresh(side, permission) => {
                portal(state, person, side, thing, permission)?;
                fresh(state, sign_in, now)
            }
        },
    }
}

fn fresh(state: &State, sign_in: SignInId, now: Instant) -> Result<(), Refusal> {
    let signed_in = state.sign_ins.get(sign_in).map_or(Instant(i64::MIN), |s| s.at);
    if now.since(signed_in) < FRESH { Ok(()) } else { Err(Refusal::FreshSignIn) }
}

fn key_name(usage: KeyUse) -> &'static str {
    match usage {
        KeyUse::Provision => "a platform key for provision",
        KeyUse::Decide => "an application key for decide",
        KeyUse::Operate => "a platform key for operate",
    }
}

/// The active memberships that a person has on a side; the other side's count only to tell
/// "not for you" from "not there".
fn membership(
    state: &State,
    person: PersonId,
    side: Side,
    thing: Thing,
) -> Result<Vec<OrganisationId>, Refusal> {
    let member = |o: &OrganisationId| state.members.contains_key(&(*o, person));
    let both: Vec<OrganisationId> =
        thing.customer.into_iter().chain(thing.provider).filter(member).collect();
    if both.is_empty() {
        return Err(Refusal::NotFound);
    }
    let right = |o: &OrganisationId| match side {
        Side::Customer => thing.customer == Some(*o),
        Side::Provider => thing.provider == Some(*o),
        Side::Either => true,
    };
    let on_side: Vec<OrganisationId> = both.into_iter().filter(right).collect();
    let active: Vec<OrganisationId> =
        on_side.iter().copied().filter(|o| state.active_member(*o, person).is_some()).collect();
    if active.is_empty() && !on_side.is_empty() {
        return Err(Refusal::NotActive("membership"));
    }
    Ok(active)
}

fn portal(
    state: &State,
    person: PersonId,
    side: Side,
    thing: Thing,
    permission: PortalPermission,
) -> Result<(), Refusal> {
    let holds = membership(state, person, side, thing)?
        .into_iter()
        .filter_map(|o| state.active_member(o, person))
        .any(|m| m.portal.is_some_and(|p| p.holds(permission)));
    if holds { Ok(()) } else { Err(Refusal::Forbidden(permission.needed())) }
}

/// [`check`] for a request, which it returns.
///
/// # Errors
/// As [`check`].
pub fn check_request<'s>(
    state: &'s State,
    caller: &Caller,
    action: Action,
    id: RequestId,
    now: Instant,
) -> Result<&'s Request, Refusal> {
    let request = state.requests.get(id).ok_or(Refusal::NotFound)?;
    check(
        state,
        caller,
        action,
        Thing::between(request.customer, request.provider.organisation),
        now,
    )?;
    Ok(request)
}

/// [`check`] for a grant, which it returns.
///
/// # Errors
/// As [`check`].
pub fn check_grant<'s>(
    state: &'s State,
    caller: &Caller,
    action: Action,
    id: GrantId,
    now: Instant,
) -> Result<&'s Grant, Refusal> {
    let grant = state.grants.get(id).ok_or(Refusal::NotFound)?;
    let thing = Thing::between(grant.customer.organisation, grant.provider.organisation);
    check(state, caller, action, thing, now)?;
    Ok(grant)
}

/// Whether what the caller showed at the door still counts at the head of the log.
///
/// # Errors
/// [`Refusal::CallerRevoked`].
pub fn authentic(state: &State, caller: &Caller, now: Instant) -> Result<(), Refusal> {
    let counts = match caller.principal {
        Principal::System | Principal::Anonymous => true,
        Principal::Key(id) => {
            let halted = state.halt_on(HaltTarget::Key(id)).is_some();
            !halted && state.keys.get(id).is_some_and(|k| !k.retired)
        }
        Principal::PartnerSession(id) => state.sessions.get(id).is_some_and(|s| s.is_active(now)),
        Principal::Person { person, sign_in } => state.sign_ins.get(sign_in).is_some_and(|s| {
            let epoch = state.people.get(person).map(|p| p.auth_epoch);
            let halted = state.halt_on(HaltTarget::Person(person)).is_some();
            s.person == person && now < s.until && Some(s.auth_epoch) == epoch && !halted
        }),
    };
    if counts { Ok(()) } else { Err(Refusal::CallerRevoked) }
}

/// Only Comity itself.
pub(crate) fn system(caller: &Caller) -> Result<(), Refusal> {
    if caller.principal == Principal::System { Ok(()) } else { Err(Refusal::NotFound) }
}
