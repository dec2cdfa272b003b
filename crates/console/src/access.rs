//! *Partner Access*: what stands above each of its tabs, and the counts that come without reloading.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use askama::filters::HtmlSafe;
use axum::Json;
use axum::extract::State;
use comity_app::Failure;
use comity_domain::ids::{Digest32, OrganisationId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::view;
use serde::Serialize;

use crate::at::At;
use crate::parts::{Copy, Tab, Tabs};
use crate::routes::Console;
use crate::shell::{Place, Section, Shell};
use crate::visitor::Visitor;
use crate::wrong::Wrong;

/// The tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Pending,
    Active,
    Giving,
    History,
    Settings,
}

/// What stands above each tab: the title, the customer ID, the tabs with their counts.
#[derive(Debug, Template)]
#[template(path = "access_head.html")]
pub struct Head {
    place: Place,
    /// The customer ID, for those who may hand it out.
    code: Option<Copy>,
    /// Whether it can be asked with.
    on: bool,
    tabs: Tabs,
}

impl HtmlSafe for Head {}

/// A page of one of the tabs: what surrounds it, what stands above it, and what it is about.
#[derive(Debug)]
pub struct Standing {
    pub state: Arc<World>,
    pub now: Instant,
    pub shell: Shell,
    pub head: Head,
}

/// Whether the visitor may read there, and the page around the tab. Whoever is no member is told
/// that there is nothing; `title` is the tab's, for the window.
pub async fn standing(
    console: &Console,
    who: &Visitor,
    id: OrganisationId,
    on: On,
    title: &str,
) -> Result<Standing, Wrong> {
    let (state, now, shell) = reader(console, who, id, Action::ReadGrant, title)?;
    let place = shell.here.clone().ok_or_else(Wrong::not_found)?;
    let head = head(console, &state, place, on, now).await?;
    Ok(Standing { state, now, shell, head })
}

/// Whether the visitor may do this there, and what surrounds a page about it.
pub fn reader(
    console: &Console,
    who: &Visitor,
    id: OrganisationId,
    action: Action,
    title: &str,
) -> Result<(Arc<World>, Instant, Shell), Wrong> {
    let (state, now) = (console.app.state(), console.app.now());
    let shell = Shell::of(&state, who, id, Section::Access, title)?;
    may::check(&state, &who.caller, action, Thing::organisation(id), now)?;
    Ok((state, now, shell))
}

async fn head(
    console: &Console,
    state: &World,
    place: Place,
    on: On,
    now: Instant,
) -> Result<Head, Wrong> {
    let id = place.id;
    let known = state.organisations.get(id).ok_or_else(Wrong::not_found)?;
    let switched_on = known.settings.customer_id_on;
    let code = if place.decides {
        let app = console.app.clone();
        // Not on an async thread: on PostgreSQL this waits for the network.
        let read = tokio::task::spawn_blocking(move || app.customer_id(id)).await;
        let text = read.map_err(|e| Failure::Broken(e.to_string()))??;
        Some(Copy { id: "customer-id".into(), label: "Customer ID".into(), text })
    } else {
        None
    };
    Ok(Head { tabs: tabs(state, id, on, now), place, code, on: switched_on })
}

fn tabs(state: &World, id: OrganisationId, on: On, now: Instant) -> Tabs {
    let counts = view::counts(state, id, now);
    let tab = |label: &str, to: &str, what, count| Tab {
        label: label.into(),
        to: format!("/console/o/{id}/access/{to}"),
        here: on == what,
        live: match what {
            On::Pending => Some("pending"),
            On::Active => Some("active"),
            On::Giving | On::History | On::Settings => None,
        },
        count,
    };
    Tabs {
        label: "Partner Access",
        tabs: vec![
            tab("Pending Requests", "pending", On::Pending, Some(counts.pending)),
            tab("Active Access", "active", On::Active, Some(counts.active)),
            tab("Grant Access", "give", On::Giving, None),
            tab("Impersonation History", "history", On::History, None),
            tab("Settings", "settings", On::Settings, None),
        ],
        live: Some(format!("/console/o/{id}/access/live")),
    }
}

/// What a page asks for by itself.
#[derive(Debug, Serialize)]
pub struct Live {
    /// Another one where the lists hold something else than before.
    version: Digest32,
    /// `pending`, `active`, `inside`, and `inside-{grant}` for each row.
    counts: BTreeMap<String, usize>,
}

/// The counts of now. Asking for them is no use of the sign-in.
pub async fn live(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
) -> Result<Json<Live>, Wrong> {
    let (state, now, _) = reader(&console, &who, id, Action::ReadGrant, "")?;
    let counts = view::counts(&state, id, now);
    let mut named = BTreeMap::from([
        ("pending".to_owned(), counts.pending),
        ("active".to_owned(), counts.active),
        ("inside".to_owned(), counts.inside),
    ]);
    let mut listed = String::new();
    for (request, _) in view::pending_requests(&state, id, now) {
        listed += &format!("{request} ");
    }
    for access in view::active_access(&state, id, now) {
        named.insert(format!("inside-{}", access.id), access.inside);
        let words = view::words(&state, &access, now);
        listed += &format!("{} {} {words:?} ", access.id, access.grant.version);
    }
    Ok(Json(Live { version: Digest32::of(listed.as_bytes()), counts: named }))
}
