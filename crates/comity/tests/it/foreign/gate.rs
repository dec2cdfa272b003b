//! The gate behind real proxies: nginx and Caddy with the example files, in front of a small product
//! that says what reached it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::tools;
use crate::process::{Server, workspace};

/// A program of the system's, or the one that `make tools` unpacked.
fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let own = tools().join("proxies");
    let known = path.split(':').map(PathBuf::from);
    let mut places = known.chain([own.join("usr/sbin"), own.join("usr/bin")]);
    let found = places.find(|p| p.join(name).exists());
    found.unwrap_or_else(|| panic!("run `make tools` first: no {name}")).join(name)
}

/// A port that nobody has at the moment.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The product: answers every request with its own head.
fn product() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
                length = said.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A request as it goes over the wire, and what came back: status and everything after it.
fn send(port: u16, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let text = format!("{head}\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer to {head:?}: {answer:?}")), answer)
}

/// Stopped when dropped.
struct Proxy(Child, u16);

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx's workers end with their master only if that is asked to.
        let pid = i32::try_from(self.0.id()).unwrap();
        let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Starts a proxy by an example file, with the ports of this run.
fn proxy(folder: &Path, name: &str, comity: &str, product: u16) -> Proxy {
    let own = port();
    let file = match name {
        "nginx" => "nginx.conf",
        _ => "Caddyfile",
    };
    let text = std::fs::read_to_string(workspace().join("examples/gate").join(name).join(file));
    let text = text
        .unwrap()
        .replace("127.0.0.1:8420", comity)
        .replace("127.0.0.1:9000", &format!("127.0.0.1:{product}"))
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{own}"));
    // Where a package's own folders belong to somebody else.
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {}/{kind};\n", folder.display()))
        .concat();
    let text = text.replace("    access_log off;\n", &format!("    access_log off;\n{temporary}"));
    let config = folder.join(file);
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(program(name));
    match name {
        "nginx" => {
            // A worker under another user could not read the test's folder.
            let global = "daemon off; user root;";
            let global = if is_root() { global } else { "daemon off;" };
            command.args(["-p".as_ref(), folder, "-c".as_ref(), config.as_path()]);
            command.args(["-e", "stderr", "-g", global]);
        }
        _ => {
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&config);
            command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        }
    }
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null()).spawn();
    let proxy = Proxy(child.unwrap(), own);
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", own)).is_ok() {
            return proxy;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{name} does not listen");
}

fn is_root() -> bool {
    let said = Command::new("id").arg("-u").output().unwrap();
    said.stdout.starts_with(b"0")
}

/// A demo with a gate, and the token of a session in it.
fn comity(folder: &Path, from: &str, no_session: &str) -> (Server, String) {
    let gate = std::fs::read_to_string(workspace().join("examples/gate/gate.toml")).unwrap();
    let gate = gate
        .replace("from = \"nginx\"", &format!("from = \"{from}\""))
        .replace("no_session = \"refuse\"", &format!("no_session = \"{no_session}\""));
    let file = folder.join("gate.toml");
    std::fs::write(&file, gate).unwrap();
    let data = folder.join("data");
    let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
    let mut demo = Server::start(
        folder,
        &["demo", "--listen", "127.0.0.1:0", "--data", data, "--gate", file, "--no-limits"],
    );
    demo.read_until("The five-minute tour");
    let env = std::fs::read_to_string(folder.join("data/demo.env")).unwrap();
    let of = |name: &str| {
        let line = env.lines().find_map(|l| l.strip_prefix(&format!("{name}=")));
        line.unwrap().trim_matches('\'').to_owned()
    };
    let curl = |arguments: &[&str]| -> Value {
        let done = Command::new("curl").args(["-s", "--noproxy", "*"]).args(arguments).output();
        serde_json::from_slice(&done.unwrap().stdout).unwrap()
    };
    let own = format!("http://{}", demo.address);
    let who = format!(
        "{{\"email\":\"quentin@harbor-help.example\",\"password\":\"{}\"}}",
        of("PASSWORD")
    );
    let signed =
        curl(&[&format!("{own}/v1/sign-in"), "-H", "Content-Type: application/json", "-d", &who]);
    let entered = curl(&[
        &format!("{own}/oauth/token"),
        "-d",
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange",
        "-d",
        "subject_token_type=urn:ietf:params:oauth:token-type:access_token",
        "-d",
        &format!("subject_token={}", signed["token"].as_str().unwrap()),
        "-d",
        "audience=https://api.boats.example",
        "-d",
        &format!("resource=urn:comity:organisation:{}", of("MARINA")),
        "-d",
        "mode=direct",
    ]);
    let token = entered["access_token"].as_str().unwrap_or_else(|| panic!("{entered}")).to_owned();
    (demo, token)
}

fn tried_behind(name: &str, from: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (demo, token) = comity(folder.path(), from, "refuse");
    let proxy = proxy(folder.path(), name, &demo.address, product());
    let bearer = format!("Authorization: Bearer {token}");
    let own = [
        "X-Partner-Actor: per_forged",
        "x-partner-roles: owner",
        "X_Partner_Actor: per_forged",
        "X-Partner-Reason: forged",
    ]
    .join("\r\n");

    // Through, with who it is, and nothing that the client said of that.
    let (status, said) =
        send(proxy.1, &format!("GET /v1/boats/pier-1/log?x=1 HTTP/1.1\r\n{bearer}\r\n{own}"));
    assert_eq!(status, 200, "{name}: {said}");
    let said = said.to_lowercase();
    assert!(said.contains("get /v1/boats/pier-1/log?x=1 http/1.1"), "{name}: {said}");
    assert_eq!(said.matches("x-partner-actor:").count(), 1, "{name}: {said}");
    assert!(said.contains("x-partner-customer-id: marina-bay"), "{name}: {said}");
    assert!(said.contains("x-partner-organisation-id: harbor-help"), "{name}: {said}");
    assert!(!said.contains("forged") && !said.contains("owner"), "{name}: {said}");

    // Not through, by whatever way.
    for (head, expected) in [
        (format!("GET /v1/boats/pier-1 HTTP/1.1\r\n{own}"), 401),
        (format!("GET /v1/boats/pier-1 HTTP/1.1\r\nAuthorization: Bearer {token}x"), 401),
        (format!("GET /v1/elsewhere HTTP/1.1\r\n{bearer}"), 403),
        (format!("DELETE /v1/boats/pier-1 HTTP/1.1\r\n{bearer}"), 403),
        (format!("GET /v1/boats/nowhere HTTP/1.1\r\n{bearer}"), 403),
        (format!("GET /v1/boats/pier-1/..%2f..%2fadmin HTTP/1.1\r\n{bearer}"), 403),
        (format!("GET /v1/bookings?boat=pier-1&boat=pier-2 HTTP/1.1\r\n{bearer}"), 403),
        // The client speaks as the proxy does.
        (
            format!(
                "DELETE /v1/boats/pier-1 HTTP/1.1\r\n{bearer}\r\nX-Original-Method: GET\r\nX-Forwarded-Method: GET"
            ),
            403,
        ),
        (
            format!(
                "GET /admin HTTP/1.1\r\n{bearer}\r\nX-Original-URI: /v1/boats/pier-1\r\nX-Forwarded-Uri: /v1/boats/pier-1"
            ),
            403,
        ),
    ] {
        let (status, said) = send(proxy.1, &head);
        assert_eq!(status, expected, "{name}: {head}: {said}");
        assert!(!said.to_lowercase().contains("x-partner-actor:"), "{name}: {head}: {said}");
    }

    // A client names the proxy's headers as its own connection's: a proxy would take them away again.
    let named = NAMES.map(|n| format!("X-Partner-{n}")).join(", ");
    let head = format!("GET /v1/boats/pier-1/log HTTP/1.1\r\n{bearer}\r\nConnection: {named}");
    let (status, said) = send(proxy.1, &head);
    if status == 200 {
        for header in NAMES {
            let line = format!("\nx-partner-{}: ", header.to_lowercase());
            assert!(said.to_lowercase().contains(&line), "{name}: {header}: {said}");
        }
    } else {
        assert_eq!(status, 400, "{name}: {said}");
    }

    // Comity is gone: nobody comes through.
    demo.kill();
    let (status, _) = send(proxy.1, &format!("GET /v1/boats/pier-1 HTTP/1.1\r\n{bearer}"));
    assert!(status >= 500, "{name}: {status}");
}

/// What each header of the gate's is called, after `X-Partner-`.
const NAMES: [&str; 10] = [
    "Actor",
    "Subject",
    "Organisation",
    "Organisation-Id",
    "Customer",
    "Customer-Id",
    "Session",
    "Grant",
    "Mode",
    "Roles",
];

/// How one header may be spelt so that some framework takes it for that one.
fn spellings(name: &str, signs: &[&str]) -> Vec<String> {
    let mut all = vec![String::new()];
    for (at, part) in name.split('-').enumerate() {
        let signs = if at == 0 { &[""][..] } else { signs };
        let longer = |s: &String| signs.iter().map(|sign| format!("{s}{sign}{part}")).collect();
        all = all.iter().flat_map(|s| -> Vec<String> { longer(s) }).collect();
    }
    all
}

/// Where requests without a session pass, nothing but the proxy keeps anybody from being anybody.
fn strangers_behind(name: &str, from: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (demo, token) = comity(folder.path(), from, "pass");
    let proxy = proxy(folder.path(), name, &demo.address, product());
    for header in NAMES.iter().chain(&["Reason"]) {
        let mut forged = String::new();
        for spelt in spellings(&format!("X-Partner-{header}"), &["-", "_", "."]) {
            for spelt in [spelt.to_lowercase(), spelt.to_uppercase(), spelt] {
                forged += &format!("\r\n{spelt}: forged");
            }
        }
        for more in ["", "\r\nAuthorization: Bearer the-products-own"] {
            let (status, said) = send(proxy.1, &format!("GET /v1/x HTTP/1.1{forged}{more}"));
            assert_eq!(status, 200, "{name}: {header}: {said}");
            assert!(!said.contains("forged"), "{name}: {header}: {said}");
            assert!(!said.to_lowercase().contains("partner"), "{name}: {header}: {said}");
        }
    }
    // An ended or mistyped token makes nobody a stranger.
    let head = format!("GET /v1/boats/pier-1 HTTP/1.1\r\nAuthorization: Bearer {token}x");
    assert_eq!(send(proxy.1, &head).0, 401);
    drop(demo);
}

#[test]
fn t17_nginx_lets_strangers_say_nothing_of_who_they_are() {
    strangers_behind("nginx", "nginx");
}

#[test]
fn t17_caddy_lets_strangers_say_nothing_of_who_they_are() {
    strangers_behind("caddy", "forwarded");
}

/// Those that no test runs take away the same headers.
#[test]
fn t17_traefik_and_envoy_take_away_every_header_of_the_gate() {
    let read = |file: &str| std::fs::read_to_string(workspace().join("examples/gate").join(file));
    let (traefik, envoy) =
        (read("traefik/dynamic.yml").unwrap(), read("envoy/envoy.yaml").unwrap());
    for header in NAMES.iter().chain(&["Reason"]) {
        let name = format!("X-Partner-{header}");
        for spelt in spellings(&name, &["-", "_"]) {
            assert!(traefik.contains(&format!(" {spelt}: \"\"\n")), "{spelt}");
        }
        assert!(envoy.contains(&format!("- remove: {}\n", name.to_lowercase())), "{name}");
    }
    assert!(envoy.contains("headers_with_underscores_action: REJECT_REQUEST"));
}

#[test]
fn r18_the_gate_behind_nginx_strips_what_clients_say_and_lets_through_what_is_given() {
    tried_behind("nginx", "nginx");
}

#[test]
fn r18_the_gate_behind_caddy_strips_what_clients_say_and_lets_through_what_is_given() {
    tried_behind("caddy", "forwarded");
}
