//! The model's runs: how many, what they must have reached, and that a seed is a history.

use comity_domain::time::Instant;

use crate::model::coverage::Coverage;
use crate::model::{RUNS, Run, set_up};

#[test]
fn the_kernel_agrees_with_the_plain_model_and_keeps_every_invariant() {
    let base = set_up();
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    if let Some(seed) = number("COMITY_MODEL_SEED") {
        return Run::new(&base, seed).go(&mut Coverage::default());
    }
    let runs = number("COMITY_MODEL_RUNS").unwrap_or(RUNS);
    let half = |odd: u64| {
        let base = &base;
        move || {
            let mut coverage = Coverage::default();
            for seed in (0..runs).filter(|s| s % 2 == odd) {
                Run::new(base, seed).go(&mut coverage);
            }
            coverage
        }
    };
    let coverage = std::thread::scope(|scope| {
        let (even, odd) = (scope.spawn(half(0)), scope.spawn(half(1)));
        let mut all = even.join().unwrap();
        all.add(odd.join().unwrap());
        all
    });
    coverage.publish();
    if runs >= RUNS {
        coverage.check_floors();
    }
}

#[test]
fn inv24_the_same_seed_leads_to_the_same_state() {
    let (base, mut states) = (set_up(), Vec::new());
    for _ in 0..2 {
        let mut run = Run::new(&base, 11);
        run.go(&mut Coverage::default());
        states.push(run.w.state.clone());
    }
    assert!(states[0] == states[1], "the same seed led to two states");
    assert!(states[0].at > Instant(0));
}
