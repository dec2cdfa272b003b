//! The whole table of who is told what: every route and method for each kind of caller. The table
//! is a file that is reviewed; `COMITY_BLESS=1` writes it anew. A route of `routes.rs` that has no
//! row here fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use axum::body::Body;
use axum::http::{Request, header};
use comity_domain::command::{Door, Principal};
use comity_domain::ids::{PasskeyId, SignInId};
use serde_json::{Value, json};

use crate::doors::{Scene, amending, bulk, terms};
use crate::harness::{PASSWORD, request};

/// One call: a route with what a fitting caller would send.
pub struct Call {
    pub method: &'static str,
    pub route: &'static str,
    pub path: String,
    pub body: Option<Value>,
    pub version: Option<String>,
}

impl Call {
    /// The request, with this body instead of the usual one.
    pub fn request(&self, token: &str, body: Option<&Value>) -> Request<Body> {
        let mut request = request(token, self.method, &self.path, body.or(self.body.as_ref()));
        if self.route.starts_with("/.well-known/") {
            request.headers_mut().insert(header::HOST, "localhost:8080".parse().unwrap());
        }
        if let Some(version) = &self.version {
            request.headers_mut().insert(header::IF_MATCH, version.parse().unwrap());
        }
        request
    }
}

/// Every call, in the order of `routes.rs`.
#[rustfmt::skip]
pub fn calls(scene: &Scene) -> Vec<Call> {
    let there = &scene.there;
    let harbor_help = scene.known.organisations["harbor-help"].clone();
    let audience = &scene.known.applications["boats"].0;
    let member = scene.known.members["sue@marina"].wire();
    let assign = json!({ "roles": ["skipper"], "accounts": ["boat-1"] });
    let settings = json!({ "customer_id_on": true, "session_minutes": 55, "longest_grant_days": 90, "retention_days": 400, "allow_external": true,
        "blocked_partners": [] });
    let policy = json!({ "never_delegable": ["staff:*", "money:payout"], "offers_need_acceptance": true, "session_minutes": 480,
        "longest_grant_days": 366 });
    let terms = terms();
    let evaluation = json!({ "subject": { "type": "partner_session", "id": there.token }, "action": { "name": "boats:read" },
        "resource": { "type": "account", "id": "boat-1" }, "context": {} });
    let whose = json!({ "type": "partner_session", "id": there.token });
    let boat = json!({ "type": "account", "id": "boat-1", "properties": { "organisation": "marina" } });
    let evaluations = json!({ "subject": whose, "action": { "name": "boats:read" }, "evaluations": [{ "resource": boat }] });
    let subjects = json!({ "subject": { "type": "session" }, "action": { "name": "boats:read" }, "resource": boat });
    let resources = json!({ "subject": whose, "action": { "name": "boats:read" }, "resource": { "type": "account" } });
    let actions = json!({ "subject": whose, "resource": boat });
    let level = json!({ "permissions": ["boats:read"], "modes": ["direct"], "longest_grant_days": 30, "session_minutes": 60 });
    let (no, some) = (None, Some);
    let rows: Vec<(&'static str, &'static str, Option<Value>)> = vec![
        ("GET", "/healthz", no),
        ("GET", "/readyz", None),
        ("GET", "/v1/platform/applications", None),
        ("PUT", "/v1/platform/applications/{code}", some(json!({ "audience": audience, "permissions": ["boats:*"] }))),
        ("PUT", "/v1/platform/applications/{code}/client-keys", Some(json!({ "keys": [{ "kty": "EC", "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" }] }))),
        ("GET", "/v1/platform/signing-keys", None),
        ("POST", "/v1/platform/signing-keys/rotate", None),
        ("POST", "/v1/platform/signing-keys/{kid}/compromise", None),
        ("GET", "/v1/platform/keys", None),
        ("POST", "/v1/platform/keys", Some(json!({ "use": "provision" }))),
        ("DELETE", "/v1/platform/keys/{key}", None),
        ("GET", "/v1/platform/policy", None),
        ("PUT", "/v1/platform/policy", Some(policy)),
        ("GET", "/v1/platform/levels", None),
        ("PUT", "/v1/platform/levels/{code}", Some(level)),
        ("GET", "/v1/platform/halts", None),
        ("POST", "/v1/platform/halts/{halt}/lift", None),
        ("GET", "/v1/platform/webhooks", None),
        ("POST", "/v1/platform/webhooks", Some(json!({ "url": "https://hooks.example.com/comity", "events": ["grant_ended"] }))),
        ("GET", "/v1/platform/webhooks/{webhook}", None),
        ("PUT", "/v1/platform/webhooks/{webhook}", Some(json!({ "url": "https://hooks.example.com/comity", "events": ["grant_ended"] }))),
        ("DELETE", "/v1/platform/webhooks/{webhook}", None),
        ("POST", "/v1/platform/webhooks/{webhook}/rotate", None),
        ("POST", "/v1/platform/webhooks/{webhook}/test", None),
        ("GET", "/v1/platform/webhooks/{webhook}/deliveries", None),
        ("POST", "/v1/platform/webhooks/{webhook}/redeliver", Some(json!({ "since": "2026-01-01T00:00:00Z" }))),
        ("PUT", "/v1/organisations/{organisation}/standing", Some(json!({ "standing": "suspended" }))),
        ("GET", "/v1/organisations/{organisation}", None),
        ("PUT", "/v1/organisations/{organisation}", Some(json!({ "name": "Marina Bay II" }))),
        ("GET", "/v1/organisations/{organisation}/units", None),
        ("PUT", "/v1/organisations/{organisation}/units/{id}", Some(json!({ "name": "Pier", "active": true }))),
        ("GET", "/v1/organisations/{organisation}/accounts", None),
        ("PUT", "/v1/organisations/{organisation}/accounts/{id}", Some(json!({ "name": "Boat" }))),
        ("PUT", "/v1/organisations/{organisation}/accounts/{id}/linked-group", Some(json!({ "linked_group": "pair-7" }))),
        ("DELETE", "/v1/organisations/{organisation}/accounts/{id}", None),
        ("GET", "/v1/organisations/{organisation}/roles", None),
        ("PUT", "/v1/organisations/{organisation}/roles/{id}", Some(json!({ "name": "Clerk", "permissions": ["bookings:read"] }))),
        ("DELETE", "/v1/organisations/{organisation}/roles/{id}", None),
        ("GET", "/v1/organisations/{organisation}/members", None),
        ("PUT", "/v1/organisations/{organisation}/members/{id}", Some(member)),
        ("DELETE", "/v1/organisations/{organisation}/members/{id}", None),
        ("POST", "/v1/organisations/{organisation}/members/{id}/enrolment", None),
        ("POST", "/v1/organisations/{organisation}/members/{id}/reset-factors", None),
        ("POST", "/v1/organisations/{organisation}/members/{id}/restore", None),
        ("GET", "/v1/organisations/{organisation}/members/{id}/access", None),
        ("POST", "/v1/organisations/{organisation}/members/{id}/access/end", None),
        ("GET", "/v1/organisations/{organisation}/members/{id}/doors", None),
        ("POST", "/v1/erasures", Some(json!({ "account": comity_domain::ids::AccountId(7) }))),
        ("GET", "/v1/imports", None),
        ("POST", "/v1/imports", None),
        ("GET", "/v1/imports/{import}", None),
        ("GET", "/v1/imports/{import}/refusals", None),
        ("POST", "/v1/sign-in", Some(json!({ "email": "ana@marina.example", "password": PASSWORD }))),
        ("POST", "/v1/sign-in/second-factor", Some(json!({ "ticket": "of nobody", "code": "287082" }))),
        ("POST", "/v1/sign-in/passkey/begin", None),
        ("POST", "/v1/sign-in/passkey/finish", Some(json!({ "ceremony": "of nobody", "passkey": {} }))),
        ("POST", "/v1/sign-out", Some(json!({ "everywhere": false }))),
        ("POST", "/v1/enrol", Some(json!({ "token": there.enrolment, "password": PASSWORD }))),
        ("GET", "/v1/me", None),
        ("GET", "/v1/me/tenants", None),
        ("POST", "/v1/me/step-up", Some(json!({ "password": PASSWORD }))),
        ("PUT", "/v1/me/password", Some(json!({ "current_password": PASSWORD, "password": "incorrect zebra charger clip" }))),
        ("GET", "/v1/me/sign-ins", None),
        ("DELETE", "/v1/me/sign-ins/{sign_in}", None),
        ("GET", "/v1/me/factors", None),
        ("POST", "/v1/me/totp", None),
        ("DELETE", "/v1/me/totp", None),
        ("POST", "/v1/me/totp/confirm", Some(json!({ "setup": "of nobody", "code": "287082" }))),
        ("POST", "/v1/me/recovery-codes", None),
        ("GET", "/v1/me/passkeys", None),
        ("POST", "/v1/me/passkeys", Some(json!({ "ceremony": "of nobody", "name": "Blue", "passkey": {} }))),
        ("POST", "/v1/me/passkeys/begin", None),
        ("PUT", "/v1/me/passkeys/{passkey}", Some(json!({ "name": "Blue" }))),
        ("DELETE", "/v1/me/passkeys/{passkey}", None),
        ("GET", "/v1/organisations/{organisation}/customer-id", None),
        ("POST", "/v1/organisations/{organisation}/customer-id/rotate", None),
        ("GET", "/v1/organisations/{organisation}/settings", None),
        ("PUT", "/v1/organisations/{organisation}/settings", Some(settings)),
        ("GET", "/v1/organisations/{organisation}/locks", None),
        ("POST", "/v1/organisations/{organisation}/locks", Some(json!({ "organisation": harbor_help }))),
        ("DELETE", "/v1/locks/{lock}", None),
        ("GET", "/v1/organisations/{organisation}/notices", None),
        ("POST", "/v1/organisations/{organisation}/notices/read", Some(json!({ "up_to": 3 }))),
        ("GET", "/v1/organisations/{organisation}/webhooks", None),
        ("POST", "/v1/organisations/{organisation}/webhooks", Some(json!({ "url": "https://hooks.example.com/comity", "events": ["grant_ended"] }))),
        ("GET", "/v1/organisations/{organisation}/webhooks/{webhook}", None),
        ("PUT", "/v1/organisations/{organisation}/webhooks/{webhook}", Some(json!({ "url": "https://hooks.example.com/comity", "events": ["grant_ended"] }))),
        ("DELETE", "/v1/organisations/{organisation}/webhooks/{webhook}", None),
        ("POST", "/v1/organisations/{organisation}/webhooks/{webhook}/rotate", None),
        ("POST", "/v1/organisations/{organisation}/webhooks/{webhook}/test", None),
        ("GET", "/v1/organisations/{organisation}/webhooks/{webhook}/deliveries", None),
        ("POST", "/v1/organisations/{organisation}/webhooks/{webhook}/redeliver", Some(json!({ "since": "2026-01-01T00:00:00Z" }))),
        ("GET", "/v1/organisations/{organisation}/partner-id", None),
        ("POST", "/v1/organisations/{organisation}/partner-id/rotate", None),
        ("GET", "/v1/organisations/{organisation}/requests", None),
        ("POST", "/v1/organisations/{organisation}/requests", Some(json!({ "customer_id": there.fjord_code, "level": "partner",
            "modes": ["direct"], "reason": "Hull" }))),
        ("GET", "/v1/requests/{request}", None),
        ("POST", "/v1/requests/{request}/summary", Some(terms.clone())),
        ("POST", "/v1/requests/{request}/approve", Some(json!({ "summary": there.summary, "terms": terms }))),
        ("POST", "/v1/requests/{request}/deny", Some(json!({ "reason": "No" }))),
        ("POST", "/v1/requests/{request}/cancel", None),
        ("POST", "/v1/organisations/{organisation}/offers", Some(json!({ "partner": harbor_help, "terms": terms,
            "summary": there.offering, "reason": "You look after our boats" }))),
        ("POST", "/v1/organisations/{organisation}/offers/summary", Some(json!({ "partner": harbor_help, "terms": terms }))),
        ("POST", "/v1/requests/{request}/accept", None),
        ("POST", "/v1/requests/{request}/decline", Some(json!({ "reason": "No", "message": "Not this year" }))),
        ("GET", "/v1/organisations/{organisation}/grants", None),
        ("GET", "/v1/grants/{grant}", None),
        ("POST", "/v1/organisations/{organisation}/grants/confirm", Some(json!({ "grants": [there.grant] }))),
        ("POST", "/v1/grants/{grant}/confirm", None),
        ("POST", "/v1/grants/{grant}/revoke", None),
        ("POST", "/v1/grants/{grant}/narrow", Some(json!({ "modes": ["view"] }))),
        ("POST", "/v1/grants/{grant}/amend", Some(json!({ "summary": there.amending, "terms": amending() }))),
        ("POST", "/v1/grants/{grant}/amend/summary", Some(amending())),
        ("POST", "/v1/grants/{grant}/give-up", None),
        ("GET", "/v1/grants/{grant}/assignments", None),
        ("PUT", "/v1/grants/{grant}/assignments", Some(json!({ "people": [
            { "person": scene.person("hugo@harbor-help"), "roles": ["clerk"] }] }))),
        ("GET", "/v1/grants/{grant}/auto", None),
        ("PUT", "/v1/grants/{grant}/auto", Some(json!({ "auto": { "roles": ["clerk"] }, "token": there.auto }))),
        ("POST", "/v1/grants/{grant}/auto/preview", Some(json!({ "auto": { "roles": ["clerk"] } }))),
        ("POST", "/v1/grants/{grant}/assignments/preview", Some(json!({ "people": [
            { "person": scene.person("hugo@harbor-help"), "roles": ["clerk"] }] }))),
        ("POST", "/v1/grants/{grant}/candidates", Some(json!({ "action": "add", "accounts": ["boat-1"], "q": "h" }))),
        ("POST", "/v1/grants/{grant}/bulk", Some(json!({ "summary": there.bulk, "terms": bulk() }))),
        ("POST", "/v1/grants/{grant}/bulk/summary", Some(bulk())),
        ("PUT", "/v1/grants/{grant}/assignments/{person}", Some(assign)),
        ("DELETE", "/v1/grants/{grant}/assignments/{person}", None),
        ("GET", "/v1/grants/{grant}/invitations", None),
        ("POST", "/v1/grants/{grant}/invitations", Some(json!({ "email": "kai@elsewhere.example", "roles": ["clerk"] }))),
        ("PUT", "/v1/grants/{grant}/invitations/{invitation}", Some(json!({ "roles": ["skipper"] }))),
        ("DELETE", "/v1/grants/{grant}/invitations/{invitation}", None),
        ("POST", "/v1/grants/{grant}/invitations/{invitation}/resend", None),
        ("POST", "/v1/grants/{grant}/invitations/{invitation}/approve", None),
        ("POST", "/v1/invitations/look", Some(json!({ "token": there.invited_by_link }))),
        ("POST", "/v1/invitations/accept", Some(json!({ "token": there.invited_by_link }))),
        ("POST", "/v1/invitations/decline", Some(json!({ "token": there.invited_by_link }))),
        ("POST", "/v1/invitations/register", Some(json!({ "token": there.invited_by_link, "name": "Lea", "password": PASSWORD }))),
        ("POST", "/v1/invitations/stop", Some(json!({ "token": "of no mail" }))),
        ("GET", "/v1/organisations/{organisation}/sessions", None),
        ("GET", "/v1/organisations/{organisation}/sessions/{session}", None),
        ("POST", "/v1/sessions/{session}/close", None),
        ("POST", "/v1/sessions/{session}/end", None),
        ("GET", "/v1/events", None),
        ("GET", "/v1/audit/checkpoints", None),
        ("GET", "/v1/audit/checkpoints/latest", None),
        ("GET", "/openapi.json", None),
        ("GET", "/docs", None),
        ("GET", "/docs/{file}", None),
        ("POST", "/oauth/token", Some(json!({}))),
        ("POST", "/oauth/introspect", Some(json!({}))),
        ("POST", "/oauth/revoke", Some(json!({}))),
        ("GET", "/oauth/jwks", None),
        ("GET", "/.well-known/oauth-authorization-server", None),
        ("GET", "/.well-known/oauth-protected-resource", None),
        ("POST", "/access/v1/evaluation", Some(evaluation)),
        ("POST", "/access/v1/evaluations", Some(evaluations)),
        ("POST", "/access/v1/search/subject", Some(subjects)),
        ("POST", "/access/v1/search/resource", Some(resources)),
        ("POST", "/access/v1/search/action", Some(actions)),
        ("GET", "/.well-known/authzen-configuration", None),
        ("GET", "/ssf/stream", None),
        ("POST", "/ssf/stream", Some(json!({}))),
        ("PATCH", "/ssf/stream", Some(json!({ "stream_id": there.stream, "description": "Ends sessions" }))),
        ("PUT", "/ssf/stream", Some(json!({ "stream_id": there.stream, "description": "Ends sessions" }))),
        ("DELETE", "/ssf/stream", None),
        ("GET", "/ssf/status", None),
        ("POST", "/ssf/status", Some(json!({ "stream_id": there.stream, "status": "paused" }))),
        ("POST", "/ssf/verify", Some(json!({ "stream_id": there.stream, "state": "here" }))),
        ("POST", "/ssf/poll/{stream}", Some(json!({ "returnImmediately": true }))),
        ("GET", "/.well-known/ssf-configuration", None),
    ];
    rows.into_iter().map(|(method, route, body)| {
        let asks = (method, route) == ("POST", "/v1/organisations/{organisation}/requests") || route.contains("/partner-id");
        let id = ["units", "accounts", "roles", "members"].into_iter().zip(["north-pier", "boat-3", "clerk", "sue"])
            .find(|(noun, _)| route.contains(&format!("/{noun}/"))).map_or("?", |(_, id)| id);
        let id = if route.ends_with("enrolment") { "nina" } else { id };
        let path = route
            .replace("{organisation}", if asks { "harbor-help" } else { "marina" })
            .replace("{id}", id)
            .replace("{code}", if route.contains("levels") { "surveyor" } else { "boats" })
            .replace("{key}", &there.key)
            .replace("{kid}", &there.kid)
            .replace("{halt}", &there.halt)
            .replace("{webhook}", if route.starts_with("/v1/platform") { &there.platform_webhook } else { &there.webhook })
            .replace("{stream}", &there.stream)
            .replace("{sign_in}", &own_sign_in(scene, "ana@marina"))
            .replace("{passkey}", &PasskeyId(9).to_string())
            .replace("{lock}", &there.lock)
            .replace("{request}", if answers_offer(route) { &there.offer } else { &there.asked })
            .replace("{grant}", &there.grant)
            .replace("{person}", scene.person("hana@harbor-help"))
            .replace("{session}", &there.session)
            .replace("{invitation}", &there.invitation)
            .replace("{file}", "page.js");
        let whose = route == "/v1/events" || route.starts_with("/v1/audit/");
        let path = if whose { format!("{path}?organisation=marina") } else { path };
        let streams = matches!((method, route), ("GET" | "DELETE", "/ssf/stream") | ("GET", "/ssf/status"));
        let path = if streams { format!("{path}?stream_id={}", there.stream) } else { path };
        // What somebody else may have edited is replaced only by who saw it.
        let version = match (method, route) {
            ("PUT", "/v1/organisations/{organisation}/settings") => Some(there.version.clone()),
            ("PUT", "/v1/platform/policy" | "/v1/grants/{grant}/assignments" | "/v1/grants/{grant}/assignments/{person}" | "/v1/grants/{grant}/invitations/{invitation}") => Some("*".into()),
            _ => None,
        };
        Call { method, route, path, body, version }
    }).collect()
}

fn answers_offer(route: &str) -> bool {
    route.ends_with("/accept") || route.ends_with("/decline")
}

/// An application has one stream at most: before it makes one, the one that is there goes.
/// The sign-in by which a member of the town calls.
pub fn own_sign_in(scene: &Scene, who: &str) -> String {
    match scene.app.caller(scene.at(who), Door::Api).map(|c| c.principal) {
        Some(Principal::Person { sign_in, .. }) => sign_in.to_string(),
        _ => SignInId(9).to_string(), // it was ended
    }
}

pub fn make_room(scene: &Scene, call: &Call, caller: &str) {
    if (call.method, call.route, caller) == ("POST", "/ssf/stream", "dec") {
        let path = format!("/ssf/stream?stream_id={}", scene.there.stream);
        assert_eq!(scene.call(scene.decide_key("boats"), "DELETE", &path, None).status, 204);
    }
}

/// The callers, in the order of the columns.
pub const CALLERS: [(&str, &str); 11] = [
    ("none", "no token"),
    ("oper", "operate key"),
    ("prov", "provision key"),
    ("dec", "decide key"),
    ("cAdm", "customer Admin, fresh sign-in"),
    ("cSup", "customer Customer Support"),
    ("cMem", "customer member without a role"),
    ("pAdm", "provider Admin"),
    ("pMem", "provider member on the grant, without a role"),
    ("out", "Admin of an unrelated organisation"),
    ("sess", "partner session of that provider member, the one that {session} names"),
];

pub fn token<'s>(scene: &'s Scene, caller: &str) -> &'s str {
    match caller {
        "none" => "",
        "oper" => &scene.known.operate,
        "prov" => &scene.known.provision,
        "dec" => scene.decide_key("boats"),
        "cAdm" => scene.at("ana@marina"),
        "cSup" => scene.at("sue@marina"),
        "cMem" => scene.at("max@marina"),
        "pAdm" => scene.at("pia@harbor-help"),
        "pMem" => scene.at("hugo@harbor-help"),
        "out" => scene.at("quinn@quayside"),
        _ => &scene.there.token,
    }
}

/// Every method and path of `routes.rs`.
pub fn routed() -> BTreeSet<(String, String)> {
    let source = include_str!("../../src/routes.rs");
    let mut found = BTreeSet::new();
    for part in source.split(".route(").skip(1) {
        let path = part.split('"').nth(1).expect("a path");
        // The methods stand between this route and the next.
        let methods =
            part.split("\")").next().and_then(|_| part.split_once("\",")).expect("methods").1;
        for (verb, name) in [
            ("get(", "GET"),
            ("put(", "PUT"),
            ("post(", "POST"),
            ("delete(", "DELETE"),
            ("patch(", "PATCH"),
        ] {
            let calls = methods.match_indices(verb).any(|(at, _)| {
                let before = methods[..at].chars().last();
                before.is_none_or(|c| c == ' ' || c == '.' || c == '\n')
            });
            if calls {
                found.insert((name.to_owned(), path.to_owned()));
            }
        }
        assert!(found.iter().any(|(_, p)| p == path), "{path}: with a method that is read here");
    }
    found
}

#[test]
fn every_route_has_a_row() {
    let scene = Scene::new();
    let rows: BTreeSet<_> =
        calls(&scene).iter().map(|c| (c.method.to_owned(), c.route.to_owned())).collect();
    assert_eq!(routed(), rows, "left: routes.rs; right: tests/it/may_routes.rs");
    assert!(rows.len() >= 60);
}

#[test]
fn the_table_is_the_one_that_was_reviewed() {
    let mut scene = Scene::new();
    let mut table = String::from(
        "What each caller is told, by route. The organisation is the customer's but for asking, the session is\n\
         the partner session's own, and bodies are what a fitting caller would send. At /oauth/token the caller is\n\
         the subject_token, at /oauth/introspect the secret of the application boats, at /oauth/revoke what is\n\
         given back.\n\n",
    );
    for (short, long) in CALLERS {
        writeln!(table, "  {short:<5} {long}").unwrap();
    }
    let heads: Vec<String> = CALLERS.iter().map(|(short, _)| format!("{short:<5}")).collect();
    writeln!(table, "\n{:<66}{}", "route", heads.concat().trim_end()).unwrap();
    for at in 0..calls(&scene).len() {
        let mut cells: BTreeMap<&str, u16> = BTreeMap::new();
        for (caller, _) in CALLERS {
            let call = calls(&scene).swap_remove(at);
            make_room(&scene, &call, caller);
            let token = token(&scene, caller);
            let reply = match call.route {
                "/oauth/token" => scene.enter(token, "marina", &[]),
                "/oauth/introspect" => scene.introspect("boats", token, &scene.there.token),
                "/oauth/revoke" => scene.form(call.route, None, &[("token", token)]),
                _ => scene.send(call.request(token, None)),
            };
            cells.insert(caller, reply.status);
            if call.method != "GET" && reply.status < 300 {
                scene = Scene::new();
            }
        }
        let call = calls(&scene).swap_remove(at);
        let cells: Vec<String> = CALLERS.iter().map(|(c, _)| format!("{:<5}", cells[c])).collect();
        let line = format!("{:<7}{:<59}{}", call.method, call.route, cells.concat());
        writeln!(table, "{}", line.trim_end()).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/output/routes.txt");
    if std::env::var_os("COMITY_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(&file).unwrap_or_default();
    let differs: Vec<(&str, &str)> =
        reviewed.lines().zip(table.lines()).filter(|(a, b)| a != b).collect();
    assert!(reviewed == table, "COMITY_BLESS=1 writes it anew; (reviewed, now): {differs:#?}");
}
