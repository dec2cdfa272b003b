//! Many people on many accounts of a grant: what would become of it, and that it be done.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_domain::bulk::{self, Deed, Many, Plan};
use comity_domain::command::Command;
use comity_domain::event::{Event, Row};
use comity_domain::grant::Grant;
use comity_domain::ids::{Digest32, GrantId, PersonId};
use comity_domain::may;
use comity_domain::state::State as World;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::grants::{Successor, accounts_named, person_named, roles_of, successor};
use crate::input::{Body, Path, WireAccounts};
use crate::openapi::values;
use crate::problem::Problem;
use crate::shown;

/// Whether accounts are given or taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    /// They get the accounts beside what they have.
    Add,
    /// They lose the accounts and keep the rest; who has no rest is off the grant.
    Remove,
}

/// Many people and many accounts of a grant.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "action": "add", "people": ["hana", "hugo"], "accounts": ["boat-1", "boat-2"], "roles": ["clerk"] })))]
#[serde(deny_unknown_fields)]
pub struct BulkTerms {
    action: BulkAction,
    /// Comity's identifiers or the builder's, of members of the partner's side.
    #[schema(min_items = 1, max_items = 1000)]
    people: Vec<String>,
    /// Of the grant; `"all"` are all that it gives, and those that it will give.
    accounts: WireAccounts,
    /// On adding: codes of the grant's roles, for who is not on it yet.
    #[serde(default)]
    #[schema(required = false)]
    roles: Vec<String>,
    /// On adding: who is on the grant already gets these roles too, instead of theirs, on all their accounts of it.
    #[serde(default)]
    #[schema(required = false)]
    everybody: bool,
    /// On removing: who is put on the grant, where nobody would be left.
    successor: Option<Successor>,
}

impl BulkTerms {
    fn resolve(&self, state: &World, grant: &Grant) -> Result<Many, Problem> {
        let person = |named: &String| {
            let found = person_named(state, grant, named);
            found.map_err(|_| Problem::field("people", format!("name {named:?}, who is no member")))
        };
        let people: BTreeSet<PersonId> =
            self.people.iter().map(person).collect::<Result<_, _>>()?;
        let deed = match self.action {
            BulkAction::Add if self.successor.is_some() => {
                return Err(Problem::field("successor", "is only for removing"));
            }
            BulkAction::Add => Deed::Add {
                roles: roles_of(state, grant, &self.roles)?.into_iter().collect(),
                everybody: self.everybody,
            },
            BulkAction::Remove if !self.roles.is_empty() || self.everybody => {
                return Err(Problem::field("roles", "are only for adding"));
            }
            BulkAction::Remove => {
                let next = self.successor.as_ref();
                Deed::Remove { successor: next.map(|s| successor(state, grant, s)).transpose()? }
            }
        };
        let accounts = accounts_named(state, grant, Some(&self.accounts));
        Ok(Many { people, accounts, deed })
    }
}

/// What would become of it, counted in pairs of a person and an account.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkSummary, examples(json!({ "summary": "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
    "people": 2, "accounts": 2, "created": 3, "unchanged": 1, "ended": 0, "put_on": 1, "more": 1, "less": 0, "taken_off": 0,
    "roles_replaced": 0, "rule_lost": 0, "superseded": [], "last_user": false, "linked": [], "linked_token": null })))]
pub struct ShownPlan {
    /// What the call echoes.
    #[schema(value_type = values::Digest32)]
    summary: Digest32,
    /// How many people are named.
    people: usize,
    /// How many accounts are meant.
    accounts: usize,
    /// Pairs that come to be.
    created: u64,
    /// Pairs that stay as they are.
    unchanged: u64,
    /// Pairs that end.
    ended: u64,
    /// How many people are put on the grant.
    put_on: usize,
    /// How many are on it and get more, or other roles.
    more: usize,
    /// How many are on it with less.
    less: usize,
    /// How many are off it.
    taken_off: usize,
    /// How many who are on it hold other roles then.
    roles_replaced: usize,
    /// How many had all accounts, and have the rest as a list then: none that comes later.
    rule_lost: usize,
    /// Who has a membership of their own in the customer, which this replaces.
    superseded: Vec<shown::Person>,
    /// Nobody would be left: it is refused as it is.
    last_user: bool,
    /// Accounts of the grant, by your identifiers, that are linked to those named: they go along and are counted.
    linked: Vec<String>,
    /// What the call echoes to take them along; null where there are none.
    #[schema(required, value_type = Option<values::Digest32>)]
    linked_token: Option<Digest32>,
}

fn show(state: &World, many: &Many, plan: &Plan) -> ShownPlan {
    ShownPlan {
        summary: plan.token,
        people: many.people.len(),
        accounts: plan.accounts,
        created: plan.created,
        unchanged: plan.unchanged,
        ended: plan.ended,
        put_on: plan.new.len(),
        more: plan.more.len(),
        less: plan.less.len(),
        taken_off: plan.off.len(),
        roles_replaced: plan.roles.len(),
        rule_lost: plan.listed.len(),
        superseded: plan.superseded.iter().filter_map(|p| shown::person(state, *p)).collect(),
        last_user: plan.last_user,
        linked: plan
            .linked
            .iter()
            .filter_map(|id| state.accounts.get(*id))
            .map(|account| state.words.show(account.external).to_owned())
            .collect(),
        linked_token: plan.linked_token,
    }
}

/// What giving or taking in bulk would do.
///
/// Who may: an Admin of the partner. The call itself echoes the hash that is shown here.
#[utoipa::path(post, path = "/v1/grants/{grant}/bulk/summary", operation_id = "summariseBulk", tag = "Grants", security(("signIn" = [])),
    request_body = BulkTerms,
    responses((status = 200, description = "Exactly what it would do, as things stand.", body = ShownPlan)),
    extensions(("x-refusals" = json!("auto_assign_enabled last_admin widening locked not_active wrong_state"))))]
pub async fn summary(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<BulkTerms>,
) -> Result<Json<ShownPlan>, Problem> {
    let (state, now) = (app.state(), app.now());
    let grant = may::check_grant(&state, &who.0, action(body.action), id, now)?;
    let many = body.resolve(&state, grant)?;
    let plan = bulk::plan(&state, id, &many, now)?;
    let shown = show(&state, &many, &plan);
    if !plan.last_user {
        // What only the whole row shows is refused here already: a customer's last Admin.
        let (many, token, linked) = (Box::new(many), plan.token, plan.linked_token);
        app.staged(&who.0, id, Command::AssignMany { grant: id, many, token, linked })?;
    }
    Ok(Json(shown))
}

/// What somebody needs for it.
pub fn action(of: BulkAction) -> may::Action {
    match of {
        BulkAction::Add => may::Action::Assign,
        BulkAction::Remove => may::Action::Unassign,
    }
}

/// The yes to exactly what the summary showed.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "summary": "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b",
    "terms": { "action": "add", "people": ["hana"], "accounts": "all", "roles": ["clerk"] } })))]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    #[schema(value_type = values::Digest32)]
    summary: Digest32,
    /// The same as was summarised.
    terms: BulkTerms,
    /// Takes along the linked accounts that the summary named.
    #[schema(value_type = Option<values::Digest32>)]
    linked_token: Option<Digest32>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkDone, examples(json!({ "created": 3, "ended": 0, "put_on": 1, "more": 1, "less": 0, "taken_off": 0 })))]
pub struct BulkDone {
    /// Pairs that are new.
    created: u64,
    /// Pairs that ended.
    ended: u64,
    /// How many people were put on the grant.
    put_on: usize,
    /// How many who were on it got more, or other roles.
    more: usize,
    /// How many have less.
    less: usize,
    /// How many are off it.
    taken_off: usize,
}

impl BulkDone {
    /// By the row that it became; nothing where nothing changed.
    fn of(row: Option<&Row>) -> Self {
        let mut done = Self { created: 0, ended: 0, put_on: 0, more: 0, less: 0, taken_off: 0 };
        for recorded in row.into_iter().flat_map(|row| &row.events) {
            match &recorded.event {
                Event::AssignedMany { new, more, pairs, .. } => {
                    (done.created, done.put_on, done.more) = (*pairs, new.len(), more.len());
                }
                Event::UnassignedMany { off, less, pairs, .. } => {
                    (done.ended, done.taken_off, done.less) = (*pairs, off.len(), less.len());
                }
                _ => {}
            }
        }
        done
    }
}

/// Give accounts of a grant to many people, or take them from many.
///
/// Who may: an Admin of the partner. All or nothing, as the summary said; `stale_summary` if it would be something else by now.
#[utoipa::path(post, path = "/v1/grants/{grant}/bulk", operation_id = "bulk", tag = "Grants", security(("signIn" = [])),
    request_body = Bulk,
    responses((status = 200, description = "What was done.", body = BulkDone)),
    extensions(("x-refusals" = json!("stale_summary auto_assign_enabled linked_accounts last_user last_admin widening locked not_active wrong_state"))))]
pub async fn bulk(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<Bulk>,
) -> Result<Json<BulkDone>, Problem> {
    let state = app.state();
    let grant = may::check_grant(&state, &who.0, action(body.terms.action), id, app.now())?;
    let put_together = || {
        let many = Box::new(body.terms.resolve(&state, grant)?);
        let (token, linked) = (body.summary, body.linked_token);
        Ok(Command::AssignMany { grant: id, many, token, linked })
    };
    let done = who.put_together(&app, None, put_together).await?;
    Ok(Json(BulkDone::of(done.row.as_deref())))
}
