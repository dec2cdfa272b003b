//! Delivering: what waits in the outbox is sent, tried again, and given up after a day.
//!
//! One thread asks the outbox and notes what came of each try; the calls themselves run beside it.
//! It never stands before the writer or a decision. Each push is taken under a lease of half a
//! minute, so of several nodes one sends it; if that one dies another does: at least once. One is
//! under way for each recipient at a time, so one that is slow holds up nobody else, and pushes
//! come in their order as long as none fails.
//!
//! What is said is made when it is sent, from the log as the recipient's owner may read it then:
//! what was erased stays so. Nothing is told of an ending that another node could still say yes to.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use comity_domain::command::{Caller, Command};
use comity_domain::ids::{StreamId, WebhookId};
use comity_domain::state::State;
use comity_domain::stream::{Stream, StreamStanding, StreamStop};
use comity_domain::time::{DAY, HOUR, Instant, MINUTE, SECOND};
use comity_domain::webhook::{Telling, Webhook};
use comity_store::postgres::Leases;
use comity_store::{Attempt, Outbox, Place, Reader, StoreError, Waiting};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::clock::{Clock, boot_millis};
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::outbound::{Answer, Outbound};
use crate::signing::Signer;
use crate::{random, streams, telling, webhooks};

/// After which time a push is tried again; then it is given up. Less than a day together (inv30).
pub(crate) const AGAIN: [i64; 8] =
    [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];
/// The longest that a recipient may ask to wait.
const LONGEST_WAIT: i64 = 12 * HOUR;
/// After this whatever waits is given up (inv30).
const GIVEN_UP: i64 = DAY;
/// How long a push is its sender's.
const LEASE: i64 = 30 * SECOND;
/// For how long a recipient that failed is left alone.
const MOST_HELD: i64 = MINUTE;
/// How many calls are under way at once.
const MOST_AT_ONCE: usize = 16;
/// How many pushes of one organisation are under way at once.
const MOST_OF_ONE: usize = 4;
/// How often it is looked whether something is due.
const BEAT: Duration = Duration::from_millis(100);
/// How often the house is cleaned.
const CLEAN_EVERY: i64 = MINUTE;
/// For how long what was delivered is kept.
const DELIVERED_KEPT: i64 = 7 * DAY;
/// For how long dead letters are kept.
const DEAD_KEPT: i64 = 30 * DAY;
/// A webhook that has taken nothing for so long is turned off.
const FAILING_LASTS: i64 = 5 * DAY;
/// How long what is under way may take at a stop.
const STOP_WITHIN_MS: i64 = 6_000;
/// After this no node that is still answered can lack a row, whatever the leases say: their longest
/// length, and how far clocks may stand apart.
pub(crate) const SURELY_KNOWN: i64 = 5 * SECOND;

/// A running deliverer, as others hold it.
#[derive(Debug)]
pub struct Deliveries {
    stop: Mutex<Option<Sender<Heard>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread hears.
pub(crate) enum Heard {
    Ended(Waiting, Answer),
    /// Somebody who fetches asks which rows may be told: those up to the second position, and of
    /// those up to the first what has stood for [`SURELY_KNOWN`].
    Sure(oneshot::Sender<Result<(u64, u64), StoreError>>),
    /// What became of what was fetched.
    Fetched(StreamId, Vec<streams::Became>, oneshot::Sender<Result<(), StoreError>>),
    Stop,
}

/// What the thread works with.
pub(crate) struct Parts {
    pub place: Place,
    pub node: Arc<Node>,
    pub keys: Arc<Keys>,
    pub clock: Arc<Clock>,
    pub outbound: Arc<Outbound>,
    pub metrics: Arc<Metrics>,
    pub issuer: String,
}

impl Deliveries {
    /// None: where nothing may be told.
    #[must_use]
    pub fn none() -> Self {
        Self { stop: Mutex::new(None), thread: Mutex::new(None) }
    }

    /// Starts delivering.
    ///
    /// # Errors
    /// If there is no thread to be had, or the outbox cannot be opened.
    pub(crate) fn start(parts: Parts) -> Result<Self, crate::StartError> {
        let outbox = Outbox::at(&parts.place)?;
        let io = |source| crate::StartError::Io { what: "the outbox's thread".into(), source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("push")
            .enable_all()
            .build()
            .map_err(io)?;
        let (sender, heard) = channel();
        let leases = match &parts.place {
            Place::Folder(_) => None,
            Place::Postgres(server, node) => Some(Leases::new(server, *node)),
        };
        let mut work = Work {
            outbox,
            reader: Reader::at(&parts.place),
            leases,
            runtime,
            ended: sender.clone(),
            under_way: HashSet::new(),
            held: HashMap::new(),
            seen: 0,
            last: 0,
            next: Instant(i64::MIN),
            clean: Instant(i64::MIN),
            signer: None,
            parts,
        };
        let thread = std::thread::Builder::new()
            .name("outbox".into())
            .spawn(move || {
                work.run(&heard);
                // A name that is being looked up cannot be called off; nobody waits for it.
                work.runtime.shutdown_background();
            })
            .map_err(io)?;
        Ok(Self { stop: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Asks the thread something; `None` where nothing is told, or not any more.
    pub(crate) async fn ask<T>(&self, what: impl FnOnce(oneshot::Sender<T>) -> Heard) -> Option<T> {
        let (reply, told) = oneshot::channel();
        let thread = self.stop.lock().ok()?.clone()?;
        thread.send(what(reply)).ok()?;
        told.await.ok()
    }

    /// Stops: what is under way comes to its end, or is sent once more by whoever is next.
    pub fn stop(&self) {
        if let Some(stop) = self.stop.lock().ok().and_then(|mut stop| stop.take()) {
            let _ = stop.send(Heard::Stop);
        }
        if let Some(thread) = self.thread.lock().ok().and_then(|mut thread| thread.take()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    parts: Parts,
    outbox: Outbox,
    reader: Reader,
    leases: Option<Leases>,
    runtime: Runtime,
    ended: Sender<Heard>,
    under_way: HashSet<u128>,
    /// Who was served last.
    last: u128,
    held: HashMap<u128, Instant>,
    /// The position at which the outbox was last looked at.
    seen: u64,
    /// When something is due that was seen there.
    next: Instant,
    clean: Instant,
    /// Who signs for streams.
    signer: Option<Signer>,
}

/// Who is told.
enum Recipient<'a> {
    Webhook(WebhookId, &'a Webhook),
    Stream(StreamId, &'a Stream),
}

impl<'a> Recipient<'a> {
    /// `None` for one that this node does not know, or not any more.
    fn of(state: &'a State, recipient: u128) -> Option<Self> {
        let (webhook, stream) = (WebhookId(recipient), StreamId(recipient));
        let known = state.webhooks.get(webhook).map(|w| Self::Webhook(webhook, w));
        known.or_else(|| state.streams.get(stream).map(|s| Self::Stream(stream, s)))
    }
}

/// What is to be sent where.
struct Rendered {
    url: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Work {
    fn run(&mut self, heard: &Receiver<Heard>) {
        let mut stopping = None;
        loop {
            let first = match heard.recv_timeout(BEAT) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            for one in first.into_iter().chain(heard.try_iter()) {
                match one {
                    Heard::Ended(of, answer) => {
                        self.under_way.remove(&of.recipient);
                        self.next = Instant(i64::MIN);
                        let noted = self.ended_with(&of, answer);
                        self.said(noted);
                    }
                    Heard::Sure(reply) => {
                        let known = self.parts.node.index().seq();
                        let sure = self.known_everywhere(known);
                        let _ = reply.send(sure.map(|sure| (known, sure)));
                    }
                    Heard::Fetched(stream, what, reply) => {
                        let _ = reply.send(self.fetched(stream, &what));
                    }
                    Heard::Stop => {
                        stopping = Some(boot_millis().saturating_add(STOP_WITHIN_MS));
                    }
                }
            }
            match stopping {
                Some(end) if self.under_way.is_empty() || boot_millis() >= end => return,
                Some(_) => {}
                None => {
                    let looked = self.look();
                    self.said(looked);
                }
            }
        }
    }

    fn said(&self, what: Result<(), StoreError>) {
        if let Err(error) = what {
            tracing::warn!(%error, "the outbox cannot be read or written");
        }
    }

    /// Takes what is due, if anything can be.
    fn look(&mut self) -> Result<(), StoreError> {
        let index = self.parts.node.index();
        // A node that does not know whether it is current tells nobody anything.
        if boot_millis() >= index.valid_until() {
            return Ok(());
        }
        let (known, now) = (index.seq(), self.parts.clock.now());
        let state = self.parts.node.state();
        if now >= self.clean {
            self.clean = now.plus(CLEAN_EVERY);
            self.clean(now)?;
        }
        if known == self.seen && now < self.next {
            return Ok(());
        }
        // Until it was looked through to its end, it is to be looked at again.
        self.next = Instant(i64::MIN);
        let mut waiting = self.outbox.recipients()?;
        // Whoever was served last comes last, so that a few slow ones keep nobody waiting for ever.
        let behind = waiting.partition_point(|(recipient, _)| *recipient <= self.last);
        waiting.rotate_left(behind);
        let sure = if waiting.is_empty() { known } else { self.known_everywhere(known)? };
        self.seen = known;
        self.next = Instant(i64::MAX);
        for (recipient, due) in waiting {
            let held = self.held.get(&recipient).copied().unwrap_or(Instant(i64::MIN)).max(due);
            if self.under_way.contains(&recipient) {
                continue;
            }
            if held > now {
                self.next = self.next.min(held);
            } else if self.under_way.len() >= MOST_AT_ONCE || self.has_enough(&state, recipient) {
                self.next = now;
            } else if let Err(error) = self.take(&state, recipient, (known, sure), now) {
                self.next = Instant(i64::MIN);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether as much is under way for the organisation that a recipient is of as one may have.
    fn has_enough(&self, state: &State, recipient: u128) -> bool {
        let owner = |r: u128| state.webhooks.get(WebhookId(r)).and_then(|w| w.owner);
        let own = owner(recipient);
        own.is_some() && self.under_way.iter().filter(|r| owner(**r) == own).count() >= MOST_OF_ONE
    }

    /// Up to which row every node that is answered has applied everything.
    fn known_everywhere(&mut self, known: u64) -> Result<u64, StoreError> {
        let others = match &mut self.leases {
            None => return Ok(known),
            Some(leases) => leases.others()?,
        };
        Ok(others.iter().map(|o| o.applied).fold(known, u64::min))
    }

    fn take(
        &mut self,
        state: &State,
        recipient: u128,
        (known, sure): (u64, u64),
        now: Instant,
    ) -> Result<(), StoreError> {
        let Some(told) = Recipient::of(state, recipient) else {
            return Ok(()); // another node knows more; what is forgotten here goes with its rows
        };
        match told {
            Recipient::Webhook(_, webhook) if !webhook.is_told(state) => {
                self.outbox.give_up(recipient, known, None, "turned_off", now)?;
                return Ok(());
            }
            Recipient::Stream(_, stream) => {
                if stream.standing == StreamStanding::Disabled {
                    let last = Some(streams::LAST_WORD);
                    self.outbox.give_up(recipient, known, last, "turned_off", now)?;
                }
                if !stream.is_pushed() || stream.standing == StreamStanding::Paused {
                    return Ok(()); // it is fetched, or waits until it is wanted
                }
                if !self.can_sign(state) {
                    self.next = self.next.min(now.plus(SECOND));
                    return Ok(());
                }
            }
            Recipient::Webhook(..) => {}
        }
        let until = now.plus(LEASE);
        let mut taken = self.outbox.claim(recipient, sure, now, until)?;
        if taken.is_none() && sure < known {
            let old = Instant(now.0.saturating_sub(SURELY_KNOWN));
            taken = self.outbox.claim(recipient, known, old, until)?;
            self.next = now; // soon everybody knows it
        }
        let Some(of) = taken else {
            // Another node has it, maybe; if that one dies, it is for us to come back.
            self.next = self.next.min(until);
            return Ok(());
        };
        self.last = recipient;
        let rendered = match told {
            Recipient::Webhook(id, webhook) => self.render(id, webhook, &of, now)?,
            Recipient::Stream(id, stream) => self.render_set(state, id, stream, &of)?,
        };
        // Last, so that what was read and signed counts: of a node that does not know any more
        // whether it is current, and by a key that is not in force any more, nothing is said.
        let signs = |s: &Signer| s.is_in_force(&self.parts.node.state());
        let by_whom =
            matches!(told, Recipient::Webhook(..)) || self.signer.as_ref().is_some_and(signs);
        if boot_millis() >= self.parts.node.index().valid_until() || !by_whom {
            let due = now.plus(SECOND);
            self.outbox.settle(
                &of,
                Attempt::Again { due, code: None, problem: "not_current" },
                now,
            )?;
            self.next = Instant(i64::MIN);
            return Ok(());
        }
        match rendered {
            Ok(rendered) => self.send(of, rendered),
            Err(problem) => {
                self.parts.metrics.pushed("dead");
                self.outbox.settle(&of, Attempt::Dead { code: None, problem }, now)?;
                self.next = Instant(i64::MIN);
            }
        }
        Ok(())
    }

    /// What a push says now.
    fn render(
        &self,
        id: WebhookId,
        webhook: &Webhook,
        of: &Waiting,
        now: Instant,
    ) -> Result<Result<Rendered, &'static str>, StoreError> {
        let state = self.parts.node.state();
        let Some(url) = state.words.get(webhook.url) else {
            return Ok(Err("address_erased"));
        };
        let rows = self.reader.rows(webhook.owner, of.seq.saturating_sub(1), 1)?;
        let row = rows.first().filter(|row| row.seq == of.seq);
        let told = row.and_then(|row| {
            let data = telling::tell(row, webhook.owner).into_iter().nth(of.index as usize)?;
            let (kind, at) = (&of.kind, telling::time(row.at));
            serde_json::to_string(&json!({ "type": kind, "timestamp": at, "data": data })).ok()
        });
        let Some(body) = told else {
            return Ok(Err("not_readable"));
        };
        let message = webhooks::message(id, of.seq, of.index);
        let keys = &self.parts.keys;
        let made = webhooks::headers(&self.reader, keys, (id, webhook), &message, &body, now)?;
        let Some(headers) = made else {
            return Ok(Err("no_secret"));
        };
        Ok(Ok(Rendered { url: url.to_owned(), headers, body }))
    }

    /// Whether something can be signed by the key in force; opens it if it has changed.
    fn can_sign(&mut self, state: &State) -> bool {
        if !self.signer.as_ref().is_some_and(|s| s.is_in_force(state)) {
            let opened = Signer::open(state, &self.reader, &self.parts.keys);
            self.signer = opened
                .inspect_err(|why| tracing::warn!(?why, "nothing can be signed for streams"))
                .ok();
        }
        self.signer.is_some()
    }

    /// What a stream is pushed now (RFC 8935).
    fn render_set(
        &self,
        state: &State,
        id: StreamId,
        stream: &Stream,
        of: &Waiting,
    ) -> Result<Result<Rendered, &'static str>, StoreError> {
        let Some(url) = stream.url.and_then(|url| state.words.get(url)) else {
            return Ok(Err("address_erased"));
        };
        let teller = streams::Teller { reader: &self.reader, state, issuer: &self.parts.issuer };
        let Some(claims) = teller.claims((id, stream), of.seq, of.index)? else {
            return Ok(Err("not_readable"));
        };
        let signed = self.signer.as_ref().and_then(|s| s.sign(streams::TYPE, &claims).ok());
        let Some(body) = signed else {
            return Ok(Err("not_signed"));
        };
        let mut headers = vec![
            ("content-type", "application/secevent+jwt".into()),
            ("accept", "application/json".into()),
        ];
        if let Some(name) = stream.header {
            let opened = streams::header(&self.reader, &self.parts.keys, id, name)?;
            let Some(value) = opened else {
                return Ok(Err("no_secret"));
            };
            headers.push(("authorization", value));
        }
        Ok(Ok(Rendered { url: url.to_owned(), headers, body }))
    }

    /// Notes what became of what was fetched.
    fn fetched(&self, id: StreamId, what: &[streams::Became]) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        for streams::Became { seq, index, refused } in what {
            if self.outbox.fetched(id.0, (*seq, *index), *refused, now)? {
                let outcome = if refused.is_some() { "dead" } else { "delivered" };
                self.parts.metrics.pushed(outcome);
            }
        }
        Ok(())
    }

    fn send(&mut self, of: Waiting, what: Rendered) {
        self.under_way.insert(of.recipient);
        let (outbound, ended) = (self.parts.outbound.clone(), self.ended.clone());
        self.runtime.spawn(async move {
            let answer = outbound.post(&what.url, &what.headers, what.body.into_bytes()).await;
            let _ = ended.send(Heard::Ended(of, answer));
        });
    }

    /// Notes what came of a try.
    fn ended_with(&mut self, of: &Waiting, answer: Answer) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let stream = self.parts.node.state().streams.get(StreamId(of.recipient)).is_some();
        let (code, asked, problem) = match answer {
            // A stream's receiver says by 202 and nothing else that it has taken a token.
            Answer::Status { code: code @ 200..300, .. } if !stream || code == 202 => {
                self.parts.metrics.pushed("delivered");
                self.held.remove(&of.recipient);
                self.outbox.settle(of, Attempt::Delivered { code }, now)?;
                self.outbox.took(of.recipient, true, now)?;
                return Ok(());
            }
            Answer::Status { code: 400, said: Some(error), .. }
                if stream && streams::is_final(error) =>
            {
                self.parts.metrics.pushed("dead");
                let dead = Attempt::Dead { code: Some(400), problem: error };
                return self.outbox.settle(of, dead, now);
            }
            Answer::Status { code: 410, .. } if !stream => {
                self.turn_off(of.recipient, Telling::Gone);
                (Some(410), None, "gone")
            }
            Answer::Status { code: code @ 300..400, .. } => (Some(code), None, "redirect"),
            Answer::Status { code, retry_after, said } => {
                let asked = retry_after.filter(|_| matches!(code, 429 | 503));
                (Some(code), asked, said.filter(|_| stream).unwrap_or("status"))
            }
            Answer::None(problem) => (None, None, problem),
        };
        let tried = usize::try_from(of.attempts).unwrap_or(usize::MAX);
        // A stream is tried for as long as anything is kept for it.
        let last = AGAIN.last().filter(|_| stream);
        let how = match AGAIN.get(tried.saturating_sub(1)).or(last) {
            Some(wait) if stream || code != Some(410) => {
                let asked = asked.map_or(0, |s| i64::from(s).saturating_mul(SECOND));
                let wait = jittered(*wait).max(asked.min(LONGEST_WAIT));
                self.held.insert(
                    of.recipient,
                    now.plus(wait.min(MOST_HELD.max(asked.min(LONGEST_WAIT)))),
                );
                Attempt::Again { due: now.plus(wait), code, problem }
            }
            _ => Attempt::Dead { code, problem },
        };
        let dead = matches!(how, Attempt::Dead { .. });
        self.parts.metrics.pushed(if dead { "dead" } else { "failed" });
        self.outbox.settle(of, how, now)?;
        if stream {
            return Ok(()); // what was not taken in time turns it off
        }
        let since = self.outbox.took(of.recipient, false, now)?;
        if since.is_some_and(|since| now.since(since) >= FAILING_LASTS) {
            self.turn_off(of.recipient, Telling::Failing);
        }
        Ok(())
    }

    fn turn_off(&self, recipient: u128, standing: Telling) {
        let node = self.parts.node.clone();
        let command = Command::StopWebhook { webhook: WebhookId(recipient), standing };
        self.runtime.spawn(async move { node.run(Caller::system(), command).await });
    }

    fn stop_stream(&self, stream: StreamId) {
        let node = self.parts.node.clone();
        let command = Command::StopStream { stream, why: StreamStop::NotTaken };
        self.runtime.spawn(async move { node.run(Caller::system(), command).await });
    }

    fn clean(&mut self, now: Instant) -> Result<(), StoreError> {
        let before = |kept: i64| Instant(now.0.saturating_sub(kept));
        let state = self.parts.node.state();
        for (recipient, _) in self.outbox.recipients()? {
            if let Some(stream) = state.streams.get(StreamId(recipient))
                && stream.standing != StreamStanding::Disabled
            {
                // First it is said that something is lost, then it is given up.
                let oldest = self.reader.outbox_counts(Some(recipient))?.oldest;
                if oldest.is_some_and(|oldest| oldest < before(streams::KEPT)) {
                    self.stop_stream(StreamId(recipient));
                }
                continue;
            }
            let stream = state.streams.get(StreamId(recipient)).is_some();
            let kept = if stream { streams::KEPT } else { GIVEN_UP };
            let gone = self.outbox.expire(recipient, before(kept), now)?;
            (0..gone).for_each(|_| self.parts.metrics.pushed("dead"));
        }
        self.outbox.sweep(before(DELIVERED_KEPT), before(DEAD_KEPT))?;
        self.held.retain(|_, until| *until > now);
        let counts = self.reader.outbox_counts(None)?;
        self.parts.metrics.outbox(counts.waiting, counts.dead, counts.oldest);
        Ok(())
    }
}

/// A little less or more, so that not everything that failed together comes again together.
pub(crate) fn jittered(wait: i64) -> i64 {
    let [byte] = random::bytes::<1>();
    // From nine tenths to one and a twentieth: eight tries stay below a day.
    wait.saturating_mul(900 + i64::from(byte) * 150 / 255) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv30_what_nobody_takes_is_given_up_within_a_day() {
        let longest: i64 = AGAIN.iter().map(|wait| wait * 105 / 100).sum();
        assert!(longest < GIVEN_UP, "{longest}");
        for wait in AGAIN {
            let all: Vec<i64> = (0..200).map(|_| jittered(wait)).collect();
            assert!(all.iter().all(|w| (wait * 9 / 10..=wait * 105 / 100).contains(w)));
            assert!(all.iter().any(|w| *w != wait));
        }
    }
}
