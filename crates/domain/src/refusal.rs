//! The closed list of reasons for "no", each with its stable code and a sentence that helps.
//!
//! [`Refusal`] answers a command, [`Reason`] answers a decision. A refusal is a value: nothing was
//! changed, and the same command may be right a moment later. "Broken" is never a refusal.

use serde::{Deserialize, Serialize};

use crate::ids::GrantId;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not there, or not yours: the two look the same.
    NotFound,
    /// You can see it, but this is for somebody else to do.
    Forbidden(&'static str),
    /// A partner session was shown where a person's own sign-in is needed.
    PartnerSession,
    /// The sign-in is older than this act allows.
    FreshSignIn,
    /// The caller has a second factor, and has signed in without it.
    StrongerSignIn,
    /// The caller's credential was withdrawn after it was shown.
    CallerRevoked,
    /// A field is wrong.
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// It is no longer in a state in which this can be done.
    WrongState(&'static str),
    /// The summary that the approver saw is not what would be given now.
    StaleSummary,
    /// Someone changed it since the version that the caller saw.
    VersionConflict,
    /// Two may change it, and the caller did not say which version they saw.
    VersionNeeded,
    /// The key of this command was another command's.
    KeyReused,
    /// It was carried out, and the secret of its answer cannot be shown again: how to go on.
    AlreadyDone(String),
    /// More would be given than was asked, or than the grant allows.
    Widening(&'static str),
    /// The same person may not stand on both sides.
    FourEyes,
    /// There is a pending request of this partner already.
    AlreadyPending,
    /// Too many requests in a day, or again and again after denials or taking back.
    AskedTooOften,
    /// Too many offers of this customer wait for an answer.
    TooManyOffers,
    /// The customer lets nobody from outside in by this grant.
    ExternalNotAllowed,
    /// The address is invited to this grant already.
    AlreadyInvited,
    /// Too many invitations within a day, or one sent too often.
    TooManyInvitations,
    /// The same organisation cannot be both sides.
    SameOrganisation,
    /// A removal would leave a live grant without anybody.
    LastUser,
    /// Other accounts are linked to those that are named, and the caller did not take them along.
    LinkedAccounts,
    /// All members are on the grant by a rule, so nobody is added, changed or removed alone.
    AutoAssignEnabled,
    /// A removal would leave an organisation without an administrator.
    LastAdmin,
    /// A lock stands in the way.
    Locked,
    /// The organisation, unit or member is suspended or closed.
    NotActive(&'static str),
    /// There is nothing that this person may enter here.
    NoAccess,
    /// Several grants fit: choose one.
    GrantRequired(Vec<GrantId>),
    /// A restore put the grant back, and its customer has not confirmed it.
    Unconfirmed,
    /// This mode is not given.
    ModeNotGranted,
    /// Tokens that services check offline are not given.
    JwtNotGranted,
    /// Too many sessions at once.
    SessionExists,
    /// A name, code or address is taken.
    Taken(&'static str),
    /// It cannot be erased yet.
    InUse(&'static str),
    /// A lock keeps it as evidence.
    Evidence,
}

/// What kind of "no" it is; each door has its own word for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// As if it were not there.
    Missing,
    /// Not for this caller.
    Forbidden,
    /// The caller must sign in again.
    Unauthenticated,
    /// The input is wrong.
    Invalid,
    /// The state is in the way.
    Conflict,
    /// The caller's version is old.
    Precondition,
    /// The caller's version was not said.
    Unconditional,
}

impl Refusal {
    /// A field is wrong.
    pub fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }

    /// The stable code: part of the API, never renamed.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Forbidden(_) => "forbidden",
            Self::PartnerSession => "partner_session_refused",
            Self::FreshSignIn => "fresh_sign_in_required",
            Self::StrongerSignIn => "stronger_sign_in_required",
            Self::CallerRevoked => "caller_revoked",
            Self::Invalid { .. } => "invalid",
            Self::WrongState(_) => "wrong_state",
            Self::StaleSummary => "stale_summary",
            Self::VersionConflict => "version_conflict",
            Self::VersionNeeded => "if_match_required",
            Self::KeyReused => "idempotency_key_reused",
            Self::AlreadyDone(_) => "already_done",
            Self::Widening(_) => "widening",
            Self::FourEyes => "four_eyes",
            Self::AlreadyPending => "already_pending",
            Self::AskedTooOften => "asked_too_often",
            Self::TooManyOffers => "too_many_offers",
            Self::ExternalNotAllowed => "external_not_allowed",
            Self::AlreadyInvited => "already_invited",
            Self::TooManyInvitations => "too_many_invitations",
            Self::SameOrganisation => "same_organisation",
            Self::LastUser => "last_user",
            Self::LinkedAccounts => "linked_accounts",
            Self::AutoAssignEnabled => "auto_assign_enabled",
            Self::LastAdmin => "last_admin",
            Self::Locked => "locked",
            Self::NotActive(_) => "not_active",
            Self::NoAccess => "no_access",
            Self::GrantRequired(_) => "grant_required",
            Self::Unconfirmed => "unconfirmed",
            Self::ModeNotGranted => "mode_not_granted",
            Self::JwtNotGranted => "jwt_not_granted",
            Self::SessionExists => "session_exists",
            Self::Taken(_) => "taken",
            Self::InUse(_) => "in_use",
            Self::Evidence => "evidence",
        }
    }

    /// What kind of "no" it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound => Class::Missing,
            Self::CallerRevoked | Self::FreshSignIn | Self::StrongerSignIn => {
                Class::Unauthenticated
            }
            Self::Forbidden(_) | Self::PartnerSession | Self::FourEyes | Self::NoAccess => {
                Class::Forbidden
            }
            Self::Invalid { .. }
            | Self::GrantRequired(_)
            | Self::SameOrganisation
            | Self::KeyReused => Class::Invalid,
            Self::VersionConflict => Class::Precondition,
            Self::VersionNeeded => Class::Unconditional,
            Self::WrongState(_)
            | Self::StaleSummary
            | Self::AlreadyDone(_)
            | Self::Widening(_)
            | Self::AlreadyPending
            | Self::AskedTooOften
            | Self::TooManyOffers
            | Self::ExternalNotAllowed
            | Self::AlreadyInvited
            | Self::TooManyInvitations
            | Self::LastUser
            | Self::LinkedAccounts
            | Self::AutoAssignEnabled
            | Self::LastAdmin
            | Self::Locked
            | Self::NotActive(_)
            | Self::Unconfirmed
            | Self::ModeNotGranted
            | Self::JwtNotGranted
            | Self::SessionExists
            | Self::Taken(_)
            | Self::InUse(_)
            | Self::Evidence => Class::Conflict,
        }
    }

    /// One sentence: what is wrong, and what to do.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::NotFound => "There is nothing here that you may see.".into(),
            Self::Forbidden(needs) => format!("This needs {needs}."),
            Self::PartnerSession => {
                "A partner session cannot do this; use your own sign-in.".into()
            }
            Self::FreshSignIn => {
                "Sign in again: this needs a sign-in of the last five minutes.".into()
            }
            Self::StrongerSignIn => {
                "Sign in again with your second factor: this changes how you sign in.".into()
            }
            Self::CallerRevoked => "This sign-in or key was withdrawn; sign in again.".into(),
            Self::Invalid { field, why } => format!("{field} {why}."),
            Self::WrongState(state) => format!("It is {state}; reload it to see what can be done."),
            Self::StaleSummary => {
                "What would be given has changed since you looked, or these are not the terms of that \
                 summary; read the summary of these terms and send its hash."
                    .into()
            }
            Self::VersionConflict => {
                "Someone changed it since you looked; reload it and try again.".into()
            }
            Self::VersionNeeded => {
                "Send If-Match with the ETag of what you read: somebody else may have changed it.".into()
            }
            Self::KeyReused => {
                "This Idempotency-Key was sent with something else; make a new one for each command."
                    .into()
            }
            Self::AlreadyDone(how) => {
                format!("It was done the first time, and its secret is shown once. {how}")
            }
            Self::Widening(what) => {
                format!("{what} would be wider than what was asked or given; only narrowing is possible here.")
            }
            Self::FourEyes => {
                "Somebody else of the customer must decide: who says yes for it must not be, or have been, on the partner's side."
                    .into()
            }
            Self::AlreadyPending => {
                "A request of your organisation is waiting there; cancel it before you ask anew."
                    .into()
            }
            Self::AskedTooOften => {
                "Your organisation asked too often: twenty times within a day, or there three times \
                 within thirty days only to be denied or to take it back. Ask again later."
                    .into()
            }
            Self::TooManyOffers => {
                "Too many of your offers wait for an answer, or were made to this partner within a day; withdraw some, \
                 or offer again tomorrow."
                    .into()
            }
            Self::ExternalNotAllowed => {
                "The customer lets nobody from outside in by this access; ask it to allow that."
                    .into()
            }
            Self::AlreadyInvited => {
                "This address is invited to this access already; send that invitation again, or \
                 cancel it first."
                    .into()
            }
            Self::TooManyInvitations => {
                "Your organisation has invited too often: fifty within a day, one address five times \
                 within a day, or one invitation sent again three times. Invite again tomorrow."
                    .into()
            }
            Self::SameOrganisation => "An organisation cannot let itself in.".into(),
            Self::LastUser => {
                "This would leave the grant without anybody; assign a successor first.".into()
            }
            Self::LinkedAccounts => {
                "Other accounts are linked to these and would be touched too; the summary names them: send its token \
                 for them to go on."
                    .into()
            }
            Self::AutoAssignEnabled => {
                "All members are on this access automatically, so nobody is added, changed or removed alone; \
                 turn \"Automatically add partner users\" off first: everybody keeps access, and can be removed one by one then."
                    .into()
            }
            Self::LastAdmin => {
                "This would leave the organisation without an Admin; name another first.".into()
            }
            Self::Locked => "The customer has locked this access; only the customer unlocks it.".into(),
            Self::NotActive("membership") => {
                "The membership is suspended or closed, or replaced by work for a partner here: enter by Switch \
                 Tenant then."
                    .into()
            }
            Self::NotActive(what) => format!("The {what} is suspended or closed."),
            Self::NoAccess => "There is no grant by which you may enter; ask your Admin.".into(),
            Self::GrantRequired(_) => {
                "Several grants fit; name the one under which you enter.".into()
            }
            Self::Unconfirmed => Reason::Unconfirmed.sentence().into(),
            Self::ModeNotGranted => "The grant does not allow this mode.".into(),
            Self::JwtNotGranted => {
                "The customer did not allow tokens that are checked offline; ask for an opaque one."
                    .into()
            }
            Self::SessionExists => {
                "You have as many sessions here as are allowed at once; end one first.".into()
            }
            Self::Taken(what) => format!("The {what} is taken by another object."),
            Self::InUse(why) => format!("This cannot be erased yet: {why}."),
            Self::Evidence => {
                "A customer has reported this and locked it: it is kept as evidence until the lock is lifted."
                    .into()
            }
        }
    }
}

/// Why a decision was no; or that it was yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Yes.
    Allowed,
    /// No session has this token, or none of this application: the two look the same.
    SessionUnknown,
    /// The session was closed by the partner user.
    SessionClosed,
    /// The session's deadline has passed.
    SessionExpired,
    /// The installation was restored from a copy: what was open before it is over.
    Restored,
    /// The customer ended the session.
    EndedByCustomer,
    /// The customer revoked the grant.
    Revoked,
    /// The grant has ended in another way.
    GrantEnded,
    /// A restore put the grant back, and its customer has not confirmed it.
    Unconfirmed,
    /// The person is no longer assigned, or not with any role or account.
    AssignmentLost,
    /// A lock of the customer covers it.
    Locked,
    /// An organisation, unit or member is suspended or closed.
    Suspended,
    /// The person is no member of the organisation that owns the resource.
    NotAMember,
    /// The resource belongs to another organisation, or is not known.
    WrongResource,
    /// The builder allows nobody to delegate this permission.
    NeverDelegable,
    /// No role of this session permits it.
    NoRole,
    /// The account is not in the grant, or not in the assignment.
    AccountNotInGrant,
    /// The call concerns no account, and only single accounts are given.
    AccountRequired,
    /// The node cannot confirm that what it knows is current: counts as no.
    Stale,
    /// The call cannot be counted durably at the moment: counts as no.
    Busy,
}

impl Reason {
    /// Every reason, in order.
    pub const ALL: [Self; 20] = [
        Self::Allowed,
        Self::SessionUnknown,
        Self::SessionClosed,
        Self::SessionExpired,
        Self::Restored,
        Self::EndedByCustomer,
        Self::Revoked,
        Self::GrantEnded,
        Self::Unconfirmed,
        Self::AssignmentLost,
        Self::Locked,
        Self::Suspended,
        Self::NotAMember,
        Self::WrongResource,
        Self::NeverDelegable,
        Self::NoRole,
        Self::AccountNotInGrant,
        Self::AccountRequired,
        Self::Stale,
        Self::Busy,
    ];

    /// The stable code: part of the API, never renamed.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::SessionUnknown => "session_unknown",
            Self::SessionClosed => "session_closed",
            Self::SessionExpired => "session_expired",
            Self::Restored => "restored",
            Self::EndedByCustomer => "ended_by_customer",
            Self::Revoked => "revoked",
            Self::GrantEnded => "grant_ended",
            Self::Unconfirmed => "unconfirmed",
            Self::AssignmentLost => "assignment_lost",
            Self::Locked => "locked",
            Self::Suspended => "suspended",
            Self::NotAMember => "not_a_member",
            Self::WrongResource => "wrong_resource",
            Self::NeverDelegable => "never_delegable",
            Self::NoRole => "no_role",
            Self::AccountNotInGrant => "account_not_in_grant",
            Self::AccountRequired => "account_required",
            Self::Stale => "stale",
            Self::Busy => "busy",
        }
    }

    /// One sentence for the person who was refused.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed.",
            Self::SessionUnknown => "This token belongs to no session; enter the customer again.",
            Self::SessionClosed => "This session was closed; enter the customer again.",
            Self::SessionExpired => "This session has run out; enter the customer again.",
            Self::Restored => {
                "The installation was restored from a copy; sign in and enter the customer again."
            }
            Self::EndedByCustomer => "The customer ended this session.",
            Self::Revoked => "The customer has revoked the access; ask for it anew.",
            Self::GrantEnded => "The access has ended; ask for it anew.",
            Self::Unconfirmed => {
                "The installation was restored from a copy; the customer has to confirm this access."
            }
            Self::AssignmentLost => {
                "What you are given here no longer covers this session; enter again or ask your Admin."
            }
            Self::Locked => "The customer locked this access; once it is unlocked, enter again.",
            Self::Suspended => {
                "One of the organisations, its unit or your membership is suspended."
            }
            Self::NotAMember => {
                "This person is no member of the organisation; a partner asks by the session."
            }
            Self::WrongResource => "This resource is not the customer's, or is not known.",
            Self::NeverDelegable => "No partner may do this, whatever its roles.",
            Self::NoRole => "None of your roles here permits this.",
            Self::AccountNotInGrant => "This account is not among those you were given.",
            Self::AccountRequired => "You were given single accounts; name one of them.",
            Self::Stale => "This node is not up to date; try again in a moment.",
            Self::Busy => "The call cannot be counted at the moment; try again.",
        }
    }
}
