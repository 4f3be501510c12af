//! What `apply` learnt from one segment, until its sidecar holds it. Pure.
//!
//! The entries themselves lie with their queues ([`super::queues`]); here is which queues occur, and everything else.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::QueueRef;
use super::keys::Keys;
use super::places::Places;
use super::times::Times;
use crate::sidecar::{Row, Seal};

/// See the module. One per segment without a sidecar, the newest being the active one.
#[derive(Debug)]
pub(crate) struct Learnt {
    /// Where its segment begins.
    pub base: u64,
    /// The queues that occur in it, in the order in which they first did.
    pub queues: Vec<Occurrence>,
    /// Changes of facts; `None`: deleted.
    pub facts: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    pub times: Times,
    pub places: Places,
    pub keys: Keys,
    /// Facts that there are, and records in the log, after all of it.
    pub live_facts: u64,
    pub records_so_far: u64,
    /// The frame that ends the segment, once there is one.
    pub seal: Option<Seal>,
}

/// A queue in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occurrence {
    pub queue: QueueRef,
    /// Offset of its first record there.
    pub first: u64,
    /// The segment where it occurred before.
    pub previous: u64,
}

impl Learnt {
    pub fn new(base: u64, live_facts: u64, records_so_far: u64) -> Learnt {
        Learnt {
            base,
            queues: Vec::new(),
            facts: BTreeMap::new(),
            times: Times::default(),
            places: Places::default(),
            keys: Keys::default(),
            live_facts,
            records_so_far,
            seal: None,
        }
    }

    /// Changes of facts, from just after a key on.
    pub fn changes_after<'a>(&'a self, after: Option<&[u8]>) -> impl Iterator<Item = Row<'a>> + use<'a> {
        self.changes(after.map_or(Bound::Unbounded, Bound::Excluded))
    }

    /// Changes of facts, from a key on.
    pub fn changes_from<'a>(&'a self, key: &[u8]) -> impl Iterator<Item = Row<'a>> + use<'a> {
        self.changes(Bound::Included(key))
    }

    fn changes<'a>(&'a self, from: Bound<&[u8]>) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let rows = self.facts.range::<[u8], _>((from, Bound::Unbounded));
        rows.map(|(key, value)| Row { key, value: value.as_deref() })
    }

    /// Sets or deletes a fact.
    pub fn change(&mut self, key: &[u8], value: Option<&[u8]>) {
        match (self.facts.get_mut(key), value) {
            // Group offsets and the like keep their length: no allocation then.
            (Some(Some(old)), Some(value)) if old.len() == value.len() => old.copy_from_slice(value),
            (Some(old), value) => *old = value.map(Into::into),
            (None, value) => {
                self.facts.insert(key.into(), value.map(Into::into));
            }
        }
    }
}
