//! The sidecars of one store, and what is looked up over all of them. Pure.
//!
//! Invariants
//!  1. They are of segments without a gap, the oldest first.
//!  2. The newest one's base is among them.

use std::cell::Cell;
use std::rc::Rc;

use super::QueueEnd;

use super::{Damaged, Merge, NO_SEGMENT, QueueRow, Sidecar, Source};

/// See the module. One per shard.
#[derive(Debug, Default, Clone)]
pub(crate) struct SidecarSet {
    all: Vec<Rc<Sidecar>>,
    /// Those announced last.
    announced: Cell<[u64; 8]>,
}

impl SidecarSet {
    fn of(all: Vec<Rc<Sidecar>>) -> SidecarSet {
        SidecarSet { all, ..SidecarSet::default() }
    }

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
        SidecarSet::of(self.all.iter().take_while(|sidecar| sidecar.base() < base).cloned().collect())
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
        SidecarSet::of(self.since_base().to_vec())
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

    /// A reader went on to that segment: it will be read, and the next one after it. Otherwise a reader that is behind
    /// waits for the disk once for every few pages of every sidecar, and all of the shard with it.
    pub fn reader_went_on(&self, base: u64) {
        for sidecar in [Some(base), self.at(base).map(|sidecar| sidecar.end())].into_iter().flatten() {
            let mut announced = self.announced.get();
            if let Some(sidecar) = self.at(sidecar).filter(|sidecar| !announced.contains(&sidecar.base())) {
                sidecar.will_be_read();
                announced.rotate_right(1);
                announced[0] = sidecar.base();
                self.announced.set(announced);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::super::footer::tests::{SEGMENT, footer, whole};
    use super::super::map::ENTRY_BYTES;
    use super::super::pages::tests::{Announced, Told};
    use super::super::table::push_row;
    use super::super::{ENTRIES, QUEUES, TIMES};
    use super::*;

    type Sections<'a> = &'a [(usize, Vec<u8>, u64)];

    fn sidecar(segment: u64, base_at: u64, sections: Sections<'_>, sealed_ms: i64) -> Rc<Sidecar> {
        sidecar_told(segment, base_at, sections, sealed_ms).0
    }

    /// The sidecar of that segment, whose newest base is that segment's, and what will have been looked at.
    fn sidecar_told(
        segment: u64,
        base_at: u64,
        sections: Sections<'_>,
        sealed_ms: i64,
    ) -> (Rc<Sidecar>, Announced) {
        let (mut footer, bytes) = footer(sections);
        (footer.base, footer.base_at) = (segment * SEGMENT, base_at * SEGMENT);
        footer.seal.position = segment * SEGMENT + 4096;
        footer.seal.store_timestamp_ms = sealed_ms;
        let announced = Announced::default();
        let file = Told(whole(footer, bytes, |_| ()), announced.clone());
        (Rc::new(Sidecar::decode(Box::new(file)).expect("it is whole")), announced)
    }

    /// Sidecars of segments from `first` on, of which each names that base.
    fn set(first: u64, bases: &[u64]) -> SidecarSet {
        let mut set = SidecarSet::default();
        (first..).zip(bases).for_each(|(segment, base)| set.push(sidecar(segment, *base, &[], 0)));
        set
    }

    fn segments(sidecars: &[Rc<Sidecar>]) -> Vec<u64> {
        sidecars.iter().map(|sidecar| sidecar.base() / SEGMENT).collect()
    }

    #[test]
    fn what_the_newest_base_does_not_need_may_go() {
        type Row<'a> = (u64, &'a [u64], bool, bool, &'a [u64]);
        #[rustfmt::skip]
        let rows: &[Row<'_>] = &[
            // first segment, base of each, whether all is known, whether the oldest may go, those since the base
            (0, &[],           true,  false, &[]),
            (0, &[0],          true,  false, &[0]),
            (0, &[0, 0],       true,  false, &[0, 1]),
            (0, &[0, 1],       true,  true,  &[1]),
            (0, &[0, 1, 1],    true,  true,  &[1, 2]),
            (1, &[1, 1],       true,  false, &[1, 2]),
            (2, &[1, 1],       false, false, &[2, 3]),
            (2, &[1, 3],       true,  true,  &[3]),
        ];
        for (first, bases, complete, spare, since) in rows {
            let mut set = set(*first, bases);
            assert_eq!((set.is_complete(), set.can_spare_oldest()), (*complete, *spare), "{first} {bases:?}");
            assert_eq!(segments(set.since_base()), *since);
            assert_eq!(segments(&set.only_since_base().all), *since);
            let retired = set.retire_oldest().map(|oldest| oldest.base() / SEGMENT);
            assert_eq!(
                (retired, set.all.len()),
                (spare.then_some(*first), bases.len() - usize::from(*spare))
            );
        }
    }

    #[test]
    fn a_sidecar_is_found_by_its_segment() {
        let mut set = set(3, &[3, 3, 3]);
        #[rustfmt::skip]
        let rows = [
            // physical offset, its sidecar, how many are before
            (0,                None,    0),
            (3 * SEGMENT - 1,  None,    0),
            (3 * SEGMENT,      Some(3), 0),
            (3 * SEGMENT + 1,  Some(3), 1),
            (4 * SEGMENT,      Some(4), 1),
            (5 * SEGMENT,      Some(5), 2),
            (6 * SEGMENT - 1,  Some(5), 3),
            (6 * SEGMENT,      None,    3),
            (NO_SEGMENT,       None,    3),
        ];
        for (base, segment, before) in rows {
            assert_eq!(set.at(base).map(|found| found.base() / SEGMENT), segment, "{base}");
            assert_eq!(set.before(base).all.len(), before, "{base}");
        }
        set.replace(sidecar(4, 4, &[], 0));
        set.replace(sidecar(7, 4, &[], 0));
        let bases: Vec<_> =
            set.iter().map(|sidecar| (sidecar.base() / SEGMENT, sidecar.base_at() / SEGMENT)).collect();
        assert_eq!(bases, [(3, 3), (4, 4), (5, 3)]);
    }

    /// Sidecars of segments 2 to 12, in some of which a queue has records, 1000 apart from 128 on; another has one
    /// everywhere. Returns of each of the queue's records its offset and where it lies.
    fn with_queue() -> (SidecarSet, Vec<(u64, u64)>) {
        let (set, records, _) = with_queue_told();
        (set, records)
    }

    /// Of each segment what will have been looked at.
    type LookedAt = Vec<(u64, Announced)>;

    /// The same, and what will have been looked at.
    fn with_queue_told() -> (SidecarSet, Vec<(u64, u64)>, LookedAt) {
        let mut told = Vec::new();
        let counts = [2, 0, 3, 1, 0, 0, 0, 0, 0, 1, 2];
        let (mut set, mut records, mut previous) = (SidecarSet::default(), Vec::new(), NO_SEGMENT);
        for (segment, count) in (2..).zip(counts) {
            let (mut queues, mut entries) = (Vec::new(), vec![0; ENTRY_BYTES]);
            let other = QueueRow { first: segment, count: 1, entry: 0, previous: NO_SEGMENT };
            push_row(&mut queues, b"other", Some(&other.encode()));
            let first = 10 + records.len() as u64;
            if count > 0 {
                let row = QueueRow { first, count, entry: 1, previous };
                push_row(&mut queues, b"queue", Some(&row.encode()));
                previous = segment * SEGMENT;
            }
            for n in 0..count {
                let position = 128 + n * 1000;
                entries.extend([position.to_be_bytes(), [0; 4], [0; 4], [0; 4]].concat());
                records.push((first + u64::from(n), segment * SEGMENT + u64::from(position)));
            }
            let queue_rows = 1 + u64::from(count > 0);
            let sections = [
                (QUEUES, queues, queue_rows),
                (QUEUES + 1, vec![0; 8], 1),
                (ENTRIES, entries, 1 + u64::from(count)),
            ];
            let (sidecar, announced) = sidecar_told(segment, 2, &sections, 0);
            set.push(sidecar);
            told.push((segment, announced));
        }
        (set, records, told)
    }

    #[test]
    fn a_record_is_found_wherever_a_reader_was_before() {
        let (set, records) = with_queue();
        let hints = (0..15).map(|segment| segment * SEGMENT).chain([NO_SEGMENT]);
        for hint in hints {
            for offset in 0..25 {
                let found = set.find(b"queue", offset, hint, 12 * SEGMENT).expect("nothing is damaged");
                let found = found.map(|(sidecar, row)| {
                    assert!((row.first..row.end()).contains(&offset));
                    sidecar.base()
                });
                let expected = records.iter().find(|(number, _)| *number == offset);
                let expected = expected.map(|(_, physical)| physical - physical % SEGMENT);
                assert_eq!(found, expected, "offset {offset}, hint {hint}");
            }
            assert_eq!(set.find(b"nobody", 0, hint, NO_SEGMENT).map(|found| found.is_none()), Ok(true));
        }
    }

    #[test]
    fn who_goes_on_is_found_near_where_it_was_and_nothing_else_is_looked_at() {
        let looked_at = |offset, hint| {
            let (set, _, told) = with_queue_told();
            assert!(set.find(b"queue", offset, hint, 12 * SEGMENT).is_ok_and(|found| found.is_some()));
            let at = told.into_iter().filter(|(_, announced)| !announced.take().is_empty());
            at.map(|(segment, _)| segment).collect::<Vec<_>>()
        };
        #[rustfmt::skip]
        let rows: &[(u64, u64, &[u64])] = &[
            // offset, where the reader was, which segments are looked at
            (11,  2, &[2]),
            (12,  2, &[2, 3, 4]),
            (15,  4, &[4, 5]),
            // Four segments further on and not found: from the end, each with the one before.
            (16,  5, &[5, 6, 7, 8, 9, 11, 12]),
            (12, 12, &[4, 5, 11, 12]),
            (17, 99, &[12]),
        ];
        for (offset, segment, expected) in rows {
            assert_eq!(looked_at(*offset, segment * SEGMENT), *expected, "{offset} from {segment}");
        }
    }

    #[test]
    fn a_queues_first_record_after_a_place_is_found_and_so_is_what_is_kept() {
        let (mut set, records) = with_queue();
        let places = records.iter().flat_map(|(_, physical)| [physical - 1, *physical, physical + 1]);
        let bases = (0..14).flat_map(|segment| [segment * SEGMENT, (segment + 1) * SEGMENT - 1]);
        for physical in places.chain(bases) {
            let expected = records.iter().find(|(_, at)| *at >= physical).map(|(number, _)| *number);
            let found = set.first_record_at_or_after(b"queue", physical, 12 * SEGMENT);
            assert_eq!(found, Ok(expected), "{physical}");
        }
        assert_eq!(set.first_record_at_or_after(b"queue", 0, NO_SEGMENT), Ok(None));
        while !set.all.is_empty() {
            let begin = set.all[0].base();
            let kept = records.iter().find(|(_, at)| *at >= begin).map(|(number, _)| *number);
            assert_eq!(set.first_kept(b"queue", 12 * SEGMENT), Ok(kept), "from {begin} on");
            set.all.remove(0);
        }
        assert_eq!(set.first_kept(b"queue", 12 * SEGMENT), Ok(None));
    }

    #[test]
    fn the_first_record_of_a_time_is_found_in_whichever_segment_it_lies() {
        let mut set = SidecarSet::default();
        // Times of the records of each segment, 1000 apart from 128 on.
        let times: [&[i64]; 4] = [&[10, 12], &[], &[15], &[15, 20]];
        let mut records = Vec::new();
        for (segment, times) in (2..).zip(times) {
            let mut rows = Vec::new();
            for (ms, position) in times.iter().zip((128u32..).step_by(1000)) {
                rows.extend([&ms.to_be_bytes()[..], &position.to_be_bytes()].concat());
                records.push((*ms, segment * SEGMENT + u64::from(position)));
            }
            let sealed_ms = records.last().map_or(0, |(ms, _)| *ms);
            set.push(sidecar(segment, 2, &[(TIMES, rows, times.len() as u64)], sealed_ms));
        }
        for ms in 0..25 {
            let expected = records.iter().find(|(stored, _)| *stored >= ms).map(|(_, physical)| *physical);
            assert_eq!(set.first_stored_at_or_after(ms), Ok(expected), "{ms}");
        }
    }
}
