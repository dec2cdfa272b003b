//! What people do: each verb of a story becomes a request, or the few that a program would send.

use serde_json::{Map, Value, json};

use super::names::{Fault, Played, Saved, Stage, Stay, sorted, wire, wrong};
use super::story::{AccountNames, Act, Amended, Asked, Bulk, Given, Offered, Shows, Successor};
use crate::harness::{text, time};
use crate::town::Member;

impl Stage {
    fn say(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Played<Value> {
        self.done(&self.town.call(token, method, path, body.as_ref()))
    }

    /// Does what a step says; what it made can be saved.
    pub fn perform(&mut self, who: &str, token: &str, act: &Act) -> Played<Option<Saved>> {
        let at = |organisation: &str, rest: &str| format!("/v1/organisations/{organisation}{rest}");
        match act {
            Act::PutOrganisation { organisation, name } => {
                let made =
                    self.say(token, "PUT", &at(organisation, ""), Some(json!({ "name": name })))?;
                self.town.known.organisations.insert(organisation.clone(), text(&made["id"]));
            }
            Act::PutUnit { organisation, unit, active } => {
                let body =
                    json!({ "name": format!("Unit {unit}"), "active": active.unwrap_or(true) });
                self.say(token, "PUT", &at(organisation, &format!("/units/{unit}")), Some(body))?;
            }
            Act::LinkAccount { organisation, account, group } => {
                let body = json!({ "linked_group": group });
                let path = at(organisation, &format!("/accounts/{account}/linked-group"));
                self.say(token, "PUT", &path, Some(body))?;
            }
            Act::PutAccount { organisation, account, unit } => {
                let body = json!({ "name": format!("Account {account}"), "unit": unit });
                let made = self.say(
                    token,
                    "PUT",
                    &at(organisation, &format!("/accounts/{account}")),
                    Some(body),
                )?;
                self.town
                    .known
                    .accounts
                    .insert((organisation.clone(), account.clone()), text(&made["id"]));
            }
            Act::RemoveAccount { organisation, account } => {
                self.say(
                    token,
                    "DELETE",
                    &at(organisation, &format!("/accounts/{account}")),
                    None,
                )?;
            }
            Act::PutRole { organisation, role, permissions } => {
                let body = json!({ "name": format!("Role {role}"), "permissions": permissions });
                self.say(token, "PUT", &at(organisation, &format!("/roles/{role}")), Some(body))?;
            }
            Act::DeleteRole { organisation, role } => {
                self.say(token, "DELETE", &at(organisation, &format!("/roles/{role}")), None)?;
            }
            Act::PutMember { .. } => self.put_member(token, act)?,
            Act::EndAccess { member } => {
                let (external, organisation) = Self::split(member)?;
                let path = at(organisation, &format!("/members/{external}/access/end"));
                self.say(token, "POST", &path, None)?;
            }
            Act::RemoveMember { member } => {
                let (external, organisation) = Self::split(member)?;
                self.say(
                    token,
                    "DELETE",
                    &at(organisation, &format!("/members/{external}")),
                    None,
                )?;
            }
            Act::RestoreMember { member } => {
                let (external, organisation) = Self::split(member)?;
                let path = at(organisation, &format!("/members/{external}/restore"));
                self.say(token, "POST", &path, None)?;
            }
            Act::Erase { organisation, member, request, session } => {
                let mut body = json!({});
                put(
                    &mut body,
                    "organisation",
                    &organisation.as_ref().map(|o| self.organisation(o)),
                );
                let person = member.as_ref().map(|m| self.person(m)).transpose()?;
                put(&mut body, "person", &person);
                let request = request.as_ref().map(|r| self.request(r)).transpose()?;
                put(&mut body, "request", &request);
                let session = session.as_ref().map(|s| Ok(self.stay(s)?.id)).transpose()?;
                put(&mut body, "session", &session);
                self.say(token, "POST", "/v1/erasures", Some(body))?;
            }
            Act::Restore { keep_people } => self.town.restore(*keep_people),
            Act::Enrol { member } => self.town.enrol(member),
            Act::ReadCustomerId { organisation } => {
                let read = self.say(token, "GET", &at(organisation, "/customer-id"), None)?;
                return Ok(Some(Saved::Code(text(&read["customer_id"]))));
            }
            Act::RotateCustomerId { organisation } => {
                let read =
                    self.say(token, "POST", &at(organisation, "/customer-id/rotate"), None)?;
                return Ok(Some(Saved::Code(text(&read["customer_id"]))));
            }
            Act::ChangeSettings { .. } => self.change_settings(token, act)?,
            Act::Lock { organisation, partner, member, reason } => {
                let person = member.as_ref().map(|m| self.person(m)).transpose()?;
                let partner = partner.as_ref().map(|p| self.organisation(p));
                let body = json!({ "organisation": partner, "person": person, "reason": reason });
                let made = self.say(token, "POST", &at(organisation, "/locks"), Some(body))?;
                return Ok(Some(Saved::Lock(text(&made["id"]))));
            }
            Act::Unlock { lock } => {
                self.say(token, "DELETE", &format!("/v1/locks/{}", self.lock(lock)?), None)?;
            }
            Act::SetStanding { .. } | Act::SetPolicy { .. } | Act::PutLevel { .. } => {
                self.operate(token, act)?
            }
            Act::Ask(_)
            | Act::CancelRequest { .. }
            | Act::Look(_)
            | Act::Approve(_)
            | Act::RotatePartnerId { .. }
            | Act::Offer(_)
            | Act::Accept { .. }
            | Act::Decline { .. }
            | Act::Deny { .. } => {
                return self.about_requests(who, token, act);
            }
            Act::Enter { .. } | Act::CloseSession { .. } | Act::EndSession { .. } => {
                return self.about_sessions(who, token, act);
            }
            Act::ExpectBulk { .. } => return self.planned(token, act),
            _ => self.about_grants(token, act)?,
        }
        Ok(None)
    }

    fn operate(&self, token: &str, act: &Act) -> Played {
        match act {
            Act::SetStanding { organisation, standing } => {
                let path = format!("/v1/organisations/{organisation}/standing");
                self.say(token, "PUT", &path, Some(json!({ "standing": standing })))?;
            }
            Act::SetPolicy {
                never_delegable,
                session_minutes,
                longest_grant_days,
                offers_need_acceptance,
            } => {
                let mut policy = self.say(token, "GET", "/v1/platform/policy", None)?;
                put(&mut policy, "never_delegable", never_delegable);
                put(&mut policy, "session_minutes", session_minutes);
                put(&mut policy, "longest_grant_days", longest_grant_days);
                put(&mut policy, "offers_need_acceptance", offers_need_acceptance);
                let there = Some("*".to_owned());
                self.with_version(token, "PUT", "/v1/platform/policy", &policy, there)?;
            }
            Act::PutLevel { level, permissions, modes, longest_grant_days, session_minutes } => {
                let body = json!({ "permissions": permissions, "modes": modes,
                    "longest_grant_days": longest_grant_days, "session_minutes": session_minutes });
                self.say(token, "PUT", &format!("/v1/platform/levels/{level}"), Some(body))?;
            }
            other => return wrong(format!("{other:?} is not played here")),
        }
        Ok(())
    }

    fn put_member(&mut self, token: &str, act: &Act) -> Played {
        let Act::PutMember { member, same_person_as, portal, unit, active } = act else {
            return Ok(());
        };
        let (external, organisation) = Self::split(member)?;
        let fresh = Member {
            id: String::new(),
            name: format!("Member {external}"),
            email: format!("{external}@{organisation}.example"),
            unit: None,
            portal: None,
            active: true,
        };
        let known = &self.town.known.members;
        let mut wanted = match (known.get(member), same_person_as) {
            (Some(known), None) => known.clone(),
            (None, None) => fresh,
            (_, Some(other)) => {
                let Some(same) = known.get(other) else {
                    return wrong(format!("nobody is {other}"));
                };
                Member { name: same.name.clone(), email: same.email.clone(), ..fresh }
            }
        };
        match portal.as_deref() {
            Some("none") => wanted.portal = None,
            Some(role) => wanted.portal = Some(role.into()),
            None => {}
        }
        if unit.is_some() {
            wanted.unit.clone_from(unit);
        }
        wanted.active = active.unwrap_or(wanted.active);
        let reply = self.town.put_member(token, member, wanted);
        self.done(&reply).map(|_| ())
    }

    fn change_settings(&self, token: &str, act: &Act) -> Played {
        let Act::ChangeSettings {
            organisation,
            customer_id_on,
            session_minutes,
            longest_grant_days,
            blocked,
            stale,
        } = act
        else {
            return Ok(());
        };
        let path = format!("/v1/organisations/{organisation}/settings");
        let seen = self.town.get(token, &path);
        let mut settings = self.done(&seen)?;
        put(&mut settings, "customer_id_on", customer_id_on);
        put(&mut settings, "session_minutes", session_minutes);
        put(&mut settings, "longest_grant_days", longest_grant_days);
        let blocked: Option<Vec<String>> =
            blocked.as_ref().map(|b| b.iter().map(|b| self.organisation(b)).collect());
        put(&mut settings, "blocked_partners", &blocked);
        self.with_version(
            token,
            "PUT",
            &path,
            &settings,
            Some(version(seen.header(axum::http::header::ETAG), *stale)),
        )
    }

    fn with_version(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &Value,
        tag: Option<String>,
    ) -> Played {
        let mut request = crate::harness::request(token, method, path, Some(body));
        if let Some(tag) = tag {
            request.headers_mut().insert(axum::http::header::IF_MATCH, tag.parse().unwrap());
        }
        self.done(&self.town.send(request)).map(|_| ())
    }

    // -- requests -----------------------------------------------------------------------------------

    fn about_requests(&self, who: &str, token: &str, act: &Act) -> Played<Option<Saved>> {
        match act {
            Act::Ask(asked) => self.ask(who, token, asked).map(Some),
            Act::CancelRequest { request } => {
                let path = format!("/v1/requests/{}/cancel", self.request(request)?);
                self.say(token, "POST", &path, None).map(|_| None)
            }
            Act::Deny { request, reason, message } => {
                let path = format!("/v1/requests/{}/deny", self.request(request)?);
                self.say(
                    token,
                    "POST",
                    &path,
                    Some(json!({ "reason": reason, "message": message })),
                )
                .map(|_| None)
            }
            Act::Look(given) => {
                let id = self.request(&given.request)?;
                let summary = self.say(
                    token,
                    "POST",
                    &format!("/v1/requests/{id}/summary"),
                    Some(self.terms(given)),
                )?;
                if let Some(shows) = &given.shows {
                    let request = self.say(token, "GET", &format!("/v1/requests/{id}"), None)?;
                    shown(shows, &summary, &request)?;
                }
                Ok(Some(Saved::Hash(text(&summary["summary"]))))
            }
            Act::Approve(given) => self.approve(token, given),
            Act::RotatePartnerId { organisation, unit } => {
                let unit = unit.as_ref().map_or_else(String::new, |u| format!("?unit={u}"));
                let path = format!("/v1/organisations/{organisation}/partner-id/rotate{unit}");
                let made = self.say(token, "POST", &path, None)?;
                Ok(Some(Saved::Code(text(&made["partner_id"]))))
            }
            Act::Offer(offered) => self.offer(who, token, offered).map(Some),
            Act::Accept { request } => {
                let path = format!("/v1/requests/{}/accept", self.request(request)?);
                let accepted = self.say(token, "POST", &path, None)?;
                Ok(accepted["grant"].as_str().map(|g| Saved::Grant(g.into())))
            }
            Act::Decline { request, reason, message } => {
                let path = format!("/v1/requests/{}/decline", self.request(request)?);
                let body = json!({ "reason": reason, "message": message });
                self.say(token, "POST", &path, Some(body)).map(|_| None)
            }
            other => wrong(format!("{other:?} is not played here")),
        }
    }

    fn ask(&self, who: &str, token: &str, asked: &Asked) -> Played<Saved> {
        let mut code = self.code_text(&asked.customer_id)?;
        if asked.typo {
            let first = if code.starts_with('7') { "8" } else { "7" };
            code.replace_range(..1, first);
        }
        let modes = asked
            .modes
            .clone()
            .unwrap_or_else(|| ["direct", "view", "act_as"].map(String::from).to_vec());
        let body = json!({
            "customer_id": code,
            "level": asked.level.as_deref().unwrap_or("partner"),
            "modes": modes,
            "days": asked.days.unwrap_or(30),
            "roles": asked.roles,
            "accounts": asked.accounts,
            "unit": asked.unit,
            "reason": asked.reason.as_deref().unwrap_or("Winter storage"),
            "ticket": asked.ticket,
        });
        let path = format!("/v1/organisations/{}/requests", self.home(who)?);
        let made = self.say(token, "POST", &path, Some(body))?;
        Ok(Saved::Request(text(&made["id"])))
    }

    fn offer(&self, who: &str, token: &str, offered: &Offered) -> Played<Saved> {
        let mut terms = json!({ "roles": offered.roles, "accounts": wire(&offered.accounts) });
        put(&mut terms, "unit", &offered.unit);
        put(&mut terms, "modes", &offered.modes);
        put(&mut terms, "days", &offered.days);
        put(&mut terms, "starts_at", &offered.starts_in.map(|s| time(self.town.now().plus(s.0))));
        put(&mut terms, "session_minutes", &offered.session_minutes);
        let mut body = json!({ "terms": terms });
        let code = offered.partner_id.as_ref().map(|c| self.code_text(c)).transpose()?;
        put(&mut body, "partner_id", &code);
        put(&mut body, "partner", &offered.partner.as_ref().map(|p| self.organisation(p)));
        put(&mut body, "partner_unit", &offered.partner_unit);
        put(&mut body, "level", &offered.level);
        let path = format!("/v1/organisations/{}/offers", self.home(who)?);
        let seen = self.say(token, "POST", &format!("{path}/summary"), Some(body.clone()))?;
        body["summary"] =
            if offered.unseen { json!("0".repeat(64)) } else { seen["summary"].clone() };
        body["reason"] = json!(offered.reason.as_deref().unwrap_or("You look after our boats"));
        let made = self.say(token, "POST", &path, Some(body))?;
        Ok(Saved::Request(text(&made["id"])))
    }

    fn amend(&self, token: &str, amended: &Amended) -> Played {
        let path = format!("/v1/grants/{}/amend", self.grant(&amended.grant)?);
        let mut terms = json!({});
        put(&mut terms, "roles", &amended.roles);
        put(&mut terms, "accounts", &amended.accounts.as_ref().map(wire));
        put(&mut terms, "modes", &amended.modes);
        put(&mut terms, "days", &amended.days);
        put(&mut terms, "session_minutes", &amended.session_minutes);
        let seen = self.say(token, "POST", &format!("{path}/summary"), Some(terms.clone()))?;
        let summary = if amended.unseen { json!("0".repeat(64)) } else { seen["summary"].clone() };
        let body = json!({ "summary": summary, "terms": terms });
        self.say(token, "POST", &path, Some(body)).map(|_| ())
    }

    /// The terms that an approver sends: what is left out is what was asked.
    fn terms(&self, given: &Given) -> Value {
        let mut terms = json!({ "roles": given.roles, "accounts": wire(&given.accounts) });
        put(&mut terms, "unit", &given.unit);
        put(&mut terms, "modes", &given.modes);
        put(&mut terms, "days", &given.days);
        put(&mut terms, "starts_at", &given.starts_in.map(|s| time(self.town.now().plus(s.0))));
        put(&mut terms, "session_minutes", &given.session_minutes);
        terms
    }

    fn approve(&self, token: &str, given: &Given) -> Played<Option<Saved>> {
        let path = format!("/v1/requests/{}", self.request(&given.request)?);
        let terms = self.terms(given);
        let summary = match &given.summary {
            Some(seen) => self.hash(seen)?,
            // Who may not look has no hash to echo, and must be refused for another reason.
            None => {
                match self.say(token, "POST", &format!("{path}/summary"), Some(terms.clone())) {
                    Ok(seen) => text(&seen["summary"]),
                    Err(Fault::Refused(..)) => "0".repeat(64),
                    Err(other) => return Err(other),
                }
            }
        };
        let body = json!({ "summary": summary, "terms": terms });
        let approved = self.say(token, "POST", &format!("{path}/approve"), Some(body))?;
        Ok(approved["grant"].as_str().map(|g| Saved::Grant(g.into())))
    }

    // -- grants -------------------------------------------------------------------------------------

    fn about_grants(&self, token: &str, act: &Act) -> Played {
        let end_of =
            |span: &Option<super::story::Span>| span.map(|s| time(self.town.now().plus(s.0)));
        match act {
            Act::Confirm { organisation, grants } => {
                let ids: Vec<String> =
                    grants.iter().map(|g| self.grant(g)).collect::<Played<_>>()?;
                match (organisation, ids.as_slice()) {
                    (Some(organisation), _) => {
                        let path = format!("/v1/organisations/{organisation}/grants/confirm");
                        self.say(token, "POST", &path, Some(json!({ "grants": ids })))?;
                    }
                    (None, [one]) => {
                        self.say(token, "POST", &format!("/v1/grants/{one}/confirm"), None)?;
                    }
                    (None, _) => return wrong("several are confirmed by their organisation"),
                }
            }
            Act::Amend(amended) => self.amend(token, amended)?,
            Act::Revoke { grant } => {
                self.say(
                    token,
                    "POST",
                    &format!("/v1/grants/{}/revoke", self.grant(grant)?),
                    None,
                )?;
            }
            Act::GiveUp { grant } => {
                self.say(
                    token,
                    "POST",
                    &format!("/v1/grants/{}/give-up", self.grant(grant)?),
                    None,
                )?;
            }
            Act::Narrow { grant, roles, accounts, modes, ends_in, session_minutes, stale } => {
                let path = format!("/v1/grants/{}", self.grant(grant)?);
                let seen = self.town.get(token, &path);
                let mut body = json!({});
                put(&mut body, "roles", roles);
                put(&mut body, "accounts", &accounts.as_ref().map(wire));
                put(&mut body, "modes", modes);
                put(&mut body, "ends_at", &end_of(ends_in));
                put(&mut body, "session_minutes", session_minutes);
                let version = (seen.status == 200)
                    .then(|| version(seen.header(axum::http::header::ETAG), *stale));
                self.with_version(token, "POST", &format!("{path}/narrow"), &body, version)?;
            }
            Act::Assign { grant, member, roles, accounts, ends_in } => {
                let path = format!(
                    "/v1/grants/{}/assignments/{}",
                    self.grant(grant)?,
                    self.person(member)?
                );
                let body = json!({ "roles": roles, "accounts": wire(accounts), "ends_at": end_of(ends_in) });
                match self.say(token, "PUT", &path, Some(body.clone())) {
                    Err(Fault::Refused(code, _)) if code == "if_match_required" => {
                        self.with_version(token, "PUT", &path, &body, Some("*".into()))?;
                    }
                    other => drop(other?),
                }
            }
            Act::Unassign { grant, member, successor } => {
                let path = format!(
                    "/v1/grants/{}/assignments/{}",
                    self.grant(grant)?,
                    self.person(member)?
                );
                let body = successor.as_ref().map(|s| {
                    let person = self.person(&s.member)?;
                    let next = json!({ "person": person, "roles": s.roles, "accounts": wire(&s.accounts) });
                    Ok(json!({ "successor": next }))
                });
                self.say(token, "DELETE", &path, body.transpose()?)?;
            }
            Act::Bulk(bulk) => {
                let (path, terms) = self.many(bulk)?;
                let seen = self.say(token, "POST", &format!("{path}/summary"), Some(terms.clone()));
                let seen = seen.unwrap_or_default();
                let summary = match &bulk.summary {
                    Some(saved) => json!(self.hash(saved)?),
                    None if bulk.unseen || seen.is_null() => json!("0".repeat(64)),
                    None => seen["summary"].clone(),
                };
                let mut body = json!({ "summary": summary, "terms": terms });
                if bulk.take_along {
                    body["linked_token"] = seen["linked_token"].clone();
                }
                self.say(token, "POST", &path, Some(body))?;
            }
            Act::SetAuto { grant, roles, only, stale, gains, loses } => {
                let path = format!("/v1/grants/{}/auto", self.grant(grant)?);
                let rule = roles.as_ref().map(|roles| json!({ "roles": roles, "only": only }));
                let body = json!({ "auto": rule });
                let seen =
                    self.say(token, "POST", &format!("{path}/preview"), Some(body.clone()))?;
                for (wanted, list) in [(gains, "gains"), (loses, "loses")] {
                    let Some(wanted) = wanted else { continue };
                    let wanted = wanted.iter().map(|m| self.person(m));
                    let mut wanted = wanted.collect::<Played<Vec<String>>>()?;
                    let got = seen[list].as_array().into_iter().flatten();
                    let mut got: Vec<String> = got.map(|p| text(&p["id"])).collect();
                    wanted.sort();
                    got.sort();
                    if wanted != got {
                        return wrong(format!("{list}: the preview says {seen}"));
                    }
                }
                let shown = if *stale { json!("0".repeat(64)) } else { seen["token"].clone() };
                let body = json!({ "auto": rule, "token": shown });
                self.say(token, "PUT", &path, Some(body))?;
            }
            Act::SetAssignments { grant, people } => {
                let path = format!("/v1/grants/{}/assignments", self.grant(grant)?);
                let one = |s: &Successor| {
                    let person = self.person(&s.member)?;
                    Ok(json!({ "person": person, "roles": s.roles, "accounts": wire(&s.accounts) }))
                };
                let people = people.iter().map(one).collect::<Played<Vec<Value>>>()?;
                let seen = self.town.get(token, &path);
                let tag =
                    (seen.status == 200).then(|| seen.header(axum::http::header::ETAG).to_owned());
                self.with_version(token, "PUT", &path, &json!({ "people": people }), tag)?;
            }
            other => return wrong(format!("{other:?} is not played here")),
        }
        Ok(())
    }

    fn many(&self, bulk: &Bulk) -> Played<(String, Value)> {
        let path = format!("/v1/grants/{}/bulk", self.grant(&bulk.grant)?);
        let people =
            bulk.members.iter().map(|m| self.person(m)).collect::<Played<Vec<String>>>()?;
        let mut terms =
            json!({ "action": bulk.action, "people": people, "accounts": wire(&bulk.accounts) });
        if !bulk.roles.is_empty() {
            terms["roles"] = json!(bulk.roles);
        }
        if bulk.everybody {
            terms["everybody"] = json!(true);
        }
        if let Some(s) = &bulk.successor {
            let person = self.person(&s.member)?;
            terms["successor"] =
                json!({ "person": person, "roles": s.roles, "accounts": wire(&s.accounts) });
        }
        Ok((path, terms))
    }

    fn planned(&self, token: &str, act: &Act) -> Played<Option<Saved>> {
        let Act::ExpectBulk {
            bulk,
            created,
            unchanged,
            ended,
            rule_lost,
            superseded,
            last_user,
            linked,
        } = act
        else {
            return Ok(None);
        };
        let (path, terms) = self.many(bulk)?;
        let plan = self.say(token, "POST", &format!("{path}/summary"), Some(terms))?;
        let who = superseded
            .as_ref()
            .map(|s| s.iter().map(|m| self.person(m)).collect::<Played<Vec<String>>>());
        let ids: Vec<&Value> =
            plan["superseded"].as_array().into_iter().flatten().map(|p| &p["id"]).collect();
        let fits = created.is_none_or(|n| plan["created"] == n)
            && unchanged.is_none_or(|n| plan["unchanged"] == n)
            && ended.is_none_or(|n| plan["ended"] == n)
            && rule_lost.is_none_or(|n| plan["rule_lost"] == n)
            && who.transpose()?.is_none_or(|who| json!(who) == json!(ids))
            && last_user.is_none_or(|last| plan["last_user"] == last)
            && linked.as_ref().is_none_or(|l| plan["linked"] == json!(l));
        if fits { Ok(Some(Saved::Hash(text(&plan["summary"])))) } else { wrong(plan.to_string()) }
    }

    // -- sessions -----------------------------------------------------------------------------------

    fn about_sessions(&self, who: &str, token: &str, act: &Act) -> Played<Option<Saved>> {
        match act {
            Act::Enter { customer, mode, application, grant, reason } => {
                let grant = grant.as_ref().map(|g| self.grant(g)).transpose()?;
                let code = application.as_deref().unwrap_or("boats");
                let Some((audience, _)) = self.town.known.applications.get(code) else {
                    return wrong(format!("no application {code:?}"));
                };
                let mut more = vec![("audience", audience.as_str())];
                more.extend(grant.as_deref().map(|g| ("grant", g)));
                more.extend(mode.as_deref().map(|m| ("mode", m)));
                more.extend(reason.as_deref().map(|r| ("reason", r)));
                let made = self.done(&self.town.enter(token, customer, &more))?;
                let (id, token) = (text(&made["session"]), text(&made["access_token"]));
                Ok(Some(Saved::Session(Stay {
                    id,
                    token,
                    home: self.home(who)?,
                    customer: customer.clone(),
                })))
            }
            Act::CloseSession { session } => {
                let path = format!("/v1/sessions/{}/close", self.stay(session)?.id);
                self.say(token, "POST", &path, None).map(|_| None)
            }
            Act::EndSession { session } => {
                let path = format!("/v1/sessions/{}/end", self.stay(session)?.id);
                self.say(token, "POST", &path, None).map(|_| None)
            }
            other => wrong(format!("{other:?} is not played here")),
        }
    }

    /// What an application is told about one of its sessions.
    pub fn decide(&self, act: &Act) -> Played<String> {
        let Act::Decide { session, permission, account, organisation, application } = act else {
            return wrong("not a decision");
        };
        let stay = self.stay(session)?;
        let key = self.town.decide_key(application.as_deref().unwrap_or("boats"));
        let owner = organisation.clone().unwrap_or(stay.customer);
        let ids = &self.town.known.accounts;
        let (kind, id) = match account {
            None => ("organisation", owner),
            // Another's account has a name here only by its identifier.
            Some(account) if organisation.is_some() => {
                let id = ids.get(&(owner, account.clone()));
                ("account", id.cloned().unwrap_or_else(|| "acct_00000000000000000000000007".into()))
            }
            Some(account) => ("account", account.clone()),
        };
        let told = self.done(&self.town.evaluate(key, &stay.token, permission, kind, &id))?;
        let reason = text(&told["context"]["reason"]);
        if told["decision"] == json!(reason == "allowed") {
            Ok(reason)
        } else {
            wrong(format!("a lie: {told}"))
        }
    }
}

/// Sets a field if there is something to set.
fn put<T: serde::Serialize>(body: &mut Value, field: &str, value: &Option<T>) {
    if let Some(value) = value {
        body[field] = json!(value);
    }
}

fn version(etag: &str, stale: bool) -> String {
    let version: u32 = etag.trim_matches('"').parse().expect("a version");
    format!("\"{}\"", if stale { version - 1 } else { version })
}

/// What a summary shows, with the request that it is about.
fn shown(shows: &Shows, summary: &Value, request: &Value) -> Played {
    let mut faults = Vec::new();
    let mut same = |what: &str, wanted: Option<Value>, got: &Value| {
        if wanted.as_ref().is_some_and(|w| sorted(w) != sorted(got)) {
            faults.push(format!("{what}: expected {wanted:?}, got {got}"));
        }
    };
    let mut roles = Map::new();
    for role in summary["roles"].as_array().into_iter().flatten() {
        roles.insert(text(&role["code"]), role["permissions"].clone());
    }
    same("roles", shows.roles.as_ref().map(|r| json!(r)), &Value::Object(roles));
    same("level", shows.level.as_ref().map(|l| json!(l)), &request["level"]);
    same("partner", shows.partner.as_ref().map(|p| json!(p)), &request["partner"]["company"]);
    same("accounts", shows.accounts.as_ref().map(|a: &AccountNames| wire(a)), &summary["accounts"]);
    same("modes", shows.modes.as_ref().map(|m| json!(m)), &summary["modes"]);
    same("days", shows.days.map(|d| json!(d)), &summary["days"]);
    same("session_minutes", shows.session_minutes.map(|m| json!(m)), &summary["session_minutes"]);
    same(
        "never_delegable",
        shows.never_delegable.as_ref().map(|n| json!(n)),
        &summary["never_delegable"],
    );
    if let Some(partner) = &shows.partner
        && !summary["sentences"].to_string().contains(partner)
    {
        faults.push(format!("no sentence names {partner}"));
    }
    if faults.is_empty() { Ok(()) } else { wrong(faults.join("; ")) }
}
