//! Signed checkpoints: what the log commits itself to in front of others.
//!
//! A checkpoint states origin, size and root of the tree (c2sp.org/tlog-checkpoint) and is signed
//! as a note (c2sp.org/signed-note) by an Ed25519 key (RFC 8032). Witnesses and monitors of
//! transparency logs read it as it is.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use sha2::{Digest as _, Sha256};

use crate::merkle::Hash;

/// The algorithm byte of Ed25519 in key hashes and verifier keys.
const ED25519_TYPE: u8 = 0x01;

/// The name that the checkpoints of a log carry: `comity/` and the first 16 bytes of the leaf of
/// its first row, in hexadecimal.
///
/// That leaf is salted, so no two installations share it, and it goes with the log wherever the
/// log is moved: into a backup, to another machine, to another database.
#[must_use]
pub fn origin(first_leaf: &Hash) -> String {
    let id: String = first_leaf.iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("comity/{id}")
}

/// A tree, as its owner states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose: see [`origin`].
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// The text that is signed: three lines.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

impl Checkpoint {
    /// Reads the text of a note without its signatures. Lines after the third are extensions of
    /// others, and say nothing here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next().filter(|o| !o.is_empty())?.to_owned();
        let digits = lines.next()?;
        let size: u64 = digits.parse().ok()?;
        let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let plain = size.to_string() == digits && lines.all(|line| !line.is_empty());
        plain.then_some(Self { origin, size, root })
    }

    /// What a note says, whoever signed it, and its signature lines. Trust nothing of it.
    #[must_use]
    pub fn unverified(note: &str) -> Option<(Self, &str)> {
        let (text, signatures) = note.rsplit_once("\n\n")?;
        let text = note.get(..text.len().checked_add(1)?)?;
        Some((Self::parse(text)?, signatures))
    }
}

/// Why a note is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no checkpoint note.
    #[error("is no signed checkpoint")]
    Shape,
    /// It carries no signature by this key.
    #[error("is not signed by this key")]
    OtherKey,
    /// It carries one that does not fit.
    #[error("carries a signature that does not fit")]
    Signature,
    /// It is the checkpoint of another log.
    #[error("is of another log")]
    OtherLog,
}

/// Who signs. Shows nothing of its secret.
pub struct Signer {
    pair: Ed25519KeyPair,
    verifier: Verifier,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.verifier).finish()
    }
}

impl Signer {
    /// The key of this name made from 32 secret bytes; `None` if the name cannot stand in a note.
    #[must_use]
    pub fn new(name: &str, secret: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).ok()?;
        let key = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { pair, verifier: Verifier::new(name, key)? })
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The note over a tree of this log.
    #[must_use]
    pub fn sign(&self, size: u64, root: Hash) -> String {
        let origin = self.verifier.name.clone();
        let text = Checkpoint { origin, size, root }.to_string();
        let mut blob = self.verifier.hash().to_vec();
        blob.extend(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.verifier.name, STANDARD.encode(blob))
    }
}

/// A public key with its name; as text a verifier key of signed-note, `name+hash+key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: [u8; 32],
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = u32::from_be_bytes(self.hash());
        let key = [&[ED25519_TYPE][..], &self.key].concat();
        write!(f, "{}+{hash:08x}+{}", self.name, STANDARD.encode(key))
    }
}

impl FromStr for Verifier {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut pieces = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (pieces.next(), pieces.next(), pieces.next()) else {
            return Err(NoteError::Shape);
        };
        let key = STANDARD.decode(key).map_err(|_| NoteError::Shape)?;
        let (ED25519_TYPE, key) = key.split_first().map(|(t, k)| (*t, k)).unwrap_or_default()
        else {
            return Err(NoteError::Shape);
        };
        let key = key.try_into().map_err(|_| NoteError::Shape)?;
        let found = Self::new(name, key).ok_or(NoteError::Shape)?;
        if found.to_string() == text { Ok(found) } else { Err(NoteError::Shape) }
    }
}

impl Verifier {
    fn new(name: &str, key: [u8; 32]) -> Option<Self> {
        let fit = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        let fits = !name.is_empty() && name.chars().all(fit);
        fits.then(|| Self { name: name.to_owned(), key })
    }

    /// The name, which is the origin of the log's checkpoints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key).
    fn hash(&self) -> [u8; 4] {
        let mut sha = Sha256::new();
        sha.update(self.name.as_bytes());
        sha.update([0x0a, ED25519_TYPE]);
        sha.update(self.key);
        let digest: Hash = sha.finalize().into();
        digest.first_chunk().copied().unwrap_or_default()
    }

    /// What a note states, if this key signed it. Signatures of others beside it are passed over.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let (checkpoint, signatures) = Checkpoint::unverified(note).ok_or(NoteError::Shape)?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Shape)?;
        let text = note.get(..note.len() - signatures.len() - 2).ok_or(NoteError::Shape)?;
        let mut found = Err(NoteError::OtherKey);
        for line in signatures.split('\n') {
            let line = line.strip_prefix("\u{2014} ").ok_or(NoteError::Shape)?;
            let (name, blob) = line.split_once(' ').ok_or(NoteError::Shape)?;
            let blob = STANDARD.decode(blob).map_err(|_| NoteError::Shape)?;
            let (hash, signature) = blob.split_first_chunk::<4>().ok_or(NoteError::Shape)?;
            if name != self.name || *hash != self.hash() {
                continue;
            }
            let key = UnparsedPublicKey::new(&ED25519, &self.key);
            key.verify(text.as_bytes(), signature).map_err(|_| NoteError::Signature)?;
            found = Ok(());
        }
        found?;
        if checkpoint.origin == self.name { Ok(checkpoint) } else { Err(NoteError::OtherLog) }
    }

    /// As [`Self::open`], for a note as [`Signer::sign`] writes it: nothing else may stand in it.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn open_own(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let checkpoint = self.open(note)?;
        let rest = note.strip_prefix(&checkpoint.to_string()).ok_or(NoteError::Shape)?;
        if rest.lines().count() == 2 { Ok(checkpoint) } else { Err(NoteError::Shape) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new("comity/00112233", &[7; 32]).unwrap()
    }

    #[test]
    fn a_note_opens_with_its_key_and_no_changed_one_does() {
        let note = signer().sign(42, [9; 32]);
        let known: Verifier = signer().verifier().to_string().parse().unwrap();
        let opened = known.open_own(&note).unwrap();
        assert_eq!((opened.size, opened.root), (42, [9; 32]));
        for at in 0..note.len() {
            let mut bad = note.clone().into_bytes();
            bad[at] ^= 1;
            let Ok(bad) = String::from_utf8(bad) else { continue };
            assert!(known.open(&bad).is_err(), "byte {at}: {bad}");
        }
        for cut in 0..note.len() {
            assert!(note.get(..cut).is_none_or(|cut| known.open(cut).is_err()), "cut to {cut}");
        }
        let other = Signer::new("comity/00112233", &[8; 32]).unwrap();
        assert_eq!(other.verifier().open(&note), Err(NoteError::OtherKey));
    }

    #[test]
    fn a_witness_may_sign_beside_us_and_a_bad_signature_of_ours_spoils_the_note() {
        let (own, witness) = (signer(), Signer::new("witness.example/w", &[3; 32]).unwrap());
        let note = own.sign(1, [1; 32]);
        let theirs = witness.sign(1, [1; 32]);
        let line = theirs.lines().last().unwrap();
        let both = format!("{note}{line}\n");
        assert_eq!(own.verifier().open(&both), own.verifier().open(&note));
        assert_eq!(own.verifier().open_own(&both), Err(NoteError::Shape));
        let wrong = own.sign(2, [1; 32]);
        let spoilt = format!("{note}{}\n", wrong.lines().last().unwrap());
        assert_eq!(own.verifier().open(&spoilt), Err(NoteError::Signature));
        assert_eq!(witness.verifier().open(&theirs).unwrap().size, 1);
    }

    /// The example key of the specification: name, hash and key as `golang.org/x/mod/sumdb/note`
    /// and c2sp.org/signed-note print them.
    #[test]
    fn the_key_hash_is_that_of_the_specification() {
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let known: Verifier = text.parse().unwrap();
        assert_eq!((known.name(), known.to_string().as_str()), ("PeterNeumann", text));
        for bad in ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
        {
            assert!(bad.parse::<Verifier>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_plain_checkpoints_are_read() {
        let root = STANDARD.encode([1; 32]);
        assert!(Checkpoint::parse(&format!("o\n1\n{root}\n")).is_some());
        assert!(Checkpoint::parse(&format!("o\n1\n{root}\nextension\n")).is_some());
        for bad in ["01", "+1", "-1", "", "1 ", "18446744073709551616"] {
            assert!(Checkpoint::parse(&format!("o\n{bad}\n{root}\n")).is_none(), "{bad}");
        }
        assert!(Checkpoint::parse(&format!("\n1\n{root}\n")).is_none());
        assert!(Checkpoint::parse(&format!("o\n1\n{root}")).is_none());
        assert!(Checkpoint::parse("o\n1\nAAAA\n").is_none());
    }
}
