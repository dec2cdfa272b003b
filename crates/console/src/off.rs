//! Taking somebody off what their organisation was let in to; somebody follows where nobody else
//! would be left.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::{AssignmentSpec, Command};
use comity_domain::ids::{GrantId, OrganisationId, PersonId};
use comity_domain::may::Action;
use comity_domain::refusal::Refusal;
use comity_domain::time::Instant;
use serde::Deserialize;

use crate::active::{company, name};
use crate::asking::partner;
use crate::at::At;
use crate::parts::Banner;
use crate::people::people;
use crate::received::{found, over};
use crate::replaced;
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::terms::{Choice, of_field};
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// Who follows, where nobody else would be left.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Off {
    successor: String,
    /// Of whose replaced membership was warned.
    heard: String,
}

#[derive(Template)]
#[template(path = "unassign.html")]
struct OffPage {
    shell: Shell,
    person: String,
    customer: String,
    banner: Option<Banner>,
    to: String,
    back: String,
    /// Whether they are the last one.
    last: bool,
    inside: usize,
    successors: Vec<Choice>,
    successor_wrong: Option<String>,
    heard: String,
}

/// The dialog.
pub async fn off_page(
    State(console): State<Console>,
    who: Visitor,
    At((provider, id, person)): At<(OrganisationId, GrantId, PersonId)>,
) -> Result<Response, Wrong> {
    off_again(&console, &who, (provider, id, person), &Off::default(), None, None)
}

fn off_again(
    console: &Console,
    who: &Visitor,
    (provider, id, person): (OrganisationId, GrantId, PersonId),
    form: &Off,
    no: Option<&Wrong>,
    warn: Option<(Banner, String)>,
) -> Result<Response, Wrong> {
    let title = "Take off";
    let read = partner(console, who, provider, Action::Unassign, Section::Received, title)?;
    let (state, now, shell) = read;
    let grant = found(&state, provider, id)?;
    let back = format!("/console/o/{provider}/grants-received/{id}");
    if !grant.stands(now) {
        return over(shell, grant, &back, now);
    }
    let row = state.assignment_row(id, person).ok_or_else(Wrong::not_found)?;
    let others = state.assigned_to(id).any(|(p, a)| p != person && state.attends(id, p, a, now));
    let last = grant.phase(now) == comity_domain::grant::GrantPhase::Active
        && state.attends(id, person, row, now)
        && !others;
    let live = |s: &comity_domain::ids::SessionId| {
        state.sessions.get(*s).is_some_and(|s| s.grant == id && s.is_active(now))
    };
    let refusal = no.and_then(Wrong::refusal);
    let successor_wrong = match refusal {
        Some(Refusal::LastUser) => Some("Choose who follows.".to_owned()),
        other => of_field(other, "successor").or_else(|| of_field(other, "person")),
    };
    let page = OffPage {
        person: name(&state, person),
        customer: company(&state, grant.customer.organisation),
        heard: warn.as_ref().map_or_else(|| form.heard.clone(), |(_, heard)| heard.clone()),
        banner: warn.map(|(b, _)| b).or_else(|| said_no(no, &["successor", "person"]).0),
        to: format!("{back}/people/{person}/remove"),
        inside: state.sessions_of(person).filter(live).count(),
        last,
        successors: if last { people(&state, id, &form.successor) } else { Vec::new() },
        successor_wrong,
        back,
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or(StatusCode::OK);
    Ok((status, Html(page.render()?)).into_response())
}

/// Takes somebody off.
pub async fn off(
    State(console): State<Console>,
    At((provider, id, person)): At<(OrganisationId, GrantId, PersonId)>,
    Sent { who, form }: Sent<Off>,
) -> Result<Response, Wrong> {
    let title = "Take off";
    let (command, said) = {
        let read = partner(&console, &who, provider, Action::Unassign, Section::Received, title)?;
        let (state, ..) = read;
        let grant = found(&state, provider, id)?;
        let own = state.assignment(id, person).ok_or_else(Wrong::not_found)?;
        // Who follows gets what they had.
        let follower = match form.successor.trim() {
            "" => None,
            // What names nobody is nobody's choice to let no one follow.
            named => Some(named.parse().map_err(|_| Wrong::not_found())?),
        };
        let warned = follower.and_then(|f| replaced::warning(&state, id, &[f], &form.heard));
        if warned.is_some() {
            return off_again(&console, &who, (provider, id, person), &form, None, warned);
        }
        let successor = follower.map(|successor| AssignmentSpec {
            person: successor,
            roles: own.roles.to_vec(),
            accounts: own.accounts.clone(),
            ends_at: Some(own.row.ends_at).filter(|e| *e != Instant::NEVER),
        });
        let customer = company(&state, grant.customer.organisation);
        let follows = successor.as_ref().map(|s| name(&state, s.person));
        let said = match follows {
            None => format!("{} can no longer go into {customer}.", name(&state, person)),
            Some(follows) => {
                format!("{} can no longer go into {customer}. {follows} can.", name(&state, person))
            }
        };
        (Command::Unassign { grant: id, person, successor }, said)
    };
    match who.run(&console.app, command).await {
        Ok(_) => Ok(shell::done(&format!("/console/o/{provider}/grants-received/{id}"), &said)),
        Err(no) if on_the_form(&no).is_some() => {
            off_again(&console, &who, (provider, id, person), &form, Some(&no), None)
        }
        Err(no) => Err(no),
    }
}
