//! Roles that a customer defines, and the levels by which a partner asks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::Caller;
use crate::draft::Draft;
use crate::event::Event;
use crate::ids::{OrganisationId, RoleId};
use crate::may::{self, Action, Thing};
use crate::organisation;
use crate::permission::{MOST_IN_COMMON, Permissions};
use crate::refusal::Refusal;
use crate::text;
use crate::time::{Days, Minutes};

/// A named, versioned set of permissions of the builder's product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Whose.
    pub organisation: OrganisationId,
    /// Its code, unique among the live roles of the organisation.
    pub code: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What each version permits, the first being version 1.
    pub versions: Vec<Permissions>,
    /// A deleted role permits nothing and comes back never.
    pub deleted: bool,
}

impl Role {
    /// The newest version's number.
    #[must_use]
    pub fn newest(&self) -> u32 {
        u32::try_from(self.versions.len()).unwrap_or(u32::MAX)
    }

    /// What a grant that pinned `version` gives, in its two forms: as pinned, and as it is now. A
    /// call has to be permitted by both; a deleted role has none.
    #[must_use]
    pub fn forms(&self, version: u32) -> Option<(Permissions, Permissions)> {
        let pinned = self.versions.get(version.checked_sub(1)? as usize)?;
        (!self.deleted).then(|| Some((pinned.clone(), self.versions.last()?.clone())))?
    }

    /// What a grant that pinned `version` gives: what both that and the newest version permit.
    #[must_use]
    pub fn pinned(&self, version: u32) -> Permissions {
        self.forms(version).map_or_else(Permissions::none, |(pinned, newest)| pinned.meet(&newest))
    }
}

/// A role at the version that a grant was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PinnedRole {
    /// Which role.
    pub role: RoleId,
    /// Which version.
    pub version: u32,
}

/// How a person stays in a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As oneself.
    Direct,
    /// As oneself, reading only.
    View,
    /// As the customer organisation: impersonation.
    ActAs,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Direct, Self::View, Self::ActAs];

    /// As it is written.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::View => "view",
            Self::ActAs => "act_as",
        }
    }

    /// What the mode leaves of any rights.
    #[must_use]
    pub fn ceiling(self) -> Permissions {
        match self {
            Self::Direct | Self::ActAs => Permissions::all(),
            Self::View => Permissions::reading(),
        }
    }
}

/// A set of modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Modes(u8);

impl Modes {
    /// None.
    pub const NONE: Self = Self(0);

    /// Every mode.
    #[must_use]
    pub fn all() -> Self {
        Mode::ALL.into_iter().collect()
    }

    /// Whether `mode` is among them.
    #[must_use]
    pub fn contains(self, mode: Mode) -> bool {
        self.0 & (1 << mode as u8) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every mode of `other` is in `self`.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Mode> {
        Mode::ALL.into_iter().filter(move |m| self.contains(*m))
    }
}

impl FromIterator<Mode> for Modes {
    fn from_iter<I: IntoIterator<Item = Mode>>(modes: I) -> Self {
        Self(modes.into_iter().fold(0, |bits, mode| bits | (1 << mode as u8)))
    }
}

impl Serialize for Modes {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_seq(self.iter()) } else { s.serialize_u8(self.0) }
    }
}

impl<'de> Deserialize<'de> for Modes {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            let bits = Self(u8::deserialize(d)?);
            return Ok(bits.iter().collect());
        }
        Ok(Vec::<Mode>::deserialize(d)?.into_iter().collect())
    }
}

/// A named, versioned template of an access request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// A ceiling over everything that a grant of this level permits.
    pub ceiling: Permissions,
    /// The modes that can be asked for.
    pub modes: Modes,
    /// The longest grant.
    pub longest_grant: Days,
    /// The longest session.
    pub session_cap: Minutes,
}

/// A level at the version that a request was made with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PinnedLevel {
    /// Its code.
    pub code: Arc<str>,
    /// Which version.
    pub version: u32,
}

impl PinnedLevel {
    /// Whether its badge is the quiet one: a referral's (R6).
    #[must_use]
    pub fn is_secondary(&self) -> bool {
        &*self.code == "referral"
    }
}

/// The levels that every installation has.
#[must_use]
pub fn built_in_levels() -> [(&'static str, Level); 2] {
    [
        (
            "partner",
            Level {
                ceiling: Permissions::all(),
                modes: Modes::all(),
                longest_grant: Days(730),
                session_cap: Minutes(480),
            },
        ),
        (
            "referral",
            Level {
                ceiling: Permissions::reading(),
                modes: [Mode::Direct, Mode::View].into_iter().collect(),
                longest_grant: Days(90),
                session_cap: Minutes(480),
            },
        ),
    ]
}

/// How many versions a role may have.
pub const MOST_VERSIONS: usize = 1_000;

/// Defines a role, or a new version of it. Grants keep the version that they pinned.
pub(crate) fn put(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    code: &str,
    name: &str,
    permissions: Permissions,
) -> Result<(), Refusal> {
    organisation::provision(d, caller, Action::PutRole, organisation)?;
    let code = text::code("code", code)?;
    let name = text::name("name", name)?;
    if permissions.is_empty() {
        return Err(Refusal::invalid("permissions", "must hold at least one entry"));
    }
    let Some(role) = d.state.role_by_code(organisation, &code) else {
        let role = RoleId(d.id());
        d.emit(Event::RoleMade { organisation, role, code, name, permissions });
        return Ok(());
    };
    let known = d.state.roles.get(role).ok_or(Refusal::NotFound)?;
    if known.name == name && known.versions.last() == Some(&permissions) {
        return Ok(());
    }
    if known.versions.len() >= MOST_VERSIONS {
        return Err(Refusal::WrongState("at its last version: define another role"));
    }
    let too_much = |old: &Permissions| old.in_common(&permissions) > MOST_IN_COMMON;
    if known.versions.iter().any(too_much) {
        let why = "cross too many wildcards with an earlier version; name resources and verbs";
        return Err(Refusal::invalid("permissions", why));
    }
    let version = known.newest().saturating_add(1);
    d.emit(Event::RoleChanged { role, version, name, permissions });
    Ok(())
}

/// Deletes a role: from now on it permits nothing, wherever it was given.
pub(crate) fn delete(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    code: &str,
) -> Result<(), Refusal> {
    organisation::provision(d, caller, Action::DeleteRole, organisation)?;
    let role = d.state.role_by_code(organisation, code).ok_or(Refusal::NotFound)?;
    d.emit(Event::RoleDeleted { role });
    Ok(())
}

/// Defines a level, or a new version of it. The built-in ones stay as they are.
pub(crate) fn put_level(
    d: &mut Draft<'_>,
    caller: &Caller,
    code: &str,
    level: Level,
) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::PutLevel, Thing::platform(), d.now())?;
    let code = text::code("code", code)?;
    if built_in_levels().iter().any(|(built_in, _)| *built_in == &*code) {
        return Err(Refusal::Taken("code of a built-in level"));
    }
    if level.ceiling.is_empty() || level.modes.is_empty() {
        return Err(Refusal::invalid("permissions", "and modes must hold at least one entry"));
    }
    if !(1..=730).contains(&level.longest_grant.0) {
        return Err(Refusal::invalid("longest_grant_days", "must be from 1 to 730"));
    }
    if !(5..=480).contains(&level.session_cap.0) {
        return Err(Refusal::invalid("session_minutes", "must be from 5 to 480"));
    }
    let newest = d.state.newest_level(&code);
    if newest.as_ref().is_some_and(|(_, known)| **known == level) {
        return Ok(());
    }
    let version = newest.map_or(1, |(pinned, _)| pinned.version.saturating_add(1));
    d.emit(Event::LevelDefined { code, version, level });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t05_a_pinned_role_gives_what_both_versions_permit_and_a_deleted_one_nothing() {
        let p = |texts: &[&str]| Permissions::parse("p", texts).unwrap();
        let mut role = Role {
            organisation: OrganisationId(1),
            code: "clerk".into(),
            name: "Clerk".into(),
            versions: vec![p(&["boats:read", "boats:write"]), p(&["boats:read", "money:*"])],
            deleted: false,
        };
        assert_eq!(role.pinned(1), p(&["boats:read"]));
        assert_eq!(role.pinned(2), p(&["boats:read", "money:*"]));
        assert_eq!(role.pinned(3), Permissions::none());
        assert_eq!(role.pinned(0), Permissions::none());
        role.deleted = true;
        assert_eq!(role.pinned(1), Permissions::none());
    }
}
