//! The handful of components, each a value that a page puts together and a small template that draws
//! it. What they hold is text: it is escaped where it is drawn.

use std::fmt::Display;

use askama::Template;
use askama::filters::HtmlSafe;

/// How a badge or banner looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Primary,
    Good,
    Warn,
    Bad,
}

impl Display for Tone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Primary => "primary",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        })
    }
}

/// A word about something, such as its state.
#[derive(Debug, Clone, Template)]
#[template(source = r#"<span class="badge {{ tone }}">{{ text }}</span>"#, ext = "html")]
pub struct Badge {
    pub tone: Tone,
    pub text: String,
}

pub fn badge(tone: Tone, text: impl Into<String>) -> Badge {
    Badge { tone, text: text.into() }
}

/// A sentence above a page or form.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/banner.html")]
pub struct Banner {
    pub tone: Tone,
    pub text: String,
}

pub fn banner(tone: Tone, text: impl Into<String>) -> Banner {
    Banner { tone, text: text.into() }
}

/// One line of a form.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/field.html")]
pub struct Field {
    pub name: &'static str,
    pub label: String,
    /// `text`, `email`, `password`, `number`, `datetime-local`, `search` or `textarea`.
    pub kind: &'static str,
    pub value: String,
    pub hint: Option<String>,
    pub error: Option<String>,
    pub required: bool,
    /// The autocomplete word.
    pub auto: &'static str,
    /// The most characters.
    pub most: u32,
}

impl Field {
    /// A required line of text.
    pub fn new(name: &'static str, label: impl Into<String>) -> Self {
        Self {
            name,
            label: label.into(),
            kind: "text",
            value: String::new(),
            hint: None,
            error: None,
            required: true,
            auto: "off",
            most: 200,
        }
    }

    #[must_use]
    pub fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    #[must_use]
    pub fn value(self, value: impl Into<String>) -> Self {
        Self { value: value.into(), ..self }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    #[must_use]
    pub fn optional(self) -> Self {
        Self { required: false, ..self }
    }

    #[must_use]
    pub fn auto(self, auto: &'static str) -> Self {
        Self { auto, ..self }
    }

    #[must_use]
    pub fn most(self, most: u32) -> Self {
        Self { most, ..self }
    }

    /// With what is wrong with it, if it is this field that is wrong.
    #[must_use]
    pub fn wrong(self, wrong: Option<&(String, String)>) -> Self {
        let error = wrong.filter(|(field, _)| field == self.name).map(|(_, why)| why.clone());
        Self { error, ..self }
    }
}

/// One tab.
#[derive(Debug, Clone)]
pub struct Tab {
    pub label: String,
    pub to: String,
    pub here: bool,
    /// Under which name its count comes anew without reloading.
    pub live: Option<&'static str>,
    pub count: Option<usize>,
}

/// Tabs, each a page of its own.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/tabs.html")]
pub struct Tabs {
    /// What they are tabs of.
    pub label: &'static str,
    pub tabs: Vec<Tab>,
    /// Where the counts come from, without reloading.
    pub live: Option<String>,
}

/// A text to be taken elsewhere.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/copy.html")]
pub struct Copy {
    pub id: String,
    pub label: String,
    pub text: String,
}

/// What stands where a list is empty.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/empty.html")]
pub struct Empty {
    pub title: String,
    pub text: String,
}

pub fn empty(title: impl Into<String>, text: impl Into<String>) -> Empty {
    Empty { title: title.into(), text: text.into() }
}

/// The way to the next page of a list, and back to the first.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/pager.html")]
pub struct Pager {
    pub first: Option<String>,
    pub next: Option<String>,
}

/// How many lines one page of a list holds.
pub const A_PAGE: usize = 25;

impl Pager {
    /// One page of `all`, which is in the order of its identifiers or in the opposite one, from
    /// behind `after` on; and the way to the next. `to` is the list's address, with its filter and
    /// ending in `?` or `&`. What `after` names may be gone meanwhile.
    pub fn of<I: std::marker::Copy + Ord + Display, T>(
        all: impl Iterator<Item = (I, T)>,
        after: Option<I>,
        newest_first: bool,
        to: &str,
    ) -> (Self, Vec<(I, T)>) {
        let seen = |id: &I| {
            after.is_some_and(|after| if newest_first { *id >= after } else { *id <= after })
        };
        let left = all.skip_while(|(id, _)| seen(id));
        let mut page: Vec<(I, T)> = left.take(A_PAGE + 1).collect();
        let more = page.len() > A_PAGE;
        page.truncate(A_PAGE);
        let last = page.last().map(|(id, _)| format!("{to}after={id}"));
        let first = after.map(|_| to.trim_end_matches(['?', '&']).to_owned());
        (Self { first, next: last.filter(|_| more) }, page)
    }
}

// Each is drawn by its own template, which has escaped what it holds.
impl HtmlSafe for Badge {}
impl HtmlSafe for Banner {}
impl HtmlSafe for Field {}
impl HtmlSafe for Tabs {}
impl HtmlSafe for Copy {}
impl HtmlSafe for Empty {}
impl HtmlSafe for Pager {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_paged_from_behind_the_last_line_of_the_page_before() {
        let all = |n: usize| (0..n).map(|i| (i, ()));
        let (pager, page) = Pager::of(all(A_PAGE), None, false, "/list?");
        assert_eq!((page.len(), pager.first, pager.next), (A_PAGE, None, None));
        let (pager, page) = Pager::of(all(A_PAGE + 1), None, false, "/list?");
        assert_eq!((page.len(), pager.next.as_deref()), (A_PAGE, Some("/list?after=24")));
        let (pager, page) = Pager::of(all(A_PAGE + 1), Some(24), false, "/list?");
        assert_eq!(page, [(25, ())]);
        assert_eq!((pager.first.as_deref(), pager.next), (Some("/list"), None));
        // What is gone meanwhile is no line to wait for.
        let (_, page) = Pager::of([(1, ()), (5, ())].into_iter(), Some(3), false, "/list?");
        assert_eq!(page, [(5, ())]);
        let newest = [(5, ()), (1, ())].into_iter();
        let (_, page) = Pager::of(newest, Some(3), true, "/list?show=ended&");
        assert_eq!(page, [(1, ())]);
    }
}
