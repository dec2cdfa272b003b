//! People from outside: no grant lets a partner invite them unless the customer's settings do.

use comity_domain::command::Command;
use comity_domain::consent::{self, Terms};
use comity_domain::ids::GrantId;
use comity_domain::organisation::Settings;
use comity_domain::refusal::Refusal;

use crate::world::World;

#[test]
fn the_settings_bound_what_a_grant_may_allow_and_are_judged_at_the_decision() {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    let brokers = w.organisation("brokers", "Brokers");
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let terms = Terms { allow_external: true, ..w.terms(&[keeper]) };
    let refused = w.summary(request, &terms).unwrap_err();
    let field = |r: &Refusal| matches!(r, Refusal::Invalid { field: "allow_external", .. });
    assert!(field(&refused), "off unless chosen: {refused:?}");
    let set = |allow_external| Command::ChangeSettings {
        organisation: harbour,
        settings: Settings { allow_external, ..Settings::default() },
        version: None,
    };
    w.must(&by_boss, set(true));
    let summary = w.summary(request, &terms).unwrap();
    // What was looked at while it was on is refused once it is off.
    w.must(&by_boss, set(false));
    let approve = Command::Approve { request, terms: terms.clone(), summary };
    let late = w.run(&by_boss, approve).unwrap_err();
    assert!(field(&late), "{late:?}");
    let asked = w.state.requests.get(request).unwrap();
    assert!(!consent::limits(&w.state, asked).unwrap().allow_external);
    w.must(&by_boss, set(true));
    let grant = w.approve(&by_boss, request, terms);
    assert!(lets_outsiders_in(&w, grant));
    // Off, it is off for the grants that stand, too; on again, they are as they were.
    w.must(&by_boss, set(false));
    assert!(w.state.grants.get(grant).unwrap().allow_external);
    assert!(!lets_outsiders_in(&w, grant));
    w.must(&by_boss, set(true));
    assert!(lets_outsiders_in(&w, grant));
}

fn lets_outsiders_in(w: &World, grant: GrantId) -> bool {
    w.state.grants.get(grant).unwrap().lets_outsiders_in(&w.state)
}
