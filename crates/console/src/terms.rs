//! What is given, as a form: roles, accounts, ways to enter, for how long; and in plain words, with
//! the hash that whoever gives it echoes. Approving, offering and amending are drawn by this.

use std::collections::BTreeSet;

use askama::Template;
use askama::filters::HtmlSafe;
use comity_domain::consent::{self, Limits, NamedAccounts, NamedTerms, Summary};
use comity_domain::ids::{Digest32, OrganisationId};
use comity_domain::refusal::Refusal;
use comity_domain::request::Request;
use comity_domain::role::{Mode, Modes, PinnedLevel};
use comity_domain::state::State as World;
use comity_domain::text::WordId;
use comity_domain::time::{Days, Instant, Minutes};
use serde::{Deserialize, Serialize};

use crate::parts::Field;
use crate::show;

/// So many accounts are shown one by one; where there are more, they are named.
pub const MOST_SHOWN: usize = 100;

/// What somebody chose who gives something, as the form sends it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    /// Set once the form was filled in: before, everything is as asked.
    pub chosen: String,
    pub roles: Vec<String>,
    /// `all` or `list`.
    pub which: String,
    pub accounts: Vec<String>,
    /// Identifiers, one a line, where there are too many to show.
    pub listed: String,
    pub unit: String,
    pub modes: Vec<String>,
    pub days: String,
    pub starts_at: String,
    pub session_minutes: String,
    pub allow_external: String,
    pub jwt: String,
    /// The hash of what was shown.
    pub summary: String,
    /// What was shown, sentence by sentence, to see which of them have changed.
    pub was: String,
    /// An offer's: to whom, by which level, why.
    pub to: String,
    pub level: String,
    pub reason: String,
    pub ticket: String,
    /// An amendment's: only for longer.
    pub renew: String,
    /// An amendment's: the roles as they are today.
    pub newest: String,
}

/// A box to tick.
#[derive(Debug)]
pub struct Choice {
    pub value: String,
    pub label: String,
    pub note: String,
    pub on: bool,
}

pub fn number(field: &'static str, text: &str) -> Result<Option<u32>, Refusal> {
    match text.trim() {
        "" => Ok(None),
        text => {
            text.parse().map(Some).map_err(|_| Refusal::invalid(field, "must be a whole number"))
        }
    }
}

/// Reads what a field of kind `datetime-local` sends, as UTC.
pub fn minute(field: &'static str, text: &str) -> Result<Option<Instant>, Refusal> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let read: Result<jiff::civil::DateTime, _> = text.trim().parse();
    let at = read.ok().and_then(|t| t.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let at = at.map(|t| Instant(t.timestamp().as_millisecond()));
    at.map(Some).ok_or_else(|| Refusal::invalid(field, "must be a date and time"))
}

/// An instant as such a field holds it.
pub fn minute_of(at: Instant) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0);
    at.map(|t| t.strftime("%Y-%m-%dT%H:%M").to_string()).unwrap_or_default()
}

/// Reads ticked modes.
pub fn modes_of(ticked: &[String]) -> Result<Modes, Refusal> {
    let one = |text: &String| {
        let mode = Mode::ALL.into_iter().find(|m| m.code() == text);
        mode.ok_or_else(|| Refusal::invalid("modes", "holds a mode that there is not"))
    };
    ticked.iter().map(one).collect()
}

/// One identifier a line.
pub fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty())
}

impl Given {
    /// As the domain means it.
    pub fn named(&self) -> Result<NamedTerms, Refusal> {
        let accounts = if self.which == "all" {
            NamedAccounts::All
        } else {
            let each: BTreeSet<String> =
                self.accounts.iter().cloned().chain(lines(&self.listed)).collect();
            NamedAccounts::List(each.into_iter().collect())
        };
        Ok(NamedTerms {
            roles: Some(self.roles.clone()),
            accounts: Some(accounts),
            unit: Some(self.unit.clone()).filter(|u| !u.is_empty()),
            modes: Some(modes_of(&self.modes)?),
            starts_at: minute("starts_at", &self.starts_at)?,
            // Left empty is no shorter time, but a mistake.
            days: Some(Days(number("days", &self.days)?.unwrap_or(0))),
            cap: number("session_minutes", &self.session_minutes)?.map(Minutes),
            allow_external: !self.allow_external.is_empty(),
            jwt: !self.jwt.is_empty(),
        })
    }

    /// As a query, for the way back.
    pub fn query(&self) -> String {
        serde_html_form::to_string(self).unwrap_or_default()
    }
}

/// What bounds a choice: whose things, under which level, and what was asked, if it was.
pub struct Frame<'r> {
    pub customer: OrganisationId,
    pub level: PinnedLevel,
    pub modes: Modes,
    /// The longest that can be chosen.
    pub days: Days,
    pub limits: Limits,
    pub asked: Option<&'r Request>,
}

impl<'r> Frame<'r> {
    /// The answer to a request.
    pub fn of_request(state: &World, request: &'r Request) -> Result<Self, Refusal> {
        let limits = consent::limits(state, request)?;
        Ok(Self {
            customer: request.customer,
            level: request.level.clone(),
            modes: request.modes,
            days: limits.days.min(request.days),
            limits,
            asked: Some(request),
        })
    }

    /// What nobody asked for.
    pub fn of_level(
        state: &World,
        customer: OrganisationId,
        level: PinnedLevel,
    ) -> Result<Self, Refusal> {
        let limits = consent::limits_of(state, customer, &level)?;
        Ok(Self { customer, level, modes: Modes::all(), days: limits.days, limits, asked: None })
    }

    fn wished<'s>(
        &self,
        state: &'s World,
        of: impl Fn(&'r Request) -> &'r [WordId],
    ) -> BTreeSet<&'s str> {
        self.asked.into_iter().flat_map(of).map(|w| state.words.show(*w)).collect()
    }
}

/// The form's part that says what is given.
#[derive(Debug, Template)]
#[template(path = "parts/terms.html")]
pub struct TermsForm {
    roles: Vec<Choice>,
    unknown_roles: Vec<String>,
    roles_wrong: Option<String>,
    may_all: bool,
    all: bool,
    accounts: Vec<Choice>,
    listed: Option<Field>,
    unknown_accounts: Vec<String>,
    accounts_wrong: Option<String>,
    units: Vec<Choice>,
    modes: Vec<Choice>,
    modes_wrong: Option<String>,
    days: Field,
    /// Not where it has begun.
    starts_at: Option<Field>,
    minutes: Field,
    external: bool,
    /// Whether the settings let that be chosen.
    may_external: bool,
    external_wrong: Option<String>,
    jwt: bool,
    /// Whether something of what is seldom chosen is chosen, or wrong.
    seldom: bool,
}

impl HtmlSafe for TermsForm {}

/// What would be given, in words, or why nothing can be.
#[derive(Debug, Default, Template)]
#[template(path = "parts/shown.html")]
pub struct Shown {
    hash: Option<Digest32>,
    title: &'static str,
    /// Each with whether it is another one than before, and with what is instead now.
    sentences: Vec<(String, bool, Option<String>)>,
    never: String,
    was: String,
    /// Why there is nothing to give yet.
    not_yet: Option<String>,
}

impl HtmlSafe for Shown {}

impl Shown {
    /// Whether there is something that can be given.
    pub fn is_there(&self) -> bool {
        self.hash.is_some()
    }

    /// Beside each sentence that is another one, what is now.
    pub fn beside(mut self, state: &World, now: &Summary) -> Self {
        let present = now.sentences(state, |t| show::when(t).shown);
        for ((sentence, _, was), present) in self.sentences.iter_mut().zip(present) {
            *was = (*sentence != present).then_some(present);
        }
        self
    }
}

/// A short sign for each sentence.
fn signs(sentences: &[String]) -> Vec<String> {
    let sign = |s: &String| Digest32::of(s.as_bytes()).to_string().chars().take(12).collect();
    sentences.iter().map(sign).collect()
}

/// What a summary gives. `was` are the signs of what was shown before, where that was another.
pub fn shown(state: &World, summary: &Summary, was: &str, title: &'static str) -> Shown {
    let sentences = summary.sentences(state, |t| show::when(t).shown);
    let signs = signs(&sentences);
    let before: Vec<&str> = was.split('.').filter(|s| !s.is_empty()).collect();
    let changed = |ix: usize| {
        !before.is_empty() && before.get(ix).copied() != signs.get(ix).map(String::as_str)
    };
    Shown {
        hash: Some(summary.hash()),
        title,
        was: signs.join("."),
        never: summary.never_delegable.texts().collect::<Vec<_>>().join(", "),
        sentences: sentences
            .iter()
            .enumerate()
            .map(|(i, s)| (s.clone(), changed(i), None))
            .collect(),
        not_yet: None,
    }
}

/// Why these terms give nothing.
pub fn not_yet(refusal: &Refusal, first: bool) -> Shown {
    let why = match refusal {
        _ if first => "Choose at least one role and one account.".to_owned(),
        Refusal::Invalid { field, why } => {
            format!("These terms cannot be given. {}: it {why}.", label(field))
        }
        Refusal::Widening(field) => format!(
            "These terms cannot be given. {}: this is more than was asked for.",
            label(field)
        ),
        other => other.sentence(),
    };
    Shown { not_yet: Some(why), ..Shown::default() }
}

/// Why there is nothing to give.
pub fn nothing_yet(why: &str) -> Shown {
    Shown { not_yet: Some(why.into()), ..Shown::default() }
}

/// How the form names a field.
fn label(field: &str) -> &str {
    match field {
        "roles" => "Roles",
        "accounts" => "Accounts",
        "modes" => "Ways to enter",
        "days" => "For how many days",
        "session_minutes" => "Longest stay",
        "starts_at" => "Starts at",
        "unit" => "Who gives",
        "allow_external" => "People from outside",
        other => other,
    }
}

/// What a field is told of a refusal.
pub fn of_field(refusal: Option<&Refusal>, name: &str) -> Option<String> {
    match refusal? {
        Refusal::Invalid { field, why } if *field == name => Some(format!("It {why}.")),
        Refusal::Widening(field) if *field == name => {
            Some("This is more than may be given here.".into())
        }
        _ => None,
    }
}

/// The form with what was chosen, and what is wrong with it.
pub fn form(
    state: &World,
    frame: &Frame<'_>,
    given: &Given,
    refusal: Option<&Refusal>,
) -> TermsForm {
    let (roles, unknown_roles) = role_choices(state, frame, given);
    let (accounts, unknown_accounts) = account_choices(state, frame, given);
    let asked_all = frame.asked.is_none_or(|asked| asked.accounts.is_empty());
    let too_many = asked_all && state.accounts_of(frame.customer).nth(MOST_SHOWN).is_some();
    let wrong = |name: &str| of_field(refusal, name).map(|why| (name.to_owned(), why));
    let start = if frame.asked.is_some() { "your yes" } else { "the partner's yes" };
    let listed = Field::new("listed", "Only these accounts")
        .kind("textarea")
        .optional()
        .value(given.listed.clone())
        .hint("Your identifiers of accounts, one a line.")
        .most(20_000);
    TermsForm {
        roles,
        unknown_roles,
        roles_wrong: of_field(refusal, "roles"),
        may_all: asked_all,
        all: given.which == "all",
        accounts: if too_many { Vec::new() } else { accounts },
        listed: too_many.then_some(listed),
        unknown_accounts,
        accounts_wrong: of_field(refusal, "accounts"),
        units: unit_choices(state, frame.customer, given),
        modes: mode_choices(state, frame, given),
        modes_wrong: of_field(refusal, "modes"),
        days: days(frame, given).wrong(wrong("days").as_ref()),
        starts_at: Some(
            Field::new("starts_at", "Starts at")
                .kind("datetime-local")
                .optional()
                .value(given.starts_at.clone())
                .hint(format!("In UTC. Left empty, it starts with {start}."))
                .wrong(wrong("starts_at").as_ref()),
        ),
        minutes: Field::new("session_minutes", "Longest stay, in minutes")
            .kind("number")
            .value(given.session_minutes.clone())
            .hint(format!("5 to {}.", frame.limits.cap.0))
            .wrong(wrong("session_minutes").as_ref()),
        external: !given.allow_external.is_empty(),
        may_external: frame.limits.allow_external,
        external_wrong: of_field(refusal, "allow_external"),
        jwt: !given.jwt.is_empty(),
        seldom: [&given.starts_at, &given.allow_external, &given.jwt]
            .iter()
            .any(|chosen| !chosen.is_empty()),
    }
}

impl TermsForm {
    /// Of what has begun, whose unit stays, and whose end stays where nothing else is said.
    pub fn begun(mut self, end: Instant) -> Self {
        (self.starts_at, self.units) = (None, Vec::new());
        let most = self.days.hint.take().unwrap_or_default();
        let hint = format!(
            "{most} Counted from your yes; left empty, it ends on {}.",
            show::when(end).shown
        );
        self.days = self.days.optional().hint(hint);
        self
    }
}

/// The field of the duration.
pub fn days(frame: &Frame<'_>, given: &Given) -> Field {
    Field::new("days", "For how many days")
        .kind("number")
        .value(given.days.clone())
        .hint(format!("1 to {}.", frame.days.0))
}

fn role_choices(state: &World, frame: &Frame<'_>, given: &Given) -> (Vec<Choice>, Vec<String>) {
    let wished = frame.wished(state, |asked| &asked.roles);
    let ceiling = state.level(&frame.level).map(|l| l.ceiling.clone()).unwrap_or_default();
    let may = |code: &str| wished.is_empty() || wished.contains(code);
    let choices: Vec<Choice> = state
        .roles_of(frame.customer)
        .filter(|(_, r)| may(&r.code))
        .map(|(_, r)| {
            let permits: Vec<String> = r.pinned(r.newest()).meet(&ceiling).texts().collect();
            Choice {
                value: r.code.to_string(),
                label: r.name.to_string(),
                note: if permits.is_empty() {
                    "permits nothing at this level".into()
                } else {
                    permits.join(", ")
                },
                on: given.roles.iter().any(|c| **c == *r.code),
            }
        })
        .collect();
    let unknown = wished.iter().filter(|w| choices.iter().all(|c| c.value != **w));
    let unknown = unknown.map(|w| (*w).to_owned()).collect();
    (choices, unknown)
}

fn account_choices(state: &World, frame: &Frame<'_>, given: &Given) -> (Vec<Choice>, Vec<String>) {
    let wished = frame.wished(state, |asked| &asked.accounts);
    let ids = state.accounts_of(frame.customer);
    let known = ids.filter_map(|id| state.accounts.get(id));
    let choices: Vec<Choice> = known
        .map(|a| (state.words.show(a.external), state.words.show(a.name)))
        .filter(|(external, _)| wished.is_empty() || wished.contains(external))
        .take(if wished.is_empty() { MOST_SHOWN } else { usize::MAX })
        .map(|(external, name)| Choice {
            value: external.to_owned(),
            label: name.to_owned(),
            note: if name == external { String::new() } else { external.to_owned() },
            on: given.accounts.iter().any(|a| a == external),
        })
        .collect();
    let unknown = wished.iter().filter(|w| choices.iter().all(|c| c.value != **w));
    let unknown = unknown.map(|w| (*w).to_owned()).collect();
    (choices, unknown)
}

/// The units, where there is more than the default one.
fn unit_choices(state: &World, customer: OrganisationId, given: &Given) -> Vec<Choice> {
    let named = state.units_of(customer).filter_map(|id| {
        let unit = state.units.get(id)?;
        let external = state.words.show(unit.external?).to_owned();
        let name = unit.name.map_or(external.clone(), |w| state.words.show(w).to_owned());
        Some(Choice {
            on: given.unit == external,
            value: external,
            label: name,
            note: String::new(),
        })
    });
    let mut all: Vec<Choice> = named.collect();
    if !all.is_empty() {
        let whole = Choice {
            value: String::new(),
            label: "The whole organisation".into(),
            note: String::new(),
            on: given.unit.is_empty(),
        };
        all.insert(0, whole);
    }
    all
}

fn mode_choices(state: &World, frame: &Frame<'_>, given: &Given) -> Vec<Choice> {
    let level = state.level(&frame.level).map(|l| l.modes).unwrap_or_default();
    let asked = frame.modes.iter().filter(|m| level.contains(*m));
    asked.map(|m| mode_choice(m, given.modes.iter().any(|g| g == m.code()))).collect()
}

/// A mode as a box to tick.
pub fn mode_choice(mode: Mode, on: bool) -> Choice {
    let note = match mode {
        Mode::Direct => "as themselves, to work",
        Mode::View => "as themselves, only what reads",
        Mode::ActAs => "impersonation: as your organisation, with a reason each time",
    };
    Choice { value: mode.code().into(), label: show::mode(mode).into(), note: note.into(), on }
}
