//! An address that is told no more hears of it once (T57): by the event's name and whose it was, and
//! not by what took its place.

use comity_domain::ids::WebhookId;
use comity_domain::time::{Instant, SECOND};
use comity_store::{Farewell, StoreError};
use serde_json::json;

use super::{AGAIN, GIVEN_UP, Heard, LEASE, SURELY_KNOWN, Work, jittered};
use crate::outbound::Answer;
use crate::{telling, webhooks};

/// How often it is looked for them when nothing happens.
const LOOK_EVERY: i64 = SECOND;
/// How many are sent at a look.
const MOST: usize = 8;

impl Work {
    /// Sends those that are due, once no node can still tell that address anything.
    pub(super) fn farewells(&mut self, now: Instant) -> Result<(), StoreError> {
        self.farewells_at = now.plus(LOOK_EVERY);
        let upto = if self.leases.is_some() { now.plus(-SURELY_KNOWN) } else { now };
        for _ in 0..MOST {
            let Some(of) = self.outbox.farewell(now, upto, now.plus(LEASE))? else {
                return Ok(());
            };
            let id = WebhookId(of.recipient);
            let body = json!({ "type": of.kind, "timestamp": telling::time(of.at),
                "data": { "seq": of.seq, "webhook": id, "told_no_more": true } })
            .to_string();
            let message = format!("{}_bye", webhooks::message(id, of.seq, 0));
            match webhooks::farewell(&self.parts.keys, &of, &message, &body, now) {
                None => self.outbox.farewell_tried(&of, None)?, // none that it would believe
                Some(headers) => {
                    let (outbound, ended) = (self.parts.outbound.clone(), self.ended.clone());
                    self.runtime.spawn(async move {
                        let answer = outbound.post(&of.url, &headers, body.into_bytes()).await;
                        let _ = ended.send(Heard::Parted(of, answer));
                    });
                }
            }
        }
        Ok(())
    }

    /// Notes what came of a try: it is tried as often as any push, and for a day at most.
    pub(super) fn parted(&mut self, of: &Farewell, answer: Answer) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let taken = matches!(answer, Answer::Status { code: 200..300 | 410, .. });
        let tried = usize::try_from(of.attempts).unwrap_or(usize::MAX);
        let wait = AGAIN.get(tried.saturating_sub(1)).filter(|_| now.since(of.at) < GIVEN_UP);
        let due = wait.filter(|_| !taken).map(|wait| now.plus(jittered(*wait)));
        let how = match (taken, due) {
            (true, _) => "delivered",
            (false, Some(_)) => "failed",
            (false, None) => "dead",
        };
        self.parts.metrics.pushed(how);
        self.outbox.farewell_tried(of, due)
    }
}
