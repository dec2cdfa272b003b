//! `POST /access/v1/evaluations`: several questions in one request.
//!
//! Each question that is evaluated counts as one call, exactly as if it had been asked by itself
//! (T24); one that a semantic made needless is not evaluated and counts nothing. What cannot be
//! answered is a no in its place, with the error beside it, never a hole in the list.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_domain::ids::ApplicationId;
use comity_domain::refusal::Reason;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ActionName, Asker, Context, Decision, DecisionContext, Entity, Evaluation, ItemError, Patience,
    Question, answer, not_now, single,
};
use crate::input::Body;
use crate::problem::Problem;

/// How many questions one request may hold.
pub const MOST_ITEMS: usize = 1_000;

/// Several questions. What stands outside of the list is the default for each question in it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Evaluations {
    /// Who, where a question does not say.
    subject: Option<Entity>,
    /// What, where a question does not say.
    action: Option<ActionName>,
    /// To what, where a question does not say.
    resource: Option<Entity>,
    /// Under which circumstances, where a question does not say.
    context: Option<Context>,
    /// At most 1,000. Without any, the request is a single evaluation.
    evaluations: Option<Vec<Evaluation>>,
    /// How they are carried out.
    options: Option<Options>,
}

/// What is read of the options; more may be there.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Options {
    /// Where to stop.
    evaluations_semantic: Option<Semantic>,
}

/// Where to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Semantic {
    /// Nowhere.
    #[default]
    ExecuteAll,
    /// After the first no, an error included.
    DenyOnFirstDeny,
    /// After the first yes.
    PermitOnFirstPermit,
}

/// Several decisions, in the order of the questions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Decisions {
    /// As many as were evaluated.
    evaluations: Vec<Decision>,
}

impl Evaluations {
    fn question<'a>(&'a self, item: &'a Evaluation) -> Result<Question<'a>, Problem> {
        Question::read(
            item.subject.as_ref().or(self.subject.as_ref()),
            item.action.as_ref().or(self.action.as_ref()),
            item.resource.as_ref().or(self.resource.as_ref()),
            item.context.as_ref().or(self.context.as_ref()),
        )
    }
}

/// What comes back: a list for a list, and for a single question its answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, clippy::large_enum_variant, reason = "how the document tells it")]
pub enum OneOrSeveral {
    /// For a list.
    Several(Decisions),
    /// For a single question.
    One(Decision),
}

/// A question that has no answer: no.
fn unanswered(problem: &Problem) -> Decision {
    let error = ItemError { status: problem.status().as_u16(), message: problem.detail().into() };
    let context = DecisionContext {
        reason: problem.code().into(),
        message: problem.detail().into(),
        error: Some(error),
        ..DecisionContext::default()
    };
    Decision { decision: false, context }
}

/// Decides several calls and counts each that it evaluates.
#[utoipa::path(
    post, path = "/access/v1/evaluations", tag = "Standards", security(("key" = []), ("basic" = [])), operation_id = "evaluateMany",
    summary = "Decide several calls",
    description = "Each question is answered in its place (AuthZEN 1.0, Access Evaluations API). An error of one question \
        is a no with `context.error`; without `evaluations` the answer is that of a single evaluation.",
    request_body(content = Evaluations, example = json!({ "subject": { "type": "partner_session", "id": "cmt_session_…" },
        "action": { "name": "boats:read" }, "evaluations": [{ "resource": { "type": "account", "id": "boat-1" } },
        { "resource": { "type": "account", "id": "boat-2" } }], "options": { "evaluations_semantic": "execute_all" } })),
    responses(
        (status = 200, description = "Decided", body = OneOrSeveral),
    ),
    extensions(("x-refusals" = json!("stale"))),
)]
pub async fn evaluations(
    State(app): State<Arc<App>>,
    Asker(application): Asker,
    Body(asked): Body<Evaluations>,
) -> Result<Response, Problem> {
    let Some(items) = asked.evaluations.as_ref().filter(|items| !items.is_empty()) else {
        let Evaluations { subject, action, resource, context, .. } = asked;
        let one = Evaluation { subject, action, resource, context };
        return single(&app, application, &one).await;
    };
    if items.len() > MOST_ITEMS {
        return Err(Problem::field("evaluations", "may hold at most 1000 questions"));
    }
    let questions: Vec<_> = items.iter().map(|item| asked.question(item)).collect();
    let semantic = asked.options.as_ref().and_then(|o| o.evaluations_semantic).unwrap_or_default();
    let evaluations = several(&app, application, questions, semantic).await?;
    Ok(Json(Decisions { evaluations }).into_response())
}

async fn several(
    app: &App,
    application: ApplicationId,
    questions: Vec<Result<Question<'_>, Problem>>,
    semantic: Semantic,
) -> Result<Vec<Decision>, Problem> {
    // One wait for all of them: whoever could make each wait in turn would hold the request for long.
    let furthest = questions.iter().flatten().map(|q| q.at_least).max().unwrap_or(0);
    if furthest > 0 {
        app.reached(furthest).await;
    }
    let seq = app.state().seq;
    let mut patience = Patience::with(questions.len());
    let mut decisions = Vec::with_capacity(questions.len());
    for question in questions {
        let decision = match question {
            Err(problem) => unanswered(&problem),
            Ok(question) if question.at_least > seq => unanswered(&not_now(Reason::Stale)),
            Ok(question) => {
                let answer = answer(app, application, &question, &mut patience).await;
                match answer.reason {
                    Reason::Stale | Reason::Busy => unanswered(&not_now(answer.reason)),
                    _ => Decision::of(&answer),
                }
            }
        };
        let over = match semantic {
            Semantic::ExecuteAll => false,
            Semantic::DenyOnFirstDeny => !decision.decision,
            Semantic::PermitOnFirstPermit => decision.decision,
        };
        decisions.push(decision);
        if over {
            break;
        }
    }
    Ok(decisions)
}
