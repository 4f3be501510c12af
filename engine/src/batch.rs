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
use crate::pointing::is_pointing;
use crate::state::{QueueRef, State};
use crate::store::AppendError;
use ringmq_wire::record::{Draft, DraftError, Record};

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
    /// Length of its properties, which it ends with.
    pub properties_len: usize,
    pub place: Place,
}

/// One fact change of a batch; `value` `None` deletes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchFact {
    pub key: (usize, usize),
    pub value: Option<(usize, usize)>,
    /// The value begins with the place of that record of the batch.
    pub points_to: Option<usize>,
}

/// The record that a pointing fact is made to point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The one that the batch got last.
    LastRecord,
    /// The one at which a fact points now, by its value of this moment: not one remembered across a wait, because records are
    /// carried forward meanwhile.
    At(PhysicalOffset),
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
        let properties_len = draft.properties.len();
        self.records.push(BatchRecord {
            queue,
            tag_hash,
            start,
            len,
            properties_len,
            place: Place::default(),
        });
        Ok(())
    }

    /// Adds a record that is stored already, once more.
    pub(crate) fn record_again(&mut self, queue: QueueRef, tag_hash: i32, stored: &Record<'_>) {
        let (start, end) = self.stash(stored.bytes);
        let properties_len = stored.properties.len();
        let place = Place::default();
        self.records.push(BatchRecord { queue, tag_hash, start, len: end - start, properties_len, place });
    }

    /// Sets a fact that points to no record.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        assert!(!is_pointing(key), "the value of a pointing fact begins with a place");
        let key = self.stash(key);
        let value = Some(self.stash(value));
        self.facts.push(BatchFact { key, value, points_to: None });
    }

    /// Sets a fact that points to a record, which is then kept for as long as the fact is there; `rest` follows in its
    /// value. The form of keys and values, and what becomes of the record: [`crate::pointing`].
    pub fn put_pointing(&mut self, key: &[u8], target: Target, rest: &[u8]) {
        assert!(is_pointing(key), "keys of pointing facts are known by their first byte");
        let (place, points_to) = match target {
            Target::At(place) => (place, None),
            Target::LastRecord => {
                let last = self.records.len().checked_sub(1).expect("the batch has a record to point to");
                (PhysicalOffset::default(), Some(last))
            }
        };
        let key = self.stash(key);
        let (start, _) = self.stash(&place.0.to_be_bytes());
        let (_, end) = self.stash(rest);
        self.facts.push(BatchFact { key, value: Some((start, end)), points_to });
    }

    /// Deletes a fact.
    pub fn delete(&mut self, key: &[u8]) {
        let key = self.stash(key);
        self.facts.push(BatchFact { key, value: None, points_to: None });
    }

    /// Its records have their places: the facts that point to them get them.
    pub(crate) fn resolve(&mut self) {
        for fact in &self.facts {
            if let (Some(record), Some((start, _))) = (fact.points_to, fact.value) {
                let place = self.records[record].place.physical_offset.0;
                self.bytes[start..][..size_of::<u64>()].copy_from_slice(&place.to_be_bytes());
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::SidecarSet;

    fn draft<'a>(topic: &'a str, body: &'a [u8]) -> Draft<'a> {
        let host = "10.0.0.1:5000".parse().expect("an address");
        Draft {
            topic,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp_ms: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: b"",
        }
    }

    #[test]
    fn what_was_put_in_is_in_it_until_it_is_cleared() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        batch.put(b"key", b"value");
        assert!(!batch.is_empty());
        batch.delete(b"gone");
        batch.record(QueueRef(3), 7, &draft("t", b"hello")).expect("a record");
        let facts: Vec<_> = batch.facts.iter().map(|fact| batch.fact(fact)).collect();
        assert_eq!(facts, [(&b"key"[..], Some(&b"value"[..])), (b"gone", None)]);
        let record = &batch.records[0];
        let bytes = &batch.bytes[record.start..][..record.len];
        let decoded = ringmq_wire::record::decode(bytes).expect("a record");
        assert_eq!((decoded.bytes, decoded.body), (bytes, &b"hello"[..]));
        assert_eq!((record.queue, record.tag_hash, batch.places().count()), (QueueRef(3), 7, 1));
        (batch.lazy, batch.wall_ms) = (true, Some(1));
        batch.clear();
        assert_eq!((batch.is_empty(), batch.bytes.len(), batch.lazy, batch.wall_ms), (true, 0, false, None));
    }

    #[test]
    fn a_record_alone_is_something_and_a_draft_that_is_none_leaves_nothing() {
        let mut batch = Batch::default();
        let topic = "t".repeat(1 << 16);
        assert!(batch.record(QueueRef(0), 0, &draft(&topic, b"")).is_err());
        assert_eq!((batch.is_empty(), batch.bytes.len()), (true, 0));
        batch.record(QueueRef(0), 0, &draft("t", b"")).expect("a record");
        assert!(!batch.is_empty());
    }

    #[test]
    fn it_needs_its_records_and_of_each_fact_the_lengths_key_and_value() {
        let record = ringmq_wire::record::FIXED_BYTES + 1;
        let (key, value) = (vec![1; FACT_KEY_BYTES_MAX], vec![2; FACT_VALUE_BYTES_MAX]);
        type Fill<'a> = &'a dyn Fn(&mut Batch);
        let add = |batch: &mut Batch| batch.record(QueueRef(0), 0, &draft("t", b"")).expect("a record");
        #[rustfmt::skip]
        let rows: &[(&str, Fill<'_>, usize, usize)] = &[
            ("nothing",     &|_| (),                                               0,               0),
            ("a put",       &|batch| batch.put(b"key", b"value"),                  2 + 3 + 5,       1),
            ("a deletion",  &|batch| batch.delete(b"key"),                         2 + 3,           1),
            ("two facts",   &|batch| { batch.put(b"k", b""); batch.delete(b"k") }, 2 * (2 + 1),     2),
            ("two records", &|batch| { add(batch); add(batch) },                   2 * record,      2),
            ("both",        &|batch| { batch.delete(b"k"); add(batch) },           2 + 1 + record,  2),
            ("the longest", &|batch| batch.put(&key, &value),                      2 + 1024 + 65536, 1),
        ];
        for (what, fill, payload_bytes, items) in rows {
            let mut batch = Batch::default();
            fill(&mut batch);
            assert_eq!(
                batch.need().expect(what),
                Need { payload_bytes: *payload_bytes, items: *items },
                "{what}"
            );
        }
    }

    #[test]
    fn a_fact_beyond_its_limits_is_refused_with_the_limit() {
        let (key, value) = (vec![1; FACT_KEY_BYTES_MAX + 1], vec![2; FACT_VALUE_BYTES_MAX + 1]);
        let rows = [
            (&key[..], &b""[..], FACT_KEY_BYTES_MAX),
            (b"k", &value, FACT_VALUE_BYTES_MAX),
            (&key, &value, FACT_KEY_BYTES_MAX),
        ];
        for (key, value, limit) in rows {
            let mut batch = Batch::default();
            batch.put(key, value);
            match batch.need() {
                Err(AppendError::TooLarge { bytes, max }) => assert_eq!((bytes, max), (limit + 1, limit)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_fact_set_to_what_it_is_changes_nothing() {
        let mut state = State::over(SidecarSet::default(), 1 << 20);
        state.apply_fact(0, b"there", Some(b"1"));
        let mut batch = Batch::default();
        batch.put(b"there", b"1");
        batch.put(b"there", b"2");
        batch.delete(b"there");
        batch.put(b"new", b"");
        batch.delete(b"new");
        let changes: Vec<_> = batch.facts.iter().map(|fact| batch.changes(fact, &state)).collect();
        assert_eq!(changes, [false, true, true, true, false]);
    }
}
