//! The invariants of threats.md (c) that a state and its log must keep, each by its number, looked
//! at after every accepted command. They know neither the model nor the kernel's reasoning.

use std::collections::{BTreeMap, BTreeSet};

use comity_domain::assignment::{AssignmentEnd, Basis};
use comity_domain::check::{self, Scope};
use comity_domain::command::{Command, Principal};
use comity_domain::consent;
use comity_domain::event::{Event, Row};
use comity_domain::grant::Grant;
use comity_domain::ids::{GrantId, OrganisationId, PersonId, SessionId};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::{Accounts, Standing};
use comity_domain::permission::Permission;
use comity_domain::person::PortalRole;
use comity_domain::refusal::Reason;
use comity_domain::request::{RequestPhase, RequestState};
use comity_domain::rights::{self, Resource};
use comity_domain::role::Mode;
use comity_domain::state::State;
use comity_domain::text::Subject;
use comity_domain::time::{DAY, Instant, MINUTE};

/// What decisions are asked about.
pub const ASKED: [&str; 5] = ["boats:read", "boats:write", "money:read", "money:pay", "crew:write"];

/// From when to when somebody was a member.
type Span = (Instant, Option<Instant>);

/// What a log has told so far, kept apart from the state.
#[derive(Clone, Debug, Default)]
pub struct History {
    members: BTreeMap<(OrganisationId, PersonId), Vec<Span>>,
    asked: BTreeSet<(OrganisationId, OrganisationId)>,
    granted: BTreeSet<(OrganisationId, OrganisationId)>,
}

impl History {
    /// Reads one more row.
    pub fn read(&mut self, state: &State, row: &Row) {
        for recorded in &row.events {
            match &recorded.event {
                Event::MemberJoined { organisation, person, .. } => {
                    self.members.entry((*organisation, *person)).or_default().push((row.at, None));
                }
                Event::MemberLeft { organisation, person } => {
                    let last = self.members.get_mut(&(*organisation, *person)).unwrap().last_mut();
                    last.unwrap().1 = Some(row.at);
                }
                Event::RequestAddressed { request, customer } => {
                    let provider = state.requests.get(*request).unwrap().provider.organisation;
                    self.asked.insert((*customer, provider));
                }
                // Who offers tells who they are.
                Event::GrantMade { customer, provider, .. }
                | Event::OfferMade { customer, provider, .. } => {
                    self.granted.insert((customer.organisation, provider.organisation));
                }
                _ => {}
            }
        }
    }

    /// Whether `reader` has a tie by which it may know `other`: a customer knows who asked, and
    /// both sides of a grant or an offer know each other.
    fn tie(&self, reader: OrganisationId, other: OrganisationId) -> bool {
        reader == other
            || self.asked.contains(&(reader, other))
            || self.granted.contains(&(reader, other))
            || self.granted.contains(&(other, reader))
    }
}

/// One accepted command.
pub struct Taken<'a> {
    pub before: &'a State,
    pub after: &'a State,
    pub command: &'a Command,
    pub row: &'a Row,
    pub history: &'a History,
}

impl Taken<'_> {
    /// All of them.
    pub fn check(&self) {
        self.inv01_tenancy();
        self.inv02_distinct_pair();
        self.inv03_provenance();
        self.inv04_four_eyes();
        self.inv05_no_silent_widening();
        self.inv06_ceiling();
        self.inv07_interval();
        self.inv08_finality();
        self.inv09_ending_is_immediate();
        self.inv12_non_interference();
        self.inv14_members_only();
        self.inv15_auto_set();
        self.inv16_last_user();
        self.inv17_last_admin();
        self.inv19_session_bounds();
        self.inv20_session_needs_all();
        self.inv23_token_is_row();
        self.inv25_chain();
        self.inv32_restored_is_not_revived();
        self.inv33_lock_wins();
        self.inv_checker_is_quiet();
    }

    /// What the running server looks for finds nothing in what the kernel makes.
    fn inv_checker_is_quiet(&self) {
        assert_eq!(check::check(self.after, &Scope::everything(), self.row.at), []);
        assert_eq!(check::step(self.before, self.row, self.after), []);
    }

    fn events(&self) -> impl Iterator<Item = &Event> {
        self.row.events.iter().map(|r| &r.event)
    }

    fn standing(&self) -> impl Iterator<Item = (GrantId, &Grant)> {
        self.after.grants.iter().filter(|(_, g)| g.stands(self.row.at))
    }

    fn inv01_tenancy(&self) {
        let s = self.after;
        let owner = |unit| s.units.get(unit).unwrap().organisation;
        assert!(s.accounts.iter().all(|(_, a)| owner(a.unit) == a.organisation));
        assert!(s.members.iter().all(|((o, _), m)| owner(m.unit) == *o));
        for (id, g) in self.standing() {
            for side in [g.customer, g.provider] {
                assert!(side.unit.is_none_or(|u| owner(u) == side.organisation), "{id}");
            }
            assert!(
                g.roles
                    .iter()
                    .all(|r| s.roles.get(r.role).unwrap().organisation == g.customer.organisation)
            );
            if let Accounts::List(list) = &g.accounts {
                let mine = |a| {
                    s.accounts.get(a).is_some_and(|a| g.customer.includes(a.organisation, a.unit))
                };
                assert!(list.iter().all(|a| mine(*a)), "{id}");
            }
        }
    }

    fn inv02_distinct_pair(&self) {
        let same = |g: &Grant| g.customer.organisation == g.provider.organisation;
        assert!(!self.after.grants.iter().any(|(_, g)| same(g)));
        assert!(!self.after.requests.iter().any(|(_, r)| r.customer == r.provider.organisation));
    }

    fn inv03_provenance(&self) {
        let mut seen = BTreeSet::new();
        for (id, g) in self.after.grants.iter() {
            assert!(seen.insert(g.request), "{}: two grants", g.request);
            if let Some(request) = self.after.requests.get(g.request) {
                let approved =
                    matches!(request.state, RequestState::Approved { grant, .. } if grant == id);
                assert!(approved, "{id} without an approval");
            }
        }
        for (id, r) in self.after.requests.iter() {
            if let RequestState::Approved { grant, .. } = r.state {
                assert!(self.after.grants.get(grant).is_none_or(|g| g.request == id));
            }
        }
        if let Command::Approve { request, terms, summary } = self.command {
            let asked = self.before.requests.get(*request).unwrap();
            let given =
                consent::summarise(self.before, *request, asked, terms, self.row.at).unwrap();
            assert_eq!(given.hash(), *summary);
            let made = self.after.grants.iter().find(|(_, g)| g.request == *request).unwrap().1;
            assert_eq!(made.summary, *summary);
            assert_eq!((made.customer, made.provider), (given.customer, given.provider));
            assert_eq!(
                (&made.accounts, made.modes, made.cap),
                (&given.accounts, given.modes, given.cap)
            );
            let consent =
                |e: &Event| matches!(e, Event::RequestApproved { summary: s, .. } if s == summary);
            assert_eq!(self.events().filter(|e| consent(e)).count(), 1);
        }
    }

    fn inv04_four_eyes(&self) {
        for event in self.events() {
            let Event::RequestApproved { request, by, .. } = event else {
                continue;
            };
            let asked = self.before.requests.get(*request).unwrap();
            assert!(
                matches!(self.row.caller.principal, Principal::Person { person, .. } if person == *by)
            );
            assert_ne!(asked.by, *by);
            let spans = self.history.members.get(&(asked.provider.organisation, *by));
            let inside = |(_, left): &Span| left.is_none_or(|l| l >= asked.at);
            assert!(!spans.is_some_and(|s| s.iter().any(inside)), "{by} was on the other side");
        }
    }

    fn inv05_no_silent_widening(&self) {
        for (id, before) in self.before.grants.iter() {
            let Some(after) = self.after.grants.get(id) else {
                continue;
            };
            let amended =
                |e: &Event| matches!(e, Event::GrantAmended { grant, .. } if *grant == id);
            if self.events().any(amended) {
                assert!(matches!(self.command, Command::Amend { grant, .. } if *grant == id));
                let same = (before.customer, before.provider, &before.level, before.window.start);
                assert_eq!(
                    (after.customer, after.provider, &after.level, after.window.start),
                    same
                );
                assert!(after.version > before.version);
                continue;
            }
            assert!(after.roles.iter().all(|r| before.roles.contains(r)), "{id} roles");
            assert!(before.accounts.covers(&after.accounts), "{id} accounts");
            assert!(before.modes.covers(after.modes), "{id} modes");
            assert!(
                after.window.end <= before.window.end && after.window.start == before.window.start
            );
            assert!(after.cap <= before.cap, "{id} cap");
            assert_eq!((after.allow_external, after.jwt), (before.allow_external, before.jwt));
            assert_eq!(
                (after.customer, after.provider, &after.level),
                (before.customer, before.provider, &before.level)
            );
            assert!(after.version >= before.version, "{id} version");
        }
    }

    fn inv06_ceiling(&self) {
        for (id, g) in self.standing() {
            let people: Vec<PersonId> = self.after.assigned_to(id).map(|(p, _)| p).collect();
            for person in people {
                let a = self.after.assignment(id, person).unwrap();
                if !a.row.is_active(self.row.at) {
                    continue;
                }
                assert!(
                    !a.roles.is_empty() && a.roles.iter().all(|r| g.pinned(*r).is_some()),
                    "{id} {person}"
                );
                let inside = a.accounts == Accounts::All || g.accounts.covers(&a.accounts);
                assert!(inside && !g.accounts.meet(&a.accounts).is_empty(), "{id} {person}");
                assert!(a.row.ends_at == Instant::NEVER || a.row.ends_at <= g.window.end);
            }
        }
        for (id, _) in self.after.sessions.iter().filter(|(_, s)| s.is_active(self.row.at)) {
            let compiled = rights::compile(self.after, id).unwrap();
            for asked in ASKED.map(|a| Permission::parse(a).unwrap()) {
                if self.after.policy.never_delegable.permits(asked) {
                    let whole = Resource::Organisation(compiled.customer);
                    assert_ne!(compiled.judge(asked, whole, self.row.at), Reason::Allowed);
                }
            }
        }
    }

    fn inv07_interval(&self) {
        for event in self.events() {
            if let Event::GrantMade { window, .. } = event {
                assert!(window.start < window.end && window.start >= self.row.at);
                assert!(window.end.since(window.start) <= 730 * DAY);
            }
        }
        for (id, s) in self.after.sessions.iter().filter(|(_, s)| s.is_active(self.row.at)) {
            let end = self.after.grants.get(s.grant).unwrap().window.end;
            assert!(!says_yes(self.after, id, s.deadline), "{id} at its deadline");
            assert!(!says_yes(self.after, id, end), "{id} at its grant's end");
        }
    }

    fn inv08_finality(&self) {
        let now = self.row.at;
        let pending = |id| {
            self.before.requests.get(id).is_some_and(|r| r.phase(now) == RequestPhase::Pending)
        };
        let stands = |id| self.before.grants.get(id).is_some_and(|g| g.stands(now));
        let active = |id| self.before.sessions.get(id).is_some_and(|s| s.is_active(now));
        for event in self.events() {
            let may = match event {
                Event::RequestCancelled { request, .. }
                | Event::RequestDenied { request, .. }
                | Event::RequestApproved { request, .. } => pending(*request),
                Event::OfferAccepted { request, by: Some(_), .. } => pending(*request),
                Event::GrantNarrowed { grant, .. }
                | Event::GrantAmended { grant, .. }
                | Event::GrantEnded { grant, .. }
                | Event::GrantUnattended { grant }
                | Event::Assigned { grant, .. }
                | Event::AssignmentTrimmed { grant, .. }
                | Event::AssignmentSuspended { grant, .. }
                | Event::AssignmentEnded { grant, .. }
                | Event::AssignedMany { grant, .. }
                | Event::UnassignedMany { grant, .. }
                | Event::AssignmentsTrimmed { grant, .. }
                | Event::AutoSet { grant, .. }
                | Event::AutoTrimmed { grant, .. }
                | Event::AutoSuspended { grant }
                | Event::AutoLeftOut { grant, .. }
                | Event::AutoCleared { grant, .. }
                | Event::SessionStarted { grant, .. } => stands(*grant),
                Event::SessionShortened { session, .. } | Event::SessionEnded { session, .. } => {
                    active(*session)
                }
                _ => true,
            };
            assert!(may, "{event:?} changes what is over");
        }
    }

    fn inv09_ending_is_immediate(&self) {
        let s = self.after;
        let mut covered: BTreeSet<SessionId> = BTreeSet::new();
        let of = |grant: GrantId, person: PersonId| {
            s.sessions_under(grant).filter(move |x| s.sessions.get(*x).unwrap().person == person)
        };
        for event in self.events() {
            match event {
                Event::GrantEnded { grant, .. } => covered.extend(s.sessions_under(*grant)),
                Event::SessionEnded { session, .. } => drop(covered.insert(*session)),
                // The rule has them on it.
                Event::AssignmentEnded { cause: AssignmentEnd::Replaced, .. } => {}
                Event::AutoSuspended { grant } => covered.extend(s.sessions_under(*grant)),
                Event::AutoLeftOut { grant, person }
                | Event::AssignmentEnded { grant, person, .. }
                | Event::AssignmentSuspended { grant, person } => {
                    covered.extend(of(*grant, *person));
                }
                Event::UnassignedMany { grant, off, .. } => {
                    covered.extend(off.iter().flat_map(|person| of(*grant, *person)));
                }
                Event::OrganisationStanding { organisation, standing }
                    if *standing != Standing::Active =>
                {
                    let grants = s.grants_by(*organisation).chain(s.grants_to(*organisation));
                    covered.extend(grants.flat_map(|g| s.sessions_under(g)));
                }
                Event::MemberStanding { organisation, person, standing: Standing::Suspended }
                | Event::MembershipSuperseded { organisation, person, .. }
                | Event::MemberLeft { organisation, person } => {
                    covered.extend(s.grants_to(*organisation).flat_map(|g| of(g, *person)));
                }
                Event::GrantNarrowed { grant, modes, .. } => {
                    let struck = |x: &SessionId| !modes.contains(s.sessions.get(*x).unwrap().mode);
                    covered.extend(s.sessions_under(*grant).filter(struck));
                }
                _ => {}
            }
        }
        for session in covered {
            assert!(!says_yes(s, session, self.row.at), "{session} goes on");
        }
    }

    /// No part of a row names an organisation to a reader without a tie to it. What a reader wrote
    /// itself (its own list of blocked partners) names whom it likes.
    fn inv12_non_interference(&self) {
        for (ix, recorded) in self.row.events.iter().enumerate() {
            if matches!(recorded.event, Event::SettingsChanged { .. }) {
                continue;
            }
            let mut named: BTreeSet<OrganisationId> = BTreeSet::new();
            let json = serde_json::to_string(&recorded.event).unwrap();
            named.extend(
                json.match_indices("\"org_")
                    .map(|(at, _)| json[at + 1..at + 31].parse::<OrganisationId>().unwrap()),
            );
            for word in self.row.words.iter().filter(|w| w.event as usize == ix) {
                if let Subject::Organisation(about) = word.about {
                    named.insert(about);
                }
            }
            for reader in &recorded.readers {
                for other in &named {
                    assert!(self.history.tie(*reader, *other), "{reader} reads of {other}: {json}");
                }
            }
        }
    }

    fn inv14_members_only(&self) {
        for (id, g) in self.standing() {
            for (person, a) in self.after.assigned_to(id).filter(|(_, a)| a.is_active(self.row.at))
            {
                let member = self.after.members.get(&(g.provider.organisation, person));
                let inside =
                    member.is_some_and(|m| g.provider.includes(g.provider.organisation, m.unit));
                assert!(inside, "{person} on {id} by {:?}", a.basis);
            }
        }
    }

    /// A rule has all members of its side on the grant, and nobody of them by themselves; turning it
    /// off takes nobody off and puts nobody on.
    fn inv15_auto_set(&self) {
        let s = self.after;
        for (id, g) in self.standing().filter(|(_, g)| g.auto.is_some()) {
            let rule = g.auto.as_deref().unwrap();
            let provider = g.provider.organisation;
            let eligible = s.members_of(provider).filter(|(person, m)| {
                let role =
                    rule.only.as_ref().is_none_or(|o| m.portal.is_some_and(|p| o.contains(&p)));
                g.provider.includes(provider, m.unit) && role && !rule.left_out.contains(person)
            });
            let eligible: BTreeSet<PersonId> = eligible.map(|(person, _)| person).collect();
            let on: BTreeSet<PersonId> = s.assigned_to(id).map(|(person, _)| person).collect();
            assert_eq!(on, eligible, "{id}");
            assert!(s.assigned_to(id).all(|(_, a)| a.basis == Basis::Automatic), "{id}");
        }
        if let Command::SetAuto { grant, auto: None, .. } = self.command {
            let people = |s: &State| -> BTreeSet<PersonId> {
                let on = s.assigned_to(*grant);
                on.filter(|(p, a)| s.attends(*grant, *p, a, self.row.at)).map(|(p, _)| p).collect()
            };
            assert_eq!(people(self.before), people(s), "{grant} has other people on it");
        }
    }

    fn inv16_last_user(&self) {
        if let Command::SetAssignments { grant, .. }
        | Command::SetAuto { grant, .. }
        | Command::AssignMany { grant, .. } = self.command
        {
            let g = self.before.grants.get(*grant).unwrap();
            let live = g.window.contains(self.row.at) && g.unconfirmed.is_none();
            let was = live && self.before.active_on(*grant, self.row.at) > 0;
            let is = self.after.active_on(*grant, self.row.at) > 0;
            assert!(!was || is, "{grant} is left alone by a set");
        }
        let Command::Unassign { grant, person, .. } = self.command else {
            return;
        };
        let g = self.before.grants.get(*grant).unwrap();
        let member = self.before.active_member(g.provider.organisation, *person).is_some();
        let assigned = self.before.assignment_row(*grant, *person).unwrap().is_active(self.row.at);
        let live = g.window.contains(self.row.at) && g.unconfirmed.is_none();
        let was = assigned && member && live;
        let removed =
            |e: &Event| matches!(e, Event::AssignmentEnded { cause: AssignmentEnd::Removed, .. });
        assert!(self.events().any(removed));
        assert!(!was || self.after.active_on(*grant, self.row.at) > 0, "{grant} is left alone");
        let flagged = |e: &Event| matches!(e, Event::GrantUnattended { .. });
        assert!(!was || !self.events().any(flagged));
    }

    fn inv17_last_admin(&self) {
        if matches!(self.command, Command::Restore { .. }) {
            return; // nobody is known to be a member any more
        }
        let has_one = |s: &State, o| {
            let admin = |m: &comity_domain::person::Member| {
                m.portal == Some(PortalRole::Admin)
                    && m.standing == Standing::Active
                    && s.unit_is_active(m.unit)
            };
            s.members_of(o).any(|(_, m)| admin(m))
        };
        for (id, _) in self.before.organisations.iter() {
            assert!(
                !has_one(self.before, id) || has_one(self.after, id),
                "{id} lost its last Admin"
            );
        }
    }

    fn inv19_session_bounds(&self) {
        for (id, s) in self.after.sessions.iter() {
            let g = self.after.grants.get(s.grant).unwrap();
            assert!(s.deadline > s.started && s.deadline.since(s.started) <= 480 * MINUTE, "{id}");
            if let Some(before) = self.before.sessions.get(id) {
                assert!(
                    s.deadline <= before.deadline && s.started == before.started,
                    "{id} is longer"
                );
                assert!(before.ended().is_none() || s.state == before.state, "{id} is alive again");
            } else {
                let cap = i64::from(g.cap.0) * MINUTE;
                assert!(s.deadline <= s.started.plus(cap).min(g.window.end), "{id}");
            }
            if s.is_active(self.row.at) {
                let a = self.after.assignment_row(s.grant, s.person).unwrap();
                assert!(s.deadline <= g.window.end && s.deadline <= a.ends_at, "{id} outlives");
            }
            assert!(s.ended().is_none_or(|e| e < s.deadline), "{id} ended after its deadline");
        }
    }

    fn inv20_session_needs_all(&self) {
        let (s, now) = (self.after, self.row.at);
        let mut count: BTreeMap<(GrantId, PersonId, bool), u32> = BTreeMap::new();
        for (id, x) in s.sessions.iter().filter(|(_, x)| x.is_active(now)) {
            let g = s.grants.get(x.grant).unwrap();
            assert!(g.stands(now) && g.window.contains(now), "{id}");
            assert!(s.assignment_row(x.grant, x.person).is_some_and(|a| a.is_active(now)), "{id}");
            assert!(s.active_member(g.provider.organisation, x.person).is_some(), "{id}");
            assert!(s.party_is_active(g.customer) && s.party_is_active(g.provider), "{id}");
            assert!(
                !s.is_locked(g.customer.organisation, g.provider.organisation, Some(x.person)),
                "{id}"
            );
            assert!(!s.is_halted(x.grant, Some(x.person)), "{id}");
            assert!(g.modes.contains(x.mode), "{id}");
            *count.entry((x.grant, x.person, x.mode == Mode::ActAs)).or_default() += 1;
        }
        assert!(
            count.iter().all(|((_, _, act_as), n)| *n <= if *act_as { 1 } else { 5 }),
            "{count:?}"
        );
    }

    fn inv23_token_is_row(&self) {
        let mut tokens = BTreeSet::new();
        for (id, s) in self.after.sessions.iter() {
            assert!(tokens.insert(s.token), "{id} shares its token");
            assert_eq!(self.after.session_by_token(s.token), Some(id));
            let c = rights::compile(self.after, id).unwrap();
            let g = self.after.grants.get(s.grant).unwrap();
            assert_eq!(
                (c.token, c.actor, c.grant, c.deadline),
                (s.token, s.person, s.grant, s.deadline)
            );
            assert_eq!(
                (c.customer, c.provider),
                (g.customer.organisation, g.provider.organisation)
            );
        }
        for (id, _) in
            self.before.sessions.iter().filter(|(id, _)| self.after.sessions.get(*id).is_none())
        {
            let token = self.before.sessions.get(id).unwrap().token;
            assert_eq!(self.after.session_by_token(token), None, "the token of {id} outlives it");
        }
    }

    fn inv25_chain(&self) {
        assert_eq!(self.row.seq, self.before.seq + 1);
        assert_eq!((self.after.seq, self.after.at), (self.row.seq, self.row.at));
        assert!(self.row.at >= self.before.at, "time went back");
        assert!(!self.row.events.is_empty(), "a row without an event");
    }

    fn inv32_restored_is_not_revived(&self) {
        let (before, s) = (self.before, self.after);
        for (id, g) in s.grants.iter() {
            let was = before.grants.get(id).is_some_and(|g| g.unconfirmed.is_some());
            let confirmed =
                |e: &Event| matches!(e, Event::GrantConfirmed { grant, .. } if *grant == id);
            if was && g.unconfirmed.is_none() && g.stands(self.row.at) {
                assert!(self.events().any(confirmed), "{id} is back without its customer");
            }
            if g.unconfirmed.is_some() {
                let none = s.sessions_under(id).all(|x| !says_yes(s, x, self.row.at));
                assert!(none, "{id} gives something before it is confirmed");
            }
        }
        if matches!(self.command, Command::Restore { .. }) {
            let mut stand = s.grants.iter().filter(|(_, g)| g.stands(self.row.at));
            assert!(stand.all(|(_, g)| g.unconfirmed == Some(self.row.at)));
            assert!(s.sessions.iter().all(|(id, _)| !says_yes(s, id, self.row.at)));
        }
    }

    fn inv33_lock_wins(&self) {
        let s = self.after;
        for (_, lock) in s.locks.iter() {
            for (id, x) in s.sessions.iter() {
                let g = s.grants.get(x.grant).unwrap();
                let hit = match lock.target {
                    LockTarget::Organisation(provider) => g.provider.organisation == provider,
                    LockTarget::Person(person) => x.person == person,
                };
                if hit && g.customer.organisation == lock.customer {
                    assert!(!says_yes(s, id, self.row.at), "{id} goes on under a lock");
                }
            }
        }
    }
}

/// Whether a session is allowed anything anywhere.
pub fn says_yes(state: &State, id: SessionId, now: Instant) -> bool {
    let Some(compiled) = rights::compile(state, id) else {
        return false;
    };
    let account = |id| {
        let a = state.accounts.get(id).unwrap();
        Resource::Account(id, a.organisation, a.unit)
    };
    let mut resources = vec![Resource::Organisation(compiled.customer)];
    resources.extend(state.accounts_of(compiled.customer).map(account));
    ASKED.iter().any(|asked| {
        let asked = Permission::parse(asked).unwrap();
        resources.iter().any(|r| compiled.judge(asked, *r, now) == Reason::Allowed)
    })
}
