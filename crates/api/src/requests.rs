//! Access requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_domain::code::{CodeError, CustomerCode};
use comity_domain::command::{Ask, Caller, Command};
use comity_domain::consent::{self, Summary, Terms};
use comity_domain::event::Event;
use comity_domain::grant::{self, DEFAULT_DAYS};
use comity_domain::ids::{Digest32, RequestId, UnitId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::organisation::Party;
use comity_domain::request::{Request, RequestPhase};
use comity_domain::role::{Mode, Modes};
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use comity_domain::time::{Days, Minutes};
use serde::{Deserialize, Serialize};

use crate::auth::Who;
use crate::input::{AllWord, Body, Path, Query, WireAccounts, instant, organisation};
use crate::limits::Counted;
use crate::page::{self, Order, Page, Paging};
use crate::problem::Problem;
use crate::shown::{self, ShownRequest};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireAsk {
    customer_id: String,
    level: String,
    modes: Modes,
    days: Option<u32>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
    unit: Option<String>,
    reason: String,
    ticket: Option<String>,
}

pub async fn ask(
    State(app): State<Arc<App>>,
    who: Who,
    counted: Counted,
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
    counted.limits.customer_id(&who.0, provider).await?;
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
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    #[default]
    Received,
    Sent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    #[serde(default)]
    direction: Direction,
    state: Option<RequestPhase>,
    cursor: Option<String>,
    limit: Option<usize>,
}

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
    let ids: Vec<RequestId> =
        if received { state.requests_to(id).collect() } else { state.requests_from(id).collect() };
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
            shown::request(&state, r, now, received)
        })?;
    Ok(Json(page.beside("total", total)))
}

/// Whether the caller stands on the customer's side of a request that they may see.
fn seen(app: &App, state: &World, who: &Caller, id: RequestId) -> Result<bool, Problem> {
    let now = app.now();
    let request = may::check_request(state, who, Action::ReadRequest, id, now)?;
    let side = Thing::organisation(request.customer);
    Ok(may::check(state, who, Action::ReadRequest, side, now).is_ok())
}

pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
) -> Result<Json<Option<ShownRequest>>, Problem> {
    let state = app.state();
    let for_customer = seen(&app, &state, &who.0, id)?;
    Ok(Json(shown::request(&state, id, app.now(), for_customer)))
}

/// What an approver gives. What is left out is what was asked.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct WireTerms {
    roles: Option<Vec<String>>,
    accounts: Option<WireAccounts>,
    unit: Option<String>,
    modes: Option<Modes>,
    starts_at: Option<String>,
    days: Option<u32>,
    session_minutes: Option<u32>,
    #[serde(default)]
    allow_external: bool,
    jwt: Option<bool>,
}

impl WireTerms {
    fn resolve(&self, state: &World, request: &Request) -> Result<Terms, Problem> {
        let customer = request.customer;
        let wished =
            |words: &[_]| words.iter().map(|w| state.words.show(*w).to_owned()).collect::<Vec<_>>();
        let codes = self.roles.clone().unwrap_or_else(|| wished(&request.roles));
        let mut roles = BTreeSet::new();
        for code in &codes {
            match state.role_by_code(customer, code) {
                Some(role) => {
                    roles.insert(role);
                }
                // Wishes may name roles that do not exist; what the approver names must.
                None if self.roles.is_none() => {}
                None => {
                    return Err(Problem::field(
                        "roles",
                        format!("holds {code:?}, which is no role of yours"),
                    ));
                }
            }
        }
        let accounts = match &self.accounts {
            Some(accounts) => accounts.resolve(state, customer)?,
            None if request.accounts.is_empty() => {
                WireAccounts::All(AllWord::All).resolve(state, customer)?
            }
            None => {
                let known = |e: &String| state.words.find(Lookup::Account(customer), e).is_some();
                let asked = wished(&request.accounts);
                if !asked.iter().any(known) {
                    let why =
                        "that were asked for are not known here; deny with a message that says so";
                    return Err(Problem::field("accounts", why));
                }
                WireAccounts::List(wished(&request.accounts).into_iter().filter(known).collect())
                    .resolve(state, customer)?
            }
        };
        let unit = self.unit.as_deref().map(|u| {
            let found = state.words.find(Lookup::Unit(customer), u).map(UnitId);
            found.ok_or_else(|| Problem::field("unit", "names no unit of yours"))
        });
        let modes = self.modes.unwrap_or(request.modes);
        Ok(Terms {
            roles,
            accounts,
            unit: unit.transpose()?,
            modes,
            starts_at: self.starts_at.as_deref().map(|t| instant("starts_at", t)).transpose()?,
            days: self.days.map_or(request.days, Days),
            cap: self.session_minutes.map(Minutes),
            allow_external: self.allow_external,
            jwt: self.jwt.unwrap_or(false),
        })
    }
}

/// Exactly what would be given, in facts and in plain words, with the hash to echo.
#[derive(Serialize)]
pub struct ShownSummary {
    summary: Digest32,
    sentences: Vec<String>,
    roles: Vec<shown::Role>,
    accounts: shown::ShownAccounts,
    modes: Modes,
    impersonation: bool,
    starts_at: Option<String>,
    days: u32,
    session_minutes: u32,
    allow_external: bool,
    jwt: bool,
    never_delegable: Vec<String>,
}

fn show_summary(state: &World, request: &Request, summary: &Summary) -> ShownSummary {
    ShownSummary {
        summary: summary.hash(),
        sentences: sentences(state, request, summary),
        roles: summary
            .roles
            .iter()
            .filter_map(|(pinned, p)| shown::role(state, *pinned, p.clone()))
            .collect(),
        accounts: shown::accounts(state, &summary.accounts),
        modes: summary.modes,
        impersonation: grant::impersonation(summary.modes),
        starts_at: summary.starts_at.map(shown::time),
        days: summary.days.0,
        session_minutes: summary.cap.0,
        allow_external: summary.allow_external,
        jwt: summary.jwt,
        never_delegable: summary.never_delegable.texts().collect(),
    }
}

fn sentences(state: &World, request: &Request, s: &Summary) -> Vec<String> {
    let name = |id| state.organisations.get(id).map_or("?", |o| state.words.show(o.name));
    let (customer, partner) = (name(s.customer.organisation), name(s.provider.organisation));
    let accounts = match shown::accounts(state, &s.accounts) {
        shown::ShownAccounts::All(_) => "all accounts, also those made later".to_owned(),
        shown::ShownAccounts::List(list) => format!("only the accounts {}", list.join(", ")),
    };
    let roles: Vec<String> = s
        .roles
        .iter()
        .filter_map(|(pinned, p)| {
            let role = state.roles.get(pinned.role)?;
            let permits: Vec<String> = p.texts().collect();
            Some(format!(
                "{} ({})",
                role.name,
                if permits.is_empty() { "nothing".into() } else { permits.join(", ") }
            ))
        })
        .collect();
    let unit = |party: Party| {
        let unit = party.unit.and_then(|u| state.units.get(u))?;
        Some(unit.name.map_or("its own unit", |w| state.words.show(w)))
    };
    let of = |party| unit(party).map_or(String::new(), |unit| format!(" of the unit {unit}"));
    let (given, sent) = (of(s.customer), of(s.provider));
    let external = if s.allow_external { "may" } else { "may not" };
    let offline = if s.jwt { "may go on for up to 60 seconds" } else { "stop at once" };
    let start = s.starts_at.map_or("at once".to_owned(), |t| format!("on {}", shown::time(t)));
    let stays = match (s.modes.contains(Mode::Direct), s.modes.contains(Mode::View)) {
        (true, true) => "They may enter as themselves, to work or only to look.",
        (true, false) => "They may enter as themselves, to work.",
        (false, true) => "As themselves they may only look: of these roles, only what reads.",
        (false, false) => "They may not enter as themselves.",
    };
    let act_as = if grant::impersonation(s.modes) {
        format!("They may act as {customer} itself, with a reason each time.")
    } else {
        format!("They may not act as {customer}.")
    };
    vec![
        format!(
            "People{sent} of {partner} may enter {customer}, as {} asked.",
            state.words.show(request.who.0)
        ),
        format!("With these roles: {}.", roles.join("; ")),
        format!("On {accounts}{given}."),
        stays.into(),
        act_as,
        format!(
            "It starts {start} and ends {} days later; you can end it at any moment.",
            s.days.0
        ),
        format!("Each stay lasts at most {} minutes.", s.cap.0),
        format!(
            "{partner} {external} invite people from outside; after an ending, services {offline}."
        ),
    ]
}

pub async fn summary(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
    Body(terms): Body<WireTerms>,
) -> Result<Json<ShownSummary>, Problem> {
    let (state, now) = (app.state(), app.now());
    let request = may::check_request(&state, &who.0, Action::Deny, id, now)?;
    let terms = terms.resolve(&state, request)?;
    let summary = consent::summarise(&state, id, request, &terms, now)?;
    Ok(Json(show_summary(&state, request, &summary)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    summary: Digest32,
    #[serde(default)]
    terms: WireTerms,
}

pub async fn approve(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
    Body(body): Body<Approve>,
) -> Result<Json<Option<ShownRequest>>, Problem> {
    let state = app.state();
    let request = may::check_request(&state, &who.0, Action::Approve, id, app.now())?;
    let approve = || {
        let terms = body.terms.resolve(&state, request)?;
        Ok(Command::Approve { request: id, terms, summary: body.summary })
    };
    let done = who.put_together(&app, None, approve).await?;
    Ok(Json(shown::request(&done.state, id, done.state.at, true)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    reason: Option<String>,
    message: Option<String>,
}

pub async fn deny(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
    Body(body): Body<Deny>,
) -> Result<Json<Option<ShownRequest>>, Problem> {
    let command = Command::Deny { request: id, reason: body.reason, message: body.message };
    let done = who.run(&app, command).await?;
    Ok(Json(shown::request(&done.state, id, done.state.at, true)))
}

pub async fn cancel(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<RequestId>,
) -> Result<Json<Option<ShownRequest>>, Problem> {
    let done = who.run(&app, Command::CancelRequest { request: id }).await?;
    Ok(Json(shown::request(&done.state, id, done.state.at, false)))
}
