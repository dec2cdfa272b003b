//! What people see: each `expect_…` of a story is compared with what the API shows to whoever asks.

use serde_json::{Value, json};

use super::names::{Fault, Played, Stage, sorted, wire, wrong};
use super::story::{Act, CandidateRow, Span};
use crate::harness::{instant, text};

/// Nothing if `wanted` is left open or is what there is.
fn same(what: &str, wanted: Option<impl serde::Serialize>, got: &Value) -> Played {
    let wanted = wanted.map(|w| json!(w));
    match wanted {
        Some(wanted) if sorted(&wanted) != sorted(got) => {
            wrong(format!("{what}: expected {wanted}, got {got}"))
        }
        _ => Ok(()),
    }
}

fn must(what: &str, wanted: impl serde::Serialize, got: impl serde::Serialize) -> Played {
    same(what, Some(wanted), &json!(got))
}

impl Stage {
    /// Looks, if the step is one that looks.
    pub fn look_around(&self, who: &str, token: &str, act: &Act) -> Option<Played> {
        Some(match act {
            Act::ExpectPending { .. } => self.pending(token, act),
            Act::ExpectActive { .. } => self.active(token, act),
            Act::ExpectHistory { .. } => self.history(token, act),
            Act::ExpectRequest { .. } => self.one_request(who, token, act),
            Act::ExpectGrant { .. } => self.one_grant(token, act),
            Act::ExpectAssigned { .. } => self.assigned(token, act),
            Act::ExpectCandidates { .. } => self.candidates(token, act),
            Act::ExpectSession { .. } => self.one_session(who, token, act),
            Act::ExpectTenants { customers } => self.tenants(token, customers),
            Act::ExpectDoors { .. } => self.doors(token, act),
            Act::ExpectFeed { .. } => self.feed(token, act),
            _ => return None,
        })
    }

    /// All items of a list, newest first as it is shown, page by page.
    fn list(&self, token: &str, path: &str) -> Played<(Vec<Value>, Value)> {
        let mut all = Vec::new();
        let mut next = String::new();
        loop {
            let cursor = if next.is_empty() { String::new() } else { format!("&cursor={next}") };
            let page = self.done(&self.town.get(token, &format!("{path}limit=3{cursor}")))?;
            all.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(more) => next = more.to_owned(),
                None => return Ok((all, page)),
            }
        }
    }

    fn pending(&self, token: &str, act: &Act) -> Played {
        let Act::ExpectPending { organisation, count, rows } = act else {
            return Ok(());
        };
        let path =
            format!("/v1/organisations/{organisation}/requests?direction=received&state=pending&");
        let (mut there, page) = self.list(token, &path)?;
        there.reverse();
        must("pending requests", count, there.len())?;
        must("their total", count, &page["total"])?;
        if rows.is_empty() {
            return Ok(());
        }
        must("rows", rows.len(), there.len())?;
        for (row, got) in rows.iter().zip(there) {
            same("partner", row.partner.as_ref(), &got["partner"]["company"])?;
            same("by", row.by.as_ref(), &got["partner"]["name"])?;
            same("email", row.email.as_ref(), &got["partner"]["email"])?;
            same("level", row.level.as_ref(), &got["level"])?;
            same("impersonation", row.impersonation, &got["impersonation"])?;
            same("days", row.days, &got["days"])?;
            same("reason", row.reason.as_ref(), &got["reason"])?;
            same(
                "ticket",
                row.ticket.as_ref(),
                &json!(got["ticket"].as_str().unwrap_or_default()),
            )?;
            same("roles", row.roles.as_ref(), &got["roles"])?;
            let accounts =
                if got["accounts"] == json!("all") { json!([]) } else { got["accounts"].clone() };
            same("accounts", row.accounts.as_ref(), &accounts)?;
        }
        Ok(())
    }

    fn active(&self, token: &str, act: &Act) -> Played {
        let Act::ExpectActive { organisation, partners, rows } = act else {
            return Ok(());
        };
        let (there, page) =
            self.list(token, &format!("/v1/organisations/{organisation}/grants?"))?;
        must("active partners", partners, &page["active_partners"])?;
        let Some(rows) = rows else { return Ok(()) };
        let stands = |g: &&Value| {
            ["active", "scheduled", "unconfirmed"]
                .contains(&g["state"].as_str().unwrap_or_default())
        };
        let there: Vec<&Value> = there.iter().rev().filter(stands).collect();
        must("rows", rows.len(), there.len())?;
        for (row, got) in rows.iter().zip(there) {
            let status = match () {
                () if got["locked"] == json!(true) => "locked",
                () if got["suspended"] == json!(true) => "suspended",
                () => got["state"].as_str().unwrap_or_default(),
            };
            same("partner", row.partner.as_ref(), &got["partner"]["external_id"])?;
            same("status", row.status.as_ref(), &json!(status))?;
            same("inside", row.inside, &got["inside"])?;
            same("level", row.level.as_ref(), &got["level"])?;
            self.until("ends_in", row.ends_in, &got["ends_at"])?;
        }
        Ok(())
    }

    fn until(&self, what: &str, wanted: Option<Span>, at: &Value) -> Played {
        let Some(wanted) = wanted else { return Ok(()) };
        must(what, wanted.0, instant(at).since(self.town.now()))
    }

    // -- sessions -----------------------------------------------------------------------------------

    fn history(&self, token: &str, act: &Act) -> Played {
        let Act::ExpectHistory { organisation, rows } = act else {
            return Ok(());
        };
        let path = format!("/v1/organisations/{organisation}/sessions?side=");
        let (mut there, _) = self.list(token, &format!("{path}customer&"))?;
        there.extend(self.list(token, &format!("{path}provider&"))?.0);
        there.sort_by_key(|s| (text(&s["started_at"]), text(&s["id"])));
        must("rows", rows.len(), there.len())?;
        for (row, got) in rows.iter().zip(there) {
            let provider = text(&got["partner"]["organisation"]["external_id"]);
            same(
                "member",
                row.member.as_ref(),
                &json!(self.called(&provider, &got["partner"]["person"])),
            )?;
            same("partner", row.partner.as_ref(), &json!(provider))?;
            same("mode", row.mode.as_ref(), &got["mode"])?;
            session_row(&got, row.status.as_ref(), row.cause.as_ref(), row.minutes)?;
            same("seconds", row.seconds, &got["duration_seconds"])?;
            same("calls_allowed", row.calls_allowed, &got["calls_allowed"])?;
            same("calls_refused", row.calls_refused, &got["calls_refused"])?;
            must("at_most", false, &got["at_most"])?;
            let sum = got["calls_allowed"]
                .as_u64()
                .zip(got["calls_refused"].as_u64())
                .map(|(a, r)| a + r);
            must("api_calls", sum, &got["api_calls"])?;
        }
        Ok(())
    }

    fn one_session(&self, who: &str, token: &str, act: &Act) -> Played {
        let Act::ExpectSession { session, status, minutes, cause, ends_in } = act else {
            return Ok(());
        };
        let path =
            format!("/v1/organisations/{}/sessions/{}", self.home(who)?, self.stay(session)?.id);
        let got = self.done(&self.town.get(token, &path))?;
        session_row(&got, Some(status), cause.as_ref(), *minutes)?;
        self.until("ends_in", *ends_in, &got["deadline"])
    }

    fn tenants(&self, token: &str, customers: &[String]) -> Played {
        let got = self.done(&self.town.get(token, "/v1/me/tenants"))?;
        let there: Vec<&Value> = got["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|t| &t["customer"]["external_id"])
            .collect();
        must("tenants", customers, there)
    }

    fn doors(&self, token: &str, act: &Act) -> Played {
        let Act::ExpectDoors { member, open, superseded, tenants } = act else {
            return Ok(());
        };
        let (external, organisation) = Self::split(member)?;
        let path = format!("/v1/organisations/{organisation}/members/{external}/doors");
        let got = self.done(&self.town.get(token, &path))?;
        let own = |open: bool, shut: &Value| -> Vec<Value> {
            let all = got["own"].as_array().into_iter().flatten();
            all.filter(|d| d["open"] == open && &d["shut"] == shut)
                .map(|d| d["organisation"]["external_id"].clone())
                .collect()
        };
        must("open doors", open, own(true, &Value::Null))?;
        must("superseded", superseded, own(false, &json!("superseded")))?;
        let there = got["tenants"].as_array().into_iter().flatten();
        let there: Vec<&Value> = there.map(|t| &t["customer"]["external_id"]).collect();
        must("tenants", tenants, there)
    }

    // -- one thing ----------------------------------------------------------------------------------

    fn one_request(&self, who: &str, token: &str, act: &Act) -> Played {
        let Act::ExpectRequest { request, status, impersonation, message, reason, hides } = act
        else {
            return Ok(());
        };
        let reply = self.town.get(token, &format!("/v1/requests/{}", self.request(request)?));
        let got = self.done(&reply)?;
        must("status", status, &got["state"])?;
        same("impersonation", *impersonation, &got["impersonation"])?;
        let said = |field: &str| json!(got[field].as_str().unwrap_or_default());
        same("message", message.as_ref(), &said("message"))?;
        same("reason", reason.as_ref(), &said("denial_reason"))?;
        self.hidden(hides, &reply.text())?;
        let home = self.home(who)?;
        let sent =
            self.town.get(token, &format!("/v1/organisations/{home}/requests?direction=sent"));
        self.hidden(hides, &sent.text())?;
        match self.events(token, &home) {
            Ok(events) => self.hidden(hides, &json!(events).to_string()),
            Err(Fault::Refused(..)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    fn one_grant(&self, token: &str, act: &Act) -> Played {
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
        let got =
            self.done(&self.town.get(token, &format!("/v1/grants/{}", self.grant(grant)?)))?;
        must("status", status, &got["state"])?;
        let held: Vec<&Value> =
            got["roles"].as_array().into_iter().flatten().map(|r| &r["code"]).collect();
        same("roles", roles.as_ref(), &json!(held))?;
        same("accounts", accounts.as_ref().map(wire), &got["accounts"])?;
        same("modes", modes.as_ref(), &got["modes"])?;
        same("session_minutes", *session_minutes, &got["session_minutes"])?;
        same("unattended", *unattended, &got["unattended"])?;
        self.until("ends_in", *ends_in, &got["ends_at"])
    }

    fn assigned(&self, token: &str, act: &Act) -> Played {
        let Act::ExpectAssigned { grant, rows } = act else {
            return Ok(());
        };
        let id = self.grant(grant)?;
        let (there, _) = self.list(token, &format!("/v1/grants/{id}/assignments?"))?;
        must("assigned", rows.len(), there.len())?;
        for row in rows {
            let person = json!(self.person(&row.member)?);
            let Some(got) = there.iter().find(|a| a["person"]["id"] == person) else {
                return wrong(format!("{} is not among {there:?}", row.member));
            };
            let status =
                match (got["state"].as_str().unwrap_or_default(), got["active"] == json!(true)) {
                    ("suspended_no_roles", false) => "suspended",
                    ("active", true) => "active",
                    ("active", false) => "expired",
                    _ => "odd",
                };
            same("status", row.status.as_ref(), &json!(status))?;
            same("basis", row.basis.as_ref(), &got["basis"])?;
            same("roles", row.roles.as_ref(), &got["roles"])?;
            same("accounts", row.accounts.as_ref().map(wire), &got["accounts"])?;
        }
        Ok(())
    }

    fn candidates(&self, token: &str, act: &Act) -> Played {
        let Act::ExpectCandidates { grant, action, accounts, q, rows } = act else {
            return Ok(());
        };
        let path = format!("/v1/grants/{}/candidates", self.grant(grant)?);
        let mut asked = json!({ "action": action, "accounts": wire(accounts), "limit": 2 });
        if let Some(q) = q {
            asked["q"] = json!(q);
        }
        let mut there = Vec::new();
        loop {
            let page = self.done(&self.town.post(token, &path, &asked))?;
            there.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page.get("next") {
                Some(next) => asked["cursor"] = next.clone(),
                None => break,
            }
        }
        let there: Vec<Value> =
            there.iter().map(|c| json!([c["person"]["id"], c["held"], c["of"]])).collect();
        let row = |r: &CandidateRow| Ok(json!([self.person(&r.member)?, r.k, r.n]));
        let rows = rows.iter().map(row).collect::<Played<Vec<Value>>>()?;
        must("candidates", rows, there)
    }

    // -- the feed of events -------------------------------------------------------------------------

    fn events(&self, token: &str, organisation: &str) -> Played<Vec<Value>> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let path = format!("/v1/events?organisation={organisation}&limit=5&after={after}");
            let page = self.done(&self.town.get(token, &path))?;
            let items = page["items"].as_array().cloned().unwrap_or_default();
            if items.is_empty() {
                return Ok(all);
            }
            all.extend(items);
            after = page["after"].as_u64().unwrap_or_default();
        }
    }

    fn feed(&self, token: &str, act: &Act) -> Played {
        let Act::ExpectFeed { organisation, includes, excludes, shows, hides } = act else {
            return Ok(());
        };
        let events = self.events(token, organisation)?;
        let kind = |k: &String| events.iter().any(|e| e["event"]["event"] == json!(k));
        if let Some(missing) = includes.iter().find(|k| !kind(k)) {
            return wrong(format!("no event {missing} among {events:?}"));
        }
        if let Some(extra) = excludes.iter().find(|k| kind(k)) {
            return wrong(format!("an event {extra} is not for these eyes"));
        }
        let said = |t: &String| events.iter().any(|e| e["words"].to_string().contains(t.as_str()));
        if let Some(missing) = shows.iter().find(|t| !said(t)) {
            return wrong(format!("no event says {missing:?}"));
        }
        self.hidden(hides, &json!(events).to_string())
    }

    /// Nowhere stands one of these words, nor the identifier of an organisation of this name.
    fn hidden(&self, hides: &[String], shown: &str) -> Played {
        for hidden in hides {
            let by_name = self.town.known.organisations.get(hidden);
            if shown.contains(hidden.as_str())
                || by_name.is_some_and(|id| shown.contains(id.as_str()))
            {
                return wrong(format!("{hidden:?} is to be read in {shown}"));
            }
        }
        Ok(())
    }
}

fn session_row(
    got: &Value,
    status: Option<&String>,
    cause: Option<&String>,
    minutes: Option<i64>,
) -> Played {
    same("status", status, &got["status"])?;
    let why = got["end_reason"].as_str().unwrap_or("none");
    same("cause", cause, &json!(why))?;
    same("minutes", minutes, &got["duration_minutes"])
}
