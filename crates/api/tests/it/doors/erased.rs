//! T48: what was erased is nowhere: in no file of the data folder, in no answer, not in memory. And
//! the log still proves everything else.

use axum::http::header;
use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command};
use comity_domain::text::Subject;
use comity_store::verify;
use serde_json::{Value, json};

use super::{Scene, approve};
use crate::harness::{House, Reply, files, text};
use crate::may_routes::routed;
use crate::town::{Member, Town};

/// What must be gone, each as it is typed. Nothing else in the town holds any of them.
const CANARIES: [&str; 15] = [
    "kanarek-gmbh",            // the builder's identifier of an organisation
    "Kanarek und Söhne",       // its name
    "kanarek-wing",            // of a unit
    "Kanarek Seitenflügel",    // its name
    "kanarek-boat",            // of an account
    "Kanarek Zweimaster",      // its name
    "kanarek-zofie",           // of a person
    "Žofie Kanárková",         // their name
    "Zofie.K@kanarek.example", // their address
    "Masten für den Kanarek",  // why they asked
    "KAN-4711",                // with which ticket
    "kanarek-wish",            // for which account
    "Kanarek unversichert",    // why they were refused
    "Kanarek bitte Papiere",   // what they were told
    "Kanarek leckt achtern",   // why they entered
];

/// A canary however it may be written down.
fn spellings(canary: &str) -> Vec<Vec<u8>> {
    let escaped: String = canary
        .chars()
        .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) })
        .collect();
    let all = [canary.to_owned(), escaped, canary.to_lowercase(), canary.to_uppercase()];
    all.into_iter().map(String::into_bytes).collect()
}

/// Which canaries are in these bytes.
fn found(bytes: &[u8]) -> Vec<&'static str> {
    let holds = |s: &Vec<u8>| bytes.windows(s.len()).any(|w| w == s);
    CANARIES.into_iter().filter(|c| spellings(c).iter().any(holds)).collect()
}

fn on_disk(town: &Town) -> Vec<(String, &'static str)> {
    let all = files(town.folder.path()).into_iter();
    all.flat_map(|(name, bytes)| found(&bytes).into_iter().map(move |c| (name.clone(), c)))
        .collect()
}

/// What the canary did, by Comity's identifiers.
struct Canary {
    organisation: String,
    unit: String,
    account: String,
    person: String,
    denied: String,
    request: String,
    grant: String,
    session: String,
    token: String,
}

fn settle(town: &mut Town, code: &str) -> Canary {
    let (key, ana) = (town.known.provision.clone(), town.at("ana@marina").to_owned());
    let at = "/v1/organisations/kanarek-gmbh";
    let made = town.put(&key, at, &json!({ "name": "Kanarek und Söhne" })).ok();
    let wing = json!({ "name": "Kanarek Seitenflügel" });
    let unit = town.put(&key, &format!("{at}/units/kanarek-wing"), &wing).ok();
    let boat = json!({ "name": "Kanarek Zweimaster" });
    let boats = "/v1/organisations/marina/accounts/kanarek-boat";
    let account = town.put(&key, boats, &boat).ok();
    let who = "kanarek-zofie@kanarek-gmbh";
    let zofie = Member {
        id: String::new(),
        name: "Žofie Kanárková".into(),
        email: "Zofie.K@kanarek.example".into(),
        unit: Some("kanarek-wing".into()),
        portal: Some("admin".into()),
        active: true,
    };
    town.put_member(&key, who, zofie).ok();
    let ask = |accounts: &[&str]| {
        let body = json!({ "customer_id": code, "level": "partner", "modes": ["direct"],
            "reason": "Masten für den Kanarek", "ticket": "KAN-4711", "accounts": accounts });
        text(&town.post(town.at(who), &format!("{at}/requests"), &body).ok()["id"])
    };
    let denied = ask(&["kanarek-wish"]);
    let deny = json!({ "reason": "Kanarek unversichert", "message": "Kanarek bitte Papiere" });
    town.post(&ana, &format!("/v1/requests/{denied}/deny"), &deny).ok();
    let request = ask(&[]);
    let terms = json!({ "roles": ["skipper"], "accounts": ["kanarek-boat"], "modes": ["direct"] });
    let grant = approve(town, &ana, &request, &terms);
    let assign = json!({ "roles": ["skipper"], "accounts": ["kanarek-boat"] });
    let path = format!("/v1/grants/{grant}/assignments/{}", town.person(who));
    town.put(town.at(who), &path, &assign).ok();
    let entered = town.enter(town.at(who), "marina", &[("reason", "Kanarek leckt achtern")]).ok();
    let token = text(&entered["access_token"]);
    for boat in ["kanarek-boat", "kanarek-wish"] {
        town.evaluate(town.decide_key("boats"), &token, "boats:read", "account", boat).ok();
    }
    Canary {
        organisation: text(&made["id"]),
        unit: text(&unit["id"]),
        account: text(&account["id"]),
        person: town.person(who).to_owned(),
        denied,
        request,
        grant,
        session: text(&entered["session"]),
        token,
    }
}

/// Every answer that anybody can read about the canary, or about anything near it.
fn read_all(scene: &Scene, canary: &Canary) -> Vec<Reply> {
    let town = &scene.town;
    let mut tokens: Vec<String> = vec![
        String::new(),
        town.known.operate.clone(),
        town.known.provision.clone(),
        town.decide_key("boats").to_owned(),
        scene.there.token.clone(),
        canary.token.clone(),
    ];
    tokens.extend(town.known.signed_in.values().map(|(token, _)| token.clone()));
    let mut replies = Vec::new();
    for (_, route) in routed().into_iter().filter(|(method, _)| method == "GET") {
        let mut paths = vec![route];
        for (hole, ids) in [
            ("{organisation}", vec!["marina", "harbor-help", &canary.organisation]),
            ("{request}", vec![&canary.request, &canary.denied]),
            ("{grant}", vec![&canary.grant]),
            ("{session}", vec![&canary.session, &scene.there.session]),
            ("{id}", vec!["ana", "hugo"]),
            ("{file}", vec!["page.js"]),
            ("{import}", vec!["imp_of-nobody"]),
            ("{stream}", vec![&scene.there.stream]),
            ("{webhook}", vec![&scene.there.webhook, &scene.there.platform_webhook]),
        ] {
            let filled = |path: &String| -> Vec<String> {
                if path.contains(hole) {
                    ids.iter().map(|id| path.replace(hole, id)).collect()
                } else {
                    vec![path.clone()]
                }
            };
            paths = paths.iter().flat_map(filled).collect();
        }
        let more: &[&str] = match paths[0].as_str() {
            "/v1/events" => &["", "?limit=200", "?organisation=marina&limit=200"],
            path if path.ends_with("/sessions") => &["", "?side=provider"],
            path if path.ends_with("/grants") => &["", "?side=received"],
            path if path.ends_with("/requests") => &["", "?direction=sent"],
            _ => &[""],
        };
        for path in &paths {
            assert!(!path.contains('{'), "{path}: nothing fills it here");
            for (token, query) in tokens.iter().flat_map(|t| more.iter().map(move |q| (t, q))) {
                replies.push(town.get(token, &format!("{path}{query}")));
            }
        }
    }
    replies
}

fn told(replies: &[Reply]) -> Vec<&'static str> {
    let all: Vec<u8> = replies.iter().flat_map(|r| r.bytes.clone()).collect();
    found(&all)
}

fn erase(town: &Town, what: &str, id: &str) -> Reply {
    town.post(&town.known.provision, "/v1/erasures", &json!({ what: id }))
}

#[test]
fn t48_inv34_what_was_erased_is_in_no_file_no_answer_and_no_memory() {
    let mut scene = Scene::new();
    let code = scene.there.code.clone();
    let canary = settle(&mut scene.town, &code);
    let town = &scene.town;
    let ana = town.at("ana@marina").to_owned();
    // All of it is there, so that the search is about something.
    let seen = on_disk(town);
    for c in CANARIES {
        assert!(seen.iter().any(|(_, at)| *at == c), "{c} is in no file");
    }
    let shown = told(&read_all(&scene, &canary));
    assert_eq!(shown, CANARIES, "every canary is told to somebody");
    let before = verify(town.app.reader(), None).unwrap();

    // What has to be over first.
    for (what, id) in [
        ("person", &canary.person),
        ("organisation", &canary.organisation),
        ("unit", &canary.unit),
        ("account", &canary.account),
        ("session", &canary.session),
    ] {
        erase(town, what, id).is(409, "in_use");
    }
    let gone = "/v1/organisations/marina/accounts/kanarek-boat";
    town.call(&town.known.provision, "DELETE", gone, None).ok();
    // Its last call names what is not there any more.
    let boats = town.decide_key("boats");
    town.evaluate(boats, &canary.token, "boats:read", "account", "kanarek-boat").ok();
    let standing = format!("/v1/organisations/{}/standing", canary.organisation);
    town.put(&town.known.operate, &standing, &json!({ "standing": "closed" })).ok();
    for (what, id) in [
        ("session", &canary.session),
        ("request", &canary.denied),
        ("account", &canary.account),
        ("unit", &canary.unit),
        ("person", &canary.person),
        ("organisation", &canary.organisation),
    ] {
        let seq = erase(town, what, id).ok()["seq"].clone();
        let again = erase(town, what, id).ok();
        assert_eq!(again["seq"], seq, "{what}: erasing again changes nothing");
    }
    assert_eq!(on_disk(town), [], "beside a running server");
    assert_eq!(told(&read_all(&scene, &canary)), [] as [&str; 0]);
    assert_eq!(found(format!("{:?}", town.app.state()).as_bytes()), [] as [&str; 0]);
    // The history still says what happened.
    let stay = format!("/v1/organisations/marina/sessions/{}", canary.session);
    let stay = town.get(&ana, &stay).ok();
    assert_eq!((&stay["id"], &stay["reason"]), (&json!(canary.session), &Value::Null));
    assert!(stay.to_string().contains(&canary.person), "{stay}");
    let request = town.get(&ana, &format!("/v1/requests/{}", canary.request)).ok();
    assert_eq!(request["reason"], json!("[erased]"));
    let after = verify(town.app.reader(), None).unwrap();
    assert_eq!((&before.first_bad, &after.first_bad), (&None, &None));
    assert!(after.words < before.words && after.rows > before.rows);
    // The list for restores names them, and only by identifier.
    let listed = comity_app::erasures::read(&comity_app::erasures::file(town.folder.path()));
    assert_eq!(listed.unwrap().len(), 6);

    // A start from the file alone comes out at the same state, words and lookups included.
    std::thread::sleep(std::time::Duration::from_millis(50)); // calls are written behind
    town.app.stop();
    assert_eq!(on_disk(town), [], "after a stop");
    let state = town.app.state();
    let again = House::start(crate::harness::copy(town.folder.path()));
    assert!(*again.app.state() == *state, "a replay without the words leads elsewhere");
    assert_eq!(found(format!("{:?}", again.app.state()).as_bytes()), [] as [&str; 0]);
}

#[test]
fn t48_an_erasure_names_one_subject_and_needs_the_platforms_key() {
    let scene = Scene::new();
    let town = &scene.town;
    let key = &town.known.provision;
    let quinn = town.person("quinn@quayside").to_owned();
    for body in [json!({}), json!({ "person": quinn, "account": "acct_x" }), json!({ "lock": "x" })]
    {
        assert_eq!(town.post(key, "/v1/erasures", &body).status, 422, "{body}");
    }
    let two = json!({ "person": quinn, "organisation": town.known.organisations["marina"] });
    town.post(key, "/v1/erasures", &two).is(422, "invalid");
    town.post(town.at("ana@marina"), "/v1/erasures", &json!({ "person": quinn }))
        .is(403, "forbidden");
    erase(town, "person", &quinn).is(409, "in_use");
    let nobody = comity_domain::ids::PersonId(7).to_string();
    erase(town, "person", &nobody).is(404, "not_found");
}

#[test]
fn t50_after_a_restore_nothing_old_opens_anything_and_what_was_erased_stays_erased() {
    let scene = Scene::new();
    let town = &scene.town;
    // The copy is made now; Hugo is erased after it.
    town.app.stop();
    let copied = crate::harness::copy(town.folder.path());
    let later = House::start(crate::harness::copy(town.folder.path()));
    let key = &town.known.provision;
    let hugo = town.person("hugo@harbor-help");
    let leave = "/v1/organisations/harbor-help/members/hugo";
    later.call(key, "DELETE", leave, None).ok();
    later.post(key, "/v1/erasures", &json!({ "person": hugo })).ok();
    let list =
        comity_app::erasures::read(&comity_app::erasures::file(later.folder.path())).unwrap();
    later.app.stop();

    let restored = House::start(copied);
    let erased: Vec<Subject> = list.iter().map(|e| e.subject).collect();
    assert_eq!(erased.len(), 1);
    let head = restored.app.reader().head().unwrap();
    let command = Command::Restore { fork: head.fork + 1, erased, keep_people: true };
    restored.runtime.block_on(restored.app.run(&Caller::system(), command)).unwrap();
    assert_eq!(restored.app.reader().head().unwrap().fork, head.fork + 1, "the fork is raised");
    // On a log that others write to as well, being current is confirmed anew.
    for _ in 0..1_000 {
        if restored.app.is_ready() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for (token, _) in town.known.signed_in.values() {
        restored.get(token, "/v1/me").is(401, "unauthenticated");
    }
    for key in [&town.known.operate, &town.known.provision, town.decide_key("boats")] {
        restored.get(key, "/v1/platform/levels").is(401, "unauthenticated");
    }
    let enrol = json!({ "token": scene.there.enrolment, "password": "a second phrase for nina" });
    assert!(restored.post("", "/v1/enrol", &enrol).status >= 400);
    // A new key shows that the sessions are over, and both sides read why.
    let system = Caller::system();
    let make = restored.app.make_key(&system, KeyUse::Operate, None);
    let operate = restored.runtime.block_on(make).unwrap().0.reveal().to_owned();
    let apps = restored.get(&operate, "/v1/platform/applications").ok();
    assert!(apps["items"].as_array().unwrap().iter().any(|a| a["code"] == json!("boats")));
    let decide = json!({ "use": "decide", "application": "boats" });
    let decide = text(&restored.post(&operate, "/v1/platform/keys", &decide).ok()["secret"]);
    let asked = json!({ "subject": { "type": "partner_session", "id": scene.there.token },
        "action": { "name": "boats:read" }, "resource": { "type": "account", "id": "boat-1" } });
    let answer = restored.post(&decide, "/access/v1/evaluation", &asked).ok();
    assert_eq!(answer["decision"], json!(false));
    assert_eq!(answer["context"]["reason"], json!("restored"));
    let ana = text(&restored.sign_in("ana@marina.example").ok()["token"]);
    let pia = text(&restored.sign_in("pia@harbor-help.example").ok()["token"]);
    for (token, organisation) in [(&ana, "marina"), (&pia, "harbor-help")] {
        let path = format!("/v1/organisations/{organisation}/sessions/{}", scene.there.session);
        let stay = restored.get(token, &path).ok();
        assert_eq!(
            (&stay["status"], &stay["end_reason"]),
            (&json!("ended"), &json!("restored")),
            "{stay}"
        );
    }
    assert_eq!(restored.sign_in("hugo@harbor-help.example").status, 401);
    let all = restored.get(&ana, "/v1/events?organisation=marina&limit=200").text();
    assert!(all.contains("words_erased") && !all.contains("hugo@harbor-help.example"));
    assert_eq!(restored.get(&ana, "/healthz").header(header::CONTENT_TYPE), "application/json");
}
