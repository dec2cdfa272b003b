//! *Automatically add partner users*: the rule by which all members of a partner are on a grant.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_domain::assignment::AssignmentState;
use comity_domain::auto::{self, AutoSpec};
use comity_domain::command::Command;
use comity_domain::grant::Grant;
use comity_domain::ids::{Digest32, GrantId, PersonId};
use comity_domain::may::{self, Action};
use comity_domain::person::PortalRole;
use comity_domain::state::State as World;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::grants::roles_of;
use crate::input::{Body, Path};
use crate::openapi::values;
use crate::problem::Problem;
use crate::shown::{self, Person};

/// What everybody has by the rule, and who they are.
#[derive(Deserialize, ToSchema)]
#[schema(as = AutoRule)]
#[serde(deny_unknown_fields)]
pub struct WireRule {
    /// Codes of the grant's roles; at least one.
    #[schema(min_items = 1, max_items = 50)]
    roles: Vec<String>,
    /// Only members with one of these portal roles; all members unless given.
    #[schema(value_type = Option<Vec<values::PortalRole>>)]
    only: Option<BTreeSet<PortalRole>>,
}

impl WireRule {
    fn resolve(&self, state: &World, grant: &Grant) -> Result<AutoSpec, Problem> {
        Ok(AutoSpec { roles: roles_of(state, grant, &self.roles)?, only: self.only.clone() })
    }
}

/// What is to be looked at before it is done.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "auto": { "roles": ["clerk"] } })))]
#[serde(deny_unknown_fields)]
pub struct PreviewAuto {
    /// Null for turning it off.
    #[serde(default)]
    #[schema(required = false)]
    auto: Option<WireRule>,
}

/// Exactly what was looked at.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "auto": { "roles": ["clerk"] }, "token": "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b" })))]
#[serde(deny_unknown_fields)]
pub struct SetAuto {
    /// Null for turning it off.
    #[serde(default)]
    #[schema(required = false)]
    auto: Option<WireRule>,
    /// That of the preview.
    #[schema(value_type = values::Digest32)]
    token: Digest32,
}

/// The rule in force.
#[derive(Serialize, ToSchema)]
#[schema(as = ShownAutoRule)]
pub struct ShownRule {
    /// Codes of the roles that everybody has by it, on all accounts of the grant.
    roles: Vec<String>,
    /// Only members with one of these portal roles; null for all.
    #[schema(required, value_type = Option<Vec<values::PortalRole>>)]
    only: Option<BTreeSet<PortalRole>>,
    #[schema(value_type = values::AssignmentState)]
    state: AssignmentState,
    /// Members whom it leaves out, because their place would cost the customer its last Admin.
    left_out: Vec<Person>,
}

/// Whether members are on a grant automatically.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "auto": { "roles": ["clerk"], "only": null, "state": "active", "left_out": [] } })))]
pub struct ShownAuto {
    /// Null where people are put on it one by one.
    #[schema(required)]
    auto: Option<ShownRule>,
}

/// What setting the rule would do.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "gains": [{ "id": "per_01kf4e9ab7c3x8m2v5r6t0w1yz", "name": "Hugo Hart", "email": "hugo@harbor.example" }],
    "loses": [], "changes": [], "keeps": [], "superseded": [],
    "token": "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b" })))]
pub struct ShownPreview {
    /// Who can enter then and cannot now.
    gains: Vec<Person>,
    /// Who can enter now and cannot then.
    loses: Vec<Person>,
    /// Who can before and after, with other roles, accounts or another end.
    changes: Vec<Person>,
    /// Who can before and after, with the same.
    keeps: Vec<Person>,
    /// Whose own membership in the customer is superseded by it.
    superseded: Vec<Person>,
    /// For `PUT /v1/grants/{grant}/auto`; another one as soon as any of this is.
    #[schema(value_type = values::Digest32)]
    token: Digest32,
}

fn people<'p>(state: &World, of: impl IntoIterator<Item = &'p PersonId>) -> Vec<Person> {
    of.into_iter().filter_map(|id| shown::person(state, *id)).collect()
}

fn shown_auto(state: &World, id: GrantId) -> Result<ShownAuto, Problem> {
    let grant = state.grants.get(id).ok_or_else(Problem::not_found)?;
    let rule = grant.auto.as_deref().map(|rule| ShownRule {
        roles: state
            .roles_in(rule.row.roles)
            .iter()
            .filter_map(|r| shown::role_code(state, *r))
            .collect(),
        only: rule.only.clone(),
        state: rule.row.state,
        left_out: people(state, &rule.left_out),
    });
    Ok(ShownAuto { auto: rule })
}

/// Are members on a grant automatically?
///
/// Who may: Support of either side.
#[utoipa::path(get, path = "/v1/grants/{grant}/auto", operation_id = "getAuto", tag = "Grants", security(("signIn" = [])),
    responses((status = 200, description = "The rule, or null.", body = ShownAuto)))]
pub async fn read(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
) -> Result<Json<ShownAuto>, Problem> {
    let state = app.state();
    may::check_grant(&state, &who.0, Action::ReadAssignments, id, app.now())?;
    Ok(Json(shown_auto(&state, id)?))
}

/// What setting the rule would do.
///
/// Who may: an Admin of the partner. Setting it echoes the token that is shown here. What setting it would be refused for is
/// refused here already.
#[utoipa::path(post, path = "/v1/grants/{grant}/auto/preview", operation_id = "previewAuto", tag = "Grants", security(("signIn" = [])),
    request_body = PreviewAuto,
    responses((status = 200, description = "Who gains and who loses.", body = ShownPreview)),
    extensions(("x-refusals" = json!("last_user last_admin widening locked not_active wrong_state"))))]
pub async fn preview(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<PreviewAuto>,
) -> Result<Json<ShownPreview>, Problem> {
    let (state, now) = (app.state(), app.now());
    let grant = may::check_grant(&state, &who.0, Action::SetAuto, id, now)?;
    let spec = body.auto.map(|rule| rule.resolve(&state, grant)).transpose()?;
    let found = auto::preview(&state, &who.0, id, spec.as_ref(), now)?;
    Ok(Json(ShownPreview {
        gains: people(&state, &found.gains),
        loses: people(&state, &found.loses),
        changes: people(&state, &found.changes),
        keeps: people(&state, &found.keeps),
        superseded: people(&state, &found.superseded),
        token: found.token,
    }))
}

/// Turn it on, change it, or turn it off.
///
/// Who may: an Admin of the partner. On: all members are on the grant from now on, also those who join later, and individual
/// assignments end for good. Off: everybody keeps what they have, one by one, and newcomers stay out.
#[utoipa::path(put, path = "/v1/grants/{grant}/auto", operation_id = "setAuto", tag = "Grants", security(("signIn" = [])),
    request_body = SetAuto,
    responses((status = 200, description = "The rule, or null.", body = ShownAuto)),
    extensions(("x-refusals" = json!("stale_summary last_user last_admin widening locked not_active wrong_state"))))]
pub async fn set(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<SetAuto>,
) -> Result<Json<ShownAuto>, Problem> {
    let state = app.state();
    let grant = may::check_grant(&state, &who.0, Action::SetAuto, id, app.now())?;
    let set = || {
        let auto = body.auto.map(|rule| rule.resolve(&state, grant)).transpose()?;
        Ok(Command::SetAuto { grant: id, auto, token: body.token })
    };
    let done = who.put_together(&app, None, set).await?;
    Ok(Json(shown_auto(&done.state, id)?))
}
