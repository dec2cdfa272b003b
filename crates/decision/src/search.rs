//! Who may do this, where may they, and what: each found by asking the question of a decision about
//! every candidate, so that a search agrees with what would be answered. Nothing is counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use comity_domain::ids::{AccountId, ApplicationId, OrganisationId, PersonId, SessionId};
use comity_domain::permission::{Permission, Permissions};
use comity_domain::refusal::Reason;
use comity_domain::rights::own::Own;
use comity_domain::rights::{Compiled, Resource};
use comity_domain::state::State;
use comity_domain::time::Instant;

/// How many permissions are tried at most when those of a subject are listed.
pub const MOST_TRIED: usize = 20_000;

/// A subject that is there: whatever it may do is judged as a decision judges it.
#[derive(Debug, Clone)]
pub enum Subject<'s> {
    /// A session.
    Session(Arc<Compiled>),
    /// A member at home.
    Member(Own<'s>),
}

/// More than [`MOST_TRIED`] permissions would have to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Subject<'_> {
    /// Whether a decision at `now` would be yes.
    #[must_use]
    pub fn may(&self, asked: Permission<'_>, resource: Resource, now: Instant) -> bool {
        let reason = match self {
            Self::Session(compiled) => compiled.judge(asked, resource, now),
            Self::Member(own) => own.judge(asked, resource),
        };
        reason == Reason::Allowed
    }

    /// The permissions that a decision would answer with yes, of all that can be spelled with the
    /// words of the subject's roles and of what stands over them. A star has no end; what nobody
    /// has named is not listed.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn permissions(
        &self,
        words: &Permissions,
        resource: Resource,
        now: Instant,
    ) -> Result<BTreeSet<String>, TooMany> {
        let mut roles: Vec<&Permissions> = Vec::new();
        let mut over = vec![words];
        match self {
            Self::Session(compiled) => {
                if let Ok(rights) = &compiled.rights {
                    over.extend(&rights.ceilings);
                    over.extend(rights.roles.iter().map(|(_, newest)| newest));
                    roles.extend(rights.roles.iter().map(|(pinned, _)| pinned));
                }
            }
            Self::Member(own) => roles.extend(own.roles()),
        }
        let tried = spelled(&roles, &over)?;
        let yes = |text: &String| {
            Permission::parse(text).is_some_and(|asked| self.may(asked, resource, now))
        };
        Ok(tried.into_iter().filter(yes).collect())
    }
}

/// Every permission that the entries of `roles` cover, spelled with the words that they and `over`
/// name.
fn spelled(roles: &[&Permissions], over: &[&Permissions]) -> Result<BTreeSet<String>, TooMany> {
    let entries = || roles.iter().chain(over).flat_map(|set| set.entries());
    let resources: BTreeSet<&str> = entries().filter_map(|(resource, _)| resource).collect();
    let verbs: BTreeSet<&str> = entries().filter_map(|(_, verb)| verb).collect();
    let mut found = BTreeSet::new();
    for (resource, verb) in roles.iter().flat_map(|set| set.entries()) {
        let one = |word: Option<&'_ str>| word.map(|w| BTreeSet::from([w.to_owned()]));
        let all = |words: &BTreeSet<&str>| words.iter().map(ToString::to_string).collect();
        let resources = one(resource).unwrap_or_else(|| all(&resources));
        let verbs = one(verb).unwrap_or_else(|| all(&verbs));
        if resources.len().saturating_mul(verbs.len()) > MOST_TRIED {
            return Err(TooMany);
        }
        for resource in &resources {
            found.extend(verbs.iter().map(|verb| format!("{resource}:{verb}")));
        }
        if found.len() > MOST_TRIED {
            return Err(TooMany);
        }
    }
    Ok(found)
}

/// The organisation that a resource belongs to.
#[must_use]
pub fn owner(resource: Resource) -> Option<OrganisationId> {
    match resource {
        Resource::Unknown => None,
        Resource::Organisation(o) | Resource::Account(_, o, _) => Some(o),
    }
}

/// Sessions that could be let to a resource: those inside its organisation, oldest first.
#[must_use]
pub fn sessions(state: &State, resource: Resource) -> Vec<SessionId> {
    let grants = owner(resource).into_iter().flat_map(|o| state.grants_by(o));
    let mut sessions: Vec<_> = grants.flat_map(|g| state.sessions_under(g)).collect();
    sessions.sort();
    sessions
}

/// Members who could be let to a resource: those of its organisation, oldest first.
#[must_use]
pub fn members(state: &State, resource: Resource) -> Vec<PersonId> {
    let owner = owner(resource).into_iter();
    owner.flat_map(|o| state.members_of(o)).map(|(person, _)| person).collect()
}

/// A member at home, if there is anything to judge.
#[must_use]
pub fn member<'s>(
    state: &'s State,
    application: ApplicationId,
    organisation: OrganisationId,
    person: PersonId,
) -> Option<Subject<'s>> {
    Own::of(state, application, organisation, person).ok().map(Subject::Member)
}

/// An account as a decision is asked about it.
#[must_use]
pub fn account(state: &State, id: AccountId) -> Resource {
    let found = state.accounts.get(id);
    found.map_or(Resource::Unknown, |a| Resource::Account(id, a.organisation, a.unit))
}
