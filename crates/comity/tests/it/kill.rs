//! `kill -9` under load, and what must hold after it: the log verifies, every acknowledged write
//! is there, no answered call is uncounted, and what was ended stays ended.
//!
//! `COMITY_KILL_ROUNDS` says how often (default 5). Each round kills the server at a random time
//! and goes on with the data that it left.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Server, call, run, string, text};

const AUDIENCE: &str = "https://api.boats.example";
const PASSWORD: &str = "a boat for everyone";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// By how much each crash may over-count a session, as `app::calls` states it.
const OVER: u64 = 1_024 + 256;

/// Some number, another one each time.
fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// What was promised to callers so far, over all rounds.
#[derive(Default)]
struct Promises {
    members: BTreeSet<String>,
    asked: BTreeSet<String>,
    cancelled: BTreeSet<String>,
    /// Token of a session, and the reason that every decision must give.
    ended: BTreeMap<String, &'static str>,
    /// Session, how many of its calls were answered, and how many crashes came after its start.
    answered: BTreeMap<String, (u64, u64)>,
}

/// The keys, and who is who.
struct Cast {
    provision: String,
    decide: String,
    harbour: String,
    tess: String,
}

fn provision(server: &mut Server) -> Cast {
    let operate = server.read_until("cmt_key_").trim().to_owned();
    let application = json!({ "audience": AUDIENCE, "permissions": ["*"] });
    server.expect(200, "PUT", "/v1/platform/applications/boats", &operate, application);
    let key =
        |body| string(&server.expect(201, "POST", "/v1/platform/keys", &operate, body), "/secret");
    let provision = key(json!({ "use": "provision" }));
    let decide = key(json!({ "use": "decide", "application": "boats" }));
    let put = |status, path: &str, body| {
        server.expect(status, "PUT", &format!("/v1/organisations/{path}"), &provision, body)
    };
    let harbour = string(&put(201, "harbour", json!({ "name": "Harbour" })), "/id");
    for (organisation, name) in [("lago", "Lago"), ("brokers", "Brokers"), ("wake", "Wake")] {
        put(201, organisation, json!({ "name": name }));
    }
    put(201, "harbour/accounts/pier", json!({ "name": "Pier" }));
    put(
        201,
        "harbour/roles/bookings",
        json!({ "name": "Bookings", "permissions": ["bookings:*"] }),
    );
    let mut tess = String::new();
    for (organisation, who) in [
        ("harbour", "ana"),
        ("lago", "luca"),
        ("brokers", "sam"),
        ("brokers", "tess"),
        ("wake", "wanda"),
    ] {
        let portal = (who != "tess").then_some("admin");
        let email = format!("{who}@{organisation}.example");
        let member =
            json!({ "name": who, "email": email, "email_verified": true, "portal_role": portal });
        let path = format!("{organisation}/members/{who}");
        let person = string(&put(201, &path, member), "/person");
        let enrol = server.expect(
            201,
            "POST",
            &format!("/v1/organisations/{path}/enrolment"),
            &provision,
            Value::Null,
        );
        server.expect(
            204,
            "POST",
            "/v1/enrol",
            "",
            json!({ "token": enrol["token"], "password": PASSWORD }),
        );
        if who == "tess" {
            tess = person;
        }
    }
    Cast { provision, decide, harbour, tess }
}

fn sign_in(server: &Server, email: &str) -> String {
    let body = json!({ "email": email, "password": PASSWORD });
    string(&server.expect(200, "POST", "/v1/sign-in", "", body), "/token")
}

fn customer_id(server: &Server, organisation: &str, admin: &str) -> String {
    let path = format!("/v1/organisations/{organisation}/customer-id");
    string(&server.expect(200, "GET", &path, admin, Value::Null), "/customer_id")
}

fn wish(customer_id: &str) -> Value {
    json!({ "customer_id": customer_id, "level": "partner", "modes": ["direct"], "days": 7, "reason": "load" })
}

/// Asks, approves and assigns; returns the grant.
fn grant(server: &Server, cast: &Cast, ana: &str, sam: &str, code: &str) -> String {
    let asked = server.expect(201, "POST", "/v1/organisations/brokers/requests", sam, wish(code));
    let request = format!("/v1/requests/{}", string(&asked, "/id"));
    let terms = json!({ "roles": ["bookings"] });
    let summary = server.expect(200, "POST", &format!("{request}/summary"), ana, terms.clone());
    let body = json!({ "summary": summary["summary"], "terms": terms });
    let approved = server.expect(200, "POST", &format!("{request}/approve"), ana, body);
    let grant = string(&approved, "/grant");
    let path = format!("/v1/grants/{grant}/assignments/{}", cast.tess);
    server.expect(200, "PUT", &path, sam, json!({ "roles": ["bookings"] }));
    grant
}

/// Enters under a grant; returns the session and its token.
fn enter(server: &Server, cast: &Cast, tess: &str, grant: &str) -> (String, String) {
    let form = format!(
        "grant_type={EXCHANGE}&subject_token_type={ACCESS_TOKEN}&subject_token={tess}&audience={AUDIENCE}\
         &resource=urn:comity:organisation:{}&grant={grant}",
        cast.harbour
    );
    let kind = "application/x-www-form-urlencoded";
    let (status, answer) = call(&server.address, "POST", "/oauth/token", "", kind, &form).unwrap();
    assert_eq!(status, 200, "{answer}");
    (string(&answer, "/session"), string(&answer, "/access_token"))
}

fn question(token: &str) -> String {
    json!({
        "subject": { "type": "partner_session", "id": token },
        "action": { "name": "bookings:read" },
        "resource": { "type": "account", "id": "pier" },
    })
    .to_string()
}

/// The decision and its reason; `None` if no whole answer came.
fn decide(server: &Server, cast: &Cast, question: &str) -> Option<(bool, String)> {
    match server.call("POST", "/access/v1/evaluation", &cast.decide, question) {
        Ok((200, answer)) => {
            Some((answer["decision"].as_bool().unwrap(), string(&answer, "/context/reason")))
        }
        Ok((503, _)) | Err(_) => None, // not counted, not answered
        Ok((status, answer)) => panic!("{status} {answer}"),
    }
}

/// One round of load up to the kill.
fn load(server: Server, cast: &Cast, round: u64, promises: &mut Promises) {
    let (ana, sam) =
        (sign_in(&server, "ana@harbour.example"), sign_in(&server, "sam@brokers.example"));
    let (tess, wanda) =
        (sign_in(&server, "tess@brokers.example"), sign_in(&server, "wanda@wake.example"));
    let luca = sign_in(&server, "luca@lago.example");
    let (code, lago) = (customer_id(&server, "harbour", &ana), customer_id(&server, "lago", &luca));
    let (kept, lost) =
        (grant(&server, cast, &ana, &sam, &code), grant(&server, cast, &ana, &sam, &code));
    let (busy_session, busy) = enter(&server, cast, &tess, &kept);
    let (closed_session, closed) = enter(&server, cast, &tess, &kept);
    let (_, revoked) = enter(&server, cast, &tess, &lost);

    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let seen = Mutex::new(std::mem::take(promises));
    let server_ref = &server;
    let going = || !over.load(Ordering::Relaxed);
    std::thread::scope(|threads| {
        // Members: two threads.
        for thread in 0..2 {
            let (seen, going) = (&seen, &going);
            threads.spawn(move || {
                for n in 0.. {
                    let member = format!("m-{round}-{thread}-{n}");
                    let body =
                        json!({ "name": "Somebody", "email": format!("{member}@harbour.example") })
                            .to_string();
                    let path = format!("/v1/organisations/harbour/members/{member}");
                    match server_ref.call("PUT", &path, &cast.provision, &body) {
                        Ok((201, _)) => drop(seen.lock().unwrap().members.insert(member)),
                        Ok((503, _)) | Err(_) => {}
                        Ok((status, answer)) => panic!("{status} {answer}"),
                    }
                    if !going() {
                        return;
                    }
                }
            });
        }
        // Requests: asked and cancelled.
        threads.spawn(|| {
            let ask = wish(&lago).to_string();
            while going() {
                let Ok((status, asked)) =
                    server_ref.call("POST", "/v1/organisations/wake/requests", &wanda, &ask)
                else {
                    continue;
                };
                assert!(matches!(status, 201 | 409 | 503), "{asked}");
                if status != 201 {
                    continue; // 409: the one before the kill, still pending
                }
                let id = string(&asked, "/id");
                seen.lock().unwrap().asked.insert(id.clone());
                if let Ok((200, _)) =
                    server_ref.call("POST", &format!("/v1/requests/{id}/cancel"), &wanda, "")
                {
                    seen.lock().unwrap().cancelled.insert(id);
                }
            }
        });
        // Decisions: two threads on one session.
        for _ in 0..2 {
            threads.spawn(|| {
                let asked = question(&busy);
                while going() {
                    if let Some((yes, reason)) = decide(server_ref, cast, &asked) {
                        assert!(yes, "{reason}");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // Endings: one by the customer, one by the user, each at some time.
        for (path, by, token, reason) in [
            (format!("/v1/grants/{lost}/revoke"), &ana, &revoked, "revoked"),
            (format!("/v1/sessions/{closed_session}/close"), &tess, &closed, "session_closed"),
        ] {
            let (seen, going) = (&seen, &going);
            threads.spawn(move || {
                std::thread::sleep(Duration::from_millis(random() % 1_000));
                if let Ok((200 | 204, _)) = server_ref.call("POST", &path, by, "") {
                    seen.lock().unwrap().ended.insert(token.clone(), reason);
                    let asked = question(token);
                    while going() {
                        if let Some((yes, why)) = decide(server_ref, cast, &asked) {
                            assert!(!yes && why == reason, "after its ending: {yes} {why}");
                        }
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300 + random() % 1_200));
        let pid = server_ref.pid();
        let killed = std::process::Command::new("sh")
            .args(["-c", &format!("kill -9 {pid}")])
            .status()
            .unwrap();
        assert!(killed.success());
        std::thread::sleep(Duration::from_millis(50)); // some calls find nobody
        over.store(true, Ordering::Relaxed);
    });
    *promises = seen.into_inner().unwrap();
    promises.answered.insert(busy_session, (answered.into_inner(), 0));
    server.wait_for_the_kill();
}

/// A session with three calls that is over before anything bad happens.
fn quiet_session(server: &Server, cast: &Cast) -> String {
    let (ana, sam) =
        (sign_in(server, "ana@harbour.example"), sign_in(server, "sam@brokers.example"));
    let tess = sign_in(server, "tess@brokers.example");
    let grant = grant(server, cast, &ana, &sam, &customer_id(server, "harbour", &ana));
    let (session, token) = enter(server, cast, &tess, &grant);
    for _ in 0..3 {
        assert_eq!(decide(server, cast, &question(&token)), Some((true, "allowed".into())));
    }
    server.expect(204, "POST", &format!("/v1/sessions/{session}/close"), &tess, Value::Null);
    session
}

/// Everything of a list that goes over pages.
fn all(server: &Server, path: &str, bearer: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page =
            server.expect(200, "GET", &format!("{path}limit=200{cursor}"), bearer, Value::Null);
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

/// What was promised is there.
fn check(folder: &Path, server: &Server, cast: &Cast, promises: &mut Promises) {
    let verified = run(folder, &["audit", "verify", "--data", "data"]);
    let out = text(&verified.stdout);
    assert!(
        verified.status.success() && out.contains("every leaf and root fits"),
        "beside the server: {out}"
    );

    let members = all(server, "/v1/organisations/harbour/members?", &cast.provision);
    let there: BTreeSet<String> = members.iter().map(|m| string(m, "/external_id")).collect();
    let lost: Vec<_> = promises.members.difference(&there).collect();
    assert!(lost.is_empty(), "acknowledged members are gone: {lost:?}");

    let wanda = sign_in(server, "wanda@wake.example");
    let requests = all(server, "/v1/organisations/wake/requests?direction=sent&", &wanda);
    let requests: BTreeMap<String, String> =
        requests.iter().map(|r| (string(r, "/id"), string(r, "/state"))).collect();
    for id in &promises.asked {
        assert!(requests.contains_key(id), "an acknowledged request is gone: {id}");
    }
    for id in &promises.cancelled {
        assert_eq!(requests.get(id).map(String::as_str), Some("cancelled"), "{id}");
    }

    for (token, reason) in &promises.ended {
        let answer = decide(server, cast, &question(token)).expect("an answer");
        assert_eq!((answer.0, answer.1.as_str()), (false, *reason), "what was ended came back");
    }

    let ana = sign_in(server, "ana@harbour.example");
    for (session, (answered, crashes)) in &mut promises.answered {
        *crashes += 1;
        let path = format!("/v1/organisations/harbour/sessions/{session}");
        let shown = server.expect(200, "GET", &path, &ana, Value::Null);
        let counted = shown["api_calls"].as_u64().unwrap();
        assert!(counted >= *answered, "{counted} calls counted, {answered} answered");
        assert!(
            counted <= *answered + *crashes * OVER,
            "{counted} calls counted, {answered} answered, {crashes} crashes: beyond the bound"
        );
        assert!(
            shown["at_most"].as_bool().unwrap(),
            "a crash left it open, and nobody is told: {shown}"
        );
    }
    // Every grant is ended, so that the next round has room for its sessions.
    let grants = all(server, "/v1/organisations/harbour/grants?state=active&", &ana);
    for grant in grants {
        server.expect(
            200,
            "POST",
            &format!("/v1/grants/{}/revoke", string(&grant, "/id")),
            &ana,
            Value::Null,
        );
    }
    // And the request that was pending when the server died.
    for (id, _) in requests.iter().filter(|(_, state)| *state == "pending") {
        server.expect(200, "POST", &format!("/v1/requests/{id}/cancel"), &wanda, Value::Null);
    }
}

#[test]
fn t39_inv22_kill_9_under_load_loses_nothing_that_was_acknowledged() {
    let rounds =
        std::env::var("COMITY_KILL_ROUNDS").map_or(5, |n| n.parse().expect("COMITY_KILL_ROUNDS"));
    let folder = tempfile::tempdir().unwrap();
    let mut promises = Promises::default();
    let mut server = Server::serve(folder.path());
    let cast = provision(&mut server);
    for round in 0..rounds {
        load(server, &cast, round, &mut promises);
        let verified = run(folder.path(), &["audit", "verify", "--data", "data"]);
        assert!(verified.status.success(), "as the kill left it: {}", text(&verified.stdout));
        server = Server::serve(folder.path());
        check(folder.path(), &server, &cast, &mut promises);
    }
    let (status, printed) = server.terminate(Duration::from_secs(5));
    assert!(status.success(), "{printed}");
    let (members, ended) = (promises.members.len(), promises.ended.len());
    let answered: u64 = promises.answered.values().map(|(answered, _)| answered).sum();
    assert!(members > 0 && answered > 0, "there was no load");
    println!(
        "{rounds} kills: {members} members, {} requests, {answered} decisions, {ended} endings",
        promises.asked.len()
    );
}

/// Waits longer than it takes the books of a session to be closed (two sweeps of `app::calls`).
#[test]
fn inv22_what_was_over_before_a_crash_stays_counted_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::serve(folder.path());
    let cast = provision(&mut server);
    let quiet = quiet_session(&server, &cast);
    std::thread::sleep(Duration::from_secs(11));
    server.kill();
    for _ in 0..2 {
        let server = Server::serve(folder.path());
        let ana = sign_in(&server, "ana@harbour.example");
        let path = format!("/v1/organisations/harbour/sessions/{quiet}");
        let shown = server.expect(200, "GET", &path, &ana, Value::Null);
        assert_eq!(shown["api_calls"], json!(3), "{shown}");
        assert_eq!(shown["at_most"], json!(false), "{shown}");
        server.kill();
    }
}
