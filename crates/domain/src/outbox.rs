//! Who is told of what: the pushes that a row causes, written with it in one transaction.
//!
//! A push names a row's event as its recipient counts it, so nothing of what others read shows in
//! it. What it says is made from the log when it is sent: what was erased in between stays so.

use crate::event::Row;
use crate::ids::{OrganisationId, WebhookId};
use crate::state::State;
use crate::stream;

/// One event for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push {
    /// Who is told: the value of its identifier.
    pub recipient: u128,
    /// Which event of the row, counted among those that the recipient's owner reads.
    pub index: u32,
    /// The event's name.
    pub kind: &'static str,
}

/// What `row` makes to be told, judged by the state after it. Who became a recipient by this very
/// row is told from the next one on.
#[must_use]
pub fn pushes(before: &State, row: &Row, after: &State) -> Vec<Push> {
    let mut out = Vec::new();
    to_streams(before, row, after, &mut out);
    if after.webhooks.is_empty() {
        return out;
    }
    let mut to: Vec<OrganisationId> = row.events.iter().flat_map(|e| &e.readers).copied().collect();
    to.sort();
    to.dedup();
    for owner in std::iter::once(None).chain(to.into_iter().map(Some)) {
        for id in after.webhooks_of(owner) {
            if before.webhooks.get(id).is_some() {
                of_webhook(row, after, id, &mut out);
            }
        }
    }
    out
}

/// Streams count by themselves: among the endings of sessions for their application.
fn to_streams(before: &State, row: &Row, after: &State, out: &mut Vec<Push>) {
    let of = |session| after.sessions.get(session).map(|s| s.application);
    for (id, stream) in after.streams.iter() {
        if before.streams.get(id).is_none() {
            continue;
        }
        for (index, told) in (0u32..).zip(stream::read(id, stream.application, row, of)) {
            if stream::wants(stream, &told) {
                out.push(Push { recipient: id.0, index, kind: told.kind() });
            }
        }
    }
}

fn of_webhook(row: &Row, state: &State, id: WebhookId, out: &mut Vec<Push>) {
    let Some(webhook) = state.webhooks.get(id).filter(|w| w.is_told(state)) else {
        return;
    };
    let read = row.events.iter().filter(|e| webhook.owner.is_none_or(|o| e.readers.contains(&o)));
    for (index, recorded) in (0u32..).zip(read) {
        let kind = recorded.event.name();
        if webhook.wants(id, &recorded.event) {
            out.push(Push { recipient: id.0, index, kind });
        }
    }
}
