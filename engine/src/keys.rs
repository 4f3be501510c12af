//! Looking records up by a key: what is asked and what is found. Pure.
//!
//! What is found are candidates. The store keeps of each key a hash of 32 bits, together with its topic; whoever reads a
//! candidate asks [`KeyQuery::matches`] whether it is meant: in a log with a hundred million keys, one look-up in some forty
//! meets another key of the same hash.
//!
//! One look-up does a bounded amount of work ([`FOUND_BY_KEY_MAX`], [`KEY_ROWS_SEARCHED_MAX`],
//! [`KEY_SEGMENTS_SEARCHED_MAX`]) and says where the next one goes on.
//!
//! Not found by a key are records of segments that were sealed by a version that did not keep keys, and of a record with
//! more than a key in [`BYTES_PER_KEY`] of its bytes those beyond.
//!
//! Source: `store/.../index/IndexService.java` (which keys), `broker/.../processor/QueryMessageProcessor.java`.

use std::ops::RangeInclusive;

use ringmq_wire::record::Record;

use crate::offset::PhysicalOffset;

pub use crate::limits::{BYTES_PER_KEY, FOUND_BY_KEY_MAX, KEY_ROWS_SEARCHED_MAX, KEY_SEGMENTS_SEARCHED_MAX};

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyQuery<'a> {
    /// The topic that the records are stored under.
    pub topic: &'a str,
    /// A record's unique key, or one of its keys.
    pub key: &'a str,
    /// When they were stored, milliseconds since 1970.
    pub stored_ms: RangeInclusive<i64>,
}

impl KeyQuery<'_> {
    /// Whether a candidate is meant, and not another record whose key has the same hash.
    pub fn matches(&self, record: &Record<'_>) -> bool {
        record.topic == self.topic
            && self.stored_ms.contains(&record.store_timestamp_ms)
            && record.has_key(self.key)
    }
}

/// What one look-up found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundByKey {
    /// Where candidates begin, the newest first. All are durable, and each is there until its segment retires or its queue
    /// is forgotten: [`crate::Store::locate`] plans to read it.
    pub candidates: Vec<PhysicalOffset>,
    /// Candidates that are left lie before this; `None`: there are none. If nothing was found and this is where the look-up
    /// began, a sidecar is damaged and is made again first.
    pub next: Option<PhysicalOffset>,
}
