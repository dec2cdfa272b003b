//! A small installation to test on: one application, its keys, and helpers that make what a test
//! talks about. Time is simulated and chance is seeded, so that each run is the same.

use std::collections::BTreeSet;

use comity_domain::application::KeyUse;
use comity_domain::auto::{self, AutoSpec};
use comity_domain::command::{
    Ask, AssignmentSpec, Caller, Command, Door, Enter, FreshCode, Invite, Inviting, Offer, Partner,
    Principal, PutMember, Sealed,
};
use comity_domain::consent::{self, Terms};
use comity_domain::draft::{Decided, SideWrite};
use comity_domain::event::{Event, Row};
use comity_domain::grant::Amending;
use comity_domain::ids::{
    AccountId, ApplicationId, CommandId, Digest32, GrantId, Ids, InvitationId, KeyId,
    OrganisationId, PersonId, RequestId, RoleId, SessionId, UnitId,
};
use comity_domain::kernel;
use comity_domain::organisation::Accounts;
use comity_domain::permission::Permissions;
use comity_domain::person::PortalRole;
use comity_domain::refusal::Refusal;
use comity_domain::role::{Mode, Modes};
use comity_domain::signing::{FreshSigningKey, PublicKey};
use comity_domain::snapshot::{self, Facts};
use comity_domain::state::State;
use comity_domain::text::{Lookup, Subject, WordId};
use comity_domain::time::{Days, Instant};

/// The audience of the application that every world has.
pub const AUDIENCE: &str = "https://api.boats.example";
/// When every world begins: 2026-01-01T00:00:00Z.
pub const START: Instant = Instant(1_767_225_600_000);

/// One installation: its state, the log that led to it, and the clock.
#[derive(Clone, Debug)]
pub struct World {
    /// The state at the head.
    pub state: State,
    /// The whole log.
    pub rows: Vec<Row>,
    /// The clock.
    pub now: Instant,
    /// The source of identifiers.
    pub ids: Ids,
    /// The application `boats`.
    pub boats: ApplicationId,
    operate: KeyId,
    provision: KeyId,
    decide: KeyId,
    secrets: u64,
}

/// A caller by a key.
#[must_use]
pub fn by_key(key: KeyId) -> Caller {
    Caller { principal: Principal::Key(key), door: Door::Api }
}

/// Somebody who has not signed in.
#[must_use]
pub fn anonymous() -> Caller {
    Caller { principal: Principal::Anonymous, door: Door::Api }
}

/// A caller from inside a customer.
#[must_use]
pub fn inside(session: SessionId) -> Caller {
    Caller { principal: Principal::PartnerSession(session), door: Door::Api }
}

/// A set of permissions from its texts.
#[must_use]
pub fn perms(texts: &[&str]) -> Permissions {
    Permissions::parse("permissions", texts).unwrap()
}

/// A signing key; its numbers are no point of the curve, at which only the edge looks.
#[must_use]
pub fn signing_key(n: u8) -> FreshSigningKey {
    let public = PublicKey { x: Digest32([n; 32]), y: Digest32([n ^ 0x80; 32]) };
    FreshSigningKey { public, sealed: Sealed(vec![n]) }
}

/// A set of modes.
#[must_use]
pub fn modes(of: &[Mode]) -> Modes {
    of.iter().copied().collect()
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An installation with a key of each use and the application `boats`.
    #[must_use]
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// A log without a row.
    #[must_use]
    pub fn empty(seed: u64) -> Self {
        let mut bytes = [0u8; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self {
            state: State::default(),
            rows: Vec::new(),
            now: START,
            ids: Ids::new(bytes),
            boats: ApplicationId::MIN,
            operate: KeyId::MIN,
            provision: KeyId::MIN,
            decide: KeyId::MIN,
            secrets: 0,
        }
    }

    /// An installation like the first, with other identifiers.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut w = Self::empty(seed);
        w.operate = w.key(&Caller::system(), KeyUse::Operate, None);
        let operate = w.operate();
        w.provision = w.key(&operate, KeyUse::Provision, None);
        let permissions = perms(&["*"]);
        let (code, audience) = ("boats".into(), AUDIENCE.into());
        w.must(&operate, Command::PutApplication { code, audience, permissions, launch_url: None });
        w.boats = w.state.application_by_audience(AUDIENCE).unwrap();
        w.decide = w.key(&operate, KeyUse::Decide, Some(w.boats));
        w
    }

    // -- the kernel ---------------------------------------------------------------------------------

    /// Lets the kernel decide; what it accepts becomes the state and the log.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn run(&mut self, caller: &Caller, command: Command) -> Result<Option<Row>, Refusal> {
        let id = CommandId(self.ids.next(self.now));
        let decided = kernel::decide(&self.state, caller, id, command, self.now, &mut self.ids)?;
        let Decided { row, state, side, .. } = decided;
        self.state = state;
        self.rows.extend(row.clone());
        for write in side {
            if let SideWrite::EraseWords(subject) = write {
                self.erase(subject);
            }
        }
        Ok(row)
    }

    /// What a store does to the words of its rows.
    fn erase(&mut self, subject: Subject) {
        for word in self.rows.iter_mut().flat_map(|row| &mut row.words) {
            if word.about == subject || word.also == Some(subject) {
                (word.text, word.salt) = (None, [0; 16]);
            }
        }
    }

    /// [`World::run`], which has to succeed.
    pub fn must(&mut self, caller: &Caller, command: Command) -> Option<Row> {
        let shown = format!("{command:?}");
        self.run(caller, command).unwrap_or_else(|r| panic!("{}: {shown}", r.code()))
    }

    /// [`World::run`], which has to be refused: the refusal's code.
    pub fn refused(&mut self, caller: &Caller, command: Command) -> &'static str {
        let shown = format!("{command:?}");
        match self.run(caller, command) {
            Err(refusal) => refusal.code(),
            Ok(_) => panic!("accepted: {shown}"),
        }
    }

    /// The state that the log leads to.
    #[must_use]
    pub fn replayed(&self) -> State {
        let mut state = State::default();
        for row in &self.rows {
            kernel::apply(&mut state, row);
        }
        state
    }

    /// The state put together again from its facts and the words of the rows.
    #[must_use]
    pub fn loaded(&self) -> State {
        let facts = Facts::read(&snapshot::write(&self.state)).unwrap();
        let texts = facts.references().into_iter().filter_map(|reference| {
            let WordId(seq, ix) = reference.word;
            let word = self.rows[seq as usize - 1].words.get(ix as usize)?;
            self.state.words.get(reference.word)?; // an erased one is in no database
            Some((reference, (word.about, word.also), word.text.clone()?))
        });
        let words = snapshot::words(texts.collect());
        let mut state = facts.follow();
        state.speak(words);
        state
    }

    // -- the clock ------------------------------------------------------------------------------------

    /// Moves the clock to `millis` after the beginning.
    pub fn at(&mut self, millis: i64) {
        self.now = START.plus(millis);
    }

    /// Moves the clock on.
    pub fn later(&mut self, millis: i64) {
        self.now = self.now.plus(millis);
    }

    /// From now on these keys are used: a restore retired those of before.
    pub fn hold_keys(&mut self, operate: &Caller, provision: &Caller, decide: &Caller) {
        let key = |caller: &Caller| match caller.principal {
            Principal::Key(key) => key,
            other => panic!("{other:?} is no key"),
        };
        (self.operate, self.provision, self.decide) = (key(operate), key(provision), key(decide));
    }

    // -- callers --------------------------------------------------------------------------------------

    /// The key for `operate`.
    #[must_use]
    pub fn operate(&self) -> Caller {
        by_key(self.operate)
    }

    /// The key for `provision`.
    #[must_use]
    pub fn provision(&self) -> Caller {
        by_key(self.provision)
    }

    /// The key for `decide` of the application `boats`.
    #[must_use]
    pub fn decide(&self) -> Caller {
        by_key(self.decide)
    }

    /// A new key.
    pub fn key(
        &mut self,
        caller: &Caller,
        usage: KeyUse,
        application: Option<ApplicationId>,
    ) -> KeyId {
        let digest = self.secret();
        self.must(caller, Command::MakeKey { usage, application, digest });
        self.state.key_by_digest(digest).unwrap()
    }

    /// The digest of a secret that nobody had before.
    pub fn secret(&mut self) -> Digest32 {
        self.secrets += 1;
        Digest32::of(format!("secret {}", self.secrets).as_bytes())
    }

    /// A customer ID that nobody had before.
    pub fn fresh_code(&mut self) -> FreshCode {
        FreshCode { digest: self.secret(), sealed: Sealed(vec![7; 8]) }
    }

    // -- who and what there is ----------------------------------------------------------------------

    /// Makes an organisation.
    pub fn organisation(&mut self, external: &str, name: &str) -> OrganisationId {
        let code = self.fresh_code();
        let put = Command::PutOrganisation { external: external.into(), name: name.into(), code };
        self.must(&self.provision(), put);
        OrganisationId(self.state.words.find(Lookup::Organisation, external).unwrap())
    }

    /// Makes a unit.
    pub fn unit(&mut self, organisation: OrganisationId, external: &str) -> UnitId {
        let (name, active) = (format!("Unit {external}"), true);
        let put = Command::PutUnit { organisation, external: external.into(), name, active };
        self.must(&self.provision(), put);
        UnitId(self.state.words.find(Lookup::Unit(organisation), external).unwrap())
    }

    /// Makes an account in the default unit.
    pub fn account(&mut self, organisation: OrganisationId, external: &str) -> AccountId {
        self.account_in(organisation, external, None)
    }

    /// Makes an account in a unit.
    pub fn account_in(
        &mut self,
        organisation: OrganisationId,
        external: &str,
        unit: Option<&str>,
    ) -> AccountId {
        let (name, unit) = (format!("Account {external}"), unit.map(Into::into));
        let put = Command::PutAccount { organisation, external: external.into(), name, unit };
        self.must(&self.provision(), put);
        AccountId(self.state.words.find(Lookup::Account(organisation), external).unwrap())
    }

    /// Makes a role, or a new version of it.
    pub fn role(
        &mut self,
        organisation: OrganisationId,
        code: &str,
        permissions: &[&str],
    ) -> RoleId {
        let (name, permissions) = (format!("Role {code}"), perms(permissions));
        let put = Command::PutRole { organisation, code: code.into(), name, permissions };
        self.must(&self.provision(), put);
        self.state.role_by_code(organisation, code).unwrap()
    }

    /// A member of the default unit, as the builder would put it: change fields as needed.
    #[must_use]
    pub fn member_spec(
        &self,
        organisation: OrganisationId,
        external: &str,
        portal: Option<PortalRole>,
    ) -> PutMember {
        let own = self.state.organisations.get(organisation).unwrap();
        let domain = self.state.words.show(own.external);
        PutMember {
            organisation,
            external: external.into(),
            name: format!("Member {external}"),
            email: format!("{external}@{domain}.example"),
            email_verified: true,
            unit: None,
            portal,
            active: true,
            roles: None,
        }
    }

    /// Makes a member of the default unit with the address `external@organisation.example`.
    pub fn member(
        &mut self,
        organisation: OrganisationId,
        external: &str,
        portal: Option<PortalRole>,
    ) -> PersonId {
        let put = self.member_spec(organisation, external, portal);
        self.must(&self.provision(), Command::PutMember(put));
        self.person(organisation, external)
    }

    /// Makes an Admin.
    pub fn admin(&mut self, organisation: OrganisationId, external: &str) -> PersonId {
        self.member(organisation, external, Some(PortalRole::Admin))
    }

    /// The member with this external identifier.
    #[must_use]
    pub fn person(&self, organisation: OrganisationId, external: &str) -> PersonId {
        PersonId(self.state.words.find(Lookup::Member(organisation), external).unwrap())
    }

    /// The builder's identifier of a member.
    #[must_use]
    pub fn external(&self, organisation: OrganisationId, person: PersonId) -> String {
        let member = self.state.members.get(&(organisation, person)).unwrap();
        self.state.words.show(member.external).into()
    }

    /// A fresh sign-in of a member, who is enrolled first if need be.
    pub fn sign_in(&mut self, person: PersonId) -> Caller {
        if !self.state.people.get(person).unwrap().has_password {
            let organisation = self.state.organisations_of(person).next().unwrap();
            let external = self.external(organisation, person);
            let token = self.secret();
            let make = Command::MakeEnrolment { organisation, external, digest: token };
            self.must(&self.provision(), make);
            let password_hash = "$argon2id$test".into();
            self.must(&anonymous(), Command::Enrol { token, password_hash });
        }
        let auth_epoch = self.state.people.get(person).unwrap().auth_epoch;
        let digest = self.secret();
        self.must(
            &anonymous(),
            Command::SignIn {
                person,
                auth_epoch,
                digest,
                proof: comity_domain::factor::Proof::Password,
            },
        );
        let sign_in = self.state.sign_in_by_digest(digest).unwrap();
        Caller { principal: Principal::Person { person, sign_in }, door: Door::Api }
    }

    /// The digest of an organisation's customer ID.
    #[must_use]
    pub fn code(&self, organisation: OrganisationId) -> Digest32 {
        self.state.organisations.get(organisation).unwrap().customer_id
    }

    // -- from a question to a stay --------------------------------------------------------------------

    /// A plain question: everything at level `partner` for thirty days. Change fields as needed.
    #[must_use]
    pub fn ask_spec(&self, provider: OrganisationId, customer: OrganisationId) -> Ask {
        Ask {
            provider,
            unit: None,
            code: self.code(customer),
            level: "partner".into(),
            modes: Modes::all(),
            days: Days(30),
            roles: Vec::new(),
            accounts: Vec::new(),
            reason: "Winter storage".into(),
            ticket: None,
        }
    }

    /// Asks.
    pub fn ask(&mut self, caller: &Caller, ask: Ask) -> RequestId {
        let row = self.must(caller, Command::Ask(ask)).unwrap();
        let asked = |r: &comity_domain::event::Recorded| match r.event {
            Event::RequestAsked { request, .. } => Some(request),
            _ => None,
        };
        row.events.iter().find_map(asked).unwrap()
    }

    /// Terms that give these roles on all accounts, as asked by [`World::ask_spec`].
    #[must_use]
    pub fn terms(&self, roles: &[RoleId]) -> Terms {
        Terms {
            roles: roles.iter().copied().collect(),
            accounts: Accounts::All,
            unit: None,
            modes: Modes::all(),
            starts_at: None,
            days: Days(30),
            cap: None,
            allow_external: false,
            jwt: true,
        }
    }

    /// The hash of the summary that an approver would see now.
    ///
    /// # Errors
    /// What the terms are refused for.
    pub fn summary(&self, request: RequestId, terms: &Terms) -> Result<Digest32, Refusal> {
        let asked = self.state.requests.get(request).ok_or(Refusal::NotFound)?;
        consent::summarise(&self.state, request, asked, terms, self.now).map(|s| s.hash())
    }

    /// Approves with the right hash.
    pub fn approve(&mut self, caller: &Caller, request: RequestId, terms: Terms) -> GrantId {
        let summary = self.summary(request, &terms).unwrap();
        let row = self.must(caller, Command::Approve { request, terms, summary }).unwrap();
        let made = |r: &comity_domain::event::Recorded| match r.event {
            Event::GrantMade { grant, .. } => Some(grant),
            _ => None,
        };
        row.events.iter().find_map(made).unwrap()
    }

    /// A partner ID of a whole organisation.
    pub fn partner_id(&mut self, caller: &Caller, organisation: OrganisationId) -> Digest32 {
        let (code, unit) = (self.fresh_code(), None);
        let digest = code.digest;
        self.must(caller, Command::RotatePartnerId { organisation, unit, code });
        digest
    }

    /// An offer of what the summary shows, at level `partner`.
    pub fn offering(&self, (customer, to): (OrganisationId, Digest32), terms: Terms) -> Command {
        let (level, partner) = ("partner".to_owned(), Partner::Code(to));
        let party = comity_domain::offer::partner(&self.state, customer, &partner).unwrap();
        let shown =
            consent::offered(&self.state, customer, party, &level, &terms, self.now).unwrap();
        let (summary, reason) = (shown.hash(), "You look after us".into());
        let offer = Offer { customer, partner, level, terms, reason, ticket: None, summary };
        Command::MakeOffer(Box::new(offer))
    }

    /// Offers it.
    pub fn offer(
        &mut self,
        caller: &Caller,
        to: (OrganisationId, Digest32),
        terms: Terms,
    ) -> RequestId {
        let row = self.must(caller, self.offering(to, terms)).unwrap();
        let made = |r: &comity_domain::event::Recorded| match r.event {
            Event::OfferMade { request, .. } => Some(request),
            _ => None,
        };
        row.events.iter().find_map(made).unwrap()
    }

    /// Accepts an offer.
    pub fn accept(&mut self, caller: &Caller, request: RequestId) -> GrantId {
        let row = self.must(caller, Command::Accept { request }).unwrap();
        let made = |r: &comity_domain::event::Recorded| match r.event {
            Event::GrantMade { grant, .. } => Some(grant),
            _ => None,
        };
        row.events.iter().find_map(made).unwrap()
    }

    /// Makes of a grant what the summary shows.
    pub fn amend(&mut self, caller: &Caller, grant: GrantId, amending: Amending) {
        let known = self.state.grants.get(grant).unwrap();
        let now = self.now.max(self.state.at);
        let shown = consent::amended(&self.state, grant, known, &amending, now).unwrap();
        self.must(caller, Command::Amend { grant, amending, summary: shown.hash() });
    }

    /// All accounts of a grant with these roles. Change fields as needed.
    #[must_use]
    pub fn assignment_spec(&self, person: PersonId, roles: &[RoleId]) -> AssignmentSpec {
        AssignmentSpec { person, roles: roles.to_vec(), accounts: Accounts::All, ends_at: None }
    }

    /// Puts a person on a grant, on all its accounts.
    pub fn assign(&mut self, caller: &Caller, grant: GrantId, person: PersonId, roles: &[RoleId]) {
        let spec = self.assignment_spec(person, roles);
        self.must(caller, Command::Assign { grant, spec });
    }

    /// A wish to enter, with a new token and a reason. Change fields as needed.
    /// What turning *Automatically add partner users* on or off does now, as a command.
    pub fn set_auto(&self, grant: GrantId, auto: Option<AutoSpec>) -> Result<Command, Refusal> {
        let known = self.state.grants.get(grant).unwrap();
        let plan = auto::plan(&self.state, grant, known, auto.as_ref(), self.now)?;
        Ok(Command::SetAuto { grant, auto, token: plan.token })
    }

    pub fn enter_spec(&mut self, customer: OrganisationId, mode: Mode) -> Enter {
        Enter {
            scope: None,
            jwt: false,
            customer,
            audience: AUDIENCE.into(),
            grant: None,
            mode,
            reason: Some("Ticket 42".into()),
            token: self.secret(),
        }
    }

    /// Enters.
    pub fn enter(&mut self, caller: &Caller, customer: OrganisationId, mode: Mode) -> SessionId {
        let enter = self.enter_spec(customer, mode);
        let token = enter.token;
        self.must(caller, Command::Enter(enter));
        self.state.session_by_token(token).unwrap()
    }

    // -- people from outside --------------------------------------------------------------------------

    /// An invitation of an address to a grant, with all its accounts, and its token's digest. Change
    /// fields as needed.
    pub fn invite_spec(&mut self, grant: GrantId, email: &str, roles: &[RoleId]) -> Invite {
        let giving = Inviting { roles: roles.to_vec(), accounts: Accounts::All, ends_at: None };
        let recipient = recipient(email);
        let (token, sealed) = (self.secret(), Sealed(vec![9; 8]));
        Invite { grant, email: email.into(), recipient, giving, token, sealed }
    }

    /// Invites an address: the invitation, and the digest of its link's token.
    pub fn invite(
        &mut self,
        caller: &Caller,
        grant: GrantId,
        email: &str,
        roles: &[RoleId],
    ) -> (InvitationId, Digest32) {
        let invite = self.invite_spec(grant, email, roles);
        let token = invite.token;
        self.must(caller, Command::Invite(Box::new(invite)));
        (self.state.invitation_by_token(token).unwrap(), token)
    }

    /// Registers by a link and signs in.
    pub fn register(&mut self, token: Digest32, name: &str) -> Caller {
        let password_hash = "$argon2id$test".into();
        let name = name.into();
        self.must(&anonymous(), Command::RegisterInvited { token, name, password_hash });
        let (_, i, _) = comity_domain::invitation::by_link(&self.state, token).unwrap();
        let email = self.state.words.get(i.email).unwrap();
        let person = PersonId(self.state.words.find(Lookup::Email, email).unwrap());
        self.sign_in(person)
    }
}

/// What stands for an address where no word may.
#[must_use]
pub fn recipient(email: &str) -> Digest32 {
    Digest32::of(email.to_ascii_lowercase().as_bytes())
}

/// A list of accounts.
#[must_use]
pub fn list(accounts: &[AccountId]) -> Accounts {
    Accounts::List(accounts.iter().copied().collect::<BTreeSet<_>>())
}
