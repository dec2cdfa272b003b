//! The first run: the page behind the link that a start on an unclaimed log prints.
//!
//! The token stands behind the `#` of the link, which no browser sends: no proxy's log and no
//! `Referer` holds it. The script takes it from there into its field and off the address; without
//! script it is pasted. Once somebody holds the installation the page is not there any more.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use comity_app::Failure;
use comity_app::app::first_run::{FirstKeys, Wanted};
use comity_domain::refusal::Refusal;
use serde::Deserialize;

use crate::parts::{Banner, Copy, Field, Tone, banner};
use crate::routes::Console;
use crate::sign_in::Around;
use crate::visitor::{Counted, Open};
use crate::wrong::{self, Wrong};

/// What is typed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typed {
    token: String,
    organisation_name: String,
    #[serde(default)]
    organisation_id: String,
    admin_name: String,
    admin_email: String,
    #[serde(default)]
    admin_id: String,
    password: String,
}

#[derive(Template)]
#[template(path = "first_run.html")]
struct Page {
    around: Around,
    banner: Option<Banner>,
    token: Field,
    organisation_name: Field,
    organisation_id: Field,
    admin_name: Field,
    admin_email: Field,
    admin_id: Field,
    password: Field,
    /// Whether what is seldom needed stands open.
    open: bool,
}

#[derive(Template)]
#[template(path = "first_run_done.html")]
struct Done {
    around: Around,
    organisation: String,
    email: String,
    operate: Copy,
    provision: Copy,
}

/// The page, as long as nobody holds the installation.
pub async fn page(State(console): State<Console>) -> Result<Html<String>, Wrong> {
    unclaimed(&console)?;
    Ok(Html(shown(&Typed::default(), None, None)?))
}

fn unclaimed(console: &Console) -> Result<(), Wrong> {
    if !console.app.is_current() {
        return Err(Wrong::NotCurrent);
    }
    if console.app.is_unclaimed() { Ok(()) } else { Err(Wrong::not_found()) }
}

fn shown(
    form: &Typed,
    wrong: Option<&(String, String)>,
    other: Option<String>,
) -> Result<String, Wrong> {
    let field = |name, label: &str, value: &str| Field::new(name, label).value(value).wrong(wrong);
    let seldom = |name: &str| wrong.is_some_and(|(field, _)| field == name);
    let page = Page {
        around: Around::new(),
        banner: other.map(|text| banner(Tone::Bad, text)),
        token: field("token", "Code of the link", &form.token).hint(
            "What stands behind the # of the link in the terminal; it begins with cmt_first_.",
        ),
        organisation_name: field("organisation_name", "Name", &form.organisation_name)
            .auto("organization")
            .hint("As partners will see it."),
        organisation_id: field(
            "organisation_id",
            "Identifier of the organisation",
            &form.organisation_id,
        )
        .optional()
        .hint("How your product names this tenant. Left empty, it is made from the name."),
        admin_name: field("admin_name", "Name of the Admin", &form.admin_name).auto("name"),
        admin_email: field("admin_email", "E-mail address", &form.admin_email)
            .kind("email")
            .auto("username")
            .most(254)
            .hint("They sign in with it."),
        admin_id: field("admin_id", "Identifier of the Admin", &form.admin_id)
            .optional()
            .hint("How your product names this person. Left empty, it is the e-mail address."),
        password: field("password", "Password", "")
            .kind("password")
            .auto("new-password")
            .most(128)
            .hint("At least 15 characters. Several words make a good one."),
        open: seldom("organisation_id")
            || seldom("admin_id")
            || !(form.organisation_id.is_empty() && form.admin_id.is_empty()),
    };
    Ok(page.render()?)
}

/// An identifier from a name: its letters and digits in lower case, what lies between as hyphens.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() { c } else { ' ' };
    let words: String = name.chars().flat_map(char::to_lowercase).map(plain).collect();
    words.split_whitespace().collect::<Vec<_>>().join("-")
}

/// Claims the installation. The keys stand in the answer and nowhere else.
pub async fn claim(
    State(console): State<Console>,
    Counted(beside): Counted,
    Open(form): Open<Typed>,
) -> Result<Response, Wrong> {
    beside.limits.enrol(beside.from)?;
    unclaimed(&console)?;
    let or = |typed: &str, other: String| match typed.trim() {
        "" => other,
        typed => typed.to_owned(),
    };
    let wanted = Wanted {
        organisation_id: or(&form.organisation_id, slug(&form.organisation_name)),
        organisation_name: form.organisation_name.clone(),
        admin_id: or(&form.admin_id, form.admin_email.trim().to_owned()),
        admin_name: form.admin_name.clone(),
        admin_email: form.admin_email.trim().to_owned(),
        password: form.password.clone(),
    };
    let refusal = match console.app.claim_first_run(form.token.trim(), wanted).await {
        Ok(keys) => return Ok(Html(done(&form, &keys)?).into_response()),
        Err(Failure::Refused(refusal)) => refusal,
        Err(other) => return Err(other.into()),
    };
    let field = match &refusal {
        Refusal::NotFound => {
            let why = "This code is unknown, used or out of date. A restart of the server prints a new link.";
            Some(("token".to_owned(), why.to_owned()))
        }
        other => wrong::field(other),
    };
    let other = field.is_none().then(|| refusal.sentence());
    let status = match refusal {
        Refusal::NotFound => StatusCode::UNPROCESSABLE_ENTITY,
        ref other => wrong::status(other),
    };
    Ok((status, Html(shown(&form, field.as_ref(), other)?)).into_response())
}

fn done(form: &Typed, keys: &FirstKeys) -> Result<String, Wrong> {
    let copy = |id: &str, label: &str, text: &str| Copy {
        id: id.into(),
        label: label.into(),
        text: text.into(),
    };
    let page = Done {
        around: Around::new(),
        organisation: form.organisation_name.trim().to_owned(),
        email: form.admin_email.trim().to_owned(),
        operate: copy("operate-key", "Key for operate", keys.operate.reveal()),
        provision: copy("provision-key", "Key for provision", keys.provision.reveal()),
    };
    Ok(page.render()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_identifier_is_made_from_a_name() {
        for (name, id) in [
            ("Marina Bay", "marina-bay"),
            ("  Élan & Fils, S.A. ", "élan-fils-s-a"),
            ("org_1/2", "org-1-2"),
            ("...", ""),
        ] {
            assert_eq!(super::slug(name), id);
        }
    }
}
