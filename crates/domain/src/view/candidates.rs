//! Who can be given accounts of a grant, and from whom they can be taken (V6 to V8): with *k of n*
//! from the one place that counts it.

use std::collections::{BTreeMap, HashMap};

use crate::assignment::{self, Basis};
use crate::bulk::Holding;
use crate::grant::Grant;
use crate::ids::{GrantId, PersonId, UnitId};
use crate::organisation::{Accounts, Standing};
use crate::person::Member;
use crate::state::State;
use crate::time::Instant;

/// What somebody is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be given accounts: whoever lacks some of them.
    Add,
    /// To lose some: whoever has any of them.
    Remove,
}

/// Somebody who can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub person: PersonId,
    /// How many of the accounts they have: *k*.
    pub held: usize,
    /// How many there are: *n*.
    pub of: usize,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// What for.
    pub purpose: Purpose,
    /// The selected accounts.
    pub accounts: &'a Accounts,
    /// Only who is called so.
    pub query: Option<&'a str>,
}

struct Looking<'s> {
    state: &'s State,
    id: GrantId,
    grant: &'s Grant,
    now: Instant,
    purpose: Purpose,
    of: usize,
    /// Who is on the grant, with what they hold, and whether they came otherwise than by hand.
    on: HashMap<PersonId, (usize, bool)>,
    units: BTreeMap<UnitId, bool>,
}

/// The first `limit` people after `after` by age, and whether there are more.
#[must_use]
pub fn candidates(
    state: &State,
    id: GrantId,
    sought: Sought<'_>,
    after: Option<PersonId>,
    limit: usize,
    now: Instant,
) -> (Vec<Candidate>, bool) {
    let Some(grant) = state.grants.get(id) else {
        return (Vec::new(), false);
    };
    let mut holding = Holding::new(state, id, sought.accounts);
    let of = holding.of();
    let on = state.assigned_to(id);
    let on: HashMap<_, _> = on
        .map(|(person, row)| (person, (holding.by(row, now), row.basis != Basis::Individual)))
        .collect();
    let purpose = sought.purpose;
    let mut looking = Looking { state, id, grant, now, purpose, of, on, units: BTreeMap::new() };
    let provider = grant.provider.organisation;
    let first = after.map_or(PersonId::MIN, |a| PersonId(a.0.saturating_add(1)));
    let mut found = Vec::with_capacity(limit.min(256).saturating_add(1));
    let mut take = |person: PersonId, member: &Member| {
        found.extend(looking.at(person, member));
        found.len() > limit
    };
    let members = |person| Some((person, state.members.get(&(provider, person))?));
    let mut named: Vec<PersonId> = match (sought.query, purpose) {
        (Some(query), _) => state.members_called(provider, query),
        (None, Purpose::Remove) => {
            let on = state.assigned_to(id).map(|(person, _)| person);
            let mut on: Vec<PersonId> = on.collect();
            on.sort_unstable();
            on
        }
        (None, Purpose::Add) => {
            let all = state.members.range((provider, first)..=(provider, PersonId::MAX));
            let _ = all.map(|((_, p), m)| (*p, m)).any(|(p, m)| take(p, m));
            Vec::new()
        }
    };
    named.retain(|person| *person >= first);
    let _ = named.into_iter().filter_map(members).any(|(person, member)| take(person, member));
    let more = found.len() > limit;
    found.truncate(limit);
    (found, more)
}

impl Looking<'_> {
    fn at(&mut self, person: PersonId, member: &Member) -> Option<Candidate> {
        let (held, outside) = self.on.get(&person).copied().unwrap_or((0, false));
        let chosen = match self.purpose {
            Purpose::Remove => held > 0,
            Purpose::Add => held < self.of && self.could_hold(person, member),
        };
        (chosen && !outside).then_some(Candidate { person, held, of: self.of })
    }

    /// Cheap reasons first: the rule itself is asked about those who are left.
    fn could_hold(&mut self, person: PersonId, member: &Member) -> bool {
        let state = self.state;
        let side = self.grant.provider.includes(self.grant.provider.organisation, member.unit);
        side && member.standing == Standing::Active
            && *self.units.entry(member.unit).or_insert_with(|| state.unit_is_active(member.unit))
            && self.grant.stands(self.now)
            && self.grant.auto.is_none()
            && assignment::may_hold(state, self.id, self.grant, person, "people").is_ok()
    }
}
