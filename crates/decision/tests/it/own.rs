//! inv11 for members at home, and that a search finds what a decision would say yes to: both against
//! the reference, after random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use comity_decision::decide::{Clocks, decide_own};
use comity_decision::index::Index;
use comity_decision::{reference, search};
use comity_domain::ids::{ApplicationId, OrganisationId, PersonId};
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::rights::{self, Resource};

use crate::history::{Chance, History, PERMISSIONS};

fn resources(h: &History) -> Vec<Resource> {
    let accounts = h.w.state.accounts.iter().map(|(id, _)| search::account(&h.w.state, id));
    accounts.chain(h.orgs.iter().map(|o| Resource::Organisation(*o))).collect()
}

#[test]
fn inv11_a_member_at_home_is_answered_what_the_reference_answers() {
    let index = Index::default();
    index.renew(i64::MAX, 0);
    let (mut asked, mut seen) = (0usize, BTreeMap::<Reason, usize>::new());
    for seed in 1..=30 {
        let mut h = History::begin(seed);
        let mut chance = Chance(seed);
        for _ in 0..45 {
            h.step();
            let people: Vec<PersonId> = h.w.state.people.iter().map(|(id, _)| id).collect();
            let mut places = resources(&h);
            places.push(Resource::Unknown);
            for _ in 0..40 {
                let person = chance.of(&people).unwrap();
                let resource = chance.of(&places).unwrap();
                let application = if chance.one_in(4) { h.ships } else { h.w.boats };
                let permission = Permission::parse(chance.of(&PERMISSIONS).unwrap()).unwrap();
                let state = &h.w.state;
                let wanted =
                    reference::decide_own(state, application, person, permission, resource);
                let clocks = || Clocks { wall: h.w.now, boot: 0, drift: 0 };
                let find = |_: &_| (Some(person), resource);
                let answer = decide_own(&index, application, || state, permission, find, clocks);
                assert_eq!(answer.reason, wanted, "{seed}: {person} {permission} {resource:?}");
                asked += 1;
                *seen.entry(wanted).or_default() += 1;
            }
        }
    }
    println!("{asked} comparisons: {seen:#?}");
    for reason in [
        Reason::Allowed,
        Reason::NotAMember,
        Reason::Locked,
        Reason::Suspended,
        Reason::WrongResource,
        Reason::NoRole,
    ] {
        assert!(seen.get(&reason).copied().unwrap_or_default() >= 50, "{reason:?}: {seen:?}");
    }
}

#[test]
fn t37_no_yes_at_home_unless_what_was_read_is_known_to_be_current() {
    let h = History::begin(3);
    let index = Index::default();
    let rita = h.w.person(h.orgs[0], "rita");
    let ask = |boot, drift| {
        let find = |_: &_| (Some(rita), Resource::Organisation(h.orgs[0]));
        let clocks = || Clocks { wall: h.w.now, boot, drift };
        let asked = Permission::parse("boats:read").unwrap();
        decide_own(&index, h.w.boats, || &h.w.state, asked, find, clocks).reason
    };
    assert_eq!(ask(0, 0), Reason::Stale, "nobody has confirmed anything");
    index.renew(100, 0);
    assert_eq!(ask(99, 0), Reason::Allowed);
    assert_eq!(ask(100, 0), Reason::Stale, "half-open: at the end the answer is no");
    assert_eq!(ask(99, 2_000), Reason::Stale, "somebody set the clock");
    index.close();
    assert_eq!(ask(99, 0), Reason::Stale);
}

/// Whom a search finds, where, and with what, against the reference asked about everything.
struct Compared<'h> {
    h: &'h History,
    application: ApplicationId,
    yes: usize,
}

impl Compared<'_> {
    fn subjects(&mut self, permission: Permission<'_>, resource: Resource) {
        let (state, now) = (&self.h.w.state, self.h.w.now);
        let found: BTreeSet<_> = search::sessions(state, resource)
            .into_iter()
            .filter(|id| {
                let compiled = Arc::new(rights::compile(state, *id).unwrap());
                compiled.application == self.application
                    && search::Subject::Session(compiled).may(permission, resource, now)
            })
            .collect();
        let wanted: BTreeSet<_> = state
            .sessions
            .iter()
            .filter(|(_, s)| {
                let (app, token) = (self.application, s.token);
                reference::decide(state, app, token, permission, resource, now) == Reason::Allowed
            })
            .map(|(id, _)| id)
            .collect();
        assert_eq!(found, wanted, "{permission} {resource:?}");
        self.yes += found.len();
        let owner = search::owner(resource).unwrap();
        let found: BTreeSet<_> = search::members(state, resource)
            .into_iter()
            .filter(|p| {
                let member = search::member(state, self.application, owner, *p);
                member.is_some_and(|m| m.may(permission, resource, now))
            })
            .collect();
        let allowed = |p: &PersonId| {
            let app = self.application;
            reference::decide_own(state, app, *p, permission, resource) == Reason::Allowed
        };
        let wanted: BTreeSet<_> = state.people.iter().map(|(id, _)| id).filter(allowed).collect();
        assert_eq!(found, wanted, "{permission} {resource:?}");
        self.yes += found.len();
    }

    fn permissions(&mut self, owner: OrganisationId, resource: Resource) {
        let (state, now) = (&self.h.w.state, self.h.w.now);
        let words = &state.applications.get(self.application).unwrap().permissions;
        for (person, _) in state.members_of(owner) {
            let Some(member) = search::member(state, self.application, owner, person) else {
                continue;
            };
            let found = member.permissions(words, resource, now).unwrap();
            for text in &found {
                let asked = Permission::parse(text).unwrap();
                let wanted =
                    reference::decide_own(state, self.application, person, asked, resource);
                assert_eq!(wanted, Reason::Allowed, "{text}");
            }
            for text in PERMISSIONS {
                let asked = Permission::parse(text).unwrap();
                let wanted =
                    reference::decide_own(state, self.application, person, asked, resource);
                // Each of these is named somewhere or comes from a star, which has no end.
                let named = |p: &&str| words.texts().any(|w| w == **p);
                assert!(
                    wanted != Reason::Allowed || found.contains(text) || !named(&text),
                    "{text} is allowed and was not found"
                );
            }
            self.yes += found.len();
        }
        for session in search::sessions(state, resource) {
            let compiled = Arc::new(rights::compile(state, session).unwrap());
            let (app, token) = (compiled.application, compiled.token);
            let words = &state.applications.get(app).unwrap().permissions;
            let found = search::Subject::Session(compiled).permissions(words, resource, now);
            for text in found.unwrap() {
                let asked = Permission::parse(&text).unwrap();
                let wanted = reference::decide(state, app, token, asked, resource, now);
                assert_eq!(wanted, Reason::Allowed, "{text}");
                self.yes += 1;
            }
        }
    }
}

#[test]
fn inv11_a_search_finds_exactly_what_the_reference_says_yes_to() {
    let mut yes = 0;
    for seed in 1..=12 {
        let mut h = History::begin(seed);
        for _ in 0..20 {
            h.step();
            let application = if h.chance.clone().one_in(3) { h.ships } else { h.w.boats };
            let mut compared = Compared { h: &h, application, yes: 0 };
            for resource in resources(&h) {
                for permission in PERMISSIONS {
                    compared.subjects(Permission::parse(permission).unwrap(), resource);
                }
                compared.permissions(search::owner(resource).unwrap(), resource);
            }
            yes += compared.yes;
        }
    }
    println!("{yes} times something was found");
    assert!(yes > 10_000, "{yes}");
}
