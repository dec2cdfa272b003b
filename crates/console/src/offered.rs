//! What customers offer to this organisation: looked at, accepted whole or declined; and the partner
//! ID by which they name it.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_app::Failure;
use comity_domain::command::Command;
use comity_domain::event::Event;
use comity_domain::ids::{OrganisationId, RequestId};
use comity_domain::may::Action;
use comity_domain::offer;
use comity_domain::organisation::Party;
use comity_domain::request::Request;
use comity_domain::state::State as World;
use comity_domain::text::Lookup;
use serde::Deserialize;

use crate::asking::partner;
use crate::at::At;
use crate::dialog::Dialog;
use crate::giving::{Offer, offered};
use crate::parts::{Banner, Copy, Field, Tone, banner};
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::show::{self, When};
use crate::sign_in::Bare;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

#[derive(Template)]
#[template(path = "offered.html")]
struct Page {
    shell: Shell,
    org: OrganisationId,
    line: Offer,
    banner: Option<Banner>,
    email: String,
    reason: String,
    ticket: Option<String>,
    permits: Vec<(String, String)>,
    starts: Option<When>,
    minutes: u32,
    external: bool,
    /// Whether it can be accepted by the visitor now.
    open: bool,
    decides: bool,
    grant: Option<String>,
}

fn found(state: &World, provider: OrganisationId, id: RequestId) -> Result<&Request, Wrong> {
    let found = state.requests.get(id).filter(|r| r.provider.organisation == provider);
    found.filter(|r| r.offered.is_some()).ok_or_else(Wrong::not_found)
}

/// An offer's own page.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At((provider, id)): At<(OrganisationId, RequestId)>,
) -> Result<Response, Wrong> {
    again(&console, &who, provider, id, None)
}

fn again(
    console: &Console,
    who: &Visitor,
    provider: OrganisationId,
    id: RequestId,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let read = partner(console, who, provider, Action::ReadRequest, Section::Received, "Offer")?;
    let (state, now, shell) = read;
    let request = found(&state, provider, id)?;
    let line = offered(&state, id, request, now).ok_or_else(Wrong::not_found)?;
    let given = request.offered.as_deref().ok_or_else(Wrong::not_found)?;
    // What is gone meanwhile, or stands in the way, is said before anybody says yes.
    let would = offer::would_give(&state, request, now);
    let trimmed = would.as_ref().is_ok_and(|left| {
        (&left.roles, &left.accounts, left.cap) != (&given.roles, &given.accounts, given.cap)
    });
    let notice = match (&would, line.pending, trimmed) {
        (Err(refusal), true, _) => Some(banner(Tone::Warn, refusal.sentence())),
        (Ok(_), true, true) => Some(banner(
            Tone::Warn,
            "Part of what was offered is gone since, or beyond the customer's limits of today; accepting gives the rest.",
        )),
        _ => None,
    };
    let ceiling = state.level(&request.level).map(|l| l.ceiling.clone()).unwrap_or_default();
    let permits = |p: &comity_domain::role::PinnedRole| {
        let role = state.roles.get(p.role)?;
        let texts: Vec<String> = role.pinned(p.version).meet(&ceiling).texts().collect();
        let text = if texts.is_empty() { "nothing".into() } else { texts.join(", ") };
        Some((role.name.to_string(), text))
    };
    let page = Page {
        org: provider,
        banner: said_no(no, &[]).0.or(notice),
        email: state.words.show(request.who.1).into(),
        reason: state.words.show(request.reason).into(),
        ticket: request.ticket.map(|w| state.words.show(w).into()),
        permits: given.roles.iter().filter_map(permits).collect(),
        starts: given.starts_at.map(show::when),
        minutes: given.cap.0,
        external: given.allow_external,
        open: line.pending && would.is_ok(),
        decides: shell.here.as_ref().is_some_and(|p| p.decides),
        grant: line.grant.as_ref().map(|g| format!("/console/o/{provider}/grants-received/{g}")),
        line,
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or_default();
    Ok((status, Html(page.render()?)).into_response())
}

/// Accepts it.
pub async fn accept(
    State(console): State<Console>,
    At((provider, id)): At<(OrganisationId, RequestId)>,
    Sent { who, .. }: Sent<Bare>,
) -> Result<Response, Wrong> {
    {
        let act = Action::AcceptOffer;
        let (state, ..) = partner(&console, &who, provider, act, Section::Received, "Offer")?;
        found(&state, provider, id)?;
    }
    match who.run(&console.app, Command::Accept { request: id }).await {
        Ok(done) => {
            let made = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
                Event::GrantMade { grant, .. } => Some(grant),
                _ => None,
            });
            let received = format!("/console/o/{provider}/grants-received");
            let to = made.map_or(received.clone(), |grant| format!("{received}/{grant}"));
            Ok(shell::done(&to, "Accepted. Now choose who of your people may go in."))
        }
        Err(no) if on_the_form(&no).is_some() => again(&console, &who, provider, id, Some(&no)),
        Err(no) => Err(no),
    }
}

/// Why not.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Declining {
    reason: String,
    message: String,
}

fn decline_again(
    console: &Console,
    who: &Visitor,
    provider: OrganisationId,
    id: RequestId,
    form: &Declining,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let title = "Decline the offer?";
    let read = partner(console, who, provider, Action::DeclineOffer, Section::Received, title)?;
    let (state, now, shell) = read;
    let request = found(&state, provider, id)?;
    let line = offered(&state, id, request, now).ok_or_else(Wrong::not_found)?;
    if !line.pending {
        return again(console, who, provider, id, no);
    }
    let (general, wrong) = said_no(no, &["reason", "message"]);
    let field = |name: &'static str, label: &str, value: &str| {
        Field::new(name, label)
            .kind("textarea")
            .optional()
            .most(1_000)
            .value(value)
            .wrong(wrong.as_ref())
    };
    let dialog = Dialog {
        title: title.into(),
        banner: general,
        will: vec![format!("{} is told that you declined it. It can offer again.", line.customer)],
        hidden: Vec::new(),
        fields: vec![
            field("message", "Message to the customer", &form.message),
            field("reason", "Reason, for us only", &form.reason),
        ],
        to: format!("{}/decline", line.look),
        button: "Decline",
        tone: "danger",
        back: line.look,
        shell,
    };
    let status = no.and_then(on_the_form).unwrap_or_default();
    Ok((status, dialog.page()?).into_response())
}

/// The dialog.
pub async fn decline_page(
    State(console): State<Console>,
    who: Visitor,
    At((provider, id)): At<(OrganisationId, RequestId)>,
) -> Result<Response, Wrong> {
    decline_again(&console, &who, provider, id, &Declining::default(), None)
}

/// Declines it.
pub async fn decline(
    State(console): State<Console>,
    At((provider, id)): At<(OrganisationId, RequestId)>,
    Sent { who, form }: Sent<Declining>,
) -> Result<Response, Wrong> {
    {
        let act = Action::DeclineOffer;
        let (state, ..) = partner(&console, &who, provider, act, Section::Received, "Offer")?;
        found(&state, provider, id)?;
    }
    let (reason, message) = (Some(form.reason.clone()), Some(form.message.clone()));
    match who.run(&console.app, Command::Decline { request: id, reason, message }).await {
        Ok(_) => {
            let to = format!("/console/o/{provider}/grants-received");
            Ok(shell::done(&to, "Declined. The customer is told."))
        }
        Err(no) if on_the_form(&no).is_some() => {
            decline_again(&console, &who, provider, id, &form, Some(&no))
        }
        Err(no) => Err(no),
    }
}

// -- the partner ID -------------------------------------------------------------------------------

/// One code, and whom it names.
struct Code {
    label: String,
    unit: String,
    code: Option<Copy>,
}

#[derive(Template)]
#[template(path = "partner_id.html")]
struct CodesPage {
    shell: Shell,
    org: OrganisationId,
    codes: Vec<Code>,
    decides: bool,
}

/// For whom one is made: a unit by the builder's identifier, or the whole organisation.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    unit: String,
}

fn codes_at(id: OrganisationId) -> String {
    format!("/console/o/{id}/partner-id")
}

/// The page of partner IDs.
pub async fn codes(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
) -> Result<Html<String>, Wrong> {
    let title = "Partner ID";
    let read = partner(&console, &who, id, Action::ReadPartnerId, Section::Received, title)?;
    let (state, _, shell) = read;
    let mut parties = vec![("The whole organisation".to_owned(), String::new(), None)];
    parties.extend(state.units_of(id).filter(|u| state.unit_is_active(*u)).filter_map(|unit| {
        let known = state.units.get(unit)?;
        let external = state.words.show(known.external?).to_owned();
        let name = known.name.map_or(external.clone(), |w| state.words.show(w).to_owned());
        Some((format!("Only unit {name}"), external, Some(unit)))
    }));
    let mut codes = Vec::new();
    for (label, unit, of) in parties {
        let (app, party) = (console.app.clone(), Party { organisation: id, unit: of });
        // Not on an async thread: on PostgreSQL this waits for the network.
        let read = tokio::task::spawn_blocking(move || app.partner_id(party)).await;
        let code = read.map_err(|e| Failure::Broken(e.to_string()))??;
        let id = format!("partner-id-{}", codes.len());
        let copy = |text| Copy { id, label: "Partner ID".into(), text };
        codes.push(Code { label, unit, code: code.map(copy) });
    }
    let decides = shell.here.as_ref().is_some_and(|p| p.decides);
    Ok(Html(CodesPage { org: id, codes, decides, shell }.render()?))
}

/// Makes one, or another.
pub async fn make_code(
    State(console): State<Console>,
    At(id): At<OrganisationId>,
    Sent { who, form }: Sent<Which>,
) -> Result<Response, Wrong> {
    let fresh = |e: Wrong| e.or_fresh(codes_at(id));
    let act = Action::RotatePartnerId;
    let read = partner(&console, &who, id, act, Section::Received, "Partner ID").map_err(fresh)?;
    let unit = Some(form.unit).filter(|u| !u.is_empty());
    if unit.as_ref().is_some_and(|u| read.0.words.find(Lookup::Unit(id), u).is_none()) {
        return Err(Wrong::not_found());
    }
    let code = console.app.fresh_code();
    let command = Command::RotatePartnerId { organisation: id, unit, code };
    who.run(&console.app, command).await.map_err(fresh)?;
    Ok(shell::done(
        &codes_at(id),
        "This Partner ID is new. Hand it to a customer; an older one names nobody any more.",
    ))
}
