//! The outbox: what is told stands with its row, is tried by one, and is kept for a while.

use comity_domain::command::Sealed;
use comity_domain::draft::SideWrite;
use comity_domain::ids::Digest32;
use comity_domain::outbox::Push;
use comity_domain::time::Instant;
use comity_domain::webhook::Redelivery;
use comity_store::{Attempt, Outbox, Status};

use crate::story::{On, alone, long_story, on_both, salts};

const ALL: Instant = Instant(i64::MAX);

fn push(recipient: u128, index: u32) -> Push {
    Push { recipient, index, kind: "grant_ended" }
}

on_both! {
fn inv30_a_push_stands_with_its_row_and_is_tried_by_one_at_a_time(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    let outbox = Outbox::at(&shelf.place).unwrap();
    let mut batch = alone(&rows[..10]);
    batch[4].1.push(SideWrite::Pushes(vec![push(1, 0), push(1, 1), push(2, 0)]));
    batch[6].1.push(SideWrite::Pushes(vec![push(1, 0)]));
    // With its row or not at all.
    let mut broken = batch.clone();
    broken[9].0.seq += 1;
    assert!(store.append(&broken, &mut salts()).is_err());
    assert_eq!(outbox.recipients().unwrap(), []);
    store.append(&batch, &mut salts()).unwrap();
    let at = rows[4].at;
    assert_eq!(outbox.recipients().unwrap(), [(1, at), (2, at)]);

    // In order, each to one, and again only after the lease.
    let (now, until) = (at.plus(10), at.plus(30_010));
    let first = outbox.claim(1, 100, now, until).unwrap().unwrap();
    assert_eq!((first.seq, first.index, first.attempts), (5, 0, 1));
    assert_eq!(first.kind, "grant_ended");
    let second = outbox.claim(1, 100, now, until).unwrap().unwrap();
    assert_eq!((second.seq, second.index), (5, 1));
    assert!(outbox.claim(1, 6, now, until).unwrap().is_none(), "not of a later row");
    let third = outbox.claim(1, 7, now, until).unwrap().unwrap();
    assert_eq!((third.seq, third.index), (7, 0));
    assert!(outbox.claim(1, 100, now, until).unwrap().is_none());
    let again = outbox.claim(1, 100, until, until.plus(30_000)).unwrap().unwrap();
    assert_eq!((again.seq, again.index, again.attempts), (5, 0, 2), "its sender may be dead");

    // A late word of the first sender: a failure is not believed, a delivery is.
    let due = until.plus(99);
    let failed = Attempt::Again { due, code: Some(500), problem: "status" };
    outbox.settle(&first, failed, now).unwrap();
    outbox.settle(&again, failed, now).unwrap();
    outbox.settle(&first, Attempt::Delivered { code: 204 }, now).unwrap();
    outbox.settle(&again, Attempt::Dead { code: None, problem: "timeout" }, now).unwrap();
    outbox.settle(&second, failed, now).unwrap();
    outbox.settle(&third, Attempt::Dead { code: Some(410), problem: "gone" }, now).unwrap();
    let reader = shelf.reader();
    let shown = reader.deliveries(1, None, None, 10).unwrap();
    let became: Vec<_> = shown.iter().map(|d| (d.seq, d.index, d.status, d.code)).collect();
    assert_eq!(became, [
        (7, 0, Status::Dead, Some(410)),
        (5, 1, Status::Waiting, Some(500)),
        (5, 0, Status::Delivered, Some(204)),
    ]);
    assert_eq!(shown[1].due, due);
    assert_eq!(reader.deliveries(1, Some(Status::Dead), None, 10).unwrap().len(), 1);
    assert_eq!(reader.deliveries(1, None, Some((5, 1)), 10).unwrap().len(), 1);
    let counts = reader.outbox_counts(Some(1)).unwrap();
    assert_eq!((counts.waiting, counts.dead, counts.oldest), (1, 1, Some(at)));
    assert_eq!(reader.outbox_counts(None).unwrap().waiting, 2);

    // Sent again, given up, swept.
    let requeue = |what| vec![SideWrite::Requeue { recipient: 1, what }];
    store.append(&[(rows[10].clone(), requeue(Redelivery::DeadSince(at)))], &mut salts()).unwrap();
    store.append(&[(rows[11].clone(), requeue(Redelivery::One(5, 0)))], &mut salts()).unwrap();
    assert_eq!(reader.outbox_counts(Some(1)).unwrap().waiting, 3);
    assert_eq!(outbox.expire(1, rows[4].at, now).unwrap(), 0);
    assert_eq!(outbox.give_up(1, 6, None, "turned_off", now).unwrap(), 2);
    assert_eq!(outbox.expire(1, ALL, now).unwrap(), 1);
    assert_eq!(reader.outbox_counts(Some(1)).unwrap().dead, 3);
    outbox.sweep(ALL, now).unwrap();
    assert_eq!(reader.deliveries(1, None, None, 10).unwrap().len(), 3, "dead letters stay longer");
    outbox.sweep(ALL, ALL).unwrap();
    assert_eq!(reader.deliveries(1, None, None, 10).unwrap().len(), 0);
    assert_eq!(outbox.recipients().unwrap(), [(2, at)], "what waits is not swept");

    // Since when nothing was taken.
    assert_eq!(outbox.took(2, false, now).unwrap(), Some(now));
    assert_eq!(outbox.took(2, false, until).unwrap(), Some(now));
    assert_eq!(outbox.took(2, true, until).unwrap(), None);
    assert_eq!(outbox.took(2, false, until).unwrap(), Some(until));
}
}

on_both! {
fn t43_of_a_recipients_secrets_only_the_last_two_are_kept_and_none_after_it(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    let secret = |n: u8, keep: Option<u8>| SideWrite::Secret {
        recipient: 1,
        digest: Digest32([n; 32]),
        sealed: Sealed(vec![n]),
        keep: keep.map(|n| Digest32([n; 32])),
    };
    let mut batch = alone(&rows[..5]);
    batch[0].1.push(secret(1, None));
    batch[1].1.push(secret(2, Some(1)));
    batch[2].1.push(secret(3, Some(2)));
    batch[3].1.push(SideWrite::Pushes(vec![push(1, 0)]));
    store.append(&batch, &mut salts()).unwrap();
    let reader = shelf.reader();
    let read = |n| reader.recipient_secret(1, Digest32([n; 32])).unwrap();
    assert_eq!([read(1), read(2), read(3)], [None, Some(vec![2]), Some(vec![3])]);
    let forget = vec![SideWrite::Forget { recipient: 1 }];
    store.append(&[(rows[5].clone(), forget)], &mut salts()).unwrap();
    assert_eq!([read(2), read(3)], [None, None]);
    assert_eq!(reader.outbox_counts(None).unwrap().waiting, 0);
}
}
