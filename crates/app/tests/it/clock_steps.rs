//! A wall clock that is set an hour forth and back under load (T37).
//!
//! For the rules time never runs back: it stands still until the wall clock has caught up. So what
//! is over stays over, and no yes is given at or after the end. By the true time a session lasts at
//! most its cap and as much longer as the wall clock is behind the latest that it has ever shown: two
//! hours if it was an hour ahead before or at the beginning, and is an hour behind at the end.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use comity_app::tokens::{Kind, Secret};
use comity_domain::command::{Caller, Command, Door, Principal};
use comity_domain::ids::PersonId;
use comity_domain::role::Mode;
use comity_domain::time::{HOUR, Instant, MINUTE};

use crate::record::{Run, rounds};
use crate::site::{Site, cast};

/// The true time, and by how much the wall clock is off.
struct Truth {
    now: AtomicI64,
    off: AtomicI64,
}

impl Truth {
    fn now(&self) -> i64 {
        self.now.load(Ordering::Acquire)
    }

    fn pass(&self, site: &Site, millis: i64) {
        let now = self.now.fetch_add(millis, Ordering::AcqRel) + millis;
        site.clock.set(Instant(now + self.off.load(Ordering::Acquire)));
    }

    fn step(&self, site: &Site, off: i64) {
        self.off.store(off, Ordering::Release);
        self.pass(site, 0);
    }
}

fn sign_in(site: &Site, person: PersonId) -> Caller {
    let digest = Secret::new(Kind::SignIn).digest();
    let nobody = Caller { principal: Principal::Anonymous, door: Door::Api };
    let auth_epoch = site.app.state().people.get(person).unwrap().auth_epoch;
    let done = site.must(
        &nobody,
        Command::SignIn {
            person,
            auth_epoch,
            digest,
            proof: comity_domain::factor::Proof::Password,
        },
    );
    let sign_in = done.state.sign_in_by_digest(digest).unwrap();
    Caller { principal: Principal::Person { person, sign_in }, door: Door::Api }
}

#[test]
fn t37_steps_of_an_hour_both_ways_give_no_yes_after_the_end() {
    let run = Run::begin("clock steps of an hour both ways under load");
    let (w, cast) = cast(1);
    let began = w.now.0;
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let truth = Truth { now: AtomicI64::new(began), off: AtomicI64::new(0) };
    // Every way from one of: right, an hour ahead, an hour behind, to another.
    let steps: Vec<(i64, i64)> = [0, HOUR, -HOUR]
        .iter()
        .flat_map(|from| [0, HOUR, -HOUR].map(|to| (*from, to)))
        .filter(|(from, to)| from != to)
        .collect();
    for round in 0..rounds(6) {
        let (from, to) = steps[usize::try_from(round).unwrap() % steps.len()];
        truth.step(&site, from);
        let by_rita = sign_in(&site, broker.rita);
        let (token, enter) = site.wish(cast.harbour, grant, Mode::Direct);
        let done = site.must(&by_rita, enter);
        let session = done.state.session_by_token(token.digest()).unwrap();
        let entered = truth.now();
        let known = done.state.sessions.get(session).unwrap();
        let (deadline, cap) = (known.deadline, known.deadline.0 - done.state.at.0);
        assert!(cap >= 10 * MINUTE, "{cap}");
        let (over, put) = (AtomicBool::new(false), site.w.provision());
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    let (mut last, mut ended) = (Instant(0), false);
                    while !over.load(Ordering::Acquire) {
                        let asked = truth.now();
                        let answer = site.evaluate(&token, "boats:read");
                        assert!(answer.at >= last, "time ran back");
                        last = answer.at;
                        run.decided(1);
                        run.wrong_yes(answer.is_yes() && (ended || answer.at >= deadline));
                        let longest = cap + HOUR - from.min(to);
                        run.wrong_yes(answer.is_yes() && asked - entered >= longest);
                        ended |= answer.reason.code() == "session_expired";
                    }
                });
            }
            threads.spawn(|| {
                for n in 0.. {
                    if over.load(Ordering::Acquire) {
                        return;
                    }
                    let name = format!("m{round}-{n}");
                    let spec = site.w.member_spec(cast.harbour, &name, None);
                    site.must(&put, Command::PutMember(spec));
                    run.acknowledged(1);
                }
            });
            // A third of its time, the step, and then until it is over by any clock.
            for part in 0..60 {
                if part == 5 {
                    truth.step(&site, to);
                }
                truth.pass(&site, (cap + 3 * HOUR) / 60);
                std::thread::sleep(Duration::from_millis(2));
            }
            over.store(true, Ordering::Release);
        });
        assert_eq!(site.evaluate(&token, "boats:read").reason.code(), "session_expired");
        run.round();
    }
    let rows = site.app.reader().rows(None, 0, usize::MAX).unwrap();
    assert!(rows.windows(2).all(|two| two[0].at <= two[1].at), "a row before the one before it");
    site.check();
    run.end();
}
