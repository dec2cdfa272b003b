//! Signing in, and proving it anew.
//!
//! What a door checks here, the kernel judges again at the head of the log: that the password is still
//! that one, that the code's step, the recovery code or the passkey's signature was not used (T22).

use comity_domain::command::{Caller, Command, Door, Principal};
use comity_domain::event::Event;
use comity_domain::factor::{Acr, Proof};
use comity_domain::ids::{Digest32, PersonId, SignInId};
use comity_domain::refusal::Refusal;
use comity_domain::text::{self, Lookup};
use comity_domain::time::{Instant, MINUTE};
use comity_store::{Reader, StoreError};

use super::{App, Failure};
use crate::node::Done;
use crate::people::codes::{self, TotpSecret};
use crate::people::passkeys::{self, Answer, CEREMONY_LASTS};
use crate::people::passwords;
use crate::people::tries::{Limit, PER_PERSON, PER_TICKET};
use crate::random;
use crate::tokens::{self, Kind, Secret};

/// How long somebody who has shown the password may look for the code.
pub const TICKET_LASTS: i64 = 5 * MINUTE;
const TICKET: &str = "second_factor";
const PASSKEY_SIGN_IN: &str = "passkey/sign_in";

/// A new sign-in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The bearer token, shown once.
    pub token: Secret,
    /// Who.
    pub person: PersonId,
    /// Until when.
    pub until: Instant,
    /// How well they proved it.
    pub acr: Acr,
}

/// Something sealed that its holder brings back. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(String);

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket(..)")
    }
}

impl Ticket {
    /// The text, to hand out: base64url without padding (RFC 4648).
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What an address and its password have led to.
#[derive(Debug, Clone)]
pub enum Entered {
    /// A sign-in.
    In(SignedIn),
    /// The question for a code, of an app or for recovery.
    SecondFactorNeeded {
        /// For [`App::second_factor`], on whatever node.
        ticket: Ticket,
        /// Until when.
        until: Instant,
    },
}

/// What a browser's authenticator is asked.
#[derive(Debug, Clone)]
pub struct Ceremony {
    /// To be brought back with the answer, to whatever node.
    pub ceremony: Ticket,
    /// For `navigator.credentials`: `{"publicKey": …}` with base64url in place of bytes.
    pub options: serde_json::Value,
    /// Until when.
    pub until: Instant,
}

/// By what a person proves anew who they are.
pub enum Shown {
    /// By the password, and a code where one is set up.
    Password {
        /// The password.
        password: String,
        /// A code of the app, or a recovery code.
        code: Option<String>,
    },
    /// By a passkey.
    Passkey {
        /// Of [`App::begin_passkey_sign_in`].
        ceremony: String,
        /// What the authenticator answered, as its `toJSON()` writes it.
        answer: serde_json::Value,
    },
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(..)",
            Self::Passkey { .. } => "Passkey(..)",
        })
    }
}

/// A command with what is shown once it is carried out, and never again.
#[derive(Debug)]
pub struct Prepared<T> {
    /// For the writer, by the caller for whom it was prepared.
    pub command: Command,
    /// What is shown then.
    pub shown: T,
}

impl SignedIn {
    /// What a row made of a sign-in with this token.
    #[must_use]
    pub fn of(done: &Done, token: Secret) -> Option<Self> {
        let own = token.digest();
        done.row.iter().flat_map(|row| &row.events).find_map(|e| match e.event {
            Event::SignedIn { person, until, proof, digest, .. } if digest == own => {
                Some(Self { token: token.clone(), person, until, acr: proof.acr() })
            }
            _ => None,
        })
    }
}

/// Whatever was wrong, it looks the same (T26).
fn wrong() -> Failure {
    Refusal::NotFound.into()
}

impl App {
    // -- sealed tickets ---------------------------------------------------------------------------

    /// Seals something for a place until a time.
    pub(super) fn ticket(&self, place: &str, until: Instant, plain: &[u8]) -> Ticket {
        use base64::Engine as _;
        let sealed = self.keys().seal(place, &passkeys::dated(until, plain));
        Ticket(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sealed.0))
    }

    /// Opens it again, with when it ends; `None` for anything else, and for what is over.
    pub(super) fn open_ticket(&self, place: &str, text: &str) -> Option<(Instant, Vec<u8>)> {
        use base64::Engine as _;
        let sealed = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
        let plain = self.keys().open_sealed(place, &sealed)?;
        let (until, rest) = passkeys::undated(&plain)?;
        (self.now() < until).then(|| (until, rest.to_vec()))
    }

    /// Reads beside the writer. Not on an async thread: on PostgreSQL this waits for the network.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Failure> {
        let reader = self.reader().clone();
        let reading = tokio::task::spawn_blocking(move || read(&reader)).await;
        Ok(reading.map_err(|e| Failure::Broken(e.to_string()))??)
    }

    /// What a factor is checked with, opened.
    pub(super) async fn factor(
        &self,
        person: PersonId,
        factor: Digest32,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let sealed = self.reading(move |r| r.factor(person, factor)).await?;
        let place = factor_place(person, factor);
        Ok(sealed.and_then(|sealed| self.keys().open_sealed(&place, &sealed)))
    }

    // -- sign-in ----------------------------------------------------------------------------------

    /// Signs a person in by address and password. Every failure looks the same. Where codes are set
    /// up, the password alone gives no sign-in.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for whatever was wrong.
    pub async fn sign_in(
        &self,
        door: Door,
        email: &str,
        password: String,
    ) -> Result<Entered, Failure> {
        let entered = self.try_sign_in(door, email, password).await;
        if !matches!(entered, Ok(Entered::SecondFactorNeeded { .. })) {
            self.metrics().signed_in(entered.is_ok());
        }
        entered
    }

    async fn try_sign_in(
        &self,
        door: Door,
        email: &str,
        password: String,
    ) -> Result<Entered, Failure> {
        let state = self.state();
        let known = text::email("email", email)
            .ok()
            .and_then(|email| state.words.find(Lookup::Email, &email))
            .map(PersonId);
        let epoch = known.and_then(|p| state.people.get(p)).map_or(0, |p| p.auth_epoch);
        let fits = self.password_fits(known, password).await?;
        let (true, Some(person)) = (fits, known) else {
            return Err(wrong());
        };
        if state.factors.get(&person).is_some_and(|f| f.totp.is_some()) {
            let until = self.now().plus(TICKET_LASTS);
            let nonce: [u8; 16] = random::bytes();
            let plain = [&person.0.to_be_bytes()[..], &epoch.to_be_bytes(), &nonce].concat();
            let ticket = self.ticket(TICKET, until, &plain);
            return Ok(Entered::SecondFactorNeeded { ticket, until });
        }
        self.let_in(door, person, epoch, Proof::Password).await.map(Entered::In)
    }

    /// Whether this is the person's password. Nobody's takes as long (T26).
    pub(super) async fn password_fits(
        &self,
        person: Option<PersonId>,
        password: String,
    ) -> Result<bool, Failure> {
        // Somebody who is not there is looked up all the same, so that it takes as long.
        let looked_up = person.unwrap_or(PersonId::MIN);
        let hash = self.reading(move |r| r.credential(looked_up)).await?;
        let hasher = self.passwords.clone();
        Ok(self.passwords.slowly(move || hasher.verify(&password, hash.as_deref())).await?)
    }

    async fn let_in(
        &self,
        door: Door,
        person: PersonId,
        auth_epoch: u32,
        proof: Proof,
    ) -> Result<SignedIn, Failure> {
        let token = Secret::new(Kind::SignIn);
        let caller = Caller { principal: Principal::Anonymous, door };
        let digest = token.digest();
        let command = Command::SignIn { person, auth_epoch, digest, proof };
        let done = self.run(&caller, command).await?;
        SignedIn::of(&done, token).ok_or_else(|| Failure::Broken("a sign-in has no row".into()))
    }

    /// Completes a sign-in by a code of the app, or a recovery code.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for whatever was wrong, also for a ticket that a new password has made
    /// worthless; [`Failure::TooOften`] after five tries with a ticket, or ten wrong codes of a
    /// person within an hour, on this node.
    pub async fn second_factor(
        &self,
        door: Door,
        ticket: &str,
        code: &str,
    ) -> Result<SignedIn, Failure> {
        let result = self.try_second_factor(door, ticket, code).await;
        self.metrics().signed_in(result.is_ok());
        result
    }

    async fn try_second_factor(
        &self,
        door: Door,
        ticket: &str,
        code: &str,
    ) -> Result<SignedIn, Failure> {
        let (_, plain) = self.open_ticket(TICKET, ticket).ok_or_else(wrong)?;
        let (person, rest) = plain.split_first_chunk::<16>().ok_or_else(wrong)?;
        let (epoch, _) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (person, epoch) = (PersonId(u128::from_be_bytes(*person)), u32::from_be_bytes(*epoch));
        self.may_try(Digest32::of(&plain).0, PER_TICKET)?;
        let proof = self.code_proves(person, code, None).await?;
        self.let_in(door, person, epoch, proof).await
    }

    fn may_try(&self, key: [u8; 32], limit: Limit) -> Result<(), Failure> {
        let too_often = |seconds| Failure::TooOften { most: limit.most, per: limit.per, seconds };
        self.tries.take(key, limit, self.now()).map_err(too_often)
    }

    /// What a code proves; a wrong one of an app is counted. Those of each sign-in that is `own` are
    /// counted by themselves: whoever guesses with a stolen password keeps nobody who is in from
    /// changing it, and nobody from a recovery code, which is too long to be guessed.
    async fn code_proves(
        &self,
        person: PersonId,
        code: &str,
        own: Option<SignInId>,
    ) -> Result<Proof, Failure> {
        let code = codes::plain(code);
        if !codes::is_of_app(&code) {
            return self.look_at_code(person, &code).await;
        }
        let who = own.map_or_else(|| person.to_string(), |own| format!("{person}/{own}"));
        let key = self.keys().mac(format!("tries/code/{who}").as_bytes());
        self.may_try(key, PER_PERSON)?;
        let proof = self.look_at_code(person, &code).await?;
        self.tries.give_back(key);
        Ok(proof)
    }

    async fn look_at_code(&self, person: PersonId, code: &str) -> Result<Proof, Failure> {
        let state = self.state();
        let has = state.factors.get(&person).ok_or_else(wrong)?;
        let totp = has.totp.ok_or_else(wrong)?;
        if !codes::is_of_app(code) {
            let code = codes::recovery_digest(self.keys(), person, code);
            let known = has.recovery.contains(&code);
            return known.then_some(Proof::Recovery { code }).ok_or_else(wrong);
        }
        let secret = self.factor(person, totp.secret).await?;
        let secret = secret.and_then(|s| TotpSecret::read(&s)).ok_or_else(wrong)?;
        let step = secret.check(code, self.now()).filter(|step| *step > totp.step);
        step.map(|step| Proof::Totp { step }).ok_or_else(wrong)
    }

    // -- passkeys ---------------------------------------------------------------------------------

    /// Begins a sign-in by a passkey: of whoever's the authenticator has, without an address.
    ///
    /// # Errors
    /// `wrong_state` where the issuer is no host name: passkeys belong to one.
    pub fn begin_passkey_sign_in(&self) -> Result<Ceremony, Failure> {
        let (options, state) = self.passkeys.begin().ok_or(NO_PASSKEYS)?;
        let until = self.now().plus(CEREMONY_LASTS);
        Ok(Ceremony { ceremony: self.ticket(PASSKEY_SIGN_IN, until, &state), options, until })
    }

    /// Completes it with what the authenticator answered.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for whatever was wrong.
    pub async fn finish_passkey_sign_in(
        &self,
        door: Door,
        ceremony: &str,
        answer: serde_json::Value,
    ) -> Result<SignedIn, Failure> {
        let result = async {
            let (person, epoch, proof) = self.passkey_proves(ceremony, answer).await?;
            self.let_in(door, person, epoch, proof).await
        };
        let result = result.await;
        self.metrics().signed_in(result.is_ok());
        result
    }

    /// Whose passkey signed, what their epoch was, and what that proves.
    async fn passkey_proves(
        &self,
        ceremony: &str,
        answer: serde_json::Value,
    ) -> Result<(PersonId, u32, Proof), Failure> {
        let (until, asked) = self.open_ticket(PASSKEY_SIGN_IN, ceremony).ok_or_else(wrong)?;
        let answer = Answer::read(answer).ok_or_else(wrong)?;
        let (state, credential) = (self.state(), answer.credential());
        let person = state.passkey_owner(credential).ok_or_else(wrong)?;
        if answer.person().is_some_and(|said| said != person) {
            return Err(wrong());
        }
        let epoch = state.people.get(person).map_or(0, |p| p.auth_epoch);
        let stored = self.factor(person, credential).await?.ok_or_else(wrong)?;
        let proven = self.passkeys.end(&asked, &answer, &stored).ok_or_else(wrong)?;
        let begun = until.plus(-CEREMONY_LASTS);
        Ok((person, epoch, Proof::Passkey { credential, counter: proven.counter, begun }))
    }

    // -- proving it anew --------------------------------------------------------------------------

    /// Looks at what a person shows to prove anew who they are. The command makes a sign-in that takes
    /// the place of theirs in one row; `shown` is its token.
    ///
    /// # Errors
    /// `invalid` naming what was wrong, [`Failure::TooOften`].
    pub async fn prepare_step_up(
        &self,
        caller: &Caller,
        shown: Shown,
    ) -> Result<Prepared<Secret>, Failure> {
        let person = caller.person().ok_or_else(wrong)?;
        let proof = match shown {
            Shown::Password { password, code } => {
                self.password_proves(caller, person, password, code).await?
            }
            Shown::Passkey { ceremony, answer } => {
                let invalid =
                    || Refusal::invalid("passkey", "is not one of yours, or was too late");
                match self.passkey_proves(&ceremony, answer).await {
                    Ok((whose, _, proof)) if whose == person => proof,
                    Ok(_) | Err(Failure::Refused(_)) => return Err(invalid().into()),
                    Err(other) => return Err(other),
                }
            }
        };
        let token = Secret::new(Kind::SignIn);
        let command = Command::StepUp { digest: token.digest(), proof };
        Ok(Prepared { command, shown: token })
    }

    async fn password_proves(
        &self,
        caller: &Caller,
        person: PersonId,
        password: String,
        code: Option<String>,
    ) -> Result<Proof, Failure> {
        let needs = self.state().factors.get(&person).is_some_and(|f| f.totp.is_some());
        if needs && code.is_none() {
            return Err(Refusal::invalid("code", "is needed: codes are set up").into());
        }
        self.password_is(person, password, "password").await?;
        let Some(code) = code.filter(|_| needs) else {
            return Ok(Proof::Password);
        };
        let own = match caller.principal {
            Principal::Person { sign_in, .. } => Some(sign_in),
            _ => None,
        };
        match self.code_proves(person, &code, own).await {
            Err(Failure::Refused(_)) => {
                Err(Refusal::invalid("code", "is wrong, or was used already").into())
            }
            other => other,
        }
    }

    /// That it is the password of somebody who is signed in; a wrong one is counted.
    async fn password_is(
        &self,
        person: PersonId,
        password: String,
        field: &'static str,
    ) -> Result<(), Failure> {
        let key = self.keys().mac(format!("tries/password/{person}").as_bytes());
        self.may_try(key, PER_PERSON)?;
        if !self.password_fits(Some(person), password).await? {
            return Err(Refusal::invalid(field, "is wrong").into());
        }
        self.tries.give_back(key);
        Ok(())
    }

    /// Proves anew who the caller is: [`App::prepare_step_up`], and carried out.
    ///
    /// # Errors
    /// As there.
    pub async fn step_up(&self, caller: &Caller, shown: Shown) -> Result<SignedIn, Failure> {
        let prepared = self.prepare_step_up(caller, shown).await?;
        let done = self.run(caller, prepared.command).await?;
        SignedIn::of(&done, prepared.shown)
            .ok_or_else(|| Failure::Broken("a sign-in has no row".into()))
    }

    // -- passwords --------------------------------------------------------------------------------

    /// Sets a first password with an enrolment token.
    ///
    /// # Errors
    /// `not_found` for a token that opens nothing, `invalid` for a weak password.
    pub async fn enrol(&self, token: &str, password: String) -> Result<(), Failure> {
        passwords::acceptable(&password)?;
        let Some((Kind::Enrolment, token)) = tokens::parse(token) else {
            return Err(wrong());
        };
        if self.state().enrolling(token).is_none() {
            return Err(wrong()); // before anything is hashed for nobody
        }
        let password_hash = self.hashed(password).await?;
        let caller = Caller { principal: Principal::Anonymous, door: Door::Api };
        self.run(&caller, Command::Enrol { token, password_hash }).await?;
        Ok(())
    }

    pub(super) async fn hashed(&self, password: String) -> Result<String, Failure> {
        let hasher = self.passwords.clone();
        let hash = self.passwords.slowly(move || hasher.hash(&password)).await?;
        hash.ok_or_else(|| Failure::Broken("argon2 failed".into()))
    }

    /// Another password. Without the `current` one only a sign-in by a passkey will do. Every sign-in
    /// ends; `shown` is the token by which the caller goes on.
    ///
    /// # Errors
    /// `fresh_sign_in_required` and `stronger_sign_in_required` before anything is looked at,
    /// `invalid` naming the field.
    pub async fn prepare_password(
        &self,
        caller: &Caller,
        current: Option<String>,
        password: String,
    ) -> Result<Prepared<Secret>, Failure> {
        let person = self.manages_factors(caller)?;
        passwords::acceptable(&password)?;
        let proven = current.is_some();
        if let Some(current) = current {
            self.password_is(person, current, "current_password").await?;
        }
        let password_hash = self.hashed(password).await?;
        let token = Secret::new(Kind::SignIn);
        let command = Command::ChangePassword { proven, password_hash, digest: token.digest() };
        Ok(Prepared { command, shown: token })
    }
}

/// Where the issuer is no host name.
pub(super) const NO_PASSKEYS: Refusal =
    Refusal::WrongState("without passkeys here: the issuer is no host name");

/// What binds what a factor is checked with to its person and its digest in the log.
pub(super) fn factor_place(person: PersonId, factor: Digest32) -> String {
    format!("factor/{person}/{factor}")
}
