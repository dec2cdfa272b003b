//! A log in which everything that can happen has happened, and the databases that the tests break.

use std::path::{Path, PathBuf};

use comity_domain::application::{KeyUse, Policy};
use comity_domain::assignment::{AssignmentEnd, Basis};
use comity_domain::auto::AutoEnd;
use comity_domain::command::{
    Caller, Command, Door, FreshSecret, Inviting, Principal, Sealed, WebhookSpec,
};
use comity_domain::draft::SideWrite;
use comity_domain::event::{Due, Event, Recorded, Row};
use comity_domain::factor::{FreshPasskey, Proof};
use comity_domain::grant::{Amending, GrantEnd, Narrowing};
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{
    AccountId, CommandId, Digest32, GrantId, HaltId, Ids, InvitationId, KeyId, OrganisationId,
    PersonId, RequestId, RoleId, SessionId, UnitId,
};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::{Accounts, Party, Settings, Standing};
use comity_domain::person::PortalRole;
use comity_domain::request::RequestCancel;
use comity_domain::role::{Level, Mode};
use comity_domain::session::SessionEnd;
use comity_domain::stream::{
    StreamDelivery, StreamHeader, StreamKind, StreamSpec, StreamStanding, StreamStop,
};
use comity_domain::text::Subject;
use comity_domain::time::{DAY, Days, HOUR, Instant, MINUTE, Minutes};
use comity_domain::webhook::{Redelivery, Telling};
use comity_store::postgres::{Server, migrate};
use comity_store::{Head, NodeId, Place, Reader, Store};
use tempfile::TempDir;

use crate::postgres;
use crate::world::{World, inside, list, perms, signing_key};

/// Two organisations, a grant, people on it, and then each way in which something changes or ends.
pub fn long_story() -> World {
    let mut w = World::seeded(7);
    let (harbour, brokers) =
        (w.organisation("harbour", "Harbour Zoë"), w.organisation("brokers", "Brokers 東京"));
    platform(&mut w);
    places(&mut w, harbour, brokers);
    let (pier, quay) = (w.account(harbour, "pier"), w.account(harbour, "quay"));
    let (keeper, reader) =
        (w.role(harbour, "keeper", &["boats:*"]), w.role(harbour, "reader", &["*:read"]));
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let [rita, ugo, ida] = ["rita", "ugo", "ida"].map(|who| w.member(brokers, who, None));
    let (by_boss, by_chief, by_rita) = (w.sign_in(boss), w.sign_in(chief), w.sign_in(rita));

    // Asked, taken back, denied, approved.
    let mut ask = w.ask_spec(brokers, harbour);
    (ask.roles, ask.accounts, ask.ticket) = (
        vec!["keeper".into(), "reader".into()],
        vec!["pier".into(), "quay".into()],
        Some("T-1".into()),
    );
    let first = w.ask(&by_chief, ask.clone());
    w.must(&by_chief, Command::CancelRequest { request: first });
    let second = w.ask(&by_chief, ask.clone());
    let (reason, message) = (Some("Not in winter".into()), Some("Ask in spring".into()));
    w.must(&by_boss, Command::Deny { request: second, reason, message });
    let third = w.ask(&by_chief, ask);
    let mut terms = w.terms(&[keeper, reader]);
    terms.accounts = list(&[pier, quay]);
    let grant = w.approve(&by_boss, third, terms);
    w.assign(&by_chief, grant, rita, &[keeper]);
    w.assign(&by_chief, grant, ugo, &[keeper, reader]);
    w.assign(&by_chief, grant, ida, &[reader]);

    // Entered, narrowed, shortened, closed.
    let stay = w.enter(&by_rita, harbour, Mode::ActAs);
    w.enter(&by_rita, harbour, Mode::Direct);
    w.later(MINUTE);
    let narrowing = Narrowing {
        end: Some(w.now.plus(20 * MINUTE)),
        accounts: Some(list(&[pier])),
        ..Narrowing::default()
    };
    w.must(&by_boss, Command::Narrow { grant, narrowing, version: None });
    w.must(&inside(stay), Command::CloseSession { session: stay });
    w.must(&w.provision(), Command::DeleteRole { organisation: harbour, code: "keeper".into() });
    w.must(&w.provision(), Command::RemoveMember { organisation: brokers, external: "ugo".into() });
    let lock = |target| Command::Lock {
        customer: harbour,
        target,
        reason: Some("Seen at night\nand again".into()),
    };
    w.must(&by_boss, lock(LockTarget::Person(rita)));
    w.must(&by_boss, lock(LockTarget::Organisation(brokers)));
    let placed = w.state.lock_on(harbour, LockTarget::Organisation(brokers)).unwrap();
    w.must(&by_boss, Command::Unlock { lock: placed });
    w.must(&w.provision(), Command::RemoveMember { organisation: brokers, external: "ida".into() });
    w.must(
        &w.provision(),
        Command::RemoveMember { organisation: brokers, external: "rita".into() },
    );

    // Run out, sealed, revoked, gone.
    w.later(HOUR);
    w.must(&Caller::system(), Command::NoteDue);
    w.must(
        &Caller::system(),
        Command::SealCalls { segment: 1, records: 3, digest: Digest32::of(b"calls") },
    );
    let fourth = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    w.later(-HOUR); // a clock set back: the row's time is that of the row before
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    let terms = w.terms(&[reader]);
    let again = w.approve(&by_boss, fourth, terms);
    w.assign(&by_chief, again, chief, &[reader]);
    w.must(&by_boss, Command::Revoke { grant: again });
    given(&mut w, (harbour, &by_boss), (brokers, &by_chief), reader);
    invited(&mut w, (harbour, &by_boss), (brokers, &by_chief), reader);
    w.must(&by_boss, Command::SignOut);
    w.must(&by_chief, Command::SignOutEverywhere);
    w.must(
        &w.operate(),
        Command::SetStanding { organisation: brokers, standing: Standing::Suspended },
    );
    let target = HaltTarget::Grant(again);
    w.must(&Caller::system(), Command::Halt { target, invariant: 6 });
    let halt = w.state.halt_on(target).unwrap();
    w.must(&w.operate(), Command::LiftHalt { halt });
    let by_boss = w.sign_in(boss);
    told(&mut w, &by_boss, Some(harbour));
    let operate = w.operate();
    told(&mut w, &operate, None);
    streamed(&mut w);
    proving(&mut w, harbour, boss);
    w
}

/// Everything that can become of an event stream.
fn streamed(w: &mut World) {
    let decide = w.decide();
    let secret = FreshSecret { digest: Digest32([3; 32]), sealed: Sealed(vec![3; 40]) };
    let delivery = |url: &str, header| StreamDelivery::Push { url: url.into(), header };
    let spec = StreamSpec {
        delivery: Some(delivery("https://app.example.com/events", StreamHeader::Fresh(secret))),
        description: Some(Some("Ends sessions at the gateway".into())),
        kinds: Some(vec![StreamKind::SessionRevoked]),
    };
    w.must(&decide, Command::MakeStream { spec });
    let stream = w.state.stream_of(w.boats).unwrap();
    let reason = Some("Maintenance".into());
    let standing = StreamStanding::Paused;
    w.must(&decide, Command::SetStreamStanding { stream, standing, reason });
    w.must(&decide, Command::VerifyStream { stream, state: Some("VGhpcw".into()) });
    w.must(&Caller::system(), Command::StopStream { stream, why: StreamStop::NotTaken });
    for standing in [StreamStanding::Enabled, StreamStanding::Disabled] {
        w.must(&decide, Command::SetStreamStanding { stream, standing, reason: None });
    }
    let polled = StreamSpec { delivery: Some(StreamDelivery::Poll), ..StreamSpec::default() };
    w.must(&decide, Command::ChangeStream { stream, spec: polled });
    w.must(&decide, Command::RemoveStream { stream });
}

/// Everything that can become of what a person proves with.
fn proving(w: &mut World, harbour: OrganisationId, boss: PersonId) {
    let by = w.sign_in(boss);
    let key = |n: u8| {
        let (credential, sealed) = (Digest32([n; 32]), Sealed(vec![n; 40]));
        Command::AddPasskey(FreshPasskey { credential, name: "Blue key".into(), sealed })
    };
    w.must(&by, key(1));
    let step_up = |w: &mut World, by: &Caller, proof| {
        let digest = w.secret();
        w.must(by, Command::StepUp { digest, proof });
        let sign_in = w.state.sign_in_by_digest(digest).unwrap();
        let principal = Principal::Person { person: boss, sign_in };
        Caller { principal, door: Door::Console }
    };
    let begun = w.now;
    let proof = Proof::Passkey { credential: Digest32([1; 32]), counter: 3, begun };
    let by = step_up(w, &by, proof);
    let passkey = w.state.factors.get(&boss).unwrap().passkeys[0].id;
    w.must(&by, Command::RenamePasskey { passkey, name: "Red key".into() });
    let (secret, codes) = (Digest32([2; 32]), vec![Digest32([3; 32]), Digest32([4; 32])]);
    w.must(&by, Command::SetTotp { secret, sealed: Sealed(vec![2; 40]), step: 58_907_520, codes });
    let by = step_up(w, &by, Proof::Totp { step: 58_907_521 });
    let by = step_up(w, &by, Proof::Recovery { code: Digest32([3; 32]) });
    w.must(&by, Command::MakeRecoveryCodes { codes: vec![Digest32([5; 32])] });
    w.must(&by, Command::RemoveTotp);
    let (digest, password_hash) = (w.secret(), "$argon2id$test".into());
    w.must(&by, Command::ChangePassword { proven: true, password_hash, digest });
    let sign_in = w.state.sign_in_by_digest(digest).unwrap();
    let by = Caller { principal: Principal::Person { person: boss, sign_in }, door: Door::Console };
    w.must(&by, Command::RemovePasskey { passkey });
    w.must(&by, Command::EndSignIn { sign_in });
    let external = w.external(harbour, boss);
    w.must(&w.provision(), Command::ResetFactors { organisation: harbour, external });
}

/// Everything that can become of a webhook.
fn told(w: &mut World, caller: &Caller, owner: Option<OrganisationId>) {
    let spec = |url: &str, kinds: Option<&[&str]>| WebhookSpec {
        url: url.into(),
        description: Some("For the harbour master".into()),
        kinds: kinds.map(|kinds| kinds.iter().map(ToString::to_string).collect()),
    };
    let secret = |n: u8| FreshSecret { digest: Digest32([n; 32]), sealed: Sealed(vec![n; 40]) };
    let made = spec("https://hooks.example.com/a", None);
    w.must(caller, Command::MakeWebhook { owner, spec: made, secret: secret(1) });
    let webhook = w.state.webhooks_of(owner).next().unwrap();
    let narrower = || spec("https://hooks.example.com/b", Some(&["grant_ended", "session_ended"]));
    for active in [false, true] {
        let spec = narrower();
        w.must(caller, Command::ChangeWebhook { owner, webhook, spec, active });
    }
    w.must(caller, Command::RotateWebhook { owner, webhook, secret: secret(2) });
    w.must(caller, Command::TestWebhook { owner, webhook });
    for what in [Redelivery::One(w.state.seq, 0), Redelivery::DeadSince(w.now)] {
        w.must(caller, Command::Redeliver { owner, webhook, what });
    }
    for standing in [Telling::Failing, Telling::Gone] {
        w.must(&Caller::system(), Command::StopWebhook { webhook, standing });
        let spec = narrower();
        w.must(caller, Command::ChangeWebhook { owner, webhook, spec, active: true });
    }
    w.must(caller, Command::RemoveWebhook { owner, webhook });
}

fn platform(w: &mut World) {
    let operate = w.operate();
    let key = w.key(&operate, KeyUse::Operate, None);
    w.must(&operate, Command::RetireKey { key });
    let policy = Policy { never_delegable: perms(&["money:*"]), ..Policy::default() };
    w.must(&operate, Command::SetPolicy { policy });
    let fresh = [1, 2].map(signing_key).to_vec();
    w.must(&Caller::system(), Command::TendSigningKeys { fresh });
    w.must(&operate, Command::RotateSigningKeys { fresh: signing_key(3) });
    let (kid, _) = w.state.signing_key().unwrap();
    w.must(&operate, Command::CompromiseSigningKey { kid, fresh: signing_key(4) });
    let application = w.boats;
    let keys = vec![signing_key(5).public];
    w.must(&operate, Command::SetClientKeys { application, keys });
    let (_, known) = w.state.newest_level("partner").unwrap();
    let level = Level { longest_grant: Days(90), session_cap: Minutes(45), ..known.clone() };
    w.must(&operate, Command::PutLevel { code: "guest".into(), level });
}

fn places(w: &mut World, harbour: OrganisationId, brokers: OrganisationId) {
    let provision = w.provision();
    w.unit(brokers, "night");
    for active in [false, true] {
        let (external, name) = ("night".into(), "Night watch".into());
        w.must(&provision, Command::PutUnit { organisation: brokers, external, name, active });
    }
    let code = w.fresh_code();
    w.must(
        &provision,
        Command::PutOrganisation { external: "harbour".into(), name: "Harbour".into(), code },
    );
    w.account(harbour, "shed");
    let (external, name, unit) = ("shed".into(), "Old shed".into(), None);
    w.must(&provision, Command::PutAccount { organisation: harbour, external, name, unit });
    w.must(&provision, Command::RemoveAccount { organisation: harbour, external: "shed".into() });
    w.role(harbour, "painter", &["boats:paint"]);
    w.role(harbour, "painter", &["boats:paint", "boats:read"]);
    let (admin, _) = (w.admin(harbour, "first"), w.admin(harbour, "other"));
    let by_admin = w.sign_in(admin);
    let code = w.fresh_code();
    w.must(&by_admin, Command::RotateCustomerId { organisation: harbour, code });
    let settings = Settings {
        session_cap: Minutes(30),
        blocked: [OrganisationId(9)].into(),
        ..Settings::default()
    };
    let version = Some(w.state.organisations.get(harbour).unwrap().version);
    w.must(&by_admin, Command::ChangeSettings { organisation: harbour, settings, version });
    for (name, unit, active) in [
        ("Nia", None, true),
        ("Nia Noor", None, true),
        ("Nia Noor", Some("night"), true),
        ("Nia Noor", None, false),
        ("Nia Noor", None, true),
    ] {
        let mut put = w.member_spec(brokers, "nia", None);
        (put.name, put.unit, put.active) = (name.into(), unit.map(Into::into), active);
        w.must(&provision, Command::PutMember(put));
    }
    w.role(brokers, "own", &["boats:read"]);
    let mut put = w.member_spec(brokers, "nia", None);
    (put.name, put.roles) = ("Nia Noor".into(), Some(vec!["own".into()]));
    w.must(&provision, Command::PutMember(put));
    for email_verified in [false, true] {
        let put = w.member_spec(brokers, "ole", None);
        w.must(
            &provision,
            Command::PutMember(comity_domain::command::PutMember { email_verified, ..put }),
        );
    }
}

/// Offered, taken back, declined, accepted, amended.
fn given(
    w: &mut World,
    (customer, by_customer): (OrganisationId, &Caller),
    (provider, by_provider): (OrganisationId, &Caller),
    role: RoleId,
) {
    let to = w.partner_id(by_provider, provider);
    let terms = w.terms(&[role]);
    let first = w.offer(by_customer, (customer, to), terms.clone());
    w.must(by_customer, Command::CancelRequest { request: first });
    let request = w.offer(by_customer, (customer, to), terms.clone());
    let (reason, message) = (Some("No boats".into()), Some("Not this year".into()));
    w.must(by_provider, Command::Decline { request, reason, message });
    let third = w.offer(by_customer, (customer, to), terms);
    let grant = w.accept(by_provider, third);
    let amending = Amending { days: Some(Days(90)), ..Amending::default() };
    w.amend(by_customer, grant, amending);
    w.must(by_provider, Command::GiveUp { grant });
}

/// Invited, sent again, changed, held, approved, accepted, declined, taken back, joined.
fn invited(
    w: &mut World,
    (customer, by_customer): (OrganisationId, &Caller),
    (provider, by_provider): (OrganisationId, &Caller),
    role: RoleId,
) {
    let second = w.admin(provider, "second");
    let by_second = w.sign_in(second);
    let own = w.state.organisations.get(customer).unwrap().settings.clone();
    let settings = Settings { allow_external: true, ..own };
    let set = Command::ChangeSettings { organisation: customer, settings, version: None };
    w.must(by_customer, set);
    let ask = w.ask_spec(provider, customer);
    let request = w.ask(by_provider, ask);
    let terms = comity_domain::consent::Terms { allow_external: true, ..w.terms(&[role]) };
    let grant = w.approve(by_customer, request, terms);
    let (id, _) = w.invite(&by_second, grant, "kai@elsewhere.example", &[role]);
    let (token, sealed) = (w.secret(), Sealed(vec![9; 8]));
    w.must(&by_second, Command::ResendInvitation { grant, invitation: id, token, sealed });
    let ends_at = Some(w.now.plus(9 * DAY));
    let giving = Inviting { roles: vec![role], accounts: Accounts::All, ends_at };
    w.must(&by_second, Command::ChangeInvitation { grant, invitation: id, giving });
    let put = w.member_spec(provider, "second", None);
    w.must(&w.provision(), Command::PutMember(put));
    w.must(by_provider, Command::ApproveInvitation { grant, invitation: id });
    let kai = w.register(token, "Kai Kranz");
    w.must(&kai, Command::AcceptInvitation { token });
    let (_, token) = w.invite(by_provider, grant, "lea@elsewhere.example", &[role]);
    w.must(&crate::world::anonymous(), Command::DeclineInvitation { token });
    let (id, _) = w.invite(by_provider, grant, "lea@elsewhere.example", &[role]);
    w.must(by_provider, Command::CancelInvitation { grant, invitation: id });
    let recipient = Digest32([8; 32]);
    w.must(&Caller::system(), Command::SuppressAddress { recipient });
    let mut join = w.member_spec(provider, "kai", None);
    join.email = "kai@elsewhere.example".into();
    w.must(&w.provision(), Command::PutMember(join));
    w.invite(by_provider, grant, "mia@elsewhere.example", &[role]);
    w.must(by_provider, Command::GiveUp { grant });
}

/// Rows for values that a story reaches only with effort, so that their stored form is fixed too.
pub fn odd_rows(after: u64, at: Instant) -> Vec<Row> {
    let (grant, person, session, request) =
        (GrantId(11), PersonId(12), SessionId(13), RequestId(14));
    let mut events =
        vec![Event::FirstRunOffered { digest: Digest32([18; 32]), until: at.plus(DAY) }];
    events.extend(
        [
            Due::Request(request),
            Due::Grant(grant),
            Due::GrantWeek(grant),
            Due::GrantDay(grant),
            Due::Session(session),
            Due::Invitation(InvitationId(19)),
        ]
        .map(|what| Event::ExpiryNoted { what }),
    );
    events.extend(
        [
            HaltTarget::Grant(grant),
            HaltTarget::Session(session),
            HaltTarget::Person(person),
            HaltTarget::Organisation(OrganisationId(15)),
            HaltTarget::Key(KeyId(16)),
        ]
        .map(|target| Event::Halted { halt: HaltId(17), target }),
    );
    let (party, digest) =
        (Party { organisation: OrganisationId(15), unit: None }, Digest32([19; 32]));
    events.push(Event::OfferAccepted { request, grant, by: None });
    let organisation = OrganisationId(15);
    events.push(Event::MembershipSuperseded { organisation, person, grant });
    events.push(Event::MembershipRestored { organisation, person, by: PersonId(21) });
    let unit = Some(UnitId(20));
    events.push(Event::PartnerIdSet { party: Party { unit, ..party }, digest });
    events.extend(
        [
            RequestCancel::ByAsker,
            RequestCancel::Revoked,
            RequestCancel::Locked,
            RequestCancel::Closed,
            RequestCancel::Restored,
        ]
        .map(|cause| Event::CancellationNoted { request, cause }),
    );
    events.extend(
        [GrantEnd::Revoked, GrantEnd::GivenUp, GrantEnd::Closed].map(|cause| Event::GrantEnded {
            grant,
            cause,
            by: None,
        }),
    );
    events.extend(
        [
            AssignmentEnd::Removed,
            AssignmentEnd::LeftProvider,
            AssignmentEnd::LeftUnit,
            AssignmentEnd::AccountsGone,
            AssignmentEnd::MembershipRestored,
            AssignmentEnd::Replaced,
            AssignmentEnd::AllEnded,
        ]
        .map(|cause| Event::AssignmentEnded { grant, person, cause }),
    );
    let (role, account) = (RoleId(15), AccountId(16));
    events.extend([
        Event::AssignedMany {
            grant,
            new: vec![person],
            more: Vec::new(),
            roles: vec![role],
            everybody: true,
            accounts: Accounts::List([account].into()),
            pairs: 1,
        },
        Event::UnassignedMany {
            grant,
            off: vec![person],
            less: Vec::new(),
            accounts: Accounts::All,
            pairs: 1_000,
        },
        Event::AccountLinked { account, group: Some("pair-7".into()) },
        Event::AssignmentsTrimmed {
            grant,
            people: vec![person],
            roles: vec![role],
            accounts: vec![account],
        },
    ]);
    events.extend(
        [
            SessionEnd::Closed,
            SessionEnd::EndedByCustomer,
            SessionEnd::Revoked,
            SessionEnd::GrantEnded,
            SessionEnd::AssignmentLost,
            SessionEnd::Locked,
            SessionEnd::Suspended,
            SessionEnd::Restored,
            SessionEnd::Unconfirmed,
        ]
        .map(|cause| Event::SessionEnded { session, cause }),
    );
    events.extend([Basis::Individual, Basis::Automatic, Basis::Invited].map(|basis| {
        Event::Assigned {
            grant,
            person,
            roles: Vec::new(),
            accounts: Accounts::All,
            ends_at: Instant::NEVER,
            basis,
        }
    }));
    events.extend(
        [Standing::Active, Standing::Suspended, Standing::Closed]
            .map(|standing| Event::UnitStanding { unit: UnitId(15), standing }),
    );
    events.extend(
        [
            Subject::Organisation(OrganisationId(1)),
            Subject::Unit(UnitId(15)),
            Subject::Account(AccountId(16)),
            Subject::Person(person),
            Subject::Request(request),
            Subject::Session(session),
        ]
        .map(|subject| Event::WordsErased { subject }),
    );
    events.extend(
        [None, Some([PortalRole::Admin, PortalRole::CustomerSupport].into())]
            .map(|only| Event::AutoSet { grant, roles: vec![RoleId(17)], only }),
    );
    events.push(Event::AutoTrimmed { grant, roles: vec![RoleId(17)] });
    events.push(Event::AutoSuspended { grant });
    events.push(Event::AutoLeftOut { grant, person });
    events.extend(
        [AutoEnd::SwitchedOff, AutoEnd::AccountsGone]
            .map(|cause| Event::AutoCleared { grant, cause }),
    );
    events.extend([true, false].map(|people_kept| Event::Restored { fork: 2, people_kept }));
    events.push(Event::GrantConfirmed { grant, by: person });
    (after + 1..)
        .zip(events)
        .map(|(seq, event)| Row {
            seq,
            at: at.plus(DAY),
            command: CommandId(u128::from(seq)),
            kind: "note_due".into(),
            caller: Caller::system(),
            acting: Vec::new(),
            events: vec![Recorded { event, readers: vec![OrganisationId(1), OrganisationId(2)] }],
            words: Vec::new(),
        })
        .collect()
}

/// Nothing beside.
pub fn alone(rows: &[Row]) -> Vec<(Row, Vec<SideWrite>)> {
    rows.iter().map(|row| (row.clone(), Vec::new())).collect()
}

/// Salts that are the same in each run.
pub fn salts() -> Ids {
    Ids::new([5; 32])
}

/// Which engine a promise is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

/// Makes of each promise, written once, a test of either engine.
macro_rules! on_both {
    ($($(#[$meta:meta])* fn $name:ident($on:ident: On) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)] // what one promise needs another does not
            use super::*;
            fn promise($on: On) $body
            #[test]
            fn sqlite() {
                promise(On::Sqlite);
            }
            #[test]
            fn postgres() {
                promise(On::Postgres);
            }
        }
    )*};
}
pub(crate) use on_both;

/// A place with a log in it: a folder, or a database of its own.
pub struct Shelf {
    pub folder: TempDir,
    /// The file of the log, where there is one.
    pub path: PathBuf,
    pub place: Place,
}

impl On {
    /// A place on which nothing was written yet.
    pub fn shelf(self) -> Shelf {
        let mut shelf = Shelf::empty();
        if self == Self::Postgres {
            let server = Server::parse(&postgres::fresh_database("promise")).unwrap();
            migrate(&server).unwrap();
            shelf.place = Place::Postgres(server, NodeId(1));
        }
        shelf
    }

    /// A closed log that holds these rows.
    pub fn shelf_with(self, rows: &[Row]) -> Shelf {
        let shelf = self.shelf();
        shelf.fill(rows);
        shelf
    }
}

impl Shelf {
    /// A folder, for what is true of files only.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = (folder.path().join("comity.db"), Place::Folder(folder.path().into()));
        Self { folder, path, place }
    }

    fn fill(&self, rows: &[Row]) {
        let (mut store, mut salts) = (self.open(), salts());
        for part in rows.chunks(7) {
            store.append(&alone(part), &mut salts).unwrap();
        }
    }

    pub fn reader(&self) -> Reader {
        Reader::at(&self.place)
    }

    fn database(&self) -> Option<String> {
        let Place::Postgres(server, _) = &self.place else {
            return None;
        };
        Some(server.shown().rsplit('/').next().unwrap().to_owned())
    }

    /// How many rows a table has.
    pub fn counted(&self, table: &str) -> i64 {
        match self.database() {
            None => counted(&self.path, table),
            Some(name) => {
                let asked = format!("SELECT count(*) FROM {table}");
                postgres::server().sql(&name, &asked).parse().unwrap()
            }
        }
    }

    /// Runs a statement behind the store's back.
    pub fn change(&self, statement: &str) {
        match self.database() {
            None => drop(self.raw().execute(statement, []).unwrap()),
            Some(name) => drop(postgres::server().sql(&name, statement)),
        }
    }

    /// A closed log that holds these rows.
    pub fn with(rows: &[Row]) -> Self {
        On::Sqlite.shelf_with(rows)
    }

    pub fn open(&self) -> Store {
        Store::at(&self.place).unwrap()
    }

    /// A copy of this closed log in a folder of its own.
    pub fn copy(&self) -> Self {
        let other = Self::empty();
        std::fs::copy(&self.path, &other.path).unwrap();
        other
    }

    /// A connection that is under no promise.
    pub fn raw(&self) -> rusqlite::Connection {
        let raw = rusqlite::Connection::open(&self.path).unwrap();
        raw.pragma_update(None, "synchronous", "OFF").unwrap();
        raw
    }
}

/// Every row of a log.
pub fn read_all(store: &Store) -> Vec<Row> {
    let mut rows = Vec::new();
    store
        .replay(0, |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    rows
}

/// What the file says besides its rows.
pub fn counted(path: &Path, table: &str) -> i64 {
    let raw = rusqlite::Connection::open(path).unwrap();
    raw.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0)).unwrap()
}

/// The head as plain values.
pub fn stands(store: &Store) -> (u64, [u8; 32]) {
    let Head { seq, root, .. } = store.head().unwrap();
    (seq, root)
}
