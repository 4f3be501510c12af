//! Messages that wait for their time: delay levels, timers, and retries.
//!
//! ```text
//!   send ─▶ rule: until when? ─▶ one batch: waiting record + fact (due time ─▶ record)
//!                                                       │
//!   clock ─▶ moves: facts that are due ─▶ their records ┴▶ one batch: the message in its queue, the fact deleted
//! ```
//!
//! Invariants
//!  1. A message waits exactly as long as its fact is there. The move is one batch, so it happens once or not at all, also
//!     when the process dies in between.
//!  2. Per delay level, messages are delivered in the order in which they were accepted; timers in the order of their due times.
//!     One that cannot be read does not hold up the others.
//!  3. None is delivered before its time.
//!  4. Memory is that of the window over those due next ([`near`]), however many wait.
//!
//! Not here: that a record outlives its segment while its fact is there (`ringmq_engine::pointing`), reading from disk (the shard
//! loop, for [`ReadFor::Waiting`](super::outcome::ReadFor)).

mod lateness;
mod moves;
pub mod near;
mod record;
pub mod rule;

use std::collections::VecDeque;
use std::time::Duration;

use ringmq_engine::batch::Target;
use ringmq_engine::env::Env;
use ringmq_engine::{Batch, Store};
use ringmq_wire::record::{Draft, properties, tag};

use super::facts::waiting::Waiting;
use super::limits::{
    NEAR_AHEAD, NEAR_BYTES_MAX, NEAR_MESSAGES_MAX, PROPERTIES_BYTES_MAX, WAITED_PROPERTIES_BYTES,
};
use super::outcome::Now;
use super::planted::{self, MoveBug};
use super::reply::Refusal;
pub use lateness::Lateness;
use near::{Near, NearMax};
use rule::Wait;

/// What a shard knows of its waiting messages beside their facts. One per shard.
#[derive(Debug)]
pub struct WaitingMessages {
    near: Near,
    /// Reads under way.
    reads: usize,
    /// Messages set aside, and when they are tried again, in that order.
    aside: VecDeque<(Duration, Waiting)>,
    /// When there is something to do next (monotonic).
    due: Option<Duration>,
    /// How late messages were.
    pub lateness: Lateness,
}

impl WaitingMessages {
    /// Of a shard that begins: the facts have not been looked at.
    pub fn new(now: Now) -> WaitingMessages {
        let ahead_ms = i64::try_from(NEAR_AHEAD.as_millis()).expect("a few seconds");
        let max = NearMax { messages: NEAR_MESSAGES_MAX, bytes: NEAR_BYTES_MAX, ahead_ms };
        WaitingMessages {
            near: Near::new(max),
            reads: 0,
            aside: VecDeque::new(),
            due: Some(now.monotonic),
            lateness: Lateness::default(),
        }
    }

    /// When there is something to do next (monotonic). To be noticed within a few milliseconds.
    pub fn next_due(&self) -> Option<Duration> {
        self.due
    }

    /// A message waits: the store has accepted its fact.
    pub fn began(&mut self, waiting: Waiting, now: Now) {
        if !planted::is(MoveBug::WindowNotNoted) {
            self.near.note(waiting);
        }
        self.wake_at(self.when(now));
    }

    /// A message waits no more: the store has accepted that its fact is deleted.
    pub fn ended(&mut self, waiting: &Waiting) {
        self.near.forget(waiting);
    }

    fn wake_at(&mut self, at: Option<Duration>) {
        self.due = self.due.into_iter().chain(at).min();
    }
}

/// Adds to a batch the record of a message that waits, and the fact that points to it. `properties` is scratch; `recalled_by`
/// lets it be recalled. At most one per batch: the place in its queue is known before the append.
pub fn put<E: Env>(
    store: &Store<E>,
    batch: &mut Batch,
    properties: &mut Vec<u8>,
    wait: Wait,
    message: &Draft<'_>,
    recalled_by: &[u8],
) -> Result<Waiting, Refusal> {
    properties.clear();
    record::push_waiting_properties(wait, message, properties);
    if properties.len() + WAITED_PROPERTIES_BYTES > PROPERTIES_BYTES_MAX {
        return Err(Refusal::MessageTooLarge { body: message.body.len(), properties: properties.len() });
    }
    let (topic, queue_id) = record::place(wait);
    let queue = store.queue(topic, queue_id);
    let tag_hash = properties::get(message.properties, properties::TAGS).map_or(0, tag::hash_code);
    batch.record(queue, tag_hash, &Draft { topic, queue_id, properties, ..*message })?;
    let waiting = Waiting { due_ms: wait.due_ms, level: wait.level, queue_offset: store.appended_end(queue) };
    batch.put_pointing(&waiting.key(), Target::LastRecord, recalled_by);
    Ok(waiting)
}
