//! People, memberships and their own sign-ins.

use crate::event::Event;
use crate::factor::Proof;
use crate::ids::PersonId;
use crate::organisation::Standing;
use crate::person::{Member, PAST_MEMBERSHIP_KEPT, Person, SignIn};
use crate::state::{Retire, State};
use crate::text::Lookup;

use super::{Context, Touched};

pub(super) fn people(state: &mut State, c: &Context<'_>, event: &Event, touched: &mut Touched) {
    match event {
        Event::PersonMade { person, name, email, email_verified } => {
            let name = c.word(state, *name);
            let email = if *email_verified {
                c.indexed(state, *email, Lookup::Email, person.0)
            } else {
                c.word(state, *email)
            };
            let made = Person {
                name,
                email,
                email_verified: *email_verified,
                auth_epoch: 1,
                has_password: false,
                enrolment: None,
            };
            state.people.insert(*person, made);
        }
        Event::PersonRenamed { person, name } => {
            let name = c.word(state, *name);
            state.named_anew(*person, |state| {
                let old = state.people.get(*person).map(|p| p.name);
                state.people.change(*person, |p| p.name = name);
                old.into_iter().for_each(|w| state.words.drop(w));
            });
        }
        Event::EmailVerified { person } => {
            if let Some(email) = state.people.get(*person).map(|p| p.email) {
                state.words.index(email, Lookup::Email, person.0);
            }
            state.people.change(*person, |p| p.email_verified = true);
        }
        Event::MemberJoined { organisation, person, unit, portal, external } => {
            let lookup = Lookup::Member(*organisation);
            let external = c.indexed(state, *external, lookup, person.0);
            let member = Member {
                unit: *unit,
                portal: *portal,
                external,
                standing: Standing::Active,
                roles: Vec::new(), // whoever comes back holds none of those from before
                superseded: None,
            };
            state.members.insert((*organisation, *person), member);
            state.memberships.insert((*person, *organisation));
            state.name(*organisation, *person);
            touched.people.insert(*person); // who came from outside, or works there for a partner
            super::auto::attended_again(state, *organisation, *person, c.at);
        }
        Event::MemberChanged { organisation, person, unit, portal } => {
            if let Some(member) = state.members.get_mut(&(*organisation, *person)) {
                (member.unit, member.portal) = (*unit, *portal);
            }
            touched.people.insert(*person);
            super::auto::attended_again(state, *organisation, *person, c.at);
        }
        Event::MemberStanding { organisation, person, standing } => {
            if let Some(member) = state.members.get_mut(&(*organisation, *person)) {
                member.standing = *standing;
            }
            touched.people.insert(*person);
            super::auto::attended_again(state, *organisation, *person, c.at);
        }
        // No session hangs on what a member may do at home, so nothing is touched.
        Event::MemberRolesSet { organisation, person, roles } => {
            if let Some(member) = state.members.get_mut(&(*organisation, *person)) {
                member.roles.clone_from(roles);
            }
        }
        Event::MembershipSuperseded { organisation, person, grant } => {
            if let Some(member) = state.members.get_mut(&(*organisation, *person)) {
                member.superseded = Some(*grant);
            }
            touched.people.insert(*person);
        }
        Event::MembershipRestored { organisation, person, .. } => {
            if let Some(member) = state.members.get_mut(&(*organisation, *person)) {
                member.superseded = None;
            }
            touched.people.insert(*person);
            super::auto::attended_again(state, *organisation, *person, c.at);
        }
        Event::MemberLeft { organisation, person } => {
            state.unname(*organisation, *person);
            if let Some(gone) = state.members.remove(&(*organisation, *person)) {
                state.words.drop(gone.external);
            }
            state.memberships.remove(&(*person, *organisation));
            state.past_members.insert((*organisation, *person), c.at);
            let until = c.at.plus(PAST_MEMBERSHIP_KEPT);
            state.retire.insert((until, Retire::PastMember(*organisation, *person)));
            super::auto::left(state, *organisation, *person);
            end_enrolment(state, *person);
            raise_epoch(state, *person);
            touched.people.insert(*person);
        }
        Event::EnrolmentMade { person, digest, until } => {
            if let Some((old, _)) = state.people.get(*person).and_then(|p| p.enrolment) {
                state.enrolments.remove(&old);
            }
            state.enrolments.insert(*digest, *person);
            state.people.change(*person, |p| p.enrolment = Some((*digest, *until)));
        }
        Event::PasswordSet { person } => {
            if let Some((old, _)) = state.people.get(*person).and_then(|p| p.enrolment) {
                state.enrolments.remove(&old);
            }
            state.people.change(*person, |p| (p.has_password, p.enrolment) = (true, None));
            raise_epoch(state, *person);
        }
        Event::SignedIn { person, sign_in, digest, until, proof, door } => {
            let auth_epoch = state.people.get(*person).map_or(0, |p| p.auth_epoch);
            let at = match proof {
                Proof::Earlier { at, .. } => *at,
                _ => c.at,
            };
            let made = SignIn {
                person: *person,
                token: *digest,
                at,
                until: *until,
                auth_epoch,
                acr: proof.acr(),
                door: *door,
            };
            super::factors::used(state, *person, *proof, c.at);
            state.sign_ins.insert(*sign_in, made);
            state.sign_ins_of.insert((*person, *sign_in));
            state.sign_in_digests.insert(*digest, *sign_in);
            state.retire.insert((*until, Retire::SignIn(*sign_in)));
        }
        Event::SignedOut { sign_in } => {
            state.sign_ins.change(*sign_in, |s| s.until = s.until.min(c.at));
        }
        Event::SignedOutEverywhere { person } => raise_epoch(state, *person),
        _ => {}
    }
}

/// Whoever leaves takes no token along by which a password could still be set.
pub(super) fn end_enrolment(state: &mut State, person: PersonId) {
    if let Some((digest, _)) = state.people.get(person).and_then(|p| p.enrolment) {
        state.enrolments.remove(&digest);
        state.people.change(person, |p| p.enrolment = None);
    }
}

pub(super) fn raise_epoch(state: &mut State, person: PersonId) {
    state.people.change(person, |p| p.auth_epoch = p.auth_epoch.saturating_add(1));
}
