//! The first run, with real processes: the link that a start prints at the terminal.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::process::Server;

const MARK: &str = "/console/first-run#";
const SERVE: [&str; 7] = ["serve", "--listen", "127.0.0.1:0", "--data", "data", "--log", "trace"];

/// The token of the link that this start printed.
fn token(server: &mut Server) -> String {
    let link = server.read_until(MARK);
    let (outside, token) = link.trim().split_once(MARK).unwrap();
    assert_eq!(outside, format!("http://{}", server.address));
    token.to_owned()
}

/// Sends the form as a browser would; the status and the page.
fn claim(server: &Server, token: &str) -> (u16, String) {
    let fields = [
        ("token", token),
        ("organisation_name", "Marina+Bay"),
        ("organisation_id", ""),
        ("admin_name", "Ana+Alvarez"),
        ("admin_email", "ana%40marina.example"),
        ("admin_id", ""),
        ("password", "correct+horse+battery+staple"),
    ];
    let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (body, at) = (body.join("&"), &server.address);
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "POST /console/first-run HTTP/1.1\r\nHost: {at}\r\nOrigin: http://{at}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[test]
fn t54_the_first_start_prints_a_link_that_works_once_and_a_restart_another() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Server::by_hand(folder.path(), &SERVE);
    let old = token(&mut first);
    let (status, out) = first.terminate(Duration::from_secs(60));
    assert!(status.success() && !out.contains("cmt_key_"), "{out}");

    let mut second = Server::by_hand(folder.path(), &SERVE);
    let new = token(&mut second);
    assert_ne!(old, new);
    assert_eq!(claim(&second, &old).0, 422, "a restart ends the link before it");
    // Of many at once one is answered with keys.
    let answers: Vec<(u16, String)> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..4).map(|_| scope.spawn(|| claim(&second, &new))).collect();
        tries.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mut won = answers.iter().filter(|(status, _)| *status == 200);
    let page = &won.next().expect("one claim goes through").1;
    assert!(won.next().is_none(), "and only one");
    let keys: Vec<&str> = page
        .split("value=\"")
        .filter_map(|rest| rest.split('"').next())
        .filter(|value| value.starts_with("cmt_key_"))
        .collect();
    assert_eq!(keys.len(), 2, "{page}");
    second.expect(200, "GET", "/v1/platform/policy", keys[0], serde_json::Value::Null);
    let organisations =
        second.expect(200, "GET", "/v1/organisations/marina-bay", keys[1], serde_json::Value::Null);
    assert_eq!(organisations["name"], "Marina Bay");
    assert_eq!(claim(&second, &new).0, 404);
    let (_, out) = second.terminate(Duration::from_secs(60));
    assert_eq!(out.matches(&*new).count(), 1, "the link is printed and never logged: {out}");
    assert!(!out.contains("cmt_key_") && !out.contains("battery"), "{out}");

    // Nobody is offered what somebody holds.
    let third = Server::by_hand(folder.path(), &SERVE);
    let (_, out) = third.terminate(Duration::from_secs(60));
    assert!(!out.contains(MARK) && !out.contains("cmt_"), "{out}");
}

#[test]
fn a_program_is_given_a_key_in_place_of_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::by_hand(folder.path(), &[&SERVE[..], &["--first-key"]].concat());
    let key = server.read_until("cmt_key_").trim().to_owned();
    server.expect(200, "GET", "/v1/platform/policy", &key, serde_json::Value::Null);
    let (_, out) = server.terminate(Duration::from_secs(60));
    assert!(!out.contains(MARK), "{out}");
}
