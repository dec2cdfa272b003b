//! E5 to E7: *Automatically add partner users*, the last user, and a person's view.

use comity_domain::assignment::{AssignmentEnd, Basis};
use comity_domain::auto::{self, AutoSpec, ways_in};
use comity_domain::command::{Caller, Command};
use comity_domain::event::{Event, Row};
use comity_domain::grant::Narrowing;
use comity_domain::ids::{AccountId, Digest32, GrantId, OrganisationId, PersonId, RoleId};
use comity_domain::notice::{Kind, notices};
use comity_domain::organisation::Standing;
use comity_domain::person::PortalRole;
use comity_domain::refusal::Refusal;
use comity_domain::role::Mode;
use comity_domain::time::{DAY, MINUTE};

use crate::world::{World, list};

/// Brokers with four people and a unit, on a harbour's grant of two roles and one account.
struct Team {
    w: World,
    harbour: OrganisationId,
    brokers: OrganisationId,
    pier: AccountId,
    keeper: RoleId,
    reader: RoleId,
    by_boss: Caller,
    by_chief: Caller,
    chief: PersonId,
    rita: PersonId,
    sam: PersonId,
    ugo: PersonId,
    grant: GrantId,
}

fn team() -> Team {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    let brokers = w.organisation("brokers", "Brokers");
    w.unit(brokers, "north");
    let pier = w.account(harbour, "pier");
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let reader = w.role(harbour, "reader", &["*:read"]);
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let rita = w.member(brokers, "rita", None);
    let sam = w.member(brokers, "sam", None);
    let mut put = w.member_spec(brokers, "ugo", Some(PortalRole::CustomerSupport));
    put.unit = Some("north".into());
    w.must(&w.provision(), Command::PutMember(put));
    let ugo = w.person(brokers, "ugo");
    let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let mut terms = w.terms(&[keeper, reader]);
    terms.accounts = list(&[pier]);
    let grant = w.approve(&by_boss, request, terms);
    Team {
        w,
        harbour,
        brokers,
        pier,
        keeper,
        reader,
        by_boss,
        by_chief,
        chief,
        rita,
        sam,
        ugo,
        grant,
    }
}

impl Team {
    fn all(&self) -> AutoSpec {
        AutoSpec { roles: vec![self.keeper], only: None }
    }

    fn set(&mut self, auto: Option<AutoSpec>) -> Row {
        let set = self.w.set_auto(self.grant, auto).unwrap();
        self.w.must(&self.by_chief, set).unwrap()
    }

    /// Who can enter, in order.
    fn inside(&self) -> Vec<PersonId> {
        let s = &self.w.state;
        let on = s.assigned_to(self.grant);
        let mut on: Vec<PersonId> = on
            .filter(|(p, a)| s.attends(self.grant, *p, a, self.w.now))
            .map(|(person, _)| person)
            .collect();
        on.sort();
        on
    }

    fn basis(&self, person: PersonId) -> Option<Basis> {
        self.w.state.assignment_row(self.grant, person).map(|a| a.basis)
    }

    fn put(
        &mut self,
        external: &str,
        portal: Option<PortalRole>,
        unit: Option<&str>,
        active: bool,
    ) {
        let mut put = self.w.member_spec(self.brokers, external, portal);
        (put.unit, put.active) = (unit.map(Into::into), active);
        self.w.must(&self.w.provision(), Command::PutMember(put));
    }

    fn unassign(&self, person: PersonId) -> Command {
        Command::Unassign { grant: self.grant, person, successor: None }
    }

    fn unattended(&self) -> bool {
        self.w.state.grants.get(self.grant).unwrap().unattended
    }

    fn same_from_the_log(&self) {
        assert!(self.w.loaded() == self.w.state && self.w.replayed() == self.w.state);
    }
}

fn sorted(people: &[PersonId]) -> Vec<PersonId> {
    let mut people = people.to_vec();
    people.sort();
    people
}

#[test]
fn e6_on_means_everybody_now_and_whoever_joins() {
    let mut t = team();
    t.w.assign(&t.by_chief, t.grant, t.rita, &[t.reader]);
    t.w.assign(&t.by_chief, t.grant, t.sam, &[t.keeper]);
    let by_rita = t.w.sign_in(t.rita);
    let session = t.w.enter(&by_rita, t.harbour, Mode::Direct);
    let known = t.w.state.grants.get(t.grant).unwrap();
    let plan = auto::plan(&t.w.state, t.grant, known, Some(&t.all()), t.w.now).unwrap();
    assert_eq!(sorted(&plan.gains), sorted(&[t.chief, t.ugo]));
    assert_eq!((&plan.loses, &plan.changes, &plan.keeps), (&vec![], &vec![t.rita], &vec![t.sam]));
    let row = t.set(Some(t.all()));
    let replaced = |person| {
        let cause = AssignmentEnd::Replaced;
        row.events
            .iter()
            .any(|e| e.event == Event::AssignmentEnded { grant: t.grant, person, cause })
    };
    assert!(replaced(t.rita) && replaced(t.sam) && row.events.len() == 3);
    assert_eq!(t.inside(), sorted(&[t.chief, t.rita, t.sam, t.ugo]));
    assert_eq!(t.basis(t.rita), Some(Basis::Automatic));
    // Whoever was inside goes on, with what the rule gives.
    assert!(t.w.state.sessions.get(session).unwrap().is_active(t.w.now));
    assert_eq!(t.w.state.assignment(t.grant, t.rita).unwrap().roles, [t.keeper]);
    let vera = t.w.member(t.brokers, "vera", None);
    assert!(t.inside().contains(&vera), "who joins is on it by joining");
    let by_vera = t.w.sign_in(vera);
    t.w.enter(&by_vera, t.harbour, Mode::Direct);
    assert!(t.w.state.grants_of(vera).any(|(id, _)| id == t.grant));
    t.same_from_the_log();
}

#[test]
fn e6_nobody_is_added_changed_or_removed_alone() {
    let mut t = team();
    t.set(Some(t.all()));
    let spec = t.w.assignment_spec(t.rita, &[t.reader]);
    let assign = Command::Assign { grant: t.grant, spec: spec.clone() };
    let code = "auto_assign_enabled";
    assert_eq!(t.w.refused(&t.by_chief, assign), code);
    assert_eq!(t.w.refused(&t.by_chief, t.unassign(t.rita)), code);
    let set = Command::SetAssignments { grant: t.grant, people: vec![spec.clone()] };
    assert_eq!(t.w.refused(&t.by_chief, set), code);
    let successor = Some(spec);
    let follow = Command::Unassign { grant: t.grant, person: t.sam, successor };
    assert_eq!(t.w.refused(&t.by_chief, follow), code);
    let by_rita = t.w.sign_in(t.rita);
    assert_eq!(t.w.refused(&by_rita, t.unassign(t.rita)), code, "nor does anybody go alone");
    assert!(Refusal::AutoAssignEnabled.sentence().contains("turn"), "says what to do");
    // Strangers and the other side learn nothing of it.
    assert_eq!(t.w.refused(&t.by_boss, t.unassign(t.rita)), "forbidden");
    let off = Command::SetAuto { grant: t.grant, auto: None, token: Digest32([0; 32]) };
    assert_eq!(t.w.refused(&t.by_boss, off.clone()), "forbidden");
    assert_eq!(t.w.refused(&by_rita, off), "forbidden");
}

#[test]
fn e6_who_is_suspended_elsewhere_or_not_of_the_roles_is_not_let_in() {
    let mut t = team();
    t.set(Some(t.all()));
    t.put("rita", None, None, false);
    assert!(!t.inside().contains(&t.rita), "suspended");
    let by_rita = t.w.sign_in(t.rita);
    let enter = Command::Enter(t.w.enter_spec(t.harbour, Mode::Direct));
    assert_eq!(t.w.refused(&by_rita, enter.clone()), "not_active");
    t.put("rita", None, None, true);
    assert!(t.inside().contains(&t.rita));
    // Only those with a portal role.
    let only = Some([PortalRole::CustomerSupport].into());
    let spec = AutoSpec { only, ..t.all() };
    let session = t.w.enter(&by_rita, t.harbour, Mode::Direct);
    t.set(Some(spec));
    assert_eq!(t.inside(), [t.ugo]);
    assert!(!t.w.state.sessions.get(session).unwrap().is_active(t.w.now), "out at once");
    assert_eq!(t.w.refused(&by_rita, enter), "no_access");
    // Becoming one is a way onto it, ceasing to be one a way off.
    t.put("rita", Some(PortalRole::CustomerSupport), None, true);
    assert_eq!(t.inside(), sorted(&[t.rita, t.ugo]));
    t.put("rita", None, None, true);
    assert_eq!(t.inside(), [t.ugo]);
    // Another organisation's people never are.
    let strangers = t.w.organisation("strangers", "Strangers");
    let eve = t.w.member(strangers, "eve", Some(PortalRole::CustomerSupport));
    assert!(t.w.state.assignment_row(t.grant, eve).is_none());
    assert_eq!(t.w.state.grants_of(eve).count(), 0);
    t.same_from_the_log();
}

#[test]
fn e6_a_unit_grant_takes_in_its_unit_only() {
    let mut t = team();
    let mut ask = t.w.ask_spec(t.brokers, t.harbour);
    ask.unit = Some("north".into());
    let request = t.w.ask(&t.by_chief, ask);
    let terms = t.w.terms(&[t.keeper]);
    t.grant = t.w.approve(&t.by_boss, request, terms);
    t.set(Some(t.all()));
    assert_eq!(t.inside(), [t.ugo]);
    t.put("rita", None, Some("north"), true);
    assert_eq!(t.inside(), sorted(&[t.rita, t.ugo]));
    let by_rita = t.w.sign_in(t.rita);
    let session = t.w.enter(&by_rita, t.harbour, Mode::Direct);
    t.put("rita", None, None, true);
    assert_eq!(t.inside(), [t.ugo]);
    assert!(!t.w.state.sessions.get(session).unwrap().is_active(t.w.now));
}

#[test]
fn e7_off_keeps_everybody_and_lets_newcomers_out() {
    let mut t = team();
    t.set(Some(t.all()));
    t.put("sam", None, None, false);
    let before = t.inside();
    let row = t.set(None);
    assert_eq!(t.inside(), before);
    // Who is suspended just now comes back to what they had.
    assert_eq!(row.events.len(), 1 + before.len() + 1);
    assert_eq!(t.basis(t.rita), Some(Basis::Individual));
    t.put("sam", None, None, true);
    assert!(t.inside().contains(&t.sam));
    let vera = t.w.member(t.brokers, "vera", None);
    assert_eq!(t.basis(vera), None, "newcomers stay out");
    t.w.must(&t.by_chief, t.unassign(t.rita));
    assert!(!t.inside().contains(&t.rita), "removable one by one");
    t.same_from_the_log();
    // On again replaces them again, and off is nothing where it is off.
    t.set(Some(t.all()));
    assert!(t.inside().contains(&vera) && t.inside().contains(&t.rita));
    t.set(None);
    let again = t.w.set_auto(t.grant, None).unwrap();
    assert_eq!(t.w.must(&t.by_chief, again), None);
}

#[test]
fn e6_a_preview_that_is_no_longer_true_is_refused() {
    let mut t = team();
    let shown = t.w.set_auto(t.grant, Some(t.all())).unwrap();
    let vera = t.w.member(t.brokers, "vera", None);
    assert_eq!(t.w.refused(&t.by_chief, shown), "stale_summary", "Vera was not on the list");
    let shown = t.w.set_auto(t.grant, Some(t.all())).unwrap();
    let Command::SetAuto { grant, token, .. } = shown else { unreachable!() };
    let roles = vec![t.keeper, t.reader];
    let other = Command::SetAuto { grant, auto: Some(AutoSpec { roles, only: None }), token };
    assert_eq!(t.w.refused(&t.by_chief, other), "stale_summary", "nor were these roles");
    t.set(Some(t.all()));
    let off = t.w.set_auto(t.grant, None).unwrap();
    t.w.must(
        &t.w.provision(),
        Command::RemoveMember { organisation: t.brokers, external: "vera".into() },
    );
    assert_eq!(t.w.refused(&t.by_chief, off), "stale_summary");
    assert_eq!(t.basis(vera), None);
}

#[test]
fn e6_a_ceiling_trims_the_rule_suspends_it_or_ends_it() {
    let mut t = team();
    let both = AutoSpec { roles: vec![t.keeper, t.reader], only: None };
    t.set(Some(both));
    let by_rita = t.w.sign_in(t.rita);
    let session = t.w.enter(&by_rita, t.harbour, Mode::Direct);
    let narrow = |kept: &[RoleId]| {
        let narrowing =
            Narrowing { roles: Some(kept.iter().copied().collect()), ..Narrowing::default() };
        Command::Narrow { grant: t.grant, narrowing, version: None }
    };
    let less = narrow(&[t.reader]);
    t.w.must(&t.by_boss, less);
    assert_eq!(t.w.state.assignment(t.grant, t.rita).unwrap().roles, [t.reader]);
    assert!(t.w.state.sessions.get(session).unwrap().is_active(t.w.now), "trimmed, not ended");
    let delete = Command::DeleteRole { organisation: t.harbour, code: "reader".into() };
    let before = t.w.state.clone();
    let row = t.w.must(&t.by_boss, delete).unwrap();
    assert!(row.events.iter().any(|e| e.event == Event::AutoSuspended { grant: t.grant }));
    assert!(!t.w.state.sessions.get(session).unwrap().is_active(t.w.now));
    assert_eq!(t.inside(), []);
    assert!(t.unattended());
    let told = notices(&before, &row, &t.w.state);
    let sides = told.iter().filter(|n| n.kind == Kind::Unattended).map(|n| n.organisation);
    assert_eq!(sides.collect::<Vec<_>>(), [t.harbour, t.brokers]);
    // Off now gives nobody anything: nothing was left to keep.
    t.set(None);
    assert_eq!(t.w.state.assigned_to(t.grant).count(), 0);
    t.same_from_the_log();
}

#[test]
fn e6_the_last_account_of_the_grant_takes_the_rule_with_it() {
    let mut t = team();
    t.set(Some(t.all()));
    let remove = Command::RemoveAccount { organisation: t.harbour, external: "pier".into() };
    t.w.must(&t.w.provision(), remove);
    assert!(t.w.state.grants.get(t.grant).unwrap().auto.is_none() && t.unattended());
    assert_eq!(t.w.set_auto(t.grant, Some(t.all())).unwrap_err().code(), "invalid");
    assert!(t.w.state.accounts.get(t.pier).is_none());
    t.same_from_the_log();
}

#[test]
fn e5_a_rule_is_never_narrowed_to_nobody() {
    let mut t = team();
    let nobody = AutoSpec { only: Some([PortalRole::CustomerSupport].into()), ..t.all() };
    t.put("ugo", None, Some("north"), true);
    t.w.assign(&t.by_chief, t.grant, t.rita, &[t.reader]);
    let refused = t.w.set_auto(t.grant, Some(nobody.clone())).unwrap_err();
    assert_eq!(refused, Refusal::LastUser, "said in the preview already");
    let told = Command::SetAuto { grant: t.grant, auto: Some(nobody), token: Digest32([0; 32]) };
    assert_eq!(t.w.refused(&t.by_chief, told), "last_user");
    assert_eq!(t.inside(), [t.rita]);
}

#[test]
fn e5_what_cannot_be_refused_is_flagged_and_a_joining_member_clears_it() {
    let support = Some(PortalRole::CustomerSupport);
    for away in ["removed", "suspended", "demoted", "all ended"] {
        let mut t = team();
        let only = Some([PortalRole::CustomerSupport].into());
        t.set(Some(AutoSpec { only, ..t.all() }));
        assert_eq!(t.inside(), [t.ugo]);
        let (organisation, external) = (t.brokers, "ugo".to_owned());
        let remove = Command::RemoveMember { organisation, external };
        let end = Command::EndAccess { organisation, person: t.ugo };
        match away {
            "removed" => drop(t.w.must(&t.w.provision(), remove)),
            "suspended" => t.put("ugo", support, Some("north"), false),
            "demoted" => t.put("ugo", None, Some("north"), true),
            _ => drop(t.w.must(&t.by_chief, end)),
        }
        assert!(t.unattended() && t.inside().is_empty(), "{away}");
        t.w.member(t.brokers, "vera", None);
        assert!(t.unattended(), "{away}: not of the roles");
        t.w.member(t.brokers, "vic", support);
        assert!(!t.unattended() && t.inside().len() == 1, "{away}: somebody joined");
        t.same_from_the_log();
    }
}

// -- with direct memberships ----------------------------------------------------------------------

/// Makes a broker out of a member of the harbour.
fn broker(t: &mut Team, external: &str, of: &str) {
    let mut put = t.w.member_spec(t.brokers, external, None);
    put.email = t.w.member_spec(t.harbour, of, None).email;
    t.w.must(&t.w.provision(), Command::PutMember(put));
}

#[test]
fn n9_turning_it_on_replaces_direct_memberships_but_never_the_last_admin() {
    let mut t = team();
    let vera = t.w.admin(t.harbour, "vera");
    broker(&mut t, "vera-b", "vera");
    let known = t.w.state.grants.get(t.grant).unwrap();
    let plan = auto::plan(&t.w.state, t.grant, known, Some(&t.all()), t.w.now).unwrap();
    assert_eq!(plan.superseded, [vera], "said before");
    t.set(Some(t.all()));
    assert_eq!(t.w.state.members.get(&(t.harbour, vera)).unwrap().superseded, Some(t.grant));
    // The customer's hand cannot take one person off a rule.
    let restore = Command::RestoreMembership { organisation: t.harbour, external: "vera".into() };
    assert_eq!(t.w.refused(&t.by_boss, restore.clone()), "auto_assign_enabled");
    t.set(None);
    t.w.must(&t.by_boss, restore);
    assert_eq!(t.basis(vera), None);
    // Without another Admin it is refused as a whole.
    let boss = Command::RemoveMember { organisation: t.harbour, external: "boss".into() };
    t.w.must(&t.w.provision(), boss);
    assert_eq!(t.w.set_auto(t.grant, Some(t.all())).unwrap_err(), Refusal::LastAdmin);
}

#[test]
fn n9_a_joining_member_who_is_the_last_admin_is_left_out() {
    let mut t = team();
    t.set(Some(t.all()));
    let boss = t.w.person(t.harbour, "boss");
    let set: Vec<PersonId> = t.inside();
    broker(&mut t, "boss-b", "boss");
    assert_eq!(t.inside(), set, "joins the brokers, and not this grant");
    let rule = t.w.state.grants.get(t.grant).unwrap().auto.clone().unwrap();
    assert!(rule.left_out.contains(&boss));
    assert_eq!(t.w.state.members.get(&(t.harbour, boss)).unwrap().superseded, None);
    let row = t.w.rows.last().unwrap();
    let out = Event::AutoLeftOut { grant: t.grant, person: boss };
    assert!(row.events.iter().any(|e| e.event == out));
    // With another Admin there, the provider sets the rule anew and has them on it.
    t.w.admin(t.harbour, "vera");
    assert_eq!(t.inside(), set);
    t.set(Some(t.all()));
    assert!(t.inside().contains(&boss));
    t.same_from_the_log();
}

#[test]
fn n9_who_was_left_out_and_comes_back_is_judged_anew() {
    let mut t = team();
    t.set(Some(t.all()));
    broker(&mut t, "boss-b", "boss");
    t.w.must(
        &t.w.provision(),
        Command::RemoveMember { organisation: t.brokers, external: "boss-b".into() },
    );
    let left_out = |t: &Team| t.w.state.grants.get(t.grant).unwrap().auto.clone().unwrap().left_out;
    assert!(left_out(&t).is_empty());
    t.w.admin(t.harbour, "vera");
    broker(&mut t, "boss-c", "boss");
    assert!(left_out(&t).is_empty());
    let boss = t.w.person(t.harbour, "boss");
    assert_eq!(t.basis(boss), Some(Basis::Automatic));
}

#[test]
fn e5_one_who_joins_alone_and_is_left_out_leaves_the_flag_up() {
    let mut t = team();
    let only = Some([PortalRole::CustomerSupport].into());
    t.set(Some(AutoSpec { only, ..t.all() }));
    let remove = Command::RemoveMember { organisation: t.brokers, external: "ugo".into() };
    t.w.must(&t.w.provision(), remove);
    assert!(t.unattended());
    let mut put = t.w.member_spec(t.brokers, "boss-b", Some(PortalRole::CustomerSupport));
    put.email = t.w.member_spec(t.harbour, "boss", None).email;
    t.w.must(&t.w.provision(), Command::PutMember(put));
    assert!(t.inside().is_empty() && t.unattended());
}

// -- a person's view ------------------------------------------------------------------------------

#[test]
fn e4_one_command_ends_all_that_a_person_may_enter() {
    let mut t = team();
    t.set(Some(t.all()));
    let request = t.w.ask(&t.by_chief, t.w.ask_spec(t.brokers, t.harbour));
    let terms = t.w.terms(&[t.keeper]);
    let second = t.w.approve(&t.by_boss, request, terms);
    t.w.assign(&t.by_chief, second, t.rita, &[t.keeper]);
    let by_rita = t.w.sign_in(t.rita);
    let mut enter = t.w.enter_spec(t.harbour, Mode::Direct);
    enter.grant = Some(second);
    t.w.must(&by_rita, Command::Enter(enter));
    let mut enter = t.w.enter_spec(t.harbour, Mode::Direct);
    enter.grant = Some(t.grant);
    t.w.must(&by_rita, Command::Enter(enter));
    let ways = ways_in(&t.w.state, t.brokers, t.rita, t.w.now);
    let ways: Vec<_> = ways.iter().map(|(id, _, row)| (*id, row.basis)).collect();
    assert_eq!(ways, [(t.grant, Basis::Automatic), (second, Basis::Individual)]);
    let end = Command::EndAccess { organisation: t.brokers, person: t.rita };
    assert_eq!(t.w.refused(&t.by_boss, end.clone()), "not_found", "not the customer's");
    assert_eq!(t.w.refused(&by_rita, end.clone()), "forbidden");
    let row = t.w.must(&t.by_chief, end.clone()).unwrap();
    let cause = AssignmentEnd::AllEnded;
    let ended = Event::AssignmentEnded { grant: second, person: t.rita, cause };
    assert!(row.events.iter().any(|e| e.event == ended));
    let goes_on = |s| t.w.state.sessions.get(s).unwrap().is_active(t.w.now);
    assert!(!t.w.state.sessions_of(t.rita).any(goes_on), "all of them, in the same row");
    assert!(t.w.state.grants.get(second).unwrap().unattended, "by force, and flagged");
    let member = t.w.state.members.get(&(t.brokers, t.rita)).unwrap();
    assert_eq!(member.standing, Standing::Suspended, "still a member");
    // A second time there is nothing left to end.
    assert_eq!(t.w.must(&t.by_chief, end), None);
    // Brought back, the rule has them again, and nothing else revives.
    t.put("rita", None, None, true);
    let ways = ways_in(&t.w.state, t.brokers, t.rita, t.w.now);
    assert_eq!(ways.len(), 1);
    // Not the last Admin, nor a stranger.
    let chief = Command::EndAccess { organisation: t.brokers, person: t.chief };
    assert_eq!(t.w.refused(&t.by_chief, chief), "last_admin");
    let nobody = Command::EndAccess { organisation: t.brokers, person: PersonId(9) };
    assert_eq!(t.w.refused(&t.by_chief, nobody), "not_found");
    t.same_from_the_log();
}

#[test]
fn e6_a_grant_that_ends_takes_its_rule_along() {
    let mut t = team();
    t.set(Some(t.all()));
    t.w.must(&t.by_boss, Command::Revoke { grant: t.grant });
    assert!(t.w.state.grants.get(t.grant).unwrap().auto.is_none());
    assert_eq!(t.w.state.assigned_to(t.grant).count(), 0);
    assert_eq!(t.w.state.grants_of(t.rita).count(), 0);
    t.w.later(500 * DAY);
    t.w.member(t.brokers, "late", None);
    assert!(t.w.state.grants.get(t.grant).is_none(), "and is forgotten");
    t.same_from_the_log();
}

#[test]
fn e6_a_lock_stands_in_the_way_of_on_and_not_of_off() {
    use comity_domain::lock::LockTarget;
    let mut t = team();
    t.set(Some(t.all()));
    t.w.later(MINUTE);
    let lock = Command::Lock {
        customer: t.harbour,
        target: LockTarget::Organisation(t.brokers),
        reason: None,
    };
    t.w.must(&t.by_boss, lock);
    let wider = AutoSpec { roles: vec![t.keeper, t.reader], only: None };
    assert_eq!(t.w.set_auto(t.grant, Some(wider)).unwrap_err(), Refusal::Locked);
    t.set(None);
    let by_rita = t.w.sign_in(t.rita);
    let enter = Command::Enter(t.w.enter_spec(t.harbour, Mode::Direct));
    assert_eq!(t.w.refused(&by_rita, enter), "locked");
}
