//! `apply`: what an event changes. The only code that changes a [`State`]; one file of this folder
//! for each group of events.
//!
//! Total and without choices: no clock, no randomness, no refusal, and never a look at a word's
//! text. Retiring what ended long ago is part of beginning a row, so that a replay, a snapshot and
//! a follower agree about what is in memory.

use std::collections::BTreeSet;

use crate::event::{Due, Event, Row, W};
use crate::ids::{GrantId, PersonId, SessionId};
use crate::invitation::Invitation;
use crate::notice::{DAY_BEFORE, WEEK_BEFORE};
use crate::request::Request;
use crate::state::State;
use crate::text::{Lookup, Word, WordId};
use crate::time::Instant;

mod access;
mod auto;
mod erasure;
mod factors;
mod here;
mod invitations;
mod many;
mod people;
mod stays;
mod telling;

pub(crate) use access::{drop_assignments, forget_end};
pub(crate) use invitations::forget as forget_invitation;

/// What a row touched: whose rights have to be looked at again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// These grants, with everything on them.
    pub grants: BTreeSet<GrantId>,
    /// These people on all their grants.
    pub people: BTreeSet<PersonId>,
    /// These sessions.
    pub sessions: BTreeSet<SessionId>,
    /// Everybody: a rule over all changed.
    pub all: bool,
}

impl Touched {
    /// The sessions whose rights may have changed.
    #[must_use]
    pub fn sessions_in(&self, state: &State) -> BTreeSet<SessionId> {
        if self.all {
            return state.sessions.iter().map(|(id, _)| id).collect();
        }
        let mut out = self.sessions.clone();
        out.extend(self.grants.iter().flat_map(|g| state.sessions_under(*g)));
        out.extend(self.people.iter().flat_map(|p| state.sessions_of(*p)));
        out
    }

    /// Adds what another row touched.
    pub fn merge(&mut self, other: Self) {
        self.grants.extend(other.grants);
        self.people.extend(other.people);
        self.sessions.extend(other.sessions);
        self.all |= other.all;
    }
}

/// Where an event stands.
pub(crate) struct Context<'a> {
    pub seq: u64,
    pub at: Instant,
    pub words: &'a [Word],
}

impl Context<'_> {
    fn word(&self, state: &mut State, w: W) -> WordId {
        let id = WordId(self.seq, w);
        if let Some(word) = self.words.get(w as usize)
            && let Some(text) = &word.text
        {
            state.words.insert(id, word, text);
        }
        id
    }

    fn indexed(&self, state: &mut State, w: W, lookup: Lookup, target: u128) -> WordId {
        let id = self.word(state, w);
        state.words.index(id, lookup, target);
        id
    }
}

/// Applies a stored row: what a replay and a follower do.
pub fn row(state: &mut State, row: &Row) -> Touched {
    let mut touched = Touched::default();
    begin(state, row.seq, row.at);
    let context = Context { seq: row.seq, at: row.at, words: &row.words };
    for recorded in &row.events {
        event(state, &context, &recorded.event, &mut touched);
    }
    touched
}

/// Moves to a row's position and lets go of what ended long before it.
pub(crate) fn begin(state: &mut State, seq: u64, at: Instant) {
    state.seq = seq;
    state.at = at;
    while let Some(next) = state.retire.get_min().copied() {
        if next.0 > at {
            break;
        }
        state.retire.remove(&next);
        crate::retire::retire(state, next.1, at);
    }
}

/// Applies one event.
pub(crate) fn event(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    use Event as E;
    match event {
        E::ApplicationDefined { .. }
        | E::KeyMade { .. }
        | E::KeyRetired { .. }
        | E::ClientKeysSet { .. }
        | E::PolicySet { .. }
        | E::LevelDefined { .. }
        | E::FirstRunOffered { .. }
        | E::CallsSealed { .. } => here::platform(state, event, touched),
        E::SigningKeyMade { .. } | E::SigningKeyCurrent { .. } | E::SigningKeyRetired { .. } => {
            here::signing_keys(state, c, event)
        }
        E::OrganisationMade { .. }
        | E::OrganisationRenamed { .. }
        | E::OrganisationStanding { .. }
        | E::CustomerIdSet { .. }
        | E::PartnerIdSet { .. }
        | E::SettingsChanged { .. }
        | E::UnitMade { .. }
        | E::UnitRenamed { .. }
        | E::UnitStanding { .. }
        | E::AccountMade { .. }
        | E::AccountRenamed { .. }
        | E::AccountLinked { .. }
        | E::AccountRemoved { .. } => here::organisations(state, c, event, touched),
        E::RoleMade { .. } | E::RoleChanged { .. } | E::RoleDeleted { .. } => {
            here::roles(state, event, touched);
        }
        E::PersonMade { .. }
        | E::PersonRenamed { .. }
        | E::EmailVerified { .. }
        | E::MemberJoined { .. }
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
        | E::SignedOutEverywhere { .. } => people::people(state, c, event, touched),
        E::TotpSet { .. }
        | E::TotpRemoved { .. }
        | E::RecoveryCodesMade { .. }
        | E::PasskeyAdded { .. }
        | E::PasskeyRenamed { .. }
        | E::PasskeyRemoved { .. }
        | E::FactorsReset { .. } => factors::factors(state, c, event),
        E::RequestAsked { .. }
        | E::RequestAddressed { .. }
        | E::RequestCancelled { .. }
        | E::CancellationNoted { .. }
        | E::RequestDenied { .. }
        | E::DenialNoted { .. }
        | E::OfferMade { .. }
        | E::OfferAccepted { .. }
        | E::RequestApproved { .. } => access::requests(state, c, event),
        E::GrantMade { .. }
        | E::GrantAmended { .. }
        | E::GrantNarrowed { .. }
        | E::GrantConfirmed { .. }
        | E::GrantEnded { .. }
        | E::GrantUnattended { .. } => access::grants(state, c, event, touched),
        E::Assigned { .. }
        | E::AssignmentTrimmed { .. }
        | E::AssignmentSuspended { .. }
        | E::AssignmentEnded { .. }
        | E::ExternalJoined { .. } => access::assignments(state, c, event, touched),
        E::AssignedMany { .. } | E::UnassignedMany { .. } | E::AssignmentsTrimmed { .. } => {
            many::assignments(state, event, touched);
        }
        E::AutoSet { .. }
        | E::AutoTrimmed { .. }
        | E::AutoSuspended { .. }
        | E::AutoLeftOut { .. }
        | E::AutoCleared { .. } => auto::rules(state, c, event, touched),
        E::InvitationMade { .. }
        | E::InvitationResent { .. }
        | E::InvitationChanged { .. }
        | E::InvitationHeld { .. }
        | E::InvitationApproved { .. }
        | E::InvitationRegistered { .. }
        | E::InvitationAccepted { .. }
        | E::InvitationDeclined { .. }
        | E::InvitationCancelled { .. }
        | E::AddressSuppressed { .. } => invitations::invitations(state, c, event),
        E::SessionStarted { .. } | E::SessionShortened { .. } | E::SessionEnded { .. } => {
            stays::sessions(state, c, event, touched);
        }
        E::LockPlaced { .. } | E::LockLifted { .. } => stays::locks(state, c, event, touched),
        E::WordsErased { subject } => erasure::erased(state, c, *subject, touched),
        E::Restored { people_kept, .. } => erasure::restored(state, c, *people_kept, touched),
        E::Halted { .. } | E::HaltNoted { .. } | E::HaltLifted { .. } => {
            stays::halts(state, c, event, touched);
        }
        E::WebhookMade { .. }
        | E::WebhookChanged { .. }
        | E::WebhookStanding { .. }
        | E::WebhookSecretRotated { .. }
        | E::WebhookTested { .. }
        | E::WebhookRedelivered { .. }
        | E::WebhookRemoved { .. } => telling::webhooks(state, c, event),
        E::StreamMade { .. }
        | E::StreamChanged { .. }
        | E::StreamStanding { .. }
        | E::StreamStopped { .. }
        | E::StreamVerified { .. }
        | E::StreamRemoved { .. } => telling::streams(state, c, event),
        E::ExpiryNoted { what } => {
            let at = due_at(state, *what);
            state.due.remove(&(at, *what));
        }
    }
}

/// When a thing falls due, as the state has it.
fn due_at(state: &State, what: Due) -> Instant {
    match what {
        Due::Request(id) => state.requests.get(id).map(Request::expires),
        Due::Grant(id) => state.grants.get(id).map(|g| g.window.end),
        Due::GrantWeek(id) => state.grants.get(id).map(|g| g.window.end.plus(-WEEK_BEFORE)),
        Due::GrantDay(id) => state.grants.get(id).map(|g| g.window.end.plus(-DAY_BEFORE)),
        Due::Invitation(id) => state.invitations.get(id).map(Invitation::expires),
        Due::Session(id) => state.sessions.get(id).map(|s| s.deadline),
    }
    .unwrap_or(Instant::NEVER)
}
