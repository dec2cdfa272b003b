//! People, their memberships and their own sign-ins.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::{Caller, Door, Principal, PutMember};
use crate::draft::{Draft, SideWrite};
use crate::event::Event;
use crate::factor::{self, Acr, Proof};
use crate::ids::{Digest32, GrantId, OrganisationId, PersonId, RoleId, SignInId, UnitId};
use crate::may::{self, Action, Thing};
use crate::organisation::{self, Standing};
use crate::refusal::Refusal;
use crate::session::SessionEnd;
use crate::state::State;
use crate::text::{self, Lookup, Subject, WordId};
use crate::time::{DAY, HOUR, Instant, MINUTE};

/// How long a person's own sign-in lasts.
pub const SIGN_IN_LASTS: i64 = 8 * HOUR;
/// How recent a sign-in must be for acts that need a fresh one.
pub const FRESH: i64 = 5 * MINUTE;
/// How long an enrolment token can be used.
pub const ENROLMENT_LASTS: i64 = 7 * DAY;
/// How long it is remembered that a person was a member: as long as a request can be pending, and
/// a day (four eyes looks back to the making of the request).
pub const PAST_MEMBERSHIP_KEPT: i64 = 31 * DAY;

/// A human being.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The name shown to others.
    pub name: WordId,
    /// The e-mail address.
    pub email: WordId,
    /// Whether the address is proven to be this person's.
    pub email_verified: bool,
    /// Raised by whatever makes earlier sign-ins worthless: a new password, signing out
    /// everywhere, removal. A caller who was let in under an older one is refused.
    pub auth_epoch: u32,
    /// Whether a password is set.
    pub has_password: bool,
    /// A token by which the first password can be set, and until when.
    pub enrolment: Option<(Digest32, Instant)>,
}

/// A person in an organisation and unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The one unit.
    pub unit: UnitId,
    /// What the member may do inside Comity.
    pub portal: Option<PortalRole>,
    /// The builder's identifier.
    pub external: WordId,
    /// Active or suspended; a member who left is gone from the state.
    pub standing: Standing,
    /// What the organisation lets its own member do in the product: live roles of its own, sorted.
    pub roles: Vec<RoleId>,
    /// By which grant of the organisation, with this person on it, the membership is superseded. It
    /// opens nothing then, until the organisation restores it, also when the grant is over.
    pub superseded: Option<GrantId>,
}

/// How many roles of the own organisation a member may hold.
pub const MOST_OWN_ROLES: usize = 100;

/// What a member may do inside Comity. A closed list, apart from the builder's permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortalRole {
    /// Everything.
    Admin,
    /// Reads.
    CustomerSupport,
}

/// The closed list of permissions inside Comity. No role of a grant and no `*` ever covers one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortalPermission {
    /// Decides over partners: `partner_access.decide`.
    Decide,
    /// Sends colleagues: `partner_access.assign`.
    Assign,
    /// Reads history and records: `partner_access.audit`.
    Audit,
    /// Keeps members, units, accounts and roles: `partner_access.manage`.
    Manage,
}

impl PortalRole {
    /// Whether the role holds the permission.
    #[must_use]
    pub fn holds(self, permission: PortalPermission) -> bool {
        match self {
            Self::Admin => true,
            Self::CustomerSupport => permission == PortalPermission::Audit,
        }
    }
}

impl PortalPermission {
    /// As it is written, with the role that holds it.
    #[must_use]
    pub fn needed(self) -> &'static str {
        match self {
            Self::Decide => "partner_access.decide of the customer (portal role Admin)",
            Self::Assign => "partner_access.assign of the provider (portal role Admin)",
            Self::Audit => "partner_access.audit (portal role Admin or Customer Support)",
            Self::Manage => "partner_access.manage (portal role Admin)",
        }
    }
}

/// A person's own sign-in: what a bearer token or a console cookie stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// Whose.
    pub person: PersonId,
    /// The digest of the token.
    pub token: Digest32,
    /// When the person proved who they are.
    pub at: Instant,
    /// When it ends.
    pub until: Instant,
    /// The person's epoch at that time.
    pub auth_epoch: u32,
    /// How well they proved it.
    pub acr: Acr,
    /// Through which door they came.
    pub door: Door,
}

/// Makes a member, or changes one. A verified address that is known already leads to the person it
/// belongs to, so that one human being stays one person in every organisation (T6).
pub(crate) fn put_member(
    d: &mut Draft<'_>,
    caller: &Caller,
    put: PutMember,
) -> Result<(), Refusal> {
    let organisation = put.organisation;
    let default = organisation::provision(d, caller, Action::PutMember, organisation)?;
    let external = text::reference("external_id", &put.external)?;
    let name = text::name("name", &put.name)?;
    let email = text::email("email", &put.email)?;
    let unit = put.unit.as_deref().map(|u| d.unit(organisation, u)).transpose()?.unwrap_or(default);
    let roles = put.roles.map(|codes| own_roles(&d.state, organisation, &codes)).transpose()?;
    // Only the builder can prove an address; a person's word for it is no proof (T32).
    let verified = put.email_verified && matches!(caller.principal, Principal::Key(_));
    let known = d.state.words.find(Lookup::Member(organisation), &external).map(PersonId);
    let person = match known {
        Some(person) => {
            change_member(d, organisation, person, &name, &email, unit, put.portal)?;
            verify_email(d, person, &email, verified)?;
            person
        }
        None => join(d, organisation, external, name, email, verified, unit, put.portal)?,
    };
    let standing = if put.active { Standing::Active } else { Standing::Suspended };
    let member = d.state.members.get(&(organisation, person)).ok_or(Refusal::NotFound)?;
    if member.standing != standing {
        let was_admin = known.is_some() && was_working_admin(d, organisation, person);
        d.emit(Event::MemberStanding { organisation, person, standing });
        kept_an_admin(d, was_admin, organisation)?;
    }
    let held = d.state.members.get(&(organisation, person)).map(|m| &m.roles);
    if let Some(roles) = roles.filter(|roles| held != Some(roles)) {
        d.emit(Event::MemberRolesSet { organisation, person, roles });
    }
    Ok(())
}

/// Live roles of the organisation by their codes, sorted, each once.
fn own_roles(
    state: &State,
    organisation: OrganisationId,
    codes: &[String],
) -> Result<Vec<RoleId>, Refusal> {
    if codes.len() > MOST_OWN_ROLES {
        return Err(Refusal::invalid("roles", format!("may hold at most {MOST_OWN_ROLES}")));
    }
    let found = codes.iter().map(|code| {
        state
            .role_by_code(organisation, code)
            .ok_or_else(|| Refusal::invalid("roles", "names no role of this organisation"))
    });
    let roles = found.collect::<Result<BTreeSet<_>, _>>()?;
    Ok(roles.into_iter().collect())
}

#[allow(clippy::too_many_arguments)] // the parts of one member
pub(crate) fn join(
    d: &mut Draft<'_>,
    organisation: OrganisationId,
    external: Arc<str>,
    name: Arc<str>,
    email: Arc<str>,
    email_verified: bool,
    unit: UnitId,
    portal: Option<PortalRole>,
) -> Result<PersonId, Refusal> {
    let owner = d.state.words.find(Lookup::Email, &email).map(PersonId);
    let person = match owner {
        Some(person) if email_verified => person,
        // Without proof it is somebody new who only says so; whoever provisions must not learn that
        // the address is known, and nobody can sign in by an address that is not proven.
        Some(_) | None => {
            let person = PersonId(d.id());
            let about = Subject::Person(person);
            let (name, email) = (d.word(about, name), d.word(about, email));
            d.emit_to(
                Event::PersonMade { person, name, email, email_verified },
                vec![organisation],
            );
            person
        }
    };
    if d.state.members.contains_key(&(organisation, person)) {
        return Err(Refusal::Taken("e-mail address"));
    }
    let external = d.word(Subject::Person(person), external);
    d.emit(Event::MemberJoined { organisation, person, unit, portal, external });
    Ok(person)
}

fn change_member(
    d: &mut Draft<'_>,
    organisation: OrganisationId,
    person: PersonId,
    name: &Arc<str>,
    email: &str,
    unit: UnitId,
    portal: Option<PortalRole>,
) -> Result<(), Refusal> {
    let known = d.state.people.get(person).ok_or(Refusal::NotFound)?;
    if d.state.words.get(known.email) != Some(email) {
        return Err(Refusal::invalid(
            "email",
            "cannot change; remove the member and make a new one",
        ));
    }
    // A name belongs to the person: only their one organisation may change it.
    let only_here = d.state.organisations_of(person).all(|o| o == organisation);
    if only_here && d.state.words.get(known.name) != Some(&**name) {
        let name = d.word(Subject::Person(person), name.clone());
        d.emit(Event::PersonRenamed { person, name });
    }
    let member = d.state.members.get(&(organisation, person)).ok_or(Refusal::NotFound)?;
    if (member.unit, member.portal) != (unit, portal) {
        let was_admin = was_working_admin(d, organisation, person);
        d.emit(Event::MemberChanged { organisation, person, unit, portal });
        kept_an_admin(d, was_admin, organisation)?;
    }
    Ok(())
}

fn verify_email(
    d: &mut Draft<'_>,
    person: PersonId,
    email: &str,
    proven: bool,
) -> Result<(), Refusal> {
    let already = d.state.people.get(person).is_some_and(|p| p.email_verified);
    if !proven || already {
        return Ok(());
    }
    if d.state.words.find(Lookup::Email, email).is_some() {
        return Err(Refusal::Taken("e-mail address"));
    }
    d.emit(Event::EmailVerified { person });
    Ok(())
}

/// Whether somebody in the organisation can act as its Admin.
pub(crate) fn has_admin(state: &State, organisation: OrganisationId) -> bool {
    state.members_of(organisation).any(|(_, member)| is_working_admin(state, member))
}

pub(crate) fn is_working_admin(state: &State, member: &Member) -> bool {
    member.portal == Some(PortalRole::Admin)
        && member.standing == Standing::Active
        && member.superseded.is_none()
        && state.unit_is_active(member.unit)
}

/// An organisation that had an Admin who could act keeps one (T30, inv17): judged after the fact,
/// on the draft that a refusal throws away.
pub(crate) fn kept_an_admin(
    d: &Draft<'_>,
    before: bool,
    organisation: OrganisationId,
) -> Result<(), Refusal> {
    if before && !has_admin(&d.state, organisation) { Err(Refusal::LastAdmin) } else { Ok(()) }
}

pub(crate) fn was_working_admin(
    d: &Draft<'_>,
    organisation: OrganisationId,
    person: PersonId,
) -> bool {
    let member = d.state.members.get(&(organisation, person));
    member.is_some_and(|m| is_working_admin(&d.state, m))
}

/// Takes a member out: off every grant, out of every session, in the same row (T35).
pub(crate) fn remove_member(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    external: &str,
) -> Result<(), Refusal> {
    organisation::provision(d, caller, Action::RemoveMember, organisation)?;
    let person = d.state.words.find(Lookup::Member(organisation), external).map(PersonId);
    let person = person.ok_or(Refusal::NotFound)?;
    let was_admin = was_working_admin(d, organisation, person);
    d.emit(Event::MemberLeft { organisation, person });
    kept_an_admin(d, was_admin, organisation)
}

/// Makes a token by which a member sets a first password. Never for somebody who has one: a
/// platform key must not be a way into an account that is in use.
pub(crate) fn make_enrolment(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    external: &str,
    digest: Digest32,
) -> Result<(), Refusal> {
    organisation::provision(d, caller, Action::MakeEnrolment, organisation)?;
    let person = d.state.words.find(Lookup::Member(organisation), external).map(PersonId);
    let person = person.ok_or(Refusal::NotFound)?;
    let known = d.state.people.get(person).ok_or(Refusal::NotFound)?;
    if known.has_password {
        return Err(Refusal::WrongState("enrolled already"));
    }
    if !known.email_verified {
        return Err(Refusal::invalid(
            "email",
            "must be verified before the member can sign in here",
        ));
    }
    let until = d.now().plus(ENROLMENT_LASTS);
    d.emit(Event::EnrolmentMade { person, digest, until });
    Ok(())
}

/// Sets a first password with an enrolment token.
pub(crate) fn enrol(
    d: &mut Draft<'_>,
    caller: &Caller,
    token: Digest32,
    password_hash: String,
) -> Result<(), Refusal> {
    if caller.principal != Principal::Anonymous {
        return Err(Refusal::NotFound);
    }
    let person = d.state.enrolling(token).ok_or(Refusal::NotFound)?;
    if d.state.organisations_of(person).next().is_none() {
        return Err(Refusal::NotFound);
    }
    let known = d.state.people.get(person).ok_or(Refusal::NotFound)?;
    let now = d.now();
    if !known.enrolment.is_some_and(|(digest, until)| digest == token && now < until) {
        return Err(Refusal::NotFound);
    }
    d.emit(Event::PasswordSet { person });
    d.beside(SideWrite::Credential(person, password_hash));
    Ok(())
}

/// A person has proven who they are. The door checked the proof against what stood at `auth_epoch`;
/// if that has changed meanwhile, or what it uses up is used, the proof is worthless.
pub(crate) fn sign_in(
    d: &mut Draft<'_>,
    caller: &Caller,
    person: PersonId,
    auth_epoch: u32,
    digest: Digest32,
    proof: Proof,
) -> Result<(), Refusal> {
    if caller.principal != Principal::Anonymous {
        return Err(Refusal::NotFound);
    }
    let known = d.state.people.get(person).ok_or(Refusal::NotFound)?;
    if known.auth_epoch != auth_epoch {
        return Err(Refusal::CallerRevoked);
    }
    factor::proves(&d.state, person, proof)?;
    factor::begin(d, caller, person, digest, proof);
    Ok(())
}

pub(crate) fn own_sign_in(caller: &Caller) -> Result<(PersonId, SignInId), Refusal> {
    match caller.principal {
        Principal::Person { person, sign_in } => Ok((person, sign_in)),
        _ => Err(Refusal::NotFound),
    }
}

/// Ends the caller's own sign-in.
pub(crate) fn sign_out(d: &mut Draft<'_>, caller: &Caller) -> Result<(), Refusal> {
    let (person, sign_in) = own_sign_in(caller)?;
    may::check(&d.state, caller, Action::SignOut, Thing::own(person), d.now())?;
    d.emit(Event::SignedOut { sign_in });
    Ok(())
}

/// Ends every sign-in of the caller.
pub(crate) fn sign_out_everywhere(d: &mut Draft<'_>, caller: &Caller) -> Result<(), Refusal> {
    let (person, _) = own_sign_in(caller)?;
    may::check(&d.state, caller, Action::SignOut, Thing::own(person), d.now())?;
    d.emit(Event::SignedOutEverywhere { person });
    end_stays(d, person);
    Ok(())
}

/// Everywhere is also inside the customers (T22).
pub(crate) fn end_stays(d: &mut Draft<'_>, person: PersonId) {
    let now = d.now();
    let stays: Vec<_> = d.state.sessions_of(person).collect();
    for session in stays {
        if d.state.sessions.get(session).is_some_and(|s| s.is_active(now)) {
            d.emit(Event::SessionEnded { session, cause: SessionEnd::Closed });
        }
    }
}
