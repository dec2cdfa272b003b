//! Mail: who gets one, what it says, and what a relay can do to it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use comity_app::app::Settings;
use comity_app::clock::stopwatch;
use comity_app::mail;
use comity_app::notices::{Mark, Wanted};
use comity_domain::command::{Command, PutMember};
use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::lock::LockTarget;
use comity_domain::notice::Kind;
use comity_domain::person::PortalRole;
use comity_domain::role::Mode;
use comity_domain::text::Subject;
use comity_domain::time::{DAY, HOUR, MINUTE, SECOND};
use comity_store::MailCounts;

use crate::site::{Cast, Site, cast, lay, reader, settings};
use crate::world::World;

/// What a relay does with the next mail, or the next connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Takes,
    Greets(u16),
    AnswersRcpt(u16),
    AnswersData(u16),
    /// Takes the mail, and is gone before it says so.
    DropsAfterData,
    /// Says nothing more, for a while.
    Hangs(Duration),
}

/// A mail that arrived, with what became of it.
#[derive(Debug, Clone)]
struct Arrived {
    to: String,
    text: String,
    taken: bool,
}

impl Arrived {
    fn header(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap();
        let found: Vec<&str> =
            head.split("\r\n").filter_map(|l| l.strip_prefix(&format!("{name}: "))).collect();
        assert_eq!(found.len(), 1, "{name} in {head}");
        found[0]
    }

    /// Everything that a reader sees, decoded.
    fn shown(&self) -> String {
        let mut out = String::new();
        for part in self.text.split("\r\n--").skip(1) {
            let (head, body) = part.split_once("\r\n\r\n").unwrap_or((part, ""));
            let coding = head.lines().find_map(|l| l.strip_prefix("Content-Transfer-Encoding: "));
            out += &match coding {
                Some("quoted-printable") => unquoted(body),
                Some("base64") => {
                    use base64::Engine as _;
                    let body: String = body.split_whitespace().collect();
                    let bytes = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
                    String::from_utf8(bytes).unwrap()
                }
                _ => body.to_owned(),
            };
        }
        out
    }
}

fn unquoted(body: &str) -> String {
    let body = body.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = body.bytes();
    while let Some(b) = rest.next() {
        if b == b'=' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(b);
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[derive(Clone, Default)]
struct Relay {
    port: u16,
    plan: Arc<Mutex<VecDeque<Does>>>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Relay {
    fn new(plan: &[Does]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let relay = Self { port, ..Self::default() };
        relay.will(plan);
        let own = relay.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let own = own.clone();
                std::thread::spawn(move || own.talk(stream.unwrap()));
            }
        });
        relay
    }

    fn will(&self, plan: &[Does]) {
        self.plan.lock().unwrap().extend(plan);
    }

    fn next(&self, of: impl Fn(Does) -> bool) -> Option<Does> {
        let mut plan = self.plan.lock().unwrap();
        if plan.front().is_some_and(|d| of(*d)) { plan.pop_front() } else { None }
    }

    /// A conversation; whatever breaks ends it.
    fn talk(&self, stream: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).ok();
        if let Some(Does::Greets(code)) = self.next(|d| matches!(d, Does::Greets(_))) {
            return say(&format!("{code} busy"));
        }
        if let Some(Does::Hangs(time)) = self.next(|d| matches!(d, Does::Hangs(_))) {
            std::thread::sleep(time);
            return None;
        }
        say("220 relay")?;
        let mut to = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_owned();
            let reply = match line.split(' ').next().unwrap() {
                "EHLO" => "250 relay".into(),
                "RCPT" => {
                    to = line.trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned();
                    match self.next(|d| matches!(d, Does::AnswersRcpt(_))) {
                        Some(Does::AnswersRcpt(code)) => format!("{code} no"),
                        _ => "250 ok".into(),
                    }
                }
                "DATA" => {
                    say("354 go on")?;
                    let mut text = String::new();
                    loop {
                        let mut line = String::new();
                        lines.read_line(&mut line).ok()?;
                        if line == ".\r\n" {
                            break;
                        }
                        text += &line;
                    }
                    let does = self.next(|_| true).unwrap_or(Does::Takes);
                    let taken = does == Does::Takes;
                    // As it would be: what is lost on the way back has arrived all the same.
                    self.arrived.lock().unwrap().push(Arrived { to: to.clone(), text, taken });
                    match does {
                        Does::DropsAfterData => return None,
                        Does::AnswersData(code) => format!("{code} no"),
                        _ => "250 taken".into(),
                    }
                }
                "QUIT" => return say("221 bye"),
                _ => "250 ok".into(),
            };
            say(&reply)?;
        }
    }

    fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    /// Waits until so many have arrived, and a little longer for one too many.
    fn waits_for(&self, number: usize) -> Vec<Arrived> {
        until("so many mails", || self.arrived().len() >= number);
        std::thread::sleep(Duration::from_millis(400));
        let all = self.arrived();
        assert_eq!(
            all.len(),
            number,
            "{:?}",
            all.iter().map(|m| (&m.to, m.header("Subject"))).collect::<Vec<_>>()
        );
        all
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let took = stopwatch();
    while !holds() {
        assert!(took() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn with(settings: Settings, relay: &Relay) -> Settings {
    let smtp = format!("smtp://127.0.0.1:{}", relay.port);
    let said = mail::Said { smtp, ..mail::Said::default() };
    let mail = mail::Settings::smtp(&said, "Comity <comity@example.com>").unwrap();
    Settings { issuer: "https://access.example.com".into(), mail: Some(mail), ..settings }
}

/// The world, and a relay that its mails go to.
fn site(w: World, plan: &[Does]) -> (Site, Relay) {
    let relay = Relay::new(plan);
    let folder = tempfile::tempdir().unwrap();
    lay(folder.path(), &w.rows);
    let settings = with(settings(folder.path()), &relay);
    let site = Site::set(folder, w, &settings);
    begun(&site);
    (site, relay)
}

/// What happened before mails were sent is not mailed: the test begins behind that.
fn begun(site: &Site) {
    let counts = || reader(site.folder.path()).mail_counts();
    until("the mails are there", || counts().is_ok());
    std::thread::sleep(Duration::from_millis(600));
}

fn again(site: Site, relay: &Relay) -> Site {
    let now = site.clock.now();
    site.app.stop();
    let Site { app, folder, mut w, .. } = site;
    drop(app);
    w.now = now;
    let settings = with(settings(folder.path()), relay);
    Site::set(folder, w, &settings)
}

fn later(site: &mut Site, millis: i64) {
    site.w.later(millis);
    site.clock.set(site.w.now);
}

fn counts(site: &Site) -> MailCounts {
    reader(site.folder.path()).mail_counts().unwrap()
}

fn inbox(site: &Site, organisation: OrganisationId, person: PersonId) -> Vec<String> {
    let wanted = Wanted { limit: 100, ..Wanted::default() };
    let all = site.app.notices(organisation, person, wanted).unwrap();
    all.into_iter().map(|n| n.sentence).collect()
}

fn person(cast: &Cast) -> PersonId {
    cast.by_boss.person().unwrap()
}

// -- what it says -------------------------------------------------------------------------------------

/// Names that the doors take, and that a mail must not make anything of.
const NAMES: [&str; 4] =
    ["evil.example", "<b>Relay</b> & Co", "\"><img src=//evil.example>", "https://evil.example/x"];

#[test]
fn t34_t42_before_a_yes_no_word_of_a_stranger_and_after_it_no_link_of_one() {
    let (mut w, mut cast) = cast(0);
    for (n, name) in NAMES.iter().enumerate() {
        let organisation = w.organisation(&format!("broker{n}"), name);
        let mut chief = w.member_spec(organisation, "chief", Some(PortalRole::Admin));
        chief.name = (*name).into();
        w.must(&w.provision(), Command::PutMember(chief));
        let chief = w.person(organisation, "chief");
        let rita = w.member(organisation, "rita", None);
        let (by_chief, by_rita) = (w.sign_in(chief), w.sign_in(rita));
        cast.brokers.push(crate::site::Broker { organisation, chief, by_chief, rita, by_rita });
    }
    let (mut site, relay) = site(w, &[]);
    let mut expected = 0;
    for (broker, name) in cast.brokers.iter().zip(NAMES) {
        let mut ask = site.look().ask_spec(broker.organisation, cast.harbour);
        (ask.reason, ask.ticket) = (format!("{name}\nBcc: all"), Some(name.into()));
        let asked = site.must(&broker.by_chief, Command::Ask(ask));
        expected += 2; // both Admins of the harbour
        let mails = relay.waits_for(expected);
        for mail in &mails[expected - 2..] {
            let shown = mail.shown();
            for word in ["evil", "Relay", "img", "Bcc", "chief", "broker", "Winter"] {
                assert!(!mail.text.contains(word) && !shown.contains(word), "{word}: {shown}");
            }
            assert!(shown.contains("An organisation asks for access."), "{shown}");
            assert_eq!(mail.header("Subject"), "A request for access");
            let link = format!("https://access.example.com/console/o/{}/requests/", cast.harbour);
            assert!(shown.contains(&link), "{shown}");
        }
        let request = asked.state.requests_from(broker.organisation).next_back().unwrap();
        let approval = site.approval(request, cast.keeper);
        let done = site.must(&cast.by_boss, approval);
        expected += 3; // and the Admin who asked
        let mails = relay.waits_for(expected);
        for mail in &mails[expected - 3..] {
            let shown = mail.shown();
            let html = shown.split("<!doctype").nth(1).unwrap();
            assert!(!shown.contains("evil.example") && !html.contains("<b>"), "{shown}");
            assert!(!html.contains("<img") && !shown.contains("https://evil"), "{shown}");
            assert_eq!(mail.header("Subject"), "A request for access was approved");
            assert_eq!(shown.matches("<a href").count(), 1);
            let links = shown.matches("http").count();
            let ours = shown.matches("https://access.example.com/console/o/").count();
            let theirs = shown.matches("https:\u{2060}/").count();
            assert_eq!(links, ours + theirs, "{shown}");
        }
        let grant = done.state.grants_to(broker.organisation).next_back().unwrap();
        site.must(&cast.by_boss, Command::Revoke { grant });
        expected += 3;
        relay.waits_for(expected);
    }
    // Nothing of it begins a header of its own, and each mail is known by one of its own.
    let mut known = Vec::new();
    for mail in relay.arrived() {
        assert!(mail.taken);
        for header in ["From", "To", "Date", "MIME-Version", "Auto-Submitted"] {
            assert!(!mail.header(header).is_empty());
        }
        assert_eq!(mail.header("To"), mail.to);
        assert!(!mail.text.split("\r\n\r\n").next().unwrap().contains("Bcc"));
        known.push(mail.header("Message-ID").to_owned());
    }
    known.sort();
    known.dedup();
    assert_eq!(known.len(), expected);
    site.check();
}

// -- who gets one -------------------------------------------------------------------------------------

#[test]
fn t57_who_may_act_or_read_is_told_at_an_address_that_is_theirs() {
    let (mut w, cast) = cast(1);
    let provision = w.provision();
    let put = |w: &mut World, external: &str, portal, change: fn(&mut PutMember)| {
        let mut spec = w.member_spec(cast.harbour, external, portal);
        change(&mut spec);
        w.must(&provision, Command::PutMember(spec));
    };
    let (admin, support) = (Some(PortalRole::Admin), Some(PortalRole::CustomerSupport));
    put(&mut w, "reads", support, |_| {});
    put(&mut w, "plain", None, |_| {});
    put(&mut w, "unproven", admin, |m| m.email_verified = false);
    put(&mut w, "resting", admin, |m| m.active = false);
    let (mut site, relay) = site(w, &[]);
    let broker = &cast.brokers[0];
    let to = |mails: &[Arrived]| {
        let mut to: Vec<String> = mails.iter().map(|m| m.to.clone()).collect();
        to.sort();
        to
    };
    let grant = site.grant(&cast, broker);
    let mails = relay.waits_for(5);
    let boss = ["boss@harbour.example", "other@harbour.example"];
    assert_eq!(to(&mails[..2]), boss, "a decision is for the Admins");
    assert_eq!(
        to(&mails[2..]),
        [boss[0], "chief@broker0.example", boss[1]].map(String::from).to_vec().tap_sorted()
    );
    // Who acts as the customer is for everybody who may read it, on the customer's side.
    let (_, enter) = site.wish(cast.harbour, grant, Mode::ActAs);
    site.must(&broker.by_rita, enter);
    let mails = relay.waits_for(8);
    let readers = ["boss@harbour.example", "other@harbour.example", "reads@harbour.example"];
    assert_eq!(to(&mails[5..]), readers);
    assert!(mails[5].shown().contains("Member rita of Broker 0 acts as your organisation."));
    // One who has left is not told, although the mail was queued while they were there.
    relay.will(&[Does::AnswersRcpt(451); 2]);
    let target = LockTarget::Person(broker.rita);
    let customer = cast.harbour;
    site.must(&cast.by_boss, Command::Lock { customer, target, reason: None });
    until("tried", || relay.plan.lock().unwrap().is_empty());
    let external = "reads".into();
    site.must(&site.w.provision(), Command::RemoveMember { organisation: customer, external });
    for _ in 0..4 {
        later(&mut site, 40 * SECOND);
        std::thread::sleep(Duration::from_millis(300));
    }
    until("all settled", || counts(&site).waiting == 0);
    let late = relay.arrived();
    let locked: Vec<&Arrived> =
        late.iter().filter(|m| m.header("Subject") == "A partner was locked out").collect();
    let got: Vec<String> = locked.iter().map(|m| m.to.clone()).collect();
    assert!(got.iter().filter(|t| t.starts_with("reads")).count() <= 1, "{got:?}");
    assert!(boss.iter().all(|b| got.iter().filter(|t| t == b).count() == 1), "{got:?}");
    for mail in locked {
        assert!(!mail.shown().contains("rita"), "a lock names nobody");
    }
}

#[test]
fn n9_whoever_loses_a_membership_of_their_own_is_told_by_mail_beside_the_admins_of_both_sides() {
    let (w, cast) = cast(1);
    let (mut site, relay) = site(w, &[]);
    let broker = &cast.brokers[0];
    site.grant(&cast, broker);
    let before = relay.waits_for(5).len();
    let mut spec = site.w.member_spec(cast.harbour, "rita-too", None);
    spec.email = site.w.member_spec(broker.organisation, "rita", None).email;
    site.must(&site.w.provision(), Command::PutMember(spec));
    let mails = relay.waits_for(before + 4);
    let mails = &mails[before..];
    let told: Vec<String> = mails.iter().map(|m| m.to.clone()).collect();
    let expected = ["boss@harbour", "chief@broker0", "other@harbour", "rita@broker0"];
    assert_eq!(told.tap_sorted(), expected.map(|t| format!("{t}.example")));
    let hers = mails.iter().find(|m| m.to.starts_with("rita")).unwrap();
    assert_eq!(hers.header("Subject"), "A direct membership was replaced");
    assert!(hers.shown().contains("You may go into Harbour for Broker 0"), "{}", hers.shown());
    assert!(hers.shown().contains("/console/tenants"), "a page that she may read");
}

trait Sorted {
    fn tap_sorted(self) -> Self;
}

impl Sorted for Vec<String> {
    fn tap_sorted(mut self) -> Self {
        self.sort();
        self
    }
}

// -- what a relay can do to it ------------------------------------------------------------------------

#[test]
fn inv30_a_mail_is_tried_again_under_the_same_name_until_it_is_taken_and_then_never() {
    let (mut w, cast) = cast(1);
    let external = "other".into();
    w.must(&w.provision(), Command::RemoveMember { organisation: cast.harbour, external });
    let plan = [
        Does::Greets(421),
        Does::AnswersRcpt(451),
        Does::AnswersData(452),
        Does::DropsAfterData,
        Does::Takes,
    ];
    let (mut site, relay) = site(w, &plan);
    site.ask(&cast.brokers[0], cast.harbour);
    let took = stopwatch();
    while !relay.arrived().iter().any(|m| m.taken) {
        assert!(took() < Duration::from_secs(90), "{:?}", relay.plan.lock().unwrap());
        later(&mut site, 5 * MINUTE);
        std::thread::sleep(Duration::from_millis(250));
    }
    until("settled", || counts(&site).waiting == 0);
    let mails = relay.arrived();
    assert_eq!(mails.len(), 3, "arrived three times, twice it was not said to be taken");
    let names: Vec<&str> = mails.iter().map(|m| m.header("Message-ID")).collect();
    assert!(names.iter().all(|n| *n == names[0]), "{names:?}");
    // Nothing sends it again: neither time nor a restart.
    for _ in 0..3 {
        later(&mut site, 12 * HOUR);
        site = again(site, &relay);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(relay.arrived().len(), 3);
    assert_eq!(counts(&site).dead, 0);
    site.check();
}

#[test]
fn inv30_what_waits_at_a_stop_is_sent_after_it_and_what_was_taken_is_not() {
    let (w, cast) = cast(1);
    let (mut site, relay) = site(w, &[]);
    let request = site.ask(&cast.brokers[0], cast.harbour);
    relay.waits_for(2);
    until("settled", || counts(&site).waiting == 0);
    // From here on nobody is reached; the relay hangs in the middle of the stop.
    relay.will(&[Does::Hangs(Duration::from_secs(30))]);
    relay.will(&[Does::Greets(554); 8]);
    site.must(&cast.by_boss, Command::Deny { request, reason: None, message: None });
    until("it hangs", || relay.plan.lock().unwrap().len() == 8);
    let took = stopwatch();
    site = again(site, &relay);
    assert!(took() < Duration::from_secs(25), "a relay that hangs holds up no stop: {:?}", took());
    let mut rounds = 0;
    while relay.arrived().len() < 5 {
        rounds += 1;
        assert!(rounds < 200, "{:?} {:?}", relay.plan.lock().unwrap(), counts(&site));
        later(&mut site, 4 * MINUTE);
        std::thread::sleep(Duration::from_millis(200));
    }
    let mails = relay.waits_for(5);
    for to in ["boss@harbour.example", "other@harbour.example", "chief@broker0.example"] {
        let denied = |m: &&Arrived| m.to == to && m.header("Subject").ends_with("denied");
        assert_eq!(mails.iter().filter(denied).count(), 1, "{to}");
    }
    assert!(mails[4].taken && counts(&site).dead == 0);
}

#[test]
fn inv30_what_a_relay_refuses_for_good_becomes_a_dead_letter_within_a_day() {
    let (w, cast) = cast(1);
    let (mut site, relay) = site(w, &[Does::AnswersRcpt(550); 20]);
    site.ask(&cast.brokers[0], cast.harbour);
    for _ in 0..30 {
        later(&mut site, HOUR);
        std::thread::sleep(Duration::from_millis(120));
    }
    until("given up", || counts(&site).dead == 2);
    assert_eq!(counts(&site).waiting, 0);
    let left = relay.plan.lock().unwrap().len();
    assert!((10..=18).contains(&left), "each was tried a few times: {left} left");
    assert!(relay.arrived().is_empty());
    let figures = site.app.figures();
    assert!(figures.contains("mails_total{outcome=\"dead\"} 2"), "{figures}");
    // It stands in the inbox all the same.
    let sentences = inbox(&site, cast.harbour, person(&cast));
    assert_eq!(sentences[0], "Broker 0 asks for access.");
}

#[test]
fn inv30_an_erased_person_gets_nothing_that_waits() {
    let (w, cast) = cast(1);
    let (mut site, relay) = site(w, &[Does::AnswersRcpt(451); 2]);
    site.ask(&cast.brokers[0], cast.harbour);
    until("tried", || relay.plan.lock().unwrap().is_empty());
    let boss = person(&cast);
    site.app.mark_read(cast.harbour, boss, Mark::UpTo(u64::MAX)).unwrap();
    assert_eq!(site.app.unread(cast.harbour, boss).unwrap(), 0);
    let external = "boss".into();
    let organisation = cast.harbour;
    site.must(&site.w.provision(), Command::RemoveMember { organisation, external });
    assert_eq!(counts(&site).waiting, 2);
    let erase = Command::EraseWords { subject: Subject::Person(boss) };
    site.must(&site.w.provision(), erase);
    assert_eq!(counts(&site).waiting, 1, "what was queued for them goes with their words");
    later(&mut site, MINUTE);
    until("settled", || counts(&site).waiting == 0);
    let mails = relay.waits_for(1);
    assert_eq!(mails[0].to, "other@harbour.example");
    assert!(site.app.unread(cast.harbour, boss).unwrap() > 0, "what they had read is forgotten");
}

// -- the inbox ----------------------------------------------------------------------------------------

#[test]
fn t57_t47_an_inbox_says_it_to_both_sides_and_nobody_marks_it_read_for_others() {
    let (w, cast) = cast(1);
    let mut site = Site::of(w);
    let broker = &cast.brokers[0];
    let (boss, other) = (person(&cast), cast.by_other.person().unwrap());
    let start = site.app.unread(cast.harbour, boss).unwrap();
    let grant = site.grant(&cast, broker);
    let (_, enter) = site.wish(cast.harbour, grant, Mode::ActAs);
    site.must(&broker.by_rita, enter);
    site.must(&cast.by_boss, Command::Revoke { grant });
    let own = inbox(&site, cast.harbour, boss);
    assert_eq!(
        own[..5],
        [
            "Member rita of Broker 0 no longer acts as your organisation.",
            "The access of Broker 0 was revoked.",
            "Member rita of Broker 0 acts as your organisation.",
            "Your organisation gave Broker 0 access.",
            "Broker 0 asks for access.",
        ]
    );
    assert_eq!(
        inbox(&site, broker.organisation, broker.chief)[..5],
        [
            "Member rita no longer acts as Harbour.",
            "Harbour revoked your access.",
            "Member rita acts as Harbour.",
            "Harbour approved your request for access.",
            "Your organisation has asked a customer for access.",
        ]
    );
    assert_eq!(site.app.unread(cast.harbour, boss).unwrap(), start + 5);
    // Read one, then up to a row, then more than there is.
    let wanted = Wanted { limit: 100, ..Wanted::default() };
    let all = site.app.notices(cast.harbour, boss, wanted).unwrap();
    site.app.mark_read(cast.harbour, boss, Mark::One(all[1].seq, all[1].index)).unwrap();
    site.app.mark_read(cast.harbour, boss, Mark::One(all[1].seq, all[1].index)).unwrap();
    site.app.mark_read(cast.harbour, boss, Mark::One(all[1].seq, 99)).unwrap();
    assert_eq!(site.app.unread(cast.harbour, boss).unwrap(), start + 4);
    let unread = Wanted { unread_only: true, limit: 100, below: None };
    let left = site.app.notices(cast.harbour, boss, unread).unwrap();
    assert!(left.iter().all(|n| !n.read) && left.len() as u32 == start + 4);
    site.app.mark_read(cast.harbour, boss, Mark::UpTo(all[2].seq)).unwrap();
    assert_eq!(site.app.unread(cast.harbour, boss).unwrap(), 1);
    site.app.mark_read(cast.harbour, boss, Mark::UpTo(1)).unwrap();
    assert_eq!(site.app.unread(cast.harbour, boss).unwrap(), 1, "what was read stays read");
    assert_eq!(site.app.unread(cast.harbour, other).unwrap(), start + 5, "each for themselves");
    site.app.mark_read(cast.harbour, boss, Mark::UpTo(u64::MAX)).unwrap();
    site.ask(broker, cast.harbour);
    assert_eq!(site.app.unread(cast.harbour, boss).unwrap(), 1, "nobody reads what is to come");
    // By pages, as in one.
    let (mut below, mut paged) = (None, Vec::new());
    loop {
        let wanted = Wanted { below, unread_only: false, limit: 2 };
        let page = site.app.notices(cast.harbour, boss, wanted).unwrap();
        let Some(last) = page.last() else { break };
        below = Some((last.seq, last.index));
        paged.extend(page);
    }
    assert_eq!(paged, site.app.notices(cast.harbour, boss, wanted).unwrap());
    // It goes on after a restart, and nothing of it is kept for ever.
    let site = site.again();
    assert_eq!(site.app.unread(cast.harbour, boss).unwrap(), 1);
    site.clock.set(site.w.now.plus(401 * DAY));
    until("swept", || inbox(&site, cast.harbour, boss).is_empty());
    assert_eq!(site.app.unread(cast.harbour, boss).unwrap(), 0);
}

#[test]
fn t41_coming_and_going_all_day_is_not_mailed_for_ever() {
    let (w, cast) = cast(1);
    let (mut site, relay) = site(w, &[]);
    let broker = &cast.brokers[0];
    let grant = site.grant(&cast, broker);
    relay.waits_for(5);
    for _ in 0..20 {
        let (token, enter) = site.wish(cast.harbour, grant, Mode::ActAs);
        let done = site.must(&broker.by_rita, enter);
        let session = done.state.session_by_token(token.digest()).unwrap();
        site.must(&cast.by_boss, Command::EndSession { session });
    }
    // Thirty to each of two Admins, and what matters comes through.
    site.must(&cast.by_boss, Command::Revoke { grant });
    until("all of it", || relay.arrived().len() >= 5 + 60 + 3);
    let mails = relay.waits_for(5 + 60 + 3);
    let revoked = mails.iter().filter(|m| m.header("Subject") == "An access was revoked");
    assert_eq!(revoked.count(), 3);
    let kinds = site
        .app
        .notices(cast.harbour, person(&cast), Wanted { limit: 200, ..Wanted::default() })
        .unwrap();
    let stays = kinds.iter().filter(|n| n.kind == Kind::ImpersonationStarted).count();
    assert_eq!(stays, 20, "all stand in the inbox");
}
