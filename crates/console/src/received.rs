//! *Access received*: what customers let this organisation in to, and which of its people use it.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, Response};
use comity_domain::assignment::AssignmentState;
use comity_domain::grant::Grant;
use comity_domain::ids::{GrantId, OrganisationId, PersonId};
use comity_domain::may::Action;
use comity_domain::offer;
use comity_domain::organisation::Accounts;
use comity_domain::request::RequestPhase;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::view::{self, portal};
use serde::Deserialize;

use crate::active::{accounts, company, word};
use crate::asking::partner;
use crate::at::{Asked, At};
use crate::giving::{Offer, offered};
use crate::parts::{Badge, Empty, Pager, Tone, badge, empty};
use crate::routes::Console;
use crate::shell::{Section, Shell};
use crate::show::{self, When, count};
use crate::visitor::Visitor;
use crate::wrong::Wrong;

/// A grant, for those who were let in.
pub struct Received {
    pub customer: String,
    pub unit: Option<String>,
    pub level: Badge,
    pub badges: Vec<Badge>,
    pub roles: Vec<String>,
    pub accounts: String,
    pub modes: String,
    pub ends: When,
    pub left: String,
    pub stands: bool,
    pub people: String,
    /// Whether none of our people is on it.
    pub nobody: bool,
    pub minutes: u32,
    pub to: String,
}

/// As its receivers see it.
pub fn received(state: &World, id: GrantId, g: &Grant, now: Instant) -> Option<Received> {
    let access = view::access(state, id, now)?;
    let roles = g.roles.iter().filter(|p| state.role_lives(**p));
    let roles = roles.filter_map(|p| Some(state.roles.get(p.role)?.name.to_string()));
    let people = i64::try_from(state.active_on(id, now)).unwrap_or(i64::MAX);
    let provider = g.provider.organisation;
    Some(Received {
        customer: company(state, g.customer.organisation),
        unit: g
            .provider
            .unit
            .and_then(|u| state.units.get(u)?.name)
            .map(|w| state.words.show(w).into()),
        level: show::level(&g.level),
        badges: view::words(state, &access, now).into_iter().map(word).collect(),
        roles: roles.collect(),
        accounts: accounts(state, &g.accounts),
        modes: show::modes(g.modes),
        ends: show::when(g.window.end),
        left: show::until(g.window.end, now),
        stands: g.stands(now),
        people: if people == 0 { "nobody yet".into() } else { count(people, "person", "people") },
        nobody: people == 0,
        minutes: g.cap.0,
        to: format!("/console/o/{provider}/grants-received/{id}"),
    })
}

#[derive(Template)]
#[template(path = "received.html")]
struct ListPage {
    shell: Shell,
    org: OrganisationId,
    past: bool,
    assigns: bool,
    /// What customers offer, and nobody has answered.
    offers: Vec<Offer>,
    lines: Vec<Received>,
    empty: Empty,
    pager: Pager,
}

/// Which of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    past: Option<String>,
    after: Option<GrantId>,
}

/// All that stands, or all that ever was.
pub async fn list(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(which): Asked<Which>,
) -> Result<Html<String>, Wrong> {
    let title = "Access received";
    let read = partner(&console, &who, id, Action::ReadGrant, Section::Received, title)?;
    let (state, now, shell) = read;
    let past = which.past.is_some();
    let own = format!("/console/o/{id}/grants-received?");
    let to = if past { format!("{own}past=yes&") } else { own };
    let all = portal::received(&state, id, past, now);
    let (pager, found) = Pager::of(all, which.after, true, &to);
    let page = ListPage {
        org: id,
        past,
        assigns: shell.here.as_ref().is_some_and(|p| p.decides),
        offers: offer::to(&state, id)
            .rev()
            .filter(|(_, r)| r.phase(now) == RequestPhase::Pending)
            .filter_map(|(r, known)| offered(&state, r, known, now))
            .collect(),
        lines: found.into_iter().filter_map(|(g, known)| received(&state, g, known, now)).collect(),
        empty: empty(
            "No customer lets you in",
            "Ask a customer for access with its Customer ID. Once it says yes, its access stands here, and \
             you choose which of your people use it.",
        ),
        pager,
        shell,
    };
    Ok(Html(page.render()?))
}

/// Somebody on a grant.
struct Person {
    name: String,
    email: String,
    roles: String,
    accounts: String,
    until: Option<When>,
    badges: Vec<Badge>,
    inside: usize,
    to: String,
}

#[derive(Template)]
#[template(path = "received_grant.html")]
struct Page {
    shell: Shell,
    org: OrganisationId,
    grant: Received,
    permits: Vec<(String, String)>,
    people: Vec<Person>,
    assigns: bool,
    /// Whether somebody is left to be put on it.
    more: bool,
}

/// A grant that this organisation received.
pub fn found(state: &World, provider: OrganisationId, id: GrantId) -> Result<&Grant, Wrong> {
    let grant = state.grants.get(id).filter(|g| g.provider.organisation == provider);
    grant.ok_or_else(Wrong::not_found)
}

/// One of them, with who is on it.
pub async fn one(
    State(console): State<Console>,
    who: Visitor,
    At((provider, id)): At<(OrganisationId, GrantId)>,
) -> Result<Html<String>, Wrong> {
    let title = "Access received";
    let read = partner(&console, &who, provider, Action::ReadGrant, Section::Received, title)?;
    let (state, now, shell) = read;
    let known = found(&state, provider, id)?;
    let grant = received(&state, id, known, now).ok_or_else(Wrong::not_found)?;
    let people = portal::assigned(&state, id);
    let page = Page {
        org: provider,
        permits: permits(&state, known),
        people: people.iter().filter_map(|(p, _)| person(&state, id, *p, &grant.to, now)).collect(),
        assigns: grant.stands && shell.here.as_ref().is_some_and(|p| p.decides),
        more: !portal::assignable(&state, id).is_empty(),
        grant,
        shell,
    };
    Ok(Html(page.render()?))
}

/// Each role of the grant by name, with what it permits there.
pub fn permits(state: &World, grant: &Grant) -> Vec<(String, String)> {
    let ceiling = state.level(&grant.level).map(|l| l.ceiling.clone()).unwrap_or_default();
    let one = |pinned: &comity_domain::role::PinnedRole| {
        let role = state.roles.get(pinned.role)?;
        let texts: Vec<String> = role.pinned(pinned.version).meet(&ceiling).texts().collect();
        let text = if texts.is_empty() { "nothing".into() } else { texts.join(", ") };
        Some((role.name.to_string(), text))
    };
    grant.roles.iter().filter_map(one).collect()
}

fn person(state: &World, grant: GrantId, id: PersonId, at: &str, now: Instant) -> Option<Person> {
    let assigned = state.assignment(grant, id)?;
    let known = state.people.get(id)?;
    let roles = assigned.roles.iter().filter_map(|r| Some(state.roles.get(*r)?.name.to_string()));
    let mut badges = Vec::new();
    if assigned.row.state == AssignmentState::SuspendedNoRoles {
        badges.push(badge(Tone::Warn, "No role left"));
    } else if !state.attends(grant, id, &assigned.row, now) {
        badges.push(badge(Tone::Warn, "No access now"));
    }
    let live = |s: &comity_domain::ids::SessionId| {
        state.sessions.get(*s).is_some_and(|s| s.grant == grant && s.is_active(now))
    };
    Some(Person {
        name: state.words.show(known.name).to_owned(),
        email: state.words.show(known.email).to_owned(),
        roles: roles.collect::<Vec<_>>().join(", "),
        accounts: match &assigned.accounts {
            Accounts::All => "All of this access".into(),
            list @ Accounts::List(_) => accounts(state, list),
        },
        until: (assigned.row.ends_at != Instant::NEVER).then(|| show::when(assigned.row.ends_at)),
        badges,
        inside: state.sessions_of(id).filter(live).count(),
        to: format!("{at}/people/{id}"),
    })
}

/// A page where nobody can be put on it any more.
pub fn over(shell: Shell, grant: &Grant, to: &str, now: Instant) -> Result<Response, Wrong> {
    let refusal = comity_domain::refusal::Refusal::WrongState(grant.phase(now).code());
    crate::dialog::no_dialog(shell, "This access is over", &refusal, to)
}
