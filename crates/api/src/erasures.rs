//! `POST /v1/erasures`: the words about somebody or something that is gone are erased for good.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::ids::{
    AccountId, InvitationId, OrganisationId, PersonId, RequestId, SessionId, StreamId, UnitId,
    WebhookId,
};
use comity_domain::text::Subject;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::Body;
use crate::openapi::values;
use crate::problem::Problem;

/// Whose words: exactly one, by Comity's identifier, which outlives the builder's.
#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({ "person": "per_01kf4e9ab7c3x8m2v5r6t0w1yz" })))]
#[serde(deny_unknown_fields)]
pub struct Erase {
    #[schema(value_type = Option<values::OrganisationId>)]
    organisation: Option<OrganisationId>,
    #[schema(value_type = Option<values::UnitId>)]
    unit: Option<UnitId>,
    #[schema(value_type = Option<values::AccountId>)]
    account: Option<AccountId>,
    #[schema(value_type = Option<values::PersonId>)]
    person: Option<PersonId>,
    #[schema(value_type = Option<values::RequestId>)]
    request: Option<RequestId>,
    #[schema(value_type = Option<values::SessionId>)]
    session: Option<SessionId>,
    #[schema(value_type = Option<values::WebhookId>)]
    webhook: Option<WebhookId>,
    #[schema(value_type = Option<values::StreamId>)]
    stream: Option<StreamId>,
    #[schema(value_type = Option<values::InvitationId>)]
    invitation: Option<InvitationId>,
}

/// Whose words are gone.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({ "erased": { "person": "per_01kf4e9ab7c3x8m2v5r6t0w1yz" }, "seq": 1042 })))]
pub struct Erased {
    /// What was named, as it was named.
    #[schema(value_type = Erase)]
    erased: Subject,
    /// The position of the log that holds the erasure.
    seq: u64,
}

impl Erase {
    fn subject(self) -> Option<Subject> {
        let all = [
            self.organisation.map(Subject::Organisation),
            self.unit.map(Subject::Unit),
            self.account.map(Subject::Account),
            self.person.map(Subject::Person),
            self.request.map(Subject::Request),
            self.session.map(Subject::Session),
            self.webhook.map(Subject::Webhook),
            self.stream.map(Subject::Stream),
            self.invitation.map(Subject::Invitation),
        ];
        let mut named = all.into_iter().flatten();
        named.next().filter(|_| named.next().is_none())
    }
}

/// Erase the words about somebody or something.
///
/// Who may: provision. Names, addresses and free words go for good; the facts stay, and the log's proof holds. Exactly one
/// is named, and it has to be over: `in_use` says what to do first, `evidence` that a lock keeps it.
#[utoipa::path(post, path = "/v1/erasures", operation_id = "erase", tag = "Provisioning", security(("key" = [])),
    request_body = Erase,
    responses((status = 200, description = "They are gone.", body = Erased)),
    extensions(("x-refusals" = json!("not_found in_use evidence"))))]
pub async fn erase(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<Erase>,
) -> Result<Json<Erased>, Problem> {
    let subject = body.subject().ok_or_else(|| {
        Problem::field(
            "body",
            "must name exactly one of organisation, unit, account, person, request, session, webhook, stream and invitation",
        )
    })?;
    let done = who.run(&app, Command::EraseWords { subject }).await?;
    Ok(Json(Erased { erased: subject, seq: done.seq }))
}
