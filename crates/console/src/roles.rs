//! *Roles*: what a customer may give to partners, in versions, and what changing one does.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::command::{Asked as Sending, Command};
use comity_domain::ids::{Digest32, OrganisationId, RoleId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::permission::Permissions;
use comity_domain::refusal::Refusal;
use comity_domain::role::Role;
use comity_domain::state::State as World;
use comity_domain::time::Instant;
use comity_domain::version::{self, Saw, Seen, Versioned};
use comity_domain::view::roles::{self as used, RoleChange};
use serde::Deserialize;

use crate::at::At;
use crate::parts::{Banner, Empty, Field, Tone, banner, empty};
use crate::routes::Console;
use crate::shell::{self, Section, Shell};
use crate::show;
use crate::visitor::{Sent, Visitor};
use crate::wrong::{self, Wrong};

/// How many entries a row of the list shows before the rest is folded away.
const SHOWN: usize = 6;

#[derive(Template)]
#[template(path = "roles.html")]
struct Page {
    shell: Shell,
    at: String,
    decides: bool,
    roles: Vec<Line>,
    empty: Empty,
}

struct Line {
    id: RoleId,
    code: String,
    name: String,
    version: u32,
    first: Vec<String>,
    rest: Vec<String>,
    grants: usize,
}

fn around(
    console: &Console,
    who: &Visitor,
    id: OrganisationId,
    action: Action,
    title: &str,
) -> Result<(std::sync::Arc<World>, Instant, Shell), Wrong> {
    let (state, now) = (console.app.state(), console.app.now());
    let shell = Shell::of(&state, who, id, Section::Roles, title)?;
    may::check(&state, &who.caller, action, Thing::organisation(id), now)?;
    Ok((state, now, shell))
}

/// The roles of an organisation, by code.
pub async fn list(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
) -> Result<Html<String>, Wrong> {
    let (state, now, shell) = around(&console, &who, id, Action::ReadRoles, "Roles")?;
    let line = |(role, r): (RoleId, &Role)| {
        let mut first: Vec<String> =
            r.versions.last().into_iter().flat_map(Permissions::texts).collect();
        let rest = first.split_off(first.len().min(SHOWN));
        let grants = used::grants_in(&state, role, now);
        let (code, name) = (r.code.to_string(), r.name.to_string());
        Line { id: role, code, name, version: r.newest(), first, rest, grants }
    };
    let page = Page {
        decides: shell.here.as_ref().is_some_and(|p| p.decides),
        at: format!("/console/o/{id}/roles"),
        roles: state.roles_of(id).map(line).collect(),
        empty: empty(
            "There are no roles yet",
            "A role names what a partner may do with your things. Define one before you approve a request.",
        ),
        shell,
    };
    Ok(Html(page.render()?))
}

/// What is typed of a role.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typed {
    #[serde(default)]
    code: String,
    name: String,
    permissions: String,
    /// Which version was seen.
    #[serde(default)]
    version: String,
    /// What was reviewed: a code of it, so that nothing else is saved.
    #[serde(default)]
    reviewed: String,
}

impl Typed {
    fn entries(&self) -> impl Iterator<Item = &str> {
        self.permissions.split(|c: char| c.is_whitespace() || c == ',').filter(|t| !t.is_empty())
    }

    fn parsed(&self) -> Result<Permissions, Refusal> {
        Permissions::parse("permissions", self.entries())
    }

    /// A code of what is typed, however it is spaced.
    fn digest(&self, permissions: &Permissions) -> String {
        let entries: Vec<String> = permissions.texts().collect();
        Digest32::of(format!("{}\n{}", self.name.trim(), entries.join("\n")).as_bytes()).to_string()
    }
}

#[derive(Template)]
#[template(path = "roles_edit.html")]
struct Edit {
    shell: Shell,
    at: String,
    title: String,
    to: String,
    banner: Option<Banner>,
    /// Only for one that is new.
    code: Option<Field>,
    name: Field,
    permissions: Field,
    version: String,
    /// What saving it would do, once it was looked at.
    review: Option<Review>,
}

struct Review {
    number: u32,
    digest: String,
    renames: Option<String>,
    change: RoleChange,
    grants: String,
    one: bool,
    in_use: bool,
    own: usize,
}

fn fields(typed: &Typed, wrong: Option<&(String, String)>) -> (Field, Field, Field) {
    let code = Field::new("code", "Code")
        .value(typed.code.clone())
        .hint("How programs and partners name it: a-z, 0-9, _ and -. It never changes.")
        .most(64)
        .wrong(wrong);
    let name = Field::new("name", "Name").value(typed.name.clone()).most(120).wrong(wrong);
    let permissions = Field::new("permissions", "Permissions")
        .kind("textarea")
        .value(typed.permissions.clone())
        .hint("One on a line, as resource:verb, such as bookings:read. Either side may be *.")
        .most(60_000)
        .wrong(wrong);
    (code, name, permissions)
}

/// The page for a new role.
pub async fn define_page(
    State(console): State<Console>,
    who: Visitor,
    At(id): At<OrganisationId>,
) -> Result<Html<String>, Wrong> {
    let (_, _, shell) = around(&console, &who, id, Action::PutRole, "Define a role")?;
    Ok(Html(new_role(shell, id, &Typed::default(), None)?))
}

fn new_role(
    shell: Shell,
    id: OrganisationId,
    typed: &Typed,
    refusal: Option<&Refusal>,
) -> Result<String, Wrong> {
    let wrong = refusal.and_then(wrong::field);
    let (code, name, permissions) = fields(typed, wrong.as_ref());
    let at = format!("/console/o/{id}/roles");
    let page = Edit {
        title: "Define a role".into(),
        to: format!("{at}/new"),
        at,
        banner: refusal.filter(|_| wrong.is_none()).map(|r| banner(Tone::Bad, r.sentence())),
        code: Some(code),
        name,
        permissions,
        version: String::new(),
        review: None,
        shell,
    };
    Ok(page.render()?)
}

/// Defines a role. One that is there already is not touched by this page.
pub async fn define(
    State(console): State<Console>,
    At(id): At<OrganisationId>,
    Sent { who, form }: Sent<Typed>,
) -> Result<Response, Wrong> {
    let (_, _, shell) = around(&console, &who, id, Action::PutRole, "Define a role")?;
    let code = form.code.trim().to_owned();
    let done = match form.parsed() {
        Err(refusal) => Err(Wrong::from(refusal)),
        Ok(permissions) => {
            let name = form.name.trim().to_owned();
            let command =
                Command::PutRole { organisation: id, code: code.clone(), name, permissions };
            // Whoever defines one has seen none of this code; if there is one at the head, it stays.
            let of = Versioned::RoleCode(id, code);
            let seen = Some(Seen { of, saw: Saw::NotSaid });
            match who.run(&console.app, Sending { command, once: None, seen }).await {
                Err(Wrong::Refused(Refusal::VersionNeeded)) => {
                    Err(Refusal::invalid("code", "is taken by another role").into())
                }
                done => done,
            }
        }
    };
    match done {
        Ok(_) => {
            let said = format!(
                "The role {} is defined. Give it by approving a request.",
                form.name.trim()
            );
            Ok(shell::done(&format!("/console/o/{id}/roles"), &said))
        }
        Err(wrong) => {
            let Some(refusal) = again(&wrong) else { return Err(wrong) };
            let page = new_role(shell, id, &form, Some(refusal))?;
            Ok((wrong::status(refusal), Html(page)).into_response())
        }
    }
}

/// A refusal after which the same form is shown again.
fn again(wrong: &Wrong) -> Option<&Refusal> {
    let refusal = wrong.refusal()?;
    let other =
        matches!(refusal, Refusal::NotFound | Refusal::CallerRevoked | Refusal::Forbidden(_));
    (!other).then_some(refusal)
}

fn known(state: &World, id: OrganisationId, role: RoleId) -> Result<&Role, Wrong> {
    let found = state.roles.get(role).filter(|r| r.organisation == id && !r.deleted);
    found.ok_or_else(Wrong::not_found)
}

/// The page for a new version.
pub async fn change_page(
    State(console): State<Console>,
    who: Visitor,
    At((id, role)): At<(OrganisationId, RoleId)>,
) -> Result<Html<String>, Wrong> {
    let (state, now, shell) = around(&console, &who, id, Action::PutRole, "New version")?;
    let r = known(&state, id, role)?;
    let entries: Vec<String> = r.versions.last().into_iter().flat_map(Permissions::texts).collect();
    let typed = Typed {
        name: r.name.to_string(),
        permissions: entries.join("\n"),
        version: version::tag(&state, &Versioned::Role(role)).unwrap_or_default(),
        ..Typed::default()
    };
    let seen = Changing { state: &state, now, id, role };
    Ok(Html(seen.page(shell, &typed, None, None)?))
}

struct Changing<'s> {
    state: &'s World,
    now: Instant,
    id: OrganisationId,
    role: RoleId,
}

impl Changing<'_> {
    fn page(
        &self,
        shell: Shell,
        typed: &Typed,
        refusal: Option<&Refusal>,
        reviewed: Option<&Permissions>,
    ) -> Result<String, Wrong> {
        let r = known(self.state, self.id, self.role)?;
        let wrong = refusal.and_then(wrong::field);
        let (_, name, permissions) = fields(typed, wrong.as_ref());
        let at = format!("/console/o/{}/roles", self.id);
        let page = Edit {
            title: format!("New version of {}", r.name),
            to: format!("{at}/{}/version", self.role),
            at,
            banner: refusal.filter(|_| wrong.is_none()).map(|r| banner(Tone::Bad, r.sentence())),
            code: None,
            name,
            permissions,
            version: typed.version.clone(),
            review: reviewed.map(|new| self.review(r, typed, new)),
            shell,
        };
        Ok(page.render()?)
    }

    fn review(&self, r: &Role, typed: &Typed, new: &Permissions) -> Review {
        let uses = used::role_use(self.state, self.role, self.now);
        let grants = i64::try_from(uses.grants.len()).unwrap_or(i64::MAX);
        let name = typed.name.trim();
        Review {
            number: r.newest().saturating_add(1),
            digest: typed.digest(new),
            renames: (*r.name != *name).then(|| r.name.to_string()),
            change: r.versions.last().map(|old| used::change(old, new)).unwrap_or_default(),
            grants: show::count(grants, "grant", "grants"),
            one: grants == 1,
            in_use: grants > 0,
            own: uses.own.len(),
        }
    }
}

/// Shows what a new version would do, and saves the one that was shown.
pub async fn change(
    State(console): State<Console>,
    At((id, role)): At<(OrganisationId, RoleId)>,
    Sent { who, form }: Sent<Typed>,
) -> Result<Response, Wrong> {
    let (state, now, shell) = around(&console, &who, id, Action::PutRole, "New version")?;
    let r = known(&state, id, role)?;
    let seen = Changing { state: &state, now, id, role };
    let permissions = match form.parsed() {
        Ok(permissions) if permissions.is_empty() => {
            let refusal = Refusal::invalid("permissions", "must hold at least one entry");
            return Ok(refused(&refusal, seen.page(shell, &form, Some(&refusal), None)?));
        }
        Ok(permissions) => permissions,
        Err(refusal) => {
            return Ok(refused(&refusal, seen.page(shell, &form, Some(&refusal), None)?));
        }
    };
    if form.reviewed != form.digest(&permissions) {
        let page = seen.page(shell, &form, None, Some(&permissions))?;
        return Ok((StatusCode::OK, Html(page)).into_response());
    }
    let (code, name) = (r.code.to_string(), form.name.trim().to_owned());
    let said = format!("Version {} of {name} is saved.", r.newest().saturating_add(1));
    let command =
        Command::PutRole { organisation: id, code, name, permissions: permissions.clone() };
    let saw = Saw::OneOf(vec![form.version.clone()]);
    let sending =
        Sending { command, once: None, seen: Some(Seen { of: Versioned::Role(role), saw }) };
    match who.run(&console.app, sending).await {
        Ok(done) if done.row.is_none() => Ok(shell::done(
            &format!("/console/o/{id}/roles"),
            "Nothing was different, so nothing was saved.",
        )),
        Ok(_) => Ok(shell::done(&format!("/console/o/{id}/roles"), &said)),
        Err(wrong) => {
            let Some(refusal) = again(&wrong) else { return Err(wrong) };
            let (state, now) = (console.app.state(), console.app.now());
            let seen = Changing { state: &state, now, id, role };
            if *refusal != Refusal::VersionConflict {
                return Ok(refused(refusal, seen.page(shell, &form, Some(refusal), None)?));
            }
            // What is there now is compared with what was typed, and that is kept.
            let version = version::tag(&state, &Versioned::Role(role)).unwrap_or_default();
            let form = Typed { version, reviewed: String::new(), ..form };
            Ok(refused(refusal, seen.page(shell, &form, Some(refusal), Some(&permissions))?))
        }
    }
}

fn refused(refusal: &Refusal, page: String) -> Response {
    (wrong::status(refusal), Html(page)).into_response()
}

#[derive(Template)]
#[template(path = "roles_delete.html")]
struct Delete {
    shell: Shell,
    at: String,
    to: String,
    name: String,
    version: String,
    banner: Option<Banner>,
    grants: usize,
    partners: Vec<String>,
    only: usize,
    inside: usize,
    own: usize,
}

/// The dialog before a role is deleted: what ends by it.
pub async fn delete_page(
    State(console): State<Console>,
    who: Visitor,
    At((id, role)): At<(OrganisationId, RoleId)>,
) -> Result<Html<String>, Wrong> {
    let (state, now, shell) = around(&console, &who, id, Action::DeleteRole, "Delete a role")?;
    Ok(Html(deleting(&state, now, shell, (id, role), None)?))
}

fn deleting(
    state: &World,
    now: Instant,
    shell: Shell,
    (id, role): (OrganisationId, RoleId),
    refusal: Option<&Refusal>,
) -> Result<String, Wrong> {
    let r = known(state, id, role)?;
    let uses = used::role_use(state, role, now);
    let name = |o: &OrganisationId| {
        state.organisations.get(*o).map(|o| state.words.show(o.name).to_owned())
    };
    let at = format!("/console/o/{id}/roles");
    let page = Delete {
        to: format!("{at}/{role}/delete"),
        at,
        name: r.name.to_string(),
        version: version::tag(state, &Versioned::Role(role)).unwrap_or_default(),
        banner: refusal.map(|r| banner(Tone::Bad, r.sentence())),
        grants: uses.grants.len(),
        partners: uses.partners.iter().filter_map(name).collect(),
        only: uses.only.len(),
        inside: uses.inside,
        own: uses.own.len(),
        shell,
    };
    Ok(page.render()?)
}

/// Which version was seen when it was decided.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sure {
    version: String,
}

/// Deletes a role.
pub async fn delete(
    State(console): State<Console>,
    At((id, role)): At<(OrganisationId, RoleId)>,
    Sent { who, form }: Sent<Sure>,
) -> Result<Response, Wrong> {
    let (state, _, shell) = around(&console, &who, id, Action::DeleteRole, "Delete a role")?;
    let r = known(&state, id, role)?;
    let (code, name) = (r.code.to_string(), r.name.to_string());
    let seen = Seen { of: Versioned::Role(role), saw: Saw::OneOf(vec![form.version]) };
    let command = Command::DeleteRole { organisation: id, code };
    let sending = Sending { command, once: None, seen: Some(seen) };
    match who.run(&console.app, sending).await {
        Ok(_) => {
            let said = format!("The role {name} is deleted. It permits nothing any more.");
            Ok(shell::done(&format!("/console/o/{id}/roles"), &said))
        }
        Err(wrong) => {
            let Some(refusal) = again(&wrong) else { return Err(wrong) };
            let (state, now) = (console.app.state(), console.app.now());
            let page = deleting(&state, now, shell, (id, role), Some(refusal))?;
            Ok(refused(refusal, page))
        }
    }
}
