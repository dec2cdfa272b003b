//! Persistent containers of the state: a copy costs a pointer, and equal contents are equal.

use std::sync::Arc;

use imbl::{OrdMap, Vector};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A place in a [`Table`]: four bytes where an identifier takes sixteen. A slot is used again
/// after its object was retired, and an object is retired only when nothing refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(u32);

impl Slot {
    /// The start of a range over slots.
    pub const MIN: Self = Self(0);
    /// The end of a range over slots.
    pub const MAX: Self = Self(u32::MAX);
}

/// One noun: dense slots, and one map from identifiers to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<I: Ord + Copy, T: Clone> {
    rows: Vector<Option<(I, Arc<T>)>>,
    slots: OrdMap<I, Slot>,
    free: Vector<Slot>,
}

impl<I: Ord + Copy, T: Clone> Default for Table<I, T> {
    fn default() -> Self {
        Self { rows: Vector::new(), slots: OrdMap::new(), free: Vector::new() }
    }
}

impl<I: Ord + Copy, T: Clone> Table<I, T> {
    /// The object with this identifier.
    #[must_use]
    pub fn get(&self, id: I) -> Option<&T> {
        self.at(self.slot(id)?)
    }

    /// The slot of this identifier.
    #[must_use]
    pub fn slot(&self, id: I) -> Option<Slot> {
        self.slots.get(&id).copied()
    }

    /// The object in this slot.
    #[must_use]
    pub fn at(&self, slot: Slot) -> Option<&T> {
        self.rows.get(slot.0 as usize)?.as_ref().map(|(_, value)| &**value)
    }

    /// The identifier of the object in this slot.
    #[must_use]
    pub fn id_at(&self, slot: Slot) -> Option<I> {
        self.rows.get(slot.0 as usize)?.as_ref().map(|(id, _)| *id)
    }

    /// All objects in the order of their identifiers.
    pub fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        self.slots.iter().filter_map(|(id, slot)| Some((*id, self.at(*slot)?)))
    }

    /// All objects in the order of their slots: quicker to go through.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (I, &T)> {
        self.rows.iter().flatten().map(|(id, value)| (*id, &**value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn insert(&mut self, id: I, value: T) -> Slot {
        let value = Some((id, Arc::new(value)));
        let slot = match self.slots.get(&id).copied().or_else(|| self.free.pop_back()) {
            Some(slot) => {
                if let Some(row) = self.rows.get_mut(slot.0 as usize) {
                    *row = value;
                }
                slot
            }
            None => {
                let slot = Slot(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
                self.rows.push_back(value);
                slot
            }
        };
        self.slots.insert(id, slot);
        slot
    }

    pub(crate) fn change(&mut self, id: I, change: impl FnOnce(&mut T)) {
        if let Some(slot) = self.slot(id)
            && let Some(Some((_, row))) = self.rows.get_mut(slot.0 as usize)
        {
            change(Arc::make_mut(row));
        }
    }

    pub(crate) fn remove(&mut self, id: I) {
        if let Some(slot) = self.slots.remove(&id) {
            if let Some(row) = self.rows.get_mut(slot.0 as usize) {
                *row = None;
            }
            self.free.push_back(slot);
        }
    }
}

/// Rows in the order of their slots, then the free slots; the map follows from both.
impl<I: Ord + Copy + Serialize, T: Clone + Serialize> Serialize for Table<I, T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        (&self.rows, &self.free).serialize(s)
    }
}

impl<'de, I, T> Deserialize<'de> for Table<I, T>
where
    I: Ord + Copy + Deserialize<'de>,
    T: Clone + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        type Rows<I, T> = Vec<Option<(I, Arc<T>)>>;
        let (rows, free): (Rows<I, T>, Vector<Slot>) = Deserialize::deserialize(d)?;
        let taken = rows.iter().zip(0u32..).filter_map(|(row, n)| Some((row.as_ref()?.0, Slot(n))));
        let mut slots: Vec<(I, Slot)> = taken.collect();
        slots.sort(); // a map takes sorted entries much faster, and most stand in order
        Ok(Self { rows: rows.into_iter().collect(), slots: slots.into_iter().collect(), free })
    }
}

/// A place in [`Sets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetIx(u32);

/// Interned sets: what thousands of assignments share is kept once. Sets are never dropped: there
/// are as many as there were distinct choices, which is few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sets<T: Ord + Clone> {
    items: Vector<Arc<[T]>>,
    index: OrdMap<Arc<[T]>, SetIx>,
}

impl<T: Ord + Clone> Default for Sets<T> {
    fn default() -> Self {
        Self { items: Vector::new(), index: OrdMap::new() }
    }
}

impl<T: Ord + Clone> Sets<T> {
    /// The members, sorted.
    #[must_use]
    pub fn get(&self, ix: SetIx) -> &[T] {
        self.items.get(ix.0 as usize).map_or(&[], |a| a)
    }

    pub(crate) fn intern(&mut self, mut items: Vec<T>) -> SetIx {
        items.sort();
        items.dedup();
        let items: Arc<[T]> = items.into();
        if let Some(ix) = self.index.get(&items) {
            return *ix;
        }
        let ix = SetIx(u32::try_from(self.items.len()).unwrap_or(u32::MAX));
        self.items.push_back(items.clone());
        self.index.insert(items, ix);
        ix
    }
}

/// The sets in the order of their places; the index follows from them.
impl<T: Ord + Clone + Serialize> Serialize for Sets<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.items.serialize(s)
    }
}

impl<'de, T: Ord + Clone + Deserialize<'de>> Deserialize<'de> for Sets<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let items = Vector::<Arc<[T]>>::deserialize(d)?;
        let index = items.iter().cloned().zip((0u32..).map(SetIx)).collect();
        Ok(Self { items, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_and_an_identifier_is_not_confused() {
        let mut table = Table::<u32, &str>::default();
        let first = table.insert(7, "seven");
        table.insert(8, "eight");
        table.remove(7);
        assert_eq!(table.get(7), None);
        assert_eq!(table.insert(9, "nine"), first);
        assert_eq!((table.get(7), table.get(9), table.len()), (None, Some(&"nine"), 2));
    }

    #[test]
    fn equal_sets_share_one_place() {
        let mut sets = Sets::default();
        let a = sets.intern(vec![3, 1, 3]);
        assert_eq!(a, sets.intern(vec![1, 3]));
        assert_eq!(sets.get(a), &[1, 3]);
    }
}
