//! Imports: many things put at once, one JSON object a line (`application/x-ndjson`).
//!
//! An import is read while it is sent and never held whole: each line becomes the command of the
//! `PUT` route that it stands for, so every rule, record and audit row is the same. A line that is
//! refused stops no other. Whatever breaks off can be sent again: what stands already is
//! `unchanged`. How far it is and what was refused is kept in the memory of the node that took it.

mod line;
mod run;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::{Extension, Json};
use comity_app::{App, random};
use comity_domain::may::{self, Action, Thing};
use comity_domain::time::Instant;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Path, Query};
use crate::page::{self, Page};
use crate::problem::Problem;
use crate::shown;

pub use line::Line;

/// Where they are sent.
pub const PATH: &str = "/v1/imports";
/// How many run at once in a node.
const MOST_RUNNING: usize = 2;
/// How many a node remembers.
const MOST_KEPT: usize = 16;
/// How many refusals of one are kept; the rest are counted.
const MOST_REFUSALS: usize = 10_000;

/// How an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ImportStanding)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Lines are being read.
    Running,
    /// Every line was read and judged.
    Finished,
    /// It broke off; `stopped` says why. What was done stands.
    Stopped,
}

/// How far an import is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShownImport {
    /// Its name on this node.
    #[schema(example = "imp_9f2c4e6a8b0d1f3a5c7e9b1d3f5a7c9e")]
    pub id: String,
    /// How it stands.
    pub state: Standing,
    /// Why it broke off: a stable code.
    pub stopped: Option<&'static str>,
    /// Lines read, empty ones left out.
    pub lines: u64,
    /// Lines that changed something.
    pub done: u64,
    /// Lines that say what stands already.
    pub unchanged: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// When the first byte was read, as RFC 3339 in UTC.
    pub started_at: String,
    /// When the last line was judged.
    pub ended_at: Option<String>,
}

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RefusedLine {
    /// Which, counted from 1, empty ones too.
    pub line: u64,
    /// Why: a stable code.
    pub code: &'static str,
    /// Which field is wrong.
    pub field: Option<String>,
    /// A sentence for people.
    pub detail: String,
}

/// How many characters of a word or sentence about a line are kept.
const MOST_TOLD: usize = 200;

/// The beginning of a text: a line may name a field as long as itself, and thousands are kept.
fn clipped(text: &str) -> String {
    text.chars().take(MOST_TOLD).collect()
}

#[derive(Debug)]
struct Progress {
    shown: ShownImport,
    refusals: Vec<RefusedLine>,
}

/// An import as long as it is remembered.
#[derive(Debug)]
struct Import {
    id: String,
    progress: Mutex<Progress>,
}

impl Import {
    fn new(at: Instant) -> Self {
        let id = format!("imp_{:032x}", u128::from_be_bytes(random::bytes()));
        let shown = ShownImport {
            id: id.clone(),
            state: Standing::Running,
            stopped: None,
            lines: 0,
            done: 0,
            unchanged: 0,
            refused: 0,
            started_at: shown::time(at),
            ended_at: None,
        };
        Self { id, progress: Mutex::new(Progress { shown, refusals: Vec::new() }) }
    }

    fn note(&self, note: impl FnOnce(&mut ShownImport)) {
        if let Ok(mut progress) = self.progress.lock() {
            note(&mut progress.shown);
        }
    }

    /// Keeps why a line was refused, as long as the list has room. What it names may be as long as
    /// the line was.
    fn refuse(&self, line: u64, problem: &Problem) {
        if let Ok(mut progress) = self.progress.lock() {
            progress.shown.refused += 1;
            if progress.refusals.len() < MOST_REFUSALS {
                progress.refusals.push(RefusedLine {
                    line,
                    code: problem.code(),
                    field: problem.wrong_field().map(clipped),
                    detail: clipped(problem.detail()),
                });
            }
        }
    }

    fn shown(&self) -> Option<ShownImport> {
        self.progress.lock().ok().map(|progress| progress.shown.clone())
    }

    fn is_running(&self) -> bool {
        self.shown().is_some_and(|shown| shown.state == Standing::Running)
    }
}

/// The imports that this node remembers, the newest last.
#[derive(Debug, Default)]
pub struct Imports(Mutex<VecDeque<Arc<Import>>>);

impl Imports {
    /// A new one, unless too many are running.
    fn begin(&self, at: Instant) -> Result<Arc<Import>, Problem> {
        let busy = || {
            let detail = format!("{MOST_RUNNING} imports are running on this node; wait for one.");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
        };
        let mut kept = self.0.lock().map_err(|_| busy())?;
        if kept.iter().filter(|import| import.is_running()).count() >= MOST_RUNNING {
            return Err(busy());
        }
        while kept.len() >= MOST_KEPT {
            let over = kept.iter().position(|import| !import.is_running());
            let _ = over.and_then(|ix| kept.remove(ix));
        }
        let import = Arc::new(Import::new(at));
        kept.push_back(import.clone());
        Ok(import)
    }

    fn all(&self) -> Vec<Arc<Import>> {
        self.0.lock().map(|kept| kept.iter().cloned().collect()).unwrap_or_default()
    }

    fn find(&self, id: &str) -> Result<Arc<Import>, Problem> {
        self.all().into_iter().find(|import| import.id == id).ok_or_else(Problem::not_found)
    }
}

/// Only a key for `provision` may import, and see what was imported.
fn allowed(app: &App, who: &Who) -> Result<(), Problem> {
    let platform = Thing::platform();
    Ok(may::check(&app.state(), &who.0, Action::PutOrganisation, platform, app.now())?)
}

fn is_ndjson(request: &Request) -> Result<(), Problem> {
    let kinds: Vec<_> = request.headers().get_all(header::CONTENT_TYPE).iter().collect();
    let kind = match kinds.as_slice() {
        [] if request.body().is_end_stream() => return Ok(()), // no lines
        [one] => one.to_str().ok().and_then(|v| v.split(';').next()).map(str::trim),
        _ => None,
    };
    if kind == Some("application/x-ndjson") {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "Send the lines as Content-Type: application/x-ndjson.",
    ))
}

/// Reads an import to its end.
#[utoipa::path(
    post,
    path = "/v1/imports",
    operation_id = "import", tag = "Provisioning", security(("key" = [])),
    summary = "Import organisations, units, accounts, roles and members",
    description = "One JSON object a line, at most 64 MiB together and 64 KiB each, read while it is \
        sent. Each line is what the PUT route of its kind takes. Lines of one organisation are done \
        in their order; a line that is refused stops no other. The answer comes once every line was \
        judged; meanwhile GET /v1/imports shows how far it is. Send it again if it broke off: what \
        stands already is unchanged.",
    request_body(
        content = Line,
        content_type = "application/x-ndjson",
        example = json!({"kind": "organisation", "id": "marina", "name": "Marina Bay"})
    ),
    responses(
        (status = 200, description = "Every line was read and judged", body = ShownImport),
        (status = 401, description = "No key in force, or no longer: `unauthenticated`, `caller_revoked`"),
        (status = 403, description = "No key for provision: `forbidden`"),
        (status = 408, description = "It came too slowly: `too_slow`"),
        (status = 413, description = "More than 64 MiB: `too_large`"),
        (status = 415, description = "Not application/x-ndjson: `unsupported_media_type`"),
        (status = 429, description = "Too often: `rate_limited`"),
        (status = 503, description = "Two are running, or this one broke off: `busy`, `unavailable`"),
    ),
    extensions(("x-refusals" = json!("too_slow too_large unsupported_media_type busy")))
)]
pub async fn import(
    State(app): State<Arc<App>>,
    who: Who,
    Extension(imports): Extension<Arc<Imports>>,
    request: Request,
) -> Result<Json<ShownImport>, Problem> {
    allowed(&app, &who)?;
    is_ndjson(&request)?;
    let import = imports.begin(app.now())?;
    let running = import.clone();
    // On a task of its own: what was read is judged and told even if the client hangs up.
    let task =
        tokio::spawn(async move { run::run(&app, &who.0, request.into_body(), &running).await });
    let broken = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", "The import broke.");
    task.await.map_err(|_| broken())??;
    import.shown().map(Json).ok_or_else(broken)
}

/// The imports of this node.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShownImports {
    /// The newest first.
    items: Vec<ShownImport>,
}

/// Which imports this node remembers.
#[utoipa::path(
    get,
    path = "/v1/imports",
    operation_id = "listImports", tag = "Provisioning", security(("key" = [])),
    summary = "List the imports that this node took",
    description = "The newest sixteen, running ones too: that is how the progress of one is seen \
        whose answer has not come yet. Another node knows its own.",
    responses(
        (status = 200, description = "The newest first", body = ShownImports),
        (status = 401, description = "No key in force: `unauthenticated`"),
        (status = 403, description = "No key for provision: `forbidden`"),
    )
)]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Extension(imports): Extension<Arc<Imports>>,
) -> Result<Json<ShownImports>, Problem> {
    allowed(&app, &who)?;
    let items = imports.all().iter().rev().filter_map(|import| import.shown()).collect();
    Ok(Json(ShownImports { items }))
}

/// How far one is.
#[utoipa::path(
    get,
    path = "/v1/imports/{import}",
    operation_id = "getImport", tag = "Provisioning", security(("key" = [])),
    description = "Who may: provision.",
    summary = "See how far an import is",
    params(("import" = String, Path, description = "Its name, `imp_…`")),
    responses(
        (status = 200, description = "How far it is", body = ShownImport),
        (status = 401, description = "No key in force: `unauthenticated`"),
        (status = 403, description = "No key for provision: `forbidden`"),
        (status = 404, description = "Not of this node, or forgotten: `not_found`"),
    )
)]
pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Extension(imports): Extension<Arc<Imports>>,
    Path(id): Path<String>,
) -> Result<Json<ShownImport>, Problem> {
    allowed(&app, &who)?;
    imports.find(&id)?.shown().map(Json).ok_or_else(Problem::not_found)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalsQuery {
    cursor: Option<String>,
    limit: Option<usize>,
}

/// What was refused.
#[utoipa::path(
    get,
    path = "/v1/imports/{import}/refusals",
    operation_id = "listImportRefusals", tag = "Provisioning", security(("key" = [])),
    summary = "Read which lines of an import were refused",
    description = "In the order in which they were judged. The first 10,000 are kept; correct them \
        and send the import again for the rest.",
    params(
        ("import" = String, Path, description = "Its name, `imp_…`"),
        ("cursor" = Option<String>, Query, description = "From the page before"),
        ("limit" = Option<usize>, Query, description = "How many, 1 to 200"),
    ),
    responses(
        (status = 200, description = "One page", body = Page<RefusedLine>),
        (status = 401, description = "No key in force: `unauthenticated`"),
        (status = 403, description = "No key for provision: `forbidden`"),
        (status = 404, description = "Not of this node, or forgotten: `not_found`"),
    )
)]
pub async fn refusals(
    State(app): State<Arc<App>>,
    who: Who,
    Extension(imports): Extension<Arc<Imports>>,
    Path(id): Path<String>,
    Query(query): Query<RefusalsQuery>,
) -> Result<Json<Page<RefusedLine>>, Problem> {
    allowed(&app, &who)?;
    let import = imports.find(&id)?;
    let question = format!("imports/{id}/refusals");
    let limit = page::limit(query.limit)?;
    let place = query.cursor.as_deref().map(|c| page::place(&app, &question, c)).transpose()?;
    let from: usize = place.and_then(|place| place.parse().ok()).unwrap_or(0);
    let progress = import.progress.lock().map_err(|_| Problem::not_found())?;
    let items: Vec<_> = progress.refusals.iter().skip(from).take(limit).cloned().collect();
    let reached = from.saturating_add(items.len());
    let more = reached < progress.refusals.len();
    let next = more.then(|| page::cursor(&app, &question, &reached.to_string()));
    Ok(Json(Page::new(items, next)))
}
