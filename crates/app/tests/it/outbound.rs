//! t43: what a call outside does when the other side is hostile. Servers of this test, with TLS
//! under an authority of its own.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use comity_app::clock::stopwatch;
use comity_app::outbound::{Answer, Outbound, Rules, Settings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const HOST: &str = "hooks.example.com";

fn openssl(folder: &Path, arguments: &str) {
    let done =
        Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "openssl: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority and a certificate for [`HOST`] under it; returns the authority's file.
fn authority(folder: &Path) -> PathBuf {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(folder, &format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"));
    openssl(folder, &format!("req {key} -keyout leaf.key -out leaf.csr -subj /CN={HOST}"));
    std::fs::write(folder.join("leaf.ext"), format!("subjectAltName=DNS:{HOST}\n")).unwrap();
    openssl(
        folder,
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 -extfile leaf.ext",
    );
    folder.join("ca.pem")
}

/// A TLS server that answers everybody with these pieces, a pause after each.
fn server(folder: &Path, pieces: Vec<Vec<u8>>, pause: Duration) -> (u16, Arc<AtomicUsize>) {
    let certificates =
        CertificateDer::pem_file_iter(folder.join("leaf.pem")).unwrap().map(Result::unwrap);
    let key = PrivateKeyDer::from_pem_file(folder.join("leaf.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.collect(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
            let mut request = [0; 4096];
            if stream.read(&mut request).is_err() {
                continue;
            }
            for piece in &pieces {
                if stream.write_all(piece).and_then(|()| stream.flush()).is_err() {
                    break;
                }
                std::thread::sleep(pause);
            }
        }
    });
    (port, seen)
}

/// One that finds these addresses, one set for each call, then always the last.
fn outbound(rules: Rules, ca: Option<PathBuf>, found: &[&[Ipv4Addr]]) -> Outbound {
    let sets: Vec<Vec<IpAddr>> =
        found.iter().map(|set| set.iter().map(|a| IpAddr::V4(*a)).collect()).collect();
    let left = Mutex::new(sets.into_iter().rev().collect::<Vec<_>>());
    let lookup = move |_: String| -> comity_app::outbound::LookingUp {
        let mut left = left.lock().unwrap();
        let next = if left.len() > 1 { left.pop().unwrap() } else { left[0].clone() };
        Box::pin(async move { Ok(next) })
    };
    Outbound::new(&Settings { rules, extra_ca: ca, lookup: Arc::new(lookup) }).unwrap()
}

fn near() -> Rules {
    Rules::new(false, ["127.0.0.0/8"]).unwrap()
}

fn post(outbound: &Outbound, port: u16) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("https://{HOST}:{port}/in");
    runtime.block_on(outbound.post(&url, &[("webhook-id", "msg_1".into())], b"{}".to_vec()))
}

const HERE: &[Ipv4Addr] = &[Ipv4Addr::LOCALHOST];

#[test]
fn t43_an_authority_of_ones_own_is_believed_only_if_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority(folder.path());
    let ok = b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
    let (port, _) = server(folder.path(), vec![ok], Duration::ZERO);
    let told = post(&outbound(near(), Some(ca), &[HERE]), port);
    assert_eq!(told, Answer::Status { code: 204, retry_after: None, said: None });
    assert_eq!(post(&outbound(near(), None, &[HERE]), port), Answer::None("tls"));
}

#[test]
fn t43_a_name_is_resolved_anew_and_one_address_inside_spoils_it() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority(folder.path());
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec();
    let (port, seen) = server(folder.path(), vec![ok], Duration::ZERO);
    let inside = Ipv4Addr::new(10, 0, 0, 7);
    // Rebinding: harmless at first, inside the next time.
    let turning = outbound(near(), Some(ca.clone()), &[HERE, &[inside], HERE]);
    assert_eq!(post(&turning, port), Answer::Status { code: 200, retry_after: None, said: None });
    assert_eq!(post(&turning, port), Answer::None("address_refused"));
    assert_eq!(post(&turning, port), Answer::Status { code: 200, retry_after: None, said: None });
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    let public = Ipv4Addr::new(8, 8, 8, 8);
    for found in [&[public, Ipv4Addr::LOCALHOST][..], &[inside], &[Ipv4Addr::UNSPECIFIED], HERE] {
        let strict = outbound(Rules::default(), Some(ca.clone()), &[found]);
        assert_eq!(post(&strict, port), Answer::None("address_refused"), "{found:?}");
    }
    let none = outbound(near(), Some(ca), &[&[]]);
    assert_eq!(post(&none, port), Answer::None("not_resolved"));
    assert_eq!(seen.load(Ordering::SeqCst), 2, "nobody was called");
}

#[test]
fn t43_a_redirect_is_not_followed_and_an_endless_answer_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority(folder.path());
    let (aim, aimed) =
        server(folder.path(), vec![b"HTTP/1.1 200 OK\r\n\r\n".to_vec()], Duration::ZERO);
    let to =
        format!("HTTP/1.1 307 Go\r\nlocation: https://{HOST}:{aim}/\r\ncontent-length: 0\r\n\r\n");
    let (port, _) = server(folder.path(), vec![to.into_bytes()], Duration::ZERO);
    let calls = outbound(near(), Some(ca), &[HERE]);
    assert_eq!(post(&calls, port), Answer::Status { code: 307, retry_after: None, said: None });
    assert_eq!(aimed.load(Ordering::SeqCst), 0);

    // A body without end, as fast as it goes: 64 KiB of it are read.
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let huge = std::iter::once(head.clone()).chain(std::iter::repeat_n(vec![b'x'; 16_384], 4_000));
    let (port, _) = server(folder.path(), huge.collect(), Duration::ZERO);
    let took = stopwatch();
    assert_eq!(post(&calls, port), Answer::Status { code: 200, retry_after: None, said: None });
    assert!(took() < Duration::from_secs(5), "{:?}", took());

    // One that drips: the call is over after five seconds.
    let drops = std::iter::once(head).chain(std::iter::repeat_n(b"x".to_vec(), 40));
    let (port, _) = server(folder.path(), drops.collect(), Duration::from_millis(500));
    let took = stopwatch();
    assert_eq!(post(&calls, port), Answer::Status { code: 200, retry_after: None, said: None });
    assert!(took() < Duration::from_secs(9), "{:?}", took());
    // And one that never answers at all.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let told = post(&calls, silent.local_addr().unwrap().port());
    assert_eq!(told, Answer::None("timeout"));
}
