//! An organisation's inbox: what its people are told, and what each of them has read.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::notices::{Mark, Shown, Wanted};
use comity_app::{App, Failure};
use comity_domain::ids::{GrantId, OrganisationId, PersonId, RequestId, SessionId};
use comity_domain::may::{self, Action, Thing};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path, Query, organisation};
use crate::openapi::values;
use crate::page;
use crate::problem::Problem;
use crate::shown;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct NoticesQuery {
    /// Only what the caller has not read.
    #[serde(default)]
    #[param(required = false, example = false)]
    unread: bool,
    /// `next` of the page before. Good only for the same list and filter.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// How many at most; 50 unless given.
    #[param(nullable = false, minimum = 1, maximum = 200, example = 50)]
    limit: Option<usize>,
}

/// A page of an inbox.
#[derive(Serialize, ToSchema)]
pub struct Notices {
    /// Newest first.
    items: Vec<ShownNotice>,
    /// Where to go on: the next `cursor`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
    /// How many the caller has not read, on all pages; 100 stands for 100 or more.
    #[schema(maximum = 100)]
    unread: u32,
}

/// What an organisation's people are told.
#[derive(Serialize, ToSchema)]
#[schema(as = Notice, examples(json!({ "seq": 41, "index": 0, "at": "2027-01-31T12:00:00.000Z", "kind": "ends_in_7_days",
    "side": "customer", "count": 1, "sentence": "The access of Sail Support ends within 7 days, on 2027-02-07 at 12:00 UTC.",
    "read": false, "grant": "grant_01kf4e9ab7c3x8m2v5r6t0w1yz", "organisation": "org_01kf4e9ab7c3x8m2v5r6t0w1yz" })))]
pub struct ShownNotice {
    /// Its row of the log.
    seq: u64,
    /// Its place among the notices of that row.
    index: u32,
    #[schema(value_type = values::Instant)]
    at: String,
    #[schema(value_type = values::NoticeKind)]
    kind: &'static str,
    #[schema(value_type = values::NoticeSide)]
    side: &'static str,
    /// How many of the same it stands for.
    #[schema(minimum = 1)]
    count: u32,
    /// In plain English. The names in it are people's words: escape them.
    sentence: String,
    /// Whether the caller has read it.
    read: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<values::RequestId>)]
    request: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<values::GrantId>)]
    grant: Option<GrantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<values::SessionId>)]
    session: Option<SessionId>,
    /// The person whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<values::PersonId>)]
    person: Option<PersonId>,
    /// The organisation on the other side, where this one may know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<values::OrganisationId>)]
    organisation: Option<OrganisationId>,
}

/// What was read: everything up to a row, or one notice by `seq` and `index`.
#[derive(Deserialize, ToSchema)]
#[schema(as = MarkRead, examples(json!({ "up_to": 41 })))]
#[serde(deny_unknown_fields)]
pub struct MarkRead {
    /// The `seq` of the newest notice that was read. What is still to come stays unread.
    up_to: Option<u64>,
    /// The row of one notice.
    seq: Option<u64>,
    /// Its place there.
    index: Option<u32>,
}

/// How many are left.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "unread": 0 })))]
pub struct Unread {
    /// How many the caller has not read; 100 stands for 100 or more.
    #[schema(maximum = 100)]
    unread: u32,
}

fn show(n: Shown) -> ShownNotice {
    ShownNotice {
        seq: n.seq,
        index: n.index,
        at: shown::time(n.at),
        kind: n.kind.code(),
        side: n.side.code(),
        count: n.count,
        sentence: n.sentence,
        read: n.read,
        request: n.facts.request,
        grant: n.facts.grant,
        session: n.facts.session,
        person: n.facts.person,
        organisation: n.facts.other,
    }
}

/// Whose inbox it is, and who reads it: a person, because keys have read nothing.
fn reader(app: &App, who: &Who, named: &str) -> Result<(OrganisationId, PersonId), Problem> {
    let state = app.state();
    let own = organisation(&state, named)?;
    may::check(&state, &who.0, Action::ReadNotices, Thing::organisation(own), app.now())?;
    Ok((own, who.0.person().ok_or_else(Problem::not_found)?))
}

async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Problem> {
    let asked = tokio::task::spawn_blocking(ask).await;
    Ok(asked.map_err(|e| Failure::Broken(e.to_string()))??)
}

/// The inbox.
///
/// Who may: Support of the organisation. What its people are told, newest first, kept for 400 days. The same is mailed to
/// those who have to act or may read it; nobody turns a kind off.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/notices", operation_id = "listNotices", tag = "Customer", security(("signIn" = [])),
    params(("organisation" = String, Path, description = "Comity's identifier or the builder's"), NoticesQuery),
    responses((status = 200, description = "A page.", body = Notices)))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(q): Query<NoticesQuery>,
) -> Result<Json<Notices>, Problem> {
    let (own, person) = reader(&app, &who, &named)?;
    let limit = page::limit(q.limit)?;
    let question = format!("notices/{own}/{person}/{}", q.unread);
    let below = match q.cursor.as_deref().map(|c| page::place(&app, &question, c)).transpose()? {
        None => None,
        Some(place) => {
            let read =
                place.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            Some(read.ok_or_else(Problem::not_found)?)
        }
    };
    let (asking, wanted) =
        (app.clone(), Wanted { below, unread_only: q.unread, limit: limit.saturating_add(1) });
    let (found, unread) =
        blocking(move || Ok((asking.notices(own, person, wanted)?, asking.unread(own, person)?)))
            .await?;
    let more = found.len() > limit;
    let last = found.iter().take(limit).next_back().filter(|_| more);
    let next = last.map(|n| page::cursor(&app, &question, &format!("{}-{}", n.seq, n.index)));
    let items = found.into_iter().take(limit).map(show).collect();
    Ok(Json(Notices { items, next, unread }))
}

/// Mark notices as read.
///
/// Who may: Support of the organisation, each for themselves. Sent again it changes nothing.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/notices/read", operation_id = "markNoticesRead", tag = "Customer", security(("signIn" = [])),
    request_body = MarkRead,
    responses((status = 200, description = "How many are left.", body = Unread)))]
pub async fn read(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Body(body): Body<MarkRead>,
) -> Result<Json<Unread>, Problem> {
    let (own, person) = reader(&app, &who, &named)?;
    let mark = match (body.up_to, body.seq, body.index) {
        (Some(seq), None, None) => Mark::UpTo(seq),
        (None, Some(seq), Some(index)) => Mark::One(seq, index),
        _ => return Err(Problem::field("up_to", "or seq with index must be given, and not both")),
    };
    let unread = blocking(move || {
        app.mark_read(own, person, mark)?;
        app.unread(own, person)
    });
    Ok(Json(Unread { unread: unread.await? }))
}
