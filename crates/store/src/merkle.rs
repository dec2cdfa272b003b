//! The Merkle tree over the log's leaves, and the proofs drawn from it.
//!
//! The tree is that of RFC 6962 section 2.1, which RFC 9162 section 2.1 keeps unchanged.
//! What a leaf is made of is in `leaf.rs`; the published text is `docs/reference/log-format.md`.

use sha2::{Digest, Sha256};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// The hash of an inner node (RFC 9162, 2.1.1): SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut sha = Sha256::new();
    sha.update([0x01]);
    sha.update(left);
    sha.update(right);
    sha.finalize().into()
}

/// The root of a tree without leaves (RFC 9162, 2.1.1): SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The root of the tree over exactly these leaves (RFC 9162, 2.1.1).
#[must_use]
pub fn tree_root(leaves: &[Hash]) -> Hash {
    let mut edge = Edge::new();
    for leaf in leaves {
        edge.push(*leaf);
    }
    edge.root()
}

/// The right edge of a tree: all that is needed to append leaves and to state the root.
///
/// It holds the roots of the perfect subtrees that make up the tree, the largest (leftmost) first:
/// one for each bit that is set in the size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    peaks: Vec<Hash>,
    size: u64,
}

impl Edge {
    /// The edge of a tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one leaf, given by its leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut top = leaf;
        // Each trailing one bit of the size is a perfect subtree that the new leaf completes.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                top = node_hash(&left, &top);
            }
        }
        self.peaks.push(top);
        self.size = self.size.saturating_add(1);
    }

    /// The root of the tree (RFC 9162, 2.1.1).
    #[must_use]
    pub fn root(&self) -> Hash {
        self.peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(empty_root)
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The stored form: the size as 8 bytes big endian, then the subtree roots, the largest first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.peaks.iter().flatten());
        bytes
    }

    /// Reads the stored form back; `None` when the length does not fit the size, or the size is
    /// above 2^63 − 1, which no log reaches.
    ///
    /// Whether it is the right edge shows when its root is compared with that of the head.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, tail) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*head);
        let (peaks, odd) = tail.as_chunks::<32>();
        let wanted = usize::try_from(size.count_ones()).ok()?;
        let fits = i64::try_from(size).is_ok() && odd.is_empty() && peaks.len() == wanted;
        let peaks = peaks.to_vec();
        fits.then_some(Self { peaks, size })
    }
}

/// The proof that the leaf at `index` (from 0) is in the tree over the first `size` leaves
/// (PATH of RFC 9162, 2.1.3.1), the sibling nearest to the leaf first.
///
/// `None` when the tree has no such leaf or `leaves` is shorter than `size`.
#[must_use]
pub fn inclusion_proof(leaves: &[Hash], index: u64, size: u64) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let mut rest = leaves.get(..usize::try_from(size).ok()?)?;
    let mut at = usize::try_from(index).ok()?;
    let mut proof = Vec::new();
    while let Some((left, right)) = halves(rest) {
        if let Some(in_right) = at.checked_sub(left.len()) {
            proof.push(tree_root(left));
            (rest, at) = (right, in_right);
        } else {
            proof.push(tree_root(right));
            rest = left;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Whether `proof` shows that `leaf` stands at `index` (from 0) of the tree with this size and
/// root (RFC 9162, 2.1.3.2).
///
/// A root does not fix its size: both must come from the same trusted place.
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size.saturating_sub(1));
    let mut found = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if is_right(node) || node == last {
            found = node_hash(sibling, &found);
            skip_lone_levels(&mut node, &mut last);
        } else {
            found = node_hash(&found, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && found == *root
}

/// The proof that the tree over the first `old` leaves is the beginning of the tree over the
/// first `new` (PROOF of RFC 9162, 2.1.4.1).
///
/// It is empty when `old` is 0 or equals `new`. `None` when `old` is above `new` or `leaves` is
/// shorter than `new`.
#[must_use]
pub fn consistency_proof(leaves: &[Hash], old: u64, new: u64) -> Option<Vec<Hash>> {
    if old > new {
        return None;
    }
    let mut rest = leaves.get(..usize::try_from(new).ok()?)?;
    let mut kept = usize::try_from(old).ok()?;
    let mut proof = Vec::new();
    if old == 0 {
        return Some(proof);
    }
    // The verifier has the old root, so it is left out where the old tree is a whole subtree.
    let mut is_old_root = true;
    while kept < rest.len()
        && let Some((left, right)) = halves(rest)
    {
        match kept.checked_sub(left.len()) {
            Some(in_right) if in_right > 0 => {
                proof.push(tree_root(left));
                (rest, kept, is_old_root) = (right, in_right, false);
            }
            _ => {
                proof.push(tree_root(right));
                rest = left;
            }
        }
    }
    if !is_old_root {
        proof.push(tree_root(rest));
    }
    proof.reverse();
    Some(proof)
}

/// Whether `proof` shows that the tree with the new size and root begins with the whole tree of
/// the old size and root (RFC 9162, 2.1.4.2).
///
/// What the RFC leaves open: for equal sizes the roots must be equal and the proof empty; for an
/// old size of 0 the old root must be that of the empty tree and the proof empty.
#[must_use]
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    if old_size == new_size {
        let right = old_size > 0 || *old_root == empty_root();
        return right && proof.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    if old_size > new_size {
        return false;
    }
    let (start, path) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else if let Some((first, path)) = proof.split_first() {
        (first, path)
    } else {
        return false;
    };
    let shared = old_size.saturating_sub(1).trailing_ones();
    let mut node = old_size.saturating_sub(1).unbounded_shr(shared);
    let mut last = new_size.saturating_sub(1).unbounded_shr(shared);
    let (mut found_old, mut found_new) = (*start, *start);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if is_right(node) || node == last {
            found_old = node_hash(sibling, &found_old);
            found_new = node_hash(sibling, &found_new);
            skip_lone_levels(&mut node, &mut last);
        } else {
            found_new = node_hash(&found_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && found_old == *old_root && found_new == *new_root
}

/// Splits leaves where RFC 9162, 2.1.1 does: at the largest power of two below their number.
/// `None` when there is nothing to split.
fn halves(leaves: &[Hash]) -> Option<(&[Hash], &[Hash])> {
    if leaves.len() < 2 {
        return None;
    }
    leaves.split_at_checked(leaves.len().next_power_of_two() >> 1)
}

/// Whether the node with this number is a right child.
fn is_right(node: u64) -> bool {
    node & 1 == 1
}

/// Climbs from a last node that has no sibling to the level where it is a right child.
fn skip_lone_levels(node: &mut u64, last: &mut u64) {
    while !is_right(*node) && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(data: &[u8]) -> Hash {
        Sha256::digest([&[0x00], data].concat()).into()
    }

    fn leaves() -> Vec<Hash> {
        (0..65_u64).map(|n| leaf(&n.to_be_bytes())).collect()
    }

    /// The definition in RFC 9162, 2.1.1, word for word.
    fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => *one,
            more => {
                let k = 1 << (more.len() - 1).ilog2();
                node_hash(&naive(&more[..k]), &naive(&more[k..]))
            }
        }
    }

    /// The roots over the first 0, 1, 2 … leaves.
    fn naive_roots(leaves: &[Hash]) -> Vec<Hash> {
        let sizes = 0..=leaves.len();
        sizes.map(|size| naive(&leaves[..size])).collect()
    }

    /// A case is two hashes and then a proof. These are the cases with one byte changed (anywhere
    /// if the tree is small or the build optimised), and with a proof too long or too short.
    fn spoilt(case: &[Hash], size: u64) -> Vec<Vec<Hash>> {
        let step = 1 + 4 * usize::from(cfg!(debug_assertions) && size > 20);
        let (two, proof) = case.split_at(2);
        let mut all = vec![[case, &two[..1]].concat(), [two, case].concat()];
        if let [_, tail @ ..] = proof {
            all.extend([[two, tail].concat(), case[..case.len() - 1].to_vec()]);
        }
        for at in (0..case.len() * 32).step_by(step) {
            let mut bad = case.to_vec();
            bad[at / 32][at % 32] ^= 1 << (at % 8);
            all.push(bad);
        }
        all
    }

    #[test]
    fn edge_root_is_the_recursive_root_and_survives_storing() {
        let (all, mut edge) = (leaves(), Edge::new());
        for (size, root) in naive_roots(&all).into_iter().enumerate() {
            assert_eq!((edge.size(), edge.root()), (size as u64, root));
            assert_eq!(tree_root(&all[..size]), root);
            let bytes = edge.to_bytes();
            assert_eq!(Edge::from_bytes(&bytes), Some(edge.clone()));
            assert_eq!(Edge::from_bytes(&bytes[1..]), None);
            for more in [1, 32] {
                assert_eq!(Edge::from_bytes(&[&bytes, &[0; 32][..more]].concat()), None);
            }
            all.get(size).into_iter().for_each(|leaf| edge.push(*leaf));
        }
        assert_eq!(Edge::from_bytes(&[0x80; 8 + 8 * 32]), None, "beyond any log");
    }

    #[test]
    fn roots_are_those_of_the_certificate_transparency_reference() {
        let data = "|\0|\x10| !|01|@ABC|PQRSTUVW|`abcdefghijklmno".split('|');
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let all: Vec<Hash> = data.map(|text| leaf(text.as_bytes())).collect();
        for (size, root) in roots.iter().enumerate() {
            let bytes = tree_root(&all[..size]).map(|byte| format!("{byte:02x}"));
            assert_eq!(bytes.concat(), *root, "size {size}");
        }
    }

    #[test]
    fn every_inclusion_proof_holds_and_no_changed_one_does() {
        let all = leaves();
        for (size, root) in (0..).zip(naive_roots(&all)) {
            assert_eq!(inclusion_proof(&all, size, size), None);
            for (index, leaf) in (0..size).zip(&all) {
                let holds = |at, c: &[Hash]| verify_inclusion(&c[0], at, size, &c[2..], &c[1]);
                let proof = inclusion_proof(&all, index, size).unwrap();
                let case = [&[*leaf, root], &proof[..]].concat();
                let at: Vec<u64> = (0..=size).filter(|at| holds(*at, &case)).collect();
                assert_eq!(at, [index], "size {size}");
                let mut bad = spoilt(&case, size).into_iter();
                assert!(!bad.any(|bad| holds(index, &bad)), "{index} of {size}");
            }
        }
        assert_eq!(inclusion_proof(&all, 0, 66), None);
    }

    #[test]
    fn every_consistency_proof_holds_and_no_changed_one_does() {
        let all = leaves();
        let roots = naive_roots(&all);
        for (new, b) in (0..).zip(&roots) {
            for (old, a) in (0..=new).zip(&roots) {
                let holds = |c: &[Hash]| verify_consistency(old, &c[0], new, &c[1], &c[2..]);
                let proof = consistency_proof(&all, old, new).unwrap();
                let case = [&[*a, *b], &proof[..]].concat();
                assert!(holds(&case), "{old} to {new}");
                assert!(old == new || !verify_consistency(new, b, old, a, &proof));
                // Every tree begins with the empty one, whatever the root of the larger.
                let any_root = old == 0 && new > 0;
                let mut held = spoilt(&case, new).into_iter().filter(|bad| holds(bad));
                assert!(held.all(|bad| any_root && bad[1] != *b), "{old} to {new}");
            }
        }
        assert_eq!(consistency_proof(&all, 2, 1), None);
        assert_eq!(consistency_proof(&all, 0, 66), None);
    }
}
