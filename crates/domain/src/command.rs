//! The closed list of what can be asked of Comity, and who asks.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::application::{KeyUse, Policy};
use crate::auto::AutoSpec;
use crate::bulk::{Deed, Many};
use crate::consent::Terms;
use crate::event::{Event, Row};
use crate::factor::{FreshPasskey, Proof};
use crate::first_run::Claim;
use crate::grant::{Amending, Narrowing};
use crate::halt::HaltTarget;
use crate::ids::{
    ApplicationId, Digest32, GrantId, HaltId, InvitationId, KeyId, LockId, OrganisationId,
    PasskeyId, PersonId, RequestId, RoleId, SessionId, SignInId, StreamId, WebhookId,
};
use crate::lock::LockTarget;
use crate::organisation::{Accounts, Party, Settings, Standing};
use crate::permission::Permissions;
use crate::person::PortalRole;
use crate::role::{Level, Mode, Modes};
use crate::signing::{FreshSigningKey, PublicKey};
use crate::stream::{StreamSpec, StreamStanding, StreamStop};
use crate::text::Subject;
use crate::time::{Days, Instant};
use crate::version::Seen;
use crate::webhook::{Redelivery, Telling};

/// Who is calling, as the door found out. The kernel judges it against the state at the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// Through which door.
    pub door: Door,
}

/// Who can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// A person by their own sign-in.
    Person {
        /// Who.
        person: PersonId,
        /// By which sign-in.
        sign_in: SignInId,
    },
    /// A program by its key.
    Key(KeyId),
    /// A person inside a customer, by a partner session: may do nothing here but end it.
    PartnerSession(SessionId),
    /// Somebody who proves themselves in this very call: sign-in, enrolment.
    Anonymous,
    /// Comity itself: first start, timers, the books.
    System,
}

/// The doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The REST API.
    Api,
    /// The token endpoint.
    Token,
    /// The console.
    Console,
    /// The command line, and the demo's own seeding.
    Cli,
    /// No door: the process itself.
    Inside,
}

impl Caller {
    /// Comity itself.
    #[must_use]
    pub fn system() -> Self {
        Self { principal: Principal::System, door: Door::Inside }
    }

    /// The person, if a person calls by their own sign-in.
    #[must_use]
    pub fn person(&self) -> Option<PersonId> {
        match self.principal {
            Principal::Person { person, .. } => Some(person),
            _ => None,
        }
    }
}

/// A command that its caller may send again without knowing what became of it, and that is carried
/// out once: what is kept of it beside its row, and what a second one is compared with. No word of
/// what was sent is in it: the key and what was asked are codes under the installation's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Once {
    /// Whose key it is: another caller's same key is another key (T59).
    pub principal: String,
    /// The key.
    pub key: Digest32,
    /// The method and the route as the door's table names it.
    pub route: String,
    /// The path, the query and the body.
    pub body: Digest32,
}

/// A command as it is asked: with what its caller says about sending it again, and about what they
/// saw before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What is to be done.
    pub command: Command,
    /// Once, however often it is sent.
    pub once: Option<Once>,
    /// Only if what it changes is still what the caller saw.
    pub seen: Option<Seen>,
}

impl From<Command> for Asked {
    fn from(command: Command) -> Self {
        Self { command, once: None, seen: None }
    }
}

/// Something sealed under the installation's key outside the domain; opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

/// A fresh secret of an endpoint: its digest for the log, the secret itself only sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshSecret {
    /// What the log knows of it.
    pub digest: Digest32,
    /// The secret, to sign with.
    pub sealed: Sealed,
}

/// What a webhook is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSpec {
    /// Where it is.
    pub url: String,
    /// What it is for.
    pub description: Option<String>,
    /// The names of the events that it is told of; all without any.
    pub kinds: Option<Vec<String>>,
}

/// A fresh customer ID: its digest for the log, the code itself only sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshCode {
    /// What the log keeps.
    pub digest: Digest32,
    /// What the customer's page shows again.
    pub sealed: Sealed,
}

/// What a partner asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The asking organisation.
    pub provider: OrganisationId,
    /// Only this unit of it, by the builder's identifier.
    pub unit: Option<String>,
    /// The digest of the customer ID.
    pub code: Digest32,
    /// The level's code.
    pub level: String,
    /// The wished modes.
    pub modes: Modes,
    /// The wished duration.
    pub days: Days,
    /// Role codes known from elsewhere; empty leaves the choice to the approver.
    pub roles: Vec<String>,
    /// Account identifiers known from elsewhere; empty asks for all.
    pub accounts: Vec<String>,
    /// Why.
    pub reason: String,
    /// A ticket's reference.
    pub ticket: Option<String>,
}

/// How a customer names a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partner {
    /// By the digest of a partner ID.
    Code(Digest32),
    /// As a side that it knows from a request or a grant.
    Known(Party),
}

/// What a customer offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The offering organisation.
    pub customer: OrganisationId,
    /// To whom.
    pub partner: Partner,
    /// The level's code.
    pub level: String,
    /// What.
    pub terms: Terms,
    /// Why.
    pub reason: String,
    /// A ticket's reference.
    pub ticket: Option<String>,
    /// The hash of the summary that was shown.
    pub summary: Digest32,
}

/// What a provider gives to one of its people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentSpec {
    /// Whom.
    pub person: PersonId,
    /// Which of the grant's roles; at least one.
    pub roles: Vec<RoleId>,
    /// Which of its accounts.
    pub accounts: Accounts,
    /// When it ends, if before the grant.
    pub ends_at: Option<Instant>,
}

/// What an invitation is to give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inviting {
    /// Which of the grant's roles; at least one.
    pub roles: Vec<RoleId>,
    /// Which of its accounts.
    pub accounts: Accounts,
    /// When it ends, if before the grant.
    pub ends_at: Option<Instant>,
}

/// Somebody from outside who is to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// To which grant.
    pub grant: GrantId,
    /// The address.
    pub email: String,
    /// The address in its one form under the installation's key; made where the key is.
    pub recipient: Digest32,
    /// What is given.
    pub giving: Inviting,
    /// The digest of the link's token.
    pub token: Digest32,
    /// The token, for the mail alone.
    pub sealed: Sealed,
}

/// What a person asks on entering a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enter {
    /// The customer.
    pub customer: OrganisationId,
    /// The application that the token is for, by its audience.
    pub audience: String,
    /// Under which grant; needed only where several fit.
    pub grant: Option<GrantId>,
    /// As whom.
    pub mode: Mode,
    /// Why; required for `act_as`.
    pub reason: Option<String>,
    /// Only so much of what the grant permits; `None` for all of it.
    pub scope: Option<Permissions>,
    /// Whether the token shall be one that services check offline; the grant has to allow that.
    pub jwt: bool,
    /// The digest of the session's token.
    pub token: Digest32,
}

/// A member as the builder knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutMember {
    /// The organisation.
    pub organisation: OrganisationId,
    /// The builder's identifier of the member.
    pub external: String,
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
    /// Whether the builder has proven it.
    pub email_verified: bool,
    /// The unit by the builder's identifier; the default unit if none.
    pub unit: Option<String>,
    /// What the member may do inside Comity.
    pub portal: Option<PortalRole>,
    /// Active or suspended.
    pub active: bool,
    /// The codes of the organisation's own roles that the member holds; `None` leaves them as they
    /// are, so that a directory that knows no roles does not take those that an Admin gave.
    pub roles: Option<Vec<String>>,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the words of the nouns' own files
pub enum Command {
    // -- the platform ---------------------------------------------------------------------------
    /// Define an application, or change it.
    PutApplication {
        code: String,
        audience: String,
        permissions: Permissions,
        launch_url: Option<String>,
    },
    /// Make a key. The secret's digest comes from the door.
    MakeKey { usage: KeyUse, application: Option<ApplicationId>, digest: Digest32 },
    /// Retire a key.
    RetireKey { key: KeyId },
    /// Set by which keys an application proves itself; none for only by its secrets.
    SetClientKeys { application: ApplicationId, keys: Vec<PublicKey> },
    /// Let the next signing key sign from now on.
    RotateSigningKeys { fresh: FreshSigningKey },
    /// A signing key may be in foreign hands.
    CompromiseSigningKey { kid: Digest32, fresh: FreshSigningKey },
    /// Set the platform's policy.
    SetPolicy { policy: Policy },
    /// Define a level, or a new version of it.
    PutLevel { code: String, level: Level },
    /// Suspend, bring back or close an organisation.
    SetStanding { organisation: OrganisationId, standing: Standing },
    // -- provisioning ---------------------------------------------------------------------------
    /// Make an organisation, or rename it.
    PutOrganisation { external: String, name: String, code: FreshCode },
    /// Make a unit, or rename, suspend or bring it back.
    PutUnit { organisation: OrganisationId, external: String, name: String, active: bool },
    /// Make an account, or rename it.
    PutAccount {
        organisation: OrganisationId,
        external: String,
        name: String,
        unit: Option<String>,
    },
    /// Link an account with those of the same code, or with none.
    LinkAccount { organisation: OrganisationId, external: String, group: Option<String> },
    /// Remove an account.
    RemoveAccount { organisation: OrganisationId, external: String },
    /// Define a role, or a new version of it.
    PutRole { organisation: OrganisationId, code: String, name: String, permissions: Permissions },
    /// Delete a role.
    DeleteRole { organisation: OrganisationId, code: String },
    /// Make a member, or change one.
    PutMember(PutMember),
    /// Take a member out of the organisation.
    RemoveMember { organisation: OrganisationId, external: String },
    /// End everything that a person may enter through an organisation, and its own tenant.
    EndAccess { organisation: OrganisationId, person: PersonId },
    /// Take a person back as a member whose membership an assignment superseded.
    RestoreMembership { organisation: OrganisationId, external: String },
    /// Make a token by which a member sets a first password.
    MakeEnrolment { organisation: OrganisationId, external: String, digest: Digest32 },
    /// Take away everything but the password of a member who has lost their devices.
    ResetFactors { organisation: OrganisationId, external: String },
    // -- people ---------------------------------------------------------------------------------
    /// Set a first password with an enrolment token.
    Enrol { token: Digest32, password_hash: String },
    /// A person has proven who they are; the door checked the proof.
    SignIn { person: PersonId, auth_epoch: u32, digest: Digest32, proof: Proof },
    /// The caller has proven it anew: a fresh sign-in takes the place of theirs.
    StepUp { digest: Digest32, proof: Proof },
    /// End the caller's own sign-in.
    SignOut,
    /// End every sign-in of the caller.
    SignOutEverywhere,
    /// End one of the caller's sign-ins.
    EndSignIn { sign_in: SignInId },
    /// Set another password. `proven` is whether the door checked the old one; `digest` is of the
    /// sign-in by which the caller goes on.
    ChangePassword { proven: bool, password_hash: String, digest: Digest32 },
    /// Set up codes of an app, the first of which the door checked, with recovery codes.
    SetTotp { secret: Digest32, sealed: Sealed, step: u64, codes: Vec<Digest32> },
    /// Take them away.
    RemoveTotp,
    /// New recovery codes.
    MakeRecoveryCodes { codes: Vec<Digest32> },
    /// Add a passkey that the door saw made.
    AddPasskey(FreshPasskey),
    /// Call a passkey something else.
    RenamePasskey { passkey: PasskeyId, name: String },
    /// Take a passkey away.
    RemovePasskey { passkey: PasskeyId },
    // -- the customer's own affairs -------------------------------------------------------------
    /// A new customer ID; the old one finds nothing from now on.
    RotateCustomerId { organisation: OrganisationId, code: FreshCode },
    /// A partner ID of an organisation, or of one unit of it; an old one finds nothing from now on.
    RotatePartnerId { organisation: OrganisationId, unit: Option<String>, code: FreshCode },
    /// Change the settings; `version` is the one that the caller saw, where it is not said beside
    /// the command ([`Asked::seen`]).
    ChangeSettings { organisation: OrganisationId, settings: Settings, version: Option<u32> },
    // -- requests -------------------------------------------------------------------------------
    /// May we come in?
    Ask(Ask),
    /// Come in, if you like.
    MakeOffer(Box<Offer>),
    /// Accept an offer.
    Accept { request: RequestId },
    /// Decline an offer.
    Decline { request: RequestId, reason: Option<String>, message: Option<String> },
    /// Take a request or an offer back.
    CancelRequest { request: RequestId },
    /// Approve with these terms, as shown by the summary of this hash.
    Approve { request: RequestId, terms: Terms, summary: Digest32 },
    /// Deny.
    Deny { request: RequestId, reason: Option<String>, message: Option<String> },
    // -- grants ---------------------------------------------------------------------------------
    /// The customer says yes again to grants that a restore put back.
    Confirm { customer: Option<OrganisationId>, grants: BTreeSet<GrantId> },
    /// The customer ends a grant.
    Revoke { grant: GrantId },
    /// The customer makes something else of a grant, as shown by the summary of this hash.
    Amend { grant: GrantId, amending: Amending, summary: Digest32 },
    /// The customer gives less.
    Narrow { grant: GrantId, narrowing: Narrowing, version: Option<u32> },
    /// The provider gives a grant up.
    GiveUp { grant: GrantId },
    // -- assignments ----------------------------------------------------------------------------
    /// Put a person on a grant, or change what they have there.
    Assign { grant: GrantId, spec: AssignmentSpec },
    /// Take a person off a grant, naming who follows if nobody else is left.
    Unassign { grant: GrantId, person: PersonId, successor: Option<AssignmentSpec> },
    /// Put exactly these people on a grant, and take the others off it.
    SetAssignments { grant: GrantId, people: Vec<AssignmentSpec> },
    /// Give accounts of a grant to many, or take them from many, as the plan of this token says.
    /// Where other accounts are linked to those that are named, `linked` is the token by which the
    /// caller takes them along.
    AssignMany { grant: GrantId, many: Box<Many>, token: Digest32, linked: Option<Digest32> },
    /// Turn *Automatically add partner users* on, change it, or turn it off; `token` is the
    /// preview's.
    SetAuto { grant: GrantId, auto: Option<AutoSpec>, token: Digest32 },
    // -- invitations ------------------------------------------------------------------------------
    /// Invite somebody from outside to a grant.
    Invite(Box<Invite>),
    /// Send an invitation again with another link.
    ResendInvitation { grant: GrantId, invitation: InvitationId, token: Digest32, sealed: Sealed },
    /// Give something else by one that waits.
    ChangeInvitation { grant: GrantId, invitation: InvitationId, giving: Inviting },
    /// Take one back.
    CancelInvitation { grant: GrantId, invitation: InvitationId },
    /// Vouch for one whose inviter has gone.
    ApproveInvitation { grant: GrantId, invitation: InvitationId },
    /// The invited person comes in.
    AcceptInvitation { token: Digest32 },
    /// Whoever holds the link says no.
    DeclineInvitation { token: Digest32 },
    /// Make a local account with the invited address.
    RegisterInvited { token: Digest32, name: String, password_hash: String },
    /// Mail nothing to an address any more.
    SuppressAddress { recipient: Digest32 },
    // -- sessions -------------------------------------------------------------------------------
    /// Enter a customer.
    Enter(Enter),
    /// Come home: the partner user closes the own session.
    CloseSession { session: SessionId },
    /// The customer ends a session.
    EndSession { session: SessionId },
    // -- locks ----------------------------------------------------------------------------------
    /// Report and lock.
    Lock { customer: OrganisationId, target: LockTarget, reason: Option<String> },
    /// Unlock.
    Unlock { lock: LockId },
    // -- erasure ----------------------------------------------------------------------------------
    /// Erase every word about somebody or something that is gone.
    EraseWords { subject: Subject },
    // -- halts ----------------------------------------------------------------------------------
    /// Halt what breaks an invariant.
    Halt { target: HaltTarget, invariant: u8 },
    /// The operator lifts a halt.
    LiftHalt { halt: HaltId },
    // -- Comity itself --------------------------------------------------------------------------
    /// Make the link by which a log without a key can be claimed.
    OfferFirstRun { digest: Digest32 },
    /// Claim it with that link.
    ClaimFirstRun(Box<Claim>),
    /// Go on from a restored copy: nothing that opened something before it opens anything now.
    /// `erased` is what was erased since the copy was made. Memberships and passwords are void too,
    /// unless the operator knows that nobody left since and says `keep_people`.
    Restore { fork: u64, erased: Vec<Subject>, keep_people: bool },
    /// Make the signing keys that are missing, and rotate those that have signed for long enough.
    /// `fresh` are as many as that can take: two.
    TendSigningKeys { fresh: Vec<FreshSigningKey> },
    // -- who is told outside ----------------------------------------------------------------------
    /// Name an endpoint. Without an owner it is the platform's.
    MakeWebhook { owner: Option<OrganisationId>, spec: WebhookSpec, secret: FreshSecret },
    /// Change it whole, and turn it on or off.
    ChangeWebhook {
        owner: Option<OrganisationId>,
        webhook: WebhookId,
        spec: WebhookSpec,
        active: bool,
    },
    /// A new secret.
    RotateWebhook { owner: Option<OrganisationId>, webhook: WebhookId, secret: FreshSecret },
    /// Send it a test.
    TestWebhook { owner: Option<OrganisationId>, webhook: WebhookId },
    /// Send something again.
    Redeliver { owner: Option<OrganisationId>, webhook: WebhookId, what: Redelivery },
    /// Remove it.
    RemoveWebhook { owner: Option<OrganisationId>, webhook: WebhookId },
    /// Turn off what takes nothing.
    StopWebhook { webhook: WebhookId, standing: Telling },
    /// Make the caller's event stream.
    MakeStream { spec: StreamSpec },
    /// Change what is given of it.
    ChangeStream { stream: StreamId, spec: StreamSpec },
    /// Turn it on or off, or have what happens kept.
    SetStreamStanding { stream: StreamId, standing: StreamStanding, reason: Option<String> },
    /// Have it told that this is a verification.
    VerifyStream { stream: StreamId, state: Option<String> },
    /// Remove it.
    RemoveStream { stream: StreamId },
    /// Turn off a stream that would not tell everything any more.
    StopStream { stream: StreamId, why: StreamStop },
    /// Note what fell due by the clock.
    NoteDue,
    /// Seal a segment of call records.
    SealCalls { segment: u64, records: u64, digest: Digest32 },
}

impl Command {
    /// The command's name in the log and in metrics.
    #[must_use]
    pub fn kind(&self) -> Arc<str> {
        match self {
            Self::PutApplication { .. } => "put_application",
            Self::MakeKey { .. } => "make_key",
            Self::RetireKey { .. } => "retire_key",
            Self::SetClientKeys { .. } => "set_client_keys",
            Self::RotateSigningKeys { .. } => "rotate_signing_keys",
            Self::CompromiseSigningKey { .. } => "compromise_signing_key",
            Self::TendSigningKeys { .. } => "tend_signing_keys",
            Self::SetPolicy { .. } => "set_policy",
            Self::PutLevel { .. } => "put_level",
            Self::SetStanding { .. } => "set_standing",
            Self::PutOrganisation { .. } => "put_organisation",
            Self::PutUnit { .. } => "put_unit",
            Self::PutAccount { .. } => "put_account",
            Self::LinkAccount { .. } => "link_account",
            Self::RemoveAccount { .. } => "remove_account",
            Self::PutRole { .. } => "put_role",
            Self::DeleteRole { .. } => "delete_role",
            Self::PutMember(_) => "put_member",
            Self::RemoveMember { .. } => "remove_member",
            Self::RestoreMembership { .. } => "restore_membership",
            Self::EndAccess { .. } => "end_access",
            Self::MakeEnrolment { .. } => "make_enrolment",
            Self::ResetFactors { .. } => "reset_factors",
            Self::Enrol { .. } => "enrol",
            Self::SignIn { .. } => "sign_in",
            Self::StepUp { .. } => "step_up",
            Self::SignOut => "sign_out",
            Self::SignOutEverywhere => "sign_out_everywhere",
            Self::EndSignIn { .. } => "end_sign_in",
            Self::ChangePassword { .. } => "change_password",
            Self::SetTotp { .. } => "set_totp",
            Self::RemoveTotp => "remove_totp",
            Self::MakeRecoveryCodes { .. } => "make_recovery_codes",
            Self::AddPasskey(_) => "add_passkey",
            Self::RenamePasskey { .. } => "rename_passkey",
            Self::RemovePasskey { .. } => "remove_passkey",
            Self::RotateCustomerId { .. } => "rotate_customer_id",
            Self::RotatePartnerId { .. } => "rotate_partner_id",
            Self::ChangeSettings { .. } => "change_settings",
            Self::Ask(_) => "ask",
            Self::MakeOffer(_) => "make_offer",
            Self::Accept { .. } => "accept",
            Self::Decline { .. } => "decline",
            Self::CancelRequest { .. } => "cancel_request",
            Self::Approve { .. } => "approve",
            Self::Deny { .. } => "deny",
            Self::Confirm { .. } => "confirm",
            Self::Revoke { .. } => "revoke",
            Self::Amend { .. } => "amend",
            Self::Narrow { .. } => "narrow",
            Self::GiveUp { .. } => "give_up",
            Self::Assign { .. } => "assign",
            Self::Unassign { .. } => "unassign",
            Self::SetAssignments { .. } => "set_assignments",
            Self::AssignMany { many, .. } => match many.deed {
                Deed::Add { .. } => "assign_many",
                Deed::Remove { .. } => "unassign_many",
            },
            Self::SetAuto { .. } => "set_auto",
            Self::Invite(_) => "invite",
            Self::ResendInvitation { .. } => "resend_invitation",
            Self::ChangeInvitation { .. } => "change_invitation",
            Self::CancelInvitation { .. } => "cancel_invitation",
            Self::ApproveInvitation { .. } => "approve_invitation",
            Self::AcceptInvitation { .. } => "accept_invitation",
            Self::DeclineInvitation { .. } => "decline_invitation",
            Self::RegisterInvited { .. } => "register_invited",
            Self::SuppressAddress { .. } => "suppress_address",
            Self::Enter(_) => "enter",
            Self::CloseSession { .. } => "close_session",
            Self::EndSession { .. } => "end_session",
            Self::Lock { .. } => "lock",
            Self::Unlock { .. } => "unlock",
            Self::EraseWords { .. } => "erase_words",
            Self::OfferFirstRun { .. } => "offer_first_run",
            Self::ClaimFirstRun(_) => "claim_first_run",
            Self::Restore { .. } => "restore",
            Self::Halt { .. } => "halt",
            Self::LiftHalt { .. } => "lift_halt",
            Self::MakeWebhook { .. } => "make_webhook",
            Self::ChangeWebhook { .. } => "change_webhook",
            Self::RotateWebhook { .. } => "rotate_webhook",
            Self::TestWebhook { .. } => "test_webhook",
            Self::Redeliver { .. } => "redeliver",
            Self::RemoveWebhook { .. } => "remove_webhook",
            Self::StopWebhook { .. } => "stop_webhook",
            Self::MakeStream { .. } => "make_stream",
            Self::ChangeStream { .. } => "change_stream",
            Self::SetStreamStanding { .. } => "set_stream_standing",
            Self::VerifyStream { .. } => "verify_stream",
            Self::RemoveStream { .. } => "remove_stream",
            Self::StopStream { .. } => "stop_stream",
            Self::NoteDue => "note_due",
            Self::SealCalls { .. } => "seal_calls",
        }
        .into()
    }

    /// How to go on where the first answer held a secret, which nobody can show again. `row` is what
    /// the command did.
    #[must_use]
    pub fn secret_of(&self, row: &Row) -> Option<String> {
        let made = row.events.iter().find_map(|e| match e.event {
            Event::KeyMade { key, .. } => Some(key),
            _ => None,
        });
        match (self, made) {
            (Self::MakeKey { .. }, Some(key)) => {
                Some(format!("The key {key} was made; retire it and make another."))
            }
            (Self::MakeKey { .. }, None) => Some("Retire the key and make another.".into()),
            (Self::MakeEnrolment { .. }, _) => {
                Some("Make another enrolment; the one before it is good for nothing then.".into())
            }
            (Self::RotateCustomerId { .. }, _) => {
                Some("Read the customer ID that is in force.".into())
            }
            (Self::RotatePartnerId { .. }, _) => {
                Some("Read the partner ID that is in force.".into())
            }
            (Self::MakeWebhook { .. }, _) => {
                Some("Rotate the webhook's secret to be shown one.".into())
            }
            (Self::RotateWebhook { .. }, _) => Some("Rotate it again.".into()),
            (Self::SignIn { .. } | Self::StepUp { .. } | Self::ChangePassword { .. }, _) => {
                Some("Sign in again.".into())
            }
            (Self::SetTotp { .. } | Self::MakeRecoveryCodes { .. }, _) => {
                Some("Make new recovery codes.".into())
            }
            (Self::Enter(_), _) => Some("Close the session and enter again.".into()),
            _ => None,
        }
    }

    /// Whether what it names may be gone once it was carried out. Its answer shows nothing then, so
    /// whoever sends it again may hear that it was done.
    #[must_use]
    pub fn ends_what_it_names(&self) -> bool {
        matches!(
            self,
            Self::RetireKey { .. }
                | Self::CompromiseSigningKey { .. }
                | Self::RemoveWebhook { .. }
                | Self::RemoveStream { .. }
                | Self::RemoveAccount { .. }
                | Self::DeleteRole { .. }
                | Self::RemoveMember { .. }
                | Self::Unassign { .. }
                | Self::SignOut
                | Self::SignOutEverywhere
                | Self::EndSignIn { .. }
                | Self::RemoveTotp
                | Self::RemovePasskey { .. }
                | Self::CloseSession { .. }
                | Self::EndSession { .. }
                | Self::Unlock { .. }
                | Self::LiftHalt { .. }
                | Self::EraseWords { .. }
        )
    }

    /// Whether it only takes access away: such commands go first in a batch.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(
            self,
            Self::Revoke { .. }
                | Self::Lock { .. }
                | Self::Halt { .. }
                | Self::EndSession { .. }
                | Self::CloseSession { .. }
                | Self::Narrow { .. }
                | Self::GiveUp { .. }
                | Self::RemoveMember { .. }
                | Self::EndAccess { .. }
                | Self::RemoveAccount { .. }
                | Self::DeleteRole { .. }
                | Self::RetireKey { .. }
                | Self::CompromiseSigningKey { .. }
                | Self::SignOut
                | Self::SignOutEverywhere
                | Self::EndSignIn { .. }
                | Self::ResetFactors { .. }
                | Self::CancelInvitation { .. }
                | Self::SetStanding { standing: Standing::Suspended | Standing::Closed, .. }
        )
    }
}
