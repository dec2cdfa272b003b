//! Versions: which one of a thing somebody saw before they changed it (RFC 9110, section 13.1.1).
//!
//! What counts its versions is known by their number. Anything else is known by what it says: two
//! versions that say the same are the same, so nobody's edit is lost between them. A version is
//! compared where the command is judged, against the state at the head: of two edits of the same
//! version one is carried out.

use serde::Serialize;

use crate::ids::{
    AccountId, ApplicationId, Digest32, GrantId, InvitationId, OrganisationId, PersonId, RoleId,
    UnitId,
};
use crate::refusal::Refusal;
use crate::state::State;

/// What two people may edit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the nouns of their own files
pub enum Versioned {
    Application(ApplicationId),
    Policy,
    Level(String),
    Organisation(OrganisationId),
    Settings(OrganisationId),
    Unit(UnitId),
    Account(AccountId),
    Role(RoleId),
    RoleCode(OrganisationId, String),
    Member(OrganisationId, PersonId),
    Grant(GrantId),
    Assignment(GrantId, PersonId),
    /// Everybody on a grant, and what they have there.
    Assignments(GrantId),
    Invitation(InvitationId),
    /// Something that is not there.
    Nothing,
}

/// What a caller says that they saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saw {
    /// That it is there, in whatever version.
    Any,
    /// One of these versions.
    OneOf(Vec<String>),
    /// Nothing is said, where it has to be: good for what is not there yet.
    NotSaid,
}

/// What a caller saw of what they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Of what.
    pub of: Versioned,
    /// Which version.
    pub saw: Saw,
}

impl Seen {
    /// Whether `state` still shows what was seen; `changes` is whether anything is to be changed.
    ///
    /// # Errors
    /// [`Refusal::VersionConflict`], or [`Refusal::VersionNeeded`] where it has to be said.
    pub fn holds(&self, state: &State, changes: bool) -> Result<(), Refusal> {
        match (&self.saw, tag(state, &self.of)) {
            (Saw::NotSaid, Some(_)) if changes => Err(Refusal::VersionNeeded),
            (Saw::NotSaid, _) | (Saw::Any, Some(_)) => Ok(()),
            (Saw::OneOf(tags), Some(now)) if tags.contains(&now) => Ok(()),
            (Saw::Any | Saw::OneOf(_), _) => Err(Refusal::VersionConflict),
        }
    }
}

/// The version of what is there, as the opaque part of a strong entity tag; `None` if it is not.
#[must_use]
pub fn tag(state: &State, of: &Versioned) -> Option<String> {
    let text = |word| state.words.show(word);
    match of {
        Versioned::Nothing => None,
        Versioned::Application(id) => {
            let a = state.applications.get(*id)?;
            Some(said("application", &(id, &a.audience, &a.permissions, &a.launch_url)))
        }
        Versioned::Policy => Some(said("policy", &state.policy)),
        Versioned::Level(code) => Some(state.newest_level(code)?.0.version.to_string()),
        Versioned::Organisation(id) => {
            let o = state.organisations.get(*id)?;
            Some(said("organisation", &(id, text(o.name), o.standing)))
        }
        Versioned::Settings(id) => Some(state.organisations.get(*id)?.version.to_string()),
        Versioned::Unit(id) => {
            let u = state.units.get(*id)?;
            Some(said("unit", &(id, u.name.map(text), u.standing)))
        }
        Versioned::Account(id) => {
            let a = state.accounts.get(*id)?;
            Some(said("account", &(id, text(a.name), a.unit, &a.linked)))
        }
        Versioned::Role(id) => {
            let r = state.roles.get(*id).filter(|r| !r.deleted)?;
            Some(said("role", &(id, &r.name, r.newest())))
        }
        Versioned::RoleCode(organisation, code) => {
            tag(state, &Versioned::Role(state.role_by_code(*organisation, code)?))
        }
        Versioned::Member(organisation, id) => {
            let (m, p) = (state.members.get(&(*organisation, *id))?, state.people.get(*id)?);
            let who = (text(p.name), text(p.email), p.email_verified);
            Some(said(
                "member",
                &(organisation, id, who, m.unit, m.portal, (m.standing, m.superseded)),
            ))
        }
        Versioned::Grant(id) => Some(state.grants.get(*id)?.version.to_string()),
        Versioned::Assignment(grant, id) => {
            let a = state.assignment(*grant, *id)?;
            let row = (a.row.ends_at, a.row.basis, a.row.state);
            Some(said("assignment", &(grant, id, &a.roles, &a.accounts, row)))
        }
        Versioned::Invitation(id) => {
            let i = state.invitations.get(*id)?;
            let given = (&i.roles, &i.accounts, i.ends_at, i.held);
            Some(said("invitation", &(id, given, i.sent.len(), i.state)))
        }
        Versioned::Assignments(grant) => {
            state.grants.get(*grant)?;
            // By the places of their sets, which differ if the sets do: thousands of people may
            // have thousands of accounts each.
            let mut rows: Vec<_> = state.assigned_to(*grant).collect();
            rows.sort_by_key(|(person, _)| *person);
            Some(said("assignments", &(grant, rows)))
        }
    }
}

/// The first half of SHA-256 over the noun and what it says as JSON, in hexadecimal.
fn said(noun: &str, what: &impl Serialize) -> String {
    let mut bytes = format!("comity/version/1/{noun}/").into_bytes();
    // A tree of plain values: writing it as JSON into memory cannot fail.
    bytes.extend(serde_json::to_vec(what).unwrap_or_default());
    let mut text = Digest32::of(&bytes).to_string();
    text.truncate(32);
    text
}
