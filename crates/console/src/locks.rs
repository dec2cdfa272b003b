//! *Report and lock*, and unlocking; and a new customer ID, which shuts the door a step earlier.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::ids::{LockId, OrganisationId, PersonId};
use comity_domain::lock::LockTarget;
use comity_domain::may::Action;
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::view;
use serde::Deserialize;

use crate::access::reader;
use crate::active::target;
use crate::at::{Asked, At};
use crate::dialog::Dialog;
use crate::grant::{has_stopped, will_stop};
use crate::parts::Field;
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell;
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// Whom, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Make {
    organisation: Option<OrganisationId>,
    person: Option<PersonId>,
    #[serde(default)]
    reason: String,
}

impl Make {
    fn target(&self) -> Result<LockTarget, Wrong> {
        match (self.organisation, self.person) {
            (Some(o), None) => Ok(LockTarget::Organisation(o)),
            (None, Some(p)) => Ok(LockTarget::Person(p)),
            _ => Err(Wrong::not_found()),
        }
    }
}

/// Only who has asked or been let in can be locked out: of others not even the name is said.
fn known(state: &World, customer: OrganisationId, target: LockTarget) -> Result<(), Wrong> {
    let known = comity_domain::lock::is_known_partner(state, customer, target);
    if known { Ok(()) } else { Err(Wrong::not_found()) }
}

fn active(customer: OrganisationId) -> String {
    format!("/console/o/{customer}/access/active")
}

/// The dialog.
pub async fn lock_page(
    State(console): State<Console>,
    who: Visitor,
    At(customer): At<OrganisationId>,
    Asked(make): Asked<Make>,
) -> Result<Response, Wrong> {
    lock_again(&console, &who, customer, &make, None)
}

fn lock_again(
    console: &Console,
    who: &Visitor,
    customer: OrganisationId,
    make: &Make,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let (state, now, shell) = reader(console, who, customer, Action::Lock, "Report and lock")?;
    let locked = make.target()?;
    known(&state, customer, locked)?;
    let named = target(&state, locked);
    let whose = match locked {
        LockTarget::Organisation(_) => named.clone(),
        LockTarget::Person(_) => "the partner".to_owned(),
    };
    let mut will = match locked {
        LockTarget::Organisation(_) => {
            will_stop(&view::stops_by_lock(&state, customer, locked, now), &whose)
        }
        LockTarget::Person(_) => {
            let stops = view::stops_by_lock(&state, customer, locked, now);
            let sessions = match stops.sessions.len() {
                0 => format!("{named} is not inside now."),
                1 => "1 session ends at once.".into(),
                n => format!("{n} sessions end at once."),
            };
            vec![sessions, format!("{named} can no longer enter, from whatever organisation.")]
        }
    };
    will.push("They cannot ask, be assigned or enter until you unlock them.".into());
    will.push("The operator is told, and what they did is kept as evidence.".into());
    let (banner, wrong) = said_no(no, &["reason"]);
    let hidden = match locked {
        LockTarget::Organisation(o) => ("organisation", o.to_string()),
        LockTarget::Person(p) => ("person", p.to_string()),
    };
    let dialog = Dialog {
        title: format!("Report and lock {named}?"),
        banner,
        will,
        hidden: vec![hidden],
        fields: vec![
            Field::new("reason", "Reason, for your records")
                .kind("textarea")
                .optional()
                .most(1_000)
                .value(make.reason.clone())
                .hint("Read by people of your organisation only.")
                .wrong(wrong.as_ref()),
        ],
        to: format!("/console/o/{customer}/locks/new"),
        button: "Report and lock",
        tone: "danger",
        back: active(customer),
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or_default();
    Ok((status, dialog.page()?).into_response())
}

/// Locks.
pub async fn lock(
    State(console): State<Console>,
    At(customer): At<OrganisationId>,
    Sent { who, form }: Sent<Make>,
) -> Result<Response, Wrong> {
    let locked = form.target()?;
    let named = {
        let (state, ..) = reader(&console, &who, customer, Action::Lock, "Report and lock")?;
        known(&state, customer, locked)?;
        target(&state, locked)
    };
    let reason = Some(form.reason.clone()).filter(|r| !r.trim().is_empty());
    let command = Command::Lock { customer, target: locked, reason };
    match who.run(&console.app, command).await {
        Ok(done) if done.row.is_none() => {
            Ok(shell::done(&active(customer), &format!("{named} was locked out already.")))
        }
        Ok(done) => {
            let stopped = has_stopped(&done);
            Ok(shell::done(&active(customer), &format!("Locked. {named} is out: {stopped}.")))
        }
        Err(no) if on_the_form(&no).is_some() => {
            lock_again(&console, &who, customer, &form, Some(&no))
        }
        Err(no) => Err(no),
    }
}

fn locked(state: &World, customer: OrganisationId, id: LockId) -> Result<String, Wrong> {
    let lock = state.locks.get(id).filter(|l| l.customer == customer);
    Ok(target(state, lock.ok_or_else(Wrong::not_found)?.target))
}

/// The dialog.
pub async fn unlock_page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, LockId)>,
) -> Result<Response, Wrong> {
    let to = format!("/console/o/{customer}/locks/{id}/unlock");
    let (state, _, shell) =
        reader(&console, &who, customer, Action::Unlock, "Unlock").map_err(|e| e.or_fresh(&*to))?;
    let named = locked(&state, customer, id)?;
    let dialog = Dialog {
        title: format!("Unlock {named}?"),
        banner: None,
        will: vec![
            "Access that still stands can be used again at once.".into(),
            "Sessions that the lock ended stay ended; whoever wants in enters again.".into(),
            "Requests that the lock cancelled stay cancelled.".into(),
        ],
        hidden: Vec::new(),
        fields: Vec::new(),
        to,
        button: "Unlock",
        tone: "primary",
        back: active(customer),
        shell,
    };
    Ok(dialog.page()?.into_response())
}

/// Unlocks.
pub async fn unlock(
    State(console): State<Console>,
    At((customer, id)): At<(OrganisationId, LockId)>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let fresh = |e: Wrong| e.or_fresh(format!("/console/o/{customer}/locks/{id}/unlock"));
    let named = {
        let (state, ..) =
            reader(&console, &who, customer, Action::Unlock, "Unlock").map_err(fresh)?;
        match locked(&state, customer, id) {
            // Sent twice, or somebody else was quicker.
            Err(Wrong::Refused(Refusal::NotFound)) => {
                return Ok(shell::done(&active(customer), "This lock is no longer in force."));
            }
            other => other?,
        }
    };
    who.run(&console.app, Command::Unlock { lock: id }).await.map_err(fresh)?;
    Ok(shell::done(&active(customer), &format!("Unlocked. {named} may enter again.")))
}

// -- the customer ID ------------------------------------------------------------------------------

/// The dialog.
pub async fn rotate_page(
    State(console): State<Console>,
    who: Visitor,
    At(customer): At<OrganisationId>,
) -> Result<Response, Wrong> {
    let to = format!("/console/o/{customer}/access/rotate");
    let (_, _, shell) = reader(&console, &who, customer, Action::RotateCustomerId, "Rotate")
        .map_err(|e| e.or_fresh(&*to))?;
    let dialog = Dialog {
        title: "Rotate the Customer ID?".into(),
        banner: None,
        will: vec![
            "The present one finds nothing any more, wherever it was written down. Partners need the new one \
             to ask."
                .into(),
            "Requests that wait stay as they are, and whoever has access keeps it.".into(),
        ],
        hidden: Vec::new(),
        fields: Vec::new(),
        to,
        button: "Rotate",
        tone: "danger",
        back: format!("/console/o/{customer}/access/pending"),
        shell,
    };
    Ok(dialog.page()?.into_response())
}

/// Rotates.
pub async fn rotate(
    State(console): State<Console>,
    At(customer): At<OrganisationId>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let fresh = |e: Wrong| e.or_fresh(format!("/console/o/{customer}/access/rotate"));
    reader(&console, &who, customer, Action::RotateCustomerId, "Rotate").map_err(fresh)?;
    let code = console.app.fresh_code();
    let command = Command::RotateCustomerId { organisation: customer, code };
    who.run(&console.app, command).await.map_err(fresh)?;
    let to = format!("/console/o/{customer}/access/pending");
    Ok(shell::done(
        &to,
        "Rotated. The Customer ID above is new; the old one finds nothing any more.",
    ))
}
