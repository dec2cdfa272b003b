//! One row between the state before it and the state after it.

use std::collections::BTreeSet;

use super::Breach;
use super::object::{LONGEST_GRANT, LONGEST_SESSION, gives, runs, stands};
use crate::assignment::{AssignmentEnd, Basis};
use crate::auto::AutoEnd;
use crate::command::Principal;
use crate::event::{Event, Row};
use crate::factor::Proof;
use crate::grant::Grant;
use crate::halt::HaltTarget as On;
use crate::ids::{Digest32, GrantId, OrganisationId, PersonId, RequestId, SessionId};
use crate::invitation::InvitationState;
use crate::organisation::{Accounts, Standing};
use crate::person::PortalRole;
use crate::request::{PENDING_LASTS, RequestState};
use crate::state::State;
use crate::time::{Instant, Window};

pub(super) struct Step<'a> {
    pub(super) before: &'a State,
    pub(super) row: &'a Row,
    pub(super) after: &'a State,
    found: Vec<Breach>,
}

/// Every breach of [`super::OF_STEP`] by one row, sorted. Linear in the row's events; one that takes
/// an Admin away also looks at the members of that organisation.
#[must_use]
pub fn step(before: &State, row: &Row, after: &State) -> Vec<Breach> {
    let mut step = Step { before, row, after, found: Vec::new() };
    step.chain();
    for recorded in &row.events {
        step.finality(&recorded.event);
        step.event(&recorded.event);
    }
    step.found.sort();
    step.found.dedup();
    step.found
}

impl Step<'_> {
    pub(super) fn must(&mut self, holds: bool, invariant: u8, about: On, what: &'static str) {
        if !holds {
            self.found.push(Breach { invariant, about: Some(about), what });
        }
    }

    fn chain(&mut self) {
        let next = self.row.seq == self.before.seq.saturating_add(1);
        let forward = self.row.at >= self.before.at;
        if !next || !forward || self.row.events.is_empty() {
            let what = "a row is not the next one";
            self.found.push(Breach { invariant: 25, about: None, what });
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::RequestApproved { request, grant, by, summary } => {
                self.four_eyes(*request, *grant, *by);
                let made = |e: &Event| matches!(e, Event::GrantMade { grant: g, request: r, summary: s, .. } if (g, r, s) == (grant, request, summary));
                let once = self.row.events.iter().filter(|r| made(&r.event)).count() == 1;
                self.must(once, 3, On::Grant(*grant), "an approval made no grant of its own");
            }
            Event::GrantMade { grant, request, window, summary, .. } => {
                self.made(*grant, *request, *window, *summary);
            }
            Event::OfferMade { customer, provider, by, .. } => {
                self.offered(*customer, *provider, *by);
            }
            Event::OfferAccepted { request, grant, by } => self.accepted(*request, *grant, *by),
            Event::GrantAmended { grant, by, .. } => self.amended(*grant, *by),
            Event::GrantNarrowed { grant, .. } => self.narrowed(*grant, event),
            Event::GrantConfirmed { grant, by } => self.confirmed(*grant, *by),
            Event::Restored { people_kept, .. } => self.restored(*people_kept),
            Event::AssignmentEnded { grant, person, cause: AssignmentEnd::Removed } => {
                self.last_user(*grant, *person);
            }
            Event::UnassignedMany { grant, off, .. } => {
                off.iter().for_each(|person| self.last_user(*grant, *person));
            }
            Event::AutoSet { grant, .. } => self.last_of_rule(*grant),
            Event::AutoCleared { grant, cause: AutoEnd::SwitchedOff } => self.switched_off(*grant),
            Event::MemberChanged { organisation, person, .. }
            | Event::MemberStanding { organisation, person, .. }
            | Event::MembershipSuperseded { organisation, person, .. }
            | Event::MemberLeft { organisation, person }
                if leads(self.before, *organisation, *person) =>
            {
                self.last_admin(*organisation);
            }
            Event::UnitStanding { unit, standing } if *standing != Standing::Active => {
                if let Some(organisation) = self.before.units.get(*unit).map(|u| u.organisation) {
                    self.last_admin(organisation);
                }
            }
            Event::SessionStarted { session, grant, person, deadline, .. } => {
                let by = self.row.caller.principal;
                let own = matches!(by, Principal::Person { person: p, .. } if p == *person);
                self.must(own, 21, On::Session(*session), "it was not entered by its own person");
                let g = self.after.grants.get(*grant);
                let most = g.map_or(LONGEST_SESSION, |g| g.cap.min(LONGEST_SESSION));
                let end = g.map_or(self.row.at, |g| g.window.end);
                let bounded = *deadline <= self.row.at.plus(most.millis()).min(end);
                self.must(bounded, 19, On::Session(*session), "it began longer than allowed");
            }
            Event::InvitationAccepted { invitation, person, .. } => {
                self.came_in(*invitation, *person);
            }
            Event::Assigned { grant, person, basis: Basis::Invited, .. } => {
                self.let_in(*grant, *person);
            }
            Event::SignedIn { person, proof, .. } => self.proven(*person, *proof),
            Event::SessionShortened { session, deadline } => {
                let before = self.before.sessions.get(*session).map(|s| s.deadline);
                let nearer = before.is_none_or(|b| *deadline <= b);
                self.must(nearer, 19, On::Session(*session), "its deadline moved away");
            }
            _ => {}
        }
    }

    /// A sign-in is let in by all that is set up, and by nothing that was used before.
    fn proven(&mut self, person: PersonId, proof: Proof) {
        let has = self.before.factors.get(&person);
        let totp = has.and_then(|f| f.totp);
        let right = match proof {
            Proof::Password => totp.is_none(),
            Proof::Totp { step } => totp.is_some_and(|t| t.step < step),
            Proof::Recovery { code } => has.is_some_and(|f| f.recovery.contains(&code)),
            Proof::Passkey { credential, counter, begun } => has
                .and_then(|f| f.passkeys.iter().find(|p| p.credential == credential))
                .is_some_and(|p| {
                    (p.counter < counter || p.counter == 0) && p.begun.is_none_or(|at| at < begun)
                }),
            Proof::Earlier { .. } => {
                let by = self.row.caller.principal;
                matches!(by, Principal::Person { person: p, .. } if p == person)
            }
        };
        self.must(right, 23, On::Person(person), "a sign-in was let in by what does not count");
    }

    fn four_eyes(&mut self, request: RequestId, grant: GrantId, by: PersonId) {
        let on = On::Grant(grant);
        let Some(asked) = self.before.requests.get(request) else {
            return self.must(false, 3, on, "what was approved had not been asked");
        };
        let provider = asked.provider.organisation;
        let (asker, at) = (asked.by, asked.at);
        let own = self.row.caller.principal;
        let own = matches!(own, Principal::Person { person, .. } if person == by);
        self.must(own, 4, on, "who decided did not call");
        self.must(asker != by, 4, on, "who asked has approved");
        let member = self.before.members.contains_key(&(provider, by));
        let left = self.before.past_members.get(&(provider, by)).is_some_and(|left| *left >= at);
        self.must(!member && !left, 4, on, "who approved belonged to the provider");
    }

    fn made(&mut self, grant: GrantId, request: RequestId, window: Window, summary: Digest32) {
        let on = On::Grant(grant);
        let approved = |e: &Event| match e {
            Event::RequestApproved { grant: g, request: r, summary: s, .. } => {
                (*g, *r, *s) == (grant, request, summary)
            }
            Event::OfferAccepted { grant: g, request: r, .. } => (*g, *r) == (grant, request),
            _ => false,
        };
        let once = self.row.events.iter().filter(|r| approved(&r.event)).count() == 1;
        self.must(once, 3, on, "no approval made it");
        let length = window.end.since(window.start);
        let policy = self.before.policy.longest_grant.min(LONGEST_GRANT);
        let bounded = window.start >= self.row.at && length > 0 && length <= policy.millis();
        self.must(bounded, 7, on, "its window is not one that could be given");
    }

    fn narrowed(&mut self, id: GrantId, event: &Event) {
        let Event::GrantNarrowed { roles, accounts, modes, end, cap, .. } = event else {
            return;
        };
        let Some(g) = self.before.grants.get(id) else {
            return;
        };
        let listed = match (&g.accounts, accounts) {
            (Accounts::All, _) => true,
            (Accounts::List(_), Accounts::All) => false,
            (Accounts::List(most), Accounts::List(list)) => list.iter().all(|a| most.contains(a)),
        };
        let less = roles.iter().all(|r| g.roles.contains(r))
            && listed
            && modes.iter().all(|m| g.modes.contains(m))
            && *end <= g.window.end
            && *cap <= g.cap;
        self.must(less, 5, On::Grant(id), "it gives more than before");
    }

    /// A yes that a restore put in doubt comes back by its customer's word alone, as it was.
    fn confirmed(&mut self, id: GrantId, by: PersonId) {
        let (Some(g), Some(now)) = (self.before.grants.get(id), self.after.grants.get(id)) else {
            return;
        };
        let on = On::Grant(id);
        let own = self.row.caller.principal;
        let own = matches!(own, Principal::Person { person, .. } if person == by);
        let admin = leads(self.before, g.customer.organisation, by);
        self.must(own && admin, 32, on, "somebody else than its customer confirmed it");
        let both = self.before.members.contains_key(&(g.provider.organisation, by));
        self.must(!both, 4, on, "who confirmed belonged to the provider");
        let same = (&g.roles, &g.accounts, g.modes, g.window, g.cap)
            == (&now.roles, &now.accounts, now.modes, now.window, now.cap);
        self.must(same, 5, on, "it was confirmed as something else");
    }

    /// Nothing that the copy held as open gives anything.
    fn restored(&mut self, people_kept: bool) {
        let (after, at) = (self.after, self.row.at);
        for (id, g) in after.grants.iter().filter(|(_, g)| stands(g, at)) {
            self.must(g.unconfirmed == Some(at), 32, On::Grant(id), "a restore left it in force");
        }
        for (_, r) in after.requests.iter().filter(|(_, r)| r.offered.is_some()) {
            let waits = r.state == RequestState::Pending && at < r.at.plus(PENDING_LASTS);
            let on = On::Organisation(r.customer);
            self.must(!waits, 32, on, "an offer outlived a restore");
        }
        for (_, i) in after.invitations.iter() {
            let waits = i.state == InvitationState::Pending && at < i.expires();
            self.must(!waits, 32, On::Grant(i.grant), "an invitation to it outlived a restore");
        }
        for (id, s) in after.sessions.iter() {
            self.must(!runs(s, at), 32, On::Session(id), "it outlived a restore");
        }
        for (id, key) in after.keys.iter() {
            self.must(key.retired, 32, On::Key(id), "it outlived a restore");
        }
        for (_, s) in after.sign_ins.iter() {
            self.must(s.until <= at, 32, On::Person(s.person), "a sign-in outlived a restore");
        }
        if people_kept {
            return;
        }
        for (id, p) in after.people.iter() {
            self.must(!p.has_password, 32, On::Person(id), "a password outlived a restore");
        }
        for ((_, id), m) in &after.members {
            let out = m.standing != Standing::Active;
            self.must(out, 32, On::Person(*id), "a membership outlived a restore");
        }
    }

    /// What is over does not change.
    fn finality(&mut self, event: &Event) {
        let at = self.row.at;
        match event {
            Event::RequestCancelled { request, .. }
            | Event::RequestDenied { request, .. }
            | Event::OfferAccepted { request, .. }
            | Event::RequestApproved { request, .. } => {
                let Some(asked) = self.before.requests.get(*request) else {
                    return;
                };
                let pending =
                    asked.state == RequestState::Pending && at < asked.at.plus(PENDING_LASTS);
                let on = On::Organisation(asked.provider.organisation);
                self.must(pending, 8, on, "a decided request changed");
            }
            Event::GrantNarrowed { grant, .. }
            | Event::GrantAmended { grant, .. }
            | Event::GrantConfirmed { grant, .. }
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
            | Event::SessionStarted { grant, .. } => {
                let stood = self.before.grants.get(*grant).is_none_or(|g| stands(g, at));
                self.must(stood, 8, On::Grant(*grant), "it changed after it was over");
            }
            Event::InvitationResent { invitation, .. }
            | Event::InvitationChanged { invitation, .. }
            | Event::InvitationHeld { invitation }
            | Event::InvitationApproved { invitation, .. }
            | Event::InvitationRegistered { invitation }
            | Event::InvitationAccepted { invitation, .. }
            | Event::InvitationDeclined { invitation }
            | Event::InvitationCancelled { invitation, .. } => self.still_waited(*invitation),
            Event::SessionShortened { session, .. } | Event::SessionEnded { session, .. } => {
                self.still_ran(*session, at);
            }
            _ => {}
        }
    }

    fn still_ran(&mut self, session: SessionId, at: Instant) {
        let ran = self.before.sessions.get(session).is_none_or(|s| runs(s, at));
        self.must(ran, 8, On::Session(session), "it changed after it was over");
    }

    /// Who is taken off by the provider leaves somebody behind, if the grant was live.
    fn last_user(&mut self, id: GrantId, person: PersonId) {
        let at = self.row.at;
        let Some(g) = self.before.grants.get(id).filter(|g| stands(g, at)) else {
            return;
        };
        let counted = self.before.assignment_row(id, person);
        let counted = counted.is_some_and(|a| gives(self.before, g, person, a, at));
        if g.window.start <= at && g.unconfirmed.is_none() && counted {
            let left = self.attended(id, g, at);
            self.must(left, 16, On::Grant(id), "its last person was taken off");
        }
    }

    /// A rule that is set leaves somebody on a live grant, if there was anybody.
    fn last_of_rule(&mut self, id: GrantId) {
        let at = self.row.at;
        let Some(g) = self.before.grants.get(id).filter(|g| stands(g, at)) else {
            return;
        };
        let live = g.window.start <= at && g.unconfirmed.is_none();
        let mut were = self.before.assigned_to(id);
        if live && were.any(|(person, a)| gives(self.before, g, person, a, at)) {
            let left = self.attended(id, g, at);
            self.must(left, 16, On::Grant(id), "a rule took its last person off");
        }
    }

    /// Nobody gains and nobody loses by turning a rule off.
    fn switched_off(&mut self, id: GrantId) {
        let at = self.row.at;
        let Some(g) = self.before.grants.get(id).filter(|g| stands(g, at)) else {
            return;
        };
        let people = |state: &State| -> BTreeSet<PersonId> {
            let on = state.assigned_to(id).filter(|(p, a)| gives(state, g, *p, a, at));
            on.map(|(person, _)| person).collect()
        };
        let same = people(self.before) == people(self.after);
        self.must(same, 15, On::Grant(id), "its rule ended, and other people are on it");
    }

    fn attended(&self, id: GrantId, g: &Grant, at: Instant) -> bool {
        self.after.assigned_to(id).any(|(person, a)| gives(self.after, g, person, a, at))
    }

    fn last_admin(&mut self, organisation: OrganisationId) {
        let admin = |state: &State| {
            state.members_of(organisation).any(|(p, _)| leads(state, organisation, p))
        };
        let kept = !admin(self.before) || admin(self.after);
        self.must(kept, 17, On::Organisation(organisation), "its last Admin is gone");
    }
}

/// Whether a person is an Admin who can act, apart from the organisation's own standing: that is the
/// operator's to set.
pub(super) fn leads(state: &State, organisation: OrganisationId, person: PersonId) -> bool {
    let Some(member) = state.members.get(&(organisation, person)) else {
        return false;
    };
    let unit = state.units.get(member.unit).is_some_and(|u| u.standing == Standing::Active);
    let works = member.standing == Standing::Active && member.superseded.is_none();
    member.portal == Some(PortalRole::Admin) && works && unit
}
