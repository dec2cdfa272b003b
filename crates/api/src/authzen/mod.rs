//! OpenID AuthZEN Authorization API 1.0: evaluation, evaluations, search, metadata.
//!
//! Subject: a partner session, or a member in the own organisation. Action: a permission. Resource:
//! an account by the builder's identifier, or the organisation where the call concerns no account.
//! The caller is an application by its key, and hears about its own audience only.
//!
//! Enforcement points of other makers send what they have: members of a request that no rule here
//! reads are passed over, as AuthZEN wants it. Everywhere else in this API they are refused.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_app::app::WAIT_MS;
use comity_decision::decide::Answer;
use comity_domain::ids::{AccountId, ApplicationId, GrantId, OrganisationId, PersonId, SessionId};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::Resource;
use comity_domain::role::Mode;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

use crate::input::{Body, organisation};
use crate::problem::Problem;
use crate::shown;

pub mod batch;
mod caller;
pub mod metadata;
pub mod search;

pub use caller::{Acting, Asker};

// -- what is asked --------------------------------------------------------------------------------

/// One question.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
pub struct Evaluation {
    /// Who.
    pub subject: Option<Entity>,
    /// What.
    pub action: Option<ActionName>,
    /// To what.
    pub resource: Option<Entity>,
    /// Under which circumstances.
    pub context: Option<Context>,
}

/// A subject or a resource.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Entity {
    /// A subject is a `partner_session`, `session` or `person`; a resource an `account` or
    /// `organisation`.
    #[serde(rename = "type")]
    #[schema(example = "account")]
    pub kind: String,
    /// Its identifier. A search needs none of what it searches, and passes it over.
    #[schema(example = "boat-1")]
    pub id: Option<String>,
    /// More about it.
    pub properties: Option<Properties>,
}

/// What is read of an entity's properties; others may be there.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct Properties {
    /// Of a resource: the organisation that it belongs to, by Comity's identifier or the builder's.
    #[schema(example = "marina")]
    pub organisation: Option<String>,
}

/// An action.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct ActionName {
    /// A permission, `resource:verb`.
    #[schema(example = "boats:read")]
    pub name: String,
}

/// What is read of a context; more may be there.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct Context {
    /// A position of the log that the answer has to reflect.
    #[serde(default, deserialize_with = "position")]
    pub at_least: Option<u64>,
}

/// A position; null is none.
fn position<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    u64::deserialize(from).map(Some)
}

/// Who is asked about.
#[derive(Debug, Clone, Copy)]
enum Subject<'a> {
    /// A partner session by its token. Only a token is taken for one: an identifier is no secret,
    /// and whoever passes on what its user sent under this type would let the user be anybody.
    Token(&'a str),
    /// A session by its identifier, from an application that checked a token by itself.
    Session(SessionId),
    /// A person, by Comity's identifier or as the builder calls the member.
    Person(&'a str),
}

/// Where something is.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    kind: &'a str,
    id: &'a str,
    /// In which organisation, if that is said.
    owner: Option<&'a str>,
}

/// A question that makes sense.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    subject: Subject<'a>,
    asked: Permission<'a>,
    place: Place<'a>,
    at_least: u64,
}

fn needed<'a, T>(field: &'static str, value: Option<&'a T>) -> Result<&'a T, Problem> {
    value.ok_or_else(|| Problem::field(field, "is missing"))
}

fn identifier<'a>(field: &'static str, entity: &'a Entity) -> Result<&'a str, Problem> {
    match entity.id.as_deref() {
        Some(id) if (1..=800).contains(&id.len()) => Ok(id),
        _ => Err(Problem::field(field, "must have 1 to 800 bytes")),
    }
}

fn subject(entity: Option<&Entity>) -> Result<Subject<'_>, Problem> {
    let entity = needed("subject", entity)?;
    // Whatever text it is: what names nobody is told the same as what is not there.
    let id = needed("subject.id", entity.id.as_ref())?.as_str();
    match entity.kind.as_str() {
        "partner_session" => Ok(Subject::Token(id)),
        // What is no identifier of a session names none.
        "session" => Ok(Subject::Session(id.parse().unwrap_or(SessionId::MIN))),
        "person" => Ok(Subject::Person(id)),
        _ => {
            let why = "must be partner_session, session or person";
            Err(Problem::field("subject.type", why))
        }
    }
}

fn permission(action: Option<&ActionName>) -> Result<Permission<'_>, Problem> {
    let why = "must be resource:verb, each a-z, 0-9, _ or -; a star is no question";
    let name = &needed("action", action)?.name;
    Permission::parse(name).ok_or_else(|| Problem::field("action.name", why))
}

/// The type of a resource.
fn resource_kind(entity: Option<&Entity>) -> Result<&str, Problem> {
    let kind = needed("resource", entity)?.kind.as_str();
    if matches!(kind, "account" | "organisation") {
        return Ok(kind);
    }
    Err(Problem::field("resource.type", "must be account or organisation"))
}

fn owner_of(entity: &Entity) -> Option<&str> {
    entity.properties.as_ref()?.organisation.as_deref()
}

fn place(entity: Option<&Entity>) -> Result<Place<'_>, Problem> {
    let kind = resource_kind(entity)?;
    let entity = needed("resource", entity)?;
    Ok(Place { kind, id: identifier("resource.id", entity)?, owner: owner_of(entity) })
}

impl<'a> Question<'a> {
    fn read(
        whose: Option<&'a Entity>,
        action: Option<&'a ActionName>,
        resource: Option<&'a Entity>,
        context: Option<&'a Context>,
    ) -> Result<Self, Problem> {
        let (subject, asked) = (subject(whose)?, permission(action)?);
        let at_least = context.and_then(|c| c.at_least).unwrap_or(0);
        Ok(Self { subject, asked, place: place(resource)?, at_least })
    }
}

// -- where things are -----------------------------------------------------------------------------

/// What a resource is, inside the customer whose session asks. One that is said to be elsewhere is
/// none of the session's.
fn inside(state: &World, customer: OrganisationId, place: Place<'_>) -> Resource {
    if place.owner.is_some_and(|o| organisation(state, o).ok() != Some(customer)) {
        return Resource::Unknown;
    }
    if place.kind == "organisation" {
        return organisation(state, place.id).map_or(Resource::Unknown, Resource::Organisation);
    }
    let found = state.words.find(Lookup::Account(customer), place.id).map(AccountId);
    found
        .or_else(|| place.id.parse().ok())
        .and_then(|id| Some((id, state.accounts.get(id)?)))
        .map_or(Resource::Unknown, |(id, a)| Resource::Account(id, a.organisation, a.unit))
}

/// What a resource is where no session says in which customer: an account by Comity's identifier,
/// or by the builder's in the organisation that the request names.
fn anywhere(state: &World, place: Place<'_>) -> Resource {
    let named = if place.kind == "organisation" { Some(place.id) } else { place.owner };
    match named.map(|n| organisation(state, n)) {
        Some(Ok(organisation)) => match inside(state, organisation, place) {
            // A foreign account by its identifier is not in the organisation that was named.
            Resource::Account(_, of, _) if of != organisation => Resource::Unknown,
            found => found,
        },
        Some(Err(_)) => Resource::Unknown,
        None => {
            let id: Option<AccountId> = place.id.parse().ok();
            id.map_or(Resource::Unknown, |id| comity_decision::search::account(state, id))
        }
    }
}

/// Who a person is: by Comity's identifier, or a member as the builder calls them. What looks like
/// Comity's is never looked up as a builder's, so that nobody can be named over another.
fn person(state: &World, of: Option<OrganisationId>, id: &str) -> Option<PersonId> {
    if let Ok(person) = id.parse() {
        return Some(person);
    }
    state.words.find(Lookup::Member(of?), id).map(PersonId)
}

// -- what is answered -----------------------------------------------------------------------------

/// How long a call that cannot be counted yet waits before it is judged again.
const AGAIN_MS: u64 = 5;

/// How often a request may still wait for room to count its calls in.
struct Patience(u64);

impl Patience {
    /// For as many calls: room is reserved in blocks, and each may have to be waited for.
    fn with(calls: usize) -> Self {
        let blocks = u64::try_from(calls).unwrap_or(u64::MAX) / 64;
        Self(blocks.saturating_add(1).saturating_mul(WAIT_MS / AGAIN_MS))
    }
}

fn judge(app: &App, application: ApplicationId, q: &Question<'_>) -> Answer {
    let resource = |state: &World, customer| inside(state, customer, q.place);
    match q.subject {
        Subject::Token(token) => app.evaluate(application, token, q.asked, resource),
        Subject::Session(id) => app.evaluate_session(application, id, q.asked, resource),
        Subject::Person(id) => app.evaluate_own(application, q.asked, |state| {
            let resource = anywhere(state, q.place);
            (person(state, comity_decision::search::owner(resource), id), resource)
        }),
    }
}

/// The answer; the first use of a session on this node finds no room to count it in and has some
/// reserved.
async fn answer(
    app: &App,
    application: ApplicationId,
    question: &Question<'_>,
    patience: &mut Patience,
) -> Answer {
    loop {
        let answer = judge(app, application, question);
        if answer.reason != Reason::Busy || patience.0 == 0 {
            return answer;
        }
        patience.0 -= 1;
        tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
    }
}

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
pub struct Decision {
    /// Yes or no.
    pub decision: bool,
    /// Why, and about whom.
    pub context: DecisionContext,
}

/// What comes with a decision.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct DecisionContext {
    /// The stable code of the reason.
    #[schema(example = "allowed")]
    pub reason: String,
    /// A sentence for the person who was refused.
    pub message: String,
    /// The position of the log that the answer reflects, or a later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Who really acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Somebody>,
    /// As whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Somebody>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = crate::openapi::values::SessionId, required = false)]
    pub session: Option<SessionId>,
    /// The grant that it runs under.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = crate::openapi::values::GrantId, required = false)]
    pub grant: Option<GrantId>,
    /// In which organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = crate::openapi::values::OrganisationId, required = false)]
    pub organisation: Option<OrganisationId>,
    /// The session's mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = crate::openapi::values::Mode, required = false)]
    pub mode: Option<Mode>,
    /// When the session ends by the clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Why this one of several questions could not be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
}

/// A person or an organisation.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Somebody {
    /// `person` or `organisation`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Comity's identifier.
    pub id: String,
}

/// Why one of several questions could not be answered: it counts as no.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemError {
    /// The status that the question would have got by itself.
    #[schema(example = 422)]
    pub status: u16,
    /// What is wrong.
    pub message: String,
}

impl Somebody {
    fn person(id: PersonId) -> Self {
        Self { kind: "person", id: id.to_string() }
    }
}

impl Decision {
    fn of(answer: &Answer) -> Self {
        let reason = answer.reason;
        let mut context = DecisionContext {
            reason: reason.code().into(),
            message: reason.sentence().into(),
            seq: Some(answer.seq),
            at: Some(shown::time(answer.at)),
            ..DecisionContext::default()
        };
        if let Some((organisation, person)) = answer.member {
            context.actor = Some(Somebody::person(person));
            context.subject = Some(Somebody::person(person));
            context.organisation = Some(organisation);
        }
        if let Some(s) = &answer.session {
            context.actor = Some(Somebody::person(s.actor));
            context.subject = Some(match s.mode {
                Mode::ActAs => Somebody { kind: "organisation", id: s.customer.to_string() },
                Mode::Direct | Mode::View => Somebody::person(s.actor),
            });
            (context.session, context.grant) = (Some(s.session), Some(s.grant));
            (context.organisation, context.mode) = (Some(s.customer), Some(s.mode));
            context.deadline = Some(shown::time(s.deadline));
        }
        Self { decision: answer.is_yes(), context }
    }
}

fn not_now(reason: Reason) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason.code(), reason.sentence())
}

/// Decides one call and counts it.
#[utoipa::path(
    post, path = "/access/v1/evaluation", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "evaluate",
    summary = "Decide one call",
    description = "May this subject do this to that, now? (AuthZEN 1.0, Access Evaluation API.)",
    request_body(content = Evaluation, example = json!({ "subject": { "type": "partner_session", "id": "cmt_session_…" },
        "action": { "name": "boats:read" }, "resource": { "type": "account", "id": "boat-1" } })),
    responses(
        (status = 200, description = "Decided", body = Decision),
    ),
    extensions(("x-refusals" = json!("stale busy"))),
)]
pub async fn evaluation(
    State(app): State<Arc<App>>,
    Asker(application): Asker,
    Body(asked): Body<Evaluation>,
) -> Result<Response, Problem> {
    single(&app, application, &asked).await
}

async fn single(
    app: &App,
    application: ApplicationId,
    asked: &Evaluation,
) -> Result<Response, Problem> {
    let Evaluation { subject, action, resource, context } = asked;
    let (subject, action) = (subject.as_ref(), action.as_ref());
    let question = Question::read(subject, action, resource.as_ref(), context.as_ref())?;
    if question.at_least > 0 && !app.reached(question.at_least).await {
        return Err(not_now(Reason::Stale));
    }
    let answer = answer(app, application, &question, &mut Patience::with(1)).await;
    if matches!(answer.reason, Reason::Stale | Reason::Busy) {
        return Err(not_now(answer.reason));
    }
    Ok(Json(Decision::of(&answer)).into_response())
}
