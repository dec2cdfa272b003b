//! Whether the kernel's state and the model say the same: objects, phases, decisions.

use std::collections::{BTreeMap, BTreeSet};

use comity_domain::assignment::{AssignmentState, Basis};
use comity_domain::grant::{GrantEnd, GrantState};
use comity_domain::ids::{AccountId, SessionId};
use comity_domain::organisation::Standing;
use comity_domain::permission::Permission;
use comity_domain::refusal::Reason;
use comity_domain::request::{RequestCancel, RequestState};
use comity_domain::rights::{self, Resource};
use comity_domain::session::SessionState;
use comity_domain::state::State;

use super::generate::Rng;
use super::invariants::ASKED;
use super::judge::listed;
use super::plain::{Assignment, Fate, Plain};

/// Compares every object.
pub fn objects(m: &Plain, s: &State) {
    for (id, o) in s.organisations.iter() {
        let own = &m.orgs[&id];
        assert_eq!(
            (o.standing, o.customer_id, o.version),
            (own.standing, own.code, own.version),
            "{id}"
        );
        assert_eq!(o.settings, own.settings, "{id}");
    }
    for (id, u) in s.units.iter() {
        assert_eq!(u.standing == Standing::Active, m.units[&id].active, "{id}");
    }
    let accounts: BTreeSet<AccountId> = s.accounts.iter().map(|(id, _)| id).collect();
    assert_eq!(accounts, m.accounts.keys().copied().collect());
    for (id, r) in s.roles.iter() {
        assert_eq!(
            (r.versions.len(), r.deleted),
            (m.roles[&id].versions.len(), m.roles[&id].deleted),
            "{id}"
        );
    }
    let members: BTreeMap<_, _> = s
        .members
        .iter()
        .map(|(k, x)| (*k, (x.unit, x.portal, x.standing == Standing::Active)))
        .collect();
    assert_eq!(
        members,
        m.members.iter().map(|(k, x)| (*k, (x.unit, x.portal, x.active))).collect()
    );
    for (id, p) in s.people.iter() {
        let own = &m.people[&id];
        assert_eq!((p.auth_epoch, p.enrolment), (own.epoch, own.enrolment), "{id}");
        assert_eq!(p.has_password, own.enrolled, "{id}");
    }
    let locks: BTreeMap<_, _> =
        s.locks.iter().map(|(id, l)| (id, (l.customer, l.target))).collect();
    assert_eq!(locks, m.locks);
    let erased: BTreeSet<_> = s.erasures().map(|(subject, _)| subject).collect();
    assert_eq!(erased, m.erased);
    for subject in erased {
        assert!(!s.words.names(subject), "{subject:?} is still named");
    }
    let halts: BTreeMap<_, _> = s.halts.iter().map(|(id, h)| (id, h.target)).collect();
    assert_eq!(halts, m.halts);
    requests(m, s);
    grants(m, s);
    sessions(m, s);
}

fn requests(m: &Plain, s: &State) {
    for (id, r) in &m.requests {
        let Some(real) = s.requests.get(*id) else {
            assert!(m.known_request(*id, m.last).is_none(), "{id} is forgotten too early");
            continue;
        };
        assert!(m.known_request(*id, m.last).is_some(), "{id} is remembered too long");
        let fate = match real.state {
            RequestState::Pending => Fate::Pending,
            RequestState::Approved { grant, .. } => Fate::Approved(grant),
            RequestState::Denied { at, .. } => Fate::Denied(at),
            RequestState::Cancelled { at, cause: Some(RequestCancel::ByAsker) } => {
                Fate::TakenBack(at)
            }
            RequestState::Cancelled { .. } => Fate::Cancelled,
        };
        assert_eq!(
            (fate, real.customer, real.provider.organisation, real.provider.unit),
            (r.fate, r.customer, r.provider, r.unit),
            "{id}"
        );
    }
    assert!(s.requests.iter().all(|(id, _)| m.requests.contains_key(&id)));
}

fn grants(m: &Plain, s: &State) {
    for (id, g) in &m.grants {
        let Some(real) = s.grants.get(*id) else {
            assert!(m.known_grant(*id, m.last).is_none(), "{id} is forgotten too early");
            continue;
        };
        assert!(m.known_grant(*id, m.last).is_some(), "{id} is remembered too long");
        let ended: Option<GrantEnd> = match real.state {
            GrantState::Running => None,
            GrantState::Ended { cause, .. } => Some(cause),
        };
        assert_eq!(
            (ended, real.version, real.unattended, real.unconfirmed),
            (g.ended, g.version, g.unattended, g.unconfirmed),
            "{id}"
        );
        assert_eq!(
            (real.window.start, real.window.end, real.cap.0),
            (g.start, g.end, g.cap),
            "{id}"
        );
        let roles: BTreeMap<_, _> = real.roles.iter().map(|p| (p.role, p.version)).collect();
        assert_eq!(
            (roles, listed(&real.accounts), real.modes),
            (g.roles.clone(), g.accounts.clone(), g.modes),
            "{id}"
        );
        let assigned: BTreeMap<_, _> = s
            .assigned_to(*id)
            .map(|(person, row)| {
                let view = s.assignment(*id, person).unwrap();
                let no_roles = row.state == AssignmentState::SuspendedNoRoles;
                let roles = view.roles.into_iter().collect();
                (
                    person,
                    Assignment {
                        roles,
                        accounts: listed(&view.accounts),
                        ends: row.ends_at,
                        no_roles,
                        auto: row.basis == Basis::Automatic,
                    },
                )
            })
            .collect();
        let expected = m.assigned.iter().filter(|((g, _), _)| g == id);
        assert_eq!(assigned, expected.map(|((_, p), a)| (*p, a.clone())).collect(), "{id}");
    }
    assert!(s.grants.iter().all(|(id, _)| m.grants.contains_key(&id)));
}

fn sessions(m: &Plain, s: &State) {
    for (id, x) in &m.sessions {
        let Some(real) = s.sessions.get(*id) else {
            assert!(m.known_session(*id, m.last).is_none(), "{id} is forgotten too early");
            continue;
        };
        assert!(m.known_session(*id, m.last).is_some(), "{id} is remembered too long");
        let ended = match real.state {
            SessionState::Running => None,
            SessionState::Ended { at, cause } => Some((at, cause.reason())),
        };
        assert_eq!((real.deadline, ended, real.mode), (x.deadline, x.ended, x.mode), "{id}");
    }
    assert!(s.sessions.iter().all(|(id, _)| m.sessions.contains_key(&id)));
}

/// Compares the answers for a few sessions, most of them alive; counts each reason.
pub fn decisions(m: &Plain, s: &State, rng: &mut Rng, reasons: &mut BTreeMap<&'static str, u64>) {
    let known: Vec<SessionId> = s.sessions.iter().map(|(id, _)| id).collect();
    let live: Vec<SessionId> =
        known.iter().copied().filter(|id| m.live_session(&m.sessions[id])).collect();
    let everywhere: Vec<AccountId> = m.accounts.keys().copied().collect();
    for from in [&live, &live, &known] {
        let Some(id) = rng.pick(from) else { continue };
        let compiled = rights::compile(s, id).unwrap();
        let customer = m.grants[&m.sessions[&id].grant].customer;
        let own: Vec<AccountId> = s.accounts_of(customer).collect();
        for _ in 0..4 {
            let asked = rng.pick(&ASKED).unwrap();
            let (org, account) = match rng.below(10) {
                0..=5 => (customer, rng.pick(&own)),
                6 => (customer, Some(AccountId(7))), // was removed, or never was
                7 => (rng.pick(&m.orgs.keys().copied().collect::<Vec<_>>()).unwrap(), None),
                8 => (customer, rng.pick(&everywhere)),
                _ => (customer, None),
            };
            // A resolver finds an account with its owner, or nothing.
            let (org, resource) = match account.map(|a| (a, s.accounts.get(a))) {
                None => (org, Resource::Organisation(org)),
                Some((a, Some(found))) => {
                    (found.organisation, Resource::Account(a, found.organisation, found.unit))
                }
                Some((_, None)) => (org, Resource::Unknown),
            };
            let pair = asked.split_once(':').unwrap();
            let real: Reason = compiled.judge(Permission::parse(asked).unwrap(), resource, m.now);
            assert_eq!(real, m.decide(id, pair, org, account), "{id} {asked} {resource:?}");
            *reasons.entry(real.code()).or_default() += 1;
        }
    }
}
