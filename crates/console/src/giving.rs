//! *Grant Access*: what this customer offers to partners, and what it has given them.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::Command;
use comity_domain::ids::{OrganisationId, RequestId};
use comity_domain::may::Action;
use comity_domain::offer;
use comity_domain::refusal::Refusal;
use comity_domain::request::{Request, RequestCancel, RequestPhase, RequestState};
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::view;
use serde::Deserialize;

use crate::access::{Head, On, Standing, reader, standing};
use crate::active::{self, accounts, company, name};
use crate::at::{Asked, At};
use crate::dialog::{Dialog, no_dialog};
use crate::parts::{Badge, Empty, Pager, Tone, badge, empty};
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::show::{self, When};
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// An offer in one line.
#[derive(Debug)]
pub struct Offer {
    pub partner: String,
    pub customer: String,
    pub unit: Option<String>,
    pub level: Badge,
    pub roles: String,
    pub accounts: String,
    pub modes: String,
    pub days: String,
    pub by: String,
    pub at: When,
    pub status: Badge,
    /// What came of it, in sentences.
    pub became: Vec<String>,
    pub pending: bool,
    /// Where the customer withdraws it, and where the partner looks at it.
    pub withdraw: String,
    pub look: String,
    pub grant: Option<String>,
}

/// An offer in words.
pub fn offered(state: &World, id: RequestId, r: &Request, now: Instant) -> Option<Offer> {
    let given = r.offered.as_deref()?;
    let role =
        |p: &comity_domain::role::PinnedRole| Some(state.roles.get(p.role)?.name.to_string());
    let phase = r.phase(now);
    let (customer, provider) = (r.customer, r.provider.organisation);
    Some(Offer {
        partner: company(state, provider),
        customer: company(state, customer),
        unit: r
            .provider
            .unit
            .and_then(|u| state.units.get(u)?.name)
            .map(|w| state.words.show(w).into()),
        level: show::level(&r.level),
        roles: given.roles.iter().filter_map(role).collect::<Vec<_>>().join(", "),
        accounts: accounts(state, &given.accounts),
        modes: show::modes(r.modes),
        days: show::count(i64::from(r.days.0), "day", "days"),
        by: state.words.show(r.who.0).into(),
        at: show::when(r.at),
        status: status(phase),
        became: became(state, r, now),
        pending: phase == RequestPhase::Pending,
        withdraw: format!("/console/o/{customer}/offers/{id}/withdraw"),
        look: format!("/console/o/{provider}/offered/{id}"),
        grant: match r.state {
            RequestState::Approved { grant, .. } => Some(grant.to_string()),
            _ => None,
        },
    })
}

/// The word for where an offer stands.
pub fn status(phase: RequestPhase) -> Badge {
    match phase {
        RequestPhase::Pending => badge(Tone::Primary, "Waiting"),
        RequestPhase::Approved => badge(Tone::Good, "Accepted"),
        RequestPhase::Denied => badge(Tone::Bad, "Declined"),
        RequestPhase::Cancelled => badge(Tone::Plain, "Withdrawn"),
        RequestPhase::Expired => badge(Tone::Plain, "Expired"),
    }
}

/// What became of an offer, as both sides may know it.
pub fn became(state: &World, r: &Request, now: Instant) -> Vec<String> {
    let on = |at| show::when(at).shown;
    match &r.state {
        RequestState::Pending if r.phase(now) == RequestPhase::Expired => {
            vec!["Nobody answered within 30 days.".into()]
        }
        RequestState::Pending => vec![format!("Expires {}.", show::until(r.expires(), now))],
        RequestState::Approved { at, by: Some(by), .. } => {
            vec![format!("{} accepted it on {}.", name(state, *by), on(*at))]
        }
        RequestState::Approved { at, by: None, .. } => {
            vec![format!("The platform's policy gave it on {}.", on(*at))]
        }
        RequestState::Denied { at, message, .. } => {
            let mut said = vec![format!("Declined on {}.", on(*at))];
            said.extend(message.map(|w| format!("Message: {}", state.words.show(w))));
            said
        }
        RequestState::Cancelled { at, cause } => vec![match cause {
            Some(RequestCancel::ByAsker) => format!("Withdrawn on {}.", on(*at)),
            _ => format!("It fell away on {}.", on(*at)),
        }],
    }
}

/// A partner that was given access, in one line.
struct Given {
    line: active::Given,
    last: String,
}

#[derive(Template)]
#[template(path = "giving.html")]
struct Page {
    shell: Shell,
    head: Head,
    org: OrganisationId,
    past: bool,
    decides: bool,
    offers: Vec<Offer>,
    pager: Pager,
    grants: Vec<Given>,
    more_grants: bool,
    no_grant: Empty,
}

/// Which offers, and which page of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    past: Option<String>,
    after: Option<RequestId>,
}

/// So many grants stand here; the others are under *Active Access*.
const MOST_GRANTS: usize = 25;

/// The tab.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(which): Asked<Which>,
) -> Result<Html<String>, Wrong> {
    let on = standing(&console, &who, id, On::Giving, "Grant Access").await?;
    let Standing { state, now, shell, head } = on;
    let past = which.past.is_some();
    let own = format!("/console/o/{id}/access/give?{}", if past { "past=yes&" } else { "" });
    let wanted = |r: &Request| (r.phase(now) == RequestPhase::Pending) != past;
    let all = offer::made(&state, id).rev().filter(|(_, r)| wanted(r));
    let (pager, found) = Pager::of(all, which.after, true, &own);
    let mut grants: Vec<Given> = view::active_access(&state, id, now)
        .take(MOST_GRANTS + 1)
        .map(|a| Given { last: last_used(&state, &a, now), line: active::given(&state, &a, now) })
        .collect();
    let more_grants = grants.len() > MOST_GRANTS;
    grants.truncate(MOST_GRANTS);
    let page = Page {
        org: id,
        past,
        decides: shell.here.as_ref().is_some_and(|p| p.decides),
        offers: found.into_iter().filter_map(|(r, known)| offered(&state, r, known, now)).collect(),
        pager,
        grants,
        more_grants,
        no_grant: empty(
            "No partner has access",
            "Offer access to a partner, or give it your Customer ID so that it can ask.",
        ),
        head,
        shell,
    };
    Ok(Html(page.render()?))
}

/// When somebody entered last, as far as that is remembered.
fn last_used(state: &World, access: &view::Access<'_>, now: Instant) -> String {
    if access.inside > 0 {
        return "now".into();
    }
    let newest = state.sessions_under(access.id).next_back().and_then(|s| state.sessions.get(s));
    match newest {
        Some(session) if now.since(session.started) < comity_domain::time::DAY => {
            show::when(session.started).shown
        }
        _ => "not in the last day".into(),
    }
}

// -- withdrawing ----------------------------------------------------------------------------------

const WITHDRAW: &str = "Withdraw the offer?";

/// The dialog.
pub async fn withdraw_page(
    State(console): State<Console>,
    who: Visitor,
    At((customer, id)): At<(OrganisationId, RequestId)>,
) -> Result<Response, Wrong> {
    let (state, now, shell) = reader(&console, &who, customer, Action::WithdrawOffer, WITHDRAW)?;
    let request = found(&state, customer, id)?;
    let line = offered(&state, id, request, now).ok_or_else(Wrong::not_found)?;
    let back = giving(customer);
    if !line.pending {
        let refusal = Refusal::WrongState(request.phase(now).code());
        return no_dialog(shell, "It was answered already", &refusal, &back);
    }
    let dialog = Dialog {
        title: WITHDRAW.into(),
        banner: None,
        will: vec![
            format!(
                "{} can no longer accept it: {} on {}.",
                line.partner, line.roles, line.accounts
            ),
            "It gave nothing so far. You can offer it again.".into(),
        ],
        hidden: Vec::new(),
        fields: Vec::new(),
        to: line.withdraw,
        button: "Withdraw",
        tone: "danger",
        back,
        shell,
    };
    Ok(dialog.page()?.into_response())
}

/// Withdraws.
pub async fn withdraw(
    State(console): State<Console>,
    At((customer, id)): At<(OrganisationId, RequestId)>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    let act = Action::WithdrawOffer;
    {
        let (state, ..) = reader(&console, &who, customer, act, WITHDRAW)?;
        found(&state, customer, id)?;
    }
    let back = giving(customer);
    match who.run(&console.app, Command::CancelRequest { request: id }).await {
        Ok(_) => Ok(shell::done(&back, "Withdrawn. It can no longer be accepted.")),
        Err(Wrong::Refused(refusal @ Refusal::WrongState(_))) => {
            let (_, _, shell) = reader(&console, &who, customer, act, WITHDRAW)?;
            no_dialog(shell, "It was answered already", &refusal, &back)
        }
        Err(no) => Err(no),
    }
}

fn found(state: &World, customer: OrganisationId, id: RequestId) -> Result<&Request, Wrong> {
    let offer = state.requests.get(id).filter(|r| r.customer == customer);
    offer.filter(|r| r.offered.is_some()).ok_or_else(Wrong::not_found)
}

/// Where the tab is.
pub fn giving(customer: OrganisationId) -> String {
    format!("/console/o/{customer}/access/give")
}
