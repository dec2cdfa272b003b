//! The track record: what a run of faults found, as one line of JSON in `target/track-record.jsonl`.
//!
//! What must never happen is counted and not asserted at once, so that a bad run is on record too;
//! [`Run::end`] writes the line and then fails.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How many rounds a test of faults makes: so many in CI, `COMITY_SOAK` times as many in `make soak`.
pub fn rounds(in_ci: u64) -> u64 {
    let soak = std::env::var("COMITY_SOAK").map_or(1, |n| n.parse().expect("COMITY_SOAK"));
    in_ci * soak
}

/// One run.
#[derive(Debug)]
pub struct Run {
    name: &'static str,
    began: Instant,
    rounds: AtomicU64,
    acknowledged: AtomicU64,
    decisions: AtomicU64,
    unknown: AtomicU64,
    lost: AtomicU64,
    came_back: AtomicU64,
    wrong_yes: AtomicU64,
    under_counts: AtomicU64,
}

fn add(to: &AtomicU64, n: u64) {
    to.fetch_add(n, Ordering::Relaxed);
}

impl Run {
    /// Begins one.
    pub fn begin(name: &'static str) -> Self {
        Self {
            name,
            began: Instant::now(),
            rounds: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            decisions: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            came_back: AtomicU64::new(0),
            wrong_yes: AtomicU64::new(0),
            under_counts: AtomicU64::new(0),
        }
    }

    /// A round is over: one fault, and what was found after it.
    pub fn round(&self) {
        add(&self.rounds, 1);
    }

    /// So many writes were acknowledged.
    pub fn acknowledged(&self, n: u64) {
        add(&self.acknowledged, n);
    }

    /// So many decisions were answered.
    pub fn decided(&self, n: u64) {
        add(&self.decisions, n);
    }

    /// So many writes were answered with an unknown outcome, or not at all.
    pub fn unknown(&self, n: u64) {
        add(&self.unknown, n);
    }

    /// An acknowledged write is gone, if `is`.
    pub fn lost(&self, is: bool) {
        add(&self.lost, is.into());
    }

    /// What was answered as not done is there, or what stands twice was done once, if `is`.
    pub fn came_back(&self, is: bool) {
        add(&self.came_back, is.into());
    }

    /// A yes to something that was over, if `is`.
    pub fn wrong_yes(&self, is: bool) {
        add(&self.wrong_yes, is.into());
    }

    /// A session has fewer calls than were answered, if `is`.
    pub fn under_counted(&self, is: bool) {
        add(&self.under_counts, is.into());
    }

    /// Writes it down, and fails if anything happened that must not.
    pub fn end(self) {
        let n = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let bad = [&self.lost, &self.came_back, &self.wrong_yes, &self.under_counts].map(n);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let line = format!(
            "{{\"name\":\"{}\",\"at\":{at},\"rounds\":{},\"acknowledged\":{},\"decisions\":{},\
             \"unknown\":{},\"lost\":{},\"came_back\":{},\"wrong_yes\":{},\"under_counts\":{},\
             \"seconds\":{:.1}}}\n",
            self.name,
            n(&self.rounds),
            n(&self.acknowledged),
            n(&self.decisions),
            n(&self.unknown),
            bad[0],
            bad[1],
            bad[2],
            bad[3],
            self.began.elapsed().as_secs_f64()
        );
        print!("track record: {line}");
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../track-record.jsonl");
        let mut file = std::fs::File::options().create(true).append(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap(); // one write: lines of other processes stay whole
        assert!(n(&self.rounds) > 0, "{}: nothing was run", self.name);
        assert_eq!(bad, [0; 4], "{}: lost, came back, wrong yes, under-counted", self.name);
    }
}
