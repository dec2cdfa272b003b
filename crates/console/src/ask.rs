//! *Ask for access*: a partner asks a customer by its customer ID.
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
use comity_domain::ids::OrganisationId;
use comity_domain::may::Action;
use comity_domain::refusal::Refusal;
use comity_domain::role::{Level, Mode};
use comity_domain::state::State as World;
use comity_domain::time::Days;
use serde::Deserialize;

use crate::asking::partner;
use crate::at::At;
use crate::parts::{Banner, Field, Tone, banner};
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::show;
use crate::terms::{Choice, lines, modes_of, of_field};
use crate::visitor::{Counted, Sent, Visitor};
use crate::wrong::Wrong;

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
pub fn mistyped(error: CodeError) -> &'static str {
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
