//! *Active Access*: one line for each grant that stands, who is locked out, and under a filter what
//! has ended.

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use comity_domain::consent;
use comity_domain::grant::{Grant, GrantEnd, GrantState};
use comity_domain::ids::{GrantId, LockId, OrganisationId};
use comity_domain::lock::{Lock, LockTarget};
use comity_domain::may::Action;
use comity_domain::organisation::Accounts;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::view::{self, Access, Word};
use serde::Deserialize;

use crate::access::{Head, On, Standing, standing};
use crate::at::{Asked, At};
use crate::parts::{Badge, Empty, Pager, Tone, badge, empty};
use crate::routes::Console;
use crate::shell::Shell;
use crate::show::{self, When};
use crate::visitor::Visitor;
use crate::wrong::Wrong;

/// A grant in one line.
#[derive(Debug)]
pub struct Given {
    pub id: GrantId,
    pub partner: String,
    pub partner_id: OrganisationId,
    pub unit: Option<String>,
    pub level: Badge,
    pub badges: Vec<Badge>,
    pub roles: String,
    pub accounts: String,
    pub modes: String,
    pub impersonation: bool,
    pub ends: String,
    pub ends_at: When,
    pub starts_at: When,
    pub scheduled: bool,
    pub people: usize,
    pub inside: usize,
    pub stands: bool,
    pub unconfirmed: bool,
    pub locked: bool,
    /// How it ended, if it has.
    pub ended: Option<String>,
    pub to: String,
}

/// A person's name, for whoever may know it.
pub fn name(state: &World, id: comity_domain::ids::PersonId) -> String {
    let found = state.people.get(id);
    found.map_or_else(|| "Somebody".into(), |p| state.words.show(p.name).to_owned())
}

/// An organisation's name, for whoever may know it.
pub fn company(state: &World, id: OrganisationId) -> String {
    let found = state.organisations.get(id);
    found.map_or_else(|| "An organisation".into(), |o| state.words.show(o.name).to_owned())
}

/// Accounts in words.
pub fn accounts(state: &World, accounts: &Accounts) -> String {
    match accounts {
        Accounts::All => "All accounts, also those made later".into(),
        Accounts::List(list) => {
            let names: Vec<String> =
                list.iter().filter_map(|a| consent::account(state, *a)).collect();
            names.join(", ")
        }
    }
}

/// The badge for a word.
pub fn word(word: Word) -> Badge {
    let (tone, text) = match word {
        Word::Active => (Tone::Good, "Active"),
        Word::Scheduled => (Tone::Plain, "Scheduled"),
        Word::Unconfirmed => (Tone::Warn, "To be confirmed"),
        Word::Locked => (Tone::Bad, "Locked"),
        Word::Halted => (Tone::Bad, "Halted"),
        Word::Suspended => (Tone::Warn, "Partner suspended"),
        Word::Unattended => (Tone::Warn, "Nobody assigned"),
        Word::Expired => (Tone::Plain, "Expired"),
        Word::Ended => (Tone::Plain, "Ended"),
    };
    badge(tone, text)
}

/// A grant in words.
pub fn given(state: &World, access: &Access<'_>, now: Instant) -> Given {
    let g = access.grant;
    let (customer, partner) = (g.customer.organisation, g.provider.organisation);
    let roles = g.roles.iter().filter_map(|p| Some(state.roles.get(p.role)?.name.to_string()));
    let unit = g.provider.unit.and_then(|u| state.units.get(u)?.name);
    let words = view::words(state, access, now);
    Given {
        id: access.id,
        partner: company(state, partner),
        partner_id: partner,
        unit: unit.map(|w| state.words.show(w).to_owned()),
        level: show::level(&g.level),
        roles: roles.collect::<Vec<_>>().join(", "),
        accounts: accounts(state, &g.accounts),
        modes: show::modes(g.modes),
        impersonation: comity_domain::grant::impersonation(g.modes),
        ends: show::until(g.window.end, now),
        ends_at: show::when(g.window.end),
        starts_at: show::when(g.window.start),
        scheduled: words.contains(&Word::Scheduled),
        people: state.active_on(access.id, now),
        inside: access.inside,
        stands: g.stands(now),
        unconfirmed: words.contains(&Word::Unconfirmed),
        locked: words.contains(&Word::Locked),
        ended: ended(state, g, now),
        to: format!("/console/o/{customer}/grants/{}", access.id),
        badges: words.into_iter().map(word).collect(),
    }
}

fn ended(state: &World, g: &Grant, now: Instant) -> Option<String> {
    match g.state {
        GrantState::Ended { at, cause, by } => {
            let who = by.map(|p| format!(" by {}", name(state, p)));
            let how = match cause {
                GrantEnd::Revoked => format!("Revoked{}", who.unwrap_or_default()),
                // Who of the partner gave it up is the partner's affair.
                GrantEnd::GivenUp => "Given up by the partner".into(),
                GrantEnd::Closed => "Ended by a closing".into(),
            };
            Some(format!("{how}, {}", show::when(at).shown))
        }
        GrantState::Running if g.stands(now) => None,
        GrantState::Running => {
            Some(format!("Its time was over, {}", show::when(g.window.end).shown))
        }
    }
}

/// A lock in one line.
#[derive(Debug)]
pub struct Locked {
    pub who: String,
    pub kind: &'static str,
    pub at: When,
    pub by: String,
    pub reason: Option<String>,
    pub to: String,
}

/// Whom a lock stops, by name.
pub fn target(state: &World, target: LockTarget) -> String {
    match target {
        LockTarget::Organisation(o) => company(state, o),
        LockTarget::Person(p) => name(state, p),
    }
}

fn locked(state: &World, id: LockId, lock: &Lock) -> Locked {
    Locked {
        who: target(state, lock.target),
        kind: match lock.target {
            LockTarget::Organisation(_) => "Everybody of this partner",
            LockTarget::Person(_) => "This person",
        },
        at: show::when(lock.at),
        by: name(state, lock.by),
        reason: lock.reason.map(|w| state.words.show(w).to_owned()),
        to: format!("/console/o/{}/locks/{id}/unlock", lock.customer),
    }
}

/// Which list, and which page of it.
#[derive(Debug, Deserialize)]
pub struct Which {
    after: Option<GrantId>,
    #[serde(default)]
    show: String,
}

#[derive(Template)]
#[template(path = "active.html")]
struct Page {
    shell: Shell,
    head: Head,
    org: OrganisationId,
    ended: bool,
    grants: Vec<Given>,
    empty: Empty,
    pager: Pager,
    locks: Vec<Locked>,
    decides: bool,
}

/// The page.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(which): Asked<Which>,
) -> Result<Html<String>, Wrong> {
    let on = standing(&console, &who, id, On::Active, "Active Access").await?;
    let Standing { state, now, shell, head } = on;
    let ended = which.show == "ended";
    let to = format!("/console/o/{id}/access/active?{}", if ended { "show=ended&" } else { "" });
    let (pager, page) = if ended {
        let all = state.grants_by(id).rev().filter_map(|g| view::access(&state, g, now));
        let over = all.filter(|a| !a.grant.stands(now)).map(|a| (a.id, a));
        Pager::of(over, which.after, true, &to)
    } else {
        let all = view::active_access(&state, id, now).map(|a| (a.id, a));
        Pager::of(all, which.after, false, &to)
    };
    let empty = if ended {
        empty("Nothing has ended", "Access that was revoked, given up or ran out is listed here.")
    } else {
        empty(
            "No partner has access",
            "Nobody from outside may enter. Approve a request on the first tab to let a partner in.",
        )
    };
    let may_see = comity_domain::may::Thing::organisation(id);
    comity_domain::may::check(&state, &who.caller, Action::ReadLocks, may_see, now)?;
    let page = Page {
        grants: page.into_iter().map(|(_, a)| given(&state, &a, now)).collect(),
        locks: state.locks_of(id).map(|(lock, l)| locked(&state, lock, l)).collect(),
        decides: shell.here.as_ref().is_some_and(|p| p.decides),
        org: id,
        shell,
        head,
        ended,
        empty,
        pager,
    };
    Ok(Html(page.render()?))
}
