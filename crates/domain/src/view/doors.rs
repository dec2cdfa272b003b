//! Which doors a person has: what the builder's own sign-in asks before it lets somebody in (N9).

use crate::ids::{OrganisationId, PersonId};
use crate::organisation::Standing;
use crate::person::Member;
use crate::state::State;

/// Why a membership opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shut {
    /// The person works there for a partner and enters only that way.
    Superseded,
    /// The member is suspended.
    Member,
    /// The member's unit is.
    Unit,
    /// The organisation is suspended or closed.
    Organisation,
}

impl Shut {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Superseded, Self::Member, Self::Unit, Self::Organisation];

    /// As it is written.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Member => "member",
            Self::Unit => "unit",
            Self::Organisation => "organisation",
        }
    }
}

/// A person's membership in an organisation as a door: open, or shut for a reason.
#[derive(Debug, Clone, Copy)]
pub struct Door<'s> {
    /// Into which organisation.
    pub organisation: OrganisationId,
    /// The membership.
    pub member: &'s Member,
    /// Why it is shut; `None` where it is open.
    pub shut: Option<Shut>,
}

/// A person's own doors, by organisation. Where they may go for a partner is [`super::tenants`].
pub fn doors(state: &State, person: PersonId) -> impl Iterator<Item = Door<'_>> {
    state.organisations_of(person).filter_map(move |organisation| {
        let member = state.members.get(&(organisation, person))?;
        let open = state.active_member(organisation, person).is_some();
        let shut = || {
            if !state.organisation_is_active(organisation) {
                Shut::Organisation
            } else if member.superseded.is_some() {
                Shut::Superseded
            } else if member.standing != Standing::Active {
                Shut::Member
            } else {
                Shut::Unit
            }
        };
        Some(Door { organisation, member, shut: (!open).then(shut) })
    })
}
