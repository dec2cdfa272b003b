//! Inboxes: what an organisation's people are told, as one plain sentence each, and what they have
//! read.
//!
//! A notice is facts; its sentence is made here when it is read, for the console's inbox, for the
//! API and for mails alike. So an erased word never comes back, and nobody says in a mail what the
//! inbox would not say.

use comity_domain::ids::{GrantId, OrganisationId, PersonId, RequestId, SessionId};
use comity_domain::notice::{Facts, Kind, Notice, Side};
use comity_domain::state::State;
use comity_domain::time::{DAY, Instant};
pub use comity_store::Noticed;

use crate::app::{App, Failure};

/// So many unread notices are counted; more are "99+".
pub const MOST_UNREAD: u32 = 100;
/// For how long a notice stands in an inbox: as long as an ended grant is remembered. What happened
/// stands in the log for ever.
pub const KEPT: i64 = 400 * DAY;

/// What of an inbox is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Go on below this notice: its row, and its place there.
    pub below: Option<(u64, u32)>,
    /// Only what this person has not read.
    pub unread_only: bool,
    /// At most so many.
    pub limit: usize,
}

/// What a notice leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// A request.
    Request(RequestId),
    /// An offer.
    Offer(RequestId),
    /// A grant.
    Grant(GrantId),
    /// A session.
    Session(SessionId),
}

/// A notice as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The row of the log.
    pub seq: u64,
    /// Its place among the notices of that row.
    pub index: u32,
    /// When it happened.
    pub at: Instant,
    /// What it is about.
    pub kind: Kind,
    /// Where the organisation stands.
    pub side: Side,
    /// How many of the same it stands for.
    pub count: u32,
    /// In plain English. Names in it are people's words: to be escaped.
    pub sentence: String,
    /// What it leads to, if to anything of its own.
    pub object: Option<Object>,
    /// What it is made of.
    pub facts: Facts,
    /// Whether the person who asks has read it.
    pub read: bool,
}

/// What a person has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Everything up to this row.
    UpTo(u64),
    /// This one: its row, and its place there.
    One(u64, u32),
}

impl Object {
    /// Where the console shows it to the side that the organisation is on: a path without a host.
    #[must_use]
    pub fn path(self, organisation: OrganisationId, side: Side) -> String {
        let own = format!("/console/o/{organisation}");
        match (self, side) {
            (Self::Request(id), Side::Customer | Side::Own) => format!("{own}/requests/{id}"),
            (Self::Grant(id), Side::Customer | Side::Own) => format!("{own}/grants/{id}"),
            (Self::Session(id), Side::Customer | Side::Own) => format!("{own}/sessions/{id}"),
            (Self::Offer(_), Side::Customer | Side::Own) => format!("{own}/access/give?past=yes"),
            (Self::Offer(id), Side::Provider) => format!("{own}/offered/{id}"),
            (Self::Request(_), Side::Provider) => format!("{own}/asking"),
            (Self::Grant(id), Side::Provider) => format!("{own}/grants-received/{id}"),
            // A session's page is the customer's; whoever is in it has a page of their own.
            (Self::Session(_), Side::Provider) => format!("{own}/grants-received"),
        }
    }
}

fn is_offer(kind: Kind) -> bool {
    matches!(kind, Kind::Offered | Kind::Declined | Kind::Withdrawn | Kind::OfferLapsed)
}

/// What a notice leads to.
#[must_use]
pub fn object(notice: &Notice) -> Option<Object> {
    let facts = notice.facts;
    facts.session.map(Object::Session).or_else(|| facts.grant.map(Object::Grant)).or_else(|| {
        facts.request.map(if is_offer(notice.kind) { Object::Offer } else { Object::Request })
    })
}

/// Where the console shows what a notice leads to; the inbox where it leads nowhere else.
#[must_use]
pub fn path(notice: &Notice) -> String {
    let inbox = || format!("/console/o/{}/inbox", notice.organisation);
    object(notice).map_or_else(inbox, |o| o.path(notice.organisation, notice.side))
}

/// The names in a sentence; without one it says who in general words.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The organisation on the other side.
    pub other: Option<String>,
    /// The person whom it is about.
    pub person: Option<String>,
}

impl Names {
    /// As they are today.
    #[must_use]
    pub fn of(state: &State, notice: &Notice) -> Self {
        let facts = notice.facts;
        let other = facts.other.and_then(|o| state.organisations.get(o)).map(|o| o.name);
        let person = facts.person.and_then(|p| state.people.get(p)).map(|p| p.name);
        let show = |word| state.words.show(word).to_owned();
        Self { other: other.map(show), person: person.map(show) }
    }
}

/// What a notice says: one sentence or two, without mark-up. With no names not a word of anybody's
/// stands in it.
#[must_use]
pub fn sentence(notice: &Notice, names: &Names) -> String {
    let (side, n) = (notice.side, notice.count);
    let who = names.person.as_deref();
    // The other side, at the beginning of a sentence and within one.
    let other = names.other.as_deref();
    let stranger = match side {
        Side::Provider => ("The customer", "the customer"),
        Side::Customer | Side::Own => ("A partner", "a partner"),
    };
    let (begin, within) = other.map_or(stranger, |name| (name, name));
    let ends = notice.facts.ends.map_or_else(|| "soon".into(), |at| format!("on {}", moment(at)));
    let customer = side != Side::Provider;
    match notice.kind {
        Kind::Asked if customer => {
            format!("{} asks for access.", other.unwrap_or("An organisation"))
        }
        Kind::Asked => "Your organisation has asked a customer for access.".into(),
        Kind::Approved if customer => format!("Your organisation gave {within} access."),
        Kind::Approved => format!("{begin} approved your request for access."),
        Kind::Denied if customer => format!("The request of {within} was denied."),
        Kind::Denied => "Your request for access was denied.".into(),
        Kind::Offered if customer => {
            format!("Your organisation offered access to {}.", other.unwrap_or("a partner"))
        }
        Kind::Offered => "A customer offers your organisation access.".into(),
        Kind::Accepted if customer => format!("{begin} accepted the access that you offered."),
        Kind::Accepted => format!("Your organisation accepted access at {within}."),
        Kind::Declined if customer => format!("{begin} declined the access that you offered."),
        Kind::Declined => "Your organisation declined an offer of access.".into(),
        Kind::Withdrawn if customer && n > 1 => format!("{n} offers to {within} are withdrawn."),
        Kind::Withdrawn if customer => format!("The offer to {within} is withdrawn."),
        Kind::Withdrawn => "An offer of access to your organisation is withdrawn.".into(),
        Kind::OfferLapsed if customer => {
            format!("Nobody answered the offer to {within} in time. It has expired.")
        }
        Kind::OfferLapsed => "Nobody answered an offer of access in time. It has expired.".into(),
        Kind::Amended if customer => format!("The access of {within} was changed."),
        Kind::Amended => format!("{begin} changed your access."),
        Kind::Cancelled if n > 1 && customer => {
            format!("{n} requests of {within} were cancelled.")
        }
        Kind::Cancelled if customer => format!("The request of {within} was cancelled."),
        Kind::Cancelled if n > 1 => format!("{n} requests of your organisation were cancelled."),
        Kind::Cancelled => "A request of your organisation was cancelled.".into(),
        Kind::Lapsed if customer => {
            format!("Nobody decided the request of {within} in time. It has expired.")
        }
        Kind::Lapsed => "Nobody decided your request in time. It has expired.".into(),
        Kind::Narrowed if customer => format!("The access of {within} gives less from now on."),
        Kind::Narrowed => format!("Your access at {within} gives less from now on."),
        Kind::Revoked if customer => format!("The access of {within} was revoked."),
        Kind::Revoked => format!("{begin} revoked your access."),
        Kind::GivenUp if customer => format!("{begin} gave its access up."),
        Kind::GivenUp => format!("Your organisation gave up its access at {within}."),
        Kind::Closed if customer => {
            format!("The access of {within} ended because an organisation was closed.")
        }
        Kind::Closed => {
            format!("Your access at {within} ended because an organisation was closed.")
        }
        Kind::Expired if customer => format!("The access of {within} has come to its end."),
        Kind::Expired => format!("Your access at {within} has come to its end."),
        Kind::EndsInAWeek if customer => {
            format!("The access of {within} ends within 7 days, {ends}.")
        }
        Kind::EndsInAWeek => format!("Your access at {within} ends within 7 days, {ends}."),
        Kind::EndsInADay if customer => {
            format!("The access of {within} ends within a day, {ends}.")
        }
        Kind::EndsInADay => format!("Your access at {within} ends within a day, {ends}."),
        Kind::Unconfirmed => unconfirmed(side, n),
        Kind::Confirmed if customer => {
            format!("The access of {within} was confirmed after the restore.")
        }
        Kind::Confirmed => format!("{begin} confirmed your access after the restore."),
        Kind::Unattended if customer => {
            format!("Nobody of {within} is left on the access that you gave.")
        }
        Kind::Unattended => {
            format!("Nobody of your organisation is left on the access at {within}.")
        }
        Kind::NoRoles => format!("{} left without a role at {within}.", people(who, n)),
        Kind::Trimmed => format!("{} left with less access at {within}.", people(who, n)),
        Kind::ImpersonationStarted if customer => {
            format!("{} of {within} acts as your organisation.", who.unwrap_or("Somebody"))
        }
        Kind::ImpersonationStarted => format!("{} acts as {within}.", who.unwrap_or("Somebody")),
        Kind::ImpersonationEnded => impersonation_ended(customer, who, within, n),
        Kind::Locked | Kind::Unlocked => lock(notice.kind, other, who),
        Kind::Halted | Kind::HaltLifted => halt(notice, other, who),
        Kind::AdminsChanged if n > 1 => format!("The role Admin changed for {n} people."),
        Kind::AdminsChanged => {
            format!("{} became Admin, or is none any more.", who.unwrap_or("Somebody"))
        }
        Kind::Superseded if n > 1 => {
            format!("{n} people are on this access and no longer sign in at the customer directly.")
        }
        Kind::Superseded => format!(
            "{} is on this access and no longer signs in at the customer directly.",
            who.unwrap_or("Somebody")
        ),
        Kind::MembershipRestored => format!(
            "{} is your own member again, and off the access that you gave.",
            who.unwrap_or("Somebody")
        ),
        Kind::WebhooksChanged => {
            "A webhook of your organisation was made, changed, turned off or removed.".into()
        }
    }
}

/// The same, said to the person whom it is about; `own` is the organisation as whose member they
/// are told.
#[must_use]
pub fn to_concerned(notice: &Notice, names: &Names, own: &str) -> String {
    match notice.kind {
        Kind::MembershipRestored => format!("You are a member of {own} in your own right again."),
        _ => {
            let customer = names.other.as_deref().unwrap_or("a customer");
            format!(
                "You may go into {customer} for {own} from now on. It replaces the membership there that was your \
                 own: you enter only by Switch Tenant, until {customer} restores it."
            )
        }
    }
}

fn people(who: Option<&str>, n: u32) -> String {
    match who {
        _ if n > 1 => format!("{n} of your people are"),
        Some(name) => format!("{name} is"),
        None => "One of your people is".into(),
    }
}

fn unconfirmed(side: Side, n: u32) -> String {
    let grants = if n == 1 { "One grant".into() } else { format!("{n} grants") };
    let waits = if n == 1 { "waits" } else { "wait" };
    let what = match side {
        Side::Provider => format!("that your organisation received {waits} for the customer"),
        Side::Customer | Side::Own => format!("of your organisation {waits} for you"),
    };
    format!("Comity was restored from a copy. {grants} {what} to confirm.")
}

fn impersonation_ended(customer: bool, who: Option<&str>, within: &str, n: u32) -> String {
    match (customer, n) {
        (true, 1) => {
            let who = who.unwrap_or("Somebody");
            format!("{who} of {within} no longer acts as your organisation.")
        }
        (false, 1) => format!("{} no longer acts as {within}.", who.unwrap_or("Somebody")),
        (true, n) => format!("{n} sessions in which {within} acted as you have ended."),
        (false, n) => format!("{n} sessions in which your people acted as {within} have ended."),
    }
}

fn lock(kind: Kind, other: Option<&str>, who: Option<&str>) -> String {
    let whom = other.or(who).unwrap_or("a partner");
    match kind {
        Kind::Locked => format!("Your organisation locked {whom} out."),
        _ => format!("Your organisation lifted the lock on {whom}."),
    }
}

fn halt(notice: &Notice, other: Option<&str>, who: Option<&str>) -> String {
    let what = match (notice.facts.grant, other, who) {
        (Some(_), Some(name), _) => format!("the access between you and {name}"),
        (Some(_), None, _) => "an access of yours".into(),
        (None, _, Some(name)) => format!("{name}'s access"),
        (None, _, None) => "what concerns your organisation".into(),
    };
    match notice.kind {
        Kind::Halted => format!("Comity has halted {what}: something is not as it must be."),
        _ => format!("The operator has lifted the halt on {what}."),
    }
}

/// An instant as people read it, in UTC.
fn moment(at: Instant) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(
        |_| "an unknown day".into(),
        |t| t.strftime("%Y-%m-%d at %H:%M UTC").to_string(),
    )
}

fn shown(state: &State, noticed: &Noticed) -> Shown {
    let notice = noticed.notice;
    Shown {
        seq: noticed.seq,
        index: notice.index,
        at: noticed.at,
        kind: notice.kind,
        side: notice.side,
        count: notice.count,
        sentence: sentence(&notice, &Names::of(state, &notice)),
        object: object(&notice),
        facts: notice.facts,
        read: noticed.read,
    }
}

impl App {
    /// An organisation's inbox as a person reads it, newest first. Who may read it was asked
    /// before (`ReadNotices`). Blocking.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn notices(
        &self,
        organisation: OrganisationId,
        person: PersonId,
        wanted: Wanted,
    ) -> Result<Vec<Shown>, Failure> {
        let Wanted { below, unread_only, limit } = wanted;
        let found = self.reader().notices(organisation, person, below, unread_only, limit)?;
        let state = self.state();
        Ok(found.iter().map(|noticed| shown(&state, noticed)).collect())
    }

    /// How many notices a person has not read, counted up to [`MOST_UNREAD`]. Blocking.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn unread(&self, organisation: OrganisationId, person: PersonId) -> Result<u32, Failure> {
        Ok(self.reader().unread(organisation, person, MOST_UNREAD)?)
    }

    /// A person has read something. What has not happened yet cannot have been read: a mark beyond
    /// the log's end counts for what is there. Blocking.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn mark_read(
        &self,
        organisation: OrganisationId,
        person: PersonId,
        mark: Mark,
    ) -> Result<(), Failure> {
        match mark {
            Mark::UpTo(seq) => {
                self.inbox().read_up_to(organisation, person, seq.min(self.state().seq))?;
            }
            Mark::One(seq, index) => self.inbox().read_one(organisation, person, (seq, index))?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(kind: Kind, side: Side, count: u32, facts: Facts) -> Notice {
        let organisation = OrganisationId(1);
        Notice { organisation, index: 0, kind, side, facts, count, mail: true }
    }

    #[test]
    fn t42_every_kind_says_something_on_every_side_with_names_and_without() {
        let names = Names { other: Some("<b>Relay".into()), person: Some("Dana & Co".into()) };
        for kind in Kind::ALL {
            for side in [Side::Customer, Side::Provider, Side::Own] {
                for count in [1, 3] {
                    let facts = Facts { ends: Some(Instant(0)), ..Facts::default() };
                    let notice = notice(*kind, side, count, facts);
                    for names in [&names, &Names::default()] {
                        let said = sentence(&notice, names);
                        assert!(said.ends_with('.') && !said.contains("  "), "{kind:?}: {said}");
                        let first = said.chars().next().unwrap();
                        assert!(first.is_uppercase() || !first.is_alphabetic(), "{said}");
                    }
                    let plain = sentence(&notice, &Names::default());
                    assert!(!plain.contains("Relay") && !plain.contains("Dana"), "{plain}");
                }
            }
        }
    }

    #[test]
    fn t10_a_notice_leads_to_a_page_and_never_to_a_deed() {
        let organisation = OrganisationId(1);
        let with = |facts| path(&notice(Kind::Revoked, Side::Customer, 1, facts));
        let (request, grant, session) = (RequestId(2), GrantId(3), SessionId(4));
        let all = Facts {
            request: Some(request),
            grant: Some(grant),
            session: Some(session),
            ..Facts::default()
        };
        let own = format!("/console/o/{organisation}");
        assert_eq!(with(all), format!("{own}/sessions/{session}"));
        let all = Facts { session: None, ..all };
        assert_eq!(with(all), format!("{own}/grants/{grant}"));
        let all = Facts { grant: None, ..all };
        assert_eq!(with(all), format!("{own}/requests/{request}"));
        assert_eq!(with(Facts::default()), format!("{own}/inbox"));
    }
}
