//! A command's outcome in the making: a copy of the state that already shows each event.
//!
//! A rule looks at `state`, emits events, and sees their effect at once; consequences
//! (`settle.rs`) are drawn from the same copy. What a draft emits is exactly what a replay will
//! apply, through the same function.

use std::sync::Arc;

use crate::apply::{self, Context, Touched};
use crate::command::{Caller, Once, Sealed};
use crate::event::{self, Event, Recorded, Row, W};
use crate::ids::{CommandId, Digest32, GrantId, Ids, OrganisationId, PersonId, UnitId};
use crate::notice::{self, Notice};
use crate::organisation::{Party, Standing};
use crate::outbox::{self, Push};
use crate::refusal::Refusal;
use crate::state::State;
use crate::text::{Lookup, Subject, Word};
use crate::time::Instant;
use crate::webhook::Redelivery;

/// What is written beside the log, in the same transaction. A closed list: no other code writes
/// these tables.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the words of `webhook.rs`
pub enum SideWrite {
    /// A person's password hash, as a PHC string.
    Credential(PersonId, String),
    /// Every password hash there is.
    EraseCredentials,
    /// What a factor of a person is checked with, sealed, under its digest.
    Factor { person: PersonId, factor: Digest32, sealed: Sealed },
    /// That of one that was taken away.
    DropFactor { person: PersonId, factor: Digest32 },
    /// Those of a person; without one, of everybody.
    EraseFactors(Option<PersonId>),
    /// An organisation's customer ID, sealed.
    CustomerId(OrganisationId, Sealed),
    /// A partner ID, sealed.
    PartnerId(Party, Sealed),
    /// The private half of a signing key, sealed.
    SigningKey(Digest32, Sealed),
    /// That of a key which signs nothing more.
    DropSigningKey(Digest32),
    /// That this row is what became of a command with a key. Written by whoever carried the command
    /// to the kernel: no rule knows of it.
    Once(Once),
    /// Every word about the subject, or that goes with it, with its salt; a person's password hash
    /// too.
    EraseWords(Subject),
    /// A recipient's secret, sealed; of the older ones only `keep` stays.
    Secret { recipient: u128, digest: Digest32, sealed: Sealed, keep: Option<Digest32> },
    /// A recipient's secrets: it has none any more.
    DropSecrets { recipient: u128 },
    /// An address that is told no more of what happens hears of that once, signed by the secrets that
    /// it knows: `digest`, and `old` as long as that one signs (T57).
    Farewell {
        recipient: u128,
        owner: Option<OrganisationId>,
        kind: &'static str,
        url: Arc<str>,
        digest: Digest32,
        old: Option<Digest32>,
    },
    /// Everything that is kept for a recipient: secrets and what waits.
    Forget { recipient: u128 },
    /// What this row makes to be told.
    Pushes(Vec<Push>),
    /// What is to be sent again.
    Requeue { recipient: u128, what: Redelivery },
    /// What this row makes to stand in inboxes and to be mailed.
    Notices(Vec<Notice>),
}

/// An accepted command: its row, what is written beside it, and the state after it.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The row; `None` when nothing changed, and then nothing happened.
    pub row: Option<Row>,
    /// What is written beside.
    pub side: Vec<SideWrite>,
    /// The state after the row.
    pub state: State,
    /// What the row touched.
    pub touched: Touched,
}

/// See the module.
pub struct Draft<'a> {
    /// The state as of the events emitted so far.
    pub state: State,
    row: Row,
    side: Vec<SideWrite>,
    touched: Touched,
    ids: &'a mut Ids,
    first_new_word: usize,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        before: &State,
        caller: &Caller,
        command: CommandId,
        kind: Arc<str>,
        now: Instant,
        ids: &'a mut Ids,
    ) -> Self {
        let at = now.max(before.at);
        let mut state = before.clone();
        apply::begin(&mut state, before.seq.saturating_add(1), at);
        Self {
            row: Row {
                seq: state.seq,
                at,
                command,
                kind,
                caller: caller.clone(),
                acting: Vec::new(),
                events: Vec::new(),
                words: Vec::new(),
            },
            state,
            side: Vec::new(),
            touched: Touched::default(),
            ids,
            first_new_word: 0,
        }
    }

    /// The time of the row.
    pub(crate) fn now(&self) -> Instant {
        self.row.at
    }

    /// A new identifier's value.
    pub(crate) fn id(&mut self) -> u128 {
        self.ids.next(self.row.at)
    }

    /// The organisation whose people see who called.
    pub(crate) fn acting_for(&mut self, organisation: OrganisationId) {
        if let Err(place) = self.row.acting.binary_search(&organisation) {
            self.row.acting.insert(place, organisation);
        }
    }

    /// A word of the next event.
    pub(crate) fn word(&mut self, about: Subject, text: Arc<str>) -> W {
        self.put_word(about, None, text)
    }

    /// A word of the next event that is erased with `with` too.
    pub(crate) fn word_with(&mut self, about: Subject, with: Subject, text: Arc<str>) -> W {
        self.put_word(about, Some(with), text)
    }

    fn put_word(&mut self, about: Subject, also: Option<Subject>, text: Arc<str>) -> W {
        let ix = u32::try_from(self.row.words.len()).unwrap_or(u32::MAX);
        let salt = self.ids.bytes();
        self.row.words.push(Word { about, also, event: 0, salt, text: Some(text) });
        ix
    }

    /// Lets `event` happen, for the readers that follow from it.
    pub(crate) fn emit(&mut self, event: Event) {
        self.happen(event, None);
    }

    /// Lets `event` happen, for these readers.
    pub(crate) fn emit_to(&mut self, event: Event, mut readers: Vec<OrganisationId>) {
        readers.sort();
        readers.dedup();
        self.happen(event, Some(readers));
    }

    fn happen(&mut self, event: Event, readers: Option<Vec<OrganisationId>>) {
        let ix = u32::try_from(self.row.events.len()).unwrap_or(u32::MAX);
        for word in self.row.words.iter_mut().skip(self.first_new_word) {
            word.event = ix;
        }
        self.first_new_word = self.row.words.len();
        let context = Context { seq: self.row.seq, at: self.row.at, words: &self.row.words };
        apply::event(&mut self.state, &context, &event, &mut self.touched);
        let readers = readers.unwrap_or_else(|| event::readers(&self.state, &event));
        self.row.events.push(Recorded { event, readers });
    }

    pub(crate) fn beside(&mut self, write: SideWrite) {
        self.side.push(write);
    }

    pub(crate) fn touched(&self) -> &Touched {
        &self.touched
    }

    pub(crate) fn nothing_happened(&self) -> bool {
        self.row.events.is_empty()
    }

    /// Whether this row took somebody off a grant, or suspended somebody who is on it.
    pub(crate) fn took_somebody_off(&self, id: GrantId) -> bool {
        self.row.events.iter().any(|r| match &r.event {
            Event::AssignmentEnded { grant, .. } | Event::AssignmentSuspended { grant, .. } => {
                *grant == id
            }
            Event::UnassignedMany { grant, off, .. } => *grant == id && !off.is_empty(),
            Event::MemberStanding { person, standing: Standing::Suspended, .. } => {
                self.state.own_row(id, *person).is_some()
            }
            Event::MembershipSuperseded { organisation, person, .. } => {
                let grant = self.state.grants.get(id);
                grant.is_some_and(|g| g.provider.organisation == *organisation)
                    && self.state.own_row(id, *person).is_some()
            }
            _ => false,
        })
    }

    /// Whether this row may have taken somebody off a grant who was on it by its rule.
    pub(crate) fn took_from_rule(&self, id: GrantId) -> bool {
        let Some(provider) = self.state.grants.get(id).map(|g| g.provider.organisation) else {
            return false;
        };
        self.row.events.iter().any(|r| match &r.event {
            Event::AutoSuspended { grant }
            | Event::AutoLeftOut { grant, .. }
            | Event::AutoCleared { grant, .. } => *grant == id,
            Event::MemberLeft { organisation, .. }
            | Event::MemberChanged { organisation, .. }
            | Event::MemberStanding { organisation, .. }
            | Event::MembershipSuperseded { organisation, .. } => *organisation == provider,
            _ => false,
        })
    }

    /// Whether this row turned the rule of a grant on, or changed it.
    pub(crate) fn set_rule(&self, id: GrantId) -> bool {
        self.row
            .events
            .iter()
            .any(|r| matches!(r.event, Event::AutoSet { grant, .. } if grant == id))
    }

    pub(crate) fn finish(self, before: &State) -> Decided {
        if self.row.events.is_empty() {
            let state = before.clone();
            return Decided { row: None, side: Vec::new(), state, touched: Touched::default() };
        }
        let pushes = outbox::pushes(before, &self.row, &self.state);
        let mut side = self.side;
        if !pushes.is_empty() {
            side.push(SideWrite::Pushes(pushes));
        }
        let notices = notice::notices(before, &self.row, &self.state);
        if !notices.is_empty() {
            side.push(SideWrite::Notices(notices));
        }
        Decided { row: Some(self.row), side, state: self.state, touched: self.touched }
    }

    // -- what several nouns look up ---------------------------------------------------------------

    /// A unit by the builder's identifier.
    pub(crate) fn unit(
        &self,
        organisation: OrganisationId,
        external: &str,
    ) -> Result<UnitId, Refusal> {
        self.state
            .words
            .find(Lookup::Unit(organisation), external)
            .map(UnitId)
            .ok_or_else(|| Refusal::invalid("unit", "names no unit of this organisation"))
    }
}
