//! `POST /v1/erasures`: the words about somebody or something that is gone are erased for good.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use comity_app::App;
use comity_domain::command::Command;
use comity_domain::ids::{
    AccountId, OrganisationId, PersonId, RequestId, SessionId, UnitId, WebhookId,
};
use comity_domain::text::Subject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Who;
use crate::input::Body;
use crate::problem::Problem;

/// Whose words: exactly one, by Comity's identifier, which outlives the builder's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    organisation: Option<OrganisationId>,
    unit: Option<UnitId>,
    account: Option<AccountId>,
    person: Option<PersonId>,
    request: Option<RequestId>,
    session: Option<SessionId>,
    webhook: Option<WebhookId>,
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
        ];
        let mut named = all.into_iter().flatten();
        named.next().filter(|_| named.next().is_none())
    }
}

pub async fn erase(
    State(app): State<Arc<App>>,
    who: Who,
    Body(body): Body<Erase>,
) -> Result<Json<Value>, Problem> {
    let subject = body.subject().ok_or_else(|| {
        Problem::field(
            "body",
            "must name exactly one of organisation, unit, account, person, request, session and webhook",
        )
    })?;
    let done = who.run(&app, Command::EraseWords { subject }).await?;
    Ok(Json(json!({ "erased": subject, "seq": done.seq })))
}
