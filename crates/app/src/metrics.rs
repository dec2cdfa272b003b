//! Figures for monitoring, in a registry of the installation's own.
//!
//! No label carries an identifier, a name, a word or an address: every label's values are words of
//! this program. A decision costs one relaxed addition here, and takes no lock.
//!
//! Whoever owns a figure calls one plain method; [`Metrics::text`] writes all of them in the
//! OpenMetrics text format 1.0, which Prometheus reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use comity_domain::refusal::Reason;
use comity_domain::time::Instant;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<const N: usize> = [(&'static str, String); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;

/// Upper bounds of the time that an evaluation takes, in seconds.
const EVALUATION: [f64; 10] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25];
/// Upper bounds of the time that a commit takes, in seconds.
const COMMIT: [f64; 10] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];
/// Upper bounds of the time that an answer waits for other nodes, in seconds.
const BARRIER: [f64; 10] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.2];
/// Upper bounds of how many commands one transaction takes.
const BATCH: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was written.
    Done,
    /// It was accepted and changed nothing.
    Nothing,
    /// A rule refused it.
    Refused,
    /// It was not carried out and may be tried again.
    Unavailable,
    /// It was carried out or it was not.
    Unknown,
}

impl Outcome {
    /// Its value of the label `outcome`.
    fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Nothing => "nothing",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        }
    }
}

/// What is looked up at the moment when the figures are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// The last row.
    pub head_seq: u64,
    /// For how many milliseconds from now decisions are still answered; 0 when they are not.
    pub lease_ms: i64,
    /// Whether the node would say that it is ready.
    pub ready: bool,
    /// Commands that wait for the writer.
    pub waiting: u64,
    /// Sessions in memory, over ones included until the state forgets them.
    pub sessions: u64,
    /// Grants in memory.
    pub grants: u64,
    /// People in memory.
    pub people: u64,
    /// Words in memory.
    pub words: u64,
}

/// A histogram that takes no lock: three relaxed additions for each value.
#[derive(Debug, Clone)]
struct Spread(Arc<SpreadOf>);

#[derive(Debug)]
struct SpreadOf {
    bounds: [f64; 10],
    counts: [AtomicU64; 11],
    /// In millionths.
    sum: AtomicU64,
}

impl Spread {
    fn new(bounds: [f64; 10]) -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Self(Arc::new(SpreadOf { bounds, counts, sum: AtomicU64::new(0) }))
    }

    fn note(&self, value: f64) {
        let Self(of) = self;
        let at = of.bounds.iter().position(|b| value <= *b).unwrap_or(of.bounds.len());
        if let Some(count) = of.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time or size"
        )]
        of.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn time(&self, took: Duration) {
        self.note(took.as_secs_f64());
    }
}

impl EncodeMetric for Spread {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self(of) = self;
        let bounds = of.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = of.counts.iter().map(|c| c.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        #[expect(clippy::cast_precision_loss, reason = "a sum for graphs")]
        let sum = of.sum.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// When something last happened: its age is what is read. Not a number until it happened.
#[derive(Debug)]
struct Last {
    at: AtomicI64,
    age: Gauge<f64, AtomicU64>,
}

impl Last {
    fn note(&self, at: Instant) {
        self.at.store(at.0, Ordering::Relaxed);
    }

    fn look(&self, now: Instant) {
        let at = self.at.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "an age for graphs")]
        let age = (now.0.saturating_sub(at)) as f64 / 1_000.0;
        self.age.set(if at == i64::MIN { f64::NAN } else { age });
    }
}

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decisions: [Counter; Reason::ALL.len()],
    evaluation: Spread,
    commands: Counters<2>,
    batch: Spread,
    commit: Spread,
    barrier: Spread,
    renewals: Counters<1>,
    waiting: Gauge,
    head_seq: Gauge,
    lease_ms: Gauge,
    ready: Gauge,
    calls_unwritten: Gauge,
    sessions: Gauge,
    grants: Gauge,
    people: Gauge,
    words: Gauge,
    http: Counters<3>,
    sign_ins: Counters<1>,
    checker_runs: Counter,
    checker_breaches: Counter,
    checker_age: Last,
    checkpoint_age: Last,
    snapshot_age: Last,
    pushes: Counters<1>,
    outbox_waiting: Gauge,
    outbox_dead: Gauge,
    outbox_age: Last,
    mails: Counters<1>,
    mails_waiting: Gauge,
    mails_dead: Gauge,
    mails_age: Last,
}

/// Enters what it registers under its name.
struct Names<'a>(&'a mut Registry);

impl Names<'_> {
    fn of<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.of(name, help, Gauge::default())
    }

    fn last(&mut self, name: &str, help: &str) -> Last {
        let age = self.of(name, help, Gauge::default());
        Last { at: AtomicI64::new(i64::MIN), age }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("comity");
        let mut names = Names(&mut registry);
        let by_reason: Counters<1> =
            names.of("decisions", "Decisions by their reason; yes is allowed", Family::default());
        let decisions = Reason::ALL
            .map(|reason| by_reason.get_or_create_owned(&[("reason", reason.code().to_owned())]));
        Self {
            decisions,
            evaluation: names.of(
                "evaluation_seconds",
                "Time from the whole request of an evaluation to its answer",
                Spread::new(EVALUATION),
            ),
            commands: names.of("commands", "Commands by kind and outcome", Family::default()),
            batch: names.of("batch_size", "Commands in one transaction", Spread::new(BATCH)),
            commit: names.of(
                "commit_seconds",
                "Time to write one batch, its fsync included",
                Spread::new(COMMIT),
            ),
            barrier: names.of(
                "barrier_wait_seconds",
                "Time from a commit that ends something until no other node says yes to it",
                Spread::new(BARRIER),
            ),
            renewals: names.of(
                "lease_renewals",
                "Confirmations with PostgreSQL that this node is current, by result",
                Family::default(),
            ),
            waiting: names.gauge("commands_waiting", "Commands that wait for the writer"),
            head_seq: names.gauge("head_seq", "The last row of the log"),
            lease_ms: names.gauge(
                "lease_remaining_ms",
                "For how long decisions are still answered without a new confirmation",
            ),
            ready: names.gauge("ready", "1 while decisions are answered, else 0"),
            calls_unwritten: names
                .gauge("calls_unwritten", "Calls that were answered and are not yet durable"),
            sessions: names.gauge("sessions", "Sessions in memory"),
            grants: names.gauge("grants", "Grants in memory"),
            people: names.gauge("people", "People in memory"),
            words: names.gauge("words", "Words in memory"),
            http: names.of(
                "http_requests",
                "Requests by method, route and class of status; dropped: the client went away",
                Family::default(),
            ),
            sign_ins: names.of("sign_ins", "Sign-ins by outcome", Family::default()),
            checker_runs: names.of("checker_runs", "Runs of the checker", Counter::default()),
            checker_breaches: names.of(
                "checker_breaches",
                "Breaches of an invariant that the checker found",
                Counter::default(),
            ),
            checker_age: names.last("checker_age_seconds", "Since the checker last ran"),
            checkpoint_age: names
                .last("checkpoint_age_seconds", "Since the last checkpoint was written"),
            snapshot_age: names.last("snapshot_age_seconds", "Since the last snapshot was written"),
            pushes: names.of(
                "pushes",
                "Tries to tell a webhook or stream something, by what came of them",
                Family::default(),
            ),
            outbox_waiting: names.gauge("outbox_waiting", "Pushes that wait"),
            outbox_dead: names.gauge("outbox_dead_letters", "Pushes that were given up"),
            outbox_age: names
                .last("outbox_oldest_age_seconds", "Since the oldest push that waits was queued"),
            mails: names.of(
                "mails",
                "Tries to hand a mail to the relay, by what came of them",
                Family::default(),
            ),
            mails_waiting: names.gauge("mails_waiting", "Mails that wait"),
            mails_dead: names.gauge("mail_dead_letters", "Mails that were given up"),
            mails_age: names.last(
                "mails_oldest_age_seconds",
                "Since what the oldest mail that waits tells of happened",
            ),
            registry,
        }
    }
}

impl Metrics {
    /// A decision was given.
    pub fn decided(&self, reason: Reason) {
        if let Some(counter) = self.decisions.get(reason as usize) {
            counter.inc();
        }
    }

    /// An evaluation was answered.
    pub fn evaluated(&self, took: Duration) {
        self.evaluation.time(took);
    }

    /// A command of this kind came to its end.
    pub fn command(&self, kind: &str, outcome: Outcome) {
        let labels = [("kind", kind.to_owned()), ("outcome", outcome.code().to_owned())];
        self.commands.get_or_create(&labels).inc();
    }

    /// A batch of so many commands was written, or could not be.
    pub fn committed(&self, commands: usize, took: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        self.batch.note(commands as f64);
        self.commit.time(took);
    }

    /// Being current was confirmed with the database, or could not be.
    pub fn renewed(&self, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.renewals.get_or_create(&[("result", result.to_owned())]).inc();
    }

    /// The answer to an ending has waited so many milliseconds for the other nodes.
    pub fn waited_for_others(&self, ms: i64) {
        self.barrier.time(Duration::from_millis(ms.max(0).unsigned_abs()));
    }

    /// So many calls are answered and not yet durable.
    pub fn calls_unwritten(&self, calls: usize) {
        self.calls_unwritten.set(gauge(calls as u64));
    }

    /// A request was answered with this status, or dropped. `route` is the template.
    pub fn request(&self, method: &'static str, route: &str, status: Option<u16>) {
        let class = match status {
            Some(..200) => "1xx",
            Some(200..300) => "2xx",
            Some(300..400) => "3xx",
            Some(400..500) => "4xx",
            Some(500..) => "5xx",
            None => "dropped",
        };
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", class.to_owned()),
        ];
        self.http.get_or_create(&labels).inc();
    }

    /// Somebody signed in, or did not.
    pub fn signed_in(&self, ok: bool) {
        let outcome = if ok { "ok" } else { "failed" };
        self.sign_ins.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// The checker has run to its end and found so many breaches.
    pub fn checked(&self, breaches: u64, at: Instant) {
        self.checker_runs.inc();
        self.checker_breaches.inc_by(breaches);
        self.checker_age.note(at);
    }

    /// A checkpoint was written.
    pub fn checkpoint(&self, at: Instant) {
        self.checkpoint_age.note(at);
    }

    /// A snapshot was written.
    pub fn snapshot(&self, at: Instant) {
        self.snapshot_age.note(at);
    }

    /// A try to tell somebody something was `delivered`, `failed`, or was the last: `dead`.
    pub fn pushed(&self, outcome: &'static str) {
        self.pushes.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// So many pushes wait, the oldest since then, and so many were given up.
    pub fn outbox(&self, waiting: u64, dead: u64, oldest: Option<Instant>) {
        self.outbox_waiting.set(gauge(waiting));
        self.outbox_dead.set(gauge(dead));
        self.outbox_age.note(oldest.unwrap_or(Instant(i64::MIN)));
    }

    /// A mail was `taken`, `failed`, was tried the last time: `dead`; or it was one too many of its
    /// kind and stands in the inbox only: `folded`.
    pub fn mailed(&self, outcome: &'static str) {
        self.mails.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// So many mails wait, the oldest since then, and so many were given up.
    pub fn mails(&self, waiting: u64, dead: u64, oldest: Option<Instant>) {
        self.mails_waiting.set(gauge(waiting));
        self.mails_dead.set(gauge(dead));
        self.mails_age.note(oldest.unwrap_or(Instant(i64::MIN)));
    }

    /// Everything, as [`MEDIA_TYPE`].
    #[must_use]
    pub fn text(&self, levels: &Levels, now: Instant) -> String {
        self.head_seq.set(gauge(levels.head_seq));
        self.lease_ms.set(levels.lease_ms);
        self.ready.set(i64::from(levels.ready));
        self.waiting.set(gauge(levels.waiting));
        self.sessions.set(gauge(levels.sessions));
        self.grants.set(gauge(levels.grants));
        self.people.set(gauge(levels.people));
        self.words.set(gauge(levels.words));
        let ages = [
            &self.checker_age,
            &self.checkpoint_age,
            &self.snapshot_age,
            &self.outbox_age,
            &self.mails_age,
        ];
        for last in ages {
            last.look(now);
        }
        let mut out = String::new();
        if text::encode(&mut out, &self.registry).is_err() {
            tracing::error!("the figures cannot be written");
        }
        out
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_from_the_start() {
        let metrics = Metrics::default();
        for (times, reason) in Reason::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| metrics.decided(reason));
        }
        let text = metrics.text(&Levels::default(), Instant(0));
        for (times, reason) in Reason::ALL.into_iter().enumerate() {
            let line =
                format!("comity_decisions_total{{reason=\"{}\"}} {}\n", reason.code(), times + 1);
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_spread_counts_each_value_once_and_sums_them() {
        let metrics = Metrics::default();
        for ms in [1, 3, 30, 9_000] {
            metrics.committed(3, Duration::from_millis(ms));
        }
        let text = metrics.text(&Levels::default(), Instant(0));
        for line in [
            "comity_commit_seconds_bucket{le=\"0.001\"} 1",
            "comity_commit_seconds_bucket{le=\"0.005\"} 2",
            "comity_commit_seconds_bucket{le=\"0.05\"} 3",
            "comity_commit_seconds_bucket{le=\"2.0\"} 3",
            "comity_commit_seconds_bucket{le=\"+Inf\"} 4",
            "comity_commit_seconds_count 4",
            "comity_commit_seconds_sum 9.034",
            "comity_batch_size_bucket{le=\"4.0\"} 4",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn an_age_is_not_a_number_until_it_happened() {
        let metrics = Metrics::default();
        metrics.checkpoint(Instant(4_000));
        metrics.checked(2, Instant(9_500));
        let text = metrics.text(&Levels::default(), Instant(10_000));
        for line in [
            "comity_checkpoint_age_seconds 6.0",
            "comity_checker_age_seconds 0.5",
            "comity_snapshot_age_seconds NaN",
            "comity_checker_breaches_total 2",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
