//! Local passwords: argon2id (RFC 9106) with the installation's pepper.
//!
//! A hash takes one core for tens of milliseconds and 46 MiB, so at most two run at once and a
//! short queue waits; more are refused rather than let them drown the rest (T46). A sign-in for an
//! address that is not known costs the same as one that is (T26).

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use comity_domain::refusal::Refusal;
use tokio::sync::Semaphore;

use crate::keys::Keys;

/// How many hashes run at once.
const AT_ONCE: usize = 2;
/// How many may run or wait.
const QUEUE: usize = 32;

/// What a hash costs.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
}

impl Cost {
    /// The default: 46 MiB, one pass, one lane (OWASP ASVS 5.0, appendix C).
    pub const DEFAULT: Self = Self { memory_kib: 46 * 1024, passes: 1 };
    /// The lighter choice of the same list: 19 MiB, two passes.
    pub const LIGHT: Self = Self { memory_kib: 19 * 1024, passes: 2 };
    /// For tests only.
    pub const TESTS: Self = Self { memory_kib: 64, passes: 1 };
}

/// The hasher.
pub struct Passwords {
    pepper: [u8; 32],
    cost: Cost,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// What an unknown address is checked against.
    decoy: String,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords(..)")
    }
}

/// Too many hashes are waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Passwords {
    /// A hasher with the installation's pepper.
    #[must_use]
    pub fn new(keys: &Keys, cost: Cost) -> Self {
        let mut made = Self {
            pepper: *keys.pepper(),
            cost,
            running: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(QUEUE)),
            decoy: String::new(),
        };
        made.decoy = made.hash("a password that nobody has").unwrap_or_default();
        made
    }

    fn argon(&self) -> Option<Argon2<'_>> {
        let params = Params::new(self.cost.memory_kib, self.cost.passes, 1, None).ok()?;
        Argon2::new_with_secret(&self.pepper, Algorithm::Argon2id, Version::V0x13, params).ok()
    }

    /// A PHC string for a password. Slow; not for an async thread.
    #[must_use]
    pub fn hash(&self, password: &str) -> Option<String> {
        let salt: [u8; 16] = crate::random::bytes();
        let hash = self.argon()?.hash_password_with_salt(password.as_bytes(), &salt).ok()?;
        Some(hash.to_string())
    }

    /// Whether the password fits the stored hash. Slow; not for an async thread. Without a hash it
    /// takes as long and is no.
    #[must_use]
    pub fn verify(&self, password: &str, hash: Option<&str>) -> bool {
        let Some(argon) = self.argon() else {
            return false;
        };
        let Ok(parsed) = PasswordHash::new(hash.unwrap_or(&self.decoy)) else {
            return false;
        };
        let fits = argon.verify_password(password.as_bytes(), &parsed).is_ok();
        fits && hash.is_some()
    }

    /// Runs slow work off the async threads, at most two at once.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub async fn slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let waiting = self.waiting.clone().try_acquire_owned().map_err(|_| Busy)?;
        let running = self.running.clone().acquire_owned().await.map_err(|_| Busy)?;
        // The work keeps its places: a caller that hangs up does not make room for another hash.
        let work = move || {
            let done = work();
            drop((waiting, running));
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Busy)
    }
}

/// Whether a password may be set: 15 to 128 characters, not the address, not one sign repeated.
///
/// # Errors
/// `invalid` naming `password`.
pub fn acceptable(password: &str) -> Result<(), Refusal> {
    let count = password.chars().count();
    if !(15..=128).contains(&count) {
        return Err(Refusal::invalid("password", "must have 15 to 128 characters"));
    }
    let mut distinct: Vec<char> = password.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < 5 {
        return Err(Refusal::invalid("password", "must not repeat a few characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t26_an_unknown_address_is_checked_all_the_same_and_is_no() {
        let passwords = Passwords::new(&Keys::from_secret(&[1; 32]), Cost::TESTS);
        let hash = passwords.hash("correct horse battery").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(passwords.verify("correct horse battery", Some(&hash)));
        assert!(!passwords.verify("correct horse batterx", Some(&hash)));
        assert!(!passwords.verify("a password that nobody has", None));
        let other = Passwords::new(&Keys::from_secret(&[2; 32]), Cost::TESTS);
        assert!(!other.verify("correct horse battery", Some(&hash)), "the pepper is part of it");
    }

    #[tokio::test]
    async fn t46_who_hangs_up_makes_no_room_for_another_hash() {
        let passwords = Passwords::new(&Keys::from_secret(&[1; 32]), Cost::TESTS);
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        for _ in 0..AT_ONCE {
            let wait = wait.clone();
            let work = passwords.slowly(move || drop(wait.lock().map(|w| w.recv())));
            let short = std::time::Duration::from_millis(50);
            assert!(tokio::time::timeout(short, work).await.is_err(), "the caller hung up");
        }
        assert_eq!(
            passwords.running.available_permits(),
            0,
            "the work goes on and keeps its place"
        );
        for _ in 0..AT_ONCE {
            done.send(()).unwrap();
        }
        assert!(passwords.slowly(|| true).await.is_ok());
    }
}
