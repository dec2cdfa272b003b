// Written by `make clients` from the server's /openapi.json: change nothing here.

use serde::{Deserialize, Serialize};

/// An action.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ActionName {
    /// A permission, `resource:verb`.
    pub name: String,
}

/// What is read of a context; more may be there.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Context {
    /// A position of the log that the answer has to reflect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u64>,
}

/// A decision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decision {
    /// Yes or no.
    pub decision: bool,
    /// Why, and about whom.
    pub context: DecisionContext,
}

/// What comes with a decision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DecisionContext {
    /// The stable code of the reason.
    pub reason: String,
    /// A sentence for the person who was refused.
    pub message: String,
    /// The position of the log that the answer reflects, or a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Who really acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Somebody>,
    /// As whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Somebody>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The grant that it runs under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// In which organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationId>,
    /// The session's mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// When the session ends by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Why this one of several questions could not be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
}

/// Several decisions, in the order of the questions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decisions {
    /// As many as were evaluated.
    pub evaluations: Vec<Decision>,
}

/// A subject or a resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entity {
    /// A subject is a `partner_session`, `session` or `person`; a resource an `account` or
    /// `organisation`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its identifier. A search needs none of what it searches, and passes it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Properties>,
}

/// One question.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Evaluation {
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Entity>,
    /// What.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionName>,
    /// To what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Entity>,
    /// Under which circumstances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
}

/// Several questions. What stands outside of the list is the default for each question in it.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Evaluations {
    /// Who, where a question does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Entity>,
    /// What, where a question does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionName>,
    /// To what, where a question does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Entity>,
    /// Under which circumstances, where a question does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// At most 1,000. Without any, the request is a single evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluations: Option<Vec<Evaluation>>,
    /// How they are carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
}

/// Comity's identifier of a grant.
pub type GrantId = String;

/// Why one of several questions could not be answered: it counts as no.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ItemError {
    /// The status that the question would have got by itself.
    pub status: u64,
    /// What is wrong.
    pub message: String,
}

/// How a person stays in a customer. `direct`: as oneself; `view`: as oneself, reading only;
/// `act_as`: as the customer organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `direct`.
    Direct,
    /// `view`.
    View,
    /// `act_as`.
    ActAs,
}

/// What is read of the options; more may be there.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Options {
    /// Where to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluations_semantic: Option<Semantic>,
}

/// Comity's identifier of an organisation.
pub type OrganisationId = String;

/// What is read of an entity's properties; others may be there.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub struct Properties {
    /// Of a resource: the organisation that it belongs to, by Comity's identifier or the
    /// builder's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<String>,
}

/// Where to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Semantic {
    /// `execute_all`.
    ExecuteAll,
    /// `deny_on_first_deny`.
    DenyOnFirstDeny,
    /// `permit_on_first_permit`.
    PermitOnFirstPermit,
}

/// Comity's identifier of a session.
pub type SessionId = String;

/// A person or an organisation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Somebody {
    /// `person` or `organisation`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Comity's identifier.
    pub id: String,
}
