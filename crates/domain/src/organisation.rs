//! Organisations, their units and accounts: who can be on either side of a grant, and what can be
//! shared.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::{Caller, FreshCode};
use crate::draft::{Draft, SideWrite};
use crate::event::Event;
use crate::grant::GrantEnd;
use crate::ids::{AccountId, Digest32, OrganisationId, UnitId};
use crate::may::{self, Action, Thing};
use crate::person;
use crate::refusal::Refusal;
use crate::request::{self, RequestCancel};
use crate::state::State;
use crate::text::{self, Lookup, Subject, WordId};
use crate::time::{Days, Minutes};
use crate::webhook;

/// Whether an organisation, unit or member takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Takes part.
    Active,
    /// Stopped for a while: no access through it, sessions ended, assignments kept.
    Suspended,
    /// Gone for good.
    Closed,
}

/// A tenant of the builder's product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// The builder's identifier.
    pub external: WordId,
    /// The name shown to others.
    pub name: WordId,
    /// Whether it takes part.
    pub standing: Standing,
    /// Where members and accounts live unless said otherwise.
    pub default_unit: UnitId,
    /// The digest of its customer ID.
    pub customer_id: Digest32,
    /// What its Admins chose.
    pub settings: Settings,
    /// Raised by each change of the settings or the customer ID.
    pub version: u32,
}

/// What a customer's Admins choose for partners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether the customer ID can be asked with.
    pub customer_id_on: bool,
    /// The longest session, 5 to 480 minutes.
    pub session_cap: Minutes,
    /// The longest grant, 1 to 730 days.
    pub longest_grant: Days,
    /// How long history is shown, at least 400 days.
    pub retention: Days,
    /// Whether a grant may let the partner invite people from outside. Off, no grant does, whatever
    /// was chosen with it.
    pub allow_external: bool,
    /// Partners whose use of the customer ID looks like a wrong ID.
    pub blocked: BTreeSet<OrganisationId>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            customer_id_on: true,
            session_cap: Minutes(60),
            longest_grant: Days(730),
            retention: Days(400),
            allow_external: false,
            blocked: BTreeSet::new(),
        }
    }
}

/// A part of an organisation. Members and accounts live in exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Of which organisation.
    pub organisation: OrganisationId,
    /// The builder's identifier; the default unit has none.
    pub external: Option<WordId>,
    /// Its name; the default unit has none.
    pub name: Option<WordId>,
    /// Whether it takes part.
    pub standing: Standing,
}

/// A thing inside a customer that can be shared on its own. A removed account is gone from the
/// state; one made later under the same external identifier is another account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Of which organisation.
    pub organisation: OrganisationId,
    /// In which unit.
    pub unit: UnitId,
    /// The builder's identifier.
    pub external: WordId,
    /// Its name.
    pub name: WordId,
    /// The code that it shares with the accounts it belongs together with: a bulk call that names
    /// one of them is about all of them, and says so (V11).
    pub linked: Option<Arc<str>>,
}

/// One side of a request or grant: a whole organisation or one unit of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Party {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Only this unit of it; `None` is all.
    pub unit: Option<UnitId>,
}

impl Party {
    /// Whether something of `organisation` that lives in `unit` belongs to this side.
    #[must_use]
    pub fn includes(self, organisation: OrganisationId, unit: UnitId) -> bool {
        self.organisation == organisation && self.unit.is_none_or(|own| own == unit)
    }
}

/// Which accounts: all of a side, future ones included, or a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accounts {
    /// A rule: every account, also those made later.
    All,
    /// These and no others.
    List(BTreeSet<AccountId>),
}

impl Accounts {
    /// Whether `other` holds nothing that `self` does not.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::List(_), Self::All) => false,
            (Self::List(a), Self::List(b)) => b.is_subset(a),
        }
    }

    /// What is in both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, x) | (x, Self::All) => x.clone(),
            (Self::List(a), Self::List(b)) => Self::List(a.intersection(b).copied().collect()),
        }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::List(list) if list.is_empty())
    }
}

/// Makes an organisation with its default unit and customer ID, or renames it.
pub(crate) fn put(
    d: &mut Draft<'_>,
    caller: &Caller,
    external: &str,
    name: &str,
    code: FreshCode,
) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::PutOrganisation, Thing::platform(), d.now())?;
    let external = external_id("external_id", external)?;
    let name = text::name("name", name)?;
    if let Some(found) = d.state.words.find(Lookup::Organisation, &external).map(OrganisationId) {
        let organisation = d.state.organisations.get(found).ok_or(Refusal::NotFound)?;
        if organisation.standing == Standing::Closed {
            return Err(Refusal::NotActive("organisation"));
        }
        if d.state.words.get(organisation.name) != Some(&*name) {
            let name = d.word(Subject::Organisation(found), name);
            d.emit(Event::OrganisationRenamed { organisation: found, name });
        }
        return Ok(());
    }
    make(d, external, name, code);
    Ok(())
}

/// Makes an organisation with its default unit and customer ID.
pub(crate) fn make(
    d: &mut Draft<'_>,
    external: Arc<str>,
    name: Arc<str>,
    code: FreshCode,
) -> (OrganisationId, UnitId) {
    let organisation = OrganisationId(d.id());
    let unit = UnitId(d.id());
    let about = Subject::Organisation(organisation);
    let (external, name) = (d.word(about, external), d.word(about, name));
    d.emit(Event::OrganisationMade { organisation, unit, external, name });
    d.emit(Event::CustomerIdSet { organisation, digest: code.digest });
    d.beside(SideWrite::CustomerId(organisation, code.sealed));
    (organisation, unit)
}

/// The builder's identifiers must not look like Comity's own: a path segment is one or the other.
pub(crate) fn external_id(field: &'static str, text: &str) -> Result<Arc<str>, Refusal> {
    let text = text::reference(field, text)?;
    if text.starts_with("org_") || text.contains('/') || text.starts_with('.') {
        return Err(Refusal::invalid(field, "must not start with org_ or a dot, nor hold a slash"));
    }
    Ok(text)
}

fn live(state: &State, id: OrganisationId) -> Result<&Organisation, Refusal> {
    let found = state.organisations.get(id).ok_or(Refusal::NotFound)?;
    if found.standing == Standing::Closed {
        Err(Refusal::NotActive("organisation"))
    } else {
        Ok(found)
    }
}

/// [`may::check`] and that the organisation is not closed.
pub(crate) fn provision(
    d: &mut Draft<'_>,
    caller: &Caller,
    action: Action,
    id: OrganisationId,
) -> Result<UnitId, Refusal> {
    may::check(&d.state, caller, action, Thing::organisation(id), d.now())?;
    let default = live(&d.state, id)?.default_unit;
    d.acting_for(id);
    Ok(default)
}

/// Makes a unit, or renames, suspends or brings it back.
pub(crate) fn put_unit(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    external: &str,
    name: &str,
    active: bool,
) -> Result<(), Refusal> {
    provision(d, caller, Action::PutUnit, organisation)?;
    let external = external_id("external_id", external)?;
    let name = text::name("name", name)?;
    let with = Subject::Organisation(organisation);
    let found = d.state.words.find(Lookup::Unit(organisation), &external).map(UnitId);
    let unit = match found {
        Some(unit) => {
            let known = d.state.units.get(unit).and_then(|u| u.name);
            if known.and_then(|w| d.state.words.get(w)) != Some(&*name) {
                let name = d.word_with(Subject::Unit(unit), with, name);
                d.emit(Event::UnitRenamed { unit, name });
            }
            unit
        }
        None => {
            let unit = UnitId(d.id());
            let about = Subject::Unit(unit);
            let external = d.word_with(about, with, external);
            let name = d.word_with(about, with, name);
            d.emit(Event::UnitMade { organisation, unit, external, name });
            unit
        }
    };
    let standing = if active { Standing::Active } else { Standing::Suspended };
    if d.state.units.get(unit).is_some_and(|u| u.standing != standing) {
        let had_admin = person::has_admin(&d.state, organisation);
        d.emit(Event::UnitStanding { unit, standing });
        if had_admin && !person::has_admin(&d.state, organisation) {
            return Err(Refusal::LastAdmin);
        }
    }
    Ok(())
}

/// Makes an account, or renames it. An account stays in its unit: moving one would carry rights
/// from one side to another (T36), so it is removed and made anew instead.
pub(crate) fn put_account(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    external: &str,
    name: &str,
    unit: Option<String>,
) -> Result<(), Refusal> {
    let default = provision(d, caller, Action::PutAccount, organisation)?;
    let external = external_id("external_id", external)?;
    let name = text::name("name", name)?;
    let wanted = unit.map(|u| d.unit(organisation, &u)).transpose()?;
    let with = Subject::Organisation(organisation);
    if let Some(account) =
        d.state.words.find(Lookup::Account(organisation), &external).map(AccountId)
    {
        let known = d.state.accounts.get(account).ok_or(Refusal::NotFound)?;
        if wanted.unwrap_or(default) != known.unit {
            return Err(Refusal::invalid(
                "unit",
                "cannot change; remove the account and make it anew",
            ));
        }
        if d.state.words.get(known.name) != Some(&*name) {
            let name = d.word_with(Subject::Account(account), with, name);
            d.emit(Event::AccountRenamed { account, name });
        }
        return Ok(());
    }
    let account = AccountId(d.id());
    let about = Subject::Account(account);
    let external = d.word_with(about, with, external);
    let name = d.word_with(about, with, name);
    d.emit(Event::AccountMade {
        organisation,
        unit: wanted.unwrap_or(default),
        account,
        external,
        name,
    });
    Ok(())
}

/// Links an account with those of the same code, or with none. Nobody's access changes by it.
pub(crate) fn link_account(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    external: &str,
    group: Option<String>,
) -> Result<(), Refusal> {
    provision(d, caller, Action::PutAccount, organisation)?;
    let group = group.map(|g| text::code("linked_group", &g)).transpose()?;
    let account = d.state.words.find(Lookup::Account(organisation), external).map(AccountId);
    let account = account.ok_or(Refusal::NotFound)?;
    if d.state.accounts.get(account).is_some_and(|a| a.linked != group) {
        d.emit(Event::AccountLinked { account, group });
    }
    Ok(())
}

/// Removes an account: rights on it end in the same row, and nothing brings them back.
pub(crate) fn remove_account(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    external: &str,
) -> Result<(), Refusal> {
    provision(d, caller, Action::RemoveAccount, organisation)?;
    let account = d.state.words.find(Lookup::Account(organisation), external).map(AccountId);
    let account = account.ok_or(Refusal::NotFound)?;
    d.emit_to(Event::AccountRemoved { account }, vec![organisation]);
    Ok(())
}

/// Suspends, brings back or closes an organisation. Closing is for good: it ends the
/// organisation's grants on both sides and cancels its requests.
pub(crate) fn set_standing(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: OrganisationId,
    standing: Standing,
) -> Result<(), Refusal> {
    may::check(&d.state, caller, Action::SetStanding, Thing::organisation(id), d.now())?;
    if live(&d.state, id)?.standing == standing {
        return Ok(());
    }
    if standing == Standing::Closed {
        close(d, id);
    } else {
        d.emit(Event::OrganisationStanding { organisation: id, standing });
    }
    Ok(())
}

/// Closes an organisation, whoever decided it.
pub(crate) fn close(d: &mut Draft<'_>, id: OrganisationId) {
    d.emit(Event::OrganisationStanding { organisation: id, standing: Standing::Closed });
    let now = d.now();
    let grants: Vec<_> = d.state.grants_by(id).chain(d.state.grants_to(id)).collect();
    for grant in grants {
        if d.state.grants.get(grant).is_some_and(|g| g.stands(now)) {
            d.emit(Event::GrantEnded { grant, cause: GrantEnd::Closed, by: None });
        }
    }
    let told: Vec<_> = d.state.webhooks_of(Some(id)).collect();
    told.into_iter().for_each(|webhook| webhook::end(d, webhook));
    request::cancel_pending(d, id, |_| true, RequestCancel::Closed);
    let asked: BTreeSet<OrganisationId> = d
        .state
        .requests_from(id)
        .filter_map(|r| d.state.requests.get(r).map(|r| r.customer))
        .collect();
    for customer in asked {
        let theirs = |r: &request::Request| r.provider.organisation == id;
        request::cancel_pending(d, customer, theirs, RequestCancel::Closed);
    }
}

/// A new customer ID. Pending requests stand; the old code finds nothing from now on (R1).
pub(crate) fn rotate(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: OrganisationId,
    code: FreshCode,
) -> Result<(), Refusal> {
    provision(d, caller, Action::RotateCustomerId, id)?;
    d.emit(Event::CustomerIdSet { organisation: id, digest: code.digest });
    d.beside(SideWrite::CustomerId(id, code.sealed));
    Ok(())
}

/// Changes what the customer's Admins choose. Grants that stand keep what they were given.
pub(crate) fn change_settings(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: OrganisationId,
    settings: Settings,
    version: Option<u32>,
) -> Result<(), Refusal> {
    provision(d, caller, Action::ChangeSettings, id)?;
    let known = live(&d.state, id)?;
    if version.is_some_and(|v| v != known.version) {
        return Err(Refusal::VersionConflict);
    }
    let policy = &d.state.policy;
    if !(5..=policy.session_cap.0).contains(&settings.session_cap.0) {
        return Err(Refusal::invalid(
            "session_minutes",
            format!("must be from 5 to {}", policy.session_cap.0),
        ));
    }
    if !(1..=policy.longest_grant.0).contains(&settings.longest_grant.0) {
        return Err(Refusal::invalid(
            "longest_grant_days",
            format!("must be from 1 to {}", policy.longest_grant.0),
        ));
    }
    if !(400..=3650).contains(&settings.retention.0) {
        return Err(Refusal::invalid("retention_days", "must be from 400 to 3650"));
    }
    if settings.blocked.len() > 1_000 {
        return Err(Refusal::invalid("blocked_partners", "may hold at most 1000 partners"));
    }
    if known.settings != settings {
        d.emit(Event::SettingsChanged { organisation: id, settings });
    }
    Ok(())
}
