//! Lists by cursor. One that was made for another question is refused (T12).

use comity_app::App;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// How many a page has unless asked otherwise.
const USUAL: usize = 50;
/// How many it has at most.
const MOST: usize = 200;

/// One page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where to go on: the next `cursor`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
    /// Of requests: how many there are on all pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub total: Option<usize>,
    /// Of grants: how many partners have one that is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub active_partners: Option<usize>,
}

impl<T> Page<T> {
    /// A page with nothing said beside it.
    pub fn new(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next, total: None, active_partners: None }
    }
}

/// A list that is short enough to be given whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct Items<T> {
    /// All of them.
    pub items: Vec<T>,
}

/// What every list takes.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// `next` of the page before. Good only for the same list and filter.
    #[param(nullable = false)]
    pub cursor: Option<String>,
    /// How many at most; 50 unless given.
    #[param(nullable = false, minimum = 1, maximum = 200, example = 50)]
    pub limit: Option<usize>,
}

/// How many the caller wants.
pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(USUAL) {
        n @ 1..=MOST => Ok(n),
        _ => Err(Problem::field("limit", "must be from 1 to 200")),
    }
}

/// A cursor to go on after `place`, good only for the same `question`.
pub fn cursor(app: &App, question: &str, place: &str) -> String {
    comity_app::cursor::write(app, question, place)
}

/// What is said of a cursor that is not from the list.
pub fn foreign_cursor() -> Problem {
    Problem::field("cursor", "is not from this list; start without it")
}

/// The place that a cursor stands for.
pub fn place<'c>(app: &App, question: &str, cursor: &'c str) -> Result<&'c str, Problem> {
    comity_app::cursor::read(app, question, cursor).ok_or_else(foreign_cursor)
}

/// Which end of a list comes first. Identifiers are ordered by age, and so are their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OldestFirst,
    NewestFirst,
}

/// Cuts a list whose items are named by identifiers into a page. `items` stand in `order`; the
/// cursor names the last one shown, and it goes on behind that even if it is gone from the list.
pub fn by_id<I: Copy + ToString, T>(
    app: &App,
    question: &str,
    paging: &Paging,
    order: Order,
    items: impl Iterator<Item = I>,
    show: impl Fn(I) -> Option<T>,
) -> Result<Page<T>, Problem> {
    let limit = limit(paging.limit)?;
    let after = paging.cursor.as_deref().map(|c| place(app, question, c)).transpose()?;
    let mut items = items.peekable();
    if let Some(after) = after {
        let shown = |id: &I| match order {
            Order::OldestFirst => id.to_string().as_str() <= after,
            Order::NewestFirst => id.to_string().as_str() >= after,
        };
        while items.next_if(shown).is_some() {}
    }
    let mut page = Vec::with_capacity(limit.min(64));
    let mut last = None;
    for id in items.by_ref() {
        if let Some(shown) = show(id) {
            page.push(shown);
            last = Some(id);
        }
        if page.len() == limit {
            break;
        }
    }
    let more = items.peek().is_some();
    let next = last.filter(|_| more).map(|id| cursor(app, question, &id.to_string()));
    Ok(Page::new(page, next))
}
