//! Bulk: many people on many accounts of a grant, by one command, all or nothing (V3, V6 to V8).
//!
//! Nothing is said pair by pair: the row names the people once and the accounts once, and people
//! whose accounts are the same share one set. What is added is united with what somebody has, and
//! *all accounts* takes every list in. What is removed leaves the rest, and leaving nothing ends the
//! assignment. Whoever had *all accounts* and loses some keeps the others as a list, as they are
//! that day: the rule itself is gone, so that an account made later is nobody's by surprise.
//!
//! [`plan`] says what would become of it and the commands do exactly that: they are
//! sent with the token of the plan that somebody saw, and refused if it would be another one now.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::{self, Assignment, AssignmentState, Basis};
use crate::command::{AssignmentSpec, Caller};
use crate::direct;
use crate::draft::Draft;
use crate::event::Event;
use crate::grant::{Grant, GrantPhase};
use crate::ids::{AccountId, Digest32, GrantId, PersonId, RoleId};
use crate::may::{self, Action};
use crate::organisation::Accounts;
use crate::refusal::Refusal;
use crate::state::State;
use crate::table::SetIx;
use crate::time::Instant;

/// How many people one call names at most: a row must stay short, and nobody waits for a command
/// longer than for others (T44). There is no limit on the accounts but the grant's own.
pub const MOST_PEOPLE: usize = 5_000;

/// What is to become of people on some accounts of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Many {
    /// Who.
    pub people: BTreeSet<PersonId>,
    /// Which accounts of the grant.
    pub accounts: Accounts,
    /// What.
    pub deed: Deed,
}

/// Giving or taking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// They get the accounts beside what they have.
    Add {
        /// With these roles of the grant. May be empty where nobody is new on it.
        roles: BTreeSet<RoleId>,
        /// Whether those who are on the grant already get these roles too, instead of theirs. A
        /// person holds one set of roles on all their accounts of a grant.
        everybody: bool,
    },
    /// They lose the accounts.
    Remove {
        /// Who is put on the grant, where nobody else would be left.
        successor: Option<AssignmentSpec>,
    },
}

impl Many {
    /// The action that somebody needs for it.
    #[must_use]
    pub fn action(&self) -> Action {
        match self.deed {
            Deed::Add { .. } => Action::Assign,
            Deed::Remove { .. } => Action::Unassign,
        }
    }
}

/// What a bulk call does, counted in pairs of a person and an account, as things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The accounts that it is about: those selected that exist.
    pub accounts: usize,
    /// Pairs that come to be.
    pub created: u64,
    /// Pairs that stay as they are: there already, or not there to be taken away.
    pub unchanged: u64,
    /// Pairs that end.
    pub ended: u64,
    /// Who is put on the grant, having had nothing on it.
    pub new: Vec<PersonId>,
    /// Who is on it and gets more accounts or other roles.
    pub more: Vec<PersonId>,
    /// Who has less on it.
    pub less: Vec<PersonId>,
    /// Who is off it.
    pub off: Vec<PersonId>,
    /// Of those with less, who had all accounts, and has a list from now on.
    pub listed: Vec<PersonId>,
    /// Of those with more, whose roles are others than before.
    pub roles: Vec<PersonId>,
    /// Who has a membership of their own in the customer, which this replaces (N9).
    pub superseded: Vec<PersonId>,
    /// Whether a live grant would be left without anybody: then it is refused.
    pub last_user: bool,
    /// What the call has to echo: other for whatever else it would do.
    pub token: Digest32,
    /// Accounts of the grant that are linked to those that are named, and go along (V11).
    pub linked: Vec<AccountId>,
    /// What the call has to echo where there are any: it names them.
    pub linked_token: Option<Digest32>,
    /// All that it is about.
    pub meant: Accounts,
}

/// How many of the selected accounts of a grant somebody holds: the one place that counts it, for
/// lists and for what is done. Distinct sets are counted once, however many people share them.
pub struct Holding<'s> {
    state: &'s State,
    grant: GrantId,
    wanted: Vec<AccountId>,
    known: BTreeMap<SetIx, usize>,
}

impl<'s> Holding<'s> {
    /// Over these accounts of a grant; *all accounts* are those that it reaches now.
    #[must_use]
    pub fn new(state: &'s State, id: GrantId, accounts: &Accounts) -> Self {
        let wanted = match (accounts, state.grants.get(id)) {
            (_, None) => Vec::new(),
            (Accounts::List(list), Some(grant)) => {
                list.iter().copied().filter(|a| reaches(state, grant, *a)).collect()
            }
            (Accounts::All, Some(grant)) => reached(state, grant),
        };
        Self { state, grant: id, wanted, known: BTreeMap::new() }
    }

    /// How many are selected.
    #[must_use]
    pub fn of(&self) -> usize {
        self.wanted.len()
    }

    /// How many of them a person holds at `now`. Whoever is suspended or over holds none.
    pub fn held(&mut self, person: PersonId, now: Instant) -> usize {
        self.state.assignment_row(self.grant, person).map_or(0, |row| self.by(row, now))
    }

    /// The same by the row of the assignment.
    pub fn by(&mut self, row: &Assignment, now: Instant) -> usize {
        match row.accounts {
            _ if !row.is_active(now) => 0,
            None => self.wanted.len(),
            Some(set) => {
                let (state, wanted) = (self.state, &self.wanted);
                *self
                    .known
                    .entry(set)
                    .or_insert_with(|| common(state.account_sets.get(set), wanted))
            }
        }
    }
}

/// How many members two sorted lists share.
fn common(a: &[AccountId], b: &[AccountId]) -> usize {
    let (mut a, mut b, mut count) = (a.iter().peekable(), b.iter().peekable(), 0);
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => drop(a.next()),
            std::cmp::Ordering::Greater => drop(b.next()),
            std::cmp::Ordering::Equal => {
                count += 1;
                a.next();
                b.next();
            }
        }
    }
    count
}

/// Whether an account exists on the customer's side of a grant and in it.
fn reaches(state: &State, grant: &Grant, account: AccountId) -> bool {
    let listed = match &grant.accounts {
        Accounts::All => true,
        Accounts::List(list) => list.contains(&account),
    };
    let known = state.accounts.get(account);
    listed && known.is_some_and(|a| grant.customer.includes(a.organisation, a.unit))
}

/// The accounts that a grant reaches now, sorted.
#[must_use]
pub(crate) fn reached(state: &State, grant: &Grant) -> Vec<AccountId> {
    let there = |a: &AccountId| reaches(state, grant, *a);
    match &grant.accounts {
        Accounts::List(list) => list.iter().copied().filter(there).collect(),
        Accounts::All => state.accounts_of(grant.customer.organisation).filter(there).collect(),
    }
}

/// What is left of *all accounts* of a grant, or of a list, without these.
pub(crate) fn rest(
    state: &State,
    grant: &Grant,
    held: Option<SetIx>,
    without: &Accounts,
) -> Vec<AccountId> {
    let Accounts::List(without) = without else {
        return Vec::new();
    };
    let stays = |a: &AccountId| !without.contains(a);
    match held {
        None => reached(state, grant).into_iter().filter(stays).collect(),
        Some(set) => state.account_sets.get(set).iter().copied().filter(stays).collect(),
    }
}

/// What `many` would do now.
///
/// # Errors
/// Every refusal of the command but the two that only it has: another token, and nobody left.
pub fn plan(state: &State, id: GrantId, many: &Many, now: Instant) -> Result<Plan, Refusal> {
    let grant = state.grants.get(id).ok_or(Refusal::NotFound)?;
    if !grant.stands(now) {
        return Err(Refusal::WrongState(grant.phase(now).code()));
    }
    if grant.auto.is_some() {
        return Err(Refusal::AutoAssignEnabled);
    }
    if many.people.is_empty() {
        return Err(Refusal::invalid("people", "must name somebody"));
    }
    if many.people.len() > MOST_PEOPLE {
        return Err(Refusal::invalid("people", format!("may name at most {MOST_PEOPLE}")));
    }
    assignment::accounts_within(state, grant, &many.accounts)?;
    let linked = linked(state, grant, &many.accounts);
    let accounts = match &many.accounts {
        Accounts::All => Accounts::All,
        Accounts::List(list) => Accounts::List(list.iter().chain(&linked).copied().collect()),
    };
    let holding = Holding::new(state, id, &accounts);
    let plan = Plan::nothing(accounts.clone());
    let mut planning = Planning { state, id, grant, many, accounts, now, holding, plan };
    match &many.deed {
        Deed::Add { roles, everybody } => planning.add(roles, *everybody)?,
        Deed::Remove { successor } => planning.remove(successor.as_ref())?,
    }
    let Planning { holding, mut plan, .. } = planning;
    plan.accounts = holding.of();
    plan.token = token(state, id, grant, many, &holding);
    plan.linked_token = (!linked.is_empty()).then(|| naming(id, &linked));
    plan.linked = linked;
    Ok(plan)
}

/// The accounts of a grant that are linked to these and not among them, sorted. One that the grant
/// does not give is touched by nobody.
fn linked(state: &State, grant: &Grant, accounts: &Accounts) -> Vec<AccountId> {
    let Accounts::List(list) = accounts else {
        return Vec::new();
    };
    let groups: BTreeMap<_, AccountId> = list
        .iter()
        .filter_map(|id| Some((state.accounts.get(*id)?.linked.as_ref()?, *id)))
        .collect();
    let others = groups.into_values().flat_map(|id| state.linked_with(id));
    let others: BTreeSet<AccountId> =
        others.filter(|id| !list.contains(id) && reaches(state, grant, *id)).collect();
    others.into_iter().collect()
}

/// The token that names these accounts.
fn naming(id: GrantId, linked: &[AccountId]) -> Digest32 {
    let mut bytes = b"comity/bulk/linked/1/".to_vec();
    bytes.extend(id.0.to_be_bytes());
    bytes.extend(linked.iter().flat_map(|account| account.0.to_be_bytes()));
    Digest32::of(&bytes)
}

impl Plan {
    fn nothing(meant: Accounts) -> Self {
        Self {
            accounts: 0,
            created: 0,
            unchanged: 0,
            ended: 0,
            new: Vec::new(),
            more: Vec::new(),
            less: Vec::new(),
            off: Vec::new(),
            listed: Vec::new(),
            roles: Vec::new(),
            superseded: Vec::new(),
            last_user: false,
            token: Digest32([0; 32]),
            linked: Vec::new(),
            linked_token: None,
            meant,
        }
    }
}

struct Planning<'a> {
    state: &'a State,
    id: GrantId,
    grant: &'a Grant,
    many: &'a Many,
    /// Those that are named, and those linked to them.
    accounts: Accounts,
    now: Instant,
    holding: Holding<'a>,
    plan: Plan,
}

impl Planning<'_> {
    /// Pairs that somebody has, and those that they lack.
    fn pairs(&mut self, row: Option<&Assignment>) -> (u64, u64) {
        let has = row.map_or(0, |row| self.holding.by(row, self.now));
        (has as u64, self.holding.of().saturating_sub(has) as u64)
    }

    fn add(&mut self, roles: &BTreeSet<RoleId>, everybody: bool) -> Result<(), Refusal> {
        assignment::open(self.state, self.id, self.grant)?;
        let roles: Vec<RoleId> = roles.iter().copied().collect();
        if !roles.is_empty() {
            assignment::roles_within(self.state, self.grant, &roles)?;
        }
        // Whoever has everything that is added stays as they are, by set and not by person.
        let mut full: BTreeMap<SetIx, bool> = BTreeMap::new();
        for person in &self.many.people {
            assignment::may_hold(self.state, self.id, self.grant, *person, "people")?;
            let row = self.state.assignment_row(self.id, *person).copied();
            if row.is_some_and(|row| row.basis == Basis::Invited) {
                return Err(from_outside(*person));
            }
            let row = row.filter(|row| row.is_active(self.now));
            let (has, lacks) = self.pairs(row.as_ref());
            self.plan.created += lacks;
            self.plan.unchanged += has;
            let Some(row) = row else {
                self.plan.new.push(*person);
                continue;
            };
            let others = everybody && self.state.role_sets.get(row.roles) != roles;
            let same = row.accounts.is_none_or(|set| {
                *full.entry(set).or_insert_with(|| match &self.accounts {
                    Accounts::All => false,
                    Accounts::List(list) => {
                        common(self.state.account_sets.get(set), &self.holding.wanted) == list.len()
                    }
                })
            });
            if others {
                self.plan.roles.push(*person);
            }
            if others || !same {
                self.plan.more.push(*person);
            }
        }
        self.plan.superseded = direct::superseded_by(self.state, self.id, &self.plan.new);
        if roles.is_empty() && (everybody || !self.plan.new.is_empty()) {
            return Err(Refusal::invalid(
                "roles",
                "must name at least one role for who is not on the grant yet",
            ));
        }
        Ok(())
    }

    fn remove(&mut self, successor: Option<&AssignmentSpec>) -> Result<(), Refusal> {
        if let Some(successor) = successor {
            if self.many.people.contains(&successor.person) {
                return Err(Refusal::invalid("successor", "must be somebody else"));
            }
            assignment::checked(self.state, self.id, self.grant, successor, self.now)?;
        }
        let mut empty: BTreeMap<Option<SetIx>, bool> = BTreeMap::new();
        let mut lost = BTreeMap::new();
        for person in &self.many.people {
            let row = self.state.assignment_row(self.id, *person).copied();
            if row.is_some_and(|row| row.basis == Basis::Invited) {
                return Err(from_outside(*person));
            }
            let (has, lacks) = self.pairs(row.as_ref());
            self.plan.ended += has;
            self.plan.unchanged += lacks;
            let Some(row) = row else {
                continue;
            };
            let (state, grant, accounts) = (self.state, self.grant, &self.accounts);
            let nothing = *empty
                .entry(row.accounts)
                .or_insert_with(|| rest(state, grant, row.accounts, accounts).is_empty());
            // A suspended one counts as holding nothing, and loses what is taken away all the same.
            let touched = *lost.entry(row.accounts).or_insert_with(|| match row.accounts {
                None => true,
                Some(set) => common(state.account_sets.get(set), &self.holding.wanted) > 0,
            });
            if nothing {
                self.plan.off.push(*person);
            } else if touched {
                self.plan.less.push(*person);
                if row.accounts.is_none() {
                    self.plan.listed.push(*person);
                }
            }
        }
        self.plan.last_user = self.leaves_alone() && successor.is_none();
        Ok(())
    }

    /// Whether somebody attends a live grant and nobody would (E5, inv16): counted for the call.
    fn leaves_alone(&self) -> bool {
        let off: BTreeSet<PersonId> = self.plan.off.iter().copied().collect();
        let attends =
            |(p, a): &(PersonId, &Assignment)| self.state.attends(self.id, *p, a, self.now);
        let mut on = self.state.assigned_to(self.id).filter(attends).peekable();
        self.grant.phase(self.now) == GrantPhase::Active
            && on.peek().is_some()
            && on.all(|(p, _)| off.contains(&p))
    }
}

fn from_outside(person: PersonId) -> Refusal {
    Refusal::invalid("people", format!("name {person}, who was invited and goes one by one"))
}

/// A digest over what is asked and over everything that it would change, so that whoever saw
/// something else is refused.
fn token(
    state: &State,
    id: GrantId,
    grant: &Grant,
    many: &Many,
    holding: &Holding<'_>,
) -> Digest32 {
    let rows: Vec<_> = many.people.iter().map(|p| (*p, state.assignment_row(id, *p))).collect();
    let deed = match &many.deed {
        Deed::Add { roles, everybody } => (0, Some(roles), *everybody, None),
        Deed::Remove { successor } => {
            let follows = successor.as_ref().map(|s| {
                (s.person, &s.roles, &s.accounts, s.ends_at, state.assignment_row(id, s.person))
            });
            (1, None, false, follows)
        }
    };
    let what = (id, deed, &many.accounts, &holding.wanted, &grant.accounts, rows);
    let mut bytes = b"comity/bulk/1/".to_vec();
    // A tree of plain values: writing it into memory cannot fail.
    bytes.extend(postcard::to_allocvec(&what).unwrap_or_default());
    Digest32::of(&bytes)
}

/// Adds or removes, if `echoed` is the token of what it does now.
pub(crate) fn carry_out(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: GrantId,
    many: Many,
    (echoed, linked): (Digest32, Option<Digest32>),
) -> Result<(), Refusal> {
    let now = d.now();
    let grant = may::check_grant(&d.state, caller, many.action(), id, now)?.clone();
    let plan = plan(&d.state, id, &many, now)?;
    if plan.linked_token.is_some() && plan.linked_token != linked {
        return Err(Refusal::LinkedAccounts);
    }
    if plan.token != echoed {
        return Err(Refusal::StaleSummary);
    }
    if plan.last_user {
        return Err(Refusal::LastUser);
    }
    d.acting_for(grant.provider.organisation);
    let Plan { new, more, less, off, created, ended, meant: accounts, .. } = plan;
    match many.deed {
        Deed::Add { roles, everybody } => {
            let roles = roles.into_iter().collect();
            if !(new.is_empty() && more.is_empty()) {
                let pairs = created;
                d.emit(Event::AssignedMany {
                    grant: id,
                    new,
                    more,
                    roles,
                    everybody,
                    accounts,
                    pairs,
                });
            }
        }
        Deed::Remove { successor } => {
            if let Some(successor) = successor {
                assignment::put(d, id, &grant, successor)?;
            }
            if !(less.is_empty() && off.is_empty()) {
                let pairs = ended;
                d.emit(Event::UnassignedMany { grant: id, off, less, accounts, pairs });
            }
        }
    }
    Ok(())
}

/// What an assignment made in bulk is.
pub(crate) fn made(roles: SetIx, accounts: Option<SetIx>) -> Assignment {
    Assignment {
        roles,
        accounts,
        ends_at: Instant::NEVER,
        basis: Basis::Individual,
        state: AssignmentState::Active,
    }
}
