//! The log on PostgreSQL: the writer's own connection.
//!
//! Whoever writes holds the head row first, so there is one order and READ COMMITTED suffices. A
//! batch is one statement for the log and what hangs on every row, a few for what hangs on some,
//! and the commit. After a broken or a warned commit nothing on this connection is believed:
//! [`Log::reconnect`], take the head, and look.

use comity_domain::draft::SideWrite;
use comity_domain::event::{Event, Row};
use comity_domain::ids::{CommandId, Ids};
use comity_domain::text::{Subject, Word};
use comity_domain::time::Instant;

use super::connect::{Server, Session, Wants};
use super::{hash, id, migrate, read, signed};
use crate::again::{self, Key, Known};
use crate::codec::{self, FEATURE, Stored};
use crate::lease::{NodeId, Renewed};
use crate::log::{AppendError, Head, StoreError};
use crate::merkle::Edge;
use crate::sqlite::subject;

/// On which channel a commit is told. A hint and no more: what is missed is found by the beat.
pub(super) const CHANNEL: &str = "comity";

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    server: Server,
    node: NodeId,
    session: std::cell::RefCell<Session>,
    /// The head, while this connection holds it.
    held: Option<Head>,
    /// Under which this node is registered.
    epoch: Option<i64>,
    /// Under which it was registered last; 0 if it never was.
    last_epoch: i64,
    /// How often it has tried to register since, without an answer.
    tried: i64,
    fail: bool,
}

const HEAD: &str = "SELECT seq, root, edge, fork FROM head WHERE id = 1";
const HOLD: &str = "SELECT seq, root, edge, fork FROM head WHERE id = 1 FOR UPDATE";

/// Everything that every row brings, and the head's move, in one round trip.
const APPEND: &str = "\
WITH l AS (INSERT INTO log (seq, at, header, parts, leaf) \
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[])), \
w AS (INSERT INTO word (seq, ix, about, event, salt, text, also) \
  SELECT * FROM unnest($6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::bytea[], $11::text[], $19::text[])), \
a AS (INSERT INTO audit_index (organisation, seq) \
  SELECT * FROM unnest($12::bytea[], $13::bigint[])) \
UPDATE head SET seq = $14, root = $15, edge = $16, fork = $20 WHERE id = 1 RETURNING pg_notify($17, $18)";

const STARTED: &str = "\
INSERT INTO session_history (session, grant_id, customer, provider, person, mode, started, deadline, seq, name_ix, email_ix, reason_ix) \
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[], $7::bigint[], $8::bigint[], \
$9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])";
/// The first block of calls is this node's: the one where the session began.
const RESERVED: &str = "\
INSERT INTO counter (session, node, reserved, allowed, refused, late, uncertain) \
SELECT s, $2, r, 0, 0, 0, 0 FROM unnest($1::bytea[], $3::bigint[]) AS t(s, r)";
const SHORTENED: &str = "UPDATE session_history SET deadline = $2 WHERE session = $1";
const ENDED: &str = "\
UPDATE session_history h SET ended = u.at, cause = u.cause \
FROM unnest($1::bytea[], $2::bigint[], $3::text[]) AS u(session, at, cause) WHERE h.session = u.session";

fn head_of(row: &::postgres::Row) -> Result<Head, StoreError> {
    let seq = row.try_get::<_, i64>(0)?.unsigned_abs();
    let edge = Edge::from_bytes(row.try_get(2)?)
        .ok_or(StoreError::Corrupt { seq, what: "the head's edge cannot be read" })?;
    Ok(Head { seq, root: hash(row, 1)?, fork: row.try_get::<_, i64>(3)?.unsigned_abs(), edge })
}

pub(super) fn head(session: &mut Session) -> Result<Head, StoreError> {
    let rows = session.query(HEAD, &[])?;
    head_of(rows.first().ok_or(StoreError::Corrupt { seq: 0, what: "there is no head" })?)
}

impl Log {
    /// Reaches the database, which has to have the schema of this release.
    pub fn connect(server: &Server, node: NodeId) -> Result<Self, StoreError> {
        let mut session = Session::open(server, Wants::Writing)?;
        let found = migrate::version(&mut session)?;
        if found > migrate::SCHEMA {
            let path = server.shown().into();
            return Err(StoreError::TooNew { path, found, known: migrate::SCHEMA });
        }
        if found < migrate::SCHEMA {
            return Err(StoreError::Place(format!(
                "{}: the schema is {found} and has to be {}; run comity migrate with the role that owns it",
                server.shown(),
                migrate::SCHEMA
            )));
        }
        let session = std::cell::RefCell::new(session);
        let (held, epoch, last_epoch, fail) = (None, None, 0, false);
        let server = server.clone();
        Ok(Self { server, node, session, held, epoch, last_epoch, tried: 0, fail })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn is_lost(&self) -> bool {
        self.session.borrow().is_closed()
    }

    pub fn reconnect(&mut self) -> Result<(), StoreError> {
        self.held = None;
        self.session = std::cell::RefCell::new(Session::open(&self.server, Wants::Writing)?);
        Ok(())
    }

    pub fn head(&self) -> Result<Head, StoreError> {
        head(&mut self.session.borrow_mut())
    }

    /// Takes the head. Waits for whoever holds it: at most `lock_timeout`.
    pub fn lock(&mut self) -> Result<Head, StoreError> {
        let session = self.session.get_mut();
        session.warned()?;
        let taken = (|| {
            session.batch("BEGIN")?;
            let rows = session.query(HOLD, &[])?;
            head_of(rows.first().ok_or(StoreError::Corrupt { seq: 0, what: "there is no head" })?)
        })();
        match taken {
            Ok(head) => {
                self.held = Some(head.clone());
                Ok(head)
            }
            Err(error) => {
                self.release();
                Err(error)
            }
        }
    }

    /// Gives the head back. A connection that cannot even do that is given up.
    pub fn release(&mut self) {
        self.held = None;
        let session = self.session.get_mut();
        if session.batch("ROLLBACK").is_err()
            && let Ok(fresh) = Session::open(&self.server, Wants::Writing)
        {
            *session = fresh;
        }
    }

    pub fn append(
        &mut self,
        batch: &[(Row, Vec<SideWrite>)],
        salts: &mut Ids,
    ) -> Result<Head, AppendError> {
        if self.held.is_none() {
            self.lock().map_err(AppendError::NotWritten)?;
        }
        let written = self.write(batch, salts).and_then(|head| {
            if self.fail {
                return Err(StoreError::Place("a test lets every commit fail".into()));
            }
            Ok(head)
        });
        let head = match written {
            Ok(head) => head,
            Err(error) => {
                self.release();
                return Err(AppendError::NotWritten(error));
            }
        };
        self.held = None;
        let session = self.session.get_mut();
        let committed = session.batch("COMMIT").and_then(|()| session.warned());
        committed.map(|()| head).map_err(AppendError::Unknown)
    }

    fn write(
        &mut self,
        batch: &[(Row, Vec<SideWrite>)],
        salts: &mut Ids,
    ) -> Result<Head, StoreError> {
        let missing = StoreError::Corrupt { seq: 0, what: "the head is not held" };
        let mut head = self.held.clone().ok_or(missing)?;
        let mut stored: Vec<(Stored, Vec<u8>)> = Vec::with_capacity(batch.len());
        for (row, _) in batch {
            if row.seq != head.seq + 1 {
                return Err(StoreError::Corrupt {
                    seq: row.seq,
                    what: "is not the next of the log",
                });
            }
            for recorded in &row.events {
                if let Event::Restored { fork, .. } = recorded.event {
                    head.fork = fork;
                }
            }
            let one = codec::encode(row, salts)?;
            head.edge.push(one.leaf);
            head.seq = row.seq;
            let parts = codec::pack(&one.parts);
            stored.push((one, parts));
        }
        head.root = head.edge.root();
        self.insert(batch, &stored, &head)?;
        self.project(batch)?;
        crate::outbox::push_postgres(self.session.get_mut(), batch)?;
        crate::notices::put_postgres(self.session.get_mut(), batch)?;
        for (row, side) in batch {
            for write in side {
                beside(self.session.get_mut(), row, write)?;
            }
        }
        let keyed = batch.iter().flat_map(|(row, side)| {
            side.iter().filter_map(move |write| match write {
                SideWrite::Once(once) => Some((row, once)),
                _ => None,
            })
        });
        again::remember_postgres(self.session.get_mut(), keyed)?;
        Ok(head)
    }

    fn insert(
        &mut self,
        batch: &[(Row, Vec<SideWrite>)],
        stored: &[(Stored, Vec<u8>)],
        head: &Head,
    ) -> Result<(), StoreError> {
        let seqs: Vec<i64> = stored.iter().map(|(s, _)| signed(s.seq)).collect();
        let ats: Vec<i64> = stored.iter().map(|(s, _)| s.at.0).collect();
        let headers: Vec<&str> = stored.iter().map(|(s, _)| s.header.as_str()).collect();
        let parts: Vec<&[u8]> = stored.iter().map(|(_, p)| p.as_slice()).collect();
        let leaves: Vec<&[u8]> = stored.iter().map(|(s, _)| s.leaf.as_slice()).collect();
        let mut words = WordColumns::default();
        let (mut readers, mut read): (Vec<[u8; 16]>, Vec<i64>) = (Vec::new(), Vec::new());
        for (row, _) in batch {
            words.add(row)?;
            let own: std::collections::BTreeSet<u128> = row
                .events
                .iter()
                .flat_map(|e| &e.readers)
                .chain(&row.acting)
                .map(|r| r.0)
                .collect();
            read.extend(std::iter::repeat_n(signed(row.seq), own.len()));
            readers.extend(own.into_iter().map(id));
        }
        let salts: Vec<&[u8]> = words.salts.iter().map(|s| s.as_slice()).collect();
        let readers: Vec<&[u8]> = readers.iter().map(|r| r.as_slice()).collect();
        let told = format!("{}:{}", self.node, head.seq);
        self.session.get_mut().query(
            APPEND,
            &[
                &seqs,
                &ats,
                &headers,
                &parts,
                &leaves,
                &words.seqs,
                &words.ixs,
                &words.abouts,
                &words.events,
                &salts,
                &words.texts,
                &readers,
                &read,
                &signed(head.seq),
                &head.root.as_slice(),
                &head.edge.to_bytes(),
                &CHANNEL,
                &told,
                &words.alsos,
                &signed(head.fork),
            ],
        )?;
        Ok(())
    }

    /// Projections follow from the rows alone, so that a lost one can be made again from the log.
    fn project(&mut self, batch: &[(Row, Vec<SideWrite>)]) -> Result<(), StoreError> {
        let mut sessions = SessionColumns::default();
        for (row, _) in batch {
            row.events.iter().for_each(|recorded| sessions.add(row, &recorded.event));
        }
        sessions.write(self.session.get_mut(), self.node)
    }

    pub fn find_command(&self, seq: u64, command: CommandId) -> Result<bool, StoreError> {
        let mut session = self.session.borrow_mut();
        let rows = session.query("SELECT header FROM log WHERE seq = $1", &[&signed(seq)])?;
        let wanted = format!("\"command\":\"{command}\"");
        Ok(rows
            .first()
            .map(|r| r.try_get::<_, &str>(0))
            .transpose()?
            .is_some_and(|h| h.contains(&wanted)))
    }

    pub fn known(&self, keys: &[Key], since: Instant) -> Result<Known, StoreError> {
        again::postgres(&mut self.session.borrow_mut(), keys, since)
    }

    pub fn forget(&mut self, before: Instant, most: usize) -> Result<usize, StoreError> {
        let session = self.session.get_mut();
        let gone = again::forget_postgres(session, before, most)?;
        session.warned()?;
        Ok(gone)
    }

    pub fn read_between(
        &mut self,
        after: u64,
        to: u64,
        each: impl FnMut(Stored, Vec<(u32, Word)>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        read::between(self.session.get_mut(), after, to, each)
    }

    pub fn fail_commits(&mut self, fail: bool) {
        self.fail = fail;
    }

    // -- the lease ----------------------------------------------------------------------------------

    /// N1: inserts this node's row or raises its epoch. Gives no lease. Whoever was registered once
    /// goes on from there only: a row that somebody else has raised since belongs to another
    /// process with the same identity, for which nobody would wait.
    fn register(&mut self) -> Result<i64, StoreError> {
        // One of ours of which we heard nothing may have gone through.
        let unheard = self.tried;
        self.tried = self.tried.saturating_add(1);
        let session = self.session.get_mut();
        let rows = session.query(
            "INSERT INTO lease (node, epoch, beat, applied, feature, dead, renewed) VALUES ($1, 1, 0, 0, $2, false, now()) \
             ON CONFLICT (node) DO UPDATE SET epoch = lease.epoch + 1, beat = 0, applied = 0, feature = excluded.feature, \
             dead = false, renewed = now() WHERE $3::bigint = 0 OR lease.epoch BETWEEN $3 AND $3 + $4 RETURNING epoch",
            &[&id(self.node.0).as_slice(), &i64::from(FEATURE), &self.last_epoch, &unheard],
        )?;
        session.warned()?;
        let epoch = rows.first().map(|r| r.try_get(0)).transpose()?;
        let epoch = epoch.ok_or(StoreError::Corrupt {
            seq: 0,
            what: "another process runs as this node: its data folder was copied",
        })?;
        (self.epoch, self.last_epoch, self.tried) = (Some(epoch), epoch, 0);
        Ok(epoch)
    }

    /// A farewell: nobody has to wait for this node any more. Only for one that says no more yes,
    /// and only in its own name: whoever has registered as this node since is not meant.
    pub fn leave(&mut self) -> Result<(), StoreError> {
        let Some(epoch) = self.epoch.take() else {
            return Ok(());
        };
        self.session.get_mut().execute(
            "UPDATE lease SET dead = true WHERE node = $1 AND epoch = $2",
            &[&id(self.node.0).as_slice(), &epoch],
        )?;
        Ok(())
    }

    /// N2: one replicated write on the lease row, never a read, that returns the head.
    pub fn renew(&mut self, applied: u64) -> Result<Renewed, StoreError> {
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => self.register()?,
        };
        let session = self.session.get_mut();
        let rows = session.query(
            "UPDATE lease SET beat = beat + 1, applied = $3, renewed = now() FROM head \
             WHERE node = $1 AND epoch = $2 AND NOT dead AND head.id = 1 \
             RETURNING head.seq, head.root, head.edge, head.fork, \
             (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
            &[&id(self.node.0).as_slice(), &epoch, &signed(applied)],
        )?;
        session.warned()?;
        let Some(row) = rows.first() else {
            self.epoch = None; // somebody declared this node dead: it starts over
            return Ok(Renewed { head: None, wall: None });
        };
        Ok(Renewed { head: Some(head_of(row)?), wall: Some(row.try_get(4)?) })
    }
}

#[derive(Default)]
struct WordColumns {
    seqs: Vec<i64>,
    ixs: Vec<i64>,
    abouts: Vec<String>,
    events: Vec<i64>,
    salts: Vec<[u8; 16]>,
    texts: Vec<String>,
    alsos: Vec<Option<String>>,
}

impl WordColumns {
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        for (ix, word) in (0i64..).zip(&row.words) {
            let Some(text) = &word.text else { continue };
            self.seqs.push(signed(row.seq));
            self.ixs.push(ix);
            self.abouts.push(subject(&word.about)?);
            self.alsos.push(word.also.as_ref().map(subject).transpose()?);
            self.events.push(i64::from(word.event));
            self.salts.push(word.salt);
            self.texts.push(text.to_string());
        }
        Ok(())
    }
}

/// What a batch does to the history of sessions.
#[derive(Default)]
struct SessionColumns {
    ids: [Vec<Vec<u8>>; 5],
    modes: Vec<String>,
    numbers: [Vec<i64>; 5],
    reasons: Vec<Option<i64>>,
    reserved: Vec<i64>,
    shortened: Vec<([u8; 16], i64)>,
    ended: (Vec<Vec<u8>>, Vec<i64>, Vec<String>),
}

impl SessionColumns {
    fn add(&mut self, row: &Row, event: &Event) {
        match event {
            Event::SessionStarted {
                session,
                grant,
                customer,
                provider,
                person,
                mode,
                deadline,
                reserved,
                reason,
                name,
                email,
                ..
            } => {
                let own = [session.0, grant.0, customer.0, provider.0, person.0];
                for (column, value) in self.ids.iter_mut().zip(own) {
                    column.push(id(value).to_vec());
                }
                self.modes.push(mode.code().to_owned());
                let own =
                    [row.at.0, deadline.0, signed(row.seq), i64::from(*name), i64::from(*email)];
                for (column, value) in self.numbers.iter_mut().zip(own) {
                    column.push(value);
                }
                self.reasons.push(reason.map(i64::from));
                self.reserved.push(signed(*reserved));
            }
            Event::SessionShortened { session, deadline } => {
                self.shortened.push((id(session.0), deadline.0));
            }
            Event::SessionEnded { session, cause } => {
                self.ended.0.push(id(session.0).to_vec());
                self.ended.1.push(row.at.0);
                self.ended.2.push(cause.code().to_owned());
            }
            _ => {}
        }
    }

    fn write(&self, session: &mut Session, node: NodeId) -> Result<(), StoreError> {
        let [ids, grants, customers, providers, people] = &self.ids;
        let [started, deadlines, seqs, names, emails] = &self.numbers;
        if !ids.is_empty() {
            session.execute(
                STARTED,
                &[
                    ids,
                    grants,
                    customers,
                    providers,
                    people,
                    &self.modes,
                    started,
                    deadlines,
                    seqs,
                    names,
                    emails,
                    &self.reasons,
                ],
            )?;
            session.execute(RESERVED, &[ids, &id(node.0).as_slice(), &self.reserved])?;
        }
        for (own, deadline) in &self.shortened {
            session.execute(SHORTENED, &[&own.as_slice(), deadline])?;
        }
        if !self.ended.0.is_empty() {
            session.execute(ENDED, &[&self.ended.0, &self.ended.1, &self.ended.2])?;
        }
        Ok(())
    }
}

fn beside(session: &mut Session, row: &Row, write: &SideWrite) -> Result<(), StoreError> {
    match write {
        SideWrite::Credential(person, hash) => session.execute(
            "INSERT INTO credential (person, hash) VALUES ($1, $2) ON CONFLICT (person) DO UPDATE SET hash = excluded.hash",
            &[&id(person.0).as_slice(), hash],
        )?,
        SideWrite::EraseCredentials => session.execute("DELETE FROM credential", &[])?,
        SideWrite::Factor { person, factor, sealed } => session.execute(
            "INSERT INTO factor (person, factor, sealed) VALUES ($1, $2, $3) ON CONFLICT (person, factor) DO UPDATE SET sealed = excluded.sealed",
            &[&id(person.0).as_slice(), &factor.0.as_slice(), &sealed.0],
        )?,
        SideWrite::DropFactor { person, factor } => session.execute(
            "DELETE FROM factor WHERE person = $1 AND factor = $2",
            &[&id(person.0).as_slice(), &factor.0.as_slice()],
        )?,
        SideWrite::EraseFactors(Some(person)) => session
            .execute("DELETE FROM factor WHERE person = $1", &[&id(person.0).as_slice()])?,
        SideWrite::EraseFactors(None) => session.execute("DELETE FROM factor", &[])?,
        SideWrite::CustomerId(organisation, sealed) => session.execute(
            "INSERT INTO customer_id (organisation, sealed) VALUES ($1, $2) ON CONFLICT (organisation) DO UPDATE SET sealed = excluded.sealed",
            &[&id(organisation.0).as_slice(), &sealed.0],
        )?,
        SideWrite::PartnerId(party, sealed) => session.execute(
            "INSERT INTO partner_id (party, sealed) VALUES ($1, $2) ON CONFLICT (party) DO UPDATE SET sealed = excluded.sealed",
            &[&id(crate::sqlite::holder(*party)).as_slice(), &sealed.0],
        )?,
        SideWrite::SigningKey(kid, sealed) => session.execute(
            "INSERT INTO signing_key (kid, sealed) VALUES ($1, $2)",
            &[&kid.0.as_slice(), &sealed.0],
        )?,
        SideWrite::DropSigningKey(kid) => {
            session.execute("DELETE FROM signing_key WHERE kid = $1", &[&kid.0.as_slice()])?
        }
        SideWrite::Once(_) => 0, // all of a batch at once
        SideWrite::EraseWords(of) => {
            let named = subject(of)?;
            if let Subject::Person(person) = of {
                let sql = "DELETE FROM credential WHERE person = $1";
                session.execute(sql, &[&id(person.0).as_slice()])?;
                let sql = "DELETE FROM factor WHERE person = $1";
                session.execute(sql, &[&id(person.0).as_slice()])?;
                for sql in crate::notices::OF_A_PERSON_POSTGRES {
                    session.execute(sql, &[&id(person.0).as_slice()])?;
                }
            }
            let farewells = match of {
                Subject::Webhook(own) => Some(("DELETE FROM farewell WHERE recipient = $1", own.0)),
                Subject::Organisation(owner) => Some(("DELETE FROM farewell WHERE owner = $1", owner.0)),
                _ => None,
            };
            if let Some((sql, value)) = farewells {
                session.execute(sql, &[&id(value).as_slice()])?;
            }
            session.execute("DELETE FROM word WHERE about = $1 OR also = $1", &[&named])?
        }
        SideWrite::Secret { .. }
        | SideWrite::Farewell { .. }
        | SideWrite::Forget { .. }
        | SideWrite::Pushes(_)
        | SideWrite::DropSecrets { .. }
        | SideWrite::Requeue { .. } => crate::outbox::write_postgres(session, row, write)?,
        SideWrite::Notices(_) => 0, // all of a batch at once
    };
    Ok(())
}
