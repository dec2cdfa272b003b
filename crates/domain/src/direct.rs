//! Direct memberships that an assignment replaces (N9).
//!
//! Whoever works for a partner in a customer enters there only as the partner's person: while they
//! are on a live grant, a membership of their own in that customer is superseded and opens nothing.
//! It is so from the row in which they get on the grant, also where the grant starts later, and from
//! the row in which they become a member, where they are on it already. Nothing brings it back by
//! itself: not leaving the grant, not its end, not the builder's directory. Only the customer's own
//! hand does, and that takes the person off its grants.

use std::collections::{BTreeMap, BTreeSet};

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
/// said before it is saved, and what saving it then does.
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
/// without an Admin: then the whole row is refused, but whom a rule covers by the way is left out of
/// that grant, so that one customer does not stand in the way of a partner's new member.
pub(crate) fn supersede(d: &mut Draft<'_>) -> Result<(), Refusal> {
    let now = d.now();
    for (id, who) in places(d) {
        let Some(grant) = d.state.grants.get(id).filter(|g| g.stands(now)) else {
            continue;
        };
        let organisation = grant.customer.organisation;
        let on = |p: &PersonId| d.state.assignment_row(id, *p).is_some_and(|a| a.is_active(now));
        let people: Vec<PersonId> = match who {
            Some(people) => people.into_iter().filter(on).collect(),
            None => d.state.members_of(organisation).map(|(p, _)| p).filter(on).collect(),
        };
        for person in superseded_by(&d.state, id, &people) {
            let was_admin = person::was_working_admin(d, organisation, person);
            let by_rule = d.state.own_row(id, person).is_none() && !d.set_rule(id);
            if was_admin && by_rule && is_last(&d.state, organisation, person) {
                d.emit(Event::AutoLeftOut { grant: id, person });
                continue;
            }
            d.emit(Event::MembershipSuperseded { organisation, person, grant: id });
            person::kept_an_admin(d, was_admin, organisation)?;
        }
    }
    Ok(())
}

/// Where the row may have given somebody a place: on a grant that it touched anybody, and those whom
/// it touched wherever they are.
fn places(d: &Draft<'_>) -> BTreeMap<GrantId, Option<BTreeSet<PersonId>>> {
    let mut places: BTreeMap<GrantId, Option<BTreeSet<PersonId>>> = BTreeMap::new();
    for person in &d.touched().people {
        for (id, _) in d.state.grants_of(*person) {
            let who = places.entry(id).or_insert_with(|| Some(BTreeSet::new()));
            who.get_or_insert_default().insert(*person);
        }
    }
    places.extend(d.touched().grants.iter().map(|id| (*id, None)));
    places
}

/// Whether nobody else of the organisation can act as its Admin.
fn is_last(state: &State, organisation: OrganisationId, person: PersonId) -> bool {
    let mut others = state.members_of(organisation).filter(|(p, _)| *p != person);
    !others.any(|(_, member)| person::is_working_admin(state, member))
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
    if grants.iter().any(|id| d.state.own_row(*id, person).is_none()) {
        return Err(Refusal::AutoAssignEnabled);
    }
    for grant in grants {
        let cause = AssignmentEnd::MembershipRestored;
        d.emit(Event::AssignmentEnded { grant, person, cause });
    }
    d.emit(Event::MembershipRestored { organisation, person, by });
    Ok(())
}
