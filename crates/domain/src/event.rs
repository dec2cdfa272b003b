//! The closed list of what can have happened.
//!
//! An event is a fact: identifiers, codes, times. Where somebody's words belong to it, it holds a
//! [`W`], a place among the words of its row. Every event has its readers ([`readers`]): the
//! organisations that may see it, and nobody else. Stored events are never rewritten; a change of
//! shape is a new version with an upcaster in the store's codec.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::application::{KeyUse, Policy};
use crate::assignment::{AssignmentEnd, Basis};
use crate::auto::AutoEnd;
use crate::command::{Caller, Door};
use crate::factor::Proof;
use crate::grant::GrantEnd;
use crate::halt::{self, HaltTarget};
use crate::ids::{
    AccountId, ApplicationId, CommandId, Digest32, GrantId, HaltId, InvitationId, KeyId, LockId,
    OrganisationId, PasskeyId, PersonId, RequestId, RoleId, SessionId, SignInId, StreamId, UnitId,
    WebhookId,
};
use crate::invitation::InvitationCancel;
use crate::lock::LockTarget;
use crate::organisation::{Accounts, Party, Settings, Standing};
use crate::permission::Permissions;
use crate::person::PortalRole;
use crate::request::RequestCancel;
use crate::role::{Level, Mode, Modes, PinnedLevel, PinnedRole};
use crate::session::SessionEnd;
use crate::signing::PublicKey;
use crate::state::State;
use crate::stream::{StreamKind, StreamStanding, StreamStop};
use crate::text::{Subject, Word};
use crate::time::{Days, Instant, Minutes, Window};
use crate::webhook::{Redelivery, Telling};

/// A place among the words of the event's row.
pub type W = u32;

/// One accepted command: what a position in the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The position: gapless from 1.
    pub seq: u64,
    /// The clock, or the time of the row before if that is later.
    pub at: Instant,
    /// The command's own identifier, by which an unknown outcome is settled.
    pub command: CommandId,
    /// The command's name.
    pub kind: Arc<str>,
    /// Who called.
    pub caller: Caller,
    /// The organisations for which the caller acted: they alone see who it was.
    pub acting: Vec<OrganisationId>,
    /// What happened, in order.
    pub events: Vec<Recorded>,
    /// The words of the events.
    pub words: Vec<Word>,
}

/// An event with its readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What happened.
    pub event: Event,
    /// Who may see it, sorted; nobody but the platform when empty.
    pub readers: Vec<OrganisationId>,
}

/// What can have happened. The serialised names are part of the log's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // the fields are the words of the nouns' own files
pub enum Event {
    // -- the platform ---------------------------------------------------------------------------
    /// An application was defined or defined anew.
    ApplicationDefined {
        application: ApplicationId,
        code: Arc<str>,
        audience: Arc<str>,
        permissions: Permissions,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        launch_url: Option<Arc<str>>,
    },
    /// A key was made.
    KeyMade { key: KeyId, usage: KeyUse, application: Option<ApplicationId>, digest: Digest32 },
    /// A key was retired.
    KeyRetired { key: KeyId },
    /// By which keys an application proves itself was set.
    ClientKeysSet { application: ApplicationId, keys: Vec<PublicKey> },
    /// A signing key was made: the next one. Its private half is nowhere in the log.
    SigningKeyMade { kid: Digest32, public: PublicKey },
    /// The next signing key signs from now on.
    SigningKeyCurrent { kid: Digest32 },
    /// A signing key signs nothing more. What it signed runs out by itself, or, `at_once`, counts
    /// no longer.
    SigningKeyRetired { kid: Digest32, at_once: bool },
    /// The policy was set.
    PolicySet { policy: Policy },
    /// A level got a new version, its first or a later one.
    LevelDefined { code: Arc<str>, version: u32, level: Level },
    // -- organisations --------------------------------------------------------------------------
    /// An organisation was made with its default unit.
    OrganisationMade { organisation: OrganisationId, unit: UnitId, external: W, name: W },
    /// An organisation was renamed.
    OrganisationRenamed { organisation: OrganisationId, name: W },
    /// It was suspended, brought back or closed.
    OrganisationStanding { organisation: OrganisationId, standing: Standing },
    /// It has a new customer ID; an older one finds nothing from now on.
    CustomerIdSet { organisation: OrganisationId, digest: Digest32 },
    /// It, or a unit of it, has a new partner ID; an older one finds nothing from now on.
    PartnerIdSet { party: Party, digest: Digest32 },
    /// Its settings were changed.
    SettingsChanged { organisation: OrganisationId, settings: Settings },
    /// A unit was made.
    UnitMade { organisation: OrganisationId, unit: UnitId, external: W, name: W },
    /// A unit was renamed.
    UnitRenamed { unit: UnitId, name: W },
    /// A unit was suspended, brought back or closed.
    UnitStanding { unit: UnitId, standing: Standing },
    /// An account was made.
    AccountMade {
        organisation: OrganisationId,
        unit: UnitId,
        account: AccountId,
        external: W,
        name: W,
    },
    /// An account was renamed.
    AccountRenamed { account: AccountId, name: W },
    /// An account belongs together with those of the same code; with none without one.
    AccountLinked { account: AccountId, group: Option<Arc<str>> },
    /// An account was removed.
    AccountRemoved { account: AccountId },
    /// A role was made.
    RoleMade {
        organisation: OrganisationId,
        role: RoleId,
        code: Arc<str>,
        name: Arc<str>,
        permissions: Permissions,
    },
    /// A role got a new version.
    RoleChanged { role: RoleId, version: u32, name: Arc<str>, permissions: Permissions },
    /// A role was deleted.
    RoleDeleted { role: RoleId },
    // -- people ---------------------------------------------------------------------------------
    /// A person became known.
    PersonMade { person: PersonId, name: W, email: W, email_verified: bool },
    /// A person's name was changed.
    PersonRenamed { person: PersonId, name: W },
    /// The builder has proven a person's address: from now on it leads to them.
    EmailVerified { person: PersonId },
    /// A person joined an organisation.
    MemberJoined {
        organisation: OrganisationId,
        person: PersonId,
        unit: UnitId,
        portal: Option<PortalRole>,
        external: W,
    },
    /// A member got another portal role or unit.
    MemberChanged {
        organisation: OrganisationId,
        person: PersonId,
        unit: UnitId,
        portal: Option<PortalRole>,
    },
    /// A member was suspended or brought back.
    MemberStanding { organisation: OrganisationId, person: PersonId, standing: Standing },
    /// A member holds these roles of the own organisation from now on, and no others.
    MemberRolesSet { organisation: OrganisationId, person: PersonId, roles: Vec<RoleId> },
    /// A member works there for a partner, and has no power of their own in it meanwhile.
    MembershipSuperseded { organisation: OrganisationId, person: PersonId, grant: GrantId },
    /// The organisation took them back as its own member.
    MembershipRestored { organisation: OrganisationId, person: PersonId, by: PersonId },
    /// A member left.
    MemberLeft { organisation: OrganisationId, person: PersonId },
    /// A token was made by which a first password can be set.
    EnrolmentMade { person: PersonId, digest: Digest32, until: Instant },
    /// A password was set; earlier sign-ins are worthless.
    PasswordSet { person: PersonId },
    /// A person proved who they are, and how; through which door they came.
    SignedIn {
        person: PersonId,
        sign_in: SignInId,
        digest: Digest32,
        until: Instant,
        proof: Proof,
        door: Door,
    },
    /// A sign-in was ended.
    SignedOut { sign_in: SignInId },
    /// All sign-ins of a person are worthless.
    SignedOutEverywhere { person: PersonId },
    /// An app was set up that shows codes; that of this time step was used for it.
    TotpSet { person: PersonId, secret: Digest32, step: u64 },
    /// It was taken away, with the recovery codes.
    TotpRemoved { person: PersonId },
    /// These are the recovery codes from now on.
    RecoveryCodesMade { person: PersonId, codes: Vec<Digest32> },
    /// A passkey was added.
    PasskeyAdded { person: PersonId, passkey: PasskeyId, credential: Digest32, name: W },
    /// It is called something else.
    PasskeyRenamed { person: PersonId, passkey: PasskeyId, name: W },
    /// It was taken away.
    PasskeyRemoved { person: PersonId, passkey: PasskeyId },
    /// Everything but the password was taken away by the builder; earlier sign-ins are worthless.
    FactorsReset { person: PersonId },
    // -- requests -------------------------------------------------------------------------------
    /// A partner asked. The customer is not named here: its part is not the asker's to read.
    RequestAsked {
        request: RequestId,
        provider: Party,
        by: PersonId,
        level: PinnedLevel,
        modes: Modes,
        days: Days,
        roles: Vec<W>,
        accounts: Vec<W>,
        reason: W,
        ticket: Option<W>,
        name: W,
        email: W,
        company: W,
    },
    /// Whom the request asks, for the customer's eyes.
    RequestAddressed { request: RequestId, customer: OrganisationId },
    /// A request was taken back or fell away.
    RequestCancelled { request: RequestId, by_asker: bool },
    /// Why a request fell away, for the customer's eyes.
    CancellationNoted { request: RequestId, cause: RequestCancel },
    /// A request was denied.
    RequestDenied { request: RequestId, message: Option<W> },
    /// Who said no and why, for the eyes of that side.
    DenialNoted { request: RequestId, by: PersonId, reason: Option<W> },
    /// A customer offered access: exactly what it said yes to.
    OfferMade {
        request: RequestId,
        customer: Party,
        provider: Party,
        by: PersonId,
        level: PinnedLevel,
        roles: Vec<PinnedRole>,
        accounts: Accounts,
        modes: Modes,
        starts_at: Option<Instant>,
        days: Days,
        cap: Minutes,
        allow_external: bool,
        jwt: bool,
        summary: Digest32,
        reason: W,
        ticket: Option<W>,
        name: W,
        email: W,
        company: W,
    },
    /// An offer was accepted: by somebody of the partner, or by the platform's policy.
    OfferAccepted { request: RequestId, grant: GrantId, by: Option<PersonId> },
    /// A request was approved.
    RequestApproved { request: RequestId, grant: GrantId, by: PersonId, summary: Digest32 },
    // -- grants ---------------------------------------------------------------------------------
    /// A grant was made by an approval.
    GrantMade {
        grant: GrantId,
        request: RequestId,
        customer: Party,
        provider: Party,
        level: PinnedLevel,
        roles: Vec<PinnedRole>,
        accounts: Accounts,
        modes: Modes,
        window: Window,
        cap: Minutes,
        allow_external: bool,
        jwt: bool,
        summary: Digest32,
    },
    /// A grant gives this from now on: more, less or for longer.
    GrantAmended {
        grant: GrantId,
        by: PersonId,
        roles: Vec<PinnedRole>,
        accounts: Accounts,
        modes: Modes,
        end: Instant,
        cap: Minutes,
        allow_external: bool,
        jwt: bool,
        summary: Digest32,
    },
    /// A grant gives less from now on.
    GrantNarrowed {
        grant: GrantId,
        by: Option<PersonId>,
        roles: Vec<PinnedRole>,
        accounts: Accounts,
        modes: Modes,
        end: Instant,
        cap: Minutes,
    },
    /// The customer said yes again to a grant that a restore had put back.
    GrantConfirmed { grant: GrantId, by: PersonId },
    /// A grant was ended.
    GrantEnded { grant: GrantId, cause: GrantEnd, by: Option<PersonId> },
    /// A live grant is left without anybody.
    GrantUnattended { grant: GrantId },
    // -- assignments ----------------------------------------------------------------------------
    /// A person was put on a grant, or put there with other roles, accounts or end.
    Assigned {
        grant: GrantId,
        person: PersonId,
        roles: Vec<RoleId>,
        accounts: Accounts,
        ends_at: Instant,
        basis: Basis,
    },
    /// The ceiling left less of it.
    AssignmentTrimmed {
        grant: GrantId,
        person: PersonId,
        roles: Vec<RoleId>,
        accounts: Accounts,
        ends_at: Instant,
    },
    /// The ceiling left no role of it.
    AssignmentSuspended { grant: GrantId, person: PersonId },
    /// It ended.
    AssignmentEnded { grant: GrantId, person: PersonId, cause: AssignmentEnd },
    /// Many got accounts of a grant: `new` were put on it, with these roles on these accounts and no
    /// others; `more` have these accounts beside theirs, and their own roles unless `everybody` got
    /// these. `pairs` of a person and an account are new.
    AssignedMany {
        grant: GrantId,
        new: Vec<PersonId>,
        more: Vec<PersonId>,
        roles: Vec<RoleId>,
        everybody: bool,
        accounts: Accounts,
        pairs: u64,
    },
    /// Many lost accounts of a grant: `off` had no others and are off it, `less` keep the rest as a
    /// list. `pairs` of a person and an account ended.
    UnassignedMany {
        grant: GrantId,
        off: Vec<PersonId>,
        less: Vec<PersonId>,
        accounts: Accounts,
        pairs: u64,
    },
    /// The ceiling left less to many: these roles and these accounts are gone from what they have.
    AssignmentsTrimmed {
        grant: GrantId,
        people: Vec<PersonId>,
        roles: Vec<RoleId>,
        accounts: Vec<AccountId>,
    },
    /// All members of the provider, or those with one of these portal roles, are on it by a rule
    /// from now on, with these roles on all its accounts.
    AutoSet { grant: GrantId, roles: Vec<RoleId>, only: Option<BTreeSet<PortalRole>> },
    /// The ceiling left less of the rule.
    AutoTrimmed { grant: GrantId, roles: Vec<RoleId> },
    /// The ceiling left no role of it.
    AutoSuspended { grant: GrantId },
    /// Whom the rule does not cover: a place would cost the customer its last Admin.
    AutoLeftOut { grant: GrantId, person: PersonId },
    /// There is no such rule any more.
    AutoCleared { grant: GrantId, cause: AutoEnd },
    /// An external person has become a member of the provider, and is on the grant as one.
    ExternalJoined { grant: GrantId, person: PersonId },
    // -- invitations ------------------------------------------------------------------------------
    /// Somebody from outside was invited to a grant. `recipient` is the address under a key that
    /// stands outside the log, `token` the digest of the link's.
    InvitationMade {
        invitation: InvitationId,
        grant: GrantId,
        provider: OrganisationId,
        by: PersonId,
        email: W,
        recipient: Digest32,
        roles: Vec<RoleId>,
        accounts: Accounts,
        ends_at: Instant,
        token: Digest32,
    },
    /// It was sent again with another link; the one before opens nothing any more.
    InvitationResent { invitation: InvitationId, token: Digest32 },
    /// It gives something else, or the ceiling left less of it.
    InvitationChanged {
        invitation: InvitationId,
        roles: Vec<RoleId>,
        accounts: Accounts,
        ends_at: Instant,
    },
    /// Who vouched for it may not any more: it waits for another Admin.
    InvitationHeld { invitation: InvitationId },
    /// Another Admin vouches for it.
    InvitationApproved { invitation: InvitationId, by: PersonId },
    /// Somebody has registered by its link, or tried to with an address that has an account.
    InvitationRegistered { invitation: InvitationId },
    /// The invited person came in. Name and address are those of that time.
    InvitationAccepted { invitation: InvitationId, person: PersonId, name: W, email: W },
    /// Whoever holds the link said no.
    InvitationDeclined { invitation: InvitationId },
    /// It was taken back or fell away.
    InvitationCancelled { invitation: InvitationId, cause: InvitationCancel },
    /// Nothing is mailed to this address any more.
    AddressSuppressed { recipient: Digest32 },
    // -- sessions -------------------------------------------------------------------------------
    /// A person entered a customer. Name and address are those of that time.
    SessionStarted {
        session: SessionId,
        grant: GrantId,
        customer: OrganisationId,
        provider: OrganisationId,
        person: PersonId,
        application: ApplicationId,
        mode: Mode,
        deadline: Instant,
        token: Digest32,
        reserved: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Permissions>,
        reason: Option<W>,
        name: W,
        email: W,
    },
    /// The deadline came nearer.
    SessionShortened { session: SessionId, deadline: Instant },
    /// A session was ended.
    SessionEnded { session: SessionId, cause: SessionEnd },
    // -- locks ----------------------------------------------------------------------------------
    /// A customer locked a partner or a person.
    LockPlaced {
        lock: LockId,
        customer: OrganisationId,
        target: LockTarget,
        by: PersonId,
        reason: Option<W>,
    },
    /// A customer lifted a lock.
    LockLifted { lock: LockId, by: PersonId },
    // -- what is taken back -------------------------------------------------------------------------
    /// Every word about the subject is gone, and every one that goes with it. The facts stay.
    WordsErased { subject: Subject },
    /// The log was restored from a copy, and goes on under this fork: sign-ins and enrolment tokens
    /// that the copy holds open nothing any more, and no standing grant gives anything until it is
    /// confirmed. Unless people were kept, memberships are suspended and passwords void.
    Restored { fork: u64, people_kept: bool },
    // -- the first run --------------------------------------------------------------------------
    /// A link was made by which a log without a key can be claimed; an older one opens nothing.
    FirstRunOffered { digest: Digest32, until: Instant },
    // -- halts ----------------------------------------------------------------------------------
    /// Comity halted something on which an invariant does not hold.
    Halted { halt: HaltId, target: HaltTarget },
    /// Which invariant it was, for the operator's eyes.
    HaltNoted { halt: HaltId, invariant: u8 },
    /// The operator lifted a halt.
    HaltLifted { halt: HaltId },
    // -- who is told outside ----------------------------------------------------------------------
    /// An endpoint was named that is told what happened. Without an owner it is the platform's;
    /// without kinds it is told everything that its owner may read.
    WebhookMade {
        webhook: WebhookId,
        owner: Option<OrganisationId>,
        url: W,
        description: Option<W>,
        kinds: Option<Vec<Arc<str>>>,
        digest: Digest32,
    },
    /// It has another address, description or choice of kinds.
    WebhookChanged {
        webhook: WebhookId,
        url: W,
        description: Option<W>,
        kinds: Option<Vec<Arc<str>>>,
    },
    /// It is told from now on, or not any more.
    WebhookStanding { webhook: WebhookId, standing: Telling },
    /// It has a new secret; the old one signs beside it for a while.
    WebhookSecretRotated { webhook: WebhookId, digest: Digest32, old_until: Instant },
    /// Somebody tries whether it listens: this is what it is told.
    WebhookTested { webhook: WebhookId },
    /// What it was told, or could not be told, is sent again.
    WebhookRedelivered { webhook: WebhookId, what: Redelivery },
    /// It is gone.
    WebhookRemoved { webhook: WebhookId },
    /// An application has a stream of signed events; without an address it is fetched. `digest` is
    /// the random name of what is sent as `Authorization`.
    StreamMade {
        stream: StreamId,
        application: ApplicationId,
        url: Option<W>,
        digest: Option<Digest32>,
        description: Option<W>,
        kinds: Vec<StreamKind>,
    },
    /// It is told elsewhere, in another way, or of something else.
    StreamChanged {
        stream: StreamId,
        url: Option<W>,
        digest: Option<Digest32>,
        description: Option<W>,
        kinds: Vec<StreamKind>,
    },
    /// Its owner turned it on or off, or has what happens kept.
    StreamStanding { stream: StreamId, standing: StreamStanding, reason: Option<W> },
    /// Comity turned it off: this is what it is told last.
    StreamStopped { stream: StreamId, why: StreamStop },
    /// Its owner tries whether it is told: this is what it is told.
    StreamVerified { stream: StreamId, state: Option<W> },
    /// It is gone.
    StreamRemoved { stream: StreamId },
    // -- what only the clock or the books cause ---------------------------------------------------
    /// Noted after the fact: no answer depends on it.
    ExpiryNoted { what: Due },
    /// A segment of call records was sealed by its hash.
    CallsSealed { segment: u64, records: u64, digest: Digest32 },
}

impl Event {
    /// Whether it can turn somebody's yes into a no: in a decision, in what a sign-in or a key
    /// opens, in what somebody may do here. Whoever waits until an ending holds everywhere waits
    /// for these, so this errs towards yes; only what gives or tells is listed as doing neither,
    /// and a new event has to be listed on one side.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        use Event as E;
        match self {
            E::OrganisationMade { .. }
            | E::OrganisationRenamed { .. }
            | E::UnitMade { .. }
            | E::UnitRenamed { .. }
            | E::AccountMade { .. }
            | E::AccountRenamed { .. }
            | E::AccountLinked { .. }
            | E::RoleMade { .. }
            | E::PersonMade { .. }
            | E::PersonRenamed { .. }
            | E::EmailVerified { .. }
            | E::MemberJoined { .. }
            | E::KeyMade { .. }
            | E::SigningKeyMade { .. }
            | E::SigningKeyCurrent { .. }
            | E::SignedIn { .. }
            | E::PasskeyAdded { .. }
            | E::PasskeyRenamed { .. }
            // No right hangs on a request; what an approval gives is the grant.
            | E::RequestAsked { .. }
            | E::RequestAddressed { .. }
            | E::RequestCancelled { .. }
            | E::CancellationNoted { .. }
            | E::RequestDenied { .. }
            | E::DenialNoted { .. }
            | E::RequestApproved { .. }
            | E::OfferMade { .. }
            | E::OfferAccepted { .. }
            | E::PartnerIdSet { .. }
            | E::GrantMade { .. }
            | E::GrantConfirmed { .. }
            | E::GrantUnattended { .. }
            | E::SessionStarted { .. }
            | E::LockLifted { .. }
            | E::HaltNoted { .. }
            | E::HaltLifted { .. }
            | E::ExpiryNoted { .. }
            | E::InvitationMade { .. }
            | E::InvitationApproved { .. }
            | E::InvitationRegistered { .. }
            | E::InvitationAccepted { .. }
            | E::AddressSuppressed { .. }
            | E::MembershipRestored { .. }
            // No right hangs on who is told.
            | E::WebhookMade { .. }
            | E::WebhookChanged { .. }
            | E::WebhookStanding { .. }
            | E::WebhookSecretRotated { .. }
            | E::WebhookTested { .. }
            | E::WebhookRedelivered { .. }
            | E::WebhookRemoved { .. }
            | E::StreamMade { .. }
            | E::StreamChanged { .. }
            | E::StreamStanding { .. }
            | E::StreamStopped { .. }
            | E::StreamVerified { .. }
            | E::StreamRemoved { .. }
            | E::CallsSealed { .. } => false,
            E::OrganisationStanding { standing, .. }
            | E::UnitStanding { standing, .. }
            | E::MemberStanding { standing, .. } => *standing != Standing::Active,
            E::ApplicationDefined { .. }
            | E::KeyRetired { .. }
            | E::ClientKeysSet { .. }
            | E::SigningKeyRetired { .. }
            | E::PolicySet { .. }
            | E::LevelDefined { .. }
            | E::CustomerIdSet { .. }
            | E::SettingsChanged { .. }
            | E::AccountRemoved { .. }
            | E::RoleChanged { .. }
            | E::RoleDeleted { .. }
            | E::MemberChanged { .. }
            | E::MemberRolesSet { .. } // perhaps fewer than before
            | E::MembershipSuperseded { .. }
            | E::MemberLeft { .. }
            | E::FirstRunOffered { .. } // as with enrolments
            | E::EnrolmentMade { .. } // an older token opens nothing any more
            | E::PasswordSet { .. }
            | E::SignedOut { .. }
            | E::SignedOutEverywhere { .. }
            | E::TotpSet { .. } // a password alone opens nothing any more
            | E::TotpRemoved { .. }
            | E::RecoveryCodesMade { .. }
            | E::PasskeyRemoved { .. }
            | E::FactorsReset { .. }
            | E::GrantNarrowed { .. }
            | E::GrantAmended { .. } // perhaps less of something
            | E::GrantEnded { .. }
            | E::Assigned { .. } // also who is on it already, and then perhaps with less
            | E::AssignmentTrimmed { .. }
            | E::AssignmentSuspended { .. }
            | E::AssignmentEnded { .. }
            | E::AssignedMany { .. } // as with one
            | E::UnassignedMany { .. }
            | E::AssignmentsTrimmed { .. }
            | E::AutoSet { .. } // perhaps narrower than before
            | E::AutoTrimmed { .. }
            | E::AutoSuspended { .. }
            | E::AutoLeftOut { .. }
            | E::AutoCleared { .. }
            | E::ExternalJoined { .. } // and is off when they leave again
            | E::InvitationResent { .. } // the older link opens nothing any more
            | E::InvitationChanged { .. }
            | E::InvitationHeld { .. }
            | E::InvitationDeclined { .. }
            | E::InvitationCancelled { .. }
            | E::SessionShortened { .. }
            | E::SessionEnded { .. }
            | E::LockPlaced { .. }
            | E::Halted { .. }
            | E::WordsErased { .. } // a credential goes with its person
            | E::Restored { .. } => true,
        }
    }

    /// As it is told outside: its fields, and its name as the field `event`.
    #[must_use]
    pub fn told(&self) -> serde_json::Value {
        let mut told = serde_json::Map::new();
        if let Ok(serde_json::Value::Object(stored)) = serde_json::to_value(self) {
            for (name, fields) in stored {
                told.insert("event".into(), name.into());
                if let serde_json::Value::Object(fields) = fields {
                    told.extend(fields);
                }
            }
        }
        told.into()
    }

    /// Every place of a word that the event holds, to be counted anew: a row, a stored part and a
    /// reader's feed each count by themselves. A new field that is a [`W`] belongs here.
    pub fn each_word(&mut self, mut each: impl FnMut(&mut W)) {
        use Event as E;
        match self {
            E::OrganisationMade { external, name, .. }
            | E::UnitMade { external, name, .. }
            | E::AccountMade { external, name, .. } => [external, name].into_iter().for_each(each),
            E::OrganisationRenamed { name, .. }
            | E::UnitRenamed { name, .. }
            | E::AccountRenamed { name, .. }
            | E::PersonRenamed { name, .. }
            | E::PasskeyAdded { name, .. }
            | E::PasskeyRenamed { name, .. } => each(name),
            E::PersonMade { name, email, .. } | E::InvitationAccepted { name, email, .. } => {
                [name, email].into_iter().for_each(each);
            }
            E::InvitationMade { email, .. } => each(email),
            E::MemberJoined { external, .. } => each(external),
            E::RequestAsked { roles, accounts, reason, ticket, name, email, company, .. } => {
                roles.iter_mut().chain(accounts).for_each(&mut each);
                [reason, name, email, company].into_iter().chain(ticket).for_each(each);
            }
            E::OfferMade { reason, ticket, name, email, company, .. } => {
                [reason, name, email, company].into_iter().chain(ticket).for_each(each);
            }
            E::RequestDenied { message, .. } => message.iter_mut().for_each(each),
            E::DenialNoted { reason, .. } | E::LockPlaced { reason, .. } => {
                reason.iter_mut().for_each(each);
            }
            E::SessionStarted { reason, name, email, .. } => {
                [name, email].into_iter().chain(reason).for_each(each);
            }
            E::WebhookMade { url, description, .. }
            | E::WebhookChanged { url, description, .. } => {
                std::iter::once(url).chain(description).for_each(each);
            }
            E::StreamMade { url, description, .. } | E::StreamChanged { url, description, .. } => {
                url.iter_mut().chain(description).for_each(each);
            }
            E::StreamStanding { reason: said, .. } | E::StreamVerified { state: said, .. } => {
                said.iter_mut().for_each(each);
            }
            E::ApplicationDefined { .. }
            | E::KeyMade { .. }
            | E::KeyRetired { .. }
            | E::ClientKeysSet { .. }
            | E::SigningKeyMade { .. }
            | E::SigningKeyCurrent { .. }
            | E::SigningKeyRetired { .. }
            | E::PolicySet { .. }
            | E::LevelDefined { .. }
            | E::OrganisationStanding { .. }
            | E::CustomerIdSet { .. }
            | E::SettingsChanged { .. }
            | E::UnitStanding { .. }
            | E::AccountLinked { .. }
            | E::AccountRemoved { .. }
            | E::RoleMade { .. }
            | E::RoleChanged { .. }
            | E::RoleDeleted { .. }
            | E::EmailVerified { .. }
            | E::MemberChanged { .. }
            | E::MemberStanding { .. }
            | E::MemberRolesSet { .. }
            | E::MembershipSuperseded { .. }
            | E::MembershipRestored { .. }
            | E::MemberLeft { .. }
            | E::EnrolmentMade { .. }
            | E::PasswordSet { .. }
            | E::SignedIn { .. }
            | E::SignedOut { .. }
            | E::SignedOutEverywhere { .. }
            | E::TotpSet { .. }
            | E::TotpRemoved { .. }
            | E::RecoveryCodesMade { .. }
            | E::PasskeyRemoved { .. }
            | E::FactorsReset { .. }
            | E::RequestAddressed { .. }
            | E::RequestCancelled { .. }
            | E::CancellationNoted { .. }
            | E::RequestApproved { .. }
            | E::OfferAccepted { .. }
            | E::PartnerIdSet { .. }
            | E::GrantMade { .. }
            | E::GrantAmended { .. }
            | E::GrantNarrowed { .. }
            | E::GrantConfirmed { .. }
            | E::GrantEnded { .. }
            | E::GrantUnattended { .. }
            | E::Assigned { .. }
            | E::AssignmentTrimmed { .. }
            | E::AssignmentSuspended { .. }
            | E::AssignmentEnded { .. }
            | E::AssignedMany { .. }
            | E::UnassignedMany { .. }
            | E::AssignmentsTrimmed { .. }
            | E::AutoSet { .. }
            | E::AutoTrimmed { .. }
            | E::AutoSuspended { .. }
            | E::AutoLeftOut { .. }
            | E::AutoCleared { .. }
            | E::ExternalJoined { .. }
            | E::InvitationResent { .. }
            | E::InvitationChanged { .. }
            | E::InvitationHeld { .. }
            | E::InvitationApproved { .. }
            | E::InvitationRegistered { .. }
            | E::InvitationDeclined { .. }
            | E::InvitationCancelled { .. }
            | E::AddressSuppressed { .. }
            | E::SessionShortened { .. }
            | E::SessionEnded { .. }
            | E::LockLifted { .. }
            | E::ExpiryNoted { .. }
            | E::WordsErased { .. }
            | E::Restored { .. }
            | E::FirstRunOffered { .. }
            | E::Halted { .. }
            | E::HaltNoted { .. }
            | E::HaltLifted { .. }
            | E::WebhookStanding { .. }
            | E::WebhookSecretRotated { .. }
            | E::WebhookTested { .. }
            | E::WebhookRedelivered { .. }
            | E::WebhookRemoved { .. }
            | E::StreamStopped { .. }
            | E::StreamRemoved { .. }
            | E::CallsSealed { .. } => {}
        }
    }
}

/// What falls due by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// A request nobody decided.
    Request(RequestId),
    /// A grant at its end.
    Grant(GrantId),
    /// A session at its deadline.
    Session(SessionId),
    /// A grant that ends within seven days.
    GrantWeek(GrantId),
    /// A grant that ends within a day.
    GrantDay(GrantId),
    /// An invitation nobody answered.
    Invitation(InvitationId),
}

/// Who may see an event, judged right after it happened: sorted, each once. No event names an
/// organisation to another that has no live tie with it.
#[must_use]
pub fn readers(state: &State, event: &Event) -> Vec<OrganisationId> {
    use Event as E;
    let mut to = BTreeSet::new();
    match event {
        E::ApplicationDefined { .. }
        | E::KeyMade { .. }
        | E::KeyRetired { .. }
        | E::ClientKeysSet { .. }
        | E::SigningKeyMade { .. }
        | E::SigningKeyCurrent { .. }
        | E::SigningKeyRetired { .. }
        | E::PolicySet { .. }
        | E::LevelDefined { .. }
        | E::FirstRunOffered { .. }
        | E::HaltNoted { .. }
        // Whose address it is, and whether it is known, is nobody's to read.
        | E::InvitationRegistered { .. }
        | E::AddressSuppressed { .. }
        // An application's affair with the platform.
        | E::StreamMade { .. }
        | E::StreamChanged { .. }
        | E::StreamStanding { .. }
        | E::StreamStopped { .. }
        | E::StreamVerified { .. }
        | E::StreamRemoved { .. }
        | E::CallsSealed { .. } => {}
        E::OrganisationMade { organisation, .. }
        | E::OrganisationRenamed { organisation, .. }
        | E::OrganisationStanding { organisation, .. }
        | E::CustomerIdSet { organisation, .. }
        | E::SettingsChanged { organisation, .. }
        | E::UnitMade { organisation, .. }
        | E::AccountMade { organisation, .. }
        | E::RoleMade { organisation, .. }
        | E::MemberJoined { organisation, .. }
        | E::MemberChanged { organisation, .. }
        | E::MemberStanding { organisation, .. }
        | E::MemberRolesSet { organisation, .. }
        | E::MembershipRestored { organisation, .. }
        | E::MemberLeft { organisation, .. } => {
            to.insert(*organisation);
        }
        // The partner was warned of it before, and its own person enters another way from now on.
        E::MembershipSuperseded { organisation, grant, .. } => {
            to.insert(*organisation);
            to.extend(state.grants.get(*grant).map(|g| g.provider.organisation));
        }
        E::UnitRenamed { unit, .. } | E::UnitStanding { unit, .. } => {
            to.extend(state.units.get(*unit).map(|u| u.organisation));
        }
        E::AccountRenamed { account, .. } | E::AccountLinked { account, .. } => {
            to.extend(state.accounts.get(*account).map(|a| a.organisation));
        }
        E::AccountRemoved { .. } => {} // gone already: the draft names the owner
        E::RoleChanged { role, .. } | E::RoleDeleted { role } => {
            to.extend(state.roles.get(*role).map(|r| r.organisation));
        }
        E::PersonMade { person, .. }
        | E::PersonRenamed { person, .. }
        | E::EmailVerified { person }
        | E::EnrolmentMade { person, .. }
        | E::PasswordSet { person }
        | E::SignedIn { person, .. }
        | E::TotpSet { person, .. }
        | E::TotpRemoved { person }
        | E::RecoveryCodesMade { person, .. }
        | E::PasskeyAdded { person, .. }
        | E::PasskeyRenamed { person, .. }
        | E::PasskeyRemoved { person, .. }
        | E::FactorsReset { person }
        | E::SignedOutEverywhere { person } => to.extend(state.organisations_of(*person)),
        E::SignedOut { sign_in } => {
            let person = state.sign_ins.get(*sign_in).map(|s| s.person);
            to.extend(person.into_iter().flat_map(|p| state.organisations_of(p)));
        }
        E::PartnerIdSet { party, .. } => {
            to.insert(party.organisation);
        }
        E::RequestAsked { request, .. }
        | E::OfferMade { request, .. }
        | E::OfferAccepted { request, .. }
        | E::RequestCancelled { request, .. }
        | E::RequestDenied { request, .. }
        | E::RequestApproved { request, .. }
        | E::ExpiryNoted { what: Due::Request(request) } => {
            if let Some(request) = state.requests.get(*request) {
                to.extend([request.customer, request.provider.organisation]);
            }
        }
        E::DenialNoted { request, .. } => {
            to.extend(state.requests.get(*request).map(crate::request::Request::decider));
        }
        E::RequestAddressed { request, .. } | E::CancellationNoted { request, .. } => {
            to.extend(state.requests.get(*request).map(|r| r.customer));
        }
        E::GrantMade { grant, .. }
        | E::GrantAmended { grant, .. }
        | E::GrantNarrowed { grant, .. }
        | E::GrantConfirmed { grant, .. }
        | E::GrantEnded { grant, .. }
        | E::GrantUnattended { grant }
        | E::Assigned { grant, .. }
        | E::AssignmentTrimmed { grant, .. }
        | E::AssignmentSuspended { grant, .. }
        | E::AssignmentEnded { grant, .. }
        | E::AssignedMany { grant, .. }
        | E::UnassignedMany { grant, .. }
        | E::AssignmentsTrimmed { grant, .. }
        | E::AutoSet { grant, .. }
        | E::AutoTrimmed { grant, .. }
        | E::AutoSuspended { grant }
        | E::AutoLeftOut { grant, .. }
        | E::AutoCleared { grant, .. }
        | E::ExternalJoined { grant, .. }
        | E::InvitationMade { grant, .. }
        | E::SessionStarted { grant, .. }
        | E::ExpiryNoted {
            what: Due::Grant(grant) | Due::GrantWeek(grant) | Due::GrantDay(grant),
        } => {
            sides(state, *grant, &mut to);
        }
        E::InvitationChanged { invitation, .. }
        | E::InvitationAccepted { invitation, .. }
        | E::InvitationDeclined { invitation }
        | E::InvitationCancelled { invitation, .. }
        | E::ExpiryNoted { what: Due::Invitation(invitation) } => {
            if let Some(invitation) = state.invitations.get(*invitation) {
                sides(state, invitation.grant, &mut to);
            }
        }
        // How the provider goes about it is its own affair.
        E::InvitationResent { invitation, .. }
        | E::InvitationHeld { invitation }
        | E::InvitationApproved { invitation, .. } => {
            to.extend(state.invitations.get(*invitation).map(|i| i.provider));
        }
        E::SessionShortened { session, .. }
        | E::SessionEnded { session, .. }
        | E::ExpiryNoted { what: Due::Session(session) } => {
            if let Some(session) = state.sessions.get(*session) {
                sides(state, session.grant, &mut to);
            }
        }
        E::LockPlaced { customer, .. } => {
            to.insert(*customer);
        }
        E::LockLifted { .. } => {} // gone already: the draft names the customer
        E::WordsErased { .. } => {} // whoever knew the subject: `erasure.rs` names them
        // Everybody's affair: nobody's access is what it was, and nothing else says so.
        E::Restored { .. } => {
            to.extend(state.organisations.iter().map(|(id, _)| id));
        }
        E::Halted { target, .. } => to.extend(halt::concerned(state, *target)),
        E::HaltLifted { .. } => {} // gone already: the draft names whom it concerns
        E::WebhookMade { webhook, .. }
        | E::WebhookChanged { webhook, .. }
        | E::WebhookStanding { webhook, .. }
        | E::WebhookSecretRotated { webhook, .. }
        | E::WebhookTested { webhook }
        | E::WebhookRedelivered { webhook, .. } => {
            to.extend(state.webhooks.get(*webhook).and_then(|w| w.owner));
        }
        E::WebhookRemoved { .. } => {} // gone already: the draft names the owner
    }
    to.into_iter().filter(|o| *o != OrganisationId::MIN).collect()
}

fn sides(state: &State, grant: GrantId, to: &mut BTreeSet<OrganisationId>) {
    if let Some(grant) = state.grants.get(grant) {
        to.extend([grant.customer.organisation, grant.provider.organisation]);
    }
}
