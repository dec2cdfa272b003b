//! What happened, as a reader is told of it: in the feed, and in what is pushed. The same bytes for
//! both, so that nobody learns by one what the other keeps from them.

use std::collections::BTreeMap;

use comity_domain::event::{Event, Row};
use comity_domain::ids::OrganisationId;
use comity_domain::time::Instant;
use serde_json::{Map, Value, json};

/// An instant as RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn time(at: Instant) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "never".into(), |t| format!("{t:.3}"))
}

/// An event as it is told: what stands for a secret stays in the log.
fn without_digests(event: &Event) -> Value {
    let mut told = event.told();
    if let Value::Object(fields) = &mut told {
        fields.retain(|name, _| !matches!(name.as_str(), "digest" | "token"));
    }
    told
}

/// The events of a row that `scope` may read, with the words that belong to them.
#[must_use]
pub fn tell(row: &Row, scope: Option<OrganisationId>) -> Vec<Value> {
    let reads = |readers: &[OrganisationId]| scope.is_none_or(|s| readers.contains(&s));
    let caller = reads(&row.acting).then_some(&row.caller);
    let mut out = Vec::new();
    // Events and words are counted among what this reader sees: the rest is nobody else's business.
    let mut places = BTreeMap::new();
    for (ix, recorded) in row.events.iter().enumerate().filter(|(_, e)| reads(&e.readers)) {
        let mut words = Map::new();
        for (w, word) in (0u32..).zip(&row.words).filter(|(_, w)| w.event as usize == ix) {
            let place = places.len();
            places.insert(w, u32::try_from(place).unwrap_or(u32::MAX));
            words.insert(place.to_string(), word.text.as_deref().map_or(Value::Null, Value::from));
        }
        let mut event = recorded.event.clone();
        event.each_word(|w| *w = places.get(w).copied().unwrap_or(u32::MAX));
        out.push(json!({
            "seq": row.seq,
            "index": out.len(),
            "at": time(row.at),
            "command": row.kind,
            "caller": caller,
            "event": without_digests(&event),
            "words": words,
        }));
    }
    out
}
