//! Direct memberships that an assignment replaces (N9).
//!
//! Whoever works for a partner in a customer enters there only as the partner's person: while they
//! are on a live grant, a membership of their own in that customer is superseded and opens nothing.
//! It is so from the row in which they get on the grant, also where the grant starts later, and from
//! the row in which they become a member, where they are on it already. Nothing brings it back by
//! itself: not leaving the grant, not its end, not the builder's directory. Only the customer's own
//! hand does, and that takes the person off its grants.

use std::collections::BTreeSet;

use crate::assignment::AssignmentEnd;
use crate::command::Caller;
use crate::draft::Draft;
use crate::event::Event;
use crate::ids::{GrantId, OrganisationId, PersonId};
use crate::may::Action;
use crate::organisation;
use crate::person;
use crate::refusal::Refusal;
use crate::state::State;
use crate::text::Lookup;

/// Whom of these people a place on a grant would cost their own membership in the customer: what is
/// said before it is saved, and what [`supersede`] then does.
#[must_use]
pub fn superseded_by(state: &State, grant: GrantId, people: &[PersonId]) -> Vec<PersonId> {
    let Some(customer) = state.grants.get(grant).map(|g| g.customer.organisation) else {
        return Vec::new();
    };
    let loses = |person: &PersonId| {
        state.members.get(&(customer, *person)).is_some_and(|m| m.superseded.is_none())
    };
    people.iter().copied().filter(loses).collect()
}

/// Whose membership in an organisation is superseded, each with the grant that did it.
#[must_use]
pub fn replaced(state: &State, organisation: OrganisationId) -> Vec<(PersonId, GrantId)> {
    let members = state.members_of(organisation);
    let mut all: Vec<_> = members.filter_map(|(p, m)| Some((p, m.superseded?))).collect();
    all.sort_by_key(|(person, grant)| (*grant, *person));
    all
}

/// Every way onto a grant comes by here, at the end of its row. Never so that the customer is left
/// without an Admin: then the whole row is refused.
pub(crate) fn supersede(d: &mut Draft<'_>, grants: &BTreeSet<GrantId>) -> Result<(), Refusal> {
    let now = d.now();
    for id in grants {
        let Some(grant) = d.state.grants.get(*id).filter(|g| g.stands(now)) else {
            continue;
        };
        let organisation = grant.customer.organisation;
        let on = d.state.assigned_to(*id).filter(|(_, a)| a.is_active(now));
        let people: Vec<PersonId> = on.map(|(person, _)| person).collect();
        for person in superseded_by(&d.state, *id, &people) {
            let was_admin = person::was_working_admin(d, organisation, person);
            d.emit(Event::MembershipSuperseded { organisation, person, grant: *id });
            person::kept_an_admin(d, was_admin, organisation)?;
        }
    }
    Ok(())
}

/// The customer takes a person back as its own member, off every grant of its own in the same row.
/// That a grant is left without anybody is no reason against it: it is flagged then.
pub(crate) fn restore(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    external: &str,
) -> Result<(), Refusal> {
    organisation::provision(d, caller, Action::RestoreMembership, organisation)?;
    let by = caller.person().ok_or(Refusal::NotFound)?;
    let person = d.state.words.find(Lookup::Member(organisation), external).map(PersonId);
    let person = person.ok_or(Refusal::NotFound)?;
    let member = d.state.members.get(&(organisation, person)).ok_or(Refusal::NotFound)?;
    if member.superseded.is_none() {
        return Err(Refusal::WrongState("not superseded"));
    }
    let now = d.now();
    let of_ours = |id: &GrantId| {
        let grant = d.state.grants.get(*id);
        grant.is_some_and(|g| g.customer.organisation == organisation && g.stands(now))
    };
    let grants: Vec<GrantId> =
        d.state.grants_of(person).map(|(id, _)| id).filter(of_ours).collect();
    for grant in grants {
        let cause = AssignmentEnd::MembershipRestored;
        d.emit(Event::AssignmentEnded { grant, person, cause });
    }
    d.emit(Event::MembershipRestored { organisation, person, by });
    Ok(())
}
