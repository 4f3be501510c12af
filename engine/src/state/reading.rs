//! Where records are, by queue offset, by place, by time and by key: in memory or in a sidecar. Pure.
//!
//! What lies in a sidecar that turns out to be damaged is not found; the sidecar remembers that it is, and is made
//! again. Until then a place that is asked for is rather too early than too late.

use super::keys::{KeySearch, key_hash, topic_hash};
use super::queues::{Entry, Queue};
use super::{QueueRef, State};
use crate::keys::{FoundByKey, KeyQuery};
use crate::limits::{FOUND_BY_KEY_MAX, KEY_ROWS_SEARCHED_MAX, KEY_SEGMENTS_SEARCHED_MAX};
use crate::offset::{PhysicalOffset, QueueOffset};
use crate::planted::{self, Bug};
use crate::sidecar::{Damaged, ENTRY_BYTES, Sidecar, queue_key, queue_of_key};

/// Entries of a queue, one after the other.
pub(crate) enum Run<'a> {
    /// In memory.
    Held(&'a [Entry]),
    /// In a sidecar.
    Sealed(&'a Sidecar, &'a [u8]),
}

/// Entries of a sidecar that are looked at together: their pages are checked.
const RUN_MAX: u32 = 1024;

impl Run<'_> {
    pub fn len(&self) -> usize {
        match self {
            Run::Held(entries) => entries.len(),
            Run::Sealed(_, bytes) => bytes.len() / ENTRY_BYTES,
        }
    }

    /// An entry that is there.
    pub fn at(&self, index: usize) -> Entry {
        match self {
            Run::Held(entries) => entries[index],
            Run::Sealed(sidecar, bytes) => {
                let bytes = bytes[index * ENTRY_BYTES..].first_chunk().expect("an index below `len`");
                sidecar.decode_entry(bytes)
            }
        }
    }
}

impl State {
    /// Entries of a queue from an offset on; none where there is none, or where the sidecar is damaged.
    pub fn run<'a>(&'a self, queue: &'a Queue, offset: QueueOffset) -> Run<'a> {
        let held = queue.held_run(offset.0);
        if !held.is_empty() || offset.0 >= queue.held_from() || offset < queue.min() {
            return Run::Held(if offset < queue.min() { &[] } else { held });
        }
        self.sealed_run(queue, offset.0).unwrap_or_else(|damaged| {
            tracing::warn!(%damaged, "a read waits until it is made again");
            Run::Held(&[])
        })
    }

    fn sealed_run(&self, queue: &Queue, offset: u64) -> Result<Run<'_>, Damaged> {
        let (topic, queue_id) = queue.name();
        let key = queue_key(topic, queue_id);
        let found = self.sidecars.find(&key, offset, queue.reader_at.get(), queue.last_sealed)?;
        let Some((sidecar, row)) = found else { return Ok(Run::Held(&[])) };
        let before = queue.reader_at.replace(sidecar.base());
        if before == row.previous && before < sidecar.base() {
            self.sidecars.reader_went_on(sidecar.base());
        }
        let index = u32::try_from(offset - row.first).expect("it is below the row's count");
        Ok(Run::Sealed(sidecar, sidecar.entries(&row, index, RUN_MAX)?))
    }

    /// The entry of an offset that is there.
    pub fn entry(&self, queue: &Queue, offset: QueueOffset) -> Option<Entry> {
        let run = self.run(queue, offset);
        (run.len() > 0).then(|| run.at(0))
    }

    /// First offset of a queue that is still there: neither forgotten nor retired.
    pub fn first_kept(&self, queue: &Queue) -> QueueOffset {
        let nothing_retired = self.sidecars.first().is_none_or(|first| first.base() == 0);
        if nothing_retired || queue.min().0 >= queue.held_from() {
            return queue.min();
        }
        let (topic, queue_id) = queue.name();
        let late = u64::from(planted::is(Bug::MinimumOffByOne));
        match self.sidecars.first_kept(&queue_key(topic, queue_id), queue.last_sealed) {
            Ok(first) => QueueOffset(first.map_or(queue.held_from(), |first| first + late)).max(queue.min()),
            // Whoever is sent to a place that is too late misses what is before it; one that is too early waits there.
            Err(_) => queue.min(),
        }
    }

    /// The queue and offset of the record that begins at `physical`, if it is still there.
    pub fn place(&self, physical: PhysicalOffset) -> Option<(&Queue, QueueOffset)> {
        let base = physical.0 - physical.0 % self.segment_bytes;
        if let Some(sidecar) = self.sidecars.at(base) {
            let (key, offset) = sidecar.place(physical.0).ok().flatten()?;
            let (topic, queue_id) = queue_of_key(key)?;
            return Some((self.queues.at(self.queues.find(topic, queue_id)?), QueueOffset(offset)));
        }
        let learnt = self.learnt(base)?;
        for occurrence in learnt.places.candidates(physical.0) {
            let queue = self.queues.at(learnt.queues.get(occurrence as usize)?.queue);
            let offset = queue.held_before(physical.0);
            if queue.held(offset).is_some_and(|entry| entry.physical == physical.0) {
                return Some((queue, QueueOffset(offset)));
            }
        }
        None
    }

    /// The record that begins at `physical`, if it is still there.
    pub fn record_at(&self, physical: PhysicalOffset) -> Result<Option<(QueueRef, Entry)>, Damaged> {
        let place = self.place(physical);
        let found = place.and_then(|(queue, offset)| {
            let (topic, queue_id) = queue.name();
            Some((self.queues.find(topic, queue_id)?, self.entry(queue, offset)?))
        });
        let base = physical.0 - physical.0 % self.segment_bytes;
        match self.sidecars.at(base).and_then(|sidecar| sidecar.damaged()) {
            Some(position) if found.is_none() => Err(Damaged { base, position }),
            _ => Ok(found),
        }
    }

    /// First offset below `end` of a queue's records that lie at or after the first one stored at or after a time; else
    /// `end`.
    pub fn stored_at_or_after(&self, queue: &Queue, timestamp_ms: i64, end: QueueOffset) -> QueueOffset {
        let too_early = || self.first_kept(queue).min(end);
        let Ok(physical) = self.first_stored(timestamp_ms) else { return too_early() };
        let Some(physical) = physical else { return end };
        let (topic, queue_id) = queue.name();
        let key = queue_key(topic, queue_id);
        let sealed = self.sidecars.first_record_at_or_after(&key, physical, queue.last_sealed);
        let Ok(sealed) = sealed else { return too_early() };
        let first = sealed.unwrap_or_else(|| queue.held_before(physical));
        QueueOffset(first).max(self.first_kept(queue)).min(end)
    }

    /// Where the first record stored at or after a time lies.
    pub fn first_stored(&self, timestamp_ms: i64) -> Result<Option<u64>, Damaged> {
        let in_sidecars = self.sidecars.first_stored_at_or_after(timestamp_ms)?;
        let in_memory = || self.learnt.iter().find_map(|learnt| learnt.times.first_at_or_after(timestamp_ms));
        Ok(in_sidecars.or_else(in_memory))
    }

    /// Looks for records with a key that lie before `before`, which is the end of what may be seen or less.
    pub fn find_by_key(&self, query: &KeyQuery<'_>, before: u64, max: usize) -> Result<FoundByKey, Damaged> {
        let (from_ms, to_ms) = query.stored_ms.clone().into_inner();
        let Some(from) = self.first_stored(from_ms)? else { return Ok(FoundByKey::default()) };
        let after = match to_ms.checked_add(1) {
            Some(after_ms) => self.first_stored(after_ms)?,
            None => None,
        };
        let mut search = KeySearch {
            hash: key_hash(topic_hash(query.topic), query.key.as_bytes()),
            from: from.max(self.first_base()),
            before: after.map_or(before, |after| after.min(before)),
            max: max.clamp(1, FOUND_BY_KEY_MAX),
            rows_left: KEY_ROWS_SEARCHED_MAX,
            segments_left: KEY_SEGMENTS_SEARCHED_MAX,
            found: Vec::new(),
        };
        // What was found before a damaged sidecar is good; the next look-up begins at it.
        if let Err(damaged) = self.search_key(&mut search)
            && search.found.is_empty()
        {
            return Err(damaged);
        }
        let next = (search.before > search.from).then_some(PhysicalOffset(search.before));
        Ok(FoundByKey { candidates: search.found.into_iter().map(PhysicalOffset).collect(), next })
    }

    /// Goes on with a look-up of a key, the newest segment first. It stops before a sidecar that is damaged.
    fn search_key(&self, search: &mut KeySearch) -> Result<(), Damaged> {
        while !search.is_over() {
            let last = search.before - 1;
            let base = last - last % self.segment_bytes;
            match self.sidecars.at(base) {
                Some(sidecar) => sidecar.search_key(search)?,
                None => match self.learnt(base) {
                    Some(learnt) => learnt.keys.search(base, search),
                    None => search.before = base,
                },
            }
            search.segments_left -= 1;
        }
        Ok(())
    }

    /// When the record at `physical` was stored.
    pub fn time_of(&self, physical: u64) -> Option<i64> {
        let base = physical - physical % self.segment_bytes;
        match self.sidecars.at(base) {
            Some(sidecar) => sidecar.time_of(physical).ok().flatten(),
            None => self.learnt(base)?.times.of(physical),
        }
    }

    /// A sidecar in which damage was found.
    pub fn damaged(&self) -> Option<u64> {
        self.sidecars.iter().find(|sidecar| sidecar.damaged().is_some()).map(|sidecar| sidecar.base())
    }

    /// The segment before which nothing is kept.
    pub fn first_base(&self) -> u64 {
        let learnt = self.learnt.front().map_or(self.next_base, |learnt| learnt.base);
        self.sidecars.first().map_or(learnt, |first| first.base())
    }
}
