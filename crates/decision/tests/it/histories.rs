//! inv11: whatever happened, the index answers what the reference answers, with the same reason.

use std::collections::BTreeMap;

use comity_decision::counter::Counter;
use comity_decision::decide::{Clocks, decide};
use comity_decision::index::Index;
use comity_decision::reference;
use comity_domain::check;
use comity_domain::ids::{AccountId, ApplicationId, Digest32, OrganisationId};
use comity_domain::kernel;
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::{self, Resource};
use comity_domain::state::State;
use comity_domain::time::Instant;

use crate::history::{Chance, History, PERMISSIONS};

/// How often each reason has to come up, so that the test stays about all of them.
const FLOOR: usize = 50;
const LEAST: usize = 50_000;

/// Follows the log row by row, as the node does.
struct Follower {
    state: State,
    index: Index,
}

impl Follower {
    fn new() -> Self {
        let index = Index::default();
        index.renew(i64::MAX, 0);
        Self { state: State::default(), index }
    }

    fn follow(&mut self, history: &History) {
        let after = usize::try_from(self.state.seq).unwrap();
        for row in &history.w.rows[after..] {
            let touched = kernel::apply(&mut self.state, row);
            let changed = touched.sessions_in(&self.state);
            let compiled =
                changed.into_iter().filter_map(|id| rights::compile(&self.state, id)).collect();
            self.index.follow(compiled, row.seq, |_| Counter::new(u64::MAX / 2));
        }
        self.index.retain(|id| self.state.sessions.get(id).is_some());
    }
}

/// A question, its instant included; boundaries more often than chance would have them.
fn question(h: &mut History) -> (ApplicationId, Digest32, &'static str, Resource, Instant) {
    let mut chance: Chance = h.chance.clone();
    h.chance.next();
    let state = &h.w.state;
    // Those that might be answered yes more often than those that are long over.
    let all: Vec<_> = state.sessions.iter().map(|(_, s)| s).collect();
    let live: Vec<_> = all.iter().copied().filter(|s| s.is_active(h.w.now)).collect();
    let session =
        if live.is_empty() || chance.one_in(3) { chance.of(&all) } else { chance.of(&live) }
            .unwrap();
    let grant = state.grants.get(session.grant).unwrap();
    let application = match chance.below(12) {
        0 => h.ships,
        1 => h.w.boats,
        _ => session.application,
    };
    let token = if chance.one_in(40) { Digest32([7; 32]) } else { session.token };
    let place = |id: AccountId| {
        state
            .accounts
            .get(id)
            .map_or(Resource::Unknown, |a| Resource::Account(id, a.organisation, a.unit))
    };
    let own: Vec<AccountId> = state.accounts_of(grant.customer.organisation).collect();
    let all: Vec<AccountId> = state.accounts.iter().map(|(id, _)| id).collect();
    let orgs: Vec<OrganisationId> = h.orgs.clone();
    let resource = match chance.below(10) {
        0 => Resource::Unknown,
        1 => chance.of(&all).map_or(Resource::Unknown, place),
        2 => Resource::Organisation(chance.of(&orgs).unwrap()),
        3 | 4 => Resource::Organisation(grant.customer.organisation),
        _ => chance.of(&own).map_or(Resource::Unknown, place),
    };
    let ends_at =
        state.assignment_row(session.grant, session.person).map_or(session.deadline, |a| a.ends_at);
    let now = match chance.below(20) {
        0 => session.deadline,
        1 => session.deadline.plus(-1),
        2 => grant.window.end,
        3 => grant.window.end.plus(-1),
        4 => ends_at,
        5 => ends_at.plus(-1),
        6 => h.w.now.plus(chance.below(3_600_000) as i64),
        _ => h.w.now,
    };
    (application, token, chance.of(&PERMISSIONS).unwrap(), resource, now.max(h.w.state.at))
}

#[test]
fn inv11_the_index_answers_what_the_reference_answers_after_random_histories() {
    let (mut asked, mut seen) = (0usize, BTreeMap::<Reason, usize>::new());
    for seed in 1..=40 {
        let mut history = History::begin(seed);
        let mut follower = Follower::new();
        for step in 0..45 {
            history.step();
            follower.follow(&history);
            let (state, now) = (&history.w.state, history.w.now);
            let everything = check::Scope::everything();
            assert_eq!(check::check(state, &everything, now), [], "history {seed}, step {step}");
            if history.w.state.sessions.is_empty() {
                continue;
            }
            for _ in 0..60 {
                let (application, token, permission, resource, now) = question(&mut history);
                let permission = Permission::parse(permission).unwrap();
                let wanted = reference::decide(
                    &history.w.state,
                    application,
                    token,
                    permission,
                    resource,
                    now,
                );
                let clocks = || Clocks { wall: now, boot: 0, drift: 0 };
                let answer =
                    decide(&follower.index, application, &token, permission, resource, clocks);
                assert_eq!(
                    answer.reason,
                    wanted,
                    "history {seed}, step {step}: {permission} on {resource:?} at {now:?}, session {:?}",
                    history.w.state.session_by_token(token)
                );
                assert_eq!((answer.seq, answer.at), (history.w.state.seq, now));
                asked += 1;
                *seen.entry(wanted).or_default() += 1;
            }
        }
        assert!(
            follower.state == history.w.state,
            "history {seed}: a follower agrees with the one who decides"
        );
    }
    println!("{asked} comparisons: {seen:#?}");
    assert!(asked >= LEAST, "{asked}");
    for reason in Reason::ALL {
        // These two are the node's, not the state's: see `index.rs`. A restore ends every key and
        // sign-in too, so it has a test of its own. Whether somebody is a member is no session's
        // question: see `own.rs`.
        let elsewhere =
            matches!(reason, Reason::Restored | Reason::Unconfirmed | Reason::NotAMember);
        if !matches!(reason, Reason::Stale | Reason::Busy) && !elsewhere {
            let count = seen.get(&reason).copied().unwrap_or_default();
            assert!(count >= FLOOR, "{reason:?} came up {count} times");
        }
    }
    let yes = seen.get(&Reason::Allowed).copied().unwrap_or_default();
    assert!(yes * 20 >= asked, "one in twenty is yes: {yes} of {asked}");
}
