//! Erasing: what goes, what stays, what has to be over first. And what a restore ends.

use comity_domain::application::KeyUse;
use comity_domain::command::{Caller, Command};
use comity_domain::event::Event;
use comity_domain::ids::{AccountId, GrantId, OrganisationId, PersonId, RequestId, SessionId};
use comity_domain::kernel;
use comity_domain::lock::LockTarget;
use comity_domain::may;
use comity_domain::organisation::Standing;
use comity_domain::person::PortalRole;
use comity_domain::refusal::Reason;
use comity_domain::rights;
use comity_domain::role::Mode;
use comity_domain::session::SessionEnd;
use comity_domain::text::{ERASED, Lookup, Subject};
use comity_domain::time::{DAY, MINUTE};

use crate::world::{World, anonymous, by_key};

/// Brokers who were let into a harbour: Rita is inside, Chief has asked.
struct Harbour {
    w: World,
    harbour: OrganisationId,
    brokers: OrganisationId,
    by_boss: Caller,
    by_chief: Caller,
    by_rita: Caller,
    chief: PersonId,
    rita: PersonId,
    request: RequestId,
    grant: GrantId,
    stay: SessionId,
}

fn harbour() -> Harbour {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    let brokers = w.organisation("brokers", "Brokers");
    let keeper = w.role(harbour, "keeper", &["boats:*"]);
    w.account(harbour, "pier");
    let boss = w.admin(harbour, "boss");
    let (chief, _) = (w.admin(brokers, "chief"), w.admin(brokers, "deputy"));
    let rita = w.member(brokers, "rita", None);
    let (by_boss, by_chief, by_rita) = (w.sign_in(boss), w.sign_in(chief), w.sign_in(rita));
    let request = w.ask(&by_chief, w.ask_spec(brokers, harbour));
    let terms = w.terms(&[keeper]);
    let grant = w.approve(&by_boss, request, terms);
    w.assign(&by_chief, grant, rita, &[keeper]);
    let stay = w.enter(&by_rita, harbour, Mode::Direct);
    Harbour { w, harbour, brokers, by_boss, by_chief, by_rita, chief, rita, request, grant, stay }
}

impl Harbour {
    fn erase(&mut self, subject: Subject) -> &'static str {
        let by = self.w.provision();
        match self.w.run(&by, Command::EraseWords { subject }) {
            Ok(Some(_)) => "erased",
            Ok(None) => "nothing",
            Err(refusal) => refusal.code(),
        }
    }

    fn remove(&mut self, external: &str) {
        let (organisation, external) = (self.brokers, external.into());
        self.w.must(&self.w.provision(), Command::RemoveMember { organisation, external });
    }

    /// Every word of the log that is left.
    fn words(&self) -> String {
        let words = self.w.rows.iter().flat_map(|r| &r.words).filter_map(|w| w.text.as_deref());
        words.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn t48_one_erasure_of_a_person_takes_every_copy_and_all_that_they_wrote() {
    let mut h = harbour();
    assert_eq!(h.erase(Subject::Person(h.rita)), "in_use");
    h.remove("rita");
    assert!(h.words().contains("rita@brokers.example") && h.words().contains("Ticket 42"));
    assert_eq!(h.erase(Subject::Person(h.rita)), "erased");
    for gone in ["rita", "Ticket 42"] {
        assert!(!h.words().contains(gone), "{gone}");
    }
    assert!(h.words().contains("Winter storage"), "what Chief wrote is Chief's");
    let known = h.w.state.people.get(h.rita).unwrap();
    assert_eq!(h.w.state.words.show(known.name), ERASED);
    assert!(!known.has_password && known.enrolment.is_none());
    assert_eq!(h.w.state.words.find(Lookup::Email, "rita@brokers.example"), None);
    assert!(!h.w.state.words.names(Subject::Person(h.rita)));
    // The facts are there, and the log without the words leads to the same state.
    assert!(h.w.state.sessions.get(h.stay).is_some());
    assert!(h.w.replayed() == h.w.state);
    assert_eq!(h.erase(Subject::Person(h.rita)), "nothing");
    assert_eq!(h.erase(Subject::Person(PersonId(7))), "not_found");
    // Chief asked and was answered; what Chief wrote goes with Chief, in the request too.
    h.remove("chief");
    assert_eq!(h.erase(Subject::Person(h.chief)), "erased");
    let asked = h.w.state.requests.get(h.request).unwrap();
    assert_eq!(h.w.state.words.show(asked.reason), ERASED);
    assert!(!h.words().contains("Winter storage") && h.words().contains("Brokers"));
    assert!(h.w.replayed() == h.w.state);
    // The address is free: whoever proves it now is somebody else.
    let new = h.w.member(h.brokers, "rita", None);
    assert_ne!(new, h.rita);
}

#[test]
fn inv34_the_facts_of_a_row_are_the_same_whether_its_words_are_there_or_not() {
    let mut h = harbour();
    let whole = h.w.rows.clone();
    h.remove("rita");
    h.erase(Subject::Person(h.rita));
    let (mut with, mut without) = (comity_domain::state::State::default(), h.w.replayed());
    for row in whole.iter().chain(&h.w.rows[whole.len()..]) {
        kernel::apply(&mut with, row);
    }
    assert!(with == without, "an old copy of the log leads to the same state, words and all");
    // A log that lost every word leads to the same facts.
    let mut bare = comity_domain::state::State::default();
    for mut row in h.w.rows.clone() {
        row.words.iter_mut().for_each(|w| w.text = None);
        kernel::apply(&mut bare, &row);
    }
    assert!(bare.words.is_empty() && !without.words.is_empty());
    without.speak(bare.words.clone());
    assert!(bare == without);
}

#[test]
fn t48_what_is_not_over_is_not_erased() {
    let mut h = harbour();
    let pier = AccountId(h.w.state.words.find(Lookup::Account(h.harbour), "pier").unwrap());
    let pending = h.w.ask(&h.by_chief.clone(), h.w.ask_spec(h.brokers, h.harbour));
    let unit = h.w.unit(h.brokers, "night");
    let organisation = h.brokers;
    let put = |active| {
        let (external, name) = ("night".into(), "Unit night".into());
        Command::PutUnit { organisation, external, name, active }
    };
    for subject in [
        Subject::Organisation(h.harbour),
        Subject::Unit(unit),
        Subject::Account(pier),
        Subject::Person(h.chief),
        Subject::Request(pending),
        Subject::Session(h.stay),
    ] {
        assert_eq!(h.erase(subject), "in_use", "{subject:?}");
    }
    // A unit is empty before it goes.
    h.w.must(&h.w.provision(), put(false));
    let mut spec = h.w.member_spec(h.brokers, "nils", None);
    spec.unit = Some("night".into());
    h.w.must(&h.w.provision(), Command::PutMember(spec));
    assert_eq!(h.erase(Subject::Unit(unit)), "in_use");
    h.remove("nils");
    h.w.account_in(h.brokers, "shed", Some("night"));
    assert_eq!(h.erase(Subject::Unit(unit)), "in_use");
    h.w.must(&h.w.provision(), Command::RemoveAccount { organisation, external: "shed".into() });
    assert_eq!(h.erase(Subject::Unit(unit)), "erased");
    // Whoever asked and left keeps the name until somebody decided.
    h.remove("chief");
    assert_eq!(h.erase(Subject::Person(h.chief)), "in_use");
    let deny = Command::Deny { request: pending, reason: None, message: Some("No".into()) };
    h.w.must(&h.by_boss, deny);
    assert_eq!(h.erase(Subject::Person(h.chief)), "erased");
    assert_eq!(h.erase(Subject::Request(pending)), "erased");
    h.w.must(&h.by_rita, Command::CloseSession { session: h.stay });
    assert_eq!(h.erase(Subject::Session(h.stay)), "erased");
    let remove = Command::RemoveAccount { organisation: h.harbour, external: "pier".into() };
    h.w.must(&h.w.provision(), remove);
    assert_eq!(h.erase(Subject::Account(pier)), "erased");
    // Only the platform's key for provision does it.
    let subject = Subject::Account(pier);
    for caller in [h.by_boss.clone(), h.w.operate(), h.w.decide(), anonymous(), Caller::system()] {
        assert!(h.w.run(&caller, Command::EraseWords { subject }).is_err(), "{caller:?}");
    }
    assert!(h.w.replayed() == h.w.state);
}

#[test]
fn t48_a_closed_organisation_takes_along_units_and_accounts_that_were_removed_before() {
    let mut h = harbour();
    h.w.unit(h.harbour, "wing");
    let (organisation, external) = (h.harbour, "pier".into());
    h.w.must(&h.w.provision(), Command::RemoveAccount { organisation, external });
    let standing = Standing::Closed;
    h.w.must(&h.w.operate(), Command::SetStanding { organisation, standing });
    assert_eq!(h.erase(Subject::Organisation(organisation)), "erased");
    for gone in ["Harbour", "harbour\n", "wing", "pier"] {
        assert!(!format!("{}\n", h.words()).contains(gone), "{gone}");
    }
    // Its members are people, and being a member of what is closed holds nobody back.
    let boss = h.by_boss.person().unwrap();
    assert_eq!(h.erase(Subject::Person(boss)), "erased");
    assert!(h.w.replayed() == h.w.state);
    // The identifier is free.
    assert_ne!(h.w.organisation("harbour", "Another"), organisation);
}

#[test]
fn t48_what_a_lock_keeps_stays_however_long_ago_until_it_is_lifted() {
    let mut h = harbour();
    h.remove("rita");
    h.w.later(500 * DAY); // nothing of the stay or the grant is in memory any more
    let ask = h.w.ask_spec(h.brokers, h.harbour);
    let by_chief = h.w.sign_in(h.chief);
    h.w.ask(&by_chief, ask);
    let by_boss = h.w.sign_in(h.by_boss.person().unwrap());
    let (customer, target) = (h.harbour, LockTarget::Organisation(h.brokers));
    h.w.must(&by_boss, Command::Lock { customer, target, reason: None });
    assert!(h.w.state.sessions.get(h.stay).is_none());
    assert_eq!(h.erase(Subject::Person(h.rita)), "evidence");
    let (lock, _) = h.w.state.locks_of(customer).next().unwrap();
    h.w.must(&by_boss, Command::Unlock { lock });
    assert_eq!(h.erase(Subject::Person(h.rita)), "erased");
    // A closed customer's locks keep nothing: nobody is left to lift them.
    let mut h = harbour();
    let (customer, target) = (h.harbour, LockTarget::Person(h.rita));
    h.w.must(&h.by_boss, Command::Lock { customer, target, reason: None });
    h.remove("rita");
    assert_eq!(h.erase(Subject::Person(h.rita)), "evidence");
    let (organisation, standing) = (customer, Standing::Closed);
    h.w.must(&h.w.operate(), Command::SetStanding { organisation, standing });
    assert_eq!(h.erase(Subject::Person(h.rita)), "erased");
}

#[test]
fn t50_after_a_restore_nothing_old_opens_anything() {
    let mut h = harbour();
    let token = h.w.secret();
    let nina = h.w.member(h.brokers, "nina", None);
    let (organisation, external) = (h.brokers, "nina".to_owned());
    h.w.must(&h.w.provision(), Command::MakeEnrolment { organisation, external, digest: token });
    let compiled = |h: &Harbour| rights::compile(&h.w.state, h.stay).unwrap().rights;
    assert!(compiled(&h).is_ok());
    let restore =
        Command::Restore { fork: 2, erased: vec![Subject::Person(h.rita)], keep_people: true };
    assert_eq!(h.w.refused(&h.w.operate(), restore.clone()), "not_found");
    let row = h.w.must(&Caller::system(), restore).unwrap();
    assert_eq!(compiled(&h), Err(Reason::Restored));
    let ended = Event::SessionEnded { session: h.stay, cause: SessionEnd::Restored };
    let told = row.events.iter().find(|r| r.event == ended).unwrap();
    assert_eq!(told.readers.len(), 2, "both sides read why");
    assert!(row.events.iter().any(|r| r.event == Event::Restored { fork: 2, people_kept: true }));
    let old = [h.by_boss.clone(), h.by_chief.clone(), h.by_rita.clone(), h.w.operate()];
    for caller in old.iter().chain(&[h.w.provision(), h.w.decide(), crate::world::inside(h.stay)]) {
        assert!(may::authentic(&h.w.state, caller, h.w.now).is_err(), "{caller:?}");
    }
    let enrol = Command::Enrol { token, password_hash: "$argon2id$test".into() };
    assert_eq!(h.w.refused(&anonymous(), enrol), "not_found");
    assert!(h.w.state.people.get(nina).unwrap().enrolment.is_none());
    // What was erased after the copy was made is erased again, and its membership ends with it.
    assert!(!h.words().contains("rita@brokers.example"));
    assert!(h.w.state.organisations_of(h.rita).next().is_none());
    assert_eq!(h.w.state.assigned_to(h.grant).count(), 0);
    assert!(h.w.replayed() == h.w.state);
    // And it goes on: Comity makes the first new key, people sign in anew.
    h.w.later(MINUTE);
    let operate = h.w.key(&Caller::system(), KeyUse::Operate, None);
    assert!(may::authentic(&h.w.state, &by_key(operate), h.w.now).is_ok());
    let digest = h.w.secret();
    let another = Command::MakeKey { usage: KeyUse::Operate, application: None, digest };
    assert_eq!(h.w.refused(&Caller::system(), another), "not_found", "once there is one");
    let again = h.w.sign_in(h.chief);
    assert!(may::authentic(&h.w.state, &again, h.w.now).is_ok());
}

/// A restore, and the keys that the operator makes after it.
fn restored(h: &mut Harbour, keep_people: bool) {
    let restore = Command::Restore { fork: 2, erased: Vec::new(), keep_people };
    h.w.must(&Caller::system(), restore);
    let [operate, provision, decide] = {
        let operate = by_key(h.w.key(&Caller::system(), KeyUse::Operate, None));
        let provision = by_key(h.w.key(&operate, KeyUse::Provision, None));
        let boats = Some(h.w.boats);
        [operate.clone(), provision, by_key(h.w.key(&operate, KeyUse::Decide, boats))]
    };
    h.w.hold_keys(&operate, &provision, &decide);
}

#[test]
fn t50_a_grant_that_was_revoked_after_the_copy_gives_nothing_until_its_customer_confirms_it() {
    let mut h = harbour();
    restored(&mut h, true);
    let since = h.w.state.grants.get(h.grant).unwrap().unconfirmed;
    assert_eq!(since, Some(h.w.now));
    let by_rita = h.w.sign_in(h.rita);
    let enter = Command::Enter(h.w.enter_spec(h.harbour, Mode::Direct));
    assert_eq!(h.w.refused(&by_rita, enter), "unconfirmed");
    // Even a session that no row ended would be told no: the rule stands in `rights`, not in the
    // restore alone.
    let mut state = h.w.state.clone();
    let running = comity_domain::session::SessionState::Running;
    comity_domain::check::seam::session(&mut state, h.stay, |s| s.state = running);
    assert_eq!(rights::compile(&state, h.stay).unwrap().rights, Err(Reason::Unconfirmed));
    let by_chief = h.w.sign_in(h.chief);
    let boss = h.w.person(h.harbour, "boss");
    let by_boss = h.w.sign_in(boss);
    let confirm = Command::Confirm { customer: None, grants: [h.grant].into() };
    assert_eq!(h.w.refused(&by_chief, confirm.clone()), "forbidden");
    let row = h.w.must(&by_boss, confirm.clone()).unwrap();
    assert_eq!(row.events[0].readers.len(), 2, "both sides read it");
    assert!(h.w.must(&by_boss, confirm).is_none(), "once is enough");
    h.w.enter(&by_rita, h.harbour, Mode::Direct);
    assert!(h.w.replayed() == h.w.state && h.w.loaded() == h.w.state);
}

#[test]
fn t50_nobody_is_a_member_by_the_copy_alone_and_no_old_password_opens_anything() {
    let mut h = harbour();
    let (boss, epoch) = (h.w.person(h.harbour, "boss"), |h: &Harbour, p| {
        h.w.state.people.get(p).unwrap().auth_epoch
    });
    let before = epoch(&h, boss);
    restored(&mut h, false);
    // The door that checked the old password came too late, and the next finds none.
    for auth_epoch in [before, epoch(&h, boss)] {
        let digest = h.w.secret();
        let sign_in = Command::SignIn {
            person: boss,
            auth_epoch,
            digest,
            proof: comity_domain::factor::Proof::Password,
        };
        assert_eq!(h.w.refused(&anonymous(), sign_in), "caller_revoked");
    }
    // An Admin who was dismissed after the copy, and whom somebody enrols all the same.
    let by_boss = h.w.sign_in(boss);
    let confirm = Command::Confirm { customer: None, grants: [h.grant].into() };
    assert_eq!(h.w.refused(&by_boss, confirm.clone()), "not_active");
    let by_chief = h.w.sign_in(h.chief);
    let unassign = Command::Unassign { grant: h.grant, person: h.rita, successor: None };
    assert_eq!(h.w.refused(&by_chief, unassign), "not_active");
    // The directory says who is there, and as what; the assignments were kept.
    let put = h.w.member_spec(h.harbour, "boss", Some(PortalRole::Admin));
    h.w.must(&h.w.provision(), Command::PutMember(put));
    h.w.must(&by_boss, confirm);
    let by_rita = h.w.sign_in(h.rita);
    let enter = Command::Enter(h.w.enter_spec(h.harbour, Mode::Direct));
    assert_eq!(h.w.refused(&by_rita, enter), "not_active");
    h.w.must(&h.w.provision(), Command::PutMember(h.w.member_spec(h.brokers, "rita", None)));
    h.w.enter(&by_rita, h.harbour, Mode::Direct);
    assert!(h.w.replayed() == h.w.state && h.w.loaded() == h.w.state);
}
