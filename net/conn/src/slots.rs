//! The table of connections: a slot per connection, reused with another generation.
//!
//! Invariants
//!  1. A `ConnId` names at most one connection, ever: freeing a slot raises its generation.
//!  2. The most recently freed slot is used first, so the table stays as small as it can.

use crate::network::ConnId;

pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    content: Option<T>,
}

impl<T> Slots<T> {
    /// What one slot costs, filled or free.
    #[cfg(test)]
    pub(crate) const SLOT_BYTES: usize = size_of::<Slot<T>>() + size_of::<u32>();

    pub(crate) fn new() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new() }
    }

    /// Fills a slot.
    pub(crate) fn insert(&mut self, content: T) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.slots.len()).expect("fewer connections than descriptors");
            self.slots.push(Slot { generation: 0, content: None });
            slot
        });
        let place = &mut self.slots[slot as usize];
        assert!(place.content.is_none(), "a free slot is empty");
        place.content = Some(content);
        ConnId { slot, generation: place.generation }
    }

    /// Frees a slot and returns what it held.
    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<T> {
        let place = self.slots.get_mut(conn.slot as usize).filter(|p| p.generation == conn.generation)?;
        let content = place.content.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(conn.slot);
        Some(content)
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&T> {
        let place = self.slots.get(conn.slot as usize)?;
        if place.generation == conn.generation { place.content.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        let place = self.slots.get_mut(conn.slot as usize)?;
        if place.generation == conn.generation { place.content.as_mut() } else { None }
    }

    /// Who is in the slot now.
    pub(crate) fn occupant(&self, slot: u32) -> Option<ConnId> {
        let place = self.slots.get(slot as usize)?;
        place.content.as_ref().map(|_| ConnId { slot, generation: place.generation })
    }

    /// Filled slots.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Everyone, in the order of slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots.iter().enumerate().filter_map(|(slot, place)| {
            let conn = ConnId { slot: slot as u32, generation: place.generation };
            place.content.as_ref().map(|content| (conn, content))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_comes_back_with_another_generation() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        let other = slots.insert('b');
        assert_eq!(slots.remove(first), Some('a'));
        assert_eq!(slots.remove(first), None);
        let second = slots.insert('c');
        assert_eq!(second.slot, first.slot);
        assert_ne!(second.generation, first.generation);
        assert_eq!((slots.get(first), slots.get(second), slots.get(other)), (None, Some(&'c'), Some(&'b')));
        assert_eq!(slots.occupant(first.slot), Some(second));
        assert_eq!(slots.len(), 2);
    }
}
