//! A big installation by hand: rows as the kernel would write them, made without asking it, so
//! that a million of them take seconds.

use std::sync::Arc;

use comity_domain::assignment::Basis;
use comity_domain::command::{Ask, Caller, Command};
use comity_domain::consent::Terms;
use comity_domain::event::{Event, Recorded, Row};
use comity_domain::ids::{
    ApplicationId, CommandId, Digest32, GrantId, Ids, OrganisationId, PersonId, RoleId, SessionId,
};
use comity_domain::organisation::Accounts;
use comity_domain::role::Mode;
use comity_domain::session::SessionEnd;
use comity_domain::text::{Subject, Word};
use comity_domain::time::{DAY, Days, Instant, MINUTE};

use crate::world::World;

/// One grant between two organisations, under which everything happens.
pub struct Stage {
    pub customer: OrganisationId,
    pub provider: OrganisationId,
    pub unit: comity_domain::ids::UnitId,
    /// Each with the role that it gives.
    pub grants: Vec<(GrantId, RoleId)>,
    pub application: ApplicationId,
    pub ids: Ids,
    pub seq: u64,
    pub at: Instant,
    people: Vec<PersonId>,
}

/// A world with so many customers, each with a grant to the same provider; and its stage.
pub fn stage(customers: usize) -> (World, Stage) {
    let mut w = World::seeded(5);
    let provider = w.organisation("brokers", "Brokers");
    let chief = w.admin(provider, "chief");
    let mut grants = Vec::new();
    let mut customer = provider;
    for n in 0..customers {
        // So many may be asked a day.
        if n > 0 && n % 20 == 0 {
            w.later(DAY);
        }
        customer = w.organisation(&format!("harbour{n}"), &format!("Harbour {n}"));
        let keeper = w.role(customer, "keeper", &["boats:*", "*:read"]);
        let boss = w.admin(customer, "boss");
        let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
        let ask = Ask { days: Days(365), ..w.ask_spec(provider, customer) };
        let request = w.ask(&by_chief, ask);
        let terms = Terms { days: Days(365), ..w.terms(&[keeper]) };
        grants.push((w.approve(&by_boss, request, terms), keeper));
    }
    let unit = w.state.organisations.get(provider).unwrap().default_unit;
    let (seq, at) = (w.state.seq, w.state.at);
    let stage = Stage {
        customer,
        provider,
        unit,
        grants,
        application: w.boats,
        ids: Ids::new([8; 32]),
        seq,
        at,
        people: Vec::new(),
    };
    (w, stage)
}

impl Stage {
    fn row(&mut self, kind: &Command, events: Vec<Recorded>, words: Vec<Word>) -> Row {
        self.seq += 1;
        let kind: Arc<str> = kind.kind();
        Row {
            seq: self.seq,
            at: self.at,
            command: CommandId(u128::from(self.seq)),
            kind,
            caller: Caller::system(),
            acting: vec![self.provider],
            events,
            words,
        }
    }

    fn both(&self) -> Vec<OrganisationId> {
        let mut both = vec![self.customer, self.provider];
        both.sort();
        both
    }

    fn word(&mut self, about: Subject, event: u32, text: String) -> Word {
        Word { about, also: None, event, salt: self.ids.bytes(), text: Some(text.into()) }
    }

    /// A new member of the provider.
    pub fn member(&mut self) -> Row {
        let n = self.people.len();
        let person = PersonId(self.ids.next(self.at));
        self.people.push(person);
        let words = vec![
            self.word(Subject::Person(person), 0, format!("Member Number {n}")),
            self.word(Subject::Person(person), 0, format!("member{n}@brokers.example")),
            self.word(Subject::Person(person), 1, format!("m{n}")),
        ];
        let (organisation, unit) = (self.provider, self.unit);
        let readers = vec![organisation];
        let made = Event::PersonMade { person, name: 0, email: 1, email_verified: true };
        let joined = Event::MemberJoined { organisation, person, unit, portal: None, external: 2 };
        let events = [made, joined].map(|event| Recorded { event, readers: readers.clone() });
        self.row(&Command::SignOut, events.into(), words)
    }

    /// The `n`th assignment: people by turns, one grant after the other.
    pub fn assigned(&mut self, n: usize) -> Row {
        let person = self.people[n % self.people.len()];
        let (grant, role) = self.grants[n / self.people.len() % self.grants.len()];
        let event = Event::Assigned {
            grant,
            person,
            roles: vec![role],
            accounts: Accounts::All,
            ends_at: Instant::NEVER,
            basis: Basis::Individual,
        };
        let readers = self.both();
        self.row(&Command::NoteDue, vec![Recorded { event, readers }], Vec::new())
    }

    pub fn started(&mut self, n: usize) -> (SessionId, Row) {
        let session = SessionId(self.ids.next(self.at));
        let person = self.people[n % self.people.len()];
        let words = vec![
            self.word(Subject::Session(session), 0, "Ticket 42".into()),
            self.word(Subject::Person(person), 0, "Member Number".into()),
            self.word(Subject::Person(person), 0, "member@brokers.example".into()),
        ];
        let event = Event::SessionStarted {
            session,
            grant: self.grants[n / self.people.len() % self.grants.len()].0,
            customer: self.customer,
            provider: self.provider,
            person,
            application: self.application,
            mode: Mode::Direct,
            deadline: self.at.plus(60 * MINUTE),
            token: Digest32::of(&session.0.to_be_bytes()),
            reserved: 256,
            scope: None,
            reason: Some(0),
            name: 1,
            email: 2,
        };
        let readers = self.both();
        (session, self.row(&Command::NoteDue, vec![Recorded { event, readers }], words))
    }

    pub fn ended(&mut self, session: SessionId) -> Row {
        let event = Event::SessionEnded { session, cause: SessionEnd::Closed };
        let readers = self.both();
        self.row(&Command::CloseSession { session }, vec![Recorded { event, readers }], Vec::new())
    }
}
