//! Where the link of an invitation leads: what is offered, registering, signing in, yes and no.
//!
//! The token stands behind the `#` of the link, which no browser sends; the script takes it into its
//! field and off the address, and without script it is pasted. Nothing is done by opening a page.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_app::Failure;
use comity_domain::command::Door;
use comity_domain::invitation::InvitationPhase;
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use serde::Deserialize;

use crate::parts::{Banner, Field, Tone, banner};
use crate::routes::Console;
use crate::shell;
use crate::show::{self, When};
use crate::sign_in::Around;
use crate::visitor::{Counted, Open, Sent, Visitor};
use crate::wrong::Wrong;

/// What stands behind the `#`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    token: String,
}

/// A local account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    token: String,
    name: String,
    password: String,
}

#[derive(Template)]
#[template(path = "invitation.html")]
struct Asking {
    around: Around,
    banner: Option<Banner>,
    token: Field,
    /// Whether this stops mails, and shows no invitation.
    stop: bool,
}

#[derive(Template)]
#[template(path = "invitation_shown.html")]
struct Shown {
    around: Around,
    banner: Option<Banner>,
    token: String,
    provider: String,
    customer: String,
    roles: String,
    accounts: String,
    ends: When,
    expires: When,
    /// Why it cannot be answered, if so.
    over: Option<&'static str>,
    held: bool,
    /// Of whoever is signed in: their name, and the key of their forms.
    who: Option<(String, String)>,
    name: Field,
    password: Field,
}

type Marked = Option<(String, String)>;

fn asking(
    stop: bool,
    token: &str,
    wrong: Option<&(String, String)>,
) -> Result<Html<String>, Wrong> {
    let hint = if stop {
        "What stands behind the # of the link at the end of the mail."
    } else {
        "What stands behind the # of the link in the mail; it begins with cmt_invite_."
    };
    let token = Field::new("token", "Code of the link").value(token).most(400).hint(hint);
    let page = Asking { around: Around::new(), banner: None, token: token.wrong(wrong), stop };
    Ok(Html(page.render()?))
}

/// The page that takes the code of the link.
pub async fn page() -> Result<Html<String>, Wrong> {
    asking(false, "", None)
}

fn unknown() -> (String, String) {
    let why = "This code is unknown, or was replaced by that of a later mail. Open the newest one.";
    ("token".into(), why.into())
}

fn shown(
    console: &Console,
    who: Option<&Visitor>,
    token: &str,
    said: Option<Banner>,
    wrong: &Marked,
    name: &str,
) -> Result<Response, Wrong> {
    if !console.app.is_current() {
        return Err(Wrong::NotCurrent);
    }
    let seen = match console.app.look_at_invitation(token) {
        Ok(seen) => seen,
        Err(Failure::Refused(Refusal::NotFound)) => {
            let page = asking(false, token, Some(&unknown()))?;
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
        Err(other) => return Err(other.into()),
    };
    let state = console.app.state();
    let named = |id| {
        let own = state.organisations.get(id);
        own.map(|o| state.words.show(o.name).to_owned()).unwrap_or_default()
    };
    let roles = seen.roles.iter().filter_map(|r| Some(state.roles.get(*r)?.name.to_string()));
    let account = |id| Some(state.words.show(state.accounts.get(id)?.name).to_owned());
    let page = Shown {
        around: Around::new(),
        banner: said,
        token: token.to_owned(),
        provider: named(seen.provider),
        customer: named(seen.customer),
        roles: roles.collect::<Vec<_>>().join(", "),
        accounts: match &seen.accounts {
            Accounts::All => "All that are given".into(),
            Accounts::List(list) => {
                list.iter().filter_map(|a| account(*a)).collect::<Vec<_>>().join(", ")
            }
        },
        ends: show::when(seen.ends),
        expires: show::when(seen.expires),
        over: match seen.phase {
            InvitationPhase::Pending => None,
            InvitationPhase::Accepted => Some("This invitation was accepted."),
            InvitationPhase::Declined => Some("This invitation was declined."),
            InvitationPhase::Cancelled => {
                Some("This invitation was cancelled. Ask who invited you.")
            }
            InvitationPhase::Expired => Some("This invitation has expired. Ask for another."),
        },
        held: seen.held,
        who: who.map(|who| {
            let known = state.people.get(who.person);
            let name = known.map(|p| state.words.show(p.name).to_owned());
            (name.unwrap_or_default(), who.form_key.clone())
        }),
        name: Field::new("name", "Your name")
            .auto("name")
            .most(120)
            .value(name)
            .wrong(wrong.as_ref()),
        password: Field::new("password", "New password")
            .kind("password")
            .auto("new-password")
            .most(128)
            .hint("At least 15 characters. Several words make a good one.")
            .wrong(wrong.as_ref()),
    };
    let bad = wrong.is_some() || page.banner.as_ref().is_some_and(|b| b.tone == Tone::Bad);
    let status = if bad { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok((status, Html(page.render()?)).into_response())
}

/// What is behind the link.
pub async fn look(
    State(console): State<Console>,
    who: Option<Extension<Visitor>>,
    Counted(beside): Counted,
    Open(form): Open<Token>,
) -> Result<Response, Wrong> {
    beside.limits.enrol(beside.from)?;
    shown(&console, who.as_deref(), form.token.trim(), None, &None, "")
}

/// Makes a local account with the invited address, unless there is one; what is said is the same.
pub async fn register(
    State(console): State<Console>,
    who: Option<Extension<Visitor>>,
    Counted(beside): Counted,
    Open(form): Open<Register>,
) -> Result<Response, Wrong> {
    beside.limits.enrol(beside.from)?;
    let Register { token, name, password } = form;
    let token = token.trim();
    let done = console.app.register_invited(Door::Console, token, &name, password).await;
    let (said, marked) = match done {
        Ok(()) => {
            let said = "There is an account with the invited address now. Sign in, then open the link of the mail once more.";
            return Ok(shell::done("/console/sign-in?back=/console/invitation", said));
        }
        Err(Failure::Refused(Refusal::Invalid { field, why })) => {
            (None, Some((field.to_owned(), format!("It {why}."))))
        }
        Err(Failure::Refused(refusal)) => (Some(banner(Tone::Bad, refusal.sentence())), None),
        Err(other) => return Err(other.into()),
    };
    shown(&console, who.as_deref(), token, said, &marked, &name)
}

/// The invited person comes in.
pub async fn accept(
    State(console): State<Console>,
    Sent { who, form }: Sent<Token>,
) -> Result<Response, Wrong> {
    let token = form.token.trim();
    let accept = match console.app.accepting(token) {
        Ok(accept) => who.run(&console.app, accept).await,
        Err(failure) => Err(failure.into()),
    };
    match accept {
        Ok(_) => Ok(shell::done("/console/tenants", "You accepted the invitation.")),
        Err(Wrong::Refused(refusal)) => {
            let said = banner(Tone::Bad, refusal.sentence());
            shown(&console, Some(&who), token, Some(said), &None, "")
        }
        Err(other) => Err(other),
    }
}

/// Whoever holds the link says no.
pub async fn decline(
    State(console): State<Console>,
    who: Option<Extension<Visitor>>,
    Counted(beside): Counted,
    Open(form): Open<Token>,
) -> Result<Response, Wrong> {
    beside.limits.enrol(beside.from)?;
    let token = form.token.trim();
    match console.app.decline_invitation(Door::Console, token).await {
        Ok(_) => shown(&console, who.as_deref(), token, None, &None, ""),
        Err(Failure::Refused(refusal)) => {
            let said = banner(Tone::Bad, refusal.sentence());
            shown(&console, who.as_deref(), token, Some(said), &None, "")
        }
        Err(other) => Err(other.into()),
    }
}

/// The page that takes the code by which mails stop.
pub async fn stop_page() -> Result<Html<String>, Wrong> {
    asking(true, "", None)
}

/// Nothing is mailed any more to that address.
pub async fn stop(
    State(console): State<Console>,
    Counted(beside): Counted,
    Open(form): Open<Token>,
) -> Result<Response, Wrong> {
    beside.limits.enrol(beside.from)?;
    match console.app.stop_invitations(&form.token).await {
        Ok(()) => {
            let said = "No more invitations are sent to that address.";
            let page = Asking {
                around: Around::new(),
                banner: Some(banner(Tone::Good, said)),
                token: Field::new("token", "Code of the link").most(400),
                stop: true,
            };
            Ok(Html(page.render()?).into_response())
        }
        Err(Failure::Refused(Refusal::NotFound)) => {
            let why = "This code was in no mail. Open the link at the end of the mail once more.";
            let page = asking(true, &form.token, Some(&("token".into(), why.into())))?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(other) => Err(other.into()),
    }
}
