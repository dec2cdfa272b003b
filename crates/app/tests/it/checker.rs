//! The running checker beside a running server whose database somebody edits.

use std::sync::atomic::Ordering;

use comity_app::app::database;
use comity_app::node::NotDone;
use comity_app::snapshots::file;
use comity_domain::check::{self, Breach, Scope, seam};
use comity_domain::command::{Caller, Command};
use comity_domain::event::Event;
use comity_domain::grant::Narrowing;
use comity_domain::halt::HaltTarget;
use comity_domain::ids::{Digest32, GrantId, Ids, SessionId};
use comity_domain::refusal::Reason;
use comity_domain::role::Mode;
use comity_domain::time::{DAY, MINUTE};
use comity_store::{Edge, decode, encode, pack};

use crate::engine;
use crate::site::{Cast, Site, cast, code};

struct Scene {
    site: Site,
    cast: Cast,
    grant: GrantId,
    token: comity_app::tokens::Secret,
    session: SessionId,
}

fn scene() -> Scene {
    let (w, cast) = cast(2);
    let mut site = Site::of(w);
    let grant = site.grant(&cast, &cast.brokers[0]);
    let (token, session) = site.enter(&cast.brokers[0], cast.harbour, grant);
    Scene { site, cast, grant, token, session }
}

impl Scene {
    fn run(&self) -> Vec<Breach> {
        self.site.app.checker().run_now()
    }

    fn reason(&self) -> Reason {
        self.site.evaluate(&self.token, "boats:read").reason
    }

    /// Somebody edits the database; says how many rows that changed.
    fn edit(&self, statement: &str) -> usize {
        let folder = self.site.folder.path();
        if engine::on_postgres() {
            return engine::alter(folder, statement);
        }
        let raw = rusqlite::Connection::open(database(&folder.join("data"))).unwrap();
        raw.execute(statement, []).unwrap()
    }

    /// Writes another event in the place of one, and makes leaf, head and edge fit.
    fn forge(&self, seq: u64, change: impl Fn(&mut Event)) {
        let reader = self.site.app.reader();
        let mut forged = None;
        let mut edge = Edge::new();
        reader
            .scan(0, |stored, words| {
                if stored.seq != seq {
                    edge.push(stored.leaf);
                    return Ok(());
                }
                let mut row = decode(&stored, words).unwrap();
                row.events.iter_mut().for_each(|e| change(&mut e.event));
                let stored = encode(&row, &mut Ids::new([9; 32])).unwrap();
                edge.push(stored.leaf);
                forged = Some(stored);
                Ok(())
            })
            .unwrap();
        let forged = forged.unwrap();
        let (header, bytes) = (forged.header.replace('\'', "''"), engine::bytes);
        let (parts, leaf) = (bytes(&pack(&forged.parts)), bytes(&forged.leaf));
        self.edit(&format!(
            "UPDATE log SET header = '{header}', parts = {parts}, leaf = {leaf} WHERE seq = {seq}"
        ));
        let (root, edge) = (bytes(&edge.root()), bytes(&edge.to_bytes()));
        self.edit(&format!("UPDATE head SET root = {root}, edge = {edge}"));
    }
}

#[test]
fn a_server_that_nobody_touched_breaks_nothing() {
    let mut s = scene();
    assert_eq!(s.run(), []);
    s.site.must(&s.cast.by_boss, Command::EndSession { session: s.session });
    assert_eq!(s.run(), []);
    let (token, _) = s.site.enter(&s.cast.brokers[0], s.cast.harbour, s.grant);
    s.site.must(&s.cast.by_boss, Command::Revoke { grant: s.grant });
    s.site.clock.set(s.site.w.now.plus(3 * DAY));
    s.site.must(&Caller::system(), Command::NoteDue);
    assert_eq!(s.run(), []);
    assert_eq!(s.run(), [], "and with nothing new");
    assert!(!s.site.evaluate(&token, "boats:read").is_yes());
    let figures = s.site.app.checker().figures();
    let (runs, to) = (figures.runs.load(Ordering::Acquire), &figures.checked_to);
    assert!(runs >= 4 && figures.breaches.load(Ordering::Acquire) == 0);
    assert_eq!(to.load(Ordering::Acquire), s.site.app.state().seq);
    s.site.check();
}

#[test]
fn t49_inv25_an_edit_of_an_old_row_word_leaf_or_head_closes_within_one_run() {
    let none = engine::bytes(&[0; 32]);
    let edits = [
        "UPDATE log SET parts = (SELECT parts FROM log WHERE seq = 8) WHERE seq = 9",
        &format!("UPDATE log SET leaf = {none} WHERE seq = 9"),
        "UPDATE log SET at = at + 1 WHERE seq = 9",
        "UPDATE log SET header = replace(header, '\"v\":1', '\"v\":1 ') WHERE seq = 9",
        "UPDATE word SET text = text || ' Ltd' WHERE seq = (SELECT max(seq) FROM word)",
        "UPDATE word SET text = text || ' Ltd' WHERE seq = (SELECT min(seq) FROM word)",
        "DELETE FROM log WHERE seq = 9",
        "DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)",
        "DELETE FROM log",
        &format!("UPDATE head SET root = {none}"),
        "UPDATE head SET seq = seq + 1",
    ];
    for edit in edits {
        let s = scene();
        assert_eq!(s.run(), []);
        assert_eq!(s.reason(), Reason::Allowed);
        assert!(s.edit(edit) > 0, "{edit} changed nothing");
        let found = s.run();
        assert!(found.iter().any(Breach::closes), "{edit}: {found:?}");
        assert_eq!(s.reason(), Reason::Stale, "{edit}");
        // The writer goes on saying that the index is current; it stays closed.
        let _ = s.site.run(&Caller::system(), Command::NoteDue);
        assert_eq!(s.reason(), Reason::Stale, "{edit}");
    }
}

#[test]
fn t49_an_older_row_forged_with_its_leaf_and_the_head_is_found() {
    let s = scene();
    assert_eq!(s.run(), []);
    let seq = s.site.app.state().seq;
    s.forge(seq, |event| {
        if let Event::SessionStarted { deadline, .. } = event {
            *deadline = deadline.plus(MINUTE);
        }
    });
    let found = s.run();
    assert!(found.iter().any(|b| b.invariant == 25 && b.closes()), "{found:?}");
    assert_eq!(s.reason(), Reason::Stale);
}

#[test]
fn t49_inv24_a_new_row_that_leads_elsewhere_is_found_and_closes_the_node() {
    let s = scene();
    assert_eq!(s.run(), []);
    let data = s.site.folder.path().join("data");
    assert!(s.site.app.snapshots().take_now().unwrap().is_some());
    let cap = Some(comity_domain::time::Minutes(10));
    let narrowing = Narrowing { cap, ..Narrowing::default() };
    let narrow = Command::Narrow { grant: s.grant, narrowing, version: None };
    let done = s.site.must(&s.cast.by_boss, narrow);
    s.forge(done.seq, |event| {
        if let Event::GrantNarrowed { cap, .. } = event {
            cap.0 += 5;
        }
    });
    let target = HaltTarget::Grant(s.grant);
    let found = s.run();
    let halts = found.iter().all(|b| (b.invariant, b.about) == (24, Some(target)));
    assert!(halts && found.len() == 1, "{found:?}");
    assert_eq!(s.site.app.checker().figures().breaches.load(Ordering::Acquire), 1);
    // Halting it goes through the writer, who sees that the head is not the one that it wrote: it
    // believes nothing of this log any more, and that is more than a halt.
    assert_eq!(s.reason(), Reason::Stale, "at once");
    let again = s.site.run(&Caller::system(), Command::NoteDue);
    assert!(matches!(again, Err(NotDone::Unavailable(_))), "{again:?}");
    // What the node knows is what it was closed for: the next start must not trust it.
    assert!(file::list(&data).is_empty(), "what was taken is put aside");
    assert!(s.site.app.snapshots().take_now().is_err(), "and nothing more is taken");
    s.site.app.stop();
    assert!(file::list(&data).is_empty(), "at the stop neither");
}

#[test]
fn t49_a_halted_grant_says_no_at_once_and_only_the_operator_lifts_it() {
    let mut s = scene();
    let target = HaltTarget::Grant(s.grant);
    s.site.must(&Caller::system(), Command::Halt { target, invariant: 6 });
    assert_eq!(s.reason(), Reason::Locked, "at once");
    let (_, enter) = s.site.wish(s.cast.harbour, s.grant, Mode::Direct);
    assert_eq!(code(&s.site.run(&s.cast.brokers[0].by_rita, enter.clone())), "locked");
    let halt = s.site.app.state().halt_on(target).unwrap();
    let lift = Command::LiftHalt { halt };
    for caller in [s.cast.by_boss.clone(), s.cast.brokers[0].by_chief.clone(), s.site.w.provision()]
    {
        assert_eq!(code(&s.site.run(&caller, lift.clone())), "forbidden");
    }
    s.site.must(&s.site.w.operate(), lift);
    assert_eq!(s.reason(), Reason::Locked, "what was ended stays ended");
    s.site.must(&s.cast.brokers[0].by_rita, enter);
    assert_eq!(s.run(), []);
}

#[test]
fn t49_a_log_that_was_forged_before_the_start_is_found_by_the_first_run() {
    let s = scene();
    let edit = "UPDATE word SET text = text || ' Ltd' WHERE seq = (SELECT min(seq) FROM word)";
    assert!(s.edit(edit) > 0);
    let Scene { site, token, .. } = s;
    let site = site.again();
    for _ in 0..500 {
        if site.evaluate(&token, "boats:read").reason == Reason::Stale {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::Stale);
}

#[test]
fn the_checker_looks_on_while_others_write_and_holds_nobody_up() {
    let mut s = scene();
    let commands: Vec<_> =
        (0..40).map(|_| s.site.wish(s.cast.harbour, s.grant, Mode::Direct).1).collect();
    std::thread::scope(|scope| {
        let app = &s.site.app;
        let looking = scope.spawn(move || (0..40).all(|_| app.checker().run_now().is_empty()));
        for enter in commands {
            let done = s.site.run(&s.cast.brokers[0].by_chief, enter).unwrap();
            let ended = done.row.iter().flat_map(|r| &r.events).find_map(|e| match e.event {
                Event::SessionStarted { session, .. } => Some(session),
                _ => None,
            });
            let session = ended.unwrap();
            s.site.must(&s.cast.by_boss, Command::EndSession { session });
        }
        assert!(looking.join().unwrap());
    });
    assert_eq!(s.run(), []);
    s.site.check();
}

/// Prints what the first run and an increment cost over a long log: `cargo test --release -p
/// comity-app cost_of_the_checker -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn cost_of_the_checker_over_a_long_log() {
    let mut s = scene();
    for _ in 0..2_000 {
        let (_, enter) = s.site.wish(s.cast.harbour, s.grant, Mode::Direct);
        let done = s.site.must(&s.cast.brokers[0].by_chief, enter);
        let first = done.row.as_ref().map(|r| r.events[0].event.clone());
        let Some(Event::SessionStarted { session, .. }) = first else { panic!("{first:?}") };
        s.site.must(&s.cast.by_boss, Command::EndSession { session });
        if done.seq > 2_000 && done.seq < 2_003 {
            s.run();
        }
    }
    let millis = |s: &Scene| s.site.app.checker().figures().last_millis.load(Ordering::Acquire);
    assert_eq!(s.run(), []);
    println!("an increment with its share of the older rows: {} ms", millis(&s));
    assert_eq!(s.run(), []);
    println!("nothing new, and the older rows: {} ms", millis(&s));
    let site = s.site.again();
    let began = std::time::Instant::now();
    assert_eq!(site.app.checker().run_now(), []);
    println!("the first run or the wait for it: {:?}", began.elapsed());
}

/// Prints what the invariants of a state cost over many sessions, and over a thousand of them.
#[test]
#[ignore = "measures"]
fn cost_of_the_checker_over_many_sessions() {
    let s = scene();
    let mut state = (*s.site.app.state()).clone();
    let mut stay = state.sessions.get(s.session).unwrap().clone();
    let id = |n: u128| SessionId((1 << 100) | n);
    for n in 0..100_000u128 {
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&n.to_be_bytes());
        stay.token = Digest32(digest);
        seam::put_session(&mut state, id(n), stay.clone());
    }
    let some = Scope { sessions: (0..1_000).map(id).collect(), ..Scope::default() };
    for (name, scope) in [("100,000 sessions", Scope::everything()), ("1,000 touched", some)] {
        let began = std::time::Instant::now();
        let found = check::check(&state, &scope, s.site.w.now).len();
        println!("{name}: {:?}, {found} breaches", began.elapsed());
    }
}
