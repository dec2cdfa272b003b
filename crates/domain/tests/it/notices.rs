//! Who is told of what in their inbox and by mail: nobody of what they may not read, both sides of
//! what concerns both, and each end once.

use std::collections::BTreeSet;

use comity_domain::command::{Caller, Command, FreshSecret, Sealed, WebhookSpec};
use comity_domain::event::Row;
use comity_domain::grant::Narrowing;
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{Digest32, GrantId, OrganisationId, PersonId, RoleId};
use comity_domain::lock::LockTarget;
use comity_domain::notice::{self, Kind, Notice, Side, notices};
use comity_domain::organisation::Standing;
use comity_domain::person::{PortalPermission, PortalRole};
use comity_domain::role::Mode;
use comity_domain::state::State;
use comity_domain::time::{DAY, HOUR, Instant, MINUTE};

use crate::world::{World, inside};

struct Told {
    w: World,
    harbour: OrganisationId,
    brokers: OrganisationId,
    by_boss: Caller,
    by_chief: Caller,
    by_rita: Caller,
    rita: PersonId,
    keeper: RoleId,
    /// Every notice there ever was.
    all: Vec<(u64, Notice)>,
}

fn told() -> Told {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    let brokers = w.organisation("brokers", "Brokers");
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let rita = w.member(brokers, "rita", None);
    let (by_boss, by_chief, by_rita) = (w.sign_in(boss), w.sign_in(chief), w.sign_in(rita));
    let all = Vec::new();
    Told { w, harbour, brokers, by_boss, by_chief, by_rita, rita, keeper, all }
}

/// One line for each: to whom, from where it is seen, what, how often, and whether mails go out.
fn lines(t: &Told, notices: &[Notice]) -> Vec<String> {
    let name = |o| if o == t.harbour { "harbour" } else { "brokers" };
    let line = |n: &Notice| {
        let mail = if n.mail { " +mail" } else { "" };
        format!("{} {} {}x{}{mail}", name(n.organisation), n.side.code(), n.kind.code(), n.count)
    };
    notices.iter().map(line).collect()
}

impl Told {
    /// What a command makes to be told. Whatever it is: nobody is told of what they do not read.
    fn by(&mut self, caller: &Caller, command: Command) -> Vec<Notice> {
        let before = self.w.state.clone();
        let row = self.w.must(caller, command);
        row.map_or_else(Vec::new, |row| self.seen(&before, &row))
    }

    fn seen(&mut self, before: &State, row: &Row) -> Vec<Notice> {
        let told = notices(before, row, &self.w.state);
        for n in &told {
            let reads = row.events.iter().any(|e| e.readers.contains(&n.organisation));
            assert!(reads, "{n:?} tells somebody what they do not read");
            assert!(n.count >= 1 && (!n.mail || n.kind.mailed(n.side).is_some()));
            if n.side == Side::Provider && n.facts.grant.is_none() {
                assert_eq!(n.facts.other, None, "{n:?}: the customer is not known yet");
            }
        }
        let mut places: Vec<_> = told.iter().map(|n| (n.organisation, n.index)).collect();
        let sorted = places.clone();
        places.sort();
        places.dedup();
        assert_eq!(places, sorted, "each its own place, counted by itself");
        self.all.extend(told.iter().map(|n| (row.seq, *n)));
        told
    }

    fn is(&mut self, caller: &Caller, command: Command, expected: &[&str]) {
        let shown = format!("{command:?}");
        let told = self.by(caller, command);
        assert_eq!(lines(self, &told), expected, "{shown}");
    }

    fn due(&mut self, expected: &[&str]) {
        self.is(&Caller::system(), Command::NoteDue, expected);
    }

    fn asked(&mut self) -> comity_domain::ids::RequestId {
        let spec = self.w.ask_spec(self.brokers, self.harbour);
        self.is(
            &self.by_chief.clone(),
            Command::Ask(spec),
            &["harbour customer askedx1 +mail", "brokers provider askedx1"],
        );
        self.w.state.requests_from(self.brokers).next_back().unwrap()
    }

    fn grant(&mut self) -> GrantId {
        let request = self.asked();
        let terms = self.w.terms(&[self.keeper]);
        let summary = self.w.summary(request, &terms).unwrap();
        let by_boss = self.w.sign_in(self.by_boss.person().unwrap());
        self.is(
            &by_boss,
            Command::Approve { request, terms, summary },
            &["harbour customer approvedx1 +mail", "brokers provider approvedx1 +mail"],
        );
        self.w.state.grants_to(self.brokers).next_back().unwrap()
    }

    fn assign(&mut self, grant: GrantId) {
        let (chief, rita, keeper) = (self.by_chief.clone(), self.rita, self.keeper);
        let spec = self.w.assignment_spec(rita, &[keeper]);
        self.is(&chief, Command::Assign { grant, spec }, &[]);
    }

    fn narrow(&mut self, grant: GrantId, end: Instant) -> Vec<Notice> {
        let narrowing = Narrowing { end: Some(end), ..Narrowing::default() };
        self.by(&self.by_boss.clone(), Command::Narrow { grant, narrowing, version: None })
    }
}

#[test]
fn t57_both_sides_are_told_of_what_concerns_both() {
    let mut t = told();
    let (boss, chief, rita) = (t.by_boss.clone(), t.by_chief.clone(), t.by_rita.clone());
    let first = t.asked();
    t.is(
        &chief,
        Command::CancelRequest { request: first },
        &["harbour customer cancelledx1 +mail", "brokers provider cancelledx1 +mail"],
    );
    let second = t.asked();
    let deny = Command::Deny { request: second, reason: Some("no".into()), message: None };
    t.is(&boss, deny, &["harbour customer deniedx1 +mail", "brokers provider deniedx1 +mail"]);
    let grant = t.grant();
    t.assign(grant);
    // Who goes in as themselves is in the history; who acts as the customer is told.
    let enter = t.w.enter_spec(t.harbour, Mode::Direct);
    t.is(&rita, Command::Enter(enter), &[]);
    let enter = t.w.enter_spec(t.harbour, Mode::ActAs);
    let started = [
        "harbour customer impersonation_startedx1 +mail",
        "brokers provider impersonation_startedx1",
    ];
    t.is(&rita, Command::Enter(enter), &started);
    let session = t.w.state.sessions_of(t.rita).last().unwrap();
    let ended =
        ["harbour customer impersonation_endedx1 +mail", "brokers provider impersonation_endedx1"];
    t.is(&inside(session), Command::CloseSession { session }, &ended);
    // By the clock too.
    let enter = t.w.enter_spec(t.harbour, Mode::ActAs);
    t.is(&rita, Command::Enter(enter), &started);
    t.w.later(9 * HOUR);
    t.due(&ended);
    // What narrows: the ceiling loses its only role, and somebody their access.
    let code = "keeper".into();
    let told = t.by(&t.w.provision(), Command::DeleteRole { organisation: t.harbour, code });
    assert_eq!(
        lines(&t, &told),
        [
            "harbour customer unattendedx1 +mail",
            "brokers provider no_rolesx1 +mail",
            "brokers provider unattendedx1 +mail",
        ]
    );
    assert_eq!(told[1].facts.person, Some(t.rita));
    t.by_boss = t.w.sign_in(t.by_boss.person().unwrap());
    t.by_chief = t.w.sign_in(t.by_chief.person().unwrap());
    let boss = t.by_boss.clone();
    let third = t.asked();
    let told = t.by(&boss, Command::Revoke { grant });
    assert_eq!(
        lines(&t, &told),
        [
            "harbour customer revokedx1 +mail",
            "harbour customer cancelledx1 +mail",
            "brokers provider revokedx1 +mail",
            "brokers provider cancelledx1 +mail",
        ]
    );
    assert_eq!((told[1].facts.request, told[0].facts.grant), (Some(third), Some(grant)));
    t.keeper = t.w.role(t.harbour, "keeper", &["boats:*"]);
    let grant = t.grant();
    let chief = t.by_chief.clone();
    t.is(
        &chief,
        Command::GiveUp { grant },
        &["harbour customer given_upx1 +mail", "brokers provider given_upx1 +mail"],
    );
    let grant = t.grant();
    let standing = Standing::Closed;
    let told = t.by(&t.w.operate(), Command::SetStanding { organisation: t.brokers, standing });
    assert!(lines(&t, &told).contains(&"harbour customer closedx1 +mail".into()), "{told:?}");
    assert!(told.iter().any(|n| n.facts.grant == Some(grant)));
    // Nobody outside hears a word, and what was told is told again by a replay of the same rows.
    let mut state = State::default();
    let mut again = Vec::new();
    for row in &t.w.rows {
        let before = state.clone();
        comity_domain::kernel::apply(&mut state, row);
        again.extend(notices(&before, row, &state).into_iter().map(|n| (row.seq, n)));
    }
    assert!(t.all.iter().all(|n| again.contains(n)), "it follows from the log alone");
}

#[test]
fn t57_a_lock_a_halt_and_a_change_of_who_decides_are_told_to_whom_they_concern() {
    let mut t = told();
    let boss = t.by_boss.clone();
    let grant = t.grant();
    t.assign(grant);
    let enter = t.w.enter_spec(t.harbour, Mode::ActAs);
    t.by(&t.by_rita.clone(), Command::Enter(enter));
    let (customer, target) = (t.harbour, LockTarget::Person(t.rita));
    let told = t.by(&boss, Command::Lock { customer, target, reason: Some("odd".into()) });
    assert_eq!(
        lines(&t, &told),
        [
            "harbour own lockedx1 +mail",
            "harbour customer impersonation_endedx1 +mail",
            "brokers provider impersonation_endedx1",
        ],
        "the partner learns that it is over, as it reads in the log, and not of the lock"
    );
    let lock = t.w.state.lock_on(t.harbour, target).unwrap();
    t.is(&boss, Command::Unlock { lock }, &["harbour own unlockedx1 +mail"]);
    let target = HaltTarget::Grant(grant);
    t.is(
        &Caller::system(),
        Command::Halt { target, invariant: 7 },
        &["harbour customer haltedx1 +mail", "brokers provider haltedx1 +mail"],
    );
    let halt = t.w.state.halt_on(target).unwrap();
    t.is(
        &t.w.operate(),
        Command::LiftHalt { halt },
        &["harbour customer halt_liftedx1 +mail", "brokers provider halt_liftedx1 +mail"],
    );
    // A directory's own work is not mailed; an Admin's is.
    let spec = t.w.member_spec(t.harbour, "second", Some(PortalRole::Admin));
    t.is(&t.w.provision(), Command::PutMember(spec.clone()), &["harbour own admins_changedx1"]);
    let spec = comity_domain::command::PutMember { portal: None, ..spec };
    t.is(&boss, Command::PutMember(spec.clone()), &["harbour own admins_changedx1 +mail"]);
    t.is(&boss, Command::PutMember(spec), &[]);
    let spec =
        WebhookSpec { url: "https://hooks.example.com".into(), description: None, kinds: None };
    let secret = FreshSecret { digest: Digest32([1; 32]), sealed: Sealed(vec![1]) };
    let owner = Some(t.harbour);
    t.is(
        &boss,
        Command::MakeWebhook { owner, spec, secret },
        &["harbour own webhooks_changedx1 +mail"],
    );
    let webhook = t.w.state.webhooks_of(owner).last().unwrap();
    t.is(
        &boss,
        Command::RemoveWebhook { owner, webhook },
        &["harbour own webhooks_changedx1 +mail"],
    );
}

#[test]
fn t57_a_grant_about_to_end_is_told_of_once_for_each_end() {
    let mut t = told();
    let grant = t.grant();
    let end = t.w.state.grants.get(grant).unwrap().window.end;
    let week =
        ["harbour customer ends_in_7_daysx1 +mail", "brokers provider ends_in_7_daysx1 +mail"];
    let day = ["harbour customer ends_in_1_dayx1 +mail", "brokers provider ends_in_1_dayx1 +mail"];
    let over = ["harbour customer expiredx1 +mail", "brokers provider expiredx1 +mail"];
    t.w.now = end.plus(-7 * DAY - 1);
    t.due(&[]);
    t.w.now = end.plus(-7 * DAY);
    let told = t.by(&Caller::system(), Command::NoteDue);
    assert_eq!(lines(&t, &told), week);
    assert_eq!(told[0].facts.ends, Some(end));
    t.due(&[]);
    // It comes a little nearer: that is no second week. The day is told of once it is there.
    t.by_boss = t.w.sign_in(t.by_boss.person().unwrap());
    let nearer = end.plus(-HOUR);
    t.narrow(grant, nearer);
    t.due(&[]);
    t.w.now = nearer.plus(-DAY);
    t.due(&day);
    t.due(&[]);
    t.w.now = nearer;
    t.due(&over);
    t.due(&[]);

    // One that is shorter than a week is told of a day before; one that ended is told of no more.
    t.by_boss = t.w.sign_in(t.by_boss.person().unwrap());
    t.by_chief = t.w.sign_in(t.by_chief.person().unwrap());
    let grant = t.grant();
    let end = t.w.now.plus(3 * DAY);
    t.narrow(grant, end);
    t.due(&[]);
    t.w.now = end.plus(-DAY);
    t.due(&day);
    t.by_boss = t.w.sign_in(t.by_boss.person().unwrap());
    t.by_chief = t.w.sign_in(t.by_chief.person().unwrap());
    t.by(&t.by_boss.clone(), Command::Revoke { grant });
    let grant = t.grant();
    let end = t.w.now.plus(20 * DAY);
    t.narrow(grant, end);
    t.by(&t.by_boss.clone(), Command::Revoke { grant });
    t.w.now = end;
    t.due(&[]);

    // Whoever slept over it all says what is true now, and nothing else.
    t.by_boss = t.w.sign_in(t.by_boss.person().unwrap());
    t.by_chief = t.w.sign_in(t.by_chief.person().unwrap());
    let grant = t.grant();
    let end = t.w.state.grants.get(grant).unwrap().window.end;
    t.w.now = end.plus(-HOUR);
    t.due(&day);
    t.w.now = end.plus(MINUTE);
    t.due(&over);
    let (state, replayed) = (&t.w.state, t.w.replayed());
    assert!(*state == replayed && *state == t.w.loaded(), "what falls due follows from the log");
}

#[test]
fn t50_after_a_restore_each_side_is_told_how_many_grants_wait() {
    let mut t = told();
    let grant = t.grant();
    let fork = 2;
    let restore = Command::Restore { fork, erased: Vec::new(), keep_people: true };
    let told = t.by(&Caller::system(), restore);
    assert_eq!(
        lines(&t, &told),
        ["harbour customer unconfirmedx1 +mail", "brokers provider unconfirmedx1"]
    );
    assert!(told.iter().all(|n| n.facts.grant == Some(grant)));
    t.by_boss = t.w.sign_in(t.by_boss.person().unwrap());
    let grants = [grant].into();
    let confirm = Command::Confirm { customer: Some(t.harbour), grants };
    t.is(
        &t.by_boss.clone(),
        confirm,
        &["harbour customer confirmedx1", "brokers provider confirmedx1"],
    );
}

#[test]
fn t57_mails_go_to_active_members_by_role_at_an_address_that_is_theirs() {
    let mut t = told();
    let mut put = |external: &str, portal, verified: bool, active: bool| {
        let mut spec = t.w.member_spec(t.harbour, external, portal);
        (spec.email_verified, spec.active) = (verified, active);
        t.w.must(&t.w.provision(), Command::PutMember(spec));
        t.w.person(t.harbour, external)
    };
    let (admin, support) = (Some(PortalRole::Admin), Some(PortalRole::CustomerSupport));
    let helps = put("helps", support, true, true);
    put("unproven", admin, false, true);
    put("resting", admin, true, false);
    put("plain", None, true, true);
    let boss = t.by_boss.person().unwrap();
    let to = |state: &State, permission| -> BTreeSet<PersonId> {
        let all = notice::addressees(state, t.harbour, permission);
        all.into_iter().map(|(person, _)| person).collect()
    };
    let state = t.w.state.clone();
    assert_eq!(to(&state, PortalPermission::Manage), [boss].into());
    assert_eq!(to(&state, PortalPermission::Audit), [boss, helps].into());
    // Nobody who has left, and nobody of a suspended organisation.
    let external = "helps".into();
    t.w.must(&t.w.provision(), Command::RemoveMember { organisation: t.harbour, external });
    assert_eq!(to(&t.w.state, PortalPermission::Audit), [boss].into());
    let standing = Standing::Suspended;
    t.w.must(&t.w.operate(), Command::SetStanding { organisation: t.harbour, standing });
    assert!(to(&t.w.state, PortalPermission::Audit).is_empty());
}

#[test]
fn every_kind_has_a_name_of_its_own_that_leads_back() {
    let names: BTreeSet<_> = Kind::ALL.iter().map(|k| k.code()).collect();
    assert_eq!(names.len(), Kind::ALL.len());
    assert!(Kind::ALL.iter().all(|k| Kind::of(k.code()) == Some(*k)));
}
