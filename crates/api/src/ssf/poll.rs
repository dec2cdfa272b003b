//! Fetching signed events (RFC 8936).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_app::streams::{Fetch, MOST_FETCHED};
use comity_domain::ids::StreamId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::authzen::Acting;
use crate::input::{Body, Path};
use crate::limits::Counted;
use crate::problem::Problem;

/// What became of what was fetched before, and what is wanted now (RFC 8936, section 2.2).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({ "ack": ["strm_01kf4e9ab7c3x8m2v5r6t0w1yz_4711_0"], "maxEvents": 20, "returnImmediately": true }))]
pub struct Poll {
    /// How many tokens at most; 100 unless less is given, and none with 0.
    max_events: Option<u32>,
    /// Answer at once, also if there is nothing; otherwise it is waited for twenty seconds.
    return_immediately: Option<bool>,
    /// The `jti` of tokens that were taken.
    ack: Option<Vec<String>>,
    /// By their `jti`, tokens that were refused; they are not given out again.
    set_errs: Option<BTreeMap<String, SetError>>,
}

/// Why a token was refused (RFC 8935, section 2.4).
#[derive(Debug, Deserialize, ToSchema)]
pub struct SetError {
    /// The error's name.
    #[schema(example = "invalid_audience")]
    err: String,
}

/// What waits (RFC 8936, section 2.3).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Polled {
    /// Signed tokens by their `jti`. What is not acknowledged comes again.
    sets: BTreeMap<String, String>,
    /// Whether more waits.
    more_available: bool,
}

/// Fetch what waits.
#[utoipa::path(
    post, path = "/ssf/poll/{stream}", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "pollStream",
    summary = "Fetch what waits on a stream",
    description = "And say what became of what was fetched before (RFC 8936). An application by its key for decide.",
    request_body = Poll,
    responses((status = 200, description = "What waits.", body = Polled)),
    extensions(("x-refusals" = json!("wrong_state"))),
)]
pub async fn poll(
    State(app): State<Arc<App>>,
    Counted(beside): Counted,
    Acting(who, _): Acting,
    Path(stream): Path<StreamId>,
    Body(body): Body<Poll>,
) -> Result<Json<Polled>, Problem> {
    let most = body.max_events.map_or(MOST_FETCHED, |n| usize::try_from(n).unwrap_or(MOST_FETCHED));
    // Who holds as many open as one may is answered at once.
    let wait = !body.return_immediately.unwrap_or(false);
    let place = wait.then(|| beside.limits.stream(&who.0).ok()).flatten();
    let refused = body.set_errs.unwrap_or_default();
    let what = Fetch {
        taken: body.ack.unwrap_or_default(),
        refused: refused.into_iter().map(|(jti, why)| (jti, why.err)).collect(),
        most,
        wait: place.is_some(),
    };
    let found = app.fetch(&who.0, stream, what).await?;
    drop(place);
    Ok(Json(Polled { sets: found.sets.into_iter().collect(), more_available: found.more }))
}
