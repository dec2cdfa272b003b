//! Two commands that cannot both be right: raced by threads, and in one batch in either order.

use std::sync::Barrier;

use comity_app::node::{Done, NotDone};
use comity_domain::command::{Caller, Command, Offer, Partner};
use comity_domain::consent;
use comity_domain::grant::Amending;
use comity_domain::ids::{GrantId, RequestId};
use comity_domain::organisation::Party;
use comity_domain::refusal::Reason;
use comity_domain::role::Mode;
use comity_domain::session::SessionState;
use comity_domain::time::Days;

use crate::site::{Broker, Cast, Site, cast, code, rounds};

type Answers = [Result<Done, NotDone>; 2];

/// Lets two commands meet; in turn by threads, and in one batch in either order.
fn clash(site: &Site, round: usize, a: (&Caller, Command), b: (&Caller, Command)) -> Answers {
    let (a, b) = ((a.0.clone(), a.1), (b.0.clone(), b.1));
    match round % 4 {
        0 | 1 => {
            let barrier = Barrier::new(2);
            let go = |(caller, command): (Caller, Command)| {
                barrier.wait();
                site.app.node().run_blocking(caller, command)
            };
            std::thread::scope(|scope| {
                let first = scope.spawn(|| go(a));
                let second = go(b);
                [first.join().unwrap(), second]
            })
        }
        2 => site.in_one_batch(vec![a, b]).try_into().unwrap(),
        _ => {
            let [b, a]: Answers = site.in_one_batch(vec![b, a]).try_into().unwrap();
            [a, b]
        }
    }
}

/// A site with as many brokers as rounds.
fn set() -> (Site, Cast) {
    let (w, cast) = cast(rounds(24));
    (Site::of(w), cast)
}

/// Exactly one of the two was carried out; how the other was refused.
fn one_won(answers: &Answers) -> &'static str {
    let [a, b] = [code(&answers[0]), code(&answers[1])];
    assert!((a == "ok") != (b == "ok"), "{a} and {b}");
    if a == "ok" { b } else { a }
}

fn asked(race: impl Fn(&Site, &Cast, &Broker, usize, Command) -> Answers) {
    let (mut site, cast) = set();
    for (round, broker) in cast.brokers.iter().enumerate() {
        let request = site.ask(broker, cast.harbour);
        let approval = site.approval(request, cast.keeper);
        let answers = race(&site, &cast, broker, round, approval);
        assert_eq!(one_won(&answers), "wrong_state", "round {round}");
        let grants = site.app.state().grants_to(broker.organisation).count();
        let approved = answers
            .iter()
            .flatten()
            .filter(|d| &*d.row.as_ref().unwrap().kind == "approve")
            .count();
        assert_eq!(grants, approved, "round {round}: as many grants as approvals");
    }
    site.check();
}

#[test]
fn t11_inv03_two_approvals_make_one_grant() {
    asked(|site, cast, broker, round, approval| {
        let answers =
            clash(site, round, (&cast.by_boss, approval.clone()), (&cast.by_other, approval));
        assert_eq!(site.app.state().grants_to(broker.organisation).count(), 1);
        answers
    });
}

#[test]
fn t11_inv29_an_approval_and_a_denial_leave_one_outcome() {
    asked(|site, cast, _, round, approval| {
        let Command::Approve { request, .. } = approval else { panic!() };
        let deny = Command::Deny { request, reason: None, message: None };
        clash(site, round, (&cast.by_boss, approval), (&cast.by_other, deny))
    });
}

#[test]
fn t11_inv29_an_approval_and_a_cancellation_leave_one_outcome() {
    asked(|site, cast, broker, round, approval| {
        let Command::Approve { request, .. } = approval else { panic!() };
        clash(
            site,
            round,
            (&cast.by_boss, approval),
            (&broker.by_chief, Command::CancelRequest { request }),
        )
    });
}

#[test]
fn t11_inv09_nobody_is_inside_after_a_revoke_that_met_an_entry() {
    let (mut site, cast) = set();
    let (mut entered, mut refused) = (0, 0);
    for (round, broker) in cast.brokers.iter().enumerate() {
        let grant = site.grant(&cast, broker);
        let (token, enter) = site.wish(cast.harbour, grant, Mode::Direct);
        let [revoked, inside] = clash(
            &site,
            round,
            (&cast.by_boss, Command::Revoke { grant }),
            (&broker.by_rita, enter),
        );
        let revoked = revoked.unwrap();
        let answer = site.evaluate(&token, "boats:read");
        match inside {
            Ok(done) => {
                entered += 1;
                assert!(done.seq < revoked.seq, "an entry after the revoke");
                assert_eq!(answer.reason, Reason::Revoked, "round {round}");
                let state = site.app.state();
                let session = state.session_by_token(token.digest()).unwrap();
                assert!(matches!(
                    state.sessions.get(session).unwrap().state,
                    SessionState::Ended { .. }
                ));
            }
            Err(NotDone::Refused(refusal)) => {
                refused += 1;
                assert!(["not_found", "no_access"].contains(&refusal.code()), "{refusal:?}");
                assert_eq!(answer.reason, Reason::SessionUnknown, "round {round}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(entered + refused, cast.brokers.len());
    assert!(refused >= cast.brokers.len() / 2, "in one batch the revoke always goes first");
    site.check();
}

#[test]
fn inv09_no_decision_begun_after_a_revoke_was_answered_is_yes() {
    let (mut site, cast) = set();
    for broker in &cast.brokers {
        let grant = site.grant(&cast, broker);
        let (token, _) = site.enter(broker, cast.harbour, grant);
        assert!(site.evaluate(&token, "boats:read").is_yes());
        let (site, barrier) = (&site, Barrier::new(3));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    barrier.wait();
                    // Once no, never yes again.
                    let mut no = false;
                    for _ in 0..200 {
                        let answer = site.evaluate(&token, "boats:read");
                        assert!(!(no && answer.is_yes()));
                        no |= answer.reason == Reason::Revoked;
                    }
                });
            }
            barrier.wait();
            site.must(&cast.by_boss, Command::Revoke { grant });
            assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::Revoked);
        });
    }
}

#[test]
fn t29_inv16_of_two_last_removals_one_is_refused() {
    let (mut site, cast) = set();
    for (round, broker) in cast.brokers.iter().enumerate() {
        let grant = site.grant(&cast, broker);
        let off = |person| Command::Unassign { grant, person, successor: None };
        let answers = clash(
            &site,
            round,
            (&broker.by_chief, off(broker.chief)),
            (&broker.by_chief, off(broker.rita)),
        );
        assert_eq!(one_won(&answers), "last_user", "round {round}");
        assert_eq!(site.app.state().active_on(grant, site.clock.now()), 1);
    }
    site.check();
}

#[test]
fn t27_t29_inv16_a_rule_that_narrows_and_the_last_one_it_leaves_race() {
    use comity_domain::auto::AutoSpec;
    use comity_domain::person::PortalRole;
    let (mut site, cast) = set();
    for (round, broker) in cast.brokers.iter().enumerate() {
        let grant = site.grant(&cast, broker);
        let rule = |only| Some(AutoSpec { roles: vec![cast.keeper], only });
        let on = site.look().set_auto(grant, rule(None)).unwrap();
        site.must(&broker.by_chief, on);
        // Narrowed to Admins, of whom there is one; and Rita leaves. Whoever comes second finds
        // another preview than the one that was shown, or nobody to narrow to is missing.
        let only = Some([PortalRole::Admin].into());
        let narrow = site.look().set_auto(grant, rule(only)).unwrap();
        let provision = site.look().provision();
        let organisation = broker.organisation;
        let leave = Command::RemoveMember { organisation, external: "rita".into() };
        let [narrowed, left] = clash(&site, round, (&broker.by_chief, narrow), (&provision, leave));
        assert_eq!(code(&left), "ok", "round {round}: leaving is never refused");
        assert!(["ok", "stale_summary"].contains(&code(&narrowed)), "round {round}");
        let state = site.app.state();
        assert_eq!(state.active_on(grant, site.clock.now()), 1);
        assert!(state.assignment_row(grant, broker.rita).is_none(), "round {round}");
    }
    site.check();
}

#[test]
fn t29_inv16_off_and_a_removal_race_and_somebody_stays() {
    use comity_domain::auto::AutoSpec;
    let (mut site, cast) = set();
    for (round, broker) in cast.brokers.iter().enumerate() {
        let grant = site.grant(&cast, broker);
        let rule = Some(AutoSpec { roles: vec![cast.keeper], only: None });
        let on = site.look().set_auto(grant, rule).unwrap();
        site.must(&broker.by_chief, on);
        let off = site.look().set_auto(grant, None).unwrap();
        let alone = Command::Unassign { grant, person: broker.rita, successor: None };
        let [ended, removed] =
            clash(&site, round, (&broker.by_chief, off), (&broker.by_chief, alone));
        assert_eq!(code(&ended), "ok", "round {round}");
        let removed = code(&removed);
        assert!(["ok", "auto_assign_enabled"].contains(&removed), "round {round}: {removed}");
        let left = site.app.state().active_on(grant, site.clock.now());
        assert_eq!(left, if removed == "ok" { 1 } else { 2 }, "round {round}");
        // Of the two that are left by then, one stays.
        let last = |person| Command::Unassign { grant, person, successor: None };
        let answers = clash(
            &site,
            round,
            (&broker.by_chief, last(broker.chief)),
            (&broker.by_chief, last(broker.rita)),
        );
        let stayed = site.app.state().active_on(grant, site.clock.now());
        assert_eq!(stayed, 1, "round {round}: {:?}", [code(&answers[0]), code(&answers[1])]);
    }
    site.check();
}

#[test]
fn t01_a_request_by_an_old_customer_id_comes_before_the_new_one_or_not_at_all() {
    let (mut site, cast) = set();
    for (round, broker) in cast.brokers.iter().enumerate() {
        let ask = site.look().ask_spec(broker.organisation, cast.harbour);
        let rotate =
            Command::RotateCustomerId { organisation: cast.harbour, code: site.app.fresh_code() };
        let [rotated, asked] =
            clash(&site, round, (&cast.by_boss, rotate), (&broker.by_chief, Command::Ask(ask)));
        let rotated = rotated.unwrap();
        match &asked {
            Ok(done) => {
                assert!(done.seq < rotated.seq, "round {round}: asked with an ID that was gone")
            }
            Err(_) => assert_eq!(code(&asked), "not_found", "round {round}"),
        }
        assert_eq!(asked.is_ok(), site.app.state().requests_from(broker.organisation).count() == 1);
    }
    site.check();
}

// -- offers and amendments ------------------------------------------------------------------------

impl Site {
    /// The broker is offered what the keeper may.
    fn offered(&mut self, cast: &Cast, broker: &Broker) -> RequestId {
        let (code, customer) = (self.look().fresh_code(), cast.harbour);
        let digest = code.digest;
        let organisation = broker.organisation;
        self.must(&broker.by_chief, Command::RotatePartnerId { organisation, unit: None, code });
        let now = self.app.now();
        let w = self.look();
        let (terms, partner) = (w.terms(&[cast.keeper]), Partner::Code(digest));
        let party = Party { organisation, unit: None };
        let shown = consent::offered(&w.state, customer, party, "partner", &terms, now).unwrap();
        let (level, reason) = ("partner".into(), "You look after us".into());
        let summary = shown.hash();
        let offer = Offer { customer, partner, level, terms, reason, ticket: None, summary };
        let done = self.must(&cast.by_boss, Command::MakeOffer(Box::new(offer)));
        done.state.requests_from(organisation).next_back().unwrap()
    }

    /// The yes to these days more, as it would be shown now.
    fn renewal(&mut self, grant: GrantId, days: u32) -> Command {
        let amending = Amending { days: Some(Days(days)), ..Amending::default() };
        let (state, now) = (self.app.state(), self.app.now());
        let known = state.grants.get(grant).unwrap();
        let shown = consent::amended(&state, grant, known, &amending, now).unwrap();
        Command::Amend { grant, amending, summary: shown.hash() }
    }
}

#[test]
fn n4_t11_an_offer_that_is_accepted_and_withdrawn_at_once_has_one_outcome() {
    let (mut site, cast) = set();
    for (round, broker) in cast.brokers.iter().enumerate() {
        let request = site.offered(&cast, broker);
        let accept = (&broker.by_chief, Command::Accept { request });
        let withdraw = (&cast.by_other, Command::CancelRequest { request });
        let answers = clash(&site, round, accept, withdraw);
        assert_eq!(one_won(&answers), "wrong_state", "round {round}");
        let grants = site.app.state().grants_to(broker.organisation).count();
        assert_eq!(grants, usize::from(answers[0].is_ok()), "round {round}");
    }
    site.check();
}

#[test]
fn n4_inv03_an_offer_that_is_accepted_twice_makes_one_grant() {
    let (mut site, cast) = set();
    for (round, broker) in cast.brokers.iter().enumerate() {
        let request = site.offered(&cast, broker);
        let accept = || (&broker.by_chief, Command::Accept { request });
        let answers = clash(&site, round, accept(), accept());
        assert_eq!(one_won(&answers), "wrong_state", "round {round}");
        assert_eq!(site.app.state().grants_to(broker.organisation).count(), 1, "round {round}");
    }
    site.check();
}

#[test]
fn n4_t4_of_two_amendments_of_what_both_saw_one_is_carried_out() {
    let (mut site, cast) = set();
    for (round, broker) in cast.brokers.iter().enumerate() {
        let grant = site.grant(&cast, broker);
        let (one, other) = (site.renewal(grant, 60), site.renewal(grant, 90));
        let answers = clash(&site, round, (&cast.by_boss, one), (&cast.by_other, other));
        assert_eq!(one_won(&answers), "stale_summary", "round {round}");
    }
    site.check();
}

#[test]
fn n4_inv08_what_is_revoked_is_not_renewed() {
    let (mut site, cast) = set();
    for (round, broker) in cast.brokers.iter().enumerate() {
        let grant = site.grant(&cast, broker);
        let renewal = (&cast.by_boss, site.renewal(grant, 90));
        let [renewed, revoked] =
            clash(&site, round, renewal, (&cast.by_other, Command::Revoke { grant }));
        assert_eq!(code(&revoked), "ok", "round {round}");
        assert!(["ok", "wrong_state", "stale_summary"].contains(&code(&renewed)), "round {round}");
        let state = site.app.state();
        assert!(!state.grants.get(grant).unwrap().stands(site.app.now()), "round {round}");
    }
    site.check();
}
