//! Who of a partner uses what it was let in to: putting somebody on it, changing what they have there.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::{AssignmentSpec, Command};
use comity_domain::grant::Grant;
use comity_domain::ids::{AccountId, GrantId, OrganisationId, PersonId, RoleId};
use comity_domain::may::Action;
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use comity_domain::time::Instant;
use comity_domain::version::{self, Saw, Seen, Versioned};
use comity_domain::view::portal;
use serde::Deserialize;
use std::collections::BTreeSet;

use crate::active::{company, name};
use crate::asking::partner;
use crate::at::At;
use crate::parts::{Banner, Field, Tone, banner};
use crate::received::{found, over};
use crate::replaced;
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::terms::{Choice, MOST_SHOWN, lines, minute, minute_of, of_field};
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// What somebody is to have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Form {
    person: String,
    roles: Vec<String>,
    /// `all` or `list`.
    which: String,
    accounts: Vec<String>,
    listed: String,
    ends_at: String,
    version: String,
    /// Of whose replaced membership was warned.
    heard: String,
}

#[derive(Template)]
#[template(path = "assign.html")]
struct AssignPage {
    shell: Shell,
    title: String,
    customer: String,
    banner: Option<Banner>,
    to: String,
    back: String,
    version: String,
    heard: String,
    /// Who can be chosen; empty where it is said already who.
    people: Vec<Choice>,
    person_wrong: Option<String>,
    roles: Vec<Choice>,
    roles_wrong: Option<String>,
    may_all: bool,
    all: bool,
    accounts: Vec<Choice>,
    listed: Option<Field>,
    accounts_wrong: Option<String>,
    ends_at: Field,
    button: &'static str,
}

impl Form {
    /// What they have now.
    fn of(state: &World, grant: GrantId, person: PersonId) -> Option<Self> {
        let own = state.assignment(grant, person)?;
        let code = |id: &RoleId| state.roles.get(*id).map(|r| r.code.to_string());
        let external = |id| state.accounts.get(id).map(|a| state.words.show(a.external).to_owned());
        let (which, accounts) = match &own.accounts {
            Accounts::All => ("all", Vec::new()),
            Accounts::List(list) => ("list", list.iter().copied().filter_map(external).collect()),
        };
        let ends = own.row.ends_at;
        Some(Self {
            person: person.to_string(),
            roles: own.roles.iter().filter_map(code).collect(),
            which: which.into(),
            accounts,
            listed: String::new(),
            ends_at: if ends == Instant::NEVER { String::new() } else { minute_of(ends) },
            version: version::tag(state, &Versioned::Assignment(grant, person)).unwrap_or_default(),
            heard: String::new(),
        })
    }

    /// Nobody yet: the only role, if there is but one, and whatever the grant covers.
    fn fresh(state: &World, grant: &Grant) -> Self {
        let live: Vec<_> = grant.roles.iter().filter(|p| state.role_lives(**p)).collect();
        let only = match live.as_slice() {
            [one] => state.roles.get(one.role).map(|r| r.code.to_string()),
            _ => None,
        };
        Self { roles: only.into_iter().collect(), which: "all".into(), ..Self::default() }
    }

    fn spec(
        &self,
        state: &World,
        grant: &Grant,
        person: PersonId,
    ) -> Result<AssignmentSpec, Refusal> {
        let by_code = |code: &String| {
            let has = |r: &RoleId| state.roles.get(*r).is_some_and(|role| *role.code == **code);
            let found = grant.roles.iter().map(|p| p.role).find(has);
            found.ok_or(Refusal::Widening("roles"))
        };
        let accounts = if self.which == "list" {
            let each: BTreeSet<String> =
                self.accounts.iter().cloned().chain(lines(&self.listed)).collect();
            let customer = grant.customer.organisation;
            // One that nobody has is not in the grant either (T12).
            let by_name = |text: &String| {
                let found = state.words.find(Lookup::Account(customer), text);
                found.map_or(AccountId::MAX, AccountId)
            };
            Accounts::List(each.iter().map(by_name).collect())
        } else {
            Accounts::All
        };
        Ok(AssignmentSpec {
            person,
            roles: self.roles.iter().map(by_code).collect::<Result<_, _>>()?,
            accounts,
            ends_at: minute("ends_at", &self.ends_at)?,
        })
    }
}

/// The page for putting somebody on it.
pub async fn add_page(
    State(console): State<Console>,
    who: Visitor,
    At((provider, id)): At<(OrganisationId, GrantId)>,
) -> Result<Response, Wrong> {
    again(&console, &who, (provider, id), None, None, None, None)
}

/// The page for changing what somebody has.
pub async fn change_page(
    State(console): State<Console>,
    who: Visitor,
    At((provider, id, person)): At<(OrganisationId, GrantId, PersonId)>,
) -> Result<Response, Wrong> {
    again(&console, &who, (provider, id), Some(person), None, None, None)
}

fn again(
    console: &Console,
    who: &Visitor,
    (provider, id): (OrganisationId, GrantId),
    person: Option<PersonId>,
    form: Option<Form>,
    no: Option<&Wrong>,
    warn: Option<Banner>,
) -> Result<Response, Wrong> {
    let title = "Who may go in";
    let read = partner(console, who, provider, Action::Assign, Section::Received, title)?;
    let (state, now, shell) = read;
    let grant = found(&state, provider, id)?;
    let back = format!("/console/o/{provider}/grants-received/{id}");
    if !grant.stands(now) {
        return over(shell, grant, &back, now);
    }
    let form = match (form, person) {
        (Some(form), _) => form,
        (None, Some(person)) => Form::of(&state, id, person).ok_or_else(Wrong::not_found)?,
        (None, None) => Form::fresh(&state, grant),
    };
    let refusal = no.and_then(Wrong::refusal);
    let wrong = |field: &str| of_field(refusal, field);
    let (choices, too_many) = accounts(&state, grant, &form);
    let ends_wrong = wrong("ends_at").map(|why| ("ends_at".to_owned(), why));
    let customer = company(&state, grant.customer.organisation);
    let page = AssignPage {
        title: match person {
            Some(person) => format!("What {} may do in {customer}", name(&state, person)),
            None => format!("Let somebody into {customer}"),
        },
        banner: warn.or_else(|| said(no)),
        to: match person {
            Some(person) => format!("{back}/people/{person}"),
            None => format!("{back}/people/new"),
        },
        version: form.version.clone(),
        heard: form.heard.clone(),
        people: if person.is_some() { Vec::new() } else { people(&state, id, &form.person) },
        person_wrong: wrong("person"),
        roles: roles(&state, grant, &form),
        roles_wrong: wrong("roles"),
        may_all: true,
        all: form.which != "list",
        listed: too_many.then(|| {
            let field = Field::new("listed", "Only these accounts").kind("textarea").optional();
            field
                .value(form.listed.clone())
                .hint("Their names with the customer, one a line.")
                .most(20_000)
        }),
        accounts: choices,
        accounts_wrong: wrong("accounts"),
        ends_at: Field::new("ends_at", "Ends earlier, at")
            .kind("datetime-local")
            .optional()
            .value(form.ends_at.clone())
            .hint("In UTC. Left empty, it ends with the access.")
            .wrong(ends_wrong.as_ref()),
        button: if person.is_some() { "Save" } else { "Let in" },
        customer,
        back,
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or(StatusCode::OK);
    Ok((status, Html(page.render()?)).into_response())
}

/// What was wrong as a whole; what is wrong with a field stands there.
fn said(no: Option<&Wrong>) -> Option<Banner> {
    match no.and_then(Wrong::refusal) {
        Some(Refusal::VersionConflict | Refusal::VersionNeeded) => Some(banner(
            Tone::Warn,
            "Nothing was saved: somebody else changed it since you looked. Open it again to see how it is now.",
        )),
        Some(Refusal::Widening(_)) => {
            Some(banner(Tone::Bad, "Nothing was saved. Look at what is marked."))
        }
        _ => said_no(no, &["person", "roles", "accounts", "ends_at"]).0,
    }
}

pub fn people(state: &World, grant: GrantId, chosen: &str) -> Vec<Choice> {
    let one = |id: PersonId| {
        let known = state.people.get(id)?;
        Some(Choice {
            value: id.to_string(),
            label: state.words.show(known.name).to_owned(),
            note: state.words.show(known.email).to_owned(),
            on: chosen == id.to_string(),
        })
    };
    portal::assignable(state, grant).into_iter().filter_map(one).collect()
}

fn roles(state: &World, grant: &Grant, form: &Form) -> Vec<Choice> {
    let permits = crate::received::permits(state, grant);
    let one = |(pinned, (label, note)): (&comity_domain::role::PinnedRole, (String, String))| {
        let role = state.roles.get(pinned.role).filter(|r| !r.deleted)?;
        let value = role.code.to_string();
        let on = form.roles.contains(&value);
        Some(Choice { value, label, note, on })
    };
    grant.roles.iter().zip(permits).filter_map(one).collect()
}

/// The accounts that can be given one by one, and whether there are too many to show. Where all are
/// given, the customer's list is its own affair: its names are typed.
fn accounts(state: &World, grant: &Grant, form: &Form) -> (Vec<Choice>, bool) {
    let Accounts::List(list) = &grant.accounts else {
        let own: Vec<_> =
            form.accounts.iter().cloned().map(|value| chosen(state, grant, value)).collect();
        return (own.into_iter().flatten().collect(), true);
    };
    if list.len() > MOST_SHOWN {
        return (Vec::new(), true);
    }
    let one = |id: &AccountId| {
        let known = state.accounts.get(*id)?;
        let value = state.words.show(known.external).to_owned();
        Some(Choice {
            label: state.words.show(known.name).to_owned(),
            note: value.clone(),
            on: form.accounts.contains(&value),
            value,
        })
    };
    (list.iter().filter_map(one).collect(), false)
}

fn chosen(state: &World, grant: &Grant, value: String) -> Option<Choice> {
    let found = state.words.find(Lookup::Account(grant.customer.organisation), &value)?;
    let known = state.accounts.get(AccountId(found))?;
    // What another unit of the customer has is not there (T12).
    if !grant.customer.includes(known.organisation, known.unit) {
        return None;
    }
    let label = state.words.show(known.name).to_owned();
    Some(Choice { label, note: value.clone(), value, on: true })
}

/// Puts somebody on it.
pub async fn add(
    State(console): State<Console>,
    At((provider, id)): At<(OrganisationId, GrantId)>,
    Sent { who, form }: Sent<Form>,
) -> Result<Response, Wrong> {
    save(&console, &who, (provider, id), None, form).await
}

/// Changes what somebody has.
pub async fn change(
    State(console): State<Console>,
    At((provider, id, person)): At<(OrganisationId, GrantId, PersonId)>,
    Sent { who, form }: Sent<Form>,
) -> Result<Response, Wrong> {
    save(&console, &who, (provider, id), Some(person), form).await
}

async fn save(
    console: &Console,
    who: &Visitor,
    (provider, id): (OrganisationId, GrantId),
    person: Option<PersonId>,
    mut form: Form,
) -> Result<Response, Wrong> {
    let title = "Who may go in";
    let (asked, said) = {
        let read = partner(console, who, provider, Action::Assign, Section::Received, title)?;
        let (state, ..) = read;
        let grant = found(&state, provider, id)?;
        // Whoever is not on it is not there, whatever the rest of the form says (T12).
        if person.is_some_and(|person| state.assignment_row(id, person).is_none()) {
            return Err(Wrong::not_found());
        }
        let unnamed = || Refusal::invalid("person", "has to be chosen");
        let whom = person.or_else(|| form.person.parse().ok());
        let warned = whom.and_then(|whom| replaced::warning(&state, id, &[whom], &form.heard));
        if let Some((warn, heard)) = warned {
            form.heard = heard;
            return again(console, who, (provider, id), person, Some(form), None, Some(warn));
        }
        let asked = whom.ok_or_else(unnamed).and_then(|whom| {
            let spec = form.spec(&state, grant, whom)?;
            // Whoever has never seen what somebody else gave does not replace it.
            let saw = match person {
                None => Saw::NotSaid,
                Some(_) => Saw::OneOf(vec![form.version.clone()]),
            };
            let seen = Some(Seen { of: Versioned::Assignment(id, whom), saw });
            Ok(comity_domain::command::Asked {
                command: Command::Assign { grant: id, spec },
                once: None,
                seen,
            })
        });
        let called = whom.map(|whom| name(&state, whom)).unwrap_or_default();
        let customer = company(&state, grant.customer.organisation);
        let said = match person {
            None => format!("{called} may go into {customer} from now on."),
            Some(_) => format!("Saved. {called} has in {customer} what you chose, from now on."),
        };
        (asked, said)
    };
    let done = match asked {
        Ok(asked) => who.run(&console.app, asked).await,
        Err(refusal) => Err(refusal.into()),
    };
    match done {
        Ok(_) => Ok(shell::done(&format!("/console/o/{provider}/grants-received/{id}"), &said)),
        Err(no) if on_the_form(&no).is_some() => {
            again(console, who, (provider, id), person, Some(form), Some(&no), None)
        }
        Err(no) => Err(no),
    }
}
