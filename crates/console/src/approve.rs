//! *Approve*: what may be given, narrowed by who gives it, read in plain words, and given exactly so.
//!
//! The form is sent twice: to be shown what it gives (GET), and to give it (POST), with the hash of
//! what was shown. What was not shown as it stands now is not given, but shown anew (R9, T4).

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::consent::{self, NamedAccounts, NamedTerms, Summary};
use comity_domain::event::Event;
use comity_domain::ids::{Digest32, OrganisationId, RequestId};
use comity_domain::may::Action;
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use comity_domain::request::{self, Request, RequestState};
use comity_domain::role::{Mode, Modes};
use comity_domain::state::State as World;
use comity_domain::time::{Days, Instant, Minutes};
use serde::{Deserialize, Serialize};

use crate::access::reader;
use crate::at::{Asked, At};
use crate::dialog::no_dialog;
use crate::parts::{Banner, Field, Tone, banner};
use crate::request::{Asks, asks, found, on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::show;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// So many accounts are shown one by one; where there are more, they are named.
pub const MOST_SHOWN: usize = 100;

/// What an approver chose, as the form sends it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    /// Set once the form was filled in: before, everything is as asked.
    chosen: String,
    roles: Vec<String>,
    /// `all` or `list`.
    which: String,
    accounts: Vec<String>,
    /// Identifiers, one a line, where there are too many to show.
    listed: String,
    unit: String,
    modes: Vec<String>,
    days: String,
    starts_at: String,
    session_minutes: String,
    allow_external: String,
    jwt: String,
    /// The hash of what was shown.
    summary: String,
    /// What was shown, sentence by sentence, to see which of them have changed.
    was: String,
}

/// A box to tick.
#[derive(Debug)]
pub struct Choice {
    pub value: String,
    pub label: String,
    pub note: String,
    pub on: bool,
}

/// What would be given, in words.
struct Shown {
    hash: Digest32,
    /// Each with whether it is another one than before.
    sentences: Vec<(String, bool)>,
    never: String,
    was: String,
}

#[derive(Template)]
#[template(path = "approve.html")]
struct Page {
    shell: Shell,
    asks: Asks,
    banner: Option<Banner>,
    roles: Vec<Choice>,
    unknown_roles: Vec<String>,
    roles_wrong: Option<String>,
    may_all: bool,
    all: bool,
    accounts: Vec<Choice>,
    listed: Option<Field>,
    unknown_accounts: Vec<String>,
    accounts_wrong: Option<String>,
    units: Vec<Choice>,
    modes: Vec<Choice>,
    modes_wrong: Option<String>,
    days: Field,
    starts_at: Field,
    minutes: Field,
    external: bool,
    /// Whether the settings let that be chosen.
    may_external: bool,
    external_wrong: Option<String>,
    jwt: bool,
    /// Whether something of what is seldom chosen is chosen, or wrong.
    seldom: bool,
    shown: Option<Shown>,
    /// Why there is nothing to approve yet.
    not_yet: Option<String>,
}

fn number(field: &'static str, text: &str) -> Result<Option<u32>, Refusal> {
    match text.trim() {
        "" => Ok(None),
        text => {
            text.parse().map(Some).map_err(|_| Refusal::invalid(field, "must be a whole number"))
        }
    }
}

/// Reads what a field of kind `datetime-local` sends, as UTC.
pub fn minute(field: &'static str, text: &str) -> Result<Option<Instant>, Refusal> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let read: Result<jiff::civil::DateTime, _> = text.trim().parse();
    let at = read.ok().and_then(|t| t.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let at = at.map(|t| Instant(t.timestamp().as_millisecond()));
    at.map(Some).ok_or_else(|| Refusal::invalid(field, "must be a date and time"))
}

/// An instant as such a field holds it.
pub fn minute_of(at: Instant) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0);
    at.map(|t| t.strftime("%Y-%m-%dT%H:%M").to_string()).unwrap_or_default()
}

/// Reads ticked modes.
pub fn modes_of(ticked: &[String]) -> Result<Modes, Refusal> {
    let one = |text: &String| {
        let mode = Mode::ALL.into_iter().find(|m| m.code() == text);
        mode.ok_or_else(|| Refusal::invalid("modes", "holds a mode that there is not"))
    };
    ticked.iter().map(one).collect()
}

/// One identifier a line.
pub fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty())
}

impl Given {
    /// What was asked, as the first page holds it.
    fn as_asked(state: &World, request: &Request) -> Result<Self, Refusal> {
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
        Ok(Self {
            chosen: "yes".into(),
            roles: consent::wished_roles(state, request).filter_map(code).collect(),
            which: if all { "all" } else { "list" }.into(),
            accounts,
            modes: modes.map(|m| m.code().to_owned()).collect(),
            days: request.days.min(limits.days).0.to_string(),
            session_minutes: limits.cap.0.to_string(),
            ..Self::default()
        })
    }

    fn named(&self) -> Result<NamedTerms, Refusal> {
        let accounts = if self.which == "all" {
            NamedAccounts::All
        } else {
            let each: BTreeSet<String> =
                self.accounts.iter().cloned().chain(lines(&self.listed)).collect();
            NamedAccounts::List(each.into_iter().collect())
        };
        Ok(NamedTerms {
            roles: Some(self.roles.clone()),
            accounts: Some(accounts),
            unit: Some(self.unit.clone()).filter(|u| !u.is_empty()),
            modes: Some(modes_of(&self.modes)?),
            starts_at: minute("starts_at", &self.starts_at)?,
            // Left empty is no shorter time, but a mistake.
            days: Some(Days(number("days", &self.days)?.unwrap_or(0))),
            cap: number("session_minutes", &self.session_minutes)?.map(Minutes),
            allow_external: !self.allow_external.is_empty(),
            jwt: !self.jwt.is_empty(),
        })
    }

    fn query(&self) -> String {
        serde_html_form::to_string(self).unwrap_or_default()
    }
}

/// A short sign for each sentence.
fn signs(sentences: &[String]) -> Vec<String> {
    let sign = |s: &String| Digest32::of(s.as_bytes()).to_string().chars().take(12).collect();
    sentences.iter().map(sign).collect()
}

fn shown(state: &World, summary: &Summary, was: &str) -> Shown {
    let sentences = summary.sentences(state, |t| show::when(t).shown);
    let signs = signs(&sentences);
    let before: Vec<&str> = was.split('.').filter(|s| !s.is_empty()).collect();
    let changed = |ix: usize| {
        !before.is_empty() && before.get(ix).copied() != signs.get(ix).map(String::as_str)
    };
    Shown {
        hash: summary.hash(),
        was: signs.join("."),
        never: summary.never_delegable.texts().collect::<Vec<_>>().join(", "),
        sentences: sentences.iter().enumerate().map(|(i, s)| (s.clone(), changed(i))).collect(),
    }
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
    let given = if first { Given::as_asked(&state, request)? } else { given };
    let summary = summarise(&state, id, request, &given, now);
    // Asking what terms would give is answered, whatever the answer; sending wrong ones is refused.
    let status = no.and_then(on_the_form).unwrap_or_default();
    let page = filled(&state, shell, asks, request, &given, (first, summary), no)?;
    Ok((status, Html(page.render()?)).into_response())
}

/// How the form names a field.
fn label(field: &str) -> &str {
    match field {
        "roles" => "Roles",
        "accounts" => "Accounts",
        "modes" => "Ways to enter",
        "days" => "For how many days",
        "session_minutes" => "Longest stay",
        "starts_at" => "Starts at",
        "unit" => "Who gives",
        "allow_external" => "People from outside",
        other => other,
    }
}

/// What a field is told of a refusal.
pub fn of_field(refusal: Option<&Refusal>, name: &str) -> Option<String> {
    match refusal? {
        Refusal::Invalid { field, why } if *field == name => Some(format!("It {why}.")),
        Refusal::Widening(field) if *field == name => {
            Some("This is more than may be given here.".into())
        }
        _ => None,
    }
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
    let limits = consent::limits(state, request)?;
    let stale = no.and_then(Wrong::refusal) == Some(&Refusal::StaleSummary);
    let was = if stale { &*given.was } else { "" };
    // Nothing was wrong yet when nothing was chosen yet.
    let refusal = summary.as_ref().err().filter(|_| !first);
    let (roles, unknown_roles) = role_choices(state, request, given);
    let (accounts, unknown_accounts) = account_choices(state, request, given);
    let too_many = request.accounts.is_empty()
        && state.accounts_of(request.customer).nth(MOST_SHOWN).is_some();
    let most = limits.days.min(request.days).0;
    let wrong = |name: &str| of_field(refusal, name).map(|why| (name.to_owned(), why));
    let hint = "In UTC. Left empty, it starts with your yes.";
    let not_yet = match &summary {
        Ok(_) => None,
        Err(_) if first => Some("Choose at least one role and one account.".to_owned()),
        Err(Refusal::Invalid { field, why }) => {
            Some(format!("These terms cannot be given. {}: it {why}.", label(field)))
        }
        Err(Refusal::Widening(field)) => Some(format!(
            "These terms cannot be given. {}: this is more than was asked for.",
            label(field)
        )),
        Err(other) => Some(other.sentence()),
    };
    let listed = Field::new("listed", "Only these accounts")
        .kind("textarea")
        .optional()
        .value(given.listed.clone())
        .hint("Your identifiers of accounts, one a line.")
        .most(20_000);
    Ok(Page {
        banner: stale_or(no, stale),
        roles,
        unknown_roles,
        roles_wrong: of_field(refusal, "roles"),
        may_all: request.accounts.is_empty(),
        all: given.which == "all",
        accounts: if too_many { Vec::new() } else { accounts },
        listed: too_many.then_some(listed),
        unknown_accounts,
        accounts_wrong: of_field(refusal, "accounts"),
        units: unit_choices(state, request, given),
        modes: mode_choices(state, request, given),
        modes_wrong: of_field(refusal, "modes"),
        days: Field::new("days", "For how many days")
            .kind("number")
            .value(given.days.clone())
            .hint(format!("1 to {most}."))
            .wrong(wrong("days").as_ref()),
        starts_at: Field::new("starts_at", "Starts at")
            .kind("datetime-local")
            .optional()
            .value(given.starts_at.clone())
            .hint(hint)
            .wrong(wrong("starts_at").as_ref()),
        minutes: Field::new("session_minutes", "Longest stay, in minutes")
            .kind("number")
            .value(given.session_minutes.clone())
            .hint(format!("5 to {}.", limits.cap.0))
            .wrong(wrong("session_minutes").as_ref()),
        external: !given.allow_external.is_empty(),
        may_external: limits.allow_external,
        external_wrong: of_field(refusal, "allow_external"),
        jwt: !given.jwt.is_empty(),
        seldom: [&given.starts_at, &given.allow_external, &given.jwt]
            .iter()
            .any(|chosen| !chosen.is_empty()),
        shown: summary.ok().map(|s| shown(state, &s, was)),
        not_yet,
        shell,
        asks,
    })
}

fn stale_or(no: Option<&Wrong>, stale: bool) -> Option<Banner> {
    if stale {
        return Some(banner(
            Tone::Warn,
            "Nothing was approved: what you were shown is not what would be given now. Read it again \
             below; what is different is marked.",
        ));
    }
    // What is wrong with a field stands at the field.
    said_no(no, &["roles", "accounts", "modes", "days", "starts_at", "session_minutes", "unit"]).0
}

fn role_choices(state: &World, request: &Request, given: &Given) -> (Vec<Choice>, Vec<String>) {
    let wished: BTreeSet<&str> = request.roles.iter().map(|w| state.words.show(*w)).collect();
    let ceiling = state.level(&request.level).map(|l| l.ceiling.clone()).unwrap_or_default();
    let may = |code: &str| wished.is_empty() || wished.contains(code);
    let choices: Vec<Choice> = state
        .roles_of(request.customer)
        .filter(|(_, r)| may(&r.code))
        .map(|(_, r)| {
            let permits: Vec<String> = r.pinned(r.newest()).meet(&ceiling).texts().collect();
            Choice {
                value: r.code.to_string(),
                label: r.name.to_string(),
                note: if permits.is_empty() {
                    "permits nothing at this level".into()
                } else {
                    permits.join(", ")
                },
                on: given.roles.iter().any(|c| **c == *r.code),
            }
        })
        .collect();
    let unknown = wished.iter().filter(|w| choices.iter().all(|c| c.value != **w));
    let unknown = unknown.map(|w| (*w).to_owned()).collect();
    (choices, unknown)
}

fn account_choices(state: &World, request: &Request, given: &Given) -> (Vec<Choice>, Vec<String>) {
    let wished: BTreeSet<&str> = request.accounts.iter().map(|w| state.words.show(*w)).collect();
    let ids = state.accounts_of(request.customer);
    let known = ids.filter_map(|id| state.accounts.get(id));
    let choices: Vec<Choice> = known
        .map(|a| (state.words.show(a.external), state.words.show(a.name)))
        .filter(|(external, _)| wished.is_empty() || wished.contains(external))
        .take(if wished.is_empty() { MOST_SHOWN } else { usize::MAX })
        .map(|(external, name)| Choice {
            value: external.to_owned(),
            label: name.to_owned(),
            note: if name == external { String::new() } else { external.to_owned() },
            on: given.accounts.iter().any(|a| a == external),
        })
        .collect();
    let unknown = wished.iter().filter(|w| choices.iter().all(|c| c.value != **w));
    let unknown = unknown.map(|w| (*w).to_owned()).collect();
    (choices, unknown)
}

/// The units, where there is more than the default one.
fn unit_choices(state: &World, request: &Request, given: &Given) -> Vec<Choice> {
    let named = state.units_of(request.customer).filter_map(|id| {
        let unit = state.units.get(id)?;
        let external = state.words.show(unit.external?).to_owned();
        let name = unit.name.map_or(external.clone(), |w| state.words.show(w).to_owned());
        Some(Choice {
            on: given.unit == external,
            value: external,
            label: name,
            note: String::new(),
        })
    });
    let mut all: Vec<Choice> = named.collect();
    if !all.is_empty() {
        let whole = Choice {
            value: String::new(),
            label: "The whole organisation".into(),
            note: String::new(),
            on: given.unit.is_empty(),
        };
        all.insert(0, whole);
    }
    all
}

fn mode_choices(state: &World, request: &Request, given: &Given) -> Vec<Choice> {
    let level = state.level(&request.level).map(|l| l.modes).unwrap_or_default();
    let asked = request.modes.iter().filter(|m| level.contains(*m));
    asked.map(|m| mode_choice(m, given.modes.iter().any(|g| g == m.code()))).collect()
}

/// A mode as a box to tick.
pub fn mode_choice(mode: Mode, on: bool) -> Choice {
    let note = match mode {
        Mode::Direct => "as themselves, to work",
        Mode::View => "as themselves, only what reads",
        Mode::ActAs => "impersonation: as your organisation, with a reason each time",
    };
    Choice { value: mode.code().into(), label: show::mode(mode).into(), note: note.into(), on }
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
