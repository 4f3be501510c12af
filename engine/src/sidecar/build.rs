//! The merge that makes a sidecar: from the sidecars before it, and what was learnt from its segment. Pure.
//!
//! It is taken in steps, each bounded, so that whoever runs it can let others run in between; bytes come out as they
//! are made, and never more than one step's are held. What is held for longer is the name of each queue of the segment and
//! twelve bytes, sixteen per key, four per 16 KiB of the file, and half a byte per fact.
//!
//! The same input gives the same bytes, whichever steps it is taken in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::ops::Range;
use std::rc::Rc;

use super::QueueEnd;
use super::footer::Footer;
use super::keys::KeySort;
use super::table::{Row, Section, push_row};
use super::{
    BASE_FACTS, BASE_QUEUES, CHANGES, Damaged, ENTRIES, FOOTER_BYTES, FORMAT_VERSION, KEYS, Merge,
    NO_SEGMENT, PAGE_BYTES, PLACES, QUEUES, QueueRow, ROWS_PER_INDEX, SECTIONS, STRIDES, Seal, Sidecar,
    SidecarSet, Source, TIMES,
};
use crate::env::BLOCK_BYTES;
use crate::limits::{SIDECAR_BASE_FREE_PART, SIDECAR_STEP_ROWS, SIDECARS_SINCE_BASE_MAX};
use crate::planted::{self, Bug};
use crate::state::{Entry, Learnt, Queues};

/// What a sidecar says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub store_id: u64,
    pub segment_bytes: u64,
}

/// What was learnt from the segment; the same at every step.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub learnt: &'a Learnt,
    pub queues: &'a Queues,
}

/// What a base is made of, beside what was learnt.
#[derive(Debug, Clone)]
pub(crate) enum Foundation {
    /// The sidecars before it.
    Previous,
    /// Those have retired. The base that it had itself, which is whole: with what was learnt once more, it is the same.
    Own(Rc<Sidecar>),
    /// Those have retired, and a newer sidecar has a base: it gets none, and is for reading records only.
    Newer,
}

/// See the module.
pub(crate) struct Builder {
    identity: Identity,
    foundation: Foundation,
    /// The sidecars that a base is made of, from their newest base on.
    previous: SidecarSet,
    phase: Phase,
    out: Output,
    footer: Footer,
    queue_keys: QueueKeys,
    runs: Vec<Vec<u32>>,
    /// The segment's queues in the order of their keys.
    order: Vec<u32>,
    /// The other way round.
    row_of: Vec<u32>,
    keys: KeySort,
    index: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Sort,
    Queues { next: usize, entry: u32 },
    Entries { queue: usize, index: u32 },
    Places { next: usize },
    Strides { next: usize },
    Times { next: usize },
    SortKeys,
    Keys,
    Changes { after: Option<Vec<u8>> },
    BaseQueues { after: Option<Vec<u8>> },
    BaseFacts { after: Option<Vec<u8>> },
    Done,
}

impl Builder {
    /// A builder of the sidecar of `learnt`'s segment, which ends with that seal. `previous`: all sidecars before it.
    pub fn new(identity: Identity, seal: Seal, learnt: &Learnt, previous: &SidecarSet) -> Builder {
        let footer = Footer {
            version: FORMAT_VERSION,
            store_id: identity.store_id,
            base: learnt.base,
            segment_bytes: identity.segment_bytes,
            seal,
            checksums_crc: 0,
            base_at: 0,
            since_base_bytes: 0,
            base_bytes: 0,
            live_facts: learnt.live_facts,
            records: learnt.records_so_far,
            pages_bytes: 0,
            sections: [Section::default(); SECTIONS],
        };
        Builder {
            identity,
            foundation: Foundation::Previous,
            previous: previous.only_since_base(),
            phase: Phase::Sort,
            out: Output::default(),
            footer,
            queue_keys: QueueKeys::default(),
            runs: Vec::new(),
            order: Vec::new(),
            row_of: Vec::new(),
            keys: KeySort::default(),
            index: Vec::new(),
        }
    }

    /// The same, made of something else.
    pub fn on(mut self, foundation: Foundation) -> Builder {
        if let Foundation::Own(own) = &foundation {
            self.previous = SidecarSet::default();
            self.previous.push(own.clone());
            (self.footer.live_facts, self.footer.records) = (own.live_facts(), own.records());
        }
        self.foundation = foundation;
        self
    }

    /// One step. Whether it was the last.
    pub fn step(&mut self, input: Input<'_>) -> Result<bool, Damaged> {
        if self.phase == Phase::Done {
            return Ok(true);
        }
        self.phase = match mem::replace(&mut self.phase, Phase::Done) {
            Phase::Sort => self.sort(input),
            Phase::Queues { next, entry } => self.queues(input, next, entry),
            Phase::Entries { queue, index } => self.entries(input, queue, index),
            Phase::Places { next } => self.places(input, next),
            Phase::Strides { next } => self.strides(input, next),
            Phase::Times { next } => self.times(input, next),
            Phase::SortKeys if self.keys.sort_some(&input.learnt.keys) => Phase::Keys,
            Phase::SortKeys => Phase::SortKeys,
            Phase::Keys => self.keys(),
            Phase::Changes { after } => self.changes(input, after),
            Phase::BaseQueues { after } => self.base_queues(input, after)?,
            Phase::BaseFacts { after } => self.base_facts(input, after)?,
            Phase::Done => Phase::Done,
        };
        if self.phase == Phase::Done {
            self.finish();
        }
        Ok(self.phase == Phase::Done)
    }

    /// Bytes that are ready to be written: whole blocks, at least `least` of them or, once it is done, all.
    pub fn take(&mut self, least: usize) -> Option<Vec<u8>> {
        self.out.take(if self.phase == Phase::Done { 1 } else { least.max(1) })
    }

    /// Once it is done: what of the file a store reads at once.
    pub fn needed(&self) -> Vec<Range<u64>> {
        self.footer.needed().map(|section| section.at..section.at + section.bytes).collect()
    }

    /// Sorts some queues; when all are in sorted runs, merges these.
    fn sort(&mut self, input: Input<'_>) -> Phase {
        let occurrences = input.learnt.queues.len();
        let sorted: usize = self.runs.iter().map(Vec::len).sum();
        if sorted < occurrences && self.order.is_empty() {
            let to = occurrences.min(sorted + SIDECAR_STEP_ROWS);
            for occurrence in &input.learnt.queues[sorted..to] {
                let (topic, queue_id) = input.queues.at(occurrence.queue).name();
                self.queue_keys.push(topic, queue_id);
            }
            let mut run: Vec<u32> = (sorted as u32..to as u32).collect();
            run.sort_unstable_by(|one, other| self.queue_keys.at(*other).cmp(self.queue_keys.at(*one)));
            self.runs.push(run);
            return Phase::Sort;
        }
        let keys = &self.queue_keys;
        let heads =
            self.runs.iter().enumerate().filter_map(|(run, rest)| Some((keys.at(*rest.last()?), run)));
        let mut heap: BinaryHeap<Reverse<(&[u8], usize)>> = heads.map(Reverse).collect();
        for _ in 0..SIDECAR_STEP_ROWS {
            let Some(Reverse((_, run))) = heap.pop() else {
                self.row_of = vec![0; occurrences];
                for (row, at) in self.order.iter().enumerate() {
                    self.row_of[*at as usize] = row as u32;
                }
                self.runs = Vec::new();
                self.begin(QUEUES);
                return Phase::Queues { next: 0, entry: 0 };
            };
            self.order.extend(self.runs[run].pop());
            if let Some(at) = self.runs[run].last() {
                heap.push(Reverse((keys.at(*at), run)));
            }
        }
        Phase::Sort
    }

    fn queues(&mut self, input: Input<'_>, next: usize, mut entry: u32) -> Phase {
        let to = self.order.len().min(next + SIDECAR_STEP_ROWS);
        let keys = mem::take(&mut self.queue_keys);
        for at in next..to {
            let occurrence = &input.learnt.queues[self.order[at] as usize];
            let queue = input.queues.at(occurrence.queue);
            let count = queue.held_before(self.end()) - occurrence.first;
            let count = u32::try_from(count).expect("a segment has fewer than 2^32 records");
            let lost = planted::is(Bug::SidecarPreviousLost);
            let previous = if lost { NO_SEGMENT } else { occurrence.previous };
            let row = QueueRow { first: occurrence.first, count, entry, previous };
            self.row(QUEUES, keys.at(self.order[at]), Some(&row.encode()));
            entry += count;
        }
        self.queue_keys = keys;
        if to < self.order.len() {
            return Phase::Queues { next: to, entry };
        }
        self.end_table(QUEUES);
        self.begin(ENTRIES);
        Phase::Entries { queue: 0, index: 0 }
    }

    fn entries(&mut self, input: Input<'_>, mut queue: usize, mut index: u32) -> Phase {
        for _ in 0..SIDECAR_STEP_ROWS {
            let Some(at) = self.order.get(queue) else {
                self.end_section(ENTRIES);
                self.begin(PLACES);
                return Phase::Places { next: 0 };
            };
            let occurrence = &input.learnt.queues[*at as usize];
            let held = input.queues.at(occurrence.queue).held(occurrence.first + u64::from(index));
            match held.filter(|entry| entry.physical < self.end()) {
                Some(entry) => {
                    self.entry(&entry);
                    index += 1;
                }
                None => (queue, index) = (queue + 1, 0),
            }
        }
        Phase::Entries { queue, index }
    }

    fn entry(&mut self, entry: &Entry) {
        let position = entry.physical - self.footer.base;
        let position = u32::try_from(position).expect("segments are at most SEGMENT_BYTES_MAX");
        let position =
            if planted::is(Bug::SidecarEntryOffByOne) { position.wrapping_add(1) } else { position };
        self.fixed(ENTRIES, &[position.to_be_bytes(), entry.size.to_be_bytes()].concat());
        self.out.push(&entry.tag_hash.to_be_bytes());
        let crc = entry.crc;
        self.out.push(&crc.to_be_bytes());
    }

    fn places(&mut self, input: Input<'_>, next: usize) -> Phase {
        for at in next..next + SIDECAR_STEP_ROWS {
            let Some(occurrence) = input.learnt.places.occurrence(at) else {
                self.end_section(PLACES);
                self.begin(STRIDES);
                return Phase::Strides { next: 0 };
            };
            self.fixed(PLACES, &self.row_of[occurrence as usize].to_be_bytes());
        }
        Phase::Places { next: next + SIDECAR_STEP_ROWS }
    }

    fn strides(&mut self, input: Input<'_>, next: usize) -> Phase {
        for at in next..next + SIDECAR_STEP_ROWS {
            let Some(physical) = input.learnt.places.stride(at) else {
                self.end_section(STRIDES);
                self.begin(TIMES);
                return Phase::Times { next: 0 };
            };
            let position = self.position(physical);
            self.fixed(STRIDES, &position);
        }
        Phase::Strides { next: next + SIDECAR_STEP_ROWS }
    }

    fn times(&mut self, input: Input<'_>, next: usize) -> Phase {
        for at in next..next + SIDECAR_STEP_ROWS {
            let Some((ms, physical)) = input.learnt.times.step(at) else {
                self.end_section(TIMES);
                self.begin(KEYS);
                return Phase::SortKeys;
            };
            let position = self.position(physical);
            self.fixed(TIMES, &ms.to_be_bytes());
            self.out.push(&position);
        }
        Phase::Times { next: next + SIDECAR_STEP_ROWS }
    }

    fn keys(&mut self) -> Phase {
        for _ in 0..SIDECAR_STEP_ROWS {
            let Some(row) = self.keys.next() else {
                self.keys = KeySort::default();
                self.end_section(KEYS);
                self.begin(CHANGES);
                return Phase::Changes { after: None };
            };
            self.fixed(KEYS, &row.encode());
        }
        Phase::Keys
    }

    fn changes(&mut self, input: Input<'_>, after: Option<Vec<u8>>) -> Phase {
        let mut last = None;
        let mut rows = input.learnt.changes_after(after.as_deref());
        for _ in 0..SIDECAR_STEP_ROWS {
            let Some(row) = rows.next() else {
                self.end_table(CHANGES);
                return self.choose_base();
            };
            if row.value.is_some() || !planted::is(Bug::SidecarDeletesLost) {
                self.row(CHANGES, row.key, row.value);
            }
            last = Some(row.key.to_vec());
            if self.out.is_full() {
                break;
            }
        }
        Phase::Changes { after: last }
    }

    /// Whether a base is due; see the module's parent.
    fn choose_base(&mut self) -> Phase {
        match self.foundation {
            Foundation::Previous => {}
            Foundation::Own(_) => return self.begin_base(),
            Foundation::Newer => {
                // In a segment that has retired.
                let before = self.footer.base.saturating_sub(self.identity.segment_bytes);
                self.footer.base_at = self.previous.last().map_or(before, |last| last.base_at());
                return Phase::Done;
            }
        }
        let own = self.footer.sections[QUEUES].bytes + self.footer.sections[CHANGES].bytes;
        let Some(last) = self.previous.last().map(|last| *last.footer()) else { return self.begin_base() };
        let since = last.since_base_bytes + own;
        let outgrown = since > last.base_bytes / 2;
        let cheap = last.base_bytes <= self.identity.segment_bytes / SIDECAR_BASE_FREE_PART;
        let old = self.previous.since_base().len() >= SIDECARS_SINCE_BASE_MAX;
        if outgrown || cheap || old {
            return self.begin_base();
        }
        self.footer.base_at = last.base_at;
        self.footer.since_base_bytes = since;
        self.footer.base_bytes = last.base_bytes;
        Phase::Done
    }

    fn begin_base(&mut self) -> Phase {
        self.footer.base_at = self.footer.base;
        self.begin(BASE_QUEUES);
        Phase::BaseQueues { after: None }
    }

    fn base_queues(&mut self, input: Input<'_>, after: Option<Vec<u8>>) -> Result<Phase, Damaged> {
        let from = after.as_deref().unwrap_or_default();
        let (order, keys, end) = (&self.order, mem::take(&mut self.queue_keys), self.end());
        let first = order.partition_point(|at| keys.at(*at) < from);
        // A step's worth of them.
        let own: Vec<_> = order[first..]
            .iter()
            .take(SIDECAR_STEP_ROWS + 1)
            .map(|at| {
                let queue = input.queues.at(input.learnt.queues[*at as usize].queue);
                (*at, QueueEnd { end: queue.held_before(end), last: self.footer.base }.encode())
            })
            .collect();
        let previous = self.previous.clone();
        let (sources, mut bases) = previous.queues_from(from)?;
        bases.insert(0, self.footer.base);
        let own_rows = own.iter().map(|(at, value)| Row { key: keys.at(*at), value: Some(value) });
        let own_source = Source::Memory(Box::new(own_rows));
        let mut merge = Merge::new(std::iter::once(own_source).chain(sources))?;
        let mut taken = 0;
        while let Some((source, row)) = merge.next()? {
            if Some(row.key) == after.as_deref() {
                continue;
            }
            if let Some(end) = QueueEnd::decode(row.value, bases[source]) {
                self.row(BASE_QUEUES, row.key, Some(&end.encode()));
            }
            taken += 1;
            if taken == SIDECAR_STEP_ROWS {
                let after = Some(row.key.to_vec());
                drop(merge);
                self.queue_keys = keys;
                return Ok(Phase::BaseQueues { after });
            }
        }
        self.end_table(BASE_QUEUES);
        self.begin(BASE_FACTS);
        Ok(Phase::BaseFacts { after: None })
    }

    fn base_facts(&mut self, input: Input<'_>, after: Option<Vec<u8>>) -> Result<Phase, Damaged> {
        let previous = self.previous.clone();
        let mut sources = previous.facts_from(after.as_deref().unwrap_or_default())?;
        if planted::is(Bug::SidecarBaseDropped) {
            sources.clear();
        }
        let own = Source::Memory(Box::new(input.learnt.changes_after(after.as_deref())));
        let mut merge = Merge::new(std::iter::once(own).chain(sources))?;
        let mut taken = 0;
        while let Some((_, row)) = merge.next()? {
            if Some(row.key) == after.as_deref() {
                continue;
            }
            if row.value.is_some() {
                self.row(BASE_FACTS, row.key, row.value);
            }
            taken += 1;
            if taken == SIDECAR_STEP_ROWS || self.out.is_full() {
                return Ok(Phase::BaseFacts { after: Some(row.key.to_vec()) });
            }
        }
        self.end_table(BASE_FACTS);
        self.footer.since_base_bytes = 0;
        self.footer.base_bytes =
            self.footer.sections[BASE_QUEUES].bytes + self.footer.sections[BASE_FACTS].bytes;
        Ok(Phase::Done)
    }

    fn finish(&mut self) {
        let (pages_bytes, checksums_crc) = self.out.end_pages();
        self.footer.pages_bytes = pages_bytes;
        self.footer.checksums_crc = checksums_crc;
        self.out.end(&self.footer.encode());
    }

    /// Physical offset after the segment.
    fn end(&self) -> u64 {
        self.footer.base + self.identity.segment_bytes
    }

    fn position(&self, physical: u64) -> [u8; 4] {
        u32::try_from(physical - self.footer.base)
            .expect("segments are at most SEGMENT_BYTES_MAX")
            .to_be_bytes()
    }

    fn begin(&mut self, number: usize) {
        self.footer.sections[number] = Section { at: self.out.at, bytes: 0, rows: 0 };
    }

    fn row(&mut self, number: usize, key: &[u8], value: Option<&[u8]>) {
        let section = &mut self.footer.sections[number];
        if section.rows.is_multiple_of(ROWS_PER_INDEX) {
            self.index.push(self.out.at - section.at);
        }
        section.rows += 1;
        self.out.push_row(key, value);
    }

    /// A row of a section that is no table, or its beginning.
    fn fixed(&mut self, number: usize, bytes: &[u8]) {
        self.footer.sections[number].rows += 1;
        self.out.push(bytes);
    }

    fn end_section(&mut self, number: usize) {
        let section = &mut self.footer.sections[number];
        section.bytes = self.out.at - section.at;
    }

    /// Ends a table with its index.
    fn end_table(&mut self, number: usize) {
        self.end_section(number);
        self.begin(number + 1);
        for place in mem::take(&mut self.index) {
            self.fixed(number + 1, &place.to_be_bytes());
        }
        self.end_section(number + 1);
    }
}

/// The keys of the segment's queues, in the order in which they first occurred.
#[derive(Default)]
struct QueueKeys {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl QueueKeys {
    fn push(&mut self, topic: &str, queue_id: i32) {
        self.bytes.extend_from_slice(topic.as_bytes());
        self.bytes.extend_from_slice(&queue_id.to_be_bytes());
        self.ends.push(u32::try_from(self.bytes.len()).expect("the names of a segment are shorter than it"));
    }

    fn at(&self, occurrence: u32) -> &[u8] {
        let at = occurrence as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[at] as usize]
    }
}

/// Bytes on their way to the file, with the checksums of their pages.
#[derive(Default)]
struct Output {
    /// Made and not yet given out; begins with whole blocks.
    bytes: Vec<u8>,
    /// Length of everything made.
    at: u64,
    /// Of `bytes`: in pages that have their checksum.
    summed: usize,
    checksums: Vec<u8>,
}

impl Output {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.at += bytes.len() as u64;
    }

    fn push_row(&mut self, key: &[u8], value: Option<&[u8]>) {
        let before = self.bytes.len();
        push_row(&mut self.bytes, key, value);
        self.at += (self.bytes.len() - before) as u64;
    }

    /// So much was made that it had better be written first.
    fn is_full(&self) -> bool {
        self.bytes.len() >= 16 * PAGE_BYTES
    }

    fn sum(&mut self) {
        while self.bytes.len() - self.summed >= PAGE_BYTES {
            let page = &self.bytes[self.summed..][..PAGE_BYTES];
            self.checksums.extend_from_slice(&crc32fast::hash(page).to_be_bytes());
            self.summed += PAGE_BYTES;
        }
    }

    fn take(&mut self, least: usize) -> Option<Vec<u8>> {
        self.sum();
        if self.summed < least {
            return None;
        }
        let rest = self.bytes.split_off(self.summed);
        self.summed = 0;
        Some(mem::replace(&mut self.bytes, rest))
    }

    /// Fills the last page; returns the length of all and the checksum of the checksums.
    fn end_pages(&mut self) -> (u64, u32) {
        let pages_bytes = self.at.next_multiple_of(PAGE_BYTES as u64);
        self.push(&vec![0; (pages_bytes - self.at) as usize]);
        self.sum();
        (pages_bytes, crc32fast::hash(&self.checksums))
    }

    /// The list of checksums and the footer, up to a whole block. All that is left can be taken afterwards.
    fn end(&mut self, footer: &[u8; FOOTER_BYTES]) {
        let checksums = mem::take(&mut self.checksums);
        self.push(&checksums);
        let end = (self.at + FOOTER_BYTES as u64).next_multiple_of(BLOCK_BYTES as u64);
        self.push(&vec![0; (end - self.at) as usize - FOOTER_BYTES]);
        self.push(footer);
        self.summed = self.bytes.len();
    }
}
