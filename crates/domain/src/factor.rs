//! What people prove with who they are, beside a password, and their sign-ins that come of it.
//!
//! - A *code* of an app (TOTP, RFC 6238): where it is set up, the password alone gives no sign-in. The
//!   last time step that was used is a fact, so a code counts once, on whatever node it is shown.
//! - *Recovery codes* stand in for it, ten, each once. They go with it.
//! - *Passkeys* (WebAuthn) prove by themselves. Each knows when the last ceremony it ended had begun:
//!   only a later one counts, so what was signed once counts once; and its counter never goes back.
//!
//! Secrets and public keys stand beside the log, sealed, under digests that are facts. Whoever changes
//! any of this has signed in just now, and with a second factor if they have one; only the builder's
//! key takes somebody's factors away whose devices are lost, and every sign-in with them.

use serde::{Deserialize, Serialize};

use crate::command::{Caller, Sealed};
use crate::draft::{Draft, SideWrite};
use crate::event::Event;
use crate::ids::{Digest32, OrganisationId, PasskeyId, PersonId, SignInId};
use crate::may::{self, Action, Thing};
use crate::organisation;
use crate::person::{SIGN_IN_LASTS, end_stays, own_sign_in};
use crate::refusal::Refusal;
use crate::state::State;
use crate::text::{self, Lookup, Subject, WordId};
use crate::time::Instant;

/// How many passkeys a person may have.
pub const MOST_PASSKEYS: usize = 20;
/// How many recovery codes are made at once.
pub const RECOVERY_CODES: usize = 10;

/// What a person has beside a password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factors {
    /// The app that shows codes.
    pub totp: Option<Totp>,
    /// Digests of the recovery codes that were not used, sorted.
    pub recovery: Vec<Digest32>,
    /// Passkeys, the oldest first.
    pub passkeys: Vec<Passkey>,
}

/// An app that shows codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    /// The secret's digest: under it the secret is kept, sealed.
    pub secret: Digest32,
    /// When it was set up.
    pub made: Instant,
    /// The last time step of which a code was used: none at or before it counts any more.
    pub step: u64,
}

/// A passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// Its identifier here.
    pub id: PasskeyId,
    /// The digest of the authenticator's own identifier: under it the public key is kept, sealed.
    pub credential: Digest32,
    /// How its person calls it.
    pub name: WordId,
    /// How often it has signed, as it says; 0 for one that does not count.
    pub counter: u32,
    /// When the last ceremony that it ended had begun.
    pub begun: Option<Instant>,
    /// When it was made.
    pub made: Instant,
    /// When it was used last to sign in.
    pub used: Option<Instant>,
}

/// How well a person has proven who they are (`acr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acr {
    /// By one thing that they know.
    Single,
    /// By two.
    Multi,
    /// By a passkey that has verified its user, for this server and no other.
    PhishingResistant,
}

impl Acr {
    /// As it is written.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Multi => "multi",
            Self::PhishingResistant => "phishing_resistant",
        }
    }
}

/// How a person has proven who they are. The door has checked it; what a second showing of it would
/// use up is judged here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Proof {
    /// By the password alone.
    Password,
    /// By the password and a code of this time step.
    Totp {
        /// Which.
        step: u64,
    },
    /// By the password and a recovery code.
    Recovery {
        /// Which.
        code: Digest32,
    },
    /// By a passkey that has verified its user.
    Passkey {
        /// Which.
        credential: Digest32,
        /// How often it has signed, as it says.
        counter: u32,
        /// When the ceremony began.
        begun: Instant,
    },
    /// By a sign-in that this one goes on from.
    Earlier {
        /// How well that was proven.
        acr: Acr,
        /// When.
        at: Instant,
    },
}

impl Proof {
    /// How well it proves who somebody is.
    #[must_use]
    pub fn acr(self) -> Acr {
        match self {
            Self::Password => Acr::Single,
            Self::Totp { .. } | Self::Recovery { .. } => Acr::Multi,
            Self::Passkey { .. } => Acr::PhishingResistant,
            Self::Earlier { acr, .. } => acr,
        }
    }
}

/// Whether the proof counts now. What was used up, taken away or never there looks all the same.
pub(crate) fn proves(state: &State, person: PersonId, proof: Proof) -> Result<(), Refusal> {
    let known = state.people.get(person).ok_or(Refusal::NotFound)?;
    let none = Factors::default();
    let has = state.factors.get(&person).unwrap_or(&none);
    let counts = match proof {
        Proof::Password => known.has_password && has.totp.is_none(),
        Proof::Totp { step } => known.has_password && has.totp.is_some_and(|t| step > t.step),
        Proof::Recovery { code } => {
            known.has_password && has.totp.is_some() && has.recovery.contains(&code)
        }
        Proof::Passkey { credential, counter, begun } => {
            has.passkeys.iter().any(|p| p.credential == credential && p.takes(counter, begun))
        }
        Proof::Earlier { .. } => false, // made here, never at a door
    };
    if counts { Ok(()) } else { Err(Refusal::CallerRevoked) }
}

impl Passkey {
    /// Whether what it signed is newer than all it has signed before. One that counts and does not
    /// count on was copied (WebAuthn level 3, section 6.1.1).
    fn takes(&self, counter: u32, begun: Instant) -> bool {
        let counts = self.counter > 0 || counter > 0;
        self.begun.is_none_or(|last| begun > last) && (!counts || counter > self.counter)
    }
}

/// A new sign-in of a person, by a proof that counts.
pub(crate) fn begin(
    d: &mut Draft<'_>,
    caller: &Caller,
    person: PersonId,
    digest: Digest32,
    proof: Proof,
) {
    let sign_in = SignInId(d.id());
    let until = d.now().plus(SIGN_IN_LASTS);
    let door = caller.door;
    d.emit(Event::SignedIn { person, sign_in, digest, until, proof, door });
}

/// A person proves anew who they are: a fresh sign-in takes the place of the one they call by (T22).
pub(crate) fn step_up(
    d: &mut Draft<'_>,
    caller: &Caller,
    digest: Digest32,
    proof: Proof,
) -> Result<(), Refusal> {
    let (person, sign_in) = own_sign_in(caller)?;
    may::check(&d.state, caller, Action::StepUp, Thing::own(person), d.now())?;
    proves(&d.state, person, proof)?;
    d.emit(Event::SignedOut { sign_in });
    begin(d, caller, person, digest, proof);
    Ok(())
}

/// Ends one of the caller's own sign-ins.
pub(crate) fn end_sign_in(
    d: &mut Draft<'_>,
    caller: &Caller,
    sign_in: SignInId,
) -> Result<(), Refusal> {
    let (person, _) = own_sign_in(caller)?;
    may::check(&d.state, caller, Action::SignOut, Thing::own(person), d.now())?;
    let counts = d.state.sign_ins_of(person, d.now()).any(|(id, _)| id == sign_in);
    if !counts {
        return Err(Refusal::NotFound);
    }
    d.emit(Event::SignedOut { sign_in });
    Ok(())
}

/// Whoever changes what they prove with has proven just now who they are: with a second factor, if
/// there is one.
fn own(d: &Draft<'_>, caller: &Caller) -> Result<(PersonId, Acr), Refusal> {
    let (person, _) = own_sign_in(caller)?;
    may::check(&d.state, caller, Action::ManageFactors, Thing::own(person), d.now())?;
    Ok((person, strong_enough(&d.state, caller)?))
}

/// How well a person has proven who they are, if it is as well as they can.
///
/// # Errors
/// [`Refusal::StrongerSignIn`] for whoever has a second factor and has signed in without it.
pub fn strong_enough(state: &State, caller: &Caller) -> Result<Acr, Refusal> {
    let (person, sign_in) = own_sign_in(caller)?;
    let acr = state.sign_ins.get(sign_in).map_or(Acr::Single, |s| s.acr);
    let has = state.factors.get(&person);
    if acr == Acr::Single && has.is_some_and(|f| f.totp.is_some() || !f.passkeys.is_empty()) {
        return Err(Refusal::StrongerSignIn);
    }
    Ok(acr)
}

/// Sets an app up that shows codes: the first one, of `step`, was checked. With it come recovery codes.
pub(crate) fn set_totp(
    d: &mut Draft<'_>,
    caller: &Caller,
    (secret, sealed): (Digest32, Sealed),
    step: u64,
    codes: Vec<Digest32>,
) -> Result<(), Refusal> {
    let (person, _) = own(d, caller)?;
    if d.state.factors.get(&person).is_some_and(|f| f.totp.is_some()) {
        return Err(Refusal::WrongState("set up already; remove it first"));
    }
    d.emit(Event::TotpSet { person, secret, step });
    d.beside(SideWrite::Factor { person, factor: secret, sealed });
    made(d, person, codes);
    Ok(())
}

/// Takes it away, and the recovery codes with it.
pub(crate) fn remove_totp(d: &mut Draft<'_>, caller: &Caller) -> Result<(), Refusal> {
    let (person, _) = own(d, caller)?;
    let totp = d.state.factors.get(&person).and_then(|f| f.totp).ok_or(Refusal::NotFound)?;
    d.emit(Event::TotpRemoved { person });
    d.beside(SideWrite::DropFactor { person, factor: totp.secret });
    Ok(())
}

/// New recovery codes; the old ones open nothing any more.
pub(crate) fn make_recovery_codes(
    d: &mut Draft<'_>,
    caller: &Caller,
    codes: Vec<Digest32>,
) -> Result<(), Refusal> {
    let (person, _) = own(d, caller)?;
    if d.state.factors.get(&person).is_none_or(|f| f.totp.is_none()) {
        return Err(Refusal::WrongState("without codes of an app; set them up first"));
    }
    made(d, person, codes);
    Ok(())
}

fn made(d: &mut Draft<'_>, person: PersonId, mut codes: Vec<Digest32>) {
    codes.sort_unstable();
    codes.dedup();
    d.emit(Event::RecoveryCodesMade { person, codes });
}

/// A passkey that the door has seen made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshPasskey {
    /// The digest of the authenticator's own identifier.
    pub credential: Digest32,
    /// How its person calls it.
    pub name: String,
    /// Its public key.
    pub sealed: Sealed,
}

/// Adds a passkey. One authenticator's key belongs to one person.
pub(crate) fn add_passkey(
    d: &mut Draft<'_>,
    caller: &Caller,
    fresh: FreshPasskey,
) -> Result<(), Refusal> {
    let (person, _) = own(d, caller)?;
    let name = text::name("name", &fresh.name)?;
    if d.state.passkeys.contains_key(&fresh.credential) {
        return Err(Refusal::Taken("passkey"));
    }
    let has = d.state.factors.get(&person).map_or(0, |f| f.passkeys.len());
    if has >= MOST_PASSKEYS {
        return Err(Refusal::WrongState("full; remove a passkey first"));
    }
    let passkey = PasskeyId(d.id());
    let name = d.word(Subject::Person(person), name);
    let FreshPasskey { credential, sealed, .. } = fresh;
    d.emit(Event::PasskeyAdded { person, passkey, credential, name });
    d.beside(SideWrite::Factor { person, factor: credential, sealed });
    Ok(())
}

fn passkey(state: &State, person: PersonId, id: PasskeyId) -> Result<&Passkey, Refusal> {
    let has = state.factors.get(&person).ok_or(Refusal::NotFound)?;
    has.passkeys.iter().find(|p| p.id == id).ok_or(Refusal::NotFound)
}

/// Calls a passkey something else.
pub(crate) fn rename_passkey(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: PasskeyId,
    name: &str,
) -> Result<(), Refusal> {
    let (person, _) = own(d, caller)?;
    let known = passkey(&d.state, person, id)?.name;
    let name = text::name("name", name)?;
    if d.state.words.get(known) != Some(&*name) {
        let name = d.word(Subject::Person(person), name);
        d.emit(Event::PasskeyRenamed { person, passkey: id, name });
    }
    Ok(())
}

/// Takes a passkey away.
pub(crate) fn remove_passkey(
    d: &mut Draft<'_>,
    caller: &Caller,
    id: PasskeyId,
) -> Result<(), Refusal> {
    let (person, _) = own(d, caller)?;
    let factor = passkey(&d.state, person, id)?.credential;
    d.emit(Event::PasskeyRemoved { person, passkey: id });
    d.beside(SideWrite::DropFactor { person, factor });
    Ok(())
}

/// Sets another password. `proven` is whether the door has checked the old one; without it only a
/// passkey's sign-in will do. Whatever was open ends, and the caller goes on by a new sign-in.
pub(crate) fn change_password(
    d: &mut Draft<'_>,
    caller: &Caller,
    proven: bool,
    password_hash: String,
    digest: Digest32,
) -> Result<(), Refusal> {
    let (person, sign_in) = own_sign_in(caller)?;
    let (_, acr) = own(d, caller)?;
    if !proven && acr != Acr::PhishingResistant {
        return Err(Refusal::invalid("current_password", "is wrong"));
    }
    let at = d.state.sign_ins.get(sign_in).map_or(d.now(), |s| s.at);
    d.emit(Event::PasswordSet { person });
    d.beside(SideWrite::Credential(person, password_hash));
    end_stays(d, person);
    begin(d, caller, person, digest, Proof::Earlier { acr, at });
    Ok(())
}

/// The builder takes away everything but the password of somebody who has lost their devices, and
/// every sign-in with it. The password stays: a platform key alone is no way into an account.
pub(crate) fn reset(
    d: &mut Draft<'_>,
    caller: &Caller,
    organisation: OrganisationId,
    external: &str,
) -> Result<(), Refusal> {
    organisation::provision(d, caller, Action::ResetFactors, organisation)?;
    let person = d.state.words.find(Lookup::Member(organisation), external).map(PersonId);
    let person = person.ok_or(Refusal::NotFound)?;
    d.emit(Event::FactorsReset { person });
    d.beside(SideWrite::EraseFactors(Some(person)));
    end_stays(d, person);
    Ok(())
}
