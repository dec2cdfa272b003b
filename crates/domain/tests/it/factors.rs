//! What people prove with beside a password, and their own sign-ins.

use comity_domain::command::{Caller, Command, Door, Principal, Sealed};
use comity_domain::draft::SideWrite;
use comity_domain::event::Event;
use comity_domain::factor::{Acr, FreshPasskey, MOST_PASSKEYS, Proof};
use comity_domain::ids::{Digest32, OrganisationId, PasskeyId, PersonId, SignInId};
use comity_domain::kernel;
use comity_domain::role::Mode;
use comity_domain::time::{Instant, MINUTE};

use crate::world::{World, anonymous};

struct Home {
    w: World,
    harbour: OrganisationId,
    ana: PersonId,
    by_ana: Caller,
}

fn home() -> Home {
    let mut w = World::new();
    let harbour = w.organisation("harbour", "Harbour");
    let ana = w.admin(harbour, "ana");
    let by_ana = w.sign_in(ana);
    Home { w, harbour, ana, by_ana }
}

fn code(n: u8) -> Digest32 {
    Digest32([n; 32])
}

fn totp(step: u64) -> Command {
    let codes = vec![code(2), code(1)];
    Command::SetTotp { secret: code(9), sealed: Sealed(vec![1]), step, codes }
}

fn passkey(n: u8) -> Command {
    let (credential, name) = (code(n), format!("Key {n}"));
    Command::AddPasskey(FreshPasskey { credential, name, sealed: Sealed(vec![n]) })
}

impl Home {
    fn proof(&mut self, proof: Proof) -> Command {
        let auth_epoch = self.w.state.people.get(self.ana).unwrap().auth_epoch;
        Command::SignIn { person: self.ana, auth_epoch, digest: self.w.secret(), proof }
    }

    /// A sign-in by this proof, or the code of the refusal.
    fn enter(&mut self, proof: Proof) -> Result<Caller, &'static str> {
        let command = self.proof(proof);
        let Command::SignIn { digest, .. } = command else { unreachable!() };
        self.w.run(&anonymous(), command).map_err(|r| r.code())?;
        let sign_in = self.w.state.sign_in_by_digest(digest).unwrap();
        let principal = Principal::Person { person: self.ana, sign_in };
        Ok(Caller { principal, door: Door::Api })
    }

    fn acr(&self, caller: &Caller) -> Acr {
        let Principal::Person { sign_in, .. } = caller.principal else { unreachable!() };
        self.w.state.sign_ins.get(sign_in).unwrap().acr
    }

    fn refused(&mut self, caller: &Caller, command: Command) -> &'static str {
        self.w.refused(caller, command)
    }

    fn ids(&self) -> Vec<SignInId> {
        self.w.state.sign_ins_of(self.ana, self.w.now).map(|(id, _)| id).collect()
    }

    fn passkeys(&self) -> Vec<PasskeyId> {
        let has = self.w.state.factors.get(&self.ana);
        has.into_iter().flat_map(|f| &f.passkeys).map(|p| p.id).collect()
    }
}

#[test]
fn t22_where_codes_are_set_up_the_password_alone_opens_nothing_and_a_code_counts_once() {
    let mut h = home();
    assert_eq!(h.acr(&h.by_ana.clone()), Acr::Single);
    assert_eq!(h.enter(Proof::Totp { step: 5 }), Err("caller_revoked"), "nothing is set up");
    h.w.must(&h.by_ana.clone(), totp(100));
    assert_eq!(h.enter(Proof::Password), Err("caller_revoked"));
    assert_eq!(h.enter(Proof::Totp { step: 100 }), Err("caller_revoked"), "used to set it up");
    let by_ana = h.enter(Proof::Totp { step: 101 }).unwrap();
    assert_eq!(h.acr(&by_ana), Acr::Multi);
    assert_eq!(h.enter(Proof::Totp { step: 101 }), Err("caller_revoked"), "twice");
    assert_eq!(h.enter(Proof::Totp { step: 100 }), Err("caller_revoked"), "one before it");
    h.enter(Proof::Totp { step: 102 }).unwrap();
    // A recovery code stands in for it, once.
    assert_eq!(h.enter(Proof::Recovery { code: code(3) }), Err("caller_revoked"));
    let by_code = h.enter(Proof::Recovery { code: code(1) }).unwrap();
    assert_eq!(h.acr(&by_code), Acr::Multi);
    assert_eq!(h.enter(Proof::Recovery { code: code(1) }), Err("caller_revoked"), "twice");
    h.w.must(&by_code, Command::MakeRecoveryCodes { codes: vec![code(4)] });
    assert_eq!(h.enter(Proof::Recovery { code: code(2) }), Err("caller_revoked"), "of before");
    h.enter(Proof::Recovery { code: code(4) }).unwrap();
    // They go with what they stand in for.
    h.w.must(&by_code, Command::MakeRecoveryCodes { codes: vec![code(5)] });
    h.w.must(&by_code, Command::RemoveTotp);
    assert_eq!(h.enter(Proof::Recovery { code: code(5) }), Err("caller_revoked"));
    h.enter(Proof::Password).unwrap();
    assert_eq!(h.refused(&by_code, Command::RemoveTotp), "not_found");
    let codes = vec![code(6)];
    assert_eq!(h.refused(&by_code, Command::MakeRecoveryCodes { codes }), "wrong_state");
    assert_eq!(h.w.state, h.w.replayed());
}

#[test]
fn t22_a_copied_passkey_and_an_old_signature_open_nothing() {
    let mut h = home();
    h.w.must(&h.by_ana.clone(), passkey(7));
    let begun = |ms: i64| Instant(1_767_225_600_000 + ms);
    let proof = |counter, ms| Proof::Passkey { credential: code(7), counter, begun: begun(ms) };
    let by_key = h.enter(proof(5, 10)).unwrap();
    assert_eq!(h.acr(&by_key), Acr::PhishingResistant);
    assert_eq!(h.enter(proof(5, 20)), Err("caller_revoked"), "the counter stood still");
    assert_eq!(h.enter(proof(4, 20)), Err("caller_revoked"), "the counter went back");
    assert_eq!(h.enter(proof(0, 20)), Err("caller_revoked"), "it does not count any more");
    assert_eq!(h.enter(proof(6, 10)), Err("caller_revoked"), "the same ceremony again");
    h.enter(proof(6, 11)).unwrap();
    // One that does not count is known by its ceremonies alone.
    h.w.must(&by_key, passkey(8));
    let still = |ms| Proof::Passkey { credential: code(8), counter: 0, begun: begun(ms) };
    h.enter(still(1)).unwrap();
    assert_eq!(h.enter(still(1)), Err("caller_revoked"));
    h.enter(still(2)).unwrap();
    // Whose it is, is said once.
    let ben = h.w.admin(h.harbour, "ben");
    let by_ben = h.w.sign_in(ben);
    assert_eq!(h.refused(&by_ben, passkey(8)), "taken");
    let own = h.passkeys();
    let rename = Command::RenamePasskey { passkey: own[0], name: "Ours".into() };
    assert_eq!(h.refused(&by_ben, rename), "not_found");
    assert_eq!(h.refused(&by_ben, Command::RemovePasskey { passkey: own[0] }), "not_found");
    let rename = Command::RenamePasskey { passkey: own[0], name: "Blue".into() };
    h.w.must(&by_key, rename);
    let known = h.w.state.factors.get(&h.ana).unwrap().passkeys[0].clone();
    assert_eq!(h.w.state.words.show(known.name), "Blue");
    assert_eq!((known.counter, known.used), (6, Some(h.w.now)));
    assert_eq!(h.w.loaded(), h.w.state, "a snapshot holds all of it");
    h.w.must(&by_key, Command::RemovePasskey { passkey: own[0] });
    assert_eq!(h.enter(proof(9, 99)), Err("caller_revoked"), "it was taken away");
    assert_eq!(h.w.state, h.w.replayed());
}

#[test]
fn what_one_proves_with_is_changed_by_a_fresh_sign_in_that_shows_all_of_it() {
    let mut h = home();
    let by_ana = h.by_ana.clone();
    h.w.must(&by_ana, passkey(7));
    // A second factor is there now: the password alone changes nothing of it any more.
    assert_eq!(h.refused(&by_ana, passkey(8)), "stronger_sign_in_required");
    assert_eq!(h.refused(&by_ana, totp(1)), "stronger_sign_in_required");
    let own = h.passkeys()[0];
    assert_eq!(
        h.refused(&by_ana, Command::RemovePasskey { passkey: own }),
        "stronger_sign_in_required"
    );
    let proof = Proof::Passkey { credential: code(7), counter: 1, begun: h.w.now };
    let strong = h.enter(proof).unwrap();
    h.w.must(&strong, totp(1));
    assert_eq!(h.refused(&strong, totp(2)), "wrong_state");
    for n in 20..20 + u8::try_from(MOST_PASSKEYS - 1).unwrap() {
        h.w.must(&strong, passkey(n));
    }
    assert_eq!(h.refused(&strong, passkey(99)), "wrong_state", "there is an end to it");
    h.w.later(5 * MINUTE);
    for command in [passkey(8), Command::RemoveTotp, Command::RemovePasskey { passkey: own }] {
        assert_eq!(h.refused(&strong, command), "fresh_sign_in_required");
    }
    let others = h.w.provision();
    assert_eq!(h.refused(&others, Command::RemoveTotp), "not_found");
}

#[test]
fn t22_a_sign_in_proven_anew_takes_the_place_of_the_old_one_in_one_row() {
    let mut h = home();
    let old = h.by_ana.clone();
    h.w.later(6 * MINUTE);
    assert_eq!(h.refused(&old, totp(1)), "fresh_sign_in_required");
    let digest = h.w.secret();
    let row = h.w.must(&old, Command::StepUp { digest, proof: Proof::Password }).unwrap();
    assert!(matches!(
        row.events.iter().map(|r| &r.event).collect::<Vec<_>>()[..],
        [Event::SignedOut { .. }, Event::SignedIn { .. }]
    ));
    assert_eq!(h.refused(&old, Command::SignOut), "caller_revoked");
    let sign_in = h.w.state.sign_in_by_digest(digest).unwrap();
    let principal = Principal::Person { person: h.ana, sign_in };
    let fresh = Caller { principal, door: Door::Api };
    h.w.must(&fresh, totp(1));
    let digest = h.w.secret();
    let password = Command::StepUp { digest, proof: Proof::Password };
    assert_eq!(h.refused(&fresh, password), "caller_revoked", "codes are set up");
    let made_up = Proof::Earlier { acr: Acr::PhishingResistant, at: h.w.now };
    let made_up = Command::StepUp { digest, proof: made_up };
    assert_eq!(h.refused(&fresh, made_up), "caller_revoked", "no door says so");
}

#[test]
fn a_new_password_ends_every_sign_in_and_the_caller_goes_on_by_a_new_one() {
    let mut h = home();
    let (old, other) = (h.by_ana.clone(), h.enter(Proof::Password).unwrap());
    let at_the_door = h.proof(Proof::Password);
    let digest = h.w.secret();
    let change =
        |proven| Command::ChangePassword { proven, password_hash: "$argon2id$new".into(), digest };
    assert_eq!(h.refused(&old, change(false)), "invalid", "nothing was shown for it");
    let at = h.w.now;
    h.w.later(MINUTE);
    h.w.must(&old, change(true));
    assert_eq!(h.refused(&old, Command::SignOut), "caller_revoked");
    assert_eq!(h.refused(&other, Command::SignOut), "caller_revoked");
    assert_eq!(h.refused(&anonymous(), at_the_door), "caller_revoked", "checked with the old one");
    let own = h.ids();
    let [sign_in] = own[..] else { panic!("{own:?}") };
    let known = h.w.state.sign_ins.get(sign_in).unwrap();
    assert_eq!((known.acr, known.at), (Acr::Single, at), "it is as old as what was shown");
    // By a passkey alone, too; a sign-in that is not fresh changes none.
    let principal = Principal::Person { person: h.ana, sign_in };
    let by_ana = Caller { principal, door: Door::Api };
    h.w.must(&by_ana, passkey(7));
    assert_eq!(h.refused(&by_ana, change(true)), "stronger_sign_in_required");
    let proof = Proof::Passkey { credential: code(7), counter: 1, begun: h.w.now };
    let strong = h.enter(proof).unwrap();
    let digest = h.w.secret();
    let password_hash = "$argon2id$newer".to_owned();
    h.w.must(&strong, Command::ChangePassword { proven: false, password_hash, digest });
    assert_eq!(h.w.state, h.w.replayed());
}

#[test]
fn one_sees_ones_own_sign_ins_and_ends_each() {
    let mut h = home();
    let (first, second) = (h.by_ana.clone(), h.enter(Proof::Password).unwrap());
    let ben = h.w.admin(h.harbour, "ben");
    let by_ben = h.w.sign_in(ben);
    let own = h.ids();
    assert_eq!(own.len(), 2);
    for sign_in in &own {
        let end = Command::EndSignIn { sign_in: *sign_in };
        assert_eq!(h.refused(&by_ben, end), "not_found", "another's");
    }
    h.w.must(&second, Command::EndSignIn { sign_in: own[0] });
    assert_eq!(h.refused(&first, Command::SignOut), "caller_revoked");
    assert_eq!(h.ids(), own[1..]);
    let again = Command::EndSignIn { sign_in: own[0] };
    assert_eq!(h.refused(&second, again), "not_found", "over");
    assert_eq!(h.w.loaded(), h.w.state);
    h.w.later(9 * 60 * MINUTE);
    assert_eq!(h.ids(), [], "each runs out by itself");
}

#[test]
fn lost_devices_are_taken_away_by_the_builder_and_by_nobody_else() {
    let mut h = home();
    let brokers = h.w.organisation("brokers", "Brokers");
    let keeper = h.w.role(h.harbour, "keeper", &["boats:*"]);
    let chief = h.w.admin(brokers, "chief");
    let by_chief = h.w.sign_in(chief);
    let request = h.w.ask(&by_chief, h.w.ask_spec(brokers, h.harbour));
    let by_ana = h.by_ana.clone();
    let terms = h.w.terms(&[keeper]);
    let grant = h.w.approve(&by_ana, request, terms);
    h.w.assign(&by_chief, grant, chief, &[keeper]);
    let session = h.w.enter(&by_chief, h.harbour, Mode::Direct);
    h.w.must(&by_chief, passkey(7));
    let reset =
        |external: &str| Command::ResetFactors { organisation: brokers, external: external.into() };
    let external = h.w.external(brokers, chief);
    assert_eq!(h.refused(&by_chief, reset(&external)), "forbidden", "not even an Admin");
    assert_eq!(h.refused(&by_ana, reset(&external)), "not_found");
    assert_eq!(h.refused(&h.w.operate(), reset(&external)), "forbidden");
    assert_eq!(h.refused(&h.w.provision(), reset("nobody")), "not_found");
    let row = h.w.must(&h.w.provision(), reset(&external)).unwrap();
    assert!(row.events.iter().any(|r| r.event == Event::FactorsReset { person: chief }));
    assert!(row.events.iter().any(|r| matches!(r.event, Event::SessionEnded { .. })));
    assert!(!h.w.state.sessions.get(session).unwrap().is_active(h.w.now));
    assert_eq!(h.w.refused(&by_chief, Command::SignOut), "caller_revoked");
    assert!(h.w.state.factors.get(&chief).is_none());
    assert!(h.w.state.passkey_owner(code(7)).is_none());
    assert!(h.w.state.people.get(chief).unwrap().has_password, "the password stays theirs");
    assert_eq!(h.w.state, h.w.replayed());
}

#[test]
fn t50_a_restore_takes_factors_with_the_passwords_and_an_erasure_takes_a_persons() {
    for (keep_people, kept) in [(false, false), (true, true)] {
        let mut h = home();
        h.w.must(&h.by_ana.clone(), passkey(7));
        let restore = Command::Restore { fork: 1, erased: Vec::new(), keep_people };
        let decided = kernel::decide(
            &h.w.state,
            &Caller::system(),
            comity_domain::ids::CommandId(1),
            restore,
            h.w.now,
            &mut h.w.ids,
        )
        .unwrap();
        assert_eq!(decided.state.factors.contains_key(&h.ana), kept);
        assert_eq!(decided.state.passkey_owner(code(7)).is_some(), kept);
        let erases = decided.side.contains(&SideWrite::EraseFactors(None));
        assert_eq!(erases, !kept, "what stands beside the log goes too");
        assert_eq!(decided.state.sign_ins_of(h.ana, decided.state.at).count(), 0);
    }
    let mut h = home();
    h.w.must(&h.by_ana.clone(), passkey(7));
    h.w.admin(h.harbour, "ben");
    let external = h.w.external(h.harbour, h.ana);
    let leave = Command::RemoveMember { organisation: h.harbour, external };
    h.w.must(&h.w.provision(), leave);
    let subject = comity_domain::text::Subject::Person(h.ana);
    h.w.must(&h.w.provision(), Command::EraseWords { subject });
    assert!(h.w.state.factors.get(&h.ana).is_none());
    assert!(!h.w.state.words.names(subject), "the passkey's name is a word of its person");
    assert_eq!(h.w.loaded(), h.w.state);
}
