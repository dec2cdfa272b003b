//! Real processes of the real binary, and a small HTTP client to talk to them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// The binary.
pub const COMITY: &str = env!("CARGO_BIN_EXE_comity");

/// The workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Has the first start print a key for programs, which most tests are.
const FIRST_KEY: &str = "COMITY_FIRST_KEY";

/// The binary in `folder`, untouched by the environment of whoever runs the tests.
pub fn comity(folder: &Path) -> Command {
    let mut command = Command::new(COMITY);
    command.current_dir(folder).stdin(Stdio::null()).env_remove("COLUMNS").env_remove("LINES");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COMITY_")) {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    comity(folder).args(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A config file without the limits that a load runs into.
pub fn unlimited(folder: &Path) -> String {
    let file = folder.join("unlimited.toml");
    let keys =
        ["customer_id", "customer_id_organisation", "exchange", "read", "write", "end", "sign_in"];
    let lines: Vec<String> = keys.iter().map(|key| format!("{key} = \"off\"\n")).collect();
    std::fs::write(&file, format!("[limits]\n{}", lines.concat())).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    /// Host and port.
    pub address: String,
    lines: Mutex<Receiver<String>>,
    /// What it has printed so far.
    pub printed: Vec<String>,
    errors: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts a command that serves, and waits until it has said where.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawned(comity(folder).args(arguments).env(FIRST_KEY, "true"))
    }

    /// The same as a person at the terminal would start it.
    pub fn by_hand(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawned(comity(folder).args(arguments))
    }

    fn spawned(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut all = String::new();
            let _ = stderr.read_to_string(&mut all);
            all
        });
        let mut server = Self {
            child,
            address: String::new(),
            lines: Mutex::new(lines),
            printed: Vec::new(),
            errors: Some(errors),
        };
        let said = server.read_until("http://");
        server.address = said.split_once("http://").unwrap().1.trim().to_owned();
        server
    }

    /// `comity serve` on a port of the system's choice, for more callers than there are people.
    pub fn serve(folder: &Path) -> Self {
        let config = unlimited(folder);
        Self::start(
            folder,
            &[
                "serve",
                "--config",
                &config,
                "--listen",
                "127.0.0.1:0",
                "--data",
                "data",
                "--log",
                "warn",
            ],
        )
    }

    /// Reads what it prints up to the line that holds `mark`, and returns that.
    pub fn read_until(&mut self, mark: &str) -> String {
        loop {
            let Ok(line) = self.lines.get_mut().unwrap().recv_timeout(Duration::from_secs(60))
            else {
                let _ = self.child.kill();
                let errors = self.errors.take().map(|e| e.join().unwrap());
                panic!("it never said {mark:?}, but: {:?} {errors:?}", self.printed);
            };
            self.printed.push(line.clone());
            if line.contains(mark) {
                return line;
            }
        }
    }

    /// Kills it the hard way.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.wait_for_the_kill();
    }

    /// Waits for the end of one that was killed.
    pub fn wait_for_the_kill(&mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.code().is_none(), "it ended by itself: {status}");
    }

    /// Asks it to stop, waits, and returns its exit status with everything that it printed.
    /// Panics if it takes more than `within`.
    pub fn terminate(self, within: Duration) -> (ExitStatus, String) {
        let (status, out, errors) = self.end(within);
        (status, out + &errors)
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let told = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child.id())])
            .status()
            .unwrap();
        assert!(told.success());
    }

    /// Asks it to stop and waits; its exit status, and what it wrote to each of its outputs.
    pub fn end(self, within: Duration) -> (ExitStatus, String, String) {
        self.signal("TERM");
        self.wait(within)
    }

    /// Waits for its end.
    pub fn wait(mut self, within: Duration) -> (ExitStatus, String, String) {
        let step = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(waited < within, "still running after {within:?}");
            std::thread::sleep(step);
            waited += step;
        };
        self.printed.extend(self.lines.get_mut().unwrap().iter());
        let errors = self.errors.take().map(|e| e.join().unwrap()).unwrap_or_default();
        (status, self.printed.join("\n"), errors)
    }

    /// One request.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        bearer: &str,
        body: &str,
    ) -> std::io::Result<(u16, Value)> {
        call(&self.address, method, path, bearer, "application/json", body)
    }

    /// One request that must be answered with this status.
    pub fn expect(
        &self,
        status: u16,
        method: &str,
        path: &str,
        bearer: &str,
        body: Value,
    ) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (got, answer) = self.call(method, path, bearer, &body).unwrap();
        assert_eq!(got, status, "{method} {path} {body}: {answer}");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request on a connection of its own. An error means: no whole answer came, and what
/// became of the request is unknown.
pub fn call(
    address: &str,
    method: &str,
    path: &str,
    bearer: &str,
    kind: &str,
    body: &str,
) -> std::io::Result<(u16, Value)> {
    let bad = |what: &str| std::io::Error::other(what.to_owned());
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\
         Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).map_err(|_| bad("not UTF-8"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| bad("the answer broke off"))?;
    let status =
        head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("no status"))?;
    let length = head.lines().find_map(|l| {
        l.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().to_owned())
    });
    let length: usize = length.map_or(Ok(0), |n| n.parse()).map_err(|_| bad("no length"))?;
    if body.len() != length {
        return Err(bad("the answer broke off"));
    }
    let value = if body.is_empty() { Value::Null } else { serde_json::from_str(body)? };
    Ok((status, value))
}

/// The text of a member that must be there.
pub fn string(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
        .to_owned()
}
