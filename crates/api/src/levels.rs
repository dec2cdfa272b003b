//! Levels: named, versioned templates of an access request.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::permission::Permissions;
use comity_domain::role::{Level, Modes};
use comity_domain::time::{Days, Minutes};
use comity_domain::version::Versioned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path};
use crate::openapi::values;
use crate::page::Items;
use crate::problem::Problem;
use crate::versions::{etag, tagged};

/// What a level allows.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "permissions": ["boats:read"], "modes": ["direct", "view"], "longest_grant_days": 30, "session_minutes": 60 })))]
#[serde(deny_unknown_fields)]
pub struct PutLevel {
    /// At most these.
    #[schema(value_type = Vec<values::Pattern>, max_items = 500)]
    permissions: Vec<String>,
    #[schema(value_type = values::Modes)]
    modes: Modes,
    /// The longest grant.
    #[schema(minimum = 1, maximum = 730)]
    longest_grant_days: u32,
    /// The longest session.
    #[schema(minimum = 5, maximum = 480)]
    session_minutes: u32,
}

/// A named, versioned template of an access request.
#[derive(Serialize, ToSchema)]
#[schema(as = Level, examples(json!({ "code": "referral", "version": 1, "permissions": ["*:read"], "modes": ["direct", "view"],
    "longest_grant_days": 90, "session_minutes": 480, "etag": "\"1\"" })))]
pub struct ShownLevel {
    /// Its code.
    code: String,
    /// The newest version.
    version: u32,
    /// At most these.
    #[schema(value_type = Vec<values::Pattern>)]
    permissions: Permissions,
    #[schema(value_type = values::Modes)]
    modes: Modes,
    /// The longest grant.
    longest_grant_days: u32,
    /// The longest session.
    session_minutes: u32,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

/// The levels with their newest version.
///
/// Who may: any known caller, as a partner has to choose one.
#[utoipa::path(get, path = "/v1/platform/levels", operation_id = "listLevels", tag = "Platform", security(("key" = []), ("signIn" = [])),
    responses((status = 200, description = "All of them.", body = Items<ShownLevel>)))]
pub async fn levels(State(app): State<Arc<App>>, _who: Who) -> Json<Items<ShownLevel>> {
    let state = app.state();
    let shown = |code: &Arc<str>| {
        let (pinned, l) = state.newest_level(code)?;
        Some(ShownLevel {
            code: pinned.code.to_string(),
            version: pinned.version,
            permissions: l.ceiling.clone(),
            modes: l.modes,
            longest_grant_days: l.longest_grant.0,
            session_minutes: l.session_cap.0,
            etag: etag(&state, &Versioned::Level(code.to_string())),
        })
    };
    Json(Items { items: state.levels.keys().filter_map(shown).collect() })
}

/// Which version a level has now.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "code": "surveyor", "version": 2, "etag": "\"1\"" })))]
pub struct LevelVersion {
    /// Its code.
    code: String,
    /// The newest version.
    #[schema(required)]
    version: Option<u32>,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

/// Define a level, or a new version of it.
///
/// Who may: operate. `partner` and `referral` are built in (`taken`).
#[utoipa::path(put, path = "/v1/platform/levels/{code}", operation_id = "putLevel", tag = "Platform", security(("key" = [])),
    request_body = PutLevel,
    responses((status = 200, description = "Its newest version.", body = LevelVersion, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("taken version_conflict"))))]
pub async fn put_level(
    State(app): State<Arc<App>>,
    who: Who,
    Path(code): Path<String>,
    Body(body): Body<PutLevel>,
) -> Result<Response, Problem> {
    let level = Level {
        ceiling: Permissions::parse("permissions", &body.permissions)?,
        modes: body.modes,
        longest_grant: Days(body.longest_grant_days),
        session_cap: Minutes(body.session_minutes),
    };
    let of = Versioned::Level(code.clone());
    let command = Command::PutLevel { code: code.clone(), level };
    let done = who.edit(&app, of.clone(), command).await?;
    let version = done.state.newest_level(&code).map(|(pinned, _)| pinned.version);
    let shown = LevelVersion { code, version, etag: etag(&done.state, &of) };
    Ok(tagged(StatusCode::OK, &done.state, &of, shown))
}
