//! Sidecars against a plain model: what a state over sidecars says is what was applied.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use proptest::prelude::*;

use super::{
    Builder, FOOTER_BYTES, Identity, Input, KEYS, PAGE_BYTES, Seal, Sidecar, SidecarFault, SidecarSet,
};
use crate::env::Map;
use crate::keys::{FOUND_BY_KEY_MAX, KEY_ROWS_SEARCHED_MAX, KEY_SEGMENTS_SEARCHED_MAX, KeyQuery};
use crate::limits::SIDECAR_STEP_ROWS;
use crate::offset::{PhysicalOffset, QueueOffset};
use crate::state::keys::{key_hash, topic_hash};
use crate::state::{Entry, QueueRef, State};

const SEGMENT: u64 = 1 << 20;
const IDENTITY: Identity = Identity { store_id: 0x1122_3344_5566_7788, segment_bytes: SEGMENT };

/// One thing that happens to a store.
#[derive(Debug, Clone)]
enum Op {
    Record { queue: u16, gap: u8, ms: u8 },
    Put { key: u16, len: u8 },
    Delete { key: u16 },
    Roll,
}

/// What must hold: every record by queue, every fact.
#[derive(Debug, Default)]
struct Plain {
    queues: BTreeMap<u16, Vec<(Entry, i64)>>,
    /// By topic and key: records and when they were stored, in the order of the log.
    keys: BTreeMap<(String, String), Vec<(u64, i64)>>,
    facts: BTreeMap<Vec<u8>, Vec<u8>>,
    next: u64,
    ms: i64,
    ops: u32,
}

fn name(queue: u16) -> (String, i32) {
    (format!("topic-{}", queue / 3), i32::from(queue % 3) - 1)
}

fn fact_key(key: u16) -> Vec<u8> {
    format!("fact/{key:05}").into_bytes()
}

impl Plain {
    /// Does it to the model and to a state that is at the same place.
    fn apply(&mut self, op: &Op, states: &mut [&mut State]) {
        self.ops += 1;
        self.next += 1;
        match op {
            Op::Record { queue, gap, ms } => {
                self.next += u64::from(*gap);
                self.ms += i64::from(*ms);
                let entry =
                    Entry { physical: self.next, size: 64 + u32::from(*gap), tag_hash: -3, crc: self.ops };
                let (topic, queue_id) = name(*queue);
                let [unique, key] = [format!("u{}", self.ops), format!("k{}", gap % 4)];
                // The second time is one too many of `key` or, in a small record, a key too many.
                let properties = format!("KEYS\x01 {key} all  {key}\x02UNIQ_KEY\x01{unique}\x02");
                for state in states {
                    let queue = state.queues.find_or_add(&topic, queue_id);
                    state.apply_record(queue, entry, self.ms, properties.as_bytes());
                }
                for key in [unique, key, "all".into()] {
                    self.keys.entry((topic.clone(), key)).or_default().push((entry.physical, self.ms));
                }
                self.queues.entry(*queue).or_default().push((entry, self.ms));
                self.next += 64;
            }
            Op::Put { key, len } => {
                let (key, value) = (fact_key(*key), vec![self.ops as u8; usize::from(*len)]);
                states.iter_mut().for_each(|state| state.apply_fact(self.next, &key, Some(&value)));
                self.facts.insert(key, value);
            }
            Op::Delete { key } => {
                let key = fact_key(*key);
                states.iter_mut().for_each(|state| state.apply_fact(self.next, &key, None));
                self.facts.remove(&key);
            }
            Op::Roll => {
                let seal = Seal { position: self.next, epoch: 3, crc: self.ops, store_timestamp_ms: self.ms };
                states.iter_mut().for_each(|state| state.apply_seal(seal));
                self.next = (self.next / SEGMENT + 1) * SEGMENT;
            }
        }
    }

    fn check(&self, state: &State) {
        let mut facts = BTreeMap::new();
        state.visit_facts_with_prefix(b"fact/", |key, value| {
            facts.insert(key.to_vec(), value.to_vec());
        });
        assert_eq!(facts, self.facts);
        assert_eq!(state.live_facts(), self.facts.len() as u64);
        assert_eq!(state.records(), self.queues.values().map(|records| records.len() as u64).sum::<u64>());
        for (key, value) in &self.facts {
            assert_eq!(state.fact(key), Some(&value[..]));
        }
        for (queue, records) in &self.queues {
            let (topic, queue_id) = name(*queue);
            let queue = state.queues.at(state.queues.find(&topic, queue_id).expect("it has records"));
            assert_eq!(queue.end().0, records.len() as u64);
            for (offset, (entry, ms)) in records.iter().enumerate() {
                let offset = QueueOffset(offset as u64);
                assert_eq!(state.entry(queue, offset), Some(*entry));
                assert_eq!(state.time_of(entry.physical), Some(*ms));
                let (found, at) = state.place(PhysicalOffset(entry.physical)).expect("it is there");
                assert_eq!((found.name(), at), (queue.name(), offset));
                assert!(state.place(PhysicalOffset(entry.physical + 1)).is_none());
                let first = records.partition_point(|(_, other)| other < ms);
                assert_eq!(
                    state.stored_at_or_after(queue, *ms, queue.end()),
                    QueueOffset(first as u64),
                    "stored at {ms}"
                );
            }
            assert_eq!(state.entry(queue, queue.end()), None);
            assert_eq!(state.stored_at_or_after(queue, self.ms + 1, queue.end()), queue.end());
        }
        for ((topic, key), records) in &self.keys {
            assert_eq!(self.found(state, topic, key, i64::MIN..=i64::MAX), newest_first(records));
            let (_, ms) = records[records.len() / 2];
            let (first, last) = (
                records.partition_point(|(_, at)| *at < ms),
                records.partition_point(|(_, at)| *at <= ms + 1),
            );
            assert_eq!(self.found(state, topic, key, ms..=ms + 1), newest_first(&records[first..last]));
            assert!(self.found(state, "topic", key, i64::MIN..=i64::MAX).is_empty());
        }
        assert_eq!(state.damaged(), None);
    }

    /// All that look-ups of a key find, a few at a time.
    fn found(&self, state: &State, topic: &str, key: &str, stored_ms: RangeInclusive<i64>) -> Vec<u64> {
        let query = KeyQuery { topic, key, stored_ms };
        let mut found: Vec<u64> = Vec::new();
        let mut before = Some(PhysicalOffset(self.next));
        while let Some(at) = before {
            let some = state.find_by_key(&query, at.0, 7).expect("nothing is damaged");
            assert!(some.candidates.len() <= 7 && some.next.is_none_or(|next| next < at), "{at:?}: {some:?}");
            found.extend(some.candidates.iter().map(|physical| physical.0));
            before = some.next;
        }
        found
    }
}

fn newest_first(records: &[(u64, i64)]) -> Vec<u64> {
    records.iter().rev().map(|(physical, _)| *physical).collect()
}

fn build(state: &State) -> Vec<u8> {
    let (learnt, seal) = state.sealed().expect("a segment has ended");
    let mut builder = Builder::new(IDENTITY, seal, learnt, state.sidecars());
    let mut bytes = Vec::new();
    for steps in 0.. {
        let done = builder.step(Input { learnt, queues: &state.queues }).expect("nothing is damaged");
        while let Some(more) = builder.take(PAGE_BYTES) {
            bytes.extend(more);
        }
        if done {
            return bytes;
        }
        assert!(steps < 10_000, "it ends");
    }
    unreachable!("it returns when it is done");
}

/// Gives the oldest sealed segment its sidecar. Returns its bytes.
fn seal(state: &mut State) -> Vec<u8> {
    let bytes = build(state);
    let sidecar = Sidecar::decode(Box::new(bytes.clone())).expect("it is whole");
    sidecar.check_all().expect("it is whole");
    state.add_sidecar(Rc::new(sidecar));
    while state.drop_some(7) {}
    bytes
}

fn over(sidecars: SidecarSet) -> State {
    let mut state = State::over(sidecars, SEGMENT);
    let mut after = None;
    loop {
        after = state.load_some(after.as_deref(), 5).expect("nothing is damaged");
        if after.is_none() {
            break;
        }
    }
    state.load_minimums();
    state
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..9u16, 0..200u8, 0..3u8).prop_map(|(queue, gap, ms)| Op::Record { queue, gap, ms }),
        4 => (0..40u16, 0..20u8).prop_map(|(key, len)| Op::Put { key, len }),
        2 => (0..40u16).prop_map(|key| Op::Delete { key }),
        2 => Just(Op::Roll),
    ];
    prop::collection::vec(op, 1..120)
}

proptest! {
    #[test]
    fn a_state_over_sidecars_is_what_was_applied(ops in ops()) {
        let mut plain = Plain::default();
        let mut state = State::over(SidecarSet::default(), SEGMENT);
        // The same, from the newest sidecar on: what a restart sees.
        let mut restarted = State::over(SidecarSet::default(), SEGMENT);
        for op in &ops {
            plain.apply(op, &mut [&mut state, &mut restarted]);
            if matches!(op, Op::Roll) {
                prop_assert_eq!(seal(&mut state), build(&restarted), "the same input gives the same bytes");
                restarted = over(state.sidecars().clone());
            }
        }
        plain.check(&state);
        plain.check(&restarted);
    }
}

#[test]
fn many_queues_and_facts_take_many_steps_and_give_the_same() {
    let mut plain = Plain::default();
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    let count = SIDECAR_STEP_ROWS as u16 * 2 + 5;
    for round in 0..4u16 {
        for n in 0..count {
            // Not in the order of their names.
            let queue = (n * 7 + round) % (count + 9);
            plain.apply(&Op::Record { queue, gap: 1, ms: 1 }, &mut [&mut state]);
            if n % 3 == round % 3 {
                plain.apply(&Op::Put { key: n, len: 9 }, &mut [&mut state]);
            } else if n % 5 == 0 {
                plain.apply(&Op::Delete { key: n }, &mut [&mut state]);
            }
        }
        plain.apply(&Op::Roll, &mut [&mut state]);
        seal(&mut state);
    }
    plain.check(&state);
    plain.check(&over(state.sidecars().clone()));
}

#[test]
fn a_look_up_of_a_key_does_a_bounded_amount_of_work_and_goes_on() {
    let mut plain = Plain::default();
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    let record = |queue| Op::Record { queue, gap: 0, ms: 0 };
    let count = KEY_ROWS_SEARCHED_MAX as u32 / 3 + 9;
    for _ in 0..count {
        plain.apply(&record(0), &mut [&mut state]);
    }
    let (topic, _) = name(0);
    let all = i64::MIN..=i64::MAX;
    let query = |key| KeyQuery { topic: &topic, key, stored_ms: all.clone() };
    let first = state.find_by_key(&query("u1"), plain.next, 9).expect("nothing is damaged");
    assert!(first.candidates.is_empty(), "it lies too far back for one look-up");
    let next = first.next.expect("there is more").0;
    let second = state.find_by_key(&query("u1"), next, 9).expect("nothing is damaged");
    assert_eq!((second.candidates, second.next), (vec![PhysicalOffset(1)], None));
    let many = state.find_by_key(&query("all"), plain.next, usize::MAX).expect("nothing is damaged");
    assert_eq!(many.candidates.len(), FOUND_BY_KEY_MAX);
    assert_eq!(plain.found(&state, &topic, "all", all.clone()).len(), count as usize);

    for _ in 0..KEY_SEGMENTS_SEARCHED_MAX {
        plain.apply(&Op::Roll, &mut [&mut state]);
        plain.apply(&record(9), &mut [&mut state]);
        while state.sealed().is_some() {
            seal(&mut state);
        }
    }
    let first = state.find_by_key(&query("u1"), plain.next, 9).expect("nothing is damaged");
    assert!(first.candidates.is_empty() && first.next.is_some(), "{first:?}");
    assert_eq!(plain.found(&state, &topic, "u1", all), [1]);
}

#[test]
fn a_look_up_of_a_key_touches_the_pages_where_it_would_be_and_no_others() {
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    let queue = state.queues.find_or_add("t", 0);
    let places: Vec<u64> = (0..SEGMENT).step_by(16).collect();
    for physical in &places {
        let entry = Entry { physical: *physical, size: 64, tag_hash: 0, crc: 0 };
        state.apply_record(queue, entry, 1, format!("UNIQ_KEY\x01u{physical}").as_bytes());
    }
    state.apply_seal(Seal { position: SEGMENT - 1, epoch: 3, crc: 0, store_timestamp_ms: 1 });
    let mut bytes = build(&state);
    let keys = Sidecar::decode(Box::new(bytes.clone())).expect("it is whole").footer().sections[KEYS];
    assert_eq!(keys.rows, places.len() as u64);
    // Any other search would begin here.
    bytes[(keys.at + keys.bytes / 2) as usize] ^= 1;
    state.add_sidecar(Rc::new(Sidecar::decode(Box::new(bytes)).expect("its footer is whole")));
    let find = |physical: u64| {
        let key = format!("u{physical}");
        let query = KeyQuery { topic: "t", key: &key, stored_ms: i64::MIN..=i64::MAX };
        state.find_by_key(&query, SEGMENT, 9).map(|found| found.candidates)
    };
    let hash = |physical: &u64| key_hash(topic_hash("t"), format!("u{physical}").as_bytes());
    for physical in places.iter().filter(|physical| [0, 3].contains(&(hash(physical) >> 30))) {
        assert_eq!(find(*physical), Ok(vec![PhysicalOffset(*physical)]));
    }
    assert_eq!(state.damaged(), None);
    let middle =
        places.iter().min_by_key(|physical| hash(physical).abs_diff(1 << 31)).expect("there are some");
    assert!(find(*middle).is_err(), "that page is damaged");
    assert_eq!(state.damaged(), Some(0));
}

#[test]
fn a_look_up_of_a_key_that_meets_damage_goes_on_there_when_it_is_mended() {
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    let queue = state.queues.find_or_add("t", 0);
    let places: Vec<u64> = (0..SEGMENT).step_by(128).collect();
    for physical in &places {
        let entry = Entry { physical: *physical, size: 64, tag_hash: 0, crc: 0 };
        state.apply_record(queue, entry, 1, b"KEYS\x01all");
    }
    state.apply_seal(Seal { position: SEGMENT - 1, epoch: 3, crc: 0, store_timestamp_ms: 1 });
    let good = build(&state);
    let sidecar =
        |bytes: &[u8]| Rc::new(Sidecar::decode(Box::new(bytes.to_vec())).expect("its footer is whole"));
    let keys = sidecar(&good).footer().sections[KEYS];
    assert_eq!(keys.rows, places.len() as u64);
    let mut bad = good.clone();
    bad[keys.at as usize + PAGE_BYTES] ^= 1;
    state.add_sidecar(sidecar(&bad));
    while state.drop_some(7) {}

    let query = KeyQuery { topic: "t", key: "all", stored_ms: i64::MIN..=i64::MAX };
    let (mut found, mut before, mut damaged) = (Vec::new(), SEGMENT, 0);
    while before > 0 {
        match state.find_by_key(&query, before, FOUND_BY_KEY_MAX) {
            Ok(some) => {
                found.extend(some.candidates.iter().map(|physical| physical.0));
                before = some.next.map_or(0, |next| next.0);
            }
            Err(_) => {
                damaged += 1;
                assert!(!found.is_empty(), "what lies behind the damage is found before");
                state.replace_sidecar(sidecar(&good));
            }
        }
    }
    assert_eq!((damaged, found), (1, places.into_iter().rev().collect()));
}

#[test]
fn a_sidecar_of_version_1_is_read_and_has_no_keys() {
    let mut plain = Plain::default();
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    for n in 0..50 {
        plain.apply(&Op::Record { queue: n % 7, gap: 1, ms: 1 }, &mut [&mut state]);
        plain.apply(&Op::Put { key: n, len: 9 }, &mut [&mut state]);
    }
    plain.apply(&Op::Roll, &mut [&mut state]);
    let bytes = build(&state);
    let of_version = |version: u16| {
        let mut bytes = bytes.clone();
        let footer = bytes.last_chunk_mut::<FOOTER_BYTES>().expect("it ends with a footer");
        footer[4..6].copy_from_slice(&version.to_be_bytes());
        footer[112 + 24 * KEYS..][..24].fill(if version == 1 { 0 } else { 0xff });
        let crc = crc32fast::hash(&footer[..FOOTER_BYTES - 4]);
        footer[FOOTER_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
        Sidecar::decode(Box::new(bytes))
    };
    for version in [0, 3] {
        assert_eq!(of_version(version).err(), Some(SidecarFault::Version(version)));
    }
    let sidecar = of_version(1).expect("it is read");
    assert_eq!(sidecar.keys(), None);
    state.add_sidecar(Rc::new(sidecar));
    while state.drop_some(7) {}
    let (topic, _) = name(0);
    assert!(plain.found(&state, &topic, "all", i64::MIN..=i64::MAX).is_empty());
    // A key is found from the next segment on, and all else everywhere.
    plain.keys.clear();
    plain.apply(&Op::Record { queue: 0, gap: 1, ms: 1 }, &mut [&mut state]);
    plain.apply(&Op::Roll, &mut [&mut state]);
    seal(&mut state);
    plain.check(&state);
    plain.check(&over(state.sidecars().clone()));
}

#[test]
fn a_base_is_written_when_changes_outgrow_half_of_it_or_it_is_old() {
    let mut plain = Plain::default();
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    for key in 0..2000 {
        plain.apply(&Op::Put { key, len: 50 }, &mut [&mut state]);
    }
    let mut based = String::new();
    for segment in 0..40u16 {
        // From the 20th on much changes.
        for key in 0..if segment < 20 { 3 } else { 400 } {
            plain.apply(&Op::Put { key, len: 50 }, &mut [&mut state]);
        }
        plain.apply(&Op::Roll, &mut [&mut state]);
        seal(&mut state);
        let last = state.sidecars().last().expect("it was added just now");
        based.push(if last.has_base() { 'B' } else { '.' });
    }
    assert_eq!(based, "B...............B.....B..B..B..B..B..B..");
    plain.check(&over(state.sidecars().clone()));
}

#[test]
fn a_base_costs_at_most_twice_what_changed_and_a_small_one_is_free() {
    // Rows of facts take 16 bytes more than their values, and a queue's row takes 41.
    let small: &[u8] = &[240; 4];
    let larger: &[u8] = &[240, 240, 240, 241];
    type Row<'a> = (&'a str, &'a [u8], &'a [(&'a [u8], bool)], &'a str);
    #[rustfmt::skip]
    let rows: &[Row<'_>] = &[
        // the first segment's values, those changed later and whether there is a record, which of all have a base
        ("1024 bytes are free",        small,  &[(&[0], false), (&[], false)],                    "BBB"),
        ("1025 are not",               larger, &[(&[0], false), (&[], false)],                    "B.."),
        ("half of it changed",         larger, &[(&[240, 240], false)],                           "B."),
        ("a byte more",                larger, &[(&[240, 241], false)],                           "BB"),
        ("half of it, bit by bit",     larger, &[(&[240], false), (&[240], false), (&[], false)], "B..."),
        ("more than half",             larger, &[(&[240], false), (&[240], false), (&[0], false)], "B..B"),
        ("half, with a queue",         larger, &[(&[240, 199], true)],                            "B."),
        ("more than half, with one",   larger, &[(&[240, 200], true)],                            "BB"),
    ];
    for (what, first, later, expected) in rows {
        let mut plain = Plain::default();
        let mut state = State::over(SidecarSet::default(), SEGMENT);
        let mut based = String::new();
        for (lens, record) in std::iter::once(&(*first, false)).chain(*later) {
            for (key, len) in (0..).zip(*lens) {
                plain.apply(&Op::Put { key, len: *len }, &mut [&mut state]);
            }
            if *record {
                plain.apply(&Op::Record { queue: 0, gap: 0, ms: 1 }, &mut [&mut state]);
            }
            plain.apply(&Op::Roll, &mut [&mut state]);
            seal(&mut state);
            let last = state.sidecars().last().expect("it was added just now");
            based.push(if last.has_base() { 'B' } else { '.' });
        }
        assert_eq!(based, *expected, "{what}");
        plain.check(&over(state.sidecars().clone()));
    }
}

#[test]
fn what_was_deleted_after_the_newest_base_stays_deleted() {
    let mut plain = Plain::default();
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    for key in 0..400 {
        plain.apply(&Op::Put { key, len: 50 }, &mut [&mut state]);
    }
    for segment in 0..5 {
        plain.apply(&Op::Roll, &mut [&mut state]);
        seal(&mut state);
        plain.check(&over(state.sidecars().clone()));
        plain.apply(&Op::Delete { key: segment * 3 }, &mut [&mut state]);
        plain.apply(&Op::Delete { key: segment * 3 + 1 }, &mut [&mut state]);
        plain.apply(&Op::Put { key: segment * 3, len: 1 }, &mut [&mut state]);
    }
    let last = state.sidecars().last().expect("five were added");
    assert!(!last.has_base(), "deletions are in the changes");
}

#[test]
fn what_retired_is_gone_and_everything_else_is_where_it_was() {
    let mut plain = Plain::default();
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    for segment in 0..6u16 {
        for n in 0..40 {
            // Queue 5 is in the first two segments only, queue 7 in the last but one.
            let queue = if n == 3 { if segment < 2 { 5 } else { n % 3 } } else { n % 3 };
            let queue = if (segment, n) == (4, 9) { 7 } else { queue };
            plain.apply(&Op::Record { queue, gap: 9, ms: 1 }, &mut [&mut state]);
        }
        if segment < 5 {
            plain.apply(&Op::Roll, &mut [&mut state]);
            seal(&mut state);
        }
    }
    assert_eq!(state.first_base(), 0);
    for segment in 0..4 {
        let retired = state.retire_oldest().map(|sidecar| sidecar.base());
        assert_eq!(retired, Some(segment * SEGMENT));
        let begin = (segment + 1) * SEGMENT;
        assert_eq!((state.first_base(), state.records()), (begin, 240));
        for (queue, records) in &plain.queues {
            let (topic, queue_id) = name(*queue);
            let queue = state.queues.at(state.queues.find(&topic, queue_id).expect("it is still known"));
            let first = records.partition_point(|(entry, _)| entry.physical < begin);
            assert_eq!(state.first_kept(queue), QueueOffset(first as u64), "of {topic}/{queue_id}");
            assert_eq!(queue.end(), QueueOffset(records.len() as u64));
            for (offset, (entry, ms)) in records.iter().enumerate() {
                let there = offset >= first;
                let offset = QueueOffset(offset as u64);
                assert_eq!(state.entry(queue, offset), there.then_some(*entry));
                assert_eq!(state.time_of(entry.physical), there.then_some(*ms));
                let place = state.place(PhysicalOffset(entry.physical)).map(|(_, offset)| offset);
                assert_eq!(place, there.then_some(offset));
            }
            let from_then_on = state.stored_at_or_after(queue, 0, queue.end());
            assert_eq!(from_then_on, QueueOffset(first as u64), "the first that is there");
        }
    }
    assert!(state.retire_oldest().is_none(), "facts and ends are told from it");
}

#[test]
fn long_values_are_made_in_steps_that_are_neither_long_nor_many() {
    let (value, mut state) = (vec![7; 60 << 10], State::over(SidecarSet::default(), SEGMENT));
    for key in 0..40 {
        state.apply_fact(key, &fact_key(key as u16), Some(&value));
    }
    state.apply_seal(Seal { position: 8192, epoch: 3, crc: 0, store_timestamp_ms: 0 });
    let (learnt, seal) = state.sealed().expect("it has ended");
    let mut builder = Builder::new(IDENTITY, seal, learnt, state.sidecars());
    let (mut steps, mut longest, mut made) = (0, 0, 0);
    loop {
        let done = builder.step(Input { learnt, queues: &state.queues }).expect("nothing is damaged");
        let bytes = builder.take(1).map_or(0, |bytes| bytes.len());
        (steps, longest, made) = (steps + 1, longest.max(bytes), made + bytes);
        if done {
            break;
        }
    }
    // All facts as changes and again as the base, in steps of 16 pages and what the last row has beyond.
    assert!(
        made > 2 * 40 * value.len() && longest <= 16 * PAGE_BYTES + 2 * value.len(),
        "{longest} of {made}"
    );
    // Four rows or more a step, and some steps for all other sections.
    assert!(steps <= 2 * 40 / 4 + 20, "{steps} steps");
}

#[test]
fn the_drawn_sidecar_is_the_written_one() {
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    let queue = state.queues.find_or_add("t", 1);
    assert_eq!(queue, QueueRef(0));
    state.apply_record(
        queue,
        Entry { physical: 4224, size: 91, tag_hash: 65, crc: 0xfeed_f00d },
        1_700_000_000_000,
        b"KEYS\x01a\x02",
    );
    state.apply_fact(4400, b"k", Some(b"v"));
    let seal = Seal { position: 8192, epoch: 1, crc: 0xdead_beef, store_timestamp_ms: 1_700_000_000_000 };
    state.apply_seal(seal);
    let bytes = build(&state);
    assert_eq!(bytes.len(), PAGE_BYTES + 4096);
    let footer = bytes.len() - 512;
    let mut lines = 0;
    for line in include_str!("mod.rs").lines() {
        let Some((at, hex)) = line.strip_prefix("//! ").and_then(|line| line.split_at_checked(4)) else {
            continue;
        };
        let Some(hex) = hex.strip_prefix("  ") else { continue };
        let at = match at.strip_prefix('f') {
            Some(in_footer) => usize::from_str_radix(in_footer, 16).map(|at| at + footer),
            None => usize::from_str_radix(at, 16),
        };
        let Ok(at) = at else { continue };
        let drawn: Vec<u8> =
            hex.split_whitespace().map_while(|byte| u8::from_str_radix(byte, 16).ok()).take(16).collect();
        assert_eq!(bytes[at..at + drawn.len()], drawn, "at {at:04x}");
        lines += 1;
    }
    assert_eq!(lines, 17);
    assert!(bytes[0xa0..PAGE_BYTES].iter().all(|byte| *byte == 0));
}

#[test]
fn every_flipped_bit_is_found() {
    let mut plain = Plain::default();
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    for n in 0..200u16 {
        plain.apply(&Op::Record { queue: n % 7, gap: 1, ms: 1 }, &mut [&mut state]);
        plain.apply(&Op::Put { key: n, len: 9 }, &mut [&mut state]);
    }
    plain.apply(&Op::Roll, &mut [&mut state]);
    let bytes = build(&state);
    let pages = bytes.len() - 4096;
    for bit in (0..pages * 8).step_by(97).chain((bytes.len() - 512) * 8..bytes.len() * 8) {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let found = Sidecar::decode(Box::new(bad)).map_or(true, |sidecar| sidecar.check_all().is_err());
        assert!(found, "bit {bit}");
    }
    for len in [0, 1, 511, 512, 4095, 4096, bytes.len() - 4096, bytes.len() - 512, bytes.len() - 1] {
        assert!(Sidecar::decode(Box::new(bytes[..len].to_vec())).is_err(), "{len} bytes");
    }
}

/// A sidecar's bytes that tell what was announced of them.
struct Announced(Vec<u8>, Rc<Cell<usize>>);

impl AsRef<[u8]> for Announced {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Map for Announced {
    fn will_need(&self, _at: usize, len: usize) {
        self.1.set(self.1.get() + len);
    }
}

#[test]
fn a_reader_that_goes_on_has_the_next_sidecar_announced_once() {
    let mut plain = Plain::default();
    let mut state = State::over(SidecarSet::default(), SEGMENT);
    let announced: Vec<Rc<Cell<usize>>> = (0..5).map(|_| Rc::default()).collect();
    for count in &announced {
        for _ in 0..100 {
            plain.apply(&Op::Record { queue: 0, gap: 1, ms: 1 }, &mut [&mut state]);
        }
        plain.apply(&Op::Roll, &mut [&mut state]);
        let bytes = build(&state);
        let sidecar = Sidecar::decode(Box::new(Announced(bytes, count.clone()))).expect("it is whole");
        state.add_sidecar(Rc::new(sidecar));
        while state.drop_some(SIDECAR_STEP_ROWS) {}
    }
    let (topic, queue_id) = name(0);
    let queue = state.queues.at(state.queues.find(&topic, queue_id).expect("it has records"));
    // Which sidecars more than the pages that are read were announced of, after reading at that offset.
    let read = |offset| {
        announced.iter().for_each(|count| count.set(0));
        assert!(state.run(queue, QueueOffset(offset)).len() > 0, "{offset}");
        let entries_bytes = 100 * super::ENTRY_BYTES;
        let whole = |count: &Rc<Cell<usize>>| (entries_bytes..PAGE_BYTES).contains(&count.get());
        announced.iter().map(whole).collect::<Vec<_>>()
    };
    let no = [false; 5];
    assert_eq!(read(0), no, "it has only begun");
    assert_eq!(read(99), no, "the same segment");
    assert_eq!(read(100), [false, true, true, false, false], "this one and the next");
    assert_eq!(read(150), no, "it is there already");
    assert_eq!(read(200), [false, false, false, true, false], "the one after");
    assert_eq!(read(0), no, "who jumps back goes on nowhere");
    assert_eq!(read(450), no, "nor does who jumps ahead");
}
