//! Setting up what a person proves with beside a password. Each function looks at what the door was
//! shown and gives a [`Prepared`] command for the caller to run; the kernel judges it.

use comity_domain::command::{Caller, Command};
use comity_domain::factor::{self, FreshPasskey, RECOVERY_CODES};
use comity_domain::ids::{Digest32, PersonId};
use comity_domain::may::{self, Action, Thing};
use comity_domain::refusal::Refusal;
use comity_domain::time::{Instant, MINUTE};

use super::sign_in::{Ceremony, NO_PASSKEYS, Prepared, Ticket, factor_place};
use super::{App, Failure};
use crate::people::codes::{self, TotpSecret};
use crate::people::passkeys::CEREMONY_LASTS;

/// How long an app may take to be set up.
pub const SETUP_LASTS: i64 = 15 * MINUTE;

/// An app that is being set up.
#[derive(Clone)]
pub struct TotpSetup {
    /// To be brought back with a first code, to whatever node.
    pub setup: Ticket,
    /// The secret in base32 (RFC 4648), to be typed.
    pub secret: String,
    /// The `otpauth` URI that holds it, to be scanned.
    pub uri: String,
    /// Until when.
    pub until: Instant,
}

impl std::fmt::Debug for TotpSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TotpSetup").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Recovery codes in the clear, to be shown once. Its `Debug` form hides them.
#[derive(Clone)]
pub struct RecoveryCodes(pub Vec<String>);

impl std::fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryCodes(..)")
    }
}

fn setup_place(person: PersonId) -> String {
    format!("totp_setup/{person}")
}

fn making_place(person: PersonId) -> String {
    format!("passkey/make/{person}")
}

impl App {
    /// Whether there can be passkeys: whether the issuer is a host name.
    #[must_use]
    pub fn passkeys_are_possible(&self) -> bool {
        self.passkeys.are_possible()
    }

    /// Whether the caller may change what they prove with now: asked before anything costly is done,
    /// and again by the kernel.
    ///
    /// # Errors
    /// `fresh_sign_in_required`, `stronger_sign_in_required`.
    pub fn manages_factors(&self, caller: &Caller) -> Result<PersonId, Failure> {
        let person = caller.person().ok_or(Refusal::NotFound)?;
        let state = self.state();
        may::check(&state, caller, Action::ManageFactors, Thing::own(person), self.now())?;
        factor::strong_enough(&state, caller)?;
        Ok(person)
    }

    /// A person's address and name.
    fn called(&self, person: PersonId) -> Option<(String, String)> {
        let state = self.state();
        let known = state.people.get(person)?;
        let show = |word| state.words.show(word).to_owned();
        Some((show(known.email), show(known.name)))
    }

    /// Begins to set up an app that shows codes. Nothing is kept of it before a first code is shown.
    ///
    /// # Errors
    /// As [`App::manages_factors`]; `wrong_state` where one is set up.
    pub fn begin_totp(&self, caller: &Caller) -> Result<TotpSetup, Failure> {
        let person = self.manages_factors(caller)?;
        if self.state().factors.get(&person).is_some_and(|f| f.totp.is_some()) {
            return Err(Refusal::WrongState("set up already; remove it first").into());
        }
        let (email, _) = self.called(person).ok_or(Refusal::NotFound)?;
        let secret = TotpSecret::fresh();
        let uri = secret.uri(&email).ok_or_else(|| Failure::Broken("no otpauth URI".into()))?;
        let until = self.now().plus(SETUP_LASTS);
        let setup = self.ticket(&setup_place(person), until, secret.bytes());
        Ok(TotpSetup { setup, secret: secret.text(), uri, until })
    }

    /// Completes it by a code that the app shows. With it come recovery codes.
    ///
    /// # Errors
    /// `invalid` naming `setup` or `code`.
    pub fn prepare_totp(
        &self,
        caller: &Caller,
        setup: &str,
        code: &str,
    ) -> Result<Prepared<RecoveryCodes>, Failure> {
        let person = self.manages_factors(caller)?;
        let late = || Refusal::invalid("setup", "is over; begin again");
        let (_, secret) = self.open_ticket(&setup_place(person), setup).ok_or_else(late)?;
        let secret = TotpSecret::read(&secret).ok_or_else(late)?;
        let step = secret.check(&codes::plain(code), self.now());
        let step = step.ok_or_else(|| Refusal::invalid("code", "is not what the app shows now"))?;
        let place = factor_place(person, secret.digest());
        let (shown, codes) = self.fresh_codes(person);
        let sealed = self.keys().seal(&place, secret.bytes());
        let command = Command::SetTotp { secret: secret.digest(), sealed, step, codes };
        Ok(Prepared { command, shown })
    }

    /// New recovery codes in place of the old ones.
    ///
    /// # Errors
    /// As [`App::manages_factors`].
    pub fn prepare_recovery_codes(
        &self,
        caller: &Caller,
    ) -> Result<Prepared<RecoveryCodes>, Failure> {
        let person = self.manages_factors(caller)?;
        let (shown, codes) = self.fresh_codes(person);
        Ok(Prepared { command: Command::MakeRecoveryCodes { codes }, shown })
    }

    fn fresh_codes(&self, person: PersonId) -> (RecoveryCodes, Vec<Digest32>) {
        let shown: Vec<String> = (0..RECOVERY_CODES).map(|_| codes::recovery()).collect();
        let digest = |code: &String| codes::recovery_digest(self.keys(), person, code);
        let digests = shown.iter().map(digest).collect();
        (RecoveryCodes(shown), digests)
    }

    /// Begins to make a passkey.
    ///
    /// # Errors
    /// As [`App::manages_factors`]; `wrong_state` where the issuer is no host name.
    pub async fn begin_passkey(&self, caller: &Caller) -> Result<Ceremony, Failure> {
        let person = self.manages_factors(caller)?;
        let (email, name) = self.called(person).ok_or(Refusal::NotFound)?;
        let known: Vec<Digest32> = {
            let state = self.state();
            let has = state.factors.get(&person);
            has.into_iter().flat_map(|f| &f.passkeys).map(|p| p.credential).collect()
        };
        let mut stored = Vec::with_capacity(known.len());
        for credential in known {
            stored.extend(self.factor(person, credential).await?);
        }
        let begun = self.passkeys.begin_making(person, (&email, &name), &stored);
        let (options, state) = begun.ok_or(NO_PASSKEYS)?;
        let until = self.now().plus(CEREMONY_LASTS);
        let ceremony = self.ticket(&making_place(person), until, &state);
        Ok(Ceremony { ceremony, options, until })
    }

    /// Completes it with what the authenticator answered, as its `toJSON()` writes it.
    ///
    /// # Errors
    /// `invalid` naming `ceremony` or `passkey`.
    pub fn prepare_passkey(
        &self,
        caller: &Caller,
        ceremony: &str,
        answer: serde_json::Value,
        name: String,
    ) -> Result<Prepared<Digest32>, Failure> {
        let person = self.manages_factors(caller)?;
        let late = || Refusal::invalid("ceremony", "is over; begin again");
        let (_, asked) = self.open_ticket(&making_place(person), ceremony).ok_or_else(late)?;
        let made = self.passkeys.end_making(&asked, answer);
        let made = made.ok_or_else(|| Refusal::invalid("passkey", "is not what was asked for"))?;
        let sealed = self.keys().seal(&factor_place(person, made.credential), &made.stored);
        let credential = made.credential;
        let command = Command::AddPasskey(FreshPasskey { credential, name, sealed });
        Ok(Prepared { command, shown: credential })
    }
}
