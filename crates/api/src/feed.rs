//! `GET /v1/events`: what happened, in order, each reader its own part. The position of an event
//! is its row's `seq`; asking again with the last one goes on behind it, waiting if asked to.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
pub(crate) use comity_app::telling::tell as show;
use comity_app::{App, Failure};
use comity_domain::command::Principal;
use comity_domain::ids::OrganisationId;
use comity_domain::may::{self, Action, Thing};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::Who;
use crate::input::{Query, organisation};
use crate::limits::Counted;
use crate::openapi::values;
use crate::page;
use crate::problem::Problem;
use crate::stream;

/// The longest wait, in seconds.
const MOST_WAIT: u64 = 25;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FeedQuery {
    /// Only rows of the log behind this one: `after` of the answer before.
    #[serde(default)]
    #[param(required = false, example = 0)]
    after: u64,
    /// Whose part; a person must say, a platform key reads all.
    #[param(nullable = false, example = "marina")]
    organisation: Option<String>,
    /// Of how many rows at most; 50 unless given.
    #[param(nullable = false, minimum = 1, maximum = 200, example = 50)]
    limit: Option<usize>,
    /// Seconds to wait for something new.
    #[serde(default)]
    #[param(required = false, maximum = 25, example = 0)]
    wait: u64,
}

/// What happened.
#[derive(Serialize, ToSchema)]
pub struct Events {
    /// In order.
    #[schema(value_type = Vec<ShownEvent>)]
    items: Vec<Value>,
    /// Where to go on: the next `after`.
    after: u64,
}

/// One thing that happened, as its reader may see it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "what `tell` makes, as the document tells it")]
#[schema(as = Event, examples(json!({ "seq": 12, "index": 0, "at": "2027-01-31T12:00:00.000Z", "command": "put_unit",
    "caller": { "principal": { "key": "key_01kf4e9ab7c3x8m2v5r6t0w1yz" }, "door": "api" },
    "event": { "event": "unit_made", "organisation": "org_01kf4e9ab7c3x8m2v5r6t0w1yz", "unit": "unit_01kf4e9ab7c3x8m2v5r6t0w1yz",
        "external": 0, "name": 1 },
    "words": { "0": "north-pier", "1": "North pier" } })))]
pub struct ShownEvent {
    /// Its row of the log.
    seq: u64,
    /// Its place among what the reader sees of that row.
    index: usize,
    #[schema(value_type = values::Instant)]
    at: String,
    /// The command that it came of.
    command: String,
    /// Who called, for the side that acted.
    #[schema(required, value_type = Option<values::Open>)]
    caller: Option<Value>,
    /// What happened: `event` is its name; texts are places in `words`.
    #[schema(value_type = values::Open)]
    event: Value,
    /// Names and free texts by their place, null once erased.
    #[schema(value_type = values::Open)]
    words: Value,
}

/// What happened.
///
/// Who may: provision, or Support of the organisation named. Each reader sees their own part. Ask again with the `after` of
/// the answer; with `wait` the answer comes as soon as there is something new, or empty after that time.
#[utoipa::path(get, path = "/v1/events", operation_id = "listEvents", tag = "Events", security(("key" = []), ("signIn" = [])),
    params(FeedQuery),
    responses((status = 200, description = "What there is; as a stream if `Accept` asks for it.", content((Events = "application/json"), (String = "text/event-stream")))))]
pub async fn events(
    State(app): State<Arc<App>>,
    who: Who,
    Counted(beside): Counted,
    headers: HeaderMap,
    Query(q): Query<FeedQuery>,
) -> Result<Response, Problem> {
    let limit = page::limit(q.limit)?;
    if q.wait > MOST_WAIT {
        return Err(Problem::field("wait", format!("must be at most {MOST_WAIT} seconds")));
    }
    let named = q.organisation.as_deref().map(|o| organisation(&app.state(), o)).transpose()?;
    allowed(&app, &who, named)?;
    if stream::is_wanted(&headers) {
        return stream::open(app, who, beside.limits, &headers, named, q.after);
    }
    let mut moved = app.node().moved();
    let end = tokio::time::sleep(Duration::from_secs(q.wait));
    tokio::pin!(end);
    loop {
        let position = *moved.borrow_and_update();
        let reading = app.clone();
        let rows =
            tokio::task::spawn_blocking(move || reading.reader().rows(named, q.after, limit)).await;
        let rows = rows
            .map_err(|e| Problem::from(Failure::Broken(e.to_string())))?
            .map_err(Failure::from)?;
        let waiting = rows.is_empty() && q.wait > 0;
        if waiting {
            let again = tokio::select! {
                changed = moved.changed() => changed.is_ok(),
                () = app.stopping() => false,
                () = &mut end => false,
            };
            // The right to read may have gone while waiting.
            allowed(&app, &who, named)?;
            if again {
                continue;
            }
        }
        let last = rows.last().map_or(position.max(q.after), |r| r.seq);
        let items = rows.iter().flat_map(|row| show(row, named)).collect();
        return Ok(Json(Events { items, after: last }).into_response());
    }
}

pub(crate) fn allowed(app: &App, who: &Who, named: Option<OrganisationId>) -> Result<(), Problem> {
    let (state, now) = (app.state(), app.now());
    may::authentic(&state, &who.0, now)?;
    match (named, who.0.principal) {
        // An application's key is told the same of an organisation that is there and one that is not.
        (named, Principal::Key(_)) => {
            let thing = named.map_or(Thing::platform(), Thing::organisation);
            Ok(may::check(&state, &who.0, Action::ReadAllEvents, thing, now)?)
        }
        (Some(organisation), _) => Ok(may::check(
            &state,
            &who.0,
            Action::ReadEvents,
            Thing::organisation(organisation),
            now,
        )?),
        (None, Principal::PartnerSession(_)) => {
            Err(comity_domain::refusal::Refusal::PartnerSession.into())
        }
        (None, _) => Err(Problem::field("organisation", "must say whose events you read")),
    }
}

#[cfg(test)]
mod tests {
    use comity_domain::command::Caller;
    use comity_domain::event::{Event, Recorded, Row};
    use comity_domain::ids::{CommandId, PersonId};
    use comity_domain::text::{Subject, Word};
    use comity_domain::time::Instant;
    use serde_json::json;

    use super::*;

    #[test]
    fn t01_places_do_not_say_that_the_row_held_something_for_others() {
        let [ours, theirs] = [OrganisationId(1), OrganisationId(2)];
        let (person, about) = (PersonId(3), Subject::Person(PersonId(3)));
        let renamed = |name, reader| Recorded {
            event: Event::PersonRenamed { person, name },
            readers: vec![reader],
        };
        let word =
            |event| Word { about, also: None, event, salt: [0; 16], text: Some("Zoë".into()) };
        let row = Row {
            seq: 1,
            at: Instant(0),
            command: CommandId(1),
            kind: "put_member".into(),
            caller: Caller::system(),
            acting: Vec::new(),
            events: vec![renamed(0, theirs), renamed(1, theirs), renamed(2, ours)],
            words: vec![word(0), word(1), word(2)],
        };
        let shown = show(&row, Some(ours));
        assert_eq!((shown.len(), &shown[0]["index"]), (1, &json!(0)));
        assert_eq!(
            (&shown[0]["event"]["name"], &shown[0]["words"]),
            (&json!(0), &json!({"0": "Zoë"}))
        );
        let all = show(&row, None);
        assert_eq!((&all[2]["event"]["name"], &all[2]["words"]), (&json!(2), &json!({"2": "Zoë"})));
    }
}
