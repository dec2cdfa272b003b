//! *Offer access*: first to whom, then what, read in plain words and offered exactly so.
//!
//! To whom is asked on a page of its own, because trying a partner ID is counted and a preview of
//! terms is not. The second page knows the partner by the code's digest or by its identifier.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use comity_domain::code::CustomerCode;
use comity_domain::command::{Command, Offer, Partner};
use comity_domain::consent::{self, Summary};
use comity_domain::event::Event;
use comity_domain::grant::DEFAULT_DAYS;
use comity_domain::ids::{Digest32, OrganisationId, UnitId};
use comity_domain::may::Action;
use comity_domain::offer;
use comity_domain::organisation::Party;
use comity_domain::refusal::Refusal;
use comity_domain::role::Mode;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use serde::Deserialize;

use crate::access::reader;
use crate::active::company;
use crate::approve::stale_or;
use crate::ask::mistyped;
use crate::at::{Asked, At};
use crate::dialog::no_dialog;
use crate::giving::giving;
use crate::parts::{Banner, Field, Tone, banner};
use crate::request::on_the_form;
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::show;
use crate::terms::{self, Choice, Frame, Given, Shown, TermsForm, of_field};
use crate::visitor::{Counted, Sent, Visitor};
use crate::wrong::Wrong;

const TITLE: &str = "Offer access";

// -- to whom --------------------------------------------------------------------------------------

/// A partner ID, or somebody known.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Whom {
    partner_id: String,
    known: String,
}

#[derive(Template)]
#[template(path = "offer_whom.html")]
struct WhomPage {
    shell: Shell,
    org: OrganisationId,
    banner: Option<Banner>,
    partner_id: String,
    partner_id_wrong: Option<String>,
    known: Vec<Choice>,
}

/// How the second page knows a partner.
fn token(partner: &Partner) -> String {
    match partner {
        Partner::Code(digest) => digest.to_string(),
        Partner::Known(party) => match party.unit {
            None => party.organisation.to_string(),
            Some(unit) => format!("{}.{unit}", party.organisation),
        },
    }
}

fn read_token(text: &str) -> Result<Partner, Wrong> {
    if let Ok(digest) = text.parse::<Digest32>() {
        return Ok(Partner::Code(digest));
    }
    let (organisation, unit) = match text.split_once('.') {
        None => (text, None),
        Some((organisation, unit)) => (organisation, Some(unit)),
    };
    let organisation: OrganisationId = organisation.parse().map_err(|_| Wrong::not_found())?;
    let unit = unit.map(str::parse::<UnitId>).transpose().map_err(|_| Wrong::not_found())?;
    Ok(Partner::Known(Party { organisation, unit }))
}

fn party_name(state: &World, party: Party) -> String {
    let unit = party.unit.and_then(|u| state.units.get(u)?.name).map(|w| state.words.show(w));
    let name = company(state, party.organisation);
    unit.map_or(name.clone(), |unit| format!("{name}, unit {unit}"))
}

fn whom_again(
    console: &Console,
    who: &Visitor,
    id: OrganisationId,
    form: &Whom,
    no: Option<&Refusal>,
) -> Result<Response, Wrong> {
    let own = format!("{}/new", giving(id));
    let read = reader(console, who, id, Action::MakeOffer, TITLE).map_err(|e| e.or_fresh(own))?;
    let (state, _, shell) = read;
    let open = |p: &Party| offer::partner(&state, id, &Partner::Known(*p)).is_ok();
    let mut known: Vec<Choice> = offer::known_partners(&state, id)
        .into_iter()
        .filter(open)
        .map(|party| {
            let value = token(&Partner::Known(party));
            let on = form.known == value;
            Choice { value, label: party_name(&state, party), note: String::new(), on }
        })
        .collect();
    known.sort_by(|a, b| a.label.cmp(&b.label));
    let wrong = match no {
        Some(Refusal::NotFound) => Some(
            "No partner has this ID. It may have been replaced: ask the partner for the one that it has now."
                .to_owned(),
        ),
        Some(Refusal::SameOrganisation) => Some("This is your own Partner ID.".to_owned()),
        Some(Refusal::Locked) => {
            Some("This partner is locked out, or halted. Unlock it before you offer anything.".to_owned())
        }
        other => of_field(other, "partner_id").or_else(|| of_field(other, "partner")),
    };
    let page = WhomPage {
        org: id,
        banner: no.map(|_| banner(Tone::Bad, "Nothing was offered. Look at the Partner ID.")),
        partner_id: form.partner_id.clone(),
        partner_id_wrong: wrong,
        known,
        shell,
    };
    let status = no.map_or(StatusCode::OK, crate::wrong::status);
    Ok((status, Html(page.render()?)).into_response())
}

/// The first page.
pub async fn whom_page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
) -> Result<Response, Wrong> {
    whom_again(&console, &who, id, &Whom::default(), None)
}

/// Goes on to what is offered.
pub async fn whom(
    State(console): State<Console>,
    At(id): At<OrganisationId>,
    Counted(beside): Counted,
    Sent { who, form }: Sent<Whom>,
) -> Result<Response, Wrong> {
    let own = format!("{}/new", giving(id));
    reader(&console, &who, id, Action::MakeOffer, TITLE).map_err(|e| e.or_fresh(own))?;
    let partner = if form.partner_id.trim().is_empty() && !form.known.is_empty() {
        read_token(&form.known)?
    } else {
        match CustomerCode::parse(&form.partner_id) {
            Ok(code) => Partner::Code(code.digest()),
            Err(error) => {
                let refusal = Refusal::invalid("partner_id", mistyped(error));
                return whom_again(&console, &who, id, &form, Some(&refusal));
            }
        }
    };
    if matches!(partner, Partner::Code(_)) {
        beside.limits.customer_id(&who.caller, id).await?;
    }
    match offer::partner(&console.app.state(), id, &partner) {
        Ok(_) => {
            let to = format!("{}/terms?to={}", giving(id), token(&partner));
            Ok(Redirect::to(&to).into_response())
        }
        Err(no) => whom_again(&console, &who, id, &form, Some(&no)),
    }
}

// -- what -----------------------------------------------------------------------------------------

#[derive(Template)]
#[template(path = "offer.html")]
struct Page {
    shell: Shell,
    to: String,
    token: String,
    partner: String,
    back: String,
    banner: Option<Banner>,
    levels: Vec<Choice>,
    terms: TermsForm,
    reason: Field,
    ticket: Field,
    shown: Shown,
}

fn address(customer: OrganisationId, given: &Given) -> String {
    format!("{}/terms?{}", giving(customer), given.query())
}

fn first(to: &str, level: &str) -> Given {
    Given {
        to: to.into(),
        level: level.into(),
        which: "list".into(),
        modes: vec![Mode::Direct.code().into()],
        days: DEFAULT_DAYS.0.to_string(),
        ..Given::default()
    }
}

fn summarise(
    state: &World,
    customer: OrganisationId,
    provider: Party,
    given: &Given,
    now: Instant,
) -> Result<Summary, Refusal> {
    let terms = given.named()?.offer(state, customer)?;
    consent::offered(state, customer, provider, &given.level, &terms, now)
}

/// The second page; with terms, what they would give.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At(customer): At<OrganisationId>,
    Asked(given): Asked<Given>,
) -> Result<Response, Wrong> {
    let again = Given { summary: String::new(), was: String::new(), ..given };
    answer(&console, &who, customer, again, None)
}

fn answer(
    console: &Console,
    who: &Visitor,
    customer: OrganisationId,
    given: Given,
    no: Option<&Wrong>,
) -> Result<Response, Wrong> {
    let back = address(customer, &given);
    let read =
        reader(console, who, customer, Action::MakeOffer, TITLE).map_err(|e| e.or_fresh(back))?;
    let (state, now, shell) = read;
    let partner = read_token(&given.to)?;
    let provider = match offer::partner(&state, customer, &partner) {
        Ok(provider) => provider,
        Err(Refusal::NotFound) => return Err(Wrong::not_found()),
        Err(refusal) => {
            return no_dialog(
                shell,
                "Nothing can be offered here now",
                &refusal,
                &giving(customer),
            );
        }
    };
    let is_first = given.chosen.is_empty();
    let level = if given.level.is_empty() { "partner" } else { &given.level };
    let given = if is_first { first(&given.to, level) } else { given.clone() };
    let (pinned, _) = state.newest_level(&given.level).ok_or_else(Wrong::not_found)?;
    let frame = Frame::of_level(&state, customer, pinned)?;
    let given = if is_first {
        Given { session_minutes: frame.limits.cap.0.to_string(), ..given }
    } else {
        given
    };
    let summary = summarise(&state, customer, provider, &given, now);
    let refusal = summary.as_ref().err().filter(|_| !is_first);
    let stale = no.and_then(Wrong::refusal) == Some(&Refusal::StaleSummary);
    let was = if stale { &*given.was } else { "" };
    let said = no.and_then(Wrong::refusal);
    let field = |name: &'static str, label: &str, value: &str| {
        let wrong = of_field(said, name).map(|why| (name.to_owned(), why));
        Field::new(name, label).value(value).wrong(wrong.as_ref())
    };
    let status = no.and_then(on_the_form).unwrap_or_default();
    let mut banner = stale_or(no, stale);
    if banner.is_none() && said.is_some() {
        banner =
            Some(crate::parts::banner(Tone::Bad, "Nothing was offered. Look at what is marked."));
    }
    let page = Page {
        partner: party_name(&state, provider),
        token: given.to.clone(),
        to: format!("{}/terms", giving(customer)),
        back: giving(customer),
        banner,
        levels: levels(&state, &given),
        terms: terms::form(&state, &frame, &given, refusal),
        reason: field("reason", "Reason", &given.reason)
            .kind("textarea")
            .most(1_000)
            .hint("The partner reads it with the offer."),
        ticket: field("ticket", "Ticket", &given.ticket).optional(),
        shown: match &summary {
            Ok(summary) => terms::shown(&state, summary, was, "This is what you offer"),
            Err(refusal) => terms::not_yet(refusal, is_first),
        },
        shell,
    };
    Ok((status, Html(page.render()?)).into_response())
}

fn levels(state: &World, given: &Given) -> Vec<Choice> {
    let one = |code: &std::sync::Arc<str>| {
        let (pinned, level) = state.newest_level(code)?;
        let most = level.longest_grant.min(state.policy.longest_grant).0;
        Some(Choice {
            value: code.to_string(),
            label: show::level(&pinned).text,
            note: format!("{}; at most {most} days", show::modes(level.modes)),
            on: given.level == **code,
        })
    };
    let mut all: Vec<Choice> = state.levels.keys().filter_map(one).collect();
    all.sort_by_key(|c| !matches!(c.value.as_str(), "partner" | "referral"));
    all
}

/// Offers what was shown.
pub async fn make(
    State(console): State<Console>,
    At(customer): At<OrganisationId>,
    Sent { who, form: given }: Sent<Given>,
) -> Result<Response, Wrong> {
    let app = &console.app;
    let fresh = |e: Wrong| e.or_fresh(address(customer, &given));
    let (command, named) = {
        let read = reader(&console, &who, customer, Action::MakeOffer, TITLE).map_err(fresh)?;
        let (state, ..) = read;
        let partner = read_token(&given.to)?;
        let Ok(provider) = offer::partner(&state, customer, &partner) else {
            return answer(&console, &who, customer, given, None);
        };
        let terms = given.named().and_then(|named| named.offer(&state, customer));
        let summary = given.summary.parse().unwrap_or(Digest32::of(b"nothing was shown"));
        let command = terms.map(|terms| {
            Command::MakeOffer(Box::new(Offer {
                customer,
                partner,
                level: given.level.clone(),
                terms,
                reason: given.reason.clone(),
                ticket: Some(given.ticket.clone()).filter(|t| !t.trim().is_empty()),
                summary,
            }))
        });
        (command, party_name(&state, provider))
    };
    let done = match command {
        Ok(command) => who.run(app, command).await,
        Err(refusal) => Err(refusal.into()),
    };
    match done {
        Ok(done) => {
            let at_once = done
                .row
                .iter()
                .flat_map(|r| &r.events)
                .any(|e| matches!(e.event, Event::GrantMade { .. }));
            let said = if at_once {
                format!("Given. People of {named} may enter once {named} assigns them.")
            } else {
                format!(
                    "Offered to {named}. Nothing is given before {named} accepts; it has 30 days."
                )
            };
            Ok(shell::done(&giving(customer), &said))
        }
        Err(no) if on_the_form(&no).is_some() => answer(&console, &who, customer, given, Some(&no)),
        Err(no) => Err(fresh(no)),
    }
}
