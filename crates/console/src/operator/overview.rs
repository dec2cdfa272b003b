//! What the operator sees: health, halts, organisations, and the platform's levels and policy.

use std::sync::atomic::Ordering;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use comity_app::clock::boot_millis;
use comity_app::health::Health;
use comity_app::snapshots::Standing as Snapshot;
use comity_domain::halt::HaltTarget;
use comity_domain::ids::OrganisationId;
use comity_domain::organisation::Standing;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use serde::Deserialize;

use super::visit::Operator;
use crate::at::Asked;
use crate::parts::{Badge, Field, Pager, Tone, badge};
use crate::routes::Console;
use crate::show::{self, When};
use crate::sign_in::Around;
use crate::wrong::Wrong;

/// How many organisations a page has.
const A_PAGE: usize = 50;

/// Which organisations.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// A part of the name, the builder's identifier or our own.
    #[serde(default)]
    find: String,
    /// The last one shown.
    after: Option<OrganisationId>,
}

struct Line {
    id: OrganisationId,
    external: String,
    name: String,
    standing: Badge,
    members: usize,
    /// Grants that stand, given and received.
    grants: usize,
    made: When,
    acts: Vec<(&'static str, &'static str)>,
}

struct Halted {
    id: String,
    what: String,
    invariant: u8,
    at: When,
}

struct Level {
    code: String,
    version: u32,
    modes: String,
    days: u32,
    minutes: u32,
}

#[derive(Template)]
#[template(path = "operator.html")]
struct Page {
    around: Around,
    said: Option<String>,
    form_key: String,
    health: Badge,
    /// What it is, and how it stands.
    facts: Vec<(&'static str, String)>,
    halts: Vec<Halted>,
    find: Field,
    lines: Vec<Line>,
    pager: Pager,
    levels: Vec<Level>,
    policy: Vec<(&'static str, String)>,
}

/// The page.
pub async fn page(
    State(console): State<Console>,
    who: Operator,
    Asked(which): Asked<Which>,
) -> Result<Response, Wrong> {
    let (app, state) = (console.app.clone(), console.app.state());
    // Not on an async thread: on PostgreSQL this waits for the network.
    let reading = app.clone();
    let read = tokio::task::spawn_blocking(move || reading.health())
        .await
        .map_err(|e| Wrong::Broken(e.to_string()))??;
    let (health, facts) = health(&console, &state, &read);
    let (lines, next) = organisations(&state, &which, app.now());
    let find = Field::new("find", "Find an organisation").optional().value(which.find.clone());
    let page = Page {
        around: Around::new(),
        said: who.said.clone(),
        form_key: who.form_key.clone(),
        health,
        facts,
        halts: halts(&state),
        find,
        lines,
        pager: Pager {
            first: which.after.map(|_| to(&which.find, None)),
            next: next.map(|after| to(&which.find, Some(after))),
        },
        levels: levels(&state),
        policy: policy(&state),
    };
    who.shows(&app, &page)
}

fn to(find: &str, after: Option<OrganisationId>) -> String {
    let after = after.map(|id| ("after", id.to_string()));
    let all: Vec<_> = [("find", find.to_owned())].into_iter().chain(after).collect();
    let query = serde_html_form::to_string(all).unwrap_or_default();
    format!("/console/operator?{query}")
}

fn health(
    console: &Console,
    state: &World,
    found: &Health,
) -> (Badge, Vec<(&'static str, String)>) {
    let app = &console.app;
    let checker = app.checker().figures();
    let read = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    let (runs, breaches, failures) =
        (read(&checker.runs), read(&checker.breaches), read(&checker.failures));
    let lease = app.node().index().valid_until().saturating_sub(boot_millis()).max(0);
    let health = match (app.breach().is_some(), app.is_ready()) {
        (true, _) => badge(Tone::Bad, "Closed"),
        (false, false) => badge(Tone::Warn, "Not ready"),
        (false, true) if breaches + failures > 0 || !state.halts.is_empty() => {
            badge(Tone::Warn, "Needs a look")
        }
        (false, true) => badge(Tone::Good, "Well"),
    };
    let at = checker.last_run_at.load(Ordering::Relaxed);
    let checked = match runs {
        0 => "Not run yet".to_owned(),
        _ => format!("{} runs, the last {}", runs, show::when(Instant(at)).shown),
    };
    let signed = found.checkpoint.as_ref().map_or_else(
        || "None yet".to_owned(),
        |kept| format!("{} rows, signed {}", kept.size, show::when(kept.at).shown),
    );
    let waits = |waiting: u64, dead: u64, oldest: Option<Instant>| match (waiting, oldest) {
        (0, _) | (_, None) => format!("Nothing waits; {dead} given up"),
        (n, Some(at)) => {
            format!("{n} wait, the oldest since {}; {dead} given up", show::when(at).shown)
        }
    };
    let nodes = match found.nodes {
        None => "This one".to_owned(),
        Some((live, 0)) => format!("{live} current"),
        Some((live, still)) => format!("{live} current, {still} without a sign"),
    };
    let snapshot = match app.snapshots().standing() {
        Snapshot::Confirmed => "Confirmed by the log",
        Snapshot::Unconfirmed => "Not confirmed yet",
        Snapshot::Refuted => "Refuted by the log",
    };
    let facts = vec![
        ("Rows in the log", state.seq.to_string()),
        ("This node is current for", format!("{lease} ms more")),
        ("Nodes", nodes),
        ("Commands that wait", app.node().waiting().to_string()),
        (
            "Webhooks and streams",
            waits(found.outbox.waiting, found.outbox.dead, found.outbox.oldest),
        ),
        ("Mails", waits(found.mails.waiting, found.mails.dead, found.mails.oldest)),
        ("Last checkpoint", signed),
        ("Checker", checked),
        ("Log found right up to row", read(&checker.checked_to).to_string()),
        ("Breaches found", breaches.to_string()),
        ("Checks that could not finish", failures.to_string()),
        ("Snapshot of this start", snapshot.to_owned()),
    ];
    (health, facts)
}

/// What is halted, by its identifier only: the operator reads no tenant's names here (T47).
pub fn target(state: &World, target: HaltTarget) -> String {
    match target {
        HaltTarget::Grant(id) => format!("Grant {id}"),
        HaltTarget::Session(id) => format!("Session {id}"),
        HaltTarget::Person(id) => format!("Person {id}"),
        HaltTarget::Organisation(id) => {
            let name = state.organisations.get(id).map(|o| state.words.show(o.name));
            format!("Organisation {}", name.unwrap_or_default())
        }
        HaltTarget::Key(id) => format!("Key {id}"),
    }
}

fn halts(state: &World) -> Vec<Halted> {
    let shown = state.halts.iter().map(|(id, halt)| Halted {
        id: id.to_string(),
        what: target(state, halt.target),
        invariant: halt.invariant,
        at: show::when(halt.at),
    });
    shown.collect()
}

/// How a standing is shown, and what can be done about it.
pub fn standing(of: Standing) -> Badge {
    match of {
        Standing::Active => badge(Tone::Good, "Active"),
        Standing::Suspended => badge(Tone::Warn, "Suspended"),
        Standing::Closed => badge(Tone::Plain, "Closed"),
    }
}

fn organisations(
    state: &World,
    which: &Which,
    now: Instant,
) -> (Vec<Line>, Option<OrganisationId>) {
    let find = which.find.trim().to_lowercase();
    let fits = |id: OrganisationId, words: [&str; 2]| {
        find.is_empty()
            || words.iter().any(|w| w.to_lowercase().contains(&find))
            || id.to_string() == find
    };
    let mut found = state
        .organisations
        .iter()
        .filter(|(id, _)| which.after.is_none_or(|after| *id > after))
        .filter(|(id, o)| fits(*id, [state.words.show(o.name), state.words.show(o.external)]));
    let lines: Vec<Line> = found
        .by_ref()
        .take(A_PAGE)
        .map(|(id, o)| {
            let grants = state.grants_by(id).chain(state.grants_to(id));
            let stands = |g: &_| state.grants.get(*g).is_some_and(|g| g.stands(now));
            Line {
                id,
                external: state.words.show(o.external).to_owned(),
                name: state.words.show(o.name).to_owned(),
                standing: standing(o.standing),
                members: state.members_of(id).count(),
                grants: grants.filter(stands).count(),
                // An identifier begins with when it was made.
                made: show::when(Instant(i64::try_from(id.0 >> 80).unwrap_or(0))),
                acts: match o.standing {
                    Standing::Active => vec![("suspended", "Suspend"), ("closed", "Close")],
                    Standing::Suspended => vec![("active", "Bring back"), ("closed", "Close")],
                    Standing::Closed => Vec::new(),
                },
            }
        })
        .collect();
    let next = found.next().and_then(|_| lines.last().map(|l| l.id));
    (lines, next)
}

fn levels(state: &World) -> Vec<Level> {
    let newest = state.levels.keys().filter_map(|code| state.newest_level(code));
    newest
        .map(|(pinned, level)| Level {
            code: pinned.code.to_string(),
            version: pinned.version,
            modes: level.modes.iter().map(|m| m.code()).collect::<Vec<_>>().join(", "),
            days: level.longest_grant.0,
            minutes: level.session_cap.0,
        })
        .collect()
}

fn policy(state: &World) -> Vec<(&'static str, String)> {
    let policy = &state.policy;
    let never: Vec<String> = policy.never_delegable.texts().collect();
    let never = if never.is_empty() { "Nothing".to_owned() } else { never.join(", ") };
    vec![
        ("Never given to a partner", never),
        ("Longest session", show::count(policy.session_cap.0.into(), "minute", "minutes")),
        ("Longest grant", show::count(policy.longest_grant.0.into(), "day", "days")),
    ]
}
