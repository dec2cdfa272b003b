//! inv10: a row that says it takes nothing away takes nothing away: nobody waits for it to hold
//! everywhere.

use comity_decision::reference;
use comity_domain::command::{Caller, Door, Principal};
use comity_domain::event::Row;
use comity_domain::kernel;
use comity_domain::may;
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::Resource;
use comity_domain::state::State;
use comity_domain::time::Instant;

use crate::history::{History, PERMISSIONS};

/// How many answers were yes before a row, and how many of them no after it.
#[derive(Default)]
struct Seen {
    yes: usize,
    lost: usize,
}

/// Every yes that a session has at `at`: on the customer as a whole and on each of its accounts.
fn compare(before: &State, after: &State, at: Instant, seen: &mut Seen) {
    for (_, session) in before.sessions.iter().filter(|(_, s)| s.is_active(at)) {
        let customer = before.grants.get(session.grant).unwrap().customer.organisation;
        let accounts = before.accounts_of(customer).map(|id| {
            let a = before.accounts.get(id).unwrap();
            Resource::Account(id, a.organisation, a.unit)
        });
        for resource in accounts.chain([Resource::Organisation(customer)]) {
            for permission in PERMISSIONS {
                let asked = Permission::parse(permission).unwrap();
                let answer = |state| {
                    let (application, token) = (session.application, session.token);
                    reference::decide(state, application, token, asked, resource, at)
                };
                if answer(before) == Reason::Allowed {
                    seen.yes += 1;
                    seen.lost += usize::from(answer(after) != Reason::Allowed);
                }
            }
        }
    }
    let people = before
        .sign_ins
        .iter()
        .map(|(sign_in, s)| (Principal::Person { person: s.person, sign_in }, Door::Api));
    let keys = before.keys.iter().map(|(key, _)| (Principal::Key(key), Door::Api));
    for (principal, door) in people.chain(keys) {
        let caller = Caller { principal, door };
        if may::authentic(before, &caller, at).is_ok() {
            seen.yes += 1;
            seen.lost += usize::from(may::authentic(after, &caller, at).is_err());
        }
    }
}

fn takes_away(row: &Row) -> bool {
    row.events.iter().any(|r| r.event.takes_away())
}

#[test]
fn inv10_a_row_that_takes_nothing_away_turns_no_yes_into_a_no() {
    let (mut giving, mut taking) = (Seen::default(), Seen::default());
    for seed in 1..=25 {
        let mut history = History::begin(seed);
        for _ in 0..45 {
            history.step();
        }
        let mut state = State::default();
        for row in &history.w.rows {
            let before = state.clone();
            kernel::apply(&mut state, row);
            let takes = takes_away(row);
            compare(&before, &state, row.at, if takes { &mut taking } else { &mut giving });
            assert_eq!(giving.lost, 0, "history {seed}, row {}: {:?}", row.seq, row.events);
        }
    }
    println!(
        "giving rows: {} yes; taking rows: {} yes, {} lost",
        giving.yes, taking.yes, taking.lost
    );
    assert!(giving.yes > 10_000 && taking.lost > 500, "the histories are about something");
}
