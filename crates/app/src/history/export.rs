//! The history as a file: comma-separated values for spreadsheets, JSON lines for programs. Both hold
//! the same columns, and no line is in memory longer than its page.

use comity_domain::ids::{GrantId, OrganisationId, PersonId, SessionId};
use comity_domain::session::SessionStatus;
use comity_domain::state::State;
use comity_domain::text::ERASED;
use serde::Serialize;

use super::{Place, Question, Stay, StoreError};
use crate::app::App;
use crate::telling::time;

/// How many sessions one file holds at most.
pub const MOST: usize = 100_000;
/// How many are read at a time.
const PAGE: usize = 500;

/// What kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, in UTF-8.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// A line of the file. The first five columns are those of the page.
#[derive(Debug, Serialize)]
struct Line {
    partner_name: String,
    partner_email: String,
    started_at: String,
    duration_minutes: i64,
    api_calls: u64,
    status: SessionStatus,
    partner_organisation: String,
    mode: String,
    end_reason: Option<String>,
    ended_at: Option<String>,
    deadline: String,
    duration_seconds: i64,
    api_calls_are_at_most: bool,
    calls_allowed: u64,
    calls_refused: u64,
    calls_late: u64,
    reason: Option<String>,
    session: SessionId,
    grant: GrantId,
    person: PersonId,
    customer: OrganisationId,
    provider: OrganisationId,
}

const COLUMNS: &str = "partner_name,partner_email,started_at,duration_minutes,api_calls,status,\
partner_organisation,mode,end_reason,ended_at,deadline,duration_seconds,api_calls_are_at_most,\
calls_allowed,calls_refused,calls_late,reason,session,grant,person,customer,provider\r\n";

fn line(state: &State, stay: &Stay) -> Line {
    let row = &stay.row;
    let word = |w: &Option<String>| w.clone().unwrap_or_else(|| ERASED.to_owned());
    let provider = state.organisations.get(row.provider);
    let ended = stay.status == SessionStatus::Ended;
    Line {
        partner_name: word(&row.name),
        partner_email: word(&row.email),
        started_at: time(row.started),
        duration_minutes: stay.minutes,
        api_calls: stay.calls.total(),
        status: stay.status,
        partner_organisation: provider.map_or(ERASED, |o| state.words.show(o.name)).to_owned(),
        mode: row.mode.clone(),
        end_reason: row.cause.clone().filter(|_| ended),
        ended_at: row.ended.filter(|_| ended).map(time),
        deadline: time(row.deadline),
        duration_seconds: stay.seconds,
        api_calls_are_at_most: stay.calls.at_most(),
        calls_allowed: stay.calls.allowed,
        calls_refused: stay.calls.refused,
        calls_late: stay.calls.late,
        reason: row.reason.clone(),
        session: row.session,
        grant: row.grant,
        person: row.person,
        customer: row.customer,
        provider: row.provider,
    }
}

/// A cell: quoted, and what a spreadsheet would take for a formula begins with an apostrophe, which
/// is how a person says that it is a text (T41).
fn cell(text: &str) -> String {
    let formula = |c: char| {
        matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠')
    };
    let guard = if text.trim_start_matches(' ').starts_with(formula) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

impl Line {
    fn csv(&self) -> String {
        let some = |text: &Option<String>| text.as_deref().map(cell).unwrap_or_default();
        let status = match self.status {
            SessionStatus::Active => "active",
            SessionStatus::Expired => "expired",
            SessionStatus::Ended => "ended",
        };
        [
            cell(&self.partner_name),
            cell(&self.partner_email),
            self.started_at.clone(),
            self.duration_minutes.to_string(),
            self.api_calls.to_string(),
            status.to_owned(),
            cell(&self.partner_organisation),
            cell(&self.mode),
            some(&self.end_reason),
            self.ended_at.clone().unwrap_or_default(),
            self.deadline.clone(),
            self.duration_seconds.to_string(),
            self.api_calls_are_at_most.to_string(),
            self.calls_allowed.to_string(),
            self.calls_refused.to_string(),
            self.calls_late.to_string(),
            some(&self.reason),
            self.session.to_string(),
            self.grant.to_string(),
            self.person.to_string(),
            self.customer.to_string(),
            self.provider.to_string(),
        ]
        .join(",")
    }
}

/// What stands before the first line.
#[must_use]
pub fn head(format: Format) -> &'static str {
    match format {
        Format::Csv => COLUMNS,
        Format::JsonLines => "",
    }
}

/// What stands where a file is full: that there is more.
fn full(format: Format) -> String {
    match format {
        Format::Csv => {
            format!("\"Only the newest {MOST} sessions are here; narrow the dates.\"\r\n")
        }
        Format::JsonLines => format!("{{\"only_the_newest\":{MOST}}}\n"),
    }
}

/// A file being written.
#[derive(Debug)]
pub struct Export {
    question: Question,
    format: Format,
    written: usize,
    /// Where it goes on; `None` once it is written.
    next: Option<Option<Place>>,
}

impl Export {
    /// The file of what a question finds.
    #[must_use]
    pub fn new(question: Question, format: Format) -> Self {
        Self { question, format, written: 0, next: Some(None) }
    }

    /// Its next piece; `None` at its end. Blocking.
    ///
    /// # Errors
    /// If the history cannot be read.
    pub fn piece(&mut self, app: &App, state: &State) -> Result<Option<String>, StoreError> {
        let Some(after) = self.next else { return Ok(None) };
        let page = self.question.page(app, after, PAGE.min(MOST.saturating_sub(self.written)))?;
        self.written = self.written.saturating_add(page.items.len());
        let mut text = String::new();
        for stay in &page.items {
            let line = line(state, stay);
            match self.format {
                Format::Csv => text += &(line.csv() + "\r\n"),
                Format::JsonLines => {
                    text += &serde_json::to_string(&line).unwrap_or_default();
                    text.push('\n');
                }
            }
        }
        let last = page.items.last().map(|s| (s.row.started, s.row.session));
        self.next = last.filter(|_| page.next.is_some()).map(Some);
        if self.next.is_some() && self.written >= MOST {
            self.next = None;
            text += &full(self.format);
        }
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t41_no_cell_is_taken_for_a_formula() {
        for bad in
            ["=cmd|' /C calc'!A0", "@SUM(A1)", "+1", "-1", "\tx", "\rx", "\n=x", "  =x", "＝x"]
        {
            assert!(cell(bad).starts_with("\"'"), "{bad:?}");
        }
        assert_eq!(cell("Pia \"P\" Park"), "\"Pia \"\"P\"\" Park\"");
        assert_eq!(cell("a=b, c\r\nd"), "\"a=b, c\r\nd\"");
        assert_eq!(cell(""), "\"\"");
    }

    #[test]
    fn the_columns_are_named_as_in_json() {
        let named: Vec<&str> = COLUMNS.trim_end().split(',').collect();
        assert_eq!(named.len(), 22);
        assert!(named.starts_with(&[
            "partner_name",
            "partner_email",
            "started_at",
            "duration_minutes",
            "api_calls",
            "status"
        ]));
    }
}
