//! The sidecars of one store, and what is looked up over all of them. Pure.
//!
//! Invariants
//!  1. They are of segments without a gap, the oldest first.
//!  2. The newest one's base is among them.

use std::rc::Rc;

use super::map::QueueEnd;
use crate::planted::{self, Bug};

use super::{Damaged, Merge, NO_SEGMENT, QueueRow, Sidecar, Source};

/// See the module. One per shard.
#[derive(Debug, Default, Clone)]
pub(crate) struct SidecarSet {
    all: Vec<Rc<Sidecar>>,
}

impl SidecarSet {
    /// Adds the sidecar of the next segment.
    pub fn push(&mut self, sidecar: Rc<Sidecar>) {
        assert!(self.all.last().is_none_or(|last| last.end() == sidecar.base()), "sidecars have no gap");
        self.all.push(sidecar);
    }

    /// Puts a sidecar in the place of the one of the same segment.
    pub fn replace(&mut self, sidecar: Rc<Sidecar>) {
        if let Some(index) = self.index(sidecar.base()) {
            self.all[index] = sidecar;
        }
    }

    /// The oldest sidecar leaves: its segment retires. `None` if it is still needed: look-ups of facts end at the base that
    /// the newest one names.
    pub fn retire_oldest(&mut self) -> Option<Rc<Sidecar>> {
        if self.can_spare_oldest() { Some(self.all.remove(0)) } else { None }
    }

    /// Whether all facts and queue ends can be told from these.
    pub fn is_complete(&self) -> bool {
        self.all.last().is_none_or(|last| self.at(last.base_at()).is_some_and(|base| base.has_base()))
    }

    /// Whether nothing but records is lost without the oldest one.
    pub fn can_spare_oldest(&self) -> bool {
        if planted::is(Bug::RetiredWhileNeeded) {
            return self.all.len() > 1;
        }
        let base_at = self.all.last().map_or(0, |last| last.base_at());
        self.all.first().is_some_and(|oldest| oldest.base() < base_at)
    }

    /// All, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Rc<Sidecar>> {
        self.all.iter()
    }

    pub fn first(&self) -> Option<&Rc<Sidecar>> {
        self.all.first()
    }

    pub fn last(&self) -> Option<&Rc<Sidecar>> {
        self.all.last()
    }

    /// The sidecar of the segment that begins at `base`.
    pub fn at(&self, base: u64) -> Option<&Rc<Sidecar>> {
        self.index(base).map(|index| &self.all[index])
    }

    /// Those before the segment that begins at `base`.
    pub fn before(&self, base: u64) -> SidecarSet {
        SidecarSet { all: self.all.iter().take_while(|sidecar| sidecar.base() < base).cloned().collect() }
    }

    fn index(&self, base: u64) -> Option<usize> {
        let first = self.all.first()?;
        let index = base.checked_sub(first.base())? / first.segment_bytes();
        usize::try_from(index).ok().filter(|index| *index < self.all.len())
    }

    /// From the newest base on, the oldest first.
    pub fn since_base(&self) -> &[Rc<Sidecar>] {
        let base_at = self.all.last().map_or(0, |last| last.base_at());
        let first = self.all.partition_point(|sidecar| sidecar.base() < base_at);
        &self.all[first..]
    }

    /// A set of these only.
    pub fn only_since_base(&self) -> SidecarSet {
        SidecarSet { all: self.since_base().to_vec() }
    }

    /// A fact's value.
    pub fn fact(&self, key: &[u8]) -> Result<Option<&[u8]>, Damaged> {
        for sidecar in self.since_base().iter().rev() {
            if sidecar.has_base() {
                return sidecar.base_fact(key);
            }
            if let Some(change) = sidecar.change(key)? {
                return Ok(change);
            }
        }
        Ok(None)
    }

    /// Facts and their changes from a key on, the newest source first.
    pub fn facts_from(&self, key: &[u8]) -> Result<Vec<Source<'_>>, Damaged> {
        let mut sources = Vec::new();
        for sidecar in self.since_base().iter().rev() {
            let rows =
                if sidecar.has_base() { sidecar.base_facts_from(key) } else { sidecar.changes_from(key) };
            sources.push(Source::Rows(rows?));
        }
        Ok(sources)
    }

    /// Queues from a key on, the newest source first, and of each source the segment that its rows speak of.
    pub fn queues_from(&self, key: &[u8]) -> Result<(Vec<Source<'_>>, Vec<u64>), Damaged> {
        let (mut sources, mut bases) = (Vec::new(), Vec::new());
        for sidecar in self.since_base().iter().rev() {
            let rows =
                if sidecar.has_base() { sidecar.base_queues_from(key) } else { sidecar.queues_from(key) };
            sources.push(Source::Rows(rows?));
            bases.push(sidecar.base());
        }
        Ok((sources, bases))
    }

    /// At most `max` queues from just after `after` on, each with its key. The last key is where to go on.
    pub fn some_queues(
        &self,
        after: Option<&[u8]>,
        max: usize,
        mut take: impl FnMut(&[u8], QueueEnd),
    ) -> Result<Option<Vec<u8>>, Damaged> {
        let (sources, bases) = self.queues_from(after.unwrap_or_default())?;
        let mut merge = Merge::new(sources)?;
        let mut taken = 0;
        while let Some((source, row)) = merge.next()? {
            if Some(row.key) == after {
                continue;
            }
            if let Some(end) = QueueEnd::decode(row.value, bases[source]) {
                take(row.key, end);
            }
            taken += 1;
            if taken == max {
                return Ok(Some(row.key.to_vec()));
            }
        }
        Ok(None)
    }

    /// The segment that holds a queue's record of that offset. `hint`: a segment where a reader of the queue was before;
    /// `last`: the last one where it occurs.
    pub fn find(
        &self,
        key: &[u8],
        offset: u64,
        hint: u64,
        last: u64,
    ) -> Result<Option<(&Rc<Sidecar>, QueueRow)>, Damaged> {
        if let Some(sidecar) = self.at(hint)
            && let Some(row) = sidecar.queue(key)?
            && row.first <= offset
        {
            if offset < row.end() {
                return Ok(Some((sidecar, row)));
            }
            // Readers go forward: the next segments, as long as that is cheaper than to come from the end.
            for next in (1..=FORWARD_MAX).map_while(|n| self.at(sidecar.base() + n * sidecar.segment_bytes()))
            {
                match next.queue(key)? {
                    Some(row) if row.first <= offset && offset < row.end() => return Ok(Some((next, row))),
                    Some(row) if row.first > offset => break,
                    _ => {}
                }
            }
        }
        let mut at = last;
        while let Some(sidecar) = self.at(at) {
            let Some(row) = sidecar.queue(key)? else { return Ok(None) };
            if row.first <= offset {
                return Ok((offset < row.end()).then_some((sidecar, row)));
            }
            at = row.previous;
        }
        Ok(None)
    }

    /// Offset of a queue's first record at or after `physical`, if one lies in these; `last` as for [`SidecarSet::find`].
    pub fn first_record_at_or_after(
        &self,
        key: &[u8],
        physical: u64,
        last: u64,
    ) -> Result<Option<u64>, Damaged> {
        let mut found = None;
        let mut at = last;
        while let Some(sidecar) = self.at(at).filter(|sidecar| sidecar.end() > physical) {
            let Some(row) = sidecar.queue(key)? else { break };
            let before =
                if sidecar.base() >= physical { 0 } else { sidecar.entries_before(&row, physical)? };
            if before < row.count {
                found = Some(row.first + u64::from(before));
            }
            if before > 0 {
                break;
            }
            at = row.previous;
        }
        Ok(found)
    }

    /// Offset of the first record of a queue that is still there; `None` if none is.
    pub fn first_kept(&self, key: &[u8], last: u64) -> Result<Option<u64>, Damaged> {
        self.first_record_at_or_after(key, self.first().map_or(NO_SEGMENT, |first| first.base()), last)
    }

    /// Where the first record stored at or after that time lies.
    pub fn first_stored_at_or_after(&self, timestamp_ms: i64) -> Result<Option<u64>, Damaged> {
        let from = self.all.partition_point(|sidecar| sidecar.seal().store_timestamp_ms < timestamp_ms);
        for sidecar in &self.all[from..] {
            if let Some(physical) = sidecar.first_at_or_after(timestamp_ms)? {
                return Ok(Some(physical));
            }
        }
        Ok(None)
    }
}

/// How many segments a reader that goes on is looked for ahead of where it was.
const FORWARD_MAX: u64 = 4;
