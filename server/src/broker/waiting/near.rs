//! The waiting messages that are due soon, with their records in memory. Pure.
//!
//! ```text
//!                 in here, records read ahead             only facts in the store
//!   ──────────────────────────────────────────────┬──────────────────────────────────▶ due time
//!    now   due, to be delivered                   end          beyond: the first after it
//! ```
//!
//! What waits is a fact and needs no memory here; this is a window over the first of them, so that a message that comes due
//! does not wait for the disk. How many wait beyond it makes no difference.
//!
//! Invariants
//!  1. Every fact of a waiting message before `end` is in here, and nothing else is.
//!  2. At most [`NearMax::bytes`] of records, or one record, and at most [`NearMax::messages`]: beyond, the last ones leave and
//!     `end` moves to where they were.
//!
//! Not here: facts and records (`moves`), when a message is due (`rule`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::broker::facts::waiting::{PREFIX, Waiting};

/// Bounds of the window.
#[derive(Debug, Clone, Copy)]
pub struct NearMax {
    /// Messages.
    pub messages: usize,
    /// Bytes of records that were read ahead.
    pub bytes: usize,
    /// How far ahead of the clock, in milliseconds.
    pub ahead_ms: i64,
}

/// What is known of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Nothing yet.
    Unread,
    /// The loop is reading it.
    Reading,
    /// Its bytes.
    Read(Box<[u8]>),
    /// It could not be read. Others go on; it is tried again at that time (monotonic).
    Aside(Duration),
}

/// The window. One per shard.
#[derive(Debug)]
pub struct Near {
    max: NearMax,
    messages: BTreeMap<Waiting, Held>,
    unread: BTreeSet<Waiting>,
    bytes: usize,
    /// Key of the first fact that may not be in here.
    end: Vec<u8>,
    /// When the first message at or after `end` is due, at the earliest; `None`: there is none.
    beyond_ms: Option<i64>,
}

impl Near {
    /// A window that has seen nothing yet.
    pub fn new(max: NearMax) -> Near {
        Near {
            max,
            messages: BTreeMap::new(),
            unread: BTreeSet::new(),
            bytes: 0,
            end: vec![PREFIX],
            beyond_ms: Some(0),
        }
    }

    /// A message waits from now on: its fact is accepted.
    pub fn note(&mut self, waiting: Waiting) {
        if waiting.key()[..] < self.end[..] {
            self.insert(waiting);
            self.trim();
        } else {
            self.beyond_ms = Some(self.beyond_ms.map_or(waiting.due_ms, |beyond| beyond.min(waiting.due_ms)));
        }
    }

    /// A message waits no more: the deletion of its fact is accepted.
    pub fn forget(&mut self, waiting: &Waiting) {
        self.unread.remove(waiting);
        if let Some(Held::Read(bytes)) = self.messages.remove(waiting) {
            self.bytes -= bytes.len();
        }
    }

    /// Whether facts are to be looked at: from which key on, up to which due time (excluded), and how many messages to take at
    /// most. Only once half of what is looked at ahead has passed, so that each look finds many.
    pub fn wants(&self, now_ms: i64) -> Option<(&[u8], i64, usize)> {
        let room = self.max.messages.saturating_sub(self.messages.len());
        let near =
            self.beyond_ms.is_some_and(|beyond| beyond <= now_ms.saturating_add(self.max.ahead_ms / 2));
        let wanted = near && room > 0 && self.bytes < self.max.bytes;
        wanted.then(|| (&self.end[..], now_ms.saturating_add(self.max.ahead_ms), room))
    }

    /// When [`Near::wants`] will say so, milliseconds since 1970, if nothing leaves before.
    pub fn wants_at_ms(&self) -> Option<i64> {
        let full = self.messages.len() >= self.max.messages || self.bytes >= self.max.bytes;
        self.beyond_ms.filter(|_| !full).map(|beyond| beyond.saturating_sub(self.max.ahead_ms / 2))
    }

    /// Takes in what a look at the facts found, in order; it went up to `until_ms`, or ended before it at the key `next`.
    pub fn take(&mut self, found: &[Waiting], next: Option<Vec<u8>>, until_ms: i64) {
        found.iter().for_each(|waiting| self.insert(*waiting));
        let next = next.filter(|next| next.first() == Some(&PREFIX));
        let due_ms = next.as_ref().map(|next| Waiting::decode_key(next).map_or(0, |waiting| waiting.due_ms));
        self.end = match (next, due_ms) {
            (Some(next), Some(due_ms)) if due_ms < until_ms => next,
            _ => Waiting::first_at(until_ms).key().to_vec().max(std::mem::take(&mut self.end)),
        };
        self.beyond_ms = due_ms;
        self.trim();
    }

    /// The first messages whose records are not in memory, in order.
    pub fn unread(&self) -> impl Iterator<Item = Waiting> + '_ {
        self.unread.iter().copied()
    }

    /// Of records in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All messages, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Waiting, &Held)> {
        self.messages.iter()
    }

    /// Changes what is known of a record, unless its message has left.
    pub fn set(&mut self, waiting: Waiting, held: Held) {
        let Some(known) = self.messages.get_mut(&waiting) else { return };
        let bytes = |held: &Held| if let Held::Read(bytes) = held { bytes.len() } else { 0 };
        self.bytes = self.bytes - bytes(known) + bytes(&held);
        if held == Held::Unread {
            self.unread.insert(waiting);
        } else {
            self.unread.remove(&waiting);
        }
        *known = held;
        self.trim();
    }

    fn insert(&mut self, waiting: Waiting) {
        self.messages.insert(waiting, Held::Unread);
        self.unread.insert(waiting);
    }

    fn trim(&mut self) {
        while self.messages.len() > self.max.messages
            || (self.bytes > self.max.bytes && self.messages.len() > 1)
        {
            let last = *self.messages.keys().next_back().expect("there is more than fits");
            self.forget(&last);
            self.end = last.key().to_vec();
            self.beyond_ms = Some(last.due_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use ringmq_engine::offset::QueueOffset;

    use super::*;

    const MAX: NearMax = NearMax { messages: 4, bytes: 100, ahead_ms: 10 };

    fn at(due_ms: i64) -> Waiting {
        Waiting { due_ms, level: 0, queue_offset: QueueOffset(due_ms as u64) }
    }

    fn key(due_ms: i64) -> Option<Vec<u8>> {
        Some(at(due_ms).key().to_vec())
    }

    fn dues(near: &Near) -> Vec<i64> {
        near.iter().map(|(waiting, _)| waiting.due_ms).collect()
    }

    fn read(bytes: usize) -> Held {
        Held::Read(vec![0; bytes].into())
    }

    /// A window that has looked at `found`, up to 100.
    fn near(found: &[i64], next: Option<Vec<u8>>) -> Near {
        let mut near = Near::new(MAX);
        near.take(&found.iter().map(|due| at(*due)).collect::<Vec<_>>(), next, 100);
        near
    }

    #[test]
    fn a_new_window_looks_from_the_first_fact_on() {
        let near = Near::new(MAX);
        assert_eq!(near.wants(50), Some((&[PREFIX][..], 60, 4)));
        assert_eq!(near.wants_at_ms(), Some(-5), "at once");
    }

    #[test]
    fn it_looks_again_when_half_of_the_way_ahead_has_passed() {
        type Row = (Option<Vec<u8>>, i64, bool, Option<i64>);
        #[rustfmt::skip]
        let rows: &[Row] = &[
            (None,                    999, false, None),
            (Some(vec![PREFIX + 1]),  999, false, None),
            (key(200),                194, false, Some(195)),
            (key(200),                195, true,  Some(195)),
            (key(90),                 85,  true,  Some(85)),
        ];
        for (next, now, wants, wants_at) in rows {
            let near = near(&[1], next.clone());
            assert_eq!((near.wants(*now).is_some(), near.wants_at_ms()), (*wants, *wants_at), "{next:?}");
        }
    }

    #[test]
    fn what_begins_to_wait_is_taken_in_before_the_end_and_remembered_after_it() {
        let mut whole = near(&[1], None);
        whole.note(at(99));
        assert_eq!((dues(&whole), whole.wants_at_ms()), (vec![1, 99], None));
        whole.note(at(100));
        whole.note(at(300));
        assert_eq!((dues(&whole), whole.wants_at_ms()), (vec![1, 99], Some(95)));
        // A look that ended early ends where it ended.
        let mut part = near(&[1], key(50));
        part.note(at(49));
        part.note(at(51));
        assert_eq!((dues(&part), part.wants(50)), (vec![1, 49], Some((&key(50).unwrap()[..], 60, 2))));
    }

    #[test]
    fn beyond_its_bounds_the_last_leave_and_are_found_again() {
        let mut near = near(&[1, 2, 3, 4], None);
        near.note(at(5));
        assert_eq!(
            (dues(&near), near.wants_at_ms(), near.wants(0)),
            (vec![1, 2, 3, 4], None, None),
            "it is full"
        );
        near.note(at(0));
        assert_eq!(dues(&near), [0, 1, 2, 3]);
        near.forget(&at(0));
        assert_eq!(near.wants(0), Some((&key(4).unwrap()[..], 10, 1)));
        near.set(at(1), read(60));
        near.set(at(2), read(41));
        assert_eq!(dues(&near), [1], "the last ones leave until the bytes fit");
        assert_eq!(near.wants(0), Some((&key(2).unwrap()[..], 10, 3)));
        near.set(at(1), read(1000));
        assert_eq!((dues(&near), near.wants(0)), (vec![1], None), "one record stays, whatever its length");
        near.set(at(1), Held::Unread);
        assert!(near.wants(0).is_some());
    }

    #[test]
    fn records_that_are_not_there_are_named_in_order() {
        let mut near = near(&[1, 2, 3], None);
        let unread = |near: &Near| near.unread().map(|waiting| waiting.due_ms).collect::<Vec<_>>();
        near.set(at(2), Held::Reading);
        assert_eq!(unread(&near), [1, 3]);
        near.set(at(1), read(5));
        near.set(at(3), Held::Aside(Duration::ZERO));
        near.set(at(9), read(5));
        assert_eq!(
            (unread(&near), dues(&near)),
            (vec![], vec![1, 2, 3]),
            "one that has left is not taken back"
        );
        near.set(at(2), Held::Unread);
        assert_eq!(unread(&near), [2]);
        near.forget(&at(2));
        assert_eq!((unread(&near), dues(&near)), (vec![], vec![1, 3]));
    }
}
