//! What a halt does: everything under it stops, and only the operator lifts it.

use comity_domain::command::{Caller, Command};
use comity_domain::event::Event;
use comity_domain::halt::HaltTarget;
use comity_domain::ids::SessionId;
use comity_domain::refusal::Reason;
use comity_domain::role::Mode;
use comity_domain::state::State;
use comity_domain::time::{DAY, Instant};

use crate::check::town;

fn reason(state: &State, session: SessionId, now: Instant) -> Reason {
    use comity_domain::permission::Permission;
    use comity_domain::rights::{Resource, compile};
    let compiled = compile(state, session).unwrap();
    let (pier, a) = state.accounts.iter().next().unwrap();
    let at = Resource::Account(pier, a.organisation, a.unit);
    compiled.judge(Permission::parse("boats:read").unwrap(), at, now)
}

#[test]
fn a_halt_stops_everything_under_it_and_only_the_operator_lifts_it() {
    for on in ["grant", "person", "provider", "customer", "session"] {
        let mut t = town();
        let target = match on {
            "grant" => HaltTarget::Grant(t.grant),
            "person" => HaltTarget::Person(t.rita),
            "provider" => HaltTarget::Organisation(t.brokers),
            "customer" => HaltTarget::Organisation(t.harbour),
            _ => HaltTarget::Session(t.session),
        };
        assert_eq!(reason(&t.w.state, t.session, t.w.now), Reason::Allowed);
        let halt = Command::Halt { target, invariant: 6 };
        assert_eq!(t.w.refused(&t.by_boss, halt.clone()), "not_found", "only Comity halts");
        t.w.must(&Caller::system(), halt.clone());
        assert!(t.w.must(&Caller::system(), halt).is_none(), "halted already");
        assert_eq!(reason(&t.w.state, t.session, t.w.now), Reason::Locked, "{on}");
        let enter = Command::Enter(t.w.enter_spec(t.harbour, Mode::Direct));
        let assign = Command::Assign {
            grant: t.grant,
            spec: comity_domain::command::AssignmentSpec {
                ends_at: Some(t.w.now.plus(DAY)),
                ..t.w.assignment_spec(t.rita, &[t.keeper])
            },
        };
        let told = match on {
            "person" => ["caller_revoked", "locked"],
            "session" => ["ok", "ok"],
            _ => ["locked", "locked"],
        };
        if on != "session" {
            assert_eq!(t.w.refused(&t.by_rita, enter.clone()), told[0], "{on}");
            assert_eq!(t.w.refused(&t.by_chief, assign), told[1], "{on}");
        }
        let halt = t.w.state.halt_on(target).unwrap();
        for caller in [&t.by_boss, &t.by_chief, &t.w.provision(), &t.w.decide()] {
            let told = t.w.refused(caller, Command::LiftHalt { halt });
            assert_eq!(told, "forbidden", "{on}");
        }
        assert_eq!(t.w.refused(&Caller::system(), Command::LiftHalt { halt }), "not_found");
        t.w.must(&t.w.operate(), Command::LiftHalt { halt });
        assert_eq!(t.w.refused(&t.w.operate(), Command::LiftHalt { halt }), "not_found");
        assert_eq!(reason(&t.w.state, t.session, t.w.now), Reason::Locked, "ended stays ended");
        t.w.must(&t.by_rita, enter);
        assert!(t.w.replayed() == t.w.state);
    }
}

#[test]
fn a_halted_key_opens_nothing_and_a_request_of_a_halted_partner_is_not_approved() {
    let mut t = town();
    let key = t.w.provision();
    let comity_domain::command::Principal::Key(id) = key.principal else { panic!("a key") };
    t.w.must(&Caller::system(), Command::Halt { target: HaltTarget::Key(id), invariant: 23 });
    let code = Command::DeleteRole { organisation: t.harbour, code: "keeper".into() };
    assert_eq!(t.w.refused(&key, code), "caller_revoked");
    t.w.must(&t.by_boss, Command::Revoke { grant: t.grant });
    let request = t.w.ask(&t.by_chief, t.w.ask_spec(t.brokers, t.harbour));
    let terms = t.w.terms(&[t.keeper]);
    let summary = t.w.summary(request, &terms).unwrap();
    let target = HaltTarget::Organisation(t.brokers);
    t.w.must(&Caller::system(), Command::Halt { target, invariant: 1 });
    assert_eq!(t.w.refused(&t.by_boss, Command::Approve { request, terms, summary }), "locked");
}

#[test]
fn both_sides_read_of_a_halt_and_only_the_platform_why() {
    let mut t = town();
    let target = HaltTarget::Grant(t.grant);
    let row = t.w.must(&Caller::system(), Command::Halt { target, invariant: 6 }).unwrap();
    let mut sides = vec![t.harbour, t.brokers];
    sides.sort();
    for recorded in &row.events {
        let noted = matches!(recorded.event, Event::HaltNoted { .. });
        assert_eq!(recorded.readers, if noted { vec![] } else { sides.clone() });
        assert_eq!(format!("{:?}", recorded.event).contains("invariant"), noted);
    }
    let halt = t.w.state.halt_on(target).unwrap();
    let row = t.w.must(&t.w.operate(), Command::LiftHalt { halt }).unwrap();
    assert_eq!(row.events[0].readers, sides);
}
