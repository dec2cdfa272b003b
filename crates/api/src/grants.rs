//! Grants, and who is on them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use comity_app::App;
use comity_domain::assignment::{AssignmentState, Basis};
use comity_domain::command::{AssignmentSpec, Command};
use comity_domain::grant::{Grant, GrantPhase, Narrowing};
use comity_domain::ids::{AccountId, GrantId, PersonId, RoleId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use comity_domain::role::Modes;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use comity_domain::time::{Instant, Minutes};
use comity_domain::version::Versioned;
use comity_domain::view;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path, Query, WireAccounts, instant, organisation};
use crate::openapi::values;
use crate::page::{self, Items, Order, Page, Paging};
use crate::problem::Problem;
use crate::shown::{self, ShownGrant};
use crate::versions::{etag, tagged};

/// On which side the asking organisation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[schema(as = GrantSide)]
#[serde(rename_all = "snake_case")]
enum Side {
    #[default]
    Given,
    Received,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// `given` (unless given) or `received`.
    #[serde(default)]
    #[param(inline, required = false)]
    side: Side,
    /// Only these.
    #[param(nullable = false, value_type = Option<values::GrantPhase>)]
    state: Option<GrantPhase>,
    /// `next` of the page before. Good only for the same list and filter.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// How many at most; 50 unless given.
    #[param(nullable = false, minimum = 1, maximum = 200, example = 50)]
    limit: Option<usize>,
}

/// The grants of an organisation.
///
/// Who may: Support of it. The newest first, with `active_partners`.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/grants", operation_id = "listGrants", tag = "Grants", security(("signIn" = [])),
    params(ListQuery),
    responses((status = 200, description = "A page of them.", body = Page<ShownGrant>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<ShownGrant>>, Problem> {
    let (state, now) = (app.state(), app.now());
    let id = organisation(&state, &named)?;
    may::check(&state, &who.0, Action::ReadGrant, Thing::organisation(id), now)?;
    let ids: Vec<GrantId> = match query.side {
        Side::Given => state.grants_by(id).collect(),
        Side::Received => state.grants_to(id).collect(),
    };
    let wanted = |g: &GrantId| {
        let found = state.grants.get(*g);
        found.is_some_and(|g| query.state.is_none_or(|s| g.phase(now) == s))
    };
    let question = format!("grants/{id}/{:?}/{:?}", query.side, query.state);
    let paging = Paging { cursor: query.cursor, limit: query.limit };
    let matching = ids.into_iter().rev().filter(wanted);
    let page = page::by_id(&app, &question, &paging, Order::NewestFirst, matching, |g| {
        shown::grant(&state, g, now)
    })?;
    let partners = view::active_partners(&state, id, now);
    Ok(Json(Page { active_partners: Some(partners), ..page }))
}

pub fn answer(state: &World, id: GrantId, now: Instant) -> Result<Response, Problem> {
    let shown: ShownGrant = shown::grant(state, id, now).ok_or_else(Problem::not_found)?;
    Ok(tagged(StatusCode::OK, state, &Versioned::Grant(id), shown))
}

/// A grant.
///
/// Who may: Support of either side.
#[utoipa::path(get, path = "/v1/grants/{grant}", operation_id = "getGrant", tag = "Grants", security(("signIn" = [])),
    responses((status = 200, description = "The grant.", body = ShownGrant, headers(("ETag" = String, description = "The version, for `If-Match`.")))))]
pub async fn one(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
) -> Result<Response, Problem> {
    let (state, now) = (app.state(), app.now());
    may::check_grant(&state, &who.0, Action::ReadGrant, id, now)?;
    answer(&state, id, now)
}

/// Revoke a grant.
///
/// Who may: an Admin of the customer. Once this is answered, no decision that begins later says yes under it.
#[utoipa::path(post, path = "/v1/grants/{grant}/revoke", operation_id = "revoke", tag = "Grants", security(("signIn" = [])),
    responses((status = 200, description = "The grant.", body = ShownGrant, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("wrong_state not_active version_conflict"))))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
) -> Result<Response, Problem> {
    let done = who.run(&app, Command::Revoke { grant: id }).await?;
    answer(&done.state, id, done.state.at)
}

/// Give up a grant.
///
/// Who may: an Admin of the partner.
#[utoipa::path(post, path = "/v1/grants/{grant}/give-up", operation_id = "giveUp", tag = "Grants", security(("signIn" = [])),
    responses((status = 200, description = "The grant.", body = ShownGrant, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("wrong_state not_active version_conflict"))))]
pub async fn give_up(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
) -> Result<Response, Problem> {
    let done = who.run(&app, Command::GiveUp { grant: id }).await?;
    answer(&done.state, id, done.state.at)
}

/// What is left of a grant. What is not named stays.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "modes": ["view"], "ends_at": "2027-02-14T12:00:00.000Z" })))]
#[serde(deny_unknown_fields)]
pub struct Narrow {
    /// Codes of the roles that are left.
    roles: Option<Vec<String>>,
    accounts: Option<WireAccounts>,
    #[schema(value_type = Option<values::Modes>)]
    modes: Option<Modes>,
    #[schema(value_type = Option<values::Instant>)]
    ends_at: Option<String>,
    /// The longest session.
    #[schema(minimum = 5, maximum = 480)]
    session_minutes: Option<u32>,
}

/// Roles of a grant by their codes. A role that the customer has and did not give looks the same
/// as one that it does not have (T12).
pub fn roles_of(state: &World, grant: &Grant, codes: &[String]) -> Result<Vec<RoleId>, Problem> {
    let by_code = |code: &String| {
        let has = |r: &RoleId| state.roles.get(*r).is_some_and(|role| *role.code == **code);
        grant.roles.iter().map(|p| p.role).find(has)
    };
    codes
        .iter()
        .map(|code| by_code(code).ok_or_else(|| Refusal::Widening("roles").into()))
        .collect()
}

/// Narrow a grant.
///
/// Who may: an Admin of the customer. Live sessions are trimmed at once. What is not named stays.
#[utoipa::path(post, path = "/v1/grants/{grant}/narrow", operation_id = "narrow", tag = "Grants", security(("signIn" = [])),
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of what was read; not demanded, as narrowing never waits.", example = "\"1\"")),
    request_body = Narrow,
    responses((status = 200, description = "The grant.", body = ShownGrant, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("widening version_conflict wrong_state not_active locked"))))]
pub async fn narrow(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<Narrow>,
) -> Result<Response, Problem> {
    let state = app.state();
    let grant = may::check_grant(&state, &who.0, Action::Narrow, id, app.now())?;
    let narrow = || {
        let roles = body.roles.map(|codes| roles_of(&state, grant, &codes)).transpose()?;
        let customer = grant.customer.organisation;
        let narrowing = Narrowing {
            roles: roles.map(|r| r.into_iter().collect()),
            accounts: body.accounts.map(|a| a.resolve(&state, customer)).transpose()?,
            modes: body.modes,
            end: body.ends_at.map(|t| instant("ends_at", &t)).transpose()?,
            cap: body.session_minutes.map(Minutes),
        };
        Ok(Command::Narrow { grant: id, narrowing, version: None })
    };
    // Narrowing never waits: a version is checked when one is sent, and not demanded.
    let done = who.put_together(&app, who.seen(Versioned::Grant(id)), narrow).await?;
    answer(&done.state, id, done.state.at)
}

// -- assignments ----------------------------------------------------------------------------------

/// One person on one grant.
#[derive(Serialize, ToSchema)]
#[schema(as = Assignment, examples(json!({ "person": { "id": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "name": "Hugo Hart", "email": "hugo@harbor-help.example" },
    "roles": ["clerk"], "accounts": ["boat-1"], "ends_at": null, "basis": "individual", "state": "active", "active": true, "etag": "\"1\"" })))]
pub struct ShownAssignment {
    person: shown::Person,
    /// Codes of the roles that they hold.
    roles: Vec<String>,
    #[schema(value_type = WireAccounts)]
    accounts: shown::ShownAccounts,
    #[schema(required, value_type = Option<values::Instant>)]
    ends_at: Option<String>,
    #[schema(value_type = values::Basis)]
    basis: Basis,
    #[schema(value_type = values::AssignmentState)]
    state: AssignmentState,
    /// Whether it gives access now.
    active: bool,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

fn shown_assignment(
    state: &World,
    id: GrantId,
    person: PersonId,
    now: Instant,
) -> Option<ShownAssignment> {
    let a = state.assignment(id, person)?;
    let roles: Vec<String> = a.roles.iter().filter_map(|r| shown::role_code(state, *r)).collect();
    let ends = (a.row.ends_at != Instant::NEVER).then(|| shown::time(a.row.ends_at));
    Some(ShownAssignment {
        person: shown::person(state, person)?,
        roles,
        accounts: shown::accounts(state, &a.accounts),
        ends_at: ends,
        basis: a.row.basis,
        state: a.row.state,
        active: a.row.is_active(now),
        etag: etag(state, &Versioned::Assignment(id, person)),
    })
}

/// Who is on a grant.
///
/// Who may: Support of either side. The oldest people first.
#[utoipa::path(get, path = "/v1/grants/{grant}/assignments", operation_id = "listAssignments", tag = "Grants", security(("signIn" = [])),
    params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<ShownAssignment>, headers(("ETag" = String, description = "The version of the whole set, for `If-Match`.")))))]
pub async fn assignments(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Query(paging): Query<Paging>,
) -> Result<Response, Problem> {
    let (state, now) = (app.state(), app.now());
    may::check_grant(&state, &who.0, Action::ReadAssignments, id, now)?;
    let mut people: Vec<PersonId> = state.assigned_to(id).map(|(person, _)| person).collect();
    people.sort(); // by age, like every list
    let question = format!("assignments/{id}");
    let page =
        page::by_id(&app, &question, &paging, Order::OldestFirst, people.into_iter(), |p| {
            shown_assignment(&state, id, p, now)
        })?;
    Ok(tagged(StatusCode::OK, &state, &Versioned::Assignments(id), page))
}

/// One person of a set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InSet {
    /// Comity's identifier or the builder's.
    person: String,
    /// Codes of the grant's roles; at least one.
    #[schema(min_items = 1)]
    roles: Vec<String>,
    /// All of the grant unless given.
    accounts: Option<WireAccounts>,
    #[schema(value_type = Option<values::Instant>)]
    ends_at: Option<String>,
}

/// Everybody who is to be on a grant.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "people": [{ "person": "hana", "roles": ["clerk"] }, { "person": "hugo", "roles": ["skipper"], "accounts": ["boat-1"] }] })))]
#[serde(deny_unknown_fields)]
pub struct SetAssignments {
    /// Whoever is not named is taken off. Nobody is named twice.
    #[schema(max_items = 1000)]
    people: Vec<InSet>,
}

impl SetAssignments {
    /// The command that it is, by the names that it uses.
    pub fn command(self, state: &World, id: GrantId, grant: &Grant) -> Result<Command, Problem> {
        let spec = |one: InSet| {
            let person = person_named(state, grant, &one.person)?;
            let wanted = Assign { roles: one.roles, accounts: one.accounts, ends_at: one.ends_at };
            spec(state, grant, person, wanted)
        };
        let people = self.people.into_iter().map(spec).collect::<Result<_, Problem>>()?;
        Ok(Command::SetAssignments { grant: id, people })
    }
}

/// Put exactly these people on a grant.
///
/// Who may: an Admin of the partner. All or nothing: who is named has what is said, who is not named is off it. What stays as it
/// is is left alone. External people are no part of the set.
#[utoipa::path(put, path = "/v1/grants/{grant}/assignments", operation_id = "setAssignments", tag = "Grants", security(("signIn" = [])),
    params(("If-Match" = String, Header, description = "The `ETag` of the list that was read.", example = "\"1\"")),
    request_body = SetAssignments,
    responses((status = 200, description = "Everybody who is on it now.", body = Items<ShownAssignment>, headers(("ETag" = String, description = "The version of the whole set, for `If-Match`.")))),
    extensions(("x-refusals" = json!("last_admin auto_assign_enabled last_user widening locked not_active wrong_state version_conflict if_match_required"))))]
pub async fn set_assignments(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<SetAssignments>,
) -> Result<Response, Problem> {
    let state = app.state();
    let grant = may::check_grant(&state, &who.0, Action::Assign, id, app.now())?;
    // Two people save at once: the second is shown what the first did.
    let seen = who.must_see(Versioned::Assignments(id));
    let done = who.put_together(&app, Some(seen), || body.command(&state, id, grant)).await?;
    let (state, now) = (&done.state, done.state.at);
    let mut people: Vec<PersonId> = state.assigned_to(id).map(|(person, _)| person).collect();
    people.sort();
    let items = people.into_iter().filter_map(|p| shown_assignment(state, id, p, now)).collect();
    Ok(tagged(StatusCode::OK, state, &Versioned::Assignments(id), Items { items }))
}

/// What a person may do on a grant.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "roles": ["clerk"], "accounts": ["boat-1"] })))]
#[serde(deny_unknown_fields)]
pub struct Assign {
    /// Codes of the grant's roles; at least one.
    #[schema(min_items = 1)]
    roles: Vec<String>,
    /// All of the grant unless given.
    accounts: Option<WireAccounts>,
    #[schema(value_type = Option<values::Instant>)]
    ends_at: Option<String>,
}

fn spec(
    state: &World,
    grant: &Grant,
    person: PersonId,
    body: Assign,
) -> Result<AssignmentSpec, Problem> {
    Ok(AssignmentSpec {
        person,
        roles: roles_of(state, grant, &body.roles)?,
        accounts: accounts_named(state, grant, body.accounts.as_ref()),
        ends_at: body.ends_at.map(|t| instant("ends_at", &t)).transpose()?,
    })
}

/// The same for accounts: one that nobody has is not in the grant either.
pub fn accounts_named(state: &World, grant: &Grant, named: Option<&WireAccounts>) -> Accounts {
    let by_name = |name: &String| {
        let found = state.words.find(Lookup::Account(grant.customer.organisation), name);
        found.map_or(AccountId::MAX, AccountId)
    };
    match named {
        None | Some(WireAccounts::All(_)) => Accounts::All,
        Some(WireAccounts::List(list)) => Accounts::List(list.iter().map(by_name).collect()),
    }
}

/// A person of the provider, by Comity's identifier or the builder's.
pub fn person_named(state: &World, grant: &Grant, named: &str) -> Result<PersonId, Problem> {
    let provider = grant.provider.organisation;
    let found = || state.words.find(Lookup::Member(provider), named).map(PersonId);
    named
        .parse()
        .ok()
        .or_else(found)
        .ok_or_else(|| Problem::field("person", "is no member of the partner's organisation"))
}

/// Put a person on a grant.
///
/// Who may: an Admin of the partner. `{person}` is Comity's identifier or the builder's.
#[utoipa::path(put, path = "/v1/grants/{grant}/assignments/{person}", operation_id = "assign", tag = "Grants", security(("signIn" = [])),
    request_body = Assign,
    responses((status = 200, description = "The assignment.", body = ShownAssignment, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("last_admin auto_assign_enabled widening locked not_active wrong_state last_user four_eyes version_conflict if_match_required"))))]
pub async fn assign(
    State(app): State<Arc<App>>,
    who: Who,
    Path((id, named)): Path<(GrantId, String)>,
    Body(body): Body<Assign>,
) -> Result<Response, Problem> {
    let state = app.state();
    let grant = may::check_grant(&state, &who.0, Action::Assign, id, app.now())?;
    let person = person_named(&state, grant, &named)?;
    // Whoever has never seen what somebody else gave does not replace it.
    let seen = who.must_see(Versioned::Assignment(id, person));
    let assign = || Ok(Command::Assign { grant: id, spec: spec(&state, grant, person, body)? });
    let done = who.put_together(&app, Some(seen), assign).await?;
    let shown = shown_assignment(&done.state, id, person, done.state.at);
    let shown = shown.ok_or_else(Problem::not_found)?;
    Ok(tagged(StatusCode::OK, &done.state, &Versioned::Assignment(id, person), shown))
}

/// Who follows, where nobody else would be left.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Successor {
    #[schema(value_type = values::PersonId)]
    person: PersonId,
    /// Codes of the grant's roles; at least one.
    #[schema(min_items = 1)]
    roles: Vec<String>,
    /// All of the grant unless given.
    accounts: Option<WireAccounts>,
    #[schema(value_type = Option<values::Instant>)]
    ends_at: Option<String>,
}

/// Who follows, as the domain means it.
pub fn successor(state: &World, grant: &Grant, s: &Successor) -> Result<AssignmentSpec, Problem> {
    let (roles, accounts, ends_at) = (s.roles.clone(), s.accounts.clone(), s.ends_at.clone());
    spec(state, grant, s.person, Assign { roles, accounts, ends_at })
}

/// With whom a removal goes.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "successor": { "person": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "roles": ["clerk"] } })))]
#[serde(deny_unknown_fields)]
pub struct Unassign {
    successor: Option<Successor>,
}

/// Take a person off a grant.
///
/// Who may: an Admin of the partner, or the person. Where nobody would be left (`last_user`), a successor is named.
#[utoipa::path(delete, path = "/v1/grants/{grant}/assignments/{person}", operation_id = "unassign", tag = "Grants", security(("signIn" = [])),
    request_body = Unassign,
    responses((status = 204, description = "The person is off it.")),
    extensions(("x-refusals" = json!("last_user auto_assign_enabled widening locked not_active wrong_state version_conflict"))))]
pub async fn unassign(
    State(app): State<Arc<App>>,
    who: Who,
    Path((id, named)): Path<(GrantId, String)>,
    request: axum::extract::Request,
) -> Result<StatusCode, Problem> {
    use axum::extract::FromRequest as _;
    let has_body = request.headers().contains_key(header::CONTENT_TYPE);
    let body = if has_body {
        Body::<Unassign>::from_request(request, &app).await?.0.successor
    } else {
        None
    };
    let state = app.state();
    let person = match named.parse() {
        Ok(person) => person,
        Err(_) => {
            let grant = may::check_grant(&state, &who.0, Action::Unassign, id, app.now())?;
            person_named(&state, grant, &named)?
        }
    };
    let grant = match &body {
        None => None,
        Some(_) => Some(may::check_grant(&state, &who.0, Action::Unassign, id, app.now())?),
    };
    let unassign = || {
        let next = body.as_ref().zip(grant).map(|(s, grant)| successor(&state, grant, s));
        Ok(Command::Unassign { grant: id, person, successor: next.transpose()? })
    };
    let seen = who.seen(Versioned::Assignment(id, person));
    who.put_together(&app, seen, unassign).await?;
    Ok(StatusCode::NO_CONTENT)
}
