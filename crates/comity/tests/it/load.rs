//! Load on a server while something breaks, and what must hold after it: every acknowledged write is
//! there, what was answered as not done is not, no answered call is uncounted, and what was ended
//! stays ended.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Server, call, string};
use crate::record::Run;

const AUDIENCE: &str = "https://api.boats.example";
const PASSWORD: &str = "a boat for everyone";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// By how much each crash may over-count a session, as `app::calls` states it.
const OVER: u64 = 1_024 + 256;

/// Some number, another one each time.
pub fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// What was promised to callers so far, over all rounds.
#[derive(Default)]
pub struct Promises {
    pub members: BTreeSet<String>,
    /// Members of whom the answer said that nothing was done.
    undone: BTreeSet<String>,
    /// Accounts.
    made: BTreeSet<String>,
    removed: BTreeSet<String>,
    /// Token of a session, and the reason that every decision must give.
    ended: BTreeMap<String, &'static str>,
    /// Session, how many of its calls were answered, and how many crashes came after its start.
    pub answered: BTreeMap<String, (u64, u64)>,
}

/// The keys, and who is who; the sign-ins outlive every crash.
pub struct Cast {
    pub provision: String,
    pub decide: String,
    pub harbour: String,
    tess: String,
    pub by_ana: String,
    pub by_sam: String,
    pub by_tess: String,
    by_wanda: String,
    /// How requests name the harbour.
    pub code: String,
}

/// Makes organisations, people and keys.
pub fn provision(server: &mut Server) -> Cast {
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
    for (organisation, name) in [("brokers", "Brokers"), ("wake", "Wake")] {
        put(201, organisation, json!({ "name": name }));
    }
    put(201, "harbour/accounts/pier", json!({ "name": "Pier" }));
    put(
        201,
        "harbour/roles/bookings",
        json!({ "name": "Bookings", "permissions": ["bookings:*"] }),
    );
    let mut tess = String::new();
    for (organisation, who) in
        [("harbour", "ana"), ("brokers", "sam"), ("brokers", "tess"), ("wake", "wanda")]
    {
        let person = introduce(server, &provision, organisation, who);
        if who == "tess" {
            tess = person;
        }
    }
    let by_ana = sign_in(server, "ana@harbour");
    let [by_sam, by_tess] = ["sam@brokers", "tess@brokers"].map(|who| sign_in(server, who));
    let by_wanda = sign_in(server, "wanda@wake");
    let code = customer_id(server, "harbour", &by_ana);
    Cast { provision, decide, harbour, tess, by_ana, by_sam, by_tess, by_wanda, code }
}

/// Makes a member, or says again that one is there, and lets them set their password.
pub fn introduce(server: &Server, key: &str, organisation: &str, who: &str) -> String {
    let portal = (who != "tess").then_some("admin");
    let email = format!("{who}@{organisation}.example");
    let member =
        json!({ "name": who, "email": email, "email_verified": true, "portal_role": portal });
    let path = format!("/v1/organisations/{organisation}/members/{who}");
    let (status, shown) = server.call("PUT", &path, key, &member.to_string()).unwrap();
    assert!(status < 300, "{status} {shown}");
    let enrol = server.expect(201, "POST", &format!("{path}/enrolment"), key, Value::Null);
    let body = json!({ "token": enrol["token"], "password": PASSWORD });
    server.expect(204, "POST", "/v1/enrol", "", body);
    string(&shown, "/person")
}

pub fn sign_in(server: &Server, who: &str) -> String {
    let body = json!({ "email": format!("{who}.example"), "password": PASSWORD });
    string(&server.expect(200, "POST", "/v1/sign-in", "", body), "/token")
}

fn customer_id(server: &Server, organisation: &str, admin: &str) -> String {
    let path = format!("/v1/organisations/{organisation}/customer-id");
    string(&server.expect(200, "GET", &path, admin, Value::Null), "/customer_id")
}

/// Asks, approves and assigns; returns the grant. One partner may ask twenty times a day, so others
/// with the same people follow.
pub fn grant(server: &Server, cast: &Cast) -> String {
    static PARTNERS: AtomicU64 = AtomicU64::new(1);
    let (ana, sam) = (&cast.by_ana, &cast.by_sam);
    let wish = json!({ "customer_id": cast.code, "level": "partner", "modes": ["direct"], "days": 7,
        "reason": "load" });
    let ask = |partner: &str| {
        let path = format!("/v1/organisations/{partner}/requests");
        server.call("POST", &path, sam, &wish.to_string()).unwrap()
    };
    let (mut status, mut asked) = ask("brokers");
    if asked["code"] == "asked_too_often" {
        let partner = format!("brokers-{}", PARTNERS.fetch_add(1, Ordering::Relaxed));
        let put = |path: &str, body: Value| {
            let path = format!("/v1/organisations/{partner}{path}");
            let put = server.call("PUT", &path, &cast.provision, &body.to_string()).unwrap();
            assert!(put.0 < 300, "{put:?}");
        };
        put("", json!({ "name": "Brokers" }));
        for (who, portal) in [("sam", Some("admin")), ("tess", None)] {
            let email = format!("{who}@brokers.example");
            put(
                &format!("/members/{who}"),
                json!({ "name": who, "email": email, "email_verified": true, "portal_role": portal }),
            );
        }
        (status, asked) = ask(&partner);
    }
    assert_eq!(status, 201, "{asked}");
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
pub fn enter(server: &Server, cast: &Cast, grant: &str) -> (String, String) {
    let form = format!(
        "grant_type={EXCHANGE}&subject_token_type={ACCESS_TOKEN}&subject_token={}&audience={AUDIENCE}\
         &resource=urn:comity:organisation:{}&grant={grant}",
        cast.by_tess, cast.harbour
    );
    let kind = "application/x-www-form-urlencoded";
    let (status, answer) = call(&server.address, "POST", "/oauth/token", "", kind, &form).unwrap();
    assert_eq!(status, 200, "{answer}");
    (string(&answer, "/session"), string(&answer, "/access_token"))
}

/// A question about a session.
pub fn question(token: &str) -> String {
    json!({
        "subject": { "type": "partner_session", "id": token },
        "action": { "name": "bookings:read" },
        "resource": { "type": "account", "id": "pier" },
    })
    .to_string()
}

/// The decision and its reason; `None` if no whole answer came.
pub fn decide(server: &Server, cast: &Cast, question: &str) -> Option<(bool, String)> {
    match server.call("POST", "/access/v1/evaluation", &cast.decide, question) {
        Ok((200, answer)) => {
            Some((answer["decision"].as_bool().unwrap(), string(&answer, "/context/reason")))
        }
        Ok((503, _)) | Err(_) => None, // not counted, not answered
        Ok((status, answer)) => panic!("{status} {answer}"),
    }
}

/// What became of a write, as far as its caller knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Done,
    Undone,
    Unknown,
}

fn told(answer: &std::io::Result<(u16, Value)>) -> Told {
    match answer {
        Ok((200..300, _)) => Told::Done,
        Ok((503, problem)) if problem["code"] == "unavailable" => Told::Undone,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Told::Undone,
        Ok((503, _)) | Err(_) => Told::Unknown,
        Ok((status, answer)) => panic!("{status} {answer}"),
    }
}

/// One round of load: everybody is at work, `harm` is done within `soon`, and they go on for
/// `after` when it returns.
pub struct Round<'a> {
    pub server: &'a Server,
    pub cast: &'a Cast,
    pub run: &'a Run,
    pub number: u64,
    pub soon: Duration,
    pub after: Duration,
}

impl Round<'_> {
    pub fn load(&self, promises: &mut Promises, harm: impl FnOnce()) {
        let Self { server, cast, run, .. } = *self;
        let (kept, lost) = (grant(server, cast), grant(server, cast));
        let (busy_session, busy) = enter(server, cast, &kept);
        let (closed_session, closed) = enter(server, cast, &kept);
        let (_, revoked) = enter(server, cast, &lost);
        run.acknowledged(3);
        let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        let seen = Mutex::new(std::mem::take(promises));
        let (over_ref, seen_ref, answered_ref) = (&over, &seen, &answered);
        let going = || !over_ref.load(Ordering::Relaxed);
        let soon = u64::try_from(self.soon.as_millis()).unwrap();
        std::thread::scope(|threads| {
            for thread in 0..2 {
                threads.spawn(move || self.join_members(thread, seen_ref, &going));
            }
            threads.spawn(move || self.make_and_remove(seen_ref, &going));
            for _ in 0..2 {
                let asked = question(&busy);
                threads.spawn(move || {
                    while going() {
                        if let Some((yes, reason)) = decide(server, cast, &asked) {
                            assert!(yes, "{reason}");
                            answered_ref.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            // Endings: one by the customer, one by the user, each at some time.
            for (path, by, token, reason) in [
                (format!("/v1/grants/{lost}/revoke"), &cast.by_ana, &revoked, "revoked"),
                (
                    format!("/v1/sessions/{closed_session}/close"),
                    &cast.by_tess,
                    &closed,
                    "session_closed",
                ),
            ] {
                threads.spawn(move || {
                    std::thread::sleep(Duration::from_millis(random() % soon));
                    match told(&server.call("POST", &path, by, "")) {
                        Told::Done => {}
                        Told::Undone => return,
                        Told::Unknown => return run.unknown(1),
                    }
                    run.acknowledged(1);
                    seen_ref.lock().unwrap().ended.insert(token.clone(), reason);
                    let asked = question(token);
                    while going() {
                        if let Some((yes, why)) = decide(server, cast, &asked) {
                            run.wrong_yes(yes);
                            assert!(yes || why == reason, "after its ending: {why}");
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(soon / 4 + random() % soon));
            harm();
            std::thread::sleep(self.after);
            over.store(true, Ordering::Relaxed);
        });
        *promises = seen.into_inner().unwrap();
        let answered = answered.into_inner();
        run.decided(answered);
        promises.answered.insert(busy_session, (answered, 0));
        run.round();
    }

    fn join_members(&self, thread: usize, seen: &Mutex<Promises>, going: &impl Fn() -> bool) {
        for n in 0.. {
            let member = format!("m-{}-{thread}-{n}", self.number);
            let email = format!("{member}@harbour.example");
            let body = json!({ "name": "Somebody", "email": email }).to_string();
            let path = format!("/v1/organisations/harbour/members/{member}");
            match told(&self.server.call("PUT", &path, &self.cast.provision, &body)) {
                Told::Done => {
                    self.run.acknowledged(1);
                    seen.lock().unwrap().members.insert(member);
                }
                Told::Undone => {
                    seen.lock().unwrap().undone.insert(member);
                    std::thread::sleep(Duration::from_millis(5));
                }
                Told::Unknown => self.run.unknown(1),
            }
            if !going() {
                return;
            }
        }
    }

    fn make_and_remove(&self, seen: &Mutex<Promises>, going: &impl Fn() -> bool) {
        let Self { server, cast, run, number, .. } = *self;
        for n in 0.. {
            if !going() {
                return;
            }
            let id = format!("boat-{number}-{n}");
            let path = format!("/v1/organisations/wake/accounts/{id}");
            let body = json!({ "name": "Boat" }).to_string();
            let answer = server.call("PUT", &path, &cast.by_wanda, &body);
            if told(&answer) != Told::Done {
                run.unknown(u64::from(told(&answer) == Told::Unknown));
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            run.acknowledged(1);
            seen.lock().unwrap().made.insert(id.clone());
            let answer = server.call("DELETE", &path, &cast.by_wanda, "");
            let mut seen = seen.lock().unwrap();
            if told(&answer) == Told::Done {
                run.acknowledged(1);
                seen.removed.insert(id.clone());
            }
            if told(&answer) != Told::Undone {
                seen.made.remove(&id); // or nobody knows
            }
        }
    }

    /// What was promised is there; `crashed` says that the server died in this round, `all` that
    /// everything of all rounds is looked at, which takes longer the more there is.
    pub fn check(&self, promises: &mut Promises, crashed: bool, all: bool) {
        let Self { server, cast, run, .. } = *self;
        if all {
            self.check_lists(promises);
        }
        for (token, reason) in &promises.ended {
            let (yes, why) = eventually(|| decide(server, cast, &question(token)));
            run.wrong_yes(yes);
            assert!(yes || why == *reason, "{why}, and it was {reason}");
        }
        if !all {
            promises.ended.clear(); // seen to be over; the next ones are of the next round
        }
        for (session, (answered, crashes)) in &mut promises.answered {
            *crashes += u64::from(crashed);
            let path = format!("/v1/organisations/harbour/sessions/{session}");
            let shown = server.expect(200, "GET", &path, &cast.by_ana, Value::Null);
            let counted = shown["api_calls"].as_u64().unwrap();
            run.under_counted(counted < *answered);
            assert!(
                counted <= *answered + *crashes * OVER + UNHEARD,
                "{counted} calls counted, {answered} answered, {crashes} crashes: beyond the bound"
            );
            assert!(
                *crashes == 0 || shown["at_most"].as_bool().unwrap(),
                "a crash left it open, and nobody is told: {shown}"
            );
        }
        if !all {
            promises.answered.retain(|_, (_, crashes)| *crashes < 2);
        }
        self.tidy();
    }

    fn check_lists(&self, promises: &Promises) {
        let Self { server, cast, run, .. } = *self;
        let members = everything(server, "/v1/organisations/harbour/members?", &cast.provision);
        let there: BTreeSet<String> = members.iter().map(|m| string(m, "/external_id")).collect();
        promises.members.iter().for_each(|member| run.lost(!there.contains(member)));
        promises.undone.iter().for_each(|member| run.came_back(there.contains(member)));
        let accounts = everything(server, "/v1/organisations/wake/accounts?", &cast.by_wanda);
        let there: BTreeSet<String> = accounts.iter().map(|a| string(a, "/external_id")).collect();
        promises.made.iter().for_each(|id| run.lost(!there.contains(id)));
        promises.removed.iter().for_each(|id| run.came_back(there.contains(id)));
    }

    /// Every grant is ended, so that the next round has room for its sessions.
    fn tidy(&self) {
        let Self { server, cast, .. } = *self;
        let grants = "/v1/organisations/harbour/grants?state=active&";
        for grant in everything(server, grants, &cast.by_ana) {
            let path = format!("/v1/grants/{}/revoke", string(&grant, "/id"));
            server.expect(200, "POST", &path, &cast.by_ana, Value::Null);
        }
    }
}

/// Calls that were counted and whose answer nobody heard: one for each asking thread.
const UNHEARD: u64 = 2;

fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no answer within ten seconds");
}

/// Everything of a list that goes over pages.
fn everything(server: &Server, path: &str, bearer: &str) -> Vec<Value> {
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
