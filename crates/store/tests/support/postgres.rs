//! A PostgreSQL of the tests' own: found on this machine, started in a folder that goes with it.
//!
//! [`server`] is one for each test process, started when first asked for and made for speed;
//! [`fresh_database`] makes an empty database on it. A test that kills or stops a server starts one
//! of its own with [`Server::start`]. Whatever becomes of the test process, a guard ends the server
//! and removes its folder: it holds the reading end of a pipe, and sees the process go.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The oldest release that Comity promises to run on.
const OLDEST: u32 = 15;
/// Who may do everything on a test server.
pub const SUPERUSER: &str = "postgres";
/// Members of this role must show their password; everybody else on loopback is trusted.
const WITH_PASSWORD: &str = "with_password";

/// How a server is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Writes reach the disk before a commit is answered. Off, a crash of the machine loses them
    /// and a crash of the server does not.
    pub durable: bool,
    /// It speaks TLS, with a certificate of [`Server::ca`] for `localhost` and `127.0.0.1`.
    pub tls: bool,
}

/// A running server, or one that a test has killed.
#[derive(Debug)]
pub struct Server {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Where its unix socket is.
    pub socket_dir: PathBuf,
    /// Who may do everything.
    pub superuser: &'static str,
    tools: PathBuf,
    user: Option<User>,
    process: Option<Child>,
    last_pid: u32,
    // Dropped before the folder: the guard ends the server and removes the folder.
    guard: Option<(Child, ChildStdin)>,
    folder: TempDir,
}

/// As whom the server runs, because it refuses to run as root.
#[derive(Debug, Clone)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

/// The server of this test process.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Options::default()))
}

/// An empty database on [`server`], as a URL.
pub fn fresh_database(prefix: &str) -> String {
    server().fresh_database(prefix)
}

impl Server {
    /// Makes a new server and waits until it answers.
    pub fn start(options: Options) -> Self {
        let tools = tools();
        let user = unprivileged();
        let folder = tempfile::Builder::new().prefix("comity-pg-").tempdir().unwrap();
        let folder = if folder.path().as_os_str().len() > 60 {
            // A unix socket's path has to fit in 107 bytes.
            tempfile::Builder::new().prefix("comity-pg-").tempdir_in("/tmp").unwrap()
        } else {
            folder
        };
        let mut server = Self {
            port: 0,
            socket_dir: folder.path().to_path_buf(),
            superuser: SUPERUSER,
            guard: Some(guard(folder.path())),
            tools,
            user,
            process: None,
            last_pid: 0,
            folder,
        };
        server.own(server.folder.path());
        let data = server.data();
        let made = server
            .as_user(&server.tools.join("initdb"))
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .args(["--no-instructions", &format!("--username={SUPERUSER}"), "--pgdata"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        if options.tls {
            server.certify();
        }
        server.configure(options);
        server.restart();
        server
    }

    /// The URL of a database, as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, database)
    }

    /// The URL of a database for a role; `name:password` where it needs one.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database and returns its URL, as the superuser.
    pub fn fresh_database(&self, prefix: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{prefix}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url(&name)
    }

    /// Makes a role that may log in and nothing else, with a password if it shall have to show one.
    pub fn role(&self, name: &str, password: Option<&str>) {
        let password = password.map_or_else(String::new, |p| {
            format!("PASSWORD '{}' IN ROLE {WITH_PASSWORD}", p.replace('\'', "''"))
        });
        self.sql("postgres", &format!("CREATE ROLE \"{name}\" LOGIN {password}"));
    }

    /// Runs statements as the superuser over the unix socket and returns the rows that came,
    /// unaligned, one a line.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        self.try_sql(database, statements).unwrap_or_else(|e| panic!("{e}: {statements}"))
    }

    /// The same, with the server's error.
    pub fn try_sql(&self, database: &str, statements: &str) -> Result<String, String> {
        let output = self
            .psql()
            .args(["--host".as_ref(), self.socket_dir.as_os_str()])
            .args(["--username", SUPERUSER, "--dbname", database, "--command", statements])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// `psql` of this server's release, without anybody's settings.
    pub fn psql(&self) -> Command {
        let mut psql = Command::new(self.tools.join("psql"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            psql.env_remove(name);
        }
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--port", &self.port.to_string()])
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::null());
        psql
    }

    /// The certificate of whoever signed the server's, for `sslrootcert`. Only with TLS.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// What it has said since it was made.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The postmaster's process, while it runs.
    pub fn pid(&self) -> u32 {
        self.last_pid
    }

    /// The processes that answer connections to `database` now.
    pub fn backends(&self, database: &str) -> Vec<u32> {
        let asked = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{database}' \
             AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        );
        self.sql("postgres", &asked).lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Kills all of its processes at once, as a machine that loses its power would; what it had
    /// handed to the operating system is still there.
    pub fn kill_9(&mut self) {
        let all: Vec<String> = std::iter::once(self.last_pid)
            .chain(children(self.last_pid))
            .map(|pid| pid.to_string())
            .collect();
        // The postmaster first: it must not start anything any more. One may be gone already.
        let kill = format!("kill -9 {} 2>/dev/null; true", all.join(" "));
        Command::new("sh").args(["-c", &kill]).status().unwrap();
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
        let gone = |pid: &String| !Path::new("/proc").join(pid).exists();
        eventually("every process of the server is gone", || all.iter().all(gone));
    }

    /// Starts it again on the data that it has, at the same port, and waits until it answers.
    pub fn restart(&mut self) {
        if self.process.is_some() {
            self.kill_9();
        }
        for last_try in [false, false, true] {
            if self.port == 0 {
                self.port = free_port();
            }
            if self.spawn() {
                return;
            }
            assert!(!last_try, "PostgreSQL does not start: {}", self.log());
            if self.last_pid == 0 {
                self.port = 0; // somebody else took it: only before its first start may it move
            }
        }
    }

    fn spawn(&mut self) -> bool {
        let log = self.folder.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let data = self.data();
        let mut postgres = self.as_user(&self.tools.join("postgres"));
        postgres
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string()])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0); // an interrupt at the keyboard is for the tests; the guard does the rest
        let process = self.process.insert(postgres.spawn().unwrap());
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if let Some(pid) = ready(&data).filter(|pid| *pid != self.last_pid) {
                self.last_pid = pid;
                return true;
            }
            if process.try_wait().unwrap().is_some() {
                self.process = None;
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("PostgreSQL is not ready after a minute: {}", self.log());
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn own(&self, path: &Path) {
        if let Some(User { uid, gid, .. }) = &self.user {
            std::os::unix::fs::chown(path, Some(*uid), Some(*gid)).unwrap();
        }
    }

    fn configure(&self, options: Options) {
        let on = |is: bool| if is { "on" } else { "off" };
        let (durable, tls) = (on(options.durable), on(options.tls));
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 800\n\
             shared_buffers = 32MB\nsynchronous_commit = on\nfsync = {durable}\nfull_page_writes = {durable}\n\
             dynamic_shared_memory_type = mmap\nlog_min_messages = warning\ntimezone = 'UTC'\n\
             ssl = {tls}\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\n",
            self.socket_dir.display()
        );
        let conf = self.data().join("postgresql.conf");
        let already = std::fs::read_to_string(&conf).unwrap();
        std::fs::write(conf, already + &settings).unwrap();
        let access = format!(
            "local all all trust\nhost all +{WITH_PASSWORD} 127.0.0.1/32 scram-sha-256\n\
             host all all 127.0.0.1/32 trust\n"
        );
        std::fs::write(self.data().join("pg_hba.conf"), access).unwrap();
        let made = self
            .as_user(&self.tools.join("postgres"))
            .args(["--single", "-D"])
            .arg(self.data())
            .args(["-c", "fsync=off", "postgres"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .and_then(|mut single| {
                use std::io::Write as _;
                writeln!(single.stdin.take().unwrap(), "CREATE ROLE {WITH_PASSWORD}")?;
                single.wait()
            });
        assert!(made.unwrap().success(), "the role of those with a password was not made");
    }

    /// Makes a certificate authority and a certificate signed by it.
    fn certify(&self) {
        let folder = self.folder.path();
        let openssl = |arguments: &str| {
            let done = Command::new("openssl")
                .current_dir(folder)
                .args(arguments.split(' '))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert!(done.status.success(), "openssl: {}", String::from_utf8_lossy(&done.stderr));
        };
        let names = "subjectAltName = DNS:localhost, IP:127.0.0.1\nbasicConstraints = CA:FALSE\n";
        std::fs::write(folder.join("names"), names).unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=tests \
             -addext keyUsage=critical,keyCertSign"
        ));
        openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"));
        openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out server.crt",
        );
        let key = folder.join("server.key");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        self.own(&key);
        self.own(&folder.join("server.crt"));
    }

    /// A command run by whom the server runs as.
    fn as_user(&self, program: &Path) -> Command {
        let mut command = match &self.user {
            None => Command::new(program),
            Some(User { name, uid, gid }) if found("setpriv").is_some() => {
                let mut command = Command::new("setpriv");
                command
                    .args([format!("--reuid={uid}"), format!("--regid={gid}")])
                    .args(["--clear-groups", "--"])
                    .arg(program)
                    .env("HOME", "/")
                    .env("USER", name);
                command
            }
            Some(User { name, .. }) => {
                let mut command = Command::new("runuser");
                command.args(["-u", name, "--"]).arg(program);
                command
            }
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((mut guard, pipe)) = self.guard.take() {
            drop(pipe);
            let _ = guard.wait();
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
    }
}

/// A process that ends the server of a folder and removes the folder when nobody holds its pipe.
fn guard(folder: &Path) -> (Child, ChildStdin) {
    // The process in the file is ours only if it works in that folder.
    const SCRIPT: &str = r#"
        cat >/dev/null
        file="$1/data/postmaster.pid"
        ours() { [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; }
        if [ -f "$file" ]; then
            pid=$(head -n 1 "$file"); shm=$(sed -n '7s/.* //p' "$file")
            ours "$1" && kill -QUIT "$pid"
            n=0
            while ours "$1"; do
                n=$((n + 1)); [ "$n" -lt 100 ] || kill -9 "$pid"
                [ "$n" -lt 200 ] || break
                sleep 0.05
            done
            [ ! -f "$file" ] || [ -z "$shm" ] || ipcrm -m "$shm"
        fi
        rm -rf "$1" || { sleep 0.5; rm -rf "$1"; }
    "#;
    let mut guard = Command::new("sh")
        .args(["-c", SCRIPT, "guard"])
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let pipe = guard.stdin.take().unwrap();
    (guard, pipe)
}

/// The folder of the newest server programs on this machine.
fn tools() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let look = || {
        let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut all: Vec<PathBuf> = packaged.map(|release| release.path().join("bin")).collect();
        // What stands on the path is mostly a link into the folder where the rest is.
        let on_path = ["initdb", "postgres"].map(found).into_iter().flatten();
        all.extend(on_path.filter_map(|p| Some(p.canonicalize().ok()?.parent()?.to_path_buf())));
        let whole = |folder: &PathBuf| {
            ["initdb", "postgres", "psql"].iter().all(|tool| folder.join(tool).exists())
        };
        let known = all.into_iter().filter(whole).filter_map(|f| Some((release(&f)?, f)));
        known.filter(|(release, _)| *release >= OLDEST).max().map(|(_, folder)| folder)
    };
    FOUND
        .get_or_init(|| {
            look().unwrap_or_else(|| {
                panic!("no PostgreSQL {OLDEST} or newer with its server is here: run `make setup`")
            })
        })
        .clone()
}

/// Of which major release the server in a folder is.
fn release(folder: &Path) -> Option<u32> {
    let said = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let digits = |word: &str| word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    said.split_whitespace().find_map(digits)
}

/// The postmaster of a data folder, if its file says that it takes connections.
fn ready(data: &Path) -> Option<u32> {
    let said = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let ready = lines.get(7).is_some_and(|status| *status == "ready");
    lines.first().filter(|_| ready)?.parse().ok()
}

fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists())
}

/// Whom to become, if we are root.
fn unprivileged() -> Option<User> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let number = |flag: &str, name: &str| -> Option<u32> {
        let said = Command::new("id").args([flag, name]).output().ok()?;
        String::from_utf8(said.stdout).ok()?.trim().parse().ok()
    };
    ["postgres", "nobody"].into_iter().find_map(|name| {
        Some(User { name: name.into(), uid: number("-u", name)?, gid: number("-g", name)? })
    })
}

/// The processes that a process has started.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of = |pid: &u32| {
        let mut stat = String::new();
        let opened = std::fs::File::open(format!("/proc/{pid}/stat"));
        let _ = opened.ok()?.read_to_string(&mut stat);
        // The name in parentheses may hold anything; the state and the parent follow it.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    pids.filter(|pid| of(pid) == Some(parent)).collect()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
