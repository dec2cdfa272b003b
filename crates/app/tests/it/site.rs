//! An installation in a folder of its own, on a clock that stands still.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use comity_app::app::{App, Settings as AppSettings};
use comity_app::clock::Clock;
use comity_app::keys::Keys;
use comity_app::node::{Done, NotDone};
use comity_app::people::passwords::Cost;
use comity_app::tokens::{Kind, Secret};
use comity_decision::decide::Answer;
use comity_domain::command::{Asked, Caller, Command, Door, Invite, Inviting, Principal, Sealed};
use comity_domain::consent::Terms;
use comity_domain::draft::SideWrite;
use comity_domain::event::{Event, Row};
use comity_domain::factor::Proof;
use comity_domain::ids::{
    Digest32, GrantId, Ids, InvitationId, OrganisationId, PersonId, RequestId, RoleId, SessionId,
};
use comity_domain::kernel;
use comity_domain::organisation::{Accounts, Settings};
use comity_domain::permission::Permission;
use comity_domain::rights::Resource;
use comity_domain::role::Mode;
use comity_domain::state::State;
use comity_domain::text::Lookup;
use comity_store::{Place, Reader, Store};
use tempfile::TempDir;

use crate::engine;
use crate::world::World;

/// One partner of the harbour: its Admin, and one who goes there.
pub struct Broker {
    pub organisation: OrganisationId,
    pub chief: PersonId,
    pub by_chief: Caller,
    pub rita: PersonId,
    pub by_rita: Caller,
}

/// A harbour with two Admins, and as many brokers as a test needs.
pub struct Cast {
    pub harbour: OrganisationId,
    pub by_boss: Caller,
    pub by_other: Caller,
    pub keeper: RoleId,
    pub brokers: Vec<Broker>,
}

/// The world with its cast.
pub fn cast(brokers: usize) -> (World, Cast) {
    let mut w = World::seeded(11);
    let harbour = w.organisation("harbour", "Harbour");
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let (boss, other) = (w.admin(harbour, "boss"), w.admin(harbour, "other"));
    let (by_boss, by_other) = (w.sign_in(boss), w.sign_in(other));
    let brokers = (0..brokers)
        .map(|n| {
            let organisation = w.organisation(&format!("broker{n}"), &format!("Broker {n}"));
            let (chief, rita) =
                (w.admin(organisation, "chief"), w.member(organisation, "rita", None));
            let (by_chief, by_rita) = (w.sign_in(chief), w.sign_in(rita));
            Broker { organisation, chief, by_chief, rita, by_rita }
        })
        .collect();
    (w, Cast { harbour, by_boss, by_other, keeper, brokers })
}

pub fn settings(folder: &Path) -> AppSettings {
    let settings = AppSettings::new(folder.join("data"), folder.join("key"), Cost::TESTS);
    match engine::database_of(folder) {
        None => settings,
        Some(server) => settings.on(server),
    }
}

/// Where the log of an installation is.
pub fn place(folder: &Path) -> Place {
    engine::place(folder, &folder.join("data"))
}

/// Reads that log beside whoever has it.
pub fn reader(folder: &Path) -> Reader {
    Reader::at(&place(folder))
}

/// Writes a world's rows as the log of an installation, or as what comes next in it.
pub fn lay(folder: &Path, rows: &[Row]) {
    std::fs::create_dir_all(folder.join("data")).unwrap();
    lay_in(&mut Store::at(&place(folder)).unwrap(), folder, rows);
}

/// The same in a log that is open, for the key file of a folder.
pub fn lay_in(store: &mut Store, folder: &Path, rows: &[Row]) {
    // A start looks whether the key file opens what this log sealed.
    let (keys, _) = Keys::open(&settings(folder).key_file).unwrap();
    let beside = |row: &Row| -> Vec<SideWrite> {
        let sealed = |e: &Event| match e {
            Event::CustomerIdSet { organisation, digest } => {
                let sealed = keys.seal(&format!("customer_id/{digest}"), b"a code");
                Some(SideWrite::CustomerId(*organisation, sealed))
            }
            _ => None,
        };
        row.events.iter().filter_map(|r| sealed(&r.event)).collect()
    };
    let batch: Vec<_> = rows.iter().map(|row| (row.clone(), beside(row))).collect();
    store.append(&batch, &mut Ids::new([3; 32])).unwrap();
}

pub struct Site {
    pub app: Arc<App>,
    pub clock: Arc<Clock>,
    pub folder: TempDir,
    /// For its helpers; its state is looked up anew by [`Site::look`].
    pub w: World,
}

impl Site {
    pub fn of(w: World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        lay(folder.path(), &w.rows);
        Self::on(folder, w)
    }

    /// Starts on a folder that has been used.
    pub fn on(folder: TempDir, w: World) -> Self {
        let settings = settings(folder.path());
        Self::set(folder, w, &settings)
    }

    /// Starts on a folder with settings of one's own.
    pub fn set(folder: TempDir, w: World, settings: &AppSettings) -> Self {
        let clock = Arc::new(Clock::simulated(w.now));
        let app = App::start(settings, clock.clone()).unwrap();
        // Where being current is confirmed over the network, a door waits for the first time too.
        for _ in 0..100 {
            if app.is_ready() || !engine::on_postgres() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { app, clock, folder, w }
    }

    /// Stops cleanly and starts again.
    pub fn again(self) -> Self {
        self.app.stop();
        let Self { app, folder, w, .. } = self;
        drop(app);
        Self::on(folder, w)
    }

    pub fn run(&self, caller: &Caller, asked: impl Into<Asked>) -> Result<Done, NotDone> {
        self.app.node().run_blocking(caller.clone(), asked)
    }

    pub fn must(&self, caller: &Caller, command: Command) -> Done {
        let shown = format!("{command:?}");
        self.run(caller, command).unwrap_or_else(|e| panic!("{e:?}: {shown}"))
    }

    /// The world's helpers see what is published now.
    pub fn look(&mut self) -> &mut World {
        self.w.state = (*self.app.state()).clone();
        &mut self.w
    }

    /// Lets the writer take these commands in one batch, in this order.
    pub fn in_one_batch(
        &self,
        commands: Vec<(Caller, impl Into<Asked>)>,
    ) -> Vec<Result<Done, NotDone>> {
        let faults = self.app.node().faults();
        faults.stuck.store(true, Ordering::Release);
        // Once this is answered the writer holds on before it takes anything else; if it is not
        // answered the writer was holding on already, and takes it with the rest.
        let mut nudge: Answering<'_> =
            Box::pin(self.app.node().run(Caller::system(), Command::NoteDue));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..150 {
            if nudge.as_mut().poll(&mut context).is_ready() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut waiting: Vec<Answering<'_>> = commands
            .into_iter()
            .map(|(caller, asked)| -> Answering<'_> {
                Box::pin(self.app.node().run(caller, asked.into()))
            })
            .collect();
        for sending in &mut waiting {
            assert!(sending.as_mut().poll(&mut context).is_pending(), "sent, and not answered");
        }
        faults.stuck.store(false, Ordering::Release);
        waiting.into_iter().map(wait).collect()
    }

    // -- from a question to a stay ----------------------------------------------------------------

    pub fn ask(&mut self, broker: &Broker, harbour: OrganisationId) -> RequestId {
        let ask = self.look().ask_spec(broker.organisation, harbour);
        let done = self.must(&broker.by_chief, Command::Ask(ask));
        newest(&done.state, |s| s.requests_from(broker.organisation).next_back())
    }

    /// The command by which somebody approves what was asked, having seen it.
    pub fn approval(&mut self, request: RequestId, keeper: RoleId) -> Command {
        let w = self.look();
        let terms = w.terms(&[keeper]);
        let summary = w.summary(request, &terms).unwrap();
        Command::Approve { request, terms, summary }
    }

    /// Asks, approves, and assigns both people of the broker.
    pub fn grant(&mut self, cast: &Cast, broker: &Broker) -> GrantId {
        let request = self.ask(broker, cast.harbour);
        let approval = self.approval(request, cast.keeper);
        let done = self.must(&cast.by_boss, approval);
        let grant = newest(&done.state, |s| s.grants_to(broker.organisation).next_back());
        for person in [broker.chief, broker.rita] {
            let spec = self.w.assignment_spec(person, &[cast.keeper]);
            self.must(&broker.by_chief, Command::Assign { grant, spec });
        }
        grant
    }

    /// A grant whose partner may invite people from outside; nobody is on it.
    pub fn open_grant(&mut self, cast: &Cast, broker: &Broker) -> GrantId {
        let organisation = cast.harbour;
        let own = self.app.state().organisations.get(organisation).unwrap().settings.clone();
        let settings = Settings { allow_external: true, ..own };
        let set = Command::ChangeSettings { organisation, settings, version: None };
        self.must(&cast.by_boss, set);
        let request = self.ask(broker, organisation);
        let w = self.look();
        let terms = Terms { allow_external: true, ..w.terms(&[cast.keeper]) };
        let summary = w.summary(request, &terms).unwrap();
        let done = self.must(&cast.by_boss, Command::Approve { request, terms, summary });
        newest(&done.state, |s| s.grants_to(broker.organisation).next_back())
    }

    /// What a broker may give by it.
    pub fn inviting(&self, cast: &Cast) -> Inviting {
        Inviting { roles: vec![cast.keeper], accounts: Accounts::All, ends_at: None }
    }

    /// Invites an address, and registers and signs in by a link that the test knows.
    pub fn invited(
        &mut self,
        cast: &Cast,
        broker: &Broker,
        grant: GrantId,
        email: &str,
    ) -> (InvitationId, Digest32, Caller) {
        let secret = Secret::new(Kind::Invitation);
        let token = secret.digest();
        let invite = Invite {
            grant,
            email: email.into(),
            recipient: Digest32::of(email.as_bytes()),
            giving: self.inviting(cast),
            token,
            sealed: Sealed(vec![1; 8]),
        };
        let done = self.must(&broker.by_chief, Command::Invite(Box::new(invite)));
        let id = done.state.invitation_by_token(token).unwrap();
        let caller = self.registered(token, email);
        (id, token, caller)
    }

    /// Registers by a link, and signs in.
    pub fn registered(&self, token: Digest32, email: &str) -> Caller {
        let anonymous = Caller { principal: Principal::Anonymous, door: Door::Api };
        let (name, password_hash) = ("Kai Kranz".into(), "$argon2id$test".into());
        let register = Command::RegisterInvited { token, name, password_hash };
        let done = self.must(&anonymous, register);
        let person = PersonId(done.state.words.find(Lookup::Email, email).unwrap());
        let auth_epoch = done.state.people.get(person).unwrap().auth_epoch;
        let digest = Secret::new(Kind::SignIn).digest();
        let proof = Proof::Password;
        let done = self.must(&anonymous, Command::SignIn { person, auth_epoch, digest, proof });
        let sign_in = done.state.sign_in_by_digest(digest).unwrap();
        Caller { principal: Principal::Person { person, sign_in }, door: Door::Api }
    }

    /// A wish to enter, and the token that it would bring.
    pub fn wish(
        &mut self,
        harbour: OrganisationId,
        grant: GrantId,
        mode: Mode,
    ) -> (Secret, Command) {
        let token = Secret::new(Kind::Session);
        let mut enter = self.w.enter_spec(harbour, mode);
        (enter.token, enter.grant) = (token.digest(), Some(grant));
        (token, Command::Enter(enter))
    }

    pub fn enter(
        &mut self,
        broker: &Broker,
        harbour: OrganisationId,
        grant: GrantId,
    ) -> (Secret, SessionId) {
        let (token, enter) = self.wish(harbour, grant, Mode::Direct);
        let done = self.must(&broker.by_rita, enter);
        let session = done.state.session_by_token(token.digest()).unwrap();
        (token, session)
    }

    /// Asks for a decision on the customer as a whole.
    pub fn evaluate(&self, token: &Secret, permission: &str) -> Answer {
        evaluate(&self.app, self.w.boats, token.reveal(), permission)
    }

    // -- what must be true at the end -------------------------------------------------------------

    /// inv24, inv25, inv29: the log is whole, and leads to what is published.
    pub fn check(&self) {
        let reader = reader(self.folder.path());
        assert_eq!(comity_store::verify(&reader, None).unwrap().first_bad, None);
        assert!(self.replayed() == *self.app.state(), "the log leads to another state");
    }

    pub fn replayed(&self) -> State {
        let mut state = State::default();
        for row in self.app.reader().rows(None, 0, usize::MAX).unwrap() {
            kernel::apply(&mut state, &row);
        }
        state
    }
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Done, NotDone>> + 'a>>;

fn wait(mut answering: Answering<'_>) -> Result<Done, NotDone> {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..20_000 {
        if let Poll::Ready(answer) = answering.as_mut().poll(&mut context) {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no answer within twenty seconds");
}

fn newest<T>(state: &State, of: impl Fn(&State) -> Option<T>) -> T {
    of(state).unwrap()
}

pub fn evaluate(
    app: &App,
    boats: comity_domain::ids::ApplicationId,
    token: &str,
    permission: &str,
) -> Answer {
    let asked = Permission::parse(permission).unwrap();
    app.evaluate(boats, token, asked, |_, customer| Resource::Organisation(customer))
}

/// The code of a refusal; anything else is not what the test is about.
pub fn code(answer: &Result<Done, NotDone>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(NotDone::Refused(refusal)) => refusal.code(),
        Err(NotDone::Unavailable(why)) => panic!("unavailable: {why}"),
        Err(_) => "unknown",
    }
}

/// How often something is tried: more in a night than at a desk.
pub fn rounds(by_itself: usize) -> usize {
    std::env::var("COMITY_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(by_itself)
}
