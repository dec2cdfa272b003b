//! What the operator does: suspending, bringing back and closing an organisation, lifting a halt.
//! Each is asked before, with what will stop.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::ids::{HaltId, OrganisationId};
use comity_domain::organisation::Standing;
use serde::Deserialize;

use super::overview::target;
use super::visit::{Operator, Ordered};
use crate::at::{Asked, At};
use crate::parts::{Banner, Tone, banner};
use crate::routes::Console;
use crate::shell;
use crate::sign_in::{Around, Bare};
use crate::wrong::{self, Wrong};

const HOME: &str = "/console/operator";

#[derive(Template)]
#[template(path = "operator_ask.html")]
struct Question {
    around: Around,
    said: Option<String>,
    form_key: String,
    title: String,
    banner: Option<Banner>,
    will: Vec<String>,
    hidden: Vec<(&'static str, &'static str)>,
    to: String,
    button: &'static str,
    tone: &'static str,
}

/// What is to become of it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Becomes {
    standing: Standing,
}

fn question(
    console: &Console,
    who: &Operator,
    id: OrganisationId,
    standing: Standing,
) -> Result<Question, Wrong> {
    let state = console.app.state();
    let organisation = state.organisations.get(id).ok_or_else(Wrong::not_found)?;
    let name = state.words.show(organisation.name);
    let (title, button, code, tone, will) = match standing {
        Standing::Active => (
            format!("Bring {name} back?"),
            "Bring back",
            "active",
            "primary",
            vec![
                format!("{name} takes part again, and so do its grants and assignments."),
                "Sessions that ended stay ended.".to_owned(),
            ],
        ),
        Standing::Suspended => (
            format!("Suspend {name}?"),
            "Suspend",
            "suspended",
            "danger",
            vec![
                format!("Nobody enters {name}, and its people enter nobody."),
                "Sessions in progress on both sides end at once.".to_owned(),
                "Grants and assignments are kept until you bring it back or they run out."
                    .to_owned(),
            ],
        ),
        Standing::Closed => (
            format!("Close {name} for good?"),
            "Close for good",
            "closed",
            "danger",
            vec![
                format!(
                    "Every grant that {name} gave or received ends, and every session with it."
                ),
                "Its open requests are cancelled, and its webhooks end.".to_owned(),
                "This cannot be undone.".to_owned(),
            ],
        ),
    };
    Ok(Question {
        around: Around::new(),
        said: who.said.clone(),
        form_key: who.form_key.clone(),
        title,
        banner: None,
        will,
        hidden: vec![("standing", code)],
        to: format!("{HOME}/organisations/{id}/standing"),
        button,
        tone,
    })
}

/// Asks before an organisation's standing changes.
pub async fn standing_page(
    State(console): State<Console>,
    who: Operator,
    At(id): At<OrganisationId>,
    Asked(becomes): Asked<Becomes>,
) -> Result<Response, Wrong> {
    let page = question(&console, &who, id, becomes.standing)?;
    who.shows(&console.app, &page)
}

/// Changes it.
pub async fn set_standing(
    State(console): State<Console>,
    At(id): At<OrganisationId>,
    Ordered { who, form }: Ordered<Becomes>,
) -> Result<Response, Wrong> {
    let mut page = question(&console, &who, id, form.standing)?;
    let command = Command::SetStanding { organisation: id, standing: form.standing };
    match console.app.run(&who.caller, command).await.map_err(Wrong::from) {
        Ok(done) => {
            let state = done.state;
            let name = state.organisations.get(id).map(|o| state.words.show(o.name));
            let name = name.unwrap_or_default();
            let said = match form.standing {
                Standing::Active => format!("{name} takes part again."),
                Standing::Suspended => {
                    format!("{name} is suspended: its sessions on both sides have ended.")
                }
                Standing::Closed => {
                    format!("{name} is closed: its grants and sessions have ended.")
                }
            };
            Ok(shell::done(HOME, &said))
        }
        Err(Wrong::Refused(refusal)) => {
            page.banner = Some(banner(Tone::Bad, refusal.sentence()));
            let page = who.shows(&console.app, &page)?;
            Ok((wrong::status(&refusal), page).into_response())
        }
        Err(other) => Err(other),
    }
}

/// Asks before a halt is lifted.
pub async fn lift_page(
    State(console): State<Console>,
    who: Operator,
    At(id): At<HaltId>,
) -> Result<Response, Wrong> {
    let state = console.app.state();
    let halt = state.halts.get(id).ok_or_else(Wrong::not_found)?;
    let page = Question {
        around: Around::new(),
        said: who.said.clone(),
        form_key: who.form_key.clone(),
        title: format!("Lift the halt on {}?", target(&state, halt.target)),
        banner: None,
        will: vec![
            format!("Invariant {} did not hold for it. Look into that first.", halt.invariant),
            "What was ended stays ended.".to_owned(),
            "Where the breach still stands, the next check halts it again.".to_owned(),
        ],
        hidden: Vec::new(),
        to: format!("{HOME}/halts/{id}/lift"),
        button: "Lift the halt",
        tone: "danger",
    };
    who.shows(&console.app, &page)
}

/// Lifts it.
pub async fn lift(
    State(console): State<Console>,
    At(halt): At<HaltId>,
    Ordered { who, .. }: Ordered<Bare>,
) -> Result<Response, Wrong> {
    console.app.run(&who.caller, Command::LiftHalt { halt }).await?;
    Ok(shell::done(HOME, "The halt is lifted. The next check looks at it again."))
}
