//! People from outside: inviting them, answering, and what becomes of both (E1 to E4).

use comity_domain::assignment::Basis;
use comity_domain::command::{Caller, Command, Inviting};
use comity_domain::consent::Terms;
use comity_domain::event::Event;
use comity_domain::grant::Amending;
use comity_domain::ids::{Digest32, GrantId, InvitationId, OrganisationId, PersonId, RoleId};
use comity_domain::invitation::{
    self, InvitationCancel, InvitationPhase, InvitationState, LASTS, MOST_A_DAY,
};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::{Accounts, Settings};
use comity_domain::person::PortalRole;
use comity_domain::refusal::Reason;
use comity_domain::role::Mode;
use comity_domain::state::State;
use comity_domain::text::Subject;
use comity_domain::time::DAY;
use comity_domain::{check, kernel, rights, view};

use crate::world::{World, anonymous, by_key, inside, list, recipient};

const KAI: &str = "kai@elsewhere.example";

/// Harbour lets Brokers in, who may invite; a second Admin stands by.
struct House {
    w: World,
    harbour: OrganisationId,
    brokers: OrganisationId,
    keeper: RoleId,
    clerk: RoleId,
    boss: PersonId,
    chief: PersonId,
    second: PersonId,
    grant: GrantId,
}

fn settings(w: &World, organisation: OrganisationId, allow_external: bool) -> Command {
    let version = None;
    let own = w.state.organisations.get(organisation).unwrap().settings.clone();
    let settings = Settings { allow_external, ..own };
    Command::ChangeSettings { organisation, settings, version }
}

impl House {
    fn new() -> Self {
        let mut w = World::new();
        let harbour = w.organisation("harbour", "Harbour");
        let brokers = w.organisation("brokers", "Brokers");
        let keeper = w.role(harbour, "keeper", &["boats:*"]);
        let clerk = w.role(harbour, "clerk", &["bookings:read"]);
        w.account(harbour, "boat-1");
        w.account(harbour, "boat-2");
        let boss = w.admin(harbour, "boss");
        let chief = w.admin(brokers, "chief");
        let second = w.admin(brokers, "second");
        let (by_boss, by_chief) = (w.sign_in(boss), w.sign_in(chief));
        w.must(&by_boss, settings(&w, harbour, true));
        let ask = w.ask_spec(brokers, harbour);
        let request = w.ask(&by_chief, ask);
        let terms = Terms { allow_external: true, ..w.terms(&[keeper, clerk]) };
        let grant = w.approve(&by_boss, request, terms);
        Self { w, harbour, brokers, keeper, clerk, boss, chief, second, grant }
    }

    fn chief(&mut self) -> Caller {
        let chief = self.chief;
        self.w.sign_in(chief)
    }

    fn boss(&mut self) -> Caller {
        let boss = self.boss;
        self.w.sign_in(boss)
    }

    fn invited(&mut self, email: &str) -> (InvitationId, Digest32) {
        let (chief, grant, roles) = (self.chief(), self.grant, [self.keeper]);
        self.w.invite(&chief, grant, email, &roles)
    }

    /// Invited, registered, signed in and on the grant.
    fn came_in(&mut self) -> (Caller, PersonId) {
        let (_, token) = self.invited(KAI);
        let kai = self.w.register(token, "Kai Kranz");
        self.w.must(&kai, Command::AcceptInvitation { token });
        let person = kai.person().unwrap();
        (kai, person)
    }

    fn phase(&self, id: InvitationId) -> InvitationPhase {
        let i = self.w.state.invitations.get(id).unwrap();
        i.phase(&self.w.state, self.w.now.max(self.w.state.at))
    }

    fn cause(&self, id: InvitationId) -> Option<InvitationCancel> {
        match self.w.state.invitations.get(id).unwrap().state {
            InvitationState::Cancelled { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Nothing is broken, a replay leads to the same, and so does a snapshot.
    fn sound(&self) {
        let now = self.w.now.max(self.w.state.at);
        assert_eq!(check::check(&self.w.state, &check::Scope::everything(), now), []);
        let mut state = State::default();
        for row in &self.w.rows {
            let before = state.clone();
            kernel::apply(&mut state, row);
            assert_eq!(check::step(&before, row, &state), [], "{:?}", row.kind);
        }
        assert_eq!(state, self.w.state);
        assert_eq!(self.w.loaded(), self.w.state);
    }
}

fn answer(w: &World, session: comity_domain::ids::SessionId) -> Reason {
    let compiled = rights::compile(&w.state, session).unwrap();
    compiled.rights.err().unwrap_or(Reason::Allowed)
}

#[test]
fn e1_only_where_the_customer_lets_people_from_outside_in_and_only_the_partners_admin() {
    let mut h = House::new();
    let (chief, boss) = (h.chief(), h.boss());
    let spec = |h: &mut House| {
        let (grant, roles) = (h.grant, [h.keeper]);
        Command::Invite(Box::new(h.w.invite_spec(grant, KAI, &roles)))
    };
    let (invite, desk) =
        (spec(&mut h), h.w.member(h.brokers, "desk", Some(PortalRole::CustomerSupport)));
    let desk = h.w.sign_in(desk);
    assert_eq!(h.w.refused(&boss, invite.clone()), "forbidden");
    assert_eq!(h.w.refused(&desk, invite.clone()), "forbidden");
    assert_eq!(h.w.refused(&h.w.provision(), invite.clone()), "forbidden");
    assert_eq!(h.w.refused(&anonymous(), invite.clone()), "not_found");
    h.w.must(&boss, settings(&h.w, h.harbour, false));
    assert_eq!(h.w.refused(&chief, invite.clone()), "external_not_allowed");
    h.w.must(&boss, settings(&h.w, h.harbour, true));
    let bad = [
        ("nobody", vec![h.keeper], Accounts::All, "invalid"),
        (KAI, vec![], Accounts::All, "invalid"),
        (KAI, vec![RoleId(7)], Accounts::All, "widening"),
        (KAI, vec![h.keeper], list(&[comity_domain::ids::AccountId(7)]), "widening"),
    ];
    for (email, roles, accounts, code) in bad {
        let mut wrong = h.w.invite_spec(h.grant, email, &roles);
        wrong.giving.accounts = accounts;
        assert_eq!(h.w.refused(&chief, Command::Invite(Box::new(wrong))), code, "{email}");
    }
    h.w.must(&chief, invite.clone());
    let again = spec(&mut h);
    assert_eq!(h.w.refused(&chief, again), "already_invited");
    // A grant that lets nobody from outside in.
    let plain = Amending { allow_external: Some(false), ..Amending::default() };
    h.w.amend(&boss, h.grant, plain);
    let other = h.w.invite_spec(h.grant, "lea@elsewhere.example", &[h.keeper]);
    assert_eq!(h.w.refused(&chief, Command::Invite(Box::new(other))), "external_not_allowed");
    h.sound();
}

#[test]
fn e2_who_is_invited_registers_signs_in_accepts_and_works_there_and_nowhere_else() {
    let mut h = House::new();
    let (id, token) = h.invited(KAI);
    assert_eq!(h.phase(id), InvitationPhase::Pending);
    assert_eq!(h.w.state.active_on(h.grant, h.w.now), 0, "it gives nothing while it waits");
    let kai = h.w.register(token, "Kai Kranz");
    let person = kai.person().unwrap();
    let enter = h.w.enter_spec(h.harbour, Mode::Direct);
    assert_eq!(h.w.refused(&kai, Command::Enter(enter)), "not_found");
    h.w.must(&kai, Command::AcceptInvitation { token });
    assert_eq!(h.phase(id), InvitationPhase::Accepted);
    assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token }), "wrong_state");
    let row = h.w.state.assignment_row(h.grant, person).unwrap();
    assert_eq!(row.basis, Basis::Invited);
    let tenants: Vec<GrantId> = view::tenants(&h.w.state, person, h.w.now).map(|t| t.id).collect();
    assert_eq!(tenants, [h.grant]);
    let session = h.w.enter(&kai, h.harbour, Mode::Direct);
    assert_eq!(answer(&h.w, session), Reason::Allowed);
    // No right of the partner's portal comes with it.
    for command in [
        Command::GiveUp { grant: h.grant },
        Command::CancelInvitation { grant: h.grant, invitation: id },
        settings(&h.w, h.brokers, true),
        settings(&h.w, h.harbour, true),
    ] {
        assert_eq!(h.w.refused(&kai, command.clone()), "not_found", "{command:?}");
    }
    h.sound();
    // The provider takes them off as it takes off everybody; the last one only with a successor.
    let chief = h.chief();
    let off = Command::Unassign { grant: h.grant, person, successor: None };
    assert_eq!(h.w.refused(&chief, off.clone()), "last_user");
    h.w.assign(&chief, h.grant, h.chief, &[h.keeper]);
    h.w.must(&chief, off);
    assert_eq!(answer(&h.w, session), Reason::AssignmentLost);
    h.sound();
}

#[test]
fn t31_only_who_is_signed_in_with_that_very_address_accepts_and_a_no_tells_nothing() {
    let mut h = House::new();
    let (_, token) = h.invited(KAI);
    let accept = Command::AcceptInvitation { token };
    let other = h.w.organisation("elsewhere", "Elsewhere");
    let someone = h.w.member(other, "someone", None);
    let someone = h.w.sign_in(someone);
    let refused = h.w.run(&someone, accept.clone()).unwrap_err();
    assert_eq!(refused.code(), "forbidden");
    assert!(!refused.sentence().contains("kai") && !refused.sentence().contains('@'));
    // An address that is only said to be theirs is nobody's.
    let mut said = h.w.member_spec(other, "says", None);
    (said.email, said.email_verified) = (KAI.into(), false);
    h.w.must(&h.w.provision(), Command::PutMember(said));
    assert_eq!(h.w.refused(&anonymous(), accept.clone()), "not_found");
    assert_eq!(h.w.refused(&h.w.provision(), accept.clone()), "not_found");
    let wrong = Command::AcceptInvitation { token: Digest32([7; 32]) };
    assert_eq!(h.w.refused(&someone, wrong), "not_found");
    // Another spelling of the local part is another mailbox (T31).
    let mut upper = h.w.member_spec(other, "upper", None);
    upper.email = "Kai@elsewhere.example".into();
    h.w.must(&h.w.provision(), Command::PutMember(upper));
    let upper = h.w.sign_in(h.w.person(other, "upper"));
    assert_eq!(h.w.refused(&upper, accept), "forbidden");
    h.sound();
}

#[test]
fn t26_registering_with_an_address_that_has_an_account_makes_nothing_and_says_the_same() {
    let mut h = House::new();
    let other = h.w.organisation("elsewhere", "Elsewhere");
    let kai = h.w.member(other, "kai", None);
    let epoch = h.w.state.people.get(kai).unwrap().auth_epoch;
    let (_, token) = h.invited(KAI);
    let people = h.w.state.people.len();
    let register = |token| Command::RegisterInvited {
        token,
        name: "Mallory".into(),
        password_hash: "$argon2id$mallory".into(),
    };
    let row = h.w.must(&anonymous(), register(token)).unwrap();
    assert_eq!(row.events.len(), 1, "a row is written all the same");
    assert_eq!(h.w.state.people.len(), people);
    let known = h.w.state.people.get(kai).unwrap();
    assert_eq!((known.auth_epoch, known.has_password), (epoch, false), "no password by a link");
    assert_eq!(h.w.refused(&anonymous(), register(token)), "wrong_state", "once");
    let (_, fresh) = h.invited("lea@elsewhere.example");
    let row = h.w.must(&anonymous(), register(fresh)).unwrap();
    assert!(row.events.iter().all(|e| e.readers.is_empty()), "nobody reads who registered");
    assert_eq!(h.w.refused(&anonymous(), register(fresh)), "wrong_state", "once");
    // Who has an account signs in with it and accepts.
    let kai = h.w.sign_in(kai);
    h.w.must(&kai, Command::AcceptInvitation { token });
    h.sound();
}

#[test]
fn e2_who_has_no_way_in_and_belongs_to_nobody_registers_anew() {
    let mut h = House::new();
    let other = h.w.organisation("elsewhere", "Elsewhere");
    let kai = h.w.member(other, "kai", None);
    let remove = Command::RemoveMember { organisation: other, external: "kai".into() };
    h.w.must(&h.w.provision(), remove);
    let (_, token) = h.invited(KAI);
    let by_kai = h.w.register(token, "Kai");
    assert_eq!(by_kai.person(), Some(kai), "one human being");
    h.w.must(&by_kai, Command::AcceptInvitation { token });
    // Now there is a way in, and no other link makes another.
    let epoch = h.w.state.people.get(kai).unwrap().auth_epoch;
    let chief = h.chief();
    h.w.assign(&chief, h.grant, h.chief, &[h.keeper]);
    h.w.must(&chief, Command::Unassign { grant: h.grant, person: kai, successor: None });
    let (_, token) = h.invited(KAI);
    h.w.register(token, "Mallory");
    assert_eq!(h.w.state.people.get(kai).unwrap().auth_epoch, epoch);
    h.sound();
}

#[test]
fn e2_sending_again_rotates_the_link_and_moves_nothing_else() {
    let mut h = House::new();
    let (id, token) = h.invited(KAI);
    let expires = h.w.state.invitations.get(id).unwrap().expires();
    let again = |h: &mut House| {
        let (chief, grant) = (h.chief(), h.grant);
        let token = h.w.secret();
        let sealed = comity_domain::command::Sealed(vec![1]);
        let resend = Command::ResendInvitation { grant, invitation: id, token, sealed };
        (h.w.run(&chief, resend).map_err(|r| r.code()).map(|_| ()), token)
    };
    h.w.later(DAY);
    let (done, second) = again(&mut h);
    assert_eq!(done, Ok(()));
    let kai = h.w.register(second, "Kai Kranz");
    assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token }), "not_found", "the old link");
    assert_eq!(h.w.state.invitations.get(id).unwrap().expires(), expires);
    assert_eq!(again(&mut h).0, Ok(()));
    let (done, last) = again(&mut h);
    assert_eq!(done, Ok(()));
    assert_eq!(again(&mut h).0, Err("too_many_invitations"));
    assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token: second }), "not_found");
    h.w.at(expires.since(crate::world::START));
    let person = kai.person().unwrap();
    let kai = h.w.sign_in(person);
    assert_eq!(h.phase(id), InvitationPhase::Expired, "the seven days ran on");
    assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token: last }), "wrong_state");
    h.w.must(&Caller::system(), Command::NoteDue);
    assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token: last }), "wrong_state");
    h.sound();
}

#[test]
fn inv18_it_ends_at_the_seventh_day_and_not_before() {
    for (late, expected) in [(-1, None), (0, Some("wrong_state"))] {
        let mut h = House::new();
        let (_, token) = h.invited(KAI);
        let kai = h.w.register(token, "Kai");
        h.w.later(LASTS + late);
        let person = kai.person().unwrap();
        let kai = h.w.sign_in(person);
        let done = h.w.run(&kai, Command::AcceptInvitation { token });
        assert_eq!(done.err().map(|r| r.code()), expected);
        h.sound();
    }
}

#[test]
fn e3_declining_takes_no_account_and_what_is_over_stays_over() {
    let mut h = House::new();
    let (id, token) = h.invited(KAI);
    let chief = h.chief();
    assert_eq!(h.w.refused(&h.w.decide(), Command::DeclineInvitation { token }), "not_found");
    h.w.must(&anonymous(), Command::DeclineInvitation { token });
    assert_eq!(h.phase(id), InvitationPhase::Declined);
    let cancel = Command::CancelInvitation { grant: h.grant, invitation: id };
    assert_eq!(h.w.refused(&chief, cancel), "wrong_state");
    assert_eq!(h.w.refused(&anonymous(), Command::DeclineInvitation { token }), "wrong_state");
    let (id, token) = h.invited(KAI); // who said no may be asked again
    let kai = h.w.register(token, "Kai");
    h.w.must(&chief, Command::CancelInvitation { grant: h.grant, invitation: id });
    assert_eq!(h.cause(id), Some(InvitationCancel::ByProvider));
    assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token }), "wrong_state");
    assert_eq!(h.w.refused(&anonymous(), Command::DeclineInvitation { token }), "wrong_state");
    // One of another grant is not there.
    let (id, _) = h.invited(KAI);
    let elsewhere = Command::CancelInvitation { grant: GrantId(7), invitation: id };
    assert_eq!(h.w.refused(&chief, elsewhere), "not_found");
    h.sound();
}

#[test]
fn t33_accepting_judges_the_grant_anew() {
    type Deed = fn(&mut House) -> (Caller, Command);
    let deeds: [(&str, Deed, &str); 5] = [
        ("revoked", |h| (h.boss(), Command::Revoke { grant: h.grant }), "wrong_state"),
        ("given up", |h| (h.chief(), Command::GiveUp { grant: h.grant }), "wrong_state"),
        (
            "locked",
            |h| {
                let target = LockTarget::Organisation(h.brokers);
                (h.boss(), Command::Lock { customer: h.harbour, target, reason: None })
            },
            "locked",
        ),
        ("barred", |h| (h.boss(), settings(&h.w, h.harbour, false)), "wrong_state"),
        (
            "role gone",
            |h| {
                let (organisation, code) = (h.harbour, "keeper".into());
                (h.w.provision(), Command::DeleteRole { organisation, code })
            },
            "wrong_state",
        ),
    ];
    for (what, deed, code) in deeds {
        let mut h = House::new();
        let (id, token) = h.invited(KAI);
        let kai = h.w.register(token, "Kai");
        let (caller, command) = deed(&mut h);
        h.w.must(&caller, command);
        assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token }), code, "{what}");
        assert_eq!(h.phase(id) == InvitationPhase::Pending, what == "locked", "{what}");
        assert!(h.w.state.assignment_row(h.grant, kai.person().unwrap()).is_none(), "{what}");
        h.sound();
    }
    // By the clock alone.
    let mut h = House::new();
    let (chief, grant) = (h.chief(), h.grant);
    h.w.later(29 * DAY);
    let chief = h.w.sign_in(chief.person().unwrap());
    let (id, token) = h.w.invite(&chief, grant, KAI, &[h.keeper]);
    let kai = h.w.register(token, "Kai");
    h.w.later(DAY);
    let kai = h.w.sign_in(kai.person().unwrap());
    assert_eq!(h.phase(id), InvitationPhase::Cancelled);
    assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token }), "wrong_state");
    h.sound();
}

#[test]
fn e4_a_removed_inviters_invitations_are_held_until_another_admin_approves_them() {
    let mut h = House::new();
    let (id, token) = h.invited(KAI);
    let kai = h.w.register(token, "Kai");
    let remove = Command::RemoveMember { organisation: h.brokers, external: "chief".into() };
    let row = h.w.must(&h.w.provision(), remove).unwrap();
    let held = |e: &Event| matches!(e, Event::InvitationHeld { invitation } if *invitation == id);
    assert!(row.events.iter().any(|r| held(&r.event)));
    assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token }), "wrong_state");
    let second = h.w.sign_in(h.second);
    let sealed = comity_domain::command::Sealed(vec![1]);
    let fresh = h.w.secret();
    let resend = Command::ResendInvitation { grant: h.grant, invitation: id, token: fresh, sealed };
    assert_eq!(h.w.refused(&second, resend), "wrong_state", "sending it again approves nothing");
    // Coming back lifts nothing, and whoever it was cannot approve it.
    let back = h.w.member_spec(h.brokers, "chief", Some(PortalRole::Admin));
    h.w.must(&h.w.provision(), Command::PutMember(back));
    let chief = h.w.sign_in(h.w.person(h.brokers, "chief"));
    assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token }), "wrong_state");
    let approve = Command::ApproveInvitation { grant: h.grant, invitation: id };
    assert_eq!(h.w.refused(&chief, approve.clone()), "forbidden");
    h.sound();
    h.w.must(&second, approve.clone());
    assert!(h.w.must(&second, approve).is_none(), "once is enough");
    let expires = h.w.state.invitations.get(id).unwrap().expires();
    assert_eq!(expires.since(h.w.state.invitations.get(id).unwrap().at), LASTS);
    h.w.must(&kai, Command::AcceptInvitation { token });
    h.sound();
}

#[test]
fn e4_who_may_not_invite_any_more_vouches_for_nothing() {
    for portal in [None, Some(PortalRole::CustomerSupport), Some(PortalRole::Admin)] {
        let mut h = House::new();
        let (id, token) = h.invited(KAI);
        let kai = h.w.register(token, "Kai");
        let mut put = h.w.member_spec(h.brokers, "chief", portal);
        put.active = portal != Some(PortalRole::Admin);
        h.w.must(&h.w.provision(), Command::PutMember(put));
        assert!(h.w.state.invitations.get(id).unwrap().held, "{portal:?}");
        assert_eq!(h.w.refused(&kai, Command::AcceptInvitation { token }), "wrong_state");
        assert_eq!(invitation::address(&h.w.state, id, h.w.now), None, "and nothing is mailed");
        h.sound();
    }
}

#[test]
fn inv06_what_waits_is_trimmed_with_the_grant_and_may_be_changed() {
    let mut h = House::new();
    let chief = h.chief();
    let (boat, other) = (h.w.account(h.harbour, "boat-7"), h.w.account(h.harbour, "boat-8"));
    let (id, token) = h.w.invite(&chief, h.grant, KAI, &[h.keeper, h.clerk]);
    let change = |roles: Vec<RoleId>, accounts| {
        let giving = Inviting { roles, accounts, ends_at: None };
        Command::ChangeInvitation { grant: h.grant, invitation: id, giving }
    };
    let wide = change(vec![RoleId(7)], Accounts::All);
    let two = change(vec![h.keeper, h.clerk], list(&[boat, other]));
    assert_eq!(h.w.refused(&chief, wide), "widening");
    h.w.must(&chief, two.clone());
    assert!(h.w.must(&chief, two.clone()).is_none(), "nothing changed");
    let boss = h.boss();
    let narrowing = comity_domain::grant::Narrowing {
        roles: Some([h.clerk].into()),
        accounts: Some(list(&[boat])),
        ..Default::default()
    };
    h.w.must(&boss, Command::Narrow { grant: h.grant, narrowing, version: None });
    let i = h.w.state.invitations.get(id).unwrap().clone();
    assert_eq!((i.roles.as_slice(), &i.accounts), (&[h.clerk][..], &list(&[boat])));
    let kai = h.w.register(token, "Kai");
    h.w.must(&kai, Command::AcceptInvitation { token });
    let a = h.w.state.assignment(h.grant, kai.person().unwrap()).unwrap();
    assert_eq!((a.roles, a.accounts), (vec![h.clerk], list(&[boat])));
    assert_eq!(h.w.refused(&chief, two), "wrong_state", "one that was accepted is none any more");
    h.sound();
    // No account left.
    let (id, _) = h.w.invite(&chief, h.grant, "lea@elsewhere.example", &[h.clerk]);
    let gone = Command::RemoveAccount { organisation: h.harbour, external: "boat-7".into() };
    h.w.must(&h.w.provision(), gone);
    assert_eq!(h.cause(id), Some(InvitationCancel::AccountsGone));
    h.sound();
}

#[test]
fn e1_taking_the_permission_back_ends_who_came_in_with_their_sessions_in_the_same_row() {
    type Deed = fn(&mut House);
    let deeds: [Deed; 2] = [
        |h| {
            let boss = h.boss();
            h.w.must(&boss, settings(&h.w, h.harbour, false));
        },
        |h| {
            let boss = h.boss();
            let off = Amending { allow_external: Some(false), ..Amending::default() };
            h.w.amend(&boss, h.grant, off);
        },
    ];
    for deed in deeds {
        let mut h = House::new();
        let (kai, person) = h.came_in();
        let (id, _) = h.invited("lea@elsewhere.example");
        let session = h.w.enter(&kai, h.harbour, Mode::Direct);
        let before = h.w.rows.len();
        deed(&mut h);
        assert_eq!(answer(&h.w, session), Reason::AssignmentLost);
        assert!(h.w.state.assignment_row(h.grant, person).is_none());
        assert_eq!(h.cause(id), Some(InvitationCancel::ExternalBarred));
        assert!(h.w.state.grants.get(h.grant).unwrap().unattended);
        let row = h.w.rows.last().unwrap();
        let ended =
            |e: &Event| matches!(e, Event::SessionEnded { session: s, .. } if *s == session);
        assert!(row.events.iter().any(|r| ended(&r.event)), "{before}");
        assert_eq!(view::tenants(&h.w.state, person, h.w.now).count(), 0);
        // Allowing it again revives nothing.
        let boss = h.boss();
        h.w.must(&boss, settings(&h.w, h.harbour, true));
        assert!(h.w.state.assignment_row(h.grant, person).is_none());
        h.sound();
    }
}

#[test]
fn e1_who_joins_the_provider_is_an_ordinary_member_on_the_grant_and_leaves_it_as_one() {
    let mut h = House::new();
    let (kai, person) = h.came_in();
    let session = h.w.enter(&kai, h.harbour, Mode::Direct);
    let mut join = h.w.member_spec(h.brokers, "kai", None);
    join.email = KAI.into();
    h.w.must(&h.w.provision(), Command::PutMember(join.clone()));
    assert_eq!(h.w.person(h.brokers, "kai"), person, "one human being");
    assert_eq!(h.w.state.assignment_row(h.grant, person).unwrap().basis, Basis::Individual);
    assert_eq!(answer(&h.w, session), Reason::Allowed);
    h.sound();
    // Outsiders are barred: they are none any more.
    let boss = h.boss();
    h.w.must(&boss, settings(&h.w, h.harbour, false));
    assert_eq!(answer(&h.w, session), Reason::Allowed);
    join.active = false;
    h.w.must(&h.w.provision(), Command::PutMember(join));
    assert_eq!(answer(&h.w, session), Reason::Suspended);
    let remove = Command::RemoveMember { organisation: h.brokers, external: "kai".into() };
    h.w.must(&h.w.provision(), remove);
    assert!(h.w.state.assignment_row(h.grant, person).is_none());
    h.sound();
}

#[test]
fn t35_a_member_is_nobody_from_outside() {
    let mut h = House::new();
    h.w.unit(h.brokers, "night");
    let sam = h.w.member(h.brokers, "sam", None);
    let (_, token) = h.invited("sam@brokers.example");
    let mut put = h.w.member_spec(h.brokers, "sam", None);
    put.active = false;
    h.w.must(&h.w.provision(), Command::PutMember(put.clone()));
    let by_sam = h.w.sign_in(sam);
    assert_eq!(h.w.refused(&by_sam, Command::AcceptInvitation { token }), "not_active");
    put.active = true;
    h.w.must(&h.w.provision(), Command::PutMember(put));
    let by_sam = h.w.sign_in(sam);
    h.w.must(&by_sam, Command::AcceptInvitation { token });
    assert_eq!(h.w.state.assignment_row(h.grant, sam).unwrap().basis, Basis::Individual);
    h.sound();
    // On a unit's grant a member of another unit is neither.
    let chief = h.chief();
    let mut ask = h.w.ask_spec(h.brokers, h.harbour);
    ask.unit = Some("night".into());
    let request = h.w.ask(&chief, ask);
    let terms = Terms { allow_external: true, ..h.w.terms(&[h.keeper]) };
    let boss = h.boss();
    let grant = h.w.approve(&boss, request, terms);
    let (_, token) = h.w.invite(&chief, grant, "sam@brokers.example", &[h.keeper]);
    assert_eq!(h.w.refused(&by_sam, Command::AcceptInvitation { token }), "wrong_state");
    // Somebody from outside who joins elsewhere in the provider is off that grant.
    let (_, token) = h.w.invite(&chief, grant, KAI, &[h.keeper]);
    let kai = h.w.register(token, "Kai");
    h.w.must(&kai, Command::AcceptInvitation { token });
    let mut join = h.w.member_spec(h.brokers, "kai", None);
    join.email = KAI.into();
    h.w.must(&h.w.provision(), Command::PutMember(join));
    assert!(h.w.state.assignment_row(grant, kai.person().unwrap()).is_none());
    h.sound();
}

#[test]
fn t34_fifty_a_day_five_to_one_address_and_nothing_to_who_wants_none() {
    let mut h = House::new();
    let (chief, grant, roles) = (h.chief(), h.grant, [h.keeper]);
    for n in 0..5 {
        let (id, _) = h.w.invite(&chief, grant, KAI, &roles);
        assert!(invitation::address(&h.w.state, id, h.w.now).is_some(), "{n}");
        h.w.must(&chief, Command::CancelInvitation { grant, invitation: id });
    }
    let sixth = h.w.invite_spec(grant, KAI, &roles);
    assert_eq!(h.w.refused(&chief, Command::Invite(Box::new(sixth))), "too_many_invitations");
    // Another organisation is told nothing of that: it invites, and no mail goes out.
    let other = h.w.organisation("sails", "Sails");
    let sara = h.w.admin(other, "sara");
    let sara = h.w.sign_in(sara);
    let request = h.w.ask_spec(other, h.harbour);
    let request = h.w.ask(&sara, request);
    let terms = Terms { allow_external: true, ..h.w.terms(&roles) };
    let boss = h.boss();
    let theirs = h.w.approve(&boss, request, terms);
    let (quiet, _) = h.w.invite(&sara, theirs, KAI, &roles);
    assert_eq!(invitation::address(&h.w.state, quiet, h.w.now), None);
    // Who wants none gets none, and whoever invites hears the same.
    let suppress = Command::SuppressAddress { recipient: recipient("lea@elsewhere.example") };
    assert_eq!(h.w.refused(&chief, suppress.clone()), "not_found");
    assert_eq!(h.w.refused(&anonymous(), suppress.clone()), "not_found");
    let row = h.w.must(&Caller::system(), suppress.clone()).unwrap();
    assert!(row.words.is_empty() && row.events[0].readers.is_empty());
    assert!(h.w.must(&Caller::system(), suppress).is_none());
    let (lea, _) = h.w.invite(&chief, grant, "lea@elsewhere.example", &roles);
    assert_eq!(invitation::address(&h.w.state, lea, h.w.now), None);
    for n in 6..MOST_A_DAY {
        h.w.invite(&chief, grant, &format!("p{n}@elsewhere.example"), &roles);
    }
    let more = h.w.invite_spec(grant, "more@elsewhere.example", &roles);
    let more = Command::Invite(Box::new(more));
    assert_eq!(h.w.refused(&chief, more.clone()), "too_many_invitations");
    h.w.later(DAY);
    let chief = h.chief();
    h.w.must(&chief, more);
    h.sound();
}

#[test]
fn t34_the_address_goes_with_its_person_and_alone() {
    let mut h = House::new();
    let (kai, person) = h.came_in();
    let chief = h.chief();
    let (waits, token) = h.w.invite(&chief, h.grant, "lea@elsewhere.example", &[h.keeper]);
    let erase = |subject| Command::EraseWords { subject };
    let provision = h.w.provision();
    let lea = erase(Subject::Invitation(waits));
    assert_eq!(h.w.refused(&provision, lea.clone()), "in_use");
    h.w.must(&anonymous(), Command::DeclineInvitation { token });
    h.w.must(&provision, lea);
    assert_eq!(h.w.state.words.show(h.w.state.invitations.get(waits).unwrap().email), "[erased]");
    h.w.must(&provision, erase(Subject::Invitation(InvitationId(7)))); // forgotten, or never was
    assert_eq!(h.w.refused(&provision, erase(Subject::Person(person))), "in_use");
    // The last one leaves as little as any other (E5).
    let leave = Command::Unassign { grant: h.grant, person, successor: None };
    assert_eq!(h.w.refused(&kai, leave), "last_user");
    h.sound();
}

#[test]
fn t34_erasing_a_person_takes_the_address_that_was_invited() {
    let mut h = House::new();
    let (_, person) = h.came_in();
    let chief = h.chief();
    h.w.assign(&chief, h.grant, h.chief, &[h.keeper]);
    h.w.must(&chief, Command::Unassign { grant: h.grant, person, successor: None });
    h.w.must(&h.w.provision(), Command::EraseWords { subject: Subject::Person(person) });
    let texts = h.w.rows.iter().flat_map(|r| &r.words).filter_map(|w| w.text.as_deref());
    assert!(texts.clone().all(|t| !t.contains("elsewhere") && !t.contains("Kai")), "{texts:?}");
    h.sound();
}

#[test]
fn t50_a_restore_cancels_what_waits_and_leaves_who_came_in_to_the_customer() {
    let mut h = House::new();
    let (_, person) = h.came_in();
    let (id, token) = h.invited("lea@elsewhere.example");
    let lea = h.w.register(token, "Lea");
    let restore = Command::Restore { fork: 2, erased: Vec::new(), keep_people: true };
    h.w.must(&Caller::system(), restore);
    assert_eq!(h.cause(id), Some(InvitationCancel::Restored));
    let lea = h.w.sign_in(lea.person().unwrap());
    assert_eq!(h.w.refused(&lea, Command::AcceptInvitation { token }), "wrong_state");
    assert!(h.w.state.assignment_row(h.grant, person).is_some());
    h.sound();
    // What was erased after the copy is erased again, and nobody without a name is on a grant.
    let mut h = House::new();
    let (_, person) = h.came_in();
    let erased = vec![Subject::Person(person)];
    h.w.must(&Caller::system(), Command::Restore { fork: 2, erased, keep_people: true });
    assert!(h.w.state.assignment_row(h.grant, person).is_none());
    h.sound();
}

#[test]
fn t20_a_partner_session_answers_no_invitation() {
    let mut h = House::new();
    let (kai, _) = h.came_in();
    let session = h.w.enter(&kai, h.harbour, Mode::Direct);
    let (_, token) = h.invited("lea@elsewhere.example");
    let within = inside(session);
    let code = "partner_session_refused";
    assert_eq!(h.w.refused(&within, Command::AcceptInvitation { token }), code);
    assert_eq!(h.w.refused(&within, Command::DeclineInvitation { token }), code);
    assert_eq!(
        h.w.refused(&by_key(comity_domain::ids::KeyId(7)), Command::DeclineInvitation { token }),
        "caller_revoked"
    );
}

#[test]
fn e1_both_sides_are_told_and_the_mail_goes_to_the_invited_alone() {
    use comity_domain::draft::SideWrite;
    use comity_domain::ids::CommandId;
    use comity_domain::notice::{Kind, Side};
    let mut h = House::new();
    let chief = h.chief();
    let invite = h.w.invite_spec(h.grant, KAI, &[h.keeper]);
    let token = invite.token;
    let id = CommandId(h.w.ids.next(h.w.now));
    let command = Command::Invite(Box::new(invite));
    let decided = kernel::decide(&h.w.state, &chief, id, command, h.w.now, &mut h.w.ids).unwrap();
    let notices: Vec<_> = decided
        .side
        .iter()
        .filter_map(|s| if let SideWrite::Notices(n) = s { Some(n.clone()) } else { None })
        .flatten()
        .collect();
    let told: Vec<_> = notices.iter().map(|n| (n.kind, n.side, n.mail)).collect();
    assert_eq!(
        told,
        [(Kind::Invited, Side::Customer, false), (Kind::Invited, Side::Provider, true)]
    );
    assert!(Kind::Invited.goes_to_the_invited(Side::Provider));
    assert!(Kind::Invited.mailed(Side::Provider).is_none(), "nobody of the partner gets it");
    let secret = decided.side.iter().find_map(|s| match s {
        SideWrite::Secret { digest, .. } => Some(*digest),
        _ => None,
    });
    assert_eq!(secret, Some(token));
}
