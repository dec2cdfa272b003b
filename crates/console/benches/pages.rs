//! How long the server takes for each page of the console: `cargo bench -p comity-console --bench
//! pages`. In process, without a socket; the log lies in memory where the machine has such a folder.
//!
//! `COMITY_CUSTOMERS` (1,000) customers let one partner in; `COMITY_SESSIONS` (100,000) stays of its
//! people in the largest customer are history, each with its calls, 50 of them in progress. Beside each
//! figure stands its ratio to the SHA-256 of 64 KiB in the same run, because machines differ.
//! `COMITY_LOOKS` (200) looks are taken at each page.

// A benchmark that cannot be set up should say so loudly, and it reads the clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use comity_api::limits;
use comity_app::App;
use comity_app::app::{Settings, database};
use comity_app::clock::Clock;
use comity_app::keys::Keys;
use comity_app::people::passwords::Cost;
use comity_app::tokens::{Kind, Secret};
use comity_domain::command::{AssignmentSpec, Command};
use comity_domain::draft::SideWrite;
use comity_domain::event::{Event, Row};
use comity_domain::ids::{Digest32, GrantId, Ids, OrganisationId, RequestId, SessionId};
use comity_domain::organisation::Accounts;
use comity_domain::time::SECOND;
use comity_store::Store;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

#[allow(dead_code, unreachable_pub)]
#[path = "../../app/benches/grown/mod.rs"]
mod grown;
#[allow(dead_code, unreachable_pub)]
#[path = "../../domain/tests/it/world.rs"]
mod world;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PASSWORD: &str = "correct horse battery staple";
/// A page may take so long, in milliseconds, half of the time.
const TARGET: f64 = 5.0;

fn wanted(name: &str, by_itself: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(by_itself)
}

/// p50 and p99 in milliseconds.
fn percentiles(times: &mut [Duration]) -> [f64; 2] {
    times.sort_unstable();
    [50, 99].map(|p| times[(times.len() * p / 100).min(times.len() - 1)].as_secs_f64() * 1e3)
}

/// What is looked at.
struct Places {
    customer: OrganisationId,
    provider: OrganisationId,
    grant: GrantId,
    request: RequestId,
    /// One that is over and one in progress.
    sessions: [SessionId; 2],
    worker: comity_domain::ids::PersonId,
}

/// The customer IDs that a start looks for.
fn sealed(rows: &[Row], keys: &Keys) -> Vec<(Row, Vec<SideWrite>)> {
    let beside = |e: &Event| match e {
        Event::CustomerIdSet { organisation, digest } => {
            let sealed = keys.seal(&format!("customer_id/{digest}"), b"a code");
            Some(SideWrite::CustomerId(*organisation, sealed))
        }
        _ => None,
    };
    let all = |row: &Row| row.events.iter().filter_map(|r| beside(&r.event)).collect();
    rows.iter().map(|row| (row.clone(), all(row))).collect()
}

/// Writes the log, and says what is in it.
fn write(folder: &Path, customers: usize, sessions: usize) -> (world::World, Places) {
    let (mut w, mut stage) = grown::stage(customers);
    let (customer, provider) = (stage.customer, stage.provider);
    w.admin(customer, "looker");
    w.admin(provider, "looker");
    let worker = w.member(provider, "worker", None);
    let chief = w.person(provider, "chief");
    let chief = w.sign_in(chief);
    for (grant, role) in stage.grants.clone() {
        let spec = AssignmentSpec {
            person: worker,
            roles: vec![role],
            accounts: Accounts::All,
            ends_at: None,
        };
        w.must(&chief, Command::Assign { grant, spec });
    }
    let mut request = None;
    for n in 0..60 {
        let other = w.organisation(&format!("other{n}"), &format!("Other {n}"));
        let admin = w.admin(other, "admin");
        let by = w.sign_in(admin);
        request = Some(w.ask(&by, w.ask_spec(other, customer)));
        w.account(customer, &format!("boat{n}"));
        w.role(customer, &format!("role{n}"), &["boats:read", "bookings:*"]);
    }
    std::fs::create_dir_all(folder).unwrap();
    let mut store = Store::open(&database(folder)).unwrap();
    let (keys, _) = Keys::open(&folder.join("key")).unwrap();
    let mut salts = Ids::new([3; 32]);
    store.append(&sealed(&w.rows, &keys), &mut salts).unwrap();
    (stage.seq, stage.at) = (w.state.seq, w.state.at);
    stage.grants = stage.grants.split_off(stage.grants.len() - 1);
    let mut rows: Vec<_> = (0..20).map(|_| (stage.member(), Vec::new())).collect();
    rows.extend((0..20).map(|n| (stage.assigned(n), Vec::new())));
    let mut last = [SessionId::MIN; 2];
    for n in 0..sessions {
        stage.at = stage.at.plus(SECOND);
        let (session, row) = stage.started(n);
        rows.push((row, Vec::new()));
        last[1] = session;
        if n + 50 < sessions {
            rows.push((stage.ended(session), Vec::new()));
            last[0] = session;
        }
        if rows.len() > 20_000 || n + 1 == sessions {
            store.append(&std::mem::take(&mut rows), &mut salts).unwrap();
        }
    }
    let grant = stage.grants[0].0;
    w.now = stage.at;
    let request = request.unwrap();
    (w, Places { customer, provider, grant, request, sessions: last, worker })
}

/// A running installation.
struct House {
    app: Arc<App>,
    router: Router,
    runtime: tokio::runtime::Runtime,
}

impl House {
    /// Gives somebody a password, and returns the cookie of their sign-in.
    fn browser(&self, w: &world::World, organisation: OrganisationId, who: &str) -> String {
        let secret = Secret::new(Kind::Enrolment);
        let (digest, external) = (secret.digest(), who.to_owned());
        let make = Command::MakeEnrolment { organisation, external, digest };
        self.runtime.block_on(self.app.run(&w.provision(), make)).unwrap();
        self.runtime.block_on(self.app.enrol(secret.reveal(), PASSWORD.into())).unwrap();
        let state = self.app.state();
        let named = state.organisations.get(organisation).unwrap().external;
        let email = format!("{who}@{}.example", state.words.show(named));
        let body =
            format!("email={}&password={}", email.replace('@', "%40"), PASSWORD.replace(' ', "+"));
        let request = Request::post("/console/sign-in")
            .header(header::HOST, "comity.example")
            .header(header::ORIGIN, "https://comity.example")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap();
        let answer = self.runtime.block_on(self.router.clone().oneshot(request)).unwrap();
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// One look at a page: how long it took, and how large it was.
    fn look(&self, cookie: &str, path: &str) -> (Duration, usize) {
        let request = Request::get(path).header(header::HOST, "comity.example");
        let request = request.header(header::COOKIE, cookie).body(Body::empty()).unwrap();
        let router = self.router.clone();
        self.runtime.block_on(async {
            let began = Instant::now();
            let answer = router.oneshot(request).await.unwrap();
            let status = answer.status();
            let size = answer.into_body().collect().await.unwrap().to_bytes().len();
            let took = began.elapsed();
            assert_eq!(status, 200, "{path}");
            (took, size)
        })
    }
}

/// Each page with who looks at it: the customer's Admin, the partner's, one of its people.
fn pages(at: &Places, role: comity_domain::ids::RoleId) -> Vec<(usize, &'static str, String)> {
    let (own, theirs) =
        (format!("/console/o/{}", at.customer), format!("/console/o/{}", at.provider));
    let (grant, request, worker) = (at.grant, at.request, at.worker);
    let [over, open] = at.sessions;
    let lock = format!("{own}/locks/new?organisation={}", at.provider);
    let block = format!("{own}/access/block?partner={}", at.provider);
    vec![
        (0, "pending requests", format!("{own}/access/pending")),
        (0, "active access", format!("{own}/access/active")),
        (0, "active access, ended", format!("{own}/access/active?show=ended")),
        (0, "live counts", format!("{own}/access/live")),
        (0, "rotate the customer ID", format!("{own}/access/rotate")),
        (0, "a request", format!("{own}/requests/{request}")),
        (0, "approve", format!("{own}/requests/{request}/approve")),
        (0, "deny", format!("{own}/requests/{request}/deny")),
        (0, "a grant", format!("{own}/grants/{grant}")),
        (0, "revoke", format!("{own}/grants/{grant}/revoke")),
        (0, "narrow", format!("{own}/grants/{grant}/narrow")),
        (0, "end a session", format!("{own}/grants/{grant}/sessions/{open}/end")),
        (0, "report and lock", lock),
        (0, "history", format!("{own}/access/history")),
        (0, "history, of one status", format!("{own}/access/history?status=active")),
        (0, "history, of one mode that is rare", format!("{own}/access/history?mode=act_as")),
        (0, "history, of one person", format!("{own}/access/history?person=Number+7")),
        (0, "history, of nobody", format!("{own}/access/history?person=nobody")),
        (0, "a session that is over", format!("{own}/sessions/{over}")),
        (0, "a session in progress", format!("{own}/sessions/{open}")),
        (0, "settings", format!("{own}/access/settings")),
        (0, "block a partner", block),
        (0, "roles", format!("{own}/roles")),
        (0, "define a role", format!("{own}/roles/new")),
        (0, "a role's new version", format!("{own}/roles/{role}/version")),
        (0, "delete a role", format!("{own}/roles/{role}/delete")),
        (0, "inbox", format!("{own}/inbox")),
        (1, "our requests", format!("{theirs}/asking")),
        (1, "ask for access", format!("{theirs}/asking/new")),
        (1, "access received", format!("{theirs}/grants-received")),
        (1, "access received, one", format!("{theirs}/grants-received/{grant}")),
        (1, "let somebody in", format!("{theirs}/grants-received/{grant}/people/new")),
        (
            1,
            "change what somebody may",
            format!("{theirs}/grants-received/{grant}/people/{worker}"),
        ),
        (
            1,
            "take somebody off",
            format!("{theirs}/grants-received/{grant}/people/{worker}/remove"),
        ),
        (1, "the partner's inbox", format!("{theirs}/inbox")),
        (2, "customers I may enter", "/console/tenants".into()),
        (2, "customers I may enter, searched", "/console/tenants?q=harbour+77".into()),
        (2, "enter", format!("/console/tenants/{grant}/enter?mode=act_as")),
    ]
}

fn main() {
    let (customers, sessions) =
        (wanted("COMITY_CUSTOMERS", 1_000), wanted("COMITY_SESSIONS", 100_000));
    let looks = wanted("COMITY_LOOKS", 200);
    let shared = Path::new("/dev/shm");
    let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let data = folder.path().join("data");
    let began = Instant::now();
    let (w, places) = write(&data, customers, sessions);
    println!(
        "{customers} customers, {sessions} stays written in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let settings = Settings::new(data.clone(), data.join("key"), Cost::TESTS);
    let began = Instant::now();
    let app = App::start(&settings, Arc::new(Clock::simulated(w.now))).unwrap();
    println!("started in {:.1} s", began.elapsed().as_secs_f64());
    let console = comity_console::router(app.clone(), comity_console::Settings { demo: false });
    let router = comity_api::router_beside(app.clone(), &limits::Settings::off(), console);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let house = House { app, router, runtime };
    let who =
        [(places.customer, "looker"), (places.provider, "looker"), (places.provider, "worker")];
    let cookies = who.map(|(organisation, name)| house.browser(&w, organisation, name));
    let role = house.app.state().roles_of(places.customer).last().unwrap().0;

    let bytes = vec![7u8; 65_536];
    let plain = || {
        let began = Instant::now();
        black_box(Digest32::of(black_box(&bytes)));
        began.elapsed()
    };
    let [yard, _] = percentiles(&mut (0..1_000).map(|_| plain()).collect::<Vec<_>>());
    println!("SHA-256 of 64 KiB: {yard:.3} ms\n");
    println!("{:<36} {:>9} {:>9} {:>8} {:>7}", "page", "p50 ms", "p99 ms", "× hash", "kB");
    let mut slow = Vec::new();
    for (by, name, path) in pages(&places, role) {
        let mut size = 0;
        let mut times: Vec<_> = (0..looks)
            .map(|_| {
                let (took, large) = house.look(&cookies[by], &path);
                size = large;
                took
            })
            .collect();
        let [p50, p99] = percentiles(&mut times);
        let kb = size as f64 / 1e3;
        println!("{name:<36} {p50:>9.3} {p99:>9.3} {:>8.1} {kb:>7.1}", p50 / yard);
        if p50 > TARGET {
            slow.push(name);
        }
    }
    house.app.stop();
    println!(
        "\n{}",
        if slow.is_empty() {
            "every page within 5 ms".into()
        } else {
            format!("over 5 ms: {}", slow.join(", "))
        }
    );
}
