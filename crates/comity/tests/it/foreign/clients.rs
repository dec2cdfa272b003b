//! The clients against the real server: their own tests, and the quick start of each README.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use comity_client::{Comity, Decision, Introspection, Mode, Question, Settings, Verifier};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{node, python, quick_start, ran, tools};
use crate::process::{Server, string, workspace};

/// A demo of its own.
pub struct Demo {
    server: Server,
    folder: TempDir,
}

/// Tess of `SailSupport` inside Marina Bay, with the role `bookings`.
struct Stay {
    token: String,
    grant: String,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server =
            Server::start(folder.path(), &["demo", "--no-limits", "--listen", "127.0.0.1:0"]);
        server.read_until("The five-minute tour");
        Self { server, folder }
    }

    fn env_file(&self) -> PathBuf {
        self.folder.path().join("comity-demo/demo.env")
    }

    fn value(&self, name: &str) -> String {
        let env = std::fs::read_to_string(self.env_file()).unwrap();
        let line = env.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name}")).trim_matches('\'').to_owned()
    }

    fn sign_in(&self, email: &str) -> String {
        let body = json!({"email": email, "password": self.value("PASSWORD")});
        string(&self.server.expect(200, "POST", "/v1/sign-in", "none", body), "/token")
    }

    fn enter(&self, kind: &str) -> Stay {
        let (sam, ana) =
            (self.sign_in("sam@sailsupport.example"), self.sign_in("ana@marina-bay.example"));
        let expect = |status, who: &str, method, path: &str, body| {
            self.server.expect(status, method, path, who, body)
        };
        let asked = json!({"customer_id": self.value("CUSTOMER_ID"), "level": "partner", "modes": ["direct"],
            "reason": "A test"});
        let asked = expect(201, &sam, "POST", "/v1/organisations/sailsupport/requests", asked);
        let request = format!("/v1/requests/{}", string(&asked, "/id"));
        let terms = json!({"roles": ["bookings"], "days": 7, "jwt": true});
        let summary = expect(200, &ana, "POST", &format!("{request}/summary"), terms.clone());
        let body = json!({"summary": summary["summary"], "terms": terms});
        let approved = expect(200, &ana, "POST", &format!("{request}/approve"), body);
        let grant = string(&approved, "/grant");
        let tess = self.value("TESS");
        let path = format!("/v1/grants/{grant}/assignments/{tess}");
        let assigned = self.server.call("PUT", &path, &sam, r#"{"roles": ["bookings"]}"#).unwrap();
        assert!(assigned.0 < 300, "{assigned:?}");
        let urn = "urn:ietf:params:oauth";
        let form = format!(
            "grant_type={urn}:grant-type:token-exchange&subject_token_type={urn}:token-type:access_token\
             &requested_token_type={urn}:token-type:{kind}&subject_token={}&audience=https://api.boats.example\
             &resource=urn:comity:organisation:{}&grant={grant}",
            self.sign_in("tess@sailsupport.example"),
            self.value("MARINA"),
        );
        // A client of OAuth sends no bearer here, so curl does it.
        let url = format!("http://{}/oauth/token", self.server.address);
        let mut curl = Command::new("curl");
        let entered = ran(curl.args(["-s", "--noproxy", "*", "-d", &form, &url]));
        let entered: Value = serde_json::from_str(&entered).unwrap();
        Stay { token: string(&entered, "/access_token"), grant }
    }

    fn revoke(&self, stay: &Stay) {
        let ana = self.sign_in("ana@marina-bay.example");
        let path = format!("/v1/grants/{}/revoke", stay.grant);
        self.server.expect(200, "POST", &path, &ana, Value::Null);
    }

    /// The quick start of a README lets Tess in, and not after the revoke.
    fn try_quick_start(&self, address: &str) {
        let stay = self.enter("access_token");
        let get = |token: &str| {
            // No server of ours: it may send its body in chunks, so curl reads it.
            let url = format!("http://{address}/accounts/pier-1");
            let bearer = format!("Authorization: Bearer {token}");
            let mut curl = Command::new("curl");
            curl.args(["-s", "--noproxy", "*", "--retry", "30", "--retry-connrefused"]);
            curl.args(["--retry-delay", "1", "-w", " %{http_code}", "-H", &bearer, &url]);
            ran(&mut curl)
        };
        let yes = get(&stay.token);
        assert!(yes.ends_with(" 200") && yes.contains(&self.value("TESS")), "{yes}");
        assert!(get("cmt_session_guess").ends_with(" 403"));
        self.revoke(&stay);
        let no = get(&stay.token);
        assert!(no.ends_with(" 403") && no.contains("\"revoked\""), "{no}");
    }
}

/// A server of somebody else's with everything that it started. Killed when dropped.
pub struct Running(Child);

impl Running {
    /// Starts it in a process group of its own: `tsx` is only the parent of what serves.
    pub fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        Self(quiet.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("kill -KILL -{}", self.0.id());
        let _ = Command::new("sh").args(["-c", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

/// A port that nobody uses now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Copies a folder, without what was installed or built there.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if ["node_modules", "dist", "__pycache__"].iter().any(|n| name == **n) {
            continue;
        }
        let to = to.join(&name);
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn quick_start_of(client: &str, language: &str) -> String {
    let readme = workspace().join("clients").join(client).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, rest) = readme.split_once(&format!("<!-- quick start -->\n```{language}\n")).unwrap();
    rest.split_once("```\n<!-- /quick start -->").unwrap().0.to_owned()
}

/// The TypeScript client, built in a folder from which Node finds the tools' packages.
fn typescript() -> TempDir {
    let folder = tempfile::tempdir_in(tools().join("node")).unwrap();
    copy(&workspace().join("clients/typescript"), folder.path());
    ran(node("tsc").current_dir(folder.path()));
    folder
}

/// `make clients` sets `COMITY_BLESS` and writes them anew.
#[test]
fn the_wire_types_of_the_clients_are_those_of_the_document() {
    let files = ["rust/src/wire.rs", "typescript/src/wire.ts", "python/src/comity_client/wire.py"];
    let (folder, clients) = (tempfile::tempdir().unwrap(), workspace().join("clients"));
    for file in files {
        std::fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
    }
    let document = super::openapi::Demo::start().document(folder.path());
    let generator = tools().join("node/node_modules/.bin/openapi-typescript");
    let script = workspace().join("scripts/client-types");
    ran(python().arg(script).arg(&document).arg(folder.path()).arg(generator));
    for file in files {
        let (new, old) = (folder.path().join(file), clients.join(file));
        if std::env::var_os("COMITY_BLESS").is_some() {
            std::fs::copy(&new, &old).unwrap();
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert!(read(&new) == read(&old), "{file} is not of this server: run `make clients`");
    }
}

#[test]
fn the_typescript_client_and_its_quick_start() {
    let (demo, folder) = (Demo::start(), typescript());
    let tests = ["ask", "verify", "webhook", "middleware"].map(|t| format!("test/{t}.test.ts"));
    let out = ran(node("tsx")
        .args(["--test", "--test-reporter=tap", "--test-timeout=120000", "--test-force-exit"])
        .args(tests)
        .current_dir(folder.path())
        .env("COMITY_DEMO_ENV", demo.env_file())
        .env("COMITY_BAD_ANSWERS", workspace().join("clients/bad-answers.json")));
    assert!(out.contains("# fail 0") && out.contains("# skipped 0"), "{out}");
    let passed = out.lines().find_map(|l| l.strip_prefix("# pass ")?.parse().ok());
    assert!(passed.is_some_and(|n: u32| n >= 24), "{out}");

    let code = quick_start_of("typescript", "ts");
    std::fs::write(folder.path().join("src/quick-start.ts"), code).unwrap();
    ran(node("tsc").current_dir(folder.path()));
    let port = free_port();
    let _app = Running::start(
        node("tsx")
            .arg("src/quick-start.ts")
            .current_dir(folder.path())
            .env("COMITY", demo.value("COMITY"))
            .env("DECIDE_KEY", demo.value("DECIDE_KEY"))
            .env("PORT", port.to_string()),
    );
    demo.try_quick_start(&format!("127.0.0.1:{port}"));
}

#[test]
fn the_python_client_and_its_quick_start() {
    let demo = Demo::start();
    let client = workspace().join("clients/python");
    for check in [["check", "--no-cache"], ["format", "--check"]] {
        ran(python().args(["-m", "ruff"]).args(check).arg(".").current_dir(&client));
    }
    let out = ran(python()
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"])
        .current_dir(&client)
        .env("PYTHONPATH", "src")
        .env("COMITY_DEMO_ENV", demo.env_file()));
    let last = out.lines().rfind(|l| l.contains(" passed")).unwrap_or_default();
    assert!(!last.contains("skipped"), "{out}");
    let passed = last.split(" passed").next().and_then(|n| n.trim_matches('=').trim().parse().ok());
    assert!(passed.is_some_and(|n: u32| n >= 65), "{out}");

    let folder = tempfile::tempdir().unwrap();
    let code = quick_start_of("python", "python");
    std::fs::write(folder.path().join("quick_start.py"), code).unwrap();
    let port = free_port();
    let _app = Running::start(
        python()
            .args(["-m", "uvicorn", "quick_start:app", "--port", &port.to_string()])
            .current_dir(folder.path())
            .env("PYTHONPATH", client.join("src"))
            .env("COMITY", demo.value("COMITY"))
            .env("DECIDE_KEY", demo.value("DECIDE_KEY")),
    );
    demo.try_quick_start(&format!("127.0.0.1:{port}"));
}

#[test]
fn the_rust_client_and_its_quick_start() {
    assert_eq!(quick_start_of("rust", "rust"), include_str!("quick_start.rs"));
    let demo = Demo::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = quick_start::app(&demo.value("COMITY"), &demo.value("DECIDE_KEY")).unwrap();
    runtime.spawn(async move { axum::serve(listener, app).await });
    demo.try_quick_start(&address);

    let comity = Comity::new(&Settings::new(&demo.value("COMITY"), &demo.value("DECIDE_KEY")));
    let comity = comity.unwrap();
    let stay = demo.enter("jwt");
    let verifier = Verifier::new(&demo.value("COMITY"), "https://api.boats.example").unwrap();
    let verified = runtime.block_on(verifier.verify(&stay.token)).unwrap();
    assert_eq!((&verified.subject, &verified.actor), (&demo.value("TESS"), &demo.value("TESS")));
    let told = runtime.block_on(comity.introspect(&stay.token, "boats-api"));
    assert!(matches!(told, Introspection::Active(c) if c["sid"] == verified.session.as_str()));

    let opaque = demo.enter("access_token");
    let write = Question::account("bookings:write", "pier-1");
    let decide = |q: &Question| runtime.block_on(comity.decide(&opaque.token, q));
    let Decision::Yes(yes) = decide(&write) else { panic!("no yes") };
    assert_eq!((yes.organisation, yes.mode), (demo.value("MARINA"), Mode::Direct));
    assert_eq!(decide(&write.clone().of("org_other")).reason(), "wrong_resource");
    assert!(decide(&write.clone().at_least(yes.seq)).is_yes());
    assert_eq!(decide(&write.clone().at_least(yes.seq + 1_000_000)).cause(), Some("stale"));
    assert_eq!(decide(&Question::account("maintenance:write", "pier-1")).reason(), "no_role");
    demo.revoke(&opaque);
    assert_eq!(decide(&write).reason(), "revoked");
    demo.revoke(&stay);
    let told = runtime.block_on(comity.introspect(&stay.token, "boats-api"));
    assert_eq!(told, Introspection::Inactive(None));
}
