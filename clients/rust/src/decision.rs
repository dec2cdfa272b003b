//! What Comity answers, and how an answer is read: whatever is not clearly a yes is a no.

use serde_json::{Map, Value};

use crate::wire;

/// The answer to "may this session do this to that, now?".
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Yes(Yes),
    /// It may not, or nobody can tell.
    No(No),
}

/// Somebody, by Comity's identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// `person` or `organisation`.
    pub kind: String,
    /// Such as `per_…` or `org_…`.
    pub id: String,
}

/// In what way the partner is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As themselves, to work.
    Direct,
    /// As themselves, reading only.
    View,
    /// In the customer's place.
    ActAs,
}

impl Mode {
    pub(crate) fn named(code: &str) -> Option<Self> {
        [Self::Direct, Self::View, Self::ActAs].into_iter().find(|m| m.code() == code)
    }

    /// The word for it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::View => "view",
            Self::ActAs => "act_as",
        }
    }
}

/// A yes. It always says who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Yes {
    /// The real person, in every mode.
    pub actor: Entity,
    /// Who acts towards your product: the person, or in `act_as` the customer organisation.
    pub subject: Entity,
    /// The customer, by Comity's identifier. Whatever you read or change must belong to it.
    pub organisation: String,
    /// The stay.
    pub session: String,
    /// The grant that it stands on.
    pub grant: String,
    /// In what way.
    pub mode: Mode,
    /// When the stay ends at the latest, RFC 3339.
    pub deadline: String,
    /// The position of the log that was decided on.
    pub seq: u64,
}

/// A no.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct No {
    /// Comity's stable code, or one of this library's: `unavailable` (no answer that can be trusted
    /// came in time) and `invalid` (the question itself cannot be asked).
    pub reason: String,
    /// A sentence for the user; may be empty.
    pub message: String,
    /// Why it is `unavailable`: `timeout`, `connection`, `malformed`, `too_large`, `stale`, `busy`
    /// or `status_…`.
    pub cause: Option<String>,
}

impl Decision {
    /// Whether it is a yes.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Yes(_))
    }

    /// The stable code: `allowed` for a yes.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Yes(_) => "allowed",
            Self::No(no) => &no.reason,
        }
    }

    /// Why nobody can tell, where that is so.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Yes(_) => None,
            Self::No(no) => no.cause.as_deref(),
        }
    }

    pub(crate) fn no(reason: &str, message: &str) -> Self {
        Self::No(No { reason: reason.to_owned(), message: message.to_owned(), cause: None })
    }

    pub(crate) fn unavailable(cause: impl Into<String>) -> Self {
        let message = "Access cannot be checked right now. Try again.".to_owned();
        Self::No(No { reason: "unavailable".to_owned(), message, cause: Some(cause.into()) })
    }

    pub(crate) fn invalid(message: &str) -> Self {
        Self::no("invalid", message)
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name)?.as_str().filter(|t| !t.is_empty()).map(str::to_owned)
}

fn entity(somebody: Option<wire::Somebody>) -> Option<Entity> {
    let wire::Somebody { kind, id } = somebody?;
    Some(Entity { kind: said(Some(kind))?, id: said(Some(id))? })
}

fn said(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}

/// A yes with everything that belongs to it, or nothing.
fn yes(answer: &Value) -> Option<Yes> {
    let wire::Decision { decision, context } = serde_json::from_value(answer.clone()).ok()?;
    (decision && context.reason == "allowed").then_some(())?;
    Some(Yes {
        actor: entity(context.actor)?,
        subject: entity(context.subject)?,
        organisation: said(context.organisation)?,
        session: said(context.session)?,
        grant: said(context.grant)?,
        mode: match context.mode? {
            wire::Mode::Direct => Mode::Direct,
            wire::Mode::View => Mode::View,
            wire::Mode::ActAs => Mode::ActAs,
        },
        deadline: said(context.deadline)?,
        seq: context.seq?,
    })
}

/// Reads one answer. A yes that contradicts itself or does not say who acts is none.
pub(crate) fn read(answer: &Value) -> Decision {
    let malformed = || Decision::unavailable("malformed");
    let Some(decision) = answer.get("decision").and_then(Value::as_bool) else {
        return malformed();
    };
    let none = Map::new();
    let context = match answer.get("context") {
        None | Some(Value::Null) => &none,
        Some(Value::Object(context)) => context,
        Some(_) => return malformed(),
    };
    if decision {
        return yes(answer).map_or_else(malformed, Decision::Yes);
    }
    let reason = text(context, "reason").or_else(|| code(context.get("error")?.as_object()?));
    match reason.as_deref() {
        Some("allowed") => malformed(),
        Some(not_now @ ("stale" | "busy")) => Decision::unavailable(not_now),
        reason => {
            Decision::no(reason.unwrap_or("denied"), &text(context, "message").unwrap_or_default())
        }
    }
}

/// `AuthZEN` reports a question of several that could not be answered as an error in its context.
fn code(error: &Map<String, Value>) -> Option<String> {
    let refused = error.get("status").and_then(Value::as_u64).is_some_and(|s| s < 500);
    text(error, "code").or_else(|| Some(if refused { "invalid" } else { "stale" }.to_owned()))
}
