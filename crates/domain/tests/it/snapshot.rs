//! The state as bytes: the same facts, the same bytes; and no word among them.

use comity_domain::command::Command;
use comity_domain::kernel;
use comity_domain::snapshot::{self, Facts};
use comity_domain::state::State;

use crate::replay::one_day;
use crate::world::World;

#[test]
fn inv24_a_state_read_back_is_the_state_at_every_row_and_goes_on_like_it() {
    let whole = one_day(6);
    let mut w = whole.clone();
    (w.rows, w.state) = (Vec::new(), State::default());
    for row in &whole.rows {
        kernel::apply(&mut w.state, row);
        w.rows.push(row.clone());
        let mut loaded = w.loaded();
        assert!(loaded == w.state, "at row {}", row.seq);
        assert_eq!(snapshot::write(&loaded), snapshot::write(&w.state));
        if let Some(next) = whole.rows.get(w.rows.len()) {
            let mut live = w.state.clone();
            kernel::apply(&mut loaded, next);
            kernel::apply(&mut live, next);
            assert!(loaded == live, "after row {}", next.seq);
        }
    }
}

#[test]
fn inv24_the_state_hash_is_that_of_a_replay_and_moves_with_every_row() {
    let whole = one_day(7);
    let mut state = State::default();
    let mut seen = std::collections::BTreeSet::new();
    for row in &whole.rows {
        kernel::apply(&mut state, row);
        assert!(seen.insert(snapshot::hash(&state)), "row {} changed nothing", row.seq);
    }
    assert_eq!(snapshot::hash(&state), snapshot::hash(&whole.state));
}

#[test]
fn a_state_holds_no_word_and_its_hash_does_not_know_whether_one_was_erased() {
    let mut w = World::new();
    let harbour = w.organisation("canary-external", "Canaryname");
    w.unit(harbour, "canary-unit");
    w.account(harbour, "canary-account");
    let boss = w.admin(harbour, "canary-boss");
    w.sign_in(boss);
    let bytes = snapshot::write(&w.state);
    let held = |what: &str| {
        let fold = |b: &[u8]| b.to_ascii_lowercase();
        fold(&bytes).windows(what.len()).any(|at| at == what.as_bytes())
    };
    assert!(!held("canary"), "a word is in the snapshot");
    let words: Vec<_> =
        w.rows.iter().flat_map(|r| &r.words).filter_map(|x| x.text.clone()).collect();
    assert!(words.len() > 8);
    for word in words.iter().filter(|x| x.len() > 3) {
        assert!(!held(&word.to_ascii_lowercase()), "{word}");
    }
    let before = w.replayed();
    for word in w.rows.iter_mut().flat_map(|row| &mut row.words) {
        word.text = None;
    }
    let erased = w.replayed();
    assert!(erased.words.is_empty() && !before.words.is_empty());
    assert_eq!(snapshot::hash(&erased), snapshot::hash(&before));
    assert!(w.loaded() == erased, "a word that was erased is missing, and nothing else");
}

#[test]
fn bytes_that_are_no_state_are_refused() {
    let w = one_day(8);
    let bytes = snapshot::write(&w.state);
    assert!(Facts::read(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(Facts::read(&bytes[..length]).is_err(), "cut at {length}");
    }
    assert!(Facts::read(&[&bytes[..], &[0]].concat()).is_err(), "one byte too many");
}

/// A change of what a state consists of must raise [`snapshot::FORMAT`]: run with `COMITY_BLESS=1`
/// after that.
#[test]
fn the_bytes_of_a_known_state_are_those_of_this_format() {
    let mut w = World::seeded(9);
    let (harbour, brokers) =
        (w.organisation("harbour", "Harbour"), w.organisation("brokers", "Brokers"));
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let terms = w.terms(&[keeper]);
    let grant = w.approve(&by_boss, request, terms);
    w.assign(&by_chief, grant, chief, &[keeper]);
    w.enter(&by_chief, harbour, comity_domain::role::Mode::Direct);
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    w.must(&by_boss, Command::Deny { request, reason: None, message: Some("Not now".into()) });
    let known = format!("format {}: {}\n", snapshot::FORMAT, snapshot::hash(&w.state));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/output/state-hash.txt");
    if std::env::var_os("COMITY_BLESS").is_some() {
        std::fs::write(path, &known).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), known);
}
