//! What people see: each `expect_…` of a story is compared with what the state and the log show
//! to whoever looks.

use std::fmt::Debug;

use comity_domain::assignment::AssignmentState;
use comity_domain::command::Caller;
use comity_domain::grant::{self, Grant};
use comity_domain::ids::{OrganisationId, SessionId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::request::{Request, RequestState};
use comity_domain::session::{self, Session, SessionState};
use comity_domain::view::{self, Access, Purpose};

use super::stage::{Played, Stage, modes_called, word, wrong};
use super::story::{AccountNames, Act, ActiveRow, AssignedRow, HistoryRow, PendingRow, Span};

/// Nothing if `wanted` is left open or is what there is.
fn same<T: PartialEq + Debug>(what: &str, wanted: Option<&T>, got: &T) -> Played {
    match wanted {
        Some(wanted) if wanted != got => wrong(format!("{what}: expected {wanted:?}, got {got:?}")),
        _ => Ok(()),
    }
}

fn must<T: PartialEq + Debug>(what: &str, wanted: T, got: T) -> Played {
    same(what, Some(&wanted), &got)
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn sorted_names(names: &AccountNames) -> AccountNames {
    match names {
        AccountNames::All => AccountNames::All,
        AccountNames::List(list) => AccountNames::List(sorted(list.clone())),
    }
}

impl Stage {
    /// Looks, if the step is one that looks.
    pub fn look_around(&self, who: &str, caller: &Caller, act: &Act) -> Option<Played> {
        Some(match act {
            Act::ExpectPending { organisation, count, rows } => {
                self.pending(caller, organisation, *count, rows)
            }
            Act::ExpectActive { organisation, partners, rows } => {
                self.active(caller, organisation, *partners, rows.as_deref())
            }
            Act::ExpectHistory { organisation, rows } => self.history(caller, organisation, rows),
            Act::ExpectRequest { .. } => self.one_request(who, caller, act),
            Act::ExpectGrant { .. } => self.one_grant(caller, act),
            Act::ExpectAssigned { grant, rows } => self.assigned(caller, grant, rows),
            Act::ExpectCandidates { .. } => self.candidates(caller, act),
            Act::ExpectSession { .. } => self.one_session(caller, act),
            Act::ExpectTenants { customers } => self.tenants(caller, customers),
            Act::ExpectDoors { .. } => self.doors(caller, act),
            Act::ExpectFeed { .. } => self.feed(caller, act),
            _ => return None,
        })
    }

    // -- the customer's page ----------------------------------------------------------------------

    fn pending(
        &self,
        caller: &Caller,
        organisation: &str,
        count: usize,
        rows: &[PendingRow],
    ) -> Played {
        let customer = self.organisation(organisation);
        self.may(caller, Action::ReadRequest, Thing::organisation(customer))?;
        let there: Vec<&Request> =
            view::pending_requests(&self.w.state, customer, self.w.now).map(|(_, r)| r).collect();
        must("pending requests", count, there.len())?;
        if rows.is_empty() {
            return Ok(());
        }
        must("rows", rows.len(), there.len())?;
        rows.iter().zip(there).try_for_each(|(row, request)| self.pending_row(row, request))
    }

    fn pending_row(&self, row: &PendingRow, r: &Request) -> Played {
        let show = |w| self.w.state.words.show(w).to_string();
        let all = |words: &[_]| words.iter().map(|w| show(*w)).collect::<Vec<_>>();
        same("partner", row.partner.as_ref(), &show(r.who.2))?;
        same("by", row.by.as_ref(), &show(r.who.0))?;
        same("email", row.email.as_ref(), &show(r.who.1))?;
        same("level", row.level.as_ref(), &r.level.code.to_string())?;
        same("impersonation", row.impersonation.as_ref(), &grant::impersonation(r.modes))?;
        same("days", row.days.as_ref(), &r.days.0)?;
        same("reason", row.reason.as_ref(), &show(r.reason))?;
        same("ticket", row.ticket.as_ref(), &r.ticket.map(show).unwrap_or_default())?;
        same("roles", row.roles.as_ref(), &all(&r.roles))?;
        same("accounts", row.accounts.as_ref(), &all(&r.accounts))
    }

    fn active(
        &self,
        caller: &Caller,
        organisation: &str,
        partners: usize,
        rows: Option<&[ActiveRow]>,
    ) -> Played {
        let customer = self.organisation(organisation);
        self.may(caller, Action::ReadGrant, Thing::organisation(customer))?;
        must(
            "active partners",
            partners,
            view::active_partners(&self.w.state, customer, self.w.now),
        )?;
        let there: Vec<Access> = view::active_access(&self.w.state, customer, self.w.now).collect();
        let Some(rows) = rows else { return Ok(()) };
        must("rows", rows.len(), there.len())?;
        rows.iter().zip(there).try_for_each(|(row, access)| self.active_row(row, &access))
    }

    fn active_row(&self, row: &ActiveRow, a: &Access) -> Played {
        let status = match () {
            () if a.locked => "locked",
            () if !self.w.state.party_is_active(a.grant.provider) => "suspended",
            () => a.phase.code(),
        };
        same("partner", row.partner.as_ref(), &self.name_of(a.grant.provider.organisation))?;
        same("status", row.status.as_ref(), &status.to_string())?;
        same("inside", row.inside.as_ref(), &a.inside)?;
        same("level", row.level.as_ref(), &a.grant.level.code.to_string())?;
        same("ends_in", row.ends_in.as_ref(), &Span(a.grant.window.end.since(self.w.now)))
    }

    // -- sessions ---------------------------------------------------------------------------------

    fn history(&self, caller: &Caller, organisation: &str, rows: &[HistoryRow]) -> Played {
        let side = self.organisation(organisation);
        self.may(caller, Action::ReadHistory, Thing::organisation(side))?;
        let state = &self.w.state;
        let mut there: Vec<(SessionId, &Session, &Grant)> = state
            .sessions
            .iter()
            .filter_map(|(id, s)| Some((id, s, state.grants.get(s.grant)?)))
            .filter(|(_, _, g)| [g.customer.organisation, g.provider.organisation].contains(&side))
            .collect();
        there.sort_by_key(|(id, s, _)| (s.started, *id));
        must("rows", rows.len(), there.len())?;
        for (row, (_, s, g)) in rows.iter().zip(there) {
            let provider = g.provider.organisation;
            same("partner", row.partner.as_ref(), &self.name_of(provider))?;
            same("member", row.member.as_ref(), &self.called(provider, s.person))?;
            same("mode", row.mode.as_ref(), &s.mode.code().to_string())?;
            self.session_row(s, row.status.as_ref(), row.cause.as_ref(), row.minutes.as_ref())?;
            let millis = session::shown_millis(s.started, s.deadline, s.ended(), self.w.now);
            same("seconds", row.seconds.as_ref(), &(millis / 1_000))?;
        }
        Ok(())
    }

    fn session_row(
        &self,
        s: &Session,
        status: Option<&String>,
        cause: Option<&String>,
        minutes: Option<&i64>,
    ) -> Played {
        same("status", status, &word(s.status(self.w.now)))?;
        let why = match s.state {
            SessionState::Ended { cause, .. } => word(cause),
            SessionState::Running => "none".into(),
        };
        same("cause", cause, &why)?;
        same(
            "minutes",
            minutes,
            &session::shown_minutes(s.started, s.deadline, s.ended(), self.w.now),
        )
    }

    fn one_session(&self, caller: &Caller, act: &Act) -> Played {
        let Act::ExpectSession { session, status, minutes, cause, ends_in } = act else {
            return Ok(());
        };
        let id = self.session(session)?;
        let Some(s) = self.w.state.sessions.get(id) else {
            return wrong("no such session");
        };
        may::check_grant(&self.w.state, caller, Action::ReadHistory, s.grant, self.w.now)?;
        self.session_row(s, Some(status), cause.as_ref(), minutes.as_ref())?;
        same("ends_in", ends_in.as_ref(), &Span(s.deadline.since(self.w.now)))
    }

    fn tenants(&self, caller: &Caller, customers: &[String]) -> Played {
        let Some(person) = caller.person() else {
            return wrong("only a person has tenants");
        };
        self.may(caller, Action::ReadSelf, Thing::own(person))?;
        let there = view::tenants(&self.w.state, person, self.w.now);
        let there = there.map(|t| self.name_of(t.grant.customer.organisation)).collect();
        must("tenants", sorted(customers.to_vec()), sorted(there))
    }

    fn doors(&self, caller: &Caller, act: &Act) -> Played {
        let Act::ExpectDoors { member, open, superseded, tenants } = act else {
            return Ok(());
        };
        self.may(caller, Action::ReadDoors, Thing::organisation(self.home(member)?))?;
        let person = self.person(member)?;
        let named = |shut: Option<view::Shut>| {
            let of = view::doors(&self.w.state, person).filter(|d| d.shut == shut);
            sorted(of.map(|d| self.name_of(d.organisation)).collect())
        };
        must("open doors", sorted(open.clone()), named(None))?;
        must("superseded", sorted(superseded.clone()), named(Some(view::Shut::Superseded)))?;
        let there = view::tenants(&self.w.state, person, self.w.now);
        let there = there.map(|t| self.name_of(t.grant.customer.organisation)).collect();
        must("tenants", sorted(tenants.clone()), sorted(there))
    }

    // -- one thing ---------------------------------------------------------------------------------

    fn one_request(&self, who: &str, caller: &Caller, act: &Act) -> Played {
        let Act::ExpectRequest { request, status, impersonation, message, reason, hides } = act
        else {
            return Ok(());
        };
        let id = self.request(request)?;
        may::authentic(&self.w.state, caller, self.w.now)?;
        let r = may::check_request(&self.w.state, caller, Action::ReadRequest, id, self.w.now)?;
        must("status", status.as_str(), r.phase(self.w.now).code())?;
        same("impersonation", impersonation.as_ref(), &grant::impersonation(r.modes))?;
        let (said, why) = match r.state {
            RequestState::Denied { reason, message, .. } => (message, reason),
            _ => (None, None),
        };
        let show = |w: Option<_>| w.map_or_else(String::new, |w| self.w.state.words.show(w).into());
        same("message", message.as_ref(), &show(said))?;
        let home = self.home(who)?;
        let for_their_eyes = if home == r.decider() { show(why) } else { String::new() };
        same("reason", reason.as_ref(), &for_their_eyes)?;
        self.hidden(home, hides)
    }

    fn one_grant(&self, caller: &Caller, act: &Act) -> Played {
        let Act::ExpectGrant {
            grant,
            status,
            roles,
            accounts,
            modes,
            ends_in,
            session_minutes,
            unattended,
        } = act
        else {
            return Ok(());
        };
        may::authentic(&self.w.state, caller, self.w.now)?;
        let g = may::check_grant(
            &self.w.state,
            caller,
            Action::ReadGrant,
            self.grant(grant)?,
            self.w.now,
        )?;
        must("status", status.as_str(), g.phase(self.w.now).code())?;
        let held = sorted(g.roles.iter().map(|r| self.role_called(r.role)).collect());
        same("roles", roles.clone().map(sorted).as_ref(), &held)?;
        same(
            "accounts",
            accounts.as_ref().map(sorted_names).as_ref(),
            &self.accounts_called(&g.accounts),
        )?;
        same("modes", modes.clone().map(sorted).as_ref(), &sorted(modes_called(g.modes)))?;
        same("ends_in", ends_in.as_ref(), &Span(g.window.end.since(self.w.now)))?;
        same("session_minutes", session_minutes.as_ref(), &g.cap.0)?;
        same("unattended", unattended.as_ref(), &g.unattended)
    }

    fn assigned(&self, caller: &Caller, grant: &str, rows: &[AssignedRow]) -> Played {
        let id = self.grant(grant)?;
        may::authentic(&self.w.state, caller, self.w.now)?;
        let g = may::check_grant(&self.w.state, caller, Action::ReadAssignments, id, self.w.now)?;
        let people: Vec<_> = self.w.state.assigned_to(id).map(|(p, _)| p).collect();
        let there = people.iter().map(|p| self.called(g.provider.organisation, *p)).collect();
        must("assigned", sorted(rows.iter().map(|r| r.member.clone()).collect()), sorted(there))?;
        for row in rows {
            let Some(a) = self.w.state.assignment(id, self.person(&row.member)?) else {
                return wrong("not assigned");
            };
            let status = match a.row.state {
                AssignmentState::SuspendedNoRoles => "suspended",
                AssignmentState::Active if a.row.is_active(self.w.now) => "active",
                AssignmentState::Active => "expired",
            };
            same("status", row.status.as_ref(), &status.to_string())?;
            same("basis", row.basis.as_ref(), &word(a.row.basis))?;
            let roles = sorted(a.roles.iter().map(|r| self.role_called(*r)).collect());
            same("roles", row.roles.clone().map(sorted).as_ref(), &roles)?;
            let accounts = self.accounts_called(&a.accounts);
            same("accounts", row.accounts.as_ref().map(sorted_names).as_ref(), &accounts)?;
        }
        Ok(())
    }

    fn candidates(&self, caller: &Caller, act: &Act) -> Played {
        let Act::ExpectCandidates { grant, action, accounts, q, rows } = act else {
            return Ok(());
        };
        let id = self.grant(grant)?;
        may::authentic(&self.w.state, caller, self.w.now)?;
        let g = may::check_grant(&self.w.state, caller, Action::Assign, id, self.w.now)?;
        let purpose = if action == "add" { Purpose::Add } else { Purpose::Remove };
        let accounts = &self.accounts(g.customer.organisation, accounts);
        let (mut there, mut after) = (Vec::new(), None);
        loop {
            let sought = view::Sought { purpose, accounts, query: q.as_deref() };
            let page = view::candidates(&self.w.state, id, sought, after, 2, self.w.now);
            after = page.0.last().map(|c| c.person);
            there.extend(page.0);
            if !page.1 {
                break;
            }
        }
        let home = g.provider.organisation;
        let there =
            there.iter().map(|c| format!("{} {} {}", self.called(home, c.person), c.held, c.of));
        let rows = rows.iter().map(|r| format!("{} {} {}", r.member, r.k, r.n)).collect();
        must("candidates", sorted(rows), sorted(there.collect()))
    }

    // -- the feed of events ------------------------------------------------------------------------

    fn feed(&self, caller: &Caller, act: &Act) -> Played {
        let Act::ExpectFeed { organisation, includes, excludes, shows, hides } = act else {
            return Ok(());
        };
        let reader = self.organisation(organisation);
        self.may(caller, Action::ReadEvents, Thing::organisation(reader))?;
        let lines = self.lines(reader);
        let kind = |k: &String| lines.iter().any(|l| l.kind == *k);
        if let Some(missing) = includes.iter().find(|k| !kind(k)) {
            return wrong(format!("no event {missing} among {:?}", kinds(&lines)));
        }
        if let Some(extra) = excludes.iter().find(|k| kind(k)) {
            return wrong(format!("an event {extra} is not for these eyes"));
        }
        let said =
            |t: &String| lines.iter().any(|l| l.words.iter().any(|w| w.contains(t.as_str())));
        if let Some(missing) = shows.iter().find(|t| !said(t)) {
            return wrong(format!("no event says {missing:?}"));
        }
        self.hidden(reader, hides)
    }

    /// No event that `reader` may see holds one of these words, nor the identifier of an
    /// organisation of this name.
    fn hidden(&self, reader: OrganisationId, hides: &[String]) -> Played {
        for hidden in hides {
            let id = self.organisation(hidden).to_string();
            for line in self.lines(reader) {
                if line.json.contains(&id) || line.words.iter().any(|w| w.contains(hidden.as_str()))
                {
                    return wrong(format!(
                        "{hidden:?} is to be read in {} {:?}",
                        line.json, line.words
                    ));
                }
            }
        }
        Ok(())
    }

    fn lines(&self, reader: OrganisationId) -> Vec<Line> {
        let mut lines = Vec::new();
        for row in &self.w.rows {
            for (at, recorded) in row.events.iter().enumerate() {
                if recorded.readers.contains(&reader) {
                    let json = recorded.event.told();
                    let own = row.words.iter().filter(|w| w.event as usize == at);
                    lines.push(Line {
                        kind: json["event"].as_str().unwrap_or_default().to_string(),
                        json: json.to_string(),
                        words: own.filter_map(|w| w.text.as_deref().map(String::from)).collect(),
                    });
                }
            }
        }
        lines
    }
}

/// One event as a reader sees it.
struct Line {
    kind: String,
    json: String,
    words: Vec<String>,
}

fn kinds(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|l| l.kind.as_str()).collect()
}
