//! Webhooks, from naming one to what arrives at it. The receivers are sockets of this test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use comity_domain::time::{HOUR, SECOND};
use serde_json::{Value, json};

use crate::doors::Scene;
use crate::harness::text;

/// What arrived.
#[derive(Debug, Clone)]
struct Post {
    path: String,
    id: String,
    signature: String,
    body: Value,
}

/// A server that takes what is sent and answers with the first answers in turn, then always with
/// the last.
fn receiver(answers: Vec<&'static str>) -> (u16, Receiver<Post>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, arrived) = channel();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        let mut answer = answers.next().unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                lines.push(line.trim_end().to_owned());
            }
            let header = |name: &str| {
                let found = lines.iter().find_map(|l| l.strip_prefix(&format!("{name}: ")));
                found.unwrap_or_default().to_owned()
            };
            let length: usize = header("content-length").parse().unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let _ = stream.write_all(answer.as_bytes());
            answer = answers.next().unwrap_or(answer);
            let path = lines[0].split(' ').nth(1).unwrap().to_owned();
            let (id, signature) = (header("webhook-id"), header("webhook-signature"));
            let body = serde_json::from_slice(&body).unwrap();
            if sender.send(Post { path, id, signature, body }).is_err() {
                return;
            }
        }
    });
    (port, arrived)
}

const OK: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const WITHIN: Duration = Duration::from_secs(20);

impl Scene {
    /// Names an endpoint, and returns its path here.
    fn hook(&self, who: &str, at: &str, port: u16, events: Option<&[&str]>) -> String {
        let mut body = json!({ "url": format!("http://127.0.0.1:{port}/in") });
        if let Some(events) = events {
            body["events"] = json!(events);
        }
        let path = format!("/v1/{at}/webhooks");
        let made = self.post(who, &path, &body).ok();
        assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
        format!("{path}/{}", text(&made["id"]))
    }

    /// Waits until the deliveries look so.
    fn until(&self, who: &str, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..400 {
            let shown = self.get(who, path).ok();
            if fits(&shown) {
                return shown;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{}", self.get(who, path).text());
    }
}

#[test]
fn inv12_inv26_each_is_told_its_part_and_as_the_feed_tells_it() {
    let scene = Scene::new();
    let (ana, pia, operate) =
        (scene.at("ana@marina"), scene.at("pia@harbor-help"), scene.known.operate.as_str());
    let all: Vec<(Receiver<Post>, String)> =
        [(ana, "organisations/marina"), (pia, "organisations/harbor-help"), (operate, "platform")]
            .into_iter()
            .map(|(who, at)| {
                let (port, arrived) = receiver(vec![OK]);
                (arrived, scene.hook(who, at, port, Some(&["request_denied", "denial_noted"])))
            })
            .collect();
    let deny = format!("/v1/requests/{}/deny", scene.there.asked);
    let said = json!({ "reason": "Not in winter", "message": "Ask in spring" });
    scene.post(ana, &deny, &said).ok();
    let feed = |who: &str, query: &str| -> Vec<Value> {
        let shown = scene.get(who, &format!("/v1/events?limit=200{query}")).ok();
        let items = shown["items"].as_array().unwrap().clone();
        let told = ["request_denied", "denial_noted"];
        items
            .into_iter()
            .filter(|i| told.contains(&i["event"]["event"].as_str().unwrap()))
            .collect()
    };
    let readers = [
        (feed(ana, "&organisation=marina"), 2),
        (feed(pia, "&organisation=harbor-help"), 1),
        (feed(&scene.known.provision, ""), 2),
    ];
    for ((expected, count), (arrived, _)) in readers.iter().zip(&all) {
        assert_eq!(expected.len(), *count);
        for item in expected {
            let post = arrived.recv_timeout(WITHIN).unwrap();
            assert_eq!(&post.body["data"], item);
            assert_eq!(post.body["type"], item["event"]["event"]);
            assert_eq!(post.body["timestamp"], item["at"]);
            assert_eq!(post.path, "/in");
            assert!(post.signature.starts_with("v1,"));
        }
        assert!(arrived.recv_timeout(Duration::from_millis(300)).is_err(), "and nothing else");
    }
}

#[test]
fn t43_what_fails_comes_again_with_the_same_id_and_is_given_up_at_last() {
    let scene = Scene::new();
    let operate = scene.known.operate.as_str();
    let (port, arrived) = receiver(vec![
        "HTTP/1.1 500 Broken\r\ncontent-length: 6\r\n\r\nsecret",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 429 Slow\r\nretry-after: 7200\r\ncontent-length: 0\r\n\r\n",
        OK,
    ]);
    let hook = scene.hook(operate, "platform", port, Some(&["policy_set"]));
    scene.post(operate, &format!("{hook}/test"), &json!({})).is(202, "");
    let list = format!("{hook}/deliveries");
    let mut ids = Vec::new();
    let status = |code: u64| move |v: &Value| v["items"][0]["answer"] == code;
    for (code, problem, wait) in
        [(500, "status", 6 * SECOND), (302, "redirect", 62 * SECOND), (429, "status", 2 * HOUR)]
    {
        ids.push(arrived.recv_timeout(WITHIN).unwrap().id);
        let shown = scene.until(operate, &list, status(code));
        let item = &shown["items"][0];
        assert_eq!((&item["status"], &item["problem"]), (&json!("waiting"), &json!(problem)));
        assert_eq!(item["event"], "webhook_tested");
        assert!(!shown.to_string().contains("secret"), "nothing of the answer's body");
        scene.clock.set(scene.clock.now().plus(wait));
    }
    ids.push(arrived.recv_timeout(WITHIN).unwrap().id);
    let shown = scene.until(operate, &list, |v| v["items"][0]["status"] == "delivered");
    assert_eq!(shown["items"][0]["attempts"], 4);
    assert!(ids.iter().all(|id| *id == ids[0] && *id == text(&shown["items"][0]["id"])), "{ids:?}");
    // Once more, because somebody asks for it.
    let again = json!({ "seq": shown["items"][0]["seq"], "index": shown["items"][0]["index"] });
    scene.post(operate, &format!("{hook}/redeliver"), &again).is(202, "");
    assert_eq!(arrived.recv_timeout(WITHIN).unwrap().id, ids[0]);
    let other = json!({ "seq": 1, "index": 0 });
    scene.post(operate, &format!("{hook}/redeliver"), &other).is(404, "not_found");
}

#[test]
fn t43_who_says_that_it_is_gone_is_told_nothing_more_and_it_is_on_record() {
    let scene = Scene::new();
    let operate = scene.known.operate.as_str();
    let (port, arrived) = receiver(vec!["HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"]);
    let hook = scene.hook(operate, "platform", port, None);
    scene.post(operate, &format!("{hook}/test"), &json!({})).is(202, "");
    arrived.recv_timeout(WITHIN).unwrap();
    scene.until(operate, &hook, |v| v["status"] == "gone");
    scene.post(operate, &format!("{hook}/test"), &json!({})).is(409, "wrong_state");
    let dead = scene.get(operate, &format!("{hook}/deliveries?status=dead")).ok();
    assert_eq!(dead["items"][0]["problem"], "gone");
}

#[test]
fn t48_an_erasure_between_event_and_delivery_leaves_no_word() {
    let scene = Scene::new();
    let operate = scene.known.operate.as_str();
    let (port, arrived) = receiver(vec!["HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n", OK]);
    scene.hook(operate, "platform", port, Some(&["account_made"]));
    let account = "/v1/organisations/marina/accounts/boat-77";
    let provision = scene.known.provision.as_str();
    let made = scene.put(provision, account, &json!({ "name": "Saint Brendan" })).ok();
    let first = arrived.recv_timeout(WITHIN).unwrap();
    assert!(first.body.to_string().contains("Saint Brendan"));
    scene.call(provision, "DELETE", account, None).ok();
    let erase = json!({ "account": first.body["data"]["event"]["account"] });
    assert!(made.is_object());
    scene.post(provision, "/v1/erasures", &erase).ok();
    let second = scene.comes_again(&arrived);
    assert_eq!(second.id, first.id);
    assert!(!second.body.to_string().contains("Brendan"));
    assert_eq!(second.body["data"]["words"], json!({}));
}

#[test]
fn t43_addresses_inside_are_refused_at_once_and_at_each_delivery() {
    let scene = Scene::new();
    let operate = scene.known.operate.as_str();
    for url in [
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.7/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "http://hooks.example.com/",
        "https://user@hooks.example.com/",
        "https://intranet/",
    ] {
        let told = scene.post(operate, "/v1/platform/webhooks", &json!({ "url": url }));
        told.is(422, "invalid");
        assert_eq!(told.json()["field"], "url");
    }
    // A name of the public internet that leads nowhere, or inside: it is never called.
    let body = json!({ "url": "https://rebinding.example.com/", "events": ["policy_set"] });
    let made = scene.post(operate, "/v1/platform/webhooks", &body).ok();
    let hook = format!("/v1/platform/webhooks/{}", text(&made["id"]));
    scene.post(operate, &format!("{hook}/test"), &json!({})).is(202, "");
    let told = scene.until(operate, &format!("{hook}/deliveries"), |v| {
        v["items"][0]["problem"] == "not_resolved"
    });
    assert_eq!(told["items"][0]["status"], "waiting");
    // Who may not name one learns nothing about addresses.
    let url = json!({ "url": "https://10.0.0.7/" });
    let path = "/v1/organisations/marina/webhooks";
    scene.post(scene.at("sue@marina"), path, &url).is(403, "forbidden");
    scene.post(scene.at("quinn@quayside"), path, &url).is(404, "not_found");
}

#[test]
fn t46_a_stop_waits_for_no_name_that_is_being_looked_up() {
    let scene = Scene::new();
    let operate = &scene.known.operate;
    let body = json!({ "url": "https://never.example/in" });
    let made = scene.post(operate, "/v1/platform/webhooks", &body).ok();
    let path = format!("/v1/platform/webhooks/{}", text(&made["id"]));
    scene.call(operate, "POST", &format!("{path}/test"), None).ok();
    let tried =
        || scene.get(operate, &format!("{path}/deliveries")).ok()["items"][0]["attempts"].clone();
    while tried() != json!(1) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let began = std::time::Instant::now();
    scene.app.stop();
    // The call itself has five seconds, and the name would take a minute.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn t57_an_address_that_is_told_no_more_hears_of_it_and_not_of_what_took_its_place() {
    let scene = Scene::new();
    let ana = scene.at("ana@marina");
    let (first, at_first) = receiver(vec![OK]);
    let (second, at_second) = receiver(vec!["HTTP/1.1 500 No\r\n\r\n", OK]);
    let path = "/v1/organisations/marina/webhooks";
    let body = json!({ "url": format!("http://127.0.0.1:{first}/in"), "events": ["grant_ended"] });
    let made = scene.post(ana, path, &body).ok();
    let (hook, secret) = (format!("{path}/{}", text(&made["id"])), text(&made["secret"]));
    let put = |body: Value| drop(scene.put(ana, &hook, &body).ok());
    // Once no node can tell it anything any more; on a clock that stands still.
    let heard = |at: &Receiver<Post>| {
        for _ in 0..400 {
            if let Ok(post) = at.recv_timeout(Duration::from_millis(50)) {
                return post;
            }
            scene.wait(200);
        }
        panic!("it was not told");
    };
    let to = |port: u16, active: bool| json!({ "url": format!("http://127.0.0.1:{port}/in"), "events": ["grant_ended"], "active": active });
    put(to(second, true));
    let told = heard(&at_first);
    assert_eq!(
        (&told.body["type"], &told.body["data"]["webhook"]),
        (&json!("webhook_changed"), &made["id"])
    );
    assert!(!told.body.to_string().contains(&format!(":{second}/")), "{}", told.body);
    assert!(told.id.ends_with("_bye") && told.signature.starts_with("v1,"));
    // Turned off: what failed is tried again, under the same name.
    put(to(second, false));
    let (failed, told) = (heard(&at_second), heard(&at_second));
    assert_eq!((&failed.id, &told.body["type"]), (&told.id, &json!("webhook_standing")));
    // Turned on again, and removed with its secrets.
    put(to(second, true));
    scene.call(ana, "DELETE", &hook, None).ok();
    let told = heard(&at_second);
    assert_eq!(told.body["type"], json!("webhook_removed"));
    assert!(told.signature.starts_with("v1,") && secret.starts_with("whsec_"));
    // Each once: nobody hears anything more.
    scene.wait(60_000);
    std::thread::sleep(Duration::from_millis(400));
    assert!(at_first.try_recv().is_err() && at_second.try_recv().is_err());
}
