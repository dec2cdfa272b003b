//! Signing in through the app: codes, recovery codes, passkeys, and who comes second.

use std::sync::{Arc, Barrier};

use comity_app::app::{App, Entered, Failure, Shown, SignedIn};
use comity_domain::command::{Caller, Command, Door};
use comity_domain::factor::Acr;
use comity_domain::refusal::Refusal;
use comity_domain::time::{HOUR, MINUTE, SECOND};

use crate::authenticator::{Authenticator, PRESENT};
use crate::nodes::inside::{eventually, two};
use crate::site::{Site, cast, settings};

const PASSWORD: &str = "correct horse battery staple";
const ORIGIN: &str = "http://localhost:8420";

/// An installation that is reached under a host name, with an Admin who has this password.
struct Home {
    site: Site,
    runtime: tokio::runtime::Runtime,
    email: String,
}

fn home() -> Home {
    let (w, cast) = cast(1);
    let folder = tempfile::tempdir().unwrap();
    crate::site::lay(folder.path(), &w.rows);
    let mut own = settings(folder.path());
    own.issuer = ORIGIN.to_owned();
    let site = Site::set(folder, w, &own);
    let runtime = runtime();
    let email = set_password(&site, &runtime, &cast.by_boss);
    Home { site, runtime, email }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap()
}

/// Gives a person of the world, whose password is none, one that fits: as an import would.
fn set_password(site: &Site, runtime: &tokio::runtime::Runtime, by: &Caller) -> String {
    let person = by.person().unwrap();
    let state = site.app.state();
    let word = state.people.get(person).unwrap().email;
    let email = state.words.show(word).to_owned();
    let prepared = runtime.block_on(site.app.prepare_password(by, None, PASSWORD.into())).unwrap();
    let Command::ChangePassword { password_hash, digest, .. } = prepared.command else { panic!() };
    site.must(by, Command::ChangePassword { proven: true, password_hash, digest });
    email
}

fn refused(failure: &Failure) -> &'static str {
    match failure {
        Failure::Refused(refusal) => refusal.code(),
        Failure::TooOften { .. } => "too_often",
        other => panic!("{other:?}"),
    }
}

fn caller(app: &App, signed: &SignedIn) -> Caller {
    app.caller(signed.token.reveal(), Door::Api).expect("a sign-in in force")
}

/// The code of an app that holds this secret.
fn code(secret: &str, app: &App) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    totp.generate(u64::try_from(app.now().0).unwrap() / 1_000).to_string()
}

impl Home {
    fn app(&self) -> &Arc<App> {
        &self.site.app
    }

    fn wait(&self, millis: i64) {
        self.site.clock.set(self.app().now().plus(millis));
    }

    fn enter(&self) -> Result<Entered, Failure> {
        self.runtime.block_on(self.app().sign_in(Door::Api, &self.email, PASSWORD.into()))
    }

    fn by_password(&self) -> Caller {
        let Entered::In(signed) = self.enter().unwrap() else { panic!("a code is asked for") };
        assert_eq!(signed.acr, Acr::Single);
        caller(self.app(), &signed)
    }

    fn ticket(&self) -> String {
        match self.enter().unwrap() {
            Entered::SecondFactorNeeded { ticket, .. } => ticket.reveal().to_owned(),
            Entered::In(_) => panic!("the password alone gave a sign-in"),
        }
    }

    fn second(&self, ticket: &str, code: &str) -> Result<SignedIn, Failure> {
        self.runtime.block_on(self.app().second_factor(Door::Api, ticket, code))
    }

    /// Sets codes up; the secret and the recovery codes.
    fn with_totp(&self) -> (String, Vec<String>) {
        let by = self.by_password();
        let begun = self.app().begin_totp(&by).unwrap();
        let first = code(&begun.secret, self.app());
        let prepared = self.app().prepare_totp(&by, begun.setup.reveal(), &first).unwrap();
        self.site.must(&by, prepared.command);
        (begun.secret, prepared.shown.0)
    }

    fn with_passkey(&self, by: &Caller) -> Authenticator {
        let mut key = Authenticator::new(ORIGIN);
        let begun = self.runtime.block_on(self.app().begin_passkey(by)).unwrap();
        let answer = key.make(&begun.options);
        let prepared =
            self.app().prepare_passkey(by, begun.ceremony.reveal(), answer, "Blue".into());
        self.site.must(by, prepared.unwrap().command);
        key
    }

    fn by_key(&self, key: &mut Authenticator) -> Result<SignedIn, Failure> {
        let begun = self.app().begin_passkey_sign_in().unwrap();
        let answer = key.sign(&begun.options);
        self.finish(begun.ceremony.reveal(), answer)
    }

    fn finish(&self, ceremony: &str, answer: serde_json::Value) -> Result<SignedIn, Failure> {
        self.runtime.block_on(self.app().finish_passkey_sign_in(Door::Console, ceremony, answer))
    }
}

#[test]
fn t22_a_code_completes_a_sign_in_once_and_a_recovery_code_once() {
    let h = home();
    let (secret, codes) = h.with_totp();
    let ticket = h.ticket();
    let own = code(&secret, h.app());
    assert_eq!(refused(&h.second(&ticket, &own).unwrap_err()), "not_found", "used to set it up");
    h.wait(30 * SECOND);
    let own = code(&secret, h.app());
    let signed = h.second(&ticket, &own).unwrap();
    assert_eq!(signed.acr, Acr::Multi);
    assert_eq!(refused(&h.second(&h.ticket(), &own).unwrap_err()), "not_found", "twice");
    h.wait(30 * SECOND);
    let spaced = code(&secret, h.app());
    let spaced = format!("{} {}", &spaced[..3], &spaced[3..]);
    h.second(&h.ticket(), &spaced).unwrap();
    let by_code = h.second(&h.ticket(), &codes[3].to_uppercase()).unwrap();
    assert_eq!(by_code.acr, Acr::Multi);
    assert_eq!(refused(&h.second(&h.ticket(), &codes[3]).unwrap_err()), "not_found", "twice");
    // New ones take the place of all of them.
    let by = caller(h.app(), &by_code);
    let prepared = h.app().prepare_recovery_codes(&by).unwrap();
    h.site.must(&by, prepared.command);
    assert_eq!(refused(&h.second(&h.ticket(), &codes[4]).unwrap_err()), "not_found");
    h.second(&h.ticket(), &prepared.shown.0[0]).unwrap();
}

#[test]
fn t22_of_eight_who_show_the_same_code_at_once_one_is_let_in() {
    let h = home();
    let (secret, codes) = h.with_totp();
    for round in 0..4 {
        h.wait(2 * MINUTE);
        let own = if round == 3 { codes[0].clone() } else { code(&secret, h.app()) };
        let tickets: Vec<String> = (0..8).map(|_| h.ticket()).collect();
        let barrier = Barrier::new(8);
        let let_in: usize = std::thread::scope(|scope| {
            let try_it = |ticket: &String| {
                barrier.wait();
                usize::from(h.second(ticket, &own).is_ok())
            };
            let all: Vec<_> = tickets.iter().map(|t| scope.spawn(move || try_it(t))).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(let_in, 1, "round {round}");
        h.wait(HOUR); // the wrong ones were counted
    }
}

#[test]
fn t22_on_two_nodes_the_same_code_lets_one_in_and_a_ticket_holds_on_both() {
    let two = two();
    let runtime = runtime();
    let email = set_password(&two.a, &runtime, &two.cast.by_boss);
    let Ok(Entered::In(signed)) =
        runtime.block_on(two.a.app.sign_in(Door::Api, &email, PASSWORD.into()))
    else {
        panic!("no sign-in");
    };
    let by = caller(&two.a.app, &signed);
    let begun = two.a.app.begin_totp(&by).unwrap();
    let first = code(&begun.secret, &two.a.app);
    let prepared = two.a.app.prepare_totp(&by, begun.setup.reveal(), &first).unwrap();
    two.a.must(&by, prepared.command);
    let person = by.person().unwrap();
    eventually("the other follows", || two.b.state().factors.contains_key(&person));
    for round in 0..5 {
        two.a.clock.set(two.a.app.now().plus(31 * MINUTE));
        eventually("both go on", || two.a.app.is_ready() && two.b.is_ready());
        let own = code(&begun.secret, &two.a.app);
        let ticket =
            || match runtime.block_on(two.a.app.sign_in(Door::Api, &email, PASSWORD.into())) {
                Ok(Entered::SecondFactorNeeded { ticket, .. }) => ticket.reveal().to_owned(),
                other => panic!("{other:?}"),
            };
        let (tickets, barrier) = ([ticket(), ticket()], Barrier::new(2));
        let apps = [&two.a.app, &two.b];
        let let_in: usize = std::thread::scope(|scope| {
            let all: Vec<_> = apps
                .into_iter()
                .zip(&tickets)
                .map(|(app, ticket)| {
                    let (barrier, runtime, own) = (&barrier, &runtime, &own);
                    scope.spawn(move || {
                        barrier.wait();
                        runtime.block_on(app.second_factor(Door::Api, ticket, own)).is_ok()
                    })
                })
                .collect();
            all.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
        });
        assert_eq!(let_in, 1, "round {round}");
    }
}

#[test]
fn t01_a_ticket_takes_five_tries_and_a_person_ten_wrong_codes_an_hour() {
    let h = home();
    let (secret, _) = h.with_totp();
    h.wait(30 * SECOND);
    let ticket = h.ticket();
    for _ in 0..5 {
        assert_eq!(refused(&h.second(&ticket, "000000").unwrap_err()), "not_found");
    }
    let right = code(&secret, h.app());
    assert_eq!(refused(&h.second(&ticket, &right).unwrap_err()), "too_often", "even the right one");
    h.second(&h.ticket(), &right).unwrap();
    let other = h.ticket();
    for _ in 0..5 {
        assert_eq!(refused(&h.second(&other, "000000").unwrap_err()), "not_found");
    }
    h.wait(30 * SECOND);
    let right = code(&secret, h.app());
    assert_eq!(refused(&h.second(&h.ticket(), &right).unwrap_err()), "too_often", "ten of them");
    h.wait(HOUR);
    h.second(&h.ticket(), &code(&secret, h.app())).unwrap();
}

#[test]
fn t22_a_ticket_is_over_after_five_minutes_and_with_the_password_it_was_given_for() {
    let h = home();
    let (secret, _) = h.with_totp();
    h.wait(MINUTE);
    let old = h.ticket();
    h.wait(5 * MINUTE);
    let late = h.second(&old, &code(&secret, h.app())).unwrap_err();
    assert_eq!(refused(&late), "not_found", "late");
    let signed = h.second(&h.ticket(), &code(&secret, h.app())).unwrap();
    let by = caller(h.app(), &signed);
    let stale = h.ticket();
    let change =
        h.app().prepare_password(&by, Some(PASSWORD.into()), "another long password".into());
    let prepared = h.runtime.block_on(change).unwrap();
    let done = h.site.must(&by, prepared.command);
    let new = SignedIn::of(&done, prepared.shown).unwrap();
    assert_eq!(new.acr, Acr::Multi, "as well as what it goes on from");
    assert!(h.app().caller(signed.token.reveal(), Door::Api).is_none());
    caller(h.app(), &new);
    h.wait(30 * SECOND);
    let no = h.second(&stale, &code(&secret, h.app())).unwrap_err();
    assert_eq!(refused(&no), "caller_revoked", "given for the old password");
    for junk in ["", "AAAA", &stale[1..]] {
        assert_eq!(refused(&h.second(junk, "000000").unwrap_err()), "not_found");
    }
}

#[test]
fn a_passkey_lets_its_person_in_without_an_address_and_only_here() {
    let h = home();
    let by = h.by_password();
    let mut key = h.with_passkey(&by);
    let signed = h.by_key(&mut key).unwrap();
    assert_eq!((signed.acr, signed.person), (Acr::PhishingResistant, by.person().unwrap()));
    // The same answer again, and a ceremony that was another's.
    h.wait(1);
    let begun = h.app().begin_passkey_sign_in().unwrap();
    h.wait(1);
    let other = h.app().begin_passkey_sign_in().unwrap();
    let answer = key.sign(&begun.options);
    h.finish(begun.ceremony.reveal(), answer.clone()).unwrap();
    let again = h.finish(begun.ceremony.reveal(), answer.clone()).unwrap_err();
    assert_eq!(refused(&again), "caller_revoked", "what was signed once counts once");
    let swapped = h.finish(other.ceremony.reveal(), answer).unwrap_err();
    assert_eq!(refused(&swapped), "not_found", "another challenge");
    // Somewhere else, and without looking at its user.
    h.wait(1);
    let mut far = key.copied();
    far.origin = "http://localhost.evil.example:8420".into();
    assert_eq!(refused(&h.by_key(&mut far).unwrap_err()), "not_found", "another origin");
    let mut lax = key.copied();
    lax.flags = PRESENT;
    assert_eq!(refused(&h.by_key(&mut lax).unwrap_err()), "not_found", "nobody was verified");
    let mut stranger = Authenticator::new(ORIGIN);
    assert_eq!(refused(&h.by_key(&mut stranger).unwrap_err()), "not_found", "nobody's");
    // A ceremony that took too long.
    let begun = h.app().begin_passkey_sign_in().unwrap();
    let answer = key.sign(&begun.options);
    h.wait(5 * MINUTE);
    assert_eq!(refused(&h.finish(begun.ceremony.reveal(), answer).unwrap_err()), "not_found");
    h.by_key(&mut key).unwrap();
}

#[test]
fn t22_a_copied_passkey_is_found_by_its_counter_and_old_copies_of_one_that_counts_not_by_time() {
    let h = home();
    let by = h.by_password();
    let mut key = h.with_passkey(&by);
    h.wait(1);
    let mut clone = key.copied();
    h.by_key(&mut key).unwrap();
    h.wait(1);
    h.by_key(&mut key).unwrap();
    h.wait(1);
    assert_eq!(refused(&h.by_key(&mut clone).unwrap_err()), "caller_revoked", "it is behind");
    // One that never counts is let in by each ceremony once.
    let signed = h.by_key(&mut key).unwrap();
    let by = caller(h.app(), &signed);
    let mut still = Authenticator::new(ORIGIN);
    still.counts = false;
    let begun = h.runtime.block_on(h.app().begin_passkey(&by)).unwrap();
    let answer = still.make(&begun.options);
    let made =
        h.app().prepare_passkey(&by, begun.ceremony.reveal(), answer.clone(), "Still".into());
    h.site.must(&by, made.unwrap().command);
    for _ in 0..3 {
        h.wait(1);
        h.by_key(&mut still).unwrap();
    }
    // Made once: the ceremony ends no second time.
    let again =
        h.app().prepare_passkey(&by, begun.ceremony.reveal(), answer, "Again".into()).unwrap();
    let refused = h.site.run(&by, again.command).unwrap_err();
    assert!(format!("{refused:?}").contains("Taken"), "{refused:?}");
}

#[test]
fn t22_proving_it_anew_takes_what_is_set_up_and_ends_the_old_token() {
    let h = home();
    let by = h.by_password();
    let mut key = h.with_passkey(&by);
    let password = |code: Option<&str>| Shown::Password {
        password: PASSWORD.into(),
        code: code.map(str::to_owned),
    };
    let step_up = |by: &Caller, shown| h.runtime.block_on(h.app().step_up(by, shown));
    // By a passkey: stronger than before.
    let begun = h.app().begin_passkey_sign_in().unwrap();
    let shown = Shown::Passkey {
        ceremony: begun.ceremony.reveal().into(),
        answer: key.sign(&begun.options),
    };
    let strong = step_up(&by, shown).unwrap();
    assert_eq!(strong.acr, Acr::PhishingResistant);
    assert!(comity_domain::may::authentic(&h.app().state(), &by, h.app().now()).is_err());
    let by = caller(h.app(), &strong);
    let begun = h.app().begin_totp(&by).unwrap();
    let first = code(&begun.secret, h.app());
    let prepared = h.app().prepare_totp(&by, begun.setup.reveal(), &first).unwrap();
    h.site.must(&by, prepared.command);
    h.wait(6 * MINUTE);
    let late = h.app().prepare_recovery_codes(&by).unwrap_err();
    assert_eq!(refused(&late), "fresh_sign_in_required");
    for (code, field) in [(None, "code"), (Some("000000"), "code")] {
        match step_up(&by, password(code)) {
            Err(Failure::Refused(Refusal::Invalid { field: named, .. })) => {
                assert_eq!(named, field)
            }
            other => panic!("{other:?}"),
        }
    }
    let wrong = Shown::Password { password: "not that one at all".into(), code: Some("0".into()) };
    assert_eq!(refused(&step_up(&by, wrong).unwrap_err()), "invalid");
    let own = code(&begun.secret, h.app());
    let signed = step_up(&by, password(Some(&own))).unwrap();
    assert_eq!(signed.acr, Acr::Multi);
    h.app().prepare_recovery_codes(&caller(h.app(), &signed)).unwrap();
    // Another's passkey proves nothing about this one.
    let mut stranger = Authenticator::new(ORIGIN);
    let begun = h.app().begin_passkey_sign_in().unwrap();
    let answer = stranger.sign(&begun.options);
    let shown = Shown::Passkey { ceremony: begun.ceremony.reveal().into(), answer };
    assert_eq!(refused(&step_up(&caller(h.app(), &signed), shown).unwrap_err()), "invalid");
}

#[test]
fn t48_nothing_secret_is_in_the_log_the_files_or_what_is_printed() {
    let h = home();
    let (secret, codes) = h.with_totp();
    let begun = h.app().begin_passkey_sign_in().unwrap();
    let raw = totp_rs::Secret::try_from_base32(&secret).unwrap().as_bytes().to_vec();
    let entered = h.enter().unwrap();
    let ticket = h.ticket();
    for shown in [format!("{entered:?}"), format!("{begun:?}")] {
        assert!(!shown.contains(&ticket[..20]) && !shown.contains(begun.ceremony.reveal()));
    }
    h.site.app.stop();
    if crate::engine::on_postgres() {
        return; // its files are the server's
    }
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(h.site.folder.path().join("data")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
    let plain = codes[0].replace('-', "");
    for hidden in [raw.as_slice(), secret.as_bytes(), codes[0].as_bytes(), plain.as_bytes()] {
        assert!(!bytes.windows(hidden.len()).any(|w| w == hidden));
    }
}
