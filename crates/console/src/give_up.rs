//! Giving up what a customer let this organisation in to.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::ids::{GrantId, OrganisationId};
use comity_domain::may::Action;
use comity_domain::view::{self, Stops};

use crate::active::company;
use crate::asking::partner;
use crate::at::At;
use crate::dialog::Dialog;
use crate::grant::{has_stopped, will_stop};
use crate::received::{found, over};
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Section};
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

const TITLE: &str = "Give up access";

/// The dialog.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At((provider, id)): At<(OrganisationId, GrantId)>,
) -> Result<Response, Wrong> {
    again(&console, &who, provider, id, None)
}

fn again(
    console: &Console,
    who: &Visitor,
    provider: OrganisationId,
    id: GrantId,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let read = partner(console, who, provider, Action::GiveUp, Section::Received, TITLE)?;
    let (state, now, shell) = read;
    let grant = found(&state, provider, id)?;
    let back = format!("/console/o/{provider}/grants-received/{id}");
    if !grant.stands(now) {
        return over(shell, grant, &back, now);
    }
    let access = view::access(&state, id, now).ok_or_else(Wrong::not_found)?;
    // Unlike a revoke it cancels no request.
    let stops = Stops { requests: Vec::new(), ..view::stops(&state, &access, now) };
    let customer = company(&state, grant.customer.organisation);
    let mut will = will_stop(&stops, &company(&state, provider));
    will.push(format!("It cannot be undone: to go in again, you have to ask {customer} again."));
    let dialog = Dialog {
        title: format!("Give up the access to {customer}?"),
        banner: said_no(no, &[]).0,
        will,
        hidden: Vec::new(),
        fields: Vec::new(),
        to: format!("{back}/give-up"),
        back,
        button: "Give up",
        tone: "danger",
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or_default();
    Ok((status, dialog.page()?).into_response())
}

/// Gives it up.
pub async fn give_up(
    State(console): State<Console>,
    At((provider, id)): At<(OrganisationId, GrantId)>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let customer = {
        let read = partner(&console, &who, provider, Action::GiveUp, Section::Received, TITLE)?;
        let grant = found(&read.0, provider, id)?;
        company(&read.0, grant.customer.organisation)
    };
    match who.run(&console.app, Command::GiveUp { grant: id }).await {
        Ok(done) => {
            let said = format!("The access to {customer} is given up: {}.", has_stopped(&done));
            Ok(shell::done(&format!("/console/o/{provider}/grants-received"), &said))
        }
        Err(no) if on_the_form(&no).is_some() => again(&console, &who, provider, id, Some(&no)),
        Err(no) => Err(no),
    }
}
