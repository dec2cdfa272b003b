//! What surrounds every page of somebody who is signed in.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comity_domain::ids::OrganisationId;
use comity_domain::offer;
use comity_domain::person::{PortalPermission, PortalRole};
use comity_domain::state::State;

use crate::routes::Console;
use crate::stay::Inside;
use crate::tenants::Switch;
use crate::visitor::Visitor;
use crate::wrong::Wrong;
use crate::{assets, cookie};

/// The parts of the console, as the navigation names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Partners who ask, who are in, and what they did.
    Access,
    /// What roles there are.
    Roles,
    /// What we asked others for.
    Asking,
    /// What others let us in to.
    Received,
    /// Where the person may go.
    Tenants,
    /// What happened.
    Inbox,
    /// The person's own affairs.
    Me,
    /// None of them.
    Elsewhere,
}

/// An organisation in the menu.
#[derive(Debug, Clone)]
pub struct Place {
    pub id: OrganisationId,
    pub name: String,
    /// What the person is there.
    pub role: &'static str,
    /// Whether they may read there (portal role Admin or Customer Support).
    pub reads: bool,
    /// Whether they may decide and ask there (Admin).
    pub decides: bool,
    /// Whether anybody ever let it in, as far as that is remembered, or offers to (N3).
    pub receives: bool,
}

/// Everything around a page.
#[derive(Debug, Clone)]
pub struct Shell {
    pub title: String,
    pub section: Section,
    pub name: String,
    pub email: String,
    /// Where the page is, if in an organisation.
    pub here: Option<Place>,
    /// Where the person is a member.
    pub places: Vec<Place>,
    pub unread: u32,
    /// In how many stays the person is.
    pub inside: u32,
    /// The one of them that ends first.
    pub stay: Option<Arc<Inside>>,
    /// Where the person may go.
    pub switch: Arc<Switch>,
    /// What was just done.
    pub said: Option<String>,
    pub form_key: String,
    pub css: String,
    pub js: String,
    pub icon: String,
}

impl Shell {
    /// The shell for a page outside any organisation.
    pub fn personal(console: &Console, who: &Visitor, section: Section, title: &str) -> Self {
        let state = console.app.state();
        Self::around(&state, who, None, section, title)
    }

    /// The shell for a page of an organisation. Who is no member there is told `not_found`; what
    /// they may do there is for the page's own check.
    pub fn of(
        state: &State,
        who: &Visitor,
        organisation: OrganisationId,
        section: Section,
        title: &str,
    ) -> Result<Self, Wrong> {
        let here = place(state, who, organisation).ok_or_else(Wrong::not_found)?;
        Ok(Self::around(state, who, Some(here), section, title))
    }

    fn around(
        state: &State,
        who: &Visitor,
        here: Option<Place>,
        section: Section,
        title: &str,
    ) -> Self {
        let person = state.people.get(who.person);
        let word = |w: Option<_>| w.map(|w| state.words.show(w).to_owned()).unwrap_or_default();
        let mut places: Vec<Place> =
            state.organisations_of(who.person).filter_map(|o| place(state, who, o)).collect();
        places.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            title: title.to_owned(),
            section,
            name: word(person.map(|p| p.name)),
            email: word(person.map(|p| p.email)),
            here,
            places,
            unread: who.unread,
            said: who.said.clone(),
            inside: who.inside,
            stay: who.stay.clone(),
            switch: who.switch.clone(),
            form_key: who.form_key.clone(),
            css: assets::address("console.css"),
            js: assets::address("console.js"),
            icon: assets::address("icon.svg"),
        }
    }

    /// Whether this is the section of the page.
    #[must_use]
    pub fn is(&self, section: &str) -> bool {
        format!("{:?}", self.section).eq_ignore_ascii_case(section)
    }
}

fn place(state: &State, who: &Visitor, id: OrganisationId) -> Option<Place> {
    let member = state.members.get(&(id, who.person))?;
    let name = state.words.show(state.organisations.get(id)?.name).to_owned();
    let own = member.superseded.is_none();
    let holds = |p| own && member.portal.is_some_and(|role| role.holds(p));
    let role = match member.portal {
        _ if !own => "only by Switch Tenant",
        Some(PortalRole::Admin) => "Admin",
        Some(PortalRole::CustomerSupport) => "Customer Support",
        None => "Member",
    };
    Some(Place {
        id,
        name,
        role,
        reads: holds(PortalPermission::Audit),
        decides: holds(PortalPermission::Decide),
        receives: state.grants_to(id).next().is_some() || offer::to(state, id).next().is_some(),
    })
}

/// Carries one sentence to the next page.
const SAID: &str = "__Host-comity-said";

/// Goes to a page after something was done, and says there what.
pub fn done(to: &str, sentence: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    cookie::set(&mut response, SAID, URL_SAFE_NO_PAD.encode(sentence));
    response
}

/// What the page before wanted said.
pub fn said(headers: &HeaderMap) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie::sent(headers, SAID)?).ok()?;
    String::from_utf8(bytes).ok().filter(|s| !s.is_empty() && s.chars().count() <= 400)
}

/// Takes the sentence away once it was shown.
pub fn was_said(response: &mut Response) {
    cookie::remove(response, SAID);
}
