//! The leaf of one row: what the log's Merkle tree proves about it.
//!
//! A row is split into parts by reader. The leaf binds the header and, for each part and each
//! reader of it, a salted tag of the reader and the salted hash of the part. So a reader can be
//! given its own parts whole and the rest as hashes, and still compute the leaf.
//! The published text is `docs/reference/log-format.md`; a change here is a new header version.

use std::fmt;

use sha2::{Digest, Sha256};

pub use crate::merkle::Hash;

/// The reader id that stands for the platform itself.
pub const PLATFORM: u128 = 0;

/// One reader's share of a row, or the share of several readers.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// The organisations that may read it. Empty means the platform itself, [`PLATFORM`].
    pub readers: Vec<u128>,
    /// Random and of this part alone: whoever knows it can test guesses of reader and body.
    pub salt: [u8; 16],
    /// The facts as canonical JSON; each word is replaced by its [`word_commitment`].
    pub body: Vec<u8>,
}

/// Shows neither salt nor body, so that a log line cannot give a part away.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("readers", &self.readers)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What stands in the leaf for one reader of a part; without the part's salt it names nobody.
#[must_use]
pub fn reader_tag(salt: &[u8; 16], reader: u128) -> Hash {
    salted(b"comity/reader/1", salt, &reader.to_be_bytes())
}

/// What stands in the leaf for the content of a part; without the salt it cannot be guessed.
#[must_use]
pub fn part_hash(salt: &[u8; 16], body: &[u8]) -> Hash {
    salted(b"comity/part/1", salt, body)
}

/// What stands in a part's body for a word.
///
/// The word and this salt are kept apart from the log. Once both are deleted the commitment says
/// nothing about the word, and the leaf is unchanged.
#[must_use]
pub fn word_commitment(salt: &[u8; 16], text: &str) -> Hash {
    salted(b"comity/word/1", salt, text.as_bytes())
}

/// The pairs (reader tag, part hash) of a row, one for each reader of each part, in the order
/// and number in which the leaf binds them: sorted bytewise, each once.
#[must_use]
pub fn leaf_entries(parts: &[Part]) -> Vec<(Hash, Hash)> {
    let mut entries = Vec::new();
    for part in parts {
        let hash = part_hash(&part.salt, &part.body);
        if part.readers.is_empty() {
            entries.push((reader_tag(&part.salt, PLATFORM), hash));
        }
        for reader in &part.readers {
            entries.push((reader_tag(&part.salt, *reader), hash));
        }
    }
    in_order(entries)
}

/// The leaf of a row whose parts are all known (the leaf hash of RFC 9162, 2.1.1).
#[must_use]
pub fn leaf_hash(header: &[u8], parts: &[Part]) -> Hash {
    leaf_hash_from_entries(header, &leaf_entries(parts))
}

/// The leaf of a row of which some parts are known only as (reader tag, part hash).
///
/// The order of `entries` does not matter, and a pair that occurs twice counts once.
#[must_use]
pub fn leaf_hash_from_entries(header: &[u8], entries: &[(Hash, Hash)]) -> Hash {
    let entries = in_order(entries.to_vec());
    let mut sha = Sha256::new();
    sha.update([0x00]);
    sha.update(length(header.len()));
    sha.update(header);
    sha.update(length(entries.len()));
    for (tag, part) in &entries {
        sha.update(tag);
        sha.update(part);
    }
    sha.finalize().into()
}

/// SHA-256(domain ‖ salt ‖ content). No domain is the beginning of another.
fn salted(domain: &[u8], salt: &[u8; 16], content: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update(domain);
    sha.update(salt);
    sha.update(content);
    sha.finalize().into()
}

/// The one order of a set of entries.
fn in_order(mut entries: Vec<(Hash, Hash)>) -> Vec<(Hash, Hash)> {
    entries.sort_unstable();
    entries.dedup();
    entries
}

/// A length as 4 bytes big endian. The limits of the format keep every length far below 2^32.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{
        consistency_proof, inclusion_proof, tree_root, verify_consistency, verify_inclusion,
    };
    use serde_json::{Value, json};

    const FILE: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/log-vectors.json");
    const ACME: u128 = 0x0199_0000_0000_7000_8000_0000_0000_00a1;
    const BOLT: u128 = 0x0199_0000_0000_7000_8000_0000_0000_00b2;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    }

    fn unhex<const N: usize>(value: &Value) -> [u8; N] {
        let text = value.as_str().unwrap();
        assert_eq!(text.len(), 2 * N);
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    fn list<T>(value: &Value, read: impl FnMut(&Value) -> T) -> Vec<T> {
        value.as_array().unwrap().iter().map(read).collect()
    }

    fn part(readers: &[u128], salt: u8, body: impl Into<String>) -> Part {
        Part {
            readers: readers.to_vec(),
            salt: std::array::from_fn(|i| salt.wrapping_add(u8::try_from(i).unwrap())),
            body: body.into().into_bytes(),
        }
    }

    fn words() -> [([u8; 16], &'static str, Hash); 3] {
        let texts = [(0xe0, "Zoë Müller 🌊"), (0xe1, ""), (0xe2, "erased")];
        texts.map(|(salt, text)| ([salt; 16], text, word_commitment(&[salt; 16], text)))
    }

    /// The rows of the vector file: what each shows, its kind, its parts.
    fn rows() -> Vec<(&'static str, &'static str, Vec<Part>)> {
        let [name, reason, gone] = words().map(|(_, _, commitment)| hex(&commitment));
        let both = r#"{"grant":"g1","roles":["reader","operator"]}"#;
        let named = format!(r#"{{"name":"{name}","note":"{reason}","mail":"{gone}"}}"#);
        vec![
            ("one reader", "org.add", vec![part(&[ACME], 0x10, r#"{"org":"acme"}"#)]),
            (
                "two readers, not in the order of their tags",
                "grant.approve",
                vec![part(&[BOLT, ACME], 0x20, both)],
            ),
            (
                "platform only: no reader means reader 0",
                "key.add",
                vec![part(&[], 0x30, r#"{"key":7}"#)],
            ),
            (
                "several parts",
                "grant.deny",
                vec![
                    part(&[ACME, BOLT], 0x40, r#"{"grant":"g2","end":"denied"}"#),
                    part(&[BOLT], 0x50, r#"{"code":"not_needed"}"#),
                    part(&[ACME], 0x60, "{}"),
                    part(&[], 0x70, r#"{"address":"ipv4"}"#),
                ],
            ),
            (
                "word commitments in a body; of the third the word is erased",
                "person.add",
                vec![part(&[ACME], 0x80, named)],
            ),
            ("no parts", "due.note", vec![]),
            (
                "a reader named twice counts once",
                "grant.end",
                vec![part(&[ACME, BOLT, ACME], 0x90, r#"{"grant":"g1"}"#)],
            ),
            (
                "platform and organisation share a part",
                "org.lock",
                vec![part(&[PLATFORM, BOLT], 0xa0, r#"{"org":"bolt"}"#)],
            ),
            (
                "equal bodies under two salts; bytes outside ASCII; an empty body",
                "level.set",
                vec![
                    part(&[ACME], 0xb0, r#"{"level":"größer"}"#),
                    part(&[BOLT], 0xc0, r#"{"level":"größer"}"#),
                    part(&[], 0xd0, ""),
                ],
            ),
        ]
    }

    fn row_vector(seq: usize, name: &str, kind: &str, parts: &[Part]) -> Value {
        let at = 1_767_225_600_000_u64 + 1_000 * seq as u64;
        let header = format!(
            r#"{{"v":1,"seq":{seq},"at":{at},"kind":"{kind}","kind_v":1,"command":"01990000-0000-7000-8000-{seq:012x}"}}"#
        );
        let leaf = leaf_hash(header.as_bytes(), parts);
        let entries: Vec<Value> =
            leaf_entries(parts).iter().map(|(tag, part)| json!([hex(tag), hex(part)])).collect();
        let parts: Vec<Value> = parts
            .iter()
            .map(|part| {
                let named = if part.readers.is_empty() { &[PLATFORM][..] } else { &part.readers };
                let tags: Vec<Hash> = named.iter().map(|id| reader_tag(&part.salt, *id)).collect();
                json!({
                    "readers": part.readers.iter().map(|id| format!("{id:032x}")).collect::<Vec<_>>(),
                    "salt": hex(&part.salt),
                    "body": std::str::from_utf8(&part.body).unwrap(),
                    "tags": hexes(&tags),
                    "hash": hex(&part_hash(&part.salt, &part.body)),
                })
            })
            .collect();
        json!({"name": name, "header": header, "parts": parts, "entries": entries, "leaf": hex(&leaf)})
    }

    fn hexes(hashes: &[Hash]) -> Vec<String> {
        hashes.iter().map(|hash| hex(hash)).collect()
    }

    fn proofs(leaves: &[Hash]) -> (Vec<Value>, Vec<Value>) {
        let inclusion = [(0, 1), (0, 9), (4, 7), (6, 7), (8, 9)].map(|(index, size)| {
            let proof = inclusion_proof(leaves, index, size).unwrap();
            json!({"index": index, "size": size, "proof": hexes(&proof), "holds": true})
        });
        let consistency = [(0, 9), (1, 9), (3, 7), (4, 9), (6, 8), (9, 9)].map(|(old, new)| {
            let proof = consistency_proof(leaves, old, new).unwrap();
            json!({"old": old, "new": new, "proof": hexes(&proof), "holds": true})
        });
        let [mut inclusion, mut consistency] = [inclusion.to_vec(), consistency.to_vec()];
        let mut moved = inclusion[2].clone();
        moved["index"] = json!(5);
        inclusion.push(moved);
        let mut cut = consistency[2].clone();
        cut["proof"].as_array_mut().unwrap().pop();
        consistency.push(cut);
        for cases in [&mut inclusion, &mut consistency] {
            cases.last_mut().unwrap()["holds"] = json!(false);
        }
        (inclusion, consistency)
    }

    /// Writes the published vectors: `cargo test -p comity-store write_vectors -- --ignored`.
    #[test]
    #[ignore = "writes the published vectors; only for a new version of the format"]
    fn write_vectors() {
        let rows: Vec<Value> = (1..)
            .zip(rows())
            .map(|(seq, (name, kind, parts))| row_vector(seq, name, kind, &parts))
            .collect();
        let leaves: Vec<Hash> = rows.iter().map(|row| unhex(&row["leaf"])).collect();
        let roots: Vec<Hash> = (0..=leaves.len()).map(|size| tree_root(&leaves[..size])).collect();
        let words = words().map(|(salt, text, commitment)| {
            let erased = text == "erased";
            json!({
                "salt": (!erased).then(|| hex(&salt)),
                "text": (!erased).then_some(text),
                "commitment": hex(&commitment),
            })
        });
        let (inclusion, consistency) = proofs(&leaves);
        let file = json!({
            "format": "comity log 1", "words": words, "rows": rows, "roots": hexes(&roots),
            "inclusion": inclusion, "consistency": consistency,
        });
        std::fs::write(FILE, serde_json::to_string_pretty(&file).unwrap() + "\n").unwrap();
    }

    fn published() -> Value {
        serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap()
    }

    #[test]
    fn published_rows_have_the_published_leaves() {
        let file = published();
        assert_eq!(file["rows"].as_array().unwrap().len(), 9);
        for row in file["rows"].as_array().unwrap() {
            let header = row["header"].as_str().unwrap().as_bytes();
            let parts = list(&row["parts"], |part| {
                let salt = unhex(&part["salt"]);
                let readers = list(&part["readers"], |id| u128::from_be_bytes(unhex(id)));
                let body = part["body"].as_str().unwrap().as_bytes().to_vec();
                assert_eq!(part_hash(&salt, &body), unhex(&part["hash"]));
                let tags = list(&part["tags"], unhex);
                let named = if readers.is_empty() { &[PLATFORM][..] } else { &readers };
                assert_eq!(named.iter().map(|id| reader_tag(&salt, *id)).collect::<Vec<_>>(), tags);
                Part { readers, salt, body }
            });
            let mut entries = list(&row["entries"], |pair| (unhex(&pair[0]), unhex(&pair[1])));
            assert_eq!(leaf_entries(&parts), entries);
            assert_eq!(leaf_hash(header, &parts), unhex(&row["leaf"]));
            entries.reverse();
            assert_eq!(leaf_hash_from_entries(header, &entries), unhex(&row["leaf"]));
        }
        for word in file["words"].as_array().unwrap() {
            if let Some(text) = word["text"].as_str() {
                let found = word_commitment(&unhex(&word["salt"]), text);
                assert_eq!(found, unhex(&word["commitment"]));
            }
        }
    }

    #[test]
    fn published_roots_and_proofs_hold() {
        let file = published();
        let leaves: Vec<Hash> = list(&file["rows"], |row| unhex(&row["leaf"]));
        let roots: Vec<Hash> = list(&file["roots"], unhex);
        assert_eq!(roots.len(), leaves.len() + 1);
        for (size, root) in roots.iter().enumerate() {
            assert_eq!(tree_root(&leaves[..size]), *root);
        }
        let number = |value: &Value| value.as_u64().unwrap();
        let at = |value: &Value| usize::try_from(number(value)).unwrap();
        for case in file["inclusion"].as_array().unwrap() {
            let proof: Vec<Hash> = list(&case["proof"], unhex);
            let (index, size) = (&case["index"], &case["size"]);
            let (leaf, root) = (&leaves[at(index)], &roots[at(size)]);
            let holds = verify_inclusion(leaf, number(index), number(size), &proof, root);
            assert_eq!(json!(holds), case["holds"], "{case}");
        }
        for case in file["consistency"].as_array().unwrap() {
            let proof: Vec<Hash> = list(&case["proof"], unhex);
            let (old, new) = (&case["old"], &case["new"]);
            let (a, b) = (&roots[at(old)], &roots[at(new)]);
            let holds = verify_consistency(number(old), a, number(new), b, &proof);
            assert_eq!(json!(holds), case["holds"], "{case}");
        }
    }

    #[test]
    fn a_part_shows_neither_salt_nor_body_when_printed() {
        let shown = format!("{:?}", part(&[ACME], 0xab, "hidden"));
        assert!(!shown.contains("hidden") && !shown.contains("171"), "{shown}");
    }
}
