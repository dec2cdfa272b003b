//! Signing keys, the keys by which applications prove themselves, and what a token may be narrowed to.

use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command, Enter};
use comity_domain::consent::Terms;
use comity_domain::draft::SideWrite;
use comity_domain::ids::{Digest32, Ids};
use comity_domain::kernel;
use comity_domain::refusal::Refusal;
use comity_domain::rights;
use comity_domain::role::Mode;
use comity_domain::signing::{KEPT_AFTER_END, KeyPhase, SIGNS_FOR};
use comity_domain::time::MINUTE;

use crate::check::town;
use crate::world::{World, perms, signing_key};

fn tend(n: u8) -> Command {
    Command::TendSigningKeys { fresh: vec![signing_key(n), signing_key(n + 1)] }
}

fn kid(n: u8) -> Digest32 {
    signing_key(n).public.thumbprint()
}

fn phases(w: &World) -> Vec<(Digest32, &'static str)> {
    let mut all: Vec<_> =
        w.state.signing_keys.iter().map(|(kid, k)| (*kid, k.phase.code())).collect();
    all.sort_by_key(|(_, phase)| *phase);
    all
}

/// Whatever it is: retiring is part of beginning a row.
fn a_row(w: &mut World) {
    let operate = w.operate();
    w.key(&operate, KeyUse::Provision, None);
}

fn beside(w: &World, caller: &Caller, command: Command) -> Vec<SideWrite> {
    let id = comity_domain::ids::CommandId(9);
    kernel::decide(&w.state, caller, id, command, w.now, &mut Ids::new([5; 32])).unwrap().side
}

#[test]
fn keys_go_from_next_to_current_to_retired_and_leave() {
    let mut w = World::new();
    let system = Caller::system();
    assert!(w.state.signing_keys_due(w.now), "a start without keys makes them");
    let side = beside(&w, &system, tend(1));
    let sealed = |n: u8| SideWrite::SigningKey(kid(n), signing_key(n).sealed);
    assert_eq!(side, [sealed(1), sealed(2)], "private halves go beside the log");
    w.must(&system, tend(1));
    assert_eq!(phases(&w), [(kid(1), "current"), (kid(2), "next")]);
    assert!(w.must(&system, tend(3)).is_none(), "another node finds nothing to do");

    w.later(SIGNS_FOR - 1);
    assert!(w.must(&system, tend(3)).is_none(), "not yet");
    w.later(1);
    assert!(w.state.signing_keys_due(w.now));
    assert!(
        beside(&w, &system, tend(3)).contains(&SideWrite::DropSigningKey(kid(1))),
        "what signs nothing more is deleted"
    );
    w.must(&system, tend(3));
    assert_eq!(phases(&w), [(kid(2), "current"), (kid(3), "next"), (kid(1), "retired")]);
    assert!(w.must(&system, tend(5)).is_none(), "two nodes at once rotate once");

    w.later(KEPT_AFTER_END - 1);
    a_row(&mut w);
    assert_eq!(w.state.signing_keys.len(), 3, "what it signed is still good");
    w.later(1);
    a_row(&mut w);
    assert_eq!(phases(&w), [(kid(2), "current"), (kid(3), "next")]);
    assert!(w.replayed() == w.state && w.loaded() == w.state);
}

#[test]
fn the_operator_rotates_and_nobody_else() {
    let mut w = World::new();
    let rotate = Command::RotateSigningKeys { fresh: signing_key(7) };
    let operate = w.operate();
    assert_eq!(w.refused(&operate, rotate.clone()), "wrong_state", "there is no next one yet");
    w.must(&Caller::system(), tend(1));
    assert_eq!(w.refused(&w.provision(), rotate.clone()), "forbidden");
    assert_eq!(w.refused(&operate, tend(5)), "not_found", "the timer is Comity's own");
    let same = Command::RotateSigningKeys { fresh: signing_key(2) };
    assert_eq!(w.refused(&operate, same), "taken");
    w.must(&operate, rotate);
    assert_eq!(phases(&w), [(kid(2), "current"), (kid(7), "next"), (kid(1), "retired")]);
}

#[test]
fn a_compromised_key_leaves_at_once_whatever_it_was() {
    let mut w = World::new();
    let operate = w.operate();
    w.must(&Caller::system(), tend(1));
    let stolen =
        |n: u8, fresh: u8| Command::CompromiseSigningKey { kid: kid(n), fresh: signing_key(fresh) };
    assert_eq!(w.refused(&operate, stolen(9, 10)), "not_found");
    assert_eq!(w.refused(&w.provision(), stolen(1, 10)), "forbidden");
    let row = w.must(&operate, stolen(1, 3)).unwrap();
    assert!(row.events.iter().any(|e| e.event.takes_away()), "every node is waited for");
    assert_eq!(phases(&w), [(kid(2), "current"), (kid(3), "next")]);
    w.must(&operate, stolen(3, 4));
    assert_eq!(phases(&w), [(kid(2), "current"), (kid(4), "next")]);
    w.must(&operate, Command::RotateSigningKeys { fresh: signing_key(5) });
    w.must(&operate, stolen(2, 6));
    assert_eq!(phases(&w), [(kid(4), "current"), (kid(5), "next")]);
    w.later(2 * KEPT_AFTER_END);
    a_row(&mut w);
    assert!(w.replayed() == w.state && w.loaded() == w.state);
}

#[test]
fn t50_a_restore_leaves_no_key_of_the_copy() {
    let mut w = World::new();
    w.must(&Caller::system(), tend(1));
    w.must(&w.operate(), Command::RotateSigningKeys { fresh: signing_key(3) });
    let restore = Command::Restore { fork: 2, erased: Vec::new(), keep_people: true };
    let side = beside(&w, &Caller::system(), restore.clone());
    for n in 1..=3 {
        assert!(side.contains(&SideWrite::DropSigningKey(kid(n))), "{n}");
    }
    w.must(&Caller::system(), restore);
    assert!(w.state.signing_keys.is_empty());
    w.must(&Caller::system(), tend(11));
    assert!(matches!(w.state.signing_key().unwrap().1.phase, KeyPhase::Current { .. }));
}

#[test]
fn an_applications_keys_are_the_operators_to_set_and_stay_when_it_is_defined_anew() {
    let mut w = World::new();
    let (operate, application) = (w.operate(), w.boats);
    let set = |of: &[u8]| Command::SetClientKeys {
        application,
        keys: of.iter().map(|n| signing_key(*n).public).collect(),
    };
    assert_eq!(w.refused(&w.provision(), set(&[1])), "forbidden");
    assert_eq!(w.refused(&w.decide(), set(&[1])), "forbidden", "no application gives itself one");
    w.must(&operate, set(&[2, 1, 2]));
    assert!(w.must(&operate, set(&[1, 2])).is_none(), "the same set");
    assert_eq!(w.refused(&operate, set(&[1, 2, 3, 4, 5, 6, 7, 8, 9])), "invalid");
    let put = |audience: &str| Command::PutApplication {
        code: "boats".into(),
        audience: audience.into(),
        permissions: perms(&["boats:*"]),
        launch_url: None,
    };
    w.must(&operate, put("https://new.boats.example"));
    assert_eq!(w.state.applications.get(application).unwrap().client_keys.len(), 2);
    let other = Command::PutApplication {
        code: "yard".into(),
        audience: "https://yard.example".into(),
        permissions: perms(&["*"]),
        launch_url: None,
    };
    w.must(&operate, other);
    let yard = w.state.application_by_audience("https://yard.example").unwrap();
    let keys = vec![signing_key(1).public];
    let theirs = Command::SetClientKeys { application: yard, keys };
    assert_eq!(w.refused(&operate, theirs), "taken", "a key proves one application");
    w.must(&operate, set(&[]));
    assert!(w.state.applications.get(application).unwrap().client_keys.is_empty());
}

fn enter(t: &mut crate::check::Town, scope: &[&str]) -> Enter {
    Enter { scope: Some(perms(scope)), ..t.w.enter_spec(t.harbour, Mode::Direct) }
}

#[test]
fn inv21_a_scope_narrows_the_session_for_good_and_never_widens_it() {
    let mut t = town();
    let session = t.session;
    let whole = rights::compile(&t.w.state, session).unwrap().rights.unwrap().shown();
    let all: Vec<String> = whole.texts().collect();
    let by_rita = t.by_rita.clone();
    for wider in [&["*"][..], &["boats:*", "money:send"], &["money:send"]] {
        let asked = enter(&mut t, wider);
        let refused = t.w.run(&by_rita, Command::Enter(asked)).unwrap_err();
        let Refusal::Invalid { field: "scope", why } = refused else { panic!("{refused:?}") };
        assert!(all.iter().all(|held| why.contains(held)), "{why}");
    }
    let asked = enter(&mut t, &["boats:read"]);
    let row = t.w.must(&by_rita, Command::Enter(asked)).unwrap();
    let narrow = row
        .events
        .iter()
        .find_map(|e| match e.event {
            comity_domain::event::Event::SessionStarted { session, .. } => Some(session),
            _ => None,
        })
        .unwrap();
    let shown = |w: &World| {
        let of = rights::compile(&w.state, narrow).unwrap();
        of.rights.unwrap().shown().texts().collect::<Vec<_>>()
    };
    assert_eq!(shown(&t.w), ["boats:read"]);
    t.w.later(MINUTE);
    assert!(t.w.replayed() == t.w.state && t.w.loaded() == t.w.state);
    assert_eq!(shown(&t.w), ["boats:read"]);
}

#[test]
fn a_token_that_is_checked_offline_is_given_only_where_the_customer_allowed_it() {
    let mut t = town();
    let (by_boss, by_chief, by_rita) = (t.by_boss.clone(), t.by_chief.clone(), t.by_rita.clone());
    let ask = t.w.ask_spec(t.brokers, t.harbour);
    let request = t.w.ask(&by_chief, ask);
    let terms = Terms { jwt: false, ..t.w.terms(&[t.keeper]) };
    let without = t.w.approve(&by_boss, request, terms);
    t.w.assign(&by_chief, without, t.rita, &[t.keeper]);
    for (grant, answer) in [(t.grant, None), (without, Some("jwt_not_granted"))] {
        let whole = t.w.enter_spec(t.harbour, Mode::Direct);
        let asked = Enter { jwt: true, grant: Some(grant), ..whole };
        let done = t.w.run(&by_rita, Command::Enter(asked));
        assert_eq!(done.err().map(|refused| refused.code()), answer);
    }
}
