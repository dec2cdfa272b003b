//! What a member may do in the own organisation: the same question as for a partner's session,
//! answered from the roles that the organisation gave the member.
//!
//! There is no grant, level, mode or session here, and so no clock: a membership ends by an event.
//! The builder's never-delegable list does not apply, because nothing is delegated: it says what no
//! partner may do whatever its roles, and at home these are the very people who may do it. Whoever
//! is only a partner is no member, and gets no yes this way.

use crate::halt::HaltTarget;
use crate::ids::{ApplicationId, OrganisationId, PersonId};
use crate::organisation::Standing;
use crate::permission::{Permission, Permissions};
use crate::refusal::Reason;
use crate::state::State;

use super::Resource;

/// What a member may do at home now.
#[derive(Debug, Clone)]
pub struct Own<'s> {
    state: &'s State,
    organisation: OrganisationId,
    /// The application's words: it is told about nothing else.
    words: &'s Permissions,
    /// The newest version of each role that the member holds.
    roles: Vec<&'s Permissions>,
}

impl<'s> Own<'s> {
    /// Compiles it, or says why there is nothing.
    ///
    /// # Errors
    /// `not_a_member`, `locked`, `suspended`; `no_role` for an application that is not there.
    pub fn of(
        state: &'s State,
        application: ApplicationId,
        organisation: OrganisationId,
        person: PersonId,
    ) -> Result<Self, Reason> {
        let member = state.members.get(&(organisation, person)).ok_or(Reason::NotAMember)?;
        // A customer that locked a person has locked that person, by whichever way they come.
        let halted = [HaltTarget::Organisation(organisation), HaltTarget::Person(person)];
        if state.is_locked(organisation, organisation, Some(person))
            || halted.into_iter().any(|target| state.halt_on(target).is_some())
        {
            return Err(Reason::Locked);
        }
        if member.standing != Standing::Active
            || member.superseded.is_some()
            || !state.unit_is_active(member.unit)
            || !state.organisation_is_active(organisation)
        {
            return Err(Reason::Suspended);
        }
        let words = &state.applications.get(application).ok_or(Reason::NoRole)?.permissions;
        let roles = member
            .roles
            .iter()
            .filter_map(|id| state.roles.get(*id))
            .filter(|role| !role.deleted && role.organisation == organisation)
            .filter_map(|role| role.versions.last())
            .collect();
        Ok(Self { state, organisation, words, roles })
    }

    /// What the roles permit, each by itself.
    #[must_use]
    pub fn roles(&self) -> &[&'s Permissions] {
        &self.roles
    }

    /// Judges one call. Total: deny by default, one reason for each no.
    #[must_use]
    pub fn judge(&self, asked: Permission<'_>, resource: Resource) -> Reason {
        match resource {
            Resource::Organisation(o) if o == self.organisation => {}
            Resource::Account(_, o, unit) if o == self.organisation => {
                if !self.state.unit_is_active(unit) {
                    return Reason::Suspended;
                }
            }
            Resource::Organisation(_) | Resource::Account(..) | Resource::Unknown => {
                return Reason::WrongResource;
            }
        }
        if self.words.permits(asked) && self.roles.iter().any(|role| role.permits(asked)) {
            Reason::Allowed
        } else {
            Reason::NoRole
        }
    }
}

/// Judges one call of a person about a resource, whose organisation decides which membership counts.
#[must_use]
pub fn judge(
    state: &State,
    application: ApplicationId,
    person: PersonId,
    asked: Permission<'_>,
    resource: Resource,
) -> Reason {
    let organisation = match resource {
        Resource::Unknown => return Reason::WrongResource,
        Resource::Organisation(o) | Resource::Account(_, o, _) => o,
    };
    match Own::of(state, application, organisation, person) {
        Ok(own) => own.judge(asked, resource),
        Err(reason) => reason,
    }
}
