//! A person's passkeys (WebAuthn). Making one needs a script, because only the browser speaks with the
//! authenticator; naming and removing do not.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::ids::PasskeyId;
use comity_domain::refusal::Refusal;
use serde::Deserialize;

use super::{HERE, manages, on_the_form, wrong_in};
use crate::at::At;
use crate::dialog::{Dialog, no_dialog};
use crate::parts::{Banner, Field, Tone, banner};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

const NEW: &str = "/console/me/passkeys/new";

#[derive(Template)]
#[template(path = "me_passkey.html")]
struct New {
    shell: Shell,
    banner: Option<Banner>,
    ceremony: String,
    /// What the authenticator is asked, as JSON.
    options: String,
    name: Field,
}

fn name_field(value: &str, no: Option<&Wrong>) -> Field {
    let wrong = no.and_then(|no| wrong_in(no, &["name"]).0);
    Field::new("name", "Name")
        .hint("How you will know it again, such as \"Blue key\" or \"Phone\".")
        .most(120)
        .value(value)
        .wrong(wrong.as_ref())
}

/// Begins to make one.
pub async fn new(State(console): State<Console>, who: Visitor) -> Result<Response, Wrong> {
    manages(&console, &who, NEW)?;
    begun(&console, &who, "", None).await
}

async fn begun(
    console: &Console,
    who: &Visitor,
    name: &str,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let shell = Shell::personal(console, who, Section::Me, "Add a passkey");
    let ceremony = match console.app.begin_passkey(&who.caller).await.map_err(Wrong::from) {
        Ok(ceremony) => ceremony,
        Err(Wrong::Refused(no @ Refusal::WrongState(_))) => {
            return no_dialog(shell, "No passkey can be added", &no, HERE);
        }
        Err(other) => return Err(other.or_fresh(NEW)),
    };
    let above = no.and_then(|no| wrong_in(no, &["name"]).1);
    let page = New {
        shell,
        banner: above.map(|text| banner(Tone::Bad, text)),
        ceremony: ceremony.ceremony.reveal().to_owned(),
        options: ceremony.options.to_string(),
        name: name_field(name, no),
    };
    let status = if no.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok((status, Html(page.render()?)).into_response())
}

/// What the authenticator made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    ceremony: String,
    name: String,
    /// The credential, as its `toJSON()` writes it (WebAuthn level 3).
    passkey: String,
}

/// Completes it.
pub async fn make(
    State(console): State<Console>,
    Sent { who, form }: Sent<Made>,
) -> Result<Response, Wrong> {
    let unreadable =
        || Wrong::Form("Your browser sent no passkey. It needs script for that.".into());
    let answer = serde_json::from_str(&form.passkey).map_err(|_| unreadable())?;
    let prepared =
        console.app.prepare_passkey(&who.caller, &form.ceremony, answer, form.name.clone());
    let done = match prepared {
        Ok(prepared) => who.run(&console.app, prepared.command).await,
        Err(no) => Err(no.into()),
    };
    match done {
        Ok(_) => Ok(shell::done(HERE, &format!("The passkey \"{}\" is added.", form.name.trim()))),
        Err(no) if on_the_form(&no) => begun(&console, &who, &form.name, Some(&no)).await,
        Err(no) => Err(no.or_fresh(NEW)),
    }
}

/// How one of the visitor's own is called.
fn called(console: &Console, who: &Visitor, id: PasskeyId) -> Result<String, Wrong> {
    let state = console.app.state();
    let has = state.factors.get(&who.person);
    let known = has.into_iter().flat_map(|f| &f.passkeys).find(|p| p.id == id);
    known.map(|p| state.words.show(p.name).to_owned()).ok_or_else(Wrong::not_found)
}

/// The page for another name.
pub async fn rename_page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<PasskeyId>,
) -> Result<Html<String>, Wrong> {
    let name = called(&console, &who, id)?;
    manages(&console, &who, &format!("{HERE}/passkeys/{id}/rename"))?;
    rename_again(&console, &who, id, &name, None)
}

fn rename_again(
    console: &Console,
    who: &Visitor,
    id: PasskeyId,
    name: &str,
    no: Option<&Wrong>,
) -> Result<Html<String>, Wrong> {
    let above = no.and_then(|no| wrong_in(no, &["name"]).1);
    let dialog = Dialog {
        shell: Shell::personal(console, who, Section::Me, "Rename a passkey"),
        title: "Rename the passkey".into(),
        banner: above.map(|text| banner(Tone::Bad, text)),
        will: Vec::new(),
        hidden: Vec::new(),
        fields: vec![name_field(name, no)],
        to: format!("{HERE}/passkeys/{id}/rename"),
        button: "Save",
        tone: "primary",
        back: HERE.into(),
    };
    dialog.page()
}

/// Another name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    name: String,
}

/// Renames it.
pub async fn rename(
    State(console): State<Console>,
    At(id): At<PasskeyId>,
    Sent { who, form }: Sent<Name>,
) -> Result<Response, Wrong> {
    called(&console, &who, id)?;
    let command = Command::RenamePasskey { passkey: id, name: form.name.clone() };
    match who.run(&console.app, command).await {
        Ok(_) => Ok(shell::done(HERE, &format!("It is called \"{}\" now.", form.name.trim()))),
        Err(no) if on_the_form(&no) => {
            let page = rename_again(&console, &who, id, &form.name, Some(&no))?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(no) => Err(no.or_fresh(format!("{HERE}/passkeys/{id}/rename"))),
    }
}

/// Asks before it goes.
pub async fn remove_page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<PasskeyId>,
) -> Result<Html<String>, Wrong> {
    let name = called(&console, &who, id)?;
    let own = format!("{HERE}/passkeys/{id}/remove");
    manages(&console, &who, &own)?;
    let dialog = Dialog {
        shell: Shell::personal(&console, &who, Section::Me, "Remove a passkey"),
        title: format!("Remove the passkey \"{name}\"?"),
        banner: None,
        will: vec!["It signs you in no more. Sign-ins that it began go on until they end.".into()],
        hidden: Vec::new(),
        fields: Vec::new(),
        to: own,
        button: "Remove",
        tone: "danger",
        back: HERE.into(),
    };
    dialog.page()
}

/// Removes it.
pub async fn remove(
    State(console): State<Console>,
    At(id): At<PasskeyId>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let name = called(&console, &who, id)?;
    let done = who.run(&console.app, Command::RemovePasskey { passkey: id }).await;
    done.map_err(|no| no.or_fresh(format!("{HERE}/passkeys/{id}/remove")))?;
    Ok(shell::done(HERE, &format!("The passkey \"{name}\" is removed.")))
}
