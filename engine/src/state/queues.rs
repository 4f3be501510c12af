//! Queues: where each record of each queue lies. Pure.
//!
//! Entry i of a queue describes the record with queue offset `base + i`. Entries are kept in chunks of
//! [`CHUNK`]; only the last one grows, from almost nothing, so that 100,000 queues are cheap and no queue is ever
//! copied as a whole.
//!
//! Invariants
//!  1. `min ≤ end`, and `base ≤ min` unless the queue holds nothing.
//!  2. Physical offsets strictly increase along a queue.

use std::collections::{HashMap, VecDeque};

use super::QueueRef;
use crate::offset::{PhysicalOffset, QueueOffset};

const CHUNK: usize = 4096;

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
    topic: Box<str>,
    queue_id: i32,
    min: u64,
    /// Offset of the first entry held.
    base: u64,
    full: VecDeque<Vec<Entry>>,
    last: Vec<Entry>,
    /// End of what consumers may see.
    pub visible_end: QueueOffset,
    /// The frame that last took a record of it, and the place of its mark there.
    pub marked: Option<(u64, u32)>,
    /// Whether it is in the list of queues that have grown.
    pub grown: bool,
}

impl Queue {
    fn new(topic: &str, queue_id: i32) -> Queue {
        Queue {
            topic: topic.into(),
            queue_id,
            min: 0,
            base: 0,
            full: VecDeque::new(),
            last: Vec::new(),
            visible_end: QueueOffset(0),
            marked: None,
            grown: false,
        }
    }

    /// Its topic's name and its number there.
    pub fn name(&self) -> (&str, i32) {
        (&self.topic, self.queue_id)
    }

    /// First offset still there.
    pub fn min(&self) -> QueueOffset {
        QueueOffset(self.min)
    }

    /// Offset of the next record.
    pub fn end(&self) -> QueueOffset {
        QueueOffset(self.base + (self.full.len() * CHUNK + self.last.len()) as u64)
    }

    /// Adds the next record; returns its offset.
    pub fn push(&mut self, entry: Entry) -> QueueOffset {
        let offset = self.end();
        if self.last.len() == CHUNK {
            self.full.push_back(std::mem::take(&mut self.last));
        }
        self.last.push(entry);
        offset
    }

    /// The entry at an offset that is there.
    pub fn entry(&self, offset: QueueOffset) -> Option<Entry> {
        if offset.0 < self.min {
            return None;
        }
        let index = usize::try_from(offset.0.checked_sub(self.base)?).ok()?;
        let chunk = self.full.get(index / CHUNK).unwrap_or(&self.last);
        if index / CHUNK > self.full.len() { None } else { chunk.get(index % CHUNK).copied() }
    }

    /// Forgets what is before `min`. Never brings anything back; a minimum past the end moves the end: the
    /// offsets between were given out once.
    pub fn forget_before(&mut self, min: QueueOffset) {
        self.min = self.min.max(min.0);
        if self.min >= self.end().0 {
            self.full.clear();
            self.last = Vec::new();
            self.base = self.min;
        }
        while self.base + CHUNK as u64 <= self.min && self.full.pop_front().is_some() {
            self.base += CHUNK as u64;
        }
        self.visible_end = self.visible_end.max(QueueOffset(self.min).min(self.end()));
    }

    /// First offset in `min .. end` whose record lies at or after `physical`, else `end`.
    pub fn first_at_or_after(&self, physical: PhysicalOffset, end: QueueOffset) -> QueueOffset {
        let (mut low, mut high) = (self.min, end.0.max(self.min));
        while low < high {
            let middle = low + (high - low) / 2;
            let before = self.entry(QueueOffset(middle)).is_some_and(|entry| entry.physical < physical.0);
            if before { low = middle + 1 } else { high = middle }
        }
        QueueOffset(low)
    }
}

/// All queues of a shard, by name and by [`QueueRef`].
#[derive(Debug, Default)]
pub(crate) struct Queues {
    all: Vec<Queue>,
    /// Per topic: queue id and place in `all`, sorted.
    by_name: HashMap<Box<str>, Vec<(i32, u32)>>,
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
        self.all.push(Queue::new(topic, queue_id));
        let queues = self.by_name.entry(topic.into()).or_default();
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
        let mut queue = Queue::new("t", 0);
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
            assert_eq!(queue.entry(QueueOffset(n)), Some(entry(n * 10)), "offset {n}");
        }
        assert_eq!((queue.entry(QueueOffset(len)), queue.end()), (None, QueueOffset(len)));
        assert_eq!(queue.entry(QueueOffset(u64::MAX)), None);
    }

    #[test]
    fn forgetting_never_gives_an_offset_out_again() {
        let len = 2 * CHUNK as u64 + 5;
        for min in [0, 1, CHUNK as u64, CHUNK as u64 + 1, len, len + 7] {
            let mut queue = queue_of(len);
            queue.forget_before(QueueOffset(min));
            assert_eq!(queue.min(), QueueOffset(min));
            assert_eq!(queue.end(), QueueOffset(len.max(min)), "minimum {min}");
            assert_eq!(queue.entry(QueueOffset(min)).is_some(), min < len, "minimum {min}");
            assert_eq!(min.checked_sub(1).and_then(|below| queue.entry(QueueOffset(below))), None);
            let end = queue.end();
            assert_eq!(queue.push(entry(1 << 40)), end);
            assert_eq!(queue.entry(end), Some(entry(1 << 40)));
        }
    }

    #[test]
    fn records_are_found_by_where_they_lie() {
        let queue = queue_of(100);
        let all = QueueOffset(100);
        #[rustfmt::skip]
        let rows = [(0, 0), (1, 1), (10, 1), (11, 2), (990, 99), (991, 100), (u64::MAX, 100)];
        for (physical, offset) in rows {
            assert_eq!(
                queue.first_at_or_after(PhysicalOffset(physical), all),
                QueueOffset(offset),
                "{physical}"
            );
        }
        assert_eq!(queue.first_at_or_after(PhysicalOffset(990), QueueOffset(50)), QueueOffset(50));
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
