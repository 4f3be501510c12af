//! A batch: records appended and facts changed, atomically. The only way the store changes.
//!
//! Pure. A batch is filled by a handler, given to [`crate::Store::append`], which writes into it where each
//! record went, and is then cleared and reused: a shard appends without allocating.
//!
//! Invariants
//!  1. All of a batch is in one log frame: after a crash it is there whole or not at all.
//!  2. Records keep their order; of two changes of one fact the later wins.

use crate::offset::{PhysicalOffset, QueueOffset};
use crate::state::QueueRef;
use ringmq_wire::record::{Draft, DraftError};

/// Records and fact changes that happen together. Reused; crosses nothing.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<BatchRecord>,
    pub(crate) facts: Vec<BatchFact>,
    /// Nobody waits for it: it rides with the next frame, or goes after at most a second.
    pub lazy: bool,
}

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchRecord {
    pub queue: QueueRef,
    pub tag_hash: i32,
    pub start: usize,
    pub len: usize,
    pub place: Place,
}

/// One fact change of a batch; `value` `None` deletes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchFact {
    pub key: (usize, usize),
    pub value: Option<(usize, usize)>,
}

/// Where the store put a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    pub queue_offset: QueueOffset,
    pub physical_offset: PhysicalOffset,
}

impl Batch {
    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.facts.clear();
        self.lazy = false;
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.facts.is_empty()
    }

    /// Adds a record for `queue`; `tag_hash` goes into its entry.
    pub fn record(&mut self, queue: QueueRef, tag_hash: i32, draft: &Draft<'_>) -> Result<(), DraftError> {
        let start = self.bytes.len();
        if let Err(error) = draft.encode(&mut self.bytes) {
            self.bytes.truncate(start);
            return Err(error);
        }
        let len = self.bytes.len() - start;
        self.records.push(BatchRecord { queue, tag_hash, start, len, place: Place::default() });
        Ok(())
    }

    /// Sets a fact.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let key = self.stash(key);
        let value = self.stash(value);
        self.facts.push(BatchFact { key, value: Some(value) });
    }

    /// Deletes a fact.
    pub fn delete(&mut self, key: &[u8]) {
        let key = self.stash(key);
        self.facts.push(BatchFact { key, value: None });
    }

    /// After the append: where the records went, in order.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.records.iter().map(|record| record.place)
    }

    fn stash(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        (start, self.bytes.len())
    }
}
