//! Asking, reviewing and approving, as a story tells it.

use comity_domain::code::CustomerCode;
use comity_domain::command::{Ask, Caller, Command};
use comity_domain::consent::{self, Lasts, Summary, Terms};
use comity_domain::event::{Event, Row};
use comity_domain::ids::{Digest32, OrganisationId};
use comity_domain::may::{self, Action};
use comity_domain::refusal::Refusal;
use comity_domain::role::Mode;
use comity_domain::time::{Days, Minutes};

use super::stage::{Played, Saved, Stage, modes, wrong};
use super::story::{Act, Asked, Given};

impl Stage {
    /// Does what a step says, if it is one about asking and approving.
    pub fn request_deed(
        &mut self,
        who: &str,
        caller: &Caller,
        act: &Act,
    ) -> Option<Played<Option<Saved>>> {
        Some(match act {
            Act::Ask(asked) => self.ask(who, caller, asked),
            Act::Look(given) => self.look(caller, given).map(|hash| Some(Saved::Hash(hash))),
            Act::Approve(given) => self.approve(caller, given),
            _ => return self.giving_deed(who, caller, act),
        })
    }

    fn ask(&mut self, who: &str, caller: &Caller, asked: &Asked) -> Played<Option<Saved>> {
        let mut text = self.code_text(&asked.customer_id)?;
        if asked.typo {
            text = misspelt(&text);
        }
        // What every door does first: a typo is found by the check symbol, before any look-up.
        let code = CustomerCode::parse(&text)
            .map_err(|_| Refusal::invalid("customer_id", "is misspelt; check it"))?;
        let all = ["direct", "view", "act_as"].map(String::from).to_vec();
        let ask = Ask {
            provider: self.home_of(who)?,
            unit: asked.unit.clone(),
            code: code.digest(),
            level: asked.level.clone().unwrap_or_else(|| "partner".into()),
            modes: modes(asked.modes.as_ref().unwrap_or(&all))?,
            days: Days(asked.days.unwrap_or(30)),
            roles: asked.roles.clone(),
            accounts: asked.accounts.clone(),
            reason: asked.reason.clone().unwrap_or_else(|| "Winter storage".into()),
            ticket: asked.ticket.clone(),
        };
        let row = self.w.run(caller, Command::Ask(ask))?;
        Ok(made(row, |e| match e {
            Event::RequestAsked { request, .. } => Some(Saved::Request(*request)),
            _ => None,
        }))
    }

    /// The organisation for which `who` asks; a session stands in no organisation's name.
    fn home_of(&self, who: &str) -> Played<OrganisationId> {
        if let Some(session) = who.strip_prefix('$') {
            let grant = self.w.state.sessions.get(self.session(session)?).map(|s| s.grant);
            let grant = grant.and_then(|g| self.w.state.grants.get(g));
            return Ok(grant.map_or(OrganisationId::MAX, |g| g.provider.organisation));
        }
        self.home(who)
    }

    fn terms(&self, given: &Given) -> Played<Terms> {
        let id = self.request(&given.request)?;
        let asked = self.w.state.requests.get(id);
        let customer = asked.map_or(OrganisationId::MAX, |r| r.customer);
        let all_asked = asked.map(|r| r.modes).unwrap_or_default();
        let modes = given.modes.as_ref().map_or(Ok(all_asked), |m| modes(m))?;
        Ok(Terms {
            roles: given.roles.iter().map(|r| self.role(customer, r)).collect(),
            accounts: self.accounts(customer, &given.accounts),
            unit: given.unit.as_ref().map(|u| self.unit(customer, u)),
            modes,
            starts_at: given.starts_in.map(|s| self.w.now.plus(s.0)),
            days: given.days.map_or_else(|| asked.map_or(Days(30), |r| r.days), Days),
            cap: given.session_minutes.map(Minutes),
            allow_external: false,
            jwt: !modes.contains(Mode::ActAs),
        })
    }

    fn look(&mut self, caller: &Caller, given: &Given) -> Played<Digest32> {
        let id = self.request(&given.request)?;
        may::authentic(&self.w.state, caller, self.w.now)?;
        let request = may::check_request(&self.w.state, caller, Action::Approve, id, self.w.now)?;
        let summary =
            consent::summarise(&self.w.state, id, request, &self.terms(given)?, self.w.now)?;
        self.shows(given, &summary)?;
        Ok(summary.hash())
    }

    fn shows(&self, given: &Given, summary: &Summary) -> Played {
        let Some(shows) = &given.shows else {
            return Ok(());
        };
        let shown = |what: &str, ok: bool| {
            if ok { Ok(()) } else { wrong(format!("{what} differs in {summary:?}")) }
        };
        let roles = summary
            .roles
            .iter()
            .map(|(r, p)| (self.role_called(r.role), p.texts().collect()))
            .collect();
        let names: Vec<&str> = summary.names.iter().map(|w| self.w.state.words.show(*w)).collect();
        let never: Vec<String> = summary.never_delegable.texts().collect();
        shown("partner", shows.partner.as_ref().is_none_or(|p| names.contains(&p.as_str())))?;
        shown("level", shows.level.as_ref().is_none_or(|l| **l == *summary.level.code))?;
        shown("roles", shows.roles.as_ref().is_none_or(|r| *r == roles))?;
        shown(
            "accounts",
            shows.accounts.as_ref().is_none_or(|a| *a == self.accounts_called(&summary.accounts)),
        )?;
        shown(
            "modes",
            shows.modes.as_ref().is_none_or(|m| modes(m).is_ok_and(|m| m == summary.modes)),
        )?;
        shown("days", shows.days.is_none_or(|d| summary.lasts == Lasts::For(Days(d))))?;
        shown("session_minutes", shows.session_minutes.is_none_or(|m| m == summary.cap.0))?;
        shown("never_delegable", shows.never_delegable.as_ref().is_none_or(|n| *n == never))
    }

    fn approve(&mut self, caller: &Caller, given: &Given) -> Played<Option<Saved>> {
        let request = self.request(&given.request)?;
        let terms = self.terms(given)?;
        let summary = match &given.summary {
            Some(seen) => self.hash(seen)?,
            // Who may not look has no hash to echo, and must be refused for another reason.
            None => self.w.summary(request, &terms).unwrap_or(Digest32([0; 32])),
        };
        let row = self.w.run(caller, Command::Approve { request, terms, summary })?;
        Ok(made(row, |e| match e {
            Event::GrantMade { grant, .. } => Some(Saved::Grant(*grant)),
            _ => None,
        }))
    }
}

pub fn made(row: Option<Row>, what: impl Fn(&Event) -> Option<Saved>) -> Option<Saved> {
    row.into_iter().flat_map(|r| r.events).find_map(|r| what(&r.event))
}

/// The code with its first character typed wrongly.
fn misspelt(code: &str) -> String {
    let wrong = if code.starts_with('7') { "8" } else { "7" };
    code.char_indices().nth(1).map_or_else(String::new, |(at, _)| format!("{wrong}{}", &code[at..]))
}
