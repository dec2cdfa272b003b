//! The whole tree in memory, to draw many proofs from: 64 bytes a leaf.

use crate::merkle::{Edge, Hash, empty_root, node_hash};

/// Every perfect subtree of a tree.
#[derive(Debug, Default)]
pub struct Tree {
    /// At level `l` the roots of the perfect subtrees of 2^l leaves, from the left.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut top = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let Some(row) = self.levels.get_mut(level) else { return };
            row.push(top);
            let [.., left, right] = row.as_slice() else { return };
            if !row.len().is_multiple_of(2) {
                return;
            }
            top = node_hash(left, right);
        }
    }

    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, Vec::len) as u64
    }

    /// The leaf at `index`, from 0.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<&Hash> {
        self.levels.first()?.get(usize::try_from(index).ok()?)
    }

    /// The root over the first `size` leaves; `None` if there are not so many.
    #[must_use]
    pub fn root(&self, size: u64) -> Option<Hash> {
        if size == 0 { Some(empty_root()) } else { self.span(0, size) }
    }

    /// The edge over the first `size` leaves.
    #[must_use]
    pub fn edge(&self, size: u64) -> Option<Edge> {
        let mut peaks = size.to_be_bytes().to_vec();
        let mut from = 0u64;
        for level in (0..64).rev().filter(|level| size >> level & 1 == 1) {
            let step = 1u64.checked_shl(level)?;
            peaks.extend(self.span(from, step)?);
            from = from.checked_add(step)?;
        }
        Edge::from_bytes(&peaks)
    }

    /// The root over `count` leaves from `from` on, which is a multiple of the least power of two
    /// that is not below `count`.
    fn span(&self, from: u64, count: u64) -> Option<Hash> {
        if count.is_power_of_two() {
            let level = self.levels.get(count.trailing_zeros() as usize)?;
            return level.get(usize::try_from(from / count).ok()?).copied();
        }
        let left = count.next_power_of_two() >> 1;
        let right = self.span(from.checked_add(left)?, count.checked_sub(left)?)?;
        Some(node_hash(&self.span(from, left)?, &right))
    }

    /// As [`crate::merkle::inclusion_proof`], in logarithmic time.
    #[must_use]
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index >= size || size > self.size() {
            return None;
        }
        let (mut from, mut count) = (0u64, size);
        let mut proof = Vec::new();
        while count > 1 {
            let left = count.next_power_of_two() >> 1;
            let middle = from.checked_add(left)?;
            if index < middle {
                proof.push(self.span(middle, count.checked_sub(left)?)?);
                count = left;
            } else {
                proof.push(self.span(from, left)?);
                (from, count) = (middle, count.checked_sub(left)?);
            }
        }
        proof.reverse();
        Some(proof)
    }

    /// As [`crate::merkle::consistency_proof`], in logarithmic time.
    #[must_use]
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old > new || new > self.size() {
            return None;
        }
        let (mut from, mut count) = (0u64, new);
        let mut proof = Vec::new();
        if old == 0 {
            return Some(proof);
        }
        while old < from.checked_add(count)? {
            let left = count.next_power_of_two() >> 1;
            let middle = from.checked_add(left)?;
            if old <= middle {
                proof.push(self.span(middle, count.checked_sub(left)?)?);
                count = left;
            } else {
                proof.push(self.span(from, left)?);
                (from, count) = (middle, count.checked_sub(left)?);
            }
        }
        // The verifier has the old root, so it is left out where the old tree is a whole subtree.
        if from > 0 {
            proof.push(self.span(from, count)?);
        }
        proof.reverse();
        Some(proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{consistency_proof, inclusion_proof, tree_root};

    #[test]
    fn roots_edges_and_proofs_are_those_of_the_plain_functions() {
        let leaves: Vec<Hash> = (0..70u8).map(|n| [n; 32]).collect();
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        let mut edge = Edge::new();
        for size in 0..=70u64 {
            let count = usize::try_from(size).unwrap();
            assert_eq!(tree.root(size), Some(tree_root(&leaves[..count])));
            assert_eq!(tree.edge(size), Some(edge.clone()));
            for other in 0..=size {
                assert_eq!(tree.inclusion(other, size), inclusion_proof(&leaves, other, size));
                let proof = consistency_proof(&leaves, other, size);
                assert_eq!(tree.consistency(other, size), proof, "{other} to {size}");
            }
            leaves.get(count).into_iter().for_each(|leaf| edge.push(*leaf));
        }
        assert_eq!(
            (tree.root(71), tree.inclusion(0, 71), tree.consistency(1, 71)),
            (None, None, None)
        );
        assert_eq!(tree.consistency(2, 1), None);
    }
}
