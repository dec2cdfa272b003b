//! Offering, accepting and amending, as a story tells it.

use comity_domain::code::CustomerCode;
use comity_domain::command::{Caller, Command, Offer, Partner};
use comity_domain::consent::{self, Terms};
use comity_domain::event::Event;
use comity_domain::grant::{Amending, may_amend};
use comity_domain::ids::{Digest32, OrganisationId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::offer;
use comity_domain::organisation::Party;
use comity_domain::refusal::Refusal;
use comity_domain::time::{Days, Minutes};

use super::asking::made;
use super::stage::{Played, Saved, Stage, modes, wrong};
use super::story::{Act, Amended, Offered};

/// The hash of nothing that anybody was shown.
const UNSEEN: Digest32 = Digest32([0; 32]);

impl Stage {
    /// Does what a step says, if it is one about offering and amending.
    pub fn giving_deed(
        &mut self,
        who: &str,
        caller: &Caller,
        act: &Act,
    ) -> Option<Played<Option<Saved>>> {
        Some(match act {
            Act::RotatePartnerId { organisation, unit } => {
                self.rotate_partner_id(caller, organisation, unit)
            }
            Act::Offer(offered) => self.offer(who, caller, offered),
            Act::Accept { request } => self.accept(caller, request),
            Act::Decline { request, reason, message } => {
                let declined = self.request(request).and_then(|request| {
                    let (reason, message) = (reason.clone(), message.clone());
                    Ok(self.w.run(caller, Command::Decline { request, reason, message })?)
                });
                declined.map(|_| None)
            }
            Act::Amend(amended) => self.amend(caller, amended).map(|()| None),
            _ => return None,
        })
    }

    fn rotate_partner_id(
        &mut self,
        caller: &Caller,
        organisation: &str,
        unit: &Option<String>,
    ) -> Played<Option<Saved>> {
        let (clear, code) = self.fresh_code();
        let organisation = self.organisation(organisation);
        let command = Command::RotatePartnerId { organisation, unit: unit.clone(), code };
        self.w.run(caller, command)?;
        Ok(Some(Saved::Code(clear.to_string())))
    }

    fn offer(&mut self, who: &str, caller: &Caller, offered: &Offered) -> Played<Option<Saved>> {
        let customer = self.home(who)?;
        may::authentic(&self.w.state, caller, self.w.now)?;
        self.may(caller, Action::MakeOffer, Thing::organisation(customer))?;
        let partner = match (&offered.partner_id, &offered.partner) {
            (Some(code), None) => {
                let code = CustomerCode::parse(&self.code_text(code)?)
                    .map_err(|_| Refusal::invalid("partner_id", "is misspelt; check it"))?;
                Partner::Code(code.digest())
            }
            (None, Some(partner)) => {
                let organisation = self.organisation(partner);
                let unit = offered.partner_unit.as_ref().map(|u| self.unit(organisation, u));
                Partner::Known(Party { organisation, unit })
            }
            _ => return wrong("an offer names a partner ID or a partner"),
        };
        let direct = ["direct".to_owned()].to_vec();
        let terms = Terms {
            roles: offered.roles.iter().map(|r| self.role(customer, r)).collect(),
            accounts: self.accounts(customer, &offered.accounts),
            unit: offered.unit.as_ref().map(|u| self.unit(customer, u)),
            modes: modes(offered.modes.as_ref().unwrap_or(&direct))?,
            starts_at: offered.starts_in.map(|s| self.w.now.plus(s.0)),
            days: Days(offered.days.unwrap_or(30)),
            cap: offered.session_minutes.map(Minutes),
            allow_external: false,
            jwt: false,
        };
        let level = offered.level.clone().unwrap_or_else(|| "partner".into());
        let state = &self.w.state;
        let provider = offer::partner(state, customer, &partner)?;
        let shown = consent::offered(state, customer, provider, &level, &terms, self.w.now)?;
        let summary = if offered.unseen { UNSEEN } else { shown.hash() };
        let reason = offered.reason.clone().unwrap_or_else(|| "You look after our boats".into());
        let offer = Offer { customer, partner, level, terms, reason, ticket: None, summary };
        let row = self.w.run(caller, Command::MakeOffer(Box::new(offer)))?;
        Ok(made(row, |e| match e {
            Event::OfferMade { request, .. } => Some(Saved::Request(*request)),
            _ => None,
        }))
    }

    fn accept(&mut self, caller: &Caller, request: &str) -> Played<Option<Saved>> {
        let request = self.request(request)?;
        let row = self.w.run(caller, Command::Accept { request })?;
        Ok(made(row, |e| match e {
            Event::GrantMade { grant, .. } => Some(Saved::Grant(*grant)),
            _ => None,
        }))
    }

    fn amend(&mut self, caller: &Caller, amended: &Amended) -> Played {
        let (id, known) = self.known_grant(&amended.grant)?;
        let customer = known.map_or(OrganisationId::MAX, |g| g.customer.organisation);
        let amending = Amending {
            roles: amended
                .roles
                .as_ref()
                .map(|r| r.iter().map(|r| self.role(customer, r)).collect()),
            accounts: amended.accounts.as_ref().map(|a| self.accounts(customer, a)),
            modes: amended.modes.as_ref().map(|m| modes(m)).transpose()?,
            days: amended.days.map(Days),
            cap: amended.session_minutes.map(Minutes),
            allow_external: None,
            jwt: None,
        };
        may::authentic(&self.w.state, caller, self.w.now)?;
        let grant = may_amend(&self.w.state, caller, id, self.w.now)?;
        let shown = consent::amended(&self.w.state, id, grant, &amending, self.w.now)?;
        let summary = if amended.unseen { UNSEEN } else { shown.hash() };
        self.w.run(caller, Command::Amend { grant: id, amending, summary })?;
        Ok(())
    }
}
