//! What each event is called outside: in the log, in the feed and in what is pushed.

use crate::event::Event;

/// Writes the list of names down once.
macro_rules! names {
    ($($event:ident => $name:literal,)*) => {
        /// The names of all events.
        pub const ALL: &[&str] = &[$($name),*];

        impl Event {
            /// Its name, as it stands in the log.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$event { .. } => $name,)*
                }
            }
        }
    };
}

names! {
    ApplicationDefined => "application_defined",
    KeyMade => "key_made",
    FirstRunOffered => "first_run_offered",
    KeyRetired => "key_retired",
    PolicySet => "policy_set",
    LevelDefined => "level_defined",
    OrganisationMade => "organisation_made",
    OrganisationRenamed => "organisation_renamed",
    OrganisationStanding => "organisation_standing",
    CustomerIdSet => "customer_id_set",
    PartnerIdSet => "partner_id_set",
    SettingsChanged => "settings_changed",
    UnitMade => "unit_made",
    UnitRenamed => "unit_renamed",
    UnitStanding => "unit_standing",
    AccountMade => "account_made",
    AccountRenamed => "account_renamed",
    AccountLinked => "account_linked",
    AccountRemoved => "account_removed",
    RoleMade => "role_made",
    RoleChanged => "role_changed",
    RoleDeleted => "role_deleted",
    PersonMade => "person_made",
    PersonRenamed => "person_renamed",
    EmailVerified => "email_verified",
    MemberJoined => "member_joined",
    MemberChanged => "member_changed",
    MemberStanding => "member_standing",
    MemberRolesSet => "member_roles_set",
    MembershipSuperseded => "membership_superseded",
    MembershipRestored => "membership_restored",
    MemberLeft => "member_left",
    EnrolmentMade => "enrolment_made",
    PasswordSet => "password_set",
    SignedIn => "signed_in",
    SignedOut => "signed_out",
    SignedOutEverywhere => "signed_out_everywhere",
    RequestAsked => "request_asked",
    RequestAddressed => "request_addressed",
    RequestCancelled => "request_cancelled",
    CancellationNoted => "cancellation_noted",
    RequestDenied => "request_denied",
    DenialNoted => "denial_noted",
    RequestApproved => "request_approved",
    OfferMade => "offer_made",
    OfferAccepted => "offer_accepted",
    GrantMade => "grant_made",
    GrantConfirmed => "grant_confirmed",
    GrantAmended => "grant_amended",
    GrantNarrowed => "grant_narrowed",
    GrantEnded => "grant_ended",
    GrantUnattended => "grant_unattended",
    Assigned => "assigned",
    AssignmentTrimmed => "assignment_trimmed",
    AssignmentSuspended => "assignment_suspended",
    AssignmentEnded => "assignment_ended",
    AssignedMany => "assigned_many",
    UnassignedMany => "unassigned_many",
    AssignmentsTrimmed => "assignments_trimmed",
    AutoSet => "auto_set",
    AutoTrimmed => "auto_trimmed",
    AutoSuspended => "auto_suspended",
    AutoLeftOut => "auto_left_out",
    AutoCleared => "auto_cleared",
    SessionStarted => "session_started",
    SessionShortened => "session_shortened",
    SessionEnded => "session_ended",
    LockPlaced => "lock_placed",
    LockLifted => "lock_lifted",
    WordsErased => "words_erased",
    Restored => "restored",
    Halted => "halted",
    HaltNoted => "halt_noted",
    HaltLifted => "halt_lifted",
    ExpiryNoted => "expiry_noted",
    CallsSealed => "calls_sealed",
    ClientKeysSet => "client_keys_set",
    SigningKeyMade => "signing_key_made",
    SigningKeyCurrent => "signing_key_current",
    SigningKeyRetired => "signing_key_retired",
    WebhookMade => "webhook_made",
    WebhookChanged => "webhook_changed",
    WebhookStanding => "webhook_standing",
    WebhookSecretRotated => "webhook_secret_rotated",
    WebhookTested => "webhook_tested",
    WebhookRedelivered => "webhook_redelivered",
    WebhookRemoved => "webhook_removed",
    StreamMade => "stream_made",
    StreamChanged => "stream_changed",
    StreamStanding => "stream_standing",
    StreamStopped => "stream_stopped",
    StreamVerified => "stream_verified",
    StreamRemoved => "stream_removed",
    TotpSet => "totp_set",
    TotpRemoved => "totp_removed",
    RecoveryCodesMade => "recovery_codes_made",
    PasskeyAdded => "passkey_added",
    PasskeyRenamed => "passkey_renamed",
    PasskeyRemoved => "passkey_removed",
    FactorsReset => "factors_reset",
    ExternalJoined => "external_joined",
    InvitationMade => "invitation_made",
    InvitationResent => "invitation_resent",
    InvitationChanged => "invitation_changed",
    InvitationHeld => "invitation_held",
    InvitationApproved => "invitation_approved",
    InvitationRegistered => "invitation_registered",
    InvitationAccepted => "invitation_accepted",
    InvitationDeclined => "invitation_declined",
    InvitationCancelled => "invitation_cancelled",
    AddressSuppressed => "address_suppressed",
}

/// The name as it stands here, if it is one.
#[must_use]
pub fn known(name: &str) -> Option<&'static str> {
    ALL.iter().find(|n| **n == name).copied()
}
