//! Inboxes and mails: written with their rows, read by pages, queued once, sent by one.

use comity_domain::draft::SideWrite;
use comity_domain::event::Row;
use comity_domain::ids::{GrantId, InvitationId, OrganisationId, PersonId, RequestId, SessionId};
use comity_domain::notice::{Facts, Kind, Notice, Side};
use comity_domain::text::Subject;
use comity_domain::time::Instant;
use comity_store::{Inbox, MailAttempt, Mails, Noticed};

use crate::story::{On, long_story, on_both, salts};

const OWN: OrganisationId = OrganisationId(1);
const OTHER: OrganisationId = OrganisationId(u128::MAX - 1);
const ANA: PersonId = PersonId(10);
const BEN: PersonId = PersonId(11);

fn notice(organisation: OrganisationId, index: u32, mail: bool) -> Notice {
    let facts = match index {
        0 => Facts::default(),
        _ => Facts {
            request: Some(RequestId(u128::MAX)),
            grant: Some(GrantId(3)),
            session: Some(SessionId(4)),
            person: Some(ANA),
            other: Some(OTHER),
            ends: Some(Instant(7)),
            invitation: Some(InvitationId(5)),
        },
    };
    let (kind, side) = (Kind::EndsInAWeek, Side::Provider);
    Notice { organisation, index, kind, side, facts, count: index + 1, mail }
}

/// Every second row tells the one organisation twice and the other once.
fn telling(rows: &[Row]) -> Vec<(Row, Vec<SideWrite>)> {
    let side = |row: &Row| match row.seq % 2 {
        0 => vec![SideWrite::Notices(vec![
            notice(OWN, 0, false),
            notice(OWN, 1, true),
            notice(OTHER, 0, true),
        ])],
        _ => Vec::new(),
    };
    rows.iter().map(|row| (row.clone(), side(row))).collect()
}

fn places(notices: &[Noticed]) -> Vec<(u64, u32)> {
    notices.iter().map(|n| (n.seq, n.notice.index)).collect()
}

on_both! {
fn inv24_a_notice_stands_with_its_row_and_each_reads_for_themselves(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    // A commit that fails leaves no notice of what did not happen.
    store.fail_commits(true).unwrap();
    assert!(store.append(&telling(&rows[..8]), &mut salts()).is_err());
    store.fail_commits(false).unwrap();
    drop(store);
    let mut store = shelf.open();
    store.append(&telling(&rows[..8]), &mut salts()).unwrap();
    let reader = shelf.reader();
    let all = reader.notices(OWN, ANA, None, false, 100).unwrap();
    assert_eq!(places(&all), [(8, 1), (8, 0), (6, 1), (6, 0), (4, 1), (4, 0), (2, 1), (2, 0)]);
    assert_eq!(all[0].notice, notice(OWN, 1, true), "as it was written");
    assert_eq!(all[1].notice, notice(OWN, 0, false));
    assert!(all.iter().all(|n| n.at == rows[n.seq as usize - 1].at && !n.read));
    let below = reader.notices(OWN, ANA, Some((6, 1)), false, 2).unwrap();
    assert_eq!(places(&below), [(6, 0), (4, 1)]);
    assert_eq!(places(&reader.notices(OTHER, ANA, None, false, 100).unwrap()).len(), 4);

    let inbox = Inbox::at(&shelf.place).unwrap();
    let unread = |who| reader.unread(OWN, who, 100).unwrap();
    assert_eq!((unread(ANA), reader.unread(OWN, ANA, 3).unwrap()), (8, 3));
    inbox.read_one(OWN, ANA, (6, 1)).unwrap();
    inbox.read_one(OWN, ANA, (6, 1)).unwrap();
    inbox.read_one(OWN, ANA, (7, 0)).unwrap(); // there is none
    inbox.read_up_to(OWN, ANA, 4).unwrap();
    inbox.read_up_to(OWN, ANA, 1).unwrap();
    assert_eq!((unread(ANA), unread(BEN)), (3, 8));
    let left = reader.notices(OWN, ANA, None, true, 100).unwrap();
    assert_eq!(places(&left), [(8, 1), (8, 0), (6, 0)]);
    let seen = reader.notices(OWN, ANA, None, false, 100).unwrap();
    assert_eq!(places(&seen.into_iter().filter(|n| n.read).collect::<Vec<_>>()).len(), 5);
    // A second one, as another node has it, sees the same and changes the same.
    let second = Inbox::at(&shelf.place).unwrap();
    second.read_up_to(OWN, ANA, 6).unwrap();
    assert_eq!(unread(ANA), 2);
    // What somebody has read goes with their words.
    let erase = vec![SideWrite::EraseWords(Subject::Person(ANA))];
    store.append(&[(rows[8].clone(), erase)], &mut salts()).unwrap();
    assert_eq!(unread(ANA), 8);
    inbox.sweep(rows[5].at).unwrap();
    let kept = reader.notices(OWN, BEN, None, false, 100).unwrap();
    assert!(kept.iter().all(|n| n.at >= rows[5].at) && !kept.is_empty());
}
}

on_both! {
fn inv30_a_mail_is_queued_once_and_sent_by_one_at_a_time(on: On) {
    let rows = long_story().rows;
    let shelf = on.shelf();
    let mut store = shelf.open();
    store.append(&telling(&rows[..8]), &mut salts()).unwrap();
    let (mails, other) = (Mails::at(&shelf.place).unwrap(), Mails::at(&shelf.place).unwrap());
    let both = |_: &Noticed| vec![ANA, BEN];
    assert_eq!(mails.queue(8, 10, both).unwrap(), 0, "nothing before it has begun");
    // What happened before is not mailed; beginning again moves nothing.
    mails.begin(3).unwrap();
    other.begin(8).unwrap();
    assert_eq!(mails.queue(8, 1, both).unwrap(), 1, "in small steps, also within a row");
    // Another node meanwhile: what one of them queues the other does not.
    let quicker = std::cell::Cell::new(true);
    let raced = mails.queue(8, 2, |_| {
        if quicker.take() {
            assert_eq!(other.queue(8, 3, both).unwrap(), 3);
        }
        vec![ANA]
    });
    // Whoever was later queued nothing.
    assert_eq!(raced.unwrap(), 0);
    assert_eq!(mails.queue(5, 10, both).unwrap(), 0, "not of rows beyond");
    assert_eq!(mails.queue(8, 10, both).unwrap() + 4, 6);
    assert_eq!(mails.queue(8, 10, both).unwrap(), 0);
    let reader = shelf.reader();
    // Three rows, two mailed notices each, two people.
    assert_eq!(reader.mail_counts().unwrap().waiting, 12);
    assert_eq!(reader.mail_counts().unwrap().oldest, Some(rows[3].at));

    let now = rows[7].at;
    let until = now.plus(60_000);
    let first = mails.claim(now, until).unwrap().unwrap();
    assert_eq!((first.noticed.seq, first.noticed.notice.organisation), (4, OWN));
    assert_eq!((first.person, first.attempts), (ANA, 1));
    let second = other.claim(now, until).unwrap().unwrap();
    assert_eq!(second.person, BEN, "that is somebody's now");
    let again = MailAttempt::Again { due: until, code: Some(451), problem: "not_now" };
    mails.settle(&first, again, now).unwrap();
    other.settle(&second, MailAttempt::Taken, now).unwrap();
    other.settle(&second, again, now).unwrap(); // what was taken stays so
    let mut left = 0;
    while let Some(mail) = mails.claim(now, until).unwrap() {
        assert_ne!((mail.noticed, mail.person), (second.noticed, second.person));
        mails.settle(&mail, MailAttempt::Taken, now).unwrap();
        left += 1;
    }
    assert_eq!(left, 10);
    let late = mails.claim(until, until.plus(1)).unwrap().unwrap();
    assert_eq!((late.noticed.seq, late.person, late.attempts), (4, ANA, 2));
    // Its time is over; whoever had it before it cannot say anything about it but that it was taken.
    let dead = MailAttempt::Dead { code: Some(550), problem: "refused" };
    mails.settle(&first, dead, until).unwrap();
    assert_eq!(reader.mail_counts().unwrap().waiting, 1);
    assert_eq!(mails.expire(rows[3].at.plus(1), until.plus(2)).unwrap(), 1);
    mails.settle(&late, MailAttempt::Taken, until).unwrap();
    assert_eq!((reader.mail_counts().unwrap().dead, reader.mail_counts().unwrap().waiting), (0, 0));
    let of = reader.mails_of(OWN, ANA).unwrap();
    assert!(of.len() == 3 && of.iter().all(|m| m.taken == Some(true)));
    let erase = vec![SideWrite::EraseWords(Subject::Person(BEN))];
    store.append(&[(rows[8].clone(), erase)], &mut salts()).unwrap();
    assert!(reader.mails_of(OWN, BEN).unwrap().is_empty());
    mails.sweep(Instant(i64::MAX), Instant(i64::MAX)).unwrap();
    assert!(reader.mails_of(OWN, ANA).unwrap().is_empty());
}
}
