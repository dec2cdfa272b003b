//! *Sign-in and security*: a person's own sign-ins, and what they prove with who they are.

pub mod codes;
pub mod passkeys;
pub mod password;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use comity_domain::command::{Command, Door};
use comity_domain::factor::{Acr, Factors};
use comity_domain::ids::SignInId;
use comity_domain::may::{self, Action, Thing};
use comity_domain::refusal::Refusal;
use comity_domain::time::Instant;

use crate::at::At;
use crate::dialog::Dialog;
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::show::{self, When};
use crate::sign_in::Bare;
use crate::visitor::{self, Sent, Visitor};
use crate::wrong::Wrong;

/// Where the page stands.
pub const HERE: &str = "/console/me";

struct SignedIn {
    id: SignInId,
    at: When,
    until: When,
    by: &'static str,
    door: &'static str,
    current: bool,
}

struct Key {
    to: String,
    name: String,
    made: When,
    used: Option<When>,
}

#[derive(Template)]
#[template(path = "me.html")]
struct Page {
    shell: Shell,
    sign_ins: Vec<SignedIn>,
    /// Whether there is a password to be changed.
    password: bool,
    /// Since when codes are asked for.
    codes: Option<When>,
    recovery: usize,
    keys: Vec<Key>,
    passkeys_possible: bool,
}

/// How well somebody has proven who they are, in words.
fn by(acr: Acr) -> &'static str {
    match acr {
        Acr::Single => "Password",
        Acr::Multi => "Password and code",
        Acr::PhishingResistant => "Passkey",
    }
}

fn door(door: Door) -> &'static str {
    match door {
        Door::Console => "Console",
        Door::Api | Door::Token => "API",
        Door::Cli => "Terminal",
        Door::Inside => "Comity",
    }
}

/// The page.
pub async fn page(State(console): State<Console>, who: Visitor) -> Result<Html<String>, Wrong> {
    let (app, state, now) = (&console.app, console.app.state(), console.app.now());
    may::check(&state, &who.caller, Action::ReadSelf, Thing::own(who.person), now)?;
    let none = Factors::default();
    let has = state.factors.get(&who.person).unwrap_or(&none);
    let mut sign_ins: Vec<SignedIn> = state
        .sign_ins_of(who.person, now)
        .map(|(id, s)| SignedIn {
            id,
            at: show::when(s.at),
            until: show::when(s.until),
            by: by(s.acr),
            door: door(s.door),
            current: id == who.sign_in,
        })
        .collect();
    sign_ins.reverse();
    let keys = has.passkeys.iter().map(|key| Key {
        to: format!("{HERE}/passkeys/{}", key.id),
        name: state.words.show(key.name).to_owned(),
        made: show::when(key.made),
        used: key.used.map(show::when),
    });
    let page = Page {
        shell: Shell::personal(&console, &who, Section::Me, "Sign-in and security"),
        sign_ins,
        password: state.people.get(who.person).is_some_and(|p| p.has_password),
        codes: has.totp.map(|t| show::when(t.made)),
        recovery: has.recovery.len(),
        keys: keys.collect(),
        passkeys_possible: app.passkeys_are_possible(),
    };
    Ok(Html(page.render()?))
}

/// Whether the visitor may change what they prove with now; otherwise a sign-in comes first, and
/// then `back`.
pub fn manages(console: &Console, who: &Visitor, back: &str) -> Result<(), Wrong> {
    let may = console.app.manages_factors(&who.caller);
    may.map(|_| ()).map_err(|no| Wrong::from(no).or_fresh(back))
}

/// Ends one of the visitor's sign-ins. Ending the own one is signing out.
pub async fn end(
    State(console): State<Console>,
    At(id): At<SignInId>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    who.run(&console.app, Command::EndSignIn { sign_in: id }).await?;
    if id == who.sign_in {
        return Ok(out("/console/sign-in"));
    }
    Ok(shell::done(HERE, "That sign-in has ended. Whoever used it is out."))
}

fn out(to: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    visitor::let_out(&mut response);
    response
}

/// Asks before everything ends.
pub async fn everywhere_page(
    State(console): State<Console>,
    who: Visitor,
) -> Result<Html<String>, Wrong> {
    let (state, now): (_, Instant) = (console.app.state(), console.app.now());
    may::check(&state, &who.caller, Action::ReadSelf, Thing::own(who.person), now)?;
    let dialog = Dialog {
        shell: Shell::personal(&console, &who, Section::Me, "Sign out everywhere"),
        title: "Sign out everywhere?".into(),
        banner: None,
        will: vec![
            "Every sign-in of yours ends at once, this one too.".into(),
            "You are out of every customer that you are inside.".into(),
        ],
        hidden: Vec::new(),
        fields: Vec::new(),
        to: format!("{HERE}/sign-out-everywhere"),
        button: "Sign out everywhere",
        tone: "danger",
        back: HERE.into(),
    };
    dialog.page()
}

/// Ends all of the visitor's sign-ins.
pub async fn everywhere(
    State(console): State<Console>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    who.run(&console.app, Command::SignOutEverywhere).await?;
    Ok(out("/console/sign-in"))
}

/// What is wrong with which field, if it is one of these; a sentence above the form otherwise.
fn wrong_in(no: &Wrong, fields: &[&str]) -> (Option<(String, String)>, Option<String>) {
    let field = no.refusal().and_then(crate::wrong::field);
    match (field, no.refusal()) {
        (Some(wrong), _) if fields.contains(&wrong.0.as_str()) => (Some(wrong), None),
        (_, Some(refusal)) => (None, Some(refusal.sentence())),
        (_, None) => (None, None),
    }
}

/// Whether it is for a form to say, and not for a page of its own.
fn on_the_form(no: &Wrong) -> bool {
    let elsewhere =
        [Refusal::NotFound, Refusal::FreshSignIn, Refusal::StrongerSignIn, Refusal::CallerRevoked];
    no.refusal().is_some_and(|refusal| !elsewhere.contains(refusal))
}
