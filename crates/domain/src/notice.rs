//! Notices: what an organisation's people are told of in their inbox, and by mail.
//!
//! A notice follows from one event of a row, and only for whoever may read that event: nothing is
//! told here that the log keeps from somebody (T57, T47: nobody turns a kind off). It holds facts
//! and no word; the sentence is made when it is read, so an erased word never comes back.
//!
//! Several of one kind about one grant in one row are one notice with a count, so that a revoke
//! with fifty sessions is no noise (T41).

use std::sync::Arc;

use crate::command::Principal;
use crate::event::{Due, Event, Recorded, Row};
use crate::grant::GrantEnd;
use crate::halt::HaltTarget;
use crate::ids::{GrantId, InvitationId, OrganisationId, PersonId, RequestId, SessionId};
use crate::invitation::InvitationPhase;
use crate::lock::LockTarget;
use crate::organisation::Standing;
use crate::person::{PortalPermission, PortalRole};
use crate::request::Direction;
use crate::role::Mode;
use crate::state::State;
use crate::time::{DAY, Instant};
use crate::webhook::Telling;

/// How long before its end a grant is said to end: a week.
pub const WEEK_BEFORE: i64 = 7 * DAY;
/// The second time: a day.
pub const DAY_BEFORE: i64 = DAY;

/// Writes the list of kinds with their names down once.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $name:literal,)*) => {
        /// What a notice is about. A closed list; the names are stored and shown.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// As it is written.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// A partner asked to be let in.
    Asked => "asked",
    /// The customer said yes.
    Approved => "approved",
    /// The customer said no.
    Denied => "denied",
    /// A customer offered access.
    Offered => "offered",
    /// Its partner said yes.
    Accepted => "accepted",
    /// Its partner said no.
    Declined => "declined",
    /// An offer was taken back or fell away.
    Withdrawn => "withdrawn",
    /// A request was taken back or fell away.
    Cancelled => "cancelled",
    /// Nobody decided a request in time.
    Lapsed => "request_expired",
    /// Nobody answered an offer in time.
    OfferLapsed => "offer_expired",
    /// A grant gives something else, or for longer.
    Amended => "amended",
    /// A grant gives less.
    Narrowed => "narrowed",
    /// The customer ended a grant.
    Revoked => "revoked",
    /// The provider gave a grant up.
    GivenUp => "given_up",
    /// A grant ended because one of the organisations was closed.
    Closed => "closed",
    /// A grant came to its end.
    Expired => "expired",
    /// A grant ends within seven days.
    EndsInAWeek => "ends_in_7_days",
    /// A grant ends within a day.
    EndsInADay => "ends_in_1_day",
    /// Grants wait for their customer's word after a restore.
    Unconfirmed => "unconfirmed",
    /// The customer has said it.
    Confirmed => "confirmed",
    /// A grant is left without anybody.
    Unattended => "unattended",
    /// The ceiling left somebody on a grant no role.
    NoRoles => "no_roles",
    /// The ceiling left somebody on a grant less.
    Trimmed => "trimmed",
    /// Somebody acts as the customer.
    ImpersonationStarted => "impersonation_started",
    /// It is over.
    ImpersonationEnded => "impersonation_ended",
    /// The customer locked a partner or a person out.
    Locked => "locked",
    /// It lifted the lock.
    Unlocked => "unlocked",
    /// Comity halted something on which an invariant does not hold.
    Halted => "halted",
    /// The operator lifted the halt.
    HaltLifted => "halt_lifted",
    /// Somebody became Admin, or is none any more.
    AdminsChanged => "admins_changed",
    /// Somebody who was a member themselves works for a partner now, and enters only that way.
    Superseded => "membership_superseded",
    /// The organisation took them back as its own member.
    MembershipRestored => "membership_restored",
    /// Somebody from outside was invited to a grant.
    Invited => "invited",
    /// The invitation was sent again.
    InvitedAgain => "invited_again",
    /// The invited person came in.
    InvitationAccepted => "invitation_accepted",
    /// They said no.
    InvitationDeclined => "invitation_declined",
    /// It was taken back or fell away.
    InvitationCancelled => "invitation_cancelled",
    /// Nobody answered it in time.
    InvitationLapsed => "invitation_expired",
    /// Who vouched for it has gone: it waits for another Admin.
    InvitationHeld => "invitation_held",
    /// A webhook was made, changed, turned off or removed.
    WebhooksChanged => "webhooks_changed",
}

impl Kind {
    /// The kind of this name.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// Whom a mail of this kind goes to on a side: those who hold the permission; nobody where it
    /// stands in the inbox only. What needs a decision goes to those who can make it; what says
    /// that access was misused or stopped, to everybody who may read it.
    #[must_use]
    pub fn mailed(self, side: Side) -> Option<PortalPermission> {
        use PortalPermission::{Audit, Manage};
        match (self, side) {
            (Self::Asked | Self::Unconfirmed | Self::Accepted | Self::Declined, Side::Provider)
            | (Self::Offered | Self::Withdrawn | Self::Amended, Side::Customer)
            | (Self::ImpersonationStarted | Self::ImpersonationEnded, Side::Provider)
            | (Self::Narrowed | Self::NoRoles, Side::Customer)
            | (Self::InvitationDeclined | Self::InvitationLapsed, Side::Customer)
            | (Self::Invited | Self::InvitedAgain | Self::InvitationCancelled, _)
            | (Self::Trimmed | Self::Confirmed, _) => None,
            (Self::Revoked | Self::Locked | Self::Unlocked | Self::Halted, _)
            | (Self::ImpersonationStarted | Self::ImpersonationEnded, _) => Some(Audit),
            _ => Some(Manage),
        }
    }

    /// Whether a side is told at all.
    fn concerns(self, side: Side) -> bool {
        // Who of the partner's people has less is the partner's to settle.
        let of_partner = matches!(
            self,
            Self::NoRoles | Self::Trimmed | Self::InvitedAgain | Self::InvitationHeld
        );
        !(of_partner && side == Side::Customer)
    }

    /// Whether the mail goes to the invited person, and to nobody of the organisation.
    #[must_use]
    pub fn goes_to_the_invited(self, side: Side) -> bool {
        side == Side::Provider && matches!(self, Self::Invited | Self::InvitedAgain)
    }
}

/// Where the organisation that is told stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It is the customer's.
    Customer,
    /// It is the provider.
    Provider,
    /// It is its own affair.
    Own,
}

impl Side {
    /// As it is written.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Provider => "provider",
            Self::Own => "own",
        }
    }

    /// The side of this name.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        [Self::Customer, Self::Provider, Self::Own].into_iter().find(|s| s.code() == code)
    }
}

/// What a notice is made of: no words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The request.
    pub request: Option<RequestId>,
    /// The grant. Only with one may a mail name the other side (T34).
    pub grant: Option<GrantId>,
    /// The session.
    pub session: Option<SessionId>,
    /// The person whom it is about.
    pub person: Option<PersonId>,
    /// The other side, where this one may know it.
    pub other: Option<OrganisationId>,
    /// When the grant ends, where that is what is said.
    pub ends: Option<Instant>,
    /// The invitation.
    pub invitation: Option<InvitationId>,
}

/// One notice to one organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Who is told.
    pub organisation: OrganisationId,
    /// Its place among the notices of the row to this organisation.
    pub index: u32,
    /// What it is about.
    pub kind: Kind,
    /// Where the organisation stands.
    pub side: Side,
    /// What it is made of.
    pub facts: Facts,
    /// How many of the same it stands for; identifiers that differ are left out.
    pub count: u32,
    /// Whether mails go out too.
    pub mail: bool,
}

/// What `row` makes to be told, in the order of the organisations.
#[must_use]
pub fn notices(before: &State, row: &Row, after: &State) -> Vec<Notice> {
    let mut out: Vec<Notice> = Vec::new();
    for recorded in &row.events {
        if let Some(about) = of(before, row, &recorded.event, after) {
            for organisation in &recorded.readers {
                if let Some(notice) = about.told(*organisation) {
                    put(&mut out, notice);
                }
            }
        }
        if let Event::Restored { .. } = recorded.event {
            restored(recorded, row.at, after, &mut out);
        }
    }
    out.sort_by_key(|n| n.organisation); // stable: in the order of the events
    let mut last = None;
    for notice in &mut out {
        notice.index = match last {
            Some((same, index)) if same == notice.organisation => index + 1,
            _ => 0,
        };
        last = Some((notice.organisation, notice.index));
    }
    out
}

/// What an event is about, before it is known to whom.
#[derive(Debug, Clone, Copy)]
struct About {
    kind: Kind,
    /// Customer and provider, where there are two.
    sides: Option<(OrganisationId, OrganisationId)>,
    facts: Facts,
    /// How many of the same it is.
    count: u32,
    quiet: bool,
}

impl About {
    fn own(kind: Kind, facts: Facts) -> Self {
        Self { kind, sides: None, facts, count: 1, quiet: false }
    }

    fn told(&self, organisation: OrganisationId) -> Option<Notice> {
        let (side, other) = match self.sides {
            Some((customer, provider)) if organisation == customer => {
                (Side::Customer, Some(provider))
            }
            // Before a yes an asker learns nothing of the customer, not even its name.
            Some((customer, provider)) if organisation == provider => {
                (Side::Provider, self.facts.grant.map(|_| customer))
            }
            _ => (Side::Own, None),
        };
        let facts = Facts { other: other.or(self.facts.other), ..self.facts };
        let mailed = self.kind.mailed(side).is_some() || self.kind.goes_to_the_invited(side);
        let mail = !self.quiet && mailed;
        self.kind.concerns(side).then_some(Notice {
            organisation,
            index: 0,
            kind: self.kind,
            side,
            facts,
            count: self.count,
            mail,
        })
    }
}

/// Adds a notice, or counts it with one of the same row, organisation, kind and grant.
fn put(out: &mut Vec<Notice>, new: Notice) {
    let alike = |n: &&mut Notice| {
        (n.organisation, n.kind, n.side, n.facts.grant, n.facts.other)
            == (new.organisation, new.kind, new.side, new.facts.grant, new.facts.other)
    };
    let Some(known) = out.iter_mut().rev().find(alike) else {
        return out.push(new);
    };
    fn same<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<T> {
        if a == b { a } else { None }
    }
    known.count = known.count.saturating_add(new.count);
    known.facts.request = same(known.facts.request, new.facts.request);
    known.facts.session = same(known.facts.session, new.facts.session);
    known.facts.person = same(known.facts.person, new.facts.person);
    known.facts.ends = same(known.facts.ends, new.facts.ends);
    known.facts.invitation = same(known.facts.invitation, new.facts.invitation);
}

fn of(before: &State, row: &Row, event: &Event, after: &State) -> Option<About> {
    use Event as E;
    let of_request = |kind, id| request(after, kind, id);
    let of_grant = |kind, id| grant(after, kind, id);
    match event {
        E::RequestAsked { request, .. } => of_request(Kind::Asked, *request),
        E::OfferMade { request, .. } => of_request(Kind::Offered, *request),
        E::OfferAccepted { request, grant, .. } => {
            let about = of_request(Kind::Accepted, *request)?;
            Some(About { facts: Facts { grant: Some(*grant), ..about.facts }, ..about })
        }
        E::RequestCancelled { request, .. } => {
            let offer = is_offer(after, *request);
            of_request(if offer { Kind::Withdrawn } else { Kind::Cancelled }, *request)
        }
        E::RequestDenied { request, .. } => {
            let offer = is_offer(after, *request);
            of_request(if offer { Kind::Declined } else { Kind::Denied }, *request)
        }
        E::GrantAmended { grant, .. } => of_grant(Kind::Amended, *grant),
        E::RequestApproved { request, grant, .. } => {
            let about = of_request(Kind::Approved, *request)?;
            Some(About { facts: Facts { grant: Some(*grant), ..about.facts }, ..about })
        }
        E::GrantNarrowed { grant, .. } => of_grant(Kind::Narrowed, *grant),
        E::GrantConfirmed { grant, .. } => of_grant(Kind::Confirmed, *grant),
        E::GrantUnattended { grant } => of_grant(Kind::Unattended, *grant),
        E::GrantEnded { grant, cause, .. } => {
            let kind = match cause {
                GrantEnd::Revoked => Kind::Revoked,
                GrantEnd::GivenUp => Kind::GivenUp,
                GrantEnd::Closed => Kind::Closed,
            };
            of_grant(kind, *grant)
        }
        E::AssignmentSuspended { grant, person } => on(of_grant(Kind::NoRoles, *grant), *person),
        E::AssignmentTrimmed { grant, person, .. } => on(of_grant(Kind::Trimmed, *grant), *person),
        E::AssignmentsTrimmed { grant, people, .. } => {
            let count = u32::try_from(people.len()).unwrap_or(u32::MAX);
            of_grant(Kind::Trimmed, *grant).map(|about| About { count, ..about })
        }
        E::SessionStarted { session: id, mode: Mode::ActAs, .. } => {
            session(after, Kind::ImpersonationStarted, *id)
        }
        E::SessionEnded { session: id, .. } => session(after, Kind::ImpersonationEnded, *id),
        E::ExpiryNoted { what } => due(row.at, *what, after),
        E::LockPlaced { target, .. } => Some(lock(Kind::Locked, *target)),
        E::LockLifted { lock: id, .. } => {
            before.locks.get(*id).map(|l| lock(Kind::Unlocked, l.target))
        }
        E::Halted { target, .. } => Some(halt(after, Kind::Halted, *target)),
        E::HaltLifted { halt: id } => {
            before.halts.get(*id).map(|h| halt(after, Kind::HaltLifted, h.target))
        }
        E::MemberJoined { organisation, person, .. }
        | E::MemberChanged { organisation, person, .. }
        | E::MemberStanding { organisation, person, .. }
        | E::MemberLeft { organisation, person } => {
            admins(before, row, (*organisation, *person), after)
        }
        E::MembershipSuperseded { person, grant, .. } => {
            on(of_grant(Kind::Superseded, *grant), *person)
        }
        E::MembershipRestored { person, .. } => {
            let facts = Facts { person: Some(*person), ..Facts::default() };
            Some(About::own(Kind::MembershipRestored, facts))
        }
        E::InvitationMade { invitation: id, .. } => invitation(after, Kind::Invited, *id),
        E::InvitationResent { invitation: id, .. } => invitation(after, Kind::InvitedAgain, *id),
        E::InvitationAccepted { invitation: id, person, .. } => {
            on(invitation(after, Kind::InvitationAccepted, *id), *person)
        }
        E::InvitationDeclined { invitation: id } => {
            invitation(after, Kind::InvitationDeclined, *id)
        }
        E::InvitationCancelled { invitation: id, .. } => {
            invitation(after, Kind::InvitationCancelled, *id)
        }
        E::InvitationHeld { invitation: id } => invitation(after, Kind::InvitationHeld, *id),
        E::WebhookMade { .. } | E::WebhookChanged { .. } | E::WebhookRemoved { .. } => {
            Some(About::own(Kind::WebhooksChanged, Facts::default()))
        }
        E::WebhookStanding { standing, .. } if *standing != Telling::Active => {
            Some(About::own(Kind::WebhooksChanged, Facts::default()))
        }
        _ => None,
    }
}

fn on(about: Option<About>, person: PersonId) -> Option<About> {
    about.map(|a| About { facts: Facts { person: Some(person), ..a.facts }, ..a })
}

fn is_offer(state: &State, id: RequestId) -> bool {
    state.requests.get(id).is_some_and(|r| r.direction == Direction::CustomerOffer)
}

fn request(state: &State, kind: Kind, id: RequestId) -> Option<About> {
    let request = state.requests.get(id)?;
    let sides = Some((request.customer, request.provider.organisation));
    let facts = Facts { request: Some(id), ..Facts::default() };
    Some(About { kind, sides, facts, count: 1, quiet: false })
}

fn grant(state: &State, kind: Kind, id: GrantId) -> Option<About> {
    let grant = state.grants.get(id)?;
    let sides = Some((grant.customer.organisation, grant.provider.organisation));
    let facts = Facts { grant: Some(id), ..Facts::default() };
    Some(About { kind, sides, facts, count: 1, quiet: false })
}

fn invitation(state: &State, kind: Kind, id: InvitationId) -> Option<About> {
    let about = grant(state, kind, state.invitations.get(id)?.grant)?;
    Some(About { facts: Facts { invitation: Some(id), ..about.facts }, ..about })
}

/// Of sessions only those are told of in which somebody acts as the customer.
fn session(state: &State, kind: Kind, id: SessionId) -> Option<About> {
    let session = state.sessions.get(id).filter(|s| s.mode == Mode::ActAs)?;
    let about = on(grant(state, kind, session.grant), session.person)?;
    Some(About { facts: Facts { session: Some(id), ..about.facts }, ..about })
}

/// What only the clock causes. What was noted too late to be true is not said: a node that slept
/// over a grant's last week says that it is over, and nothing else.
fn due(at: Instant, what: Due, state: &State) -> Option<About> {
    let ending = |kind, id, least: i64| {
        let about = grant(state, kind, id)?;
        let end = state.grants.get(id)?.window.end;
        let facts = Facts { ends: Some(end), ..about.facts };
        (end.since(at) > least).then_some(About { facts, ..about })
    };
    match what {
        Due::Request(id) => {
            let kind = if is_offer(state, id) { Kind::OfferLapsed } else { Kind::Lapsed };
            request(state, kind, id)
        }
        Due::Grant(id) => grant(state, Kind::Expired, id),
        Due::Session(id) => session(state, Kind::ImpersonationEnded, id),
        // What fell away with its grant has not expired.
        Due::Invitation(id) => {
            let known = state.invitations.get(id)?;
            let lapsed = known.phase(state, at) == InvitationPhase::Expired;
            let stands = state.grants.get(known.grant).is_some_and(|g| g.stands(at));
            invitation(state, Kind::InvitationLapsed, id).filter(|_| lapsed && stands)
        }
        Due::GrantWeek(id) => ending(Kind::EndsInAWeek, id, DAY_BEFORE),
        Due::GrantDay(id) => ending(Kind::EndsInADay, id, 0),
    }
}

fn lock(kind: Kind, target: LockTarget) -> About {
    let facts = match target {
        LockTarget::Organisation(other) => Facts { other: Some(other), ..Facts::default() },
        LockTarget::Person(person) => Facts { person: Some(person), ..Facts::default() },
    };
    About::own(kind, facts)
}

/// Nobody but its own organisation learns here which person was halted.
fn halt(state: &State, kind: Kind, target: HaltTarget) -> About {
    let none = || About::own(kind, Facts::default());
    match target {
        HaltTarget::Grant(id) => grant(state, kind, id).unwrap_or_else(none),
        HaltTarget::Session(id) => {
            let of = state.sessions.get(id).and_then(|s| grant(state, kind, s.grant));
            let with = |a: About| About { facts: Facts { session: Some(id), ..a.facts }, ..a };
            of.map_or_else(none, with)
        }
        HaltTarget::Person(person) => {
            About::own(kind, Facts { person: Some(person), ..Facts::default() })
        }
        HaltTarget::Organisation(_) | HaltTarget::Key(_) => none(),
    }
}

/// Who decides for an organisation has changed. What a directory provisions stands in the inbox
/// and is not mailed: an import would flood everybody.
fn admins(
    before: &State,
    row: &Row,
    (organisation, person): (OrganisationId, PersonId),
    after: &State,
) -> Option<About> {
    let is = |state: &State| {
        state.members.get(&(organisation, person)).is_some_and(|m| {
            m.portal == Some(PortalRole::Admin)
                && m.standing == Standing::Active
                && m.superseded.is_none()
        })
    };
    let quiet = matches!(row.caller.principal, Principal::Key(_));
    let facts = Facts { person: Some(person), ..Facts::default() };
    (is(before) != is(after)).then_some(About { quiet, ..About::own(Kind::AdminsChanged, facts) })
}

/// After a restore each organisation is told how many of its grants wait, on either side.
fn restored(recorded: &Recorded, at: Instant, state: &State, out: &mut Vec<Notice>) {
    for organisation in &recorded.readers {
        let waits = |id: &GrantId| {
            state.grants.get(*id).is_some_and(|g| g.unconfirmed.is_some() && g.stands(at))
        };
        let own: Vec<GrantId> = state.grants_by(*organisation).filter(waits).collect();
        let others: Vec<GrantId> = state.grants_to(*organisation).filter(waits).collect();
        for (side, grants) in [(Side::Customer, own), (Side::Provider, others)] {
            let facts = match grants.as_slice() {
                [] => continue,
                [one] => Facts { grant: Some(*one), ..Facts::default() },
                _ => Facts::default(),
            };
            let kind = Kind::Unconfirmed;
            let count = u32::try_from(grants.len()).unwrap_or(u32::MAX);
            let mail = kind.mailed(side).is_some();
            let organisation = *organisation;
            out.push(Notice { organisation, index: 0, kind, side, facts, count, mail });
        }
    }
}

/// Whom a notice is about so that they are told as well, whatever they may do in their organisation:
/// the person whose own membership in a customer is replaced, or restored (N9).
#[must_use]
pub fn concerned(notice: &Notice) -> Option<PersonId> {
    let told = matches!(
        (notice.kind, notice.side),
        (Kind::Superseded, Side::Provider) | (Kind::MembershipRestored, Side::Own)
    );
    notice.facts.person.filter(|_| told)
}

/// Who gets a mail of a kind now: active members of the organisation whose portal role holds the
/// permission and whose address is proven to be theirs, each with that address. Asked when the
/// mail is sent, so that whoever has left gets none.
#[must_use]
pub fn addressees(
    state: &State,
    organisation: OrganisationId,
    permission: PortalPermission,
) -> Vec<(PersonId, Arc<str>)> {
    let members = state.members_of(organisation).map(|(person, _)| person);
    members.filter_map(|p| Some((p, address(state, organisation, p, Some(permission))?))).collect()
}

/// The address to which a person gets mails of an organisation, if any; without a permission such
/// as are for every member.
#[must_use]
pub fn address(
    state: &State,
    organisation: OrganisationId,
    person: PersonId,
    permission: Option<PortalPermission>,
) -> Option<Arc<str>> {
    let member = state.active_member(organisation, person)?;
    let known = state.people.get(person).filter(|p| p.email_verified)?;
    let holds = permission.is_none_or(|p| member.portal.is_some_and(|role| role.holds(p)));
    let halted = state.halt_on(HaltTarget::Person(person)).is_some();
    let text = state.words.get(known.email)?;
    (holds && !halted).then(|| text.into())
}
