//! *Settings*: what a customer's Admins choose for partners, and whom they let no longer ask.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::{Asked as Sending, Command};
use comity_domain::ids::OrganisationId;
use comity_domain::lock::{LockTarget, is_known_partner};
use comity_domain::may::Action;
use comity_domain::organisation::Settings;
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::time::{Days, Minutes};
use comity_domain::version::{self, Saw, Seen, Versioned};
use serde::{Deserialize, Serialize};

use crate::access::{Head, On, Standing, reader, standing};
use crate::active::company;
use crate::at::{Asked, At};
use crate::dialog::{Dialog, no_dialog};
use crate::parts::{Banner, Field, Tone, banner};
use crate::routes::Console;
use crate::shell::{self, Shell};
use crate::show::count;
use crate::visitor::{Sent, Visitor};
use crate::wrong::{self, Wrong};

/// The settings as they stand in the form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typed {
    /// `on`, or nothing: that is how a browser sends a box.
    #[serde(default)]
    customer_id_on: Option<String>,
    #[serde(default)]
    allow_external: Option<String>,
    session_minutes: String,
    longest_grant_days: String,
    retention_days: String,
    /// Those that stay blocked.
    #[serde(default)]
    blocked: Vec<OrganisationId>,
    /// One more, or nothing.
    #[serde(default)]
    also: String,
    /// Which version was seen, and what it said.
    #[serde(default)]
    version: String,
    #[serde(default)]
    was: String,
}

impl Typed {
    fn of(settings: &Settings) -> Self {
        Self {
            customer_id_on: settings.customer_id_on.then(|| "on".to_owned()),
            allow_external: settings.allow_external.then(|| "on".to_owned()),
            session_minutes: settings.session_cap.0.to_string(),
            longest_grant_days: settings.longest_grant.0.to_string(),
            retention_days: settings.retention.0.to_string(),
            blocked: settings.blocked.iter().copied().collect(),
            ..Self::default()
        }
    }

    /// What the form says, without what it says about the version.
    fn said(&self) -> String {
        let bare = Self { version: String::new(), was: String::new(), ..self.clone() };
        serde_json::to_string(&bare).unwrap_or_default()
    }

    fn settings(&self) -> Result<Settings, Refusal> {
        let whole = |field, text: &str| {
            let number = text.trim().parse::<u32>();
            number.map_err(|_| Refusal::invalid(field, "must be a whole number"))
        };
        let also = match self.also.trim() {
            "" => None,
            id => Some(
                id.parse().map_err(|_| Refusal::invalid("also", "names no partner of yours"))?,
            ),
        };
        Ok(Settings {
            customer_id_on: self.customer_id_on.is_some(),
            allow_external: self.allow_external.is_some(),
            session_cap: Minutes(whole("session_minutes", &self.session_minutes)?),
            longest_grant: Days(whole("longest_grant_days", &self.longest_grant_days)?),
            retention: Days(whole("retention_days", &self.retention_days)?),
            blocked: self.blocked.iter().copied().chain(also).collect(),
        })
    }
}

struct Partner {
    id: OrganisationId,
    name: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    shell: Shell,
    head: Head,
    to: String,
    decides: bool,
    banner: Option<Banner>,
    /// What somebody else changed meanwhile, in sentences.
    changed: Vec<String>,
    on: bool,
    external: bool,
    cap: Field,
    grant: Field,
    retention: Field,
    blocked: Vec<Partner>,
    others: Vec<Partner>,
    other_wrong: Option<String>,
    version: String,
    was: String,
    /// How many members' own membership is replaced, and where they are listed.
    replaced: usize,
    replaced_list: String,
}

/// Partners that asked or were let in, by name; only those may be chosen by name.
fn known(state: &World, id: OrganisationId) -> BTreeSet<OrganisationId> {
    let asked = state.requests_to(id).filter_map(|r| state.requests.get(r));
    let granted = state.grants_by(id).filter_map(|g| state.grants.get(g));
    asked.map(|r| r.provider.organisation).chain(granted.map(|g| g.provider.organisation)).collect()
}

/// A partner's name. A stranger has none here, whatever a form says of it (T12).
fn called(state: &World, customer: OrganisationId, id: OrganisationId) -> String {
    if is_known_partner(state, customer, LockTarget::Organisation(id)) {
        company(state, id)
    } else {
        id.to_string()
    }
}

fn named(
    state: &World,
    customer: OrganisationId,
    list: impl Iterator<Item = OrganisationId>,
    typed: &Typed,
) -> Vec<Partner> {
    let also = typed.also.trim();
    let partner = |id: OrganisationId| Partner {
        id,
        name: called(state, customer, id),
        chosen: also == id.to_string(),
    };
    let mut all: Vec<Partner> = list.map(partner).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What was changed between two forms, in sentences about what is stored now.
fn changed(state: &World, customer: OrganisationId, was: &Typed, now: &Typed) -> Vec<String> {
    let called = |id: &OrganisationId| called(state, customer, *id);
    let mut said = Vec::new();
    if was.customer_id_on != now.customer_id_on {
        let word = if now.customer_id_on.is_some() { "on" } else { "off" };
        said.push(format!("The customer ID is {word} now."));
    }
    if was.allow_external != now.allow_external {
        let word = if now.allow_external.is_some() { "may" } else { "may not" };
        said.push(format!("Partners {word} be let invite people from outside now."));
    }
    let numbers = [
        ("Longest session", &was.session_minutes, &now.session_minutes, "minutes"),
        ("Longest grant", &was.longest_grant_days, &now.longest_grant_days, "days"),
        ("History", &was.retention_days, &now.retention_days, "days"),
    ];
    for (what, before, after, unit) in numbers {
        if before != after {
            said.push(format!("{what}: {after} {unit} now, {before} when you opened the page."));
        }
    }
    let sets = |t: &Typed| t.blocked.iter().copied().collect::<BTreeSet<_>>();
    let (before, after) = (sets(was), sets(now));
    said.extend(after.difference(&before).map(|o| format!("{} is blocked now.", called(o))));
    said.extend(before.difference(&after).map(|o| format!("{} is no longer blocked.", called(o))));
    said
}

fn shown(
    on: Standing,
    id: OrganisationId,
    typed: Option<&Typed>,
    refusal: Option<&Refusal>,
) -> Result<String, Wrong> {
    let Standing { state, shell, head, .. } = on;
    let stored = &state.organisations.get(id).ok_or_else(Wrong::not_found)?.settings;
    let stored = Typed::of(stored);
    let form = typed.unwrap_or(&stored);
    let wrong = refusal.and_then(wrong::field);
    let number = |name, label: &str, value: &str, hint: String| {
        Field::new(name, label).kind("number").value(value).hint(hint).wrong(wrong.as_ref())
    };
    let policy = &state.policy;
    let was: Option<Typed> = typed.and_then(|t| serde_json::from_str(&t.was).ok());
    let conflict = refusal == Some(&Refusal::VersionConflict);
    let blocked: BTreeSet<OrganisationId> =
        stored.blocked.iter().chain(&form.blocked).copied().collect();
    let others = known(&state, id).into_iter().filter(|o| !blocked.contains(o));
    let mut ticked = named(&state, id, blocked.iter().copied(), form);
    ticked.iter_mut().for_each(|p| p.chosen = form.blocked.contains(&p.id));
    let page = Page {
        to: format!("/console/o/{id}/access/settings"),
        decides: shell.here.as_ref().is_some_and(|p| p.decides),
        changed: was.filter(|_| conflict).map(|was| changed(&state, id, &was, &stored)).unwrap_or_default(),
        banner: refusal.filter(|_| wrong.is_none()).map(|r| match r {
            Refusal::VersionConflict => banner(
                Tone::Warn,
                "Somebody changed the settings while you did, so nothing was saved. Yours are still in the form; \
                 save again to put them in place of what is stored now.",
            ),
            other => banner(Tone::Bad, other.sentence()),
        }),
        on: form.customer_id_on.is_some(),
        external: form.allow_external.is_some(),
        cap: number(
            "session_minutes",
            "Longest session, in minutes",
            &form.session_minutes,
            format!("From 5 to {}. Sessions that run keep their end.", policy.session_cap.0),
        ),
        grant: number(
            "longest_grant_days",
            "Longest grant, in days",
            &form.longest_grant_days,
            format!("From 1 to {}. Grants that stand keep their end.", policy.longest_grant.0),
        ),
        retention: number(
            "retention_days",
            "How long the history is shown, in days",
            &form.retention_days,
            "From 400 to 3650, and in any case until 90 days after the end of the grant.".to_owned(),
        ),
        blocked: ticked,
        others: named(&state, id, others, form),
        other_wrong: wrong.as_ref().filter(|(f, _)| f == "also").map(|(_, why)| why.clone()),
        version: version::tag(&state, &Versioned::Settings(id)).unwrap_or_default(),
        was: stored.said(),
        replaced: comity_domain::direct::replaced(&state, id).len(),
        replaced_list: format!("/console/o/{id}/access/replaced"),
        shell,
        head,
    };
    Ok(page.render()?)
}

async fn around(console: &Console, who: &Visitor, id: OrganisationId) -> Result<Standing, Wrong> {
    reader(console, who, id, Action::ReadSettings, "")?;
    standing(console, who, id, On::Settings, "Settings").await
}

/// The page.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
) -> Result<Html<String>, Wrong> {
    Ok(Html(shown(around(&console, &who, id).await?, id, None, None)?))
}

/// Saves the settings, whole; of two who change the same version one is told.
pub async fn save(
    State(console): State<Console>,
    At(id): At<OrganisationId>,
    Sent { who, form }: Sent<Typed>,
) -> Result<Response, Wrong> {
    let (state, ..) = reader(&console, &who, id, Action::ChangeSettings, "")?;
    let allowed = |settings: &Settings| {
        let stored = state.organisations.get(id).map(|o| &o.settings.blocked);
        let known = known(&state, id);
        settings.blocked.iter().all(|o| known.contains(o) || stored.is_some_and(|s| s.contains(o)))
    };
    let refusal = match form.settings() {
        Err(refusal) => refusal,
        Ok(settings) if !allowed(&settings) => {
            Refusal::invalid("also", "names no partner of yours")
        }
        Ok(settings) => match change(&console, &who, id, settings, &form.version).await {
            Ok(true) => return Ok(shell::done(&here(id), "The settings are saved.")),
            Ok(false) => {
                return Ok(shell::done(&here(id), "Nothing was different, so nothing was saved."));
            }
            Err(Wrong::Refused(
                refusal @ (Refusal::NotFound | Refusal::Forbidden(_) | Refusal::CallerRevoked),
            )) => return Err(refusal.into()),
            Err(Wrong::Refused(refusal)) => refusal,
            Err(other) => return Err(other),
        },
    };
    let page = shown(around(&console, &who, id).await?, id, Some(&form), Some(&refusal))?;
    Ok((wrong::status(&refusal), Html(page)).into_response())
}

fn here(id: OrganisationId) -> String {
    format!("/console/o/{id}/access/settings")
}

/// Changes them; whether anything was different.
async fn change(
    console: &Console,
    who: &Visitor,
    id: OrganisationId,
    settings: Settings,
    version: &str,
) -> Result<bool, Wrong> {
    let command = Command::ChangeSettings { organisation: id, settings, version: None };
    let saw = Saw::OneOf(vec![version.to_owned()]);
    let seen = Some(Seen { of: Versioned::Settings(id), saw });
    let done = who.run(&console.app, Sending { command, once: None, seen }).await?;
    Ok(done.row.is_some())
}

/// Whom to block.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    partner: OrganisationId,
    #[serde(default)]
    version: String,
}

/// The dialog before a partner is blocked, as a request's page links to it.
pub async fn block_page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
    Asked(whom): Asked<Block>,
) -> Result<Response, Wrong> {
    blocking(&console, &who, id, whom.partner, None)
}

fn blocking(
    console: &Console,
    who: &Visitor,
    id: OrganisationId,
    partner: OrganisationId,
    refusal: Option<&Refusal>,
) -> Result<Response, Wrong> {
    let (state, _, shell) = reader(console, who, id, Action::ChangeSettings, "Block a partner")?;
    if !is_known_partner(&state, id, LockTarget::Organisation(partner)) {
        return Err(Wrong::not_found()); // of others not even the name is said
    }
    let name = company(&state, partner);
    let stored = state.organisations.get(id).is_some_and(|o| o.settings.blocked.contains(&partner));
    if stored {
        let why = Refusal::WrongState("blocked already");
        return no_dialog(shell, &format!("Block {name}?"), &why, &here(id));
    }
    let standing = state.grants_by(id).filter_map(|g| state.grants.get(g));
    let standing =
        standing.filter(|g| g.provider.organisation == partner && g.stands(console.app.now()));
    let grants = i64::try_from(standing.count()).unwrap_or(i64::MAX);
    let mut will = vec![
        format!(
            "{name} can no longer ask you: to it your customer ID looks like one that does not exist."
        ),
        "A request that waits stays until you decide it.".to_owned(),
    ];
    if grants > 0 {
        will.push(format!(
            "Its {} not touched; revoke what should end.",
            match grants {
                1 => "grant is".to_owned(),
                n => format!("{} are", count(n, "grant", "grants")),
            }
        ));
    }
    let version = version::tag(&state, &Versioned::Settings(id)).unwrap_or_default();
    let dialog = Dialog {
        title: format!("Block {name}?"),
        banner: refusal.map(|r| banner(Tone::Bad, r.sentence())),
        will,
        hidden: vec![("partner", partner.to_string()), ("version", version)],
        fields: Vec::new(),
        to: format!("/console/o/{id}/access/block"),
        button: "Block",
        tone: "danger",
        back: format!("/console/o/{id}/access/pending"),
        shell,
    };
    let status = refusal.map_or(StatusCode::OK, wrong::status);
    Ok((status, dialog.page()?).into_response())
}

/// Blocks a partner.
pub async fn block(
    State(console): State<Console>,
    At(id): At<OrganisationId>,
    Sent { who, form }: Sent<Block>,
) -> Result<Response, Wrong> {
    let (state, ..) = reader(&console, &who, id, Action::ChangeSettings, "")?;
    if !is_known_partner(&state, id, LockTarget::Organisation(form.partner)) {
        return Err(Wrong::not_found());
    }
    let mut settings = state.organisations.get(id).ok_or_else(Wrong::not_found)?.settings.clone();
    settings.blocked.insert(form.partner);
    let name = company(&state, form.partner);
    match change(&console, &who, id, settings, &form.version).await {
        Ok(_) => Ok(shell::done(&here(id), &format!("{name} is blocked and can no longer ask."))),
        Err(Wrong::Refused(
            refusal @ (Refusal::NotFound | Refusal::Forbidden(_) | Refusal::CallerRevoked),
        )) => Err(refusal.into()),
        Err(Wrong::Refused(refusal)) => blocking(&console, &who, id, form.partner, Some(&refusal)),
        Err(other) => Err(other),
    }
}
