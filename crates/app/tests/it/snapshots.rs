//! Snapshots: what they hold leads to the same node, and whatever is off about one is refused.

use std::path::{Path, PathBuf};
use std::time::Duration;

use comity_app::keys::{Keys, SnapshotKey};
use comity_app::node::NotDone;
use comity_app::snapshots::{Standing, file};
use comity_app::start::{self, Loaded};
use comity_domain::command::{Command, Door};
use comity_domain::event::Row;
use comity_domain::kernel;
use comity_domain::refusal::Reason;
use comity_domain::state::State;
use comity_domain::time::MINUTE;
use comity_store::{Head, Reader};
use tempfile::TempDir;

use crate::site::{Site, cast, code, lay, reader, settings};
use crate::world::World;

/// A folder with a log and a key, on which nothing runs.
struct Folder(TempDir);

impl Folder {
    fn of(rows: &[Row]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        lay(folder.0.path(), rows);
        folder
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn key(&self) -> SnapshotKey {
        Keys::open(&settings(self.0.path()).key_file).unwrap().0.snapshot().clone()
    }

    fn reader(&self) -> Reader {
        reader(self.0.path())
    }

    fn head(&self) -> Head {
        self.reader().head().unwrap()
    }

    fn take(&self, state: &State) -> PathBuf {
        file::write(&self.data(), &self.key(), state, &self.head()).unwrap()
    }

    fn load(&self) -> Loaded {
        start::load(&self.reader(), &self.data(), &self.key()).unwrap()
    }
}

/// A world in which a bit was asked, given, entered and ended.
fn lived() -> World {
    let (mut w, cast) = cast(2);
    let broker = &cast.brokers[0];
    let request = w.ask(&broker.by_chief, w.ask_spec(broker.organisation, cast.harbour));
    let terms = w.terms(&[cast.keeper]);
    let grant = w.approve(&cast.by_boss, request, terms);
    w.assign(&broker.by_chief, grant, broker.rita, &[cast.keeper]);
    w.enter(&broker.by_rita, cast.harbour, comity_domain::role::Mode::Direct);
    w.later(MINUTE);
    w.must(&cast.by_boss, Command::Revoke { grant });
    w
}

fn after(rows: &[Row]) -> State {
    let mut state = State::default();
    rows.iter().for_each(|row| drop(kernel::apply(&mut state, row)));
    state
}

fn settled(site: &Site) -> Standing {
    for _ in 0..4_000 {
        match site.app.snapshots().standing() {
            Standing::Unconfirmed => std::thread::sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
    panic!("not confirmed within twenty seconds");
}

#[test]
fn inv24_a_snapshot_at_any_row_and_the_rows_after_it_lead_to_the_same_state() {
    let w = lived();
    let (start, rest) = w.rows.split_at(8);
    let folder = Folder::of(start);
    let mut kept = Vec::new();
    for upto in start.len()..=w.rows.len() {
        let path = folder.take(&after(&w.rows[..upto]));
        kept.push((upto as u64, std::fs::read(&path).unwrap(), path));
        lay(folder.0.path(), w.rows.get(upto).map_or(&[], std::slice::from_ref));
    }
    assert_eq!(kept.len(), rest.len() + 1);
    for (seq, bytes, path) in kept {
        for (_, other) in file::list(&folder.data()) {
            std::fs::remove_file(other).unwrap();
        }
        std::fs::write(&path, bytes).unwrap();
        let Loaded { state, from, .. } = folder.load();
        assert_eq!(from.map(|o| o.seq), Some(seq));
        assert!(state == w.state, "from row {seq}");
    }
}

#[test]
fn inv22_inv24_a_node_that_starts_from_a_snapshot_goes_on_with_its_sessions() {
    let (w, cast) = cast(3);
    let mut site = Site::of(w);
    let grants: Vec<_> = cast.brokers.iter().map(|b| site.grant(&cast, b)).collect();
    let stays: Vec<_> =
        cast.brokers.iter().zip(&grants).map(|(b, g)| site.enter(b, cast.harbour, *g)).collect();
    for _ in 0..300 {
        // The first block is 256 calls; the next is reserved behind.
        while site.evaluate(&stays[0].0, "boats:read").reason == Reason::Busy {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    let taken = site.app.snapshots().take_now().unwrap().expect("confirmed: it came from the log");
    site.must(&cast.by_boss, Command::Revoke { grant: grants[1] });
    let (late, _) = site.enter(&cast.brokers[2], cast.harbour, grants[2]);
    let before = site.app.state();
    assert!(before.seq > taken);
    for _ in 0..2 {
        site = site.again();
        let from = start::load(
            site.app.reader(),
            &site.folder.path().join("data"),
            site.app.keys().snapshot(),
        );
        assert_eq!(from.unwrap().from.map(|o| o.seq), Some(taken));
        assert!(*site.app.state() == *before);
        let tokens = [&stays[0].0, &stays[1].0, &stays[2].0, &late];
        let reasons = tokens.map(|t| site.evaluate(t, "money:send").reason);
        let no = Reason::NoRole;
        assert_eq!(reasons, [no, Reason::Revoked, no, no]);
        assert!(site.app.caller(stays[0].0.reveal(), Door::Api).is_some());
        assert!(site.app.caller(stays[1].0.reveal(), Door::Api).is_none());
        let counts = site.app.counts(stays[0].1);
        assert_eq!((counts.allowed, counts.uncertain), (300, 0));
        assert_eq!(settled(&site), Standing::Confirmed);
    }
    site.must(&cast.by_boss, Command::Revoke { grant: grants[0] });
    assert_eq!(site.evaluate(&stays[0].0, "boats:read").reason, Reason::Revoked);
    assert!(site.app.snapshots().take_now().unwrap().is_some(), "confirmed, so taken again");
    site.check();
}

#[test]
fn t40_every_changed_byte_of_a_snapshot_is_refused_and_the_log_is_replayed() {
    let w = lived();
    let folder = Folder::of(&w.rows);
    let path = folder.take(&w.state);
    let good = std::fs::read(&path).unwrap();
    assert!(folder.load().from.is_some());
    let other_key = Keys::from_secret(&[9; 32]);
    assert!(file::read(&path, other_key.snapshot()).is_err(), "another installation's");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bad).unwrap();
        assert!(file::read(&path, &folder.key()).is_err(), "byte {at}");
        if at % 211 == 0 {
            let Loaded { state, from, .. } = folder.load();
            assert!(from.is_none() && state == w.state, "byte {at}");
        }
    }
    for bad in [&good[..good.len() - 1], &good[..100], &good[..7], &[]] {
        std::fs::write(&path, bad).unwrap();
        assert!(folder.load().from.is_none(), "cut off at {}", bad.len());
    }
    std::fs::write(&path, [&good[..], &[0]].concat()).unwrap();
    assert!(folder.load().from.is_none(), "one byte too many");
    std::fs::write(&path, &good).unwrap();
    assert!(folder.load().from.is_some());
}

#[test]
fn t40_a_snapshot_of_another_log_is_refused() {
    let w = lived();
    let folder = Folder::of(&w.rows);
    let head = folder.head();
    let refused = |state: &State, head: &Head, why: &str| {
        let path = file::write(&folder.data(), &folder.key(), state, head).unwrap();
        let Loaded { state, from, .. } = folder.load();
        assert!(from.is_none() && state == w.state, "{why}");
        std::fs::remove_file(path).unwrap();
    };
    refused(&w.state, &Head { fork: head.fork + 1, ..head.clone() }, "of another fork");
    // The same rows with other salts: another log, in its middle and at its end.
    let other = Folder::of(&w.rows[..2]);
    lay(other.0.path(), &w.rows[2..5]);
    refused(&after(&w.rows[..5]), &other.head(), "of another log, shorter");
    lay(other.0.path(), &w.rows[5..]);
    refused(&w.state, &other.head(), "of another log");
    let mut longer = w.clone();
    longer.organisation("later", "Later");
    lay(other.0.path(), &longer.rows[w.rows.len()..]);
    refused(&longer.state, &other.head(), "of a longer log");
    folder.take(&w.state);
    assert!(folder.load().from.is_some(), "and its own is taken");
}

#[test]
fn a_crash_while_a_snapshot_is_written_leaves_the_one_before() {
    let w = lived();
    let (start, rest) = w.rows.split_at(w.rows.len() - 3);
    let folder = Folder::of(start);
    folder.take(&after(start));
    lay(folder.0.path(), rest);
    let half = folder.data().join(format!("snapshot-{}.new", w.rows.len()));
    std::fs::write(&half, b"COMITYSN and a bit").unwrap();
    let Loaded { state, from, .. } = folder.load();
    assert_eq!(from.map(|o| o.seq), Some(start.len() as u64));
    assert!(state == w.state);
    assert!(!half.exists(), "what is half is swept away");
    // One that is broken does not stand before an older one that is not.
    std::fs::write(folder.data().join(format!("snapshot-{}", w.rows.len())), b"COMITYSN").unwrap();
    assert_eq!(folder.load().from.map(|o| o.seq), Some(start.len() as u64));
}

#[test]
fn the_newest_two_are_kept_and_only_the_owner_reads_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let w = lived();
    let folder = Folder::of(&w.rows[..6]);
    for n in 6..10 {
        if n > 6 {
            lay(folder.0.path(), &w.rows[n - 1..n]);
        }
        let path = folder.take(&after(&w.rows[..n]));
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let kept: Vec<u64> = file::list(&folder.data()).into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(kept, [9, 8]);
}

#[test]
fn no_word_is_in_a_snapshot() {
    let (mut w, cast) = cast(1);
    w.organisation("canary-external", "Canaryname");
    let broker = &cast.brokers[0];
    let mut ask = w.ask_spec(broker.organisation, cast.harbour);
    ask.reason = "canary-reason".into();
    w.ask(&broker.by_chief, ask);
    let folder = Folder::of(&w.rows);
    let bytes = std::fs::read(folder.take(&w.state)).unwrap().to_ascii_lowercase();
    let words = w.rows.iter().flat_map(|r| &r.words).filter_map(|x| x.text.as_deref());
    let mut looked = 0;
    for word in words.filter(|x| x.len() > 5).chain(["canary"]) {
        let word = word.to_ascii_lowercase();
        assert!(!bytes.windows(word.len()).any(|at| at == word.as_bytes()), "{word}");
        looked += 1;
    }
    assert!(looked > 10, "{looked}");
    assert!(folder.load().state == w.state, "and yet they are all there after a start");
}

/// Who has the key can seal a state that no log leads to: here one in which a revoke never happened.
#[test]
fn t40_a_sealed_state_that_does_not_follow_from_the_log_closes_the_node() {
    let (w, cast) = cast(1);
    let (mut site, broker) = (Site::of(w), &cast.brokers[0]);
    let grant = site.grant(&cast, broker);
    let (token, _) = site.enter(broker, cast.harbour, grant);
    site.must(&cast.by_boss, Command::Revoke { grant });
    let mut rows = site.app.reader().rows(None, 0, usize::MAX).unwrap();
    rows.last_mut().unwrap().events.clear();
    let forged = after(&rows);
    let (data, head) = (site.folder.path().join("data"), site.app.reader().head().unwrap());
    assert_eq!(forged.seq, head.seq);
    file::write(&data, site.app.keys().snapshot(), &forged, &head).unwrap();
    let loaded = start::load(site.app.reader(), &data, site.app.keys().snapshot()).unwrap();
    assert!(loaded.from.is_some() && loaded.state == forged, "nothing about the file is off");
    site = site.again();
    assert_eq!(settled(&site), Standing::Refuted);
    std::thread::sleep(Duration::from_millis(500)); // the writer had time to renew, and must not
    assert_eq!(site.evaluate(&token, "boats:read").reason, Reason::Stale);
    let answer = site.run(&cast.by_boss, Command::Revoke { grant });
    assert!(matches!(answer, Err(NotDone::Unavailable(_))), "{answer:?}");
    assert_eq!(site.app.snapshots().take_now().unwrap(), None, "and nothing of it is kept");
    assert!(file::list(&data).is_empty(), "the snapshot is put aside");
    assert!(aside(&data), "under a name that tells");
    site = site.again();
    assert_eq!(site.app.snapshots().standing(), Standing::Confirmed, "from the log");
    // The checker may have found it first, and halted the grant before the node was closed.
    let reason = site.evaluate(&token, "boats:read").reason;
    assert!(matches!(reason, Reason::Revoked | Reason::Locked), "{reason:?}");
    assert_eq!(code(&site.run(&cast.by_boss, Command::Revoke { grant })), "wrong_state");
    site.check();
}

fn aside(data: &Path) -> bool {
    let names = std::fs::read_dir(data).unwrap().flatten().map(|e| e.file_name());
    names.filter_map(|n| n.into_string().ok()).any(|n| n.starts_with("refused-snapshot-"))
}

#[test]
fn a_clean_stop_takes_one_when_enough_is_new() {
    let (w, cast) = cast(1);
    let site = Site::of(w);
    let data = site.folder.path().join("data");
    let site = site.again();
    assert!(file::list(&data).is_empty(), "little is new");
    // Not too many at once: on PostgreSQL who holds the head for a second without a word loses it.
    for round in 0..12 {
        let many = (0..100).map(|n| {
            let put = site.w.member_spec(cast.harbour, &format!("m{round}-{n}"), None);
            (site.w.provision(), Command::PutMember(put))
        });
        for done in site.in_one_batch(many.collect()) {
            done.unwrap();
        }
    }
    let before = site.app.state();
    let site = site.again();
    assert_eq!(file::list(&data).len(), 1);
    assert_eq!(file::list(&data)[0].0, before.seq);
    assert!(*site.app.state() == *before);
    assert_eq!(settled(&site), Standing::Confirmed);
    site.check();
}
