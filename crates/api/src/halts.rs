//! Halts: what the running checker has stopped.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::halt::{Halt, HaltTarget};
use comity_domain::ids::{GrantId, HaltId, KeyId, OrganisationId, PersonId, SessionId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::Path;
use crate::openapi::values;
use crate::page::Items;
use crate::platform::read;
use crate::problem::Problem;
use crate::shown;

/// What is halted: exactly one.
#[derive(Default, Serialize, ToSchema)]
#[schema(min_properties = 1, max_properties = 1)]
pub struct HaltedTarget {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::GrantId, required = false)]
    grant: Option<GrantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::SessionId, required = false)]
    session: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::PersonId, required = false)]
    person: Option<PersonId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::OrganisationId, required = false)]
    organisation: Option<OrganisationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::KeyId, required = false)]
    key: Option<KeyId>,
}

fn named(target: HaltTarget) -> HaltedTarget {
    let nothing = HaltedTarget::default();
    match target {
        HaltTarget::Grant(id) => HaltedTarget { grant: Some(id), ..nothing },
        HaltTarget::Session(id) => HaltedTarget { session: Some(id), ..nothing },
        HaltTarget::Person(id) => HaltedTarget { person: Some(id), ..nothing },
        HaltTarget::Organisation(id) => HaltedTarget { organisation: Some(id), ..nothing },
        HaltTarget::Key(id) => HaltedTarget { key: Some(id), ..nothing },
    }
}

/// What the running checker has stopped.
#[derive(Serialize, ToSchema)]
#[schema(as = Halt, examples(json!({ "id": "halt_01kf4e9ab7c3x8m2v5r6t0w1yz", "target": { "grant": "grant_01kf4e9ab7c3x8m2v5r6t0w1yz" },
    "invariant": 6, "at": "2027-01-31T12:00:00.000Z" })))]
pub struct ShownHalt {
    #[schema(value_type = values::HaltId)]
    id: HaltId,
    target: HaltedTarget,
    /// The number of the invariant that does not hold.
    invariant: u8,
    #[schema(value_type = values::Instant)]
    at: String,
}

/// What the checker has halted.
///
/// Who may: operate. The oldest first.
#[utoipa::path(get, path = "/v1/platform/halts", operation_id = "listHalts", tag = "Platform", security(("key" = [])),
    responses((status = 200, description = "All of them.", body = Items<ShownHalt>)))]
pub async fn halts(
    State(app): State<Arc<App>>,
    who: Who,
) -> Result<Json<Items<ShownHalt>>, Problem> {
    let state = read(&app, &who)?;
    let shown = |(id, h): (HaltId, &Halt)| ShownHalt {
        id,
        target: named(h.target),
        invariant: h.invariant,
        at: shown::time(h.at),
    };
    Ok(Json(Items { items: state.halts.iter().map(shown).collect() }))
}

/// Lift a halt.
///
/// Who may: operate. What was ended stays ended, and where the breach still stands it is halted again.
#[utoipa::path(post, path = "/v1/platform/halts/{halt}/lift", operation_id = "liftHalt", tag = "Platform", security(("key" = [])),
    responses((status = 204, description = "It is lifted.")))]
pub async fn lift_halt(
    State(app): State<Arc<App>>,
    who: Who,
    Path(halt): Path<HaltId>,
) -> Result<StatusCode, Problem> {
    who.run(&app, Command::LiftHalt { halt }).await?;
    Ok(StatusCode::NO_CONTENT)
}
