//! The checker's own sentences: each invariant, broken on purpose, is found and names what it is
//! about. That legal histories never breach is shown after every step of the model's runs.

use comity_domain::check::{self, Breach, OF_LOG, OF_STATE, OF_STEP, Scope, seam};
use comity_domain::command::{Caller, Command};
use comity_domain::event::{Event, Recorded, Row};
use comity_domain::factor::{Acr, Proof};
use comity_domain::grant::GrantEnd;
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{
    AccountId, Digest32, GrantId, KeyId, OrganisationId, PersonId, RequestId, RoleId, SessionId,
};
use comity_domain::kernel;
use comity_domain::lock::LockTarget;
use comity_domain::organisation::{Accounts, Standing};
use comity_domain::role::{Mode, Modes, PinnedRole};
use comity_domain::state::State;
use comity_domain::time::{DAY, HOUR, Instant, MINUTE, Minutes};

use crate::world::{World, list};

/// A harbour with brokers inside.
pub struct Town {
    pub w: World,
    pub harbour: OrganisationId,
    pub brokers: OrganisationId,
    pub pier: AccountId,
    pub keeper: RoleId,
    pub boss: PersonId,
    pub chief: PersonId,
    pub rita: PersonId,
    pub by_boss: Caller,
    pub by_chief: Caller,
    pub by_rita: Caller,
    pub request: RequestId,
    pub grant: GrantId,
    pub session: SessionId,
}

pub fn town() -> Town {
    let mut w = World::new();
    let (harbour, brokers) =
        (w.organisation("harbour", "Harbour"), w.organisation("brokers", "Brokers"));
    let pier = w.account(harbour, "pier");
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    let (boss, chief) = (w.admin(harbour, "boss"), w.admin(brokers, "chief"));
    let rita = w.member(brokers, "rita", None);
    let (by_boss, by_chief, by_rita) = (w.sign_in(boss), w.sign_in(chief), w.sign_in(rita));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let mut terms = w.terms(&[keeper]);
    terms.accounts = list(&[pier]);
    let grant = w.approve(&by_boss, request, terms);
    w.assign(&by_chief, grant, rita, &[keeper]);
    w.assign(&by_chief, grant, chief, &[keeper]);
    w.later(MINUTE);
    let session = w.enter(&by_rita, harbour, Mode::ActAs);
    w.later(MINUTE);
    Town {
        w,
        harbour,
        brokers,
        pier,
        keeper,
        boss,
        chief,
        rita,
        by_boss,
        by_chief,
        by_rita,
        request,
        grant,
        session,
    }
}

impl Town {
    /// What the checker says of the whole state after somebody changed it by hand.
    fn broken(&self, change: impl FnOnce(&mut State)) -> Vec<Breach> {
        let mut state = self.w.state.clone();
        change(&mut state);
        check::check(&state, &Scope::everything(), self.w.now)
    }

    /// The next row as somebody would have liked it.
    fn row(&self, caller: &Caller, events: Vec<Event>) -> Row {
        let recorded = |event| Recorded { event, readers: Vec::new() };
        let mut row = self.w.rows.last().unwrap().clone();
        (row.seq, row.at, row.caller) = (self.w.state.seq + 1, self.w.now, caller.clone());
        row.events = events.into_iter().map(recorded).collect();
        row.words = Vec::new();
        row
    }

    fn stepped(&self, caller: &Caller, events: Vec<Event>) -> Vec<Breach> {
        let row = self.row(caller, events);
        let mut after = self.w.state.clone();
        kernel::apply(&mut after, &row);
        check::step(&self.w.state, &row, &after)
    }
}

fn names(found: &[Breach], invariant: u8, about: HaltTarget) {
    let hit = found.iter().any(|b| b.invariant == invariant && b.about == Some(about));
    assert!(hit, "no breach of {invariant} on {about:?} in {found:?}");
}

#[test]
fn a_state_that_the_kernel_made_breaks_nothing() {
    assert_eq!(town().broken(|_| {}), []);
}

#[test]
fn inv01_a_foreign_account_role_unit_or_side_is_found() {
    let t = town();
    let on = HaltTarget::Grant(t.grant);
    let unit = t.w.state.organisations.get(t.brokers).unwrap().default_unit;
    names(
        &t.broken(|s| seam::account(s, t.pier, |a| a.unit = unit)),
        1,
        HaltTarget::Organisation(t.harbour),
    );
    names(&t.broken(|s| seam::account(s, t.pier, |a| a.organisation = t.brokers)), 1, on);
    names(&t.broken(|s| seam::grant(s, t.grant, |g| g.customer.unit = Some(unit))), 1, on);
    names(&t.broken(|s| seam::grant(s, t.grant, |g| g.roles[0].role = RoleId(7))), 1, on);
    let found = t.broken(|s| seam::member(s, t.harbour, t.boss, |m| m.unit = unit));
    names(&found, 1, HaltTarget::Person(t.boss));
}

#[test]
fn inv02_the_same_organisation_on_both_sides_is_found() {
    let t = town();
    let found = t.broken(|s| seam::grant(s, t.grant, |g| g.provider.organisation = t.harbour));
    names(&found, 2, HaltTarget::Grant(t.grant));
    let found = t.broken(|s| seam::request(s, t.request, |r| r.provider.organisation = t.harbour));
    names(&found, 2, HaltTarget::Organisation(t.harbour));
}

#[test]
fn inv03_a_grant_without_its_approval_is_found() {
    use comity_domain::request::RequestState;
    let t = town();
    let on = HaltTarget::Grant(t.grant);
    let open = |s: &mut State| seam::request(s, t.request, |r| r.state = RequestState::Pending);
    names(&t.broken(open), 3, on);
    let twin = GrantId(77);
    let made = t.w.state.grants.get(t.grant).unwrap().clone();
    names(&t.broken(|s| seam::put_grant(s, twin, made.clone())), 3, HaltTarget::Grant(twin));
    // In a row: a grant that nobody approved, and one of other terms than were shown.
    let event = Event::GrantMade {
        grant: twin,
        request: t.request,
        customer: made.customer,
        provider: made.provider,
        level: made.level.clone(),
        roles: made.roles.clone(),
        accounts: made.accounts.clone(),
        modes: made.modes,
        window: made.window,
        cap: made.cap,
        allow_external: false,
        jwt: false,
        summary: Digest32([9; 32]),
    };
    let by = t.boss;
    let approved =
        Event::RequestApproved { request: t.request, grant: twin, by, summary: made.summary };
    names(&t.stepped(&t.by_boss, vec![event.clone()]), 3, HaltTarget::Grant(twin));
    let found = t.stepped(&t.by_boss, vec![approved, event]);
    names(&found, 3, HaltTarget::Grant(twin));
    names(&found, 8, HaltTarget::Organisation(t.brokers)); // that request was decided before
}

#[test]
fn inv04_who_asked_or_belonged_to_the_provider_and_approved_is_found() {
    use comity_domain::request::RequestState;
    let mut t = town();
    let state = RequestState::Approved { at: t.w.now, by: Some(t.chief), grant: t.grant };
    let found = t.broken(|s| seam::request(s, t.request, |r| r.state = state));
    names(&found, 4, HaltTarget::Grant(t.grant));
    t.w.must(&t.by_boss, Command::Revoke { grant: t.grant });
    let request = t.w.ask(&t.by_chief, t.w.ask_spec(t.brokers, t.harbour));
    let on = GrantId(77);
    for (caller, by) in [(&t.by_chief, t.chief), (&t.by_rita, t.rita), (&t.by_rita, t.boss)] {
        let summary = Digest32([1; 32]);
        let found =
            t.stepped(caller, vec![Event::RequestApproved { request, grant: on, by, summary }]);
        names(&found, 4, HaltTarget::Grant(on));
    }
}

#[test]
fn inv03_inv04_an_offer_that_nobody_made_or_that_gives_more_is_found() {
    let mut t = town();
    let to = t.w.partner_id(&t.by_chief, t.brokers);
    let terms = t.w.terms(&[t.keeper]);
    let request = t.w.offer(&t.by_boss, (t.harbour, to), terms);
    let on = GrantId(77);
    let grant = t.w.clone().accept(&t.by_chief, request);
    let made = {
        let mut w = t.w.clone();
        let id = w.accept(&t.by_chief, request);
        w.state.grants.get(id).unwrap().clone()
    };
    assert_ne!(grant, on);
    let event = |roles: Vec<_>, cap| Event::GrantMade {
        grant: on,
        request,
        customer: made.customer,
        provider: made.provider,
        level: made.level.clone(),
        roles,
        accounts: made.accounts.clone(),
        modes: made.modes,
        window: made.window,
        cap,
        allow_external: made.allow_external,
        jwt: made.jwt,
        summary: made.summary,
    };
    let accepted = |by| Event::OfferAccepted { request, grant: on, by };
    let just = event(made.roles.clone(), made.cap);
    let found = t.stepped(&t.by_chief, vec![accepted(Some(t.chief)), just.clone()]);
    assert!(!found.iter().any(|b| [3, 4, 5].contains(&b.invariant)), "{found:?}");
    // By the one who offered, by nobody, by somebody without the say; more than was offered.
    for (caller, by) in [(&t.by_boss, Some(t.boss)), (&t.by_rita, Some(t.rita))] {
        names(&t.stepped(caller, vec![accepted(by), just.clone()]), 4, HaltTarget::Grant(on));
    }
    let found = t.stepped(&t.by_chief, vec![accepted(None), just]);
    names(&found, 3, HaltTarget::Grant(on));
    let mut roles = made.roles.clone();
    roles.push(PinnedRole { role: RoleId(7), version: 1 });
    for wide in [event(roles, made.cap), event(made.roles.clone(), Minutes(481))] {
        let found = t.stepped(&t.by_chief, vec![accepted(Some(t.chief)), wide]);
        names(&found, 3, HaltTarget::Grant(on));
    }
}

#[test]
fn inv04_inv05_an_amendment_by_the_wrong_hand_is_found() {
    let t = town();
    let g = t.w.state.grants.get(t.grant).unwrap().clone();
    let amended = |by, end| Event::GrantAmended {
        grant: t.grant,
        by,
        roles: g.roles.clone(),
        accounts: g.accounts.clone(),
        modes: g.modes,
        end,
        cap: g.cap,
        allow_external: false,
        jwt: g.jwt,
        summary: g.summary,
    };
    let (end, on) = (g.window.end, HaltTarget::Grant(t.grant));
    let found = t.stepped(&t.by_boss, vec![amended(t.boss, end)]);
    assert!(!found.iter().any(|b| [4, 5, 7].contains(&b.invariant)), "{found:?}");
    names(&t.stepped(&t.by_chief, vec![amended(t.chief, end)]), 4, on);
    names(&t.stepped(&t.by_chief, vec![amended(t.boss, end)]), 4, on);
    let far = t.w.now.plus(731 * DAY);
    names(&t.stepped(&t.by_boss, vec![amended(t.boss, far)]), 7, on);
}

#[test]
fn inv05_a_narrowing_that_gives_more_is_found() {
    let t = town();
    let g = t.w.state.grants.get(t.grant).unwrap().clone();
    let narrowed = |accounts, modes, end, cap| {
        let (grant, roles) = (t.grant, g.roles.clone());
        vec![Event::GrantNarrowed { grant, by: None, roles, accounts, modes, end, cap }]
    };
    let (accounts, end) = (g.accounts.clone(), g.window.end);
    let wide = [
        narrowed(Accounts::All, g.modes, end, g.cap),
        narrowed(accounts.clone(), g.modes, end.plus(1), g.cap),
        narrowed(accounts.clone(), g.modes, end, Minutes(g.cap.0 + 1)),
    ];
    for events in wide {
        names(&t.stepped(&t.by_boss, events), 5, HaltTarget::Grant(t.grant));
    }
    assert_eq!(t.stepped(&t.by_boss, narrowed(accounts, g.modes, end, g.cap)), []);
}

#[test]
fn inv06_an_assignment_above_its_grant_is_found() {
    let mut t = town();
    let other = t.w.role(t.harbour, "cashier", &["money:*"]);
    let quay = t.w.account(t.harbour, "quay");
    let on = HaltTarget::Grant(t.grant);
    let roles = |s: &mut State| seam::assignment(s, t.grant, t.rita, Some(vec![other]), |_| {});
    names(&t.broken(roles), 6, on);
    let none = |s: &mut State| seam::assignment(s, t.grant, t.rita, Some(vec![]), |_| {});
    names(&t.broken(none), 6, on);
    let late = t.w.state.grants.get(t.grant).unwrap().window.end.plus(1);
    let long = |s: &mut State| seam::assignment(s, t.grant, t.rita, None, |a| a.ends_at = late);
    names(&t.broken(long), 6, on);
    let moved = |s: &mut State| {
        seam::account_set(s, t.grant, t.rita, vec![quay]);
    };
    names(&t.broken(moved), 6, on);
}

#[test]
fn inv07_a_window_that_could_not_be_given_is_found() {
    let t = town();
    let on = HaltTarget::Grant(t.grant);
    names(&t.broken(|s| seam::grant(s, t.grant, |g| g.window.end = g.window.start)), 7, on);
    let long = |s: &mut State| {
        seam::grant(s, t.grant, |g| g.window.end = g.window.start.plus(731 * DAY));
    };
    names(&t.broken(long), 7, on);
    names(&t.broken(|s| seam::grant(s, t.grant, |g| g.window.end = Instant::NEVER)), 7, on);
}

#[test]
fn inv08_what_is_over_and_changes_is_found() {
    let mut t = town();
    let by = Some(t.boss);
    let ended =
        comity_domain::grant::GrantState::Ended { at: t.w.now, cause: GrantEnd::Revoked, by };
    let found = t.broken(|s| seam::grant(s, t.grant, |g| g.state = ended));
    names(&found, 8, HaltTarget::Grant(t.grant));
    names(&found, 20, HaltTarget::Session(t.session));
    t.w.must(&t.by_boss, Command::Revoke { grant: t.grant });
    let again = Event::GrantEnded { grant: t.grant, cause: GrantEnd::GivenUp, by: None };
    names(&t.stepped(&t.by_chief, vec![again]), 8, HaltTarget::Grant(t.grant));
    let shorter = Event::SessionShortened { session: t.session, deadline: t.w.now.plus(1) };
    names(&t.stepped(&t.by_chief, vec![shorter]), 8, HaltTarget::Session(t.session));
}

#[test]
fn inv14_somebody_on_a_grant_who_is_no_member_is_found() {
    let t = town();
    let found = t.broken(|s| seam::no_member(s, t.brokers, t.chief));
    names(&found, 14, HaltTarget::Person(t.chief));
    let found = t.broken(|s| seam::forgets_grant(s, t.grant, t.chief));
    names(&found, 14, HaltTarget::Grant(t.grant));
}

#[test]
fn inv15_a_rule_that_does_not_say_what_is_so_is_found() {
    use comity_domain::assignment::Basis;
    use comity_domain::auto::{AutoEnd, AutoSpec};
    let mut t = town();
    let on = HaltTarget::Grant(t.grant);
    let spec = AutoSpec { roles: vec![t.keeper], only: None };
    let set = t.w.set_auto(t.grant, Some(spec)).unwrap();
    t.w.must(&t.by_chief, set);
    assert_eq!(t.broken(|_| {}), []);
    let rule = t.w.state.grants.get(t.grant).unwrap().auto.clone().unwrap();
    let mut row = rule.row;
    row.basis = Basis::Individual;
    names(&t.broken(|s| seam::own_row(s, t.grant, t.rita, row)), 15, on);
    let gone = |s: &mut State| seam::grant(s, t.grant, |g| g.auto = None);
    names(&t.broken(gone), 15, on); // and still looked at
    names(&t.broken(gone), 20, HaltTarget::Session(t.session));
    let listed = |s: &mut State| {
        seam::grant(s, t.grant, |g| g.auto.as_mut().unwrap().row.basis = Basis::Individual);
    };
    names(&t.broken(listed), 15, on);
    names(&t.broken(|s| seam::grant(s, t.grant, |g| g.roles.clear())), 6, on);
    let out = |s: &mut State| {
        let out = |g: &mut comity_domain::grant::Grant| {
            g.auto.as_mut().unwrap().left_out.insert(t.rita);
        };
        seam::grant(s, t.grant, out);
    };
    names(&t.broken(out), 20, HaltTarget::Session(t.session));
    // Turned off without a row for each of them.
    let off = Event::AutoCleared { grant: t.grant, cause: AutoEnd::SwitchedOff };
    names(&t.stepped(&t.by_chief, vec![off]), 15, on);
    // Narrowed to nobody.
    let only = Some([comity_domain::person::PortalRole::CustomerSupport].into());
    let narrowed = Event::AutoSet { grant: t.grant, roles: vec![t.keeper], only };
    names(&t.stepped(&t.by_chief, vec![narrowed]), 16, on);
}

#[test]
fn inv16_inv17_the_last_one_taken_away_is_found() {
    use comity_domain::assignment::AssignmentEnd;
    let t = town();
    let gone = |person| {
        let (grant, cause) = (t.grant, AssignmentEnd::Removed);
        Event::AssignmentEnded { grant, person, cause }
    };
    assert_eq!(t.stepped(&t.by_chief, vec![gone(t.chief)]), []);
    let found = t.stepped(&t.by_chief, vec![gone(t.chief), gone(t.rita)]);
    names(&found, 16, HaltTarget::Grant(t.grant));
    let left = Event::MemberLeft { organisation: t.harbour, person: t.boss };
    let found = t.stepped(&t.w.provision(), vec![left]);
    names(&found, 17, HaltTarget::Organisation(t.harbour));
}

#[test]
fn inv19_a_session_outside_of_its_bounds_is_found() {
    use comity_domain::session::{SessionEnd, SessionState};
    let t = town();
    let on = HaltTarget::Session(t.session);
    let long =
        |s: &mut State| seam::session(s, t.session, |x| x.deadline = x.started.plus(9 * HOUR));
    names(&t.broken(long), 19, on);
    let soon = t.w.now.plus(MINUTE);
    let outlives = |s: &mut State| seam::assignment(s, t.grant, t.rita, None, |a| a.ends_at = soon);
    names(&t.broken(outlives), 19, on);
    names(&t.broken(|s| seam::grant(s, t.grant, |g| g.window.end = soon)), 19, on);
    let state = SessionState::Ended { at: Instant(0), cause: SessionEnd::Closed };
    names(&t.broken(|s| seam::session(s, t.session, |x| x.state = state)), 19, on);
    let later = Event::SessionShortened { session: t.session, deadline: t.w.now.plus(7 * HOUR) };
    names(&t.stepped(&t.by_chief, vec![later]), 19, on);
}

#[test]
fn inv20_a_session_that_lacks_something_is_found() {
    let t = town();
    let on = HaltTarget::Session(t.session);
    names(&t.broken(|s| seam::no_assignment(s, t.grant, t.rita)), 20, on);
    names(&t.broken(|s| seam::no_member(s, t.brokers, t.rita)), 20, on);
    names(&t.broken(|s| seam::grant(s, t.grant, |g| g.modes = Modes::NONE)), 20, on);
    let late = t.w.now.plus(1);
    names(&t.broken(|s| seam::grant(s, t.grant, |g| g.window.start = late)), 20, on);
    names(&t.broken(|s| seam::session(s, t.session, |x| x.grant = GrantId(7))), 20, on);
    let mut second = t.w.state.sessions.get(t.session).unwrap().clone();
    second.token = Digest32([8; 32]);
    let twin = SessionId(u128::MAX);
    let found = t.broken(|s| seam::put_session(s, twin, second));
    names(&found, 20, HaltTarget::Session(twin)); // a second act_as
}

#[test]
fn inv21_a_session_entered_from_a_session_is_found() {
    let t = town();
    let session = SessionId(77);
    let event = Event::SessionStarted {
        session,
        grant: t.grant,
        customer: t.harbour,
        provider: t.brokers,
        person: t.rita,
        application: t.w.boats,
        mode: Mode::Direct,
        deadline: t.w.now.plus(MINUTE),
        token: Digest32([4; 32]),
        reserved: 256,
        scope: None,
        reason: None,
        name: 0,
        email: 0,
    };
    let inside = crate::world::inside(t.session);
    names(&t.stepped(&inside, vec![event.clone()]), 21, HaltTarget::Session(session));
    assert_eq!(t.stepped(&t.by_rita, vec![event]), []);
}

#[test]
fn inv23_a_token_that_leads_elsewhere_is_found() {
    let t = town();
    let (on, other) = (HaltTarget::Session(t.session), Digest32([5; 32]));
    names(&t.broken(|s| seam::session(s, t.session, |x| x.token = other)), 23, on);
    names(&t.broken(|s| seam::token(s, other, t.session)), 23, on);
    let (key, _) = t.w.state.keys.iter().next().unwrap();
    names(&t.broken(|s| seam::secret(s, other, key)), 23, HaltTarget::Key(key));
    names(&t.broken(|s| seam::secret(s, other, KeyId(7))), 23, HaltTarget::Key(KeyId(7)));
    let mine = |x: &comity_domain::person::SignIn| x.person == t.rita;
    let (sign_in, _) = t.w.state.sign_ins.iter().find(|(_, x)| mine(x)).unwrap();
    let found = t.broken(|s| seam::sign_in(s, sign_in, |x| x.auth_epoch += 1));
    names(&found, 23, HaltTarget::Person(t.rita));
}

#[test]
fn inv23_a_sign_in_by_what_does_not_count_is_found() {
    let mut t = town();
    let (secret, begun, rita) = (Digest32([4; 32]), t.w.now, t.rita);
    let by_rita = t.w.sign_in(rita);
    let totp = Command::SetTotp {
        secret,
        sealed: comity_domain::command::Sealed(vec![1]),
        step: 7,
        codes: vec![Digest32([6; 32])],
    };
    t.w.must(&by_rita, totp);
    let nobody = crate::world::anonymous();
    let signed_in = |t: &Town, proof| {
        let event = Event::SignedIn {
            person: rita,
            sign_in: comity_domain::ids::SignInId(7),
            digest: secret,
            until: t.w.now.plus(HOUR),
            proof,
            door: comity_domain::command::Door::Api,
        };
        t.stepped(&nobody, vec![event])
    };
    for proof in [
        Proof::Password,
        Proof::Totp { step: 7 },
        Proof::Recovery { code: secret },
        Proof::Passkey { credential: secret, counter: 1, begun },
        Proof::Earlier { acr: Acr::Multi, at: begun },
    ] {
        names(&signed_in(&t, proof), 23, HaltTarget::Person(rita));
    }
    for proof in [Proof::Totp { step: 8 }, Proof::Recovery { code: Digest32([6; 32]) }] {
        assert_eq!(signed_in(&t, proof), [], "{proof:?}");
    }
}

#[test]
fn inv24_a_state_that_the_log_does_not_lead_to_is_found_by_its_object() {
    let t = town();
    let log = &t.w.state;
    let mut scope = Scope::default();
    scope.grants.insert(t.grant);
    let part = [Scope::everything(), scope];
    assert_eq!(check::differences(log, log, &part[0]), []);
    let found = |change: &dyn Fn(&mut State), scope: &Scope| {
        let mut used = log.clone();
        change(&mut used);
        check::differences(log, &used, scope)
    };
    for scope in &part {
        assert_eq!(check::differences(log, log, scope), []);
        let end = |s: &mut State| {
            seam::grant(s, t.grant, |g| g.window.end = g.window.end.plus(DAY));
        };
        names(&found(&end, scope), 24, HaltTarget::Grant(t.grant));
        let gone = |s: &mut State| seam::no_assignment(s, t.grant, t.rita);
        names(&found(&gone, scope), 24, HaltTarget::Grant(t.grant));
        let longer =
            |s: &mut State| seam::session(s, t.session, |x| x.deadline = x.deadline.plus(HOUR));
        names(&found(&longer, scope), 24, HaltTarget::Session(t.session));
    }
    let left = |s: &mut State| seam::no_member(s, t.brokers, t.rita);
    names(&found(&left, &part[0]), 24, HaltTarget::Person(t.rita));
    // An index that no object can be named for is about the whole, and closes.
    let index = found(&|s| seam::token(s, Digest32([5; 32]), t.session), &part[0]);
    assert!(index.iter().all(|b| b.closes()) && index.len() == 1, "{index:?}");
}

#[test]
fn inv25_a_row_that_is_not_the_next_one_is_found() {
    let t = town();
    let mut row = t.row(&Caller::system(), vec![]);
    let none = check::step(&t.w.state, &row, &t.w.state);
    assert!(none.iter().any(|b| b.invariant == 25 && b.closes()));
    row = t.row(
        &Caller::system(),
        vec![Event::SignedOut { sign_in: comity_domain::ids::SignInId(7) }],
    );
    row.at = row.at.plus(-DAY);
    assert!(check::step(&t.w.state, &row, &t.w.state).iter().any(|b| b.invariant == 25));
}

#[test]
fn inv31_a_door_beside_a_grant_is_found() {
    let mut t = town();
    let mut put = t.w.member_spec(t.harbour, "rita-too", None);
    put.email = t.w.member_spec(t.brokers, "rita", None).email;
    t.w.must(&t.w.provision(), Command::PutMember(put));
    assert_eq!(t.broken(|_| {}), []);
    let found = t.broken(|s| seam::member(s, t.harbour, t.rita, |m| m.superseded = None));
    names(&found, 31, HaltTarget::Person(t.rita));
}

#[test]
fn inv32_what_a_restore_left_in_force_is_found() {
    let mut t = town();
    let waits = Some(t.w.now);
    let found = t.broken(|s| seam::grant(s, t.grant, |g| g.unconfirmed = waits));
    names(&found, 32, HaltTarget::Session(t.session));
    // A row that says it restored, and a state in which something stayed as it was.
    let restored = t.row(&Caller::system(), vec![Event::Restored { fork: 2, people_kept: false }]);
    let mut after = t.w.state.clone();
    kernel::apply(&mut after, &restored);
    seam::grant(&mut after, t.grant, |g| g.unconfirmed = None);
    seam::member(&mut after, t.brokers, t.rita, |m| m.standing = Standing::Active);
    let found = check::step(&t.w.state, &restored, &after);
    let (key, _) = t.w.state.keys.iter().next().unwrap();
    for about in [
        HaltTarget::Grant(t.grant),
        HaltTarget::Session(t.session),
        HaltTarget::Person(t.rita),
        HaltTarget::Key(key),
    ] {
        names(&found, 32, about); // the keys and sessions: no event of the row ended them
    }
    // A yes that came back by another's word.
    let restore = Command::Restore { fork: 2, erased: vec![], keep_people: true };
    t.w.must(&Caller::system(), restore);
    let confirmed = |by| vec![Event::GrantConfirmed { grant: t.grant, by }];
    assert_eq!(t.stepped(&t.by_boss, confirmed(t.boss)), []);
    names(&t.stepped(&t.by_boss, confirmed(t.chief)), 32, HaltTarget::Grant(t.grant));
    names(&t.stepped(&t.by_chief, confirmed(t.chief)), 4, HaltTarget::Grant(t.grant));
}

#[test]
fn inv33_a_session_under_a_lock_or_a_halt_is_found() {
    let mut t = town();
    let running = t.w.state.sessions.get(t.session).unwrap().clone();
    let target = LockTarget::Person(t.rita);
    t.w.must(&t.by_boss, Command::Lock { customer: t.harbour, target, reason: None });
    let alive = |s: &mut State| seam::session(s, t.session, |x| x.state = running.state);
    names(&t.broken(alive), 33, HaltTarget::Session(t.session));
    let lock = t.w.state.lock_on(t.harbour, target).unwrap();
    names(&t.broken(|s| seam::hide_lock(s, lock)), 33, HaltTarget::Person(t.rita));
    t.w.must(&t.by_boss, Command::Unlock { lock });
    let target = HaltTarget::Organisation(t.brokers);
    t.w.must(&Caller::system(), Command::Halt { target, invariant: 1 });
    names(&t.broken(alive), 33, HaltTarget::Session(t.session));
}

#[test]
fn a_breach_is_found_where_only_its_object_was_touched() {
    let t = town();
    let only = |scope: &Scope, change: &dyn Fn(&mut State)| {
        let mut state = t.w.state.clone();
        change(&mut state);
        assert_eq!(check::check(&t.w.state, scope, t.w.now), []);
        check::check(&state, scope, t.w.now)
    };
    let (grants, people) = ([t.grant].into(), [t.rita].into());
    let grant = Scope { grants, ..Scope::default() };
    let person = Scope { people, ..Scope::default() };
    let session = Scope { sessions: [t.session].into(), ..Scope::default() };
    let harbour = Scope { organisations: [t.harbour].into(), ..Scope::default() };
    let none = |s: &mut State| seam::assignment(s, t.grant, t.rita, Some(vec![]), |_| {});
    names(&only(&grant, &none), 6, HaltTarget::Grant(t.grant));
    names(&only(&person, &none), 6, HaltTarget::Grant(t.grant));
    let off = |s: &mut State| seam::no_assignment(s, t.grant, t.rita);
    for scope in [&grant, &person, &session] {
        names(&only(scope, &off), 20, HaltTarget::Session(t.session));
    }
    let unit = t.w.state.organisations.get(t.brokers).unwrap().default_unit;
    let foreign = |s: &mut State| seam::account(s, t.pier, |a| a.unit = unit);
    names(&only(&harbour, &foreign), 1, HaltTarget::Organisation(t.harbour));
    assert_eq!(only(&session, &foreign), [], "another's affair");
}

#[test]
fn every_invariant_of_the_lists_is_broken_above_and_explained() {
    let own = include_str!("check.rs");
    let page = include_str!("../../../../docs/reference/invariants.md");
    let all = OF_STATE.iter().chain(OF_STEP).chain(OF_LOG);
    for number in all.filter(|n| **n != 26) {
        assert!(own.contains(&format!("inv{number:02}_")), "{number} is never broken here");
    }
    let said = |number: u8, column: &str| {
        let row = page.lines().find(|l| l.starts_with(&format!("| {number} |")));
        let row = row.unwrap_or_else(|| panic!("{number} stands not on the page"));
        row.contains(&format!("`{column}`"))
    };
    for number in 1..=35 {
        assert_eq!(said(number, "state"), OF_STATE.contains(&number), "{number}: state");
        assert_eq!(said(number, "step"), OF_STEP.contains(&number), "{number}: step");
        assert_eq!(said(number, "log"), OF_LOG.contains(&number), "{number}: log");
        let halting = check::HALTING.contains(&number);
        assert_eq!(said(number, "halts"), halting, "{number}: what a breach does");
    }
}
