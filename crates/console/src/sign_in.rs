//! Signing in and out, a first password, and proving it anew before what matters.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use comity_app::Failure;
use comity_app::app::{Entered, Shown};
use comity_domain::command::{Command, Door};
use comity_domain::refusal::Refusal;
use serde::Deserialize;

use crate::assets;
use crate::at::Asked;
use crate::parts::{Banner, Field, Tone, banner};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::visitor::{self, Counted, Open, Sent, Visitor};
use crate::wrong::{Wrong, local};

/// The files around a page of nobody.
#[derive(Debug)]
pub struct Around {
    pub css: String,
    pub js: String,
    pub icon: String,
}

impl Around {
    /// The files as they are now.
    pub fn new() -> Self {
        let at = assets::address;
        Self { css: at("console.css"), js: at("console.js"), icon: at("icon.svg") }
    }
}

/// Where to go on.
#[derive(Debug, Deserialize)]
pub struct Back {
    #[serde(default)]
    back: String,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    around: Around,
    banner: Option<Banner>,
    email: Field,
    password: Field,
    /// Whether a passkey can be shown instead.
    passkeys: bool,
    back: String,
}

/// The page for signing in.
pub async fn page(
    State(console): State<Console>,
    known: Result<Visitor, Wrong>,
    headers: HeaderMap,
    Asked(query): Asked<Back>,
) -> Result<Response, Wrong> {
    if console.app.is_unclaimed() {
        return Ok(Redirect::to("/console/first-run").into_response());
    }
    match known {
        Ok(_) => return Ok(Redirect::to(&local(&query.back)).into_response()),
        Err(Wrong::NotCurrent) => return Err(Wrong::NotCurrent),
        Err(_) => {}
    }
    let said = shell::said(&headers).map(|text| banner(Tone::Good, text));
    Ok(Html(sign_in_page(&console, &query.back, "", said)?).into_response())
}

/// The page, with what was typed.
pub fn sign_in_page(
    console: &Console,
    back: &str,
    email: &str,
    banner: Option<Banner>,
) -> Result<String, Wrong> {
    let page = SignInPage {
        around: Around::new(),
        banner,
        email: Field::new("email", "E-mail address")
            .kind("email")
            .auto("username")
            .value(email)
            .most(254),
        password: Field::new("password", "Password")
            .kind("password")
            .auto("current-password")
            .most(128),
        passkeys: console.app.passkeys_are_possible(),
        back: local(back),
    };
    Ok(page.render()?)
}

/// An address and its password.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    email: String,
    password: String,
    #[serde(default)]
    back: String,
}

/// Signs in. Whatever was wrong, it looks the same (T26).
pub async fn sign_in(
    State(console): State<Console>,
    Counted(beside): Counted,
    Open(form): Open<SignIn>,
) -> Result<Response, Wrong> {
    beside.limits.sign_in(&console.app, beside.from, &form.email).await?;
    match console.app.sign_in(Door::Console, &form.email, form.password).await {
        Ok(Entered::In(signed)) => {
            let mut response = Redirect::to(&local(&form.back)).into_response();
            visitor::let_in(&console.app, &mut response, signed.token.reveal());
            Ok(response)
        }
        Ok(Entered::SecondFactorNeeded { ticket, .. }) => {
            let page = code_page(ticket.reveal(), &form.back, None)?;
            Ok(Html(page).into_response())
        }
        Err(Failure::Refused(_)) => {
            let no = banner(Tone::Bad, "The address or the password is wrong.");
            let page = sign_in_page(&console, &form.back, &form.email, Some(no))?;
            Ok((StatusCode::UNAUTHORIZED, Html(page)).into_response())
        }
        Err(other) => Err(other.into()),
    }
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct CodePage<'p> {
    around: Around,
    banner: Option<Banner>,
    code: Field,
    ticket: &'p str,
    back: String,
}

/// The page that asks for a code, after the password was right. The ticket stands in the form: it is
/// good for five minutes and nothing without a code.
pub fn code_page(ticket: &str, back: &str, wrong: Option<&str>) -> Result<String, Wrong> {
    let page = CodePage {
        around: Around::new(),
        banner: wrong.map(|text| banner(Tone::Bad, text)),
        code: code_field(),
        ticket,
        back: local(back),
    };
    Ok(page.render()?)
}

fn code_field() -> Field {
    Field::new("code", "Code")
        .hint("Six digits from your app, or one of your recovery codes.")
        .auto("one-time-code")
        .most(40)
}

/// A code for a ticket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    ticket: String,
    code: String,
    #[serde(default)]
    back: String,
}

/// Completes a sign-in by a code.
pub async fn second_factor(
    State(console): State<Console>,
    Counted(beside): Counted,
    Open(form): Open<Code>,
) -> Result<Response, Wrong> {
    beside.limits.sign_in_step(beside.from)?;
    match console.app.second_factor(Door::Console, &form.ticket, form.code.trim()).await {
        Ok(signed) => {
            let mut response = Redirect::to(&local(&form.back)).into_response();
            visitor::let_in(&console.app, &mut response, signed.token.reveal());
            Ok(response)
        }
        Err(Failure::Refused(_)) => {
            let text =
                "That code is wrong, used or out of date. Try the next one, or sign in anew.";
            let page = code_page(&form.ticket, &form.back, Some(text))?;
            Ok((StatusCode::UNAUTHORIZED, Html(page)).into_response())
        }
        Err(other) => Err(other.into()),
    }
}

/// A form that holds nothing but its key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bare {}

/// Signs out.
pub async fn sign_out(
    State(console): State<Console>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    who.run(&console.app, Command::SignOut).await?;
    let mut response = Redirect::to("/console/sign-in").into_response();
    visitor::let_out(&mut response);
    Ok(response)
}

#[derive(Template)]
#[template(path = "step_up.html")]
struct StepUpPage {
    shell: Shell,
    banner: Option<Banner>,
    password: Field,
    /// Where codes are set up.
    code: Option<Field>,
    /// Whether the person has a passkey.
    passkeys: bool,
    back: String,
}

/// The page for proving it anew.
pub async fn step_up_page(
    State(console): State<Console>,
    who: Visitor,
    Asked(query): Asked<Back>,
) -> Result<Html<String>, Wrong> {
    step_up_again(&console, &who, &query.back, None)
}

/// The page once more, with what was wrong.
pub fn step_up_again(
    console: &Console,
    who: &Visitor,
    back: &str,
    wrong: Option<&str>,
) -> Result<Html<String>, Wrong> {
    let state = console.app.state();
    let has = state.factors.get(&who.person);
    let has_codes = has.is_some_and(|f| f.totp.is_some());
    let page = StepUpPage {
        shell: Shell::personal(console, who, Section::Elsewhere, "It is you?"),
        banner: wrong.map(|text| banner(Tone::Bad, text)),
        password: Field::new("password", "Password")
            .kind("password")
            .auto("current-password")
            .most(128),
        code: has_codes.then(code_field),
        passkeys: has.is_some_and(|f| !f.passkeys.is_empty()),
        back: local(back),
    };
    Ok(Html(page.render()?))
}

/// A password, once more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    password: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    back: String,
}

/// Proves it anew: a sign-in of now takes the place of the one that was (T22).
pub async fn step_up(
    State(console): State<Console>,
    Sent { who, form }: Sent<StepUp>,
) -> Result<Response, Wrong> {
    let app = &console.app;
    // What is guessed here is counted by the app, by who they are: strangers at the same address do
    // not stand in the way (T46).
    let shown = Shown::Password {
        password: form.password,
        code: Some(form.code.trim().to_owned()).filter(|code| !code.is_empty()),
    };
    match app.step_up(&who.caller, shown).await {
        Ok(signed) => {
            let mut response = Redirect::to(&local(&form.back)).into_response();
            visitor::let_in(app, &mut response, signed.token.reveal());
            Ok(response)
        }
        Err(Failure::Refused(_)) => {
            let page =
                step_up_again(&console, &who, &form.back, Some("That is not the password."))?;
            Ok((StatusCode::UNAUTHORIZED, page).into_response())
        }
        Err(other) => Err(other.into()),
    }
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct EnrolPage {
    around: Around,
    banner: Option<Banner>,
    token: Field,
    password: Field,
}

/// The page for a first password.
pub async fn enrol_page() -> Result<Html<String>, Wrong> {
    enrol_again("", None)
}

fn enrol_again(token: &str, wrong: Option<(String, String)>) -> Result<Html<String>, Wrong> {
    let other = wrong.as_ref().filter(|(f, _)| !matches!(&**f, "token" | "password"));
    let page = EnrolPage {
        around: Around::new(),
        banner: other.map(|(_, why)| banner(Tone::Bad, why.clone())),
        token: Field::new("token", "Enrolment token")
            .value(token)
            .hint("As you were given it; it begins with cmt_enrol_.")
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

/// A token and a first password.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    token: String,
    password: String,
}

/// Sets a first password.
pub async fn enrol(
    State(console): State<Console>,
    Counted(beside): Counted,
    Open(form): Open<Enrol>,
) -> Result<Response, Wrong> {
    beside.limits.enrol(beside.from)?;
    let wrong = match console.app.enrol(form.token.trim(), form.password).await {
        Ok(()) => {
            return Ok(shell::done("/console/sign-in", "Your password is set. Sign in with it."));
        }
        Err(Failure::Refused(Refusal::NotFound)) => {
            let why = "This token is unknown, used or out of date. Ask for a new one.";
            ("token".to_owned(), why.to_owned())
        }
        Err(Failure::Refused(Refusal::Invalid { field, why })) => {
            (field.to_owned(), format!("It {why}."))
        }
        Err(Failure::Refused(other)) => (String::new(), other.sentence()),
        Err(other) => return Err(other.into()),
    };
    let page = enrol_again(&form.token, Some(wrong))?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}
