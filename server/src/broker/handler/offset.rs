//! Offsets: how far groups are (14, 15), and where queues begin and end (29 to 32).
//!
//! Ends are those of what consumers may see, so a group that starts "at the end" starts before everything
//! it is then given. Group offsets show the accepted state: see `group/offsets`.
//!
//! Differences from Apache: an offset for a queue that the topic does not have is refused (29) instead of kept;
//! a brand-new group starts at 0 whenever the queue still begins at 0, not only while its first record is in memory.
//!
//! Source: `broker/.../processor/ConsumerManageProcessor.java`, `broker/.../processor/AdminBrokerProcessor.java`.

use ringmq_engine::env::Env;
use ringmq_engine::offset::QueueOffset;
use ringmq_engine::state::QueueRef;
use ringmq_wire::request::offset::{
    OffsetReply, QueryGroupOffset, QueueBound, SearchOffset, StoreGroupOffset, StoreTimeReply,
};

use crate::broker::group::offsets;
use crate::broker::outcome::Outcome;
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call, Scratch};

/// QUERY_CONSUMER_OFFSET
pub fn query<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = QueryGroupOffset::decode(&call.head.fields)?;
    let Ok(queue_id) = u32::try_from(request.queue_id) else { return Err(Refusal::NoGroupOffset) };
    let key = &mut broker.scratch.key;
    if let Some(offset) = offsets::query(&broker.store, key, request.consumer_group, request.topic, queue_id)
    {
        return Ok(number(reply, offset));
    }
    if request.zero_if_not_found == Some(false) {
        return Err(Refusal::NoGroupOffsetAndNoZero);
    }
    // A new group on a young queue gets everything, whatever it asked to begin with: users rely on finding
    // what was sent before the first consumer started.
    match queue(broker, request.topic, request.queue_id).map(|queue| broker.store.bounds(queue)) {
        Some((QueueOffset(0), end)) if end > QueueOffset(0) => Ok(number(reply, QueueOffset(0))),
        _ => Err(Refusal::NoGroupOffset),
    }
}

/// UPDATE_CONSUMER_OFFSET
pub fn update<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = StoreGroupOffset::decode(&call.head.fields)?;
    let topic = broker.topics.get(request.topic);
    let topic = topic.ok_or_else(|| Refusal::TopicUnknown(request.topic.into()))?;
    if broker.groups.get(request.consumer_group).is_none() {
        return Err(Refusal::GroupUnknown(request.consumer_group.into()));
    }
    let queues = topic.config.queues();
    let queue_id = u32::try_from(request.queue_id).ok().filter(|id| *id < queues);
    let queue_id = queue_id.ok_or_else(|| Refusal::ReadQueue {
        topic: request.topic.into(),
        queue_id: request.queue_id,
        queues,
    })?;
    if let Some(offset) = request.offset_to_store() {
        commit(broker, request.consumer_group, request.topic, queue_id, offset)?;
    }
    reply.done();
    Ok(Outcome::Reply)
}

/// Stores a group offset, even a smaller one than before: a reset is one. A negative one means "none" (Go
/// sends -1 for queues that it has not consumed) and is ignored. Group and topic are known, and the topic
/// has the queue.
pub fn commit<E: Env>(
    broker: &mut Broker<E>,
    group: &str,
    topic: &str,
    queue_id: u32,
    offset: i64,
) -> Result<(), Refusal> {
    let Ok(offset) = u64::try_from(offset).map(QueueOffset) else { return Ok(()) };
    let Scratch { batch, key, .. } = &mut broker.scratch;
    // Clients repeat their offsets every 5 s for ever: what is known already is no change.
    if offsets::query(&broker.store, key, group, topic, queue_id) == Some(offset) {
        return Ok(());
    }
    batch.clear();
    offsets::put(batch, key, group, topic, queue_id, offset);
    batch.lazy = true;
    broker.store.append(batch)?;
    Ok(())
}

/// GET_MAX_OFFSET
pub fn max<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = QueueBound::decode(&call.head.fields)?;
    let queue = queue(broker, request.topic, request.queue_id);
    Ok(number(reply, queue.map_or(QueueOffset(0), |queue| broker.store.bounds(queue).1)))
}

/// GET_MIN_OFFSET
pub fn min<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = QueueBound::decode(&call.head.fields)?;
    let queue = queue(broker, request.topic, request.queue_id);
    Ok(number(reply, queue.map_or(QueueOffset(0), |queue| broker.store.bounds(queue).0)))
}

/// SEARCH_OFFSET_BY_TIMESTAMP
pub fn search<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = SearchOffset::decode(&call.head.fields)?;
    let Some(queue) = queue(broker, request.topic, request.queue_id) else {
        return Ok(number(reply, QueueOffset(0)));
    };
    let store = &broker.store;
    let (begin, end) = store.bounds(queue);
    let found = if request.is_upper() {
        store.offset_at_or_before(queue, request.timestamp_ms).unwrap_or(begin)
    } else {
        store.offset_at_or_after(queue, request.timestamp_ms)
    };
    Ok(number(reply, found.clamp(begin, end)))
}

/// GET_EARLIEST_MSG_STORETIME
pub fn earliest<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = QueueBound::decode(&call.head.fields)?;
    let queue = queue(broker, request.topic, request.queue_id);
    let time = queue.and_then(|queue| broker.store.store_time(queue, broker.store.bounds(queue).0));
    reply.fields(&StoreTimeReply { timestamp_ms: time.unwrap_or(-1) }.fields());
    Ok(Outcome::Reply)
}

/// The queue, if the topic has it and a record was ever put there.
fn queue<E: Env>(broker: &Broker<E>, topic: &str, queue_id: i32) -> Option<QueueRef> {
    broker.topics.get(topic)?.find_queue(&broker.store, u32::try_from(queue_id).ok()?)
}

fn number<E: Env>(reply: &mut Reply<'_>, offset: QueueOffset) -> Outcome<E> {
    reply.fields(&OffsetReply { offset: i64::try_from(offset.0).unwrap_or(i64::MAX) }.fields());
    Outcome::Reply
}
