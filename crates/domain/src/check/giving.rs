//! A second look at what a customer gives by itself: offers, what comes of them, amendments.

use super::object::LONGEST_GRANT;
use super::rows::{Step, leads};
use crate::command::Principal;
use crate::event::Event;
use crate::halt::HaltTarget as On;
use crate::ids::{GrantId, OrganisationId, PersonId, RequestId};
use crate::organisation::{Accounts, Party};
use crate::request::{Offered, Request};

impl Step<'_> {
    /// Who gives for the customer calls by themselves, leads it, and stands on one side only.
    fn gives(&mut self, customer: OrganisationId, provider: OrganisationId, by: PersonId, on: On) {
        let own = self.row.caller.principal;
        let own = matches!(own, Principal::Person { person, .. } if person == by);
        self.must(own, 4, on, "who gave did not call");
        let admin = leads(self.before, customer, by);
        self.must(admin, 4, on, "who gave does not decide for the customer");
        let member = self.before.members.contains_key(&(provider, by));
        self.must(!member, 4, on, "who gave belonged to the provider");
    }

    pub(super) fn offered(&mut self, customer: Party, provider: Party, by: PersonId) {
        let on = On::Organisation(customer.organisation);
        self.gives(customer.organisation, provider.organisation, by, on);
        let two = customer.organisation != provider.organisation;
        self.must(two, 2, on, "it offered something to itself");
    }

    /// What an offer led to is no more than what was offered, between the same two, and by somebody
    /// of the other side; or by the policy, in the row of the offer.
    pub(super) fn accepted(&mut self, id: RequestId, grant: GrantId, by: Option<PersonId>) {
        let on = On::Grant(grant);
        let Some((request, offered)) = self
            .after
            .requests
            .get(id)
            .and_then(|r| Some((r.clone(), r.offered.as_deref()?.clone())))
        else {
            return self.must(false, 3, on, "what was accepted had not been offered");
        };
        let here = self
            .row
            .events
            .iter()
            .any(|r| matches!(r.event, Event::OfferMade { request, .. } if request == id));
        match by {
            None => {
                let at_once = here && !self.before.policy.offers_need_acceptance;
                self.must(at_once, 3, on, "nobody accepted it");
            }
            Some(by) => self.takes(&request, by, on),
        }
        let made =
            self.row.events.iter().filter(|r| gives_that(&r.event, id, grant, &request, &offered));
        self.must(made.count() == 1, 3, on, "it gives something else than was offered");
    }

    fn takes(&mut self, request: &Request, by: PersonId, on: On) {
        let provider = request.provider.organisation;
        let own = self.row.caller.principal;
        let own = matches!(own, Principal::Person { person, .. } if person == by);
        let admin = leads(self.before, provider, by);
        self.must(own && admin, 4, on, "somebody else than its partner accepted it");
        self.must(by != request.by, 4, on, "who offered has accepted");
        let member = self.before.members.contains_key(&(provider, request.by));
        let left = self.before.past_members.get(&(provider, request.by));
        let left = left.is_some_and(|left| *left >= request.at);
        self.must(!member && !left, 4, on, "who offered belonged to the provider");
    }

    /// Only its customer makes something else of a grant, and its start, sides and level stay.
    pub(super) fn amended(&mut self, id: GrantId, by: PersonId) {
        let (Some(g), Some(now)) = (self.before.grants.get(id), self.after.grants.get(id)) else {
            return;
        };
        let (on, at) = (On::Grant(id), self.row.at);
        self.gives(g.customer.organisation, g.provider.organisation, by, on);
        let same = (g.customer, g.provider, &g.level, g.window.start, g.request)
            == (now.customer, now.provider, &now.level, now.window.start, now.request);
        self.must(same, 5, on, "an amendment changed what nobody amends");
        self.must(g.unconfirmed.is_none(), 32, on, "it was amended before it was confirmed");
        let most = self.before.policy.longest_grant.min(LONGEST_GRANT).millis();
        let from = at.max(g.window.start);
        let bounded = now.window.end > from
            && (now.window.end == g.window.end || now.window.end <= from.plus(most));
        self.must(bounded, 7, on, "its window is not one that could be given");
    }
}

fn gives_that(
    event: &Event,
    id: RequestId,
    of: GrantId,
    request: &Request,
    offered: &Offered,
) -> bool {
    let Event::GrantMade {
        grant,
        request: from,
        customer,
        provider,
        level,
        roles,
        accounts,
        modes,
        window,
        cap,
        allow_external,
        jwt,
        summary,
    } = event
    else {
        return false;
    };
    let whose = Party { organisation: request.customer, unit: offered.unit };
    let sides = (*grant, *from, *customer, *provider) == (of, id, whose, request.provider);
    let fewer = match (&offered.accounts, accounts) {
        (Accounts::All, Accounts::All) => true,
        (Accounts::List(most), Accounts::List(list)) => list.is_subset(most),
        _ => false,
    };
    sides
        && *level == request.level
        && roles.iter().all(|r| offered.roles.contains(r))
        && fewer
        && *modes == request.modes
        && window.end.since(window.start) <= request.days.millis()
        && offered.starts_at.is_none_or(|start| window.start >= start)
        && *cap <= offered.cap
        && (!*allow_external || offered.allow_external)
        && *jwt == offered.jwt
        && *summary == offered.summary
}
