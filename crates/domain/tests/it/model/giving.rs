//! What a customer gives by itself: offers, answers to them, amendments.

use std::collections::{BTreeMap, BTreeSet};

use comity_domain::command::{Caller, Command, Offer, Partner};
use comity_domain::consent::{self, Terms};
use comity_domain::event::{Event, Row};
use comity_domain::grant::Amending;
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{Digest32, GrantId, OrganisationId, PersonId, RequestId, RoleId};
use comity_domain::lock::LockTarget;
use comity_domain::organisation::{Accounts, Party};
use comity_domain::role::Modes;
use comity_domain::time::{DAY, Days, HOUR, Instant, MINUTE, Minutes};

use super::change::made;
use super::generate::{Moves, Step, step};
use super::judge::{Side, Verdict, listed, unless};
use super::plain::{Fate, Grant, Offered, Plain, Request, level};

/// The hash of nothing that anybody was shown.
const UNSEEN: Digest32 = Digest32([1; 32]);

impl Moves<'_> {
    pub fn offer(&mut self) -> Option<Step> {
        let (customer, provider) = (self.org(), self.org());
        if customer == provider && self.rng.percent(90) {
            return None;
        }
        let known: Vec<Party> =
            comity_domain::offer::known_partners(&self.w.state, customer).into_iter().collect();
        let partner = if self.rng.percent(45) {
            Partner::Known(self.rng.pick(&known)?)
        } else if self.rng.percent(4) {
            Partner::Known(Party { organisation: provider, unit: None })
        } else if self.rng.percent(3) {
            Partner::Code(Digest32([8; 32]))
        } else {
            Partner::Code(self.w.state.partner_id(Party { organisation: provider, unit: None })?)
        };
        let code = if self.rng.percent(75) { "partner" } else { "referral" };
        let terms = self.given(customer, code);
        let named = self.m.partner(customer, &partner).ok();
        let shown = named.and_then(|party| {
            consent::offered(&self.w.state, customer, party, code, &terms, self.m.now).ok()
        });
        let summary = match shown {
            Some(shown) if !self.rng.percent(6) => shown.hash(),
            _ => UNSEEN,
        };
        let (level, reason) = (code.into(), "Boats".into());
        let offer = Offer { customer, partner, level, terms, reason, ticket: None, summary };
        step(self.fresh_admin(customer)?, Command::MakeOffer(Box::new(offer)))
    }

    fn given(&mut self, customer: OrganisationId, code: &str) -> Terms {
        let wild = self.rng.percent(8);
        let own = |org: OrganisationId| wild || org == customer;
        let roles: Vec<RoleId> =
            self.m.roles.iter().filter(|(_, r)| own(r.org)).map(|(id, _)| *id).collect();
        let accounts: Vec<_> =
            self.m.accounts.iter().filter(|(_, a)| own(a.org)).map(|(id, _)| *id).collect();
        let (_, modes, most, _) = level(code);
        let longest = self.m.orgs[&customer].settings.longest_grant.0.min(most);
        let days = self.rng.pick(&[1, 3, 30, longest, longest]).unwrap().min(longest);
        let later = self.rng.pick(&[20 * MINUTE, 3 * HOUR, 2 * DAY]).unwrap();
        let cap = self.rng.pick(&[5, 15, 60]).unwrap();
        Terms {
            roles: self.rng.some(&roles).into_iter().collect(),
            accounts: if self.rng.percent(50) {
                Accounts::All
            } else {
                Accounts::List(self.rng.some(&accounts).into_iter().collect())
            },
            unit: None,
            modes: if wild { Modes::all() } else { self.modes_of(modes) },
            starts_at: self.rng.percent(15).then(|| self.m.now.plus(later)),
            days: Days(if wild { days + 1 } else { days }),
            cap: self.rng.percent(30).then_some(Minutes(cap)),
            allow_external: self.rng.percent(2),
            jwt: self.rng.percent(30),
        }
    }

    fn waiting(&mut self) -> Option<(RequestId, Request)> {
        let all = self.rng.percent(8);
        let some = self.m.requests.iter().filter(|(_, r)| {
            (r.offered.is_some() && self.m.pending(r)) || (all && self.m.pending(r))
        });
        let some: Vec<_> = some.map(|(id, r)| (*id, r.clone())).collect();
        self.rng.pick(&some)
    }

    pub fn accept(&mut self) -> Option<Step> {
        let (request, r) = self.waiting()?;
        step(self.admin(r.provider)?, Command::Accept { request })
    }

    pub fn decline(&mut self) -> Option<Step> {
        let (request, r) = self.waiting()?;
        let command = Command::Decline { request, reason: None, message: Some("Not now".into()) };
        step(self.admin(r.provider)?, command)
    }

    pub fn amend(&mut self) -> Option<Step> {
        let (grant, g) = self.standing()?;
        let terms = self.given(g.customer, &g.level);
        let chosen = self.rng.below(5);
        let or = |at: usize, percent: bool| chosen == at || percent;
        let (p, q, r, s) = (
            self.rng.percent(20),
            self.rng.percent(20),
            self.rng.percent(20),
            self.rng.percent(20),
        );
        let amending = Amending {
            roles: or(0, p).then(|| terms.roles.clone()),
            accounts: or(1, q).then(|| terms.accounts.clone()),
            modes: or(2, r).then_some(terms.modes),
            days: or(3, s).then_some(terms.days),
            cap: terms.cap.filter(|_| chosen == 4),
            allow_external: None,
            jwt: None,
        };
        let known = self.w.state.grants.get(grant)?;
        let shown = consent::amended(&self.w.state, grant, known, &amending, self.m.now).ok();
        let summary = match shown {
            Some(shown) if !self.rng.percent(6) => shown.hash(),
            _ => UNSEEN,
        };
        step(self.fresh_admin(g.customer)?, Command::Amend { grant, amending, summary })
    }
}

impl Plain {
    /// Whom a customer names.
    pub fn partner(
        &self,
        customer: OrganisationId,
        named: &Partner,
    ) -> Result<Party, &'static str> {
        let known = |party: &Party| {
            let of = (customer, party.organisation, party.unit);
            let asked = self.requests.iter().any(|(id, r)| {
                (r.customer, r.provider, r.unit) == of
                    && self.known_request(*id, self.now).is_some()
            });
            asked
                || self.grants.iter().any(|(id, g)| {
                    (g.customer, g.provider, g.provider_unit) == of
                        && self.known_grant(*id, self.now).is_some()
                })
        };
        let party = match named {
            Partner::Code(digest) => {
                let whose = self.partner_ids.get(digest).ok_or("not_found")?;
                Party { organisation: *whose, unit: None }
            }
            Partner::Known(party) if known(party) => *party,
            Partner::Known(_) => return Err("not_found"),
        };
        unless(!self.side_active(party.organisation, party.unit), "not_found")?;
        unless(party.organisation == customer, "same_organisation")?;
        unless(self.barred(customer, party.organisation), "locked")?;
        let blocked = self.orgs[&customer].settings.blocked.contains(&party.organisation);
        unless(blocked, "invalid")?;
        Ok(party)
    }

    fn barred(&self, customer: OrganisationId, provider: OrganisationId) -> bool {
        let locked = (customer, LockTarget::Organisation(provider));
        let halts = [customer, provider].map(HaltTarget::Organisation);
        self.locks.values().any(|l| *l == locked)
            || self.halts.values().any(|halt| halts.contains(halt))
    }

    fn both_sides(&self, provider: OrganisationId, by: PersonId, since: Instant) -> Verdict {
        let was = self.left.get(&(provider, by)).is_some_and(|left| *left >= since);
        unless(self.members.contains_key(&(provider, by)) || was, "four_eyes")
    }

    /// A customer's terms under a level, as if everything had been asked for.
    fn would_ask(&self, customer: OrganisationId, party: Party, code: &str) -> Request {
        Request {
            customer,
            provider: party.organisation,
            unit: party.unit,
            by: PersonId(0),
            at: self.now,
            level: code.into(),
            modes: Modes::all(),
            days: u32::MAX,
            roles: Vec::new(),
            accounts: Vec::new(),
            offered: None,
            fate: Fate::Pending,
        }
    }

    pub(super) fn judge_giving(&self, caller: &Caller, command: &Command) -> Verdict {
        match command {
            Command::MakeOffer(offer) => self.judge_offer(caller, offer),
            Command::Accept { request } => self.judge_accept(caller, *request),
            Command::Decline { request, .. } => {
                let r = self.known_request(*request, self.now).ok_or("not_found")?;
                self.admin(caller, Side::Provider, r.customer, r.provider)?;
                unless(r.offered.is_none() || !self.pending(r), "wrong_state")
            }
            Command::Amend { grant, amending, summary } => {
                self.judge_amend(caller, *grant, amending)?;
                unless(*summary == UNSEEN, "stale_summary")
            }
            other => panic!("the model has no {other:?}"),
        }
    }

    fn judge_offer(&self, caller: &Caller, offer: &Offer) -> Verdict {
        let customer = offer.customer;
        self.admin(caller, Side::Customer, customer, customer)?;
        self.fresh(caller)?;
        let by = caller.person().unwrap();
        let party = self.partner(customer, &offer.partner)?;
        self.both_sides(party.organisation, by, self.now)?;
        unless(!level(&offer.level).1.covers(offer.terms.modes), "invalid")?;
        let asked = self.would_ask(customer, party, &offer.level);
        self.look_at(RequestId(0), &asked, &offer.terms)?;
        unless(offer.summary == UNSEEN, "stale_summary")
    }

    fn judge_accept(&self, caller: &Caller, id: RequestId) -> Verdict {
        let r = self.known_request(id, self.now).ok_or("not_found")?;
        self.admin(caller, Side::Provider, r.customer, r.provider)?;
        unless(!self.pending(r), "wrong_state")?;
        let offered = r.offered.as_ref().ok_or("wrong_state")?;
        unless(!self.side_active(r.customer, None), "not_active")?;
        unless(!self.side_active(r.provider, r.unit), "not_active")?;
        unless(self.barred(r.customer, r.provider), "locked")?;
        unless(self.orgs[&r.customer].settings.blocked.contains(&r.provider), "locked")?;
        self.both_sides(r.provider, r.by, r.at)?;
        let (roles, accounts) = self.left_of(offered);
        unless(roles.is_empty() || accounts.is_some_and(|a| a.is_empty()), "wrong_state")?;
        let over = |s: Instant| s.plus(Days(r.days).millis()) <= self.now;
        unless(offered.starts_at.is_some_and(over), "wrong_state")?;
        unless(caller.person() == Some(r.by), "four_eyes")
    }

    /// What is still there of an offer.
    fn left_of(
        &self,
        offered: &Offered,
    ) -> (BTreeMap<RoleId, u32>, Option<BTreeSet<comity_domain::ids::AccountId>>) {
        let mut left = offered.clone();
        left.roles.retain(|id, _| !self.roles[id].deleted);
        if let Some(list) = &mut left.accounts {
            list.retain(|id| self.accounts.contains_key(id));
        }
        (left.roles, left.accounts)
    }

    fn judge_amend(&self, caller: &Caller, id: GrantId, a: &Amending) -> Verdict {
        let g = self.known_grant(id, self.now).ok_or("not_found")?;
        self.admin(caller, Side::Customer, g.customer, g.provider)?;
        self.fresh(caller)?;
        unless(!self.stands(g) || g.unconfirmed.is_some(), "wrong_state")?;
        self.both_sides(g.provider, caller.person().unwrap(), self.now)?;
        unless(!self.side_active(g.customer, g.customer_unit), "not_active")?;
        unless(!self.side_active(g.provider, g.provider_unit), "not_active")?;
        let halted = self.halts.values().any(|halt| *halt == HaltTarget::Grant(id));
        unless(halted || self.barred(g.customer, g.provider), "locked")?;
        let party = Party { organisation: g.provider, unit: g.provider_unit };
        let asked = self.would_ask(g.customer, party, &g.level);
        let modes = a.modes.unwrap_or(g.modes);
        unless(!level(&g.level).1.covers(modes), "invalid")?;
        let kept = g.roles.keys().filter(|r| !self.roles[r].deleted).copied().collect();
        // What stays is not judged again; what is named is judged as in an offer.
        let named = Terms {
            roles: a.roles.clone().unwrap_or(kept),
            accounts: a.accounts.clone().unwrap_or(Accounts::All),
            unit: g.customer_unit,
            modes,
            starts_at: None,
            days: a.days.unwrap_or(Days(1)),
            cap: a.cap,
            allow_external: false,
            jwt: false,
        };
        self.look_at(RequestId(0), &asked, &named)?;
        let nothing = a.accounts.is_none() && g.accounts.as_ref().is_some_and(BTreeSet::is_empty);
        unless(nothing, "invalid")
    }

    pub(super) fn change_giving(&mut self, caller: &Caller, command: &Command, row: Option<&Row>) {
        let grant = |e: &Event| match e {
            Event::GrantMade { grant, .. } => Some(*grant),
            _ => None,
        };
        match command {
            Command::MakeOffer(offer) => {
                let new = |e: &Event| match e {
                    Event::OfferMade { request, .. } => Some(*request),
                    _ => None,
                };
                let id = made(row, new).unwrap();
                self.offer(id, caller.person().unwrap(), offer);
                if self.at_once {
                    self.accept(id, made(row, grant).unwrap());
                }
            }
            Command::Accept { request } => self.accept(*request, made(row, grant).unwrap()),
            Command::Decline { request, .. } => {
                self.requests.get_mut(request).unwrap().fate = Fate::Denied(self.now);
            }
            Command::Amend { grant, amending, .. } => self.amend(*grant, amending),
            other => panic!("the model has no {other:?}"),
        }
    }

    fn offer(&mut self, id: RequestId, by: PersonId, offer: &Offer) {
        let party = self.partner(offer.customer, &offer.partner).unwrap();
        let asked = self.would_ask(offer.customer, party, &offer.level);
        let seen = self.look_at(id, &asked, &offer.terms).unwrap();
        let terms = &offer.terms;
        let offered = Offered {
            roles: seen.roles.into_iter().collect(),
            accounts: listed(&terms.accounts),
            starts_at: terms.starts_at,
            cap: seen.cap,
        };
        let request =
            Request { by, modes: terms.modes, days: terms.days.0, offered: Some(offered), ..asked };
        self.requests.insert(id, request);
    }

    fn accept(&mut self, id: RequestId, grant: GrantId) {
        let r = self.requests[&id].clone();
        let offered = r.offered.clone().unwrap();
        let (roles, accounts) = self.left_of(&offered);
        let settings = &self.orgs[&r.customer].settings;
        let (_, _, most, longest) = level(&r.level);
        let start = offered.starts_at.filter(|s| *s > self.now).unwrap_or(self.now);
        let days = r.days.min(most).min(settings.longest_grant.0);
        let end = start.plus(Days(days).millis());
        let shown = offered.starts_at.map_or(end, |s| s.plus(Days(r.days).millis()));
        let cap = offered.cap.min(longest).min(self.policy_cap).min(settings.session_cap.0);
        let made = Grant {
            request: id,
            customer: r.customer,
            customer_unit: None,
            provider: r.provider,
            provider_unit: r.unit,
            level: r.level,
            roles,
            accounts,
            modes: r.modes,
            start,
            end: end.min(shown),
            cap,
            version: 1,
            unattended: false,
            auto: None,
            unconfirmed: None,
            ended: None,
        };
        self.grants.insert(grant, made);
        self.requests.get_mut(&id).unwrap().fate = Fate::Approved(grant);
    }

    fn amend(&mut self, id: GrantId, a: &Amending) {
        let newest = |r: &RoleId| (*r, self.roles[r].versions.len() as u32);
        let mut g = self.grants[&id].clone();
        match &a.roles {
            Some(roles) => g.roles = roles.iter().map(newest).collect(),
            None => g.roles.retain(|r, _| !self.roles[r].deleted),
        }
        g.accounts = a.accounts.as_ref().map_or(g.accounts, listed);
        g.modes = a.modes.unwrap_or(g.modes);
        g.cap = a.cap.map_or(g.cap, |c| c.0);
        if let Some(days) = a.days {
            g.end = self.now.max(g.start).plus(days.millis());
        }
        g.version += 1;
        self.grants.insert(id, g);
    }
}
