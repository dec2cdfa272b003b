//! *Our requests*: what an organisation asked of customers, what came of it, taking it back.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::ids::{OrganisationId, RequestId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::refusal::Refusal;
use comity_domain::request::{Direction, Request, RequestCancel, RequestPhase, RequestState};
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use serde::Deserialize;

use crate::at::{Asked, At};
use crate::dialog::{Dialog, no_dialog};
use crate::parts::{Badge, Empty, Pager, Tab, Tabs, empty};
use crate::request::status;
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::show::{self, When};
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// One request, for the eyes of those who asked.
struct Line {
    /// Whom: not known before a yes.
    customer: Option<String>,
    level: Badge,
    modes: String,
    days: String,
    reason: String,
    ticket: Option<String>,
    by: String,
    unit: Option<String>,
    asked: When,
    status: Badge,
    /// What came of it, in sentences.
    became: Vec<String>,
    /// What the customer wrote.
    message: Option<String>,
    grant: Option<String>,
    /// Where it is taken back.
    cancel: Option<String>,
}

#[derive(Template)]
#[template(path = "asking.html")]
struct Page {
    shell: Shell,
    org: OrganisationId,
    asks: bool,
    tabs: Tabs,
    lines: Vec<Line>,
    empty: Empty,
    pager: Pager,
}

/// Which list, and which page of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    state: Option<RequestPhase>,
    after: Option<RequestId>,
}

/// Whether the visitor may do this as a partner, and what surrounds the page.
pub fn partner(
    console: &Console,
    who: &Visitor,
    id: OrganisationId,
    action: Action,
    section: Section,
    title: &str,
) -> Result<(std::sync::Arc<World>, Instant, Shell), Wrong> {
    let (state, now) = (console.app.state(), console.app.now());
    let shell = Shell::of(&state, who, id, section, title)?;
    may::check(&state, &who.caller, action, Thing::organisation(id), now)?;
    Ok((state, now, shell))
}

/// What this organisation asked for.
pub async fn list(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(which): Asked<Which>,
) -> Result<Html<String>, Wrong> {
    let read = partner(&console, &who, id, Action::ReadRequest, Section::Asking, "Our requests")?;
    let (state, now, shell) = read;
    let asks = shell.here.as_ref().is_some_and(|p| p.decides);
    let own = format!("/console/o/{id}/asking");
    let asked = |r: &Request| r.direction == Direction::PartnerRequest;
    let wanted = |r: &Request| asked(r) && which.state.is_none_or(|s| r.phase(now) == s);
    let all = state.requests_from(id).rev().filter_map(|r| Some((r, state.requests.get(r)?)));
    let to = match which.state {
        None => format!("{own}?"),
        Some(phase) => format!("{own}?state={}&", phase.code()),
    };
    let (pager, found) = Pager::of(all.filter(|(_, r)| wanted(r)), which.after, true, &to);
    let page = Page {
        org: id,
        asks,
        tabs: tabs(&state, id, &which, &own, now),
        lines: found.into_iter().map(|(r, known)| line(&state, r, known, asks, now)).collect(),
        empty: match which.state {
            None => empty(
                "Nothing asked yet",
                "Get the Customer ID of whom you want to work for, and ask for access with it. What came \
                 of it stands here.",
            ),
            Some(_) => empty("None of these", "Look at all requests instead."),
        },
        pager,
        shell,
    };
    Ok(Html(page.render()?))
}

fn tabs(state: &World, id: OrganisationId, which: &Which, own: &str, now: Instant) -> Tabs {
    let waiting = state
        .requests_from(id)
        .filter_map(|r| state.requests.get(r))
        .filter(|r| r.direction == Direction::PartnerRequest)
        .filter(|r| r.phase(now) == RequestPhase::Pending);
    let tab = |label: &str, phase: Option<RequestPhase>, count| Tab {
        label: label.into(),
        to: phase.map_or_else(|| own.to_owned(), |p| format!("{own}?state={}", p.code())),
        here: which.state == phase,
        live: None,
        count,
    };
    Tabs {
        label: "Our requests by state",
        tabs: vec![
            tab("All", None, None),
            tab("Waiting", Some(RequestPhase::Pending), Some(waiting.count())),
            tab("Approved", Some(RequestPhase::Approved), None),
            tab("Denied", Some(RequestPhase::Denied), None),
            tab("Cancelled", Some(RequestPhase::Cancelled), None),
            tab("Expired", Some(RequestPhase::Expired), None),
        ],
        live: None,
    }
}

fn line(state: &World, id: RequestId, r: &Request, asks: bool, now: Instant) -> Line {
    let word = |w| state.words.show(w).to_owned();
    let provider = r.provider.organisation;
    let on = |at| show::when(at).shown;
    let (mut became, mut message, mut grant) = (Vec::new(), None, None);
    match &r.state {
        RequestState::Pending if r.phase(now) == RequestPhase::Expired => {
            became.push("Nobody decided within 30 days. Ask again if it is still needed.".into());
        }
        RequestState::Pending => {
            became.push(format!(
                "Waits for the customer; expires {}.",
                show::until(r.expires(), now)
            ));
        }
        RequestState::Approved { at, grant: given, .. } => {
            became.push(format!("The customer said yes on {}.", on(*at)));
            grant = Some(format!("/console/o/{provider}/grants-received/{given}"));
        }
        RequestState::Denied { at, message: said, .. } => {
            became.push(format!("The customer said no on {}.", on(*at)));
            message = said.map(word);
        }
        // Why it fell away otherwise is the customer's to know.
        RequestState::Cancelled { at, cause: Some(RequestCancel::ByAsker) } => {
            became.push(format!("Taken back on {}.", on(*at)));
        }
        RequestState::Cancelled { at, .. } => became.push(format!("It fell away on {}.", on(*at))),
    }
    let approved = matches!(r.state, RequestState::Approved { .. });
    let customer = state.organisations.get(r.customer).filter(|_| approved);
    let pending = r.phase(now) == RequestPhase::Pending;
    Line {
        customer: customer.map(|o| word(o.name)),
        level: show::level(&r.level),
        modes: show::modes(r.modes),
        days: show::count(i64::from(r.days.0), "day", "days"),
        reason: word(r.reason),
        ticket: r.ticket.map(word),
        by: word(r.who.0),
        unit: r.provider.unit.and_then(|u| state.units.get(u)?.name).map(word),
        asked: show::when(r.at),
        status: status(r.phase(now)),
        became,
        message,
        grant,
        cancel: (pending && asks).then(|| format!("/console/o/{provider}/asking/{id}/cancel")),
    }
}

// -- taking back ----------------------------------------------------------------------------------

fn own(state: &World, provider: OrganisationId, id: RequestId) -> Result<&Request, Wrong> {
    let found = state.requests.get(id).filter(|r| r.provider.organisation == provider);
    found.filter(|r| r.direction == Direction::PartnerRequest).ok_or_else(Wrong::not_found)
}

/// The dialog.
pub async fn cancel_page(
    State(console): State<Console>,
    who: Visitor,
    At((provider, id)): At<(OrganisationId, RequestId)>,
) -> Result<Response, Wrong> {
    let title = "Take the request back?";
    let read = partner(&console, &who, provider, Action::CancelRequest, Section::Asking, title)?;
    let (state, now, shell) = read;
    let request = own(&state, provider, id)?;
    let back = format!("/console/o/{provider}/asking");
    if request.phase(now) != RequestPhase::Pending {
        let refusal = Refusal::WrongState(request.phase(now).code());
        return no_dialog(shell, "It was decided already", &refusal, &back);
    }
    let dialog = Dialog {
        shell,
        title: title.into(),
        banner: None,
        will: vec![
            format!("You asked: {}", state.words.show(request.reason)),
            "The customer is told that you took it back. You can ask again, but not over and over."
                .into(),
        ],
        hidden: Vec::new(),
        fields: Vec::new(),
        to: format!("{back}/{id}/cancel"),
        button: "Take it back",
        tone: "danger",
        back,
    };
    Ok(dialog.page()?.into_response())
}

/// Takes a request back.
pub async fn cancel(
    State(console): State<Console>,
    At((provider, id)): At<(OrganisationId, RequestId)>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let title = "Take the request back?";
    {
        let asked = Action::CancelRequest;
        let read = partner(&console, &who, provider, asked, Section::Asking, title)?;
        own(&read.0, provider, id)?;
    }
    let back = format!("/console/o/{provider}/asking");
    match who.run(&console.app, Command::CancelRequest { request: id }).await {
        Ok(_) => Ok(shell::done(&back, "Taken back. The customer no longer sees it waiting.")),
        Err(Wrong::Refused(refusal @ Refusal::WrongState(_))) => {
            let asked = Action::CancelRequest;
            let (_, _, shell) = partner(&console, &who, provider, asked, Section::Asking, title)?;
            no_dialog(shell, "It was decided already", &refusal, &back)
        }
        Err(no) => Err(no),
    }
}
