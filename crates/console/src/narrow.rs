//! *Narrow*: fewer roles, accounts or ways to enter, an earlier end, shorter stays. At once.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::consent::NamedAccounts;
use comity_domain::event::Event;
use comity_domain::grant::{Grant, Narrowing};
use comity_domain::ids::{GrantId, OrganisationId, RoleId};
use comity_domain::may::Action;
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::time::Minutes;
use serde::Deserialize;

use crate::access::reader;
use crate::active::company;
use crate::at::At;
use crate::dialog::no_dialog;
use crate::grant::{found, has_stopped};
use crate::parts::{Banner, Field, Tone, banner};
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::terms::{Choice, MOST_SHOWN, lines, minute, minute_of, mode_choice, modes_of, of_field};
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// What is to be left.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Left {
    roles: Vec<String>,
    /// `all` or `list`.
    which: String,
    accounts: Vec<String>,
    listed: String,
    modes: Vec<String>,
    ends_at: String,
    session_minutes: String,
    version: String,
}

#[derive(Template)]
#[template(path = "narrow.html")]
struct Page {
    shell: Shell,
    partner: String,
    to: String,
    banner: Option<Banner>,
    version: u32,
    roles: Vec<Choice>,
    roles_wrong: Option<String>,
    may_all: bool,
    all: bool,
    accounts: Vec<Choice>,
    listed: Option<Field>,
    accounts_wrong: Option<String>,
    modes: Vec<Choice>,
    modes_wrong: Option<String>,
    ends_at: Field,
    minutes: Field,
}

impl Left {
    /// As it is.
    fn of(state: &World, grant: &Grant) -> Self {
        let code = |id: RoleId| state.roles.get(id).map(|r| r.code.to_string());
        let external = |id| state.accounts.get(id).map(|a| state.words.show(a.external).to_owned());
        let (which, accounts) = match &grant.accounts {
            Accounts::All => ("all", Vec::new()),
            Accounts::List(list) => ("list", list.iter().copied().filter_map(external).collect()),
        };
        Self {
            roles: grant.roles.iter().filter_map(|p| code(p.role)).collect(),
            which: which.into(),
            accounts,
            listed: String::new(),
            modes: grant.modes.iter().map(|m| m.code().to_owned()).collect(),
            ends_at: minute_of(grant.window.end),
            session_minutes: grant.cap.0.to_string(),
            version: grant.version.to_string(),
        }
    }

    fn narrowing(&self, state: &World, grant: &Grant) -> Result<Narrowing, Refusal> {
        let by_code = |code: &String| {
            let has = |r: &RoleId| state.roles.get(*r).is_some_and(|role| *role.code == **code);
            let found = grant.roles.iter().map(|p| p.role).find(has);
            found.ok_or(Refusal::Widening("roles"))
        };
        let customer = grant.customer.organisation;
        let accounts = if self.which == "all" {
            NamedAccounts::All
        } else {
            let each: BTreeSet<String> =
                self.accounts.iter().cloned().chain(lines(&self.listed)).collect();
            NamedAccounts::List(each.into_iter().collect())
        };
        // The field holds whole minutes: an end that was not touched stays as exact as it is.
        let end = minute("ends_at", &self.ends_at)?;
        let end = end.filter(|_| self.ends_at != minute_of(grant.window.end));
        let cap: Option<u32> = match self.session_minutes.trim() {
            "" => None,
            text => Some(
                text.parse()
                    .map_err(|_| Refusal::invalid("session_minutes", "must be a whole number"))?,
            ),
        };
        Ok(Narrowing {
            roles: Some(self.roles.iter().map(by_code).collect::<Result<_, _>>()?),
            accounts: Some(accounts.resolve(state, customer)?),
            modes: Some(modes_of(&self.modes)?),
            end,
            cap: cap.map(Minutes),
        })
    }
}

/// The dialog.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, GrantId)>,
) -> Result<Response, Wrong> {
    again(&console, &who, customer, id, None, None)
}

fn again(
    console: &Console,
    who: &Visitor,
    customer: OrganisationId,
    id: GrantId,
    left: Option<Left>,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let (state, now, shell) = reader(console, who, customer, Action::Narrow, "Narrow")?;
    let access = found(&state, customer, id, now)?;
    let grant = access.grant;
    let partner = company(&state, grant.provider.organisation);
    let to = format!("/console/o/{customer}/grants/{id}");
    if !grant.stands(now) {
        let refusal = Refusal::WrongState(access.phase.code());
        return no_dialog(shell, &format!("{partner} has no access here"), &refusal, &to);
    }
    let refusal = no.and_then(Wrong::refusal);
    let changed = refusal == Some(&Refusal::VersionConflict);
    let left = left.unwrap_or_else(|| Left::of(&state, grant));
    let wrong = |name: &str| of_field(refusal, name).map(|why| (name.to_owned(), why));
    let (accounts, too_many) = account_choices(&state, grant, &left);
    let fields = ["roles", "accounts", "modes", "ends_at", "session_minutes"];
    let page = Page {
        banner: if changed {
            Some(banner(
                Tone::Warn,
                "Nothing was narrowed: somebody changed this access, or who is on it, since you looked. \
                 Look at it again below, and send it once more.",
            ))
        } else {
            widening_or(no, &fields)
        },
        version: grant.version,
        roles: role_choices(&state, grant, &left),
        roles_wrong: of_field(refusal, "roles"),
        may_all: grant.accounts == Accounts::All,
        all: left.which == "all",
        listed: too_many.then(|| {
            Field::new("listed", "Only these accounts")
                .kind("textarea")
                .optional()
                .value(left.listed.clone())
                .hint("Your identifiers of accounts, one a line.")
                .most(20_000)
        }),
        accounts,
        accounts_wrong: of_field(refusal, "accounts"),
        modes: grant
            .modes
            .iter()
            .map(|m| mode_choice(m, left.modes.iter().any(|l| l == m.code())))
            .collect(),
        modes_wrong: of_field(refusal, "modes"),
        ends_at: Field::new("ends_at", "Ends at")
            .kind("datetime-local")
            .value(left.ends_at)
            .hint("In UTC; never later than now set.")
            .wrong(wrong("ends_at").as_ref()),
        minutes: Field::new("session_minutes", "Longest stay, in minutes")
            .kind("number")
            .value(left.session_minutes)
            .hint(format!("5 to {}, for stays that begin from now on.", grant.cap.0))
            .wrong(wrong("session_minutes").as_ref()),
        shell,
        partner,
        to,
    };
    let status = no.and_then(on_the_form).unwrap_or(StatusCode::OK);
    Ok((status, Html(page.render()?)).into_response())
}

fn widening_or(no: Option<&Wrong>, fields: &[&str]) -> Option<Banner> {
    match no.and_then(Wrong::refusal) {
        Some(Refusal::Widening(field)) if fields.contains(field) => None,
        _ => said_no(no, fields).0,
    }
}

fn role_choices(state: &World, grant: &Grant, left: &Left) -> Vec<Choice> {
    let ceiling = state.level(&grant.level).map(|l| l.ceiling.clone()).unwrap_or_default();
    let one = |pinned: &comity_domain::role::PinnedRole| {
        let role = state.roles.get(pinned.role)?;
        let permits: Vec<String> = role.pinned(pinned.version).meet(&ceiling).texts().collect();
        Some(Choice {
            value: role.code.to_string(),
            label: role.name.to_string(),
            note: permits.join(", "),
            on: left.roles.iter().any(|c| **c == *role.code),
        })
    };
    grant.roles.iter().filter_map(one).collect()
}

/// The accounts that may be kept one by one, and whether there are too many to show.
fn account_choices(state: &World, grant: &Grant, left: &Left) -> (Vec<Choice>, bool) {
    let customer = grant.customer;
    let ids: Vec<_> = match &grant.accounts {
        Accounts::All => state.accounts_of(customer.organisation).collect(),
        Accounts::List(list) => list.iter().copied().collect(),
    };
    let known = ids.into_iter().filter_map(|id| state.accounts.get(id));
    let known: Vec<_> = known.filter(|a| customer.includes(a.organisation, a.unit)).collect();
    if grant.accounts == Accounts::All && known.len() > MOST_SHOWN {
        return (Vec::new(), true);
    }
    let choice = |a: &comity_domain::organisation::Account| {
        let (external, name) = (state.words.show(a.external), state.words.show(a.name));
        Choice {
            value: external.to_owned(),
            label: name.to_owned(),
            note: if name == external { String::new() } else { external.to_owned() },
            on: left.accounts.iter().any(|l| l == external),
        }
    };
    (known.into_iter().map(choice).collect(), false)
}

/// Narrows.
pub async fn narrow(
    State(console): State<Console>,
    At((customer, id)): At<(OrganisationId, GrantId)>,
    Sent { who, form }: Sent<Left>,
) -> Result<Response, Wrong> {
    let (command, partner) = {
        let (state, now, _) = reader(&console, &who, customer, Action::Narrow, "Narrow")?;
        let grant = found(&state, customer, id, now)?.grant;
        let partner = company(&state, grant.provider.organisation);
        let command = form.narrowing(&state, grant).map(|narrowing| Command::Narrow {
            grant: id,
            narrowing,
            // What is no number is no version that anybody saw.
            version: Some(form.version.parse().unwrap_or(0)),
        });
        (command, partner)
    };
    let done = match command {
        Ok(command) => who.run(&console.app, command).await,
        Err(refusal) => Err(refusal.into()),
    };
    let to = format!("/console/o/{customer}/grants/{id}");
    match done {
        Ok(done) if done.row.is_none() => {
            Ok(shell::done(&to, "Nothing was narrowed: it is as it was."))
        }
        Ok(done) => {
            let ended = done.row.iter().flat_map(|r| &r.events);
            let cut = ended.filter(|e| matches!(e.event, Event::SessionEnded { .. })).count() > 0;
            let tail =
                if cut { format!(" {}.", capital(&has_stopped(&done))) } else { String::new() };
            let said = format!("Narrowed. {partner} has only what is left, from now on.{tail}");
            Ok(shell::done(&to, &said))
        }
        Err(no) if on_the_form(&no).is_some() => {
            again(&console, &who, customer, id, Some(form), Some(&no))
        }
        Err(no) => Err(no),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
