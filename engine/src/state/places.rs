//! Places: which queue the record at a physical offset belongs to. Pure.
//!
//! Only the queue of each record is kept, in log order, and every [`STRIDE`]th record's physical offset: about 4
//! bytes a record. A look-up narrows down to one stride, whose few queues are then searched for the offset.

use super::QueueRef;
use super::queues::Queues;
use crate::offset::{PhysicalOffset, QueueOffset};

const STRIDE: usize = 32;

/// See the module. One per shard.
#[derive(Debug, Default)]
pub(crate) struct Places {
    queues: Chunked<QueueRef>,
    /// Physical offsets of records 0, 32, 64, …
    strides: Chunked<u64>,
}

impl Places {
    /// The record at `physical`, past all before, is `queue`'s.
    pub fn push(&mut self, physical: PhysicalOffset, queue: QueueRef) {
        if self.queues.len().is_multiple_of(STRIDE) {
            self.strides.push(physical.0);
        }
        self.queues.push(queue);
    }

    /// The queue and queue offset of the record that begins at `physical`, if it is still there.
    pub fn find(&self, queues: &Queues, physical: PhysicalOffset) -> Option<(QueueRef, QueueOffset)> {
        let stride = self.strides.partition_point(|first| *first <= physical.0).checked_sub(1)?;
        let records = stride * STRIDE..((stride + 1) * STRIDE).min(self.queues.len());
        let mut tried = [None; STRIDE];
        for (at, record) in records.enumerate() {
            let queue = *self.queues.at(record)?;
            if tried[..at].contains(&Some(queue)) {
                continue;
            }
            tried[at] = Some(queue);
            let known = queues.at(queue);
            let offset = known.first_at_or_after(physical, known.end());
            if known.entry(offset).is_some_and(|entry| entry.physical == physical.0) {
                return Some((queue, offset));
            }
        }
        None
    }
}

/// A list that only grows, in chunks: never copied as a whole.
#[derive(Debug)]
pub(super) struct Chunked<T> {
    full: Vec<Vec<T>>,
    last: Vec<T>,
}

const CHUNK: usize = 8192;

impl<T> Default for Chunked<T> {
    fn default() -> Chunked<T> {
        Chunked { full: Vec::new(), last: Vec::new() }
    }
}

impl<T> Chunked<T> {
    pub fn len(&self) -> usize {
        self.full.len() * CHUNK + self.last.len()
    }

    pub fn push(&mut self, item: T) {
        if self.last.len() == CHUNK {
            self.full.push(std::mem::take(&mut self.last));
        }
        self.last.push(item);
    }

    pub fn last(&self) -> Option<&T> {
        self.last.last()
    }

    pub fn at(&self, index: usize) -> Option<&T> {
        match self.full.get(index / CHUNK) {
            Some(chunk) => chunk.get(index % CHUNK),
            None => self.last.get(index.checked_sub(self.full.len() * CHUNK)?),
        }
    }

    /// Number of items at the front that pass; they are all before those that do not.
    pub fn partition_point(&self, passes: impl Fn(&T) -> bool) -> usize {
        let full = self.full.partition_point(|chunk| chunk.last().is_some_and(&passes));
        let within = self.full.get(full).unwrap_or(&self.last).partition_point(&passes);
        full * CHUNK + within
    }
}

#[cfg(test)]
mod tests {
    use super::super::queues::Entry;
    use super::*;

    #[test]
    fn every_record_is_found_where_it_begins_and_nowhere_else() {
        let (mut queues, mut places) = (Queues::default(), Places::default());
        let mut expected = Vec::new();
        for n in 0..500u64 {
            let queue = queues.find_or_add("t", (n * n % 7) as i32);
            let physical = 128 + n * 10;
            let offset = queues.at_mut(queue).push(Entry { physical, size: 10, tag_hash: 0, crc: 0 });
            places.push(PhysicalOffset(physical), queue);
            expected.push((physical, (queue, offset)));
        }
        for (physical, found) in expected {
            assert_eq!(places.find(&queues, PhysicalOffset(physical)), Some(found));
            assert_eq!(places.find(&queues, PhysicalOffset(physical + 1)), None);
        }
        assert_eq!(places.find(&queues, PhysicalOffset(0)), None);
        assert_eq!(places.find(&queues, PhysicalOffset(1 << 40)), None);
    }

    #[test]
    fn chunks_are_one_list() {
        let mut list = Chunked::default();
        for n in 0..3 * CHUNK + 5 {
            list.push(n);
        }
        for n in [0, CHUNK - 1, CHUNK, 3 * CHUNK, 3 * CHUNK + 4] {
            assert_eq!((list.at(n), list.partition_point(|item| *item < n)), (Some(&n), n));
        }
        assert_eq!((list.at(3 * CHUNK + 5), list.partition_point(|_| true)), (None, list.len()));
    }
}
