//! Everything that is alive, as of one position of the log.
//!
//! A plain value: copying it costs a few pointers, so a batch works on a copy and a reader keeps
//! the one that it took. Only `apply.rs` changes it. Its size follows living relations; what grows
//! with time is in the store.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};

use serde::{Deserialize, Serialize};

use crate::application::{Application, Key, Policy};
use crate::assignment::{Assignment, Basis};
use crate::event::Due;
use crate::factor::Factors;
use crate::grant::Grant;
use crate::halt::{Halt, HaltTarget};
use crate::ids::{
    AccountId, ApplicationId, Digest32, GrantId, HaltId, InvitationId, KeyId, LockId,
    OrganisationId, PersonId, RequestId, RoleId, SessionId, SignInId, StreamId, UnitId, WebhookId,
};
use crate::invitation::Invitation;
use crate::lock::{Lock, LockTarget};
use crate::names::Names;
use crate::organisation::{Account, Accounts, Organisation, Party, Standing, Unit};
use crate::person::{Member, Person, SignIn};
use crate::request::Request;
use crate::role::{Level, PinnedLevel, PinnedRole, Role, built_in_levels};
use crate::session::Session;
use crate::signing::SigningKey;
use crate::stream::Stream;
use crate::table::{SetIx, Sets, Slot, Table};
use crate::text::{Subject, Words};
use crate::time::Instant;
use crate::webhook::Webhook;

/// The state at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The position: the last row applied.
    pub seq: u64,
    /// The time of that row.
    pub at: Instant,
    /// The platform's policy.
    pub policy: Policy,
    /// Levels by code, each with its versions.
    pub levels: OrdMap<Arc<str>, Vector<Level>>,
    /// The builder's services.
    pub applications: Table<ApplicationId, Application>,
    /// Keys, retired ones included.
    pub keys: Table<KeyId, Key>,
    /// The digest of the link by which a log without a key can be claimed, and until when.
    pub first_run: Option<(Digest32, Instant)>,
    /// Signing keys that are published, by thumbprint.
    pub signing_keys: OrdMap<Digest32, SigningKey>,
    /// Organisations, closed ones included.
    pub organisations: Table<OrganisationId, Organisation>,
    /// Units.
    pub units: Table<UnitId, Unit>,
    /// Accounts that exist.
    pub accounts: Table<AccountId, Account>,
    /// Roles, deleted ones included: grants pin them.
    pub roles: Table<RoleId, Role>,
    /// People.
    pub people: Table<PersonId, Person>,
    /// People's own sign-ins that have not run out.
    pub sign_ins: Table<SignInId, SignIn>,
    /// What people have to prove with beside a password; who has nothing stands nowhere.
    pub factors: OrdMap<PersonId, Factors>,
    /// Requests.
    pub requests: Table<RequestId, Request>,
    /// Grants.
    pub grants: Table<GrantId, Grant>,
    /// Sessions.
    pub sessions: Table<SessionId, Session>,
    /// Locks in force.
    pub locks: Table<LockId, Lock>,
    /// Halts in force.
    pub halts: Table<HaltId, Halt>,
    /// Endpoints that are told what happened; removed ones are gone.
    pub webhooks: Table<WebhookId, Webhook>,
    /// Event streams of applications; removed ones are gone.
    pub streams: Table<StreamId, Stream>,
    /// Invitations that wait, those that were accepted, and the others for a while.
    pub invitations: Table<InvitationId, Invitation>,
    /// All words.
    pub words: Words,
    /// Members, by organisation and person.
    pub members: OrdMap<(OrganisationId, PersonId), Member>,
    /// Members by what they are called, over [`Self::words`].
    pub(crate) names: Names,
    pub(crate) memberships: OrdSet<(PersonId, OrganisationId)>,
    pub(crate) past_members: OrdMap<(OrganisationId, PersonId), Instant>,
    pub(crate) assignments: OrdMap<(Slot, Slot), Assignment>,
    pub(crate) assigned: OrdSet<(Slot, Slot)>,
    pub(crate) role_sets: Sets<RoleId>,
    pub(crate) account_sets: Sets<AccountId>,
    pub(crate) customer_ids: OrdMap<Digest32, OrganisationId>,
    pub(crate) key_digests: OrdMap<Digest32, KeyId>,
    pub(crate) sign_in_digests: OrdMap<Digest32, SignInId>,
    pub(crate) sign_ins_of: OrdSet<(PersonId, SignInId)>,
    pub(crate) passkeys: OrdMap<Digest32, PersonId>,
    pub(crate) session_tokens: OrdMap<Digest32, SessionId>,
    pub(crate) enrolments: OrdMap<Digest32, PersonId>,
    pub(crate) roles_by_code: OrdMap<(OrganisationId, Arc<str>), RoleId>,
    pub(crate) accounts_of: OrdSet<(OrganisationId, AccountId)>,
    /// Accounts that belong together, by their code.
    pub(crate) linked: OrdSet<(OrganisationId, Arc<str>, AccountId)>,
    pub(crate) units_of: OrdSet<(OrganisationId, UnitId)>,
    pub(crate) inactive_units: OrdSet<(OrganisationId, UnitId)>,
    /// Who has asked or entered whom, and for whom: (person, customer, provider). Kept until the
    /// person is erased, because a lock keeps what was said between the two however long ago.
    pub(crate) dealt: OrdSet<(PersonId, OrganisationId, OrganisationId)>,
    /// Whose words were erased, and by which row.
    pub(crate) erased: OrdMap<Subject, u64>,
    /// The digests of partner IDs in force, by whom they name.
    pub(crate) partner_ids: OrdMap<Party, Digest32>,
    pub(crate) partner_codes: OrdMap<Digest32, Party>,
    pub(crate) requests_to: OrdSet<(OrganisationId, RequestId)>,
    pub(crate) requests_from: OrdSet<(OrganisationId, RequestId)>,
    pub(crate) grants_by: OrdSet<(OrganisationId, GrantId)>,
    pub(crate) grants_to: OrdSet<(OrganisationId, GrantId)>,
    pub(crate) grants_with: OrdSet<(RoleId, GrantId)>,
    /// Grants with a rule by which all members are on them, by provider.
    pub(crate) auto_to: OrdSet<(OrganisationId, GrantId)>,
    pub(crate) sessions_under: OrdSet<(GrantId, SessionId)>,
    pub(crate) sessions_of: OrdSet<(PersonId, SessionId)>,
    pub(crate) locks_on: OrdMap<(OrganisationId, LockTarget), LockId>,
    pub(crate) halts_on: OrdMap<HaltTarget, HaltId>,
    /// By owner; the platform's stand under [`OrganisationId::MIN`].
    pub(crate) webhooks_of: OrdSet<(OrganisationId, WebhookId)>,
    /// Addresses to which nothing is mailed, under the installation's key.
    pub(crate) suppressed: OrdSet<Digest32>,
    /// Who has accepted what, until they are erased: the address goes with them.
    pub(crate) invited: OrdSet<(PersonId, InvitationId)>,
    pub(crate) invitations_to: OrdSet<(GrantId, InvitationId)>,
    pub(crate) invitations_from: OrdSet<(OrganisationId, InvitationId)>,
    pub(crate) invitations_by: OrdSet<(PersonId, InvitationId)>,
    pub(crate) invitations_of: OrdSet<(Digest32, InvitationId)>,
    pub(crate) invitation_tokens: OrdMap<Digest32, InvitationId>,
    /// What falls due by the clock and is not noted yet.
    pub(crate) due: OrdSet<(Instant, Due)>,
    pub(crate) retire: OrdSet<(Instant, Retire)>,
}

/// What leaves the memory at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Retire {
    Request(RequestId),
    Grant(GrantId),
    Session(SessionId),
    SignIn(SignInId),
    PastMember(OrganisationId, PersonId),
    SigningKey(Digest32),
    Invitation(InvitationId),
}

impl Default for State {
    fn default() -> Self {
        let levels = built_in_levels()
            .into_iter()
            .map(|(code, level)| (Arc::from(code), Vector::unit(level)))
            .collect();
        Self {
            seq: 0,
            at: Instant(0),
            policy: Policy::default(),
            levels,
            applications: Table::default(),
            keys: Table::default(),
            first_run: None,
            signing_keys: OrdMap::new(),
            organisations: Table::default(),
            units: Table::default(),
            accounts: Table::default(),
            roles: Table::default(),
            people: Table::default(),
            sign_ins: Table::default(),
            requests: Table::default(),
            grants: Table::default(),
            sessions: Table::default(),
            locks: Table::default(),
            halts: Table::default(),
            webhooks: Table::default(),
            streams: Table::default(),
            invitations: Table::default(),
            words: Words::default(),
            members: OrdMap::new(),
            names: Names::default(),
            memberships: OrdSet::new(),
            past_members: OrdMap::new(),
            assignments: OrdMap::new(),
            assigned: OrdSet::new(),
            role_sets: Sets::default(),
            account_sets: Sets::default(),
            customer_ids: OrdMap::new(),
            key_digests: OrdMap::new(),
            factors: OrdMap::new(),
            sign_in_digests: OrdMap::new(),
            sign_ins_of: OrdSet::new(),
            passkeys: OrdMap::new(),
            session_tokens: OrdMap::new(),
            enrolments: OrdMap::new(),
            roles_by_code: OrdMap::new(),
            accounts_of: OrdSet::new(),
            linked: OrdSet::new(),
            units_of: OrdSet::new(),
            inactive_units: OrdSet::new(),
            dealt: OrdSet::new(),
            erased: OrdMap::new(),
            partner_ids: OrdMap::new(),
            partner_codes: OrdMap::new(),
            requests_to: OrdSet::new(),
            requests_from: OrdSet::new(),
            grants_by: OrdSet::new(),
            grants_to: OrdSet::new(),
            grants_with: OrdSet::new(),
            auto_to: OrdSet::new(),
            sessions_under: OrdSet::new(),
            sessions_of: OrdSet::new(),
            locks_on: OrdMap::new(),
            halts_on: OrdMap::new(),
            webhooks_of: OrdSet::new(),
            suppressed: OrdSet::new(),
            invited: OrdSet::new(),
            invitations_to: OrdSet::new(),
            invitations_from: OrdSet::new(),
            invitations_by: OrdSet::new(),
            invitations_of: OrdSet::new(),
            invitation_tokens: OrdMap::new(),
            due: OrdSet::new(),
            retire: OrdSet::new(),
        }
    }
}

/// An assignment with its sets read out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentView {
    /// Which grant.
    pub grant: GrantId,
    /// Who.
    pub person: PersonId,
    /// Which roles.
    pub roles: Vec<RoleId>,
    /// Which accounts.
    pub accounts: Accounts,
    /// The rest.
    pub row: Assignment,
}

impl State {
    /// The organisations that a person is a member of, suspended memberships included.
    pub fn organisations_of(&self, person: PersonId) -> impl Iterator<Item = OrganisationId> + '_ {
        self.memberships
            .range((person, OrganisationId::MIN)..=(person, OrganisationId::MAX))
            .map(|(_, organisation)| *organisation)
    }

    /// The membership, if the member, its unit and its organisation are all active and no work for a
    /// partner supersedes it.
    #[must_use]
    pub fn active_member(&self, organisation: OrganisationId, person: PersonId) -> Option<&Member> {
        let member = self.members.get(&(organisation, person))?;
        (member.standing == Standing::Active
            && member.superseded.is_none()
            && self.unit_is_active(member.unit)
            && self.organisation_is_active(organisation))
        .then_some(member)
    }

    /// Whether the organisation takes part now.
    #[must_use]
    pub fn organisation_is_active(&self, id: OrganisationId) -> bool {
        self.organisations.get(id).is_some_and(|o| o.standing == Standing::Active)
    }

    /// Whether the unit takes part now.
    #[must_use]
    pub fn unit_is_active(&self, id: UnitId) -> bool {
        self.units.get(id).is_some_and(|u| u.standing == Standing::Active)
    }

    /// Whether a side of a grant takes part now.
    #[must_use]
    pub fn party_is_active(&self, party: Party) -> bool {
        self.organisation_is_active(party.organisation)
            && party.unit.is_none_or(|u| self.unit_is_active(u))
    }

    /// When a person left an organisation, as long as that is remembered.
    #[must_use]
    pub fn left(&self, organisation: OrganisationId, person: PersonId) -> Option<Instant> {
        self.past_members.get(&(organisation, person)).copied()
    }

    /// The organisation that a customer ID leads to.
    #[must_use]
    pub fn customer_by_code(&self, code: Digest32) -> Option<OrganisationId> {
        self.customer_ids.get(&code).copied()
    }

    /// Whom a partner ID names.
    #[must_use]
    pub fn party_by_code(&self, code: Digest32) -> Option<Party> {
        self.partner_codes.get(&code).copied()
    }

    /// The digest of a party's partner ID; `None` until one is made.
    #[must_use]
    pub fn partner_id(&self, party: Party) -> Option<Digest32> {
        self.partner_ids.get(&party).copied()
    }

    /// The key with this digest.
    #[must_use]
    pub fn key_by_digest(&self, digest: Digest32) -> Option<KeyId> {
        self.key_digests.get(&digest).copied()
    }

    /// The sign-in with this token.
    #[must_use]
    pub fn sign_in_by_digest(&self, digest: Digest32) -> Option<SignInId> {
        self.sign_in_digests.get(&digest).copied()
    }

    /// A person's sign-ins that are in force at `now`, the oldest first.
    pub fn sign_ins_of(
        &self,
        person: PersonId,
        now: Instant,
    ) -> impl Iterator<Item = (SignInId, &SignIn)> {
        let epoch = self.people.get(person).map(|p| p.auth_epoch);
        self.sign_ins_of
            .range((person, SignInId::MIN)..=(person, SignInId::MAX))
            .filter_map(|(_, id)| Some((*id, self.sign_ins.get(*id)?)))
            .filter(move |(_, s)| now < s.until && Some(s.auth_epoch) == epoch)
    }

    /// Whose the passkey of this digest is.
    #[must_use]
    pub fn passkey_owner(&self, credential: Digest32) -> Option<PersonId> {
        self.passkeys.get(&credential).copied()
    }

    /// Whom an enrolment token lets set a first password.
    #[must_use]
    pub fn enrolling(&self, token: Digest32) -> Option<PersonId> {
        self.enrolments.get(&token).copied()
    }

    /// The session with this token.
    #[must_use]
    pub fn session_by_token(&self, token: Digest32) -> Option<SessionId> {
        self.session_tokens.get(&token).copied()
    }

    /// The live role of this code.
    #[must_use]
    pub fn role_by_code(&self, organisation: OrganisationId, code: &str) -> Option<RoleId> {
        self.roles_by_code.get(&(organisation, Arc::from(code))).copied()
    }

    /// The application with this audience.
    #[must_use]
    pub fn application_by_audience(&self, audience: &str) -> Option<ApplicationId> {
        self.applications.iter().find(|(_, a)| &*a.audience == audience).map(|(id, _)| id)
    }

    /// The live roles of an organisation, by code.
    pub fn roles_of(&self, organisation: OrganisationId) -> impl Iterator<Item = (RoleId, &Role)> {
        self.roles_by_code
            .range((organisation, Arc::from(""))..)
            .take_while(move |((o, _), _)| *o == organisation)
            .filter_map(|(_, id)| Some((*id, self.roles.get(*id)?)))
    }

    /// A level at the version that was pinned.
    #[must_use]
    pub fn level(&self, pinned: &PinnedLevel) -> Option<&Level> {
        self.levels.get(&pinned.code)?.get(pinned.version.checked_sub(1)? as usize)
    }

    /// The newest version of a level.
    #[must_use]
    pub fn newest_level(&self, code: &str) -> Option<(PinnedLevel, &Level)> {
        let (code, versions) = self.levels.get_key_value(code)?;
        let version = u32::try_from(versions.len()).ok()?;
        Some((PinnedLevel { code: code.clone(), version }, versions.last()?))
    }

    /// A role of a grant that still permits something may be given to people.
    #[must_use]
    pub fn role_lives(&self, pinned: PinnedRole) -> bool {
        self.roles.get(pinned.role).is_some_and(|r| !r.deleted)
    }

    /// The assignment of a person on a grant.
    #[must_use]
    pub fn assignment(&self, grant: GrantId, person: PersonId) -> Option<AssignmentView> {
        let row = *self.assignment_row(grant, person)?;
        Some(AssignmentView {
            grant,
            person,
            roles: self.role_sets.get(row.roles).to_vec(),
            accounts: self.accounts_in(row.accounts),
            row,
        })
    }

    /// The stored form of an assignment: a row of the person's own, or that of the rule by which
    /// all members are on the grant.
    #[must_use]
    pub fn assignment_row(&self, grant: GrantId, person: PersonId) -> Option<&Assignment> {
        self.own_row(grant, person).or_else(|| self.rule_row(grant, person))
    }

    /// The row that a person has by themselves.
    pub(crate) fn own_row(&self, grant: GrantId, person: PersonId) -> Option<&Assignment> {
        self.assignments.get(&(self.grants.slot(grant)?, self.people.slot(person)?))
    }

    /// What a person has by the grant's rule, whether or not they have a row of their own.
    pub(crate) fn rule_row(&self, grant: GrantId, person: PersonId) -> Option<&Assignment> {
        let grant = self.grants.get(grant)?;
        let rule = grant.auto.as_deref()?;
        let member = self.members.get(&(grant.provider.organisation, person))?;
        rule.covers(grant.provider, person, member).then_some(&rule.row)
    }

    /// The roles of an assignment.
    #[must_use]
    pub fn roles_in(&self, set: SetIx) -> &[RoleId] {
        self.role_sets.get(set)
    }

    pub(crate) fn accounts_in(&self, set: Option<SetIx>) -> Accounts {
        set.map_or(Accounts::All, |s| {
            Accounts::List(self.account_sets.get(s).iter().copied().collect())
        })
    }

    /// Who is on a grant: those with a row of their own, and then those whom its rule covers.
    pub fn assigned_to(&self, grant: GrantId) -> impl Iterator<Item = (PersonId, &Assignment)> {
        self.rows_on(grant).chain(self.covered_on(grant))
    }

    /// Whom the rule of a grant covers, without those with a row of their own.
    pub(crate) fn covered_on(&self, id: GrantId) -> impl Iterator<Item = (PersonId, &Assignment)> {
        let grant = self.grants.get(id).filter(|g| g.auto.is_some());
        grant.into_iter().flat_map(move |g| {
            self.members_of(g.provider.organisation).filter_map(move |(person, member)| {
                let rule = g.auto.as_deref()?;
                let by_rule = rule.covers(g.provider, person, member);
                (by_rule && self.own_row(id, person).is_none()).then_some((person, &rule.row))
            })
        })
    }

    /// Who has a row of their own on a grant.
    pub(crate) fn rows_on(&self, grant: GrantId) -> impl Iterator<Item = (PersonId, &Assignment)> {
        let slot = self.grants.slot(grant);
        slot.into_iter()
            .flat_map(|slot| self.assignments.range((slot, Slot::MIN)..=(slot, Slot::MAX)))
            .filter_map(|((_, person), row)| Some((self.people.id_at(*person)?, row)))
    }

    /// The grants that a person is on: those with a row of their own, and then those whose rule
    /// covers them.
    pub fn grants_of(&self, person: PersonId) -> impl Iterator<Item = (GrantId, &Grant)> {
        let by_rule = self
            .organisations_of(person)
            .flat_map(|organisation| self.auto_to(organisation))
            .filter(move |id| {
                self.own_row(*id, person).is_none() && self.rule_row(*id, person).is_some()
            })
            .filter_map(|id| Some((id, self.grants.get(id)?)));
        self.rows_of(person).chain(by_rule)
    }

    /// Grants of an organisation as provider that have a rule, oldest first.
    pub(crate) fn auto_to(&self, provider: OrganisationId) -> impl Iterator<Item = GrantId> + '_ {
        pairs(&self.auto_to, provider, GrantId::MIN, GrantId::MAX)
    }

    /// The grants on which a person has a row of their own.
    pub(crate) fn rows_of(&self, person: PersonId) -> impl Iterator<Item = (GrantId, &Grant)> {
        let slot = self.people.slot(person);
        slot.into_iter()
            .flat_map(|slot| self.assigned.range((slot, Slot::MIN)..=(slot, Slot::MAX)))
            .filter_map(|(_, grant)| Some((self.grants.id_at(*grant)?, self.grants.at(*grant)?)))
    }

    /// Whether an assignment gives access at `now`: it is active, and so is the membership that it
    /// hangs on; or it is of somebody from outside, and the grant lets such people in.
    #[must_use]
    pub fn attends(
        &self,
        grant: GrantId,
        person: PersonId,
        row: &Assignment,
        now: Instant,
    ) -> bool {
        let holds = |grant: &Grant| match row.basis {
            Basis::Invited => {
                let provider = grant.provider.organisation;
                grant.lets_outsiders_in(self) && !self.members.contains_key(&(provider, person))
            }
            _ => self.active_member(grant.provider.organisation, person).is_some(),
        };
        row.is_active(now) && self.grants.get(grant).is_some_and(holds)
    }

    /// How many people a grant gives access to at `now`.
    #[must_use]
    pub fn active_on(&self, grant: GrantId, now: Instant) -> usize {
        self.assigned_to(grant).filter(|(p, a)| self.attends(grant, *p, a, now)).count()
    }

    /// Whether a grant gives access to anybody at `now`.
    #[must_use]
    pub fn is_attended(&self, grant: GrantId, now: Instant) -> bool {
        self.assigned_to(grant).any(|(p, a)| self.attends(grant, p, a, now))
    }

    /// Grants that an organisation made, oldest first.
    pub fn grants_by(
        &self,
        customer: OrganisationId,
    ) -> impl DoubleEndedIterator<Item = GrantId> + '_ {
        pairs(&self.grants_by, customer, GrantId::MIN, GrantId::MAX)
    }

    /// Grants that an organisation received, oldest first.
    pub fn grants_to(
        &self,
        provider: OrganisationId,
    ) -> impl DoubleEndedIterator<Item = GrantId> + '_ {
        pairs(&self.grants_to, provider, GrantId::MIN, GrantId::MAX)
    }

    /// Grants that pin a role.
    pub fn grants_with(&self, role: RoleId) -> impl DoubleEndedIterator<Item = GrantId> + '_ {
        pairs(&self.grants_with, role, GrantId::MIN, GrantId::MAX)
    }

    /// Requests that an organisation received, oldest first.
    pub fn requests_to(
        &self,
        customer: OrganisationId,
    ) -> impl DoubleEndedIterator<Item = RequestId> + '_ {
        pairs(&self.requests_to, customer, RequestId::MIN, RequestId::MAX)
    }

    /// Requests that an organisation made, oldest first.
    pub fn requests_from(
        &self,
        provider: OrganisationId,
    ) -> impl DoubleEndedIterator<Item = RequestId> + '_ {
        pairs(&self.requests_from, provider, RequestId::MIN, RequestId::MAX)
    }

    /// Invitations to a grant, oldest first.
    pub fn invitations_to(
        &self,
        grant: GrantId,
    ) -> impl DoubleEndedIterator<Item = InvitationId> + '_ {
        pairs(&self.invitations_to, grant, InvitationId::MIN, InvitationId::MAX)
    }

    /// Invitations that an organisation made, oldest first.
    pub fn invitations_from(
        &self,
        provider: OrganisationId,
    ) -> impl DoubleEndedIterator<Item = InvitationId> + '_ {
        pairs(&self.invitations_from, provider, InvitationId::MIN, InvitationId::MAX)
    }

    /// Invitations for which a person vouches, oldest first.
    pub fn invitations_by(
        &self,
        person: PersonId,
    ) -> impl DoubleEndedIterator<Item = InvitationId> + '_ {
        pairs(&self.invitations_by, person, InvitationId::MIN, InvitationId::MAX)
    }

    /// Invitations of an address, oldest first.
    pub fn invitations_of(
        &self,
        recipient: Digest32,
    ) -> impl DoubleEndedIterator<Item = InvitationId> + '_ {
        pairs(&self.invitations_of, recipient, InvitationId::MIN, InvitationId::MAX)
    }

    /// Invitations that a person has accepted, oldest first.
    pub(crate) fn accepted_by(
        &self,
        person: PersonId,
    ) -> impl DoubleEndedIterator<Item = InvitationId> + '_ {
        pairs(&self.invited, person, InvitationId::MIN, InvitationId::MAX)
    }

    /// The invitation that a link leads to.
    #[must_use]
    pub fn invitation_by_token(&self, token: Digest32) -> Option<InvitationId> {
        self.invitation_tokens.get(&token).copied()
    }

    /// Whether nothing is mailed to an address.
    #[must_use]
    pub fn is_suppressed(&self, recipient: Digest32) -> bool {
        self.suppressed.contains(&recipient)
    }

    /// Sessions under a grant that are still remembered.
    pub fn sessions_under(
        &self,
        grant: GrantId,
    ) -> impl DoubleEndedIterator<Item = SessionId> + '_ {
        pairs(&self.sessions_under, grant, SessionId::MIN, SessionId::MAX)
    }

    /// Sessions of a person that are still remembered.
    pub fn sessions_of(&self, person: PersonId) -> impl DoubleEndedIterator<Item = SessionId> + '_ {
        pairs(&self.sessions_of, person, SessionId::MIN, SessionId::MAX)
    }

    /// Accounts of an organisation.
    pub fn accounts_of(
        &self,
        organisation: OrganisationId,
    ) -> impl DoubleEndedIterator<Item = AccountId> + '_ {
        pairs(&self.accounts_of, organisation, AccountId::MIN, AccountId::MAX)
    }

    /// The accounts that an account belongs together with, itself among them; none where it stands
    /// alone.
    pub fn linked_with(&self, account: AccountId) -> impl Iterator<Item = AccountId> + '_ {
        let known = self.accounts.get(account);
        known.into_iter().flat_map(|a| Some((a.organisation, a.linked.clone()?))).flat_map(
            |(organisation, group)| {
                let key = |id| (organisation, group.clone(), id);
                let range = key(AccountId::MIN)..=key(AccountId::MAX);
                self.linked.range(range).map(|(_, _, id)| *id).collect::<Vec<_>>()
            },
        )
    }

    /// Units of an organisation.
    pub fn units_of(
        &self,
        organisation: OrganisationId,
    ) -> impl DoubleEndedIterator<Item = UnitId> + '_ {
        pairs(&self.units_of, organisation, UnitId::MIN, UnitId::MAX)
    }

    /// Units of an organisation that take no part now.
    pub fn inactive_units(
        &self,
        organisation: OrganisationId,
    ) -> impl Iterator<Item = UnitId> + '_ {
        pairs(&self.inactive_units, organisation, UnitId::MIN, UnitId::MAX)
    }

    /// Members of an organisation.
    pub fn members_of(
        &self,
        organisation: OrganisationId,
    ) -> impl Iterator<Item = (PersonId, &Member)> {
        self.members
            .range((organisation, PersonId::MIN)..=(organisation, PersonId::MAX))
            .map(|((_, person), member)| (*person, member))
    }

    /// The lock that a customer placed on this very target.
    #[must_use]
    pub fn lock_on(&self, customer: OrganisationId, target: LockTarget) -> Option<LockId> {
        self.locks_on.get(&(customer, target)).copied()
    }

    /// Whether a customer has locked this partner or this person.
    #[must_use]
    pub fn is_locked(
        &self,
        customer: OrganisationId,
        provider: OrganisationId,
        person: Option<PersonId>,
    ) -> bool {
        self.lock_on(customer, LockTarget::Organisation(provider)).is_some()
            || person.is_some_and(|p| self.lock_on(customer, LockTarget::Person(p)).is_some())
    }

    /// Locks of a customer.
    pub fn locks_of(&self, customer: OrganisationId) -> impl Iterator<Item = (LockId, &Lock)> {
        self.locks_on
            .range((customer, LockTarget::Organisation(OrganisationId::MIN))..)
            .take_while(move |((c, _), _)| *c == customer)
            .filter_map(|(_, id)| Some((*id, self.locks.get(*id)?)))
    }

    /// The webhooks of an organisation, or of the platform, oldest first.
    pub fn webhooks_of(
        &self,
        owner: Option<OrganisationId>,
    ) -> impl DoubleEndedIterator<Item = WebhookId> + '_ {
        let owner = owner.unwrap_or(OrganisationId::MIN);
        pairs(&self.webhooks_of, owner, WebhookId::MIN, WebhookId::MAX)
    }

    /// The event stream of an application.
    #[must_use]
    pub fn stream_of(&self, application: ApplicationId) -> Option<StreamId> {
        self.streams.iter().find(|(_, s)| s.application == application).map(|(id, _)| id)
    }

    /// Whose words were erased, each with the row that did.
    pub fn erasures(&self) -> impl Iterator<Item = (Subject, u64)> + '_ {
        self.erased.iter().map(|(subject, seq)| (*subject, *seq))
    }

    /// How many erasures there were.
    #[must_use]
    pub fn erasure_count(&self) -> usize {
        self.erased.len()
    }

    /// With whom a person dealt: (customer, provider).
    pub(crate) fn dealings(
        &self,
        person: PersonId,
    ) -> impl Iterator<Item = (OrganisationId, OrganisationId)> + '_ {
        let (from, to) = (OrganisationId::MIN, OrganisationId::MAX);
        self.dealt.range((person, from, from)..=(person, to, to)).map(|(_, c, p)| (*c, *p))
    }

    /// The halt in force on this very target.
    #[must_use]
    pub fn halt_on(&self, target: HaltTarget) -> Option<HaltId> {
        self.halts_on.get(&target).copied()
    }

    /// Whether Comity has halted a grant, either of its organisations, or this person.
    #[must_use]
    pub fn is_halted(&self, grant: GrantId, person: Option<PersonId>) -> bool {
        if self.halts_on.is_empty() {
            return false;
        }
        let sides = self.grants.get(grant);
        let sides = sides.map(|g| [g.customer.organisation, g.provider.organisation]);
        let sides = sides.into_iter().flatten().map(HaltTarget::Organisation);
        let person = person.map(HaltTarget::Person);
        std::iter::once(HaltTarget::Grant(grant))
            .chain(sides)
            .chain(person)
            .any(|target| self.halt_on(target).is_some())
    }

    /// Whether anything fell due by `now` and is not noted.
    #[must_use]
    pub fn has_due(&self, now: Instant) -> bool {
        self.due.get_min().is_some_and(|(at, _)| *at <= now)
    }
}

fn pairs<A: Ord + Copy, B: Ord + Copy>(
    set: &OrdSet<(A, B)>,
    key: A,
    from: B,
    to: B,
) -> impl DoubleEndedIterator<Item = B> + '_ {
    set.range((key, from)..=(key, to)).map(|(_, b)| *b)
}
