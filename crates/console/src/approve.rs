//! *Approve*: what may be given, narrowed by who gives it, read in plain words, and given exactly so.
//!
//! The form is sent twice: to be shown what it gives (GET), and to give it (POST), with the hash of
//! what was shown. What was not shown as it stands now is not given, but shown anew (R9, T4).

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::consent::{self, Summary};
use comity_domain::event::Event;
use comity_domain::ids::{Digest32, OrganisationId, RequestId};
use comity_domain::may::Action;
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use comity_domain::request::{self, Request, RequestState};
use comity_domain::state::State as World;
use comity_domain::time::Instant;

use crate::access::reader;
use crate::at::{Asked, At};
use crate::dialog::no_dialog;
use crate::parts::{Banner, Tone, banner};
use crate::request::{Asks, asks, found, on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::show;
use crate::terms::{self, Frame, Given, Shown, TermsForm};
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

#[derive(Template)]
#[template(path = "approve.html")]
struct Page {
    shell: Shell,
    asks: Asks,
    banner: Option<Banner>,
    terms: TermsForm,
    shown: Shown,
}

/// What was asked, as the first page holds it.
fn as_asked(state: &World, request: &Request) -> Result<Given, Refusal> {
    let code = |id| state.roles.get(id).map(|r| r.code.to_string());
    let external = |id| state.accounts.get(id).map(|a| state.words.show(a.external).to_owned());
    let (all, accounts) = match consent::asked_accounts(state, request) {
        Ok(Accounts::All) => (true, Vec::new()),
        Ok(Accounts::List(list)) => (false, list.into_iter().filter_map(external).collect()),
        Err(_) => (false, Vec::new()),
    };
    let level = state.level(&request.level).ok_or(Refusal::NotFound)?;
    let limits = consent::limits(state, request)?;
    let modes = request.modes.iter().filter(|m| level.modes.contains(*m));
    Ok(Given {
        chosen: "yes".into(),
        roles: consent::wished_roles(state, request).filter_map(code).collect(),
        which: if all { "all" } else { "list" }.into(),
        accounts,
        modes: modes.map(|m| m.code().to_owned()).collect(),
        days: request.days.min(limits.days).0.to_string(),
        session_minutes: limits.cap.0.to_string(),
        ..Given::default()
    })
}

fn summarise(
    state: &World,
    id: RequestId,
    request: &Request,
    given: &Given,
    now: Instant,
) -> Result<Summary, Refusal> {
    let terms = given.named()?.resolve(state, request)?;
    consent::summarise(state, id, request, &terms, now)
}

/// The dialog; with terms, what they would give.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, RequestId)>,
    Asked(given): Asked<Given>,
) -> Result<Response, Wrong> {
    let again = Given { summary: String::new(), was: String::new(), ..given };
    answer(&console, &who, customer, id, again, None)
}

fn address(customer: OrganisationId, id: RequestId) -> String {
    format!("/console/o/{customer}/requests/{id}/approve")
}

/// The dialog with these terms, and why they were not given.
fn answer(
    console: &Console,
    who: &Visitor,
    customer: OrganisationId,
    id: RequestId,
    given: Given,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    // Reading first: whoever may not approve here at all learns nothing from what follows.
    let (state, now, shell) = reader(console, who, customer, Action::Deny, "Approve")?;
    let request = found(&state, customer, id)?;
    let asks = asks(&state, id, request, now);
    if let Err(refusal) = request::may_approve(&state, &who.caller, id, now) {
        let back = if given.chosen.is_empty() {
            address(customer, id)
        } else {
            format!("{}?{}", address(customer, id), given.query())
        };
        return match Wrong::from(refusal).or_fresh(back) {
            Wrong::Refused(refusal) => {
                let title = format!("{} cannot be let in by you now", asks.company);
                no_dialog(shell, &title, &refusal, &asks.to)
            }
            other => Err(other),
        };
    }
    let first = given.chosen.is_empty();
    let given = if first { as_asked(&state, request)? } else { given };
    let summary = summarise(&state, id, request, &given, now);
    // Asking what terms would give is answered, whatever the answer; sending wrong ones is refused.
    let status = no.and_then(on_the_form).unwrap_or_default();
    let page = filled(&state, shell, asks, request, &given, (first, summary), no)?;
    Ok((status, Html(page.render()?)).into_response())
}

fn filled(
    state: &World,
    shell: Shell,
    asks: Asks,
    request: &Request,
    given: &Given,
    (first, summary): (bool, Result<Summary, Refusal>),
    no: Option<&Wrong>,
) -> Result<Page, Wrong> {
    let stale = no.and_then(Wrong::refusal) == Some(&Refusal::StaleSummary);
    let was = if stale { &*given.was } else { "" };
    // Nothing was wrong yet when nothing was chosen yet.
    let refusal = summary.as_ref().err().filter(|_| !first);
    let frame = Frame::of_request(state, request)?;
    Ok(Page {
        banner: stale_or(no, stale),
        terms: terms::form(state, &frame, given, refusal),
        shown: match &summary {
            Ok(summary) => terms::shown(state, summary, was, "This is what you give"),
            Err(refusal) => terms::not_yet(refusal, first),
        },
        shell,
        asks,
    })
}

/// Why nothing was given, where no field says it.
pub fn stale_or(no: Option<&Wrong>, stale: bool) -> Option<Banner> {
    if stale {
        return Some(banner(
            Tone::Warn,
            "Nothing was given: what you were shown is not what would be given now. Read it again \
             below; what is different is marked.",
        ));
    }
    // What is wrong with a field stands at the field.
    said_no(no, &["roles", "accounts", "modes", "days", "starts_at", "session_minutes", "unit"]).0
}

/// Approves what was shown.
pub async fn approve(
    State(console): State<Console>,
    At((customer, id)): At<(OrganisationId, RequestId)>,
    Sent { who, form: given }: Sent<Given>,
) -> Result<Response, Wrong> {
    let app = &console.app;
    let (command, company) = {
        let (state, now, _) = reader(&console, &who, customer, Action::Deny, "Approve")?;
        let request = found(&state, customer, id)?;
        let company = state.words.show(request.who.2).to_owned();
        if let Some(sentence) = approved_so(&state, request, &who, &given) {
            return Ok(shell::done(&active(customer), &sentence));
        }
        if request::may_approve(&state, &who.caller, id, now).is_err() {
            return answer(&console, &who, customer, id, given, None);
        }
        let terms = given.named().and_then(|named| named.resolve(&state, request));
        // What is not shown as a hash was not shown: it is as good as another one.
        let summary = given.summary.parse().unwrap_or(Digest32::of(b"nothing was shown"));
        let command = terms.map(|terms| Command::Approve { request: id, terms, summary });
        (command, company)
    };
    let done = match command {
        Ok(command) => who.run(app, command).await,
        Err(refusal) => Err(refusal.into()),
    };
    match done {
        Ok(done) => {
            let made = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
                Event::GrantMade { grant, .. } => done.state.grants.get(grant),
                _ => None,
            });
            let until = made.map(|g| show::when(g.window.end).shown).unwrap_or_default();
            let from = made.filter(|g| g.window.start > done.state.at);
            let from = from.map(|g| format!("from {} ", show::when(g.window.start).shown));
            let from = from.unwrap_or_default();
            let sentence = format!("Approved. People of {company} may enter {from}until {until}.");
            Ok(shell::done(&active(customer), &sentence))
        }
        // Sent twice: the first one did it.
        Err(no) => {
            match approved_so(&app.state(), found(&app.state(), customer, id)?, &who, &given) {
                Some(sentence) => Ok(shell::done(&active(customer), &sentence)),
                None if on_the_form(&no).is_some() => {
                    answer(&console, &who, customer, id, given, Some(&no))
                }
                None => Err(no.or_fresh(format!("{}?{}", address(customer, id), given.query()))),
            }
        }
    }
}

fn active(customer: OrganisationId) -> String {
    format!("/console/o/{customer}/access/active")
}

/// Whether this very person has given exactly this already.
fn approved_so(state: &World, request: &Request, who: &Visitor, given: &Given) -> Option<String> {
    let RequestState::Approved { by, grant, .. } = request.state else { return None };
    let grant = state.grants.get(grant)?;
    let company = state.words.show(request.who.2);
    (by == Some(who.person) && grant.summary.to_string() == given.summary)
        .then(|| format!("You have approved {company} already, with exactly these terms."))
}
