//! Asking before an act: what it will do, in sentences, and the button that does it.

use askama::Template;
use axum::response::{Html, IntoResponse as _, Response};
use comity_domain::refusal::Refusal;

use crate::parts::{Banner, Field, Tone, banner};
use crate::shell::Shell;
use crate::wrong::{self, Wrong};

/// A question before an act.
#[derive(Template)]
#[template(path = "dialog.html")]
pub struct Dialog {
    pub shell: Shell,
    pub title: String,
    pub banner: Option<Banner>,
    /// What it will do.
    pub will: Vec<String>,
    /// What goes along unseen.
    pub hidden: Vec<(&'static str, String)>,
    pub fields: Vec<Field>,
    /// Where the form is sent.
    pub to: String,
    pub button: &'static str,
    /// `primary` or `danger`.
    pub tone: &'static str,
    /// Where to go instead.
    pub back: String,
}

impl Dialog {
    /// The page.
    pub fn page(self) -> Result<Html<String>, Wrong> {
        Ok(Html(self.render()?))
    }
}

#[derive(Template)]
#[template(path = "no_dialog.html")]
struct NoDialog<'p> {
    shell: Shell,
    title: &'p str,
    banner: Banner,
    back: &'p str,
}

/// Why something cannot be done at all, before anything is asked.
pub fn no_dialog(
    shell: Shell,
    title: &str,
    refusal: &Refusal,
    back: &str,
) -> Result<Response, Wrong> {
    let page = NoDialog { shell, title, banner: banner(Tone::Bad, refusal.sentence()), back };
    Ok((wrong::status(refusal), Html(page.render()?)).into_response())
}
