//! The demo's way in: a link for each person, and no password to type. It is not there outside the
//! demo, and opens nothing that the demo's password, which is printed, does not open.

use std::net::IpAddr;

use askama::Template;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use comity_app::Failure;
use comity_app::app::Entered;
use comity_domain::command::Door;
use comity_domain::ids::PersonId;
use comity_domain::person::PortalRole;
use comity_domain::state::State as World;
use comity_domain::text::{self, Lookup};

use crate::at::At;
use crate::parts::{Banner, Tone, banner};
use crate::routes::Console;
use crate::sign_in::{Around, Bare, code_page};
use crate::visitor::{self, Open, Visitor};
use crate::wrong::Wrong;

/// Everybody's password in the demo. It is public.
pub const PASSWORD: &str = "a boat for everyone";

/// The demo, asked from the machine that it runs on: everywhere else these pages are not there.
#[derive(Debug)]
pub struct OnlyHere;

impl FromRequestParts<Console> for OnlyHere {
    type Rejection = Wrong;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Wrong> {
        // The demo listens on loopback only; a name that somebody else's page pointed there is none.
        let host = parts.headers.get(header::HOST).and_then(|v| v.to_str().ok());
        let here = console.settings.demo && host.is_some_and(is_loopback);
        here.then_some(Self).ok_or_else(Wrong::not_found)
    }
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Somebody who can be.
#[derive(Debug)]
struct Somebody {
    email: String,
    name: String,
    /// Organisations and what they are there.
    places: Vec<String>,
}

fn somebody(state: &World, id: PersonId) -> Option<Somebody> {
    let person = state.people.get(id).filter(|p| p.has_password)?;
    let places = state.organisations_of(id).filter_map(|o| {
        let name = state.words.show(state.organisations.get(o)?.name);
        let role = match state.members.get(&(o, id))?.portal {
            Some(PortalRole::Admin) => "Admin",
            Some(PortalRole::CustomerSupport) => "Customer Support",
            None => "Member",
        };
        Some(format!("{name}, {role}"))
    });
    Some(Somebody {
        email: state.words.show(person.email).to_owned(),
        name: state.words.show(person.name).to_owned(),
        places: places.collect(),
    })
}

fn named(state: &World, email: &str) -> Result<Somebody, Wrong> {
    let email = text::email("email", email).map_err(|_| Wrong::not_found())?;
    let id = state.words.find(Lookup::Email, &email).map(PersonId);
    id.and_then(|id| somebody(state, id)).ok_or_else(Wrong::not_found)
}

#[derive(Template)]
#[template(path = "demo_person.html")]
struct Page {
    around: Around,
    banner: Option<Banner>,
    person: Somebody,
    /// Who the browser is signed in as now.
    now: Option<String>,
}

fn page_of(
    console: &Console,
    person: Somebody,
    who: Option<&Visitor>,
    wrong: Option<&str>,
) -> Page {
    let state = console.app.state();
    let now = who.and_then(|who| state.people.get(who.person));
    Page {
        around: Around::new(),
        banner: wrong.map(|text| banner(Tone::Bad, text)),
        person,
        now: now.map(|p| state.words.show(p.name).to_owned()),
    }
}

/// Who one would be. Looking changes nothing.
pub async fn page(
    _: OnlyHere,
    State(console): State<Console>,
    who: Result<Visitor, Wrong>,
    At(email): At<String>,
) -> Result<Html<String>, Wrong> {
    let person = named(&console.app.state(), &email)?;
    let page = page_of(&console, person, who.ok().as_ref(), None);
    Ok(Html(page.render()?))
}

/// Signs in as somebody of the demo, with the password that everybody has.
pub async fn be(
    _: OnlyHere,
    State(console): State<Console>,
    At(email): At<String>,
    Open(Bare {}): Open<Bare>,
) -> Result<Response, Wrong> {
    let person = named(&console.app.state(), &email)?;
    match console.app.sign_in(Door::Console, &person.email, PASSWORD.into()).await {
        Ok(Entered::In(signed)) => {
            let mut response = Redirect::to("/console").into_response();
            visitor::let_in(&console.app, &mut response, signed.token.reveal());
            Ok(response)
        }
        Ok(Entered::SecondFactorNeeded { ticket, .. }) => {
            let page = code_page(ticket.reveal(), "/console", None)?;
            Ok(Html(page).into_response())
        }
        Err(Failure::Refused(_)) => {
            let text = "This person no longer has the demo's password. Sign in on the usual page.";
            let page = page_of(&console, person, None, Some(text));
            Ok((StatusCode::UNAUTHORIZED, Html(page.render()?)).into_response())
        }
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t9_only_the_machine_itself_is_here() {
        for here in ["127.0.0.1:8420", "127.0.0.1", "localhost:8420", "[::1]:8420"] {
            assert!(is_loopback(here), "{here}");
        }
        let away = [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "@",
        ];
        for away in away {
            assert!(!is_loopback(away), "{away}");
        }
    }
}
