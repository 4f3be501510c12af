//! Keys: which records of one segment are looked up by which key. Pure.
//!
//! A record's keys are its unique key and the words of its keys, each together with its topic. Of a key only a hash is
//! kept, with the record's place: whoever reads a record sees whether it is meant ([`crate::keys`]).
//!
//! ```text
//! hash   CRC-32 (IEEE 802.3, zlib's crc32) of   topic │ '#' │ key          "t#a": 0x28a53f31
//! ```
//!
//! That is the string whose hash RocketMQ's index keeps. A CRC-32 is what everything on this disk is checked with, the same
//! everywhere and for ever; it goes on from the topic's part, which each queue keeps; and it spreads what the keys of one
//! topic differ in. Whoever wants two keys of one hash can have them: that costs the reads of a look-up, which are bounded.
//!
//! To append is to add eight bytes per key, and nothing else: there is an append all the time and a look-up now and then,
//! which goes through all of them, the newest first.
//!
//! Invariants
//!  1. Rows are in the order of the log: positions never go back.
//!  2. A record has at most one key per [`BYTES_PER_KEY`] of its bytes, and its unique key.

use ringmq_wire::record::properties::{KEYS, UNIQUE_KEY, values_of, words};

use super::places::Chunked;
use crate::limits::BYTES_PER_KEY;

/// A key's hash, and where in the segment a record with it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct KeyRow {
    pub hash: u32,
    pub position: u32,
}

/// The hash of the part that all keys of a topic begin with.
pub(crate) fn topic_hash(topic: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(topic.as_bytes());
    hasher.update(b"#");
    hasher.finalize()
}

/// The hash of a key.
pub(crate) fn key_hash(topic_hash: u32, key: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(topic_hash);
    hasher.update(key);
    hasher.finalize()
}

/// The hashes by which a record of so many bytes is found; of one that it has twice, both.
pub(crate) fn hashes_of(topic_hash: u32, record_bytes: u32, properties: &[u8], mut take: impl FnMut(u32)) {
    let [unique, keys] = values_of(properties, [UNIQUE_KEY, KEYS]);
    if let Some(unique) = unique {
        take(key_hash(topic_hash, unique));
    }
    if let Some(keys) = keys {
        for word in words(keys).take((record_bytes / BYTES_PER_KEY) as usize) {
            take(key_hash(topic_hash, word));
        }
    }
}

/// The keys of a segment's records. See the module.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    rows: Chunked<KeyRow>,
}

impl Keys {
    /// Adds those of the record at `position`, past all before.
    pub fn push(&mut self, topic_hash: u32, position: u32, record_bytes: u32, properties: &[u8]) {
        hashes_of(topic_hash, record_bytes, properties, |hash| self.rows.push(KeyRow { hash, position }));
    }

    /// A row, in the order of the log.
    pub fn row(&self, number: usize) -> Option<KeyRow> {
        self.rows.at(number).copied()
    }

    /// Takes a look-up through the segment that begins at `base`, as far as it may go.
    pub fn search(&self, base: u64, search: &mut KeySearch) {
        let physical = |row: &KeyRow| base + u64::from(row.position);
        let mut left = self.rows.partition_point(|row| physical(row) < search.before);
        let mut last = search.before;
        loop {
            let piece = self.rows.piece_before(left);
            for row in piece.iter().rev() {
                let physical = physical(row);
                // All rows of a record are looked at together, so that a place in the log says what was.
                if physical != last && (physical < search.from || search.is_spent()) {
                    search.before = if physical < search.from { base } else { last };
                    return;
                }
                last = physical;
                search.rows_left = search.rows_left.saturating_sub(1);
                if row.hash == search.hash {
                    search.take(physical);
                }
            }
            left -= piece.len();
            if piece.is_empty() {
                search.before = base;
                return;
            }
        }
    }
}

/// One look-up: what it is after, how far it may go, how far it has come and what it has found.
#[derive(Debug)]
pub(crate) struct KeySearch {
    pub hash: u32,
    /// Records before it are not wanted.
    pub from: u64,
    /// Everything at or after it was looked at.
    pub before: u64,
    /// Of records.
    pub max: usize,
    /// Rows in memory that may still be looked at.
    pub rows_left: usize,
    /// Segments that may still be.
    pub segments_left: usize,
    /// Physical offsets, the newest first, each once.
    pub found: Vec<u64>,
}

impl KeySearch {
    /// A look-up of the one record at `physical`.
    pub fn one(hash: u32, physical: u64) -> KeySearch {
        KeySearch {
            hash,
            from: physical,
            before: physical.saturating_add(1),
            max: 1,
            rows_left: usize::MAX,
            segments_left: 1,
            found: Vec::new(),
        }
    }

    /// Notes a record.
    pub fn take(&mut self, physical: u64) {
        if self.found.last() != Some(&physical) {
            self.found.push(physical);
        }
    }

    /// It has found enough, or has looked at enough.
    pub fn is_spent(&self) -> bool {
        self.found.len() >= self.max || self.rows_left == 0 || self.segments_left == 0
    }

    /// It has come to its beginning, or may go no further.
    pub fn is_over(&self) -> bool {
        self.before <= self.from || self.is_spent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_zlibs_crc32_of_topic_and_key() {
        for (topic, key, hash) in [
            ("t", "a", 0x28a5_3f31),
            ("", "", 0x7065_9eff),
            ("orders", "7F0000011A2B3C4D5E6F000000180C00", 0x261f_8a1e),
        ] {
            assert_eq!(key_hash(topic_hash(topic), key.as_bytes()), hash, "{topic}#{key}");
        }
    }

    #[test]
    fn a_record_has_its_unique_key_and_as_many_keys_as_its_length_allows() {
        let hash = |key: &str| key_hash(topic_hash("t"), key.as_bytes());
        let unique = hash("a b");
        #[rustfmt::skip]
        let table: [(&str, u32, Vec<u32>); 6] = [
            ("", 100, vec![]),
            ("TAGS\x01x\x02KEYS\x01  \x02", 100, vec![]),
            ("KEYS\x01a  b\x02", 100, vec![hash("a"), hash("b")]),
            ("KEYS\x01a b c d\x02UNIQ_KEY\x01a b\x02", 3 * BYTES_PER_KEY, vec![unique, hash("a"), hash("b"), hash("c")]),
            ("KEYS\x01a b c d\x02UNIQ_KEY\x01a b\x02", 3 * BYTES_PER_KEY - 1, vec![unique, hash("a"), hash("b")]),
            ("KEYS\x01a\x02UNIQ_KEY\x01a b\x02KEYS\x01c", 100, vec![unique, hash("c")]),
        ];
        for (properties, record_bytes, expected) in table {
            let mut found = Vec::new();
            hashes_of(topic_hash("t"), record_bytes, properties.as_bytes(), |hash| found.push(hash));
            assert_eq!(found, expected, "{properties:?}");
        }
    }

    #[test]
    fn a_search_in_memory_stops_only_between_records() {
        let mut keys = Keys::default();
        for position in [10, 20, 30] {
            keys.push(topic_hash("t"), position, 200, b"KEYS\x01a b a\x02");
        }
        // Rows that may be looked at: each record has three.
        #[rustfmt::skip]
        let table = [
            (0, 100, 9, vec![], 1100),
            (1, 100, 9, vec![1030], 1030),
            (3, 100, 9, vec![1030], 1030),
            (4, 100, 9, vec![1030, 1020], 1020),
            (9, 100, 9, vec![1030, 1020, 1010], 1000),
            (9, 30, 9, vec![1020, 1010], 1000),
            (9, 100, 2, vec![1030, 1020], 1020),
        ];
        for (rows_left, before, max, found, reached) in table {
            let mut search = KeySearch {
                hash: key_hash(topic_hash("t"), b"a"),
                from: 0,
                before: 1000 + before,
                max,
                rows_left,
                segments_left: 1,
                found: Vec::new(),
            };
            keys.search(1000, &mut search);
            assert_eq!((&search.found, search.before), (&found, reached), "{rows_left} rows before {before}");
        }
    }
}
