//! *Customers I may enter*: one line for each live grant, where one is inside already, and entering.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use comity_domain::command::{Enter, Once};
use comity_domain::ids::{ApplicationId, Digest32, GrantId, PersonId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::refusal::Refusal;
use comity_domain::role::Mode;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::view::{self, Tenant, portal};
use serde::Deserialize;

use crate::active::company;
use crate::at::{Asked, At};
use crate::dialog::no_dialog;
use crate::parts::{Badge, Banner, Empty, Field, Tone, badge, banner, empty};
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{Section, Shell};
use crate::show::{self, When};
use crate::stay::{self, Inside};
use crate::terms::{Choice, of_field};
use crate::visitor::{Counted, Sent, Visitor};
use crate::wrong::Wrong;

/// From so many on there is a search.
const SEARCHED_FROM: usize = 11;
/// So many are shown; with more, one searches. A page has at most 60 kB.
const MOST_SHOWN: usize = 40;

/// So many stand in the menu of every page.
const MOST_IN_MENU: usize = 7;

/// A way in.
#[derive(Debug, Clone)]
pub struct Door {
    pub mode: &'static str,
    pub label: &'static str,
    /// Whether one click is enough; otherwise something has to be said first.
    pub at_once: bool,
}

/// A live grant that somebody is on.
#[derive(Debug, Clone)]
pub struct Line {
    pub customer: String,
    pub hue: u8,
    /// As whose people.
    pub provider: String,
    pub roles: Vec<String>,
    pub accounts: String,
    pub ends: When,
    pub left: String,
    pub minutes: u32,
    pub doors: Vec<Door>,
    /// Where one enters.
    pub enter: String,
}

/// *Switch Tenant* in the menu of every page: the first customers by name, one line for each live
/// grant.
#[derive(Debug, Clone, Default)]
pub struct Switch {
    pub lines: Vec<Line>,
    /// How many there are in all.
    pub all: usize,
    /// What the forms of this page are known by, of all pages.
    pub once: String,
}

/// Where somebody may switch to now.
pub fn switch(state: &World, person: PersonId, now: Instant) -> Switch {
    let mut all: Vec<Tenant<'_>> = view::tenants(state, person, now).collect();
    all.sort_by_cached_key(|t| company(state, t.grant.customer.organisation).to_lowercase());
    let shown = all.iter().take(MOST_IN_MENU);
    let lines = shown.filter_map(|t| line(state, person, t, now)).collect();
    Switch { lines, all: all.len(), once: fresh() }
}

#[derive(Template)]
#[template(path = "tenants.html")]
struct Page {
    shell: Shell,
    inside: Vec<Inside>,
    lines: Vec<Line>,
    search: Option<Field>,
    more: usize,
    /// Where their own membership is replaced by what they do for a partner.
    replaced: Vec<String>,
    empty: Empty,
}

/// What is looked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sought {
    q: String,
}

/// The page.
pub async fn list(
    State(console): State<Console>,
    who: Visitor,
    Asked(sought): Asked<Sought>,
) -> Result<Html<String>, Wrong> {
    let (state, now) = (console.app.state(), console.app.now());
    may::check(&state, &who.caller, Action::ReadSelf, Thing::own(who.person), now)?;
    let named =
        |t: Tenant<'_>| (company(&state, t.grant.customer.organisation).to_lowercase(), t.id);
    let mut all: Vec<_> = view::tenants(&state, who.person, now).map(named).collect();
    let count = all.len();
    let wanted = sought.q.trim().to_lowercase();
    all.retain(|(name, _)| name.contains(&wanted));
    all.sort();
    let more = all.len().saturating_sub(MOST_SHOWN);
    // What each opens takes longer to find than its name: only for those that are shown.
    all.truncate(MOST_SHOWN);
    let shown =
        all.iter().filter_map(|(_, id)| Some(Tenant { id: *id, grant: state.grants.get(*id)? }));
    let lines: Vec<Line> = shown.filter_map(|t| line(&state, who.person, &t, now)).collect();
    let page = Page {
        shell: Shell::personal(&console, &who, Section::Tenants, "Customers I may enter"),
        inside: portal::stays(&state, who.person, now)
            .filter_map(|(id, s)| stay::inside(&state, id, s, now))
            .collect(),
        lines,
        replaced: view::doors(&state, who.person)
            .filter(|d| d.shut == Some(view::Shut::Superseded))
            .map(|d| company(&state, d.organisation))
            .collect(),
        search: (count >= SEARCHED_FROM).then(|| {
            let field = Field::new("q", "Customer").kind("search").optional();
            field.value(sought.q.trim()).auto("off")
        }),
        more,
        empty: if wanted.is_empty() {
            empty(
                "There is no customer that you may enter",
                "Your organisation asks a customer for access, and your Admin puts you on it. Then it \
                 stands here.",
            )
        } else {
            empty("No customer of this name", "Look at all of them instead.")
        },
    };
    Ok(Html(page.render()?))
}

fn line(state: &World, person: PersonId, t: &Tenant<'_>, now: Instant) -> Option<Line> {
    let own = state.assignment(t.id, person)?;
    let roles = own.roles.iter().filter_map(|r| Some(state.roles.get(*r)?.name.to_string()));
    let ends = t.grant.window.end.min(own.row.ends_at);
    let customer = t.grant.customer.organisation;
    let doors = t.grant.modes.iter().filter_map(|mode| {
        let applications = portal::applications(state, t.id, person, mode).len();
        let at_once = applications == 1 && mode != Mode::ActAs;
        let label = match mode {
            Mode::Direct => "Enter",
            Mode::View => "View only",
            Mode::ActAs => "Act as",
        };
        (applications > 0).then_some(Door { mode: mode.code(), label, at_once })
    });
    Some(Line {
        customer: company(state, customer),
        hue: show::hue(customer.0),
        provider: company(state, t.grant.provider.organisation),
        roles: roles.collect(),
        accounts: crate::active::accounts(state, &t.grant.accounts.meet(&own.accounts)),
        ends: show::when(ends),
        left: show::until(ends, now),
        minutes: t.grant.cap.0,
        doors: doors.collect(),
        enter: format!("/console/tenants/{}/enter", t.id),
    })
}

// -- entering -------------------------------------------------------------------------------------

/// How one wants to enter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Form {
    mode: String,
    application: String,
    reason: String,
    /// By which the answer that is loaded again is known from a second wish to enter.
    once: String,
}

/// What no other page has.
fn fresh() -> String {
    Digest32(comity_app::random::bytes()).to_string().chars().take(32).collect()
}

impl Form {
    /// This very form, of this page: sent again it enters once.
    fn once(&self, console: &Console, who: &Visitor, grant: GrantId) -> Option<Once> {
        if self.once.is_empty() {
            return None;
        }
        let (person, grant) = (who.person.to_string(), grant.to_string());
        let said = [&person, &self.once, &grant, &self.mode, &self.application, &self.reason]
            .map(|s| s.as_bytes());
        let whole = [&[b"console/enter".as_slice()], &said[..]].concat();
        let key = console.app.keys().again(&whole);
        Some(Once { principal: person, key, route: "POST /console/enter".into(), body: key })
    }
}

#[derive(Template)]
#[template(path = "enter.html")]
struct EnterPage {
    shell: Shell,
    banner: Option<Banner>,
    customer: String,
    to: String,
    mode: Mode,
    shown: Badge,
    minutes: u32,
    applications: Vec<Choice>,
    application_wrong: Option<String>,
    reason: Option<Field>,
}

fn mode_of(text: &str) -> Option<Mode> {
    Mode::ALL.into_iter().find(|m| m.code() == text)
}

/// The dialog: for what something has to be said first.
pub async fn enter_page(
    State(console): State<Console>,
    who: Visitor,
    At(grant): At<GrantId>,
    Asked(form): Asked<Form>,
) -> Result<Response, Wrong> {
    again(&console, &who, grant, &form, None)
}

/// A grant that the visitor is on, whatever has become of it since.
fn own<'s>(
    state: &'s World,
    who: &Visitor,
    id: GrantId,
) -> Result<&'s comity_domain::grant::Grant, Wrong> {
    let grant = state.grants.get(id).filter(|_| state.assignment_row(id, who.person).is_some());
    grant.ok_or_else(Wrong::not_found)
}

fn again(
    console: &Console,
    who: &Visitor,
    id: GrantId,
    form: &Form,
    no: Option<&Refusal>,
) -> Result<Response, Wrong> {
    let (state, now) = (console.app.state(), console.app.now());
    may::check(&state, &who.caller, Action::Enter, Thing::own(who.person), now)?;
    let grant = own(&state, who, id)?;
    let customer = company(&state, grant.customer.organisation);
    let title = format!("Enter {customer}");
    let shell = Shell::personal(console, who, Section::Tenants, &title);
    let back = "/console/tenants";
    let mode = mode_of(&form.mode).unwrap_or(Mode::Direct);
    let choices = applications(&state, who, id, mode, &form.application);
    let gone = no.is_some_and(|r| {
        !matches!(r, Refusal::Invalid { .. } | Refusal::SessionExists | Refusal::JwtNotGranted)
    });
    if gone || choices.is_empty() {
        let nothing = Refusal::NoAccess;
        return no_dialog(
            shell,
            &format!("You cannot enter {customer} now"),
            no.unwrap_or(&nothing),
            back,
        );
    }
    let reason_wrong = of_field(no, "reason").map(|why| ("reason".to_owned(), why));
    let known_no = no.cloned().map(Wrong::Refused);
    let banner = match no {
        Some(Refusal::SessionExists) => Some(banner(
            Tone::Bad,
            "You are inside already, as often as is allowed at once. Return home from one of your stays first.",
        )),
        _ => said_no(known_no.as_ref(), &["reason", "application"]).0,
    };
    let page = EnterPage {
        banner,
        customer,
        to: format!("/console/tenants/{id}/enter"),
        mode,
        shown: badge(if mode == Mode::ActAs { Tone::Warn } else { Tone::Plain }, show::mode(mode)),
        minutes: grant.cap.0,
        applications: choices,
        application_wrong: of_field(no, "application"),
        reason: (mode == Mode::ActAs).then(|| {
            Field::new("reason", "Reason")
                .kind("textarea")
                .most(1_000)
                .value(form.reason.clone())
                .hint("The customer reads it beside what you do.")
                .wrong(reason_wrong.as_ref())
        }),
        shell,
    };
    let status = no.map_or(StatusCode::OK, crate::wrong::status);
    Ok((status, Html(page.render()?)).into_response())
}

fn applications(
    state: &World,
    who: &Visitor,
    grant: GrantId,
    mode: Mode,
    chosen: &str,
) -> Vec<Choice> {
    let all = portal::applications(state, grant, who.person, mode);
    let alone = all.len() == 1;
    let one = |(id, held): (ApplicationId, comity_domain::permission::Permissions)| {
        let known = state.applications.get(id)?;
        Some(Choice {
            value: known.code.to_string(),
            label: known.code.to_string(),
            note: held.texts().take(12).collect::<Vec<_>>().join(", "),
            on: alone || *known.code == *chosen,
        })
    };
    all.into_iter().filter_map(one).collect()
}

/// What is to be entered, or what is wrong with the form.
fn read(state: &World, who: &Visitor, id: GrantId, form: &Form) -> Result<Enter, Refusal> {
    let grant = state.grants.get(id).ok_or(Refusal::NotFound)?;
    let none = || Refusal::invalid("mode", "must be one of the ways to enter");
    let mode = mode_of(&form.mode).ok_or_else(none)?;
    let known = portal::applications(state, id, who.person, mode);
    let chosen = match known.as_slice() {
        [] => return Err(Refusal::NoAccess),
        [(one, _)] if form.application.is_empty() => state.applications.get(*one),
        several => several
            .iter()
            .filter_map(|(a, _)| state.applications.get(*a))
            .find(|a| *a.code == *form.application),
    };
    let unnamed = || Refusal::invalid("application", "has to be chosen: a stay is for one of them");
    Ok(Enter {
        customer: grant.customer.organisation,
        audience: chosen.ok_or_else(unnamed)?.audience.to_string(),
        grant: Some(id),
        mode,
        reason: Some(form.reason.clone()).filter(|r| !r.trim().is_empty()),
        scope: None,
        jwt: false,
        token: Digest32([0; 32]), // made on entering
    })
}

/// Enters.
pub async fn enter(
    State(console): State<Console>,
    At(id): At<GrantId>,
    Counted(beside): Counted,
    Sent { who, form }: Sent<Form>,
) -> Result<Response, Wrong> {
    let app = &console.app;
    let read = {
        let state = app.state();
        own(&state, &who, id)?;
        read(&state, &who, id, &form)
    };
    let once = form.once(&console, &who, id);
    let entered = match read {
        Ok(enter) => {
            beside.limits.exchange(&who.caller)?;
            app.enter_once(&who.caller, enter, once.clone()).await.map_err(Wrong::from)
        }
        Err(refusal) => Err(refusal.into()),
    };
    match entered {
        Ok(entered) => stay::begun(&console, &who, &entered),
        Err(no @ Wrong::Refused(Refusal::AlreadyDone(_))) => {
            // The answer was loaded again: to the stay that began then, whatever became of it.
            let once = once.ok_or(no)?;
            let session = app.entered_before(&once).await?.ok_or_else(Wrong::not_found)?;
            Ok(Redirect::to(&format!("/console/stay/{session}")).into_response())
        }
        Err(no) if on_the_form(&no).is_some() => again(&console, &who, id, &form, no.refusal()),
        Err(no) => Err(no),
    }
}
