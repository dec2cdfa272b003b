//! The installation's key file, and what is derived from it.
//!
//! One secret of 32 bytes outside the database: without it a stolen database gives away neither a
//! password by guessing nor a customer ID (T48). Made on first start with mode 0600; a file that
//! others may read is refused (T54). Each use has a key of its own, derived by HMAC-SHA256
//! (RFC 2104) from a label.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use comity_domain::command::Sealed;
use comity_domain::ids::Digest32;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::random;

/// The derived keys. Shows nothing of itself.
pub struct Keys {
    seal: [u8; 32],
    pepper: [u8; 32],
    mac: [u8; 32],
    again: [u8; 32],
    snapshot: SnapshotKey,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// What snapshots are sealed with: by its own key, so that a thread that takes them holds no other.
#[derive(Clone)]
pub struct SnapshotKey([u8; 32]);

impl std::fmt::Debug for SnapshotKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SnapshotKey(..)")
    }
}

impl SnapshotKey {
    /// HMAC-SHA256 (RFC 2104) over what a snapshot says of itself.
    #[must_use]
    pub fn seal(&self, header: &[u8]) -> [u8; 32] {
        mac_of(&self.0, header)
    }

    /// Whether `seal` is the one over `header`, compared in constant time.
    #[must_use]
    pub fn fits(&self, header: &[u8], seal: &[u8]) -> bool {
        self.seal(header).ct_eq(seal).into()
    }
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or made.
    #[error("key file {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("key file {path} has mode {mode:04o}; others may read it: run chmod 600 on it")]
    TooOpen {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error("key file {0} must hold 64 hexadecimal digits and nothing else")]
    Shape(PathBuf),
}

fn derive(master: &[u8], label: &str) -> [u8; 32] {
    mac_of(master, label.as_bytes())
}

fn mac_of(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length, so making one cannot fail.
    let Ok(mut mac) = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) else {
        return [0; 32];
    };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Reads a file of 32 secret bytes, making it where there is none. Says whether it was made.
///
/// # Errors
/// See [`KeyError`].
pub fn secret_file(path: &Path) -> Result<([u8; 32], bool), KeyError> {
    let io = |source| KeyError::Io { path: path.to_path_buf(), source };
    let made = match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let secret: [u8; 32] = random::bytes();
            let text: String = secret.iter().map(|b| format!("{b:02x}")).collect();
            file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(io)?;
            file.sync_all().map_err(io)?;
            // A secret that a power failure takes away is the end of all that it sealed.
            let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
            let folder = fs::File::open(folder.unwrap_or(Path::new("."))).map_err(io)?;
            folder.sync_all().map_err(io)?;
            true
        }
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(e) => return Err(io(e)),
    };
    let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::TooOpen { path: path.to_path_buf(), mode });
    }
    let text = fs::read_to_string(path).map_err(io)?;
    let shape = || KeyError::Shape(path.to_path_buf());
    let secret: Digest32 = text.trim().parse().map_err(|_| shape())?;
    Ok((secret.0, made))
}

impl Keys {
    /// Reads the key file, making it on first start. Says whether it was made.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn open(path: &Path) -> Result<(Self, bool), KeyError> {
        let (secret, made) = secret_file(path)?;
        Ok((Self::from_secret(&secret), made))
    }

    /// Keys from a secret at hand.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self {
            seal: derive(secret, "comity/seal/1"),
            pepper: derive(secret, "comity/pepper/1"),
            mac: derive(secret, "comity/mac/1"),
            again: derive(secret, "comity/again/1"),
            snapshot: SnapshotKey(derive(secret, "comity/snapshot/1")),
        }
    }

    /// The secret that goes into every password hash.
    #[must_use]
    pub fn pepper(&self) -> &[u8; 32] {
        &self.pepper
    }

    /// The key of snapshots.
    #[must_use]
    pub fn snapshot(&self) -> &SnapshotKey {
        &self.snapshot
    }

    /// Seals bytes for a place: XChaCha20-Poly1305 with the place as associated data, so that what
    /// was sealed for one row opens in no other.
    #[must_use]
    pub fn seal(&self, place: &str, plain: &[u8]) -> Sealed {
        let nonce: [u8; 24] = random::bytes();
        let cipher = XChaCha20Poly1305::new(&self.seal.into());
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).unwrap_or_default();
        Sealed([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for this place; `None` for anything else.
    #[must_use]
    pub fn open_sealed(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<24>()?;
        let cipher = XChaCha20Poly1305::new(&self.seal.into());
        cipher.decrypt(&XNonce::from(*nonce), Payload { msg: rest, aad: place.as_bytes() }).ok()
    }

    /// An authentication code over `message`, for cursors.
    #[must_use]
    pub fn mac(&self, message: &[u8]) -> [u8; 32] {
        mac_of(&self.mac, message)
    }

    /// A code over parts of a command that its caller may send again: without the key file nobody
    /// finds out by guessing what was sent. Each part is preceded by its length.
    #[must_use]
    pub fn again(&self, parts: &[&[u8]]) -> Digest32 {
        let mut message = Vec::new();
        for part in parts {
            message.extend((part.len() as u64).to_be_bytes());
            message.extend(*part);
        }
        Digest32(mac_of(&self.again, &message))
    }

    /// Whether `code` is the one over `message`, compared in constant time.
    #[must_use]
    pub fn verify_mac(&self, message: &[u8], code: &[u8]) -> bool {
        self.mac(message).ct_eq(code).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t48_what_is_sealed_for_one_place_opens_in_no_other() {
        let keys = Keys::from_secret(&[1; 32]);
        let sealed = keys.seal("customer_id/1", b"code").0;
        assert_eq!(keys.open_sealed("customer_id/1", &sealed).as_deref(), Some(b"code".as_slice()));
        assert_eq!(keys.open_sealed("customer_id/2", &sealed), None);
        assert_eq!(Keys::from_secret(&[2; 32]).open_sealed("customer_id/1", &sealed), None);
        assert!(!sealed.windows(4).any(|w| w == b"code"));
    }

    #[test]
    fn t54_a_key_file_is_private_and_a_readable_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(Keys::open(&path).unwrap().1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!Keys::open(&path).unwrap().1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keys::open(&path), Err(KeyError::TooOpen { mode: 0o644, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hello").unwrap();
        assert!(matches!(Keys::open(&path), Err(KeyError::Shape(_))));
    }
}
