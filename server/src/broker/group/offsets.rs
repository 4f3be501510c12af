//! How far groups have consumed: facts of the store, read and changed where they are.
//!
//! There is no table beside the facts: a lookup is a lookup in the store's map. Changes are lazy batches,
//! because a lost second of progress is only redelivered; answers about offsets show the accepted state and do
//! not wait, for the same reason.
//!
//! A group offset is a claim from outside. It may lie before the queue's beginning (retention) or beyond its
//! end (a reset, another history); pulls answer that case.
//!
//! Source: `broker/.../offset/ConsumerOffsetManager.java`.

use ringmq_engine::Batch;
use ringmq_engine::Store;
use ringmq_engine::env::Env;
use ringmq_engine::offset::QueueOffset;

use crate::broker::facts::group_offset;

/// The next offset the group will take from a queue. `key` is scratch.
pub fn query<E: Env>(
    store: &Store<E>,
    key: &mut Vec<u8>,
    group: &str,
    topic: &str,
    queue_id: u32,
) -> Option<QueueOffset> {
    group_offset::key(key, group, topic, queue_id);
    let value = store.fact(key)?;
    Some(group_offset::decode(key, &value).expect(CHECKED))
}

/// Adds a new offset to a batch. `key` is scratch.
pub fn put(
    batch: &mut Batch,
    key: &mut Vec<u8>,
    group: &str,
    topic: &str,
    queue_id: u32,
    offset: QueueOffset,
) {
    group_offset::key(key, group, topic, queue_id);
    batch.put(key, &group_offset::encode(offset));
}

/// Visits a group's offsets in one topic, or in all, ordered by topic and queue. `key` is scratch.
pub fn visit<E: Env>(
    store: &Store<E>,
    key: &mut Vec<u8>,
    group: &str,
    topic: Option<&str>,
    mut visit: impl FnMut(&[u8], &str, u32, QueueOffset),
) {
    match topic {
        Some(topic) => group_offset::topic_prefix(key, group, topic),
        None => group_offset::group_prefix(key, group),
    }
    store.facts_with_prefix(key, |key, value| {
        let (_, topic, queue_id) = group_offset::decode_key(key).expect(CHECKED);
        visit(key, topic, queue_id, group_offset::decode(key, value).expect(CHECKED));
    });
}

/// The invariant behind every `expect` here.
const CHECKED: &str = "the form of every group offset is checked when the store is opened";
