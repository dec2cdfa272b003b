//! *Impersonation History*: who was here, when, for how long and with how many calls; the list by
//! filters and pages, and the same list as a file.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use comity_app::history::export::{self, Export, Format};
use comity_app::history::{Filter, HistorySide, Question, Stay};
use comity_app::{App, Failure};
use comity_domain::command::Caller;
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::role::Mode;
use comity_domain::session::SessionStatus;
use comity_domain::state::State as World;
use comity_domain::text::{ERASED, Lookup};
use comity_domain::time::{DAY, Instant};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::access::{Head, On, Standing, reader, standing};
use crate::at::{Asked, At};
use crate::parts::{Badge, Empty, Field, Pager, Tone, badge, empty};
use crate::routes::Console;
use crate::shell::Shell;
use crate::show::{self, When};
use crate::visitor::{Visitor, blank};
use crate::wrong::Wrong;

/// How many a page has.
const PAGE: usize = 50;
/// How many files are written at once, by all visitors together.
static EXPORTS: Semaphore = Semaphore::const_new(4);
/// How long a reader of a file may take for one piece.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the list is narrowed to, as it stands in the address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Narrowed {
    #[serde(default, deserialize_with = "blank", skip_serializing_if = "Option::is_none")]
    partner: Option<String>,
    #[serde(default, deserialize_with = "blank", skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    #[serde(default, deserialize_with = "blank", skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(default, deserialize_with = "blank", skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(default, deserialize_with = "blank", skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, deserialize_with = "blank", skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, deserialize_with = "blank", skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// The field that is wrong, and why.
type Mistake = (String, String);

impl Narrowed {
    fn query(&self) -> String {
        serde_html_form::to_string(self).unwrap_or_default()
    }

    fn without_cursor(&self) -> Self {
        Self { cursor: None, ..self.clone() }
    }

    fn is_narrow(&self) -> bool {
        !self.without_cursor().query().is_empty()
    }

    /// The filter. A person is found by the address that is theirs now, or by their identifier;
    /// one that nobody has finds nothing.
    fn filter(&self, state: &World) -> Result<Filter, Mistake> {
        let wrong = |field: &str, why: &str| (field.to_owned(), why.to_owned());
        let partner = self.partner.as_deref().map(|p| p.parse::<OrganisationId>());
        let person = self.person.as_deref().map(|typed| {
            let known = typed.parse::<PersonId>().ok();
            let address = typed.to_lowercase();
            known
                .or_else(|| state.words.find(Lookup::Email, &address).map(PersonId))
                .unwrap_or(PersonId::MAX)
        });
        let status = match self.status.as_deref() {
            None => None,
            Some("active") => Some(SessionStatus::Active),
            Some("expired") => Some(SessionStatus::Expired),
            Some("ended") => Some(SessionStatus::Ended),
            Some(_) => return Err(wrong("status", "There is no such status.")),
        };
        let mode = |code: &str| Mode::ALL.into_iter().find(|m| m.code() == code);
        let mode = match self.mode.as_deref() {
            None => None,
            Some(code) => Some(mode(code).ok_or_else(|| wrong("mode", "There is no such mode."))?),
        };
        let day = |field: &str, text: &Option<String>| match text.as_deref().map(midnight) {
            None => Ok(None),
            Some(Some(at)) => Ok(Some(at)),
            Some(None) => Err(wrong(field, "This is not a day, such as 2026-11-23.")),
        };
        Ok(Filter {
            side: HistorySide::Customer,
            other: partner
                .transpose()
                .map_err(|_| wrong("partner", "There is no such partner."))?,
            person,
            since: day("from", &self.from)?,
            until: day("to", &self.to)?.map(|at| at.plus(DAY)),
            mode,
            status,
        })
    }
}

/// When a day begins, in UTC.
fn midnight(text: &str) -> Option<Instant> {
    let day: jiff::civil::Date = text.parse().ok()?;
    let at = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Instant(at.timestamp().as_millisecond()))
}

/// A line of the list.
struct Line {
    name: String,
    email: String,
    company: String,
    started: When,
    duration: String,
    calls: String,
    status: Badge,
    mode: Badge,
    to: String,
}

/// The badge of a status.
pub fn status(status: SessionStatus) -> Badge {
    match status {
        SessionStatus::Active => badge(Tone::Good, "Active"),
        SessionStatus::Expired => badge(Tone::Warn, "Expired"),
        SessionStatus::Ended => badge(Tone::Plain, "Ended"),
    }
}

/// The badge of a mode; acting as the customer stands out.
pub fn mode(code: &str) -> Badge {
    match Mode::ALL.into_iter().find(|m| m.code() == code) {
        Some(Mode::ActAs) => badge(Tone::Primary, show::mode(Mode::ActAs)),
        Some(mode) => badge(Tone::Plain, show::mode(mode)),
        None => badge(Tone::Plain, code),
    }
}

/// How many calls, and whether a crash made it a bound.
pub fn calls(stay: &Stay) -> String {
    let total = stay.calls.total();
    if stay.calls.at_most() { format!("at most {total}") } else { total.to_string() }
}

fn line(state: &World, scope: OrganisationId, stay: &Stay) -> Line {
    let row = &stay.row;
    let company =
        state.organisations.get(row.provider).map(|o| state.words.show(o.name).to_owned());
    Line {
        name: row.name.clone().unwrap_or_else(|| ERASED.into()),
        email: row.email.clone().unwrap_or_else(|| ERASED.into()),
        company: company.unwrap_or_default(),
        started: show::when(row.started),
        duration: show::count(stay.minutes, "minute", "minutes"),
        calls: calls(stay),
        status: status(stay.status),
        mode: mode(&row.mode),
        to: format!("/console/o/{scope}/sessions/{}", row.session),
    }
}

/// A choice of a list.
struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

fn choices(chosen: Option<&str>, all: &[(&str, &str)]) -> Vec<Choice> {
    let choice = |(value, label): &(&str, &str)| Choice {
        value: (*value).to_owned(),
        label: (*label).to_owned(),
        chosen: chosen == Some(*value),
    };
    all.iter().map(choice).collect()
}

/// Every partner that has or had a grant of this customer, by name.
fn partners(state: &World, scope: OrganisationId, chosen: Option<&str>) -> Vec<Choice> {
    let grants = state.grants_by(scope).filter_map(|g| state.grants.get(g));
    let known: BTreeSet<OrganisationId> = grants.map(|g| g.provider.organisation).collect();
    let choice = |id: OrganisationId| {
        let value = id.to_string();
        let label = state.words.show(state.organisations.get(id)?.name).to_owned();
        Some(Choice { chosen: chosen == Some(value.as_str()), value, label })
    };
    let mut all: Vec<Choice> = known.into_iter().filter_map(choice).collect();
    all.sort_by(|a, b| a.label.cmp(&b.label));
    all
}

#[derive(Template)]
#[template(path = "history.html")]
struct Page {
    shell: Shell,
    head: Head,
    at: String,
    query: String,
    narrow: bool,
    partners: Vec<Choice>,
    statuses: Vec<Choice>,
    modes: Vec<Choice>,
    person: Field,
    from: Field,
    to: Field,
    wrong: Option<String>,
    stays: Vec<Line>,
    empty: Empty,
    pager: Pager,
}

/// *Impersonation History*.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(asked): Asked<Narrowed>,
) -> Result<Response, Wrong> {
    reader(&console, &who, id, Action::ReadHistory, "")?;
    let on = standing(&console, &who, id, On::History, "Impersonation History").await?;
    let Standing { state, now, shell, head } = on;
    let (items, next, mistake) = match asked.filter(&state) {
        Err(mistake) => (Vec::new(), None, Some(mistake)),
        Ok(filter) => {
            let question = Question::new(&state, id, filter, now);
            let app = console.app.clone();
            let after = match asked.cursor.as_deref() {
                // A cursor of another list opens nothing (T12).
                Some(cursor) => Some(question.place(&app, cursor).ok_or_else(Wrong::not_found)?),
                None => None,
            };
            let found = blocking(move || question.page(&app, after, PAGE)).await?;
            (found.items, found.next, None)
        }
    };
    let at = format!("/console/o/{id}/access/history");
    let first = asked.without_cursor();
    let next =
        next.map(|c| format!("{at}?{}", Narrowed { cursor: Some(c), ..first.clone() }.query()));
    let field = |name, label: &str, kind, value: &Option<String>| {
        let value = value.clone().unwrap_or_default();
        Field::new(name, label).optional().kind(kind).value(value).wrong(mistake.as_ref())
    };
    let shown = ["person", "from", "to"];
    let narrow = asked.is_narrow();
    let page = Page {
        query: first.query(),
        narrow,
        partners: partners(&state, id, asked.partner.as_deref()),
        statuses: choices(
            asked.status.as_deref(),
            &[("active", "Active"), ("expired", "Expired"), ("ended", "Ended")],
        ),
        modes: choices(asked.mode.as_deref(), &Mode::ALL.map(|m| (m.code(), show::mode(m)))),
        person: field("person", "Person's e-mail", "search", &asked.person),
        from: field("from", "Started from", "date", &asked.from),
        to: field("to", "Started until", "date", &asked.to),
        wrong: mistake
            .as_ref()
            .filter(|(f, _)| !shown.contains(&f.as_str()))
            .map(|(_, why)| why.clone()),
        stays: items.iter().map(|stay| line(&state, id, stay)).collect(),
        empty: if narrow {
            empty("No session fits", "Take a filter away, or look at another stretch of time.")
        } else {
            empty(
                "Nobody has been here",
                "Once a partner's people enter, each of their sessions is listed here.",
            )
        },
        pager: Pager {
            first: asked.cursor.as_ref().map(|_| format!("{at}?{}", first.query())),
            next,
        },
        shell,
        head,
        at,
    };
    let status = if mistake.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok((status, Html(page.render()?)).into_response())
}

/// Reads what is not in memory, away from the async threads.
pub async fn blocking<T: Send + 'static, E: Into<Failure> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Wrong> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|e| Failure::Broken(e.to_string()))?;
    done.map_err(|e| Wrong::from(e.into()))
}

/// The list as comma-separated values.
pub async fn csv(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(asked): Asked<Narrowed>,
) -> Result<Response, Wrong> {
    file(&console, &who, id, &asked, Format::Csv)
}

/// The list as JSON, an object a line.
pub async fn json_lines(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(asked): Asked<Narrowed>,
) -> Result<Response, Wrong> {
    file(&console, &who, id, &asked, Format::JsonLines)
}

fn file(
    console: &Console,
    who: &Visitor,
    id: OrganisationId,
    asked: &Narrowed,
    format: Format,
) -> Result<Response, Wrong> {
    let (state, now, _) = reader(console, who, id, Action::ReadHistory, "")?;
    let filter = asked.filter(&state).map_err(|(_, why)| Wrong::Form(why))?;
    let room = EXPORTS.try_acquire().map_err(|_| Wrong::TooOften { seconds: 10 })?;
    let mut writing = Export::new(Question::new(&state, id, filter, now), format);
    let (sender, receiver) = mpsc::channel::<Result<String, std::io::Error>>(2);
    let (app, caller) = (console.app.clone(), who.caller.clone());
    tokio::spawn(async move {
        let _room = room;
        loop {
            let (reading, caller) = (app.clone(), caller.clone());
            let read = tokio::task::spawn_blocking(move || {
                let piece = still_may(&reading, &caller, id).and_then(|state| {
                    writing
                        .piece(&reading, &state)
                        .map_err(|e| std::io::Error::other(e.to_string()))
                });
                (writing, piece)
            });
            let Ok((on, piece)) = read.await else { return };
            writing = on;
            let (piece, more) = match piece {
                Ok(None) => return,
                Ok(Some(piece)) => (Ok(piece), true),
                // The answer breaks off, and whoever reads it sees that it is not whole.
                Err(error) => (Err(error), false),
            };
            if sender.send_timeout(piece, PATIENCE).await.is_err() || !more {
                return;
            }
        }
    });
    let pieces = tokio_stream::once(Ok(export::head(format).to_owned()))
        .chain(ReceiverStream::new(receiver));
    let (kind, end) = match format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        Format::JsonLines => ("application/jsonl; charset=utf-8", "jsonl"),
    };
    let name = format!("attachment; filename=\"impersonation-history.{end}\"");
    let name = HeaderValue::from_str(&name).map_err(|e| Failure::Broken(e.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// A file takes its time: who was let go meanwhile is told no more.
fn still_may(app: &App, caller: &Caller, id: OrganisationId) -> Result<Arc<World>, std::io::Error> {
    let (state, now) = (app.state(), app.now());
    may::authentic(&state, caller, now)
        .and_then(|()| {
            may::check(&state, caller, Action::ReadHistory, Thing::organisation(id), now)
        })
        .map_err(|refusal| std::io::Error::other(refusal.code()))?;
    Ok(state)
}
