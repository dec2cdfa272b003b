//! Amendments and renewals: a customer makes something else of a grant that stands.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::consent::{self, NamedAmending};
use comity_domain::grant::{self, Amending};
use comity_domain::ids::{Digest32, GrantId, OrganisationId};
use comity_domain::may::{self, Action};
use comity_domain::role::Modes;
use comity_domain::state::State as World;
use comity_domain::time::{Days, Minutes};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::auth::Who;
use crate::grants::answer;
use crate::input::{Body, Path, WireAccounts};
use crate::openapi::values;
use crate::problem::Problem;
use crate::requests::{ShownSummary, show_summary};
use crate::shown::ShownGrant;

/// What a grant becomes. What is not named stays.
#[derive(Deserialize, Default, ToSchema)]
#[schema(as = Amending, examples(json!({ "roles": ["clerk", "skipper"], "days": 90 })))]
#[serde(deny_unknown_fields)]
pub struct WireAmending {
    /// Codes of all the roles that it gives then, each as it is today.
    #[schema(min_items = 1, max_items = 50)]
    roles: Option<Vec<String>>,
    /// All the accounts that it gives then.
    accounts: Option<WireAccounts>,
    #[schema(value_type = Option<values::Modes>)]
    modes: Option<Modes>,
    /// So long from the decision, or from the start where that is still to come.
    #[schema(minimum = 1, maximum = 730)]
    days: Option<u32>,
    /// The longest session.
    #[schema(minimum = 5, maximum = 480)]
    session_minutes: Option<u32>,
    /// Whether people from outside may be invited.
    allow_external: Option<bool>,
    /// Whether tokens may be checked without asking, and then go on for up to 60 seconds.
    jwt: Option<bool>,
}

impl WireAmending {
    fn resolve(&self, state: &World, customer: OrganisationId) -> Result<Amending, Problem> {
        let named = NamedAmending {
            roles: self.roles.clone(),
            accounts: self.accounts.as_ref().map(WireAccounts::named),
            modes: self.modes,
            days: self.days.map(Days),
            cap: self.session_minutes.map(Minutes),
            allow_external: self.allow_external,
            jwt: self.jwt,
        };
        Ok(named.resolve(state, customer)?)
    }
}

/// What a grant would become.
///
/// Who may: an Admin of the customer, freshly signed in. Amending echoes the hash that is shown here.
#[utoipa::path(post, path = "/v1/grants/{grant}/amend/summary", operation_id = "summariseAmendment", tag = "Grants", security(("signIn" = [])),
    request_body = WireAmending,
    responses((status = 200, description = "Exactly what it would give.", body = ShownSummary)),
    extensions(("x-refusals" = json!("fresh_sign_in_required four_eyes wrong_state not_active locked"))))]
pub async fn summary(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<WireAmending>,
) -> Result<Json<ShownSummary>, Problem> {
    let (state, now) = (app.state(), app.now());
    let known = grant::may_amend(&state, &who.0, id, now)?;
    let amending = body.resolve(&state, known.customer.organisation)?;
    let summary = consent::amended(&state, id, known, &amending, now)?;
    Ok(Json(show_summary(&state, &summary)))
}

/// The yes to exactly what the summary showed.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "summary": "3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b", "terms": { "days": 90 } })))]
#[serde(deny_unknown_fields)]
pub struct Amend {
    #[schema(value_type = values::Digest32)]
    summary: Digest32,
    /// The same as was summarised.
    #[serde(default)]
    #[schema(required = false)]
    terms: WireAmending,
}

/// Amend or renew a grant.
///
/// Who may: an Admin of the customer, freshly signed in, who is on no side of the partner. People stay on it; no session's end moves.
#[utoipa::path(post, path = "/v1/grants/{grant}/amend", operation_id = "amend", tag = "Grants", security(("signIn" = [])),
    request_body = Amend,
    responses((status = 200, description = "The grant.", body = ShownGrant, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    extensions(("x-refusals" = json!("fresh_sign_in_required stale_summary four_eyes wrong_state not_active locked"))))]
pub async fn amend(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<GrantId>,
    Body(body): Body<Amend>,
) -> Result<Response, Problem> {
    let state = app.state();
    let known = may::check_grant(&state, &who.0, Action::Amend, id, app.now())?;
    let amend = || {
        let amending = body.terms.resolve(&state, known.customer.organisation)?;
        Ok(Command::Amend { grant: id, amending, summary: body.summary })
    };
    let done = who.put_together(&app, None, amend).await?;
    answer(&done.state, id, done.state.at)
}
