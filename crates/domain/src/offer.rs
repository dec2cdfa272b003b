//! Offers: access requests that a customer makes.
//!
//! Who offers consents there, with a summary and its hash; the partner accepts the whole or declines
//! it. Where the policy says that offers need no acceptance, the yes stands in the same row. What
//! was offered is never more than what the customer's limits allow on the day of the acceptance.

use std::collections::BTreeSet;

use crate::command::{Caller, Offer, Partner};
use crate::consent::{self, Lasts};
use crate::draft::Draft;
use crate::event::Event;
use crate::halt::HaltTarget;
use crate::ids::{GrantId, OrganisationId, PersonId, RequestId};
use crate::may::{self, Action, Thing};
use crate::organisation::{Accounts, Party};
use crate::refusal::Refusal;
use crate::request::{self, Direction, Offered, Request, RequestPhase};
use crate::state::State;
use crate::text::{self, Subject};
use crate::time::{Instant, Window};

/// So many offers of one customer may wait for an answer at a time.
pub const MOST_WAITING: usize = 200;

/// Whom a customer names: by partner ID, or as a side that it knows from a request or grant. An ID
/// that leads nowhere and an organisation that it does not know look the same (T1).
///
/// # Errors
/// `not_found`, and for a known one what keeps an offer from being made.
pub fn partner(state: &State, customer: OrganisationId, named: &Partner) -> Result<Party, Refusal> {
    let party = match named {
        Partner::Code(digest) => state.party_by_code(*digest),
        Partner::Known(party) => knows(state, customer, *party).then_some(*party),
    };
    let party = party.filter(|p| state.party_is_active(*p)).ok_or(Refusal::NotFound)?;
    if party.organisation == customer {
        return Err(Refusal::SameOrganisation);
    }
    if is_barred(state, customer, party.organisation) {
        return Err(Refusal::Locked);
    }
    let own = state.organisations.get(customer).ok_or(Refusal::NotFound)?;
    if own.settings.blocked.contains(&party.organisation) {
        let why = "is blocked in your settings; take it off that list first";
        return Err(Refusal::invalid("partner", why));
    }
    Ok(party)
}

/// The sides that a customer knows from a request or a grant, as long as those are remembered.
#[must_use]
pub fn known_partners(state: &State, customer: OrganisationId) -> BTreeSet<Party> {
    let asked = state.requests_to(customer).filter_map(|id| state.requests.get(id));
    let given = state.grants_by(customer).filter_map(|id| state.grants.get(id));
    asked.map(|r| r.provider).chain(given.map(|g| g.provider)).collect()
}

fn knows(state: &State, customer: OrganisationId, party: Party) -> bool {
    let asked = state.requests_to(customer).filter_map(|id| state.requests.get(id));
    let given = state.grants_by(customer).filter_map(|id| state.grants.get(id));
    asked.map(|r| r.provider).chain(given.map(|g| g.provider)).any(|known| known == party)
}

/// Whether a lock of the customer, or a halt of Comity's, is on one of them.
fn is_barred(state: &State, customer: OrganisationId, provider: OrganisationId) -> bool {
    let halted = |id| state.halt_on(HaltTarget::Organisation(id)).is_some();
    state.is_locked(customer, provider, None) || halted(customer) || halted(provider)
}

/// The customer offers access, having seen the summary whose hash is echoed.
pub(crate) fn make(d: &mut Draft<'_>, caller: &Caller, offer: Offer) -> Result<(), Refusal> {
    let now = d.now();
    let customer = offer.customer;
    may::check(&d.state, caller, Action::MakeOffer, Thing::organisation(customer), now)?;
    d.acting_for(customer);
    let by = caller.person().ok_or(Refusal::NotFound)?;
    if !d.state.organisation_is_active(customer) {
        return Err(Refusal::NotActive("organisation"));
    }
    let provider = partner(&d.state, customer, &offer.partner)?;
    request::four_eyes(&d.state, provider.organisation, by, now)?;
    let waiting = waiting(&d.state, customer, now).take(MOST_WAITING).count();
    if waiting >= MOST_WAITING {
        return Err(Refusal::TooManyOffers);
    }
    let reason = text::prose("reason", &offer.reason)?;
    let ticket = offer.ticket.as_deref().map(|t| text::reference("ticket", t)).transpose()?;
    let terms = &offer.terms;
    let summary = consent::offered(&d.state, customer, provider, &offer.level, terms, now)?;
    if summary.hash() != offer.summary {
        return Err(Refusal::StaleSummary);
    }
    let request = RequestId(d.id());
    let (about, with) = (Subject::Request(request), Subject::Person(by));
    let person = d.state.people.get(by).ok_or(Refusal::NotFound)?;
    let company = d.state.organisations.get(customer).ok_or(Refusal::NotFound)?.name;
    let [name, email, company] =
        [person.name, person.email, company].map(|w| d.state.words.show(w).into());
    let event = Event::OfferMade {
        request,
        customer: summary.customer,
        provider,
        by,
        level: summary.level.clone(),
        roles: summary.roles.iter().map(|(pinned, _)| *pinned).collect(),
        accounts: summary.accounts.clone(),
        modes: summary.modes,
        starts_at: summary.starts_at,
        days: match summary.lasts {
            Lasts::For(days) => days,
            Lasts::Until(_) => terms.days,
        },
        cap: summary.cap,
        allow_external: summary.allow_external,
        jwt: summary.jwt,
        summary: offer.summary,
        reason: d.word_with(about, with, reason),
        ticket: ticket.map(|t| d.word_with(about, with, t)),
        name: d.word(Subject::Person(by), name),
        email: d.word(Subject::Person(by), email),
        company: d.word(Subject::Organisation(customer), company),
    };
    d.emit(event);
    if !d.state.policy.offers_need_acceptance {
        agree(d, request, None)?;
    }
    Ok(())
}

/// A customer's offers that wait for an answer.
pub fn waiting(
    state: &State,
    customer: OrganisationId,
    now: Instant,
) -> impl DoubleEndedIterator<Item = (RequestId, &Request)> {
    made(state, customer).filter(move |(_, r)| r.phase(now) == RequestPhase::Pending)
}

/// The offers that a customer has made, the oldest first.
pub fn made(
    state: &State,
    customer: OrganisationId,
) -> impl DoubleEndedIterator<Item = (RequestId, &Request)> {
    state
        .requests_to(customer)
        .filter_map(|id| Some((id, state.requests.get(id)?)))
        .filter(|(_, r)| r.direction == Direction::CustomerOffer)
}

/// The offers that were made to an organisation, the oldest first.
pub fn to(
    state: &State,
    provider: OrganisationId,
) -> impl DoubleEndedIterator<Item = (RequestId, &Request)> {
    state
        .requests_from(provider)
        .filter_map(|id| Some((id, state.requests.get(id)?)))
        .filter(|(_, r)| r.direction == Direction::CustomerOffer)
}

/// The partner accepts the whole of what was offered.
pub(crate) fn accept(d: &mut Draft<'_>, caller: &Caller, id: RequestId) -> Result<(), Refusal> {
    let request = may::check_request(&d.state, caller, Action::AcceptOffer, id, d.now())?;
    request.is(Direction::CustomerOffer)?;
    let provider = request.provider.organisation;
    let by = caller.person().ok_or(Refusal::NotFound)?;
    d.acting_for(provider);
    agree(d, id, Some(by))
}

/// The partner says no.
pub(crate) fn decline(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: RequestId,
    reason: Option<String>,
    message: Option<String>,
) -> Result<(), Refusal> {
    let request = may::check_request(&d.state, caller, Action::DeclineOffer, id, d.now())?;
    request.is(Direction::CustomerOffer)?;
    request::say_no(d, caller, id, reason, message)
}

/// What an offer would give if it were accepted now: what was offered and is still there, within
/// today's limits.
///
/// # Errors
/// The refusal that whoever accepts is told.
pub fn would_give(state: &State, request: &Request, now: Instant) -> Result<Offered, Refusal> {
    request.is(Direction::CustomerOffer)?;
    request.pending(now)?;
    let mut left = request.offered.as_deref().cloned().ok_or(Refusal::NotFound)?;
    let customer = Party { organisation: request.customer, unit: left.unit };
    if !state.party_is_active(customer) {
        return Err(Refusal::NotActive("customer"));
    }
    if !state.party_is_active(request.provider) {
        return Err(Refusal::NotActive("partner"));
    }
    let provider = request.provider.organisation;
    let own = state.organisations.get(request.customer).ok_or(Refusal::NotFound)?;
    if is_barred(state, request.customer, provider) || own.settings.blocked.contains(&provider) {
        return Err(Refusal::Locked);
    }
    // Who consented stands on one side only, on the day of the yes too (T6).
    request::four_eyes(state, provider, request.by, request.at)?;
    left.roles.retain(|pinned| state.role_lives(*pinned));
    if let Accounts::List(list) = &mut left.accounts {
        list.retain(|id| {
            let account = state.accounts.get(*id);
            account.is_some_and(|a| customer.includes(a.organisation, a.unit))
        });
    }
    if left.roles.is_empty() || left.accounts.is_empty() {
        return Err(Refusal::WrongState("an offer of which nothing is left"));
    }
    let limits = consent::limits_of(state, request.customer, &request.level)?;
    left.cap = left.cap.min(limits.cap);
    left.allow_external &= limits.allow_external;
    left.starts_at = left.starts_at.filter(|start| *start > now);
    Ok(left)
}

/// The yes of the other side, or of the policy: a grant.
fn agree(d: &mut Draft<'_>, id: RequestId, by: Option<PersonId>) -> Result<(), Refusal> {
    let now = d.now();
    let request = d.state.requests.get(id).ok_or(Refusal::NotFound)?.clone();
    let given = would_give(&d.state, &request, now)?;
    if by == Some(request.by) {
        return Err(Refusal::FourEyes);
    }
    let limits = consent::limits_of(&d.state, request.customer, &request.level)?;
    let start = given.starts_at.unwrap_or(now);
    let end = start.plus(request.days.min(limits.days).millis());
    let grant = GrantId(d.id());
    d.emit(Event::OfferAccepted { request: id, grant, by });
    d.emit(Event::GrantMade {
        grant,
        request: id,
        customer: Party { organisation: request.customer, unit: given.unit },
        provider: request.provider,
        level: request.level,
        roles: given.roles,
        accounts: given.accounts,
        modes: request.modes,
        window: Window { start, end },
        cap: given.cap,
        allow_external: given.allow_external,
        jwt: given.jwt,
        summary: given.summary,
    });
    Ok(())
}
