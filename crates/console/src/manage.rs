//! *Manage access*: users without and with access, moved both ways, each with roles under the
//! ceiling; staged on the page and saved as one set (N6, N7).
//!
//! Nothing is kept between two answers but what the form carries: the stage, and what was there when
//! the page was first drawn, so that whoever saves after somebody else is shown what changed.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::assignment::{AssignmentState, Basis};
use comity_domain::command::{Asked, AssignmentSpec, Command};
use comity_domain::grant::Grant;
use comity_domain::ids::{GrantId, OrganisationId, PersonId, RoleId};
use comity_domain::may::Action;
use comity_domain::organisation::Accounts;
use comity_domain::refusal::Refusal;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::version::{self, Saw, Seen, Versioned};
use comity_domain::view::portal;
use serde::Deserialize;

use crate::active::company;
use crate::asking::partner;
use crate::at::At;
use crate::parts::{Banner, Tone, banner};
use crate::received::{found, over};
use crate::replaced;
use crate::request::{on_the_form, said_no};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::show;
use crate::terms::Choice;
use crate::visitor::{Sent, Visitor};
use crate::wrong::Wrong;

/// So many people without access are shown; a search finds the others.
const MOST_WITHOUT: usize = 100;

/// Whom, with which roles.
type Stage = BTreeMap<PersonId, BTreeSet<RoleId>>;

/// What the form carries.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Form {
    /// What is staged, and what was there when it began: `per_…:role_…,role_…`, one after another.
    /// Without it nothing is known, which is not the same as nobody.
    stage: Option<String>,
    base: String,
    version: String,
    find: String,
    /// Ticked on either side.
    put: Vec<PersonId>,
    take: Vec<PersonId>,
    /// Roles chosen from the drop-downs, and the one whose icon was pressed: `per_… role_…`.
    add: Vec<String>,
    drop: String,
    /// The button: `in`, `out`, `find`, `lists`, `back` or `save`.
    act: String,
    /// On which of the two pages.
    on: String,
    /// Of whose replaced memberships was warned.
    heard: String,
}

fn written(stage: &Stage) -> String {
    let one = |(person, roles): (&PersonId, &BTreeSet<RoleId>)| {
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        format!("{person}:{}", roles.join(","))
    };
    stage.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn read(text: &str) -> Option<Stage> {
    let one = |entry: &str| {
        let (person, roles) = entry.split_once(':')?;
        let roles = roles.split(',').filter(|r| !r.is_empty());
        let roles: Option<BTreeSet<RoleId>> = roles.map(|r| r.parse().ok()).collect();
        Some((person.parse().ok()?, roles?))
    };
    text.split_whitespace().map(one).collect()
}

/// Who is on a grant now by the provider's choice, with the roles that live.
fn now_on(state: &World, id: GrantId, grant: &Grant) -> Stage {
    let ceiling = living(state, grant);
    let on = state.assigned_to(id).filter(|(_, a)| a.basis == Basis::Individual);
    let on: Vec<PersonId> = on.map(|(person, _)| person).collect();
    let one = |person: PersonId| {
        let own = state.assignment(id, person)?;
        let gone = own.row.state == AssignmentState::SuspendedNoRoles;
        let roles = own.roles.iter().copied().filter(|r| !gone && ceiling.contains(r)).collect();
        Some((person, roles))
    };
    on.into_iter().filter_map(one).collect()
}

fn living(state: &World, grant: &Grant) -> Vec<RoleId> {
    grant.roles.iter().filter(|p| state.role_lives(**p)).map(|p| p.role).collect()
}

/// The stage after what was pressed. What names nobody of this side, or no role of the grant, does
/// nothing.
fn pressed(state: &World, id: GrantId, grant: &Grant, form: &Form) -> Result<Stage, Wrong> {
    let mut stage = staged(form)?;
    let ceiling = living(state, grant);
    let mine: BTreeSet<PersonId> = portal::assignable(state, id)
        .into_iter()
        .chain(now_on(state, id, grant).into_keys())
        .collect();
    stage.retain(|person, _| mine.contains(person));
    stage.values_mut().for_each(|roles| roles.retain(|r| ceiling.contains(r)));
    if form.act == "in" {
        // Somebody new has no role, or the only one if there is but one.
        let only: BTreeSet<RoleId> = match ceiling.as_slice() {
            [one] => BTreeSet::from([*one]),
            _ => BTreeSet::new(),
        };
        for person in form.put.iter().filter(|p| mine.contains(p)) {
            stage.entry(*person).or_insert_with(|| only.clone());
        }
    }
    if form.act == "out" {
        for person in &form.take {
            stage.remove(person);
        }
    }
    let pair = |text: &str| -> Option<(PersonId, RoleId)> {
        let (person, role) = text.split_once(' ')?;
        Some((person.parse().ok()?, role.parse().ok()?))
    };
    for (person, role) in form.add.iter().filter_map(|text| pair(text)) {
        if let Some(roles) = stage.get_mut(&person).filter(|_| ceiling.contains(&role)) {
            roles.insert(role);
        }
    }
    if let Some((person, role)) = pair(&form.drop)
        && let Some(roles) = stage.get_mut(&person)
    {
        roles.remove(&role);
    }
    Ok(stage)
}

/// What the form says that is staged.
fn staged(form: &Form) -> Result<Stage, Wrong> {
    let unreadable = || Refusal::invalid("stage", "cannot be read; open the page anew");
    Ok(form.stage.as_deref().and_then(read).ok_or_else(unreadable)?)
}

/// Somebody with access, as staged.
struct Line {
    id: PersonId,
    name: String,
    email: String,
    roles: Vec<Choice>,
    /// What can still be added.
    more: Vec<Choice>,
    /// What is different from what is saved.
    note: Option<&'static str>,
    wrong: bool,
}

#[derive(Template)]
#[template(path = "manage.html")]
struct Page {
    shell: Shell,
    customer: String,
    to: String,
    back: String,
    banner: Option<Banner>,
    /// What somebody else has changed meanwhile.
    meanwhile: Vec<String>,
    lists: bool,
    /// Whether something is staged that is not saved.
    staged: bool,
    stage: String,
    base: String,
    version: String,
    heard: String,
    find: String,
    without: Vec<Choice>,
    /// How many more there are than are shown.
    hidden: usize,
    with: Vec<Line>,
    /// How many of them the search leaves out.
    hidden_with: usize,
}

/// The dual list, with nothing staged.
pub async fn page(
    State(console): State<Console>,
    who: Visitor,
    At((provider, id)): At<(OrganisationId, GrantId)>,
) -> Result<Response, Wrong> {
    let state = console.app.state();
    let now_is = state.grants.get(id).map(|grant| now_on(&state, id, grant)).unwrap_or_default();
    let now_is = written(&now_is);
    let version = version::tag(&state, &Versioned::Assignments(id)).unwrap_or_default();
    let form = Form {
        stage: Some(now_is.clone()),
        base: now_is,
        version,
        on: "lists".into(),
        ..Form::default()
    };
    answer(&console, &who, provider, id, &form, None, None)
}

fn person_of(state: &World, id: PersonId) -> (String, String) {
    let known = state.people.get(id);
    let show = |w| state.words.show(w).to_owned();
    known.map(|p| (show(p.name), show(p.email))).unwrap_or_default()
}

fn answer(
    console: &Console,
    who: &Visitor,
    provider: OrganisationId,
    id: GrantId,
    form: &Form,
    no: Option<&Wrong>,
    warn: Option<(Banner, String)>,
) -> Result<Response, Wrong> {
    let title = "Manage access";
    let around = partner(console, who, provider, Action::Assign, Section::Received, title)?;
    let (state, now, shell) = around;
    let grant = found(&state, provider, id)?;
    let back = format!("/console/o/{provider}/grants-received/{id}");
    if !grant.stands(now) {
        return over(shell, grant, &back, now);
    }
    let stage = pressed(&state, id, grant, form)?;
    let conflict = no.and_then(Wrong::refusal) == Some(&Refusal::VersionConflict);
    let present = now_on(&state, id, grant);
    let base = if conflict { present.clone() } else { read(&form.base).unwrap_or_default() };
    let version = if conflict {
        version::tag(&state, &Versioned::Assignments(id)).unwrap_or_default()
    } else {
        form.version.clone()
    };
    let heard = warn.as_ref().map_or_else(|| form.heard.clone(), |(_, heard)| heard.clone());
    let warn = warn.map(|(banner, _)| banner);
    let saving = form.act == "save" || no.is_some();
    let nobody = saving && stage.values().any(BTreeSet::is_empty);
    // Roles are chosen where the roles are shown.
    let lists =
        !nobody && !conflict && form.act != "back" && (form.act == "lists" || form.on == "lists");
    let (with, hidden_with) = with(&state, grant, &stage, &base, form, saving);
    let (without, hidden) = without(&state, id, grant, &stage, form);
    let page = Page {
        customer: company(&state, grant.customer.organisation),
        to: format!("{back}/manage"),
        back,
        banner: warn.or_else(|| said(&state, &stage, nobody, conflict, no)),
        heard,
        meanwhile: if conflict {
            meanwhile(&state, &read(&form.base).unwrap_or_default(), &present)
        } else {
            Vec::new()
        },
        lists,
        staged: stage != base,
        stage: written(&stage),
        base: written(&base),
        version,
        find: form.find.clone(),
        without,
        hidden,
        with,
        hidden_with,
        shell,
    };
    let status = match no {
        Some(no) => on_the_form(no).unwrap_or_default(),
        None if nobody => axum::http::StatusCode::UNPROCESSABLE_ENTITY,
        None => axum::http::StatusCode::OK,
    };
    Ok((status, Html(page.render()?)).into_response())
}

fn said(
    state: &World,
    stage: &Stage,
    nobody: bool,
    conflict: bool,
    no: Option<&Wrong>,
) -> Option<Banner> {
    if conflict {
        return Some(banner(
            Tone::Warn,
            "Nothing was saved: somebody else has changed who may go in since you looked. What you staged is \
             below; save it to put it in the place of what is there now: whoever is not among them is off then.",
        ));
    }
    if nobody {
        let names: Vec<String> = stage
            .iter()
            .filter(|(_, roles)| roles.is_empty())
            .map(|(person, _)| person_of(state, *person).0)
            .collect();
        let text = format!(
            "Nothing was saved. Everybody needs at least one role; without one: {}.",
            names.join(", ")
        );
        return Some(banner(Tone::Bad, text));
    }
    said_no(no, &[]).0
}

/// What was done by others between two looks.
fn meanwhile(state: &World, before: &Stage, after: &Stage) -> Vec<String> {
    let name = |person: &PersonId| person_of(state, *person).0;
    let role = |id: &RoleId| state.roles.get(*id).map(|r| r.name.to_string());
    let added = after.keys().filter(|p| !before.contains_key(p));
    let gone = before.keys().filter(|p| !after.contains_key(p));
    let other = after.iter().filter(|(p, roles)| before.get(p).is_some_and(|b| b != *roles));
    let mut out: Vec<String> = added.map(|p| format!("{} was let in.", name(p))).collect();
    out.extend(gone.map(|p| format!("{} was taken off.", name(p))));
    out.extend(other.map(|(p, roles)| {
        let roles: Vec<String> = roles.iter().filter_map(role).collect();
        format!("{} has other roles now: {}.", name(p), roles.join(", "))
    }));
    if out.is_empty() {
        out.push("Accounts or an end of somebody were changed.".into());
    }
    out
}

fn fits(find: &str, name: &str, email: &str) -> bool {
    let find = find.trim().to_lowercase();
    find.is_empty() || name.to_lowercase().contains(&find) || email.to_lowercase().contains(&find)
}

fn with(
    state: &World,
    grant: &Grant,
    stage: &Stage,
    base: &Stage,
    form: &Form,
    saving: bool,
) -> (Vec<Line>, usize) {
    let ceiling = living(state, grant);
    let mut lines: Vec<Line> = stage
        .iter()
        .map(|(id, roles)| {
            let (name, email) = person_of(state, *id);
            let choice = |role: &RoleId| {
                let label = state.roles.get(*role)?.name.to_string();
                Some(Choice { value: format!("{id} {role}"), label, note: String::new(), on: true })
            };
            Line {
                id: *id,
                name,
                email,
                roles: roles.iter().filter_map(choice).collect(),
                more: ceiling.iter().filter(|r| !roles.contains(r)).filter_map(choice).collect(),
                note: match base.get(id) {
                    None => Some("not saved yet"),
                    Some(before) if before != roles => Some("changed, not saved yet"),
                    Some(_) => None,
                },
                wrong: roles.is_empty() && saving,
            }
        })
        .collect();
    lines.sort_by_key(|l| l.name.to_lowercase());
    let all = lines.len();
    lines.retain(|l| fits(&form.find, &l.name, &l.email) || l.wrong);
    let hidden = all - lines.len();
    (lines, hidden)
}

fn without(
    state: &World,
    id: GrantId,
    grant: &Grant,
    stage: &Stage,
    form: &Form,
) -> (Vec<Choice>, usize) {
    let staged_off = now_on(state, id, grant).into_keys();
    let mut people: BTreeSet<PersonId> = portal::assignable(state, id).into_iter().collect();
    people.extend(staged_off);
    let mut all: Vec<Choice> = people
        .into_iter()
        .filter(|p| !stage.contains_key(p))
        .map(|p| {
            let (name, email) = person_of(state, p);
            Choice { value: p.to_string(), label: name, note: email, on: false }
        })
        .filter(|c| fits(&form.find, &c.label, &c.note))
        .collect();
    all.sort_by_key(|c| c.label.to_lowercase());
    let hidden = all.len().saturating_sub(MOST_WITHOUT);
    all.truncate(MOST_WITHOUT);
    (all, hidden)
}

/// What somebody is to have: new people all accounts of the grant, the others what they have.
fn spec(state: &World, id: GrantId, person: PersonId, roles: &BTreeSet<RoleId>) -> AssignmentSpec {
    let own = state.assignment(id, person);
    let ends = own.as_ref().map(|a| a.row.ends_at).filter(|end| *end != Instant::NEVER);
    AssignmentSpec {
        person,
        roles: roles.iter().copied().collect(),
        accounts: own.map_or(Accounts::All, |a| a.accounts),
        ends_at: ends,
    }
}

/// Stages, or saves the whole.
pub async fn save(
    State(console): State<Console>,
    At((provider, id)): At<(OrganisationId, GrantId)>,
    Sent { who, form }: Sent<Form>,
) -> Result<Response, Wrong> {
    if form.act != "save" {
        return answer(&console, &who, provider, id, &form, None, None);
    }
    let (stage, people, customer) = {
        let act = Action::Assign;
        let around = partner(&console, &who, provider, act, Section::Received, "Manage access")?;
        let state = around.0;
        let grant = found(&state, provider, id)?;
        let stage = pressed(&state, id, grant, &form)?;
        let gone: Vec<String> = staged(&form)?
            .into_keys()
            .filter(|person| !stage.contains_key(person))
            .map(|person| person_of(&state, person).0)
            .collect();
        if !gone.is_empty() {
            let why = format!("hold {}, who can no longer be put on this access", gone.join(", "));
            let no = Wrong::from(Refusal::invalid("people", why));
            return answer(&console, &who, provider, id, &form, Some(&no), None);
        }
        let whom: Vec<PersonId> = stage.keys().copied().collect();
        let roleless = stage.values().any(BTreeSet::is_empty);
        let warned = replaced::warning(&state, id, &whom, &form.heard).filter(|_| !roleless);
        if warned.is_some() {
            return answer(&console, &who, provider, id, &form, None, warned);
        }
        let people = stage.iter().map(|(p, roles)| spec(&state, id, *p, roles)).collect();
        (stage, people, company(&state, grant.customer.organisation))
    };
    if stage.values().any(BTreeSet::is_empty) {
        return answer(&console, &who, provider, id, &form, None, None);
    }
    let of = Versioned::Assignments(id);
    let seen = Seen { of, saw: Saw::OneOf(vec![form.version.clone()]) };
    let command = Command::SetAssignments { grant: id, people };
    let asked = Asked { command, once: None, seen: Some(seen) };
    match who.run(&console.app, asked).await {
        Ok(_) => {
            let n = i64::try_from(stage.len()).unwrap_or(i64::MAX);
            let said = format!(
                "Saved. {} may go into {customer}.",
                if n == 0 { "Nobody".into() } else { show::count(n, "person", "people") }
            );
            Ok(shell::done(&format!("/console/o/{provider}/grants-received/{id}"), &said))
        }
        Err(no) if on_the_form(&no).is_some() => {
            answer(&console, &who, provider, id, &form, Some(&no), None)
        }
        Err(no) => Err(no),
    }
}
