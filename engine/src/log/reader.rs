//! Cold reads: records from the files, in few direct reads that readers at the same place share, each record checked
//! against its checksum.
//!
//! ```text
//!   records wanted ─▶ runs ─▶ gaps between what is in memory ─▶ room in the budget ─▶ one task per read
//!                       └──▶ and what lies ahead, if there is room without waiting          │
//!   slices of the read buffers ◀─ each record's checksum ◀─ all of them read ◀──────────────┘
//! ```
//!
//! Invariants
//!  1. No read is longer than [`Limits::read_bytes_max`](super::read_ahead::Limits), none leaves its segment.
//!  2. Bytes that fail their checksum are never handed out, whoever read them.
//!  3. A read that failed fails nobody who did not need all of it: each tries once more what it needs itself.
//!  4. Nothing is read that may still change: reading ahead ends where the log is not durable, or is in memory anyway.
//!  5. A segment is held from before its read until after it.
//!
//! Not here: which records (`state`), how far to read ahead (`read_ahead`), the memory (`extents`), and how reads give
//! way to producers (`read_gate`).

use std::rc::Rc;

use super::extents::{Loan, Turn};
use super::read_gate::Purpose;
use super::{Log, appender};
use crate::env::{BLOCK_BYTES, Buffer, Env, File, TaskClass};
use crate::limits::READ_GAP_BYTES_MAX;
use crate::planted::{self, Bug};
use crate::store::ReadError;

/// A record wanted from the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub physical: u64,
    pub len: u32,
    pub crc: u32,
}

impl Wanted {
    fn end(&self) -> u64 {
        self.physical + u64::from(self.len)
    }
}

/// Physical offsets: first byte, and the one after the last.
type Span = (u64, u64);

/// Bytes of one read.
#[derive(Debug)]
pub(crate) struct ReadSlice<B> {
    pub loan: Loan<B>,
    pub start: u32,
    pub len: u32,
}

impl<B: Buffer> ReadSlice<B> {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        let buffer = self.loan.buffer().expect("slices are made of what was read");
        &buffer[self.start as usize..][..self.len as usize]
    }
}

/// The bytes of records, in memory.
pub(crate) struct Fetched<B> {
    /// In order.
    loans: Vec<Loan<B>>,
}

/// Gets what holds the records of `wanted`, at least one.
pub(crate) async fn fetch<E: Env>(
    log: &Rc<Log<E>>,
    wanted: &[Wanted],
) -> Result<Fetched<E::Buffer>, ReadError> {
    let runs = runs(wanted);
    let mut loans = with_room(log, &runs, take_shared).await;
    if finished(log, &loans).await.is_err() {
        // Perhaps only what was read beside it cannot be read.
        drop(loans);
        loans = with_room(log, &runs, take_apart).await;
        finished(log, &loans).await?;
    }
    loans.sort_by_key(|loan| loan.from);
    Ok(Fetched { loans })
}

impl<B: Buffer> Fetched<B> {
    /// Hands out the bytes of one of the records wanted, if they are what was written.
    pub fn record<E: Env<Buffer = B>>(
        &self,
        log: &Log<E>,
        record: &Wanted,
        mut emit: impl FnMut(ReadSlice<B>),
    ) -> Result<(), ReadError> {
        let mut hasher = crc32fast::Hasher::new();
        let first = self.loans.partition_point(|loan| loan.to <= record.physical);
        let mut at = record.physical;
        for loan in self.loans[first..].iter().take_while(|loan| loan.from < record.end()) {
            let end = record.end().min(loan.to);
            let Some(bytes) = part(loan, at, end) else { break };
            hasher.update(bytes);
            at = end;
        }
        let is_good = at == record.end() && hasher.finalize() == record.crc;
        if !is_good && !planted::is(Bug::ColdCrcSkipped) {
            // Perhaps it was read wrongly, and is read rightly the next time.
            self.loans[first..].iter().for_each(|loan| log.extents.forget(loan.extent()));
            let (file, physical) = (log.segments.file_name(record.physical), record.physical);
            return Err(ReadError::Corrupt { file, physical });
        }
        let mut at = record.physical;
        for loan in self.loans[first..].iter().take_while(|loan| loan.from < record.end()) {
            let end = record.end().min(loan.to);
            let (start, len) = (offset(at - loan.from), offset(end - at));
            let first = &self.loans[first];
            if planted::is(Bug::SharedReadMisplaced)
                && at > record.physical
                && first.to - first.from >= end - at
            {
                emit(ReadSlice { loan: first.clone(), start: 0, len });
            } else {
                emit(ReadSlice { loan: loan.clone(), start, len });
            }
            at = end;
        }
        Ok(())
    }
}

/// The bytes `from..to` of what a loan holds, if the file had as many.
fn part<B: Buffer>(loan: &Loan<B>, from: u64, to: u64) -> Option<&[u8]> {
    let (start, end) = (from.checked_sub(loan.from)?, to.checked_sub(loan.from)?);
    loan.buffer()?.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn offset(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("a read is shorter than 4 GiB")
}

/// Waits until `take` finds room.
async fn with_room<E: Env>(log: &Rc<Log<E>>, runs: &[Span], take: Take<E>) -> Vec<Loan<E::Buffer>> {
    let mut turn: Option<Turn> = None;
    loop {
        let may_take_room = turn.as_ref().map_or(!log.extents.is_waited_for(), Turn::is_first);
        if let Some(loans) = take(log, runs, may_take_room) {
            return loans;
        }
        turn.get_or_insert_with(|| log.extents.stand_in_line()).wait().await;
    }
}

/// Takes what covers the runs, starting the reads for it, unless there is no room, or it is another's turn to take it.
type Take<E> = fn(&Rc<Log<E>>, &[Span], bool) -> Option<Vec<Loan<<E as Env>::Buffer>>>;

/// Takes what is in memory or on its way there, and reads the rest for everybody.
fn take_shared<E: Env>(log: &Rc<Log<E>>, runs: &[Span], may_take_room: bool) -> Option<Vec<Loan<E::Buffer>>> {
    let (mut gaps, mut loans) = cover(log, runs);
    if !gaps.is_empty() {
        if !may_take_room {
            return None;
        }
        // What is there already should not go to make room for the rest; but it must, where both together are too much.
        if !log.extents.make_room(sum(&gaps)) {
            loans.clear();
            if !log.extents.make_room(sum(runs)) {
                return None;
            }
            (gaps, loans) = cover(log, runs);
        }
        for (from, to) in log.reads(&gaps) {
            loans.push(start(log, Purpose::Wanted, log.extents.add(from, to)));
        }
    }
    if let [(from, to)] = runs {
        read_ahead(log, *from, *to);
    }
    Some(loans)
}

/// What of the runs is not there, and loans of what is.
fn cover<E: Env>(log: &Log<E>, runs: &[Span]) -> (Vec<Span>, Vec<Loan<E::Buffer>>) {
    let (mut gaps, mut loans) = (Vec::new(), Vec::with_capacity(runs.len()));
    for (from, to) in runs {
        log.extents.gaps(*from, *to, &mut gaps);
        log.extents.lend(*from, *to, &mut loans);
    }
    (gaps, loans)
}

/// Reads the runs themselves, for this one fetch.
fn take_apart<E: Env>(log: &Rc<Log<E>>, runs: &[Span], may_take_room: bool) -> Option<Vec<Loan<E::Buffer>>> {
    if !(may_take_room && log.extents.make_room(sum(runs))) {
        return None;
    }
    let apart = |(from, to)| start(log, Purpose::Wanted, log.extents.apart(from, to));
    Some(log.reads(runs).map(apart).collect())
}

fn sum(ranges: &[Span]) -> usize {
    let bytes: u64 = ranges.iter().map(|(from, to)| to - from).sum();
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Reads what lies ahead of a reader, as far as there is room and nobody waits for it.
fn read_ahead<E: Env>(log: &Rc<Log<E>>, from: u64, to: u64) {
    let end = log.read_ahead.borrow_mut().follow(from, to, log.cold_end());
    if end <= to || log.extents.is_waited_for() {
        return;
    }
    let mut gaps = Vec::new();
    log.extents.gaps(to, end, &mut gaps);
    for (from, to) in log.reads(&gaps) {
        if !log.extents.make_room(sum(&[(from, to)])) {
            return;
        }
        start(log, Purpose::Ahead, log.extents.add(from, to));
    }
}

/// Starts the task that reads an extent.
fn start<E: Env>(log: &Rc<Log<E>>, purpose: Purpose, loan: Loan<E::Buffer>) -> Loan<E::Buffer> {
    let (reading, on) = (loan.clone(), log.clone());
    appender::spawn(log, TaskClass::Read, async move {
        let passed = on.read_gate.pass(purpose, || on.env.monotonic()).await;
        let began = on.env.monotonic();
        let read = read(&on, reading.from, reading.to).await;
        if read.is_err() {
            on.extents.forget(reading.extent());
        }
        reading.finish(read.map_err(|error| error.to_string()));
        drop(reading);
        let now = on.env.monotonic();
        let pause = on.read_gate.pause(&passed, now.saturating_sub(began), now);
        if !pause.is_zero() {
            on.env.sleep(pause).await;
        }
        on.read_gate.leave(passed, on.env.monotonic());
        on.segments.close_left().await;
    });
    loan
}

async fn read<E: Env>(log: &Log<E>, from: u64, to: u64) -> std::io::Result<E::Buffer> {
    let file = log.segments.reader(from).await?;
    let position = from % log.segments.segment_bytes();
    file.read_at(position, usize::try_from(to - from).expect("a read is short")).await
}

async fn finished<E: Env>(log: &Log<E>, loans: &[Loan<E::Buffer>]) -> Result<(), ReadError> {
    for loan in loans {
        if let Err(reason) = loan.finished().await {
            let (file, position) =
                (log.segments.file_name(loan.from), loan.from % log.segments.segment_bytes());
            return Err(ReadError::Io { file, position, error: reason.to_owned() });
        }
    }
    Ok(())
}

impl<E: Env> Log<E> {
    /// Where the log ends for those who read from the disk: after it, it is in memory, or may still change.
    fn cold_end(&self) -> u64 {
        let durable = self.durable() - self.durable() % BLOCK_BYTES as u64;
        self.cache.borrow().begin().map_or(durable, |hot| hot.min(durable))
    }

    /// The reads that fill gaps: each within one segment, ending where others begin.
    fn reads(&self, gaps: &[Span]) -> impl Iterator<Item = Span> {
        let (read_bytes_max, segment_bytes) =
            (self.read_limits.read_bytes_max, self.segments.segment_bytes());
        gaps.iter()
            .flat_map(move |gap| split(*gap, read_bytes_max, segment_bytes))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// Cuts `from..to` at the ends of segments, and at whole multiples of a read's length within them.
fn split((from, to): Span, read_bytes_max: u64, segment_bytes: u64) -> impl Iterator<Item = Span> {
    let mut at = from;
    std::iter::from_fn(move || {
        let begin = at;
        let within = begin % segment_bytes;
        let next = (within - within % read_bytes_max + read_bytes_max).min(segment_bytes);
        at = (begin - within + next).min(to);
        (begin < to).then_some((begin, at))
    })
}

/// The blocks that hold the records, neighbours together.
fn runs(wanted: &[Wanted]) -> Vec<Span> {
    let block = BLOCK_BYTES as u64;
    let mut runs: Vec<Span> = Vec::with_capacity(1);
    for record in wanted {
        let (from, to) = (record.physical - record.physical % block, record.end().next_multiple_of(block));
        match runs.last_mut() {
            Some(last) if from + block >= last.1 && from.saturating_sub(last.1) <= READ_GAP_BYTES_MAX => {
                last.1 = last.1.max(to);
            }
            _ => runs.push((from, to)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: u64 = BLOCK_BYTES as u64;

    #[test]
    fn near_records_are_one_run() {
        let record = |physical, len| Wanted { physical, len, crc: 0 };
        let gap = READ_GAP_BYTES_MAX;
        #[rustfmt::skip]
        let rows: &[(&str, &[Wanted], &[Span])] = &[
            ("alone",          &[record(5000, 100)],                          &[(B, 2 * B)]),
            ("over two blocks", &[record(B - 1, 2)],                          &[(0, 2 * B)]),
            ("the same block", &[record(5000, 100), record(5100, 50)],        &[(B, 2 * B)]),
            ("the next block", &[record(5000, 100), record(2 * B, 50)],       &[(B, 3 * B)]),
            ("a small gap",    &[record(5000, 100), record(2 * B + gap, 50)], &[(B, 3 * B + gap)]),
            ("a large gap",    &[record(5000, 100), record(3 * B + gap, 50)], &[(B, 2 * B), (3 * B + gap, 4 * B + gap)]),
            ("backwards",      &[record(5 * B, 100), record(0, 50)],          &[(5 * B, 6 * B), (0, B)]),
        ];
        for (what, wanted, expected) in rows {
            assert_eq!(runs(wanted), *expected, "{what}");
        }
    }

    #[test]
    fn reads_end_at_segments_and_at_multiples_of_their_length() {
        #[rustfmt::skip]
        let rows: &[(&str, Span, &[Span])] = &[
            ("short",              (B, 2 * B),            &[(B, 2 * B)]),
            ("over a multiple",    (3 * B, 6 * B),        &[(3 * B, 4 * B), (4 * B, 6 * B)]),
            ("several",            (0, 8 * B),            &[(0, 4 * B), (4 * B, 8 * B)]),
            ("a short last one",   (8 * B, 10 * B),       &[(8 * B, 10 * B)]),
            ("over a segment",     (9 * B, 13 * B),       &[(9 * B, 10 * B), (10 * B, 13 * B)]),
            ("nothing",            (B, B),                &[]),
        ];
        for (what, gap, expected) in rows {
            assert_eq!(split(*gap, 4 * B, 10 * B).collect::<Vec<_>>(), *expected, "{what}");
        }
    }
}
