//! What `apply` derives from the log: queues, facts, keys, times. Pure and deterministic.
//!
//! The same calls, in the order of the log, are made when a batch is accepted and when the log is replayed: so
//! a replayed state is the accepted state.
//!
//! ```text
//!   sidecars, one per segment │ learnt, one per segment │
//!   in files                  │ sealed …      active    │
//!                             ^ a segment whose sidecar was written moves over
//! ```
//!
//! Invariants
//!  1. A queue's offsets are dense: each record gets the queue's end.
//!  2. Store times never go back along the log.
//!  3. Every segment of the log has its sidecar or its learnt part here; of a fact, the newest of these counts.
//!  4. Memory holds what the segments without a sidecar changed, and of each queue its name and end.
//!
//! Not here: bytes of frames (`log`), who may see what is accepted (`Store`, by the marks of durable frames), when a
//! sidecar is made (`sealing`).

mod facts;
pub(crate) mod keys;
mod learnt;
mod places;
mod queues;
mod reading;
mod times;

use std::collections::VecDeque;
use std::rc::Rc;

pub(crate) use learnt::{Learnt, Occurrence};
pub(crate) use queues::{Entry, Queues};

use crate::offset::QueueOffset;
use crate::pointing::{PointingChanges, is_pointing};
use crate::sidecar::{Damaged, Seal, Sidecar, SidecarSet, queue_of_key};

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
#[derive(Debug)]
pub(crate) struct State {
    pub queues: Queues,
    sidecars: SidecarSet,
    /// What no sidecar holds yet, one part per segment, the newest last.
    learnt: VecDeque<Learnt>,
    segment_bytes: u64,
    /// Where the first segment begins that has no part here.
    next_base: u64,
    live_facts: u64,
    records: u64,
    pub pointing: PointingChanges,
}

impl State {
    /// The state at the end of the last segment with a sidecar. Its queues are not known yet: [`State::load_some`].
    pub fn over(sidecars: SidecarSet, segment_bytes: u64) -> State {
        let last = sidecars.last();
        State {
            queues: Queues::default(),
            learnt: VecDeque::new(),
            segment_bytes,
            next_base: last.map_or(0, |last| last.end()),
            live_facts: last.map_or(0, |last| last.live_facts()),
            records: last.map_or(0, |last| last.records()),
            pointing: PointingChanges::default(),
            sidecars,
        }
    }

    /// Without a sidecar: the log begins at `base`, because what was before it has retired.
    pub fn begin_at(&mut self, base: u64) {
        if self.sidecars.first().is_none() {
            self.next_base = base;
        }
    }

    /// Makes some of the queues that the sidecars know, from just after a key on. Returns where to go on.
    pub fn load_some(&mut self, after: Option<&[u8]>, max: usize) -> Result<Option<Vec<u8>>, Damaged> {
        let State { queues, sidecars, .. } = self;
        sidecars.some_queues(after, max, |key, end| {
            if let Some((topic, queue_id)) = queue_of_key(key) {
                let queue = queues.find_or_add(topic, queue_id);
                queues.at_mut(queue).begin_at(end.end, end.last);
            }
        })
    }

    /// Gives loaded queues the minimums that facts say they have.
    pub fn load_minimums(&mut self) {
        let mut minimums = Vec::new();
        self.visit_facts_with_prefix(&[ENGINE_PREFIX, QUEUE_MIN], |key, value| {
            if let (Some((topic, queue_id)), Ok(min)) = (queue_of_min_key(key), value.try_into()) {
                minimums.push((topic.to_owned(), queue_id, u64::from_be_bytes(min)));
            }
        });
        for (topic, queue_id, min) in minimums {
            let queue = self.queues.find_or_add(&topic, queue_id);
            self.queues.at_mut(queue).forget_before(QueueOffset(min));
        }
    }

    /// A record of `queue` was appended, with those properties; returns its offset.
    pub fn apply_record(
        &mut self,
        queue: QueueRef,
        entry: Entry,
        store_timestamp_ms: i64,
        properties: &[u8],
    ) -> QueueOffset {
        let State { queues, learnt, records, .. } = self.roll_to(entry.physical);
        let learnt = learnt.back_mut().expect("there is a part for every place past the sidecars");
        *records += 1;
        learnt.records_so_far = *records;
        let known = queues.at_mut(queue);
        if known.last_segment != learnt.base {
            known.occurrence = u32::try_from(learnt.queues.len()).expect("a QueueRef is as small");
            let (first, previous) = (known.end().0, known.last_segment);
            learnt.queues.push(Occurrence { queue, first, previous });
            known.last_segment = learnt.base;
        }
        learnt.times.push(store_timestamp_ms, entry.physical);
        learnt.places.push(entry.physical, known.occurrence);
        let position =
            u32::try_from(entry.physical - learnt.base).expect("segments are at most SEGMENT_BYTES_MAX");
        learnt.keys.push(known.topic_hash, position, entry.size, properties);
        known.push(entry)
    }

    /// A fact was set or (`None`) deleted by a change that lies at `physical`. The engine's own facts also act.
    pub fn apply_fact(&mut self, physical: u64, key: &[u8], value: Option<&[u8]>) {
        if let Some((topic, queue_id)) = queue_of_min_key(key)
            && let Some(min) = value.and_then(|value| value.try_into().ok())
        {
            let queue = self.queues.find_or_add(topic, queue_id);
            self.queues.at_mut(queue).forget_before(QueueOffset(u64::from_be_bytes(min)));
        }
        if is_pointing(key) {
            self.pointing.note(physical, value);
        }
        let was_there = self.fact(key).is_some();
        let State { learnt, live_facts, .. } = self.roll_to(physical);
        match (was_there, value.is_some()) {
            (false, true) => *live_facts += 1,
            (true, false) => *live_facts -= 1,
            _ => {}
        }
        let learnt = learnt.back_mut().expect("there is a part for every place past the sidecars");
        learnt.live_facts = *live_facts;
        learnt.change(key, value);
    }

    /// A segment was ended by that frame, which is durable.
    pub fn apply_seal(&mut self, seal: Seal) {
        let base = seal.position - seal.position % self.segment_bytes;
        self.roll_to(base);
        if let Some(learnt) = self.learnt.iter_mut().find(|learnt| learnt.base == base) {
            learnt.seal = Some(seal);
        }
    }

    /// Makes parts up to the segment of `physical`.
    fn roll_to(&mut self, physical: u64) -> &mut State {
        while self.next_base <= physical {
            self.learnt.push_back(Learnt::new(self.next_base, self.live_facts, self.records));
            self.next_base += self.segment_bytes;
        }
        self
    }

    /// The oldest segment that is sealed and has no sidecar.
    pub fn sealed(&self) -> Option<(&Learnt, Seal)> {
        let learnt = self.learnt.front()?;
        Some((learnt, learnt.seal?))
    }

    /// What was learnt from the segment at `base`, if it is still held.
    pub fn learnt(&self, base: u64) -> Option<&Learnt> {
        self.learnt.iter().find(|learnt| learnt.base == base)
    }

    pub fn sidecars(&self) -> &SidecarSet {
        &self.sidecars
    }

    /// The sidecar of the oldest learnt part is there: look-ups below go to it. The learnt part is dropped by
    /// [`State::drop_some`]; until then both say the same.
    pub fn add_sidecar(&mut self, sidecar: Rc<Sidecar>) {
        self.sidecars.push(sidecar);
    }

    /// A sidecar was made again.
    pub fn replace_sidecar(&mut self, sidecar: Rc<Sidecar>) {
        self.sidecars.replace(sidecar);
    }

    /// Drops some of what a sidecar holds now. Whether there is more.
    pub fn drop_some(&mut self, max: usize) -> bool {
        let State { learnt, sidecars, queues, segment_bytes, .. } = self;
        let Some(oldest) = learnt.front_mut().filter(|oldest| sidecars.at(oldest.base).is_some()) else {
            return false;
        };
        let end = oldest.base + *segment_bytes;
        for _ in 0..max {
            if let Some(occurrence) = oldest.queues.pop() {
                let queue = queues.at_mut(occurrence.queue);
                let first = queue.held_before(end);
                queue.drop_before(first);
                queue.last_sealed = oldest.base;
            } else if oldest.facts.pop_first().is_none() {
                learnt.pop_front();
                return false;
            }
        }
        true
    }

    /// The oldest segment retires, with its sidecar. `None` if its sidecar is still needed. The caller then drops the
    /// files, the segment's first; queues begin after it from now on ([`State::first_kept`]).
    pub fn retire_oldest(&mut self) -> Option<Rc<Sidecar>> {
        self.sidecars.retire_oldest()
    }

    /// Live facts.
    pub fn live_facts(&self) -> u64 {
        self.live_facts
    }

    /// Records in the log, retired ones included.
    pub fn records(&self) -> u64 {
        self.records
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
    fn the_fact_of_a_minimum_forgets_what_is_before_it_in_that_queue_only() {
        let mut state = State::over(SidecarSet::default(), 1 << 20);
        let queues = [("t", 3), ("t", -1), ("", 1)].map(|(topic, id)| state.queues.find_or_add(topic, id));
        for n in 0..10 {
            for queue in queues {
                let entry = Entry { physical: 100 + n * 10, size: 1, tag_hash: 0, crc: 0 };
                state.apply_record(queue, entry, 0, b"");
            }
        }
        let min = |n: u64| n.to_be_bytes();
        let key = queue_min_key("t", 3);
        type Row<'a> = (&'a str, &'a [u8], Option<&'a [u8]>, [u64; 3]);
        #[rustfmt::skip]
        let rows: &[Row<'_>] = &[
            ("a minimum",              &key,                      Some(&min(4)),  [4, 0, 0]),
            ("an earlier one",         &key,                      Some(&min(2)),  [4, 0, 0]),
            ("of another number",      &queue_min_key("t", -1),   Some(&min(7)),  [4, 7, 0]),
            ("past the end",           &queue_min_key("", 1),     Some(&min(99)), [4, 7, 10]),
            ("no value",               &key,                      None,           [4, 7, 10]),
            ("too short a value",      &key,                      Some(b"short"), [4, 7, 10]),
            ("a key of somebody else", b"qm\0\0\0\x03t",         Some(&min(9)),  [4, 7, 10]),
            ("a key that ends early",  &[ENGINE_PREFIX, QUEUE_MIN, 0], Some(&min(9)), [4, 7, 10]),
        ];
        for (what, key, value, minimums) in rows {
            state.apply_fact(500, key, *value);
            assert_eq!(queues.map(|queue| state.queues.at(queue).min().0), *minimums, "{what}");
        }
        assert_eq!(state.queues.iter_mut().count(), 3, "no other queue was made");
    }
}
