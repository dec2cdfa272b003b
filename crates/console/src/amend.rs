//! *Change* and *Renew*: what a grant becomes, beside what it is now, given exactly as it was shown.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::consent::{self, NamedAmending, Summary};
use comity_domain::grant::{self, Amending, Grant};
use comity_domain::ids::{Digest32, GrantId, OrganisationId};
use comity_domain::may::Action;
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::time::{DAY, Instant};

use crate::access::reader;
use crate::active::company;
use crate::approve::stale_or;
use crate::at::{Asked, At};
use crate::dialog::no_dialog;
use crate::parts::{Banner, Field};
use crate::request::on_the_form;
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::show;
use crate::terms::{self, Frame, Given, Shown, TermsForm, of_field};
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

#[derive(Template)]
#[template(path = "amend.html")]
struct Page {
    shell: Shell,
    partner: String,
    renew: bool,
    to: String,
    back: String,
    banner: Option<Banner>,
    /// All that can be chosen, unless it is only renewed.
    terms: Option<TermsForm>,
    /// Whether a role of it has a newer version, and whether that is wanted.
    outdated: bool,
    newest: bool,
    /// Only for how long.
    days: Field,
    shown: Shown,
}

fn at(customer: OrganisationId, id: GrantId) -> String {
    format!("/console/o/{customer}/grants/{id}/amend")
}

/// What the grant is, as the first page holds it.
fn as_it_is(state: &World, grant: &Grant, frame: &Frame<'_>, renew: bool, now: Instant) -> Given {
    let code = |p: &comity_domain::role::PinnedRole| {
        let role = state.roles.get(p.role).filter(|_| state.role_lives(*p))?;
        Some(role.code.to_string())
    };
    let (which, accounts) = match &grant.accounts {
        Accounts::All => ("all", Vec::new()),
        Accounts::List(list) => {
            let named = |id: &comity_domain::ids::AccountId| {
                state.accounts.get(*id).map(|a| state.words.show(a.external).into())
            };
            ("list", list.iter().filter_map(named).collect())
        }
    };
    let left = grant.window.end.since(now.max(grant.window.start));
    let whole = grant.window.end.since(grant.window.start);
    let days = |span: i64| u32::try_from((span + DAY - 1) / DAY).unwrap_or(1);
    let days = days(if renew { whole } else { left }).clamp(1, frame.days.0);
    Given {
        roles: grant.roles.iter().filter_map(code).collect(),
        which: which.into(),
        accounts,
        modes: grant.modes.iter().map(|m| m.code().to_owned()).collect(),
        // Left empty the end stays where it is.
        days: if renew { days.to_string() } else { String::new() },
        session_minutes: grant.cap.0.to_string(),
        allow_external: if grant.allow_external { "yes".into() } else { String::new() },
        jwt: if grant.jwt { "yes".into() } else { String::new() },
        renew: if renew { "yes".into() } else { String::new() },
        ..Given::default()
    }
}

/// What was chosen, as far as it is something else than what is: what stays the same is not judged
/// anew, and keeps the versions of its roles.
fn amending(
    state: &World,
    grant: &Grant,
    given: &Given,
    now_is: &Given,
) -> Result<Amending, Refusal> {
    let customer = grant.customer.organisation;
    let days = match given.days.trim() {
        "" => None,
        _ => Some(terms::number("days", &given.days)?.unwrap_or(0)),
    };
    let days = days.map(comity_domain::time::Days);
    if !given.renew.is_empty() {
        let days = days.or(Some(comity_domain::time::Days(0)));
        return Ok(Amending { days, ..Amending::default() });
    }
    let named = Given { days: "1".into(), ..given.clone() }.named()?;
    let other = |a: &[String], b: &[String]| {
        let (mut a, mut b) = (a.to_vec(), b.to_vec());
        a.sort();
        b.sort();
        a != b
    };
    let same_accounts = given.which == now_is.which
        && !other(&given.accounts, &now_is.accounts)
        && given.listed.trim() == now_is.listed.trim();
    let all = NamedAmending {
        roles: named
            .roles
            .filter(|_| other(&given.roles, &now_is.roles) || !given.newest.is_empty()),
        accounts: named.accounts.filter(|_| !same_accounts),
        modes: named.modes.filter(|m| *m != grant.modes),
        days,
        cap: named.cap.filter(|c| *c != grant.cap),
        allow_external: Some(named.allow_external).filter(|x| *x != grant.allow_external),
        jwt: Some(named.jwt).filter(|x| *x != grant.jwt),
    };
    all.resolve(state, customer)
}

/// The page; with terms, what they would make of it.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, GrantId)>,
    Asked(given): Asked<Given>,
) -> Result<Response, Wrong> {
    let again = Given { summary: String::new(), was: String::new(), ..given };
    answer(&console, &who, customer, id, again, None)
}

fn found(state: &World, customer: OrganisationId, id: GrantId) -> Result<&Grant, Wrong> {
    let grant = state.grants.get(id).filter(|g| g.customer.organisation == customer);
    grant.ok_or_else(Wrong::not_found)
}

fn answer(
    console: &Console,
    who: &Visitor,
    customer: OrganisationId,
    id: GrantId,
    given: Given,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let renew = !given.renew.is_empty();
    let title = if renew { "Renew" } else { "Change" };
    // Reading first: whoever may not change anything here learns nothing from what follows.
    let (state, now, shell) = reader(console, who, customer, Action::Narrow, title)?;
    let grant = found(&state, customer, id)?;
    let partner = company(&state, grant.provider.organisation);
    let back = format!("/console/o/{customer}/grants/{id}");
    if let Err(refusal) = grant::may_amend(&state, &who.caller, id, now) {
        let again = format!("{}?{}", at(customer, id), given.query());
        return match Wrong::from(refusal).or_fresh(again) {
            Wrong::Refused(refusal) => {
                let title = format!("The access of {partner} cannot be changed by you now");
                no_dialog(shell, &title, &refusal, &back)
            }
            other => Err(other),
        };
    }
    let frame = Frame::of_level(&state, customer, grant.level.clone())?;
    let now_is = as_it_is(&state, grant, &frame, renew, now);
    let first = given.chosen.is_empty();
    let given = if first { now_is.clone() } else { given };
    let summary = amending(&state, grant, &given, &now_is)
        .and_then(|amending| consent::amended(&state, id, grant, &amending, now));
    let present = consent::amended(&state, id, grant, &Amending::default(), now).ok();
    let refusal = summary.as_ref().err().filter(|_| !first);
    let stale = no.and_then(Wrong::refusal) == Some(&Refusal::StaleSummary);
    let was = if stale { &*given.was } else { "" };
    let days = of_field(refusal, "days").map(|why| ("days".to_owned(), why));
    let days = terms::days(&frame, &given).wrong(days.as_ref());
    let newer = |p: &comity_domain::role::PinnedRole| {
        state.roles.get(p.role).is_some_and(|r| !r.deleted && r.newest() > p.version)
    };
    let page = Page {
        renew,
        outdated: !renew && grant.roles.iter().any(newer),
        newest: !given.newest.is_empty(),
        to: at(customer, id),
        banner: stale_or(no, stale),
        terms: (!renew)
            .then(|| terms::form(&state, &frame, &given, refusal).begun(grant.window.end)),
        days: days.hint(format!("1 to {}, counted from your yes.", frame.days.0)),
        shown: drawn(&state, &summary, present.as_ref(), was, first),
        partner,
        back,
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or_default();
    Ok((status, Html(page.render()?)).into_response())
}

fn drawn(
    state: &World,
    summary: &Result<Summary, Refusal>,
    present: Option<&Summary>,
    was: &str,
    first: bool,
) -> Shown {
    match (summary, present) {
        (Ok(summary), Some(present)) if summary.hash() == present.hash() => {
            terms::nothing_yet("Nothing is different from what is given now.")
        }
        (Ok(summary), present) => {
            let shown = terms::shown(state, summary, was, "This is what it gives then");
            match present {
                Some(present) => shown.beside(state, present),
                None => shown,
            }
        }
        (Err(refusal), _) => terms::not_yet(refusal, first),
    }
}

/// Makes of it what was shown.
pub async fn amend(
    State(console): State<Console>,
    At((customer, id)): At<(OrganisationId, GrantId)>,
    Sent { who, form: given }: Sent<Given>,
) -> Result<Response, Wrong> {
    let app = &console.app;
    let (command, partner) = {
        let (state, now, _) = reader(&console, &who, customer, Action::Narrow, "Change")?;
        let grant = found(&state, customer, id)?;
        if grant::may_amend(&state, &who.caller, id, now).is_err() {
            return answer(&console, &who, customer, id, given, None);
        }
        let frame = Frame::of_level(&state, customer, grant.level.clone())?;
        let now_is = as_it_is(&state, grant, &frame, !given.renew.is_empty(), now);
        let summary = given.summary.parse().unwrap_or(Digest32::of(b"nothing was shown"));
        let amending = amending(&state, grant, &given, &now_is);
        let command = amending.map(|amending| Command::Amend { grant: id, amending, summary });
        (command, company(&state, grant.provider.organisation))
    };
    let done = match command {
        Ok(command) => who.run(app, command).await,
        Err(refusal) => Err(refusal.into()),
    };
    match done {
        Ok(done) => {
            let end = done.state.grants.get(id).map(|g| show::when(g.window.end).shown);
            let end = end.unwrap_or_default();
            let said = if given.renew.is_empty() {
                format!("Changed. This is what {partner} has from now on, until {end}.")
            } else {
                format!("Renewed until {end}. Everybody who is on it stays on it.")
            };
            Ok(shell::done(&format!("/console/o/{customer}/grants/{id}"), &said))
        }
        Err(no) if on_the_form(&no).is_some() => {
            answer(&console, &who, customer, id, given, Some(&no))
        }
        Err(no) => Err(no.or_fresh(format!("{}?{}", at(customer, id), given.query()))),
    }
}
