//! Figures: that they move, and that the guide describes each.

use std::collections::BTreeSet;

use comity_app::metrics::{Levels, Metrics, Outcome};
use comity_domain::refusal::Reason;
use comity_domain::time::Instant;

use crate::process::workspace;

#[test]
fn every_figure_is_in_the_guide_and_no_other() {
    let metrics = Metrics::default();
    metrics.decided(Reason::Allowed);
    metrics.command("ask", Outcome::Done);
    metrics.request("GET", "/v1/me", Some(200));
    metrics.renewed(true);
    metrics.signed_in(true);
    metrics.pushed("delivered");
    metrics.mailed("taken");
    let text = metrics.text(&Levels::default(), Instant(0));
    let figures: BTreeSet<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE "))
        .map(|l| l.split_once(' ').unwrap().0)
        .collect();
    assert!(figures.len() > 15, "{figures:?}");
    let guide = workspace().join("docs/guide/operating.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let described: BTreeSet<&str> = guide
        .split('`')
        .filter(|word| word.starts_with("comity_") && !word.contains(' '))
        .map(|word| word.split_once('{').map_or(word, |(name, _)| name))
        .map(|word| word.strip_suffix("_total").unwrap_or(word))
        .collect();
    assert_eq!(figures, described);
}
