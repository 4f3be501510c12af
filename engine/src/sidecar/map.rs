//! Look-ups in one sidecar, over its bytes: memory-mapped in a real process, a plain buffer in the simulator.
//!
//! Each look-up checks the pages it touches, the first time only; nothing is decoded ahead and nothing is kept.

use std::cell::Cell;

use super::footer::{Footer, SidecarFault};
use super::pages::Pages;
use super::table::{Row, RowAt, Table};
use super::{
    BASE_FACTS, BASE_QUEUES, CHANGES, ENTRIES, NO_SEGMENT, PLACES, QUEUES, QueueRow, STRIDE, STRIDES, Seal,
    TIMES, u32_at, u64_at,
};
use crate::env::Mapped;
use crate::limits::SIDECAR_ANNOUNCED_BYTES_MAX;
use crate::state::Entry;

/// Length of one entry.
pub(crate) const ENTRY_BYTES: usize = 16;
pub(super) const TIME_BYTES: usize = 12;
/// What is checked in a line is asked of the disk so far ahead.
const ANNOUNCED_BYTES: u64 = 1 << 20;

/// A sidecar whose footer is whole.
pub struct Sidecar {
    pages: Pages,
    footer: Footer,
    damaged: Cell<Option<u64>>,
}

/// Something in a sidecar is not what was written: it is made again from its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sidecar of segment {base} is damaged at {position}")]
pub struct Damaged {
    /// The segment.
    pub base: u64,
    /// Position in the sidecar.
    pub position: u64,
}

impl Sidecar {
    /// The sidecar whose bytes these are. Its footer and the list of page checksums are checked; pages when touched.
    pub fn decode(bytes: Mapped) -> Result<Sidecar, SidecarFault> {
        let footer = (*bytes).as_ref().last_chunk().ok_or(SidecarFault::Magic)?;
        let footer = Footer::decode(footer)?;
        footer.check()?;
        let pages = Pages::new(bytes, footer.pages_bytes).ok_or(SidecarFault::Field("length"))?;
        if crc32fast::hash(pages.checksums()) != footer.checksums_crc {
            return Err(SidecarFault::FooterCrc);
        }
        Ok(Sidecar { pages, footer, damaged: Cell::new(None) })
    }

    pub(super) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The store whose it is.
    pub(crate) fn store_id(&self) -> u64 {
        self.footer.store_id
    }

    /// Its segment.
    pub fn base(&self) -> u64 {
        self.footer.base
    }

    /// Physical offset after its segment.
    pub(crate) fn end(&self) -> u64 {
        self.footer.base + self.footer.segment_bytes
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.footer.segment_bytes
    }

    /// The frame that ends its segment.
    pub(crate) fn seal(&self) -> Seal {
        self.footer.seal
    }

    /// The segment whose sidecar has the newest base.
    pub(crate) fn base_at(&self) -> u64 {
        self.footer.base_at
    }

    /// Whether it has a base of its own.
    pub(crate) fn has_base(&self) -> bool {
        self.footer.base_at == self.footer.base
    }

    /// Facts that there were at the end of the segment.
    pub(crate) fn live_facts(&self) -> u64 {
        self.footer.live_facts
    }

    /// Records in the log up to the end of the segment.
    pub(crate) fn records(&self) -> u64 {
        self.footer.records
    }

    /// Where damage was found, if it was.
    pub(crate) fn damaged(&self) -> Option<u64> {
        self.damaged.get()
    }

    /// Notes that something does not fit, where a look-up found it.
    fn at_fault(&self, position: u64) -> Damaged {
        self.damaged.set(Some(self.damaged.get().unwrap_or(position)));
        Damaged { base: self.base(), position }
    }

    fn table(&self, number: usize) -> Table<'_> {
        Table {
            pages: &self.pages,
            rows: self.footer.sections[number],
            index: self.footer.sections[number + 1],
        }
    }

    /// The queue's records in the segment.
    pub(crate) fn queue(&self, key: &[u8]) -> Result<Option<QueueRow>, Damaged> {
        match self.table(QUEUES).find(key) {
            Ok(Some(row)) => self.queue_row(row).map(Some),
            Ok(None) => Ok(None),
            Err(position) => Err(self.at_fault(position)),
        }
    }

    fn queue_row(&self, row: Row<'_>) -> Result<QueueRow, Damaged> {
        let decoded = row.value.and_then(QueueRow::decode).filter(|row| {
            u64::from(row.entry) + u64::from(row.count) <= self.footer.sections[ENTRIES].rows
                && (row.previous < self.base() || row.previous == NO_SEGMENT)
                && row.first.checked_add(u64::from(row.count)).is_some()
        });
        decoded.ok_or_else(|| self.at_fault(self.footer.sections[QUEUES].at))
    }

    /// Readers are about to go through its queues: what they need of it is asked of the disk.
    pub(crate) fn will_be_read(&self) {
        let [queues, entries] = [QUEUES, ENTRIES].map(|number| self.footer.sections[number]);
        let bytes = (entries.at + entries.bytes).saturating_sub(queues.at);
        self.pages.will_need(queues.at, bytes.min(SIDECAR_ANNOUNCED_BYTES_MAX));
    }

    /// At most `max` entries of a queue, from its `index`th in this segment on, as bytes of [`ENTRY_BYTES`] each.
    pub(crate) fn entries(&self, row: &QueueRow, index: u32, max: u32) -> Result<&[u8], Damaged> {
        let count = row.count.saturating_sub(index).min(max);
        let at = u64::from(row.entry) + u64::from(index);
        let section = self.footer.sections[ENTRIES];
        let bytes = (u64::from(count)) * ENTRY_BYTES as u64;
        self.pages.bytes(section.at + at * ENTRY_BYTES as u64, bytes).map_err(|at| self.at_fault(at))
    }

    /// One of them.
    pub(crate) fn entry(&self, row: &QueueRow, index: u32) -> Result<Option<Entry>, Damaged> {
        Ok(self.entries(row, index, 1)?.first_chunk().map(|bytes| self.decode_entry(bytes)))
    }

    /// An entry out of its bytes.
    pub(crate) fn decode_entry(&self, bytes: &[u8; ENTRY_BYTES]) -> Entry {
        Entry {
            physical: self.base() + u64::from(u32_at(bytes, 0)),
            size: u32_at(bytes, 4),
            tag_hash: u32_at(bytes, 8).cast_signed(),
            crc: u32_at(bytes, 12),
        }
    }

    /// How many of a queue's records here lie before `physical`.
    pub(crate) fn entries_before(&self, row: &QueueRow, physical: u64) -> Result<u32, Damaged> {
        let (mut low, mut high) = (0, row.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let before = self.entry(row, middle)?.is_some_and(|entry| entry.physical < physical);
            if before { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// The queue (its key) and offset of the record that begins at `physical`.
    pub(crate) fn place(&self, physical: u64) -> Result<Option<(&[u8], u64)>, Damaged> {
        let Some(position) = physical.checked_sub(self.base()) else { return Ok(None) };
        let after = self.partition(STRIDES, 4, |row| u64::from(u32_at(row, 0)) <= position)?;
        let Some(stride) = after.checked_sub(1) else { return Ok(None) };
        let places = self.footer.sections[PLACES];
        let first = stride * STRIDE as u64;
        let count = places.rows.saturating_sub(first).min(STRIDE as u64);
        let rows = self.pages.bytes(places.at + first * 4, count * 4).map_err(|at| self.at_fault(at))?;
        let mut tried = [None; STRIDE];
        for (at, row) in rows.chunks_exact(4).enumerate() {
            let number = u32_at(row, 0);
            if tried[..at].contains(&Some(number)) {
                continue;
            }
            tried[at] = Some(number);
            let found = self.table(QUEUES).nth(u64::from(number)).map_err(|at| self.at_fault(at))?;
            let Some(found) = found else { return Err(self.at_fault(places.at)) };
            let queue = self.queue_row(found)?;
            let index = self.entries_before(&queue, physical)?;
            if self.entry(&queue, index)?.is_some_and(|entry| entry.physical == physical) {
                return Ok(Some((found.key, queue.first + u64::from(index))));
            }
        }
        Ok(None)
    }

    /// Where the first record stored at or after that time lies.
    pub(crate) fn first_at_or_after(&self, timestamp_ms: i64) -> Result<Option<u64>, Damaged> {
        let at = self.partition(TIMES, TIME_BYTES, |row| u64_at(row, 0).cast_signed() < timestamp_ms)?;
        Ok(self.time(at)?.map(|(_, physical)| physical))
    }

    /// When the record at `physical` was stored.
    pub(crate) fn time_of(&self, physical: u64) -> Result<Option<i64>, Damaged> {
        let Some(position) = physical.checked_sub(self.base()) else { return Ok(None) };
        let after = self.partition(TIMES, TIME_BYTES, |row| u64::from(u32_at(row, 8)) <= position)?;
        let Some(at) = after.checked_sub(1) else { return Ok(None) };
        Ok(self.time(at)?.map(|(ms, _)| ms))
    }

    fn time(&self, number: u64) -> Result<Option<(i64, u64)>, Damaged> {
        if number >= self.footer.sections[TIMES].rows {
            return Ok(None);
        }
        let row = self.fixed_row(TIMES, number, TIME_BYTES)?;
        Ok(Some((u64_at(row, 0).cast_signed(), self.base() + u64::from(u32_at(row, 8)))))
    }

    /// A row of a section that is no table.
    pub(super) fn fixed_row(&self, section: usize, number: u64, row_bytes: usize) -> Result<&[u8], Damaged> {
        let at = self.footer.sections[section].at + number * row_bytes as u64;
        self.pages.bytes(at, row_bytes as u64).map_err(|at| self.at_fault(at))
    }

    /// Number of rows at the front that pass.
    fn partition(
        &self,
        section: usize,
        row_bytes: usize,
        passes: impl Fn(&[u8]) -> bool,
    ) -> Result<u64, Damaged> {
        self.partition_within(section, row_bytes, (0, self.footer.sections[section].rows), passes)
    }

    /// The same, where it is known that those before `low` pass and those from `high` on do not.
    pub(super) fn partition_within(
        &self,
        section: usize,
        row_bytes: usize,
        (mut low, mut high): (u64, u64),
        passes: impl Fn(&[u8]) -> bool,
    ) -> Result<u64, Damaged> {
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.fixed_row(section, middle, row_bytes)?;
            if passes(row) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// What this segment changed of a fact; the inner `None`: it was deleted.
    pub(crate) fn change(&self, key: &[u8]) -> Result<Option<Option<&[u8]>>, Damaged> {
        let found = self.table(CHANGES).find(key).map_err(|at| self.at_fault(at))?;
        Ok(found.map(|row| row.value))
    }

    /// A fact of the base.
    pub(crate) fn base_fact(&self, key: &[u8]) -> Result<Option<&[u8]>, Damaged> {
        let found = self.table(BASE_FACTS).find(key).map_err(|at| self.at_fault(at))?;
        Ok(found.and_then(|row| row.value))
    }

    /// The changes of facts, from a key on.
    pub(crate) fn changes_from(&self, key: &[u8]) -> Result<Rows<'_>, Damaged> {
        self.rows_from(CHANGES, key)
    }

    /// The facts of the base, from a key on.
    pub(crate) fn base_facts_from(&self, key: &[u8]) -> Result<Rows<'_>, Damaged> {
        self.rows_from(BASE_FACTS, key)
    }

    /// The queues that occur here, from a key on: [`QueueEnd`] reads their values.
    pub(crate) fn queues_from(&self, key: &[u8]) -> Result<Rows<'_>, Damaged> {
        self.rows_from(QUEUES, key)
    }

    /// The queues of the base, from a key on: [`QueueEnd`] reads their values.
    pub(crate) fn base_queues_from(&self, key: &[u8]) -> Result<Rows<'_>, Damaged> {
        self.rows_from(BASE_QUEUES, key)
    }

    fn rows_from(&self, number: usize, key: &[u8]) -> Result<Rows<'_>, Damaged> {
        let next = self.table(number).seek(key).map_err(|at| self.at_fault(at))?;
        Ok(Rows { sidecar: self, number, next })
    }

    /// Checks at most `max` bytes from `from` on of what a store without its learnt part cannot do without: queues and
    /// facts. Returns where to go on; `None` when all was checked.
    pub(crate) fn check_some(&self, from: u64, max: u64) -> Result<Option<u64>, Damaged> {
        let mut passed = 0;
        for section in self.footer.needed() {
            if from < passed + section.bytes {
                let at = from - passed;
                let len = max.min(section.bytes - at);
                if at.is_multiple_of(ANNOUNCED_BYTES) {
                    self.pages.will_need(section.at + at, ANNOUNCED_BYTES.min(section.bytes - at));
                }
                self.pages.bytes(section.at + at, len).map_err(|at| self.at_fault(at))?;
                return Ok(Some(from + len));
            }
            passed += section.bytes;
        }
        Ok(None)
    }

    /// Checks every page. For a folder at rest.
    pub(crate) fn check_all(&self) -> Result<(), Damaged> {
        self.pages.bytes(0, self.footer.pages_bytes).map(|_| ()).map_err(|at| self.at_fault(at))
    }
}

impl std::fmt::Debug for Sidecar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.footer.fmt(formatter)
    }
}

/// Rows of a table, one after the other.
pub(crate) struct Rows<'a> {
    sidecar: &'a Sidecar,
    number: usize,
    next: RowAt,
}

impl<'a> Rows<'a> {
    pub fn next(&mut self) -> Result<Option<Row<'a>>, Damaged> {
        match self.sidecar.table(self.number).row(self.next) {
            Ok(Some((row, next))) => {
                self.next = next;
                Ok(Some(row))
            }
            Ok(None) => Ok(None),
            Err(position) => Err(self.sidecar.at_fault(position)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::footer::tests::{BASE, SEGMENT, footer, whole};
    use super::super::pages::tests::{Announced, Told};
    use super::super::table::push_row;
    use super::super::{KEYS, PAGE_BYTES, SECTIONS, queue_key};
    use super::*;

    const PAGE: u64 = PAGE_BYTES as u64;
    /// A whole sidecar of these sections, but for what `damage` does to its pages after they were summed.
    fn file(sections: &[(usize, Vec<u8>, u64)], damage: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let (footer, bytes) = footer(sections);
        whole(footer, bytes, damage)
    }

    #[test]
    fn a_queues_row_must_fit_the_entries_and_lie_after_the_one_before() {
        let row = QueueRow { first: 10, count: 3, entry: 1, previous: 0 };
        #[rustfmt::skip]
        let rows = [
            ("as it should be",             row,                                           true),
            ("as many as there are",        QueueRow { entry: 2, ..row },                  true),
            ("one too many",                QueueRow { entry: 3, ..row },                  false),
            ("far too many",                QueueRow { entry: u32::MAX, ..row },           false),
            ("it occurred just before",     QueueRow { previous: BASE - SEGMENT, ..row },  true),
            ("it occurred here",            QueueRow { previous: BASE, ..row },            false),
            ("it never occurred",           QueueRow { previous: NO_SEGMENT, ..row },      true),
            ("its offsets end",             QueueRow { first: u64::MAX - 3, ..row },       true),
            ("its offsets end too soon",    QueueRow { first: u64::MAX - 2, ..row },       false),
        ];
        for (what, row, fits) in rows {
            let mut table = Vec::new();
            push_row(&mut table, b"key", Some(&row.encode()));
            let entries = vec![0; 5 * ENTRY_BYTES];
            let sections = [(QUEUES, table, 1), (QUEUES + 1, vec![0; 8], 1), (ENTRIES, entries, 5)];
            let sidecar = Sidecar::decode(Box::new(file(&sections, |_| ()))).expect("it is whole");
            let damaged = Err(Damaged { base: BASE, position: 0 });
            assert_eq!(sidecar.queue(b"key"), if fits { Ok(Some(row)) } else { damaged }, "{what}");
            assert_eq!(sidecar.damaged(), if fits { None } else { Some(0) }, "{what}");
            assert_eq!(sidecar.queue(b"kez"), Ok(None));
        }
    }

    #[test]
    fn a_queues_entries_are_given_from_an_index_on_and_no_others() {
        let entries: Vec<u8> = (0..6).flat_map(|n| [n; ENTRY_BYTES]).collect();
        let sidecar = Sidecar::decode(Box::new(file(&[(ENTRIES, entries, 6)], |_| ()))).expect("it is whole");
        let row = QueueRow { first: 0, count: 3, entry: 2, previous: NO_SEGMENT };
        #[rustfmt::skip]
        let rows: &[(u32, u32, &[u8])] = &[
            (0, 10, &[2, 3, 4]), (0, 2, &[2, 3]), (1, 10, &[3, 4]), (2, 1, &[4]), (3, 10, &[]), (4, 10, &[]),
        ];
        for (index, max, expected) in rows {
            let bytes = sidecar.entries(&row, *index, *max).expect("it is whole");
            let numbers: Vec<u8> = bytes.chunks(ENTRY_BYTES).map(|entry| entry[0]).collect();
            assert_eq!(numbers, *expected, "{max} from {index}");
        }
    }

    #[test]
    fn a_record_is_looked_for_in_its_own_stride_only() {
        // Queue a has every third record, b the others; records lie 100 bytes apart.
        let queue_of = |n: u32| usize::from(!n.is_multiple_of(3));
        let (mut entries, mut places, mut strides) = ([Vec::new(), Vec::new()], Vec::new(), Vec::new());
        for n in 0..100u32 {
            let position = 128 + n * 100;
            entries[queue_of(n)].extend([position.to_be_bytes(), [0; 4], [0; 4], [0; 4]].concat());
            places.extend((queue_of(n) as u32).to_be_bytes());
            if n % STRIDE as u32 == 0 {
                strides.extend(position.to_be_bytes());
            }
        }
        let counts = entries.each_ref().map(|entries| (entries.len() / ENTRY_BYTES) as u32);
        let mut queues = Vec::new();
        for (at, topic) in ["a", "b"].iter().enumerate() {
            let (count, entry) = (counts[at], if at == 0 { 0 } else { counts[0] });
            let row = QueueRow { first: 1000, count, entry, previous: NO_SEGMENT };
            push_row(&mut queues, &queue_key(topic, 0), Some(&row.encode()));
        }
        let sections = [
            (QUEUES, queues, 2),
            (QUEUES + 1, vec![0; 8], 1),
            (ENTRIES, entries.concat(), 100),
            (PLACES, places, 100),
            (STRIDES, strides, 4),
        ];
        let sidecar = Sidecar::decode(Box::new(file(&sections, |_| ()))).expect("it is whole");
        let mut next = [1000, 1000];
        for n in 0..100u32 {
            let physical = BASE + 128 + u64::from(n) * 100;
            let key = queue_key(["a", "b"][queue_of(n)], 0);
            assert_eq!(sidecar.place(physical), Ok(Some((&key[..], next[queue_of(n)]))), "record {n}");
            assert_eq!((sidecar.place(physical - 1), sidecar.place(physical + 1)), (Ok(None), Ok(None)));
            next[queue_of(n)] += 1;
        }
        assert_eq!((sidecar.place(0), sidecar.place(u64::MAX)), (Ok(None), Ok(None)));
    }

    #[test]
    fn a_time_is_found_by_place_and_a_place_by_time() {
        let steps = [(10i64, 128u32), (12, 300), (20, 500)];
        let times = steps.iter().flat_map(|(ms, at)| [&ms.to_be_bytes()[..], &at.to_be_bytes()].concat());
        let sections = [(TIMES, times.collect(), 3)];
        let sidecar = Sidecar::decode(Box::new(file(&sections, |_| ()))).expect("it is whole");
        #[rustfmt::skip]
        let places = [(i64::MIN, Some(128)), (10, Some(128)), (11, Some(300)), (12, Some(300)), (20, Some(500)), (21, None)];
        for (ms, position) in places {
            assert_eq!(sidecar.first_at_or_after(ms), Ok(position.map(|at| BASE + at)), "at or after {ms}");
        }
        for (position, ms) in
            [(127, None), (128, Some(10)), (299, Some(10)), (300, Some(12)), (499, Some(12)), (900, Some(20))]
        {
            assert_eq!(sidecar.time_of(BASE + position), Ok(ms), "at {position}");
        }
        assert_eq!(sidecar.time_of(BASE - 1), Ok(None));
    }

    #[test]
    fn what_a_store_cannot_do_without_is_checked_in_steps_and_nothing_else() {
        // Three pages each, of which the second is damaged.
        let mut sections: Vec<_> = (0..SECTIONS).map(|number| (number, vec![0; 3 * PAGE_BYTES], 0)).collect();
        for (number, row_bytes) in [(ENTRIES, 16), (PLACES, 4), (STRIDES, 4), (TIMES, 12), (KEYS, 8)] {
            sections[number].2 = 3 * PAGE / row_bytes;
        }
        for bad in 0..SECTIONS {
            let bytes = file(&sections, |bytes| bytes[(bad * 3 + 1) * PAGE_BYTES] ^= 1);
            let sidecar = Sidecar::decode(Box::new(bytes)).expect("its footer is whole");
            let (mut at, mut steps) = (Some(0), 0);
            let found = loop {
                match at.map(|from| sidecar.check_some(from, 5000)) {
                    Some(Ok(next)) => at = next,
                    Some(Err(damaged)) => break Some(damaged.position),
                    None => break None,
                }
                steps += 1;
                assert!(steps < 200, "it ends");
            };
            let needed = !(ENTRIES..=TIMES).contains(&bad) && bad != KEYS;
            assert_eq!(found, needed.then_some((bad as u64 * 3 + 1) * PAGE), "section {bad}");
            assert_eq!((sidecar.damaged(), sidecar.check_all().is_err()), (found, true));
        }
    }

    #[test]
    fn what_is_checked_in_a_line_is_announced_a_mebibyte_ahead() {
        let announced = Announced::default();
        let sections = [(QUEUES, vec![0; PAGE_BYTES], 0), (BASE_FACTS, vec![0; 150 * PAGE_BYTES], 0)];
        let bytes = Told(file(&sections, |_| ()), announced.clone());
        let sidecar = Sidecar::decode(Box::new(bytes)).expect("it is whole");
        let (mut from, mut steps) = (0, Vec::new());
        while let Some(next) = sidecar.check_some(from, 32 * PAGE).expect("it is whole") {
            steps.push((next - from) / PAGE);
            from = next;
        }
        assert_eq!(steps, [1, 32, 32, 32, 32, 22]);
        // Each step also asks for what it checks.
        let ahead: Vec<_> =
            announced.take().into_iter().filter(|(_, pages)| ![4, 32].contains(pages)).collect();
        assert_eq!(ahead, [(0, 1), (1, 64), (65, 64), (129, 22), (129, 22)]);
    }
}
