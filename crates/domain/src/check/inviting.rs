//! Who comes in from outside (inv18).

use super::rows::Step;
use crate::assignment::Basis;
use crate::command::Principal;
use crate::event::Event;
use crate::halt::HaltTarget as On;
use crate::ids::{GrantId, InvitationId, PersonId};
use crate::invitation::InvitationState;

impl Step<'_> {
    /// Who accepts is signed in, in time, and has the address that was invited (inv18).
    pub(super) fn came_in(&mut self, id: InvitationId, person: PersonId) {
        let on = On::Person(person);
        let by = self.row.caller.principal;
        let own = matches!(by, Principal::Person { person: p, .. } if p == person);
        self.must(own, 18, on, "came in by an invitation without asking");
        let (invited, words) = (self.before.invitations.get(id), &self.before.words);
        let waited = invited.is_some_and(|i| {
            i.state == InvitationState::Pending && !i.held && self.row.at < i.expires()
        });
        self.must(waited, 18, on, "came in by an invitation that did not wait");
        let known = self.before.people.get(person).filter(|p| p.email_verified);
        let address = match (invited, known) {
            // An erased word proves nothing, for or against.
            (Some(i), Some(p)) => match (words.get(i.email), words.get(p.email)) {
                (Some(invited), Some(own)) => invited == own,
                _ => true,
            },
            _ => false,
        };
        self.must(address, 18, on, "came in by an invitation to somebody else");
    }

    /// Whoever is on a grant from outside has accepted in this row, or was there before.
    pub(super) fn let_in(&mut self, grant: GrantId, person: PersonId) {
        let accepted = |e: &Event| {
            matches!(e, Event::InvitationAccepted { invitation, person: p, .. }
                if *p == person && self.after.invitations.get(*invitation).is_some_and(|i| i.grant == grant))
        };
        let now = self.row.events.iter().any(|r| accepted(&r.event));
        let there = self.before.assignment_row(grant, person);
        let there = there.is_some_and(|a| a.basis == Basis::Invited);
        self.must(now || there, 18, On::Person(person), "is on a grant from outside, uninvited");
    }

    /// Nobody answers or changes what is over.
    pub(super) fn still_waited(&mut self, id: InvitationId) {
        let waited = self
            .before
            .invitations
            .get(id)
            .is_none_or(|i| i.state == InvitationState::Pending && self.row.at < i.expires());
        let on = self.after.invitations.get(id).map(|i| On::Grant(i.grant));
        if let Some(on) = on {
            self.must(waited, 8, on, "an invitation to it changed after it was over");
        }
    }
}
