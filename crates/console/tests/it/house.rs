//! An installation in a folder of its own, looked at page by page in process: no socket, a clock
//! that stands still until it is moved, and passwords that cost nothing.
//!
//! Marina Bay is the customer, Harbor Help the partner, Elsewhere has no tie to either.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use comity_api::limits;
use comity_app::App;
use comity_app::app::Entered;
use comity_app::clock::Clock;
use comity_app::node::Done;
use comity_app::people::passwords::Cost;
use comity_app::tokens::{Kind, Secret};
use comity_domain::application::KeyUse;
use comity_domain::code::CustomerCode;
use comity_domain::command::{Ask, AssignmentSpec, Caller, Command, Door, Enter, PutMember};
use comity_domain::consent::{self, Terms};
use comity_domain::event::Event;
use comity_domain::ids::{
    AccountId, ApplicationId, GrantId, OrganisationId, PersonId, RequestId, RoleId, SessionId,
};
use comity_domain::organisation::Accounts;
use comity_domain::permission::{Permission, Permissions};
use comity_domain::person::PortalRole;
use comity_domain::rights::Resource;
use comity_domain::role::{Mode, Modes};
use comity_domain::text::Lookup;
use comity_domain::time::{Days, Instant, MINUTE};
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::engine;

/// When every installation begins: 2026-01-01T00:00:00Z.
pub const START: Instant = Instant(1_767_225_600_000);
/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";
/// The application.
pub const AUDIENCE: &str = "https://api.boats.example";

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    /// A header as text.
    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Where it leads.
    pub fn to(&self) -> &str {
        self.header(header::LOCATION)
    }

    /// Has to be this status.
    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{} {}", self.to(), self.text);
        self
    }

    /// Has to say this.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.text.contains(text), "{text:?} is not in {}", self.text);
        self
    }

    /// Must not say this.
    #[track_caller]
    pub fn is_silent(&self, text: &str) -> &Self {
        assert!(!self.text.contains(text), "{text:?} is in {}", self.text);
        self
    }

    /// The value of a hidden or shown field.
    #[track_caller]
    pub fn value(&self, name: &str) -> String {
        let at = format!("name=\"{name}\"");
        let from =
            self.text.find(&at).unwrap_or_else(|| panic!("no field {name} in {}", self.text));
        let rest = &self.text[from..];
        let value = rest.split_once("value=\"").expect("a value").1;
        value.split_once('"').expect("its end").0.to_owned()
    }

    /// What was said to be done.
    pub fn said(&self) -> String {
        use base64::Engine as _;
        let all = self.headers.get_all(header::SET_COOKIE).iter().filter_map(|v| v.to_str().ok());
        let said = all.filter_map(|c| c.strip_prefix("__Host-comity-said=")).next();
        let said = said.and_then(|c| c.split(';').next()).unwrap_or_default();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(said).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

/// A browser with somebody's cookie.
#[derive(Debug, Clone)]
pub struct Browser {
    pub cookie: String,
}

/// A running installation.
pub struct House {
    pub app: Arc<App>,
    pub clock: Arc<Clock>,
    pub router: Router,
    pub runtime: tokio::runtime::Runtime,
    pub folder: TempDir,
    pub organisations: BTreeMap<&'static str, OrganisationId>,
    pub people: BTreeMap<&'static str, PersonId>,
    pub application: ApplicationId,
    pub decide: String,
    pub provisioner: Caller,
    pub operator: Caller,
}

const PEOPLE: [(&str, &str, &str, Option<PortalRole>); 6] = [
    ("marina", "ana", "Ana Alvarez", Some(PortalRole::Admin)),
    ("marina", "sam", "Sam Soler", Some(PortalRole::CustomerSupport)),
    ("marina", "max", "Max Member", None),
    ("harbor", "pia", "Pia Park", Some(PortalRole::Admin)),
    ("harbor", "hugo", "Hugo Hart", None),
    ("elsewhere", "eve", "Eve Else", Some(PortalRole::Admin)),
];

impl House {
    /// One with its people; nothing has been asked yet.
    pub fn new() -> Self {
        Self::limited(&limits::Settings::off())
    }

    /// One behind limits.
    pub fn limited(limits: &limits::Settings) -> Self {
        let mut house = Self::unclaimed(limits);
        let (operator, application, decide, provisioner) = house.runtime.block_on(keys(&house.app));
        house = Self { application, decide, provisioner, operator, ..house };
        house.provision();
        house
    }

    /// One that nobody holds yet.
    pub fn unclaimed(limits: &limits::Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let clock = Arc::new(Clock::simulated(START));
        let data = folder.path().to_path_buf();
        let mut settings =
            comity_app::app::Settings::new(data.clone(), data.join("comity.key"), Cost::TESTS);
        settings.database = engine::database_of(&data);
        settings.issuer = "https://comity.example".into();
        let app = App::start(&settings, clock.clone()).expect("an installation");
        for _ in 0..1_000 {
            if app.is_ready() || !engine::on_postgres() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let console = comity_console::router(app.clone(), comity_console::Settings { demo: true });
        let router = comity_api::router_beside(app.clone(), limits, console);
        Self {
            app,
            clock,
            router,
            runtime,
            folder,
            organisations: BTreeMap::new(),
            people: BTreeMap::new(),
            application: ApplicationId::MIN,
            decide: String::new(),
            provisioner: Caller::system(),
            operator: Caller::system(),
        }
    }

    fn provision(&mut self) {
        for (external, name) in
            [("marina", "Marina Bay"), ("harbor", "Harbor Help"), ("elsewhere", "Elsewhere")]
        {
            let code = self.app.fresh_code();
            let command =
                Command::PutOrganisation { external: external.into(), name: name.into(), code };
            let done = self.run(&self.provisioner, command);
            let id = done.state.words.find(Lookup::Organisation, external).map(OrganisationId);
            self.organisations.insert(external, id.unwrap());
        }
        let organisation = self.org("marina");
        for account in ["boat-1", "boat-2"] {
            let (external, name) = (account.to_owned(), format!("Account {account}"));
            self.run(
                &self.provisioner,
                Command::PutAccount { organisation, external, name, unit: None },
            );
        }
        self.role("clerk", "Clerk", &["bookings:read", "bookings:write"]);
        for (organisation, external, name, portal) in PEOPLE {
            let id = self.member(organisation, external, name, portal);
            self.people.insert(external, id);
        }
    }

    /// Defines a role of Marina Bay, or a new version.
    pub fn role(&self, code: &str, name: &str, permissions: &[&str]) -> RoleId {
        let organisation = self.org("marina");
        let permissions = Permissions::parse("permissions", permissions).unwrap();
        let (code, name) = (code.to_owned(), name.to_owned());
        let command = Command::PutRole { organisation, code: code.clone(), name, permissions };
        let done = self.run(&self.provisioner, command);
        done.state.role_by_code(organisation, &code).unwrap()
    }

    /// Defines an application, or changes it.
    pub fn application(
        &self,
        code: &str,
        audience: &str,
        permissions: &[&str],
        launch: Option<&str>,
    ) {
        let command = Command::PutApplication {
            code: code.into(),
            audience: audience.into(),
            permissions: Permissions::parse("permissions", permissions).unwrap(),
            launch_url: launch.map(Into::into),
        };
        self.run(&self.operator, command);
    }

    /// Makes a member with a password.
    pub fn member(
        &self,
        organisation: &str,
        external: &str,
        name: &str,
        portal: Option<PortalRole>,
    ) -> PersonId {
        let id = self.org(organisation);
        let command = Command::PutMember(PutMember {
            organisation: id,
            external: external.into(),
            name: name.into(),
            email: format!("{external}@{organisation}.example"),
            email_verified: true,
            unit: None,
            portal,
            active: true,
            roles: None,
        });
        let done = self.run(&self.provisioner, command);
        let person = done.state.words.find(Lookup::Member(id), external).map(PersonId).unwrap();
        if !done.state.people.get(person).unwrap().has_password {
            let secret = Secret::new(Kind::Enrolment);
            let (digest, external) = (secret.digest(), external.to_owned());
            self.run(
                &self.provisioner,
                Command::MakeEnrolment { organisation: id, external, digest },
            );
            let enrolled = self.app.enrol(secret.reveal(), PASSWORD.into());
            self.runtime.block_on(enrolled).unwrap();
        }
        person
    }

    /// Makes somebody a member of another organisation too.
    pub fn also_member(&self, external: &str, organisation: &str, who: &str) -> PersonId {
        let id = self.org(organisation);
        let command = Command::PutMember(PutMember {
            organisation: id,
            external: external.into(),
            name: "The same person".into(),
            email: format!("{who}.example"),
            email_verified: true,
            unit: None,
            portal: None,
            active: true,
            roles: None,
        });
        let done = self.run(&self.provisioner, command);
        done.state.words.find(Lookup::Member(id), external).map(PersonId).unwrap()
    }

    pub fn org(&self, external: &str) -> OrganisationId {
        self.organisations[external]
    }

    /// Carries out a command, which has to be taken.
    #[track_caller]
    pub fn run(&self, caller: &Caller, command: Command) -> Done {
        self.runtime.block_on(self.app.run(caller, command)).expect("a yes")
    }

    pub fn now(&self) -> Instant {
        self.app.now()
    }

    pub fn wait(&self, millis: i64) {
        self.clock.set(self.now().plus(millis));
    }

    /// A fresh sign-in of `name@organisation`, as the API's bearer token.
    pub fn token_of(&self, who: &str) -> String {
        let email = format!("{who}.example");
        let signed = self.app.sign_in(Door::Console, &email, PASSWORD.into());
        match self.runtime.block_on(signed).expect("a sign-in") {
            Entered::In(signed) => signed.token.reveal().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    /// The same as a caller.
    pub fn caller(&self, who: &str) -> Caller {
        self.app.caller(&self.token_of(who), Door::Console).unwrap()
    }

    /// A browser in which `name@organisation` has just signed in.
    #[track_caller]
    pub fn browser(&self, who: &str) -> Browser {
        let email = format!("{who}.example");
        let nobody = Browser { cookie: String::new() };
        let reply =
            self.send(&nobody, "/console/sign-in", &[("email", &email), ("password", PASSWORD)]);
        reply.is(303);
        let set = reply.header(header::SET_COOKIE);
        Browser { cookie: set.split(';').next().unwrap().to_owned() }
    }

    /// Looks at a page.
    pub fn get(&self, browser: &Browser, path: &str) -> Reply {
        let request = Request::get(path).header(header::HOST, "comity.example");
        let request = request.header(header::COOKIE, &browser.cookie);
        self.answer(request.body(Body::empty()).unwrap())
    }

    /// Sends a form from one of our own pages, without its key.
    pub fn send(&self, browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
        let body = serde_html_form::to_string(fields).unwrap();
        let request = Request::post(path)
            .header(header::HOST, "comity.example")
            .header(header::ORIGIN, "https://comity.example")
            .header(header::COOKIE, &browser.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.answer(request.body(Body::from(body)).unwrap())
    }

    /// Fills in the form of a page, as a person would, and sends it.
    #[track_caller]
    pub fn fill(&self, browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
        let page = self.get(browser, "/console/step-up");
        let key = page.value("form_key");
        let mut all = vec![("form_key", key.as_str())];
        all.extend_from_slice(fields);
        self.send(browser, path, &all)
    }

    fn answer(&self, request: Request<Body>) -> Reply {
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.expect("an answer");
            let (parts, body) = answer.into_parts();
            let bytes = body.collect().await.expect("a body").to_bytes().to_vec();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Reply { status: parts.status.as_u16(), headers: parts.headers, text }
        })
    }

    /// Harbor Help asks Marina Bay.
    pub fn ask(&self, reason: &str, days: u32) -> RequestId {
        let code = self.app.customer_id(self.org("marina")).unwrap();
        let command = Command::Ask(Ask {
            provider: self.org("harbor"),
            unit: None,
            code: CustomerCode::parse(&code).unwrap().digest(),
            level: "partner".into(),
            modes: Modes::all(),
            days: Days(days),
            roles: vec!["clerk".into()],
            accounts: Vec::new(),
            reason: reason.into(),
            ticket: Some("T-17".into()),
        });
        let done = self.run(&self.caller("pia@harbor"), command);
        event(&done, |e| match e {
            Event::RequestAsked { request, .. } => Some(*request),
            _ => None,
        })
    }

    /// Ana approves it, with these roles; nobody is assigned.
    pub fn approve_only(&self, id: RequestId, roles: &[RoleId]) -> GrantId {
        let state = self.app.state();
        let request = state.requests.get(id).unwrap();
        let terms = Terms {
            roles: roles.iter().copied().collect(),
            accounts: Accounts::All,
            unit: None,
            modes: request.modes,
            starts_at: None,
            days: request.days,
            cap: None,
            allow_external: false,
            jwt: false,
        };
        let summary = consent::summarise(&state, id, request, &terms, self.now()).unwrap().hash();
        let ana = self.caller("ana@marina");
        let done = self.run(&ana, Command::Approve { request: id, terms, summary });
        event(&done, |e| match e {
            Event::GrantMade { grant, .. } => Some(*grant),
            _ => None,
        })
    }

    /// The same, and Hugo and Pia are assigned.
    pub fn approve(&self, id: RequestId, roles: &[RoleId]) -> GrantId {
        let grant = self.approve_only(id, roles);
        let pia = self.caller("pia@harbor");
        for person in ["hugo", "pia"] {
            let (person, roles) = (self.people[person], roles.to_vec());
            let spec = AssignmentSpec { person, roles, accounts: Accounts::All, ends_at: None };
            self.run(&pia, Command::Assign { grant, spec });
        }
        grant
    }

    /// A grant of the clerk's role, for 30 days.
    pub fn granted(&self) -> GrantId {
        let clerk = self.app.state().role_by_code(self.org("marina"), "clerk").unwrap();
        self.approve(self.ask("Winter storage", 30), &[clerk])
    }

    /// Somebody of Harbor Help enters Marina Bay.
    pub fn enter(&self, who: &str, mode: Mode, reason: Option<&str>) -> (SessionId, Secret) {
        self.enters(None, who, mode, reason)
    }

    /// The same under one of several grants.
    pub fn enter_under(
        &self,
        grant: GrantId,
        who: &str,
        mode: Mode,
        reason: Option<&str>,
    ) -> (SessionId, Secret) {
        self.enters(Some(grant), who, mode, reason)
    }

    fn enters(
        &self,
        grant: Option<GrantId>,
        who: &str,
        mode: Mode,
        reason: Option<&str>,
    ) -> (SessionId, Secret) {
        let secret = Secret::new(Kind::Session);
        let command = Command::Enter(Enter {
            scope: None,
            jwt: false,
            customer: self.org("marina"),
            audience: AUDIENCE.into(),
            grant,
            mode,
            reason: reason.map(Into::into),
            token: secret.digest(),
        });
        let done = self.run(&self.caller(who), command);
        let session = event(&done, |e| match e {
            Event::SessionStarted { session, .. } => Some(*session),
            _ => None,
        });
        (session, secret)
    }

    /// Calls the builder's API.
    pub fn call(&self, token: &Secret, permission: &str, times: u32) {
        let asked = Permission::parse(permission).unwrap();
        for _ in 0..times {
            let _ =
                self.app.evaluate(self.application, token.reveal(), asked, |state, customer| {
                    let id = state.words.find(Lookup::Account(customer), "boat-1").map(AccountId);
                    let known = id.and_then(|id| Some((id, state.accounts.get(id)?)));
                    known.map_or(Resource::Unknown, |(id, a)| {
                        Resource::Account(id, a.organisation, a.unit)
                    })
                });
        }
    }

    /// Long enough for a sign-in to be no longer fresh.
    pub fn wait_until_stale(&self) {
        self.wait(6 * MINUTE);
    }
}

async fn keys(app: &Arc<App>) -> (Caller, ApplicationId, String, Caller) {
    let made = app.make_key(&Caller::system(), KeyUse::Operate, None).await.unwrap();
    let operator = app.caller(made.0.reveal(), Door::Cli).unwrap();
    let command = Command::PutApplication {
        code: "boats".into(),
        audience: AUDIENCE.into(),
        permissions: Permissions::all(),
        launch_url: None,
    };
    app.run(&operator, command).await.unwrap();
    let application = app.state().application_by_audience(AUDIENCE).unwrap();
    let decide = app.make_key(&operator, KeyUse::Decide, Some(application)).await.unwrap();
    let provision = app.make_key(&operator, KeyUse::Provision, None).await.unwrap();
    let provisioner = app.caller(provision.0.reveal(), Door::Cli).unwrap();
    (operator, application, decide.0.reveal().to_owned(), provisioner)
}

/// Something of what was done.
#[track_caller]
pub fn event<T>(done: &Done, pick: impl Fn(&Event) -> Option<T>) -> T {
    let events = done.row.iter().flat_map(|row| &row.events);
    events.map(|e| &e.event).find_map(pick).expect("the event")
}
