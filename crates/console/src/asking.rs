//! *Our requests*: asking a customer for access by its customer ID, what came of it, taking it back.
//!
//! A typing mistake is found by the check symbol: by a small module before anything is sent, and here
//! before anything is looked up. Whatever else is the matter with an ID, the answer is the same (T1).

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::code::{CodeError, CustomerCode};
use comity_domain::command::{Ask, Command};
use comity_domain::grant::DEFAULT_DAYS;
use comity_domain::ids::{OrganisationId, RequestId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::refusal::Refusal;
use comity_domain::request::{Request, RequestCancel, RequestPhase, RequestState};
use comity_domain::role::{Level, Mode};
use comity_domain::state::State as World;
use comity_domain::time::{Days, Instant};
use serde::Deserialize;

use crate::approve::{Choice, lines, modes_of, of_field};
use crate::at::{Asked, At};
use crate::dialog::{Dialog, no_dialog};
use crate::parts::{Badge, Banner, Empty, Field, Pager, Tab, Tabs, Tone, banner, empty};
use crate::request::{on_the_form, said_no, status};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::show::{self, When};
use crate::sign_in::Bare;
use crate::visitor::{Counted, Sent, Visitor};
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
    let wanted = |r: &Request| which.state.is_none_or(|s| r.phase(now) == s);
    let all = state.requests_from(id).rev().filter_map(|r| Some((r, state.requests.get(r)?)));
    let to = match which.state {
        None => format!("{own}?"),
        Some(phase) => format!("{own}?state={}&", phase.code()),
    };
    let (pager, found) = Pager::of(all.filter(|(_, r)| wanted(r)), which.after, &to);
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
        .filter(|r| state.requests.get(*r).is_some_and(|r| r.phase(now) == RequestPhase::Pending));
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

// -- asking ---------------------------------------------------------------------------------------

/// What is asked, as the form holds it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Form {
    customer_id: String,
    level: String,
    modes: Vec<String>,
    days: String,
    roles: String,
    accounts: String,
    unit: String,
    reason: String,
    ticket: String,
}

#[derive(Template)]
#[template(path = "ask.html")]
struct AskPage {
    shell: Shell,
    org: OrganisationId,
    banner: Option<Banner>,
    customer_id: String,
    customer_id_wrong: Option<String>,
    levels: Vec<Choice>,
    level_wrong: Option<String>,
    modes: Vec<Choice>,
    modes_wrong: Option<String>,
    units: Vec<Choice>,
    days: Field,
    roles: Field,
    accounts: Field,
    reason: Field,
    ticket: Field,
}

/// The page.
pub async fn ask_page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
) -> Result<Response, Wrong> {
    let form = Form {
        level: "partner".into(),
        modes: vec![Mode::Direct.code().into()],
        days: DEFAULT_DAYS.0.to_string(),
        ..Form::default()
    };
    ask_again(&console, &who, id, &form, None)
}

/// What is wrong with a code, before anything is looked up.
fn mistyped(error: CodeError) -> &'static str {
    match error {
        CodeError::Shape => {
            "must be 22 letters and digits, such as 7K2MQ-4VXN0-8R3TD-W5YHC-1B; hyphens do not count"
        }
        CodeError::Check => {
            "has a typing mistake: compare it letter by letter with what you were given"
        }
    }
}

fn ask_again(
    console: &Console,
    who: &Visitor,
    id: OrganisationId,
    form: &Form,
    no: Option<&Refusal>,
) -> Result<Response, Wrong> {
    let read = partner(console, who, id, Action::Ask, Section::Asking, "Ask for access")?;
    let (state, _, shell) = read;
    let wrong = |name: &str| of_field(no, name);
    let field = |name: &'static str, label: &str, value: &str| {
        let wrong = wrong(name).map(|why| (name.to_owned(), why));
        Field::new(name, label).value(value).wrong(wrong.as_ref())
    };
    let fields =
        ["customer_id", "level", "modes", "days", "roles", "accounts", "reason", "ticket", "unit"];
    let known_no = no.cloned().map(Wrong::Refused);
    let unknown = "No customer can be asked with this ID. It may have been replaced or turned off: ask \
                   the customer for the one that it has now.";
    let customer_id_wrong = match no {
        Some(Refusal::NotFound) => Some(unknown.to_owned()),
        Some(Refusal::SameOrganisation) => Some("This is your own Customer ID.".to_owned()),
        _ => wrong("customer_id"),
    };
    let page = AskPage {
        org: id,
        banner: if customer_id_wrong.is_some() {
            Some(banner(Tone::Bad, "Nothing was asked. Look at the Customer ID."))
        } else {
            let general = said_no(known_no.as_ref(), &fields).0;
            general.or_else(|| {
                no.map(|_| banner(Tone::Bad, "Nothing was asked. Look at what is marked."))
            })
        },
        customer_id: form.customer_id.clone(),
        customer_id_wrong,
        levels: levels(&state, form),
        level_wrong: wrong("level"),
        modes: Mode::ALL
            .into_iter()
            .map(|m| mode_choice(m, form.modes.iter().any(|f| f == m.code())))
            .collect(),
        modes_wrong: wrong("modes"),
        units: units(&state, id, form),
        days: field("days", "For how many days", &form.days)
            .kind("number")
            .hint("Counted from the customer's yes."),
        roles: field("roles", "Roles that you need", &form.roles)
            .kind("textarea")
            .most(20_000)
            .optional()
            .hint("Codes of the customer's roles, one a line. Left empty, the customer chooses."),
        accounts: field("accounts", "Accounts that you need", &form.accounts)
            .kind("textarea")
            .most(20_000)
            .optional()
            .hint("The customer's names of its accounts, one a line. Left empty: all of them."),
        reason: field("reason", "Reason", &form.reason)
            .kind("textarea")
            .most(1_000)
            .hint("The customer reads it before it decides."),
        ticket: field("ticket", "Ticket", &form.ticket).optional(),
        shell,
    };
    let status = match no {
        None => StatusCode::OK,
        Some(refusal) => crate::wrong::status(refusal),
    };
    Ok((status, Html(page.render()?)).into_response())
}

fn mode_choice(mode: Mode, on: bool) -> Choice {
    let note = match mode {
        Mode::Direct => "as yourselves, to work",
        Mode::View => "as yourselves, only what reads",
        Mode::ActAs => "impersonation: as the customer itself, with a reason each time",
    };
    Choice { value: mode.code().into(), label: show::mode(mode).into(), note: note.into(), on }
}

/// What a level holds, in words.
fn levels(state: &World, form: &Form) -> Vec<Choice> {
    let holds = |level: &Level| {
        let ceiling: Vec<String> = level.ceiling.texts().collect();
        let what = match ceiling.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["*:*" | "*"] => "whatever the customer's roles permit".to_owned(),
            ["*:read"] => "reading only".to_owned(),
            _ => format!("at most {}", ceiling.join(", ")),
        };
        let most = level.longest_grant.min(state.policy.longest_grant).0;
        format!("{what}; {}; at most {most} days", show::modes(level.modes))
    };
    let one = |code: &std::sync::Arc<str>| {
        let (pinned, level) = state.newest_level(code)?;
        Some(Choice {
            value: code.to_string(),
            label: show::level(&pinned).text,
            note: holds(level),
            on: form.level == **code,
        })
    };
    let mut all: Vec<Choice> = state.levels.keys().filter_map(one).collect();
    // The two that every installation has come first.
    all.sort_by_key(|c| !matches!(c.value.as_str(), "partner" | "referral"));
    all
}

fn units(state: &World, id: OrganisationId, form: &Form) -> Vec<Choice> {
    let one = |unit| {
        let known = state.units.get(unit)?;
        let value = state.words.show(known.external?).to_owned();
        let label = state.words.show(known.name?).to_owned();
        let on = form.unit == value;
        Some(Choice { value, label, note: String::new(), on })
    };
    state.units_of(id).filter(|u| state.unit_is_active(*u)).filter_map(one).collect()
}

impl Form {
    fn read(&self, provider: OrganisationId, code: CustomerCode) -> Result<Ask, Refusal> {
        let days = self.days.trim().parse().map(Days);
        let some = |text: &str| Some(text.trim().to_owned()).filter(|t| !t.is_empty());
        Ok(Ask {
            provider,
            unit: some(&self.unit),
            code: code.digest(),
            level: self.level.clone(),
            modes: modes_of(&self.modes)?,
            days: days.map_err(|_| Refusal::invalid("days", "must be a whole number"))?,
            roles: lines(&self.roles).collect(),
            accounts: lines(&self.accounts).collect(),
            reason: self.reason.clone(),
            ticket: some(&self.ticket),
        })
    }
}

/// Asks.
pub async fn ask(
    State(console): State<Console>,
    At(id): At<OrganisationId>,
    Counted(beside): Counted,
    Sent { who, form }: Sent<Form>,
) -> Result<Response, Wrong> {
    let app = &console.app;
    // Nobody uses up what is another organisation's.
    partner(&console, &who, id, Action::Ask, Section::Asking, "Ask for access")?;
    let code = match CustomerCode::parse(&form.customer_id) {
        Ok(code) => code,
        Err(error) => {
            let refusal = Refusal::invalid("customer_id", mistyped(error));
            return ask_again(&console, &who, id, &form, Some(&refusal));
        }
    };
    let command = match form.read(id, code) {
        Ok(ask) => Command::Ask(ask),
        Err(refusal) => return ask_again(&console, &who, id, &form, Some(&refusal)),
    };
    beside.limits.customer_id(&who.caller, id).await?;
    match who.run(app, command).await {
        Ok(_) => {
            let to = format!("/console/o/{id}/asking");
            Ok(shell::done(&to, "Asked. What the customer says stands here; it has 30 days."))
        }
        Err(Wrong::Refused(no)) if no == Refusal::NotFound => {
            ask_again(&console, &who, id, &form, Some(&no))
        }
        Err(no) if on_the_form(&no).is_some() => ask_again(&console, &who, id, &form, no.refusal()),
        Err(no) => Err(no),
    }
}

// -- taking back ----------------------------------------------------------------------------------

fn own(state: &World, provider: OrganisationId, id: RequestId) -> Result<&Request, Wrong> {
    let found = state.requests.get(id).filter(|r| r.provider.organisation == provider);
    found.ok_or_else(Wrong::not_found)
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
