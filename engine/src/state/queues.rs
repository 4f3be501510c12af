//! Queues: their ends, and where each record lies that no sidecar holds yet. Pure.
//!
//! The entries of segments without a sidecar are held here, in chunks of [`CHUNK`]; only the last one grows, from
//! almost nothing, so that 100,000 queues are cheap and no queue is ever copied as a whole. When a segment has its
//! sidecar, its entries are dropped.
//!
//! Invariants
//!  1. `min ≤ end` and `held_from ≤ end`; a queue's end never goes back, whatever happens to its records.
//!  2. Physical offsets strictly increase along a queue.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use smallvec::SmallVec;

use super::QueueRef;
use super::keys::topic_hash;
use crate::offset::QueueOffset;
use crate::sidecar::NO_SEGMENT;

const CHUNK: usize = 4096;
/// Entries that lie in the queue itself: of 100,000 queues each has a few in a segment, and gets them without a
/// call of the allocator, and loses them so.
const FEW: usize = 4;

/// Where one record lies: 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, packed(4))]
pub(crate) struct Entry {
    pub physical: u64,
    pub size: u32,
    pub tag_hash: i32,
    pub crc: u32,
}

const _: () = assert!(size_of::<Entry>() == 20);

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    topic: Rc<str>,
    queue_id: i32,
    min: u64,
    /// Offset of the first entry that is held; before it: in sidecars.
    held_from: u64,
    /// Offset of the first entry in the chunks.
    base: u64,
    full: VecDeque<Vec<Entry>>,
    last: SmallVec<[Entry; FEW]>,
    /// End of what consumers may see.
    pub visible_end: QueueOffset,
    /// The frame that last took a record of it, and the place of its mark there.
    pub marked: Option<(u64, u32)>,
    /// Whether it is in the list of queues that have grown.
    pub grown: bool,
    /// The segment of its last record, and its number among the queues there; the number means something only while what
    /// was learnt from that segment is in memory.
    pub last_segment: u64,
    pub occurrence: u32,
    /// The last segment with a sidecar in which it occurs.
    pub last_sealed: u64,
    /// The hash of what the keys of its topic begin with.
    pub topic_hash: u32,
    /// Where a reader of it was last.
    pub reader_at: Cell<u64>,
}

impl Queue {
    fn new(topic: &Rc<str>, queue_id: i32) -> Queue {
        Queue {
            topic: topic.clone(),
            queue_id,
            min: 0,
            held_from: 0,
            base: 0,
            full: VecDeque::new(),
            last: SmallVec::new(),
            visible_end: QueueOffset(0),
            marked: None,
            grown: false,
            last_segment: NO_SEGMENT,
            occurrence: 0,
            last_sealed: NO_SEGMENT,
            topic_hash: topic_hash(topic),
            reader_at: Cell::new(NO_SEGMENT),
        }
    }

    /// Its topic's name and its number there.
    pub fn name(&self) -> (&str, i32) {
        (&self.topic, self.queue_id)
    }

    /// First offset that was not forgotten.
    pub fn min(&self) -> QueueOffset {
        QueueOffset(self.min)
    }

    /// Offset of the next record.
    pub fn end(&self) -> QueueOffset {
        QueueOffset(self.base + (self.full.len() * CHUNK + self.last.len()) as u64)
    }

    /// Offset of the first record whose entry is held.
    pub fn held_from(&self) -> u64 {
        self.held_from
    }

    /// Everything before `end` is in sidecars, the last of them of segment `last`.
    pub fn begin_at(&mut self, end: u64, last: u64) {
        assert!(self.full.is_empty() && self.last.is_empty(), "nothing is held yet");
        (self.base, self.held_from) = (end, end);
        (self.last_segment, self.last_sealed) = (last, last);
    }

    /// Adds the next record; returns its offset.
    pub fn push(&mut self, entry: Entry) -> QueueOffset {
        let offset = self.end();
        if self.last.len() == CHUNK {
            self.full.push_back(std::mem::take(&mut self.last).into_vec());
        }
        self.last.push(entry);
        offset
    }

    /// The entry at an offset, if it is held.
    pub fn held(&self, offset: u64) -> Option<Entry> {
        self.held_run(offset).first().copied()
    }

    /// Entries from an offset on, some or none.
    pub fn held_run(&self, offset: u64) -> &[Entry] {
        let index = offset.checked_sub(self.base).filter(|_| offset >= self.held_from);
        let Some(index) = index.and_then(|index| usize::try_from(index).ok()) else { return &[] };
        let chunk = self.full.get(index / CHUNK).map_or(&self.last[..], Vec::as_slice);
        if index / CHUNK > self.full.len() { &[] } else { chunk.get(index % CHUNK..).unwrap_or_default() }
    }

    /// Drops the entries before an offset: a sidecar holds them.
    pub fn drop_before(&mut self, offset: u64) {
        self.held_from = self.held_from.max(offset.min(self.end().0));
        while self.base + CHUNK as u64 <= self.held_from && self.full.pop_front().is_some() {
            self.base += CHUNK as u64;
        }
        if self.full.is_empty() {
            let dropped = usize::try_from(self.held_from - self.base).unwrap_or(usize::MAX);
            self.last.drain(..dropped.min(self.last.len()));
            self.base = self.held_from;
            if self.last.spilled() && self.last.len() * 4 < self.last.capacity() {
                self.last.shrink_to_fit();
            }
        }
    }

    /// Forgets what is before `min`, at most all. Never brings anything back.
    pub fn forget_before(&mut self, min: QueueOffset) {
        self.min = self.min.max(min.0.min(self.end().0));
        self.visible_end = self.visible_end.max(QueueOffset(self.min));
    }

    /// Offset of the first held record that lies at or after `physical`, else the end.
    pub fn held_before(&self, physical: u64) -> u64 {
        let (mut low, mut high) = (self.held_from, self.end().0);
        while low < high {
            let middle = low + (high - low) / 2;
            let before = self.held(middle).is_some_and(|entry| entry.physical < physical);
            if before { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// All queues of a shard, by name and by [`QueueRef`].
#[derive(Debug, Default)]
pub(crate) struct Queues {
    all: Vec<Queue>,
    /// Per topic: queue id and place in `all`, sorted.
    by_name: HashMap<Rc<str>, Vec<(i32, u32)>>,
}

impl Queues {
    /// The queue of that name, if there is one.
    pub fn find(&self, topic: &str, queue_id: i32) -> Option<QueueRef> {
        let queues = self.by_name.get(topic)?;
        let at = queues.binary_search_by_key(&queue_id, |(id, _)| *id).ok()?;
        Some(QueueRef(queues[at].1))
    }

    /// The queue of that name, made if it is new.
    pub fn find_or_add(&mut self, topic: &str, queue_id: i32) -> QueueRef {
        if let Some(queue) = self.find(topic, queue_id) {
            return queue;
        }
        let queue = u32::try_from(self.all.len()).expect("there is no memory for so many queues");
        let topic =
            self.by_name.get_key_value(topic).map_or_else(|| topic.into(), |(topic, _)| topic.clone());
        self.all.push(Queue::new(&topic, queue_id));
        let queues = self.by_name.entry(topic).or_default();
        let at = queues.partition_point(|(id, _)| *id < queue_id);
        queues.insert(at, (queue_id, queue));
        QueueRef(queue)
    }

    /// That queue.
    pub fn at(&self, queue: QueueRef) -> &Queue {
        &self.all[queue.index()]
    }

    /// That queue, to change it.
    pub fn at_mut(&mut self, queue: QueueRef) -> &mut Queue {
        &mut self.all[queue.index()]
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.all.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(physical: u64) -> Entry {
        Entry { physical, size: 10, tag_hash: 0, crc: 0 }
    }

    fn queue_of(len: u64) -> Queue {
        let mut queue = Queue::new(&"t".into(), 0);
        for n in 0..len {
            assert_eq!(queue.push(entry(n * 10)), QueueOffset(n));
        }
        queue
    }

    #[test]
    fn offsets_are_dense_across_chunks() {
        let len = 2 * CHUNK as u64 + 1;
        let queue = queue_of(len);
        for n in [0, 1, CHUNK as u64 - 1, CHUNK as u64, 2 * CHUNK as u64] {
            assert_eq!(queue.held(n), Some(entry(n * 10)), "offset {n}");
        }
        assert_eq!((queue.held(len), queue.end()), (None, QueueOffset(len)));
        assert_eq!(queue.held(u64::MAX), None);
    }

    #[test]
    fn a_dropped_entry_is_gone_and_all_others_stay() {
        let len = 2 * CHUNK as u64 + 5;
        for first in [0, 1, CHUNK as u64, CHUNK as u64 + 1, 2 * CHUNK as u64 + 1, len, len + 7] {
            let mut queue = queue_of(len);
            queue.drop_before(first);
            assert_eq!((queue.held_from(), queue.end()), (first.min(len), QueueOffset(len)));
            for n in [0, first.saturating_sub(1), first, len - 1, len] {
                assert_eq!(queue.held(n).is_some(), (first..len).contains(&n), "{n} after dropping {first}");
            }
            assert_eq!(queue.push(entry(1 << 40)), QueueOffset(len));
            assert_eq!(queue.held(len), Some(entry(1 << 40)));
        }
    }

    #[test]
    fn memory_follows_what_is_held() {
        let mut queue = queue_of(3 * CHUNK as u64);
        assert_eq!((queue.full.len(), queue.last.len()), (2, CHUNK));
        queue.drop_before(CHUNK as u64 - 1);
        assert_eq!((queue.full.len(), queue.last.len()), (2, CHUNK), "a chunk goes as a whole");
        queue.drop_before(CHUNK as u64);
        assert_eq!((queue.full.len(), queue.last.len()), (1, CHUNK));
        queue.drop_before(3 * CHUNK as u64 - 100);
        assert_eq!((queue.full.len(), queue.last.len()), (0, 100));
        assert!(queue.last.capacity() < CHUNK / 4);
        queue.drop_before(3 * CHUNK as u64);
        assert!(!queue.last.spilled());
    }

    #[test]
    fn forgetting_never_gives_an_offset_out_again() {
        for (min, forgotten) in [(0, 0), (1, 1), (100, 100), (107, 100)] {
            let mut queue = queue_of(100);
            queue.forget_before(QueueOffset(min));
            assert_eq!((queue.min(), queue.end()), (QueueOffset(forgotten), QueueOffset(100)));
            queue.forget_before(QueueOffset(0));
            assert_eq!(queue.min(), QueueOffset(forgotten));
        }
    }

    #[test]
    fn records_are_found_by_where_they_lie() {
        let mut queue = queue_of(100);
        for (physical, offset) in [(0, 0), (1, 1), (10, 1), (11, 2), (990, 99), (991, 100), (u64::MAX, 100)] {
            assert_eq!(queue.held_before(physical), offset, "{physical}");
        }
        queue.drop_before(50);
        assert_eq!((queue.held_before(10), queue.held_before(600)), (50, 60));
    }

    #[test]
    fn queues_are_found_by_topic_and_number() {
        let mut queues = Queues::default();
        let named: Vec<_> =
            [("a", 1), ("a", 0), ("b", 0), ("a", -1)].map(|(t, n)| queues.find_or_add(t, n)).into();
        assert_eq!(named, [0, 1, 2, 3].map(QueueRef));
        assert_eq!(queues.find_or_add("a", 0), QueueRef(1));
        assert_eq!(queues.find("a", -1), Some(QueueRef(3)));
        assert_eq!((queues.find("a", 2), queues.find("c", 0)), (None, None));
        assert_eq!(queues.at(QueueRef(2)).name(), ("b", 0));
    }
}
