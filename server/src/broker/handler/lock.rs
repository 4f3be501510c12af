//! Queue locks (41, 42): which member of a group consumes a queue in order.
//!
//! Differences from Apache: a lock is for queues of this broker, whatever broker name the client writes; a group
//! without a definition gets no locks (there it would get an entry of its own).
//!
//! Source: `broker/.../processor/AdminBrokerProcessor.java` (`lockBatchMQ`), `broker/.../client/rebalance/RebalanceLockManager.java`.

use ringmq_engine::env::Env;
use ringmq_wire::json;
use ringmq_wire::name;
use ringmq_wire::request::lock::{LockReply, LockRequest};

use crate::broker::limits::{CLIENT_ID_BYTES_MAX, QUEUES_PER_LOCK_MAX};
use crate::broker::outcome::Outcome;
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call};

/// LOCK_BATCH_MQ: answers the queues that the client holds now; the others it tries again later.
pub fn lock<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let LockRequest { client_id, consumer_group, mut queues, .. } = read(call)?;
    match broker.groups.get_mut(&consumer_group) {
        Some(group) => queues.retain(|queue| {
            // A name that cannot be a topic's is not kept: it may be of any length.
            name::check_topic(&queue.topic).is_ok()
                && group.locks.lock(&queue.topic, queue.queue_id, &client_id, call.now.monotonic)
        }),
        None => queues.clear(),
    }
    reply.json(&LockReply { locked: queues });
    Ok(Outcome::Reply)
}

/// UNLOCK_BATCH_MQ
pub fn unlock<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let request = read(call)?;
    if let Some(group) = broker.groups.get_mut(&request.consumer_group) {
        for queue in &request.queues {
            group.locks.unlock(&queue.topic, queue.queue_id, &request.client_id);
        }
    }
    reply.done();
    Ok(Outcome::Reply)
}

fn read(call: &Call<'_>) -> Result<LockRequest, Refusal> {
    let request: LockRequest = json::read(call.body)?;
    if request.queues.len() > QUEUES_PER_LOCK_MAX {
        return Err(Refusal::TooManyLocks);
    }
    if request.client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(Refusal::ClientIdTooLong(request.client_id.len()));
    }
    Ok(request)
}
