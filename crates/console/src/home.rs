//! Where somebody lands: their organisation's first page that they may read, or the customers that
//! they may enter.

use axum::extract::State;
use axum::response::Redirect;
use comity_domain::ids::OrganisationId;

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
    let to =
        if reads { format!("/console/o/{id}/access/pending") } else { "/console/tenants".into() };
    Ok(Redirect::to(&to))
}
