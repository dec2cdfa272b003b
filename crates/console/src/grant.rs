//! One grant: what it permits, who is on it, who is inside now. And ending it: revoke, end one
//! session, and the customer's word after a restore.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_app::node::Done;
use comity_domain::assignment::{AssignmentState, Basis};
use comity_domain::command::Command;
use comity_domain::event::Event;
use comity_domain::ids::{GrantId, OrganisationId, PersonId, SessionId};
use comity_domain::may::Action;
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::view::{self, Access, Stops};
use serde::Deserialize;

use crate::access::reader;
use crate::active::{Given, accounts, given, name};
use crate::at::{Asked, At};
use crate::dialog::{Dialog, no_dialog};
use crate::parts::{Badge, Tone, badge};
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::show::{self, When, count};
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// So many people are shown; a partner with more is read through the API.
const MOST_PEOPLE: usize = 200;

struct Role {
    name: String,
    code: String,
    version: u32,
    permits: String,
}

struct Person {
    name: String,
    email: String,
    roles: String,
    accounts: String,
    badges: Vec<Badge>,
}

struct Inside {
    name: String,
    mode: Badge,
    reason: Option<String>,
    since: When,
    ends: String,
    calls: u64,
    /// Its page.
    to: String,
    /// Where it is ended.
    end: String,
    /// Where the person is locked out.
    lock: String,
}

#[derive(Template)]
#[template(path = "grant.html")]
struct Page {
    shell: Shell,
    org: OrganisationId,
    grant: Given,
    cap: u32,
    external: bool,
    /// Whether the settings hold that back.
    external_off: bool,
    jwt: bool,
    request: String,
    roles: Vec<Role>,
    people: Vec<Person>,
    more_people: usize,
    inside: Vec<Inside>,
    /// How many on it were the customer's own members.
    replaced: usize,
    decides: bool,
}

/// A grant that this customer made.
pub fn found(
    state: &World,
    customer: OrganisationId,
    id: GrantId,
    now: Instant,
) -> Result<Access<'_>, Wrong> {
    let access = view::access(state, id, now);
    let access = access.filter(|a| a.grant.customer.organisation == customer);
    access.ok_or_else(Wrong::not_found)
}

/// The page of one grant.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, GrantId)>,
) -> Result<Html<String>, Wrong> {
    let (state, now, shell) = reader(&console, &who, customer, Action::ReadGrant, "Access")?;
    let access = found(&state, customer, id, now)?;
    let counts = calls(&console, &state, id, now).await?;
    let g = access.grant;
    let mut people: Vec<PersonId> = state.assigned_to(id).map(|(p, _)| p).collect();
    people.sort();
    let own =
        |p: &&PersonId| state.members.get(&(customer, **p)).is_some_and(|m| m.superseded.is_some());
    let replaced = people.iter().filter(own).count();
    let page = Page {
        org: customer,
        grant: given(&state, &access, now),
        cap: g.cap.0,
        external: g.allow_external,
        external_off: g.allow_external && !g.lets_outsiders_in(&state),
        jwt: g.jwt,
        request: format!("/console/o/{customer}/requests/{}", g.request),
        roles: roles(&state, &access),
        more_people: people.len().saturating_sub(MOST_PEOPLE),
        people: people
            .into_iter()
            .take(MOST_PEOPLE)
            .filter_map(|p| person(&state, id, p, now))
            .collect(),
        inside: inside(&state, &access, &counts, now),
        replaced,
        decides: shell.here.as_ref().is_some_and(|p| p.decides),
        shell,
    };
    Ok(Html(page.render()?))
}

fn roles(state: &World, access: &Access<'_>) -> Vec<Role> {
    let ceiling = state.level(&access.grant.level).map(|l| l.ceiling.clone()).unwrap_or_default();
    let one = |pinned: &comity_domain::role::PinnedRole| {
        let role = state.roles.get(pinned.role)?;
        let permits: Vec<String> = role.pinned(pinned.version).meet(&ceiling).texts().collect();
        Some(Role {
            name: role.name.to_string(),
            code: role.code.to_string(),
            version: pinned.version,
            permits: match (role.deleted, permits.is_empty()) {
                (true, _) => "nothing: the role was deleted".into(),
                (false, true) => "nothing".into(),
                (false, false) => permits.join(", "),
            },
        })
    };
    access.grant.roles.iter().filter_map(one).collect()
}

fn person(state: &World, grant: GrantId, id: PersonId, now: Instant) -> Option<Person> {
    let assigned = state.assignment(grant, id)?;
    let known = state.people.get(id)?;
    let roles = assigned.roles.iter().filter_map(|r| Some(state.roles.get(*r)?.name.to_string()));
    let mut badges = Vec::new();
    if assigned.row.basis == Basis::Invited {
        badges.push(badge(Tone::Primary, "External"));
    }
    if assigned.row.state == AssignmentState::SuspendedNoRoles {
        badges.push(badge(Tone::Warn, "No role left"));
    } else if !state.attends(grant, id, &assigned.row, now) {
        badges.push(badge(Tone::Warn, "No access now"));
    }
    Some(Person {
        name: state.words.show(known.name).to_owned(),
        email: state.words.show(known.email).to_owned(),
        roles: roles.collect::<Vec<_>>().join(", "),
        accounts: match &assigned.accounts {
            Accounts::All => "All that this access holds".into(),
            list => accounts(state, list),
        },
        badges,
    })
}

/// *API Calls* of each session in progress.
async fn calls(
    console: &Console,
    state: &World,
    grant: GrantId,
    now: Instant,
) -> Result<BTreeMap<SessionId, u64>, Wrong> {
    let live = |id: &SessionId| state.sessions.get(*id).is_some_and(|s| s.is_active(now));
    let ids: Vec<SessionId> = state.sessions_under(grant).filter(live).collect();
    let app = console.app.clone();
    // Not on an async thread: on PostgreSQL this waits for the network.
    let reading = tokio::task::spawn_blocking(move || {
        let count = |id| {
            let counts = app.counts(id);
            (id, counts.allowed + counts.refused)
        };
        ids.into_iter().map(count).collect()
    });
    reading.await.map_err(|e| Wrong::Broken(e.to_string()))
}

fn inside(
    state: &World,
    access: &Access<'_>,
    counts: &BTreeMap<SessionId, u64>,
    now: Instant,
) -> Vec<Inside> {
    let customer = access.grant.customer.organisation;
    let live = |id: SessionId| {
        let session = state.sessions.get(id).filter(|s| s.is_active(now))?;
        Some(Inside {
            name: name(state, session.person),
            mode: badge(
                if session.mode == comity_domain::role::Mode::ActAs {
                    Tone::Warn
                } else {
                    Tone::Plain
                },
                show::mode(session.mode),
            ),
            reason: session.reason.map(|w| state.words.show(w).to_owned()),
            since: show::when(session.started),
            ends: show::until(session.deadline, now),
            calls: counts.get(&id).copied().unwrap_or(0),
            to: format!("/console/o/{customer}/sessions/{id}"),
            end: format!("/console/o/{customer}/grants/{}/sessions/{id}/end", access.id),
            lock: format!("/console/o/{customer}/locks/new?person={}", session.person),
        })
    };
    state.sessions_under(access.id).filter_map(live).collect()
}

// -- revoking -------------------------------------------------------------------------------------

/// What an ending would stop, in sentences.
pub fn will_stop(stops: &Stops, whose: &str) -> Vec<String> {
    let n = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
    let sessions = match stops.sessions.len() {
        0 => "Nobody is inside now.".to_owned(),
        len => format!(
            "{} at once, in the middle of whatever is being done.",
            if len == 1 { "1 session ends".into() } else { format!("{len} sessions end") }
        ),
    };
    let people = match stops.people.len() {
        0 => format!("Nobody of {whose} can enter any more."),
        len => format!("{} of {whose} can no longer enter.", count(n(len), "person", "people")),
    };
    let requests = match stops.requests.len() {
        0 => None,
        len => Some(format!(
            "{} of {whose} to you {} cancelled.",
            count(n(len), "pending request", "pending requests"),
            if len == 1 { "is" } else { "are" }
        )),
    };
    [Some(sessions), Some(people), requests].into_iter().flatten().collect()
}

/// What a command has stopped, in half a sentence, read off what it wrote.
pub fn has_stopped(done: &Done) -> String {
    let events = || done.row.iter().flat_map(|r| &r.events);
    let sessions = events().filter(|e| matches!(e.event, Event::SessionEnded { .. })).count();
    let requests = events().filter(|e| matches!(e.event, Event::RequestCancelled { .. })).count();
    let mut said = match sessions {
        0 => "nobody was inside".to_owned(),
        1 => "1 session has ended".to_owned(),
        n => format!("{n} sessions have ended"),
    };
    match requests {
        0 => {}
        1 => said += ", 1 pending request is cancelled",
        n => said += &format!(", {n} pending requests are cancelled"),
    }
    said
}

/// From where one revokes, which is where one is afterwards.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CameFrom {
    from: String,
}

impl CameFrom {
    /// The list that it names; *Active Access* by itself.
    fn list(&self) -> &'static str {
        if self.from == "history" { "history" } else { "active" }
    }
}

/// The dialog.
pub async fn revoke_page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, GrantId)>,
    Asked(from): Asked<CameFrom>,
) -> Result<Response, Wrong> {
    revoke_again(&console, &who, (customer, id), &from, None)
}

fn revoke_again(
    console: &Console,
    who: &Visitor,
    (customer, id): (OrganisationId, GrantId),
    from: &CameFrom,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let (state, now, shell) = reader(console, who, customer, Action::Revoke, "Revoke")?;
    let access = found(&state, customer, id, now)?;
    let partner = given(&state, &access, now).partner;
    let to = format!("/console/o/{customer}/grants/{id}");
    if !access.grant.stands(now) {
        let refusal = Refusal::WrongState(access.phase.code());
        return no_dialog(shell, &format!("{partner} has no access here"), &refusal, &to);
    }
    let mut will = will_stop(&view::stops(&state, &access, now), &partner);
    will.push("It cannot be undone: to let them in again, they have to ask again.".into());
    let dialog = Dialog {
        title: format!("Revoke the access of {partner}?"),
        banner: said_no(no, &[]).0,
        will,
        hidden: vec![("from", from.list().to_owned())],
        fields: Vec::new(),
        back: to.clone(),
        to: format!("{to}/revoke"),
        button: "Revoke",
        tone: "danger",
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or_default();
    Ok((status, dialog.page()?).into_response())
}

/// Revokes.
pub async fn revoke(
    State(console): State<Console>,
    At((customer, id)): At<(OrganisationId, GrantId)>,
    Sent { who, form }: Sent<CameFrom>,
) -> Result<Response, Wrong> {
    let partner = {
        let (state, now, _) = reader(&console, &who, customer, Action::Revoke, "Revoke")?;
        given(&state, &found(&state, customer, id, now)?, now).partner
    };
    let to = format!("/console/o/{customer}/access/{}", form.list());
    match who.run(&console.app, Command::Revoke { grant: id }).await {
        Ok(done) => {
            let stopped = has_stopped(&done);
            Ok(shell::done(&to, &format!("Revoked. {partner} is out: {stopped}.")))
        }
        Err(Wrong::Refused(Refusal::WrongState(_))) => {
            Ok(shell::done(&to, &format!("{partner} is out: this access had ended already.")))
        }
        Err(no) if on_the_form(&no).is_some() => {
            revoke_again(&console, &who, (customer, id), &form, Some(&no))
        }
        Err(no) => Err(no),
    }
}

// -- the customer's word after a restore ----------------------------------------------------------

/// The dialog.
pub async fn confirm_page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, GrantId)>,
) -> Result<Response, Wrong> {
    confirm_again(&console, &who, customer, id, None)
}

fn confirm_again(
    console: &Console,
    who: &Visitor,
    customer: OrganisationId,
    id: GrantId,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let to = format!("/console/o/{customer}/grants/{id}");
    let (state, now, shell) = reader(console, who, customer, Action::Confirm, "Confirm")
        .map_err(|e| e.or_fresh(format!("{to}/confirm")))?;
    let access = found(&state, customer, id, now)?;
    let g = given(&state, &access, now);
    let dialog = Dialog {
        title: format!("Confirm the access of {}?", g.partner),
        banner: said_no(no, &[]).0,
        will: vec![
            "The installation was restored from a copy. Nobody can know whether this access was revoked \
             after the copy was made, so it gives nothing until you say yes again."
                .into(),
            format!("Roles: {}. Accounts: {}.", g.roles, g.accounts),
            format!("It ends on {}, as before.", g.ends_at.shown),
        ],
        hidden: Vec::new(),
        fields: Vec::new(),
        back: to.clone(),
        to: format!("{to}/confirm"),
        button: "Confirm",
        tone: "primary",
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or_default();
    Ok((status, dialog.page()?).into_response())
}

/// Says yes again.
pub async fn confirm(
    State(console): State<Console>,
    At((customer, id)): At<(OrganisationId, GrantId)>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let back = format!("/console/o/{customer}/grants/{id}/confirm");
    let partner = {
        let (state, now, _) = reader(&console, &who, customer, Action::Confirm, "Confirm")
            .map_err(|e| e.or_fresh(&*back))?;
        given(&state, &found(&state, customer, id, now)?, now).partner
    };
    let command = Command::Confirm { customer: Some(customer), grants: [id].into() };
    match who.run(&console.app, command).await {
        Ok(_) => {
            let to = format!("/console/o/{customer}/access/active");
            Ok(shell::done(&to, &format!("Confirmed. {partner} may enter again, as before.")))
        }
        Err(no) if on_the_form(&no).is_some() => {
            confirm_again(&console, &who, customer, id, Some(&no))
        }
        Err(no) => Err(no.or_fresh(back)),
    }
}

// -- ending one session ---------------------------------------------------------------------------

/// The dialog.
pub async fn end_page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id, session)): At<(OrganisationId, GrantId, SessionId)>,
) -> Result<Html<String>, Wrong> {
    let (state, now, shell) = reader(&console, &who, customer, Action::EndSession, "End now")?;
    found(&state, customer, id, now)?;
    let stay = state.sessions.get(session).filter(|s| s.grant == id);
    let who = name(&state, stay.ok_or_else(Wrong::not_found)?.person);
    let to = format!("/console/o/{customer}/grants/{id}");
    Dialog {
        title: format!("End the session of {who} now?"),
        banner: None,
        will: vec![format!(
            "It ends at once, in the middle of whatever is being done. {who} can enter again as long as the \
             access stands; to keep them out, use Report and lock."
        )],
        hidden: Vec::new(),
        fields: Vec::new(),
        to: format!("{to}/sessions/{session}/end"),
        back: to,
        button: "End now",
        tone: "danger",
        shell,
    }
    .page()
}

/// Ends one session.
pub async fn end(
    State(console): State<Console>,
    At((customer, id, session)): At<(OrganisationId, GrantId, SessionId)>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let person = {
        let (state, now, _) = reader(&console, &who, customer, Action::EndSession, "End now")?;
        found(&state, customer, id, now)?;
        let stay = state.sessions.get(session).filter(|s| s.grant == id);
        name(&state, stay.ok_or_else(Wrong::not_found)?.person)
    };
    let to = format!("/console/o/{customer}/grants/{id}");
    match who.run(&console.app, Command::EndSession { session }).await {
        Ok(done) if done.row.is_some() => {
            Ok(shell::done(&to, &format!("Ended. {person} is no longer inside.")))
        }
        Ok(_) | Err(Wrong::Refused(Refusal::WrongState(_))) => {
            Ok(shell::done(&to, &format!("The session of {person} had ended already.")))
        }
        Err(no) => Err(no),
    }
}
