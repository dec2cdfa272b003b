//! `POST /access/v1/search/{subject,resource,action}`: what a decision would say yes to.
//!
//! A search asks about every candidate what a decision asks, at one position and one instant. It
//! counts nothing and shows no token: a partner's session is named by its identifier, as subject of
//! the type `session`, which an evaluation takes too.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_app::app::View;
use comity_decision::search::{self, Subject as Found};
use comity_domain::ids::{AccountId, ApplicationId, Digest32, OrganisationId};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::Resource;
use comity_domain::role::Mode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ActionName, Asker, Context, Entity, Place, Subject, anywhere, inside, needed, not_now,
    owner_of, permission, person, place, resource_kind, subject,
};
use crate::input::{Body, organisation};
use crate::page;
use crate::problem::Problem;

/// How many results a page has unless asked otherwise.
const USUAL: usize = 50;
/// How many it has at most, however many are asked for.
const MOST: usize = 200;

/// What is searched.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Search {
    /// Who. A search for subjects needs the type only: `session` or `person`.
    subject: Option<Entity>,
    /// What. A search for actions passes it over.
    action: Option<ActionName>,
    /// To what. A search for resources needs the type only: `account` or `organisation`.
    resource: Option<Entity>,
    /// Under which circumstances.
    context: Option<Context>,
    /// Which part of the results.
    page: Option<AskedPage>,
}

/// Which part of the results.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct AskedPage {
    /// `next_token` of the page before; everything else must be as it was there.
    token: Option<String>,
    /// How many at most: 50 unless said otherwise, never more than 200.
    limit: Option<usize>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Results<T: ToSchema> {
    /// Which part of the results this is.
    page: ShownPage,
    /// What would be allowed.
    results: Vec<T>,
}

/// Which part of the results this is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShownPage {
    /// Where to go on; empty on the last page.
    next_token: String,
    /// How many results are here.
    count: usize,
}

/// A subject or resource that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundEntity {
    /// Its type, the one that was searched.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Its identifier, as an evaluation takes it.
    id: String,
    /// More about it.
    properties: FoundProperties,
}

/// More about what was found.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct FoundProperties {
    /// The organisation in which it is, by Comity's identifier.
    #[schema(value_type = String)]
    organisation: String,
    /// Of an account: Comity's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Of a session: who really acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// Of a session: its mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    mode: Option<Mode>,
    /// Of a person: the builder's identifier of the member.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
}

/// An action that was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundAction {
    /// A permission.
    #[schema(example = "boats:read")]
    name: String,
}

// -- pages ----------------------------------------------------------------------------------------

/// A part of the results: how many, behind what, and for which question.
struct Part {
    question: String,
    limit: usize,
    after: String,
}

impl Part {
    /// A token carries how many a page has, so that it need not be said again; said otherwise, the
    /// token is refused, and so is one from another question (T12).
    fn read(
        app: &App,
        kind: &str,
        application: ApplicationId,
        asked: &Search,
    ) -> Result<Self, Problem> {
        let Search { subject, action, resource, context, page } = asked;
        let action = action.as_ref().filter(|_| kind != "action");
        let all = format!("{subject:?}\n{action:?}\n{resource:?}\n{context:?}");
        let digest = Digest32::of(all.as_bytes());
        let question = format!("authzen/{kind}/{application}/{digest}");
        let page = page.clone().unwrap_or_default();
        let wanted = page.limit.map(|limit| limit.min(MOST));
        let Some(token) = page.token.filter(|t| !t.is_empty()) else {
            let limit = wanted.unwrap_or(USUAL);
            return Ok(Self { question, limit, after: String::new() });
        };
        let wrong = || Problem::field("page.token", "is not from this search; start without it");
        let place = page::place(app, &question, &token).map_err(|_| wrong())?;
        let (limit, after) = place.split_once('~').ok_or_else(wrong)?;
        let limit: usize = limit.parse().map_err(|_| wrong())?;
        if wanted.is_some_and(|wanted| wanted != limit) {
            return Err(Problem::field("page.limit", "must stay what it was on the page before"));
        }
        Ok(Self { question, limit, after: after.to_owned() })
    }

    /// Cuts what stands in the order of its keys; `show` says what is found at all.
    fn cut<K: ToString, T: ToSchema>(
        &self,
        app: &App,
        keys: impl IntoIterator<Item = K>,
        show: impl Fn(&K) -> Option<T>,
    ) -> Results<T> {
        let (mut results, mut last, mut more) = (Vec::new(), self.after.clone(), false);
        for key in keys {
            let text = key.to_string();
            if text <= self.after {
                continue;
            }
            let Some(found) = show(&key) else {
                continue;
            };
            if results.len() >= self.limit {
                more = true;
                break;
            }
            results.push(found);
            last = text;
        }
        let place = format!("{}~{last}", self.limit);
        let next_token =
            if more { page::cursor(app, &self.question, &place) } else { String::new() };
        Results { page: ShownPage { next_token, count: results.len() }, results }
    }
}

/// Runs a search where it stands in no decision's way; what was found is told only if it was still
/// current then.
async fn look<T: Send + 'static>(
    app: &Arc<App>,
    asked: Search,
    search: impl FnOnce(&View<'_>, &Search) -> Result<T, Problem> + Send + 'static,
) -> Result<Json<T>, Problem> {
    let at_least = asked.context.as_ref().and_then(|c| c.at_least).unwrap_or(0);
    if at_least > 0 && !app.reached(at_least).await {
        return Err(not_now(Reason::Stale));
    }
    let looking = app.clone();
    let seen = tokio::task::spawn_blocking(move || looking.look(|view| search(view, &asked)));
    let seen = seen.await.map_err(|e| comity_app::Failure::Broken(e.to_string()))?;
    if !seen.current {
        return Err(not_now(Reason::Stale));
    }
    seen.found.map(Json)
}

// -- the three searches ---------------------------------------------------------------------------

/// Who may do this to that.
#[utoipa::path(
    post, path = "/access/v1/search/subject", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "searchSubjects",
    summary = "Who may do this to that",
    description = "Sessions of the calling application, or members of the organisation (AuthZEN 1.0, Subject Search API).",
    request_body(content = Search, example = json!({ "subject": { "type": "session" }, "action": { "name": "boats:read" },
        "resource": { "type": "account", "id": "boat-1", "properties": { "organisation": "marina" } } })),
    responses(
        (status = 200, description = "Found", body = Results<FoundEntity>),
    ),
    extensions(("x-refusals" = json!("stale"))),
)]
pub async fn subjects(
    State(app): State<Arc<App>>,
    Asker(application): Asker,
    Body(asked): Body<Search>,
) -> Result<Json<Results<FoundEntity>>, Problem> {
    let part = Part::read(&app, "subject", application, &asked)?;
    let kind = needed("subject", asked.subject.as_ref())?.kind.as_str();
    if !matches!(kind, "session" | "person") {
        let why = "must be session or person; a token is never shown";
        return Err(Problem::field("subject.type", why));
    }
    let by = app.clone();
    look(&app, asked, move |view, asked| {
        let permission = permission(asked.action.as_ref())?;
        let resource = anywhere(&view.state, place(asked.resource.as_ref())?);
        let kind = asked.subject.as_ref().map_or("", |s| s.kind.as_str());
        if kind == "session" {
            let all = search::sessions(&view.state, resource);
            return Ok(part.cut(&by, all, |id| {
                let compiled = view.session(*id, application)?;
                let (person, mode) = (Some(compiled.actor.to_string()), Some(compiled.mode));
                let organisation = compiled.customer.to_string();
                let yes = Found::Session(compiled).may(permission, resource, view.now);
                let properties =
                    FoundProperties { organisation, person, mode, ..FoundProperties::default() };
                yes.then(|| FoundEntity { kind: "session", id: id.to_string(), properties })
            }));
        }
        let all = search::members(&view.state, resource);
        let owner = search::owner(resource).unwrap_or(OrganisationId::MIN);
        Ok(part.cut(&by, all, |id| {
            let member = search::member(&view.state, application, owner, *id)?;
            let words = &view.state.words;
            let external =
                view.state.members.get(&(owner, *id)).and_then(|m| words.get(m.external));
            let properties = FoundProperties {
                organisation: owner.to_string(),
                member: external.map(ToString::to_string),
                ..FoundProperties::default()
            };
            let yes = member.may(permission, resource, view.now);
            yes.then(|| FoundEntity { kind: "person", id: id.to_string(), properties })
        }))
    })
    .await
}

/// The organisations in which a subject may be anything, each with what it is there.
fn there<'v>(
    view: &'v View<'_>,
    application: ApplicationId,
    whose: Subject<'_>,
    owner: Option<&str>,
) -> Vec<(OrganisationId, Found<'v>)> {
    let state = &*view.state;
    let named = owner.map(|o| organisation(state, o).unwrap_or(OrganisationId::MIN));
    let session = match whose {
        Subject::Token(token) => view.session_of(token, application),
        Subject::Session(id) => view.session(id, application),
        Subject::Person(id) => {
            let Some(person) = person(state, named, id) else {
                return Vec::new();
            };
            let all = state.organisations_of(person).filter(|o| named.is_none_or(|n| n == *o));
            return all
                .filter_map(|o| Some((o, search::member(state, application, o, person)?)))
                .collect();
        }
    };
    let of = session.into_iter().map(|s| (s.customer, Found::Session(s)));
    of.filter(|(o, _)| named.is_none_or(|n| n == *o)).collect()
}

/// An account as an evaluation takes it: by the builder's identifier, in its organisation.
fn shown_account(view: &View<'_>, id: AccountId, organisation: OrganisationId) -> FoundEntity {
    let external = view.state.accounts.get(id).and_then(|a| view.state.words.get(a.external));
    let properties = FoundProperties {
        organisation: organisation.to_string(),
        account: Some(id.to_string()),
        ..FoundProperties::default()
    };
    let id = external.map_or_else(|| id.to_string(), ToString::to_string);
    FoundEntity { kind: "account", id, properties }
}

/// To what this subject may do that.
#[utoipa::path(
    post, path = "/access/v1/search/resource", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "searchResources",
    summary = "To what this subject may do that",
    description = "Accounts or organisations (AuthZEN 1.0, Resource Search API).",
    request_body(content = Search, example = json!({ "subject": { "type": "partner_session", "id": "cmt_session_…" },
        "action": { "name": "boats:read" }, "resource": { "type": "account" } })),
    responses(
        (status = 200, description = "Found", body = Results<FoundEntity>),
    ),
    extensions(("x-refusals" = json!("stale"))),
)]
pub async fn resources(
    State(app): State<Arc<App>>,
    Asker(application): Asker,
    Body(asked): Body<Search>,
) -> Result<Json<Results<FoundEntity>>, Problem> {
    let part = Part::read(&app, "resource", application, &asked)?;
    let by = app.clone();
    look(&app, asked, move |view, asked| {
        let (whose, asked_for) = (subject(asked.subject.as_ref())?, asked.resource.as_ref());
        let permission: Permission<'_> = permission(asked.action.as_ref())?;
        let kind = resource_kind(asked_for)?;
        let there = there(view, application, whose, asked_for.and_then(owner_of));
        let may = |resource| there.iter().any(|(_, s)| s.may(permission, resource, view.now));
        if kind == "organisation" {
            let all: BTreeSet<OrganisationId> = there.iter().map(|(o, _)| *o).collect();
            return Ok(part.cut(&by, all, |id| {
                let (text, organisation) = (id.to_string(), id.to_string());
                let properties = FoundProperties { organisation, ..FoundProperties::default() };
                let found = FoundEntity { kind: "organisation", id: text, properties };
                may(Resource::Organisation(*id)).then_some(found)
            }));
        }
        let of = there.iter().flat_map(|(o, _)| view.state.accounts_of(*o));
        let all: BTreeSet<AccountId> = of.collect();
        Ok(part.cut(&by, all, |id| {
            let resource = search::account(&view.state, *id);
            let owner = search::owner(resource)?;
            may(resource).then(|| shown_account(view, *id, owner))
        }))
    })
    .await
}

/// What this subject may do to that.
#[utoipa::path(
    post, path = "/access/v1/search/action", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "searchActions",
    summary = "What this subject may do to that",
    description = "Permissions (AuthZEN 1.0, Action Search API). A star has no end: listed is what can be spelled with the \
        words of the application and of the subject's roles.",
    request_body(content = Search, example = json!({ "subject": { "type": "partner_session", "id": "cmt_session_…" },
        "resource": { "type": "account", "id": "boat-1" } })),
    responses(
        (status = 200, description = "Found", body = Results<FoundAction>),
    ),
    extensions(("x-refusals" = json!("stale"))),
)]
pub async fn actions(
    State(app): State<Arc<App>>,
    Asker(application): Asker,
    Body(asked): Body<Search>,
) -> Result<Json<Results<FoundAction>>, Problem> {
    let part = Part::read(&app, "action", application, &asked)?;
    let by = app.clone();
    look(&app, asked, move |view, asked| {
        let whose = subject(asked.subject.as_ref())?;
        let at: Place<'_> = place(asked.resource.as_ref())?;
        let state = &*view.state;
        let (found, resource) = match whose {
            Subject::Person(id) => {
                let resource = anywhere(state, at);
                let owner = search::owner(resource);
                let member = owner.zip(person(state, owner, id));
                let found = member.and_then(|(o, p)| search::member(state, application, o, p));
                (found, resource)
            }
            Subject::Token(_) | Subject::Session(_) => {
                let found = there(view, application, whose, None).into_iter().next();
                let resource =
                    found.as_ref().map_or(Resource::Unknown, |(o, _)| inside(state, *o, at));
                (found.map(|(_, s)| s), resource)
            }
        };
        let none = comity_domain::permission::Permissions::none();
        let words = state.applications.get(application).map_or(&none, |a| &a.permissions);
        let all = found.map(|s| s.permissions(words, resource, view.now)).transpose();
        let all = all.map_err(|_| {
            Problem::field("subject", "holds too many permissions to be listed; ask by evaluation")
        })?;
        let all = all.unwrap_or_default();
        Ok(part.cut(&by, all, |name| Some(FoundAction { name: name.clone() })))
    })
    .await
}
