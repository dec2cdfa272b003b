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
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Who;
use crate::input::{Query, organisation};
use crate::limits::Counted;
use crate::page;
use crate::problem::Problem;
use crate::stream;

/// The longest wait, in seconds.
const MOST_WAIT: u64 = 25;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedQuery {
    #[serde(default)]
    after: u64,
    /// Whose part; a person must say, a platform key reads all.
    organisation: Option<String>,
    limit: Option<usize>,
    /// Seconds to wait for something new.
    #[serde(default)]
    wait: u64,
}

pub async fn events(
    State(app): State<Arc<App>>,
    who: Who,
    counted: Counted,
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
        return stream::open(app, who, counted.limits, &headers, named, q.after);
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
        let items: Vec<Value> = rows.iter().flat_map(|row| show(row, named)).collect();
        return Ok(Json(json!({ "items": items, "after": last })).into_response());
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
