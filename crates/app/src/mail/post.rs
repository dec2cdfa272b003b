//! The post: one thread that queues mails behind the log, hands them to the relay, and tries again.
//!
//! It never stands before the writer or a decision. A mail is taken under a lease, so of several
//! nodes one sends it. To whom it goes is judged when it is sent: active members whose portal role
//! may act on it or read it, at an address proven to be theirs, and nobody who has left.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use comity_domain::ids::{OrganisationId, PersonId};
use comity_domain::notice::{self, Kind};
use comity_domain::state::State;
use comity_domain::time::{DAY, HOUR, Instant, MINUTE, SECOND};
use comity_store::postgres::Leases;
use comity_store::{Inbox, MailAttempt, Mails, Noticed, Place, Reader, StoreError, WaitingMail};

use super::letter::{Letter, letter};
use super::relay::Handed;
use super::{Settings, Way};
use crate::clock::{Clock, boot_millis};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::notices::KEPT;
use crate::outbox::{AGAIN, SURELY_KNOWN, jittered};

/// After which time a mail is tried again that the relay refused for good (5yz): perhaps it is the
/// relay that is wrong, and nobody's mail is to be lost over that. Then it is given up.
const AGAIN_REFUSED: [i64; 4] = [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];
/// After this whatever waits is given up: by then it is in the inbox only.
const GIVEN_UP: i64 = DAY;
/// How long a mail is its sender's: longer than a conversation of which each step takes its time.
const LEASE: i64 = 3 * MINUTE;
/// How often it is looked whether something is due.
const BEAT: Duration = Duration::from_millis(100);
/// How often it is looked at the latest.
const LOOK_EVERY: i64 = 5 * SECOND;
/// How often the house is cleaned.
const CLEAN_EVERY: i64 = MINUTE;
/// For how long what was taken is kept, and a dead letter.
const TAKEN_KEPT: i64 = 7 * DAY;
const DEAD_KEPT: i64 = 30 * DAY;
/// For how long a relay is left alone that could not be spoken to, at most.
const MOST_HELD: i64 = MINUTE;
/// How many notices are queued at once.
const AT_ONCE: usize = 200;
/// So many impersonations of one organisation are mailed within an hour. All stand in the inbox:
/// who comes and goes all day does not bury what matters (T41).
const MOST_IMPERSONATIONS: u32 = 30;
/// How long what is under way may take at a stop.
const STOP_WITHIN: Duration = Duration::from_secs(6);

/// The running post, as others hold it.
#[derive(Debug)]
pub struct Post {
    stop: Mutex<Option<Sender<()>>>,
    ended: Mutex<Option<(Receiver<()>, JoinHandle<()>)>>,
}

/// What the thread works with.
pub(crate) struct Parts {
    pub place: Place,
    pub node: Arc<Node>,
    pub clock: Arc<Clock>,
    pub metrics: Arc<Metrics>,
    pub issuer: String,
    pub settings: Option<Settings>,
}

impl Post {
    /// None: where nothing may be told.
    #[must_use]
    pub fn none() -> Self {
        Self { stop: Mutex::new(None), ended: Mutex::new(None) }
    }

    /// Starts sending, or only cleaning where no mail is sent.
    ///
    /// # Errors
    /// If there is no thread to be had, or the mails cannot be opened.
    pub(crate) fn start(parts: Parts) -> Result<Self, crate::StartError> {
        let io = |source| crate::StartError::Io { what: "the post's thread".into(), source };
        let (stop, told) = channel();
        let (over, ended) = channel();
        let mut work = Work {
            mails: Mails::at(&parts.place)?,
            inbox: Inbox::at(&parts.place)?,
            reader: Reader::at(&parts.place),
            leases: match &parts.place {
                Place::Folder(_) => None,
                Place::Postgres(server, node) => Some(Leases::new(server, *node)),
            },
            parts,
            unnoted: None,
            begun: false,
            seen: 0,
            late: None,
            next: Instant(i64::MIN),
            clean: Instant(i64::MIN),
            held: Instant(i64::MIN),
            failures: 0,
            mailed: RefCell::default(),
        };
        let thread = std::thread::Builder::new()
            .name("post".into())
            .spawn(move || {
                work.run(&told);
                let _ = over.send(());
            })
            .map_err(io)?;
        Ok(Self { stop: Mutex::new(Some(stop)), ended: Mutex::new(Some((ended, thread))) })
    }

    /// Stops: what is under way comes to its end, or is sent once more by whoever is next.
    pub fn stop(&self) {
        if let Some(stop) = self.stop.lock().ok().and_then(|mut stop| stop.take()) {
            let _ = stop.send(());
        }
        if let Some((ended, thread)) = self.ended.lock().ok().and_then(|mut e| e.take()) {
            // A relay that says nothing must not keep the whole installation from stopping.
            match ended.recv_timeout(STOP_WITHIN) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => drop(thread.join()),
            }
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    parts: Parts,
    mails: Mails,
    inbox: Inbox,
    reader: Reader,
    leases: Option<Leases>,
    /// What came of a try and could not be written down yet.
    unnoted: Option<(WaitingMail, MailAttempt)>,
    begun: bool,
    /// The position up to which mails were queued.
    seen: u64,
    /// A position that not every node was known to have, and since when.
    late: Option<(u64, Instant)>,
    next: Instant,
    clean: Instant,
    /// Until when the relay is left alone, and how often it could not be spoken to.
    held: Instant,
    failures: u32,
    /// How many impersonations of an organisation were mailed, since when.
    mailed: RefCell<HashMap<OrganisationId, (Instant, u32)>>,
}

impl Work {
    fn run(&mut self, told: &Receiver<()>) {
        loop {
            match told.recv_timeout(BEAT) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Err(error) = self.look(told) {
                tracing::warn!(%error, "mails cannot be read or written");
            }
        }
    }

    fn look(&mut self, told: &Receiver<()>) -> Result<(), StoreError> {
        // Before anything else is sent: what the relay took is not sent again.
        self.note()?;
        let index = self.parts.node.index();
        // A node that does not know whether it is current tells nobody anything.
        if boot_millis() >= index.valid_until() {
            return Ok(());
        }
        let (known, now) = (index.seq(), self.parts.clock.now());
        if now >= self.clean {
            self.clean = now.plus(CLEAN_EVERY);
            self.clean(now)?;
        }
        let Some(settings) = self.parts.settings.clone() else {
            return Ok(());
        };
        if !self.begun {
            self.mails.begin(if settings.since.0 > i64::MIN { 0 } else { known })?;
            self.begun = true;
        }
        if known > self.seen {
            self.queue(&settings, known, now)?;
        }
        while now >= self.next && now >= self.held {
            let Some(mail) = self.mails.claim(now, now.plus(LEASE))? else {
                self.next = now.plus(LOOK_EVERY);
                break;
            };
            self.send(&settings, mail);
            self.note()?;
            if told.try_recv().is_ok() {
                // Heard in between: the next look at the channel finds nobody there.
                return Ok(());
            }
        }
        Ok(())
    }

    /// Queues what happened, up to the row that every node which is answered has applied: nothing
    /// is told of an ending that another node could still say yes to.
    fn queue(&mut self, settings: &Settings, known: u64, now: Instant) -> Result<(), StoreError> {
        let others = match &mut self.leases {
            None => Vec::new(),
            Some(leases) => leases.others()?,
        };
        let sure = others.iter().map(|o| o.applied).fold(known, u64::min);
        let upto = match self.late {
            _ if sure == known => known,
            // After this no node that is still answered can lack it, whatever the leases say.
            Some((then, since)) if now.since(since) >= SURELY_KNOWN => {
                self.late = None;
                then.max(sure)
            }
            _ => {
                self.late.get_or_insert((known, now));
                sure
            }
        };
        let state = self.parts.node.state();
        let upto = upto.min(state.seq);
        loop {
            let to = |n: &Noticed| self.addressees(&state, settings, n, now);
            let queued = self.mails.queue(upto, AT_ONCE, to)?;
            if queued > 0 {
                self.next = Instant(i64::MIN);
            }
            if queued < AT_ONCE {
                break;
            }
        }
        self.seen = upto;
        Ok(())
    }

    fn addressees(
        &self,
        state: &State,
        settings: &Settings,
        n: &Noticed,
        now: Instant,
    ) -> Vec<PersonId> {
        let (kind, organisation) = (n.notice.kind, n.notice.organisation);
        let Some(permission) = kind.mailed(n.notice.side) else {
            return Vec::new();
        };
        if now.since(n.at) >= GIVEN_UP || n.at < settings.since {
            return Vec::new();
        }
        if matches!(kind, Kind::ImpersonationStarted | Kind::ImpersonationEnded) {
            let mut mailed = self.mailed.borrow_mut();
            let of = mailed.entry(organisation).or_insert((now, 0));
            if now.since(of.0) >= HOUR {
                *of = (now, 0);
            }
            of.1 = of.1.saturating_add(1);
            if of.1 > MOST_IMPERSONATIONS {
                self.parts.metrics.mailed("folded");
                return Vec::new();
            }
        }
        let people = notice::addressees(state, organisation, permission);
        let mut people: Vec<PersonId> = people.into_iter().map(|(person, _)| person).collect();
        let besides = notice::concerned(&n.notice).filter(|p| !people.contains(p));
        people.extend(besides.filter(|p| notice::address(state, organisation, *p, None).is_some()));
        people
    }

    /// Sends one mail; what came of it is to be noted.
    fn send(&mut self, settings: &Settings, mail: WaitingMail) {
        let now = self.parts.clock.now();
        let Some(letter) = self.letter(settings, &mail, now) else {
            self.parts.metrics.mailed("dead");
            let how = MailAttempt::Dead { code: None, problem: "not_told_any_more" };
            self.unnoted = Some((mail, how));
            return;
        };
        let handed = match &settings.way {
            Way::Smtp(relay) => relay.hand(&letter.envelope, &letter.bytes),
            Way::Print(print) => {
                print(&letter.to, letter.subject, &letter.text);
                Handed::Taken
            }
        };
        let now = self.parts.clock.now();
        if let Handed::Lost(_) | Handed::NotNow(421) = handed {
            let wait = SECOND.saturating_mul(5 << self.failures.min(4)).min(MOST_HELD);
            self.failures = self.failures.saturating_add(1);
            self.held = now.plus(wait);
        } else {
            self.failures = 0;
        }
        let how = came_of(handed, mail.attempts, now);
        self.parts.metrics.mailed(match how {
            MailAttempt::Taken => "taken",
            MailAttempt::Again { due, .. } => {
                self.next = self.next.min(due);
                "failed"
            }
            MailAttempt::Dead { .. } => "dead",
        });
        self.unnoted = Some((mail, how));
    }

    /// The mail as it is now: `None` if the person is not to be told any more.
    fn letter(&self, settings: &Settings, mail: &WaitingMail, now: Instant) -> Option<Letter> {
        let state = self.parts.node.state();
        let notice = &mail.noticed.notice;
        let concerned = notice::concerned(notice) == Some(mail.person);
        let permission = Some(notice.kind.mailed(notice.side)?).filter(|_| !concerned);
        let address = notice::address(&state, notice.organisation, mail.person, permission)?;
        let from = (self.parts.issuer.as_str(), &settings.from);
        letter(&state, from, &mail.noticed, (mail.person, &address), now)
    }

    fn note(&mut self) -> Result<(), StoreError> {
        if let Some((mail, how)) = &self.unnoted {
            self.mails.settle(mail, *how, self.parts.clock.now())?;
            self.unnoted = None;
        }
        Ok(())
    }

    fn clean(&mut self, now: Instant) -> Result<(), StoreError> {
        let before = |kept: i64| Instant(now.0.saturating_sub(kept));
        let gone = self.mails.expire(before(GIVEN_UP), now)?;
        (0..gone).for_each(|_| self.parts.metrics.mailed("dead"));
        self.mails.sweep(before(TAKEN_KEPT), before(DEAD_KEPT))?;
        self.inbox.sweep(before(KEPT))?;
        self.mailed.borrow_mut().retain(|_, (since, _)| now.since(*since) < HOUR);
        let counts = self.reader.mail_counts()?;
        self.parts.metrics.mails(counts.waiting, counts.dead, counts.oldest);
        Ok(())
    }
}

/// What a reply means after so many tries.
fn came_of(handed: Handed, attempts: u32, now: Instant) -> MailAttempt {
    let tried = usize::try_from(attempts).unwrap_or(usize::MAX).saturating_sub(1);
    let (waits, code, problem): (&[i64], _, _) = match handed {
        Handed::Taken => return MailAttempt::Taken,
        Handed::NotNow(code) => (&AGAIN, Some(code), "not_now"),
        Handed::Refused(code) => (&AGAIN_REFUSED, Some(code), "refused"),
        Handed::Lost(problem) => (&AGAIN, None, problem),
    };
    match waits.get(tried) {
        Some(wait) => MailAttempt::Again { due: now.plus(jittered(*wait)), code, problem },
        None => MailAttempt::Dead { code, problem },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv30_what_no_relay_takes_is_given_up_within_a_day() {
        let longest: i64 = AGAIN_REFUSED.iter().map(|wait| wait * 105 / 100).sum();
        assert!(longest < GIVEN_UP, "{longest}");
        for (handed, tries) in
            [(Handed::Refused(550), 4), (Handed::NotNow(451), 8), (Handed::Lost("tls"), 8)]
        {
            let again = |n| matches!(came_of(handed, n, Instant(0)), MailAttempt::Again { .. });
            assert!((1..=tries).all(again) && !again(tries + 1), "{handed:?}");
        }
        assert_eq!(came_of(Handed::Taken, 9, Instant(0)), MailAttempt::Taken);
    }
}
