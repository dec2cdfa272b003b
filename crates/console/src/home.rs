//! Where somebody lands: what their organisation does here, as customer or as partner, or else the
//! customers that they may enter.

use axum::extract::State;
use axum::response::Redirect;
use comity_domain::ids::OrganisationId;
use comity_domain::state::State as World;

use crate::at::At;
use crate::routes::Console;
use crate::shell::{Section, Shell};
use crate::visitor::Visitor;
use crate::wrong::Wrong;

/// `/console`.
pub async fn home(State(console): State<Console>, who: Visitor) -> Redirect {
    let shell = Shell::personal(&console, &who, Section::Elsewhere, "Home");
    match shell.places.iter().find(|p| p.reads) {
        Some(place) => Redirect::to(&format!("/console/o/{}", place.id)),
        None => Redirect::to("/console/tenants"),
    }
}

/// `/console/o/{organisation}`.
pub async fn organisation(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
) -> Result<Redirect, Wrong> {
    let shell = Shell::of(&console.app.state(), &who, id, Section::Elsewhere, "Home")?;
    let reads = shell.here.is_some_and(|p| p.reads);
    let to = match (reads, only_partner(&console.app.state(), id)) {
        (false, _) => "/console/tenants".into(),
        (true, true) => format!("/console/o/{id}/asking"),
        (true, false) => format!("/console/o/{id}/access/pending"),
    };
    Ok(Redirect::to(&to))
}

/// Whether it has asked others, and nobody has ever asked it.
fn only_partner(state: &World, id: OrganisationId) -> bool {
    let asked = state.requests_to(id).next().is_some() || state.grants_by(id).next().is_some();
    !asked && state.requests_from(id).next().is_some()
}
