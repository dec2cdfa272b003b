//! Offers: access that a customer gives before it is asked; and partner IDs, by which it names whom.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::{App, Failure};
use comity_domain::code::{CodeError, CustomerCode};
use comity_domain::command::{Command, Offer, Partner};
use comity_domain::consent;
use comity_domain::event::Event;
use comity_domain::ids::{Digest32, OrganisationId, RequestId, UnitId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::offer as rules;
use comity_domain::organisation::Party;
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path, Query, organisation};
use crate::limits::Counted;
use crate::openapi::values;
use crate::organisations::seen;
use crate::problem::Problem;
use crate::requests::{Deny, ShownSummary, WireTerms, answer, show_summary};
use crate::shown::{self, ShownRequest};

// -- partner IDs ----------------------------------------------------------------------------------

/// The code by which a customer names a partner that it does not know yet.
#[derive(Serialize, ToSchema)]
#[schema(as = PartnerId, examples(json!({ "partner_id": "7K2MQ-4VXN0-8R3TD-W5YHC-1B" })))]
pub struct ShownCode {
    /// The code; `null` until one is made. It lets nobody in.
    #[schema(required)]
    partner_id: Option<String>,
}

/// Whose.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WhoseId {
    /// The builder's identifier of a unit: the code that names this unit alone.
    #[param(nullable = false)]
    unit: Option<String>,
}

fn party(state: &World, id: OrganisationId, whose: &WhoseId) -> Result<Party, Problem> {
    let one = |u: &String| {
        let found = state.words.find(Lookup::Unit(id), u).map(UnitId);
        found.ok_or_else(|| Problem::field("unit", "names no unit of yours"))
    };
    Ok(Party { organisation: id, unit: whose.unit.as_ref().map(one).transpose()? })
}

async fn shown_code(app: Arc<App>, party: Party) -> Result<Json<ShownCode>, Problem> {
    let code = tokio::task::spawn_blocking(move || app.partner_id(party)).await;
    let code = code.map_err(|e| Problem::from(Failure::Broken(e.to_string())))??;
    Ok(Json(ShownCode { partner_id: code }))
}

/// The partner ID.
///
/// Who may: Support of the organisation.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/partner-id", operation_id = "getPartnerId", tag = "Partner", security(("signIn" = [])),
    params(WhoseId),
    responses((status = 200, description = "The partner ID.", body = ShownCode)))]
pub async fn partner_id(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(whose): Query<WhoseId>,
) -> Result<Json<ShownCode>, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadPartnerId)?;
    let party = party(&state, id, &whose)?;
    shown_code(app, party).await
}

/// Make or replace the partner ID.
///
/// Who may: an Admin of the organisation, freshly signed in. The old one names nobody from now on; offers that wait stand.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/partner-id/rotate", operation_id = "rotatePartnerId", tag = "Partner", security(("signIn" = [])),
    params(WhoseId),
    responses((status = 200, description = "The new one.", body = ShownCode)),
    extensions(("x-refusals" = json!("fresh_sign_in_required not_active"))))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(whose): Query<WhoseId>,
) -> Result<Json<ShownCode>, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::RotatePartnerId)?;
    let party = party(&state, id, &whose)?;
    let code = app.fresh_code();
    who.run(&app, Command::RotatePartnerId { organisation: id, unit: whose.unit, code }).await?;
    shown_code(app, party).await
}

// -- the customer's side --------------------------------------------------------------------------

/// What would be offered, and to whom.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "partner_id": "7K2MQ-4VXN0-8R3TD-W5YHC-1B", "level": "partner",
    "terms": { "roles": ["clerk"], "accounts": "all", "modes": ["direct", "view"], "days": 30 } })))]
#[serde(deny_unknown_fields)]
pub struct OfferTerms {
    /// The partner's code. Either this or `partner`.
    #[schema(min_length = 22, max_length = 64)]
    partner_id: Option<String>,
    /// An organisation that you know from a request or a grant.
    #[schema(value_type = Option<values::OrganisationId>)]
    partner: Option<OrganisationId>,
    /// Beside `partner`: the builder's identifier of the unit that you know.
    partner_unit: Option<String>,
    /// The code of the level; `partner` unless given.
    level: Option<String>,
    /// `roles` and `accounts` are named; 30 days and `direct` unless given.
    terms: WireTerms,
}

const LEVEL: &str = "partner";

impl OfferTerms {
    fn partner(&self, state: &World) -> Result<Partner, Problem> {
        match (&self.partner_id, self.partner) {
            (Some(code), None) if self.partner_unit.is_none() => {
                let code = CustomerCode::parse(code).map_err(|e| match e {
                    CodeError::Shape => {
                        Problem::field("partner_id", "must be 22 characters, such as 7K2MQ-…")
                    }
                    CodeError::Check => Problem::field(
                        "partner_id",
                        "has a typing mistake: its check symbol does not fit",
                    ),
                })?;
                Ok(Partner::Code(code.digest()))
            }
            (None, Some(organisation)) => {
                let find = |u: &String| state.words.find(Lookup::Unit(organisation), u).map(UnitId);
                let unit = match &self.partner_unit {
                    None => None,
                    // One that is not there is as unknown as one that is not known.
                    Some(named) => Some(find(named).ok_or(Refusal::NotFound)?),
                };
                Ok(Partner::Known(Party { organisation, unit }))
            }
            _ => Err(Problem::field(
                "partner_id",
                "must be given, or `partner` (and perhaps `partner_unit`) in its place",
            )),
        }
    }

    fn level(&self) -> String {
        self.level.clone().unwrap_or_else(|| LEVEL.into())
    }
}

/// Nobody uses up what is another organisation's, and nobody tries codes at will (T1).
async fn known(
    app: &App,
    who: &Who,
    beside: &comity_app::limits::Beside,
    named: &str,
    body: &OfferTerms,
) -> Result<(OrganisationId, Partner), Problem> {
    let state = app.state();
    let customer = organisation(&state, named)?;
    may::check(&state, &who.0, Action::MakeOffer, Thing::organisation(customer), app.now())?;
    let partner = body.partner(&state)?;
    if matches!(partner, Partner::Code(_)) {
        beside.limits.customer_id(&who.0, customer).await?;
    }
    Ok((customer, partner))
}

/// What an offer would give.
///
/// Who may: an Admin of the customer, freshly signed in. Offering echoes the hash that is shown here. 404: an ID that names
/// nobody, or an organisation that you do not know.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/offers/summary", operation_id = "summariseOffer", tag = "Requests", security(("signIn" = [])),
    request_body = OfferTerms,
    responses((status = 200, description = "Exactly what would be offered.", body = ShownSummary)),
    extensions(("x-refusals" = json!("fresh_sign_in_required same_organisation locked"))))]
pub async fn summary(
    State(app): State<Arc<App>>,
    who: Who,
    Counted(beside): Counted,
    Path(named): Path<String>,
    Body(body): Body<OfferTerms>,
) -> Result<Json<ShownSummary>, Problem> {
    let (customer, partner) = known(&app, &who, &beside, &named, &body).await?;
    let (state, now) = (app.state(), app.now());
    let provider = rules::partner(&state, customer, &partner)?;
    let terms = body.terms.named()?.offer(&state, customer)?;
    let summary = consent::offered(&state, customer, provider, &body.level(), &terms, now)?;
    Ok(Json(show_summary(&state, &summary)))
}

/// An offer: exactly what its summary showed.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "summary": "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
    "partner_id": "7K2MQ-4VXN0-8R3TD-W5YHC-1B", "terms": { "roles": ["clerk"], "accounts": "all" }, "reason": "You look after our boats" })))]
#[serde(deny_unknown_fields)]
pub struct WireOffer {
    #[schema(value_type = values::Digest32)]
    summary: Digest32,
    /// The partner's code. Either this or `partner`.
    #[schema(min_length = 22, max_length = 64)]
    partner_id: Option<String>,
    /// An organisation that you know from a request or a grant.
    #[schema(value_type = Option<values::OrganisationId>)]
    partner: Option<OrganisationId>,
    /// Beside `partner`: the builder's identifier of the unit that you know.
    partner_unit: Option<String>,
    /// The code of the level; `partner` unless given.
    level: Option<String>,
    /// The same terms as were summarised.
    terms: WireTerms,
    /// Why, for the partner to read.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
    /// A ticket.
    #[schema(min_length = 1, max_length = 200)]
    ticket: Option<String>,
}

/// Offer access.
///
/// Who may: an Admin of the customer, freshly signed in, who is on no side of the partner. It waits for the partner's yes, unless
/// the platform's policy gives it at once.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/offers", operation_id = "offer", tag = "Requests", security(("signIn" = [])),
    request_body = WireOffer,
    responses((status = 201, description = "The offer, a request of direction `customer_offer`.", body = ShownRequest)),
    extensions(("x-refusals" = json!("fresh_sign_in_required stale_summary four_eyes same_organisation too_many_offers not_active locked"))))]
pub async fn offer(
    State(app): State<Arc<App>>,
    who: Who,
    Counted(beside): Counted,
    Path(named): Path<String>,
    Body(body): Body<WireOffer>,
) -> Result<Response, Problem> {
    let WireOffer { summary, partner_id, partner, partner_unit, level, terms, reason, ticket } =
        body;
    let body = OfferTerms { partner_id, partner, partner_unit, level, terms };
    let (customer, partner) = known(&app, &who, &beside, &named, &body).await?;
    let state = app.state();
    let make = || {
        let terms = body.terms.named()?.offer(&state, customer)?;
        let level = body.level();
        let offer = Offer { customer, partner, level, terms, reason, ticket, summary };
        Ok(Command::MakeOffer(Box::new(offer)))
    };
    let done = who.put_together(&app, None, make).await?;
    let made = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
        Event::OfferMade { request, .. } => Some(request),
        _ => None,
    });
    let shown = made.and_then(|r| shown::request(&done.state, r, done.state.at, true));
    let shown = shown.ok_or_else(Problem::not_found)?;
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

// -- the partner's side ---------------------------------------------------------------------------

/// Accept an offer.
///
/// Who may: an Admin of the partner. The whole of it, as far as it is still there.
#[utoipa::path(post, path = "/v1/requests/{request}/accept", operation_id = "acceptOffer", tag = "Requests", security(("signIn" = [])),
    responses((status = 200, description = "The offer, with its `grant`.", body = ShownRequest)),
    extensions(("x-refusals" = json!("wrong_state not_active locked four_eyes"))))]
pub async fn accept(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
) -> Result<Json<ShownRequest>, Problem> {
    let done = who.run(&app, Command::Accept { request: id }).await?;
    answer(&done.state, id, done.state.at, false)
}

/// Decline an offer.
///
/// Who may: an Admin of the partner. `reason` stays on the partner's side; `message` is told to the customer.
#[utoipa::path(post, path = "/v1/requests/{request}/decline", operation_id = "declineOffer", tag = "Requests", security(("signIn" = [])),
    request_body = Deny,
    responses((status = 200, description = "The offer.", body = ShownRequest)),
    extensions(("x-refusals" = json!("wrong_state not_active"))))]
pub async fn decline(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
    Body(body): Body<Deny>,
) -> Result<Json<ShownRequest>, Problem> {
    let (reason, message) = body.said();
    let done = who.run(&app, Command::Decline { request: id, reason, message }).await?;
    answer(&done.state, id, done.state.at, false)
}
