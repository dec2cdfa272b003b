//! N9: whoever works for a partner in a customer enters there only as the partner's person.

use comity_domain::assignment::AssignmentEnd;
use comity_domain::command::{Caller, Command};
use comity_domain::direct::superseded_by;
use comity_domain::event::{Event, Row};
use comity_domain::ids::{GrantId, OrganisationId, PersonId, RoleId};
use comity_domain::notice::{Kind, notices};
use comity_domain::person::PortalRole;
use comity_domain::role::Mode;
use comity_domain::time::{DAY, MINUTE};

use crate::world::World;

/// A harbour whose member Vera, an Admin beside Boss, also belongs to the brokers.
struct Both {
    w: World,
    harbour: OrganisationId,
    brokers: OrganisationId,
    keeper: RoleId,
    by_boss: Caller,
    by_chief: Caller,
    by_vera: Caller,
    boss: PersonId,
    vera: PersonId,
    grant: GrantId,
}

fn both() -> Both {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    let brokers = w.organisation("brokers", "Brokers");
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let vera = w.admin(harbour, "vera");
    join(&mut w, brokers, "vera-b", harbour, "vera", None);
    let (by_boss, by_chief, by_vera) = (w.sign_in(boss), w.sign_in(chief), w.sign_in(vera));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let terms = w.terms(&[keeper]);
    let grant = w.approve(&by_boss, request, terms);
    Both { w, harbour, brokers, keeper, by_boss, by_chief, by_vera, boss, vera, grant }
}

/// Makes a member out of somebody who is one elsewhere.
fn join(
    w: &mut World,
    to: OrganisationId,
    as_: &str,
    from: OrganisationId,
    known: &str,
    portal: Option<PortalRole>,
) {
    let mut put = w.member_spec(to, as_, portal);
    put.email = w.member_spec(from, known, None).email;
    w.must(&w.provision(), Command::PutMember(put));
}

impl Both {
    fn assign(&self, person: PersonId) -> Command {
        let spec = self.w.assignment_spec(person, &[self.keeper]);
        Command::Assign { grant: self.grant, spec }
    }

    fn restore(&self) -> Command {
        Command::RestoreMembership { organisation: self.harbour, external: "vera".into() }
    }

    fn superseded(&self) -> Option<GrantId> {
        self.w.state.members.get(&(self.harbour, self.vera)).unwrap().superseded
    }
}

fn events(row: &Row) -> Vec<&Event> {
    row.events.iter().map(|r| &r.event).collect()
}

#[test]
fn n9_an_assignment_replaces_the_direct_membership_in_the_same_row() {
    let mut t = both();
    assert_eq!(superseded_by(&t.w.state, t.grant, &[t.vera, t.boss]), [t.vera, t.boss]);
    let before = t.w.state.clone();
    let row = t.w.must(&t.by_chief, t.assign(t.vera)).unwrap();
    let superseded =
        Event::MembershipSuperseded { organisation: t.harbour, person: t.vera, grant: t.grant };
    assert!(matches!(events(&row)[..], [Event::Assigned { .. }, e] if *e == superseded));
    assert!(superseded.takes_away());
    assert_eq!(t.superseded(), Some(t.grant));
    assert!(t.w.state.active_member(t.harbour, t.vera).is_none());
    assert!(t.w.state.active_member(t.brokers, t.vera).is_some());
    assert_eq!(superseded_by(&t.w.state, t.grant, &[t.vera]), [], "said once");
    let told: Vec<_> = notices(&before, &row, &t.w.state)
        .iter()
        .filter(|n| n.kind == Kind::Superseded)
        .map(|n| (n.organisation, n.facts.person))
        .collect();
    assert_eq!(told, [(t.harbour, Some(t.vera)), (t.brokers, Some(t.vera))]);
    // No power of their own, at once; a way in as the partner's person.
    let own = Command::RotateCustomerId { organisation: t.harbour, code: t.w.fresh_code() };
    assert_eq!(t.w.refused(&t.by_vera, own), "not_active");
    let revoke = Command::Revoke { grant: t.grant };
    assert_eq!(t.w.refused(&t.by_vera, revoke), "not_active");
    t.w.enter(&t.by_vera, t.harbour, Mode::Direct);
    assert_eq!(t.w.loaded(), t.w.state);
    assert_eq!(t.w.replayed(), t.w.state);
}

#[test]
fn n9_the_last_admin_is_never_replaced() {
    let mut t = both();
    t.w.must(
        &t.w.provision(),
        Command::RemoveMember { organisation: t.harbour, external: "boss".into() },
    );
    assert_eq!(t.w.refused(&t.by_chief, t.assign(t.vera)), "last_admin");
    let people = vec![t.w.assignment_spec(t.vera, &[t.keeper])];
    let set = Command::SetAssignments { grant: t.grant, people };
    assert_eq!(t.w.refused(&t.by_chief, set), "last_admin");
    assert_eq!(t.superseded(), None);
}

#[test]
fn n9_nothing_but_the_customers_hand_restores_it() {
    let mut t = both();
    let chief = t.w.person(t.brokers, "chief");
    t.w.must(&t.by_chief, t.assign(t.vera));
    t.w.must(&t.by_chief, t.assign(chief));
    // Not the directory, which says the same every night.
    let mut put = t.w.member_spec(t.harbour, "vera", Some(PortalRole::Admin));
    for active in [true, false, true] {
        put.active = active;
        t.w.must(&t.w.provision(), Command::PutMember(put.clone()));
        assert_eq!(t.superseded(), Some(t.grant));
    }
    // Not leaving the grant, nor its end.
    let off = Command::Unassign { grant: t.grant, person: t.vera, successor: None };
    t.w.must(&t.by_chief, off);
    assert_eq!(t.superseded(), Some(t.grant));
    t.w.later(800 * DAY);
    t.w.must(&Caller::system(), Command::NoteDue);
    assert_eq!(t.superseded(), Some(t.grant));
    // Neither a key, the partner, nor the person.
    let (by_boss, by_vera, by_chief) =
        (t.w.sign_in(t.boss), t.w.sign_in(t.vera), t.w.sign_in(chief));
    assert_eq!(t.w.refused(&t.w.provision(), t.restore()), "forbidden");
    assert_eq!(t.w.refused(&by_vera, t.restore()), "not_active");
    assert_eq!(t.w.refused(&by_chief, t.restore()), "not_found");
    t.w.must(&by_boss, t.restore());
    assert!(t.w.state.active_member(t.harbour, t.vera).is_some());
    assert_eq!(t.w.refused(&by_boss, t.restore()), "wrong_state");
}

#[test]
fn n9_restoring_takes_the_person_off_the_grant_and_out_at_once() {
    let mut t = both();
    t.w.must(&t.by_chief, t.assign(t.vera));
    let session = t.w.enter(&t.by_vera, t.harbour, Mode::Direct);
    t.w.later(6 * MINUTE);
    assert_eq!(t.w.refused(&t.by_boss, t.restore()), "fresh_sign_in_required");
    t.by_boss = t.w.sign_in(t.boss);
    let row = t.w.must(&t.by_boss, t.restore()).unwrap();
    let ended = Event::AssignmentEnded {
        grant: t.grant,
        person: t.vera,
        cause: AssignmentEnd::MembershipRestored,
    };
    assert!(events(&row).contains(&&ended));
    assert!(!t.w.state.sessions.get(session).unwrap().is_active(t.w.now));
    assert!(t.w.state.grants.get(t.grant).unwrap().unattended, "the last person is no reason");
    assert!(t.w.state.assignment_row(t.grant, t.vera).is_none());
    assert_eq!(t.superseded(), None);
    // Put on it again, it is replaced again.
    t.w.must(&t.by_chief, t.assign(t.vera));
    assert_eq!(t.superseded(), Some(t.grant));
    assert_eq!(t.w.replayed(), t.w.state);
}

#[test]
fn n9_who_is_on_a_grant_already_becomes_a_member_without_a_door() {
    let mut t = both();
    let rita = t.w.member(t.brokers, "rita", None);
    t.w.must(&t.by_chief, t.assign(rita));
    join(&mut t.w, t.harbour, "rita-h", t.brokers, "rita", Some(PortalRole::Admin));
    let member = t.w.state.members.get(&(t.harbour, rita)).unwrap();
    assert_eq!(member.superseded, Some(t.grant));
    assert!(t.w.state.active_member(t.harbour, rita).is_none());
}
