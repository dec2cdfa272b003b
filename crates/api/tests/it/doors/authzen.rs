//! AuthZEN beyond the single question: several at once, search, members at home, and how an
//! enforcement point of another maker is received.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

use super::Scene;
use crate::harness::{Reply, text};

const EVALUATIONS: &str = "/access/v1/evaluations";

impl Scene {
    fn asked(&self, path: &str, body: &Value) -> Reply {
        self.post(self.decide_key("boats"), path, body)
    }

    fn decided(&self, body: &Value) -> Vec<Value> {
        self.asked(EVALUATIONS, body).ok()["evaluations"].as_array().unwrap().clone()
    }

    /// Calls allowed, and calls refused, of Hugo's session.
    fn counted(&self) -> (u64, u64) {
        let counts = self.app.counts(self.there.session.parse().unwrap());
        (counts.allowed, counts.refused)
    }

    fn hugo(&self) -> Value {
        json!({ "type": "partner_session", "id": self.there.token })
    }

    /// Gives a member of Marina Bay roles at home.
    fn at_home(&self, member: &str, roles: &Value) -> Reply {
        let mut put = self.known.members[&format!("{member}@marina")].wire();
        put["roles"] = roles.clone();
        let path = format!("/v1/organisations/marina/members/{member}");
        self.put(&self.known.provision, &path, &put)
    }

    /// The answer about a person at home.
    fn home(&self, who: &str, permission: &str, resource: &Value) -> (bool, String) {
        let ask = json!({ "subject": { "type": "person", "id": who }, "action": { "name": permission }, "resource": resource });
        let said = self.asked("/access/v1/evaluation", &ask).ok();
        (said["decision"].as_bool().unwrap(), text(&said["context"]["reason"]))
    }
}

fn boat(id: &str) -> Value {
    json!({ "type": "account", "id": id, "properties": { "organisation": "marina" } })
}

fn reasons(decisions: &[Value]) -> Vec<&str> {
    decisions.iter().map(|d| d["context"]["reason"].as_str().unwrap()).collect()
}

#[test]
fn t24_each_question_that_is_evaluated_counts_once_and_one_that_is_not_counts_nothing() {
    let scene = Scene::new();
    let ask = |semantic: &str| {
        json!({ "subject": scene.hugo(), "resource": { "type": "account", "id": "boat-1" },
            "evaluations": [{ "action": { "name": "boats:read" } }, { "action": { "name": "money:send" } },
                { "action": { "name": "boats:move" } }, { "resource": { "type": "account", "id": "boat-3" },
                "action": { "name": "boats:read" } }],
            "options": { "evaluations_semantic": semantic, "another": 7 } })
    };
    let before = scene.counted();
    let all = scene.decided(&ask("execute_all"));
    assert_eq!(reasons(&all), ["allowed", "no_role", "allowed", "account_not_in_grant"]);
    assert_eq!(all[0]["context"]["actor"]["id"], json!(scene.person("hugo@harbor-help")));
    let then = scene.counted();
    assert_eq!((then.0 - before.0, then.1 - before.1), (2, 2));
    assert_eq!(reasons(&scene.decided(&ask("deny_on_first_deny"))), ["allowed", "no_role"]);
    assert_eq!(scene.counted(), (then.0 + 1, then.1 + 1));
    assert_eq!(reasons(&scene.decided(&ask("permit_on_first_permit"))), ["allowed"]);
    assert_eq!(scene.counted(), (then.0 + 2, then.1 + 1));
    let wrong = scene.asked(EVALUATIONS, &ask("first_come"));
    assert_eq!(
        (wrong.status, &wrong.json()["field"]),
        (422, &json!("options.evaluations_semantic"))
    );
    assert_eq!(scene.counted(), (then.0 + 2, then.1 + 1));
    // Every one of many is counted, also where several blocks have to be reserved for them.
    let many: Vec<Value> = (0..700).map(|_| json!({})).collect();
    let many = json!({ "subject": scene.hugo(), "resource": { "type": "account", "id": "boat-1" },
        "action": { "name": "boats:read" }, "evaluations": many });
    let before = scene.counted().0;
    let said = scene.decided(&many);
    let yes = said.iter().filter(|d| d["decision"] == json!(true)).count() as u64;
    assert_eq!(said.len(), 700);
    for no in said.iter().filter(|d| d["decision"] == json!(false)) {
        assert_eq!(no["context"]["reason"], json!("busy"), "never an uncounted yes");
        assert_eq!(no["context"]["error"]["status"], json!(503));
    }
    assert_eq!(scene.counted().0 - before, yes);
    assert!(yes >= 128, "{yes}");
}

#[test]
fn t24_parallel_batches_lose_no_call() {
    let scene = Scene::new();
    let items: Vec<Value> = (0..25).map(|_| json!({})).collect();
    let ask = json!({ "subject": scene.hugo(), "resource": { "type": "account", "id": "boat-1" },
        "action": { "name": "boats:read" }, "evaluations": items });
    let before = scene.counted().0;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let sent: Vec<_> = (0..8)
        .map(|_| {
            let request =
                crate::harness::request(scene.decide_key("boats"), "POST", EVALUATIONS, Some(&ask));
            let router = scene.router.clone();
            runtime.spawn(async move { crate::harness::send(&router, request).await })
        })
        .collect();
    let mut yes = 0;
    for reply in sent {
        let said = runtime.block_on(reply).unwrap().ok();
        let all = said["evaluations"].as_array().unwrap();
        yes += all.iter().filter(|d| d["decision"] == json!(true)).count() as u64;
    }
    assert_eq!(scene.counted().0 - before, yes);
    assert!(yes >= 100, "{yes}");
}

#[test]
fn an_error_of_one_question_is_a_no_in_its_place() {
    let scene = Scene::new();
    let said = scene.decided(&json!({ "subject": scene.hugo(), "action": { "name": "boats:read" }, "evaluations": [
        { "resource": { "type": "account", "id": "boat-1" } },
        { "resource": { "type": "ship", "id": "boat-1" } },
        { "action": { "name": "*" }, "resource": { "type": "account", "id": "boat-1" } },
        {},
        { "subject": { "type": "user", "id": "alice" }, "resource": { "type": "account", "id": "boat-1" } },
        { "context": { "at_least": 1_000_000 }, "resource": { "type": "account", "id": "boat-1" } },
        { "context": { "time": "1985-10-26T01:22-07:00" }, "resource": { "type": "account", "id": "boat-2" } }] }));
    assert_eq!(
        reasons(&said),
        ["allowed", "invalid", "invalid", "invalid", "invalid", "stale", "allowed"]
    );
    assert_eq!(said[1]["context"]["error"]["status"], json!(422));
    assert_eq!(said[5]["context"]["error"]["status"], json!(503));
    let stops =
        scene.decided(&json!({ "subject": scene.hugo(), "action": { "name": "boats:read" },
        "options": { "evaluations_semantic": "deny_on_first_deny" },
        "evaluations": [{}, { "resource": { "type": "account", "id": "boat-1" } }] }));
    assert_eq!(reasons(&stops), ["invalid"], "an error is a denial");
}

#[test]
fn without_a_list_it_is_a_single_evaluation() {
    let scene = Scene::new();
    let one = json!({ "subject": scene.hugo(), "action": { "name": "boats:read" }, "resource": { "type": "account", "id": "boat-1" } });
    let mut empty = one.clone();
    empty["evaluations"] = json!([]);
    for ask in [one, empty] {
        let said = scene.asked(EVALUATIONS, &ask).ok();
        assert_eq!((&said["decision"], said.get("evaluations")), (&json!(true), None));
    }
    scene.asked(EVALUATIONS, &json!({})).is(422, "invalid");
}

#[test]
fn t44_a_batch_has_a_most_and_t15_no_field_stands_twice() {
    let scene = Scene::new();
    let many: Vec<Value> = (0..1_001).map(|_| json!({})).collect();
    let reply = scene.asked(EVALUATIONS, &json!({ "evaluations": many }));
    assert_eq!((reply.status, &reply.json()["field"]), (422, &json!("body")));
    let before = scene.counted();
    for twice in [
        r#"{"subject":{"type":"person","id":"a","id":"b"}}"#,
        r#"{"evaluations":[{"action":{"name":"a:b"},"action":{"name":"c:d"}}]}"#,
        r#"{"options":{"evaluations_semantic":"execute_all","evaluations_semantic":"deny_on_first_deny"}}"#,
        r#"{"resource":{"type":"account","id":"a","properties":{"organisation":"a","organisation":"b"}}}"#,
    ] {
        let request = Request::post(EVALUATIONS)
            .header(header::AUTHORIZATION, format!("Bearer {}", scene.decide_key("boats")))
            .header(header::CONTENT_TYPE, "application/json");
        scene.send(request.body(Body::from(twice)).unwrap()).is(422, "invalid");
    }
    assert_eq!(scene.counted(), before);
}

#[test]
fn foreign_members_are_passed_over_and_the_name_of_a_request_goes_back() {
    let scene = Scene::new();
    let ask = json!({ "subject": { "type": "partner_session", "id": scene.there.token, "trusted": true,
            "properties": { "department": "Sales", "deep": { "a": [1, 2] } } },
        "action": { "name": "boats:read", "properties": { "method": "GET" }, "more": 1 },
        "resource": { "type": "account", "id": "boat-1", "properties": { "status": null } },
        "context": { "ip": "192.0.2.1" }, "vendor": {} });
    for name in ["bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "pep-7/a.b:c@d"] {
        let request = Request::post("/access/v1/evaluation")
            .header(header::AUTHORIZATION, format!("Bearer {}", scene.decide_key("boats")))
            .header(header::CONTENT_TYPE, "application/json")
            .header("X-Request-ID", name);
        let reply = scene.send(request.body(Body::from(ask.to_string())).unwrap());
        assert_eq!(reply.ok()["decision"], json!(true));
        assert_eq!(reply.headers["x-request-id"], name);
    }
    let long = "a".repeat(129);
    for odd in ["a b", "", &long] {
        let request = Request::get("/healthz").header("X-Request-ID", odd);
        let reply = scene.send(request.body(Body::empty()).unwrap());
        assert_ne!(reply.headers["x-request-id"], odd);
    }
}

#[test]
fn t17_basic_is_the_applications_own_code_and_its_own_key() {
    use base64::Engine as _;
    let scene = Scene::new();
    let ask = json!({ "subject": scene.hugo(), "action": { "name": "boats:read" }, "resource": { "type": "account", "id": "boat-1" } });
    let basic = |user: &str, password: &str| {
        let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let request = Request::post("/access/v1/evaluation")
            .header(header::AUTHORIZATION, format!("Basic {both}"))
            .header(header::CONTENT_TYPE, "application/json");
        scene.send(request.body(Body::from(ask.to_string())).unwrap())
    };
    let (boats, tours) = (scene.decide_key("boats"), scene.decide_key("tours"));
    assert_eq!(basic("boats", boats).ok()["decision"], json!(true));
    assert_eq!(basic("tours", tours).ok()["context"]["reason"], json!("session_unknown"));
    for (user, password) in
        [("tours", boats), ("", boats), ("boats", ""), ("boats", scene.at("ana@marina"))]
    {
        basic(user, password).is(401, "unauthenticated");
    }
    basic("boats", &scene.there.token).is(401, "unauthenticated");
    basic("boats", &scene.known.provision).is(403, "forbidden");
}

#[test]
fn t12_t17_a_session_by_its_identifier_is_the_applications_own_and_never_a_token() {
    let scene = Scene::new();
    let ask = |app: &str, kind: &str, id: &str| {
        let ask = json!({ "subject": { "type": kind, "id": id }, "action": { "name": "boats:read" },
            "resource": { "type": "account", "id": "boat-1" } });
        let said = scene.post(scene.decide_key(app), "/access/v1/evaluation", &ask).ok();
        text(&said["context"]["reason"])
    };
    let (id, token) = (&scene.there.session, &scene.there.token);
    assert_eq!(ask("boats", "session", id), "allowed");
    assert_eq!(ask("tours", "session", id), "session_unknown");
    assert_eq!(ask("boats", "partner_session", id), "session_unknown");
    assert_eq!(ask("boats", "session", token), "session_unknown");
    let before = scene.counted();
    ask("boats", "session", id);
    assert_eq!(scene.counted().0, before.0 + 1, "T24: by whichever name");
    let end = format!("/v1/sessions/{id}/end");
    assert_eq!(scene.call(scene.at("ana@marina"), "POST", &end, None).status, 204);
    assert_eq!(ask("boats", "session", id), "ended_by_customer");
}

#[test]
fn t25_a_search_finds_what_an_evaluation_says_yes_to_counts_nothing_and_shows_no_token() {
    let scene = Scene::new();
    scene.at_home("max", &json!(["skipper"])).ok();
    let before = scene.counted();
    let search = |what: &str, body: Value| {
        let reply = scene.asked(&format!("/access/v1/search/{what}"), &body);
        assert!(!reply.text().contains("cmt_"), "{}", reply.text());
        let said = reply.ok();
        assert_eq!(said["page"]["count"], json!(said["results"].as_array().unwrap().len()));
        said["results"].as_array().unwrap().clone()
    };
    let read = json!({ "name": "boats:read" });
    let ids = |found: &[Value]| found.iter().map(|f| text(&f["id"])).collect::<Vec<_>>();
    let who = |kind: &str, resource: Value| {
        search(
            "subject",
            json!({ "subject": { "type": kind }, "action": read, "resource": resource }),
        )
    };
    assert_eq!(ids(&who("session", boat("boat-1"))), std::slice::from_ref(&scene.there.session));
    assert!(who("session", boat("boat-3")).is_empty());
    assert_eq!(ids(&who("person", boat("boat-3"))), [scene.person("max@marina")]);
    assert!(who("person", boat("nowhere")).is_empty());
    let here = |subject: Value, kind: &str| {
        search(
            "resource",
            json!({ "subject": subject, "action": read, "resource": { "type": kind } }),
        )
    };
    assert_eq!(ids(&here(scene.hugo(), "account")), ["boat-1", "boat-2"]);
    assert!(here(scene.hugo(), "organisation").is_empty());
    let max = json!({ "type": "person", "id": scene.person("max@marina") });
    let found = here(max.clone(), "account");
    assert_eq!(ids(&found), ["boat-1", "boat-2", "boat-3", "boat-9"]);
    assert_eq!(here(max.clone(), "organisation").len(), 1);
    for resource in &found {
        assert_eq!(scene.home(max["id"].as_str().unwrap(), "boats:read", resource).1, "allowed");
    }
    let what = |subject: &Value, resource: Value| -> BTreeSet<String> {
        let found = search("action", json!({ "subject": subject, "resource": resource }));
        found.iter().map(|f| text(&f["name"])).collect()
    };
    let skipper = ["boats:move", "boats:read", "bookings:read"].map(String::from);
    assert_eq!(what(&max, boat("boat-3")), BTreeSet::from(skipper.clone()));
    let mut both = BTreeSet::from(skipper);
    both.insert("bookings:write".into());
    assert_eq!(what(&scene.hugo(), boat("boat-1")), both);
    assert!(what(&scene.hugo(), boat("boat-3")).is_empty());
    assert_eq!(scene.counted(), before, "a search counts nothing");
    // Another application's sessions are not there.
    let ask = json!({ "subject": { "type": "session" }, "action": { "name": "bookings:read" }, "resource": boat("boat-1") });
    let tours = scene.post(scene.decide_key("tours"), "/access/v1/search/subject", &ask).ok();
    assert_eq!(tours["results"], json!([]));
    let token = json!({ "subject": { "type": "partner_session" }, "action": read, "resource": boat("boat-1") });
    scene.asked("/access/v1/search/subject", &token).is(422, "invalid");
}

#[test]
fn t12_a_page_goes_on_by_its_own_token_only() {
    let scene = Scene::new();
    let ask = |app: &str, page: Value, action: &str| {
        let ask = json!({ "subject": { "type": "person", "id": scene.person("max@marina") },
            "action": { "name": action }, "resource": { "type": "account" }, "page": page });
        scene.post(scene.decide_key(app), "/access/v1/search/resource", &ask)
    };
    scene.at_home("max", &json!(["skipper", "clerk"])).ok();
    let (mut seen, mut token) = (Vec::new(), String::new());
    for _ in 0..5 {
        let page = if token.is_empty() { json!({ "limit": 3 }) } else { json!({ "token": token }) };
        let said = ask("boats", page, "boats:read").ok();
        seen.extend(said["results"].as_array().unwrap().iter().map(|r| text(&r["id"])));
        token = text(&said["page"]["next_token"]);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["boat-1", "boat-2", "boat-3", "boat-9"]);
    let first = ask("boats", json!({ "limit": 1 }), "boats:read").ok();
    let token = text(&first["page"]["next_token"]);
    ask("boats", json!({ "token": token }), "bookings:read").is(422, "invalid");
    ask("tours", json!({ "token": token }), "boats:read").is(422, "invalid");
    ask("boats", json!({ "token": token, "limit": 2 }), "boats:read").is(422, "invalid");
    ask("boats", json!({ "token": format!("{token}0") }), "boats:read").is(422, "invalid");
    ask("boats", json!({ "token": token, "limit": 1 }), "boats:read").ok();
    let none = ask("boats", json!({ "limit": 0 }), "boats:read").ok();
    assert_eq!(none["page"]["count"], json!(0));
    assert_ne!(none["page"]["next_token"], json!(""));
}

#[test]
fn a_member_at_home_may_what_the_own_organisation_gave() {
    let scene = Scene::new();
    let max = scene.person("max@marina").to_owned();
    let no = |reason: &str| (false, reason.to_owned());
    let yes = (true, "allowed".to_owned());
    assert_eq!(scene.home(&max, "boats:read", &boat("boat-1")), no("no_role"));
    let shown = scene.at_home("max", &json!(["skipper"])).ok();
    assert_eq!(shown["roles"], json!(["skipper"]));
    let account = scene.known.accounts[&("marina".to_owned(), "boat-1".to_owned())].clone();
    let marina = json!({ "type": "organisation", "id": "marina" });
    for resource in [boat("boat-1"), json!({ "type": "account", "id": account }), marina.clone()] {
        assert_eq!(scene.home(&max, "boats:read", &resource), yes);
        assert_eq!(scene.home(&max, "money:send", &resource), no("no_role"));
    }
    assert_eq!(scene.home("max", "boats:read", &boat("boat-1")), yes, "as the builder calls them");
    // The builder's identifier of an account means nothing without its organisation.
    let bare = json!({ "type": "account", "id": "boat-1" });
    assert_eq!(scene.home(&max, "boats:read", &bare), no("wrong_resource"));
    let foreign =
        json!({ "type": "account", "id": account, "properties": { "organisation": "fjord" } });
    assert_eq!(scene.home(&max, "boats:read", &foreign), no("wrong_resource"));
    let fjord = json!({ "type": "organisation", "id": "fjord" });
    assert_eq!(scene.home(&max, "boats:read", &fjord), no("not_a_member"));
    let hugo = scene.person("hugo@harbor-help");
    assert_eq!(scene.home(hugo, "boats:read", &boat("boat-1")), no("not_a_member"), "a partner");
    // What no partner may do, an own member may: nothing is delegated.
    scene.at_home("max", &json!(["owner"])).ok();
    assert_eq!(scene.home(&max, "money:payout", &marina), yes);
    assert_eq!(
        scene.home(&max, "tours:read", &marina),
        no("no_role"),
        "not this application's word"
    );
    // Left out, the roles stay; a role that is not there is refused; a deleted one is gone.
    let path = "/v1/organisations/marina/members/max";
    let put = scene.known.members["max@marina"].wire();
    assert_eq!(scene.put(scene.at("ana@marina"), path, &put).ok()["roles"], json!(["owner"]));
    assert_eq!(scene.at_home("max", &json!(["mate"])).json()["field"], json!("roles"));
    let role = "/v1/organisations/marina/roles/owner";
    assert_eq!(scene.call(&scene.known.provision, "DELETE", role, None).status, 204);
    assert_eq!(scene.home(&max, "money:payout", &marina), no("no_role"));
    scene.put(&scene.known.provision, role, &json!({ "name": "Owner", "permissions": ["*"] })).ok();
    assert_eq!(scene.home(&max, "boats:read", &marina), no("no_role"), "nothing comes back");
    scene.at_home("max", &json!(["owner"])).ok();
    let mut off = put.clone();
    off["active"] = json!(false);
    scene.put(&scene.known.provision, path, &off).ok();
    assert_eq!(scene.home(&max, "boats:read", &marina), no("suspended"));
    assert_eq!(scene.counted(), (0, 0), "part of no session");
}

#[test]
fn the_metadata_names_what_is_there_and_believes_no_strangers_host() {
    let scene = Scene::new();
    let get = |host: &str| {
        let request = Request::get("/.well-known/authzen-configuration").header(header::HOST, host);
        scene.send(request.body(Body::empty()).unwrap())
    };
    let base = scene.app.issuer().to_owned();
    for host in ["localhost", "[::1]:8080", "evil.example", "localhost:80@evil.example"] {
        let said = get(host).ok();
        assert_eq!(said["policy_decision_point"], json!(base));
        for (name, path) in [
            ("access_evaluation_endpoint", "evaluation"),
            ("access_evaluations_endpoint", "evaluations"),
            ("search_subject_endpoint", "search/subject"),
            ("search_resource_endpoint", "search/resource"),
            ("search_action_endpoint", "search/action"),
        ] {
            assert_eq!(said[name], json!(format!("{base}/access/v1/{path}")));
        }
    }
}

#[test]
fn a_batch_of_a_hundred_answers_what_a_hundred_single_questions_do() {
    let scene = Scene::new();
    let permissions = ["boats:read", "money:send"];
    let item = |n: usize| json!({ "action": { "name": permissions[n % 2] }, "resource": { "type": "account", "id": "boat-1" } });
    let items: Vec<Value> = (0..100).map(item).collect();
    let since = std::time::Instant::now();
    let batch = scene.decided(&json!({ "subject": scene.hugo(), "evaluations": items }));
    let together = since.elapsed();
    let since = std::time::Instant::now();
    for (n, said) in batch.iter().enumerate() {
        let mut one = item(n);
        one["subject"] = scene.hugo();
        let single = scene.asked("/access/v1/evaluation", &one).ok();
        assert_eq!(single["context"]["reason"], said["context"]["reason"]);
    }
    println!("100 in one request: {together:?}; 100 by themselves: {:?}", since.elapsed());
    let (allowed, refused) = scene.counted();
    assert_eq!((allowed, refused), (100, 100));
}
