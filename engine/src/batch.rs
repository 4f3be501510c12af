//! A batch: records appended and facts changed, atomically. The only way the store changes.
//!
//! Pure. A batch is filled by a handler, given to [`crate::Store::append`], which writes into it where each
//! record went, and is then cleared and reused: a shard appends without allocating.
//!
//! Invariants
//!  1. All of a batch is in one log frame: after a crash it is there whole or not at all.
//!  2. Records keep their order; of two changes of one fact the later wins.

use crate::limits::{FACT_KEY_BYTES_MAX, FACT_VALUE_BYTES_MAX};
use crate::log::Need;
use crate::offset::{PhysicalOffset, QueueOffset};
use crate::state::{QueueRef, State};
use crate::store::AppendError;
use ringmq_wire::record::{Draft, DraftError};

/// Records and fact changes that happen together. Reused; crosses nothing.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<BatchRecord>,
    pub(crate) facts: Vec<BatchFact>,
    /// Nobody waits for it: it rides with the next frame, or goes after at most a second.
    pub lazy: bool,
    /// The wall clock, where its maker knows it already; else the append looks at it.
    pub wall_ms: Option<i64>,
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
    /// Its number in its queue.
    pub queue_offset: QueueOffset,
    /// Where it begins in the log.
    pub physical_offset: PhysicalOffset,
}

impl Batch {
    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.facts.clear();
        self.lazy = false;
        self.wall_ms = None;
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

    /// What it needs of a log frame, if its facts are within their limits.
    pub(crate) fn need(&self) -> Result<Need, AppendError> {
        let mut need = Need { payload_bytes: 0, items: self.records.len() + self.facts.len() };
        need.payload_bytes += self.records.iter().map(|record| record.len).sum::<usize>();
        for fact in &self.facts {
            let key = fact.key.1 - fact.key.0;
            let value = fact.value.map_or(0, |(start, end)| end - start);
            for (bytes, max) in [(key, FACT_KEY_BYTES_MAX), (value, FACT_VALUE_BYTES_MAX)] {
                if bytes > max {
                    return Err(AppendError::TooLarge { bytes, max });
                }
            }
            need.payload_bytes += size_of::<u16>() + key + value;
        }
        Ok(need)
    }

    /// Whether a change would change anything.
    pub(crate) fn changes(&self, fact: &BatchFact, state: &State) -> bool {
        let (key, value) = self.fact(fact);
        state.would_change(key, value)
    }

    /// A change's key and value; `None` deletes.
    pub(crate) fn fact(&self, fact: &BatchFact) -> (&[u8], Option<&[u8]>) {
        let bytes = |(start, end): (usize, usize)| &self.bytes[start..end];
        (bytes(fact.key), fact.value.map(bytes))
    }

    fn stash(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        (start, self.bytes.len())
    }
}
