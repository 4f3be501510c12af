//! What the clock makes of waiting messages: looks for those due soon, reads their records ahead, and delivers those due.
//!
//! Rules only: what must be read from disk goes into the outbox and comes back through
//! [`Broker::read_done`](crate::broker::Broker::read_done). Each turn is short; what is left over is due again at once.

use std::ops::ControlFlow;
use std::time::Duration;

use ringmq_engine::env::Env;
use ringmq_engine::offset::PhysicalOffset;
use ringmq_engine::pointing;
use ringmq_engine::store::{AppendError, Piece, ReadError, Slice};
use ringmq_wire::record::{Records, decode, properties, tag};

use super::near::Held;
use super::{WaitingMessages, record};
use crate::broker::facts::waiting::{PREFIX, Waiting};
use crate::broker::limits::{
    LOOK_FACTS_MAX, LOOKS_PER_TURN, MOVE_BYTES_MAX, MOVE_REFUSED_DELAY, MOVES_PER_TURN, NEAR_BYTES_MAX,
    READ_AHEAD_MESSAGES_MAX, READ_AHEAD_STEP, READS_AHEAD_MAX, UNREADABLE_DELAY,
};
use crate::broker::outcome::{Now, Outbox, ReadFor, RecordRead};
use crate::broker::planted::{self, MoveBug};
use crate::broker::{Broker, Scratch};

/// Where a waiting message's record is.
enum Found<E: Env> {
    Hot(Slice<E>),
    Cold(PhysicalOffset, Piece<E>),
    /// Accepted, and not yet durable.
    NotYet,
    /// The log does not know it: perhaps a sidecar is being made again.
    Unknown,
    /// Nothing waits.
    Gone,
}

impl<E: Env> Broker<E> {
    /// Looks, reads ahead and delivers; says when to come again by [`WaitingMessages::next_due`].
    pub(in crate::broker) fn move_waiting(&mut self, now: Now, out: &mut Outbox<E>) {
        while let Some((_, waiting)) = self.waiting.aside.pop_front_if(|(again, _)| *again <= now.monotonic) {
            self.waiting.near.set(waiting, Held::Unread);
        }
        let now_ms = self.store.stamp(now.wall_ms);
        self.look(now_ms);
        self.read_ahead(now, now_ms, out);
        let again = match self.deliver(now, now_ms) {
            Ok(more) if more => Some(now.monotonic),
            Ok(_) => self.waiting.when(now),
            Err(_) => Some(now.monotonic + MOVE_REFUSED_DELAY),
        };
        self.waiting.due = again;
    }

    /// Records that were read ahead.
    pub(in crate::broker) fn waiting_read(
        &mut self,
        messages: Vec<Waiting>,
        read: Result<Vec<u8>, ReadError>,
        now: Now,
        out: &mut Outbox<E>,
    ) {
        self.waiting.reads -= 1;
        match read {
            Ok(bytes) => {
                let records = Records::new(&bytes).map_while(Result::ok);
                for (waiting, record) in messages.iter().zip(records) {
                    if planted::is(MoveBug::ForgottenOnceRead) {
                        self.waiting.ended(waiting);
                    }
                    self.waiting.near.set(*waiting, Held::Read(record.bytes.into()));
                }
            }
            // One of them is bad: by halves, until it stands alone.
            Err(_) if messages.len() > 1 => {
                let (first, second) = messages.split_at(messages.len() / 2);
                self.read(first, out);
                self.read(second, out);
            }
            Err(error) => {
                let [waiting] = messages[..] else { return };
                tracing::error!(?waiting, %error, "a message that is to be delivered cannot be read; it stays, the others go on");
                self.waiting.set_aside(waiting, now);
            }
        }
        self.move_waiting(now, out);
    }

    /// Takes facts into the window.
    fn look(&mut self, now_ms: i64) {
        for _ in 0..LOOKS_PER_TURN {
            let Some((from, until_ms, room)) = self.waiting.near.wants(now_ms) else { return };
            let mut found = Vec::new();
            let next = self.store.some_facts(from, LOOK_FACTS_MAX, |key, _| match Waiting::decode_key(key) {
                Ok(waiting) if waiting.due_ms < until_ms && found.len() < room => {
                    found.push(waiting);
                    ControlFlow::Continue(())
                }
                Err(error) if key.first() == Some(&PREFIX) => {
                    tracing::error!(%error, "a waiting message is not delivered");
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Break(()),
            });
            self.waiting.near.take(&found, next, until_ms);
        }
    }

    /// Takes records into memory: those in the tail cache at once, the others by one read.
    fn read_ahead(&mut self, now: Now, now_ms: i64, out: &mut Outbox<E>) {
        if self.waiting.reads >= READS_AHEAD_MAX {
            return;
        }
        let mut room = NEAR_BYTES_MAX.saturating_sub(self.waiting.near.bytes());
        let wanted: Vec<Waiting> = self.waiting.near.unread().take(READ_AHEAD_MESSAGES_MAX).collect();
        let mut cold = Vec::new();
        for waiting in wanted {
            match self.find(&waiting) {
                Found::Hot(slice) => {
                    let bytes = slice.bytes();
                    room = room.saturating_sub(bytes.len());
                    self.waiting.near.set(waiting, Held::Read(bytes.into()));
                }
                Found::Cold(place, piece) => {
                    if let Piece::Cold { len, .. } = &piece {
                        room = room.saturating_sub(*len as usize);
                    }
                    cold.push((place, waiting, piece));
                }
                Found::NotYet => {}
                Found::Unknown => self.waiting.set_aside(waiting, now),
                Found::Gone => self.waiting.ended(&waiting),
            }
            if room == 0 && waiting.due_ms > now_ms {
                break;
            }
        }
        self.begin_read(cold, out);
    }

    fn read(&mut self, messages: &[Waiting], out: &mut Outbox<E>) {
        let mut cold = Vec::new();
        for waiting in messages {
            match self.find(waiting) {
                Found::Cold(place, piece) => cold.push((place, *waiting, piece)),
                _ => self.waiting.near.set(*waiting, Held::Unread),
            }
        }
        self.begin_read(cold, out);
    }

    fn begin_read(&mut self, mut cold: Vec<(PhysicalOffset, Waiting, Piece<E>)>, out: &mut Outbox<E>) {
        if cold.is_empty() {
            return;
        }
        // As they lie in the log: neighbours come with one read.
        cold.sort_by_key(|(place, ..)| *place);
        let (mut messages, mut pieces) = (Vec::with_capacity(cold.len()), Vec::with_capacity(cold.len()));
        for (_, waiting, piece) in cold {
            self.waiting.near.set(waiting, Held::Reading);
            messages.push(waiting);
            pieces.push(piece);
        }
        self.waiting.reads += 1;
        out.reads.push(RecordRead { what: ReadFor::Waiting(messages), pieces });
    }

    /// Delivers what is due, in order and in one batch. Says whether there is more.
    fn deliver(&mut self, now: Now, now_ms: i64) -> Result<bool, AppendError> {
        let bytes_max = MOVE_BYTES_MAX.min(self.store.batch_bytes_max() / 2);
        let Scratch { batch, .. } = &mut self.scratch;
        batch.clear();
        batch.wall_ms = Some(now.wall_ms);
        let (mut moved, mut unusable, mut bytes, mut more) = (Vec::new(), Vec::new(), 0, false);
        let early_ms = if planted::is(MoveBug::DeliveredEarly) { 1_000 } else { 0 };
        let is_due = |waiting: &Waiting| waiting.due_ms <= now_ms + early_ms;
        for (waiting, held) in self.waiting.near.iter().take_while(|(waiting, _)| is_due(waiting)) {
            let slice;
            let record = match held {
                Held::Aside(_) => continue,
                Held::Read(bytes) => &bytes[..],
                Held::Reading => break,
                Held::Unread => match find(&self.store, waiting) {
                    Found::Hot(found) => {
                        slice = found;
                        slice.bytes()
                    }
                    _ => break,
                },
            };
            if moved.len() >= MOVES_PER_TURN || (!moved.is_empty() && bytes + record.len() > bytes_max) {
                more = true;
                break;
            }
            bytes += record.len();
            if add_delivered(&self.store, &mut self.scratch, record, now_ms).is_some() {
                if !planted::is(MoveBug::DeletedAfterwards) && !planted::is(MoveBug::DeletedBefore) {
                    self.scratch.batch.delete(&waiting.key());
                }
                moved.push(*waiting);
            } else {
                unusable.push(*waiting);
            }
        }
        for waiting in unusable {
            tracing::error!(
                ?waiting,
                "a waiting message does not say where it belongs; it stays, the others go on"
            );
            self.waiting.set_aside(waiting, now);
        }
        if moved.is_empty() {
            return Ok(false);
        }
        if planted::is(MoveBug::DeletedBefore) {
            self.delete_apart(&moved);
        }
        match self.store.append(&mut self.scratch.batch) {
            Ok(_) => {}
            Err(AppendError::TooLarge { .. }) if moved.len() == 1 => {
                tracing::error!(waiting = ?moved[0], "a waiting message is too large to be delivered; it stays, the others go on");
                self.waiting.set_aside(moved[0], now);
                return Ok(true);
            }
            Err(error) => return Err(error),
        }
        if planted::is(MoveBug::DeletedAfterwards) {
            self.delete_apart(&moved);
        }
        for waiting in &moved {
            self.waiting.ended(waiting);
            self.waiting.lateness.note(now_ms - waiting.due_ms);
        }
        self.counters.totals.put += moved.len() as u64;
        Ok(more)
    }

    /// What no move does: deletes facts in a batch of their own.
    fn delete_apart(&self, moved: &[Waiting]) {
        for waiting in moved {
            let mut batch = ringmq_engine::Batch::default();
            batch.delete(&waiting.key());
            // A mistake that is planted has no remedy either.
            let _ = self.store.append(&mut batch);
        }
    }

    fn find(&self, waiting: &Waiting) -> Found<E> {
        find(&self.store, waiting)
    }
}

/// Where a message's record is now: it may have been carried forward since its fact was looked at last.
fn find<E: Env>(store: &ringmq_engine::Store<E>, waiting: &Waiting) -> Found<E> {
    let place = store.fact(&waiting.key()).and_then(|value| pointing::split(&value).map(|(place, _)| place));
    let Some(place) = place else { return Found::Gone };
    match store.locate(place) {
        Some(Piece::Hot(slice)) => Found::Hot(slice),
        Some(piece) => Found::Cold(place, piece),
        None if place.0 >= store.durable().0 => Found::NotYet,
        None => Found::Unknown,
    }
}

/// Adds the message of a waiting record to the batch; `None` if the record is not one.
fn add_delivered<E: Env>(
    store: &ringmq_engine::Store<E>,
    scratch: &mut Scratch,
    bytes: &[u8],
    now_ms: i64,
) -> Option<()> {
    let waiting = decode(bytes).ok()?;
    let draft = record::delivered(&waiting, now_ms, &mut scratch.properties)?;
    let queue = store.queue(draft.topic, draft.queue_id);
    let tag_hash = properties::get(draft.properties, properties::TAGS).map_or(0, tag::hash_code);
    scratch.batch.record(queue, tag_hash, &draft).ok()
}

impl WaitingMessages {
    /// When there is something to do (monotonic), after a turn that did all it could.
    pub(super) fn when(&self, now: Now) -> Option<Duration> {
        let at =
            |ms: i64| now.monotonic + Duration::from_millis(u64::try_from(ms - now.wall_ms).unwrap_or(0));
        let next = self.near.iter().find(|(_, held)| !matches!(held, Held::Aside(_)));
        let next = next.and_then(|(waiting, held)| match held {
            // The end of the read comes by itself.
            Held::Reading => None,
            // Not durable, or not found: looking at once would find the same.
            Held::Unread => Some(at(waiting.due_ms).max(now.monotonic + READ_AHEAD_STEP)),
            Held::Read(_) | Held::Aside(_) => Some(at(waiting.due_ms)),
        });
        let unread = self.near.unread().next().map(|_| now.monotonic + READ_AHEAD_STEP);
        let look = self.near.wants_at_ms().map(at);
        let aside = self.aside.front().map(|(again, _)| *again);
        [next, unread, look, aside].into_iter().flatten().min()
    }

    fn set_aside(&mut self, waiting: Waiting, now: Now) {
        let again = now.monotonic + UNREADABLE_DELAY;
        self.near.set(waiting, Held::Aside(again));
        self.aside.push_back((again, waiting));
    }
}
