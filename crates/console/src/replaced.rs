//! Direct memberships that work for a partner replaces (N9): the warning before somebody is put on
//! an access, and the customer's list of those whom it may take back.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::direct;
use comity_domain::ids::{GrantId, OrganisationId, PersonId};
use comity_domain::may::Action;
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;

use crate::access::reader;
use crate::active::{company, name};
use crate::at::At;
use crate::dialog::Dialog;
use crate::parts::{Banner, Empty, Tone, banner, empty};
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// So many are shown; those come first who were replaced by the oldest access.
const MOST_SHOWN: usize = 100;

/// What has to be said before people are put on an access: whose own membership it would replace.
/// `heard` is what the form says that was said already; the same need not be said twice.
pub fn warning(
    state: &World,
    grant: GrantId,
    people: &[PersonId],
    heard: &str,
) -> Option<(Banner, String)> {
    let known = state.grants.get(grant)?;
    // Of a stranger, whom a form may name as well, nothing is told (T12).
    let provider = known.provider.organisation;
    let ours = people.iter().copied().filter(|p| state.members.contains_key(&(provider, *p)));
    let whom = direct::superseded_by(state, grant, &ours.collect::<Vec<_>>());
    let said = whom.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if whom.is_empty() || said == heard {
        return None;
    }
    let customer = company(state, known.customer.organisation);
    let names: Vec<String> = whom.iter().map(|p| name(state, *p)).collect();
    let text = format!(
        "Not saved yet. A member of {customer} in their own right: {}. That membership is replaced when you save: \
         from then on they go into {customer} only by Switch Tenant, and only {customer} can bring it back. Save \
         again to do so.",
        names.join(", ")
    );
    Some((banner(Tone::Warn, text), said))
}

struct Line {
    name: String,
    email: String,
    partner: String,
    grant: String,
    /// Whether they are still on that access.
    still: bool,
    restore: String,
}

#[derive(Template)]
#[template(path = "replaced.html")]
struct Page {
    shell: Shell,
    back: String,
    lines: Vec<Line>,
    more: usize,
    decides: bool,
    empty: Empty,
}

fn here(customer: OrganisationId) -> String {
    format!("/console/o/{customer}/access/replaced")
}

fn line(
    state: &World,
    customer: OrganisationId,
    (person, grant): (PersonId, GrantId),
) -> Option<Line> {
    let known = state.people.get(person)?;
    let of = state.grants.get(grant);
    Some(Line {
        name: name(state, person),
        email: state.words.show(known.email).to_owned(),
        partner: of.map_or_else(String::new, |g| company(state, g.provider.organisation)),
        grant: of.map_or_else(String::new, |_| format!("/console/o/{customer}/grants/{grant}")),
        still: state.assignment_row(grant, person).is_some(),
        restore: format!("{}/{person}/restore", here(customer)),
    })
}

/// The list.
pub async fn list(
    State(console): State<Console>,
    who: Visitor,
    At(customer): At<OrganisationId>,
) -> Result<Html<String>, Wrong> {
    let title = "Replaced memberships";
    let (state, _, shell) = reader(&console, &who, customer, Action::ReadMembers, title)?;
    let all = direct::replaced(&state, customer);
    let page = Page {
        back: format!("/console/o/{customer}/access/settings"),
        more: all.len().saturating_sub(MOST_SHOWN),
        lines: all
            .into_iter()
            .take(MOST_SHOWN)
            .filter_map(|of| line(&state, customer, of))
            .collect(),
        decides: shell.here.as_ref().is_some_and(|p| p.decides),
        empty: empty(
            "Nobody's membership is replaced.",
            "It is when a member of yours is put on an access that you gave a partner.",
        ),
        shell,
    };
    Ok(Html(page.render()?))
}

/// The member, by the builder's identifier, if the membership is replaced.
fn replaced(state: &World, customer: OrganisationId, person: PersonId) -> Result<String, Wrong> {
    let member = state.members.get(&(customer, person)).filter(|m| m.superseded.is_some());
    Ok(state.words.show(member.ok_or_else(Wrong::not_found)?.external).to_owned())
}

/// The question before.
pub async fn restore_page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, person)): At<(OrganisationId, PersonId)>,
) -> Result<Response, Wrong> {
    again(&console, &who, customer, person, None)
}

fn again(
    console: &Console,
    who: &Visitor,
    customer: OrganisationId,
    person: PersonId,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let to = format!("{}/{person}/restore", here(customer));
    let (state, now, shell) =
        reader(console, who, customer, Action::RestoreMembership, "Restore membership")
            .map_err(|e| e.or_fresh(&*to))?;
    replaced(&state, customer, person)?;
    let named = name(&state, person);
    let ours = state.grants_of(person).filter(|(id, g)| {
        let on = state.assignment_row(*id, person).is_some();
        on && g.customer.organisation == customer && g.stands(now)
    });
    let mut partners: Vec<String> =
        ours.map(|(_, g)| company(&state, g.provider.organisation)).collect();
    partners.sort();
    partners.dedup();
    let mut will = vec![format!("{named} is a member in their own right again, as before.")];
    if !partners.is_empty() {
        will.push(format!(
            "{named} is taken off the access of {} at once, and out of it if inside.",
            partners.join(", ")
        ));
    }
    let dialog = Dialog {
        title: format!("Restore the membership of {named}?"),
        banner: said_no(no, &[]).0,
        will,
        hidden: Vec::new(),
        fields: Vec::new(),
        to,
        back: here(customer),
        button: "Restore",
        tone: "primary",
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or_default();
    Ok((status, dialog.page()?).into_response())
}

/// Restores it.
pub async fn restore(
    State(console): State<Console>,
    At((customer, person)): At<(OrganisationId, PersonId)>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let fresh = |e: Wrong| e.or_fresh(format!("{}/{person}/restore", here(customer)));
    let (external, named) = {
        let (state, ..) =
            reader(&console, &who, customer, Action::RestoreMembership, "").map_err(fresh)?;
        match replaced(&state, customer, person) {
            // Sent twice, or somebody else was quicker.
            Err(Wrong::Refused(Refusal::NotFound)) => {
                return Ok(shell::done(
                    &here(customer),
                    "This membership is not replaced any more.",
                ));
            }
            external => (external?, name(&state, person)),
        }
    };
    let restore = Command::RestoreMembership { organisation: customer, external };
    match who.run(&console.app, restore).await {
        Ok(_) => {
            let said = format!("Restored. {named} is a member in their own right again.");
            Ok(shell::done(&here(customer), &said))
        }
        Err(no) if on_the_form(&no).is_some() => again(&console, &who, customer, person, Some(&no)),
        Err(no) => Err(fresh(no)),
    }
}
