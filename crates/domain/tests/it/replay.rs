//! The log is the truth: rows alone lead to the state, and a refusal leaves no trace.

use comity_domain::application::Policy;
use comity_domain::command::{Command, PutMember};
use comity_domain::ids::{GrantId, OrganisationId, RequestId};
use comity_domain::kernel;
use comity_domain::lock::LockTarget;
use comity_domain::organisation::Standing;
use comity_domain::person::PortalRole;
use comity_domain::role::Mode;
use comity_domain::state::State;
use comity_domain::time::{DAY, MINUTE};

use crate::world::{World, anonymous, inside, list, perms};

/// A harbour that lets brokers in for a day: a bit of everything happens.
pub fn one_day(seed: u64) -> World {
    let mut w = World::seeded(seed);
    let (harbour, brokers) =
        (w.organisation("harbour", "Harbour"), w.organisation("brokers", "Brokers"));
    w.unit(brokers, "night");
    let (pier, quay) = (w.account(harbour, "pier"), w.account(harbour, "quay"));
    let (keeper, reader) =
        (w.role(harbour, "keeper", &["boats:*"]), w.role(harbour, "reader", &["*:read"]));
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let (rita, ugo) = (w.member(brokers, "rita", None), w.member(brokers, "ugo", None));
    let (by_boss, by_chief, by_rita) = (w.sign_in(boss), w.sign_in(chief), w.sign_in(rita));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let mut terms = w.terms(&[keeper, reader]);
    terms.accounts = list(&[pier, quay]);
    let grant = w.approve(&by_boss, request, terms);
    w.assign(&by_chief, grant, rita, &[keeper]);
    w.assign(&by_chief, grant, ugo, &[keeper, reader]);
    w.enter(&by_rita, harbour, Mode::ActAs);
    let stay = w.enter(&by_rita, harbour, Mode::Direct);
    w.later(MINUTE);
    w.must(&inside(stay), Command::CloseSession { session: stay });
    w.must(
        &w.provision(),
        Command::RemoveAccount { organisation: harbour, external: "quay".into() },
    );
    w.must(&w.provision(), Command::DeleteRole { organisation: harbour, code: "keeper".into() });
    w.must(&w.provision(), Command::RemoveMember { organisation: brokers, external: "ugo".into() });
    let (customer, target) = (harbour, LockTarget::Person(rita));
    w.must(&by_boss, Command::Lock { customer, target, reason: Some("Seen at night".into()) });
    let never = perms(&["money:*"]);
    w.must(
        &w.operate(),
        Command::SetPolicy { policy: Policy { never_delegable: never, ..Policy::default() } },
    );
    w.later(500 * DAY); // long enough for everything to be let go
    w.must(
        &w.operate(),
        Command::SetStanding { organisation: brokers, standing: Standing::Suspended },
    );
    w
}

#[test]
fn inv24_the_rows_of_two_worlds_lead_to_their_states() {
    let (a, b) = (one_day(1), one_day(2));
    assert!(a.replayed() == a.state);
    assert!(b.replayed() == b.state);
    assert!(a.state != b.state, "other identifiers, other worlds");
    assert!(one_day(1).state == a.state, "the same arguments give the same answer");
}

#[test]
fn inv24_a_follower_that_joins_late_agrees_at_every_row() {
    let whole = one_day(3);
    let (first, rest) = whole.rows.split_at(whole.rows.len() / 2);
    let mut follower = State::default();
    first.iter().for_each(|row| drop(kernel::apply(&mut follower, row)));
    let snapshot = follower.clone();
    rest.iter().for_each(|row| drop(kernel::apply(&mut follower, row)));
    assert!(follower == whole.state);
    assert_eq!(snapshot.seq, first.len() as u64, "a copy that somebody keeps does not move");
}

#[test]
fn inv25_rows_are_numbered_without_a_gap_and_time_never_goes_back() {
    let mut w = one_day(4);
    w.later(-DAY); // a clock that was set back
    w.organisation("late", "Late");
    for (n, pair) in w.rows.windows(2).enumerate() {
        assert_eq!((pair[0].seq, pair[1].seq), (n as u64 + 1, n as u64 + 2));
        assert!(pair[0].at <= pair[1].at);
    }
}

#[test]
fn inv27_t27_a_refusal_leaves_no_trace() {
    let mut w = World::new();
    let (harbour, brokers) =
        (w.organisation("harbour", "Harbour"), w.organisation("brokers", "Brokers"));
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let terms = w.terms(&[keeper]);
    let grant = w.approve(&by_boss, request, terms.clone());
    w.assign(&by_chief, grant, chief, &[keeper]);
    let summary = w.code(harbour);
    let mut off = w.member_spec(harbour, "boss", Some(PortalRole::Admin));
    off.active = false;
    let successor = Some(w.assignment_spec(boss, &[keeper])); // no member of the provider
    let refused = [
        (w.provision(), Command::PutMember(off), "last_admin"),
        (
            w.provision(),
            Command::PutMember(PutMember {
                unit: Some("nowhere".into()),
                ..w.member_spec(harbour, "new", None)
            }),
            "invalid",
        ),
        (
            by_chief.clone(),
            Command::Unassign { grant, person: chief, successor: None },
            "last_user",
        ),
        (by_chief.clone(), Command::Unassign { grant, person: chief, successor }, "invalid"),
        (
            by_chief.clone(),
            Command::Approve { request, terms: terms.clone(), summary },
            "forbidden",
        ),
        (by_boss.clone(), Command::Approve { request, terms, summary }, "wrong_state"),
        (by_boss.clone(), Command::Revoke { grant: GrantId(1) }, "not_found"),
        (
            by_boss.clone(),
            Command::Deny { request: RequestId(1), reason: None, message: None },
            "not_found",
        ),
        (anonymous(), Command::Revoke { grant }, "not_found"),
        (
            w.operate(),
            Command::SetStanding { organisation: OrganisationId(1), standing: Standing::Closed },
            "not_found",
        ),
    ];
    let (state, rows) = (w.state.clone(), w.rows.len());
    w.later(2 * MINUTE);
    for (caller, command, code) in refused {
        assert_eq!(w.refused(&caller, command), code);
        assert!(w.state == state && w.rows.len() == rows, "{code} left a trace");
    }
}

#[test]
fn inv24_what_changes_nothing_makes_no_row() {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    w.account(harbour, "pier");
    w.admin(harbour, "boss");
    let state = w.state.clone();
    w.later(MINUTE);
    let again = w.member_spec(harbour, "boss", Some(PortalRole::Admin));
    assert!(w.must(&w.provision(), Command::PutMember(again)).is_none());
    w.account(harbour, "pier");
    w.organisation("harbour", "Harbour");
    assert!(w.must(&w.operate(), Command::SetPolicy { policy: Policy::default() }).is_none());
    assert!(w.state == state);
}

#[test]
fn what_ended_long_ago_is_let_go_without_a_rest() {
    let mut w = one_day(5);
    let words = w.state.words.len();
    assert_eq!((w.state.grants.len(), w.state.requests.len(), w.state.sessions.len()), (0, 0, 0));
    // The same relation once more, with its words, comes and goes: nothing is left of it.
    let (harbour, brokers) = (
        w.state.organisations.iter().next().unwrap().0,
        w.state.organisations.iter().last().unwrap().0,
    );
    let (harbour, brokers) =
        if w.state.words.show(w.state.organisations.get(harbour).unwrap().external) == "harbour" {
            (harbour, brokers)
        } else {
            (brokers, harbour)
        };
    w.must(
        &w.operate(),
        Command::SetStanding { organisation: brokers, standing: Standing::Active },
    );
    let (boss, chief) = (w.person(harbour, "boss"), w.person(brokers, "chief"));
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    let reader = w.state.role_by_code(harbour, "reader").unwrap();
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let terms = w.terms(&[reader]);
    let grant = w.approve(&by_boss, request, terms);
    w.assign(&by_chief, grant, chief, &[reader]);
    w.enter(&by_chief, harbour, Mode::ActAs);
    let (customer, target) = (harbour, LockTarget::Organisation(brokers));
    w.must(&by_boss, Command::Lock { customer, target, reason: Some("Once more".into()) });
    let lock = w.state.lock_on(customer, target).unwrap();
    w.must(&by_boss, Command::Unlock { lock });
    w.later(900 * DAY);
    w.must(
        &w.operate(),
        Command::SetStanding { organisation: brokers, standing: Standing::Suspended },
    );
    assert_eq!((w.state.grants.len(), w.state.requests.len(), w.state.sessions.len()), (0, 0, 0));
    assert_eq!(w.state.words.len(), words, "words are left behind");
    assert!(w.replayed() == w.state);
}

#[test]
fn t35_who_leaves_takes_no_enrolment_along() {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    w.admin(harbour, "boss");
    w.member(harbour, "vic", None);
    let provision = w.provision();
    let token = comity_domain::ids::Digest32([9; 32]);
    let vic = || "vic".to_string();
    let make = Command::MakeEnrolment { organisation: harbour, external: vic(), digest: token };
    w.must(&provision, make);
    w.must(&provision, Command::RemoveMember { organisation: harbour, external: vic() });
    let enrol = || Command::Enrol { token, password_hash: "$argon2id$".into() };
    assert_eq!(w.refused(&anonymous(), enrol()), "not_found");
    w.member(harbour, "vic", None);
    assert_eq!(w.refused(&anonymous(), enrol()), "not_found", "coming back revives nothing");
}

#[test]
fn t44_a_role_cannot_be_made_to_multiply_without_bound() {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    let provision = w.provision();
    let put = |texts: Vec<String>| Command::PutRole {
        organisation: harbour,
        code: "big".into(),
        name: "Big".into(),
        permissions: comity_domain::permission::Permissions::parse("p", texts).unwrap(),
    };
    w.must(&provision, put((0..500).map(|n| format!("r{n}:*")).collect()));
    let crossed = put((0..500).map(|n| format!("*:v{n}")).collect());
    assert_eq!(w.refused(&provision, crossed), "invalid");
    w.must(&provision, put(vec!["*:read".into()]));
}
