//! Recalling a timer (370): the message that a handle names is not delivered.
//!
//! | check | code |
//! | --- | --- |
//! | the operator does not allow it | 16 |
//! | the topic is unknown | 17 |
//! | no handle; of another topic or broker; due already, or beyond the horizon | 604 |
//!
//! A handle that names nothing that waits is answered as Apache answers it, with success: it was delivered a moment ago, or
//! recalled before.
//!
//! Difference from Apache: the message is gone when the answer comes. There a marker waits for the same moment and cancels it then.
//!
//! Source: `broker/.../processor/RecallMessageProcessor.java`.

use std::ops::ControlFlow;

use ringmq_engine::env::Env;
use ringmq_engine::pointing;
use ringmq_wire::request::recall::{RecallHandle, RecallReply, RecallRequest, decode_words};

use crate::broker::facts::waiting::{Waiting, recalled_by};
use crate::broker::limits::LOOK_FACTS_MAX;
use crate::broker::outcome::Outcome;
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call};

/// RECALL_MESSAGE
pub fn recall<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let waits = &broker.settings.waits;
    if !waits.recall {
        return Err(Refusal::RecallForbidden);
    }
    let request = RecallRequest::decode(&call.head.fields)?;
    if broker.topics.get(request.topic).is_none() {
        return Err(Refusal::RecallTopicUnknown(request.topic.into()));
    }
    let words = decode_words(request.handle).ok_or(Refusal::Recall("recall handle is invalid"))?;
    let handle = RecallHandle::read(&words).ok_or(Refusal::Recall("recall handle is invalid"))?;
    if handle.topic != request.topic {
        return Err(Refusal::Recall("recall failed, topic not match"));
    }
    if handle.broker_name != broker.identity.broker_name {
        return Err(Refusal::Recall("recall failed, broker service not available"));
    }
    let left_ms = handle.due_ms.saturating_sub(call.now.wall_ms);
    if left_ms <= 0 || left_ms > waits.horizon_ms {
        return Err(Refusal::Recall("recall failed, timestamp invalid"));
    }
    let answer = RecallReply { unique_key: handle.unique_key };
    let waiting = find(broker, &handle);
    let Some(waiting) = waiting else {
        reply.fields(&answer.fields());
        return Ok(Outcome::Reply);
    };
    let batch = &mut broker.scratch.batch;
    batch.clear();
    batch.delete(&waiting.key());
    let appended = broker.store.append(batch)?;
    broker.waiting.ended(&waiting);
    reply.fields(&answer.fields());
    Ok(Outcome::ReplyWhenDurable(appended.ticket))
}

/// The message that a handle names, if it waits: one of those due in that millisecond.
fn find<E: Env>(broker: &Broker<E>, handle: &RecallHandle<'_>) -> Option<Waiting> {
    let wanted = recalled_by(handle.topic, handle.unique_key);
    let mut from = Waiting::first_at(handle.due_ms).key().to_vec();
    let mut found = None;
    // Many may be due in one millisecond, and every key that is passed costs little.
    for _ in 0..LOOK_FACTS_MAX {
        let next =
            broker.store.some_facts(&from, LOOK_FACTS_MAX, |key, value| match Waiting::decode_key(key) {
                Ok(waiting) if waiting.due_ms == handle.due_ms && waiting.level == 0 => {
                    let is_wanted = pointing::split(value).is_some_and(|(_, rest)| rest == wanted);
                    found = is_wanted.then_some(waiting);
                    if is_wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                }
                _ => ControlFlow::Break(()),
            });
        match next {
            Some(next)
                if found.is_none()
                    && next > from
                    && Waiting::decode_key(&next)
                        .is_ok_and(|next| next.due_ms == handle.due_ms && next.level == 0) =>
            {
                from = next
            }
            _ => break,
        }
    }
    found
}
