//! Invitations of people from outside: the partner's side, and whoever holds a link.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::{App, Failure};
use comity_domain::command::{Command, Door, Inviting};
use comity_domain::event::Event;
use comity_domain::grant::Grant;
use comity_domain::ids::{GrantId, InvitationId};
use comity_domain::invitation::{InvitationPhase, InvitationState};
use comity_domain::may::{self, Action};
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::version::Versioned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::{Who, person};
use crate::grants::{accounts_named, roles_of};
use crate::input::{Body, Path, Query, WireAccounts, instant};
use crate::limits::Counted;
use crate::openapi::values;
use crate::page::{self, Order, Page, Paging};
use crate::problem::Problem;
use crate::shown;
use crate::versions::{etag, tagged};

// -- the partner's side ---------------------------------------------------------------------------

/// Somebody to be invited.
#[derive(Deserialize, ToSchema)]
#[schema(as = Invite, examples(json!({ "email": "kai@elsewhere.example", "roles": ["clerk"], "accounts": ["boat-1"] })))]
#[serde(deny_unknown_fields)]
pub struct WireInvite {
    /// Where the mail goes; it is accepted only by whoever signs in with this very address.
    #[schema(max_length = 255)]
    email: String,
    /// Codes of the grant's roles; at least one.
    #[schema(min_items = 1)]
    roles: Vec<String>,
    /// All of the grant unless given.
    accounts: Option<WireAccounts>,
    #[schema(value_type = Option<values::Instant>)]
    ends_at: Option<String>,
}

/// What an invitation is to give.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChangeInvitation, examples(json!({ "roles": ["clerk"], "accounts": "all" })))]
#[serde(deny_unknown_fields)]
pub struct WireInviting {
    /// Codes of the grant's roles; at least one.
    #[schema(min_items = 1)]
    roles: Vec<String>,
    /// All of the grant unless given.
    accounts: Option<WireAccounts>,
    #[schema(value_type = Option<values::Instant>)]
    ends_at: Option<String>,
}

/// An invitation.
#[derive(Serialize, ToSchema)]
#[schema(as = Invitation, examples(json!({ "id": "inv_01kf4e9ab7c3x8m2v5r6t0w1yz", "grant": "grant_01kf4e9ab7c3x8m2v5r6t0w1yz",
    "email": "kai@elsewhere.example", "state": "pending", "held": false, "roles": ["clerk"], "accounts": ["boat-1"], "ends_at": null,
    "made_at": "2027-01-24T12:00:00.000Z", "expires_at": "2027-01-31T12:00:00.000Z", "sent": 1, "accepted_by": null, "etag": "\"1\"" })))]
pub struct ShownInvitation {
    #[schema(value_type = values::InvitationId)]
    id: InvitationId,
    #[schema(value_type = values::GrantId)]
    grant: GrantId,
    /// The address, or `[erased]`.
    email: String,
    #[schema(value_type = values::InvitationPhase)]
    state: InvitationPhase,
    /// Whether it waits for another Admin of the partner, because who invited is none any more.
    held: bool,
    /// Codes of the roles.
    roles: Vec<String>,
    #[schema(value_type = WireAccounts)]
    accounts: shown::ShownAccounts,
    #[schema(required, value_type = Option<values::Instant>)]
    ends_at: Option<String>,
    #[schema(value_type = values::Instant)]
    made_at: String,
    /// When it ends by the clock if nobody answers.
    #[schema(value_type = values::Instant)]
    expires_at: String,
    /// How often it was sent.
    sent: usize,
    /// Who came in by it.
    #[schema(required)]
    accepted_by: Option<shown::Person>,
    /// The version, as `ETag` and for `If-Match`.
    #[schema(required)]
    etag: Option<String>,
}

fn shown_invitation(state: &World, id: InvitationId, now: Instant) -> Option<ShownInvitation> {
    let i = state.invitations.get(id)?;
    let phase = i.phase(state, now);
    let by = match i.state {
        InvitationState::Accepted { person, .. } => shown::person(state, person),
        _ => None,
    };
    Some(ShownInvitation {
        id,
        grant: i.grant,
        email: state.words.show(i.email).into(),
        state: phase,
        held: phase == InvitationPhase::Pending && i.is_held(state),
        roles: i.roles.iter().filter_map(|r| shown::role_code(state, *r)).collect(),
        accounts: shown::accounts(state, &i.accounts),
        ends_at: (i.ends_at != Instant::NEVER).then(|| shown::time(i.ends_at)),
        made_at: shown::time(i.at),
        expires_at: shown::time(i.expires()),
        sent: i.sent.len(),
        accepted_by: by,
        etag: etag(state, &Versioned::Invitation(id)),
    })
}

fn answer(
    status: StatusCode,
    state: &World,
    id: InvitationId,
    now: Instant,
) -> Result<Response, Problem> {
    let shown = shown_invitation(state, id, now).ok_or_else(Problem::not_found)?;
    Ok(tagged(status, state, &Versioned::Invitation(id), shown))
}

fn inviting(state: &World, grant: &Grant, body: WireInviting) -> Result<Inviting, Problem> {
    Ok(Inviting {
        roles: roles_of(state, grant, &body.roles)?,
        accounts: accounts_named(state, grant, body.accounts.as_ref()),
        ends_at: body.ends_at.map(|t| instant("ends_at", &t)).transpose()?,
    })
}

/// The invitations to a grant.
///
/// Who may: Support of either side. The newest first; those that nobody accepted for 37 days.
#[utoipa::path(get, path = "/v1/grants/{grant}/invitations", operation_id = "listInvitations", tag = "Invitations", security(("signIn" = [])),
    params(Paging),
    responses((status = 200, description = "A page of them.", body = Page<ShownInvitation>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ShownInvitation>>, Problem> {
    let (state, now) = (app.state(), app.now());
    may::check_grant(&state, &who.0, Action::ReadInvitations, id, now)?;
    let question = format!("invitations/{id}");
    let all = state.invitations_to(id).rev();
    Ok(Json(page::by_id(&app, &question, &paging, Order::NewestFirst, all, |i| {
        shown_invitation(&state, i, now)
    })?))
}

/// Invite somebody from outside.
///
/// Who may: an Admin of the partner, where the customer lets people from outside in by this grant. A mail with a link goes to the
/// address, good for seven days; nobody else sees the link. The answer is the same whoever's address it is.
#[utoipa::path(post, path = "/v1/grants/{grant}/invitations", operation_id = "invite", tag = "Invitations", security(("signIn" = [])),
    request_body = WireInvite,
    responses((status = 201, description = "The invitation.", body = ShownInvitation, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("external_not_allowed already_invited too_many_invitations widening locked not_active wrong_state"))))]
pub async fn invite(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<WireInvite>,
) -> Result<Response, Problem> {
    let state = app.state();
    let grant = may::check_grant(&state, &who.0, Action::Invite, id, app.now())?;
    let invite = || {
        let WireInvite { email, roles, accounts, ends_at } = body;
        let giving = inviting(&state, grant, WireInviting { roles, accounts, ends_at })?;
        Ok(app.invitation(id, &email, giving)?)
    };
    let done = who.put_together(&app, None, invite).await?;
    let made = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
        Event::InvitationMade { invitation, .. } => Some(invitation),
        _ => None,
    });
    let made = made.ok_or_else(Problem::not_found)?;
    answer(StatusCode::CREATED, &done.state, made, done.state.at)
}

/// Change what an invitation gives.
///
/// Who may: an Admin of the partner, as long as it waits.
#[utoipa::path(put, path = "/v1/grants/{grant}/invitations/{invitation}", operation_id = "changeInvitation", tag = "Invitations", security(("signIn" = [])),
    params(("If-Match" = String, Header, description = "The `ETag` of the invitation that was read.", example = "\"1\"")),
    request_body = WireInviting,
    responses((status = 200, description = "The invitation.", body = ShownInvitation, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("external_not_allowed widening locked not_active wrong_state version_conflict if_match_required"))))]
pub async fn change(
    State(app): State<Arc<App>>,
    who: Who,
    Path((id, invitation)): Path<(GrantId, InvitationId)>,
    Body(body): Body<WireInviting>,
) -> Result<Response, Problem> {
    let state = app.state();
    let grant = may::check_grant(&state, &who.0, Action::Invite, id, app.now())?;
    let change = || {
        let giving = inviting(&state, grant, body)?;
        Ok(Command::ChangeInvitation { grant: id, invitation, giving })
    };
    let seen = who.must_see(Versioned::Invitation(invitation));
    let done = who.put_together(&app, Some(seen), change).await?;
    answer(StatusCode::OK, &done.state, invitation, done.state.at)
}

/// Cancel an invitation.
///
/// Who may: an Admin of the partner, as long as it waits. Of cancelling and accepting at once one is done. Who has accepted is
/// removed as every assigned person is.
#[utoipa::path(delete, path = "/v1/grants/{grant}/invitations/{invitation}", operation_id = "cancelInvitation", tag = "Invitations", security(("signIn" = [])),
    responses((status = 204, description = "It is cancelled; its link opens nothing any more.")),
    extensions(("x-refusals" = json!("wrong_state not_active version_conflict"))))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    who: Who,
    Path((grant, invitation)): Path<(GrantId, InvitationId)>,
) -> Result<StatusCode, Problem> {
    let command = Command::CancelInvitation { grant, invitation };
    who.edit(&app, Versioned::Invitation(invitation), command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send an invitation again.
///
/// Who may: an Admin of the partner, three times. The link of the mail before opens nothing any more; the seven days run on.
#[utoipa::path(post, path = "/v1/grants/{grant}/invitations/{invitation}/resend", operation_id = "resendInvitation", tag = "Invitations", security(("signIn" = [])),
    responses((status = 200, description = "The invitation.", body = ShownInvitation, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("external_not_allowed too_many_invitations locked not_active wrong_state"))))]
pub async fn resend(
    State(app): State<Arc<App>>,
    who: Who,
    Path((grant, invitation)): Path<(GrantId, InvitationId)>,
) -> Result<Response, Problem> {
    let done = who.run(&app, app.invitation_again(grant, invitation)).await?;
    answer(StatusCode::OK, &done.state, invitation, done.state.at)
}

/// Approve an invitation that is held.
///
/// Who may: another Admin of the partner than who invited. One whose inviter is no Admin any more waits for this.
#[utoipa::path(post, path = "/v1/grants/{grant}/invitations/{invitation}/approve", operation_id = "approveInvitation", tag = "Invitations", security(("signIn" = [])),
    responses((status = 200, description = "The invitation.", body = ShownInvitation, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("external_not_allowed locked not_active wrong_state"))))]
pub async fn approve(
    State(app): State<Arc<App>>,
    who: Who,
    Path((grant, invitation)): Path<(GrantId, InvitationId)>,
) -> Result<Response, Problem> {
    let done = who.run(&app, Command::ApproveInvitation { grant, invitation }).await?;
    answer(StatusCode::OK, &done.state, invitation, done.state.at)
}

// -- whoever holds the link -----------------------------------------------------------------------

/// What stands behind the `#` of the link.
#[derive(Deserialize, ToSchema)]
#[schema(as = InvitationToken, examples(json!({ "token": "cmt_invite_0123456789abcdefghjkmnpqrs" })))]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The token of the mail.
    token: String,
}

/// What is behind a link: nothing of the address, and not whether it is known.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "state": "pending", "held": false, "provider": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1y0", "external_id": "harbor-help",
    "name": "Harbor Help" }, "customer": { "id": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "external_id": "marina", "name": "Marina Bay" },
    "roles": ["clerk"], "accounts": ["boat-1"], "ends_at": "2027-03-02T12:00:00.000Z", "expires_at": "2027-01-31T12:00:00.000Z" })))]
pub struct LookedAt {
    #[schema(value_type = values::InvitationPhase)]
    state: InvitationPhase,
    /// Whether it waits for another Admin of the partner.
    held: bool,
    /// Who invites.
    #[schema(required)]
    provider: Option<shown::Organisation>,
    /// Where one would work.
    #[schema(required)]
    customer: Option<shown::Organisation>,
    /// Codes of the roles.
    roles: Vec<String>,
    #[schema(value_type = WireAccounts)]
    accounts: shown::ShownAccounts,
    #[schema(value_type = values::Instant)]
    ends_at: String,
    /// Until when it can be answered.
    #[schema(value_type = values::Instant)]
    expires_at: String,
}

/// A link that opens nothing is a wrong field, as with enrolments.
fn of_link(failure: Failure) -> Problem {
    match failure {
        Failure::Refused(Refusal::NotFound) => Problem::field(
            "token",
            "is unknown or was replaced; ask for the invitation to be sent again",
        ),
        other => other.into(),
    }
}

/// Look behind a link.
///
/// Who may: whoever holds the token.
#[utoipa::path(post, path = "/v1/invitations/look", operation_id = "lookAtInvitation", tag = "Invitations", security(),
    request_body = Token,
    responses((status = 200, description = "What is offered, by whom, and how it stands.", body = LookedAt)))]
pub async fn look(
    State(app): State<Arc<App>>,
    Counted(beside): Counted,
    Body(body): Body<Token>,
) -> Result<Json<LookedAt>, Problem> {
    beside.limits.enrol(beside.from)?;
    if !app.is_current() {
        return Err(Problem::not_current(&app));
    }
    let seen = app.look_at_invitation(&body.token).map_err(of_link)?;
    let state = app.state();
    Ok(Json(LookedAt {
        state: seen.phase,
        held: seen.held,
        provider: shown::organisation(&state, seen.provider),
        customer: shown::organisation(&state, seen.customer),
        roles: seen.roles.iter().filter_map(|r| shown::role_code(&state, *r)).collect(),
        accounts: shown::accounts(&state, &seen.accounts),
        ends_at: shown::time(seen.ends),
        expires_at: shown::time(seen.expires),
    }))
}

/// Where one came in.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "grant": "grant_01kf4e9ab7c3x8m2v5r6t0w1yz" })))]
pub struct CameIn {
    /// The grant that one is on now: `GET /v1/me/tenants` shows it, and by it one enters.
    #[schema(value_type = values::GrantId)]
    grant: GrantId,
}

/// Accept an invitation.
///
/// Who may: a person whose verified address is the invited one. Whether the grant still stands and lets people from outside in
/// is judged now.
#[utoipa::path(post, path = "/v1/invitations/accept", operation_id = "acceptInvitation", tag = "Invitations", security(("signIn" = [])),
    request_body = Token,
    responses((status = 200, description = "The person is on the grant.", body = CameIn)),
    extensions(("x-refusals" = json!("external_not_allowed widening locked not_active wrong_state last_admin"))))]
pub async fn accept(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<Token>,
) -> Result<Json<CameIn>, Problem> {
    let own = person(&who.0)?;
    let command = || {
        app.look_at_invitation(&body.token).map_err(of_link)?;
        app.accepting(&body.token).map_err(of_link)
    };
    let done = who.put_together(&app, None, command).await?;
    let accepted = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
        Event::InvitationAccepted { invitation, person, .. } if person == own => Some(invitation),
        _ => None,
    });
    let grant = accepted.and_then(|i| done.state.invitations.get(i)).map(|i| i.grant);
    Ok(Json(CameIn { grant: grant.ok_or_else(Problem::not_found)? }))
}

/// Decline an invitation.
///
/// Who may: whoever holds the token. It takes no account, and cannot be taken back.
#[utoipa::path(post, path = "/v1/invitations/decline", operation_id = "declineInvitation", tag = "Invitations", security(),
    request_body = Token,
    responses((status = 204, description = "It is declined.")),
    extensions(("x-refusals" = json!("wrong_state"))))]
pub async fn decline(
    State(app): State<Arc<App>>,
    Counted(beside): Counted,
    Body(body): Body<Token>,
) -> Result<StatusCode, Problem> {
    beside.limits.enrol(beside.from)?;
    app.decline_invitation(Door::Api, &body.token).await.map_err(of_link)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A local account with the invited address.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "token": "cmt_invite_0123456789abcdefghjkmnpqrs", "name": "Kai Kranz", "password": "correct horse battery staple" })))]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The token of the mail.
    token: String,
    /// The name shown to others.
    #[schema(min_length = 1, max_length = 120)]
    name: String,
    /// The password: not one sign repeated.
    #[schema(min_length = 15, max_length = 128, format = Password)]
    password: String,
}

/// Register by an invitation.
///
/// Who may: whoever holds the token, once. Makes a local account with the invited address, which the link proves; sign in with
/// it then and accept. Where the address has an account already nothing is made, and the answer is the same: sign in with that.
#[utoipa::path(post, path = "/v1/invitations/register", operation_id = "registerInvited", tag = "Invitations", security(),
    request_body = Register,
    responses((status = 204, description = "There is an account with the invited address.")),
    extensions(("x-refusals" = json!("wrong_state"))))]
pub async fn register(
    State(app): State<Arc<App>>,
    Counted(beside): Counted,
    Body(body): Body<Register>,
) -> Result<StatusCode, Problem> {
    beside.limits.enrol(beside.from)?;
    let Register { token, name, password } = body;
    app.register_invited(Door::Api, &token, &name, password).await.map_err(of_link)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get no more invitations at an address.
///
/// Who may: whoever holds the token of the link that stands at the end of every invitation. It is good for ever.
#[utoipa::path(post, path = "/v1/invitations/stop", operation_id = "stopInvitations", tag = "Invitations", security(),
    request_body = Token,
    responses((status = 204, description = "Nothing more is mailed to the address.")))]
pub async fn stop(
    State(app): State<Arc<App>>,
    Counted(beside): Counted,
    Body(body): Body<Token>,
) -> Result<Response, Problem> {
    beside.limits.enrol(beside.from)?;
    app.stop_invitations(&body.token).await.map_err(|failure| match failure {
        Failure::Refused(Refusal::NotFound) => {
            Problem::field("token", "is none of a mail; open the link of the mail once more")
        }
        other => other.into(),
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
