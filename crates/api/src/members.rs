//! Members of an organisation: people, with what they may do inside Comity.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_app::tokens::{Kind, Secret};
use comity_domain::command::{Command, PutMember};
use comity_domain::event::Event;
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::may::Action;
use comity_domain::organisation::Standing;
use comity_domain::person::PortalRole;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use comity_domain::version::Versioned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Body, Path, Query, organisation};
use crate::openapi::values;
use crate::organisations::{made, seen, yes};
use crate::page::{self, Order, Page, Paging};
use crate::problem::Problem;
use crate::versions::{etag, tagged};

/// What a member is.
#[derive(Deserialize, ToSchema)]
#[schema(as = PutMember, examples(json!({ "name": "Nina Nau", "email": "nina@marina.example", "email_verified": true, "portal_role": "admin" })))]
#[serde(deny_unknown_fields)]
pub struct WireMember {
    /// The name shown to others.
    #[schema(min_length = 1, max_length = 120)]
    name: String,
    /// One address is one person in every organisation.
    #[schema(max_length = 255)]
    email: String,
    /// Whether the builder has proof of the address. Counts from a key only.
    #[serde(default)]
    email_verified: bool,
    /// The builder's identifier of the unit; the default unit unless given.
    unit: Option<String>,
    #[schema(value_type = Option<values::PortalRole>)]
    portal_role: Option<PortalRole>,
    /// Whether the member takes part.
    #[serde(default = "yes")]
    #[schema(default = true)]
    active: bool,
    /// Codes of the organisation's own roles; left out, they stay as they are.
    #[schema(max_items = 100)]
    roles: Option<Vec<String>>,
}

/// A person in an organisation.
#[derive(Serialize, ToSchema)]
#[schema(as = Member, examples(json!({ "person": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "nina", "name": "Nina Nau",
    "email": "nina@marina.example", "email_verified": true, "unit": null, "portal_role": "admin", "roles": ["skipper"], "standing": "active", "superseded": false, "enrolled": true, "etag": "\"1\"" })))]
pub struct ShownMember {
    #[schema(value_type = values::PersonId)]
    person: PersonId,
    /// The builder's identifier.
    external_id: String,
    /// The name shown to others.
    name: String,
    /// The address.
    email: String,
    /// Whether the builder vouches for the address.
    email_verified: bool,
    /// The builder's identifier of the unit; null for the default unit.
    #[schema(required)]
    unit: Option<String>,
    #[schema(required, value_type = Option<values::PortalRole>)]
    portal_role: Option<PortalRole>,
    /// Codes of the organisation's own roles that the member holds.
    roles: Vec<String>,
    #[schema(value_type = values::Standing)]
    standing: Standing,
    /// Whether the person works here for a partner, and enters only that way until restored.
    superseded: bool,
    /// Whether the person has set a password.
    enrolled: bool,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

/// What a person sets a first password with.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "token": "cmt_enrol_0123456789abcdefghjkmnpqrs", "note": "Shown once, good once, for seven days." })))]
pub struct Enrolment {
    /// The token, for `POST /v1/enrol`.
    token: String,
    /// What to know about it.
    note: &'static str,
}

/// Make or change a member.
///
/// Who may: provision, or an Admin of the organisation. A verified address that is known leads to the person it belongs to.
#[utoipa::path(put, path = "/v1/organisations/{organisation}/members/{id}", operation_id = "putMember", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    request_body = WireMember,
    responses((status = 200, description = "It was there, and is so now.", body = ShownMember, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 201, description = "It was made.", body = ShownMember, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("taken not_active last_admin last_user wrong_state locked version_conflict"))))]
pub async fn put_member(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
    Body(body): Body<WireMember>,
) -> Result<Response, Problem> {
    let id = organisation(&app.state(), &named)?;
    let command = Command::PutMember(PutMember {
        organisation: id,
        external: external.clone(),
        name: body.name,
        email: body.email,
        email_verified: body.email_verified,
        unit: body.unit,
        portal: body.portal_role,
        active: body.active,
        roles: body.roles,
    });
    let find = |state: &World| state.words.find(Lookup::Member(id), external.trim()).map(PersonId);
    let of =
        |found: Option<PersonId>| found.map_or(Versioned::Nothing, |p| Versioned::Member(id, p));
    let done = who.edit(&app, of(find(&app.state())), command).await?;
    let found = find(&done.state);
    let status = made(&done, |e| matches!(e, Event::MemberJoined { .. }));
    let shown = found
        .and_then(|found| shown_member(&done.state, id, found))
        .ok_or_else(Problem::not_found)?;
    Ok(tagged(status, &done.state, &of(found), shown))
}

fn shown_member(state: &World, organisation: OrganisationId, id: PersonId) -> Option<ShownMember> {
    let (m, p) = (state.members.get(&(organisation, id))?, state.people.get(id)?);
    let text = |w| state.words.show(w).to_owned();
    Some(ShownMember {
        person: id,
        external_id: text(m.external),
        name: text(p.name),
        email: text(p.email),
        email_verified: p.email_verified,
        unit: state.units.get(m.unit).and_then(|u| u.external).map(text),
        portal_role: m.portal,
        roles: m.roles.iter().filter_map(|r| Some(state.roles.get(*r)?.code.to_string())).collect(),
        standing: m.standing,
        superseded: m.superseded.is_some(),
        enrolled: p.has_password,
        etag: etag(state, &Versioned::Member(organisation, id)),
    })
}

/// Remove a member.
///
/// Who may: provision, or an Admin of the organisation. The person is off every grant of this organisation.
#[utoipa::path(delete, path = "/v1/organisations/{organisation}/members/{id}", operation_id = "removeMember", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    responses((status = 204, description = "The person is no member any more.")),
    extensions(("x-refusals" = json!("last_admin last_user not_active version_conflict"))))]
pub async fn remove_member(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id = organisation(&app.state(), &named)?;
    let found = app.state().words.find(Lookup::Member(id), external.trim()).map(PersonId);
    let of = found.map_or(Versioned::Nothing, |p| Versioned::Member(id, p));
    who.edit(&app, of, Command::RemoveMember { organisation: id, external }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a superseded person back as a member.
///
/// Who may: an Admin of the organisation, freshly signed in; no key. In the same step the person is off every grant of
/// this organisation and out of every session under one.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/members/{id}/restore", operation_id = "restoreMembership", tag = "Provisioning", security(("signIn" = [])),
    responses((status = 200, description = "The member.", body = ShownMember)),
    extensions(("x-refusals" = json!("fresh_sign_in_required auto_assign_enabled not_active wrong_state"))))]
pub async fn restore(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
) -> Result<Json<ShownMember>, Problem> {
    let id = organisation(&app.state(), &named)?;
    let find = |state: &World| state.words.find(Lookup::Member(id), external.trim()).map(PersonId);
    let restore = Command::RestoreMembership { organisation: id, external: external.clone() };
    let done = who.run(&app, restore).await?;
    let shown = find(&done.state).and_then(|person| shown_member(&done.state, id, person));
    Ok(Json(shown.ok_or_else(Problem::not_found)?))
}

/// The members of an organisation.
///
/// Who may: provision, or Support of the organisation. The oldest first.
#[utoipa::path(get, path = "/v1/organisations/{organisation}/members", operation_id = "listMembers", tag = "Provisioning", security(("key" = []), ("signIn" = [])),
    params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<ShownMember>)))]
pub async fn members(
    State(app): State<Arc<App>>,
    who: Who,
    Path(named): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ShownMember>>, Problem> {
    let (state, id) = seen(&app, &who, &named, Action::ReadMembers)?;
    let ids: Vec<_> = state.members_of(id).map(|(person, _)| person).collect();
    Ok(Json(page::by_id(
        &app,
        &format!("members/{id}"),
        &paging,
        Order::OldestFirst,
        ids.into_iter(),
        |p| shown_member(&state, id, p),
    )?))
}

/// Let a member set a first password.
///
/// Who may: provision. The token is shown once and good once, for seven days.
#[utoipa::path(post, path = "/v1/organisations/{organisation}/members/{id}/enrolment", operation_id = "makeEnrolment", tag = "Provisioning", security(("key" = [])),
    responses((status = 201, description = "The token.", body = Enrolment)),
    extensions(("x-refusals" = json!("not_active wrong_state taken"))))]
pub async fn make_enrolment(
    State(app): State<Arc<App>>,
    who: Who,
    Path((named, external)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = organisation(&app.state(), &named)?;
    let secret = Secret::new(Kind::Enrolment);
    who.run(&app, Command::MakeEnrolment { organisation: id, external, digest: secret.digest() })
        .await?;
    let shown = Enrolment {
        token: secret.reveal().to_owned(),
        note: "Shown once, good once, for seven days.",
    };
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}
