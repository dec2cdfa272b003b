//! Erasure: words go, facts stay. And what a restore has to make good.
//!
//! One erasure of a person reaches every word that names that person (names and addresses, also
//! those copied into requests and sessions, the builders' identifiers) and everything that person
//! wrote: reasons, tickets, wishes, answers. One of an organisation reaches its units and accounts.
//!
//! What can be erased is what is over; each refusal names the way out:
//!
//! - a person who is a member nowhere (of what is not closed), on no standing grant, in no session,
//!   and asks for nothing;
//! - an organisation that is closed; a unit that takes no part and is empty; an account that was
//!   removed; a request that is decided; a session that is over; a webhook or stream that was removed;
//!   an invitation that nobody can answer any more (a person's goes with the person);
//! - and nothing that a lock in force keeps as evidence. A closed customer's own locks keep nothing:
//!   nobody is left to lift them.
//!
//! A request or session that memory has let go of is not found: its words are reached by erasing
//! who wrote them. An account, webhook, stream or invitation that memory does not know was removed, or never was: the
//! two look the same, and to erase it is harmless.

use std::collections::BTreeSet;

use crate::assignment::AssignmentEnd;
use crate::command::Caller;
use crate::draft::{Draft, SideWrite};
use crate::event::Event;
use crate::ids::{GrantId, InvitationId, KeyId, OrganisationId, PersonId, SessionId};
use crate::invitation::{Invitation, InvitationPhase, InvitationState};
use crate::lock::LockTarget;
use crate::may::{self, Action, Thing};
use crate::organisation::{self, Standing};
use crate::refusal::Refusal;
use crate::request::RequestPhase;
use crate::session::SessionEnd;
use crate::signing;
use crate::state::State;
use crate::stream;
use crate::text::Subject;
use crate::time::Instant;
use crate::webhook;

/// Erases what is over. What was erased already stays so.
pub(crate) fn erase(d: &mut Draft<'_>, caller: &Caller, subject: Subject) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::EraseWords, Thing::platform(), d.now())?;
    if d.state.erased.contains_key(&subject) {
        return Ok(());
    }
    is_over(&d.state, subject, d.now())?;
    if is_evidence(&d.state, subject) {
        return Err(Refusal::Evidence);
    }
    take(d, subject);
    Ok(())
}

fn take(d: &mut Draft<'_>, subject: Subject) {
    if let Subject::Person(person) = subject {
        // The addresses by which they were invited are theirs.
        let accepted: Vec<_> = d.state.accepted_by(person).map(Subject::Invitation).collect();
        for invitation in accepted {
            if !d.state.erased.contains_key(&invitation) {
                take(d, invitation);
            }
        }
    }
    let readers = knows(&d.state, subject);
    d.emit_to(Event::WordsErased { subject }, readers);
    d.beside(SideWrite::EraseWords(subject));
}

fn is_over(state: &State, subject: Subject, now: Instant) -> Result<(), Refusal> {
    match subject {
        Subject::Organisation(id) => {
            let known = state.organisations.get(id).ok_or(Refusal::NotFound)?;
            still(known.standing != Standing::Closed, "close the organisation first")
        }
        Subject::Unit(id) => {
            let known = state.units.get(id).ok_or(Refusal::NotFound)?;
            if is_closed(state, known.organisation) {
                return Ok(());
            }
            still(known.standing == Standing::Active, "suspend the unit first")?;
            let mut members = state.members_of(known.organisation);
            still(
                members.any(|(_, m)| m.unit == id),
                "move or remove the members of the unit first",
            )?;
            let in_it = |a| state.accounts.get(a).is_some_and(|a| a.unit == id);
            let mut accounts = state.accounts_of(known.organisation);
            still(accounts.any(in_it), "remove the accounts of the unit first")
        }
        Subject::Account(id) => {
            let there = state.accounts.get(id).is_some_and(|a| !is_closed(state, a.organisation));
            still(there, "remove the account first")
        }
        Subject::Person(id) => person_is_over(state, id, now),
        Subject::Request(id) => {
            let asked = state.requests.get(id).ok_or(Refusal::NotFound)?;
            let waits = asked.phase(now) == RequestPhase::Pending;
            still(waits, "the request waits for a decision; deny or cancel it first")
        }
        Subject::Session(id) => {
            let stay = state.sessions.get(id).ok_or(Refusal::NotFound)?;
            still(stay.is_active(now), "the session is in progress; end it first")
        }
        Subject::Webhook(id) => still(state.webhooks.get(id).is_some(), "remove the webhook first"),
        Subject::Stream(id) => still(state.streams.get(id).is_some(), "delete the stream first"),
        Subject::Invitation(id) => {
            let waits = |i: &Invitation| i.phase(state, now) == InvitationPhase::Pending;
            let waits = state.invitations.get(id).is_some_and(waits);
            still(waits, "the invitation waits for an answer; cancel it first")
        }
    }
}

fn person_is_over(state: &State, id: PersonId, now: Instant) -> Result<(), Refusal> {
    state.people.get(id).ok_or(Refusal::NotFound)?;
    let member = state.organisations_of(id).any(|o| !is_closed(state, o));
    still(member, "remove the person from every organisation first")?;
    let on = state.grants_of(id).any(|(_, g)| g.stands(now));
    let inside = |s| state.sessions.get(s).is_some_and(|s| s.is_active(now));
    still(on || state.sessions_of(id).any(inside), "take the person off every grant first")?;
    let waits = state
        .dealings(id)
        .flat_map(|(customer, _)| state.requests_to(customer))
        .filter_map(|r| state.requests.get(r))
        .any(|r| r.by == id && r.phase(now) == RequestPhase::Pending);
    still(waits, "a request of this person waits for a decision; cancel it first")
}

fn still(is: bool, way_out: &'static str) -> Result<(), Refusal> {
    if is { Err(Refusal::InUse(way_out)) } else { Ok(()) }
}

fn is_closed(state: &State, id: OrganisationId) -> bool {
    state.organisations.get(id).is_some_and(|o| o.standing == Standing::Closed)
}

/// Whether a customer that can still lift it has locked the partner, or the person, whom this is
/// about.
fn is_evidence(state: &State, subject: Subject) -> bool {
    let target = |target: LockTarget| {
        state.locks.iter().any(|(_, l)| l.target == target && !is_closed(state, l.customer))
    };
    let between = |customer, provider, person| {
        !is_closed(state, customer) && state.is_locked(customer, provider, Some(person))
    };
    match subject {
        Subject::Organisation(id) => target(LockTarget::Organisation(id)),
        // Records name them by their identifiers: nothing that was said is lost with the name.
        Subject::Unit(_) | Subject::Account(_) | Subject::Webhook(_) | Subject::Stream(_) => false,
        Subject::Person(id) => {
            target(LockTarget::Person(id))
                || state.dealings(id).any(|(customer, provider)| between(customer, provider, id))
        }
        Subject::Request(id) => state
            .requests
            .get(id)
            .is_some_and(|r| between(r.customer, r.provider.organisation, r.by)),
        Subject::Invitation(id) => state.invitations.get(id).is_some_and(|i| {
            let by = match i.state {
                InvitationState::Accepted { person, .. } => person,
                _ => i.by,
            };
            let grant = state.grants.get(i.grant);
            grant.is_some_and(|g| between(g.customer.organisation, g.provider.organisation, by))
        }),
        Subject::Session(id) => state.sessions.get(id).is_some_and(|s| {
            let grant = state.grants.get(s.grant);
            grant.is_some_and(|g| {
                between(g.customer.organisation, g.provider.organisation, s.person)
            })
        }),
    }
}

/// Whose history shows the subject: they are told that it was erased.
fn knows(state: &State, subject: Subject) -> Vec<OrganisationId> {
    let mut to = BTreeSet::new();
    match subject {
        Subject::Organisation(id) => {
            to.insert(id);
        }
        Subject::Unit(id) => to.extend(state.units.get(id).map(|u| u.organisation)),
        Subject::Account(id) => to.extend(state.accounts.get(id).map(|a| a.organisation)),
        Subject::Person(id) => {
            to.extend(state.organisations_of(id));
            to.extend(state.dealings(id).flat_map(|(customer, provider)| [customer, provider]));
            let left = state.past_members.keys().filter(|(_, person)| *person == id);
            to.extend(left.map(|(organisation, _)| *organisation));
        }
        Subject::Request(id) => {
            let sides = state.requests.get(id).map(|r| [r.customer, r.provider.organisation]);
            to.extend(sides.into_iter().flatten());
        }
        Subject::Session(id) => {
            let grant = state.sessions.get(id).and_then(|s| state.grants.get(s.grant));
            let sides = grant.map(|g| [g.customer.organisation, g.provider.organisation]);
            to.extend(sides.into_iter().flatten());
        }
        Subject::Invitation(id) => {
            let grant = state.invitations.get(id).and_then(|i| state.grants.get(i.grant));
            let sides = grant.map(|g| [g.customer.organisation, g.provider.organisation]);
            to.extend(sides.into_iter().flatten());
        }
        // Gone, and with it whose it was: the platform's record.
        Subject::Webhook(_) | Subject::Stream(_) => {}
    }
    to.into_iter().collect()
}

/// Goes on from a copy. Whoever held a key, a sign-in, an enrolment token or a session may have
/// lost it after the copy was made, and the copy does not know: all of them end. Grants that stand
/// in it may have been revoked, members removed, passwords changed: grants wait for their customers,
/// members for the builder's directory, and no password opens anything, unless `keep_people` says
/// that nobody left. What was erased after it is erased again, and what had to be over for that is
/// ended first.
pub(crate) fn restore(
    d: &mut Draft<'_>,
    caller: &Caller,
    fork: u64,
    erased: &[Subject],
    keep_people: bool,
) -> Result<(), Refusal> {
    may::system(caller)?;
    let keys: Vec<KeyId> =
        d.state.keys.iter().filter(|(_, k)| !k.retired).map(|(id, _)| id).collect();
    for key in keys {
        d.emit(Event::KeyRetired { key });
    }
    let now = d.now();
    let inside: Vec<SessionId> =
        d.state.sessions.iter().filter(|(_, s)| s.is_active(now)).map(|(id, _)| id).collect();
    for session in inside {
        d.emit(Event::SessionEnded { session, cause: SessionEnd::Restored });
    }
    signing::restored(d);
    let waiting: Vec<InvitationId> = d
        .state
        .invitations
        .iter()
        .filter(|(_, i)| i.state == InvitationState::Pending)
        .map(|(id, _)| id)
        .collect();
    for invitation in waiting {
        d.beside(SideWrite::DropSecrets { recipient: invitation.0 });
    }
    d.emit(Event::Restored { fork, people_kept: keep_people });
    if !keep_people {
        d.beside(SideWrite::EraseCredentials);
        d.beside(SideWrite::EraseFactors(None));
    }
    for subject in erased {
        if !d.state.erased.contains_key(subject) {
            end(d, *subject);
            take(d, *subject);
        }
    }
    Ok(())
}

/// What must not stand when its words go: a person without a name stays nobody's member.
fn end(d: &mut Draft<'_>, subject: Subject) {
    match subject {
        Subject::Organisation(id) => {
            if d.state.organisations.get(id).is_some() && !is_closed(&d.state, id) {
                organisation::close(d, id);
            }
        }
        Subject::Unit(unit) => {
            if d.state.unit_is_active(unit) {
                d.emit(Event::UnitStanding { unit, standing: Standing::Suspended });
            }
        }
        Subject::Account(account) => {
            if let Some(owner) = d.state.accounts.get(account).map(|a| a.organisation) {
                d.emit_to(Event::AccountRemoved { account }, vec![owner]);
            }
        }
        Subject::Person(person) => {
            let of: Vec<OrganisationId> = d.state.organisations_of(person).collect();
            for organisation in of {
                d.emit(Event::MemberLeft { organisation, person });
            }
            // Off what they were invited to as well: nobody without a name is on a grant.
            let on: Vec<GrantId> = d
                .state
                .grants_of(person)
                .filter(|(_, g)| g.stands(d.now()))
                .map(|(id, _)| id)
                .collect();
            for grant in on {
                let cause = AssignmentEnd::LeftProvider;
                d.emit(Event::AssignmentEnded { grant, person, cause });
            }
        }
        Subject::Request(request) => {
            let now = d.now();
            let waits = |r: &crate::request::Request| r.phase(now) == RequestPhase::Pending;
            if d.state.requests.get(request).is_some_and(waits) {
                d.emit(Event::RequestCancelled { request, by_asker: false });
            }
        }
        Subject::Session(_) => {}    // every session was ended just now
        Subject::Invitation(_) => {} // every one that waited was cancelled just now
        Subject::Webhook(id) => webhook::end(d, id),
        Subject::Stream(id) => stream::end(d, id),
    }
}
