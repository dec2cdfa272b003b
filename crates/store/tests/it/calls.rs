//! The books of calls: durable counters, clean and unclean stops, segments.

use comity_domain::ids::SessionId;
use comity_domain::time::Instant;
use comity_store::{CallMinute, CallRecord, Calls, CallsReader, SEGMENT, StoreError, StoredCounts};
use tempfile::TempDir;

use crate::story::{On, on_both};

fn folder() -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.db");
    (folder, path)
}

pub fn record(n: u128) -> CallRecord {
    CallRecord {
        session: SessionId(n % 3),
        at: Instant(1_000 + i64::try_from(n).unwrap()),
        permission: "boats:read".into(),
        resource: format!("pier-{n}"),
        reason: "allowed".into(),
        late: n.is_multiple_of(5),
    }
}

fn records(count: u128) -> Vec<CallRecord> {
    (0..count).map(record).collect()
}

on_both! {
fn inv22_counters_are_durable_once_written(on: On) {
    let shelf = on.shelf();
    let [a, b] = [(SessionId(1), counts(256, 3)), (SessionId(u128::MAX), counts(1_280, 700))];
    {
        let mut calls = Calls::at(&shelf.place).unwrap();
        assert_eq!(calls.open_counters().unwrap(), []);
        calls.write(&[a, b], &records(4)).unwrap();
        calls.write(&[(a.0, counts(512, 200))], &[]).unwrap();
    }
    let mut calls = Calls::at(&shelf.place).unwrap();
    let beside = CallsReader::at(&shelf.place).unwrap();
    for (session, wanted) in [(a.0, Some(counts(512, 200))), (b.0, Some(b.1)), (SessionId(2), None)]
    {
        assert_eq!(calls.counter(session).unwrap(), wanted);
        assert_eq!(beside.counter(session).unwrap(), wanted);
    }
}
}

on_both! {
fn inv22_only_counters_with_room_left_are_uncertain_after_a_crash(on: On) {
    let shelf = on.shelf();
    let mut calls = Calls::at(&shelf.place).unwrap();
    let full = StoredCounts { reserved: 10, allowed: 6, refused: 1, late: 9, uncertain: 3 };
    let open = StoredCounts { reserved: 11, ..full };
    calls.write(&[(SessionId(1), full), (SessionId(2), open)], &[]).unwrap();
    assert_eq!(calls.open_counters().unwrap(), [(SessionId(2), open)]);
}
}

fn counts(reserved: u64, allowed: u64) -> StoredCounts {
    StoredCounts { reserved, allowed, refused: allowed / 2, late: 1, uncertain: 7 }
}

on_both! {
fn inv22_a_clean_stop_is_told_from_a_crash(on: On) {
    let shelf = on.shelf();
    assert!(Calls::at(&shelf.place).unwrap().was_clean(), "a new file holds nothing uncertain");
    assert!(!Calls::at(&shelf.place).unwrap().was_clean(), "dropped without a last word");
    Calls::at(&shelf.place).unwrap().stop().unwrap();
    let calls = Calls::at(&shelf.place).unwrap();
    assert!(calls.was_clean());
    drop(calls);
    assert!(!Calls::at(&shelf.place).unwrap().was_clean(), "a clean stop counts once");
}
}

on_both! {
fn r16_calls_over_time_are_kept_by_minute_without_those_that_came_late(on: On) {
    let shelf = on.shelf();
    let mut calls = Calls::at(&shelf.place).unwrap();
    let session = record(1).session;
    let at = |at: i64, reason: &str, late| CallRecord {
        session,
        at: Instant(at),
        reason: reason.into(),
        late,
        ..record(1)
    };
    calls.write(&[], &[at(60_000, "allowed", false), at(119_999, "no_role", false)]).unwrap();
    let more = [
        at(119_000, "allowed", false),
        at(180_000, "allowed", false),
        at(240_000, "session_closed", true),
        CallRecord { session: SessionId(77), ..at(60_000, "allowed", false) },
    ];
    calls.write(&[], &more).unwrap();
    let reader = CallsReader::at(&shelf.place).unwrap();
    let minute = |at, allowed, refused| CallMinute { at: Instant(at), allowed, refused };
    assert_eq!(reader.minutes(session).unwrap(), [minute(60_000, 2, 1), minute(180_000, 1, 0)]);
    assert_eq!(reader.minutes(SessionId(78)).unwrap(), []);
}
}

on_both! {
fn r16_the_counters_of_several_sessions_are_read_together(on: On) {
    let shelf = on.shelf();
    let mut calls = Calls::at(&shelf.place).unwrap();
    calls.write(&[(SessionId(1), counts(256, 4)), (SessionId(3), counts(256, 6))], &[]).unwrap();
    let reader = CallsReader::at(&shelf.place).unwrap();
    let mut found = reader.counters(&[1, 2, 3].map(SessionId), true).unwrap();
    found.sort_by_key(|(session, _)| *session);
    assert_eq!(found, [(SessionId(1), counts(256, 4)), (SessionId(3), counts(256, 6))]);
    for (session, one) in found {
        assert_eq!(reader.counter(session).unwrap(), Some(one), "the same as one by one");
    }
    assert_eq!(reader.counters(&[SessionId(1)], false).unwrap(), [], "no other node has counted");
}
}

#[test]
fn a_second_process_cannot_count_in_the_same_file() {
    let (_folder, path) = folder();
    let _first = Calls::open(&path).unwrap();
    assert!(matches!(Calls::open(&path), Err(StoreError::InUse(_))));
}

on_both! {
fn t24_a_segment_is_offered_until_it_is_sealed_and_recomputes(on: On) {
    let shelf = on.shelf();
    let mut calls = Calls::at(&shelf.place).unwrap();
    assert_eq!(calls.next_segment().unwrap(), None, "nothing to seal");
    calls.write(&[], &records(10)).unwrap();
    let first = calls.next_segment().unwrap().unwrap();
    assert_eq!((first.segment, first.records), (1, 10));
    calls.write(&[], &records(4)).unwrap();
    assert_eq!(
        calls.next_segment().unwrap().as_ref(),
        Some(&first),
        "the same until the log has it"
    );
    drop(calls);
    let mut calls = Calls::at(&shelf.place).unwrap();
    assert_eq!(calls.next_segment().unwrap().as_ref(), Some(&first), "also after a restart");
    calls.sealed(1).unwrap();
    let second = calls.next_segment().unwrap().unwrap();
    assert_eq!((second.segment, second.records), (2, 4));
    assert_ne!(first.digest, second.digest);
    calls.sealed(2).unwrap();
    assert_eq!(calls.next_segment().unwrap(), None);
    assert_eq!(calls.recompute(1).unwrap(), Some(first));
    assert_eq!(calls.recompute(2).unwrap(), Some(second));
    assert_eq!(calls.recompute(3).unwrap(), None);
}
}

on_both! {
fn a_segment_holds_at_most_so_many_records(on: On) {
    let shelf = on.shelf();
    let mut calls = Calls::at(&shelf.place).unwrap();
    calls.write(&[], &records(u128::from(SEGMENT) + 5)).unwrap();
    let mut sizes = Vec::new();
    while let Some(segment) = calls.next_segment().unwrap() {
        sizes.push(segment.records);
        calls.sealed(segment.segment).unwrap();
    }
    assert_eq!(sizes, [SEGMENT, 5]);
}
}

#[test]
fn t24_a_changed_lost_or_added_record_no_longer_fits_the_sealed_digest() {
    let (_folder, path) = folder();
    let mut calls = Calls::open(&path).unwrap();
    calls.write(&[], &records(20)).unwrap();
    let sealed = calls.next_segment().unwrap().unwrap();
    calls.sealed(1).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    let changes = [
        "UPDATE call SET resource = 'pier-x' WHERE id = 7",
        "UPDATE call SET permission = 'boats:write' WHERE id = 1",
        "UPDATE call SET reason = 'revoked' WHERE id = 20",
        "UPDATE call SET at = at + 1 WHERE id = 3",
        "UPDATE call SET late = 1 - late WHERE id = 3",
        "UPDATE call SET session = randomblob(16) WHERE id = 9",
        "UPDATE call SET permission = permission || 'p', resource = substr(resource, 2) WHERE id = 4",
        "DELETE FROM call WHERE id = 11",
        "UPDATE call SET id = -5 WHERE id = 11",
    ];
    for change in changes {
        raw.execute_batch("SAVEPOINT here").unwrap();
        assert_eq!(raw.execute(change, []).unwrap(), 1);
        raw.execute_batch("RELEASE here").unwrap();
        let now = calls.recompute(1).unwrap().unwrap();
        assert!(now.digest != sealed.digest || now.records != sealed.records, "{change}");
        raw.execute_batch("DELETE FROM call").unwrap();
        calls.write(&[], &[]).unwrap();
        restore(&raw);
        assert_eq!(calls.recompute(1).unwrap().as_ref(), Some(&sealed), "put back after {change}");
    }
}

fn restore(raw: &rusqlite::Connection) {
    for (id, r) in (1..).zip(records(20)) {
        raw.execute(
            "INSERT INTO call (id, session, at, permission, resource, reason, late) VALUES (?1,?2,?3,?4,?5,?6,?7)",
            rusqlite::params![i64::from(id), r.session.0.to_be_bytes(), r.at.0, r.permission, r.resource, r.reason, r.late],
        )
        .unwrap();
    }
}
