//! What people prove with who they are.

use crate::event::Event;
use crate::factor::{Factors, Passkey, Proof, Totp};
use crate::ids::PersonId;
use crate::state::State;
use crate::time::Instant;

use super::Context;
use super::people::raise_epoch;

pub(super) fn factors(state: &mut State, c: &Context<'_>, event: &Event) {
    match event {
        Event::TotpSet { person, secret, step } => {
            let totp = Totp { secret: *secret, made: c.at, step: *step };
            change(state, *person, |f| f.totp = Some(totp));
        }
        Event::TotpRemoved { person } => {
            change(state, *person, |f| {
                f.totp = None;
                f.recovery.clear();
            });
        }
        Event::RecoveryCodesMade { person, codes } => {
            change(state, *person, |f| f.recovery.clone_from(codes));
        }
        Event::PasskeyAdded { person, passkey, credential, name } => {
            let name = c.word(state, *name);
            let made = Passkey {
                id: *passkey,
                credential: *credential,
                name,
                counter: 0,
                begun: None,
                made: c.at,
                used: None,
            };
            state.passkeys.insert(*credential, *person);
            change(state, *person, |f| f.passkeys.push(made));
        }
        Event::PasskeyRenamed { person, passkey, name } => {
            let name = c.word(state, *name);
            let mut old = None;
            change(state, *person, |f| {
                if let Some(known) = f.passkeys.iter_mut().find(|p| p.id == *passkey) {
                    old = Some(std::mem::replace(&mut known.name, name));
                }
            });
            old.into_iter().for_each(|word| state.words.drop(word));
        }
        Event::PasskeyRemoved { person, passkey } => {
            let mut gone = None;
            change(state, *person, |f| {
                let place = f.passkeys.iter().position(|p| p.id == *passkey);
                gone = place.map(|place| f.passkeys.remove(place));
            });
            forget(state, gone);
        }
        Event::FactorsReset { person } => {
            end_factors(state, *person);
            raise_epoch(state, *person);
        }
        _ => {}
    }
}

/// Changes a person's factors; who has none stands nowhere.
fn change(state: &mut State, person: PersonId, change: impl FnOnce(&mut Factors)) {
    let mut has = state.factors.get(&person).cloned().unwrap_or_default();
    change(&mut has);
    if has == Factors::default() {
        state.factors.remove(&person);
    } else {
        state.factors.insert(person, has);
    }
}

fn forget(state: &mut State, gone: impl IntoIterator<Item = Passkey>) {
    for passkey in gone {
        state.passkeys.remove(&passkey.credential);
        state.words.drop(passkey.name);
    }
}

/// Everything but the password goes.
pub(super) fn end_factors(state: &mut State, person: PersonId) {
    if let Some(has) = state.factors.remove(&person) {
        forget(state, has.passkeys);
    }
}

/// What a sign-in has used up.
pub(super) fn used(state: &mut State, person: PersonId, proof: Proof, at: Instant) {
    match proof {
        Proof::Password | Proof::Earlier { .. } => {}
        Proof::Totp { step } => change(state, person, |f| {
            if let Some(totp) = &mut f.totp {
                totp.step = totp.step.max(step);
            }
        }),
        Proof::Recovery { code } => {
            change(state, person, |f| f.recovery.retain(|known| *known != code));
        }
        Proof::Passkey { credential, counter, begun } => change(state, person, |f| {
            if let Some(known) = f.passkeys.iter_mut().find(|p| p.credential == credential) {
                known.counter = known.counter.max(counter);
                known.begun = known.begun.max(Some(begun));
                known.used = Some(at);
            }
        }),
    }
}
