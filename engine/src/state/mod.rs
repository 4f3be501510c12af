//! What `apply` derives from the log: queues, facts, times. Pure and deterministic.
//!
//! The same calls, in the order of the log, are made when a batch is accepted and when the log is replayed: so
//! a replayed state is the accepted state.
//!
//! Invariants
//!  1. A queue's offsets are dense: each record gets the queue's end.
//!  2. Store times never go back along the log.
//!
//! Not here: bytes of frames (`log`), who may see what is accepted (`Store`, by the marks of durable frames).

mod facts;
mod places;
mod queues;
mod times;

pub(crate) use facts::Facts;
pub(crate) use places::Places;
pub(crate) use queues::{Entry, Queues};
pub(crate) use times::Times;

use crate::offset::{PhysicalOffset, QueueOffset};

/// A queue's place in the state's table: cheap, valid for as long as the store is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueRef(pub(crate) u32);

impl QueueRef {
    /// Small and dense, fit for a `Vec` beside the store.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Keys that begin so are the engine's own; the broker's prefixes are others.
const ENGINE_PREFIX: u8 = 0x00;
/// After it: the minimum of a queue. Key: prefix, this, queue id (i32), topic. Value: queue offset (u64).
const QUEUE_MIN: u8 = b'm';

/// Everything derived from the log. One per shard.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub queues: Queues,
    pub facts: Facts,
    pub times: Times,
    pub places: Places,
}

impl State {
    /// A record of `queue` was appended; returns its offset.
    pub fn apply_record(&mut self, queue: QueueRef, entry: Entry, store_timestamp_ms: i64) -> QueueOffset {
        let physical = PhysicalOffset(entry.physical);
        self.times.push(store_timestamp_ms, physical);
        self.places.push(physical, queue);
        self.queues.at_mut(queue).push(entry)
    }

    /// A fact was set. The engine's own facts also act.
    pub fn apply_put(&mut self, key: &[u8], value: &[u8]) {
        if let Some((topic, queue_id)) = queue_of_min_key(key)
            && let Ok(min) = value.try_into()
        {
            let queue = self.queues.find_or_add(topic, queue_id);
            self.queues.at_mut(queue).forget_before(QueueOffset(u64::from_be_bytes(min)));
        }
        self.facts.put(key, value);
    }

    /// A fact was deleted.
    pub fn apply_delete(&mut self, key: &[u8]) {
        self.facts.delete(key);
    }
}

/// The fact that holds a queue's minimum.
pub(crate) fn queue_min_key(topic: &str, queue_id: i32) -> Vec<u8> {
    let mut key = vec![ENGINE_PREFIX, QUEUE_MIN];
    key.extend_from_slice(&queue_id.to_be_bytes());
    key.extend_from_slice(topic.as_bytes());
    key
}

fn queue_of_min_key(key: &[u8]) -> Option<(&str, i32)> {
    let rest = key.strip_prefix(&[ENGINE_PREFIX, QUEUE_MIN])?;
    let (queue_id, topic) = rest.split_first_chunk::<4>()?;
    Some((std::str::from_utf8(topic).ok()?, i32::from_be_bytes(*queue_id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_a_queue_is_a_fact_that_acts() {
        let mut state = State::default();
        let queue = state.queues.find_or_add("orders", 3);
        for physical in [128, 500, 900] {
            state.apply_record(queue, Entry { physical, size: 100, tag_hash: 0, crc: 0 }, 1);
        }
        let key = queue_min_key("orders", 3);
        assert_eq!(queue_of_min_key(&key), Some(("orders", 3)));
        state.apply_put(&key, &3u64.to_be_bytes());
        let queue = state.queues.at(queue);
        assert_eq!((queue.min(), queue.end()), (QueueOffset(3), QueueOffset(3)));
        assert_eq!(queue.entry(QueueOffset(2)), None);
    }
}
