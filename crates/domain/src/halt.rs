//! Halts: Comity's own lock, placed where an invariant does not hold.
//!
//! What is halted gives nobody anything: its sessions end and say `locked`, and nothing new is
//! entered, assigned or approved under it. Taking away stays possible. The organisations concerned
//! read that it happened, the operator also which invariant it was. Only an operate key lifts it;
//! what was ended stays ended, and where the breach still stands the next check halts again.

use serde::{Deserialize, Serialize};

use crate::command::Caller;
use crate::draft::Draft;
use crate::event::Event;
use crate::ids::{GrantId, HaltId, KeyId, OrganisationId, PersonId, SessionId};
use crate::may::{self, Action, Thing};
use crate::refusal::Refusal;
use crate::session::SessionEnd;
use crate::state::State;
use crate::time::Instant;

/// What a halt stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltTarget {
    /// A grant: nobody has access under it.
    Grant(GrantId),
    /// A session: it ends.
    Session(SessionId),
    /// A person: no access anywhere, and no call by a sign-in of their own.
    Person(PersonId),
    /// An organisation: no access into it, and none of its people's to others.
    Organisation(OrganisationId),
    /// A key: it opens nothing.
    Key(KeyId),
}

/// A halt that is in force. One that was lifted is gone from the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// What is stopped.
    pub target: HaltTarget,
    /// When it was found.
    pub at: Instant,
    /// The number of the invariant that did not hold: for the operator's eyes.
    pub invariant: u8,
}

/// The checker found that an invariant does not hold for `target`. Halting what is halted already
/// changes nothing.
pub(crate) fn place(
    d: &mut Draft<'_>,
    caller: &Caller,
    target: HaltTarget,
    invariant: u8,
) -> Result<(), Refusal> {
    may::system(caller)?;
    if d.state.halt_on(target).is_some() {
        return Ok(());
    }
    let halt = HaltId(d.id());
    d.emit(Event::Halted { halt, target });
    d.emit(Event::HaltNoted { halt, invariant });
    if let HaltTarget::Session(session) = target
        && d.state.sessions.get(session).is_some_and(|s| s.is_active(d.now()))
    {
        d.emit(Event::SessionEnded { session, cause: SessionEnd::Locked });
    }
    Ok(())
}

/// The operator has looked into it.
pub(crate) fn lift(d: &mut Draft<'_>, caller: &Caller, halt: HaltId) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::LiftHalt, Thing::platform(), d.now())?;
    let target = d.state.halts.get(halt).ok_or(Refusal::NotFound)?.target;
    let readers = concerned(&d.state, target);
    d.emit_to(Event::HaltLifted { halt }, readers);
    Ok(())
}

/// The organisations that read of a halt.
pub(crate) fn concerned(state: &State, target: HaltTarget) -> Vec<OrganisationId> {
    let sides = |grant: GrantId| {
        let grant = state.grants.get(grant);
        grant.into_iter().flat_map(|g| [g.customer.organisation, g.provider.organisation]).collect()
    };
    match target {
        HaltTarget::Grant(grant) => sides(grant),
        HaltTarget::Session(session) => {
            state.sessions.get(session).map(|s| sides(s.grant)).unwrap_or_default()
        }
        HaltTarget::Person(person) => state.organisations_of(person).collect(),
        HaltTarget::Organisation(organisation) => {
            let known = state.organisations.get(organisation).is_some();
            known.then_some(organisation).into_iter().collect()
        }
        HaltTarget::Key(_) => Vec::new(),
    }
}
