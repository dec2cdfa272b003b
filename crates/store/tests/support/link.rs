//! A link to PostgreSQL that breaks when a test says so: a proxy on loopback, in this process.
//!
//! It reads the messages of protocol 3.0 that pass, so that it can cut at a commit. TLS would hide
//! them; a client that asks for it is told no by the server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to the next commit that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCommit {
    /// The connection is cut, and the server never hears of the commit.
    CutBefore,
    /// The server has done it, and the connection is cut before the client hears of it.
    CutAfter,
    /// The server has done it, and the client hears nothing more on a connection that stays open.
    Silent,
}

/// The proxy. Dropped, it refuses and cuts everything.
#[derive(Debug)]
pub struct Link {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: u16,
    refuses: AtomicBool,
    stalls: AtomicBool,
    drops_notifications: AtomicBool,
    at_commit: Mutex<Option<AtCommit>>,
    commits_hit: AtomicU64,
    connections: Mutex<Vec<Arc<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// Answers of one byte that are no messages: to the questions whether there is TLS or GSSAPI.
    bare_answers: AtomicUsize,
    /// Nothing goes to the client any more.
    silent: AtomicBool,
    /// It is cut once the server has answered what it was asked.
    cut_when_done: AtomicBool,
}

impl Connection {
    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Link {
    /// A link to the server on a port of this machine.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            to: port,
            refuses: AtomicBool::new(false),
            stalls: AtomicBool::new(false),
            drops_notifications: AtomicBool::new(false),
            at_commit: Mutex::new(None),
            commits_hit: AtomicU64::new(0),
            connections: Mutex::new(Vec::new()),
        });
        let link = Self { port: listener.local_addr().unwrap().port(), shared: shared.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Who comes while it refuses, or while the server is down, is hung up on.
                if !shared.refuses.load(Ordering::Acquire) {
                    let _ = connect(&shared, client);
                }
            }
        });
        link
    }

    /// The same URL by way of this link.
    pub fn url(&self, url: &str) -> String {
        url.replacen(&format!(":{}/", self.shared.to), &format!(":{}/", self.port), 1)
    }

    /// Cuts every connection that is open now.
    pub fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.cut();
        }
    }

    /// Whether new connections are refused.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::Release);
    }

    /// Whether connections stay open while nothing passes in either direction.
    pub fn stall(&self, stalls: bool) {
        self.shared.stalls.store(stalls, Ordering::Release);
    }

    /// Whether notifications get lost.
    pub fn drop_notifications(&self, drops: bool) {
        self.shared.drops_notifications.store(drops, Ordering::Release);
    }

    /// What happens to the next commit. `None` lets it pass.
    pub fn at_commit(&self, what: Option<AtCommit>) {
        *self.shared.at_commit.lock().unwrap() = what;
    }

    /// How many commits something has happened to.
    pub fn commits_hit(&self) -> u64 {
        self.shared.commits_hit.load(Ordering::Acquire)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.refuse(true);
        self.cut();
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", shared.to))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, from_server) = (client.try_clone()?, server.try_clone()?);
    let connection = Arc::new(Connection {
        client,
        server,
        bare_answers: AtomicUsize::new(0),
        silent: AtomicBool::new(false),
        cut_when_done: AtomicBool::new(false),
    });
    shared.connections.lock().unwrap().push(connection.clone());
    let (other, other_shared) = (connection.clone(), shared.clone());
    std::thread::spawn(move || {
        let _ = ask(&other_shared, &other, from_client);
        other.cut();
    });
    let shared = shared.clone();
    std::thread::spawn(move || {
        let _ = answer(&shared, &connection, from_server);
        connection.cut();
        let mut all = shared.connections.lock().unwrap();
        all.retain(|other| !Arc::ptr_eq(other, &connection));
    });
    Ok(())
}

fn hold(shared: &Shared) {
    while shared.stalls.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The rest of a message whose length comes first, with what was read before it.
fn message(from: &mut TcpStream, mut bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let rest = (u32::from_be_bytes(length) as usize).saturating_sub(4);
    bytes.extend(length);
    let begin = bytes.len();
    bytes.resize(begin + rest, 0);
    from.read_exact(&mut bytes[begin..])?;
    Ok(bytes)
}

/// From the client to the server.
fn ask(shared: &Shared, connection: &Connection, mut from: TcpStream) -> std::io::Result<()> {
    let mut to = &connection.server;
    loop {
        let first = message(&mut from, Vec::new())?;
        // SSLRequest and GSSENCRequest; all others are the start, or a cancelling.
        let question = matches!(first.get(4..8), Some([0x04, 0xd2, 0x16, 0x2f | 0x30]));
        if question {
            connection.bare_answers.fetch_add(1, Ordering::AcqRel);
        }
        hold(shared);
        to.write_all(&first)?;
        if !question {
            break;
        }
    }
    loop {
        let mut kind = [0];
        from.read_exact(&mut kind)?;
        let sent = message(&mut from, kind.to_vec())?;
        hold(shared);
        if is_commit(&sent)
            && let Some(what) = shared.at_commit.lock().unwrap().take()
        {
            shared.commits_hit.fetch_add(1, Ordering::AcqRel);
            if what == AtCommit::CutBefore {
                return Ok(());
            }
            connection.silent.store(true, Ordering::Release);
            connection.cut_when_done.store(what == AtCommit::CutAfter, Ordering::Release);
        }
        to.write_all(&sent)?;
    }
}

/// A query, or the parsing of one, that holds the word COMMIT (and not `synchronous_commit`).
fn is_commit(sent: &[u8]) -> bool {
    matches!(sent.first(), Some(b'Q' | b'P')) && sent.windows(6).any(|word| word == b"COMMIT")
}

/// From the server to the client.
fn answer(shared: &Shared, connection: &Connection, mut from: TcpStream) -> std::io::Result<()> {
    let mut to = &connection.client;
    loop {
        let mut kind = [0];
        from.read_exact(&mut kind)?;
        let bare = connection.bare_answers.load(Ordering::Acquire) > 0;
        let said = if bare {
            connection.bare_answers.fetch_sub(1, Ordering::AcqRel);
            kind.to_vec()
        } else {
            message(&mut from, kind.to_vec())?
        };
        hold(shared);
        let lost = kind == *b"A" && !bare && shared.drops_notifications.load(Ordering::Acquire);
        let silent = connection.silent.load(Ordering::Acquire);
        if !lost && !silent {
            to.write_all(&said)?;
        }
        if silent && kind == *b"Z" && connection.cut_when_done.load(Ordering::Acquire) {
            return Ok(());
        }
    }
}
