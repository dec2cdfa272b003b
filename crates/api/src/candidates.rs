//! Who can be given accounts of a grant, and from whom they can be taken.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_domain::ids::{Digest32, GrantId, PersonId};
use comity_domain::may;
use comity_domain::view::{Candidate, Purpose, Sought, candidates};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::bulk::{BulkAction, action};
use crate::grants::accounts_named;
use crate::input::{Body, Path, WireAccounts};
use crate::page::{self, Page};
use crate::problem::Problem;
use crate::shown;

/// How long a search may be, in characters.
const LONGEST_QUERY: usize = 200;

/// For what, and for which accounts.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "action": "add", "accounts": ["boat-1", "boat-2"], "q": "han" })))]
#[serde(deny_unknown_fields)]
pub struct Candidates {
    action: BulkAction,
    /// Of the grant; `"all"` unless given.
    accounts: Option<WireAccounts>,
    /// Only people of whose name or e-mail address each of these words begins a part, without regard to case and accents.
    #[schema(max_length = 200)]
    q: Option<String>,
    /// `next` of the page before. Good only for the same question.
    cursor: Option<String>,
    /// How many at most; 50 unless given.
    #[schema(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// Somebody who can be chosen.
#[derive(Serialize, ToSchema)]
#[schema(as = Candidate, examples(json!({ "person": { "id": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "name": "Hana Holm", "email": "hana@harbor-help.example" },
    "held": 1, "of": 2 })))]
pub struct ShownCandidate {
    person: shown::Person,
    /// How many of the accounts they have. Suspended counts as none.
    held: usize,
    /// How many accounts are selected.
    of: usize,
}

/// Who can be given accounts, or lose them.
///
/// Who may: an Admin of the partner. For adding: active members of the partner's side who lack some of the accounts. For removing:
/// members who have any. The oldest first. People from outside are never among them.
#[utoipa::path(post, path = "/v1/grants/{grant}/candidates", operation_id = "findCandidates", tag = "Grants", security(("signIn" = [])),
    request_body = Candidates,
    responses((status = 200, description = "A page of them.", body = Page<ShownCandidate>)))]
pub async fn find(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<Candidates>,
) -> Result<Json<Page<ShownCandidate>>, Problem> {
    let (state, now) = (app.state(), app.now());
    let grant = may::check_grant(&state, &who.0, action(body.action), id, now)?;
    let limit = page::limit(body.limit)?;
    let query = body.q.as_deref().map(str::trim).filter(|q| !q.is_empty());
    if query.is_some_and(|q| q.chars().count() > LONGEST_QUERY) {
        let why = format!("must have at most {LONGEST_QUERY} characters");
        return Err(Problem::field("q", why));
    }
    let accounts = accounts_named(&state, grant, body.accounts.as_ref());
    let selected = Digest32::of(format!("{accounts:?}/{}", query.unwrap_or_default()).as_bytes());
    let question = format!("candidates/{id}/{:?}/{selected}", body.action);
    let after = body.cursor.as_deref().map(|c| page::place(&app, &question, c)).transpose()?;
    let after: Option<PersonId> =
        after.map(str::parse).transpose().map_err(|_| page::foreign_cursor())?;
    let purpose = match body.action {
        BulkAction::Add => Purpose::Add,
        BulkAction::Remove => Purpose::Remove,
    };
    let sought = Sought { purpose, accounts: &accounts, query };
    let (found, more) = candidates(&state, id, sought, after, limit, now);
    let last = found.last().filter(|_| more).map(|c| c.person.to_string());
    let next = last.map(|place| page::cursor(&app, &question, &place));
    let show = |c: Candidate| {
        Some(ShownCandidate { person: shown::person(&state, c.person)?, held: c.held, of: c.of })
    };
    Ok(Json(Page::new(found.into_iter().filter_map(show).collect(), next)))
}
