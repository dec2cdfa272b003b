//! What happened, for whoever reads in an organisation: newest first, what is new marked.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, Response};
use comity_app::Failure;
use comity_app::notices::{Mark, Shown, Wanted};
use comity_domain::ids::OrganisationId;
use comity_domain::may::{self, Action, Thing};
use serde::Deserialize;

use crate::at::{Asked, At};
use crate::parts::{Empty, Pager, empty};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::show::{self, When};
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// How many a page has.
const A_PAGE: usize = 30;

struct Line {
    at: When,
    sentence: String,
    to: Option<String>,
    new: bool,
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct Page {
    shell: Shell,
    lines: Vec<Line>,
    /// The row of the newest one shown, if anything is new.
    newest: Option<u64>,
    empty: Empty,
    pager: Pager,
    here: OrganisationId,
}

/// Where to go on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The last one shown: its row and its place there, as `12-0`.
    below: Option<String>,
}

/// The page.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(which): Asked<Which>,
) -> Result<Html<String>, Wrong> {
    let (app, state) = (console.app.clone(), console.app.state());
    let shell = Shell::of(&state, &who, id, Section::Inbox, "Inbox")?;
    may::check(&state, &who.caller, Action::ReadNotices, Thing::organisation(id), app.now())?;
    let below = which.below.as_deref().map(place).transpose()?;
    let person = who.person;
    let wanted = Wanted { below, unread_only: false, limit: A_PAGE + 1 };
    // Not on an async thread: on PostgreSQL this waits for the network.
    let read = tokio::task::spawn_blocking(move || app.notices(id, person, wanted)).await;
    let mut found = read.map_err(|e| Failure::Broken(e.to_string()))??;
    let more = found.len() > A_PAGE;
    found.truncate(A_PAGE);
    let own = format!("/console/o/{id}/inbox");
    let last = found.last().map(|n| format!("{own}?below={}-{}", n.seq, n.index));
    let new = shell.unread > 0 || found.iter().any(|n| !n.read);
    let page = Page {
        shell,
        newest: found.first().filter(|_| new && below.is_none()).map(|n| n.seq),
        lines: found.iter().map(|n| line(n, id)).collect(),
        empty: empty("Nothing yet", "When a partner asks, is let in, or leaves, it stands here."),
        pager: Pager { first: below.map(|_| own), next: last.filter(|_| more) },
        here: id,
    };
    Ok(Html(page.render()?))
}

fn place(text: &str) -> Result<(u64, u32), Wrong> {
    let (seq, index) = text.split_once('-').ok_or_else(Wrong::not_found)?;
    let read = seq.parse().ok().zip(index.parse().ok());
    read.ok_or_else(Wrong::not_found)
}

fn line(notice: &Shown, organisation: OrganisationId) -> Line {
    Line {
        at: show::when(notice.at),
        sentence: notice.sentence.clone(),
        to: notice.object.map(|o| o.path(organisation, notice.side)),
        new: !notice.read,
    }
}

/// What was read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    up_to: u64,
}

/// Marks everything up to a row as read.
pub async fn read(
    State(console): State<Console>,
    At(id): At<OrganisationId>,
    Sent { who, form }: Sent<Read>,
) -> Result<Response, Wrong> {
    let (app, state) = (console.app.clone(), console.app.state());
    may::check(&state, &who.caller, Action::ReadNotices, Thing::organisation(id), app.now())?;
    let (person, mark) = (who.person, Mark::UpTo(form.up_to));
    let marked = tokio::task::spawn_blocking(move || app.mark_read(id, person, mark)).await;
    marked.map_err(|e| Failure::Broken(e.to_string()))??;
    Ok(shell::done(&format!("/console/o/{id}/inbox"), "Everything is marked as read."))
}
