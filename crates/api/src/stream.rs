//! `GET /v1/events` as server-sent events (WHATWG HTML, section 9.2): the same items as the list,
//! one frame for each row, as long as the client reads and may.
//!
//! `id` is the position that `after` would be: the row's `seq`, on the last event of the row, so
//! that whoever comes back with `Last-Event-ID` misses nothing and is at most told a row again of
//! which they had a part. Nothing is kept for a client that does not read: one frame waits, and who
//! does not take it in time is let go, to come back by position.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use comity_app::App;
use comity_domain::event::Row;
use comity_domain::ids::OrganisationId;
use serde_json::Value;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;

use crate::auth::Who;
use crate::feed;
use crate::limits::Limits;
use crate::problem::Problem;

/// How long nothing is said at most.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a frame waits to be taken.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// How long a stream leaves between one look at the log and the next: commits come faster than
/// each of hundreds of streams should read.
const BREATH: Duration = Duration::from_millis(50);
/// How many rows are read at once.
const STEP: usize = 50;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx not to hold frames back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

type Frame = Result<Bytes, Infallible>;

/// Whether the client wants a stream.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let mut kinds = accepted.flat_map(|v| v.split(',')).filter_map(|v| v.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// The position that a client had reached, if it comes back.
fn last_event(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut all = headers.get_all(LAST_EVENT_ID).iter();
    let Some(first) = all.next() else {
        return Ok(None);
    };
    let read = first.to_str().ok().filter(|_| all.next().is_none());
    let position = match read.map(str::trim) {
        Some("") => return Ok(None),
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    let wrong = || Problem::field("Last-Event-ID", "must be the id of an event of this stream");
    position.map(Some).ok_or_else(wrong)
}

/// A reader of the log who stays.
struct Stay {
    app: Arc<App>,
    who: Who,
    named: Option<OrganisationId>,
    limits: Arc<Limits>,
    frames: Sender<Frame>,
    /// Up to where everything was told.
    after: u64,
}

/// Begins a stream. The caller was found to be allowed to read.
pub fn open(
    app: Arc<App>,
    who: Who,
    limits: Arc<Limits>,
    headers: &HeaderMap,
    named: Option<OrganisationId>,
    after: u64,
) -> Result<Response, Problem> {
    let after = last_event(headers)?.unwrap_or(after);
    let place = limits.stream(&who.0)?;
    let (frames, taken) = channel(1);
    let mut stay = Stay { app, who, named, limits, frames, after };
    tokio::spawn(async move {
        stay.tell().await;
        drop(place);
    });
    let heads = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((heads, Body::from_stream(ReceiverStream::new(taken))).into_response())
}

impl Stay {
    /// Whether the caller may still read, as far as this node knows, and it has to know: a sign-in
    /// or key that was withdrawn, a membership that was lost, and a node that is no longer current
    /// end the stream (T25, T35).
    fn may(&self) -> bool {
        self.app.is_current() && feed::allowed(&self.app, &self.who, self.named).is_ok()
    }

    /// Tells what there is and waits for more, until the client or the right to read is gone.
    async fn tell(&mut self) {
        let mut moved = self.app.node().moved();
        let mut due = true;
        let mut beat = Box::pin(tokio::time::sleep(HEARTBEAT));
        loop {
            let position = *moved.borrow_and_update();
            if !self.may() {
                return;
            }
            let Some(rows) = self.read().await else {
                return;
            };
            for row in &rows {
                if !self.send(frame(row, self.named)).await {
                    return;
                }
                self.after = row.seq;
            }
            if !rows.is_empty() {
                due = false;
                beat = Box::pin(tokio::time::sleep(HEARTBEAT));
                continue;
            }
            // What is others' moves the position too, as it does in the list.
            self.after = self.after.max(position);
            if due {
                if !self.send(heartbeat(self.after)).await {
                    return;
                }
                due = false;
                beat = Box::pin(tokio::time::sleep(HEARTBEAT));
            }
            tokio::select! {
                changed = moved.changed() => {
                    if changed.is_err() || !self.may() {
                        return;
                    }
                    tokio::time::sleep(BREATH).await;
                }
                () = &mut beat => due = true,
                () = self.app.stopping() => return,
                () = self.frames.closed() => return,
            }
        }
    }

    async fn read(&self) -> Option<Vec<Row>> {
        let _turn = self.limits.feed_reads().acquire().await.ok()?;
        let (app, named, after) = (self.app.clone(), self.named, self.after);
        let read = move || app.reader().rows(named, after, STEP);
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(rows)) => Some(rows),
            Ok(Err(error)) => {
                tracing::error!(%error, "an event stream ends: the log cannot be read");
                None
            }
            Err(_) => None,
        }
    }

    /// Hands one frame over, if it is taken in time and may be said until then.
    async fn send(&self, frame: String) -> bool {
        let mut moved: watch::Receiver<u64> = self.app.node().moved();
        moved.mark_unchanged();
        let late = tokio::time::sleep(TAKEN_WITHIN);
        tokio::pin!(late);
        loop {
            tokio::select! {
                biased;
                () = self.app.stopping() => return false,
                room = self.frames.reserve() => {
                    let Ok(room) = room else {
                        return false; // gone
                    };
                    if !self.may() {
                        return false;
                    }
                    room.send(Ok(frame.into()));
                    return true;
                }
                changed = moved.changed() => {
                    if changed.is_err() || !self.may() {
                        return false;
                    }
                }
                () = &mut late => return false,
            }
        }
    }
}

/// The events of a row as one frame.
fn frame(row: &Row, named: Option<OrganisationId>) -> String {
    let items = feed::show(row, named);
    let mut text = String::new();
    for (ix, item) in items.iter().enumerate() {
        let kind = item.event["event"].as_str().unwrap_or("message");
        if ix + 1 == items.len() {
            let _ = writeln!(text, "id: {}", row.seq);
        }
        let data = serde_json::to_string(item).unwrap_or_else(|_| Value::Null.to_string());
        let _ = write!(text, "event: {kind}\ndata: {data}\n\n");
    }
    text
}

/// That the stream is alive, and how far it has come.
fn heartbeat(position: u64) -> String {
    format!(": \nid: {position}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_a_stream_and_where_they_come_back_to_is_read_strictly() {
        let with = |name: HeaderName, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, HeaderValue::from_static(value));
            }
            headers
        };
        assert!(is_wanted(&with(header::ACCEPT, &["text/event-stream"])));
        assert!(is_wanted(&with(
            header::ACCEPT,
            &["application/json", "Text/Event-Stream; q=0.5"]
        )));
        assert!(!is_wanted(&with(header::ACCEPT, &["application/json, */*"])));
        assert!(!is_wanted(&HeaderMap::new()));
        for (sent, read) in [("7", Some(7)), ("", None), (" 8 ", Some(8))] {
            assert_eq!(last_event(&with(LAST_EVENT_ID, &[sent])).unwrap(), read, "{sent:?}");
        }
        for bad in [&["-1"][..], &["x"], &["7", "8"], &["99999999999999999999999"], &["+7"]] {
            assert!(last_event(&with(LAST_EVENT_ID, bad)).is_err(), "{bad:?}");
        }
    }
}
