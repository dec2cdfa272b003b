//! *API Calls*: every answered call is counted, and no other (R16, inv22).

use std::collections::BTreeMap;
use std::sync::Mutex;

use comity_domain::command::Command;
use comity_domain::refusal::Reason;
use comity_domain::time::MINUTE;

use crate::site::{Site, cast};

#[test]
fn inv22_twenty_thousand_calls_of_many_threads_are_counted_exactly() {
    const THREADS: usize = 8;
    const CALLS: usize = 2_500;
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let stays: Vec<_> = (0..3).map(|_| site.enter(broker, cast.harbour, grant)).collect();
    let told: Mutex<BTreeMap<(usize, Reason), u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (site, stays, told) = (&site, &stays, &told);
            scope.spawn(move || {
                let mut own: BTreeMap<(usize, Reason), u64> = BTreeMap::new();
                for call in 0..CALLS {
                    let stay = (call + thread) % stays.len();
                    let permission = if call % 4 == 0 { "money:send" } else { "boats:read" };
                    let reason = site.evaluate(&stays[stay].0, permission).reason;
                    *own.entry((stay, reason)).or_default() += 1;
                    if reason == Reason::Busy {
                        std::thread::sleep(std::time::Duration::from_micros(200));
                    }
                }
                let mut told = told.lock().unwrap();
                own.into_iter().for_each(|(key, n)| *told.entry(key).or_default() += n);
            });
        }
    });
    let told = told.into_inner().unwrap();
    assert_eq!(told.values().sum::<u64>(), (THREADS * CALLS) as u64);
    let of = |stay: usize, reason| told.get(&(stay, reason)).copied().unwrap_or_default();
    let check = |site: &Site| {
        for (stay, (_, session)) in stays.iter().enumerate() {
            let counts = site.app.counts(*session);
            assert_eq!(counts.allowed, of(stay, Reason::Allowed));
            assert_eq!(counts.refused, of(stay, Reason::NoRole));
            assert_eq!((counts.late, counts.uncertain, counts.at_most()), (0, 0, false));
            assert_eq!(counts.total(), counts.allowed + counts.refused, "busy is part of no count");
            assert!(counts.allowed > 1_000, "enough of them were answered: {told:?}");
        }
    };
    check(&site);
    // A clean stop keeps them to the last call; and again.
    let site = site.again();
    check(&site);
    let site = site.again();
    check(&site);
}

#[test]
fn r16_calls_after_the_end_are_late_and_part_of_no_count() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let [(ended, first), (expired, second)] =
        [(); 2].map(|()| site.enter(broker, cast.harbour, grant));
    for token in [&ended, &expired] {
        assert!(site.evaluate(token, "boats:read").is_yes());
    }
    site.must(&cast.by_boss, Command::EndSession { session: first });
    for _ in 0..5 {
        assert_eq!(site.evaluate(&ended, "boats:read").reason, Reason::EndedByCustomer);
    }
    site.clock.set(site.w.now.plus(61 * MINUTE));
    for _ in 0..7 {
        assert_eq!(site.evaluate(&expired, "boats:read").reason, Reason::SessionExpired);
    }
    site.w.now = site.clock.now();
    let mut site = site;
    for restart in [false, true] {
        if restart {
            site = site.again();
        }
        let [a, b] = [first, second].map(|s| site.app.counts(s));
        assert_eq!((a.allowed, a.refused, a.late), (1, 0, 5));
        assert_eq!((b.allowed, b.refused, b.late), (1, 0, 7));
        assert!(!a.at_most() && !b.at_most());
    }
}

#[test]
fn a_call_with_an_unknown_token_or_of_another_application_is_counted_nowhere() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (token, session) = site.enter(broker, cast.harbour, grant);
    let other = comity_domain::ids::ApplicationId(77);
    for text in [token.reveal(), "", "cmt_session_", "cmt_session_0000"] {
        let answer = crate::site::evaluate(&site.app, other, text, "boats:read");
        assert_eq!(answer.reason, Reason::SessionUnknown);
        assert!(answer.session.is_none());
    }
    assert_eq!(site.app.counts(session).total(), 0);
}
