//! What a partner asks for: as a line of the list of those that wait, and as a page of its own
//! with what came of this partner's earlier requests.

use askama::Template;
use askama::filters::HtmlSafe;
use axum::extract::State;
use axum::response::{Html, Response};
use comity_domain::command::Command;
use comity_domain::grant;
use comity_domain::ids::{OrganisationId, RequestId};
use comity_domain::may::Action;
use comity_domain::request::{Direction, Request, RequestCancel, RequestPhase, RequestState};
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::view;
use serde::Deserialize;

use crate::access::{On, Standing, reader, standing};
use crate::at::{Asked, At};
use crate::parts::{Badge, Banner, Empty, Field, Pager, Tone, badge, banner, empty};
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::show::{self, When};
use crate::visitor::{Sent, Visitor};
use crate::wrong::{self, Wrong};

/// What is asked, in words.
#[derive(Debug)]
pub struct Asks {
    pub company: String,
    pub name: String,
    pub email: String,
    pub unit: Option<String>,
    pub level: Badge,
    pub impersonation: bool,
    pub modes: String,
    pub roles: Vec<String>,
    pub accounts: Vec<String>,
    pub days: String,
    pub reason: String,
    pub ticket: Option<String>,
    pub asked: When,
    pub expires: String,
    pub status: Badge,
    /// Where it is shown and decided.
    pub to: String,
}

pub fn asks(state: &World, id: RequestId, r: &Request, now: Instant) -> Asks {
    let word = |w| state.words.show(w).to_owned();
    let unit = r.provider.unit.and_then(|u| state.units.get(u)?.name).map(word);
    Asks {
        company: word(r.who.2),
        name: word(r.who.0),
        email: word(r.who.1),
        unit,
        level: show::level(&r.level),
        impersonation: grant::impersonation(r.modes),
        modes: show::modes(r.modes),
        roles: r.roles.iter().map(|w| word(*w)).collect(),
        accounts: r.accounts.iter().map(|w| word(*w)).collect(),
        days: show::count(i64::from(r.days.0), "day", "days"),
        reason: word(r.reason),
        ticket: r.ticket.map(word),
        asked: show::when(r.at),
        expires: show::until(r.expires(), now),
        status: status(r.phase(now)),
        to: format!("/console/o/{}/requests/{id}", r.customer),
    }
}

pub fn status(phase: RequestPhase) -> Badge {
    match phase {
        RequestPhase::Pending => badge(Tone::Primary, "Pending"),
        RequestPhase::Approved => badge(Tone::Good, "Approved"),
        RequestPhase::Denied => badge(Tone::Bad, "Denied"),
        RequestPhase::Cancelled => badge(Tone::Plain, "Cancelled"),
        RequestPhase::Expired => badge(Tone::Plain, "Expired"),
    }
}

/// A request of this customer that the visitor may look at or act on.
pub fn found(state: &World, customer: OrganisationId, id: RequestId) -> Result<&Request, Wrong> {
    let request = state.requests.get(id).filter(|r| r.customer == customer);
    request.filter(|r| r.direction == Direction::PartnerRequest).ok_or_else(Wrong::not_found)
}

// -- those that wait ------------------------------------------------------------------------------

/// Which page of a list.
#[derive(Debug, Deserialize)]
pub struct Which {
    after: Option<RequestId>,
}

#[derive(Template)]
#[template(path = "pending.html")]
struct PendingPage {
    shell: Shell,
    head: crate::access::Head,
    requests: Vec<Asks>,
    empty: Empty,
    pager: Pager,
    decides: bool,
}

/// *Pending Requests*.
pub async fn pending(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(which): Asked<Which>,
) -> Result<Html<String>, Wrong> {
    let on = standing(&console, &who, id, On::Pending, "Pending Requests").await?;
    let Standing { state, now, shell, head } = on;
    let decides = shell.here.as_ref().is_some_and(|p| p.decides);
    let all = view::pending_requests(&state, id, now);
    let to = format!("/console/o/{id}/access/pending?");
    let (pager, page) = Pager::of(all, which.after, false, &to);
    let page = PendingPage {
        shell,
        head,
        requests: page.into_iter().map(|(id, r)| asks(&state, id, r, now)).collect(),
        empty: empty(
            "No partner is asking",
            "Only a partner can start a request. Give it your Customer ID; once it has asked, the request \
             waits here for 30 days.",
        ),
        pager,
        decides,
    };
    Ok(Html(page.render()?))
}

// -- one request ----------------------------------------------------------------------------------

/// One earlier request of the same partner.
struct Past {
    asked: When,
    what: String,
    status: Badge,
    note: Option<String>,
    to: String,
    grant: Option<String>,
}

#[derive(Template)]
#[template(path = "request.html")]
struct RequestPage {
    shell: Shell,
    asks: Asks,
    /// What became of it, in sentences.
    became: Vec<String>,
    grant: Option<String>,
    past: Vec<Past>,
    open: bool,
    decides: bool,
    /// Where the partner is blocked, if it is not.
    block: Option<String>,
}

/// A request's own page.
pub async fn one(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, RequestId)>,
) -> Result<Html<String>, Wrong> {
    let (state, now, shell) = reader(&console, &who, customer, Action::ReadRequest, "Request")?;
    let request = found(&state, customer, id)?;
    let earlier = view::past_with(&state, customer, request.provider.organisation, id);
    let page = RequestPage {
        asks: asks(&state, id, request, now),
        became: became(&state, request),
        grant: grant_of(request),
        past: earlier.take(10).map(|(id, r)| past(&state, id, r, now)).collect(),
        open: request.phase(now) == RequestPhase::Pending,
        block: block(&state, customer, request),
        decides: shell.here.as_ref().is_some_and(|p| p.decides),
        shell,
    };
    Ok(Html(page.render()?))
}

fn block(state: &World, customer: OrganisationId, request: &Request) -> Option<String> {
    let partner = request.provider.organisation;
    let blocked = &state.organisations.get(customer)?.settings.blocked;
    (!blocked.contains(&partner))
        .then(|| format!("/console/o/{customer}/access/block?partner={partner}"))
}

fn grant_of(request: &Request) -> Option<String> {
    match request.state {
        RequestState::Approved { grant, .. } => {
            Some(format!("/console/o/{}/grants/{grant}", request.customer))
        }
        _ => None,
    }
}

fn past(state: &World, id: RequestId, r: &Request, now: Instant) -> Past {
    let asks = asks(state, id, r, now);
    Past {
        what: format!("{}, {}, {}", asks.level.text, asks.modes, asks.days),
        note: Some(became(state, r).join(" ")).filter(|n| !n.is_empty()),
        grant: grant_of(r),
        asked: asks.asked,
        status: asks.status,
        to: asks.to,
    }
}

/// What became of a request, for the customer's eyes.
fn became(state: &World, r: &Request) -> Vec<String> {
    let person = |id| {
        let found = state.people.get(id);
        found.map_or_else(|| "somebody".into(), |p| state.words.show(p.name).to_owned())
    };
    let on = |at| show::when(at).shown;
    match &r.state {
        RequestState::Pending => Vec::new(),
        RequestState::Approved { at, by, .. } => {
            let by = by.map_or_else(|| "The platform's policy".into(), person);
            vec![format!("{by} approved it on {}.", on(*at))]
        }
        RequestState::Denied { at, by, reason, message } => {
            let by = by.map_or_else(|| "Somebody".into(), person);
            let mut said = vec![format!("{by} denied it on {}.", on(*at))];
            let word = |w: &_| state.words.show(*w).to_owned();
            said.extend(reason.iter().map(|w| format!("Reason, for us only: {}", word(w))));
            said.extend(message.iter().map(|w| format!("Message to the partner: {}", word(w))));
            said
        }
        RequestState::Cancelled { at, cause } => {
            let why = match cause {
                Some(RequestCancel::ByAsker) => "The partner took it back",
                Some(RequestCancel::Revoked) => "It fell away with a revoke",
                Some(RequestCancel::Locked) => "It fell away with a lock",
                Some(RequestCancel::Restored) => "It fell away with a restore",
                Some(RequestCancel::Closed) | None => "It fell away with a closing",
            };
            vec![format!("{why} on {}.", on(*at))]
        }
    }
}

// -- denying --------------------------------------------------------------------------------------

#[derive(Template)]
#[template(path = "deny.html")]
struct DenyPage {
    shell: Shell,
    asks: Asks,
    banner: Option<Banner>,
    reason: Field,
    message: Field,
}

/// Two notes, each with its own readers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deny {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// The dialog.
pub async fn deny_page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, RequestId)>,
) -> Result<Html<String>, Wrong> {
    deny_again(&console, &who, customer, id, &Deny::default(), None)
}

fn deny_again(
    console: &Console,
    who: &Visitor,
    customer: OrganisationId,
    id: RequestId,
    form: &Deny,
    no: Option<&Wrong>,
) -> Result<Html<String>, Wrong> {
    let (state, now, shell) = reader(console, who, customer, Action::Deny, "Deny")?;
    let asks = asks(&state, id, found(&state, customer, id)?, now);
    let (banner, wrong) = said_no(no, &["reason", "message"]);
    let field = |name, label: &str, value: &str, hint: String| {
        let field = Field::new(name, label).kind("textarea").most(1_000).optional();
        field.value(value).hint(hint).wrong(wrong.as_ref())
    };
    let us = shell.here.as_ref().map_or("us", |h| &*h.name);
    let page = DenyPage {
        reason: field(
            "reason",
            "Reason, for your records",
            &form.reason,
            format!("Read by people of {us} only. {} never sees it.", asks.company),
        ),
        message: field(
            "message",
            "Message to the partner",
            &form.message,
            format!("Read by {}, together with the denial.", asks.company),
        ),
        shell,
        asks,
        banner,
    };
    Ok(Html(page.render()?))
}

/// A refusal as a banner, or as what is wrong with one of these fields.
pub fn said_no(no: Option<&Wrong>, fields: &[&str]) -> (Option<Banner>, Option<(String, String)>) {
    use comity_domain::refusal::Refusal;
    match no.and_then(Wrong::refusal) {
        None => (None, None),
        Some(Refusal::Invalid { field, why }) if fields.contains(field) => {
            (None, Some(((*field).to_owned(), format!("It {why}."))))
        }
        Some(other) => (Some(banner(Tone::Bad, other.sentence())), None),
    }
}

/// Whether a refusal belongs on the form again, with the person's input.
pub fn on_the_form(no: &Wrong) -> Option<axum::http::StatusCode> {
    use comity_domain::refusal::{Class, Refusal};
    match no.refusal()? {
        Refusal::FreshSignIn => None,
        refusal => match refusal.class() {
            Class::Missing | Class::Unauthenticated => None,
            _ => Some(wrong::status(refusal)),
        },
    }
}

/// Denies.
pub async fn deny(
    State(console): State<Console>,
    At((customer, id)): At<(OrganisationId, RequestId)>,
    Sent { who, form }: Sent<Deny>,
) -> Result<Response, Wrong> {
    use axum::response::IntoResponse as _;
    let company = {
        let (state, now, _) = reader(&console, &who, customer, Action::Deny, "Deny")?;
        asks(&state, id, found(&state, customer, id)?, now).company
    };
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.trim().is_empty());
    let command =
        Command::Deny { request: id, reason: some(&form.reason), message: some(&form.message) };
    match who.run(&console.app, command).await {
        Ok(_) => {
            let to = format!("/console/o/{customer}/access/pending");
            Ok(shell::done(&to, &format!("Denied. {company} is told that you said no.")))
        }
        Err(no) => {
            let Some(status) = on_the_form(&no) else { return Err(no) };
            let page = deny_again(&console, &who, customer, id, &form, Some(&no))?;
            Ok((status, page).into_response())
        }
    }
}

/// What is asked, drawn as facts.
#[derive(Template)]
#[template(path = "parts/asks.html")]
pub struct Facts<'a> {
    asks: &'a Asks,
}

impl HtmlSafe for Facts<'_> {}

impl Asks {
    /// As facts.
    pub fn facts(&self) -> Facts<'_> {
        Facts { asks: self }
    }
}
