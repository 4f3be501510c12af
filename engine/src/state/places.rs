//! Places: which queue the record at a physical offset belongs to, within one segment. Pure.
//!
//! Only the queue of each record is kept, in log order, and every [`STRIDE`]th record's physical offset: about 4
//! bytes a record. A look-up narrows down to one stride, whose few queues are then searched for the offset.

use crate::sidecar::STRIDE;

/// See the module. Queues are numbered as they occur in the segment.
#[derive(Debug, Default)]
pub(crate) struct Places {
    queues: Chunked<u32>,
    /// Physical offsets of records 0, 32, 64, …
    strides: Chunked<u64>,
}

impl Places {
    /// The record at `physical`, past all before, is of the queue of that number.
    pub fn push(&mut self, physical: u64, occurrence: u32) {
        if self.queues.len().is_multiple_of(STRIDE) {
            self.strides.push(physical);
        }
        self.queues.push(occurrence);
    }

    /// The queue of the record of that number in the segment.
    pub fn occurrence(&self, record: usize) -> Option<u32> {
        self.queues.at(record).copied()
    }

    /// The physical offset of the first record of a stride.
    pub fn stride(&self, stride: usize) -> Option<u64> {
        self.strides.at(stride).copied()
    }

    /// The queues of which one may have a record at `physical`, each once.
    pub fn candidates(&self, physical: u64) -> impl Iterator<Item = u32> + '_ {
        let stride = self.strides.partition_point(|first| *first <= physical).checked_sub(1);
        let records = stride.map_or(0..0, |stride| stride * STRIDE..(stride + 1) * STRIDE);
        let mut tried = [None; STRIDE];
        records.map_while(|record| self.occurrence(record)).enumerate().filter_map(move |(at, queue)| {
            tried[at] = Some(queue);
            (!tried[..at].contains(&Some(queue))).then_some(queue)
        })
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

    /// Items just before one, as many as lie together; none before the first.
    pub fn piece_before(&self, index: usize) -> &[T] {
        let Some(last) = index.checked_sub(1) else { return &[] };
        let piece = self.full.get(last / CHUNK).unwrap_or(&self.last);
        piece.get(..=last % CHUNK).unwrap_or_default()
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
    use super::*;

    #[test]
    fn a_place_narrows_down_to_the_queues_of_one_stride() {
        let mut places = Places::default();
        for n in 0..500u64 {
            places.push(128 + n * 10, (n * n % 7) as u32);
        }
        for n in 0..500u64 {
            let candidates: Vec<u32> = places.candidates(128 + n * 10).collect();
            assert!(candidates.contains(&((n * n % 7) as u32)) && candidates.len() <= 4, "{candidates:?}");
        }
        assert_eq!(places.candidates(127).count(), 0);
        assert_eq!((places.occurrence(499), places.occurrence(500)), (Some(499 * 499 % 7), None));
        assert_eq!((places.stride(1), places.stride(16)), (Some(128 + 320), None));
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
        let mut left = list.len() - 1;
        for (first, len) in [(3 * CHUNK, 4), (2 * CHUNK, CHUNK), (CHUNK, CHUNK), (0, CHUNK), (0, 0)] {
            let piece = list.piece_before(left);
            assert_eq!((piece.first(), piece.len()), ((len > 0).then_some(&first), len));
            left -= piece.len();
        }
    }
}
