//! A stay in a customer: its banner, what it may do, coming home, and what became of it.
//!
//! Each stay has an address of its own, so that two customers in two tabs are never mixed. Its token
//! is shown once, in the answer to entering: it is handed over to the application where that has a
//! launch address, by a form and never in an address, or else stands in a box to be copied.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_app::entering::Entered;
use comity_domain::command::Command;
use comity_domain::ids::{Digest32, SessionId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::refusal::Reason;
use comity_domain::rights;
use comity_domain::role::Mode;
use comity_domain::session::Session;
use comity_domain::state::State as World;
use comity_domain::time::{Instant, SECOND};
use comity_domain::view::portal;
use serde::Serialize;

use crate::active::{accounts, company, name};
use crate::at::At;
use crate::guard::FormTo;
use crate::parts::{Banner, Copy, Tone, banner};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::show::{self, When};
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// A stay in progress, as its banner shows it.
#[derive(Debug, Clone)]
pub struct Inside {
    pub customer: String,
    pub hue: u8,
    pub actor: String,
    pub mode: &'static str,
    /// Whether the product is told that the customer itself acts.
    pub impersonates: bool,
    pub application: String,
    pub ends: When,
    /// The server's time.
    pub now: String,
    pub left: String,
    /// Its own address.
    pub to: String,
}

/// A session in progress.
pub fn inside(state: &World, id: SessionId, s: &Session, now: Instant) -> Option<Inside> {
    let grant = state.grants.get(s.grant)?;
    let customer = grant.customer.organisation;
    let application = state.applications.get(s.application)?;
    Some(Inside {
        customer: company(state, customer),
        hue: show::hue(customer.0),
        actor: name(state, s.person),
        mode: show::mode(s.mode),
        impersonates: s.mode == Mode::ActAs,
        application: application.code.to_string(),
        ends: show::when(s.deadline),
        now: show::when(now).exact,
        left: left(s.deadline, now),
        to: format!("/console/stay/{id}"),
    })
}

/// What is left, as the banner counts it.
fn left(deadline: Instant, now: Instant) -> String {
    let seconds = (deadline.since(now).max(0) + SECOND - 1) / SECOND;
    if seconds >= 60 {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    } else {
        format!("{seconds} s")
    }
}

/// Where the token goes.
struct Launch {
    to: String,
    fields: Vec<(&'static str, String)>,
    origin: String,
}

#[derive(Template)]
#[template(path = "stay.html")]
struct Page {
    shell: Shell,
    stay: Inside,
    permits: Vec<String>,
    accounts: String,
    reason: Option<String>,
    since: When,
    /// Shown once, in the answer to entering.
    token: Option<Copy>,
    launch: Option<Launch>,
}

#[derive(Template)]
#[template(path = "stay_over.html")]
struct OverPage {
    shell: Shell,
    title: String,
    banner: Banner,
    advice: &'static str,
    customer: String,
    since: When,
    mode: &'static str,
    /// Where to enter again, if one may.
    again: bool,
}

/// A session of the visitor's own; another's is not there.
fn own<'s>(
    state: &'s World,
    who: &Visitor,
    id: SessionId,
    now: Instant,
) -> Result<&'s Session, Wrong> {
    let session = state.sessions.get(id).ok_or_else(Wrong::not_found)?;
    may::check(state, &who.caller, Action::ReadSelf, Thing::own(session.person), now)?;
    Ok(session)
}

/// The page of a stay.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<SessionId>,
) -> Result<Response, Wrong> {
    let (state, now) = (console.app.state(), console.app.now());
    let session = own(&state, &who, id, now)?;
    match portal::over(session, now) {
        None => stay_page(&console, &who, &state, (id, session), now, None),
        Some(why) => over_page(&console, &who, &state, session, why, now),
    }
}

/// The answer to entering, which alone holds the token.
pub fn begun(console: &Console, who: &Visitor, entered: &Entered) -> Result<Response, Wrong> {
    let (state, now) = (&entered.done.state, console.app.now());
    let session = state.sessions.get(entered.session).ok_or_else(Wrong::not_found)?;
    stay_page(console, who, state, (entered.session, session), now, Some(entered.token.reveal()))
}

fn stay_page(
    console: &Console,
    who: &Visitor,
    state: &World,
    (id, session): (SessionId, &Session),
    now: Instant,
    token: Option<&str>,
) -> Result<Response, Wrong> {
    let stay = inside(state, id, session, now).ok_or_else(Wrong::not_found)?;
    let held = rights::compile(state, id).and_then(|c| c.rights.ok()).map(|r| r.shown());
    let assigned = state.assignment(session.grant, session.person);
    let grant = state.grants.get(session.grant);
    let reach = grant.zip(assigned).map(|(g, a)| accounts(state, &g.accounts.meet(&a.accounts)));
    let launch = token.and_then(|token| launch(console, state, (id, session), now, token));
    let page = Page {
        shell: Shell::personal(console, who, Section::Tenants, &stay.customer),
        permits: held.map(|h| h.texts().collect()).unwrap_or_default(),
        accounts: reach.unwrap_or_default(),
        reason: session.reason.map(|w| state.words.show(w).to_owned()),
        since: show::when(session.started),
        token: token.filter(|_| launch.is_none()).map(|token| Copy {
            id: "token".into(),
            label: format!("Token for {}", stay.application),
            text: token.to_owned(),
        }),
        stay,
        launch,
    };
    let mut response = Html(page.render()?).into_response();
    if let Some(launch) = page.launch {
        response.extensions_mut().insert(FormTo(launch.origin));
    }
    Ok(response)
}

fn launch(
    console: &Console,
    state: &World,
    (id, session): (SessionId, &Session),
    now: Instant,
    token: &str,
) -> Option<Launch> {
    let application = state.applications.get(session.application)?;
    // A cookie is bound to a host and not to a port: an application beside the console is shown its
    // cookies, so nobody is sent there by it. On this very machine both are the same person's.
    let host = |url: &str| url.split("://").nth(1)?.split(['/', ':']).next().map(str::to_owned);
    let (theirs, ours) = (host(application.launch_origin()?)?, host(console.app.issuer())?);
    if theirs.eq_ignore_ascii_case(&ours) && !["localhost", "127.0.0.1", "["].contains(&&*ours) {
        return None;
    }
    let customer = state.grants.get(session.grant)?.customer.organisation;
    let left = session.deadline.since(now).max(0) / SECOND;
    Some(Launch {
        to: application.launch_url.as_deref()?.to_owned(),
        origin: application.launch_origin()?.to_owned(),
        fields: vec![
            ("access_token", token.to_owned()),
            ("token_type", "Bearer".into()),
            ("expires_in", left.to_string()),
            ("session", id.to_string()),
            ("customer", customer.to_string()),
            ("mode", session.mode.code().into()),
            // Where the product sends a person who wants home.
            ("return_to", format!("{}/console/stay/{id}", console.app.issuer())),
        ],
    })
}

fn over_page(
    console: &Console,
    who: &Visitor,
    state: &World,
    session: &Session,
    why: Reason,
    now: Instant,
) -> Result<Response, Wrong> {
    let grant = state.grants.get(session.grant);
    let customer = grant.map(|g| company(state, g.customer.organisation));
    let customer = customer.unwrap_or_else(|| "the customer".into());
    let (said, advice) = over(why, &customer);
    let may_again = comity_domain::view::tenants(state, who.person, now)
        .any(|t| Some(t.grant.customer) == grant.map(|g| g.customer));
    let tone = if why == Reason::SessionClosed { Tone::Plain } else { Tone::Warn };
    let page = OverPage {
        title: format!("Your stay in {customer} is over"),
        banner: banner(tone, said),
        advice,
        since: show::when(session.started),
        mode: show::mode(session.mode),
        again: may_again,
        shell: Shell::personal(console, who, Section::Tenants, "The stay is over"),
        customer,
    };
    Ok(Html(page.render()?).into_response())
}

/// Why it is over, and what to do.
fn over(why: Reason, customer: &str) -> (String, &'static str) {
    match why {
        Reason::SessionClosed => {
            ("You came home.".into(), "Enter again whenever you have something to do there.")
        }
        Reason::SessionExpired => (
            "Its time ran out.".into(),
            "Each stay has a longest time that the customer set. Enter again to go on.",
        ),
        Reason::EndedByCustomer => (
            format!("{customer} ended this stay."),
            "Ask the customer before you enter again, if you do not know why.",
        ),
        Reason::Revoked => (
            format!("{customer} revoked the access of your organisation."),
            "Nothing more can be done there. Your Admin can ask for access again.",
        ),
        Reason::GrantEnded => (
            "The access of your organisation has ended.".into(),
            "Your Admin can ask the customer for access again.",
        ),
        Reason::Unconfirmed => (
            "The access waits for the customer's word after a restore.".into(),
            "Try again once the customer has confirmed it.",
        ),
        Reason::AssignmentLost => (
            "You are no longer on this access, or no role or account is left to you.".into(),
            "Your Admin can put you on it again, within what the customer gives.",
        ),
        Reason::Locked => (
            format!("{customer} has locked the access."),
            "Only the customer unlocks it. Your Admin can ask why.",
        ),
        Reason::Suspended => (
            "An organisation, a unit or your membership is suspended or closed.".into(),
            "Your Admin or the operator knows more.",
        ),
        other => (other.sentence().into(), "Enter again if you still may."),
    }
}

/// What a stay's page asks for by itself.
#[derive(Debug, Serialize)]
pub struct Live {
    /// Another one once the stay is over or may do something else.
    version: Digest32,
    /// Whether it is over.
    over: bool,
}

/// Whether it is as it was. Asking is no use of the sign-in.
pub async fn live(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<SessionId>,
) -> Result<Json<Live>, Wrong> {
    let (state, now) = (console.app.state(), console.app.now());
    let session = own(&state, &who, id, now)?;
    let held = rights::compile(&state, id).map(|c| c.rights);
    let over = portal::over(session, now);
    let said = format!("{over:?} {held:?}");
    Ok(Json(Live { version: Digest32::of(said.as_bytes()), over: over.is_some() }))
}

/// Comes home: from now on every decision about it is no.
pub async fn home(
    State(console): State<Console>,
    At(id): At<SessionId>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let (customer, was) = {
        let (state, now) = (console.app.state(), console.app.now());
        let session = own(&state, &who, id, now)?;
        let grant = state.grants.get(session.grant);
        let customer = grant.map(|g| company(&state, g.customer.organisation));
        (customer.unwrap_or_else(|| "the customer".into()), portal::over(session, now))
    };
    let done = who.run(&console.app, Command::CloseSession { session: id }).await?;
    let said = if done.row.is_some() {
        format!("You are home. Your stay in {customer} has ended.")
    } else {
        // Whoever has no script learns here why.
        let ended = was.filter(|why| *why != Reason::SessionClosed);
        let why = ended.map(|why| format!(" {}", over(why, &customer).0)).unwrap_or_default();
        format!("You are home. Your stay in {customer} was over already.{why}")
    };
    Ok(shell::done("/console/tenants", &said))
}
