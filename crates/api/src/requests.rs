//! Access requests.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_domain::code::{CodeError, CustomerCode};
use comity_domain::command::{Ask, Caller, Command};
use comity_domain::consent::{self, Lasts, NamedTerms, Summary, Terms};
use comity_domain::event::Event;
use comity_domain::grant::{self, DEFAULT_DAYS};
use comity_domain::ids::{Digest32, RequestId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::request::{Direction as Way, Request, RequestPhase};
use comity_domain::role::Modes;
use comity_domain::state::State as World;
use comity_domain::time::{Days, Instant, Minutes};
use comity_domain::view;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path, Query, WireAccounts, instant, organisation};
use crate::limits::Counted;
use crate::openapi::values;
use crate::page::{self, Order, Page, Paging};
use crate::problem::Problem;
use crate::shown::{self, ShownRequest};

/// The question "may we come in?".
#[derive(Deserialize, ToSchema)]
#[schema(as = Ask, examples(json!({ "customer_id": "7K2MQ-4VXN0-8R3TD-W5YHC-1B", "level": "partner", "modes": ["direct", "view"], "days": 30,
    "roles": ["clerk"], "reason": "Winter storage" })))]
#[serde(deny_unknown_fields)]
pub struct WireAsk {
    /// The customer's code: 22 characters; hyphens and spaces do not count.
    #[schema(min_length = 22, max_length = 64)]
    customer_id: String,
    /// The code of the level.
    level: String,
    #[schema(value_type = values::Modes)]
    modes: Modes,
    /// For how long; 30 unless given.
    #[schema(minimum = 1, maximum = 730)]
    days: Option<u32>,
    /// What the customer may at most give: codes of roles. Left out, the choice is the customer's.
    #[serde(default)]
    #[schema(max_items = 200)]
    roles: Vec<String>,
    /// What the customer may at most give: its identifiers of accounts.
    #[serde(default)]
    #[schema(max_items = 200)]
    accounts: Vec<String>,
    /// The builder's identifier of the unit that would come in.
    unit: Option<String>,
    /// Why.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
    /// A ticket.
    #[schema(min_length = 1, max_length = 200)]
    ticket: Option<String>,
}

/// Ask to come in.
///
/// Who may: an Admin of the partner. Whose ID it is stands in the answer only once it is approved. 404: an ID that does not
/// work, for whatever reason.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/requests", operation_id = "ask", tag = "Requests", security(("signIn" = [])),
    request_body = WireAsk,
    responses((status = 201, description = "The request.", body = ShownRequest)),
    extensions(("x-refusals" = json!("already_pending asked_too_often same_organisation not_active locked"))))]
pub async fn ask(
    State(app): State<Arc<App>>,
    who: Who,
    Counted(beside): Counted,
    Path(named): Path<String>,
    Body(body): Body<WireAsk>,
) -> Result<Response, Problem> {
    let code = CustomerCode::parse(&body.customer_id).map_err(|e| match e {
        CodeError::Shape => Problem::field("customer_id", "must be 22 characters, such as 7K2MQ-…"),
        CodeError::Check => {
            Problem::field("customer_id", "has a typing mistake: its check symbol does not fit")
        }
    })?;
    let state = app.state();
    let provider = organisation(&state, &named)?;
    // Nobody uses up what is another organisation's.
    may::check(&state, &who.0, Action::Ask, Thing::organisation(provider), app.now())?;
    beside.limits.customer_id(&who.0, provider).await?;
    let command = Command::Ask(Ask {
        provider,
        unit: body.unit,
        code: code.digest(),
        level: body.level,
        modes: body.modes,
        days: body.days.map_or(DEFAULT_DAYS, Days),
        roles: body.roles,
        accounts: body.accounts,
        reason: body.reason,
        ticket: body.ticket,
    });
    let done = who.run(&app, command).await?;
    let request = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
        Event::RequestAsked { request, .. } => Some(request),
        _ => None,
    });
    let shown = request.and_then(|r| shown::request(&done.state, r, done.state.at, false));
    let shown = shown.ok_or_else(Problem::not_found)?;
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[schema(as = RequestSide)]
#[serde(rename_all = "snake_case")]
enum Direction {
    #[default]
    Received,
    Sent,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// `received` (unless given) or `sent`.
    #[serde(default)]
    #[param(inline, required = false)]
    direction: Direction,
    /// Only these.
    #[param(nullable = false, value_type = Option<values::RequestPhase>)]
    state: Option<RequestPhase>,
    /// `next` of the page before. Good only for the same list and filter.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// How many at most; 50 unless given.
    #[param(nullable = false, minimum = 1, maximum = 200, example = 50)]
    limit: Option<usize>,
}

/// The requests to or from an organisation.
///
/// Who may: Support of it. Received are those that it decides, offers of customers among them. The newest first, with `total`.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/requests", operation_id = "listRequests", tag = "Requests", security(("signIn" = [])),
    params(ListQuery),
    responses((status = 200, description = "A page of them.", body = Page<ShownRequest>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ShownRequest>>, Problem> {
    let (state, now) = (app.state(), app.now());
    let id = organisation(&state, &named)?;
    may::check(&state, &who.0, Action::ReadRequest, Thing::organisation(id), now)?;
    let received = query.direction == Direction::Received;
    let ids = if received {
        view::received_requests(&state, id)
    } else {
        view::sent_requests(&state, id)
    };
    let wanted = |r: &RequestId| {
        let found = state.requests.get(*r);
        found.is_some_and(|r| query.state.is_none_or(|s| r.phase(now) == s))
    };
    let question = format!("requests/{id}/{received}/{:?}", query.state);
    let paging = Paging { cursor: query.cursor, limit: query.limit };
    let matching: Vec<RequestId> = ids.into_iter().rev().filter(wanted).collect();
    let total = matching.len();
    let page: Page<ShownRequest> =
        page::by_id(&app, &question, &paging, Order::NewestFirst, matching.into_iter(), |r| {
            let for_customer = state.requests.get(r).is_some_and(|r| r.customer == id);
            shown::request(&state, r, now, for_customer)
        })?;
    Ok(Json(Page { total: Some(total), ..page }))
}

/// Whether the caller stands on the customer's side of a request that they may see.
fn seen(app: &App, state: &World, who: &Caller, id: RequestId) -> Result<bool, Problem> {
    let now = app.now();
    let request = may::check_request(state, who, Action::ReadRequest, id, now)?;
    let side = Thing::organisation(request.customer);
    Ok(may::check(state, who, Action::ReadRequest, side, now).is_ok())
}

/// A request.
///
/// Who may: Support of either side; each sees its own.
#[utoipa::path(get, path = "/v1/requests/{request}", operation_id = "getRequest", tag = "Requests", security(("signIn" = [])),
    responses((status = 200, description = "The request.", body = ShownRequest)))]
pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
) -> Result<Json<ShownRequest>, Problem> {
    let state = app.state();
    let for_customer = seen(&app, &state, &who.0, id)?;
    answer(&state, id, app.now(), for_customer)
}

/// A request as a side sees it.
pub fn answer(
    state: &World,
    id: RequestId,
    now: Instant,
    for_customer: bool,
) -> Result<Json<ShownRequest>, Problem> {
    shown::request(state, id, now, for_customer).map(Json).ok_or_else(Problem::not_found)
}

/// What an approver gives. What is left out is what was asked.
#[derive(Deserialize, Default, ToSchema)]
#[schema(as = Terms, examples(json!({ "roles": ["clerk"], "accounts": ["boat-1", "boat-2"], "modes": ["direct"], "days": 14 })))]
#[serde(deny_unknown_fields)]
pub struct WireTerms {
    /// Codes of roles; at least one in the end.
    #[schema(max_items = 50)]
    roles: Option<Vec<String>>,
    accounts: Option<WireAccounts>,
    /// The builder's identifier of the unit of the customer that alone gives.
    unit: Option<String>,
    #[schema(value_type = Option<values::Modes>)]
    modes: Option<Modes>,
    /// Later than now, within a year; the duration runs from there.
    #[schema(value_type = Option<values::Instant>)]
    starts_at: Option<String>,
    /// For how long.
    #[schema(minimum = 1, maximum = 730)]
    days: Option<u32>,
    /// The longest session.
    #[schema(minimum = 5, maximum = 480)]
    session_minutes: Option<u32>,
    /// Whether people from outside may be invited.
    #[serde(default)]
    allow_external: bool,
    /// Whether tokens may be checked without asking, and then go on for up to 60 seconds.
    jwt: Option<bool>,
}

impl WireTerms {
    fn resolve(&self, state: &World, request: &Request) -> Result<Terms, Problem> {
        Ok(self.named()?.resolve(state, request)?)
    }

    /// As the domain means them.
    pub fn named(&self) -> Result<NamedTerms, Problem> {
        Ok(NamedTerms {
            roles: self.roles.clone(),
            accounts: self.accounts.as_ref().map(WireAccounts::named),
            unit: self.unit.clone(),
            modes: self.modes,
            starts_at: self.starts_at.as_deref().map(|t| instant("starts_at", t)).transpose()?,
            days: self.days.map(Days),
            cap: self.session_minutes.map(Minutes),
            allow_external: self.allow_external,
            jwt: self.jwt.unwrap_or(false),
        })
    }
}

/// Exactly what would be given, in facts and in plain words, with the hash to echo.
#[derive(Serialize, ToSchema)]
#[schema(as = Summary)]
pub struct ShownSummary {
    #[schema(value_type = values::Digest32)]
    summary: Digest32,
    /// The same in plain words.
    sentences: Vec<String>,
    /// The roles, with what each permits.
    roles: Vec<shown::Role>,
    #[schema(value_type = WireAccounts)]
    accounts: shown::ShownAccounts,
    #[schema(value_type = values::Modes)]
    modes: Modes,
    /// Whether `act_as` is among the modes.
    impersonation: bool,
    #[schema(required, value_type = Option<values::Instant>)]
    starts_at: Option<String>,
    /// For how long; `null` where the end stays where it is.
    #[schema(required)]
    days: Option<u32>,
    /// The end that stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::Instant, required = false)]
    ends_at: Option<String>,
    /// The longest session.
    session_minutes: u32,
    /// Whether people from outside may be invited.
    allow_external: bool,
    /// Whether tokens may be checked without asking, and then go on for up to 60 seconds.
    jwt: bool,
    /// What no partner ever has.
    #[schema(value_type = Vec<values::Pattern>)]
    never_delegable: Vec<String>,
}

/// As it is told.
pub fn show_summary(state: &World, summary: &Summary) -> ShownSummary {
    ShownSummary {
        summary: summary.hash(),
        sentences: summary.sentences(state, shown::time),
        roles: summary
            .roles
            .iter()
            .filter_map(|(pinned, p)| shown::role(state, *pinned, p.clone()))
            .collect(),
        accounts: shown::accounts(state, &summary.accounts),
        modes: summary.modes,
        impersonation: grant::impersonation(summary.modes),
        starts_at: summary.starts_at.map(shown::time),
        days: match summary.lasts {
            Lasts::For(days) => Some(days.0),
            Lasts::Until(_) => None,
        },
        ends_at: match summary.lasts {
            Lasts::For(_) => None,
            Lasts::Until(end) => Some(shown::time(end)),
        },
        session_minutes: summary.cap.0,
        allow_external: summary.allow_external,
        jwt: summary.jwt,
        never_delegable: summary.never_delegable.texts().collect(),
    }
}

/// What would be given.
///
/// Who may: an Admin of the customer. Approving echoes the hash that is shown here.
#[utoipa::path(post, path = "/v1/requests/{request}/summary", operation_id = "summarise", tag = "Requests", security(("signIn" = [])),
    request_body = WireTerms,
    responses((status = 200, description = "Exactly what would be given.", body = ShownSummary)),
    extensions(("x-refusals" = json!("widening wrong_state not_active locked"))))]
pub async fn summary(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
    Body(terms): Body<WireTerms>,
) -> Result<Json<ShownSummary>, Problem> {
    let (state, now) = (app.state(), app.now());
    let request = may::check_request(&state, &who.0, Action::Deny, id, now)?;
    request.is(Way::PartnerRequest)?;
    let terms = terms.resolve(&state, request)?;
    let summary = consent::summarise(&state, id, request, &terms, now)?;
    Ok(Json(show_summary(&state, &summary)))
}

/// The yes to exactly what the summary showed.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "summary": "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b", "terms": { "roles": ["clerk"], "accounts": "all" } })))]
#[serde(deny_unknown_fields)]
pub struct Approve {
    #[schema(value_type = values::Digest32)]
    summary: Digest32,
    /// The same terms as were summarised.
    #[serde(default)]
    #[schema(required = false)]
    terms: WireTerms,
}

/// Approve.
///
/// Who may: an Admin of the customer, freshly signed in, who is on no side of the partner.
#[utoipa::path(post, path = "/v1/requests/{request}/approve", operation_id = "approve", tag = "Requests", security(("signIn" = [])),
    request_body = Approve,
    responses((status = 200, description = "The request, with its `grant`.", body = ShownRequest)),
    extensions(("x-refusals" = json!("fresh_sign_in_required stale_summary four_eyes widening wrong_state locked not_active"))))]
pub async fn approve(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
    Body(body): Body<Approve>,
) -> Result<Json<ShownRequest>, Problem> {
    let state = app.state();
    let request = may::check_request(&state, &who.0, Action::Approve, id, app.now())?;
    let approve = || {
        let terms = body.terms.resolve(&state, request)?;
        Ok(Command::Approve { request: id, terms, summary: body.summary })
    };
    let done = who.put_together(&app, None, approve).await?;
    answer(&done.state, id, done.state.at, true)
}

/// Why not.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "reason": "Nobody knows them", "message": "Please ask our front desk first." })))]
#[serde(deny_unknown_fields)]
pub struct Deny {
    /// For the customer's eyes.
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
    /// What the partner is told.
    #[schema(min_length = 1, max_length = 1000)]
    message: Option<String>,
}

impl Deny {
    /// The reason and the message.
    pub fn said(self) -> (Option<String>, Option<String>) {
        (self.reason, self.message)
    }
}

/// Deny.
///
/// Who may: an Admin of the customer.
#[utoipa::path(post, path = "/v1/requests/{request}/deny", operation_id = "deny", tag = "Requests", security(("signIn" = [])),
    request_body = Deny,
    responses((status = 200, description = "The request.", body = ShownRequest)),
    extensions(("x-refusals" = json!("wrong_state not_active"))))]
pub async fn deny(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
    Body(body): Body<Deny>,
) -> Result<Json<ShownRequest>, Problem> {
    let command = Command::Deny { request: id, reason: body.reason, message: body.message };
    let done = who.run(&app, command).await?;
    answer(&done.state, id, done.state.at, true)
}

/// Take a request or an offer back.
///
/// Who may: an Admin of the side that made it.
#[utoipa::path(post, path = "/v1/requests/{request}/cancel", operation_id = "cancelRequest", tag = "Requests", security(("signIn" = [])),
    responses((status = 200, description = "The request.", body = ShownRequest)),
    extensions(("x-refusals" = json!("wrong_state not_active"))))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
) -> Result<Json<ShownRequest>, Problem> {
    let done = who.run(&app, Command::CancelRequest { request: id }).await?;
    let offer = done.state.requests.get(id).is_some_and(|r| r.offered.is_some());
    answer(&done.state, id, done.state.at, offer)
}
