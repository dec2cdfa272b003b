//! `/v1/events` as a stream, over real connections: the same items as the list, and not one after
//! the right to read them is gone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use comity_api::limits::Settings;
use comity_api::{limited_router, server};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::doors::{Scene, ask};
use crate::harness::{request, text};

/// The scene on a socket.
struct Open {
    scene: Scene,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Open {
    fn new(settings: &Settings) -> Self {
        let scene = Scene::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let router = limited_router(Arc::clone(&scene.app), settings);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(server::serve(listener, router, std::future::pending()));
        Self { scene, address, _runtime: runtime }
    }

    fn listen(&self, token: &str, query: &str, last: Option<u64>) -> Listener {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(
            stream,
            "GET /v1/events?{query} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {token}\r\n{last}\r\n"
        )
        .unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let status = head[9..12].parse().unwrap();
        Listener { lines, head: head.to_lowercase(), status, kept: String::new() }
    }

    /// All that the list has to say behind `after`.
    fn list(&self, token: &str, query: &str, after: u64) -> (Vec<Value>, u64) {
        let (mut all, mut after) = (Vec::new(), after);
        loop {
            let page =
                self.scene.get(token, &format!("/v1/events?{query}&after={after}&limit=200")).ok();
            let items = page["items"].as_array().unwrap().clone();
            after = page["after"].as_u64().unwrap();
            if items.is_empty() {
                return (all, after);
            }
            all.extend(items);
        }
    }
}

struct Listener {
    lines: BufReader<TcpStream>,
    head: String,
    status: u16,
    kept: String,
}

/// What a client library makes of a block.
#[derive(Debug, Default, PartialEq)]
struct Told {
    id: Option<u64>,
    event: String,
    data: Option<Value>,
}

impl Listener {
    /// The next block; `None` at the end.
    fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((block, rest)) = self.kept.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.kept = rest;
                let mut told = Told::default();
                for line in block.lines() {
                    match line.split_once(": ").expect("field and value") {
                        ("id", id) => told.id = Some(id.parse().unwrap()),
                        ("event", name) => name.clone_into(&mut told.event),
                        ("data", data) => told.data = Some(serde_json::from_str(data).unwrap()),
                        ("", _) => {}
                        other => panic!("{other:?}"),
                    }
                }
                return Some(told);
            }
            let mut size = String::new();
            self.lines.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2];
            if size == 0 || std::io::Read::read_exact(&mut self.lines, &mut chunk).is_err() {
                return None;
            }
            self.kept.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
    }

    /// Everything up to the first sign of life that tells nothing, with its position.
    fn up_to_now(&mut self, count: usize) -> (Vec<Value>, Option<u64>) {
        let (mut all, mut last) = (Vec::new(), None);
        while all.len() < count {
            let told = self.next().expect("more");
            last = told.id.or(last);
            if let Some(data) = told.data {
                assert_eq!(told.event, data["event"]["event"], "named by what happened");
                assert_eq!(told.id.unwrap_or(data["seq"].as_u64().unwrap()), data["seq"]);
                all.push(data);
            }
        }
        (all, last)
    }
}

#[test]
fn a_stream_tells_what_the_list_tells_and_goes_on_where_it_broke_off() {
    let open = Open::new(&Settings::default());
    let ana = open.scene.at("ana@marina");
    for (token, query) in [(open.scene.known.provision.as_str(), "x"), (ana, "organisation=marina")]
    {
        let query = if query == "x" { "limit=200" } else { query };
        let (list, _) = open.list(token, query.strip_prefix("limit=200").unwrap_or(query), 0);
        let mut stream = open.listen(token, query, None);
        assert_eq!(stream.status, 200, "{}", stream.head);
        assert!(stream.head.contains("content-type: text/event-stream\r\n"), "{}", stream.head);
        assert!(stream.head.contains("cache-control: no-store\r\n"), "{}", stream.head);
        let (told, last) = stream.up_to_now(list.len());
        assert_eq!(told, list);
        assert_eq!(last, list.last().unwrap()["seq"].as_u64());
        // Broken off anywhere, also within a row: what comes then is what was missing, from the
        // beginning of the row.
        for cut in [1, 2, 3, list.len() / 2, list.len() - 1] {
            let mut stream = open.listen(token, query, None);
            let (mut had, last) = stream.up_to_now(cut);
            drop(stream);
            let from = last.unwrap_or(0);
            had.retain(|item| item["seq"].as_u64().unwrap() <= from);
            let mut again = open.listen(token, query, Some(from));
            let (rest, _) = again.up_to_now(list.len() - had.len());
            had.extend(rest);
            assert_eq!(had, list, "cut after {cut}");
        }
    }
}

#[test]
fn the_position_of_a_stream_is_that_of_the_list_and_news_comes_at_once() {
    let open = Open::new(&Settings::default());
    let (ana, pia) = (open.scene.at("ana@marina"), open.scene.at("pia@harbor-help"));
    let (_, after) = open.list(ana, "organisation=marina", 0);
    let mut stream = open.listen(ana, &format!("organisation=marina&after={after}"), None);
    let first = stream.next().unwrap();
    assert_eq!((first.id, first.data), (Some(after), None), "a sign of life, with the position");
    // Others' events move it and are not told; one's own is told when it happens.
    let account = "/v1/organisations/fjord/accounts/boat-1";
    assert_eq!(open.scene.call(&open.scene.known.provision, "DELETE", account, None).status, 204);
    let cancel = format!("/v1/requests/{}/cancel", open.scene.there.asked);
    let began = Instant::now();
    open.scene.post(pia, &cancel, &json!({})).ok();
    let told = stream.next().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(told.event, "request_cancelled");
    assert_eq!(open.list(ana, "organisation=marina", after).0, vec![told.data.unwrap()]);
    // `Last-Event-ID` goes before `after`; nonsense is refused by its name.
    let mut again = open.listen(ana, "organisation=marina&after=0", Some(told.id.unwrap()));
    assert_eq!(again.next().unwrap().data, None);
    let odd = open.listen(ana, "organisation=fjord", None);
    assert_eq!(odd.status, 404);
    assert_eq!(open.listen("", "organisation=fjord", None).status, 401);
    assert_eq!(open.listen(ana, "", None).status, 422);
}

/// Nothing but what was on its way may come any more.
fn ends_at_once(stream: &mut Listener) {
    let began = Instant::now();
    while let Some(told) = stream.next() {
        assert_eq!(told.data, None, "told after the right to read was gone");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn t25_a_withdrawn_key_sign_in_or_membership_ends_the_stream_at_once() {
    let open = Open::new(&Settings::default());
    let scene = &open.scene;
    let made =
        scene.post(&scene.known.operate, "/v1/platform/keys", &json!({ "use": "provision" })).ok();
    let (_, all) = open.list(&scene.known.provision, "", 0);
    let mut by_key = open.listen(&text(&made["secret"]), &format!("after={all}"), None);
    let listen = |who: &str, of: &str| {
        let mut stream =
            open.listen(scene.at(who), &format!("organisation={of}&after={all}"), None);
        assert_eq!(stream.next().unwrap().data, None);
        stream
    };
    assert_eq!(by_key.next().unwrap().data, None);
    let (mut ana, mut pia) =
        (listen("ana@marina", "marina"), listen("pia@harbor-help", "harbor-help"));
    let mut freya = listen("freya@fjord", "fjord");

    let key = format!("/v1/platform/keys/{}", text(&made["id"]));
    assert_eq!(scene.call(&scene.known.operate, "DELETE", &key, None).status, 204);
    ends_at_once(&mut by_key);

    assert_eq!(scene.post(scene.at("ana@marina"), "/v1/sign-out", &json!({})).status, 204);
    ends_at_once(&mut ana);

    // T35: what is left of a membership that ended is nothing.
    let fourth = json!({ "name": "Paul Pier", "email": "paul@harbor-help.example",
        "email_verified": true, "portal_role": "admin" });
    let at = "/v1/organisations/harbor-help/members";
    scene.put(&scene.known.provision, &format!("{at}/paul"), &fourth).ok();
    while pia.next().unwrap().id.is_none() {
        // Her own house: she is told of the whole row.
    }
    let gone = scene.call(&scene.known.provision, "DELETE", &format!("{at}/pia"), None);
    assert_eq!(gone.status, 204, "{}", gone.text());
    ends_at_once(&mut pia);

    // The clock ends a sign-in without anything happening: nothing is told behind it.
    scene.wait(9 * 3_600_000);
    let role = json!({ "name": "Deck", "permissions": ["boats:read"] });
    scene.put(&scene.known.provision, "/v1/organisations/fjord/roles/deck", &role).ok();
    ends_at_once(&mut freya);
}

#[test]
fn t45_streams_are_counted_end_with_the_stop_and_keep_nothing_for_who_does_not_read() {
    let open = Open::new(&Settings { event_streams: 2, ..Settings::default() });
    let scene = &open.scene;
    let ana = scene.at("ana@marina");
    let query = "organisation=marina";
    let mut first = open.listen(ana, query, None);
    let second = open.listen(ana, query, None);
    let third = open.listen(ana, query, None);
    assert_eq!((first.status, second.status, third.status), (200, 200, 429));
    assert!(third.head.contains("retry-after: "), "{}", third.head);
    assert_eq!(
        open.listen(scene.at("pia@harbor-help"), "organisation=harbor-help", None).status,
        200
    );
    drop(second);
    let began = Instant::now();
    while open.listen(ana, query, None).status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "the place is given back");
        std::thread::sleep(Duration::from_millis(50));
    }

    // In process, so that no socket keeps anything: one frame waits, and then it is over.
    let token = &scene.known.provision;
    let mut asked = request(token, "GET", "/v1/events", None);
    asked.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let taken = runtime.block_on(async {
        let answer = tower::ServiceExt::oneshot(scene.router.clone(), asked).await.unwrap();
        assert_eq!(answer.status(), 200);
        tokio::time::sleep(Duration::from_secs(7)).await;
        answer.into_body().collect().await.unwrap().to_bytes()
    });
    let taken = std::str::from_utf8(&taken).unwrap();
    assert_eq!(taken.matches("id: ").count(), 1, "one row, whatever there was: {taken}");

    scene.app.begin_stop();
    let began = Instant::now();
    while first.next().is_some() {}
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn t12_a_stream_of_one_organisation_tells_nothing_of_another() {
    let open = Open::new(&Settings::default());
    let scene = &open.scene;
    let (all, _) = open.list(scene.at("quinn@quayside"), "organisation=quayside", 0);
    let mut stream = open.listen(scene.at("quinn@quayside"), "organisation=quayside", None);
    ask(scene, "pia@harbor-help", &scene.there.fjord_code, "Sails and rigging");
    let (told, _) = stream.up_to_now(all.len());
    assert_eq!(told, all);
    let told = json!(told).to_string();
    for other in ["marina", "harbor-help", "fjord"] {
        assert!(!told.contains(&scene.known.organisations[other]), "{other}");
    }
    let socket = stream.lines.get_ref();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut line = String::new();
    stream.lines.read_line(&mut line).expect_err("what others do is no news here");
}
