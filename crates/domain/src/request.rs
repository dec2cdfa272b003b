//! Access requests: the question "may we come in?", asked by a partner, or a customer's offer
//! (`offer.rs`).
//!
//! `pending` → `approved` | `denied` | `cancelled`, or `expired` by the clock after
//! [`PENDING_LASTS`], derived when read. A decided request never changes again. Requests stay in
//! memory for [`KEPT_AFTER_MAKING`].

use serde::{Deserialize, Serialize};

use crate::command::{Ask, Caller};
use crate::consent::{self, Terms};
use crate::draft::Draft;
use crate::event::Event;
use crate::halt::HaltTarget;
use crate::ids::{Digest32, GrantId, OrganisationId, PersonId, RequestId, UnitId};
use crate::may::{self, Action, Thing};
use crate::organisation::{Accounts, Party};
use crate::refusal::Refusal;
use crate::role::{Modes, PinnedLevel, PinnedRole};
use crate::state::State;
use crate::text::{self, Subject, WordId};
use crate::time::{DAY, Days, Instant, Minutes};

/// How long a request waits for a decision.
pub const PENDING_LASTS: i64 = 30 * DAY;
/// How long a request stays in memory after it was made.
pub const KEPT_AFTER_MAKING: i64 = 400 * DAY;
/// After this many denials within [`DENIALS_COUNT_FOR`] a partner has to wait (T2).
pub const MOST_DENIALS: usize = 3;
/// How long a denial counts.
pub const DENIALS_COUNT_FOR: i64 = 30 * DAY;
/// So often may a partner take back what it asked of one customer, within [`DENIALS_COUNT_FOR`]:
/// asking and taking back, again and again, is no way to be heard (T2).
pub const MOST_TAKEN_BACK: usize = 3;
/// So many requests may a partner make within a day, whomever it asks (T2).
pub const MOST_ASKED: usize = 20;
/// How many roles or accounts a request may name.
const MOST_WISHES: usize = 200;

/// The question "may we come in?", or an offer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who makes it.
    pub direction: Direction,
    /// Whose things it is about. A partner that asks does not learn it before a yes.
    pub customer: OrganisationId,
    /// Who would come in: an organisation, or one unit of it.
    pub provider: Party,
    /// The person who asked or offered.
    pub by: PersonId,
    /// When.
    pub at: Instant,
    /// By which level.
    pub level: PinnedLevel,
    /// The wished modes.
    pub modes: Modes,
    /// The wished duration.
    pub days: Days,
    /// Wished role codes, in the asker's words.
    pub roles: Vec<WordId>,
    /// Wished accounts, in the asker's words; none means all.
    pub accounts: Vec<WordId>,
    /// Why.
    pub reason: WordId,
    /// A ticket's reference.
    pub ticket: Option<WordId>,
    /// The name, address and company of whoever asked or offered, at that time.
    pub who: (WordId, WordId, WordId),
    /// What the customer has said yes to already, where it is an offer.
    pub offered: Option<Box<Offered>>,
    /// What became of it.
    pub state: RequestState,
}

/// What a customer offers: exactly what it said yes to. Level, modes and duration stand in the
/// request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Only this unit of the customer.
    pub unit: Option<UnitId>,
    /// The roles, pinned as they were offered.
    pub roles: Vec<PinnedRole>,
    /// Which accounts.
    pub accounts: Accounts,
    /// When it starts; at the acceptance if `None`.
    pub starts_at: Option<Instant>,
    /// The longest session.
    pub cap: Minutes,
    /// Whether external people may be invited.
    pub allow_external: bool,
    /// Whether tokens may be JWTs.
    pub jwt: bool,
    /// The hash of the summary that whoever offered it saw.
    pub summary: Digest32,
}

/// Who makes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A partner asks, with a customer ID.
    PartnerRequest,
    /// A customer offers.
    CustomerOffer,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestState {
    /// Nobody has decided.
    Pending,
    /// Yes.
    Approved {
        /// When.
        at: Instant,
        /// By whom; nobody where the platform's policy accepts offers.
        by: Option<PersonId>,
        /// What came of it.
        grant: GrantId,
    },
    /// No.
    Denied {
        /// When.
        at: Instant,
        /// By whom, for the eyes of that side.
        by: Option<PersonId>,
        /// Why, for the eyes of that side.
        reason: Option<WordId>,
        /// What the other side is told.
        message: Option<WordId>,
    },
    /// Taken back or fallen away.
    Cancelled {
        /// When.
        at: Instant,
        /// Why: the customer's to know, unless the asker took it back.
        cause: Option<RequestCancel>,
    },
}

/// Why a request was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestCancel {
    /// The asker took it back.
    ByAsker,
    /// The customer revoked a grant of the same partner.
    Revoked,
    /// The customer locked the partner or the person.
    Locked,
    /// One of the organisations was closed.
    Closed,
    /// A restore put an offer back that may have been withdrawn after the copy was made.
    Restored,
}

/// The word for a request's state at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestPhase {
    /// Waits for a decision.
    Pending,
    /// Yes.
    Approved,
    /// No.
    Denied,
    /// Taken back.
    Cancelled,
    /// Nobody decided in time.
    Expired,
}

impl RequestPhase {
    /// As it is written.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl Request {
    /// The state at `now`.
    #[must_use]
    pub fn phase(&self, now: Instant) -> RequestPhase {
        match self.state {
            RequestState::Pending if now >= self.expires() => RequestPhase::Expired,
            RequestState::Pending => RequestPhase::Pending,
            RequestState::Approved { .. } => RequestPhase::Approved,
            RequestState::Denied { .. } => RequestPhase::Denied,
            RequestState::Cancelled { .. } => RequestPhase::Cancelled,
        }
    }

    /// When it expires if nobody decides.
    #[must_use]
    pub fn expires(&self) -> Instant {
        self.at.plus(PENDING_LASTS)
    }

    /// Who decides it: the other side than the one that made it.
    #[must_use]
    pub fn decider(&self) -> OrganisationId {
        match self.direction {
            Direction::PartnerRequest => self.customer,
            Direction::CustomerOffer => self.provider.organisation,
        }
    }

    /// Only if it is one of this direction: who asks never answers.
    ///
    /// # Errors
    /// `wrong_state`, saying who decides it.
    pub fn is(&self, direction: Direction) -> Result<(), Refusal> {
        match (self.direction == direction, self.direction) {
            (true, _) => Ok(()),
            (false, Direction::PartnerRequest) => {
                Err(Refusal::WrongState("a partner's request, which its customer decides"))
            }
            (false, Direction::CustomerOffer) => {
                Err(Refusal::WrongState("an offer, which its partner accepts or declines"))
            }
        }
    }

    pub(crate) fn pending(&self, now: Instant) -> Result<&Self, Refusal> {
        match self.phase(now) {
            RequestPhase::Pending => Ok(self),
            other => Err(Refusal::WrongState(other.code())),
        }
    }
}

/// Whom a digest of a customer ID leads to, if this partner may ask there. Unknown, rotated,
/// switched off, closed, locked and blocking all look the same (R1, T1).
fn addressee(
    state: &State,
    code: Digest32,
    provider: OrganisationId,
    by: PersonId,
) -> Result<OrganisationId, Refusal> {
    let customer = state.customer_by_code(code).ok_or(Refusal::NotFound)?;
    let organisation = state.organisations.get(customer).ok_or(Refusal::NotFound)?;
    let open = state.organisation_is_active(customer)
        && organisation.settings.customer_id_on
        && !organisation.settings.blocked.contains(&provider)
        && !state.is_locked(customer, provider, Some(by));
    if open { Ok(customer) } else { Err(Refusal::NotFound) }
}

/// A partner asks with a customer ID.
pub(crate) fn ask(d: &mut Draft<'_>, caller: &Caller, ask: Ask) -> Result<(), Refusal> {
    let now = d.now();
    may::check(&d.state, caller, Action::Ask, Thing::organisation(ask.provider), now)?;
    d.acting_for(ask.provider);
    let by = caller.person().ok_or(Refusal::NotFound)?;
    let unit = ask.unit.as_deref().map(|u| d.unit(ask.provider, u)).transpose()?;
    let (pinned, level) = d.state.newest_level(&ask.level).ok_or_else(|| {
        Refusal::invalid("level", "names no level; partner and referral always exist")
    })?;
    if ask.modes.is_empty() {
        return Err(Refusal::invalid("modes", "must name at least one mode"));
    }
    if !level.modes.covers(ask.modes) {
        return Err(Refusal::invalid("modes", "holds a mode that this level does not allow"));
    }
    let most = level.longest_grant.min(d.state.policy.longest_grant);
    if !(1..=most.0).contains(&ask.days.0) {
        return Err(Refusal::invalid(
            "days",
            format!("must be from 1 to {} at this level", most.0),
        ));
    }
    if ask.roles.len().max(ask.accounts.len()) > MOST_WISHES {
        return Err(Refusal::invalid(
            "roles",
            format!("and accounts may hold at most {MOST_WISHES} entries"),
        ));
    }
    let reason = text::prose("reason", &ask.reason)?;
    let ticket = ask.ticket.as_deref().map(|t| text::reference("ticket", t)).transpose()?;
    let wished_roles = wishes("roles", &ask.roles)?;
    let wished_accounts = wishes("accounts", &ask.accounts)?;

    // Before anything is looked up: it says the same whatever the ID leads to.
    not_too_many(&d.state, ask.provider, now)?;
    // Only now is anything looked up that the asker must not learn about.
    let customer = addressee(&d.state, ask.code, ask.provider, by)?;
    if customer == ask.provider {
        return Err(Refusal::SameOrganisation);
    }
    not_too_often(&d.state, customer, ask.provider, now)?;

    let request = RequestId(d.id());
    // What the asker wrote goes with the asker.
    let (about, with) = (Subject::Request(request), Subject::Person(by));
    let person = d.state.people.get(by).ok_or(Refusal::NotFound)?;
    let company = d.state.organisations.get(ask.provider).ok_or(Refusal::NotFound)?.name;
    let copies = [person.name, person.email, company].map(|w| d.state.words.show(w).into());
    let [name, email, company] = copies;
    let event = Event::RequestAsked {
        request,
        provider: Party { organisation: ask.provider, unit },
        by,
        level: pinned,
        modes: ask.modes,
        days: ask.days,
        roles: wished_roles.into_iter().map(|w| d.word_with(about, with, w)).collect(),
        accounts: wished_accounts.into_iter().map(|w| d.word_with(about, with, w)).collect(),
        reason: d.word_with(about, with, reason),
        ticket: ticket.map(|t| d.word_with(about, with, t)),
        name: d.word(Subject::Person(by), name),
        email: d.word(Subject::Person(by), email),
        company: d.word(Subject::Organisation(ask.provider), company),
    };
    // The asker's part must not say whom it asked: the address is an event of its own, and the
    // shared event's readers are set by hand because the state learns the customer after it.
    d.emit_to(event, vec![customer, ask.provider]);
    d.emit_to(Event::RequestAddressed { request, customer }, vec![customer]);
    Ok(())
}

fn wishes(field: &'static str, texts: &[String]) -> Result<Vec<std::sync::Arc<str>>, Refusal> {
    let mut seen: Vec<_> =
        texts.iter().map(|t| text::reference(field, t)).collect::<Result<_, _>>()?;
    seen.sort();
    seen.dedup();
    Ok(seen)
}

/// Twenty requests a day are enough, of one partner to all (T2).
fn not_too_many(state: &State, provider: OrganisationId, now: Instant) -> Result<(), Refusal> {
    let asked = state.requests_from(provider).filter_map(|id| state.requests.get(id));
    let today = asked
        .filter(|r| r.direction == Direction::PartnerRequest && now.since(r.at) < DAY)
        .take(MOST_ASKED);
    if today.count() >= MOST_ASKED { Err(Refusal::AskedTooOften) } else { Ok(()) }
}

/// One pending request a pair (R2), and three denials or three requests taken back in thirty days
/// are enough (T2).
fn not_too_often(
    state: &State,
    customer: OrganisationId,
    provider: OrganisationId,
    now: Instant,
) -> Result<(), Refusal> {
    let (mut denials, mut taken_back) = (0, 0);
    for request in state.requests_from(provider).rev().filter_map(|id| state.requests.get(id)) {
        if request.customer != customer || request.direction != Direction::PartnerRequest {
            continue;
        }
        match request.state {
            RequestState::Pending if now < request.expires() => {
                return Err(Refusal::AlreadyPending);
            }
            RequestState::Denied { at, .. } if now.since(at) < DENIALS_COUNT_FOR => denials += 1,
            RequestState::Cancelled { at, cause: Some(RequestCancel::ByAsker) }
                if now.since(at) < DENIALS_COUNT_FOR =>
            {
                taken_back += 1;
            }
            _ => {}
        }
    }
    let often = denials >= MOST_DENIALS || taken_back >= MOST_TAKEN_BACK;
    if often { Err(Refusal::AskedTooOften) } else { Ok(()) }
}

/// Whoever made it takes it back.
pub(crate) fn cancel(d: &mut Draft<'_>, caller: &Caller, id: RequestId) -> Result<(), Refusal> {
    let action = match d.state.requests.get(id).map(|r| r.direction) {
        Some(Direction::CustomerOffer) => Action::WithdrawOffer,
        _ => Action::CancelRequest,
    };
    let request = may::check_request(&d.state, caller, action, id, d.now())?;
    let side = match request.direction {
        Direction::PartnerRequest => request.provider.organisation,
        Direction::CustomerOffer => request.customer,
    };
    request.pending(d.now())?;
    d.acting_for(side);
    d.emit(Event::RequestCancelled { request: id, by_asker: true });
    Ok(())
}

/// The customer says no to a request.
pub(crate) fn deny(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: RequestId,
    reason: Option<String>,
    message: Option<String>,
) -> Result<(), Refusal> {
    let request = may::check_request(&d.state, caller, Action::Deny, id, d.now())?;
    request.is(Direction::PartnerRequest)?;
    say_no(d, caller, id, reason, message)
}

/// No, with a reason for the own side and a message for the other.
pub(crate) fn say_no(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: RequestId,
    reason: Option<String>,
    message: Option<String>,
) -> Result<(), Refusal> {
    let request = d.state.requests.get(id).ok_or(Refusal::NotFound)?;
    let side = request.decider();
    request.pending(d.now())?;
    let by = caller.person().ok_or(Refusal::NotFound)?;
    let given = |field, text: Option<String>| {
        text.filter(|t| !t.trim().is_empty()).map(|t| text::prose(field, &t)).transpose()
    };
    let (reason, message) = (given("reason", reason)?, given("message", message)?);
    d.acting_for(side);
    let (about, with) = (Subject::Request(id), Subject::Person(by));
    let message = message.map(|m| d.word_with(about, with, m));
    d.emit(Event::RequestDenied { request: id, message });
    let reason = reason.map(|r| d.word_with(about, with, r));
    d.emit(Event::DenialNoted { request: id, by, reason });
    Ok(())
}

/// Whether a yes is possible at all, whatever its terms: said before anything is chosen, and judged
/// again when it is given.
///
/// # Errors
/// The refusal that the caller is told.
pub fn may_approve<'s>(
    state: &'s State,
    caller: &Caller,
    id: RequestId,
    now: Instant,
) -> Result<&'s Request, Refusal> {
    let request = may::check_request(state, caller, Action::Approve, id, now)?;
    request.is(Direction::PartnerRequest)?;
    request.pending(now)?;
    let by = caller.person().ok_or(Refusal::NotFound)?;
    four_eyes(state, request.provider.organisation, by, request.at)?;
    if request.by == by {
        return Err(Refusal::FourEyes);
    }
    if !state.party_is_active(request.provider) {
        return Err(Refusal::NotActive("partner"));
    }
    if state.is_locked(request.customer, request.provider.organisation, Some(request.by)) {
        return Err(Refusal::Locked);
    }
    let sides = [request.customer, request.provider.organisation].map(HaltTarget::Organisation);
    if sides.iter().any(|side| state.halt_on(*side).is_some()) {
        return Err(Refusal::Locked);
    }
    Ok(request)
}

/// The customer says yes to `terms`, having seen the summary whose hash is echoed (R9, T4).
pub(crate) fn approve(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: RequestId,
    terms: &Terms,
    echoed: Digest32,
) -> Result<(), Refusal> {
    let now = d.now();
    let request = may_approve(&d.state, caller, id, now)?.clone();
    let by = caller.person().ok_or(Refusal::NotFound)?;
    let summary = consent::summarise(&d.state, id, &request, terms, now)?;
    if summary.hash() != echoed {
        return Err(Refusal::StaleSummary);
    }
    d.acting_for(request.customer);
    let grant = GrantId(d.id());
    d.emit(Event::RequestApproved { request: id, grant, by, summary: echoed });
    d.emit(summary.into_grant(grant, id, now));
    Ok(())
}

/// Who decides for the customer stands on one side only: no member of the provider now, and none at
/// or since `since` (T6, inv04).
pub(crate) fn four_eyes(
    state: &State,
    provider: OrganisationId,
    decider: PersonId,
    since: Instant,
) -> Result<(), Refusal> {
    let is_member = state.members.contains_key(&(provider, decider));
    let was_member = state.left(provider, decider).is_some_and(|left| left >= since);
    if is_member || was_member { Err(Refusal::FourEyes) } else { Ok(()) }
}

/// Cancels what is pending between two organisations.
pub(crate) fn cancel_pending(
    d: &mut Draft<'_>,
    customer: OrganisationId,
    of: impl Fn(&Request) -> bool,
    cause: RequestCancel,
) {
    let now = d.now();
    let ids: Vec<RequestId> = d
        .state
        .requests_to(customer)
        .filter(|id| {
            d.state
                .requests
                .get(*id)
                .is_some_and(|r| r.phase(now) == RequestPhase::Pending && of(r))
        })
        .collect();
    for request in ids {
        d.emit(Event::RequestCancelled { request, by_asker: false });
        d.emit(Event::CancellationNoted { request, cause });
    }
}
