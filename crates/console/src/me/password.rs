//! Another password. It ends every sign-in and every stay; the browser goes on by a fresh one.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;

use super::{HERE, manages, on_the_form, wrong_in};
use crate::parts::{Banner, Field, Tone, banner};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::visitor::{self, Sent, Visitor};
use crate::wrong::Wrong;

const OWN: &str = "/console/me/password";

#[derive(Template)]
#[template(path = "me_password.html")]
struct Page {
    shell: Shell,
    banner: Option<Banner>,
    /// Who signed in by a passkey need not know it.
    current: Field,
    password: Field,
}

/// The page.
pub async fn page(State(console): State<Console>, who: Visitor) -> Result<Html<String>, Wrong> {
    manages(&console, &who, OWN)?;
    again(&console, &who, None)
}

fn again(console: &Console, who: &Visitor, no: Option<&Wrong>) -> Result<Html<String>, Wrong> {
    let (wrong, above) =
        no.map_or((None, None), |no| wrong_in(no, &["current_password", "password"]));
    let page = Page {
        shell: Shell::personal(console, who, Section::Me, "Change the password"),
        banner: above.map(|text| banner(Tone::Bad, text)),
        current: Field::new("current_password", "Password now")
            .kind("password")
            .auto("current-password")
            .most(128)
            .wrong(wrong.as_ref()),
        password: Field::new("password", "New password")
            .kind("password")
            .auto("new-password")
            .most(128)
            .hint("At least 15 characters. Several words make a good one.")
            .wrong(wrong.as_ref()),
    };
    Ok(Html(page.render()?))
}

/// The one before, and the new one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    current_password: String,
    password: String,
}

/// Changes it.
pub async fn change(
    State(console): State<Console>,
    Sent { who, form }: Sent<Form>,
) -> Result<Response, Wrong> {
    let app = &console.app;
    let prepared =
        app.prepare_password(&who.caller, Some(form.current_password), form.password).await;
    let done = match prepared {
        Ok(prepared) => who.run(app, prepared.command).await.map(|_| prepared.shown),
        Err(no) => Err(Wrong::from(no)),
    };
    match done {
        Ok(token) => {
            let said = "The password is changed. Every other sign-in has ended.";
            let mut response = shell::done(HERE, said);
            visitor::let_in(app, &mut response, token.reveal());
            Ok(response)
        }
        Err(no) if on_the_form(&no) => {
            let status = no.refusal().map_or(StatusCode::BAD_REQUEST, crate::wrong::status);
            Ok((status, again(&console, &who, Some(&no))?).into_response())
        }
        Err(no) => Err(no.or_fresh(OWN)),
    }
}
